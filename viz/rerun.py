"""A run of a cell computed again, operation by operation, each with the place in the equations it has.

The literal engine runs on watched tensors: data, boundaries and parameters are leaves, and every operation is
noted with its equation, the part of it and the step. One sequence at a time.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from dsl.run.unroll import Unrolling
from dsl.system.system import Stream, System
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol
from tinygrad_seq.tensor import Tensor
from viz.trace import Entry, Steps, Trace, Watched, of_log, place, plain, recording


class _Unrolling(Unrolling):
    """The literal engine on watched tensors: data and boundaries are leaves, each operation knows its place."""

    def __init__(self, run: Unrolling, sequence: int, log: list[Entry]) -> None:
        def one(name: str, value: Any) -> Any:
            stream = run.system.streams[name]
            array = np.asarray(plain(value))
            if stream.shared:
                tracked = stream.kind == "param" and array.dtype.kind in "fc"
                return Watched(array, requires_grad=True, name=name) if tracked else array
            return array[(slice(None),) * len(stream.axes) + (slice(sequence, sequence + 1),)]

        inputs = {n: one(n, v) for n, v in run.inputs.items()}
        lengths = {a: np.asarray(n)[sequence : sequence + 1] for a, n in run.batch.lengths.items()}
        start = {n: np.asarray(plain(v))[:, sequence : sequence + 1] for n, v in run.start.items()}
        clock = {a: c[sequence : sequence + 1] for a, c in run.clock.items()}
        super().__init__(run.program, inputs, lengths, 1, start or None, clock or None)
        self.log = log
        self.leaves = [v for v in inputs.values() if isinstance(v, Watched)]
        self.spans: list[tuple[int, int, str, Symbol | None, dict[str, int]]] = []
        self.now = ""
        self.ends: dict[str, Any] = {}

    def value(self, name: str, point: dict[str, int]) -> Any:
        before, start = self.now, len(self.log)
        self.now = name
        out = super().value(name, point)
        self.spans.append((start, len(self.log), name, None, dict(point)))
        self.now = before
        return out

    def node(self, plan: Any, node: Any, at: dict[str, int], found: Any) -> Any:
        start = len(self.log)
        out = super().node(plan, node, at, found)
        if len(self.log) > start:
            here = {a: at[a] for a in node.axes if a in at}
            self.spans.append((start, len(self.log), self.now, node.symbol, here))
        return out

    def fetch(self, stream: Stream, steps: Steps) -> Any:
        known = steps in self.values.get(stream.name, {})
        value = super().fetch(stream, steps)
        if known or stream.shared or stream.name not in self.inputs or np.dtype(value.dtype).kind not in "fc":
            return value
        leaf = Watched(value, requires_grad=True, name=place(stream.name, steps))
        self.leaves.append(leaf)
        self.values[stream.name][steps] = leaf
        return leaf

    def boundary(self, stream: Stream, steps: Steps, rows: Any) -> Any:
        value = super().boundary(stream, steps, rows)
        if not len(rows) or np.dtype(value.dtype).kind not in "fc":
            return value
        key = place(stream.name, steps)
        if key not in self.ends:
            if isinstance(value, Tensor):  # a node of its own, so that what flows into it is told apart
                self.ends[key] = REGISTRY["broadcast_to"](value, value.shape)
            else:
                self.ends[key] = Watched(value, requires_grad=True, name=key)
                self.leaves.append(self.ends[key])
            self.values.setdefault(stream.name, {})[steps] = self.ends[key]
        return self.ends[key]


def of_run(run: Any, want: str | None = None, sequence: int = 0, steps: Steps | None = None) -> Trace:
    """One sequence of a run, computed again; `want` is a loss or stream (default: the first loss, else the
    sum of the first output's last step), `steps` where it is differentiated (default: its last).
    Errors: ValueError for a sequence the run does not have."""
    literal: Unrolling = run.literal
    if not 0 <= sequence < literal.batch.size:
        raise ValueError(f"sequence={sequence}: the run has sequences 0 to {literal.batch.size - 1}")
    system: System = run.system
    name = want or next((n for n in system.losses if n in run), None) or next(iter(system.outputs), None)
    if name is None:
        raise ValueError(f"{system.name} has neither loss nor output to step through")
    name = system.aliases.get(name, name)
    if name not in system.equations:
        raise ValueError(f"{system.name} has no equation {name}; it has {', '.join(system.equations)}")
    with recording() as log:
        again = _Unrolling(literal, sequence, log)
        again.execute([name])
        value = _root(again, name, steps)
    assert value.edge is not None
    trace = of_log(value.edge[0], log, again.leaves)
    trace.system, trace.title = system, value.name or name
    trace.lengths = {a: int(n[0]) for a, n in again.batch.lengths.items()}
    _settle(trace, again, log)
    return trace


def _root(again: _Unrolling, name: str, steps: Steps | None) -> Tensor:
    """What is differentiated: the value itself when it is one number, else the sum of its last step; of all values
    that begin with `steps` where these name only the first axes."""
    points = again.values[name]
    if steps is None:
        steps = max(points) if points else ()
    start, found = len(again.log), [v for k, v in points.items() if k[: len(steps)] == steps]
    value = functools.reduce(REGISTRY["add"], found) if found else None
    if len(found) > 1:
        again.spans.append((start, len(again.log), name, None, {}))
    if not isinstance(value, Tensor) or value.edge is None:
        raise ValueError(f"{name} depends on no parameter and no data of floating type: nothing to step through")
    if value.size > 1:
        start = len(again.log)
        value = REGISTRY["sum"](value, axis=None, keepdims=False)
        again.spans.append((start, len(again.log), name, None, {}))
        value.name = f"Σ{place(name, steps)}"
        assert isinstance(value, Tensor)
        return value
    value.name = place(name, steps)
    return value


def _settle(trace: Trace, again: _Unrolling, log: list[Entry]) -> None:
    at = {id(op.node): k for k, op in enumerate(trace.ops)}
    for start, stop, name, symbol, steps in again.spans:
        mine = [at[id(log[k].node)] for k in range(start, stop) if id(log[k].node) in at]
        for k in mine:
            op = trace.ops[k]
            if op.equation is None:
                op.equation, op.symbol, op.at = name, symbol, steps
        if symbol is not None and mine:
            trace.places[name, symbol, tuple(steps.items())] = range(mine[0], mine[-1] + 1)
    for name, points in again.values.items():
        for steps_, value in points.items():
            edge = getattr(value, "edge", None)
            if edge is not None and id(edge[0]) in at:
                k = at[id(edge[0])]
                trace.streams[name, steps_] = k
                op = trace.ops[k]
                op.label, op.stream = op.label or place(name, steps_), op.stream or (name, steps_)
