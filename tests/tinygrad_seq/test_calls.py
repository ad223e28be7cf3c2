"""How primitives are called: wrong calls are refused before anything is computed, and help says what is right."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tests.opdb import RECORDS
from tests.tinygrad_seq.test_primitives import CONSTANT
from tinygrad_seq.examples import example
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.symbol import lift

names = pytest.mark.parametrize("name", sorted(RECORDS))
ANY_NUMBER = {"concat", "piece", "place", "einsum"}
HELD_ELSEWHERE = {"eigenvectors", "svd_left", "svd_right", "complement"}  # defined up to a phase: test_factors
COMPLEX_POINTS = ("erf", "erfc", "xlogy", "windows", "overlap_add", "conv2d_input", "conv2d_weight")


def readings(args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The same arguments as arrays, as tensors off the tape and on it, and as symbols."""
    floats = [isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in args]
    return [
        args,
        tuple(tg.tensor(a) if f else a for a, f in zip(args, floats, strict=True)),
        tuple(tg.tensor(a, requires_grad=True) if f else a for a, f in zip(args, floats, strict=True)),
        tuple(lift(f"x{i}") for i in range(len(args))),
    ]


@names
def test_a_call_with_one_argument_too_many_writes_nothing(name: str) -> None:
    op = REGISTRY[name]
    args, static = example(op)
    if name in ANY_NUMBER:
        assert op.call.arity is None
        return
    kept = np.full(np.shape(op(*args, **static)), 7.0)
    for given in readings(args):
        with pytest.raises(TypeError, match=rf"^{name}\(.*\) takes {len(args)} argument.* given {len(args) + 1}$"):
            op(*given, kept, **static)
        with pytest.raises(TypeError, match=rf"^{name}\(.*\) takes"):
            op(*given, tg.tensor(kept, requires_grad=True), **static)
    assert np.all(kept == 7.0)


@names
def test_a_call_with_one_argument_too_few_says_so(name: str) -> None:
    op = REGISTRY[name]
    args, static = example(op)
    least = len(op.call.inputs)
    if name in ("concat", "einsum"):
        assert least == 0
        return
    for given in readings(args):
        with pytest.raises(TypeError, match=rf"^{name}\(.*\) takes (at least )?{least} argument.* given {least - 1}$"):
            op(*given[: least - 1], **static)


@names
def test_an_option_that_there_is_not_says_which_there_are(name: str) -> None:
    op = REGISTRY[name]
    args, static = example(op)
    kept = np.full(np.shape(op(*args, **static)), 7.0)
    for given in readings(args):
        with pytest.raises(TypeError, match=rf"^{name} has no option 'out': "):
            op(*given, **static, out=kept)
    assert np.all(kept == 7.0)


def test_the_reviewed_calls_leave_the_user_s_numbers() -> None:
    a, b = np.full(3, 2.0), np.full(3, 5.0)
    weight = tg.tensor(b, requires_grad=True)
    with tg.no_grad():
        for call in (lambda: tg.tanh(a, b), lambda: tg.maximum(a, a, b), lambda: tg.add(tg.tensor(a), a, weight)):
            with pytest.raises(TypeError, match="takes"):
                call()
    assert np.all(b == 5.0) and np.all(weight.data == 5.0)


def test_what_any_number_is_given_to_stays_so() -> None:
    parts = [np.ones(2)] * 5
    assert REGISTRY["concat"](*parts).shape == (10,)
    assert float(REGISTRY["einsum"](*parts, spec="i,i,i,i,i->")) == 2.0


# ---------------------------------------------------------------- complex numbers


