"""A picture painted by Graphviz's renderers: the SVG's own elements as drawing operations, for PNG and PDF.

Graphviz paints whatever stands in a graph's `_background` in its xdot language (graphviz.org/docs/attr-types/xdot), so
one description, the SVG with its style sheet, serves every format. Knows the elements and the selectors that `viz.svg`
and `viz.theme` write, no more of SVG than that.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from viz import theme

Point = tuple[float, float]
Compound = tuple[str, frozenset[str]]  # element, classes
SCALE = 2  # pixels of a PNG for each px of the SVG, fewer
LARGEST = 32e6  # where a picture would have more pixels than this
PIECE = 6000  # characters
_HIDDEN = {"title", "style", "desc"}


@dataclass(frozen=True)
class _Rule:
    path: tuple[Compound, ...]  # outermost first
    parent: bool  # the last but one is the parent itself
    style: tuple[tuple[str, str], ...]

    @property
    def weight(self) -> int:
        return sum(bool(tag) + len(classes) for tag, classes in self.path)


@lru_cache(maxsize=1)
def _rules() -> tuple[_Rule, ...]:
    """The style sheet in light colours, the least specific rules first."""
    found = []
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", theme.plain_rules()):
        style = tuple((k.strip(), v.strip()) for k, _, v in (d.partition(":") for d in body.split(";") if d))
        for selector in selectors.split(","):
            if ":" in selector:
                continue
            words = selector.replace(">", " > ").split()[1:]  # all within .tg
            path = tuple(_compound(w) for w in words if w != ">")
            found.append(_Rule(path, ">" in words, style))
    return tuple(sorted(found, key=lambda r: r.weight))


def _compound(word: str) -> Compound:
    tag, *classes = word.split(".")
    return tag, frozenset(classes)


@dataclass(frozen=True)
class _Place:
    """An element on the way down: what its descendants inherit."""

    chain: tuple[Compound, ...] = ()
    shift: Point = (0.0, 0.0)
    opacity: float = 1.0
    plain: dict[str, str] = field(default_factory=dict)  # presentation attributes


def write(svg: str, bounds: tuple[float, float, float, float]) -> str:
    """DOT whose background is the picture, for the layout program "nop2"; `bounds` are the SVG's view box."""
    x, y, w, h = bounds
    painter = _Painter(x, y + h)
    quoted = " + ".join(f'"{piece}"' for piece in _pieces(painter.operations(ET.fromstring(svg))))
    scale = min(SCALE, math.sqrt(LARGEST / (w * h)))
    corner = 'style=invis shape=point label="" fixedsize=true width=0.01 height=0.01'
    return (
        f'digraph {{ graph [layout=nop2 pad=0 dpi={72 * scale:.4g} bgcolor="{theme.COLOURS["surface"][0]}" '
        f'_background={quoted}]; a [{corner} pos="0,0"]; b [{corner} pos="{w:.1f},{h:.1f}"]; }}\n'
    )


def _pieces(operations: Iterator[str]) -> Iterator[str]:
    """Operations in quotable pieces: Graphviz reads no string of 16 kB, and copies all that it has at every `+`."""
    held: list[str] = []
    size = 0
    for operation in operations:
        text = operation.replace('"', '\\"') + " "
        if held and size + len(text) > PIECE:
            yield "".join(held)
            held, size = [], 0
        held.append(text)
        size += len(text)
    yield "".join(held)


