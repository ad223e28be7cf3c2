"""Losses over categories, one value a row: what to average, and over what, is the caller's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.ops.index import one_hot
from tinygrad_seq.ops.reduce import logsumexp, softmax
from tinygrad_seq.ops.shape import Cotangents, expand, size
from tinygrad_seq.primitive import Primitive


def _cross_entropy(logits: Any, target: Any) -> Any:
    target = np.asarray(target)
    if target.size and (target.max() >= logits.shape[-1] or target.min() < -1):
        raise ValueError(f"a category outside -1..{logits.shape[-1] - 1}: {target.min()}..{target.max()}")
    chosen = np.take_along_axis(logits, np.maximum(target, 0)[..., None].astype(np.intp), axis=-1)[..., 0]
    return logsumexp.impl(logits, axis=-1) - np.where(target >= 0, chosen, np.zeros((), logits.dtype))


cross_entropy = Primitive(
    "cross_entropy",
    _cross_entropy,
    shape=lambda logits, target: logits[:-1],
    tex=r"-\log\operatorname{{softmax}}({0})_{{{1}}}",
    ordered=True,
)


@cross_entropy.rule
def cross_entropy_rule(g: Any, y: Any, logits: Any, target: Any) -> Cotangents:
    """-log softmax(logits)[target]; (…, K) and (…) give (…). The target -1 picks nothing."""
    return ((softmax(logits) - one_hot(target, size(logits, axis=-1))) * expand(g, axis=-1), None)
