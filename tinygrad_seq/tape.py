"""The tape: what was computed, and the backward pass over it.

A node holds edges to the nodes of its inputs and the residuals its derivative reads, no tensor: so a
value dies with its last user, and no cycle keeps it. Nodes are numbered as they are made, hence a
node's number is above those of its inputs, and descending numbers are an order in which each node is
finished only after all its consumers. Nothing here recurses, and no derivative is written here; the
one un-broadcast and cast of every cotangent is `fit`.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.changes import changes, last_change, owner_of, serial, touch
from tinygrad_seq.derivative import Derivative
from tinygrad_seq.errors import GradientError
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.state import caller, changed, inside, line_of, state, user_line

__all__ = [
    "Custom",
    "Edge",
    "Leaf",
    "Node",
    "Step",
    "Sums",
    "backward",
    "changed",
    "custom_node",
    "fit",
    "freed_error",
    "last_change",
    "nodes",
    "reach",
    "register_tensor",
    "state",
    "touch",
    "user_line",
]

Edge = tuple["Node", int]  # a node, and which of its outputs
Meta = tuple[tuple[int, ...], Any]  # shape and dtype
Pullback = Callable[[list[Any]], Sequence[Any]]

_getframe = sys._getframe


# ---------------------------------------------------------------- nodes


class Node:
    """What made one or several arrays."""

    __slots__ = ("serial", "edges", "code", "at", "freed", "__weakref__")
    count = 1  # outputs

    def __init__(self, edges: tuple[Edge | None, ...]) -> None:
        self.serial = next(serial)
        self.edges = edges
        self.code, self.at = caller()
        self.freed = False

    @property
    def name(self) -> str:
        return "node"

    @property
    def line(self) -> str:
        """`file:line` of the user's code that made it."""
        return line_of(self.code, self.at)

    def meta(self, slot: int) -> Meta:
        """Shape and dtype of an output."""
        raise NotImplementedError

    def pull(self, cotangents: list[Any], record: bool) -> Sequence[Any]:
        """The inputs' cotangents (tensors when `record`), each fitted to its input."""
        raise NotImplementedError

    def free(self) -> None:
        """Let go of the residuals; a later backward pass through here is an error."""
        self.freed = True
        self.edges = ()


class Leaf(Node):
    """A tensor with `requires_grad`; knows it weakly, to put its gradient there."""

    __slots__ = ("tensor", "shape", "dtype")

    def __init__(self, tensor: Any) -> None:
        super().__init__(())
        self.tensor = weakref.ref(tensor)
        self.shape, self.dtype = tensor.shape, tensor.dtype

    @property
    def name(self) -> str:
        return "leaf"

    def meta(self, slot: int) -> Meta:
        return self.shape, self.dtype

    def free(self) -> None:
        """A leaf serves every graph that it is part of."""


class Step(Node):
    """A primitive's call. `saved` holds the residuals: the inputs `derivative.saved`, then perhaps y."""

    __slots__ = ("op", "static", "derivative", "saved", "shapes", "shape", "dtype")

    def __init__(
        self,
        op: Primitive,
        static: dict[str, Any],
        derivative: Derivative,
        edges: tuple[Edge | None, ...],
        values: list[Any],
        out: Any,
    ) -> None:
        self.serial = next(serial)
        self.edges = edges
        frame = _getframe(3)  # above: this, Tensor.read, and the primitive or the operator that was called
        back = frame.f_back
        while back is not None and inside(frame):
            frame, back = back, back.f_back
        self.code, self.at = frame.f_code, frame.f_lasti
        self.freed = False
        self.op, self.static, self.derivative = op, static, derivative
        self.shape, self.dtype = out.shape, out.dtype
        self.shapes: tuple[Any, ...] = ()
        if derivative.shapes:
            self.shapes = tuple([v.shape if isinstance(v, np.ndarray) else () for v in values])
        values.append(out)
        self.saved: tuple[Any, ...] | None = tuple([values[i] for i in derivative.keep])

    @property
    def name(self) -> str:
        return self.op.name

    def meta(self, slot: int) -> Meta:
        return self.shape, self.dtype

    def pull(self, cotangents: list[Any], record: bool) -> Sequence[Any]:
        if self.saved is None:
            raise freed_error(self)
        if changes:
            self.check_unchanged(self.saved)
        rules, kept = self.derivative, self.saved
        if record:
            kept = tuple([self._tensor(i, array) for i, array in zip(rules.keep, kept, strict=True)])
        function = rules.on_tensors if record else rules.on_values
        results = function(cotangents[0], kept, self.shapes, self.static)
        return [
            None if r is None or e is None else fit(r, *e[0].meta(e[1]))
            for r, e in zip(results, self.edges, strict=True)
        ]

    def _tensor(self, position: int, array: Any) -> Any:
        """A residual as the tensor that it was, its place on the tape included."""
        edge = self.edges[position] if position < len(self.edges) else (self, 0)
        return array if edge is None else _tensor_type.on_tape(array, edge)

    def check_unchanged(self, saved: tuple[Any, ...]) -> None:
        for i, array in zip(self.derivative.keep, saved, strict=True):
            if isinstance(array, np.ndarray) and changes.get(id(owner_of(array)), 0) > self.serial:
                what = "result" if i == len(self.edges) else f"input {i}"
                raise GradientError(
                    f"the {what} of {self.name} (made at {self.line}) was changed in place after the forward pass, "
                    "and its derivative reads it: change a copy, or change it after backward()"
                )

    def free(self) -> None:
        self.saved = None
        self.freed = True
        self.edges = ()


