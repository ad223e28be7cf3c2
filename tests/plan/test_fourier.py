"""Fourier transforms of compiled cells: fast ones of every length, in a recurrence and outside, forward and backward.

The literal engine, which has NumPy's transforms, is the oracle; the tape's gradients are held against differences
elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import dsl
from dsl.plan.describe import describe
from dsl.plan.program import Plans
from dsl.run.compiled import compile_system
from dsl.system.system import System
from tests.kernels.fourier_cases import SIZES
from tests.plan.agreement import bound, disagreement, problem

BLOCKS = [SIZES[k : k + 10] for k in range(0, len(SIZES), 10)]
REAL = """
cell A(D, N):
  input x[t]: N
  param w ~ normal
  state h[t]: N = 0
  h[t] = tanh(re(ifft(fft(h[t-1]) + fft(w*x[t]))) + im(fft(x[t]))/N)
  output h
"""


def several(lengths: Sequence[int]) -> str:
    """A cell that transforms vectors of these lengths, in a recurrence and outside."""
    lines = ["cell A(D):"]
    for n in lengths:
        lines += [
            f"  input x{n}[t]: complex {n}",
            f"  param c{n}: complex {n} ~ normal",
            f"  param d{n}: {n} ~ normal",
            f"  state h{n}[t]: complex {n} = c{n}",
            f"  h{n}[t] = 0.5*ifft(cis(d{n})*fft(h{n}[t-1]*c{n})) + x{n}[t]",
            f"  y{n}[t] = re(fft(d{n}*x{n}[t])) + im(ifft(x{n}[t]*conj(x{n}[t])))",
            f"  s{n} = sum[t](fft(c{n}*x{n}[t]))",
        ]
    return "\n".join([*lines, f"  output {', '.join(f'h{n}, y{n}, s{n}' for n in lengths)}", ""])


@pytest.mark.parametrize("lengths", BLOCKS, ids=lambda lengths: f"{lengths[0]}..{lengths[-1]}")
def test_every_length_agrees_with_the_literal_engine(lengths: list[int]) -> None:
    assert disagreement(bound(dsl.parse(several(lengths))), batch=3, steps=3, seed=lengths[0]) < 2e-12


@pytest.mark.parametrize(("n", "batch"), [(1, 3), (30, 20), (64, 1), (67, 17), (128, 20)])
def test_of_real_numbers_in_many_rows_and_in_single_precision(n: int, batch: int) -> None:
    system = bound(dsl.parse(REAL), N=n)
    for dtype, limit in (("float64", 1e-11), ("float32", 1e-3)):
        assert disagreement(system, batch=batch, steps=4, ragged=batch > 1, dtype=dtype) < limit


def results(system: System, batch: int, dtype: str = "float32") -> dict[str, Any]:
    """Outputs and gradients of a run."""
    inputs, lengths = problem(system, batch, 12, 5, True, dtype)
    compiled = compile_system(system, system.outputs, dtype)
    values, saved = compiled.forward(inputs, lengths, batch, system.outputs)
    assert saved is not None
    ones = {n: np.ones_like(v) for n, v in values.items()}
    params = tuple(n for n, s in system.streams.items() if s.kind == "param")
    return values | {f"{n}_bar": g for n, g in compiled.backward(saved, ones, params).items()}


def test_threads_change_roundings_only_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    system = bound(dsl.load("URNN"), N=96, D=4)
    first, again = results(system, 40), results(system, 40)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)
    for count in (1, 3):
        monkeypatch.setattr("dsl.run.frame.parts_of", lambda rows, work, count=count: count)
        for name, value in results(system, 40).items():
            np.testing.assert_allclose(value, first[name], rtol=2e-4, atol=2e-4 * np.abs(value).max(), err_msg=name)


def test_no_matrix_is_made_and_no_length_has_code_of_its_own() -> None:
    spec = dsl.load("URNN")
    lengths = set()
    for n in (16, 127, 1024):
        system = bound(spec, N=n, D=4)
        plan = describe(system)
        assert plan.backward is not None
        for program in (plan.forward, plan.backward):
            assert sum(program.source.transforms.values()) == 2
            wide = [s for s in program.normal.before if len(program.normal.streams[s].shape) == 2]
            assert all(program.normal.streams[s].shape[1] == 4 for s in wide)  # V alone
            assert "fft(v_1[t])" in program.source.text
        lengths.add(len((plan.forward.source.text + plan.backward.source.text).splitlines()))
        assert f"2 Fourier transforms a step and sequence, each of {n} numbers" in str(plan)
    assert len(lengths) == 1
    assert "of 2*N real and imaginary parts: fast ones, of any length" in str(spec.plan())


def test_work_grows_as_n_log_n() -> None:
    """What the number of threads is decided by."""
    work = []
    for n in (256, 4096):
        system = bound(dsl.load("URNN"), N=n, D=4)
        compiled = compile_system(system, system.outputs, "float32")
        program = compiled.executable(Plans(system, system.outputs, "float32").forward(system.outputs, True))
        program.prepared(problem(system, 1, 2, 0, False, "float32")[0])
        work.append(program.work)
    assert 16 < work[1] / work[0] < 24
