"""The adding problem: two numbers of a long sequence are marked, and their sum is asked for at the end.

S. Hochreiter, J. Schmidhuber, "Long short-term memory" (1997), experiment 4, in the form of Q. V. Le, N. Jaitly, G. E.
Hinton, "A simple way to initialize recurrent networks of rectified linear units" (2015), section 4.1: T numbers from
[0, 1], one mark in each half. Who always answers 1 has a mean squared error of 1/6. Published as solving it: LSTM and
IRNN (there), the unitary net (M. Arjovsky, A. Shah, Y. Bengio, 2016, section 4.1) and the IndRNN of two layers (S. Li
et al., 2018, section 5.1: within 1,500 to 3,000 updates at T = 100). Here all four learn it; three stop below 0.002.
The unitary net, whose rate falls along a cosine, is not quite there after 8,000 updates: at 0.005 with 128 complex
units. With 64 it ends at 0.009 (0.012 at a fixed rate, 0.011 by RMSProp); the published one has 512, and more updates.
"""

from __future__ import annotations

import sys

import tinygrad_seq as tg
import viz
from examples import marked, tasks
from examples.comparison.job import remember
from examples.experiment import Experiment, leave, main

# name -> the cell, and its units and the rate of Adam beside the LSTM's
NETS = {
    "LSTM": ("LSTM", 1, 1.0),
    "IRNN": ("IRNN", 1, 0.2),
    "IndRNN": ("TwoIndRNN", 1, 0.4),
    "unitary": ("Unitary", 2, 0.4),
}


def run(e: Experiment) -> None:
    steps, hidden = e.size(10, 100, 400), e.size(16, 64, 128)
    curves = {}
    for name, (cell, wider, slower) in NETS.items():
        model = e.cell("Adding", Cell=cell).build(H=wider * hidden, seed=e.seed)
        if name == "IndRNN":  # the last layer starts so that half of a value or more is left at the end, as published
            remember(model, cell, steps, e.seed)
        updates = e.size(400, 8000, 30_000)
        done = marked.learn(
            e,
            name,
            model,
            tasks.adding,
            steps,
            optimizer=tg.optim.Adam(model.params.trained, lr=slower * e.size(2e-2, 5e-3, 2e-3)),
            updates=updates,
            every=e.size(50, 200, 500),
            enough=e.size(0.08, 0.002, 0.002),
            schedule=tg.schedules.cosine(updates, 0.02) if name == "unitary" else None,
        )
        e.note(f"parameters, {name}", model.params.count)
        e.note(f"updates, {name}", done.steps)
        share = e.size(1, 10, 10)
        origin = "always answering 1" if share == 1 else "a tenth of always answering 1"
        e.figure(f"mean squared error, {name}", done.measures["mse"], 1 / 6 / share, origin)
        curves[name] = done.curves.measured("mse")
        if name == "IndRNN" and e.mode == "normal":
            e.figure("updates, IndRNN", done.steps, 3000, "the paper's, at most")
    title = f"Adding two of {steps} numbers"
    levels = {"always 1": 1 / 6}
    e.draw(viz.lines(curves, x="update", y="mean squared error", log=True, title=title, levels=levels), "curves")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
