"""Losses and layers against torch; CTC against the sum over all alignments."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

rng = np.random.default_rng(23)
X = rng.standard_normal((2, 5, 4))
TARGET = np.array([[0, 3, 1, -100, 2], [1, 1, -100, 0, 3]])
WEIGHTS = np.array([0.5, 2.0, 1.0, 3.0])
IMAGE = rng.standard_normal((2, 4, 7, 6))

# ours, torch's (torch, x)
PAIRS: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "cross_entropy": (
        X[0],
        lambda x: tg.cross_entropy(x, np.array([0, 3, 1, 2, 2])),
        lambda t, x: t.nn.functional.cross_entropy(x, t.tensor([0, 3, 1, 2, 2]), reduction="none"),
    ),
    "cross_entropy_smoothed_ignoring": (
        X,
        lambda x: tg.cross_entropy(x, TARGET, smoothing=0.1, ignore=-100, reduction="mean"),
        lambda t, x: t.nn.functional.cross_entropy(x.swapaxes(1, 2), t.tensor(TARGET), label_smoothing=0.1),
    ),
    "cross_entropy_summed": (
        X,
        lambda x: tg.cross_entropy(x, TARGET, ignore=-100, reduction="sum"),
        lambda t, x: t.nn.functional.cross_entropy(x.swapaxes(1, 2), t.tensor(TARGET), reduction="sum"),
    ),
    "cross_entropy_of_weighted_categories": (
        X,
        lambda x: tg.cross_entropy(x, TARGET, weight=WEIGHTS, smoothing=0.2, ignore=-100, reduction="mean"),
        lambda t, x: t.nn.functional.cross_entropy(
            x.swapaxes(1, 2), t.tensor(TARGET), weight=t.tensor(WEIGHTS), label_smoothing=0.2
        ),
    ),
    "bce_with_logits": (
        X * 30,
        lambda x: tg.bce_with_logits(x, (X > 0.1) * 1.0, weight=3.0),
        lambda t, x: t.nn.functional.binary_cross_entropy_with_logits(
            x, t.tensor((X > 0.1) * 1.0), pos_weight=t.tensor(3.0, dtype=t.float64)
        ),
    ),
    "mse": (X, lambda x: tg.mse(x, X[::-1]), lambda t, x: t.nn.functional.mse_loss(x, t.tensor(X[::-1].copy()))),
    "layer_norm": (
        X,
        lambda x: tg.layer_norm(x, np.arange(4.0), np.ones(4)),
        lambda t, x: t.nn.functional.layer_norm(x, (4,), t.arange(4.0).double(), t.ones(4).double()),
    ),
    "rms_norm": (
        X,
        lambda x: tg.rms_norm(x, np.arange(4.0), eps=1e-6),
        lambda t, x: t.nn.functional.rms_norm(x, (4,), t.arange(4.0).double(), 1e-6),
    ),
    "embedding": (
        X[0],
        lambda x: tg.embedding(x, np.array([[1, 1], [4, 0]])),
        lambda t, x: t.nn.functional.embedding(t.tensor([[1, 1], [4, 0]]), x),
    ),
    "conv1d": (
        IMAGE[:, :, :, 0],
        lambda x: tg.conv1d(x, IMAGE[0, :, :3, :].transpose(2, 0, 1), np.arange(6.0), stride=2, padding=1, dilation=2),
        lambda t, x: t.nn.functional.conv1d(
            x, t.tensor(IMAGE[0, :, :3, :].transpose(2, 0, 1).copy()), t.arange(6.0).double(), 2, 1, 2
        ),
    ),
    "conv2d": (
        IMAGE,
        lambda x: tg.conv2d(x, IMAGE[:, :2, :3, :2], np.array([1.0, -1.0]), padding=(1, 0), groups=2),
        lambda t, x: t.nn.functional.conv2d(
            x, t.tensor(IMAGE[:, :2, :3, :2].copy()), t.tensor([1.0, -1.0]).double(), 1, (1, 0), 1, 2
        ),
    ),
    "conv_transpose2d": (
        IMAGE,
        lambda x: tg.conv_transpose2d(
            x, IMAGE.transpose(1, 0, 2, 3)[:, :, :3, :2], np.array([1.0, 2.0]), stride=(2, 3), padding=1
        ),
        lambda t, x: t.nn.functional.conv_transpose2d(
            x, t.tensor(IMAGE.transpose(1, 0, 2, 3)[:, :, :3, :2].copy()), t.tensor([1.0, 2.0]).double(), (2, 3), 1
        ),
    ),
    "max_pool2d": (
        IMAGE,
        lambda x: tg.max_pool2d(x, 3, stride=2, padding=1),
        lambda t, x: t.nn.functional.max_pool2d(x, 3, 2, 1),
    ),
    "max_pool1d": (IMAGE[0], lambda x: tg.max_pool1d(x, 2), lambda t, x: t.nn.functional.max_pool1d(x, 2)),
    "avg_pool2d": (
        IMAGE,
        lambda x: tg.avg_pool2d(x, (2, 3), padding=1),
        lambda t, x: t.nn.functional.avg_pool2d(x, (2, 3), (2, 3), 1),
    ),
    "avg_pool1d": (IMAGE[0], lambda x: tg.avg_pool1d(x, 3, stride=1), lambda t, x: t.nn.functional.avg_pool1d(x, 3, 1)),
    "gelu": (X, lambda x: tg.gelu(x), lambda t, x: t.nn.functional.gelu(x)),
}


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_against_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    x, ours, theirs = PAIRS[name]
    mine, other = tg.tensor(x, requires_grad=True), torch.tensor(x.copy(), requires_grad=True)
    y, z = ours(mine), theirs(torch, other)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-11, atol=1e-12)
    g = rng.standard_normal(y.shape)
    y.backward(g)
    z.backward(torch.as_tensor(g))
    assert mine.grad is not None
    np.testing.assert_allclose(mine.grad.data, other.grad.numpy(), rtol=1e-10, atol=1e-12)
    tg.check_grads(ours, x[:1] if name in ("max_pool2d",) else x, order=2)


def test_a_mixture_of_one_is_a_gaussian_and_of_several_torch_s() -> None:
    torch = pytest.importorskip("torch")
    logits, mu, scale, y = X[0], rng.standard_normal((5, 4, 3)), 0.3 * rng.standard_normal((5, 4, 3)), X[1, :, :3]
    t = [torch.tensor(v) for v in (logits, mu, scale, y)]
    d = torch.distributions
    mixture = d.MixtureSameFamily(d.Categorical(logits=t[0]), d.Independent(d.Normal(t[1], t[2].exp()), 1))
    np.testing.assert_allclose(
        tg.mixture_nll(logits, mu, scale, y, reduction="none"), -mixture.log_prob(t[3]), rtol=1e-12
    )
    tg.check_grads(lambda *a: tg.mixture_nll(*a, y), logits, mu, scale)
    one = tg.mixture_nll(np.zeros((1, 1)), np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), np.zeros((1, 1)))
    assert one == pytest.approx(0.5 * math.log(2 * math.pi))


def test_losses_far_out_are_finite_in_float32() -> None:
    x = tg.tensor([1000.0, -1000.0], dtype="float32", requires_grad=True)
    loss = tg.bce_with_logits(x, np.array([0, 1], np.float32), reduction="sum")
    loss.backward()
    assert loss.data == 2000 and loss.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(x.grad), [1, -1])


def test_dropout() -> None:
    x = tg.tensor(np.ones(10_000), requires_grad=True)
    y = tg.dropout(x, 0.25, rng=3)
    assert set(np.unique(y.data)) == {0.0, 1 / 0.75} and y.data.mean() == pytest.approx(1, abs=0.03)
    y.sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad), y.data)
    np.testing.assert_array_equal(tg.dropout(x, 0.25, rng=3).data, y.data)
    assert tg.dropout(x, 0.25, rng=None, train=False) is x
    with pytest.raises(ValueError, match="below 1, not 1.0"):
        tg.dropout(x, 1.0, rng=0)


# ---------------------------------------------------------------- CTC


def alignments(logits: Any, target: list[int]) -> float:
    """-log of the sum over all K^T paths that collapse to the target."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(p.shape[1]), repeat=p.shape[0]):
        collapsed = [k for k, _ in itertools.groupby(path) if k != 0]
        if collapsed == target:
            total += math.prod(p[t, k] for t, k in enumerate(path))
    return -math.log(total) if total else math.inf


