"""Curves side by side: every value is in `.data`, gaps stay gaps, bad input is named."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import viz


def paths(drawing) -> list[str]:
    return [p for p in re.findall(r'd="(M[^"]*)"', drawing.svg) if "L" in p]


def test_curves_and_their_numbers() -> None:
    drawing = viz.lines({"a": [3.0, 2.0, 1.0], "b": ([0, 10], [1.0, 2.0])}, x="step", y="loss", title="Two")
    assert drawing.data["a.x"].tolist() == [0, 1, 2] and drawing.data["b.y"].tolist() == [1, 2]
    assert len(paths(drawing)) == 2
    words = " ".join(ET.fromstring(drawing.svg).itertext())
    assert all(word in words for word in ("Two", "step", "loss", "a", "b"))


def test_what_is_not_finite_or_not_positive_on_a_logarithmic_axis_is_a_gap() -> None:
    (path,) = paths(viz.lines({"a": [1.0, 2.0, np.nan, 3.0, 4.0]}))
    assert path.count("M") == 2 and path.count("L") == 2
    (path,) = paths(viz.lines({"a": [1.0, 0.1, 0.0, 10.0, 4.0]}, log=True))
    assert path.count("M") == 2
    assert viz.lines({"a": [1.0, 0.1]}, log=True).svg == viz.lines({"a": [1.0, 0.1]}, log=True).svg


@pytest.mark.parametrize(
    ("series", "message"),
    [({}, "given 0"), ({"a": ([1, 2], [1])}, "a: expected as many x as y"), ({str(i): [1.0] for i in range(16)}, "16")],
)
def test_impossible_curves_are_named(series: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.lines(series)


def test_levels_go_from_side_to_side_and_are_named() -> None:
    drawing = viz.lines({"a": ([2, 10], [3.0, 2.0])}, x="update", y="loss", levels={"a guess": 4.0})
    level, curve = paths(drawing)
    numbers = [float(v) for v in re.findall(r"-?[\d.]+", level)]
    assert numbers[1] == numbers[3] < float(re.findall(r"[\d.]+", curve)[1])  # flat, and above the curve
    assert (numbers[0], numbers[2]) == (70.0, 590.0) and "stroke-dasharray" in drawing.svg
    assert drawing.data["a guess"] == 4.0 and "a guess" in " ".join(ET.fromstring(drawing.svg).itertext())


def test_one_curve_is_named_by_its_axis() -> None:
    alone, nameless = viz.lines({"memory": [1.0, 2.0]}, y="MiB"), viz.lines({"memory": [1.0, 2.0]})
    assert "memory" not in " ".join(ET.fromstring(alone.svg).itertext()).split("MiB")[1]
    assert "memory" in " ".join(ET.fromstring(nameless.svg).itertext())


@pytest.mark.parametrize(
    ("levels", "log", "message"),
    [({"a": 1.0}, False, "named unlike the curves"), ({"b": 0.0}, True, "no place for a level ≤ 0")],
)
def test_impossible_levels_are_named(levels: dict, log: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.lines({"a": [1.0, 2.0]}, log=log, levels=levels)


def test_a_few_lengths_that_double_are_the_ticks() -> None:
    words = list(ET.fromstring(viz.lines({"a": ([50, 100, 200, 500], [1.0, 2, 3, 4])}, doubling=True).svg).itertext())
    assert all(tick in words for tick in ("50", "100", "200", "500")) and "64" not in words
    words = list(ET.fromstring(viz.lines({"a": (range(50, 70), range(20))}, doubling=True).svg).itertext())
    assert "64" in words and "51" not in words
