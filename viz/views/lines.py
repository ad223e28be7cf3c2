"""Curves side by side: what an experiment compares, on one pair of axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from viz import theme
from viz.drawing import Drawing
from viz.plot import Frame, span, thinned
from viz.scene import Scene
from viz.svg import coordinate, text

LOOKS = [
    (f"net {role}", dash)
    for dash in ("", "7 3", "2 3")  # a dash repeats what colour says, and goes on where the colours end
    for role in ("state-b", "loss", "state-a", "skip", "gate")
]
WIDTH, HEIGHT = 520.0, 280.0


def lines(
    series: Mapping[str, Any],
    *,
    x: str = "step",
    y: str = "",
    title: str = "",
    log: bool = False,
    marks: bool = False,
    doubling: bool = False,
) -> Drawing:
    """Curves by name, each the values (n,) at 0, 1, … or a pair (xs, ys).

    log     a logarithmic y axis, on which values ≤ 0 leave a gap; values that are not finite leave one on either
    doubling   an x axis on which every doubling is as wide as any other; xs are positive
    marks   a dot at every point, for the few measured ones of a sweep

    `.data`: for every name `name.x` and `name.y`. Errors: ValueError for no curve, for more than fifteen (nobody
    could tell them apart), for xs and ys of different lengths, for a curve without points, for x ≤ 0 where it doubles.
    """
    if not series or len(series) > len(LOOKS):
        raise ValueError(f"lines: expected 1 to {len(LOOKS)} curves, given {len(series)}")
    curves = {name: _points(name, values) for name, values in series.items()}
    xs = np.concatenate([c[0] for c in curves.values()])
    ys = np.concatenate([c[1] for c in curves.values()])
    if doubling and xs.min() <= 0:
        raise ValueError(f"lines: an axis that doubles has no place for x = {xs.min():g}")
    ends = np.log2(xs) if doubling else xs
    low, high = float(ends.min()), float(ends.max())
    frame = Frame(70, 54, WIDTH, HEIGHT, (low, high if high > low else low + 1), span(ys, log), log, doubling)
    scene = Scene("lines", title or ", ".join(curves))
    out = scene.extra
    out.append(text(70, 20, theme.label(title), 13.5, "start"))
    out += frame.axes(x, y, whole=doubling or bool((xs == np.round(xs)).all()))
    for n, (name, (px, py)) in enumerate(curves.items()):
        classes, dash = LOOKS[n]
        thin_x, thin_y = thinned(px, py) if np.isfinite(py).all() else (px, py)
        out.append(frame.line([float(v) for v in thin_x], [float(v) for v in thin_y], classes, 1.8, dash))
        good = np.isfinite(py) & ((py > 0) | (not log))
        if marks or good.sum() == 1:
            out.append(frame.dots(list(px[good]), list(py[good]), classes.removeprefix("net ")))
        out.append(_key(frame, n, classes, dash, name))
    scene.bounds = (0.0, 0.0, 70 + WIDTH + 40 + 7.0 * max(map(len, curves)) + 30, 54 + HEIGHT + 44)
    return Drawing(scene, {f"{n}.{axis}": v for n, c in curves.items() for axis, v in zip("xy", c, strict=True)})


def _points(name: str, values: Any) -> tuple[Any, Any]:
    pair = values if isinstance(values, tuple) else (np.arange(len(values)), values)
    xs, ys = (np.asarray(v, float).ravel() for v in pair)
    if len(xs) != len(ys) or not len(xs):
        raise ValueError(f"{name}: expected as many x as y, at least one, given {len(xs)} and {len(ys)}")
    return xs, ys


def _key(frame: Frame, n: int, classes: str, dash: str, name: str) -> str:
    """A line of the legend, right of the frame."""
    x, y = frame.x + frame.width + 12, frame.y + 10 + 19 * n
    dashes = f";stroke-dasharray:{dash}" if dash else ""
    wire = f'<path class="wire" style="stroke-width:2{dashes}" d="M{coordinate(x)} {coordinate(y)}h22"/>'
    return f'<g class="{classes}">{wire}</g>' + text(x + 28, y, theme.label(name), 11, "start")
