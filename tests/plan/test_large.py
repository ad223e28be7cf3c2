"""Cells of many equations: text no longer than the cell demands, stacks at the cost of a layer, and right values."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from benchmarks.compile import text_of
from dsl.plan.phases import BLOCK
from dsl.plan.program import programs
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
    for one, other in zip(texts(made("layers:3")), texts(made("layers:9")), strict=True):
        assert one == other  # a file serves every depth
    for one, other in zip(texts(made("products:4")), texts(made("products:12")), strict=True):
        assert re.sub(r"\d+", "#", one) == re.sub(r"\d+", "#", other)  # but for the streams' names


def test_loops_alike_are_compiled_once() -> None:
    """Three hundred equations in a row: as much machine code as two hundred, but for what calls it."""
    for few, many in zip(texts(made("chain:200")), texts(made("chain:300")), strict=True):
        assert few.count("def loop_") == many.count("def loop_") > 0
        assert len(re.findall(r"(?m)^ +loop_", many)) > 1.3 * len(re.findall(r"(?m)^ +loop_", few))
        assert many.count("\n") < 1.2 * few.count("\n")


def test_a_loop_that_needs_a_value_from_outside_stays_where_it_is() -> None:
    """A layer norm's scalars, used by loops behind them: right, and no loop takes a real as an argument."""
    lines = [f"  v{k}[t] = sum(a*x[t])*tanh({f'v{k - 1}[t]' if k else 'x[t]'})" for k in range(90)]
    text = "\n".join(["cell A(H):", "  input x[t]: H", "  param a: H ~ normal", *lines, "  output v89\n"])
    assert not re.search(r"def loop_\d+\(.*\bv\d", "".join(texts(parse(text).system)))
    assert disagreement(bound(parse(text))) < 1e-9


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
