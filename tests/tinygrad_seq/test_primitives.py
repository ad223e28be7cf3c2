"""Every primitive, from its record in opdb: gradients, dtypes, closure, residuals, agreement of readings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tests.opdb import RECORDS, Record, Sample
from tinygrad_seq.derivative import Slot, argument_names, expressions
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import postorder
from tinygrad_seq.tape import Step, fit

CONSTANT = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_not",
    "stop_gradient", "shape_of", "size", "one_hot", "floor", "ceil", "trunc", "round", "isnan", "isinf", "isfinite",
    "signbit", "logical_xor", "argmax", "argmin", "argsort", "any", "all",
    "categorical_icdf",
}  # fmt: skip
FLAT = {"floordiv"}  # derivative zero wherever there is one

# ranks of the arguments at which a call has no batch
BATCHLESS = {
    "matvec": (2, 1), "dot": (1, 1), "outer": (1, 1), "outer_sum": (1, 1), "matmul": (2, 2), "matmul_sum": (2, 2),
    "lookup": (2, 0), "scatter_columns": (1, 0), "fill": (0,), "cross_entropy": (1, 0),
    "reflect": (1, 1), "reflect_adjoint": (1, 1, 1), "solve": (2, 2),
}  # fmt: skip

names = pytest.mark.parametrize("name", sorted(RECORDS))
with_derivative = pytest.mark.parametrize("name", sorted(set(RECORDS) - CONSTANT - FLAT))


def cases(name: str, kinks: bool = False) -> Iterator[tuple[Record, Sample]]:
    found = RECORDS[name]
    for sample in found.samples():
        if kinks or not sample.kink:
            yield found, sample


def closed(found: Record, sample: Sample) -> tuple[Any, list[Any]]:
    """The primitive as a function of its variables alone, and their values."""
    at = found.variables(sample)

    def f(*xs: Any) -> Any:
        args = list(sample.args)
        for i, x in zip(at, xs, strict=True):
            args[i] = x
        return REGISTRY[found.name](*args, **sample.static)

    return f, [sample.args[i] for i in at]


def test_every_primitive_has_a_record_of_eight_samples() -> None:
    missing = [
        n for n, op in REGISTRY.items() if n not in RECORDS and op.impl.__module__.startswith(("tinygrad", "numpy"))
    ]
    assert not missing
    for name, found in RECORDS.items():
        assert len(found.samples()) >= 8, name


@with_derivative
def test_gradients_of_both_orders(name: str) -> None:
    checked = 0
    for found, sample in cases(name):
        f, xs = closed(found, sample)
        assert xs
        tg.check_grads(f, *xs, order=found.order)
        checked += 1
    assert checked >= 8


@pytest.mark.parametrize("name", sorted(CONSTANT | FLAT))
def test_what_has_no_derivative_records_nothing(name: str) -> None:
    for found, sample in cases(name):
        f, xs = closed(found, sample)
        y = f(*(tg.tensor(x, requires_grad=True) for x in xs))
        assert not isinstance(y, tg.Tensor) or not y.requires_grad


@pytest.mark.parametrize("name", sorted(set(RECORDS) - {"astype"}))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_and_shape_are_kept(name: str, dtype: str) -> None:
    for found, sample in cases(name, kinks=True):
        f, xs = closed(found, sample)
        wide = {"f": dtype, "c": f"complex{2 * int(dtype[-2:])}"}
        tensors = [tg.tensor(x, requires_grad=True, dtype=wide[x.dtype.kind]) for x in xs]
        y = f(*tensors)
        if not isinstance(y, tg.Tensor):
            continue
        assert isinstance(y.data, np.ndarray)
        if y.dtype.kind in "fc" and tensors:
            assert y.dtype == wide[y.dtype.kind]
        if y.requires_grad:
            y.backward(np.ones(y.shape))
            for t in tensors:
                assert t.grad is None or (t.grad.dtype == t.dtype and t.grad.shape == t.shape)


@names
def test_closure(name: str) -> None:
    """Every rule can be read on symbols, and what it names has a rule itself or is a constant."""
    op = REGISTRY[name]
    if not op.differentiable:
        assert name in CONSTANT
        return
    sample = RECORDS[name].samples()[0]
    found = expressions(op, [True] * len(sample.args), sample.static)
    for node in postorder([c for c in found if c is not None]):
        if node.op is not None:
            assert node.op.differentiable or node.op.name in CONSTANT, node.op.name
        else:
            assert isinstance(node.leaf, Slot | bool | int | float | complex | tuple)
    assert len(argument_names(op, len(sample.args))) == len(sample.args)


@with_derivative
def test_poison(name: str) -> None:
    """After the forward pass all but the declared residuals is overwritten; gradients do not move."""
    for found, sample in cases(name, kinks=True):
        f, xs = closed(found, sample)

        def run(poison: bool, f: Any = f, xs: Any = xs) -> list[Any]:
            tensors = [tg.tensor(x, requires_grad=True) for x in xs]
            y = f(*tensors)
            if not isinstance(y, tg.Tensor) or not isinstance(y.node, Step):
                return []
            if poison:
                kept = [a for a in y.node.saved or () if isinstance(a, np.ndarray)]
                for array in [t.data for t in tensors] + [y.data]:
                    if array.flags.writeable and not any(np.shares_memory(array, k) for k in kept):
                        array[...] = np.nan
            y.backward(np.random.default_rng(0).standard_normal(y.shape))
            return [t.grad.data for t in tensors if t.grad is not None]

        for clean, poisoned in zip(run(False), run(True), strict=True):
            np.testing.assert_array_equal(clean, poisoned)


@with_derivative
def test_the_rule_on_arrays_agrees_with_the_tape(name: str) -> None:
    for found, sample in cases(name, kinks=True):
        op = REGISTRY[name]
        f, xs = closed(found, sample)
        tensors = [tg.tensor(x, requires_grad=True) for x in xs]
        y = f(*tensors)
        if not isinstance(y, tg.Tensor) or not y.requires_grad:
            continue
        g = np.random.default_rng(1).standard_normal(y.shape)
        y.backward(g)
        with np.errstate(all="ignore"):
            direct = op.pullback(g, y.data, sample.args, sample.static)
        for i, t in zip(found.variables(sample), tensors, strict=True):
            if direct[i] is None:
                assert t.grad is None
            else:
                expected = fit(np.asarray(direct[i]), t.shape, t.dtype)
                np.testing.assert_allclose(t.grad.data, expected, rtol=1e-12, atol=1e-14)


@names
def test_shape_function(name: str) -> None:
    """Where symbols allow the call (no broadcast but of scalars), the shape is the value's."""
    known = 0
    for _, sample in cases(name, kinks=True):
        ranks = [np.ndim(a) for a in sample.args if isinstance(a, np.ndarray)]
        if any(r > limit for r, limit in zip(ranks, BATCHLESS.get(name, ()), strict=False)):
            continue
        shapes = [
            a.shape if isinstance(a, np.ndarray) else a if isinstance(a, tuple | int) else () for a in sample.args
        ]
        try:
            said = REGISTRY[name].shape(*shapes, **sample.static)
        except ValueError:
            continue  # a broadcast, which symbols do not have
        value = REGISTRY[name].impl(*sample.args, **sample.static)
        assert said == (value if name in ("shape_of", "size") else np.shape(value))
        known += 1
    assert known


