"""Convolution and pooling windows. Images are (B, C, H, W), weights (O, C/groups, kh, kw), as PyTorch has them.

A convolution is bilinear, and the adjoint in either argument is one of three primitives that name each other.
Each works image by image: its windows as the columns of a matrix, then one product; for real numbers in
`loops.convolution`, the images shared out among threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.loops import load
from tinygrad_seq.ops.elementwise import conj
from tinygrad_seq.ops.multiply import has_tiles, pieces, side, spread
from tinygrad_seq.ops.shape import Cotangents, shape_of
from tinygrad_seq.primitive import Primitive

Pair = tuple[int, int]
_ADD: Any = np.add.reduce
PASS = 16  # multiply-adds that take as long as copying an element of a window
COLUMNS = 1 << 18  # bytes of windows in columns that are worked on at a time


def out_size(size: Any, kernel: int, stride: int, padding: int, dilation: int) -> Any:
    """How many windows there are along an axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _more(size: Any, kernel: int, stride: int, padding: int, dilation: int) -> Any:
    """The same with a last window that the edge cuts off, if it starts before the padding at the end."""
    count = out_size(size + stride - 1, kernel, stride, padding, dilation)
    return count - 1 if (count - 1) * stride >= size + padding else count


def _places(
    height: Any, width: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, cut: bool = False
) -> tuple[Any, Any]:
    along = _more if cut else out_size
    places = (
        along(height, kernel[0], stride[0], padding[0], dilation[0]),
        along(width, kernel[1], stride[1], padding[1], dilation[1]),
    )
    if any(p < 1 for p in places):
        raise ValueError(
            f"a window of {kernel} (dilation {dilation}) is larger than the image {height, width} padded {padding}"
        )
    return places


# ---------------------------------------------------------------- windows and their sum


def _windows(
    x: Any, *, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, fill: float = 0.0, cut: bool = False
) -> Any:
    count, channels, height, width = x.shape
    oh, ow = _places(height, width, kernel, stride, padding, dilation, cut)
    x = np.ascontiguousarray(x)
    return _gathered(x, np.empty((count, channels, *kernel, oh, ow), x.dtype), stride + padding + dilation, fill)


def _gathered(x: Any, out: Any, steps: tuple[int, ...], fill: float = 0.0) -> Any:
    spread(load("windows").gather, (x, out, np.full(1, fill, x.dtype), steps), len(x), out.size * PASS)
    return out


def _scattered(g: Any, out: Any, steps: tuple[int, ...]) -> Any:
    spread(load("windows").scatter, (g, out, steps), len(out), g.size * PASS)
    return out


def _overlap_add(
    g: Any,
    shape: tuple[int, ...],
    *,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    fill: float = 0.0,
    cut: bool = False,
) -> Any:
    g = np.ascontiguousarray(g)
    return _scattered(g, np.zeros(shape, g.dtype), stride + padding + dilation)


def _windows_shape(
    s: Any, *, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, fill: float = 0.0, cut: bool = False
) -> Any:
    return (*s[:2], *kernel, *_places(s[2], s[3], kernel, stride, padding, dilation, cut))


windows = Primitive(
    "windows", _windows, shape=_windows_shape, tex=r"\operatorname{{windows}}({0})", complex_numbers=True
)
overlap_add = Primitive(
    "overlap_add",
    _overlap_add,
    shape=lambda g, s, **static: s,
    tex=r"\operatorname{{overlap\_add}}({0})",
    complex_numbers=True,
)


@windows.rule
def windows_rule(g: Any, y: Any, x: Any, **options: Any) -> Cotangents:
    """(B, C, H, W) gives (B, C, kh, kw, oh, ow): all that each place of the window sees, `fill` outside; with `cut`,
    a last window that reaches beyond the edge too."""
    return (overlap_add(g, shape_of(x), **options),)


@overlap_add.rule
def overlap_add_rule(g: Any, y: Any, x: Any, shape: Any, **options: Any) -> Cotangents:
    """Windows added up where they came from; what lay outside is dropped."""
    return (windows(g, **{**options, "fill": 0.0}), None)


# ---------------------------------------------------------------- convolution


