"""The picture itself: nothing overlaps, nothing is clipped, highways are straight, every step looks the same."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import dsl
import viz
from dsl.system.system import System
from tests.differential.generator import random_cell
from tests.viz import helpers
from tests.viz.helpers import at_most
from viz import worker
from viz.compose import compose
from viz.example import example
from viz.graph import build
from viz.layout import PILL
from viz.numbering import samples
from viz.scene import Mark, Scene
from viz.shown import shown_steps

SVG = "{http://www.w3.org/2000/svg}"
Rect = tuple[float, float, float, float]


def rectangles(scene: Scene) -> list[tuple[str, Rect]]:
    found = []
    for m in scene.marks:
        found.append((m.id, (m.x - m.width / 2, m.y - m.height / 2, m.x + m.width / 2, m.y + m.height / 2)))
        for p in m.pills:
            shape = (p.x - p.width / 2, p.y - PILL / 2, p.x + p.width / 2, p.y + PILL / 2)
            found.append((f"{m.id}/{p.parameter}", shape))
    return found


def overlap(a: Rect, b: Rect, slack: float = 0.5) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > slack and min(a[3], b[3]) - max(a[1], b[1]) > slack


def assert_tidy(scene: Scene) -> None:
    found = rectangles(scene)
    x, y, w, h = scene.bounds
    for n, (one, a) in enumerate(found):
        assert x <= a[0] and y <= a[1] and a[2] <= x + w and a[3] <= y + h, f"{one} is clipped"
        for other, b in found[n + 1 :]:
            assert not overlap(a, b), f"{one} lies on {other}"
    for piece in scene.pieces:
        for px, py in piece.points:
            assert x <= px <= x + w and y <= py <= y + h, f"{piece.id} leaves the picture"
    assert not passed(scene)


def passed(scene: Scene) -> list[str]:
    """The wires that run through a box: through any that is none of their ends, and further than its arrow into one."""
    owners = [m for m in scene.marks for _ in range(1 + len(m.pills))]
    boxes = [(one, m, r) for (one, r), m in zip(rectangles(scene), owners, strict=True)]
    edges = np.array([r for _, _, r in boxes]).reshape(-1, 4)
    found = []
    for piece in scene.pieces:
        line = np.array([*samples(piece.points, 1.0), piece.points[-1]])
        (x0, y0), (x1, y1) = line.min(axis=0), line.max(axis=0)
        near = (edges[:, 0] < x1) & (edges[:, 2] > x0) & (edges[:, 1] < y1) & (edges[:, 3] > y0)
        ends = {p for r in piece.reads for p in ((r.wire.source, r.source_step), (r.wire.target, r.target_step))}
        delays = {f"delay:{r.wire.source}:{r.wire.lag:+d}" for r in piece.reads}
        for k in np.flatnonzero(near):
            one, mark, (left, top, right, bottom) = boxes[k]
            px, py = line[:, 0], line[:, 1]
            deep = np.minimum.reduce([px - left, right - px, py - top, bottom - py]).max()
            arrow = mark.point in ends or mark.node.kind == "round" and one == mark.id  # a circle fills no corner
            if mark.node.key not in delays and deep > (4.0 if arrow else 0.5):
                found.append(f"{piece.id} runs through {one}")
    return found


SYSTEMS: dict[str, System] = {
    "Elman": helpers.elman(),
    "Skip": helpers.skip(2),
    "LSTM": helpers.lstm(),
    "Peephole": helpers.lstm(peephole=True),
    "GRU": helpers.gru(),
    "BiRNN": helpers.birnn(),
    "SkipLoss": helpers.with_loss(helpers.skip(4)),
    "LSTMLoss": helpers.with_loss(helpers.lstm()),
}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("steps", [1, 4, 30])
def test_hand_written_systems_are_tidy(name: str, steps: int) -> None:
    assert_tidy(viz.unrolled(SYSTEMS[name], T=steps).scene)


@pytest.mark.parametrize("name", dsl.cells())
def test_library_cells_are_tidy_and_quick(name: str) -> None:
    for view in (viz.unrolled, viz.folded, viz.cell):
        with at_most(2.0):
            drawing = view(name)
            assert drawing.svg
        assert_tidy(drawing.scene)
        ET.fromstring(drawing.svg)


PHASED = """
cell Phased(D, H):
  input x[t]: D
  state c[t], h[t]: H = 0
  param V_k, W_k, V_i, W_i, V_o, W_o ~ glorot
  k[t] = sigmoid(V_k@x[t] + W_k@h[t-1])
  i[t] = tanh(V_i@x[t] + W_i@h[t-1])
  o[t] = sigmoid(V_o@x[t] + W_o@h[t-1])
  ct[t] = c[t-1] + k[t]*i[t]
  c[t] = k[t]*ct[t] + (1 - k[t])*c[t-1]
  ht[t] = o[t]*tanh(ct[t])
  h[t] = k[t]*ht[t] + (1 - k[t])*h[t-1]
  output h
