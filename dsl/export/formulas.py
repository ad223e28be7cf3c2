"""A user's own primitive in the operations that targets have: read off its kernel, the formula of one element.

What the package has itself stands in the targets' tables, or in `composites`. May not know targets.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence

from dsl.export.arrays import Array, Arrays
from tinygrad_seq.primitive import REGISTRY, Primitive

Reader = Callable[[Arrays, dict[str, Array]], Array]

_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "power"}
_COMPARE = {
    ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal", ast.Eq: "equal",
    ast.NotEq: "not_equal",
}  # fmt: skip


def formula(name: str) -> Callable[..., Array] | None:
    """The composite that an elementwise primitive's kernel describes; None for the package's own, and where the kernel
    says no more than the primitive's name."""
    op = REGISTRY.get(name)
    if op is None or not op.elementwise or op.kernel is None or op.call.options or _is_ours(op):
        return None
    names = op.call.names(len(op.call.inputs))
    try:
        tree = ast.parse(op.kernel.format(*names), mode="eval").body
        read = _reader(tree, name, names)
    except (SyntaxError, IndexError, KeyError, _NoCounterpartError):
        return None

    def composite(o: Arrays, *args: Array) -> Array:
        return read(o, dict(zip(names, args, strict=True)))

    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    composite.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # which a function may have
        [inspect.Parameter(n, kinds) for n in ("o", *names)]
    )
    composite.__doc__ = f"{ast.unparse(tree)}, of each element."
    return composite


def _is_ours(op: Primitive) -> bool:
    rule = op.partials_rule or op.impl
    return str(getattr(rule, "__module__", "")).partition(".")[0] in ("tinygrad_seq", "numpy")


class _NoCounterpartError(Exception):
    """A part of a formula has no name in exports."""


def _reader(node: ast.expr, name: str, names: Sequence[str]) -> Reader:
    """What a part of the kernel of `name`, whose arguments are `names`, is in exports. Errors: _NoCounterpartError."""

    def called(op: str, *parts: ast.expr) -> Reader:
        readers = [_reader(part, name, names) for part in parts]
        return lambda o, given: o(op, *(read(o, given) for read in readers))

    match node:
        case ast.Name(id=own) if own in names:
            return lambda o, given: given[own]
        case ast.Constant(value=bool() | int() | float() as value):
            return lambda o, given: o.number(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return called("neg", operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return called(_BINARY[type(op)], left, right)
        case ast.Compare(left=left, ops=[how], comparators=[right]) if type(how) in _COMPARE:
            return called(_COMPARE[type(how)], left, right)
        case ast.Call(func=ast.Name(id=other), args=args, keywords=[]) if other in REGISTRY and other != name:
            return called(other, *args)
    raise _NoCounterpartError