class _Painter:
    def __init__(self, left: float, foot: float) -> None:
        self.left, self.foot = left, foot

    def operations(self, root: ET.Element) -> Iterator[str]:
        stack: list[tuple[ET.Element, _Place]] = [(root, _Place())]
        while stack:
            element, place = stack.pop()
            tag = element.tag.rpartition("}")[2]
            if tag in _HIDDEN:
                continue
            inside = self.enter(element, tag, place)
            if tag == "text":
                yield from self.text(element, inside)
                continue
            if tag in ("rect", "circle", "path"):
                yield from self.shape(element, tag, inside)
            stack += [(child, inside) for child in reversed(element)]

    def enter(self, element: ET.Element, tag: str, place: _Place) -> _Place:
        chain = (*place.chain, (tag, frozenset((element.get("class") or "").split())))
        given = {k: v for k in ("fill", "stroke") if (v := element.get(k)) is not None}
        moved = re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", element.get("transform") or "")
        shift = (place.shift[0] + float(moved[1]), place.shift[1] + float(moved[2])) if moved else place.shift
        made = replace(place, chain=chain, shift=shift, plain={**place.plain, **given})
        return replace(made, opacity=place.opacity * float(self.style(made, element).get("opacity", "1")))

    def style(self, place: _Place, element: ET.Element) -> dict[str, str]:
        out = dict(place.plain)
        for rule in _rules():
            if _matches(rule, place.chain):
                out.update(rule.style)
        for declaration in (element.get("style") or "").split(";"):
            key, _, value = declaration.partition(":")
            if value:
                out[key.strip()] = value.strip()
        return out

    # -- elements

    def at(self, p: Point, place: _Place) -> str:
        return f"{p[0] + place.shift[0] - self.left:.2f} {self.foot - p[1] - place.shift[1]:.2f}"

    def shape(self, element: ET.Element, tag: str, place: _Place) -> Iterator[str]:
        style = self.style(place, element)
        fill, stroke = style.get("fill", "#000000"), style.get("stroke", "none")
        if stroke == "currentColor":
            stroke = theme.COLOURS["ink"][0]
        width = float(style.get("stroke-width", "1").removesuffix("px"))
        yield _colour("C", fill, place.opacity)
        yield _colour("c", stroke, place.opacity)
        yield _string("S", f"setlinewidth({width if stroke != 'none' else 0:g})")
        yield _string("S", _dash(style.get("stroke-dasharray", "")))
        filled = fill != "none"
        if tag == "circle":
            centre = (_number(element, "cx"), _number(element, "cy"))
            r = _number(element, "r")
            yield f"{'E' if filled else 'e'} {self.at(centre, place)} {r:g} {r:g}"
            return
        lines = [_rounded(element)] if tag == "rect" else list(_curves(element.get("d") or ""))
        for points in lines:
            said = " ".join(self.at(p, place) for p in points)
            if filled and (tag == "rect" or style.get("stroke", "none") == "none"):
                yield f"b {len(points)} {said}"
            elif stroke != "none":
                yield f"B {len(points)} {said}"

    def text(self, element: ET.Element, place: _Place) -> Iterator[str]:
        style = self.style(place, element)
        classes = place.chain[-1][1]
        size = _number(element, "font-size")
        runs = [(element.text or "", size, 0.0)]
        shift = 0.0
        for span in element:
            shift += _number(span, "dy")
            runs.append((span.text or "", _number(span, "font-size") or size, shift))
            if span.tail:
                runs.append((span.tail, size, shift))
        runs = [r for r in runs if r[0]]
        widths = [theme.text_width(text, at) for text, at, _ in runs]
        anchor = element.get("text-anchor", "start")
        x = _number(element, "x") - sum(widths) * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        y = _number(element, "y")
        family = "DejaVu Sans Mono" if "code" in classes else "DejaVu Sans"
        halo = [(dx, dy) for dx in (-1.2, 1.2) for dy in (-1.2, 1.2)] if "number" in classes else []
        for dx, dy in [*halo, (0.0, 0.0)]:
            colour = style.get("fill", "#000000") if not dx else theme.COLOURS["panel"][0]
            yield _colour("c", colour, place.opacity)
            start = x
            for (text, at, down), width in zip(runs, widths, strict=True):
                yield f"F {at:g} {_counted(family)}"
                # one run is placed by its renderer, which knows the font's own widths
                alone = len(runs) == 1 and anchor != "start"
                place_x = _number(element, "x") if alone else start
                justify = {"middle": 0, "end": 1}[anchor] if alone else -1
                yield f"T {self.at((place_x + dx, y + down + dy), place)} {justify} {width:.1f} {_counted(text)}"
                start += width


