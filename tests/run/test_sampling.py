"""Drawn reals: densities that are densities, samples that follow them, fed back as in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from dsl.run.model import Model
from dsl.spec import parse
from tests.run.cells import build

PEN = """
cell Pen(H, M):                       # Graves 2013 without its window: where the pen goes, stroke by stroke
  state p[t]: 3 = 0
  state h[t]: H = 0
  param A, B, C, E, F, G: (M, H) ~ glorot
  param V, W ~ glorot
  param q: H ~ glorot
  param a, b, c, e, f, g: M ~ normal
  h[t] = tanh(V@p[t-1] + W@h[t-1])
  p[t] ~ mdn2d(weights = softmax(A@h[t] + a), mean_x = B@h[t] + b, mean_y = C@h[t] + c, std_x = exp(E@h[t] + 0.3*e), \\
    std_y = exp(F@h[t] + 0.3*f), correlation = tanh(G@h[t] + g), end = q@h[t] - 1)
  loss nll = -sum[t](logprob(p[t]))
"""
SERIES = """
cell Series(D, H):                    # an autoregressive series with a stop
  input x: D
  state y[t]: D = 0
  state e[t]: scalar = 0
  state h[t]: H = 0
  param V, W, U, R, S ~ glorot
  param q: H ~ glorot
  param s: D = 0
  h[t] = tanh(V@y[t-1] + W@h[t-1] + S@x)
  y[t] ~ normal(mean = U@h[t], std = exp(0.3*(R@h[t]) + s))
  e[t] ~ bernoulli(logits = q@h[t] - 1 + y[t]@s)
  loss nll = -sum[t](logprob(y[t]) + logprob(e[t]))
"""
MIXTURE = {
    "weights": np.array([0.2, 0.5, 0.3]),
    "mean_x": np.array([-1.0, 0.5, 2.0]),
    "mean_y": np.array([0.0, 1.0, -1.0]),
    "std_x": np.array([0.4, 0.8, 0.5]),
    "std_y": np.array([0.5, 0.3, 1.0]),
    "correlation": np.array([0.9, -0.5, 0.0]),
    "end": np.array(-0.7),
}


def sample(distribution: str, parameters: dict[str, Any], n: int, shape: tuple[int, ...] = (), **options: Any) -> Any:
    """Draws from a distribution with these parameters, each of a sequence of its own."""
    types = {k: f"{np.size(v)}" if np.ndim(v) else "scalar" for k, v in parameters.items()}
    kind = "one_hot " + types["logits"] if distribution == "categorical" else shape[0] if shape else "scalar"
    inputs = "\n".join(f"  input {k}: {t}" for k, t in types.items())
    start = "none" if distribution == "categorical" else 0
    given = ", ".join(f"{k} = {k}" for k in parameters)
    text = f"cell One():\n{inputs}\n  state y: {kind} = {start}\n  y ~ {distribution}({given})\n"
    rows = {k: np.broadcast_to(v, (n, *np.shape(v))) for k, v in parameters.items()}
    return parse(text).build(dtype="float64").generate(seed=3, batch=n, **rows, **options)


def sharpened(model: Model, scale: float = 0.7) -> Model:
    rng = np.random.default_rng(5)
    for name, tensor in model.params.items():
        model.params[name] = rng.normal(size=tensor.shape) * scale
    return model


@pytest.fixture(scope="module")
def pen() -> Model:
    return sharpened(build(PEN, H=4, M=3))


@pytest.fixture(scope="module")
def series() -> Model:
    return sharpened(build(SERIES, D=2, H=4))


# ---------------------------------------------------------------- densities


def test_mdn2d_is_a_density(pen: Model) -> None:
    """Over the plane and both pen states it integrates to 1: the trapezoidal rule, exact for what decays so fast."""
    axis = np.arange(-14, 14, 0.1)
    dx, dy = (g.reshape(-1) for g in np.meshgrid(axis, axis))
    total = 0.0
    for up in (0.0, 1.0):
        points = np.stack([dx, dy, np.full_like(dx, up)], axis=-1)[None]
        total += float(np.exp(-pen(p=points, engine="tape").each["nll"].numpy()).sum()) * 0.01
    assert total == pytest.approx(1, abs=1e-6)


def test_mdn2d_is_the_textbooks(pen: Model) -> None:
    """Against SciPy's bivariate normals, at every step of a sequence."""
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.normal(size=(5, 2)), rng.integers(0, 2, (5, 1))], axis=1)
    run = pen(p=p, engine="tape")
    w = {n: pen.params[n].numpy() for n in pen.params}
    for t, h in enumerate(run.h.numpy()):
        z = w["A"] @ h + w["a"]
        weights = np.exp(z) / np.exp(z).sum()
        mean = np.stack([w["B"] @ h + w["b"], w["C"] @ h + w["c"]], axis=1)
        sx, sy = np.exp(w["E"] @ h + 0.3 * w["e"]), np.exp(w["F"] @ h + 0.3 * w["f"])
        r = np.tanh(w["G"] @ h + w["g"])
        density = sum(
            weights[k]
            * stats.multivariate_normal(
                mean[k], [[sx[k] ** 2, r[k] * sx[k] * sy[k]], [r[k] * sx[k] * sy[k], sy[k] ** 2]]
            ).pdf(p[t, :2])
            for k in range(3)
        )
        up = 1 / (1 + np.exp(1 - w["q"] @ h))
        expected = np.log(density) + np.log(up if p[t, 2] else 1 - up)
        assert run.steps["nll"].numpy()[t] == pytest.approx(-expected, rel=1e-10)


