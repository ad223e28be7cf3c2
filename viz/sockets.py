"""Where each wire ends at its node: the side, the point, and the pill of the parameter it is multiplied by."""

from __future__ import annotations

from viz.graph import Node, Wire
from viz.layout import PILL, PILL_GAP, pill_width, side_of
from viz.rows import is_near, is_port, port_of, rail_of
from viz.step import Box, Port, Step


def sockets(step: Step) -> None:
    """Where each wire ends at its node; a card's sockets in the order its wires arrive."""
    graph = step.graph
    for key, box in step.boxes.items():
        if key not in graph.nodes:
            continue
        node = graph.nodes[key]
        wires = {w.socket: w for w in graph.wires if w.target == key}
        sides: dict[str, list[tuple[float, int]]] = {}
        for k, socket in enumerate(node.sockets):
            wire = wires.get(k)
            if wire is None:
                if socket.label:
                    sides.setdefault("below", []).append((1e9 + k, k))
                continue
            side = side_of(step, wire)
            if side == "level":
                side = "left" if step.boxes[wire.source].x < box.x else "right"
            sides.setdefault(side, []).append((_from(step, wire), k))
        if node.kind == "state" and not node.sockets:
            for wire in wires.values():
                side = side_of(step, wire)
                side = ("left" if step.boxes[wire.source].x < box.x else "right") if side == "level" else side
                sides.setdefault(side, []).append((0.0, wire.socket))
        for side, found in sides.items():
            _attach(step, node, box, side, [k for _, k in sorted(found)])


def _from(step: Step, wire: Wire) -> float:
    """A position that orders arriving wires from left to right."""
    if is_near(step.rows, wire):
        rail = rail_of(wire)
        if rail in step.nets:
            end = step.rows.row[wire.target] - 1
            trunk = step.nets[rail].trunk.get(end)
            return trunk if trunk is not None else -1e6 * wire.lag * -1 + step.rows.row[rail]
        return -1e6
    key = port_of(wire) if is_port(step.rows, step.graph, wire) else wire.source
    net = step.nets.get(key)
    if net is not None:
        up = step.rows.row[net.key] < step.rows.row[wire.target]
        near = net.trunk.get(step.rows.row[wire.target] + (-1 if up else 1))
        if near is not None:
            return near
    return step.boxes[key].x


def _attach(step: Step, node: Node, box: Box, side: str, sockets: list[int]) -> None:
    if side in ("left", "right"):
        sign = -1 if side == "left" else 1
        edge = box.x + sign * box.width / 2
        pills: list[tuple[float, float, float] | None] = []
        for k in sockets if sign > 0 else list(reversed(sockets)):  # beside one another, outward
            width = pill_width(node.sockets[k].label) if node.sockets else 0.0
            pills.append((round(edge + sign * width / 2, 1), box.y, width) if width else None)
            edge += sign * width
        for k, beside in zip(sockets if sign > 0 else list(reversed(sockets)), pills, strict=True):
            step.ports[node.key, k] = Port(edge, box.y, side, beside)
        return
    sign = 1 if side == "below" else -1
    edge = box.y + sign * box.height / 2
    if node.kind == "card":
        widths = [max(pill_width(node.sockets[k].label), 12.0) for k in sockets]
        x = box.x - (sum(widths) + PILL_GAP * (len(widths) - 1)) / 2
        for k, width in zip(sockets, widths, strict=True):
            centre = round(x + width / 2, 1)
            pill = (centre, edge + sign * PILL / 2, width)
            if not node.sockets[k].wired:
                step.biases[node.key, k] = pill
            elif node.sockets[k].label:
                step.ports[node.key, k] = Port(centre, edge + sign * PILL, side, pill)
            else:
                step.ports[node.key, k] = Port(centre, edge, side)
            x += width + PILL_GAP
        return
    net, row = step.nets.get(node.key), step.rows.row
    falls = side == "below" and net is not None and any(row[w.target] < row[node.key] for w in net.wires)
    for n, k in enumerate(sockets):
        dx = (n - (len(sockets) - 1) / 2) * (
            16.0 if node.kind == "round" else min(18.0, box.width / (len(sockets) + 1))
        )
        dx -= 9.0 * falls  # what goes down leaves from the middle
        y = edge
        if node.kind == "round":
            radius = box.height / 2
            dx = max(-radius * 0.72, min(radius * 0.72, dx))
            y = box.y + sign * (radius**2 - dx**2) ** 0.5
        step.ports[node.key, k] = Port(round(box.x + dx, 1), round(y, 1), side)
