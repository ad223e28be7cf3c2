"""The tape: the backward pass over the nodes, and what clients put on it.

Descending numbers of nodes are an order in which each is finished only after all its consumers. Nothing here
recurses, and no derivative is written here; the one un-broadcast and cast of every cotangent is `nodes.fit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_seq.changes import last_change, latest_change, touch
from tinygrad_seq.errors import GradientError
from tinygrad_seq.nodes import (
    Custom,
    Edge,
    Later,
    Leaf,
    Node,
    Pullback,
    Source,
    Step,
    Variable,
    fit,
    freed_error,
    parents,
    register_tensor,
    source_of,
)
from tinygrad_seq.ops.linalg import Product
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.state import changed, state, user_line

__all__ = [
    "Custom",
    "Edge",
    "Leaf",
    "Node",
    "Step",
    "Sums",
    "Variable",
    "backward",
    "changed",
    "custom_node",
    "fit",
    "freed_error",
    "last_change",
    "nodes",
    "reach",
    "state",
    "touch",
    "user_line",
    "use_tensors",
]

_tensor_type: Any = None  # tensor.Tensor, which registers itself: it needs this module whole
_number = attrgetter("serial")


def use_tensors(tensor_type: Any) -> None:
    """Called once, by the module of tensors."""
    global _tensor_type
    _tensor_type = tensor_type
    register_tensor(tensor_type)


class Sums:
    """Cotangents as they come in, edge by edge; a buffer is written to only if it was made here.

    They are held under their edge as sources have it: the node for its first output. Products that are not
    multiplied yet wait beside, until there are enough of them or the sum is taken.
    """

    __slots__ = ("held", "made", "record", "waiting")

    def __init__(self, record: bool) -> None:
        self.held: dict[Any, Any] = {}
        self.made: set[Any] = set()
        self.waiting: dict[Source, Product] = {}
        self.record = record

    def add(self, key: Source, value: Any, fresh: bool = False) -> None:
        """`fresh` says that nobody else holds the value, so that it may be added to in place."""
        present = self.held.get(key)
        if present is None:
            self.held[key] = value
            if fresh:
                self.made.add(key)
        elif self.record:
            self.held[key] = REGISTRY["add"](present, value)
        elif key in self.made:
            np.add(present, value, present)
        elif fresh:
            self.held[key] = np.add(present, value, out=value)
            self.made.add(key)
        else:
            self.held[key] = np.asarray(np.add(present, value))
            self.made.add(key)

    def wait(self, key: Source, product: Product) -> None:
        """Add a product to those that wait."""
        present = self.waiting.setdefault(key, product)
        if present is not product:
            present.join(product)
            if present.rows >= Product.ENOUGH:
                self._multiply(key)

    def _multiply(self, key: Source) -> None:
        self.add(key, fit(self.waiting.pop(key).array(), *meta_of(key)), True)

    def take(self, key: Source) -> tuple[Any, bool]:
        """What arrived, and whether its buffer was made here; forgotten here."""
        if key in self.waiting:
            self._multiply(key)
        made = key in self.made
        self.made.discard(key)
        return self.held.pop(key, None), made


def meta_of(source: Source) -> Any:
    """Shape and dtype of the output that an edge leads to."""
    return source[0].meta(source[1]) if type(source) is Later else source.meta(0)


def reach(
    roots: Sequence[Edge], stops: frozenset[Node], floor: int, own: frozenset[Node] = frozenset()
) -> tuple[list[Node], bool]:
    """Nodes numbered `floor` or more below the roots, latest first; and whether the graph goes on beyond
    them, to something that is neither among `stops` nor `own` (variables that nobody else can see)."""
    if not (floor or stops or own):
        return _below(roots), True
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
            outside = outside or node.serial < floor or any(s is not None for s in node.sources)
            if node.serial <= floor:
                continue
        elif isinstance(node, Leaf):
            outside = True
        stack += parents(node)
    return sorted(seen, key=_number, reverse=True), outside


def _below(roots: Sequence[Edge]) -> list[Node]:
    """All there is below the roots, latest first."""
    order = list(dict.fromkeys([node for node, _ in roots]))
    seen = set(order)
    see, append = seen.add, order.append
    for node in order:  # which grows
        if node.freed:
            raise freed_error(node)
        if type(node) is Step:
            sources = (node.first, node.second, *node.more) if node.more else (node.first, node.second)
        else:
            sources = node.sources
        for source in sources:
            if source is not None:
                if type(source) is Later:
                    source = source[0]
                if source not in seen:
                    see(source)
                    append(source)
    order.sort(key=_number, reverse=True)
    return order


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
        sums.add(source_of(edge), value)
    wanted = frozenset(wrt) if wrt is not None else None
    results: dict[Edge, Any] = {}
    watches, changed_at = state().watches, latest_change()
    with np.errstate(all="ignore"), changed(recording=record):
        plain, pop = not record and not watches, sums.held.pop
        for node in order:
            if plain and type(node) is Step and node not in stops:  # nearly all there is
                if useful is None or node in useful:
                    g = pop(node, None)
                    if g is not None:
                        if changed_at > node.serial:
                            node.check_unchanged()
                        _step(node, g, sums, useful)
                if free:
                    node.saved, node.freed = None, True  # node.free()
                continue
            incoming = _arrive(node, sums, wanted, results, record, watches)
            if node.sources and (leads is None or node in leads):
                if incoming[0] is not None or any(value is not None for value in incoming):
                    _propagate(node, incoming, sums, record, useful)
                if free:
                    node.free()
    return [results.get(edge) for edge in wrt or ()]


def _arrive(
    node: Node, sums: Sums, wanted: frozenset[Edge] | None, results: dict[Edge, Any], record: bool, watches: Any
) -> list[Any]:
    """What arrived at a node, its outputs in order; shown to who looks on, and put where it was asked for."""
    taken = [sums.take(source_of((node, slot))) for slot in range(node.count)]
    incoming = [value for value, _ in taken]
    for watch in watches:
        watch.arrived(node, incoming)
    if wanted is None:
        if isinstance(node, Leaf):
            _deposit(node, *taken[0])
        return incoming
    for slot, (value, made) in enumerate(taken):
        if value is not None and (node, slot) in wanted:  # no buffer is handed out that may be another's
            results[node, slot] = value if record or made else np.array(value)
    return incoming


def _leading(order: Sequence[Node], stops: frozenset[Node]) -> set[Node]:
    """The nodes with an edge that leads to one of `stops`."""
    leads: set[Node] = set()
    for node in reversed(order):
        for parent in parents(node):
            if parent in leads or parent in stops:
                leads.add(node)
                break
    return leads


def _step(node: Step, g: Any, sums: Sums, useful: set[Node] | None) -> None:
    """`_propagate` for a primitive's call over arrays, without the detours."""
    kept, rules, held, made = node.saved, node.derivative, sums.held, sums.made
    if made:
        made.discard(node)
    try:
        if rules.scatters and _scatter(node, g, sums, useful):
            return
        results = rules.on_tape(g, kept, node.shapes, node.static)
        sources = (node.first, node.second, *node.more) if node.more else (node.first, node.second)
        for value, source, fresh in zip(results, sources, rules.fresh):  # noqa: B905 - two at the least; to say so is slow
            if value is None or source is None:
                continue
            if useful is not None and (source[0] if type(source) is Later else source) not in useful:
                continue
            inner = type(source) is Step
            if inner:
                shape, dtype = source.shape, source.dtype
            else:
                shape, dtype = meta_of(source)
            if value.shape != shape or value.dtype is not dtype:
                if type(value) is Product:
                    if not inner:
                        sums.wait(source, value)
                        continue
                    value = value.array()
                value = fit(value, shape, dtype)
            if inner and source not in held:  # nearly always
                held[source] = value
            else:
                sums.add(source, value, fresh and type(value) is np.ndarray)
    except Exception as error:
        error.add_note(f"in the backward pass, at {node.name} (made at {node.line})")
        raise


