"""Handwriting: what a pen that moves and is lifted has written, a line of it under another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from viz import theme
from viz.drawing import Drawing
from viz.scene import Scene
from viz.svg import coordinate, stroke, text

WIDTH, MARGIN, LABEL = 640.0, 24.0, 11.0


def pen(lines: Mapping[str, Any], *, title: str = "") -> Drawing:
    """Lines of writing by name, each (T, 3): dx, dy (up is positive) and 1 where the stroke ends, as A. Graves (2013)
    has them. All are drawn at one scale.

    `.data`: for each name the places of the pen, (T, 2). Errors: ValueError for no line and for another shape.
    """
    if not lines:
        raise ValueError("pen: expected one line or more, given none")
    places, ends = {}, {}
    for name, moves in lines.items():
        array = np.asarray(moves, float)
        if array.ndim != 2 or array.shape[1] != 3 or not len(array) or not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite moves (T, 3), given shape {array.shape}")
        places[name], ends[name] = np.cumsum(array[:, :2], axis=0), array[:, 2] > 0.5
    widest = max(float(np.ptp(p[:, 0])) for p in places.values())
    scale = WIDTH / widest if widest else 1.0
    scene = Scene("pen", title or ", ".join(lines))
    scene.extra.append(text(MARGIN, 20, theme.label(title), 13.5, "start"))
    y = 46.0
    for name, place in places.items():
        scene.extra.append(text(MARGIN, y, theme.label(name), LABEL, "start", "muted"))
        low, high = place.min(axis=0), place.max(axis=0)
        top = y + 14
        across = MARGIN + scale * (place[:, 0] - low[0])
        down = top + scale * (high[1] - place[:, 1])
        scene.extra.append(f'<g class="net state-b">{stroke(_path(across, down, ends[name]), 1.6)}</g>')
        y = top + scale * float(high[1] - low[1]) + 26
    scene.bounds = (0.0, 0.0, WIDTH + 2 * MARGIN, y)
    return Drawing(scene, dict(places))


def _path(xs: Any, ys: Any, ends: Any) -> str:
    """A line through the places, broken behind each end of a stroke; a stroke of one place is a dot."""
    lifted = np.concatenate([[True], ends[:-1]])
    data = []
    for x, y, up, end in zip(xs, ys, lifted, ends, strict=True):
        data.append(f"{'M' if up else 'L'}{coordinate(float(x))} {coordinate(float(y))}")
        if up and end:
            data.append("h0.1")
    return "".join(data)
