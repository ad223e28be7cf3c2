"""Tagging: the token class of every character of Python source, read from the left or from both sides.

Many to many, one tag a step (A. Graves, J. Schmidhuber, "Framewise phoneme classification with bidirectional LSTM",
2005). The data is the standard library's source, or with --data a file of Python, and the classes are those of its own
tokenizer; a causal model cannot know inside of a string how it ends, one that reads both ways can. Both, and the tables
that they are measured against, learn from the first nine tenths of the text and are asked about the last.
"""

from __future__ import annotations

import io
import keyword
import sys
import tokenize
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from dsl.run import corpora
from examples.experiment import Experiment, leave, main

Array = np.ndarray[Any, Any]
CLASSES = ("space", "name", "keyword", "number", "string", "operator", "comment")


def classes(source: str) -> Array:
    """The class of every character, (len(source),). Errors: SyntaxError and tokenize's for what is no Python source."""
    if "\0" in source:
        raise SyntaxError("it holds a character of number 0")
    found = np.zeros(len(source), np.int64)
    starts = np.cumsum([0, *(len(line) for line in io.StringIO(source))])  # lines as the tokenizer has them
    kinds = {tokenize.NUMBER: 3, tokenize.STRING: 4, tokenize.OP: 5, tokenize.COMMENT: 6}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = kinds.get(token.type, 0)
        if token.type == tokenize.NAME:
            kind = 2 if keyword.iskeyword(token.string) else 1
        first, last = (starts[line - 1] + column for line, column in (token.start, token.end))
        found[first:last] = kind
    return found


def tagged(e: Experiment, length: int) -> tuple[dsl.Text, Array]:
    """A text and the classes of its characters: the standard library's source, or the user's."""
    if e.data is not None:
        text = dsl.Text(e.data)
        if len(text) < 20 * length:
            raise ValueError(f"{e.data} has {len(text)} characters; {20 * length} are needed")
    else:
        found = corpora.python(folders=1)
        source = found.decode(found.ids[: e.size(60_000, 1_500_000, 4_000_000)])
        text = dsl.Text.of(source[: source.rfind("\n\n\ndef ") + 1])  # whole definitions, that it can be tokenized
    try:
        return text, classes(text.decode(text.ids))
    except (tokenize.TokenError, SyntaxError) as error:
        raise ValueError(f"{e.data or 'the library'} is no Python source: {error.args[0]}") from None


def windows(random: np.random.Generator, ids: Array, tags: Array, length: int, count: int) -> tuple[Array, Array]:
    """Characters and classes of `count` stretches, (length, count) each."""
    grid = random.integers(0, len(ids) - length, count)[None, :] + np.arange(length)[:, None]
    return np.asarray(ids)[grid], tags[grid]


def by_counting(learned: tuple[Array, Array], held: tuple[Array, Array], order: int, symbols: int) -> float:
    """The accuracy of the commonest class of the last of `order` characters; of fewer, where those were never seen."""
    (x, y), (x_held, y_held) = learned, held
    guess = np.full(x_held.shape, np.bincount(y.ravel()).argmax())
    keys, keys_held = np.zeros_like(x), np.zeros_like(x_held)
    for back in range(order):
        for key, symbol in ((keys, x), (keys_held, x_held)):
            key[back:] = key[back:] * (symbols + 1) + symbol[: len(symbol) - back] + 1
        seen, inverse = np.unique(keys, return_inverse=True)
        counts = np.zeros((len(seen), len(CLASSES)), np.int64)
        np.add.at(counts, (inverse.ravel(), y.ravel()), 1)
        place = np.minimum(np.searchsorted(seen, keys_held), len(seen) - 1)
        guess = np.where(seen[place] == keys_held, counts.argmax(1)[place], guess)
    return float((guess == y_held).mean())


def accuracy(model: Any, x: Array, y: Array) -> float:
    return float((model(x=x).p.numpy().argmax(-1) == y).mean())


def run(e: Experiment) -> None:
    length, count, hidden = e.size(20, 100, 200), e.size(400, 4000, 8000), e.size(16, 96, 200)
    text, tags = tagged(e, length)
    symbols, cut, random = len(text.symbols), len(text) * 9 // 10, np.random.default_rng(e.seed)
    x, y = windows(random, text.ids[:cut], tags[:cut], length, count)
    held = windows(random, text.ids[cut:], tags[cut:], length, count // 10)
    whole = np.asarray(text.ids[:cut])[:, None], tags[:cut, None]
    counted = {before: by_counting(whole, held, before + 1, symbols) for before in (0, 1, 2, 4)}
    e.note("accuracy by counting, by characters before the one asked for", {k: round(v, 4) for k, v in counted.items()})
    reached: dict[str, float] = {}
    curves: dict[str, Any] = {}
    for name, cell in (("left to right", "Tagger"), ("both ways", "BiTagger")):
        model = e.cell(cell).build(K_in=symbols, K=len(CLASSES), H=hidden, seed=e.seed)
        done = e.fit(
            model,
            name,
            x=x,
            y=y,
            optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 3e-3, 2e-3)),
            batch=32,
            steps=e.size(150, 1500, 6000),
            valid_every=e.size(50, 250, 500),
            evaluate=lambda m: {"accuracy": accuracy(m, *held)},
        )
        reached[name] = done.measures["accuracy"]
        curves[name] = done.curves.measured("accuracy")
        against = counted[e.size(0, 4, 4)]
        e.figure(
            f"accuracy, {name}", reached[name], against, f"counting, {e.size(0, 4, 4)} characters before it", "more"
        )
    e.figure("accuracy, both ways", reached["both ways"], reached["left to right"], "left to right", "more")
    e.draw(
        viz.lines(curves, x="update", y="accuracy, held out", title="Token classes of Python", marks=True), "accuracy"
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, data="a file of Python source")))
