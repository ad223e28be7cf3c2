"""Wires between lanes: from one time axis to another, and to what has none.

Lanes stand on shelves, readers above what they read; channel k lies below shelf k. A lane at half the rate reads
single steps of its base from below. Anything else runs along a bus in a channel: every source step joins it, every
reading step takes from it; so its cost is the sum of the steps, not their product, however many reads it carries.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsl.system.system import Extent, Index, System
from dsl.system.system import Read as SystemRead
from tinygrad_seq.symbol import Symbol, leaves
from viz import theme
from viz.graph import Graph, Wire
from viz.layout import BOX
from viz.route import BEND, line, polyline, swing
from viz.scene import Mark, Piece, Point, Read, Scene
from viz.step import Net, Step
from viz.tiling import BELOW, PAD, Tiles, above_chip, way_out

BUS = 13.0
MARGIN = 16.0  # between a shelf and the first bus below it
SIDE = 12.0  # between risers beside all shelves


@dataclass(frozen=True)
class Way:
    """A bus, or the wire that starts a state: it leaves its source into channel `out` and is taken from `into`."""

    reader: str
    key: str  # a port, or the state that is started
    source: str
    out: int
    into: int
    every: bool = False  # all steps of the source are read
    start: SystemRead | None = None


def ways(graph: Graph, steps: Mapping[str, Step], shelf: Mapping[str, int]) -> list[Way]:
    """All that runs between lanes, but for what climbs from a lane to the one counted from it."""
    found = []
    for reader, step in steps.items():
        for key, net in step.nets.items():
            source = graph.nodes[net.source].lane
            if _crosses(graph, net, reader) and source in steps and not _climbs(graph.system, reader, source):
                every = any(w.relation == "all" for w in net.wires)
                found.append(Way(reader, key, source, *_channels(graph, shelf, source, reader), every))
        for state, read in _starts(graph, step):
            source = graph.nodes[graph.home[read.name]].lane
            if source in steps:
                found.append(Way(reader, state, source, *_channels(graph, shelf, source, reader), start=read))
    return found


def _crosses(graph: Graph, net: Net, lane: str) -> bool:
    return net.kind == "port" and (net.wires[0].relation != "step" or graph.nodes[net.source].lane != lane)


def _climbs(system: System, reader: str, source: str) -> bool:
    return bool(reader) and above(system, reader) == source


def _channels(graph: Graph, shelf: Mapping[str, int], source: str, reader: str) -> tuple[int, int]:
    """Up from what stands below its reader with nothing of its own between, else down."""
    here, there = shelf.get(source, 0), shelf.get(reader, 0)
    covered = any(_climbs(graph.system, lane, source) for lane in shelf)
    return (here + 1 if there > here and not covered else here), there


def _starts(graph: Graph, step: Step) -> Iterable[tuple[str, SystemRead]]:
    """States that begin with another lane's value, and what they read."""
    for key in step.boxes:
        boundary = (
            graph.system.streams[key].boundary if key in graph.nodes and graph.nodes[key].kind == "state" else None
        )
        for leaf in leaves(boundary) if boundary is not None else ():
            read = leaf.leaf
            if isinstance(read, SystemRead) and read.name in graph.home:
                yield key, read


def above(system: System, lane: str, drawn: Container[str] | None = None) -> str | None:
    """The lane that a derived axis is counted from, and stands above; the nearest of those that are `drawn`."""
    axis = system.axes.get(lane)
    while axis is not None and axis.length is not None:
        under = next((n.leaf.axis for n in leaves(axis.length) if isinstance(n.leaf, Extent)), None)
        if under is None or drawn is None or under in drawn:
            return under
        axis = system.axes[under]
    return None


def length_of(system: System, lane: str, lengths: Mapping[str, int]) -> int:
    """The number of steps of a derived axis, none where there would be fewer."""
    axis = system.axes[lane]
    assert axis.length is not None
    return max(0, int(_integer(axis.length, lengths)))


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
    if wire.read is None or not wire.read.index:
        return [0]
    at = _position(wire, step, lengths, reader)
    return [at] if 0 <= at < tiles.length else []


