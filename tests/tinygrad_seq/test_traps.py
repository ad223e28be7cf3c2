"""The traps that every such engine meets, each by its name in the style guide."""

from __future__ import annotations

import copy
import gc
import math
import threading
import warnings
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.tape import nodes

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(5)


def var(value: Any, **options: Any) -> tg.Tensor:
    return tg.tensor(np.asarray(value, dtype=options.pop("dtype", float)), requires_grad=True, **options)


def gradient(t: tg.Tensor) -> Array:
    assert t.grad is not None
    return t.grad.data


# ---------------------------------------------------------------- broadcast un-reduction


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "div", "power", "maximum", "minimum", "logaddexp", "where", "clip"]
)
@pytest.mark.parametrize("small", [(), (1,), (3, 1), (1, 4), (0,)])
def test_broadcast_un_reduction(name: str, small: tuple[int, ...]) -> None:
    large = (3, 4) if small != (0,) else (3, 0)
    a, b = var(rng.uniform(1, 2, small)), var(rng.uniform(3, 4, large))
    op = getattr(tg, name)
    calls = {"where": lambda: op(b.data > 3.5, a, b), "clip": lambda: tg.REGISTRY["clip"](b, a, 9.0)}
    y = calls.get(name, lambda: op(a, b))()
    assert y.shape == large
    y.backward(np.ones(large))
    assert gradient(a).shape == small and gradient(b).shape == large


def test_where_with_a_scalar_branch_has_a_scalar_gradient() -> None:
    s = var(2.0)
    tg.sum(tg.where(np.array([True, False, True]), s, 0.0)).backward()
    assert gradient(s).shape == () and gradient(s) == 2


# ---------------------------------------------------------------- shared subexpressions


def test_x_times_x() -> None:
    x = var([1.0, -3.0])
    tg.sum(x * x).backward()
    np.testing.assert_array_equal(gradient(x), [2.0, -6.0])


def test_a_diamond_is_pulled_once_after_all_its_consumers() -> None:
    calls = []
    x = var(2.0)
    (shared,) = tg.custom_node("shared", [x], [x.data * 3], lambda g: calls.append(float(g[0])) or [3 * g[0]])  # type: ignore[func-returns-value]
    late = tg.tanh(tg.tanh(tg.tanh(shared)))  # a long way round, and a short one
    (shared * 5 + late).backward()
    slope = 5 + (1 - float(late) ** 2) * np.prod([1 - math.tanh(v) ** 2 for v in (6.0, math.tanh(6.0))])
    assert calls == [pytest.approx(slope, rel=1e-12)]
    assert gradient(x) == pytest.approx(3 * slope)


def test_many_diamonds_in_a_row_cost_no_more_than_their_nodes() -> None:
    x = var(1.0)
    y: Any = x
    for _ in range(200):
        y = y * 0.5 + y * 0.5  # 2^200 paths
    y.backward()
    assert gradient(x) == pytest.approx(1.0)


def test_fan_out_of_100() -> None:
    x = var(rng.standard_normal(3))
    y = tg.tanh(x)
    sum((y * float(i) for i in range(100)), start=tg.tensor(np.zeros(3))).sum().backward()
    np.testing.assert_allclose(gradient(x), 4950 * (1 - np.tanh(x.data) ** 2), rtol=1e-12)


# ---------------------------------------------------------------- depth


def test_depth_10000() -> None:
    x = var(np.full(2, 0.3), name="x")
    y: Any = x
    for _ in range(10_000):
        y = tg.sin(y) + 0.1
    assert "from add" in repr(y)
    assert len(nodes(y)) == 20_001
    twin = copy.deepcopy(y)
    assert not twin.requires_grad and np.array_equal(twin.data, y.data) and twin.data is not y.data
    gc.collect()
    y.sum().backward(retain_graph=True)
    first = gradient(x).copy()
    assert np.all(np.isfinite(first))
    y.sum().backward(retain_graph=True)
    np.testing.assert_array_equal(gradient(x), 2 * first)
    del y, twin  # 20,000 nodes fall one after another
    gc.collect()


