"""A leaf that many operations read is drawn once for each: a box with a hundred wires is neither laid out nor read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST = 4  # readers of one box

Edge = tuple[int, int]


def copies(edges: Sequence[Edge], leaves: Iterable[int], most: int = MOST) -> dict[Edge, int]:
    """Which copy of its source each edge starts from: 0 for the box itself, 1, 2, … for further ones."""
    leaf = set(leaves)
    fan: dict[int, int] = {}
    for a, _ in edges:
        fan[a] = fan.get(a, 0) + 1
    out: dict[Edge, int] = {}
    used: dict[int, int] = {}
    for edge in edges:
        a = edge[0]
        if a in leaf and fan[a] > most:
            out[edge] = used.get(a, 0)
            used[a] = out[edge] + 1
        else:
            out[edge] = 0
    return out


def name(box: int, copy: int = 0) -> str:
    """The id of a box or of a copy of it."""
    return f"n{box}x{copy}" if copy else f"n{box}"
