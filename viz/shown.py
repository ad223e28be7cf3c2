"""Which steps of a lane are drawn: all of a few, the first and the last of many, fewer where each is wide."""

from __future__ import annotations

from collections.abc import Sequence

from viz.step import Step
from viz.tiling import ELISION, GAP, PAD

SCREEN = 2740.0  # what is wider is not read at a glance
ENDS = 150.0  # of that, for the boundaries


def shown_steps(length: int, keep: Sequence[int] = (), limit: int = 8, room: int | None = None) -> list[int | None]:
    """Which steps are drawn, None for `…`: all up to `limit`, else 0, 1, 2, the kept ones and the last.

    `room` is how many fit on a screen: of more than that, the first ones, the kept ones and the last; a `…` then can
    stand for one step alone. Three steps always fit.
    """
    room = length if room is None or length <= max(room, 3) else room
    if length <= limit and room == length:
        return list(range(length))
    if room < length:
        keep = [*keep, *range(min(3, room - 1))]
    wanted = sorted({*(keep or range(min(3, limit - 1))), length - 1, 0} & set(range(length)))
    out: list[int | None] = []
    for k in wanted:
        if out and out[-1] is not None and k > out[-1] + 1:
            out.append(k - 1 if k == out[-1] + 2 and room == length else None)
        out.append(k)
    return out


def room_for(step: Step) -> int:
    """How many steps of a lane stand beside one another on a screen; of wide ones, with `…` between them."""
    each = step.width + 2 * PAD + GAP
    return max(2, int((SCREEN - ENDS - ELISION * (4 * each > SCREEN - ENDS)) / each))
