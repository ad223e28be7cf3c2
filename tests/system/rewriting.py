"""An adjoint's printed source in equal forms, as another author may write it, and with one mistake in one equation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from dsl.text.format import format as formatted
from dsl.text.tree import (
    Argument,
    Binary,
    Call,
    Cell,
    Declaration,
    Equation,
    Expr,
    Negative,
    Number,
    Output,
    Ref,
    Transpose,
)
from dsl.text.walk import reads, walk

Change = Callable[[Any], Any]


def rewritten(node: Any, change: Change) -> Any:
    """A tree with every node in it changed, children first."""
    if isinstance(node, tuple):
        return tuple(rewritten(n, change) for n in node)
    if not dataclasses.is_dataclass(node) or isinstance(node, type):
        return node
    fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    new = {n: rewritten(v, change) for n, v in fields.items() if n not in ("span", "notes", "tail")}
    return change(replace(node, **new) if any(new[n] is not fields[n] for n in new) else node)


def text_of(cell: Cell) -> str:
    """Its source."""
    return formatted(cell)


def equations(cell: Cell) -> dict[str, Equation]:
    return {s.target.name: s for s in cell.body if isinstance(s, Equation)}


def with_value(cell: Cell, name: str, value: Expr) -> Cell:
    body = (replace(s, value=value) if isinstance(s, Equation) and s.target.name == name else s for s in cell.body)
    return replace(cell, body=tuple(body))


# ---------------------------------------------------------------- equal forms


def renamed(cell: Cell, names: dict[str, str]) -> Cell:
    return rewritten(cell, lambda n: replace(n, name=names.get(n.name, n.name)) if isinstance(n, Ref) else n)


def all_renamed(cell: Cell) -> Cell:
    """Every equation under a name that tells nothing."""
    return renamed(cell, {n: f"e{k}" for k, n in enumerate(equations(cell))})


def commuted(cell: Cell) -> Cell:
    """b*a for a*b, b + a for a + b."""

    def change(node: Any) -> Any:
        if isinstance(node, Binary) and node.op in ("+", "*"):
            return replace(node, left=node.right, right=node.left)
        return node

    return _of_values(cell, change)


def distributed(cell: Cell) -> Cell:
    """a*b + a*c for a*(b + c), in products with matrices too."""

    def change(node: Any) -> Any:
        if not isinstance(node, Binary) or node.op not in ("*", "@"):
            return node
        if _is_sum(node.right):
            first, second = (replace(node, right=b, parenthesised=False) for b in (node.right.left, node.right.right))
            return Binary(node.right.op, first, second)
        if _is_sum(node.left):
            first, second = (replace(node, left=a, parenthesised=False) for a in (node.left.left, node.left.right))
            return Binary(node.left.op, first, second)
        return node

    return _of_values(cell, change)


def _is_sum(node: Expr) -> bool:
    """Of terms that are no mere numbers, which stand for a vector in a sum and not in a product."""
    return (
        isinstance(node, Binary)
        and node.op in "+-"
        and not isinstance(node.left, Number)
        and not isinstance(node.right, Number)
    )


def with_helpers(cell: Cell) -> Cell:
    """The first operand of every equation under a name of its own."""
    body: list[Any] = []
    for k, s in enumerate(cell.body):
        if isinstance(s, Equation) and not s.total and isinstance(s.value, Binary) and s.value.op in ("+", "-", "*"):
            first = s.value.left
            if isinstance(first, Binary | Call) and any(r.index for r in reads(first)):
                helper = replace(s.target, name=f"helper{k}")
                body.append(Equation(helper, first))
                s = replace(s, value=replace(s.value, left=helper))
        body.append(s)
    return replace(cell, body=tuple(body))


def inlined(cell: Cell) -> Cell:
    """Without the equations that are read once, at the same step."""
    outputs = {r.name for s in cell.body if isinstance(s, Output) for r in s.refs}
    declared = {r.name for s in cell.body if isinstance(s, Declaration) for r in s.refs}
    for name in equations(cell):
        equation = equations(cell)[name]
        found = [r for e in equations(cell).values() for r in reads(e.value) if r.name == name]
        if name in outputs | declared or equation.total or found != [equation.target]:
            continue

        def change(node: Any, equation: Equation = equation) -> Any:
            return equation.value if node == equation.target else node

        body = [s for s in cell.body if s is not equation]
        cell = replace(
            cell,
            body=tuple(replace(s, value=rewritten(s.value, change)) if isinstance(s, Equation) else s for s in body),
        )
    return cell


def _of_values(cell: Cell, change: Change) -> Cell:
    return replace(
        cell,
        body=tuple(replace(s, value=rewritten(s.value, change)) if isinstance(s, Equation) else s for s in cell.body),
    )


EQUAL = {
    "renamed": all_renamed,
    "commuted": commuted,
    "distributed": distributed,
    "with helpers": with_helpers,
    "inlined": inlined,
    "all at once": lambda cell: all_renamed(with_helpers(distributed(commuted(inlined(cell))))),
}


# ---------------------------------------------------------------- mistakes


def _places(value: Expr, change: Callable[[Any], Expr | None]) -> Iterator[Expr]:
    """The expression with one node of it changed, for every node that `change` has something for."""
    nodes = [n for n in walk(value) if not isinstance(n, Argument) and change(n) is not None]
    for chosen in nodes:
        yield _replaced(value, chosen, change(chosen))


def _replaced(value: Any, old: Any, new: Any) -> Any:
    """With the node `old` (the very same object) changed."""
    if value is old:
        return new
    if isinstance(value, tuple):
        return tuple(_replaced(v, old, new) for v in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name not in ("span", "notes")}
    made = {n: _replaced(v, old, new) for n, v in fields.items()}
    return replace(value, **made) if any(made[n] is not fields[n] for n in made) else value


def wrong_sign(value: Expr) -> Iterator[Expr]:
    def change(node: Any) -> Expr | None:
        if isinstance(node, Binary) and node.op in ("+", "-"):
            return replace(node, op="-" if node.op == "+" else "+")
        return node.operand if isinstance(node, Negative) else None

    yield from _places(value, change)
    yield Negative(value)


def missing_term(value: Expr) -> Iterator[Expr]:
    def change(node: Any) -> Expr | None:
        return node.left if isinstance(node, Binary) and node.op in ("+", "-", "*") else None

    def other(node: Any) -> Expr | None:
        return node.right if isinstance(node, Binary) and node.op in ("+", "*") else None

    yield from _places(value, change)
    yield from _places(value, other)


def wrong_step(value: Expr) -> Iterator[Expr]:
    """t+2 for t+1, t-2 for t-1, t+1 for t."""

    def change(node: Any) -> Expr | None:
        if not isinstance(node, Ref) or not node.index:
            return None
        first = node.index[0]
        if isinstance(first, Binary) and first.op in ("+", "-") and isinstance(first.right, Number):
            return replace(node, index=(replace(first, right=Number(first.right.value + 1)), *node.index[1:]))
        if isinstance(first, Ref):
            return replace(node, index=(Binary("+", first, Number(1)), *node.index[1:]))
        return None

    yield from _places(value, change)


def missing_transpose(value: Expr) -> Iterator[Expr]:
    yield from _places(value, lambda node: node.operand if isinstance(node, Transpose) else None)


MISTAKES = {"sign": wrong_sign, "term": missing_term, "step": wrong_step, "transpose": missing_transpose}
