"""Memory for generated code: flat arrays that are used again. Knows nothing of programs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Wanted:
    """An array to be taken from an arena: elements, dtype, layout and role."""

    size: int
    dtype: np.dtype[Any]
    layout: object
    role: object


@dataclass(frozen=True, eq=False)
class Lease:
    """Arrays that are taken together and given back together."""

    wanted: tuple[Wanted, ...]


class Arena:
    """Flat arrays that are used again, in roles: no more exist in a role than were on lease at once, however many sizes
    come along.

    What is taken is given back, or dropped with its holder. A layout is any object that stands for what lies where: an
    array that comes back under its own layout is as it was left, under another it is zeros, so that padding is. A role
    is what one program uses its arrays for: arrays that change it would be cleared at every call.

    What was given back last in a role goes to the same lease again without a search: a step of a small cell takes four.
    """

    def __init__(self) -> None:
        self._latest: dict[object, tuple[Lease, list[Array]]] = {}  # by the role of a lease's first array
        self._free: dict[object, list[tuple[Array, object]]] = {}
        self._lock = threading.Lock()

    def take(self, lease: Lease) -> list[Array]:
        """The arrays of a lease, in its order."""
        with self._lock:
            latest = self._latest.pop(lease.wanted[0].role, None)
            if latest is not None:
                if latest[0] is lease:
                    return latest[1]
                self._put_away(*latest)
            return [self._take(wanted) for wanted in lease.wanted]

    def give(self, lease: Lease, arrays: list[Array]) -> None:
        """Give back what was taken; nobody reads it any more."""
        role = lease.wanted[0].role
        with self._lock:
            before = self._latest.get(role)
            if before is not None:
                self._put_away(*before)
            self._latest[role] = lease, arrays

    def _put_away(self, lease: Lease, arrays: list[Array]) -> None:
        for wanted, array in zip(lease.wanted, arrays, strict=True):
            free = self._free.setdefault(wanted.role, [])
            if len(free) < KEPT:
                free.append((array, wanted.layout))

    def _take(self, wanted: Wanted) -> Array:
        size, free = wanted.size, self._free.get(wanted.role, [])
        for k in range(len(free) - 1, -1, -1):
            if free[k][1] is wanted.layout and len(free[k][0]) == size:
                return free.pop(k)[0]
        room = [_capacity(array) for array, _ in free]
        chosen = min([n for n in room if n >= size], default=max(room, default=0))
        old = free.pop(room.index(chosen))[0] if room else None
        if old is None or chosen < size:  # one that is too small makes place
            return _aligned(np.zeros(size + SLACK, wanted.dtype), size)
        again = _aligned(_whole(old), size)
        again[:] = 0
        return again

    @property
    def size(self) -> int:
        """Bytes of what is not on lease."""
        free = [array for held in self._free.values() for array, _ in held]
        return sum(_whole(array).nbytes for array in (*free, *(a for _, held in self._latest.values() for a in held)))


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


__all__ = ["Arena", "Array", "Lease", "Wanted"]