class Custom(Node):
    """A client's node: a pullback over arrays (or over tensors, if it is differentiable itself)."""

    __slots__ = ("label", "pullback", "differentiable", "outputs", "count")

    def __init__(
        self,
        label: str,
        edges: tuple[Edge | None, ...],
        outputs: tuple[Meta, ...],
        pullback: Pullback,
        differentiable: bool,
    ) -> None:
        super().__init__(edges)
        self.label = label
        self.outputs, self.count = outputs, len(outputs)
        self.pullback: Pullback | None = pullback
        self.differentiable = differentiable

    @property
    def name(self) -> str:
        return self.label

    def meta(self, slot: int) -> Meta:
        return self.outputs[slot]

    def pull(self, cotangents: list[Any], record: bool) -> Sequence[Any]:
        if self.pullback is None:
            raise freed_error(self)
        if record and not self.differentiable:
            raise GradientError(f"{self.label} (at {self.line}) has a gradient, but no gradient of its gradient")
        results = self.pullback(cotangents)
        if len(results) != len(self.edges):
            raise GradientError(f"{self.label} gave {len(results)} cotangents for {len(self.edges)} inputs")
        return [
            None if r is None or e is None else fit(r, *e[0].meta(e[1]))
            for r, e in zip(results, self.edges, strict=True)
        ]

    def free(self) -> None:
        self.pullback = None
        super().free()


def freed_error(node: Node) -> GradientError:
    return GradientError(
        f"the residuals of {node.name} (at {node.line}) were freed by an earlier backward pass: "
        "pass retain_graph=True to that one, or compute the value again"
    )


_tensor_type: Any = None  # tensor.Tensor, which registers itself: it needs this module whole


def register_tensor(tensor_type: Any) -> None:
    global _tensor_type
    _tensor_type = tensor_type


# ---------------------------------------------------------------- the backward pass


