"""A program on data of one shape: what all its calls share, found once, and a call of it.

How a batch is cut into parts, one a thread, their tables, lengths and active rows, and what the results look like
depends on the shape of the data alone. A call of a small cell takes tens of microseconds: it finds all that in place,
and hands over arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from dsl.plan.sizes import Shape, Sizes, joined
from dsl.run.arenas import Arena, Array, Lease, Wanted
from dsl.run.executable import INTEGER, Executable
from dsl.run.rows import Ints, is_whole
from tinygrad_seq.kernels.threads import parts as parts_of
from tinygrad_seq.kernels.threads import run_native

CHUNK_ROWS = 128
Bounds = tuple[Array, Array, Array]  # of a share: lengths, counts, rows


@dataclass(frozen=True, eq=False)
class Share:
    """One thread's part of a batch: its rows' places there, lengths by axis and row, active rows by axis and step."""

    rows: Array
    lengths: Array
    counts: Array
    sizes: Sizes


@dataclass(frozen=True, eq=False)
class Call:
    """What a program's shares depend on: the batch, its steps and lengths, and what state is given.

    carried   streams with steps already run, and how many of those are given

    Whoever makes calls hands out the same one for data of the same shape: frames are remembered in it.
    """

    batch: int
    steps: tuple[tuple[str, int], ...]
    lengths: Mapping[str, Ints]
    carried: tuple[tuple[str, int], ...] = ()
    frames: dict[tuple[object, object], Frame] = field(default_factory=dict)
    _carrying: dict[tuple[tuple[str, int], ...], Call] = field(default_factory=dict)

    @cached_property
    def most(self) -> int:
        """Steps of the longest axis."""
        return max((n for _, n in self.steps), default=1)

    @cached_property
    def ragged(self) -> bool:
        return not all(is_whole(self.lengths[a], n) for a, n in self.steps)

    def carrying(self, program: Executable, start: Mapping[str, Array]) -> Call:
        """This call with a state given."""
        carried = program.held(start)
        if carried not in self._carrying:
            self._carrying[carried] = replace(self, carried=carried, frames={}, _carrying={})
        return self._carrying[carried]

    def frame(self, program: Executable, forward: Frame | None = None) -> Frame:
        """The program on this call's data; `forward`: that of the run whose memory a backward run reads."""
        key: tuple[object, object]
        if forward is None:
            count = parts_of(self.batch, program.work * self.batch * self.most)
            key = program, count
        else:
            count, key = len(forward.shares), (program, forward)
        found = self.frames.get(key)
        if found is None:
            found = self.frames[key] = Frame(program, self, _cut(program, self, count, forward))
        return found


