"""What runs hold: no more over many steps than over a few, and the same numbers from used memory as from new."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from dsl.run.arenas import Arena, Lease, Wanted
from dsl.run.model import Model
from tests.kernels.callers import at_once

CELLS = {"LSTM": {"D": 5, "H": 9}, "BiRNN": {"D": 5, "H": 9}, "GRU": {"D": 5, "H": 9}}


def gradients(model: Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return model.value_and_grad(x, loss=lambda run: tg.mean(run[model.system.outputs[0]] ** 2))[1]


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return all(a[n].tobytes() == b[n].tobytes() for n in a)


REAL = np.dtype("float32")


def lease(size: int, layout: object, role: object) -> Lease:
    return Lease((Wanted(size, REAL, layout, role),))


def test_an_array_comes_back_as_it_was_or_as_zeros() -> None:
    arena, one, other, role = Arena(), object(), object(), object()
    large, small = lease(100, one, role), lease(60, other, role)
    first = arena.take(large)
    first[0][:] = 7
    arena.give(large, first)
    assert (arena.take(large)[0] == 7).all()
    arena.give(large, first)
    again = arena.take(lease(100, one, role))
    assert again[0] is first[0] and (again[0] == 7).all(), "another lease of the same layout"
    arena.give(large, first)
    smaller = arena.take(small)
    assert np.shares_memory(smaller[0], first[0]) and not smaller[0].any()
    arena.give(small, smaller)
    assert np.shares_memory(arena.take(large)[0], first[0])


def test_what_two_have_on_lease_is_not_the_same() -> None:
    arena, own = Arena(), lease(100, object(), object())
    one, two = arena.take(own), arena.take(own)
    assert not np.shares_memory(one[0], two[0])
    arena.give(own, one)
    arena.give(own, two)
    held = [arena.take(own)[0] for _ in range(2)]
    assert {id(a) for a in held} == {id(one[0]), id(two[0])}, "and both come back"


def test_arrays_do_not_change_their_role() -> None:
    arena, leases = Arena(), [lease(100, object(), object()) for _ in range(2)]
    for own in leases:
        arena.give(own, arena.take(own))
    for own in leases:
        (array,) = arena.take(own)
        array[:] = 7
        arena.give(own, [array])
    assert all((arena.take(own)[0] == 7).all() for own in leases)


def test_many_lengths_need_the_memory_of_the_longest() -> None:
    model = dsl.load("LSTM").build(D=5, H=9)
    x = np.random.default_rng(0).standard_normal((60, 4, 5)).astype("float32")
    gradients(model, x)
    (compiled,) = model._engines.values()
    before = compiled.arena.size
    for steps in [*range(1, 60), *range(60, 0, -1)]:
        gradients(model, x[:steps])
    assert compiled.arena.size <= 1.1 * before


@pytest.mark.parametrize("cell", CELLS)
def test_used_memory_gives_the_numbers_of_new(cell: str) -> None:
    """Shapes take turns, one of them with infinities: nothing that lies about gets into another's result."""
    x = np.random.default_rng(0).standard_normal((40, 6, 5)).astype("float32")
    fresh = [gradients(dsl.load(cell).build(**CELLS[cell]), x[:n, :b]) for n, b in ((40, 6), (7, 3), (23, 5))]
    used = dsl.load(cell).build(**CELLS[cell])
    good = {n: p.numpy().copy() for n, p in used.params.items()}
    for n, v in good.items():
        used.params[n] = np.full_like(v, 3e38)  # whose products overflow
    gradients(used, x)
    for n, v in good.items():
        used.params[n] = v
    for _ in range(2):
        for (n, b), expected in zip(((40, 6), (7, 3), (23, 5)), fresh, strict=True):
            assert equal(gradients(used, x[:n, :b]), expected)


def test_a_run_dies_with_its_last_reference() -> None:
    """Without the collector of cycles: else memory would wait for it."""
    model = dsl.load("LSTM").build(D=5, H=9)
    x = np.zeros((20, 2, 5), "float32")
    gradients(model, x)
    gc.disable()
    try:
        (compiled,) = [c for c in model._engines.values()]
        whole = compiled.arena.size
        run = model(x)
        _ = run.state
        assert compiled.arena.size < whole
        del run
        assert compiled.arena.size == whole
    finally:
        gc.enable()


# ---------------------------------------------------------------- threads


def big() -> tuple[Model, np.ndarray]:
    """Work enough for several threads."""
    model = dsl.load("LSTM").build(D=32, H=96, seed=1)
    return model, np.random.default_rng(0).standard_normal((30, 16, 32)).astype("float32")


@pytest.mark.parametrize("count", ["1", "2", "3"])
def test_equal_runs_are_equal_to_the_bit(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGSEQ_NUM_THREADS", count)
    model, x = big()
    first = gradients(model, x)
    assert all(equal(gradients(model, x), first) for _ in range(5))
    assert equal(gradients(big()[0], x), first)


def test_the_number_of_threads_changes_rounding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for count in ("1", "2", "3"):
        monkeypatch.setenv("TGSEQ_NUM_THREADS", count)
        model, x = big()
        found.append(gradients(model, x))
        (compiled,) = model._engines.values()
        assert {len(f.shares) for c, _ in compiled._calls.values() for f in c.frames.values()} == {int(count)}
    for other in found[1:]:
        for n, v in found[0].items():
            assert np.abs(other[n] - v).max() <= 1e-5 * np.abs(v).max()


def test_a_small_batch_stays_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGSEQ_NUM_THREADS", "4")
    model = dsl.load("LSTM").build(D=5, H=9)
    gradients(model, np.zeros((20, 8, 5), "float32"))
    (compiled,) = model._engines.values()
    assert {len(f.shares) for c, _ in compiled._calls.values() for f in c.frames.values()} == {1}


def test_several_python_threads_share_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGSEQ_NUM_THREADS", "2")
    model, x = big()
    expected = {steps: gradients(model, x[:steps]) for steps in (30, 17, 9)}
    wrong: list[int] = []

    def work(steps: int) -> None:
        for _ in range(10):
            if not equal(gradients(model, x[:steps]), expected[steps]):
                wrong.append(steps)

    at_once([lambda s=s: work(s) for s in expected])  # type: ignore[misc]
    assert not wrong


FORK = """
import os, sys
from tests.run.test_memory import big, equal, gradients
model, x = big()
expected = gradients(model, x)
child = os.fork()
if not child:
    os._exit(0 if equal(gradients(model, x), expected) else 3)
_, status = os.waitpid(child, 0)
assert equal(gradients(model, x), expected)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_goes_on() -> None:
    environment = {**os.environ, "TGSEQ_NUM_THREADS": "2"}
    assert subprocess.run([sys.executable, "-c", FORK], env=environment, timeout=120).returncode == 0
