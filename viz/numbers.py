"""Gradients along every drawn wire: one backward sweep over the picture's own nodes.

Each node of the drawing is one operator at one step. Its cotangent is the sum of the messages of the
wires that leave it; through its operator the primitives' own rules send a message along each wire that
enters it. That is what a tape does, kept apart wire by wire. Rules are linear in the cotangent, so a
leading axis carries many losses, or the rows of a Jacobian, through one sweep.

One sequence at a time, of cells over one time axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsl.system.system import Extent, Index, Position, Read, Size, System
from tinygrad_seq.derivative import pull
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, postorder
from viz.graph import Graph, Node, Wire

Array = np.ndarray[Any, Any]
Point = tuple[str, int]  # a node and its step


class Values:
    """The values of a run's streams, one sequence, at any expression of the system and any step."""

    def __init__(self, run: Any, system: System, sequence: int = 0) -> None:
        self.run, self.system, self.sequence = run, system, sequence
        self.lengths = {a: int(np.asarray(n)[sequence]) for a, n in run.lengths.items()}
        self.streams: dict[str, Array] = {}
        self.edges: dict[str, Array] = {}
        self.memo: dict[tuple[Symbol, int], Any] = {}

    def stream(self, name: str) -> Array:
        """(T, *features) of a stream on time, (*features) of what has none."""
        if name not in self.streams:
            stream = self.system.streams[name]
            value = np.asarray(_array(self.run.value(name)))
            if not stream.shared:
                value = value[(slice(None),) * len(stream.axes) + (self.sequence,)]
            self.streams[name] = value
        return self.streams[name]

    def boundary(self, name: str) -> Array:
        if name not in self.edges:
            found = self.run.boundaries([name])
            self.edges[name] = np.asarray(found[name])[self.sequence]
        return self.edges[name]

    def at(self, root: Symbol, step: int) -> Any:
        """An expression's value at a step."""
        for node in postorder([root]):
            if (node, step) not in self.memo:
                self.memo[node, step] = self._one(node, step)
        return self.memo[root, step]

    def _one(self, node: Symbol, step: int) -> Any:
        leaf = node.leaf
        if node.op is not None:
            return node.op(*(self.memo[a, step] for a in node.args), **node.options)
        if isinstance(leaf, Read):
            return self._read(leaf, step)
        if isinstance(leaf, Position):
            return np.asarray(float(step))
        if isinstance(leaf, Extent):
            return np.asarray(float(self.lengths[leaf.axis]))
        if isinstance(leaf, Size):
            return np.asarray(float(int(leaf.dim)))
        return leaf

    def _read(self, read: Read, step: int) -> Array:
        value = self.stream(read.name)
        if not read.index:
            return value
        index: Index = read.index[0]
        at = index.at(step, self.lengths)
        if 0 <= at < self.lengths[self.system.streams[read.name].axes[0]]:
            return value[at]  # type: ignore[no-any-return]
        before = getattr(self.run, "_before", None)  # a run that carried on: earlier steps are data, not boundary
        if before is not None and at < 0 and read.name in before.values:
            carried = np.asarray(before.values[read.name])
            if len(carried) + at >= 0:
                return carried[len(carried) + at, self.sequence]  # type: ignore[no-any-return]
        return self.boundary(read.name)


def _array(value: Any) -> Any:
    return value.data if hasattr(value, "requires_grad") else value


@dataclass
class Sweep:
    """The result: `cotangents[node, step]` and `messages[wire, target step]`, each with the seeds' leading axis."""

    cotangents: dict[Point, Array] = field(default_factory=dict)
    messages: dict[tuple[Wire, int], Array] = field(default_factory=dict)


