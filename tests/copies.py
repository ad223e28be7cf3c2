"""Which cell, copy and file a name means, for `tests/reference.py`: imports, macros, arguments, `use`, stacks, sharing.

Written from the language's own page; nothing of `dsl.system` or `tinygrad_seq` may be imported. No value is computed
here but the height of a stack, which the reference evaluates.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from dsl.text.parse import parse
from dsl.text.tree import Cell, Declaration, Draw, Equation, File, Import, Loss, Output, Ref, TimeAxis, Use

LIBRARY = Path(__file__).parents[1] / "dsl" / "library"


def names_of(file: File) -> dict[str, Any]:
    """The cells and macros a file sees, each with the names it sees itself: a neighbour first, then the library."""
    table: dict[str, Any] = {}
    for item in file.items:
        if isinstance(item, Import):
            near = [d / f"{item.module.replace('.', '/')}.cell" for d in (Path(file.source.path).parent, LIBRARY)]
            path = next(p for p in near if p.is_file())
            table |= {name: names_of(parse(path.read_text("utf-8"), str(path)))[name] for name in item.names}
        else:
            table[item.name] = (item, table)
    return table


@functools.cache
def library() -> dict[str, Any]:
    files = [names_of(parse(p.read_text("utf-8"), str(p))) for p in sorted(LIBRARY.glob("*.cell"))]
    return {name: found for names in files for name, found in names.items()}


def substitute(node: Any, table: dict[str, Any]) -> Any:
    """A macro's body with its parameters replaced; `v[t-1]` of a parameter v given as a bare name shifts that name."""
    if isinstance(node, tuple):
        return tuple(substitute(n, table) for n in node)
    if isinstance(node, Ref) and node.name in table:
        new = table[node.name]
        return new if node.index is None else Ref(new.name, substitute(node.index, table))
    if not dataclasses.is_dataclass(node):
        return node
    return type(node)(*[substitute(getattr(node, f.name), table) for f in dataclasses.fields(node)])


class Copy:
    """One copy of a cell. `bound` holds what its user gave: name -> (scope it is read in, expression or value)."""

    def __init__(self, cell: Cell, names: Any, bound: Any, path: str, own: str, parent: Any, reverse: bool) -> None:
        self.cell, self.names, self.bound, self.path, self.own = cell, names, bound, path, own
        self.parent, self.reverse, self.memo, self.copies = parent, reverse, {}, {}
        self.data, self.params, self.given_lengths, self.held = (
            parent.data,
            parent.params,
            parent.given_lengths,
            parent.held,
        )
        self.flipped = reverse != getattr(parent, "flipped", False)  # data is in the order of the whole cell
        self.header = {p.name: p.default for p in cell.parameters}
        self.lines: dict[str, Any] = {s.name: s for s in cell.body if isinstance(s, Use | TimeAxis | Loss)}
        self.axes: dict[str, list[str]] = {s.name: [] for s in cell.body if isinstance(s, Loss)}
        self.declared: dict[str, Declaration] = {}
        for s in cell.body:
            refs = s.refs if isinstance(s, Declaration) else [s.target] if isinstance(s, Equation | Draw) else []
            (self.declared if isinstance(s, Declaration) else self.lines).update({r.name: s for r in refs})
            self.axes |= {r.name: [i.name for i in r.index or ()] for r in refs}
        last = [s.target.name for s in cell.body if isinstance(s, Equation | Draw)][-1:]
        silent = not any(isinstance(s, Loss) for s in cell.body)
        self.outputs = [r.name for s in cell.body if isinstance(s, Output) for r in s.refs] or last * silent

    def kind(self, name: str) -> str:
        return self.declared[name].kind if name in self.declared else "dim" if name in self.header else "equation"

    def children(self, name: str) -> list[Any]:
        """The storeys of a `use`, lowest first; a copy of an earlier use has that one's parameters and dims."""
        if name not in self.copies:
            use, made = self.lines[name], self.copies.setdefault(name, [])
            given = {a.keyword: (self, a.value) for a in use.arguments}
            model = self.children(use.cell) if use.cell in self.lines else []
            depth = len(model) or (int(self.expr(use.stack, {})) if use.stack else 1)
            for k in range(depth):
                label = f"{name}.{k}." if use.stack or model and model[k].path.endswith(f".{k}.") else f"{name}."
                own = model[k].own if model else self.own + label
                cell, names = (model[k].cell, model[k].names) if model else self.named(use.cell)
                scope = type(self)(cell, names, {}, self.path + label, own, self, use.reverse)
                if model:
                    kept = {n: b for n, b in model[k].bound.items() if scope.kind(n) in ("dim", "param", "const")}
                    scope.bound |= kept
                scope.bound |= given
                if k:
                    fed = next(n for n in given if scope.kind(n) == "input" and scope.axes[n])
                    scope.bound[fed] = (self, Ref(f"{name}.{k - 1}"))
                made.append(scope)
        return self.copies[name]

    def named(self, name: str) -> Any:
        """The cell of that name with the names it sees: an argument, one in sight, or one of the library."""
        if name in self.header:
            scope, given = self.bound.get(name, (self, self.header[name]))
            return (scope or self).named(given if isinstance(given, str) else given.name)
        return self.names.get(name) or library()[name]

    def locate(self, name: str) -> tuple[Any, str, bool]:
        """The scope that owns a (dotted) name, the name there, and whether it is read flipped."""
        scope, flipped = self, False
        while name not in scope.axes:
            head, _, name = name.partition(".")
            storeys, (number, _, rest) = scope.children(head), name.partition(".")
            scope, name = (storeys[int(number)], rest) if number.isdigit() else (storeys[-1], name)
            flipped ^= scope.reverse
            if not name:
                (name,) = scope.outputs
        return scope, name, flipped
