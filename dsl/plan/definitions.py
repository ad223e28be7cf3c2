"""What the normal form is made of: definitions, the terms of products, and questions about reads.

Data and small functions only; `lower` and `normal` make it, everything behind them reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from dsl.plan.schedule import offset_value, show_index
from dsl.system.dims import Dim
from dsl.system.kinds import Kinds
from dsl.system.system import Read, Size, Stream, System
from dsl.text.diagnostics import CellError, Diagnostic
from dsl.text.tree import NOWHERE, Source
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, lift, postorder


@dataclass(frozen=True, slots=True)
class Term:
    """`weight @ operand` (or `weight.T @ operand`), one product into an accumulator.

    Of a Fourier transform the name, fft or ifft: a product whose matrix nobody writes down. Its operand and its result
    are real parts followed by imaginary ones; it is alone in its accumulator.
    """

    weight: str
    transposed: bool
    operand: Read
    transform: str = ""

    def __str__(self) -> str:
        index = self.operand.index
        operand = self.operand.name + (f"[{','.join(map(show_index, index))}]" if index else "")
        if self.transform:
            return f"{self.transform}({operand})"
        return f"{self.weight}{'.T' if self.transposed else ''}@{operand}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a concatenation: `value` (None for zeros) from feature `start` on."""

    start: Dim
    size: Dim
    value: Symbol | None


@dataclass(slots=True)
class Definition:
    """Something that is computed into memory.

    kind   load (an input), kept (lies in the forward run's memory), pointwise, product, reduce, pieces,
           total (pointwise, summed over everything), outer (a sum of outer products), scatter (a sum of
           outer products with categories)
    axes   its time axes; () is one value a sequence (totals: one for all)
    """

    name: str
    kind: str
    axes: tuple[str, ...]
    shape: tuple[Dim, ...]
    dtype: str = "real"
    value: Symbol | None = None
    terms: tuple[Term, ...] = ()
    pieces: tuple[Piece, ...] = ()
    reduction: str = ""  # sum, max or min
    over: tuple[str, ...] = ()  # the axes a reduction or a total runs over
    operands: tuple[Symbol, ...] = ()  # of outer: two reads; of scatter: a value and a category
    boundary: float | str | None = None  # a number, or the name of what holds it
    wanted: bool = False
    known: tuple[tuple[Symbol, ...], list[Read]] | None = field(default=None, repr=False, compare=False)  # of `reads`

    @property
    def domain(self) -> tuple[str, ...]:
        """The axes its computation runs over."""
        return self.axes + self.over

    def expressions(self) -> tuple[Symbol, ...]:
        """What it reads, as symbols."""
        own = () if self.value is None else (self.value,)
        return (
            own
            + tuple(lift(t.operand) for t in self.terms)
            + tuple(p.value for p in self.pieces if p.value is not None)
            + self.operands
        )


@dataclass
class Normal:
    """`definitions` by name (an order of no meaning), shared equations for NumPy before and after the loops."""

    system: System
    streams: dict[str, Stream]
    definitions: dict[str, Definition]
    names: dict[str, str]  # wanted stream -> the definition or total holding it
    before: dict[str, Symbol]  # shared values computed from params and consts
    after: dict[str, Symbol]  # shared values computed from totals
    totals: dict[str, tuple[tuple[str, str], ...]]  # total -> its contributions: (definition, "" or "T")
    stored: dict[Symbol, str] = field(default_factory=dict)  # the value of a definition -> its name
    constant: dict[str, float] = field(default_factory=dict)
    stages: dict[str, int] = field(default_factory=dict)  # of definitions that wait for totals: how many times
    kinds: Kinds = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = Kinds(self.streams)


def unsupported(system: System, name: str, what: str, help_: str = 'run it with engine="tape"') -> NoReturn:
    """E701: parses and has a meaning, but this engine has no code for it."""
    span = system.spans.get(name, NOWHERE)
    raise CellError(
        [Diagnostic("E701", f"{what} is not compiled yet", span, help=help_)], system.source or Source("", system.name)
    )


def is_home(read: Read, axes: tuple[str, ...]) -> bool:
    return all(i.is_identity and i.axis == a for i, a in zip(read.index, axes, strict=True))


def is_shifted(read: Read, axes: tuple[str, ...]) -> bool:
    """Whether every index is a plain shift along the stream's own axis."""
    return all(i.is_shift and i.axis == a for i, a in zip(read.index, axes, strict=True))


def op(name: str, *args: Symbol | int | float, **static: object) -> Symbol:
    out = REGISTRY[name](*[lift(a) for a in args], **static)
    assert isinstance(out, Symbol)
    return out


def reads(definition: Definition) -> list[Read]:
    """Every read in a definition's expressions; looked for once, while these are the same."""
    roots = definition.expressions()
    if definition.known is None or definition.known[0] != roots:
        definition.known = roots, [n.leaf for n in postorder(roots) if isinstance(n.leaf, Read)]
    return list(definition.known[1])


def shared_names(definition: Definition) -> list[str]:
    """What a definition may read that all sequences share (or have a value each of)."""
    found = [r.name for r in reads(definition) if not r.index] + [t.weight for t in definition.terms if t.weight]
    return found + ([definition.boundary] if isinstance(definition.boundary, str) else [])


def shift_of(system: System, read: Read, axes: tuple[str, ...], axis: str) -> int | None:
    """How far `read` looks along `axis`; None when it is not a plain shift there, or has no such axis."""
    for index, own in zip(read.index, axes, strict=True):
        if own == axis:
            return offset_value(system, index.offset) if index.is_shift and index.axis == axis else None
    return None


def larger(root: Symbol, limit: int) -> bool:
    """Whether an expression has more than `limit` operations; looks at no more than that."""
    seen: set[Symbol] = set()
    stack = [root]
    while stack and len(seen) <= limit:
        node = stack.pop()
        if node.op is not None and node not in seen:
            seen.add(node)
            stack += node.args
    return len(seen) > limit


def size_of(dim: Dim) -> Symbol:
    return lift(int(dim)) if dim.is_constant else lift(Size(dim))


def finite(top: Symbol) -> Symbol:
    """A maximum to subtract before exp: -inf (nothing possible) must not make -inf - -inf."""
    return op("where", op("equal", top, lift(float("-inf"))), lift(0.0), top)