class Backward:
    """Sweeps over one run. Errors: ValueError for a cell that reads across axes."""

    def __init__(self, graph: Graph, values: Values) -> None:
        self.graph, self.values = graph, values
        self.incoming: dict[str, list[Wire]] = {}
        for wire in graph.wires:
            self.incoming.setdefault(wire.target, []).append(wire)
        self.lane = graph.lanes[0]
        if [a for a in graph.lanes if a] != [self.lane] or any(len(n.axes) > 1 for n in graph.nodes.values()):
            raise ValueError(
                f"{graph.system.name} has several time axes; gradients along wires are drawn for cells with one "
                "(viz.unrolled draws its structure)"
            )
        self.length = values.lengths[self.lane]

    def reach(self, seeds: Iterable[Point], since: int = 0, until: int | None = None) -> dict[Point, int]:
        """Every node and step (from `since` up to `until`) the seeds depend on, with the number of its readers among
        them."""
        last = self.length - 1 if until is None else until
        readers: dict[Point, int] = dict.fromkeys(seeds, 0)
        stack = list(readers)
        while stack:
            key, step = stack.pop()
            for wire in self.incoming.get(key, ()):
                if wire.relation != "step":
                    continue
                source = (wire.source, step + wire.lag)
                if self.graph.nodes[wire.source].kind == "chip" or not since <= source[1] <= last:
                    continue
                if source not in readers:
                    readers[source] = 0
                    stack.append(source)
                readers[source] += 1
        return readers

    def run(
        self,
        seeds: Mapping[Point, Array],
        keep: str | None = None,
        since: int = 0,
        until: int | None = None,
    ) -> Sweep:
        """Send the seeds' cotangents back; each has the same leading axis (or none).

        With `keep`, only that node's cotangents are kept, and no messages: memory is then linear in the
        steps, not in steps times nodes. Nothing goes further back than step `since`, nor beyond step `until`.
        """
        sweep = Sweep()
        waiting = self.reach(seeds, since, until)
        lead = 1 if any(np.ndim(g) > np.ndim(self.node_value(*p)) for p, g in seeds.items()) else 0
        for point, g in seeds.items():
            sweep.cotangents[point] = np.asarray(g)
        ready = [p for p, n in waiting.items() if not n]
        while ready:
            key, step = point = ready.pop()
            arrived = sweep.cotangents.get(point)
            if keep not in (None, key):
                sweep.cotangents.pop(point, None)
            messages: dict[int, Array] = {}
            if arrived is not None:
                messages = self.through(self.graph.nodes[key], step, arrived, lead)
            for wire in self.incoming.get(key, ()):
                if wire.relation != "step":
                    continue
                message = messages.get(wire.socket)
                if message is not None and keep is None:
                    sweep.messages[wire, step] = message
                source = (wire.source, step + wire.lag)
                if message is not None and (keep is None or source in waiting):
                    old = sweep.cotangents.get(source)
                    sweep.cotangents[source] = message if old is None else old + message
                if source in waiting and self.graph.nodes[wire.source].kind != "chip":
                    waiting[source] -= 1
                    if not waiting[source]:
                        ready.append(source)
        return sweep

    def node_value(self, key: str, step: int) -> Any:
        node = self.graph.nodes[key]
        if node.symbol is not None and node.kind != "state":
            return np.asarray(self.values.at(node.symbol, step))
        return self.values.stream(node.stream or key)[step + node.lag]

    # -- one node

    def through(self, node: Node, step: int, g: Array, lead: int) -> dict[int, Array]:
        """Messages to a node's sockets from its cotangent."""
        symbol = node.symbol
        if symbol is None or symbol.op is None:
            return {0: g} if node.kind != "chip" else {}
        at = self.values
        inlined = (
            node.kind == "card" or any(s.term is not s.operand for s in node.sockets) or symbol.is_op("add", "sub")
        )
        if not inlined:
            parts = self.pull(symbol, step, g, lead)
            varying = [k for k, a in enumerate(symbol.args) if any(s.operand is a for s in node.sockets)]
            return {n: part for n, k in enumerate(varying) if (part := parts[k]) is not None}
        terms = {s.term for s in node.sockets}
        if symbol not in terms and not symbol.is_op("add", "sub", "neg"):
            inner = self.pull(symbol, step, g, lead)[0]
            if inner is None:
                return {}
            g = inner
        out: dict[int, Array] = {}
        for k, socket in enumerate(node.sockets):
            assert socket.term is not None
            value = np.asarray(at.at(socket.term, step))
            message = _unbroadcast(g if socket.sign == "+" else -g, value.shape, lead)
            if socket.operand is None:
                continue
            if socket.term is not socket.operand:
                parts = self.pull(socket.term, step, message, lead)
                place = next(i for i, a in enumerate(socket.term.args) if a is socket.operand)
                if parts[place] is None:
                    continue
                message = parts[place]  # type: ignore[assignment]
            out[k] = message
        return out

    def pull(self, symbol: Symbol, step: int, g: Array, lead: int) -> list[Array | None]:
        assert symbol.op is not None
        inputs = tuple(self.values.at(a, step) for a in symbol.args)
        y = self.values.at(symbol, step)
        if (
            symbol.op.name in ("matvec", "lookup", "dot", "matmul", "outer", "cross_entropy")
            or not symbol.op.elementwise
        ):
            parts = self._each(symbol, g, y, inputs, lead)
        else:
            moving = [not a.is_number for a in symbol.args]
            parts = list(pull(symbol.op, moving, g, y, inputs, symbol.options))
        return [
            None if p is None else _unbroadcast(np.asarray(p), np.shape(x), lead) if not isinstance(x, tuple) else None
            for p, x in zip(parts, inputs, strict=True)
        ]

    def _each(self, symbol: Symbol, g: Array, y: Any, inputs: tuple[Any, ...], lead: int) -> list[Any]:
        """A rule that is not elementwise, seed by seed: its shapes are those of one value."""
        assert symbol.op is not None
        if symbol.op.name == "matvec" and lead:  # all seeds at once: the same rule, read as a batch of rows
            return [None, REGISTRY["matvec"](REGISTRY["transpose"](inputs[0]), g)]
        if not lead:
            return list(symbol.op.pullback(g, y, inputs, symbol.options))
        some = [n for n, row in enumerate(g) if np.any(row)]  # most losses have not come this far back
        if not some:
            return [None] * len(inputs)
        rows = [symbol.op.pullback(g[n], y, inputs, symbol.options) for n in some]
        out: list[Any] = []
        for k in range(len(inputs)):
            if rows[0][k] is None:
                out.append(None)
                continue
            whole = np.zeros((len(g), *np.shape(rows[0][k])), np.asarray(rows[0][k]).dtype)
            whole[some] = [r[k] for r in rows]
            out.append(whole)
        return out


