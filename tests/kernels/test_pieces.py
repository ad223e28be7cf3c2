"""Loops that several threads run together: every piece is done once, whoever does it."""

from __future__ import annotations

import os
import time
import weakref
from typing import Any

import numpy as np
import pytest

from tests.kernels.callers import at_once
from tests.kernels.test_threads import ended
from tinygrad_seq.kernels import threads
from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.pieces import DONE, together
from tinygrad_seq.kernels.threads import run_together

LOOPS = '''"""Loops that count."""

import numpy as np

from tinygrad_seq.kernels.cache import kernel


@kernel
def add(x, times, pair, out, part):
    """out[i] += pair[0] * x[i, pair[1]], so many times; out[-1] counts pieces by their numbers."""
    for i in range(part[0], part[1]):
        for _ in range(times):
            out[i] += pair[0] * x[i, pair[1]]


@kernel
def number(out, part):
    """out[k] += how many of the whole piece k has."""
    out[part[2]] += part[1] - part[0]


@kernel
def greedy(out, part):
    """Asks for more memory than there is, in the piece that the last is."""
    if part[1] == 8:
        out[:1] = np.empty(1 << 58)[:1]
'''


@pytest.fixture(autouse=True)
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGSEQ_NUM_THREADS", "4")
    monkeypatch.setattr(threads, "_pool", threads._Pool())


def loop(name: str) -> Any:
    return getattr(load_source("counting", LOOPS), name)


def summed(pieces: int, times: int = 3, rows: int = 10) -> Any:
    x, out = np.arange(2.0 * rows).reshape(rows, 2), np.zeros(rows)
    run_together(together(loop("add"), (x, times, (5, 1), out), rows, pieces))
    np.testing.assert_array_equal(out, 5 * times * x[:, 1])


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 10, 25])
def test_each_piece_once_and_all_of_them(pieces: int) -> None:
    for _ in range(200):
        summed(pieces)
    out = np.zeros(pieces)
    run_together(together(loop("number"), (out,), 1000, pieces))
    assert out.sum() == 1000 and abs(out - 1000 / pieces).max() < 1


def test_workers_awake_and_asleep_or_late() -> None:
    """A call is over when its pieces are, not when a worker that was called for it has woken."""
    rest = np.random.default_rng(0).exponential(3e-4, 300)
    for pause in rest:
        summed(8, times=100)
        time.sleep(pause)


def test_never_more_threads_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGSEQ_NUM_THREADS", "2")
    for _ in range(20):
        summed(8)
    assert threads._pool.made == 1


def test_several_callers_at_once() -> None:
    def caller() -> None:
        for _ in range(200):
            summed(6)

    at_once([caller] * 3)


def test_arguments_of_every_kind_and_none_that_is_not_contiguous() -> None:
    for dtype in ("float32", "float64", "complex64", "int64", "int8", "bool"):
        x, out = np.ones((3, 4), dtype), np.zeros(3, "complex128")
        run_together(together(loop("add"), (x, 1, (2, 3), out), 3, 2))
        assert (out == 2).all(), dtype
    with pytest.raises(ValueError, match="C-contiguous"):
        together(loop("add"), (np.ones((4, 3)).T, 1, (2, 3), np.zeros(3)), 3, 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_finds_no_memory_is_an_error() -> None:
    for pieces in (4, 1, 2, 8):
        with pytest.raises(MemoryError, match="no memory"):
            run_together(together(loop("greedy"), (np.zeros(2),), 8, pieces))
    summed(4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own() -> None:
    summed(8)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            summed(8)
            code = int(threads._pool.made != 3)
        finally:
            os._exit(code)
    ended(child)


def test_arrays_are_let_go() -> None:
    x, out = np.ones((8, 2)), np.zeros(8)
    call = together(loop("add"), (x, 1, (1, 0), out), 8, 8)
    run_together(call)
    assert call.counters[DONE] == 8
    alive = weakref.ref(out)
    del call, out
    deadline = time.monotonic() + 5
    while alive() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert alive() is None
