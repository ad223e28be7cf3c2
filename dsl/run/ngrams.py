"""What counting reaches: the losses of n-gram tables, to be printed beside a language model's.

A model that is not better than a table of pair counts has learnt nothing that needs a state. Knows arrays of integers,
nothing of models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMOOTHING = 0.1  # added to every count, so that what training never saw has a probability


def ngram_loss(train: NDArray[Any], valid: NDArray[Any], symbols: int, order: int) -> float:
    """Nats a symbol that an n-gram model counted on `train` needs on `valid`.

    train, valid   integers (N,) in 0..symbols-1
    order          1 for a unigram (no context), 2 for a bigram (one symbol of context), ...

    Probabilities are (count + 0.1) / (context's count + 0.1*symbols). Symbols without a full context are left out.
    Errors: ValueError for an order below 1 or a text shorter than the order.
    """
    if order < 1:
        raise ValueError(f"order: expected 1 or more, given {order}")
    if min(len(train), len(valid)) < order:
        raise ValueError(f"a text of {min(len(train), len(valid))} symbols has no context of {order - 1}")
    seen, counts = np.unique(_keys(train, symbols, order), return_counts=True)
    contexts, which = np.unique(seen // symbols, return_inverse=True)
    context_counts = np.bincount(which, weights=counts)
    asked = _keys(valid, symbols, order)
    joint = _look_up(seen, counts, asked)
    context = _look_up(contexts, context_counts, asked // symbols)
    return float(-np.log((joint + SMOOTHING) / (context + SMOOTHING * symbols)).mean())


def interpolated_loss(train: NDArray[Any], valid: NDArray[Any], symbols: int, order: int) -> float:
    """Nats a symbol of an n-gram model that leans on shorter contexts: the fairer table where symbols are many.

    Witten and Bell (1991): p(w | h) = (c(hw) + d(h) p(w | h')) / (c(h) + d(h)), where c counts, d(h) is the number of
    different symbols seen behind h, h' is h without its oldest symbol, and below the unigram all symbols are alike. A
    context that was never seen passes on to h'. Arguments, what is left out, and errors as in `ngram_loss`.
    """
    if order < 1:
        raise ValueError(f"order: expected 1 or more, given {order}")
    if min(len(train), len(valid)) < order:
        raise ValueError(f"a text of {min(len(train), len(valid))} symbols has no context of {order - 1}")
    p = np.full(len(valid) - order + 1, 1 / symbols)
    for n in range(1, order + 1):
        seen, counts = np.unique(_keys(train, symbols, n), return_counts=True)
        contexts, which = np.unique(seen // symbols, return_inverse=True)
        asked = _keys(valid[order - n :], symbols, n)
        context = _look_up(contexts, np.bincount(which, weights=counts), asked // symbols)
        different = _look_up(contexts, np.bincount(which).astype(float), asked // symbols)
        mixed = (_look_up(seen, counts, asked) + different * p) / np.maximum(context + different, 1)
        p = np.where(context > 0, mixed, p)
    return float(-np.log(p).mean())


def _keys(ids: NDArray[Any], symbols: int, order: int) -> NDArray[np.int64]:
    """Each window of `order` symbols as one integer, its last symbol the lowest digit."""
    ids = np.asarray(ids, np.int64)
    count = len(ids) - order + 1
    key = np.zeros(count, np.int64)
    for place in range(order):
        key = key * symbols + ids[place : place + count]
    return key


def _look_up(keys: NDArray[Any], values: NDArray[Any], asked: NDArray[Any]) -> NDArray[np.float64]:
    """values[keys == asked], 0 where a key is missing; keys are sorted."""
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0).astype(np.float64)
