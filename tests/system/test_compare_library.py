"""`compare` on every library cell: other forms of its adjoint are accepted, and one mistake is named.

The printed adjoint is rewritten as another author may write it (`rewriting`). A mistake is one that changes a gradient,
which is seen by computing both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from dsl.run.unroll import unroll
from dsl.spec import AdjointSpec, cells, load
from dsl.system.resolve import resolve
from dsl.text.diagnostics import CellError
from dsl.text.parse import parse
from dsl.text.tree import Cell
from tests.system.numeric import bound, data, lengths, normal
from tests.system.rewriting import EQUAL, MISTAKES, all_renamed, equations, text_of, with_value

LARGE = ("HandwritingSynthesis", "Handwriting", "CTCLabeller", "Captioning", "Word2Char")  # minutes, not seconds
KINDS = list(MISTAKES)
TRIES = 3  # changes of one equation


def library() -> Iterator[Any]:
    for name in cells():
        yield pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name


@cache
def derived(name: str) -> tuple[AdjointSpec, Cell]:
    """The adjoint of a library cell, and its printed text as a tree."""
    ours = load(name).adjoint()
    return ours, next(iter(parse(str(ours)).cells.values()))


@pytest.mark.parametrize("name", library())
def test_another_form_is_accepted(name: str) -> None:
    ours, cell = derived(name)
    result = ours.compare(text_of(EQUAL["all at once"](cell)))
    assert result, str(result)


@pytest.mark.slow
@pytest.mark.parametrize("form", [f for f in EQUAL if f != "all at once"])
@pytest.mark.parametrize("name", library())
def test_each_form_is_accepted(name: str, form: str) -> None:
    ours, cell = derived(name)
    result = ours.compare(text_of(EQUAL[form](cell)))
    assert result, str(result)


class Gradients:
    """The gradients of a cell by an adjoint's text, on random ragged data."""

    def __init__(self, ours: AdjointSpec) -> None:
        self.ours, rng = ours, np.random.default_rng(3)
        forward, system = bound(ours.forward.system), bound(ours.system)
        self.lengths = lengths(forward)
        self.fed = data(forward, rng, self.lengths)
        made = unroll(forward, self.fed, self.lengths, 3, tuple(forward.equations))
        fed = {n: made[n] for n, s in system.streams.items() if n in made and n not in system.equations}
        drawn = {given: normal(forward.streams[n], made[n].shape, rng) for n, given in ours.cotangents.items()}
        self.fed = {n: v for n, v in {**self.fed, **fed, **drawn}.items() if n in system.streams}
        self.right = self.of(str(ours))

    @np.errstate(all="ignore")
    def of(self, text: str) -> dict[str, Any]:
        system = bound(resolve(parse(text), None, {})[0])
        return unroll(system, self.fed, self.lengths, 3, tuple(self.ours.gradients.values()))

    def differ(self, text: str) -> bool:
        """Whether a changed text is an adjoint still, and not that of the cell."""
        try:
            found = self.of(text)
        except (CellError, ValueError):
            return False
        return any(not _close(found[n], v) for n, v in self.right.items())


def _close(found: Any, right: Any) -> bool:
    return np.shape(found) == np.shape(right) and np.allclose(found, right, rtol=1e-5, atol=1e-5 * abs(right).max())


def mistaken(name: str, kind: str) -> tuple[Cell, str]:
    """An adjoint with a mistake of some kind, and the equation that it is in."""
    ours, cell = derived(name)
    judge, rng = Gradients(ours), random.Random(f"{name} {kind}")
    candidates = list(equations(cell).values())
    rng.shuffle(candidates)
    for equation in candidates:
        changed = list(MISTAKES[kind](equation.value))
        for value in rng.sample(changed, min(TRIES, len(changed))):
            wrong = with_value(cell, equation.target.name, value)
            if judge.differ(text_of(wrong)):
                return wrong, equation.target.name
    pytest.skip(f"no equation of {name} can be wrong by its {kind}")


def named(name: str, kind: str) -> None:
    wrong, culprit = mistaken(name, kind)
    result = derived(name)[0].compare(text_of(wrong))
    assert result.wrong == (culprit,), str(result)


@pytest.mark.parametrize("name", library())
def test_a_mistake_is_named(name: str) -> None:
    """One of each cell; the kinds take turns, `transpose` where there is a square matrix."""
    named(name, KINDS[cells().index(name) % 3])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", library())
def test_every_kind_of_mistake_is_named(name: str, kind: str) -> None:
    named(name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", library())
def test_a_mistake_under_other_names_is_suspected(name: str, kind: str) -> None:
    """Where no name tells what an equation stands for, those that it may be in are said, the likeliest first."""
    wrong, culprit = mistaken(name, kind)
    mine = f"e{list(equations(wrong)).index(culprit)}"
    result = derived(name)[0].compare(text_of(all_renamed(wrong)))
    assert not result
    suspected = {*result.wrong, *(d for r in result.rows if not r.ok for d in r.doubt)}
    assert mine in suspected or culprit in result.missing, str(result)  # it may have become another gradient of ours
