"""Losses: how far a prediction is from what was meant. Composed of primitives; no derivative is written here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.functions import logsumexp, mean, sum
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.shapes import as_array, expand_dims, plain, take

__all__ = ["bce_with_logits", "cross_entropy", "huber", "mixture_nll", "mse"]

_op = REGISTRY


def _reduced(each: Any, reduction: str, shares: Any = None) -> Any:
    """`shares` are the weights of the mean, those of what is left out 0."""
    if reduction == "none":
        return each
    if reduction == "sum":
        return sum(each)
    if reduction == "mean":
        if shares is None:
            return mean(each)
        total = sum(shares)
        return sum(each) / _op["where"](_op["equal"](total, 0), 1, total)
    raise ValueError(f"reduction is 'none', 'sum' or 'mean', not {reduction!r}")


def mse(prediction: Any, target: Any, /, *, reduction: str = "mean") -> Any:
    """The squared differences, averaged unless `reduction` is "sum" or "none"."""
    return _reduced(_op["square"](as_array(prediction) - target), reduction)


def huber(prediction: Any, target: Any, /, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    """Half the squared difference up to `delta`, beyond it delta (|difference| - delta/2) (Huber 1964)."""
    apart = _op["abs"](as_array(prediction) - target)
    near = _op["minimum"](apart, delta)
    return _reduced(near * (apart - 0.5 * near), reduction)


def cross_entropy(
    logits: Any,
    target: Any,
    /,
    *,
    weight: Any = None,
    smoothing: float = 0.0,
    ignore: int | None = None,
    reduction: str = "none",
) -> Any:
    """-log softmax(logits)[target]: (…, K) and integers (…) give (…).

    weight      (K,) of each category: a rare one may count more
    smoothing   ε: the target's share is 1 - ε + ε/K, every other category's ε/K (Szegedy et al. 2016)
    ignore      a target whose places count 0, and are not counted by the mean
    reduction   "none", "sum", or "mean" (over what is not ignored, by the targets' weights)
    """
    logits, index = as_array(logits), plain(target)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is between 0 and 1, not {smoothing}")
    left_out = None if ignore is None else np.equal(index, ignore)
    if left_out is not None:
        index = np.where(left_out, 0, index)
    each, share = _op["cross_entropy"](logits, index), None
    if weight is not None:
        weight = as_array(weight)
        if weight.shape != logits.shape[-1:]:
            raise ValueError(
                f"weight has shape {weight.shape}: one number for each of the {logits.shape[-1]} categories"
            )
        share = take(weight, index)
        each = each * share
    if smoothing:
        even = -_op["log_softmax"](logits)
        even = mean(even if weight is None else even * weight, axis=-1)
        each = each * (1 - smoothing) + even * smoothing
    if left_out is not None:
        each = _op["where"](left_out, 0.0, each)
        share = (~left_out).astype(logits.dtype) if share is None else _op["where"](left_out, 0.0, share)
    return _reduced(each, reduction, share)


def bce_with_logits(logits: Any, target: Any, /, *, weight: Any = None, reduction: str = "mean") -> Any:
    """-target log σ(logits) - (1 - target) log(1 - σ(logits)), right at any size of the logits.

    weight   of the positive term (for rare positives), a number or an array that broadcasts
    """
    logits = as_array(logits)
    above = _op["softplus"](-logits)  # -log σ
    below = above + logits  # -log(1 - σ)
    positive = above if weight is None else above * weight
    return _reduced(target * positive + (1 - target) * below, reduction)


def mixture_nll(logits: Any, mean_: Any, log_scale: Any, target: Any, /, *, reduction: str = "mean") -> Any:
    """The negative log likelihood of a mixture of Gaussians with diagonal covariances (Bishop 1994).

    logits (…, M), mean_ and log_scale (…, M, D), target (…, D) give (…) before the reduction.
    """
    logits, means, scales = as_array(logits), as_array(mean_), as_array(log_scale)
    z = (expand_dims(target, axis=-2) - means) * _op["exp"](-scales)
    size = means.shape[-1]
    each = sum(z * z * -0.5 - scales, axis=-1) - 0.5 * size * math.log(2 * math.pi)
    return _reduced(-logsumexp(_op["log_softmax"](logits) + each, axis=-1), reduction)
