"""The printer: canonical layout, and the property that printing loses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings

from dsl.text.format import expression, format
from dsl.text.parse import parse, parse_expression
from dsl.text.tree import Binary, Call, Cell, Equation, Expr, File, Negative, Notes, Number, Output, Ref, Source
from dsl.text.wrap import WIDTH
from tests.text import trees


def exact(node: object) -> str:
    """A repr, because 2 == 2.0 == 2+0j."""
    return repr(node).replace("parenthesised=True", "parenthesised=False")


def without_spans(text: str) -> str:
    return re.sub(r"Span\(start=\d+, end=\d+\)", "Span", text)


@given(trees.expressions)
@settings(max_examples=300, deadline=None)
def test_an_expression_survives_printing(tree: Expr) -> None:
    text = expression(tree)
    again = parse_expression(text)
    assert without_spans(exact(again)) == without_spans(exact(tree)), text
    assert expression(again) == text


@given(trees.files)
@settings(max_examples=150, deadline=None)
def test_a_file_survives_printing_with_its_comments(file: File) -> None:
    text = format(file)
    again = parse(text)
    assert again.items == file.items, text
    assert format(again) == text == format(text)
    assert list(comments(again)) == list(comments(file)), text


def comments(file: File) -> Iterator[str]:
    """All comments of a file in reading order; where one is attached may change, that it stays may not."""
    for item in file.items:
        yield from filter(None, (*item.notes.before, item.notes.behind))
        if isinstance(item, Cell):
            for statement in item.body:
                yield from filter(None, (*statement.notes.before, statement.notes.behind))
            yield from filter(None, item.tail)
    yield from filter(None, file.tail)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("1+h[t]", "1 + h[t]"),
        ("tanh( V @ x[t]+W@h[ t - 1 ] + b )", "tanh(V@x[t] + W@h[t-1] + b)"),
        ("g[t] * (1+h[t]) * (1-h[t])", "g[t] * (1 + h[t]) * (1 - h[t])"),
        ("f[t] * c[t-1] + (1-f[t])*g[t]", "f[t]*c[t-1] + (1 - f[t])*g[t]"),
        ("r[t]*(U@h[t-1])", "r[t]*(U@h[t-1])"),
        ("U@h[t-1]*r[t]", "(U@h[t-1])*r[t]"),
        ("U@(r[t] * h[t-1])", "U@(r[t]*h[t-1])"),
        ("(M*W)@h[t]", "(M*W)@h[t]"),
        ("W@-x[t]", "W@(-x[t])"),
        ("-W@x[t]", "-(W@x[t])"),
        ("-x[t]**2", "-x[t]**2"),
        ("(-x[t])**2", "(-x[t])**2"),
        ("2**-1", "2**-1"),
        ("(a**b)**c", "(a**b)**c"),
        ("a**(b**c)", "a**b**c"),
        ("a-(b-c)", "a - (b - c)"),
        ("a*-b", "a*(-b)"),
        ("(a+b).T@c.H", "(a + b).T@c.H"),
        ("h[t-1].T", "h[t-1].T"),
        ("where( (t-c) % a == 0, m[ (t-c)//a ], 0)", "where((t-c)%a==0, m[(t-c)//a], 0)"),
        ("where(p[t]+1==-inf, 0, 1)", "where(p[t] + 1 == -inf, 0, 1)"),
        ("sum[ s , t ](a[t , s])", "sum[s,t](a[t,s])"),
        ("categorical(logits=U@h[t])", "categorical(logits = U@h[t])"),
        ("((x))", "x"),
        ("2.50e3j", "2500.0j"),
    ],
)
def test_spacing_and_parentheses(written: str, canonical: str) -> None:
    assert expression(parse_expression(written)) == canonical


def test_a_whole_file_in_canonical_layout() -> None:
    ragged = """\
# a family


from  norms import layernorm ,scale
def gate( z )=1/(1+exp(-z))
cell Leaky ( D,H , k = 4,Cell=Elman ) : # leaks

    input x[ t ] : D

    # the memory
    state h[t],c[t]:H=0      # read later


    param V_f,V_i,  W_f ~ orthogonal , kept
    param a:(H,2 * D)~uniform( -1,1 )
    time u : len( t )//2
    noise m[t]: H ~ bernoulli( 0.5 )
    use  r = reverse stack 2 of Cell( x = x,H = 2 * H )
    h[t]=tanh( # inside
       V_f@x[t]+r.h[t] )
    y[t]~categorical( logits=h[t] )
    loss nll=-mean[t]( logprob(y[t]) )
    total S = sum[t]( outer(h[t],h[t]) )
    output h,r.0.c   # both
    # the end
