"""A system of recurrence equations: the one value that every later stage reads.

Resolving a cell gives a `System`; its adjoint is a `System` again; the scheduler, the unroller, the
LaTeX writer and the drawings all read this and nothing else. It has no batch: time axes are named,
and one bit a stream tells whether it has one value a sequence or one for all (`shared`).

Expressions are `tinygrad_seq.symbol.Symbol` DAGs over the leaves below and numbers. Their operations:
every elementwise primitive; `matvec lookup dot matmul outer transpose`; the reductions, over the
features (`axis=-1`) or a named axis (`axis="t"`); `softmax log_softmax` likewise; `concat part fill`
(`fill(x, dims=(n,))` is a vector of one number: `zeros(n) + x`); `one_hot(read, Size(K))`, a category
as a vector; `cross_entropy(logits, read)`. Reads of a category stand under `lookup`, `one_hot`,
`cross_entropy` and `equal` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dsl.system.dims import Dim
from dsl.text.tree import NOWHERE, Source, Span
from tinygrad_seq.symbol import Symbol, leaves, lift, postorder, substitute


@dataclass(frozen=True, slots=True)
class Index:
    """Where a read looks: `(scale*axis + extent*len(length) + offset) // divisor`.

    `axis` is one of the reader's axes (None for a constant index); `length` names the axis whose
    length enters (None when extent == 0). `t-1` is scale 1, offset -1; `2*u+1` scale 2;
    `len(t)-1-t` scale -1, extent 1, offset -1; `last` is scale 0, extent 1, offset -1.
    The offset may hold integer arguments (`t-k`).
    """

    axis: str | None
    scale: int = 1
    offset: Dim = Dim()
    divisor: int = 1
    length: str | None = None
    extent: int = 0

    @property
    def is_identity(self) -> bool:
        return self.scale == 1 and self.divisor == 1 and self.extent == 0 and not self.offset.terms

    @property
    def is_shift(self) -> bool:
        """`axis + offset`, no stride, floor or length."""
        return self.axis is not None and self.scale == 1 and self.divisor == 1 and self.extent == 0

    @property
    def is_last(self) -> bool:
        return self.axis is None and self.extent == 1 and self.offset == -1 and self.divisor == 1

    def at(self, position: Any, lengths: Mapping[str, Any]) -> Any:
        """The value for a position (int or integer array) and the axes' lengths (ints or arrays)."""
        value = int(self.offset)
        if self.axis is not None:
            value = value + self.scale * position
        if self.length is not None:
            value = value + self.extent * lengths[self.length]
        return value if self.divisor == 1 else value // self.divisor


def here(axis: str) -> Index:
    """The reader's own step on that axis."""
    return Index(axis)


def at_home(index: Sequence[Index], axes: Sequence[str]) -> bool:
    """Whether a read stands at the reader's own steps on the axes of what it reads (`q[u]` of a `q[s]` does not)."""
    return all(i.is_identity and i.axis == a for i, a in zip(index, axes, strict=True))


# ---------------------------------------------------------------- leaves of expressions


@dataclass(frozen=True, slots=True)
class Read:
    """A stream, parameter or other name at the given indices (one an axis of what is read)."""

    name: str
    index: tuple[Index, ...] = ()

    def __str__(self) -> str:
        return self.name + (str(list(self.index)) if self.index else "")


@dataclass(frozen=True, slots=True)
class Position:
    """`t` as a value: the step's own index on that axis (an integer)."""

    axis: str


@dataclass(frozen=True, slots=True)
class Extent:
    """`len(t)` as a value (an integer, per sequence).

    `inside`: it stands among the steps of the axis, is 1 at least and a value of each step, so that nothing made of it
    (`a/len(t)`) is ever computed for a sequence without steps, nor the gradient of that.
    """

    axis: str
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """Whether a sequence has this step of an axis: for exports, which compute beyond the end of the shorter ones."""

    axis: str


@dataclass(frozen=True, slots=True)
class Size:
    """A dim as a value: `H` in `fft(g[t])/H`."""

    dim: Dim


def read(name: str, *index: Index) -> Symbol:
    return lift(Read(name, index))


# ---------------------------------------------------------------- the system


@dataclass(frozen=True, slots=True)
class Initializer:
    """`~ uniform(-1, 1/sqrt(H))`: a distribution's name and its arguments, or a constant (name "constant").

    An argument is a number, or an expression of sizes (`Size` leaves) until `bind` gives them values.
    """

    name: str
    arguments: tuple[Any, ...] = ()

    @property
    def numbers(self) -> tuple[Any, ...]:
        """The arguments as numbers. Errors: ValueError naming a size that nothing gives."""
        for argument in self.arguments:
            for size in (n.leaf.dim for n in leaves(argument) if isinstance(n.leaf, Size)) if _open(argument) else ():
                raise ValueError(f"{self.name}: the size {size} has no value yet")
        return self.arguments

    def bind(self, numbers: Mapping[str, int]) -> Initializer:
        """The same with numbers for these sizes."""
        bound = (substitute(a, lambda n: _bound(n, numbers)) if _open(a) else a for a in self.arguments)
        return Initializer(self.name, tuple(a if (n := evaluate_number(lift(a))) is None else n for a in bound))


def _open(argument: Any) -> bool:
    return isinstance(argument, Symbol)


def evaluate_number(symbol: Symbol) -> Any:
    """The value of an expression of numbers only (a size with a value is one), None when it reads anything."""
    done: dict[Symbol, Any] = {}
    for node in postorder([symbol]):
        if node.op is not None:
            with np.errstate(all="ignore"):
                done[node] = node.op.impl(*[done[a] for a in node.args], **node.options)
        elif isinstance(node.leaf, Size) and node.leaf.dim.is_constant:
            done[node] = int(node.leaf.dim)
        elif node.is_number:
            done[node] = node.leaf
        else:
            return None
    value = done[symbol]
    return value if isinstance(value, int | complex) else float(value)


