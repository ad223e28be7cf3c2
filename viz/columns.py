"""The rim of a step: states in one column at its edge, what falls to them above it, read-outs beyond.

Graphviz gives the order and x of everything; here the states of all storeys, and the nodes that come
down to them from a highway, move into one column, so that every storey looks the same and no highway
runs through a read-out. Steps run to the right for states read at t-1, to the left for those read at t+1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Protocol

from viz.graph import Graph
from viz.rows import Rows

SPACE = 16.0
NUMBER = 38.0  # room for a number on a wire
RISER = 20.0  # and for a wire that passes a row
Trunks = list[tuple[str, dict[int, float]]]  # a net's source, and where its riser passes each row


class Placed(Protocol):
    """A node's box: its centre's x, its width, the reach of its pills."""

    x: float
    width: float
    left: float
    right: float


def direction_of(rows: Rows, key: str) -> int:
    """The lag (-1 or +1) at which the states of a node's component are read."""
    block = rows.block.get(key)
    return next((d for s, d in rows.direction.items() if rows.block.get(s) == block and s in rows.row), -1)


def on_rim(graph: Graph, rows: Rows, key: str) -> bool:
    """A state in the column at the step's edge."""
    return key in graph.nodes and graph.nodes[key].kind == "state" and key not in rows.beyond


def lanes(graph: Graph, rows: Rows, ends: Mapping[str, int]) -> dict[str, int]:
    """What leaves states for rows above runs beside the rim, each on a line of its own as far as it goes: that of the
    uppermost state nearest to the rim. `ends` says up to which row each node is read."""
    found: dict[str, int] = {}
    for key in sorted(ends, key=lambda k: (-rows.row[k], k)):
        if on_rim(graph, rows, key) and key in rows.down and ends[key] > rows.row[key]:
            side = direction_of(rows, key)
            beside = [n for k, n in found.items() if rows.row[k] < ends[key] and direction_of(rows, k) == side]
            found[key] = min(set(range(len(beside) + 1)) - set(beside))
    return found


def falling(graph: Graph, rows: Rows) -> dict[str, int]:
    """Nodes that come down from a highway towards a state, rather than back up to it, with their direction."""
    found: dict[str, int] = {}
    for key in rows.down:
        if graph.nodes[key].kind == "state":
            continue
        if any(
            w.source == key and rows.row.get(w.target, 99) < rows.row[key]
            for w in graph.wires
            if w.relation == "step" and not w.lag
        ):
            found[key] = direction_of(rows, key)
    return found


def in_order(rows: Rows, boxes: Mapping[str, Placed]) -> None:
    """A highway's nodes stand in the order in which it passes them, which Graphviz does not always keep: they share
    the places that it gave them."""
    for spine in rows.spines.values():
        path = [k for k in (spine.path if spine.sign < 0 else spine.path[::-1]) if k in boxes]
        at = [boxes[k].x for k in path]
        if at == sorted(at):
            continue
        edge = -float("inf")
        for key, x in zip(path, sorted(at), strict=True):
            box = boxes[key]
            box.x = round(max(x, edge + SPACE + box.left + box.width / 2), 1)
            edge = box.x + box.width / 2 + box.right


def settle(graph: Graph, rows: Rows, boxes: Mapping[str, Placed], trunks: Trunks, room: float = 0.0) -> None:
    """Move states, falling nodes and read-outs; `boxes` and the nets' `trunks` (source, row -> x) change. Lines beside
    the rim take `room`."""
    falls = falling(graph, rows)
    _centre(graph, rows, boxes)
    _flush(graph, rows, boxes, trunks, {*falls, *(k for k in boxes if on_rim(graph, rows, k))})
    read_outs = [k for k in boxes if k in rows.beyond]
    for sign in (-1, 1):
        states = [k for k in boxes if on_rim(graph, rows, k) and rows.direction.get(k, -1) == sign and k in rows.row]
        if not states:
            continue
        alone = [k for k, d in falls.items() if d == sign and _alone(rows, falls, k)]
        column = [*states, *alone]
        every = [k for k in boxes if on_rim(graph, rows, k)] + [*falls]
        core = [
            b
            for k, b in boxes.items()
            if k not in column and k not in read_outs and rows.row[k] and (k not in every or k not in column)
        ]
        width = max(boxes[k].width for k in column)
        out = -sign
        edges = [b.x + out * (b.width / 2 + SPACE) + (b.right if sign < 0 else -b.left) for b in core]
        for w in graph.wires:  # a gate beside its product: room for a number on the wire
            a, b = boxes.get(w.source), boxes.get(w.target)
            if a and b and w.target in column and w.source not in column and rows.row[w.source] == rows.row[w.target]:
                edges.append(a.x + out * (a.width / 2 + NUMBER - width / 2 + b.width / 2))
        ways = [k for s in rows.spines.values() if s.state in states for k in s.path if k != s.state and k in boxes]
        edges += [boxes[k].x + out * (boxes[k].width / 2 + NUMBER) for k in ways]
        old = boxes[states[0]].x
        at = old if not edges else (max(edges) + width / 2 if sign < 0 else min(edges) - width / 2)
        at = round(at, 1)
        for k in column:
            boxes[k].x = at
        for source, trunk in trunks:
            for r in trunk:
                if source in alone and r < rows.row[source]:
                    trunk[r] = at
        if sign < 0 and read_outs:
            _beyond(graph, rows, boxes, trunks, at, at - old, width, room)


