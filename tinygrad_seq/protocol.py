"""NumPy's functions on tensors: what `np.concatenate([t, t])` or `np.linalg.inv(t)` mean (NEP 18).

NumPy's own signatures, translated to our functions. Ufuncs (`np.tanh(t)`) are read by name, reductions (`np.sum(t)`)
reach the tensor's methods. A function that is neither here nor there gets arrays, where no gradient is lost by that.
"""

from __future__ import annotations

import inspect
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
    return _joining() | _shaping() | _ordering() | _products() | _of_elements() | _matrices() | _spectra()


def _joining() -> dict[Any, Function]:
    """Arrays put together, taken apart, repeated."""
    import tinygrad_seq as tg

    return {
        np.concatenate: lambda arrays, axis=0: tg.concat(arrays, axis=axis),
        np.stack: lambda arrays, axis=0: tg.stack(arrays, axis=axis),
        np.split: lambda ary, indices_or_sections, axis=0: tg.split(ary, _whole(indices_or_sections), axis=axis),
        np.vstack: lambda tup: tg.concat([_at_least(x, 2) for x in tup], axis=0),
        np.hstack: lambda tup: tg.concat([_at_least(x, 1) for x in tup], axis=0 if np.ndim(tup[0]) < 2 else 1),
        np.dstack: lambda tup: tg.concat([_at_least(x, 3) for x in tup], axis=2),
        np.column_stack: lambda tup: tg.concat([x if np.ndim(x) > 1 else _at_least(x, 2).T for x in tup], axis=1),
        np.append: lambda arr, values, axis=None: tg.concat(
            [arr, values] if axis is not None else [tg.flatten(arr), tg.flatten(values)], axis=axis or 0
        ),
        np.tile: tg.tile,
        np.repeat: lambda a, repeats, axis=None: tg.repeat(a, repeats, axis=axis),
        np.pad: lambda array, pad_width, mode="constant", constant_values=0: tg.pad(
            array, pad_width, mode=mode, value=constant_values
        ),
    }


def _shaping() -> dict[Any, Function]:
    """The same elements in another shape, or in another order of the axes."""
    import tinygrad_seq as tg

    return {
        np.reshape: lambda a, shape: tg.reshape(a, shape),
        np.ravel: tg.flatten,
        np.transpose: lambda a, axes=None: tg.permute_dims(a, range(np.ndim(a))[::-1] if axes is None else axes),
        np.squeeze: lambda a, axis=None: tg.squeeze(a, axis=axis),
        np.moveaxis: tg.moveaxis,
        np.swapaxes: tg.swapaxes,
        np.expand_dims: lambda a, axis: tg.expand_dims(a, axis=axis),
        np.broadcast_to: lambda array, shape: tg.broadcast_to(array, shape),
        np.broadcast_arrays: lambda *args: tuple(tg.broadcast_arrays(*args)),
        np.atleast_1d: lambda *arys: _one_or_all([_at_least(x, 1) for x in arys]),
        np.atleast_2d: lambda *arys: _one_or_all([_at_least(x, 2) for x in arys]),
        np.atleast_3d: lambda *arys: _one_or_all([_at_least(x, 3) for x in arys]),
    }


def _ordering() -> dict[Any, Function]:
    """Elements chosen, moved and sorted."""
    import tinygrad_seq as tg

    return {
        np.where: tg.where,
        np.flip: lambda m, axis=None: tg.flip(m, axis=axis),
        np.fliplr: lambda m: tg.flip(m, axis=1),
        np.flipud: lambda m: tg.flip(m, axis=0),
        np.rot90: _rot90,
        np.roll: lambda a, shift, axis=None: tg.roll(a, shift, axis=axis),
        np.sort: lambda a, axis=-1: tg.sort(a, axis=axis),
        np.median: lambda a, axis=None, keepdims=False: tg.median(
            tg.flatten(a) if axis is None else a, axis=-1 if axis is None else axis, keepdims=keepdims
        ),
        np.take: lambda a, indices, axis=None: tg.take(tg.flatten(a) if axis is None else a, indices, axis=axis or 0),
        np.take_along_axis: lambda arr, indices, axis=-1: tg.take_along_axis(arr, indices, axis=axis),
    }


