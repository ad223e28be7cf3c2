"""Transposing in registers: a square as wide as a vector (`emit.exchange`). Element by element the same takes five
times as long. May not know what is transposed.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tinygrad_seq.kernels.emit import exchange
from tinygrad_seq.kernels.memory import check_flat, element
from tinygrad_seq.kernels.target import host, itemsize, real


def side(dtype: str) -> int:
    """Rows and columns of a square."""
    return host().lanes(dtype)


@intrinsic  # type: ignore[untyped-decorator]
def transpose_square(typing: Any, source: Any, so: Any, lds: Any, out: Any, oo: Any, ldo: Any) -> Any:
    """out[oo + n*ldo + m] = source[so + m*lds + n] for m, n below `side`; the two do not overlap."""
    check_flat(source, out)
    if source.dtype != out.dtype or str(source.dtype) not in ("float32", "float64"):
        raise TypingError(f"a square is transposed from float32 or float64 to the same, not {source}, {out}")
    dtype = str(source.dtype)
    lanes, align = side(dtype), itemsize(dtype)
    vector = ir.VectorType(real(dtype), lanes)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def places(k: int) -> list[Any]:
            start = element(context, builder, signature.args[k], args[k], args[k + 1])
            steps = [builder.mul(args[k + 2], ir.Constant(args[k + 2].type, m)) for m in range(lanes)]
            return [builder.bitcast(builder.gep(start, [s], inbounds=True), vector.as_pointer()) for s in steps]

        rows = exchange(builder, [builder.load(place, align=align) for place in places(0)])
        for place, row in zip(places(3), rows, strict=True):
            builder.store(row, place, align=align)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, out, n, n), generate


__all__ = ["side", "transpose_square"]
