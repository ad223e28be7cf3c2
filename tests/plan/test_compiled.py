"""The compiled engine against the literal one, and its promises about memory, names and text."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import dsl
from dsl.plan.describe import describe
from dsl.plan.program import Plans, programs
from dsl.run.compiled import compile_system
from dsl.run.unroll import unroll
from dsl.system.adjoint import joined
from tests.plan.agreement import apart, bound, disagreement, problem

ONE_AXIS = ["Elman", "Jordan", "IRNN", "LSTM", "Peephole", "Coupled", "GRU", "GRUResetAfter", "MGU", "IndRNN", "BiRNN"]
LARGER = ["Skip", "Pyramid", "CharRNN", "Classifier", "ClassifierMax", "Translate"]


@pytest.mark.parametrize("cell", ONE_AXIS + LARGER)
def test_values_and_gradients_agree_with_the_literal_engine(cell: str) -> None:
    assert disagreement(bound(dsl.load(cell))) < 1e-11


def test_float32_and_odd_sizes() -> None:
    system = bound(dsl.load("LSTM"), D=3, H=33)
    assert disagreement(system, batch=13, steps=9, dtype="float32") < 2e-5
    assert disagreement(system, batch=1, steps=3, ragged=False, dtype="float32") < 2e-5


@pytest.mark.parametrize("cell", ["IndRNN", "Classifier", "mLSTM"])
def test_the_adjoint_of_a_joined_adjoint_agrees_with_the_literal_engine(cell: str) -> None:
    assert disagreement(joined(bound(dsl.load(cell))).system, batch=3, steps=4) < 1e-12


TEXTS = {
    "equations that run at different steps of one loop": """
cell A(D, H):
  input x[t]: D
  state a[t], b[t]: H = 0.5
  param V, W ~ glorot
  a[t] = tanh(V@x[t] + b[t+1])
  b[t] = tanh(W@a[t-2])
  output b
""",
    "products of matrices, a value repeated along an axis, sums of constants": """
cell A(D, H):
  input x[t]: D
  input q[s]: D
  param V: (H, H) ~ glorot
  param W: (H, D) ~ glorot
  h[t] = (V@W)@x[t]
  e[t,s] = exp(sin(x[t]))
  y = mean[t](h[t]) + sum[s](2*last(h)) + W@mean[s](mean[t](e[t,s]))
  output y
""",
    "a gate split in two and an alias": """