def test_a_gradient_of_a_gradient_10000_deep() -> None:
    def f(x: Any) -> Any:
        for _ in range(2_500):
            x = tg.sin(x) + 0.1
        return x

    second = tg.grad(tg.grad(f))(0.3)
    h = 1e-5
    assert second == pytest.approx((tg.grad(f)(0.3 + h) - tg.grad(f)(0.3 - h)) / (2 * h), rel=1e-5, abs=1e-12)


# ---------------------------------------------------------------- aliases and changes in place


def test_aliased_gradient_buffers() -> None:
    a, b, c = var([1.0, 2.0]), var([3.0, 4.0]), var([0.0, 0.0])
    (a + b + c).backward(np.ones(2))
    assert a.grad is not None and b.grad is not None
    a.grad.data[0] = 100
    assert gradient(b)[0] == 1 and gradient(c)[0] == 1


def test_the_caller_s_cotangent_is_neither_kept_nor_changed() -> None:
    a, start = var([1.0, 2.0]), np.ones(2)
    y = a + a + a
    y.backward(start)
    np.testing.assert_array_equal(start, 1)
    np.testing.assert_array_equal(gradient(a), 3)
    assert not np.shares_memory(gradient(a), start)


def test_gradients_given_to_arrays_can_be_written_to_and_are_apart() -> None:
    ga, gb = tg.grad(lambda a, b: tg.sum(a + b), argnums=(0, 1))(np.ones(3), np.ones(3))
    ga[0] = 7
    assert gb[0] == 1


def test_an_accumulated_gradient_leaves_the_earlier_value_s_owner_alone() -> None:
    x = var([1.0])
    (x * 2).backward(np.ones(1))
    (x * 3).backward(np.ones(1))
    assert gradient(x)[0] == 5


def test_a_residual_changed_in_place_names_the_operation_and_its_line() -> None:
    a, c = var([1.0, 2.0]), tg.tensor([3.0, 4.0])
    y = a * c
    c[0] = 9.0
    with pytest.raises(tg.GradientError, match=r"input 1 of mul .*test_traps\.py:\d+.* changed in place"):
        y.sum().backward()


def test_a_changed_result_is_noticed_and_a_changed_bystander_is_not() -> None:
    a = var([1.0, 2.0])
    y, z = tg.exp(a), a + 1.0
    with tg.no_grad():
        z[0] = 5.0  # add keeps nothing
    (y + z).sum().backward()
    np.testing.assert_allclose(gradient(a), np.exp(a.data) + 1)
    y = tg.exp(a)
    with tg.no_grad():
        y[0] = 5.0
    with pytest.raises(tg.GradientError, match="the result of exp"):
        y.sum().backward()


def test_a_change_through_a_view_or_of_what_it_views_is_noticed() -> None:
    for change_view in (True, False):
        a, c = var(np.ones((2, 3))), tg.tensor(np.ones((2, 3)))
        view = c.T[1]
        y = (a * c).sum() if change_view else (view * a[0, :2]).sum()
        (view if change_view else c)[...] = 2.0
        with pytest.raises(tg.GradientError, match="changed in place"):
            y.backward()


def test_a_parameter_assigned_after_the_forward_pass_is_noticed_before_it_is_not() -> None:
    w = var([1.0, 2.0])
    w.assign([3.0, 4.0])
    (w * w).sum().backward()
    np.testing.assert_array_equal(gradient(w), [6.0, 8.0])
    y = (w * w).sum()
    w.assign([0.0, 0.0])
    with pytest.raises(tg.GradientError, match="changed in place"):
        y.backward()


