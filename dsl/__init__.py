"""The cell language: recurrence equations as text, as a system, as a plan, as a run.

`load` and `parse` give a `Spec`; everything else follows from it. The folders are the road, in order:
text, system, plan, run, export.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsl.run.data import Text
    from dsl.run.front import Front
    from dsl.run.storage import restore
    from dsl.spec import AdjointSpec, Spec, cells, load, parse
    from dsl.system.explanations import explain
    from dsl.text.diagnostics import CellError
    from dsl.text.format import format

# name -> module: imported on first use, so that a command that only parses does not load a compiler
_HOMES = {
    "AdjointSpec": "dsl.spec",
    "CellError": "dsl.text.diagnostics",
    "Front": "dsl.run.front",
    "Spec": "dsl.spec",
    "Text": "dsl.run.data",
    "cells": "dsl.spec",
    "explain": "dsl.system.explanations",
    "format": "dsl.text.format",
    "load": "dsl.spec",
    "load_ipython_extension": "dsl.notebook",  # %load_ext dsl
    "parse": "dsl.spec",
    "restore": "dsl.run.storage",
}

__all__ = [
    "AdjointSpec",
    "CellError",
    "Front",
    "Spec",
    "Text",
    "cells",
    "explain",
    "format",
    "load",
    "parse",
    "restore",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dsl' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
