"""The smallest and the strangest data a cell can be given: sequences without steps on one axis or two, one step, one
feature, one category, lags longer than the sequence or than the chunk it is carried on in, NaN wherever no step is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import dsl
from tests.differential.check import check
from tests.differential.generator import Case

EDGE = """cell Edge(D, H, K, k=4):
  input q[s]: D = 0
  state y[t]: one_hot K = none
  state d[t]: H = last(e)
  state e[s]: H = c
  param c: H = 0.3
  param W_e, W_d, W_k, W_y, V, U ~ glorot
  param v: H = 1
  param W_o: (K, H) ~ glorot
  time u: len(s)//2
  e[s] = tanh(V@q[s] + W_e@e[s-1] + 0.1*e[s-k])
  z[u] = e[2*u]*e[2*u+1]
  a[t,s] = v@tanh(W_d@d[t-1] + U@e[s])
  ctx[t] = sum[s](exp(a[t,s])*e[s]) + sum[u](z[u])
  d[t] = tanh(W_y@y[t-1] + ctx[t] + W_k@d[t-k] + d[t-1])
  y[t] ~ categorical(logits = W_o@d[t])
  loss cost = -sum[t](logprob(y[t])) + sum[s](v@e[s])
  output d
"""
SIZES = {"D": 2, "H": 3, "K": 3}
ONE = {"D": 1, "H": 1, "K": 1}
LENGTHS = [
    ([3, 2], [2, 4]),
    ([1, 0], [1, 0]),
    ([0, 2], [3, 0]),
    ([0, 0], [0, 0]),
    ([0], [1]),
    ([1], [0]),
    ([3, 1, 0], [0, 1, 2]),
    ([9, 1], [9, 0]),
]


def readings(lengths):
    return {"t": lengths[0], "s": lengths[1]}


@pytest.mark.parametrize("arguments", [SIZES, ONE], ids=["sizes", "ones"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_two_ragged_axes_with_and_without_steps(lengths, arguments):
    check(Case(1, EDGE, arguments, readings(lengths)), ("adjoint", "printed"))


def data(lengths, sizes, seed=0):
    """Arrays with NaN and an impossible category behind each sequence's end."""
    rng, (t, s) = np.random.default_rng(seed), lengths
    q, y = np.full((max(s), len(s), sizes["D"]), np.nan), np.full((max(t), len(t)), 999)
    for b in range(len(t)):
        q[: s[b], b] = rng.normal(size=(s[b], sizes["D"]))
        y[: t[b], b] = rng.integers(0, sizes["K"], t[b])
    return {"q": q, "y": y, "lengths": {"t": t, "s": s}}


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-9), ("float32", 2e-4)])
def test_both_engines_on_every_edge(dtype, close):
    model = dsl.parse(EDGE).build(**SIZES, dtype=dtype, seed=1)
    for lengths in LENGTHS:
        given = data(lengths, SIZES)
        results = [model.value_and_grad(**given, loss="cost", engine=engine) for engine in ("tape", "compiled")]
        (loss, grads), (other, others) = results
        np.testing.assert_allclose(float(other), float(loss), rtol=close, err_msg=str(lengths))
        for name in grads:
            left, right = np.asarray(grads[name]), np.asarray(others[name])
            assert left.dtype == right.dtype == dtype
            np.testing.assert_allclose(right, left, rtol=close, atol=close, err_msg=f"{name} {lengths}")


LAGGING = """
cell Lagging(D, H, k=7):
  input x[t]: D = 0.5
  noise n[t]: H ~ dropout(0.25)
  state h[t], g[t]: H = c
  param c: H = 0.3
  param V, W ~ glorot
  h[t] = tanh(V@x[t] + W@(n[t]*h[t-1]) + g[t-k] + V@x[t-2])
  g[t] = sin(h[t-k] + g[t-1] + 0.1*t)
  output h, g
  loss cost = sum[t](sum(h[t]*g[t]))
"""


