"""PyTorch's own samples of the operators that both systems have: `op_db`, which torch tests itself with.

`WORDS` says each operator in our functions, given torch's arguments; the other modules of this folder fill it. A
sample that asks for something we do not have is left out by raising `LeftOut` with the reason, so that nothing is left
out silently; `compare` counts all three kinds. Importing this package does not import torch.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

import tinygrad_seq as tg

WORDS: dict[str, Callable[..., Any]] = {}
LIMIT = 80  # samples of one dtype: pooling has a thousand


class LeftOut(Exception):
    """A sample that our functions do not take, and why."""


@dataclass
class Count:
    """What became of an operator's samples, over all dtypes."""

    values: int = 0
    gradients: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def words(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def note(function: Callable[..., Any]) -> Callable[..., Any]:
        WORDS.update(dict.fromkeys(names, function))
        return function

    return note


def need(condition: bool, reason: str) -> None:
    if not condition:
        raise LeftOut(reason)


# ---------------------------------------------------------------- comparing


def compare(name: str, dtypes: tuple[str, ...] = ("float64", "complex128")) -> Count:
    """Values and gradients of every sample of an operator; AssertionError at the first that differs."""
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    count, found = Count(), [op for op in op_db if op.name == name]
    assert found, f"torch has no operator {name}"
    for op in found:
        for dtype in dtypes:
            kind = getattr(torch, dtype)
            if not op.supports_dtype(kind, "cpu") or (found[0] is not op and not op.variant_test_name):
                continue
            differentiable = op.supports_autograd and kind in op.supported_backward_dtypes("cpu")
            torch.manual_seed(0)
            for sample in islice(op.sample_inputs("cpu", kind, requires_grad=differentiable), LIMIT):
                try:
                    _one(op, sample, count)
                except LeftOut as reason:
                    count.left_out[str(reason)] += 1
    return count


def _one(op: Any, sample: Any, count: Count) -> None:
    import torch
    from torch.testing._internal.common_methods_invocations import gradcheck_wrapper_hermitian_input

    pairs: list[tuple[Any, Any]] = []  # each of torch's tensors with ours, a tensor given twice once
    ours: dict[int, Any] = {}

    def turned(a: Any) -> Any:
        if isinstance(a, torch.Tensor):
            if id(a) not in ours:
                array = a.detach().resolve_conj().resolve_neg().numpy(force=True)
                ours[id(a)] = tg.tensor(array, requires_grad=a.requires_grad)
                if a.requires_grad:
                    pairs.append((a, ours[id(a)]))
            return ours[id(a)]
        if isinstance(a, list | tuple):
            return type(a)(turned(x) for x in a)
        if isinstance(a, dict):
            return {k: turned(v) for k, v in a.items()}
        return a

    x, args, kwargs = turned(sample.input), turned(sample.args), turned(sample.kwargs)
    theirs_of = op
    if op.gradcheck_wrapper is gradcheck_wrapper_hermitian_input:  # which triangle is read is a convention
        x, theirs_of = x + tg.conj(tg.matrix_transpose(x)), functools.partial(op.gradcheck_wrapper, op)
    try:
        theirs = list(_tensors(theirs_of(sample.input, *sample.args, **sample.kwargs)))
    except (RuntimeError, IndexError) as error:
        raise LeftOut("torch refuses it") from error
    with np.errstate(all="ignore"):
        mine = list(_tensors(WORDS[op.name](x, *args, **kwargs)))
    assert len(mine) <= len(theirs), (op.name, len(mine), len(theirs))
    said = f"{op.name}{op.variant_test_name and '.' + op.variant_test_name}: {sample}"
    for a, b in zip(mine, theirs, strict=False):
        expected = b.detach().resolve_conj().resolve_neg().numpy(force=True)
        assert np.shape(a) == expected.shape, f"{said}: shape {np.shape(a)}, torch {expected.shape}"
        np.testing.assert_allclose(np.asarray(a), expected, rtol=1e-9, atol=1e-11, err_msg=said)
    count.values += 1
    _gradients(mine, theirs, pairs, said, count)


def _gradients(mine: list[Any], theirs: list[Any], pairs: list[tuple[Any, Any]], said: str, count: Count) -> None:
    import torch

    rng = np.random.default_rng(0)
    both = [(a, b) for a, b in zip(mine, theirs, strict=False) if b.requires_grad and b.numel()]
    if not both or not pairs:
        return
    weights = []
    for _, b in both:
        w = rng.standard_normal(tuple(b.shape))
        weights.append(np.asarray(w + 1j * rng.standard_normal(w.shape) if b.is_complex() else w))
    expected = torch.autograd.grad(
        [b for _, b in both],
        [a for a, _ in pairs],
        [torch.as_tensor(w).to(b.dtype) for w, (_, b) in zip(weights, both, strict=True)],
        allow_unused=True,
    )
    for w, (a, _) in zip(weights, both, strict=True):
        if isinstance(a, tg.Tensor) and a.requires_grad:
            a.backward(w, retain_graph=True)
    for g, (_, t) in zip(expected, pairs, strict=True):
        right = np.zeros(t.shape, t.dtype) if g is None else g.resolve_conj().resolve_neg().numpy(force=True)
        got = np.zeros(t.shape, t.dtype) if t.grad is None else t.grad.numpy()
        np.testing.assert_allclose(got, right, rtol=1e-8, atol=1e-10, err_msg=f"gradient of {said}")
    count.gradients += 1


def _tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for v in value:
            yield from _tensors(v)
    else:
        yield value
