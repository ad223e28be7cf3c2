"""Which row each node of a step stands in, and through which nodes each state's highway runs.

Rows count from the bottom: data enters below and flows up, layers stand on one another. A state whose own
past reaches it through sums and products alone (`c[t] = f[t]*c[t-1] + ...`) is a highway: the nodes
on that way share its row. What is computed from a highway at the same step comes down again
(`h[t] = o[t]*tanh(c[t])`), to the *rail* row at the bottom along which the state is read one step
later. Everything here is difference constraints between rows, solved by longest paths.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from viz.graph import Graph, Node, Wire
from viz.readouts import closure, off_highways, read_outs

PASSING = ("×", "+", "−")  # what a highway goes through
LONGEST = 6  # nodes in a line from one step to the next, state included: a longer way is folded, it rises through rows
Constraint = tuple[str, str, int, bool]  # a, b, gap: row(b) >= row(a) + gap; whether it may be dropped


@dataclass(frozen=True)
class Spine:
    """The way of a state's past to its present, state node included; `sign` is the lag, -1 or +1."""

    state: str
    sign: int
    path: tuple[str, ...]
    linear: bool


@dataclass
class Rows:
    row: dict[str, int] = field(default_factory=dict)  # nodes, rails ("rail:h:-1") and ports
    spines: dict[str, Spine] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)  # what is computed from a highway and comes down
    rails: dict[str, tuple[str, int]] = field(default_factory=dict)  # rail -> state, lag
    direction: dict[str, int] = field(default_factory=dict)  # state -> the lag it is read at, -1 or +1
    block: dict[str, int] = field(default_factory=dict)  # node -> its strongly connected component, in order
    recurrent: list[int] = field(default_factory=list)
    beyond: set[str] = field(default_factory=set)  # what reads a finished state: right of the states' rim
    targets: set[str] = field(default_factory=set)  # of that, data and what is computed of data alone

    @property
    def count(self) -> int:
        return max(self.row.values(), default=0) + 1


def rail_of(wire: Wire) -> str:
    return f"rail:{wire.source}:{wire.lag:+d}"


def port_of(wire: Wire) -> str:
    """Where a wire from another time (farther than one step) or another lane enters a step."""
    index = wire.read.index[0] if wire.relation == "index" and wire.read and wire.read.index else ""
    return f"port:{wire.source}:{wire.relation}:{wire.lag:+d}{index and f':{index}'}"


def is_near(found: Rows, wire: Wire) -> bool:
    """A read from the neighbouring step on the side from which the state comes; one from the other side runs below."""
    return wire.relation == "step" and wire.lag != 0 and wire.lag == found.direction.get(wire.source)


def is_port(found: Rows, graph: Graph, wire: Wire) -> bool:
    """A read that enters the step from below: of a farther step, another lane, or against the state's direction."""
    if wire.relation != "step" or graph.nodes[wire.source].lane != graph.nodes[wire.target].lane:
        return True
    return wire.lag != 0 and not is_near(found, wire)


def rows(graph: Graph, lane: str) -> Rows:
    """Rows of one lane's step."""
    nodes = {n.key: n for n in graph.within(lane)}
    wires = [w for w in graph.wires if w.target in nodes]
    found = Rows()
    _blocks(found, graph, nodes, wires)
    _directions(found, nodes, wires)
    _spines(found, nodes, wires)
    _descents(found, nodes, wires)
    _beyond(found, nodes, wires)
    _solve(found, graph, nodes, wires)
    return found


def _directions(found: Rows, nodes: dict[str, Node], wires: list[Wire]) -> None:
    """Where states come from: the side on which their own recurrence reads them, else the first neighbour to do so."""
    near = [w for w in wires if w.relation == "step" and abs(w.lag) == 1 and w.source in nodes]
    recurrent = [w for w in near if found.block[w.source] == found.block[w.target]]
    for wire in [*recurrent, *near]:
        found.direction.setdefault(wire.source, wire.lag)
    for node in nodes.values():
        if node.kind == "state":
            found.direction.setdefault(node.key, -1)


