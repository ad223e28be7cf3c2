"""Writing a scene as SVG. Deterministic: the same scene gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from viz import theme
from viz.layout import BOX, PILL, SMALL, TITLE
from viz.scene import Mark, Piece, Pill, Point, Scene, Text

MARGIN = 14.0
NUMBER = 10.5  # font size of numbers on wires


def coordinate(value: float) -> str:
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def rect(x: float, y: float, width: float, height: float, classes: str, rx: float = 0.0, inside: str = "") -> str:
    """A rectangle by its corner; `inside` is what the element contains."""
    place = f'x="{coordinate(x)}" y="{coordinate(y)}" width="{coordinate(width)}" height="{coordinate(height)}"'
    rounded = f' rx="{coordinate(rx)}"' if rx else ""
    return f'<rect class="{classes}" {place}{rounded}' + (f">{inside}</rect>" if inside else "/>")


def stroke(data: str, width: float, dash: str = "") -> str:
    """A wire of a given width, for legends and plots."""
    style = f"stroke-width:{coordinate(width)}" + (f";stroke-dasharray:{dash}" if dash else "")
    return f'<path class="wire" style="{style}" d="{data}"/>'


def text(
    x: float, y: float, label: Sequence[theme.Span], size: float, anchor: str = "middle", classes: str = ""
) -> str:
    """A label centred at (x, y); scripts are shifted spans, which every renderer draws alike."""
    parts, shift = [], 0.0
    for span in label:
        target = {-1: 0.24, 0: 0.0, 1: -0.34}[span.script] * size
        style = f' dy="{coordinate(target - shift)}"' if target != shift else ""
        small = f' font-size="{coordinate(size * 0.72)}"' if span.script else ""
        shift = target
        body = escape(span.text, quote=False)
        parts.append(f"<tspan{style}{small}>{body}</tspan>" if style or small else body)
    cls = f' class="{classes}"' if classes else ""
    return (
        f'<text{cls} x="{coordinate(x)}" y="{coordinate(y + size * 0.36)}" font-size="{coordinate(size)}" '
        f'text-anchor="{anchor}">{"".join(parts)}</text>'
    )


def curve(points: Sequence[Point]) -> str:
    """Path data of cubic points; straight pieces are written as lines."""
    out = [f"M{coordinate(points[0][0])} {coordinate(points[0][1])}"]
    at = points[0]
    for k in range(1, len(points) - 2, 3):
        a, b, c = points[k : k + 3]
        if _straight(at, a, b, c):
            out.append(f"L{coordinate(c[0])} {coordinate(c[1])}")
        else:
            out.append("C" + " ".join(f"{coordinate(p[0])} {coordinate(p[1])}" for p in (a, b, c)))
        at = c
    return "".join(out)


def _straight(a: Point, b: Point, c: Point, d: Point) -> bool:
    def off(p: Point) -> float:
        return abs((d[0] - a[0]) * (p[1] - a[1]) - (d[1] - a[1]) * (p[0] - a[0]))

    return off(b) < 0.5 and off(c) < 0.5


def shorten(points: Sequence[Point], by: float) -> list[Point]:
    """The same wire ending `by` px earlier, so that a thick line does not stick out of its arrowhead."""
    out = list(points)
    (x0, y0), (x1, y1) = _before_end(points), points[-1]
    d = max(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 1e-9)
    by = min(by, d * 0.9)
    out[-1] = (x1 - (x1 - x0) / d * by, y1 - (y1 - y0) / d * by)
    if len(out) >= 2 and abs(out[-2][0] - x1) + abs(out[-2][1] - y1) < by:
        out[-2] = out[-1]
    return out


def _stub(points: Sequence[Point], way: Sequence[Point]) -> str:
    a, b = points[-1], way[-1]
    return f"M{coordinate(a[0])} {coordinate(a[1])}L{coordinate(b[0])} {coordinate(b[1])}"


def stub(points: Sequence[Point], by: float) -> str:
    """Path data of the end that `shorten` takes off a wire."""
    return _stub(shorten(points, by), points)


def _before_end(points: Sequence[Point]) -> Point:
    end = points[-1]
    for p in reversed(points[:-1]):
        if abs(p[0] - end[0]) + abs(p[1] - end[1]) > 0.5:
            return p
    return points[0]


def head(points: Sequence[Point], width: float) -> str:
    (x0, y0), (x1, y1) = _before_end(points), points[-1]
    d = max(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 1e-9)
    ux, uy = (x1 - x0) / d, (y1 - y0) / d
    length, half = 6.0 + 1.1 * width, 2.4 + 0.75 * width
    base = (x1 - ux * length, y1 - uy * length)
    corners = [(x1, y1), (base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half)]
    return '<path class="head" d="M' + "L".join(f"{coordinate(p[0])} {coordinate(p[1])}" for p in corners) + 'Z"/>'


def default_width(classes: Sequence[str]) -> float:
    if "hot" in classes:
        return 1.5
    if "highway" in classes and "faded" not in classes:
        return 4.0
    return 2.0 if "state-b" in classes else 1.5


def piece(p: Piece, halo: bool, both_ways: bool = False) -> str:
    width = p.width if p.width is not None else default_width(p.classes)
    arrow = p.tail if p.backward else p.head
    way = list(reversed(p.points)) if p.backward else p.points
    points = shorten(way, 4.0 + width) if arrow else way
    data = curve(points)
    style = f' style="stroke-width:{coordinate(width)}"' if p.width is not None else ""
    dash = " dashed" if "skip" in p.classes else ""
    out = [f'<g id="{escape(p.id)}" class="{" ".join(p.classes)}"{_reads(p)}>']
    if halo:
        out.append(f'<path class="halo" d="{data}"/>')
    out.append(f'<path class="wire{dash}" d="{data}"{style}/>')
    if arrow:
        out.append(head(way, width))
    if both_ways and arrow:  # where the arrowhead was, when the gradient goes the other way
        out.append(f'<path class="wire stub" d="{_stub(points, way)}"/>')
    if both_ways and p.tail:
        out.append(head(list(reversed(way)), width).replace('class="head"', 'class="head back"'))
    out.append("</g>")
    return "".join(out)


def _reads(p: Piece) -> str:
    if not p.head:
        return ""

    def at(key: str, step: int | None) -> str:
        return f"{key}@{'' if step is None else step}"

    said = " ".join(
        f"{at(r.wire.source, r.source_step)}>{at(r.wire.target, r.target_step)}.{r.wire.socket}" for r in p.reads
    )
    return f' data-read="{escape(said)}"'


def mark(m: Mark) -> str:
    x, y, w, h = m.x - m.width / 2, m.y - m.height / 2, m.width, m.height
    out = [f'<g id="{escape(m.id)}" class="node {" ".join(m.classes)}" data-node="{escape(m.node.key)}">']
    if m.hint:
        out.append(f"<title>{escape(m.hint)}</title>")
    for pill in m.pills:
        out.append(
            rect(
                pill.x - pill.width / 2,
                pill.y - PILL / 2,
                pill.width,
                PILL,
                "chip chosen" if pill.chosen else "chip",
                3,
            )
        )
        out.append(text(pill.x, pill.y, _signed(pill), SMALL))
    if "many" in m.classes:
        out.append(rect(x + 4, y - 4, w, h, "body", 8))
    if m.node.kind == "round":
        out.append(f'<circle class="body" cx="{coordinate(m.x)}" cy="{coordinate(m.y)}" r="{coordinate(h / 2)}"/>')
    else:
        corner = h / 2 if "loss" in m.classes else {"delay": 2.0, "chip": 4.0, "state": 9.0}.get(m.node.kind, 6.0)
        out.append(rect(x, y, w, h, "body", corner))
    out.append(text(m.x, m.y, m.title, 16.0 if m.node.kind == "round" else TITLE))
    out.append("</g>")
    return "".join(out)


def _signed(pill: Pill) -> theme.Label:
    return (theme.Span("−"), *pill.label) if pill.sign == "−" else pill.label


def write(scene: Scene) -> str:
    """The whole SVG document."""
    _, _, w, h = scene.bounds
    box = " ".join(coordinate(v) for v in scene.bounds)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tg" role="{_role(scene)}" aria-label="{escape(scene.title)}" '
        f'viewBox="{box}" width="{coordinate(w)}" height="{coordinate(h)}">',
        f"<title>{escape(scene.title)}</title>",
        f"<style>{theme.css()}</style>",
    ]
    out += _body(scene)
    out.append("</svg>")
    return "\n".join(out) + "\n"


def inline(scene: Scene, prefix: str = "", both_ways: bool = False, role: str = "") -> str:
    """The picture as an element of a page, which brings the style sheet; `prefix` keeps ids apart.

    With `both_ways` every wire carries a second arrowhead at its beginning, class "back", for gradients.
    """
    box = " ".join(coordinate(v) for v in scene.bounds)
    _, _, w, h = scene.bounds
    body = "\n".join(_body(scene, both_ways))
    if prefix:
        body = body.replace(' id="', f' id="{prefix}').replace(' href="#', f' href="#{prefix}')
    return (
        f'<svg class="tg" role="{role or _role(scene)}" aria-label="{escape(scene.title)}" viewBox="{box}" '
        f'width="{coordinate(w)}" height="{coordinate(h)}">\n{body}\n</svg>'
    )


def _role(scene: Scene) -> str:
    """An image, unless there is something in it to choose."""
    return "group" if scene.links else "img"


def _body(scene: Scene, both_ways: bool = False) -> list[str]:
    x, y, w, h = scene.bounds
    out = [rect(x, y, w, h, "surface")]
    for panel in scene.panels:
        out.append(rect(panel.x, panel.y, panel.width, panel.height, "panel", 12))
        out.append(text(panel.x + 12, panel.y + 14, theme.label(panel.label), 11.5, "start", "muted"))
    for a, b in scene.gaps:
        ends = f"M{coordinate(a[0])} {coordinate(a[1])}L{coordinate(b[0])} {coordinate(b[1])}"
        out.append(f'<path class="gap" d="{ends}"/>')
    equation = {m.node.key: m.node.equation for m in scene.marks}
    for p in sorted(scene.pieces, key=lambda p: p.order):
        out.append(
            _linked(scene, equation.get(p.reads[0].wire.target) if p.reads else None, piece(p, p.halo, both_ways))
        )
    out += [_linked(scene, m.node.equation, mark(m)) for m in scene.marks]
    for p in scene.pieces:
        if p.number and p.number_at:
            out.append(text(*p.number_at, (theme.Span(p.number),), NUMBER, p.anchor, "number"))
    for t in scene.texts:
        out.append(text(t.x, t.y, t.label, t.size, t.anchor, t.classes))
    return out + scene.extra


def _linked(scene: Scene, equation: str | None, body: str, stop: bool = True) -> str:
    """A link to an equation's line; `stop` says whether the keyboard stops at it."""
    target = scene.links.get(equation or "")
    skip = "" if stop else ' tabindex="-1"'
    if not target:
        return body
    return f'<a href="#{escape(target)}" aria-label="equation of {escape(equation or "")}"{skip}>{body}</a>'


