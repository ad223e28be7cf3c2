"""The derived adjoint of every library cell, in all the forms it is used in, against finite differences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dsl
from dsl.run.unroll import unroll
from dsl.system.adjoint import Adjoint, adjoint, joined
from dsl.system.calls import HIDDEN
from dsl.system.calls import _arity as arity
from dsl.system.printing import to_tree
from dsl.system.residuals import with_residuals
from dsl.system.resolve import resolve
from dsl.system.system import System
from dsl.text.format import format
from dsl.text.parse import parse
from tests.system.numeric import bound, worst_error
from tinygrad_seq.primitive import REGISTRY

TOLERANCE = 2e-6  # of central differences with step 1e-6 in float64
ADJOINTS = Path(__file__).parent / "adjoints"


def reread(derived: Adjoint) -> System:
    """The system that the printed text means."""
    return resolve(parse(format(to_tree(derived.system))))[0]


@pytest.mark.parametrize("cell", dsl.cells())
def test_derived_adjoint(cell: str) -> None:
    system = dsl.load(cell).system
    derived = adjoint(system)
    assert (
        worst_error(bound(system), bound(derived.system), dict(derived.cotangents), dict(derived.gradients)) < TOLERANCE
    )


@pytest.mark.parametrize("cell", dsl.cells())
def test_printed_adjoint_parses_and_means_the_same(cell: str) -> None:
    system = dsl.load(cell).system
    derived = adjoint(system)
    assert (
        worst_error(bound(system), bound(reread(derived)), dict(derived.cotangents), dict(derived.gradients))
        < TOLERANCE
    )


@pytest.mark.parametrize("cell", dsl.cells())
def test_with_residuals_named_in_the_forward_system(cell: str) -> None:
    system = dsl.load(cell).system
    first = adjoint(system)
    system = with_residuals(system, first.residuals, first.system.streams)
    derived = adjoint(system)
    assert not derived.residuals, "nothing costly is left to compute again"
    assert (
        worst_error(bound(system), bound(derived.system), dict(derived.cotangents), dict(derived.gradients)) < TOLERANCE
    )


@pytest.mark.parametrize("cell", dsl.cells())
def test_adjoint_of_the_joined_adjoint(cell: str) -> None:
    """Second order: differences of the gradients themselves."""
    first = joined(dsl.load(cell).system).system
    second = adjoint(first)
    error = worst_error(bound(first), bound(reread(second)), dict(second.cotangents), dict(second.gradients), batch=2)
    assert error < 2e-5


@pytest.mark.parametrize("cell", ["Elman", "LSTM", "Skip", "GRU", "BiRNN", "Pyramid", "Translate", "CharRNN"])
def test_printed_text_is_as_agreed(cell: str, golden: object) -> None:
    assert golden(ADJOINTS / f"{cell}.cell", str(dsl.load(cell).adjoint()) + "\n")  # type: ignore[operator]


BOUNDARIES = """
cell Learned(D, H):
  input x[t]: D
  input c0: H
  param h0: H ~ uniform(-1, 1)
  state h[t]: H = h0
  state c[t]: H = c0
  state g[t]: H = 0.5
  param V, W, U ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-2] + c[t+1])
  c[t] = sigmoid(U@x[t])*c[t+3]
  g[t] = g[t-1]*h[t] + last(h)
  output g, c