def _unbroadcast(g: Array, shape: tuple[int, ...], lead: int) -> Array:
    """Sum the axes along which a value of `shape` was broadcast; the seeds' leading axis stays."""
    while g.ndim - lead > len(shape):
        g = g.sum(axis=lead)
    for k, n in enumerate(shape):
        if n == 1 and g.shape[lead + k] != 1:
            g = g.sum(axis=lead + k, keepdims=True)
    return (
        g
        if g.ndim - lead == len(shape) and g.shape[lead:] == shape
        else np.broadcast_to(
            g.reshape(g.shape[:lead] + (1,) * (len(shape) - (g.ndim - lead)) + g.shape[lead:]), g.shape[:lead] + shape
        )
    )


def loss_point(graph: Graph, name: str | None, step: int) -> Point:
    """The node that is a loss at a step. Errors: ValueError for no such loss."""
    losses = [k for k, n in graph.nodes.items() if n.role == "loss" and n.axes]
    if name is not None and name not in losses:
        raise ValueError(
            f"{graph.system.name} has no loss {name} with a term at each step"
            + (f"; it has {', '.join(losses)}" if losses else "")
        )
    if not losses:
        raise ValueError(f"{graph.system.name} has no loss with a term at each step")
    return (name or losses[0], step)


def jacobian_norm(backward: Backward, wire: Wire, step: int) -> float:
    """‖∂target/∂source‖₂ of one wire at one step."""
    value = backward.node_value(wire.target, step)
    size = int(np.prod(np.shape(value), dtype=int))
    basis = np.eye(size).reshape((size, *np.shape(value)))
    message = backward.through(backward.graph.nodes[wire.target], step, basis, 1).get(wire.socket)
    return 0.0 if message is None else float(np.linalg.norm(np.asarray(message).reshape(size, -1), 2))
