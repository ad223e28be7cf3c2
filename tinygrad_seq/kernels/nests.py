"""Generated loop nests as one function that Numba compiles, caches and calls.

    from tinygrad_seq.kernels.nests import nests

    execute = nests(__file__, "float32")     # the file's undecorated functions, by way of `main(X, O)`

    @kernel
    def run(X, O):                           # X addresses of arrays, O integers: both flat int64
        execute(X, O)

`translate` turns the text into LLVM; this is the seam to Numba, which never sees the text. May not know plans.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tinygrad_seq.kernels import callbacks
from tinygrad_seq.kernels.memory import element
from tinygrad_seq.kernels.product import cut_of, require, symbol
from tinygrad_seq.kernels.translate import Setting, translate


def setting(dtype: str) -> Setting:
    """What files are translated for: Numba's target, and the drivers of this process."""
    cut = cut_of(dtype)
    return Setting(dtype, cut.panel, cut.tail, cut.rows, lambda driver: symbol(driver, dtype))


def nests(path: str, dtype: str) -> Callable[[Any, Any], None]:
    """The functions of a generated file as one callable for kernels: `execute(X, O)` is the file's `main(X, O)`."""

    callbacks.offer("".join(linecache.getlines(path)))

    @intrinsic  # type: ignore[untyped-decorator]
    def execute(typing: Any, X: Any, O: Any) -> Any:
        if not all(isinstance(a, types.Array) and a.dtype == types.int64 and a.layout == "C" for a in (X, O)):
            raise TypingError(f"addresses and sizes are C-contiguous int64, not {X}, {O}")
        require(dtype)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source = "".join(linecache.getlines(path))
            name = f"tgseq_main_{hashlib.sha256(source.encode()).hexdigest()[:20]}"
            module = llvm.parse_assembly(translate(source, setting(dtype), "main", name))
            module.verify()
            context.active_code_library.add_llvm_module(module)
            zero = ir.Constant(ir.IntType(64), 0)
            places = [element(context, builder, k, a, zero) for k, a in zip(signature.args, args, strict=True)]
            kind = ir.FunctionType(ir.VoidType(), [p.type for p in places])
            builder.call(ir.Function(builder.module, kind, name), places)
            return context.get_dummy_value()

        return types.void(X, O), generate

    return execute  # type: ignore[no-any-return]


__all__ = ["nests"]
