"""Drawings as files and in notebooks, plots, tapes, and the engine's failures."""

from __future__ import annotations

import gc
import json
import re
import shutil
import sys
import time
import weakref
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
import viz
from dsl.run.unroll import executions
from tests.viz import helpers
from tests.viz.test_gradients import run_of
from viz import paint, theme, worker
from viz.example import example
from viz.trace import of_loss as trace_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawing() -> Any:
    return viz.unrolled(helpers.skip(2), T=4)


@pytest.mark.parametrize("suffix", ["svg", "html", "dot", "gv"])
def test_saved_text_is_what_was_drawn(drawing: Any, suffix: str, tmp_path: Path) -> None:
    path = drawing.save(tmp_path / f"a.{suffix}")
    wanted = {"svg": drawing.svg, "html": drawing.html}.get(suffix, drawing.dot)
    assert path.read_text(encoding="utf-8") == wanted
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{suffix}"]


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_graphviz_draws_images(drawing: Any, suffix: str, magic: bytes, tmp_path: Path) -> None:
    assert drawing.save(tmp_path / f"a.{suffix}").read_bytes().startswith(magic)


def test_saving_replaces_whole_files_or_nothing(drawing: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text("before")
    with pytest.raises(ValueError, match="use .svg, .html, .dot"):
        drawing.save(tmp_path / "a.txt")
    with pytest.raises(OSError, match="cannot write .*missing"):
        drawing.save(tmp_path / "missing" / "a.svg")
    assert path.read_text() == "before"
    drawing.save(path)
    assert path.read_text(encoding="utf-8") == drawing.svg


def test_notebook_forms(drawing: Any) -> None:
    bundle = drawing._repr_mimebundle_()
    assert bundle["image/svg+xml"] == drawing._repr_svg_() == drawing.svg
    assert drawing.svg in drawing._repr_html_()
    assert repr(drawing) == bundle["text/plain"]


def test_pages_and_pictures_fetch_nothing(drawing: Any) -> None:
    assert "default-src 'none'" in drawing.html
    for text in (drawing.svg, drawing.html):
        outside = text.replace("http://www.w3.org/2000/svg", "")
        assert "http" not in outside.replace("http-equiv", "") and "url(" not in outside and "<script" not in outside


def test_light_and_dark(drawing: Any) -> None:
    assert "prefers-color-scheme:dark" in drawing.svg
    for role, (light, dark) in viz.theme.COLOURS.items():
        assert f"--{role}:{light}" in drawing.svg and f"--{role}:{dark}" in drawing.svg


def test_the_same_module_names_the_same_things() -> None:
    for name in viz.__all__:
        assert getattr(viz, name) is not None
    with pytest.raises(AttributeError):
        viz.nothing  # noqa: B018


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(TypeError, match="cannot draw int"):
        viz.unrolled(3)
    with pytest.raises(ValueError, match="at least one step"):
        viz.unrolled("LSTM", T=0)


# ---------------------------------------------------------------- the engine


def test_a_hung_engine_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(viz.LayoutError, match="did not finish within 0.3 s"):
        worker.layout("digraph { hung }", limit=0.3)


def test_a_late_engine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works a little at a time, as on a machine under load: two limits of wall time, a fifth of one of work."""
    code = (
        "import time, sys\nend = time.monotonic() + 2.0\n"
        "while time.monotonic() < end:\n"
        "    began = time.process_time()\n"
        "    while time.process_time() < began + .004: pass\n"
        "    time.sleep(.04)\n"
        "print('late')"
    )
    monkeypatch.setattr(worker, "_command", lambda *_: [sys.executable, "-S", "-c", code])
    assert worker.layout("digraph { late }", limit=1.0).strip() == "late"


def test_an_engine_that_works_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_command", lambda *_: [sys.executable, "-c", "while True: pass"])
    began = time.monotonic()
    with pytest.raises(viz.LayoutError, match="did not finish within 0.3 s; the graph is too tangled"):
        worker.layout("digraph { busy }", limit=0.3)
    assert time.monotonic() - began < 20.0


def test_where_work_is_not_known_wall_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_worked", lambda pid: None)
    monkeypatch.setattr(worker, "_command", lambda *_: [sys.executable, "-c", "while True: pass"])
    with pytest.raises(viz.LayoutError, match="did not finish within 0.1 s"):
        worker.layout("digraph { unknown }", limit=0.1)


def test_an_engine_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, sys; print('bang', file=sys.stderr, flush=True); os.abort()"
    monkeypatch.setattr(worker, "_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(viz.LayoutError, match="bang"):
        worker.layout("digraph { dies }")


def test_no_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TGSEQ_DOT", raising=False)
    monkeypatch.setattr(worker.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    worker._recent_dot.cache_clear()
    try:
        with pytest.raises(viz.LayoutError, match="pip install pygraphviz"):
            worker.layout("digraph { none }")
    finally:
        worker._recent_dot.cache_clear()


def test_a_forced_engine_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGSEQ_DOT", "/no/such/dot")
    with pytest.raises(viz.LayoutError, match="could not be started: /no/such/dot"):
        worker.layout("digraph { forced }")


def test_broken_dot_is_an_error() -> None:
    with pytest.raises(viz.LayoutError, match="Graphviz failed"):
        worker.layout("digraph { a -> ")


# ---------------------------------------------------------------- plots and tapes


def test_curves() -> None:
    history = {"loss": [3.0, 2.5, 2.25], "gradient_norm": [1.0, 0.5, 0.7], "valid": [[2, 2.6], [3, 2.4]]}
    drawing = viz.curves(json.loads(json.dumps(history)))
    np.testing.assert_array_equal(drawing.data["loss"], history["loss"])
    np.testing.assert_array_equal(drawing.data["valid_step"], [2, 3])
    ET.fromstring(drawing.svg)
    assert "validation 2.4" in drawing.svg and "training 2.25" in drawing.svg
    with pytest.raises(ValueError, match="nothing to draw"):
        viz.curves({"loss": []})


def test_long_curves_keep_their_peaks() -> None:
    loss = np.ones(50_000)
    loss[31_415] = 9.0
    drawing = viz.curves({"loss": loss.tolist()})
    assert len(drawing.svg) < 120_000
    lines = [d.split('"')[0] for d in drawing.svg.split('d="M')[1:]]
    top = min(float(point.split()[1]) for line in lines if line.count("L") > 100 for point in line.split("L"))
    assert len(drawing.data["loss"]) == 50_000 and top < 90


def test_a_noisy_curve_is_smoothed_over_its_pale_self() -> None:
    steps = np.arange(4000)
    noise = np.where(steps % 2, 3.0, -1.0)
    loss, norm = 10 - steps / 1000 + noise, 10.0 ** np.where(steps % 2, 1, -1)
    loss[2000] = np.nan
    drawing = viz.curves({"loss": loss, "gradient_norm": norm})
    inside = slice(100, 3900)
    truth = 11 - steps / 1000
    assert np.abs(drawing.data["loss_smoothed"] - truth)[inside].max() < 0.12  # noise of ±2 is gone, the gap is closed
    assert np.abs(np.log10(drawing.data["gradient_norm_smoothed"]))[inside].max() < 0.06  # a mean of logarithms
    np.testing.assert_array_equal(drawing.data["loss"], loss)
    assert drawing.svg.count('opacity="0.3"') == 2
    short = viz.curves({"loss": loss[:150]})
    np.testing.assert_array_equal(short.data["loss_smoothed"], loss[:150])
    assert 'opacity="0.3"' not in short.svg


def test_nan_in_a_curve_leaves_a_gap() -> None:
    ET.fromstring(viz.curves({"loss": [2.0, float("nan"), 1.0], "gradient_norm": [1.0, float("inf"), 2.0]}).svg)


def test_tape_of_a_function() -> None:
    a, b = tg.tensor(2.0, requires_grad=True, name="a"), tg.tensor(3.0, requires_grad=True, name="b")
    drawing = viz.tape(tg.tanh(a * b) + a)
    assert sorted(drawing.data["op"]) == ["add", "leaf", "leaf", "mul", "tanh"]
    ops = drawing.data["op"]
    edges = {(str(ops[i]), str(ops[j])) for i, j in drawing.data["edges"]}
    assert edges == {("leaf", "mul"), ("mul", "tanh"), ("tanh", "add"), ("leaf", "add")}
    assert [m.node.role for m in drawing.scene.marks].count("loss") == 1


def test_a_long_tape_is_drawn_as_its_lines_of_code() -> None:
    x = a = tg.tensor(0.5, requires_grad=True, name="a")
    for _ in range(3_000):
        x = tg.tanh(a * x)
    drawing = viz.tape(x)
    assert dict(zip(drawing.data["op"], drawing.data["count"], strict=True)) == {"leaf": 1, "mul": 3000, "tanh": 3000}
    assert "tanh ×3000" in drawing.svg and "6001 nodes, drawn as 3" in drawing.title


def test_tape_mistakes() -> None:
    with pytest.raises(TypeError, match="off the tape"):
        viz.tape(tg.tensor(1.0))


def test_a_tape_is_drawn_after_backward_as_before() -> None:
    a = tg.tensor(2.0, requires_grad=True, name="a")
    loss = tg.tanh(a * a) + a
    before = viz.tape(loss).svg
    loss.backward()
    assert viz.tape(loss).svg == before


def test_a_run_is_found_without_a_search_through_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "get_objects", None)
    other = example(dsl.load("GRU"), 2)

    def found() -> Any:
        run = example(dsl.load("LSTM"), 2)
        trace = trace_of(run.h.sum())
        assert {op.equation for op in trace.ops} >= {"f", "i", "g", "o", "c", "h"}
        assert trace.system is run.literal.system and trace_of(other.h.sum()).system is other.literal.system
        assert run.literal in executions()
        return weakref.ref(run.literal)

    literal = found()
    gc.collect()
    assert literal() is None and other.literal in executions()


# ---------------------------------------------------------------- images


def test_an_image_is_the_svg_painted() -> None:
    """Every text, and every wire in its colour and width, twice as large."""
    drawing = viz.truncated(run_of("Skip", 6), 2, 3)
    dot = paint.write(drawing.svg, drawing.scene.bounds)
    for element in ET.fromstring(drawing.svg).iter(f"{SVG}text"):
        for said in element.itertext():
            assert f" {len(said.encode())} -{said}" in dot
    hot = next(p for p in drawing.scene.pieces if "r5" in p.classes and "skip" not in p.classes)
    x, y, _, h = drawing.scene.bounds
    (x0, y0), colour = hot.points[-1], theme.COLOURS["ramp-5"][0]  # gradients are drawn backward
    pen = f"setlinewidth({round(hot.width, 1):g})"
    start = f"{x0 - x:.2f} {y + h - y0:.2f} "
    painted = dot.replace('" + "', "")
    assert re.search(rf"c 7 -{colour} S \d+ -{re.escape(pen)} S 5 -solid B \d+ {start}", painted)
    assert max(map(len, re.findall(r'"([^"]*)"', dot.replace('\\"', "")))) < 16_000  # Graphviz reads no longer string
    assert f"c 9 -{theme.COLOURS['faint'][0]}73" in dot  # 0.45 of what is faded
    header = worker.render(dot, "png")[16:24]
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
    assert abs(width - 2 * drawing.scene.bounds[2]) <= 2 and abs(height - 2 * h) <= 2


@pytest.mark.parametrize("suffix", ["png", "pdf", "dot", "html", "svg"])
def test_plots_are_saved_in_every_form(suffix: str, tmp_path: Path) -> None:
    for plot in (viz.curves({"loss": [3.0, 2.0]}), viz.gradient_flow(run_of("Elman", 3))):
        assert plot.save(tmp_path / f"p.{suffix}").stat().st_size > 100 or suffix == "dot"


def test_no_fonts_is_said(monkeypatch: pytest.MonkeyPatch, drawing: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(worker.os, "walk", lambda folder: iter([(folder, [], ["readme.txt"])]))
    monkeypatch.setattr(worker.sys, "platform", "linux")
    with pytest.raises(viz.LayoutError, match=r"no fonts on this machine.*save as \.svg"):
        drawing.save(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_no_module_hides_a_view() -> None:
    """A module `viz.folded` would stand where the view of that name is looked up, once anything has imported it."""
    modules = {p.stem for p in Path(viz.__file__).parent.glob("*.py")}
    assert not modules & set(viz.__all__)
