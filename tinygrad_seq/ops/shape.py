"""Primitives that move, copy or add up elements without computing on them.

A shape is an argument, not an option, so that a rule can say `broadcast_to(g, shape_of(x))`: on values
it is a tuple of ints, on symbols the symbol `shape_of(x)`, for which x itself need not be kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.primitive import Primitive

Cotangents = tuple[Any, ...]
Axis = int | tuple[int, ...] | str | None


def axes_of(axis: Any, rank: int) -> tuple[int, ...]:
    """The normalised axes that a reduction's `axis` means: None is all of them."""
    if axis is None:
        return tuple(range(rank))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -rank <= a < rank:
            raise IndexError(f"there is no axis {a} in an array with {rank} axes")
    places = sorted(a + rank if a < 0 else a for a in axes)
    if len({*places}) < len(places):
        raise ValueError(f"an axis stands twice in {axis}, for an array with {rank} axes")
    return tuple(places)


# ---------------------------------------------------------------- what a shape says

shape_of = Primitive("shape_of", np.shape, shape=lambda s: s, tex=r"\operatorname{{shape}}({0})", complex_numbers=True)


def _size(x: Any, *, axis: Any = None) -> int:
    shape, count = np.shape(x), 1
    for a in axes_of(axis, len(shape)):
        count *= shape[a]
    return count


def _size_shape(s: Any, *, axis: Any = None) -> Any:
    count: Any = 1
    for a in axes_of(axis, len(s)):
        count = s[a] * count
    return count


size = Primitive("size", _size, shape=_size_shape, tex=r"\operatorname{{size}}({0})", complex_numbers=True)


# ---------------------------------------------------------------- broadcast and its adjoint


def _sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    x = np.asarray(x)
    if x.shape == tuple(shape):
        return x
    lead = x.ndim - len(shape)
    if lead > 0:
        x = np.add.reduce(x, axis=tuple(range(lead)))
        if x.shape == tuple(shape):
            return x
    axes = tuple([i for i, (have, want) in enumerate(zip(x.shape, shape, strict=True)) if want == 1 and have != 1])
    return np.add.reduce(x, axis=axes, keepdims=True) if axes else x


def _expand_shape(s: tuple[Any, ...], *, axis: Any) -> tuple[Any, ...]:
    rest, added = list(s), axes_of(axis, len(s) + (len(axis) if isinstance(axis, tuple) else 1))
    return tuple(1 if i in added else rest.pop(0) for i in range(len(s) + len(added)))


def _squeeze_shape(s: tuple[Any, ...], *, axis: Any) -> tuple[Any, ...]:
    gone = axes_of(axis, len(s))
    return tuple(d for i, d in enumerate(s) if i not in gone)


sum_to = Primitive("sum_to", _sum_to, shape=lambda x, s: s, tex=r"\textstyle\sum {0}", complex_numbers=True)
broadcast_to = Primitive("broadcast_to", np.broadcast_to, shape=lambda x, s: s, tex="{0}", complex_numbers=True)
expand = Primitive(
    "expand",
    lambda x, *, axis: np.expand_dims(x, axis),
    shape=_expand_shape,
    tex=lambda x, axis: rf"{{{x}}}^\top" if axis == -2 else x,  # a row for every column; else nothing to see
    complex_numbers=True,
)
squeeze = Primitive(
    "squeeze", lambda x, *, axis: np.squeeze(x, axis), shape=_squeeze_shape, tex="{0}", complex_numbers=True
)


@sum_to.rule
def sum_to_rule(g: Any, y: Any, x: Any, shape: Any) -> Cotangents:
    return (broadcast_to(g, shape_of(x)), None)


@broadcast_to.rule
def broadcast_to_rule(g: Any, y: Any, x: Any, shape: Any) -> Cotangents:
    return (sum_to(g, shape_of(x)), None)


@expand.rule
def expand_rule(g: Any, y: Any, x: Any, *, axis: Axis) -> Cotangents:
    return (squeeze(g, axis=axis),)


@squeeze.rule
def squeeze_rule(g: Any, y: Any, x: Any, *, axis: Axis) -> Cotangents:
    return (expand(g, axis=axis),)


# ---------------------------------------------------------------- rearrangements

reshape = Primitive(
    "reshape", np.reshape, shape=lambda x, s: s, tex=r"\operatorname{{reshape}}({0})", complex_numbers=True
)
permute_dims = Primitive(
    "permute_dims",
    lambda x, *, axes: np.transpose(x, axes),
    shape=lambda s, *, axes: tuple(s[a] for a in axes),
    tex=r"\operatorname{{permute}}({0})",
    complex_numbers=True,
)
flip = Primitive(
    "flip",
    lambda x, *, axis=None: np.flip(x, axis),
    shape=lambda s, *, axis=None: s,
    tex=r"\operatorname{{flip}}({0})",
    complex_numbers=True,
)
transpose = Primitive(
    "transpose",
    lambda x: np.swapaxes(x, -1, -2),
    shape=lambda s: s[:-2] + (s[-1], s[-2]),
    tex=r"{0}^\top",
    complex_numbers=True,
    bounded=True,
)


