"""A loop of `loops` as machine code that several threads run together: each takes the next piece until none is left.

    call = together(loop, (x, 3, out), count=len(x), pieces=8)

`loop(x, 3, out, part)` does the part that it is given: part is (first, last + 1, number of the piece) of 0..count-1. No
piece is meant for one thread, so that whoever comes late, or is slowed down by other programs, does less. May not know
what a loop computes, nor what threads there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from tinygrad_seq.kernels import cache as disk
from tinygrad_seq.kernels.nests import Nests

TABLE = types.CPointer(types.int64)
ENTER = types.void(TABLE, TABLE)
NEXT, DONE = 0, 8  # of the counters, on cache lines of their own: the pieces taken, and those that are done
_known: dict[tuple[Any, str], Nests] = {}


@dataclass(frozen=True, slots=True)
class Together:
    """A call that as many threads may enter as like to; it is over when `counters[DONE]` is `pieces`."""

    run: Nests
    arrays: tuple[Any, ...]
    numbers: Any
    counters: Any
    pieces: int


def together(loop: Any, args: Sequence[Any], count: int, pieces: int) -> Together:
    """`loop(*args, part)` for 0..count-1 in so many pieces; `args` are C-contiguous arrays, integers and tuples of
    integers."""
    counters = np.zeros(16, np.int64)
    arrays, numbers, code = [counters], [count, pieces], ""
    for a in args:
        if isinstance(a, np.ndarray):
            if not a.flags.c_contiguous:
                raise ValueError(f"loops take C-contiguous arrays, not one with strides {a.strides}")
            code += f"{a.dtype.char}{a.ndim}"
            arrays.append(a)
            numbers += a.shape
        elif isinstance(a, tuple):
            code += f"t{len(a)}"
            numbers += a
        else:
            code += "n0"
            numbers.append(a)
    run = _known.get((loop, code))
    if run is None:
        run = _known[loop, code] = entry(loop, f"pieces_{loop.py_func.__name__}", _text(loop.py_func, code))
    return Together(run, tuple(arrays), np.array(numbers, np.int64), counters, pieces)


def entry(loop: Any, name: str, text: str) -> Nests:
    """The machine code of a source whose `enter(X, O)` calls `loop`, compiled or loaded."""
    with global_compiler_lock:
        module = disk.load_source(name, text)
        module.__dict__["loop"] = loop
        return Nests(disk.callback(module.enter, ENTER))


def _text(function: Any, code: str) -> str:
    """The source of a function `enter(X, O)`. It names the loop's own file, whose name says what is in it."""
    made, at, arrays = [], 2, 1
    for kind, n in zip(code[::2], map(int, code[1::2]), strict=True):
        size = 1 if kind == "n" else n
        values = [f"load(O, {at + i})" for i in range(size)]
        listed = f"({''.join(v + ', ' for v in values)})"
        if kind == "n":
            made.append(values[0])
        elif kind == "t":
            made.append(listed)
        else:
            made.append(f"carray(pointer(load(X, {arrays}), types.{from_dtype(np.dtype(kind))}), {listed})")
            arrays += 1
        at += size
    lines = "".join(f"    a{i} = {m}\n" for i, m in enumerate(made))
    names = "".join(f"a{i}, " for i in range(len(made)))
    return f'''"""{function.__name__} of {function.__module__}, a piece at a time."""

from numba import carray, types

from tinygrad_seq.kernels.memory import load, pointer
from tinygrad_seq.kernels.pieces import advance


def enter(X, O):
    counters, count, pieces = load(X, 0), load(O, 0), load(O, 1)
{lines}    while True:
        i = advance(counters, {NEXT})
        if i >= pieces:
            return
        loop({names}(count * i // pieces, count * (i + 1) // pieces, i))
        advance(counters, {DONE})
'''


@intrinsic  # type: ignore[untyped-decorator]
def advance(typing: Any, address: Any, place: Any) -> Any:
    """counters[place]++, as one step to all threads; what it was before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        counter = builder.gep(builder.inttoptr(args[0], word.as_pointer()), [args[1]])
        return builder.atomic_rmw("add", counter, word(1), "acq_rel")

    return types.int64(types.int64, types.int64), generate


__all__ = ["DONE", "Together", "advance", "entry", "together"]
