"""Colours: every word of the language gets its own, and no text loses a character."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pygments")

from pygments.token import Comment, Error, Keyword, Name, Number, Operator, Token, Whitespace  # noqa: E402

from dsl.text.lexer import CellLexer  # noqa: E402
from dsl.text.mistakes import FORMS  # noqa: E402
from tests.text.test_fuzz import GOOD  # noqa: E402


def kinds(text: str) -> list[tuple[object, str]]:
    return [(kind, value) for kind, value in CellLexer(ensurenl=False, stripnl=False).get_tokens(text)]


def test_a_statement() -> None:
    shown = [pair for pair in kinds("  h[t] = tanh(W.T@x[t-1])  # why") if pair[0] is not Whitespace]
    assert [value for kind, value in shown if kind is Name.Function] == ["tanh"]
    assert [value for kind, value in shown if kind is Name.Variable] == ["h", "t", "W", "x", "t"]
    assert [value for kind, value in shown if kind is Operator] == ["=", ".T", "@", "-"]
    assert (Number, "1") in shown and (Comment.Single, "# why") in shown


@pytest.mark.parametrize("text", sorted(FORMS.values()))
def test_every_form_begins_with_a_keyword(text: str) -> None:
    kind, value = next(pair for pair in kinds(f"  {text}\n") if pair[0] is not Whitespace and pair[1])
    assert kind in Keyword and value == text.split()[0]


def test_words_of_one_place_are_words_only_there() -> None:
    line = kinds("  use enc = reverse stack 2 of Cell(x=x)\n  input x[t]: one_hot D\n  z = one_hot(i, K) + kept*of\n")
    assert [v for k, v in line if k is Keyword.Type] == ["reverse", "stack", "of", "one_hot"]
    assert (Name.Function, "one_hot") in line


def test_a_whole_file_has_no_error() -> None:
    assert all(kind is not Error and kind is not Token.Text for kind, _ in kinds(GOOD))


@given(st.text(max_size=80))
@settings(max_examples=100, deadline=None)
def test_no_text_loses_a_character(text: str) -> None:
    plain = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    assert "".join(value for _, value in kinds(text)) == plain
