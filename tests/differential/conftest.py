"""How many random cells: `--cells 5000 --first-cell 0`, and `--compiled-cells` of them through generated code."""

from __future__ import annotations

import pytest

from dsl.run import frame


@pytest.fixture(autouse=True)
def chunks_of_a_few_steps(monkeypatch):
    """The sequences are short: so their loops cross from chunk to chunk."""
    monkeypatch.setattr(frame, "CHUNK_ROWS", 8)


def pytest_addoption(parser):
    parser.addoption("--cells", type=int, default=400, help="random cells: reference = tape = adjoint")
    parser.addoption("--compiled-cells", type=int, default=6, help="random cells that are compiled too")
    parser.addoption("--first-cell", type=int, default=0, help="seed of the first random cell")
