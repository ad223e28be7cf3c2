"""The sum over steps, truncation and the walk: their numbers are the tape's, their pictures say what is cut."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
import viz
from tests.viz.browser import CONTROLS, Browser
from tests.viz.test_gradients import CELLS, output_of, run_of, tagger
from tests.viz.test_pictures import assert_tidy
from viz.example import example
from viz.graph import build

CELLS_OF_ALL_KINDS = [
    "CTC",
    "Translate",
    "EncoderDecoder",
    "Pyramid",
    "BiLSTM",
    "ClassifierMax",
    "VectorInitial",
    "URNN",
]


@pytest.mark.parametrize("name", [c for c in CELLS if c != "BiRNN"])
def test_terms_add_up_to_the_tapes_gradient(name: str) -> None:
    run = run_of(name, 7)
    tg.sum(run.value(output_of(run))[-1, 0]).backward()
    for parameter, tensor in run._model.params.items():
        data = viz.terms(run, to=parameter).data
        np.testing.assert_allclose(data["term"].sum(axis=0), tensor.grad.numpy(), rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(data["norm"], [np.linalg.norm(t) for t in data["term"]], rtol=1e-12)


START = """
cell Start(D, H):
  input x[t]: D
  state h[t]: H = s
  param A: (H, H) ~ glorot
  param v: H ~ normal(0, 1)
  param V, W ~ glorot
  s = tanh(A@v)
  h[t] = tanh(V@x[t] + W@h[t-1])
  output h
