"""NumPy's functions on tensors: what `np.concatenate([t, t])` or `np.linalg.inv(t)` mean (NEP 18).

NumPy's own signatures, translated to our functions. Ufuncs (`np.tanh(t)`) are read by name, reductions (`np.sum(t)`)
reach the tensor's methods. A function that is neither here nor there gets arrays, where no gradient is lost by that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.state import state

Function = Callable[..., Any]
UFUNCS: dict[str, str] = {  # names of NumPy's and SciPy's functions that are primitives under another
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "negative": "neg",
    "floor_divide": "floordiv",
    "remainder": "mod",
    "absolute": "abs",
    "conjugate": "conj",
    "rint": "round",
    "psi": "digamma",
    "expit": "sigmoid",
}


@cache
def table() -> dict[Any, Function]:
    """NumPy's function -> ours in NumPy's signature. (A function: ours are not there yet when this is imported.)"""
    import tinygrad_seq as tg

    found: dict[Any, Function] = {
        np.concatenate: lambda xs, axis=0: tg.concat(xs, axis=axis),
        np.stack: lambda xs, axis=0: tg.stack(xs, axis=axis),
        np.split: lambda x, sections, axis=0: tg.split(x, _whole(sections), axis=axis),
        np.where: tg.where,
        np.einsum: lambda spec, *xs: tg.einsum(spec, *xs),
        np.tensordot: lambda a, b, axes=2: tg.tensordot(a, b, axes=axes),
        np.dot: _dot,
        np.inner: lambda a, b: tg.tensordot(a, b, axes=((-1,), (-1,))) if np.ndim(a) and np.ndim(b) else a * b,
        np.outer: lambda a, b: tg.outer(tg.flatten(a), tg.flatten(b)),
        np.kron: tg.linalg.kron,
        np.trace: lambda x, offset=0: tg.linalg.trace(tg.moveaxis(x, (0, 1), (-2, -1)), offset=offset),
        np.diagonal: lambda x, offset=0, axis1=0, axis2=1: tg.diagonal(
            tg.moveaxis(x, (axis1, axis2), (-2, -1)), offset=offset
        ),
        np.tril: lambda x, k=0: tg.tril(x, k=k),
        np.triu: lambda x, k=0: tg.triu(x, k=k),
        np.reshape: lambda x, shape: tg.reshape(x, shape),
        np.ravel: tg.flatten,
        np.transpose: lambda x, axes=None: tg.permute_dims(x, range(np.ndim(x))[::-1] if axes is None else axes),
        np.squeeze: lambda x, axis=None: tg.squeeze(x, axis=axis),
        np.flip: lambda x, axis=None: tg.flip(x, axis=axis),
        np.roll: lambda x, shift, axis=None: tg.roll(x, shift, axis=axis),
        np.moveaxis: tg.moveaxis,
        np.swapaxes: tg.swapaxes,
        np.expand_dims: lambda x, axis: tg.expand_dims(x, axis=axis),
        np.broadcast_to: lambda x, shape: tg.broadcast_to(x, shape),
        np.broadcast_arrays: lambda *xs: tuple(tg.broadcast_arrays(*xs)),
        np.tile: tg.tile,
        np.repeat: lambda x, repeats, axis=None: tg.repeat(x, repeats, axis=axis),
        np.pad: lambda x, widths, mode="constant", constant_values=0: tg.pad(
            x, widths, mode=mode, value=constant_values
        ),
        np.cumprod: lambda x, axis=None: tg.cumprod(tg.flatten(x) if axis is None else x, axis=axis or 0),
        np.diff: lambda x, n=1, axis=-1: tg.diff(x, axis=axis, n=n),
        np.sort: lambda x, axis=-1: tg.sort(x, axis=axis),
        np.median: lambda x, axis=None, keepdims=False: tg.median(
            tg.flatten(x) if axis is None else x, axis=-1 if axis is None else axis, keepdims=keepdims
        ),
        np.take: lambda x, index, axis=None: tg.take(tg.flatten(x) if axis is None else x, index, axis=axis or 0),
        np.take_along_axis: lambda x, index, axis=-1: tg.take_along_axis(x, index, axis=axis),
        np.vstack: lambda xs: tg.concat([_at_least(x, 2) for x in xs], axis=0),
        np.hstack: lambda xs: tg.concat([_at_least(x, 1) for x in xs], axis=0 if np.ndim(xs[0]) < 2 else 1),
        np.dstack: lambda xs: tg.concat([_at_least(x, 3) for x in xs], axis=2),
        np.column_stack: lambda xs: tg.concat([x if np.ndim(x) > 1 else _at_least(x, 2).T for x in xs], axis=1),
        np.append: lambda x, y, axis=None: tg.concat(
            [x, y] if axis is not None else [tg.flatten(x), tg.flatten(y)], axis=axis or 0
        ),
        np.atleast_1d: lambda *xs: _one_or_all([_at_least(x, 1) for x in xs]),
        np.atleast_2d: lambda *xs: _one_or_all([_at_least(x, 2) for x in xs]),
        np.atleast_3d: lambda *xs: _one_or_all([_at_least(x, 3) for x in xs]),
        np.fliplr: lambda x: tg.flip(x, axis=1),
        np.flipud: lambda x: tg.flip(x, axis=0),
        np.rot90: _rot90,
        np.diag: lambda x, k=0: tg.diagonal(x, offset=k) if np.ndim(x) == 2 else _diagonal_matrix(x, k),
        np.vdot: lambda a, b: tg.vecdot(tg.flatten(a), tg.flatten(b)),
        np.cross: lambda a, b, axis=-1: tg.linalg.cross(a, b, axis=axis),
        np.average: lambda x, axis=None, weights=None: _average(x, axis, weights),
        np.angle: REGISTRY["angle"],
        np.round: REGISTRY["round"],
        np.nan_to_num: lambda x, nan=0.0: tg.where(REGISTRY["isnan"](x), nan, x),
        np.linalg.norm: _norm,
        np.linalg.solve: tg.linalg.solve,
        np.linalg.matrix_power: tg.linalg.matrix_power,
        np.linalg.svd: lambda x, full_matrices=True: tg.linalg.svd(x, full_matrices=full_matrices),
    }
    for name in ("inv", "det", "slogdet", "cholesky", "eigh", "eigvalsh", "qr", "pinv"):
        found[getattr(np.linalg, name)] = getattr(tg.linalg, name)
    for name in ("svdvals", "cross", "matrix_norm", "vector_norm", "outer", "tensordot"):
        found.setdefault(getattr(np.linalg, name), getattr(tg.linalg, name))
    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
        found[getattr(np.fft, name)] = _of_one_axis(getattr(tg.fft, name))
    for name in ("fft2", "ifft2", "fftn", "ifftn", "rfft2", "irfft2", "rfftn", "irfftn"):
        found[getattr(np.fft, name)] = _of_axes(getattr(tg.fft, name), (-2, -1) if name[-1] == "2" else None)
    return found


_FILLED = frozenset({np.empty_like, np.zeros_like, np.ones_like, np.full_like})  # of a tensor's shape, not its values


def call(function: Any, args: Any, options: Any) -> Any:
    """What `function(*args, **options)` of NumPy means with a tensor among the arguments.

    A function that we have not is NumPy's on the arrays, unless its answer is one of real or complex numbers from a
    tensor with a gradient: that would be lost in silence, and is a TypeError.
    """
    ours = table().get(function)
    if ours is not None:
        try:
            return ours(*args, **options)
        except TypeError as error:
            if "argument" not in str(error):
                raise
            raise TypeError(f"np.{function.__name__} of tensors: {error}") from error
    result = function._implementation(*args, **options)
    if function not in _FILLED and state().recording and _any(_has_gradient, args) and _any(_is_floating, result):
        raise TypeError(
            f"np.{function.__name__} of a tensor would lose its gradient: spell it in tg's functions, "
            "or give it t.numpy() if no gradient is meant"
        )
    return result


def _any(holds: Callable[[Any], bool], value: Any) -> bool:
    """Whether it holds of a value or of one within nested lists and tuples."""
    return any(_any(holds, v) for v in value) if isinstance(value, list | tuple) else holds(value)


def _has_gradient(value: Any) -> bool:
    return getattr(value, "edge", None) is not None


def _is_floating(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fc"


def _at_least(x: Any, rank: int) -> Any:
    """NumPy's atleast: a vector is a row, and of matrices the depth comes last."""
    import tinygrad_seq as tg

    x = tg.reshape(x, (1,)) if np.ndim(x) == 0 else x
    if rank >= 2 and np.ndim(x) == 1:
        x = tg.expand_dims(x, axis=0)
    return tg.expand_dims(x, axis=-1) if rank >= 3 and np.ndim(x) == 2 else x


