"""The inside of one step, with its equations: every edge leads to the line that it comes from."""

from __future__ import annotations

from typing import Any

from dsl.system.system import System
from viz import svg, theme
from viz.compose import compose
from viz.drawing import Drawing
from viz.scene import Scene
from viz.views.subject import base_axes, system_of

LINE = 18.0
SIZE = 12.5


def cell(subject: Any, **arguments: Any) -> Drawing:
    """One step of a cell; clicking a node or an edge marks its equation (`#eq-f` in the address does the same)."""
    system = system_of(subject, **arguments)
    derived = any(a.length is not None for a in system.axes.values())
    picture = compose(system, dict.fromkeys(base_axes(system), 2 if derived else 1), title=f"{system.name}, one step")
    scene = picture.scene
    _equations(scene, system)
    return Drawing(scene)


def _lines(system: System) -> list[tuple[str, str]]:
    """Each drawn equation with its source line; copies of one cell share a line."""
    found: dict[str, str] = {}
    for name in system.equations:
        span = system.spans.get(name)
        if system.source is None or span is None:
            continue
        text = system.source.text
        start = text.rfind("\n", 0, span.start) + 1
        end = text.find("\n", span.start)
        line = text[start : len(text) if end < 0 else end].split("#")[0].strip()
        if line:
            found[name] = line
    return list(found.items())


def _equations(scene: Scene, system: System) -> None:
    """Write the lines below the picture, each with the id that the marks link to."""
    x, y, w, h = scene.bounds
    lines = _lines(system)
    seen: dict[str, str] = {}
    at = y + h + 6
    for name, line in lines:
        if line in seen:
            continue
        seen[line] = name
        width = theme.text_width(line, SIZE) * 1.05 + 12
        mark = svg.rect(x + svg.MARGIN - 6, at - LINE / 2, width, LINE, "mark", 4)
        said = svg.text(x + svg.MARGIN, at, (theme.Span(line),), SIZE, "start", "code")
        scene.extra.append(f'<g id="eq-{name}" class="equation">{mark}{said}</g>')
        at += LINE
    for name, line in lines:
        scene.links[name] = f"eq-{seen[line]}"
    widest = max((theme.text_width(line, SIZE) * 1.05 for _, line in lines), default=0.0)
    scene.bounds = (x, y, max(w, round(widest + 3 * svg.MARGIN, 1)), round(at - y + svg.MARGIN, 1))
