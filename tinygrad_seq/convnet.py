"""A small stack of convolutions, for images that stand before something recurrent. Composed of layers; no cells here.

What a convolution gives is (B, C, h, w); a recurrence wants time first. `columns`, `places` and `vector` are the three
ways to get there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_seq.functions import mean
from tinygrad_seq.initializers import initialize
from tinygrad_seq.layers import conv2d, max_pool2d
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.shapes import permute_dims, reshape
from tinygrad_seq.tensor import Tensor

Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Conv:
    """One storey: `filters` windows of odd size, zeros around the image, ReLU, then the maximum of each `pool`."""

    filters: int
    size: Pair = 3
    pool: Pair = 1


class ConvNet:
    """Images (B, channels, H, W) to features (B, filters, H/pool, W/pool), storey by storey.

    params   name -> Tensor, `0.weight` (filters, channels, kh, kw) and `0.bias` (filters,) and so on: what an optimizer
             is given
    seed     of the weights (K. He et al., 2015: normal, variance 2 / inputs); biases start at 0

    Errors: ValueError for a window of even size, which has no middle, and for an image smaller than a pool.
    """

    def __init__(self, channels: int, storeys: Sequence[Conv], *, seed: int = 0, dtype: str = "float32") -> None:
        if not storeys:
            raise ValueError("a ConvNet has one storey or more")
        self.storeys = tuple(storeys)
        self.params: dict[str, Tensor] = {}
        for n, storey in enumerate(self.storeys):
            height, width = _pair(storey.size)
            if height % 2 == 0 or width % 2 == 0:
                raise ValueError(f"storey {n}: a window is odd on both sides, not {height} × {width}")
            shape = (storey.filters, channels, height, width)
            rng = np.random.default_rng([seed, n])
            self.params[f"{n}.weight"] = Tensor(initialize("he", shape, rng, dtype), requires_grad=True)
            self.params[f"{n}.bias"] = Tensor(np.zeros(storey.filters, dtype), requires_grad=True)
            channels = storey.filters

    def __call__(self, images: Any) -> Any:
        y = images if isinstance(images, Tensor) else np.asarray(images, self.params["0.weight"].dtype)
        for n, storey in enumerate(self.storeys):
            height, width = _pair(storey.size)
            weight, bias = self.params[f"{n}.weight"], self.params[f"{n}.bias"]
            y = REGISTRY["relu"](conv2d(y, weight, bias, padding=(height // 2, width // 2)))
            if storey.pool not in (1, (1, 1)):
                y = max_pool2d(y, storey.pool)
        return y

    def __repr__(self) -> str:
        count = sum(int(np.prod(p.shape)) for p in self.params.values())
        return f"ConvNet({len(self.storeys)} storeys, {count:,} parameters)"


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def columns(features: Any) -> Any:
    """(B, C, h, w) read from left to right: (w, B, C*h), a step for each column."""
    batch, channels, height, width = features.shape
    return reshape(permute_dims(features, (3, 0, 1, 2)), (width, batch, channels * height))


def places(features: Any) -> Any:
    """(B, C, h, w) as a sequence of places, row behind row: (h*w, B, C)."""
    batch, channels, height, width = features.shape
    return reshape(permute_dims(features, (2, 3, 0, 1)), (height * width, batch, channels))


def vector(features: Any, *, pooled: bool = False) -> Any:
    """(B, C, h, w) as one vector an image: all of it, (B, C*h*w), or `pooled` over the places, (B, C)."""
    if pooled:
        return mean(features, axis=(2, 3))
    batch, channels, height, width = features.shape
    return reshape(features, (batch, channels * height * width))


__all__ = ["Conv", "ConvNet", "columns", "places", "vector"]
