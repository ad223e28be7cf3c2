"""Checks that need the whole system: free axes, reads outside a stream's steps, what nobody uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dsl.system.copies import Flat
from dsl.system.indices import inside
from dsl.system.infer import Statement
from dsl.system.kinds import Kinds
from dsl.system.messages import terms_of
from dsl.system.system import Read, Stream, System, at_home
from dsl.system.terms import Term
from dsl.system.unify import show
from dsl.text.diagnostics import Diagnostic, Label
from dsl.text.tree import Span
from tinygrad_seq.symbol import Symbol, leaves, lift


class Checks:
    """Errors go to `problems`, advice to `warnings`."""

    def __init__(
        self, flat: Flat, statements: Sequence[Statement], problems: list[Diagnostic], warnings: list[Diagnostic]
    ) -> None:
        self.flat, self.statements, self.problems, self.warnings = flat, statements, problems, warnings

    def run(self, system: System) -> None:
        self._check_axes(system)
        self._check_bounds(system)
        self._check_use(system)

    def _problem(self, code: str, message: str, span: Span, hint: str, related: tuple[Label, ...] = ()) -> None:
        self.problems.append(Diagnostic(code, message, span, "", related, hint))

    def _check_axes(self, system: System) -> None:
        kinds = Kinds(system)
        for name, value in [
            *system.equations.items(),
            *((n, v) for n, d in system.draws.items() for _, v in d.parameters),
        ]:
            stream = system.streams[name]
            free = [a for a in kinds.of(value).axes if a not in stream.axes]
            if free:
                span = self._term_span(name, partial(_runs_over, free[0]))
                self._problem(
                    "E403",
                    f"`{free[0]}` is free on the right",
                    span,
                    f"bind it: `sum[{free[0]}](...)`, or define `{_tail(name)}[{','.join([*stream.axes, free[0]])}]`",
                )
            if stream.dtype == kinds.of(value).dtype == "category" and kinds.of(value).shape:
                message = f"`{_tail(name)}` is one category, and the condition has one truth a unit"
                self._problem("E308", message, self._term_span(name, lambda t: True), "reduce it: `max(x[t]) > 0`")
            if stream.total and kinds.of(value).shared:
                self._problem(
                    "E418", "a total sums over the sequences, but this is shared already", stream.span, "drop `total`"
                )
            elif stream.total and any(kinds.of(term).shared and not _is_zero(term) for term in terms_of(value)):
                message = "a total sums over the sequences, but a term of it is shared already"
                self._problem("E418", message, stream.span, f"add it to `{_tail(name)}` in an equation of its own")

    def _term_span(self, name: str, wanted: Callable[[Term], bool]) -> Span:
        """Where in the definition of `name` the first such term stands."""
        e = self.flat.defined.get(name)
        if e is None:
            return self.flat.declared[name].span
        for statement in self.statements:
            if statement.name == name and not (statement.terms and statement.value.op == "hole"):
                for term in statement.terms:
                    if wanted(term):
                        return e.copy.place(term.span)
        return e.span

    def _check_bounds(self, system: System) -> None:
        values = {k: v for k, v in system.arguments.items() if isinstance(v, int)}
        seen: set[tuple[str, Any]] = set()
        for name, root in self._all_values(system):
            for leaf in leaves(root):
                if not isinstance(leaf.leaf, Read) or not leaf.leaf.index:
                    continue
                target = system.streams[leaf.leaf.name]
                if target.boundary is not None:
                    continue
                for index, axis in zip(leaf.leaf.index, target.axes, strict=True):
                    low, high = inside(index, axis, system.axes, values)
                    if (low and high) or (leaf.leaf.name, index) in seen:
                        continue
                    seen.add((leaf.leaf.name, index))
                    self._outside(name, leaf.leaf, target, low)

    def _all_values(self, system: System) -> list[tuple[str, Symbol]]:
        values = list(system.equations.items())
        values += [(n, v) for n, d in system.draws.items() for _, v in d.parameters]
        values += [(n, s.boundary) for n, s in system.streams.items() if s.boundary is not None]
        return values

    def _outside(self, reader: str, read: Read, target: Stream, low: bool) -> None:
        span = self._term_span(reader, lambda t: bool(t.op == "read" and t.payload == read))
        tail = _tail(read.name)
        where = ",".join(target.axes)
        shape = show(target.shape) if target.dtype != "category" else f"one_hot {target.categories}"
        start = "none" if target.dtype == "category" else "0"
        if target.kind == "input":
            d = self.flat.declared[read.name]
            self._problem(
                "E413",
                f"`{tail}` has no value outside its steps",
                span,
                f"there is no padding: `input {tail}[{where}]: {shape} = {start}`",
                (Label(d.span, "declared here"),),
            )
        elif target.kind == "noise":
            self._problem(
                "E413",
                f"the noise `{tail}` has no value outside its steps",
                span,
                f"read it through a state: `state q[{where}]: {shape} = {start}`, `q[{where}] = {tail}[{where}]`",
                (Label(self.flat.declared[read.name].span, "declared here"),),
            )
        elif low:
            self._problem(
                "E414",
                f"this reaches past the last step of `{tail}`",
                span,
                f"stay inside for every length, or declare a boundary: `state {tail}[{where}]: {shape} = {start}`",
            )
        else:
            self._problem(
                "E412",
                f"`{tail}` is read before its first step",
                span,
                f"add `state {tail}[{where}]: {shape} = {start}`",
            )

    def _check_use(self, system: System) -> None:
        """Warnings: parameters nobody reads, states nobody reads at another step, equations without time."""
        read: dict[str, bool] = {}
        for _, value in self._all_values(system):
            for leaf in leaves(value):
                if isinstance(leaf.leaf, Read):
                    away = not at_home(leaf.leaf.index, system.streams[leaf.leaf.name].axes)
                    read[leaf.leaf.name] = read.get(leaf.leaf.name, False) or away
        for name, stream in system.streams.items():
            d = self.flat.declared.get(name)
            if d is None or d.copy.parent is not None:
                continue
            if stream.kind == "param" and name not in read:
                self._warn("W902", f"param `{name}` is never used", stream.span, "drop it, or use it")
            plain = stream.dtype != "category" or stream.boundary is not None  # an equation does not say `one_hot`
            if stream.state and stream.kind == "equation" and not read.get(name, False) and plain:
                self._warn(
                    "W901",
                    f"state `{name}` is never read at another step",
                    stream.span,
                    f"drop the declaration: `{name}` is an ordinary stream",
                )

        kinds = Kinds(system)
        for name, value in system.equations.items():
            stream = system.streams[name]
            if stream.axes and not kinds.of(value).axes and self.flat.defined[name].copy.parent is None:
                self._warn(
                    "W903",
                    f"`{name}` is the same at every step",
                    self.flat.defined[name].target_span,
                    f"drop the index: `{name} = ...` is computed once",
                )

    def _warn(self, code: str, message: str, span: Span, hint: str) -> None:
        self.warnings.append(Diagnostic(code, message, span, "", (), hint, "warning"))


def _tail(name: str) -> str:
    return name.rpartition(".")[2]


def _runs_over(axis: str, term: Term) -> bool:
    return term.op in ("read", "position") and axis in term.axes


def _is_zero(term: Symbol) -> bool:
    """`zeros(H)`, beside which a number is a vector; or minus that."""
    term = term.args[0] if term.is_op("neg") else term
    return term.is_op("fill") and term.args[0] is lift(0)
