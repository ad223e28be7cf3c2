"""What the language says of each mistake: one golden text a file of `mistakes/`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import dsl
from dsl.system.explanations import explain
from dsl.text.diagnostics import CellError, render

MISTAKES = sorted((Path(__file__).parent / "mistakes").glob("*.cell"))


def said(path: Path) -> tuple[str, list[str]]:
    """Everything reported on a file's last cell, and the codes."""
    try:
        spec = dsl.parse(path.read_text(encoding="utf-8"))
        warnings = spec.warnings
    except CellError as error:
        return str(error) + "\n", [d.code for d in error.diagnostics]
    return "\n\n".join(render(w, spec.file.source) for w in warnings) + "\n", [w.code for w in warnings]


@pytest.mark.parametrize("path", MISTAKES, ids=[p.stem for p in MISTAKES])
def test_message(path: Path, golden: Callable[[Path, str], bool]) -> None:
    text, codes = said(path)
    assert codes, "a mistake was accepted in silence"
    assert golden(path.with_suffix(".txt"), text)


@pytest.mark.parametrize("path", MISTAKES, ids=[p.stem for p in MISTAKES])
def test_every_code_has_an_explanation(path: Path) -> None:
    for code in said(path)[1]:
        assert len(explain(code).splitlines()) > 2


def test_all_mistakes_of_a_file_at_once() -> None:
    path = Path(__file__).parent / "mistakes" / "several.cell"
    with pytest.raises(CellError) as caught:
        _ = dsl.parse(path.read_text(encoding="utf-8")).system
    assert [d.code for d in caught.value.diagnostics] == ["E202", "E402", "E202", "E208", "E408"]
    starts = [d.span.start for d in caught.value.diagnostics]
    assert starts == sorted(starts)


def test_a_syntax_error_does_not_hide_the_rest() -> None:
    text = "cell A(D, H):\n  input x[t]: D\n  state h[t]: H = 0\n  param V, W ~ glorot\n"
    text += "  h[t] = tahn(V@x[t] + W@h)\n  z[t] = h[t]^2\n  y[t] = 2*z[t]\n"
    with pytest.raises(CellError) as caught:
        dsl.parse(text)
    assert [d.code for d in caught.value.diagnostics] == ["E202", "E402", "E102"], (
        "and nothing about z, whose line is unread"
    )
