"""Parts of a batch side by side: all run once, forks and several callers are safe."""

from __future__ import annotations

import os
import time
import weakref
from typing import Any

import numpy as np
import pytest

from tests.kernels.callers import at_once
from tinygrad_seq.kernels import threads
from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.threads import parts, run_native, thread_count


@pytest.fixture(autouse=True)
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGSEQ_NUM_THREADS", "4")
    monkeypatch.setattr(threads, "_pool", threads._Pool())


# ---------------------------------------------------------------- native calls

COUNT = '''"""Adds up."""

from tinygrad_seq.kernels.nests import nests

run = nests(__file__, "float64")


def main(X, O):
    """A += O[0], n times"""
    A = reals(X[0])
    for k in range(O[1]):
        A[0] = A[0] + real(O[0])
'''


def count() -> Any:
    return load_source("count", COUNT).run


def counted(calls: int, times: int) -> list[float]:
    """The sums of calls that each add their number, run side by side so many times."""
    run, sums = count(), [np.zeros(1) for _ in range(calls)]
    for _ in range(times):
        run_native(run, [((a,), np.array([k, 3])) for k, a in enumerate(sums)])
    return [float(a[0]) for a in sums]


@pytest.mark.parametrize("calls", [1, 2, 4, 9])
def test_native_calls_run_once_each(calls: int) -> None:
    assert counted(calls, 500) == [1500.0 * k for k in range(calls)]


def test_workers_awake_and_asleep() -> None:
    """A worker listens for a fraction of a millisecond, then sleeps: calls come at every moment of that."""
    run, sums = count(), [np.zeros(1) for _ in range(4)]
    rest = np.random.default_rng(0).exponential(3e-4, 400)
    for pause in rest:
        run_native(run, [((a,), np.array([1, 1])) for a in sums])
        time.sleep(pause)
    assert [float(a[0]) for a in sums] == [400.0] * 4


def test_native_calls_of_several_callers() -> None:
    found: list[list[float]] = []

    def caller() -> None:
        for _ in range(20):
            found.append(counted(3, 20))

    at_once([caller] * 3)
    assert found == [[0.0, 60.0, 120.0]] * 60


def test_posted_calls_keep_nothing_alive() -> None:
    run, arrays = count(), [np.zeros(1) for _ in range(2)]
    for _ in range(3):
        run_native(run, [((a,), np.array([1, 1])) for a in arrays])
    alive = [weakref.ref(a) for a in arrays]
    del arrays
    deadline = time.monotonic() + 5
    while any(r() is not None for r in alive) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [r() for r in alive] == [None, None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("awake", [True, False])
def test_native_calls_in_a_forked_child(awake: bool) -> None:
    counted(2, 3)
    if not awake:
        time.sleep(0.1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(counted(2, 50) != [0.0, 150.0])
        finally:
            os._exit(code)
    ended(child)


def ended(child: int) -> None:
    """The process ends well, and soon."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_how_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parts(1, 10**9) == 1
    assert parts(4, 4 * 64 * 96 * 4 * 20) == 1  # an LSTM 32 -> 64, 4 rows, 20 steps
    assert parts(4, 4 * 64 * 96 * 4 * 100) == 2
    assert parts(8, 8 * 4 * 128 * 192 * 100) == 4
    assert parts(100, 10**9) == 4
    monkeypatch.setenv("TGSEQ_NUM_THREADS", "1")
    assert parts(100, 10**9) == 1
    monkeypatch.delenv("TGSEQ_NUM_THREADS")
    assert thread_count() >= 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TGSEQ_NUM_THREADS", text)
    with pytest.raises(ValueError, match="TGSEQ_NUM_THREADS"):
        thread_count()
