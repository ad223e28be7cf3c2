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


# ---------------------------------------------------------------- a text coloured by units


def test_a_unit_stands_on_the_character_it_has_read() -> None:
    m = model()
    m.params["rnn.0.V_g"] = np.zeros_like(m.params["rnn.0.V_g"].numpy())
    hot = TEXT.symbols.index("t")
    for gate in "io":  # unit 3 opens after a t, and forgets at once
        v = np.full_like(m.params[f"rnn.0.V_{gate}"].numpy(), -9.0)
        v[3, hot] = 9.0
        m.params[f"rnn.0.V_{gate}"] = v
    m.params["rnn.0.V_f"] = np.full_like(m.params["rnn.0.V_f"].numpy(), -9.0)
    m.params["rnn.0.b_g"] = np.ones(5)
    drawing = viz.units(m, TEXT.ids, most=1)
    value = drawing.data["value"][:, 3]
    assert drawing.data["unit"].tolist() == [3] and drawing.data["explained"][3] > 0.99
    assert drawing.data["high"][0, 0] == hot
    read = np.array(list("a stitch in time"))
    assert (value[:-1][read == "t"] > 0.5).all() and (value[:-1][read != "t"] < 0.1).all() and np.isnan(value[-1])
    letters = [t.text for t in ET.fromstring(drawing.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "unit 3: high after t" in "".join(t or "" for t in letters)


def test_explained_is_the_correlation_ratio() -> None:
    data = viz.units(model(), TEXT.ids, "rnn.0.c").data
    v, read = data["value"][:-1], np.asarray(TEXT.ids)[:-1]
    within = sum(((v[read == s] - v[read == s].mean(0)) ** 2).sum(0) for s in np.unique(read))
    np.testing.assert_allclose(data["explained"], 1 - within / ((v - v.mean(0)) ** 2).sum(0), rtol=1e-10)


def test_units_mistakes() -> None:
    for kwargs, said in (
        ({"stream": "nothing"}, "no stream nothing"),
        ({"unit": 9}, "units 0 to 4"),
        ({"stream": "nll"}, "no stream nll on one time axis"),
    ):
        with pytest.raises(ValueError, match=said):
            viz.units(model(), TEXT.ids, **kwargs)
    with pytest.raises(ValueError, match="draws no category"):
        viz.units(dsl.load("LSTM").build(D=2, H=2), TEXT.ids)
    with pytest.raises(ValueError, match="2 to 2000"):
        viz.units(model(), TEXT.ids[:1])
