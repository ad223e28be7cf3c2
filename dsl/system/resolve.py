"""A cell's tree becomes a `System`: names, axes, shapes and kinds settled, or every mistake reported.

The steps are `scope` (which cells there are), `elaborate` (inlining), `terms` (reading expressions),
`infer` (shapes) and, here, lowering to symbols and the checks that need everything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dsl.system.dims import Dim
from dsl.system.elaborate import Declared, Defined, Elaborator, Flat
from dsl.system.indices import inside
from dsl.system.infer import Inference, Slot, Statement
from dsl.system.kinds import Kinds
from dsl.system.scope import open_scope
from dsl.system.system import Axis, Draw, Extent, Initializer, Instance, Read, Size, Stream, System, here
from dsl.system.terms import Reader, Term, constant_leaf
from dsl.system.unify import show
from dsl.text.diagnostics import CellError, Diagnostic, Label, suggest
from dsl.text.format import expression
from dsl.text.tree import Expr, File, Number, Ref, Span
from tinygrad_seq.symbol import Symbol, apply, leaves, lift, postorder

DISTRIBUTIONS = {"categorical": ("logits",)}
LATER_DISTRIBUTIONS = ("bernoulli", "normal", "mdn2d")
INITIALIZERS = ("glorot", "orthogonal", "identity", "normal", "uniform", "chrono", "he", "unitary")
NO_CATEGORY = -1
LENGTHS = ("number", "extent", "size", "add", "sub", "mul", "floordiv", "neg")  # what a derived axis is made of


def resolve(
    file: File, cell: str | None = None, arguments: Mapping[str, Any] | None = None
) -> tuple[System, list[Diagnostic]]:
    """The system of a file's cell (None: its last) and the warnings.

    `arguments` gives the cell's header arguments values: numbers and cell names. Raises `CellError`
    with every mistake found.
    """
    return Resolver(file, cell, dict(arguments or {})).run()


class Resolver:
    def __init__(self, file: File, cell: str | None, arguments: dict[str, Any]) -> None:
        self.file, self.source = file, file.source
        self.problems: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []
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
        self._later()
        self._undeclared()
        statements = self._read_all()
        self.inference = Inference(self._slots(), self.problems, self.source.text)
        self.statements = list(statements.values())
        self._categories(statements)
        self.inference.run(self.statements)
        self._open_shapes()
        self._stop()
        system = self._system(statements)
        self._check_axes(system)
        self._check_bounds(system)
        self._check_use(system)
        self._stop()
        return system, self.warnings

    def _stop(self) -> None:
        if self.problems:
            unique = list(dict.fromkeys(self.problems))
            raise CellError(unique, self.source)

    def _problem(
        self, code: str, message: str, span: Span, hint: str = "", related: tuple[Label, ...] = (), label: str = ""
    ) -> None:
        self.problems.append(Diagnostic(code, message, span, label, related, hint))

    # ------------------------------------------------------------ axes

    def _lengths(self) -> dict[str, Axis]:
        axes: dict[str, Axis] = {}
        reader = Reader(self.flat, self.elaborator, axes, self.problems)
        for name, given in self.flat.axes.items():
            if given is None:
                axes[name] = Axis(name)
                continue
            expr, copy, span = given
            before = len(self.problems)
            term = reader.read(expr, copy)
            whole = all(t.op in LENGTHS for t in reader.made)
            axes[name] = Axis(name, self._lower(term) if whole else lift(Extent(next(iter(axes), name))))
            if not whole and len(self.problems) == before:
                self._problem(
                    "E419",
                    f"the length of `{name}` is an integer expression of other lengths",
                    copy.place(span),
                    "as in `time u: len(t)//2`",
                )
            reader.made = []
        return axes

    # ------------------------------------------------------------ what parses but is not compiled

    def _later(self) -> None:
        for d in self.flat.declared.values():
            if d.kind == "noise":
                self._problem("E702", "noise is not compiled yet", d.span, "dropout and zoneout are on their way")
            if d.type is not None and d.type.qualifier == "complex":
                self._problem("E701", "complex streams are not compiled yet", d.span, "use two real streams")
            if d.kept:
                self._problem(
                    "E703",
                    "`kept` is not held through training yet",
                    d.span,
                    "drop `, kept`: the start is still orthogonal",
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
            if d2 is not None and d2.axes != e.axes:
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
        self.drawn: dict[str, Statement] = {}
        for name, e in self.flat.defined.items():
            if e.drawn is not None:
                self._read_draw(name, e)
                continue
            statements[name] = self._statement(name, e.value, e)
        self.boundaries: dict[str, Statement] = {}
        for name, d in self.flat.declared.items():
            if d.kind in ("param",) or d.boundary is None:
                continue
            self._read_boundary(name, d, statements)
        return {
            **statements,
            **{f"~{n}": s for n, s in self.drawn.items()},
            **{f"={n}": s for n, s in self.boundaries.items()},
        }

    def _statement(self, name: str, expr: Expr, e: Defined) -> Statement:
        self.reader.made = []
        value = self.reader.read(expr, e.copy)
        terms = self.reader.made
        self.reader.made = []
        return Statement(name, terms, value, e.target_span)

    def _read_draw(self, name: str, e: Defined) -> None:
        assert e.drawn is not None
        call = e.drawn
        if call.function in LATER_DISTRIBUTIONS:
            self._problem(
                "E704",
                f"`{call.function}` is not compiled yet",
                e.copy.place(call.span),
                "`categorical(logits=...)` is",
            )
            return
        if call.function not in DISTRIBUTIONS:
            near = suggest(call.function, [*DISTRIBUTIONS, *LATER_DISTRIBUTIONS])
            self._problem(
                "E202",
                f"unknown distribution `{call.function}`",
                e.copy.place(call.span),
                f"did you mean `{near}`?" if near else "categorical",
            )
            return
        wanted = DISTRIBUTIONS[call.function]
        if len(call.arguments) != 1 or call.arguments[0].keyword not in (None, *wanted):
            self._problem(
                "E308",
                f"`{call.function}` takes {', '.join(wanted)}",
                e.copy.place(call.span),
                f"`{call.function}({wanted[0]} = ...)`",
            )
            return
        self.drawn[name] = self._statement(name, call.arguments[0].value, e)

    def _read_boundary(self, name: str, d: Declared, statements: dict[str, Statement]) -> None:
        expr, copy = d.boundary, d.boundary_copy
        assert expr is not None and copy is not None
        if isinstance(expr, Ref) and expr.name == "none" and expr.index is None:
            if d.type is None or d.type.qualifier != "one_hot":
                self._problem("E309", "`none` is no category: only a one_hot stream has it", d.span, "write a number")
            return
        if d.kind == "const" and not d.axes and not isinstance(expr, Number):
            pass
        self.reader.made = []
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
        self.boundaries[name] = Statement(name, self.reader.made, value, d.span)
        self.reader.made = []

    # ------------------------------------------------------------ shapes

    def _slots(self) -> dict[str, Slot]:
        slots: dict[str, Slot] = {}
        for name, d in self.flat.declared.items():
            shape: tuple[Dim, ...] | None = None
            if d.type is not None:
                dims = [self.elaborator.dim(d.copy, x) for x in d.type.dims]
                for dim, expr in zip(dims, d.type.dims, strict=True):
                    if dim is None:
                        near = suggest(expression(expr), list(d.copy.dims))
                        self._problem(
                            "E201",
                            f"unknown size `{expression(expr)}`",
                            d.copy.place(expr.span),
                            f"did you mean `{near}`?"
                            if near
                            else f"add it to the header: `cell {d.copy.cell.name}(..., {expression(expr)})`",
                        )
                shape = None if None in dims else tuple(x for x in dims if x is not None)
            category = d.type.qualifier == "one_hot" if d.type is not None else name in self.drawn
            slots[name] = Slot(
                name, shape, shape is None, name in self.flat.defined, category, d.span if shape is not None else None
            )
        for name in self.flat.defined:
            slots.setdefault(
                name, Slot(name, () if self.flat.defined[name].loss else None, not self.flat.defined[name].loss, True)
            )
        return slots

    def _categories(self, statements: dict[str, Statement]) -> None:
        """A drawn category's logits have one entry a category; a boundary may be a scalar."""
        for name in self.drawn:
            if not self.inference.slots[name].category:
                self._problem(
                    "E308",
                    "categorical draws categories",
                    self.flat.defined[name].target_span,
                    f"declare `state {_tail(name)}[t]: one_hot K = none`",
                )
        for name, statement in list(self.boundaries.items()):
            only_number = statement.value.op in ("number", "size") or (
                statement.value.op == "neg" and statement.value.args[0].op == "number"
            )
            if only_number:
                statement.wanted = ()

    def _open_shapes(self) -> None:
        unifier = self.inference.unifier
        for name, slot in self.inference.slots.items():
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
                f"declare it: `: H` or `: (H, D)` behind `{_tail(name)}`",
            )

    def _is_read(self, name: str) -> bool:
        return any(t.op == "read" and t.payload.name == name for s in self.statements for t in s.terms)

    # ------------------------------------------------------------ lowering

    def _lower(self, root: Term) -> Symbol:
        """A term as a symbol; children were made before their parents, so no recursion."""
        done: dict[int, Symbol] = {}
        stack = [root]
        while stack:
            term = stack[-1]
            if id(term) in done:
                stack.pop()
                continue
            missing = [a for a in term.args if id(a) not in done]
            if missing:
                stack.extend(missing)
                continue
            done[id(term)] = self._symbol(term, [done[id(a)] for a in term.args])
            stack.pop()
        return done[id(root)]

    def _symbol(self, term: Term, args: list[Symbol]) -> Symbol:
        if term.op in ("number", "position", "extent"):
            return lift(constant_leaf(term))
        if term.op == "size":
            dim = self.inference.unifier.dim(term.payload) if hasattr(self, "inference") else term.payload
            return lift(int(dim)) if dim.is_constant else lift(dataclasses.replace(constant_leaf(term), dim=dim))
        if term.op == "read":
            return lift(term.payload)
        if term.op == "logprob":
            logits = self._lower(self.drawn[term.payload].value)
            home = tuple(here(a) for a in self.flat.defined[term.payload].axes)
            return apply("neg", apply("cross_entropy", self._vector(logits), lift(Read(term.payload, home))))
        if term.op == "zeros":
            return apply("fill", lift(0), dims=self.inference.unifier.shape(term.payload))
        if term.op == "product":
            return self._product(term, args)
        if term.op == "cross_entropy":
            return apply("cross_entropy", self._vector(args[0]), args[1])
        values = [self._vector(a) for a in args]
        if term.op == "part":
            start, size = self.inference.unifier.shape(term.payload)
            return apply(term.op, *values, start=start, size=size)
        if term.axis is not None:
            return apply(term.op, *values, axis=term.axis)
        if term.op in ("sum", "mean", "max", "min", "logsumexp"):
            rank = len(term.args[0].shape or ())
            return values[0] if rank == 0 else apply(term.op, *values, axis=-1 if rank == 1 else (-2, -1))
        if term.op in ("softmax", "log_softmax"):
            return apply(term.op, *values, axis=-1)
        return apply(term.op, *values)

    def _product(self, term: Term, args: list[Symbol]) -> Symbol:
        left, right = (len(t.shape or ()) for t in term.args)
        if left == 2 and right == 1:
            if self._category(args[1]) is not None:
                return apply("lookup", args[0], args[1])
            return apply("matvec", args[0], args[1])
        values = [self._vector(a) for a in args]
        return apply("dot" if left == 1 else "matmul", *values)

    def _category(self, symbol: Symbol) -> Dim | None:
        """The number of categories when a symbol reads a category stream."""
        if symbol.op is None and isinstance(symbol.leaf, Read):
            slot = self.inference.slots.get(symbol.leaf.name) if hasattr(self, "inference") else None
            if slot is not None and slot.category and slot.shape:
                return slot.shape[0]
        return None

    def _vector(self, symbol: Symbol) -> Symbol:
        """In arithmetic a category is its one-hot vector."""
        k = self._category(symbol)
        return symbol if k is None else apply("one_hot", symbol, lift(Size(k)))

    # ------------------------------------------------------------ the system

    def _system(self, statements: dict[str, Statement]) -> System:
        equations: dict[str, Symbol] = {}
        draws: dict[str, Draw] = {}
        spans: dict[str, Span] = {}
        streams: dict[str, Stream] = {}
        for name, d in self.flat.declared.items():
            streams[name] = self._declared_stream(name, d)
        for name, e in self.flat.defined.items():
            if e.drawn is not None:
                draws[name] = Draw(
                    e.drawn.function,
                    ((DISTRIBUTIONS[e.drawn.function][0], self._vector(self._lower(self.drawn[name].value))),),
                )
            else:
                slot = self.inference.slots[name]
                value = self._lower(statements[name].value)
                k = self._category(value)
                equations[name] = value if k is None or slot.category else self._vector(value)
                if name not in streams:
                    streams[name] = Stream(
                        name, "equation", e.axes, slot.shape or (), total=e.total, span=e.target_span
                    )
                elif e.total:
                    streams[name] = dataclasses.replace(streams[name], total=True)
            spans[name] = e.span
        for name, stream in list(streams.items()):
            if stream.kind == "const" and name in self.boundaries and self.boundaries[name].value.op != "number":
                streams[name] = dataclasses.replace(stream, kind="equation", boundary=None)
                equations[name] = self._lower(self.boundaries[name].value)
        streams = self._sharing(streams, equations)
        root = self.flat.root
        arguments = {p.name: self.elaborator.values.get(p.name) for p in root.cell.parameters}
        instances = tuple(
            Instance(c.prefix[:-1], c.cell.name, c.reverse, c.storey) for c in self.flat.copies if c.parent is not None
        )
        return System(
            root.cell.name,
            arguments,
            self.axes,
            streams,
            equations,
            draws,
            tuple(self.flat.outputs),
            tuple(self.flat.losses),
            instances,
            self._aliases(),
            self.source,
            spans,
        )

    def _aliases(self) -> dict[str, str]:
        """What a user may write besides flat names: `rnn`, `rnn.c` of a stack's top copy."""
        aliases: dict[str, str] = {}
        for copy in self.flat.copies:
            for name, children in copy.uses.items():
                if not children:
                    continue
                top = children[-1]
                if len(top.outputs) == 1:
                    aliases[copy.prefix + name] = top.outputs[0]
                if top.storey is not None:
                    for flat in [*self.flat.declared, *self.flat.defined]:
                        if flat.startswith(top.prefix):
                            aliases.setdefault(f"{copy.prefix}{name}.{flat[len(top.prefix) :]}", flat)
        return aliases

    def _declared_stream(self, name: str, d: Declared) -> Stream:
        slot = self.inference.slots[name]
        kind = d.kind
        if kind == "state" or name in self.drawn:
            kind = "draw" if name in self.drawn else "equation"
        boundary: Symbol | None = None
        if d.kind != "param" and d.boundary is not None:
            if isinstance(d.boundary, Ref) and d.boundary.name == "none":
                boundary = lift(NO_CATEGORY)
            else:
                boundary = self._lower(self.boundaries[name].value)
        shape = slot.shape or ()
        return Stream(
            name,
            kind,
            d.axes,
            () if slot.category else shape,
            "category" if slot.category else "real",
            shape[0] if slot.category else None,
            d.kind in ("param", "const"),
            boundary,
            self._initializer(name, d),
            d.kept,
            False,
            d.kind == "state",
            d.span,
        )

    def _initializer(self, name: str, d: Declared) -> Initializer | None:
        if d.kind == "param" and d.boundary is not None:
            value = self._constant(d.boundary, d)
            return None if value is None else Initializer("constant", (value,))
        if d.distribution is None or d.kind != "param":
            return None
        if d.distribution.function not in INITIALIZERS:
            near = suggest(d.distribution.function, list(INITIALIZERS))
            self._problem(
                "E202",
                f"unknown initialiser `{d.distribution.function}`",
                d.copy.place(d.distribution.span),
                f"did you mean `{near}`?" if near else ", ".join(INITIALIZERS),
            )
            return None
        values = [self._constant(a.value, d) for a in d.distribution.arguments]
        return Initializer(d.distribution.function, tuple(v for v in values if v is not None))

    def _constant(self, expr: Expr, d: Declared) -> Any:
        """A number in an initialiser: an arithmetic expression of numbers and arguments."""
        dim = self.elaborator.dim(d.copy, expr)
        if dim is not None:
            return int(dim) if dim.is_constant else dim
        reader = Reader(self.flat, self.elaborator, self.axes, self.problems)
        symbol = self._lower(reader.read(expr, d.copy)) if reader.read(expr, d.copy).op != "hole" else None
        if symbol is None:
            return None
        value = evaluate_number(symbol)
        if value is None:
            self._problem(
                "E309",
                "an initialiser takes numbers",
                d.copy.place(getattr(expr, "span", d.span)),
                "as in `~ uniform(-0.1, 0.1)` or `= 0`",
            )
        return value

    def _sharing(self, streams: dict[str, Stream], equations: dict[str, Symbol]) -> dict[str, Stream]:
        """Which unindexed equations are shared: totals, and those that read shared values only."""
        changed = True
        while changed:
            changed = False
            kinds = Kinds(streams)
            for name, value in equations.items():
                stream = streams[name]
                if stream.shared or stream.axes:
                    continue
                if stream.total or kinds.of(value).shared:
                    streams[name] = dataclasses.replace(stream, shared=True)
                    changed = True
        return streams

    # ------------------------------------------------------------ checks on the whole

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
            if stream.total and kinds.of(value).shared:
                self._problem(
                    "E418", "a total sums over the sequences, but this is shared already", stream.span, "drop `total`"
                )

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
        """Warnings: parameters nobody reads, states nobody reads at another step."""
        read: dict[str, bool] = {}
        for _, value in self._all_values(system):
            for leaf in leaves(value):
                if isinstance(leaf.leaf, Read):
                    away = any(not i.is_identity for i in leaf.leaf.index)
                    read[leaf.leaf.name] = read.get(leaf.leaf.name, False) or away
        for name, stream in system.streams.items():
            d = self.flat.declared.get(name)
            if d is None or d.copy.parent is not None:
                continue
            if stream.kind == "param" and name not in read:
                self._warn("W902", f"param `{name}` is never used", stream.span, "drop it, or use it")
            if stream.state and stream.kind == "equation" and not read.get(name, False):
                self._warn(
                    "W901",
                    f"state `{name}` is never read at another step",
                    stream.span,
                    f"drop the declaration: `{name}` is an ordinary stream",
                )

    def _warn(self, code: str, message: str, span: Span, hint: str) -> None:
        self.warnings.append(Diagnostic(code, message, span, "", (), hint, "warning"))


def _tail(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else name


def _runs_over(axis: str, term: Term) -> bool:
    return term.op in ("read", "position") and axis in term.axes


def evaluate_number(symbol: Symbol) -> float | int | None:
    """The value of an expression of numbers only, None when it reads anything."""
    done: dict[Symbol, Any] = {}
    for node in postorder([symbol]):
        if node.op is None:
            if not node.is_number:
                return None
            done[node] = node.leaf
        else:
            done[node] = node.op.impl(*[done[a] for a in node.args], **node.options)
    value = done[symbol]
    return value if isinstance(value, int) else float(value)
