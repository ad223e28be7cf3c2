"""Writing a scene as DOT with every node and edge pinned where the picture has it.

Graphviz's `nop2` draws it without moving anything (`dot -Knop2`, pygraphviz with prog="nop2"). One edge is
one read of an equation; all points that the read passes are in its `pos`.
"""

from __future__ import annotations

import graphviz

from viz import theme
from viz.scene import Mark, Piece, Point, Scene
from viz.svg import shorten

_SHAPES = {"state": "box", "chip": "box", "card": "box", "capsule": "box", "round": "circle", "delay": "square"}


def write(scene: Scene) -> str:
    """DOT text; y points up there, so it is flipped."""
    dot = graphviz.Digraph(
        "picture",
        graph_attr={
            "layout": "nop2",
            "splines": "true",
            "outputorder": "edgesfirst",
            "label": scene.title,
            "bgcolor": "transparent",
            "fontname": "DejaVu Sans",
        },
        node_attr={
            "fixedsize": "true",
            "fontname": "DejaVu Sans",
            "fontsize": "13",
            "style": "rounded,filled",
            "penwidth": "1.2",
        },
        edge_attr={"arrowsize": "0.6", "fontname": "DejaVu Sans", "fontsize": "10.5"},
    )
    for m in scene.marks:
        _mark(dot, m)
    ids = {(m.node.key, m.step): m.id for m in scene.marks}
    by_read: dict[tuple[str, int | None, str, int | None, int, int], list[Piece]] = {}
    ordered = sorted(scene.pieces, key=lambda p: "-in-" not in p.id and "-arc-" not in p.id)
    for piece in ordered:
        for r in piece.reads:
            at = (r.wire.source, r.source_step, r.wire.target, r.target_step, r.wire.socket, r.wire.lag)
            by_read.setdefault(at, []).append(piece)
    for (source, s, target, t, _, lag), pieces in by_read.items():
        if (target, t) not in ids:
            continue
        tail = ids.get((source, s)) or ids.get((source, t))
        if tail is None:
            tail = f"hidden:{source}:{s}"
            ids[source, s] = tail
            dot.node(_quoted(tail), label="", shape="point", pos=_point(pieces[0].points[0]), width="0.02")
        dot.edge(_quoted(tail), _quoted(ids[target, t]), pos=_spline(pieces), **_edge_style(pieces[-1], lag))
    return str(dot.source)


def _quoted(name: str) -> str:
    """The graphviz package reads `a:b` as node and port; a name in one piece keeps its colon escaped."""
    return name.replace(":", "/")


def _point(p: Point) -> str:
    return f"{p[0]:.1f},{0 - p[1]:.1f}"


def _mark(dot: graphviz.Digraph, m: Mark) -> None:
    role = next((c for c in m.classes if c in ("gate", "loss", "input", "state-a", "state-b")), "")
    fill = theme.COLOURS.get(f"{role}-fill", theme.COLOURS["box"])[0]
    line = theme.COLOURS.get(role, theme.COLOURS["wire"])[0]
    style = "rounded,filled,dashed" if "boundary" in m.classes else "rounded,filled"
    if m.node.kind == "round":
        style = "filled"
    size = {"width": f"{m.width / 72:.3f}", "height": f"{m.height / 72:.3f}"}
    look = {"shape": _SHAPES[m.node.kind], "fillcolor": fill, "color": line, "style": style}
    dot.node(_quoted(m.id), label=_html(m.title), pos=_point((m.x, m.y)), **size, **look)
    surface, faint = theme.COLOURS["surface"][0], theme.COLOURS["faint"][0]
    for n, pill in enumerate(m.pills):
        size = {"width": f"{pill.width / 72:.3f}", "height": "0.222", "fontsize": "10.5"}
        look = {"shape": "box", "fillcolor": surface, "color": faint}
        dot.node(f"{_quoted(m.id)}/pill{n}", label=_html(pill.label), pos=_point((pill.x, pill.y)), **size, **look)


def _html(label: theme.Label) -> str:
    def one(span: theme.Span) -> str:
        text = span.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        tag = "SUB" if span.script < 0 else "SUP" if span.script > 0 else ""
        return f"<{tag}>{text}</{tag}>" if tag else text

    return "<" + "".join(one(s) for s in label) + ">"


def _spline(pieces: list[Piece]) -> str:
    points: list[Point] = []
    for piece in pieces:
        if not points:
            points = list(piece.points)
            continue
        a, b = points[-1], piece.points[0]
        if abs(a[0] - b[0]) + abs(a[1] - b[1]) > 0.05:
            points += [a, b, b]
        points += piece.points[1:]
    first = points[0]
    if pieces[-1].backward:  # the gradient's way: the arrow is at the source
        points = shorten(points[::-1], 7.0)[::-1]
        return f"s,{_point(first)} " + " ".join(_point(p) for p in points)
    end = points[-1]
    return f"e,{_point(end)} " + " ".join(_point(p) for p in shorten(points, 7.0))


def _edge_style(piece: Piece, lag: int) -> dict[str, str]:
    style = {"color": theme.COLOURS["wire"][0]}
    if piece.backward:
        style["dir"] = "back"
    if piece.width is not None:
        style["penwidth"] = f"{piece.width:g}"
    for role in ("state-a", "state-b", "skip", "loss"):
        if role in piece.classes:
            style["color"] = theme.COLOURS[role][0]
    for k in range(theme.RAMP):
        if f"r{k}" in piece.classes:
            style["color"] = theme.COLOURS[f"ramp-{k}"][0]
    if "faded" in piece.classes:
        style["color"] = theme.COLOURS["faint"][0]
    if "skip" in piece.classes:
        style["style"] = "dashed"
    if piece.number:
        style["label"] = piece.number
        style["lp"] = _point(piece.number_at) if piece.number_at else "0,0"
    if lag:
        style["tooltip"] = f"lag {-lag:+d}".replace("+", "")
    return style
