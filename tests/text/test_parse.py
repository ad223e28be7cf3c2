"""The parser: every construct of the grammar becomes the right tree with the right span."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import lark
import pytest

import dsl.text.parse as parse_module
from dsl.text.parse import parse, parse_expression
from dsl.text.tree import (
    Argument,
    Binary,
    Call,
    Cell,
    Declaration,
    Draw,
    Equation,
    Expr,
    Import,
    Loss,
    Macro,
    Negative,
    Notes,
    Number,
    Output,
    Parameter,
    Ref,
    Statement,
    TimeAxis,
    Transpose,
    Type,
    Use,
)
from dsl.text.walk import children, depth, reads, walk

t, s, u = Ref("t"), Ref("s"), Ref("u")
H, D, V, W = Ref("H"), Ref("D"), Ref("V"), Ref("W")
x = Ref("x", (t,))
one = Number(1)


def at(name: str, *index: Expr) -> Ref:
    return Ref(name, index)


def statement(text: str) -> Statement:
    (only,) = parse(f"cell A():\n  {text}\n").cells["A"].body
    return only


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("2", Number(2)),
        ("pi", Ref("pi")),
        ("h", Ref("h")),
        ("rnn.0.W_f", Ref("rnn.0.W_f")),
        ("rnn.0.c[t-1]", at("rnn.0.c", Binary("-", t, one))),
        ("a[t,s]", at("a", t, s)),
        ("z[2*u+1]", at("z", Binary("+", Binary("*", Number(2), u), one))),
        ("z[(t-1)//2]", at("z", Binary("//", Binary("-", t, one), Number(2)))),
        ("x[len(t)-1-t]", at("x", Binary("-", Binary("-", Call("len", (Argument(t),)), one), t))),
        ("W.T", Transpose(W, "T")),
        ("rnn.W.H", Transpose(Ref("rnn.W"), "H")),
        ("W.T.H", Transpose(Transpose(W, "T"), "H")),
        ("x[t].T", Transpose(x, "T")),
        ("(V@W).T", Transpose(Binary("@", V, W), "T")),
        ("f(x[t]).H", Transpose(Call("f", (Argument(x),)), "H")),
        ("2.T", Transpose(Number(2), "T")),
        ("W.T@x[t]", Binary("@", Transpose(W, "T"), x)),
        ("W@-x[t]", Binary("@", W, Negative(x))),
        ("W@-x[t]@V", Binary("@", Binary("@", W, Negative(x)), V)),
        ("W@--x[t]", Binary("@", W, Negative(Negative(x)))),
        ("-W@x[t]", Negative(Binary("@", W, x))),
        ("V*W@x[t]", Binary("*", V, Binary("@", W, x))),
        ("W@x[t]*V", Binary("*", Binary("@", W, x), V)),
        ("-h**2", Negative(Binary("**", Ref("h"), Number(2)))),
        ("-h*s", Binary("*", Negative(Ref("h")), s)),
        ("h**s**t", Binary("**", Ref("h"), Binary("**", s, t))),
        ("2**-h", Binary("**", Number(2), Negative(Ref("h")))),
        ("W@h**2", Binary("@", W, Binary("**", Ref("h"), Number(2)))),
        ("W.T**2", Binary("**", Transpose(W, "T"), Number(2))),
        ("t - s - u", Binary("-", Binary("-", t, s), u)),
        ("t - -s", Binary("-", t, Negative(s))),
        ("t/s*u", Binary("*", Binary("/", t, s), u)),
        ("t % 2 == 0", Binary("==", Binary("%", t, Number(2)), Number(0))),
        ("t <= s + 1", Binary("<=", t, Binary("+", s, one))),
        ("(t < s) * (s < u)", Binary("*", Binary("<", t, s), Binary("<", s, u))),
        ("sum[s](a[t,s])", Call("sum", (Argument(at("a", t, s)),), ("s",))),
        ("max[t,s](a[t,s])", Call("max", (Argument(at("a", t, s)),), ("t", "s"))),
        ("f(x[t], axis = 2)", Call("f", (Argument(x), Argument(Number(2), "axis")))),
        ("zeros()", Call("zeros", ())),
        ("one_hot(t, H)", Call("one_hot", (Argument(t), Argument(H)))),  # a word in one place, a name here
        ("stack + of", Binary("+", Ref("stack"), Ref("of"))),
        ("f(kept = complex)", Call("f", (Argument(Ref("complex"), "kept"),))),
    ],
)
def test_expressions(text: str, tree: Expr) -> None:
    assert parse_expression(text) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("12", 12), ("007", 7), ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("2e3", 2000.0), ("1.5E-3", 0.0015),
        ("2j", 2j), ("1.5e1j", 15j), ("123456789012345678901234567890", 123456789012345678901234567890),
    ],
)  # fmt: skip
def test_numbers(text: str, value: complex) -> None:
    number = parse_expression(text)
    assert isinstance(number, Number)
    assert (number.value, type(number.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("input x[t]: D", Declaration("input", (x,), Type((D,)))),
        ("input x[t]: one_hot K = none", Declaration("input", (x,), Type((Ref("K"),), "one_hot"), Ref("none"))),
        ("input dnll: scalar", Declaration("input", (Ref("dnll"),), Type(()))),
        ("input c: complex scalar", Declaration("input", (Ref("c"),), Type((), "complex"))),
        (
            "state h[t], c[t]: H = 0",
            Declaration("state", (at("h", t), at("c", t)), Type((H,)), Number(0)),
        ),
        ("state enc.h_bar[s]: 2*H", Declaration("state", (at("enc.h_bar", s),), Type((Binary("*", Number(2), H),)))),
        ("param V, W ~ glorot", Declaration("param", (V, W), None, None, Call("glorot", ()))),
        ("param W: (H, D)", Declaration("param", (W,), Type((H, D)))),
        ("param W: (H+1)*2", Declaration("param", (W,), Type((Binary("*", Binary("+", H, one), Number(2)),)))),
        (
            "param V: complex (H, D) ~ glorot",
            Declaration("param", (V,), Type((H, D), "complex"), None, Call("glorot", ())),
        ),
        ("param W ~ orthogonal, kept", Declaration("param", (W,), None, None, Call("orthogonal", ()), True)),
        (
            "param W: H ~ uniform(-1, 1), kept",
            Declaration(
                "param", (W,), Type((H,)), None, Call("uniform", (Argument(Negative(one)), Argument(one))), True
            ),
        ),
        ("const P = permutation(H)", Declaration("const", (Ref("P"),), None, Call("permutation", (Argument(H),)))),
        (
            "noise m[t]: H ~ dropout(0.1)",
            Declaration("noise", (at("m", t),), Type((H,)), None, Call("dropout", (Argument(Number(0.1)),))),
        ),
        ("time u: len(t)//2", TimeAxis("u", Binary("//", Call("len", (Argument(t),)), Number(2)))),
        ("use a = LSTM()", Use("a", "LSTM", ())),
        ("use a = reverse LSTM(x=x[t])", Use("a", "LSTM", (Argument(x, "x"),), True)),
        ("use a = stack L of C(H=H)", Use("a", "C", (Argument(H, "H"),), False, Ref("L"))),
        ("use a = reverse stack 2*L of C()", Use("a", "C", (), True, Binary("*", Number(2), Ref("L")))),
        ("use stack = C(Cell=LSTM)", Use("stack", "C", (Argument(Ref("LSTM"), "Cell"),))),
        ("output h, low.y", Output((Ref("h"), Ref("low.y")))),
        ("loss nll = -h", Loss("nll", Negative(Ref("h")))),
        ("total low.W_bar = sum[t](x[t])", Equation(Ref("low.W_bar"), Call("sum", (Argument(x),), ("t",)), True)),
        ("m = max[t](x[t])", Equation(Ref("m"), Call("max", (Argument(x),), ("t",)))),
        ("a[t,s] = x[t]", Equation(at("a", t, s), x)),
        (
            "y[t] ~ categorical(logits = x[t])",
            Draw(at("y", t), Call("categorical", (Argument(x, "logits"),))),
        ),
    ],
)
def test_statements(text: str, tree: Statement) -> None:
    assert statement(text) == tree


def test_items() -> None:
    file = parse("from std.norm import layernorm, C\ndef gate(z, k) = z**k\n\ncell A(D, k=4, Cell=LSTM):\ncell B():\n")
    assert file.items == (
        Import("std.norm", ("layernorm", "C")),
        Macro("gate", ("z", "k"), Binary("**", Ref("z"), Ref("k"))),
        Cell("A", (Parameter("D"), Parameter("k", Number(4)), Parameter("Cell", Ref("LSTM"))), ()),
        Cell("B", (), ()),
    )
    assert list(file.cells) == ["A", "B"]


def test_lines_are_continued_by_backslashes_and_open_brackets() -> None:
    plain = statement("y[t] = f(x[t], 1) + 2")
    assert statement("y[t] = f(x[t], 1) \\\n     + 2") == plain
    assert statement("y[t] = f(x[t],   # why\n\n 1\n  ) + 2") == plain
    assert statement("y[t] = f(x[t], 1) \\  \n\\\n     + 2") == plain
    assert parse("cell A():\n  y = 1 \\").cells["A"].body == (Equation(Ref("y"), one),)


def test_every_kind_of_line_end_is_a_line_end() -> None:
    text = "cell A():\n  y = 1\n\n  z = 2\n"
    for end in ("\r\n", "\r"):
        assert parse(text.replace("\n", end)).items == parse(text).items
    assert parse("\ufeff" + text).items == parse(text).items


def test_indentation_and_blank_lines_mean_nothing() -> None:
    assert parse("cell A():\ny=1\n\n\n\t z=2").items == parse("  cell A():\n    y = 1\n  z = 2\n").items


def test_comments_are_kept_where_they_stood() -> None:
    text = """\
