"""A derivation in words tells what was derived: every term of every equation, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import dsl
from dsl.system.explaining import Teller
from dsl.system.messages import terms_of
from dsl.text.format import expression

GOLDEN = Path(__file__).parent / "explained"


@pytest.mark.parametrize("cell", ["Elman", "Skip", "Pyramid", "Translate"])
def test_text(cell: str, golden: Callable[[Path, str], bool]) -> None:
    assert golden(GOLDEN / f"{cell}.txt", dsl.load(cell).adjoint().explain() + "\n")


def test_latex(golden: Callable[[Path, str], bool]) -> None:
    assert golden(GOLDEN / "Elman.tex", dsl.load("Elman").adjoint().explain(latex=True) + "\n")


@pytest.mark.parametrize("cell", dsl.cells())
def test_every_equation_has_a_reason(cell: str) -> None:
    adjoint = dsl.load(cell).adjoint()
    for equation in Teller(adjoint.forward.system, adjoint.derived).equations():
        assert equation.reasons, equation.target
        for reason in equation.reasons:
            assert reason.words


@pytest.mark.parametrize("cell", ["Elman", "LSTM", "Skip", "Pyramid", "GRU"])
def test_the_terms_explained_are_the_terms_of_the_equation(cell: str) -> None:
    adjoint = dsl.load(cell).adjoint()
    teller = Teller(adjoint.forward.system, adjoint.derived)
    checked = 0
    for name, equation in zip(adjoint.system.equations, teller.equations(), strict=True):
        told = sorted(expression(r.summand) for r in equation.reasons if r.summand is not None)
        if not told:
            continue
        terms = [expression(teller.tree(term)) for term in terms_of(adjoint.system.equations[name])]
        assert told == sorted(terms), name
        checked += 1
    assert checked > 3


def test_a_term_names_its_equation_its_read_its_rule_and_its_step() -> None:
    text = dsl.load("Skip").adjoint().explain()
    line = " ".join(text.split())
    assert "h[t] reads h[t-k] (matvec), which receives S.T@z_bar[t]; h[t] receives that of h[t+k]" in line
    assert "x_bar = g * ((1 + y) * (1 - y))" in line, "the rule of tanh"


def test_a_joined_adjoint_is_not_derived() -> None:
    with pytest.raises(ValueError, match="not derived"):
        dsl.load("Elman").adjoint(joined=True).explain()
