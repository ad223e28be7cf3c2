"""The traps that every such engine meets, by name: where each has its test; and those that need every operation."""

from __future__ import annotations

import ast
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.examples import example
from tinygrad_seq.primitive import REGISTRY

TESTS = Path(__file__).parents[1]
HERE, TRAPS, ARRAYS, COMPLEX = (f"tinygrad_seq/test_{n}.py" for n in ("trap_names", "traps", "arrays", "complex"))
CACHE, COMBINATIONS = "kernels/test_cache.py", "tinygrad_seq/test_combinations.py"
# trap -> the tests that hold it
HELD: dict[str, list[tuple[str, str]]] = {
    "broadcast un-reduction of every operation": [
        (HERE, "test_broadcast_un_reduction_of_every_operation"), (TRAPS, "test_broadcast_un_reduction")],
    "where with a scalar branch": [(TRAPS, "test_where_with_a_scalar_branch_has_a_scalar_gradient")],
    "shared subexpressions": [(TRAPS, "test_many_diamonds_in_a_row_cost_no_more_than_their_nodes")],
    "diamonds": [(TRAPS, "test_a_diamond_is_pulled_once_after_all_its_consumers")],
    "fan-out 100": [(TRAPS, "test_fan_out_of_100")],
    "x*x": [(TRAPS, "test_x_times_x")],
    "depth: backward, repr, deepcopy, collection": [(TRAPS, "test_depth_10000")],
    "depth: gradients of gradients": [(TRAPS, "test_a_gradient_of_a_gradient_10000_deep")],
    "depth: printing": [(HERE, "test_printing_10000_steps")],
    "depth: drawing": [
        ("viz/test_stepper.py", "test_large_tapes_are_collapsed_and_quick"), (HERE, "test_drawing_10000_steps")],
    "aliased gradient buffers": [
        (TRAPS, "test_aliased_gradient_buffers"), (TRAPS, "test_the_caller_s_cotangent_is_neither_kept_nor_changed"),
        (TRAPS, "test_gradients_given_to_arrays_can_be_written_to_and_are_apart")],
    "a residual changed in place": [
        (TRAPS, "test_a_residual_changed_in_place_names_the_operation_and_its_line"),
        (TRAPS, "test_a_change_through_a_view_or_of_what_it_views_is_noticed")],
    "dtype: float32 stays (NEP 50), np.float64(2)*t": [
        (TRAPS, "test_nep50_plain_numbers_and_numpy_scalars_do_not_widen"),
        ("tinygrad_seq/test_primitives.py", "test_dtype_and_shape_are_kept")],
    "dtype: 0-d stays an array": [(TRAPS, "test_zero_dimensional_values_stay_arrays")],
    "kinks as published": [(TRAPS, "test_kinks_are_as_published")],
    "where's other branch sends no NaN": [(TRAPS, "test_a_branch_not_taken_sends_no_nan")],
    "prod with 0, 1, 2 zeros": [(TRAPS, "test_products_with_zeros")],
    "0**p and x**0": [(TRAPS, "test_powers_of_zero")],
    "stability: logsumexp, log-softmax, cross-entropy": [
        (TRAPS, "test_stable_log_sums"), (HERE, "test_rows_that_are_masked_whole"),
        ("tinygrad_seq/test_rows.py", "test_compiled_rows_are_numpy_s")],
    "stability: sigmoid and softplus at ±800 in float32": [
        (TRAPS, "test_sigmoid_and_softplus_far_out_in_float32")],
    "complex: one convention": [
        (COMPLEX, "test_the_gradient_is_the_slope_by_re_plus_i_times_the_slope_by_im")],
    "complex: a real input's gradient is real": [(COMPLEX, "test_a_real_input_s_gradient_is_real")],
    "memory: residuals only": [
        (TRAPS, "test_residuals_only_and_released_by_backward"),
        (COMBINATIONS, "test_the_memory_of_a_tape_is_its_residuals")],
    "memory: dies without the collector": [
        (TRAPS, "test_a_graph_never_pulled_dies_without_the_collector")],
    "memory: a second backward": [(TRAPS, "test_a_second_backward_is_a_clear_error")],
    "re-entrancy: raise inside grad": [(TRAPS, "test_raising_inside_grad_leaves_no_trace")],
    "re-entrancy: threads": [
        (TRAPS, "test_threads_have_states_of_their_own_and_gradients_equal_the_serial_ones"),
        (COMBINATIONS, "test_eight_threads_at_once_give_the_serial_gradients")],
    "perturbation confusion": [(TRAPS, "test_perturbation_confusion")],
    "indexing: repeated, masks, negatives": [
        (ARRAYS, "test_indexing"), (ARRAYS, "test_repeated_indices_add_up_and_masks_pick")],
    "matmul of ranks 1 to 4": [(ARRAYS, "test_matmul_of_ranks_1_to_4")],
    "einsum: ii->, ij->, ...ij": [(ARRAYS, "test_einsum")],
    "numba: cached by content": [
        (CACHE, "test_the_second_process_compiles_nothing"), (CACHE, "test_an_edited_kernel_has_another_name")],
    "numba: written atomically": [(CACHE, "test_a_damaged_file_is_not_loaded")],
    "numba: concurrent processes": [(CACHE, "test_two_processes_at_once")],
    "numba: no cache directory": [
        (CACHE, "test_a_directory_that_cannot_be_written"), (CACHE, "test_a_cache_directory_deleted_while_running")],
    "numba: the cell once, not the unrolled graph": [(HERE, "test_another_length_compiles_nothing")],
}  # fmt: skip


