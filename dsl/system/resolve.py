"""A cell's tree becomes a `System`: names, axes, shapes and kinds settled, or every mistake reported.

The steps are `scope` (which cells there are), `elaborate` (inlining), `terms` (reading expressions),
`infer` (shapes), `lower` (symbols), `build` (the system) and `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dsl.system.advice import beside
from dsl.system.build import Builder
from dsl.system.calls import Reader
from dsl.system.checks import Checks
from dsl.system.copies import Copy, Declared, Defined, Flat
from dsl.system.dims import Dim
from dsl.system.distributions import DISTRIBUTIONS, INITIALIZERS, NOISE
from dsl.system.elaborate import Elaborator
from dsl.system.infer import Inference, Slot, Statement
from dsl.system.lower import Drawn, Lowering
from dsl.system.scope import open_scope
from dsl.system.system import Axis, Extent, Size, System, at_home
from dsl.system.telling import Telling
from dsl.system.terms import Term
from dsl.text.diagnostics import CellError, Diagnostic, Label, merged, suggest
from dsl.text.format import expression
from dsl.text.tree import Binary, Call, Expr, File, Ref, Span, function_span
from dsl.text.walk import reads
from tinygrad_seq.optim import RETRACTIONS
from tinygrad_seq.symbol import Symbol, leaves, lift, postorder, substitute

LENGTHS = ("number", "extent", "size", "add", "sub", "mul", "floordiv", "neg")  # what a derived axis is made of


def resolve(
    file: File, cell: str | None = None, arguments: Mapping[str, Any] | None = None
) -> tuple[System, list[Diagnostic]]:
    """The system of a file's cell (None: its last) and the warnings.

    `arguments` gives the cell's header arguments values: numbers and cell names. Raises `CellError`
    with every mistake found.
    """
    return Resolver(file, cell, dict(arguments or {})).run()


class Resolver(Telling):
    def __init__(self, file: File, cell: str | None, arguments: dict[str, Any]) -> None:
        self.file, self.source = file, file.source
        self.problems: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []
        self.doubtful: set[str] = set()  # axes that stand in for one whose length was refused
        scope = open_scope(file, self.problems)
        own = file.cells
        if cell is None and not own:
            raise CellError(
                [Diagnostic("E201", "no cell in this file", Span(0, 0), help="a cell starts with `cell Name(D, H):`")],
                self.source,
            )
        name = cell if cell is not None else list(own)[-1]
        if name not in scope.cells:
            near = suggest(name, list(scope.cells))
            hint = f"did you mean `{near}`?" if near else "it has " + ", ".join(own)
            raise CellError(
                [Diagnostic("E201", f"no cell named `{name}` in this file", Span(0, 0), help=hint)], self.source
            )
        tree, home = scope.cells[name]
        self.elaborator = Elaborator(tree, home, arguments, self.problems)
        self.source = home.file.source

    def run(self) -> tuple[System, list[Diagnostic]]:
        self.flat: Flat = self.elaborator.run()
        self.axes = self._lengths()
        self.reader = Reader(self.flat, self.elaborator, self.axes, self.problems)
        self._chosen()
        self._undeclared()
        statements = self._read_all()
        self.inference = Inference(self._slots(), self.problems, self.source.text)
        self.statements = list(statements.values())
        self._categories()
        self.inference.run(self.statements)
        self._sizes_of_the_unknown()
        self._open_shapes()
        checks = Checks(
            self.flat, self.axes, self.doubtful, self.inference, self.statements, self.problems, self.warnings
        )
        checks.reads(self.elaborator.values)
        self._stop()
        system = Builder(
            self.flat,
            self.elaborator,
            self.axes,
            self.inference,
            Lowering(self.inference, self.drawn),
            self.drawn,
            self.boundaries,
            self.source,
            self.problems,
        ).run(statements)
        checks.run(system)
        self._stop()
        return system, self.warnings

    def _stop(self) -> None:
        if self.problems:
            raise CellError(merged(self.problems), self.source)

    # ------------------------------------------------------------ axes

    def _lengths(self) -> dict[str, Axis]:
        """The axes; one whose length is wrong counts as long as the first that the data gives."""
        given = next((name for name, how in self.flat.axes.items() if how is None), None)
        axes = {n: Axis(n, None if how is None or given is None else lift(Extent(given)))
                for n, how in self.flat.axes.items()}  # fmt: skip
        reader = Reader(self.flat, self.elaborator, axes, self.problems)
        for name, how in self.flat.axes.items():
            if how is None:
                continue
            expr, copy, span = how
            before, stand_in = len(self.problems), axes[name]
            reader.made = []
            term = reader.read(expr, copy)
            message = f"the length of `{name}` is an integer expression of other lengths"
            if whole := all(t.op in LENGTHS and not isinstance(t.payload, float | complex) for t in reader.made):
                axes[name] = Axis(name, substitute(Lowering().lower(term), self._sized))
                message = f"the length of `{name}` depends on itself"
                length = axes[name].length
                if length is not None and any(
                    n.is_op("floordiv") and n.args[1] is lift(0) for n in postorder([length])
                ):
                    whole, message = False, f"the length of `{name}` divides by 0"
            if not whole or name in _needed(name, axes):
                axes[name] = stand_in
                self.doubtful.add(name)
                if len(self.problems) == before:
                    self._problem("E419", message, copy.place(span), "as in `time u: len(t)//2`")
        return axes

    def _sized(self, node: Symbol) -> Symbol | None:
        """A size in an axis's length as a number, where the arguments give one: indices are proved inside with it."""
        number = self.elaborator.number(node.leaf.dim) if isinstance(node.leaf, Size) else None
        return None if number is None else lift(number)

    # ------------------------------------------------------------ what is drawn

    def _chosen(self) -> None:
        for d in self.flat.declared.values():
            if d.kind == "noise":
                self._noise(d)
            call = d.distribution
            if d.kept and call is not None and call.function not in RETRACTIONS and call.function in INITIALIZERS:
                names = list(RETRACTIONS)
                self._problem(
                    "E310",
                    f"`kept` has nothing to hold: `{call.function}` draws from no constrained set",
                    d.copy.place(call.span),
                    f"`{'`, `'.join(names[:-1])}` and `{names[-1]}` can be kept; else drop `, kept`",
                )

    def _noise(self, d: Declared) -> None:
        call = d.distribution
        if call is None or call.function not in NOISE:
            name = call.function if call is not None else ""
            near = suggest(name, list(NOISE))
            self._problem(
                "E202",
                f"unknown noise `{name}`",
                d.copy.place(function_span(call)) if call is not None else d.span,
                f"did you mean `{near}`?" if near else ", ".join(NOISE),
            )
        elif len(call.arguments) != NOISE[call.function]:
            wanted = NOISE[call.function]
            self._problem(
                "E308",
                f"`{call.function}` takes {wanted} number{'s' if wanted > 1 else ''}",
                d.copy.place(call.span),
                "`noise m[t]: H ~ dropout(0.1)`",
            )

    def _undeclared(self) -> None:
        for name, d in list(self.flat.declared.items()):
            if d.kind == "state" and name not in self.flat.defined:
                self._problem(
                    "E210",
                    f"no equation defines `{_tail(name)}`",
                    d.span,
                    f"write `{_tail(name)}[t] = ...`, or declare it `input`",
                )
        for name, e in self.flat.defined.items():
            d2 = self.flat.declared.get(name)
            if e.drawn is not None and d2 is None:  # never read back: the draw says all
                d2 = self.flat.declared[name] = Declared(name, "state", e.axes, e.copy, e.target_span)
            if d2 is not None and d2.axes != e.axes and name not in self.elaborator.broken:
                wanted = ",".join(d2.axes)
                self._problem(
                    "E416",
                    f"`{_tail(name)}` is declared on ({wanted}) and defined on ({','.join(e.axes)})",
                    e.target_span,
                    "use the same axes in both",
                    (Label(d2.span, "declared here"),),
                )

    # ------------------------------------------------------------ reading

    def _read_all(self) -> dict[str, Statement]:
        statements: dict[str, Statement] = {}
        self.drawn: dict[str, Drawn] = {}
        for name, e in self.flat.defined.items():
            if e.drawn is not None:
                self._read_draw(name, e)
                continue
            statements[name] = self._statement(name, e.value, e)
        self.boundaries: dict[str, Statement] = {}
        self.permutations: dict[str, Dim] = {}  # consts that are a random order of that many
        for name, d in self.flat.declared.items():
            if d.kind in ("param",) or d.boundary is None:
                continue
            self._read_boundary(name, d, statements)
        return {
            **statements,
            **{f"~{n}.{k}": s for n, d in self.drawn.items() for k, s in d.parameters.items()},
            **{f"={n}": s for n, s in self.boundaries.items()},
        }

    def _statement(self, name: str, expr: Expr, e: Defined) -> Statement:
        self.reader.made = []
        value = self.reader.read(expr, e.copy)
        return Statement(name, self._made(e.copy), value, e.target_span)

    def _made(self, copy: Copy) -> list[Term]:
        """The terms just read, each with its place in the root's file."""
        terms, self.reader.made = self.reader.made, []
        for term in terms:
            if (place := copy.place(term.span)) != term.span:
                term.span, term.foreign = place, True
        return terms

    def _read_draw(self, name: str, e: Defined) -> None:
        assert e.drawn is not None
        call = e.drawn
        place = e.copy.place(call.span)
        if call.function not in DISTRIBUTIONS:
            near = suggest(call.function, list(DISTRIBUTIONS))
            known = f"did you mean `{near}`?" if near else ", ".join(DISTRIBUTIONS)
            span = e.copy.place(function_span(call))
            self._problem("E202", f"unknown distribution `{call.function}`", span, known)
            return
        wanted = DISTRIBUTIONS[call.function].parameters
        names = [a.keyword or (wanted[k] if k < len(wanted) else "") for k, a in enumerate(call.arguments)]
        if sorted(names) != sorted(wanted):
            shown = ", ".join(f"{w} = ..." for w in wanted)
            self._problem("E308", f"`{call.function}` takes {', '.join(wanted)}", place, f"`{call.function}({shown})`")
            return
        given = {k: self._statement(name, a.value, e) for k, a in zip(names, call.arguments, strict=True)}
        alike = DISTRIBUTIONS[call.function].like_value
        for parameter, statement in given.items():
            statement.relation = "same" if parameter in alike[:1] else "scalar" if parameter in alike else "own"
        self.drawn[name] = Drawn(call.function, e.axes, given)

    def _read_boundary(self, name: str, d: Declared, statements: dict[str, Statement]) -> None:
        expr, copy = d.boundary, d.boundary_copy
        assert expr is not None and copy is not None
        if isinstance(expr, Ref) and expr.name == "none" and expr.index is None:
            if d.type is None or d.type.qualifier != "one_hot":
                self._problem("E309", "`none` is no category: only a one_hot stream has it", d.span, "write a number")
            return
        self.reader.made = []
        if d.kind == "const" and isinstance(expr, Call) and expr.function == "permutation":
            sizes = [self.elaborator.dim(copy, a.value) for a in expr.arguments]
            if len(sizes) == 1 and sizes[0] is not None:
                self.permutations[name] = sizes[0]
            else:
                self._problem("E308", "`permutation` takes a size", copy.place(expr.span), "`const P = permutation(N)`")
            return
        if isinstance(expr, Ref) and expr.index is None and copy.uses.get(expr.name):
            self._problem("E309", f"`{expr.name}` varies with time", copy.place(expr.span), f"`last({expr.name})`")
            return
        value = self.reader.read(expr, copy)
        if value.axes:
            self._problem(
                "E415",
                "an initial value cannot vary with t",
                copy.place(expr.span),
                f"`last({expression(expr).split('[')[0]})`, a number or a param",
            )
            return
        self.boundaries[name] = Statement(name, self._made(copy), value, d.span)

    # ------------------------------------------------------------ shapes

    def _slots(self) -> dict[str, Slot]:
        slots: dict[str, Slot] = {}
        for name, d in self.flat.declared.items():
            shape: tuple[Dim, ...] | None = None
            if d.type is not None:
                dims = [self.elaborator.dim(d.copy, x) for x in d.type.dims]
                for dim, expr in zip(dims, d.type.dims, strict=True):
                    if dim is None:
                        self._bad_size(expr, d.copy)
                shape = None if None in dims else tuple(x for x in dims if x is not None)
            if name in self.permutations:
                shape = (self.permutations[name],)
            category = (
                d.type.qualifier == "one_hot"
                if d.type is not None
                else name in self.drawn and DISTRIBUTIONS[self.drawn[name].distribution].category
            )
            slots[name] = Slot(
                name, shape, shape is None, name in self.flat.defined, category, d.span if shape is not None else None
            )
        for name in self.flat.defined:
            slots.setdefault(
                name, Slot(name, () if self.flat.defined[name].loss else None, not self.flat.defined[name].loss, True)
            )
        return slots

    def _bad_size(self, expr: Expr, copy: Copy) -> None:
        names = [r.name for r in reads(expr) if r.index is None and r.name not in copy.dims]
        if not names:
            open_names = [r.name for r in reads(expr) if self.elaborator.number(copy.dims[r.name]) is None]
            message = f"a size is an integer expression of the arguments, not `{expression(expr)}`"
            hint = "as in `2*H+1`"
            if isinstance(expr, Binary) and expr.op == "/":
                hint = (
                    f"a size of its own in the header; `{expression(replace(expr, op='//'))}` where a default is given"
                )
            if "//" in expression(expr) and open_names:
                message = f"`{expression(expr)}` needs a number for `{open_names[0]}`"
                hint = f"a default, `cell {copy.cell.name}(..., {open_names[0]}=64)`, or a size of its own"
            self._problem("E201", message, copy.place(expr.span), hint)
            return
        if names[0] in copy.numbers:
            message = f"a size is an integer, `{names[0]}` is {copy.numbers[names[0]]}"
            self._problem("E201", message, copy.place(expr.span), "give a whole number: `H=4`")
            return
        near = suggest(names[0], list(copy.dims))
        hint = f"did you mean `{near}`?" if near else f"add it to the header: `cell {copy.cell.name}(..., {names[0]})`"
        self._problem("E201", f"unknown size `{names[0]}`", copy.place(expr.span), hint)

    def _categories(self) -> None:
        """A drawn category's logits have one entry a category; a boundary may be a scalar."""
        for name, drawn in self.drawn.items():
            slot, kind = self.inference.slots[name], DISTRIBUTIONS[drawn.distribution]
            if slot.category != kind.category:
                tail = _tail(name)
                what = "one_hot K = none" if kind.category else "H = 0"
                self._problem(
                    "E308",
                    f"`{drawn.distribution}` draws {'categories' if kind.category else 'real values'}",
                    self.flat.defined[name].target_span,
                    f"declare `state {tail}[{','.join(drawn.axes)}]: {what}`",
                )
        for statement in self.boundaries.values():
            only_number = statement.value.op in ("number", "size") or (
                statement.value.op == "neg" and statement.value.args[0].op == "number"
            )
            if only_number:
                statement.wanted = ()

    def _sizes_of_the_unknown(self) -> None:
        """Help for unknown streams, now that the shapes beside them are known."""
        told: dict[int, Diagnostic] = {}
        for hole, diagnostic, help in self.reader.unknown:
            told[id(diagnostic)] = replace(diagnostic, help=help(beside(self.inference, hole, self.statements)))
        self.problems[:] = [told.get(id(d), d) for d in self.problems]

    def _open_shapes(self) -> None:
        unifier = self.inference.unifier
        slots = self.inference.slots
        states = self._undeclared_states()
        for name in sorted(slots, key=lambda n: n not in states):  # what they fix may be all
            slot = slots[name]
            shape = unifier.shape(slot.shape) if slot.shape is not None else None
            slot.shape = shape
            if shape is not None and not any(n.startswith("?") for dim in shape for n in dim.names):
                continue
            if self.problems:
                continue  # an earlier mistake is the likelier cause
            d = self.flat.declared.get(name)
            span = d.span if d is not None else self.flat.defined[name].target_span
            if d is not None and d.kind == "param" and not self._is_read(name):
                self._problem(
                    "E305", f"nothing fixes the shape of `{_tail(name)}`: it is never used", span, "drop it, or use it"
                )
                continue
            self._problem(
                "E305",
                f"nothing fixes the shape of `{_tail(name)}`",
                span,
                f"declare it: `: H` or `: (H, D)` behind `{_tail(name)}`"
                if d is not None
                else f"declare it: `state {self._target(name)}: H = 0`",
            )

    def _target(self, name: str) -> str:
        defined = self.flat.defined[name]
        return _tail(name) + (f"[{','.join(defined.local_axes)}]" if defined.local_axes else "")

    def _undeclared_states(self) -> set[str]:
        """What is read at another step, and nothing declares it."""
        own = self.flat.defined.keys() - self.flat.declared.keys()
        reads = [t.payload for s in self.statements for t in s.terms if t.op == "read" and t.payload.name in own]
        return {r.name for r in reads if r.index and not at_home(r.index, self.flat.defined[r.name].axes)}

    def _is_read(self, name: str) -> bool:
        return any(t.op == "read" and t.payload.name == name for s in self.statements for t in s.terms)


def _needed(axis: str, axes: Mapping[str, Axis]) -> set[str]:
    """The axes that an axis's length is computed from, at any remove."""
    found: set[str] = set()
    todo = [axis]
    while todo:
        length = axes[name].length if (name := todo.pop()) in axes else None
        for leaf in leaves(length) if length is not None else ():
            if isinstance(leaf.leaf, Extent) and leaf.leaf.axis not in found:
                found.add(leaf.leaf.axis)
                todo.append(leaf.leaf.axis)
    return found


def _tail(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else name
