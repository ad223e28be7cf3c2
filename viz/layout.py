"""One step of a lane, laid out: where its nodes stand and how its wires run.

Rows come from `viz.rows`; the order and x of nodes from Graphviz, which is given every row as a rank and
every long wire as a chain of dummies; y, sockets and wires are settled here. A step is laid out once;
`viz.tiling` repeats it. Units are px, x to the right, y down, the origin at the step's upper left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import graphviz

from viz import theme, worker
from viz.apart import apart
from viz.columns import along_spines, falling, in_order, lanes, on_rim, settle
from viz.graph import Graph, Node, Wire
from viz.narrow import narrow
from viz.rows import is_near, is_port, port_of, rail_of, rows
from viz.step import Box, Net, Step

TITLE = 13.0  # font sizes
SMALL = 10.5
BOX = 28.0  # height of a box
ROUND = 26.0  # diameter of × and +
PILL = 16.0  # height of a parameter's pill
PILL_GAP = 4.0
DUMMY = 10.0
SEPARATION = 16.0  # between neighbours in a row
CHANNEL = 30.0  # least height between rows
TRACK = 11.0
LANE = 10.0  # between lines beside the rim
NUMBER = 20.0  # room on a highway's wires for a number


def arrange(graph: Graph, lane: str, stepped: bool = True) -> Step:
    """Place the nodes of one step of `lane`. `stepped` leaves room for a step's subscript in the titles."""
    step = Step(lane, graph, rows(graph, lane))
    for node in graph.within(lane):
        step.boxes[node.key] = _size(node, step, stepped)
    _nets(step)
    ends = {n.key: max(step.rows.row[w.target] for w in n.wires) for n in step.nets.values() if n.kind == "out"}
    step.lanes = lanes(step.graph, step.rows, ends)
    settled = along_spines(step.graph, step.rows, step.boxes)
    _graphviz(step, settled)
    in_order(step.rows, step.boxes)
    alike = _storeys_alike(step)
    if alike:
        _graphviz(step, [*settled, *alike])
        in_order(step.rows, step.boxes)
    _levels(step)
    _snap(step)
    apart(step.rows.row, step.boxes, _fixed(step), rightward=True)
    narrow(step.boxes, [n.trunk for n in step.nets.values()])
    step.width = round(max(b.x + b.width / 2 + b.right for b in step.boxes.values()), 1)
    return step


def _fixed(step: Step) -> set[str]:
    """States and highways stay where their column and their line are."""
    on_spine = {k for s in step.rows.spines.values() for k in s.path}
    return {k for k in step.boxes if k in on_spine or on_rim(step.graph, step.rows, k)}


def title_of(node: Node, at: str = "") -> theme.Label:
    """What is written in a node's box; `at` is the step's subscript, for states and data."""
    if node.kind in ("state", "chip") or node.role == "loss":
        label = theme.name(node.stream or node.key, "" if node.constant else at)
        return label
    if node.function and node.title:
        return (theme.Span(node.function + "\u2009"), *node.title)
    return (theme.Span(node.function),) if node.function else node.title or (theme.Span("+"),)


def pill_width(label: theme.Label) -> float:
    return round(theme.label_width(label, SMALL) + 9, 1) if label else 0.0


def side_of(step: Step, wire: Wire) -> str:
    """From where a wire arrives at its target."""
    row, spine = step.rows.row, step.rows.spines
    if is_port(step.rows, step.graph, wire):
        return "below"
    if is_near(step.rows, wire):
        mine = spine.get(wire.source)
        if mine and mine.sign == wire.lag and mine.path[0] == wire.target:
            return "left" if wire.lag < 0 else "right"
        return "below" if step.rows.row[rail_of(wire)] < row[wire.target] else "above"
    for way in spine.values():
        for a, b in pairwise(way.path):
            if (a, b) == (wire.source, wire.target):
                return "left" if way.sign < 0 else "right"
    if row[wire.source] == row[wire.target]:
        return "level"
    return "below" if row[wire.source] < row[wire.target] else "above"


