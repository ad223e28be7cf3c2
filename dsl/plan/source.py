"""Generated source: an arrangement and its layout as the text of a Python file for Numba.

One function a loop nest and one, `run`, that calls them in order; plus `prepare`, which packs the weights. All sizes,
strides and offsets come from one integer table, so a file serves every batch and every size. The text
depends on nothing but the plan: the same under any hash seed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsl.plan.arrange import AFTER, BEFORE, STEP, Arrangement, Group, Item, Nest, Outers, Products, Transfer
from dsl.plan.buffers import Layout, Place, identifier
from dsl.plan.definitions import Term, is_home, unsupported
from dsl.plan.rows import REDUCTIONS, Address, Context, Output, RowProgram
from dsl.plan.schedule import offset_value
from dsl.system.dims import Dim
from dsl.system.system import Index, Read
from tinygrad_seq.symbol import Symbol, lift

HEADER = '''"""{title}

Generated; do not edit. Arrays: A own reals, I own categories, F and J the forward run's, P packed
parameters, O the table of sizes and offsets, L lengths (axis, row), C active rows (axis, step), R the
row's place in the batch; x_* inputs, y_* results, k_* carried values.
"""

import numpy as np

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.math import *  # noqa: F403
from tinygrad_seq.kernels.memory import copy, slots, zero
from tinygrad_seq.kernels.product import pack, pack_panels, pack_rows, pack_transposed, product_add, product_set, require, weight_gradient

real = np.{dtype}
infinity = real(np.inf)
not_a_number = real(np.nan)
require("{dtype}")
'''


@dataclass(slots=True)
class Pack:
    """One packed right operand: matrices side by side (`n0`) or one under another (`k0`), offsets in padded dims."""

    name: str
    parts: list[tuple[Term, tuple[Dim, ...], tuple[Dim, ...]]]  # term, dims before it along N, along K
    columns: tuple[Dim, ...]  # N is the sum of these, each padded (the last exact)
    rows: tuple[Dim, ...]


@dataclass
class Source:
    """What a generated file needs from the host: its text, and what the table's names mean."""

    text: str
    table: list[str]
    dims: dict[str, Dim]  # n_* -> the dim
    packs: list[Pack]
    vectors: list[str]  # shared vectors and scalars kept in P
    tables: list[tuple[str, bool]]  # looked-up matrices kept in P by columns (transposed: by rows)
    weights: list[str]  # matrices that `prepare` takes
    inputs: list[str]
    results: list[str]
    carried: list[str]
    totals: dict[str, tuple[str, Dim | None, Dim | None]]  # definition -> kind, rows, columns
    scratch: dict[str, Dim]
    groups: list[list[str]]  # totals of outer products that share one product
    idents: dict[str, str]  # shared names -> their Python names


def generate(name: str, arrangement: Arrangement, layout: Layout, dtype: str) -> Source:
    return _Writer(name, arrangement, layout, dtype).run()


