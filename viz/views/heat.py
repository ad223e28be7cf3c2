"""Matrices as shaded cells: alignments, spectrograms, small images, with names at their rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from viz import theme
from viz.drawing import Drawing
from viz.plot import cells, shades
from viz.scene import Scene
from viz.svg import rect, text

Array = np.ndarray[Any, Any]
TOP, GAP, LABEL, RANGE = 68.0, 46.0, 11.0, 9.0


@dataclass(frozen=True)
class Heat:
    """One matrix of a picture.

    values         (rows, columns); row 0 is on top
    rows, columns  a name for each ("" for none), beside its row or below its column
    y, x           what rows and columns are
    """

    values: Any
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    y: str = ""
    x: str = ""


def heat(panels: Mapping[str, Any], *, title: str = "", across: int = 1, side: float | None = None) -> Drawing:
    """Matrices by name, each a `Heat` or an array (rows, columns), `across` of them side by side.

    side   px of a cell (default: so that the widest matrix is about 520 wide)

    Shades go from the least to the greatest value of each matrix in seven steps; both are printed below its name, what
    is less than a thousandth of the other as 0. Matrices one above the other begin at the same place.
    `.data` has every matrix. Errors: ValueError for no matrix, one that is not finite or has no cell, and for names
    that are not as many as rows or columns.
    """
    if not panels:
        raise ValueError("heat: expected one matrix or more, given none")
    if across < 1:
        raise ValueError(f"across: expected 1 or more, given {across}")
    found = {name: _checked(name, panel) for name, panel in panels.items()}
    shapes = [np.shape(p.values) for p in found.values()]
    widest, tallest = max(s[1] for s in shapes), max(s[0] for s in shapes)
    if side is None:
        side = min(22.0, max(2.0, 520.0 / max(widest * min(across, len(found)), tallest)))
    left = 18.0 + max(theme.text_width(n, LABEL) for p in found.values() for n in ("", *p.rows))
    scene = Scene("heat", title or ", ".join(found))
    scene.extra.append(text(18, 20, theme.label(title), 13.5, "start"))
    items = list(found.items())
    widths = [
        max(_width(name, panel, side) for name, panel in items[n::across]) for n in range(min(across, len(items)))
    ]
    y = TOP
    for first in range(0, len(items), across):
        x, bottom = left, y
        for (name, panel), width in zip(items[first : first + across], widths, strict=False):
            bottom = max(bottom, y + _panel(scene, x, y, side, name, panel))
            x += width + left
        y = bottom + GAP
    right = max(18 + theme.text_width(title, 13.5), sum(widths) + left * len(widths))
    scene.bounds = (0.0, 0.0, right + 24, y)
    return Drawing(scene, {name: np.asarray(p.values) for name, p in items})


def _checked(name: str, panel: Any) -> Heat:
    found = panel if isinstance(panel, Heat) else Heat(panel)
    values = np.asarray(found.values, float)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected a matrix of finite numbers, given shape {values.shape}")
    for kind, names, size in (("rows", found.rows, values.shape[0]), ("columns", found.columns, values.shape[1])):
        if len(names) not in (0, size):
            raise ValueError(f"{name}: expected {size} names of {kind}, given {len(names)}")
    return Heat(values, found.rows, found.columns, found.y, found.x)


def _range(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    least = max(abs(low), abs(high)) / 1000
    return " to ".join(theme.number(0.0 if abs(v) < least else v) for v in (low, high))


def _width(name: str, panel: Heat, side: float) -> float:
    """How far a matrix reaches from its left edge, with its names."""
    beside = 10 + theme.text_width(panel.y, LABEL) if panel.y else 0
    said = max(theme.text_width(name, LABEL), theme.text_width(_range(panel.values), RANGE))
    return float(max(side * panel.values.shape[1] + beside, said))


def _panel(scene: Scene, x: float, y: float, side: float, name: str, panel: Heat) -> float:
    """Draw one matrix with its corner at (x, y); its height with all names."""
    values: Array = panel.values
    rows, columns = values.shape
    out = scene.extra
    out.append(text(x, y - 24, theme.label(name), LABEL, "start"))
    out.append(text(x, y - 10, theme.label(_range(values)), RANGE, "start", "muted"))
    out.append(rect(x - 0.5, y - 0.5, side * columns + 1, side * rows + 1, "panel"))
    out += cells(shades(values), x, y, side, side)
    size = min(LABEL, max(6.0, side * 0.9))
    for r, said in enumerate(panel.rows):
        out.append(text(x - 6, y + side * (r + 0.5), theme.label(said), size, "end"))
    for c, said in enumerate(panel.columns):
        fits = min(size, max(6.0, size * 0.95 * side / max(theme.text_width(said, size), 1e-9)))
        out.append(text(x + side * (c + 0.5), y + side * rows + 10, theme.label(said), fits))
    below = y + side * rows + (18 if any(panel.columns) else 0)
    if panel.x:
        out.append(text(x + side * columns / 2, below + 10, theme.label(panel.x), LABEL, "middle", "muted"))
        below += 18
    if panel.y:
        out.append(text(x + side * columns + 6, y + side * rows / 2, theme.label(panel.y), LABEL, "start", "muted"))
    return float(below - y)
