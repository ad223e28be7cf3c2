"""Scalar functions without machine code of their own, for generated nests: calls back into Python.

A primitive that neither `kernels.formulas` nor the C library knows (polygamma, the inverse of erf) is called by its own
implementation, some microseconds an element: slow, and right. `python1_erfinv(x)` in a generated text is such a
call, `python1_polygamma__n_2(x)` one with an option; the digit counts the arguments. May not know what they compute.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from tinygrad_seq.kernels import cache
from tinygrad_seq.primitive import REGISTRY

CALL = re.compile(r"\bpython(?P<arity>\d)_(?P<primitive>\w+?)(?P<options>(?:__[a-z]+_-?\d+)*)(?=\(|$)")
_KEEP: dict[str, Any] = {}  # callbacks live as long as the process: machine code calls them


def call_name(primitive: str, arity: int, options: Mapping[str, int]) -> str:
    """What a generated text calls an elementwise primitive with these integer options."""
    return f"python{arity}_{primitive}" + "".join(f"__{k}_{v}" for k, v in sorted(options.items()))


def symbol(name: str) -> str:
    return f"tgseq_{name}"


def offer(source: str) -> None:
    """Make what a generated text calls known to the loader of machine code."""
    for found in CALL.finditer(source):
        cache.EXTERNAL[symbol(found[0])] = partial(provide, found[0])


def provide(name: str) -> None:
    """Register the callback behind a name with LLVM."""
    if name in _KEEP:
        return
    found = CALL.fullmatch(name)
    assert found is not None
    static = {k: int(v) for k, v in (o.rsplit("_", 1) for o in found["options"].split("__")[1:])}
    impl = REGISTRY[found["primitive"]].impl

    def call(*values: float) -> float:
        with np.errstate(all="ignore"):
            return float(impl(*map(np.float64, values), **static))

    made = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * int(found["arity"]))(call)
    _KEEP[name] = made
    llvm.add_symbol(symbol(name), ctypes.cast(made, ctypes.c_void_p).value)


__all__ = ["CALL", "call_name", "offer", "provide", "symbol"]
