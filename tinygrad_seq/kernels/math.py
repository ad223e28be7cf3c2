"""Scalar functions for generated kernels: one element of each elementwise primitive.

Named as the primitives' `kernel` strings call them. Arguments are float32 or float64 scalars; the result has the
narrowest of their types (so that a bare constant does not widen a float32 kernel). May not know formulas
(`kernels.formulas`), only how Numba types and calls them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tinygrad_seq.kernels.formulas import DOUBLE, SINGLE, formula


def _common(name: str, *args: Any) -> Any:
    """The type that the arguments are computed in."""
    reals = [a for a in args if isinstance(a, types.Float)]
    bad = [a for a in args if not isinstance(a, types.Float | types.Integer | types.Boolean)]
    if bad or not reals:
        raise TypingError(f"{name} takes float32 or float64 scalars, not ({', '.join(map(str, args))})")
    return min(reals, key=lambda a: a.bitwidth)


def _code(name: str) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        double = signature.return_type.bitwidth == 64
        return builder.call(formula(builder.module, name, DOUBLE if double else SINGLE), args)

    return generate


def _unary(name: str) -> Callable[..., Any]:
    @intrinsic  # type: ignore[untyped-decorator]
    def function(typing: Any, x: Any) -> Any:
        kind = _common(name, x)
        return kind(kind), _code(name)

    return function  # type: ignore[no-any-return]


def _library(function: Callable[..., float], arguments: int = 1) -> Callable[..., Any]:
    """A function of the C library, by Numba's own lowering: right, but not vector code."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_function(function, signature)(builder, args)

    @intrinsic  # type: ignore[untyped-decorator]
    def one(typing: Any, x: Any) -> Any:
        kind = _common(function.__name__, x)
        return kind(kind), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def two(typing: Any, a: Any, b: Any) -> Any:
        kind = _common(function.__name__, a, b)
        return kind(kind, kind), generate

    return one if arguments == 1 else two  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def conj(typing: Any, x: Any) -> Any:
    """The conjugate of a real number: itself."""
    kind = _common("conj", x)
    return kind(kind), lambda context, builder, signature, args: args[0]


re = conj


def _binary(name: str) -> Callable[..., Any]:
    @intrinsic  # type: ignore[untyped-decorator]
    def function(typing: Any, a: Any, b: Any) -> Any:
        kind = _common(name, a, b)
        return kind(kind, kind), _code(name)

    return function  # type: ignore[no-any-return]


exp = _unary("exp")
expm1 = _unary("expm1")
log = _unary("log")
log1p = _unary("log1p")
sqrt = _unary("sqrt")
abs = _unary("abs")
sign = _unary("sign")
tanh = _unary("tanh")
sigmoid = _unary("sigmoid")
softplus = _unary("softplus")
relu = _unary("relu")
sin = _unary("sin")
cos = _unary("cos")
tan = _library(math.tan)
arctan = _library(math.atan)
arcsin = _library(math.asin)
arccos = _library(math.acos)
arcsinh = _library(math.asinh)
arccosh = _library(math.acosh)
arctanh = _library(math.atanh)
arctan2 = _library(math.atan2, 2)
hypot = _library(math.hypot, 2)
log10 = _library(math.log10)
erfc = _library(math.erfc)
gamma = _library(math.gamma)
gammaln = _library(math.lgamma)
sinh = _library(math.sinh)
cosh = _library(math.cosh)
erf = _library(math.erf)
leaky_relu = _binary("leaky_relu")
elu = _binary("elu")
maximum = _binary("maximum")
minimum = _binary("minimum")
logaddexp = _binary("logaddexp")
power = _binary("power")
floordiv = _binary("floordiv")
mod = _binary("mod")


@intrinsic  # type: ignore[untyped-decorator]
def clip(typing: Any, x: Any, low: Any, high: Any) -> Any:
    """x within [low, high]; NaN stays."""
    kind = _common("clip", x, low, high)
    return kind(kind, kind, kind), _code("clip")


@intrinsic  # type: ignore[untyped-decorator]
def where(typing: Any, condition: Any, yes: Any, no: Any) -> Any:
    """yes where the condition holds (a boolean, or a number that is not 0), else no.

    The value not taken may be NaN. The condition is never a matter of branches: loops stay vector code.
    """
    kind = _common("where", yes, no)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        test, yes, no = args
        if isinstance(condition, types.Float):
            test = builder.fcmp_unordered("!=", test, ir.Constant(test.type, 0.0))
        else:
            test = cgutils.is_not_null(builder, test)
        return builder.select(test, yes, no)

    return kind(condition, kind, kind), generate


def _comparison(name: str, how: str) -> Callable[..., bool]:
    @intrinsic  # type: ignore[untyped-decorator]
    def function(typing: Any, a: Any, b: Any) -> Any:
        whole = isinstance(a, types.Integer) and isinstance(b, types.Integer)
        kind = types.int64 if whole else _common(name, a, b)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if whole:
                return builder.icmp_signed(how, *args)
            compare = builder.fcmp_unordered if how == "!=" else builder.fcmp_ordered
            return compare(how, *args)

        return types.boolean(kind, kind), generate

    return function  # type: ignore[no-any-return]


equal = _comparison("equal", "==")
not_equal = _comparison("not_equal", "!=")
less = _comparison("less", "<")
less_equal = _comparison("less_equal", "<=")
greater = _comparison("greater", ">")
greater_equal = _comparison("greater_equal", ">=")

__all__ = [  # what a generated source may import by *
    *("arccos", "arccosh", "arcsin", "arcsinh", "arctan2", "arctanh", "erfc", "gamma", "gammaln", "hypot", "log10"),
    *("abs", "arctan", "clip", "conj", "cos", "cosh", "elu", "equal", "erf", "exp", "expm1", "floordiv", "greater"),
    *("greater_equal", "leaky_relu", "less", "less_equal", "log", "log1p", "logaddexp", "maximum", "minimum", "mod"),
    *("not_equal", "power", "re", "relu", "sigmoid", "sign", "sin", "sinh", "softplus", "sqrt", "tan", "tanh", "where"),
]
