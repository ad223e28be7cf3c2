"""Generated loop nests as functions to call: their text becomes machine code once, and is kept beside it.

    from tinygrad_seq.kernels.nests import nests

    run = nests(__file__, "float32")         # run(arrays, O): the file's `main(X, O)`, X the addresses of their data

O is a flat array of int64. `translate` turns the text into LLVM, `machine` that into
an object, `cache` keeps it; Numba has no part in it but the call, without the interpreter's lock. May not know plans.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba.core.compiler_lock import global_compiler_lock

from tinygrad_seq.kernels import cache as disk
from tinygrad_seq.kernels import callbacks, machine
from tinygrad_seq.kernels.fourier import symbol
from tinygrad_seq.kernels.product import cut_of, require
from tinygrad_seq.kernels.translate import Setting, translate

ENTER = '''"""The way from Python into machine code: a call by address, without the interpreter's lock."""

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.memory import invoke


@kernel
def enter(address, items, count, O):
    invoke(address, items, count, O)
'''


def setting(dtype: str) -> Setting:
    """What files are translated for: Numba's target, and the drivers of this process."""
    cut = cut_of(dtype)
    return Setting(dtype, cut.panel, cut.tail, cut.rows, lambda driver: symbol(driver, dtype))


class Nests:
    """The functions of a generated file as one: `run(arrays, O)` is its `main(X, O)`.

    arrays   a tuple of C-contiguous ones; nobody resizes them meanwhile
    O        flat int64
    """

    __slots__ = ("address", "_enter")

    def __init__(self, address: int) -> None:
        self.address, self._enter = address, enter()

    def __call__(self, arrays: tuple[Any, ...], O: Any) -> None:
        if type(arrays) is not tuple:
            raise TypeError(f"machine code takes a tuple of arrays, not a {type(arrays).__name__}")
        self._enter(self.address, id(arrays) + ITEMS, len(arrays), O)


ITEMS = tuple.__basicsize__  # where CPython has a tuple's first item: behind its own head


def items(arrays: tuple[Any, ...]) -> int:
    """Where a tuple of arrays has its items, as machine code takes them; it must outlive the call."""
    return id(arrays) + ITEMS


def nests(path: str, dtype: str) -> Nests:
    """The functions of a generated file, compiled or loaded."""
    source = "".join(linecache.getlines(path))
    name = f"tgseq_main_{hashlib.sha256(source.encode()).hexdigest()[:20]}"
    callbacks.offer(source)

    def compile_() -> tuple[bytes, list[str]]:
        return machine.here().object_code(translate(source, setting(dtype), "main", name))

    with global_compiler_lock:
        require(dtype)
        (address,) = machine.load(disk.object_code(Path(path).with_suffix(".main.bin"), compile_), name)
    return Nests(address)


@cache
def enter() -> Callable[[int, int, int, Any], None]:
    """`enter(address, items, count, O)`, compiled once on a machine."""
    return disk.load_source("enter", ENTER).enter  # type: ignore[no-any-return]


__all__ = ["Nests", "items", "nests"]
