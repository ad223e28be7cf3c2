"""Machine code from LLVM text: optimised, emitted as an object, loaded into this process.

Numba optimises each function twice and then its module, for code that counts references. Generated nests need none of
it: one round of LLVM's standard passes, for the processor that Numba targets or for another (`Machine.of`), makes the
object that `cache` keeps. Without optimisation (NUMBA_OPT=0) it is made in a tenth of the time, and as exact; `cache`
keeps the two apart. May not know what the text computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from numba.core import config

from tinygrad_seq.kernels.target import magic


@dataclass(frozen=True)
class Machine:
    """A processor to emit code for: what LLVM calls it, and whether the code is to run in this process."""

    triple: str
    cpu: str
    features: str
    here: bool = False

    def target(self) -> Any:
        """LLVM's target machine; a new one each time, since an engine takes possession of its own."""
        options: dict[str, Any] = {"cpu": self.cpu, "features": self.features, "opt": effort()}
        if self.here:
            relocation = "static" if self.triple.startswith("x86") else "default"
            options |= {"reloc": relocation, "codemodel": "jitdefault", "jit": True}
        return llvm.Target.from_triple(self.triple).create_target_machine(**options)

    def optimised(self, text: str) -> tuple[Any, Any]:
        """A module made of `text`, optimised, and the target machine that emits it.

        Loops are vectorised but neither unrolled nor interleaved: bodies are long, so it gains nothing that can
        be measured and costs a third of the compile time.
        """
        module, target = llvm.parse_assembly(text), self.target()
        module.triple, module.data_layout = self.triple, str(target.target_data)
        module.verify()
        tuning = llvm.create_pipeline_tuning_options(speed_level=effort())
        tuning.loop_vectorization, tuning.slp_vectorization = effort() > 1, False
        tuning.loop_unrolling, tuning.loop_interleaving = False, False
        builder = llvm.create_pass_builder(target, tuning)
        builder.getModulePassManager().run(module, builder)
        return module, target

    def object_code(self, text: str) -> tuple[bytes, list[str]]:
        """An object file, and the symbols that it needs from outside."""
        module, target = self.optimised(text)
        return target.emit_object(module), [f.name for f in module.functions if f.is_declaration]

    def assembly(self, text: str) -> str:
        """What `object_code` emits, to be read."""
        module, target = self.optimised(text)
        return str(target.emit_assembly(module))


def effort() -> int:
    """LLVM's level of optimisation: 2, or what NUMBA_OPT asks for when that is less."""
    return min(2, int(config.OPT))


@cache
def here() -> Machine:
    """The processor that Numba compiles for."""
    return Machine(*magic(), here=True)


@cache
def _engine() -> Any:
    """What loads objects; it lives as long as the process, and so does their code."""
    empty = llvm.parse_assembly("")
    empty.triple = here().triple
    return llvm.create_mcjit_compiler(empty, here().target())


def load(code: bytes, *names: str) -> list[int]:
    """The addresses of functions of an object file; the symbols it needs are registered before."""
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return [int(engine.get_function_address(name)) for name in names]


__all__ = ["Machine", "effort", "here", "load"]