class Frame:
    """A program on data of one shape. Made by `Call.frame`."""

    def __init__(self, program: Executable, call: Call, shares: tuple[Share, ...]) -> None:
        self.program, self.shares, self.batch = program, shares, call.batch
        self.filled = not call.ragged  # every sequence has every step
        steps, source, normal = dict(call.steps), program.source, program.normal
        self._results: list[tuple[tuple[int, ...], np.dtype[Any]]] = []
        for name in source.results:
            definition = normal.definitions[name]
            features = () if definition.dtype == "category" else map(program.number, definition.shape)
            shape = (*(steps[a] for a in definition.axes), call.batch, *features)
            self._results.append((shape, program.kinds[name]))
        self._totals = [program.shape(n) for n in normal.totals]
        results, totals = {n: i for i, n in enumerate(source.results)}, len(source.results)
        self._places = [(n, results[d]) for n, d in program.handed]  # streams, and which of the arrays made has them
        self._places += [(n, totals + i) for i, n in enumerate(normal.totals)]
        self._bounds: list[Bounds] = [(share.lengths, share.counts, share.rows) for share in shares]
        first, (role, other, third) = shares[0].sizes, program.roles
        self._memory = Lease(
            tuple(
                wanted
                for s in (share.sizes for share in shares)
                for wanted in (Wanted(s.reals, program.real, s, role), Wanted(s.categories, INTEGER, s, other))
            )
        )
        self._room = Lease((Wanted(first.parameters, program.real, first.preparing, third),))  # for shared values
        self._staged = bool(normal.after) or len(source.stages) > 1  # later loops read what earlier ones completed
        self._table = None  # of all that is done, where one thread does it in one go
        if len(shares) == len(source.stages) == 1:
            self._table = joined((first.preparing, *first.stages, *first.collecting))

    # ------------------------------------------------------------ running

    def run(
        self,
        arena: Arena,
        inputs: Mapping[str, Array],
        start: Mapping[str, Array] | None,
        clock: Mapping[str, Array] | None,
        read: list[Array] | None = None,
    ) -> tuple[dict[str, Array], list[Array]]:
        """Values by stream, and the memory that they were computed in, which goes back by `give`.

        inputs  for the loops, and what is evaluated before them
        start   last values of streams that the sequences carry on from
        clock   axis -> the step (B,) where each sequence goes on
        read    the memory of the forward run, for a backward run
        """
        normal = self.program.normal
        memory, made = arena.take(self._memory), self._made()
        values = {n: made[i] for n, i in self._places}
        if normal.before:
            values.update((n, inputs[n]) for n in normal.before)
        if self.batch:
            values.update(self._loops(arena, inputs, start, memory, read or memory, made, self._bounds_at(clock)))
        elif normal.after:
            values.update(self.program.evaluate(normal.after, {**inputs, **{n: values[n] for n in normal.totals}}))
        for name, (re, im) in self.program.program.parts.items():
            if re in values and im in values:
                values[name] = values[re] + 1j * values[im]
        return values, memory

    def give(self, arena: Arena, memory: list[Array]) -> None:
        """Give back the memory of a run, which nobody reads any more."""
        arena.give(self._memory, memory)

    def _bounds_at(self, clock: Mapping[str, Array] | None) -> list[Bounds]:
        """Each share's lengths, with the clock beside them if the program looks at it; counts and rows."""
        if clock is None or not self.program.clocked:
            return self._bounds
        found: list[Bounds] = []
        for share in self.shares:
            lengths = share.lengths.copy()
            for axis, steps in clock.items():
                if (at := share.sizes.at.get(f"S_{axis}")) is not None:
                    lengths[at : at + len(share.rows)] = np.asarray(steps)[share.rows]
            found.append((lengths, share.counts, share.rows))
        return found

    def _made(self) -> list[Array]:
        """The arrays that a run fills: results, then totals."""
        real = self.program.real
        if self.filled:
            made = [np.empty(shape, kind) for shape, kind in self._results]
        else:  # padding is 0, categories that are none -1
            made = [np.full(shape, -1 if kind is INTEGER else 0, kind) for shape, kind in self._results]
        if self.batch:
            return made + [np.empty(shape, real) for shape in self._totals]
        return made + [np.zeros(shape, real) for shape in self._totals]

    def _loops(
        self,
        arena: Arena,
        inputs: Mapping[str, Array],
        start: Mapping[str, Array] | None,
        memory: list[Array],
        read: list[Array],
        made: list[Array],
        bounds: list[Bounds],
    ) -> dict[str, Array]:
        """Fill the arrays made; returns what is evaluated between the loops' stages and behind the last."""
        program, source, normal = self.program, self.program.source, self.program.normal
        results, totals = made[: len(self._results)], made[len(self._results) :]
        carried = program.carried(start) if start else program.nothing
        outside = (*[np.ascontiguousarray(inputs[n], kind) for n, kind in program.given], *results, *carried)
        room = arena.take(self._room)
        late: dict[str, Array] = {}
        for stage, complete in enumerate(source.complete):
            known = {**inputs, **late} if late else inputs
            self._stage(stage, memory, read, room, bounds, (*outside, *program.shared(known), *totals))
            if self._staged:
                late.update((n, v) for n, v in zip(normal.totals, totals, strict=True) if n in complete)
                late |= program.evaluate(normal.after, {**inputs, **late})
        arena.give(self._room, room)
        return late

    def _stage(
        self,
        stage: int,
        memory: list[Array],
        read: list[Array],
        room: list[Array],
        bounds: list[Bounds],
        outside: tuple[Array, ...],
    ) -> None:
        """Shared values laid out, the loops of one stage over all parts, and the totals that are complete then."""
        run = self.program.run
        if self._table is not None:
            run((*memory, *read, *room, *bounds[0], *outside), self._table)
            return
        held = [(*memory[k : k + 2], *read[k : k + 2], *room) for k in range(0, len(memory), 2)]
        arrays = [(*own, *ends, *outside) for own, ends in zip(held, bounds, strict=True)]
        sizes = [share.sizes for share in self.shares]
        run(arrays[0], sizes[0].preparing)
        run_native(run, [(a, s.stages[stage]) for a, s in zip(arrays, sizes, strict=True)])
        run(arrays[0], sizes[0].collecting[stage])
        for other, table in zip(arrays[1:], sizes[1:], strict=True):
            run(other, table.adding[stage])


# ---------------------------------------------------------------- parts of a batch


def _cut(program: Executable, call: Call, count: int, forward: Frame | None) -> tuple[Share, ...]:
    rows = [s.rows for s in forward.shares] if forward is not None else _split(call, count)
    shares = []
    for k, own in enumerate(rows):
        chunk = max(1, CHUNK_ROWS // max(1, len(own)))
        shape = Shape(call.steps, len(own), call.batch, chunk, call.ragged, call.carried)
        sizes = program.sized(shape, None if forward is None else (forward.program, forward.shares[k].sizes))
        shares.append(Share(own, *_bounds(call, own, sizes), sizes))
    return tuple(shares)


def _split(call: Call, count: int) -> list[Array]:
    """Each part's rows: neighbours, or in a ragged batch alternate ones, sorted by length on the longest axis."""
    if call.ragged and call.steps:
        primary = max((a for a, _ in call.steps), key=lambda a: int(call.lengths[a].sum()))
        order = np.argsort(-call.lengths[primary], kind="stable").astype(np.int64)
        return [np.ascontiguousarray(order[k::count]) for k in range(count)]
    edges = [call.batch * k // count for k in range(count + 1)]
    return [np.arange(a, b, dtype=np.int64) for a, b in zip(edges, edges[1:], strict=False)]


def _bounds(call: Call, rows: Array, sizes: Sizes) -> tuple[Array, Array]:
    """Lengths (and clocks of 0, and whether rows are out of order) by axis and row; active rows by axis and step."""
    lengths, counts = np.zeros(sizes.lengths, np.int64), np.zeros(sizes.counts, np.int64)
    counts[0] = n = len(rows)
    for axis, steps in call.steps:
        own = call.lengths[axis][rows]
        lengths[sizes.at[f"l_{axis}"] :][:n] = own
        reach = np.maximum.accumulate(own[::-1])[::-1]  # the longest from this row on
        counts[sizes.at[f"c_{axis}"] :][:steps] = (reach[None, :] > np.arange(steps)[:, None]).sum(axis=1)
        lengths[sizes.at[f"u_{axis}"]] = int((own[1:] > own[:-1]).any())
    return lengths, counts


__all__ = ["Call", "Frame"]
