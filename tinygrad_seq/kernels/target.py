"""The processor that kernels are compiled for: what Numba targets, not what the host could do.

May not know Numba's contexts beyond the target's name and features, so that code for another
processor can be emitted by handing over another `Target`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from llvmlite import ir


@dataclass(frozen=True)
class Target:
    """A processor: its vectors' width in bits and how many vector registers it has."""

    name: str
    bits: int
    registers: int

    def lanes(self, dtype: str) -> int:
        """Elements of a vector."""
        return self.bits // (8 * itemsize(dtype))


def itemsize(dtype: str) -> int:
    """Bytes of an element."""
    return {"float32": 4, "float64": 8}[dtype]


def real(dtype: str) -> ir.Type:
    """The LLVM type of an element."""
    return {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]


def magic() -> tuple[str, str, str]:
    """Triple, processor and features that Numba compiles for (NUMBA_CPU_NAME, NUMBA_CPU_FEATURES)."""
    from numba.core.registry import cpu_target

    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    return str(triple), str(cpu), str(features)


def describe(triple: str, cpu: str, features: str) -> Target:
    """The target of a triple and a list of features (`+avx2,-avx512f`)."""
    on = set(features.split(","))
    machine = triple.split("-")[0]
    if machine in ("aarch64", "arm64"):
        return Target(f"{cpu} (NEON)", 128, 32)
    if "+avx512f" in on and "+avx512vl" in on:
        return Target(f"{cpu} (AVX-512)", 512, 32)
    if "+avx2" in on and "+fma" in on:
        return Target(f"{cpu} (AVX2)", 256, 16)
    return Target(f"{cpu} (128-bit)", 128, 16)


@cache
def host() -> Target:
    """Numba's target."""
    return describe(*magic())
