"""No input whatever makes the parser fail otherwise than by a CellError that can be shown."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.text.diagnostics import EXPLANATIONS, CellError
from dsl.text.format import format
from dsl.text.parse import parse

GOOD = """\
from norms import layernorm  # a neighbour
def gate(z, k) = 1/(1 + exp(-z))**k

cell Mixed(D, H, k=4, Cell=Elman):
  # comment
  input x[t]: one_hot D = none
  state h[t], c[t]: (H, 2*D) = last(enc.0.h)
  param W_f,W_i: complex (H, D) ~ orthogonal, kept
  noise m: scalar ~ dropout(0.5)
  time u: len(t)//2
  use enc = reverse stack 2 of Cell(x=x, H=2*H)
  h[t] = tanh(W_f.T@x[2*t+1] - -1.5e-3j*h[t-k]) \\
       + where(t%2 == 0, h[t-1], enc.h[len(t)-1-t].H)
  y[t] ~ categorical(logits = sum[s](a[t,s]))
  loss nll = -mean[t](logprob(y[t]))
  total S = sum[t](outer(h[t], x[t]))
  output h, enc.0.c
"""
FRAGMENTS = (
    *"()[]=~,:@*+-/%^\\#.\n\t \"'⊙é²\x00\u2028",
    "**",
    "==",
    "+=",
    "cell ",
    "def ",
    "from ",
    "\n  h[t] = ",
    "2 ",
    ".T",
    "in ",
    " if ",
    "kept",
    "use a = ",
    "state h: ",
)
pieces = st.sampled_from(FRAGMENTS)


def check(text: str) -> None:
    try:
        file = parse(text)
    except CellError as error:
        shown = str(error)
        assert shown.isprintable() or "\n" in shown
        starts = [d.span.start for d in error.diagnostics]
        assert starts == sorted(starts)
        for diagnostic in error.diagnostics:
            assert diagnostic.code in EXPLANATIONS and diagnostic.message
            assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(error.source.text) + 1
    else:
        again = format(file)
        assert parse(again).items == file.items and format(again) == again


def test_the_seed_is_right() -> None:
    assert len(parse(GOOD).items) == 3


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text(text: str) -> None:
    check(text)


@given(st.lists(pieces | st.sampled_from(GOOD.split()), max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_soup_of_tokens(words: list[str]) -> None:
    check("".join(words))
    check("cell A():\n y = " + " ".join(words))


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_mutated_files(data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        to = min(len(text), at + data.draw(st.integers(0, 6)))
        text = text[:at] + data.draw(pieces | st.just("")) + text[to:]
    check(text)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_cut_off_files(data: st.DataObject) -> None:
    check(GOOD[: data.draw(st.integers(0, len(GOOD)))])
