"""The operations on a tape, as they will be walked backward: any loss, op by op."""

from __future__ import annotations

from typing import Any

import graphviz
import numpy as np

from viz import svg, theme, worker
from viz.drawing import Drawing
from viz.fan import copies, name
from viz.graph import Node, Wire
from viz.layout import BOX, ROUND, TITLE
from viz.reading import GLYPHS
from viz.scene import Mark, Piece, Point, Read, Scene

MOST = 400  # nodes drawn one by one


def tape(loss: Any, most: int = MOST) -> Drawing:
    """The graph of a tensor on the tape: leaves at the left, the loss at the right.

    Beyond `most` nodes, operations made by the same line of code are drawn as one, `×N`.
    `.data`: `op`, `shape` (as text) and `count` of every drawn node, `edges` (n, 2) between them.
    Drawn as well after `backward()`, which lets go of residuals, never of what came from what.
    Errors: TypeError for what is not a tensor on the tape.
    """
    edge = getattr(loss, "edge", None)
    if edge is None:
        raise TypeError(
            f"viz.tape draws a tensor computed from one with requires_grad; this {type(loss).__name__} is off the tape"
        )
    order, into = _nodes(edge[0])
    groups = _groups(order, len(order) > most)
    names = [_name(n) for n in order]
    chosen: dict[int, int] = {}  # group -> its first node
    count: dict[int, int] = {}
    for k, g in enumerate(groups):
        chosen.setdefault(g, k)
        count[g] = count.get(g, 0) + 1
    edges = dict.fromkeys(
        (groups[a], groups[b]) for b, inputs in enumerate(into) for a in inputs if groups[a] != groups[b]
    )
    scene = _lay_out(
        order,
        names,
        chosen,
        count,
        list(edges),
        groups[order.index(edge[0])],
        str(getattr(loss, "name", None) or "loss"),
    )
    scene.title = f"tape of {len(order)} nodes" + (f", drawn as {len(chosen)}" if len(chosen) < len(order) else "")
    ids = list(chosen)
    data = {
        "op": np.array([names[chosen[g]] for g in ids]),
        "shape": np.array([str(order[chosen[g]].meta(0)[0]) for g in ids]),
        "count": np.array([count[g] for g in ids]),
        "edges": np.array([(ids.index(a), ids.index(b)) for a, b in edges], dtype=int).reshape(-1, 2),
    }
    return Drawing(scene, data)


def _nodes(root: Any) -> tuple[list[Any], list[list[int]]]:
    """Every node below the root in the order of making, and the positions of each one's inputs."""
    found: dict[int, Any] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        stack.extend(e[0] for e in node.edges if e is not None)
    order = sorted(found.values(), key=lambda n: n.serial)
    at = {id(n): k for k, n in enumerate(order)}
    return order, [[at[id(e[0])] for e in n.edges if e is not None] for n in order]


def _name(node: Any) -> str:
    op = getattr(node, "op", None)
    return op.name if op is not None else str(node.name)


def _groups(order: list[Any], collapse: bool) -> list[int]:
    """A number for each node; with `collapse`, one for all made by the same line with the same operation."""
    if not collapse:
        return list(range(len(order)))
    seen: dict[tuple[Any, ...], int] = {}
    out = []
    for node in order:
        key = (node.line, _name(node)) if node.edges else (id(node),)
        out.append(seen.setdefault(key, len(seen)))
    return out


def _title(node: Any, name: str, n: int) -> theme.Label:
    if not node.edges:
        tensor = node.tensor() if hasattr(node, "tensor") else None
        own = getattr(tensor, "name", None)
        shape = "×".join(str(d) for d in node.meta(0)[0])
        return theme.name(own) if own else theme.label(f"leaf {shape}".rstrip())
    glyph = GLYPHS.get(name, name)
    return theme.label(f"{glyph} ×{n}" if n > 1 else glyph)


