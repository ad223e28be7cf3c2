"""Layers and losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as tg
from tests.opinfo.compare import WORDS, need, words

WORDS["nn.functional.linear"] = lambda x, w, b=None: tg.matmul(x, w.T) + (0 if b is None else b)


@words("nn.functional.embedding")
def _embedding(weight: Any, indices: Any, padding_idx: Any = None, **options: Any) -> Any:
    need(not any(options.values()), "norms and counts of an embedding")
    need(padding_idx is None, "a padding index")
    return tg.embedding(weight, indices)


@words("nn.functional.layer_norm")
def _layer_norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return tg.layer_norm(x, weight, bias, axis=tuple(range(-len(shape), 0)), eps=eps)


@words("nn.functional.rms_norm")
def _rms_norm(x: Any, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    return tg.rms_norm(x, weight, axis=tuple(range(-len(shape), 0)), eps=np.finfo(x.dtype).eps if eps is None else eps)


def _image(x: Any, rank: int, call: Callable[[Any], Any]) -> Any:
    """A layer on one image without a batch."""
    return call(x) if x.ndim == rank else tg.squeeze(call(tg.expand_dims(x, axis=0)), axis=0)


def _conv(rank: int, f: Callable[..., Any]) -> Callable[..., Any]:
    def call(
        x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Any:
        one = lambda v: v[0] if isinstance(v, list | tuple) and len(v) == 1 else v  # noqa: E731
        if isinstance(padding, str):
            steps = [one(dilation)] * rank if rank == 1 or isinstance(dilation, int) else dilation
            reach = [d * (k - 1) for d, k in zip(steps, w.shape[2:], strict=True)]
            need(padding == "valid" or not any(r % 2 for r in reach), "padding of one side")
            padding = [0 if padding == "valid" else r // 2 for r in reach]
        options = {"stride": one(stride), "padding": one(padding), "dilation": one(dilation), "groups": groups}
        return _image(x, rank + 2, lambda v: f(v, w, b, **options))

    return call


WORDS["nn.functional.conv1d"], WORDS["nn.functional.conv2d"] = _conv(1, tg.conv1d), _conv(2, tg.conv2d)


@words("nn.functional.conv_transpose2d")
def _conv_transpose2d(
    x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
    dilation: Any = 1,
) -> Any:  # fmt: skip
    wide, more = ((v, v) if isinstance(v, int) else v for v in (stride, output_padding))
    need(all(m < s for m, s in zip(more, wide, strict=True)), "output padding of a stride and more")
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    return _image(x, 4, lambda v: tg.conv_transpose2d(v, w, b, **options, groups=groups))


def _pool(rank: int, f: Callable[..., Any], rest: tuple[str, ...]) -> Callable[..., Any]:
    def call(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, *more: Any, **options: Any) -> Any:
        one = lambda v: v[0] if isinstance(v, list | tuple) and len(v) == 1 else v  # noqa: E731
        options |= dict(zip(rest, more, strict=False))
        options.pop("return_indices", None)  # places come second, and are not compared
        need(options.pop("divisor_override", None) is None, "means with another divisor")
        stride = None if stride in (None, ()) else one(stride)
        options = {"stride": stride, "padding": one(padding)} | {k: one(v) for k, v in options.items()}
        return _image(x, rank + 2, lambda v: f(v, one(kernel_size), **options))

    return call


_MEANS = ("ceil_mode", "count_include_pad", "divisor_override")
_MAXIMA = ("dilation", "ceil_mode", "return_indices")
WORDS["nn.functional.avg_pool1d"] = _pool(1, tg.avg_pool1d, _MEANS)
WORDS["nn.functional.avg_pool2d"] = _pool(2, tg.avg_pool2d, _MEANS)
WORDS["nn.functional.max_pool1d"] = _pool(1, tg.max_pool1d, _MAXIMA)
WORDS["nn.functional.max_pool2d"] = _pool(2, tg.max_pool2d, _MAXIMA)


def _loss(each: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, y: Any, *, reduction: str = "mean", weight: Any = None, **options: Any) -> Any:
        value = each(x, y, **options)
        value = value if weight is None else value * weight
        if reduction == "mean" and weight is not None:
            return tg.sum(value) / tg.sum(tg.broadcast_to(weight, value.shape))
        return {"mean": tg.mean, "sum": tg.sum, "none": lambda v: v}[reduction](value)

    return call


WORDS["nn.functional.mse_loss"] = _loss(lambda x, y: tg.mse(x, y, reduction="none"))
WORDS["nn.functional.l1_loss"] = _loss(lambda x, y: tg.abs(x - y))
WORDS["nn.functional.huber_loss"] = _loss(lambda x, y, delta=1.0: tg.huber(x, y, delta=delta, reduction="none"))
WORDS["nn.functional.soft_margin_loss"] = _loss(lambda x, y: tg.softplus(-y * x))


@words("nn.functional.binary_cross_entropy_with_logits")
def _bce(x: Any, y: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> Any:
    each = tg.bce_with_logits(x, y, weight=pos_weight, reduction="none")
    each = each if weight is None else each * weight
    return {"mean": tg.mean, "sum": tg.sum, "none": lambda v: v}[reduction](each)


@words("nn.functional.cross_entropy")
def _cross_entropy(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", ignore_index: int = -100,
    label_smoothing: float = 0,
) -> Any:  # fmt: skip
    x = x if x.ndim == 1 else tg.moveaxis(x, 1, -1)
    if target.dtype.kind == "f":
        target = target if target.ndim == 1 else tg.moveaxis(target, 1, -1)
        target = target * (1 - label_smoothing) + label_smoothing / x.shape[-1]
        each = -tg.sum(target * tg.log_softmax(x) * (1 if weight is None else weight), axis=-1)
        return {"mean": tg.mean, "sum": tg.sum, "none": lambda v: v}[reduction](each)
    options = {"smoothing": label_smoothing, "ignore": ignore_index, "reduction": reduction}
    return tg.cross_entropy(x, target, weight=weight, **options)


@words("nn.functional.nll_loss")
def _nll(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", **_: Any) -> Any:
    need(weight is None, "weights of categories")
    x, index = x if x.ndim == 1 else tg.moveaxis(x, 1, -1), np.asarray(target)
    kept = index != ignore_index
    chosen = tg.take_along_axis(x, np.where(kept, index, 0)[..., None], axis=-1)
    each = tg.where(kept, -tg.squeeze(chosen, axis=-1), 0.0)
    return {"mean": lambda v: tg.sum(v) / kept.sum(), "sum": tg.sum, "none": lambda v: v}[reduction](each)


@words("nn.functional.ctc_loss")
def _ctc(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    targets, sizes = np.asarray(targets), [int(n) for n in target_lengths]
    if targets.ndim == 1 and log_probs.ndim == 3:
        targets = np.split(targets, np.cumsum(sizes)[:-1])
    lengths = [int(n) for n in input_lengths]
    return tg.ctc_loss(
        log_probs, list(targets), lengths, sizes, blank=blank, reduction=reduction, zero_infinity=zero_infinity
    )


@words("nn.functional.gaussian_nll_loss")
def _gaussian_nll(x: Any, y: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Any:
    if var.ndim == x.ndim - 1:
        var = tg.expand_dims(var, axis=-1)
    var = tg.maximum(var, eps)
    each = 0.5 * (tg.log(var) + (x - y) ** 2 / var) + (0.5 * math.log(2 * math.pi) if full else 0)
    return {"mean": tg.mean, "sum": tg.sum, "none": lambda v: v}[reduction](each)


@words("nn.functional.cosine_similarity")
def _cosine(a: Any, b: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    need(a.ndim > 0, "an axis of a scalar")
    a, b = tg.broadcast_arrays(a, b)
    sizes = [tg.clip(tg.linalg.vector_norm(v, axis=dim), min=eps) for v in (a, b)]
    return tg.sum(a * b, axis=dim) / (sizes[0] * sizes[1])


@words("nn.functional.normalize")
def _normalize(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    need(x.ndim > 0, "an axis of a scalar")
    return x / tg.maximum(tg.linalg.vector_norm(x, axis=dim, keepdims=True, ord=p), eps)
