"""One planned program, ready to run: its machine code, its tables by shape of data, and shared values by NumPy.

What depends on the shape of a batch alone (how it is cut into parts, their tables, lengths and active rows, what its
results look like) is worked out once a shape, a `Frame`: a call of a small cell takes tens of microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from dsl.plan.program import PlannedSystem
from dsl.plan.sizes import Shape, Sizer, Sizes, joined
from dsl.run.arenas import Array
from dsl.run.rows import Ints, is_whole
from dsl.system.dims import Dim
from dsl.system.system import Read, Size
from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.threads import parts as parts_of
from tinygrad_seq.symbol import Symbol, postorder

CHUNK_ROWS = 128
INTEGER = np.dtype(np.int64)
NOTHING = np.zeros(1)  # in place of an array that generated code will not touch
KEPT_TABLES = 64  # shapes of data whose tables are remembered


@dataclass(frozen=True, eq=False)
class Share:
    """One thread's part of a batch: its rows' places there, lengths by axis and row, active rows by axis and step."""

    rows: Array
    lengths: Array
    counts: Array
    sizes: Sizes


@dataclass(frozen=True, eq=False)
class Frame:
    """What the calls of a program on data of one shape share: the parts of the batch, and the arrays to be filled."""

    shares: tuple[Share, ...]
    results: tuple[tuple[str, tuple[int, ...], np.dtype[Any]], ...]  # a stream, the shape of its values, their dtype
    totals: tuple[tuple[str, tuple[int, ...]], ...]
    filled: bool  # every sequence has every step, so that nothing of a result is left as it was
    whole: Array | None  # the table of all that is done, where one thread does it in one go


@dataclass(frozen=True, eq=False)
class Call:
    """What a program's shares depend on: the batch, its steps and lengths, and what state is given.

    carried   streams with steps already run, and how many of those are given
    clock     axis -> the step (B,) where each sequence goes on

    Whoever makes calls hands out the same one for data of the same shape: frames are remembered in it.
    """

    batch: int
    steps: tuple[tuple[str, int], ...]
    lengths: Mapping[str, Ints]
    carried: frozenset[tuple[str, int]] = frozenset()
    clock: Mapping[str, Array] | None = None
    frames: dict[tuple[object, object], Frame] = field(default_factory=dict)
    _carrying: dict[frozenset[tuple[str, int]], Call] = field(default_factory=dict)

    @cached_property
    def most(self) -> int:
        """Steps of the longest axis."""
        return max((n for _, n in self.steps), default=1)

    @cached_property
    def ragged(self) -> bool:
        return not all(is_whole(self.lengths[a], n) for a, n in self.steps)

    def carrying(self, carried: frozenset[tuple[str, int]]) -> Call:
        """This call with a state given."""
        if carried not in self._carrying:
            self._carrying[carried] = replace(self, carried=carried, frames={}, _carrying={})
        return self._carrying[carried]


class Executable:
    """A system, planned for some wanted streams and compiled on first use."""

    def __init__(self, program: PlannedSystem) -> None:
        self.program, self.system, self.dtype = program, program.system, program.dtype
        self.normal, self.layout, self.source = program.normal, program.layout, program.source
        self.work = 0  # multiply-adds of one step of one sequence, elementwise operations counted as four
        self.real = np.dtype(self.dtype)
        self.roles = object(), object(), object()  # of its real arrays, its categories and its shared values in arenas
        self.kinds = {  # of the arrays that generated code reads and writes
            n: INTEGER if d.dtype == "category" else self.real for n, d in self.normal.definitions.items()
        }
        self.needs = {
            n: {x.leaf.name for x in postorder([r]) if isinstance(x.leaf, Read)}
            for n, r in {**self.normal.before, **self.normal.after}.items()
        }
        self.given = tuple((n, self.kinds[n]) for n in self.source.inputs)
        self.nothing = [NOTHING] * len(self.source.carried)  # where a run begins at the beginning
        self._sizer: Sizer | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}

    @cached_property
    def handed(self) -> tuple[tuple[str, str], ...]:
        """Streams that loops hand over, and the results that hold them."""
        return tuple((n, d) for n, d in self.normal.names.items() if d in self.source.results)

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

    def shape(self, name: str) -> tuple[int, ...]:
        """The feature shape of a stream in numbers."""
        found = self._shapes.get(name)
        if found is None:
            assert self._sizer is not None
            found = self._shapes[name] = tuple(self._sizer.number(d) for d in self.normal.streams[name].shape)
        return found

    # ------------------------------------------------------------ parts of a batch

    def frame(self, call: Call, forward: tuple[Executable, Frame] | None) -> Frame:
        """What is the same in all calls like this; `forward`: the run whose memory a backward run reads."""
        if forward is None:
            count = parts_of(call.batch, self.work * call.batch * call.most)
            key: tuple[object, object] = self, count
        else:
            count, key = len(forward[1].shares), (self, forward[1])
        found = call.frames.get(key)
        if found is None:
            found = call.frames[key] = self._framed(call, count, forward)
        return found

    def _framed(self, call: Call, count: int, forward: tuple[Executable, Frame] | None) -> Frame:
        assert self._sizer is not None
        steps, results = dict(call.steps), []
        for name in self.source.results:
            definition = self.normal.definitions[name]
            features = () if definition.dtype == "category" else map(self._sizer.number, definition.shape)
            results.append((name, (*(steps[a] for a in definition.axes), call.batch, *features), self.kinds[name]))
        before = None if forward is None else (forward[0], forward[1].shares)
        shares = self._cut(call, count, before)
        whole = None
        if len(shares) == len(self.source.stages) == 1:
            sizes = shares[0].sizes
            whole = joined((sizes.preparing, *sizes.stages, *sizes.collecting))
        totals = tuple((n, self.shape(n)) for n in self.normal.totals)
        return Frame(shares, tuple(results), totals, not call.ragged and call.clock is None, whole)

    def _cut(self, call: Call, count: int, forward: tuple[Executable, tuple[Share, ...]] | None) -> tuple[Share, ...]:
        rows = [s.rows for s in forward[1]] if forward is not None else _split(call, count)
        shares = []
        for k, own in enumerate(rows):
            chunk = max(1, CHUNK_ROWS // max(1, len(own)))
            shape = Shape(call.steps, len(own), call.batch, chunk, call.ragged, call.carried)
            sizes = self._sized(shape, None if forward is None else (forward[0], forward[1][k].sizes))
            shares.append(Share(own, *_bounds(call, own, sizes), sizes))
        return tuple(shares)

    @cached_property
    def _tables(self) -> dict[Any, tuple[Sizes, object]]:
        return {}

    def _sized(self, shape: Shape, before: tuple[Executable, Sizes] | None) -> Sizes:
        """The table for one shape of data."""
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

    def shared(self, known: Mapping[str, Array]) -> list[Array]:
        """What is packed for the loops; zeros for what only a later stage knows and needs."""
        try:
            return [np.ascontiguousarray(known[n], self.real) for n in self.source.shared]
        except KeyError:
            absent = {n: np.zeros(self.shape(n)) for n in self.source.shared if n not in known}
            return self.shared({**known, **absent})

    def evaluate(self, equations: Mapping[str, Symbol], known: Mapping[str, Array]) -> dict[str, Array]:
        """Values of those shared equations that are made of `known` ones, by NumPy, in order of dependence."""
        if not equations:
            return {}
        values = dict(known)
        made = (*self.normal.totals, *self.normal.before, *self.normal.after)
        late = dict.fromkeys(n for n in made if n not in known)
        dims = {k: v for k, v in self.system.arguments.items() if isinstance(v, int | Dim)}
        while ready := [n for n in equations if n in late and not late.keys() & self.needs[n]]:
            for name in ready:
                values[name] = evaluate(equations[name], values, dims, self.dtype)
                del late[name]
        return {n: values[n] for n in equations if n not in known and n in values}


def _split(call: Call, count: int) -> list[Array]:
    """Each part's rows: neighbours, or in a ragged batch alternate ones, sorted by length on the longest axis."""
    if call.ragged and call.steps:
        primary = max((a for a, _ in call.steps), key=lambda a: int(call.lengths[a].sum()))
        order = np.argsort(-call.lengths[primary], kind="stable").astype(np.int64)
        return [np.ascontiguousarray(order[k::count]) for k in range(count)]
    edges = [call.batch * k // count for k in range(count + 1)]
    return [np.arange(a, b, dtype=np.int64) for a, b in zip(edges, edges[1:], strict=False)]


def _bounds(call: Call, rows: Array, sizes: Sizes) -> tuple[Array, Array]:
    """Lengths (and clocks, and whether rows are out of order) by axis and row; active rows by axis and step."""
    lengths, counts = np.zeros(sizes.lengths, np.int64), np.zeros(sizes.counts, np.int64)
    counts[0] = n = len(rows)
    for axis, steps in call.steps:
        own = call.lengths[axis][rows]
        lengths[sizes.at[f"l_{axis}"] :][:n] = own
        if call.clock is not None and axis in call.clock:
            lengths[sizes.at[f"S_{axis}"] :][:n] = np.asarray(call.clock[axis])[rows]
        reach = np.maximum.accumulate(own[::-1])[::-1]  # the longest from this row on
        counts[sizes.at[f"c_{axis}"] :][:steps] = (reach[None, :] > np.arange(steps)[:, None]).sum(axis=1)
        lengths[sizes.at[f"u_{axis}"]] = int((own[1:] > own[:-1]).any())
    return lengths, counts


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


@cache
def precision(is_complex: bool, dtype: str) -> np.dtype[Any]:
    """The engine's dtype for real or complex values."""
    return np.result_type(dtype, np.complex64) if is_complex else np.dtype(dtype)


__all__ = ["INTEGER", "NOTHING", "Call", "Executable", "Share", "precision"]