def _position(wire: Wire, step: int, lengths: Mapping[str, int], reader: str) -> int:
    """Which step an index reads, be it there or not."""
    assert wire.read is not None
    index = wire.read.index[0]
    bound = Index(index.axis, index.scale, index.offset, index.divisor, index.length, index.extent)
    return int(bound.at(step if index.axis == reader else 0, lengths))


def _inward(x: float, low: float, high: float) -> float:
    """Where a wire that joins a line from low to high at x begins to bend: at its ends only."""
    reach = min(BEND, (high - low) / 2)
    return round(x + reach if x == low else x - reach if x == high else x, 1)


class Crossing:
    """Draws every wire between the lanes of a scene, after the lanes. `shelf` is where each lane stands."""

    def __init__(
        self,
        scene: Scene,
        graph: Graph,
        tiles: Mapping[str, Tiles],
        lengths: Mapping[str, int],
        shelf: Mapping[str, int] | None = None,
        one: tuple[int, frozenset[str]] | None = None,
    ) -> None:
        self.scene, self.graph, self.tiles, self.lengths = scene, graph, tiles, lengths
        self.shelf = shelf or dict.fromkeys(tiles, 0)
        self.one = one  # a step and its nodes whose wires from every source step are drawn one by one
        self.used: dict[int, int] = {}
        self.legs: dict[str, int] = {}
        self.aside = max(m.x + m.width / 2 for m in scene.marks) if scene.marks else 0.0
        self.aside = max([self.aside, *(t.right for t in tiles.values())]) + 2 * SIDE
        self.begun: dict[str, int] = {}
        self.feet: dict[tuple[str, str], list[tuple[Point, int, tuple[Read, ...]]]] = {}

    def run(self) -> None:
        for lane, tiles in self.tiles.items():
            for key, net in tiles.step.nets.items():
                if _crosses(self.graph, net, lane) and self.graph.nodes[net.source].lane in self.tiles:
                    self._read(lane, tiles, key, net.wires)
        for way in ways(self.graph, {a: t.step for a, t in self.tiles.items()}, self.shelf):
            if way.start is not None:
                self._begin(way, way.start)
            elif self.feet[way.reader, way.key]:
                self._bus(way)

    def steps_of(self, wire: Wire, step: int, tiles: Tiles, reader: str) -> list[int]:
        return source_steps(wire, step, tiles, self.lengths, reader)

    def _read(self, lane: str, tiles: Tiles, key: str, wires: Sequence[Wire]) -> None:
        """What every shown step of a lane reads by one port: `feet`, or wires up from the lane below."""
        node = self.graph.nodes[wires[0].source]
        source = self.tiles[node.lane]
        columns = {s: c for c, s in enumerate(source.steps) if s is not None}
        feet = self.feet.setdefault((lane, key), [])
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
            if not shown and wires[0].relation == "index":
                self._outside(tiles, column, s, key, wires[0], source)
            elif not _climbs(self.graph.system, lane, node.lane):
                feet.append((foot, s, reads))
            else:
                for k in shown:
                    read = tuple(r for r in reads if r.source_step == k)
                    self._climb(source, columns[k], node.key, foot, read, f"{lane}{s}-up-{key}-{k}")

    def _outside(self, tiles: Tiles, column: int, s: int, key: str, wire: Wire, source: Tiles) -> None:
        """A read of a step that is not drawn, or not there, shows which one it is."""
        at = _position(wire, s, self.lengths, tiles.lane)
        box, node = tiles.step.boxes[key], self.graph.nodes[wire.source]
        x, y = tiles.at(column, (box.x, box.y))
        classes = [source.role(node.key) if node.kind == "state" else node.role, node.kind]
        if not 0 <= at < source.length:
            classes.append("boundary")
        title, hint = theme.name(node.stream or "", source.label(at)), f"{node.stream}[{at + source.first}]"
        mark = f"{tiles.lane}{s}:{key}"
        for p in self.scene.pieces:
            if p.net == key and p.id.startswith(f"{tiles.lane}{s}-p") and p.points[0] == (x, y):
                p.points = above_chip(p.points)
        self.scene.marks.append(Mark(mark, node, at, x, y, box.width, BOX, title, classes, [], hint))

    def _climb(self, source: Tiles, column: int, key: str, foot: Point, reads: tuple[Read, ...], name: str) -> None:
        """From a step below up to a reading step above."""
        points = polyline(self._leg(source, column, key, source.y - 10, True))
        points += swing(points[-1], foot)
        self.scene.pieces.append(
            Piece(name, "cross", points, reads, False, ["net", *self._colour(key)], order=0.5, tail=True)
        )

    def _colour(self, key: str) -> list[str]:
        node = self.graph.nodes[key]
        return [self.tiles[node.lane].role(key)] if node.kind == "state" else []

    def _side(self, source: Tiles, column: int, key: str) -> float:
        n = self.legs.setdefault(key, len(self.legs))
        return source.at(column, (source.step.width + PAD + 8 + 5 * (n % 4), 0))[0]

    def _leg(self, source: Tiles, column: int, key: str, y: float, up: bool, start: str = "") -> list[Point]:
        """Corners from a node to a height outside its step: straight where nothing is in the way, else beside it."""
        box, boxes = source.step.boxes[key], source.step.boxes.items()
        x, middle = source.at(column, (box.x, box.y))
        top, bottom = middle - box.height / 2, middle + box.height / 2
        side = self._side(source, column, start + key)
        across = [b for k, b in boxes if k != key and abs(b.x - box.x) < (b.width + 12) / 2]
        if up and not any(b.y < box.y for b in across):
            return [(x, top), (x, y)]
        if not up and self.graph.nodes[key].kind == "chip" and not any(b.y > box.y for b in across):
            return [(x, bottom), (x, y)]
        state = self.graph.nodes[key].kind == "state"  # clear of the line to the next step
        out = way_out(source.step, key, 1, self.legs[start + key], (-BELOW if up else BELOW) if state else 0.0)
        corners = [source.at(column, p) for p in out]
        return [*corners, (side, corners[-1][1]), (side, y)]

    def _entry(self, reader: Tiles, foot: Point, y: float, n: int) -> list[Point]:
        """Corners from a bus at y to where a step reads it."""
        return [(foot[0], y)]

    def _floor(self, shelf: int) -> float:
        return max((t.bottom for a, t in self.tiles.items() if self.shelf[a] == shelf), default=0.0)

    def _line(self, channel: int) -> float:
        """The height of the next free line in a channel."""
        n = self.used[channel] = self.used.get(channel, -1) + 1
        return round(self._floor(channel) + MARGIN + BUS * n, 1)

    def _turn(self) -> float:
        """The x of a riser beside all shelves."""
        self.aside += SIDE
        return round(self.aside, 1)

    def _bus(self, way: Way) -> None:
        feet, source = self.feet[way.reader, way.key], self.tiles[way.source]
        key, name = self.tiles[way.reader].step.nets[way.key].source, f"{way.reader}-bus-{way.key}"
        classes = ["net", "bus", *self._colour(key)]
        out = self._line(way.out)
        into = out if way.into == way.out else self._line(way.into)
        everything = tuple(r for _, _, reads in feet for r in reads)

        def add(tag: str, points: list[Point], reads: tuple[Read, ...], tail: bool = False) -> None:
            self.scene.pieces.append(Piece(name + tag, way.key, points, reads, False, classes, order=-1.0, tail=tail))

        seen = {r.source_step for r in everything}
        columns = [c for c, s in enumerate(source.steps) if s is not None and (s in seen or not source.lane)]
        up = way.out > self.shelf[way.source]
        legs = [self._leg(source, c, key, out, up) for c in columns]
        alone = [
            f for f in feet if self.one and f[1] == self.one[0] and any(r.wire.target in self.one[1] for r in f[2])
        ]
        feet = [f for f in feet if f not in alone]
        entries = [self._entry(self.tiles[way.reader], foot, into, n) for n, (foot, _, _) in enumerate(feet)]
        starts, ends = [leg[-1][0] for leg in legs], [entry[0][0] for entry in entries]
        low, high = min([*starts, *ends]), max([*starts, *ends])
        side = self._turn() if into != out else None
        for column, leg in zip(columns, legs, strict=True):
            reads = tuple(r for r in everything if r.source_step == source.steps[column] or not source.lane)
            x = leg[-1][0]
            bent = [*leg, (_inward(x, min(starts) if side else low, side or high), out)] if feet else leg
            add(f"-from{column}", polyline(bent), reads, True)
            for foot, _, own in alone:
                mine = tuple(r for r in own if r in reads)
                start = (x, source.y - 10 if up else out)
                end = (foot[0], self._floor(way.into) + 6)
                points = [start, *swing(start, end), *line(end, foot)]
                self.scene.pieces.append(Piece(f"{name}-fan{column}", way.key, points, mine, False, classes, order=0.6))
        if side is not None:
            first, last = _inward(min(starts), min(starts), side), _inward(min(ends), min(ends), side)
            add("", polyline([(first, out), (side, out), (side, into), (last, into)]), everything)
        elif feet and high > low:
            first, last = _inward(low, low, high), _inward(high, low, high)
            add("", [(first, out), *line((first, out), (last, out))], everything)
        for n, ((foot, _, reads), entry) in enumerate(zip(feet, entries, strict=True)):
            bend = (_inward(ends[n], min(ends) if side else low, side or high), into)
            add(f"-to{n}", polyline([bend, *entry, foot]), reads)

    # -- boundaries

    def _begin(self, way: Way, read: SystemRead) -> None:
        """A state that starts from another lane's value gets a wire from there."""
        tiles, source = self.tiles[way.reader], self.tiles[way.source]
        outside = [m for m in self.scene.marks if m.node.lane == way.reader and "boundary" in m.classes]
        outside = [m for m in outside if m.node.kind == "state" and m.step in (-1, tiles.length)]
        own = {f"{way.reader}{s}" for s in (-1, tiles.length, *tiles.steps)}
        mine = [m for m in outside if m.node.key == way.key and m.id.partition(":")[0] in own]
        mark = min(mine, key=lambda m: (m.id != f"{way.reader}{m.step}:{way.key}", m.x), default=None)
        at = int(read.index[0].at(0, self.lengths)) if read.index else source.steps[0]
        column = next((c for c, s in enumerate(source.steps) if s == at), None)
        if mark is None or column is None:
            return
        key = self.graph.home[read.name]
        box = source.step.boxes[key]
        edge = source.at(column, (box.x + box.width / 2, box.y))
        n = self.begun[way.reader] = self.begun.get(way.reader, -1) + 1
        below, side = ":port:" in mark.id, 1 if mark.step == tiles.length else -1
        reach = [m.x + side * m.width / 2 for m in outside if m.step == mark.step and ":port:" not in m.id] or [mark.x]
        middle = round(side * max(side * x for x in reach) + side * (14 + 9 * n), 1)
        end = (mark.x + side * mark.width / 2, mark.y)
        if below:  # read from afar alone, the state has no place but where it enters a step
            middle, end = mark.x, (mark.x, mark.y + mark.height / 2)
        beside = way.out == way.into == self.shelf[way.source] and not below and side < 0
        if beside and edge[0] < end[0]:
            corners = [source.at(column, p) for p in way_out(source.step, key, 1, n)]
            points = polyline([*corners, (middle, corners[-1][1]), (middle, end[1]), end])
        else:
            out = self._line(way.out)
            corners = self._leg(source, column, key, out, way.out > self.shelf[way.source], "start of ")
            if way.into != way.out:
                riser, into = self._turn(), self._line(way.into)
                corners += [(riser, out), (riser, into)]
            points = polyline([*corners, (middle, corners[-1][1]), (middle, end[1]), end])
        wire = Wire(key, mark.node.key, 0, "index" if read.index else "once", 0, read)
        step = None if at is None else at
        self.scene.pieces.append(
            Piece(
                f"{way.reader}-start-{way.key}",
                "boundary",
                points,
                (Read(wire, step, mark.step),),
                True,
                ["net", *self._colour(key)],
                order=0.5,
                tail=True,
            )
        )
