"""Products: which run as one, how their weights are packed, and the calls of the product kernel.

Accumulators side by side that read the same operand are one wider product; operands side by side that feed one
accumulator are one deeper product. Sums of outer products over a chunk of steps are products too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from dsl.plan.definitions import Term, is_home
from dsl.plan.loops import Entry, Outers, Products
from dsl.plan.writer import Pack, Writer
from dsl.system.dims import Dim
from dsl.system.system import Read

T = TypeVar("T")
Run = list[list[Entry]]  # columns, each a list of stacked operands


class Factors(Writer):
    """Text for products and sums of outer products."""

    # ------------------------------------------------------------ products

    def _products(self, depth: int, item: Products, fixed: tuple[str, ...], step: bool) -> None:
        """Products at one step of the `fixed` axes, or (not `step`) at a chunk's steps of the only one."""
        for run in self._runs(item):
            self._product(depth, run, fixed, step)

    def _runs(self, item: Products) -> list[Run]:
        """Terms stacked: a run is a list of columns (adjacent accumulators), each a list of adjacent operands.

        Stacked along N: accumulators side by side that read the same operand. Stacked along K: operands side by
        side that feed one accumulator.
        """
        tall: Run = []
        rest = [e for e in item.terms if not e[1].transform]
        by_target: dict[tuple[str, object], list[Entry]] = {}
        for entry in rest:
            by_target.setdefault((entry[0], entry[1].operand.index), []).append(entry)
        for entries in by_target.values():
            tall += self._adjacent(entries, lambda e: e[1].operand.name)
        wide: list[Run] = []
        singles: dict[tuple[object, bool, bool], list[Entry]] = {}
        unset = {name for name, _, first in item.terms if first}
        for column in tall:
            first = column[0][0] in unset
            unset.discard(column[0][0])
            column = [(n, t, first) for n, t, _ in column]
            if len(column) > 1:
                wide.append([column])
            else:
                singles.setdefault((column[0][1].operand, first, True), []).append(column[0])
        for entries in singles.values():
            wide += [[[e] for e in run] for run in self._adjacent(entries, lambda e: e[0])]
        wide.sort(key=lambda run: not run[0][0][2])  # those that overwrite come first
        return [[[e]] for e in item.terms if e[1].transform] + wide

    def _adjacent(self, entries: Sequence[T], key: Callable[[T], str]) -> list[list[T]]:
        """Split into lists whose keys are consecutive columns of one slab."""
        out: list[list[T]] = []
        last = ("", 0)
        columns = self.layout.columns
        for at, entry in sorted(((columns.get(key(e), (key(e), 0)), e) for e in entries), key=lambda pair: pair[0]):
            if out and (last[0], last[1] + 1) == at:
                out[-1].append(entry)
            else:
                out.append([entry])
            last = at
        return out

    def _product(self, depth: int, run: Run, fixed: tuple[str, ...], step: bool) -> None:
        target, term, first = run[0][0]
        assert first or not term.transform
        d, place, source = self.definitions[target], self.places[target], self.places[term.operand.name]
        call = self._transform(term, d.shape[0]) if term.transform else self._packed(run)
        here = {a: self.var(a) for a in d.axes}
        there = {}
        for a, index in zip(self.definitions[term.operand.name].axes, term.operand.index, strict=True):
            there[a] = self.index(index, a)[0]
        inner = [a for a in d.axes if a not in fixed]
        axis = fixed[0] if fixed else None
        made = ", ".join(column[0][0] for column in run)
        note = f"  # {made} {'=' if first else '+='} {', '.join(str(t) for column in run for _, t, _ in column)}"

        def emit(at: int, count: str, steps: dict[str, str]) -> None:
            mine = self.row(place, {a: steps.get(a, here[a]) for a in place.axes}, "0")
            theirs = self.row(source, {a: self._subst(there[a], steps) for a in source.axes}, "0")
            operand, result = f"{source.array}, {theirs}, w_{source.ident}", f"A, {mine}, w_{place.ident}"
            self.put(at, call.format(operand=operand, result=result, count=count) + note)

        if inner:
            *outer, other = inner
            if not step and axis is not None:
                self.put(depth, f"for {self.var(axis)} in range(t0, t1):")
                depth += 1
            for a in outer:
                self.put(depth, f"for {self.var(a)} in range(T_{a}):")
                depth += 1
            if place.axes[-1] == source.axes[-1] == other:
                emit(depth, f"T_{other} * nb", {other: "0"})
            else:  # the steps of the other axis are not neighbours in memory
                self.put(depth, f"for {self.var(other)} in range(T_{other}):")
                emit(depth + 1, "nb", {})
        elif axis is None:
            emit(depth, "nb", {})
        elif step:
            emit(depth, "active", {})
        elif place.local or source.local:
            self.fail("a hoisted product of a local value")
        else:
            self.put(depth, "if not ragged:")
            emit(depth + 1, "(t1 - t0) * nb", {axis: "t0"})
            self.put(depth, "else:")
            self.put(depth + 1, f"for {self.var(axis)} in range(t0, t1):")
            emit(depth + 2, f"C[c_{axis} + {self.var(axis)}]", {})

    def _transform(self, term: Term, shape: Dim) -> str:
        """The call of a Fourier transform, but for its operands."""
        self.transforms[shape] = self.transforms.get(shape, 0) + 1
        table = f"f_{self._dim(shape)}"
        return f"transform({{operand}}, {{result}}, {{count}}, {int(term.transform == 'ifft')}, {table}, A, o_work)"

    def _packed(self, run: Run) -> str:
        """The call of a product with packed weights, but for its operands."""
        pack = self._pack(run)
        columns = " + ".join([self.padded(c) for c in pack.columns[:-1]] + [self.size(pack.columns[-1])])
        rows = " + ".join([self.padded(r) for r in pack.rows[:-1]] + [self.size(pack.rows[-1])])
        call = "product_set" if run[0][0][2] else "product_add"
        return f"{call}({{operand}}, P, o_{pack.name}, {{result}}, {{count}}, {columns}, {rows})"

    def _subst(self, text: str, steps: Mapping[str, str]) -> str:
        for a, value in steps.items():
            text = re.sub(rf"\b{re.escape(self.var(a))}\b", value, text)
        return text

    def _pack(self, run: Run) -> Pack:
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

    # ------------------------------------------------------------ sums of outer products

    def _outers(self, depth: int, item: Outers, axis: str | None) -> None:
        by_right: dict[tuple[object, object, object], list[str]] = {}
        self.packed_rows = ""
        for name in item.names:
            d = self.definitions[name]
            left, right = (o.leaf for o in d.operands)
            assert isinstance(left, Read) and isinstance(right, Read)
            by_right.setdefault((right, left.index, d.over), []).append(name)
        for names in by_right.values():
            for run in self._adjacent(names, self._left):
                self._outer(depth, run, axis)

    def _left(self, name: str) -> str:
        leaf = self.definitions[name].operands[0].leaf
        assert isinstance(leaf, Read)
        return leaf.name

    def _outer(self, depth: int, names: list[str], axis: str | None) -> None:
        first = self.definitions[names[0]]
        left, right = (o.leaf for o in first.operands)
        assert isinstance(left, Read) and isinstance(right, Read)
        heights = [self.definitions[n].shape[0] for n in names]
        width = first.shape[1]
        self.outer_groups.append(names)
        head = self.places[names[0]]
        for n, h in zip(names, heights, strict=True):
            self.totals[n] = ("outer", (h, width))
            self.size(h)
        m = " + ".join([self.padded(h) for h in heights[:-1]] + [self.size(heights[-1])])
        n = self.size(width)
        over = list(first.over)
        walk = axis if axis in over else None
        others = [a for a in over if a != walk]
        inner = others[-1] if others else None
        if walk is not None and inner is not None:
            self.put(depth, f"for {self.var(walk)} in range(t0, t1):")
            depth += 1
        for a in others[:-1]:
            self.put(depth, f"for {self.var(a)} in range(T_{a}):")
            depth += 1
        if len(others) > (walk is None):
            self.packed_rows = ""  # in a loop of its own
        along = inner or walk
        bounds = f"0, T_{inner}" if inner else "t0, t1" if walk else "0, 1"
        counts = f"C, c_{along}" if along else "C, c_once"
        self._silence(depth, [(left, m), (right, n)], over, along, bounds)
        for read, target, call, columns in ((left, "rows", "pack_rows", m), (right, "panels", "pack_panels", n)):
            place = self.places[read.name]
            steps = {a: self.index(i, a)[0] for a, i in zip(self.definitions[read.name].axes, read.index, strict=True)}
            if along:
                steps[along] = self._subst(steps[along], {along: "0"})
            stride = f"nb * w_{place.ident}"
            for a in place.axes[place.axes.index(along) + 1 :] if along else ():
                stride = f"{self.span(place, a)} * {stride}"
            origin = self.row(place, steps, "0")
            left_side = f"{place.array}, {origin}, {stride}, w_{place.ident}, {columns}"
            line = f"rows = {call}({left_side}, {counts}, {bounds}, A, o_{target})"
            if line != self.packed_rows:  # of several weights that read one value, the adjoint is packed once
                self.put(depth, line)
            if target == "rows":
                self.packed_rows = line
        result = f"A, o_{head.ident}, w_{head.ident}, {m}, {n}, rows"
        self.put(depth, f"weight_gradient(A, o_rows, A, o_panels, {result})  # {', '.join(names)}")

    def _silence(
        self, depth: int, operands: Sequence[tuple[Read, str]], over: Sequence[str], along: str | None, bounds: str
    ) -> None:
        """Where rows are not sorted by length, those in the active range whose sequence has ended add nothing.

        With one axis they are sorted; with more, the left operand has memory of its own to be silenced in.
        """
        if along is None:
            return
        own = [(r, c) for r, c in operands if self._may_be_silenced(r)]
        assert own or len(self.normal.system.axes) == 1
        if not own:
            return
        self.put(depth, f"if L[u_{along}]:" if len(over) == 1 else "if ragged:")
        self.put(depth + 1, f"for {self.var(along)} in range({bounds}):")
        self.put(depth + 2, "for b in range(nb):")
        self.put(depth + 3, f"if {' or '.join(f'{self.var(a)} >= {self.extent(a)}' for a in over)}:")
        for read, columns in own:
            place = self.places[read.name]
            steps = {a: self.index(i, a)[0] for a, i in zip(self.definitions[read.name].axes, read.index, strict=True)}
            self.put(depth + 4, f"zero(A, {self.row(place, steps)}, {columns})")

    def _may_be_silenced(self, read: Read) -> bool:
        return self.places[read.name].array == "A" and is_home(read, self.definitions[read.name].axes)
