"""A user's own primitive in the operations that targets have: read off its kernel, the formula of one element.

What the package has itself stands in the targets' tables, or in `composites`. May not know targets.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable

from dsl.export.arrays import Array, Arrays
from tinygrad_seq.primitive import REGISTRY, Primitive

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
    except (SyntaxError, IndexError, KeyError):
        return None
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    if name in called or not called <= REGISTRY.keys() or not all(map(_has_counterpart, ast.walk(tree))):
        return None

    def composite(o: Arrays, *args: Array) -> Array:
        return _read(o, tree, dict(zip(names, args, strict=True)))

    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    composite.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # which a function may have
        [inspect.Parameter(n, kinds) for n in ("o", *names)]
    )
    composite.__doc__ = f"{ast.unparse(tree)}, of each element."
    return composite


def _is_ours(op: Primitive) -> bool:
    rule = op.partials_rule or op.impl
    return str(getattr(rule, "__module__", "")).partition(".")[0] in ("tinygrad_seq", "numpy")


def _has_counterpart(node: ast.AST) -> bool:
    """Whether `_read` knows what a part of a formula is called in exports."""
    match node:
        case ast.Name() | ast.Constant(value=bool() | int() | float()) | ast.UnaryOp(op=ast.USub()):
            return True
        case ast.Call(func=ast.Name(), keywords=[]):
            return True
        case ast.BinOp(op=op) | ast.Compare(ops=[op]):
            return type(op) in _BINARY or type(op) in _COMPARE
    return isinstance(node, ast.operator | ast.cmpop | ast.unaryop | ast.expr_context)


def _read(o: Arrays, node: ast.expr, names: dict[str, Array]) -> Array:
    def read(part: ast.expr) -> Array:
        return _read(o, part, names)

    match node:
        case ast.Name(id=name):
            return names[name]
        case ast.Constant(value=bool() | int() | float() as value):
            return o.number(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return o("neg", read(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return o(_BINARY[type(op)], read(left), read(right))
        case ast.Compare(left=left, ops=[how], comparators=[right]) if type(how) in _COMPARE:
            return o(_COMPARE[type(how)], read(left), read(right))
        case ast.Call(func=ast.Name(id=name), args=args):
            return o(name, *map(read, args))
    raise AssertionError(ast.unparse(node))
