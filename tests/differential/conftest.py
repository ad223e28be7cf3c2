"""How many random cells: `--cells 5000 --first-cell 0`, and `--compiled-cells` of them through generated code."""

from __future__ import annotations


def pytest_addoption(parser):
    parser.addoption("--cells", type=int, default=400, help="random cells: reference = tape = adjoint")
    parser.addoption("--compiled-cells", type=int, default=6, help="random cells that are compiled too")
    parser.addoption("--first-cell", type=int, default=0, help="seed of the first random cell")