def _matches(rule: _Rule, chain: Sequence[Compound]) -> bool:
    *outer, last = rule.path
    if not _fits(last, chain[-1]):
        return False
    if rule.parent:
        return len(chain) > 1 and _fits(outer[-1], chain[-2])
    at = len(chain) - 1
    for wanted in reversed(outer):
        at -= 1
        while at >= 0 and not _fits(wanted, chain[at]):
            at -= 1
        if at < 0:
            return False
    return True


def _fits(wanted: Compound, found: Compound) -> bool:
    return wanted[0] in ("", found[0]) and wanted[1] <= found[1]


def _number(element: ET.Element, name: str) -> float:
    return float(element.get(name) or 0)


def _counted(text: str) -> str:
    return f"{len(text.encode())} -{text}"


def _string(operation: str, text: str) -> str:
    return f"{operation} {_counted(text)}"


def _colour(operation: str, colour: str, opacity: float) -> str:
    if colour == "none":
        return _string(operation, "#00000000")
    return _string(operation, colour + (f"{round(255 * opacity):02X}" if opacity < 1 else ""))


def _dash(pattern: str) -> str:
    lengths = [float(v) for v in pattern.replace(",", " ").split()]
    return "solid" if not lengths else "dotted" if lengths[0] < 3 else "dashed"


def _rounded(element: ET.Element) -> list[Point]:
    """A rectangle as one closed cubic."""
    x, y, w, h = (_number(element, k) for k in ("x", "y", "width", "height"))
    r = min(_number(element, "rx"), w / 2, h / 2)
    out: list[Point] = [(x, y + r)]
    turns = ((1, 0), (0, 1), (-1, 0), (0, -1))
    for n, (cx, cy) in enumerate(((x, y), (x + w, y), (x + w, y + h), (x, y + h))):
        into, onward = turns[n - 3], turns[n]
        start, end = (cx + r * into[0], cy + r * into[1]), (cx + r * onward[0], cy + r * onward[1])
        out += [out[-1], start, start, _toward(start, (cx, cy)), _toward(end, (cx, cy)), end]
    return [*out, out[-1], out[0], out[0]]


def _toward(a: Point, corner: Point) -> Point:
    return (a[0] + 0.5523 * (corner[0] - a[0]), a[1] + 0.5523 * (corner[1] - a[1]))


def _curves(data: str) -> Iterator[list[Point]]:
    """Every stroke of a path as cubic points (3n+1)."""
    points: list[Point] = []
    for command, rest in re.findall(r"([MLCHhlaZ])([^MLCHhlaZ]*)", data):
        v = [float(n) for n in re.findall(r"-?\d*\.?\d+", rest)]
        if command == "M":
            if len(points) > 1:
                yield points
            points = [(v[0], v[1])]
            continue
        a = points[-1]
        if command == "C":
            points += [(v[k], v[k + 1]) for k in range(0, len(v), 2)]
        elif command == "a":  # halves of circles
            for k in range(0, len(v), 7):
                points += _half(points[-1], (points[-1][0] + v[k + 5], points[-1][1] + v[k + 6]))
        else:
            pairs = [(v[k], v[k + 1]) for k in range(0, len(v), 2)] if command in "Ll" else []
            ends = {"L": pairs, "l": [(a[0] + dx, a[1] + dy) for dx, dy in pairs], "Z": points[:1]}
            if command in "Hh":
                ends[command] = [(v[0] + (a[0] if command == "h" else 0.0), a[1])]
            for b in ends[command]:
                points += [points[-1], b, b]
    if len(points) > 1:
        yield points


def _half(a: Point, b: Point) -> list[Point]:
    """Half a circle from a (exclusive) to b, clockwise on the screen."""
    dx, dy = (b[0] - a[0]) / 2, (b[1] - a[1]) / 2
    k = 0.5523
    top = (a[0] + dx + dy, a[1] + dy - dx)
    return [
        (a[0] + k * dy, a[1] - k * dx), (top[0] - k * dx, top[1] - k * dy), top,
        (top[0] + k * dx, top[1] + k * dy), (b[0] + k * dy, b[1] - k * dx), b,
    ]  # fmt: skip
