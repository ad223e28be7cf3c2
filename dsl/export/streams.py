"""Streams as arrays: their names, shapes, boundary values and histories; the places an expression can stand at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dsl.export.arrays import Array, Arrays, Let, Loop, Size, Statement
from dsl.run.program import sizes
from dsl.run.unroll import EMPTY_IS_AN_ERROR
from dsl.system.kinds import Kinds, named_axis
from dsl.system.system import Extent, Read, Stream, System
from dsl.system.system import Size as Dimension
from tinygrad_seq.symbol import Symbol, leaves, postorder


@dataclass(frozen=True, slots=True)
class Span:
    """An open axis: its own steps, or a loop's iterations, of which `delay` come before step 0."""

    axis: str
    steps: Size
    delay: int = 0

    @property
    def is_plain(self) -> bool:
        return self.steps == f"steps_{self.axis}" and not self.delay


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression is evaluated: open axes in the order of its dims, the loops around, and whose equation."""

    open: tuple[Span, ...] = ()
    loops: tuple[Loop, ...] = ()
    reader: str = ""

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(s.axis for s in self.open)

    @property
    def axes_of_loops(self) -> tuple[str, ...]:
        return tuple(loop.axis for loop in self.loops)

    def of(self, reader: str, open_: tuple[Span, ...]) -> Place:
        return replace(self, reader=reader, open=open_)

    def inside(self, loop: Loop) -> Place:
        return Place((), (*self.loops, loop))

    def span(self, loop: Loop) -> Span:
        """A loop's iterations as the reader sees them."""
        return Span(loop.axis, loop.steps, loop.delays.get(self.reader, 0))

    def outside(self, opened: bool, whole: bool = False) -> Place:
        """Around the innermost loop, its axis open or not: at its iterations, or at the `whole` of its steps."""
        span = self.span(self.loops[-1])
        first = (Span(span.axis, f"steps_{span.axis}") if whole else span,) if opened else ()
        return Place((*first, *self.open), self.loops[:-1], self.reader)


Home = tuple[Array, tuple[str, ...]]  # a stream's value where it is visible, with its axes in the order of its dims


