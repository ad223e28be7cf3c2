"""Tagging: the token class of every character of Python source, read from the left or from both sides.

Many to many, one tag a step (A. Graves, J. Schmidhuber, "Framewise phoneme classification with bidirectional LSTM",
2005). The data is the standard library's source and the classes are those of its own tokenizer; a causal model cannot
know inside of a string how it ends, one that reads both ways can.
"""

from __future__ import annotations

import io
import keyword
import sys
import tokenize
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from dsl.run import corpora
from examples.experiment import Experiment, leave, main

CLASSES = ("space", "name", "keyword", "number", "string", "operator", "comment")


def classes(source: str) -> np.ndarray[Any, Any]:
    """The class of every character, (len(source),)."""
    found = np.zeros(len(source), np.int64)
    starts = np.cumsum([0, *(len(line) for line in source.splitlines(keepends=True))])
    kinds = {tokenize.NUMBER: 3, tokenize.STRING: 4, tokenize.OP: 5, tokenize.COMMENT: 6}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = kinds.get(token.type, 0)
        if token.type == tokenize.NAME:
            kind = 2 if keyword.iskeyword(token.string) else 1
        first, last = (starts[line - 1] + column for line, column in (token.start, token.end))
        found[first:last] = kind
    return found


def windows(e: Experiment, length: int, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Characters and classes of `count` stretches of the library's source, (length, count) each, and the symbols."""
    text = corpora.python(folders=1)
    size = min(len(text), e.size(60_000, 1_500_000, 4_000_000))
    source = text.decode(text.ids[:size])
    source = source[: source.rfind("\n\n\ndef ") + 1]  # whole definitions, so that it can be tokenized
    try:
        tags = classes(source)
    except (tokenize.TokenError, IndentationError) as error:
        raise RuntimeError(f"this Python's library cannot be tokenized as one text: {error}") from None
    random = np.random.default_rng(e.seed)
    at = random.integers(0, len(source) - length, count)
    grid = at[None, :] + np.arange(length)[:, None]
    return np.asarray(text.ids)[grid], tags[grid], len(text.symbols)


def by_counting(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], cut: int, order: int) -> float:
    """The accuracy of the commonest class behind `order` characters: counted left of `cut`, measured right of it."""
    keys = np.zeros(x.shape, np.int64)
    for back in range(order):
        keys[back:] = keys[back:] * 128 + x[: len(x) - back]
    seen, inverse = np.unique(keys[:, :cut], return_inverse=True)
    counts = np.zeros((len(seen), len(CLASSES)), np.int64)
    np.add.at(counts, (inverse.ravel(), y[:, :cut].ravel()), 1)
    place = np.minimum(np.searchsorted(seen, keys[:, cut:]), len(seen) - 1)
    common = np.bincount(y[:, :cut].ravel()).argmax()
    guess = np.where(seen[place] == keys[:, cut:], counts.argmax(1)[place], common)
    return float((guess == y[:, cut:]).mean())


def accuracy(model: Any, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    return float((model(x=x).p.numpy().argmax(-1) == y).mean())


def run(e: Experiment) -> None:
    length, count, hidden = e.size(20, 100, 200), e.size(400, 4000, 8000), e.size(16, 96, 200)
    x, y, symbols = windows(e, length, count)
    cut = count * 9 // 10
    counted = {order: by_counting(x, y, cut, order) for order in (0, 1, 2, 4)}
    e.note("accuracy by counting, by characters of context", {k: round(v, 4) for k, v in counted.items()})
    reached: dict[str, float] = {}
    curves: dict[str, Any] = {}
    for name, cell in (("left to right", "Tagger"), ("both ways", "BiTagger")):
        model = e.cell(cell).build(K_in=symbols, K=len(CLASSES), H=hidden, seed=e.seed)
        done = e.fit(
            model,
            name,
            x=x[:, :cut],
            y=y[:, :cut],
            optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 3e-3, 2e-3)),
            batch=32,
            steps=e.size(150, 1500, 6000),
            valid_every=e.size(50, 250, 500),
            evaluate=lambda m: {"accuracy": accuracy(m, x[:, cut:], y[:, cut:])},
        )
        reached[name] = done.measures["accuracy"]
        curves[name] = done.curves.measured("accuracy")
        against = counted[e.size(0, 4, 4)]
        e.figure(f"accuracy, {name}", reached[name], against, f"counting {e.size(0, 4, 4)} characters", "more")
    e.figure("accuracy, both ways", reached["both ways"], reached["left to right"], "left to right", "more")
    e.draw(
        viz.lines(curves, x="update", y="accuracy, held out", title="Token classes of Python", marks=True), "accuracy"
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
