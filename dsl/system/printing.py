"""A system as a tree of the language: what `print(spec.adjoint())` shows, and the parser reads again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dsl.system.dims import Dim
from dsl.system.kinds import Kinds, named_axis
from dsl.system.system import Extent, Index, Initializer, Position, Read, Size, Stream, System
from dsl.text.tree import (
    Argument,
    Binary,
    Call,
    Cell,
    Declaration,
    Draw,
    Equation,
    Expr,
    Loss,
    Negative,
    Notes,
    Number,
    Output,
    Parameter,
    Ref,
    Statement,
    TimeAxis,
    Transpose,
    Type,
)
from tinygrad_seq.symbol import Symbol, lift, postorder

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "floordiv": "//",
    "mod": "%",
    "power": "**",
    "matvec": "@",
    "dot": "@",
    "matmul": "@",
    "lookup": "@",
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}


def dim_tree(dim: Dim) -> Expr:
    """`2*H + 1`"""
    result: Expr | None = None
    for monomial, factor in sorted(dim.terms.items(), key=lambda item: (item[0] == (), item[0])):
        term: Expr | None = None if abs(factor) == 1 and monomial else Number(abs(factor))
        for name in monomial:
            term = Ref(name) if term is None else Binary("*", term, Ref(name))
        assert term is not None
        if result is None:
            result = Negative(term) if factor < 0 else term
        else:
            result = Binary("-" if factor < 0 else "+", result, term)
    return result if result is not None else Number(0)


def index_tree(index: Index) -> Expr:
    """`t-1`, `2*u+1`, `(t-1)//2`, `len(t)-1-t`"""
    parts: list[tuple[int, Expr]] = []
    if index.axis is not None and index.scale:
        parts.append((1 if index.scale > 0 else -1, _scaled(abs(index.scale), Ref(index.axis))))
    if index.length is not None and index.extent:
        term = _scaled(abs(index.extent), Call("len", (Argument(Ref(index.length)),)))
        parts.insert(0 if index.scale < 0 or index.axis is None else len(parts), (1 if index.extent > 0 else -1, term))
    for monomial, factor in sorted(index.offset.terms.items(), key=lambda item: (item[0] == (), item[0])):
        offset = (1 if factor > 0 else -1, dim_tree(Dim({monomial: abs(factor)})))
        if parts and index.scale < 0 and monomial == () and factor < 0:
            parts.insert(1, offset)  # len(t)-1-t
        else:
            parts.append(offset)
    result: Expr | None = None
    for sign, term in parts:
        if result is None:
            result = term if sign > 0 else Negative(term)
        else:
            result = Binary("+" if sign > 0 else "-", result, term)
    result = result if result is not None else Number(0)
    return result if index.divisor == 1 else Binary("//", result, Number(index.divisor))


def _scaled(factor: int, term: Expr) -> Expr:
    return term if factor == 1 else Binary("*", Number(factor), term)


class Printer:
    """Expressions of one system as trees."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.kinds = Kinds(system)

    def expression(self, root: Symbol) -> Expr:
        done: dict[Symbol, Expr] = {}
        for node in postorder([root]):
            done[node] = self._leaf(node) if node.op is None else self._node(node, [done[a] for a in node.args])
        return done[root]

    def _leaf(self, node: Symbol) -> Expr:
        leaf = node.leaf
        if isinstance(leaf, Read):
            return self.read(leaf)
        if isinstance(leaf, Position):
            return Ref(leaf.axis)
        if isinstance(leaf, Extent):
            return Call("len", (Argument(Ref(leaf.axis)),))
        if isinstance(leaf, Size):
            return dim_tree(leaf.dim)
        return number_tree(leaf)

    def read(self, leaf: Read) -> Expr:
        if not leaf.index:
            return Ref(leaf.name)
        if len(leaf.index) == 1 and leaf.index[0].is_last:
            return Call("last", (Argument(Ref(leaf.name)),))
        return Ref(leaf.name, tuple(index_tree(i) for i in leaf.index))

    def _node(self, node: Symbol, args: list[Expr]) -> Expr:
        assert node.op is not None
        name, options = node.op.name, node.options
        if name in INFIX:
            return Binary(INFIX[name], args[0], args[1])
        if name == "neg":
            return Negative(args[0])
        if name == "transpose" and isinstance(args[0], Call) and args[0].function == "conj":
            return Transpose(args[0].arguments[0].value, "H")
        if name == "transpose":
            return Transpose(args[0], "T")
        if name == "conj" and isinstance(args[0], Transpose) and args[0].kind == "T":
            return Transpose(args[0].operand, "H")
        if name == "one_hot":
            return args[0]
        if name == "fill":
            zeros = Call("zeros", tuple(Argument(dim_tree(Dim.of(d))) for d in options["dims"]))
            return zeros if node.args[0].is_number and node.args[0].leaf == 0 else Binary("+", zeros, args[0])
        if name == "polygamma":
            return Call("polygamma", (Argument(number_tree(options["n"])), Argument(args[0])))
        if name == "part":
            extra = [dim_tree(Dim.of(options["start"])), dim_tree(Dim.of(options["size"]))]
            return Call("part", tuple(Argument(a) for a in [args[0], *extra]))
        axis = named_axis(node)
        return Call(name, tuple(Argument(a) for a in args), (axis,) if axis is not None else ())

    def type(self, stream: Stream) -> Type:
        if stream.dtype == "category":
            assert stream.categories is not None
            return Type((dim_tree(stream.categories),), "one_hot")
        return Type(tuple(dim_tree(d) for d in stream.shape), "complex" if stream.dtype == "complex" else None)


