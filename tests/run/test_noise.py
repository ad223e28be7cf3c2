"""Noise: one value for a seed, stream, sequence, step and unit, however it is asked for."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
from dsl.run.model import Model
from dsl.run.noise import fresh, quiet, values
from dsl.spec import parse
from dsl.system.system import Initializer, Stream
from tests.run.cells import build
from tinygrad_seq.loops import load as loop
from tinygrad_seq.optim import SGD

ZONEOUT = """
cell Zoneout(D, H, p=0.3):            # Krueger et al. 2017; variational dropout (Gal and Ghahramani 2016) on the input
  input x[t]: D
  state h[t]: H = 0
  noise m: D ~ dropout(p)
  noise d[t]: D ~ dropout(p)
  noise k[t]: H ~ bernoulli(p)
  param V, W ~ glorot
  n[t] = tanh(V@(m*d[t]*x[t]) + W@h[t-1])
  h[t] = k[t]*h[t-1] + (1 - k[t])*n[t]
  output h
  loss e = mean[t](sum(h[t]*h[t]))
"""
WEIGHTS = """
cell Noisy(K, H):                     # every kind; on the weights' products, before the softmax, alone on an axis
  state y[t]: one_hot K = none
  state h[t]: H = 0
  noise a[t]: H ~ normal(0, 0.3)
  noise u: scalar ~ uniform(0.5, 1.5)
  param V, W, U ~ glorot
  h[t] = tanh(V@y[t-1] + u*(W@h[t-1]) + a[t])
  y[t] ~ categorical(logits = U@h[t])
  loss nll = -mean[t](logprob(y[t]))
"""
TWO_AXES = """
cell Blur(D):
  input x[s]: D
  input z[t]: D
  noise g[t,s]: scalar ~ dropout(0.5)
  e[t,s] = g[t,s]*sum(x[s]*z[t])
  a[t,s] = softmax[s](e[t,s])
  y[t] = sum[s](a[t,s]*x[s])
  output y
  loss l = sum[t](sum(y[t]*y[t]))
"""
LENGTHS = [6, 4, 1]


@pytest.fixture(scope="module")
def zoneout() -> Model:
    return build(ZONEOUT, D=3, H=5)


@pytest.fixture(scope="module")
def x() -> Any:
    return np.random.default_rng(1).normal(size=(6, 3, 3))


def noise(kind: str, *numbers: float, axes: tuple[str, ...] = ("t",), units: int = 1000) -> Stream:
    from dsl.system.dims import Dim

    return Stream("m", "noise", axes, (Dim.of(units),), initializer=Initializer(kind, numbers))


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """kat_vectors of the authors' Random123."""
    words = loop("philox").words(*(np.uint64(w) for w in (*counter, *key)))
    assert tuple(int(w) for w in words) == expected


MOMENTS = {  # mean, variance, fourth central moment over variance squared
    "dropout": ((0.25,), 1.0, 1 / 3),
    "bernoulli": ((0.3,), 0.3, 0.21),
    "normal": ((1.5, 2.0), 1.5, 4.0),
    "uniform": ((-1.0, 3.0), 1.0, 16 / 12),
}


@pytest.mark.parametrize("kind", MOMENTS)
def test_moments_and_independence(kind: str) -> None:
    numbers, mean, variance = MOMENTS[kind]
    v = values(noise(kind, *numbers), {"t": 20}, 10, seed=4)
    assert v.shape == (20, 10, 1000)
    assert v.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / v.size))
    assert v.var() == pytest.approx(variance, rel=0.03)
    centred = (v - mean) / np.sqrt(variance)
    for other in (centred[1:] * centred[:-1], centred[:, 1:] * centred[:, :-1], centred[..., 1:] * centred[..., :-1]):
        assert abs(other.mean()) < 5 / np.sqrt(other.size)  # neighbours in time, batch and units
    assert np.unique(values(noise("uniform", 0.0, 1.0), {"t": 20}, 10, seed=4)).size > 199_990


