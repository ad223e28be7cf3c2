"""Every library cell's picture measured: labels clear of one another and inside, lines straight, nothing moved between
the forward and the backward picture, and the reads of the SVG those of the equations."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import dsl
import viz
from dsl.system.system import Extent, Read, System
from tests.viz.helpers import at_most
from tests.viz.test_pictures import Rect, assert_tidy, overlap
from tinygrad_seq.symbol import postorder
from viz import theme
from viz.compose import compose
from viz.cross import length_of
from viz.example import example
from viz.graph import Graph, build
from viz.layout import SMALL, TITLE
from viz.numbering import SIZE
from viz.scene import Scene

SVG = "{http://www.w3.org/2000/svg}"
CELLS = dsl.cells()
STEPS = 3


def labels(scene: Scene) -> list[tuple[str, Rect]]:
    """The box of every text in a picture, by the metrics of its font."""
    found: list[tuple[str, Rect]] = []

    def put(said: str, x: float, y: float, width: float, size: float, anchor: str = "middle") -> None:
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        found.append((said, (left, y - size * 0.4, left + width, y + size * 0.4)))

    for m in scene.marks:
        size = 16.0 if m.node.kind == "round" else TITLE
        put(m.id, m.x, m.y, theme.label_width(m.title, size), size)
        for p in m.pills:
            put(f"{m.id}/{theme.plain(p.label)}", p.x, p.y, theme.label_width(p.label, SMALL), SMALL)
    for piece in scene.pieces:
        if piece.number and piece.number_at:
            x, y = piece.number_at
            put(f"{piece.number} on {piece.id}", x, y, theme.text_width(piece.number, SIZE), SIZE, piece.anchor)
    for t in scene.texts:
        if theme.plain(t.label).strip():
            put(theme.plain(t.label), t.x, t.y, theme.label_width(t.label, t.size), t.size, t.anchor)
    for panel in scene.panels:
        put(panel.label, panel.x + 12, panel.y + 14, theme.text_width(panel.label, 11.5), 11.5, "start")
    return found


def assert_legible(scene: Scene) -> None:
    x, y, w, h = scene.bounds
    found = labels(scene)
    for n, (one, a) in enumerate(found):
        assert x <= a[0] and y <= a[1] and a[2] <= x + w and a[3] <= y + h, f"{one} leaves the canvas"
        for other, b in found[n + 1 :]:
            assert not overlap(a, b, 1.0), f"{one} lies on {other}"
    for m in scene.marks:
        size = 16.0 if m.node.kind == "round" else TITLE
        assert theme.label_width(m.title, size) <= m.width, f"{m.id} is wider than its box"


def run_of(name: str, steps: int = STEPS) -> Any:
    with np.errstate(all="ignore"):
        return example(dsl.load(name), steps, size=2)


@pytest.mark.parametrize("name", CELLS)
def test_labels_are_clear_of_one_another(name: str) -> None:
    for view in (viz.folded, viz.unrolled, viz.cell):
        assert_legible(view(name).scene)


@pytest.mark.parametrize("name", CELLS)
def test_backward_moves_nothing_and_prints_legibly(name: str) -> None:
    run = run_of(name)
    try:
        with at_most(2.0):
            drawing = viz.bptt(run)
    except ValueError as error:
        assert "depends on no" in str(error), error
        return
    forward = viz.unrolled(run, lengths={a: int(np.max(n)) for a, n in run.lengths.items()}).scene
    assert {m.id: (m.x, m.y) for m in forward.marks} == {m.id: (m.x, m.y) for m in drawing.scene.marks}
    assert {p.id: p.points for p in forward.pieces} == {p.id: p.points for p in drawing.scene.pieces}
    assert_tidy(drawing.scene)
    assert_legible(drawing.scene)


@pytest.mark.parametrize("name", ["minGRU", "CharRNN", "Peephole", "ClockworkRNN", "BiRNN", "Pyramid", "Translate"])
def test_every_arrow_has_a_number_that_lies_on_no_box(name: str) -> None:
    scene = viz.bptt(run_of(name)).scene
    boxes = {m.id: (m.x - m.width / 2, m.y - m.height / 2, m.x + m.width / 2, m.y + m.height / 2) for m in scene.marks}
    numbers = [(said, r) for said, r in labels(scene) if " on " in said]
    for said, r in numbers:
        assert not [k for k, b in boxes.items() if overlap(r, b, 2.0)], said
    hot = [p for p in scene.pieces if "hot" in p.classes]
    arcs = {(r.wire, r.target_step) for p in hot if "-arc-" in p.id for r in p.reads}
    bare = [p.id for p in hot if p.head and not p.number and not {(r.wire, r.target_step) for r in p.reads} & arcs]
    assert not bare and len(numbers) > 3


@pytest.mark.parametrize("name", CELLS)
def test_highways_are_horizontal(name: str) -> None:
    for piece in viz.unrolled(name, T=STEPS).scene.pieces:
        if piece.net.startswith("spine:") and "arc" not in piece.classes and "-out-" not in piece.id:
            assert len({y for _, y in piece.points}) == 1, piece.id


@pytest.mark.parametrize("name", CELLS)
def test_highways_pass_through_no_other_node(name: str) -> None:
    """Along a state's line, inside its step and on to the next, stand the nodes of its own way and no others."""
    scene = viz.unrolled(name, T=2).scene
    for piece in scene.pieces:
        if not piece.net.startswith("spine:") or len({y for _, y in piece.points}) > 1:
            continue
        y, low, high = piece.points[0][1], min(x for x, _ in piece.points), max(x for x, _ in piece.points)
        for m in scene.marks:
            inside = abs(m.y - y) < m.height / 2 and low + 1 < m.x < high - 1
            assert not inside, f"{piece.id} runs through {m.id}"


