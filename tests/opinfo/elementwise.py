"""Elementwise operators, reductions and orders along axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tinygrad_seq as tg
from tests.opinfo.compare import WORDS, need, words

for _theirs, _mine in {
    "abs": tg.abs, "acos": tg.acos, "acosh": tg.acosh, "asin": tg.asin, "asinh": tg.asinh, "atan": tg.atan,
    "atanh": tg.atanh, "angle": tg.angle, "ceil": tg.ceil, "conj": tg.conj, "conj_physical": tg.conj, "cos": tg.cos,
    "cosh": tg.cosh, "deg2rad": lambda x: x * (math.pi / 180), "digamma": tg.digamma, "erf": tg.erf, "erfc": tg.erfc,
    "erfinv": tg.erfinv, "exp": tg.exp, "exp2": tg.exp2, "expm1": tg.expm1, "floor": tg.floor, "frac": None,
    "isfinite": tg.isfinite, "isinf": tg.isinf, "isnan": tg.isnan, "lgamma": tg.gammaln, "log": tg.log,
    "log10": tg.log10, "log1p": tg.log1p, "log2": tg.log2, "neg": tg.negative, "positive": lambda x: x * 1,
    "rad2deg": lambda x: x * (180 / math.pi), "reciprocal": tg.reciprocal, "rsqrt": lambda x: 1 / tg.sqrt(x),
    "sgn": tg.sign, "sigmoid": tg.sigmoid, "sign": tg.sign, "signbit": tg.signbit, "sin": tg.sin,
    "sinh": tg.sinh, "sqrt": tg.sqrt, "square": tg.square, "tan": tg.tan, "tanh": tg.tanh, "trunc": tg.trunc,
    "real": tg.real, "imag": tg.imag, "logical_not": tg.logical_not, "nn.functional.relu": tg.relu,
    "nn.functional.silu": tg.silu, "nn.functional.logsigmoid": tg.log_sigmoid,
    "nn.functional.softsign": lambda x: x / (1 + tg.abs(x)), "nn.functional.tanhshrink": lambda x: x - tg.tanh(x),
    "special.ndtr": tg.ndtr, "special.ndtri": tg.ndtri, "special.log_ndtr": tg.log_ndtr, "special.entr": tg.entr,
    "special.erfcx": tg.erfcx, "special.i1": tg.i1, "i0": tg.i0,
}.items():  # fmt: skip
    if _mine is not None:
        WORDS[_theirs] = lambda x, _f=_mine: _f(x)

for _theirs, _mine in {
    "atan2": tg.atan2, "eq": tg.equal, "ne": tg.not_equal, "lt": tg.less, "le": tg.less_equal, "gt": tg.greater,
    "ge": tg.greater_equal, "hypot": tg.hypot, "maximum": tg.maximum,
    "minimum": tg.minimum, "mul": tg.multiply, "pow": tg.pow, "remainder": tg.remainder, "xlogy": tg.xlogy,
    "logical_and": tg.logical_and, "logical_or": tg.logical_or, "logical_xor": tg.logical_xor,
    "floor_divide": tg.floor_divide, "true_divide": tg.divide, "__rsub__": lambda a, b: b - a,
    "__rmul__": lambda a, b: b * a, "__radd__": lambda a, b: b + a, "__rdiv__": lambda a, b: b / a,
    "__rpow__": lambda a, b: b**a, "__rmatmul__": lambda a, b: tg.matmul(b, a), "__rmod__": lambda a, b: b % a,
}.items():  # fmt: skip
    WORDS[_theirs] = lambda a, b, _f=_mine: _f(a, b)


@words("add")
def _add(a: Any, b: Any, alpha: Any = 1) -> Any:
    return a + b * alpha


@words("sub", "rsub")
def _sub(a: Any, b: Any, alpha: Any = 1) -> Any:
    return a - b * alpha


WORDS["rsub"] = lambda a, b, alpha=1: b - a * alpha
WORDS["addcmul"] = lambda x, a, b, value=1: x + value * a * b
WORDS["addcdiv"] = lambda x, a, b, value=1: x + value * a / b
WORDS["lerp"] = lambda a, b, w: a + w * (b - a)
WORDS["ldexp"] = lambda a, b: a * 2.0**b
WORDS["float_power"] = lambda a, b: a**b
WORDS["mvlgamma"] = lambda x, p: _mvlgamma(x, p)


def _mvlgamma(x: Any, p: int) -> Any:
    return sum((tg.gammaln(x - j / 2) for j in range(p)), p * (p - 1) / 4 * math.log(math.pi))


@words("div")
def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return a / b
    return tg.floor(a / b) if rounding_mode == "floor" else tg.trunc(a / b)


@words("round")
def _round(x: Any, decimals: int = 0) -> Any:
    return tg.round(x * 10.0**decimals) / 10.0**decimals


@words("polygamma", "special.polygamma")
def _polygamma(x: Any, n: int) -> Any:
    return tg.digamma(x) if n == 0 else tg.polygamma(x, n=n)


@words("logit")
def _logit(x: Any, eps: float | None = None) -> Any:
    return tg.logit(x if eps is None else tg.clip(x, eps, 1 - eps))


@words("clamp")
def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    return tg.clip(x, min, max)


WORDS["clamp_min"] = lambda x, low: tg.clip(x, min=low)
WORDS["clamp_max"] = lambda x, high: tg.clip(x, max=high)
WORDS["where"] = lambda a, c, b: tg.where(c, a, b)
WORDS["masked_fill"] = lambda x, mask, value: tg.where(mask, value, x)
WORDS["nn.functional.leaky_relu"] = lambda x, negative_slope=0.01: tg.leaky_relu(x, slope=negative_slope)
WORDS["nn.functional.elu"] = lambda x, alpha=1.0: tg.elu(x, alpha=alpha)
WORDS["nn.functional.celu"] = lambda x, alpha=1.0: tg.where(x > 0, x, alpha * tg.expm1(x / alpha))
WORDS["nn.functional.selu"] = lambda x: 1.0507009873554804934193349852946 * tg.elu(x, alpha=1.6732632423543772848170429)
WORDS["nn.functional.relu6"] = lambda x: tg.minimum(tg.relu(x), 6)
WORDS["nn.functional.hardtanh"] = lambda x, min_val=-1, max_val=1: tg.clip(x, min_val, max_val)
WORDS["nn.functional.mish"] = lambda x: x * tg.tanh(tg.softplus(x))
WORDS["nn.functional.glu"] = lambda x, dim=-1: _glu(x, dim)


@words("nn.functional.softplus")
def _softplus(x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    need(threshold == 20, "a threshold at which softplus is cut off")
    return tg.softplus(x * beta) / beta


@words("logaddexp")
def _logaddexp(a: Any, b: Any) -> Any:
    need(a.dtype.kind != "c", "complex numbers")
    return tg.logaddexp(a, b)


@words("sinc")
def _sinc(x: Any) -> Any:
    need(x.dtype.kind != "c", "complex numbers")
    return tg.sinc(x)


def _glu(x: Any, dim: int) -> Any:
    a, b = tg.split(x, 2, axis=dim)
    return a * tg.sigmoid(b)


@words("nn.functional.prelu")
def _prelu(x: Any, weight: Any) -> Any:
    if weight.ndim:
        weight = weight[0] if weight.size == 1 else tg.reshape(weight, (-1,) + (1,) * (x.ndim - 2))
    return tg.where(x > 0, x, x * weight)


@words("nn.functional.gelu")
def _gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return tg.gelu(x)
    return 0.5 * x * (1 + tg.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# ---------------------------------------------------------------- reductions


def _reduction(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
        need(dtype is None, "the reduction's own dtype")
        need(x.ndim > 0 or dim in (None, (), []), "an axis of a scalar")
        need(f is not tg.logsumexp or x.dtype.kind != "c", "complex numbers")
        return f(x, axis=dim if dim != () and dim != [] else None, keepdims=keepdim)

    return call


for _theirs, _mine in {
    "sum": tg.sum, "mean": tg.mean, "prod": tg.prod, "amax": tg.max, "amin": tg.min, "logsumexp": tg.logsumexp,
    "count_nonzero": tg.count_nonzero, "all": tg.all, "any": tg.any, "argmax": tg.argmax, "argmin": tg.argmin,
}.items():  # fmt: skip
    WORDS[_theirs] = _reduction(_mine)


def _extremum_of(reduce: Any, both: Any) -> Callable[..., Any]:
    def call(x: Any, other: Any = None, keepdim: bool = False, *, dim: Any = None) -> Any:
        if isinstance(other, tg.Tensor):
            return both(x, other)
        axis = other if dim is None else dim
        need(x.ndim > 0 or axis is None, "an axis of a scalar")
        return reduce(x, axis=axis, keepdims=keepdim)

    return call


WORDS["max"], WORDS["min"] = _extremum_of(tg.max, tg.maximum), _extremum_of(tg.min, tg.minimum)


def _deviation(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if correction is None:
            correction = 1 if unbiased in (None, True) else 0
        axis = dim if dim != () and dim != [] else None
        need(x.ndim > 0, "a deviation of a scalar")
        return f(x, axis=axis, correction=correction, keepdims=keepdim)

    return call


WORDS["var"], WORDS["std"] = _deviation(tg.var), _deviation(tg.std)


def _mean_too(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
        axis = None if isinstance(dim, bool) or dim in ((), []) else dim
        said = f(x, dim, unbiased, keepdim, correction=correction)
        return said, tg.mean(x, axis=axis, keepdims=keepdim)

    return call


WORDS["var_mean"], WORDS["std_mean"] = _mean_too(WORDS["var"]), _mean_too(WORDS["std"])


def _running(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, dim: int, *, dtype: Any = None) -> Any:
        need(dtype is None, "the reduction's own dtype")
        need(x.ndim > 0, "an axis of a scalar")
        need(f is not tg.logcumsumexp or x.dtype.kind != "c", "complex numbers")
        return f(x, axis=dim)

    return call


WORDS["cumsum"], WORDS["cumprod"] = _running(tg.cumsum), _running(tg.cumprod)
WORDS["logcumsumexp"] = _running(tg.logcumsumexp)


@words("softmax", "nn.functional.softmin", "log_softmax")
def _softmax(x: Any, dim: int, dtype: Any = None) -> Any:
    need(dtype is None, "the reduction's own dtype")
    need(x.ndim > 0, "an axis of a scalar")
    return tg.softmax(x, axis=dim)


WORDS["nn.functional.softmin"] = lambda x, dim, dtype=None: _softmax(-x, dim, dtype)


@words("log_softmax")
def _log_softmax(x: Any, dim: int, dtype: Any = None) -> Any:
    need(dtype is None, "the reduction's own dtype")
    need(x.ndim > 0, "an axis of a scalar")
    return tg.log_softmax(x, axis=dim)


@words("diff")
def _diff(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    need(n > 0 or (prepend is None and append is None), "no differences of several arrays")
    parts = [p for p in (prepend, x, append) if p is not None]
    return tg.diff(tg.concat(parts, axis=dim) if len(parts) > 1 else x, axis=dim, n=n)


@words("sort", "msort", "argsort")
def _sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    return tg.sort(x, axis=dim, descending=descending)


WORDS["msort"] = lambda x: tg.sort(x, axis=0) if x.ndim else x
WORDS["argsort"] = lambda x, dim=-1, descending=False, stable=False: (
    tg.argsort(x, axis=dim, descending=descending) if x.ndim else tg.argsort(tg.reshape(x, 1))[0]
)


@words("linalg.vector_norm")
def _vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    need(dtype is None, "the reduction's own dtype")
    need(x.ndim > 0 or dim is None, "an axis of a scalar")
    return tg.linalg.vector_norm(x, axis=dim, keepdims=keepdim, ord=ord)


@words("linalg.matrix_norm")
def _matrix_norm(x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Any:
    need(dtype is None, "the reduction's own dtype")
    y = tg.linalg.matrix_norm(tg.moveaxis(x, tuple(dim), (-2, -1)), ord=ord)
    return tg.expand_dims(y, axis=tuple(sorted(d % x.ndim for d in dim))) if keepdim else y
