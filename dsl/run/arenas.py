"""Memory for generated code: flat arrays that are used again, and where arrays lie. Knows nothing of programs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Arena:
    """Reusable flat arrays by dtype and size; what is taken is given back, or dropped with its holder."""

    def __init__(self) -> None:
        self._free: dict[tuple[np.dtype[Any], int], list[Array]] = {}
        self._lock = threading.Lock()

    def take(self, size: int, dtype: np.dtype[Any]) -> Array:
        key = (dtype, size)
        with self._lock:
            free = self._free.get(key)
            if free:
                return free.pop()
        whole = np.zeros(size + 64, dtype)
        shift = (-whole.ctypes.data // whole.itemsize) % (64 // whole.itemsize)
        return whole[shift : shift + size]

    def give(self, array: Array) -> None:
        with self._lock:
            free = self._free.setdefault((array.dtype, len(array)), [])
            if len(free) < 8:
                free.append(array)


class Addresses:
    """Where arrays lie, for generated code: they must be contiguous, and outlive the call.

    NumPy takes microseconds to say; most arrays are those of the call before, so its answers are remembered.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, int], tuple[weakref.ref[Array], int, int]] = {}

    def of(self, arrays: Sequence[Array], key: object) -> list[int]:
        """`key`: what these arrays are to the caller; the next call with it is likely to bring the same ones."""
        out = []
        for k, a in enumerate(arrays):
            found = self._known.get((key, k))
            if found is None or found[0]() is not a or found[1] != a.nbytes:
                found = self._known[key, k] = (weakref.ref(a), a.nbytes, a.__array_interface__["data"][0])
            out.append(found[2])
        return out


__all__ = ["Addresses", "Arena", "Array"]
