"""Gradients along the wires of one run, and the paths they take from a loss back to one value.

Two ways to the same numbers: a sweep over the drawing's own nodes for cells over one axis (fast, any length,
Jacobians), and the tape for cells whose reads cross axes. Both are keyed by what a drawing shows: a wire, its
target's step, its source's step. Nothing here knows colours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dsl.system.system import Read, Stream, System
from tinygrad_seq.symbol import Symbol
from viz.compose import compose
from viz.flow import Edge, Flow
from viz.graph import Graph, build
from viz.numbers import Backward, Values, jacobian_norm
from viz.rerun import of_run

Array = np.ndarray[Any, Any]
Spot = tuple[str, int | None]  # a node and its step on its lane
Window = tuple[str, int, int]  # a lane, its first step and its last


@dataclass
class Gradients:
    """What one backward pass sends: `messages` along edges, `cotangents` of nodes, a parameter's `shares` by step.

    `ends` takes the message of an edge between values of several axes apart, by the operation of the tape it goes to.
    """

    graph: Graph
    lengths: dict[str, int]
    seed: Spot
    title: str
    messages: dict[Edge, Array] = field(default_factory=dict)
    ends: dict[Edge, dict[int, Array]] = field(default_factory=dict)
    cotangents: dict[Spot, Array] = field(default_factory=dict)
    make_shares: Callable[[], dict[str, dict[int, Array]]] = field(default=dict)
    jacobian: Callable[[Edge], float] = field(default=lambda edge: float("nan"))
    value: Callable[[str, int], Any] = field(default=lambda key, step: None)

    @cached_property
    def shares(self) -> dict[str, dict[int, Array]]:
        """What each parameter's gradient gets from each step, by the tape: computed when somebody asks for it."""
        return self.make_shares()

    def together(self, edges: Iterable[Edge]) -> float:
        """The size of what several edges carry: summed where they lead to the same value."""
        sums: dict[Any, Array] = {}
        for edge in edges:
            parts: Iterable[tuple[Any, Array]] = self.ends.get(edge, {}).items()
            for end, g in parts or [((edge[0].source, edge[2]), self.messages[edge])]:
                sums[end] = g if end not in sums else sums[end] + g
        return float(np.sqrt(sum(np.linalg.norm(np.ravel(g)) ** 2 for g in sums.values())))

    def reached(self) -> dict[Spot, None]:
        """Every node and step that edges lead to from the seed."""
        below: dict[Spot, list[Spot]] = {}
        for wire, target, source in self.messages:
            below.setdefault((wire.target, target), []).append((wire.source, source))
        seen: dict[Spot, None] = {}
        stack = [self.seed]
        while stack:
            spot = stack.pop()
            if spot not in seen:
                seen[spot] = None
                stack.extend(below.get(spot, ()))
        return seen

    def between(self, target: str, at: int | None, parameter: bool) -> dict[Edge, None]:
        """The edges of all paths between the seed and a node at a step (or every node that reads a parameter)."""
        readers: dict[Spot, list[Edge]] = {}
        for edge in self.messages:
            readers.setdefault((edge[0].source, edge[2]), []).append(edge)
        stack: list[Spot] = self._users(target) if parameter else [(target, at)]
        on: set[Edge] = set()
        seen = set(stack)
        while stack:
            for edge in readers.get(stack.pop(), ()):
                on.add(edge)
                spot = (edge[0].target, edge[1])
                if spot not in seen:
                    seen.add(spot)
                    stack.append(spot)
        if self.seed not in seen:
            where = target if at is None else f"{target}[{at}]"
            raise ValueError(f"{spoken(self.seed)} does not depend on {where}")
        return dict.fromkeys(e for e in self.messages if e in on)

    def _users(self, parameter: str) -> list[Spot]:
        """Where a parameter is read: by nodes at the steps that a gradient comes to, and by states' boundaries."""
        nodes, starts = readers(self.graph, parameter)
        ends = [(w.source, s) for w, _, s in self.messages if w.source in starts and s is not None]
        outside = [(k, s) for k, s in ends if not 0 <= s < self.lengths[self.graph.nodes[k].lane]]
        return [p for p in self.cotangents if p[0] in nodes] + outside


