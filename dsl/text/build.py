"""Grammar rules to tree nodes: called by the parser as it reduces, one method a rule of grammar.lark.

What the grammar is too coarse to forbid (`sum[t+1](…)`, `h.T[t]`) is refused here, as a `Fault`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from lark import Token, Transformer, v_args

from dsl.text.diagnostics import Diagnostic
from dsl.text.layout import span
from dsl.text.tree import (
    Argument,
    Binary,
    Call,
    Cell,
    Declaration,
    Draw,
    Equation,
    Expr,
    Import,
    Loss,
    Macro,
    Negative,
    Number,
    Output,
    Parameter,
    Ref,
    Span,
    TimeAxis,
    Transpose,
    Type,
    Use,
)

DIGITS = 300  # of an integer literal


class Fault(Exception):
    """A line that fits the grammar and is wrong all the same."""

    def __init__(self, code: str, message: str, place: Span, help: str = "") -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(code, message, place, help=help)


@dataclass
class _Index:
    """`[t-1, s]`: what is between, and where the brackets are."""

    items: tuple[Expr, ...]
    span: Span


@dataclass
class _Distribution:
    call: Call


@dataclass
class _Dims:
    dims: tuple[Expr, ...]
    span: Span


def _cover(first: Any, last: Any) -> Span:
    """From one token or node to another."""
    start = span(first) if isinstance(first, Token) else first.span
    end = span(last) if isinstance(last, Token) else last.span
    return Span(start.start, end.end)


def _of(kind: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(part for part in parts if isinstance(part, kind))


@v_args(inline=True)
class Builder(Transformer[Token, Any]):
    """Stateless, so that one parser serves all threads."""

    def line(self, node: Any) -> Any:
        return node

    def expression(self, node: Expr) -> Expr:
        return node

    # ------------------------------------------------------------ items

    def module(self, name: Token) -> Token:
        return name

    def importing(self, word: Token, module: Token, _import: Token, *names: Token) -> Import:
        return Import(str(module), tuple(str(name) for name in names), _cover(word, names[-1]))

    def macro(self, word: Token, name: Token, _open: Token, *rest: Any) -> Macro:
        *parameters, _close, value = rest
        return Macro(str(name), tuple(str(p) for p in parameters), value, _cover(word, value))

    def header(self, word: Token, name: Token, _open: Token, *rest: Any) -> Cell:
        return Cell(str(name), _of(Parameter, rest), (), _cover(word, rest[-1]))

    def parameter(self, name: Token, default: Expr | None) -> Parameter:
        return Parameter(str(name), default, _cover(name, default or name))

    # ------------------------------------------------------------ statements

    def declaration(self, word: Token, refs: tuple[Ref, ...], type_: Type | None, *rest: Any) -> Declaration:
        value = next(iter(_of(Expr, rest)), None)
        drawn = next(iter(_of(_Distribution, rest)), None)
        kept = next(iter(_of(Token, rest)), None)
        last = kept or (drawn.call if drawn else value) or type_ or refs[-1]
        call = drawn.call if drawn else None
        return Declaration(str(word), refs, type_, value, call, kept is not None, _cover(word, last))

    def noise(self, word: Token, refs: tuple[Ref, ...], type_: Type | None, drawn: _Distribution) -> Declaration:
        return Declaration(str(word), refs, type_, None, drawn.call, False, _cover(word, drawn.call))

    def axis(self, word: Token, name: Token, _colon: Token, length: Expr) -> TimeAxis:
        return TimeAxis(str(name), length, _cover(word, length))

    def use(
        self, word: Token, name: Token, reverse: Token | None, stack: Token | None, copies: Expr | None, cell: Token,
        _open: Token, arguments: tuple[Argument, ...] | None, close: Token,
    ) -> Use:  # fmt: skip
        for argument in arguments or ():
            if argument.keyword is None:
                message = f"the arguments of `use` are named: `{cell}(x=..., H=...)`"
                raise Fault("E121", message, argument.span, "say which input, size or parameter this is")
        return Use(str(name), str(cell), arguments or (), reverse is not None, copies, _cover(word, close))

    def output(self, word: Token, refs: tuple[Ref, ...]) -> Output:
        return Output(refs, _cover(word, refs[-1]))

    def loss(self, word: Token, name: Token, value: Expr) -> Loss:
        return Loss(str(name), value, _cover(word, value))

    def total(self, word: Token, target: Ref, value: Expr) -> Equation:
        return Equation(target, value, True, _cover(word, value))

    def equation(self, target: Ref, value: Expr) -> Equation:
        return Equation(target, value, False, _cover(target, value))

    def draw(self, target: Ref, call: Call) -> Draw:
        return Draw(target, call, _cover(target, call))

    def refs(self, *refs: Ref) -> tuple[Ref, ...]:
        return refs

    def target(self, name: Token, index: _Index | None) -> Ref:
        if name.endswith((".T", ".H")):
            raise Fault("E120", f"`{name[-2:]}` is a transpose: it cannot be part of a name", span(name))
        return Ref(str(name), index.items if index else None, _cover(name, index or name))

    def type(self, colon: Token, qualifier: Token | None, dims: _Dims | Token) -> Type:
        place = _cover(qualifier or dims, dims)
        return Type(() if isinstance(dims, Token) else dims.dims, str(qualifier) if qualifier else None, place)

    def dims(self, *parts: Any) -> _Dims:
        return _Dims(_of(Expr, parts), _cover(parts[0], parts[-1]))

    def distribution(self, drawn: Token | Call) -> _Distribution:
        return _Distribution(Call(str(drawn), (), (), span(drawn)) if isinstance(drawn, Token) else drawn)

    # ------------------------------------------------------------ expressions

    def number(self, token: Token) -> Number:
        return Number(_number(token), span(token))

    def read(self, name: Token, index: _Index | None) -> Expr:
        plain, kinds = str(name), ""
        while plain.endswith((".T", ".H")):
            plain, kinds = plain[:-2], plain[-1] + kinds
        if index and kinds:
            fix = f"write `{plain}[...]{name[len(plain) :]}`"
            raise Fault("E120", f"`.{kinds[-1]}` is a transpose: the index goes before it", _cover(name, index), fix)
        start = _cover(name, index or name).start
        end = (name.start_pos or 0) + len(plain)
        node: Expr = Ref(plain, index.items if index else None, Span(start, index.span.end if index else end))
        for i, kind in enumerate(kinds, 1):
            node = Transpose(node, kind, Span(start, end + 2 * i))
        return node

    def transpose(self, operand: Expr, mark: Token) -> Transpose:
        return Transpose(operand, str(mark)[1:], _cover(operand, mark))

    def binary(self, left: Expr, operator: Token, right: Expr) -> Binary:
        return Binary(str(operator), left, right, _cover(left, right))

    def negative(self, minus: Token, operand: Expr) -> Negative:
        return Negative(operand, _cover(minus, operand))

    def group(self, opener: Token, inner: Expr, closer: Token) -> Expr:
        if isinstance(inner, Binary):
            return dataclasses.replace(inner, parenthesised=True, span=_cover(opener, closer))
        return inner

    def call(self, name: Token, index: _Index | None, _open: Token, arguments: tuple[Argument, ...] | None,
             close: Token) -> Call:  # fmt: skip
        axes = []
        for item in index.items if index else ():
            if not isinstance(item, Ref) or item.index is not None or "." in item.name:
                raise Fault(
                    "E119", f"the brackets of `{name}` name the axis it runs over", item.span, f"as in `{name}[t](...)`"
                )
            axes.append(item.name)
        return Call(str(name), arguments or (), tuple(axes), _cover(name, close))

    def index(self, opener: Token, *rest: Any) -> _Index:
        return _Index(tuple(rest[:-1]), _cover(opener, rest[-1]))

    def arguments(self, *arguments: Argument) -> tuple[Argument, ...]:
        return arguments

    def keyword(self, name: Token, value: Expr) -> Argument:
        return Argument(value, str(name), _cover(name, value))

    def positional(self, value: Expr) -> Argument:
        return Argument(value, None, value.span)


def _number(token: Token) -> int | float | complex:
    text = str(token)
    if text.isdigit():
        if len(text) > DIGITS:
            raise Fault("E116", f"an integer of {len(text)} digits is too large", span(token), "write it as `1e300`")
        return int(text)
    value = float(text.removesuffix("j"))
    if math.isinf(value):
        raise Fault("E116", "this number is too large for double precision", span(token), "infinity is `inf`")
    return complex(0.0, value) if text.endswith("j") else value
