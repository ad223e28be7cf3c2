"""Where on its loop a delay square stands: as near to the middle as other wires and nodes leave room for it and for the
name beside it. Chosen last, when everything else of a folded picture has its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from viz import theme
from viz.numbering import samples
from viz.route import BEND, line
from viz.scene import Mark, Piece, Scene, Text

CLEAR = 5.0  # between a square, or the name beside it, and what passes


@dataclass
class Delay:
    """A square, the name beside it, and the level stretch of its loop that it can stand on."""

    mark: Mark
    name: Text
    low: float
    high: float


def place(scene: Scene, delays: Sequence[Delay]) -> None:
    """Move the squares of a picture, each along its own line; the wires that meet in one stay joined there."""
    lines = [(p, np.array([*samples(p.points, 3.0), p.points[-1]])) for p in scene.pieces]
    for delay in delays:
        _shift(scene, delay, _nearest(delay, _busy(scene, delay, lines)))


def _busy(scene: Scene, delay: Delay, lines: Sequence[tuple[Piece, np.ndarray]]) -> list[tuple[float, float]]:
    """The stretches of x in which something else comes near the line's height."""
    mark = delay.mark
    top, bottom = mark.y - mark.height / 2 - CLEAR, mark.y + mark.height / 2 + CLEAR
    found = []
    for piece, points in lines:
        level = np.abs(points[:, 1] - mark.y) < 0.6
        if np.any(level[1:] & level[:-1] & (points[1:, 0] != points[:-1, 0])) and delay.mark.node.key in _own(piece):
            continue
        near = points[(points[:, 1] > top) & (points[:, 1] < bottom), 0]
        found += [(float(x), float(x)) for x in near]
    for m in scene.marks:
        if m is not mark and m.y - m.height / 2 < bottom and m.y + m.height / 2 > top:
            found.append((m.x - m.width / 2, m.x + m.width / 2))
    return found


def _own(piece: Piece) -> set[str]:
    return {f"delay:{r.wire.source}:{r.wire.lag:+d}" for r in piece.reads}


def _nearest(delay: Delay, busy: Sequence[tuple[float, float]]) -> float:
    """The free place nearest to where the square is; without its name where there is none for both."""
    x, half = delay.mark.x, delay.mark.width / 2 + CLEAR
    low, high = delay.low + BEND + half, delay.high - BEND - half
    for reach in (half + (delay.name.x - x) + theme.label_width(delay.name.label, delay.name.size), half):
        places = [x, *(a - reach - 0.1 for a, _ in busy), *(b + half + 0.1 for _, b in busy)]
        free = [p for p in places if low <= p <= high and all(b <= p - half or a >= p + reach for a, b in busy)]
        if free:
            return round(float(min(free, key=lambda p: (abs(p - x), p))), 1)
    return x


def _shift(scene: Scene, delay: Delay, x: float) -> None:
    mark = delay.mark
    old = (mark.x, mark.y)
    delay.name.x, mark.x = round(delay.name.x + x - mark.x, 1), x
    for piece in scene.pieces:
        points = piece.points
        if mark.node.key not in _own(piece):
            continue
        if points[-1] == old:
            piece.points = [*points[:-3], *line(points[-4], (x, mark.y))]
        if points[0] == old:
            piece.points = [(x, mark.y), *line((x, mark.y), points[3]), *points[4:]]
