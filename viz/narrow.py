"""Width that nothing needs is taken out of a step: strips that no box and no riser stands in.

Graphviz leaves room for what later moves to the rim or beyond it; where that leaves a strip empty from the top of the
step to its bottom, everything right of it moves up. Order and rows stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

ROOM = 40.0  # a strip that stays: a number on a wire fits in
RISER = 10.0


class Sized(Protocol):
    """A box by its centre, its width and what hangs on either side of it."""

    x: float
    width: float
    left: float
    right: float


def narrow(boxes: Mapping[str, Sized], trunks: Iterable[dict[int, float]]) -> None:
    """Close empty strips wider than `ROOM`; the boxes' and the risers' x change."""
    risers = list(trunks)
    spans = [(b.x - b.width / 2 - b.left, b.x + b.width / 2 + b.right) for b in boxes.values()]
    spans += [(x - RISER / 2, x + RISER / 2) for trunk in risers for x in trunk.values()]
    cuts: list[tuple[float, float]] = []  # from which x on, and by how much in all
    reach, total = min((a for a, _ in spans), default=0.0), 0.0
    for low, high in sorted(spans):
        if low - reach > ROOM + 0.1:
            total += low - reach - ROOM
            cuts.append((low, total))
        reach = max(reach, high)

    def moved(x: float, edge: float) -> float:
        return round(x - max((by for start, by in cuts if start <= edge + 0.01), default=0.0), 1)

    for box in boxes.values():
        box.x = moved(box.x, box.x - box.width / 2 - box.left)
    for trunk in risers:
        trunk.update({row: moved(x, x - RISER / 2) for row, x in trunk.items()})
