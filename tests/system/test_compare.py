"""`compare` accepts a right adjoint in other words, and names the equation where a wrong one went wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dsl

BY_HAND = """
cell ByHand(D, H):
  input x[t]: D
  input h[t]: H = 0
  input delta[t]: H
  param V: (H, D)
  param W: (H, H)
  state q[t]: H = 0
  q[t] = (delta[t] + W.T@q[t+1])*(1 - h[t]**2)
  x_bar[t] = V.T@q[t]
  total V_bar = sum[t](outer(q[t], x[t]))
  total W_bar = sum[t](outer(q[t+1], h[t]))
  total b_bar = sum[t](q[t])
  output x_bar, V_bar, W_bar, b_bar
"""


def test_another_form_under_other_names_is_accepted() -> None:
    result = dsl.load("Elman").adjoint().compare(BY_HAND)
    assert result
    assert {r.name: r.ours for r in result.rows}["q"] == "z_bar"
    assert "all equations agree" in str(result)


@pytest.mark.parametrize(
    ("right", "wrong", "culprit"),
    [
        ("1 - h[t]**2", "1 - h[t]", "q"),
        ("W.T@q[t+1]", "W@q[t+1]", "q"),
        ("outer(q[t+1], h[t])", "outer(q[t], h[t])", "W_bar"),
        ("V.T@q[t]", "V.T@q[t+1]", "x_bar"),
    ],
)
def test_the_wrong_equation_is_named(right: str, wrong: str, culprit: str) -> None:
    assert right in BY_HAND
    result = dsl.load("Elman").adjoint().compare(BY_HAND.replace(right, wrong))
    assert not result
    assert result.wrong == (culprit,)


def test_each_equation_is_judged_alone() -> None:
    ours = dsl.load("LSTM").adjoint()
    text = str(ours).replace("c_bar[t]*f[t]", "c_bar[t]*i[t]")
    result = ours.compare(text)
    assert result.wrong == ("c_msg",)
    row = next(r for r in result.rows if r.name == "c_msg")
    assert row.step == 5, "the first step that differs, in the order of the backward pass"


NAMES = re.compile(r"\b(?:(\w+)_(bar|msg)|(?:[a-z]_[12]))\b")


def renamed(cell: str, old: str, new: str) -> str:
    """The adjoint's text with a piece replaced, then every equation under a name that tells nothing."""
    text = str(dsl.load(cell).adjoint())
    assert text.count(old) == 1
    own: dict[str, str] = {}
    return NAMES.sub(lambda m: own.setdefault(m[0], f"q{len(own)}_{m[0]}"), text.replace(old, new))


@pytest.mark.parametrize(
    ("cell", "old", "new", "culprit"),
    [
        ("ResidualLSTM", "i_bar[t] = c_bar[t]*c_1[t]", "i_bar[t] = c_1[t]", "i_bar"),
        ("FastRNN", "n_bar[t] = h_bar[t]*sigmoid(alpha)", "n_bar[t] = h_bar[t]", "n_bar"),
        ("SRULinear", "c_msg[t] = c_bar[t]*f[t]", "c_msg[t] = c_bar[t]", "c_msg"),
    ],
)
def test_an_equation_that_repeats_another_is_suspected(cell: str, old: str, new: str, culprit: str) -> None:
    """What it gives is some value of ours, or begins like one; only not the one it stands for."""
    result = dsl.load(cell).adjoint().compare(renamed(cell, old, new))
    assert not result
    (wrong,) = result.wrong
    assert wrong.endswith(f"_{culprit}")
    assert not result.missing, "the gradients are there, and wrong because of it"
    assert {r.because for r in result.rows if not r.ok} == {None, wrong}
    assert f"{wrong}  WRONG: should be {culprit}" in re.sub(" +WRONG", "  WRONG", str(result))


def test_two_gradients_that_are_the_same() -> None:
    """Nothing tells which of them is meant for the other: both are said."""
    right, wrong = "W_z_bar = sum[t](outer(z_z_bar[t], x[t]))", "W_z_bar = sum[t](outer(z_z_bar[t+1], x[t]))"
    result = dsl.load("QRNNfo").adjoint().compare(renamed("QRNNfo", right, wrong))
    row = next(r for r in result.rows if not r.ok)
    assert row.ours == "W_z_bar"
    assert [n.split("_", 1)[1] for n in (row.name, *row.doubt)] == ["V_z_bar", "W_z_bar"]


SEVERAL: list[tuple[str, dict[str, str]]] = [
    ("LSTM", {"f_bar[t] = c_bar[t]*c[t-1]": "f_bar[t] = c_bar[t]*c[t]", "= h_bar[t]*tanh(c[t])": "= h_bar[t]*c[t]"}),
    ("Elman", {"dh[t] + W.T": "dh[t] - W.T", "outer(z_bar[t], h[t-1])": "outer(z_bar[t], h[t])"}),
]


@pytest.mark.parametrize(("cell", "changes"), SEVERAL, ids=["where it begins", "a step later and in a total"])
def test_several_mistakes_under_other_names(cell: str, changes: dict[str, str]) -> None:
    text = str(dsl.load(cell).adjoint())
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    result = dsl.load(cell).adjoint().compare(re.sub(r"\b(\w+)_(bar|msg)\b", r"q_\1_\2", text))
    culprits = {"LSTM": {"q_o_bar", "q_f_bar"}, "Elman": {"q_h_bar", "q_W_bar"}}[cell]
    assert set(result.wrong) == culprits, str(result)
    assert not result.missing
    assert {r.because for r in result.rows} <= {None, *culprits}


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("total W_bar = sum[t](outer(q[t+1], h[t]))", "W_bar[t] = outer(q[t+1], h[t])",
         "W_bar  WRONG: has a value at each t, should be one: total W_bar = sum[t](...)"),
        ("total W_bar", "W_bar", "W_bar  WRONG: is one a sequence, should be their sum: total W_bar = ..."),
        ("outer(q[t], x[t])", "outer(x[t], q[t])", "V_bar  WRONG: is 3 by 5, should be 5 by 3"),
        ("1 - h[t]**2", "1 - h[t]**2 + log(-abs(h[t]))", "WRONG: not a number first at step 5"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind(right: str, wrong: str, said: str) -> None:
    assert right in BY_HAND
    by_hand = re.sub(r"\bq\b", "z_bar", BY_HAND.replace(right, wrong))
    assert said in str(dsl.load("Elman").adjoint().compare(by_hand))


def test_a_missing_gradient_is_reported() -> None:
    text = BY_HAND.replace("  total b_bar = sum[t](q[t])\n", "").replace(", b_bar", "")
    result = dsl.load("Elman").adjoint().compare(text)
    assert not result
    assert result.missing == ("b_bar",)


@pytest.mark.parametrize("cell", ["LSTM", "Skip", "Pyramid", "Translate"])
def test_derivations_by_hand(cell: str) -> None:
    text = (Path(__file__).parent.parent / "specimens" / f"{cell.lower()}.adjoint.cell").read_text(encoding="utf-8")
    assert dsl.load(cell).adjoint().compare(text, k=3)


def test_an_input_that_is_none_of_ours() -> None:
    with pytest.raises(ValueError, match=r"input 'mu'.*rename it"):
        dsl.load("Elman").adjoint().compare(
            BY_HAND.replace("  input delta[t]: H\n", "  input delta[t]: H\n  input mu[t]: H\n").replace(
                "(delta[t]", "(mu[t] + delta[t]"
            )
        )
