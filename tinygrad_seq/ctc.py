"""The CTC loss, as one node on the tape: the forward-backward kernel gives value and gradient together.

Where its gradient is itself differentiated, the forward recurrence is computed again out of primitives, a step of all
sequences at a time, and the tape differentiates that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.functions import log_softmax, mean, sum, where
from tinygrad_seq.loops import load
from tinygrad_seq.ops.multiply import spread
from tinygrad_seq.ops.reduce import EXPONENTIAL
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.shapes import concat, plain
from tinygrad_seq.state import state
from tinygrad_seq.tape import backward, custom_node
from tinygrad_seq.tensor import Tensor

Array = np.ndarray[Any, Any]
STATE = 8  # exponentials that a state of a step takes
LOW = -1e30  # below every log probability, and finite: its differences are
logaddexp = REGISTRY["logaddexp"]


def ctc_loss(
    logits: Any,
    targets: Any,
    /,
    input_lengths: Any = None,
    target_lengths: Any = None,
    *,
    blank: int = 0,
    reduction: str = "none",
    zero_infinity: bool = False,
) -> Any:
    """-log P(target | logits), summed over all alignments (Graves et al. 2006); the softmax is taken here.

    logits           (T, B, K), or (T, K) for one sequence; padding is never looked at
    targets          a list of sequences of categories, or (B, U) padded with -1 or cut by `target_lengths`
    input_lengths    steps of each sequence (all of them)
    reduction        "none": (B,); "sum"; "mean": each divided by its target's length (at least 1), then averaged
    zero_infinity    0 instead of inf for a target that does not fit into its steps; its gradient is 0 either way

    The first derivative comes from the kernel, every further one from the recurrence on the tape.
    """
    values = plain(logits)
    if values.ndim not in (2, 3) or values.dtype.kind != "f":
        raise ValueError(f"ctc_loss takes real logits (T, B, K) or (T, K), not {values.dtype} of shape {values.shape}")
    single = values.ndim == 2
    array = values[:, None] if single else values
    steps, count, categories = array.shape
    if not 0 <= blank < categories:
        raise ValueError(f"the blank is a category 0..{categories - 1}, not {blank}")
    padded, sizes = _targets(targets, target_lengths, count, single, categories, blank)
    frames = np.full(count, steps) if input_lengths is None else np.asarray(input_lengths, np.int64).reshape(-1)
    if frames.shape != (count,) or (count and (frames.min() < 0 or frames.max() > steps)):
        raise ValueError(f"input_lengths are {count} numbers 0..{steps}, not {input_lengths}")
    want = isinstance(logits, Tensor) and logits.edge is not None and state().recording
    loss, grad = _run(array, padded, frames, sizes, blank, want)
    fits = np.isfinite(loss)
    if zero_infinity:
        loss = np.where(np.isinf(loss), 0, loss).astype(loss.dtype)

    def pullback(cotangents: list[Any]) -> list[Any]:
        if isinstance(cotangents[0], Tensor):
            again = _recurrence(logits[:, None] if single else logits, padded, frames, sizes, blank)
            g = where(fits, cotangents[0], 0)
            return backward([again.edge], [g], [logits.edge], record=True) if again.edge is not None else [None]
        whole = grad * np.reshape(cotangents[0], (1, count, 1))
        return [whole[:, 0] if single else whole]

    each = loss[0] if single else loss
    result: Any = (
        custom_node("ctc_loss", [logits], [each], pullback, differentiable=True)[0]
        if isinstance(logits, Tensor)
        else each
    )
    if reduction == "none":
        return result
    if reduction == "sum":
        return sum(result)
    if reduction == "mean":
        return mean(result / np.maximum(sizes[0] if single else sizes, 1).astype(loss.dtype))
    raise ValueError(f"reduction is 'none', 'sum' or 'mean', not {reduction!r}")


def _targets(targets: Any, lengths: Any, count: int, single: bool, categories: int, blank: int) -> tuple[Array, Array]:
    """Targets as (B, U) and their lengths (B,); everything checked."""
    rows: Sequence[Any] = targets if isinstance(targets, list | tuple) else plain(targets)
    if single and (len(rows) == 0 or np.ndim(rows[0]) == 0):
        rows = [rows]
    rows = [np.asarray(r, np.int64).reshape(-1) for r in rows]
    if len(rows) != count:
        raise ValueError(f"{count} sequences of logits, {len(rows)} targets")
    if lengths is not None:
        given = np.asarray(lengths).reshape(-1).tolist()
        if len(given) != count or any(not 0 <= n <= r.size for n, r in zip(given, rows, strict=False)):
            raise ValueError(f"target_lengths {lengths} do not fit targets of lengths {[r.size for r in rows]}")
        rows = [r[:n] for r, n in zip(rows, given, strict=True)]
    else:
        rows = [r[: int(np.argmax(r < 0))] if (r < 0).any() else r for r in rows]
    for i, r in enumerate(rows):
        wrong = r[(r < 0) | (r >= categories) | (r == blank)]
        if wrong.size:
            raise ValueError(f"target {i} holds {wrong[0]}: labels are 0..{categories - 1}, and not the blank {blank}")
    sizes = np.array([r.size for r in rows], np.int64)
    padded = np.zeros((count, max([r.size for r in rows], default=0)), np.int64)
    for i, r in enumerate(rows):
        padded[i, : r.size] = r
    return padded, sizes


def _run(array: Array, targets: Array, frames: Array, sizes: Array, blank: int, want: bool) -> tuple[Array, Array]:
    logits = np.ascontiguousarray(np.swapaxes(array, 0, 1))
    count = logits.shape[0]
    loss = np.empty(count, logits.dtype)
    grad = np.empty_like(logits) if want else np.empty((count, 0, 0), logits.dtype)
    work = EXPONENTIAL * (2 * logits.size + STATE * logits.shape[1] * (2 * targets.size + count))
    spread(load("ctc").batch, (logits, targets, frames, sizes, blank, loss, grad, want), count, work)
    return loss, np.swapaxes(grad, 0, 1)


def _recurrence(logits: Any, targets: Array, frames: Array, sizes: Array, blank: int) -> Any:
    """The losses (B,) out of primitives: log α of every state, a step at a time (Graves et al. 2006, equation 6)."""
    steps, count, _ = logits.shape
    states = 2 * targets.shape[1] + 1
    labels = np.full((count, states), blank, np.int64)
    labels[:, 1::2] = targets
    jumps = np.zeros((count, states), bool)  # over a blank, between labels that differ
    jumps[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    each, state_of = np.arange(count), np.arange(states)
    log_p = log_softmax(logits)
    low = np.asarray(LOW, logits.dtype)
    before: Any = np.where(state_of == 0, np.zeros((), logits.dtype), np.broadcast_to(low, (count, states)))
    for t in range(steps):
        emitted = log_p[t][each[:, None], labels]
        wall = np.broadcast_to(low, (count, 2))
        behind = concat([wall, before], axis=1)
        # from before the start one enters the first blank or the first label
        into = logaddexp(before, where(state_of > 0, behind[:, 1:-1], LOW)) if t else where(state_of < 2, 0.0, before)
        over = logaddexp(into, where(jumps, behind[:, :-2], LOW)) if t else into
        before = where((t < frames)[:, None], over + emitted, before)
    last = before[each, 2 * sizes]
    label = where(sizes > 0, before[each, np.maximum(2 * sizes - 1, 0)], LOW)
    return -logaddexp(last, label)
