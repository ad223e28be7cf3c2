"""A whole picture from a system: which steps of which lane are shown, and where the lanes stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsl.system.system import System
from viz import svg
from viz.graph import Graph, build
from viz.layout import Step, lay_out
from viz.scene import Scene
from viz.tiling import Tiles, shown_steps

DEFAULT_STEPS = 4


@dataclass
class Picture:
    """A scene with what it was made from; `lengths` are the steps of every lane."""

    graph: Graph
    steps: dict[str, Step]
    tiles: dict[str, Tiles]
    scene: Scene
    lengths: dict[str, int]


def longest_lag(graph: Graph, lane: str) -> int:
    return max((abs(w.lag) for w in graph.wires if w.relation == "step" and graph.nodes[w.target].lane == lane), default=1)


def compose(
    system: System, lengths: Mapping[str, int] | None = None, keep: Sequence[int] = (), first: int = 0, title: str = ""
) -> Picture:
    """Lay out and tile every lane. `lengths` gives steps for the axes; `keep` steps are shown whatever is elided."""
    graph = build(system)
    lanes = graph.lanes
    scene = Scene(system.name, title or f"{system.name} unrolled in time")
    picture = Picture(graph, {}, {}, scene, {})
    for lane in lanes:
        if not lane:
            continue
        length = dict(lengths or {}).get(lane) or min(8, max(DEFAULT_STEPS, longest_lag(graph, lane) + 2))
        picture.lengths[lane] = length
        step = lay_out(graph, lane)
        picture.steps[lane] = step
        tiles = Tiles(scene, step, shown_steps(length, keep), length, (0.0, 0.0), first)
        picture.tiles[lane] = tiles
        tiles.run()
    svg.fit(scene)
    return picture
