"""Which sequences of a batch are at which steps: lengths, active rows, and moving values between row sets.

A point of the index space (a step on each of some axes) is computed for its *rows*: the sequences that
are long enough to have it. Values at a point hold these rows only, in ascending order, so nothing that
lies beyond a sequence's end is ever touched. Everything here calls primitives, so that arrays and tensors
(and gradients) go the same way; nothing here knows of expressions or schedules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsl.system.system import Axis, Extent, Size
from tinygrad_seq.ops.index import Key
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import postorder

Ints = NDArray[np.int64]


def derived_lengths(axes: Mapping[str, Axis], lengths: Mapping[str, Any], batch: int) -> dict[str, Ints]:
    """Lengths (B,) of all axes from those of the base axes. Errors: ValueError for a base axis without lengths."""
    found: dict[str, Ints] = {}
    waiting = dict(axes)
    while waiting:
        ready = []
        for name, axis in waiting.items():
            if axis.length is None:
                if name not in lengths:
                    raise ValueError(f"no lengths for axis {name}: it is the axis of no stream that was given")
                given = np.asarray(lengths[name], np.int64)
                ready.append((name, given if given.shape == (batch,) else np.broadcast_to(given, (batch,))))
                continue
            extents = [n.leaf for n in postorder([axis.length]) if isinstance(n.leaf, Extent)]
            if all(e.axis in found for e in extents):
                ready.append((name, np.maximum(_length(axis, found, batch), 0)))
        if not ready:
            raise ValueError(f"the lengths of {', '.join(waiting)} depend on each other")
        for name, value in ready:
            found[name] = value
            del waiting[name]
    return found


def _length(axis: Axis, known: Mapping[str, Ints], batch: int) -> Ints:
    values: dict[Any, Any] = {}
    assert axis.length is not None
    for node in postorder([axis.length]):
        if node.op is not None:
            values[node] = node.op.impl(*(values[a] for a in node.args), **node.options)
        elif isinstance(node.leaf, Extent):
            values[node] = known[node.leaf.axis]
        else:
            number: Any = node.leaf.dim if isinstance(node.leaf, Size) else node.leaf
            values[node] = np.asarray(int(number), np.int64)
    return np.broadcast_to(np.asarray(values[axis.length], np.int64), (batch,))


@lru_cache(maxsize=64)
def whole(batch: int, steps: int) -> Ints:
    """Lengths (B,) of sequences that all have these steps; one array for all who ask."""
    lengths = np.full(batch, steps, np.int64)
    lengths.setflags(write=False)
    return lengths


def shortest(lengths: Ints) -> int:
    """The steps that all of some sequences (B,) have."""
    first = int(lengths[0])
    return first if lengths is whole(len(lengths), first) else int(lengths.min())


def longest(lengths: Ints) -> int:
    """The steps of the longest of some sequences (B,)."""
    first = int(lengths[0])
    return first if lengths is whole(len(lengths), first) else int(lengths.max())


def is_whole(lengths: Ints, steps: int) -> bool:
    """Whether all sequences have these steps."""
    return lengths is whole(len(lengths), steps) or not len(lengths) or int(lengths.min()) == steps


class Batch:
    """The lengths of a batch of sequences.

    size     B
    lengths  axis -> (B,) steps of each sequence
    longest  axis -> the largest of them (0 for an empty batch)
    """

    def __init__(self, lengths: Mapping[str, Ints], size: int) -> None:
        self.size = size
        self.lengths = dict(lengths)
        self.shortest = {a: shortest(v) if size else 0 for a, v in lengths.items()}
        self.longest = {a: longest(v) if size else 0 for a, v in lengths.items()}
        self.all: Ints = np.arange(size)
        self._rows: dict[tuple[tuple[str, int], ...], Ints] = {}

    def rows(self, axes: Sequence[str], steps: Sequence[int]) -> Ints:
        """The sequences that have these steps on these axes, ascending; `self.all` itself when all do."""
        shortest = self.shortest
        for a, i in zip(axes, steps, strict=True):
            if not 0 <= i < shortest[a]:
                break
        else:
            return self.all
        short = tuple((a, i) for a, i in zip(axes, steps, strict=True) if not 0 <= i < self.shortest[a])
        found = self._rows.get(short)
        if found is None:
            keep = np.ones(self.size, bool)
            for a, i in short:
                keep &= (0 <= i) & (i < self.lengths[a])
            found = self._rows[short] = np.flatnonzero(keep)
        return found


FAN_IN = 32  # arguments of one concat: its adjoint is quadratic in them


def take(value: Any, index: Any) -> Any:
    """`value[index]` along the first axes."""
    return REGISTRY["getitem"](value, key=Key(index))


def narrow(value: Any, have: Ints, want: Ints) -> Any:
    """A value that holds the rows `have`, for the rows `want`, a subset of them."""
    if len(have) == len(want):
        return value
    return take(value, np.searchsorted(have, want))


def widen(value: Any, rows: int) -> Any:
    """A shared value (features) as (rows, *features)."""
    return REGISTRY["broadcast_to"](value, (rows, *np.shape(value)))


def joined(values: Sequence[Any]) -> Any:
    """Values one behind the other along the first axis, in a tree of concats."""
    level = list(values)
    while len(level) > 1:
        groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
        level = [REGISTRY["concat"](*g, axis=0) if len(g) > 1 else g[0] for g in groups]
    return level[0]


def stacked(values: Sequence[Any], extent: tuple[int, ...] | None = None) -> Any:
    """Values of one shape along new first axes: one, or several of these extents."""
    shape = np.shape(values[0])
    if not shape:
        values = [REGISTRY["expand"](v, axis=0) for v in values]
    return REGISTRY["reshape"](joined(values), (*(extent or (len(values),)), *shape))


def assemble(pieces: Sequence[tuple[Ints, Any]]) -> Any:
    """Values of disjoint row sets as one value over their union, in ascending order."""
    pieces = [p for p in pieces if len(p[0])] or list(pieces[:1])
    if len(pieces) == 1:
        return pieces[0][1]
    order = np.concatenate([rows for rows, _ in pieces])
    value = joined([value for _, value in pieces])
    by_row = np.argsort(order, kind="stable")
    return value if np.array_equal(by_row, np.arange(len(order))) else take(value, by_row)