def test_a_value_belongs_to_its_place() -> None:
    """Not to the batch, the number of steps or the chunk it was made in."""
    stream = noise("uniform", 0.0, 1.0, units=7)
    whole = values(stream, {"t": 9}, 4, seed=1)
    np.testing.assert_array_equal(values(stream, {"t": 5}, 2, seed=1), whole[:5, :2])
    late = values(stream, {"t": 3}, 4, seed=1, clock={"t": np.array([0, 2, 5, 6])})
    for b, start in enumerate([0, 2, 5, 6]):
        np.testing.assert_array_equal(late[:, b], whole[start : start + 3, b])
    assert not (values(stream, {"t": 9}, 4, seed=2) == whole).any()
    grid = values(noise("uniform", 0.0, 1.0, axes=("t", "s"), units=3), {"t": 4, "s": 5}, 2, seed=1)
    assert np.unique(grid).size == grid.size == 120
    np.testing.assert_array_equal(
        values(noise("uniform", 0.0, 1.0, axes=("t", "s"), units=3), {"t": 2, "s": 6}, 2, seed=1)[:, :5], grid[:2]
    )


def test_quick() -> None:
    stream = noise("dropout", 0.1, units=128)
    values(stream, {"t": 1}, 1, seed=0, dtype=np.float32)
    best = min(_timed(lambda: values(stream, {"t": 50}, 64, seed=0, dtype=np.float32)) for _ in range(5))
    assert best < 0.03  # 410,000 numbers; one tenth of it on a quiet machine


def _timed(call: Any) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


# ---------------------------------------------------------------- runs


