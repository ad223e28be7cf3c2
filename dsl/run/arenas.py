"""Memory for generated code: flat arrays that are used again. Knows nothing of programs."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Arena:
    """Flat arrays that are used again, in roles: no more exist in a role than were on lease at once, however many sizes
    come along.

    What is taken is given back, or dropped with its holder. A layout is any object that stands for what lies where: an
    array that comes back under its own layout is as it was left, under another it is zeros, so that padding is. A role
    is what one program uses its arrays for: arrays that change it would be cleared at every call.
    """

    def __init__(self) -> None:
        self._free: dict[object, list[tuple[Array, object]]] = {}
        self._lock = threading.Lock()

    def take(self, size: int, dtype: np.dtype[Any], layout: object, role: object) -> Array:
        with self._lock:
            free = self._free.get(role, ())
            for k in range(len(free) - 1, -1, -1):
                if free[k][1] is layout and len(free[k][0]) == size:
                    return self._free[role].pop(k)[0]
            room = [_capacity(array) for array, _ in free]
            chosen = min([n for n in room if n >= size], default=max(room, default=0))
            old = self._free[role].pop(room.index(chosen))[0] if room else None
        if old is None or chosen < size:  # one that is too small makes place
            return _aligned(np.zeros(size + SLACK, dtype), size)
        again = _aligned(_whole(old), size)
        again[:] = 0
        return again

    def give(self, array: Array, layout: object, role: object) -> None:
        with self._lock:
            free = self._free.setdefault(role, [])
            if len(free) < KEPT:
                free.append((array, layout))

    @property
    def size(self) -> int:
        """Bytes of what is not on lease."""
        return sum(_whole(array).nbytes for free in self._free.values() for array, _ in free)


KEPT = 32  # free arrays of a role: a few for each thread
SLACK = 64  # elements more than asked for, so that an array can begin at a cache line


def _whole(array: Array) -> Array:
    assert isinstance(array.base, np.ndarray)
    return array.base


def _capacity(array: Array) -> int:
    return len(_whole(array)) - SLACK


def _aligned(whole: Array, size: int) -> Array:
    shift = (-whole.ctypes.data // whole.itemsize) % (64 // whole.itemsize)
    return whole[shift : shift + size]


__all__ = ["Arena", "Array"]