def _blocks(found: Rows, graph: Graph, nodes: dict[str, Node], wires: list[Wire]) -> None:
    """Strongly connected components of the lane's equations, numbered in topological order."""
    keys = sorted(nodes, key=list(nodes).index)
    at = {k: i for i, k in enumerate(keys)}
    inside = [w for w in wires if w.source in at]
    pairs = [(at[w.source], at[w.target]) for w in inside]
    by_equation: dict[str, str] = {}
    for key in keys:  # an equation's operators belong together
        equation = nodes[key].equation
        if equation is not None:
            first = by_equation.setdefault(equation, key)
            pairs += [(at[first], at[key]), (at[key], at[first])]
    n = len(keys)
    data = np.ones(len(pairs))
    matrix = (
        coo_matrix((data, ([p[0] for p in pairs], [p[1] for p in pairs])), shape=(n, n)) if n else coo_matrix((0, 0))
    )
    count, labels = connected_components(matrix, directed=True, connection="strong") if n else (0, [])
    component = [int(c) for c in labels]
    indegree = [0] * count
    follows: list[set[int]] = [set() for _ in range(count)]
    for a, b in pairs:
        if component[a] != component[b] and component[b] not in follows[component[a]]:
            follows[component[a]].add(component[b])
            indegree[component[b]] += 1
    first_member = {c: component.index(c) for c in range(count)}
    ready = sorted((c for c in range(count) if indegree[c] == 0), key=first_member.__getitem__)
    number: dict[int, int] = {}
    while ready:
        c = ready.pop(0)
        number[c] = len(number)
        for d in sorted(follows[c], key=first_member.__getitem__):
            indegree[d] -= 1
            if indegree[d] == 0:
                ready.append(d)
        ready.sort(key=first_member.__getitem__)
    found.block = {k: number[component[at[k]]] for k in keys}
    lagged = {found.block[w.target] for w in inside if w.lag and found.block[w.source] == found.block[w.target]}
    found.recurrent = sorted(lagged)


def _spines(found: Rows, nodes: dict[str, Node], wires: list[Wire]) -> None:
    taken: set[str] = set()
    linear_blocks: set[int] = set()
    for linear in (True, False):
        for key, node in nodes.items():
            if node.kind != "state" or key in found.spines:
                continue
            if not linear and found.block[key] in linear_blocks:
                continue
            path = _path(key, found, nodes, wires, taken, linear)
            if path is None or (not linear and len(path) > LONGEST):
                continue
            found.spines[key] = Spine(key, found.direction[key], path, linear)
            taken.update(path)
            if linear:
                linear_blocks.add(found.block[key])


def _path(
    state: str, found: Rows, nodes: dict[str, Node], wires: list[Wire], taken: set[str], linear: bool
) -> tuple[str, ...] | None:
    """The shortest way from the state's neighbour in time to the state within one step, breadth first."""

    def may(key: str) -> bool:
        node = nodes[key]
        if key == state:
            return True
        passes = node.kind == "round" and node.function in PASSING if linear else node.kind != "state"
        return passes and key not in taken and found.block[key] == found.block[state]

    near = [w for w in wires if w.source == state and is_near(found, w) and w.lag == found.direction[state]]
    frontier: list[tuple[str, tuple[str, ...]]] = [(w.target, (w.target,)) for w in near if may(w.target)]
    seen = {key for key, _ in frontier}
    while frontier:
        key, path = frontier.pop(0)
        if key == state:
            return path
        for wire in wires:
            if (
                wire.source == key
                and wire.relation == "step"
                and wire.lag == 0
                and wire.target not in seen
                and may(wire.target)
            ):
                seen.add(wire.target)
                frontier.append((wire.target, (*path, wire.target)))
    return None


def _descents(found: Rows, nodes: dict[str, Node], wires: list[Wire]) -> None:
    """What follows a highway at the same step within its block, as far as a state or another highway."""
    on = {k for s in found.spines.values() for k in s.path}
    stack = [s.state for s in found.spines.values() if s.linear]
    stack += [k for s in found.spines.values() for k in s.path if k != s.state]
    while stack:
        key = stack.pop()
        for wire in wires:
            if wire.source != key or wire.relation != "step" or wire.lag:
                continue
            target = wire.target
            if target in nodes and found.block[target] == found.block[key] and target not in on | found.down:
                found.down.add(target)
                if nodes[target].kind != "state":
                    stack.append(target)