def _size(node: Node, step: Step, stepped: bool) -> Box:
    text = theme.label_width(title_of(node, "00" if stepped and node.kind in ("state", "chip") else ""), TITLE)
    box = Box(0, 0, ROUND, ROUND) if node.kind == "round" else Box(0, 0, max(text + 18, 38.0), BOX)
    if node.kind not in ("card", "round"):
        return box
    incoming = {w.socket: side_of(step, w) for w in step.graph.wires if w.target == node.key}
    below, above = [], []
    for k, socket in enumerate(node.sockets):
        width = pill_width(socket.label)
        match incoming.get(k, "below"):
            case "left" | "level":
                box.left += width
            case "right":
                box.right += width
            case "above":
                above.append(max(width, 12.0))
            case _:
                below.append(max(width, 12.0))
    for widths, reach in ((below, "below"), (above, "above")):
        if widths and node.kind == "card":
            box.width = max(box.width, sum(widths) + PILL_GAP * (len(widths) - 1) + 8)
            setattr(box, reach, PILL)
    return box


# ---------------------------------------------------------------- nets and Graphviz


def _nets(step: Step) -> None:
    rows_ = step.rows
    on_spine = {(a, b) for s in rows_.spines.values() for a, b in pairwise(s.path)}
    for wire in step.graph.wires:
        if wire.target not in step.boxes:
            continue
        if is_port(step.rows, step.graph, wire):
            key, kind = port_of(wire), "port"
            rows_.row.setdefault(key, 0)
        elif is_near(step.rows, wire):
            side = side_of(step, wire)
            if side in ("left", "right"):
                continue
            key, kind = rail_of(wire), "rail"
        elif (wire.source, wire.target) in on_spine:
            continue
        else:
            key, kind = wire.source, "out"
        step.nets.setdefault(key, Net(key, wire.source, kind)).wires.append(wire)
    for net in step.nets.values():
        if net.kind == "port":
            first = net.wires[0]
            node = step.graph.nodes[first.source]
            text = theme.label_width(theme.name(node.stream or node.key, "−00"), TITLE) if _may_miss(first) else 0
            step.boxes[net.key] = Box(0, 0, max(DUMMY, text + 14), BOX if text else DUMMY)
        start = rows_.row[net.key]
        ends = [rows_.row[w.target] for w in net.wires]
        for r in range(start + 1, max(ends)):
            net.trunk[r] = 0.0
        for r in range(min(ends) + 1, start):
            net.trunk[r] = 0.0


def _may_miss(wire: Wire) -> bool:
    """A read that can name a step that is not drawn, which then stands where the wire enters."""
    strided = wire.relation == "index" and wire.read is not None and wire.read.index[0].axis is not None
    return wire.relation == "step" or strided


def _dummy(net: Net, row: int) -> str:
    return f"~{net.key}~{row}"


def _graphviz(step: Step, ordered: Sequence[tuple[str, str]]) -> None:
    """Order and x from Graphviz: each row a rank, upper rows first, `dir=back` where data flows up.

    `ordered` are pairs of neighbours in a row whose order is settled already.
    """
    r = step.rows
    highways = {k for s in r.spines.values() for k in s.path}
    dot = graphviz.Digraph(
        "step", graph_attr={"nodesep": f"{SEPARATION / 72:.3f}", "ranksep": "0.5", "splines": "line"}
    )
    dot.attr("node", shape="box", fixedsize="true", label="", height="0.3")
    ids: dict[str, str] = {}

    def ident(key: str) -> str:
        return ids.setdefault(key, f"n{len(ids)}")

    for row in range(r.count - 1, -1, -1):
        with dot.subgraph() as rank:
            rank.attr(rank="same")
            rank.node(f"row{row}", width="0.01", style="invis", group="rows")
            for key, box in step.boxes.items():
                if r.row[key] == row:
                    group = (
                        {"group": f"column{r.block.get(key, 0)}"} if key in r.down or on_rim(step.graph, r, key) else {}
                    )
                    room = NUMBER if key in highways and not on_rim(step.graph, r, key) else 0.0
                    rank.node(ident(key), width=f"{(box.width + box.left + box.right + room) / 72:.3f}", **group)
            for net in step.nets.values():
                if row in net.trunk:
                    rank.node(ident(_dummy(net, row)), width=f"{DUMMY / 72:.3f}", group=net.key)
    for row in range(r.count - 1, 0, -1):
        dot.edge(f"row{row}", f"row{row - 1}", style="invis", weight="1000")
    for a, b, weight, up in _edges(step):
        dot.edge(ident(a), ident(b), weight=str(weight), **({"dir": "back"} if up else {}))
    for a, b, seen in _flat(step):
        dot.edge(ident(a), ident(b), **({} if seen else {"style": "invis"}))
    for a, b in ordered:
        dot.edge(ident(a), ident(b), style="invis")
    step.dot = dot.source
    back = {v: k for k, v in ids.items()}
    by_dummy = {_dummy(net, row): (net, row) for net in step.nets.values() for row in net.trunk}
    try:
        found = worker.layout(step.dot)
    except worker.TooLargeError as error:
        raise worker.TooLargeError(
            f"one step of {step.graph.system.name} has {len(step.boxes)} boxes: {error}; draw its sub-cells alone, "
            "or viz.tape(loss), which shows what is large as groups"
        ) from None
    for line in found.splitlines():
        part = line.split()
        if part and part[0] == "node" and part[1] in back:
            key, x = back[part[1]], round(float(part[2]) * 72, 1)
            if key in by_dummy:
                net, row = by_dummy[key]
                net.trunk[row] = x
            else:
                box = step.boxes[key]
                box.x = x + (box.left - box.right) / 2


