"""The stepper: what it shows is the tape's, in data and in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
import viz
from tests.viz.browser import CONTROLS, Browser
from viz.pages.mathml import mathml
from viz.pages.page import block, shown
from viz.rerun import of_run
from viz.trace import of_function, of_loss


def neuron(x1: Any, x2: Any, w1: Any, w2: Any, b: Any) -> Any:
    n = x1 * w1 + x2 * w2 + b
    e = tg.exp(2 * n)
    return (e - 1) / (e + 1)


def language(steps: int = 4, batch: int = 1, engine: str = "tape") -> Any:
    rng = np.random.default_rng(0)
    model = dsl.load("CharRNN").build(K=5, H=3, dtype="float64")
    return model(y=rng.integers(0, 5, (steps, batch)), engine=engine)


def lstm(steps: int = 3) -> Any:
    rng = np.random.default_rng(0)
    return dsl.load("LSTM").build(D=2, H=3, dtype="float64")(rng.standard_normal((steps, 1, 2)))


# ---------------------------------------------------------------- what is shown


def test_function_values_and_adjoints_are_the_tapes() -> None:
    point = {"x1": 2.0, "x2": 0.0, "w1": -3.0, "w2": 1.0, "b": 6.8813735870195432}
    data = viz.stepper(neuron, **point).data
    leaves = {k: tg.tensor(v, requires_grad=True) for k, v in point.items()}
    out = neuron(**leaves)
    out.backward()
    for name, leaf in leaves.items():
        k = data["label"].index(name)
        assert data["adjoint"][k] == leaf.grad.item() and data["value"][k] == point[name]
    assert all(v is not None for v in data["value"])
    k = data["label"].index("n")
    assert data["adjoint"][k] == pytest.approx(0.5) and data["value"][k] == pytest.approx(0.8813735870195432)
    assert data["value"][-1] == out.item() and data["adjoint"][-1] == 1.0


@pytest.mark.parametrize("name", ["LSTM", "GRU", "Peephole", "Residual", "BiRNN"])
def test_cell_adjoints_are_the_tapes(name: str) -> None:
    rng = np.random.default_rng(1)
    spec = dsl.load(name)
    sizes = {k: v for k, v in {"D": 3, "H": 3}.items() if k in spec.system.arguments}
    model = spec.build(dtype="float64", **sizes)
    run = model(rng.standard_normal((4, 2, 3)), engine="tape")
    data = viz.stepper(run, sequence=1).data
    tg.sum(run.value(_output(run))[-1, 1]).backward()
    for parameter, tensor in model.params.items():
        if tensor.grad is not None and np.any(tensor.grad.numpy()):
            got = data["adjoint"][data["label"].index(parameter)]
            np.testing.assert_allclose(got, tensor.grad.numpy(), rtol=1e-12, atol=1e-15)


def _output(run: Any) -> str:
    system = run._model.system
    return str(system.aliases.get(system.outputs[0], system.outputs[0]))


@pytest.mark.parametrize("name", ["Pyramid", "EncoderDecoder", "Translate", "ClassifierAttention"])
def test_cells_over_several_axes(name: str) -> None:
    rng = np.random.default_rng(1)
    spec = dsl.load(name)
    model = spec.build(dtype="float64", **{k: 4 for k, v in spec.system.arguments.items() if v is None})
    given: dict[str, Any] = {}
    for n, s in model.system.streams.items():
        if s.kind in ("input", "draw"):
            lead = [4] * len(s.axes) + [1]
            category = s.dtype == "category"
            given[n] = rng.integers(0, 4, lead) if category else rng.standard_normal([*lead, *map(int, s.shape)])
    run = model(**given, engine="tape")
    page = viz.stepper(run)
    root = run.nll if model.system.losses else tg.sum(run.value(_output(run))[-1, 0])
    root.backward()
    for parameter, tensor in model.params.items():
        if parameter in page.data["label"]:
            got = page.data["adjoint"][page.data["label"].index(parameter)]
            np.testing.assert_allclose(got, tensor.grad.numpy(), rtol=1e-10, atol=1e-14)
    data = _data(page)
    streams = [s for s in data["sent"] if re.fullmatch(r"[\w.]+\[\d+\]", data["ops"][s["to"]]["title"])]
    missing = {(data["ops"][s["op"]]["title"], data["ops"][s["to"]]["title"]) for s in streams if not s["els"]}
    missing = {m for m in missing if not m[0].startswith("Σ")}  # the sum that is stepped through is not the cell's
    assert streams and not missing  # what flows into a stream's step flows along a drawn wire


def _data(page: viz.Page) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_a_loss_on_the_tape_is_recovered() -> None:
    """Values come from residuals, from the caller's variables and from computing again; names are the tensors' own,
    else the variables'."""
    a = tg.tensor(2.0, requires_grad=True, name="a")
    d = a * -3.0
    d.name = "distance"
    kept = [tg.tanh(d + 5.0)]
    loss = kept[0] * 2.0
    trace = of_loss(loss)
    assert [op.name for op in trace.ops] == ["leaf", "mul", "add", "tanh", "mul"]
    assert [op.label for op in trace.ops] == ["a", "distance", "", "kept[0]", "loss"]
    assert [float(op.value) for op in trace.ops if op.value is not None] == [2, -6, np.tanh(-1), 2 * np.tanh(-1)]


