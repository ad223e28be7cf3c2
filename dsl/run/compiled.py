"""The compiled engine: a system and its adjoint, each planned, generated, compiled once and run on arrays.

`forward` runs the system, `backward` its adjoint: two systems down one road. The batch is cut into parts, one
a thread, each with arenas of its own; sums over sequences are added up afterwards. What `forward` saves
leases its arenas, so several runs can be alive and each can be differentiated more than once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dsl.plan.program import PlannedSystem, Plans
from dsl.run.arenas import Arena, Array
from dsl.run.executable import Executable, precision, split
from dsl.run.frame import Call, Frame
from dsl.run.rows import derived_lengths
from dsl.system.system import Stream, System

KEPT_CALLS = 64  # shapes of whole batches that are remembered


@dataclass(slots=True)
class Saved:
    """What a recorded forward run keeps for its adjoint: data, parameters, and its memory on lease."""

    call: Call
    frame: Frame
    inputs: Mapping[str, Array]
    memory: list[Array]
    start: Mapping[str, Array] | None
    clock: Mapping[str, Array] | None
    lessor: Arena = field(repr=False)

    def __del__(self) -> None:
        self.frame.give(self.lessor, self.memory)


@dataclass(frozen=True)
class Reverse:
    """The backward program of a forward one, and where it hands over what is asked for.

    gradients  name, the stream that holds its gradient (None: nothing reads it), and whether the run's array of that is
               nobody else's
    """

    program: Executable
    gradients: tuple[tuple[str, str | None, bool], ...]


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
    _forwards: dict[tuple[tuple[str, ...], bool], Executable] = field(default_factory=dict)
    _reverses: dict[tuple[Executable, tuple[str, ...]], Reverse] = field(default_factory=dict)

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
        program = self._forwards.get((want, record))
        if program is None:
            program = self._forwards[want, record] = self.executable(self.plans.forward(want, record))
        call = self._call(inputs, lengths, batch)
        inputs = program.prepared(inputs)
        call, start = _carrying(program, call, start)
        frame = call.frame(program)
        values, memory = frame.run(self.arena, inputs, start, clock)
        found = {n: values[n] for n in want}
        if not record:
            frame.give(self.arena, memory)
            return found, None
        if program.program.parts or program.normal.before:  # with names of this program alone
            inputs = {n: v for n, v in inputs.items() if n in self.system.streams}
        if self.plans.totals:
            inputs = {**inputs, **{n: values[n] for n in self.plans.totals}}
        return found, Saved(call, frame, inputs, memory, start, clock, self.arena)

    def backward(self, saved: Saved, cotangents: Mapping[str, Array | None], wrt: tuple[str, ...]) -> dict[str, Array]:
        """Gradients of `wrt`, summed over the sequences for parameters, in arrays that nobody else holds.

        Cotangents not given count as zero.
        """
        reverse, call = self._reverse(saved.frame.program, wrt), saved.call
        program, data = reverse.program, dict(saved.inputs)
        for name, stream, dtype in self._cotangents:
            value = cotangents.get(name)
            data[stream.name] = (
                np.zeros(self._whole(stream, call), dtype) if value is None else np.asarray(value, dtype)
            )
        inputs = program.prepared(data)
        call, start = _carrying(program, call, saved.start)
        frame = call.frame(program, saved.frame)
        values, memory = frame.run(self.arena, inputs, start, saved.clock, saved.memory)
        frame.give(self.arena, memory)
        out: dict[str, Array] = {}
        for name, gradient, fresh in reverse.gradients:
            if gradient is not None:
                found = values[gradient]
                if not fresh and (found.base is not None or any(found is a for a in (*inputs.values(), *out.values()))):
                    found = np.array(found)
                out[name] = found
            elif name in inputs:  # what nothing reads is not even packed: no gradient
                out[name] = np.zeros_like(inputs[name], dtype=precision(np.iscomplexobj(inputs[name]), self.dtype))
        return out

    def _reverse(self, forward: Executable, wrt: tuple[str, ...]) -> Reverse:
        found = self._reverses.get((forward, wrt))
        if found is None:
            program = self.executable(self.plans.backward(forward.program, wrt))
            gradients = self.plans.derived.gradients
            uses = Counter(gradients[n] for n in wrt if n in gradients)
            held = Counter(d for _, d in program.handed)
            own = {*(n for n, d in program.handed if held[d] == 1), *program.normal.totals} - {*program.normal.after}
            handed = tuple((n, g, g in own and uses[g] == 1) for n in wrt for g in (gradients.get(n),))
            found = self._reverses[forward, wrt] = Reverse(program, handed)
        return found

    @cached_property
    def _cotangents(self) -> tuple[tuple[str, Stream, np.dtype[Any]], ...]:
        """Where cotangents come in: whose, the adjoint's stream, its dtype."""
        derived = self.plans.derived
        streams = [(name, derived.system.streams[given]) for name, given in derived.cotangents.items()]
        return tuple((name, stream, precision(stream.dtype == "complex", self.dtype)) for name, stream in streams)

    def _whole(self, stream: Stream, call: Call) -> tuple[int, ...]:
        """The shape of a stream over a whole batch."""
        dims, steps = {k: v for k, v in self.system.arguments.items() if isinstance(v, int)}, dict(call.steps)
        lead = () if stream.shared else (*(steps[a] for a in stream.axes), call.batch)
        return (*lead, *(int(d.bind(dims)) for d in stream.shape))

    @cached_property
    def _timed(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The streams that a caller may give, and their axes."""
        streams = self.system.streams.items()
        return tuple((n, s.axes) for n, s in streams if not s.shared and n not in self.system.equations)

    def _call(self, inputs: Mapping[str, Array], lengths: Mapping[str, Array], batch: int) -> Call:
        """The call for this data; the same one for whole sequences of the same shape."""
        shapes = [inputs[n].shape if n in inputs else None for n, _ in self._timed]
        key = (batch, *shapes, *map(id, lengths.values()))
        found = self._calls.get(key)
        if found is not None:
            return found[0]
        known = derived_lengths(self.system.axes, lengths, batch)
        steps = {a: int(v.max(initial=0)) for a, v in known.items()}
        for name, axes in self._timed:  # an array's extent where one is given, else the longest sequence
            if name in inputs:
                steps |= {a: max(steps[a], n) for a, n in zip(axes, inputs[name].shape, strict=False)}
        call = Call(batch, tuple(steps.items()), known)
        if not call.ragged:
            if len(self._calls) >= KEPT_CALLS:
                self._calls.clear()
            self._calls[key] = call, tuple(lengths.values())  # which stay alive, so that their ids stay their own
        return call


def _carrying(
    program: Executable, call: Call, start: Mapping[str, Array] | None
) -> tuple[Call, Mapping[str, Array] | None]:
    """A call as it is for a program that carries on from `start`, and that as the program reads it."""
    if not start:
        return call, None
    start = split(start, program.program.parts)
    return call.carrying(program, start), start


def compile_system(system: System, outside: tuple[str, ...] | None, dtype: Any) -> Compiled:
    """The compiled engine of a system whose cotangents come in at `outside` (default: outputs and losses)."""
    names = outside if outside is not None else (*system.outputs, *system.losses)
    return Compiled(system, tuple(names), np.dtype(dtype).name)


__all__ = ["Compiled", "Saved", "compile_system"]
