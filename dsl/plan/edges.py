"""Where loops meet the world: boundaries outside a stream's steps, carried values, inputs and results.

Boundary rows are filled in before a nest runs, so that its loops read outside their steps without asking.
"""

from __future__ import annotations

from dsl.plan.buffers import Place
from dsl.plan.features import FOLDS
from dsl.plan.loops import Nest, Transfer
from dsl.plan.writer import Writer
from dsl.system.dims import Dim
from dsl.system.system import Read


class Edges(Writer):
    """Text for what happens before, into and out of a nest's loops."""

    # ------------------------------------------------------------ before the loops: boundaries, zeros

    def _begin(self, nest: Nest) -> None:
        for name in nest.members:
            d, place = self.definitions[name], self.places[name]
            if d.kind in ("total", "scatter", "outer"):
                self.put(1, f"zero(A, o_{place.ident}, q_{place.ident})")
                continue
            if d.kind == "reduce" and nest.axis in d.over:
                self._fill_all(place, d.shape, FOLDS[d.reduction][0])
            if place.window:
                self._first_window(name, nest)
            elif any(f or b for f, b in place.pads.values()) or (name in self.layout.kept and place.axes):
                self._boundary(name)

    def _fill_all(self, place: Place, shape: tuple[Dim, ...], value: str) -> None:
        at = self._at(place, f"o_{place.ident} + i * w_{place.ident}")
        self.put(1, f"for i in range(K_{place.ident}):")
        self._fill_row(2, at, value, shape)

    def _boundary(self, name: str) -> None:
        """Fill the padding steps, and what lies past each sequence's own end, with the boundary value."""
        place = self.places[name]
        depth = 1
        self.put(depth, f"# outside its steps {name} is its boundary")
        self.put(depth, "for b in range(nb):")
        depth += 1
        if len(place.axes) == 1:
            (a,) = place.axes
            front, back = place.pads[a]
            self.put(depth, f"for k in range({front} + T_{a} + {back} - {self.extent(a)}):")
            self.put(depth + 1, f"{self.var(a)} = k - {front} if k < {front} else k - {front} + {self.extent(a)}")
            depth += 1
        else:
            for a in place.axes:
                front, back = place.pads[a]
                self.put(depth, f"for {self.var(a)} in range({-front}, T_{a} + {back}):")
                depth += 1
            inside = " and ".join(f"0 <= {self.var(a)} < {self.extent(a)}" for a in place.axes)
            self.put(depth, f"if {inside}:")
            self.put(depth + 1, "continue")
        self._bound(depth, name)
        if len(place.axes) == 1 and place.pads[place.axes[0]][0] and self.nest is not None:
            self._carry(name, place)

    def _bound(self, depth: int, name: str) -> None:
        """Store the boundary value in one row."""
        d, place = self.definitions[name], self.places[name]
        here = self._at(place, self.row(place, {a: self.var(a) for a in place.axes}))
        if place.array == "I":
            value = (
                "-1" if d.boundary is None or isinstance(d.boundary, float) and d.boundary < 0 else str(int(d.boundary))
            )
            self.put(depth, f"I[{here.offset}] = {value}")
        elif isinstance(d.boundary, str):
            source = self.address(Read(d.boundary, ()))
            if not d.shape:
                self.put(depth, f"{here.store}(A, {here.offset}, {source.load}({source.array}, {source.offset}))")
            else:
                self.put(depth, f"row, start = {here.offset}, {source.offset}")
                depth, own, _ = self._matrix_rows(depth, d.shape)
                self.put(depth, f"for j in range({self.size(d.shape[-1])}):")
                self.put(depth + 1, f"{here.store}(A, row{own} + j, {source.load}({source.array}, start{own} + j))")
                self._clear_padding(depth, here, f"row{own}", d.shape[-1])
        else:
            value = {float("inf"): "infinity", float("-inf"): "-infinity"}.get(
                d.boundary or 0.0, f"real({d.boundary or 0.0!r})"
            )
            self._fill_row(depth, here, value, d.shape)

    def _carry(self, name: str, place: Place) -> None:
        """Values of the steps already run take the place of the boundary."""
        d = self.definitions[name]
        (a,) = place.axes
        self.carried.setdefault(name)
        ident = place.ident
        self.put(1, f"for {self.var(a)} in range(-K_carry_{ident}, 0):")
        self.put(2, "for b in range(nb):")
        here = self._at(place, self.row(place, {a: self.var(a)}))
        source = f"({self.var(a)} + K_carry_{ident}) * batch + R[b]"
        if place.array == "I":
            self.put(3, f"I[{here.offset}] = k_{ident}[{source}]")
        elif not d.shape:
            self.put(3, f"{here.store}(A, {here.offset}, k_{ident}[{source}])")
        else:
            self.put(3, f"row, start = {here.offset}, ({source}) * {self.elements(d.shape)}")
            depth, own, dense = self._matrix_rows(3, d.shape)
            self.put(depth, f"for j in range({self.size(d.shape[-1])}):")
            self.put(depth + 1, f"{here.store}(A, row{own} + j, k_{ident}[start{dense} + j])")
            self._clear_padding(depth, here, f"row{own}", d.shape[-1])

    # ------------------------------------------------------------ windows

    def _first_window(self, name: str, nest: Nest) -> None:
        """The boundary value, or what was carried in, on the steps before the first chunk's."""
        place, axis = self.places[name], self.places[name].window
        front, back = place.pads[axis]
        if not front + back:
            return
        last = f"(T_{axis} + chunk - 1) // chunk * chunk - chunk"
        self.put(1, f"# outside its steps {name} is its boundary")
        self.put(1, f"t0 = {0 if nest.direction > 0 else last}")
        bounds = f"{-front}, 0" if front else f"T_{axis}, T_{axis} + {back}"
        depth = self._rows_at(1, place, bounds)
        self._bound(depth, name)
        if front and len(place.axes) == 1:
            self._carry(name, place)

    def _rows_at(self, depth: int, place: Place, bounds: str) -> int:
        """Loops over a window's rows at some steps; the depth inside."""
        for a in place.axes:
            self.put(depth, f"for {self.var(a)} in range({bounds if a == place.window else f'T_{a}'}):")
            depth += 1
        self.put(depth, "for b in range(nb):")
        return depth + 1

    def _next_window(self, depth: int, nest: Nest) -> None:
        """At the start of a chunk: steps that are still read move to where they lie before its own."""
        for head, names in self.layout.slabs.items():
            place = self.places[head]
            if head not in nest.members or not place.window or not sum(place.pads[place.window]):
                continue
            axis, (front, back) = place.window, place.pads[place.window]
            begin = len(self.lines)
            self.put(depth, f"if {'t0 > 0' if front else f't1 < T_{axis}'}:")
            at, block, base = depth + 1, f"nb * w_{place.ident}", "0"
            split = place.axes.index(axis)
            for a in place.axes[split + 1 :]:
                block = f"T_{a} * {block}"
            for a in place.axes[:split]:
                self.put(at, f"for {self.var(a)} in range(T_{a}):")
                base = f"({base} * T_{a} + {self.var(a)})" if base != "0" else self.var(a)
                at += 1
            start = f"o_{place.ident}" + (f" + {base} * {self.span(place, axis)} * {block}" if base != "0" else "")
            array, far = place.array, f"{start} + chunk * {block}"
            to, origin = (start, far) if front else (far, start)
            self.put(at, f"copy({array}, {to}, {array}, {origin}, {front + back} * {block})  # {', '.join(names)}")
            if back:  # past its own end a shorter sequence has the boundary, too
                self.put(depth, "if ragged:")
                own = self._rows_at(depth + 1, place, "t0, t1")
                self.put(own, f"if {self.var(axis)} >= {self.extent(axis)}:")
                for name in names:
                    self._bound(own + 1, name)
            self.unit(begin)

    # ------------------------------------------------------------ to and from the caller's arrays

    def _transfer(self, depth: int, item: Transfer, axis: str | None) -> None:
        d, place = self.definitions[item.name], self.places[item.name]
        (self.inputs if item.kind == "load" else self.results).setdefault(item.name)
        prefix = "x" if item.kind == "load" else "y"
        flat = ""
        for a in d.axes:
            bounds = "t0, t1" if a == axis else f"T_{a}"
            self.put(depth, f"for {self.var(a)} in range({bounds}):")
            depth += 1
            flat = self.var(a) if not flat else f"({flat} * T_{a} + {self.var(a)})"
        self.put(depth, "for b in range(nb):")
        depth += 1
        for a in d.axes:
            self.put(depth, f"if {self.var(a)} >= {self.extent(a)}:")
            self.put(depth + 1, "continue")
        here = self._at(place, self.row(place, {a: self.var(a) for a in place.axes}))
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
        size = self.size(d.shape[-1])
        depth, own, dense = self._matrix_rows(depth, d.shape)
        memory, outside = f"A, {here.offset}{own}", f"{array}, ({there}) * {self.elements(d.shape)}{dense}"
        first, second = (memory, outside) if item.kind == "load" else (outside, memory)
        self.put(depth, f"copy({first}, {second}, {size})")