def test_normal_and_bernoulli_are_densities(series: Model) -> None:
    axis = np.arange(-12, 12, 0.1)
    u, v = (g.reshape(-1) for g in np.meshgrid(axis, axis))
    y = np.stack([u, v], axis=-1)[None]
    x, total = np.zeros((y.shape[1], 2)), 0.0
    for stop in (0.0, 1.0):
        e = np.full((1, y.shape[1]), stop)
        total += float(np.exp(-series(x=x, y=y, e=e, engine="tape").each["nll"].numpy()).sum()) * 0.01
    assert total == pytest.approx(1, abs=1e-6)


# ---------------------------------------------------------------- samples


def test_mixture_moments() -> None:
    n = 200_000
    drawn = sample("mdn2d", MIXTURE, n, (3,))
    m, w = MIXTURE, MIXTURE["weights"]
    mean = np.array([(w * m["mean_x"]).sum(), (w * m["mean_y"]).sum()])
    xx = (w * (m["std_x"] ** 2 + m["mean_x"] ** 2)).sum() - mean[0] ** 2
    yy = (w * (m["std_y"] ** 2 + m["mean_y"] ** 2)).sum() - mean[1] ** 2
    xy = (w * (m["correlation"] * m["std_x"] * m["std_y"] + m["mean_x"] * m["mean_y"])).sum() - mean.prod()
    np.testing.assert_allclose(drawn[:, :2].mean(0), mean, atol=0.012)
    np.testing.assert_allclose(np.cov(drawn[:, :2].T), [[xx, xy], [xy, yy]], atol=0.02)
    assert set(np.unique(drawn[:, 2])) == {0.0, 1.0}
    assert drawn[:, 2].mean() == pytest.approx(1 / (1 + np.exp(0.7)), abs=0.005)


def test_temperature_and_bias() -> None:
    n = 50_000
    normal = {"mean": np.array([1.0, -2.0]), "std": np.array(0.5)}
    for options, deviation in (({}, 0.5), ({"temperature": 0.25}, 0.25), ({"bias": 1.0}, 0.5 / np.e)):
        drawn = sample("normal", normal, n, (2,), **options)
        np.testing.assert_allclose(drawn.mean(0), [1, -2], atol=0.015)
        np.testing.assert_allclose(drawn.std(0), deviation, rtol=0.02)
    np.testing.assert_array_equal(sample("normal", normal, 2, (2,), temperature=0.0), [[1, -2]] * 2)
    coin = {"logits": np.array([0.8, -0.3])}
    drawn = sample("bernoulli", coin, n, (2,), temperature=0.5)
    np.testing.assert_allclose(drawn.mean(0), 1 / (1 + np.exp([-1.6, 0.6])), atol=0.01)
    np.testing.assert_array_equal(sample("bernoulli", coin, 1, (2,), temperature=0.0), [[1, 0]])
    np.testing.assert_array_equal(sample("mdn2d", MIXTURE, 1, (3,), temperature=0.0), [[0.5, 1.0, 0.0]])
    biased = sample("mdn2d", MIXTURE, n, (3,), bias=5.0)  # Graves: near the means, the heaviest preferred
    near = np.hypot(biased[:, 0] - 0.5, biased[:, 1] - 1.0) < 0.05
    assert near.mean() == pytest.approx(0.5**6 / (0.2**6 + 0.5**6 + 0.3**6), abs=0.005)