def test_the_engines_see_one_noise(zoneout: Model, x: Any) -> None:
    a, b = (zoneout(x, lengths=LENGTHS, train=True, seed=7, engine=e) for e in ("tape", "compiled"))
    np.testing.assert_allclose(a.h.numpy(), b.h.numpy(), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(a.k.numpy(), b.k.numpy())
    again, other = (zoneout(x, lengths=LENGTHS, train=True, seed=s) for s in (7, 8))
    np.testing.assert_array_equal(b.h.numpy(), again.h.numpy())
    assert not np.array_equal(b.h.numpy(), other.h.numpy())
    assert again.seed == 7 and zoneout(x, lengths=LENGTHS).seed is None


def test_zoneout_by_hand(zoneout: Model, x: Any, engine: str) -> None:
    run = zoneout(x, train=True, seed=3, engine=engine)
    m, d, k = (run[n].numpy() for n in ("m", "d", "k"))
    assert m.shape == (3, 3) and d.shape == (6, 3, 3) and k.shape == (6, 3, 5)
    assert set(np.unique(k)) == {0.0, 1.0} and set(np.unique(d).round(12)) == {0.0, round(1 / 0.7, 12)}
    V, W = (zoneout.params[n].numpy() for n in "VW")
    h = np.zeros((3, 5))
    for t in range(6):
        n = np.tanh((m * d[t] * x[t]) @ V.T + h @ W.T)
        h = np.where(k[t] == 1, h, n)
        np.testing.assert_allclose(run.h.numpy()[t], h, atol=1e-14)


def test_outside_training_it_is_the_mean(zoneout: Model, x: Any, engine: str) -> None:
    V, W = (zoneout.params[n].numpy() for n in "VW")
    h = np.zeros((3, 5))
    for t in range(6):
        h = 0.3 * h + 0.7 * np.tanh(x[t] @ V.T + h @ W.T)
    for seed in (None, 5):  # a seed alone switches nothing on
        np.testing.assert_allclose(zoneout(x, seed=seed, engine=engine).h.numpy()[-1], h, atol=1e-14)
    assert not {"m", "d", "k"} & set(quiet(zoneout.system).streams)


def test_without_a_seed_every_call_has_its_own(x: Any) -> None:
    a, b = (build(ZONEOUT, D=3, H=5) for _ in range(2))
    first, second = (a(x, train=True) for _ in range(2))
    assert first.seed != second.seed and not np.array_equal(first.h.numpy(), second.h.numpy())
    np.testing.assert_array_equal(b(x, train=True).h.numpy(), first.h.numpy())  # equal models, equal calls
    np.testing.assert_array_equal(a(x, train=True, seed=first.seed).h.numpy(), first.h.numpy())
    np.testing.assert_array_equal(copy.deepcopy(a)(x, train=True).h.numpy(), a(x, train=True).h.numpy())


def test_gradients_against_differences(zoneout: Model, x: Any, engine: str) -> None:
    _differences(zoneout, {"x": x}, {"lengths": LENGTHS}, engine)


def test_gradients_of_every_kind(engine: str) -> None:
    y = np.random.default_rng(2).integers(0, 4, (6, 3))
    _differences(build(WEIGHTS, K=4, H=3), {"y": y}, {"lengths": LENGTHS}, engine)


def test_noise_on_two_axes(engine: str) -> None:
    rng = np.random.default_rng(2)
    model = build(TWO_AXES, D=2)
    data = {"x": rng.normal(size=(5, 2, 2)), "z": rng.normal(size=(4, 2, 2))}
    lengths = {"s": [5, 3], "t": [2, 4]}
    run = model(**data, lengths=lengths, train=True, seed=3, engine=engine)
    g = run.g.numpy()
    assert set(np.unique(g)) == {0.0, 2.0}
    for b in range(2):
        s, t = lengths["s"][b], lengths["t"][b]
        e = g[:t, :s, b] * (data["z"][:t, b] @ data["x"][:s, b].T)
        a = np.exp(e) / np.exp(e).sum(1, keepdims=True)
        np.testing.assert_allclose(run.y.numpy()[:t, b], a @ data["x"][:s, b], atol=1e-14)


def _differences(model: Model, data: dict[str, Any], options: dict[str, Any], engine: str) -> None:
    def loss() -> float:
        return float(model.value_and_grad(**data, **options, train=True, seed=9)[0])

    _, grads = model.value_and_grad(**data, **options, train=True, seed=9, engine=engine)
    rng, step = np.random.default_rng(0), 1e-6
    for name, g in grads.items():
        value, direction = model.params[name].numpy().copy(), rng.normal(size=g.shape)
        ends = []
        for sign in (1, -1):
            model.params[name] = value + sign * step * direction
            ends.append(loss())
        model.params[name] = value
        assert np.abs(g).sum() > 0
        assert float((g * direction).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-9)


def test_the_adjoint_takes_the_noise_as_input(zoneout: Model, x: Any, engine: str) -> None:
    spec = parse(ZONEOUT)
    adjoint = spec.adjoint(D=3, H=5)
    assert "input x[t], m, d[t]: D" in str(adjoint) and "noise" not in str(adjoint)
    assert "noise k[t]: H ~ bernoulli(0.3)" in str(spec.adjoint(joined=True))
    again = parse(str(adjoint))
    model = again.build(D=3, H=5, dtype="float64")
    for name in ("V", "W"):
        model.params[name] = zoneout.params[name].numpy()
    run = zoneout(x, train=True, seed=2)
    _, grads = zoneout.value_and_grad(x, train=True, seed=2)
    given = {n: run[n].numpy() for n in again.system.streams if n in spec.system.streams and n not in grads}
    given |= {adjoint.cotangents["e"]: np.full(3, 1 / 3), adjoint.cotangents["h"]: np.zeros((6, 3, 5))}
    back = model(**given, engine=engine)
    for name, g in grads.items():
        np.testing.assert_allclose(back[adjoint.gradients[name]].numpy(), g, atol=1e-13)


# ---------------------------------------------------------------- carrying on


def test_chunks_equal_the_whole(zoneout: Model, x: Any, engine: str) -> None:
    whole = zoneout(x, train=True, seed=5, engine=engine)
    first = zoneout(x[:2], train=True, seed=5, engine=engine)
    assert first.state.seed == 5
    rest = zoneout(x[2:], state=first.state, train=True, engine=engine)  # the state holds the key
    np.testing.assert_allclose(np.concatenate([first.h.numpy(), rest.h.numpy()]), whole.h.numpy(), atol=1e-14)
    np.testing.assert_array_equal(rest.m.numpy(), whole.m.numpy())
    np.testing.assert_array_equal(rest.k.numpy(), whole.k.numpy()[2:])


def test_ragged_chunks(zoneout: Model, x: Any) -> None:
    whole = zoneout(x, train=True, seed=5).h.numpy()
    cut = np.array([1, 3, 2])
    first = zoneout(x, lengths=cut, train=True, seed=5)
    moved = np.stack([x[c : c + 3, b] for b, c in enumerate(cut)], axis=1)
    rest = zoneout(moved, state=first.state, train=True).h.numpy()
    for b, c in enumerate(cut):
        np.testing.assert_allclose(rest[:, b], whole[c : c + 3, b], atol=1e-14)


TRAINED = ZONEOUT.replace("loss e = mean[t](sum(h[t]*h[t]))", "q[t] = h[t] - x[t]\n  loss e = mean[t](sum(q[t]*q[t]))")
TRAINED = TRAINED.replace("state h[t]: H", "state h[t]: D").replace("noise k[t]: H", "noise k[t]: D")
TRAINED = TRAINED.replace("(D, H, p=0.3)", "(D, p=0.3)")


def _train(out: Path, steps: int, engine: str, **options: Any) -> Model:
    model = build(TRAINED, D=3)
    x = np.random.default_rng(3).normal(size=(60, 3))
    optimizer = SGD(model.params, lr=0.1)
    model.fit(
        x=x, optimizer=optimizer, batch=2, chunk=5, steps=steps, out=out, progress=False, engine=engine, **options
    )
    return model


def test_training_resumes_with_the_same_noise(tmp_path: Path) -> None:
    straight = _train(tmp_path / "a", 9, "compiled", seed=4)
    _train(tmp_path / "b", 4, "compiled", seed=4)  # within the six chunks of the first pass
    resumed = _train(tmp_path / "b", 9, "compiled", seed=4, resume=True)
    for name in straight.params:
        np.testing.assert_array_equal(resumed.params[name].numpy(), straight.params[name].numpy())
    other = _train(tmp_path / "c", 9, "compiled", seed=5)
    assert not np.array_equal(other.params["W"].numpy(), straight.params["W"].numpy())


def test_training_is_one_on_both_engines(tmp_path: Path) -> None:
    a, b = (_train(tmp_path / e, 7, e) for e in ("tape", "compiled"))
    np.testing.assert_allclose(a.params["W"].numpy(), b.params["W"].numpy(), atol=1e-12)


def test_a_fit_keeps_a_sequences_mask_from_chunk_to_chunk(tmp_path: Path) -> None:
    """Variational dropout: one mask a sequence, also in truncated backpropagation through time."""
    seen: list[Any] = []
    model = build(TRAINED, D=3)
    original = model.stir

    def stir(data: Any, train: bool, seed: int | None, state: Any = None) -> None:
        original(data, train, seed, state)
        if train:
            seen.append((data.arrays["m"], data.arrays["k"], state is None))

    model.stir = stir  # type: ignore[method-assign]
    model.fit(x=np.random.default_rng(3).normal(size=(60, 3)), batch=2, chunk=5, steps=12, progress=False)
    starts = [k for k, (_, _, begins) in enumerate(seen) if begins]
    assert len(starts) == 2 and starts[0] == 0
    for k in range(1, 12):
        assert np.array_equal(seen[k][0], seen[k - 1][0]) == (k not in starts)
        assert not np.array_equal(seen[k][1], seen[k - 1][1])


# ---------------------------------------------------------------- the rest


def test_generation_uses_means(engine: str) -> None:
    model = build(WEIGHTS, K=4, H=3)
    y = model.generate(6, prime=[1, 2], greedy=True, engine=engine)
    plain = WEIGHTS.replace("u*(W@h[t-1]) + a[t]", "W@h[t-1]")
    plain = "\n".join(line for line in plain.splitlines() if "noise" not in line)
    other = build(plain, K=4, H=3)
    for name in model.params:
        other.params[name] = model.params[name].numpy()
    np.testing.assert_array_equal(y, other.generate(6, prime=[1, 2], greedy=True, engine="tape"))


def test_the_header_sets_the_rate(tmp_path: Path, x: Any) -> None:
    never = build(ZONEOUT, D=3, H=5, p=0.0)
    np.testing.assert_array_equal(never(x, train=True).h.numpy(), never(x).h.numpy())
    often = build(ZONEOUT, D=3, H=5, p=0.9)
    k = often(x, train=True, seed=0).k.numpy()
    assert 0.8 < k.mean() < 1
    restored = dsl.restore(often.save(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(restored(x, train=True, seed=0).k.numpy(), k)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2])
def test_a_rate_out_of_range_is_told_when_the_model_is_built(p: float) -> None:
    with pytest.raises(ValueError, match=r"noise m: dropout takes a probability in \[0, 1\), given"):
        build(ZONEOUT, D=3, H=5, p=p)


def test_seeds_of_many_calls_differ() -> None:
    assert len({fresh(s, k) for s in range(20) for k in range(200)}) == 4000


def test_the_joined_adjoint_draws_the_same(zoneout: Model, x: Any) -> None:
    """It keeps the noise lines, and equal names have equal noise: one seed, the same gradients."""
    joined = parse(str(parse(ZONEOUT).adjoint(joined=True)))
    model = joined.build(D=3, H=5, dtype="float64")
    for name in ("V", "W"):
        model.params[name] = zoneout.params[name].numpy()
    _, grads = zoneout.value_and_grad(x, train=True, seed=2)
    run = model(x=x, dh=np.zeros((6, 3, 5)), de=np.full(3, 1 / 3), train=True, seed=2, engine="tape")
    for name, g in grads.items():
        np.testing.assert_allclose(run[f"{name}_bar"].numpy(), g, atol=1e-13)


def test_derived_axes_and_reversed_copies() -> None:
    """Noise on an axis that is empty for a sequence; each copy has a noise of its own."""
    text = """
cell Drift(D):
  input x[t]: D
  noise k[t]: D ~ dropout(0.5)
  state h[t]: D = 0
  h[t] = 0.5*h[t-1] + k[t]*x[t]
cell Halves(D):
  input x[t]: D
  time u: len(t)//2
  noise g[u]: D ~ dropout(0.5)
  use a = Drift(x=x)
  use b = reverse Drift(x=x)
  z[u] = g[u]*(a[2*u] + b[2*u+1])
  output z
"""
    model = build(text, D=2)
    x = np.random.default_rng(0).normal(size=(7, 3, 2))
    lengths = [7, 1, 4]
    runs = [model(x, lengths=lengths, train=True, seed=1, engine=e) for e in ("tape", "compiled")]
    np.testing.assert_allclose(runs[0].z.numpy(), runs[1].z.numpy(), atol=1e-14)
    k = {n: runs[0][f"{n}.k"].numpy() for n in "ab"}
    assert not np.array_equal(k["a"], k["b"])
    for b, n in enumerate(lengths):
        forth, back = np.zeros((n + 1, 2)), np.zeros((n + 1, 2))
        for t in range(n):
            forth[t + 1] = 0.5 * forth[t] + k["a"][t, b] * x[t, b]
            back[t + 1] = 0.5 * back[t] + k["b"][n - 1 - t, b] * x[n - 1 - t, b]  # named by the outer time, like b.h
        for u in range(n // 2):
            expected = runs[0].g.numpy()[u, b] * (forth[2 * u + 1] + back[n - (2 * u + 1)])
            np.testing.assert_allclose(runs[0].z.numpy()[u, b], expected, atol=1e-14)
