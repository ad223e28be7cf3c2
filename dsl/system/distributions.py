"""Distributions of `y[t] ~ ...`: their parameters and the log-density, written with primitives.

Nothing here samples; that is the runtime's. A new distribution is one entry of `DISTRIBUTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinygrad_seq.symbol import Symbol, apply

Density = Callable[[Symbol, dict[str, Symbol]], Symbol]


@dataclass(frozen=True, slots=True)
class Distribution:
    """parameters   their names, in order
    category     draws one of K categories (declared `one_hot K`), else a real value
    wide         which parameters have the drawn value's shape (the others fix their own)
    logprob      `logprob(y, parameters)`: the log-density of one step, a scalar
    """

    parameters: tuple[str, ...]
    category: bool
    wide: tuple[str, ...]
    logprob: Density


def _categorical(y: Symbol, p: dict[str, Symbol]) -> Symbol:
    return apply("neg", apply("cross_entropy", p["logits"], y))


DISTRIBUTIONS: dict[str, Distribution] = {
    "categorical": Distribution(("logits",), True, ("logits",), _categorical),
}
LATER = ("bernoulli", "normal", "mdn2d")
