"""Rematerialised sequences: memory that grows with √T, for the time of one more forward pass.

A sequence is cut into segments along time. The forward pass keeps the state between them and nothing else; the
backward pass runs each segment again, the last one first, differentiates it, and hands the gradient of the state it
began with to the segment before (A. Griewank, "Achieving logarithmic growth of temporal and spatial complexity in
reverse automatic differentiation", 1992; T. Chen et al., "Training deep nets with sublinear memory cost", 2016).

For that the state of a cell becomes data: `cut` rewrites a system so that every stream that is read backwards begins
with an input. A segment is then a run like any other, on either engine, and one node on the tape. Which engine runs
it, and how, is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.plan.schedule import offset_value
from dsl.run.carry import State, lags, obstacles
from dsl.run.inputs import Arranged
from dsl.run.program import Prepared, needed, restrict
from dsl.run.result import with_terms
from dsl.run.rows import shortest, whole
from dsl.run.unroll import Unrolling
from dsl.system.dims import Dim
from dsl.system.kinds import binds
from dsl.system.system import Index, Position, Read, Stream, System
from dsl.text.diagnostics import CellError, Diagnostic, register
from dsl.text.tree import NOWHERE, Source
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, lift, postorder
from tinygrad_seq.symbol import replace as rewrite
from tinygrad_seq.tape import custom_node
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.transforms import remat

if TYPE_CHECKING:
    from dsl.run.compiled import Compiled
    from dsl.run.model import Model

E482 = register(
    "E482",
    "this cell cannot be rematerialised",
    """
`build(remat=True)` keeps the state every √T steps and computes what lies between again. A later step then must not be
needed by an earlier one: no read ahead (`b[t+1]`, a bidirectional layer), no reduction over a whole axis but in a loss
that is a sum or a mean over time, one time axis. Build such a cell without `remat`.
""",
)

RUN = "steps.run"
NUMBERLESS = ("category", "boolean")

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Cut:
    """A system whose state is given: `system`, with an input `NAME.start` and a last value `NAME.end` for each name in
    `lines`, and `RUN` for the steps that have run. (A clock would say the same, but a state that goes with one has no
    gradient.)

    lines       stream -> the streams that hold its value of 1, 2, … steps ago one step later
    categories  streams of categories -> how far back they are read: carried in as they are, they have no gradient
    losses      loss -> "sum" or "mean", of the stream LOSS.terms over time
    """

    system: System
    axis: str
    lines: Mapping[str, tuple[str, ...]]
    categories: Mapping[str, int]
    losses: Mapping[str, str]

    @property
    def carried(self) -> tuple[str, ...]:
        return tuple(line for lines in self.lines.values() for line in lines)


def cut(system: System) -> Cut:
    """Give a system's state from outside. Errors: CellError E482 naming what stands against it."""
    axis = _checked(system)
    whole = with_terms(system)
    streams = dict(whole.streams)
    equations = {n: v for n, v in whole.equations.items() if n not in system.losses}
    categories = {n: k for n, k in lags(system, axis).items() if streams[n].dtype in NUMBERLESS}
    lines: dict[str, tuple[str, ...]] = {}
    for name, lag in lags(system, axis).items():
        if name not in categories:
            lines[name] = _line(name, lag, axis, streams, equations)
    streams[RUN] = Stream(RUN, "input")
    for name, root in equations.items():
        equations[name] = _nearer(system, axis, root, lines)
    last = Index(None, 0, Dim.of(-1), length=axis, extent=1)
    for line in (line for found in lines.values() for line in found):
        streams[f"{line}.end"] = replace(streams[f"{line}.start"], name=f"{line}.end", kind="equation")
        equations[f"{line}.end"] = lift(Read(line, (last,)))
    cells = whole.with_(streams=streams, equations=equations)
    outputs = (*system.outputs, *(f"{n}.terms" for n in system.losses))
    changed = replace(cells, outputs=outputs, losses=(), draws={})
    return Cut(changed, axis, lines, categories, {n: _outer(system.equations[n]) for n in system.losses})


def _checked(system: System) -> str:
    """The one axis along which a system may be cut."""
    name = system.name
    problems = [
        replace(d, code=E482, message=f"{name} cannot be rematerialised: {d.message.partition(': ')[2]}", help=FIX)
        for a in system.axes.values()
        if a.length is None
        for d in obstacles(system, a.name)
    ]

    def add(what: str, at: str = "") -> None:
        text = f"{name} cannot be rematerialised: {what}"
        problems.append(Diagnostic(E482, text, system.spans.get(at, NOWHERE), help=FIX))

    if len(system.axes) != 1:
        add(f"it has {len(system.axes)} time axes, and is cut along one")
    terms = with_terms(system).streams
    for loss in system.losses:
        if f"{loss}.terms" not in terms:
            add(f"{loss} is not a sum or mean of terms over time", loss)
    back = lags(system, next(iter(system.axes), ""))
    for stream in system.streams.values():
        if stream.total:
            add(f"{stream.name} is a total over all sequences", stream.name)
        if stream.name in back and stream.name in system.equations and stream.dtype in NUMBERLESS:
            add(f"{stream.name}, read back in time, is computed and no number", stream.name)
    if problems:
        raise CellError(problems, system.source or Source("", name))
    return next(iter(system.axes))


