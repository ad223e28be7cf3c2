"""Beam search against enumeration."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from dsl.run.beam import search
from dsl.run.model import Model
from dsl.spec import load
from tests.run.cells import LETTERS, build
from tests.run.test_sampling import SERIES


def _sharp(model: Model, seed: int, scale: float = 1.5) -> Model:
    rng = np.random.default_rng(seed)
    for name, tensor in model.params.items():
        model.params[name] = rng.normal(size=tensor.shape) * scale
    return model


@pytest.fixture(scope="module")
def letters() -> Model:
    return _sharp(build(LETTERS, K=3, H=4), 5)


@pytest.fixture(scope="module")
def translate() -> Model:
    return _sharp(load("Translate").build(K_in=5, K=3, H=5, A=3, dtype="float64"), 1)


def _log_probability(model: Model, y: Any, **data: Any) -> Any:
    """(B,) of sequences (T, B)."""
    return -len(y) * model(y=y, engine="tape", **data).each["nll"].numpy()


def test_a_wide_beam_is_exact(letters: Model, engine: str) -> None:
    every = np.array(list(itertools.product(range(3), repeat=4))).T
    p = _log_probability(letters, every)
    best = every[:, np.argmax(p)]
    np.testing.assert_array_equal(letters.generate(4, beam=81, engine=engine), best)
    data = letters.arranged((), {}, None, None, 1)
    found = search(letters, data, {"y": np.zeros((0, 1), np.int64)}, 4, 81, None, engine)
    np.testing.assert_allclose(found.log_probability[0], np.sort(p)[::-1], atol=1e-12)
    np.testing.assert_array_equal(found.ids[:, 0], every[:, np.argsort(-p)])


def test_a_beam_of_one_is_greedy(letters: Model, engine: str) -> None:
    greedy = letters.generate(10, prime=[1], greedy=True, engine=engine)
    np.testing.assert_array_equal(letters.generate(10, prime=[1], beam=1, engine=engine), greedy)


def test_wider_finds_likelier() -> None:
    better = 0
    for seed in range(8):
        model = _sharp(build(LETTERS, K=4, H=4), seed, 1.0)
        one, five = (model.generate(8, beam=k, engine="tape") for k in (1, 5))
        p, q = _log_probability(model, np.stack([one, five], axis=1))
        assert q >= p - 1e-12
        better += q > p + 1e-9
    assert better


def test_an_end_stops_a_hypothesis(letters: Model) -> None:
    """The likeliest of all strings that end at the first 2 or have six symbols."""
    stopped: dict[tuple[int, ...], float] = {}
    for n in range(1, 7):
        every = np.array(
            [s for s in itertools.product(range(3), repeat=n) if 2 not in s[:-1] and (n == 6 or s[-1] == 2)]
        )
        for s, p in zip(every, _log_probability(letters, every.T), strict=True):
            stopped[tuple(int(k) for k in s)] = float(p)
    assert sum(map(np.exp, stopped.values())) == pytest.approx(1, abs=1e-12)
    best = max(stopped, key=lambda s: stopped[s])
    found = letters.generate(6, beam=200, until=2, engine="tape")
    assert tuple(found[found >= 0].tolist()) == best


def test_conditional_sequences_search_alone(translate: Model, engine: str) -> None:
    rng = np.random.default_rng(1)
    x = [rng.integers(0, 5, n) for n in (5, 2, 3)]
    found = translate.generate(3, x=x, beam=27, engine=engine)
    every = np.array(list(itertools.product(range(3), repeat=3))).T
    for b, own in enumerate(x):
        np.testing.assert_array_equal(translate.generate(3, x=own, beam=27, engine="tape"), found[:, b])
        p = [float(_log_probability(translate, every[:, [k]], x=own[:, None])[0]) for k in range(27)]
        np.testing.assert_array_equal(found[:, b], every[:, int(np.argmax(p))])


def test_text(letters: Model) -> None:
    letters.symbols = tuple("abc")
    try:
        assert letters.generate(4, prime="b", beam=3, until="c", engine="tape").startswith("b")
    finally:
        letters.symbols = None


def test_what_cannot_be_searched(letters: Model) -> None:
    with pytest.raises(
        ValueError, match="beam: Series draws y ~ normal, e ~ bernoulli; a search needs one categorical"
    ):
        build(SERIES, D=2, H=3).generate(3, x=np.zeros(2), beam=2)
    with pytest.raises(ValueError, match="beam: expected 1 hypothesis or more, given 0"):
        letters.generate(3, beam=0)
    with pytest.raises(ValueError, match="beam: a search leaves nothing to chance"):
        letters.generate(3, beam=2, seed=1)
