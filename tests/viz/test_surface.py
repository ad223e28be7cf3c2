"""A function of two numbers from above: shades, places and paths are those that were given."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import viz
from viz.views.surface import HEIGHT, LEFT, TOP, WIDTH

XS, YS = np.linspace(-2.0, 2.0, 9), np.linspace(0.0, 1.0, 6)
VALUES = XS[None, :] ** 2 + 10 * YS[:, None]


def boxes(svg: str, level: int) -> list[tuple[float, ...]]:
    """Left, top, width and height of the rectangles of one shade."""
    (data,) = re.findall(rf'<path class="cell r{level}" d="([^"]*)"', svg)
    return [tuple(map(float, found)) for found in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h-", data)]


def words(svg: str) -> str:
    return "".join("".join(ET.fromstring(svg).itertext()).split())


def test_the_greatest_value_is_where_it_was_given() -> None:
    """Row 0 is the least y, at the bottom; the last column is at the right."""
    values = np.zeros((6, 9))
    values[5, 8] = 1
    ((x, y, w, h),) = boxes(viz.surface(values, XS, YS).svg, 5)
    assert (x + w, y) == pytest.approx((LEFT + WIDTH, TOP), abs=0.11)
    assert (w, h) == pytest.approx((WIDTH / 9, HEIGHT / 6), abs=0.11)


def test_shades_cover_the_surface_without_gaps() -> None:
    xs, ys = np.linspace(0, 1, 77), np.linspace(0, 1, 63)
    svg = viz.surface(1 + xs[None, :] * ys[:, None], xs, ys).svg
    found = np.array([box for level in range(6) for box in boxes(svg, level)])
    right = np.round(found[:, 0] + found[:, 2], 1)
    starts = set(found[:, 0]) | {LEFT + WIDTH}
    assert set(right.tolist()) <= {round(v, 1) for v in starts}
    levels = np.minimum(6, ((xs[None, :] * ys[:, None]) * 7).astype(int))
    assert (found[:, 2] * found[:, 3]).sum() == pytest.approx((levels > 0).mean() * WIDTH * HEIGHT, rel=1e-3)


def test_paths_go_where_the_axes_say() -> None:
    drawing = viz.surface(VALUES, XS, YS, paths={"down": ([-2, 2], [0, 1])}, x="w", y="b", z="error", title="A bowl")
    (data,) = re.findall(r'<g class="net state-b"><path class="wire" style="stroke-width:1.8" d="([^"]*)"', drawing.svg)
    a, b = ([float(v) for v in point.split()] for point in data[1:].split("L"))
    step = WIDTH / 9, HEIGHT / 6  # places are the middles of cells
    assert a == pytest.approx([LEFT + step[0] / 2, TOP + HEIGHT - step[1] / 2], abs=0.11)
    assert b == pytest.approx([LEFT + WIDTH - step[0] / 2, TOP + step[1] / 2], abs=0.11)
    assert drawing.data["down.x"].tolist() == [-2, 2] and (drawing.data["values"] == VALUES).all()
    said = words(drawing.svg)
    assert all(word in said for word in ("Abowl", "error", "down", "12.0to14.0", "0to2.00"))


def test_logarithmic_shades_are_of_equal_ratio() -> None:
    """Three decades below the greatest: 10 and less have none of the six, 100, 1,000 and 10,000 every second one."""
    values = np.tile(10.0 ** np.arange(-4, 5), (6, 1))
    svg = viz.surface(values, XS, YS, log=True).svg
    assert set(re.findall(r'<path class="cell r(\d)"', svg)) == {"1", "3", "5"}
    for level, column in ((1, 6), (3, 7), (5, 8)):
        lefts = [box[0] for box in boxes(svg, level)]
        assert lefts == pytest.approx([LEFT + column * WIDTH / 9] * 6, abs=0.06)
    assert "1.0e−4to26.8" in words(svg) and "3.7e+3to1.0e+4" not in words(svg)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": VALUES.T}, r"expected finite values \(6, 9\), given shape \(9, 6\)"),
        ({"values": VALUES * np.nan}, "expected finite values"),
        ({"xs": XS[::-1]}, "xs: expected two or more evenly spaced, rising"),
        ({"ys": YS**2}, "ys: expected two or more evenly spaced"),
        ({"values": -VALUES, "log": True}, "no place for values that are all ≤ 0"),
        ({"paths": {"a": ([0, 9], [0, 1])}}, r"a: leaves the surface, whose x go from -2\.25 to 2\.25"),
        ({"paths": {"a": ([0], [0, 1])}}, "a: expected as many x as y"),
        ({"paths": {n: ([0], [0]) for n in "abcd"}}, "up to 3 paths, given 4"),
    ],
)
def test_impossible_surfaces_are_named(change: dict, said: str) -> None:
    given = {"values": VALUES, "xs": XS, "ys": YS, **change}
    with pytest.raises(ValueError, match=said):
        viz.surface(given.pop("values"), given.pop("xs"), given.pop("ys"), **given)
