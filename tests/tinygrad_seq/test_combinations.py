"""Argument combinations in the manner of HIPS autograd's `combo_check`; threads; a million nodes; memory."""

from __future__ import annotations

import gc
import itertools
import statistics
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq import tape

rng = np.random.default_rng(31)


def values(*shapes: tuple[int, ...]) -> list[Any]:
    return [np.asarray(rng.uniform(0.3, 1.7, s)) for s in shapes]


def combinations(f: Callable[..., Any], *choices: list[Any], **options: list[Any]) -> int:
    """Every choice of arguments with every choice of options: gradients of order 2 in all floating ones."""
    count = 0
    for args in itertools.product(*choices):
        for setting in itertools.product(*options.values()):
            named = dict(zip(options, setting, strict=True))
            tg.check_grads(lambda *xs, named=named: f(*xs, **named), *args)
            count += 1
    return count


BOTH: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b, "power": lambda a, b: a**b, "arctan2": tg.arctan2, "hypot": tg.hypot,
    "logaddexp": tg.logaddexp, "xlogy": tg.xlogy,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BOTH))
def test_two_arguments_in_every_pair_of_shapes(name: str) -> None:
    shapes = values((), (1,), (3,), (2, 1), (2, 3), (1, 1, 3))
    assert combinations(BOTH[name], shapes, values((), (3,), (2, 3), (4, 1, 1))) == 24


AXES = [None, 0, 1, -1, (0, 1), (0, -1), (0, 1, 2)]


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std", "max", "min", "logsumexp", "norm"])
def test_reductions_with_every_axis(name: str) -> None:
    spread = (rng.permutation(24).reshape(2, 3, 4) - 11.7) * 0.1
    assert combinations(getattr(tg, name), [spread], axis=AXES, keepdims=[False, True]) == 14


def test_deviations_with_corrections() -> None:
    for f in (tg.var, tg.std):
        combinations(f, values((3, 4)), axis=[None, 0, 1], correction=[0, 1], keepdims=[False, True])


def test_joining_shapes_and_axes() -> None:
    combinations(
        lambda a, b, axis: tg.concat([a, b, a], axis=axis), values((2, 3)), values((2, 3)), axis=[0, 1, -1, None]
    )
    combinations(lambda a, b, axis: tg.stack([a, b], axis=axis), values((2, 3)), values((2, 3)), axis=[0, 1, 2, -1])
    combinations(lambda x, n, axis: tg.roll(x, n, axis=axis), values((3, 4)), n=[-5, 0, 1], axis=[None, 0, -1])
    combinations(lambda x, n, axis: tg.repeat(x, n, axis=axis), values((3, 2)), n=[1, 3], axis=[None, 0, 1])
    combinations(tg.flip, values((2, 3)), axis=[None, 0, -1, (0, 1)])
    combinations(tg.sort, [rng.permutation(12).reshape(3, 4) * 0.3], axis=[0, 1], descending=[False, True])
    combinations(tg.diff, values((4, 5)), axis=[0, 1], n=[0, 1, 2])


def test_products_of_every_rank() -> None:
    lefts, rights = values((3,), (2, 3), (2, 2, 3), (4, 1, 2, 3)), values((3,), (3, 2), (2, 3, 1), (4, 1, 3, 2))
    assert combinations(tg.matmul, lefts, rights) == 16
    combinations(tg.tensordot, values((2, 3)), values((3, 2)), axes=[0, 1, ((0,), (1,)), ((0, 1), (1, 0))])


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (2, 3)])
def test_fuzzed_shapes_and_dtypes_give_numpy_s_answer_or_a_clear_error(shape: tuple[int, ...], dtype: str) -> None:
    x = rng.uniform(0.2, 0.8, shape).astype(dtype)
    for name in ("exp", "sqrt", "tanh", "abs", "square", "arcsin", "log2", "reciprocal", "maximum", "floor", "cbrt"):
        function = getattr(np, {"abs": "absolute"}.get(name, name))
        t = tg.tensor(x, requires_grad=True)
        args = (t, t) if name == "maximum" else (t,)
        try:
            expected = function(*((x, x) if name == "maximum" else (x,)))
        except TypeError:
            expected = None
        try:
            y = getattr(tg, name)(*args)
        except TypeError:
            assert x.dtype.kind == "c"
            continue
        assert expected is not None and y.dtype == expected.dtype and y.shape == expected.shape
        np.testing.assert_array_equal(y.data, expected)
        if y.requires_grad:
            y.backward(np.ones(y.shape))
            assert t.grad is not None and t.grad.dtype == dtype and t.grad.shape == shape


# ---------------------------------------------------------------- threads


