"""The nodes of the tape: what made one or several arrays, and how cotangents are pulled through it.

A node holds edges to the nodes of its inputs and the residuals its derivative reads, no tensor: so a value
dies with its last user, and no cycle keeps it. Nodes are numbered as they are made, hence a node's number is
above those of its inputs. Freeing a node lets go of its residuals, never of its edges: what was computed can
be drawn after a backward pass. The order in which nodes are pulled is the business of `tape`.

An edge leads to one output of a node. Most nodes have one, and the edge to a node's first output is written as the node
itself where it is kept (a `Source`), so that a million operations are a million containers and not four million.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.changes import changes, owner_of, serial
from tinygrad_seq.collector import untrack
from tinygrad_seq.derivative import Derivative
from tinygrad_seq.errors import GradientError
from tinygrad_seq.ops.index import Key
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.state import caller, line_of

Edge = tuple["Node", int]  # a node, and which of its outputs
Source = Any  # an edge as it is kept: the node alone for its first output, else a `Later`
Meta = tuple[tuple[int, ...], Any]  # shape and dtype
Pullback = Callable[[list[Any]], Sequence[Any]]
_add_up: Any = np.add.reduce
_new = object.__new__
_NO_OPTIONS: dict[str, Any] = {}  # one for all: what nodes hold, Python's collector walks
HARMLESS = frozenset({Key, bool, int, float, str, tuple, type(None)})  # options that lead to no node


class Later(tuple[Any, ...]):
    """An edge to an output behind the first; equal to that edge."""

    __slots__ = ()
    acyclic = False


def source_of(edge: Edge | None) -> Source:
    """An edge as it is kept."""
    return edge if edge is None else Later(edge) if edge[1] else edge[0]


def edge_of(source: Source) -> Edge | None:
    """What is kept as an edge."""
    if source is None:
        return None
    return (source[0], source[1]) if type(source) is Later else (source, 0)


class Node:
    """What made one or several arrays."""

    __slots__ = ("serial", "code", "at", "freed", "__weakref__")
    count = 1  # outputs
    fresh = False  # whether nobody else holds the cotangents that it gives
    acyclic = False  # whether it can reach arrays and older nodes only

    def __init__(self) -> None:
        self.serial = next(serial)
        self.code, self.at = caller()
        self.freed = False

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where its inputs come from; None for one that is no tensor, or has no gradient."""
        return ()

    @property
    def edges(self) -> tuple[Edge | None, ...]:
        """The same as edges."""
        return tuple([edge_of(s) for s in self.sources])

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
        """Let go of the residuals; a later backward pass through here is an error. The edges stay."""
        self.freed = True


def parents(node: Node) -> list[Node]:
    """The nodes of its inputs."""
    sources = (node.first, node.second, *node.more) if type(node) is Step else node.sources
    return [s[0] if type(s) is Later else s for s in sources if s is not None]


class Leaf(Node):
    """A tensor with `requires_grad`; knows it weakly, to put its gradient there."""

    __slots__ = ("tensor", "shape", "dtype")
    acyclic = True

    def __init__(self, tensor: Any) -> None:
        super().__init__()
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
    """A primitive's call. `saved` holds the residuals: the inputs `derivative.saved`, then perhaps y.

    The sources of the first two inputs and of those behind are `first`, `second` and `more`.
    """

    __slots__ = (
        "op", "first", "second", "more", "static", "derivative", "saved", "shapes", "shape", "dtype", "acyclic"
    )  # fmt: skip
    op: Primitive
    first: Source
    second: Source
    more: tuple[Source, ...]
    static: dict[str, Any]
    derivative: Derivative
    saved: tuple[Any, ...] | None
    shapes: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: Any

    @staticmethod
    def make(
        op: Primitive,
        static: dict[str, Any],
        derivative: Derivative,
        sources: list[Source],
        values: list[Any],
        out: Any,
        frame: Any,
    ) -> Step:
        """`values` are the inputs' arrays and numbers, `frame` the user's. (No `__init__`: made for every operation,
        and a class's call costs as much again.)"""
        self = _new(Step)
        self.serial = next(serial)
        count = len(sources)
        self.first = first = sources[0]
        acyclic = first is None or first.acyclic
        if count == 1:
            self.second, self.more = None, ()
        else:
            self.second = second = sources[1]
            acyclic = acyclic and (second is None or second.acyclic)
            self.more = ()
            if count > 2:
                self.more = more = tuple(sources[2:])
                acyclic = acyclic and all([s is None or s.acyclic for s in more])
                if acyclic:
                    untrack(more)
        self.code = frame.f_code
        self.at = frame.f_lasti
        self.freed = False
        self.op = op
        self.static = static or _NO_OPTIONS
        self.derivative = derivative
        self.shape = out.shape
        self.dtype = out.dtype
        self.shapes = derivative.shapes_of(values) if derivative.shapes else ()
        self.saved = derivative.kept_of(values, out) if derivative.keep else ()
        self.acyclic = acyclic = acyclic and (not static or HARMLESS.issuperset(map(type, static.values())))
        if acyclic:
            untrack(self)
        return self

    @property
    def sources(self) -> tuple[Source, ...]:
        return (self.first, self.second, *self.more)[: len(self.derivative.cotangents)]

    @property
    def name(self) -> str:
        return self.op.name

    def meta(self, slot: int) -> Meta:
        return self.shape, self.dtype

    def pull(self, cotangents: list[Any], record: bool) -> Sequence[Any]:
        if self.saved is None:
            raise freed_error(self)
        if changes:
            self.check_unchanged()
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
        edges = self.edges
        edge = edges[position] if position < len(edges) else (self, 0)
        return array if edge is None else _tensor_type.on_tape(array, edge)

    def check_unchanged(self) -> None:
        """GradientError if a residual was changed in place since the node was made."""
        for i, array in zip(self.derivative.keep, self.saved or (), strict=True):
            if isinstance(array, np.ndarray) and changes.get(id(owner_of(array)), 0) > self.serial:
                what = "result" if i == len(self.derivative.cotangents) else f"input {i}"
                raise GradientError(
                    f"the {what} of {self.name} (made at {self.line}) was changed in place after the forward pass, "
                    "and its derivative reads it: change a copy, or change it after backward()"
                )

    def free(self) -> None:
        self.saved = None
        self.freed = True