def number_tree(value: Any) -> Expr:
    """A number as the language writes it; infinities by name, negatives with a sign."""
    if isinstance(value, complex):
        return Number(value)
    if value != value:
        raise ValueError("not a number cannot be written")
    if value < 0:
        return Negative(number_tree(-value))
    if value == float("inf"):
        return Ref("inf")
    return Number(int(value) if float(value).is_integer() and abs(value) < 1e15 else float(value))


def to_tree(system: System, sections: dict[str, str] | None = None) -> Cell:
    """The whole system as a cell; `sections` puts a comment line before a named equation."""
    printer = Printer(system)
    body: list[Statement] = []
    for axis in system.axes.values():
        if axis.length is not None:
            body.append(TimeAxis(axis.name, printer.expression(axis.length)))
    for group in _declarations(system.streams.values()):
        body.append(_declaration(printer, group))
    for name, value in system.equations.items():
        body.append(_equation(printer, system, name, value, (sections or {}).get(name)))
    for name, draw in system.draws.items():
        arguments = tuple(Argument(printer.expression(v), k) for k, v in draw.parameters)
        body.append(Draw(_target(system.streams[name]), Call(draw.distribution, arguments)))
    if system.outputs:
        body.append(Output(tuple(Ref(n) for n in system.outputs)))
    header = tuple(
        Parameter(n, None if v is None else Number(v))
        for n, v in system.arguments.items()
        if not isinstance(v, str) and n not in system.fixed
    )
    return Cell(system.name, header, tuple(body))


def _target(stream: Stream) -> Ref:
    return Ref(stream.name, tuple(Ref(a) for a in stream.axes) if stream.axes else None)


def _keyword(stream: Stream) -> str | None:
    """The declaration that a stream needs, None when its equation says all."""
    if stream.kind in ("input", "param", "const", "noise"):
        return stream.kind
    category = stream.dtype == "category"  # which no equation alone says
    return "state" if stream.boundary is not None or stream.kind == "draw" or category else None


def _declarations(streams: Iterable[Stream]) -> list[list[Stream]]:
    """Streams that share a line: same keyword, type, boundary, initialiser, comment."""
    groups: dict[Any, list[Stream]] = {}
    for stream in streams:
        keyword = _keyword(stream)
        if keyword is None:
            continue
        order = ("input", "const", "noise", "param", "state").index(keyword)
        key = (
            order,
            keyword,
            stream.shape,
            stream.dtype,
            stream.categories,
            stream.boundary,
            stream.initializer,
            stream.kept,
            stream.note.startswith("∂"),
        )
        groups.setdefault(key, []).append(stream)
    return [groups[k] for k in sorted(groups, key=lambda k: k[0])]


def _declaration(printer: Printer, group: list[Stream]) -> Declaration:
    first = group[0]
    keyword = _keyword(first)
    assert keyword is not None
    value = None
    if first.boundary is not None:
        value = (
            Ref("none")
            if first.dtype == "category" and first.boundary.is_number and first.boundary.leaf == -1
            else printer.expression(first.boundary)
        )
    distribution = None
    if first.initializer is not None:
        value, distribution = _initializer(printer, first.initializer, first.shape)
    return Declaration(
        keyword,
        tuple(_target(s) for s in group),
        printer.type(first),
        value,
        distribution,
        first.kept,
        notes=Notes((), next((s.note for s in group if s.note), "")),
    )


def _initializer(printer: Printer, initializer: Initializer, shape: tuple[Dim, ...]) -> tuple[Expr | None, Call | None]:
    values = [printer.expression(lift(a)) for a in initializer.arguments]
    if initializer.name == "constant":
        return values[0], None
    if initializer.name == "permutation":
        return Call("permutation", tuple(Argument(dim_tree(d)) for d in shape)), None
    return None, Call(initializer.name, tuple(Argument(v) for v in values))


def _equation(printer: Printer, system: System, name: str, value: Symbol, section: str | None) -> Statement:
    stream = system.streams[name]
    before = (section,) if section else ()
    if name in system.losses and "." not in name:
        return Loss(name, printer.expression(value), notes=Notes(before, stream.comment))
    return Equation(_target(stream), printer.expression(value), stream.total, notes=Notes(before, stream.comment))


__all__ = ["Printer", "dim_tree", "index_tree", "to_tree"]
