"""Behind the end of the shorter sequences nothing singular is computed: no NaN comes from there, of either order.

What a loop made is a boundary there, and 1/0, log(0) or a difference of infinities has a slope that 0 cannot undo.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.spec import load, parse
from tests.export.cases import case
from tests.export.test_jax import double
from tests.export.test_jax import held as held_by_jax
from tests.export.test_torch import held as held_by_torch

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytestmark = pytest.mark.usefixtures(double.__name__)

CELL = """
cell Padded(D):
  input x[t]: D
  param w: D = 2
  state {state}: D = 0
  n[t] = {step} + x[t]**2
  {rest}
"""
REST = {
    "logarithm": "y[t] = w*log(n[t])",
    "quotient": "y[t] = w/n[t]",
    "of an input": "y[t] = w*log(x[t])",
    "root": "y[t] = sqrt(w*n[t])",
    "power": "y[t] = w*n[t]**-0.5",
    "step before": "y[t] = where(t == 0, x[t], w/n[t-1])",
    "whole sequence": "y = sum[t](w*log(n[t]))",
    "in two steps": "m[t] = n[t]*x[t]\n  y[t] = w/m[t]",
}
LENGTHS = {"t": [6, 3, 1, 0]}


@pytest.mark.parametrize("held", [held_by_torch, held_by_jax], ids=["torch", "jax"])
@pytest.mark.parametrize("rest", REST)
def test_poles_behind_the_end(rest: str, held: Any) -> None:
    held(_case("n[t]", "n[t-1]", REST[rest]))


@pytest.mark.parametrize("held", [held_by_torch, held_by_jax], ids=["torch", "jax"])
@pytest.mark.parametrize("rest", ["logarithm", "step before", "in two steps"])
def test_poles_in_the_loop(rest: str, held: Any) -> None:
    held(_case("n[t], y[t]", "n[t-1] + 0.01*tanh(y[t-1])", REST[rest]))


def _case(state: str, step: str, rest: str) -> Any:
    text = CELL.format(state=state, step=step, rest=rest)
    x = np.random.default_rng(0).uniform(1, 2, size=(6, 4, 2))
    return case(parse(text).build(D=2, dtype="float64"), lengths=LENGTHS, data={"x": x})


SKEWED = {
    "one axis": """
cell Skewed(D):
  input x[t]: D
  param w: D = 2
  state a[t], b[t]: D = 0.2
  a[t] = tanh(b[t+1] + softmax[t](x[t]) + w/x[t])
  b[t] = tanh(a[t-3] + w*log(softmax[t](x[t])) + mean[t](x[t]))
  output a
""",
    "a loop of rows": """
cell Skewed(D):
  input x[t]: D
  input q[s]: D
  param W: (D, 3) ~ normal
  state a[t,s], b[t,s]: 3 = 0.2
  a[t,s] = tanh(b[t+1,s] + W.T@softmax[t](x[t]*q[s]) + a[t,s-1])
  b[t,s] = tanh(a[t-3,s] + log(softmax[t](W.T@x[t])))
  output a
""",
    "both axes": """
cell Skewed(D):
  input x[t]: D
  input q[s]: D
  state a[t,s], b[t,s]: D = 0.2
  a[t,s] = tanh(b[t+1,s-1] + softmax[t](x[t]*q[s]) + a[t,s-2])
  b[t,s] = tanh(a[t-3,s+1] + log(softmax[s](q[s]*x[t])))
  output a
""",
}


@pytest.mark.parametrize("held", [held_by_torch, held_by_jax], ids=["torch", "jax"])
@pytest.mark.parametrize("name", SKEWED)
def test_reductions_over_all_of_time_in_a_skewed_loop(name: str, held: Any) -> None:
    """Equations of one loop that are at different steps: what runs over the whole axis is made outside, once."""
    model = parse(SKEWED[name]).build(D=2, dtype="float64")
    held(case(model, lengths={"t": [6, 3, 1], **({"s": [2, 4, 1]} if "q" in model.system.streams else {})}))


@pytest.mark.parametrize("reading", ["compiled", "tape", "torch", "jax"])
@pytest.mark.parametrize("printed", [False, True], ids=["joined", "printed"])
def test_second_order_of_ctc(reading: str, printed: bool) -> None:
    """The joined adjoint, differentiated by each of its readings, against differences of the gradient. Among the
    sequences are labels that do not fit, none, frames that end some steps before others' and no frames."""
    rng = np.random.default_rng(6)
    y = np.array([[0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    lengths = {"t": np.array([5, 6, 2, 3, 0]), "u": np.array([3, 1, 3, 0, 0])}
    logits, along, weights = (
        rng.normal(size=(6, 5, 3)),
        rng.normal(size=(6, 5, 3)),
        np.array([1.0, -2.0, 0.5, 1.5, 1.0]),
    )
    joined = load("CTC").adjoint(joined=True)
    bar, given = joined.gradients["l"], joined.cotangents["nll"]
    model = (parse(str(joined)) if printed else joined).build(K=2, dtype="float64")
    first, second = _twice(model, bar, {"y": y, given: weights}, logits, along, lengths, reading)
    labels, possible = [[0, 0, 1], [1], []], [0, 1, 3]
    fast = tg.grad(lambda v: tg.sum(tg.ctc_loss(v, labels, [5, 6, 3], blank=2) * weights[possible]))

    def slope(at: Any) -> Any:
        out = np.zeros_like(at)
        out[:, possible] = np.asarray(fast(at[:, possible]))
        return out

    step = 1e-4
    near, far = (slope(logits + k * step * along) - slope(logits - k * step * along) for k in (1, 2))
    np.testing.assert_allclose(first, slope(logits), atol=1e-10)
    np.testing.assert_allclose(second, (8 * near - far) / (12 * step), atol=1e-9)


def _twice(
    model: Any, bar: str, fed: dict[str, Any], logits: Any, along: Any, lengths: dict[str, Any], reading: str
) -> tuple[Any, Any]:
    """The gradient, and its own along a direction."""
    if reading == "torch":
        leaf = torch.tensor(logits, requires_grad=True)
        others = {n: torch.from_numpy(v) for n, v in fed.items()}
        found = model.to_torch()(l=leaf, **others, lengths={a: torch.from_numpy(n) for a, n in lengths.items()})[bar]
        (found * torch.from_numpy(along)).sum().backward()
        return found.detach().numpy(), leaf.grad.numpy()
    if reading == "jax":
        run = model.to_jax()
        found, back = jax.vjp(lambda v: run({}, {"l": v, **fed}, lengths=lengths)[bar], logits)
        return np.asarray(found), np.asarray(back(jax.numpy.asarray(along))[0])
    leaf = tg.tensor(logits, requires_grad=True)
    found = model(l=leaf, **fed, lengths=lengths, engine=reading)[bar]
    has = (np.arange(6)[:, None] < lengths["t"])[..., None]
    tg.sum(tg.where(has, found, 0.0) * along).backward()
    return np.where(has, found.numpy(), 0), leaf.grad.numpy()