def promoted(torch: Any, args: list[Any]) -> list[Any]:
    is_complex = any(torch.is_tensor(a) and a.is_complex() for a in args)
    return [a.to(torch.complex128) if is_complex and torch.is_tensor(a) and a.dtype != torch.bool else a for a in args]


@pytest.mark.parametrize("name", sorted(n for n, r in RECORDS.items() if r.torch is not None))
def test_torch_agrees(name: str) -> None:
    torch = pytest.importorskip("torch")
    for found, sample in cases(name, kinks=name in ("maximum", "minimum", "max", "min")):
        f, xs = closed(found, sample)
        ours = [tg.tensor(x, requires_grad=True) for x in xs]
        y = f(*ours)
        if not y.requires_grad:
            assert name == "sign" or (name == "power" and sample.args[1] == 0)
            continue
        at = found.variables(sample)
        args = [torch.as_tensor(a.copy()) if isinstance(a, np.ndarray) else a for a in sample.args]
        for i in at:
            args[i].requires_grad_()
        same = (
            promoted(torch, args) if name in ("matmul", "matvec", "where", "einsum") else args
        )  # torch wants one dtype
        theirs = found.torch(torch, *same, **sample.static) if found.torch is not None else None
        np.testing.assert_allclose(y.data, theirs.detach().resolve_conj().numpy(), rtol=1e-10, atol=1e-12)
        g = np.random.default_rng(2).standard_normal(y.shape)
        y.backward(g)
        theirs.backward(torch.as_tensor(g).to(theirs.dtype))
        for t, i in zip(ours, at, strict=True):
            np.testing.assert_allclose(t.grad.data, args[i].grad.resolve_conj().numpy(), rtol=1e-10, atol=1e-12)


def test_a_derivative_that_nobody_knows_is_an_error_and_not_zero() -> None:
    a, x = tg.tensor(1.5, requires_grad=True), tg.tensor(0.5, requires_grad=True)
    with pytest.raises(tg.GradientError, match=r"gammainc knows no derivative with respect to a: .*stop_gradient\(a\)"):
        tg.gammainc(a, x)
    tg.gammainc(tg.stop_gradient(a), x).backward()
    assert a.grad is None and x.grad is not None