def _storeys_alike(step: Step) -> list[tuple[str, str]]:
    """For copies of one cell above one another: the lowest copy's order within rows, for the others."""
    r = step.rows

    def short(key: str) -> str:
        return key.rpartition(".")[2]

    members: dict[int, dict[str, str]] = {}
    for key in step.boxes:
        if key in r.block and r.block[key] in r.recurrent:
            members.setdefault(r.block[key], {})[short(key)] = key
    pairs: list[tuple[str, str]] = []
    models: list[dict[str, str]] = []
    for block in r.recurrent:
        mine = members.get(block, {})
        model = next((m for m in models if m.keys() == mine.keys()), None)
        if model is None:
            models.append(mine)
            continue
        for row in sorted({r.row[k] for k in model.values()}):
            order = sorted((n for n, k in model.items() if r.row[k] == row), key=lambda n: step.boxes[model[n]].x)
            if any(r.direction.get(mine[n]) != r.direction.get(k) for n, k in model.items()):
                order.reverse()  # a copy that runs the other way is its mirror image
            pairs += [(mine[a], mine[b]) for a, b in pairwise(order) if r.row[mine[a]] == r.row[mine[b]]]
    return pairs


def _edges(step: Step) -> Iterable[tuple[str, str, int, bool]]:
    """Pairs in neighbouring rows, upper first; whether data flows up between them."""
    row = step.rows.row
    for net in step.nets.values():
        start = row[net.key]

        def via(r: int, net: Net = net, start: int = start) -> str | None:
            if r == start:
                return net.source if net.kind == "out" else net.key if net.kind == "port" else None
            return _dummy(net, r)

        pairs: list[tuple[str | None, str, bool, int]] = []
        for r in net.trunk:
            up = r > start
            pairs.append((via(r - 1 if up else r + 1), _dummy(net, r), up, 40))
        for wire in net.wires:
            end = row[wire.target]
            if end != start:
                column = wire.source in step.rows.down or wire.target in step.rows.down
                pairs.append((via(end - 1 if end > start else end + 1), wire.target, end > start, 60 if column else 20))
        for a, b, up, weight in pairs:
            if a is not None:
                yield (b, a, weight, True) if up else (a, b, weight, False)


def leaves_up(step: Step, net: Net, row: int) -> bool:
    """A riser from a state past the rest of its own component runs to the right of the rim."""
    r = step.rows
    if (
        net.kind != "out"
        or not on_rim(step.graph, r, net.source)
        or net.source not in r.down
        or row <= r.row[net.source]
    ):
        return False
    return row <= max(r.row[k] for k, b in r.block.items() if b == r.block[net.source] and k in step.boxes)


def _flat(step: Step) -> Iterable[tuple[str, str, bool]]:
    """Order within rows: highways in their order, the column of states and what comes down beside it last."""
    r = step.rows
    for spine in r.spines.values():
        for a, b in pairwise(spine.path):
            yield (a, b, True) if spine.sign < 0 else (b, a, True)
    falls = falling(step.graph, r)
    states = {k: r.direction.get(k, -1) for k in step.boxes if on_rim(step.graph, r, k)}
    late = {k for k, d in (states | falls).items() if d < 0}
    early = {k for k, d in (states | falls).items() if d > 0}
    for row in range(r.count):
        here = [k for k in step.boxes if r.row[k] == row]
        risers = [_dummy(n, row) for n in step.nets.values() if row in n.trunk and leaves_up(step, n, row)]
        dummies = [_dummy(n, row) for n in step.nets.values() if row in n.trunk and n.source not in r.down]
        read_out = [k for k in here if k in r.beyond]
        own = [k for k in here if k not in late | early and k not in read_out]
        ways = {k for s in r.spines.values() for k in s.path}
        for b in [k for k in here if k in late and k not in ways]:
            for a in [*own, *dummies]:
                yield (a, b, False)
        for b in risers:
            for a in [k for k in here if k not in read_out] + dummies:
                yield (a, b, False)
        for b in read_out:
            for a in [k for k in here if k not in read_out] + risers:
                yield (a, b, False)
        for a in [k for k in here if k in early and k not in ways]:
            for b in [*own, *dummies]:
                yield (a, b, False)


