"""Every primitive at random: dims of 0 and 1, shapes that broadcast, dtypes, layouts; torch and jax beside.

A sample of the record is called again on arrays that are the same numbers in another layout (strided, turned round,
in Fortran's order, read-only) and in single precision; an elementwise primitive also on random shapes that broadcast,
with numbers from its samples. The answers are the plain call's, torch's and jax's, with the gradients, or the call is
refused with an error that says something. TGSEQ_SWEEP=500 draws so many of each instead of a few.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tests.opdb import RECORDS, Sample
from tinygrad_seq.ops import multiply, reduce
from tinygrad_seq.primitive import REGISTRY

DRAWN = int(os.environ.get("TGSEQ_SWEEP", "1"))
CLEAR = (ValueError, TypeError, IndexError, np.linalg.LinAlgError, tg.GradientError)
# decompositions whose signs and order are not the matrix's: a change of the last bit may turn them round
LOOSE = {"eigenvectors", "svd_left", "svd_right", "qr_q", "qr_r", "complement"}
# numbers that belong together: what is drawn for one alone may leave the domain
TOGETHER = {"betainc", "clip", "mod", "floordiv", "where", "settle", "one_hot"}
NAMES = pytest.mark.parametrize("name", sorted(RECORDS))


@pytest.fixture(autouse=True)
def calm() -> Any:
    with np.errstate(all="ignore"):
        yield


def layouts(rng: np.random.Generator, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same numbers, otherwise in memory."""
    kind = rng.integers(5) if x.ndim else 4
    if kind == 0:
        y = np.repeat(x, 2, axis=-1)[..., ::2]
    elif kind == 1:
        y = np.ascontiguousarray(x[::-1])[::-1]
    elif kind == 2:
        y = np.asfortranarray(x)
    elif kind == 3:
        y = np.concatenate([x, x])[: len(x)]
    else:
        y = x.copy()
        y.flags.writeable = False
    np.testing.assert_array_equal(x, y)
    return y