def test_ctc_of_the_references() -> None:
    assert tg.ctc_loss(np.zeros((1, 5)), [1]) == pytest.approx(1.609438, abs=1e-6)
    assert tg.ctc_loss(np.arange(1.0, 16).reshape(3, 5), [3, 3]) == pytest.approx(7.355743, abs=1e-6)
    rising = np.array([[-5.0, -4, -3, -2, -1], [-10, -9, -8, -7, -6], [-15, -14, -13, -12, -11]])
    assert tg.ctc_loss(rising, [2, 3]) == pytest.approx(4.938850, abs=1e-6)


CTC_TARGETS = [[], [1], [1, 1], [1, 2], [2, 1, 2], [1, 1, 1], [2, 2, 1], [1, 2, 1, 2]]


@pytest.mark.parametrize("target", CTC_TARGETS)
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5])
def test_ctc_equals_the_sum_over_alignments(target: list[int], steps: int) -> None:
    """Empty, repeated and impossible targets among the 40."""
    logits = rng.standard_normal((steps, 3)) * 2
    expected = alignments(logits, target)
    assert tg.ctc_loss(logits, target) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    if math.isfinite(expected):
        if steps:
            tg.check_grads(lambda x: tg.ctc_loss(x, target), logits, order=1)
    else:
        x = tg.tensor(logits, requires_grad=True)
        tg.ctc_loss(x, target).backward()
        np.testing.assert_array_equal(np.asarray(x.grad), 0)
        assert tg.ctc_loss(logits, target, zero_infinity=True) == 0


