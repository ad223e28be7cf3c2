"""The compiled engine: a system and its adjoint, each planned, generated, compiled once and run on arrays.

`forward` runs the system, `backward` its adjoint: two systems down one road. The batch is cut into parts, one
a thread, each with arenas of its own; sums over sequences are added up afterwards. What `forward` saves
leases its arenas, so several runs can be alive and each can be differentiated more than once.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsl.plan.assemble import ARRAYS
from dsl.plan.program import Plans, Program
from dsl.plan.sizes import Shape, Sizer, Sizes
from dsl.run.rows import derived_lengths
from dsl.system.dims import Dim
from dsl.system.system import Read, Size, System
from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.product import padded
from tinygrad_seq.kernels.threads import parts as parts_of
from tinygrad_seq.kernels.threads import run_parts
from tinygrad_seq.symbol import Symbol, postorder

Array = NDArray[Any]
CHUNK_ROWS = 128
NOTHING = np.zeros(1)  # in place of an array that generated code will not touch
KEPT_TABLES = 64  # shapes of data whose tables are remembered


class Arena:
    """Reusable flat arrays by dtype and size; what is taken is given back, or dropped with its holder."""

    def __init__(self) -> None:
        self._free: dict[tuple[str, int], list[Array]] = {}
        self._lock = threading.Lock()

    def take(self, size: int, dtype: Any) -> Array:
        key = (np.dtype(dtype).str, size)
        with self._lock:
            free = self._free.get(key)
            if free:
                return free.pop()
        whole = np.zeros(size + 64, dtype)
        shift = (-whole.ctypes.data // whole.itemsize) % (64 // whole.itemsize)
        return whole[shift : shift + size]

    def give(self, array: Array) -> None:
        with self._lock:
            free = self._free.setdefault((array.dtype.str, len(array)), [])
            if len(free) < 8:
                free.append(array)


@dataclass
class Part:
    """One thread's share of a batch: its rows' places in the batch, and its memory."""

    rows: Array
    lengths: Array
    counts: Array
    sizes: Sizes
    reals: Array
    categories: Array


@dataclass
class Saved:
    """What a recorded forward run keeps for its adjoint: inputs, and the parts with their arenas on lease."""

    program: Executable
    inputs: Mapping[str, Array]
    lengths: Mapping[str, Array]
    batch: int
    steps: tuple[tuple[str, int], ...]
    parts: list[Part]
    clock: Mapping[str, Array] | None
    start: Mapping[str, Array] | None
    lessor: Arena = field(repr=False)

    def __del__(self) -> None:
        for part in self.parts:
            self.lessor.give(part.reals)
            self.lessor.give(part.categories)


class Addresses:
    """Where arrays lie, for generated code: they must be contiguous, and outlive the call.

    NumPy takes microseconds to say; most arrays are those of the call before, so its answers are remembered.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, int], tuple[weakref.ref[Array], int, int]] = {}

    def of(self, arrays: Sequence[Array], key: object) -> list[int]:
        """`key`: what these arrays are to the caller; the next call with it is likely to bring the same ones."""
        out = []
        for k, a in enumerate(arrays):
            found = self._known.get((key, k))
            if found is None or found[0]() is not a or found[1] != a.nbytes:
                found = self._known[key, k] = (weakref.ref(a), a.nbytes, a.__array_interface__["data"][0])
            out.append(found[2])
        return out


