"""A function of two numbers from above, and ways across it: what descent sees of an error, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from viz import theme
from viz.drawing import Drawing
from viz.plot import Frame, cells, shades
from viz.scene import Scene
from viz.svg import rect, text

Array = np.ndarray[Any, Any]
LOOKS = (("net state-b", ""), ("net state-a", "7 3"), ("net skip", "2 3"))  # colours that the shades have not
WIDTH, HEIGHT, LEFT, TOP = 520.0, 400.0, 70.0, 54.0
DECADES = 3


def surface(
    values: Any,
    xs: Any,
    ys: Any,
    *,
    paths: Mapping[str, tuple[Any, Any]] | None = None,
    x: str = "x",
    y: str = "y",
    z: str = "",
    title: str = "",
    log: bool = False,
) -> Drawing:
    """`values` (rows, columns) of a function at `ys` (rows,) and `xs` (columns,), both evenly spaced and rising.

    paths   lines across it by name, each a pair (xs, ys); a dot where it begins
    log     shades by the logarithm, down to a thousandth of the greatest value; below that all have the least shade

    Seven shades go from the least value to the greatest; the legend, headed `z`, has the range of each.
    `.data`: `values`, `xs`, `ys`, and for every path `name.x` and `name.y`. Errors: ValueError for another shape, what
    is not finite, places that are not evenly spaced, no value above 0 with `log`, more than three paths, and a path
    that leaves the surface.
    """
    found = np.asarray(values, float)
    places = _places("xs", xs), _places("ys", ys)
    if found.shape != (len(places[1]), len(places[0])) or not np.isfinite(found).all():
        raise ValueError(
            f"surface: expected finite values {(len(places[1]), len(places[0]))}, given shape {found.shape}"
        )
    if log and found.max() <= 0:
        raise ValueError("surface: a logarithmic scale has no place for values that are all ≤ 0")
    ends = [(p[0] - (p[1] - p[0]) / 2, p[-1] + (p[1] - p[0]) / 2) for p in places]
    ways = {name: _way(name, way, ends) for name, way in (paths or {}).items()}
    if len(ways) > len(LOOKS):
        raise ValueError(f"surface: expected up to {len(LOOKS)} paths, given {len(ways)}")
    shown = np.log10(np.maximum(found, found.max() * 10.0**-DECADES)) if log else found
    frame = Frame(LEFT, TOP, WIDTH, HEIGHT, ends[0], ends[1])
    scene = Scene("surface", title or z or "surface")
    out = scene.extra
    out.append(text(LEFT, 20, theme.label(title), 13.5, "start"))
    out += frame.axes(x, y, whole=False)
    out += cells(shades(shown)[::-1], LEFT, TOP, WIDTH / found.shape[1], HEIGHT / found.shape[0])
    for n, (name, (px, py)) in enumerate(ways.items()):
        classes, dash = LOOKS[n]
        out.append(frame.line(px.tolist(), py.tolist(), classes, 1.8, dash))
        out.append(frame.dots([float(px[0])], [float(py[0])], classes.removeprefix("net ")))
        out.append(frame.key(n, classes, dash, name))
    said = _legend(out, len(ways), z, shown, found, log)
    widest = max(theme.text_width(words, 11.0) for words in [*ways, z, *said])
    scene.bounds = (0.0, 0.0, LEFT + WIDTH + 40 + widest + 24, TOP + HEIGHT + 44)
    data = {f"{name}.{axis}": v for name, way in ways.items() for axis, v in zip("xy", way, strict=True)}
    return Drawing(scene, {"values": found, "xs": places[0], "ys": places[1]} | data)


def _places(name: str, given: Any) -> Array:
    found = np.asarray(given, float)
    steps = np.diff(found)
    if found.ndim != 1 or len(found) < 2 or not (steps > 0).all() or not np.allclose(steps, steps[0], rtol=1e-6):
        raise ValueError(f"{name}: expected two or more evenly spaced, rising numbers, given shape {found.shape}")
    return found


def _way(name: str, way: tuple[Any, Any], ends: list[tuple[float, float]]) -> tuple[Array, Array]:
    px, py = (np.asarray(v, float).ravel() for v in way)
    if len(px) != len(py) or not len(px):
        raise ValueError(f"{name}: expected as many x as y, at least one, given {len(px)} and {len(py)}")
    for axis, v, (low, high) in zip("xy", (px, py), ends, strict=True):
        if not ((v >= low) & (v <= high)).all():
            raise ValueError(f"{name}: leaves the surface, whose {axis} go from {low:g} to {high:g}")
    return px, py


def _legend(out: list[str], above: int, z: str, shown: Array, found: Array, log: bool) -> list[str]:
    """A patch of every shade with the values it stands for, below the names of the paths; what it says."""
    left, top = LEFT + WIDTH + 12, TOP + 10 + 19 * above + (12 if above else 0)
    out.append(text(left, top, theme.label(z), 11, "start"))
    edges = np.linspace(shown.min(), shown.max(), theme.RAMP + 2)
    edges = 10**edges if log else edges
    edges[0], edges[-1] = found.min(), found.max()
    said = []
    for level in reversed(range(theme.RAMP + 1)):
        at = top + 19 * (theme.RAMP + 1 - level)
        out.append(rect(left, at - 7, 22, 14, f"cell r{level - 1}" if level else "panel"))
        said.append(f"{theme.number(float(edges[level]))} to {theme.number(float(edges[level + 1]))}")
        out.append(text(left + 28, at, theme.label(said[-1]), 11, "start"))
    return said