def _beyond(found: Rows, nodes: dict[str, Node], wires: list[Wire]) -> None:
    """What reads a state at the step that computes it: read-outs of a component, attention that follows a decoder's
    state. Not what a state of the same component still needs at that step."""
    after: dict[str, list[str]] = {}
    before: dict[str, list[str]] = {}
    for wire in wires:
        if wire.relation == "step" and not wire.lag and wire.source in nodes:
            after.setdefault(wire.source, []).append(wire.target)
            before.setdefault(wire.target, []).append(wire.source)
    on = {k for s in found.spines.values() for k in s.path}
    recurrent = set(found.recurrent)
    needed = closure(on | found.down, before, lambda a, b: found.block[a] == found.block[b])
    stack = [k for k in on | found.down if found.block[k] in recurrent]
    follow = closure(stack, after, lambda a, b: found.block[b] not in recurrent or found.block[a] == found.block[b])
    found.beyond = {k for k in follow if k not in needed or found.block[k] not in recurrent}
    readers: dict[str, list[str]] = {}
    for wire in wires:
        readers.setdefault(wire.source, []).append(wire.target)
    more: set[str] = {""}
    while more:  # data that only read-outs need, and what is computed of it
        more = {
            k
            for k, n in nodes.items()
            if k not in found.beyond and k in after and n.kind != "state" and found.block[k] not in recurrent
            and all(t in found.beyond for t in readers[k])
        }  # fmt: skip
        found.beyond |= more
        found.targets |= more


def _solve(found: Rows, graph: Graph, nodes: dict[str, Node], wires: list[Wire]) -> None:
    """Longest paths over the constraints row(b) >= row(a) + gap."""
    group = {k: k for k in nodes}
    for spine in found.spines.values():
        for key in spine.path:
            group[key] = f"spine:{spine.state}"
    constraints: list[Constraint] = [("floor", n.key, 0, False) for n in nodes.values() if n.kind == "chip"]
    rails = _rails(found, nodes, wires, group)
    _lay_rails(found, nodes, group, rails, constraints)
    for wire in wires:
        if is_near(found, wire) and wire.source in nodes and not _on_spine(found, wire):
            constraints.append((rail_of(wire), group[wire.target], 1, True))
        elif is_port(found, graph, wire):
            constraints.append(("floor", group[wire.target], 1, False))
    _flows(found, nodes, wires, group, rails, constraints)
    _storeys(found, nodes, wires, group, constraints)
    level = _longest({*group.values(), "floor"}, constraints)
    for low, high in combinations(found.spines.values(), 2):  # each state runs on along a row of its own
        a, b = group[low.state], group[high.state]
        if low.sign == high.sign and found.block[low.state] == found.block[high.state] and level[a] == level[b]:
            constraints.append((a, b, 1, True))
            level = _longest({*group.values(), "floor"}, constraints)
    _raise(found, nodes, group, constraints, level)
    for key in group:
        found.row[key] = level[group[key]]
    read_outs(found, nodes, wires)
    off_highways(
        found, nodes, any(is_port(found, graph, w) for w in wires) or any(n.kind == "chip" for n in nodes.values())
    )


def _rails(found: Rows, nodes: dict[str, Node], wires: list[Wire], group: dict[str, str]) -> dict[int, list[str]]:
    """Every rail that is needed, by component, states that came down (which stand on theirs) lowest."""
    for wire in wires:
        if is_near(found, wire) and wire.source in nodes and not _on_spine(found, wire):
            found.rails.setdefault(rail_of(wire), (wire.source, wire.lag))
    for key in nodes:
        if nodes[key].kind == "state" and key in found.down:
            rail = f"rail:{key}:{found.direction[key]:+d}"
            found.rails.setdefault(rail, (key, found.direction[key]))
            group[key] = rail
    by_block: dict[int, list[str]] = {}
    for rail, (state, _) in found.rails.items():
        group[rail] = rail
        by_block.setdefault(found.block[state], []).append(rail)
    for rails in by_block.values():
        rails.sort(key=lambda r: found.rails[r][0] not in found.down)
    return by_block


def _lay_rails(
    found: Rows,
    nodes: dict[str, Node],
    group: dict[str, str],
    by_block: dict[int, list[str]],
    constraints: list[Constraint],
) -> None:
    """Rails above one another below the rest of their component: nothing but states stands on a rail's row."""
    for block, rails in by_block.items():
        constraints.append(("floor", rails[0], 1, False))
        constraints += [(a, b, 1, False) for a, b in pairwise(rails)]
        members = [group[k] for k in nodes if found.block[k] == block and nodes[k].kind != "chip"]
        constraints += [(rails[-1], m, 1, True) for m in dict.fromkeys(members) if m not in rails]