# first

# of the cell
cell A():  # header
  # one

  # two
  y = f(1,  # inner
        2)  # behind

  z = 3
  # last of A

# of B
cell B():
# end
"""
    file = parse(text)
    a, b = file.cells["A"], file.cells["B"]
    assert a.notes == Notes(("first", "", "of the cell"), "header")
    assert a.body[0].notes == Notes(("one", "", "two", "inner"), "behind")
    assert a.body[1].notes == Notes(("",))  # an empty line before it
    assert a.tail == ("last of A",)
    assert b.notes == Notes(("", "of B"))
    assert file.tail == ("end",)


def test_spans_cover_what_was_written() -> None:
    text = """\
cell A(D, k=4):
  state h[t]: (H, D) = last(enc)
  y[t] = -(W.T@x[t] + b) * f(h[t-1].T, axis = 2)
  use a = stack 2 of C(x=x)
"""
    file = parse(text)
    cell = file.cells["A"]

    def source(node: object) -> str:
        return text[node.span.start : node.span.end]  # type: ignore[attr-defined]

    assert source(cell) == "cell A(D, k=4):"
    assert [source(p) for p in cell.parameters] == ["D", "k=4"]
    assert [source(node) for node in cell.body] == [line.strip() for line in text.splitlines()[1:]]
    assert [source(node) for node in walk(cell.body[0])] == [
        "state h[t]: (H, D) = last(enc)", "h[t]", "t", "(H, D)", "H", "D", "last(enc)", "enc", "enc",
    ]  # fmt: skip
    assert [source(node) for node in walk(cell.body[1])][1:] == [
        "y[t]", "t", "-(W.T@x[t] + b) * f(h[t-1].T, axis = 2)", "-(W.T@x[t] + b)", "(W.T@x[t] + b)", "W.T@x[t]", "W.T",
        "W", "x[t]", "t", "b", "f(h[t-1].T, axis = 2)", "h[t-1].T", "h[t-1].T", "h[t-1]", "t-1", "t", "1", "axis = 2",
        "2",
    ]  # fmt: skip


def test_parentheses_are_remembered_beside_a_matrix_product() -> None:
    bare, wrapped = parse_expression("r*U@h"), parse_expression("r*(U@h)")
    assert bare == wrapped
    assert [n.parenthesised for n in walk(bare) if isinstance(n, Binary)] == [False, False]
    assert [n.parenthesised for n in walk(wrapped) if isinstance(n, Binary)] == [False, True]


def test_walking_a_tree() -> None:
    tree = parse_expression("f(a[t-1], -b) + W.T")
    assert [ref.name for ref in reads(tree)] == ["a", "t", "b", "W"]
    assert depth(tree) == 6 and depth(Number(1)) == 1
    assert children(Number(1)) == ()
    deep: Expr = one
    for _ in range(20_000):
        deep = Binary("+", deep, one)
    assert depth(deep) == 2 and sum(1 for _ in walk(deep)) == 40_001, "a sum leans left"
    for _ in range(20_000):
        deep = Negative(deep)
    assert depth(deep) == 20_002


def test_the_grammar_has_no_conflicts() -> None:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    lark.logger.addHandler(handler)
    level = lark.logger.level
    lark.logger.setLevel(logging.DEBUG)
    try:
        grammar = files("dsl.text").joinpath("grammar.lark").read_text(encoding="utf-8")
        lark.Lark(grammar, parser="lalr", start=["line", "expression"], debug=True)
        lark.Lark('start: a "x" | a "x" "x"\na: "y" | "y" start', parser="lalr", debug=True)
    finally:
        lark.logger.removeHandler(handler)
        lark.logger.setLevel(level)
    conflicts = [message for message in messages if "onflict" in message]
    assert len(conflicts) == 1, conflicts  # of the second grammar: the log is being heard


def test_every_terminal_has_a_name() -> None:
    grammar = files("dsl.text").joinpath("grammar.lark").read_text(encoding="utf-8")
    parser = lark.Lark(grammar, parser="lalr", start=["line", "expression"])
    assert parser.terminals
    named = {line.split(":")[0].split(".")[0] for line in grammar.splitlines() if line[:1].isupper() or line[:1] == "_"}
    assert {terminal.name for terminal in parser.terminals} <= named


def test_threads_share_the_parser() -> None:
    text = "cell A():\n" + "".join(f"  y{i}[t] = tanh(W@x[t-{i}] + {i})\n" for i in range(100))
    expected, results = parse(text).items, []
    threads = [threading.Thread(target=lambda: results.append(parse(text).items == expected)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4


def test_the_first_parse_of_a_process_is_quick() -> None:
    code = (
        "import time; start = time.process_time(); from dsl.text.parse import parse; parse('cell A():\\n  y = 1\\n')\n"
        "print(time.process_time() - start)"
    )
    seconds = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert seconds < 1.0  # 0.2 on a laptop; a slow machine may take its time


def test_the_parser_from_disk_is_the_one_that_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built once, then read; damage and a directory that cannot be written cost only time."""
    text = files("dsl.library").joinpath("lstm.cell").read_text(encoding="utf-8")
    make = parse_module._parser.__wrapped__
    built: list[int] = []

    def lark_built(*args: Any, **options: Any) -> lark.Lark:
        built.append(1)
        return lark.Lark(*args, **options)

    def anew() -> object:
        """The tree, by a parser that this process has not made yet."""
        monkeypatch.setattr(parse_module, "_parser", cache(make))
        return parse(text)

    monkeypatch.setattr(parse_module, "Lark", lark_built)
    monkeypatch.setenv("TGSEQ_CACHE_DIR", str(tmp_path))
    first = anew()
    assert len(built) == 1 and anew() == first and len(built) == 1
    (path,) = tmp_path.glob("grammar_*.bin")
    whole = path.read_bytes()
    for k, damaged in enumerate((b"", whole[:-1], b"x" * 100)):
        path.write_bytes(damaged)
        assert anew() == first and len(built) == 2 + k and path.stat().st_size > 10_000
    monkeypatch.setenv("TGSEQ_CACHE_DIR", "/dev/null/nowhere")
    assert anew() == first
