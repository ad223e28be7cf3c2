"""The array API's names, arguments and rules of promotion, and NumPy's functions called with tensors.

`array-api-tests` is no package that can be required; the standard's reference, `array_api_strict`, is one. Every
function that it has must be here with its arguments, and give its values and dtypes on floating and complex arrays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

strict = pytest.importorskip("array_api_strict")

OWN_BUSINESS = {"set_array_api_strict_flags", "get_array_api_strict_flags", "reset_array_api_strict_flags"}
ABSENT = OWN_BUSINESS | {"__array_namespace_info__"}  # of devices there is one
# arguments that have no meaning here: in which precision a table of frequencies is, from what on a value counts as 0
OTHERS = {"fftfreq": {"dtype"}, "rfftfreq": {"dtype"}, "pinv": {"rtol"}}
FLOATS = ("float32", "float64", "complex64", "complex128")
rng = np.random.default_rng(5)


def functions(space: Any) -> list[str]:
    return [n for n in space.__all__ if inspect.isfunction(getattr(space, n, None)) and n not in ABSENT]


SPACES = [("", strict, tg), ("linalg.", strict.linalg, tg.linalg), ("fft.", strict.fft, tg.fft)]
EVERY = [(where + n, getattr(theirs, n), ours) for where, theirs, ours in SPACES for n in functions(theirs)]


@pytest.mark.parametrize(("name", "theirs", "space"), EVERY, ids=[e[0] for e in EVERY])
def test_name_and_arguments(name: str, theirs: Any, space: Any) -> None:
    ours = getattr(space, name.rpartition(".")[2])
    if isinstance(ours, tg.Primitive):
        assert all(p.kind is p.POSITIONAL_ONLY for p in inspect.signature(theirs).parameters.values())
        return
    if getattr(np, name, None) is ours or name == "broadcast_shapes":
        return
    mine = inspect.signature(ours).parameters
    for p in inspect.signature(theirs).parameters.values():
        if p.kind is p.KEYWORD_ONLY and p.name != "device" and p.name not in OTHERS.get(name.rpartition(".")[2], ()):
            assert p.name in mine, f"{name} does not take {p.name}="


UNARY = [
    n for n in functions(strict)
    if len(inspect.signature(getattr(strict, n)).parameters) == 1 and isinstance(getattr(tg, n), tg.Primitive)
]  # fmt: skip
BINARY = [
    n for n in functions(strict)
    if len(inspect.signature(getattr(strict, n)).parameters) == 2 and isinstance(getattr(tg, n), tg.Primitive)
]  # fmt: skip


def drawn(dtype: str, low: float = 0.2) -> Any:
    x = rng.uniform(low, low + 0.6, (2, 3))
    return (x + 0.1j * x[::-1] if dtype.startswith("c") else x).astype(dtype)


def agree(name: str, *arrays: Any) -> None:
    try:
        expected = np.asarray(getattr(strict, name)(*(strict.asarray(a) for a in arrays)))
    except TypeError:  # not for these dtypes
        return
    try:
        got = getattr(tg, name)(*(tg.tensor(a) for a in arrays))
    except TypeError as error:
        assert "of real numbers" in str(error)  # the standard would take complex numbers, and orders nothing by them
        assert name in ("log1p", "expm1")
        return
    assert got.dtype == expected.dtype, name
    single = got.dtype.name in ("float32", "complex64")
    np.testing.assert_allclose(got.data, expected, rtol=1e-5 if single else 1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_array(name: str, dtype: str) -> None:
    agree(name, drawn(dtype, 1.1 if name == "acosh" else 0.2))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays_promote(name: str) -> None:
    for a in FLOATS:
        for b in FLOATS:
            agree(name, drawn(a), drawn(b))


def test_the_lists_are_not_empty() -> None:
    assert len(EVERY) > 170 and len(UNARY) > 35 and len(BINARY) > 20


# ---------------------------------------------------------------- NumPy's functions

X, S = rng.standard_normal((2, 3)), rng.standard_normal((3, 3)) + 3 * np.eye(3)
CALLS: list[tuple[Any, Callable[[Any], Any]]] = [
    (X, lambda x: np.concatenate([x, x * 2], axis=1)), (X, lambda x: np.stack([x, x])),
    (X, lambda x: np.split(x, [1], axis=1)[1]), (X, lambda x: np.where(X > 0, x, 0.0)),
    (X, lambda x: np.einsum("ij,kj->ik", x, x)), (X, lambda x: np.tensordot(x, x, 2)), (S, lambda x: np.dot(x, x[0])),
    (X, lambda x: np.dot(x[0], x[1])), (X, lambda x: np.dot(x, 2.0)), (X, lambda x: np.inner(x, x)),
    (X, lambda x: np.outer(x, x[0])), (X, lambda x: np.kron(x, x)), (S, lambda x: np.trace(x)),
    (S, lambda x: np.diagonal(x, 1)), (S, lambda x: np.tril(x)), (S, lambda x: np.triu(x, 1)),
    (X, lambda x: np.flip(x, 1)), (X, lambda x: np.roll(x, 1)), (X, lambda x: np.moveaxis(x, 0, 1)),
    (X, lambda x: np.swapaxes(x, 0, 1)), (X, lambda x: np.expand_dims(x, 1)),
    (X, lambda x: np.broadcast_to(x, (4, 2, 3))), (X, lambda x: np.tile(x, 2)), (X, lambda x: np.repeat(x, 2, axis=1)),
    (X, lambda x: np.pad(x, 1)), (X, lambda x: np.cumprod(x, axis=1)), (X, lambda x: np.cumsum(x, axis=1)),
    (X, lambda x: np.diff(x)), (X, lambda x: np.sort(x)), (X, lambda x: np.median(x)),
    (X, lambda x: np.take(x, [2, 0], 1)),
    (X, lambda x: np.take_along_axis(x, np.argsort(X), axis=-1)), (X, lambda x: np.linalg.norm(x)),
    (X, lambda x: np.linalg.norm(x, axis=1)), (S, lambda x: np.linalg.norm(x, "nuc")), (S, lambda x: np.linalg.inv(x)),
    (S, lambda x: np.linalg.solve(x, X[0])), (S, lambda x: np.linalg.slogdet(x)[1]), (S, lambda x: np.linalg.det(x)),
    (S, lambda x: np.linalg.eigvalsh(x + x.T)), (S, lambda x: np.linalg.svd(x)[1]), (S, lambda x: np.linalg.pinv(x)),
    (S, lambda x: np.linalg.matrix_power(x, 2)), (X, lambda x: abs(np.fft.fft(x, 4))),
    (X, lambda x: np.fft.irfft(np.fft.rfft(x), 3)), (X, lambda x: abs(np.fft.fft2(x))),
    (X, lambda x: np.sum(x, axis=1)),
    (X, lambda x: np.mean(x)), (X, lambda x: np.var(x, ddof=1)), (X, lambda x: np.std(x, axis=0)),
    (X, lambda x: np.prod(x, axis=1)), (X, lambda x: np.max(x, axis=1)), (X, lambda x: np.min(x)),
    (X, lambda x: np.reshape(x, (3, 2))), (X, lambda x: np.transpose(x)), (X, lambda x: np.squeeze(x[:1])),
    (X, lambda x: np.vstack([x, x[0]])), (X, lambda x: np.hstack([x, x])), (X[0], lambda x: np.hstack([x, x[:2]])),
    (X, lambda x: np.dstack([x, x])), (X[0], lambda x: np.dstack([x, x])), (X, lambda x: np.column_stack([x[:, 0], x])),
    (X, lambda x: np.append(x, x[0])), (X, lambda x: np.append(x, x, axis=1)), (X, lambda x: np.atleast_3d(x)),
    (X[0], lambda x: np.atleast_3d(x)), (X[0], lambda x: np.atleast_2d(x, x)[1]), (X, lambda x: np.rot90(x)),
    (X, lambda x: np.rot90(x, -1)), (X, lambda x: np.fliplr(x) * np.flipud(x)), (X[0], lambda x: np.diag(x)),
    (X[0], lambda x: np.diag(x, -2)), (X, lambda x: np.diag(x, 1)), (X, lambda x: np.vdot(x, x)),
    (S, lambda x: np.cross(x, x[::-1])), (X, lambda x: np.average(x, axis=1)), (X, lambda x: np.nan_to_num(x)),
    (X, lambda x: np.average(x, axis=1, weights=[1.0, 2, 3])), (X, lambda x: np.linalg.svd(x)[1]),
    (X, lambda x: np.linalg.svdvals(x)), (S, lambda x: np.linalg.qr(x)[1]), (X, lambda x: np.linalg.outer(x[0], x[1])),
    (X, lambda x: np.clip(x, -0.5, 0.5)), (X, lambda x: np.tanh(x) @ np.exp(x.T)), (X, lambda x: np.hypot(x, 2.0)),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(CALLS)))
def test_numpy_s_functions_of_tensors(i: int) -> None:
    x, f = CALLS[i]
    result = f(tg.tensor(x, requires_grad=True))
    assert isinstance(result, tg.Tensor) and result.requires_grad
    np.testing.assert_allclose(result.data, f(x), rtol=1e-12, atol=1e-14)
    tg.check_grads(f, x, order=2)


def test_other_functions_of_numpy_see_arrays_and_options_we_lack_are_named() -> None:
    t = tg.tensor(X, requires_grad=True)
    assert np.shape(t) == (2, 3) and np.array_equal(t, X) and isinstance(np.argsort(t), np.ndarray)
    with pytest.raises(TypeError, match=r"^np.stack of tensors takes \(arrays, axis=0\): .*'out'"):
        np.stack([t, t], out=np.empty((2, 2, 3)))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "std", "prod", "any"])
def test_an_option_that_a_method_cannot_honour_is_refused(name: str) -> None:
    t, kept = tg.tensor(X, requires_grad=True), np.full((2, 3), 7.0)

    with pytest.raises(TypeError, match=f"{name} of a tensor has no option 'out'"):
        getattr(np, name)(t, out=kept)
    assert np.all(kept == 7.0)
    if name in ("sum", "mean", "max", "any"):
        options = {"initial": -9.0} if name == "max" else {}
        with pytest.raises(TypeError, match=f"{name} of a tensor has no option"):
            getattr(np, name)(t, where=X > 0, **options)


def test_sums_and_arguments_of_extrema_take_numpy_s_options() -> None:
    small = tg.tensor(X.astype(np.float32), requires_grad=True)
    assert np.sum(small, dtype=np.float64).dtype == np.float64 and np.prod(small, dtype="float64").dtype == np.float64
    assert np.argmax(small, axis=1, keepdims=True).shape == (2, 1)
    np.testing.assert_allclose(np.round(tg.tensor(X), 2).data, np.round(X, 2))
    np.testing.assert_allclose(np.angle(tg.tensor(X + 1j), deg=True).data, np.angle(X + 1j, deg=True))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("options", [{}, {"nan": 2.0}, {"posinf": 5.0}, {"nan": -1.0, "posinf": 3.0, "neginf": -4.0}])
def test_nan_to_num_is_numpy_s(dtype: str, options: dict[str, float]) -> None:
    x = np.array([1.0, np.nan, np.inf, -np.inf, -2.0]).astype(dtype)
    if dtype.startswith("complex"):
        x.imag = [np.inf, 1, np.nan, -np.inf, 0.5]
    t = tg.tensor(x, requires_grad=True)
    y = np.nan_to_num(t, **options)
    expected = np.nan_to_num(x, **options)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y.data, expected)
    y.backward(np.ones(5, dtype) * (1 + 1j if dtype.startswith("complex") else 1))
    kept = np.isfinite(x.real) + (1j * np.isfinite(x.imag) if dtype.startswith("complex") else 0)
    assert t.grad is not None
    np.testing.assert_array_equal(t.grad.data, kept)


def test_integers_have_nothing_to_replace() -> None:
    assert np.array_equal(np.nan_to_num(tg.tensor([1, 2])).data, [1, 2])


def test_what_a_function_of_numpy_s_takes_is_said_in_its_own_words() -> None:
    t = tg.tensor(X)
    for call, said in (
        (lambda: np.sort(t, order="a"), r"^np.sort of tensors takes \(a, axis=-1\): .*'order'$"),
        (lambda: np.diff(t, prepend=0.0), r"^np.diff of tensors takes \(a, n=1, axis=-1\): .*'prepend'$"),
        (lambda: np.moveaxis(t, 0, 1, 2), "takes"),
    ):
        with pytest.raises(TypeError, match=said) as caught:
            call()
        assert "lambda" not in str(caught.value)


def test_a_function_of_numpy_s_that_would_lose_a_gradient_in_silence_is_refused() -> None:
    t = tg.tensor(X, requires_grad=True)
    for lost in (lambda t: np.percentile(t, 50), lambda t: np.interp(t, [0, 1], [0, 1]), lambda t: np.unique(t)):
        with pytest.raises(TypeError, match=r"np\.\w+ of a tensor would lose its gradient: .* t\.numpy\(\)"):
            lost(t)
        with tg.no_grad():
            lost(t)
        lost(t.detach())
    assert np.zeros_like(t).shape == t.shape and np.allclose(t, X) and np.nonzero(t)[0].size == X.size
