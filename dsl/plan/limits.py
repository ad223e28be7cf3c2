"""How far along an axis a value is needed: `sum[t](where(t < 1, W.T@z[t], 0))` asks for one step's product alone.

Adjoints of what stands before the first step are such sums. What only they read need not be computed in chunks of steps
behind their limit. Knows the normal form only.
"""

from __future__ import annotations

import math
from collections.abc import Container

from dsl.plan.definitions import Definition, Normal, is_home, reads
from dsl.system.system import Position


def limits(normal: Normal, axis: str, kept: Container[str]) -> dict[str, int]:
    """Definitions that are needed for steps of `axis` before a number only, and that number. What is `kept` is needed
    whole."""
    definitions = normal.definitions
    readers: dict[str, list[tuple[str, bool]]] = {n: [] for n in definitions}
    for name, d in definitions.items():
        for read in reads(d):
            if read.name in definitions:
                readers[read.name].append((name, is_home(read, definitions[read.name].axes)))
        if isinstance(d.boundary, str) and d.boundary in definitions:
            readers[d.boundary].append((name, False))
    found = {n: k for n, d in definitions.items() if (k := _own(d, axis)) is not None}
    pending = list(found)
    while pending:
        for read in reads(definitions[pending.pop()]):
            name = read.name
            if name in found or name in kept or name not in definitions or not _limited(definitions[name], axis):
                continue
            if all(home and reader in found for reader, home in readers[name]):
                found[name] = max(found[reader] for reader, _ in readers[name])
                pending.append(name)
    return found


def _own(d: Definition, axis: str) -> int | None:
    """The limit that a sum states itself."""
    value = d.value
    if d.kind != "reduce" or d.reduction != "sum" or d.over != (axis,) or value is None or not value.is_op("where"):
        return None
    test, _, other = value.args
    if not test.is_op("less") or not other.is_number or other.leaf != 0:
        return None
    position, bound = test.args
    if not isinstance(position.leaf, Position) or position.leaf.axis != axis:
        return None
    return math.ceil(bound.leaf) if isinstance(bound.leaf, int | float) else None


def _limited(d: Definition, axis: str) -> bool:
    """Whether a definition may be left out where nobody needs it."""
    return d.kind in ("product", "pointwise") and axis in d.axes and not d.wanted


__all__ = ["limits"]
