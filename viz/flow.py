"""A trace laid over a drawing: which operations each drawn node stands for, which tape edges each wire.

Works for cells over any number of time axes, since the tape has no axes: whatever flows between two drawn
nodes is a sum of messages along edges of the tape. Knows no colours and places nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from dsl.system.system import Read as SystemRead
from tinygrad_seq.symbol import Symbol
from viz.graph import Graph, Node, Wire
from viz.scene import Mark, Piece
from viz.trace import Pass, Steps, Trace

Array = np.ndarray[Any, Any]
Edge = tuple[Wire, int | None, int | None]  # a wire, its target's step, its source's step
Link = tuple[int, int]  # an operation of the trace and which of its operands; operand -1: its own result


class Flow:
    """`trace` seen through `graph`."""

    def __init__(self, graph: Graph, trace: Trace) -> None:
        self.graph, self.trace = graph, trace
        self.owned = {key: _owned(node) for key, node in graph.nodes.items()}
        self._links: dict[tuple[Wire, int | None, int | None], list[Link]] = {}

    # ------------------------------------------------------------ nodes

    def result(self, node: Node, step: int | None) -> list[int]:
        """The operations whose values a drawn node shows at a step of its lane, one for each step of its other axes."""
        if node.stream is not None and (
            node.kind in ("state", "chip") or node.symbol is None or node.symbol.op is None
        ):
            at = None if step is None else step + (node.lag if node.kind == "chip" else 0)
            return self.stream(node.stream, at)
        if node.symbol is None or node.equation is None:
            return []
        return [ops[-1] for ops in self._places(node, node.symbol, step)]

    def stream(self, name: str, step: int | None) -> list[int]:
        """The operations that are a stream's values at a step of its first axis."""
        return [
            k for (n, steps), k in self.trace.streams.items() if n == name and (not steps or step in (None, steps[0]))
        ]

    def operations(self, node: Node, step: int | None) -> list[int]:
        """All operations inside a drawn node at a step."""
        if node.kind in ("state", "chip"):
            return self.result(node, step)
        found = {k for s in self.owned[node.key] for ops in self._places(node, s, step) for k in ops}
        return sorted(found)

    def of_mark(self, mark: Mark) -> list[int]:
        return self.operations(mark.node, mark.step)

    def _places(self, node: Node, symbol: Symbol, step: int | None) -> list[range]:
        if node.equation is None:
            return []
        at = {node.lane: step} if node.lane and step is not None else {}
        return self.trace.expression(node.equation, symbol, at)

    # ------------------------------------------------------------ wires

    def links(self, wire: Wire, step: int | None, source: int | None = None) -> list[Link]:
        """The tape's edges that a wire stands for, into its target at `step` (from its source at step `source`)."""
        key = (wire, step, source)
        if key not in self._links:
            self._links[key] = self._find(wire, step, source)
        return self._links[key]

    def _find(self, wire: Wire, step: int | None, source: int | None) -> list[Link]:
        target = self.graph.nodes[wire.target]
        if target.kind == "state":
            return [(k, -1) for k in self.result(target, step)]
        if target.symbol is not None and target.symbol.op is None:  # `y[t] = h[t]` is no operation
            return [(k, -1) for k in self.result(target, step)]
        if not target.sockets:
            return []
        socket = target.sockets[wire.socket]
        operand = socket.operand
        if operand is None:
            return []
        found: dict[int, list[int]] = {}
        for consumer in self._consumers(target, wire.socket):
            for ops in self._places(target, consumer, step):
                for k in ops:
                    for n, j in enumerate(self.trace.ops[k].inputs):
                        if j is not None and j not in ops and self._is(j, operand, wire, source):
                            found.setdefault(k, []).append(n)
        twins = [i for i, s in enumerate(target.sockets) if s.operand is operand and s.term is socket.term]
        if len(twins) > 1:
            turn = twins.index(wire.socket)
            return [(k, places[turn % len(places)]) for k, places in found.items()]
        return [(k, n) for k, places in found.items() for n in places]

    def _consumers(self, target: Node, socket: int) -> list[Symbol]:
        mine = target.sockets[socket]
        if mine.term is not None and mine.term is not mine.operand:
            return [mine.term]
        others = {s.term for s in target.sockets if s.term is not s.operand}
        return [s for s in self.owned[target.key] if s not in others and any(a is mine.operand for a in s.args)]

    def _is(self, j: int, operand: Symbol, wire: Wire, source: int | None) -> bool:
        op = self.trace.ops[j]
        if isinstance(operand.leaf, SystemRead):
            if op.stream is None or op.stream[0] != operand.leaf.name:
                return False
            return source is None or not op.stream[1] or self._step(op.stream[1], wire) == source
        return op.symbol is operand and (
            source is None or op.at.get(self.graph.nodes[wire.source].lane, source) == source
        )

    def _step(self, steps: Steps, wire: Wire) -> int:
        node = self.graph.nodes[wire.source]
        return steps[0] - (node.lag if node.kind == "chip" else 0)

    def shares(self, done: Pass) -> dict[str, dict[int, Array]]:
        """What each step sends to each parameter: by the step of the equation's first axis. What is computed once from
        parameters alone (`S = W - W.T`) sends on, for each step, what came from that step."""
        ops = self.trace.ops
        once: dict[int, None] = {}
        for k, op in enumerate(ops):
            made = op.inputs and not op.at
            if made and all(j is None or j in once or j in self._parameters for j in op.inputs):
                once[k] = None
        sent: dict[int, dict[int, Array]] = {}
        for (k, n), message in done.messages.items():
            to = ops[k].inputs[n]
            if k not in once and to is not None and (to in once or to in self._parameters):
                mine = sent.setdefault(next(iter(ops[k].at.values()), 0), {})
                mine[to] = message if to not in mine else mine[to] + message
        found: dict[str, dict[int, Array]] = {n: {} for n in self._parameters.values()}
        for step, seeds in sorted(sent.items()):
            adjoints = self.trace.backward(seeds, only=once).adjoints
            for k, name in self._parameters.items():
                if k in adjoints:
                    found[name][step] = adjoints[k]
        return found

    @cached_property
    def _parameters(self) -> dict[int, str]:
        system = self.trace.system
        assert system is not None
        names = {n for n, s in system.streams.items() if s.kind == "param"}
        return {k: op.label for k, op in enumerate(self.trace.ops) if op.is_leaf and op.label in names}

    def edges(self, pieces: Iterable[Piece] = ()) -> list[Edge]:
        """Every read of the unrolled system, drawn or left out, and what `pieces` add (states' starts)."""
        found: dict[Edge, None] = {}
        for wire in self.graph.wires:
            lane = self.graph.nodes[wire.target].lane
            for step in range(self.trace.lengths[lane]) if lane else (None,):
                found.update(dict.fromkeys((wire, step, source) for source in self._sources(wire, step, lane)))
        for piece in pieces:
            for read in piece.reads:
                if read.wire not in self._wires:
                    found[read.wire, read.target_step, read.source_step] = None
        return list(found)

    @cached_property
    def _wires(self) -> set[Wire]:
        return set(self.graph.wires)

    def _sources(self, wire: Wire, step: int | None, lane: str) -> Iterable[int | None]:
        source = self.graph.nodes[wire.source].lane
        if wire.relation == "step" and step is not None:
            return (step + wire.lag,)
        if not source:
            return (None,)
        index = next(iter(wire.read.index), None) if wire.read is not None else None
        if wire.relation == "all" or index is None:
            return range(self.trace.lengths[source])
        return (int(index.at(step if index.axis == lane and step is not None else 0, self.trace.lengths)),)

    # ------------------------------------------------------------ sizes

    def message(self, done: Pass, links: Iterable[Link]) -> Array | None:
        """What flows along tape edges together: summed where they end in the same value, else one behind the other."""
        found = list(self.parts(done, links).values())
        if len(found) < 2:
            return found[0] if found else None
        return np.concatenate([np.ravel(p) for p in found])

    def parts(self, done: Pass, links: Iterable[Link]) -> dict[int, Array]:
        """What flows along tape edges to each operation that they end in."""
        by_end: dict[int, Array] = {}
        for k, n in links:
            g = done.adjoints.get(k) if n < 0 else done.messages.get((k, n))
            if g is None:
                continue
            end = k if n < 0 else self.trace.ops[k].inputs[n]
            assert end is not None
            by_end[end] = g if end not in by_end else by_end[end] + g
        return by_end

    def cut(self, edges: Iterable[Edge]) -> set[Link]:
        """The tape's edges along which nothing flows any more when `edges` are cut. An equation that only reads is no
        operation: its readers are cut off instead."""
        found: set[Link] = set()
        stack = list(edges)
        while stack:
            wire, step, source = stack.pop()
            links = self.links(wire, step, source)
            found.update(link for link in links if link[1] >= 0)
            if any(n < 0 for _, n in links):
                onward = [w for w in self.graph.wires if w.source == wire.target and w.relation == "step"]
                stack += [(w, step - w.lag, step) for w in onward if step is not None]
        return found

    def jacobian(self, edge: Edge) -> float:
        """‖∂target/∂source‖₂ of an edge: each component of the target sent back through the target's operations."""
        links = self.links(*edge)
        if any(n < 0 for _, n in links):
            return 1.0  # a name for the same value
        target = self.graph.nodes[edge[0].target]
        inside = self.operations(target, edge[1])
        rows: list[dict[int, Array]] = []
        for k in self.result(target, edge[1]):
            for basis in np.eye(int(np.prod(self.trace.ops[k].shape, dtype=int))):
                seed = {k: basis.reshape(self.trace.ops[k].shape)}
                rows.append(self.parts(self.trace.backward(seed, only=inside), links))
        sizes = {end: np.size(g) for row in rows for end, g in row.items()}
        full = [[np.ravel(row.get(end, np.zeros(n))) for end, n in sorted(sizes.items())] for row in rows]
        return float(np.linalg.norm(np.array([np.concatenate(row) for row in full]), 2)) if sizes else 0.0

    def along(self, piece: Piece) -> list[Link]:
        """The tape's edges of all reads that pass along a piece."""
        seen: dict[Link, None] = {}
        for read in piece.reads:
            crossing = read.wire.relation != "step"
            seen.update(dict.fromkeys(self.links(read.wire, read.target_step, read.source_step if crossing else None)))
        return list(seen)


def _owned(node: Node) -> list[Symbol]:
    """The parts of an equation that are inside a drawn node: from its symbol down to its sockets' operands."""
    if node.symbol is None:
        return []
    ends = {s.operand for s in node.sockets if s.operand is not None}
    found: dict[Symbol, None] = {}
    stack = [node.symbol]
    while stack:
        symbol = stack.pop()
        if symbol in found or symbol.op is None or (symbol in ends and symbol is not node.symbol):
            continue
        found[symbol] = None
        stack.extend(symbol.args)
    return list(found)