def test_ctc_of_a_ragged_batch_against_torch_and_looks_at_no_padding() -> None:
    torch = pytest.importorskip("torch")
    frames, sizes = np.array([12, 7, 9]), np.array([4, 0, 3])
    logits, targets = rng.standard_normal((12, 3, 6)), np.array([[1, 1, 5, 2], [-1] * 4, [3, 4, 3, -1]])
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        theirs.log_softmax(-1),
        torch.tensor(targets).clamp(min=1),
        torch.tensor(frames),
        torch.tensor(sizes),
        reduction="mean",
    )
    expected.backward()
    for b in range(3):
        logits[frames[b] :, b] = np.nan
    ours = tg.tensor(logits, requires_grad=True)
    loss = tg.ctc_loss(ours, targets, frames, reduction="mean")
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-9, atol=1e-12)
    single = np.float32(rng.standard_normal((300, 2, 30)))
    x = tg.tensor(single, requires_grad=True)
    tg.ctc_loss(x, [[3, 3, 4], [5]], reduction="sum").backward()
    assert x.grad is not None and x.grad.dtype == np.float32 and np.all(np.isfinite(x.grad.data))
    np.testing.assert_allclose(x.grad.data.sum(-1), 0, atol=2e-6)  # softmax and posterior both add up to 1


