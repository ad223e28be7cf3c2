"""Inlining: a cell and everything it uses become flat names, each definition with the place it was written.

The result still holds syntax trees; `typing` reads them. One `Instance` is one copy of a cell: its
prefix, what its arguments mean, and how its time axes map to the root's (renamed, maybe reversed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dsl.system.dims import Dim
from dsl.system.indices import BadIndex, linear
from dsl.system.scope import Scope
from dsl.text.diagnostics import Diagnostic, Label, suggest
from dsl.text.tree import (
    Argument,
    Binary,
    Call,
    Cell,
    Declaration,
    Draw,
    Equation,
    Expr,
    Loss,
    Negative,
    Number,
    Output,
    Ref,
    Span,
    TimeAxis,
    Transpose,
    Type,
    Use,
)


@dataclass(frozen=True)
class TimeMap:
    """A copy's local axis: the root's axis it runs over, and whether it runs over it backwards."""

    axis: str
    flipped: bool = False


@dataclass
class Copy:
    """One inlined copy of a cell."""

    prefix: str
    cell: Cell
    scope: Scope
    dims: dict[str, Dim] = field(default_factory=dict)
    cells: dict[str, tuple[Cell, Scope]] = field(default_factory=dict)
    axes: dict[str, TimeMap] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)  # local name -> flat name, for shared and given ones
    boundaries: dict[str, tuple[Expr, Copy]] = field(
        default_factory=dict
    )  # state -> boundary given by the user of the copy
    uses: dict[str, list[Copy]] = field(default_factory=dict)
    parent: Copy | None = None
    use: Use | None = None
    outputs: list[str] = field(default_factory=list)  # flat names
    reverse: bool = False
    storey: int | None = None
    unknown_axes: set[str] = field(default_factory=set)  # reported already

    def flat(self, name: str) -> str:
        return self.prefix + name

    @property
    def root(self) -> Copy:
        copy = self
        while copy.parent is not None:
            copy = copy.parent
        return copy

    def place(self, span: Span) -> Span:
        """Where to point for something in this copy: its own text, or the `use` that brought it in."""
        copy: Copy = self
        while copy.parent is not None and copy.scope.file.source is not copy.root.scope.file.source:
            assert copy.use is not None
            span, copy = copy.use.span, copy.parent
        return span


@dataclass
class Declared:
    """A declaration of one flat name."""

    name: str
    kind: str
    axes: tuple[str, ...]
    copy: Copy
    span: Span
    type: Type | None = None
    boundary: Expr | None = None
    boundary_copy: Copy | None = None
    distribution: Call | None = None
    kept: bool = False


@dataclass
class Defined:
    """An equation, a drawn stream's distribution or a loss of one flat name."""

    name: str
    axes: tuple[str, ...]
    local_axes: tuple[str, ...]
    value: Expr
    copy: Copy
    span: Span
    target_span: Span
    total: bool = False
    drawn: Call | None = None
    loss: bool = False


@dataclass
class Flat:
    """Everything of a cell after inlining, in source order."""

    root: Copy
    declared: dict[str, Declared] = field(default_factory=dict)
    defined: dict[str, Defined] = field(default_factory=dict)
    axes: dict[str, tuple[Expr, Copy, Span] | None] = field(default_factory=dict)  # None: given by the data
    outputs: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    structural: dict[str, Any] = field(default_factory=dict)  # arguments that are numbers here