class Executable:
    """One system, planned for some wanted streams and compiled on first use."""

    def __init__(self, program: Program) -> None:
        self.program, self.system, self.dtype = program, program.system, program.dtype
        self.normal, self.layout, self.source = program.normal, program.layout, program.source
        self.work = 0  # multiply-adds of one step of one sequence, elementwise operations counted as four
        self.addresses = Addresses()
        self._sizer: Sizer | None = None
        self._forms: dict[str, tuple[str, tuple[int, ...], str]] = {}
        self._tables: dict[Any, tuple[Sizes, tuple[Executable, Sizes] | None]] = {}
        self._uniform: dict[Shape, tuple[Array, Array]] = {}

    @cached_property
    def module(self) -> Any:
        return load_source(self.program.name, self.source.text)

    def sizer(self, shared: Mapping[str, Array]) -> Sizer:
        """What fills tables in; sizes of dims and shared values are the same in all runs."""
        if self._sizer is None:
            dims = {k: v for k, v in self.system.arguments.items() if isinstance(v, int)}
            shapes = {n: np.shape(v) for n, v in shared.items()}
            self._sizer = Sizer(self.program, dims, shapes)
            shapes.update({n: self.shape(n) for n in (*self.normal.totals, *self.normal.after)})
            products = sum(self._sizer.width(p) * self._sizer.depth(p) for p in self.source.packs)
            units = sum(self._sizer.number(d.shape[0]) for d in self.normal.definitions.values() if d.shape)
            self.work = products + 4 * units
        return self._sizer

    def form(self, total: str) -> tuple[str, tuple[int, ...], str]:
        """A total's kind, shape and name in the table, looked up once."""
        found = self._forms.get(total)
        if found is None:
            assert self._sizer is not None
            kind, dims = self.source.totals[total]
            shape = tuple(map(self._sizer.number, dims))
            found = self._forms[total] = (kind, shape, self.layout.places[total].ident)
        return found

    def sized(self, shape: Shape, before: tuple[Executable, Sizes] | None) -> Sizes:
        """The table for one shape of data; `before`: the forward run whose memory a backward run reads."""
        key = (shape, None if before is None else id(before[1]))
        found = self._tables.get(key)
        if found is None:
            assert self._sizer is not None
            if len(self._tables) >= KEPT_TABLES:
                self._tables.clear()
            sizes = self._sizer.fill(shape, None if before is None else self._offsets(*before))
            found = self._tables[key] = (sizes, before)  # `before` stays alive, so that its id stays its own
        return found[0]

    def _offsets(self, forward: Executable, sizes: Sizes) -> dict[str, int]:
        """Offsets and strides in the forward run's arenas, under this plan's names."""
        out: dict[str, int] = {}
        for place in self.layout.places.values():
            if place.array in "FJ":
                there = forward.program.place_of(place.name)
                for letter in "ow":
                    out[f"{letter}_{place.ident}"] = sizes.at[f"{letter}_{there.ident}"]
        return out

    # ------------------------------------------------------------ shared values

    def shared(
        self, inputs: Mapping[str, Array], equations: Mapping[str, Symbol], known: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """Values of shared equations, by NumPy, in order of dependence."""
        values: dict[str, Array] = dict(known or {})
        pending = dict(equations)
        dims = {k: v for k, v in self.system.arguments.items() if isinstance(v, int | Dim)}
        while pending:
            progress = False
            for name, root in list(pending.items()):
                names = {n.leaf.name for n in postorder([root]) if isinstance(n.leaf, Read)}
                if names & pending.keys():
                    continue
                values[name] = evaluate(root, {**inputs, **values}, dims, self.dtype)
                del pending[name]
                progress = True
            if not progress:
                raise ValueError(f"shared values depend on each other: {', '.join(pending)}")
        return values

    def shape(self, name: str) -> tuple[int, ...]:
        """The feature shape of a stream in numbers."""
        assert self._sizer is not None
        return tuple(self._sizer.number(d) for d in self.normal.streams[name].shape)

    def parameters(self, inputs: Mapping[str, Array], sizes: Sizes, room: Array) -> None:
        """Pack what the loops read of shared values into `room`; what is not known yet, a later stage needs."""
        at, source = sizes.at, self.source
        for name in (n for n in source.vectors if n in inputs):
            value = np.atleast_1d(np.asarray(inputs[name]))
            value = value.reshape(-1, value.shape[-1])
            start, stride = at[f"o_P_{source.idents[name]}"], padded(value.shape[1], self.dtype)
            stride = value.size if len(value) == 1 else stride
            room[start : start + len(value) * stride].reshape(len(value), stride)[:, : value.shape[1]] = value
        for name in (n for n in source.tables if n in inputs):
            matrix = inputs[name]
            h, k = matrix.shape
            ident = f"{source.idents[name]}_columns"
            start, stride = at[f"o_{ident}"], at[f"w_{ident}"]
            room[start : start + (k + 1) * stride].reshape(k + 1, stride)[1:, :h] = matrix.T
        if source.packs:
            unknown = {w: np.zeros(self.shape(w)) for w in source.weights if w not in inputs}
            matrices = [np.ascontiguousarray({**unknown, **inputs}[w], self.dtype) for w in source.weights]
            given = len(ARRAYS) + len(source.inputs) + len(source.results) + len(source.carried)
            places = [0] * given + self.addresses.of(matrices, "matrices")
            places[ARRAYS.index("P")] = self.addresses.of([room], "room")[0]
            self.module.run(np.array(places, np.int64), sizes.preparing)


def evaluate(root: Symbol, values: Mapping[str, Array], dims: Mapping[str, Any], dtype: str) -> Array:
    """A shared expression's value by the primitives themselves."""
    done: dict[Symbol, Any] = {}

    def number(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(number(v) for v in value)
        return int(value.bind(dims)) if isinstance(value, Dim) else value

    for node in postorder([root]):
        leaf = node.leaf
        if node.op is not None:
            done[node] = node.op.impl(*(done[a] for a in node.args), **{k: number(v) for k, v in node.static})
        elif isinstance(leaf, Read):
            done[node] = np.asarray(values[leaf.name])
        elif isinstance(leaf, Size):
            done[node] = number(leaf.dim)
        else:
            done[node] = leaf
    return np.asarray(done[root], precision(np.iscomplexobj(done[root]), dtype))


def precision(is_complex: bool, dtype: str) -> np.dtype[Any]:
    """The engine's dtype for real or complex values."""
    return np.result_type(dtype, np.complex64) if is_complex else np.dtype(dtype)


def split(values: Mapping[str, Array], parts: Mapping[str, tuple[str, str]]) -> dict[str, Array]:
    """Complex arrays beside their real and imaginary parts, under the parts' names."""
    out = dict(values)
    for name, (re, im) in parts.items():
        if name in values:
            value = np.asarray(values[name])
            out[re], out[im] = value.real, value.imag
    return out


@dataclass
class Compiled:
    """A system's forward and backward runs. Made by `compile_system`."""

    system: System
    outside: tuple[str, ...]
    dtype: str
    arena: Arena = field(default_factory=Arena)
    _executables: dict[str, Executable] = field(default_factory=dict)

    @cached_property
    def plans(self) -> Plans:
        return Plans(self.system, self.outside, self.dtype)

    def executable(self, program: Program) -> Executable:
        """The program's executable; equal programs share one."""
        return self._executables.setdefault(program.key, Executable(program))

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
        base = {a: np.asarray(v, np.int64) for a, v in lengths.items()}
        known = derived_lengths(self.system.axes, base, batch)
        steps = self._steps(inputs, known)
        run = _Run(self, program, dict(inputs), known, steps, batch, start, clock)
        parts = run.parts()
        values = run.execute(parts)
        held = {n: v for n, v in run.inputs.items() if n in self.system.streams}  # with shared values, computed once
        if record:
            held.update({n: values[n] for n in self.plans.totals})
        saved = Saved(program, held, known, batch, steps, parts, clock, start, self.arena)
        return {n: values[n] for n in want}, saved if record else None

    def backward(self, saved: Saved, cotangents: Mapping[str, Array | None], wrt: tuple[str, ...]) -> dict[str, Array]:
        """Gradients of `wrt`, summed over the sequences for parameters. Cotangents not given count as zero."""
        derived = self.plans.derived
        program = self.executable(self.plans.backward(saved.program.program, tuple(wrt)))
        inputs: dict[str, Array] = dict(saved.inputs)
        for name, given in derived.cotangents.items():
            value = cotangents.get(name)
            stream = derived.system.streams[given]
            lead = () if stream.shared else (*(dict(saved.steps)[a] for a in stream.axes), saved.batch)
            shape = (*lead, *(int(d.bind(self._dims)) for d in stream.shape))
            dtype = precision(stream.dtype == "complex", self.dtype)
            inputs[given] = np.zeros(shape, dtype) if value is None else np.asarray(value, dtype)
        run = _Run(self, program, inputs, saved.lengths, saved.steps, saved.batch, saved.start, saved.clock)
        values = run.execute(run.parts(saved), saved)
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
    """One execution of a program: parts, calls, results."""

    def __init__(
        self,
        compiled: Compiled,
        program: Executable,
        inputs: dict[str, Array],
        lengths: Mapping[str, Array],
        steps: tuple[tuple[str, int], ...],
        batch: int,
        start: Mapping[str, Array] | None,
        clock: Mapping[str, Array] | None,
    ) -> None:
        self.compiled, self.program, self.arena = compiled, program, compiled.arena
        self.lengths, self.steps, self.batch, self.clock = lengths, steps, batch, clock
        parts = program.program.parts
        inputs, self.start = split(inputs, parts), split(start, parts) if start else start
        shared = program.shared(inputs, program.normal.before)
        self.inputs = {**inputs, **shared}
        self.dtype = program.dtype
        self.sizer = program.sizer(self.inputs)
        self.ragged = any(
            len(v) and (v != n).any() for (_, n), v in zip(steps, (lengths[a] for a, _ in steps), strict=True)
        )

    # ------------------------------------------------------------ parts

    def parts(self, saved: Saved | None = None) -> list[Part]:
        """Shares of the batch; a backward run keeps those of the forward run it belongs to."""
        rows = [p.rows for p in saved.parts] if saved is not None else self._split()
        out = []
        for k, own in enumerate(rows):
            chunk = max(1, CHUNK_ROWS // max(1, len(own)))
            carried = frozenset((n, self._held(n)) for n in self.program.source.carried) if self.start else frozenset()
            shape = Shape(self.steps, len(own), self.batch, chunk, self.ragged, carried)
            sizes = self.program.sized(shape, None if saved is None else (saved.program, saved.parts[k].sizes))
            lengths, counts = self._bounds(own, sizes, shape)
            reals = self.arena.take(sizes.reals, self.dtype)
            categories = self.arena.take(sizes.categories, np.int64)
            out.append(Part(own, lengths, counts, sizes, reals, categories))
        return out

    def _split(self) -> list[Array]:
        """Each part's rows: neighbours, or in a ragged batch alternate ones, sorted by length on the longest axis."""
        count = parts_of(self.batch, self.program.work * self.batch)
        if self.ragged and self.steps:
            primary = max((a for a, _ in self.steps), key=lambda a: int(self.lengths[a].sum()))
            order = np.argsort(-self.lengths[primary], kind="stable").astype(np.int64)
            return [np.ascontiguousarray(order[k::count]) for k in range(count)]
        edges = [self.batch * k // count for k in range(count + 1)]
        return [np.arange(a, b, dtype=np.int64) for a, b in zip(edges, edges[1:], strict=False)]

    def _bounds(self, rows: Array, sizes: Sizes, shape: Shape) -> tuple[Array, Array]:
        """Lengths by axis and row, active rows by axis and step: the same for all batches of whole sequences."""
        if self.ragged or self.clock is not None:
            return self._lengths(rows, sizes)
        if shape not in self.program._uniform:
            if len(self.program._uniform) >= KEPT_TABLES:
                self.program._uniform.clear()
            self.program._uniform[shape] = self._lengths(rows, sizes)
        return self.program._uniform[shape]

    def _lengths(self, rows: Array, sizes: Sizes) -> tuple[Array, Array]:
        lengths, counts = np.zeros(sizes.lengths, np.int64), np.zeros(sizes.counts, np.int64)
        counts[0] = n = len(rows)
        for axis, steps in self.steps:
            own = self.lengths[axis][rows]
            lengths[sizes.at[f"l_{axis}"] :][:n] = own
            if self.clock is not None and axis in self.clock:
                lengths[sizes.at[f"S_{axis}"] :][:n] = np.asarray(self.clock[axis])[rows]
            reach = np.maximum.accumulate(own[::-1])[::-1]  # the longest from this row on
            counts[sizes.at[f"c_{axis}"] :][:steps] = (reach[None, :] > np.arange(steps)[:, None]).sum(axis=1)
            lengths[sizes.at[f"u_{axis}"]] = int((own[1:] > own[:-1]).any())
        return lengths, counts

    def _started(self, name: str) -> Array | None:
        assert self.start is not None
        for stream, value in self.start.items():
            if stream == name or self.program.normal.names.get(stream) == name:
                return np.asarray(value)
        return None

    # ------------------------------------------------------------ calls

    def execute(self, parts: Sequence[Part], saved: Saved | None = None) -> dict[str, Array]:
        """Run all parts and collect values; a backward run's arenas are free again."""
        program, source = self.program, self.program.source
        results = {n: self._result(n) for n in source.results}
        named: list[Array] = []
        for name in source.inputs:
            definition = program.normal.definitions[name]
            dtype = np.int64 if definition.dtype == "category" else self.dtype
            named.append(np.ascontiguousarray(self.inputs[name], dtype))
        named += [results[n] for n in source.results]
        named += [self._carried(n) for n in source.carried]
        if parts and self.batch:
            room = self.arena.take(parts[0].sizes.parameters, self.dtype)
            old = saved.parts if saved is not None else parts
            outside = program.addresses.of(named, "named")
            known: Mapping[str, Array] = self.inputs
            for stage in range(len(source.stages)):
                if stage:
                    known = {**self.inputs, **self._summed(parts, stage)}
                program.parameters(known, parts[0].sizes, room)
                run_parts([self._call(k, p, old[k], room, outside, stage) for k, p in enumerate(parts)])
            self.arena.give(room)
        values = self._collect(results, parts)
        if saved is not None:
            for p in parts:
                self.arena.give(p.reals)
                self.arena.give(p.categories)
        return values

    def _call(self, k: int, p: Part, old: Part, room: Array, outside: list[int], stage: int) -> Callable[[], None]:
        own = (p.reals, p.categories, old.reals, old.categories, room, p.lengths, p.counts, p.rows)
        run, places = self.program.module.run, np.array(self.program.addresses.of(own, k) + outside, np.int64)
        return lambda: run(places, p.sizes.stages[stage])

    def _result(self, name: str) -> Array:
        definition = self.program.normal.definitions[name]
        shape = (*(dict(self.steps)[a] for a in definition.axes), self.batch)
        if definition.dtype == "category":
            return np.full(shape, -1, np.int64)
        return np.zeros((*shape, *(self.sizer.number(d) for d in definition.shape)), self.dtype)

    def _carried(self, name: str) -> Array:
        definition = self.program.normal.definitions[name]
        dtype = np.int64 if definition.dtype == "category" else self.dtype
        value = self._started(name) if self.start else None
        if value is None:
            return NOTHING
        return np.ascontiguousarray(value[len(value) - self._held(name) :], dtype)

    def _held(self, name: str) -> int:
        """Steps already run that loops can reach and the caller gives; before those is the boundary."""
        place, value = self.program.layout.places[name], self._started(name)
        return 0 if value is None else min(place.pads[place.axes[0]][0], len(value))

    def _collect(self, results: Mapping[str, Array], parts: Sequence[Part]) -> dict[str, Array]:
        normal = self.program.normal
        values: dict[str, Array] = {}
        for name, definition in normal.names.items():
            if definition in results:
                values[name] = results[definition]
        for name in normal.before:
            values[name] = self.inputs[name]
        for name, (re, im) in self.program.program.parts.items():
            if re in values and im in values:
                values[name] = values[re] + 1j * values[im]
        return {**values, **self._summed(parts, len(self.program.source.stages))}

    def _summed(self, parts: Sequence[Part], stage: int) -> dict[str, Array]:
        """Totals over the sequences that are known when `stage` begins, and what is made of them."""
        normal = self.program.normal
        values: dict[str, Array] = {}
        for name, contributions in normal.totals.items():
            if any(normal.stages.get(d, 0) >= stage for d, _ in contributions):
                continue
            total: Any = 0
            for definition, turn in contributions:
                for part in parts:
                    piece = self._total(definition, part)
                    total = total + (piece.T if turn else piece)
            values[name] = np.asarray(total, self.dtype)
        if not normal.after:
            return values
        known = {**self.inputs, **values}
        late = {n for n in (*normal.totals, *normal.after) if n not in known}
        needs = {n: {x.leaf.name for x in postorder([r]) if isinstance(x.leaf, Read)} for n, r in normal.after.items()}
        ready: dict[str, Symbol] = {}
        while found := [n for n in normal.after if n in late and not late & needs[n]]:
            ready.update({n: normal.after[n] for n in found})  # one may be made of another that stands behind it
            late.difference_update(found)
        return {**values, **self.program.shared(known, ready)}

    def _total(self, name: str, part: Part) -> Array:
        kind, shape, ident = self.program.form(name)
        at = part.sizes.at
        start, stride = at[f"o_{ident}"], at[f"w_{ident}"]
        region = part.reals[start : start + at[f"q_{ident}"]]
        if kind == "scatter":
            return region.reshape(-1, stride)[1 : shape[1] + 1, : shape[0]].T
        if kind == "outer":
            return region.reshape(-1, stride)[: shape[0], : shape[1]]
        if not shape:
            return np.asarray(region[0])
        return region.reshape(*shape[:-1], -1)[..., : shape[-1]]


def compile_system(system: System, outside: tuple[str, ...] | None, dtype: Any) -> Compiled:
    """The compiled engine of a system whose cotangents come in at `outside` (default: outputs and losses)."""
    names = outside if outside is not None else (*system.outputs, *system.losses)
    return Compiled(system, tuple(names), np.dtype(dtype).name)


__all__ = ["Compiled", "Executable", "Saved", "compile_system"]