FIX = "build it without remat=True"


def _line(name: str, lag: int, axis: str, streams: dict[str, Stream], equations: dict[str, Symbol]) -> tuple[str, ...]:
    """Streams one behind the other, each with an input for what it is before the first step."""
    found: list[str] = []
    for k in range(lag):
        line = name if not k and name in equations else f"{name}.back{k}"
        if line != name:
            before = Index(axis) if not k else Index(axis, offset=Dim.of(-1))
            equations[line] = lift(Read(found[-1] if k else name, (before,)))
        own = replace(streams[name], name=line, kind="equation", state=True, boundary=lift(Read(f"{line}.start")))
        streams[line] = own
        streams[f"{line}.start"] = Stream(f"{line}.start", "input", (), own.shape, own.dtype)
        found.append(line)
    return tuple(found)


def _nearer(system: System, axis: str, root: Symbol, lines: Mapping[str, tuple[str, ...]]) -> Symbol:
    """An expression that reads one step back along a line instead of several, and counts its steps from a segment's."""
    table: dict[Symbol, Symbol] = {}
    for node in postorder([root]):
        if isinstance(node.leaf, Position):
            table[node] = node + lift(Read(RUN))
        elif isinstance(node.leaf, Read) and node.leaf.name in lines:
            back = -offset_value(system, node.leaf.index[0].offset)
            if back > 0:
                table[node] = lift(Read(lines[node.leaf.name][back - 1], (Index(axis, offset=Dim.of(-1)),)))
    return rewrite(root, table)


def _outer(loss: Symbol) -> str:
    """`sum` or `mean`: the reduction of a loss, below signs and constant factors."""
    node = loss
    while binds(node) is None:
        node = next(a for a in node.args if not a.is_number)
    assert node.op is not None
    return node.op.name


