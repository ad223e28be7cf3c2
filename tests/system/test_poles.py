"""One meaning where a slope is infinite and a cotangent 0.

What a condition does not take has slope 0; everything else is multiplied as it is written, so 0*inf is NaN. The tape,
generated code, the adjoint's printed text and the exports agree.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.run.unroll import unroll
from dsl.spec import parse
from dsl.system.gates import gated
from dsl.system.resolve import resolve

X = np.array([[[0.0, 1.0]], [[0.0, 4.0]], [[1.0, 4.0]]])
CELL = "cell Pole(H):\n  input x[t]: H\n  param w: H = 0\n  param V: (H, H) ~ glorot\n"
NAN = float("nan")
HERE = {  # the slope by x[t] at 0, where w is 0 too
    "y[t] = w*sqrt(x[t])": NAN,
    "y[t] = w*log(x[t])": NAN,
    "y[t] = w/x[t]": NAN,
    "y[t] = w*x[t]**0.5": NAN,
    "y[t] = zeros(H) + sqrt(w@(x[t]*x[t]))": NAN,
    "y[t] = where(x[t] > 0, sqrt(x[t]), x[t])": 1,
    "y[t] = where(x[t] > 0, x[t]*log(x[t]), 0)": 0,
    "y[t] = where(x[t] <= 0, 0, (x[t] + w)/x[t] + log(x[t])**2)": 0,
    "y[t] = where(min(x[t]) > 0, V@log(x[t]), 0)": 0,
    "y[t] = where(x[t] > 0, where(x[t] > 2, log(x[t] - 2), sqrt(x[t])), 0)": 0,
    "z[t] = log(x[t])\n  y[t] = where(x[t] > 0, x[t]*z[t], 0)": 0,
    "z[t] = sqrt(x[t])\n  y[t] = w + last(z)": 0,
    "e[t,s] = where(x[t] > 0, log(x[t])*q[s], 0)\n  y[t] = sum[s](e[t,s])": None,
}


def cell(body):
    head = CELL.replace("  param w", "  input q[s]: H\n  param w") if "[t,s]" in body else CELL
    return parse(head + f"  {body}\n  loss cost = sum[t](sum(y[t]))\n")


@pytest.fixture(params=HERE, ids=lambda body: body.replace("\n  ", "; "))
def case(request):
    spec = cell(request.param)
    inputs = {"x": X, "q": X[1:]} if "[t,s]" in request.param else {"x": X}
    model = spec.build(H=2, dtype="float64", seed=1)
    with np.errstate(all="ignore"):
        expected = gradients(model, inputs, "compiled")
    here = HERE[request.param]
    if here is not None:
        assert np.array_equal(expected["x"][:2, 0, 0], [here, here], equal_nan=True)
    return spec, model, inputs, expected


def gradients(model, inputs, engine):
    leaves = {n: tg.tensor(v, requires_grad=True) for n, v in inputs.items()}
    for p in model.params.values():
        p.grad = None
    model(**leaves, engine=engine).cost.backward()
    found = {n: v.grad.numpy() for n, v in leaves.items()}
    return found | {n: p.grad.numpy() for n, p in model.params.items() if p.grad is not None}


def same(found, expected):
    assert "x" in found
    for name in found.keys() & expected.keys():  # what a cell does not read has no gradient, or zeros
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_tape_multiplies_as_generated_code_does(case):
    spec, model, inputs, expected = case
    same(gradients(model, inputs, "tape"), expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_printed_adjoint_says_the_same(case):
    spec, model, inputs, expected = case
    adjoint = spec.adjoint()
    system = resolve(adjoint.file, adjoint.name, {})[0].bind({"H": 2})
    run = model(**inputs)
    fed = {}
    for name, s in system.streams.items():
        if s.kind in ("input", "param", "const"):
            known = model.params[name].numpy() if name in model.params else inputs.get(name)
            fed[name] = (
                np.ones(1) if name == adjoint.cotangents["cost"] else known if known is not None else run[name].numpy()
            )
    wanted = {n: adjoint.gradients[n] for n in expected if n in adjoint.gradients}
    found = unroll(
        system, fed, {a: len(inputs["q" if a == "s" else "x"]) for a in system.axes}, 1, tuple(wanted.values())
    )
    same({n: np.asarray(found[g]) for n, g in wanted.items()}, {n: expected[n] for n in wanted})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_torch_says_the_same(case):
    torch = pytest.importorskip("torch")
    spec, model, inputs, expected = case
    module = model.to_torch()
    fed = {n: torch.tensor(v, requires_grad=True) for n, v in inputs.items()}
    module(**fed)["cost"].backward()
    leaves = {**fed, **dict(module.named_parameters())}
    same({n: v.grad.numpy() for n, v in leaves.items() if v.grad is not None}, {n: expected[n] for n in inputs})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_jax_says_the_same(case):
    jax = pytest.importorskip("jax")
    spec, model, inputs, expected = case
    params = {n: p.numpy() for n, p in model.params.items()}
    with jax.enable_x64(True):
        found = jax.grad(lambda fed: model.to_jax()(params, fed)["cost"])(inputs)
    same({n: np.asarray(v) for n, v in found.items()}, {n: expected[n] for n in inputs})


def test_a_system_without_poles_has_no_gates():
    system = parse("cell A(H):\n  input x[t]: H\n  y[t] = where(x[t] > 0, tanh(x[t]), -x[t])\n").system
    assert gated(system) is system
