"""The table of mistakes that the language's page promises: for each row the place, the code and the way out.

In a row `‹ ›` marks the place that the message points at.
"""

from __future__ import annotations

import pytest

import dsl
from dsl.text.diagnostics import CellError, Diagnostic

TOP = "cell A(D, H):\n  input x[t]: D\n"
STATE = "  state h[t]: H = 0\n  param V, W ~ glorot\n"
STEP = "  h[t] = tanh(V@x[t] + W@h[t-1])\n"
CELL = TOP + STATE + STEP
PAIR = TOP + "  input s_in[s]: H\n" + STATE + STEP
GATE = TOP + STATE + "  r[t] = sigmoid(h[t-1])\n"

ROWS = [  # name, source, code, words of the message or the help
    ("header without colon", "cell A(D)‹\n›  y = 1\n", "E107", "expected `:`"),
    ("power", CELL + "  y[t] = x[t] ‹^› 2\n", "E102", "`**`"),
    ("implicit product", CELL + "  y[t] = 2 ‹x›[t]\n", "E103", "never implicit: `2*x[t]`"),
    ("closing bracket", CELL + "  y[t] = tanh(x[t])‹)›\n", "E104", "nothing opens this `)`"),
    ("circled dot", CELL + "  y[t] = h[t] ‹⊙› h[t]\n", "E101", "write `*`"),
    ("update", CELL + "  y[t] ‹+=› x[t]\n", "E108", "`y[t] = y[t-1] + x[t]`?"),
    ("two groups", TOP + "  state h[t]: H = 0‹,› c[t]\n", "E109", "`state h[t], c[t]: H = 0`"),
    ("misspelt function", TOP + STATE + STEP.replace("tanh", "‹tahn›"), "E202", "`tanh`?"),
    ("time as subscript", TOP + STATE + STEP.replace("h[t-1]", "‹h_t›"), "E214", "`h[t]`?"),
    ("no index", TOP + STATE + STEP.replace("h[t-1]", "‹h›"), "E402", "`h[t-1]`?"),
    ("a matrix with an index", TOP + STATE + STEP.replace("W@", "‹W[t]›@"), "E211", "constant in time"),
    ("defined twice", CELL + "  ‹h[t]› = x[t]\n", "E208", "defined twice"),
    ("no equation", TOP + "  state ‹c[t]›: H = 0\n  y[t] = c[t-1]\n", "E210", "no equation defines `c`"),
    ("read before the first step", CELL + "  z[t] = W@h[t]\n  y[t] = ‹z[t-1]›\n", "E412", "`state z[t]: H = 0`"),
    ("no padding", TOP + "  y[t] = ‹x[t-1]›\n", "E413", "`input x[t]: D = 0`"),
    ("other axis", PAIR + "  y[t] = s_in[‹t›]\n", "E404", "`s_in[s]` inside `sum[s]"),
    ("free axis", PAIR + "  a[t,s] = h[t]@s_in[s]\n  c[t] = ‹a[t,s]›*2\n", "E403", "sum[s]"),
    ("unknown axis", TOP + "  z[‹u›] = x[2*u]\n", "E401", "`time u: len(t)//2`"),
    ("vector plus matrix", CELL + "  param b = 0\n  y[t] = h[t]*b\n  z = ‹b + W›\n", "E302", "only scalars broadcast"),
    ("two readings", GATE + "  h[t] = tanh(V@x[t] + ‹r[t] * W@h[t-1]›)\n", "E304", "`r[t]*(W@h[t-1])`"),
    ("vector left of matrix", TOP + STATE + STEP.replace("V@x[t]", "‹x[t]@V›"), "E303", "`V@x[t]`"),
    ("shape by nothing", CELL + "  param ‹q› ~ glorot\n", "E305", "never used"),
    ("concat of two", TOP + STATE + "  h[t] = ‹concat(V@x[t] + W@h[t-1], h[t-1])›\n", "E306", "H"),
    ("no such argument", TOP + "  use r = LSTM(x=x, ‹hidden=H›)\n", "E601", "D, H, x"),
    ("complex into real", TOP + "  state h[t]: D = 0\n  ‹h[t] = fft(h[t-1])›\n", "E307", "re(...)"),
    ("itself", TOP + STATE + "  ‹h[t] = tanh(V@x[t] + W@h[t])›\n", "E501", "`h[t-1]`?"),
    ("cycle", TOP + "  ‹a[t] = b[t] + x[t]›\n  b[t] = 2*a[t]\n", "E502", "a → b → a"),
    ("past and future", TOP + STATE + "  ‹h[t] = W@h[t-1] + W@h[t+1] + V@x[t]›\n", "E504", "two states"),
    ("before the first", CELL + "  y[t] = h[‹-1›]\n", "E408", "`last(h)`?"),
    ("at the length", CELL + "  y[t] = h[‹len(t)›]\n", "E409", "`last(h)`"),
    ("varying offset", CELL + "  k[t] = sum(x[t])\n  y[t] = h[‹t-k[t]›]\n", "E410", "must be a constant"),
    ("stride in its own recurrence", TOP + STATE + "  ‹h[t] = W@h[2*t] + V@x[t]›\n", "E503", ""),
    ("floor in its own recurrence", TOP + STATE + "  ‹h[t] = W@h[t//2] + V@x[t]›\n", "E503", ""),
    ("past the end", TOP + "  time u: len(t)//2\n  y[u] = ‹x[2*u+2]›\n", "E413", ""),
    ("varying boundary", CELL + "  state c[t]: H = ‹h[t]›\n  c[t] = c[t-1] + h[t]\n", "E415", "cannot vary with t"),
]  # fmt: skip


