"""Rows of what reads a finished state: beside the recurrence or above it, clear of the lines along which states run on.

`viz.rows` solves for everything else first; what is here moves read-outs, the data that they alone need, and what
stands in a highway's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from viz.graph import Node, Wire

if TYPE_CHECKING:
    from viz.rows import Rows

MANY = 4  # read-outs in a row: fewer stand beside the recurrence, others above it


def read_outs(found: Rows, nodes: dict[str, Node], wires: list[Wire]) -> None:
    """Read-outs stand beside the recurrence that they read; those of the last one above it when they are many."""
    before = dict(found.row)
    _clear_highways(found, nodes, wires)
    _targets_up(found, nodes, wires)
    if not found.recurrent:
        return
    after: dict[str, list[str]] = {}
    for wire in wires:
        if wire.relation == "step" and not wire.lag:
            after.setdefault(wire.source, []).append(wire.target)
    last = {k for k in nodes if found.block[k] == found.recurrent[-1]} - found.beyond
    mine = closure(last, after, lambda a, b: b in found.beyond) - last
    mine |= {k for k in found.targets if any(t in mine for t in closure({k}, after, lambda a, b: True))}
    beside = [k for k in mine if found.row[k] <= max(found.row[n] for n in last)]
    if max(Counter(found.row[k] for k in beside).values(), default=0) < MANY:
        return
    top = max(r for k, r in found.row.items() if k not in found.beyond and (k in nodes or k in found.rails))
    for floor in range(top + 1, top + 1 + len(mine)):  # room for data and what is computed of it below the first
        found.row = dict(before)
        _clear_highways(found, nodes, wires, mine - found.targets, floor)
        _targets_up(found, nodes, wires)
        if all(found.row[k] > top for k in mine):
            return


def off_highways(found: Rows, nodes: dict[str, Node], data: bool) -> None:
    """Every highway and every rail has a row of its own, so that they pass through no other node: what else is in it
    stays below. `data` says whether row 0 is taken by what enters the step."""
    lines = [{s.state, *s.path} for s in found.spines.values()]
    lines += [{rail, state} for rail, (state, _) in found.rails.items()]
    alone = [k for k, n in nodes.items() if n.kind == "state" and k not in found.beyond]
    alone = [k for k in alone if not any(k in line for line in lines)]
    for row in range(max(found.row.values(), default=0), -1, -1):
        mine = [line for line in lines if any(found.row[k] == row for k in line & found.row.keys())]
        mine = [{k for k in line if found.row[k] == row} for line in mine]
        mine = [line for line in mine if not any(line < other for other in mine)]
        beside = [k for k in alone if found.row[k] == row]  # states without a line: one above another, on the rim
        mine += [{k} for k in beside] if len(beside) + len(mine) > 1 else []
        while mine:
            line = mine.pop()
            stay = {k for k, r in found.row.items() if r == row and k not in line}
            if not stay and not (data and not row):
                break
            found.row = {k: r + (r >= row and k not in stay) for k, r in found.row.items()}


def _clear_highways(
    found: Rows, nodes: dict[str, Node], wires: list[Wire], raised: Collection[str] = (), floor: int = 0
) -> None:
    """Read-outs beside a recurrence stand between the rows along which states run on to the next step; those `raised`
    no lower than row `floor`."""
    if not found.recurrent:
        return
    busy = {found.row[s.state] for s in found.spines.values()} | {found.row[r] for r in found.rails}
    after = [k for k, n in nodes.items() if k in found.beyond and n.kind != "chip"]
    into: dict[str, list[str]] = {k: [] for k in after}
    onto: dict[str, list[str]] = {}
    for wire in wires:
        if wire.relation == "step" and not wire.lag:
            onto.setdefault(wire.source, []).append(wire.target)
            if wire.target in into:
                into[wire.target].append(wire.source)
    for key in sorted(after, key=lambda k: (found.block[k], found.row[k])):
        row = max((found.row[s] + 1 for s in into[key] if nodes[s].kind != "chip"), default=found.row[key])
        row = max(row, floor) if key in raised else row
        while row in busy:
            row += 1
        if row < min((found.row[t] for t in onto.get(key, ()) if t not in after), default=row + 1):
            found.row[key] = row


def _targets_up(found: Rows, nodes: dict[str, Node], wires: list[Wire]) -> None:
    """Data that only a read-out or a loss needs stands right below it, not at the bottom and on no state's line; what
    is computed of it too."""
    recurrent = set(found.recurrent)
    busy = {found.row[s.state] for s in found.spines.values()} | {found.row[r] for r in found.rails}
    for key in sorted(nodes, key=lambda k: (nodes[k].kind == "chip", -found.row[k])):
        readers = [w.target for w in wires if w.source == key]
        free = nodes[key].kind == "chip" or key in found.targets
        if free and readers and not any(found.block[r] in recurrent for r in readers):
            row = min(found.row[r] for r in readers) - 1
            while row in busy:
                row -= 1
            found.row[key] = max(0, row)


def closure(start: Iterable[str], graph: dict[str, list[str]], along: Callable[[str, str], bool]) -> set[str]:
    seen = set(start)
    stack = list(seen)
    while stack:
        key = stack.pop()
        for other in graph.get(key, ()):
            if other not in seen and along(key, other):
                seen.add(other)
                stack.append(other)
    return seen
