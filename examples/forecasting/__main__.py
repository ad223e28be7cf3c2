"""Short-term forecasting: chaotic series, or the user's own columns, some steps ahead of what is known.

Mackey-Glass six steps ahead, as in J.-S. Jang, "ANFIS" (1993), and the Lorenz system eight; with --data TABLE.csv
--columns A,B the columns of a table, one step ahead. Against persistence (it stays as it is) and a linear
autoregression with a fit of its own for the horizon; the last fifth of a series is held out. The error is the root
mean square as a share of the standard deviation.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from dsl.run.autoregression import Autoregression, nrmse
from dsl.run.files import read_columns
from examples.experiment import Experiment, leave, main
from examples.forecasting.series import lorenz, mackey_glass

LAGS = 20
Array = np.ndarray[Any, Any]


def study(e: Experiment, name: str, series: Array, horizon: int) -> None:
    """One series: what is reached beside the two baselines, and a picture of the last steps."""
    cut = len(series) * 4 // 5
    with np.errstate(over="ignore"):
        mean, spread = series[:cut].mean(axis=0), series[:cut].std(axis=0)
    if not np.isfinite(spread).all():
        raise ValueError(
            f"{name}: numbers up to {np.abs(series).max():.1g} are too large to be squared; give smaller units"
        )
    if (spread == 0).any():
        raise ValueError(f"{name}: a column that never changes cannot be scaled, and need not be forecast")
    z = (series - mean) / spread
    learned, ahead = z[: cut - horizon], z[horizon:cut]
    rule = Autoregression.fit(z[:cut], LAGS, horizon)
    warm = min(cut, 200)  # steps before the held-out ones, so that the state has seen something
    past, target = z[cut - warm : len(z) - horizon], z[cut + horizon :]
    linear = rule.predict(z[cut - LAGS + 1 : len(z) - horizon])

    def forecast(model: Any) -> Array:
        return np.asarray(model(x=past[:, None]).p.data[warm:, 0])

    model = e.cell("Forecast").build(D=series.shape[1], H=e.size(32, 64, 128), seed=e.seed)
    steps, chunk, streams = e.size(300, 1200, 5000), 50, 16
    usable = len(learned) // streams
    if usable < 2:
        raise ValueError(f"{name}: {len(series)} rows are too few; {streams} streams of them need {streams * 3 + LAGS}")
    done = e.fit(
        model,
        name,
        x=learned,
        y=ahead,
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 5e-3, 3e-3)),
        schedule=tg.schedules.cosine(steps, 0.01),
        batch=streams,
        chunk=chunk,
        clip=1.0,
        steps=steps,
        valid_every=steps // 10,
        evaluate=lambda m: {"error": nrmse(forecast(m), target)},
    )
    stays, fitted = nrmse(past[warm:], target), nrmse(linear, target)
    e.figure(f"{name}, {horizon} ahead", done.measures["error"], stays, "persistence")
    if e.mode != "quick":
        e.figure(f"{name}, {horizon} ahead", done.measures["error"], fitted, f"autoregression of {LAGS} lags")
    else:
        e.note(f"{name}, autoregression of {LAGS} lags", round(fitted, 4))
    last = slice(-min(150, len(target)), None)
    lines = {"series": target[last, 0], "LSTM": forecast(model)[last, 0], "autoregression": linear[last, 0]}
    e.draw(viz.lines(lines, y=f"standardised, forecast {horizon} ahead", title=name), name.lower().replace(", ", "_"))


def run(e: Experiment) -> None:
    if e.data is not None:
        names, values = read_columns(e.data, e.columns, least=LAGS * 4)
        study(e, ", ".join(names), values, 1)
        return
    count = e.size(1500, 6000, 20_000)
    study(e, "Mackey-Glass", mackey_glass(count, e.seed), 6)
    if e.mode != "quick":
        study(e, "Lorenz", lorenz(count, e.seed), 8)


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, data="a CSV table with a header", columns=True)))