"""


@pytest.mark.parametrize("name", ["URNN", "ChronoLSTM", "AntisymmetricRNN", "FastGRNN", "Start"])
def test_terms_of_parameters_inside_expressions(name: str) -> None:
    """`cis(d1)`, `W - W.T`, `1 - b`, a start `tanh(A@v)`: computed once, and still each step has its share."""
    run = example(dsl.parse(START) if name == "Start" else dsl.load(name), 4, size=3)
    tg.sum(run.value(output_of(run))[-1, 0]).backward()
    starts = {"h0", "A", "v"}
    for parameter, tensor in run.model.params.items():
        if tensor.grad is None:  # a permutation is not learned
            continue
        data = viz.terms(run, to=parameter).data
        assert data["k"].tolist() == ([0] if parameter in starts else [0, 1, 2, 3])
        np.testing.assert_allclose(data["term"].sum(axis=0), tensor.grad.numpy(), rtol=1e-10, atol=1e-13)
        assert viz.bptt(run, to=parameter).data["norm"] == pytest.approx(np.linalg.norm(tensor.grad.numpy()), rel=1e-10)


def test_terms_are_products_of_jacobians() -> None:
    """Elman by hand: ∂L/∂h_t · Π diag(1 − h²)W · outer(·, h_{k−1})."""
    run = run_of("Elman", 5)
    h, W = run.h.numpy()[:, 0], run._model.params["W"].numpy()
    data = viz.terms(run, to="W").data
    g = np.ones(4)
    for k in range(4, -1, -1):
        assert data["incoming"][k] == pytest.approx(np.linalg.norm(g), rel=1e-12)
        local = g * (1 - h[k] ** 2)
        before = h[k - 1] if k else np.zeros(4)
        np.testing.assert_allclose(data["term"][k], np.outer(local, before), rtol=1e-12, atol=1e-15)
        g = W.T @ local


def test_terms_of_a_long_run_are_gathered() -> None:
    drawing = viz.terms(run_of("Elman", 40), to="W")
    ET.fromstring(drawing.svg)
    assert drawing.svg.count("‖term‖") == 12 and "k = 5…33" in drawing.svg


def _truncated_by_hand(run: Any, low: int, last: int, back: int) -> dict[str, Any]:
    """The gradient of a run that starts at step `back` with the state it had, which is data."""
    model, x = run._model, run.value("x").numpy()
    state = model(x[:back], engine="tape").state if back else None
    later = model(x[back:], state=state, engine="tape")
    for tensor in model.params.values():
        tensor.grad = None
    tg.sum(later.value(output_of(run))[low - back : last - back + 1, 0]).backward()
    return {n: t.grad.numpy() for n, t in model.params.items()}


@pytest.mark.parametrize("name", ["Elman", "LSTM", "Skip"])
@pytest.mark.parametrize(("k1", "k2", "update"), [(3, 3, -1), (2, 5, 2), (4, 6, 1)])
def test_truncation_is_a_run_that_starts_late(name: str, k1: int, k2: int, update: int) -> None:
    run = run_of(name, 8)
    drawing = viz.truncated(run, k1, k2, update=update)
    low, last, back = drawing.data["chunks"][update]
    expected = _truncated_by_hand(run, low, last, back)
    for parameter, gradient in drawing.data["truncated"].items():
        np.testing.assert_allclose(gradient, expected[parameter], rtol=1e-10, atol=1e-13)
    lags = {1, 4} if name == "Skip" else {1}
    cut = {(s, t) for s, t in drawing.data["cut"].tolist()}
    assert cut == {(t - n, t) for n in lags for t in range(back, last + 1) if 0 <= t - n < back}
    assert drawing.svg.count('class="loss net cut"') >= len(cut) > 0
    assert drawing.data["cosine"].keys() == expected.keys()


def test_one_loss_for_the_whole_sequence_is_cut_before_its_end() -> None:
    run = example(dsl.load("Classifier"), 6)
    data = viz.truncated(run, 2, 3).data
    assert data["cut"].tolist() == [[2, 3]] and data["chunks"][-1].tolist() == [4, 5, 3]
    layer = dsl.load("LSTM").build(D=4, H=4, dtype="float64")  # by hand: a layer that starts at step 3 with what it had
    for name in layer.params:
        layer.params[name] = run.model.params[f"rnn.{name}"].numpy()
    x, U, a = run.value("x").numpy(), run.model.params["U"], run.model.params["a"]
    h = layer(x[3:], state=layer(x[:3], engine="tape").state, engine="tape").h[-1, 0]
    U.grad = a.grad = None
    tg.cross_entropy(U @ h + a, run.value("y").numpy()[0]).backward()
    assert data["truncated"].keys() == run.model.params.keys()
    for name, gradient in data["truncated"].items():
        tensor = layer.params[name[4:]] if name.startswith("rnn.") else run.model.params[name]
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", CELLS_OF_ALL_KINDS)
def test_any_cell_is_truncated_or_says_why_not(name: str) -> None:
    with np.errstate(all="ignore"):
        run = example(dsl.load(name), 4, size=3)
    try:
        drawing = viz.truncated(run, 2, 3)
    except ValueError as error:
        assert "there is nothing to cut" in str(error)
        return
    assert_tidy(drawing.scene)


def test_untruncated_is_the_whole_gradient() -> None:
    data = viz.truncated(run_of("LSTM", 5), 5).data
    assert len(data["cut"]) == 0
    for name, gradient in data["full"].items():
        np.testing.assert_array_equal(gradient, data["truncated"][name])


def test_errors() -> None:
    run = run_of("Elman", 5)
    for k1, k2 in ((0, 1), (3, 2)):
        with pytest.raises(ValueError, match="1 ≤ k1 ≤ k2"):
            viz.truncated(run, k1, k2)
    with pytest.raises(ValueError, match="updates 0 to 2"):
        viz.truncated(run, 2, update=3)
    with pytest.raises(ValueError, match="nll is one number for all steps; it comes with the last, 1"):
        viz.truncated(example(dsl.load("Classifier"), 3), 2, update=0)
    with pytest.raises(ValueError, match="needs a run"):
        viz.truncated("LSTM", 2)
    with pytest.raises(ValueError, match=r"viz\.bptt follows a stream"):
        viz.terms(run, to="h[1]")
    with pytest.raises(ValueError, match="too long to follow"):
        viz.walk(run_of("Elman", 60), to="W")


def test_a_walk_goes_back_step_by_step(tmp_path: Path) -> None:
    page = viz.walk(tagger(5), to="S")
    assert page.data["since"] == [None, 4, 3, 2, 1, 0] and len(page.frames) == 6
    hot = [frame.svg.count(" hot ") for frame in page.frames]
    assert hot == sorted(hot) and hot[-1] > hot[1] > hot[0]
    for frame in page.frames:
        assert_tidy(frame.scene)
    written = page.save_frames(tmp_path / "slides")
    assert [p.name for p in written] == [f"{n:02d}.svg" for n in range(6)]
    places = [{(m.id, round(m.x), round(m.y)) for m in f.scene.marks} for f in page.frames]
    assert all(p == places[0] for p in places)  # nothing moves from frame to frame


def test_a_walk_goes_through_the_decoder_then_the_encoder() -> None:
    page = viz.walk(example(dsl.load("Translate"), 3))
    stops = list(zip(page.data["axis"], page.data["since"], strict=True))[1:]
    assert stops[:3] == [("t", 2), ("t", 1), ("t", 0)] and stops[3:] == sorted(stops[3:], reverse=True)
    assert len({a for a, _ in stops[3:]}) == 1 and stops[3][0] == "s"
    lit = [{r for p in f.scene.pieces if "hot" in p.classes for r in p.reads} for f in page.frames]
    assert all(a <= b for a, b in zip(lit, lit[1:], strict=False))
    graph = build(dsl.load("Translate").system)
    assert not any(graph.nodes[r.wire.target].lane == "s" for k in range(4) for r in lit[k])


def test_a_walk_in_a_browser(tmp_path: Path) -> None:
    page = viz.walk(run_of("LSTM", 4), to="W_f")
    path = page.save(tmp_path / "walk.html")
    with Browser() as browser:
        browser.open(path, "#frame=2")
        shown = "[...document.querySelectorAll('#picture > div')].map(d => !d.hidden)"
        assert browser.value(shown) == [k == 2 for k in range(len(page.frames))]
        before = browser.value("document.body.outerHTML")
        browser.click("next")
        assert browser.value("document.getElementById('status').textContent").startswith("Frame 3 of")
        browser.click("back")
        assert browser.value("document.body.outerHTML") == before
        browser.value("document.getElementById('next').focus()")
        browser.key("End")
        assert browser.value("location.hash") == f"#frame={len(page.frames) - 1}"
        browser.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        for frame, step in ((1, 3), (4, 0)):  # on a telephone the step in question is in sight
            browser.open(path, f"#frame={frame}")
            box = browser.value(f"document.getElementById('f{frame}-t{step}:i').getBoundingClientRect().x")
            assert 0 < box < 390
        browser.call("Emulation.clearDeviceMetricsOverride")
        assert len(browser.requests) == 1
        assert browser.errors == []
        assert all(n["name"].strip() for n in browser.names() if n["role"] in CONTROLS)