@pytest.mark.parametrize("engine", ["tape", pytest.param("compiled", marks=pytest.mark.slow)])
@pytest.mark.parametrize("cuts", [(1, 2, 3), (4,), (6, 7), (1, 2, 3, 4, 5, 6, 7, 8, 9)], ids=str)
def test_lags_longer_than_the_chunk_are_carried_on(cuts, engine):
    """Chunks of one step, lag 7, noise, and a sequence that ends in the first chunk, in the middle, never."""
    model = dsl.parse(LAGGING).build(D=2, H=3, dtype="float64", seed=2)
    x = np.random.default_rng(3).normal(size=(10, 4, 2))
    steps = np.array([10, 1, 5, 0])
    whole = model(x=x, lengths=steps, train=True, seed=4, engine=engine)
    state, parts = None, []
    for start, stop in zip((0, *cuts), (*cuts, 10), strict=True):
        here = np.clip(steps - start, 0, stop - start)
        part = model(x=x[start:stop], lengths=here, state=state, train=True, seed=4, engine=engine)
        parts.append(part)
        state = part.state
    for name in ("h", "g"):
        joined = np.concatenate([p[name].numpy() for p in parts])
        np.testing.assert_allclose(joined, whole[name].numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(sum(p.each["cost"].numpy() for p in parts), whole.each["cost"].numpy(), rtol=1e-10)
    np.testing.assert_array_equal(state.clock["t"], steps)


def test_a_lag_longer_than_every_sequence_reads_the_boundary_only():
    text = EDGE.replace("k=4", "k=40")
    check(Case(2, text, SIZES, {"t": [3, 1], "s": [2, 4]}), ("adjoint", "printed"))


@pytest.mark.parametrize("tied", [False, True])
def test_extremes_over_an_axis(tied):
    """Maxima and minima per feature and over all, of one step and of several, with and without ties."""
    text = """cell Extremes(D):
  input x[t]: D
  param W: (D, D) ~ glorot
  h[t] = W@x[t]
  m = max[t](h[t])*min[t](x[t])
  z[t] = maximum(h[t], x[t])*max(x[t]) + minimum(x[t], 0)*min(h[t])
  n = min[t](max(h[t])) + max[t](min(x[t]))
  loss cost = sum(m) + n + mean[t](sum(z[t]))
"""
    for steps in ([1], [3, 1], [5, 5, 2]):
        check(Case(5, text, {"D": 3}, {"t": steps}, tied=tied), ("adjoint", "printed"))


def test_an_empty_batch_is_said_to_be_one():
    model = dsl.parse(EDGE).build(**SIZES)
    with pytest.raises(ValueError, match="no sequence"):
        model(q=np.zeros((2, 0, 2)), y=np.zeros((3, 0), int))


def test_what_padding_holds_never_matters():
    """The same numbers bit for bit, whatever lies behind the ends."""
    model = dsl.parse(EDGE).build(**SIZES, dtype="float64", seed=1)
    given = data(LENGTHS[0], SIZES)
    again = {**given, "q": np.nan_to_num(given["q"], nan=1e30), "y": np.where(given["y"] == 999, 0, given["y"])}
    (loss, grads), (other, others) = (model.value_and_grad(**d, loss="cost", engine="tape") for d in (given, again))
    assert float(loss) == float(other)
    for name in grads:
        np.testing.assert_array_equal(np.asarray(grads[name]), np.asarray(others[name]))


COMPLEX = """
cell Turn(D):
  input x[t]: complex D = 0
  input c: complex D
  param V: complex (D, D) ~ uniform(-1, 1)
  state g[t]: complex D = c
  g[t] = V@x[t] + 0.5*conj(g[t-1])*x[t-1]
  output g
  loss cost = sum[t](sum(abs(g[t])))
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_complex_data_keeps_its_width(dtype):
    """Fed as arrays or as a list of sequences; too much for a real stream."""
    model = dsl.parse(COMPLEX).build(D=3, dtype=dtype, seed=1)
    rng = np.random.default_rng(0)
    x, c = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((4, 2, 3), (2, 3)))
    one = model(x=x, c=c, lengths=[4, 2], engine="tape").g.numpy()
    other = model(x=[x[:, 0], x[:2, 1]], c=c, engine="tape").g.numpy()
    assert one.dtype == other.dtype == np.result_type(dtype, np.complex64)
    np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="x: expected .* numbers, given complex128"):
        dsl.parse(COMPLEX.replace("complex D = 0", "D = 0")).build(D=3)(x=x, c=c)


def test_a_case_is_a_pure_function_of_its_file():
    case = Case(1, EDGE, SIZES, {"t": [2, 1], "s": [1, 3]})
    assert check(case, ()).inputs["q"].tobytes() == check(dataclasses.replace(case), ()).inputs["q"].tobytes()


def test_a_size_made_of_other_arguments_can_still_be_given():
    spec = dsl.parse("cell Wide(D, H=2*D):\n  input x[t]: D\n  param W: (H, D) ~ glorot\n  y[t] = W@x[t]\n")
    for given, rows in (({"D": 3}, 6), ({"D": 3, "H": 4}, 4), ({"like": {"x": np.zeros((5, 3))}}, 6)):
        assert spec.build(**given).params["W"].shape == (rows, 3)
    with pytest.raises(dsl.CellError, match="`H` is no size"):
        _ = dsl.parse("cell Wide(D, H=2*Q):\n  input x[t]: D\n  y[t] = x[t]\n").system
