"""How wires run inside a laid-out step: verticals at pins, sideways on tracks between the rows.

A net with one sink in a channel is one smooth curve; a net that fans out is a track with a branch to
each sink, bent in the direction of flow, so that no two wires of different nets ever share a line. Every
piece of a path knows which wires share it: a view can colour and number each piece.
"""

from __future__ import annotations

from itertools import permutations

from viz.columns import direction_of
from viz.graph import Graph, Wire
from viz.layout import DUMMY, LANE, TRACK, arrange, leaves_up, stack
from viz.sockets import sockets
from viz.step import Box, Net, Path, Port, Step
from viz.straight import straighten

Point = tuple[float, float]
Track = tuple[str, float, list[float], bool]  # net, where it comes in, where it goes on, whether up
BEND = 7.0
FAR = 150.0  # farther than this sideways, a single wire runs along a track too
HEAD = 7.0  # length of an arrowhead


def line(a: Point, b: Point) -> list[Point]:
    """A straight cubic from a (exclusive) to b."""
    third = ((b[0] - a[0]) / 3, (b[1] - a[1]) / 3)
    return [(a[0] + third[0], a[1] + third[1]), (b[0] - third[0], b[1] - third[1]), b]


def bend(a: Point, corner: Point, b: Point) -> list[Point]:
    """A rounded corner from a (exclusive) to b."""
    return [
        (a[0] + (corner[0] - a[0]) * 0.56, a[1] + (corner[1] - a[1]) * 0.56),
        (b[0] + (corner[0] - b[0]) * 0.56, b[1] + (corner[1] - b[1]) * 0.56),
        b,
    ]


def swing(a: Point, b: Point) -> list[Point]:
    """An S from a to b, vertical at both ends."""
    middle = (a[1] + b[1]) / 2
    return [(a[0], middle), (b[0], middle), b]


def polyline(points: list[Point], radius: float = BEND) -> list[Point]:
    """Axis-parallel corners, rounded; 3n+1 cubic points."""
    clean = [points[0]]
    for p in points[1:]:
        if abs(p[0] - clean[-1][0]) + abs(p[1] - clean[-1][1]) > 0.05:
            clean.append(p)
    out = [clean[0]]
    for k, p in enumerate(clean[1:], 1):
        if k == len(clean) - 1:
            out += line(out[-1], p)
            break
        q, before = clean[k + 1], out[-1]
        r1 = min(radius, (abs(p[0] - clean[k - 1][0]) + abs(p[1] - clean[k - 1][1])) / 2)
        r2 = min(radius, (abs(q[0] - p[0]) + abs(q[1] - p[1])) / 2)
        r = min(r1, r2)
        enter, leave = _toward(p, clean[k - 1], r), _toward(p, q, r)
        if enter != before:
            out += line(before, enter)
        out += bend(enter, p, leave)
    return out


def _toward(a: Point, b: Point, r: float) -> Point:
    d = max(abs(b[0] - a[0]) + abs(b[1] - a[1]), 1e-9)
    return (a[0] + (b[0] - a[0]) * r / d, a[1] + (b[1] - a[1]) * r / d)


def lay_out(graph: Graph, lane: str, stepped: bool = True) -> Step:
    """One step of `lane`, complete: nodes placed, sockets set, wires routed."""
    step = arrange(graph, lane, stepped)
    sockets(step)
    run(step)
    return step


def run(step: Step) -> None:
    """Fill in `step.paths`, for everything but what comes from other steps."""
    _align(step)
    straighten(step)
    sockets(step)  # in the order in which the wires now arrive
    straighten(step)
    wanted = _wanted(step)
    stack(step, [len(wanted.get(channel, ())) for channel in range(step.rows.count)])
    step.width = max([step.width, *(x + DUMMY / 2 for n in step.nets.values() for x in n.trunk.values())])
    tracks = _assign(step, wanted)
    _along_spines(step)
    for net in step.nets.values():
        _net(step, net, tracks)


# ---------------------------------------------------------------- alignment and tracks


