"""A primitive added at run time goes everywhere without a second place that knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
import viz
from tinygrad_seq.primitive import REGISTRY, Primitive

CELL = """
cell Soft(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  param b = 0
  h[t] = softsign_here(V@x[t] + W@h[t-1] + b)
  output h
"""


@pytest.fixture
def softsign() -> Iterator[Primitive]:
    made = tg.elementwise(
        "softsign_here",
        lambda x: x / (1 + np.abs(x)),
        tex=r"\operatorname{{softsign}}({0})",
        kernel="({0} / (1 + abs({0})))",
        bounded=True,
        activation=True,
    )
    made.partials(lambda y, x: ((1 - tg.abs(y)) ** 2,))
    yield made
    del REGISTRY["softsign_here"]


def test_tape_and_explanation(softsign: Primitive) -> None:
    tg.check_grads(softsign, np.linspace(-3.0, 3.0, 8), order=2)
    assert "they agree" in tg.explain("softsign_here") and "softsign_here(x, /)" in (softsign.__doc__ or "")


def test_exports_take_it_from_its_kernel(softsign: Primitive, tmp_path: Path) -> None:
    model = dsl.parse(CELL).build(D=3, H=2, dtype="float64", seed=1)
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    expected = np.asarray(model(x=x).h)
    torch, runtime = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    module = model.to_torch()
    assert "def softsign_here(x):" in module.source and "x / (1 + abs(x))" in module.source
    given = torch.from_numpy(x).requires_grad_()
    found = module(given)["h"]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    found.sum().backward()
    mine = tg.tensor(x, requires_grad=True)
    tg.sum(model(x=mine).h).backward()
    assert mine.grad is not None
    np.testing.assert_allclose(given.grad.numpy(), mine.grad.data, rtol=1e-10)
    session = runtime.InferenceSession(str(model.to_onnx(tmp_path / "soft.onnx")), providers=["CPUExecutionProvider"])
    found = session.run(["h"], {"x": x, "lengths.t": np.full(2, 4)})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_cell_compiled_typeset_and_drawn(softsign: Primitive) -> None:
    cell = dsl.parse(CELL)
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    values = []
    for engine in ("compiled", "tape"):
        model = cell.build(D=3, H=2, dtype="float64", seed=1)
        values.append(np.asarray(model(x=x, engine=engine).h))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)
    assert r"\operatorname{softsign}(V\,x_{t}" in cell.latex()
    assert "softsign_here" in viz.cell(cell).svg


@pytest.mark.parametrize("kernel", ["({0} % 2.0)", "({0} if {0} > 0 else 0 * {0})", "({0} + period)"])
def test_a_kernel_that_exports_cannot_say_is_named(kernel: str, tmp_path: Path) -> None:
    made = tg.elementwise("sawtooth_here", lambda x: x % 2.0, tex="{0}", kernel=kernel)
    made.partials(lambda y, x: (1.0,))
    try:
        model = dsl.parse(CELL.replace("softsign_here", "sawtooth_here")).build(D=3, H=2)
        for export in (model.to_torch, model.to_jax, lambda: model.to_onnx(tmp_path / "a.onnx")):
            with pytest.raises(dsl.CellError, match="h uses sawtooth_here: the .* export has no counterpart"):
                export()
    finally:
        del REGISTRY["sawtooth_here"]
