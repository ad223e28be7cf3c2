"""Distributions of `y[t] ~ ...` (parameters and log-density, written with primitives) and of `noise`.

Nothing here samples; that is the runtime's. A new distribution is one entry of a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dsl.system.dims import Dim
from tinygrad_seq.symbol import Symbol, apply, lift

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Distribution:
    """One right-hand side of `~`.

    parameters   their names, in order
    category     draws one of K categories (declared `one_hot K`), else real values
    like_value   parameters of the drawn value's own shape (the others fix theirs, or are scalars)
    logprob      `logprob(y, parameters, rank)`: the log-density of one step, a scalar
    """

    parameters: tuple[str, ...]
    category: bool
    like_value: tuple[str, ...]
    logprob: Callable[[Symbol, dict[str, Symbol], int], Symbol]


def _over_features(value: Symbol, rank: int) -> Symbol:
    """Independent features: their log-densities add up."""
    return value if rank == 0 else apply("sum", value, axis=-1)


def _categorical(y: Symbol, p: dict[str, Symbol], rank: int) -> Symbol:
    return apply("neg", apply("cross_entropy", p["logits"], y))


def _bernoulli(y: Symbol, p: dict[str, Symbol], rank: int) -> Symbol:
    """y*l - log(1 + e^l), of a value 0 or 1 with log-odds l."""
    return _over_features(y * p["logits"] - apply("softplus", p["logits"]), rank)


def _normal(y: Symbol, p: dict[str, Symbol], rank: int) -> Symbol:
    standard = (y - p["mean"]) / p["std"]
    return _over_features(lift(-0.5) * standard * standard - apply("log", p["std"]) - lift(HALF_LOG_TAU), rank)


def _mdn2d(y: Symbol, p: dict[str, Symbol], rank: int) -> Symbol:
    """A mixture of bivariate normals and a Bernoulli pen: Graves, arXiv:1308.0850, equations 23-26.

    y is (dx, dy, pen up); weights, means, deviations and correlations have one entry a component; `end`
    holds the pen's log-odds.
    """
    one = lift(1.0)
    dx, dy, pen = (apply("sum", apply("part", y, start=Dim.of(k), size=Dim.of(1)), axis=-1) for k in range(3))
    u, v = (dx - p["mean_x"]) / p["std_x"], (dy - p["mean_y"]) / p["std_y"]
    r = p["correlation"]
    rest = (one - r) * (one + r)
    z = u * u + v * v - lift(2.0) * r * u * v
    log_normal = -z / (lift(2.0) * rest) - apply("log", p["std_x"]) - apply("log", p["std_y"])
    log_normal = log_normal - lift(0.5) * apply("log", rest) - lift(2 * HALF_LOG_TAU)
    mixture = apply("logsumexp", apply("log", p["weights"]) + log_normal, axis=-1)
    return apply("sub", mixture + pen * p["end"], apply("softplus", p["end"]))


MDN = ("weights", "mean_x", "mean_y", "std_x", "std_y", "correlation", "end")
DISTRIBUTIONS: dict[str, Distribution] = {
    "categorical": Distribution(("logits",), True, ("logits",), _categorical),
    "bernoulli": Distribution(("logits",), False, ("logits",), _bernoulli),
    "normal": Distribution(("mean", "std"), False, ("mean", "std"), _normal),
    "mdn2d": Distribution(MDN, False, (), _mdn2d),
}

# noise: name -> number of arguments; what each draws, and its mean outside training, is `dsl.run.noise`
NOISE = {"dropout": 1, "bernoulli": 1, "normal": 2, "uniform": 2}
