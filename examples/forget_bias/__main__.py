"""The forget gate's bias: how long an LSTM remembers as it starts, and how soon it learns to add.

F. A. Gers, J. Schmidhuber, F. Cummins (2000) and R. Jozefowicz, W. Zaremba, I. Sutskever (2015): a bias of 1 or 2
instead of 0. C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?" (2018): a unit with bias b remembers
for about 1 + exp(b) steps, so let b be log u, u uniform on [1, T - 1], and the input gate's its negative. They report
(section 4, LSTM of 128, adding over 750 steps) a seventh of the updates that a bias of 1 needs. Here 32 units add over
200 and over 400 steps: the longer, the more is gained (1.6 times and 3.2 times). `--full` is the published size,
without clipping as there (55 ms an update on one core, 32 sequences each), and gives the bias of 1 seven times chrono's
updates: what has not learned by then has needed more. Killed, it goes on by `--resume`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from examples import marked, tasks
from examples.experiment import Experiment, leave, main

Array = np.ndarray[Any, Any]
PUBLISHED = 7  # times fewer updates than a bias of 1 needs
STARTS = {"bias 0": 0.0, "bias 1": 1.0}


def retained(model: Any, steps: int) -> Array:
    """What is left of a cell state 0..steps-1 steps later, the mean over units, at forget gates as they start."""
    params = model.params
    bias = params["rnn.b_f"].numpy() + (params["rnn.s"].numpy() if "rnn.s" in params else 0.0)
    gate = 1 / (1 + np.exp(-bias.astype(float)))
    return np.asarray((gate[None, :] ** np.arange(steps)[:, None]).mean(1))


def started(e: Experiment, name: str, steps: int) -> Any:
    """A model whose forget gates start as the name says."""
    hidden = e.size(16, 32, 128)
    if name == "chrono":
        return e.cell("Chrono").build(H=hidden, T=steps, seed=e.seed)
    model = e.cell("Adding").build(H=hidden, seed=e.seed)
    model.params["rnn.b_f"] = np.full(hidden, STARTS[name])
    return model


def race(e: Experiment, steps: int) -> dict[str, Any]:
    """The errors of each start over its updates; the others have as many times chrono's as were published."""
    solved, limit = e.size(0.1, 0.01, 0.01), e.size(200, 10_000, 20_000)
    updates, curves = {}, {}
    for name in ("chrono", "bias 1", *(("bias 0",) if steps <= 200 else ())):
        model = started(e, name, steps)
        done = marked.learn(
            e,
            f"{name}, {steps} steps",
            model,
            tasks.adding,
            steps,
            optimizer=tg.optim.RMSProp(model.params.trained, lr=e.size(1e-2, 2e-3, 1e-3), decay=0.9),
            updates=limit,
            every=e.size(20, 50, 100),
            enough=solved,
            tests=200,
            clip=None if e.mode == "full" else 1.0,  # the paper's gradients are not clipped
        )
        updates[name], curves[name] = done.steps, done.curves.measured("mse")
        took = done.steps if done.reached else f"not in {done.steps}"
        e.note(f"updates until the error over {steps} steps is below {solved}, {name}", took)
        if name == "chrono" and e.mode != "quick":
            limit = PUBLISHED * done.steps
    if e.mode != "quick":
        never = curves["bias 1"][1][-1] >= solved
        origin = "a bias of 1, which has not by then" if never else "a bias of 1"
        e.figure(f"updates over {steps} steps, chrono", updates["chrono"], updates["bias 1"], origin)
        times = f"{'at least ' if never else ''}{updates['bias 1'] / updates['chrono']:.1f}"
        e.note(f"over {steps} steps, times fewer than with a bias of 1 (published: {PUBLISHED}, at 750)", times)
    return curves


def run(e: Experiment) -> None:
    lengths = e.size((20,), (200, 400), (750,))
    left = {name: retained(started(e, name, lengths[0]), lengths[0]) for name in ("bias 0", "bias 1", "chrono")}
    e.draw(
        viz.lines(left, x="steps later", y="share of the state", title="What the forget gates leave, as they start"),
        "retained",
    )
    for steps in lengths:
        curves = race(e, steps)
        title = f"Adding over {steps} steps"
        e.draw(viz.lines(curves, x="update", y="mean squared error", log=True, title=title), f"adding_{steps}")
    if e.mode == "quick":
        e.figure("error of chrono", curves["chrono"][1][-1], 1 / 6, "always answering 1")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