def called(name: str, args: list[Any], at: list[int], static: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Value, and the gradients at the places `at` for a fixed cotangent."""
    tensors = [tg.Tensor.wrap(a) if i in at else a for i, a in enumerate(args)]
    for i in at:
        tensors[i].requires_grad = True
    y = REGISTRY[name](*tensors, **static)
    if not isinstance(y, tg.Tensor):
        return y, []
    if y.requires_grad:
        y.backward(cotangent(y.data))
    return y.data, [None if tensors[i].grad is None else tensors[i].grad.data for i in at]


def cotangent(y: Any) -> Any:
    g = np.cos(1.0 + np.arange(y.size).reshape(y.shape))
    return (g + 0.5j * g[..., ::-1] if y.dtype.kind == "c" and y.ndim else g).astype(y.dtype)


def same(found: Any, expected: Any, what: str, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    for a, b in zip([found[0], *found[1]], [expected[0], *expected[1]], strict=True):
        if a is None and b is None:
            continue
        a, b = (np.zeros_like(v) if u is None else u for u, v in ((a, b), (b, a)))  # no gradient is one of 0
        assert np.shape(a) == np.shape(b), what
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=what)


@NAMES
def test_the_layout_in_memory_changes_nothing(name: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(DRAWN):
        for sample in RECORDS[name].samples():
            at = RECORDS[name].variables(sample)
            moved = [layouts(rng, a) if isinstance(a, np.ndarray) else a for a in sample.args]
            plain = [a.copy() if isinstance(a, np.ndarray) else a for a in sample.args]
            expected = called(name, plain, at, sample.static)
            same(called(name, moved, at, sample.static), expected, f"{name} {sample.static}")


@NAMES
def test_compiled_loops_take_the_smallest_arrays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left to NumPy for being small, by the loops for large arrays, in as many pieces as there can be."""
    expected = []
    for sample in RECORDS[name].samples():
        expected.append(called(name, list(sample.args), RECORDS[name].variables(sample), sample.static))
    monkeypatch.setenv("TGSEQ_NUM_THREADS", "2")
    monkeypatch.setattr(reduce, "COMPILED", 1)
    for limit in ("ALONE", "PART", "CALL"):
        monkeypatch.setattr(multiply, limit, 1)
    for sample, plain in zip(RECORDS[name].samples(), expected, strict=True):
        same(called(name, list(sample.args), RECORDS[name].variables(sample), sample.static), plain, name)


@NAMES
def test_single_precision_is_double_rounded(name: str) -> None:
    for sample in RECORDS[name].samples():
        at = RECORDS[name].variables(sample)
        if not at or name in LOOSE | {"astype", "shape_of", "size"}:
            continue
        narrow = [_single(a) for a in sample.args]
        expected = called(name, [_double(a) for a in narrow], at, sample.static)
        found = called(name, narrow, at, sample.static)
        for i, gradient in zip(at, found[1], strict=True):
            assert gradient is None or gradient.dtype == narrow[i].dtype, name
        if np.asarray(found[0]).dtype.kind in "fc":
            assert found[0].dtype.char in "fF", name
        size = max([float(np.abs(v).max(initial=0)) for v in (expected[0], *expected[1]) if v is not None] or [1.0])
        if np.isfinite(size):
            same(found, expected, name, rtol=5e-4, atol=2e-5 * max(1.0, size))


def _single(a: Any) -> Any:
    kinds = {"f": np.float32, "c": np.complex64}
    return a.astype(kinds.get(a.dtype.kind, a.dtype)) if isinstance(a, np.ndarray) else a


def _double(a: Any) -> Any:
    kinds = {"f": np.float64, "c": np.complex128}
    return a.astype(kinds.get(a.dtype.kind, a.dtype)) if isinstance(a, np.ndarray) else a


# ---------------------------------------------------------------- shapes at random, torch and jax beside


def shapes(rng: np.random.Generator, count: int) -> list[tuple[int, ...]]:
    """Shapes that broadcast: each dim is the common one or 1, leading ones may be missing."""
    full = tuple(int(n) for n in rng.choice([0, 1, 2, 3, 5], rng.integers(0, 5)))
    return [
        tuple(
            n if rng.random() < 0.7 else 1 for n in full[rng.integers(0, len(full) + 1) if rng.random() < 0.3 else 0 :]
        )
        for _ in range(count)
    ]


def drawn(rng: np.random.Generator, name: str) -> Sample:
    """A call of an elementwise primitive on random shapes, with numbers that its samples hold."""
    samples = [s for s in RECORDS[name].samples() if not s.kink and all(np.size(a) for a in s.args)]
    sample = samples[rng.integers(len(samples))]
    sizes = shapes(rng, len(sample.args))
    args = []
    for a, shape in zip(sample.args, sizes, strict=True):
        if isinstance(a, np.ndarray):
            a = np.asarray(rng.choice(a.reshape(-1), shape)).astype(a.dtype)
            a = layouts(rng, a)
        args.append(a)
    return Sample(tuple(args), sample.static)


def by_torch(sample: Sample, at: list[int], function: Callable[..., Any]) -> tuple[Any, list[Any]]:
    torch = importlib.import_module("torch")
    args = [torch.from_numpy(np.array(a)) if isinstance(a, np.ndarray) else a for a in sample.args]
    for i in at:
        args[i].requires_grad_()
    y = function(torch, *args, **sample.static)
    value = y.detach().numpy(force=True)
    y.backward(torch.from_numpy(np.array(cotangent(value))))
    return value, [None if args[i].grad is None else args[i].grad.numpy(force=True) for i in at]


def in_jax(name: str) -> Callable[..., Any] | None:
    """jax's function of that name."""
    jax = importlib.import_module("jax")
    for place in (jax.numpy, jax.nn, jax.scipy.special):
        if hasattr(place, name):
            return getattr(place, name)  # type: ignore[no-any-return]
    return None


def by_jax(sample: Sample, at: list[int], function: Callable[..., Any]) -> tuple[Any, list[Any]]:
    jax = importlib.import_module("jax")

    def of(*xs: Any) -> Any:
        args = list(sample.args)
        for i, x in zip(at, xs, strict=True):
            args[i] = x
        return function(*args, **sample.static)

    y, pull = jax.vjp(of, *(sample.args[i] for i in at))
    gradients = pull(np.conj(cotangent(np.asarray(y))))  # jax's gradient is the conjugate of ours
    return np.asarray(y), [np.conj(np.asarray(g)) for g in gradients]


ELEMENTWISE = sorted(n for n in RECORDS if REGISTRY[n].elementwise and REGISTRY[n].differentiable and n not in TOGETHER)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_random_shapes_beside_torch_and_jax(name: str) -> None:
    pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    rng, theirs = np.random.default_rng(11), RECORDS[name].torch
    for _ in range(4 * DRAWN):
        sample = drawn(rng, name)
        at = RECORDS[name].variables(sample)
        try:
            found = called(name, list(sample.args), at, sample.static)
        except CLEAR as error:
            assert len(str(error)) > 10, f"{name} refuses and does not say why"
            continue
        shape = np.broadcast_shapes(*(np.shape(a) for a in sample.args))
        assert np.shape(found[0]) == shape, name
        for i, gradient in zip(at, found[1], strict=True):
            assert gradient is None or gradient.shape == sample.args[i].shape, name
        if theirs is not None:
            same(found, by_torch(sample, at, theirs), f"{name}, torch", rtol=1e-8, atol=1e-9)
        function = in_jax(name)
        if function is not None and not any(np.iscomplexobj(a) for a in sample.args) and not sample.static:
            with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
                same(found, by_jax(sample, at, function), f"{name}, jax", rtol=1e-6, atol=1e-7)
