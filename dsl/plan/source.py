"""Generated source: an arrangement and its layout as the text of a Python file for Numba.

One function a loop nest, those alike shared (`assemble`); `run` calls them as the head of a table says: one table runs
the cell, another packs its weights. All sizes, strides and offsets come from the table too, so a file serves
every batch and every size. The text depends on nothing but the plan: the same under any hash seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dsl.plan.assemble import Assembly, Block, Entry, Piece
from dsl.plan.buffers import Layout
from dsl.plan.edges import Edges
from dsl.plan.features import FOLDS, Address, Output
from dsl.plan.limits import limits
from dsl.plan.loops import AFTER, BEFORE, STEP, Arrangement, Group, Item, Loop, Nest, Outers, Products, Transfer
from dsl.plan.phases import Context
from dsl.plan.products import Factors
from dsl.plan.rows import RowProgram
from dsl.plan.shared import Shared
from dsl.plan.writer import Pack
from dsl.system.dims import Dim
from dsl.system.system import Index, Read
from tinygrad_seq.symbol import Symbol, lift

HEADER = '''"""{name}

Generated; do not edit. Functions are called as the head of the table O says, each with the place `at` where its own
numbers begin.

Arrays   A own reals, I own categories, F and J the forward run's, P packed parameters, L lengths (axis, row),
         C active rows (axis, step), R the row's place in the batch; x_* inputs, y_* results, k_* carried
         values, m_* shared values, s_* totals. All are flat: a row is `offset + ((step + front) * nb + b) * width`.
         A place that holds a chunk of steps only counts them from t0, the chunk's first.
Numbers  nb sequences here, batch all of them, chunk steps; n_ a size, p_ the same padded, o_ an offset, w_ a row's
         width, T_ steps of an axis, q_ elements of a region, l_ S_ u_ c_ places in L and C; f_ the table of a fast
         Fourier transform of rows that are n_ wide, real parts and imaginary ones
Loops    t0 to t1 a chunk of steps, b a sequence, j a feature; r1 … rows in memory, v1 … values
"""

from tinygrad_seq.kernels.nests import nests

run = nests(__file__, "{dtype}")  # run(arrays, O): `main` as machine code


'''


@dataclass
class Source:
    """What a generated file needs from the host: its text, and what the table's names mean."""

    text: str
    stages: list[list[Entry]]  # a table each; between one and the next, totals over all sequences are added up
    preparing: list[Entry]  # the table of the program that fills P
    collecting: list[list[Entry]]  # of those that add up the totals that are complete after each stage
    complete: list[list[str]]  # which these are
    listings: list[list[str]]  # calls, for people: of preparing, then of each stage and what it completes
    dims: dict[str, Dim]  # n_* -> the dim
    packs: list[Pack]
    transforms: dict[Dim, int]  # widths of what is Fourier transformed, both parts, and how many transforms
    vectors: list[str]  # shared vectors and scalars kept in P
    tables: list[str]  # looked-up matrices, kept in P column by column behind one of zeros
    shared: list[str]  # what `preparing` takes
    inputs: list[str]
    results: list[str]
    carried: list[str]
    totals: dict[str, tuple[str, tuple[Dim, ...]]]  # definition -> kind, shape
    scratch: dict[str, tuple[Dim, ...]]
    groups: list[list[str]]  # totals of outer products that share one product
    idents: dict[str, str]  # shared names -> their Python names
    reach: int  # steps that windows keep from chunk to chunk


def generate(name: str, arrangement: Arrangement, layout: Layout, dtype: str) -> Source:
    return _File(name, arrangement, layout, dtype).run()


