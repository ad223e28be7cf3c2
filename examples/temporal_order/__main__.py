"""Temporal order: of a long sequence two symbols matter, and the order in which they came.

S. Hochreiter, J. Schmidhuber (1997), experiment 6a, as R. Pascanu, T. Mikolov, Y. Bengio (2013), section 4.1, have it:
four symbols that mean nothing; A or B somewhere in the second tenth and again in the sixth. Answered when 99 of 100
unseen sequences are; a guess is right once in four. An LSTM (whose forget bias starts at 1), two GRUs (whose update
gates start half open) and a tanh net have the same number of updates at most. (How a tanh net and the plain gradient
learn it over 30 steps with their norm clipped: examples.clipping. The net of 156 weights of 1997: examples.hs97.)
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from examples import tasks
from examples.experiment import Experiment, leave, main


def run(e: Experiment) -> None:
    steps = e.size(10, 100, 200)
    test = tasks.order(np.random.default_rng([e.seed, 10**6]), steps, 500)
    cells = {"LSTM": "LSTM", "GRU, reset before": "GRU", "GRU, reset after": "GRUResetAfter", "tanh": "Elman"}
    right, curves = {}, {}
    for name, cell in cells.items():
        model = e.cell("Order", Cell=cell).build(H=e.size(16, 32, 64), seed=e.seed)

        def measured(m: Any) -> dict[str, float]:
            return {"right": float((m(x=test["x"]).z.numpy().argmax(-1) == test["y"]).mean())}

        done = model.fit(
            source=lambda random: tasks.order(random, steps, 20),
            optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 3e-3, 2e-3)),
            clip=1.0,
            steps=e.size(200, 1500, 10_000),
            valid_every=e.size(50, 50, 200),
            evaluate=measured,
            until=lambda found: found["right"] >= 0.99,
            seed=e.seed,
            progress=e.progress,
        )
        right[name] = done.measures["right"]
        at, values = zip(*done.curves.measures["right"], strict=True)
        curves[name] = np.array(at), np.array(values)
        e.note(f"updates, {name}", done.steps if done.reached else f"not in {done.steps}")
    e.figure(
        "right, LSTM",
        right["LSTM"],
        e.size(0.5, 0.99, 0.99) - 1e-9,
        e.size("twice a guess", "solved", "solved"),
        "more",
    )
    for name in ("GRU, reset before", "GRU, reset after", "tanh"):
        e.note(f"right, {name}", round(right[name], 4))
    e.draw(
        viz.lines(
            curves, x="update", y="share right, unseen", title=f"The order of two symbols among {steps}", marks=True
        ),
        "right",
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
