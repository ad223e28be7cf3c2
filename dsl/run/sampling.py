"""How values are drawn from the distributions of `y[t] ~ ...`, parameters in hand.

The counterpart of `dsl.system.distributions`, which knows their densities. Nothing here knows of cells or steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_seq.primitive import REGISTRY

Array = NDArray[Any]


@dataclass
class Sampler:
    """What is drawn, and how boldly.

    temperature   every density p is drawn as p**(1/temperature): softmax(logits / temperature), a variance times the
                  temperature; a mixture's weights and its components each. 0 takes the likeliest value
    bias          Graves's probability bias (arXiv:1308.0850, section 5.4) of normal and mdn2d: deviations times
                  exp(-bias), weights to the power 1 + bias
    rng           where chance comes from

    Errors: ValueError for a negative temperature or bias.
    """

    temperature: float
    bias: float
    rng: np.random.Generator

    def __post_init__(self) -> None:
        for name, value in (("temperature", self.temperature), ("bias", self.bias)):
            if not value >= 0:
                raise ValueError(f"{name}: expected 0 or more, given {value}")

    def __call__(self, distribution: str, parameters: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
        """Values (B, *shape), integers (B,) of a category, from parameters (B, ...)."""
        wide = {k: np.asarray(v, np.float64) for k, v in parameters.items()}
        return DRAW[distribution](self, wide, shape)

    @property
    def spread(self) -> float:
        """What deviations are multiplied by."""
        return float(np.sqrt(self.temperature) * np.exp(-self.bias))


def _categorical(s: Sampler, p: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
    return _category(s, p["logits"], 1.0)


def _category(s: Sampler, logits: Array, power: float) -> Array:
    """Categories (B,) with probabilities softmax(power * logits / temperature)."""
    if s.temperature == 0:
        return np.asarray(np.argmax(logits, axis=-1))
    scaled = logits * (power / s.temperature)
    weights = np.cumsum(np.exp(scaled - scaled.max(axis=-1, keepdims=True)), axis=-1)
    level = s.rng.random(len(logits)) * weights[:, -1]
    return np.asarray(np.minimum((weights <= level[:, None]).sum(axis=-1), logits.shape[-1] - 1))


def _bernoulli(s: Sampler, p: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
    logits = _spread(p["logits"], shape)
    if s.temperature == 0:
        return (logits > 0).astype(np.float64)
    return np.asarray(s.rng.random(logits.shape) < REGISTRY["sigmoid"].impl(logits / s.temperature)).astype(np.float64)


def _normal(s: Sampler, p: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
    mean, std = _spread(p["mean"], shape), _spread(p["std"], shape)
    return np.asarray(mean + std * s.spread * s.rng.standard_normal(mean.shape))


def _mdn2d(s: Sampler, p: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
    with np.errstate(divide="ignore"):  # a component of weight 0 is never chosen
        chosen = _category(s, np.log(p["weights"]), 1 + s.bias)
    own = {k: np.take_along_axis(v, chosen[:, None], axis=-1)[:, 0] for k, v in p.items() if k != "end"}
    u, v = s.rng.standard_normal((2, len(chosen))) * s.spread
    r = own["correlation"]
    dx = own["mean_x"] + own["std_x"] * u
    dy = own["mean_y"] + own["std_y"] * (r * u + np.sqrt((1 - r) * (1 + r)) * v)
    pen = _bernoulli(s, {"logits": p["end"]}, ())
    return np.stack([dx, dy, pen], axis=-1)


def _spread(value: Array, shape: tuple[int, ...]) -> Array:
    """A parameter (B,) or (B, *shape) as (B, *shape)."""
    own = value if value.ndim > 1 else value.reshape(len(value), *(1 for _ in shape))
    return np.broadcast_to(own, (len(value), *shape))


Draw = Callable[[Sampler, Mapping[str, Array], tuple[int, ...]], Array]
DRAW: dict[str, Draw] = {
    "categorical": _categorical,
    "bernoulli": _bernoulli,
    "normal": _normal,
    "mdn2d": _mdn2d,
}
BIASED = ("normal", "mdn2d")  # whose deviations a bias narrows