def fit(g: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A cotangent in its input's shape and dtype: the only un-broadcast and cast there is."""
    if g.shape != shape:
        smaller = g.ndim < len(shape) or any(a == 1 != b for a, b in zip(g.shape[-len(shape) :], shape, strict=False))
        if smaller and shape:
            g = REGISTRY["broadcast_to"](g, np.broadcast_shapes(g.shape, shape))
        g = REGISTRY["sum_to"](g, shape)
    if g.dtype != dtype:
        if g.dtype.kind == "c" and np.dtype(dtype).kind != "c":
            g = REGISTRY["re"](g)
        g = REGISTRY["astype"](g, dtype=np.dtype(dtype).name)
    return g


class Sums:
    """Cotangents as they come in, edge by edge; a buffer is written to only if it was made here.

    The first output of a node is held under the node itself, any other under the edge.
    """

    __slots__ = ("held", "made", "record")

    def __init__(self, record: bool) -> None:
        self.held: dict[Any, Any] = {}
        self.made: set[Any] = set()
        self.record = record

    def add(self, edge: Edge, value: Any) -> None:
        key = edge if edge[1] else edge[0]
        present = self.held.get(key)
        if present is None:
            self.held[key] = value
        elif self.record:
            self.held[key] = REGISTRY["add"](present, value)
        elif key in self.made:
            np.add(present, value, out=present)
        else:
            self.held[key] = np.asarray(np.add(present, value))
            self.made.add(key)

    def take(self, edge: Edge) -> tuple[Any, bool]:
        """What arrived, and whether its buffer was made here; forgotten here."""
        key = edge if edge[1] else edge[0]
        made = key in self.made
        self.made.discard(key)
        return self.held.pop(key, None), made


def reach(
    roots: Sequence[Edge], stops: frozenset[Node], floor: int, own: frozenset[Node] = frozenset()
) -> tuple[list[Node], bool]:
    """Nodes numbered `floor` or more below the roots, latest first; and whether the graph goes on beyond
    them, to something that is neither among `stops` nor `own` (variables that nobody else can see)."""
    seen: set[Node] = set()
    stack = [node for node, _ in roots]
    outside = False
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        if node.serial < floor and node not in stops:
            outside = True
            continue
        seen.add(node)
        if node.freed:
            raise freed_error(node)
        if node in stops or node in own:
            outside = outside or node.serial < floor or any(e is not None for e in node.edges)
            if node.serial <= floor:
                continue
        elif isinstance(node, Leaf):
            outside = True
        for edge in node.edges:
            if edge is not None:
                stack.append(edge[0])
    return sorted(seen, key=lambda n: n.serial, reverse=True), outside


def backward(
    roots: Sequence[Edge],
    cotangents: Sequence[Any],
    wrt: Sequence[Edge] | None,
    *,
    floor: int = 0,
    own: frozenset[Node] = frozenset(),
    record: bool | None = None,
    free: bool = False,
) -> list[Any]:
    """Cotangents of `wrt`, given those of the roots; with `wrt` None they go to the leaves' `grad`.

    `floor` is a node number below which nothing leads to `wrt`. `record` makes the pass itself part of
    the tape; None decides: when the graph reaches beyond `wrt`, so that somebody may differentiate again.
    """
    stops = frozenset(node for node, _ in wrt) if wrt is not None else frozenset()
    order, outside = reach(roots, stops, floor, own)
    if record is None:
        tracked = any(isinstance(c, _tensor_type) and c.edge is not None for c in cotangents)
        record = state().recording and (outside or tracked)
    leads = _leading(order, stops) if wrt is not None else None
    useful = leads | stops if leads is not None else None
    sums = Sums(record)
    for edge, cotangent in zip(roots, cotangents, strict=True):
        value = cotangent.data if isinstance(cotangent, _tensor_type) and not record else cotangent
        if record and not isinstance(value, _tensor_type):
            value = _tensor_type(value)
        sums.add(edge, value)
    wanted = frozenset(wrt or ())
    results: dict[Edge, Any] = {}
    watches = state().watches
    with np.errstate(all="ignore"), changed(recording=record):
        plain = not record and not watches
        for node in order:
            if plain and type(node) is Step and node not in stops:  # nearly all there is
                if useful is None or node in useful:
                    g = sums.held.pop(node, None)
                    if g is not None:
                        _step(node, g, sums, useful)
                if free:
                    node.free()
                continue
            taken = [sums.take((node, slot)) for slot in range(node.count)]
            for watch in watches:
                watch.arrived(node, [value for value, _ in taken])
            if node in stops:
                for slot, (value, made) in enumerate(taken):
                    if value is not None and (node, slot) in wanted:  # no buffer is handed out that may be another's
                        results[node, slot] = value if record or made else np.array(value)
            if wrt is None and isinstance(node, Leaf):
                _deposit(node, *taken[0])
            elif node.edges and (leads is None or node in leads):
                incoming = [value for value, _ in taken]
                if incoming[0] is not None or any(value is not None for value in incoming):
                    _propagate(node, incoming, sums, record, useful)
                if free:
                    node.free()
    return [results.get(edge) for edge in wrt or ()]


def _leading(order: Sequence[Node], stops: frozenset[Node]) -> set[Node]:
    """The nodes with an edge that leads to one of `stops`."""
    leads: set[Node] = set()
    for node in reversed(order):
        if any(e is not None and (e[0] in leads or e[0] in stops) for e in node.edges):
            leads.add(node)
    return leads


def _step(node: Step, g: Any, sums: Sums, useful: set[Node] | None) -> None:
    """`_propagate` for a primitive's call over arrays, without the detours."""
    kept, rules = node.saved, node.derivative
    if kept is None:
        raise freed_error(node)
    if changes:
        node.check_unchanged(kept)
    if sums.made:
        sums.made.discard(node)
    try:
        if rules.scatters and _scatter(node, g, sums, useful):
            return
        results = rules.on_values(g, kept, node.shapes, node.static)
        for value, edge in zip(results, node.edges, strict=True):
            if value is None or edge is None or (useful is not None and edge[0] not in useful):
                continue
            source, slot = edge
            if type(source) is Step:
                shape, dtype = source.shape, source.dtype
            else:
                shape, dtype = source.meta(slot)
            if value.shape != shape or value.dtype is not dtype:
                value = fit(value, shape, dtype)
            if slot or source in sums.held:
                sums.add(edge, value)
            else:
                sums.held[source] = value
    except Exception as error:
        error.add_note(f"in the backward pass, at {node.name} (made at {node.line})")
        raise


def _scatter(node: Step, g: Any, sums: Sums, useful: set[Node] | None) -> bool:
    """Add the cotangent of a slice to its source's buffer, in place: T slices of an array cost T slices, not T
    arrays. False when it is not as simple as that."""
    edge = node.edges[0]
    key = node.static["key"]
    if edge is None or edge[1] or not key.simple:
        return False
    source = edge[0]
    if useful is not None and source not in useful:
        return True
    shape, dtype = source.meta(0)
    if g.dtype != dtype:
        return False
    buffer = sums.held.get(source)
    if buffer is None:
        buffer = sums.held[source] = np.zeros(shape, dtype)
        sums.made.add(source)
    elif source not in sums.made:
        buffer = sums.held[source] = np.array(buffer)
        sums.made.add(source)
    buffer[key.value] += g
    return True


def _propagate(node: Node, incoming: list[Any], sums: Sums, record: bool, useful: set[Node] | None) -> None:
    try:
        outgoing = node.pull(incoming, record)
    except GradientError:
        raise
    except Exception as error:
        error.add_note(f"in the backward pass, at {node.name} (made at {node.line})")
        raise
    for watch in state().watches:
        watch.sent(node, outgoing)
    for edge, value in zip(node.edges, outgoing, strict=True):
        if edge is not None and value is not None and (useful is None or edge[0] in useful):
            sums.add(edge, value)


def _deposit(leaf: Leaf, value: Any, made_here: bool) -> None:
    """Add to the tensor's `grad`, in a buffer of its own."""
    tensor = leaf.tensor()
    if tensor is None or value is None:
        return
    if isinstance(value, _tensor_type):
        tensor.grad = value if tensor.grad is None else REGISTRY["add"](tensor.grad, value)
    elif tensor.grad is None:
        tensor.grad = _tensor_type.wrap(value if made_here else np.array(value))
    elif tensor.grad.edge is None:
        tensor.grad.assign(tensor.grad.data + value)
    else:
        tensor.grad = _tensor_type.wrap(tensor.grad.data + value)


# ---------------------------------------------------------------- for clients


def custom_node(
    name: str, inputs: Sequence[Any], outputs: Sequence[Any], pullback: Pullback, *, differentiable: bool = False
) -> list[Any]:
    """Put a computation done elsewhere on the tape as ONE node; returns its outputs as tensors.

    name      for messages
    inputs    tensors that it read
    outputs   arrays that it computed (kept, not copied)
    pullback  `pullback(cotangents) -> cotangents`: one array or None for each output in, one array or
              None for each input out; called once a backward pass, again after retain_graph=True, and let
              go of when the node is freed
    differentiable   the pullback computes on tensors when it is given tensors, so that its gradient has one

    Where nothing records, or no input requires a gradient, the outputs are plain tensors and the
    pullback is dropped.
    """
    arrays = [np.asarray(o) for o in outputs]
    edges = tuple(getattr(t, "edge", None) for t in inputs)
    current = state()
    tensors: list[Any]
    if current.recording and any(e is not None for e in edges):
        node = Custom(name, edges, tuple((a.shape, a.dtype) for a in arrays), pullback, differentiable)
        tensors = [
            _tensor_type.on_tape(a, (node, i)) if a.dtype.kind in "fc" else _tensor_type.wrap(a)
            for i, a in enumerate(arrays)
        ]
    else:
        tensors = [_tensor_type.wrap(a) for a in arrays]
    for watch in current.watches:
        watch.result(name, inputs, {}, tensors, user_line())
    return tensors


def nodes(root: Any) -> list[Node]:
    """The nodes below a tensor, inputs first."""
    return [] if root.edge is None else reach([root.edge], frozenset(), 0)[0][::-1]
