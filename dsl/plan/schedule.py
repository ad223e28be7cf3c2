"""Order of computation: which equations run over all steps at once, and which need a loop, on which axis.

Allen and Kennedy's algorithm ("Automatic translation of Fortran programs to vector form", 1987) on
recurrence equations. Equations form a graph by their reads; a strongly connected component needs a
sequential loop. An axis serves when integers `skew` exist such that running equation `u` of step t at
time `t + skew[u]` (or `-t + skew[u]` backwards) meets every value after it was made: a system of
difference constraints, solved by Bellman and Ford. Reads from earlier iterations are then settled, and
what remains is scheduled again, over the axes left. Nothing here knows of batches, arrays or Numba.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from dsl.system.dims import Dim
from dsl.system.system import Index, Read, System
from dsl.text.diagnostics import CellError, Diagnostic
from dsl.text.tree import NOWHERE, Source
from tinygrad_seq.symbol import Symbol


@dataclass(frozen=True, slots=True)
class Vector:
    """Acyclic equations: every point of every axis in any order, equation after equation."""

    equations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """A loop over `axis`, ascending (+1) or descending (-1).

    At loop time τ the equation `u` computes its step `τ - skew[u]` (ascending) or `skew[u] - τ`
    with τ running over the negated steps (descending). All skews are ≥ 0; mostly they are 0.
    """

    axis: str
    direction: int
    body: tuple[Block, ...]
    skew: Mapping[str, int] = field(default_factory=dict)


Block = Vector | Scan


@dataclass(frozen=True, slots=True)
class Edge:
    """`reader` needs `source`, at these indices; `bound` are axes that a reduction around the read runs over."""

    reader: str
    source: str
    index: tuple[Index, ...]
    bound: frozenset[str] = frozenset()


def named_axes(node: Symbol) -> tuple[str, ...]:
    """The time axes that a reduction (or a softmax) runs over: its static `axis` when that is a name."""
    axis = node.options.get("axis") if node.op is not None else None
    if isinstance(axis, str):
        return (axis,)
    if isinstance(axis, tuple) and axis and all(isinstance(a, str) for a in axis):
        return axis
    return ()


def reads_under(root: Symbol) -> Iterator[tuple[Read, frozenset[str]]]:
    """Every read below `root`, once for each set of axes bound around it by named reductions."""
    seen: set[tuple[Symbol, frozenset[str]]] = set()
    stack: list[tuple[Symbol, frozenset[str]]] = [(root, frozenset())]
    while stack:
        node, bound = stack.pop()
        if (node, bound) in seen:
            continue
        seen.add((node, bound))
        if isinstance(node.leaf, Read):
            yield node.leaf, bound
        inner = bound.union(named_axes(node))
        stack.extend((a, inner) for a in reversed(node.args))


def dependences(system: System, sampled: bool = False) -> tuple[Edge, ...]:
    """All edges between equations. With `sampled`, draws are made from their parameters, not fed as data.

    A read that may fall outside its stream's steps depends on the stream's boundary expression too.
    """
    roots = dict(system.equations)
    made = set(roots) | (set(system.draws) if sampled else set())
    expressions: list[tuple[str, Symbol]] = list(roots.items())
    if sampled:
        expressions += [(name, value) for name, draw in system.draws.items() for _, value in draw.parameters]
    edges: dict[Edge, None] = {}
    for reader, expression in expressions:
        pending = list(reads_under(expression))
        boundaries: set[str] = set()
        while pending:
            read, bound = pending.pop(0)
            if read.name in made:
                edges[Edge(reader, read.name, read.index, bound)] = None
            stream = system.streams.get(read.name)
            if stream is None or stream.boundary is None or read.name in boundaries:
                continue
            if any(not i.is_identity or i.axis != a for i, a in zip(read.index, stream.axes, strict=True)):
                boundaries.add(read.name)
                pending += reads_under(stream.boundary)
    return tuple(edges)


def offset_value(system: System, offset: Dim) -> int:
    """The number an offset stands for: arguments by their values, those not given yet count as 1."""
    if offset.is_constant:
        return int(offset)
    values = {n: v for n in offset.names if isinstance(v := system.arguments.get(n), int | Dim)}
    settled = offset.bind(values)
    return int(settled.bind(dict.fromkeys(settled.names, 1)))


def schedule(system: System, sampled: bool = False) -> tuple[Block, ...]:
    """Blocks in order. Raises CellError E5xx, naming the reads, when no order of steps exists."""
    names = list(system.equations) + (list(system.draws) if sampled else [])
    return order_blocks(system, names, dependences(system, sampled))


def order_blocks(system: System, names: Sequence[str], edges: Iterable[Edge]) -> tuple[Block, ...]:
    """Blocks of the named equations under these dependences; `system` gives streams, arguments and axes."""
    return _Task(system).blocks(names, edges, tuple(system.axes))


class _Task:
    """One call of `schedule`: the system, and what a recursion over its axes needs of it."""

    def __init__(self, system: System) -> None:
        self.system = system

    def blocks(self, names: Sequence[str], edges: Iterable[Edge], axes: tuple[str, ...]) -> tuple[Block, ...]:
        """Components in dependence order; neighbours without a cycle share a Vector block."""
        edges = list(edges)
        out: list[Block] = []
        run: list[str] = []
        found = components(names, edges)
        label = {n: k for k, members in enumerate(found) for n in members}
        inside: dict[int, list[Edge]] = {}
        for e in edges:
            if e.reader in label and label[e.reader] == label.get(e.source):
                inside.setdefault(label[e.reader], []).append(e)
        for k, members in enumerate(found):
            inner = inside.get(k, [])
            if not inner:
                run += members
                continue
            if run:
                out.append(Vector(tuple(run)))
                run = []
            out.append(self.scan(members, inner, axes))
        if run:
            out.append(Vector(tuple(run)))
        return tuple(out)

    def scan(self, members: Sequence[str], edges: Sequence[Edge], axes: tuple[str, ...]) -> Scan:
        """The loop for one component: of all that are legal the one with the fewest loops inside."""
        best: tuple[int, Scan] | None = None
        failure: CellError | None = None
        for axis in axes:
            steps = self.distances(members, edges, axis)
            if steps is None:
                continue
            for direction in (1, -1):
                skew = solve(members, [(e.reader, e.source, direction * d) for e, d in steps])
                if skew is None:
                    continue
                kept = [e for e, d in steps if skew[e.reader] - skew[e.source] == direction * d]
                try:
                    body = self.blocks(members, kept, tuple(a for a in axes if a != axis))
                except CellError as error:
                    failure = failure or error
                    continue
                found = Scan(axis, direction, body, skew)
                if best is None or depth(found) < best[0]:
                    best = (depth(found), found)
        if best is None:
            if failure is not None:
                raise failure
            self.refuse(members, edges)
        return best[1]

    def distances(self, members: Sequence[str], edges: Sequence[Edge], axis: str) -> list[tuple[Edge, int]] | None:
        """How far along `axis` each edge reads; None when one of them is not a plain shift there."""
        found = []
        for e in edges:
            source, reader = self.system.streams[e.source], self.system.streams[e.reader]
            if axis not in source.axes or axis not in reader.axes or axis in e.bound:
                return None
            index = e.index[source.axes.index(axis)]
            if not index.is_shift or index.axis != axis:
                return None
            found.append((e, offset_value(self.system, index.offset)))
        return found

    def refuse(self, members: Sequence[str], edges: Sequence[Edge]) -> NoReturn:
        """Say why no axis serves: the diagnostic of the first equation, by the kind of read that stands in the way."""
        system = self.system
        at_home = [e for e in edges if self.is_home(e)]
        odd = [e for e in edges if not all(i.is_shift for i in e.index) or e.bound or not e.index]
        for e in at_home:
            if e.reader == e.source:
                home = show(system, e)
                axis = system.streams[e.source].axes
                help_ = f"did you mean `{e.source}[{axis[0]}-1{''.join(',' + a for a in axis[1:])}]`?" if axis else ""
                given = {n for i in e.index for n in i.offset.names}
                values = " and ".join(f"{n}={offset_value(system, Dim.of(n))}" for n in sorted(given))
                message = f"with {values}, {home} is {e.source} itself" if values else f"{home} needs itself"
                help_ = "a lag is at least 1" if values else help_
                self.fail("E501", e, f"{message} at the same step", f"reads {home}", help_)
        loops = [c for c in components(members, at_home) if len(c) > 1]
        if loops:
            path = cycle(loops[0], at_home)
            chain = " → ".join([*path, path[0]])
            edge = next(e for e in at_home if e.reader == path[0])
            self.fail(
                "E502",
                edge,
                f"same-step cycle {chain}",
                f"reads {show(system, edge)}",
                "read one of them at an earlier step",
            )
        if odd:
            e = odd[0]
            text = f"`{show(system, e)}` looks along the whole axis inside its own recurrence"
            help_ = "put it on a slower axis of its own, or outside the recurrence"
            if e.bound and (others := [a for a in system.streams[e.source].axes if a not in e.bound]):
                over = ",".join(sorted(e.bound))
                text = f"`{show(system, e)}` is taken over all of {over} inside its own recurrence"
                help_ = f"did you mean `[{others[0]}]` for `[{over}]`? Else {help_}"
            self.fail("E503", e, text, f"reads {show(system, e)}", help_)
        e = edges[0]
        reads = ", ".join(dict.fromkeys(f"`{show(system, x)}`" for x in edges if not self.is_home(x)))
        text = f"own past and own future: no order of steps serves {reads}"
        self.fail(
            "E504", e, text, f"{', '.join(members)} depend on each other", "use two states, one for each direction"
        )

    def is_home(self, e: Edge) -> bool:
        axes = self.system.streams[e.source].axes
        return not e.bound and all(
            i.is_shift and i.axis == a and not offset_value(self.system, i.offset)
            for i, a in zip(e.index, axes, strict=True)
        )

    def fail(self, code: str, edge: Edge, message: str, label: str, help_: str) -> NoReturn:
        span = self.system.spans.get(edge.reader) or self.system.streams[edge.reader].span or NOWHERE
        diagnostic = Diagnostic(code, message, span, label, help=help_)
        raise CellError([diagnostic], self.system.source or Source("", self.system.name))


def components(names: Sequence[str], edges: Iterable[Edge]) -> list[list[str]]:
    """Strongly connected components, sources first; ties go to what was written first, lone equations before loops."""
    number = {n: i for i, n in enumerate(names)}
    pairs = sorted({(number[e.reader], number[e.source]) for e in edges if e.reader in number and e.source in number})
    n = len(names)
    if not pairs:
        return [[name] for name in names]
    label = strong_components(n, pairs)
    count = max(label) + 1
    members: list[list[int]] = [[] for _ in range(count)]
    for i in range(n):
        members[label[i]].append(i)
    needs: list[set[int]] = [set() for _ in range(count)]
    feeds: list[set[int]] = [set() for _ in range(count)]
    loops = {label[r] for r, s in pairs if label[r] == label[s]}
    for r, s in pairs:
        if label[r] != label[s]:
            needs[label[r]].add(label[s])
            feeds[label[s]].add(label[r])
    ready = [(c in loops, members[c][0], c) for c in range(count) if not needs[c]]
    heapq.heapify(ready)
    order = []
    while ready:
        _, _, c = heapq.heappop(ready)
        order.append([names[i] for i in members[c]])
        for reader in sorted(feeds[c]):
            needs[reader].discard(c)
            if not needs[reader]:
                heapq.heappush(ready, (reader in loops, members[reader][0], reader))
    return order


def strong_components(n: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The component of each of n nodes (Tarjan 1972, without recursion).

    scipy.sparse.csgraph has this too, but importing it takes longer than a warm start of everything else.
    """
    following: list[list[int]] = [[] for _ in range(n)]
    for source, target in pairs:
        following[source].append(target)
    index, low, label = [-1] * n, [0] * n, [-1] * n
    open_: list[int] = []  # visited, component not known yet
    found = seen = 0
    for root in range(n):
        work = [(root, iter(following[root]))] if index[root] < 0 else []
        while work:
            node, rest = work[-1]
            if index[node] < 0:
                index[node] = low[node] = seen
                seen += 1
                open_.append(node)
            fresh = None
            for other in rest:
                if index[other] < 0:
                    fresh = other
                    break
                if label[other] < 0:
                    low[node] = min(low[node], index[other])
            if fresh is not None:
                work.append((fresh, iter(following[fresh])))
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                while label[node] < 0:
                    label[open_.pop()] = found
                found += 1
    return label


