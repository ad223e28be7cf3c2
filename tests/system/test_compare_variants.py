"""`compare` on many hand-made forms of derived adjoints: equal ones are accepted, wrong ones named.

A variant is the printed adjoint with some pieces of text replaced.
"""

from __future__ import annotations

import re

import pytest

import dsl

Changes = tuple[tuple[str, str], ...]


def variant(cell: str, changes: Changes) -> str:
    text = str(dsl.load(cell).adjoint())
    for old, new in changes:
        changed = re.sub(old[1:], new, text) if old.startswith("~") else text.replace(old, new)
        assert changed != text, f"nothing to change: {old}"
        text = changed
    return text


RENAMED: Changes = ((r"~\b(\w+)_bar\b", r"d_\1"),)
RIGHT: list[tuple[str, str, Changes]] = [
    ("squared", "Elman", (("(1 + h[t]) * (1 - h[t])", "(1 - h[t]**2)"),)),
    ("multiplied out", "Elman", (("h_bar[t] * (1 + h[t]) * (1 - h[t])", "h_bar[t] - h_bar[t]*h[t]*h[t]"),)),
    ("renamed", "Elman", RENAMED),
    ("reader's step", "Elman", (("outer(z_bar[t], h[t-1])", "outer(z_bar[t+1], h[t])"),)),
    ("transposed outside", "Elman", (("sum[t](outer(z_bar[t], x[t]))", "sum[t](outer(x[t], z_bar[t])).T"),)),
    ("without h_bar", "Elman",
     (("  h_bar[t] = dh[t] + W.T@z_bar[t+1]\n", ""), ("= h_bar[t] *", "= (dh[t] + W.T@z_bar[t+1]) *"))),
    ("an equation more", "Elman",
     (("* (1 + h[t]) * (1 - h[t])", "* slope[t]"), ("  x_bar", "  slope[t] = 1 - h[t]**2\n  x_bar"))),
    ("a shift with a name", "Elman",
     (("W.T@z_bar[t+1]", "W.T@after[t]"), ("  x_bar[t] =", "  after[t] = z_bar[t+1]\n  x_bar[t] ="))),
    ("our name for a part", "Elman",
     (("dh[t] + W.T@z_bar[t+1]", "W.T@z_bar[t+1]"), ("= h_bar[t] *", "= (dh[t] + h_bar[t]) *"))),
    ("other sizes", "Elman", ((r"~\bH\b", "n"), (r"~\bD\b", "m"))),
    ("other order", "Elman",
     (("  x_bar[t] = V.T@z_bar[t]\n", ""), ("  output", "  x_bar[t] = V.T@z_bar[t]\n  output"))),
    ("messages squared", "LSTM", (("(1 + tanh(c[t]))*(1 - tanh(c[t]))", "(1 - tanh(c[t])**2)"),)),
    ("gates multiplied out", "LSTM", (("o_bar[t] * o[t] * (1 - o[t])", "o_bar[t]*(o[t] - o[t]**2)"),)),
    ("c read shifted", "LSTM",
     (("c_msg[t+1]", "c_bar[t+1]*f[t+1]"), (r"~  c_msg\[t\] = .*\n", ""),
      ("state c_msg[t]", "state c_bar[t]"), ("o[t], g[t]: H\n", "o[t], g[t]: H = 0\n"))),
    ("all renamed", "LSTM", RENAMED),
    ("one product", "LSTM", (("outer(z_f_bar[t], h[t-1])", "outer(z_f_bar[t+1], h[t])"),)),
    ("factored", "GRU", (("h_bar[t]*h[t-1] - h_bar[t]*n[t]", "h_bar[t]*(h[t-1] - n[t])"),)),
    ("two messages", "GRU",
     (("h_msg[t] = n_1_bar[t]*r[t] + h_bar[t]*z[t]", "h_msg[t] = n_1_bar[t]*r[t]\n  other[t] = h_bar[t]*z[t]"),
      ("+ h_msg[t+1]", "+ h_msg[t+1] + other[t+1]"), ("state h_msg[t]", "state other[t], h_msg[t]"))),
    ("expanded", "GRU", (("h_bar[t] * (1 - z[t])", "h_bar[t] - z[t]*h_bar[t]"),)),
    ("a message a lag", "Skip",
     (("S.T@z_bar[t+k]", "back[t+k]"), ("  x_bar[t]", "  back[t] = S.T@z_bar[t]\n  x_bar[t]"),
      ("state z_bar[t]", "state z_bar[t], back[t]"))),
    ("gradients renamed", "Skip", ((r"~\b([VWSbx])_bar\b", r"g\1"),)),
    ("factored by gate", "MGU",
     (("n_1_bar[t]*h[t-1] + h_bar[t]*n[t] - h_bar[t]*h[t-1]", "(n_1_bar[t] - h_bar[t])*h[t-1] + n[t]*h_bar[t]"),)),
    ("halved twice", "MGU", (("h_bar[t]*f[t]\n", "0.5*h_bar[t]*f[t]*2\n"),)),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "changes"), [r[1:] for r in RIGHT], ids=[f"{r[1]}: {r[0]}" for r in RIGHT])