def mistakes(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(CellError) as caught:
        _ = dsl.parse(text).system
    return caught.value.diagnostics


@pytest.mark.parametrize(("source", "code", "words"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_one_mistake_one_message(source: str, code: str, words: str) -> None:
    start, end = source.index("‹"), source.index("›") - 1
    (found,) = mistakes(source.replace("‹", "").replace("›", ""))
    assert found.code == code, found
    assert words in f"{found.message} {found.help}", found
    assert (found.span.start, found.span.end) == (start, end), found


def test_a_suggestion_comes_from_what_is_in_scope() -> None:
    """By edit distance: names, functions, arguments, axes, cells, streams of copies, initialisers, distributions."""
    near = {
        CELL + "  y[t] = tahn(x[t])\n": "tanh",
        CELL + "  gate[t] = h[t]\n  y[t] = gaet[t]\n": "gate",
        CELL + "  use r = LSTN(x=x, H=H)\n": "LSTM",
        CELL + "  use r = LSTM(x=x, HH=H)\n": "H",
        CELL + "  use r = stack 2 of LSTM(x=x, H=H)\n  y[t] = r.hh[t]\n": "r.h",
        CELL.replace("x[t]: D", "x[t]: d"): "D",
        CELL.replace("glorot", "glrot"): "glorot",
        CELL + "  noise m[t]: H ~ dropuot(0.1)\n": "dropout",
        CELL + "  y[t] ~ catgorical(logits = h[t])\n": "categorical",
        CELL + "  output hh\n": "h",
        CELL + "  time uu: len(t)//2\n  y[uu] = h[2*u]\n": "uu",
        "from lsmt import LSTM\n" + CELL: "lstm",
        "from lstm import Peephle\n" + CELL: "Peephole",
        CELL.replace("  state", "  sttae"): "state",
    }  # fmt: skip
    for text, wanted in near.items():
        (found,) = mistakes(text)
        assert f"did you mean `{wanted}`" in f"{found.message} {found.help}", found


def test_several_at_once_are_sorted_by_line() -> None:
    text = TOP + STATE + "  h[t] = tahn(V@x[t] + W@h)\n  y[t] = h[-1]\n  z[t] ^ 2\n  q[t] = nothing[t]\n"
    found = mistakes(text)
    assert [d.span.start for d in found] == sorted(d.span.start for d in found)
    assert {"E202", "E402", "E408"} <= {d.code for d in found}


@pytest.mark.parametrize(
    ("cell", "arguments", "words"),
    [
        ("LSTM", {"H": "a"}, "`H` is a number, given 'a'"),
        ("LSTM", {"H": 2.5}, "a size is an integer, `H` is 2.5"),
        ("LSTM", {"K": 3}, "`LSTM` has no argument `K`"),
        ("Skip", {"k": 1.5}, "`k` is an integer, given 1.5"),
        ("CharRNN", {"L": "two"}, "`L` is a number, given 'two'"),
        ("CharRNN", {"L": 0}, "a known integer of at least 1"),
        ("CharRNN", {"Cell": 3}, "`Cell` needs a cell"),
        ("CharRNN", {"Cell": "GRUU"}, "no cell named `GRUU`"),
    ],
)
def test_a_wrong_argument_is_one_message(cell: str, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(CellError) as caught:
        _ = dsl.load(cell, **arguments).system
    (found,) = caught.value.diagnostics
    assert words in found.message


def test_streams_asked_for_must_exist() -> None:
    with pytest.raises(ValueError, match=r"LSTM has no stream 'V_ff'; did you mean 'V_f'"):
        dsl.load("LSTM").adjoint(wrt=("V_ff",))


def test_a_stride_is_settled_by_its_default_and_by_what_is_given() -> None:
    text = (
        TOP.replace("H)", "H, k=2)").replace("x[t]: D", "x[t]: D = 0")
        + "  time u: len(t)//k\n  state z[u]: D = 0\n  z[u] = x[k*u] + x[k*u+k-1]\n  y[t] = z[t//k]\n  output y\n"
    )
    spec = dsl.parse(text)
    assert "z[t//2]" in str(spec(k=2).adjoint().explain()) and "dy[3*u+2]" in str(spec(k=3).adjoint())
    with pytest.raises(ValueError, match=r"made with k=2"):
        spec.system.bind({"k": 3})
    found = mistakes(text.replace("k=2", "k"))
    assert [d.code for d in found] == ["E411"] and "`k` has none yet" in found[0].message


def test_initialisers_may_use_sizes() -> None:
    text = CELL.replace("V, W ~ glorot", "V, W ~ uniform(-1/sqrt(H), 1/sqrt(H))\n  param b = -1/H")
    model = dsl.parse(text.replace("h[t-1])", "h[t-1] + b)")).build(D=3, H=16, seed=0)
    V = model.params["V"].numpy()
    assert 0.2 < abs(V).max() <= 0.25
    assert (model.params["b"].numpy() == -1 / 16).all()


def test_long_sums_go_through_the_adjoint_and_back() -> None:
    lags = " + ".join(f"h[t-{k}]" for k in range(1, 301))
    adjoint = dsl.parse(
        TOP + "  state h[t]: H = 0\n  param V ~ glorot\n" + f"  h[t] = tanh(V@x[t] + {lags})\n"
    ).adjoint()
    assert dsl.parse(str(adjoint)).system.equations.keys() == adjoint.system.equations.keys()
    assert "z_bar[t+300]" in str(adjoint)
