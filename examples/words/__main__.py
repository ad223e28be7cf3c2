"""Words: a language model whose symbols are words, each a learned vector, with the same vectors at both ends.

W. Zaremba, I. Sutskever, O. Vinyals, "Recurrent neural network regularization" (2014), with the tied vectors of O.
Press, L. Wolf (2017). The text is the language reference that ships inside Python (the user's with --data): a small
one, so the anchors are tables counted on the same words, and the figure is the perplexity of a word held out.
"""

from __future__ import annotations

import sys

import numpy as np

import tinygrad_seq as tg
import viz
from dsl.run import corpora
from dsl.run.data import read_text
from dsl.run.measures import perplexity
from dsl.run.ngrams import interpolated_loss
from dsl.run.words import Words, tokens
from examples.experiment import Experiment, leave, main

STREAMS, CHUNK = 20, 35


def run(e: Experiment) -> None:
    english = corpora.english()
    text = read_text(e.data) if e.data is not None else english.decode(english.ids)
    found = tokens(text)[: e.size(12_000, 10**9, 10**9)]
    cut = len(found) * 9 // 10
    if cut < STREAMS * 2:
        raise ValueError(f"{e.data} has {len(found)} words; {STREAMS} streams of them need {STREAMS * 2 * 10 // 9 + 1}")
    words = Words(found[:cut], e.size(300, 2500, 8000))
    learned, held = words.encode(found[:cut]), words.encode(found[cut:])
    e.note("words", f"{len(found):,}, {len(words):,} known; {float((held == 0).mean()):.1%} of those held out are not")

    size = e.size(32, 128, 256)
    model = e.cell("WordRNN").build(K=len(words), D=size, H=size, seed=e.seed)
    e.note("parameters", model.params.count)
    steps = e.size(400, 1500, 8000)
    done = e.fit(
        model,
        "words",
        y=learned,
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 4e-3, 2e-3)),
        schedule=tg.schedules.cosine(steps, 0.02),
        batch=STREAMS,
        chunk=e.size(20, CHUNK, CHUNK),
        steps=steps,
        valid_every=steps // 10,
        evaluate=lambda m: {"held out": float(m(y=held).nll.data)},
    )
    at, values = done.curves.measured("held out")
    reached = done.measures["held out"]  # at the end: the best of the curve would have been chosen by what is held out
    tables = {n: interpolated_loss(learned, held, len(words), n) for n in (1, 2, 3)}
    called = {1: "unigram counts", 2: "bigram counts, interpolated", 3: "trigram counts, interpolated"}
    for n in e.size((1,), (1, 2, 3), (1, 2, 3)):
        e.figure("perplexity of a word, held out", perplexity(reached), perplexity(tables[n]), called[n])
    prime = words.encode(["the"])
    said = words.decode(model.generate(e.size(20, 60, 60), prime=prime, temperature=0.7, seed=e.seed))
    e.note("it writes", said)
    vectors = model.params["E"].numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=0)
    near = {}
    for word in ("class", "list", "integer", "returns", "is"):
        if word in words.symbols:
            place = words.symbols.index(word)
            order = np.argsort(-(vectors.T @ vectors[:, place]), kind="stable")[1:5]
            near[word] = " ".join(words.symbols[i] for i in order)
    e.note("nearest vectors", near)

    levels = {f"{n}-gram": perplexity(v) for n, v in tables.items()}
    course = {"LSTM": (at, np.exp(values))}
    e.draw(viz.lines(course, x="update", y="perplexity of a word, held out", title="Words", levels=levels), "curves")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, data="a text")))
