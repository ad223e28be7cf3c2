"""The loops around the product's register tiles, and the packing of its operands.

Not imported: `kernels.product` reads this file as text, sets DTYPE, and loads it through the cache of generated
sources, so that an edit here is never answered with old machine code. Everything is pointers, offsets
and strides in elements. May not know arrays.

A packed right operand B (K, N) is a row of panels, each K rows of PANEL columns, the last
possibly TAIL columns wide.
"""

from __future__ import annotations

from numba import types

from tinygrad_seq.kernels.memory import address, load, store
from tinygrad_seq.kernels.product import cut_of, tile_of
from tinygrad_seq.kernels.squares import side, transpose_square
from tinygrad_seq.kernels.target import itemsize

DTYPE = "float32"
CUT = cut_of(DTYPE)
PANEL, TAIL, ROWS, LANES, STRIPS = CUT.panel, CUT.tail, CUT.rows, CUT.lanes, CUT.strips
BLOCK = 12 * ROWS  # rows of A (and their K elements each) that stay in the second-level cache
tile, SIDE, ITEM = tile_of(DTYPE), side(DTYPE), itemsize(DTYPE)

POINTER = types.CPointer(types.float32 if DTYPE == "float32" else types.float64)
COUNTS = types.CPointer(types.int64)
N = types.intp
MULTIPLY = types.void(POINTER, N, N, N, POINTER, N, N, POINTER, N, N, N, N, N)
PACK = types.void(POINTER, N, N, N, N, POINTER, N, N, N, N)
GATHER = types.intp(POINTER, N, N, N, COUNTS, N, N, POINTER, N, N)


def multiply(a, tm, sm, sk, b, bp, bk, c, ldc, m, n, k, beta):  # type: ignore[no-untyped-def]
    """C (m, n) = beta C + A (m, k) B (k, n), n a multiple of TAIL.

    A element (i, l) at tm * i0 + sm * (i - i0) + sk * l for the tile that starts at row i0: tm == sm for rows in
    memory, tm == k, sm == 1, sk == ROWS for a packed left operand (whose tiles start at multiples of ROWS).
    B panels bp apart, their rows bk apart; bk == 0: as wide as the panel.

    A single row, a step of one sequence, costs what B costs to read. Step by step it is read there and back: where a
    step ends and the next begins, the nearest cache has it still. Each column's sum is the same either way.
    """
    first = 0
    if m == 1:
        stride = bk if bk != 0 else PANEL
        back = address(a) // (ITEM * max(1, sm)) % 2  # the next row of A is next in memory
        for s in range(len(STRIPS)):
            count = (n // PANEL - first) // STRIPS[s]
            for i in range(count):
                p = first + STRIPS[s] * (count - 1 - i if back else i)
                tile(2 * ROWS + s, a, 0, sm, sk, b, p * bp, bp, stride, c, p * PANEL, ldc, k, beta)
            first += STRIPS[s] * count
    for m0 in range(0, m, BLOCK):
        m1 = min(m, m0 + BLOCK)
        count = (m1 - m0 + ROWS - 1) // ROWS
        for p in range(first, (n + PANEL - 1) // PANEL):
            width = min(PANEL, n - p * PANEL)
            stride = bk if bk != 0 else width
            column = 0
            while column < width:
                vectors = 2 if width - column >= 2 * LANES else 1
                for i in range(count):
                    if tm == sm:  # tiles of nearly equal height: 9 rows are 5 + 4
                        low = m0 + (m1 - m0) * i // count
                        high = m0 + (m1 - m0) * (i + 1) // count
                    else:
                        low = m0 + i * ROWS
                        high = min(m1, low + ROWS)
                    choice = (vectors - 1) * ROWS + high - low - 1
                    right = p * bp + column
                    into = low * ldc + p * PANEL + column
                    tile(choice, a, low * tm, sm, sk, b, right, bp, stride, c, into, ldc, k, beta)
                column += vectors * LANES


def pack(w, sn, sk, n, k, out, n0, k0, total_n, total_k):  # type: ignore[no-untyped-def]
    """B[k0 + l, n0 + i] = w[i * sn + l * sk] for i < n, l < k, in the panels of a (total_k, total_n) operand.

    One of the strides is 1: rows of w become columns of B, or rows.
    """
    padded = (total_n + TAIL - 1) // TAIL * TAIL
    i = 0
    while i < n:
        p, first = (n0 + i) // PANEL, (n0 + i) % PANEL
        width = min(PANEL, padded - p * PANEL)
        count = min(width - first, n - i)
        place = p * total_k * PANEL + k0 * width + first
        if sn == 1:
            for q in range(k):
                for j in range(count):
                    store(out, place + q * width + j, load(w, i + j + q * sk))
        else:
            columns, rows = count // SIDE * SIDE, k // SIDE * SIDE
            for j in range(0, columns, SIDE):
                for q in range(0, rows, SIDE):
                    transpose_square(w, (i + j) * sn + q, sn, out, place + q * width + j, width)
            for j in range(count):
                for q in range(rows if j < columns else 0, k):
                    store(out, place + q * width + j, load(w, (i + j) * sn + q))
        i += count


def gather(source, st, sb, n, counts, t0, t1, out, width, tail):  # type: ignore[no-untyped-def]
    """Rows (t, b), t0 <= t < t1, b < counts[t], of n columns at source[t*st + b*sb], into panels.

    Panels are `width` columns wide, the last one rounded up to `tail` and filled with zeros. Returns
    the number of rows.
    """
    rows = 0
    for t in range(t0, t1):
        rows += load(counts, t)
    row = 0
    for t in range(t0, t1):
        for b in range(load(counts, t)):
            origin = t * st + b * sb
            for p in range((n + width - 1) // width):
                rest = n - p * width
                place = p * rows * width
                start = origin + p * width
                if rest >= width:
                    place += row * width
                    if width == PANEL:
                        for j in range(PANEL):
                            store(out, place + j, load(source, start + j))
                    else:
                        for j in range(ROWS):
                            store(out, place + j, load(source, start + j))
                else:
                    room = (rest + tail - 1) // tail * tail
                    place += row * room
                    for j in range(rest):
                        store(out, place + j, load(source, start + j))
                    for j in range(rest, room):
                        store(out, place + j, 0.0)
            row += 1
    return rows