@names
def test_complex_numbers_are_declared_and_held_against_differences_or_refused(name: str) -> None:
    op, found = REGISTRY[name], RECORDS[name]
    if op.complex_numbers:
        assert found.complex or name in CONSTANT | HELD_ELSEWHERE | {"astype"} or name in COMPLEX_POINTS
        return
    assert not found.complex
    args, static = example(op)
    for place, a in enumerate(args):
        if not (isinstance(a, np.ndarray) and a.dtype.kind == "f"):
            continue
        turned = [x + 1j if i == place else x for i, x in enumerate(args)]
        with pytest.raises(TypeError, match=f"^{name} is a function of real numbers: "):
            op(*turned, **static)
        turned[place] = tg.tensor(turned[place], requires_grad=True)
        with pytest.raises(TypeError, match=f"^{name} is a function of real numbers: "):
            op(*turned, **static)


@pytest.mark.parametrize("name", sorted(COMPLEX_POINTS))
def test_gradients_over_the_complex_numbers(name: str) -> None:
    rng = np.random.default_rng(5)
    op, sample = REGISTRY[name], RECORDS[name].samples()[0]
    at = [i for i, a in enumerate(sample.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    shapes = [sample.args[i].shape for i in at]
    points = [rng.uniform(0.3, 0.9, s) + 1j * rng.uniform(0.2, 0.6, s) for s in shapes]

    def f(*xs: Any) -> Any:
        args = list(sample.args)
        for i, x in zip(at, xs, strict=True):
            args[i] = x
        return op(*args, **sample.static)

    tg.check_grads(f, *points, order=2)


def test_a_complex_number_among_real_ones_is_refused_too() -> None:
    for call in (lambda: tg.maximum(np.ones(2), 1j), lambda: tg.less(tg.tensor([1.0, 2.0]), 1j)):
        with pytest.raises(TypeError, match="a function of real numbers"):
            call()


def test_a_primitive_that_says_nothing_of_complex_numbers_refuses_them() -> None:
    softsign = tg.elementwise("softsign_of_a_test", lambda x: x / (1 + np.abs(x)), tex=r"s({0})")
    try:
        softsign.partials(lambda y, x: ((1 - tg.abs(y)) ** 2,))
        z = np.array([0.3 + 0.4j])
        for given in (z, tg.tensor(z, requires_grad=True)):
            with pytest.raises(TypeError, match="softsign_of_a_test is a function of real numbers"):
                softsign(given)
        said = tg.explain("softsign_of_a_test")
        assert "real ones: any other is a TypeError" in said and "over the complex numbers" not in said
        tg.check_grads(softsign, np.linspace(-3.0, 3.0, 8), order=2)
    finally:
        del REGISTRY["softsign_of_a_test"]


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("name", sorted({*tg.__all__, *(n for n in dir(tg) if isinstance(getattr(tg, n), Primitive))}))
def test_every_public_name_is_described(name: str) -> None:
    found = getattr(tg, name)
    if not callable(found):
        assert inspect.getdoc(found)
        return
    assert inspect.getdoc(found), name
    if isinstance(found, Primitive):
        call = inspect.signature(found)
        assert found.__doc__.startswith(f"{found.name}{call}\n")
        assert "static" not in call.parameters and "args" not in call.parameters
        assert inspect.getdoc(found) != inspect.getdoc(Primitive)


@pytest.mark.parametrize("kind", [k for k in map(tg.__dict__.get, tg.__all__) if inspect.isclass(k)])
def test_every_public_member_of_a_class_is_described(kind: Any) -> None:
    members = {n: m for base in kind.__mro__ for n, m in vars(base).items() if not n.startswith("_")}
    missing = [n for n, m in members.items() if _is_member(m) and not m.__doc__]
    assert not missing


def _is_member(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)


def test_a_signature_names_the_inputs_of_the_rule() -> None:
    assert str(inspect.signature(tg.tanh)) == "(x, /)"
    assert str(inspect.signature(tg.maximum)) == "(a, b, /)"
    assert str(inspect.signature(tg.elu)) == "(x, /, *, alpha=1.0)"
    assert str(inspect.signature(REGISTRY["concat"])) == "(*xs, axis=-1)"
    assert "maximum(x, 0)" in (tg.relu.__doc__ or "")
    assert inspect.signature(Primitive).parameters["name"].name == "name"
