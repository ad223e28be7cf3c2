"""The baselines are what counting by hand gives."""

from collections import Counter
from math import log

import numpy as np
import pytest

from dsl.run.ngrams import SMOOTHING, interpolated_loss, ngram_loss


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


def test_interpolation_is_witten_and_bells_sum_by_hand() -> None:
    train, symbols = [0, 1, 0, 1, 0, 2], 4

    def p(w: int, h: tuple[int, ...]) -> float:
        followers = [train[i + len(h)] for i in range(len(train) - len(h)) if tuple(train[i : i + len(h)]) == h]
        less = p(w, h[1:]) if h else 1 / symbols
        different = len(set(followers))
        return (followers.count(w) + different * less) / (len(followers) + different) if followers else less

    for h in [(), (0,), (3,), (1, 0), (3, 0), (0, 3)]:
        assert sum(p(w, h) for w in range(symbols)) == pytest.approx(1)
    valid = [0, 1, 0, 3, 2, 0, 0]
    for order in (1, 2, 3):
        asked = [(valid[i], tuple(valid[i - order + 1 : i])) for i in range(order - 1, len(valid))]
        expected = -np.mean([np.log(p(w, h)) for w, h in asked])
        assert interpolated_loss(np.array(train), np.array(valid), symbols, order) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no context of 2"):
        interpolated_loss(np.array([1, 2]), np.array(valid), symbols, 3)
    with pytest.raises(ValueError, match="1 or more"):
        interpolated_loss(np.array(train), np.array(valid), symbols, 0)