def _centre(graph: Graph, rows: Rows, boxes: Mapping[str, Placed]) -> None:
    """A product of two gates stands in the middle above them, and the sum above it follows."""
    on = {k for s in rows.spines.values() for k in s.path}
    for key, node in graph.nodes.items():
        if key not in boxes or node.kind != "round" or key in on or key in rows.down:
            continue
        below = [w.source for w in graph.wires if w.target == key and w.relation == "step" and not w.lag]
        if len(below) != 2 or any(rows.row.get(k, 99) != rows.row[key] - 1 for k in below):
            continue
        x = round((boxes[below[0]].x + boxes[below[1]].x) / 2, 1)
        readers = [w.target for w in graph.wires if w.source == key]
        chain = [key, *(r for r in readers if len(readers) == 1 and r in on and graph.nodes[r].kind == "round")]
        if all(_free(rows, boxes, k, x, NUMBER - 4 if k in on else 4.0) for k in chain):
            for k in chain:
                boxes[k].x = x


def _free(rows: Rows, boxes: Mapping[str, Placed], key: str, x: float, gap: float) -> bool:
    """Whether a node can move to x without passing another of its row or coming nearer to it than that."""
    low, high = sorted((boxes[key].x, x))
    return all(
        not low - (b.width + boxes[key].width) / 2 - gap < b.x < high + (b.width + boxes[key].width) / 2 + gap
        for k, b in boxes.items()
        if k != key and rows.row[k] == rows.row[key]
    )


def _flush(graph: Graph, rows: Rows, boxes: Mapping[str, Placed], trunks: Trunks, rim: set[str]) -> None:
    """The storeys of a stack begin at the same x."""
    if len(rows.recurrent) < 2:
        return
    moved: dict[int, float] = {}
    spans: dict[int, tuple[int, int]] = {}
    for block in rows.recurrent:
        core = [k for k in boxes if rows.block.get(k) == block and k not in rim]
        if not core:
            continue
        left = min(boxes[k].x - boxes[k].width / 2 - boxes[k].left for k in core)
        moved[block] = -left
        for k in core:
            boxes[k].x = round(boxes[k].x - left, 1)
        span = [rows.row[k] for k in core]
        spans[block] = (min(span), max(span))
        for _, trunk in trunks:
            for r in trunk:
                if min(span) <= r <= max(span):
                    trunk[r] = round(trunk[r] - left, 1)
    for k in boxes:
        if rows.block.get(k) in moved or k in rows.beyond:
            continue
        beside = [b for b, span in spans.items() if span[0] <= rows.row[k] <= span[1]]
        readers = [rows.block[w.target] for w in graph.wires if w.source == k and rows.block.get(w.target) in moved]
        with_block = next(iter([*beside, *readers, *moved]), None)
        if with_block is not None:
            boxes[k].x = round(boxes[k].x + moved[with_block], 1)


def _alone(rows: Rows, falls: dict[str, int], key: str) -> bool:
    return sum(rows.row[k] == rows.row[key] and rows.block[k] == rows.block[key] for k in falls) == 1


def _beyond(
    graph: Graph,
    rows: Rows,
    boxes: Mapping[str, Placed],
    trunks: Trunks,
    at: float,
    moved: float,
    width: float,
    room: float,
) -> None:
    """Read-outs go right of the rim where they stand beside it, those of each storey by themselves."""
    storeys: dict[int, list[str]] = {}
    for key, block in _storey(graph, rows).items():
        if key in boxes:
            storeys.setdefault(block, []).append(key)
    for block, keys in sorted(storeys.items()):
        top = max(rows.row[k] for k in rows.block if rows.block[k] == block and k in boxes and k not in rows.beyond)
        beside = any(rows.row[k] <= top for k in keys)
        left = min(boxes[k].x - boxes[k].width / 2 - boxes[k].left for k in keys)
        mine = [t for t in trunks if t[0] in keys]
        last = [t for t in trunks if t[0] not in keys] if block == max(storeys) else []
        if beside:
            over = [(s, {r: x for r, x in t.items() if x >= left and r > top}, t) for s, t in last]
            ways = [(s, t, t) for s, t in mine] + [w for w in over if w[1]]
            _pack(graph, rows, boxes, keys, ways, round(at + width / 2 + 2 * SPACE + room, 1))
            continue
        right = max(boxes[k].x + boxes[k].width / 2 + boxes[k].right for k in keys) + moved
        start = min(b.x - b.width / 2 - b.left for b in boxes.values())
        by = moved - max(0.0, min(right - at - width / 2, left + moved - start))  # over the step, not beyond it
        for k in keys:
            boxes[k].x = round(boxes[k].x + by, 1)
        for source, trunk in [*mine, *last]:
            for r in trunk:
                if source in keys or r > top:
                    trunk[r] = round(trunk[r] + by, 1)