def test_what_the_tape_did_not_keep_is_said() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    trace = of_loss((x + 1.0) * 2.0)
    assert [op.value is None for op in trace.ops] == [False, True, False]
    assert shown(None) == "not kept by the tape"
    assert all(op.value is not None for op in of_function(lambda x: (x + 1.0) * 2.0, (2.0,), {}).ops)


def test_a_cells_loss_leads_to_its_run() -> None:
    run = language()
    page = viz.stepper(run.nll)
    data = _data(page)
    lines = re.findall(r'<li id="eq-(\d+)" class="code">([^<]*)', page.html)
    assert any("sigmoid" in line for _, line in lines)
    f = next(op for op in data["ops"] if op["title"] == "rnn.0.f[2]")
    assert lines[f["eq"]][1].startswith("f[t] = sigmoid(")
    assert f["els"] == ["t2:rnn.0.f"]


def test_free_code_over_a_run_names_equations() -> None:
    run = language()
    trace = of_loss(run.nll * 2.0)
    at = {(op.equation, op.at.get("t")) for op in trace.ops if not op.is_leaf}
    assert {("rnn.0.c", 0), ("rnn.0.h", 3), ("nll", None)} <= at


def test_equations_of_every_operation() -> None:
    trace = of_run(lstm())
    assert all(op.equation in trace.system.equations for op in trace.ops if not op.is_leaf)  # type: ignore[union-attr]


def test_large_tapes_are_collapsed_and_quick() -> None:
    import time

    def long(w: Any, x: Any) -> Any:
        h = x
        for _ in range(3400):
            h = tg.tanh(w * h + x)
        return h

    began = time.process_time()
    page = viz.stepper(long, 0.9, 0.1)
    assert time.process_time() - began < 5.0
    data = _data(page)
    assert len(data["ops"]) > 10_000 and len(data["order"]) < 10
    assert "×3400" in page.html


def test_errors() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    loss = x * x
    loss.backward()
    with pytest.raises(ValueError, match="retain_graph=True"):
        viz.stepper(loss)
    with pytest.raises(TypeError, match="off the tape"):
        viz.stepper(tg.tensor(1.0))
    with pytest.raises(TypeError, match="missing a required argument"):
        viz.stepper(neuron, 1.0)
    with pytest.raises(ValueError, match="sequences 0 to 0"):
        viz.stepper(lstm(), sequence=3)
    with pytest.raises(ValueError, match=r"use \.html"):
        viz.stepper(neuron, 1.0, 1.0, 1.0, 1.0, 1.0).save("step.svg")


def test_data_cannot_end_its_block() -> None:
    assert "</" not in block({"a": "</script><!--"}) and "<!--" not in block("<!--")
    assert json.loads(block({"a": "</script>"})) == {"a": "</script>"}


def test_mathml_knows_every_rule_and_equation() -> None:
    for name in dsl.cells():
        spec = dsl.load(name)
        assert mathml(spec.latex()).startswith("<math")
        assert "<mtable" in mathml(spec.adjoint().latex())
    with pytest.raises(ValueError, match=r"no MathML for \\unheard"):
        mathml(r"\unheard{x}")


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, viz.Page]]:
    home = tmp_path_factory.mktemp("pages")
    made = {
        "neuron": viz.stepper(neuron, 2.0, 0.5, -3.0, 1.0, 6.0),
        "lstm": viz.stepper(lstm()),
        "language": viz.stepper(language().nll),
    }
    return {name: (page.save(home / f"{name}.html"), page) for name, page in made.items()}


