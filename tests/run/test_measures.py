"""Edit distance against its definition, BLEU against the examples of its paper."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from dsl.run.measures import bleu, edit_distance, error_rate, exact, perplexity


def by_definition(a: str, b: str) -> int:
    @cache
    def away(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(away(i - 1, j) + 1, away(i, j - 1) + 1, away(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return away(len(a), len(b))


def test_the_distance_is_that_of_its_recursion() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        a, b = ("".join(random.choice(list("abc"), random.integers(0, 9))) for _ in range(2))
        assert edit_distance(a, b) == by_definition(a, b) == edit_distance(b, a)
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance([3, 1], []) == 2 and edit_distance([], []) == 0
    assert edit_distance(["the", "cat"], ["the", "hat"]) == 1


def test_a_rate_counts_what_was_meant_and_may_exceed_1() -> None:
    assert error_rate(["ab", "c"], ["ab", "cdef"]) == 3 / 6
    assert error_rate(["xxxx"], ["y"]) == 4.0
    assert exact(["ab", "c"], ["ab", "d"]) == 0.5
    with pytest.raises(ValueError, match="all empty"):
        error_rate(["a"], [""])
    with pytest.raises(ValueError, match="given 1 and 2"):
        error_rate(["a"], ["a", "b"])


def test_bleu_is_the_papers() -> None:
    # section 2.1: 2 of 7 unigrams count, since "the" stands in the reference twice
    assert bleu(["the the the the the the the".split()], ["the cat is on the mat".split()], 1) == pytest.approx(2 / 7)
    said = "it is a guide to action which ensures that the military".split()
    assert bleu([said], [said]) == pytest.approx(1.0)
    # the brevity penalty: 5 of 10 words, all right
    assert bleu([said[:5]], [said[:10]]) == pytest.approx(math.exp(1 - 10 / 5))
    assert bleu([said[::-1]], [said]) == 0.0
    # corpus level: counts are added before they are divided
    assert bleu(["ab", "cdef"], ["ab", "cxxf"], 1) == pytest.approx(4 / 6)


def test_perplexity_of_a_fair_die() -> None:
    assert perplexity(math.log(6)) == pytest.approx(6)
