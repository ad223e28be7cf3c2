"""Complex streams, compiled as pairs of real ones: the literal engine, which has complex arrays, is the oracle."""

from __future__ import annotations

import pytest

import dsl
from dsl.plan.complex import _FUNCTIONS, _RULES, PARTWISE
from dsl.system.kinds import BILINEAR, COMPLEX
from tests.plan.agreement import bound, disagreement

TEXTS = {
    "unitary evolution: LANGUAGE.md's URNN": """
cell URNN(D, N):
  input x[t]: D
  state h[t]: complex N = h0
  param h0: complex N ~ uniform(-0.01, 0.01)
  param V: complex (N, D) ~ glorot
  param d1,d2,d3: N ~ uniform(-pi, pi)
  param r1,r2: complex N ~ uniform(-1, 1)
  param b: N = 0
  const P = permutation(N)
  g[t] = permute(P, reflect(r1, fft(cis(d1)*h[t-1])))
  w[t] = cis(d3)*reflect(r2, ifft(cis(d2)*g[t]))
  h[t] = modrelu(w[t] + V@x[t], b)
  y[t] = concat(re(h[t]), im(h[t]))
  output y
""",
    "complex inputs and outputs, products, conjugates, matrices": """
cell A(D, H):
  input x[t]: complex D = 0
  input u[t]: D
  state h[t]: complex H = 0
  state M[t]: complex (H, H) = 0
  param W: complex (H, H) ~ glorot
  param V: complex (H, D) ~ glorot
  h[t] = tanh(W@h[t-2] + V@x[t-1] + conj(V@u[t])) * (1 + 2j)
  M[t] = 0.5*M[t-1] + outer(h[t], conj(h[t]))
  y[t] = M[t].H@h[t] / (2 + abs(h[t])) + exp(0.1j*h[t])
  output y
""",
    "functions of complex numbers": """
cell A(D, H):
  input x[t]: complex H
  z[t] = 0.5*x[t] + 2
  a[t] = sqrt(z[t]) + log(z[t])*sin(z[t]) - cos(z[t])/z[t] + z[t]**3 + z[t]**0.5
  b[t] = sigmoid(z[t]) + sinh(z[t])*cosh(z[t]) + angle(z[t])*im(z[t])
  m[t] = mean(a[t]) + sum(b[t]*conj(b[t]))
  s = sum[t](a[t] + b[t]) + last(z)
  y[t] = where(abs(z[t]) > 2, a[t], b[t]) + m[t]
  output y, s
""",
    "a real vector transformed and reflected": """
cell A(D, H):
  input x[t]: H
  param r: H ~ normal
  state h[t]: H = 0
  F[t] = fft(x[t])
  h[t] = reflect(r, re(ifft(F[t]*conj(F[t])))) + 0.1*h[t-1]
  output h
""",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_complex_streams_agree_with_the_literal_engine(text: str) -> None:
    assert disagreement(bound(dsl.parse(text))) < 1e-12


@pytest.mark.parametrize(
    "value", ["im(F[t-1])@x[t]", "angle(outer(x[t], h[t-1]))@x[t]", "conj(x[t])*re(h[t-1])", "outer(im(x[t]), a)@x[t]"]
)
def test_parts_of_real_numbers_are_real_and_have_their_shape(value: str) -> None:
    text = "cell A(H):\n  input x[t]: H = 0\n  param a: H ~ normal\n  state F[t]: (H, H) = 0\n  state h[t]: H = 0.5\n"
    text += f"  F[t] = 0.5*F[t-1] + outer(x[t], a)\n  h[t] = tanh({value} + a*h[t-1])\n  output h\n"
    assert disagreement(bound(dsl.parse(text), H=3)) < 1e-9


def test_what_the_language_defines_for_complex_numbers_is_compiled() -> None:
    """The language refuses what is not in its list, and all that is has a rule here."""
    elsewhere = {"permute", "unpermute", "lookup", "where", "equal", "not_equal"}
    assert set(COMPLEX) == {*_RULES, *_FUNCTIONS, *PARTWISE, *BILINEAR, *elsewhere}
