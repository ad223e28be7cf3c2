"""`kept`: a parameter stays on its set through training, whoever makes the optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from dsl.run.model import Model
from tests.run.cells import build

CELL = """
cell Kept(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V ~ glorot
  param W ~ orthogonal, kept
  param g: H ~ norm, kept
  param b = 0
  h[t] = tanh(V@x[t] + W@(g*h[t-1]) + b)
  output h
  loss e = mean[t](sum((h[t] - 0.5)*(h[t] - 0.5)))
"""


def off(w: Any, gain: float = 1.0) -> float:
    """‖WᵀW − gain²·I‖."""
    w = np.asarray(w, np.float64)
    return float(np.linalg.norm(w.T @ w - gain**2 * np.eye(len(w))))


def train(model: Model, optimizer: Any, updates: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(updates):
        _, grads = model.value_and_grad(rng.normal(size=(4, 3, 2)))
        optimizer.step(grads)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 1e-5)])
def test_a_thousand_updates_later_it_is_still_orthogonal(dtype: str, bound: float) -> None:
    model = build(CELL, D=2, H=5, dtype=dtype)
    before = {n: t.numpy().copy() for n, t in model.params.items()}
    train(model, tg.optim.Adam(model.params, lr=1e-2), 1000)
    assert off(model.params["W"].numpy()) < bound
    assert abs(np.linalg.norm(model.params["g"].numpy()) - 1) < bound
    for name in before:  # and it has learned
        assert np.abs(model.params[name].numpy() - before[name]).max() > 0.05


@pytest.mark.parametrize("kind", ["SGD", "RMSProp", "Adagrad", "Adam", "AdamW"])
def test_every_optimizer_keeps(kind: str) -> None:
    model = build(CELL, D=2, H=4)
    for params in (model.params, model.params.trained):
        train(model, getattr(tg.optim, kind)(params, lr=1e-2), 3)
        assert off(model.params["W"].numpy()) < 1e-12
    train(model, getattr(tg.optim, kind)(model.params, lr=1e-2, kept={}), 3)  # unless told otherwise
    assert off(model.params["W"].numpy()) > 1e-6


def test_fit_and_restore_keep(tmp_path: Path) -> None:
    model = build(CELL, D=2, H=4)
    x = np.random.default_rng(0).normal(size=(40, 2))
    model.fit(x=x, batch=2, chunk=5, steps=20, progress=False)
    assert off(model.params["W"].numpy()) < 1e-12
    restored = dsl.restore(model.save(tmp_path / "m.safetensors"))
    assert list(restored.params.kept) == ["W", "g"]
    restored.fit(x=x, batch=2, chunk=5, steps=5, progress=False)
    assert off(restored.params["W"].numpy()) < 1e-12


def test_a_copy_inside_another_cell_keeps_too() -> None:
    model = build(
        CELL + "\ncell Two(D, H):\n  input x[t]: D\n  use r = stack 2 of Kept(x=x, H=H)\n  output r", D=2, H=4
    )
    assert {"r.0.W", "r.0.g", "r.1.W", "r.1.g"} == set(model.params.kept)


def test_a_gain_scales_the_set() -> None:
    model = build(CELL.replace("~ orthogonal, kept", "~ orthogonal(0.5), kept"), D=2, H=4)
    assert off(model.params["W"].numpy(), 0.5) < 1e-12
    moved = model.params["W"].numpy() + 0.01
    back = model.params.kept["W"](moved)
    assert off(back, 0.5) < 1e-12 and np.abs(back - moved).max() < 0.05