def _products() -> dict[Any, Function]:
    """Products and running results."""
    import tinygrad_seq as tg

    return {
        np.einsum: lambda subscripts, *operands: tg.einsum(subscripts, *operands),
        np.tensordot: lambda a, b, axes=2: tg.tensordot(a, b, axes=axes),
        np.dot: _dot,
        np.inner: lambda a, b: tg.tensordot(a, b, axes=((-1,), (-1,))) if np.ndim(a) and np.ndim(b) else a * b,
        np.outer: lambda a, b: tg.outer(tg.flatten(a), tg.flatten(b)),
        np.vdot: lambda a, b: tg.vecdot(tg.flatten(a), tg.flatten(b)),
        np.cross: lambda a, b, axis=-1: tg.linalg.cross(a, b, axis=axis),
        np.kron: tg.linalg.kron,
        np.cumprod: lambda a, axis=None: tg.cumprod(tg.flatten(a) if axis is None else a, axis=axis or 0),
        np.diff: lambda a, n=1, axis=-1: tg.diff(a, axis=axis, n=n),
        np.average: lambda a, axis=None, weights=None: _average(a, axis, weights),
    }


def _of_elements() -> dict[Any, Function]:
    """Functions of each element that are no ufuncs."""
    return {
        np.angle: lambda z, deg=False: REGISTRY["angle"](z) * (180 / np.pi if deg else 1),
        np.round: lambda a, decimals=0: REGISTRY["round"](a, decimals=decimals),
        np.nan_to_num: _nan_to_num,
    }


def _matrices() -> dict[Any, Function]:
    """Parts of matrices, and linear algebra."""
    import tinygrad_seq as tg

    found: dict[Any, Function] = {
        np.trace: lambda a, offset=0: tg.linalg.trace(tg.moveaxis(a, (0, 1), (-2, -1)), offset=offset),
        np.diagonal: lambda a, offset=0, axis1=0, axis2=1: tg.diagonal(
            tg.moveaxis(a, (axis1, axis2), (-2, -1)), offset=offset
        ),
        np.diag: lambda v, k=0: tg.diagonal(v, offset=k) if np.ndim(v) == 2 else _diagonal_matrix(v, k),
        np.tril: lambda m, k=0: tg.tril(m, k=k),
        np.triu: lambda m, k=0: tg.triu(m, k=k),
        np.linalg.norm: _norm,
        np.linalg.solve: tg.linalg.solve,
        np.linalg.matrix_power: tg.linalg.matrix_power,
        np.linalg.svd: lambda a, full_matrices=True: tg.linalg.svd(a, full_matrices=full_matrices),
    }
    for name in ("inv", "det", "slogdet", "cholesky", "eigh", "eigvalsh", "qr", "pinv"):
        found[getattr(np.linalg, name)] = getattr(tg.linalg, name)
    for name in ("svdvals", "cross", "matrix_norm", "vector_norm", "outer", "tensordot"):
        found.setdefault(getattr(np.linalg, name), getattr(tg.linalg, name))
    return found


def _spectra() -> dict[Any, Function]:
    """Fourier transforms."""
    import tinygrad_seq as tg

    found: dict[Any, Function] = {}
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
            mistake = _mistake(ours, args, options)
            if mistake is None:
                raise
            raise TypeError(f"np.{function.__name__} of tensors takes {mistake}") from error
    result = function._implementation(*args, **options)
    if function not in _FILLED and state().recording and _any(_has_gradient, args) and _any(_is_floating, result):
        raise TypeError(
            f"np.{function.__name__} of a tensor would lose its gradient: spell it in tg's functions, "
            "or give it t.numpy() if no gradient is meant"
        )
    return result


def _mistake(ours: Function, args: Any, options: Any) -> str | None:
    """What a function of ours takes instead of a call that it cannot be given; None if it can."""
    call = inspect.signature(ours)
    try:
        call.bind(*args, **options)
    except TypeError as error:
        shown = [p.replace(annotation=p.empty) for p in call.parameters.values()]
        return f"{call.replace(parameters=shown, return_annotation=call.empty)}: {error}"
    return None


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


def _nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """Numbers instead of NaN and ±inf: the largest and the least of the dtype, unless others are given; no gradient
    flows back to where they are put. Complex numbers part by part."""
    import tinygrad_seq as tg

    if x.dtype.kind not in "fc":
        return x
    if x.dtype.kind == "c":
        parts = (_nan_to_num(part, nan, posinf, neginf) for part in (REGISTRY["re"](x), REGISTRY["im"](x)))
        return next(parts) + next(parts) * 1j
    largest = float(np.finfo(x.dtype).max)
    x = tg.where(REGISTRY["isnan"](x), nan, x)
    x = tg.where(REGISTRY["equal"](x, np.inf), largest if posinf is None else posinf, x)
    return tg.where(REGISTRY["equal"](x, -np.inf), -largest if neginf is None else neginf, x)


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
