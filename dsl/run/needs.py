"""What a cell needs of its data: sizes, streams, lengths, steps, a state that fits. Nothing here computes a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsl.run.carry import State
from dsl.run.inputs import Arranged, expected, fed
from dsl.run.program import needed
from dsl.run.rows import derived_lengths, shortest
from dsl.run.unroll import EMPTY_IS_AN_ERROR
from dsl.system.dims import Dim
from dsl.system.kinds import Kinds, named_axis
from dsl.system.system import System
from tinygrad_seq.symbol import postorder


class OpenSizes(ValueError):
    """Sizes that nothing gives. The message is for Python, `at_shell` for a command line."""

    def __init__(self, cell: str, names: Sequence[str]) -> None:
        hint, lacking = ", ".join(f"{n}=..." for n in names), ", ".join(names)
        super().__init__(f"{cell}: {lacking} not given: build({hint}), or like={{stream: data}} to read sizes off")
        self.at_shell = f"{cell} needs {lacking}: give {hint.replace(',', '')}"


class Needs:
    """What can be computed from what; answers are remembered by the names of the data."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._reductions: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {}  # operation and axis
        self._found: dict[tuple[str, ...], tuple[list[str], tuple[str, ...]]] = {}  # missing streams, free axes
        self._computable: dict[object, tuple[str, ...]] = {}

    def computable(self, data: Arranged) -> tuple[str, ...]:
        """Outputs and losses that need nothing which is not given."""
        key = (*data.arrays, None, *data.lengths)
        if key not in self._computable:
            wanted = dict.fromkeys([*self.system.outputs, *self.system.losses])
            self._computable[key] = tuple(n for n in wanted if not self.missing(n, data))
        return self._computable[key]

    def missing(self, name: str, data: Arranged) -> list[str]:
        """What a stream needs and the data lacks: streams, or "lengths of" an axis."""
        key = (name, *data.arrays)
        if key not in self._found:
            streams, axes = self.system.streams, self.system.axes
            names = needed(self.system, [name], data.arrays)
            missing = [n for n in names if streams[n].kind in ("input", "draw") and n not in data.arrays]
            base = dict.fromkeys(a for n in names for a in streams[n].axes if axes[a].length is None)
            self._found[key] = missing, tuple(base)
        missing, free = self._found[key]
        return missing or [f"lengths of {a}" for a in free if a not in data.lengths]

    def lacking(self, data: Arranged) -> str:
        """What would have to be given for the output or loss that lacks least, for a message."""
        wanted = [*self.system.outputs, *self.system.losses]
        if not wanted:
            return "outputs and losses: the cell has none"
        parts = []
        for name in min((self.missing(n, data) for n in wanted), key=len):
            stream = self.system.streams.get(name)
            parts.append(f"{name}, expected {expected(stream)}" if stream is not None else name)
        return "; ".join(parts)

    def check_steps(self, names: tuple[str, ...], data: Arranged) -> None:
        """Errors: ValueError for a mean, maximum or softmax over an axis on which a sequence has no steps."""
        if names not in self._reductions:
            found: dict[tuple[str, str], None] = {}
            for name in needed(self.system, names, {}):
                for node in postorder([self.system.equations[name]]) if name in self.system.equations else ():
                    axis = named_axis(node)
                    if axis is not None and node.op is not None and node.op.name in EMPTY_IS_AN_ERROR:
                        found[node.op.name, axis] = None
            self._reductions[names] = tuple(found)
        if not self._reductions[names]:
            return
        lengths = data.lengths
        if any(axis not in lengths for _, axis in self._reductions[names]):
            lengths = derived_lengths(self.system.axes, lengths, data.batch)
        for op, axis in self._reductions[names]:
            if not shortest(lengths[axis]):
                culprit = int(lengths[axis].argmin())
                raise ValueError(f"{op}[{axis}] of sequence {culprit}, which has no steps on {axis}")

    def check_state(self, state: State, data: Arranged, held: Mapping[str, int]) -> None:
        """Errors: ValueError for a state that is not one of this cell and batch."""
        if state.batch != data.batch:
            raise ValueError(f"state: expected one of {data.batch} sequences, given one of {state.batch}")
        if set(held) != set(state.values):
            raise ValueError(f"state: {self.system.name} carries {', '.join(held)}, given {', '.join(state.values)}")
        for name, lag in held.items():
            stream = self.system.streams[name]
            shape = (lag, data.batch, *(() if stream.dtype == "category" else map(int, stream.shape)))
            if state.values[name].shape != shape:
                raise ValueError(f"state of {name}: expected {shape}, given {state.values[name].shape}")


def settle(system: System, like: Mapping[str, Any]) -> dict[str, int]:
    """The integer arguments of a system: given ones, then those that data in `like` shows.

    A feature dim that is one argument (`D`) is read off an array's last axes, a number of categories off the
    largest. Errors: ValueError for data that contradicts itself and for a size nothing gives.
    """
    sizes = {n: v for n, v in system.arguments.items() if isinstance(v, int)}
    for name, value in like.items():
        stream = system.streams.get(name)
        if stream is None or stream.kind not in ("input", "draw"):
            raise ValueError(f"like: {system.name} has no input {name}; it has {', '.join(fed(system)) or 'none'}")
        items = value if isinstance(value, list | tuple) and len(value) and np.ndim(value[0]) else [value]
        shape = np.shape(items[0])
        dims: tuple[Dim | None, ...]
        if stream.dtype == "category":
            dims, found = (stream.categories,), (max(int(np.max(v)) for v in items) + 1,)
        else:
            dims, found = stream.shape, shape[len(shape) - len(stream.shape) :]
        for dim, size in zip(dims, found, strict=True):
            names = dim.names if dim is not None else set()
            if len(names) == 1 and dim == next(iter(names)) and sizes.setdefault(next(iter(names)), size) != size:
                if stream.dtype != "category" or size > sizes[next(iter(names))]:
                    raise ValueError(f"like: {name} has {dim} = {size}, given {sizes[next(iter(names))]}")
    if open_ := [n for n, v in system.arguments.items() if v is None and n not in sizes]:
        raise OpenSizes(system.name, open_)
    check_sizes(system, sizes)
    _parts(system, sizes, ", ".join(f"{n}={v}" for n, v in sizes.items()))
    return sizes


def check_sizes(system: System, sizes: Mapping[str, int]) -> None:
    """Errors: ValueError for a stream of no size, as far as the sizes tell; others may be open."""
    for stream in system.streams.values():
        for dim in (*stream.shape, *(() if stream.categories is None else (stream.categories,))):
            size = dim.bind(sizes)
            if size.is_constant and int(size) < 1:
                given = ", ".join(f"{n}={v}" for n, v in sizes.items())
                raise ValueError(f"{system.name}: {stream.name} would have size {size}, with {given}")


def _parts(system: System, sizes: Mapping[str, int], given: str) -> None:
    """Whether every `part(v, start, size)` is inside its vector: sizes that are names may have hidden it."""
    kinds = Kinds(system)
    for name, value in system.equations.items():
        for node in postorder([value]):
            if not node.is_op("part"):
                continue
            start, size = (int(Dim.of(node.options[n]).bind(sizes)) for n in ("start", "size"))
            (whole,) = (int(d.bind(sizes)) for d in kinds.of(node.args[0]).shape)
            if start < 0 or size < 0 or start + size > whole:
                inside = f"part(v, {start}, {size}) of a vector of {whole}"
                raise ValueError(f"{system.name}: the equation of {name} takes {inside}, with {given}")
