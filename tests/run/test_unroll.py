"""The literal engine: against loops written by hand, sequence by sequence, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.run.model import Model
from dsl.run.unroll import unroll
from dsl.spec import load, parse
from tests.run.cells import KINDS, SEQUENCE, build, ragged
from tinygrad_seq.tape import Leaf, nodes


def numbers(model: Model) -> dict[str, np.ndarray]:
    return {n: t.numpy() for n, t in model.params.items()}


def kinds_by_hand(p: dict[str, np.ndarray], x: np.ndarray, start: np.ndarray) -> dict[str, np.ndarray]:
    """KINDS for one sequence, written as loops."""
    T, H = len(x), len(start)
    read = lambda v, t, edge: v[t] if 0 <= t < T else edge  # noqa: E731
    h, g, b = {}, {}, {}
    for t in range(T):
        h[t] = np.tanh(p["V"] @ read(x, t - 2, np.full(x.shape[1], 0.5)) + p["W"] @ read(h, t - 1, start))
        g[t] = np.tanh(p["U"] @ read(g, t - 3, p["h0"]) + h[t])
    for t in reversed(range(T)):
        ahead = read(x, t + 1, np.full(x.shape[1], 0.5))
        b[t] = np.tanh(p["V"] @ ahead + p["W"] @ read(b, t + 2, np.ones(H)) + g[t])
    G, Bs = np.array([g[t] for t in range(T)]), np.array([b[t] for t in range(T)])
    a = np.exp(G) / np.exp(G).sum(axis=0)
    s = (a * Bs).sum(axis=0) + G[-1]
    nll = (Bs * Bs).sum(axis=1).mean() + (Bs.max(axis=0) * s).sum()
    return {"b": Bs, "a": a, "s": s, "nll": nll}


@pytest.mark.parametrize("lengths", [[5], [4, 7, 1, 4], [1, 1], [2, 9]])
def test_every_boundary_kind_ragged(lengths: list[int]) -> None:
    rng = np.random.default_rng(len(lengths))
    model = build(KINDS, D=3, H=4)
    x, alone = ragged(rng, lengths, 3)
    start = rng.normal(size=(len(lengths), 4))
    run = model(x=x, start=start, lengths=lengths, engine="tape")
    for i, sequence in enumerate(alone):
        expected = kinds_by_hand(numbers(model), sequence, start[i])
        for name in ("b", "a"):
            value = run.value(name).numpy()[:, i]
            np.testing.assert_allclose(value[: lengths[i]], expected[name], rtol=1e-12, atol=1e-14)
            assert (value[lengths[i] :] == 0).all()
        np.testing.assert_allclose(run.value("s").numpy()[i], expected["s"], rtol=1e-12)
        np.testing.assert_allclose(run.each["nll"].numpy()[i], expected["nll"], rtol=1e-12)


def test_gradients_are_the_sum_over_single_sequences() -> None:
    rng = np.random.default_rng(3)
    model = build(KINDS, D=3, H=4)
    lengths = [4, 6, 1]
    x, alone = ragged(rng, lengths, 3)
    start = rng.normal(size=(3, 4))
    value, grads = model.value_and_grad(x=x, start=start, lengths=lengths, engine="tape")
    singles = [model.value_and_grad(x=s, start=start[i], engine="tape") for i, s in enumerate(alone)]
    assert value == pytest.approx(np.mean([v for v, _ in singles]), rel=1e-12)
    for name, g in grads.items():
        np.testing.assert_allclose(g, np.mean([s[name] for _, s in singles], axis=0), rtol=1e-10, atol=1e-12)


def test_gradients_against_differences() -> None:
    rng = np.random.default_rng(4)
    model = build(KINDS, D=2, H=3)
    x, _ = ragged(rng, [3, 5], 2)
    call = {"x": x, "start": rng.normal(size=(2, 3)), "lengths": [3, 5], "engine": "tape"}
    _, grads = model.value_and_grad(**call)
    for name, tensor in model.params.items():
        value, direction = tensor.numpy().copy(), rng.normal(size=tensor.shape)
        sides = []
        for sign in (1, -1):
            model.params[name] = value + sign * 1e-6 * direction
            sides.append(model.value_and_grad(**call)[0])
        model.params[name] = value
        assert (grads[name] * direction).sum() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-6, abs=1e-8)


def test_gradient_of_inputs_is_zero_in_padding() -> None:
    rng = np.random.default_rng(5)
    model = build(SEQUENCE, D=2, H=3)
    x, _ = ragged(rng, [2, 4], 2)
    data = tg.tensor(x, requires_grad=True)
    model(x=data, lengths=[2, 4], engine="tape").nll.backward()
    grad = data.grad.numpy()
    assert np.isfinite(grad).all() and (grad[2:, 0] == 0).all() and (grad[:2, 0] != 0).all()


def test_plain_arrays_give_plain_arrays() -> None:
    model = build(SEQUENCE, D=2, H=3)
    x = np.random.default_rng(0).normal(size=(4, 2, 2))
    found = unroll(model.system, {"x": x, **numbers(model)}, {"t": 4}, 2, ("h",))
    assert type(found["h"]) is np.ndarray
    np.testing.assert_array_equal(found["h"], model(x=x, engine="tape").h.numpy())


def test_nodes_are_linear_in_steps_and_parameters_are_one_leaf_each() -> None:
    model = build(SEQUENCE, D=2, H=3)
    count = {}
    for T in (10, 20, 40):
        graph = nodes(model(x=np.zeros((T, 1, 2)), engine="tape").nll)
        count[T] = len(graph)
        assert sum(isinstance(n, Leaf) for n in graph) == len(model.params)
    per_step = (count[20] - count[10]) / 10
    assert abs(count[40] - count[20] - 20 * per_step) <= 4  # a tree of concats has a few more


def test_ten_thousand_steps() -> None:
    model = build(SEQUENCE, D=1, H=1)
    value, grads = model.value_and_grad(x=np.zeros((10_000, 1, 1)), engine="tape")
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in grads.values())


def test_flip_stride_and_floor() -> None:
    model = parse("""
