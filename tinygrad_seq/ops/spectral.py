"""Complex numbers, Fourier transforms and what unitary recurrent networks are made of.

One convention holds throughout the engine: the gradient with respect to z is ∂L/∂re z + i ∂L/∂im z, so that
z - lr*gradient descends. For a linear map y = A z it follows that the gradient is Aᴴ g. Real inputs get
real gradients, which the tape sees to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.ops.elementwise import abs_, conj, equal, greater, im, re, sign, where
from tinygrad_seq.ops.linalg import dot
from tinygrad_seq.ops.shape import Cotangents, expand, size
from tinygrad_seq.primitive import Primitive, elementwise

# ---------------------------------------------------------------- polar coordinates


def _cis(x: Any) -> Any:
    if np.iscomplexobj(x):
        return np.exp(1j * x)
    return np.cos(x) + 1j * np.sin(x)


angle = elementwise("angle", np.angle, tex=r"\arg({0})", complex_numbers=True)
cis = elementwise("cis", _cis, tex=r"e^{{i\,{0}}}", complex_numbers=True)


@angle.rule
def angle_rule(g: Any, y: Any, x: Any) -> Cotangents:
    """The direction across z, i/conj(z)."""
    return (where(equal(x, 0), 0, g * 1j / conj(where(equal(x, 0), 1, x))),)


@cis.partials
def cis_partials(y: Any, x: Any) -> Cotangents:
    return (1j * y,)


def _modrelu(x: Any, b: Any) -> Any:
    radius = np.abs(x)
    scale = np.maximum(radius + b, 0)
    return np.where(np.greater(radius, 0), scale * np.sign(x), np.zeros((), np.result_type(x, scale)))


modrelu = elementwise("modrelu", _modrelu, tex=r"\operatorname{{modrelu}}({0}, {1})", complex_numbers=True)


@modrelu.rule
def modrelu_rule(g: Any, y: Any, x: Any, b: Any) -> Cotangents:
    """relu(|z| + b) z/|z| (Arjovsky, Shah and Bengio 2016): along z the slope is 1, across it (|z| + b)/|z|."""
    alive = greater(abs_(y), 0)
    across = im(conj(sign(x)) * g) * (1j * sign(x)) / where(alive, abs_(x), 1)
    return (where(alive, g + b * across, 0), where(alive, re(conj(sign(x)) * g), 0))


# ---------------------------------------------------------------- Fourier transforms


fft = Primitive(
    "fft",
    lambda x, *, axis=-1: np.fft.fft(x, axis=axis),
    shape=lambda s, *, axis=-1: s,
    tex=r"\operatorname{{fft}}({0})",
    complex_numbers=True,
    mixes=True,
)
ifft = Primitive(
    "ifft",
    lambda x, *, axis=-1: np.fft.ifft(x, axis=axis),
    shape=lambda s, *, axis=-1: s,
    tex=r"\operatorname{{ifft}}({0})",
    complex_numbers=True,
    mixes=True,
)


@fft.rule
def fft_rule(g: Any, y: Any, x: Any, *, axis: int = -1) -> Cotangents:
    """NumPy's convention: the factor 1/N is the inverse transform's."""
    return (ifft(g, axis=axis) * size(x, axis=axis),)


@ifft.rule
def ifft_rule(g: Any, y: Any, x: Any, *, axis: int = -1) -> Cotangents:
    return (fft(g, axis=axis) / size(x, axis=axis),)


# ---------------------------------------------------------------- permutations


def _permute(order: Any, x: Any) -> Any:
    return x[..., np.asarray(order).astype(np.intp)]  # whole numbers of any dtype


def _unpermute(order: Any, x: Any) -> Any:
    result = np.empty_like(x)
    result[..., np.asarray(order).astype(np.intp)] = x
    return result


permute = Primitive(
    "permute", _permute, shape=lambda p, s: s, tex=r"\operatorname{{permute}}({0}, {1})", complex_numbers=True
)
unpermute = Primitive(
    "unpermute", _unpermute, shape=lambda p, s: s, tex=r"\operatorname{{unpermute}}({0}, {1})", complex_numbers=True
)


@permute.rule
def permute_rule(g: Any, y: Any, order: Any, x: Any) -> Cotangents:
    """y[i] = x[order[i]] along the last axis; `order` is a permutation of 0..N-1."""
    return (None, unpermute(order, g))


@unpermute.rule
def unpermute_rule(g: Any, y: Any, order: Any, x: Any) -> Cotangents:
    """y[order[i]] = x[i] along the last axis: the inverse of `permute`."""
    return (None, permute(order, g))


# ---------------------------------------------------------------- Householder reflections


def _inner(u: Any, v: Any) -> Any:
    """uᴴv over the last axis, kept as a dim of 1."""
    return np.sum(np.conjugate(u) * v, axis=-1, keepdims=True)


def _reflect(r: Any, x: Any) -> Any:
    n = _inner(r, r).real
    return x - 2 * r * _inner(r, x) / np.where(n == 0, np.ones_like(n), n)


def _reflect_adjoint(g: Any, r: Any, x: Any) -> Any:
    n = _inner(r, r).real
    s, a, one = _inner(r, x), _inner(g, r), np.ones_like(n)
    w = np.where(n == 0, 0 * one, 2 / np.where(n == 0, one, n))
    return w * ((a * s).real * w * r - np.conjugate(s) * g - a * x)


reflect = Primitive(
    "reflect",
    _reflect,
    shape=lambda r, x: x,
    tex=r"\operatorname{{reflect}}({0}, {1})",
    complex_numbers=True,
    mixes=True,
)
reflect_adjoint = Primitive(
    "reflect_adjoint",
    _reflect_adjoint,
    shape=lambda g, r, x: r,
    tex=r"\operatorname{{reflect\_adjoint}}({0}, {1}, {2})",
    complex_numbers=True,
)


def _product(u: Any, v: Any) -> Any:
    """uᴴv over the last axis, kept as a dim of 1, in primitives."""
    return expand(dot(conj(u), v), axis=-1)


@reflect.rule
def reflect_rule(g: Any, y: Any, r: Any, x: Any) -> Cotangents:
    """x - 2 r (rᴴx)/|r|², x for r = 0: the reflection is its own inverse and its own adjoint."""
    return (reflect_adjoint(g, r, x), reflect(r, g))


@reflect_adjoint.rule
def reflect_adjoint_rule(h: Any, y: Any, g: Any, r: Any, x: Any) -> Cotangents:
    """`reflect_adjoint(g, r, x)` is r's cotangent, w (re(a s) w r - conj(s) g - a x) with w = 2/|r|², 0 for r = 0,
    s = rᴴx, a = gᴴr; symmetric in g and x, for which the derivative of the reflection along h is Hermitian."""
    n, s, a = re(_product(r, r)), _product(r, x), _product(g, r)
    p, c, b = re(_product(r, h)), _product(g, h), _product(h, x)
    w = where(equal(n, 0), 0, 2 / where(equal(n, 0), 1, n))

    def along(v: Any) -> Any:
        t = _product(r, v)
        return w * (r * t * (w * p) - h * t - r * _product(h, v))

    turn = w * p * (conj(s) * g + a * x) + w * re(a * s) * h - c * x - conj(b) * g
    scale = w * re(c * s + a * b) - 2 * w * w * re(a * s) * p
    return (along(x), w * (turn + scale * r), along(g))
