"""A loop of `loops` over several groups of arrays in one call: what an optimizer does to each of its parameters.

    each(loop, [(p, g), (q, h)], numbers)     # loop(p, g, numbers[0]); loop(q, h, numbers[1]), all flat

A cell has a dozen small parameters: a call for each would take longer than their update. May not know what a loop
computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba.np.numpy_support import from_dtype

from tinygrad_seq.kernels.nests import Nests
from tinygrad_seq.kernels.pieces import entry

Array = np.ndarray[Any, Any]
_known: dict[tuple[Any, str], Nests] = {}


def each(loop: Any, groups: Sequence[tuple[Array, ...]], numbers: Array) -> None:
    """`loop(*arrays, row)` for every group of arrays and row of `numbers` (groups, n), one after the other.

    The arrays are C-contiguous and come flat; those of a group have one size, those at one place one dtype.
    """
    if not groups:
        return
    flat = [array for arrays in groups for array in arrays]
    code = "".join([array.dtype.char for array in (numbers, *groups[0])])
    run = _known.get((loop, code))
    if run is None:
        run = _known[loop, code] = entry(loop, f"each_{loop.py_func.__name__}", _text(loop.py_func, code))
    run((numbers, *flat), np.array([*numbers.shape, *[arrays[0].size for arrays in groups]], np.int64))


def _text(function: Any, code: str) -> str:
    """The source of a function `enter(X, O)`. It names the loop's own file, whose name says what is in it."""
    first, *kinds = (from_dtype(np.dtype(char)) for char in code)
    views = "".join(
        f"            carray(pointer(load(X, 1 + {len(kinds)} * i + {k}), types.{kind}), (size,)),\n"
        for k, kind in enumerate(kinds)
    )
    return f'''"""{function.__name__} of {function.__module__}, over several groups of arrays."""

from numba import carray, types

from tinygrad_seq.kernels.memory import load, pointer


def enter(X, O):
    groups = load(O, 0)
    numbers = carray(pointer(load(X, 0), types.{first}), (groups, load(O, 1)))
    for i in range(groups):
        size = load(O, 2 + i)
        loop(
{views}            numbers[i],
        )
'''


__all__ = ["each"]
