"""The oracle: what a cell means, read off its parse tree for ONE sequence, by memoised demand, in float64.

`at(name, index)` asks for one number, vector or matrix, evaluates the equation as written and so asks for others. There
is no schedule, no system, no inlining, no batch and no derivative here, and nothing of `dsl.system` or `tinygrad_seq`
may be imported: an engine that agrees with this file cannot have been wrong in the same way. Noise is data. Totals and
losses are this sequence's share, summed or averaged by the caller, who may give totals as data. Slow on purpose.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from typing import Any

import numpy as np

from dsl.text.tree import Binary, Call, Draw, Equation, File, Loss, Macro, Negative, Number, Ref, Transpose
from tests.copies import LIBRARY, Copy, names_of, substitute
from tests.formulas import CONSTANTS, DENSITIES, ELEMENTWISE, OPERATORS, REDUCTIONS, WHOLE

__all__ = ["LIBRARY", "Scope", "evaluate"]
BUSY = object()


class Scope(Copy):
    """The values of one copy of a cell; its names, arguments and sub-copies are `Copy`'s."""

    anyway = False  # equations are evaluated at steps that are not there, to see what shape their values would have

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
        if Scope.anyway:
            return scope.compute(name, key, dict(zip(scope.axes[name], key, strict=True)))
        if scope.memo.get((name, key)) is BUSY:
            raise ValueError(f"{scope.path}{name}{list(key)} needs itself")
        if (name, key) not in scope.memo:
            scope.memo[name, key] = BUSY
            try:
                scope.memo[name, key] = scope.compute(name, key, dict(zip(scope.axes[name], key, strict=True)))
            except (IndexError, ValueError):  # read where it has no value, as `nothing` does
                del scope.memo[name, key]
                raise
        return scope.memo[name, key]

    def compute(self, name: str, index: tuple[int, ...], env: dict[str, int]) -> Any:
        (where, given), d, line = self.bound.get(name, (self, None)), self.declared.get(name), self.lines.get(name)
        lengths, kind, full = self.lengths_of(name), self.kind(name), self.path + name
        if not all(0 <= i < n for i, n in zip(index, lengths, strict=True)):
            where, given = (where, given) if kind == "state" and given else (self, d and d.value)
            if given is None and not (Scope.anyway and isinstance(line, Equation)):
                raise IndexError(f"{full}{list(index)} is outside and has no boundary")
            value = where.expr(given, {}) if given is not None else self.expr(line.value, env)  # type: ignore[union-attr]
        elif given is not None and kind != "state":
            own = [n - 1 - i if self.reverse else i for i, n in zip(index, lengths, strict=True)]
            value = where.at(given.name, own) if index else where.expr(given, {})
        elif full in self.data:
            mirrored = tuple(n - 1 - i for i, n in zip(index, lengths, strict=True))
            value = self.data[full][mirrored if self.flipped else index]
        elif kind in ("param", "const") and self.own + name in self.params:
            value = self.params[self.own + name]
        else:
            value = self.expr(line.value if line else d.value, env)  # type: ignore[union-attr]
        choice = isinstance(line, Draw) and line.distribution.function == "categorical"
        if np.ndim(value) == 0 and (choice or d and d.type and d.type.qualifier == "one_hot"):
            size = self.expr(d.type.dims[0], {}) if d and d.type else len(self.law(name, env)[1]["logits"])
            value = WHOLE["one_hot"](value, size)
        elif np.ndim(value) == 0 and d and d.type and d.type.dims:
            value = np.full([int(self.expr(n, {})) for n in d.type.dims], value)
        return np.asarray(value, complex if np.iscomplexobj(value) else float)

    def law(self, name: str, env: Any) -> tuple[str, dict[str, Any]]:
        call = self.lines[name].distribution
        return call.function, {a.keyword: np.asarray(self.expr(a.value, env)) for a in call.arguments}

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
            law, given = scope.law(target, dict(zip(scope.axes[target], index, strict=True)))
            return DENSITIES[law](scope.at(target, index), **given)
        if name == "last" and node.axes:
            return self.expr(first, env | {a: self.length(a) - 1 for a in node.axes})
        if name == "last":
            return self.at(first.name, [n - 1 for n in self.lengths_of(first.name)])
        if node.axes:
            return self.reduce(node, env)
        values = [np.asarray(self.expr(a.value, env)) for a in node.arguments]
        if name == "stop_gradient":
            return self.held.setdefault((self.path, node, *sorted(env.items())), values[0])
        if name in REDUCTIONS:
            return REDUCTIONS[name](values[0], -1 if name.endswith("softmax") and values[0].ndim else None)
        return WHOLE[name](*values) if name in WHOLE else ELEMENTWISE[name](*values)

    def reduce(self, node: Call, env: dict[str, int]) -> Any:
        """A reduction over time axes; softmax keeps them, so one step of it needs all."""
        sizes = [self.length(a) for a in node.axes]
        key = (id(node), *sorted((a, i) for a, i in env.items() if a not in node.axes))
        if key not in self.memo:
            points = [dict(zip(node.axes, p, strict=True)) for p in itertools.product(*map(range, sizes))]
            values = [self.expr(node.arguments[0].value, env | p) for p in points]
            self.memo[key] = REDUCTIONS[node.function](np.array(values), 0) if points else self.nothing(node, env)
        one = np.ravel_multi_index([env[a] for a in node.axes], sizes) if node.function.endswith("softmax") else ...
        return self.memo[key][one]

    def nothing(self, node: Call, env: dict[str, int]) -> Any:
        """The sum over no steps: 0 in the shape that a step would have, where that can be found, else a number."""
        if node.function != "sum":
            raise ValueError(f"{node.function}{list(node.axes)} of nothing")
        before, first = Scope.anyway, env | dict.fromkeys(node.axes, 0)
        for Scope.anyway in (before, True):
            try:
                return np.zeros_like(self.expr(node.arguments[0].value, first))
            except (IndexError, ValueError):
                continue
            finally:
                Scope.anyway = before
        return np.zeros(())

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
    """What one run is given. `data`: a sequence's inputs, noise and drawn streams by dotted name, categories as whole
    numbers; `held`: what `stop_gradient` gave in an earlier run and gives again: differences see no slope there."""

    data: dict[str, Any]
    params: dict[str, Any]
    given_lengths: dict[str, int]
    held: dict[Any, Any]

    def length(self, axis: str) -> int:
        return self.given_lengths[axis]


def evaluate(file: File, cell: str | None, arguments: Any, data: Any, params: Any, *more: Any) -> Scope:
    """The cell (None: the last) as a getter; `arguments` gives the header's numbers, and cells by name; `more`: the
    lengths of axes that no data has, and Root's `held`."""
    found = names_of(file)[cell or list(file.cells)[-1]]
    root = Root(data, params, *more, *[{}, {}][len(more) :])
    return Scope(*found, {k: (None, v) for k, v in arguments.items()}, "", "", root, False)
