"""Risers made straight: where a wire passes rows that hold others' nodes, with as few bends as their boxes leave.

Graphviz orders the risers of a row among its nodes; here each gets the way of least cost through the gaps of the rows
that it passes, by dynamic programming over a few places: where it comes from, where it goes, beside each box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import ceil, floor

import numpy as np

from viz.layout import DUMMY, leaves_up
from viz.step import Net, Step

CLEAR = 9.0  # between a riser and a box
HEAD = 9.0  # more where an arrow comes in from the side
TURN = 60.0  # px of way that a bend costs
LINE = 150.0  # and the way between two nodes of a highway
RUN = 400.0  # px of a rail that a crossing costs
BLOCKED = 1e6


@dataclass(frozen=True)
class _Field:
    """What stands in each row, for all risers of a step: boxes with the room around them, the lines of highways, and
    which nets run beside the rim there."""

    boxes: dict[int, list[tuple[str, float, float]]]
    lines: dict[int, list[tuple[float, float]]]
    beside: dict[int, set[str]]

    @staticmethod
    def of(step: Step) -> _Field:
        ways = {k for spine in step.rows.spines.values() for k in spine.path}
        boxes: dict[int, list[tuple[str, float, float]]] = {}
        for k, b in step.boxes.items():
            low, high = b.x - b.width / 2 - b.left, b.x + b.width / 2 + b.right
            boxes.setdefault(step.rows.row[k], []).append((k, low - CLEAR - HEAD * (k in ways), high + CLEAR))
        rows = {r for n in step.nets.values() for r in n.trunk}
        beside = {r: {n.key for n in step.nets.values() if r in n.trunk and leaves_up(step, n, r)} for r in rows}
        return _Field(boxes, {r: _lines(step, r) for r in rows}, beside)


def straighten(step: Step) -> None:
    """Set the trunk of every net, one after the other, in the order that leaves the fewest crossings; then move the
    step back to its left edge."""
    nets = [n for n in step.nets.values() if n.trunk]
    before = [dict(n.trunk) for n in nets]
    ends = {n.key: max(step.ports[w.target, w.socket].x for w in n.wires) for n in nets}
    orders = [
        sorted(nets, key=lambda n: (-len(n.trunk), n.key)),
        sorted(nets, key=lambda n: (len(n.trunk), n.key)),
        sorted(nets, key=lambda n: (ends[n.key], n.key)),
        sorted(nets, key=lambda n: (-ends[n.key], n.key)),
    ]
    best: tuple[float, list[dict[int, float]]] | None = None
    field = _Field.of(step)
    for order in orders:
        for net, trunk in zip(nets, before, strict=True):
            net.trunk = dict(trunk)
        placed: list[Net] = []
        for net in order:
            for up in (True, False):
                passed = sorted((r for r in net.trunk if (r > step.rows.row[net.key]) == up), reverse=not up)
                if passed:
                    _riser(step, net, field, placed, passed, up)
            placed.append(net)
        cost = _cost(step)
        if best is None or cost < best[0]:
            best = (cost, [n.trunk for n in nets])
    for net, trunk in zip(nets, best[1] if best else [], strict=True):
        net.trunk = trunk
    _flush(step)


def _cost(step: Step) -> float:
    """Crossings of nets in the channels between rows, their bends, and how far rails run before they rise."""
    row, along = step.rows.row, 0.0
    ways: dict[int, list[tuple[str, float, float]]] = {}
    for net in step.nets.values():
        at = {row[net.key]: step.boxes[net.key if net.kind == "port" else net.source].x, **net.trunk}
        if net.kind == "rail":
            del at[row[net.key]]
            along += max((x if net.wires[0].lag < 0 else step.width - x for x in net.trunk.values()), default=0.0)
        for r, x in net.trunk.items():
            before = r - 1 if r > row[net.key] else r + 1
            if before in at:
                ways.setdefault(min(r, before), []).append((net.key, *_upward(before, at[before], r, x)))
        for w in net.wires:
            end = row[w.target]
            before = end - 1 if end > row[net.key] else end + 1
            if before in at:
                x = step.ports[w.target, w.socket].x
                ways.setdefault(min(end, before), []).append((net.key, *_upward(before, at[before], end, x)))
    crossed = sum(
        p[0] != q[0] and (p[1] - q[1]) * (p[2] - q[2]) < 0 for here in ways.values() for p, q in combinations(here, 2)
    )
    bends = sum(abs(a - b) > 0.6 for here in ways.values() for _, a, b in here)
    return crossed + 0.5 * bends + along / RUN


def _upward(one: int, a: float, other: int, b: float) -> tuple[float, float]:
    """The x of the lower row first."""
    return (a, b) if one < other else (b, a)


def _riser(step: Step, net: Net, field: _Field, placed: list[Net], passed: list[int], up: bool) -> None:
    """The cheapest places in the rows passed, in the order in which the net runs through them."""
    row = step.rows.row
    start = None if net.kind == "rail" else step.boxes[net.key if net.kind == "port" else net.source].x
    ends: dict[int, list[float]] = {}  # after which row the net turns to which sockets
    for w in net.wires:
        before = row[w.target] - (1 if up else -1)
        if before in net.trunk and (before > row[net.key]) == up:
            ends.setdefault(before, []).append(step.ports[w.target, w.socket].x)
    taken = {r: _taken(step, net, field, placed, r) for r in passed}
    at = _places(step, net, passed, start, ends, taken)
    blocked = np.array([_within(at, taken[r]) for r in passed]) * BLOCKED
    for n, r in enumerate(passed):
        for a, b in field.lines[r]:
            blocked[n] += np.where((at > a) & (at < b), LINE, 0.0)
        if net.key in field.beside[r]:  # beside the rim, where it has its place
            blocked[n] = np.where(np.abs(at - net.trunk[r]) < 0.06, 0.0, BLOCKED)
    away = np.abs(at[:, None] - at[None, :])
    move = away + TURN * (away > 0.6)
    edge = 0.0 if net.wires[0].lag < 0 else step.width  # where a rail comes in
    first = np.abs(at - edge) / 4 if start is None else np.abs(at - start) + TURN * (np.abs(at - start) > 0.6)
    cost = blocked[0] + first
    cost = cost + _leaving(at, ends.get(passed[0], []))
    back: list[np.ndarray[tuple[int], np.dtype[np.intp]]] = []
    for n, r in enumerate(passed[1:], 1):
        through = cost[:, None] + move
        back.append(np.argmin(through, axis=0))
        cost = through.min(axis=0) + blocked[n] + _leaving(at, ends.get(r, []))
    k = int(np.argmin(cost))
    if cost[k] >= BLOCKED:
        return
    for n in range(len(passed) - 1, -1, -1):
        net.trunk[passed[n]] = float(at[k])
        k = int(back[n - 1][k]) if n else k


def _leaving(
    at: np.ndarray[tuple[int], np.dtype[np.float64]], ends: list[float]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What a riser at each place still has to go to the sockets above: to one, or along a track to all of them."""
    if not ends:
        return np.zeros(len(at))
    reach = np.maximum(at, max(ends)) - np.minimum(at, min(ends))
    bent = np.abs(at[:, None] - np.array(ends)[None, :]).min(axis=1) > 0.6
    return np.asarray(reach + TURN * bent)


