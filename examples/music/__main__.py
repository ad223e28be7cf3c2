"""Music: chords of a grammar whose entropy is known exactly, so that a loss can be seen to come down to it.

Phrases of eight chords in a key that is never said, which may change between phrases. A table of pairs cannot know the
key or the place in the phrase; a state can. A loss can, in the mean, not be less than the entropy; what is above it is
the model's own. (Learned music began with M. Mozer, "Neural network music composition by prediction", 1994, and D. Eck,
J. Schmidhuber, "A first look at music composition using LSTM", 2002.)
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from dsl.run.ngrams import interpolated_loss
from examples.experiment import Experiment, leave, main
from examples.music.grammar import PHRASE, SYMBOLS, entropies, grammatical, songs

Array = np.ndarray[Any, Any]


def by_pairs(learned: Array, count: int, seed: int) -> Array:
    """Songs drawn chord by chord from what followed the last chord in those learned, as long as they are."""
    random = np.random.default_rng(seed)
    follow = np.zeros((len(SYMBOLS), len(SYMBOLS)))
    np.add.at(follow, (learned[:-1], learned[1:]), 1)
    chances = np.cumsum(follow / np.maximum(follow.sum(axis=1, keepdims=True), 1), axis=1)
    songs_ = [random.choice(learned[0], count)]
    while len(songs_) < len(learned):
        songs_.append((random.random((count, 1)) < chances[songs_[-1]]).argmax(axis=1))
    return np.stack(songs_)


def run(e: Experiment) -> None:
    bars = e.size(3, 6, 8) * PHRASE
    test, log_p = songs(e.unseen(), e.size(200, 1000, 2000), bars)
    exact = entropies(bars)
    e.note("entropy, nats a chord, of songs this long", round(float(exact.mean()), 5))
    e.note("entropy rate, nats a chord", round(float(entropies(12 * PHRASE)[-PHRASE:].mean()), 5))
    least = float(-log_p.mean())
    e.figure("nats a chord, the grammar itself on these songs", least, float(exact.mean()), "entropy", "equal", 0.02)

    model = dsl.load("CharRNN").build(K=len(SYMBOLS), H=e.size(48, 96, 192), seed=e.seed)
    steps = e.size(400, 3000, 8000)
    done = e.fit(
        model,
        "music",
        source=lambda random: {"y": songs(random, 32, bars)[0]},
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 5e-3, 3e-3)),
        schedule=tg.schedules.cosine(steps, 0.02),
        clip=1.0,
        steps=steps,
        valid_every=steps // 10,
        evaluate=lambda m: {"held out": float(m(y=test).nll.data)},
    )
    reached = done.measures["held out"]
    learned, _ = songs(e.unseen(1), 2000, bars)
    # the songs end to end: at a seam the table guesses a first chord, which is one of twelve to the model too
    tables = {n: interpolated_loss(learned.T.ravel(), test.T.ravel(), len(SYMBOLS), n) for n in (1, 2, 3)}
    for n in e.size((1, 2), (1, 2, 3), (1, 2, 3)):
        e.figure("nats a chord, LSTM", reached, tables[n], f"counting {n - 1} chords of context")
    if e.mode != "quick":
        e.figure("nats a chord above the grammar's own", reached - least, 0.05, "a twentieth of a nat")
    e.note("nats a chord above the grammar's own", round(reached - least, 5))

    written = model.generate(bars, batch=e.size(50, 200, 500), seed=e.seed)
    allowed = np.array([grammatical(column) for column in written.T])
    paired = np.array([grammatical(column) for column in by_pairs(learned, 500, e.seed).T])
    if e.mode != "quick":
        e.figure(
            "chords until one is forbidden, mean", allowed.mean(), paired.mean(), "drawn by the last chord", "more"
        )
    e.note("songs it writes that the grammar allows to the end", float((allowed == bars).mean()))
    song = [SYMBOLS[k] for k in written[:, int(allowed.argmax())]]
    e.note("it writes", [" ".join(song[n : n + PHRASE]) for n in range(0, bars, PHRASE)])

    loss = model(y=test).steps["nll"].data.mean(axis=1)
    curves = {"LSTM": loss, "entropy": exact}
    e.draw(viz.lines(curves, x="chord", y="nats, mean over the held-out songs", title="Chords"), "by_place")
    levels = {"bigram": tables[2], "trigram": tables[3], "entropy": float(exact.mean())}
    course = {"LSTM": done.curves.measured("held out")}
    title = "Chords: towards the entropy"
    e.draw(viz.lines(course, x="update", y="nats a chord, held out", title=title, levels=levels), "curves")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
