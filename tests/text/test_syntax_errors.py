"""Every syntax message: its code, its words, where its carets stand. ‹ › mark the span in the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsl.text.diagnostics import EXPLANATIONS, CellError, Diagnostic
from dsl.text.format import format
from dsl.text.parse import parse, parse_expression, parse_file

COPY = "a copy of a cell is written `use name = [reverse] [stack n of] Cell(x=x, H=H)`"
CASES = [
    # the rows of the language's table that are syntax
    ("cell A(D)‹\n›", "E107", "expected `:` after the header"),
    ("y[t] = x[t] ‹^› 2", "E102", "power is `**`"),
    ("y[t] = 2 ‹x›[t]", "E103", "multiplication is never implicit: `2*x[t]`"),
    ("y[t] = tanh(x[t])‹)›", "E104", "nothing opens this `)`"),
    ("y[t] = f[t] ‹⊙› c[t]", "E101", "`⊙` is not in the language: write `*`"),
    ("y[t] ‹+=› x[t]", "E108", "equations define, not update: `y[t] = y[t-1] + x[t]`?"),
    ("state h[t]: H = 0‹,› c[t]", "E109", "one group per line: `state h[t], c[t]: H = 0`"),
    # and the others
    ("cell A‹:›", "E107", "a header lists its arguments in parentheses"),
    ("cell A(D): ‹input› x[t]: D", "E107", "the header ends at its `:`"),
    ("‹def› A(D, H):", "E107", "a cell begins with `cell`, a `def` is one expression"),
    ("def f(x)‹:› 2*x", "E107", "a `def` is one expression: `def gate(z) = ...`"),
    ("def f(‹)› = 2", "E107", "a `def` needs an argument; a cell or a `const` needs none"),
    ("y[t] = x[t]‹²›", "E101", "`²` is not in the language: write `**2`"),
    ("y[t] = ‹x²›", "E102", "power is `**`"),
    ("y[t] = a[t] ‹−› b[t]", "E101", "`−` is not in the language: write `-`"),
    ("y[t] =‹\u00a0›b[t]", "E101", "no-break space is not in the language: write a plain space"),
    ('y[t] = ‹"›a', "E101", 'there are no strings in the language: "'),
    ("y[t] = a‹;› ", "E101", "`;` does not end a statement: one statement per line"),
    ("y[t] = ‹𝄞›", "E101", "`𝄞` (musical symbol g clef) has no meaning here"),
    ("y[t] = ‹\x00›", "E101", "U+0000 has no meaning here"),
    ("‹α›[t] = x[t]", "E123", "names are made of the letters a-z, A-Z, digits and `_`, not `α`"),
    ("‹hé›[t] = x[t]", "E123", "names are made of the letters a-z, A-Z, digits and `_`, not `é`"),
    ("y[t] = (1 - z[t]) ‹h›[t-1]", "E103", "multiplication is never implicit: `(1 - z[t])*h[t-1]`"),
    ("y[t] = 2‹(›x[t] + 1)", "E103", "multiplication is never implicit: `2*(x[t] + 1)`"),
    ("y[t] = tanh(z[t]) ‹x›", "E103", "multiplication is never implicit: `tanh(z[t])*x`"),
    ("y[t] = W.T ‹x›[t]", "E103", "multiplication is never implicit: `W.T@x[t]`"),
    ("y[t] = tanh‹(›x[t]", "E105", "this `(` is never closed"),
    ("y[t] = tanh(x[t‹)›)", "E106", "`)` does not close `[`"),
    ("m ‹*=› 2", "E108", "equations define, not update: one `=` for each name"),
    ("y[t] ‹*=› f[t]", "E108", "equations define, not update: `y[t] = y[t-1]*f[t]`?"),
    ("param W ~ glorot‹,› V ~ normal(0, 1)", "E109", "one group per line: `param W, V ~ glorot`"),
    ("param W ~ orthogonal, ‹kep›", "E109", "did you mean `kept`?"),
    ("param W = 0‹,› kept", "E109", "only what is drawn (`~`) can be kept: `param W ~ orthogonal, kept`"),
    ("y[t] = where(0 < t ‹<› 5, a, b)", "E110", "comparisons do not chain: write `(a < b) * (b < c)`"),
    ("‹inptu› x[t]: D", "E112", "no statement begins with `inptu`; did you mean `input`?"),
    ("‹wherever› x", "E112", "no statement begins with `wherever`"),
    ("x[t]‹:› D", "E112", "is this an input, a state or a parameter? `input x[t]: ...`"),
    ("a[t]‹,› b[t] = f(x[t])", "E112", "an equation defines one name: one line for each"),
    ("a[t] ‹*› 2 = f(x[t])", "E112", "an equation defines one name, alone to the left of `=`"),
    ("‹(›a) = 2", "E112", "a line begins with a word (`input`, `state`, `param`, ...) or defines a name: `h[t] = ...`"),
    ("tanh‹\n›", "E112", "this defines nothing: expected `=` or `~` after `tanh`"),
    ("‹input›[t] = 2", "E113", "`input` is a word of the language and cannot be a name"),
    ("y[t] = a + ‹loss›", "E113", "`loss` is a word of the language and cannot be a name"),
    ("‹output› = h", "E113", "`output` is a word of the language and cannot be a name"),
    ("y[t] =‹\n›", "E114", "an expression is missing after `=`"),
    ("y[t] = a +‹\n›", "E114", "an expression is missing after `+`"),
    ("y[t] = f(a, ‹)›", "E114", "expected an expression after `,`, not `)`"),
    ("y[t] = ‹*› 2", "E114", "expected an expression after `=`, not `*`"),
    ("y[t] = ‹+›2", "E114", "expected an expression after `=`, not `+`"),
    ("y[t] = a[t] @ b[t] ** ‹/› 2", "E114", "expected an expression after `**`, not `/`"),
    ("y[t] = ‹" + "9" * 400 + "›", "E116", "an integer of 400 digits is too large"),
    ("y[t] = ‹1e999›", "E116", "this number is too large for double precision"),
    ("y[t] = where(a[t] ‹=› 0, b, c)", "E117", "comparison is `==`"),
    ("y[t] ‹==› x[t]", "E117", "an equation is written with one `=`; `==` compares"),
    ("y[t] ‹:=› x[t]", "E117", "an equation is written with `=`"),
    ("y[t] = a[t] ‹=› 0", "E117", "one `=` a line: each equation defines one name"),
    ("y[t] = a + ‹\\› # more", "E118", "nothing may follow `\\` on its line"),
    ("y[t] = sum[‹t-1›](a[t])", "E119", "the brackets of `sum` name the axis it runs over"),
    ("y[t] = ‹h.T[t]›", "E120", "`.T` is a transpose: the index goes before it"),
    ("‹W.H› = V", "E120", "`.H` is a transpose: it cannot be part of a name"),
    ("use r = LSTM(‹x[t]›, H=H)", "E121", "the arguments of `use` are named: `LSTM(x=..., H=...)`"),
    ("‹if› t", "E124", "there is no `if`: write `where(condition, a, b)`"),
    ("y[t] = a[t] ‹if› c else b", "E124", "there is no `if`: write `where(condition, a, b)`"),
    ("y[t] = ‹not› a[t]", "E124", "there is no `not`: write `1 - condition`"),
    ("‹return› y", "E124", "there is no `return`: write `output h`"),
    ("y[t] = x[0‹:›t]", "E125", "there are no slices: an index is one step, as in `h[t-1]`"),
    ("loss nll‹[›t] = y[t]", "E126", "a loss is one number per sequence"),
    ("time u‹[›t]: len(t)", "E126", "an axis has no index"),
    (
        "y[t] = (a[t] + b[t])‹[›t-1]",
        "E127",
        "only a name takes an index: name the expression in an equation of its own",
    ),
    ("y[t] = a[t]‹[›s]", "E127", "all axes go into one pair of brackets: `a[t,s]`"),
    ("y[t] = a[t]‹[›0]", "E127", "a component is no index: `sum(part(a[t], 0, 1))` is the number"),
    ("y[t] = ‹rnn.f›(x[t])", "E127", "`rnn.f` is no function: their names have no dots"),
    ("y[t] = x[‹]›", "E127", "the index is missing"),
    ("y[t] = V‹'›@x[t]", "E101", "transpose is `.T`"),
    (
        "y[t] = ‹|›x[t]|",
        "E101",
        "there is no `|`: absolute value is `abs(x)`, and the `or` of conditions their `maximum`",
    ),
    ("y[t] = x_‹{›t-1}", "E101", "there are no braces: an index is written `x[t-1]`"),
    ("y[t] = x[t] ‹?› 1 : 2", "E101", "there is no `?`: write `where(condition, a, b)`"),
    ("y[t] = rnn ‹.›h[t]", "E101", "a `.` joins the parts of a name without spaces, as in `rnn.h[t]`"),
    ("h‹(t)› = tanh(x[t])", "E112", "an index goes in square brackets: `h[t] = ...`"),
    ("‹tanh(x[t])›", "E112", "this defines nothing: a line begins with a word or with `name[t] =`"),
    ("y[t] = tanh(x[t]) ‹output› y", "E112", "a statement begins on a line of its own"),
    ("y[t] ‹<-› x[t]", "E117", "an equation is written with `=`"),
    ("y[t] ~ categorical(logits‹:› z)", "E117", "an argument is given by `=`: `logits = ...`"),
    ("state h[t] = 0‹:› H", "E128", "the type goes before the value: `state h[t]: H = 0`"),
    ("state h[t] ‹H› = 0", "E128", "a `:` goes before the type: `state h[t]: H = 0`"),
    ("param W ‹(›H, D)", "E128", "a `:` goes before the type: `param W: (H, D)`"),
    ("param W: ‹[›H, D]", "E128", "the sizes of a matrix go in parentheses: `(H, D)`"),
    ("param W: (H ‹D›)", "E128", "sizes are separated by commas: `(H, D)`"),
    ("input x[t]: ‹one-hot› K", "E128", "a category is written `one_hot K`"),
    ("output h ‹y›, z", "E129", "names are separated by commas: `output h, y, z`"),
    ("output h[t] ‹+› 1", "E129", "`output` lists names: define what it gives out in an equation of its own"),
    ("use r = stack of ‹LSTM›(x=x)", "E121", COPY),
    ("use r = ‹2› of LSTM(x=x)", "E121", COPY),
    ("use LSTM‹(›x=x)", "E121", COPY),
    ("use r = LSTM‹\n›", "E121", COPY),
    ("y[t] ~ categorical‹\n›", "E100", "the line ends too early"),
    ("param W ~‹\n›", "E100", "the line ends too early"),
    ("loss ‹-›y", "E100", "`-` does not fit here"),
    ("time u ‹=› len(t)", "E100", "`=` does not fit here"),
    ("noise m[t]: H ‹=› 2", "E100", "`=` does not fit here"),
]


def only(text: str) -> Diagnostic:
    with pytest.raises(CellError) as caught:
        parse(text)
    assert len(caught.value.diagnostics) == 1, str(caught.value)
    return caught.value.diagnostics[0]


@pytest.mark.parametrize(("marked", "code", "message"), CASES, ids=[f"{c[1]}-{i}" for i, c in enumerate(CASES)])
def test_message_and_place(marked: str, code: str, message: str) -> None:
    header = "" if marked.startswith(("cell", "def", "from")) else "cell Test(D):\n  "
    text = header + marked
    start, end = text.index("‹"), text.index("›") - 1
    found = only(text.replace("‹", "").replace("›", "") + "\n")
    assert (found.code, found.message) == (code, message)
    assert (found.span.start, found.span.end) == (start, end)
    assert code in EXPLANATIONS


def test_every_page_of_the_catalogue_has_a_case() -> None:
    elsewhere = {"E111", "E115", "E122"}  # tested below
    cases = {code for _, code, _ in CASES}
    assert cases | elsewhere == {code for code in EXPLANATIONS if code.startswith("E1")}


WHOLE = """\
error[E106]: `)` does not close `[`
 3 |   h[t] = tanh(V@x[t] + W@h[t-1)
   |                               ^
 3 |   h[t] = tanh(V@x[t] + W@h[t-1)
   |                           - opens here, wants `]`

error[E107]: expected `:` after the header
 10 | cell B(D, H)
    |             ^
 help: cell B(D, H):"""


def test_the_whole_rendering() -> None:
    text = "cell Elman(D, H):\n  input x[t]: D\n  h[t] = tanh(V@x[t] + W@h[t-1)\n" + 6 * "\n" + "cell B(D, H)\n"
    with pytest.raises(CellError) as caught:
        parse(text)
    assert str(caught.value) == WHOLE


def test_what_would_have_fitted_is_named() -> None:
    found = only("cell A():\n  time u = len(t)\n")
    assert (found.label, found.help) == ("expected `:`", "as in `time u: len(t)//2`")
    found = only("cell A():\n  noise m[t] = 2\n")
    assert (found.label, found.help) == ("expected `:` or `~`", "as in `noise m[t]: H ~ dropout(0.1)`")
    assert only("cell A():\n  y[t] ~ f\n").label == "expected `(` or `[`"
    assert only("from a import B C\n").label == "expected `,` or the end of the line"


def test_all_errors_of_a_file_in_order_of_position() -> None:
    text = """\
cell A(D)
  input x[t]: D
  y[t] = x[t]^2
  z[t] = 2 x[t]
  ok[t] = y[t]
  w[t] = tanh((x[t] + 1
  h[t] += 1
cell B(D):
  v[t] = f(a,
  output v
cell C(D:
  u[t] = ⊙ + ×
"""
    with pytest.raises(CellError) as caught:
        parse(text)
    lines = [(caught.value.source.line_of(d.span.start), d.code) for d in caught.value.diagnostics]
    assert lines == [
        (1, "E107"), (3, "E102"), (4, "E103"), (6, "E105"), (7, "E108"), (9, "E105"), (11, "E105"), (12, "E101"),
        (12, "E101"),
    ]  # fmt: skip


def test_statements_without_a_cell_are_one_error() -> None:
    found = only("x[t] = 1\ny[t] = 2\ncell A():\n  z = 3\n")
    assert (found.code, found.span.start) == ("E111", 0)
    assert only("cell A():\n  z = 3\ndef f(x) = x\nw = 1\n").code == "E111"


def test_a_misspelt_header_does_not_orphan_its_statements() -> None:
    assert only("cel A(D):\n  input x[t]: D\n  output x\n").message.endswith("did you mean `cell`?")


def test_arguments_on_lines_of_their_own_are_no_new_statement() -> None:
    parse("cell A():\n  y[t] ~ categorical(\n    logits = z[t],\n    more = 2)\n  use a = B(\n    x=x,\n    H=2\n  )\n")


def test_only_the_innermost_open_bracket_is_reported() -> None:
    text = "cell A():\n  y = f(g(h[t]\n  output y\n"
    assert only(text).span.start == text.index("g(") + 1


@pytest.mark.parametrize("opening", ["(", "f(", "a[", "((("])
def test_deep_nesting_is_one_clear_error(opening: str) -> None:
    closing = ")" if "(" in opening else "]"
    for n in (10_000, 101):
        text = f"cell A():\n  y = {opening * n}1{closing * (n * len(opening.strip('fa')))}\n"
        found = only(text)
        assert found.code == "E115"
        assert len(str(CellError([found], parse("").source))) < 1000


@pytest.mark.parametrize("long", ["-" * 10_000 + "a", "a" + "**2" * 10_000, "a" + ".T" * 10_000])
def test_long_chains_are_one_clear_error(long: str) -> None:
    assert only(f"cell A():\n  y = {long}\n").code == "E115"
    assert only(f"cell A():\n  state h: H = {long}\n").code == "E115"


def test_a_sum_of_ten_thousand_terms_is_no_deeper_than_one_of_two() -> None:
    text = f"cell A():\n  y = {' + '.join(['a*b'] * 10_000)}\n"
    assert "".join(format(parse(text)).split()).replace("\\", "") == "".join(text.split())


def test_one_hundred_brackets_and_long_lists_are_fine() -> None:
    parse(f"cell A():\n  y = {'(' * 100}1{')' * 100}\n")
    parse(f"cell A():\n  y = concat({', '.join(f'x[t-{i}]' for i in range(5000))})\n")


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.cell"
    path.write_bytes("cell A():\r\n  # é\r\n  y = 1\n".encode("latin-1"))
    with pytest.raises(CellError) as caught:
        parse_file(path)
    text = str(caught.value)
    assert text.startswith("error[E122]: the file is not UTF-8 text: byte 0xe9 at offset 15\n")
    assert f"{path}:2:5" in text and "save the file as UTF-8" in text


def test_files_are_named_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "wrong.cell"
    path.write_text("\ufeffcell A():\r\n  y = 2 x\r\n", encoding="utf-8", newline="")
    with pytest.raises(CellError) as caught:
        parse_file(path)
    assert f"\n  --> {path}:2:9\n 2 |   y = 2 x\n   |         ^" in str(caught.value)


def test_one_expression_is_expected() -> None:
    for text in ("a +", "", "a\nb", "a = b", "a)"):
        with pytest.raises(CellError):
            parse_expression(text)


def test_every_product_without_a_sign_is_told() -> None:
    text = "cell A(D):\n  input x[t]: D\n  y[t] = 2 x[t] + tanh(3 x[t-1])\n"
    with pytest.raises(CellError) as caught:
        parse(text)
    (found,) = caught.value.diagnostics
    assert found.message.endswith("`2*x[t]`")
    assert [label.text for label in found.related] == ["`3*x[t-1]`"]


def test_prose_is_one_mistake() -> None:
    with pytest.raises(CellError) as caught:
        parse("cell A(D):\n  input x[t]: D\n  y[t] = the hidden state of the cell at this step\n")
    assert [len(d.related) for d in caught.value.diagnostics] == [0]
