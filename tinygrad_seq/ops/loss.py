"""Losses over categories, one value a row: what to average, and over what, is the caller's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.ops.index import one_hot
from tinygrad_seq.ops.reduce import as_rows, logsumexp, over_rows, softmax
from tinygrad_seq.ops.shape import Cotangents, expand, size
from tinygrad_seq.primitive import Primitive


def _cross_entropy(logits: Any, target: Any) -> Any:
    target = np.asarray(target)
    if target.size and (target.max() >= logits.shape[-1] or target.min() < -1):
        raise ValueError(f"a category outside -1..{logits.shape[-1] - 1}: {target.min()}..{target.max()}")
    rows = as_rows(logits, -1)
    if rows is not None and target.shape == logits.shape[:-1]:
        result = np.empty(target.shape, logits.dtype)
        over_rows("cross_entropy", result.reshape(-1), rows, target.reshape(-1).astype(np.int64, copy=False))
        return result
    chosen = np.take_along_axis(logits, np.maximum(target, 0)[..., None].astype(np.intp), axis=-1)[..., 0]
    with np.errstate(invalid="ignore"):  # a category of probability 0 among others of 0
        return logsumexp.impl(logits, axis=-1) - np.where(target >= 0, chosen, np.zeros((), logits.dtype))


cross_entropy = Primitive(
    "cross_entropy",
    _cross_entropy,
    shape=lambda logits, target: logits[:-1],
    tex=r"-\log\operatorname{{softmax}}({0})_{{{1}}}",
)


@cross_entropy.rule
def cross_entropy_rule(g: Any, y: Any, logits: Any, target: Any) -> Cotangents:
    """-log softmax(logits)[target]; (…, K) and (…) give (…). The target -1 picks nothing."""
    return ((softmax(logits) - one_hot(target, size(logits, axis=-1))) * expand(g, axis=-1), None)


@cross_entropy.on_arrays(reads_y=True)
def softmax_error(g: Any, y: Any, logits: Any, target: Any) -> Any:
    """One pass over the logits: their logsumexp is y and the logit that was chosen."""
    target = np.asarray(target)
    rows = as_rows(logits, -1)
    if rows is None or target.shape != logits.shape[:-1] or not y.dtype == g.dtype == logits.dtype:
        return None
    result = np.empty(logits.shape, logits.dtype)
    others = target.reshape(-1).astype(np.int64, copy=False), y.reshape(-1), np.ascontiguousarray(g).reshape(-1)
    over_rows("softmax_error", result.reshape(rows.shape), rows, *others)
    return result