def _within(
    at: np.ndarray[tuple[int], np.dtype[np.float64]], spans: list[tuple[float, float]]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which places lie inside one of the spans."""
    low, high = np.array(spans).reshape(-1, 2).T
    return np.asarray(((low[:, None] < at) & (at < high[:, None])).any(axis=0))


def _taken(step: Step, net: Net, field: _Field, placed: list[Net], row: int) -> list[tuple[float, float]]:
    """Where a riser cannot pass a row: on its boxes and beside risers that have their place."""
    found = [(low, high) for k, low, high in field.boxes.get(row, ()) if k != net.key]
    others = {n.key: n for n in placed if row in n.trunk}
    others |= {k: step.nets[k] for k in field.beside[row]}
    return found + [(n.trunk[row] - DUMMY, n.trunk[row] + DUMMY) for n in others.values() if n is not net]


def _lines(step: Step, row: int) -> list[tuple[float, float]]:
    """The stretches of a row between the nodes of a highway, where its numbers are printed."""
    return [
        (step.boxes[a].x, step.boxes[b].x) if spine.sign < 0 else (step.boxes[b].x, step.boxes[a].x)
        for spine in step.rows.spines.values()
        for a, b in pairwise(spine.path)
        if step.rows.row[a] == row
    ]


def _places(
    step: Step,
    net: Net,
    passed: list[int],
    start: float | None,
    ends: dict[int, list[float]],
    taken: dict[int, list[tuple[float, float]]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Where it may run: as it does, under its ends, beside what stands in the way; all inside the step."""
    spans = [span for r in passed for span in taken[r]]
    edges = [x for a, b in spans for x in (floor(a * 10) / 10, ceil(b * 10) / 10)]
    found = {*net.trunk.values(), *edges, *(x for xs in ends.values() for x in xs), *([] if start is None else [start])}
    inside = sorted({round(x, 1) for x in found if -6 * DUMMY <= x <= step.width + 6 * DUMMY} | set(net.trunk.values()))
    return np.array(inside)


def _flush(step: Step) -> None:
    """Move everything left by what no box and no riser needs any more."""
    left = min(b.x - b.width / 2 - b.left for b in step.boxes.values())
    left = min([left, *(x - DUMMY / 2 for n in step.nets.values() for x in n.trunk.values())])
    if abs(left) < 0.1:
        return
    for box in step.boxes.values():
        box.x = round(box.x - left, 1)
    for net in step.nets.values():
        net.trunk = {r: round(x - left, 1) for r, x in net.trunk.items()}
    for at, port in step.ports.items():
        pill = None if port.pill is None else (round(port.pill[0] - left, 1), *port.pill[1:])
        step.ports[at] = replace(port, x=round(port.x - left, 1), pill=pill)
    step.biases = {at: (round(x - left, 1), y, w) for at, (x, y, w) in step.biases.items()}
    step.width = round(max(b.x + b.width / 2 + b.right for b in step.boxes.values()), 1)
