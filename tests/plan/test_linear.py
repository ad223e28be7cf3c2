"""Which recurrences are told to be linear, by what they compute, not by their names; and that they are run as such."""

from __future__ import annotations

import random
import re

import pytest

from dsl.plan.linear import is_linear
from dsl.plan.loops import AFTER, BEFORE, STEP, Group, Outers, Products
from dsl.plan.program import PlannedSystem
from dsl.spec import Spec, load, parse
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


def random_text(seed: int) -> str:
    """A cell with one or two linear recurrences, the second fed by the first, and a loss."""
    rng = random.Random(seed)
    text = "cell Random(D, H):\n  input x[t]: D = 0\n  param a, b: H ~ normal\n"
    source, below = "x", "D"
    for k, name in enumerate("cd"[: rng.choice((1, 2))]):
        direction = rng.choice("-+")
        text += (
            f"  param U{k}, V{k}, W{k}: (H, {below}) ~ glorot\n  state {name}[t]: H = {rng.choice(('0', '0.5', 'a'))}\n"
        )
        gate = f"sigmoid(U{k}@{source}[t] + {rng.choice(('b', f'V{k}@{source}[t-1]'))})"
        text += f"  f{k}[t] = {gate}\n" if rng.random() < 0.5 else ""
        gate = f"f{k}[t]" if f"f{k}[t] =" in text else gate
        own = f"{name}[t{direction}1]"
        new = rng.choice((f"tanh(W{k}@{source}[t])", f"W{k}@{source}[t]*a", f"(1 - {gate})*(W{k}@{source}[t])"))
        text += "  " + rng.choice(
            (
                f"{name}[t] = {gate}*{own} + {new}",
                f"{name}[t] = {new} - {own}*a/(2 + b*b) + {own}*{gate}",
                f"{name}[t] = where(x[t]@x[t] > 1, {own}*b, {gate}*{own} + {new})",
                f"{name}[t] = {own} + {gate}*({new} - {own})",
            )
        )
        text += "\n"
        source, below = name, "H"
    return text + f"  y[t] = tanh({source}[t])*b\n  output y, {source}\n"


def loops_over_steps(text: str) -> list[str]:
    """The bodies of the loops over a chunk's steps."""
    found = re.findall(r"^( +)for t in range\(.*\):\n((?:\1 .*\n)+)", text, re.MULTILINE)
    assert found
    return [body for _, body in found if "for t in" not in body]


def is_outside(program: PlannedSystem) -> int:
    """How many scans a program has, each a linear one whose step is a single loop over the features: in the plan and in
    the text, where a value is written that was read from another step."""
    scans = [nest for nest in program.arrangement.nests if nest.recurrent]
    for nest in scans:
        assert is_linear(nest, program.normal)
        (step,) = nest.sections[STEP]
        assert isinstance(step, Group) and set(step.inner) <= {nest.axis}
    bodies = loops_over_steps(program.source.text)
    carried = [b for b in bodies if any(f"load_{n}(" in b for n in re.findall(r"store_(\w+)\(", b))]
    assert carried and not any("product" in b or "dot" in b for b in carried)
    return len(scans)


def check_structure(spec: Spec, scans: int) -> None:
    plan = spec.plan()
    assert plan.backward is not None
    for program in (plan.forward, plan.backward):
        assert is_outside(program) == scans
        items = [i for nest in program.arrangement.nests for s in (BEFORE, AFTER) for i in nest.sections[s]]
        assert any(isinstance(i, Products | Outers) for i in items), "products there are, over chunks"
    assert str(plan).count("a step multiplies and adds; products are made of whole chunks") == 2 * scans


@pytest.mark.parametrize("cell", ["SRULinear", "QRNN", "QRNNfo", "minGRU", "minLSTM"])
def test_published_cells_are_run_as_linear_recurrences(cell: str) -> None:
    check_structure(load(cell), 1)


def test_in_a_stack_each_layer_is_one_and_hands_its_gradient_down() -> None:
    stack = "from mingru import minGRU\ncell Two(D, H):\n  input x[t]: D\n  use rnn = stack 2 of minGRU(x=x, H=H)\n"
    spec = parse(stack + "  output rnn\n")
    check_structure(spec, 2)
    assert disagreement(bound(spec)) < 1e-9


@pytest.mark.parametrize("seed", range(24))
def test_random_linear_cells_are_run_as_such(seed: int) -> None:
    text = random_text(seed)
    spec = parse(text)
    check_structure(spec, text.count("  state "))
    if seed % 8 == 0:
        assert disagreement(bound(spec)) < 1e-9


def test_a_recurrence_with_a_product_has_it_in_its_step() -> None:
    """What the checks above look for is there to be found."""
    plan = parse(f"{HEAD}  {OTHER['product']}\n  output h\n").plan()
    (nest,) = plan.forward.arrangement.nests
    assert any(isinstance(i, Products) for i in nest.sections[STEP])
    with pytest.raises(AssertionError):
        is_outside(plan.forward)
