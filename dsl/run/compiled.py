"""The compiled engine: a system and its adjoint, each planned, generated, compiled once and run on arrays.

`forward` runs the system, `backward` its adjoint: two systems down one road. The batch is cut into parts, one
a thread, each with arenas of its own; sums over sequences are added up afterwards. What `forward` saves
leases its arenas, so several runs can be alive and each can be differentiated more than once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dsl.plan.program import PlannedSystem, Plans
from dsl.run.arenas import Arena, Array
from dsl.run.executable import INTEGER, NOTHING, Call, Executable, Frame, Share, precision
from dsl.run.rows import derived_lengths
from dsl.system.system import System
from tinygrad_seq.kernels.threads import run_native

KEPT_CALLS = 64  # shapes of whole batches that are remembered
NONE = np.zeros(1, INTEGER)  # in place of categories, where a program has none


@dataclass(slots=True)
class Part:
    """One thread's share of a batch, and its memory."""

    share: Share
    reals: Array
    categories: Array


@dataclass
class Saved:
    """What a recorded forward run keeps for its adjoint: inputs, and the parts with their arenas on lease."""

    program: Executable
    inputs: Mapping[str, Array]
    call: Call
    frame: Frame
    parts: list[Part]
    start: Mapping[str, Array] | None
    lessor: Arena = field(repr=False)

    def __del__(self) -> None:
        _return(self.parts, self.program, self.lessor)


def _return(parts: Sequence[Part], program: Executable, lessor: Arena) -> None:
    reals, categories, _ = program.roles
    for part in parts:
        lessor.give(part.reals, part.share.sizes, reals)
        if part.categories is not NONE:
            lessor.give(part.categories, part.share.sizes, categories)