cell Strides(D):
  input x[t]: D = 7
  time u: len(t)//2
  flipped[t] = x[len(t)-1-t]
  pair[u] = x[2*u+1] - x[2*u]
  spread[t] = x[t//2]
  third[t] = x[2]
  final[t] = last(x)
  output flipped, pair, spread, third, final
""").build(D=1, dtype="float64")
    x = np.arange(1.0, 13.0).reshape(6, 2, 1)
    lengths = [5, 2]
    run = model(x=x, lengths=lengths, engine="tape")
    for i, n in enumerate(lengths):
        s = x[:n, i]
        np.testing.assert_array_equal(run.flipped.numpy()[:n, i], s[::-1])
        np.testing.assert_array_equal(run.pair.numpy()[: n // 2, i], s[1::2] - s[: n // 2 * 2 : 2])
        np.testing.assert_array_equal(run.spread.numpy()[:n, i], [s[t // 2] for t in range(n)])
        np.testing.assert_array_equal(run.third.numpy()[:n, i], np.broadcast_to(s[2] if n > 2 else [7.0], (n, 1)))
        np.testing.assert_array_equal(run.final.numpy()[:n, i], np.broadcast_to(s[-1], (n, 1)))


EMPTY = """
cell Empty(D):
  input x[t]: D = 3
  time u: len(t)//2
  z[u] = x[2*u]
  a = sum[u](z[u])
  m = {reduction}[u](z[u])
  output a, m
"""


def test_empty_axis_sums_to_zero_and_has_no_mean(engine: str) -> None:
    x = np.ones((3, 2, 1))
    run = parse(EMPTY.format(reduction="sum")).build(D=1)(x=x, lengths=[1, 3], engine=engine)
    assert run.a.numpy().tolist() == [[0.0], [1.0]]
    for reduction in ("mean", "max"):
        with pytest.raises(ValueError, match=rf"{reduction}\[u\] of sequence 0, which has no steps on u"):
            parse(EMPTY.format(reduction=reduction)).build(D=1)(x=x, lengths=[1, 3], engine=engine)
    with pytest.raises(ValueError, match=r"mean\[t\] of sequence 1, which has no steps on t"):
        build(SEQUENCE, D=2, H=3).value_and_grad(np.ones((3, 2, 2)), lengths=[3, 0], engine=engine)


def test_attention_over_a_second_axis() -> None:
    rng = np.random.default_rng(8)
    model = load("Translate").build(K_in=5, K=4, H=3, A=2, dtype="float64")
    x = [rng.integers(0, 5, n) for n in (4, 1, 3)]
    y = [rng.integers(0, 4, n) for n in (2, 5, 3)]
    value, grads = model.value_and_grad(x=x, y=y, engine="tape")
    alone = [model.value_and_grad(x=a, y=b, engine="tape") for a, b in zip(x, y, strict=True)]
    assert value == pytest.approx(np.mean([v for v, _ in alone]), rel=1e-12)
    for name, g in grads.items():
        np.testing.assert_allclose(g, np.mean([s[name] for _, s in alone], axis=0), rtol=1e-9, atol=1e-12)
    weights = model(x=x, y=y, engine="tape").a.numpy()
    for b, (n, m) in enumerate(zip(map(len, x), map(len, y), strict=True)):
        np.testing.assert_allclose(weights[:m, :n, b].sum(axis=1), 1)
        assert not weights[m:, :, b].any() and not weights[:, n:, b].any()


def test_float32_stays_float32() -> None:
    model = build(KINDS, dtype="float32", D=2, H=2)
    rng = np.random.default_rng(0)
    run = model(x=rng.normal(size=(3, 2, 2)), start=rng.normal(size=(2, 2)), engine="tape")
    assert {run.value(n).dtype for n in ("h", "b", "a", "m", "s", "nll")} == {np.dtype("float32")}