cell A(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  param b = 0
  z[t] = V@x[t] + W@h[t-1]
  y[t] = z[t] + b
  n[t] = y[t]
  h[t] = tanh(n[t])
  output h, n
""",
    "lags of two streams, both ways, and a learned start": """
cell A(D, H):
  input x[t]: D = 0
  param h0: H ~ uniform(-1, 1)
  state h[t]: H = h0
  state g[t]: H = 0
  param V, W, U ~ glorot
  h[t] = tanh(V@x[t+2] + W@h[t-3])
  g[t] = tanh(U@g[t+1] + h[t-1]*h[t])
  output g
""",
    "features: parts, softmax, means, products of parts": """
cell A(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V: (2*H, D) ~ glorot
  param W: (H, 2*H) ~ glorot
  z[t] = V@x[t]
  a[t] = softmax(part(z[t], 0, H)) * part(z[t], H, H)
  m[t] = mean(z[t])
  h[t] = tanh(W@concat(a[t], h[t-1]) + m[t]) - max(a[t])
  output h
""",
    "reductions over time and positions": """
cell A(D, H):
  input x[t]: D
  param V ~ glorot
  param v: H ~ glorot
  h[t] = tanh(V@x[t])
  e[t] = softmax[t](v@h[t])
  p = sum[t](e[t]*h[t])
  q[t] = where(t % 2 == 0, h[t]*p, h[len(t)-1-t]/len(t))
  r = max[t](q[t]) + last(h) + h[0]
  output q, r
""",
    "a concatenation that is kept, its front shorter than a register": """
cell A(D, H):
  input x[t]: D = 0
  param V: (H, D + H) ~ glorot
  param W: (H, D) ~ glorot
  h[t] = tanh(W@x[t-1])
  z[t] = concat(x[t-1], h[t])
  y[t] = tanh(V@z[t])
  output y
""",
    "extremes of what is computed, compared with it again in the adjoint": """
cell A(D, H):
  input b[t]: H
  p = min[t](min(b[t])) + sum[t](max(b[t])) + max[t](sum(b[t])) * mean(max[t](b[t]*b[t]))
  q[t] = max(3*b[t] + sin(b[t]))
  output p, q
""",
    "a product with a boundary, where rows are not sorted by length": """
cell A(D, H):
  input u[s]: D
  input x[t]: D
  state z[s]: H = 0.7
  param W, V: (H, D) ~ glorot
  z[s] = W@u[s]
  y[s] = z[s+1]*z[s]
  h[t] = tanh(V@x[t])
  output y, h
""",
    "a shared matrix computed from parameters": """
cell A(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V ~ glorot
  param W: (H, H) ~ glorot
  S = W - W.T
  h[t] = tanh(V@x[t] + S@h[t-1])
  output h
""",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_a_user_may_write(text: str) -> None:
    assert disagreement(bound(dsl.parse(text)), batch=6) < 1e-10


def test_two_live_runs_do_not_share_memory() -> None:
    system = bound(dsl.load("Elman"))
    compiled = compile_system(system, ("h",), "float64")
    inputs, lengths = problem(system, 3, 5, 0, False, "float64")
    other, _ = problem(system, 3, 5, 1, False, "float64")
    other = {**inputs, "x": other["x"]}
    g = {"h": np.ones((5, 3, 7))}
    _, alone = compiled.forward(other, lengths, 3, ("h",))
    assert alone is not None
    expected = compiled.backward(alone, g, ("W",))["W"]
    _, first = compiled.forward(other, lengths, 3, ("h",))
    _, second = compiled.forward(inputs, lengths, 3, ("h",))
    assert first is not None and second is not None
    compiled.backward(second, g, ("W",))
    assert (compiled.backward(first, g, ("W",))["W"] == expected).all()


def test_a_carried_state_continues_a_sequence() -> None:
    system = bound(dsl.load("Skip"), k=3)
    inputs, lengths = problem(system, 3, 9, 0, False, "float64")
    compiled = compile_system(system, ("h",), "float64")
    whole, _ = compiled.forward(inputs, lengths, 3, ("h",), record=False)
    first, _ = compiled.forward({**inputs, "x": inputs["x"][:5]}, {"t": np.full(3, 5)}, 3, ("h",), record=False)
    rest = {**inputs, "x": inputs["x"][5:]}
    start, clock = {"h": first["h"][2:5]}, {"t": np.full(3, 5)}
    second, _ = compiled.forward(rest, {"t": np.full(3, 4)}, 3, ("h",), start=start, clock=clock, record=False)
    assert apart(second["h"], whole["h"][5:]) < 1e-14
    literal = unroll(system, rest, {"t": np.full(3, 4)}, 3, ("h",), start, clock)
    assert apart(second["h"], np.asarray(literal["h"])) < 1e-14


def test_padding_of_results_is_zero() -> None:
    system = bound(dsl.load("LSTM"))
    inputs, lengths = problem(system, 4, 6, 3, True, "float64")
    values, _ = compile_system(system, ("h",), "float64").forward(inputs, lengths, 4, ("h",), record=False)
    for b, n in enumerate(lengths["t"]):
        assert not values["h"][n:, b].any() and values["h"][:n, b].any()


def test_names_and_order_of_equations_leave_no_trace() -> None:
    text = str(dsl.load("LSTM"))
    head, *body = [
        line.split("#")[0].rstrip() for line in text.splitlines() if line.strip() and not line.startswith("#")
    ]
    equations = [line for line in body if "[t] =" in line]
    rest = [line for line in body if line not in equations]
    shuffled = dsl.parse("\n".join([head, *rest[:-1], *reversed(equations), rest[-1]]) + "\n")
    shape = lambda spec: [  # noqa: E731
        [(s, type(i).__name__) for s, i in nest.items]
        for p in programs(spec.system, None, "float32")
        if p
        for nest in p.arrangement.nests
    ]
    assert shape(shuffled) == shape(dsl.load("LSTM"))


def test_input_products_and_gates_are_stacked_and_hoisted() -> None:
    text = str(describe(dsl.load("LSTM").system))
    assert text.count("stacked: ") == 3
    before = text.split("before each chunk's steps:")[1].split("each step:")[0]
    assert "V_f@x[t]" in before and "W_f" not in before


def test_the_generated_text_does_not_depend_on_the_hash_seed() -> None:
    code = "import dsl; print(hash('a')); plan = dsl.load('Translate').plan(); print(plan, plan.source)"
    texts = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        texts.append(done.stdout.split("\n", 1))
    assert texts[0][0] != texts[1][0] and texts[0][1] == texts[1][1]


def test_an_axis_may_have_any_name() -> None:
    text = "cell A(D, H):\n  input x[{0}]: D\n  state h[{0}]: H = 0\n  param V, W ~ glorot\n" + (
        "  h[{0}] = tanh(V@x[{0}] + W@h[{0}-1])\n  y[{0}] = h[{0}]*{0}\n  output y\n"
    )
    for name in ("b", "j", "row", "exp"):
        assert disagreement(bound(dsl.parse(text.format(name)))) < 1e-11


def test_what_only_its_own_loop_reads_lives_in_a_window() -> None:
    """Memory grows with the steps by what is kept or handed over alone; carried states and boundaries do not care."""
    forward, backward = programs(bound(dsl.load("LSTM")), None, "float32")
    assert backward is not None
    own = [(n, q) for p in (forward, backward) for n, q in p.layout.places.items() if q.array == "A" and q.axes]
    whole = {n for n, q in own if not q.window}
    assert whole == {"h", "c", "i", "f", "g", "o"}
    alone = Plans(bound(dsl.load("LSTM")), ("h",), "float32").forward(("h",), False)
    assert all(q.window for q in alone.layout.places.values() if "t" in q.axes)


def test_logits_of_a_vocabulary_are_computed_again() -> None:
    system = bound(dsl.load("CharRNN"), K=40, H=7)
    plans = Plans(system, ("nll",), "float64")
    forward = plans.forward(("nll",), True)
    backward = plans.backward(forward, ("U", "a", "rnn.0.W_f"))
    places = [q for p in (forward, backward) for q in p.layout.places.values() if q.axes]
    wide = [q for q in places if str(q.shape) == str(system.streams["a"].shape)]
    assert wide and all(q.window for q in wide)
    assert "z_y" not in plans.residuals
    assert "z_y" in Plans(bound(dsl.load("CharRNN")), ("nll",), "float64").residuals  # not much wider than h
    assert disagreement(system) < 1e-11


def test_what_stands_before_the_first_step_costs_no_product_a_step() -> None:
    """The gradient of a learned start asks for the first step's product; later chunks do not make it."""
    system = bound(dsl.parse(START))
    plans = Plans(system, ("h",), "float64")
    text = plans.backward(plans.forward(("h",), True), ("h0", "W")).source.text
    assert "        if t0 < 1:\n            if not ragged:\n                product_set(" in text
    assert disagreement(system) < 1e-11


START = """
cell Start(D, H):
  input x[t]: D
  state h[t]: H = h0
  param h0: H ~ normal(1.0)
  param V, W ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1])
  output h
"""
