"""Curves side by side: what an experiment compares, on one pair of axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from viz import theme
from viz.drawing import Drawing
from viz.plot import Frame, span, thinned
from viz.scene import Scene
from viz.svg import text

LOOKS = [
    (f"net {role}", dash)
    for dash in ("", "7 3", "2 3")  # a dash repeats what colour says, and goes on where the colours end
    for role in ("state-b", "loss", "state-a", "skip", "gate")
]
LEVELS = ("1 3", "5 3", "9 3", "9 3 2 3", "5 3 1 3", "2 6")
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
    levels: Mapping[str, float] | None = None,
) -> Drawing:
    """Curves by name, each the values (n,) at 0, 1, … or a pair (xs, ys).

    log     a logarithmic y axis, on which values ≤ 0 leave a gap; values that are not finite leave one on either
    doubling   an x axis on which every doubling is as wide as any other; xs are positive
    marks   a dot at every point, for the few measured ones of a sweep
    levels  what curves are measured against, by name: grey dashed lines from side to side, behind them

    One curve alone is named by the axis, without a legend. `.data`: for every name `name.x` and `name.y`, for a level
    `name`. Errors: ValueError for no curve, for more than fifteen or six levels (nobody could tell them apart), for a
    level named as a curve is, for xs and ys of different lengths, for a curve without points, for x ≤ 0 where it
    doubles, for a level ≤ 0 on a logarithmic axis.
    """
    levels = {name: float(value) for name, value in (levels or {}).items()}
    curves = _curves(series, levels, log)
    xs = np.concatenate([c[0] for c in curves.values()])
    ys = np.concatenate([*(c[1] for c in curves.values()), list(levels.values())])
    if doubling and xs.min() <= 0:
        raise ValueError(f"lines: an axis that doubles has no place for x = {xs.min():g}")
    ends = np.log2(xs) if doubling else xs
    low, high = float(ends.min()), float(ends.max())
    frame = Frame(70, 54, WIDTH, HEIGHT, (low, high if high > low else low + 1), span(ys, log), log, doubling)
    scene = Scene("lines", title or ", ".join(curves))
    named = len(curves) + len(levels) > 1 or not y
    out = scene.extra
    out.append(text(70, 20, theme.label(title), 13.5, "start"))
    whole = doubling or bool((xs == np.round(xs)).all())
    out += frame.axes(x, y, whole, columns=_lengths(xs) if doubling else ())
    for n, (name, level) in enumerate(levels.items()):
        out.append(
            frame.line(xs=_ends(low, high, doubling), ys=[level, level], classes="net", width=1.4, dash=LEVELS[n])
        )
        out.append(frame.key(len(curves) + n, "net", LEVELS[n], name))
    for n, (name, (px, py)) in enumerate(curves.items()):
        classes, dash = LOOKS[n]
        thin_x, thin_y = thinned(px, py) if np.isfinite(py).all() else (px, py)
        out.append(frame.line([float(v) for v in thin_x], [float(v) for v in thin_y], classes, 1.8, dash))
        good = np.isfinite(py) & ((py > 0) | (not log))
        if marks or good.sum() == 1:
            out.append(frame.dots(list(px[good]), list(py[good]), classes.removeprefix("net ")))
        if named:
            out.append(frame.key(n, classes, dash, name))
    beside = 40 + 7.0 * max(map(len, [*curves, *levels])) if named else 0.0
    scene.bounds = (0.0, 0.0, 70 + WIDTH + beside + 30, 54 + HEIGHT + 44)
    data = {f"{n}.{axis}": v for n, c in curves.items() for axis, v in zip("xy", c, strict=True)}
    return Drawing(scene, data | {name: np.array(level) for name, level in levels.items()})


def _curves(series: Mapping[str, Any], levels: Mapping[str, float], log: bool) -> dict[str, tuple[Any, Any]]:
    """The points of every curve, once there is nothing wrong with their number and the levels."""
    if not series or len(series) > len(LOOKS):
        raise ValueError(f"lines: expected 1 to {len(LOOKS)} curves, given {len(series)}")
    if len(levels) > len(LEVELS) or levels.keys() & series.keys():
        raise ValueError(f"lines: expected up to {len(LEVELS)} levels, named unlike the curves, given {list(levels)}")
    if log and min(levels.values(), default=1.0) <= 0:
        raise ValueError("lines: a logarithmic axis has no place for a level ≤ 0")
    return {name: _points(name, values) for name, values in series.items()}


def _ends(low: float, high: float, doubling: bool) -> list[float]:
    return [2**low, 2**high] if doubling else [low, high]


def _lengths(xs: Any) -> list[float]:
    """A few lengths, each about twice the one before: the ticks are those; else none."""
    found = np.unique(xs)
    return found.tolist() if len(found) <= 8 and (found[1:] >= 1.5 * found[:-1]).all() else []


def _points(name: str, values: Any) -> tuple[Any, Any]:
    pair = values if isinstance(values, tuple) else (np.arange(len(values)), values)
    xs, ys = (np.asarray(v, float).ravel() for v in pair)
    if len(xs) != len(ys) or not len(xs):
        raise ValueError(f"{name}: expected as many x as y, at least one, given {len(xs)} and {len(ys)}")
    return xs, ys
