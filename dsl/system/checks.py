"""Checks that need the whole system: free axes, reads outside a stream's steps, what nobody uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dsl.system.copies import Flat
from dsl.system.indices import inside
from dsl.system.infer import Inference, Statement
from dsl.system.kinds import Kinds
from dsl.system.messages import terms_of
from dsl.system.system import Axis, Read, System, at_home
from dsl.system.telling import Telling
from dsl.system.terms import Term, below
from dsl.system.unify import show
from dsl.text.diagnostics import Diagnostic, Label
from dsl.text.tree import Span
from tinygrad_seq.symbol import Symbol, leaves, lift


class Checks(Telling):
    """Errors go to `problems`, advice to `warnings`."""

    def __init__(
        self,
        flat: Flat,
        axes: Mapping[str, Axis],
        doubtful: set[str],
        inference: Inference,
        statements: Sequence[Statement],
        problems: list[Diagnostic],
        warnings: list[Diagnostic],
    ) -> None:
        self.flat, self.axes, self.inference, self.statements = flat, axes, inference, statements
        self.problems, self.warnings = problems, warnings
        self.doubtful: set[str | None] = {*doubtful}  # axes whose length was refused
        self.shapeless = {p.span for p in problems if p.code == "E305"}

    def reads(self, values: Mapping[str, Any]) -> None:
        """Free axes and reads outside a stream's steps, in every definition that could be read: needs no system."""
        numbers = {k: v for k, v in values.items() if isinstance(v, int)}
        seen: set[tuple[str, Any]] = set()
        for statement in self.statements:
            self._check_axes(statement)
            for term in below(statement.value):
                if term.op == "read" and term.payload.index:
                    self._check_bounds(statement, term, numbers, seen)

    def run(self, system: System) -> None:
        self._check_kinds(system)
        self._check_use(system)

    def _axes_of(self, name: str) -> tuple[str, ...]:
        declared = self.flat.declared.get(name)
        return declared.axes if declared is not None else self.flat.defined[name].axes

    def _check_axes(self, statement: Statement) -> None:
        name, axes = statement.name, self._axes_of(statement.name)
        defined = self.flat.defined.get(name)
        if defined is None or defined.axes != axes:
            return  # a boundary, whose axes were checked; or axes that are in doubt
        if defined.loss and statement.broken and statement.value.shape is not None:
            return  # no scalar, which was said with the reduction that it needs
        free = next((a for a in statement.value.axes if a not in axes), None)
        if free is not None:
            bind = f"bind it: `sum[{free}](...)`, or define `{_tail(name)}[{','.join([*axes, free])}]`"
            self._problem(
                "E403",
                f"`{free}` is free on the right",
                self._term_span(name, partial(_runs_over, free)),
                f"reduce it: `mean[{free}](...)`" if defined.loss else bind,
            )

    def _check_kinds(self, system: System) -> None:
        kinds = Kinds(system)
        for name, value in [
            *system.equations.items(),
            *((n, v) for n, d in system.draws.items() for _, v in d.parameters),
        ]:
            stream = system.streams[name]
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

    def _check_bounds(
        self, statement: Statement, term: Term, numbers: Mapping[str, int], seen: set[tuple[str, Any]]
    ) -> None:
        read = term.payload
        declared = self.flat.declared.get(read.name)
        if declared is not None and declared.boundary is not None:
            return
        if declared is None and self.flat.defined[read.name].target_span in self.shapeless:
            return  # it was told to be declared
        for index, axis in zip(read.index, self._axes_of(read.name), strict=True):
            if self.doubtful & {axis, index.axis, index.length}:
                continue
            index = replace(index, offset=self.inference.unifier.dim(index.offset))
            low, high = inside(index, axis, self.axes, numbers)
            if (low and high) or (read.name, index) in seen:
                continue
            seen.add((read.name, index))
            self._outside(statement.name, term, read, low)

    def _all_values(self, system: System) -> list[tuple[str, Symbol]]:
        values = list(system.equations.items())
        values += [(n, v) for n, d in system.draws.items() for _, v in d.parameters]
        values += [(n, s.boundary) for n, s in system.streams.items() if s.boundary is not None]
        return values

    def _outside(self, reader: str, term: Term, read: Read, low: bool) -> None:
        span = term.span if reader in self.flat.defined else self.flat.declared[reader].span
        tail, slot, d = _tail(read.name), self.inference.slots[read.name], self.flat.declared.get(read.name)
        defined = self.flat.defined.get(read.name)
        where = ",".join(self._axes_of(read.name))
        shape = "" if slot.shape is None else show(self.inference.unifier.shape(slot.shape))
        start = "none" if slot.category else "0"
        whole = f"{tail}[{where}]" + (f": {'one_hot ' if slot.category else ''}{shape}" if shape else "")
        kind = d.kind if d is not None and not (defined is not None and defined.drawn is not None) else "equation"
        if kind == "input":
            assert d is not None
            self._problem(
                "E413",
                f"`{tail}` has no value outside its steps",
                span,
                f"there is no padding: `input {whole} = {start}`",
                (Label(d.span, "declared here"),),
            )
            return
        if kind == "noise":
            assert d is not None
            self._problem(
                "E413",
                f"the noise `{tail}` has no value outside its steps",
                span,
                f"read it through a state: `state q{whole.removeprefix(tail)} = {start}`, "
                f"`q[{where}] = {tail}[{where}]`",
                (Label(d.span, "declared here"),),
            )
            return
        stated = d is not None and (defined is None or d.span != defined.target_span)  # not only drawn
        related: tuple[Label, ...] = ()
        add = f"declare a boundary: `state {whole} = {start}`" if low else f"add `state {whole} = {start}`"
        if stated and d is not None and d.copy.scope.file.source is d.copy.root.scope.file.source:
            line = d.copy.scope.file.source.line_of(d.span.start)
            add, related = f"append `= {start}` to line {line}", (Label(d.span, "declared here, without a boundary"),)
        if low:
            message = f"this reaches past the last step of `{tail}`"
            self._problem("E414", message, span, f"stay inside for every length, or {add}", related)
        else:
            self._problem("E412", f"`{tail}` is read before its first step", span, add, related)

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
