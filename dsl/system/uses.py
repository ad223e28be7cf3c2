"""`use`: fresh copies of cells, their arguments bound, storey by storey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dsl.system.copies import Copy, TimeMap
from dsl.system.dims import Dim
from dsl.system.names import Names
from dsl.system.scope import Scope
from dsl.text.diagnostics import suggest
from dsl.text.tree import Argument, Cell, Declaration, Expr, Number, Ref, Span, Use


class Uses(Names):
    """Makes the copies that one body uses; `inline` puts a copy's own body in."""

    inline: Callable[[Copy], None]

    @staticmethod
    def _is_cell_parameter(cell: Cell, name: str, default: Expr | None, scope: Scope) -> bool:
        if isinstance(default, Ref) and scope.cell(default.name) is not None:
            return True
        return any(isinstance(s, Use) and s.cell == name for s in cell.body)

    def _bind_cell(self, copy: Copy, name: str, target: str, scope: Scope, span: Span) -> None:
        found = scope.cell(target)
        if found is None:
            near = suggest(target, scope.names())
            self._problem(
                "E602",
                f"no cell named `{target}`",
                span,
                f"did you mean `{near}`?" if near else "import it or define it above",
            )
            return
        copy.cells[name] = found

    # ------------------------------------------------------------ uses

    def _inputs_known(self, copy: Copy, use: Use, table: dict[str, tuple[str, ...]]) -> bool:
        return all(
            not isinstance(a.value, Ref)
            or a.value.name.split(".")[0] in copy.uses
            or a.value.name.split(".")[0] not in {s.name for s in copy.cell.body if isinstance(s, Use)}
            for a in use.arguments
        )

    def _use(self, copy: Copy, use: Use, table: dict[str, tuple[str, ...]]) -> None:
        shared = copy.uses.get(use.cell) or (copy.model.uses.get(use.name) if copy.model else None) or None
        target = (shared[0].cell, shared[0].scope) if shared else copy.cells.get(use.cell) or copy.scope.cell(use.cell)
        if target is None and any(p.name == use.cell for p in copy.cell.parameters):
            copy.uses[use.name] = []  # an argument that is no cell, which has been told
            return
        if target is None:
            near = suggest(use.cell, [*copy.cells, *copy.scope.names()])
            self._problem(
                "E602",
                f"no cell named `{use.cell}`",
                copy.place(_cell_span(use, copy)),
                f"did you mean `{near}`?" if near else "import it or define it above",
            )
            copy.uses[use.name] = []
            return
        if self._circular(copy, target[0]):
            self._problem(
                "E603", f"`{use.cell}` uses itself", copy.place(use.span), "a cell cannot contain a copy of itself"
            )
            copy.uses[use.name] = []
            return
        storeys = len(shared) if shared else self._storeys(copy, use)
        stacked = shared[0].storey is not None if shared else use.stack is not None
        children: list[Copy] = []
        copy.uses[use.name] = children
        for k in range(storeys):
            prefix = copy.flat(use.name) + (f".{k}." if stacked else ".")
            child = Copy(
                prefix, target[0], target[1], parent=copy, use=use, reverse=use.reverse, storey=k if stacked else None
            )
            child.model = shared[k] if shared else None
            arguments = list(use.arguments)
            if k > 0:
                arguments = self._chain(children[-1], child, arguments)
            self._arguments(copy, child, use, arguments, table, shared[k] if shared else None)
            children.append(child)
            self.inline(child)
            child.outputs = self._copy_outputs(child)

    def _circular(self, copy: Copy, cell: Cell) -> bool:
        up: Copy | None = copy
        while up is not None:
            if up.cell is cell:
                return True
            up = up.parent
        return False

    def _storeys(self, copy: Copy, use: Use) -> int:
        if use.stack is None:
            return 1
        dim = self.dim(copy, use.stack)
        count = None if dim is None else self.number(dim)
        if count is None or count < 1:
            self._problem(
                "E605",
                "the number of storeys must be a known integer of at least 1",
                copy.place(use.span),
                "give it: L=2",
            )
            return 1
        return count

    @staticmethod
    def _chain(below: Copy, child: Copy, arguments: list[Argument]) -> list[Argument]:
        """The next storey's input is the output of the one below."""
        inputs = [
            r.name
            for s in child.cell.body
            if isinstance(s, Declaration) and s.kind == "input"
            for r in s.refs
            if r.index
        ]
        first = inputs[0] if inputs else "x"
        if not below.outputs:
            return arguments
        fed = Ref("^" + below.outputs[0])  # a flat name
        return [replace(a, value=fed) if a.keyword == first else a for a in arguments]

    def _arguments(
        self,
        copy: Copy,
        child: Copy,
        use: Use,
        arguments: list[Argument],
        table: dict[str, tuple[str, ...]],
        shared: Copy | None,
    ) -> None:
        local = {r.name: s for s in child.cell.body if isinstance(s, Declaration) for r in s.refs}
        headers = {p.name: p for p in child.cell.parameters}
        given: set[str] = set()
        if shared is not None:
            self._take_over(child, shared, local)
        for argument in arguments:
            place = copy.place(argument.span)
            name = argument.keyword or ""
            if not name:
                self._problem("E607", "arguments of a `use` have names", place, "write `x=...`, `H=...`")
            elif name in headers:
                given.add(name)
                self._header_argument(copy, child, name, headers[name].default, argument)
            elif name in local and local[name].kind in ("input", "state", "param", "const"):
                given.add(name)
                self._local_argument(copy, child, name, local[name], argument, table)
            else:
                order = ("input", "state", "param")
                known = [
                    *headers,
                    *sorted(
                        (n for n, s in local.items() if s.kind in order[:2]), key=lambda n: order.index(local[n].kind)
                    ),
                ]
                self._no_such_argument(name, child.cell, place, known, [*known, *local])
        self._defaults(copy, child, use)
        missing = [
            n
            for n, s in local.items()
            if s.kind == "input" and n not in given and s.value is None and s.refs[0].index is not None
        ]
        for name in missing:
            child.aliases[name] = "!"
        wrong = [a for a in arguments if a.keyword and a.keyword not in headers and a.keyword not in local]
        for name in missing[len(wrong) :]:  # each wrong name may have meant one of them
            message = f"input `{name}` of `{child.cell.name}` is not given"
            self._problem("E608", message, copy.place(use.span), f"write `{child.cell.name}({name}=..., ...)`")

    @staticmethod
    def _take_over(child: Copy, shared: Copy, local: dict[str, Declaration]) -> None:
        """Sizes and weights of the copy that a `use` shares."""
        child.dims.update(shared.dims)
        child.numbers.update(shared.numbers)
        child.cells.update(shared.cells)
        for name, statement in local.items():
            if statement.kind in ("param", "const"):
                child.aliases[name] = shared.aliases.get(name, shared.flat(name))

    def _defaults(self, copy: Copy, child: Copy, use: Use) -> None:
        """What the cell's head says of its parameters that were not given; a size that it leaves open is a new one."""
        for parameter in child.cell.parameters:
            name, default = parameter.name, parameter.default
            if name in child.dims or name in child.numbers or name in child.cells:
                continue
            if self._is_cell_parameter(child.cell, name, default, child.scope):
                if isinstance(default, Ref):
                    self._bind_cell(child, name, default.name, child.scope, copy.place(use.span))
            elif isinstance(default, Number) and isinstance(default.value, int):
                child.dims[name] = Dim.of(default.value)
            elif isinstance(default, Number) and isinstance(default.value, float):
                child.numbers[name] = default.value
            else:
                size = None if default is None else self.dim(child, default)
                child.dims[name] = Dim.of(f"?{child.prefix}{name}") if size is None else size

    def _header_argument(self, copy: Copy, child: Copy, name: str, default: Expr | None, argument: Argument) -> None:
        if self._is_cell_parameter(child.cell, name, default, child.scope):
            if isinstance(argument.value, Ref):
                found = copy.cells.get(argument.value.name) or copy.scope.cell(argument.value.name)
                if found is not None:
                    child.cells[name] = found
                    return
            self._problem("E604", f"`{name}` needs a cell", copy.place(argument.span), "name one: `Cell=GRU`")
            return
        number = self.real(copy, argument.value)
        if number is not None:
            child.numbers[name] = number
            return
        dim = self.dim(copy, argument.value)
        if dim is None:
            self._problem(
                "E607",
                f"`{name}` needs a size: an integer expression of this cell's arguments",
                copy.place(argument.span),
                "as in `H=2*H`",
            )
            return
        child.dims[name] = dim

    def _local_argument(
        self,
        copy: Copy,
        child: Copy,
        name: str,
        statement: Declaration,
        argument: Argument,
        table: dict[str, tuple[str, ...]],
    ) -> None:
        if statement.kind == "state" or (
            statement.kind == "input" and not next(r for r in statement.refs if r.name == name).index
        ):
            if statement.kind == "state":
                child.boundaries[name] = (argument.value, copy)
                return
        value = argument.value
        place = copy.place(argument.span)
        if not isinstance(value, Ref) or (value.index is not None and statement.kind != "input"):
            self._problem(
                "E607",
                f"`{name}=` takes a name",
                place,
                "define a stream first, then pass it: `z[t] = ...`, `use ...(x=z)`",
            )
            child.aliases[name] = "!"
            return
        flat = value.name[1:] if value.name.startswith("^") else self.flat_name(copy, value.name)
        if flat is None:
            near = suggest(value.name, [*table, *copy.uses])
            self._problem(
                "E201",
                f"unknown name `{value.name}`",
                place,
                f"did you mean `{near}`?" if near else "define it in this cell",
            )
            child.aliases[name] = "!"
            return
        ref = next(r for r in statement.refs if r.name == name)
        if statement.kind == "input" and ref.index and statement.value is not None:
            child.aliases[f"^{name}"] = flat  # outside its steps the copy's input is what its own cell says
        else:
            child.aliases[name] = flat
        if statement.kind == "input":
            self._map_axes(copy, child, ref, flat, table, value.name)

    def _map_axes(
        self, copy: Copy, child: Copy, ref: Ref, flat: str, table: dict[str, tuple[str, ...]], written: str
    ) -> None:
        axes = self.axes_of(flat) or table.get(written)
        for position, index in enumerate(ref.index or ()):
            if not isinstance(index, Ref) or index.name in child.axes:
                continue
            axis = axes[position] if axes and position < len(axes) and axes[position] else None
            if axis is None:
                around = copy.axes.get(index.name)
                axis = around.axis if around else next(iter(self.flat.axes), index.name)
                self.flat.axes.setdefault(axis, None)
            flipped = next((m.flipped for m in copy.axes.values() if m.axis == axis), False)
            child.axes[index.name] = TimeMap(axis, flipped != child.reverse)


def _cell_span(use: Use, copy: Copy) -> Span:
    """Of the cell's name in a `use` line."""
    text = copy.scope.file.source.text[use.span.start : use.span.end]
    start = use.span.start + text.find(use.cell + "(", text.find("="))
    return Span(start, start + len(use.cell)) if start >= use.span.start else use.span
