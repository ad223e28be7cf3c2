"""char-rnn: a stack of two LSTMs reads a text, character by character, and then writes one.

A. Karpathy, "The unreasonable effectiveness of recurrent neural networks" (2015), and the settings of his char-rnn: two
layers of 128, batches of 50 streams, 50 steps back, RMSProp at 2e-3, clipped at 5, the last 5 % of every stream held
out; on his text (tiny Shakespeare, 1,115,394 characters; give it with --data) the validation loss is 1.785 nats after
1,000 updates. Without a file it learns the language reference that ships inside Python.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from dsl.run import corpora
from dsl.run.ngrams import ngram_loss
from examples.experiment import Experiment, leave, main

VALID = 0.05
Array = np.ndarray[Any, Any]


def split(ids: Array, streams: int) -> tuple[Array, Array]:
    """The text as parallel streams: what is learned, stream behind stream, and the ends held out (T, streams)."""
    if len(ids) < 2 * streams:
        raise ValueError(f"{len(ids)} characters are too few: {streams} streams need {2 * streams}")
    rows = np.asarray(ids)[: len(ids) // streams * streams].reshape(streams, -1)
    cut = int(rows.shape[1] * (1 - VALID))
    return rows[:, :cut].reshape(-1), rows[:, cut:].T


def run(e: Experiment) -> None:
    text = dsl.Text(e.data) if e.data is not None else corpora.english()
    if e.mode == "quick" and len(text) > 20_000:
        text = dsl.Text.of(text.decode(text.ids[:20_000]), text.symbols)
    size, count = e.size(32, 128, 128), len(text.symbols)
    if count < 2:
        raise ValueError(f"the text holds nothing but {text.symbols[0]!r}: nothing to learn from")
    model = dsl.load("CharRNN").build(K=count, H=size, L=2, Cell="LSTMTwoBias", seed=e.seed)
    e.note("text", f"{len(text):,} characters, {count} symbols")
    e.note("parameters", model.params.count)
    streams = e.size(20, 50, 50)
    heads, tails = split(text.ids, streams)
    model.symbols = text.symbols
    done = e.fit(
        model,
        "char-rnn",
        y=heads,
        optimizer=tg.optim.RMSProp(model.params.trained, lr=e.size(1e-2, 2e-3, 2e-3), decay=0.95),
        batch=streams,
        chunk=e.size(25, 50, 50),
        steps=e.size(200, 1000, 10_000),
        clip=5.0,
        valid_every=e.size(100, 100, 500),
        evaluate=lambda m: {"validation": float(m(y=tails).nll.data)},
    )
    ends = tails.T.reshape(-1)
    bigram, unigram = ngram_loss(heads, ends, count, 2), ngram_loss(heads, ends, count, 1)
    reached = done.curves.measures["validation"]
    e.figure(
        "validation loss, nats a character",
        reached[-1][1],
        e.size(unigram, bigram, bigram),
        f"{e.size('unigram', 'bigram', 'bigram')} counts",
    )
    if (len(text), count, e.mode) == (1_115_394, 65, "normal"):
        e.figure("parameters", model.params.count, 240_321, "char-rnn", "equal")
        e.figure("validation loss after 1,000 updates", dict(reached)[1000], 1.785, "char-rnn's")
    e.note("characters a second, in training", round(done.steps * e.size(500, 2500, 2500) / done.seconds, -2))
    e.note("it writes", model.generate(e.size(100, 400, 400), temperature=0.7, seed=e.seed))
    e.draw(viz.curves({**done.curves.plain(), "valid": reached}, "char-rnn"), "curves")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, data="a text")))
