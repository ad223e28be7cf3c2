"""The inside of one step, with its equations: every edge leads to the line that it comes from."""

from __future__ import annotations

from typing import Any

from dsl.system.printing import to_tree
from dsl.system.system import System
from dsl.text.format import format as format_tree
from dsl.text.tree import Loss
from viz import svg, theme
from viz.compose import compose, enough
from viz.drawing import Drawing
from viz.scene import Scene
from viz.views.subject import base_axes, system_of

LINE = 18.0
SIZE = 12.5


def cell(subject: Any, **arguments: Any) -> Drawing:
    """One step of a cell; clicking a node or an edge marks its equation (`#eq-f` in the address does the same)."""
    system = system_of(subject, **arguments)
    derived = any(a.length is not None for a in system.axes.values())
    steps = {a: enough(system, a, 2) if derived else 1 for a in base_axes(system)}
    picture = compose(system, steps, title=f"{system.name}, one step", limit=2)
    scene = picture.scene
    _equations(scene, system)
    return Drawing(scene)


def equation_lines(system: System) -> list[tuple[str, str]]:
    """Each equation with its source line; one that comes out of a `use` is printed, its copy's prefix left off."""
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
    uses = {name for name, line in found.items() if line.split(None, 1)[0] == "use"}
    missing = uses | {n for n in system.equations if n not in found}
    if not missing:
        return list(found.items())
    for statement in to_tree(system).body:
        name = (
            statement.name if isinstance(statement, Loss) else getattr(getattr(statement, "target", None), "name", "")
        )
        if name in missing:
            line = " ".join(format_tree(statement).split())
            found[name] = line.replace(name.rpartition(".")[0] + ".", "") if "." in name else line
    return [(n, found[n]) for n in system.equations if n in found]


def _equations(scene: Scene, system: System) -> None:
    """Write the lines below the picture, each with the id that the marks link to."""
    x, y, w, h = scene.bounds
    lines = equation_lines(system)
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
