"""Boxes of a row that other passes moved onto one another are set apart again, the freer one giving way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

GAP = 16.0  # room for a wire that leaves a node sideways


class Sized(Protocol):
    """A box by its centre, its width and what hangs on either side of it."""

    x: float
    width: float
    left: float
    right: float


def apart(rows: Mapping[str, int], boxes: Mapping[str, Sized], fixed: set[str], rightward: bool = False) -> None:
    """Move overlapping boxes to the nearest free place of their row; those in `fixed` stay. With `rightward` nothing
    moves left, so that no other coordinate has to follow."""
    by_row: dict[int, list[str]] = {}
    for key in boxes:
        by_row.setdefault(rows[key], []).append(key)
    for row in sorted(by_row):
        here = sorted(by_row[row], key=lambda k: (k not in fixed, boxes[k].x, k))
        placed: list[str] = []
        for key in here:
            if key not in fixed and any(_touch(boxes[key], boxes[k], 0.5) for k in placed):
                boxes[key].x = _nearest(boxes[key], [boxes[k] for k in placed], rightward)
            placed.append(key)


def _touch(a: Sized, b: Sized, slack: float) -> bool:
    return (
        min(a.x + a.width / 2 + a.right, b.x + b.width / 2 + b.right)
        - max(a.x - a.width / 2 - a.left, b.x - b.width / 2 - b.left)
        > slack
    )


def _nearest(box: Sized, others: list[Sized], rightward: bool) -> float:
    """The free centre closest to the box's own; there always is one beyond the last of the others."""
    start = box.x
    places: list[float] = []
    for other in others:
        places.append(other.x + other.width / 2 + other.right + GAP + box.left + box.width / 2)
        if not rightward:
            places.append(other.x - other.width / 2 - other.left - GAP - box.right - box.width / 2)
    free: list[float] = []
    for x in places:
        box.x = x
        if (x >= start or not rightward) and not any(_touch(box, other, 0.5) for other in others):
            free.append(x)
    box.x = start
    best = min((abs(x - start), x) for x in free)[1]
    return round(best, 1)
