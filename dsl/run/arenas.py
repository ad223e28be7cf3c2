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
    """Flat arrays that are used again: no more exist than were on lease at once, however many sizes come along.

    What is taken is given back, or dropped with its holder. A layout is any object that stands for what lies where: an
    array that comes back under its own layout is as it was left, under another it is zeros, so that padding is.
    """

    def __init__(self) -> None:
        self._free: dict[str, list[tuple[Array, object]]] = {}
        self._lock = threading.Lock()

    def take(self, size: int, dtype: Any, layout: object) -> Array:
        with self._lock:
            free = self._free.setdefault(np.dtype(dtype).str, [])
            for k in range(len(free) - 1, -1, -1):
                if free[k][1] is layout and len(free[k][0]) == size:
                    return free.pop(k)[0]
            room = [_capacity(array) for array, _ in free]
            chosen = min([n for n in room if n >= size], default=max(room, default=0))
            old = free.pop(room.index(chosen))[0] if room else None
        if old is None or chosen < size:  # one that is too small makes place
            return _aligned(np.zeros(size + SLACK, dtype), size)
        again = _aligned(_whole(old), size)
        again[:] = 0
        return again

    def give(self, array: Array, layout: object) -> None:
        with self._lock:
            free = self._free.setdefault(array.dtype.str, [])
            if len(free) < KEPT:
                free.append((array, layout))

    @property
    def size(self) -> int:
        """Bytes of what is not on lease."""
        return sum(_whole(array).nbytes for free in self._free.values() for array, _ in free)


KEPT = 32  # free arrays: a few for each thread
SLACK = 64  # elements more than asked for, so that an array can begin at a cache line


def _whole(array: Array) -> Array:
    assert isinstance(array.base, np.ndarray)
    return array.base


def _capacity(array: Array) -> int:
    return len(_whole(array)) - SLACK


def _aligned(whole: Array, size: int) -> Array:
    shift = (-whole.ctypes.data // whole.itemsize) % (64 // whole.itemsize)
    return whole[shift : shift + size]


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
