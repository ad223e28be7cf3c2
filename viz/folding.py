"""One step with its own past: the laid-out step once, every lag a loop through a delay square."""

from __future__ import annotations

from typing import Any

from viz import svg, theme
from viz.compose import BESIDE, BETWEEN, Picture
from viz.cross import Crossing, above
from viz.graph import Graph, Node, Wire
from viz.route import BEND, lay_out, polyline
from viz.scene import Mark, Piece, Point, Read, Scene, Text
from viz.tiling import BELOW, Tiles

NOW = 1 << 20  # the step that is drawn: far from either end, so that no read reaches a boundary
SQUARE = 26.0
LOOP = 30.0


class Folded(Tiles):
    """A lane's one step, labelled by the axis itself: h[t], x[t], h[t-4]."""

    def __init__(self, scene: Scene, step: Any, origin: Point = (0.0, 0.0)) -> None:
        super().__init__(scene, step, [NOW if step.lane else 0], 2 * NOW, origin)
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

    def _square(self, state: str, lag: int, x: float, y: float) -> None:
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

        said = theme.name(state, storey=True)
        self.scene.texts.append(Text(x + SQUARE / 2 + 8, y - 8, said, 10.5))

    def _ends(self, state: str, lag: int, n: int) -> tuple[Point, float, float]:
        """Where the state's line starts, and the x at which its loop passes on either side."""
        box = self.step.boxes[state]
        start = self.at(0, (box.x - lag * box.width / 2, box.y))
        out, back = self.x[0] + self.panel_width + 14 + 9 * n, self.x[0] - 14 - 9 * n
        return (start, out, back) if lag < 0 else (start, back, out)

    def _clear(self, y: float) -> float:
        """The x of a loop's square, in the middle but left of what enters the step from below."""
        middle, room = self.x[0] + self.panel_width / 2, SQUARE / 2 + 60  # its name beside it
        ports = [k for k, n in self.step.nets.items() if n.kind == "port" and k in self.step.boxes]
        feet = [self.at(0, (self.step.boxes[k].x, 0.0))[0] for k in ports] if y > self.y else []
        if all(abs(middle - f) >= 2 * SQUARE for f in feet):
            return middle
        return min(feet) - room  # such wires come from the right of the step below

    def _loop(self, state: str, lag: int, n: int, y: float) -> None:
        start, out, back = self._ends(state, lag, n)
        s = self.steps[0] or 0
        ways = {w: v for w, v in self.near.items() if v[0] == state and v[1] == lag}
        everything = tuple(Read(w, s + lag, s) for _, _, wires in ways.values() for w in wires)
        first = next(iter(ways))
        classes = [*self._classes(ways[first][2][0], first), "loop"]
        middle = self._clear(y)
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
        self._square(state, lag, middle, y)
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
        start, out, _ = self._ends(state, -1 if lag < 0 else 1, n)
        start = (start[0], start[1] + BELOW)
        foot = self.at(0, (self.step.boxes[key].x, self.step.boxes[key].y))
        middle = (out + foot[0]) / 2
        reads = tuple(Read(w, s + lag, s) for w in wires)
        points = polyline([start, (out, start[1]), (out, y), (foot[0], y), foot], 13.0)
        self.scene.pieces.append(
            Piece(f"{self.lane}-arc-{key}", key, points, reads, False, ["net", "skip", "arc"], order=-1.0, tail=True)
        )
        self._square(state, lag, round(middle, 1), y)


class _Links(Crossing):
    """Wires between lanes that are one step each."""

    def steps_of(self, wire: Wire, step: int, tiles: Tiles, reader: str) -> list[int]:
        return [NOW if tiles.lane else 0]


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
    x = 0.0
    for base in bases:
        y, right = 0.0, x
        stack = [base]
        for lane in stack:  # what is counted from a lane stands above it, and so on
            stack += [a for a in graph.lanes if under[a] == lane]
            tiles = Folded(scene, picture.steps[lane], (x, y))
            if lane == base:
                tiles.move(0.0, lowest - tiles.bottom)
            else:
                reach = tiles.bottom + LOOP * len(tiles.under) - y + BETWEEN
                tiles.y -= reach
                tiles.bottom -= reach
            picture.tiles[lane] = tiles
            tiles.run()
            y = tiles.y - LOOP * len(tiles.over)
            right = max(right, tiles.right + 9 * len(tiles.near))
        x = right + BESIDE
    _Links(scene, graph, picture.tiles, {a: NOW for a in system.axes}).run()
    svg.fit(scene)
    return picture
