"""A window against a recurrent net: how many parameters each has, and what lies beyond the window's edge.

A feed-forward net that sees the last w steps is the older way to predict sequences (T. J. Sejnowski, C. R. Rosenberg's
NETtalk, 1987; K. J. Lang, A. H. Waibel, G. E. Hinton's time-delay nets, 1990). Its first layer grows with w; a
dependency one step longer than w is a coin toss to it. The recurrent net has one matrix for any length. With gates its
recurrent part grows by their number: LSTM : GRU : RNN are 4 : 3 : 1.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from examples.experiment import Experiment, leave, main

WINDOW = 6  # values that the window model sees: lags 0 to 5
LOG2 = float(np.log(2))


def sequences(random: np.random.Generator, steps: int, batch: int, lag: int) -> dict[str, Any]:
    """x (steps, batch): -1 or 1; y: which it was `lag` steps ago, 0 before the start."""
    bits = random.integers(0, 2, (steps, batch))
    return {"x": 2.0 * bits - 1, "y": np.concatenate([np.zeros((lag, batch), int), bits[: steps - lag]])}


def learned(e: Experiment, cell: str, lag: int) -> float:
    """Nats a bit on unseen sequences, counted where there is something to know."""
    steps = e.size(20, 40, 60)
    model = e.cell(cell).build(H=e.size(16, 24, 64), seed=e.seed)
    e.fit(
        model,
        f"{cell}, lag {lag}",
        source=lambda random: sequences(random, steps, 32, lag),
        optimizer=tg.optim.Adam(model.params.trained, lr=1e-2),
        clip=1.0,
        steps=e.size(300, 800, 4000),
    )
    test = sequences(np.random.default_rng([e.seed, lag]), steps, 200, lag)
    terms = np.asarray(model(**test).z.numpy(), float)
    logp = terms - np.log(np.exp(terms).sum(-1, keepdims=True))
    return float(-np.take_along_axis(logp, test["y"][..., None], -1)[lag:].mean())


def counts(e: Experiment) -> None:
    """The lectures' numbers: 100 features, 100 units, a window of 100."""
    window = e.cell("Hundred").build(D=100, H=100)
    e.figure("parameters of a window of 100", window.params.count, 1_000_100, "100 (100·100 + 1)", "equal")
    plain = dsl.load("Elman").build(D=100, H=100)
    e.figure("parameters of the recurrent layer", plain.params.count, 20_100, "100 (100 + 100 + 1)", "equal")
    own = {}
    for cell in ("Elman", "GRU", "LSTM"):
        params = dsl.load(cell).build(D=100, H=100).params
        own[cell] = sum(value.size for name, value in params.items() if name.startswith("W"))
    for cell, times in (("GRU", 3), ("LSTM", 4)):
        e.figure(
            f"recurrent weights, {cell} beside RNN", own[cell] / own["Elman"], times, "its gates and candidate", "equal"
        )


def run(e: Experiment) -> None:
    counts(e)
    lags = e.size([2, 6], [1, 3, 5, 6, 7, 10], [1, 3, 5, 6, 7, 10, 15, 20, 30])
    found = {
        name: [learned(e, cell, lag) for lag in lags] for name, cell in (("window", "Window"), ("LSTM", "Recurrent"))
    }
    for name, values in found.items():
        e.note(f"nats a bit by lag, {name}", dict(zip(lags, np.round(values, 4).tolist(), strict=True)))
    inside = max(v for lag, v in zip(lags, found["window"], strict=True) if lag < WINDOW)
    beyond = min(v for lag, v in zip(lags, found["window"], strict=True) if lag >= WINDOW)
    e.figure("window, the worst lag inside", inside, 0.05, "a tenth of a coin's .69")
    e.figure("window, the best lag beyond", beyond, 0.98 * LOG2, "a coin, less 2%", "more")
    first = found["LSTM"][lags.index(WINDOW)]
    share, origin = (0.5, "half a coin's") if e.mode == "quick" else (0.05, "a twentieth of a coin's")
    e.figure("LSTM, one step beyond the window", first, share * LOG2, origin)
    curves = {name: (np.array(lags), values) for name, values in found.items()}
    e.draw(
        viz.lines(
            curves,
            x="lag, steps",
            y="nats a bit",
            title=f"A window of {WINDOW} against an LSTM",
            marks=True,
            levels={"a coin": LOG2},
        ),
        "lags",
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
