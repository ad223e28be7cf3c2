"""Mistakes put into the engine, one at a time: every rule's every cotangent wrong in three ways, and the tape's own.

A rule's mutant is rejected when the gradient check of the primitive's record fails; one of the tape when a check of
`CHECKS` does. Each is undone afterwards, and the checks pass before and after.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tests.opdb import RECORDS
from tests.tinygrad_seq import test_combinations, test_transforms, test_traps
from tests.tinygrad_seq.test_primitives import CONSTANT, FLAT, closed
from tinygrad_seq import derivative, nodes, tape
from tinygrad_seq.primitive import REGISTRY, Primitive

RULES = sorted(set(RECORDS) - CONSTANT - FLAT)
WRONG: dict[str, Callable[[Any], Any]] = {
    "scaled by a thousandth": lambda r: r * 1.001,
    "of the other sign": lambda r: -r,
    "forgotten": lambda r: None,
}


@contextmanager
def mutated(op: Primitive, position: int, wrong: Callable[[Any], Any]) -> Iterator[None]:
    """The primitive with one cotangent of its rule changed."""
    original = op.vjp_rule, op.partials_rule

    def rule(g: Any, y: Any, *inputs: Any, **static: Any) -> tuple[Any, ...]:
        op.vjp_rule, op.partials_rule = original
        results = list(op.pullback(g, y, inputs, static))
        op.vjp_rule = rule
        if position < len(results) and results[position] is not None:
            results[position] = wrong(results[position])
        return tuple(results)

    derivative._cache.clear()
    op.vjp_rule = named_as(op, rule)
    try:
        yield
    finally:
        op.vjp_rule, op.partials_rule = original
        derivative._cache.clear()


def named_as(op: Primitive, rule: Any) -> Any:
    """The rule with the signature that names the inputs."""
    names = derivative.argument_names(op, 9)
    rule.__signature__ = inspect.Signature(
        [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("g_", "y_", *names)]
    )
    return rule


def rejected(name: str) -> bool:
    found = RECORDS[name]
    for sample in found.samples():
        if sample.kink:
            continue
        f, xs = closed(found, sample)
        try:
            tg.check_grads(f, *xs, order=1)
        except Exception:  # any failure rejects
            return True
    return False


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule_is_rejected(name: str) -> None:
    assert not rejected(name)
    op, record = REGISTRY[name], RECORDS[name]
    samples = record.samples()
    for position in sorted({i for s in samples for i in record.variables(s)}):
        if all(gives_nothing(op, s, position) for s in samples):
            continue
        for said, wrong in WRONG.items():
            with mutated(op, position, wrong):
                assert rejected(name), f"the checks accept {name} with cotangent {position} {said}"
    assert not rejected(name)


def gives_nothing(op: Primitive, sample: Any, position: int) -> bool:
    if position >= len(sample.args):
        return True
    y = op.impl(*sample.args, **sample.static)
    with np.errstate(all="ignore"):
        return op.pullback(np.ones(np.shape(y)), y, sample.args, sample.static)[position] is None


# ---------------------------------------------------------------- the tape


def weights_of_a_loop() -> None:
    """One weight used in 40 steps of 3 rows: its products wait for one another."""
    rng = np.random.default_rng(0)
    w, xs = rng.standard_normal((2, 2)), rng.standard_normal((40, 3, 2))

    def f(w: Any) -> Any:
        h: Any = np.zeros((3, 2))
        for x in xs:
            h = tg.tanh(tg.matmul(x, w) + tg.matmul(h, w) * 0.5)
        return tg.sum(h * h)

    tg.check_grads(f, w, order=1)


def slices_of_one_array() -> None:
    tg.check_grads(lambda x: tg.sum(x[:2] * x[1:] + x[:2] ** 2 + x[1]), np.array([0.3, -1.2, 0.7]), order=2)


def large_cross_entropies() -> None:
    x = np.random.default_rng(1).standard_normal((60, 400))
    target = np.arange(60) - 1
    tg.check_grads(lambda x: tg.sum(tg.cross_entropy(x, target) * np.arange(60.0)), x, order=2)


CHECKS: list[Callable[[], None]] = [
    weights_of_a_loop,
    slices_of_one_array,
    large_cross_entropies,
    test_traps.test_x_times_x,
    test_traps.test_fan_out_of_100,
    test_traps.test_aliased_gradient_buffers,
    test_traps.test_a_residual_changed_in_place_names_the_operation_and_its_line,
    test_traps.test_residuals_only_and_released_by_backward,
    test_traps.test_a_second_backward_is_a_clear_error,
    test_traps.test_perturbation_confusion,
    test_transforms.test_a_gradient_inside_free_tape_code_is_differentiated_through,
    test_combinations.test_joining_shapes_and_axes,
]


TENSOR = import_module("tinygrad_seq.tensor")  # the package's own `tensor` is a function
ORIGINAL_FIT, ORIGINAL_ADD, ORIGINAL_PICKER = nodes.fit, tape.Sums.add, derivative._picker


def first_of_batch(g: Any, shape: Any, dtype: Any) -> Any:
    extra = np.ndim(g) - len(shape)
    return ORIGINAL_FIT(g[(0,) * extra] if extra > 0 else g, shape, dtype)


def overwriting_scatter(node: Any, g: Any, sums: Any, useful: Any) -> bool:
    source = node.edges[0][0]
    sums.held[source] = np.zeros(*source.meta(0))
    sums.held[source][node.static["key"].value] = g
    return True


def overwriting_sum(self: Any, key: Any, value: Any, fresh: bool = False) -> None:
    self.held[key] = value


def last_product(self: Any, other: Any) -> None:
    self.left, self.right, self.rows = other.left, other.right, other.rows


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "products that wait are lost": (tape.Sums, "wait", lambda self, edge, product: None),
    "only the last waiting product counts": (tape.Product, "join", last_product),
    "slices overwrite one another": (tape, "_scatter", overwriting_scatter),
    "sums overwrite": (tape.Sums, "add", overwriting_sum),
    "every cotangent is one's own": (tape.Sums, "add", lambda self, e, v, f=False: ORIGINAL_ADD(self, e, v, True)),
    "a batch's first row instead of its sum": (tape, "fit", first_of_batch),
    "changes go unnoticed": (tape, "latest_change", lambda: 0),
    "nothing is freed": (TENSOR, "backward", lambda *a, free, **kw: tape.backward(*a, **kw)),
    "nodes pulled in the order of making": (tape, "_number", lambda n: -n.serial),
    "cross-entropy's error without the target": (
        REGISTRY["cross_entropy"], "at_once", lambda g, y, x, t: REGISTRY["softmax"].impl(x) * np.expand_dims(g, -1)
    ),
    "residuals in the wrong order": (derivative, "_picker", lambda args, parts: ORIGINAL_PICKER(args, parts[::-1])),
}  # fmt: skip


def first_failure() -> str | None:
    derivative._cache.clear()
    for check in CHECKS:
        try:
            check()
        except (Exception, pytest.fail.Exception) as error:  # any failure rejects
            return f"{check.__name__}: {error}"
    return None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_tape_is_rejected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, attribute, value = MUTANTS[name]
    assert hasattr(target, attribute), f"{name}: what it changes is not there any more"
    with monkeypatch.context() as patch:
        patch.setattr(target, attribute, value)
        assert first_failure() is not None, f"the checks accept: {name}"
    derivative._cache.clear()


def test_the_tape_as_it_is_passes() -> None:
    assert first_failure() is None