def _lay_out(
    order: list[Any],
    names: list[str],
    chosen: dict[int, int],
    count: dict[int, int],
    edges: list[tuple[int, int]],
    root: int,
    said: str,
) -> Scene:
    scene = Scene("tape", "tape")
    dot = graphviz.Digraph(
        "tape",
        graph_attr={"rankdir": "LR", "nodesep": "0.18", "ranksep": "0.35"},
        node_attr={"shape": "box", "fixedsize": "true", "label": ""},
        edge_attr={"arrowhead": "none"},
    )
    sizes: dict[int, tuple[float, float, str, theme.Label]] = {}
    for g, k in chosen.items():
        title = _title(order[k], names[k], count[g])
        small = order[k].edges and count[g] == 1 and len(title[0].text) == 1
        width = ROUND if small else max(34.0, theme.label_width(title, TITLE) + 18)
        sizes[g] = (
            width,
            ROUND if small else BOX,
            "round" if small else "capsule" if order[k].edges else "chip",
            title,
        )
        dot.node(
            f"n{g}", shape="circle" if small else "box", width=f"{width / 72:.3f}", height=f"{sizes[g][1] / 72:.3f}"
        )
    split = copies(edges, [g for g, k in chosen.items() if not order[k].edges])
    ends: dict[tuple[str, str], tuple[int, int]] = {}
    for (a, b), copy in split.items():
        if copy:
            dot.node(name(a, copy), width=f"{sizes[a][0] / 72:.3f}", height=f"{sizes[a][1] / 72:.3f}")
        dot.edge(name(a, copy), name(b))
        ends[name(a, copy), name(b)] = (a, b)
    placed, routes = _placed(dot.source, ends)
    keys = {g: f"n{order[k].serial - order[0].serial}" for g, k in chosen.items()}
    boxes = list(dict.fromkeys([*((g, 0) for g in chosen), *((a, n) for (a, _), n in split.items())]))
    for g, copy in boxes:
        k = chosen[g]
        width, tall, kind, title = sizes[g]
        node = order[k]
        role = "loss" if g == root else "input" if kind == "chip" else "op"
        hint = f"{names[k]} {node.meta(0)[0]} {np.dtype(node.meta(0)[1])}"
        own = keys[g] + (f"x{copy}" if copy else "")
        drawn = Node(own, kind, role, title, ())
        said_here = f"{said}: {hint}" if g == root else hint
        at = placed[name(g, copy)]
        scene.marks.append(Mark(own, drawn, None, *at, width, tall, title, [role, kind], [], said_here))
    for a, b in edges:
        points = routes[a, b]
        source = keys[a] + (f"x{split[a, b]}" if split[a, b] else "")
        read = Read(Wire(source, keys[b], 0), None, None)
        scene.pieces.append(Piece(f"{keys[a]}-{keys[b]}", keys[a], points, (read,), True, ["net"], tail=True))
    svg.fit(scene)
    return scene


def _placed(
    dot: str, ends: dict[tuple[str, str], tuple[int, int]]
) -> tuple[dict[str, Point], dict[tuple[int, int], list[Point]]]:
    """Where Graphviz puts each box, and the cubic points of each edge."""
    placed: dict[str, Point] = {}
    routes: dict[tuple[int, int], list[Point]] = {}
    height = 0.0
    for line in worker.layout(dot).splitlines():
        part = line.split()
        if part[0] == "graph":
            height = float(part[3]) * 72
        elif part[0] == "node":
            placed[part[1]] = (round(float(part[2]) * 72, 1), round(height - float(part[3]) * 72, 1))
        elif part[0] == "edge":
            n = int(part[3])
            values = [float(v) * 72 for v in part[4 : 4 + 2 * n]]
            routes[ends[part[1], part[2]]] = [
                (round(x, 1), round(height - y, 1)) for x, y in zip(values[::2], values[1::2], strict=True)
            ]
    return placed, routes
