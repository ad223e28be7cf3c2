"""Every elementwise function of the language, compiled, with derivatives: the literal engine is the oracle."""

from __future__ import annotations

import pytest

import dsl
from dsl.plan.describe import describe
from tests.plan.agreement import bound, disagreement
from tinygrad_seq.primitive import REGISTRY

CELL = """
cell A(D, H):
  input x[t]: H
  state y[t]: H = 0
  u[t] = 0.4 + 0.3*sin(x[t])
  y[t] = {} + 0.5*y[t-1]
  output y
"""
UNARY = (
    "arcsin arccos arcsinh arctanh exp2 log2 log10 cbrt reciprocal erfc erfinv gamma gammaln digamma logit sinc "
    "floor ceil trunc round isnan isinf isfinite signbit tan arctan sinh cosh erf expm1 log1p square sign abs"
)
CALLS = [f"{name}(u[t])*x[t]" for name in UNARY.split()] + [
    "arccosh(1 + u[t])",
    "arctan2(u[t], x[t])",
    "hypot(u[t], x[t])",
    "xlogy(u[t], 1 + u[t])",
    "logaddexp(u[t], x[t])",
    "clip(x[t], -0.5, 0.5)",
    "logical_xor(x[t], floor(x[t]))*x[t]",
]


@pytest.mark.parametrize("call", CALLS)
def test_a_function_agrees_with_the_literal_engine(call: str) -> None:
    assert disagreement(bound(dsl.parse(CELL.format(call)), H=2), batch=2, steps=3) < 1e-12


def test_what_has_no_machine_code_is_called_in_single_precision_too() -> None:
    system = bound(dsl.parse(CELL.format("erfinv(u[t])")), H=2)
    assert disagreement(system, dtype="float32") < 1e-5
    assert REGISTRY["erfinv"].kernel is None and "python1_erfinv(" in describe(system).source