def test_a_recorded_tensor_is_not_changed_in_place() -> None:
    y = var([1.0]) * 2
    with pytest.raises(tg.GradientError, match="takes part in a gradient"):
        y[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        y.numpy()[0] = 1.0


# ---------------------------------------------------------------- dtype


def test_nep50_plain_numbers_and_numpy_scalars_do_not_widen() -> None:
    x = var([1.0, 2.0], dtype=np.float32)
    for y in (
        2 * x,
        x * 0.5,
        np.float64(2) * x,
        x / np.float64(3),
        x**2,
        2.0**x,
        x + np.arange(2),
        x * np.array([True, False]),
    ):
        assert isinstance(y, tg.Tensor) and y.dtype == np.float32
        y.sum().backward()
        assert gradient(x).dtype == np.float32
    assert (x * np.ones(2)).dtype == np.float64  # a float64 array is meant
    assert tg.mean(x).dtype == tg.logsumexp(x).dtype == tg.cross_entropy(x, np.array(1)).dtype == np.float32


def test_numpy_functions_on_tensors() -> None:
    x = var([0.5, 1.0])
    y = np.tanh(x)
    assert isinstance(y, tg.Tensor) and y.requires_grad
    np.testing.assert_array_equal(np.asarray(y), np.tanh(x.data))
    assert isinstance(np.ones(2) + x, tg.Tensor) and isinstance(np.sum(x), tg.Tensor)
    assert isinstance(np.ones((3, 2)) @ x, tg.Tensor)
    with pytest.raises(TypeError):
        np.heaviside(x, 0)  # no such primitive: not a silent constant


def test_zero_dimensional_values_stay_arrays() -> None:
    x = var(2.0)
    for y in (x * 2, tg.sum(x), tg.tanh(x), var([1.0, 2.0])[0], tg.dot(var([1.0]), var([2.0]))):
        assert isinstance(y.data, np.ndarray) and y.shape == ()
    x.backward()
    assert isinstance(gradient(x), np.ndarray)


# ---------------------------------------------------------------- kinks


def slope(f: Any, x: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(tg.grad(f)(x))


def test_kinks_are_as_published() -> None:
    assert slope(lambda x: tg.maximum(x, 1.0), 1.0) == slope(lambda x: tg.minimum(1.0, x), 1.0) == 0.5
    assert slope(tg.relu, 0.0) == slope(tg.abs, 0.0) == slope(tg.sign, 0.0) == 0
    assert slope(tg.sqrt, 0.0) == math.inf
    assert slope(tg.norm, 0.0) == 0
    assert slope(tg.leaky_relu, 0.0) == 0.1 and slope(tg.elu, 0.0) == 1
    assert slope(lambda x: tg.clip(x, 0, 1), 0.0) == slope(lambda x: tg.clip(x, 0, 1), 1.0) == 1
    ties = tg.grad(lambda x: tg.max(x))(np.array([3.0, 1.0, 3.0]))
    np.testing.assert_array_equal(ties, [0.5, 0, 0.5])
    thirds = tg.grad(lambda x: tg.sum(tg.min(x, axis=1)))(np.array([[2.0, 2.0, 2.0], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(thirds, [[1 / 3] * 3, [0.5, 0, 0.5]])


def test_a_reflection_by_the_zero_vector_is_the_identity() -> None:
    x, g = np.array([1.0 + 2j, -3.0, 0.5j]), np.array([0.5, 1j, -2.0 + 1j])
    y, pull = tg.vjp(tg.reflect, np.zeros(3, complex), x)
    np.testing.assert_array_equal(y, x)
    by_r, by_x = pull(g)
    np.testing.assert_array_equal(by_r, 0)
    np.testing.assert_array_equal(by_x, g)
    second = tg.hessian(lambda r: tg.sum(tg.reflect(r, x.real) ** 2))(np.zeros(3))
    np.testing.assert_array_equal(second, 0)


def test_powers_of_zero() -> None:
    assert slope(lambda x: x**0, 0.0) == 0 and slope(lambda x: tg.power(x, np.zeros(())), 0.0) == 0
    assert slope(lambda x: x**1, 0.0) == 1 and slope(lambda x: x**2, 0.0) == 0
    assert slope(lambda p: tg.power(0.0, p), 2.0) == 0
    assert slope(lambda x: x**0.5, 0.0) == math.inf


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_products_with_zeros(zeros: int) -> None:
    x = np.array([2.0, 3.0, 5.0, 7.0])
    x[:zeros] = 0
    expected = [np.prod(np.delete(x, i)) for i in range(4)]
    np.testing.assert_allclose(tg.grad(lambda v: tg.prod(v))(x), expected)
    second = [[0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(tg.hessian(lambda v: tg.prod(v))(x), second)
    assert tg.prod(np.ones((0,))) == 1


@pytest.mark.parametrize(
    ("inside", "outside", "at"),
    [
        (tg.sqrt, lambda x: x, -1.0),
        (tg.log, lambda x: x, -1.0),
        (tg.log, lambda x: x, 0.0),
        (lambda x: 1 / x, lambda x: x, 0.0),
        (lambda x: x**0.5, lambda x: x, -1.0),
        (lambda x: 1 / tg.sqrt(x), lambda x: x, 0.0),
    ],
)
def test_a_branch_not_taken_sends_no_nan(inside: Any, outside: Any, at: float) -> None:
    def f(x: Any) -> Any:
        return tg.where(tg.greater(x, 0), inside(x), outside(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert slope(f, at) == 1
        assert slope(tg.grad(f), at) == 0
        _, tangent = tg.jvp(f, (at,), (2.0,))
        assert tangent == 2


def test_a_cotangent_of_zero_still_has_a_derivative() -> None:
    """∂²(c·log x)/∂c∂x is 1/x at c = 0 too: the guard of singular derivatives must not swallow it."""
    mixed = tg.grad(lambda c: tg.grad(lambda x: c * tg.log(x))(4.0))(0.0)
    assert mixed == 0.25


# ---------------------------------------------------------------- stability


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("top", [1000.0, -1000.0, -math.inf])
def test_stable_log_sums(dtype: Any, top: float) -> None:
    x = np.array([top, top, top], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, grads = tg.value_and_grad(lambda v: tg.logsumexp(v))(x)
        assert value == pytest.approx(top + math.log(3)) if math.isfinite(top) else value == -math.inf
        np.testing.assert_allclose(grads, 1 / 3 if math.isfinite(top) else 0, rtol=1e-4)
        pair, both = tg.value_and_grad(lambda a, b: tg.sum(tg.logaddexp(a, b)), argnums=(0, 1))(x[:1], x[:1])
        np.testing.assert_allclose(both[0], 0.5 if math.isfinite(top) else 0, rtol=1e-4)
        if math.isfinite(top):
            x[1] = 0
            for f in (tg.log_softmax, tg.softmax):
                y, pull = tg.vjp(f, x)
                assert np.all(np.isfinite(y)) and np.all(np.isfinite(pull(np.ones(3, dtype))[0]))
            loss, g = tg.value_and_grad(lambda v: tg.cross_entropy(v, np.array(1)))(x)
            assert np.isfinite(loss) and np.all(np.isfinite(g))


def test_sigmoid_and_softplus_far_out_in_float32() -> None:
    x = np.array([-800, -100, 0, 100, 800], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for f, ends in (
            (tg.sigmoid, (0.0, 1.0)),
            (tg.softplus, (0.0, 800.0)),
            (tg.tanh, (-1.0, 1.0)),
            (tg.elu, (-1.0, 800.0)),
        ):
            y, pull = tg.vjp(f, x)
            assert (y[0], y[-1]) == ends and y.dtype == np.float32
            assert np.all(np.isfinite(pull(np.ones(5, np.float32))[0]))


# ---------------------------------------------------------------- memory


def nodes_below(root: Any) -> list[Any]:
    """As `nodes`, but freed ones too: what a picture of the tape walks."""
    found: dict[int, Any] = {}
    stack = [root.node]
    while stack:
        node = stack.pop()
        if node.serial not in found:
            found[node.serial] = node
            stack += [e[0] for e in node.edges if e is not None]
    return [found[k] for k in sorted(found)]


def test_residuals_only_and_released_by_backward() -> None:
    gc.disable()
    try:
        x = var(np.ones(1000))
        middle = x * 2.0  # neither add nor the product with a number keeps it
        gone = weakref.ref(middle.data)
        y = tg.tanh(middle + 1.0)
        kept = weakref.ref(y.data)
        loss = y.sum()
        del middle
        assert gone() is None
        del y
        assert kept() is not None
        loss.backward()
        assert kept() is None
        assert [n.name for n in nodes_below(loss)] == ["leaf", "mul", "add", "tanh", "sum"]  # the structure stays
        node = weakref.ref(loss.node)
        del loss
        assert node() is None
    finally:
        gc.enable()


def test_a_graph_never_pulled_dies_without_the_collector() -> None:
    gc.disable()
    try:
        x = var(np.ones(3))
        y = tg.softmax(tg.exp(x) * x)
        refs = [weakref.ref(n) for n in nodes(y) if n.name != "leaf"]
        del y
        assert all(r() is None for r in refs)
    finally:
        gc.enable()


def test_a_second_backward_is_a_clear_error() -> None:
    x = var(1.0)
    y = tg.exp(x)
    y.backward()
    with pytest.raises(tg.GradientError, match=r"freed by an earlier backward pass: pass retain_graph=True"):
        y.backward()
    with pytest.raises(tg.GradientError, match="nothing to differentiate"):
        tg.exp(tg.tensor(1.0)).backward()
    with pytest.raises(tg.GradientError, match="needs a cotangent"):
        (x * np.ones(3)).backward()


def test_remat_keeps_a_segment_s_input_only_and_changes_no_gradient() -> None:
    w = var(np.full((4, 4), 0.3))

    def segment(x: Any) -> Any:
        for _ in range(10):
            x = tg.tanh(tg.matmul(w, x))
        return x

    def run(f: Any) -> tuple[int, Array, Array]:
        w.grad, x = None, var(np.ones(4))
        y: Any = x
        for _ in range(5):
            y = f(y)
        count = len(nodes(y))
        y.sum().backward()
        return count, gradient(w), gradient(x)

    plain, again = run(segment), run(tg.remat(segment))
    assert plain[0] > 100 and again[0] < 10
    np.testing.assert_allclose(plain[1], again[1], rtol=1e-13)
    np.testing.assert_allclose(plain[2], again[2], rtol=1e-13)
    tg.check_grads(lambda x: tg.remat(segment)(x), np.linspace(-1, 1, 4), order=2)


# ---------------------------------------------------------------- re-entrancy


def test_perturbation_confusion() -> None:
    def d(f: Any, x: Any) -> Any:
        return tg.grad(f)(x)

    assert d(lambda x: x * d(lambda y: x + y, 1.0), 1.0) == 1

    def j(f: Any, x: Any) -> Any:
        return tg.jvp(f, (x,), (1.0,))[1]

    assert j(lambda x: x * j(lambda y: x + y, 1.0), 1.0) == 1
    assert d(lambda x: x * j(lambda y: x * y, 2.0), 3.0) == j(lambda x: x * d(lambda y: x * y, 2.0), 3.0) == 6


def test_raising_inside_grad_leaves_no_trace() -> None:
    def bad(x: Any) -> Any:
        with tg.no_grad():
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        tg.grad(bad)(1.0)
    assert tg.grad(lambda x: x * x)(3.0) == 6
    with tg.no_grad():
        assert tg.grad(lambda x: x * x)(3.0) == 6  # a transformation records for itself
        assert not (var(1.0) * 2).requires_grad
    assert (var(1.0) * 2).requires_grad


def test_threads_have_states_of_their_own_and_gradients_equal_the_serial_ones() -> None:
    xs = [np.random.default_rng(i).standard_normal(20) for i in range(8)]
    f = tg.grad(lambda x: tg.sum(tg.tanh(tg.matmul(np.outer(x, x), x)) ** 2))
    serial, results = [f(x) for x in xs], [None] * 8

    def work(i: int) -> None:
        for _ in range(5):
            results[i] = f(xs[i])

    with tg.no_grad():
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    for expected, got in zip(serial, results, strict=True):
        np.testing.assert_array_equal(expected, got)
