"""Backpropagation through time is a sum over steps: one term for each use of the shared matrix.

The lecture's formula, ∂L_t/∂W = ∂L_t/∂h_t · Σ_k (Π_{k<i≤t} ∂h_i/∂h_{i−1}) · ∂h_k/∂W, computed here with explicit
Jacobians in NumPy, equals what the tape and the compiled adjoint give; the one-term formula ∂L_t/∂h_t · ∂h_t/∂W,
which forgets that h_{t−1} depends on W too, does not. R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of
training recurrent neural networks" (2013), equations 3 to 5.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import viz
from examples.experiment import Experiment, leave, main

Array = np.ndarray[Any, Any]


def by_jacobians(p: dict[str, Array], x: Array, y: Array) -> list[Array]:
    """The terms k = 0..T-1 of the last step's loss, each (H, H): explicit products of Jacobians."""
    h = [np.zeros(len(p["b"]))]
    for step in x:
        h.append(np.tanh(p["V"] @ step + p["W"] @ h[-1] + p["b"]))
    z = p["U"] @ h[-1] + p["a"]
    softmax = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    row = (softmax - np.eye(len(z))[y[-1]]) @ p["U"]  # ∂L_T/∂h_T
    terms = []
    for k in range(len(x), 0, -1):
        slope = 1 - h[k] ** 2
        terms.append(np.outer(row * slope, h[k - 1]))
        row = (row * slope) @ p["W"]
    return terms[::-1]


def run(e: Experiment) -> None:
    steps, inputs, hidden, classes = e.size(6, 12, 100), 3, e.size(4, 16, 64), 5
    random = np.random.default_rng(e.seed)
    model = e.cell("Net").build(D=inputs, H=hidden, K=classes, seed=e.seed, dtype="float64")
    for value in model.params.values():
        value.assign(random.normal(0, 0.6, value.shape) / np.sqrt(max(value.shape[-1:], default=1)))
    x, y = random.standard_normal((steps, inputs)), random.integers(0, classes, steps)
    terms = by_jacobians({n: v.numpy() for n, v in model.params.items()}, x, y)
    whole = sum(terms)

    run = model(x=x, y=y)
    run.steps["nll"][steps - 1].backward()
    tape = model.params["W"].grad.numpy()
    size = float(np.linalg.norm(tape))
    e.figure(
        "largest difference of the sum of terms and the gradient",
        float(np.abs(whole - tape).max()) / size,
        1e-12,
        "rounding",
    )
    one = float(np.linalg.norm(terms[-1] - tape)) / size
    e.figure("what the one-term formula misses, as a share of the gradient", one, 0.1, "a tenth", "more")
    shares = [round(float(np.linalg.norm(t)) / size, 4) for t in terms]
    e.note("size of each term beside their sum", shares[-8:])
    picture = viz.terms(model(x=x, y=y), loss=steps - 1, to="W")
    e.figure(
        "the same terms as the picture's",
        float(np.abs(picture.data["term"] - np.array(terms)).max()),
        1e-12,
        "rounding",
    )
    e.draw(picture, "terms")
    e.draw(viz.bptt(model(x=x, y=y), loss=steps - 1, to="W"), "bptt")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
