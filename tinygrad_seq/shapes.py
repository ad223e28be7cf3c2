"""The functions that move elements: shapes, joining and cutting, indices. The array API's signatures.

Everything takes arrays, tensors and plain numbers. No derivative is written here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.ops.index import Key
from tinygrad_seq.primitive import REGISTRY, Arithmetic

__all__ = [
    "broadcast_arrays",
    "broadcast_to",
    "concat",
    "diag",
    "diagonal",
    "expand_dims",
    "flatten",
    "flip",
    "matrix_transpose",
    "meshgrid",
    "moveaxis",
    "pad",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "scatter_add",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "take",
    "take_along_axis",
    "tile",
    "unstack",
]

_op = REGISTRY


def as_axis(axis: Any) -> Any:
    return tuple(int(a) for a in axis) if isinstance(axis, list | tuple) else axis


def as_array(x: Any) -> Any:
    """Lists and plain numbers as arrays; tensors, symbols and arrays as they are."""
    if isinstance(x, (np.ndarray, Arithmetic)):
        return x
    if isinstance(x, list | tuple) and any(getattr(v, "reading_level", 0) for v in x):
        return stack(x)
    return np.asarray(x)


def place(axis: int, rank: int) -> int:
    """An axis counted from the front; IndexError when an array of that rank does not have it."""
    if not -rank <= axis < rank:
        raise IndexError(f"there is no axis {axis} in an array with {rank} axes")
    return axis % rank


def plain(x: Any) -> Any:
    """The array in a tensor, an array from anything else: for indices."""
    return x.data if hasattr(x, "edge") else np.asarray(x)


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    """The same elements in another shape; one dim may be -1. `copy` is NumPy's business: nobody can tell."""
    x = as_array(x)
    wanted = (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(d) for d in shape)
    if -1 in wanted:
        rest = math.prod(d for d in wanted if d != -1)
        size = math.prod(x.shape)
        if wanted.count(-1) > 1 or rest == 0 or size % rest:
            raise ValueError(f"shape {x.shape} cannot become {wanted}")
        wanted = tuple(size // rest if d == -1 else d for d in wanted)
    return _op["reshape"](x, wanted)


def permute_dims(x: Any, /, axes: Sequence[int]) -> Any:
    """Axes in another order."""
    return _op["permute_dims"](as_array(x), axes=tuple(int(a) for a in axes))


def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    return _op["transpose"](as_array(x))


def expand_dims(x: Any, /, *, axis: Any = 0) -> Any:
    """A dim of 1 at `axis` of the result."""
    return _op["expand"](as_array(x), axis=as_axis(axis))


def squeeze(x: Any, /, axis: Any = None) -> Any:
    """Without the dims of 1 at `axis` (None: without any)."""
    x = as_array(x)
    return _op["squeeze"](x, axis=tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else as_axis(axis))


def broadcast_to(x: Any, /, shape: Sequence[int]) -> Any:
    """x repeated to `shape`, as NumPy broadcasts."""
    return _op["broadcast_to"](as_array(x), tuple(int(d) for d in shape))


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """Arrays in the one shape that NumPy broadcasts them to."""
    xs = [as_array(a) for a in arrays]
    shape = np.broadcast_shapes(*(tuple(x.shape) for x in xs))
    return [x if tuple(x.shape) == shape else broadcast_to(x, shape) for x in xs]


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Any]:
    """Coordinates of a grid from those of its axes; `indexing` "ij" keeps their order, "xy" swaps the first two."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing is 'xy' or 'ij', not {indexing!r}")
    count = len(arrays)
    grids = broadcast_arrays(*(reshape(a, [-1 if i == k else 1 for i in range(count)]) for k, a in enumerate(arrays)))
    return [swapaxes(g, 0, 1) for g in grids] if indexing == "xy" and count > 1 else grids


def flip(x: Any, /, *, axis: Any = None) -> Any:
    """Reversed along `axis`."""
    return _op["flip"](as_array(x), axis=as_axis(axis))


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Any:
    """Arrays joined along an existing axis (None: flattened first)."""
    if axis is None:
        return _op["concat"](*(reshape(a, -1) for a in arrays), axis=0)
    return _op["concat"](*(as_array(a) for a in arrays), axis=axis)


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    return concat([expand_dims(a, axis=axis) for a in arrays], axis=axis)


def split(x: Any, /, sections: int | Sequence[int], *, axis: int = 0) -> list[Any]:
    """Cut along `axis`: into so many equal pieces, or at the given places."""
    x = as_array(x)
    at = place(axis, len(x.shape))
    length = x.shape[at]
    if isinstance(sections, int):
        if sections < 1 or length % sections:
            raise ValueError(f"{length} elements cannot be cut into {sections} equal pieces")
        sections = [length // sections * i for i in range(1, sections)]
    cuts = [0, *sections, length]
    return [x[(slice(None),) * at + (slice(a, b),)] for a, b in zip(cuts, cuts[1:], strict=False)]


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices along `axis`, without it."""
    x = as_array(x)
    whole = (slice(None),) * place(axis, len(x.shape))
    return tuple(x[(*whole, i)] for i in range(x.shape[axis]))


def flatten(x: Any, /) -> Any:
    """All elements in one axis."""
    return reshape(x, -1)


