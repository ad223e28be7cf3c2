"""The functions of the cell language in plain NumPy, for `tests/reference.py`: a textbook formula each, no derivative.

Elementwise functions take scalars and equal shapes (only scalars broadcast); reductions take an axis; the rest take
whole vectors. Nothing of the packages may be imported.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

CONSTANTS = {"pi": np.pi, "inf": np.inf, "none": -1}  # no category is stored as -1


def agreeing(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*values: Any) -> Any:
        if len(shapes := {np.shape(v) for v in values} - {()}) > 1:
            raise ValueError(f"shapes do not agree: {sorted(shapes)}")
        value = function(*values)
        return value * 1.0 if np.asarray(value).dtype == bool else value  # a condition is 1 or 0

    return checked


def matmul(a: Any, b: Any) -> Any:
    if np.ndim(b) == 0:  # an empty sum, or a boundary without a type: that number in every feature
        b = np.full(np.shape(a)[-1], b)
    if np.ndim(a) == 0:
        a = np.full(np.shape(b)[0], a)
    if np.ndim(a) == 1 and np.ndim(b) == 2:
        raise ValueError("vector @ matrix")
    return a @ b


def softmax(v: Any, axis: int) -> Any:
    e = np.exp(v - v.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def one_hot(i: Any, n: Any) -> Any:
    """Category i of n as a vector; -1 is none, the zero vector."""
    if not -1 <= i < n:
        raise ValueError(f"category {i} of {n}")
    return (np.arange(int(n)) == i).astype(float)


def reflect(r: Any, v: Any) -> Any:
    square = (np.conj(r) @ r).real
    return v if square == 0 else v - 2 * r * (np.conj(r) @ v) / square


OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": np.true_divide, "//": np.floor_divide,
    "%": np.mod, "**": operator.pow, "==": operator.eq, "!=": operator.ne, "<=": operator.le,
    ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
OPERATORS = {op: agreeing(f) for op, f in OPERATORS.items()} | {"@": matmul}

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "logsumexp": np.logaddexp.reduce,
    "softmax": softmax,
    "log_softmax": lambda v, axis: v - np.logaddexp.reduce(v, axis, keepdims=True),
}

ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, x / 10),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(0, x),
    "exp": np.exp,
    "log": np.log,
    "logaddexp": np.logaddexp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "where": np.where,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "expm1": lambda x: np.exp(x) - 1,
    "log1p": lambda x: np.log(1 + x),
    "tan": np.tan,
    "arctan": np.arctan,
    "arctan2": np.arctan2,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "arcsinh": np.arcsinh,
    "arccosh": np.arccosh,
    "arctanh": np.arctanh,
    "hypot": np.hypot,
    "exp2": lambda x: 2.0**x,
    "log2": np.log2,
    "log10": np.log10,
    "cbrt": np.cbrt,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "gammaln": scipy.special.gammaln,
    "digamma": scipy.special.digamma,
    "xlogy": scipy.special.xlogy,
    "logit": scipy.special.logit,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "angle": np.angle,
    "conj": np.conj,
    "re": np.real,
    "im": np.imag,
    "cis": lambda x: np.exp(1j * x),
    "modrelu": lambda z, b: np.maximum(abs(z) + b, 0) * z / np.where(z == 0, 1, abs(z)),
}
ELEMENTWISE = {name: agreeing(f) for name, f in ELEMENTWISE.items()}


def categorical(y: Any, logits: Any) -> Any:
    if not y.any():
        raise ValueError("a category that is none has no probability")
    return REDUCTIONS["log_softmax"](logits, -1) @ y


def chosen(p: Any, u: Any) -> Any:
    """The category whose stretch of [0, 1) holds u, as a vector."""
    ends = np.cumsum(p)
    return one_hot(max(k for k in range(len(p)) if p[k] > 0 and ends[k] - p[k] <= u), len(p))


def mdn2d(y: Any, weights: Any, mean_x: Any, mean_y: Any, std_x: Any, std_y: Any, correlation: Any, end: Any) -> Any:
    """A mixture of bivariate normals, and a pen that is up with log-odds `end`: arXiv:1308.0850, equations 23-26."""
    total = 0.0
    for w, *mean, a, b, r in zip(weights, mean_x, mean_y, std_x, std_y, correlation, strict=True):
        covariance = np.array([[a * a, r * a * b], [r * a * b, b * b]])
        off = y[:2] - np.array(mean)
        exponent = off @ np.linalg.solve(covariance, off) / 2
        total = total + w * np.exp(-exponent) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    return np.log(total) - np.logaddexp(0, -end if y[2] else end)


DENSITIES: dict[str, Callable[..., Any]] = {
    "categorical": categorical,
    "bernoulli": lambda y, logits: -np.sum(np.logaddexp(0, np.where(y == 1, -logits, logits))),
    "normal": lambda y, mean, std: np.sum(-(((y - mean) / std) ** 2) / 2 - np.log(std + 0 * y) - np.log(2 * np.pi) / 2),
    "mdn2d": mdn2d,
}

WHOLE: dict[str, Callable[..., Any]] = {
    "cumsum": np.cumsum,
    "cross_entropy": lambda logits, y: REDUCTIONS["logsumexp"](logits, None) - logits @ y,
    "categorical_icdf": chosen,
    "polygamma": lambda n, x: scipy.special.polygamma(int(n), x),
    "concat": lambda *v: np.concatenate(v),
    "part": lambda v, i, n: v[int(i) : int(i) + int(n)],
    "outer": np.outer,
    "dot": np.dot,
    "zeros": lambda n: np.zeros(int(n)),
    "one_hot": one_hot,
    "fft": np.fft.fft,
    "ifft": np.fft.ifft,
    "reflect": reflect,
    "permute": lambda p, v: v[p.astype(int)],
    "unpermute": lambda p, v: v[np.argsort(p.astype(int))],
}
