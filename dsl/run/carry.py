"""Carrying on: what a sequence must remember to be continued in a later call, and which cells can be.

A state holds, for each stream that is read backwards, its last values, and the number of steps run. It is
data: nothing differentiates into it, which is what truncated backpropagation through time means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsl.plan.schedule import offset_value, reads_under, show_index
from dsl.run.rows import Batch
from dsl.system.system import Extent, Read, System
from dsl.text.diagnostics import CellError, Diagnostic, register
from dsl.text.tree import NOWHERE, Source
from tinygrad_seq.symbol import postorder

E480 = register(
    "E480",
    "this cell cannot be carried on",
    """
A run can be continued (`model(x, state=run.state)`) when every step needs only steps at or before it. A read
ahead (`b[t+1]`), a derived axis (`time u: len(t)//2`), `len(t)` and a reduction over a whole axis outside a loss need
the rest of the sequence, which a later call would bring. Give such a cell whole sequences: leave `state=` out.
""",
)


@dataclass(frozen=True)
class State:
    """Where sequences stand: `values` stream -> (lag, B, *features), oldest first; `clock` axis -> (B,) steps run;
    `seed` of their noise, None when it was switched off."""

    values: dict[str, NDArray[Any]]
    clock: Mapping[str, NDArray[np.int64]]
    seed: int | None = None

    @property
    def batch(self) -> int:
        return len(next(iter(self.clock.values())))

    def __repr__(self) -> str:
        held = ", ".join(f"{n} {v.shape}" for n, v in self.values.items())
        steps = ", ".join(f"{a}={c.tolist() if len(c) < 5 else f'{c.min()}..{c.max()}'}" for a, c in self.clock.items())
        return f"State({held}; {steps} steps run)"


def lags(system: System, axis: str) -> dict[str, int]:
    """How many steps back each stream is read along `axis`; streams in the system's order."""
    found: dict[str, int] = {}
    roots = [*system.equations.values(), *(v for d in system.draws.values() for _, v in d.parameters)]
    for root in roots:
        for read, _ in reads_under(root):
            stream = system.streams[read.name]
            for own, index in zip(stream.axes, read.index, strict=True):
                if own == axis and index.is_shift and (offset := offset_value(system, index.offset)) < 0:
                    found[read.name] = max(found.get(read.name, 0), -offset)
    return {n: found[n] for n in system.streams if n in found}


def obstacles(system: System, axis: str) -> list[Diagnostic]:
    """Why sequences cannot be continued along `axis`; empty when they can. Losses may reduce over it."""
    out: list[Diagnostic] = []

    def add(name: str, what: str) -> None:
        span = system.spans.get(name, system.streams[name].span if name in system.streams else NOWHERE)
        text = f"{system.name} cannot be carried on: {what}"
        out.append(Diagnostic(E480, text, span, help="leave `state` out and give whole sequences"))

    for derived in system.axes.values():
        if derived.length is not None:
            on = next((n for n, s in system.streams.items() if derived.name in s.axes), "")
            add(on, f"axis {derived.name} is derived from another's whole length")
    drawn = [(name, value) for name, draw in system.draws.items() for _, value in draw.parameters]
    for name, root in [*system.equations.items(), *drawn]:
        if name in system.losses:
            continue
        if any(isinstance(n.leaf, Extent) and n.leaf.axis == axis for n in postorder([root])):
            add(name, f"{name} uses len({axis})")
        for read, bound in reads_under(root):
            reason = _looks_ahead(system, read, bound, axis)
            if reason:
                add(name, f"{name} {reason}")
    return out


def _looks_ahead(system: System, read: Read, bound: frozenset[str], axis: str) -> str:
    own = system.streams[read.name].axes
    shown = f"{read.name}[{','.join(map(show_index, read.index))}]"
    for a, index in zip(own, read.index, strict=True):
        if a != axis:
            continue
        if axis in bound:
            return f"reduces {shown} over the whole axis"
        if not index.is_shift or index.axis != axis:
            return f"reads {shown}, which depends on the whole axis"
        if offset_value(system, index.offset) > 0:
            return f"reads {shown}, ahead of its own step"
        if len(own) > 1 and offset_value(system, index.offset) < 0:
            return f"reads {shown} back in time on two axes"
    return ""


def carried(system: System) -> dict[str, int]:
    """Lags of all that a state must hold. Errors: CellError E480 naming every read that forbids it."""
    base = [a.name for a in system.axes.values() if a.length is None]
    problems = [d for axis in base for d in obstacles(system, axis)]
    if problems:
        raise CellError(problems, system.source or Source("", system.name))
    return {n: k for axis in base for n, k in lags(system, axis).items()}


def advance(
    system: System,
    held: Mapping[str, int],
    arrays: Mapping[str, NDArray[Any]],
    boundaries: Mapping[str, NDArray[Any]],
    batch: Batch,
    before: State | None,
    seed: int | None = None,
) -> State:
    """The state after a run.

    arrays      stream -> (T, B, *features) of this run; padding is not looked at
    boundaries  stream -> (B, *features), for steps before the sequence's first
    seed        of the run's noise
    """
    values = {}
    rows = batch.all
    for name, lag in held.items():
        past = before.values[name] if before is not None else np.repeat(boundaries[name][None], lag, axis=0)
        axis = system.streams[name].axes[0]
        line, length, steps = np.asarray(arrays[name]), batch.lengths[axis], batch.shortest[axis]
        kind = np.result_type(past, line)  # a complex stream may begin at a real 0
        if lag <= steps == batch.longest[axis]:
            values[name] = np.array(line[steps - lag : steps], kind)
            continue
        new = np.empty((lag, *past.shape[1:]), kind)
        for k in range(lag):
            step = length + k - lag
            ran = step >= 0
            new[k, ran] = line[step[ran], rows[ran]]
            new[k, ~ran] = past[lag + step[~ran], rows[~ran]]
        values[name] = new
    clock = {}
    for axis, length in batch.lengths.items():
        clock[axis] = length + (before.clock[axis] if before is not None else 0)
    return State(values, clock, seed)
