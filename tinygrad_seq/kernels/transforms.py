"""The way of a Fourier transform through its passes.

Not imported: like `drivers` it is read as text by `kernels.fourier`, which sets DTYPE and loads it through the cache of
generated sources. What is done for a number of elements is a table of integers, with the address of its factors, which
`fourier` makes. May not know arrays, nor why a table is as it is.
"""

from __future__ import annotations

from numba import njit, types

from tinygrad_seq.kernels.cache import OPTIONS
from tinygrad_seq.kernels.fourier import (
    CHIRP,
    DENSE,
    FACTORS,
    FIRST,
    KIND,
    LENGTH,
    MATRIX,
    OWN,
    PASS,
    PASSES,
    PLANE,
    SECOND,
    SPECTRUM,
    TOGETHER,
    TURN,
    WHOLE,
    WIDE_A,
    WIDE_B,
    corner,
    lanes_of,
    one_pass,
    square,
)
from tinygrad_seq.kernels.memory import load, pointer, store
from tinygrad_seq.kernels.product import multiply, tail

DTYPE = "float32"
LANES, TAIL = lanes_of(DTYPE), tail(DTYPE)
REAL = types.float32 if DTYPE == "float32" else types.float64
POINTER = types.CPointer(REAL)
N = types.intp
TRANSFORM = types.void(POINTER, N, POINTER, N, N, N, N, POINTER)

# For `transform` alone: without a way in from Python and of one signature each (N(0) has the type of any integer), they
# compile in half the time.
inner = njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)


@inner
def columns(numbers, at, factors, width, x, xo, xp, work, to, plane):  # type: ignore[no-untyped-def]
    """The passes of a transform along columns; where in `work` its result is."""
    s = width
    for k in range(load(numbers, at)):
        step = at + 1 + k * PASS
        choice, radix, m = load(numbers, step), load(numbers, step + 1), load(numbers, step + 2)
        w, c = load(numbers, step + 3), load(numbers, step + 4)
        one_pass(choice, radix, x, xo, xp, work, to, plane, factors, w, m, s, factors, c)
        x, xo, xp = work, to, plane
        to = 2 * plane - to
        s *= radix
    return xo


@inner
def line(numbers, factors, x, xo, xp, work, to):  # type: ignore[no-untyped-def]
    """A transform of a * b numbers: one of a along columns, factors and a turn, one of b. Where in `work` it is.

    x is (a, WIDE_B), the result (b, WIDE_A); `to` is what of `work` may be written first.
    """
    wide_a, wide_b, turn, plane = (
        load(numbers, WIDE_A),
        load(numbers, WIDE_B),
        load(numbers, TURN),
        load(numbers, PLANE),
    )
    a = columns(numbers, load(numbers, FIRST), factors, wide_b, x, xo, xp, work, to, plane)
    b = 2 * plane - a
    for i in range(0, wide_a, LANES):
        for j in range(0, wide_b, LANES):
            here = i * wide_b + j
            corner(work, a + here, plane, wide_b, factors, turn + here, plane, work, b + j * wide_a + i, plane, wide_a)
    return columns(numbers, load(numbers, SECOND), factors, wide_a, work, b, plane, work, a, plane)


@inner
def together(numbers, factors, source, start, ss, out, into, so, count, re, im, scale, work):  # type: ignore[no-untyped-def]
    """Several rows at once, one an element of each vector."""
    n = load(numbers, LENGTH)
    plane = n * LANES
    for k in range(0, n, LANES):
        c = min(k, n - LANES)
        square(source, start + re + c, ss, count - 1, work, c * LANES, LANES, LANES, REAL(1.0))
        square(source, start + im + c, ss, count - 1, work, plane + c * LANES, LANES, LANES, REAL(1.0))
    found = columns(numbers, load(numbers, WHOLE), factors, N(LANES), work, N(0), plane, work, 2 * plane, plane)
    for k in range(0, n, LANES):
        c = min(k, n - LANES)
        square(work, found + c * LANES, LANES, LANES, out, into + re + c, so, count - 1, scale)
        square(work, found + plane + c * LANES, LANES, LANES, out, into + im + c, so, count - 1, scale)