def test_another_form_is_accepted(cell: str, changes: Changes) -> None:
    result = dsl.load(cell).adjoint().compare(variant(cell, changes), k=2)
    assert result, str(result)


WRONG: list[tuple[str, str, str]] = [  # cell, the equation, what it becomes
    ("Elman", "z_bar", "h_bar[t] * (1 - h[t]) * (1 - h[t])"),
    ("Elman", "z_bar", "h_bar[t] * (1 - h[t]**3)"),
    ("Elman", "h_bar", "dh[t] + W.T@z_bar[t+2]"),
    ("Elman", "h_bar", "dh[t] - W.T@z_bar[t+1]"),
    ("Elman", "h_bar", "W.T@z_bar[t+1]"),
    ("Elman", "x_bar", "V.T@h_bar[t]"),
    ("LSTM", "c_msg", "c_bar[t]*i[t]"),
    ("LSTM", "c_bar", "h_bar[t]*o[t]*(1 + tanh(c[t])) * (1 - tanh(c[t]))"),
    ("LSTM", "c_bar", "h_bar[t]*(1 + tanh(c[t]))*(1 - tanh(c[t])) + c_msg[t+1]"),
    ("LSTM", "f_bar", "c_bar[t]*c[t]"),
    ("LSTM", "i_bar", "c_bar[t]*o[t]"),
    ("LSTM", "o_bar", "h_bar[t]*c[t]"),
    ("LSTM", "z_g_bar", "g_bar[t] * g[t] * (1 - g[t])"),
    ("LSTM", "z_o_bar", "o_bar[t] * o[t]"),
    ("GRU", "h_msg", "n_1_bar[t]*r[t] + h_bar[t]*(1 - z[t])"),
    ("GRU", "n_1_bar", "W_n@z_n_bar[t]"),
    ("GRU", "z_bar", "h_bar[t]*n[t] - h_bar[t]*h[t-1]"),
    ("GRU", "r_bar", "n_1_bar[t]*h[t]"),
    ("Skip", "h_bar", "dh[t] + W.T@z_bar[t+1] + S.T@z_bar[t+1]"),
    ("Skip", "h_bar", "dh[t] + W.T@z_bar[t+1]"),
    ("MGU", "f_bar", "n_1_bar[t]*h[t-1] + h_bar[t]*n[t]"),
    ("MGU", "h_msg", "h_bar[t]*(1 - f[t])"),
]
TOTALS = [("Elman", "W_bar"), ("LSTM", "V_f_bar"), ("GRU", "W_n_bar"), ("Skip", "S_bar")]


def mistaken(cell: str, name: str, value: str) -> str:
    text = str(dsl.load(cell).adjoint())
    return re.sub(rf"^(  {name}\[t\] =)(?:.*\\\n)*.*$", lambda m: f"{m[1]} {value}", text, count=1, flags=re.M)


@pytest.mark.parametrize(("cell", "name", "value"), WRONG)
def test_a_wrong_equation_is_named(cell: str, name: str, value: str) -> None:
    text = mistaken(cell, name, value)
    assert text != str(dsl.load(cell).adjoint())
    result = dsl.load(cell).adjoint().compare(text, k=2)
    assert result.wrong == (name,), str(result)


@pytest.mark.parametrize(("cell", "name", "value"), WRONG[::2])
def test_a_wrong_equation_is_named_under_another_name(cell: str, name: str, value: str) -> None:
    text = mistaken(cell, name, value)
    inner = [n for n in ("h_bar", "z_bar", "c_bar", "h_msg", "c_msg", name) if not n.startswith("x")]
    for one in dict.fromkeys(inner):
        text = re.sub(rf"\b{one}\b", f"my_{one}", text)
    result = dsl.load(cell).adjoint().compare(text, k=2)
    assert not result
    wanted = f"my_{name}" if name in inner else name
    suspected = {*result.wrong, *(d for r in result.rows if not r.ok for d in r.doubt)}
    assert wanted in suspected, str(result)
    assert len(result.wrong) == 1, str(result)


@pytest.mark.parametrize(("cell", "name"), TOTALS)
@pytest.mark.parametrize("change", [(r"\[t-", "[t+"), (r"sum\[t\]\((.*)\)", r"2*sum[t](\1)")], ids=["shift", "factor"])
def test_a_wrong_total_is_named(cell: str, name: str, change: tuple[str, str]) -> None:
    text = str(dsl.load(cell).adjoint())
    line = next(x for x in text.split("\n") if x.startswith(f"  total {name} ="))
    wrong = re.sub(*change, line.split(" #")[0])
    if wrong == line.split(" #")[0]:
        wrong = line.split(" #")[0].replace("x[t]", "x[t]*0.5")
    result = dsl.load(cell).adjoint().compare(text.replace(line, wrong), k=2)
    assert result.wrong == (name,), str(result)


def test_a_transposed_gradient_is_wrong() -> None:
    text = variant("Elman", (("sum[t](outer(z_bar[t], x[t]))", "sum[t](outer(x[t], z_bar[t]))"),))
    assert dsl.load("Elman").adjoint().compare(text).wrong == ("V_bar",)
