"""One planned program, ready to run: its machine code, its tables by shape of data, and shared values by NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

import numpy as np

from dsl.plan.program import PlannedSystem
from dsl.plan.sizes import Shape, Sizer, Sizes
from dsl.run.arenas import Array
from dsl.system.dims import Dim
from dsl.system.system import Read, Size
from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.fourier import work as work_of
from tinygrad_seq.kernels.nests import Nests
from tinygrad_seq.symbol import Symbol, postorder

INTEGER = np.dtype(np.int64)
NOTHING = np.zeros(1)  # in place of an array that generated code will not touch
KEPT_TABLES = 64  # shapes of data whose tables are remembered


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
        entries = [e for table in self.source.stages for e in table if not isinstance(e, int)]
        named = {n for e in entries for n in ((e,) if isinstance(e, str) else e)}
        self.clocked = any(n.startswith("S_") for n in named)  # whether it matters how many steps ran before
        self._sizer: Sizer | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}

    @cached_property
    def handed(self) -> tuple[tuple[str, str], ...]:
        """Streams that loops hand over, and the results that hold them."""
        return tuple((n, d) for n, d in self.normal.names.items() if d in self.source.results)

    @cached_property
    def _carried(self) -> list[tuple[str, tuple[str, ...], int]]:
        """Definitions that loops may begin with: under which names a state holds them, and how far back loops reach."""
        out = []
        for name in self.source.carried:
            place = self.layout.places[name]
            names = (name, *(stream for stream, own in self.normal.names.items() if own == name != stream))
            out.append((name, names, place.pads[place.axes[0]][0]))
        return out

    def carried(self, start: Mapping[str, Array]) -> list[Array]:
        """What the loops begin with of all that a state may hold."""
        out = []
        for name, streams, steps in self._carried:
            value = next((np.asarray(start[s]) for s in streams if s in start), None)
            if value is None:
                out.append(NOTHING)
            else:
                out.append(np.ascontiguousarray(value[max(0, len(value) - steps) :], self.kinds[name]))
        return out

    def held(self, start: Mapping[str, Array]) -> tuple[tuple[str, int], ...]:
        """By definition, the steps already run that loops can reach and a state holds; before those is the boundary."""
        pairs = [(n, min(k, next((len(start[s]) for s in names if s in start), 0))) for n, names, k in self._carried]
        return tuple(pairs)

    @cached_property
    def run(self) -> Nests:
        """Its machine code, compiled or loaded."""
        run: Nests = load_source(self.program.name, self.source.text).run
        return run

    def prepared(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Data and parameters as the loops read them: complex ones in two parts, with what is evaluated before."""
        if self.program.parts:
            inputs = split(inputs, self.program.parts)
        if self.normal.before:
            inputs = {**inputs, **self.evaluate(self.normal.before, inputs)}
        if self._sizer is None:
            self._size(inputs)
        return inputs

    def _size(self, shared: Mapping[str, Array]) -> None:
        """Make what fills tables in; sizes of dims and shared values are the same in all runs."""
        dims = {k: v for k, v in self.system.arguments.items() if isinstance(v, int)}
        shapes = {n: np.shape(v) for n, v in shared.items()}
        self._sizer = Sizer(self.program, dims, shapes)
        shapes.update({n: self.shape(n) for n in (*self.normal.totals, *self.normal.after)})
        products = sum(self._sizer.width(p) * self._sizer.depth(p) for p in self.source.packs)
        units = sum(self.number(d.shape[0]) for d in self.normal.definitions.values() if d.shape)
        transforms = sum(k * work_of(self.number(d) // 2, self.dtype) for d, k in self.source.transforms.items())
        self.work = products + transforms + 4 * units

    def number(self, dim: Dim) -> int:
        """A dim's size; known from the first data on."""
        assert self._sizer is not None
        return self._sizer.number(dim)

    def shape(self, name: str) -> tuple[int, ...]:
        """The feature shape of a stream in numbers."""
        found = self._shapes.get(name)
        if found is None:
            found = self._shapes[name] = tuple(map(self.number, self.normal.streams[name].shape))
        return found

    # ------------------------------------------------------------ tables

    @cached_property
    def _tables(self) -> dict[Any, tuple[Sizes, object]]:
        return {}

    def sized(self, shape: Shape, before: tuple[Executable, Sizes] | None) -> Sizes:
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


def split(values: Mapping[str, Array], parts: Mapping[str, tuple[str, str]]) -> dict[str, Array]:
    """Complex arrays beside their real and imaginary parts, under the parts' names."""
    out = dict(values)
    for name, (re, im) in parts.items():
        if name in values:
            value = np.asarray(values[name])
            out[re], out[im] = value.real, value.imag
    return out


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


__all__ = ["INTEGER", "NOTHING", "Executable", "precision", "split"]