def _one_or_all(xs: list[Any]) -> Any:
    return xs[0] if len(xs) == 1 else tuple(xs)


def _rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    import tinygrad_seq as tg

    for _ in range(k % 4):
        x = tg.flip(tg.swapaxes(x, *axes), axis=axes[0])
    return x


def _diagonal_matrix(x: Any, k: int) -> Any:
    import tinygrad_seq as tg

    return tg.pad(tg.diag(x), ((max(-k, 0), max(k, 0)), (max(k, 0), max(-k, 0))))


def _average(x: Any, axis: Any, weights: Any) -> Any:
    import tinygrad_seq as tg

    if weights is None:
        return tg.mean(x, axis=axis)
    if np.shape(weights) != np.shape(x):
        weights = tg.reshape(weights, [n if a == axis % np.ndim(x) else 1 for a, n in enumerate(np.shape(x))])
    whole = tg.broadcast_to(weights, np.shape(x))
    return tg.sum(x * whole, axis=axis) / tg.sum(whole, axis=axis)


def _whole(sections: Any) -> Any:
    return sections if isinstance(sections, int) else [int(s) for s in sections]


def _dot(a: Any, b: Any) -> Any:
    """A product of scalars, vectors and matrices; of more axes, over the last of a and the last but one of b."""
    import tinygrad_seq as tg

    ranks = np.ndim(a), np.ndim(b)
    if 0 in ranks:
        return REGISTRY["mul"](a, b)
    return tg.matmul(a, b) if max(ranks) <= 2 else tg.tensordot(a, b, axes=((-1,), (-1 if ranks[1] == 1 else -2,)))


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    import tinygrad_seq as tg

    matrix = isinstance(axis, tuple) or (axis is None and ord is not None and np.ndim(x) == 2)
    if not matrix:
        return tg.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=2 if ord is None else ord)
    y = tg.moveaxis(x, axis, (-2, -1)) if axis is not None else x
    y = tg.linalg.matrix_norm(y, ord="fro" if ord is None else ord)
    return tg.expand_dims(y, axis=axis or (0, 1)) if keepdims else y


def _of_one_axis(f: Function) -> Function:
    return lambda x, n=None, axis=-1, norm=None: f(x, n=n, axis=axis, norm=norm or "backward")


def _of_axes(f: Function, default: Any) -> Function:
    return lambda x, s=None, axes=default, norm=None: f(x, s=s, axes=axes, norm=norm or "backward")