@reshape.rule
def reshape_rule(g: Any, y: Any, x: Any, shape: Any) -> Cotangents:
    return (reshape(g, shape_of(x)), None)


@permute_dims.rule
def permute_dims_rule(g: Any, y: Any, x: Any, *, axes: tuple[int, ...]) -> Cotangents:
    back = sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))
    return (permute_dims(g, axes=tuple(back)),)


@flip.rule
def flip_rule(g: Any, y: Any, x: Any, *, axis: Axis = None) -> Cotangents:
    return (flip(g, axis=axis),)


@transpose.rule
def transpose_rule(g: Any, y: Any, x: Any) -> Cotangents:
    return (transpose(g),)


# ---------------------------------------------------------------- concat and slices of an axis


def _concat_shape(*shapes: tuple[Any, ...], axis: int = -1) -> tuple[Any, ...]:
    first = shapes[0]
    at = axis % len(first)
    total: Any = first[at]
    for other in shapes[1:]:
        if len(other) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(first, other, strict=True)) if i != at
        ):
            raise ValueError(f"concat of shapes {first} and {other}: all dims but the joined one must be equal")
        total = total + other[at]
    return (*first[:at], total, *first[at + 1 :])


def _window(rank: int, axis: int, start: int, stop: int) -> tuple[slice, ...]:
    return (slice(None),) * (axis % rank) + (slice(start, stop),)


def _span(shapes: tuple[tuple[int, ...], ...], which: int, axis: int) -> tuple[int, int]:
    start = sum(s[axis] for s in shapes[:which])
    return start, start + shapes[which][axis]


def _piece(x: Any, *shapes: tuple[int, ...], which: int, axis: int = -1) -> Any:
    return x[_window(x.ndim, axis, *_span(shapes, which, axis))]


def _place(x: Any, *shapes: tuple[int, ...], which: int, axis: int = -1) -> Any:
    at = axis % x.ndim
    whole = (*x.shape[:at], sum(s[axis] for s in shapes), *x.shape[at + 1 :])
    result = np.zeros(whole, x.dtype)
    result[_window(x.ndim, axis, *_span(shapes, which, axis))] = x
    return result


def _part(x: Any, *, start: int, size: int) -> Any:
    return x[..., start : start + size]


def _embed(x: Any, shape: tuple[int, ...], *, start: int, size: int) -> Any:
    result = np.zeros((*x.shape[:-1], shape[-1]), x.dtype)
    result[..., start : start + size] = x
    return result


concat = Primitive(
    "concat",
    lambda *xs, axis=-1: np.concatenate(xs, axis=axis),
    shape=_concat_shape,
    tex=lambda *xs, **static: r"\left[" + "; ".join(xs) + r"\right]",
    complex_numbers=True,
    bounded=True,
)
piece = Primitive(
    "piece",
    _piece,
    shape=lambda x, *shapes, which, axis=-1: shapes[which],
    tex=lambda x, *rest, which=0, **static: rf"\left({x}\right)_{{({which})}}",
    complex_numbers=True,
)
place = Primitive(
    "place",
    _place,
    shape=lambda x, *shapes, which, axis=-1: _concat_shape(*shapes, axis=axis),
    tex="{0}",
    complex_numbers=True,
)
part = Primitive(
    "part",
    _part,
    shape=lambda s, *, start, size: (*s[:-1], size),
    tex=lambda x, *, start, size: rf"{x}_{{{start}:{start + size}}}",
    complex_numbers=True,
    bounded=True,
)
embed = Primitive(
    "embed", _embed, shape=lambda x, s, *, start, size: s, tex=r"\operatorname{{embed}}({0})", complex_numbers=True
)


@concat.rule
def concat_rule(g: Any, y: Any, *xs: Any, axis: int = -1) -> Cotangents:
    """`piece(g, *shapes, which=i)` is the i-th piece of g, cut as the concat of arrays of these shapes."""
    shapes = tuple(shape_of(x) for x in xs)
    return tuple(piece(g, *shapes, which=i, axis=axis) for i in range(len(xs)))


@piece.rule
def piece_rule(g: Any, y: Any, x: Any, *shapes: Any, which: int, axis: int = -1) -> Cotangents:
    return (place(g, *shapes, which=which, axis=axis), *(None for _ in shapes))


@place.rule
def place_rule(g: Any, y: Any, x: Any, *shapes: Any, which: int, axis: int = -1) -> Cotangents:
    return (piece(g, *shapes, which=which, axis=axis), *(None for _ in shapes))


@part.rule
def part_rule(g: Any, y: Any, x: Any, *, start: int, size: int) -> Cotangents:
    return (embed(g, shape_of(x), start=start, size=size),)


@embed.rule
def embed_rule(g: Any, y: Any, x: Any, shape: Any, *, start: int, size: int) -> Cotangents:
    return (part(g, start=start, size=size), None)