def test_eight_threads_at_once_give_the_serial_gradients() -> None:
    """Each differentiates its own function, all through shared parameters, caches emptied before."""
    from tinygrad_seq import derivative

    w = tg.tensor(rng.standard_normal((8, 8)) * 0.3, requires_grad=True)
    images = rng.standard_normal((8, 1, 2, 6, 6))

    def work(i: int) -> list[Any]:
        def f(x: Any, p: Any) -> Any:
            h = x
            for _ in range(5 + i):
                h = tg.tanh(tg.matmul(p, h)) + h[::-1] * 0.1
            image = tg.max_pool2d(tg.conv2d(images[i] * h[0], images[i][:, :, :3, :3]), 2)
            return tg.sum(tg.softmax(h) * h) + tg.sum(image) + tg.ctc_loss(tg.reshape(h, (4, 2)), [1])

        gradients = tg.grad(f, (0, 1))(np.linspace(-1, 1, 8) + i, w.data)
        second = tg.hvp(lambda x: tg.sum(tg.sin(tg.matmul(w.data, x)) ** 2), np.ones(8) * i, np.ones(8))
        return [*gradients, second]

    serial = [work(i) for i in range(8)]
    derivative._cache.clear()
    results: list[Any] = [None] * 8
    gate = threading.Barrier(8)

    def run(i: int) -> None:
        gate.wait()
        for _ in range(3):
            results[i] = work(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for expected, got in zip(serial, results, strict=True):
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- cost


def _per_node(count: int) -> tuple[float, Any]:
    """Processor seconds of a node, forwards and back."""
    start = time.process_time()
    x = tg.tensor(0.5, requires_grad=True)
    y: Any = x
    for _ in range(count):
        y = y * 1.0
    y.backward()
    return (time.process_time() - start) / count, x.grad


@pytest.mark.slow
@pytest.mark.parametrize("collector", [False, True])
def test_a_node_costs_the_same_among_a_million(collector: bool) -> None:
    """With Python's cyclic collector on, too: it does not walk the nodes."""
    _per_node(1000)
    try:
        if not collector:
            gc.disable()
        small = statistics.median(_per_node(10_000)[0] for _ in range(5))
        large, gradient = _per_node(1_000_000)
    finally:
        gc.enable()
    assert gradient.data == 1
    gc.collect()
    assert large < 1.4 * small, f"{large * 1e6:.1f} µs among a million, {small * 1e6:.1f} µs among ten thousand"
    print(f"{small * 1e6:.2f} µs a node among ten thousand, {large * 1e6:.2f} µs among a million")


def _nodes_of_a_run(start: Any) -> list[tape.Node]:
    y = tg.where(start > 0, start * 0.9, tg.exp(start))
    y = tg.concat([y, y[1:] + 1.0, tg.sum(y, axis=0, keepdims=True)])
    return tape.nodes(tg.sum(tg.matmul(tg.reshape(y, (1, -1)), y)))


def test_the_collector_does_not_walk_what_cannot_be_in_a_cycle() -> None:
    """Nor does a node keep containers of its own that it walks; a client's node, whose pullback may hold anything, and
    what is computed from it stay on its list."""
    x = tg.tensor(np.ones(3), requires_grad=True)
    for start in (x, tape.custom_node("client", [x], [np.ones(3)], lambda g: g)[0]):
        free = start is x
        steps = [n for n in _nodes_of_a_run(start) if type(n) is tape.Step]
        assert len(steps) >= 10 and all(gc.is_tracked(n) is not free for n in steps)
        assert not any(gc.is_tracked(n.more) for n in steps if n.more) or not free
    seen: list[bool] = []

    def look(t: Any) -> Any:
        seen.extend(gc.is_tracked(n) for n in _nodes_of_a_run(t) if type(n) is tape.Step)
        return tg.sum(t)

    tg.grad(look)(np.ones(3))
    assert seen and not any(seen)


def test_a_cycle_through_a_client_is_collected() -> None:
    """A pullback that holds what was computed from its own result: reference counts alone would keep all of it."""
    held: dict[str, Any] = {}

    def pullback(cotangents: list[Any]) -> list[Any]:
        return [cotangents[0] * (held["late"] is not None)]

    x = tg.tensor(np.ones(3), requires_grad=True)
    held["late"] = tg.exp(tape.custom_node("client", [x], [np.ones(3)], pullback)[0] * 2.0)
    gone = weakref.ref(held["late"].node)
    held, pullback = {}, None  # type: ignore[assignment]
    gc.collect()
    assert gone() is None


def test_nodes_die_with_their_last_user_while_the_collector_is_off() -> None:
    gc.disable()
    try:
        x = tg.tensor(0.5, requires_grad=True)
        y: Any = x
        for _ in range(200_000):
            y = tg.tanh(y)
        first = weakref.ref(tape.nodes(y)[1])
        assert first() is not None
        del y
        assert first() is None
    finally:
        gc.enable()


def test_the_memory_of_a_tape_is_its_residuals() -> None:
    """tanh keeps its result, add nothing, exp its result: 2 of the 3 arrays a step."""
    x = tg.tensor(np.zeros(50_000), requires_grad=True)
    gc.collect()
    tracemalloc.start()
    y: Any = x
    for _ in range(20):
        y = tg.exp(tg.tanh(y) + 1.0) * 0.1
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    arrays = held / x.data.nbytes
    assert 40 <= arrays < 42  # 2 residuals a step, and the last result
    y.sum().backward()
    assert x.grad is not None


def test_remat_over_square_root_many_segments_needs_that_much_memory() -> None:
    """T = 400 steps: 20 segments hold 20 inputs and, one at a time, 20 steps' residuals, not 400."""
    x = np.full(20_000, 0.1)

    def segment(h: Any) -> Any:
        for _ in range(20):
            h = tg.tanh(h) + 0.01
        return h

    def peak(part: Callable[[Any], Any]) -> float:
        t = tg.tensor(x, requires_grad=True)
        gc.collect()
        tracemalloc.start()
        h: Any = t
        for _ in range(20):
            h = part(h)
        h.sum().backward()
        result = tracemalloc.get_traced_memory()[1] / x.nbytes
        tracemalloc.stop()
        return result

    plain, again = peak(segment), peak(tg.remat(segment))
    assert plain > 400 and again < 60