"""


def test_a_highway_passes_what_reads_it_again() -> None:
    """Two states, a candidate of the one in both: no node stands in the other's line."""
    run = example(dsl.parse(PHASED), 3, size=2)
    for drawing in (viz.unrolled(run), viz.folded(run), viz.cell(run), viz.bptt(run)):
        assert_tidy(drawing.scene)


@pytest.mark.parametrize("seed", [800, 2000, 2100])
def test_rails_and_ports_of_random_cells_pass_no_other_node(seed: int) -> None:
    assert_tidy(viz.unrolled(dsl.parse(random_cell(seed).text)).scene)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_step_looks_the_same(name: str) -> None:
    scene = viz.unrolled(SYSTEMS[name], T=5).scene
    left = {p.label: p.x for p in scene.panels}

    def shape(step: int) -> dict[str, tuple[float, float]]:
        inside = [m for m in scene.marks if m.step == step and "boundary" not in m.classes]
        return {m.node.key: (round(m.x - left[f"t = {step}"], 1), m.y) for m in inside}

    assert shape(1) == shape(2) == shape(3) and shape(1)


@pytest.mark.parametrize("name", ["LSTM", "Peephole", "GRU", "LSTMLoss"])
def test_highways_are_exactly_horizontal_and_uncrossed(name: str) -> None:
    scene = viz.unrolled(SYSTEMS[name], T=4).scene
    highway = [p for p in scene.pieces if "highway" in p.classes]
    assert highway
    for piece in highway:
        assert len({y for _, y in piece.points}) == 1, piece.id
    lines = [(min(p.points)[0], max(p.points)[0], p.points[0][1], p.net.split(":")[1]) for p in highway]
    for piece in scene.pieces:
        inner = samples(piece.points, 2.0)[2:-2]
        for low, high, y, state in lines:
            if piece.net == f"spine:{state}" or any(r.wire.source == state for r in piece.reads):
                continue
            over = [q for q in inner if low + 16 < q[0] < high - 16 and abs(q[1] - y) < 1.0]
            assert not over, f"{piece.id} crosses {state}"


def expected_reads(system: System, steps: int) -> set[str]:
    """The reads of the unrolled system: what its graph says, at every step."""
    graph = build(system)
    found = set()
    for s in range(steps):
        for w in graph.wires:
            found.add(f"{w.source}@{s + w.lag}>{w.target}@{s}.{w.socket}")
    return found


@pytest.mark.parametrize("name", SYSTEMS)
def test_svg_holds_every_read_once(name: str) -> None:
    tree = ET.fromstring(viz.unrolled(SYSTEMS[name], T=5).svg)
    said = [r for g in tree.iter(f"{SVG}g") for r in (g.get("data-read") or "").split()]
    assert len(said) == len(set(said))
    assert set(said) == expected_reads(SYSTEMS[name], 5)


@pytest.mark.parametrize("lag", [2, 3, 4])
def test_arcs_are_the_lags_and_cross_no_input(lag: int) -> None:
    scene = viz.unrolled(helpers.with_loss(helpers.skip(lag)), T=8).scene
    arcs = [p for p in scene.pieces if "arc" in p.classes]
    assert {(r.source_step, r.target_step) for p in arcs for r in p.reads} == {(s, s + lag) for s in range(8 - lag)}
    panels = max(p.y + p.height for p in scene.panels)
    boxes = [(name, box) for name, box in rectangles(scene)]
    for arc in arcs:
        points = samples(arc.points, 2.0)
        assert max(y for _, y in points) > panels
        hit = {n for n, b in boxes for x, y in points if b[0] < x < b[2] and b[1] < y < b[3]}
        assert not hit, f"{arc.id} runs through {hit}"