class Elaborator:
    """Walks a cell and its uses; problems are collected, never raised."""

    def __init__(self, cell: Cell, scope: Scope, arguments: dict[str, Any], problems: list[Diagnostic]) -> None:
        self.problems = problems
        self.arguments = arguments
        self.values: dict[str, Any] = {}
        self.flat = Flat(Copy("", cell, scope))

    # ------------------------------------------------------------ arguments

    def run(self) -> Flat:
        root = self.flat.root
        for given in self.arguments:
            if given not in {p.name for p in root.cell.parameters}:
                self._no_such_argument(given, root.cell, root.cell.span, [p.name for p in root.cell.parameters])
        for parameter in root.cell.parameters:
            value = self.arguments.get(parameter.name)
            default = parameter.default
            if self._is_cell_parameter(root.cell, parameter.name, default, root.scope, value):
                name = value if value is not None else default.name if isinstance(default, Ref) else None
                if name is None:
                    self._problem("E604", f"`{parameter.name}` needs a cell", parameter.span, 'give one: Cell="LSTM"')
                    continue
                self._bind_cell(root, parameter.name, str(name), root.scope, parameter.span)
                self.values[parameter.name] = str(name)
                continue
            if value is None and isinstance(default, Number) and isinstance(default.value, int):
                value = default.value
            self.values[parameter.name] = value
            root.dims[parameter.name] = Dim.of(parameter.name)
        self._body(root)
        for copy in self.flat.copies:
            for statement in copy.cell.body:
                if isinstance(statement, Declaration):
                    self._declare(copy, statement)
                elif isinstance(statement, Equation | Draw | Loss):
                    self._define(copy, statement)
        self._root_outputs(root)
        return self.flat

    @staticmethod
    def _is_cell_parameter(cell: Cell, name: str, default: Expr | None, scope: Scope, value: Any) -> bool:
        if isinstance(value, str):
            return True
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

    def number(self, dim: Dim) -> int | None:
        """A dim's value where the arguments (or their defaults) give one."""
        bound = dim.bind({k: v for k, v in self.values.items() if isinstance(v, int)})
        return int(bound) if bound.is_constant else None

    # ------------------------------------------------------------ problems

    def _problem(
        self, code: str, message: str, span: Span, hint: str = "", label: str = "", related: tuple[Label, ...] = ()
    ) -> None:
        self.problems.append(Diagnostic(code, message, span, label, related, hint))

    def _no_such_argument(
        self, name: str, cell: Cell, span: Span, known: list[str], near_to: list[str] | None = None
    ) -> None:
        near = suggest(name, near_to or known)
        hint = (f"did you mean `{near}`? " if near else "") + f"`{cell.name}` has " + (", ".join(known) or "none")
        self._problem("E601", f"`{cell.name}` has no argument `{name}`", span, hint)

    # ------------------------------------------------------------ one body

    def _body(self, copy: Copy) -> None:
        self.flat.copies.append(copy)
        self._axes(copy)
        for statement in copy.cell.body:
            if isinstance(statement, TimeAxis):
                self._time(copy, statement)
        pending = [s for s in copy.cell.body if isinstance(s, Use)]
        tables = self._own_axes(copy)
        seen: set[str] = set()
        for use in list(pending):
            if use.name in seen or use.name in tables:
                self._problem(
                    "E606",
                    f"`{use.name}` is the name of something else here",
                    use.span,
                    "give the copy a name of its own",
                )
                pending.remove(use)
            seen.add(use.name)
        while pending:
            ready = next((u for u in pending if self._inputs_known(copy, u, tables)), pending[0])
            pending.remove(ready)
            self._use(copy, ready, tables)

    def _axes(self, copy: Copy) -> None:
        """Axes that the data gives: those of inputs, states, noises and drawn streams of the root."""
        for statement in copy.cell.body:
            refs: tuple[Ref, ...] = ()
            if isinstance(statement, Declaration):
                refs = statement.refs
            elif isinstance(statement, Draw):
                refs = (statement.target,)
            for ref in refs:
                for index in ref.index or ():
                    if isinstance(index, Ref) and index.index is None and index.name not in copy.axes:
                        if any(isinstance(s, TimeAxis) and s.name == index.name for s in copy.cell.body):
                            continue
                        name = self._fresh_axis(copy, index.name)
                        copy.axes[index.name] = TimeMap(name)
                        self.flat.axes.setdefault(name, None)

    def _fresh_axis(self, copy: Copy, name: str) -> str:
        if copy.parent is None:
            return name
        around = copy.parent.axes.get(name)  # a copy without inputs on this axis runs along its user's
        if around is not None:
            return around.axis
        return self._unused_axis(name)

    def _unused_axis(self, name: str) -> str:
        candidate, n = name, 2
        while candidate in self.flat.axes:
            candidate, n = f"{name}{n}", n + 1
        return candidate

    def _time(self, copy: Copy, statement: TimeAxis) -> None:
        if copy.parent is None and statement.name in copy.axes:
            self._problem(
                "E406", f"axis `{statement.name}` exists already", statement.span, "give the derived axis another name"
            )
            return
        name = statement.name if copy.parent is None else self._unused_axis(statement.name)
        copy.axes[statement.name] = TimeMap(name)
        self.flat.axes[name] = (statement.length, copy, statement.span)

    def _own_axes(self, copy: Copy) -> dict[str, tuple[str, ...]]:
        """Local name -> the root's axes of what this body declares or defines."""
        table: dict[str, tuple[str, ...]] = {}

        def put(ref: Ref) -> None:
            names = [i.name if isinstance(i, Ref) and i.index is None else "" for i in ref.index or ()]
            table.setdefault(ref.name, tuple(copy.axes[n].axis if n in copy.axes else "" for n in names))

        for statement in copy.cell.body:
            if isinstance(statement, Declaration):
                for ref in statement.refs:
                    put(ref)
            elif isinstance(statement, Equation | Draw):
                put(statement.target)
        return table

    # ------------------------------------------------------------ uses

    def _inputs_known(self, copy: Copy, use: Use, table: dict[str, tuple[str, ...]]) -> bool:
        return all(
            not isinstance(a.value, Ref)
            or a.value.name.split(".")[0] in copy.uses
            or a.value.name.split(".")[0] not in {s.name for s in copy.cell.body if isinstance(s, Use)}
            for a in use.arguments
        )

    def _use(self, copy: Copy, use: Use, table: dict[str, tuple[str, ...]]) -> None:
        shared = copy.uses.get(use.cell) or None
        target = (shared[0].cell, shared[0].scope) if shared else copy.cells.get(use.cell) or copy.scope.cell(use.cell)
        if target is None:
            near = suggest(use.cell, [*copy.cells, *copy.scope.names()])
            self._problem(
                "E602",
                f"no cell named `{use.cell}`",
                copy.place(use.span),
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
            arguments = list(use.arguments)
            if k > 0:
                arguments = self._chain(children[-1], child, arguments)
            self._arguments(copy, child, use, arguments, table, shared[k] if shared else None)
            children.append(child)
            self._body(child)
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
            child.dims.update(shared.dims)
            child.cells.update(shared.cells)
            for name, statement in local.items():
                if statement.kind in ("param", "const"):
                    child.aliases[name] = shared.aliases.get(name, shared.flat(name))
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
        for name, parameter in headers.items():
            if name in child.dims or name in child.cells:
                continue
            default = parameter.default
            if self._is_cell_parameter(child.cell, name, default, child.scope, None):
                if isinstance(default, Ref):
                    self._bind_cell(child, name, default.name, child.scope, copy.place(use.span))
            elif isinstance(default, Number) and isinstance(default.value, int):
                child.dims[name] = Dim.of(default.value)
            else:
                child.dims[name] = Dim.of(f"?{child.prefix}{name}")
        missing = [
            n
            for n, s in local.items()
            if s.kind == "input" and n not in given and s.value is None and s.refs[0].index is not None
        ]
        for name in missing:
            self._problem(
                "E608",
                f"input `{name}` of `{child.cell.name}` is not given",
                copy.place(use.span),
                f"write `{child.cell.name}({name}=..., ...)`",
            )
            child.aliases[name] = "!"

    def _header_argument(self, copy: Copy, child: Copy, name: str, default: Expr | None, argument: Argument) -> None:
        if self._is_cell_parameter(child.cell, name, default, child.scope, None):
            if isinstance(argument.value, Ref):
                found = copy.cells.get(argument.value.name) or copy.scope.cell(argument.value.name)
                if found is not None:
                    child.cells[name] = found
                    return
            self._problem("E604", f"`{name}` needs a cell", copy.place(argument.span), "name one: `Cell=GRU`")
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
            flipped = next((m.flipped for m in copy.axes.values() if m.axis == axis), False)
            child.axes[index.name] = TimeMap(axis, flipped != child.reverse)

    # ------------------------------------------------------------ names

    def axes_of(self, flat: str) -> tuple[str, ...] | None:
        """The root's axes of a flat name, found where it is declared or defined."""
        for copy in self.flat.copies:
            if flat.startswith(copy.prefix):
                local = flat[len(copy.prefix) :]
                if "." in local and local.split(".")[0] in copy.uses:
                    continue
                table = self._own_axes(copy)
                if local in table:
                    return table[local]
        return None

    def flat_name(self, copy: Copy, name: str) -> str | None:
        """What a dotted name means inside a copy: its own, an argument's, or a sub-copy's."""
        if name in copy.aliases:
            return copy.aliases[name]
        head, _, rest = name.partition(".")
        if head in copy.uses:
            children = copy.uses[head]
            if not children:
                return "!"
            child = children[-1]
            if rest and rest.split(".")[0].isdigit() and child.storey is not None:
                number, _, rest = rest.partition(".")
                if int(number) >= len(children):
                    return None
                child = children[int(number)]
            if not rest:
                return child.outputs[0] if len(child.outputs) == 1 else None
            return self.flat_name(child, rest)
        if any(ref.name == name for s in copy.cell.body for ref in _targets(s)):
            return copy.flat(name)
        return None

    def _copy_outputs(self, copy: Copy) -> list[str]:
        stated = [r.name for s in copy.cell.body if isinstance(s, Output) for r in s.refs]
        if not stated:
            if any(isinstance(s, Loss) for s in copy.cell.body):
                drawn = [s.target.name for s in copy.cell.body if isinstance(s, Draw)]
                stated = drawn[-1:]
            else:
                stated = [s.target.name for s in copy.cell.body if isinstance(s, Equation)][-1:]
        return [f for f in (self.flat_name(copy, n) for n in stated) if f is not None]

    def _root_outputs(self, copy: Copy) -> None:
        for statement in copy.cell.body:
            if isinstance(statement, Output):
                for ref in statement.refs:
                    flat = self.flat_name(copy, ref.name)
                    if flat is None:
                        near = suggest(ref.name, [r.name for s in copy.cell.body for r in _targets(s)])
                        self._problem(
                            "E201",
                            f"unknown name `{ref.name}`",
                            ref.span,
                            f"did you mean `{near}`?" if near else "define it first",
                        )
                    elif flat != "!" and flat not in self.flat.outputs:
                        self.flat.outputs.append(flat)
        if not self.flat.outputs and not self.flat.losses:
            equations = [s for s in copy.cell.body if isinstance(s, Equation)]
            if equations:
                self.flat.outputs.append(copy.flat(equations[-1].target.name))

    # ------------------------------------------------------------ declarations and definitions

    def _declare(self, copy: Copy, statement: Declaration) -> None:
        for ref in statement.refs:
            if ref.name in copy.aliases and statement.kind in ("input", "param", "const"):
                continue
            name = copy.flat(ref.name)
            place = copy.place(ref.span)
            earlier = self.flat.declared.get(name)
            if earlier is not None:
                self._problem(
                    "E207",
                    f"`{ref.name}` is declared twice",
                    place,
                    "keep one declaration",
                    related=(Label(earlier.span, "first here"),),
                )
                continue
            local = self._axis_names(copy, ref)
            boundary, owner = statement.value, copy
            if ref.name in copy.boundaries:
                boundary, owner = copy.boundaries[ref.name]
            kind = statement.kind
            if f"^{ref.name}" in copy.aliases:
                kind, axes = "state", tuple(copy.axes[a].axis for a in local if a in copy.axes)
                given = Ref(f"^{ref.name}", ref.index, ref.span)
                self.flat.defined[name] = Defined(name, axes, tuple(local), given, copy, place, place)
            self.flat.declared[name] = Declared(
                name,
                kind,
                tuple(copy.axes[a].axis for a in local if a in copy.axes),
                copy,
                place,
                statement.type,
                boundary,
                owner,
                statement.distribution,
                statement.kept,
            )

    def _axis_names(self, copy: Copy, ref: Ref) -> list[str]:
        """The plain axis names in a declared or defined reference's bracket."""
        names: list[str] = []
        for index in ref.index or ():
            if not isinstance(index, Ref) or index.index is not None:
                self._problem(
                    "E405", f"`{ref.name}` is defined at a plain step", copy.place(ref.span), f"write `{ref.name}[t]`"
                )
            elif index.name not in copy.axes:
                length = next(iter(copy.axes), "t")
                copy.unknown_axes.add(index.name)
                self._problem(
                    "E401",
                    f"unknown axis `{index.name}`",
                    copy.place(index.span),
                    f"declare it: `time {index.name}: len({length})//2`",
                )
            elif index.name in names:
                self._problem("E407", f"axis `{index.name}` stands twice", copy.place(ref.span), "one name an axis")
            else:
                names.append(index.name)
        return names

    def _define(self, copy: Copy, statement: Equation | Draw | Loss) -> None:
        if isinstance(statement, Loss):
            target, value, drawn = Ref(statement.name, None, statement.span), statement.value, None
        elif isinstance(statement, Draw):
            target, value, drawn = statement.target, statement.distribution, statement.distribution
        else:
            target, value, drawn = statement.target, statement.value, None
        name = copy.flat(target.name)
        place = copy.place(target.span)
        earlier = self.flat.defined.get(name)
        if earlier is not None:
            self._problem(
                "E208",
                f"`{target.name}` is defined twice: one equation a stream",
                place,
                "rename one, or add the terms",
                related=(Label(earlier.target_span, "first defined here"),),
            )
            return
        declared = self.flat.declared.get(name)
        if (
            declared is not None
            and declared.kind in ("input", "param", "const", "noise")
            and not (drawn and declared.kind == "input")
        ):
            self._problem(
                "E209",
                f"`{target.name}` is {_a(declared.kind)} and cannot be defined",
                place,
                f"drop `{declared.kind} {target.name}` or the equation",
                related=(Label(declared.span, "declared here"),),
            )
            return
        local = tuple(self._axis_names(copy, target))
        self.flat.defined[name] = Defined(
            name,
            tuple(copy.axes[a].axis for a in local),
            local,
            value,
            copy,
            copy.place(statement.span),
            place,
            isinstance(statement, Equation) and statement.total,
            drawn,
            isinstance(statement, Loss),
        )
        if isinstance(statement, Loss) and copy.parent is None:
            self.flat.losses.append(name)

    # ------------------------------------------------------------ integers

    def dim(self, copy: Copy, expr: Expr) -> Dim | None:
        """An integer expression of a copy's arguments."""
        try:
            form = linear(expr, lambda _: None, copy.dims.get)
        except BadIndex:
            return self._product(copy, expr)
        if form.lengths or form.positions:
            return None
        if form.divisor != 1:
            whole = self.number(form.offset)
            return Dim.of(whole // form.divisor) if whole is not None else None
        return form.offset

    def _product(self, copy: Copy, expr: Expr) -> Dim | None:
        if isinstance(expr, Binary) and expr.op in "+-*":
            left, right = self.dim(copy, expr.left), self.dim(copy, expr.right)
            if left is not None and right is not None:
                return left * right if expr.op == "*" else left + right if expr.op == "+" else left - right
        return None


def _targets(statement: Any) -> tuple[Ref, ...]:
    if isinstance(statement, Declaration):
        return statement.refs
    if isinstance(statement, Equation | Draw):
        return (statement.target,)
    if isinstance(statement, Loss):
        return (Ref(statement.name),)
    return ()


def _a(kind: str) -> str:
    return ("an " if kind[0] in "aeiou" else "a ") + kind


def references(expr: Expr) -> list[Ref]:
    """Every name used in an expression, left to right."""
    found: list[Ref] = []
    stack: list[Expr] = [expr]
    pick: Callable[[Expr], list[Expr]] = _children
    while stack:
        node = stack.pop()
        if isinstance(node, Ref):
            found.append(node)
        stack.extend(reversed(pick(node)))
    return found


def _children(node: Expr) -> list[Expr]:
    if isinstance(node, Ref):
        return list(node.index or ())
    if isinstance(node, Negative | Transpose):
        return [node.operand]
    if isinstance(node, Binary):
        return [node.left, node.right]
    if isinstance(node, Call):
        return [a.value for a in node.arguments]
    return []
