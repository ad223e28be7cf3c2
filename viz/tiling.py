"""Steps side by side: one laid-out step repeated along time, and the wires that run between steps.

Nothing here moves a node of a step; so every step looks the same, highways are exactly horizontal and
the cost is linear in the steps shown. Lags longer than one step run below the steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from viz import theme
from viz.graph import Wire
from viz.layout import BOX, title_of
from viz.route import BEND, line, polyline
from viz.rows import is_near, rail_of
from viz.scene import Mark, Panel, Piece, Pill, Point, Read, Scene, Text
from viz.step import Step

PAD = 16.0
HEADER = 20.0
GAP = 40.0
ELISION = 92.0
LANE = 13.0
BELOW = 9.0  # a long lag leaves its state below the line to the next step


def way_out(step: Step, key: str, side: int, line: int = 0, dy: float = 0.0) -> list[Point]:
    """Where a wire leaves a node towards its step's edge (`side`: 1 is right): at the node's own edge, or over the row
    where another node stands in the way, the `line`th of those that do."""
    box = step.boxes[key]
    beside = [b for k, b in step.boxes.items() if k != key and abs(b.y - box.y) < 4 and (b.x - box.x) * side > 0]
    if not beside:
        return [(box.x + side * box.width / 2, box.y + dy)]
    over = min(b.top - b.above for b in (box, *beside)) - 7 - 5 * (line % 4)
    return [(box.x, box.top - box.above), (box.x, over)]


def above_chip(points: list[Point]) -> list[Point]:
    """A wire that enters a step at a chip's centre, from the chip's upper edge on."""
    (x, y), end = points[0], points[3]
    start = (x, round(y - BOX / 2, 1))
    if len(points) > 4 and end[0] == x and end[1] > start[1] - 0.1:  # straight up, no farther than that
        return [start, *points[4:]]
    return [start, *(line(start, end) if end[0] == x else points[1:4]), *points[4:]]


class Tiles:
    """Places `steps` (None is an elision) of one lane in a scene, the first panel's corner at `origin`."""

    def __init__(
        self,
        scene: Scene,
        step: Step,
        steps: Sequence[int | None],
        length: int,
        origin: Point = (0.0, 0.0),
        first: int = 0,
        columns: Sequence[float] | None = None,
    ) -> None:
        self.scene, self.step, self.steps, self.length, self.first = scene, step, list(steps), length, first
        self.lane = step.lane
        self.near = self._near()
        self.far = self._far()
        drops = [r for r, (state, _) in step.rows.rails.items() if step.rail_y[r] != step.boxes[state].y]
        self.drops = {rail: n for n, rail in enumerate(drops)}
        self.legs = {key: n for n, key in enumerate(sorted(self.far))}
        self.gap = GAP + 10 * len(drops) + 10 * len(self.legs)
        self.panel_width = max(step.width + 2 * PAD, theme.text_width(self.header(0), 11.5) + 24)
        chips = [b for k, b in step.boxes.items() if step.rows.row[k] == 0]
        self.floor = min([b.y - b.height / 2 for b in chips], default=step.height) - 12
        if any(
            step.rows.row[k] == 0 and step.graph.nodes[k].kind != "chip" for k in step.boxes if k in step.graph.nodes
        ):
            self.floor = step.height
        self.panel_height = self.floor + HEADER + PAD
        self.x: list[float] = []
        x, elision = origin[0], max(ELISION, self.gap + 52)
        for k, s in enumerate(self.steps):
            if s is None:
                x += elision - self.gap
                self.x.append(x - elision / 2)
                continue
            self.x.append(x)
            x += self.panel_width + self.gap
            if k + 1 == len(self.steps):
                x -= self.gap
        if columns is not None:
            self.x = list(columns)
            x = self.x[-1] + self.panel_width
        self.right = x
        self.y = origin[1]
        self.depth = HEADER + PAD + step.height  # of the panel with its data, without the long lags
        self.bottom = self.y + self.depth
        self.arcs: list[tuple[str, int, int]] = []  # port, step, line below the steps

    def move(self, dx: float, dy: float) -> None:
        self.x = [round(x + dx, 1) for x in self.x]
        self.right, self.y, self.bottom = self.right + dx, self.y + dy, self.bottom + dy

    @property
    def lead(self) -> float:
        """How far the boundary reaches out of the first panel."""
        return max((self.gap + self.step.boxes[s].width for s, lag, _ in self.near.values() if lag < 0), default=0.0)

    @property
    def trail(self) -> float:
        """How far the boundary reaches out of the last panel."""
        return max((self.gap + self.step.boxes[s].width for s, lag, _ in self.near.values() if lag > 0), default=0.0)

    # -- coordinates

    def at(self, column: int, point: Point) -> Point:
        return (round(self.x[column] + PAD + point[0], 1), round(self.y + HEADER + PAD / 2 + point[1], 1))

    def header(self, step: int) -> str:
        return f"{self.lane} = {self.label(step)}" if self.lane else "per sequence"

    def label(self, index: int) -> str:
        return str(index + self.first).replace("-", "−")

    def _near(self) -> dict[str, tuple[str, int, tuple[Wire, ...]]]:
        """Every way in from a neighbouring step: state, lag and the reads along it."""
        ways: dict[str, list[Wire]] = {}
        for w in self.step.graph.wires:
            if w.target in self.step.boxes and is_near(self.step.rows, w):
                ways.setdefault(f"spine:{w.source}" if self._spine(w) else rail_of(w), []).append(w)
        return {k: (v[0].source, v[0].lag, tuple(v)) for k, v in ways.items()}

    def _spine(self, w: Wire) -> bool:
        spine = self.step.rows.spines.get(w.source)
        return spine is not None and spine.sign == w.lag and spine.path[0] == w.target

    def _far(self) -> dict[str, tuple[Wire, ...]]:
        ways: dict[str, list[Wire]] = {}
        for key, net in self.step.nets.items():
            if net.kind == "port" and net.wires[0].relation == "step":
                ways[key] = net.wires
        return {k: tuple(v) for k, v in ways.items()}

    # -- drawing

    def run(self) -> None:
        for column, s in enumerate(self.steps):
            if s is None:
                self._dots(column)
            else:
                self._step(column, s)
        for column, s in enumerate(self.steps):
            if s is not None:
                self._incoming(column, s)
        self._storeys()
        self._arcs()

    def _storeys(self) -> None:
        """Copies of a cell are told apart by their names, above the first boundary node of each."""
        highest: dict[str, Mark] = {}
        for m in self.scene.marks:
            copy = (m.node.stream or "").rpartition(".")[0]
            outside = "boundary" in m.classes and m.node.kind == "state" and m.node.key in self.step.boxes
            if copy and outside and m.step in (-1, self.length) and (copy not in highest or m.y < highest[copy].y):
                highest[copy] = m
        for copy, m in highest.items():
            self.scene.texts.append(Text(m.x, m.y - m.height / 2 - 9, (theme.Span(copy),), 10.5, "muted", "middle"))

    def _classes(self, wire: Wire, net: str) -> list[str]:
        node = self.step.graph.nodes[wire.source]
        if net.startswith("port:") and wire.relation == "step":
            return ["net", "skip"]
        if net.startswith("spine:") or node.kind == "state":
            spine = self.step.rows.spines.get(net.removeprefix("spine:"))
            role = self.role(net.removeprefix("spine:") if net.startswith("spine:") else node.key)
            return ["net", role, *(["highway"] if spine and spine.linear and net.startswith("spine:") else [])]
        return ["net"]

    def role(self, state: str) -> str:
        """The colour of a state: green for a highway beside another state, else blue."""
        r = self.step.rows
        spine = r.spines.get(state)
        others = [
            k
            for k, n in self.step.graph.nodes.items()
            if n.kind == "state" and k != state and r.block.get(k) == r.block.get(state)
        ]
        return "state-a" if spine and spine.linear and others else "state-b"

    def _step(self, column: int, s: int) -> None:
        x, y = self.x[column], self.y
        if any(not self.step.graph.nodes[k].kind == "chip" for k in self.step.boxes if k in self.step.graph.nodes):
            self.scene.panels.append(Panel(x, y, self.panel_width, self.panel_height, self.header(s)))
        for key, box in self.step.boxes.items():
            if key in self.step.graph.nodes:
                self._mark(column, s, key, *self.at(column, (box.x, box.y)))
            else:
                self._port_chip(column, s, key)
        for n, path in enumerate(self.step.paths):
            order = 2.0 if path.net.startswith("spine") else 1.0 if path.net in self.near else 0.0
            reads = tuple(Read(w, s + w.lag if w.relation == "step" else None, s) for w in path.wires)
            points = [self.at(column, p) for p in path.points]
            tail = path.tail
            if self._off(path.net, s) and path.points[0][1] == self.step.boxes[path.net].y:  # from the boundary's chip
                points, tail = above_chip(points), True
            classes = self._classes(path.wires[0], path.net)
            piece = Piece(f"{self.lane}{s}-p{n}", path.net, points, reads, path.head, classes, tail=tail)
            piece.order, piece.halo = order, order > 0
            self.scene.pieces.append(piece)

    def _mark(self, column: int, s: int, key: str, x: float, y: float) -> None:
        node, box = self.step.graph.nodes[key], self.step.boxes[key]
        index = s + node.lag
        classes = [self.role(key) if node.kind == "state" else node.role, node.kind]
        if node.kind == "chip" and not 0 <= index < self.length:
            classes.append("boundary")
        if node.output:
            classes.append("output")
        if len(node.axes) > 1:
            classes.append("many")
        pills = []
        for k, socket in enumerate(node.sockets):
            port = self.step.ports.get((key, k))
            pill = port.pill if port else self.step.biases.get((key, k))
            if pill:
                px, py = self.at(column, (pill[0], pill[1]))
                pills.append(Pill(px, py, pill[2], socket.label, socket.parameter, socket.sign))
        title = title_of(node, self.label(index) if self.lane else "")
        self.scene.marks.append(
            Mark(
                f"{self.lane}{s}:{key}",
                node,
                s,
                x,
                y,
                box.width,
                box.height,
                title,
                classes,
                pills,
                f"{node.stream or key}[{index + self.first}]" if self.lane else node.stream or key,
            )
        )

    def _off(self, key: str, s: int) -> bool:
        """Whether what enters by this port at step s comes from before the first or behind the last step."""
        net = self.step.nets.get(key)
        far = net is not None and net.kind == "port" and net.wires[0].relation == "step"
        return far and net is not None and not 0 <= s + net.wires[0].lag < self.length

    def _port_chip(self, column: int, s: int, key: str) -> None:
        """A read that reaches before the first or behind the last step shows the boundary's chip."""
        wire, index = self.step.nets[key].wires[0], s + self.step.nets[key].wires[0].lag
        if not self._off(key, s):
            return
        box, node = self.step.boxes[key], self.step.graph.nodes[wire.source]
        x, y = self.at(column, (box.x, box.y))
        title, hint = theme.name(node.stream or "", self.label(index)), f"{node.stream}[{index + self.first}]"
        classes = [self.role(node.key), "state", "boundary"]
        self.scene.marks.append(
            Mark(f"{self.lane}{s}:{key}", node, index, x, y, box.width, BOX, title, classes, [], hint)
        )

    def _dots(self, column: int) -> None:
        x = self.x[column]
        levels = sorted({self.step.boxes[state].y for state, _, _ in self.near.values()} or {self.step.height / 2})
        for y in levels:
            _, gy = self.at(column, (0, y))
            self.scene.gaps.append(((x - 14, gy), (x + 14, gy)))
        self.scene.texts.append(Text(x, self.y + HEADER - 5, (theme.Span("…"),), 13, "muted", "middle"))

    def _incoming(self, column: int, s: int) -> None:
        """What arrives from the neighbouring step, its boundary, or the steps left out: from each state one line,
        from which its ways down to rails branch off."""
        of: dict[tuple[str, int], list[str]] = {}
        for way, (state, lag, _) in self.near.items():
            of.setdefault((state, lag), []).append(way)
        for (state, lag), ways in of.items():
            start = (self._start(column, s, state, lag), self.at(column, (0, self.step.boxes[state].y))[1])
            ways.sort(key=lambda w: -self.drops.get(w, -1))  # the farthest joint first, the highway last
            classes = self._classes(self.near[ways[-1]][2][0], ways[-1])
            tail = True
            for n, way in enumerate(ways):
                if len(ways) > n + 1:
                    joint = (self._turn(column, way)[0] + BEND * lag, start[1])
                    reads = tuple(Read(w, s + lag, s) for k in ways[n:] for w in self.near[k][2])
                    name = f"{self.lane}{s}-in-{state}{lag:+d}.{n}"
                    points = [start, *line(start, joint)]
                    self.scene.pieces.append(
                        Piece(name, ways[-1], points, reads, False, classes, order=2.0, halo=True, tail=tail)
                    )
                    start, tail = joint, False
                self._way(column, s, way, start, tail)
            self._outgoing(column, state, lag, classes, ways[-1])

    def _turn(self, column: int, way: str) -> Point:
        """Where a way down to a rail turns into it."""
        n, lag = self.drops[way], self.near[way][1]
        x = -PAD - 10 - 10 * n if lag < 0 else self.step.width + PAD + 10 + 10 * n
        return self.at(column, (x, self.step.rail_y[way]))

    def _way(self, column: int, s: int, way: str, start: Point, tail: bool) -> None:
        """One way from the neighbouring step's line into step s: the highway itself, a rail at its height, or down."""
        _, lag, wires = self.near[way]
        spine, drop = way.startswith("spine:"), way in self.drops
        if spine:
            port = self.step.ports[wires[0].target, wires[0].socket]
            end = self.at(column, (port.x, port.y))
        else:
            end = self.at(column, (0.0 if lag < 0 else self.step.width, self.step.rail_y[way]))
        points = [start, *line(start, end)]
        if drop:
            turn = self._turn(column, way)
            points = polyline([start, (turn[0], start[1]), turn, end])
        reads = tuple(Read(w, s + lag, s) for w in wires)
        order = 2.0 if spine else 2.5 if drop else 1.0
        classes = self._classes(wires[0], way)
        name = f"{self.lane}{s}-in-{way}"
        self.scene.pieces.append(Piece(name, way, points, reads, spine, classes, order=order, halo=not drop, tail=tail))

    def _start(self, column: int, s: int, state: str, lag: int) -> float:
        """x where the neighbour's line begins: its state node, a new boundary node, or the dots."""
        box = self.step.boxes[state]
        neighbour = column + (1 if lag > 0 else -1)
        if not 0 <= s + lag < self.length:
            x = (
                self.x[column] - self.gap - box.width / 2
                if lag < 0
                else self.x[column] + self.panel_width + self.gap + box.width / 2
            )
            _, y = self.at(column, (0, box.y))
            mark_id = f"{self.lane}{s + lag}:{state}"
            if all(m.id != mark_id for m in self.scene.marks):
                node = self.step.graph.nodes[state]
                title = theme.name(node.stream or state, self.label(s + lag))
                self.scene.marks.append(
                    Mark(
                        mark_id,
                        node,
                        s + lag,
                        x,
                        y,
                        box.width,
                        box.height,
                        title,
                        [self.role(state), "state", "boundary"],
                        [],
                        f"{state}[{s + lag + self.first}]",
                    )
                )
            return x - lag * box.width / 2
        if self.steps[neighbour] is None:
            return self.x[neighbour] - lag * 20
        return self.at(neighbour, (box.x - lag * box.width / 2, 0))[0]

    def _outgoing(self, column: int, state: str, lag: int, classes: list[str], way: str) -> None:
        """A stub from a state into the steps left out."""
        after = column + (1 if lag < 0 else -1)
        if not 0 <= after < len(self.steps) or self.steps[after] is not None:
            return
        box = self.step.boxes[state]
        start = self.at(column, (box.x - lag * box.width / 2, box.y))
        end = (self.x[after] + lag * 20, start[1])
        s = self.steps[column] or 0
        reads = tuple(Read(w, s, s - lag) for st, _, wires in self.near.values() if st == state for w in wires)
        self.scene.pieces.append(
            Piece(
                f"{self.lane}{s}-out-{state}",
                way,
                [start, *line(start, end)],
                reads,
                False,
                classes,
                order=2.0,
                tail=True,
            )
        )

    # -- lags below the steps

    def settle(self) -> None:
        """Give every long lag a line of its own below the steps; `bottom` moves below them."""
        column_of = {s: c for c, s in enumerate(self.steps) if s is not None}
        holes = [c for c, s in enumerate(self.steps) if s is None]
        spans: list[tuple[float, float, str, int]] = []
        for key, wires in self.far.items():
            lag = wires[0].lag
            for s in dict.fromkeys([*column_of, *(c - lag for c in column_of)]):
                if not (0 <= s < self.length and 0 <= s + lag < self.length):
                    continue
                source, target = column_of.get(s + lag), column_of.get(s)
                if source is None and target is None:
                    continue
                a = self._leg(source, key) if source is not None else self._hole(holes, s + lag)
                b = self._foot(target, key) if target is not None else self._hole(holes, s)
                spans.append((min(a, b), max(a, b), key, s))
        lanes: list[list[tuple[float, float]]] = []
        for low, high, key, s in sorted(spans, key=lambda v: v[:2]):
            free = (n for n, lane in enumerate(lanes) if all(high < x or low > y for x, y in lane))
            n = next(free, len(lanes))
            if n == len(lanes):
                lanes.append([])
            lanes[n].append((low - 10, high + 10))
            self.arcs.append((key, s, n))
        self.bottom += LANE * len(lanes) + (12 if lanes else 0)

    def _arcs(self) -> None:
        column_of = {s: c for c, s in enumerate(self.steps) if s is not None}
        holes = [c for c, s in enumerate(self.steps) if s is None]
        for key, s, lane in self.arcs:
            lag = self.far[key][0].lag
            source, target = column_of.get(s + lag), column_of.get(s)
            a = self._leg(source, key) if source is not None else self._hole(holes, s + lag)
            b = self._foot(target, key) if target is not None else self._hole(holes, s)
            self._arc(a, b, key, s, lag, lane, column_of)

    def _hole(self, holes: list[int], s: int) -> float:
        """The x of the elision that hides step s."""
        for c in holes:
            before = max(v for v in self.steps[:c] if v is not None)
            after = min(v for v in self.steps[c:] if v is not None)
            if before < s < after:
                return self.x[c]
        raise AssertionError(f"step {s} is shown")

    def _leg(self, column: int, key: str) -> float:
        """The x at which a long lag leaves its step: on the side of the rim that its state stands at."""
        n, side = self.legs[key], self._rim(key)
        return self.at(column, (self.step.width + PAD + 12 + 10 * n if side < 0 else -PAD - 12 - 10 * n, 0))[0]

    def _rim(self, key: str) -> int:
        """The side at which the state behind a port leaves its step: -1 is the right one, as for lags."""
        return self.step.rows.direction.get(self.far[key][0].source, -1)

    def _foot(self, column: int, key: str) -> float:
        return self.at(column, (self.step.boxes[key].x, 0))[0]

    def _arc(self, a: float, b: float, key: str, s: int, lag: int, lane: int, column_of: dict[int, int]) -> None:
        wires = self.far[key]
        deep = self.y + self.depth + 14 + LANE * lane
        points: list[Point] = []
        source, target = column_of.get(s + lag), column_of.get(s)
        if source is not None:
            out = way_out(self.step, wires[0].source, -self._rim(key), self.legs[key], BELOW)
            points += [self.at(source, p) for p in out]
            points.append((a, points[-1][1]))
        points.append((a, deep))
        points.append((b, deep))
        if target is not None:
            points.append(self.at(target, (self.step.boxes[key].x, self.step.boxes[key].y)))
        reads = tuple(Read(w, s + lag, s) for w in wires)
        self.scene.pieces.append(
            Piece(
                f"{self.lane}{s}-arc-{key}",
                key,
                polyline(points, 13.0),
                reads,
                False,
                ["net", "skip", "arc"],
                order=-1.0,
                tail=True,
            )
        )
