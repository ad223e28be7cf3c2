"""Pictures of cells and of their gradients.

Views take a cell (its name, a spec, a model) or a run, and return a `Drawing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viz.drawing import Drawing
    from viz.pages.gallery import gallery
    from viz.pages.lab import lab
    from viz.pages.page import Page
    from viz.pages.stepper import stepper
    from viz.pages.walk import walk
    from viz.views.attention import attention
    from viz.views.bptt import bptt
    from viz.views.cell import cell
    from viz.views.curves import curves
    from viz.views.folded import folded
    from viz.views.gates import gates
    from viz.views.gradient_flow import gradient_flow
    from viz.views.heat import Heat, heat
    from viz.views.lines import lines
    from viz.views.pen import pen
    from viz.views.tape import tape
    from viz.views.terms import terms
    from viz.views.truncated import truncated
    from viz.views.units import units
    from viz.views.unrolled import unrolled
    from viz.worker import LayoutError

# name -> module: imported on first use
_HOMES = {
    "Drawing": "viz.drawing",
    "Heat": "viz.views.heat",
    "LayoutError": "viz.worker",
    "Page": "viz.pages.page",
    "bptt": "viz.views.bptt",
    "cell": "viz.views.cell",
    "curves": "viz.views.curves",
    "folded": "viz.views.folded",
    "gallery": "viz.pages.gallery",
    "gradient_flow": "viz.views.gradient_flow",
    "heat": "viz.views.heat",
    "lab": "viz.pages.lab",
    "lines": "viz.views.lines",
    "pen": "viz.views.pen",
    "stepper": "viz.pages.stepper",
    "tape": "viz.views.tape",
    "terms": "viz.views.terms",
    "truncated": "viz.views.truncated",
    "units": "viz.views.units",
    "walk": "viz.pages.walk",
    "gates": "viz.views.gates",
    "attention": "viz.views.attention",
    "unrolled": "viz.views.unrolled",
}

__all__ = [
    "Drawing",
    "Heat",
    "LayoutError",
    "Page",
    "attention",
    "bptt",
    "cell",
    "curves",
    "folded",
    "gallery",
    "gates",
    "gradient_flow",
    "heat",
    "lab",
    "lines",
    "pen",
    "stepper",
    "tape",
    "terms",
    "truncated",
    "units",
    "unrolled",
    "walk",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'viz' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
