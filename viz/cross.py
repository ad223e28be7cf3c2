"""Wires between lanes: from one time axis to another, and to what has none.

A lane at half the rate stands above its base and reads single steps from below. Anything else runs along
a bus under the lanes: every source step joins it, every reading step takes from it; so its cost is the
sum of the steps, not their product, however many reads it carries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsl.system.system import Extent, Index, System
from dsl.system.system import Read as SystemRead
from tinygrad_seq.symbol import Symbol, leaves
from viz.graph import Graph, Wire
from viz.route import line, polyline, swing
from viz.scene import Mark, Piece, Point, Read, Scene
from viz.tiling import BELOW, PAD, Tiles

BUS = 13.0


def above(system: System, lane: str) -> str | None:
    """The lane that a derived axis is counted from, and stands above."""
    axis = system.axes.get(lane)
    if axis is None or axis.length is None:
        return None
    return next((n.leaf.axis for n in leaves(axis.length) if isinstance(n.leaf, Extent)), None)


def length_of(system: System, lane: str, lengths: Mapping[str, int]) -> int:
    """The number of steps of a derived axis."""
    axis = system.axes[lane]
    assert axis.length is not None
    return int(_integer(axis.length, lengths))


def _integer(root: Symbol, lengths: Mapping[str, int]) -> Any:
    from tinygrad_seq.symbol import postorder

    done: dict[Symbol, Any] = {}
    for node in postorder([root]):
        if node.op is None:
            leaf: Any = node.leaf
            done[node] = np.asarray(
                lengths[leaf.axis] if hasattr(leaf, "axis") else int(leaf.dim) if hasattr(leaf, "dim") else leaf
            )
        else:
            done[node] = node.op(*(done[a] for a in node.args), **node.options)
    return done[root]


def source_steps(wire: Wire, step: int, tiles: Tiles, lengths: Mapping[str, int], reader: str) -> list[int]:
    """Which steps of the source's lane a reader at `step` sees."""
    if wire.relation == "all" or not tiles.lane:
        return list(range(tiles.length)) if tiles.lane else [0]
    index: Index | None = next((i for i in wire.read.index), None) if wire.read else None
    if index is None:
        return [0]
    position = step if index.axis == reader else 0
    bound = Index(index.axis, index.scale, index.offset, index.divisor, index.length, index.extent)
    at = int(bound.at(position, lengths))
    return [at] if 0 <= at < tiles.length else []


def _followed(tiles: Tiles, key: str) -> bool:
    """Whether another box stands to the right of this one, in the way of a line that leaves there."""
    box = tiles.step.boxes[key]
    return any(b.x > box.x and abs(b.y - box.y) < 4 for b in tiles.step.boxes.values())


