"""Inlining: a cell and everything it uses become flat names, each definition with the place it was written.

The result still holds syntax trees; `terms` reads them.
"""

from __future__ import annotations

from typing import Any

from dsl.system.copies import Copy, Declared, Defined, Flat, TimeMap, targets
from dsl.system.dims import Dim
from dsl.system.scope import Scope
from dsl.system.uses import Uses
from dsl.text.diagnostics import Diagnostic, Label, suggest
from dsl.text.tree import Cell, Declaration, Draw, Equation, Loss, Number, Output, Ref, Span, TimeAxis, Use

CONSTANTS = ("pi", "inf", "none")


class Elaborator(Uses):
    """Walks a cell and its uses."""

    def __init__(self, cell: Cell, scope: Scope, arguments: dict[str, Any], problems: list[Diagnostic]) -> None:
        super().__init__(Flat(Copy("", cell, scope)), problems)
        self.arguments = arguments
        self.inline = self._body

    # ------------------------------------------------------------ arguments

    def run(self) -> Flat:
        root = self.flat.root
        for given in self.arguments:
            if given not in {p.name for p in root.cell.parameters}:
                self._no_such_argument(given, root.cell, root.cell.span, [p.name for p in root.cell.parameters])
        for parameter in root.cell.parameters:
            value = self.arguments.get(parameter.name)
            default = parameter.default
            if self._is_cell_parameter(root.cell, parameter.name, default, root.scope):
                name = value if value is not None else default.name if isinstance(default, Ref) else None
                if not isinstance(name, str):
                    self._problem("E604", f"`{parameter.name}` needs a cell", parameter.span, 'give one: Cell="LSTM"')
                    continue
                self._bind_cell(root, parameter.name, str(name), root.scope, parameter.span)
                self.values[parameter.name] = str(name)
                continue
            if isinstance(value, str) or (isinstance(value, float) and _whole(default)):
                message = f"`{parameter.name}` is a number, given {value!r}"
                if not isinstance(value, str):
                    message = f"`{parameter.name}` is an integer, given {value!r}"
                self._problem("E607", message, parameter.span, f"as in `{parameter.name}=4`")
                value = None
            if value is None and isinstance(default, Number) and isinstance(default.value, int | float):
                value = default.value
            if value is None and default is not None:  # a size made of others: `H=2*D`
                size = self.dim(root, default)
                if size is not None:
                    root.dims[parameter.name] = size
                    continue
                message = f"`{parameter.name}` is no size: an integer expression of the arguments before it"
                self._problem("E607", message, parameter.span, "as in `H=2*D`")
            self.values[parameter.name] = value
            if isinstance(value, float):
                root.numbers[parameter.name] = value
                continue
            root.dims[parameter.name] = Dim.of(parameter.name)
        self._body(root)
        for copy in self.flat.copies:
            for statement in copy.cell.body:
                if isinstance(statement, Declaration):
                    self._declare(copy, statement)
                elif isinstance(statement, Equation | Draw | Loss):
                    self._define(copy, statement)
        self._root_outputs(root)
        if not root.cell.body:
            hint = "as in `h[t] = tanh(V@x[t] + W@h[t-1])`"
            self._problem("E210", f"no equation in `{root.cell.name}`", root.place(root.cell.span), hint)
        return self.flat

    # ------------------------------------------------------------ one body

    def _body(self, copy: Copy) -> None:
        self._header(copy)
        self.flat.copies.append(copy)
        self._axes(copy)
        for statement in copy.cell.body:
            if isinstance(statement, TimeAxis):
                self._time(copy, statement)
        pending = [s for s in copy.cell.body if isinstance(s, Use)]
        tables = self._own_axes(copy)
        seen: set[str] = set()
        for use in list(pending):
            if use.name in seen or use.name in tables or use.name in copy.axes:
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

    def _header(self, copy: Copy) -> None:
        """Names that mean two things: arguments given twice, or declared or defined in the body as well."""
        seen: dict[str, Span] = {}
        copies = {s.name for s in copy.cell.body if isinstance(s, Use)}
        for parameter in copy.cell.parameters:
            if parameter.name in seen:
                place = copy.place(parameter.span)
                self._problem("E207", f"argument `{parameter.name}` stands twice in the header", place, "drop one")
            seen[parameter.name] = parameter.span
        for statement in copy.cell.body:
            for ref in targets(statement):
                if ref.name in seen:
                    related = (Label(copy.place(seen[ref.name]), "in the header"),)
                    message = f"`{ref.name}` is an argument of `{copy.cell.name}` already"
                    self._problem("E207", message, copy.place(ref.span), "choose another name", related=related)
                elif "." in ref.name and ref.name.partition(".")[0] in copies:
                    head, _, tail = ref.name.partition(".")
                    message = f"`{ref.name}` belongs to the copy `{head}` and is declared there"
                    hint = f"an input, state or parameter is given in its `use` line: `{tail}=...`"
                    self._problem("E209", message, copy.place(ref.span), hint)
                    self.broken.add(copy.flat(ref.name))
                elif ref.name in CONSTANTS:
                    message = f"`{ref.name}` is a constant of the language"
                    self._problem("E207", message, copy.place(ref.span), "choose another name")

    def _axes(self, copy: Copy) -> None:
        """Axes that the data gives: those of inputs, states, noises and drawn streams of the root."""
        own = {ref.name for statement in copy.cell.body for ref in targets(statement) if ref.index}
        for statement in copy.cell.body:
            refs: tuple[Ref, ...] = ()
            if isinstance(statement, Declaration):
                refs = statement.refs
            elif isinstance(statement, Draw):
                refs = (statement.target,)
            for ref in refs:
                for index in ref.index or ():
                    if isinstance(index, Ref) and index.index is None and index.name in own - copy.axes.keys():
                        message = f"`{index.name}` is a name of this cell, not a time axis"
                        self._problem("E401", message, copy.place(index.span), f"write `{ref.name}[t]`")
                        copy.unknown_axes.add(index.name)
                        self.broken.add(copy.flat(ref.name))
                    elif isinstance(index, Ref) and index.index is None and index.name not in copy.axes:
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

    # ------------------------------------------------------------ declarations and definitions
    def _root_outputs(self, copy: Copy) -> None:
        for statement in copy.cell.body:
            if isinstance(statement, Output):
                for ref in statement.refs:
                    flat = self.flat_name(copy, ref.name)
                    if flat is None:
                        near = suggest(ref.name, [r.name for s in copy.cell.body for r in targets(s)])
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
            if ref.name in copy.axes:
                self._problem("E207", f"`{ref.name}` is a time axis here", place, "choose another name")
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
        before = len(self.problems)
        for index in ref.index or ():
            if not isinstance(index, Ref) or index.index is not None:
                hint = f"write `{ref.name}[t]`"
                if isinstance(index, Number):
                    hint = f"what is before the first step stands behind `=`: `state {ref.name}[t]: ... = 0`"
                self._problem("E405", f"`{ref.name}` is defined at a plain step", copy.place(ref.span), hint)
            elif index.name in copy.unknown_axes:
                self.broken.add(copy.flat(ref.name))
            elif index.name not in copy.axes:
                known = next(iter(copy.axes), None)
                hint = f"declare it: `time {index.name}: len({known})//2`"
                if known is None:
                    hint = f"no input lives on it: `input x[{index.name}]: D`"
                copy.unknown_axes.add(index.name)
                self._problem(
                    "E401",
                    f"unknown axis `{index.name}`",
                    copy.place(index.span),
                    hint,
                )
            elif index.name in names:
                self._problem("E407", f"axis `{index.name}` stands twice", copy.place(ref.span), "one name an axis")
            else:
                names.append(index.name)
        if len(self.problems) > before:
            self.broken.add(copy.flat(ref.name))
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
        if any(isinstance(index, Number) for index in target.index or ()):
            self._axis_names(copy, target)
            return
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
        if target.name in copy.axes:
            self._problem("E207", f"`{target.name}` is a time axis here", place, "choose another name")
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


def _whole(default: Any) -> bool:
    return isinstance(default, Number) and isinstance(default.value, int)


def _a(kind: str) -> str:
    return ("an " if kind[0] in "aeiou" else "a ") + kind
