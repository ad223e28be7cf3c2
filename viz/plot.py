"""Small plots on the drawings' own emitter: axes, lines, cells. Everything is placed in px."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from viz import theme
from viz.svg import coordinate, rect, stroke, text

Array = np.ndarray[Any, Any]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between low and high, at most about `most`."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, most)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass
class Frame:
    """A plotting area with its scales; y grows upward, `log` takes log10 of y, `doubling` log2 of x."""

    x: float
    y: float
    width: float
    height: float
    xs: tuple[float, float]
    ys: tuple[float, float]
    log: bool = False
    doubling: bool = False

    def at(self, x: float, y: float) -> tuple[float, float]:
        value = math.log10(y) if self.log else y
        x = math.log2(x) if self.doubling else x
        across = (x - self.xs[0]) / ((self.xs[1] - self.xs[0]) or 1.0)
        up = (value - self.ys[0]) / ((self.ys[1] - self.ys[0]) or 1.0)
        return (self.x + across * self.width, self.y + self.height * (1 - up))

    def box(self) -> str:
        return rect(self.x, self.y, self.width, self.height, "panel", 3)

    def axes(
        self,
        xlabel: str,
        ylabel: str | theme.Label,
        whole: bool = True,
        rows: bool = False,
        columns: Sequence[float] = (),
    ) -> list[str]:
        """Frame, ticks and labels; with `log`, ticks are powers of ten. `whole` keeps x ticks integers, `rows` those of
        y; `columns` are the x ticks themselves."""
        out = [self.box()]
        given = [math.log2(v) if self.doubling else v for v in columns]
        for v in given or ticks(*self.xs):
            if whole and not given and v != int(v):
                continue
            px = self.x + (v - self.xs[0]) / ((self.xs[1] - self.xs[0]) or 1.0) * self.width
            out.append(self._tick(px, self.y + self.height, 0, 4))
            out.append(
                text(
                    px,
                    self.y + self.height + 13,
                    theme.label(f"{2**v if self.doubling else v:g}"),
                    10.5,
                    "middle",
                    "muted",
                )
            )
        levels = ticks(*self.ys)
        powers = [v for v in levels if v == int(v)]
        tens = self.log and len(powers) > 1  # a range within one decade is labelled by numbers
        for v in powers if tens or rows else levels:
            py = self.y + self.height * (1 - (v - self.ys[0]) / ((self.ys[1] - self.ys[0]) or 1.0))
            out.append(self._tick(self.x, py, -4, 0))
            plain = f"{10**v:.2g}" if self.log else f"{v:g}"
            shown = theme.label("10", sup=f"{v:g}".replace("-", "−")) if tens else theme.label(plain)
            out.append(text(self.x - 7, py, shown, 10.5, "end", "muted"))
        out.append(text(self.x + self.width / 2, self.y + self.height + 29, theme.label(xlabel), 11.5, "middle"))
        above = theme.label(ylabel) if isinstance(ylabel, str) else ylabel
        out.append(text(self.x, self.y - 11, above, 11.5, "start"))
        return out

    def _tick(self, x: float, y: float, dx: float, dy: float) -> str:
        return stroke(f"M{coordinate(x)} {coordinate(y)}l{coordinate(dx)} {coordinate(dy)}", 1)

    def line(self, xs: Sequence[float], ys: Sequence[float], classes: str, width: float = 1.6, dash: str = "") -> str:
        """A line through the points with finite (and, on a log scale, positive) y; gaps elsewhere."""
        data, pen = [], False
        for x, y in zip(xs, ys, strict=True):
            if not math.isfinite(y) or (self.log and y <= 0):
                pen = False
                continue
            px, py = self.at(x, y)
            data.append(f"{'L' if pen else 'M'}{coordinate(px)} {coordinate(py)}")
            pen = True
        return f'<g class="{classes}">{stroke("".join(data), width, dash)}</g>'

    def dots(self, xs: Sequence[float], ys: Sequence[float], classes: str, radius: float = 3.0) -> str:
        marks = "".join(
            f'<circle class="body" cx="{coordinate(px)}" cy="{coordinate(py)}" r="{coordinate(radius)}"/>'
            for px, py in (self.at(x, y) for x, y in zip(xs, ys, strict=True))
        )
        return f'<g class="{classes}">{marks}</g>'

    def key(self, n: int, classes: str, dash: str, name: str) -> str:
        """Line n of the legend, right of the frame."""
        x, y = self.x + self.width + 12, self.y + 10 + 19 * n
        dashes = f";stroke-dasharray:{dash}" if dash else ""
        wire = f'<path class="wire" style="stroke-width:2{dashes}" d="M{coordinate(x)} {coordinate(y)}h22"/>'
        return f'<g class="{classes}">{wire}</g>' + text(x + 28, y, theme.label(name), 11, "start")


def shades(values: Array) -> Array:
    """Which of seven shades each value has, by its place between the least and the greatest; 0 is the empty panel."""
    low, high = float(values.min()), float(values.max())
    found: Array = np.minimum(theme.RAMP, ((values - low) / ((high - low) or 1.0) * (theme.RAMP + 1)).astype(int))
    return found


def cells(shade: Array, x: float, y: float, width: float, height: float) -> list[str]:
    """A matrix of `shades` with its corner at (x, y), row 0 on top; `width` and `height` are a cell's."""
    out = []
    for level in range(1, theme.RAMP + 1):
        data = "".join(_runs(shade == level, x, y, width, height))
        if data:
            out.append(f'<path class="cell r{level - 1}" d="{data}"/>')
    return out


