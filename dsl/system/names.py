"""What a name means inside a copy: flat names, time axes, integers; and how a wrong one is reported."""

from __future__ import annotations

from typing import Any

from dsl.system.copies import Copy, Flat
from dsl.system.dims import Dim
from dsl.system.indices import BadIndex, linear
from dsl.system.telling import Telling
from dsl.text.diagnostics import Diagnostic, suggest
from dsl.text.tree import Cell, Declaration, Draw, Equation, Expr, Loss, Number, Output, Ref, Span


class Names(Telling):
    """Look-ups over a flattening in progress; problems are collected, never raised."""

    def __init__(self, flat: Flat, problems: list[Diagnostic]) -> None:
        self.flat, self.problems = flat, problems
        self.values: dict[str, Any] = {}  # the root's arguments: numbers, cell names, None
        self.broken: set[str] = set()  # flat names whose declaration or equation was refused: nothing more of them
        self.fixed: set[str] = set()  # arguments whose numbers the equations were made with: strides, storeys

    # ------------------------------------------------------------ problems

    def _no_such_argument(
        self, name: str, cell: Cell, span: Span, known: list[str], near_to: list[str] | None = None
    ) -> None:
        near = suggest(name, near_to or known)
        hint = (f"did you mean `{near}`? " if near else "") + f"`{cell.name}` has " + (", ".join(known) or "none")
        self._problem("E601", f"`{cell.name}` has no argument `{name}`", span, hint)

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
        if name in copy.names:
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

    # ------------------------------------------------------------ integers

    def dim(self, copy: Copy, expr: Expr) -> Dim | None:
        """An integer expression of a copy's arguments."""
        try:
            form = linear(expr, lambda _: None, copy.dims.get, self.number)
        except BadIndex:
            return None
        return form.offset if form.is_constant else None

    @staticmethod
    def real(copy: Copy, expr: Expr) -> float | None:
        """A number that is no integer: written out, or an argument of that kind."""
        if isinstance(expr, Number) and isinstance(expr.value, float):
            return expr.value
        return copy.numbers.get(expr.name) if isinstance(expr, Ref) and expr.index is None else None

    def number(self, dim: Dim) -> int | None:
        """A dim's value where the arguments (or their defaults) give one; those arguments are then `fixed`."""
        bound = dim.bind({k: v for k, v in self.values.items() if isinstance(v, int)})
        if not bound.is_constant:
            return None
        self.fixed.update(dim.names)
        return int(bound)