@dataclass(frozen=True, slots=True)
class Stream:
    """Anything with a name: what it is, where it lives, what shape it has.

    kind      input | param | const | noise | equation | draw   (a `state` is an equation or a draw
              that has a boundary)
    axes      its time axes in order; () for one value a sequence, or a shared one
    shape     feature dims, () for a scalar
    dtype     real | complex | category (an integer 0..categories-1; -1 is none) | boolean
    shared    one value for all sequences (params, consts, totals and what is computed from them only)
    boundary  the value outside its steps: an expression without axes, None when undeclared
    total     an equation that also sums over the sequences
    """

    name: str
    kind: str
    axes: tuple[str, ...] = ()
    shape: tuple[Dim, ...] = ()
    dtype: str = "real"
    categories: Dim | None = None
    shared: bool = False
    boundary: Symbol | None = None
    initializer: Initializer | None = None
    kept: bool = False
    total: bool = False
    state: bool = False  # declared `state` in the source
    span: Span = NOWHERE
    comment: str = ""  # printed behind its equation
    note: str = ""  # printed behind its declaration

    def at_home(self) -> Symbol:
        """The read of this stream at the reader's own indices."""
        return lift(Read(self.name, tuple(Index(a) for a in self.axes)))


@dataclass(frozen=True, slots=True)
class Draw:
    """`y[t] ~ categorical(logits=...)`: the distribution's name and its parameters' expressions."""

    distribution: str
    parameters: tuple[tuple[str, Symbol], ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """A time axis. `length` is None for one that the data gives; otherwise an integer expression over
    `Extent` leaves and numbers (`len(t)//2`), evaluated per sequence."""

    name: str
    length: Symbol | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """A `use`: the copy's dotted name, the cell it is a copy of, reversed or not, and in a stack its storey."""

    name: str
    cell: str
    reverse: bool = False
    storey: int | None = None


@dataclass(frozen=True)
class System:
    """Equations over named axes. Mappings are in source order; treat them as immutable."""

    name: str
    arguments: Mapping[str, Any]  # dims and numbers in the header: value, or None when not given yet
    axes: Mapping[str, Axis]
    streams: Mapping[str, Stream]
    equations: Mapping[str, Symbol]
    draws: Mapping[str, Draw] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)  # "rnn" -> "rnn.1.h"
    source: Source | None = None
    spans: Mapping[str, Span] = field(default_factory=dict)  # of each equation's line
    fixed: tuple[str, ...] = ()  # arguments whose numbers the equations were made with: strides, storeys

    def with_(self, **changes: Any) -> System:
        return replace(self, **changes)

    def bind(self, values: Mapping[str, Any]) -> System:
        """The same system with numbers for these arguments; others keep their defaults.

        Errors: ValueError for a name that is no argument, or for another number than the equations were made with.
        """
        unknown = sorted(set(values) - set(self.arguments))
        if unknown:
            raise ValueError(
                f"{self.name} has no argument {', '.join(unknown)}; it has {', '.join(self.arguments) or 'none'}"
            )
        for name in self.fixed:
            if values.get(name, self.arguments[name]) != self.arguments[name]:
                raise ValueError(
                    f"{self.name} was made with {name}={self.arguments[name]}, its equations differ for "
                    f"{name}={values[name]}: give it to `load`, `parse` or the spec"
                )
        given = {**self.arguments, **values}
        return self.put({n: v for n, v in given.items() if isinstance(v, int)}).with_(arguments=given)

    def put(self, numbers: Mapping[str, int]) -> System:
        """The same system with these arguments' numbers wherever their names stand."""
        done: dict[Symbol, Symbol] = {}

        def symbol(root: Symbol) -> Symbol:
            if root not in done:
                done[root] = substitute(root, lambda node: _bound(node, numbers))
            return done[root]

        def stream(s: Stream) -> Stream:
            return replace(
                s,
                shape=tuple(d.bind(numbers) for d in s.shape),
                categories=None if s.categories is None else s.categories.bind(numbers),
                boundary=None if s.boundary is None else symbol(s.boundary),
                initializer=None if s.initializer is None else s.initializer.bind(numbers),
            )

        return replace(
            self,
            axes={n: Axis(n, None if a.length is None else symbol(a.length)) for n, a in self.axes.items()},
            streams={n: stream(s) for n, s in self.streams.items()},
            equations={n: symbol(e) for n, e in self.equations.items()},
            draws={
                n: Draw(d.distribution, tuple((k, symbol(e)) for k, e in d.parameters)) for n, d in self.draws.items()
            },
        )


def _bound_option(value: Any, numbers: Mapping[str, int]) -> Any:
    if isinstance(value, tuple):
        return tuple(_bound_option(v, numbers) for v in value)
    return value.bind(numbers) if isinstance(value, Dim) else value


def _bound(node: Symbol, numbers: Mapping[str, int]) -> Symbol | None:
    """A node with numbers for dims in its leaf or options; None when there is nothing to change."""
    if node.op is not None:
        static = tuple((k, _bound_option(v, numbers)) for k, v in node.static)
        return None if static == node.static else Symbol.make(node.op, node.args, static)
    leaf = node.leaf
    if isinstance(leaf, Read):
        index = tuple(replace(i, offset=i.offset.bind(numbers)) for i in leaf.index)
        return None if index == leaf.index else lift(Read(leaf.name, index))
    if isinstance(leaf, Size):
        dim = leaf.dim.bind(numbers)
        return lift(int(dim)) if dim.is_constant else lift(Size(dim))
    return lift(leaf.bind(numbers)) if isinstance(leaf, Dim) else None
