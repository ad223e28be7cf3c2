"""Reading expressions: syntax trees of a copy become terms with flat names, global axes and places.

A `Term` is an expression before its shapes are known. Terms are made children first and kept in that
order, so that later passes walk lists and never recurse.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dsl.system.copies import Copy, Flat, targets
from dsl.system.dims import Dim
from dsl.system.distributions import INITIALIZERS
from dsl.system.elaborate import Elaborator
from dsl.system.indices import BadIndex, flip, length_form, linear
from dsl.system.system import Axis, Extent, Index, Position, Read, Size
from dsl.system.unify import show
from dsl.text.diagnostics import Diagnostic, Label, suggest
from dsl.text.format import expression
from dsl.text.tree import Binary, Call, Expr, Negative, Number, Ref, Span, Transpose
from dsl.text.walk import reads
from tinygrad_seq.primitive import REGISTRY

INFIX = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "//": "floordiv",
    "%": "mod",
    "**": "power",
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
CONSTANTS = {"pi": math.pi, "inf": math.inf}


@dataclass(eq=False, slots=True)
class Term:
    """`op` is a primitive's name, or number, read, position, extent, size, product (`@`), logprob, hole."""

    op: str
    args: tuple[Term, ...]
    span: Span
    axes: tuple[str, ...] = ()
    payload: Any = None
    axis: str | None = None  # of a named-axis reduction
    shape: tuple[Dim, ...] | None = None
    bare: bool = False  # an `@` written without parentheses
    foreign: bool = False  # its text is another's: a sub-cell's in another file, a macro's


