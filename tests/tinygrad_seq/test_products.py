"""Products and convolutions on our own tiles: what NumPy gives, whatever the sizes, the layout and the threads."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.ops import multiply, window

RNG = np.random.default_rng(0)
SIZES = [(1, 700, 400), (33, 129, 65), (64, 100, 64), (17, 300, 71), (256, 40, 31), (1030, 9, 33), (2, 5000, 30)]


def draw(*shape: int, dtype: str = "float64") -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def layouts(x: Any) -> list[Any]:
    """Equal values: by rows, by columns, every other element of a larger array, and backwards."""
    apart = np.zeros((x.shape[0] * 2, x.shape[1] * 3), x.dtype)
    apart[::2, ::3] = x
    return [x, np.asfortranarray(x), apart[::2, ::3], np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]]


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work however small is shared between two threads."""
    monkeypatch.setenv("TGSEQ_NUM_THREADS", "2")
    monkeypatch.setattr(multiply, "PART", 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_is_numpys_in_every_size_and_layout(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiply, "ALONE", 0)
    tolerance = {"float32": 2e-4, "float64": 1e-11}[dtype]
    for m, k, n in [*SIZES, (3, 1, 2), (1, 1, 2), (5, 7, 3)]:
        a, b = draw(m, k, dtype=dtype), draw(k, n, dtype=dtype)
        expected = np.matmul(a, b)
        for left, right in product(layouts(a), layouts(b)):
            assert multiply._product(left, right) is not None
            found = multiply.matmul(left, right)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("two_threads")
def test_a_product_in_two_threads_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    for m, k, n in [(64, 300, 48), (33, 129, 64), (1030, 20, 32)]:
        a, b = draw(m, k, dtype="float32"), draw(k, n, dtype="float32")
        shared = multiply.matmul(a, b)
        with monkeypatch.context() as alone:
            alone.setattr(multiply, "PART", 1 << 40)
            np.testing.assert_array_equal(multiply.matmul(a, b), shared)


def test_what_numpy_must_do_it_does() -> None:
    """Stacks, other types, vectors, wrong shapes: the same values, the same errors."""
    a, b = draw(80, 90), draw(90, 100)
    for left, right in [
        (a.astype("c16"), b.astype("c16")),
        (a, b.astype("f4")),
        (a, b[:, 0]),
        (np.stack([a] * 3), np.stack([b] * 3)),
        (np.stack([a] * 3), b),
        (a.astype("i8"), b.astype("i8")),
    ]:
        np.testing.assert_allclose(multiply.matmul(left, right), np.matmul(left, right), rtol=1e-12)
    with pytest.raises(ValueError, match="matmul"):
        multiply.matmul(draw(300, 90), draw(80, 100))


def plain_conv(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The definition, place by place."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    span = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    places = [(n - s) // t + 1 for n, s, t in zip(x.shape[2:], span, stride, strict=True)]
    y, few, seen = np.zeros((len(x), len(w), *places)), len(w) // groups, w.shape[1]
    for o, r, q in np.ndindex(len(w), *places):
        down, across = (slice(p * t, p * t + s, d) for p, t, s, d in zip((r, q), stride, span, dilation, strict=True))
        first = o // few * seen
        y[:, o, r, q] = np.sum(x[:, first : first + seen, down, across] * w[o], axis=(1, 2, 3))
    return y


CONVOLUTIONS = [  # x, w, stride, padding, dilation, groups
    ((3, 4, 9, 11), (6, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 4, 16, 16), (16, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((3, 6, 8, 7), (4, 3, 2, 3), (2, 1), (0, 2), (1, 2), 2),
    ((2, 5, 6, 9), (5, 1, 3, 2), (1, 3), (3, 0), (2, 1), 5),
    ((4, 3, 5, 5), (2, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((1, 2, 1, 40), (33, 2, 1, 5), (1, 2), (0, 4), (1, 1), 1),
    ((2, 1, 4, 3), (1, 1, 2, 2), (1, 1), (5, 6), (1, 1), 1),
]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("columns", [1, 3000, 1 << 18])
def test_convolutions_and_both_adjoints(case: Any, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the definition, some rows at a time; the adjoints by their inner products, which determine them."""
    monkeypatch.setattr(window, "COLUMNS", columns)
    shape, weights, *geometry, groups = case
    options = dict(zip(("stride", "padding", "dilation"), geometry, strict=True))
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-4)):
        x, w = draw(*shape, dtype=dtype), draw(*weights, dtype=dtype)
        y = tg.conv2d(x, w, **options, groups=groups)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, plain_conv(x, w, *geometry, groups), rtol=tolerance, atol=tolerance * 10)
        g, dx, dw = draw(*y.shape, dtype=dtype), draw(*shape, dtype=dtype), draw(*weights, dtype=dtype)
        _, pullback = tg.vjp(lambda x, w: tg.conv2d(x, w, **options, groups=groups), x, w)  # noqa: B023
        to_x, to_w = pullback(g)
        for found, direction, moved in (
            (to_x, dx, plain_conv(dx, w, *geometry, groups)),
            (to_w, dw, plain_conv(x, dw, *geometry, groups)),
        ):
            assert found.dtype == dtype
            np.testing.assert_allclose(
                np.sum(found * direction), np.sum(g * moved), rtol=tolerance * 100, atol=1e-3 * tolerance**0.5
            )


def test_convolutions_of_no_image_and_of_views() -> None:
    w = draw(4, 2, 3, 3)
    assert tg.conv2d(np.zeros((0, 2, 5, 5)), w).shape == (0, 4, 3, 3)
    _, pullback = tg.vjp(tg.conv2d, np.zeros((0, 2, 5, 5)), w)
    assert not np.any(np.asarray(pullback(np.zeros((0, 4, 3, 3)))[1]))
    x = draw(5, 5, 2, 3).transpose(3, 2, 0, 1)[:, :, ::-1]
    np.testing.assert_array_equal(tg.conv2d(x, w), tg.conv2d(np.ascontiguousarray(x), w))
