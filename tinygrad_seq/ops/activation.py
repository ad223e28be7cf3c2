"""Activations: functions of each element that units apply to what they sum up. Choices at kinks are in `KINKS`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.ops.elementwise import Partials, greater, where
from tinygrad_seq.primitive import elementwise


def _softplus(x: Any) -> Any:
    """log(1 + e^x) without overflow: max(x, 0) + log1p(e^-|x|)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_ONE = {char: np.ones((), char) for char in "fd"}  # an array at hand: a number would be made into one at each call


def _sigmoid(x: Any) -> Any:
    """1/(1 + e^-x), with all digits down to where e^-x overflows, and 0 below."""
    if isinstance(x, np.ndarray) and x.size > 256 and x.dtype.char in "fd":  # NumPy's exponential is vector code
        y = np.negative(x)
        with np.errstate(over="ignore"):
            np.exp(y, y)
        np.add(y, _ONE[y.dtype.char], y)
        return np.reciprocal(y, y)
    if isinstance(x, complex | np.complexfloating) or (isinstance(x, np.ndarray) and x.dtype.kind == "c"):
        return 0.5 * (1 + np.tanh(0.5 * x))
    return _expit(x)


def _expit(x: Any) -> Any:
    global _expit
    from scipy.special import expit  # a slow import that compiled cells do without

    _expit = expit
    return expit(x)


def _leaky_relu(x: Any, *, slope: float = 0.1) -> Any:
    return np.where(np.greater(x, 0), x, slope * x)


def _elu(x: Any, *, alpha: float = 1.0) -> Any:
    return np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0)))


tanh = elementwise(
    "tanh",
    np.tanh,
    tex=r"\tanh({0})",
    kernel="tanh({0})",
    complex_numbers=True,
    costly=True,
    bounded=True,
    activation=True,
)
sigmoid = elementwise(
    "sigmoid",
    _sigmoid,
    tex=r"\sigma({0})",
    kernel="sigmoid({0})",
    complex_numbers=True,
    costly=True,
    bounded=True,
    activation=True,
)
relu = elementwise(
    "relu",
    lambda x: np.maximum(x, 0),
    tex=r"\operatorname{{relu}}({0})",
    kernel="maximum({0}, 0)",
    bounded=True,
    activation=True,
)
softplus = elementwise(
    "softplus",
    _softplus,
    tex=r"\operatorname{{softplus}}({0})",
    kernel="softplus({0})",
    costly=True,
    bounded=True,
    activation=True,
)
leaky_relu = elementwise(
    "leaky_relu",
    _leaky_relu,
    tex=r"\operatorname{{leaky\_relu}}({0})",
    kernel="where({0} > 0, {0}, {slope} * {0})",
    activation=True,
)
elu = elementwise(
    "elu",
    _elu,
    tex=r"\operatorname{{elu}}({0})",
    kernel="where({0} > 0, {0}, {alpha} * expm1(minimum({0}, 0)))",
    costly=True,
    activation=True,
)


@tanh.partials
def tanh_partials(y: Any, x: Any) -> Partials:
    """(1+y)(1-y), not 1-y*y: no cancellation as |y| → 1."""
    return ((1 + y) * (1 - y),)


@sigmoid.partials
def sigmoid_partials(y: Any, x: Any) -> Partials:
    return (y * (1 - y),)


@relu.partials
def relu_partials(y: Any, x: Any) -> Partials:
    return (where(greater(y, 0), 1, 0),)


@softplus.partials
def softplus_partials(y: Any, x: Any) -> Partials:
    return (sigmoid(x),)


@leaky_relu.partials
def leaky_relu_partials(y: Any, x: Any, *, slope: float = 0.1) -> Partials:
    return (where(greater(x, 0), 1, slope),)


@elu.partials
def elu_partials(y: Any, x: Any, *, alpha: float = 1.0) -> Partials:
    return (where(greater(x, 0), 1, y + alpha),)
