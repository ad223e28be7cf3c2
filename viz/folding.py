"""One step with its own past: the laid-out step once, every lag a loop through a delay square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from viz import svg, theme
from viz.compose import BESIDE, BETWEEN, Picture
from viz.cross import Crossing, above
from viz.delays import Delay, place
from viz.graph import Graph, Node, Wire
from viz.route import BEND, lay_out, polyline
from viz.scene import Mark, Piece, Point, Read, Scene, Text
from viz.tiling import BELOW, Tiles, way_out

NOW = 1 << 20  # the step that is drawn: far from either end, so that no read reaches a boundary
SQUARE = 26.0
LOOP = 30.0


class Folded(Tiles):
    """A lane's one step, labelled by the axis itself: h[t], x[t], h[t-4]."""

    def __init__(self, scene: Scene, step: Any, origin: Point = (0.0, 0.0)) -> None:
        super().__init__(scene, step, [NOW if step.lane else 0], 2 * NOW, origin)
        self.delays: list[Delay] = []
        self.over, self.under = self._loops()
        self.y += LOOP * len(self.over)
        self.bottom = self.y + self.panel_height + (svg.MARGIN if not self.under else 0)
        chips = [b for k, b in step.boxes.items() if step.rows.row[k] == 0]
        self.bottom = max(self.bottom, max((self.at(0, (0, b.bottom))[1] for b in chips), default=0.0))

    def header(self, step: int) -> str:
        return f"step {self.lane}" if self.lane else "per sequence"

    def label(self, index: int) -> str:
        d = index - NOW
        return self.lane + (f"{d:+d}".replace("-", "−") if d else "")

    def _loops(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """States looped above the step, the topmost innermost, and those looped below."""
        over: dict[tuple[str, int], None] = {}
        under: dict[tuple[str, int], None] = {}
        for way, (state, lag, _) in self.near.items():
            if way.startswith("spine:"):
                over[state, lag] = None
        for state, lag, _ in self.near.values():
            if (state, lag) not in over:
                under[state, lag] = None
        high = sorted(over, key=lambda s: self.step.boxes[s[0]].y)
        return high, sorted(under, key=lambda s: -self.step.boxes[s[0]].y)

    @property
    def reach(self) -> float:
        """How far loops run left of the step."""
        return 14 + 9.0 * (len(self.over) + len(self.under) + len(self.far))

    def run(self) -> None:
        self._step(0, self.steps[0] or 0)
        deep = self.bottom
        for n, (state, lag) in enumerate(self.over):
            self._loop(state, lag, n, self.y - 18 - LOOP * n)
        for n, (state, lag) in enumerate(self.under):
            deep = self.bottom + 20 + LOOP * n
            self._loop(state, lag, len(self.over) + n, deep)
        for key, wires in self.far.items():
            deep += LOOP if self.under or deep > self.bottom else 20
            self._leap(key, wires, deep)
        self.bottom = max(self.bottom, deep + SQUARE / 2)

    def _square(self, state: str, lag: int, ends: tuple[float, float], y: float) -> None:
        """In the middle of a level line; `delays.place` finds it a clear place there."""
        x = round(sum(ends) / 2, 1)
        title = theme.label("z", sup=f"{lag:+d}".replace("-", "−"))
        node = Node(f"delay:{state}:{lag:+d}", "delay", "delay", title, (self.lane,))
        self.scene.marks.append(
            Mark(
                f"{self.lane}:{node.key}",
                node,
                None,
                x,
                y,
                SQUARE + 4,
                SQUARE - 4,
                title,
                ["delay"],
                [],
                f"{state} {lag:+d}",
            )
        )
        self.scene.texts.append(Text(x + SQUARE / 2 + 8, y - 8, theme.name(state, storey=True), 10.5))
        self.delays.append(Delay(self.scene.marks[-1], self.scene.texts[-1], min(ends), max(ends)))

    def _ends(self, state: str, lag: int, n: int) -> tuple[Point, float, float]:
        """Where the state's line starts, and the x at which its loop passes on either side."""
        box = self.step.boxes[state]
        start = self.at(0, (box.x - lag * box.width / 2, box.y))
        out, back = self.x[0] + self.panel_width + 14 + 9 * n, self.x[0] - 14 - 9 * n
        return (start, out, back) if lag < 0 else (start, back, out)

    def _loop(self, state: str, lag: int, n: int, y: float) -> None:
        start, out, back = self._ends(state, lag, n)
        s = self.steps[0] or 0
        ways = {w: v for w, v in self.near.items() if v[0] == state and v[1] == lag}
        everything = tuple(Read(w, s + lag, s) for _, _, wires in ways.values() for w in wires)
        first = next(iter(ways))
        classes = [*self._classes(ways[first][2][0], first), "loop"]
        middle = round((out + back) / 2, 1)
        self.scene.pieces.append(
            Piece(
                f"{self.lane}-loop-{state}",
                first,
                polyline([start, (out, start[1]), (out, y), (middle, y)]),
                everything,
                False,
                classes,
                order=1.5,
                tail=True,
            )
        )
        self._square(state, lag, (out, back), y)
        for way, (_, _, wires) in ways.items():
            reads = tuple(Read(w, s + lag, s) for w in wires)
            inward = 0.0 if lag < 0 else self.step.width
            if way.startswith("spine:"):
                port = self.step.ports[wires[0].target, wires[0].socket]
                end, head = self.at(0, (port.x, port.y)), True
            else:
                end, head = self.at(0, (inward, self.step.rail_y[way])), False
            points = polyline([(middle, y), (back, y), (back, end[1]), end], BEND)
            self.scene.pieces.append(
                Piece(
                    f"{self.lane}-in-{way}",
                    way,
                    points,
                    reads,
                    head,
                    [*self._classes(wires[0], way), "loop"],
                    order=1.5,
                )
            )

    def _leap(self, key: str, wires: tuple[Wire, ...], y: float) -> None:
        lag, state, s = wires[0].lag, wires[0].source, self.steps[0] or 0
        n = len(self.over) + len(self.under) + self.legs[key]
        _, out, _ = self._ends(state, self._rim(key), n)
        start = [self.at(0, p) for p in way_out(self.step, state, -self._rim(key), n, BELOW)]
        foot = self.at(0, (self.step.boxes[key].x, self.step.boxes[key].y))
        reads = tuple(Read(w, s + lag, s) for w in wires)
        points = polyline([*start, (out, start[-1][1]), (out, y), (foot[0], y), foot], 13.0)
        self.scene.pieces.append(
            Piece(f"{self.lane}-arc-{key}", key, points, reads, False, ["net", "skip", "arc"], order=-1.0, tail=True)
        )
        self._square(state, lag, (out, foot[0]), y)


class _Links(Crossing):
    """Wires between lanes that are one step each."""

    beside = 0  # wires that go up beside a stack of lanes
    climbs = 0  # and from one lane to the next

    def steps_of(self, wire: Wire, step: int, tiles: Tiles, reader: str) -> list[int]:
        return [NOW if tiles.lane else 0]

    def _under(self, tiles: Tiles) -> list[Tiles]:
        """The lanes that a lane stands upon."""
        return [t for t in self.tiles.values() if t.x[0] == tiles.x[0] and t.y > tiles.y]

    def _side(self, source: Tiles, column: int, key: str) -> float:
        n = self.legs.setdefault(key, len(self.legs))
        return max(t.right + t.reach for t in (source, *self._under(source)) if isinstance(t, Folded)) + 5 * (n % 4)

    def _climb(self, source: Tiles, column: int, key: str, foot: Point, reads: tuple[Read, ...], name: str) -> None:
        """From a lane up to one upon it, level between the loops of both."""
        over = LOOP * len(source.over) if isinstance(source, Folded) else 0.0
        level = source.y - over - 14 - 5 * (self.climbs % 6)
        self.climbs += 1
        points = polyline([*self._leg(source, column, key, level, True), (foot[0], level), foot])
        classes = ["net", *self._colour(key)]
        self.scene.pieces.append(Piece(name, "cross", points, reads, False, classes, order=0.5, tail=True))

    def _entry(self, reader: Tiles, foot: Point, y: float, n: int) -> list[Point]:
        """Up to a lane that stands upon others, beside those."""
        if not self._under(reader):
            return super()._entry(reader, foot, y, n)
        self.beside += 1
        x = reader.x[0] - max(t.reach for t in self._under(reader) if isinstance(t, Folded)) - 8 - 6 * self.beside
        level = max(foot[1] + 18, reader.at(0, (0, reader.step.height))[1] + 8)
        return [(x, y), (x, level), (foot[0], level)]


def _upon(under: Mapping[str, str | None], base: str) -> list[str]:
    """A lane and all that stand upon it."""
    stack = [base]
    for lane in stack:
        stack += [a for a, b in under.items() if b == lane]
    return stack


def compose(graph: Graph) -> Picture:
    """Every lane folded."""
    system = graph.system
    scene = Scene(system.name, f"{system.name} folded")
    picture = Picture(graph, {}, {}, scene, {})
    under = {a: above(system, a, graph.lanes) for a in graph.lanes}
    bases = [a for a in graph.lanes if under[a] is None]
    for lane in graph.lanes:
        picture.steps[lane] = lay_out(graph, lane, stepped=bool(lane))
    lowest = max(Folded(scene, picture.steps[a]).bottom for a in bases)
    right: float | None = None
    delays: list[Delay] = []
    for base in bases:
        lanes = _upon(under, base)
        reach = max(Folded(scene, picture.steps[a]).reach for a in lanes)
        x = 0.0 if right is None else right + max(BESIDE, reach + BESIDE / 2)
        y, right = 0.0, x
        for lane in lanes:
            tiles = Folded(scene, picture.steps[lane], (x, y))
            if lane == base:
                tiles.move(0.0, lowest - tiles.bottom)
            else:
                up = tiles.bottom + LOOP * (len(tiles.under) + len(tiles.far)) - y + BETWEEN
                tiles.y -= up
                tiles.bottom -= up
            picture.tiles[lane] = tiles
            tiles.run()
            delays += tiles.delays
            y = tiles.y - LOOP * len(tiles.over)
            right = max(right, tiles.right + reach)
    _Links(scene, graph, picture.tiles, {a: NOW for a in system.axes}).run()
    place(scene, delays)
    svg.fit(scene)
    return picture