@cache
def functions_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


@pytest.mark.parametrize("trap", HELD)
def test_every_trap_has_its_test(trap: str) -> None:
    for file, name in HELD[trap]:
        assert name in functions_in(file), f"{trap}: {file} has no {name}"


# ---------------------------------------------------------------- every operation


def several(name: str) -> list[int]:
    """Positions of the floating arguments of an elementwise primitive that takes two or more."""
    op = REGISTRY[name]
    if not op.elementwise or not op.differentiable or name in ("floordiv", "settle"):  # 0; shapes equal already
        return []
    floats = [i for i, a in enumerate(example(op)[0]) if isinstance(a, np.ndarray | float) and _floating(a)]
    return [i for i in floats if i not in op.fixed] if len(example(op)[0]) > 1 else []


def _floating(a: Any) -> bool:
    return np.asarray(a).dtype.kind == "f"


MANY = [n for n in sorted(REGISTRY) if several(n)]


@pytest.mark.parametrize("small", [(), (1,), (3, 1), (1, 4), (0,)])
@pytest.mark.parametrize("name", MANY)
def test_broadcast_un_reduction_of_every_operation(name: str, small: tuple[int, ...]) -> None:
    op, (args, static) = REGISTRY[name], example(REGISTRY[name])
    large = (3, 4) if small != (0,) else (3, 0)
    for position in several(name):
        arrays = [np.full(large, np.ravel(a)[0]) for a in args]
        arrays[position] = np.full(small, np.ravel(args[position])[0])
        given = [tg.tensor(a, requires_grad=i in several(name)) for i, a in enumerate(arrays)]
        y = op(*given, **static)
        assert y.shape == large
        y.backward(np.ones(large))
        whole = [tg.tensor(np.broadcast_to(a, large), requires_grad=i in several(name)) for i, a in enumerate(arrays)]
        op(*whole, **static).backward(np.ones(large))
        for t, w in zip(given, whole, strict=True):
            assert (t.grad is None) == (w.grad is None)
            if t.grad is not None and w.grad is not None:
                assert t.grad.shape == t.shape
                expected = np.sum(w.grad.data) if t is given[position] and small in ((), (1,)) else None
                if expected is not None:
                    np.testing.assert_allclose(np.sum(t.grad.data), expected, rtol=1e-12)


def test_there_are_many_operations_of_several_arguments() -> None:
    assert len(MANY) > 18 and {"add", "power", "where", "clip", "betainc", "hypot", "logaddexp"} <= {*MANY}


# ---------------------------------------------------------------- depth


def deep(x: Any) -> Any:
    for _ in range(5_000):
        x = tg.sin(x) + 0.1
    return x


def test_printing_10000_steps() -> None:
    with tg.Tape() as tape:
        deep(tg.tensor(0.3, requires_grad=True, name="x")).backward(retain_graph=True)
    said = str(tape).splitlines()
    assert len(said) == 10_002 and "%10000 + 0.1" in said[-1] and sum(1 for _ in tape.backward()) == 10_001
    program = tg.trace(deep)(0.3)
    assert str(program).count("\n") == 10_001 and float(program.grad()(0.3)) == pytest.approx(float(tg.grad(deep)(0.3)))


def test_drawing_10000_steps() -> None:
    viz = pytest.importorskip("viz")
    page = viz.stepper(deep, 0.3)
    assert "×5000" in page.html


# ---------------------------------------------------------------- stability


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_masked_whole(dtype: Any) -> None:
    """No category has a probability: log Σ is -inf and sends nothing; what divides by 0 is NaN, without a warning."""
    x = np.full((2, 3), -np.inf, dtype)
    x[0, 1] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total, g = tg.value_and_grad(lambda v: tg.sum(tg.where(np.array([True, False]), tg.logsumexp(v, axis=1), 0)))(x)
        assert total == 0 and np.array_equal(g, [[0, 1, 0], [0, 0, 0]])
        for f in (tg.softmax, tg.log_softmax):
            y = f(x)
            assert y.dtype == dtype and np.isnan(y[1]).all() and not np.isnan(y[0]).any()
        loss = tg.cross_entropy(x, np.array([1, 0]))
        assert loss[0] == 0 and np.isnan(loss[1]) and loss.dtype == dtype


# ---------------------------------------------------------------- compiled loops


def test_another_length_compiles_nothing() -> None:
    from numba.core import event

    dsl = pytest.importorskip("dsl")
    model = dsl.load("Elman").build(D=2, H=3, seed=0)

    def run(steps: int) -> None:
        tg.sum(model(np.zeros((steps, 2, 2), "float32")).h).backward()

    run(5)
    with event.install_recorder("numba:compile") as recorder:
        run(400)
    assert not recorder.buffer
