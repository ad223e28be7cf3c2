"""The syntax tree of a `.cell` file: what was written, nothing resolved.

Every node carries the `Span` of source it came from, so that any later stage can point at it.
Trees are immutable values; printed systems are built as trees too and go through the same formatter.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of character offsets into `Source.text`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text and where it came from (`path` is for messages only)."""

    text: str
    path: str = "<text>"

    def line_of(self, offset: int) -> int:
        """1-based line number of a character offset."""
        return self.text.count("\n", 0, offset) + 1


NOWHERE = Span(0, 0)


# ---------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float | complex
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Ref:
    """`rnn.0.W_f` or `h[t-1]`: a dotted name and, in brackets, one index expression an axis."""

    name: str
    index: tuple[Expr, ...] | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Expr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """`op` is one of + - * / // % @ ** == != <= >= < >."""

    op: str
    left: Expr
    right: Expr
    span: Span = field(default=NOWHERE, compare=False)
    parenthesised: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Transpose:
    """`W.T` (kind "T") or `W.H` (kind "H", conjugated)."""

    operand: Expr
    kind: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Argument:
    """A call's argument, positional when `keyword` is None."""

    value: Expr
    keyword: str | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`tanh(z)`, `sum[s](a[t,s]*enc[s])`: `axes` holds the bracket's names, () without a bracket."""

    function: str
    arguments: tuple[Argument, ...]
    axes: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


def function_span(call: Call) -> Span:
    """Of a call's name alone."""
    return Span(call.span.start, call.span.start + len(call.function))


Expr = Number | Ref | Negative | Binary | Transpose | Call


# ---------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True)
class Type:
    """`H`, `(H, D)`, `scalar` (dims == ()), `complex N`, `one_hot K` (qualifier "complex" / "one_hot")."""

    dims: tuple[Expr, ...]
    qualifier: str | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Notes:
    """Comments: whole lines before a node, and one behind it; texts without the `#`, stripped."""

    before: tuple[str, ...] = ()
    behind: str = ""


NO_NOTES = Notes()


@dataclass(frozen=True, slots=True)
class Declaration:
    """`kind` is input, state, param, const or noise; a value after `=`, a distribution after `~`."""

    kind: str
    refs: tuple[Ref, ...]
    type: Type | None = None
    value: Expr | None = None
    distribution: Call | None = None
    kept: bool = False
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """`time u: len(t)//2`"""

    name: str
    length: Expr
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


@dataclass(frozen=True, slots=True)
class Use:
    """`use rnn = stack L of Cell(x=prev, H=H)`; `stack` is None for a single copy."""

    name: str
    cell: str
    arguments: tuple[Argument, ...]
    reverse: bool = False
    stack: Expr | None = None
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


@dataclass(frozen=True, slots=True)
class Output:
    refs: tuple[Ref, ...]
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


@dataclass(frozen=True, slots=True)
class Loss:
    name: str
    value: Expr
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


@dataclass(frozen=True, slots=True)
class Equation:
    """`target = value`; `total` marks a sum over the sequences too (`total W_bar = ...`)."""

    target: Ref
    value: Expr
    total: bool = False
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


@dataclass(frozen=True, slots=True)
class Draw:
    """`y[t] ~ categorical(logits = z[t])`"""

    target: Ref
    distribution: Call
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


Statement = Declaration | TimeAxis | Use | Output | Loss | Equation | Draw


# ---------------------------------------------------------------- files


@dataclass(frozen=True, slots=True)
class Parameter:
    """A cell's argument in its header: `H`, `k=4`, `Cell=LSTM`."""

    name: str
    default: Expr | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Cell:
    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    span: Span = field(default=NOWHERE, compare=False)  # of the header line
    notes: Notes = field(default=NO_NOTES, compare=False)
    tail: tuple[str, ...] = field(default=(), compare=False)  # comment lines after the last statement


@dataclass(frozen=True, slots=True)
class Macro:
    """`def gate(z) = 1/(1 + exp(-z))`: a pure macro."""

    name: str
    parameters: tuple[str, ...]
    value: Expr
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


@dataclass(frozen=True, slots=True)
class Import:
    """`from lstm import LSTM, Peephole`"""

    module: str
    names: tuple[str, ...]
    span: Span = field(default=NOWHERE, compare=False)
    notes: Notes = field(default=NO_NOTES, compare=False)


@dataclass(frozen=True, slots=True)
class File:
    items: tuple[Import | Macro | Cell, ...]
    source: Source
    tail: tuple[str, ...] = field(default=(), compare=False)

    @property
    def cells(self) -> dict[str, Cell]:
        return {item.name: item for item in self.items if isinstance(item, Cell)}