class Streams(ABC):
    """What is known of a system's streams while it is walked through.

    held     stream -> how many of its last values a state has; `carries` tells whether there is a state
    home     stream -> its array and axes, inside of loops those of the iteration
    around   stream -> the loops around its equation
    masked   loop -> streams of it that are read at another step: boundaries at steps that a sequence does not have
    kept     those, as they are read from another step
    read_now loop -> streams of it that are read in the iteration that makes them
    lengths  axis -> (B,)
    """

    def __init__(self, system: System, held: Mapping[str, int], carries: bool) -> None:
        self.system, self.held, self.carries = system, held, carries
        self.o, self.kinds = Arrays(), Kinds(system)
        self.statements: list[Statement] = []
        self.home: dict[str, Home] = {}
        self.around: dict[str, tuple[Loop, ...]] = {}
        self.masked: dict[Loop, set[str]] = {}
        self.read_now: dict[Loop, set[str]] = {}
        self.kept: dict[str, Array] = {}
        self.lengths: dict[str, Array] = {}
        self._named: dict[str, Array] = {}
        self._reads: dict[Symbol, frozenset[Read]] = {}

    def emit(self, statement: Statement, loop: Loop | None = None) -> None:
        (loop.body if loop is not None else self.statements).append(statement)

    def reads_of(self, root: Symbol) -> frozenset[Read]:
        """The reads of an expression."""
        if root not in self._reads:
            for node in postorder([root]):
                if node not in self._reads:
                    own = frozenset((node.leaf,) if isinstance(node.leaf, Read) else ())
                    self._reads[node] = own.union(*(self._reads[a] for a in node.args))
        return self._reads[root]

    # ------------------------------------------------------------ names and shapes

    def leaf(self, name: str, sizes_: tuple[Size, ...], kind: str, loop: Loop | None = None) -> Array:
        return self.o.leaf("name", name, sizes_, kind, loop)

    def named(self, name: str, value: Array) -> Array:
        """A value outside of loops under a name of its own, made once."""
        if name not in self._named:
            self._named[name] = self.leaf(name, value.sizes, value.kind)
            self.emit(Let(self._named[name], value))
        return self._named[name]

    def kind(self, stream: Stream) -> str:
        return {"category": "int", "boolean": "bool"}.get(stream.dtype, stream.dtype)

    def features(self, stream: Stream) -> tuple[int, ...]:
        return () if stream.dtype == "category" else sizes(stream.shape)

    def row_sizes(self, stream: Stream, axes: Iterable[str]) -> tuple[Size, ...]:
        """Its shape on some of its axes."""
        return (*(f"steps_{a}" for a in axes), *(() if stream.shared else ("B",)), *self.features(stream))

    # ------------------------------------------------------------ axes

    def axes_used(self, chosen: Iterable[str]) -> list[str]:
        """Axes of these streams, those that they reduce over and those whose length they speak of; base axes first."""
        system = self.system
        used = {a for n in chosen for a in system.streams[n].axes}
        for name in chosen:
            for node in postorder([system.equations[name]]) if name in system.equations else ():
                axis = named_axis(node) or (node.leaf.axis if isinstance(node.leaf, Extent) else None)
                used |= {axis} if axis is not None else set()
        pending = list(used)
        while pending:
            length = system.axes[pending.pop()].length
            more = {n.leaf.axis for n in leaves(length) if isinstance(n.leaf, Extent)} - used if length else set()
            used |= more
            pending += more
        done: list[str] = []
        while len(done) < len(used):
            for axis in system.axes:
                length = system.axes[axis].length
                needs = {n.leaf.axis for n in leaves(length) if isinstance(n.leaf, Extent)} if length else set()
                if axis in used and axis not in done and needs <= set(done):
                    done.append(axis)
        return done

    def integer(self, root: Symbol) -> Array:
        """A derived axis's lengths, (B,)."""
        return self._folded(root, lambda axis: (self.lengths[axis],) * 2)[1]

    def bound(self, root: Symbol) -> Array:
        """The most steps that a derived axis can have, from the most of those it is derived from."""
        most = self._folded(root, lambda axis: (self.o.number(0), self.leaf(f"steps_{axis}", (), "int")))[1]
        return self.o.make("at_least", (most,), (0,), (), "int")

    def _folded(self, root: Symbol, leaf: Callable[[str], tuple[Array, Array]]) -> tuple[Array, Array]:
        """The least and the largest value of an integer expression."""
        o = self.o
        at: dict[Symbol, tuple[Array, Array]] = {}
        for node in postorder([root]):
            if isinstance(node.leaf, Extent):
                at[node] = leaf(node.leaf.axis)
            elif node.op is None:
                number: Any = node.leaf.dim if isinstance(node.leaf, Dimension) else node.leaf
                at[node] = (o.number(int(number)),) * 2
            else:
                args = [at[a] for a in node.args]
                low, high = zip(*args, strict=True)
                if node.is_op("sub"):
                    at[node] = o("sub", low[0], high[1]), o("sub", high[0], low[1])
                elif node.is_op("neg"):
                    at[node] = o("neg", high[0]), o("neg", low[0])
                elif node.is_op("mod") and low[0] is not high[0]:
                    at[node] = o.number(0), o("sub", high[1], 1)
                elif node.is_op("mul") and any(a.is_number and a.static[0] < 0 for a in low):
                    at[node] = o("mul", high[0], high[1]), o("mul", low[0], low[1])
                else:
                    at[node] = o(node.op.name, *low), o(node.op.name, *high)
        return at[root]

    def requirements(self, root: Symbol) -> list[tuple[str, str]]:
        """What of an expression does not exist over no steps, and the axis: `mean[t]`, t."""
        found = [
            (f"{n.op.name}[{a}]", a)
            for n in postorder([root])
            if (a := named_axis(n)) is not None and n.op is not None and n.op.name in EMPTY_IS_AN_ERROR
        ]
        return list(dict.fromkeys(found))

    # ------------------------------------------------------------ before and behind the steps

    def edge(self, stream: Stream) -> Array:
        """The boundary value: a number, (features), or (B, features)."""
        root = stream.boundary
        if root is None or root.is_number:
            number: Any = 0 if root is None else root.leaf
            return self.o.number(number if stream.dtype == "category" else number + 0.0)
        return self.named(f"{stream.name}.edge", self.boundary(stream))

    @abstractmethod
    def boundary(self, stream: Stream) -> Array:
        """A boundary that is no number."""

    def history(self, name: str) -> Array:
        """The last values of a stream before the first step, (lag, B, ...), oldest first: carried on, or boundaries."""
        o, stream, lag = self.o, self.system.streams[name], self.held[name]
        shape: tuple[Size, ...] = (lag, "B", *self.features(stream))
        edge = o.broadcast(self.edge(stream), shape, self.kind(stream))
        ran = o.leaf("state", stream.axes[0], ("B",), "int")
        past = o.leaf("state", name, shape, self.kind(stream))
        past = o.make("stop_gradient", (past,), (), shape, past.kind)  # as in truncated backpropagation through time
        before = o.call("recalled", past, ran, edge)
        return self.named(f"{name}.before", o.given("state", before, edge))
