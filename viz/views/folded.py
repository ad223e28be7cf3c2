"""A cell as one step with its past fed back through delay squares."""

from __future__ import annotations

from typing import Any

from viz.drawing import Drawing
from viz.folding import compose
from viz.graph import build
from viz.views.subject import system_of


def folded(cell: Any, **arguments: Any) -> Drawing:
    """The recurrence as a loop: `z⁻¹` delays a state by one step, `z⁻⁴` is a read `h[t-4]`."""
    return Drawing(compose(build(system_of(cell, **arguments))).scene)