def test_steps_are_elided() -> None:
    assert shown_steps(8) == list(range(8))
    assert shown_steps(9) == [0, 1, 2, None, 8]
    assert shown_steps(1000) == [0, 1, 2, None, 999]
    assert shown_steps(20, keep=(3, 4, 11, 12)) == [0, None, 3, 4, None, 11, 12, None, 19]
    assert shown_steps(3, room=2) == [0, 1, 2]
    assert shown_steps(4, room=3) == [0, 1, None, 3]
    assert shown_steps(4, room=2) == [0, None, 3]
    assert shown_steps(8, keep=(5,), room=3) == [0, 1, None, 5, None, 7]
    scene = viz.unrolled(helpers.lstm(), T=1000).scene
    assert [p.label for p in scene.panels] == ["t = 0", "t = 1", "t = 2", "t = 999"]
    assert any("".join(s.text for s in t.label) == "…" for t in scene.texts)


def test_labels_count_from_first() -> None:
    scene = viz.unrolled(helpers.elman(), T=3, first=1).scene
    assert [p.label for p in scene.panels] == ["t = 1", "t = 2", "t = 3"]
    assert scene.mark("h", -1).title[1].text == "0"


def test_boundaries_are_shown_as_such() -> None:
    scene = viz.unrolled(helpers.birnn(), T=4).scene
    found = {(m.node.key, m.step) for m in scene.marks if "boundary" in m.classes}
    assert found == {("f", -1), ("b", 4)}


def test_pyramid_steps_stand_over_what_they_read() -> None:
    scene = viz.unrolled("Pyramid", T=6).scene
    panel = {p.label: p for p in scene.panels}
    for u in range(3):
        upper, a, b = panel[f"u = {u}"], panel[f"t = {2 * u}"], panel[f"t = {2 * u + 1}"]
        assert abs(upper.x + upper.width / 2 - (a.x + b.x + b.width) / 2) < 0.2
        assert upper.y + upper.height < a.y
    reads = {(r.source_step, r.target_step) for p in scene.pieces if p.net == "cross" for r in p.reads}
    assert reads == {(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)}


def test_attention_is_a_bus_from_every_encoder_step() -> None:
    picture = compose(dsl.load("Translate").system, {"s": 3, "t": 2})
    assert set(picture.tiles) == {"s", "t"}
    buses = [p for p in picture.scene.pieces if "bus" in p.classes]
    reads = {(r.source_step, r.target_step) for p in buses for r in p.reads}
    assert reads == {(s, t) for s in range(3) for t in range(2)}


def test_the_decoder_stands_above_its_encoder_step_over_step() -> None:
    """Also with as many attention wires to the chosen step as the encoder has steps, each as wide as its weight."""
    scene = viz.unrolled("Translate", T=3).scene
    panel = {p.label: p for p in scene.panels}
    for k in range(3):
        lower, upper = panel[f"s = {k}"], panel[f"t = {k}"]
        assert upper.y + upper.height < lower.y
        assert upper.x == lower.x or abs(upper.x + upper.width / 2 - lower.x - lower.width / 2) < lower.width / 2
    start = next(p for p in scene.pieces if p.net == "boundary")
    assert {(r.source_step, r.target_step) for r in start.reads} == {(2, -1)} and start.head
    drawing = viz.attention(example(dsl.load("Translate"), 3), t=1)
    fan = {r.source_step: p for p in drawing.scene.pieces if "-fan" in p.id for r in p.reads if r.target_step == 1}
    assert {s: p.width for s, p in fan.items()} == {
        s: round(0.8 + 8 * float(w), 2) for s, w in enumerate(drawing.data["weights"][1])
    }


def test_risers_bend_no_more_than_boxes_make_them() -> None:
    """What passes other rows goes straight up; wires into the read-out stay off the lines with their numbers."""
    step = compose(dsl.load("ClockworkRNN").system, {"t": 2}).steps["t"]
    for state in ("h2", "h3"):
        passed = step.nets[state].trunk
        beside = {x for r, x in passed.items() if any(step.rows.row[k] == r for k in ("h1", "h2"))}
        assert len(beside) == 1 and beside.pop() > step.boxes["h1"].x + step.boxes["h1"].width / 2
    changes = [len(set(n.trunk.values())) - 1 for n in step.nets.values() if n.trunk]
    assert sum(changes) <= 6


def test_a_product_that_is_read_twice_names_its_parameter() -> None:
    scene = viz.cell("LayerNormLSTM").scene
    assert {"W_h", "W_x"} <= {p.parameter for m in scene.marks for p in m.pills}


def test_a_read_of_a_step_that_is_not_drawn_is_named() -> None:
    scene = viz.unrolled("CTC").scene
    outside = {"".join(s.text for s in m.title) for m in scene.marks if "boundary" in m.classes and m.node.key == "y"}
    assert outside == {"y−1", "y−2"}
    assert [p.label for p in scene.panels if p.label.startswith("v")] == [f"v = {k}" for k in (0, 1, 2, 7, 8)]