def _reach(t: Text, xs: list[float], ys: list[float]) -> None:
    """Add the corners of a text to the coordinates."""
    width = theme.label_width(t.label, t.size)
    left = t.x - {"start": 0.0, "middle": width / 2, "end": width}[t.anchor]
    xs += [left, left + width]
    ys += [t.y - t.size / 2, t.y + t.size / 2]


def fit(scene: Scene) -> None:
    """Set the bounds around everything that is drawn."""
    xs: list[float] = []
    ys: list[float] = []
    for p in scene.panels:
        xs += [p.x, p.x + p.width]
        ys += [p.y, p.y + p.height]
    for m in scene.marks:
        xs += [m.x - m.width / 2, m.x + m.width / 2]
        ys += [m.y - m.height / 2, m.y + m.height / 2]
        xs += [v for q in m.pills for v in (q.x - q.width / 2, q.x + q.width / 2)]
        ys += [v for q in m.pills for v in (q.y - PILL / 2, q.y + PILL / 2)]
    for piece_ in scene.pieces:
        xs += [q[0] for q in piece_.points]
        ys += [q[1] for q in piece_.points]
        if piece_.number and piece_.number_at:
            number = Text(*piece_.number_at, (theme.Span(piece_.number),), NUMBER, "number", piece_.anchor)
            _reach(number, xs, ys)
    for t in scene.texts:
        _reach(t, xs, ys)
    if not xs:
        xs, ys = [0.0, BOX], [0.0, BOX]
    x, y = min(xs) - MARGIN, min(ys) - MARGIN
    scene.bounds = (round(x, 1), round(y, 1), round(max(xs) + MARGIN - x, 1), round(max(ys) + MARGIN - y, 1))
