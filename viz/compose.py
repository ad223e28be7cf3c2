"""A whole picture from a system: which steps of which lane are shown, and where the lanes stand.

Independent axes stand side by side (encoder, decoder), a derived axis above the one it is counted from with
each step over those it reads; what has no time axis to the right, or to the left when it reads nothing that has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsl.system.system import System
from viz import svg
from viz.cross import Crossing, above, length_of, source_steps
from viz.graph import Graph, build
from viz.layout import Step
from viz.route import lay_out
from viz.scene import Scene
from viz.tiling import Tiles, shown_steps

DEFAULT_STEPS = 4
BETWEEN = 56.0  # between lanes above one another
BESIDE = 84.0  # and side by side
WAYS = 64.0  # for what runs down between lanes side by side


@dataclass
class Picture:
    """A scene with what it was made from; `lengths` are the steps of every lane."""

    graph: Graph
    steps: dict[str, Step]
    tiles: dict[str, Tiles]
    scene: Scene
    lengths: dict[str, int]


def longest_lag(graph: Graph, lane: str) -> int:
    return max(
        (abs(w.lag) for w in graph.wires if w.relation == "step" and graph.nodes[w.target].lane == lane), default=1
    )


def compose(
    system: System, lengths: Mapping[str, int] | None = None, keep: Sequence[int] = (), first: int = 0, title: str = ""
) -> Picture:
    """Lay out and tile every lane. `lengths` gives steps for the axes; `keep` steps are shown whatever is elided."""
    graph = build(system)
    scene = Scene(system.name, title or f"{system.name} unrolled in time")
    picture = Picture(graph, {}, {}, scene, _lengths(graph, lengths or {}))
    lanes = [a for a in graph.lanes if not a or picture.lengths[a]]
    for lane in lanes:
        picture.steps[lane] = lay_out(graph, lane, stepped=bool(lane))
    bases = [a for a in lanes if above(system, a) is None]
    if "" in bases and not any(graph.nodes[w.target].lane == "" != graph.nodes[w.source].lane for w in graph.wires):
        bases.insert(0, bases.pop(bases.index("")))  # it only gives: what it gives starts there
    beside = [_place(picture, a, keep, first) for a in bases]
    tallest = max(t.panel_height for t in beside)
    right = 0.0
    for n, tiles in enumerate(beside):
        tiles.move(right + max(BESIDE, tiles.lead + WAYS) if n else 0.0, tallest - tiles.panel_height)
        right = _stack(picture, tiles, lanes, keep, first)
    Crossing(scene, graph, picture.tiles, picture.lengths).run()
    svg.fit(scene)
    return picture


def _lengths(graph: Graph, given: Mapping[str, int]) -> dict[str, int]:
    system = graph.system
    out: dict[str, int] = {}
    for name, axis in system.axes.items():
        if axis.length is None:
            out[name] = given.get(name) or min(8, max(DEFAULT_STEPS, longest_lag(graph, name) + 2))
    for name, axis in system.axes.items():
        if axis.length is not None:
            out[name] = length_of(system, name, out)
    return out


def _stack(picture: Picture, base: Tiles, lanes: Sequence[str], keep: Sequence[int], first: int) -> float:
    """Draw a lane and, above it, those that are counted from it; returns how far they reach to the right."""
    stack = [base.lane]
    picture.tiles[base.lane] = tiles = base
    tiles.run()
    right = tiles.right
    for lane in lanes:
        if lane not in stack and above(picture.graph.system, lane) in stack:
            stack.append(lane)
            y = tiles.y
            picture.tiles[lane] = tiles = _place(picture, lane, keep, first, base.x[0])
            tiles.move(0.0, y - BETWEEN - (tiles.bottom - tiles.y))
            tiles.run()
            right = max(right, tiles.right)
    return right


def _place(picture: Picture, lane: str, keep: Sequence[int], first: int, x: float = 0.0) -> Tiles:
    step = picture.steps[lane]
    length = picture.lengths[lane] if lane else 1
    steps = shown_steps(length, keep)
    tiles = Tiles(picture.scene, step, steps, length, (x, 0.0), first)
    base = above(picture.graph.system, lane) if lane else None
    if base is None or base not in picture.tiles:
        return tiles
    columns = _over(picture, tiles, picture.tiles[base])
    return tiles if columns is None else Tiles(picture.scene, step, steps, length, (x, 0.0), first, columns)


def _over(picture: Picture, tiles: Tiles, base: Tiles) -> list[float] | None:
    """x of each panel so that it stands over the steps it reads; None when they would overlap."""
    centre = {s: base.x[c] + base.panel_width / 2 for c, s in enumerate(base.steps) if s is not None}
    wires = [
        w
        for n in tiles.step.nets.values()
        for w in n.wires
        if picture.graph.nodes[w.source].lane == base.lane and w.relation == "index"
    ]
    out: list[float] = []
    for s in tiles.steps:
        if s is None:
            return None
        reads = [centre[k] for w in wires for k in source_steps(w, s, base, picture.lengths, tiles.lane) if k in centre]
        if not reads:
            return None
        out.append(round(sum(reads) / len(reads) - tiles.panel_width / 2, 1))
    tight = any(b - a < tiles.panel_width + tiles.gap / 2 for a, b in zip(out, out[1:], strict=False))
    return None if tight else out