@inner
def alone(numbers, factors, source, start, out, into, re, im, scale, work):  # type: ignore[no-untyped-def]
    """One row."""
    n, wide_a, wide_b = load(numbers, LENGTH), load(numbers, WIDE_A), load(numbers, WIDE_B)
    a, plane = load(numbers, OWN), load(numbers, PLANE)
    b = n // a
    if b == wide_b:
        found = line(numbers, factors, source, start + re, im - re, work, N(0))
    else:
        for i in range(a):
            for j in range(b):
                store(work, i * wide_b + j, load(source, start + re + i * b + j))
            for j in range(b):
                store(work, plane + i * wide_b + j, load(source, start + im + i * b + j))
        found = line(numbers, factors, work, N(0), plane, work, 2 * plane)
    for i in range(b):
        for j in range(a):
            store(out, into + re + i * a + j, load(work, found + i * wide_a + j) * scale)
        for j in range(a):
            store(out, into + im + i * a + j, load(work, found + plane + i * wide_a + j) * scale)


@inner
def convolved(numbers, factors, source, start, out, into, re, im, scale, work):  # type: ignore[no-untyped-def]
    """One row as a convolution with a chirp (L. Bluestein, 1970), by longer transforms there and back."""
    n, plane = load(numbers, LENGTH), load(numbers, PLANE)
    chirp, spectrum = load(numbers, CHIRP), load(numbers, SPECTRUM)
    for j in range(n):
        a, b = load(source, start + re + j), load(source, start + im + j)
        c, d = load(factors, chirp + j), load(factors, chirp + n + j)
        store(work, j, a * c - b * d)
        store(work, plane + j, a * d + b * c)
    for j in range(n, plane):
        store(work, j, REAL(0.0))
        store(work, plane + j, REAL(0.0))
    there = line(numbers, factors, work, N(0), plane, work, 2 * plane)
    for j in range(plane):
        a, b = load(work, there + j), load(work, there + plane + j)
        c, d = load(factors, spectrum + j), load(factors, spectrum + plane + j)
        store(work, there + j, a * c - b * d)
        store(work, there + plane + j, a * d + b * c)
    back = line(numbers, factors, work, there + plane, -plane, work, 2 * plane - there)  # inverse: parts exchanged
    for j in range(n):
        a, b = load(work, back + plane + j), load(work, back + j)
        c, d = load(factors, chirp + j), load(factors, chirp + n + j)
        store(out, into + re + j, (a * c - b * d) * scale)
        store(out, into + im + j, (a * d + b * c) * scale)


def transform(source, ss, out, so, rows, inverse, plan, work):  # type: ignore[no-untyped-def]
    """The discrete Fourier transforms of rows ss apart, or the inverse ones, into rows so apart.

    A row is the real parts of its numbers, then the imaginary ones. `work` is room of `fourier.work_size` elements. An
    inverse transform is the transform with the parts exchanged on the way in and out, over the number of elements.
    """
    numbers = pointer(plan, types.int64)
    factors = pointer(load(numbers, FACTORS), REAL)
    n, kind = load(numbers, LENGTH), load(numbers, KIND)
    re, im = (n, 0) if inverse else (0, n)
    scale = REAL(1.0) / REAL(n) if inverse else REAL(1.0)
    width = (2 * n + TAIL - 1) // TAIL * TAIL
    matrix = load(numbers, MATRIX) + inverse * 2 * n * width
    row = 0
    while row < rows:
        count = min(rows - row, LANES)
        if count >= load(numbers, TOGETHER):
            together(numbers, factors, source, row * ss, ss, out, row * so, so, count, re, im, scale, work)
        elif kind == DENSE:
            multiply(source, row * ss, ss, 1, factors, matrix, width, out, row * so, so, count, width, 2 * n, 0)
        else:
            for r in range(row, row + count):
                if kind == PASSES:
                    alone(numbers, factors, source, r * ss, out, r * so, re, im, scale, work)
                else:
                    convolved(numbers, factors, source, r * ss, out, r * so, re, im, scale, work)
        row += count
