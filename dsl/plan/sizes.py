"""The table of a generated file, filled in: every size, stride and offset for one shape of data.

Offsets count elements from the start of an arena; every region starts at a multiple of 16 elements (a
cache line of float32). Knows the plan's names, numbers of dims and lengths of axes; nothing of values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsl.plan.assemble import Entry
from dsl.plan.program import PlannedSystem
from dsl.plan.writer import Pack
from dsl.system.dims import Dim
from tinygrad_seq.kernels.fourier import transform_of, work_size
from tinygrad_seq.kernels.product import packed_size, padded, rows_size

LINE = 16


@dataclass(frozen=True)
class Shape:
    """What the table depends on: steps of each axis, rows of this part, the whole batch, steps a chunk."""

    steps: tuple[tuple[str, int], ...]
    rows: int
    batch: int
    chunk: int
    ragged: bool
    carried: tuple[tuple[str, int], ...] = ()  # streams with steps already run, and how many are given


@dataclass(frozen=True)
class Sizes:
    """Tables of the generated code's programs; `at` the names' values; elements of each arena."""

    stages: tuple[NDArray[np.int64], ...]
    preparing: NDArray[np.int64]
    collecting: tuple[NDArray[np.int64], ...]  # of the first part, whose totals are not added to anything
    adding: tuple[NDArray[np.int64], ...]  # of the others
    at: Mapping[str, int]
    reals: int
    categories: int
    parameters: int
    lengths: int
    counts: int


def joined(tables: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One program that runs several, one after the other."""
    before = np.cumsum([0, *(len(t) - 1 - 2 * int(t[0]) for t in tables)])  # entries of the programs in front
    count = sum(int(t[0]) for t in tables)
    heads, bodies = [np.array([count], np.int64)], []
    for table, shift in zip(tables, before, strict=False):
        own = 2 * int(table[0])
        head = table[1 : 1 + own].copy()
        head[1::2] += 2 * count - own + shift
        heads.append(head)
        bodies.append(table[1 + own :])
    return np.concatenate([*heads, *bodies])