class Segments:
    """Runs of a model in segments. `settled` is its system with numbers for its sizes, `named` with sizes by name."""

    def __init__(self, settled: System, named: System) -> None:
        self.cut, self._named = cut(settled), cut(named).system
        self._program = Prepared(self.cut.system)
        self._compiled: dict[tuple[str, ...], Compiled] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what is compiled: a copy compiles for itself."""
        return {**self.__dict__, "_compiled": {}}

    def run(
        self, model: Model, data: Arranged, names: Sequence[str], state: State | None, engine: str
    ) -> dict[str, Tensor]:
        """Streams and losses (a value a sequence) on the tape, where they keep √T states."""
        losses = self.cut.losses
        parts = tuple(f"{n}.terms" if n in losses else n for n in names)
        steps = self._steps(data)
        size = max([self.length(steps), *self.cut.categories.values()])
        state_now = self._begin(model, data, state)
        pieces: dict[str, list[Tensor]] = {n: [] for n in parts}
        for a in range(0, max(steps, 1), size):
            segment = self._segment(model, data, a, min(a + size, steps), state)
            run = self._by_tape if engine == "tape" else self._by_program
            found, state_now = run(model, segment, parts, state_now, again=a + size < steps)
            for n in parts:
                pieces[n].append(found[n])
        return {n: self._join(model, n, pieces[part], data) for n, part in zip(names, parts, strict=True)}

    def suits(self, data: Arranged) -> bool:
        """Whether there is more than one segment."""
        steps = self._steps(data)
        return steps > self.length(steps)

    def _steps(self, data: Arranged) -> int:
        given = map(len, self._along(data.arrays).values())
        return max([int(data.lengths[self.cut.axis].max(initial=0)), *given])

    @staticmethod
    def length(steps: int) -> int:
        """Steps of a segment. What a segment keeps while it is differentiated is several times a state, and each costs
        the calls of a run: an eighth of √T segments, or so many more that all are equally long, if twice as many do.
        """
        least = max(1, int(math.sqrt(steps) / 8))
        return math.ceil(steps / next((n for n in range(least, 2 * least) if steps % n == 0), least)) or 1

    def _along(self, arrays: Mapping[str, Any]) -> Arrays:
        streams = self.cut.system.streams
        return {n: v for n, v in arrays.items() if n in streams and streams[n].axes}

    def _begin(self, model: Model, data: Arranged, state: State | None) -> Arrays:
        """What stands before the first step: the state given, else the boundary."""
        streams = model.system.streams
        start: Arrays = {}
        literal = Unrolling(model.program, {**data.arrays, **model.params}, data.lengths, data.batch)
        for name, lines in self.cut.lines.items():
            dtype = np.result_type(model.dtype, np.complex64) if streams[name].dtype == "complex" else model.dtype
            for k, line in enumerate(lines):
                if state is not None:
                    start[f"{line}.start"] = np.ascontiguousarray(state.values[name][-1 - k], dtype)
                elif streams[name].boundary is None:
                    start[f"{line}.start"] = np.zeros((data.batch, *map(int, streams[name].shape)), dtype)
                else:
                    start[f"{line}.start"] = literal.boundary(streams[name], (-1,), literal.batch.all)
        return start

    def _segment(self, model: Model, data: Arranged, a: int, b: int, state: State | None) -> _Segment:
        axis = self.cut.axis
        along = self._along(data.arrays)
        given = {n: (v[a:b] if n in along else v) for n, v in data.arrays.items() if n in self.cut.system.streams}
        carried: Arrays = {}
        for name, lag in self.cut.categories.items():
            if a:
                carried[name] = data.arrays[name][a - lag : a]
            elif state is not None:
                carried[name] = state.values[name]
        began = np.zeros(data.batch, np.int64) if state is None else state.clock[axis]
        given[RUN] = (began + a).astype(model.dtype)
        lengths = data.lengths[axis]
        own = whole(data.batch, b - a) if shortest(lengths) >= b else np.clip(lengths - a, 0, b - a)
        return _Segment(given, {axis: own}, data.batch, carried)

    def _join(self, model: Model, name: str, pieces: list[Tensor], data: Arranged) -> Tensor:
        stream = self.cut.system.streams.get(name)
        if name not in self.cut.losses:
            return REGISTRY["concat"](*pieces, axis=0) if stream is not None and stream.axes else pieces[0]
        total: Tensor = REGISTRY["sum"](REGISTRY["concat"](*pieces, axis=0), axis=0)
        if self.cut.losses[name] == "mean":
            total = total / data.lengths[self.cut.axis].astype(model.dtype)
        return total

    # ------------------------------------------------------------ one segment

    def _by_tape(
        self, model: Model, segment: _Segment, names: tuple[str, ...], start: Arrays, again: bool
    ) -> tuple[Arrays, Arrays]:
        carried = self.cut.carried
        wanted = (*names, *(f"{n}.end" for n in carried))

        def run(given: Arrays) -> list[Any]:
            inputs = {**given, **model.params}
            literal = Unrolling(self._program, inputs, segment.lengths, segment.batch, segment.start)
            literal.execute(wanted)
            return [literal.result(n) for n in wanted]

        found = (remat(run) if again else run)({**segment.given, **start})
        return _sorted(names, carried, [v if isinstance(v, Tensor) else Tensor.wrap(np.asarray(v)) for v in found])

    def _by_program(
        self, model: Model, segment: _Segment, names: tuple[str, ...], start: Arrays, again: bool
    ) -> tuple[Arrays, Arrays]:
        """`again`: keep nothing, and compute the segment again when it is differentiated. The last one comes first."""
        carried = self.cut.carried
        wanted = (*names, *(f"{n}.end" for n in carried))
        compiled = self._engine(wanted, model.dtype.name)
        every = {**model.params, **segment.given, **start}
        sources = [(n, t) for n, t in every.items() if isinstance(t, Tensor)]
        plain = {n: t.data if isinstance(t, Tensor) else t for n, t in every.items()}
        unchanged = model.watch(sources)

        def forward(record: bool) -> tuple[Arrays, Any]:
            return compiled.forward(plain, segment.lengths, segment.batch, wanted, segment.start, record=record)

        arrays, kept = forward(not again)
        outputs = [arrays[n] for n in wanted]

        def pullback(cotangents: list[Any]) -> Sequence[Any]:
            nonlocal kept
            unchanged()
            saved, kept = forward(True)[1] if kept is None else kept, None  # its memory serves the segment before
            given = dict(zip(wanted, cotangents, strict=True))
            grads = compiled.backward(saved, given, tuple(n for n, t in sources if t.requires_grad))
            return [grads.get(n) for n, _ in sources]

        del arrays
        found = custom_node(model.system.name, [t for _, t in sources], outputs, pullback, fresh=True)
        return _sorted(names, carried, found)

    def _engine(self, outside: tuple[str, ...], dtype: str) -> Compiled:
        if outside not in self._compiled:
            from dsl.run.compiled import compile_system

            part = restrict(self._named, needed(self._named, outside, {}))
            self._compiled[outside] = compile_system(part, outside, dtype)
        return self._compiled[outside]


@dataclass(frozen=True)
class _Segment:
    """The data of some steps: streams, lengths, and categories from before them."""

    given: Arrays
    lengths: Mapping[str, Any]
    batch: int
    start: Arrays


def _sorted(names: Sequence[str], carried: Sequence[str], values: Sequence[Any]) -> tuple[Arrays, Arrays]:
    """Values of the streams, and the state that the next segment begins with."""
    ends = values[len(names) :]
    return dict(zip(names, values, strict=False)), {f"{n}.start": v for n, v in zip(carried, ends, strict=True)}


__all__ = ["Cut", "Segments", "cut"]