def _align(step: Step) -> None:
    """A riser that ends within a card's reach moves exactly under its socket."""
    row = step.rows.row
    for net in step.nets.values():
        if net.kind == "rail":
            _align_rail(step, net)
            continue
        start = row[net.key]
        if net.kind == "out" and _sideways(step, net, True):
            for r in net.trunk:
                if leaves_up(step, net, r):
                    net.trunk[r] = _exit(step, net, True)
        up = [w for w in net.wires if row[w.target] > start]
        if not up or net.key not in step.boxes:
            continue
        first = min(row[w.target] for w in up)
        if net.kind == "out" and not (step.graph.nodes[net.key].kind == "chip" and start == 0):
            _rise_beside(step, net, up, first)
            continue
        box = step.boxes[net.key]
        ports = [step.ports[w.target, w.socket] for w in up if row[w.target] == first]
        near = sorted((abs(p.x - box.x), p.x) for p in ports if abs(p.x - box.x) < 45)
        if near and _clear(step, net, box, near[0][1], first):
            box.x = near[0][1]
            for r in net.trunk:
                if r < first:
                    net.trunk[r] = box.x
                elif len(up) == 1:
                    net.trunk[r] = box.x


def _rise_beside(step: Step, net: Net, up: list[Wire], first: int) -> None:
    """Into another component a riser passes its rails under its last socket: beyond the end of theirs."""
    row = step.rows.row
    rails = {row[rail] for rail in step.rows.rails}
    passed = [r for r in net.trunk if row[net.key] < r < first and r in rails and not leaves_up(step, net, r)]
    for x in sorted((step.ports[w.target, w.socket].x for w in up if row[w.target] == first), reverse=True):
        if all(abs(b.x - x) >= b.width / 2 + 8 for k, b in step.boxes.items() if row[k] in passed):
            for r in passed:
                net.trunk[r] = x
            return


def _align_rail(step: Step, net: Net) -> None:
    """A rail that has to rise before it branches rises under its nearest socket."""
    row = step.rows.row
    if not net.trunk:
        return
    first = min(row[w.target] for w in net.wires)
    ports = sorted(step.ports[w.target, w.socket].x for w in net.wires if row[w.target] == first)
    x = ports[0] if net.wires[0].lag < 0 else ports[-1]
    passed = [r for r in net.trunk if r < first]
    blocked = any(abs(b.x - x) < b.width / 2 + 8 for k, b in step.boxes.items() if row[k] in passed)
    if passed and not blocked:
        for r in passed:
            net.trunk[r] = x


def _clear(step: Step, net: Net, box: Box, x: float, first: int) -> bool:
    row = step.rows.row
    return all(
        abs(b.x - x) >= (b.width + (box.width if row[k] == row[net.key] else 8)) / 2 + 6
        for k, b in step.boxes.items()
        if k != net.key and row[net.key] <= row[k] < first
    )


def _pins(
    step: Step, net: Net, channel: int, up: bool
) -> tuple[float | None, list[tuple[float, list[Wire], Port | None]]]:
    """In the channel between rows `channel` and `channel + 1`: where the net comes in, and where it goes on."""
    row = step.rows.row
    start = row[net.key]
    near, far = (channel, channel + 1) if up else (channel + 1, channel)
    if near == start:
        source = None if net.kind == "rail" else _exit(step, net, up)
    else:
        source = net.trunk.get(near)
    beyond = [w for w in net.wires if (row[w.target] > far if up else row[w.target] < far)]
    goes: list[tuple[float, list[Wire], Port | None]] = []
    for w in net.wires:
        if row[w.target] == far:
            port = step.ports[w.target, w.socket]
            goes.append((port.x, [w], port))
    if beyond and far in net.trunk:
        goes.append((net.trunk[far], beyond, None))
    return source, sorted(goes, key=lambda g: g[0])


def _sideways(step: Step, net: Net, up: bool) -> bool:
    """Whether a net leaves its node at the right side, because pills or an input hold the other."""
    if net.kind != "out":
        return False
    box = step.boxes[net.source]
    if up:
        return box.above > 0 or (net.source in step.rows.down and step.graph.nodes[net.source].kind == "state")
    return box.below > 0


def _exit(step: Step, net: Net, up: bool) -> float:
    box = step.boxes[net.key if net.kind == "port" else net.source]
    if not _sideways(step, net, up):
        return box.x
    return round(box.x - _outward(step, net.source) * (box.width / 2 + 12 + LANE * step.lanes.get(net.key, 0)), 1)


def _outward(step: Step, key: str) -> int:
    return direction_of(step.rows, key)


def _channels(step: Step, net: Net) -> list[tuple[int, bool]]:
    row = step.rows.row
    start, ends = row[net.key], [row[w.target] for w in net.wires]
    return [(c, True) for c in range(start, max(ends))] + [(c, False) for c in range(start - 1, min(ends) - 1, -1)]


