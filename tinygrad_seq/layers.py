"""Layers: functions of an input and parameters. Composed of primitives; no derivative is written here."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.functions import mean
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.shapes import as_array, take

__all__ = ["dropout", "embedding", "layer_norm", "rms_norm"]

_op = REGISTRY


def embedding(weight: Any, indices: Any, /) -> Any:
    """Rows of `weight` (K, H) at integer `indices` (…): (…, H). Repeated ones add their gradients up."""
    return take(weight, indices, axis=0)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, /, *, axis: Any = -1, eps: float = 1e-5) -> Any:
    """(x - mean)/√(variance + eps) over `axis`, times weight plus bias (Ba, Kiros and Hinton 2016)."""
    x = as_array(x)
    centred = x - mean(x, axis=axis, keepdims=True)
    y = centred / _op["sqrt"](mean(centred * centred, axis=axis, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Any, weight: Any = None, /, *, axis: Any = -1, eps: float = 1e-6) -> Any:
    """x/√(mean of squares + eps) over `axis`, times weight (Zhang and Sennrich 2019)."""
    x = as_array(x)
    y = x / _op["sqrt"](mean(x * x, axis=axis, keepdims=True) + eps)
    return y if weight is None else y * weight


def dropout(x: Any, rate: float, /, *, rng: np.random.Generator | int | None, train: bool = True) -> Any:
    """Each element 0 with probability `rate`, the others divided by 1 - rate; x itself unless `train`.

    rng   a generator, or a seed for one: equal seeds drop equal elements
    """
    if not 0 <= rate < 1:
        raise ValueError(f"a dropout rate is at least 0 and below 1, not {rate}")
    x = as_array(x)
    if not train or rate == 0:
        return x
    kept = np.random.default_rng(rng).random(x.shape, np.float32) >= rate
    return _op["where"](kept, x * (1 / (1 - rate)), 0)
