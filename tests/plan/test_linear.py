"""Which recurrences are told to be linear: by what they compute, not by their names."""

from __future__ import annotations

import pytest

from dsl.spec import load, parse
from tests.plan.agreement import bound, disagreement

HEAD = "cell A(H):\n  input x[t]: H\n  state h[t]: H = 0\n  param V,W : (H,H) ~ glorot\n  param a: H ~ normal\n"
LINEAR = {
    "forget gate": "h[t] = sigmoid(V@x[t])*h[t-1] + W@x[t]",
    "from the end": "h[t] = (1 - sigmoid(V@x[t]))*h[t+1] + W@x[t]/2",
    "in two equations": "h[t] = where(x[t] > 0, e[t], -x[t]*a)\n  e[t] = tanh(V@x[t])*h[t-1] - W@x[t]",
}
OTHER = {
    "tanh": "h[t] = tanh(V@x[t] + W@x[t] + a*h[t-1])",
    "product": "h[t] = V@x[t] + W@h[t-1]",
    "gate from the state": "h[t] = sigmoid(V@x[t] + a*h[t-1])*h[t-1] + W@x[t]",
    "second order": "h[t] = a*h[t-2] + V@x[t] + W@x[t]",
    "sum over features": "h[t] = a*sum(h[t-1]) + V@x[t] + W@x[t]",
    "condition": "h[t] = where(h[t-1] > 0, h[t-1], V@x[t]) + W@x[t]",
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_recurrences_are_named_forward_and_backward(name: str) -> None:
    spec = parse(f"{HEAD}  {LINEAR[name]}\n  output h\n")
    forward, backward = str(spec.plan()).split("\nbackward")
    assert "linear recurrence over t" in forward and "linear recurrence over t" in backward
    assert disagreement(bound(spec)) < 1e-9


@pytest.mark.parametrize("name", OTHER)
def test_others_are_not(name: str) -> None:
    plan = str(parse(f"{HEAD}  {OTHER[name]}\n  output h\n").plan()).split("\nbackward")[0]
    assert "recurrence over t" in plan and "linear recurrence" not in plan


@pytest.mark.parametrize("cell", ["SRULinear", "QRNN", "QRNNfo", "minGRU", "minLSTM"])
def test_published_cells_are_linear(cell: str) -> None:
    plan = str(load(cell).plan())
    assert plan.count("linear recurrence over t") == 2
    steps = plan.split("each step:\n")[1].split("\n     ")[0]
    assert "product" not in steps
