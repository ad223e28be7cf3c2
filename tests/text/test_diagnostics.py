"""How a diagnostic is shown, and the catalogue behind the codes."""

from __future__ import annotations

import pickle

import pytest

from dsl.text import diagnostics
from dsl.text.diagnostics import CellError, Diagnostic, Label, explain, register, render, suggest
from dsl.text.tree import Source, Span

CELL = """\
cell Elman(D, H):
  input y[t]: H
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot

  h[t] = tanh(V@x[t] + W@x[t])
  g[t] = W@h[t-1]
"""


def at(text: str, part: str, nth: int = 0) -> Span:
    start = -1
    for _ in range(nth + 1):
        start = text.index(part, start + 1)
    return Span(start, start + len(part))


def test_the_example_of_the_language() -> None:
    diagnostic = Diagnostic(
        "E301",
        "shapes do not match in matrix product",
        at(CELL, "W@x[t]"),
        "W is (H,H), x[t] is D",
        (Label(at(CELL, "D", 1), "D from here"), Label(at(CELL, "W@h[t-1]"), "makes W (H,H)")),
        "did you mean `W@h[t-1]`?",
    )
    assert (
        render(diagnostic, Source(CELL))
        == """\
error[E301]: shapes do not match in matrix product
 7 |   h[t] = tanh(V@x[t] + W@x[t])
   |                        ^^^^^^ W is (H,H), x[t] is D
 3 |   input x[t]: D
   |               - D from here
 8 |   g[t] = W@h[t-1]
   |          -------- makes W (H,H)
 help: did you mean `W@h[t-1]`?"""
    )


def test_several_errors_are_sorted_by_position() -> None:
    late = Diagnostic("E202", "late", at(CELL, "g[t]"))
    early = Diagnostic("W901", "early", at(CELL, "h[t]"), severity="warning")
    error = CellError([late, early], Source(CELL))
    assert error.diagnostics == (early, late)
    assert (
        str(error)
        == """\
warning[W901]: early
 4 |   state h[t]: H = 0
   |         ^^^^

error[E202]: late
 8 |   g[t] = W@h[t-1]
   |   ^^^^"""
    )
    assert isinstance(error, ValueError)


def test_an_error_survives_pickling() -> None:
    error = CellError([Diagnostic("E202", "m", at(CELL, "g[t]"))], Source(CELL))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.diagnostics == error.diagnostics


def test_tabs_and_wide_characters_keep_the_carets_in_place() -> None:
    text = "\ty\t= 漢é\u0301字 + x\n"
    assert render(Diagnostic("E101", "m", at(text, "x")), Source(text)).splitlines()[1:] == [
        " 1 |     y    = 漢é\u0301字 + x",
        "   | " + 19 * " " + "^",
    ]
    assert render(Diagnostic("E101", "m", at(text, "字")), Source(text)).splitlines()[2] == "   | " + 14 * " " + "^^"


def test_control_characters_are_not_sent_to_the_terminal() -> None:
    text = "y = \x1b[31mred\x07\n"
    shown = render(Diagnostic("E101", "m", at(text, "\x1b")), Source(text))
    assert "\x1b" not in shown and "\x07" not in shown and "\N{REPLACEMENT CHARACTER}" in shown


def test_a_span_of_several_lines_shows_its_first_and_last() -> None:
    text = "a[t] = f(x,\n         y,\n         z)\nb = 1\n"
    span = Span(text.index("f("), text.index(")") + 1)
    assert (
        render(Diagnostic("E601", "m", span, "all of this"), Source(text))
        == """\
error[E601]: m
 1 | a[t] = f(x,
   |        ^^^^
 . |
 3 |          z)
   |          ^^ all of this"""
    )
    two = Span(text.index("f("), text.index("y") + 1)
    assert "\n . |" not in render(Diagnostic("E601", "m", two), Source(text))


def test_a_very_long_line_is_cut_around_the_carets() -> None:
    text = "y = " + "a + " * 5000 + "BAD" + " + b" * 5000 + "\n"
    header, line, marks = render(Diagnostic("E201", "m", at(text, "BAD")), Source(text)).splitlines()
    assert len(line) < 200 and "BAD" in line and line.startswith(" 1 | ...") and line.endswith("...")
    assert marks.index("^") == line.index("BAD") and marks.count("^") == 3
    everything = render(Diagnostic("E201", "m", Span(0, len(text) - 1)), Source(text))
    assert max(map(len, everything.splitlines())) < 200


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n"])
def test_places_at_and_beyond_the_end(text: str) -> None:
    for start in range(4):
        for length in range(3):
            shown = render(Diagnostic("E100", "m", Span(start, start + length)), Source(text))
            assert shown.count("^") == 1 or text[:1] == "a"


def test_files_are_named_once_and_other_files_at_their_places() -> None:
    here, other = Source("cell A():\n  use b = B(z=1)\n", "a.cell"), Source("cell B(x):\n  y = 1\n", "lib/b.cell")
    diagnostic = Diagnostic(
        "E601", "no such argument", Span(20, 21), related=(Label(Span(7, 8), "it has x", other), Label(Span(5, 6), "A"))
    )
    assert render(diagnostic, here).splitlines() == [
        "error[E601]: no such argument",
        "  --> a.cell:2:11",
        " 2 |   use b = B(z=1)",
        "   |           ^",
        "  --> lib/b.cell:1:8",
        " 1 | cell B(x):",
        "   |        - it has x",
        "  --> a.cell:1:6",
        " 1 | cell A():",
        "   |      - A",
    ]
    elsewhere = Diagnostic("E601", "in the library", Span(5, 6), source=other)
    assert "lib/b.cell:1:6" in str(CellError([elsewhere, diagnostic], here)).split("\n\n")[1]


def test_help_of_several_lines_is_indented() -> None:
    shown = render(Diagnostic("E304", "m", Span(0, 1), help="one\ntwo"), Source("x\n"))
    assert shown.endswith(" help: one\n       two")


def test_hundreds_of_errors_are_cut() -> None:
    error = CellError([Diagnostic("E101", f"m{i}", Span(i, i + 1)) for i in range(400)], Source("x" * 400))
    assert len(error.diagnostics) == 400 and str(error).endswith("... and 350 more")


def test_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "TITLES", dict(diagnostics.TITLES))
    monkeypatch.setattr(diagnostics, "EXPLANATIONS", dict(diagnostics.EXPLANATIONS))
    assert explain("e102").startswith("E102: power is `**`\n\n")
    assert register("E199", "a title", "\nlong text\n") == "E199"
    register("E199", "a title", "long text")  # modules may be reloaded
    assert explain("E199") == "E199: a title\n\nlong text\n"
    with pytest.raises(ValueError, match="E199 is already registered"):
        register("E199", "another", "")
    with pytest.raises(ValueError, match="no message has the code E1O3; did you mean E10"):
        explain("E1O3")


@pytest.mark.parametrize(
    ("name", "candidates", "nearest"),
    [
        ("tahn", ["tan", "tanh", "sinh"], "tanh"),  # two neighbours swapped are one edit
        ("Sigmoid", ["sigmoid", "sigmoida"], "sigmoid"),
        ("softmx", ["softmax", "log_softmax"], "softmax"),
        ("h", ["c", "x"], None),
        ("h", ["H", "x"], "H"),
        ("hidden", ["D", "H", "x"], None),
        ("conact", [], None),
        ("relu", ["relu"], None),
        ("ab", ["ac", "ad"], "ac"),
    ],
)
def test_suggestions(name: str, candidates: list[str], nearest: str | None) -> None:
    assert suggest(name, candidates) == nearest
