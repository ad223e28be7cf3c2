"""The functions that users call: values against NumPy, gradients, and what they say to bad arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

rng = np.random.default_rng(11)
X = rng.standard_normal((2, 3, 4))

AGAINST_NUMPY: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda x: tg.sum(x, axis=[0, 2]), lambda x: x.sum((0, 2))),
    (lambda x: tg.mean(x, axis=1, keepdims=True), lambda x: x.mean(1, keepdims=True)),
    (lambda x: tg.var(x, axis=(0, -1)), lambda x: x.var((0, -1))),
    (lambda x: tg.std(x, axis=1, correction=1), lambda x: x.std(1, ddof=1)),
    (lambda x: tg.norm(x, axis=-1), lambda x: np.linalg.norm(x, axis=-1)),
    (lambda x: tg.prod(x, axis=(0, 2)), lambda x: x.prod((0, 2))),
    (lambda x: tg.prod(x, keepdims=True), lambda x: x.prod(keepdims=True)),
    (lambda x: tg.cumsum(x, axis=1), lambda x: x.cumsum(1)),
    (lambda x: tg.reshape(x, (4, -1)), lambda x: x.reshape(4, -1)),
    (lambda x: tg.reshape(x, -1), lambda x: x.ravel()),
    (lambda x: tg.permute_dims(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1)),
    (lambda x: tg.matrix_transpose(x), lambda x: np.swapaxes(x, -1, -2)),
    (lambda x: tg.expand_dims(x, axis=(0, -1)), lambda x: np.expand_dims(x, (0, -1))),
    (lambda x: tg.broadcast_to(x, (5, 2, 3, 4)), lambda x: np.broadcast_to(x, (5, 2, 3, 4))),
    (lambda x: tg.flip(x, axis=0), lambda x: np.flip(x, 0)),
    (lambda x: tg.concat([x, x * 2], axis=1), lambda x: np.concatenate([x, x * 2], 1)),
    (lambda x: tg.concat([x, x], axis=None), lambda x: np.concatenate([x, x], None)),
    (lambda x: tg.stack([x, x, -x], axis=-1), lambda x: np.stack([x, x, -x], -1)),
    (lambda x: tg.split(x, [1, 3], axis=2), lambda x: np.split(x, [1, 3], axis=2)),
    (lambda x: tg.split(x, 3, axis=1), lambda x: np.split(x, 3, axis=1)),
    (lambda x: tg.clip(x, min=-0.5), lambda x: np.clip(x, -0.5, None)),
    (lambda x: tg.take(x, [2, 0, 2], axis=1), lambda x: np.take(x, [2, 0, 2], 1)),
    (lambda x: tg.embedding(x, np.array([[1, 1], [0, 1]])), lambda x: x[np.array([[1, 1], [0, 1]])]),
    (lambda x: tg.scatter_add((5,), np.array([0, 3, 0, 4]), x[0, 0]), lambda x: np.bincount([0, 3, 0, 4], x[0, 0], 5)),
    (lambda x: tg.maxout(x, 2), lambda x: np.maximum(x[..., ::2], x[..., 1::2])),
    (lambda x: tg.mse(x, 1.0), lambda x: ((x - 1) ** 2).mean()),
    (lambda x: x[0] @ x[0].T if isinstance(x, np.ndarray) else x[0] @ x[0].T, lambda x: x[0] @ x[0].T),
]


@pytest.mark.parametrize("i", range(len(AGAINST_NUMPY)))
def test_values_and_gradients(i: int) -> None:
    ours, numpys = AGAINST_NUMPY[i]
    for given in (ours(X), ours(tg.tensor(X, requires_grad=True))):
        pairs = zip(given, numpys(X), strict=True) if isinstance(given, list) else [(given, numpys(X))]
        for got, expected in pairs:
            np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12, atol=1e-14)
    tg.check_grads(ours, X, order=2)


def test_lists_and_numbers_are_arrays_too() -> None:
    assert tg.sum([1.0, 2.0]) == 3 and tg.tanh(0.0) == 0
    np.testing.assert_array_equal(tg.matmul([[1.0, 2.0]], [3.0, 4.0]), [11.0])
    np.testing.assert_array_equal(np.asarray(tg.tensor([1.0, 2.0]) + [1, 1]), [2.0, 3.0])


def test_tanh_is_a_sigmoid_stretched() -> None:
    x = np.linspace(-8, 8, 101)
    np.testing.assert_allclose(tg.tanh(x), 2 * tg.sigmoid(2 * x) - 1, atol=1e-15)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_whole_numbers_have_a_softmax_too(name: str) -> None:
    f = getattr(tg, name)
    np.testing.assert_allclose(f(np.array([[1, 2], [3, 0]]), axis=-1), f(np.array([[1.0, 2], [3, 0]]), axis=-1))


def test_hello_softmax_and_loss() -> None:
    logits = np.array([1.0, 2.2, -3.0, 4.1])
    np.testing.assert_allclose(tg.softmax(logits), [0.0377, 0.1251, 0.0007, 0.8365], atol=5e-5)
    assert tg.cross_entropy(logits, 1) == pytest.approx(2.0785, abs=5e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tg.reshape(X, (5, -1)), r"shape \(2, 3, 4\) cannot become \(5, -1\)"),
        (lambda: tg.split(X, 2, axis=1), "3 elements cannot be cut into 2"),
        (lambda: tg.maxout(X, 3), "4 features do not form groups of 3"),
        (lambda: tg.mean(np.zeros((0, 3)), axis=0), "mean over nothing"),
        (lambda: tg.cross_entropy(X, np.full((2, 3), 4)), r"a category outside -1\.\.3"),
        (lambda: tg.REGISTRY["lookup"](X[0], np.array([4])), r"a category outside -1\.\.3"),
        (lambda: tg.REGISTRY["lookup"](X, np.array([0])), "columns of a matrix"),
    ],
)
def test_what_they_say_to_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_module_s_names() -> None:
    for name in tg.__all__ + ["concat", "permute_dims", "tanh", "relu", "log_softmax", "subtract", "pow"]:
        assert hasattr(tg, name)
    assert {"tanh", "sum", "matvec"} <= set(dir(tg))
    with pytest.raises(AttributeError, match="no attribute 'tahn'"):
        tg.tahn  # noqa: B018
