"""Finite differences that judge gradients: what is smooth is judged, what has no slope is said to have none."""

from __future__ import annotations

import math
import zlib

import pytest

from tests.differential.check import Disagreement, shows


def smooth(e):
    return 3 + 2 * math.sin(e) + 40 * e * e + 500 * e**3


def rounded(e):
    """With errors of 1e-8, as of a large loss: other ones at every step, always the same at one."""
    return smooth(e) + 1e-8 * (zlib.crc32(repr(e).encode()) / 2**31 - 1)


def bent(at, size=1.0):
    return lambda e: smooth(e) + size * abs(e - at)


def torn(at, size=1.0):
    return lambda e: smooth(e) + size * (e > at)


@pytest.mark.parametrize("cost", [smooth, rounded, lambda e: 5 * math.exp(30 * e)], ids=["smooth", "rounded", "steep"])
def test_the_right_slope_is_seen_and_a_wrong_one_told(cost):
    right = 150.0 if cost(0.0) == 5 else 2.0
    assert shows(cost, right, right, 5)
    for wrong in (1.001, 0.9, 0.0, -1.0):
        with pytest.raises(Disagreement):
            shows(cost, wrong * right, right, 5)


@pytest.mark.parametrize("slope", [1.0, 2.0, 2.5, 3.0])
def test_a_kink_has_no_slope_that_differences_could_judge(slope):
    """Their mean is one of many: a gradient is any between those to the two sides."""
    assert shows(bent(0.0), slope, 2, 5) == (slope == 2.0)


@pytest.mark.parametrize("cost", [bent(1.5e-6), bent(-8e-6), torn(1e-6), torn(3e-5, -0.2)])
def test_a_kink_and_a_jump_nearby_spoil_large_steps_only(cost):
    here = (cost(1e-7) - cost(-1e-7)) / 2e-7
    right = round(here)  # 2, and 1 more or less beside a kink
    assert shows(cost, right, 2, 5)


@pytest.mark.parametrize("cost", [bent(1e-9), torn(0.0), torn(1e-8, 1e-3)], ids=["bent", "torn", "torn a little"])
def test_nothing_is_said_where_all_steps_are_spoilt(cost):
    assert not shows(cost, 2.2, 2, 5)


def test_nothing_is_said_of_a_slope_beneath_the_rounding():
    assert not shows(lambda e: 1e9 + rounded(1e3 * e), 7.0, 1e-6, 1e9)
