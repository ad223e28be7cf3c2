"""The oracle: what a cell means, read off its parse tree for ONE sequence, by memoised demand, in float64.

`at(name, index)` asks for one number, vector or matrix, evaluates the equation as written and so asks for others. There
is no schedule, no system, no inlining, no batch and no derivative here, and nothing of `dsl.system` or `tinygrad_seq`
may be imported: an engine that agrees with this file cannot have been wrong in the same way. Totals and losses are this
sequence's share; the caller sums or averages over sequences. Slow on purpose; depth is the interpreter's heap.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dsl.text.parse import parse
from dsl.text.tree import (
    Binary,
    Call,
    Cell,
    Declaration,
    Draw,
    Equation,
    File,
    Import,
    Loss,
    Macro,
    Negative,
    Number,
    Output,
)

from dsl.text.tree import Ref, TimeAxis, Transpose, Use  # isort: skip
from tests.formulas import CONSTANTS, ELEMENTWISE, OPERATORS, REDUCTIONS, WHOLE

BUSY = object()


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


LIBRARY = Path(__file__).parents[1] / "dsl" / "library"


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


class Scope:
    """One copy of a cell. `bound` holds what its user gave: name -> (scope it is read in, expression or value)."""

    def __init__(self, cell: Cell, names: Any, bound: Any, path: str, own: str, parent: Any, reverse: bool) -> None:
        self.cell, self.names, self.bound, self.path, self.own = cell, names, bound, path, own
        self.parent, self.reverse, self.memo, self.copies = parent, reverse, {}, {}
        self.data, self.params, self.given_lengths = parent.data, parent.params, parent.given_lengths
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

    def children(self, name: str) -> list[Scope]:
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
                scope = Scope(cell, names, {}, self.path + label, own, self, use.reverse)
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

    def locate(self, name: str) -> tuple[Scope, str, bool]:
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

    def lengths_of(self, name: str) -> list[int]:
        scope, name, _ = self.locate(name)
        return [scope.length(a) for a in scope.axes[name]]

    def length(self, axis: str) -> int:
        if axis in self.lines:
            return max(0, int(self.expr(self.lines[axis].length, {})))
        for name, where in [(n, axes.index(axis)) for n, axes in self.axes.items() if axis in axes]:
            if self.kind(name) == "input" and name in self.bound:
                return self.bound[name][0].lengths_of(self.bound[name][1].name)[where]
            if self.path + name in self.data:
                return np.shape(self.data[self.path + name])[where]
        return self.parent.length(axis)

    def argument(self, name: str) -> Any:
        """A dim or number of the header: given, by default, or the size of something declared with it."""
        scope, given = self.bound.get(name, (self, self.header[name]))
        if given is not None:
            return scope.expr(given, {}) if scope else given
        for key, d in self.declared.items():
            if d.type and Ref(name) in d.type.dims and d.kind in ("input", "param", "const"):
                return np.shape(self.at(key, [0] * len(self.axes[key])))[d.type.dims.index(Ref(name))]
        raise KeyError(f"{self.cell.name}: the caller must give {name}")

    def site(self, name: str, index: Any) -> tuple[Scope, str, tuple[int, ...]]:
        """Where a read lands: the owning scope, its name and its own index (mirrored if it runs reversed)."""
        (scope, name, flipped), lengths = self.locate(name), self.lengths_of(name)
        if len(index) != len(lengths) or any(i != int(i) for i in index):
            raise IndexError(f"{name}{list(index)} lives on {scope.axes[name]}")
        return scope, name, tuple([n - 1 - int(i) if flipped else int(i) for i, n in zip(index, lengths, strict=True)])

    def at(self, name: str, index: Any = ()) -> Any:
        """The value of a stream inside its steps or outside, of a parameter, or of an argument."""
        if name in self.header and name not in self.axes:
            return self.argument(name)
        scope, name, key = self.site(name, index)
        if scope.memo.get((name, key)) is BUSY:
            raise ValueError(f"{scope.path}{name}{list(key)} needs itself")
        if (name, key) not in scope.memo:
            scope.memo[name, key] = BUSY
            scope.memo[name, key] = scope.compute(name, key, dict(zip(scope.axes[name], key, strict=True)))
        return scope.memo[name, key]

    def compute(self, name: str, index: tuple[int, ...], env: dict[str, int]) -> Any:
        (where, given), d, line = self.bound.get(name, (self, None)), self.declared.get(name), self.lines.get(name)
        lengths, kind, full = self.lengths_of(name), self.kind(name), self.path + name
        if not all(0 <= i < n for i, n in zip(index, lengths, strict=True)):
            where, given = (where, given) if kind == "state" and given else (self, d and d.value)
            if given is None:
                raise IndexError(f"{full}{list(index)} is outside and has no boundary")
            value = where.expr(given, {})
        elif given is not None and kind != "state":
            own = [n - 1 - i if self.reverse else i for i, n in zip(index, lengths, strict=True)]
            value = where.at(given.name, own) if index else where.expr(given, {})
        elif full in self.data:
            value = self.data[full][index]
        elif kind in ("param", "const") and self.own + name in self.params:
            value = self.params[self.own + name]
        else:
            value = self.expr(line.value if line else d.value, env)  # type: ignore[union-attr]
        if np.ndim(value) == 0 and (isinstance(line, Draw) or d and d.type and d.type.qualifier == "one_hot"):
            size = self.expr(d.type.dims[0], {}) if d and d.type else len(self.logits(name, env))
            value = WHOLE["one_hot"](value, size)
        elif np.ndim(value) == 0 and d and d.type and d.type.dims:
            value = np.full([int(self.expr(n, {})) for n in d.type.dims], value)
        return np.asarray(value, complex if np.iscomplexobj(value) else float)

    def logits(self, name: str, env: Any) -> Any:
        if (law := self.lines[name].distribution).function != "categorical":
            raise NotImplementedError(law.function)
        return self.expr(law.arguments[0].value, env)

    def expr(self, node: Any, env: dict[str, int]) -> Any:
        match node:
            case Number(value):
                return value
            case Negative(operand):
                return -self.expr(operand, env)
            case Binary(op, left, right):
                return OPERATORS[op](self.expr(left, env), self.expr(right, env))
            case Transpose(operand, kind):
                return (np.conj if kind == "H" else np.asarray)(self.expr(operand, env)).T
            case Ref(name, None) if name in env or name in CONSTANTS:
                return env[name] if name in env else CONSTANTS[name]
            case Ref(name, index):
                return self.at(name, [self.expr(i, env) for i in index or ()])
        return self.call(node, env)

    def call(self, node: Call, env: dict[str, int]) -> Any:
        name, first = node.function, node.arguments[0].value
        if isinstance(macro := self.names.get(name, [None])[0], Macro):
            if ("macro", id(node)) not in self.memo:
                table = dict(zip(macro.parameters, [a.value for a in node.arguments], strict=True))
                self.memo["macro", id(node)] = substitute(macro.value, table)
            return self.expr(self.memo["macro", id(node)], env)
        if name == "len":
            return self.length(first.name)
        if name == "logprob":
            scope, target, index = self.site(first.name, [self.expr(i, env) for i in first.index or ()])
            logits = scope.logits(target, dict(zip(scope.axes[target], index, strict=True)))
            if not (y := scope.at(target, index)).any():
                raise ValueError(f"{target}{list(index)} is none, which has no probability")
            return REDUCTIONS["log_softmax"](logits, -1) @ y
        if name == "last":
            ends = {a: self.length(a) - 1 for a in node.axes}
            return (
                self.expr(first, env | ends)
                if ends
                else self.at(first.name, [n - 1 for n in self.lengths_of(first.name)])
            )
        if node.axes:
            return self.reduce(node, env)
        values = [np.asarray(self.expr(a.value, env)) for a in node.arguments]
        if name in REDUCTIONS:
            return REDUCTIONS[name](values[0], -1)
        return WHOLE[name](*values) if name in WHOLE else ELEMENTWISE[name](*values)

    def reduce(self, node: Call, env: dict[str, int]) -> Any:
        """A reduction over time axes; softmax keeps them, so one step of it needs all."""
        sizes = [self.length(a) for a in node.axes]
        key = (id(node), *sorted((a, i) for a, i in env.items() if a not in node.axes))
        if key not in self.memo:
            points = [dict(zip(node.axes, p, strict=True)) for p in itertools.product(*map(range, sizes))]
            if not points and node.function != "sum":
                raise ValueError(f"{node.function}{list(node.axes)} of nothing")
            values = np.array([self.expr(node.arguments[0].value, env | p) for p in points])
            self.memo[key] = REDUCTIONS[node.function](values, 0) if points else 0.0
        if node.function not in ("softmax", "log_softmax"):
            return self.memo[key]
        return self.memo[key][np.ravel_multi_index([env[a] for a in node.axes], sizes)]

    def __call__(self, name: str) -> Any:
        """A stream's array over its axes, one_hot as vectors."""
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 1_000_000))
        with np.errstate(all="ignore"):
            points = itertools.product(*map(range, lengths := self.lengths_of(name)))
            values = np.array([self.at(name, p) for p in points])
        return values.reshape(lengths + list(values.shape[1:]))

    @property
    def losses(self) -> dict[str, float]:
        return {s.name: float(self(s.name)) for s in self.cell.body if isinstance(s, Loss)}


@dataclasses.dataclass
class Root:
    """What one run is given. `data`: a sequence's inputs and drawn streams by dotted name, categories as integers."""

    data: dict[str, Any]
    params: dict[str, Any]
    given_lengths: dict[str, int]

    def length(self, axis: str) -> int:
        return self.given_lengths[axis]


def evaluate(file: File, cell: str | None, arguments: Any, data: Any, params: Any, lengths: Any = None) -> Scope:
    """The cell (None: the last) as a getter; `arguments` gives the header's numbers, and cells by name; `lengths`
    those of axes that no data has."""
    found = names_of(file)[cell or list(file.cells)[-1]]
    return Scope(*found, {k: (None, v) for k, v in arguments.items()}, "", "", Root(data, params, lengths or {}), False)
