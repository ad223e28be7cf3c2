"""Loads and stores of generated code: no bounds, no negative indices, and a promise about aliasing.

Plain indexing of one flat arena leaves LLVM in doubt whether a store to one buffer changes another, and
it gives up vectorising or reloads. So each buffer gets a pair of functions with an alias scope
of its own. May not know what the buffers hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numpy.typing import NDArray

Pair = tuple[Callable[..., Any], Callable[..., Any]]


def element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """A pointer to the element of a C-contiguous array (or pointer) at a flat index."""
    if isinstance(array_type, types.CPointer):
        return builder.gep(array, [index], inbounds=True)
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index], inbounds=True)


def check_flat(*arrays: Any) -> None:
    """Typing-time check: flat access is only right on C-contiguous arrays."""
    for a in arrays:
        if isinstance(a, types.CPointer) or (isinstance(a, types.Array) and a.layout == "C"):
            continue
        raise TypingError(f"kernels take C-contiguous arrays, not {a}")


def _bytes(context: Any, dtype: Any) -> int:
    """The size of an element; also its alignment, all that a place in an arena promises."""
    return int(context.get_abi_sizeof(context.get_data_type(dtype)))


def arena(n: int, dtype: str) -> NDArray[Any]:
    """n zeros that begin at a multiple of 64 bytes: a vector then never crosses a cache line.

    Products by one row run at half speed on packed weights that are not aligned; keep offsets of buffers
    multiples of 64 bytes too.
    """
    size = np.dtype(dtype).itemsize
    flat = np.zeros(n + 64 // size, dtype)
    start = -flat.ctypes.data % 64 // size
    return flat[start : start + n]


def slots(n: int, uid: str) -> list[Pair]:
    """n pairs `(load(array, i), store(array, i, value))`, one alias scope each.

    Within one kernel (and what is inlined into it) two pairs must never reach the same element. uid
    names the family: give each generated file its own.
    """
    return [_pair(k, n, uid) for k in range(n)]


def _pair(k: int | None, n: int, uid: str) -> Pair:
    def tag(instruction: Any, module: Any) -> None:
        if k is None or n < 2:
            return
        text = ir.MetaDataString
        domain = module.add_metadata([text(module, f"domain {uid}")])
        scopes = [module.add_metadata([text(module, f"{uid} {q}"), domain]) for q in range(n)]
        instruction.set_metadata("alias.scope", module.add_metadata([scopes[k]]))
        instruction.set_metadata("noalias", module.add_metadata([s for q, s in enumerate(scopes) if q != k]))

    @intrinsic  # type: ignore[untyped-decorator]
    def load(typing: Any, array: Any, i: Any) -> Any:
        check_flat(array)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = element(context, builder, signature.args[0], args[0], args[1])
            raw = builder.load(pointer, align=_bytes(context, array.dtype))
            tag(raw, builder.module)
            return context.data_model_manager[array.dtype].from_data(builder, raw)

        return array.dtype(array, types.intp), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def store(typing: Any, array: Any, i: Any, value: Any) -> Any:
        check_flat(array)
        if not getattr(array, "mutable", True):
            raise TypingError("store into a read-only array")

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = element(context, builder, signature.args[0], args[0], args[1])
            raw = context.data_model_manager[array.dtype].as_data(builder, args[2])
            tag(builder.store(raw, pointer, align=_bytes(context, array.dtype)), builder.module)
            return context.get_dummy_value()

        return types.void(array, types.intp, array.dtype), generate

    return load, store


load, store = _pair(None, 1, "")


@intrinsic  # type: ignore[untyped-decorator]
def address(typing: Any, pointer: Any) -> Any:
    """Where a pointer points to."""
    if not isinstance(pointer, types.CPointer):
        raise TypingError(f"expected a pointer, not {pointer}")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.intp(pointer), generate


@intrinsic  # type: ignore[untyped-decorator]
def zero(typing: Any, array: Any, offset: Any, n: Any) -> Any:
    """array[offset : offset + n] = 0"""
    check_flat(array)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element(context, builder, signature.args[0], args[0], args[1])
        size = builder.mul(args[2], ir.Constant(args[2].type, _bytes(context, array.dtype)))
        cgutils.memset(builder, pointer, size, 0)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy(typing: Any, target: Any, to: Any, source: Any, start: Any, n: Any) -> Any:
    """target[to : to + n] = source[start : start + n]; the two do not overlap."""
    check_flat(target, source)
    if target.dtype != source.dtype:
        raise TypingError(f"copy between {source.dtype} and {target.dtype}")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element(context, builder, signature.args[0], args[0], args[1])
        origin = element(context, builder, signature.args[2], args[2], args[3])
        cgutils.raw_memcpy(builder, pointer, origin, args[4], _bytes(context, target.dtype))
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing: Any, address: Any, kind: Any) -> Any:
    """An address as a pointer to elements of that kind."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(kind.dtype)(types.int64, kind), generate


DATA = object.__basicsize__  # where NumPy's C interface has an array's address of data: first, behind Python's own head


@intrinsic  # type: ignore[untyped-decorator]
def invoke(typing: Any, address: Any, items: Any, count: Any, O: Any) -> Any:
    """Call the machine code at an address with X, where the data of some arrays begins, and where O begins.

    items  where a tuple of the arrays has its items (`nests.items`), and how many there are: to ask Python for the data
           takes a microsecond an array, which a small cell feels
    """
    if not (isinstance(O, types.Array) and O.dtype == types.int64 and O.layout == "C"):
        raise TypingError(f"sizes are C-contiguous int64, not {O}")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table = element(context, builder, signature.args[3], args[3], ir.IntType(64)(0))
        invoke_at(builder, args[0], builder.inttoptr(args[1], ir.IntType(64).as_pointer()), args[2], table)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, O), generate


def invoke_at(builder: Any, address: Any, items: Any, count: Any, O: Any) -> None:
    """Emit what `invoke` does, with pointers to the items and to the integers."""
    builder.call(_invoker(builder.module), [address, items, count, O])


def _invoker(module: Any) -> Any:
    """A function of its own, whose end gives back the stack where X is."""
    word, pointer = ir.IntType(64), ir.IntType(64).as_pointer()
    known = module.globals.get("tgseq_invoke")
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [word, pointer, word, pointer]), "tgseq_invoke")
    function.linkage = "internal"
    function.attributes.add("noinline")
    address, items, count, table = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    X = builder.alloca(word, size=count)
    with cgutils.for_range(builder, count) as loop:
        array = builder.add(builder.load(builder.gep(items, [loop.index])), word(DATA))
        data = builder.load(builder.inttoptr(array, pointer))
        builder.store(data, builder.gep(X, [loop.index]))
    kind = ir.FunctionType(ir.VoidType(), [pointer, pointer])
    builder.call(builder.inttoptr(address, kind.as_pointer()), [X, table])
    builder.ret_void()
    return function