@pytest.mark.parametrize("name", CELLS)
def test_wires_from_different_places_share_no_line(name: str) -> None:
    straight: list[tuple[bool, float, float, float, set[tuple[str, int | None]], str]] = []
    for piece in viz.unrolled(name, T=2).scene.pieces:
        sources = {(r.wire.source, r.source_step) for r in piece.reads}
        for k in range(0, len(piece.points) - 3, 3):
            for along in (0, 1):
                across = [p[1 - along] for p in piece.points[k : k + 4]]
                low, high = sorted((piece.points[k][along], piece.points[k + 3][along]))
                if max(across) - min(across) < 0.6 and high - low > 12:
                    straight.append((bool(along), across[0], low, high, sources, piece.id))
    for one, other in combinations(straight, 2):
        beside = one[0] == other[0] and abs(one[1] - other[1]) < 3.0
        shared = min(one[3], other[3]) - max(one[2], other[2]) > 6.0
        assert not (beside and shared) or one[4] & other[4], f"{one[5]} lies on {other[5]}"


def test_pictures_of_four_steps_fit_on_a_screen() -> None:
    """What makes a step wide is folded: long ways from step to step, read-outs beside a recurrence, empty strips; of
    steps that are wide all the same, fewer are shown."""
    wide = {name: viz.unrolled(name, T=4).scene.bounds[2] for name in CELLS}
    assert wide["URNN"] < 1200 and wide["RHN"] < 1700 and wide["StopRNN"] < 2300
    assert max(wide.values()) < 2850 and sorted(wide.values())[-10] < 2500
    assert sorted(wide.values())[len(wide) // 2] < 1700


@pytest.mark.parametrize("name", ["BiLSTM", "HandwritingSynthesis", "mLSTM"])
def test_steps_left_out_for_want_of_room_are_so_forward_and_backward(name: str) -> None:
    run = run_of(name, 4)
    forward, backward = viz.unrolled(run, T=4).scene, viz.bptt(run).scene
    assert any(theme.plain(t.label) == "…" for t in forward.texts)
    assert {m.id: (m.x, m.y) for m in forward.marks} == {m.id: (m.x, m.y) for m in backward.marks}
    assert {p.id: p.points for p in forward.pieces} == {p.id: p.points for p in backward.pieces}
    asked = viz.bptt(run_of("BiLSTM", 4), loss=2, to="f.h[1]").scene
    assert [p.label for p in asked.panels] == ["t = 0", "t = 1", "t = 2", "t = 3"]


# ---------------------------------------------------------------- the SVG is the system


def drawn_reads(graph: Graph, svg: str) -> set[tuple[str, str, str, str]]:
    """(stream, its step, equation, its step) of every arrow whose source is a stream."""
    found = set()
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        for said in (group.get("data-read") or "").split():
            source, _, rest = said.rpartition("@")[0], None, said.partition(">")
            (source, _, s), (target, _, t) = rest[0].rpartition("@"), rest[2].rpartition(".")[0].rpartition("@")
            node, equation = graph.nodes[source], graph.nodes[target].equation
            wire = next(w for w in graph.wires if w.target == target and w.socket == int(said.rpartition(".")[2]))
            if wire.read is not None and equation is not None:
                found.add((wire.read.name, str(int(s) + node.lag) if s else "", equation, t))
    return found


def expected_reads(system: System, lengths: dict[str, int]) -> set[tuple[str, str, str, str]]:
    """The same from the equations' own trees, without the drawing's graph: first axes only."""
    found = set()
    roots = [(n, e) for n, e in system.equations.items() if not system.streams[n].shared]
    roots += [(n, p) for n, d in system.draws.items() for _, p in d.parameters if not isinstance(p.leaf, Read)]
    for name, root in roots:
        axes = system.streams[name].axes
        reads = [n.leaf for n in postorder([root]) if isinstance(n.leaf, Read)]
        lane = axes[0] if axes else next((r.index[0].axis for r in reads if r.index and name in system.losses), "")
        for r in reads:
            stream = system.streams[r.name]
            if stream.shared:
                continue
            for t in range(lengths[lane]) if lane else [None]:
                for s in source_steps(r, stream.axes, lane or "", t, lengths, system.arguments):
                    found.add((r.name, "" if s is None else str(s), name, "" if t is None else str(t)))
    return found


def source_steps(
    r: Read, axes: tuple[str, ...], lane: str, t: int | None, lengths: dict[str, int], arguments: Mapping[str, Any]
) -> list[int | None]:
    if not r.index:
        return [None] if not lane else [t]
    known = {k: v for k, v in arguments.items() if isinstance(v, int)}
    first = replace(r.index[0], offset=r.index[0].offset.bind(known))
    if first.axis in (lane, None):
        return [int(first.at(t or 0, lengths))]
    return list(range(lengths[axes[0]]))


ONE_AXIS = [n for n in CELLS if len(dsl.load(n).system.axes) == 1 and build(dsl.load(n).system).lanes != ["", "t"]]


@pytest.mark.parametrize("name", [n for n in ONE_AXIS if not dsl.load(n).system.draws])
def test_svg_reads_are_the_equations(name: str) -> None:
    system = dsl.load(name).system
    graph = build(system)
    if len(graph.lanes) != 1:
        return
    steps = max(STEPS, max((abs(w.lag) for w in graph.wires), default=1) + 1)
    lengths = dict.fromkeys(system.axes, steps)
    assert drawn_reads(graph, viz.unrolled(system, T=steps).svg) == expected_reads(system, lengths)


@pytest.mark.parametrize("name", CELLS)
def test_every_equation_and_every_wire_is_in_the_svg(name: str) -> None:
    system = dsl.load(name).system
    picture = compose(system, dict.fromkeys((a for a in system.axes if system.axes[a].length is None), STEPS))
    graph = picture.graph
    tree = ET.fromstring(viz.svg.write(picture.scene))
    drawn = {g.get("data-node") for g in tree.iter(f"{SVG}g")}
    for equation in system.equations:
        if not system.streams[equation].shared:
            assert graph.home[equation] in drawn, equation
    said = [r for g in tree.iter(f"{SVG}g") for r in (g.get("data-read") or "").split()]
    assert len(said) == len(set(said))
    inside = {(w.target, w.socket) for w in graph.wires}
    ends = {(r.partition(">")[2].rpartition("@")[0], int(r.rpartition(".")[2])) for r in said}
    assert {e for e in ends if e[0] in graph.nodes} >= inside


@pytest.mark.parametrize("name", CELLS)
def test_arcs_are_the_lags(name: str) -> None:
    """Behind every dashed arc is a read farther than one step, and every such read inside the picture has one."""
    system = dsl.load(name).system
    graph = build(system)
    far = {w for w in graph.wires if w.relation == "step" and abs(w.lag) > 1}
    steps = min(8, max((abs(w.lag) for w in far), default=1) + 2)
    scene = viz.unrolled(system, T=steps).scene
    arcs = {(r.wire, r.target_step) for p in scene.pieces if "arc" in p.classes for r in p.reads}
    lengths = {a: steps for a in system.axes if system.axes[a].length is None}
    lengths |= {a: length_of(system, a, lengths) for a, x in system.axes.items() if x.length is not None}
    wanted = set()
    for w in far:
        length = lengths[graph.nodes[w.target].lane]
        wanted |= {(w, t) for t in range(length) if 0 <= t + w.lag < length}
    assert arcs == wanted


# ---------------------------------------------------------------- scale and sameness


@pytest.mark.parametrize("name", CELLS)
def test_a_thousand_steps_are_elided(name: str) -> None:
    """Counted, not timed: as many nodes as a handful of steps has."""
    system = dsl.load(name).system
    long, short = viz.unrolled(system, T=1000).scene, viz.unrolled(system, T=8).scene
    assert len(long.marks) <= len(short.marks) and len(long.pieces) <= 2 * len(short.pieces)
    derived = any(isinstance(n.leaf, Extent) for a in system.axes.values() if a.length for n in postorder([a.length]))
    if not derived and any(a for a in build(system).lanes):
        assert any(theme.plain(t.label) == "…" for t in long.texts)


SAME = """
import hashlib, numpy as np, dsl, viz
from viz.example import example
np.seterr(all="ignore")
out = hashlib.sha256()
for name in ("Skip", "LSTM", "BiRNN", "Translate", "Pyramid", "ResidualStack", "ClockworkRNN"):
    run = example(dsl.load(name), 3, size=2)
    for drawing in (viz.folded(name), viz.cell(name), viz.unrolled(name), viz.bptt(run), viz.gradient_flow(run)):
        out.update((drawing.svg + drawing.dot).encode())
    out.update(viz.terms(run, to=next(iter(run._model.params))).svg.encode())
out.update(viz.truncated(example(dsl.load("LSTM"), 4), 2).svg.encode())
out.update(viz.tape(example(dsl.load("GRU"), 2).h.sum()).svg.encode())
print(out.hexdigest())
"""


def test_bytes_do_not_depend_on_the_hash_seed() -> None:
    digests = set()
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", SAME],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1 and len(digests.pop()) == len(hashlib.sha256().hexdigest())
