"""What resolving a deep stack costs: work is done once where nothing is left to find out."""

from __future__ import annotations

import pytest

import dsl
from dsl.system.infer import Inference, Statement
from dsl.system.unify import Unifier

STACK = "cell Deep(H):\n  input x[t]: H\n  use r = stack 16 of LSTM(x=x, H=H)\n  y[t] = r[t]\n  output y\n"


def test_an_equation_whose_sizes_are_known_is_inferred_once_more_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for what it finds, once at the end for what may be wrong; a few wait for their neighbours."""
    seen: dict[int, int] = {}
    infer = Inference._statement

    def counted(self: Inference, statement: Statement) -> None:
        seen[id(statement)] = seen.get(id(statement), 0) + 1
        infer(self, statement)

    monkeypatch.setattr(Inference, "_statement", counted)
    assert len(dsl.parse(STACK).system.equations) == 97
    assert sum(seen.values()) < 4 * len(seen)


def test_a_chain_of_sizes_is_followed_once() -> None:
    unifier = Unifier()
    sizes = [unifier.fresh() for _ in range(50)]
    for a, b in zip(sizes, sizes[1:], strict=False):
        unifier.unify_dims(a, b)
    assert len({unifier.dim(s) for s in sizes}) == 1
    assert {unifier.solved[s.name] for s in sizes if s.name in unifier.solved} == {unifier.dim(sizes[0])}
