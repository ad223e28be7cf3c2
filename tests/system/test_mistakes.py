"""What the language says of each mistake: one golden text a file of `mistakes/`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import dsl
from dsl.system.explanations import explain
from dsl.system.messages import Irreversible
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
    assert [d.code for d in caught.value.diagnostics] == ["E202", "E402", "E202", "E208", "E408", "E413"]
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


HEAD = "cell A(D, H):\n  input x[t]: D\n  state h[t]: H = 0\n  param V, W ~ glorot\n"


def codes(text: str) -> list[str]:
    with pytest.raises(CellError) as caught:
        _ = dsl.parse(text).system
    return [d.code for d in caught.value.diagnostics]


def test_an_unread_line_hides_only_the_names_that_it_may_give() -> None:
    body = "  h[t] = tanh(V@x[t] + W@h[t-1] + q)\n"
    assert codes(HEAD + "  state h[t]: H = 0\n" + body + "  return h\n") == ["E207", "E201", "E124"]
    assert codes(HEAD + body + "  q = 2 D\n") == ["E103"]
    assert codes(HEAD + body + "  y[t] = tanh(x[t]\n    q = 2\n") == ["E105"]
    assert codes(HEAD + body + "  y[t] = x[t] + \\\n    2 D # and not q\n") == ["E201", "E103"]


def test_a_header_that_was_not_read_takes_its_lines_with_it() -> None:
    body = "  input x[t]: D\n  state h[t]: H = 0\n  h[t] = x[t] + h[t-1]\n"
    assert codes("def A(D, H):\n" + body) == ["E107"]
    assert codes("cell B(D, H):\n  input y[t]: D\n  z[t] = 2*y[t]\ncel A(D, H):\n" + body + body) == ["E112"]


def test_imports_in_a_circle(tmp_path: Path) -> None:
    cell = "cell {0}(D):\n  input x[t]: D\n  y[t] = 2*x[t]\n"
    (tmp_path / "a.cell").write_text("from b import B\n" + cell.format("A"))
    (tmp_path / "b.cell").write_text("from a import A\n" + cell.format("B"))
    with pytest.raises(CellError) as caught:
        _ = dsl.load(str(tmp_path / "a.cell")).system
    assert [d.code for d in caught.value.diagnostics] == ["E204"]


def test_a_read_that_cannot_be_turned_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Irreversible("of its index")

    monkeypatch.setattr("dsl.system.collect.inverse", refuse)
    with pytest.raises(CellError) as caught:
        dsl.load("Elman").adjoint()
    assert [d.code for d in caught.value.diagnostics] == ["E705"]
    assert "this read of `h` is not compiled yet: of its index" in str(caught.value)


def test_every_code_of_meaning_is_seen_in_a_test() -> None:
    """A code without a golden text is a message nobody has read."""
    source = Path(dsl.__file__).parent
    raised: set[str] = set()
    for path in [*source.glob("system/*.py"), source / "spec.py"]:
        if not path.name.startswith("explanations"):
            raised |= set(re.findall(r'"([EW]\d{3})"', path.read_text(encoding="utf-8")))
    seen = {code for path in MISTAKES for code in said(path)[1]} | {"E204", "E705"}  # the two above
    assert not raised - seen