def test_a_component_of_weight_0_is_never_drawn() -> None:
    drawn = sample("mdn2d", {**MIXTURE, "weights": np.array([1.0, 0.0, 0.0])}, 5000, (3,))
    assert drawn[:, 0].max() < 1.5


def test_what_is_drawn_is_fed_back(series: Model, engine: str) -> None:
    """By the densities of a teacher-forced run over them, the draws are standard normal and independent."""
    n = 400
    x = np.random.default_rng(0).normal(size=(n, 2))
    out = series.generate(8, x=x, seed=1, engine=engine)
    assert out["y"].shape == (8, n, 2) and out["e"].shape == (8, n)
    run = series(x=x, **out, engine="tape")
    p = {k: series.params[k].numpy() for k in series.params}
    h = run.h.numpy()
    z = ((out["y"] - h @ p["U"].T) / np.exp(0.3 * (h @ p["R"].T) + p["s"])).reshape(-1)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    up = 1 / (1 + np.exp(-(h @ p["q"] - 1 + out["y"] @ p["s"])))
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 1)):
        here = (low <= up) & (up < high)
        spread = np.sqrt((up * (1 - up))[here].sum())
        assert abs((out["e"] - up)[here].sum()) < 4.5 * spread


def test_the_engines_draw_alike(pen: Model) -> None:
    a, b = (pen.generate(12, seed=2, batch=3, bias=0.5, engine=e) for e in ("tape", "compiled"))
    assert a.shape == (12, 3, 3)
    np.testing.assert_allclose(a, b, atol=1e-9)
    assert not np.allclose(a[:, 0], a[:, 1])


def test_primes_of_numbers(pen: Model) -> None:
    prime = np.array([[0.5, 1.0, 0.0], [2.0, -1.0, 1.0]])
    drawn = pen.generate(3, prime=prime, temperature=0, engine="tape")
    np.testing.assert_array_equal(drawn[:2], prime)
    run = pen(p=drawn, engine="tape")
    w = {n: pen.params[n].numpy() for n in pen.params}
    for t in range(2, 5):
        h = run.h.numpy()[t]
        k = int(np.argmax(w["A"] @ h + w["a"]))
        mean = [(w["B"] @ h + w["b"])[k], (w["C"] @ h + w["c"])[k], float(w["q"] @ h > 1)]
        np.testing.assert_allclose(drawn[t], mean, atol=1e-12)
    both = pen.generate(2, prime=np.stack([prime, 2 * prime], axis=1), seed=0, engine="tape")
    assert both.shape == (4, 2, 3)
    with pytest.raises(ValueError, match=r"prime: expected numbers \(P, 3\) or \(P, B, 3\), given float64 \(2, 2\)"):
        pen.generate(3, prime=prime[:, :2], engine="tape")
    with pytest.raises(ValueError, match="prime: expected finite numbers of p"):
        pen.generate(3, prime=prime * np.nan, engine="tape")


def test_a_stop_ends_its_sequence(series: Model) -> None:
    x = np.zeros((20, 2))
    out = series.generate(30, x=x, seed=4, until={"e": 1}, engine="tape")
    stops = 0
    for b in range(20):
        ends = np.flatnonzero(out["e"][:, b])
        stops += len(ends)
        if len(ends):
            assert len(ends) == 1 and not out["y"][ends[0] + 1 :, b].any() and out["y"][: ends[0] + 1, b].all()
    assert stops > 10
    with pytest.raises(ValueError, match="until: expected an end of y or e, given"):
        series.generate(3, x=x, until={"z": 1}, engine="tape")
    with pytest.raises(ValueError, match="until: expected one number a step"):
        series.generate(3, x=x, until=1.0, engine="tape")


def test_options_that_say_nothing_here(series: Model) -> None:
    from tests.run.cells import LETTERS

    with pytest.raises(ValueError, match="bias: it narrows normal and mdn2d; Letters draws neither"):
        build(LETTERS, K=3, H=2).generate(3, bias=1.0)
    with pytest.raises(ValueError, match="bias: expected 0 or more, given -1"):
        series.generate(3, x=np.zeros(2), bias=-1)
