"""The values of inlining: copies of cells, and the flat declarations and definitions they leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from dsl.system.dims import Dim
from dsl.system.scope import Scope
from dsl.text.tree import Call, Cell, Declaration, Draw, Equation, Expr, Loss, Ref, Span, Statement, Type, Use


@dataclass(frozen=True)
class TimeMap:
    """A copy's local axis: the root's axis it runs over, and whether it runs over it backwards."""

    axis: str
    flipped: bool = False


@dataclass
class Copy:
    """One inlined copy of a cell."""

    prefix: str
    cell: Cell
    scope: Scope
    dims: dict[str, Dim] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)  # arguments that are no sizes: p=0.1
    cells: dict[str, tuple[Cell, Scope]] = field(default_factory=dict)
    axes: dict[str, TimeMap] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)  # local name -> flat name, for shared and given ones
    boundaries: dict[str, tuple[Expr, Copy]] = field(
        default_factory=dict
    )  # state -> boundary given by the user of the copy
    uses: dict[str, list[Copy]] = field(default_factory=dict)
    parent: Copy | None = None
    use: Use | None = None
    model: Copy | None = None  # the copy whose parameters this one shares
    outputs: list[str] = field(default_factory=list)  # flat names
    reverse: bool = False
    storey: int | None = None
    unknown_axes: set[str] = field(default_factory=set)  # reported already

    def flat(self, name: str) -> str:
        return self.prefix + name

    @cached_property
    def names(self) -> frozenset[str]:
        """What the cell's own statements declare or define."""
        return frozenset(ref.name for statement in self.cell.body for ref in targets(statement))

    @property
    def root(self) -> Copy:
        copy = self
        while copy.parent is not None:
            copy = copy.parent
        return copy

    def place(self, span: Span) -> Span:
        """Where to point for something in this copy: its own text, or the `use` that brought it in."""
        copy: Copy = self
        while copy.parent is not None and copy.scope.file.source is not copy.root.scope.file.source:
            assert copy.use is not None
            span, copy = copy.use.span, copy.parent
        return span


@dataclass
class Declared:
    """A declaration of one flat name."""

    name: str
    kind: str
    axes: tuple[str, ...]
    copy: Copy
    span: Span
    type: Type | None = None
    boundary: Expr | None = None
    boundary_copy: Copy | None = None
    distribution: Call | None = None
    kept: bool = False


@dataclass
class Defined:
    """An equation, a drawn stream's distribution or a loss of one flat name."""

    name: str
    axes: tuple[str, ...]
    local_axes: tuple[str, ...]
    value: Expr
    copy: Copy
    span: Span
    target_span: Span
    total: bool = False
    drawn: Call | None = None
    loss: bool = False


@dataclass
class Flat:
    """Everything of a cell after inlining, in source order."""

    root: Copy
    declared: dict[str, Declared] = field(default_factory=dict)
    defined: dict[str, Defined] = field(default_factory=dict)
    axes: dict[str, tuple[Expr, Copy, Span] | None] = field(default_factory=dict)  # None: given by the data
    outputs: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)


def targets(statement: Statement) -> tuple[Ref, ...]:
    """What a statement declares or defines."""
    if isinstance(statement, Declaration):
        return statement.refs
    if isinstance(statement, Equation | Draw):
        return (statement.target,)
    if isinstance(statement, Loss):
        return (Ref(statement.name),)
    return ()