def readers(graph: Graph, parameter: str) -> tuple[set[str], set[str]]:
    """The nodes that read a parameter, itself or in what is made of parameters alone, and the states that start from
    it, or from a value without steps that reads it."""
    system = graph.system
    names = _spread(system, {parameter}, lambda stream: stream.shared)
    nodes = set()
    for key, node in graph.nodes.items():
        operands = {s.operand for s in node.sockets if s.operand is not None}  # nodes of their own
        roots = [r for r in (node.symbol, *(s.term for s in node.sockets)) if r is not None and r not in operands]
        if _reads(roots, names, operands):
            nodes.add(key)
    names = _spread(system, names, lambda stream: not stream.axes)
    states = {k: system.streams.get(n.stream or k) for k, n in graph.nodes.items() if n.kind == "state"}
    starts = {k for k, s in states.items() if s is not None and s.boundary is not None and _reads([s.boundary], names)}
    return nodes, starts


def _spread(system: System, names: set[str], kind: Callable[[Stream], bool]) -> set[str]:
    """Names and every equation of a kind that reads one of them."""
    before = 0
    while before != len(names):
        before = len(names)
        names = names | {n for n, e in system.equations.items() if kind(system.streams[n]) and _reads([e], names)}
    return names


def _reads(roots: Sequence[Symbol], names: set[str], stop: Collection[Symbol] = ()) -> bool:
    """Whether expressions read a name, apart from the parts `stop`."""
    stack, seen = list(roots), set(stop)
    while stack:
        node = stack.pop()
        if isinstance(node.leaf, Read) and node.leaf.name in names:
            return True
        fresh = [a for a in node.args if a not in seen]
        seen.update(fresh)
        stack += fresh
    return False


def spoken(spot: Spot) -> str:
    return spot[0] if spot[1] is None else f"{spot[0]}[{spot[1]}]"


def crosses(graph: Graph) -> bool:
    """Whether a cell's reads cross axes, so that only the tape knows its gradients."""
    return (
        len([a for a in graph.lanes if a]) != 1
        or any(len(n.axes) > 1 for n in graph.nodes.values())
        or any(w.relation != "step" for w in graph.wires)
    )


def lane_of(graph: Graph, key: str) -> str:
    return graph.nodes[key].lane


def start(graph: Graph, system: System, name: str | None) -> tuple[str, bool]:
    """Where the gradient starts: the node of a loss, or of the first output, and whether it is a loss."""
    losses = [k for k, n in graph.nodes.items() if n.role == "loss"]
    if name is not None and name not in losses:
        raise ValueError(
            f"{system.name} has no loss {name} that is drawn" + (f"; it has {', '.join(losses)}" if losses else "")
        )
    if losses:
        return name or losses[0], True
    outputs = [system.aliases.get(o, o) for o in system.outputs] or [list(system.equations)[-1]]
    return graph.home[outputs[0]], False


def gradients(
    run: Any,
    system: System,
    key: str,
    is_loss: bool,
    step: int | None,
    sequence: int,
    first: int = 0,
    since: int | None = None,
    window: Window | None = None,
) -> Gradients:
    """Send the gradient of the node `key` at `step` (of its sum, when it is no loss) back through the run; with
    `since`, of all its steps from that one to `step` together. What would leave the steps of `window` along its lane,
    backward or forward, is not followed."""
    graph = build(system)
    where = "" if step is None else f"[{step + first}]"
    title = f"{key}{where}" if is_loss else f"Σ{graph.nodes[key].stream or key}{where}"
    steps = [step] if since is None or step is None else list(range(since, step + 1))
    found = Gradients(graph, {}, (key, step), title)
    if crosses(graph):
        _on_the_tape(found, _Tape(found, run, steps, is_loss, sequence, window))
        return found
    _on_the_drawing(found, run, [s for s in steps if s is not None], sequence, window)
    found.make_shares = lambda: _Tape(found, run, steps, is_loss, sequence, window).shares()
    return found


