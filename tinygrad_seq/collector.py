"""Objects that Python's cyclic collector need not look at.

The collector walks every container that is alive, over and over while there are more of them: of a million nodes it
makes half the cost. But a node made of arrays and older nodes cannot be part of a cycle, and dies with its last user,
so it may be taken off the collector's list, each by itself; nothing else in the process is touched. May not know what
a node is.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any


def _untrack() -> Callable[[Any], None] | None:
    """CPython's `PyObject_GC_UnTrack`: an extension type may call it on its own objects at any time, and the memory of
    one that is not tracked is given back as ever. None where the interpreter has no such list."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    function = ctypes.pythonapi.PyObject_GC_UnTrack
    function.argtypes, function.restype = (ctypes.py_object,), None
    return function


# `untrack(obj)`: the collector forgets obj, which must not be able to reach itself
untrack: Callable[[Any], None] = _untrack() or (lambda obj: None)
