"""The baselines are what counting by hand gives."""

from collections import Counter
from math import log

import numpy as np
import pytest

from dsl.run.ngrams import SMOOTHING, ngram_loss


def by_hand(train: list[int], valid: list[int], symbols: int, order: int) -> float:
    """The same, one window after the other."""

    def windows(ids: list[int], n: int) -> list[tuple[int, ...]]:
        return [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]

    joint = Counter(windows(train, order))
    context = Counter(w[:-1] for w in windows(train, order))
    asked = windows(valid, order)
    terms = [log((joint[w] + SMOOTHING) / (context[w[:-1]] + SMOOTHING * symbols)) for w in asked]
    return -sum(terms) / len(terms)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_counting_by_hand(order: int) -> None:
    random = np.random.default_rng(order)
    train, valid = random.integers(0, 4, 300), random.integers(0, 5, 80)
    assert ngram_loss(train, valid, 5, order) == pytest.approx(
        by_hand(train.tolist(), valid.tolist(), 5, order), rel=1e-12
    )


def test_a_sequence_without_chance_costs_nearly_nothing_with_context_and_all_of_it_without() -> None:
    ids = np.arange(3000) % 3
    assert ngram_loss(ids, ids, 3, 2) < 1e-3
    assert ngram_loss(ids, ids, 3, 1) == pytest.approx(log(3), abs=1e-6)


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="order: expected 1 or more, given 0"):
        ngram_loss(np.arange(3), np.arange(3), 3, 0)
    with pytest.raises(ValueError, match="no context of 2"):
        ngram_loss(np.arange(2), np.arange(9), 9, 3)
