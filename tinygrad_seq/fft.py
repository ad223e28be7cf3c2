"""`tg.fft`: discrete Fourier transforms, in the array API's names and NumPy's options.

Everything takes arrays and tensors and is composed of two primitives, `fft` and `ifft` of one axis. `n` cuts an axis
or fills it up with zeros; `norm` says where the factor 1/N stands: "backward" (at the inverse), "forward" (here),
"ortho" (its root at both).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.shapes import as_array, concat, flip, pad, place, roll

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]

_op = REGISTRY
_SWAPPED = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _at(x: Any, axis: int, start: int, stop: int) -> Any:
    return x[(slice(None),) * place(axis, len(x.shape)) + (slice(start, stop),)]


def _resized(x: Any, n: int | None, axis: int) -> Any:
    """x with `n` elements along `axis`: cut, or filled up with zeros."""
    x = as_array(x)
    if not len(x.shape):
        raise ValueError("a Fourier transform takes an array with an axis, not a scalar")
    length = x.shape[place(axis, len(x.shape))]
    if n is None or n == length:
        return x
    if n < 1:
        raise ValueError(f"a Fourier transform has at least 1 element, not {n}")
    if n < length:
        return _at(x, axis, 0, n)
    return pad(x, [(0, n - length if a == place(axis, len(x.shape)) else 0) for a in range(len(x.shape))])


def _scaled(y: Any, count: int, norm: str, inverse: bool) -> Any:
    """The primitive's result (1/N stands at the inverse) by another convention."""
    if norm not in _SWAPPED:
        raise ValueError(f"norm is 'backward', 'ortho' or 'forward', not {norm!r}")
    if norm == "backward":
        return y
    factor = count if norm == "forward" else math.sqrt(count)
    return y * factor if inverse else y / factor


# ---------------------------------------------------------------- one axis


def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """y[k] = Σ x[j] e^(-2πi jk/N)."""
    x = _resized(x, n, axis)
    return _scaled(_op["fft"](x, axis=axis), x.shape[axis], norm, False)


def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """x[j] = Σ y[k] e^(2πi jk/N) / N."""
    x = _resized(x, n, axis)
    return _scaled(_op["ifft"](x, axis=axis), x.shape[axis], norm, True)


def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The first N//2 + 1 coefficients of real x: the others are their conjugates."""
    x = _resized(x, n, axis)
    if x.dtype.kind == "c":
        raise TypeError("rfft takes real numbers: use fft")
    return _at(fft(x, axis=axis, norm=norm), axis, 0, x.shape[axis] // 2 + 1)


def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The n real values (2(N - 1) unless given) whose coefficients begin with x, as `rfft` gives them."""
    x = _resized(x, None, axis)
    n = 2 * (x.shape[axis] - 1) if n is None else n
    if n < 1:
        raise ValueError(f"a Fourier transform has at least 1 element, not {n}: say how many with n=")
    x = _resized(x, n // 2 + 1, axis)
    parts = [_op["re"](_at(x, axis, 0, 1)) + 0j, _at(x, axis, 1, (n + 1) // 2)]
    if n % 2 == 0:
        parts.append(_op["re"](_at(x, axis, n // 2, n // 2 + 1)) + 0j)
    parts.append(flip(_op["conj"](parts[1]), axis=axis))
    return _op["re"](ifft(concat(parts, axis=axis), axis=axis, norm=norm))


def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The real spectrum of values whose second half is the conjugate of the first."""
    return irfft(_op["conj"](as_array(x)), n=n, axis=axis, norm=_SWAPPED.get(norm, norm))


def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The inverse of `hfft`: the first half of the values."""
    return _op["conj"](rfft(x, n=n, axis=axis, norm=_SWAPPED.get(norm, norm)))


# ---------------------------------------------------------------- several axes


def _sizes(x: Any, s: Sequence[int] | None, axes: Sequence[int] | None) -> list[tuple[int | None, int]]:
    """Size and axis, for each axis that is transformed."""
    rank = len(as_array(x).shape)
    if axes is None:
        axes = range(rank) if s is None else range(rank - len(s), rank)
    sizes: Sequence[int | None] = [None] * len(axes) if s is None else [None if n == -1 else n for n in s]
    if len(sizes) != len(axes):
        raise ValueError(f"{len(sizes)} sizes for {len(axes)} axes")
    return list(zip(sizes, axes, strict=True))


def fftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """`fft` along each of `axes` (all)."""
    for n, axis in _sizes(x, s, axes):
        x = fft(x, n=n, axis=axis, norm=norm)
    return x


def ifftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """`ifft` along each of `axes` (all)."""
    for n, axis in _sizes(x, s, axes):
        x = ifft(x, n=n, axis=axis, norm=norm)
    return x


def rfftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """`rfft` along the last of `axes`, then `fft` along the others."""
    *others, (last, at) = _sizes(x, s, axes)
    x = rfft(x, n=last, axis=at, norm=norm)
    for n, axis in others:
        x = fft(x, n=n, axis=axis, norm=norm)
    return x


def irfftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """The inverse of `rfftn`."""
    *others, (last, at) = _sizes(x, s, axes)
    for n, axis in others:
        x = ifft(x, n=n, axis=axis, norm=norm)
    return irfft(x, n=last, axis=at, norm=norm)


def fft2(x: Any, /, *, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Any:
    """`fftn` of two axes."""
    return fftn(x, s=s, axes=axes, norm=norm)


def ifft2(x: Any, /, *, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Any:
    """`ifftn` of two axes."""
    return ifftn(x, s=s, axes=axes, norm=norm)


def rfft2(x: Any, /, *, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Any:
    """`rfftn` of two axes."""
    return rfftn(x, s=s, axes=axes, norm=norm)


def irfft2(x: Any, /, *, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Any:
    """`irfftn` of two axes."""
    return irfftn(x, s=s, axes=axes, norm=norm)


# ---------------------------------------------------------------- the order of coefficients


def fftfreq(n: int, /, *, d: float = 1.0) -> Any:
    """The frequency of each coefficient of `fft`, for samples `d` apart."""
    return np.fft.fftfreq(n, d)


def rfftfreq(n: int, /, *, d: float = 1.0) -> Any:
    """The frequency of each coefficient of `rfft`."""
    return np.fft.rfftfreq(n, d)


def _shift(x: Any, axes: Any, inverse: bool) -> Any:
    x = as_array(x)
    axes = range(len(x.shape)) if axes is None else (axes,) if isinstance(axes, int) else axes
    for axis in axes:
        half = x.shape[axis] // 2
        x = roll(x, -half if inverse else half, axis=axis)
    return x


def fftshift(x: Any, /, *, axes: Any = None) -> Any:
    """The coefficient of frequency 0 to the middle."""
    return _shift(x, axes, False)


def ifftshift(x: Any, /, *, axes: Any = None) -> Any:
    """The inverse of `fftshift`."""
    return _shift(x, axes, True)