# ---------------------------------------------------------------- y and alignment


def _levels(step: Step) -> None:
    """Rows and channels from top to bottom; also the common column of the states."""
    r = step.rows
    room = LANE * max(step.lanes.values(), default=0)
    settle(step.graph, r, step.boxes, [(n.source, n.trunk) for n in step.nets.values()], room)
    apart(r.row, step.boxes, _fixed(step))
    left = min(b.x - b.width / 2 - b.left for b in step.boxes.values())
    for net in step.nets.values():
        if net.trunk:
            left = min(left, min(net.trunk.values()) - DUMMY / 2)
    for box in step.boxes.values():
        box.x = round(box.x - left, 1)
    for net in step.nets.values():
        net.trunk = {k: round(x - left, 1) for k, x in net.trunk.items()}
    stack(step, [_tracks(step, channel) for channel in range(r.count)])
    step.width = round(max(b.x + b.width / 2 + b.right for b in step.boxes.values()), 1)


def stack(step: Step, tracks: Sequence[int]) -> None:
    """y of every row from top to bottom, with room for so many tracks in the channel above each; what stands in a row
    moves with it."""
    r, y, old = step.rows, _over(step), step.row_y
    step.row_y = [0.0] * r.count
    for row in range(r.count - 1, -1, -1):
        here = [b for k, b in step.boxes.items() if r.row[k] == row]
        up = max((b.height / 2 + b.above for b in here), default=2.0)
        y += up
        step.row_y[row] = y
        for b in here:
            b.y = y
        y += max((b.height / 2 + b.below for b in here), default=2.0)
        if row:
            y += CHANNEL + TRACK * max(0, tracks[row - 1] - 1)
    for rail in r.rails:
        step.rail_y[rail] = step.row_y[r.row[rail]]
    step.height = round(y, 1)
    if not old:
        return
    for (key, k), port in step.ports.items():
        by = step.row_y[r.row[key]] - old[r.row[key]]
        pill = port.pill and (port.pill[0], round(port.pill[1] + by, 1), port.pill[2])
        step.ports[key, k] = replace(port, y=round(port.y + by, 1), pill=pill)
    for (key, k), (x, at, width) in step.biases.items():
        step.biases[key, k] = (x, round(at + step.row_y[r.row[key]] - old[r.row[key]], 1), width)


def _over(step: Step) -> float:
    """Room above the top row for what leaves it sideways, over its neighbours, to another lane."""
    top = sorted((b.x, k) for k, b in step.boxes.items() if step.rows.row[k] == step.rows.count - 1)
    out = {w.source for w in step.graph.wires if w.relation != "step" or abs(w.lag) > 1}
    return 12.0 if any(k in out for _, k in top[:-1]) else 0.0


def _tracks(step: Step, channel: int) -> int:
    """How many nets may run sideways between row `channel` and the next."""
    row = step.rows.row
    count = 0
    for net in step.nets.values():
        start = row[net.key]
        ends = [row[w.target] for w in net.wires]
        if net.kind == "rail" and start == channel:
            continue
        if start <= channel < max(ends) or min(ends) <= channel < start:
            count += len(net.wires) > 1
    return count


def _snap(step: Step) -> None:
    """Data and risers move under the card they feed last, when nothing stands in the way."""
    row = step.rows.row
    for net in step.nets.values():
        if net.kind == "rail" or row[net.key] != 0 or net.key not in step.boxes:
            continue
        box = step.boxes[net.key]
        ends = [(row[w.target], w) for w in net.wires]
        last_row = min(e for e, _ in ends)
        targets = sorted((step.boxes[w.target].x for e, w in ends if e == last_row), reverse=True)
        for x in targets:
            below = [(k, b) for k, b in step.boxes.items() if row[k] < last_row and k != net.key]
            if all(abs(b.x - x) >= (b.width + (DUMMY if row[k] else box.width)) / 2 + 8 for k, b in below):
                box.x = x
                for r in net.trunk:
                    if r < last_row:
                        net.trunk[r] = x
                break