def _flows(
    found: Rows,
    nodes: dict[str, Node],
    wires: list[Wire],
    group: dict[str, str],
    rails: dict[int, list[str]],
    constraints: list[Constraint],
) -> None:
    """Data flows up, except that what follows a highway comes down; a gate may stand beside its product."""
    on = {k for s in found.spines.values() for k in s.path}
    for wire in wires:
        if wire.relation != "step" or wire.lag or wire.source not in nodes:
            continue
        a, b = wire.source, wire.target
        if group[a] == group[b]:
            continue
        falls = b in found.down and found.block[a] == found.block[b]
        if falls and (a in found.down or a in on):
            beside = nodes[a].kind == "card" and a not in on and nodes[b].kind != "state"
            constraints.append((group[b], group[a], 0 if beside else 1, True))
        elif falls:
            constraints.append((group[a], group[b], 0, True))
        else:
            constraints.append((group[a], group[b], 1, False))
        if found.block[a] != found.block[b]:
            constraints += [(group[a], rail, 1, True) for rail in rails.get(found.block[b], ())]


def _on_spine(found: Rows, wire: Wire) -> bool:
    spine = found.spines.get(wire.source)
    return spine is not None and spine.sign == wire.lag and spine.path[0] == wire.target


def _storeys(
    found: Rows, nodes: dict[str, Node], wires: list[Wire], group: dict[str, str], constraints: list[Constraint]
) -> None:
    """Each recurrent component stands on the one before it, with what is computed from data for it alone."""
    members: dict[int, list[str]] = {}
    first = _first_readers(found, nodes, wires)
    for key, node in nodes.items():
        if node.kind != "chip":
            members.setdefault(first.get(key, found.block[key]), []).append(group[key])
    for rail, (state, _) in found.rails.items():
        members.setdefault(first.get(state, found.block[state]), []).append(rail)
    for lower, upper in zip(found.recurrent, found.recurrent[1:], strict=False):
        for a in dict.fromkeys(members[lower]):
            constraints += [(a, b, 1, False) for b in dict.fromkeys(members[upper])]


def _first_readers(found: Rows, nodes: dict[str, Node], wires: list[Wire]) -> dict[str, int]:
    """For what follows no recurrence, the lowest component that reads it."""
    recurrent = set(found.recurrent)
    lowest: dict[str, int] = {k: b for k, b in found.block.items() if b in recurrent}
    plain = [w for w in wires if w.relation == "step" and not w.lag and w.source in nodes]
    out: dict[str, int] = {}
    for key in sorted(nodes, key=lambda k: (-found.block[k], k)):
        readers = [b for w in plain if w.source == key and (b := out.get(w.target, lowest.get(w.target, -1))) >= 0]
        if key not in lowest and key not in found.beyond and readers:
            out[key] = min(readers)
    return out


def _longest(names: Iterable[str], constraints: list[Constraint]) -> dict[str, int]:
    """The least rows from 0 that satisfy the constraints; droppable ones go when they form a cycle."""
    order = sorted(names)
    level = dict.fromkeys(order, 0)
    active = [c for c in constraints if c[0] != c[1]]
    while True:
        waiting = dict.fromkeys(order, 0)
        for _, b, _, _ in active:
            waiting[b] += 1
        after: dict[str, list[tuple[str, int]]] = {k: [] for k in order}
        for a, b, gap, _ in active:
            after[a].append((b, gap))
        ready = [k for k in order if not waiting[k]]
        done = 0
        while ready:
            a = ready.pop()
            done += 1
            for b, gap in after[a]:
                level[b] = max(level[b], level[a] + gap)
                waiting[b] -= 1
                if not waiting[b]:
                    ready.append(b)
        if done == len(order):
            return level
        stuck = {k for k in order if waiting[k]}
        keep = [c for c in active if not (c[3] and c[0] in stuck and c[1] in stuck)]
        if len(keep) == len(active):  # a highway that needs itself: let the whole cycle share rows
            keep = [c for c in active if not (c[0] in stuck and c[1] in stuck)]
        active = keep
        level = dict.fromkeys(order, 0)


def _raise(
    found: Rows,
    nodes: dict[str, Node],
    group: dict[str, str],
    constraints: list[Constraint],
    level: dict[str, int],
) -> None:
    """What comes down stays as high as it can; the cards of a component share a row where they can."""
    cards = [k for k, n in nodes.items() if n.kind == "card" and group[k] == k and k not in found.beyond]
    top = {b: max(level[k] for k in cards if found.block[k] == b) for b in {found.block[k] for k in cards}}
    falling = [k for k in nodes if k in found.down and nodes[k].kind != "state"]
    for key in sorted(dict.fromkeys([*cards, *falling]), key=lambda k: (-level[k], k)):
        room = min((level[b] - gap for a, b, gap, _ in constraints if a == key), default=level[key])
        if nodes[key].kind == "card":
            room = min(room, top[found.block[key]])
        level[key] = max(level[key], room)