# of all
"""
    assert (
        format(ragged)
        == """\
# a family

from norms import layernorm, scale

def gate(z) = 1/(1 + exp(-z))

cell Leaky(D, H, k=4, Cell=Elman):              # leaks
  input x[t]: D

  # the memory
  state h[t], c[t]: H = 0                       # read later

  param V_f,V_i, W_f ~ orthogonal, kept
  param a: (H, 2*D) ~ uniform(-1, 1)
  time u: len(t)//2
  noise m[t]: H ~ bernoulli(0.5)
  use r = reverse stack 2 of Cell(x=x, H=2*H)
  # inside
  h[t] = tanh(V_f@x[t] + r.h[t])
  y[t] ~ categorical(logits = h[t])
  loss nll = -mean[t](logprob(y[t]))
  total S = sum[t](outer(h[t], h[t]))
  output h, r.0.c                               # both
  # the end

# of all
"""
    )


def test_long_sums_break_under_the_equals_sign() -> None:
    terms = " + ".join(f"W_{i}.T@z_{i}_bar[t+1]" for i in range(9))
    lines = format(f"cell A():\n  h_bar[t] = {terms}\n").splitlines()[1:]
    assert len(lines) == 3 and all(len(line) <= WIDTH for line in lines)
    assert all(line.startswith("           + ") for line in lines[1:])
    assert all(line.endswith(" \\") for line in lines[:-1])


def test_long_lists_break_after_commas() -> None:
    text = format("cell A():\n  output " + ",".join(f"stream_{i}" for i in range(30)))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert text.splitlines()[2].startswith("         stream_")
    assert len(parse(text).cells["A"].body[0].refs) == 30  # type: ignore[union-attr]


def test_long_calls_break_inside_their_brackets_without_backslash() -> None:
    text = format("cell A():\n  y[t] = concat(" + ", ".join(f"part(x[t], {i}, H)" for i in range(12)) + ")")
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "\\" not in text and text.splitlines()[2].startswith(" " * len("  y[t] = concat(") + "part")
    assert format(text) == text


def test_a_name_too_long_to_break_is_left_alone() -> None:
    text = f"cell A():\n  {'h' * 150}[t] = {'g' * 150}[t]\n"
    assert format(text) == text


def test_trees_without_source_are_printed_as_systems_are() -> None:
    t = Ref("t")
    message = Binary("*", Ref("g", (t,)), Binary("-", Number(1), Ref("h", (t,))))
    cell = Cell(
        "Elman_adjoint",
        (),
        (
            Equation(Ref("h_bar", (t,)), message, notes=Notes(("backward in t",), "a message")),
            Equation(Ref("W_bar"), Call("sum", (), ("t",)), total=True),
            Output((Ref("h_bar"), Ref("rnn.0.W_bar"))),
        ),
    )
    assert (
        format(cell)
        == """\
cell Elman_adjoint():
  # backward in t
  h_bar[t] = g[t] * (1 - h[t])                  # a message
  total W_bar = sum[t]()
  output h_bar, rnn.0.W_bar
"""
    )
    assert format(File((cell,), Source(""))) == format(cell)
    assert format(cell.body[2]) == "output h_bar, rnn.0.W_bar\n"


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (Binary("**", Number(-2), Number(2)), "(-2)**2"),
        (Binary("-", Ref("a"), Number(-2.5)), "a - (-2.5)"),
        (Negative(Negative(Ref("a"))), "-(-a)"),
        (Binary("*", Number(1 + 2j), Ref("a")), "(1.0 + 2.0j) * a"),
        (Number(float("inf")), "inf"),
        (Number(np.float32(0.5)), "0.5"),
        (Number(np.int64(3)), "3"),
    ],
)
def test_numbers_no_literal_has(tree: Expr, text: str) -> None:
    assert expression(tree) == text
    assert expression(parse_expression(text)) == text


def test_nan_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="NaN"):
        expression(Number(float("nan")))


def test_printing_needs_no_recursion() -> None:
    tree: Expr = Ref("a")
    for _ in range(10_000):
        tree = Binary("+", tree, Ref("b", (Ref("t"),)))
    text = format(Equation(Ref("y", (Ref("t"),)), tree))
    assert text.count("b[t]") == 10_000
    assert max(map(len, text.splitlines())) <= WIDTH


def test_the_empty_file() -> None:
    assert format("") == format("\n\n") == ""
    assert format("# only this") == "# only this\n"
