"""Tape code before a cell: its gradients are those of differences, it learns, and a killed training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.run.front import Front
from dsl.run.model import Model
from dsl.spec import parse

CELL = """
cell Sum(D, H):
  input x[t]: D
  input y: scalar
  state h[t]: H = 0
  param V, W ~ glorot
  param b = 0
  param u: H ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1] + b)
  loss error = (u@last(h) - y)**2
"""


def made(dtype: str = "float32") -> tuple[Model, tg.ConvNet, Front]:
    net = tg.ConvNet(1, [tg.Conv(2, 3, (2, 1))], seed=1, dtype=dtype)
    front = Front(net.params, lambda raw: {"x": tg.columns(net(raw["image"])), "y": raw["count"]})
    return parse(CELL).build(D=4, H=6, seed=0, dtype=dtype), net, front


def bars(random: np.random.Generator) -> dict[str, Any]:
    """Images (16, 1, 4, 6) with dark columns, and their share."""
    dark = random.integers(0, 2, (16, 6))
    return {"image": np.broadcast_to(dark[:, None, None], (16, 1, 4, 6)) * 1.0, "count": dark.mean(axis=1)}


@pytest.mark.parametrize("engine", ["compiled", "tape"])
def test_gradients_go_through_the_cell_into_what_stands_before(engine: str) -> None:
    model, net, front = made("float64")
    raw = bars(np.random.default_rng(2))
    value, grads = front.value_and_grad(model, "error", raw, None, None, engine)
    assert list(grads) == [*model.params.trained, "front.0.weight", "front.0.bias"]
    for name in ("W", "front.0.weight"):
        tensor = front.learned(model)[name]
        start = tensor.numpy().copy()
        at = np.unravel_index(np.abs(grads[name]).argmax(), start.shape)
        values = []
        for step in (1e-6, -1e-6):
            moved = start.copy()
            moved[at] += step
            tensor.assign(moved)
            values.append(front.value_and_grad(model, "error", raw, None, None, engine)[0])
        tensor.assign(start)
        assert grads[name][at] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6), name
    assert value == pytest.approx(float(model(**front.streams(raw)).error.data))


def test_it_learns_and_a_training_that_was_cut_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def train(steps: int, model: Model, front: Front, **more: Any) -> Any:
        optimizer = tg.optim.Adam(front.learned(model), lr=0.01)
        options = {"engine": "tape", "progress": False, "seed": 3, **more}
        return model.fit(source=bars, front=front, optimizer=optimizer, steps=steps, **options)

    model, net, front = made()
    before = net.params["0.weight"].numpy().copy()
    done = train(60, model, front)
    assert np.mean(done.curves.loss[-5:]) < 0.2 * done.curves.loss[0]
    assert not (net.params["0.weight"].numpy() == before).any()

    other, other_net, other_front = made()
    train(25, other, other_front, out=tmp_path)
    again, again_net, again_front = made()
    train(60, again, again_front, out=tmp_path, resume=True)
    for name, p in front.learned(model).items():
        np.testing.assert_array_equal(again_front.learned(again)[name].numpy(), p.numpy(), err_msg=name)


def test_streams_of_the_cell_are_not_what_a_front_reads() -> None:
    model, _, front = made()
    with pytest.raises(ValueError, match="give batches of it by source="):
        model.fit(x=np.zeros((6, 3, 4)), y=np.zeros(3), front=front, steps=1, progress=False)
