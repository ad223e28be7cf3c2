"""A dot-matrix alphabet, five dots by seven, for examples that need small images with a meaning. Drawn for them."""

from __future__ import annotations

from typing import Any

import numpy as np

ROWS = """
0 .###. #...# #..## #.#.# ##..# #...# .###.
1 ..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.
2 .###. #...# ....# ...#. ..#.. .#... #####
3 .###. #...# ....# ..##. ....# #...# .###.
4 ...#. ..##. .#.#. #..#. ##### ...#. ...#.
5 ##### #.... ####. ....# ....# #...# .###.
6 ..##. .#... #.... ####. #...# #...# .###.
7 ##### ....# ...#. ..#.. .#... .#... .#...
8 .###. #...# #...# .###. #...# #...# .###.
9 .###. #...# #...# .#### ....# ...#. .##..
A .###. #...# #...# ##### #...# #...# #...#
B ####. #...# #...# ####. #...# #...# ####.
C .###. #...# #.... #.... #.... #...# .###.
D ####. #...# #...# #...# #...# #...# ####.
E ##### #.... #.... ####. #.... #.... #####
F ##### #.... #.... ####. #.... #.... #....
G .###. #...# #.... #.### #...# #...# .###.
H #...# #...# #...# ##### #...# #...# #...#
I .###. ..#.. ..#.. ..#.. ..#.. ..#.. .###.
J ..### ...#. ...#. ...#. ...#. #..#. .##..
K #...# #..#. #.#.. ##... #.#.. #..#. #...#
L #.... #.... #.... #.... #.... #.... #####
M #...# ##.## #.#.# #.#.# #...# #...# #...#
N #...# ##..# #.#.# #..## #...# #...# #...#
O .###. #...# #...# #...# #...# #...# .###.
P ####. #...# #...# ####. #.... #.... #....
Q .###. #...# #...# #...# #.#.# #..#. .##.#
R ####. #...# #...# ####. #.#.. #..#. #...#
S .#### #.... #.... .###. ....# ....# ####.
T ##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..
U #...# #...# #...# #...# #...# #...# .###.
V #...# #...# #...# #...# #...# .#.#. ..#..
W #...# #...# #...# #.#.# #.#.# ##.## #...#
X #...# #...# .#.#. ..#.. .#.#. #...# #...#
Y #...# #...# .#.#. ..#.. ..#.. ..#.. ..#..
Z ##### ....# ...#. ..#.. .#... #.... #####
"""
HEIGHT, WIDTH = 7, 5

# character -> (7, 5) of 0 and 1
GLYPHS: dict[str, np.ndarray[Any, Any]] = {
    line[0]: np.array([[c == "#" for c in row] for row in line[2:].split()], np.float32)
    for line in ROWS.strip().splitlines()
}


def stretched(glyph: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    """A glyph at another size, (height, width), by linear interpolation between the middles of its dots."""
    rows = np.linspace(0, glyph.shape[0] - 1, height)
    columns = np.linspace(0, glyph.shape[1] - 1, width)
    tall = np.stack([np.interp(rows, np.arange(glyph.shape[0]), column) for column in glyph.T], axis=1)
    return np.stack([np.interp(columns, np.arange(glyph.shape[1]), row) for row in tall]).astype(np.float32)
