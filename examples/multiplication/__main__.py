"""Multiplication: two numbers of a long sequence are marked, and their product is asked for at the end.

S. Hochreiter, J. Schmidhuber, "Long short-term memory" (1997), experiment 5: a state that can only add has to multiply.
Here the marks are those of adding, one in each half, and the numbers are from [0, 1]. Who always answers the mean, 1/4,
has a mean squared error of 7/144. Published, with a net of 93 weights, one sequence an update and T = 100: a mean
squared error of 0.0223 after 482,000 sequences.
"""

from __future__ import annotations

import sys

import tinygrad_seq as tg
import viz
from examples import marked, tasks
from examples.experiment import Experiment, leave, main


def run(e: Experiment) -> None:
    steps = e.size(10, 100, 200)
    model = e.cell("Product").build(H=e.size(16, 32, 64), seed=e.seed)
    done = marked.learn(
        e,
        "LSTM",
        model,
        tasks.multiplication,
        steps,
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 5e-3, 2e-3)),
        updates=e.size(300, 5000, 30_000),
        every=e.size(50, 100, 500),
        enough=e.size(0.02, 0.001, 0.0005),
    )
    e.note("parameters", model.params.count)
    e.note("sequences", marked.BATCH * done.steps)
    mean = float(tasks.multiplication(e.unseen(), steps, 500)["y"].var())
    e.note("mean squared error of the mean, on the same test", round(mean, 5))
    e.figure("mean squared error, LSTM", done.measures["mse"], 7 / 144, "always answering 1/4")
    if e.mode != "quick":
        e.figure("mean squared error, LSTM", done.measures["mse"], 0.0223, "the paper's, after 482,000 sequences")
    e.draw(viz.curves(done.curves, f"Multiplying two of {steps} numbers"), "curves")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
