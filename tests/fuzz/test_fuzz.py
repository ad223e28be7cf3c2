"""A few hundred broken and random cells in every run; thousands by `python -m tests.fuzz --cases 5000`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsl.text.diagnostics import CellError
from tests.fuzz import check, mutate, sentences

CASES = 120
REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.cell"))


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda p: p.stem)
def test_regression(path: Path) -> None:
    check.judge(path.read_text("utf-8"), compiled=path.stem.startswith("compiled"))


@pytest.mark.parametrize("first", range(0, CASES, 30))
def test_mutated_cells_of_the_library(first: int) -> None:
    stages = {check.judge(*mutate.mutant(seed)).stage for seed in range(first, first + 30)}
    assert {"refused", "agreed"} <= stages, "neither all broken nor all sound"


@pytest.mark.parametrize("first", range(0, CASES, 30))
def test_sentences_of_the_grammar(first: int) -> None:
    for seed in range(first, first + 30):
        check.judge(sentences.text(seed))


def test_every_cell_that_is_mutated_is_sound() -> None:
    texts = mutate.cells()
    assert len(texts) > 50
    for text in texts:
        assert check.parse(text).system.equations


def test_the_judge_sees_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("t")

    monkeypatch.setattr("dsl.spec.resolve", broken)
    with pytest.raises(KeyError):
        check.judge(mutate.cells()[0])


def test_the_judge_sees_words_of_the_compiler() -> None:
    from dsl.text.diagnostics import Diagnostic
    from dsl.text.tree import Source, Span

    for message in ("h is (?3,D)", "unknown name `^y`", "NoneType has no shape"):
        error = CellError([Diagnostic("E301", message, Span(0, 1))], Source("cell A():\n"))
        with pytest.raises(check.Broken):
            check._refused(error, 0)