def test_ctc_has_every_derivative() -> None:
    """The first from the kernel, the second and third from the recurrence: repeated labels, none, ragged, too long."""
    x = rng.standard_normal((6, 4, 5))
    targets, frames = [[1, 2], [3, 3, 1], [], [4]], [6, 6, 4, 5]
    tg.check_grads(lambda x: tg.ctc_loss(x, targets, frames) * np.arange(1, 5), x, order=3)
    tg.check_grads(lambda x: tg.ctc_loss(x[:, 0], [1, 1]), x, order=2)
    tg.check_grads(lambda x: tg.ctc_loss(x, [[1] * 4, [2], [1], [3]], frames, zero_infinity=True), x, order=2)
    single = x.astype(np.float32)
    assert tg.hvp(lambda x: tg.ctc_loss(x, targets, frames, reduction="mean"), single, single).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tg.ctc_loss(np.zeros((3, 4)), [4]), "target 0 holds 4: labels are 0..3, and not the blank 0"),
        (lambda: tg.ctc_loss(np.zeros((3, 4)), [0]), "target 0 holds 0"),
        (lambda: tg.ctc_loss(np.zeros((3, 2, 4)), [[1]]), "2 sequences of logits, 1 targets"),
        (lambda: tg.ctc_loss(np.zeros((3, 1, 4)), [[1]], [4]), r"input_lengths are 1 numbers 0\.\.3"),
        (lambda: tg.ctc_loss(np.zeros((3, 1, 4)), [[1]], None, [2]), r"target_lengths \[2\] do not fit"),
        (lambda: tg.ctc_loss(np.zeros(3), [1]), r"takes real logits \(T, B, K\)"),
        (lambda: tg.ctc_loss(np.zeros((3, 4)), [1], blank=4), r"the blank is a category 0\.\.3"),
        (lambda: tg.ctc_loss(np.zeros((3, 4)), [1], reduction="max"), "reduction is"),
        (lambda: tg.cross_entropy(X, TARGET, smoothing=2, ignore=-100), "smoothing is between 0 and 1"),
        (lambda: tg.conv2d(IMAGE, np.zeros((2, 3, 1, 1))), r"a convolution of images \(2, 4, 7, 6\)"),
        (lambda: tg.conv2d(IMAGE, np.zeros((2, 4, 9, 1))), "a window of .* is larger than the image"),
        (lambda: tg.max_pool2d(IMAGE, 0), "the window is a number of at least 1"),
    ],
)  # fmt: skip
def test_what_they_say_to_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------- the compiled rows of the softmax family


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 700])
def test_large_softmaxes_are_the_small_ones(dtype: str, columns: int) -> None:
    """From COMPILED elements on a compiled loop does it: the same values, infinities and NaNs as NumPy's."""
    from tinygrad_seq.ops.reduce import COMPILED

    rows = COMPILED // columns + 5
    x = (rng.standard_normal((rows, columns)) * 20).astype(dtype)
    x[0], x[1], x[2, -1], x[3, 0], x[4, -1] = -np.inf, 1000, np.inf, -np.inf, np.nan
    eps = float(np.finfo(dtype).eps)
    for name in ("softmax", "logsumexp", "log_softmax"):
        op = tg.REGISTRY[name]
        with np.errstate(all="ignore"):
            got = op(x, axis=-1)
            expected = np.concatenate([op(x[i : i + 1], axis=-1) for i in range(7)])
        assert got.dtype == x.dtype and got.shape == (x.shape if name != "logsumexp" else x.shape[:1])
        np.testing.assert_allclose(got[:7], expected, rtol=200 * eps, atol=20 * eps)
    np.testing.assert_allclose(tg.softmax(x)[5:].sum(-1), 1, rtol=100 * eps)


def test_windows_that_the_edge_cuts_off_are_torch_s() -> None:
    torch = pytest.importorskip("torch")
    f, cases = torch.nn.functional, 0
    for size, kernel, stride, ceil, counted in itertools.product(
        (5, 6, 7, 8), (2, 3, 4), (1, 2, 3, 5), (True, False), (True, False)
    ):
        for padding in range(kernel // 2 + 1):
            x = rng.standard_normal((1, 2, size, size + 1))
            t, options = torch.tensor(x, requires_grad=True), {"stride": stride, "padding": padding}
            theirs = f.avg_pool2d(t, kernel, ceil_mode=ceil, count_include_pad=counted, **options)
            pooled = functools.partial(tg.avg_pool2d, ceil_mode=ceil, count_include_pad=counted, **options)
            np.testing.assert_allclose(pooled(x, kernel), theirs.detach(), rtol=1e-12)
            (theirs**2).sum().backward()
            mine, pull = tg.vjp(lambda x, f=pooled, k=kernel: f(x, k), x)
            np.testing.assert_allclose(pull(2 * mine)[0], t.grad, rtol=1e-10)
            largest = f.max_pool2d(t, kernel, ceil_mode=ceil, **options).detach()
            np.testing.assert_allclose(tg.max_pool2d(x, kernel, ceil_mode=ceil, **options), largest)
            cases += 1
    assert cases > 100
    line = rng.standard_normal((1, 2, 7))
    np.testing.assert_allclose(
        tg.avg_pool1d(line, 2, ceil_mode=True), f.avg_pool1d(torch.tensor(line), 2, ceil_mode=True)
    )
    tg.check_grads(lambda x: tg.max_pool1d(x, 3, stride=2, padding=1, ceil_mode=True), line, order=2)


def test_weights_of_categories_are_one_for_each() -> None:
    with pytest.raises(ValueError, match="one number for each of the 4 categories"):
        tg.cross_entropy(X, TARGET, weight=np.ones(3), ignore=-100)
    w = np.array([0.5, 2.0, 1.0, 3.0])
    tg.check_grads(lambda x, w: tg.cross_entropy(x, np.array([0, 3, 1, 2, 2]), weight=w, reduction="mean"), X[0], w)
    single = tg.tensor(X, requires_grad=True, dtype="float32")
    loss = tg.cross_entropy(single, TARGET, weight=w.astype("float32"), ignore=-100, reduction="mean")
    assert loss.dtype == tg.cross_entropy(single, TARGET, ignore=-100, reduction="mean").dtype == np.float32
