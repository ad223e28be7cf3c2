"""Distributions of `y[t] ~ ...` (parameters, log-density, a draw, all written with primitives) and of `noise`.

A draw is a function of noise: where noise comes from is the caller's. A new distribution is one entry of a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dsl.system.dims import Dim
from tinygrad_seq.symbol import Symbol, apply, lift

INITIALIZERS = ("glorot", "orthogonal", "identity", "normal", "uniform", "chrono", "he", "unitary", "norm")  # of params
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Chance(Protocol):
    """What a draw is made of: fresh noise, and how boldly it is used.

    sharpness   densities p are drawn as p**sharpness (one over the temperature), a mixture's components each
    bias        Graves's probability bias (arXiv:1308.0850, section 5.4) of normal and mdn2d: deviations times
                exp(-bias), a mixture's weights to the power 1 + bias
    spread      what deviations are multiplied by: exp(-bias)/sqrt(sharpness)
    uniform, normal   noise of one step, of that feature shape
    category    an integer with probabilities softmax(logits); `one_hot` the same as a vector
    """

    @property
    def sharpness(self) -> Symbol: ...

    @property
    def bias(self) -> Symbol: ...

    @property
    def spread(self) -> Symbol: ...

    def uniform(self, shape: tuple[Dim, ...]) -> Symbol: ...

    def normal(self, shape: tuple[Dim, ...]) -> Symbol: ...

    def category(self, logits: Symbol) -> Symbol: ...

    def one_hot(self, logits: Symbol) -> Symbol: ...


@dataclass(frozen=True, slots=True)
class Distribution:
    """One right-hand side of `~`.

    parameters   their names, in order
    category     draws one of K categories (declared `one_hot K`), else real values
    like_value   parameters of the drawn value's own shape (the others fix theirs, or are scalars)
    logprob      `logprob(y, parameters, rank)`: the log-density of one step, a scalar
    draw         `draw(parameters, shape, chance)`: a value of that feature shape, from noise
    biased       whether a draw's deviations can be narrowed
    """

    parameters: tuple[str, ...]
    category: bool
    like_value: tuple[str, ...]
    logprob: Callable[[Symbol, dict[str, Symbol], int], Symbol]
    draw: Callable[[dict[str, Symbol], tuple[Dim, ...], Chance], Symbol]
    biased: bool = False


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


# ---------------------------------------------------------------- draws


def _draw_categorical(p: dict[str, Symbol], shape: tuple[Dim, ...], chance: Chance) -> Symbol:
    return chance.category(chance.sharpness * p["logits"])


def _draw_bernoulli(p: dict[str, Symbol], shape: tuple[Dim, ...], chance: Chance) -> Symbol:
    likely = apply("sigmoid", chance.sharpness * p["logits"])
    return apply("where", apply("less", chance.uniform(shape), likely), lift(1.0), lift(0.0))


def _draw_normal(p: dict[str, Symbol], shape: tuple[Dim, ...], chance: Chance) -> Symbol:
    return apply("add", p["mean"], chance.spread * p["std"] * chance.normal(shape))


def _draw_mdn2d(p: dict[str, Symbol], shape: tuple[Dim, ...], chance: Chance) -> Symbol:
    one = lift(1.0)
    chosen = chance.one_hot(chance.sharpness * (one + chance.bias) * apply("log", p["weights"]))
    x, y, dx, dy, r = (
        apply("sum", apply("where", apply("greater", chosen, lift(0)), p[n], lift(0.0)), axis=-1) for n in MDN[1:6]
    )
    u, v = chance.spread * chance.normal(()), chance.spread * chance.normal(())
    pen = _draw_bernoulli({"logits": p["end"]}, (), chance)
    parts = x + dx * u, y + dy * (r * u + apply("sqrt", (one - r) * (one + r)) * v), pen
    return apply("concat", *(apply("fill", part, dims=(Dim.of(1),)) for part in parts))


MDN = ("weights", "mean_x", "mean_y", "std_x", "std_y", "correlation", "end")
DISTRIBUTIONS: dict[str, Distribution] = {
    "categorical": Distribution(("logits",), True, ("logits",), _categorical, _draw_categorical),
    "bernoulli": Distribution(("logits",), False, ("logits",), _bernoulli, _draw_bernoulli),
    "normal": Distribution(("mean", "std"), False, ("mean", "std"), _normal, _draw_normal, biased=True),
    "mdn2d": Distribution(MDN, False, (), _mdn2d, _draw_mdn2d, biased=True),
}

# noise: name -> number of arguments; what each draws, and its mean outside training, is `dsl.run.noise`
NOISE = {"dropout": 1, "bernoulli": 1, "normal": 2, "uniform": 2}
