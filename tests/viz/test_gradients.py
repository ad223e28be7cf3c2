"""The numbers on the pictures are the tape's gradients."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
import viz
from tests.viz.test_pictures import overlap, rectangles
from viz import theme
from viz.graph import build
from viz.numbering import SIZE
from viz.numbers import Backward, Values, jacobian_norm
from viz.paths import gradients

SVG = "{http://www.w3.org/2000/svg}"
CELLS = ["Elman", "Skip", "LSTM", "Peephole", "GRU", "GRUResetAfter", "MGU", "IndRNN", "Coupled", "BiRNN", "Residual"]
LANGUAGE = """
cell Tagger(D, H, K):
  input x[t]: D
  input y[t]: one_hot K
  state h[t]: H = 0
  param V, W, S, U ~ glorot
  param b, a = 0
  h[t] = tanh(V@x[t] + W@h[t-1] + S@h[t-2] + b)
  logits[t] = U@h[t] + a
  loss nll = mean[t](cross_entropy(logits[t], y[t]))
"""


def run_of(name: str, steps: int = 6, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    spec = dsl.load(name)
    sizes = {k: v for k, v in {"D": 3, "H": 4}.items() if k in spec.system.arguments}
    model = spec.build(dtype="float64", seed=seed, **sizes)
    return model(rng.standard_normal((steps, 2, 3)), engine="tape")


def tagger(steps: int = 7) -> Any:
    rng = np.random.default_rng(3)
    model = dsl.parse(LANGUAGE).build(D=3, H=4, K=5, dtype="float64", seed=1)
    return model(x=rng.standard_normal((steps, 2, 3)), y=rng.integers(0, 5, (steps, 2)), engine="tape")


def output_of(run: Any) -> str:
    system = run._model.system
    name = system.outputs[0]
    return str(system.aliases.get(name, name))


@pytest.mark.parametrize("name", CELLS)
def test_shares_of_every_parameter_add_up_to_the_tapes_gradient(name: str) -> None:
    run = run_of(name)
    system = run._model.system
    found = gradients(run, system, build(system).home[output_of(run)], False, 3, sequence=1)
    tg.sum(run.value(output_of(run))[3, 1]).backward()
    checked = 0
    for parameter, tensor in run._model.params.items():
        total = sum(found.shares.get(parameter, {}).values())
        np.testing.assert_allclose(total, 0 if tensor.grad is None else tensor.grad.numpy(), rtol=1e-10, atol=1e-13)
        checked += 1
    assert checked == len(run._model.params) > 0


def test_gradient_of_a_state_is_the_derivative() -> None:
    """h[2] of an Elman cell reaches the output only through later steps: compare with central differences."""
    run = run_of("Elman")
    drawing = viz.bptt(run, loss=5, to="h[2]")
    x = run.value("x").numpy()[:, 0]
    p = {k: v.numpy() for k, v in run._model.params.items()}

    def final(h: np.ndarray[Any, Any]) -> float:
        for s in range(3, 6):
            h = np.tanh(p["V"] @ x[s] + p["W"] @ h + p["b"])
        return float(h.sum())

    h2 = run.h.numpy()[2, 0]
    expected = [(final(h2 + 1e-6 * e) - final(h2 - 1e-6 * e)) / 2e-6 for e in np.eye(4)]
    np.testing.assert_allclose(drawing.data["gradient"], expected, rtol=1e-7, atol=1e-9)
    assert drawing.data["norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-7)


def test_bptt_prints_its_data() -> None:
    drawing = viz.bptt(tagger(), loss=6, to="h[1]")
    tree = ET.fromstring(drawing.svg)
    printed = sorted(t.text or "" for t in tree.iter(f"{SVG}text") if t.get("class") == "number")
    assert printed == sorted(theme.number(v) for v in drawing.data["printed"])
    # h -> tanh and tanh -> h at five steps, four arcs of the skip, logits and loss
    assert len(printed) == 5 + 5 + 4 + 2 == len(drawing.data["value"])
    assert f"= {theme.number(drawing.data['norm'])}" in drawing.title


def test_a_rail_prints_the_sum_of_what_runs_along_it() -> None:
    run = run_of("LSTM", 4)
    drawing = viz.bptt(run, loss=3, to="h[1]")
    on = dict(zip(drawing.data["printed_on"], drawing.data["printed"], strict=True))
    assert on["t2-in-rail:h:-1"] == pytest.approx(drawing.data["norm"], rel=1e-12)


def test_messages_leaving_a_node_add_up() -> None:
    """‖∂L/∂h‖ at the target equals the norm of the sum of what the printed edges out of it carry."""
    run = tagger()
    system = run._model.system
    graph = build(system)
    backward = Backward(graph, Values(run, system))
    seed = ("nll", 6)
    sweep = backward.run({seed: np.ones(())})
    for step in range(6):
        out = [m for (w, s), m in sweep.messages.items() if w.source == "h" and s + w.lag == step]
        np.testing.assert_allclose(sum(out), sweep.cotangents["h", step], rtol=1e-12)


def test_path_is_what_lies_between() -> None:
    data = viz.bptt(tagger(), loss=6, to="h[3]").data
    steps = set(zip(data["source"], data["source_step"], data["target"], data["target_step"], strict=True))
    assert ("h", 3, "h=", 4) in steps and ("h", 3, "h=", 5) in steps and ("h", 4, "h=", 6) in steps
    assert ("logits", 6, "nll", 6) in steps
    assert not [s for s in steps if s[0] == "x" or s[3] < 3 or (s[2] == "logits" and s[3] != 6)]


def test_jacobian_norms_are_spectral() -> None:
    run = run_of("Elman")
    system = run._model.system
    graph = build(system)
    backward = Backward(graph, Values(run, system))
    wire = next(w for w in graph.wires if w.lag == -1)
    h = run.h.numpy()[3, 0]
    expected = np.linalg.norm(np.diag(1 - h**2) @ run._model.params["W"].numpy(), 2)
    assert jacobian_norm(backward, wire, 3) == pytest.approx(expected, rel=1e-12)
    data = viz.bptt(run, loss=5, to="h[2]", weight="jacobian").data
    here = (data["target"] == "h=") & (data["target_step"] == 3)
    assert data["value"][here] == pytest.approx([expected], rel=1e-12)


def test_into_a_parameter() -> None:
    run = tagger()
    data = viz.bptt(run, loss=6, to="W").data
    run2 = tagger()
    run2.steps["nll"][6, 0].backward()
    np.testing.assert_allclose(data["gradient"], run2._model.params["W"].grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(data["shares"].sum(axis=0), data["gradient"])
    assert list(data["steps"]) == list(range(7))


def test_gradient_flow_is_the_tapes() -> None:
    run = tagger()
    data = viz.gradient_flow(run).data
    assert data["norm"].shape == (7, 7)
    assert not np.triu(data["norm"], 1).any()
    for k, t in ((0, 6), (2, 5), (4, 4)):
        one = viz.bptt(tagger(), loss=t, to=f"h[{k}]").data["norm"]
        assert data["norm"][t, k] == pytest.approx(one, rel=1e-12)


def test_gradient_flow_says_where_there_is_none() -> None:
    """A loss that reads another state; and a state that runs backwards has no Jacobian from step to step."""
    text = "cell A(H):\n  input x[t]: H\n  state a[t], b[t]: H = 0\n  a[t] = x[t] + a[t-1]\n  b[t] = x[t]*b[t-1]\n"
    model = dsl.parse(text + "  loss c = sum[t](sum(a[t]))\n  output b\n").build(H=2)
    drawing = viz.gradient_flow(model(np.ones((4, 1, 2))), "b", "c")
    assert not drawing.data["norm"].any() and "0 everywhere: no gradient of c reaches b" in drawing.svg
    x = np.random.default_rng(0).standard_normal((4, 1, 3))
    assert "singular values" in viz.gradient_flow(dsl.load("BiRNN").build(D=3, H=2)(x), "f").svg
    assert "singular values" not in viz.gradient_flow(dsl.load("BiRNN").build(D=3, H=2)(x), "b").svg


def test_gradient_flow_of_many_steps_samples_losses_and_keeps_all_states() -> None:
    data = viz.gradient_flow(run_of("Elman", 100)).data
    assert data["norm"].shape == (64, 100) and data["t"][0] == 0 and data["t"][-1] == 99
    assert (data["norm"][-1] > 0).all()


def test_ten_thousand_steps() -> None:
    run = run_of("Elman", 10_000)
    drawing = viz.bptt(run, loss=9_999, to="h[9990]")
    assert len(drawing.svg) < 200_000
    assert [p.label for p in drawing.scene.panels] == ["t = 0", "t = 9990", "t = 9991", "t = 9998", "t = 9999"]


def test_a_stack_of_language_cells() -> None:
    rng = np.random.default_rng(0)
    model = dsl.load("CharRNN").build(K=7, H=5, L=2, dtype="float64")
    run = model(y=rng.integers(0, 7, (6, 2)), engine="tape")
    sequence = viz.bptt(run, loss=5, to="rnn.0.W_f", sequence=1).data
    run.steps["nll"][5, 1].backward()
    np.testing.assert_allclose(sequence["gradient"], model.params["rnn.0.W_f"].grad.numpy(), rtol=1e-9, atol=1e-15)


def test_a_spec_has_no_numbers_yet() -> None:
    drawing = viz.bptt("LSTM")
    assert "gradients not computed yet" in drawing.svg and drawing.data == {}
    assert not re.search(r'class="number"', drawing.svg)
    with pytest.raises(ValueError, match="needs a run"):
        viz.gradient_flow("LSTM")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": 7}, "steps 0 to 6"),
        ({"loss": -1}, "steps 0 to 6"),
        ({"loss": "nll[1]", "to": "h[3]"}, "does not depend on h"),
        ({"loss": "ppl[1]"}, "no loss ppl"),
        ({"to": "q[1]"}, "no stream or parameter q"),
        ({"to": "h[99]"}, "steps 0 to 6"),
        ({"to": "h[t]"}, "a stream at a step"),
        ({"weight": "size"}, '"grad" or "jacobian"'),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.bptt(tagger(), **options)


@pytest.mark.parametrize("name", ["Pyramid", "EncoderDecoder", "Translate", "ClassifierMean"])
def test_cells_whose_reads_cross_axes(name: str) -> None:
    """A state's gradient and a parameter's shares are the tape's, along drawn wires."""
    rng = np.random.default_rng(0)
    spec = dsl.load(name)
    sizes = {k: 4 for k, v in spec.system.arguments.items() if v is None}
    model = spec.build(dtype="float64", **sizes)
    given: dict[str, Any] = {}
    for n, s in model.system.streams.items():
        if s.kind in ("input", "draw"):
            lead = [4] * len(s.axes) + [1]
            category = s.dtype == "category"
            given[n] = rng.integers(0, 4, lead) if category else rng.standard_normal([*lead, *map(int, s.shape)])
    run = model(**given, engine="tape")
    drawing = viz.bptt(run)
    assert drawing.data["norm"] > 0 and len(drawing.data["printed"]) > 3
    state = next(m for m in drawing.scene.marks if "chosen" in m.classes and m.node.kind == "state").node.stream
    flow = viz.gradient_flow(run, state)
    assert np.isclose(flow.data["norm"][-1], drawing.data["norm"]).any()
    if not model.system.losses:
        tg.sum(run.value(output_of(run))[-1, 0]).backward()
        for parameter, tensor in model.params.items():
            shares = viz.bptt(run, to=parameter).data
            np.testing.assert_allclose(shares["gradient"], tensor.grad.numpy(), rtol=1e-10, atol=1e-14)
    jacobian = viz.bptt(run, weight="jacobian").data["value"]
    assert np.isfinite(jacobian).all() and jacobian.max() > 0


