"""Cells of many equations: text no longer than the cell demands, stacks at the cost of a layer, and right values."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from benchmarks.compile import text_of
from dsl.plan.program import programs
from dsl.plan.rows import BLOCK
from dsl.spec import load, parse
from dsl.system.system import System
from tests.plan.agreement import bound, disagreement


def made(cell: str) -> System:
    text = text_of(cell)
    assert text is not None
    return parse(text).system


def texts(system: System) -> tuple[str, str]:
    forward, backward = programs(system, None, "float32")
    assert backward is not None
    return forward.source.text, backward.source.text


@pytest.mark.parametrize("cell", ["chain:70", "states:40", "products:12", "layers:3"])
def test_large_cells_agree_with_the_literal_engine(cell: str) -> None:
    assert disagreement(bound(parse(text_of(cell) or ""))) < 1e-9


@pytest.mark.parametrize("cell", ["chain", "states"])
def test_text_grows_with_the_equations_and_no_loop_grows_at_all(cell: str) -> None:
    small, large = (texts(made(f"{cell}:{n}")) for n in (60, 180))
    for few, many in zip(small, large, strict=True):
        assert many.count("\n") < 3.3 * few.count("\n")
        loops = re.split(r"\n +for j in range\(.*\):\n", many)[1:]
        assert max(len(re.findall(r"\bv\d+ = ", loop)) for loop in loops) < 2 * BLOCK


def test_layers_and_products_in_a_row_share_their_functions() -> None:
    for cell, few, many in (("layers", 3, 9), ("products", 4, 12)):
        for one, other in zip(texts(made(f"{cell}:{few}")), texts(made(f"{cell}:{many}")), strict=True):
            assert re.sub(r"\d+", "#", one) == re.sub(r"\d+", "#", other)  # but for the layers' names


def test_a_program_lists_each_function_and_where_its_numbers_are() -> None:
    forward, _ = programs(load("CharRNN")(L=5).system, None, "float32")
    (table,) = forward.source.stages
    steps = [(table[1 + 2 * k], table[2 + 2 * k]) for k in range(int(table[0]))]  # type: ignore[call-overload]
    assert max(Counter(which for which, _ in steps).values()) >= 5
    assert [text.split(":")[0] for text in forward.source.listings[1]] == [
        re.findall(r"(?m)^def (\w+)\(X, O, at\)", forward.source.text)[int(which)] for which, _ in steps
    ]
    starts = [at for _, at in steps]
    assert starts == sorted(starts) and starts[0] == 1 + 2 * len(steps)
