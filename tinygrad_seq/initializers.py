"""Random and constant starts of parameters, by name.

`initialize(name, shape, rng, dtype, *arguments)` gives an array; the same generator state gives the same
array. Numbers are drawn in float64 and cast, so that float32 and float64 models start alike. A new one is
a function in the registry: `@initializer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
INITIALIZERS: dict[str, Callable[..., Array]] = {}


def initializer(function: Callable[..., Array]) -> Callable[..., Array]:
    """Decorator: make `function(shape, rng, dtype, *arguments)` known by its name."""
    INITIALIZERS[function.__name__] = function
    return function


def initialize(name: str, shape: Shape, rng: np.random.Generator, dtype: Any = np.float32, *arguments: Any) -> Array:
    """The named initialiser's array; ValueError for an unknown name, a wrong shape or wrong arguments."""
    found = INITIALIZERS.get(name)
    if found is None:
        raise ValueError(f"unknown initializer {name!r}: there are {', '.join(sorted(INITIALIZERS))}")
    try:
        value = found(tuple(int(d) for d in shape), rng, np.dtype(dtype), *arguments)
    except TypeError as error:
        raise ValueError(f"{name}{arguments}: {error}") from None
    return np.ascontiguousarray(value.astype(dtype)).reshape(shape)


def _complex(dtype: Any) -> bool:
    return bool(np.dtype(dtype).kind == "c")


def _normal(shape: Shape, rng: np.random.Generator, dtype: Any) -> Array:
    """Unit variance: a complex number's is shared by its two parts."""
    if _complex(dtype):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / math.sqrt(2)
    return rng.standard_normal(shape)


def _fans(shape: Shape) -> tuple[int, int]:
    """Outputs and inputs of a parameter: (H, D) is a matrix, a vector has fans equal to its length."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    rest = math.prod(shape[2:])
    return shape[0] * rest, shape[1] * rest


def _matrix(name: str, shape: Shape) -> None:
    if len(shape) != 2:
        raise ValueError(f"{name} makes matrices, not shape {shape}")


@initializer
def constant(shape: Shape, rng: np.random.Generator, dtype: Any, value: complex = 0.0) -> Array:
    """The same number everywhere."""
    return np.full(shape, value, dtype=dtype)


@initializer
def zeros(shape: Shape, rng: np.random.Generator, dtype: Any) -> Array:
    """Zeros."""
    return np.zeros(shape, dtype)


@initializer
def ones(shape: Shape, rng: np.random.Generator, dtype: Any) -> Array:
    """Ones."""
    return np.ones(shape, dtype)


@initializer
def uniform(shape: Shape, rng: np.random.Generator, dtype: Any, low: float = -1.0, high: float = 1.0) -> Array:
    """Uniform on [low, high); a complex number's two parts each."""
    if not high >= low:
        raise ValueError(f"uniform({low}, {high}): the upper bound is below the lower")
    value = rng.uniform(low, high, shape)
    return value + 1j * rng.uniform(low, high, shape) if _complex(dtype) else value


@initializer
def normal(shape: Shape, rng: np.random.Generator, dtype: Any, mean: float = 0.0, std: float = 1.0) -> Array:
    """Normal with that mean and standard deviation."""
    if not std >= 0:
        raise ValueError(f"normal({mean}, {std}): the standard deviation is negative")
    return mean + std * _normal(shape, rng, dtype)


@initializer
def glorot(shape: Shape, rng: np.random.Generator, dtype: Any, gain: float = 1.0) -> Array:
    """Uniform on ±gain·√(6/(fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16); complex: halved variance a part."""
    fan_out, fan_in = _fans(shape)
    bound = gain * math.sqrt((3 if _complex(dtype) else 6) / max(fan_in + fan_out, 1))
    return uniform(shape, rng, dtype, -bound, bound)


@initializer
def he(shape: Shape, rng: np.random.Generator, dtype: Any, gain: float = math.sqrt(2)) -> Array:
    """Normal with standard deviation gain/√fan_in (He et al. 2015, eq. 10)."""
    return gain / math.sqrt(max(_fans(shape)[1], 1)) * _normal(shape, rng, dtype)


@initializer
def orthogonal(shape: Shape, rng: np.random.Generator, dtype: Any, gain: float = 1.0) -> Array:
    """gain times a random matrix with orthonormal rows or columns, Haar distributed (Saxe et al. 2014)."""
    _matrix("orthogonal", shape)
    tall = (max(shape), min(shape))
    q, r = np.linalg.qr(_normal(tall, rng, dtype))
    diagonal = np.diagonal(r)
    q = q * (diagonal / np.where(diagonal == 0, 1, np.abs(diagonal)))  # makes the distribution uniform
    return gain * (q if shape[0] >= shape[1] else q.T)


@initializer
def unitary(shape: Shape, rng: np.random.Generator, dtype: Any, gain: float = 1.0) -> Array:
    """`orthogonal` over the complex numbers: W*W = gain²·I; in a real dtype it is orthogonal."""
    return orthogonal(shape, rng, dtype, gain)


@initializer
def identity(shape: Shape, rng: np.random.Generator, dtype: Any, gain: float = 1.0) -> Array:
    """gain times the identity, cut or padded with zeros if not square (Le, Jaitly and Hinton 2015)."""
    _matrix("identity", shape)
    return np.asarray(gain * np.eye(shape[0], shape[1]))


@initializer
def norm(shape: Shape, rng: np.random.Generator, dtype: Any, gain: float = 1.0) -> Array:
    """A vector of length gain, or a matrix whose rows are, their directions uniform."""
    value = _normal(shape, rng, dtype)
    return np.asarray(gain * value / np.linalg.norm(np.atleast_1d(value), axis=-1, keepdims=bool(shape)))


@initializer
def chrono(shape: Shape, rng: np.random.Generator, dtype: Any, longest: float = 100.0) -> Array:
    """log(u), u uniform on [1, longest - 1]: a forget gate's bias that remembers up to `longest` steps
    (Tallec and Ollivier 2018, section 3); the input gate's is its negative."""
    if not longest > 2:
        raise ValueError(f"chrono({longest}): the longest dependency must be above 2 steps")
    return np.log(rng.uniform(1.0, longest - 1.0, shape))


@initializer
def permutation(shape: Shape, rng: np.random.Generator, dtype: Any) -> Array:
    """A random permutation of 0..N-1, for a shape (N,)."""
    if len(shape) != 1:
        raise ValueError(f"permutation makes vectors, not shape {shape}")
    return rng.permutation(shape[0])
