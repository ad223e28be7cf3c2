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
