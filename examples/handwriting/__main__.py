"""Handwriting: a pen that predicts its own next move, freely or with a text to write; primed, and with a bias.

A. Graves, "Generating sequences with recurrent neural networks" (2013), on letters drawn in invented hands, each with
its slant, width and size: three layers of LSTM with peepholes and a mixture of two-dimensional normal densities
(section 4), a window that slides along the text (5.1), a bias towards likely moves (5.4), and a hand taken over from
what was written before (5.5). Measured against one normal density and one probability of lifting the pen, fitted to all
moves.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from examples.experiment import Experiment, leave, main
from examples.handwriting.strokes import LETTERS, Writer, batch, slant, write

Array = np.ndarray[Any, Any]


def memoryless(learned: dict[str, Any], test: dict[str, Any]) -> float:
    """Nats a move under one normal density and one coin."""

    def moves(data: dict[str, Any]) -> Array:
        return np.concatenate([data["p"][:n, i] for i, n in enumerate(data["lengths"]["t"])]).astype(float)

    seen, asked = moves(learned), moves(test)
    mean, cov, lifted = seen[:, :2].mean(axis=0), np.cov(seen[:, :2].T), seen[:, 2].mean()
    away = asked[:, :2] - mean
    density = 0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(cov), away) + 0.5 * math.log(
        (2 * math.pi) ** 2 * np.linalg.det(cov)
    )
    coin = -np.where(asked[:, 2] > 0.5, math.log(lifted), math.log(1 - lifted))
    return float((density + coin).mean())


def nats(model: Any, data: dict[str, Any], **streams: Any) -> float:
    """The loss a move, over all moves together."""
    lengths = data["lengths"] if streams else {"t": data["lengths"]["t"]}
    each = model(p=data["p"], lengths=lengths, **streams).each["nll"].data
    steps = data["lengths"]["t"]
    return float((each * steps).sum() / steps.sum())


def learn(e: Experiment, model: Any, letters: int, texts: bool, test: dict[str, Any], steps: int) -> float:
    def source(random: np.random.Generator) -> dict[str, Any]:
        made = batch(random, e.size(8, 16, 32), letters)
        if texts:
            return {"p": made["p"], "c": made["c"], "lengths": made["lengths"]}
        return {"p": made["p"], "lengths": {"t": made["lengths"]["t"]}}

    done = e.fit(
        model,
        "with a text" if texts else "free",
        source=source,
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 4e-3, 1e-3)),
        schedule=tg.schedules.cosine(steps, 0.05),
        clip=2.0,
        steps=steps,
        valid_every=steps // 5,
        evaluate=lambda m: {"nats a move": nats(m, test, **({"c": test["c"]} if texts else {}))},
    )
    return done.measures["nats a move"]


def written(model: Any, text: str, steps: int, **how: Any) -> Array:
    """A text written by the conditional model, (T, 3), up to the end of the stroke in which its window comes to the
    space at the end."""
    c = np.array([LETTERS.index(k) for k in text + " "])
    p = model.generate(steps, c=c, **how)
    at = model(p=p, c=c).value("phi").data[:, :, 0].argmax(axis=1)
    over = np.flatnonzero((at == len(text)) & (p[:, 2] > 0.5)) + 1
    return np.asarray(p[: over[0] if len(over) else None])


def spread(model: Any, count: int, steps: int, bias: float, seed: int) -> float:
    """Nats a move of free samples under the model itself."""
    p = model.generate(steps, batch=count, bias=bias, seed=seed)
    return float(model(p=p).nll.data)


def taken_over(e: Experiment, model: Any, letters: int) -> float:
    """The correlation between the slant of the hand that began and that of what the model wrote behind it."""
    made = batch(np.random.default_rng([e.seed, 7]), e.size(20, 100, 200), letters)
    begun = int(made["lengths"]["t"].min())
    p = model.generate(begun, prime=made["p"][:begun], bias=1.0, seed=e.seed)
    hands = [writer.slant for writer in made["writers"]]
    return float(np.corrcoef(hands, [slant(p[begun:, n]) for n in range(p.shape[1])])[0, 1])


def run(e: Experiment) -> None:
    letters, hidden, mixture = e.size(2, 4, 10), e.size(20, 48, 400), e.size(3, 6, 20)
    test = batch(e.unseen(), e.size(40, 200, 500), letters)
    base = memoryless(batch(e.unseen(1), 500, letters), test)
    steps = e.size(150, 1800, 10_000)

    free = dsl.load("Handwriting").build(H=hidden, M=mixture, seed=e.seed)
    e.note("parameters, free", free.params.count)
    freely = learn(e, free, letters, False, test, steps)
    e.figure("nats a move, free", freely, base, "one normal density and one coin")
    wild, calm = (spread(free, 20, 40, bias, e.seed) for bias in (0.0, 2.0))
    e.figure("nats a move of what it writes, bias 2", calm, wild, "without bias")

    knowing = dsl.load("HandwritingSynthesis").build(
        K=len(LETTERS), H=hidden, M=mixture, G=e.size(2, 4, 10), seed=e.seed
    )
    e.note("parameters, with a text", knowing.params.count)
    pace = (letters + 1) / float(
        test["lengths"]["t"].mean()
    )  # letters a move: the window starts with the writers' pace
    knowing.params["b_kappa"] = np.full(knowing.params["b_kappa"].shape, math.log(pace))
    told = learn(e, knowing, letters, True, test, steps)
    e.figure("nats a move, with the text", told, base, "one normal density and one coin")
    wrong = nats(knowing, test, c=np.roll(test["c"], 1, axis=1))
    e.figure("nats a move, with the text", told, wrong, "with another's text")
    if e.mode != "quick":
        e.figure("nats a move, with the text", told, freely, "without one")
        e.figure("slant of a hand and of what is written on", taken_over(e, free, letters), 0.2, "2/√100", "more")

    text = "hello"[:letters] if e.mode == "quick" else "hand"
    lines = {
        f"{text}, bias {bias:g}": written(knowing, text, 40 * letters, bias=bias, seed=e.seed) for bias in (0, 1, 4)
    }
    for n, lean in enumerate((-0.5, 0.5)):
        hand = Writer(lean, 1.0, 1.0, 0.015)
        prime = write(np.random.default_rng(n), "tomp"[:letters], hand)
        p = free.generate(60, prime=prime, bias=1.0, seed=e.seed)
        lines[f"begun with slant {lean:g} ({len(prime)} moves), written on freely"] = p
    e.draw(viz.pen(lines, title="What it writes"), "written")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
