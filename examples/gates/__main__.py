"""The extreme regimes of gates: what an LSTM and a GRU do while their gates are open or shut.

S. Hochreiter, J. Schmidhuber (1997); F. A. Gers, J. Schmidhuber, F. Cummins (2000). With forget and input gate at 0 or
1 a unit keeps (1, 0), captures (0, 1), erases (0, 0) or adds (1, 1); what it shows is the output gate's business alone.
Half open is far from open: a gate of 1/2 leaves 8e-31 of a state after 100 steps, one of sigmoid(5) leaves half of it.
A GRU whose update gate has a high bias keeps its state whatever it reads.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import viz
from examples.experiment import Experiment, leave, main

Array = np.ndarray[Any, Any]
# phase -> steps (quick, otherwise), forget, input and output gate
PHASES = {
    "captures": ((1, 1), 0, 1, 0),
    "keeps (hidden)": ((4, 19), 1, 0, 0),
    "keeps (shown)": ((3, 10), 1, 0, 1),
    "adds": ((2, 2), 1, 1, 1),
    "keeps what it added": ((3, 8), 1, 0, 1),
    "erases": ((2, 5), 0, 0, 1),
}


def wired(e: Experiment) -> None:
    """One unit through all regimes; its input is noise all along."""
    size = 0 if e.mode == "quick" else 1
    gates = np.concatenate([np.repeat([[f, i, o]], steps[size], 0) for steps, f, i, o in PHASES.values()]).astype(float)
    ends = np.cumsum([steps[size] for steps, *_ in PHASES.values()])
    starts = dict(zip(PHASES, [0, *ends[:-1]], strict=True))
    x = np.random.default_rng(e.seed).normal(size=len(gates))
    run = e.cell("Wired").build(dtype="float64")(x=x, f=gates[:, 0], i=gates[:, 1], o=gates[:, 2])
    c, h = run.c.numpy(), run.h.numpy()
    taken = np.tanh(x)
    shown, added = starts["keeps (shown)"], starts["adds"]
    e.figure("captured, difference to what came in", abs(c[0] - taken[0]), 1e-15, "rounding")
    e.figure("kept until it is shown, change", abs(c[added - 1] - c[0]), 1e-12, "rounding")
    e.figure("shown while hidden, at most", np.abs(h[:shown]).max(), 1e-12, "a shut gate")
    e.figure("shown, difference to tanh of the state", abs(h[shown] - np.tanh(c[shown])), 1e-15, "rounding")
    total = c[0] + taken[added : starts["keeps what it added"]].sum()
    e.figure("added up, difference to the sum", abs(c[starts["erases"] - 1] - total), 1e-12, "rounding")
    e.figure("left after erasing", abs(c[-1]), 1e-12, "a shut gate")
    told = {"input, tanh(x)": taken, "state c": c, "shown, h": h}
    e.draw(viz.lines(told, y="value", title=" · ".join(PHASES)), "regimes")


def retention(e: Experiment) -> None:
    """A state left alone for 100 steps, by the forget gate's bias: an LSTM without weights, run."""
    steps, left = 101, {}
    for bias in (0.0, 1.0, 3.0, 5.0):
        model = e.cell("Left").build(H=1, dtype="float64")
        for name, value in model.params.items():
            model.params[name] = np.zeros(value.shape)
        model.params["rnn.b_f"] = np.array([bias])
        left[f"bias {bias:g}"] = model(x=np.zeros((steps, 1)), c0=np.ones(1))["rnn.c"].numpy()[:, 0]
    hundred = {name: float(values[99]) for name, values in left.items()}
    e.figure("left after 100 steps, bias 0", hundred["bias 0"], 7.9e-31, "the lectures' 0.5¹⁰⁰", "equal", 1e-32)
    e.figure("left after 100 steps, bias 5", hundred["bias 5"], 0.51, "the lectures' σ(5)¹⁰⁰", "equal", 0.002)
    e.draw(
        viz.lines(left, x="steps later", y="share of the state", log=True, title="What a forget gate leaves"),
        "retention",
    )


def updates(e: Experiment) -> None:
    """GRUs of random weights that read noise: how far they have left their start, by the update gate's bias."""
    steps, units = 50, 16
    random = np.random.default_rng(e.seed)
    x, start = random.normal(size=(steps, 8, 4)), random.uniform(-1, 1, (8, units))
    far = {}
    for name in ("GRU", "GRUResetAfter"):
        for bias in (0.0, 3.0, 12.0):
            model = e.cell("Held", Cell=name).build(D=4, H=units, seed=e.seed, dtype="float64")
            model.params["rnn.b_z"] = np.full(units, bias)
            far[f"{name}, bias {bias:g}"] = np.abs(model(x=x, h0=start)["rnn.h"].numpy() - start).mean((1, 2))
    for name in ("GRU", "GRUResetAfter"):
        kept, free = far[f"{name}, bias 12"][-1], far[f"{name}, bias 0"][-1]
        e.figure(
            f"{name}, distance from the start after {steps} steps, bias 12 beside 0", kept / free, 0.02, "a fiftieth"
        )
    shown = {name: values for name, values in far.items() if name.startswith("GRU,")}  # the other kind lies on it
    e.draw(viz.lines(shown, y="mean distance from the start", title="What a GRU's update gate keeps"), "updates")


def run(e: Experiment) -> None:
    wired(e)
    retention(e)
    updates(e)


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, larger=False)))