"""
SHARED = """
cell Antisymmetric(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  S = W - W.T
  h[t] = h[t-1] + 0.1*tanh(S@h[t-1] + V@x[t])
  output h
"""
STRIDES = """
cell Strided(D):
  input x[t]: D
  time u: (len(t) + 2)//3
  state y[t]: D = 0
  state z[u]: D = 0
  y[t] = sigmoid(x[t])
  z[u] = y[3*u+1]*y[3*u]
  w[t] = z[(t+1)//3]*y[len(t)-1-t] + y[0]
  output w
"""
AXES = """
cell Pairs(D):
  input x[s]: D
  input q[t]: D
  state m[t]: D = 0
  e[t,s] = q[t]@x[s] + sum(m[t-1])
  a[t,s] = softmax[s](e[t,s])
  top[t] = max[s](a[t,s]) + logsumexp[s](e[t,s])
  m[t] = sum[s](a[t,s]*x[s]) + top[t]*q[t]
  r = mean[t](m[t])
  output m, r
"""
DRAWS = """
cell Draws(H, M=3):
  input x[t]: H
  state p[t]: 3 = 0
  state y[t]: H = 0
  state e[t]: scalar = 0
  param A, B, C, E, F, G: (M, H) ~ glorot
  param q: H ~ glorot
  param R: (H, 3) ~ glorot
  param U ~ glorot
  h[t] = tanh(x[t] + R@p[t-1] + U@y[t-1])
  w[t] = softmax(A@h[t])
  p[t] ~ mdn2d(w[t], B@h[t], C@h[t], exp(E@h[t]), exp(F@h[t]), tanh(G@h[t]), q@h[t])
  y[t] ~ normal(mean = U@h[t], std = exp(0.1*x[t]))
  e[t] ~ bernoulli(logits = q@h[t])
  loss nll = -mean[t](logprob(p[t]) + logprob(y[t]) + logprob(e[t]))
"""
NOISY = """
cell Noisy(D, H, p=0.1):
  input x[t]: D
  state h[t]: H = 0
  noise m: D ~ dropout(p)
  noise k[t]: H ~ bernoulli(p)
  param V, W ~ glorot
  n[t] = tanh(V@(m*x[t]) + W@h[t-1])
  h[t] = k[t]*h[t-1] + (1 - k[t])*n[t]
  output h
"""
GUARDS = """
cell Guarded(D):
  input x[t]: D
  state h[t]: D = 0
  r[t] = where(x[t] > 0, log(maximum(x[t], 0) + where(x[t] > 0, 0, 1)), 0.3*x[t])
  h[t] = r[t] + where(t%2==0, h[t-1], 0) + t*x[t]/len(t)
  output h
"""

MIXED = """
cell Mixed():
  input x[t]: scalar
  param w: scalar
  z[t] = tanh(w*x[t])
  h[t] = where(x[t] > 0, z[t]*(w + x[t])*x[t], 0) + where(x[t] > 0, 2*z[t], 0) + where(x[t] > 1, z[t], 0)
  output h
"""
UNITARY = """
cell URNN(D, N):
  input x[t]: D
  state h[t]: complex N = h0
  param h0: complex N ~ uniform(-0.01, 0.01)
  param V: complex (N, D) ~ glorot
  param M: complex (N, N) ~ glorot
  param d1,d2,d3: N ~ uniform(-pi, pi)
  param r1,r2: complex N ~ uniform(-1, 1)
  param b: N = 0
  const P = permutation(N)
  g[t] = permute(P, reflect(r1, fft(cis(d1)*h[t-1])))
  w[t] = cis(d3)*reflect(r2, ifft(cis(d2)*g[t])) + 0.1*(M.H@g[t])
  h[t] = modrelu(w[t] + V@x[t], b)
  y[t] = concat(re(h[t]), im(h[t])*abs(g[t]))
  output y, g
"""
CONSTRUCTS = {
    "unitary": UNITARY,
    "boundaries": BOUNDARIES,
    "shared": SHARED,
    "axes": AXES,
    "guards": GUARDS,
    "mixed": MIXED,
    "draws": DRAWS,
    "noise": NOISY,
}


@pytest.mark.parametrize("text", CONSTRUCTS.values(), ids=CONSTRUCTS.keys())
def test_constructs(text: str) -> None:
    system = dsl.parse(text).system
    derived = adjoint(system)
    for form in (derived.system, reread(derived)):
        assert worst_error(bound(system), bound(form), dict(derived.cotangents), dict(derived.gradients)) < TOLERANCE


def test_strides_floors_and_flips() -> None:
    system = dsl.parse(STRIDES).system
    derived = adjoint(system)
    assert (
        worst_error(bound(system), bound(reread(derived)), dict(derived.cotangents), dict(derived.gradients))
        < TOLERANCE
    )


def test_only_what_is_asked_for() -> None:
    derived = adjoint(dsl.load("LSTM").system, wrt=("V_f",))
    assert list(derived.gradients) == ["V_f"]
    assert "x_bar" not in derived.system.equations
    assert "W_f_bar" not in derived.system.equations
    twice = adjoint(dsl.load("LSTM").system, outside=("c",))
    assert dict(twice.cotangents) == {"c": "dc"}


def test_stop_gradient_sends_nothing() -> None:
    text = "cell A(D):\n  input x[t]: D\n  input w: D\n  y[t] = stop_gradient(w*x[t]) + x[t]\n"
    assert list(adjoint(dsl.parse(text).system).gradients) == ["x"]


UNTAKEN = """
cell Untaken():
  input x[t]: scalar
  param w: scalar
  h[t] = where(x[t] > 0, w*log(x[t]) + log(x[t])**2, w*x[t])
  output h
"""


NAMED = """
cell Untaken():
  input x[t]: scalar
  param w: scalar
  l[t] = log(x[t])
  q[t] = l[t]**2
  h[t] = where(x[t] > 0, w*l[t] + q[t], w*x[t])
  output h
"""


@pytest.mark.parametrize("text", [UNTAKEN, NAMED], ids=["in place", "named"])
def test_a_branch_that_is_not_taken_sends_no_nan_back(text: str) -> None:
    """The condition stays around a cotangent that has a name, around sums of two ways into one operation, and around
    what is derived from a stream that is read under it alone."""
    system = resolve(parse(text))[0]
    derived = reread(adjoint(system))
    x, w = np.array([0.0, 2.0, -1.0])[:, None], np.array(3.0)
    with np.errstate(all="ignore"):
        given = {"x": x, "w": w, "dh": np.ones((3, 1)), "l": np.log(x), "q": np.log(x) ** 2}
        found = unroll(derived, given, {"t": 3}, 1, ["x_bar", "w_bar"])
    np.testing.assert_allclose(found["x_bar"][:, 0], [3.0, (3 + 2 * np.log(2)) / 2, 3.0])
    assert found["w_bar"] == pytest.approx(np.log(2) - 1)


def test_what_does_not_move_a_value_receives_nothing() -> None:
    """Not even 0 times what may be NaN: nothing is derived for what is held, stepped over or compared."""
    text = """cell Held(D, H):
  input x[t]: D
  param U, V, W: (H, D) ~ glorot
  r[t] = V@x[t]
  s[t] = stop_gradient(r[t])
  h[t] = tanh(U@x[t])*(r[t]//0.3 + sign(r[t]) + floor(r[t])) + where(r[t] > 0, s[t], W@x[t])
  output h
"""
    derived = adjoint(dsl.parse(text).system)
    assert not {"r_bar", "s_bar", "V_bar"} & set(derived.system.equations)
    assert {"U", "W", "x"} == set(derived.gradients)


def elementwise_calls() -> list[str]:
    """Every elementwise function of the language with as many arguments as it takes, inside its domain."""
    values = ("0.4 + 0.3*sin(x[t])", "0.3 + 0.2*cos(x[t])", "0.9")
    names = [n for n, p in REGISTRY.items() if p.elementwise and n not in (*HIDDEN, "polygamma")]
    calls = [f"{n}({', '.join(values[: arity(REGISTRY[n])])})" for n in names]
    return [f"re({c})" if c.startswith(("cis", "modrelu")) else c for c in calls] + [f"polygamma(1, {values[0]})"]


@pytest.mark.parametrize("some", range(6))
def test_adjoints_of_all_functions_are_cells_twice(some: int) -> None:
    """Printed and read again, the adjoint and the adjoint of the joined adjoint."""
    for call in elementwise_calls()[some::6]:
        system = dsl.parse(f"cell A(H):\n  input x[t]: H = 0\n  y[t] = {call}*x[t]\n  output y\n").system
        both = joined(system, adjoint(system))
        for derived in (adjoint(system), adjoint(both.system, tuple(both.gradients.values()))):
            again = reread(derived)
            assert set(again.equations) == set(derived.system.equations), call


HISTORY = r"""
import dsl
if {before}:
    kept = dsl.parse(
        "cell A(H, K):\n  state d[t]: H = 0\n  param W_o: (K, H) ~ glorot\n  param b_o: K = 0\n"
        "  d[t] = tanh(d[t-1])\n  z[t] = W_o@d[t] + b_o\n  output z\n"
    ).system
print(dsl.load("Translate").adjoint(), end="")
"""


def test_what_a_process_did_before_does_not_show() -> None:
    """Equal expressions are one object wherever they stand; the order in which they came to be is nobody's business."""
    found = {
        subprocess.run(
            [sys.executable, "-c", HISTORY.format(before=before)], capture_output=True, text=True, check=True
        ).stdout
        for before in (False, True)
    }
    assert len(found) == 1
