"""Pictures of cells and of their gradients.

Views take a cell (its name, a spec, a model) or a run, and return a `Drawing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viz.drawing import Drawing as Drawing
    from viz.pages.gallery import gallery as gallery
    from viz.pages.lab import lab as lab
    from viz.pages.page import Page as Page
    from viz.pages.stepper import stepper as stepper
    from viz.pages.walk import walk as walk
    from viz.views.attention import attention as attention
    from viz.views.bptt import bptt as bptt
    from viz.views.cell import cell as cell
    from viz.views.curves import curves as curves
    from viz.views.folded import folded as folded
    from viz.views.gates import gates as gates
    from viz.views.gradient_flow import gradient_flow as gradient_flow
    from viz.views.heat import Heat as Heat
    from viz.views.heat import heat as heat
    from viz.views.lines import lines as lines
    from viz.views.pen import pen as pen
    from viz.views.surface import surface as surface
    from viz.views.tape import tape as tape
    from viz.views.terms import terms as terms
    from viz.views.truncated import truncated as truncated
    from viz.views.units import units as units
    from viz.views.unrolled import unrolled as unrolled
    from viz.worker import LayoutError as LayoutError

VIEWS = (
    "attention", "bptt", "cell", "curves", "folded", "gates", "gradient_flow", "heat", "lines", "pen", "surface",
    "tape", "terms", "truncated", "units", "unrolled",
)  # fmt: skip
PAGES = ("gallery", "lab", "stepper", "walk")
_HOMES = {  # name -> module: imported on first use
    **{name: f"viz.views.{name}" for name in VIEWS},
    **{name: f"viz.pages.{name}" for name in PAGES},
    "Drawing": "viz.drawing",
    "Heat": "viz.views.heat",
    "LayoutError": "viz.worker",
    "Page": "viz.pages.page",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'viz' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
