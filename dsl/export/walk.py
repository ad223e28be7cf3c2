"""From a system and its schedule to statements on arrays, the same for every target.

A value on time axes is (steps..., B, features...); one that lacks an axis has a dim of 1 there, or none before its
first; what is shared has features alone. Loops carry the last values of what they read back; everything else they read
is made for all steps before them and comes in slices, products first of all. Beyond a sequence's end inputs repeat
their last step and carried values are boundaries, so that nothing singular is ever computed there that was not in the
sequence, and reads and reductions leave it out. Nothing here knows a framework.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dsl.export.arrays import Array, Carried, Let, Loop, Require, Size, Statement, is_infinite
from dsl.export.expressions import Expressions
from dsl.export.lacking import lacking
from dsl.export.padding import harmless
from dsl.export.streams import Place, Span
from dsl.plan.schedule import Block, Scan, offset_value, reads_under, schedule
from dsl.run.carry import carried
from dsl.run.inputs import fed
from dsl.run.noise import numbers_of, streams_of
from dsl.run.program import members_of, needed, sizes
from dsl.system.gates import gated
from dsl.system.system import Stream, System
from dsl.text.diagnostics import CellError


@dataclass(slots=True)
class Lowered:
    """A cell on arrays.

    inputs      streams that are fed, as the caller gives them
    counts      the sizes "B" and "steps_t" of each free axis -> the input and its dim that show it, or the axis
                whose lengths must be given and None
    statements  in order
    results     name -> value: outputs by their names, a loss `nll` as its mean and as `nll.each`
    held        stream -> how many of its last values a state has; empty for a cell that cannot be carried on
    state       its entries after the run: those streams, and each axis's steps run
    """

    system: System
    inputs: dict[str, Stream]
    params: dict[str, Stream]
    noises: dict[str, Stream]
    counts: dict[str, tuple[str, int | None]]
    statements: list[Statement] = field(default_factory=list)
    results: dict[str, Array] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    state: dict[str, Array] = field(default_factory=dict)


def lowered(system: System) -> Lowered:
    """The program of a bound system's outputs and losses. Errors: ValueError for one that needs what no input shows."""
    return Walk(harmless(gated(system, (*system.outputs, *system.losses)))).program