class Crossing:
    """Draws every wire between the lanes of a scene, after the lanes."""

    def __init__(self, scene: Scene, graph: Graph, tiles: Mapping[str, Tiles], lengths: Mapping[str, int]) -> None:
        self.scene, self.graph, self.tiles, self.lengths = scene, graph, tiles, lengths
        self.floor = max(t.bottom for t in tiles.values())
        self.used = 0
        self.legs: dict[str, int] = {}
        self.starts: dict[str, int] = {}

    def run(self) -> None:
        for lane, tiles in self.tiles.items():
            for key, net in tiles.step.nets.items():
                if net.kind == "port" and net.wires[0].relation != "step" or (
                    net.kind == "port" and self.graph.nodes[net.source].lane != lane
                ):  # fmt: skip
                    self._net(lane, tiles, key, net.wires)
        for lane, tiles in self.tiles.items():
            self._boundaries(lane, tiles)

    def steps_of(self, wire: Wire, step: int, tiles: Tiles, reader: str) -> list[int]:
        return source_steps(wire, step, tiles, self.lengths, reader)

    def _net(self, lane: str, tiles: Tiles, key: str, wires: Sequence[Wire]) -> None:
        node = self.graph.nodes[wires[0].source]
        if node.lane not in self.tiles:
            return
        source = self.tiles[node.lane]
        columns = {s: c for c, s in enumerate(source.steps) if s is not None}
        feet: list[tuple[Point, tuple[Read, ...]]] = []
        seen: set[int] = set()
        stacked = above(self.graph.system, lane) == node.lane and bool(lane)
        for column, s in enumerate(tiles.steps):
            if s is None:
                continue
            box = tiles.step.boxes[key]
            foot = tiles.at(column, (box.x, box.y))
            steps = [(w, k) for w in wires for k in self.steps_of(w, s, source, lane)]
            reads = tuple(Read(w, k if source.lane else 0, s) for w, k in steps)
            for p in self.scene.pieces:
                if p.net == key and p.id.startswith(f"{lane}{s}-p"):
                    own = {r.wire for r in p.reads}
                    p.reads = tuple(r for r in reads if r.wire in own)
            shown = sorted({k for _, k in steps if k in columns})
            if stacked:
                for k in shown:
                    self._climb(
                        source,
                        columns[k],
                        node.key,
                        foot,
                        tuple(r for r in reads if r.source_step == k),
                        f"{lane}{s}-up-{key}-{k}",
                    )
            else:
                seen.update(shown)
                feet.append((foot, reads))
        if feet:
            self._bus(source, [columns[k] for k in sorted(seen)], node.key, feet, key, f"{lane}-bus-{key}")

    def _climb(self, source: Tiles, column: int, key: str, foot: Point, reads: tuple[Read, ...], name: str) -> None:
        """From a step below up to a reading step above."""
        box = source.step.boxes[key]
        x, y = source.at(column, (box.x, box.top))
        clear = not any(
            abs(b.x - box.x) < (b.width + 12) / 2 and b.y < box.y for k, b in source.step.boxes.items() if k != key
        )
        top = source.y - 10
        if clear:
            points = [(x, y), *line((x, y), (x, top)), *swing((x, top), foot)]
        else:
            side = self._side(source, column, key)
            points = polyline(
                [
                    (source.at(column, (box.x + box.width / 2, 0))[0], source.at(column, (0, box.y))[1]),
                    (side, source.at(column, (0, box.y))[1]),
                    (side, top),
                ]
            )
            points += swing((side, top), foot)
        self.scene.pieces.append(
            Piece(name, "cross", points, reads, False, ["net", *self._colour(key)], order=0.5, tail=True)
        )

    def _colour(self, key: str) -> list[str]:
        node = self.graph.nodes[key]
        return [self.tiles[node.lane].role(key)] if node.kind == "state" else []

    def _side(self, source: Tiles, column: int, key: str) -> float:
        n = self.legs.setdefault(key, len(self.legs))
        return source.at(column, (source.step.width + PAD + 8 + 5 * (n % 4), 0))[0]

    def _bus(
        self,
        source: Tiles,
        columns: Sequence[int],
        key: str,
        feet: list[tuple[Point, tuple[Read, ...]]],
        net: str,
        name: str,
    ) -> None:
        deep = self.floor + 16 + BUS * self.used
        self.used += 1
        box = source.step.boxes[key]
        classes = ["net", "bus", *self._colour(key)]
        everything = tuple(r for _, reads in feet for r in reads)
        starts = []
        for column in columns:
            side = self._side(source, column, key)
            _, y = source.at(column, (0, box.y))
            edge, _ = source.at(column, (box.x + box.width / 2, 0))
            if self.graph.nodes[key].kind == "chip":
                edge = source.at(column, (box.x, 0))[0]
                points = [(edge, source.at(column, (0, box.bottom))[1])]
                points += line(points[0], (edge, deep))
                side = edge
            elif _followed(source, key):
                x, top = source.at(column, (box.x, box.top))
                points = polyline([(x, top), (x, top - 10), (side, top - 10), (side, deep)])
            else:
                y += BELOW if self.graph.nodes[key].kind == "state" else 0.0  # clear of the line to the next step
                points = polyline([(edge, y), (side, y), (side, deep)])
            starts.append(side)
            reads = tuple(r for r in everything if r.source_step == source.steps[column] or not source.lane)
            self.scene.pieces.append(
                Piece(f"{name}-from{column}", net, points, reads, False, classes, order=-1.0, tail=True)
            )
        ends = [foot[0] for foot, _ in feet]
        low, high = min([*starts, *ends]), max([*starts, *ends])
        self.scene.pieces.append(
            Piece(name, net, [(low, deep), *line((low, deep), (high, deep))], everything, False, classes, order=-1.0)
        )
        for n, (foot, reads) in enumerate(feet):
            self.scene.pieces.append(
                Piece(
                    f"{name}-to{n}",
                    net,
                    [(foot[0], deep), *line((foot[0], deep), foot)],
                    reads,
                    False,
                    classes,
                    order=-1.0,
                )
            )

    # -- boundaries

    def _boundaries(self, lane: str, tiles: Tiles) -> None:
        """A state that starts from another lane's last value, or from one without steps, gets a wire from there."""
        for state in [k for k in tiles.step.boxes if k in self.graph.nodes and self.graph.nodes[k].kind == "state"]:
            boundary = self.graph.system.streams[state].boundary
            mark = next(
                (
                    m
                    for m in self.scene.marks
                    if m.node.key == state
                    and "boundary" in m.classes
                    and m.step in (-1, tiles.length)
                    and m.node.lane == lane
                ),
                None,
            )
            if boundary is None or mark is None:
                continue
            for leaf in leaves(boundary):
                if isinstance(leaf.leaf, SystemRead) and leaf.leaf.name in self.graph.home:
                    self._start(leaf.leaf, mark, f"{lane}-start-{state}")

    def _start(self, read: SystemRead, mark: Mark, name: str) -> None:
        key = self.graph.home[read.name]
        if self.graph.nodes[key].lane not in self.tiles:
            return
        source = self.tiles[self.graph.nodes[key].lane]
        at = int(read.index[0].at(0, self.lengths)) if read.index else 0
        column = next((c for c, s in enumerate(source.steps) if s == at), None)
        if column is None:
            return
        box = source.step.boxes[key]
        edge = source.at(column, (box.x + box.width / 2, box.y))
        if abs(edge[1] - mark.y) < 1 and edge[0] < mark.x:
            points = [edge, *line(edge, (mark.x - mark.width / 2, mark.y))]
        else:
            n = self.starts[mark.node.lane] = self.starts.get(mark.node.lane, -1) + 1
            middle = round(mark.x - mark.width / 2 - 14 - 9 * n, 1)
            leave = [edge]
            if _followed(source, key):
                x, top = source.at(column, (box.x, box.top))
                leave = [(x, top), (x, top - 6)]  # over the box, below its panel's title
            points = polyline([*leave, (middle, leave[-1][1]), (middle, mark.y), (mark.x - mark.width / 2, mark.y)])
        wire = Wire(key, mark.node.key, 0, "index" if read.index else "once", 0, read)
        self.scene.pieces.append(
            Piece(
                name,
                "boundary",
                points,
                (Read(wire, at, mark.step),),
                True,
                ["net", *self._colour(key)],
                order=0.5,
                tail=True,
            )
        )