def _runs(chosen: Array, x: float, y: float, width: float, height: float) -> list[str]:
    """Path data of the chosen cells, neighbours in a row as one rectangle; edges are rounded before sizes are taken, so
    that rectangles meet."""
    rows, columns = chosen.shape
    xs, ys = (
        [round(at + size * k, 1) for k in range(count + 1)]
        for at, size, count in ((x, width, columns), (y, height, rows))
    )
    data = []
    for r, row in enumerate(chosen):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            wide, tall = coordinate(xs[b] - xs[a]), coordinate(ys[r + 1] - ys[r])
            data.append(f"M{coordinate(xs[a])} {coordinate(ys[r])}h{wide}v{tall}h-{wide}z")
    return data


def thinned(xs: Array, ys: Array, most: int = 900) -> tuple[list[float], list[float]]:
    """At most about `most` points of a long curve: each bin's first, least and greatest, so no peak is lost."""
    if len(xs) <= most:
        return [float(x) for x in xs], [float(y) for y in ys]
    edges = np.linspace(0, len(xs), most // 3 + 1).astype(int)
    keep: list[int] = []
    for a, b in zip(edges, edges[1:], strict=False):
        part = ys[a:b]
        keep += sorted({int(a), int(a + np.argmin(part)), int(a + np.argmax(part))})
    return [float(xs[k]) for k in keep], [float(ys[k]) for k in keep]


def smoothed(values: Array, log: bool = False) -> Array:
    """Each value's mean with its neighbours, a hundredth of the curve in all (of their logarithms with `log`); what is
    not finite, or with `log` not positive, is left out. A curve of fewer than two hundred values stays as it is."""
    half = len(values) // 200
    if half < 1:
        return values
    good = np.isfinite(values) & ((values > 0) | (not log))
    plain = np.where(good, values, 1.0)
    sums = np.cumsum(np.concatenate([[0.0], np.where(good, np.log(plain) if log else plain, 0.0)]))
    counts = np.cumsum(np.concatenate([[0], good]))
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    known = counts[high] - counts[low]
    mean = (sums[high] - sums[low]) / np.maximum(known, 1)
    return np.where(known > 0, np.exp(mean) if log else mean, np.nan)


def span(values: Array, log: bool = False) -> tuple[float, float]:
    """The range of the finite values with some air; of their log10 with `log`."""
    good = values[np.isfinite(values)]
    if log:
        good = np.log10(good[good > 0])
    if not len(good):
        return (0.0, 1.0)
    low, high = float(good.min()), float(good.max())
    flat = high - low <= theme.EQUAL * (1.0 if log else max(abs(low), abs(high)))  # rounding is no shape of a curve
    air = 0.5 if flat else 0.05 * (high - low)
    return (low - air, high + air)
