"""A linear rule finds what is linear, at each horizon, and says when there is too little to find it in."""

from __future__ import annotations

import numpy as np
import pytest

from dsl.run.autoregression import Autoregression, nrmse


@pytest.mark.parametrize("horizon", [1, 4])
def test_a_sine_is_a_rule_of_two_lags(horizon: int) -> None:
    x = 2 + np.sin(0.3 * np.arange(80))
    rule = Autoregression.fit(x[:40], 2, horizon)
    found = rule.predict(x)
    np.testing.assert_allclose(found[: 80 - 1 - horizon, 0], x[1 + horizon :], atol=1e-9)
    if horizon == 1:  # x[t+1] = 2 cos(w) x[t] - x[t-1], about its mean
        np.testing.assert_allclose(rule.coefficients[:2, 0], [2 * np.cos(0.3), -1], atol=1e-8)


def test_columns_may_follow_each_other() -> None:
    a = np.random.default_rng(0).standard_normal(60)
    x = np.stack([a, np.concatenate([[0.0], a[:-1]])], axis=1)  # the second is the first, a step late
    rule = Autoregression.fit(x, 1)
    np.testing.assert_allclose(rule.predict(x)[:-1, 1], x[1:, 1], atol=1e-9)


def test_the_mean_has_error_1() -> None:
    x = np.random.default_rng(0).standard_normal(1000)
    assert nrmse(np.full(1000, x.mean()), x) == pytest.approx(1.0)
    assert nrmse(x, x) == 0.0


def test_too_short() -> None:
    with pytest.raises(ValueError, match="5 steps are too few for 3 lags of 1 columns 1 ahead: at least 7"):
        Autoregression.fit(np.arange(5.0), 3)
    Autoregression.fit(np.arange(7.0), 3)
    with pytest.raises(ValueError, match="expected 1 or more"):
        Autoregression.fit(np.arange(7.0), 0)
