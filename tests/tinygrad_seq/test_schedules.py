"""Learning-rate schedules: where they begin, where they end, and what they are in between."""

import math

import pytest

from tinygrad_seq import schedules


def test_each_schedule_is_its_formula() -> None:
    assert schedules.constant()(10**6) == 1
    assert schedules.exponential(0.5, every=10)(20) == pytest.approx(0.25)
    assert schedules.exponential(0.5, every=10, start=5)(5) == 1
    assert [schedules.stairs(0.5, every=3)(s) for s in (1, 2, 3, 5, 6)] == [1, 1, 0.5, 0.5, 0.25]
    assert schedules.stairs(0.97, every=10, start=100)(100) == 1
    assert schedules.cosine(100)(50) == pytest.approx(0.5)
    assert schedules.cosine(100)(25) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert schedules.cosine(100, least=0.1)(10**4) == pytest.approx(0.1)
    assert schedules.linear(10, least=0.2)(5) == pytest.approx(0.6)
    assert schedules.linear(10, least=0.2)(11) == pytest.approx(0.2)


def test_warm_up_is_followed_by_another_from_its_beginning() -> None:
    both = schedules.warmup(4, schedules.linear(10))
    assert [both(s) for s in (1, 2, 4, 9, 14, 99)] == pytest.approx([0.25, 0.5, 1, 0.5, 0, 0])


@pytest.mark.parametrize(
    "make", [lambda: schedules.cosine(0), lambda: schedules.exponential(1.5), lambda: schedules.warmup(-1)]
)
def test_impossible_numbers_are_named(make) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()
