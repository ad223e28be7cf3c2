"""Jacobians of a state along a run: from one step to the next, over many steps, and the bound between them.

∂h_t/∂h_{t−1} is what one step does; ∂h_T/∂h_k is what all steps between do together, through every path; the product of
the former's norms bounds the latter's (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013), with equality
only when the steps' leading directions agree. For `h = f(W h + …)` a step's Jacobian is D_s W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dsl.system.system import System
from viz.graph import build
from viz.numbers import Backward, Values
from viz.paths import crosses

Array = np.ndarray[Any, Any]


@dataclass
class Jacobians:
    """`total[k]` (H, H) is ∂h_T/∂h_k, `step[t]` ∂h_t/∂h_{t−1} (nan at 0); `direct` and `whole` (T, H) their singular
    values, largest first; `bound[k]` = Π_{s>k} ‖∂h_s/∂h_{s−1}‖₂, nan for a state that one step does not separate."""

    state: str
    total: Array
    step: Array
    direct: Array
    whole: Array
    bound: Array


def states_of(system: System) -> list[str]:
    """The states that a run carries on along one axis, as drawn."""
    return [k for k, n in build(system).nodes.items() if n.kind == "state" and len(n.axes) == 1]


def jacobians(run: Any, system: System, state: str | None = None, sequence: int = 0) -> Jacobians:
    """Of the last state, unless another is named. Errors: ValueError for a cell that crosses axes or has no state.

    The bound holds for states that carry everything: with further states (the c beside an LSTM's h) or skips, paths
    go around h_{t−1}, and the product is no bound; it is then nan.
    """
    graph = build(system)
    if crosses(graph):
        raise ValueError(f"{system.name} reads across axes: Jacobians are computed for cells over one time axis")
    found = [k for k, n in graph.nodes.items() if n.kind == "state"]
    if not found:
        raise ValueError(f"{system.name} has no state")
    key = state or found[-1]
    if key not in found:
        raise ValueError(f"{system.name} has no state {key}; it has {', '.join(found)}")
    values = Values(run, system, sequence)
    backward = Backward(graph, values)
    length = backward.length
    total = total_of(backward, key, length - 1)
    size = total.shape[-1]
    step = np.full((length, size, size), np.nan, total.dtype)
    for t in range(1, length):
        step[t] = total_of(backward, key, t, t - 1)[t - 1]
    lags = {w.lag for w in graph.wires if w.lag}
    alone = len(found) == 1 and lags == {-1}
    norms = np.array([np.linalg.norm(j, 2) if np.isfinite(j).all() else np.nan for j in step])
    bound = np.full(length, np.nan)
    if alone:
        bound = np.append(np.cumprod(norms[:0:-1])[::-1], 1.0)
    return Jacobians(key, total, step, _singular(step), _singular(total), bound)


def total_of(backward: Backward, key: str, last: int, first: int = 0) -> Array:
    """∂h_last/∂h_k for all k from `first` on (zero elsewhere), (T, H, H)."""
    value = np.asarray(backward.node_value(key, last))
    size = value.size
    basis = np.eye(size).reshape(size, *value.shape)
    sweep = backward.run({(key, last): basis}, keep=key, since=first)
    out = np.zeros((backward.length, size, size), np.result_type(value.dtype, float))
    for k in range(first, last + 1):
        g = sweep.cotangents.get((key, k))
        if g is not None:
            out[k] = np.asarray(g).reshape(size, size)
    return out


def _singular(matrices: Array) -> Array:
    return np.array(
        [
            np.linalg.svd(m, compute_uv=False) if np.isfinite(m).all() else np.full(matrices.shape[-1], np.nan)
            for m in matrices
        ]
    )
