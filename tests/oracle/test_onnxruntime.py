"""The library's Elman, Peephole and GRU against onnxruntime's RNN, LSTM (with P) and GRU: float32, ragged, 1e-5.

An implementation by other people of the published equations, forward only; gradients are torch's and the reference's.
"""

from __future__ import annotations

import numpy as np
import pytest

import dsl

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

# operator, our cell, gates in ONNX's order (our names), peepholes in ONNX's order
CELLS = {
    "Elman": ("RNN", [""], []),
    "Peephole": ("LSTM", ["_i", "_o", "_f", "_g"], ["p_i", "p_o", "p_f"]),
    "GRU": ("GRU", ["_z", "_r", "_n"], []),
}


def session(operator, H, names):
    """A model of one recurrent node."""
    F, I = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    inputs = [n if n in names else "" for n in ("X", "W", "R", "B", "lens", "initial_h", "initial_c", "P")]
    if operator != "LSTM":
        inputs = inputs[:6]
    node = onnx.helper.make_node(
        operator, inputs, ["Y"], hidden_size=H, **({"linear_before_reset": 0} if operator == "GRU" else {})
    )
    graph = onnx.helper.make_graph(
        [node], "cell", [onnx.helper.make_tensor_value_info(n, I if n == "lens" else F, None) for n in inputs if n],
        [onnx.helper.make_tensor_value_info("Y", F, None)],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("name", CELLS)
def test_equals_onnxruntime(name, number):
    operator, gates, peepholes = CELLS[name]
    rng = np.random.default_rng(number)
    T, B, D, H = (int(rng.integers(2, n)) for n in (12, 6, 7, 8))
    lengths = rng.integers(1, T + 1, B)
    lengths[0] = T
    x = rng.normal(size=(T, B, D)).astype(np.float32)
    model = dsl.load(name).build(D=D, H=H, dtype="float32")
    for key, value in model.params.items():
        model.params[key] = rng.normal(size=value.shape).astype(np.float32)
    p = {key: value.numpy() for key, value in model.params.items()}

    def stacked(stem):
        return np.concatenate([p[stem + g] for g in gates])[None]

    bias = np.concatenate([stacked("b"), np.zeros_like(stacked("b"))], axis=1)
    feeds = {"X": x, "W": stacked("V"), "R": stacked("W"), "B": bias, "lens": lengths.astype(np.int32)}
    if peepholes:
        feeds["P"] = np.concatenate([p[n] for n in peepholes])[None]
    (expected,) = session(operator, H, feeds).run(None, feeds)
    for engine in ("compiled", "tape"):
        got = model(x=x, lengths={"t": lengths}, engine=engine).h.numpy()
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected[:, 0], rtol=1e-5, atol=1e-5)