class Custom(Node):
    """A client's node: a pullback over arrays (or over tensors, if it is differentiable itself)."""

    __slots__ = ("label", "pullback", "differentiable", "outputs", "count", "fresh", "inputs")

    def __init__(
        self,
        label: str,
        edges: tuple[Edge | None, ...],
        outputs: tuple[Meta, ...],
        pullback: Pullback,
        differentiable: bool,
        fresh: bool = False,
    ) -> None:
        super().__init__()
        self.inputs: tuple[Source, ...] = tuple([source_of(e) for e in edges])
        self.fresh = fresh
        self.label = label
        self.outputs, self.count = outputs, len(outputs)
        self.pullback: Pullback | None = pullback
        self.differentiable = differentiable

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.inputs

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


class Variable(Node):
    """The value of `parent` (None: of no tensor) seen as a variable of its own, to which its cotangent passes on."""

    __slots__ = ("parent", "shape", "dtype", "acyclic")

    def __init__(self, parent: Edge | None, array: Any) -> None:
        super().__init__()
        self.parent = source_of(parent)
        self.shape, self.dtype = array.shape, array.dtype
        self.acyclic = self.parent is None or self.parent.acyclic

    @property
    def sources(self) -> tuple[Source, ...]:
        return (self.parent,)

    @property
    def name(self) -> str:
        return "variable"

    def meta(self, slot: int) -> Meta:
        return self.shape, self.dtype

    def pull(self, cotangents: list[Any], record: bool) -> Sequence[Any]:
        if self.freed:
            raise freed_error(self)
        return cotangents


def freed_error(node: Node) -> GradientError:
    return GradientError(
        f"the residuals of {node.name} (at {node.line}) were freed by an earlier backward pass: "
        "pass retain_graph=True to that one, or compute the value again"
    )


_tensor_type: Any = None  # tensor.Tensor, which registers itself: it needs this module whole


def register_tensor(tensor_type: Any) -> None:
    global _tensor_type
    _tensor_type = tensor_type


def fit(g: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A cotangent in its input's shape and dtype: the only un-broadcast and cast there is."""
    if g.shape != shape:
        if type(g) is np.ndarray and shape and g.shape[-len(shape) :] == shape:  # batches added up: nearly always
            return fit(_add_up(g, axis=tuple(range(g.ndim - len(shape)))), shape, dtype)
        smaller = g.ndim < len(shape) or any(a == 1 != b for a, b in zip(g.shape[-len(shape) :], shape, strict=False))
        if smaller and shape:
            g = REGISTRY["broadcast_to"](g, np.broadcast_shapes(g.shape, shape))
        g = REGISTRY["sum_to"](g, shape)
        if g.shape != shape:
            raise GradientError(f"a rule gave a cotangent of shape {g.shape} for an input of shape {shape}")
    if g.dtype != dtype:
        if g.dtype.kind == "c" and np.dtype(dtype).kind != "c":
            g = REGISTRY["re"](g)
        g = REGISTRY["astype"](g, dtype=np.dtype(dtype).name)
    return g
