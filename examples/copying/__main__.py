"""Copying memory: ten symbols, a hundred blanks, the ten symbols again.

M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution recurrent neural networks" (2016), section 4.2, T = 100, RMSProp at
1e-3 (decay 0.9), batches of 20; the task is Hochreiter and Schmidhuber's (1997). Who knows when to answer but not what
has a loss of 10 ln 8 / (T + 20) a step. Published: the unitary net's loss goes to 0, an LSTM and a tanh net stay near
that line. Here the numbers of units are the paper's for the unitary net (128 complex ones) and close to its for the
others, so that all have some thousand parameters.
"""

from __future__ import annotations

import sys
from typing import Any

import tinygrad_seq as tg
import viz
from examples import tasks
from examples.experiment import Experiment, leave, main


def run(e: Experiment) -> None:
    steps = e.size(10, 100, 100)
    test = tasks.copying(e.unseen(), steps, e.size(50, 100, 500))
    line = tasks.memoryless(steps)
    e.figure("loss of a guess at T = 100", tasks.memoryless(100), 0.1733, "published line", "equal", 5e-5)
    nets = {
        "unitary": ("Unitary", e.size(16, 128, 128)),
        "LSTM": ("LSTM", e.size(8, 40, 40)),
        "tanh": ("Elman", e.size(8, 80, 80)),
    }
    last = slice(-tasks.RECALLED, None)
    reached, curves = {}, {}
    for name, (cell, units) in nets.items():
        model = e.cell("Copying", tasks.CELLS, Cell=cell).build(H=units, seed=e.seed)

        def measured(m: Any) -> dict[str, float]:
            run = m(**test)
            right = run.z.numpy()[last].argmax(-1) == test["y"][last]
            return {"loss": float(run.nll.data), "recalled": float(right.mean())}

        done = e.fit(
            model,
            name,
            source=lambda random: tasks.copying(random, steps, 20),
            optimizer=tg.optim.RMSProp(model.params.trained, lr=e.size(1e-2, 1e-3, 1e-3), decay=0.9),
            clip=1.0,
            steps=e.size(150, 1000, 10_000),
            valid_every=e.size(50, 50, 200),
            evaluate=measured,
            until=lambda found: found["loss"] < 0.01 * line,
        )
        reached[name] = done.measures
        curves[name] = done.curves.measured("loss")
        e.note(f"parameters, {name}", model.params.count)
        e.note(f"updates and share recalled, {name}", [done.steps, round(done.measures["recalled"], 4)])
    e.figure(
        "loss, unitary",
        reached["unitary"]["loss"],
        e.size(1.0, 0.1, 0.01) * line,
        f"{e.size('the whole', 'a tenth', 'a hundredth')} of the line",
    )
    if e.mode != "quick":
        e.figure("loss, LSTM", reached["LSTM"]["loss"], 0.8 * line, "near the line, as published", "more")
        e.figure("loss, tanh", reached["tanh"]["loss"], 0.8 * line, "near the line, as published", "more")
    e.draw(
        viz.lines(
            curves,
            x="update",
            y="loss, nats a step",
            log=True,
            title=f"Copying ten symbols over {steps} steps",
            levels={"no memory": line},
        ),
        "loss",
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
