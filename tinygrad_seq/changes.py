"""Changes of arrays in place, on the clock that numbers the nodes of the tape."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np

serial = itertools.count(1)  # nodes and changes, in the order of their making

# id of an array that owns its memory -> when it was last changed, on the clock that numbers nodes; only
# arrays that were ever changed are here, until they die
changes: dict[int, int] = {}
_latest = 0


def owner_of(array: Any) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def touch(*arrays: Any) -> None:
    """Note that arrays were changed in place: nodes made before that read their memory are spoilt."""
    global _latest
    _latest = next(serial)
    for array in arrays:
        owner = array if array.base is None else owner_of(array)
        key = id(owner)
        if key not in changes:
            weakref.finalize(owner, changes.pop, key, None).atexit = False
        changes[key] = _latest


def last_change(array: Any) -> int:
    """When `array`'s memory was last changed in place, on the clock that numbers nodes; 0 for never."""
    return changes.get(id(owner_of(array)), 0)


def latest_change() -> int:
    """When any array was last changed in place: nodes made since then cannot be spoilt."""
    return _latest
