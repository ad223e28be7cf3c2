"""Printing numbers on wires: each beside the longest straight part of its piece, where nothing else is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from viz import theme
from viz.layout import PILL
from viz.scene import Piece, Point, Scene
from viz.svg import NUMBER

SIZE = NUMBER
Rect = tuple[float, float, float, float]  # x0, y0, x1, y1
Array = np.ndarray[Any, Any]


def place(scene: Scene) -> None:
    """Choose `number_at` for every piece with a number; longer pieces choose last, they have more room. Those that
    still touch one another choose once more."""
    boxes = np.array(list(_boxes(scene))).reshape(-1, 4)
    wires = _wires(scene)
    wanted = sorted((p for p in scene.pieces if p.number), key=lambda p: (_length(p), p.id))
    taken = np.full((len(wanted), 4), np.nan)
    for n, piece in enumerate(wanted):
        taken[n] = _choose(piece, np.concatenate([boxes, taken[:n]]), wires)
    for n, piece in enumerate(wanted):
        others = np.concatenate([boxes, np.delete(taken, n, 0)])
        if _overlap(taken[n], others):
            taken[n] = _choose(piece, others, wires)


def _choose(piece: Piece, taken: Array, wires: Array) -> Rect:
    """Put a piece's number where it costs least: on no box, on few wires, near the middle of the piece. `wires` are
    points by x."""
    found = list(_candidates(piece, theme.text_width(piece.number, SIZE) + 2))
    x0, y0 = (min(c[2][k] for c in found) for k in (0, 1))
    x1, y1 = (max(c[2][k] for c in found) for k in (2, 3))
    near = wires[slice(*np.searchsorted(wires[:, 0], (x0, x1)))]  # most of the picture is far away
    near = near[(near[:, 1] > y0) & (near[:, 1] < y1)]
    taken = taken[(taken[:, 2] > x0) & (taken[:, 0] < x1) & (taken[:, 3] > y0) & (taken[:, 1] < y1)]
    best: tuple[float, int, Point, str, Rect] | None = None
    for n, (at, anchor, rect) in enumerate(found):
        inside = (near[:, 0] > rect[0]) & (near[:, 0] < rect[2]) & (near[:, 1] > rect[1]) & (near[:, 1] < rect[3])
        cost = 60.0 * _overlap(rect, taken) + float(inside.sum()) * 5.0 + n * 0.4
        if best is None or cost < best[0]:
            best = (cost, n, at, anchor, rect)
    assert best is not None  # every piece has a length
    _, _, piece.number_at, piece.anchor, rect = best
    return rect


def _boxes(scene: Scene) -> Iterable[Rect]:
    for m in scene.marks:
        yield (m.x - m.width / 2, m.y - m.height / 2, m.x + m.width / 2, m.y + m.height / 2)
        for p in m.pills:
            yield (p.x - p.width / 2, p.y - PILL / 2, p.x + p.width / 2, p.y + PILL / 2)
    for panel in scene.panels:
        yield (panel.x + 8, panel.y + 4, panel.x + 60, panel.y + 20)


def _overlap(rect: Any, others: Array) -> float:
    """A tenth of the area that a rectangle shares with each of the others, added up."""
    x = np.minimum(rect[2], others[:, 2]) - np.maximum(rect[0], others[:, 0])
    y = np.minimum(rect[3], others[:, 3]) - np.maximum(rect[1], others[:, 1])
    return float((np.maximum(x, 0.0) * np.maximum(y, 0.0)).sum()) / 10


def _wires(scene: Scene, every: float = 4.0) -> Array:
    """Points along all wires, by x."""
    found = [np.zeros((0, 2))]
    for piece in scene.pieces:
        p = np.array(piece.points)
        for k in range(0, len(p) - 3, 3):
            t = np.linspace(0, 1, max(2, int(np.abs(p[k + 3] - p[k]).sum() / every)), endpoint=False)[:, None]
            s = 1 - t
            found.append(s**3 * p[k] + 3 * t * s**2 * p[k + 1] + 3 * t**2 * s * p[k + 2] + t**3 * p[k + 3])
    out = np.concatenate(found)
    return out[np.argsort(out[:, 0], kind="stable")]


def samples(points: list[Point], every: float = 4.0) -> list[Point]:
    """Points along a chain of cubics."""
    out: list[Point] = []
    for k in range(0, len(points) - 3, 3):
        a, b, c, d = points[k : k + 4]
        n = max(2, int((abs(d[0] - a[0]) + abs(d[1] - a[1])) / every))
        for i in range(n):
            t = i / n
            w = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            out.append(
                (
                    sum(q * p[0] for q, p in zip(w, (a, b, c, d), strict=True)),
                    sum(q * p[1] for q, p in zip(w, (a, b, c, d), strict=True)),
                )
            )
    return out


def _length(piece: Piece) -> float:
    return max((abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in _straight(piece)), default=0.0)


def _straight(piece: Piece) -> list[tuple[Point, Point]]:
    """Its axis-parallel stretches that can bear a number, longest first."""
    found = []
    p = piece.points
    for k in range(0, len(p) - 3, 3):
        a, d = p[k], p[k + 3]
        if min(abs(a[0] - d[0]), abs(a[1] - d[1])) < 0.6 and abs(a[0] - d[0]) + abs(a[1] - d[1]) > SIZE:
            found.append((a, d))
    found.sort(key=lambda s: -(abs(s[0][0] - s[1][0]) + abs(s[0][1] - s[1][1])))
    return found


def _candidates(piece: Piece, width: float) -> Iterable[tuple[Point, str, Rect]]:
    half = SIZE / 2 + 1
    straight = _straight(piece)
    along = [] if straight else samples(piece.points)
    for x, y in (along[int(t * len(along))] for t in (0.5, 0.35, 0.65, 0.25, 0.75) if along):
        for away in (6.0, 12.0):
            yield (round(x + away, 1), round(y, 1)), "start", (x + away, y - half, x + away + width, y + half)
            yield (round(x - away, 1), round(y, 1)), "end", (x - away - width, y - half, x - away, y + half)
        for up in (-10.0, 11.0, -24.0, 24.0):
            beside = (x - width / 2, y + up - half, x + width / 2, y + up + half)
            yield (round(x, 1), round(y + up, 1)), "middle", beside
    for a, b in straight[:3]:
        for t in (0.5, 0.35, 0.65, 0.2, 0.8):
            x, y = a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t
            if abs(a[1] - b[1]) < 0.6:
                short = abs(a[0] - b[0]) < width + SIZE  # between two nodes: above or below both
                for dy in (-9.0, 10.0, -24.0, 24.0) if short else (-9.0, 10.0):
                    yield (
                        (round(x, 1), round(y + dy, 1)),
                        "middle",
                        (x - width / 2, y + dy - half, x + width / 2, y + dy + half),
                    )
            else:
                for away in (5.0, 13.0, 22.0):
                    right, left = x + away, x - away
                    yield (round(right, 1), round(y, 1)), "start", (right, y - half, right + width, y + half)
                    yield (round(left, 1), round(y, 1)), "end", (left - width, y - half, left, y + half)