@dataclass
class Compiled:
    """A system's forward and backward runs. Made by `compile_system`."""

    system: System
    outside: tuple[str, ...]
    dtype: str
    arena: Arena = field(default_factory=Arena)
    _executables: dict[str, Executable] = field(default_factory=dict)
    _of: dict[int, Executable] = field(default_factory=dict)
    _calls: dict[Any, tuple[Call, tuple[Array, ...]]] = field(default_factory=dict)
    _handed: dict[tuple[Executable, tuple[str, ...]], tuple[tuple[str, str | None, bool], ...]] = field(
        default_factory=dict
    )

    @cached_property
    def plans(self) -> Plans:
        return Plans(self.system, self.outside, self.dtype)

    def executable(self, program: PlannedSystem) -> Executable:
        """The program's executable; equal programs share one."""
        found = self._of.get(id(program))  # plans keep their programs
        if found is None:
            if program.key not in self._executables:
                self._executables[program.key] = Executable(program)
            found = self._of[id(program)] = self._executables[program.key]
        return found

    # ------------------------------------------------------------ running

    def forward(
        self,
        inputs: Mapping[str, Array],
        lengths: Mapping[str, Array],
        batch: int,
        want: tuple[str, ...],
        start: Mapping[str, Array] | None = None,
        clock: Mapping[str, Array] | None = None,
        record: bool = True,
    ) -> tuple[dict[str, Array], Saved | None]:
        """Values of `want` (padding 0, categories -1) and, when recording, what `backward` needs."""
        program = self.executable(self.plans.forward(tuple(want), record))
        run = _Run(self, program, dict(inputs), self._call(inputs, lengths, batch, clock), start)
        values = run.execute()
        if not record:
            _return(run.parts, program, self.arena)
            return {n: values[n] for n in want}, None
        held = run.inputs  # with shared values, computed once
        if program.program.parts or program.normal.before:  # with names of this program alone
            held = {n: v for n, v in held.items() if n in self.system.streams}
        if self.plans.totals:
            held = held | {n: values[n] for n in self.plans.totals}
        saved = Saved(program, held, run.call, run.frame, run.parts, start, self.arena)
        return {n: values[n] for n in want}, saved

    def backward(self, saved: Saved, cotangents: Mapping[str, Array | None], wrt: tuple[str, ...]) -> dict[str, Array]:
        """Gradients of `wrt`, summed over the sequences for parameters, in arrays that nobody else holds.

        Cotangents not given count as zero.
        """
        derived = self.plans.derived
        program = self.executable(self.plans.backward(saved.program.program, tuple(wrt)))
        inputs: dict[str, Array] = dict(saved.inputs)
        for name, given in derived.cotangents.items():
            value = cotangents.get(name)
            stream = derived.system.streams[given]
            dtype = precision(stream.dtype == "complex", self.dtype)
            if value is None:
                steps = dict(saved.call.steps)
                lead = () if stream.shared else (*(steps[a] for a in stream.axes), saved.call.batch)
                inputs[given] = np.zeros((*lead, *(int(d.bind(self._dims)) for d in stream.shape)), dtype)
            else:
                inputs[given] = np.asarray(value, dtype)
        run = _Run(self, program, inputs, saved.call, saved.start, saved)
        values = run.execute()
        _return(run.parts, program, self.arena)
        out: dict[str, Array] = {}
        for name, gradient, fresh in self._handing(program, wrt):
            if gradient is not None:
                found = values[gradient]
                if not fresh and (found.base is not None or any(found is a for a in (*inputs.values(), *out.values()))):
                    found = np.array(found)
                out[name] = found
            elif name in inputs:  # what nothing reads is not even packed: no gradient
                out[name] = np.zeros_like(inputs[name], dtype=precision(np.iscomplexobj(inputs[name]), self.dtype))
        return out

    def _handing(self, program: Executable, wrt: tuple[str, ...]) -> tuple[tuple[str, str | None, bool], ...]:
        """The streams that hold the gradients of `wrt`, and of which the run's array is nobody else's."""
        found = self._handed.get((program, wrt))
        if found is None:
            gradients = self.plans.derived.gradients
            uses = Counter(gradients[n] for n in wrt if n in gradients)
            held = Counter(d for _, d in program.handed)
            own = {*(n for n, d in program.handed if held[d] == 1), *program.normal.totals} - {*program.normal.after}
            found = tuple((n, g, g in own and uses[g] == 1) for n in wrt for g in (gradients.get(n),))
            self._handed[program, wrt] = found
        return found

    @cached_property
    def _dims(self) -> dict[str, int]:
        return {k: v for k, v in self.system.arguments.items() if isinstance(v, int)}

    @cached_property
    def _timed(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The streams that a caller may give, and their axes."""
        streams = self.system.streams.items()
        return tuple((n, s.axes) for n, s in streams if not s.shared and n not in self.system.equations)

    def _call(
        self,
        inputs: Mapping[str, Array],
        lengths: Mapping[str, Array],
        batch: int,
        clock: Mapping[str, Array] | None,
    ) -> Call:
        """The call for this data; the same one for whole sequences of the same shape."""
        extents = tuple([(n, inputs[n].shape) for n, _ in self._timed if n in inputs])
        given = tuple(lengths.values())
        key = batch, extents, tuple(map(id, given))
        found = self._calls.get(key)
        if found is not None and clock is None:
            return found[0]
        known = derived_lengths(self.system.axes, lengths, batch)
        steps = {a: int(v.max(initial=0)) for a, v in known.items()}
        for name, axes in self._timed:  # an array's extent where one is given, else the longest sequence
            if name in inputs:
                steps |= {a: max(steps[a], n) for a, n in zip(axes, inputs[name].shape, strict=False)}
        call = Call(batch, tuple(steps.items()), known, clock=clock)
        if not call.ragged and clock is None:
            if len(self._calls) >= KEPT_CALLS:
                self._calls.clear()
            self._calls[key] = call, given  # which stay alive, so that their ids stay their own
        return call


class _Run:
    """One execution of a program: the parts of its batch, calls, results.

    Memory is leased for it; whoever runs it gives that back, or keeps it for a backward run.
    """

    def __init__(
        self,
        compiled: Compiled,
        program: Executable,
        inputs: dict[str, Array],
        call: Call,
        start: Mapping[str, Array] | None,
        saved: Saved | None = None,
    ) -> None:
        self.compiled, self.program, self.arena = compiled, program, compiled.arena
        if parts := program.program.parts:
            inputs, start = split(inputs, parts), split(start, parts) if start else start
        self.start, self.inputs = start, inputs
        if before := program.normal.before:
            inputs.update(program.evaluate(before, inputs))
        program.sizer(inputs)
        if start:
            call = call.carrying(frozenset((n, self._held(n)) for n in program.source.carried))
        self.call = call
        self.frame = program.frame(call, None if saved is None else (saved.program, saved.frame))
        self.parts = [self._part(share) for share in self.frame.shares]
        self.forward = self.parts if saved is None else saved.parts  # whose memory is read

    def _part(self, share: Share) -> Part:
        sizes, (role, other, _) = share.sizes, self.program.roles
        reals = self.arena.take(sizes.reals, self.program.real, sizes, role)
        return Part(
            share, reals, self.arena.take(sizes.categories, INTEGER, sizes, other) if sizes.categories else NONE
        )

    # ------------------------------------------------------------ calls

    def execute(self) -> dict[str, Array]:
        """Run all parts and collect values."""
        program, frame, inputs = self.program, self.frame, self.inputs
        normal, real, some = program.normal, program.real, self.call.batch > 0
        if frame.filled:
            results = {n: np.empty(shape, kind) for n, shape, kind in frame.results}
        else:  # padding is 0, categories that are none -1
            results = {n: np.full(s, -1 if k is INTEGER else 0, k) for n, s, k in frame.results}
        totals = {n: np.empty(s, real) if some else np.zeros(s, real) for n, s in frame.totals}
        late: dict[str, Array] = {}
        if some:
            outside = [np.ascontiguousarray(inputs[n], kind) for n, kind in program.given]
            outside += results.values()
            outside += [self._carried(n) for n in program.source.carried] if self.start else program.nothing
            sizes, role = frame.shares[0].sizes, program.roles[2]
            room = self.arena.take(sizes.parameters, real, sizes.preparing, role)
            for stage, complete in enumerate(program.source.complete):
                self._stage(stage, room, [*outside, *program.shared({**inputs, **late}), *totals.values()])
                late |= {n: totals[n] for n in complete}
                if normal.after:
                    late |= program.evaluate(normal.after, {**inputs, **late})
            self.arena.give(room, sizes.preparing, role)
        else:
            late = {**totals, **program.evaluate(normal.after, {**inputs, **totals})}
        values = {n: results[d] for n, d in program.handed} | {n: inputs[n] for n in normal.before} | late
        for name, (re, im) in program.program.parts.items():
            if re in values and im in values:
                values[name] = values[re] + 1j * values[im]
        return values

    def _stage(self, stage: int, room: Array, outside: list[Array]) -> None:
        """Shared values laid out, the loops of one stage over all parts, and the totals that are complete then."""
        run = self.program.module.run
        calls = [
            (
                [p.reals, p.categories, f.reals, f.categories, room, p.share.lengths, p.share.counts, p.share.rows]
                + outside,
                p.share.sizes,
            )
            for p, f in zip(self.parts, self.forward, strict=True)
        ]
        arrays, sizes = calls[0]
        if self.frame.whole is not None:
            run(arrays, self.frame.whole)
            return
        run(arrays, sizes.preparing)
        run_native(run, [(arrays, sizes.stages[stage]) for arrays, sizes in calls])
        run(arrays, sizes.collecting[stage])
        for arrays, sizes in calls[1:]:
            run(arrays, sizes.adding[stage])

    # ------------------------------------------------------------ arrays for the loops

    def _started(self, name: str) -> Array | None:
        for stream, value in (self.start or {}).items():
            if stream == name or self.program.normal.names.get(stream) == name:
                return np.asarray(value)
        return None

    def _carried(self, name: str) -> Array:
        value = self._started(name)
        if value is None:
            return NOTHING
        return np.ascontiguousarray(value[len(value) - self._held(name) :], self.program.kinds[name])

    def _held(self, name: str) -> int:
        """Steps already run that loops can reach and the caller gives; before those is the boundary."""
        place, value = self.program.layout.places[name], self._started(name)
        return 0 if value is None else min(place.pads[place.axes[0]][0], len(value))


def split(values: Mapping[str, Array], parts: Mapping[str, tuple[str, str]]) -> dict[str, Array]:
    """Complex arrays beside their real and imaginary parts, under the parts' names."""
    out = dict(values)
    for name, (re, im) in parts.items():
        if name in values:
            value = np.asarray(values[name])
            out[re], out[im] = value.real, value.imag
    return out


def compile_system(system: System, outside: tuple[str, ...] | None, dtype: Any) -> Compiled:
    """The compiled engine of a system whose cotangents come in at `outside` (default: outputs and losses)."""
    names = outside if outside is not None else (*system.outputs, *system.losses)
    return Compiled(system, tuple(names), np.dtype(dtype).name)


__all__ = ["Compiled", "Saved", "compile_system"]