@dataclass
class Reading(ABC):
    """Names, reads and operators of one flattened cell; `calls.Reader` adds function calls. Problems are collected."""

    flat: Flat
    elaborator: Elaborator
    axes: Mapping[str, Axis]
    problems: list[Diagnostic]
    made: list[Term] = field(default_factory=list)
    unknown: list[tuple[Term, Diagnostic, Callable[[tuple[Dim, ...] | None], str]]] = field(default_factory=list)
    # holes for unknown names, what was said of each, and its help by the shape that it turns out to have

    # ------------------------------------------------------------ making terms

    def term(self, op: str, args: tuple[Term, ...], span: Span, **more: Any) -> Term:
        if "axes" not in more:
            more["axes"] = tuple(dict.fromkeys(a for t in args for a in t.axes))
        made = Term(op, args, span, **more)
        self.made.append(made)
        return made

    def hole(self, span: Span) -> Term:
        return self.term("hole", (), span, axes=())

    def problem(
        self,
        code: str,
        message: str,
        span: Span,
        copy: Copy,
        hint: str = "",
        label: str = "",
        related: tuple[Label, ...] = (),
    ) -> Term:
        self.problems.append(Diagnostic(code, message, copy.place(span), label, related, hint))
        return self.hole(span)

    # ------------------------------------------------------------ expressions

    def read(self, expr: Expr, copy: Copy, env: Mapping[str, Term] | None = None) -> Term:
        env = env or {}
        spine: list[Binary] = []
        while isinstance(expr, Binary):  # a long sum leans left: walk it, do not recurse
            spine.append(expr)
            expr = expr.left
        term = self._single(expr, copy, env)
        for node in reversed(spine):
            right = self.read(node.right, copy, env)
            if node.op == "@":
                term = self.term("product", (term, right), node.span, bare=not node.parenthesised)
            else:
                term = self.term(INFIX[node.op], (term, right), node.span)
        return term

    def _single(self, expr: Expr, copy: Copy, env: Mapping[str, Term]) -> Term:
        if isinstance(expr, Number):
            return self.term("number", (), expr.span, payload=expr.value, shape=())
        if isinstance(expr, Negative):
            return self.term("neg", (self.read(expr.operand, copy, env),), expr.span)
        if isinstance(expr, Transpose):
            transposed = self.term("transpose", (self.read(expr.operand, copy, env),), expr.span)
            return transposed if expr.kind == "T" else self.term("conj", (transposed,), expr.span)
        if isinstance(expr, Call):
            return self._call(expr, copy, env)
        assert isinstance(expr, Ref)
        return self._name(expr, copy, env)

    def _name(self, ref: Ref, copy: Copy, env: Mapping[str, Term]) -> Term:
        if ref.index is None:
            if ref.name in env:
                return env[ref.name]
            if ref.name in copy.axes:
                return self._position(ref, copy)
            if ref.name in copy.dims:
                return self.term("size", (), ref.span, payload=copy.dims[ref.name], shape=())
            if ref.name in copy.numbers:
                return self.term("number", (), ref.span, payload=copy.numbers[ref.name], shape=())
            if ref.name in CONSTANTS:
                return self.term("number", (), ref.span, payload=CONSTANTS[ref.name], shape=())
        flat = self.elaborator.flat_name(copy, ref.name)
        if flat == "!":
            return self.hole(ref.span)
        if flat is None:
            return self._unknown(ref, copy)
        if flat in self.elaborator.broken:
            return self.hole(ref.span)
        return self._stream(ref, flat, self.axes_of(flat), copy)

    def _position(self, ref: Ref, copy: Copy) -> Term:
        time = copy.axes[ref.name]
        position = self.term("position", (), ref.span, payload=time.axis, axes=(time.axis,), shape=())
        if not time.flipped:
            return position
        extent = self.term("extent", (), ref.span, payload=time.axis, axes=(), shape=())
        one = self.term("number", (), ref.span, payload=1, shape=())
        return self.term("sub", (self.term("sub", (extent, one), ref.span), position), ref.span)

    def axes_of(self, flat: str) -> tuple[str, ...]:
        declared = self.flat.declared.get(flat)
        if declared is not None:
            return declared.axes
        defined = self.flat.defined.get(flat)
        return defined.axes if defined is not None else ()

    def _unknown(self, ref: Ref, copy: Copy) -> Term:
        names = self._local_names(copy)
        if ref.name in copy.uses:
            outputs = ", ".join(o for c in copy.uses[ref.name] for o in c.outputs) or "none"
            return self.problem(
                "E201",
                f"`{ref.name}` has not one output but: {outputs}",
                ref.span,
                copy,
                f"name the one you mean: `{outputs.split(', ')[0]}[t]`",
            )
        if ref.name in REGISTRY or copy.scope.cell(ref.name):
            kind = "a function" if ref.name in REGISTRY else "a cell"
            return self.problem("E212", f"`{ref.name}` is {kind}, not a value", ref.span, copy, "call it, or `use` it")
        head, _, tail = ref.name.rpartition("_")
        if head in names and tail in copy.axes:
            return self.problem(
                "E214", f"unknown name `{ref.name}`", ref.span, copy, f"time goes in brackets: `{head}[{tail}]`?"
            )
        if ref.name in INITIALIZERS:
            message = f"`{ref.name}` is an initialiser, not a value"
            return self.problem("E212", message, ref.span, copy, f"what is drawn stands behind `~`: `~ {ref.name}`")
        if ref.name in ("none", "nan"):
            what, hint = "not a number, and nothing begins with it", "infinity is `inf`"
            if ref.name == "none":
                what, hint = "no category, and stands behind `=` alone", "`state y[t]: one_hot K = none` declares it"
            return self.problem("E309", f"`{ref.name}` is {what}", ref.span, copy, hint)
        near = suggest(ref.name, names)
        near_first = f"did you mean `{near}`? {'' if '.' in ref.name else 'Otherwise '}" if near else ""
        hint = near_first + self._definition(ref, copy)
        hole = self.problem("E201", f"unknown name `{ref.name}`", ref.span, copy, hint)
        if ref.index is not None and "." not in ref.name:
            self.unknown.append((hole, self.problems[-1], lambda s: near_first + self._definition(ref, copy, s)))
        return hole

    @staticmethod
    def _definition(ref: Ref, copy: Copy, shape: tuple[Dim, ...] | None = None) -> str:
        """The line that would define an unknown name, by the way it is read, and by its shape where that is known."""
        name = ref.name
        head, _, tail = name.partition(".")
        if head in copy.uses and len(copy.uses[head]) > 1 and tail.split(".")[0].isdigit():
            return f"its storeys are `{head}.0` to `{head}.{len(copy.uses[head]) - 1}`"
        if head in copy.uses and copy.uses[head]:
            cell = copy.uses[head][-1].cell
            return f"`{head}` has {', '.join(dict.fromkeys(r.name for s in cell.body for r in targets(s)))}"
        if tail in ("t", "T", "h", "H", "transpose"):
            return f"transpose is `{head}.T`"
        if tail and head == "self":
            return f"there is no `self` here: write `{tail}`"
        if tail:
            return f"a dotted name belongs to a copy of a cell: `use {head} = Cell(...)`"
        if name.lower() in copy.axes:
            return f"`{name.lower()}` is the step, `len({name.lower()})` the number of steps"
        if ref.index is not None:
            axes: list[str] = []  # those that the index speaks of, else the cell's own in order
            for index in ref.index:
                spoken = (r.name for r in reads(index) if r.name in copy.axes)
                axes += [a for a in (*spoken, *copy.axes) if a not in axes][:1]
            where = expression(Ref(name, tuple(map(Ref, axes))))
            size = f": {show(shape)}" if shape else ""
            if shape is None or any(n.startswith("?") for dim in shape for n in dim.names):
                return f"define it, `{where} = ...`, or declare it with its size, as in `input {where}: D`"
            return f"define it, `{where} = ...`, or declare `input {where}{size}`"
        after = copy.scope.file.source.text[ref.span.end :].removeprefix(".T").removeprefix(".H").lstrip()
        if after.startswith("@"):
            return f"declare it: `param {name} ~ glorot`"
        return f"declare it, `param {name} = 0`, or put it into the header: `cell {copy.cell.name}(..., {name}=1):`"

    def _local_names(self, copy: Copy) -> list[str]:
        own = [n[len(copy.prefix) :] for n in [*self.flat.declared, *self.flat.defined] if n.startswith(copy.prefix)]
        tops = [(name, children[-1].cell) for name, children in copy.uses.items() if children]
        theirs = [f"{name}.{ref.name}" for name, cell in tops for s in cell.body for ref in targets(s)]
        return [*dict.fromkeys([*theirs, *own, *copy.aliases, *copy.dims, *copy.uses])]

    @abstractmethod
    def _call(self, call: Call, copy: Copy, env: Mapping[str, Term]) -> Term:
        """A function call as a term."""

    # ------------------------------------------------------------ reads

    def _stream(self, ref: Ref, flat: str, axes: tuple[str, ...], copy: Copy) -> Term:
        declared = self.flat.declared.get(flat)
        if ref.index is None and axes:
            return self._missing_index(ref, flat, axes, copy)
        if ref.index is not None and not axes:
            kind, name = declared.kind if declared else "single value", ref.name.removeprefix("^")
            return self.problem(
                "E211",
                f"`{name}` is {'an' if kind == 'input' else 'a'} {kind}, constant in time",
                ref.span,
                copy,
                f"write `{name}` without brackets",
            )
        if ref.index is not None and len(ref.index) != len(axes):
            where = ", ".join(self._local_axis(copy, a) for a in axes)
            return self.problem(
                "E416",
                f"`{ref.name}` has {len(axes)} time ax{'es' if len(axes) > 1 else 'is'}, not {len(ref.index)}",
                ref.span,
                copy,
                f"write `{ref.name}[{where}]`",
            )
        indices: list[Index] = []
        for expr, axis in zip(ref.index or (), axes, strict=True):
            index = self._index(expr, ref, axis, copy)
            if index is None:
                return self.hole(ref.span)
            indices.append(index)
        return self.term(
            "read",
            (),
            ref.span,
            payload=Read(flat, tuple(indices)),
            axes=tuple(dict.fromkeys(i.axis for i in indices if i.axis is not None)),
        )

    def _missing_index(self, ref: Ref, flat: str, axes: tuple[str, ...], copy: Copy) -> Term:
        names = [self._local_axis(copy, a) for a in axes]
        lagged = flat in self.flat.defined
        hint = f"`{ref.name}[{names[0]}-1]`?" if lagged and len(axes) == 1 else f"`{ref.name}[{','.join(names)}]`?"
        return self.problem("E402", f"`{ref.name}` varies with {', '.join(names)}", ref.span, copy, hint)

    def _local_axis(self, copy: Copy, axis: str) -> str:
        return next((n for n, m in copy.axes.items() if m.axis == axis), axis)

    def _index(self, expr: Expr, ref: Ref, target: str, copy: Copy) -> Index | None:
        """The index expression of one axis, in the root's axes and order; None after a problem."""
        try:
            local = linear(expr, lambda n: n if n in copy.axes else None, copy.dims.get, self.elaborator.number).index()
        except BadIndex as bad:
            self._bad_index(bad, expr, ref, target, copy)
            return None
        times = {n: m for n, m in copy.axes.items()}
        if local.axis is None and local.extent == 0 and local.offset.is_constant and int(local.offset) < 0:
            self.problem(
                "E408",
                f"`{ref.name}[{expression(expr)}]` is the value before step 0, not the last",
                expr.span,
                copy,
                f"`last({ref.name})`?",
            )
            return None
        past = local.extent == 1 and local.divisor == 1 and local.offset.is_constant and int(local.offset) >= 0
        if local.axis is None and past:
            self.problem(
                "E409",
                "index past the last step" if int(local.offset) else f"the last index is {expression(expr)}-1",
                expr.span,
                copy,
                f"`last({ref.name})`",
            )
            return None
        reader = times.get(local.axis) if local.axis is not None else None
        index = Index(
            reader.axis if reader else None,
            local.scale,
            local.offset,
            local.divisor,
            times[local.length].axis if local.length is not None else None,
            local.extent,
        )
        if index.axis is not None and not self._related(index.axis, target):
            mine = self._local_axis(copy, target)
            self.problem(
                "E404",
                f"`{ref.name}` lives on {mine}, not on {local.axis}",
                expr.span,
                copy,
                f"`{ref.name}[{mine}]` inside `sum[{mine}](...)`?",
            )
            return None
        flipped = next((m.flipped for m in copy.axes.values() if m.axis == target), False)
        try:
            return flip(index, target, flipped, reader.flipped if reader else False)
        except BadIndex:
            self.problem(
                "E411",
                f"`{ref.name}[{expression(expr)}]` cannot be read backwards",
                expr.span,
                copy,
                "drop `reverse`, write the offsets out",
            )
            return None

    def _related(self, axis: str, target: str) -> bool:
        a, b = length_form(axis, self.axes), length_form(target, self.axes)
        return a is None or b is None or a[0] == b[0]

    def _bad_index(self, bad: BadIndex, expr: Expr, ref: Ref, target: str, copy: Copy) -> None:
        text = expression(expr)
        mine = self._local_axis(copy, target)
        if bad.reason == "varying offset":
            self.problem(
                "E410",
                f"an offset must be a constant, `{bad.detail}` varies",
                expr.span,
                copy,
                "use an integer argument of the cell: `k=4`",
            )
        elif bad.reason in ("unknown name", "unknown axis"):
            if bad.detail in copy.unknown_axes:
                return
            near = suggest(bad.detail, [*copy.axes, *copy.dims])
            hint = (
                f"the last step's value is `last({ref.name})`"
                if bad.detail == mine.upper()
                else f"did you mean `{near}`?"
                if near
                else f"its axis is `{mine}`; arguments are {', '.join(copy.dims) or 'none'}"
            )
            self.problem("E401", f"unknown axis or argument `{bad.detail}` in an index", expr.span, copy, hint)
        elif bad.reason == "no number":
            hint = f"a default, `cell {copy.root.cell.name}(..., {bad.detail}=2)`, or a value: `spec({bad.detail}=2)`"
            message = f"a stride or divisor is a number: `{bad.detail}` has none yet"
            self.problem("E411", message, expr.span, copy, hint)
        else:
            forms = f"`{mine}-1`, `2*{mine}+1`, `({mine}+1)//2`, `len({mine})-1-{mine}`, `0`"
            self.problem("E411", f"`{text}` is not an index", expr.span, copy, f"one of {forms}")


def below(root: Term) -> Iterator[Term]:
    """The terms that a value is made of, each once, in the order they were written."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        term = stack.pop()
        if id(term) not in seen:
            seen.add(id(term))
            yield term
            stack += reversed(term.args)


def constant_leaf(term: Term) -> Any:
    """The leaf payload that a nullary term stands for."""
    if term.op == "position":
        return Position(term.payload)
    if term.op == "extent":
        return Extent(term.payload)
    if term.op == "size":
        return Size(term.payload)
    return term.payload
