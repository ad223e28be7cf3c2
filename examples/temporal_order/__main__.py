"""Temporal order: of a long sequence two symbols matter, and the order in which they came.

S. Hochreiter, J. Schmidhuber (1997), experiment 6a, as R. Pascanu, T. Mikolov, Y. Bengio (2013), section 4.1, have it:
four symbols that mean nothing; A or B somewhere in the second tenth and again in the sixth. Answered when 99 of 100
unseen sequences are; a guess is right once in four. LSTMs, GRUs and a tanh net have the same number of updates at most.
A gate that starts half open leaves 2^-40 of a state forty steps later, and nothing to learn from: a GRU does not learn
it among 100. Its update gate with a bias of 2 keeps .88 a step, and it does. An LSTM's forget gate, whose bias starts
at 1, keeps .73: enough among 100, not among 200 (`--full`), where gates that start with biases drawn for the length (C.
Tallec, Y. Ollivier, 2018) are. (How a tanh net and the plain gradient learn it over 30 steps with their norm clipped:
examples.clipping. The net of 156 weights of 1997: examples.hs97.)
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from examples import tasks
from examples.comparison.job import remember
from examples.experiment import Experiment, leave, main

# name -> the cell, and the bias of its update gate at the start; a long start has biases drawn for the length
LONG = -1.0
NETS = {
    "LSTM": ("LSTM", 0.0),
    "LSTM, long start": ("LSTM", LONG),
    "GRU, reset before": ("GRU", 0.0),
    "GRU, reset after": ("GRUResetAfter", 0.0),
    "GRU, reset before, bias 2": ("GRU", 2.0),
    "GRU, reset after, bias 2": ("GRUResetAfter", 2.0),
    "tanh": ("Elman", 0.0),
}


def run(e: Experiment) -> None:
    steps = e.size(10, 100, 200)
    test = tasks.order(e.unseen(), steps, 500)
    right, curves = {}, {}
    for name, (cell, bias) in NETS.items():
        model = e.cell("Order", tasks.CELLS, Cell=cell).build(H=e.size(16, 32, 64), seed=e.seed)
        if bias == LONG:
            remember(model, cell, steps, e.seed)
        elif bias:
            model.params["rnn.b_z"] = np.full(model.params["rnn.b_z"].shape, bias)

        def measured(m: Any) -> dict[str, float]:
            return {"right": float((m(x=test["x"]).z.numpy().argmax(-1) == test["y"]).mean())}

        done = e.fit(
            model,
            name,
            source=lambda random: tasks.order(random, steps, 20),
            optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 3e-3, 2e-3)),
            clip=1.0,
            steps=e.size(200, 1500, 10_000),
            valid_every=e.size(50, 50, 200),
            evaluate=measured,
            until=lambda found: found["right"] >= 0.99,
        )
        right[name] = done.measures["right"]
        curves[name] = done.curves.measured("right")
        e.note(f"updates, {name}", done.steps if done.reached else f"not in {done.steps}")
    for name, (_, bias) in NETS.items():
        if bias or (name == "LSTM" and e.mode != "full"):
            enough, origin = e.size((0.5, "twice a guess"), (0.99, "solved"), (0.99, "solved"))
            e.figure(f"right, {name}", right[name], enough - 1e-9, origin, "more")
        else:
            e.note(f"right, {name}", round(right[name], 4))
    e.draw(
        viz.lines(
            curves,
            x="update",
            y="share right, unseen",
            title=f"The order of two symbols among {steps}",
            marks=True,
            levels={"a guess": 0.25},
        ),
        "right",
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
