"""A cell unrolled in time: every step the equations' own operators, states along the rim."""

from __future__ import annotations

from typing import Any

from viz.compose import compose
from viz.drawing import Drawing
from viz.views.subject import base_axes, system_of


def unrolled(
    cell: Any, T: int | None = None, *, first: int = 0, lengths: dict[str, int] | None = None, **arguments: Any
) -> Drawing:
    """`T` steps of a cell (its name, a spec, a model or a run); beyond 8 they are elided as `0 1 2 … T-1`,
    and where not even four fit on a screen as `0 1 … T-1`.

    first      the index written at the first step (1 for slides)
    lengths    steps by axis, for cells with several: {"s": 3, "t": 4}; T is for all others
    arguments  the cell's: `viz.unrolled("CharRNN", Cell="GRU", L=2)`
    """
    if T is not None and T < 1:
        raise ValueError(f"T={T}: at least one step is needed")
    system = system_of(cell, **arguments)
    steps = {a: T for a in base_axes(system) if T is not None}
    picture = compose(system, {**steps, **(lengths or {})}, first=first)
    return Drawing(picture.scene)
