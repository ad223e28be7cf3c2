"""Layers: functions of an input and parameters. Composed of primitives; no derivative is written here.

Convolutions and pooling take PyTorch's layout, (B, C, H, W) or (B, C, L), and weights (O, C/groups, kh, kw).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq import functions as fn
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.shapes import as_array, expand_dims, squeeze, take

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "dropout",
    "embedding",
    "layer_norm",
    "max_pool1d",
    "max_pool2d",
    "rms_norm",
]

Pair = int | tuple[int, int]

_op = REGISTRY


def embedding(weight: Any, indices: Any, /) -> Any:
    """Rows of `weight` (K, H) at integer `indices` (…): (…, H). Repeated ones add their gradients up."""
    return take(weight, indices, axis=0)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, /, *, axis: Any = -1, eps: float = 1e-5) -> Any:
    """(x - mean)/√(variance + eps) over `axis`, times weight plus bias (Ba, Kiros and Hinton 2016)."""
    x = as_array(x)
    centred = x - fn.mean(x, axis=axis, keepdims=True)
    y = centred / _op["sqrt"](fn.mean(centred * centred, axis=axis, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Any, weight: Any = None, /, *, axis: Any = -1, eps: float = 1e-6) -> Any:
    """x/√(mean of squares + eps) over `axis`, times weight (Zhang and Sennrich 2019)."""
    x = as_array(x)
    y = x / _op["sqrt"](fn.mean(x * x, axis=axis, keepdims=True) + eps)
    return y if weight is None else y * weight


def dropout(x: Any, rate: float, /, *, rng: np.random.Generator | int | None, train: bool = True) -> Any:
    """Each element 0 with probability `rate`, the others divided by 1 - rate; x itself unless `train`.

    rng   a generator, or a seed for one: equal seeds drop equal elements
    """
    if not 0 <= rate < 1:
        raise ValueError(f"a dropout rate is at least 0 and below 1, not {rate}")
    x = as_array(x)
    if not train or rate == 0:
        return x
    kept = np.random.default_rng(rng).random(x.shape, np.float32) >= rate
    return _op["where"](kept, x * (1 / (1 - rate)), 0)


# ---------------------------------------------------------------- convolution


def _pair(value: Pair, least: int, what: str) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int | np.integer) else tuple(int(v) for v in value)
    if len(pair) != 2 or any(v < least for v in pair):
        raise ValueError(f"{what} is a number of at least {least}, or one for each axis, not {value!r}")
    return int(pair[0]), int(pair[1])


def _options(stride: Pair, padding: Pair, dilation: Pair) -> dict[str, tuple[int, int]]:
    return {
        "stride": _pair(stride, 1, "the stride"),
        "padding": _pair(padding, 0, "the padding"),
        "dilation": _pair(dilation, 1, "the dilation"),
    }


def _row(value: int) -> tuple[int, int]:
    """An option of a sequence as one of an image of height 1."""
    return (1, value)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    /,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation: (B, C, H, W) and (O, C/groups, kh, kw) give (B, O, oh, ow); bias (O,)."""
    y = _op["conv2d"](as_array(x), as_array(weight), **_options(stride, padding, dilation), groups=groups)
    return y if bias is None else y + expand_dims(bias, axis=(-2, -1))


def conv1d(
    x: Any, weight: Any, bias: Any = None, /, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Any:
    """Cross-correlation of sequences: (B, C, L) and (O, C/groups, k) give (B, O, l); bias (O,)."""
    image, kernel = expand_dims(x, axis=-2), expand_dims(weight, axis=-2)
    options = {"stride": _row(stride), "padding": (0, padding), "dilation": _row(dilation)}
    return squeeze(conv2d(image, kernel, bias, **options, groups=groups), axis=-2)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    /,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Any:
    """The adjoint of `conv2d` in its image: (B, O, h, w) and (O, C/groups, kh, kw) give (B, C, H, W); bias (C,).

    output_padding   rows and columns at the end that no window reached, fewer than the stride
    """
    x, weight, options = as_array(x), as_array(weight), _options(stride, padding, dilation)
    more = _pair(output_padding, 0, "the output padding")
    if any(m >= s for m, s in zip(more, options["stride"], strict=True)):
        raise ValueError(f"output_padding {more} is not below the stride {options['stride']}")
    sides = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + m
        for n, s, p, d, k, m in zip(
            x.shape[2:], options["stride"], options["padding"], options["dilation"], weight.shape[2:], more, strict=True
        )
    ]
    y = _op["conv2d_input"](x, weight, (x.shape[0], weight.shape[1] * groups, *sides), **options, groups=groups)
    return y if bias is None else y + expand_dims(bias, axis=(-2, -1))


# ---------------------------------------------------------------- pooling


def max_pool2d(
    x: Any,
    kernel: Pair,
    /,
    *,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Any:
    """The maximum of each window of (B, C, H, W); padding never wins, ties share the gradient.

    ceil_mode   a last window that the edge cuts off counts too
    """
    size = _pair(kernel, 1, "the window")
    options = _options(size if stride is None else stride, padding, dilation)
    return fn.max(_op["windows"](as_array(x), kernel=size, **options, fill=-np.inf, cut=ceil_mode), axis=(2, 3))


def avg_pool2d(
    x: Any,
    kernel: Pair,
    /,
    *,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window of (B, C, H, W).

    ceil_mode           a last window that the edge cuts off counts too: the mean of what it sees
    count_include_pad   padding counts as 0; otherwise it does not count
    """
    x, size = as_array(x), _pair(kernel, 1, "the window")
    options = _options(size if stride is None else stride, padding, dilation)
    windows = _op["windows"](x, kernel=size, **options, fill=0.0, cut=ceil_mode)
    if not ceil_mode and (count_include_pad or options["padding"] == (0, 0)):
        return fn.mean(windows, axis=(2, 3))
    rows, columns = (
        _seen(n, k, s, p, d, count, count_include_pad)
        for n, k, s, p, d, count in zip(x.shape[2:], size, *options.values(), windows.shape[4:], strict=True)
    )
    return fn.sum(windows, axis=(2, 3)) / (rows[:, None] * columns).astype(x.dtype)


def _seen(size: int, kernel: int, stride: int, padding: int, dilation: int, count: int, padded: bool) -> Any:
    """How many elements each of `count` windows along an axis covers, those of the padding with `padded`."""
    places = np.arange(count)[:, None] * stride - padding + np.arange(kernel) * dilation
    low, high = (-padding, size + padding) if padded else (0, size)
    return np.count_nonzero((places >= low) & (places < high), axis=1)


def _pool1d(pool: Any, x: Any, kernel: int, stride: int | None, padding: int, dilation: int, **options: bool) -> Any:
    pooled = pool(
        expand_dims(x, axis=-2),
        _row(kernel),
        stride=_row(kernel if stride is None else stride),
        padding=(0, padding),
        dilation=_row(dilation),
        **options,
    )
    return squeeze(pooled, axis=-2)


def max_pool1d(
    x: Any,
    kernel: int,
    /,
    *,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Any:
    """The maximum of each window of (B, C, L); options as in `max_pool2d`."""
    return _pool1d(max_pool2d, x, kernel, stride, padding, dilation, ceil_mode=ceil_mode)


def avg_pool1d(
    x: Any,
    kernel: int,
    /,
    *,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window of (B, C, L); options as in `avg_pool2d`."""
    options = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return _pool1d(avg_pool2d, x, kernel, stride, padding, dilation, **options)
