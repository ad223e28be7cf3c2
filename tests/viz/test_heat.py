"""Matrices and pen strokes as pictures: every value is in `.data`, what is drawn covers what it stands for."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import viz
from viz import theme

LEVELS = theme.RAMP + 1  # the empty panel is the least


def area(data: str) -> float:
    return sum(float(w) * float(h) for w, h in re.findall(r"h([\d.]+)v([\d.]+)h-", data))


def test_each_cell_is_shaded_by_its_place_between_the_ends() -> None:
    values = np.random.default_rng(0).random((5, 7))
    drawing = viz.heat({"a": viz.Heat(values, list("vwxyz"), list("hallo12"), "down", "along")}, side=10)
    found = dict(re.findall(r'class="cell r(\d)" d="([^"]*)"', drawing.svg))
    level = np.minimum(LEVELS - 1, ((values - values.min()) / np.ptp(values) * LEVELS).astype(int))
    for k in range(1, LEVELS):
        assert area(found.get(str(k - 1), "")) == pytest.approx(100 * (level == k).sum())
    words = "".join("".join(ET.fromstring(drawing.svg).itertext()).split())
    assert all(word in words for word in ("vwxyz", "hallo12", "down", "along", "to"))
    assert (drawing.data["a"] == values).all()
    assert (
        drawing.svg == viz.heat({"a": viz.Heat(values, list("vwxyz"), list("hallo12"), "down", "along")}, side=10).svg
    )


def test_neighbours_are_one_rectangle_and_a_constant_matrix_is_empty() -> None:
    drawing = viz.heat({"a": [[0, 1, 1, 0, 1]]}, side=10)
    (data,) = re.findall(r'class="cell r5" d="([^"]*)"', drawing.svg)
    assert data.count("M") == 2
    assert 'class="cell' not in viz.heat({"a": np.ones((2, 2))}).svg


def test_panels_stand_side_by_side() -> None:
    one, two = viz.heat({"a": np.eye(3), "b": np.eye(3)}), viz.heat({"a": np.eye(3), "b": np.eye(3)}, across=2)
    assert two.scene.bounds[2] > one.scene.bounds[2] and two.scene.bounds[3] < one.scene.bounds[3]
    named = viz.heat({"a": np.eye(3), "a long name at the end": np.eye(3)}, across=2)
    assert max(float(x) for x in re.findall(r'<text x="([\d.]+)"', named.svg)) + 22 * 6 < named.scene.bounds[2]


def test_panels_one_above_the_other_begin_at_the_same_place() -> None:
    panels = {"a": np.eye(2), "b": np.eye(9), "a much longer name": np.eye(5), "d": np.eye(3)}
    frames = re.findall(r'class="panel" x="([\d.]+)" y="([\d.]+)"', viz.heat(panels, across=2, side=10).svg)
    (a, b, c, d) = [(float(x), float(y)) for x, y in frames[-4:]]
    assert a[0] == c[0] and b[0] == d[0] and a[1] == b[1] < c[1] == d[1]
    assert b[0] - a[0] > 18 * 5  # the long name below ends before what stands beside it


def test_what_is_next_to_nothing_is_printed_as_nothing() -> None:
    words = list(ET.fromstring(viz.heat({"p": [[3e-12, 0.25], [1e-5, 0.5]]}).svg).itertext())
    assert "0 to .500" in words and not any("e−" in word for word in words)
    assert "−.300 to .0200" in list(ET.fromstring(viz.heat({"q": [[-0.3, 0.02]]}).svg).itertext())


@pytest.mark.parametrize(
    ("panels", "said"),
    [
        ({}, "given none"),
        ({"a": [1.0]}, "a: expected a matrix"),
        ({"a": [[np.nan]]}, "finite"),
        ({"a": viz.Heat([[1.0]], rows=["x", "y"])}, "expected 1 names of rows, given 2"),
    ],
)
def test_impossible_matrices_are_named(panels: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        viz.heat(panels)


def test_a_pen_writes_strokes() -> None:
    moves = [[1, 0, 0], [1, 1, 1], [1, -2, 0], [0, 1, 1], [2, 0, 1]]
    drawing = viz.pen({"two strokes and a dot": moves})
    assert drawing.data["two strokes and a dot"].tolist() == [[1, 0], [2, 1], [3, -1], [3, 0], [5, 0]]
    (path,) = re.findall(r'd="(M[^"]*L[^"]*)"', drawing.svg)
    assert path.count("M") == 3 and path.count("L") == 2 and path.count("h0.1") == 1
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    assert heights[1] == min(heights) and heights[2] == max(heights)  # up is up
    for bad in ({}, {"a": [[1, 2]]}, {"a": [[1, 2, np.inf]]}):
        with pytest.raises(ValueError, match="expected"):
            viz.pen(bad)
