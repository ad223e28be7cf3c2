"""The adding problem: two numbers of a long sequence are marked, and their sum is asked for at the end.

S. Hochreiter, J. Schmidhuber, "Long short-term memory" (1997), experiment 4, in the form of Q. V. Le, N. Jaitly,
G. E. Hinton, "A simple way to initialize recurrent networks of rectified linear units" (2015), section 4.1: T numbers
from [0, 1], one mark in each half. Who always answers 1 has a mean squared error of 1/6.
"""

from __future__ import annotations

import sys

import numpy as np

import tinygrad_seq as tg
import viz
from examples import tasks
from examples.experiment import Experiment, leave, main


def run(e: Experiment) -> None:
    steps, hidden = e.size(10, 100, 400), e.size(16, 64, 128)
    model = e.cell("Adding").build(H=hidden, seed=e.seed)
    test = tasks.adding(np.random.default_rng([e.seed, 0]), steps, 500)
    done = model.fit(
        source=lambda random: tasks.adding(random, steps, 32),
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(2e-2, 5e-3, 2e-3)),
        clip=1.0,
        steps=e.size(400, 6000, 30000),
        valid_every=e.size(50, 200, 500),
        evaluate=lambda m: {"mse": float(m(**test).mse.data)},
        until=lambda found: found["mse"] < e.size(0.08, 0.002, 0.002),
        seed=e.seed,
        out=e.folder,
        resume=False,
        progress=e.progress,
    )
    e.note("parameters", model.params.count)
    e.note("length", steps)
    e.note("updates", done.steps)
    e.figure("mean squared error, LSTM", done.measures["mse"], 1 / 6, "always answering 1")
    e.draw(viz.curves(done.curves, f"Adding two of {steps} numbers"), "curves")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