BODY = "document.body.outerHTML"


@pytest.mark.parametrize("name", ["neuron", "lstm", "language"])
def test_forward_then_back_gives_the_same_page(browser: Browser, pages: Any, name: str) -> None:
    path, page = pages[name]
    browser.open(path)
    last = _data(page)["last"]
    seen = []
    for _ in range(last):
        seen.append(browser.value(BODY))
        browser.click("next")
    assert browser.settled("location.hash", f"#step={last}")
    for before in reversed(seen):
        browser.click("back")
        assert browser.value(BODY) == before
    assert browser.errors == []


@pytest.mark.parametrize("name", ["neuron", "lstm"])
def test_shown_numbers_are_the_tapes(browser: Browser, pages: Any, name: str) -> None:
    path, page = pages[name]
    browser.open(path, f"#step={_data(page)['last']}")
    cells = browser.value(
        "[...document.querySelectorAll('#tape tr[data-op]')]"
        ".map(r => [r.children[2].textContent, r.children[3].textContent])"
    )
    assert len(cells) == len(page.data["op"])
    for (value, adjoint), v, g in zip(cells, page.data["value"], page.data["adjoint"], strict=True):
        for text, number in ((value, v), (adjoint, g)):
            if number is None:
                assert text == "not yet"
                continue
            if np.size(number) == 1:
                text = f"[{text}]"
            digits = [
                float(t) for t in re.findall(r"-?\d[\d.]*(?:e-?\d+)?", text.replace("−", "-").partition(", ‖")[0])
            ]
            if text.startswith("["):
                np.testing.assert_allclose(digits, np.ravel(number), rtol=6e-4, atol=1e-12)


def test_keyboard_and_links(browser: Browser, pages: Any) -> None:
    path, page = pages["lstm"]
    last = _data(page)["last"]
    browser.open(path, "#step=7")
    assert browser.value("document.getElementById('status').textContent").startswith(f"Step 7 of {last}, forward pass")
    assert browser.value("document.getElementById('range').getAttribute('aria-valuetext')").startswith("Step 7 of")
    browser.value("document.getElementById('next').focus()")
    for key, step in (("ArrowRight", 8), ("ArrowLeft", 7), ("End", last), ("Home", 0)):
        browser.key(key)
        assert browser.settled("location.hash", f"#step={step}")
    assert browser.value("document.querySelectorAll('.node[tabindex=\"0\"]').length") == 1
    browser.value("document.querySelector('.node[tabindex=\"0\"]').focus()")
    first = browser.value("document.activeElement.id")
    browser.key("ArrowRight")
    assert browser.value("document.activeElement.id") != first
    assert browser.value("document.querySelectorAll('.node[tabindex=\"0\"]').length") == 1
    browser.key("Enter")
    assert browser.value("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert browser.value("document.querySelectorAll('#node td').length") >= 3


@pytest.mark.parametrize("name", ["neuron", "language"])
def test_nothing_is_fetched_and_every_control_has_a_name(browser: Browser, pages: Any, name: str) -> None:
    path, _ = pages[name]
    browser.open(path)
    browser.click("last")
    assert browser.requests == [path.resolve().as_uri()]
    assert browser.errors == []
    controls = [n for n in browser.names() if n["role"] in CONTROLS]
    assert len(controls) > 8 and all(n["name"].strip() for n in controls), controls
    assert any(n["role"] == "status" for n in browser.names())
    assert any(n["role"] == "toolbar" and n["name"] for n in browser.names())


def test_the_equation_is_marked(browser: Browser, pages: Any) -> None:
    path, page = pages["lstm"]
    data = _data(page)
    step = 1 + data["forward"].index(next(k for k, op in enumerate(data["ops"]) if op["title"] == "c[1]"))
    browser.open(path, f"#step={step}")
    on = "[...document.querySelectorAll('#equations li.on')].map(e => e.textContent)"
    assert browser.value(on) == ["c[t] = f[t]*c[t-1] + i[t]*g[t]"]
    assert browser.value("document.querySelector('.node.now').id") in ("t1:c", "t1:c=")
    assert browser.value("document.querySelectorAll('#rule math').length") == 1


def test_less_motion_on_request(browser: Browser, pages: Any) -> None:
    path, _ = pages["lstm"]
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    browser.open(path)
    assert browser.value("getComputedStyle(document.querySelector('.wire')).transitionDuration") == "0s"
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
    browser.call("Emulation.setEmulatedMedia", features=[])
