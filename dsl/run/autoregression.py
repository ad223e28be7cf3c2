"""What a linear rule reaches on a series: the baseline beside which a recurrent forecast is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Autoregression:
    """x[t+horizon] as an affine function of x[t], ..., x[t-lags+1], by least squares (G. U. Yule, 1927).

    coefficients  (lags*D + 1, D): newest value first, the constant last

    Each horizon has a fit of its own ("direct" forecasting), so that errors are not fed back.
    """

    coefficients: Array
    lags: int
    horizon: int

    @classmethod
    def fit(cls, series: Array, lags: int, horizon: int = 1) -> Autoregression:
        """Fitted to a series (T,) or (T, D). Errors: ValueError for a series with fewer equations than unknowns."""
        values = _columns(series)
        if lags < 1 or horizon < 1:
            raise ValueError(f"lags and horizon: expected 1 or more, given {lags} and {horizon}")
        rows, unknowns = len(values) - lags - horizon + 1, lags * values.shape[1] + 1
        if rows < unknowns:
            raise ValueError(
                f"{len(values)} steps are too few for {lags} lags of {values.shape[1]} columns {horizon} ahead: "
                f"at least {unknowns + lags + horizon - 1} are needed"
            )
        past = _past(values[: len(values) - horizon], lags)
        found = np.linalg.lstsq(past, values[lags + horizon - 1 :], rcond=None)[0]
        return cls(found, lags, horizon)

    def predict(self, series: Array) -> Array:
        """Forecasts (T - lags + 1, D): row i is of x[i + lags - 1 + horizon], made at step i + lags - 1."""
        return np.asarray(_past(_columns(series), self.lags) @ self.coefficients)


def _columns(series: Array) -> Array:
    values = np.asarray(series, np.float64)
    return values[:, None] if values.ndim == 1 else values


def _past(values: Array, lags: int) -> Array:
    """Rows of the last `lags` values, newest first, and a 1."""
    count = len(values) - lags + 1
    parts = [values[lags - 1 - k : lags - 1 - k + count] for k in range(lags)]
    return np.concatenate([*parts, np.ones((count, 1))], axis=1)


def nrmse(prediction: Array, target: Array) -> float:
    """Root mean squared error as a share of the target's standard deviation: 1 is always answering the mean."""
    error = np.asarray(prediction, np.float64) - np.asarray(target, np.float64)
    return float(np.sqrt((error**2).mean()) / np.asarray(target, np.float64).std(axis=0).mean())