def _wanted(step: Step) -> dict[int, list[Track]]:
    """The nets that run along a track, by channel: those that branch there, and those that go far."""
    wanted: dict[int, list[Track]] = {}
    for net in step.nets.values():
        for channel, up in _channels(step, net):
            source, goes = _pins(step, net, channel, up)
            if source is not None and (len(goes) > 1 or (goes and abs(goes[0][0] - source) > FAR)):
                wanted.setdefault(channel, []).append((net.key, source, [g[0] for g in goes], up))
    return wanted


def _assign(step: Step, wanted: dict[int, list[Track]]) -> dict[tuple[str, int], float]:
    """y of every net's track, the order in each channel chosen for the fewest crossings."""
    tracks: dict[tuple[str, int], float] = {}
    for channel, nets in wanted.items():
        orders = permutations(nets) if len(nets) <= 6 else iter([tuple(nets)])
        best = min(orders, key=_crossings)
        low, high = _edges_of(step, channel)
        middle = (low + high) / 2 + 3
        for n, (key, *_) in enumerate(best):  # bottom to top
            tracks[key, channel] = round(middle + ((len(best) - 1) / 2 - n) * TRACK, 1)
    return tracks


def _crossings(order: tuple[Track, ...]) -> int:
    cost = 0
    for n, lower in enumerate(order):
        for upper in order[n + 1 :]:
            for one, other, below in ((lower, upper, False), (upper, lower, True)):
                _, source, goes, up = one
                span = (min([other[1], *other[2]]), max([other[1], *other[2]]))
                facing = [source] if up == below else goes  # the pins on the other track's side
                cost += sum(span[0] - 1 < x < span[1] + 1 for x in facing)
    return cost


def _edges_of(step: Step, channel: int) -> tuple[float, float]:
    """The lower and upper y of the channel above row `channel`."""
    row = step.rows.row
    low = [b.y - b.height / 2 - b.above for k, b in step.boxes.items() if row[k] == channel]
    high = [b.y + b.height / 2 + b.below for k, b in step.boxes.items() if row[k] == channel + 1]
    return min(low, default=step.row_y[channel]), max(high, default=step.row_y[channel + 1])


# ---------------------------------------------------------------- pieces


def _along_spines(step: Step) -> None:
    for spine in step.rows.spines.values():
        for a, b in zip(spine.path, spine.path[1:], strict=False):
            wires = tuple(
                w for w in step.graph.wires if (w.source, w.target) == (a, b) and w.relation == "step" and not w.lag
            )
            box = step.boxes[a]
            port = step.ports[b, wires[0].socket]
            x = box.x - spine.sign * (box.width / 2)
            step.paths.append(
                Path(
                    f"spine:{spine.state}", wires, tuple([(x, box.y), *line((x, box.y), (port.x, port.y))]), True, True
                )
            )


def _net(step: Step, net: Net, tracks: dict[tuple[str, int], float]) -> None:
    row = step.rows.row
    level = [w for w in net.wires if row[w.target] == row[net.key]]
    for w in level:
        _level(step, net, w)
    for channel, up in _channels(step, net):
        source, goes = _pins(step, net, channel, up)
        if not goes:
            continue
        near, far = (channel, channel + 1) if up else (channel + 1, channel)
        if source is None:
            _rail(step, net, goes, up, far)
            continue
        start_y = _leave(step, net, near, up)
        lead: list[Point] = []
        first = near == row[net.key] and net.kind == "out"
        if near == row[net.key] and _sideways(step, net, up):
            box = step.boxes[net.source]
            start_y = box.top - 4 if up else box.bottom + 4
            lead = polyline(
                [(box.x - _outward(step, net.source) * box.width / 2, box.y), (source, box.y), (source, start_y)]
            )
        low, high = _edges_of(step, channel)
        if not up:
            low, high = high, low
        if len(goes) == 1 and (net.key, channel) not in tracks:
            x, wires, port = goes[0]
            end_y = port.y if port else step.row_y[far]
            points: list[Point] = lead or [(source, start_y)]
            if abs(x - source) < 0.6:
                points += line(points[-1], (x, end_y))
            else:
                edge = min(low, start_y) if up else max(low, start_y)
                into = port.y if port and not _pills_between(step, far, source, x, up) else high
                if abs(edge - start_y) > 0.1:
                    points += line(points[-1], (source, edge))
                points += swing((source, edge), (x, into))
                if abs(into - end_y) > 0.1:
                    points += line(points[-1], (x, end_y))
            step.paths.append(Path(net.key, tuple(wires), tuple(points), port is not None, first))
            continue
        y = tracks[net.key, channel]
        everyone = tuple(w for _, wires, _ in goes for w in wires)
        stem = lead or [(source, start_y)]
        step.paths.append(Path(net.key, everyone, tuple([*stem, *line((source, start_y), (source, y))]), False, first))
        _branches(step, net, source, y, goes, far)