def _columns(x: Any, kernel: Pair, places: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """One image's windows as (C, kh, kw, oh, ow); the image itself, when a window is one element."""
    if kernel == (1, 1) == stride and padding == (0, 0):
        return x
    return _gathered(x[None], np.empty((1, len(x), *kernel, *places), x.dtype), stride + padding + dilation)[0]


def _checked(x: tuple[int, ...], w: tuple[int, ...], groups: int) -> None:
    if len(x) != 4 or len(w) != 4 or x[1] != w[1] * groups or w[0] % groups:
        raise ValueError(
            f"a convolution of images {x} with weights {w} in {groups} groups: "
            "it takes (B, C, H, W) and (O, C/groups, kh, kw)"
        )


def _compiled(dtype: Any) -> bool:
    return dtype.char in "fd" and has_tiles(dtype.name)


def _rows(w: Any, y: Any) -> int:
    """How many rows of the result to do at a time: their columns stay in the second-level cache."""
    row = math.prod(w.shape[1:]) * y.shape[3] * y.itemsize
    rows: int = max(1, min(y.shape[2], COLUMNS // max(1, row)))
    return rows


def _spread(loop: str, args: tuple[Any, ...], w: Any, y: Any) -> None:
    """A loop of `loops.convolution` over the images, side by side where it is worth while."""
    spread(getattr(load("convolution"), loop), args, len(y), y.size * math.prod(w.shape[1:]))


def _weight_compiled(x: Any, g: Any, shape: tuple[int, ...], groups: int, steps: tuple[int, ...]) -> Any:
    K, few = math.prod(shape[1:]), shape[0] // groups
    w, work = np.empty(shape, x.dtype), g.size * K
    parts, unit = pieces(len(x), work, each=1), 64 // x.itemsize
    found = np.zeros((parts, groups, K, -(-few // unit) * unit), x.dtype)
    args = x, g, w, groups, steps, _rows(w, g), side(x.dtype.name), found
    spread(load("convolution").of_weight, args, len(x), work, each=1)
    total = found[0] if parts == 1 else _ADD(found, axis=0)
    return np.ascontiguousarray(np.swapaxes(total[:, :, :few], 1, 2)).reshape(shape)


def _conv2d(x: Any, w: Any, *, stride: Pair, padding: Pair, dilation: Pair, groups: int = 1) -> Any:
    _checked(x.shape, w.shape, groups)
    dtype = np.result_type(x, w)
    x, kernel = np.ascontiguousarray(x, dtype), w.shape[2:]
    places = _places(x.shape[2], x.shape[3], kernel, stride, padding, dilation)
    if _compiled(dtype):
        y = np.empty((len(x), len(w), *places), dtype)
        w = np.ascontiguousarray(w, dtype)
        _spread("forward", (x, w, y, groups, stride + padding + dilation, _rows(w, y)), w, y)
        return y
    weights = np.ascontiguousarray(w, dtype).reshape(groups, w.shape[0] // groups, -1)
    out = np.empty((len(x), groups, w.shape[0] // groups, places[0] * places[1]), dtype)
    for b in range(len(x)):
        columns = _columns(x[b], kernel, places, stride, padding, dilation)
        np.matmul(weights, columns.reshape(groups, weights.shape[2], -1), out=out[b])
    return out.reshape(len(x), w.shape[0], *places)


def _conv2d_input(
    g: Any, w: Any, shape: tuple[int, ...], *, stride: Pair, padding: Pair, dilation: Pair, groups: int = 1
) -> Any:
    dtype, kernel = np.result_type(g, w), w.shape[2:]
    out = np.zeros(shape, dtype)
    if _compiled(dtype):
        g, w = np.ascontiguousarray(g, dtype), np.ascontiguousarray(w, dtype)
        _spread("of_input", (g, w, out, groups, stride + padding + dilation, _rows(w, g)), w, g)
        return out
    weights = np.ascontiguousarray(w, dtype).reshape(groups, w.shape[0] // groups, -1)
    flipped = np.swapaxes(weights, 1, 2)
    rows = np.ascontiguousarray(g, dtype).reshape(len(g), groups, w.shape[0] // groups, g.shape[2] * g.shape[3])
    for b in range(len(out)):
        columns = np.matmul(flipped, rows[b]).reshape(1, shape[1], *kernel, *g.shape[2:])
        _scattered(columns, out[b : b + 1], stride + padding + dilation)
    return out


def _conv2d_weight(
    x: Any, g: Any, shape: tuple[int, ...], *, stride: Pair, padding: Pair, dilation: Pair, groups: int = 1
) -> Any:
    dtype = np.result_type(x, g)
    x, kernel, places = np.ascontiguousarray(x, dtype), (shape[2], shape[3]), (g.shape[2], g.shape[3])
    if _compiled(dtype):
        return _weight_compiled(x, np.ascontiguousarray(g, dtype), shape, groups, stride + padding + dilation)
    rows = np.ascontiguousarray(g, dtype).reshape(len(g), groups, shape[0] // groups, g.shape[2] * g.shape[3])
    total = np.zeros((groups, shape[0] // groups, shape[1] * kernel[0] * kernel[1]), dtype)
    for b in range(len(x)):
        columns = _columns(x[b], kernel, places, stride, padding, dilation)
        total += np.matmul(rows[b], np.swapaxes(columns.reshape(groups, total.shape[2], -1), 1, 2))
    return total.reshape(shape)


def _conv2d_shape(x: Any, w: Any, *, stride: Pair, padding: Pair, dilation: Pair, groups: int = 1) -> Any:
    _checked(x, w, groups)
    return (x[0], w[0], *_places(x[2], x[3], w[2:], stride, padding, dilation))


conv2d = Primitive("conv2d", _conv2d, shape=_conv2d_shape, tex="{0} * {1}", complex_numbers=True)
conv2d_input = Primitive(
    "conv2d_input",
    _conv2d_input,
    shape=lambda g, w, s, **static: s,
    tex=r"\operatorname{{conv2d\_input}}({0}, {1})",
    complex_numbers=True,
)
conv2d_weight = Primitive(
    "conv2d_weight",
    _conv2d_weight,
    shape=lambda x, g, s, **static: s,
    tex=r"\operatorname{{conv2d\_weight}}({0}, {1})",
    complex_numbers=True,
)


@conv2d.rule
def conv2d_rule(g: Any, y: Any, x: Any, w: Any, **options: Any) -> Cotangents:
    return (conv2d_input(g, conj(w), shape_of(x), **options), conv2d_weight(conj(x), g, shape_of(w), **options))


@conv2d_input.rule
def conv2d_input_rule(h: Any, y: Any, g: Any, w: Any, shape: Any, **options: Any) -> Cotangents:
    """The image's cotangent (and a transposed convolution): what `g` sends back through the weights."""
    return (conv2d(h, conj(w), **options), conv2d_weight(h, conj(g), shape_of(w), **options), None)


@conv2d_weight.rule
def conv2d_weight_rule(h: Any, y: Any, x: Any, g: Any, shape: Any, **options: Any) -> Cotangents:
    """The weights' cotangent: every window times what its place sends back, added up."""
    return (conv2d_input(conj(g), h, shape_of(x), **options), conv2d(conj(x), h, **options), None)