def solve(names: Sequence[str], constraints: Sequence[tuple[str, str, int]]) -> dict[str, int] | None:
    """Least integers ≥ 0 with `skew[u] - skew[v] >= d` for each (u, v, d); None when a cycle sums above zero."""
    skew = dict.fromkeys(names, 0)
    for _ in range(len(names) + 1):
        changed = False
        for u, v, d in constraints:
            if skew[v] + d > skew[u]:
                skew[u] = skew[v] + d
                changed = True
        if not changed:
            return skew
    return None


def depth(block: Block) -> int:
    """How many loops a block holds, itself included."""
    return 1 + sum(depth(b) for b in block.body) if isinstance(block, Scan) else 0


def cycle(members: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """One shortest cycle through the first member, in reading order."""
    start, inside = members[0], set(members)
    came: dict[str, str] = {}
    queue = [start]
    for name in queue:
        for e in edges:
            if e.reader == name and e.source in inside:
                if e.source == start:
                    path = [name]
                    while path[-1] != start:
                        path.append(came[path[-1]])
                    return path[::-1]
                if e.source not in came:
                    came[e.source] = name
                    queue.append(e.source)
    return [start]


def show(system: System, e: Edge) -> str:
    """A read as the source would write it: `h[t-1]`, `z[2*u+1]`, `last`'s as `h[len(s)-1]`."""
    return e.source + (f"[{','.join(map(show_index, e.index))}]" if e.index else "")


def show_index(i: Index) -> str:
    parts = []
    if i.extent:
        parts.append(f"{'' if i.extent == 1 else f'{i.extent}*'}len({i.length})")
    if i.axis is not None and i.scale:
        parts.append(i.axis if i.scale == 1 else f"-{i.axis}" if i.scale == -1 else f"{i.scale}*{i.axis}")
    if i.offset != 0 or not parts:
        parts.append(str(i.offset))
    text = parts[0] + "".join(p if p.startswith("-") else f"+{p}" for p in parts[1:])
    return text if i.divisor == 1 else f"({text})//{i.divisor}" if len(parts) > 1 else f"{text}//{i.divisor}"
