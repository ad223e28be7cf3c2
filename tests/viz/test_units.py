"""Gates on a text and attention weights: the numbers drawn are the model's."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import dsl
import viz
from viz.example import example

TEXT = dsl.Text.of("a stitch in time\n")


def model() -> Any:
    return dsl.load("CharRNN").build(K=len(TEXT.symbols), H=5, dtype="float64", seed=2)


def test_gate_values_are_the_runs() -> None:
    m = model()
    drawing = viz.gates(m, TEXT.ids, "rnn.0.i")
    run = m(y=np.asarray(TEXT.ids)[:, None])
    np.testing.assert_allclose(drawing.data["value"], run["rnn.0.i"].numpy()[:, 0], rtol=1e-12)
    letters = [g for g in ET.fromstring(drawing.svg).iter() if (g.get("id") or "").startswith("x")]
    assert len(letters) == len(TEXT.ids)


def test_influence_is_the_derivative_of_the_logit() -> None:
    """Against central differences in the one-hot inputs, by a cell that takes them as numbers."""
    m = model()
    ids, at = np.asarray(TEXT.ids), 9
    norm = viz.gates(m, TEXT.ids, at=at).data["norm"]
    numbers = dsl.load("LSTM").build(D=len(TEXT.symbols), H=5, dtype="float64")
    for name in numbers.params:
        numbers.params[name] = m.params[f"rnn.0.{name}"].numpy()
    U = m.params["U"].numpy()[ids[at]]
    x = np.zeros((at + 1, 1, len(TEXT.symbols)))
    for s in range(1, at + 1):
        x[s, 0, ids[s - 1]] = 1.0

    def logit(v: np.ndarray[Any, Any]) -> float:
        return float(U @ numbers(v).h.numpy()[at, 0])

    for k in (at - 1, at - 3):
        steps = np.zeros(x.shape[-1])
        for n in range(x.shape[-1]):
            up, down = x.copy(), x.copy()
            up[k + 1, 0, n] += 1e-5
            down[k + 1, 0, n] -= 1e-5
            steps[n] = (logit(up) - logit(down)) / 2e-5
        assert norm[k] == pytest.approx(np.linalg.norm(steps), rel=1e-6)
    assert not norm[at:].any()


def test_gates_errors() -> None:
    m = model()
    with pytest.raises(ValueError, match="has no stream nothing"):
        viz.gates(m, TEXT.ids, "nothing")
    with pytest.raises(ValueError, match="positions 0 to 16"):
        viz.gates(m, TEXT.ids, at=99)
    with pytest.raises(ValueError, match="not fitted to a text"):
        viz.gates(m, "a stitch")
    with pytest.raises(ValueError, match="draws no category"):
        viz.gates(dsl.load("LSTM").build(D=2, H=2), TEXT.ids)
    with pytest.raises(ValueError, match="1 to 240"):
        viz.gates(m, np.zeros(999, dtype=int))


@pytest.mark.parametrize("name", ["Translate", "ClassifierAttention"])
def test_attention_weights_are_the_width_of_wires(name: str) -> None:
    run = example(dsl.load(name), 4)
    drawing = viz.attention(run)
    weights = drawing.data["weights"]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    stream = "a" if name == "Translate" else "w"
    np.testing.assert_array_equal(weights.ravel(), np.ravel(run.value(stream).numpy()))
    wide = {p.width for p in drawing.scene.pieces if p.width is not None}
    assert wide == {round(0.8 + 8.0 * float(w), 2) for w in weights[-1]}
    ET.fromstring(drawing.svg)


def test_attention_errors() -> None:
    with pytest.raises(ValueError, match="no softmax over a time axis"):
        viz.attention("LSTM")
    with pytest.raises(ValueError, match="needs a run"):
        viz.attention("Translate")
    with pytest.raises(ValueError, match="steps 0 to 3"):
        viz.attention(example(dsl.load("Translate"), 4), t=7)
