"""Operators that move elements: shapes, joining and cutting, indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_seq as tg
from tests.opinfo.compare import WORDS, need, words


def _plain(shape: tuple[Any, ...]) -> Any:
    return shape[0] if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape


WORDS["reshape"] = WORDS["view"] = lambda x, *shape: tg.reshape(x, _plain(shape))
WORDS["reshape_as"] = WORDS["view_as"] = lambda x, other: tg.reshape(x, other.shape)
WORDS["permute"] = lambda x, *dims, **k: tg.permute_dims(x, _plain(dims) if dims else k["dims"])
WORDS["movedim"] = lambda x, a, b: tg.moveaxis(x, a, b)
WORDS["transpose"] = lambda x, a, b: tg.swapaxes(x, a, b) if x.ndim else x
WORDS["T"] = lambda x: x.T
WORDS["mT"] = lambda x: tg.matrix_transpose(x)
WORDS["H"] = lambda x: tg.conj(x.T)
WORDS["mH"] = lambda x: tg.conj(tg.matrix_transpose(x))
WORDS["t"] = lambda x: x.T
WORDS["expand"] = lambda x, *shape: _expand(x, _plain(shape))
WORDS["expand_as"] = lambda x, other: tg.broadcast_to(x, other.shape)
WORDS["broadcast_to"] = lambda x, shape: _expand(x, shape)
WORDS["broadcast_tensors"] = lambda x, *others: tg.broadcast_arrays(x, *others)
WORDS["cat"] = lambda xs, dim=0: _cat(xs, dim)
WORDS["stack"] = lambda xs, dim=0: tg.stack(xs, axis=dim)
WORDS["hstack"] = lambda xs: tg.concat(
    [tg.reshape(x, -1) if x.ndim < 2 else x for x in xs], axis=min(xs[0].ndim, 2) - 1 if xs[0].ndim else 0
)
WORDS["vstack"] = lambda xs: tg.concat([tg.reshape(x, (1, -1)) if x.ndim < 2 else x for x in xs], axis=0)
WORDS["flip"] = lambda x, *dims, **k: tg.flip(x, axis=tuple(_plain(dims) if dims else k["dims"]))
WORDS["fliplr"] = lambda x: tg.flip(x, axis=1)
WORDS["flipud"] = lambda x: tg.flip(x, axis=0)
WORDS["roll"] = lambda x, shifts, dims=None: tg.roll(x, shifts, axis=dims if dims != () else None)
WORDS["tile"] = lambda x, dims: tg.tile(x, dims)
WORDS["repeat"] = lambda x, *times: tg.tile(x, tuple(_plain(times)))
WORDS["squeeze"] = lambda x, dim=None: _squeeze(x, dim)
WORDS["unsqueeze"] = lambda x, dim: tg.expand_dims(x, axis=dim)
WORDS["ravel"] = lambda x: tg.flatten(x)
WORDS["unbind"] = lambda x, dim=0: list(tg.unstack(x, axis=dim))
WORDS["diagonal"] = WORDS["linalg.diagonal"] = lambda x, offset=0, dim1=None, dim2=None: _diagonal(
    x, offset, dim1, dim2
)
WORDS["diag_embed"] = lambda x, offset=0, dim1=-2, dim2=-1: _diag_embed(x, offset, dim1, dim2)
WORDS["diag"] = lambda x, k=0: tg.diagonal(x, offset=k) if x.ndim == 2 else _diag_embed(x, k, -2, -1)
WORDS["tril"] = lambda x, k=0: tg.tril(x, k=k)
WORDS["triu"] = lambda x, k=0: tg.triu(x, k=k)
WORDS["trace"] = lambda x: tg.linalg.trace(x)
WORDS["narrow"] = lambda x, dim, start, length: _narrow(x, dim, start, length)
WORDS["select"] = lambda x, dim, index: tg.take(x, index, axis=dim)
WORDS["take"] = lambda x, index: tg.take(tg.flatten(x), index)
WORDS["masked_select"] = lambda x, mask: _masked(x, mask)
WORDS["__getitem__"] = lambda x, key: x[key]
WORDS["meshgrid"] = lambda xs, *rest, indexing="ij": tg.meshgrid(
    *([xs, *rest] if isinstance(xs, tg.Tensor) else xs), indexing=indexing
)
WORDS["rot90"] = lambda x, k=1, dims=(0, 1): _rot90(x, k, dims)
WORDS["atleast_1d"] = lambda x, *rest: [_at_least(v, 1) for v in ([x, *rest] if isinstance(x, tg.Tensor) else x)]
WORDS["clone"] = lambda x, **_: x * 1
WORDS["contiguous"] = lambda x, **_: x * 1
WORDS["heaviside"] = lambda x, h: tg.where(x == 0, h, tg.where(x > 0, 1.0, 0.0))


@words("index_select")
def _index_select(x: Any, dim: int, index: Any) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    return tg.take(x, index, axis=dim)


def _at_least(x: Any, rank: int) -> Any:
    return tg.reshape(x, (1,) * (rank - x.ndim) + x.shape) if x.ndim < rank else x


def _cat(xs: Any, dim: int) -> Any:
    rank = max(x.ndim for x in xs)
    return tg.concat([x for x in xs if x.ndim == rank], axis=dim)


def _expand(x: Any, shape: Any) -> Any:
    lead = len(shape) - x.ndim
    return tg.broadcast_to(x, [x.shape[i - lead] if d == -1 else d for i, d in enumerate(shape)])


def _squeeze(x: Any, dim: Any) -> Any:
    if dim is None:
        return tg.squeeze(x)
    axes = dim if isinstance(dim, tuple) else (dim,)
    return tg.squeeze(x, axis=tuple(a for a in axes if x.ndim and x.shape[a] == 1))


def _diagonal(x: Any, offset: int, dim1: int | None, dim2: int | None) -> Any:
    return tg.diagonal(
        tg.moveaxis(x, (0 if dim1 is None else dim1, 1 if dim2 is None else dim2), (-2, -1)), offset=offset
    )


def _diag_embed(x: Any, offset: int, dim1: int, dim2: int) -> Any:
    n = x.shape[-1] + abs(offset)
    i = np.arange(x.shape[-1])
    key = (Ellipsis, i + max(-offset, 0), i + max(offset, 0))
    return tg.moveaxis(tg.scatter_add((*x.shape[:-1], n, n), key, x), (-2, -1), (dim1, dim2))


def _narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    start = int(start) % (x.shape[dim] + 1)
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, start + length),)]


def _masked(x: Any, mask: Any) -> Any:
    a, b = tg.broadcast_arrays(x, mask)
    return a[np.asarray(b, bool)]


def _rot90(x: Any, k: int, dims: Any) -> Any:
    a, b = dims
    for _ in range(k % 4):
        x = tg.flip(tg.swapaxes(x, a, b), axis=a)
    return x


@words("split", "split_with_sizes", "unsafe_split")
def _split(x: Any, sizes: Any, dim: int = 0) -> Any:
    length = x.shape[dim]
    cuts = np.cumsum(sizes)[:-1] if isinstance(sizes, list | tuple) else np.arange(sizes, length, sizes)
    return tg.split(x, [int(c) for c in cuts], axis=dim)


@words("chunk", "unsafe_chunk")
def _chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    return _split(x, max(math.ceil(x.shape[dim] / chunks), 1), dim)


@words("flatten")
def _flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if x.ndim == 0:
        return tg.reshape(x, 1)
    a, b = start_dim % x.ndim, end_dim % x.ndim
    return tg.reshape(x, (*x.shape[:a], math.prod(x.shape[a : b + 1]), *x.shape[b + 1 :]))


@words("unflatten")
def _unflatten(x: Any, dim: int, sizes: Any) -> Any:
    at = dim % x.ndim
    return tg.reshape(x, (*x.shape[:at], *sizes, *x.shape[at + 1 :]))


def _ranges(shape: tuple[int, ...]) -> list[Any]:
    return [np.arange(n).reshape([n if d == i else 1 for i in range(len(shape))]) for d, n in enumerate(shape)]


@words("gather")
def _gather(x: Any, dim: Any, index: Any) -> Any:
    need(x.ndim > 0 and index.ndim == x.ndim, "an axis of a scalar")
    ranges = _ranges(index.shape)
    return x[tuple(index if d == dim % x.ndim else r for d, r in enumerate(ranges))]


@words("take_along_dim")
def _take_along(x: Any, index: Any, dim: Any = None) -> Any:
    if dim is None:
        return tg.take(tg.flatten(x), tg.flatten(index))
    return tg.take_along_axis(x, index, axis=dim)


@words("scatter_add")
def _scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    shape = index.shape
    ranges = _ranges(shape)
    key = tuple(np.asarray(index) if d == dim % x.ndim else r for d, r in enumerate(ranges))
    return x + tg.scatter_add(x.shape, key, src[tuple(slice(0, n) for n in shape)])


@words("index_add")
def _index_add(x: Any, dim: int, index: Any, src: Any, alpha: Any = 1) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    key = (slice(None),) * (dim % x.ndim) + (np.asarray(index),)
    return x + tg.scatter_add(x.shape, key, src * alpha)


@words("repeat_interleave")
def _repeat_interleave(x: Any, repeats: Any, dim: int | None = None, **_: Any) -> Any:
    return tg.repeat(x, repeats, axis=dim)


@words("nn.functional.pad")
def _pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    need(all(w >= 0 for pair in widths for w in pair), "negative widths")
    kind = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    return tg.pad(x, widths, mode=kind, value=value or 0)
