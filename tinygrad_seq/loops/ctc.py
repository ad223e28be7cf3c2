"""Connectionist temporal classification: forward-backward in log space (Graves et al. 2006, equations 6-16).

The states of a target a, b, … are blank, a, blank, b, …, blank. alpha[t, s] is the log probability of all
that emits up to t and is in state s then; beta[t, s] of all that follows. Sums are in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.math import exp, log, maximum

LOW = -1e300  # below every log probability, and finite: -inf minus it is -inf, not NaN


@kernel
def advance(before: Any, skip: Any, emitted: Any, after: Any, states: int) -> None:
    """after[s + 2] = log Σ exp of before at s, s - 1 and, where the label differs, s - 2; plus what s emits."""
    for s in range(states):
        stay, step, jump = before[s + 2], before[s + 1], before[s] + skip[s]
        top = maximum(maximum(maximum(stay, step), jump), LOW)
        after[s + 2] = top + log(exp(stay - top) + exp(step - top) + exp(jump - top)) + emitted[s]


@kernel
def retreat(after: Any, skip: Any, before: Any, states: int) -> None:
    """The same from the end: before[s] from after at s, s + 1 and, where it may be jumped to, s + 2."""
    for s in range(states):
        stay, step, jump = after[s], after[s + 1], after[s + 2] + skip[s + 2]
        top = maximum(maximum(maximum(stay, step), jump), LOW)
        before[s] = top + log(exp(stay - top) + exp(step - top) + exp(jump - top))


@kernel
def normalizer(row: Any) -> Any:
    """log Σ exp of a row of logits."""
    top = row[0]
    for k in range(row.size):
        top = maximum(top, row[k])
    total = row.dtype.type(0)
    for k in range(row.size):
        total += exp(row[k] - top)
    return np.float64(top) + log(np.float64(total))


@kernel
def sequence(logits: Any, target: Any, blank: int, grad: Any, want: bool) -> Any:
    """-log probability of one target under (T, K) logits; with `want`, its gradient into (T, K) `grad`."""
    steps, categories = logits.shape
    states = 2 * target.size + 1
    labels = np.full(states, blank, np.int64)
    skip = np.full(states + 2, -np.inf)
    for u in range(target.size):
        labels[2 * u + 1] = target[u]
        if u > 0 and target[u] != target[u - 1]:
            skip[2 * u + 1] = 0.0
    if want:
        grad[:] = 0
    if steps == 0:
        return 0.0 if target.size == 0 else np.inf
    norm = np.empty(steps)
    emitted = np.empty((steps, states))
    alpha = np.full((steps + 1, states + 2), -np.inf)
    for t in range(steps):
        norm[t] = normalizer(logits[t])
        for s in range(states):
            emitted[t, s] = logits[t, labels[s]] - norm[t]
        if t == 0:
            alpha[1, 2] = emitted[0, 0]
            if states > 1:
                alpha[1, 3] = emitted[0, 1]
        else:
            advance(alpha[t], skip, emitted[t], alpha[t + 1], states)
    last = alpha[steps]
    a, b = last[states + 1], last[states] if states > 1 else -np.inf
    top = max(a, b)
    if top == -np.inf:
        return np.inf
    total = top + np.log(np.exp(a - top) + np.exp(b - top))
    if want:
        beta, coming = np.full(states, -np.inf), np.full(states + 2, -np.inf)
        beta[states - 1] = 0.0
        if states > 1:
            beta[states - 2] = 0.0
        for t in range(steps - 1, -1, -1):
            shift = logits.dtype.type(norm[t])
            for k in range(categories):
                grad[t, k] = exp(logits[t, k] - shift)
            for s in range(states):
                grad[t, labels[s]] -= np.exp(alpha[t + 1, s + 2] + beta[s] - total)
            for s in range(states):
                coming[s] = beta[s] + emitted[t, s]
            retreat(coming, skip, beta, states)
    return -total


@kernel
def batch(
    logits: Any, targets: Any, frames: Any, sizes: Any, blank: int, loss: Any, grad: Any, want: bool, part: Any
) -> None:
    """The sequences part[0]..part[1]-1 of (B, T, K) logits; steps after a sequence's end have no part."""
    for b in range(part[0], part[1]):
        n = frames[b]
        loss[b] = sequence(logits[b, :n], targets[b, : sizes[b]], blank, grad[b, :n], want)
        if want:
            grad[b, n:] = 0
