"""Convolutions as products: some rows of an image's windows as the columns of a matrix that stays in the cache, and
the register tiles of `kernels` on it.

Images are x (B, C, H, W), weights w (O, C/groups, kh, kw), results y (B, O, oh, ow), all in memory as they stand here;
`steps` is (stride, padding, dilation), each down and across. `rows` of y are done at a time, and `part` says which
images are meant, part[0]..part[1]-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.memory import copy, slots, zero
from tinygrad_seq.kernels.product import multiply
from tinygrad_seq.kernels.squares import transpose_square

(load_from, _), (load_into, store_into) = slots(2, "convolution")


@kernel
def padded(n: int, array: Any) -> Any:
    """n rounded up to whole narrow tiles."""
    unit = 64 // array.itemsize
    return (n + unit - 1) // unit * unit


@kernel
def inside(left: int, stride: int, width: int, ow: int) -> Any:
    """The columns low..high-1 of y for which a place of the window, at `left` for column 0, lies in the image."""
    low = min(max((-left + stride - 1) // stride, 0), ow)
    return low, max(min((width - left + stride - 1) // stride, ow), low)


@kernel
def pull(x: Any, b: int, c0: int, w: Any, y: Any, r0: int, r1: int, steps: Any, columns: Any, ld: int) -> None:
    """columns (C/groups * kh * kw, ld): what each place of the window sees of image b, from rows r0..r1-1 of y."""
    sh, sw, ph, pw, dh, dw = steps
    height, width, ow, row = x.shape[2], x.shape[3], y.shape[3], 0
    for c in range(c0, c0 + w.shape[1]):
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                left = j * dw - pw
                low, high = inside(left, sw, width, ow)
                for r in range(r0, r1):
                    h, at = r * sh + i * dh - ph, row + (r - r0) * ow
                    if h < 0 or h >= height:
                        zero(columns, at, ow)
                        continue
                    source = ((b * x.shape[1] + c) * height + h) * width + left
                    for q in range(low):
                        store_into(columns, at + q, 0.0)
                    if sw == 1:
                        copy(columns, at + low, x, source + low, high - low)
                    else:
                        for q in range(low, high):
                            store_into(columns, at + q, load_from(x, source + q * sw))
                    for q in range(high, ow):
                        store_into(columns, at + q, 0.0)
                row += ld


@kernel
def push(columns: Any, ld: int, x: Any, b: int, c0: int, w: Any, y: Any, r0: int, r1: int, steps: Any) -> None:
    """The columns of `pull` added to the image where they came from."""
    sh, sw, ph, pw, dh, dw = steps
    height, width, ow, row = x.shape[2], x.shape[3], y.shape[3], 0
    for c in range(c0, c0 + w.shape[1]):
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                left = j * dw - pw
                low, high = inside(left, sw, width, ow)
                for r in range(r0, r1):
                    h, at = r * sh + i * dh - ph, row + (r - r0) * ow
                    if h < 0 or h >= height:
                        continue
                    into = ((b * x.shape[1] + c) * height + h) * width + left
                    if sw == 1:
                        for q in range(low, high):
                            store_into(x, into + q, load_into(x, into + q) + load_from(columns, at + q))
                    else:
                        for q in range(low, high):
                            store_into(x, into + q * sw, load_into(x, into + q * sw) + load_from(columns, at + q))
                row += ld


@kernel
def forward(x: Any, w: Any, y: Any, groups: int, steps: Any, rows: int, part: Any) -> None:
    """y = x * w."""
    K, few = w.shape[1] * w.shape[2] * w.shape[3], w.shape[0] // groups
    oh, ow = y.shape[2], y.shape[3]
    ld = padded(rows * ow, x)
    columns, spill = np.zeros(K * ld, x.dtype), np.empty(few * ld, x.dtype)
    for b in range(part[0], part[1]):
        for group in range(groups):
            for r0 in range(0, oh, rows):
                r1 = min(oh, r0 + rows)
                n = (r1 - r0) * ow
                into = ((b * w.shape[0] + group * few) * oh + r0) * ow
                pull(x, b, group * w.shape[1], w, y, r0, r1, steps, columns, ld)
                if n == padded(n, x):
                    multiply(w, group * few * K, K, 1, columns, 0, ld, y, into, oh * ow, few, n, K, 0)
                    continue
                multiply(w, group * few * K, K, 1, columns, 0, ld, spill, 0, ld, few, padded(n, x), K, 0)
                flat = y.reshape(y.size)
                for o in range(few):
                    for q in range(n):
                        flat[into + o * oh * ow + q] = spill[o * ld + q]


@kernel
def of_input(y: Any, w: Any, x: Any, groups: int, steps: Any, rows: int, part: Any) -> None:
    """x, zeros before, is the image's cotangent when y is the result's."""
    K, few = w.shape[1] * w.shape[2] * w.shape[3], w.shape[0] // groups
    oh, ow = y.shape[2], y.shape[3]
    ld = padded(rows * ow, x)
    columns, copied, flat = np.empty(K * ld, x.dtype), np.zeros(few * ld, x.dtype), y.reshape(y.size)
    for b in range(part[0], part[1]):
        for group in range(groups):
            for r0 in range(0, oh, rows):
                r1 = min(oh, r0 + rows)
                n = (r1 - r0) * ow
                start = ((b * w.shape[0] + group * few) * oh + r0) * ow
                if n == padded(n, x):
                    multiply(w, group * few * K, 1, K, flat, start, oh * ow, columns, 0, ld, K, n, few, 0)
                else:
                    for o in range(few):
                        for q in range(n):
                            copied[o * ld + q] = flat[start + o * oh * ow + q]
                    multiply(w, group * few * K, 1, K, copied, 0, ld, columns, 0, ld, K, padded(n, x), few, 0)
                push(columns, ld, x, b, group * w.shape[1], w, y, r0, r1, steps)


@kernel
def of_weight(x: Any, y: Any, w: Any, groups: int, steps: Any, rows: int, side: int, total: Any, part: Any) -> None:
    """The weights' cotangent when y is the result's, added to total[part[2]], which is (groups, C/groups * kh * kw,
    padded(O/groups)); of w only the shape is read."""
    K, few = w.shape[1] * w.shape[2] * w.shape[3], w.shape[0] // groups
    oh, ow = y.shape[2], y.shape[3]
    ld, wide = padded(rows * ow, x), padded(few, x)
    columns, turned, flat = np.empty(K * ld, x.dtype), np.zeros(rows * ow * wide, x.dtype), y.reshape(y.size)
    into = part[2] * groups * K * wide
    for b in range(part[0], part[1]):
        for group in range(groups):
            for r0 in range(0, oh, rows):
                r1 = min(oh, r0 + rows)
                n = (r1 - r0) * ow
                start = ((b * w.shape[0] + group * few) * oh + r0) * ow
                pull(x, b, group * w.shape[1], w, y, r0, r1, steps, columns, ld)
                for o in range(0, few, side):
                    for q in range(0, n, side):
                        if o + side <= few and q + side <= n:
                            transpose_square(flat, start + o * oh * ow + q, oh * ow, turned, q * wide + o, wide)
                        else:
                            for k in range(q, min(q + side, n)):
                                for m in range(o, min(o + side, few)):
                                    turned[k * wide + m] = flat[start + m * oh * ow + k]
                multiply(columns, 0, ld, 1, turned, 0, wide, total, into + group * K * wide, wide, K, wide, n, 1)