@pytest.mark.parametrize(("name", "to"), [("LSTM", "h[0]"), ("Skip", "h[0]"), ("GRU", "h[0]"), ("Peephole", "c[0]")])
@pytest.mark.parametrize("weight", ["grad", "jacobian"])
def test_numbers_stand_clear(name: str, to: str, weight: str) -> None:
    """No number lies on a node, a pill or another number."""
    scene = viz.bptt(run_of(name, 4), loss=3, to=to, weight=weight).scene
    found = [(f"node {n}", box) for n, box in rectangles(scene)]
    for piece in scene.pieces:
        if piece.number and piece.number_at:
            x, y = piece.number_at
            width = theme.text_width(piece.number, SIZE)
            left = x - {"start": 0.0, "middle": width / 2, "end": width}[piece.anchor]
            here = (left, y - SIZE * 0.4, left + width, y + SIZE * 0.4)
            for other, box in found:
                assert not overlap(here, box, 1.0), f"{piece.number} on {piece.id} lies on {other}"
            found.append((f"{piece.number} on {piece.id}", here))


def test_a_run_that_carried_on() -> None:
    """The state before step 0 is the earlier run's, not the boundary."""
    whole = run_of("Skip", 12)
    model, x = whole._model, whole.value("x").numpy()
    later = model(x[6:], state=model(x[:6], engine="tape").state, engine="tape")
    system = later._model.system
    backward = Backward(build(system), Values(later, system))
    for step in range(6):
        np.testing.assert_allclose(backward.node_value("h=", step), whole.h.numpy()[6 + step, 0], rtol=1e-12)
    again = viz.bptt(later, loss=5, to="h[0]").data["gradient"]
    np.testing.assert_allclose(again, viz.bptt(whole, loss=11, to="h[6]").data["gradient"], rtol=1e-12)