class _Writer:
    def __init__(self, name: str, arrangement: Arrangement, layout: Layout, dtype: str) -> None:
        self.name, self.arrangement, self.layout, self.dtype = name, arrangement, layout, dtype
        self.normal = arrangement.normal
        self.system = self.normal.system
        self.definitions = self.normal.definitions
        self.places = layout.places
        self.names: dict[str, str] = {}  # what a table entry, scope or array stands for -> its Python name
        self.dims: dict[Dim, str] = {}
        self.packs: list[Pack] = []
        self.vectors: dict[str, None] = {}
        self.tables: dict[tuple[str, bool], None] = {}
        self.scopes: dict[str, str] = {}
        self.inputs: dict[str, None] = {}
        self.results: dict[str, None] = {}
        self.carried: dict[str, None] = {}
        self.scratch: dict[str, Dim] = {}
        self.totals: dict[str, tuple[str, Dim | None, Dim | None]] = {}
        self.outer_groups: list[list[str]] = []
        self.lines: list[str] = []
        self.nest: Nest | None = None

    # ------------------------------------------------------------ the file

    def run(self) -> Source:
        functions = [self._nest(k, nest) for k, nest in enumerate(self.arrangement.nests)]
        prepare = self._prepare()
        title = f"{self.name}: {len(functions)} loop nests."
        head = HEADER.format(title=title, dtype=self.dtype)
        scopes = ", ".join(f"(load_{s}, store_{s})" for s in self.scopes.values())
        uid = re.sub(r"\W", "_", self.name)
        head += (
            f'{scopes}{"," if len(self.scopes) == 1 else ""} = slots({len(self.scopes)}, "{uid}")\n'
            if self.scopes
            else ""
        )
        arrays = self._arrays()
        body = "".join(functions).replace("@ARRAYS@", arrays)
        calls = "".join(f"    nest_{k}({arrays})\n" for k in range(len(functions)))
        text = head + "\n\n" + prepare + body + f"@kernel\ndef run({arrays}):\n" + (calls or "    pass\n")
        table = list(self._entries("".join(re.split(r"(?m)^(?=@kernel$)", text)[1:])))
        text = self._with_preambles(text, table)
        return Source(
            text, table, {f"n_{i}": d for d, i in self.dims.items()}, self.packs, list(self.vectors), list(self.tables),
            self.weights, list(self.inputs), list(self.results), list(self.carried), self.totals, self.scratch, self.outer_groups, self._idents(),
        )  # fmt: skip

    def _arrays(self) -> str:
        named = (
            [f"x_{self._ident(n)}" for n in self.inputs]
            + [f"y_{self._ident(n)}" for n in self.results]
            + [f"k_{self._ident(n)}" for n in self.carried]
        )
        return ", ".join(["A", "I", "F", "J", "P", "O", "L", "C", "R", *named])

    _ENTRY = re.compile(r"\b(?:[ownpqlcuSTK]_[A-Za-z0-9_]+|nb|batch|chunk|carried|ragged|uneven)\b")

    def _entries(self, text: str) -> dict[str, None]:
        """The table entries that code names (comments apart), in order of appearance."""
        code = re.sub(r'(?s)""".*?"""|#[^\n]*', "", text)
        return dict.fromkeys(self._ENTRY.findall(code))

    def _with_preambles(self, text: str, table: Sequence[str]) -> str:
        """Each function begins by taking the table entries it names."""
        number = {n: i for i, n in enumerate(table)}
        parts = re.split(r"(?m)^(?=@kernel$)", text)
        out = [parts[0]]
        for part in parts[1:]:
            header, _, rest = part.partition(":\n")
            taken = "".join(f"    {n} = O[{number[n]}]\n" for n in self._entries(rest))
            title, _, rest = rest.partition('"""\n') if rest.startswith('    """') else ("", "", rest)
            out.append(f"{header}:\n" + (title + '"""\n' if title else "") + taken + rest)
        return "".join(out)

    def _ident(self, name: str) -> str:
        if name in self.places:
            return self.places[name].ident
        key = f"name:{name}"
        if key not in self.names:
            self.names[key] = identifier(name, {**self.names, **{n: p.ident for n, p in self.places.items()}})
        return self.names[key]

    def _idents(self) -> dict[str, str]:
        return {k.removeprefix("name:"): v for k, v in self.names.items()}

    def fail(self, what: str) -> None:
        unsupported(self.system, next(iter(self.nest.members if self.nest else self.definitions), ""), what)

    # ------------------------------------------------------------ names of sizes

    def size(self, dim: Dim) -> str:
        return f"n_{self._dim(dim)}"

    def padded(self, dim: Dim) -> str:
        return f"p_{self._dim(dim)}"

    def _dim(self, dim: Dim) -> str:
        if dim not in self.dims:
            base = str(dim).replace("*", "x").replace(" + ", "_plus_").replace(" - ", "_minus_").replace("-", "minus_")
            self.dims[dim] = identifier(base, {str(k): v for k, v in self.dims.items()})
        return self.dims[dim]

    def scope(self, key: str) -> str:
        if key not in self.scopes:
            self.scopes[key] = identifier(self._ident(key) if key in self.places else key, self.scopes)
        return self.scopes[key]

    # ------------------------------------------------------------ one nest

    def put(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def _nest(self, k: int, nest: Nest) -> str:
        self.nest, self.lines = nest, []
        axis = nest.axis
        self._begin(nest)
        if axis is None:
            for _, item in nest.items:
                self._chunk_item(1, item, None)
        else:
            self._chunks(nest, axis)
        for item in nest.sections.get("end", []):
            self._chunk_item(1, item, None)
        body = "\n".join(self.lines) or "    pass"
        return f'@kernel\ndef nest_{k}(@ARRAYS@):\n    """{self._title(nest)}"""\n{body}\n\n\n'

    def _title(self, nest: Nest) -> str:
        names = [n for n in nest.members if n in self.normal.system.streams][:12]
        way = "" if nest.axis is None else f" over {nest.axis}{'' if nest.direction > 0 else ', descending'}"
        kind = "Recurrence" if nest.recurrent else "Loop" if nest.axis else "Once a sequence"
        return f"{kind}{way}: {', '.join(names) or ', '.join(nest.members[:6])}."

    def _chunks(self, nest: Nest, axis: str) -> None:
        if nest.direction > 0:
            self.put(1, f"for t0 in range(0, T_{axis}, chunk):")
            self.put(2, f"t1 = min(T_{axis}, t0 + chunk)")
        else:
            self.put(1, f"for turn in range((T_{axis} + chunk - 1) // chunk):")
            self.put(2, f"t0 = ((T_{axis} + chunk - 1) // chunk - 1 - turn) * chunk")
            self.put(2, f"t1 = min(T_{axis}, t0 + chunk)")
        for item in nest.sections[BEFORE]:
            self._chunk_item(2, item, axis)
        if nest.sections[STEP]:
            backwards = "t1 - 1, t0 - 1, -1" if nest.direction < 0 else "t0, t1"
            self.put(2, f"for {axis} in range({backwards}):")
            self.put(3, f"active = C[c_{axis} + {axis}]")
            for item in nest.sections[STEP]:
                if isinstance(item, Group):
                    self._group(3, item, axis)
                elif isinstance(item, Products):
                    self._products(3, item, axis, step=True)
        for item in nest.sections[AFTER]:
            self._chunk_item(2, item, axis)

    def _chunk_item(self, depth: int, item: Item, axis: str | None) -> None:
        if isinstance(item, Transfer):
            self._transfer(depth, item, axis)
        elif isinstance(item, Products):
            self._products(depth, item, axis, step=False)
        elif isinstance(item, Outers):
            self._outers(depth, item, axis)
        else:
            if axis is None:
                self.put(depth, "active = nb")
                self._group(depth, item, None)
                return
            self.put(depth, f"for {axis} in range(t0, t1):")
            self.put(depth + 1, f"active = C[c_{axis} + {axis}]")
            self._group(depth + 1, item, axis)

    # ------------------------------------------------------------ addresses

    def index(self, index: Index, axis: str) -> tuple[str, bool]:
        """An index as text, and whether it may need clamping (it is not a plain shift of its own axis)."""
        offset = offset_value(self.system, index.offset)
        parts = []
        if index.axis is not None and index.scale:
            parts.append(index.axis if index.scale == 1 else f"{index.scale} * {index.axis}")
        if index.extent:
            parts.append(f"{index.extent} * {self.extent(index.length or axis)}")
        if offset or not parts:
            parts.append(str(offset))
        text = " + ".join(parts).replace("+ -", "- ")
        if index.divisor != 1:
            text = f"({text}) // {index.divisor}"
        return text, not (index.is_shift and index.axis == axis)

    def extent(self, axis: str) -> str:
        return f"L[l_{axis} + b]"

    def row(self, place: Place, indices: Mapping[str, str], b: str = "b") -> str:
        """The offset of a row: `indices` gives the step on each axis as text."""
        text = ""
        for axis in place.axes:
            front, back = place.pads[axis]
            step = indices[axis] + (f" + {front}" if front else "")
            if not text:
                text = f"({step})" if " " in step else step
            else:
                text = f"({text} * (T_{axis} + {front + back}) + {step})"
        inner = b if not text else f"({text} * nb + {b})" if b else f"{text} * nb"
        return f"o_{place.ident} + {inner} * w_{place.ident}" if inner not in ("", "0") else f"o_{place.ident}"

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

    def table(self, name: str, transposed: bool, category: str) -> Address:
        self.tables.setdefault((name, transposed))
        scope = self.scope("P")
        ident = self._ident(name) + ("_rows" if transposed else "_columns")
        return Address("P", f"o_{ident} + ({category} + 1) * w_{ident}", f"load_{scope}", "")

    def category(self, read: Read) -> str:
        a = self.address(read)
        key = (a.array, a.offset)
        if key not in self.hoisted:
            self.hoisted[key] = f"i{len(self.hoisted) + 1}"
            self.put(self.depth, f"{self.hoisted[key]} = {a.array}[{a.offset}]")
        return self.hoisted[key]

    # ------------------------------------------------------------ loops over rows

    def _group(self, depth: int, group: Group, axis: str | None) -> None:
        inner = [a for a in group.inner if a != axis]
        self.put(depth, "for b in range(active):")
        depth += 1
        if axis is not None:
            self.put(depth, f"if {axis} >= {self.extent(axis)}:")
            self.put(depth + 1, "continue")
        for name in group.outputs:
            d = self.definitions[name]
            if d.kind == "reduce" and axis not in d.over:
                self._start_reduction(depth, name, axis)
        for a in inner:
            self.put(depth, f"for {a} in range({self.extent(a)}):")
            depth += 1
        self.hoisted: dict[tuple[str, str], str] = {}
        self.depth = depth
        available = set(group.available)

        def held(node: Symbol) -> Read | None:
            name = self.normal.stored.get(node)
            if name is None or name not in available:
                return None
            leaf = lift(Read(name, tuple(Index(a) for a in self.definitions[name].axes))).leaf
            assert isinstance(leaf, Read)
            return leaf

        scratch = iter(range(1000))
        context = Context(
            self.normal, self.address, held, lambda m, c: self.table(m, False, c), self.category, self.size, self.padded,
            lambda a: f"({a} + L[S_{a} + b])", self.extent, lambda dim: self._scratch(dim, next(scratch)), lambda n: n, self.fail,
        )  # fmt: skip
        outputs = [o for name in group.outputs for o in self._outputs(name)]
        for d, text in RowProgram(context, outputs).emit():
            self.put(depth + d, text)

    def _scratch(self, dim: Dim, k: int) -> Address:
        key = f"scratch_{self._dim(dim)}_{k}"
        self.scratch[key] = dim
        scope = self.scope(key)
        return Address("A", f"o_{key}", f"load_{scope}", f"store_{scope}")

    def _outputs(self, name: str) -> list[Output]:
        d, place = self.definitions[name], self.places[name]
        size = d.shape[0] if d.shape else None
        if d.kind == "total":
            self.totals[name] = ("total", size, None)
            return [Output(d.value, self._at(place, f"o_{place.ident}"), "sum", "0", size)]
        if d.kind == "scatter":
            leaf = d.operands[0].leaf
            assert isinstance(leaf, Read)
            self.totals[name] = ("scatter", d.shape[0], d.shape[1])
            self.size(d.shape[1])
            row = f"o_{place.ident} + ({self.category(leaf)} + 1) * w_{place.ident}"
            return [Output(d.value, self._at(place, row), "sum", "0", d.shape[0])]
        here = self._at(place, self.row(place, {a: a for a in place.axes}))
        if d.kind == "pieces":
            return [Output(p.value, here, "set", "0" if p.start == 0 else self.size(p.start), p.size) for p in d.pieces]
        if d.dtype == "category":
            return [Output(d.value, here, "set", "0", None)]
        return [Output(d.value, here, d.reduction if d.kind == "reduce" else "set", "0", size)]

    def _start_reduction(self, depth: int, name: str, axis: str | None) -> None:
        d, place = self.definitions[name], self.places[name]
        for a in d.axes:
            if a != axis:
                self.put(depth, f"for {a} in range({self.extent(a)}):")
                depth += 1
        here = self._at(place, self.row(place, {a: a for a in place.axes}))
        self._fill_row(depth, here, REDUCTIONS[d.reduction][0], d.shape)

    def _fill_row(self, depth: int, at: Address, value: str, shape: tuple[Dim, ...]) -> None:
        if not shape:
            self.put(depth, f"{at.store}({at.array}, {at.offset}, {value})")
            return
        self.put(depth, f"row = {at.offset}")
        self.put(depth, f"for j in range({self.size(shape[0])}):")
        self.put(depth + 1, f"{at.store}({at.array}, row + j, {value})")

    # ------------------------------------------------------------ before the loops: boundaries, zeros

    def _begin(self, nest: Nest) -> None:
        for name in nest.members:
            d, place = self.definitions[name], self.places[name]
            if d.kind in ("total", "scatter", "outer"):
                self.put(1, f"zero(A, o_{place.ident}, q_{place.ident})")
                continue
            if d.kind == "reduce" and nest.axis in d.over:
                self._fill_all(place, d.shape, REDUCTIONS[d.reduction][0])
            if any(f or b for f, b in place.pads.values()) or (name in self.layout.kept and place.axes):
                self._boundary(name)

    def _fill_all(self, place: Place, shape: tuple[Dim, ...], value: str) -> None:
        at = self._at(place, f"o_{place.ident} + i * w_{place.ident}")
        self.put(1, f"for i in range(K_{place.ident}):")
        self._fill_row(2, at, value, shape)

    def _boundary(self, name: str) -> None:
        """Fill the padding steps, and what lies past each sequence's own end, with the boundary value."""
        d, place = self.definitions[name], self.places[name]
        depth = 1
        self.put(depth, f"# outside its steps {name} is its boundary")
        self.put(depth, "for b in range(nb):")
        depth += 1
        if len(place.axes) == 1:
            (a,) = place.axes
            front, back = place.pads[a]
            self.put(depth, f"for k in range({front} + T_{a} + {back} - {self.extent(a)}):")
            self.put(depth + 1, f"{a} = k - {front} if k < {front} else k - {front} + {self.extent(a)}")
            depth += 1
        else:
            for a in place.axes:
                front, back = place.pads[a]
                self.put(depth, f"for {a} in range({-front}, T_{a} + {back}):")
                depth += 1
            inside = " and ".join(f"0 <= {a} < {self.extent(a)}" for a in place.axes)
            self.put(depth, f"if {inside}:")
            self.put(depth + 1, "continue")
        here = self._at(place, self.row(place, {a: a for a in place.axes}))
        if place.array == "I":
            value = (
                "-1" if d.boundary is None or isinstance(d.boundary, float) and d.boundary < 0 else str(int(d.boundary))
            )  # type: ignore[arg-type]
            self.put(depth, f"I[{here.offset}] = {value}")
        elif isinstance(d.boundary, str):
            source = self.address(Read(d.boundary, ()))
            if not d.shape:
                self.put(depth, f"{here.store}(A, {here.offset}, {source.load}({source.array}, {source.offset}))")
            else:
                self.put(depth, f"row, start = {here.offset}, {source.offset}")
                self.put(depth, f"for j in range({self.size(d.shape[0])}):")
                self.put(depth + 1, f"{here.store}(A, row + j, {source.load}({source.array}, start + j))")
        else:
            value = {float("inf"): "infinity", float("-inf"): "-infinity"}.get(
                d.boundary or 0.0, f"real({d.boundary or 0.0!r})"
            )
            self._fill_row(depth, here, value, d.shape)
        if len(place.axes) == 1 and place.pads[place.axes[0]][0] and self.nest is not None:
            self._carry(name, place)

    def _carry(self, name: str, place: Place) -> None:
        """Values of the steps already run take the place of the boundary."""
        d = self.definitions[name]
        (a,) = place.axes
        front = place.pads[a][0]
        self.carried.setdefault(name)
        ident = place.ident
        self.put(1, f"if K_carry_{ident}:")
        self.put(2, f"for {a} in range({-front}, 0):")
        self.put(3, "for b in range(nb):")
        here = self._at(place, self.row(place, {a: a}))
        source = f"({a} + {front}) * batch + R[b]"
        if place.array == "I":
            self.put(4, f"I[{here.offset}] = k_{ident}[{source}]")
        elif not d.shape:
            self.put(4, f"{here.store}(A, {here.offset}, k_{ident}[{source}])")
        else:
            size = self.size(d.shape[0])
            self.put(4, f"row, start = {here.offset}, ({source}) * {size}")
            self.put(4, f"for j in range({size}):")
            self.put(5, f"{here.store}(A, row + j, k_{ident}[start + j])")

    # ------------------------------------------------------------ to and from the caller's arrays

    def _transfer(self, depth: int, item: Transfer, axis: str | None) -> None:
        d, place = self.definitions[item.name], self.places[item.name]
        (self.inputs if item.kind == "load" else self.results).setdefault(item.name)
        prefix = "x" if item.kind == "load" else "y"
        flat = ""
        for a in d.axes:
            bounds = "t0, t1" if a == axis else f"T_{a}"
            self.put(depth, f"for {a} in range({bounds}):")
            depth += 1
            flat = a if not flat else f"({flat} * T_{a} + {a})"
        self.put(depth, "for b in range(nb):")
        depth += 1
        for a in d.axes:
            self.put(depth, f"if {a} >= {self.extent(a)}:")
            self.put(depth + 1, "continue")
        here = self._at(place, self.row(place, {a: a for a in place.axes}))
        there = f"{flat} * batch + R[b]" if flat else "R[b]"
        array = f"{prefix}_{place.ident}"
        if place.array == "I" or not d.shape:
            own = f"I[{here.offset}]" if place.array == "I" else f"{here.load}(A, {here.offset})"
            if item.kind == "unload":
                self.put(depth, f"{array}[{there}] = {own}")
            elif place.array == "I":
                self.put(depth, f"{own} = {array}[{there}]")
            else:
                self.put(depth, f"{here.store}(A, {here.offset}, {array}[{there}])")
            return
        size = self.size(d.shape[0])
        if item.kind == "load":
            self.put(depth, f"copy(A, {here.offset}, {array}, ({there}) * {size}, {size})")
        else:
            self.put(depth, f"copy({array}, ({there}) * {size}, A, {here.offset}, {size})")

    # ------------------------------------------------------------ products

    def _products(self, depth: int, item: Products, axis: str | None, step: bool) -> None:
        for run in self._runs(item):
            self._product(depth, run, axis, step)

    def _runs(self, item: Products) -> list[list[list[tuple[str, Term, bool]]]]:
        """Terms stacked: a run is a list of columns (adjacent accumulators), each a list of adjacent operands.

        Stacked along N: accumulators side by side that read the same operand. Stacked along K: operands side by
        side that feed one accumulator.
        """
        tall: list[list[tuple[str, Term, bool]]] = []
        rest = list(item.terms)
        by_target: dict[tuple[str, object], list[tuple[str, Term, bool]]] = {}
        for entry in rest:
            by_target.setdefault((entry[0], entry[1].operand.index), []).append(entry)
        for entries in by_target.values():
            tall += self._adjacent(entries, lambda e: e[1].operand.name)
        wide: list[list[list[tuple[str, Term, bool]]]] = []
        singles: dict[tuple[object, bool, bool], list[tuple[str, Term, bool]]] = {}
        seen: set[str] = set()
        for column in tall:
            first = any(e[2] for e in column) and column[0][0] not in seen
            seen.add(column[0][0])
            column = [(n, t, first) for n, t, _ in column]
            if len(column) > 1:
                wide.append([column])
            else:
                singles.setdefault((column[0][1].operand, first, True), []).append(column[0])
        for entries in singles.values():
            wide += [[[e] for e in run] for run in self._adjacent(entries, lambda e: e[0])]
        wide.sort(key=lambda run: not run[0][0][2])  # those that overwrite come first
        return wide

    def _adjacent(self, entries, key):  # type: ignore[no-untyped-def]
        """Split into lists whose keys are consecutive columns of one slab."""
        slabs = self.layout.slabs

        def place(entry):  # type: ignore[no-untyped-def]
            p = self.places[key(entry)]
            return (p.slab, slabs[p.slab].index(p.name)) if p.slab in slabs else (p.name, 0)

        out = []
        for entry in sorted(entries, key=place):
            slab, at = place(entry)
            if out and self.places[key(entry)].array == "A":
                last_slab, last_at = place(out[-1][-1])
                if last_slab == slab and at == last_at + 1:
                    out[-1].append(entry)
                    continue
            out.append([entry])
        return out

    def _product(self, depth: int, run: list[list[tuple[str, Term, bool]]], axis: str | None, step: bool) -> None:
        target, term, first = run[0][0]
        pack = self._pack(run)
        d, place, source = self.definitions[target], self.places[target], self.places[term.operand.name]
        columns = " + ".join([self.padded(c) for c in pack.columns[:-1]] + [self.size(pack.columns[-1])])
        rows = " + ".join([self.padded(r) for r in pack.rows[:-1]] + [self.size(pack.rows[-1])])
        call = "product_set" if first else "product_add"
        here = {a: a for a in d.axes}
        there = {}
        for a, index in zip(self.definitions[term.operand.name].axes, term.operand.index, strict=True):
            there[a] = self.index(index, a)[0]
        inner = [a for a in d.axes if a != axis]
        note = f"  # {', '.join(c[0][0] for c in run)} {'=' if first else '+='} {', '.join(str(t) for c in run for _, t, _ in c)}"

        def emit(at: int, rows_text: str, steps: dict[str, str], b: str) -> None:
            mine = self.row(place, {a: steps.get(a, here[a]) for a in place.axes}, b)
            yours = {a: self._subst(there[a], steps) for a in source.axes}
            theirs = self.row(source, yours, b)
            self.put(
                at,
                f"{call}({source.array}, {theirs}, w_{source.ident}, P, o_{pack.name}, A, {mine}, w_{place.ident}, {rows_text}, {columns}, {rows}){note}",
            )

        start = {a: "0" for a in inner}
        if inner and len(inner) > 1:
            self.fail("a product over three axes")
        if inner:
            (other,) = inner
            if step or axis is None:
                emit(depth, f"T_{other} * nb", start, "0")
            else:
                self.put(depth, f"for {axis} in range(t0, t1):")
                emit(depth + 1, f"T_{other} * nb", start, "0")
        elif axis is None:
            emit(depth, "nb", {}, "0")
        elif step:
            emit(depth, "active", {}, "0")
        elif place.local or source.local:
            self.fail("a hoisted product of a local value")
        else:
            self.put(depth, "if not ragged:")
            emit(depth + 1, "(t1 - t0) * nb", {axis: "t0"}, "0")
            self.put(depth, "else:")
            self.put(depth + 1, f"for {axis} in range(t0, t1):")
            emit(depth + 2, f"C[c_{axis} + {axis}]", {}, "0")

    @staticmethod
    def _subst(text: str, steps: Mapping[str, str]) -> str:
        for a, value in steps.items():
            text = re.sub(rf"\b{a}\b", value, text)
        return text

    def _pack(self, run: list[list[tuple[str, Term, bool]]]) -> Pack:
        columns = tuple(self.definitions[c[0][0]].shape[0] for c in run)
        rows = tuple(self.definitions[t.operand.name].shape[0] for _, t, _ in run[0])
        parts = []
        for i, column in enumerate(run):
            for k, (_, term, _) in enumerate(column):
                parts.append((term, columns[:i], rows[:k]))
        for pack in self.packs:
            if pack.parts == parts and pack.columns == columns and pack.rows == rows:
                return pack
        pack = Pack(f"pack{len(self.packs)}", parts, columns, rows)
        self.packs.append(pack)
        for term, _, _ in parts:
            self._ident(term.weight)
        return pack

    def _prepare(self) -> str:
        """The function that packs weights; matrices come as flat arrays in the order of their names."""
        weights = list(dict.fromkeys(t.weight for p in self.packs for t, _, _ in p.parts))
        self.weights = weights
        lines = []
        for p in self.packs:
            total_n = " + ".join([self.padded(c) for c in p.columns[:-1]] + [self.size(p.columns[-1])])
            total_k = " + ".join([self.padded(r) for r in p.rows[:-1]] + [self.size(p.rows[-1])])
            for term, before_n, before_k in p.parts:
                n0 = " + ".join(self.padded(c) for c in before_n) or "0"
                k0 = " + ".join(self.padded(r) for r in before_k) or "0"
                n, k = self.size(p.columns[len(before_n)]), self.size(p.rows[len(before_k)])
                call, first, second = ("pack_transposed", k, n) if term.transposed else ("pack", n, k)
                w = f"m_{self._ident(term.weight)}"
                lines.append(
                    f"    {call}({w}, 0, {second}, {first}, {second}, P, o_{p.name}, {n0}, {k0}, {total_n}, {total_k})"
                )
        arguments = ", ".join(["P", "O", *(f"m_{self._ident(w)}" for w in weights)])
        return f"@kernel\ndef prepare({arguments}):\n" + ("\n".join(lines) or "    pass") + "\n\n\n"

    # ------------------------------------------------------------ sums of outer products

    def _outers(self, depth: int, item: Outers, axis: str | None) -> None:
        by_right: dict[tuple[object, object, object], list[str]] = {}
        for name in item.names:
            d = self.definitions[name]
            left, right = (o.leaf for o in d.operands)
            assert isinstance(left, Read) and isinstance(right, Read)
            by_right.setdefault((right, left.index, d.over), []).append(name)
        for names in by_right.values():
            for run in self._adjacent(names, lambda n: self.definitions[n].operands[0].leaf.name):
                self._outer(depth, run, axis)

    def _outer(self, depth: int, names: list[str], axis: str | None) -> None:
        first = self.definitions[names[0]]
        left, right = (o.leaf for o in first.operands)
        assert isinstance(left, Read) and isinstance(right, Read)
        heights = [self.definitions[n].shape[0] for n in names]
        width = first.shape[1]
        self.outer_groups.append(names)
        head = self.places[names[0]]
        for n, h in zip(names, heights, strict=True):
            self.totals[n] = ("outer", h, width)
            self.size(h)
        m = " + ".join([self.padded(h) for h in heights[:-1]] + [self.size(heights[-1])])
        n = self.size(width)
        over = list(first.over)
        walk = axis if axis in over else None
        others = [a for a in over if a != walk]
        if len(others) > 1:
            self.fail("a sum of outer products over three axes")
        inner = others[0] if others else None
        if walk is not None and inner is not None:
            self.put(depth, f"for {walk} in range(t0, t1):")
            depth += 1
        along = inner or walk
        bounds = f"0, T_{inner}" if inner else "t0, t1" if walk else "0, 1"
        counts = f"C, c_{along}" if along else "C, c_once"
        self._silence(depth, [(left, m), (right, n)], along, bounds)
        texts = []
        for read, target, call, columns in ((left, "rows", "pack_rows", m), (right, "panels", "pack_panels", n)):
            place = self.places[read.name]
            steps = {a: self.index(i, a)[0] for a, i in zip(self.definitions[read.name].axes, read.index, strict=True)}
            if along:
                steps[along] = self._subst(steps[along], {along: "0"})
            stride = f"nb * w_{place.ident}"
            for a in place.axes[place.axes.index(along) + 1 :] if along else ():
                stride = f"(T_{a} + {sum(place.pads[a])}) * {stride}"
            origin = self.row(place, steps, "0")
            texts.append(
                f"rows = {call}({place.array}, {origin}, {stride}, w_{place.ident}, {columns}, {counts}, {bounds}, A, o_{target})"
            )
        for text in texts:
            self.put(depth, text)
        self.put(
            depth,
            f"weight_gradient(A, o_rows, A, o_panels, A, o_{head.ident}, w_{head.ident}, {m}, {n}, rows)  # {', '.join(names)}",
        )

    def _silence(self, depth: int, operands: Sequence[tuple[Read, str]], along: str | None, bounds: str) -> None:
        """Rows inside the active range whose sequence has ended (only when rows are not sorted along this axis) add nothing."""
        if along is None:
            return
        self.put(depth, f"if L[u_{along}]:")
        self.put(depth + 1, f"for {along} in range({bounds}):")
        self.put(depth + 2, "for b in range(nb):")
        self.put(depth + 3, f"if {along} >= {self.extent(along)}:")
        for read, columns in operands:
            place = self.places[read.name]
            steps = {a: self.index(i, a)[0] for a, i in zip(self.definitions[read.name].axes, read.index, strict=True)}
            if place.array == "A" and is_home(read, self.definitions[read.name].axes):
                self.put(depth + 4, f"zero(A, {self.row(place, steps)}, {columns})")


__all__ = ["Pack", "Source", "generate"]
