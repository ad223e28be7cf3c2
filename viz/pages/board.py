"""The picture that a stepper steps through: a cell's own drawing, or the tape as boxes with room for numbers.

Tells for each operation the elements it is drawn as, and for each edge of the tape the pieces of wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

import graphviz

from viz import svg, theme, worker
from viz.compose import compose
from viz.fan import copies, name
from viz.flow import Flow, Link
from viz.reading import GLYPHS
from viz.scene import Point
from viz.trace import Op, Trace

MOST = 400  # boxes drawn one by one
MOST_STEPS = 12  # of a cell's drawing; beyond that the middle is left out
WIDTH, HEIGHT = 96.0, 50.0


@dataclass
class Board:
    """`nodes[op]` and `wires[edge of the tape]` are ids of elements; `order` has the nodes' ids as they come."""

    svg: str
    width: float = 0.0
    nodes: dict[int, list[str]] = field(default_factory=dict)
    wires: dict[Link, list[str]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    note: str = ""


def of_cell(trace: Trace, first: int = 0) -> Board:
    """The unrolled picture of the traced run."""
    assert trace.system is not None
    longest = max(trace.lengths.values(), default=1)
    keep = range(longest) if longest <= MOST_STEPS else ()
    picture = compose(trace.system, trace.lengths, keep=tuple(keep), first=first)
    flow = Flow(picture.graph, trace)
    board = Board(svg.inline(picture.scene, both_ways=True, role="group"), picture.scene.bounds[2])
    firsts: dict[str, int] = {}
    for mark in picture.scene.marks:
        boundary = mark.node.kind == "state" and "boundary" in mark.classes
        ops = flow.stream(mark.node.stream or "", mark.step) if boundary else flow.of_mark(mark)
        for k in ops:
            board.nodes.setdefault(k, []).append(mark.id)
        if ops:
            firsts[mark.id] = ops[0] if boundary or mark.node.kind == "chip" else ops[-1]
    for piece in picture.scene.pieces:
        for link in flow.along(piece):
            board.wires.setdefault(link, []).append(piece.id)
    board.order = sorted(firsts, key=lambda name: firsts[name])
    if longest > MOST_STEPS:
        board.note = f"{longest} steps; those between the first and the last are computed, not drawn."
    return board


def of_tape(trace: Trace) -> Board:
    """Boxes with value and adjoint, left to right; beyond 400, operations of one kind are one box, `×N`."""
    groups = _groups(trace, MOST)
    members: dict[int, list[int]] = {}
    for k, g in enumerate(groups):
        members.setdefault(g, []).append(k)
    edges: dict[tuple[int, int], list[Link]] = {}
    for k, op in enumerate(trace.ops):
        for n, source in enumerate(op.inputs):
            if source is not None and groups[source] != groups[k]:
                edges.setdefault((groups[source], groups[k]), []).append((k, n))
    collapsed = len(members) < len(trace.ops)
    board = Board("")
    split = copies(list(edges), [g for g, ops in members.items() if trace.ops[ops[0]].is_leaf])
    placed, routes, height = _place(list(members), split, HEIGHT if not collapsed else 30.0)
    out: list[str] = []
    right = bottom = 0.0
    for n, ((a, b), links) in enumerate(edges.items()):
        wire = f"w{n}"
        points = routes[a, b]
        stub = f'<path class="wire stub" d="{svg.stub(points, 5)}"/>'
        body = f'<path class="wire" d="{svg.curve(svg.shorten(points, 5))}"/>' + stub + svg.head(points, 1.5)
        back = svg.head(list(reversed(points)), 1.5).replace('class="head"', 'class="head back"')
        out.append(f'<g id="{wire}" class="net">{body}{back}</g>')
        for link in links:
            board.wires[link] = [wire]
        right, bottom = max([right, *(p[0] for p in points)]), max([bottom, *(p[1] for p in points)])
    boxes = list(dict.fromkeys([*((g, 0) for g in members), *((a, n) for (a, _), n in split.items())]))
    for g, copy in boxes:
        x, y = placed[name(g, copy)]
        out.append(_box(trace, name(g, copy), members[g], x, y, collapsed))
        for k in members[g]:
            board.nodes.setdefault(k, []).append(name(g, copy))
        right, bottom = max(right, x + WIDTH / 2), max(bottom, y + height / 2)
    board.order = [name(g, copy) for g, copy in boxes]
    said = f"{len(trace.ops)} operations" + (f", drawn as {len(members)} boxes" if collapsed else "")
    board.note = said + "." if collapsed else ""
    board.width = right + 28
    size = f'viewBox="-14 -14 {right + 28:.0f} {bottom + 28:.0f}" width="{right + 28:.0f}" height="{bottom + 28:.0f}"'
    board.svg = f'<svg class="tg" role="group" aria-label="{escape(said)}" {size}>\n' + "\n".join(out) + "\n</svg>"
    return board


def title(op: Op) -> str:
    """`d` where it has that name, else the operation: `+ 10`, in a cell with its equation: `× in c[2]`."""
    if op.label or op.equation is None:
        return op.label or formula(op)
    steps = ",".join(map(str, op.at.values()))
    return f"{formula(op)} in {op.equation}" + (f"[{steps}]" if steps else "")


def formula(op: Op) -> str:
    glyph = GLYPHS.get(op.name, op.name)
    constants = [v for k, v in zip(op.inputs, op.operands, strict=True) if k is None and _is_number(v)]
    if len(constants) == 1 and len(op.inputs) == 2:
        return f"{glyph} {constants[0]:.4g}" if op.inputs[0] is not None else f"{constants[0]:.4g} {glyph}"
    return glyph if op.inputs else "leaf"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _groups(trace: Trace, most: int) -> list[int]:
    """A number for each operation; where there are too many, one for all of one part of an equation or one line."""
    if len(trace.ops) <= most:
        return list(range(len(trace.ops)))
    keys: list[Callable[[Op], tuple[object, ...]]] = [
        lambda op: (op.equation, op.symbol or op.line or op.node.line, op.name, op.label.partition("[")[0]),
        lambda op: (op.equation, op.name, not op.inputs),
        lambda op: (op.name,),
    ]
    for key in keys:
        seen: dict[tuple[object, ...], int] = {}
        groups = [seen.setdefault(key(op), len(seen)) for op in trace.ops]
        if len(seen) <= most:
            break
    return groups


def _place(
    boxes: list[int], edges: dict[tuple[int, int], int], tall: float
) -> tuple[dict[str, Point], dict[tuple[int, int], list[Point]], float]:
    """Where boxes (and copies of them) stand, and the wires between them; `edges` say from which copy they start."""
    dot = graphviz.Digraph(
        "tape",
        graph_attr={"rankdir": "LR", "nodesep": "0.16", "ranksep": "0.42"},
        node_attr={"shape": "box", "fixedsize": "true", "label": "", "width": f"{WIDTH / 72:.3f}"},
        edge_attr={"arrowhead": "none"},
    )
    for g in boxes:
        dot.node(name(g), height=f"{tall / 72:.3f}")
    ends = {}
    for (a, b), copy in edges.items():
        if copy:
            dot.node(name(a, copy), height=f"{tall / 72:.3f}")
        dot.edge(name(a, copy), name(b))
        ends[name(a, copy), name(b)] = (a, b)
    placed: dict[str, Point] = {}
    routes: dict[tuple[int, int], list[Point]] = {}
    height = 0.0
    for line in worker.layout(dot.source).splitlines():
        part = line.split()
        if part[0] == "graph":
            height = float(part[3]) * 72
        elif part[0] == "node":
            placed[part[1]] = (round(float(part[2]) * 72, 1), round(height - float(part[3]) * 72, 1))
        elif part[0] == "edge":
            values = [float(v) * 72 for v in part[4 : 4 + 2 * int(part[3])]]
            routes[ends[part[1], part[2]]] = [
                (round(x, 1), round(height - y, 1)) for x, y in zip(values[::2], values[1::2], strict=True)
            ]
    return placed, routes, tall


def _box(trace: Trace, box: str, ops: list[int], x: float, y: float, collapsed: bool) -> str:
    op = trace.ops[ops[0]]
    role = "loss" if trace.root in ops else "input" if op.is_leaf else "op"
    tall = 30.0 if collapsed else HEIGHT
    out = [f'<g id="{box}" class="node {role}">']
    out.append(svg.rect(x - WIDTH / 2, y - tall / 2, WIDTH, tall, "body", 7))
    if collapsed:
        kind = formula(op) if op.inputs else op.label.partition("[")[0] or "leaf"
        said = f"{kind} ×{len(ops)}" if len(ops) > 1 else kind
        out.append(svg.text(x, y, (theme.Span(_cut(said, 88, 12)),), 12))
    else:
        head = op.label or ""
        made = formula(op) if op.inputs else ""
        line = f"{head} = {made}" if head and made else head or made or "leaf"
        out.append(svg.text(x, y - 14, (theme.Span(_cut(line, 88, 12)),), 12))
        for part, dy, cls in (("v", 2.0, ""), ("a", 16.0, "adjoint")):
            cell = svg.text(x, y + dy, (), 10.5, "middle", cls)
            out.append(cell.replace("<text", f'<text id="{box}-{part}"', 1))
    out.append("</g>")
    return "".join(out)


def _cut(text: str, width: float, size: float) -> str:
    while len(text) > 2 and theme.text_width(text, size) > width:
        text = text[:-2] + "…"
    return text
