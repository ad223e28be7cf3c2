"""Vanishing and exploding gradients, seen: how the gradient of the last step fades on its way back, cell beside cell.

Y. Bengio, P. Simard, P. Frasconi, "Learning long-term dependencies with gradient descent is difficult" (1994);
R. Pascanu, T. Mikolov, Y. Bengio (2013), section 2. In the scalar case the slope of the logarithm of the norm is
log|w|. A step's Jacobian of norm below 1 makes gradients vanish, as a sigmoid's does, whose slope is 1/4 at most; one
of norm above 1 does not make them explode: [[0, 2], [0, 0]] has norm 2 and square 0. A unitary net (M. Arjovsky, A.
Shah, Y. Bengio, 2016) keeps every norm as it starts, since its biases are 0 then. And a gradient that is small far
back has two meanings: the net forgets, or the data never asked it to remember. One LSTM, started to remember, learns to
say the first bit of a sequence, or the last one; only by the data do the two differ.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from examples.experiment import Experiment, leave, main
from tinygrad_seq.initializers import initialize

Array = np.ndarray[Any, Any]
TANH, SKIP = "tanh, {} × orthogonal", "the first with a skip of 10"
SIGMOID, UNITARY = "sigmoid, orthogonal", "unitary"


def reach(model: Any, x: Array) -> Array:
    """‖∂(Σ h_T)/∂h_k‖ for the steps k = 0..T-1."""
    return np.asarray(viz.gradient_flow(model(x=x)).data["norm"][-1])


def scalars(e: Experiment, steps: int) -> None:
    """Row by row: |w| below, at and above 1."""
    found: dict[str, Array] = {}
    for w in (0.8, 1.0, 1.2):
        model = e.cell("Scalar").build(seed=e.seed, dtype="float64")
        model.params["w"] = np.array(w)
        norm = reach(model, np.ones(steps))
        found[f"w = {w}"] = norm
        slope = np.polyfit(np.arange(steps), np.log(norm), 1)[0]
        e.figure(f"slope of log-norm a step back, w = {w}", -slope, np.log(w), "log|w|", "equal", 1e-9)
    e.draw(viz.lines(found, x="step", y="∂h[T]/∂h[k]", log=True, title="One weight"), "scalar")
    nilpotent = np.array([[0.0, 2.0], [0.0, 0.0]])
    e.figure("norm of [[0, 2], [0, 0]]", np.linalg.norm(nilpotent, 2), 1.0, "the bound for vanishing", "more")
    e.figure("norm of its square", np.linalg.norm(nilpotent @ nilpotent, 2), 0.0, "nothing explodes", "equal", 0.0)


def cells(e: Experiment, inputs: int, hidden: int) -> dict[str, Any]:
    """Models beside one another: a tanh net of an orthogonal matrix times a gain, nets of other slopes, gated ones."""
    seed = e.seed
    built: dict[str, Any] = {}
    random = np.random.default_rng(seed)
    turn = initialize("orthogonal", (hidden, hidden), random, "float64")
    for gain in (0.5, 1.0, 1.5):
        model = dsl.load("Elman").build(D=inputs, H=hidden, seed=seed, dtype="float64")
        model.params["W"] = gain * turn
        built[TANH.format(gain)] = model
    skip = dsl.load("Skip").build(D=inputs, H=hidden, k=10, seed=seed, dtype="float64")
    skip.params["W"] = skip.params["S"] = 0.5 * turn
    built[SKIP] = skip
    built[SIGMOID] = e.cell("Sigmoid").build(D=inputs, H=hidden, seed=seed, dtype="float64")
    for name, cell in (("ReLU, identity", "IRNN"), ("LSTM", "LSTM"), ("GRU", "GRU")):
        built[name] = dsl.load(cell).build(D=inputs, H=hidden, seed=seed, dtype="float64")
    built[UNITARY] = dsl.load("URNN").build(D=inputs, N=hidden // 2, seed=seed, dtype="float64")
    return built


def bits(random: np.random.Generator, steps: int, batch: int, first: bool) -> dict[str, Array]:
    """x (steps, batch): -1 or 1; y: which it was at the start, or which it is."""
    drawn = random.integers(0, 2, (steps, batch))
    return {"x": 2.0 * drawn - 1, "y": np.broadcast_to(drawn[:1], drawn.shape).copy() if first else drawn}


def taught(e: Experiment, name: str, steps: int, first: bool) -> Array:
    """‖∂L_T/∂h_k‖ of an LSTM that starts with a memory of `steps` steps and has learned to say a bit."""
    model = e.cell("Told").build(H=16, T=steps, seed=e.seed, dtype="float64")
    e.fit(
        model,
        name,
        source=lambda random: bits(random, steps, 32, first),
        optimizer=tg.optim.Adam(model.params.trained, lr=5e-3),
        clip=1.0,
        steps=e.size(200, 400),
    )
    test = bits(e.unseen(), steps, 100, first)
    right = float((model(**test).z.numpy()[-1].argmax(-1) == test["y"][-1]).mean())
    e.figure(f"right at the last step, {name}", right, 0.95, "19 of 20", "more")
    one = model(x=test["x"][:, 0], y=1 - test["y"][:, 0])  # told that it is wrong: where it is sure, no slope is left
    return np.asarray(viz.gradient_flow(one, "rnn.h", spectra=False).data["norm"][-1])


def meanings(e: Experiment, weak: Array) -> None:
    """A small gradient far back, of a net that forgets and of one that need not remember."""
    steps = len(weak)
    asked, idle = "LSTM, asked for the first bit", "LSTM, asked for the last bit"
    found = {TANH.format(0.5): weak} | {name: taught(e, name, steps, name == asked) for name in (asked, idle)}
    found = {name: norm / norm[-1] for name, norm in found.items()}
    e.figure(f"first beside last, {asked}", found[asked][0], 1e-4, "a gradient to learn from", "more")
    e.figure(f"first beside last, {idle}", found[idle][0], 1e-2 * found[asked][0], "a hundredth of that")
    title = "Small far back: it forgets, or it was never asked"
    e.draw(viz.lines(found, x="step k", y="norm of the gradient, last step 1", log=True, title=title), "meanings")


def run(e: Experiment) -> None:
    steps, inputs, hidden = e.size(30, 100), 8, e.size(12, 48)
    scalars(e, steps)
    x = 0.3 * np.random.default_rng(e.seed).standard_normal((steps, inputs))
    found = {name: reach(model, x) for name, model in cells(e, inputs, hidden).items()}
    for name, norm in found.items():
        e.note(f"norm at the first step beside the last, {name}", float(f"{norm[0] / norm[-1]:.3g}"))
    weak, strong, short = found[TANH.format(0.5)], found["LSTM"], found[SKIP]
    e.figure("tanh of half gain, first beside last", weak[0] / weak[-1], 0.5 ** (steps - 1), "the bound |W|^(T-1)")
    flat, kept = found[SIGMOID], found[UNITARY]
    e.figure("sigmoid, first beside last", flat[0] / flat[-1], 0.25 ** (steps - 1), "the bound (|W|/4)^(T-1)")
    e.figure("unitary, first beside last", kept[0] / kept[-1], 1.0, "its norm is kept", "equal", 1e-12)
    e.figure(
        "LSTM, times the tanh net's", (strong[0] / strong[-1]) / (weak[0] / weak[-1]), 1.0, "no more than it", "more"
    )
    gain = (short[0] / short[-1]) / (weak[0] / weak[-1])
    e.figure("with a skip of 10 that net reaches, times as far", gain, 0.5 ** -(steps / 2), "half the steps", "more")
    e.draw(viz.lines(found, x="step k", y="‖∂h[T]/∂h[k]‖", log=True, title="How far gradients reach"), "reach")
    meanings(e, weak)


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, larger=False)))
