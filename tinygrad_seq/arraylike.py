"""The methods and comparisons that NumPy's arrays have, each the primitive or function of that name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_seq.primitive import REGISTRY, Arithmetic


def _none_of(method: str, options: dict[str, Any]) -> None:
    """A TypeError for what NumPy's functions may hand on and no method here can honour."""
    for key, value in options.items():
        if value is not None:
            raise TypeError(f"{method} of a tensor has no option {key!r}: its arguments are those that help() shows")


class ArrayMethods(Arithmetic):
    """What tensors share with arrays."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""
        raise NotImplementedError

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Any:
        return REGISTRY["equal"](self, other)

    def __ne__(self, other: Any) -> Any:
        return REGISTRY["not_equal"](self, other)

    def __lt__(self, other: Any) -> Any:
        return REGISTRY["less"](self, other)

    def __le__(self, other: Any) -> Any:
        return REGISTRY["less_equal"](self, other)

    def __gt__(self, other: Any) -> Any:
        return REGISTRY["greater"](self, other)

    def __ge__(self, other: Any) -> Any:
        return REGISTRY["greater_equal"](self, other)

    def __abs__(self) -> Any:
        return REGISTRY["abs"](self)

    def __matmul__(self, other: Any) -> Any:
        return functions().matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return functions().matmul(other, self)

    def sum(self, axis: Any = None, keepdims: bool = False, dtype: DTypeLike | None = None, **options: Any) -> Any:
        """The sum over `axis` (an int, a tuple, or None for all); the axes stay, of length 1, with `keepdims`.

        In `dtype`, if one is given."""
        _none_of("sum", options)
        return functions().sum(self, axis=axis, keepdims=keepdims, dtype=dtype)

    def mean(self, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """The mean over `axis`; ValueError over nothing."""
        _none_of("mean", options)
        return REGISTRY["mean"](self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """The maximum over `axis`; ties share the gradient equally."""
        _none_of("max", options)
        return REGISTRY["max"](self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """The minimum over `axis`; ties share the gradient equally."""
        _none_of("min", options)
        return REGISTRY["min"](self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, keepdims: bool = False, ddof: float = 0, **options: Any) -> Any:
        """The variance over `axis`, divided by N - `ddof` (0 unless given)."""
        _none_of("var", options)
        return functions().var(self, axis=axis, keepdims=keepdims, correction=ddof)

    def std(self, axis: Any = None, keepdims: bool = False, ddof: float = 0, **options: Any) -> Any:
        """The square root of `var`; its gradient is 0 where all values are equal."""
        _none_of("std", options)
        return functions().std(self, axis=axis, keepdims=keepdims, correction=ddof)

    def prod(self, axis: Any = None, keepdims: bool = False, dtype: DTypeLike | None = None, **options: Any) -> Any:
        """The product over `axis`; its gradient is right with zeros among the factors."""
        _none_of("prod", options)
        return functions().prod(self, axis=axis, keepdims=keepdims, dtype=dtype)

    def any(self, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """Whether one element along `axis` is not zero: a bool, without gradient."""
        _none_of("any", options)
        return REGISTRY["any"](self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """Whether no element along `axis` is zero: a bool, without gradient."""
        _none_of("all", options)
        return REGISTRY["all"](self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False, **options: Any) -> Any:
        """The place of the first maximum along `axis` (None: of all, counted flat): an int, without gradient."""
        _none_of("argmax", options)
        return REGISTRY["argmax"](self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False, **options: Any) -> Any:
        """The place of the first minimum along `axis` (None: of all, counted flat): an int, without gradient."""
        _none_of("argmin", options)
        return REGISTRY["argmin"](self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None, **options: Any) -> Any:
        """Running sums along `axis` (None: of all, flat)."""
        _none_of("cumsum", options)
        return REGISTRY["cumsum"](self.reshape(-1) if axis is None else self, axis=axis or 0)

    def clip(self, min: Any = None, max: Any = None, **options: Any) -> Any:  # noqa: A002
        """The values between `min` and `max` (None: no bound); the gradient is 1 on the bounds."""
        _none_of("clip", options)
        return functions().clip(self, min, max)

    def squeeze(self, axis: Any = None) -> Any:
        """Without the axes of length 1 (all of them, or those of `axis`)."""
        return functions().squeeze(self, axis)

    def flatten(self) -> Any:
        """All elements along one axis."""
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> Any:
        """Axes in the given order, as numbers or one tuple; reversed without any."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
        return functions().permute_dims(self, order or tuple(reversed(range(len(self.shape)))))

    def reshape(self, *shape: Any) -> Any:
        """The same elements in another shape, given as numbers or one tuple; -1 is the length that fits."""
        return functions().reshape(self, shape[0] if len(shape) == 1 else shape)

    def astype(self, dtype: DTypeLike) -> Any:
        """The same numbers in another dtype; the gradient comes back in this one's."""
        return REGISTRY["astype"](self, dtype=np.dtype(dtype).name)

    @property
    def real(self) -> Any:
        """The real part."""
        return REGISTRY["re"](self)

    @property
    def imag(self) -> Any:
        """The imaginary part; 0 of real numbers."""
        return REGISTRY["im"](self)

    def conj(self) -> Any:
        """The complex conjugate."""
        return REGISTRY["conj"](self)


def functions() -> Any:
    """The functions that users call, which are there when everything is imported."""
    import tinygrad_seq

    return tinygrad_seq