def moveaxis(x: Any, source: Any, destination: Any, /) -> Any:
    """The axes `source` at the places `destination`, the others in their order."""
    x = as_array(x)
    rank = len(x.shape)
    one = isinstance(source, int)
    froms = [place(a, rank) for a in ((source,) if one else source)]
    tos = [place(a, rank) for a in ((destination,) if one else destination)]
    if len(froms) != len(tos) or len({*froms}) != len(froms) or len({*tos}) != len(tos):
        raise ValueError(f"moveaxis from {source} to {destination}: as many different axes on both sides")
    order = [a for a in range(rank) if a not in froms]
    for to, a in sorted(zip(tos, froms, strict=True)):
        order.insert(to, a)
    return permute_dims(x, order)


def swapaxes(x: Any, a: int, b: int, /) -> Any:
    """Two axes exchanged."""
    x = as_array(x)
    order = list(range(len(x.shape)))
    order[a], order[b] = order[b], order[a]
    return permute_dims(x, order)


def roll(x: Any, /, shift: Any, *, axis: Any = None) -> Any:
    """Elements moved `shift` places along `axis`, round the end (None: of the flattened x)."""
    x = as_array(x)
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, axis=0), x.shape)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    for a, by in zip(axes, shifts, strict=True):
        length = x.shape[place(a, len(x.shape))]
        by = by % length if length else 0
        if by:
            whole = (slice(None),) * place(a, len(x.shape))
            x = concat((x[(*whole, slice(length - by, None))], x[(*whole, slice(0, length - by))]), axis=a)
    return x


def tile(x: Any, repetitions: Any, /) -> Any:
    """x side by side, so many times along each of the last axes."""
    x = as_array(x)
    times = (int(repetitions),) if isinstance(repetitions, int) else tuple(int(r) for r in repetitions)
    shape = (1,) * (len(times) - len(x.shape)) + tuple(x.shape)
    times = (1,) * (len(shape) - len(times)) + times
    apart = reshape(x, tuple(d for n in shape for d in (1, n)))
    return reshape(
        broadcast_to(apart, [d for pair in zip(times, shape, strict=True) for d in pair]),
        tuple(r * n for r, n in zip(times, shape, strict=True)),
    )


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    """Each element (along `axis`; None: of the flattened x) so many times, one count or one for each."""
    x = as_array(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return take(x, np.repeat(np.arange(x.shape[place(axis, len(x.shape))]), plain(repeats)), axis=axis)


def pad(x: Any, widths: Any, /, *, mode: str = "constant", value: Any = 0) -> Any:
    """Elements added before and after each axis: `widths` is one number, a pair, or a pair for each axis.

    mode   "constant" (of `value`, any number or scalar tensor), or NumPy's "edge", "reflect", "symmetric", "wrap"
    """
    x = as_array(x)
    rank = len(x.shape)
    pairs = np.broadcast_to(np.asarray(widths, int), (rank, 2)).tolist()
    if any(w < 0 for pair in pairs for w in pair):
        raise ValueError(f"pad by negative widths {widths}: cut with a slice instead")
    if mode == "constant":
        inside = tuple(slice(a, a + n) for (a, _), n in zip(pairs, x.shape, strict=True))
        shape = tuple(a + n + b for (a, b), n in zip(pairs, x.shape, strict=True))
        y = _op["scatter_add"](x, shape, key=Key(inside))
        if not isinstance(value, int | float) or value != 0:
            border = np.ones(shape, bool)
            border[inside] = False
            y = _op["where"](border, value, y)
        return y
    for a, width in enumerate(pairs):
        if any(width):
            x = take(x, np.pad(np.arange(x.shape[a]), width, mode=mode), axis=a)  # type: ignore[call-overload]
    return x


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonal of the last two axes: (…, n, m) gives (…, k)."""
    x = as_array(x)
    n, m = x.shape[-2:]
    first, second = np.maximum(-offset, 0), np.maximum(offset, 0)
    i = np.arange(max(min(n - first, m - second), 0))
    return _op["getitem"](x, key=Key((Ellipsis, i + first, i + second)))


def diag(x: Any, /) -> Any:
    """A vector (…, n) as diagonal matrices (…, n, n)."""
    x = as_array(x)
    n = x.shape[-1]
    i = np.arange(n)
    return _op["scatter_add"](x, (*x.shape, n), key=Key((Ellipsis, i, i)))


# ---------------------------------------------------------------- indices


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Elements at integer `indices` along `axis` (the first); repeated ones add their gradients up."""
    x, axis = as_array(x), axis or 0
    index = plain(indices)
    return _op["getitem"](x, key=Key((slice(None),) * place(axis, len(x.shape)) + (index,)))


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """Elements at `indices` along `axis`, one index for each place of the other axes."""
    x, index = as_array(x), plain(indices)
    at = place(axis, len(x.shape))
    places = [np.arange(n).reshape([-1 if i == d else 1 for i in range(len(x.shape))]) for d, n in enumerate(x.shape)]
    return _op["getitem"](x, key=Key(tuple(index if d == at else p for d, p in enumerate(places))))


def scatter_add(shape: Sequence[int], key: Any, values: Any, /) -> Any:
    """Zeros of `shape` with `values` added at `key`; repeated indices add up."""
    return _op["scatter_add"](as_array(values), tuple(shape), key=Key(key))
