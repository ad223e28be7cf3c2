"""The ground of code generation: names for sizes and memory, addresses of rows, and lines of text.

Every size, stride and offset is a name in the table that the host fills in (`sizes`); prefixes tell what it is: n_ a
dim, p_ the same padded, f_ how rows of that width are Fourier transformed, T_ steps of an axis, o_ an offset, w_ a
row's width, q_ a region's size, K_ a count of rows, l_ S_ u_ where lengths, clocks and flags of an axis are in L, c_
active rows in C.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from dsl.plan.assemble import Block
from dsl.plan.buffers import Layout, Place, identifier
from dsl.plan.definitions import Term, unsupported
from dsl.plan.features import Address
from dsl.plan.loops import Arrangement, Nest
from dsl.plan.schedule import offset_value
from dsl.system.dims import Dim
from dsl.system.system import Index, Read
from tinygrad_seq.kernels import math

OWN_NAMES = frozenset(
    """A B I F J P O L C R X at b j k row rows start t0 t1 turn active chunk nb batch ragged real reals integers padded
    infinity not_a_number kernel copy zero pack pack_panels pack_rows pack_transposed product_add product_set transform
    weight_gradient nests execute main which run range min max abs""".split()
) | frozenset(vars(math))
OWN_FORMS = re.compile(r"[ivrnpqolcuwfSTK](\d+|_.*)|[xykms]_.*|(load|store|nest|loop|axis)_.*")


@dataclass(slots=True)
class Pack:
    """One packed right operand: matrices side by side (`n0`) or one under another (`k0`), offsets in padded dims."""

    name: str
    parts: list[tuple[Term, tuple[Dim, ...], tuple[Dim, ...]]]  # term, dims before it along N, along K
    columns: tuple[Dim, ...]  # N is the sum of these, each padded (the last exact)
    rows: tuple[Dim, ...]


class Writer:
    """What all parts of a file's text need: names, places, and the lines written so far."""

    def __init__(self, name: str, arrangement: Arrangement, layout: Layout, dtype: str) -> None:
        self.name, self.arrangement, self.layout, self.dtype = name, arrangement, layout, dtype
        self.normal = arrangement.normal
        self.system = self.normal.system
        self.definitions = self.normal.definitions
        self.places = layout.places
        self.names: dict[str, str] = {}  # shared values and what else has no place -> its Python name
        self.taken = {p.ident for p in layout.places.values()}
        self.dims: dict[Dim, str] = {}
        self.transforms: dict[Dim, int] = {}
        self.packs: list[Pack] = []
        self.vectors: dict[str, None] = {}
        self.tables: dict[str, None] = {}
        self.scopes: dict[str, str] = {}
        self.inputs: dict[str, None] = {}
        self.results: dict[str, None] = {}
        self.carried: dict[str, None] = {}
        self.scratch: dict[str, tuple[Dim, ...]] = {}
        self.totals: dict[str, tuple[str, tuple[Dim, ...]]] = {}
        self.outer_groups: list[list[str]] = []
        self.lines: list[str | Block] = []
        self.nest: Nest | None = None
        self.depth = 0  # where variables that a loop over rows needs are set
        self.hoisted: dict[tuple[str, str], str] = {}
        self._limits: dict[str, dict[str, int]] = {}

    def _ident(self, name: str) -> str:
        if name in self.places:
            return self.places[name].ident
        if name not in self.names:
            self.names[name] = identifier(name, self.taken)
            self.taken.add(self.names[name])
        return self.names[name]

    def fail(self, what: str) -> NoReturn:
        unsupported(self.system, next(iter(self.nest.members if self.nest else self.definitions), ""), what)

    # ------------------------------------------------------------ names of sizes

    def size(self, dim: Dim) -> str:
        return f"n_{self._dim(dim)}"

    def padded(self, dim: Dim) -> str:
        return f"p_{self._dim(dim)}"

    def _dim(self, dim: Dim) -> str:
        if dim not in self.dims:
            base = str(dim).replace("*", "x").replace(" + ", "_plus_").replace(" - ", "_minus_").replace("-", "minus_")
            self.dims[dim] = identifier(base, self.dims.values())
        return self.dims[dim]

    def scope(self, key: str) -> str:
        if key not in self.scopes:
            self.scopes[key] = self._ident(key)
        return self.scopes[key]

    # ------------------------------------------------------------ lines

    def put(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def unit(self, begin: int) -> None:
        """The lines from `begin` on set no variable that later ones use: they may stand in a function of their own."""
        own = [line for line in self.lines[begin:] if isinstance(line, str)]
        if own and len(own) == len(self.lines) - begin:
            self.lines[begin:] = [Block(tuple(own))]

    def _fill_row(self, depth: int, at: Address, value: str, shape: tuple[Dim, ...]) -> None:
        if not shape:
            self.put(depth, f"{at.store}({at.array}, {at.offset}, {value})")
            return
        self.put(depth, f"row = {at.offset}")
        depth, here, _ = self._matrix_rows(depth, shape)
        if "infinity" not in value:  # infinity times a weight's padding is no number
            self.put(depth, f"for j in range({self.padded(shape[-1])}):")
            self.put(depth + 1, f"{at.store}({at.array}, row{here} + j, {value})")
        else:
            self.put(depth, f"for j in range({self.size(shape[-1])}):")
            self.put(depth + 1, f"{at.store}({at.array}, row{here} + j, {value})")
            self._clear_padding(depth, at, f"row{here}", shape[-1])

    def _clear_padding(self, depth: int, at: Address, row: str, dim: Dim) -> None:
        """Zeros behind a row's own numbers: products of several rows beside one another read them, and what lay there
        may come from an earlier run."""
        self.put(depth, f"for j in range({self.size(dim)}, {self.padded(dim)}):")
        self.put(depth + 1, f"{at.store}({at.array}, {row} + j, real(0.0))")

    def _matrix_rows(self, depth: int, shape: tuple[Dim, ...]) -> tuple[int, str, str]:
        """Loops over the rows of a matrix: the depth inside, a row's offset in memory and in a dense array."""
        flat = ""
        for k, dim in enumerate(shape[:-1]):
            self.put(depth, f"for i_{k} in range({self.size(dim)}):")
            depth += 1
            flat = f"({flat} * {self.size(dim)} + i_{k})" if flat else f"i_{k}"
        if not flat:
            return depth, "", ""
        return depth, f" + {flat} * {self.padded(shape[-1])}", f" + {flat} * {self.size(shape[-1])}"

    def elements(self, shape: tuple[Dim, ...]) -> str:
        """How many numbers a value of this shape is in a dense array."""
        return " * ".join(map(self.size, shape))

    # ------------------------------------------------------------ addresses

    def index(self, index: Index, axis: str) -> tuple[str, bool]:
        """An index as text, and whether it may need clamping (it is not a plain shift of its own axis)."""
        offset = offset_value(self.system, index.offset)
        parts = []
        if index.axis is not None and index.scale:
            name = self.var(index.axis)
            parts.append(name if index.scale == 1 else f"{index.scale} * {name}")
        if index.extent:
            parts.append(f"{index.extent} * {self.extent(index.length or axis)}")
        if offset or not parts:
            parts.append(str(offset))
        text = " + ".join(parts).replace("+ -", "- ")
        if index.divisor != 1:
            text = f"({text}) // {index.divisor}"
        return text, not (index.is_shift and index.axis == axis)

    def var(self, axis: str) -> str:
        """The loop variable of an axis: its name, unless generated code uses that for something else."""
        return f"axis_{axis}" if axis in OWN_NAMES or OWN_FORMS.fullmatch(axis) else axis

    def extent(self, axis: str) -> str:
        return f"L[l_{axis} + b]"

    def row(self, place: Place, indices: Mapping[str, str], b: str = "b") -> str:
        """The offset of a row: `indices` gives the step on each axis as text."""
        text = ""
        for axis in place.axes:
            front = place.pads[axis][0]
            step = f"{indices[axis]} - t0" if axis == place.window else indices[axis]
            step = ("0" if step == "t0 - t0" else step) + (f" + {front}" if front else "")
            if not text:
                text = f"({step})" if " " in step else step
            else:
                text = f"({text} * {self.span(place, axis)} + {step})"
        inner = b if not text else f"({text} * nb + {b})" if b else f"{text} * nb"
        return f"o_{place.ident} + {inner} * w_{place.ident}" if inner not in ("", "0") else f"o_{place.ident}"

    def span(self, place: Place, axis: str) -> str:
        """How many steps of an axis a place has rows for."""
        return f"({'chunk' if axis == place.window else f'T_{axis}'} + {sum(place.pads[axis])})"

    def address(self, read: Read) -> Address:
        name = read.name
        if name not in self.places:
            return self._shared(name)
        place = self.places[name]
        indices: dict[str, str] = {}
        for axis, index in zip(self.definitions[name].axes, read.index, strict=True):
            if axis not in place.axes:
                continue
            text, wild = self.index(index, axis)
            if wild:
                text = self._clamped(text, axis)
            indices[axis] = text
        return self._at(place, self.row(place, indices))

    def _at(self, place: Place, offset: str) -> Address:
        if place.array in "IJ":
            return Address(place.array, offset, "", "")
        scope = self.scope(place.scope)
        return Address(place.array, offset, f"load_{scope}", f"store_{scope}")

    def _clamped(self, text: str, axis: str) -> str:
        """A variable for an index that may fall outside: then it is -1, the padding step."""
        key = (text, axis)
        if key not in self.hoisted:
            name = self.hoisted[key] = f"i{len(self.hoisted) + 1}"
            self.put(self.depth, f"{name} = {text}")
            self.put(self.depth, f"{name} = {name} if 0 <= {name} < {self.extent(axis)} else -1")
        return self.hoisted[key]

    def _shared(self, name: str) -> Address:
        self.vectors.setdefault(name)
        scope = self.scope("P")
        return Address("P", f"o_P_{self._ident(name)}", f"load_{scope}", "")

    def table(self, name: str, category: str) -> Address:
        """A column of a looked-up matrix; category -1 is the column of zeros in front."""
        self.tables.setdefault(name)
        ident = f"{self._ident(name)}_columns"
        return Address("P", f"o_{ident} + ({category} + 1) * w_{ident}", f"load_{self.scope('P')}", "")

    def category(self, read: Read) -> str:
        a = self.address(read)
        key = (a.array, a.offset)
        if key not in self.hoisted:
            self.hoisted[key] = f"i{len(self.hoisted) + 1}"
            self.put(self.depth, f"{self.hoisted[key]} = {a.array}[{a.offset}]")
        return self.hoisted[key]
