"""Matrices as shaded cells: alignments, spectrograms, small images, with names at their rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from viz import theme
from viz.drawing import Drawing
from viz.scene import Scene
from viz.svg import coordinate, rect, text

Array = np.ndarray[Any, Any]
TOP, GAP, LABEL = 58.0, 34.0, 11.0
LEVELS = theme.RAMP + 1  # the empty panel is the least


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

    Shades go from the least to the greatest value of each matrix in seven steps; both are printed beside its name.
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
    y, right = TOP, 18 + theme.text_width(title, 13.5)
    for first in range(0, len(items), across):
        x, bottom = left, y
        for name, panel in items[first : first + across]:
            width, height = _panel(scene, x, y, side, name, panel)
            named = x + theme.text_width(_caption(name, panel), LABEL)
            right, bottom = max(right, x + width, named), max(bottom, y + height)
            x += max(width, theme.text_width(_caption(name, panel), LABEL)) + left
        y = bottom + GAP
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


def _caption(name: str, panel: Heat) -> str:
    low, high = float(panel.values.min()), float(panel.values.max())
    return f"{name}   ({theme.number(low)} to {theme.number(high)})"


def _panel(scene: Scene, x: float, y: float, side: float, name: str, panel: Heat) -> tuple[float, float]:
    """Draw one matrix with its corner at (x, y); its width and height with all names."""
    values: Array = panel.values
    rows, columns = values.shape
    out = scene.extra
    out.append(text(x, y - 12, theme.label(_caption(name, panel)), LABEL, "start"))
    out.append(rect(x - 0.5, y - 0.5, side * columns + 1, side * rows + 1, "panel"))
    low, high = float(values.min()), float(values.max())
    shade = np.minimum(LEVELS - 1, ((values - low) / ((high - low) or 1.0) * LEVELS).astype(int))
    for level in range(1, LEVELS):
        data = "".join(_runs(shade == level, x, y, side))
        if data:
            out.append(f'<path class="cell r{level - 1}" d="{data}"/>')
    size = min(LABEL, max(6.0, side * 0.9))
    for r, said in enumerate(panel.rows):
        out.append(text(x - 6, y + side * (r + 0.5), theme.label(said), size, "end"))
    for c, said in enumerate(panel.columns):
        out.append(text(x + side * (c + 0.5), y + side * rows + 10, theme.label(said), size))
    below = y + side * rows + (18 if any(panel.columns) else 0)
    if panel.x:
        out.append(text(x + side * columns / 2, below + 10, theme.label(panel.x), LABEL, "middle", "muted"))
        below += 18
    if panel.y:
        out.append(text(x + side * columns + 6, y + side * rows / 2, theme.label(panel.y), LABEL, "start", "muted"))
    return side * columns + (10 + theme.text_width(panel.y, LABEL) if panel.y else 0), below - y


def _runs(chosen: Array, x: float, y: float, side: float) -> list[str]:
    """Path data of the chosen cells, neighbours in a row as one rectangle."""
    data = []
    for r, row in enumerate(chosen):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            width = coordinate(side * (b - a))
            data.append(f"M{coordinate(x + side * a)} {coordinate(y + side * r)}h{width}v{coordinate(side)}h-{width}z")
    return data
