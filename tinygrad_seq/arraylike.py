"""The methods and comparisons that NumPy's arrays have, each the primitive or function of that name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_seq.primitive import REGISTRY, Arithmetic


class ArrayMethods(Arithmetic):
    """What tensors share with arrays."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
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

    def sum(self, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
        return REGISTRY["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
        return REGISTRY["mean"](self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
        return REGISTRY["max"](self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
        return REGISTRY["min"](self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        return functions().var(self, axis=axis, keepdims=keepdims, correction=options.get("ddof", 0))

    def std(self, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        return functions().std(self, axis=axis, keepdims=keepdims, correction=options.get("ddof", 0))

    def prod(self, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
        return functions().prod(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
        return REGISTRY["any"](self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
        return REGISTRY["all"](self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, **_: Any) -> Any:
        return REGISTRY["argmax"](self, axis=axis)

    def argmin(self, axis: int | None = None, **_: Any) -> Any:
        return REGISTRY["argmin"](self, axis=axis)

    def cumsum(self, axis: int | None = None, **_: Any) -> Any:
        return REGISTRY["cumsum"](self.reshape(-1) if axis is None else self, axis=axis or 0)

    def clip(self, min: Any = None, max: Any = None, **_: Any) -> Any:  # noqa: A002
        return functions().clip(self, min, max)

    def squeeze(self, axis: Any = None) -> Any:
        return functions().squeeze(self, axis)

    def flatten(self) -> Any:
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
        return functions().permute_dims(self, order or tuple(reversed(range(len(self.shape)))))

    def reshape(self, *shape: Any) -> Any:
        return functions().reshape(self, shape[0] if len(shape) == 1 else shape)

    def astype(self, dtype: DTypeLike) -> Any:
        return REGISTRY["astype"](self, dtype=np.dtype(dtype).name)

    @property
    def real(self) -> Any:
        return REGISTRY["re"](self)

    @property
    def imag(self) -> Any:
        return REGISTRY["im"](self)

    def conj(self) -> Any:
        return REGISTRY["conj"](self)


def functions() -> Any:
    import tinygrad_seq

    return tinygrad_seq
