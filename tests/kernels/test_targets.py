"""Generated cells on other processors, from the same template: AVX2 end to end, aarch64 as an object; and the cache.

Another processor is asked for by Numba's settings, in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import pytest

from dsl.plan.program import programs
from dsl.spec import load
from tinygrad_seq.kernels.emit import shape
from tinygrad_seq.kernels.machine import Machine
from tinygrad_seq.kernels.target import describe, magic
from tinygrad_seq.kernels.translate import Setting, translate

ROOT = Path(__file__).parents[2]
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,-avx512f"}

# Prints the files of both passes, the cache's hits, and the gradients' sums; fails when they are not the tape's.
PROGRAM = """
import json
import numpy as np
import dsl
import tinygrad_seq as tg
from tinygrad_seq.kernels import machine

made, assemble = [], machine.Machine.object_code
def count(self, text):
    made.append(self.assembly(text))
    return assemble(self, text)
machine.Machine.object_code = count

model = dsl.load("LSTM").build(D=5, H=19, seed=0)
x = np.random.default_rng(0).standard_normal((7, 3, 5)).astype("f4")
found = {}
for engine in ("compiled", "tape"):
    run = model(x, engine=engine)
    for p in model.params.values():
        p.grad = None
    tg.sum(run.h * run.h).backward()
    found[engine] = {n: p.grad.numpy().copy() for n, p in model.params.items()}
for n, g in found["tape"].items():
    np.testing.assert_allclose(found["compiled"][n], g, rtol=2e-4, atol=2e-5)
print(json.dumps({"assembly": made, "sum": float(sum(abs(g).sum() for g in found["compiled"].values()))}))
"""


def start(directory: Path, **env: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TGSEQ_CACHE_DIR": str(directory), "PYTHONPATH": str(ROOT), **env}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_avx2_end_to_end(tmp_path: Path) -> None:
    """Restricted to AVX2 a cell has right gradients, in 256-bit vectors; the cache is not this processor's."""
    if not magic()[0].startswith("x86_64"):
        pytest.skip("targets of x86-64")
    restricted = finish(start(tmp_path, **AVX2))
    assert len(restricted["assembly"]) == 2
    for text in restricted["assembly"]:
        assert "zmm" not in text
        assert "vfmadd" in text or "vmulps" in text
    assert any("ymm" in text for text in restricted["assembly"])
    files = {p.name for p in tmp_path.iterdir()}
    here = finish(start(tmp_path))
    if "+avx512vl" in magic()[2]:
        assert any("zmm" in text for text in here["assembly"])
    assert len(here["assembly"]) == 2, "machine code of another processor was loaded"
    assert files < {p.name for p in tmp_path.iterdir()}
    assert finish(start(tmp_path, **AVX2))["assembly"] == []
    assert restricted["sum"] == pytest.approx(here["sum"], rel=1e-4)


def test_two_processes_compile_the_same_cell_at_once(tmp_path: Path) -> None:
    processes = [start(tmp_path, PYTHONHASHSEED=str(seed)) for seed in (1, 2)]
    first, second = (finish(p) for p in processes)
    assert first["sum"] == second["sum"]
    names = {p.name for p in tmp_path.iterdir()}
    assert not [n for n in names if n.endswith(".tmp")]
    assert len([n for n in names if n.startswith("LSTM_") and n.endswith(".py")]) == 2, names
    again = finish(start(tmp_path, PYTHONHASHSEED="3"))
    assert again["assembly"] == [] and again["sum"] == first["sum"]


def test_a_damaged_object_is_made_again(tmp_path: Path) -> None:
    first = finish(start(tmp_path))
    objects = list(tmp_path.glob("LSTM_*.main.bin"))
    assert len(objects) == 2
    for path in objects:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    again = finish(start(tmp_path))
    assert len(again["assembly"]) == 2 and again["sum"] == first["sum"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["LSTM", "CharRNN"])
def test_generated_nests_cross_compiled_for_aarch64(cell: str, dtype: str) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = Machine("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon")
    cut = shape(describe(machine.triple, machine.cpu, machine.features), dtype)
    setting = Setting(dtype, cut.panel, cut.tail, cut.rows, lambda driver: f"tgseq_{driver}_{dtype}")
    forward, backward = programs(load(cell).system, None, dtype)
    assert backward is not None
    for program in (forward, backward):
        text = translate(program.source.text, setting, "main", "tgseq_main")
        code, needed = machine.object_code(text)
        assert code[:4] == b"\x7fELF" and int.from_bytes(code[18:20], "little") == 183  # EM_AARCH64
        assert f"tgseq_multiply_{dtype}" in needed
        assembly = machine.assembly(text)
        assert f".{'4s' if dtype == 'float32' else '2d'}" in assembly and "fmla" in assembly