def _pills_between(step: Step, row: int, a: float, b: float, up: bool) -> bool:
    """Whether parameters hang into the channel between two places at a row: then a wire enters the row upright."""
    hanging = [x for k, x in step.boxes.items() if step.rows.row[k] == row and (x.below if up else x.above)]
    return any(min(a, b) < x.x + x.width / 2 and x.x - x.width / 2 < max(a, b) - 0.1 for x in hanging)


def _leave(step: Step, net: Net, near: int, up: bool) -> float:
    if near != step.rows.row[net.key]:
        return step.row_y[near]
    box = step.boxes[net.key if net.kind == "port" else net.source]
    if net.kind == "port":
        return box.y
    return box.top if up else box.bottom


def _branches(
    step: Step, net: Net, source: float, y: float, goes: list[tuple[float, list[Wire], Port | None]], far: int
) -> None:
    """From (source, y) along a track to each pin: pieces between branches, then the branches."""
    for side in (-1, 1):
        out = [g for g in goes if (g[0] - source) * side > 0.6]
        out.sort(key=lambda g: g[0] * side)
        at = source
        for k, (x, wires, port) in enumerate(out):
            end = (x, port.y if port else step.row_y[far])
            beyond = tuple(w for _, ws, _ in out[k:] for w in ws)
            turn = x - side * min(BEND, abs(x - at))
            if abs(turn - at) > 0.1:
                step.paths.append(Path(net.key, beyond, tuple([(at, y), *line((at, y), (turn, y))]), False))
            if k + 1 < len(out):
                more = tuple(w for _, ws, _ in out[k + 1 :] for w in ws)
                step.paths.append(Path(net.key, more, tuple([(turn, y), *line((turn, y), (x, y))]), False))
            points = polyline([(turn, y), (x, y), end], abs(x - turn))
            step.paths.append(Path(net.key, tuple(wires), tuple(points), port is not None))
            at = x
    for x, wires, port in goes:
        if abs(x - source) <= 0.6:
            end = (x, port.y if port else step.row_y[far])
            step.paths.append(
                Path(net.key, tuple(wires), tuple([(source, y), *line((source, y), end)]), port is not None)
            )


def _rail(step: Step, net: Net, goes: list[tuple[float, list[Wire], Port | None]], up: bool, far: int) -> None:
    """Along the rail from the step's edge; the part before the edge belongs to the tiling."""
    sign = net.wires[0].lag
    start = 0.0 if sign < 0 else step.width
    _branches(step, net, start, step.rail_y[net.key], goes, far)
    step.rail_x[net.key] = max((g[0] for g in goes), key=lambda x: abs(x - start))


def _level(step: Step, net: Net, wire: Wire) -> None:
    a, port = step.boxes[net.source], step.ports[wire.target, wire.socket]
    target = step.boxes[wire.target]
    low, high = min(a.x, target.x), max(a.x, target.x)
    row = step.rows.row
    between = [k for k, b in step.boxes.items() if row[k] == row[wire.target] and low < b.x < high]
    if not between:
        x = a.x + (a.width / 2 if port.side == "left" else -a.width / 2)
        points = [(x, a.y), *line((x, a.y), (port.x, port.y))]
    else:  # over the nodes between
        box = target
        y = min(b.top - b.above for b in (a, *(step.boxes[k] for k in between))) - 7
        side = 1 if a.x < box.x else -1
        x = box.x - 6 * side
        step.ports[wire.target, wire.socket] = Port(x, box.top, "above")
        edge = a.x + side * a.width / 2
        start = (
            [(edge, a.y), (edge + side * BEND, a.y), (edge + side * BEND, y)] if a.above else [(a.x, a.top), (a.x, y)]
        )
        points = polyline([*start, (x, y), (x, box.top)])
    step.paths.append(Path(net.key, (wire,), tuple(points), True, True))