def _scatter(node: Step, g: Any, sums: Sums, useful: set[Node] | None) -> bool:
    """Add the cotangent of a slice to its source's buffer, in place: T slices of an array cost T slices, not T
    arrays. False when it is not as simple as that."""
    source, key = node.first, node.static["key"]
    if source is None or type(source) is Later or not key.simple:
        return False
    if useful is not None and source not in useful:
        return True
    shape, dtype = (source.shape, source.dtype) if type(source) is Step else source.meta(0)
    if g.dtype != dtype:
        return False
    buffer = sums.held.get(source)
    if buffer is None:
        buffer = sums.held[source] = np.zeros(shape, dtype)
        sums.made.add(source)
        buffer[key.value] = g
        return True
    if source not in sums.made:
        buffer = sums.held[source] = np.array(buffer)
        sums.made.add(source)
    view = buffer[key.value]
    if type(view) is np.ndarray:
        np.add(view, g, view)
    else:
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
    watches = state().watches
    for watch in watches:
        watch.sent(node, outgoing)
    fresh = node.fresh and not watches  # who watches keeps them
    for source, value in zip(node.sources, outgoing, strict=True):
        if source is not None and value is not None:
            if useful is None or (source[0] if type(source) is Later else source) in useful:
                sums.add(source, value, fresh)


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
    name: str,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    pullback: Pullback,
    *,
    differentiable: bool = False,
    fresh: bool = False,
) -> list[Any]:
    """Put a computation done elsewhere on the tape as ONE node; returns its outputs as tensors.

    name      for messages
    inputs    tensors that it read
    outputs   arrays that it computed (kept, not copied)
    pullback  `pullback(cotangents) -> cotangents`: one array or None for each output in, one array or
              None for each input out; called once a backward pass, again after retain_graph=True, and let
              go of when the node is freed
    differentiable   the pullback computes on tensors when it is given tensors, so that its gradient has one
    fresh     every array that the pullback gives is new and of its input's shape: nobody else holds it, so that it may
              become a `grad` as it is

    Where nothing records, or no input requires a gradient, the outputs are plain tensors and the
    pullback is dropped.
    """
    arrays = [np.asarray(o) for o in outputs]
    edges = tuple(getattr(t, "edge", None) for t in inputs)
    current = state()
    tensors: list[Any]
    if current.recording and any(e is not None for e in edges):
        node = Custom(name, edges, tuple((a.shape, a.dtype) for a in arrays), pullback, differentiable, fresh)
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