def leaves(edge: Edge, graph: Graph, window: Window) -> bool:
    """Whether an edge leads out of a window of steps of a lane."""
    wire, target, source = edge
    lane, low, high = window
    same = graph.nodes[wire.source].lane == graph.nodes[wire.target].lane == lane
    inside = target is not None and low <= target <= high
    return same and inside and source is not None and not low <= source <= high


def _on_the_drawing(found: Gradients, run: Any, steps: Sequence[int], sequence: int, window: Window | None) -> None:
    """One sweep over the drawing's own nodes."""
    values = Values(run, found.graph.system, sequence)
    backward = Backward(found.graph, values)
    key = found.seed[0]
    factor = found.graph.nodes[key].factor
    seeds = {(key, s): np.full(np.shape(backward.node_value(key, s)), factor) for s in steps}
    _, since, until = window or ("", 0, None)
    sweep = backward.run(seeds, since=since, until=until)
    edges: dict[Edge, Array] = {(w, s, s + w.lag): m for (w, s), m in sweep.messages.items()}
    found.lengths = dict(values.lengths)
    found.messages = {e: m for e, m in edges.items() if window is None or not leaves(e, found.graph, window)}
    found.cotangents = {(k, s): g for (k, s), g in sweep.cotangents.items()}
    found.jacobian = lambda edge: jacobian_norm(backward, edge[0], edge[1] or 0)
    found.value = backward.node_value


class _Tape:
    """One pass along the tape of the run computed again."""

    def __init__(
        self,
        found: Gradients,
        run: Any,
        steps: Sequence[int | None],
        is_loss: bool,
        sequence: int,
        window: Window | None,
    ) -> None:
        graph, key = found.graph, found.seed[0]
        node = graph.nodes[key]
        one = None if is_loss or steps[0] is None else (steps[0],) if len(steps) == 1 else ()
        self.trace = trace = of_run(run, node.stream or key, sequence, one)
        self.flow = flow = Flow(graph, trace)
        ops = [k for s in steps for k in flow.result(node, s)]
        if not ops:
            raise ValueError(f"{spoken(found.seed)} is not on the tape of this run")
        edges = flow.edges(_pieces(graph.system, trace.lengths))
        gone = [e for e in edges if window is not None and leaves(e, graph, window)]
        self.edges = [e for e in edges if e not in gone] if gone else edges
        self.done = trace.backward({k: np.full(trace.ops[k].shape, node.factor) for k in ops}, cut=flow.cut(gone))

    def shares(self) -> dict[str, dict[int, Array]]:
        return self.flow.shares(self.done)


def _on_the_tape(found: Gradients, tape: _Tape) -> None:
    graph, trace, flow, done = found.graph, tape.trace, tape.flow, tape.done
    found.lengths = trace.lengths
    for edge in tape.edges:
        links = flow.links(*edge)
        message = flow.message(done, links)
        if message is not None:
            found.messages[edge] = message
            found.ends[edge] = flow.parts(done, links)
    for name, each in graph.nodes.items():
        for at in range(trace.lengths[each.lane]) if each.lane else (None,):
            gs = [done.adjoints[k] for k in flow.result(each, at) if k in done.adjoints]
            if gs:
                found.cotangents[name, at] = gs[0][0] if len(gs) == 1 else np.stack(gs)[:, 0]
    found.make_shares = tape.shares
    found.jacobian = flow.jacobian
    found.value = lambda name, at: np.asarray(trace.ops[flow.result(graph.nodes[name], at)[0]].value)[0]


def _pieces(system: System, lengths: dict[str, int]) -> list[Any]:
    """The wires that start a state from another lane, which the drawing adds to the equations' reads."""
    return [p for p in compose(system, lengths).scene.pieces if p.net == "boundary"]