class _File(Edges, Factors, Shared):
    """One generated file."""

    # ------------------------------------------------------------ the file

    def run(self) -> Source:
        pieces: list[list[Piece]] = [[]]
        for nest in self.arrangement.nests:
            pieces += [[] for _ in range(nest.stage + 1 - len(pieces))]
            pieces[nest.stage] += self._nest(nest)
        preparing = self._preparing()
        collecting: list[list[Piece]] = [[] for _ in pieces]
        for total in self.normal.totals:
            collecting[self._at_stage(total)] += self._collecting(total)
        outside = [(n, f"{letter}_{self._ident(n)}") for letter, n in self._outside()]
        arrays = [a for _, a in outside] + [f"m_{self._ident(w)}" for w in self.shared]
        arrays += [f"s_{self._ident(n)}" for n in self.normal.totals]
        categories = frozenset(a for n, a in outside if self.definitions[n].dtype == "category")
        assembly = Assembly(arrays, categories)
        stages = [assembly.program(p) for p in pieces]
        first, last = assembly.program(preparing), [assembly.program(p) for p in collecting]
        return Source(
            HEADER.format(name=self.name, dtype=self.dtype) + assembly.text(),
            [p.table() for p in stages],
            first.table(),
            [p.table() for p in last],
            [[t for t in self.normal.totals if self._at_stage(t) == k] for k in range(len(stages))],
            [p.listing for p in (first, *(p for pair in zip(stages, last, strict=True) for p in pair))],
            {f"n_{i}": d for d, i in self.dims.items()},
            self.packs,
            self.transforms,
            list(self.vectors),
            list(self.tables),
            self.shared,
            list(self.inputs),
            list(self.results),
            list(self.carried),
            self.totals,
            self.scratch,
            self.outer_groups,
            self.names,
            max([sum(p.pads[p.window]) for p in self.places.values() if p.window], default=0),
        )

    def _outside(self) -> list[tuple[str, str]]:
        """The caller's arrays: what begins their names, and whose they are."""
        groups = (("x", self.inputs), ("y", self.results), ("k", self.carried))
        return [(letter, n) for letter, names in groups for n in names]

    # ------------------------------------------------------------ one nest

    def _nest(self, nest: Nest) -> list[Piece]:
        """What comes before a nest's loops, stream by stream, and the nest."""
        self.nest = nest
        pieces = []
        for name in nest.members:
            self.lines = []
            self._begin(replace(nest, members=[name]))
            pieces.append(Piece("begin", f"Before the loops: {name}.", tuple(self.lines)))
        self.lines = []
        axis = nest.axis
        if axis is None:
            for _, item in nest.items:
                self._chunk_item(1, item, None)
        else:
            self._chunks(nest, axis)
        for item in nest.sections.get("end", []):
            self._chunk_item(1, item, None)
        return [*pieces, Piece("nest", self._title(nest), tuple(self.lines))]

    def _title(self, nest: Nest) -> str:
        names = [n for n in nest.members if n in self.normal.system.streams][:12]
        way = "" if nest.axis is None else f" over {nest.axis}{'' if nest.direction > 0 else ', descending'}"
        kind = "Recurrence" if nest.recurrent else "Loop" if nest.axis else "Once a sequence"
        return f"{kind}{way}: {', '.join(names) or ', '.join(nest.members[:6])}."

    def _skewed(self, nest: Nest, axis: str) -> None:
        """A loop whose equations run at different steps in one turn: the whole axis is one chunk."""
        self.put(1, f"t0, t1 = 0, T_{axis}")
        for item in nest.sections[BEFORE]:
            self._chunk_item(1, item, axis)
        self.put(1, f"for turn in range(T_{axis} + {max(nest.skew.values())}):")
        self._steps(2, nest.sections[STEP], (nest,))
        for item in nest.sections[AFTER]:
            self._chunk_item(1, item, axis)

    def _steps(self, depth: int, items: Sequence[Item], loops: tuple[Nest | Loop, ...]) -> None:
        """One turn of the innermost of `loops`. Where one is skewed, each item has a step of its own."""
        axes = tuple(loop.axis for loop in loops if loop.axis is not None)
        steps = [f"C[c_{a} + {self.var(a)}]" for a in axes]
        active = f"active = {steps[0]}" if len(steps) == 1 else f"active = min({', '.join(steps)})"
        skewed = any(loop.skew for loop in loops)
        stale = not skewed
        for item in items:
            at = depth
            if isinstance(item, Loop):
                self._loop(depth, item, loops)
                stale = not skewed
                continue
            assert isinstance(item, Group | Products)
            for k, (axis, loop) in enumerate(zip(axes, loops, strict=True)):
                if loop.skew:
                    step, turn, lag = self.var(axis), self._turn(k), item.lags[k]
                    ahead = f"{turn} - {lag}" if loop.direction > 0 else f"T_{axis} - 1 - {turn} + {lag}"
                    self.put(at, f"{step} = {ahead}")
                    self.put(at, f"if 0 <= {step} < T_{axis}:")
                    at += 1
            if stale or skewed:
                self.put(at, active)
                stale = False
            if isinstance(item, Group):
                self._group(at, item, axes)
            else:
                self._products(at, item, axes, step=True)

    @staticmethod
    def _turn(depth: int) -> str:
        return f"i_turn{depth}" if depth else "turn"

    def _loop(self, depth: int, loop: Loop, around: tuple[Nest | Loop, ...]) -> None:
        """A loop over a further axis within a step."""
        steps = f"T_{loop.axis}"
        if loop.skew:
            self.put(depth, f"for {self._turn(len(around))} in range({steps} + {max(loop.skew.values())}):")
        else:
            bounds = steps if loop.direction > 0 else f"{steps} - 1, -1, -1"
            self.put(depth, f"for {self.var(loop.axis)} in range({bounds}):")
        self._steps(depth + 1, loop.items, (*around, loop))

    def _chunks(self, nest: Nest, axis: str) -> None:
        if nest.skew:
            self._skewed(nest, axis)
            return
        if nest.direction > 0:
            self.put(1, f"for t0 in range(0, T_{axis}, chunk):")
            self.put(2, f"t1 = min(T_{axis}, t0 + chunk)")
        else:
            self.put(1, f"for turn in range((T_{axis} + chunk - 1) // chunk):")
            self.put(2, f"t0 = ((T_{axis} + chunk - 1) // chunk - 1 - turn) * chunk")
            self.put(2, f"t1 = min(T_{axis}, t0 + chunk)")
        self._next_window(2, nest)
        for item in nest.sections[BEFORE]:
            self._chunk_item(2, item, axis)
        if nest.sections[STEP]:
            backwards = "t1 - 1, t0 - 1, -1" if nest.direction < 0 else "t0, t1"
            self.put(2, f"for {self.var(axis)} in range({backwards}):")
            self._steps(3, nest.sections[STEP], (nest,))
        for item in nest.sections[AFTER]:
            self._chunk_item(2, item, axis)

    def _chunk_item(self, depth: int, item: Item, axis: str | None) -> None:
        begin = len(self.lines)
        if axis is not None and isinstance(item, Group | Products):
            made = item.outputs if isinstance(item, Group) else [name for name, _, _ in item.terms]
            limited = self.limits(axis)
            if all(n in limited for n in made):
                self.put(depth, f"if t0 < {max(limited[n] for n in made)}:")
                depth += 1
        if isinstance(item, Transfer):
            self._transfer(depth, item, axis)
        elif isinstance(item, Products):
            self._products(depth, item, (axis,) if axis else (), step=False)
        elif isinstance(item, Outers):
            self._outers(depth, item, axis)
        elif isinstance(item, Group):
            if axis is None:
                self.put(depth, "active = nb")
                self._group(depth, item, ())
                return
            self.put(depth, f"for {self.var(axis)} in range(t0, t1):")
            self.put(depth + 1, f"active = C[c_{axis} + {self.var(axis)}]")
            self._group(depth + 1, item, (axis,))
        self.unit(begin)

    def limits(self, axis: str) -> dict[str, int]:
        if axis not in self._limits:
            self._limits[axis] = limits(self.normal, axis, self.layout.kept)
        return self._limits[axis]

    # ------------------------------------------------------------ loops over rows

    def _group(self, depth: int, group: Group, fixed: tuple[str, ...]) -> None:
        """A loop over rows at one step of the `fixed` axes."""
        inner = [a for a in group.inner if a not in fixed]
        self.put(depth, "for b in range(active):")
        depth += 1
        for axis in fixed:
            self.put(depth, f"if {self.var(axis)} >= {self.extent(axis)}:")
            self.put(depth + 1, "continue")
        for name in group.outputs:
            d = self.definitions[name]
            if d.kind == "reduce" and not set(fixed) & set(d.over):
                self._start_reduction(depth, name, fixed)
        for a in inner:
            self.put(depth, f"for {self.var(a)} in range({self.extent(a)}):")
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

        scratch = itertools.count()
        context = Context(
            self.normal,
            self.address,
            held,
            self.table,
            self.category,
            self.size,
            self.padded,
            lambda a: f"({self.var(a)} + L[S_{a} + b])",
            self.extent,
            lambda shape: self._scratch(shape, next(scratch)),
            self.fail,
        )
        outputs = [o for name in group.outputs for o in self._outputs(name)]
        program = RowProgram(context, outputs)
        lines = ["    " * (depth + deeper) + text for deeper, text in program.emit()]
        done = 0
        for begin, end in program.loops:
            self.lines += [*lines[done:begin], Block(tuple(lines[begin:end]))]
            done = end
        self.lines += lines[done:]

    def _scratch(self, shape: tuple[Dim, ...], k: int) -> Address:
        key = f"scratch_{'_'.join(map(self._dim, shape))}_{k}"
        self.scratch[key] = shape
        scope = self.scope(key)
        return Address("A", f"o_{key}", f"load_{scope}", f"store_{scope}")

    def _outputs(self, name: str) -> list[Output]:
        d, place = self.definitions[name], self.places[name]
        if d.kind == "total":
            self.totals[name] = ("total", d.shape)
            return [Output(d.value, self._at(place, f"o_{place.ident}"), "sum", "0", d.shape)]
        if d.kind == "scatter":
            leaf = d.operands[0].leaf
            assert isinstance(leaf, Read)
            self.totals[name] = ("scatter", d.shape)
            self.size(d.shape[1])
            row = f"o_{place.ident} + ({self.category(leaf)} + 1) * w_{place.ident}"
            return [Output(d.value, self._at(place, row), "sum", "0", d.shape[:1])]
        here = self._at(place, self.row(place, {a: self.var(a) for a in place.axes}))
        if d.kind == "pieces":
            return [
                Output(p.value, here, "set", "0" if p.start == 0 else self.size(p.start), (p.size,), stretch=True)
                for p in d.pieces
            ]
        if d.dtype == "category":
            return [Output(d.value, here)]
        return [Output(d.value, here, d.reduction if d.kind == "reduce" else "set", "0", d.shape)]

    def _start_reduction(self, depth: int, name: str, fixed: tuple[str, ...]) -> None:
        d, place = self.definitions[name], self.places[name]
        for a in d.axes:
            if a not in fixed:
                self.put(depth, f"for {self.var(a)} in range({self.extent(a)}):")
                depth += 1
        here = self._at(place, self.row(place, {a: self.var(a) for a in place.axes}))
        self._fill_row(depth, here, FOLDS[d.reduction][0], d.shape)
