"""Truncated BPTT on the unrolled picture: chunks in brackets, scissors where the gradient is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dsl.system.system import System
from viz import svg, theme
from viz.drawing import Drawing
from viz.flow import Edge
from viz.graph import build
from viz.numbering import samples
from viz.paths import Gradients, Window, gradients, leaves, start
from viz.question import Question
from viz.scene import Piece, Point, Scene, Text
from viz.views.bptt import draw
from viz.views.subject import is_run, system_of

SCISSORS = (
    "M-7-5L5 4M-7 5L5-4M7.6 5.4a2.6 2.6 0 1 1-5.2 0 2.6 2.6 0 1 1 5.2 0M7.6-5.4a2.6 2.6 0 1 1-5.2 0 2.6 2.6 0 1 1 5.2 0"
)


def truncated(
    run: Any, k1: int, k2: int | None = None, *, update: int = -1, sequence: int = 0, first: int = 0
) -> Drawing:
    """One update of BPTT(k1, k2): every `k1` steps the losses since the last update go back at most `k2` steps.

    k2      steps that the gradient goes back from the update's last one (default: k1)
    update  which update is drawn (default: the last)

    Brackets show the chunks; scissors stand on the edges that this update does not follow; every other edge has its
    gradient's size. `.data`: the arrays of `viz.bptt`; `chunks` (n, 3): each update's first and last step and how far
    back it goes; `cut` (m, 2): source and target steps of the cut edges; for every parameter `truncated[name]`, this
    update's gradient, `full[name]`, the whole one of the same losses, and `cosine[name]` between them.
    The window is of the loss's own axis: later steps are cut off as well, what reads other axes is followed. A loss
    that is one number for the whole sequence comes with the last update, whose window is of the first state's axis.
    Errors: ValueError for k1 or k2 below 1, k2 below k1, no such update or one without a loss, a cell without states.
    """
    system = system_of(run)
    k2 = k1 if k2 is None else k2
    if k1 < 1 or k2 < k1:
        raise ValueError(f"truncated(k1={k1}, k2={k2}): expected 1 ≤ k1 ≤ k2")
    if not is_run(run):
        raise ValueError(f"truncated needs a run: viz.truncated(model(...), {k1}, {k2})")
    graph = build(system)
    key, is_loss = start(graph, system, None)
    own = graph.nodes[key].lane
    lane = own or next((n.lane for n in graph.nodes.values() if n.kind == "state" and n.lane), "")
    if not lane:
        raise ValueError(f"{system.name} has no state that goes from step to step: there is nothing to cut")
    length = int(np.asarray(run.lengths[lane])[sequence])
    chunks = [(a, min(a + k1, length) - 1, max(0, min(a + k1, length) - k2)) for a in range(0, length, k1)]
    if not -len(chunks) <= update < len(chunks):
        raise ValueError(f"update={update}: {length} steps in chunks of {k1} have updates 0 to {len(chunks) - 1}")
    if not own and update not in (-1, len(chunks) - 1):
        raise ValueError(
            f"update={update}: {key} is one number for all steps; it comes with the last, {len(chunks) - 1}"
        )
    low, last, back = chunks[update]
    step, since, window = (last, low, (lane, back, last)) if own else (None, None, (lane, back, last))
    full = gradients(run, system, key, is_loss, step, sequence, first, since)
    found = gradients(run, system, key, is_loss, step, sequence, first, since, window)
    if own and low < last:
        found.title = f"{found.title.partition('[')[0]}[{low + first}…{last + first}]"
    cut = {e: None for e in full.messages if leaves(e, graph, window) and 0 <= (e[2] or 0) < length}
    drawing = _draw(system, found, window, first, lambda scene: _brackets(scene, lane, chunks, chunks[update], first))
    _scissors(drawing.scene, cut)
    drawing.data["cut"] = np.array(sorted({(s, t) for _, t, s in cut}), dtype=int).reshape(-1, 2)
    drawing.data["chunks"] = np.array(chunks, dtype=int)
    drawing.data |= _compare(full, found)
    cosine = {n: v for n, v in drawing.data["cosine"].items() if np.isfinite(v)}
    worst = min(cosine, key=lambda n: cosine[n]) if cosine else ""
    said = f"BPTT({k1}, {k2})" + (
        f"; least like the full gradient: {worst}, cosine {cosine[worst]:.3f}" if worst else ""
    )
    x, y, _, h = drawing.scene.bounds
    drawing.scene.texts.append(Text(x + svg.MARGIN, y + h - 2, theme.label(said), 12, "ink"))
    drawing.scene.title = f"{system.name}: truncated {said}"
    svg.fit(drawing.scene)
    return drawing


def _draw(system: System, found: Gradients, window: Window, first: int, below: Callable[[Scene], None]) -> Drawing:
    """The picture with what this update follows."""
    lane, back, last = window
    states = [k for k, n in found.graph.nodes.items() if n.kind == "state" and n.lane == lane]
    reached = [(k, s) for k, s in found.reached() if k in states and s is not None and s >= back]
    target, at = min(reached, key=lambda p: p[1] if p[1] is not None else 0) if reached else found.seed
    near = tuple(k for k in (back - 1, back + 1) if k >= 0)
    asked = Question(system, found, target, at, False, (back, last), near)
    return draw(asked, dict.fromkeys(found.messages), "grad", first, below=below)


def _compare(full: Gradients, found: Gradients) -> dict[str, Any]:
    out: dict[str, dict[str, Any]] = {"truncated": {}, "full": {}, "cosine": {}}
    for name, shares in full.shares.items():
        if not shares:
            continue
        whole = sum(np.asarray(g) for g in shares.values())
        part = sum((np.asarray(g) for g in found.shares.get(name, {}).values()), np.zeros_like(whole))
        size = float(np.linalg.norm(np.ravel(whole)) * np.linalg.norm(np.ravel(part)))
        out["truncated"][name], out["full"][name] = part, whole
        out["cosine"][name] = float(np.vdot(part, whole).real / size) if size else float("nan")
    return out


def _scissors(scene: Scene, cut: dict[Edge, None]) -> None:
    """On every piece that leads out of the window, once where several ways run together."""
    shown: set[Edge] = set()
    done: set[Point] = set()
    for piece in scene.pieces:
        here = {(r.wire, r.target_step, (r.target_step or 0) + r.wire.lag) for r in piece.reads} & cut.keys()
        if here <= shown or not ("-in-" in piece.id or "-arc-" in piece.id):
            continue
        shown |= here
        point = _middle(piece)
        if point not in done:
            done.add(point)
            place = f'transform="translate({svg.coordinate(point[0])} {svg.coordinate(point[1])})"'
            scene.extra.append(f'<g class="loss net cut" {place}><path class="wire" d="{SCISSORS}"/></g>')


def _middle(piece: Piece) -> Point:
    points = samples(piece.points, 2.0)
    flat = [p for p, q in zip(points, points[1:], strict=False) if abs(p[1] - q[1]) < 0.2] or points
    x, y = flat[len(flat) // 2]
    return round(x, 1), round(y, 1)


def _brackets(
    scene: Scene, lane: str, chunks: list[tuple[int, int, int]], chosen: tuple[int, int, int], first: int
) -> None:
    """The chunks above the panels; below, how far this update goes back."""
    mine = [p for p in scene.panels if p.label.startswith(f"{lane} = ")]
    columns = {int(p.label.rpartition("= ")[2].replace("−", "-")) - first: p for p in mine}
    top = min(p.y for p in mine) - 14
    _, y, _, h = scene.bounds
    for low, high, _ in chunks:
        shown = [s for s in columns if low <= s <= high]
        if shown:
            a, b = columns[min(shown)], columns[max(shown)]
            said = f"steps {low + first}–{high + first}" if low < high else f"step {low + first}"
            _bracket(scene, a.x, b.x + b.width, top, -1, said, (low, high) == chosen[:2])
    shown = [s for s in columns if chosen[2] <= s <= chosen[1]]
    a, b = columns[min(shown)], columns[max(shown)]
    back = chosen[1] - chosen[2] + 1
    _bracket(scene, a.x, b.x + b.width, y + h - 4, 1, f"the gradient goes back {back} step{'s'[: back > 1]}", True)
    svg.fit(scene)


def _bracket(scene: Scene, left: float, right: float, y: float, way: int, said: str, chosen: bool) -> None:
    ends = [svg.coordinate(v) for v in (left + 3, y - way * 7, y, right - 3)]
    path = f"M{ends[0]} {ends[1]}L{ends[0]} {ends[2]}L{ends[3]} {ends[2]}L{ends[3]} {ends[1]}"
    scene.extra.append(f'<g class="{"loss net" if chosen else "net"}">{svg.stroke(path, 2.0 if chosen else 1.4)}</g>')
    scene.texts.append(
        Text((left + right) / 2, y + way * 11, theme.label(said), 11, "ink" if chosen else "muted", "middle")
    )