def _pack(
    graph: Graph,
    rows: Rows,
    boxes: Mapping[str, Placed],
    keys: list[str],
    ways: list[tuple[str, dict[int, float], dict[int, float]]],
    left: float,
) -> None:
    """Read-outs row by row from the bottom, in Graphviz's order: each above what it reads, none further right than it
    must be. `ways` are risers: their source, where they pass, and the trunk to write to."""
    below: dict[str, list[str]] = {}
    for w in graph.wires:
        if w.relation == "step" and not w.lag and w.source in keys and w.target in keys:
            below.setdefault(w.target, []).append(w.source)
    edge: dict[int, float] = {}
    items: list[tuple[int, float, str, int]] = [(rows.row[k], boxes[k].x, k, -1) for k in keys]
    items += [(r, x, source, n) for n, (source, passed, _) in enumerate(ways) for r, x in passed.items()]
    for row, _, key, way in sorted(items):
        if way >= 0:
            x = max(boxes[key].x if key in keys else 0.0, edge.get(row, left) + RISER / 2)
            ways[way][2][row] = x = round(x, 1)
            edge[row] = x + RISER / 2 + SPACE
            continue
        box, under = boxes[key], [boxes[k].x for k in below.get(key, ())]
        middle = sum(under) / len(under) if under else 0.0
        box.x = round(max(middle, edge.get(row, left) + box.width / 2 + box.left), 1)
        edge[row] = box.x + box.width / 2 + box.right + SPACE


def _storey(graph: Graph, rows: Rows) -> dict[str, int]:
    """For what stands beyond the rim, the last recurrent component that it reads; a chip goes with its reader."""
    found: dict[str, int] = {}
    wires = [w for w in graph.wires if w.relation == "step" and not w.lag and w.target in rows.beyond]
    recurrent = set(rows.recurrent)
    changed = True
    while changed:  # as many rounds as read-outs follow one another
        changed = False
        for w in wires:
            block = found.get(w.source, rows.block.get(w.source, -1))
            if (w.source in found or block in recurrent) and block > found.get(w.target, -1):
                found[w.target], changed = block, True
    back = True
    while back:
        back = False
        for w in wires:
            if w.source in rows.beyond and w.target in found and w.source not in found:
                found[w.source], back = found[w.target], True
    return found


def along_spines(graph: Graph, r: Rows, boxes: Iterable[str]) -> list[tuple[str, str]]:
    """For a step with several components: neighbours in each row, ordered by where along their component's highway
    they arrive, so that every copy of a cell has its gates in the same order (mirrored where it runs backward)."""
    keys = [k for k in boxes if k in r.block and r.block[k] in r.recurrent and k in graph.nodes]
    ways = {k: (n, s.sign) for s in r.spines.values() for n, k in enumerate(s.path)}
    out: dict[str, list[str]] = {}
    for wire in graph.wires:
        if wire.relation == "step" and not wire.lag:
            out.setdefault(wire.source, []).append(wire.target)
    arrives: dict[str, tuple[int, int]] = {}
    for key in keys:
        seen, stack, best = {key}, list(out.get(key, ())), None
        while stack:
            node = stack.pop()
            if node in seen or r.block.get(node) != r.block[key]:
                continue
            seen.add(node)
            if node in ways:
                best = min(best, ways[node]) if best is not None else ways[node]
                continue
            stack += out.get(node, ())
        if best is not None:
            arrives[key] = best
    pairs: list[tuple[str, str]] = []
    for block in r.recurrent:
        mine = [k for k in keys if r.block[k] == block and graph.nodes[k].role == "gate"]
        sign = next((s.sign for s in r.spines.values() if r.block.get(s.state) == block), -1)
        for row in sorted({r.row[k] for k in mine}):
            here = sorted((k for k in mine if r.row[k] == row), key=lambda k: arrives.get(k, (1 << 20, 0))[0])
            if sign > 0:
                here.reverse()
            pairs += list(pairwise(here))
    return pairs