def test_a_start_per_sequence_stands_left_and_is_wired() -> None:
    scene = viz.unrolled("VectorInitial").scene
    panel = {p.label: p for p in scene.panels}
    assert panel["per sequence"].x + panel["per sequence"].width < panel["t = 0"].x
    begun = [p for p in scene.pieces if p.net == "boundary"]
    assert [r.wire.target for p in begun for r in p.reads] == ["rnn.h"]


def test_folded_has_a_delay_for_each_lag() -> None:
    marks: list[Mark] = viz.folded(helpers.skip(4)).scene.marks
    delays = sorted("".join(s.text for s in m.title) for m in marks if m.node.kind == "delay")
    assert delays == ["z−1", "z−4"]


def test_cell_links_to_its_equations() -> None:
    tree = ET.fromstring(viz.cell("LSTM").svg)
    ids = {e.get("id") for e in tree.iter() if (e.get("id") or "").startswith("eq-")}
    assert ids == {"eq-f", "eq-i", "eq-o", "eq-g", "eq-c", "eq-h"}
    links = {e.get("href") for e in tree.iter(f"{SVG}a")}
    assert links == {f"#{i}" for i in ids}


def test_bytes_are_deterministic() -> None:
    def once() -> tuple[str, str, str]:
        worker._run.cache_clear()
        drawing = viz.unrolled(helpers.with_loss(helpers.lstm()), T=4)
        return drawing.svg, drawing.dot, viz.folded(helpers.gru()).svg

    assert once() == once()


def test_nop2_moves_nothing() -> None:
    drawing = viz.unrolled(helpers.lstm(), T=3)
    corner: dict[str, tuple[float, float]] = {}
    for line in worker.layout(drawing.dot, program="nop2").splitlines():
        part = line.replace('"', "").split()
        if part[0] == "node" and "pill" not in part[1]:
            corner[part[1].replace("/", ":")] = (float(part[2]) * 72, -float(part[3]) * 72)
    marks = {m.id: (m.x, m.y) for m in drawing.scene.marks}
    assert corner.keys() == marks.keys()
    shifts = {(round(corner[k][0] - marks[k][0]), round(corner[k][1] - marks[k][1])) for k in marks}
    assert max(s[0] for s in shifts) - min(s[0] for s in shifts) <= 1
    assert max(s[1] for s in shifts) - min(s[1] for s in shifts) <= 1


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["Elman", "Skip", "LSTM", "GRU", "BiRNN", "LSTMLoss"])
def test_what_graphviz_is_asked(name: str) -> None:
    """The DOT of one step, before layout: independent of Graphviz's version."""
    step = compose(SYSTEMS[name], {"t": 2}).steps["t"]
    assert step.dot == (GOLDEN / f"{name}.step.dot").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["Skip", "LSTM"])
def test_the_pinned_picture(name: str) -> None:
    """The laid-out picture as DOT, for the Graphviz that the golden file names in its first line."""
    import pygraphviz

    first, _, rest = (GOLDEN / f"{name}.unrolled.dot").read_text(encoding="utf-8").partition("\n")
    if first != f"// pygraphviz {pygraphviz.__version__}":
        pytest.skip(f"{first}, not {pygraphviz.__version__}")
    assert viz.unrolled(SYSTEMS[name], T=3).dot == rest


@pytest.mark.parametrize("cell", ["VectorInitial", "VectorBoth"])
def test_a_vector_that_starts_a_state_stands_before_it_and_is_joined_with_it(cell: str) -> None:
    scene = viz.unrolled(cell, T=2).scene
    start = next(m for m in scene.marks if m.node.key == "start")
    boundary = next(m for m in scene.marks if "boundary" in m.classes and m.node.key == "rnn.h")
    line = next(p for p in scene.pieces if p.net == "boundary")
    assert start.x < boundary.x and [(r.wire.source, r.target_step) for r in line.reads] == [("start", -1)]
    assert line.points[0][0] >= start.x and line.points[-1] == (boundary.x - boundary.width / 2, boundary.y)
    inside = [m for m in scene.marks if m.node.lane == "" and m.node.key != "start"]
    assert not any(abs(x - m.x) < m.width / 2 and abs(y - m.y) < m.height / 2 for m in inside for x, y in line.points)


def test_what_reads_the_end_of_a_sequence_stands_behind_it() -> None:
    marks = viz.unrolled("Classifier", T=2).scene.marks
    assert min(m.x for m in marks if m.node.lane == "") > max(m.x for m in marks if m.node.lane)