class Sizer:
    """Fills tables of one plan with its dims as numbers."""

    def __init__(self, program: PlannedSystem, dims: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """`dims`: the cell's arguments; `shapes`: of every shared value."""
        self.arrangement, self.layout, self.source = program.arrangement, program.layout, program.source
        self.dtype, self.dims, self.shapes = program.dtype, dims, shapes
        self._numbers: dict[Dim, int] = {}

    def number(self, dim: Dim) -> int:
        found = self._numbers.get(dim)
        if found is None:
            found = self._numbers[dim] = int(dim.bind(self.dims))
        return found

    def padded(self, dim: Dim) -> int:
        return padded(self.number(dim), self.dtype)

    def block(self, shape: Sequence[Dim]) -> int:
        """Elements of a value in memory: rows of a matrix one after another, each padded."""
        return math.prod(map(self.number, shape[:-1])) * self.padded(shape[-1]) if shape else 1

    def fill(self, shape: Shape, kept: Mapping[str, int] | None = None) -> Sizes:
        chunk = max(shape.chunk, self.source.reach)  # what is carried from chunk to chunk does not overlap
        at: dict[str, int] = {"nb": shape.rows, "batch": shape.batch, "chunk": chunk, "ragged": int(shape.ragged)}
        at["later"] = 0
        steps = dict(shape.steps)
        at.update({f"T_{a}": n for a, n in steps.items()})
        for name, dim in self.source.dims.items():
            at[name] = self.number(dim)
            at["p" + name[1:]] = self.padded(dim)
            if dim in self.source.transforms:
                at["f" + name[1:]] = transform_of(self.number(dim) // 2, self.dtype).address
        self._axes(at, shape)
        reals, categories = self._places(at, shape, steps)
        reals = self._work(at, shape, steps, reals)
        parameters = self._parameters(at)
        at.update({k: v for k, v in (kept or {}).items() if k not in at})
        stages = tuple(_numbers(entries, at) for entries in self.source.stages)
        preparing = _numbers(self.source.preparing, at)
        axes = len(steps)
        return Sizes(
            stages,
            preparing,
            tuple(_numbers(entries, at) for entries in self.source.collecting),
            tuple(_numbers(entries, {**at, "later": 1}) for entries in self.source.collecting),
            at,
            reals + LINE,
            categories + LINE,
            parameters + LINE,
            axes * (2 * shape.rows + 1) + 1,
            sum(n for n in steps.values()) + 1,
        )

    def _axes(self, at: dict[str, int], shape: Shape) -> None:
        """Lengths, clocks and flags in L; active rows of each step in C, which begins with the whole part."""
        here, count = 0, 1
        at["c_once"] = 0
        for axis, n in shape.steps:
            at[f"l_{axis}"], at[f"S_{axis}"], at[f"u_{axis}"] = here, here + shape.rows, here + 2 * shape.rows
            here += 2 * shape.rows + 1
            at[f"c_{axis}"] = count
            count += n

    def _places(self, at: dict[str, int], shape: Shape, steps: Mapping[str, int]) -> tuple[int, int]:
        offset = {"A": 0, "I": 0}
        grouped = {n: names for names in self.source.groups for n in names}
        for members in self.layout.slabs.values():
            places = [self.layout.places[m] for m in members]
            head = places[0]
            definition = self.arrangement.normal.definitions[head.name]
            if definition.kind in ("total", "outer", "scatter"):
                self._total(at, head.name, grouped, offset)
                continue
            rows = shape.rows
            for axis in head.axes:
                rows *= (at["chunk"] if axis == head.window else steps[axis]) + sum(head.pads[axis])
            widths = [1 if p.array == "I" else self.block(p.shape) for p in places]
            column = 0
            for place, width in zip(places, widths, strict=True):
                at[f"o_{place.ident}"] = offset[head.array] + column
                at[f"w_{place.ident}"] = sum(widths)
                at[f"K_{place.ident}"] = rows
                at[f"K_carry_{place.ident}"] = dict(shape.carried).get(place.name, 0)
                column += width
            offset[head.array] += _round(rows * sum(widths))
        return offset["A"], offset["I"]

    def _total(self, at: dict[str, int], name: str, grouped: Mapping[str, list[str]], offset: dict[str, int]) -> None:
        """Regions of sums over sequences; those of one product lie under one another."""
        for member in grouped.get(name, [name]):
            ident = self.layout.places[member].ident
            if f"o_{ident}" in at:
                continue
            kind, form = self.source.totals[member]
            if kind == "total":
                rows, columns = 1, self.block(form)
            elif kind == "scatter":
                rows, columns = self.number(form[1]) + 1, self.padded(form[0])
            else:
                rows, columns = self.padded(form[0]), self.padded(form[1])
            at[f"o_{ident}"], at[f"w_{ident}"], at[f"q_{ident}"] = offset["A"], columns, rows * columns
            offset["A"] += _round(rows * columns)

    def _work(self, at: dict[str, int], shape: Shape, steps: Mapping[str, int], offset: int) -> int:
        """Scratch rows, the packed operands of weight gradients, and room for Fourier transforms."""
        for name, form in self.source.scratch.items():
            at[f"o_{name}"] = offset
            offset += _round(self.block(form))
        deepest = (
            max([at["chunk"], 1, *steps.values()]) * shape.rows
            if any(self._inner(g) for g in self.source.groups)
            else at["chunk"] * shape.rows
        )
        left = right = 0
        for group in self.source.groups:
            heights = [self.source.totals[n][1][0] for n in group]
            width = self.source.totals[group[0]][1][1]
            left = max(left, rows_size(sum(map(self.padded, heights)), deepest, self.dtype))
            right = max(right, packed_size(self.number(width), deepest, self.dtype))
        at["o_rows"], at["o_panels"] = offset, offset + _round(left)
        at["o_work"] = offset + _round(left) + _round(right)
        room = [work_size(self.number(d) // 2, self.dtype) for d in self.source.transforms]
        return at["o_work"] + _round(max(room, default=0))

    def _inner(self, group: list[str]) -> bool:
        return len(self.arrangement.normal.definitions[group[0]].over) > 1

    def _parameters(self, at: dict[str, int]) -> int:
        offset = 0
        for pack in self.source.packs:
            at[f"o_{pack.name}"] = offset
            offset += _round(packed_size(self.width(pack), self.depth(pack), self.dtype))
        for name in self.source.vectors:
            at[f"o_P_{self.source.idents[name]}"] = offset
            shape = self.shapes[name]
            offset += _round(self.block(tuple(map(Dim.of, shape))))
        for name in self.source.tables:
            ident = f"{self.source.idents[name]}_columns"
            h, k = self.shapes[name]
            at[f"o_{ident}"], at[f"w_{ident}"] = offset, padded(h, self.dtype)
            offset += _round((k + 1) * padded(h, self.dtype))
        return offset

    def width(self, pack: Pack) -> int:
        return sum(self.padded(c) for c in pack.columns[:-1]) + self.number(pack.columns[-1])

    def depth(self, pack: Pack) -> int:
        return sum(self.padded(r) for r in pack.rows[:-1]) + self.number(pack.rows[-1])


def _numbers(entries: Sequence[Entry], at: Mapping[str, int]) -> NDArray[np.int64]:
    """A table's entries as numbers."""
    values = (e if isinstance(e, int) else at[e] if isinstance(e, str) else sum(at[n] for n in e) for e in entries)
    return np.fromiter(values, np.int64, len(entries))


def _round(n: int) -> int:
    return -(-n // LINE) * LINE
