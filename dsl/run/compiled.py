"""The compiled engine: a system and its adjoint, each planned, generated, compiled once and run on arrays.

`forward` runs the system, `backward` its adjoint: two systems down one road. The batch is cut into parts, one
a thread, each with arenas of its own; sums over sequences are added up afterwards. What `forward` saves
leases its arenas, so several runs can be alive and each can be differentiated more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dsl.plan.program import Plans, Program
from dsl.run.arenas import Arena, Array
from dsl.run.executable import Call, Executable, Share, precision
from dsl.run.rows import derived_lengths
from dsl.system.system import System
from tinygrad_seq.kernels.threads import run_parts

NOTHING = np.zeros(1)  # in place of an array that generated code will not touch
REALS, INTEGERS = {n: np.dtype(n) for n in ("float32", "float64")}, np.dtype(np.int64)


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
    shares: tuple[Share, ...]
    parts: list[Part]
    start: Mapping[str, Array] | None
    lessor: Arena = field(repr=False)

    def __del__(self) -> None:
        _return(self.parts, self.lessor)


def _return(parts: Sequence[Part], lessor: Arena) -> None:
    for part in parts:
        lessor.give(part.reals, part.share.sizes)
        lessor.give(part.categories, part.share.sizes)


@dataclass
class Compiled:
    """A system's forward and backward runs. Made by `compile_system`."""

    system: System
    outside: tuple[str, ...]
    dtype: str
    arena: Arena = field(default_factory=Arena)
    _executables: dict[str, Executable] = field(default_factory=dict)
    _of: dict[int, Executable] = field(default_factory=dict)

    @cached_property
    def plans(self) -> Plans:
        return Plans(self.system, self.outside, self.dtype)

    def executable(self, program: Program) -> Executable:
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
        known = derived_lengths(self.system.axes, lengths, batch)
        run = _Run(self, program, dict(inputs), Call(batch, self._steps(inputs, known), known, clock=clock), start)
        values = run.execute()
        if not record:
            _return(run.parts, self.arena)
            return {n: values[n] for n in want}, None
        held = {n: v for n, v in run.inputs.items() if n in self.system.streams}  # with shared values, computed once
        held.update({n: values[n] for n in self.plans.totals})
        saved = Saved(program, held, run.call, run.shares, run.parts, start, self.arena)
        return {n: values[n] for n in want}, saved

    def backward(self, saved: Saved, cotangents: Mapping[str, Array | None], wrt: tuple[str, ...]) -> dict[str, Array]:
        """Gradients of `wrt`, summed over the sequences for parameters. Cotangents not given count as zero."""
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
        _return(run.parts, self.arena)
        out: dict[str, Array] = {}
        for name in wrt:
            if name in derived.gradients:
                out[name] = values[derived.gradients[name]]
            elif name in inputs:  # what nothing reads is not even packed: no gradient
                out[name] = np.zeros_like(inputs[name], dtype=precision(np.iscomplexobj(inputs[name]), self.dtype))
        return out

    @cached_property
    def _dims(self) -> dict[str, int]:
        return {k: v for k, v in self.system.arguments.items() if isinstance(v, int)}

    def _steps(self, inputs: Mapping[str, Array], known: Mapping[str, Array]) -> tuple[tuple[str, int], ...]:
        """Steps of each axis: an array's extent where one is given, else the longest sequence."""
        steps = {a: int(v.max(initial=0)) for a, v in known.items()}
        for name, value in inputs.items():
            stream = self.system.streams.get(name)
            if stream is None or stream.shared:
                continue
            for axis, n in zip(stream.axes, np.shape(value), strict=False):
                steps[axis] = max(steps[axis], n)
        return tuple(steps.items())


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
        self.compiled, self.program, self.arena, self.dtype = compiled, program, compiled.arena, program.dtype
        if parts := program.program.parts:
            inputs, start = split(inputs, parts), split(start, parts) if start else start
        self.start = start
        self.inputs = {**inputs, **program.evaluate(program.normal.before, inputs)}
        self.sizer = program.sizer(self.inputs)
        carried = frozenset((n, self._held(n)) for n in program.source.carried) if start else frozenset()
        self.call = Call(call.batch, call.steps, call.lengths, carried, call.clock)
        self.shares = program.shares(self.call, None if saved is None else (saved.program, saved.shares))
        take, reals = self.arena.take, REALS[self.dtype]
        laid = [(s, s.sizes) for s in self.shares]
        self.parts = [Part(s, take(z.reals, reals, z), take(z.categories, INTEGERS, z)) for s, z in laid]
        self.forward = self.parts if saved is None else saved.parts  # whose memory is read

    # ------------------------------------------------------------ calls

    def execute(self) -> dict[str, Array]:
        """Run all parts and collect values."""
        program, source, normal = self.program, self.program.source, self.program.normal
        results = {n: self._result(n) for n in source.results}
        totals = {n: np.zeros(program.shape(n), self.dtype) for n in normal.totals}
        late: dict[str, Array] = {} if self.call.batch else dict(totals)
        if self.call.batch:
            named = [self._input(n) for n in source.inputs] + [results[n] for n in source.results]
            named += [self._carried(n) for n in source.carried]
            sizes = self.shares[0].sizes
            room = self.arena.take(sizes.parameters, REALS[self.dtype], sizes.preparing)
            for stage in range(len(source.stages)):
                known = {**self.inputs, **late} if late else self.inputs
                shared = [self._shared(n, known) for n in source.shared]
                self._stage(stage, room, [*named, *shared, *totals.values()])
                late.update((n, totals[n]) for n in source.complete[stage])
                late.update(program.evaluate(normal.after, {**self.inputs, **late}) if normal.after else {})
            self.arena.give(room, sizes.preparing)
        elif normal.after:
            late.update(program.evaluate(normal.after, {**self.inputs, **late}))
        values = {n: results[d] for n, d in normal.names.items() if d in results}
        values.update((n, self.inputs[n]) for n in normal.before)
        values.update(late)
        for name, (re, im) in program.program.parts.items():
            if re in values and im in values:
                values[name] = values[re] + 1j * values[im]
        return values

    def _stage(self, stage: int, room: Array, outside: Sequence[Array]) -> None:
        """Shared values laid out, the loops of one stage over all parts, and the totals that are complete then."""
        run, addresses = self.program.module.run, self.program.addresses
        there = addresses.of([room, *outside], "outside")
        places = []
        for k, (p, f) in enumerate(zip(self.parts, self.forward, strict=True)):
            own = (p.reals, p.categories, f.reals, f.categories, room, p.share.lengths, p.share.counts, p.share.rows)
            places.append(np.array(addresses.of(own, k) + there[1:], np.int64))
        sizes = [s.sizes for s in self.shares]
        run(places[0], sizes[0].preparing)
        run_parts([_bind(run, x, s.stages[stage]) for x, s in zip(places, sizes, strict=True)])
        for x, s in zip(places, sizes, strict=True):
            run(x, s.collecting[stage])

    # ------------------------------------------------------------ arrays for the loops

    def _input(self, name: str) -> Array:
        category = self.program.normal.definitions[name].dtype == "category"
        return np.ascontiguousarray(self.inputs[name], np.int64 if category else self.dtype)

    def _shared(self, name: str, known: Mapping[str, Array]) -> Array:
        """A shared value; zeros for one that only a later stage knows and needs."""
        return np.ascontiguousarray(known[name] if name in known else np.zeros(self.program.shape(name)), self.dtype)

    def _result(self, name: str) -> Array:
        definition, steps = self.program.normal.definitions[name], dict(self.call.steps)
        shape = (*(steps[a] for a in definition.axes), self.call.batch)
        if definition.dtype == "category":
            return np.full(shape, -1, np.int64)
        return np.zeros((*shape, *(self.sizer.number(d) for d in definition.shape)), self.dtype)

    def _started(self, name: str) -> Array | None:
        for stream, value in (self.start or {}).items():
            if stream == name or self.program.normal.names.get(stream) == name:
                return np.asarray(value)
        return None

    def _carried(self, name: str) -> Array:
        definition = self.program.normal.definitions[name]
        dtype = np.int64 if definition.dtype == "category" else self.dtype
        value = self._started(name)
        if value is None:
            return NOTHING
        return np.ascontiguousarray(value[len(value) - self._held(name) :], dtype)

    def _held(self, name: str) -> int:
        """Steps already run that loops can reach and the caller gives; before those is the boundary."""
        place, value = self.program.layout.places[name], self._started(name)
        return 0 if value is None else min(place.pads[place.axes[0]][0], len(value))


def _bind(run: Callable[..., None], places: Array, table: Array) -> Callable[[], None]:
    return lambda: run(places, table)


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
