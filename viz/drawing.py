"""A finished picture: SVG, DOT and HTML of one scene, the numbers in it, and how a notebook shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from tinygrad_seq.files import write_file
from viz import paint, pinned, svg, theme, worker
from viz.scene import Scene

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>body{{margin:24px;background:{light};font-family:sans-serif}}
@media (prefers-color-scheme:dark){{body{{background:{dark}}}}}
main{{overflow-x:auto}}main>svg{{max-width:none;height:auto}}</style></head>
<body><main>{svg}</main></body></html>
"""


class Drawing:
    """What every view returns.

    .svg .dot .html   the picture as text; .dot is pinned (layout program "nop2", or `neato -n2`)
    .save(path)       writes the form that the suffix names, atomically
    .data             every number that is drawn, as arrays
    """

    def __init__(
        self, scene: Scene, data: Mapping[str, Any] | None = None, dot: Callable[[], str] | None = None
    ) -> None:
        self.scene = scene
        self.data: dict[str, Any] = dict(data or {})
        self._dot = dot

    @property
    def title(self) -> str:
        return self.scene.title

    @cached_property
    def svg(self) -> str:
        return svg.write(self.scene)

    @cached_property
    def dot(self) -> str:
        """A graph's nodes and wires, pinned; a plot, which has none, as drawing operations that Graphviz paints."""
        if self._dot:
            return self._dot()
        return pinned.write(self.scene) if self.scene.marks else paint.write(self.svg, self.scene.bounds)

    @cached_property
    def html(self) -> str:
        light, dark = theme.COLOURS["surface"]
        return _PAGE.format(title=escape(self.title), svg=self.svg, light=light, dark=dark)

    def save(self, path: str | Path) -> Path:
        """Write to `*.svg`, `*.html`, `*.dot`, or by Graphviz to `*.png`, `*.pdf`; the file is complete or untouched.

        Errors: ValueError for another suffix; OSError naming the path where it cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in (".png", ".pdf"):
            return write_file(path, worker.render(paint.write(self.svg, self.scene.bounds), suffix[1:]), parents=False)
        forms = {".svg": "svg", ".html": "html", ".htm": "html", ".dot": "dot", ".gv": "dot"}
        if suffix not in forms:
            raise ValueError(f"cannot save a drawing as {path.name!r}: use .svg, .html, .dot, .png or .pdf")
        return write_file(path, getattr(self, forms[suffix]).encode(), parents=False)

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.svg}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/html": self._repr_html_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        _, _, w, h = self.scene.bounds
        return f"<Drawing {self.title!r}, {w:.0f} × {h:.0f}>"
