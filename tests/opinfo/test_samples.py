"""Every operator that torch and we share, on torch's own samples: values and gradients, and how many there are."""

from __future__ import annotations

import re
import warnings
from functools import cache
from pathlib import Path

import pytest

from tests.opinfo.compare import WORDS, compare

PAGE = Path(__file__).parents[2] / "docs" / "oracles.md"
pytest.importorskip("expecttest")  # torch's samples need it
torch = pytest.importorskip("torch")


@cache
def published() -> dict[tuple[str, str], tuple[int, int]]:
    """(operator, dtype) -> values and gradients on the page."""
    rows = re.findall(r"^\| `(\S+)` \| (\d+) / (\d+) \| (\d+) / (\d+) \|", PAGE.read_text(encoding="utf-8"), re.M)
    found = {}
    for name, *counts in rows:
        for dtype, (values, gradients) in zip(
            ("float64", "complex128"), zip(*[iter(map(int, counts))] * 2, strict=True), strict=True
        ):
            found[name, dtype] = (values, gradients)
    return found


def test_the_page_lists_every_operator() -> None:
    assert {name for name, _ in published()} == set(WORDS)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("complex128", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(WORDS))
def test_samples_agree(name: str, dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        count = compare(name, (dtype,))
    if f"torch {torch.__version__.partition('+')[0]}" in PAGE.read_text(encoding="utf-8"):
        assert (count.values, count.gradients) == published()[name, dtype], "run python docs/oracles.py"
