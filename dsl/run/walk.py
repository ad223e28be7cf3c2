"""Walking a generation: the engine, the data of each step and the state, for rows that move on together.

Both sampling and searching walk; which values are chosen is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsl.run.carry import State
from dsl.run.inputs import Arranged
from dsl.run.program import Prepared
from dsl.run.rows import derived_lengths
from dsl.run.unroll import Unrolling

if TYPE_CHECKING:
    from dsl.run.model import Model

Array = NDArray[Any]


class Walk:
    """A model's sequences on their way, behind what came first.

    data    of the cell's inputs, for all steps
    first   drawn stream -> (P, B, *features): fed before the walk begins
    steps   how many will be walked
    """

    def __init__(self, model: Model, data: Arranged, first: Mapping[str, Array], steps: int, engine: str) -> None:
        self.generator = generator = model.generator
        self.batch = data.batch
        self.at = lead = len(next(iter(first.values())))
        whole = {generator.axis: np.full(data.batch, lead + steps), **data.lengths}
        self.line, fixed = generator.split(generator.known(model, replace(data, lengths=whole), engine))
        every = derived_lengths(model.system.axes, whole, data.batch)
        self.lengths = {a: v for a, v in every.items() if a != generator.axis}
        self.fixed = {**model.params.arrays(), **fixed}
        for name, value in self.line.items():
            if len(value) < lead + steps:
                wanted = f"{lead + steps} steps, as many as are generated"
                raise ValueError(f"{name}: expected {wanted}, given {len(value)}")
        self._program = Prepared(generator.step)
        self._compiled = model.stepper(generator.step) if engine == "compiled" else None
        one = {**self.lengths, generator.axis: np.ones(self.batch, np.int64)}
        probe = Unrolling(self._program, self.fixed, one, self.batch)
        streams = generator.step.streams
        edge = {n: np.asarray(probe.boundary(streams[n], (-1,), probe.batch.all)) for n in generator.held}
        for name in generator.planes.values():
            value = np.asarray(probe.boundary(streams[name], (-1,), probe.batch.all))
            steps_of = tuple(probe.extent(a) for a in streams[name].axes)
            edge[name] = np.broadcast_to(value, (*steps_of, *value.shape))
        self.state: State = generator.start(edge, self.batch)
        if lead:
            fed = {**{n: v[:lead] for n, v in self.line.items()}, **first}
            self.state = generator.feed(self.forward, fed, lead, self.lengths, self.state)

    def forward(
        self,
        inputs: Mapping[str, Any],
        here: Mapping[str, Any],
        rows: int,
        want: tuple[str, ...],
        start: Any,
        clock: Any,
    ) -> dict[str, Any]:
        """The step system on either engine."""
        every = {**self.fixed, **inputs}
        if self._compiled is not None:
            return self._compiled.forward(every, here, rows, want, start=start, clock=clock, record=False)[0]
        run = Unrolling(self._program, every, here, rows, start, clock)
        run.execute(want)
        return {n: run.result(n) for n in want}

    def look(self) -> dict[str, Any]:
        """One step's streams before anything is drawn in it: (1, B, ...). For cells with one drawn stream."""
        return self._found(self.generator.blank(self.generator.draws[0].name, 1, self.batch))

    def choose(self, seen: Mapping[str, Any], rows: Array, values: Array) -> None:
        """Row b goes on from row `rows[b]` with the drawn value `values[b]`; `seen` is what `look` gave."""
        generator, state = self.generator, self.state
        self.state = replace(
            state,
            values={n: v[:, rows] for n, v in state.values.items()},  # (steps, B, ...), a plane's too
            clock={a: c[rows] for a, c in state.clock.items()},
        )
        value = values[None]
        found = self._found(value) if generator.late else self._rows(seen, rows)
        known = {**self._here(), generator.draws[0].name: value, **found}
        self.state = generator.advance(known, {generator.axis: np.ones(self.batch, np.int64)}, self.state)
        self.at += 1

    def _rows(self, seen: Mapping[str, Any], rows: Array) -> dict[str, Any]:
        streams = self.generator.step.streams
        return {n: np.take(v, rows, axis=len(streams[n].axes)) for n, v in seen.items()}

    def _here(self) -> dict[str, Any]:
        return {n: v[self.at : self.at + 1] for n, v in self.line.items()}

    def _found(self, value: Array) -> dict[str, Any]:
        generator = self.generator
        data = {**self._here(), generator.draws[0].name: value}
        here = {**self.lengths, generator.axis: np.ones(self.batch, np.int64)}
        return generator.run(self.forward, data, here, self.state)