class Walk(Expressions):
    """Goes through a schedule once, writing statements."""

    def __init__(self, system: System) -> None:
        self.results = list(dict.fromkeys([*system.outputs, *system.losses]))
        self.chosen = needed(system, self.results, {})
        held: dict[str, int] = {}
        carries = True
        try:
            held = {n: k for n, k in carried(system).items() if n in self.chosen}
        except CellError:
            carries = False
        super().__init__(system, held, carries)
        chosen = {n: s for n, s in system.streams.items() if n in self.chosen}
        inputs = {n: s for n, s in fed(system).items() if n in chosen}
        params = {n: s for n, s in chosen.items() if s.kind in ("param", "const")}
        noises = {n: s for n, s in streams_of(system).items() if n in chosen}
        self.program = Lowered(system, inputs, params, noises, {}, self.statements, held=held)
        self._readers = {n: self._read_by(n) for n in chosen}
        self._axes()
        self._inputs()
        self.blocks(schedule(system), Place())
        self._results()

    # ------------------------------------------------------------ what comes in

    def _axes(self) -> None:
        """The sizes and lengths of the axes, and each sequence's own steps."""
        o, system, program = self.o, self.system, self.program
        axes = self.axes_used(self.chosen)
        name, stream = next(((n, s) for n, s in program.inputs.items() if not s.shared), (None, None))
        if stream is None and not axes:
            raise lacking(system, "one value a sequence, and nothing that shows how many sequences there are")
        program.counts["B"] = (axes[0], None) if name is None or stream is None else (name, len(stream.axes))
        for axis in axes:
            length = system.axes[axis].length
            own = self.leaf(f"len_{axis}", ("B",), "int")
            if length is None:
                name = next((n for n, s in program.inputs.items() if axis in s.axes), None)
                dim = None if name is None else program.inputs[name].axes.index(axis)
                program.counts[f"steps_{axis}"] = name or axis, dim
                value = o.make("given_length", (), (axis,), ("B",), "int")
            else:
                steps = self.leaf(f"steps_{axis}", (), "int")
                self.emit(Let(steps, self.bound(length)))
                value = o.broadcast(o("maximum", self.integer(length), 0), ("B",))
            self.emit(Let(own, value))
            self.lengths[axis] = own
            steps_ = o.behind(o.arange(f"steps_{axis}"), 1)
            self.emit(Let(self.leaf(f"has_{axis}", (f"steps_{axis}", "B"), "bool"), o("less", steps_, own)))
            last = o("minimum", steps_, o("sub", own, 1))
            self.emit(Let(self.leaf(f"at_{axis}", (f"steps_{axis}", "B"), "int"), last))

    def _inputs(self) -> None:
        """Streams that are fed, padding replaced; parameters; noise."""
        o = self.o
        for name, stream in self.program.params.items():
            self.home[name] = o.leaf("param", name, sizes(stream.shape), self.kind(stream)), ()
        for name, stream in self.program.inputs.items():
            raw = o.leaf("input", name, self.row_sizes(stream, stream.axes), self.kind(stream))
            if not stream.axes:
                self.home[name] = raw, ()
                continue
            own = self.leaf(name, self.row_sizes(stream, stream.axes), self.kind(stream))
            self.emit(Let(own, self.filled(raw, stream)))
            self.home[name] = own, stream.axes
        for name, stream in self.program.noises.items():
            own = self.leaf(name, self.row_sizes(stream, stream.axes), "real")
            assert stream.initializer is not None
            kind, numbers = numbers_of(stream)
            static = (name, stream.initializer.name, tuple(numbers), float(kind.mean(*numbers)))
            drawn = o.make("noise", (), static, self.row_sizes(stream, stream.axes), "real")
            self.emit(Let(own, self.filled(drawn, stream) if stream.axes else drawn))
            self.home[name] = own, stream.axes

    # ------------------------------------------------------------ the schedule

    def blocks(self, blocks: Iterable[Block], place: Place) -> None:
        for block in blocks:
            if isinstance(block, Scan):
                self.scan(block, place)
                continue
            for name in block.equations:
                if name in self.chosen:
                    self.equation(name, place)

    def equation(self, name: str, place: Place) -> None:
        """One equation at all steps that the loops around leave open, or at their step."""
        o, stream, loops = self.o, self.system.streams[name], place.loops
        axes = tuple(a for a in stream.axes if a not in place.axes_of_loops)
        here = place.of(name, tuple(Span(a, f"steps_{a}") for a in axes))
        root = self.system.equations[name]
        for what, axis in self.requirements(root):
            self.emit(Require(axis, what))
        value, kind = self.expression(root, here), self.kinds.of(root)
        if stream.total:
            value = value if kind.shared else o.reduce("sum", value, -1 - len(kind.shape))
        if not kind.shared and not kind.shape:
            value = o.behind(value, len(stream.shape))
        value = o.broadcast(value, self.row_sizes(stream, axes), self.kind(stream))
        value = o.cast(value, self.kind(stream))
        loop = loops[-1] if loops else None
        masked = loop is not None and name in self.masked[loop]
        self.home[name] = self.remembered(name, value, here) if masked else self.let(name, value, loop), axes

    def let(self, name: str, value: Array, loop: Loop | None = None) -> Array:
        """A value under a name, in the loop whose iterations it differs in at least."""
        own = self.leaf(name, value.sizes, value.kind, loop)
        self.emit(Let(own, value), loop)
        return own

    def remembered(self, name: str, value: Array, place: Place) -> Array:
        """What a loop remembers of a value is the boundary at steps that a sequence does not have.

        Returned is what others of the same step read: the value itself. Behind the last step every step is then like a
        first one, and as harmless.
        """
        o, loop, stream = self.o, place.loops[-1], self.system.streams[name]
        edge = self.edge(stream)
        plain = name in self.read_now[loop] or (edge.is_number and is_infinite(edge.static[0]))
        if plain and value.op != "name":
            value = self.let(f"{name}.now", value, loop)
        have = self.sliced(self.steps_had(place.span(loop)), loop)
        kept = o("where", o.behind(have, len(self.features(stream))), value, edge)
        kept = self.let(name if self.around[name][-1] is loop else f"{name}.row", kept, loop)
        self.kept[name] = kept
        return value if plain else kept

    def scan(self, scan: Scan, place: Place) -> None:
        o, system = self.o, self.system
        members = [n for n in members_of(scan) if n in self.chosen]
        if not members:
            return
        extra = max(scan.skew.get(n, 0) for n in members)
        steps: Size = f"steps_{scan.axis}"
        if extra:
            steps = f"steps_{scan.axis}_{extra}"
            self.named(steps, o("add", self.leaf(f"steps_{scan.axis}", (), "int"), extra))
        around = place.loops[-1] if place.loops else None
        delays = {n: scan.skew.get(n, 0) if scan.direction > 0 else extra - scan.skew.get(n, 0) for n in members}
        loop = Loop(scan.axis, steps, scan.direction < 0, around, delays)
        inner = place.inside(loop)
        for name in members:
            self.around[name] = (*self.around.get(name, ()), loop)
        self._carry(loop, inner, members)
        self.blocks(scan.body, inner)
        outside = self._needed_outside(members, place)
        for name in members:
            own, axes = self.home[name]
            if name in self.masked[loop] and self.around[name][-1] is not loop:  # a row that a loop inside has made
                own = self.remembered(name, own, inner.of(name, ()))
            if name in loop.carried:
                loop.carried[name].now = self.kept[name]
            if name not in outside:
                continue
            if self.system.streams[name].shared:
                raise lacking(system, f"{name}, shared and made in a loop")
            edge = self.edge(self.system.streams[name])
            if name in self.masked[loop] and not (edge.is_number and is_infinite(edge.static[0])):
                own = self.kept[name]
            own = own if own.op == "name" else self.let(f"{name}.row", own, loop)
            whole = self.leaf(name, (loop.steps, *own.sizes), own.kind, around)
            loop.collected[own] = whole
            self.home[name] = o.slice(whole, delays[name], f"steps_{loop.axis}"), (loop.axis, *axes)
        self.emit(loop, around)

    def _carry(self, loop: Loop, inner: Place, members: list[str]) -> None:
        """Which members a loop remembers, how far back, and what stands for the iterations before its first."""
        o, lags = self.o, dict.fromkeys(members, 0)
        self.masked[loop], self.read_now[loop] = set(), set()
        for reader in members:
            for read, _ in reads_under(self.system.equations[reader]):
                if read.name not in lags:
                    continue
                found = self.loop_of(read, inner.of(reader, ()))
                if found is not None and found[0] is loop:
                    lags[read.name] = max(lags[read.name], found[1])
                    self.masked[loop].add(read.name)
                elif found is not None:
                    continue
                elif offset_value(self.system, self.index_on(read, loop.axis).offset):
                    self.masked[loop].add(read.name)
                else:
                    self.read_now[loop].add(read.name)
        for name, lag in lags.items():
            if not lag:
                continue
            stream = self.system.streams[name]
            axes = tuple(a for a in stream.axes if a not in inner.axes_of_loops)
            row = self.row_sizes(stream, axes)
            if name in self.held and not loop.reverse and loop.around is None:
                before = o.slice(self.history(name), self.held[name] - lag, lag)
            else:
                before = o.broadcast(self.edge(stream), (lag, *row), self.kind(stream))
            loop.carried[name] = Carried(lag, before, before)

    def _needed_outside(self, members: list[str], place: Place) -> set[str]:
        """Of a loop's streams those that are results, held, or read by what is not in the loop."""
        inside = set(members)
        read = {*self.results, *self.held}
        for name, names in self._readers.items():
            if name not in inside:
                read |= names
        for loop in place.loops:  # and rows that the loops around remember
            read |= self.masked[loop]
        return inside & read

    def _read_by(self, name: str) -> set[str]:
        roots = [self.system.equations.get(name), self.system.streams[name].boundary]
        return {r.name for root in roots if root is not None for r in self.reads_of(root)}

    # ------------------------------------------------------------ what goes out

    def _results(self) -> None:
        o, system, program = self.o, self.system, self.program
        for name in self.results:
            stream = system.streams[name]
            value, axes = self.home[name]
            if name in system.losses:
                program.results[name] = o.reduce("mean", value, -1)
                program.results[f"{name}.each"] = value
                continue
            if axes:
                order = (*(axes.index(a) for a in stream.axes), *range(len(axes), value.rank))
                value = o.order(value, order)
                open_ = tuple(Span(a, f"steps_{a}") for a in stream.axes)
                masks = [self.aligned(self.steps_had(s), (s.axis,), open_) for s in open_]
                have = masks[0]
                for mask in masks[1:]:
                    have = o("logical_and", have, mask)
                blank = -1 if stream.dtype == "category" else 0.0
                value = o("where", o.behind(have, len(self.features(stream))), value, blank)
            program.results[name] = value
        for name, lag in program.held.items():
            program.state[name] = self.advanced(name, lag)
        for axis in self.lengths if self.carries else ():
            ran = o.leaf("state", axis, ("B",), "int")
            program.state[axis] = o.given("state", o("add", ran, self.lengths[axis]), self.lengths[axis])

    def advanced(self, name: str, lag: int) -> Array:
        """The last values of a stream after the run, (lag, B, ...), oldest first; before it, what the state had."""
        o, (value, axes) = self.o, self.home[name]
        return o.call("latest", self.history(name), value, self.lengths[axes[0]])


def flat(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Statements, those inside of loops included."""
    return itertools.chain.from_iterable((s, *flat(s.body)) if isinstance(s, Loop) else (s,) for s in statements)
