"""Reading expressions: syntax trees of a copy become terms with flat names, global axes and places.

A `Term` is an expression before its shapes are known. Terms are made children first and kept in that
order, so that later passes walk lists and never recurse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dsl.system.dims import Dim
from dsl.system.elaborate import Copy, Elaborator, Flat, references
from dsl.system.indices import BadIndex, flip, length_form, linear
from dsl.system.system import Axis, Extent, Index, Position, Read, Size
from dsl.text.diagnostics import Diagnostic, Label, suggest
from dsl.text.format import expression
from dsl.text.tree import Binary, Call, Expr, Negative, Number, Ref, Span, Transpose
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
REDUCTIONS = ("sum", "mean", "max", "min", "logsumexp", "softmax", "log_softmax")
STRUCTURE = ("last", "concat", "part", "zeros", "outer", "stop_gradient", "logprob", "cross_entropy", "len", "where")
LATER = (
    "fft",
    "ifft",
    "cis",
    "conj",
    "re",
    "im",
    "reflect",
    "permute",
    "unpermute",
    "modrelu",
    "permutation",
    "cumsum",
)
HIDDEN = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "one_hot", "copy")


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


@dataclass
class Reader:
    """Reads expressions of one flattened cell; problems are collected."""

    flat: Flat
    elaborator: Elaborator
    axes: Mapping[str, Axis]
    problems: list[Diagnostic]
    made: list[Term] = field(default_factory=list)

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
            if isinstance(expr.value, complex):
                return self.problem(
                    "E701", "complex numbers are not compiled yet", expr.span, copy, "use two real streams"
                )
            return self.term("number", (), expr.span, payload=expr.value, shape=())
        if isinstance(expr, Negative):
            return self.term("neg", (self.read(expr.operand, copy, env),), expr.span)
        if isinstance(expr, Transpose):
            return self.term("transpose", (self.read(expr.operand, copy, env),), expr.span)
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
            if ref.name in CONSTANTS:
                return self.term("number", (), ref.span, payload=CONSTANTS[ref.name], shape=())
        flat = self.elaborator.flat_name(copy, ref.name)
        if flat == "!":
            return self.hole(ref.span)
        if flat is None:
            return self._unknown(ref, copy)
        axes = self.axes_of(flat)
        return self._stream(ref, flat, axes, copy)

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
        near = suggest(ref.name, names)
        shown = (
            f"did you mean `{near}`?" if near else "define it: an equation, an `input`, a `param` or a cell's argument"
        )
        return self.problem("E201", f"unknown name `{ref.name}`", ref.span, copy, shown)

    def _local_names(self, copy: Copy) -> list[str]:
        own = [n[len(copy.prefix) :] for n in [*self.flat.declared, *self.flat.defined] if n.startswith(copy.prefix)]
        return [*dict.fromkeys([*own, *copy.aliases, *copy.dims, *copy.uses])]

    # ------------------------------------------------------------ reads

    def _stream(self, ref: Ref, flat: str, axes: tuple[str, ...], copy: Copy) -> Term:
        declared = self.flat.declared.get(flat)
        if ref.index is None and axes:
            return self._missing_index(ref, flat, axes, copy)
        if ref.index is not None and not axes:
            kind = declared.kind if declared else "single value"
            return self.problem(
                "E211",
                f"`{ref.name}` is a {kind}, constant in time",
                ref.span,
                copy,
                f"write `{ref.name}` without brackets",
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
            local = linear(expr, lambda n: n if n in copy.axes else None, copy.dims.get).index()
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
        if local.axis is None and local.extent == 1 and local.offset.is_constant and int(local.offset) >= 0:
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
                f"did you mean `{near}`?"
                if near
                else f"its axis is `{mine}`; arguments are {', '.join(copy.dims) or 'none'}"
            )
            self.problem("E401", f"unknown axis or argument `{bad.detail}` in an index", expr.span, copy, hint)
        else:
            forms = f"`{mine}-1`, `2*{mine}+1`, `({mine}+1)//2`, `len({mine})-1-{mine}`, `0`"
            self.problem("E411", f"`{text}` is not an index", expr.span, copy, f"one of {forms}")

    # ------------------------------------------------------------ calls

    def _call(self, call: Call, copy: Copy, env: Mapping[str, Term]) -> Term:
        name = call.function
        macro = copy.scope.macros.get(name)
        if macro is not None:
            return self._macro(call, macro, copy, env)
        if call.axes and name not in (*REDUCTIONS, "last"):
            return self.problem("E308", f"`{name}` does not run over an axis", call.span, copy, f"write `{name}(...)`")
        if any(a.keyword for a in call.arguments):
            return self.problem("E308", f"`{name}` takes no named arguments", call.span, copy, "give them by position")
        if name in LATER:
            return self.problem(
                "E701",
                f"`{name}` is not compiled yet",
                call.span,
                copy,
                "complex and spectral functions are on their way",
            )
        values = [a.value for a in call.arguments]
        special = getattr(self, f"_call_{name}", None)
        if special is not None:
            result: Term = special(call, values, copy, env)
            return result
        if name in REDUCTIONS:
            return self._reduction(call, values, copy, env)
        primitive = REGISTRY.get(name)
        if primitive is None or not primitive.elementwise or name in HIDDEN:
            for value in values:  # its arguments may hold mistakes of their own
                self.read(value, copy, env)
            return self._unknown_function(call, copy)
        args = tuple(self.read(v, copy, env) for v in values)
        arity = len(inspect_arity(primitive.kernel or "")) or 1
        if len(args) != arity:
            return self.problem(
                "E308",
                f"`{name}` takes {arity} argument{'s' if arity > 1 else ''}, not {len(args)}",
                call.span,
                copy,
                "check the call",
            )
        return self.term(name, args, call.span)

    def _unknown_function(self, call: Call, copy: Copy) -> Term:
        known = [n for n, p in REGISTRY.items() if p.elementwise and n not in HIDDEN]
        near = suggest(call.function, [*known, *REDUCTIONS, *STRUCTURE, *copy.scope.macros])
        if copy.scope.cell(call.function) is not None:
            return self.problem(
                "E212",
                f"`{call.function}` is a cell",
                call.span,
                copy,
                f"`use name = {call.function}(x=...)`, then read `name[t]`",
            )
        hint = f"did you mean `{near}`?" if near else "`def name(a, b) = ...` defines one"
        return self.problem(
            "E202",
            f"unknown function `{call.function}`",
            Span(call.span.start, call.span.start + len(call.function)),
            copy,
            hint,
        )

    def _macro(self, call: Call, macro: Any, copy: Copy, env: Mapping[str, Term]) -> Term:
        definition, scope = macro
        if len(call.arguments) != len(definition.parameters):
            wanted = ", ".join(definition.parameters)
            return self.problem("E308", f"`{call.function}` takes ({wanted})", call.span, copy, "check the call")
        depth = getattr(self, "_depth", 0)
        if depth > 50:
            return self.problem(
                "E603", f"`{call.function}` calls itself", call.span, copy, "a macro cannot be recursive"
            )
        self._depth = depth + 1
        inner = {p: self.read(a.value, copy, env) for p, a in zip(definition.parameters, call.arguments, strict=True)}
        body = Copy(copy.prefix, copy.cell, scope, parent=copy, use=None)
        free = [r.name for r in references(definition.value) if r.name not in inner and r.name not in CONSTANTS]
        if free:
            self._depth = depth
            return self.problem(
                "E215",
                f"`{free[0]}` is not an argument of `def {call.function}`",
                call.span,
                copy,
                "a macro sees its arguments only",
            )
        body.parent, body.use, body.prefix = None, None, copy.prefix
        before = len(self.problems)
        result = self.read(definition.value, body, inner)
        for k in range(before, len(self.problems)):  # point at the call, not into another file
            d = self.problems[k]
            self.problems[k] = Diagnostic(d.code, d.message, copy.place(call.span), d.label, (), d.help, d.severity)
        self._depth = depth
        return result

    _depth: int = 0

    def _counted(self, call: Call, values: list[Expr], wanted: str, copy: Copy) -> Term | None:
        names = [w for w in wanted.split(",") if w]
        if len(values) == len(names):
            return None
        return self.problem(
            "E308",
            f"`{call.function}({wanted})` takes {len(names)} arguments, not {len(values)}",
            call.span,
            copy,
            "check the call",
        )

    def _reduction(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        bad = self._counted(call, values, "v", copy)
        if bad is not None:
            return bad
        inner = self.read(values[0], copy, env)
        if not call.axes:
            return self.term(call.function, (inner,), call.span)
        if len(call.axes) > 1:
            return self.problem(
                "E308",
                f"`{call.function}` runs over one axis at a time",
                call.span,
                copy,
                "nest them: `sum[s](sum[t](...))`",
            )
        if call.axes[0] not in copy.axes:
            return self.problem(
                "E401",
                f"unknown axis `{call.axes[0]}`",
                call.span,
                copy,
                f"the axes here are {', '.join(copy.axes) or 'none'}",
            )
        axis = copy.axes[call.axes[0]].axis
        keeps = call.function in ("softmax", "log_softmax")
        axes = tuple(dict.fromkeys((*inner.axes, axis))) if keeps else tuple(a for a in inner.axes if a != axis)
        return self.term(call.function, (inner,), call.span, axes=axes, axis=axis)

    def _call_len(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        if len(values) == 1 and isinstance(values[0], Ref) and values[0].index is None and values[0].name in copy.axes:
            return self.term("extent", (), call.span, payload=copy.axes[values[0].name].axis, axes=(), shape=())
        return self.problem(
            "E401", "`len` takes a time axis", call.span, copy, f"the axes here are {', '.join(copy.axes) or 'none'}"
        )

    def _call_last(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        bad = self._counted(call, values, "v", copy)
        if bad is not None:
            return bad
        ref = values[0]
        if not isinstance(ref, Ref):
            return self.problem(
                "E417",
                "`last` takes a stream's name",
                call.span,
                copy,
                "define the stream first: `z[t] = ...`, then `last(z)`",
            )
        flat = self.elaborator.flat_name(copy, ref.name)
        if flat is None:
            return self._unknown(ref, copy)
        if flat == "!":
            return self.hole(ref.span)
        axes = self.axes_of(flat)
        index = list(ref.index or ())
        if call.axes:
            names = [self._local_axis(copy, a) for a in axes]
            if call.axes[0] not in names or len(index) != len(axes):
                return self.problem(
                    "E417",
                    f"`{ref.name}` has the axes {', '.join(names) or 'none'}",
                    call.span,
                    copy,
                    "write `last[t](v[t,s])`",
                )
            index[names.index(call.axes[0])] = self._last_index(call.axes[0], ref.span)
        elif len(axes) != 1 or index:
            names = [self._local_axis(copy, a) for a in axes]
            hint = (
                f"`last[{names[0]}]({ref.name}[{','.join(names)}])`"
                if len(axes) > 1
                else f"`last({ref.name})`"
                if axes
                else "it has one value already"
            )
            return self.problem(
                "E417", f"`last` needs a stream of one axis; `{ref.name}` has {len(axes)}", call.span, copy, hint
            )
        else:
            target = axes[0]
            flipped = next((m.flipped for m in copy.axes.values() if m.axis == target), False)
            plain = flip(Index(None, 0, Dim.of(-1), 1, target, 1), target, flipped, False)
            return self.term("read", (), call.span, payload=Read(flat, (plain,)), axes=())
        return self._stream(Ref(ref.name, tuple(index), call.span), flat, axes, copy)

    @staticmethod
    def _last_index(axis: str, span: Span) -> Expr:
        return Binary("-", Call("len", (_argument(Ref(axis, None, span)),), (), span), Number(1, span), span)

    def _call_concat(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        if not values:
            return self.problem("E308", "`concat` takes at least one vector", call.span, copy, "`concat(f[t], b[t])`")
        return self.term("concat", tuple(self.read(v, copy, env) for v in values), call.span)

    def _call_part(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        bad = self._counted(call, values, "v,start,size", copy)
        if bad is not None:
            return bad
        start, size = (self.elaborator.dim(copy, v) for v in values[1:])
        if start is None or size is None:
            return self.problem("E308", "start and size of `part` are integers", call.span, copy, "`part(v, 0, H)`")
        return self.term("part", (self.read(values[0], copy, env),), call.span, payload=(start, size))

    def _call_zeros(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        dims = [self.elaborator.dim(copy, v) for v in values]
        if not dims or any(d is None for d in dims):
            return self.problem("E308", "`zeros` takes sizes", call.span, copy, "`zeros(H)`")
        return self.term("zeros", (), call.span, payload=tuple(dims), shape=tuple(dims), axes=())

    def _call_outer(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        return self._counted(call, values, "a,b", copy) or self.term(
            "outer", tuple(self.read(v, copy, env) for v in values), call.span
        )

    def _call_where(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        bad = self._counted(call, values, "condition,a,b", copy)
        return bad or self.term("where", tuple(self.read(v, copy, env) for v in values), call.span)

    def _call_stop_gradient(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        return self._counted(call, values, "v", copy) or self.term(
            "stop_gradient", (self.read(values[0], copy, env),), call.span
        )

    def _call_cross_entropy(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        bad = self._counted(call, values, "logits,y", copy)
        return bad or self.term("cross_entropy", tuple(self.read(v, copy, env) for v in values), call.span)

    def _call_logprob(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        bad = self._counted(call, values, "y[t]", copy)
        if bad is not None:
            return bad
        drawn = self.read(values[0], copy, env)
        if drawn.op == "hole":
            return drawn
        definition = self.flat.defined.get(drawn.payload.name) if drawn.op == "read" else None
        if definition is None or definition.drawn is None:
            return self.problem(
                "E216",
                "`logprob` takes a drawn stream",
                call.span,
                copy,
                "`y[t] ~ categorical(logits=...)`, then `logprob(y[t])`",
            )
        if any(not i.is_identity for i in drawn.payload.index):
            return self.problem("E216", "`logprob` takes the step itself", call.span, copy, "`logprob(y[t])`")
        return self.term("logprob", (drawn,), call.span, payload=drawn.payload.name)


def _argument(value: Expr) -> Any:
    from dsl.text.tree import Argument

    return Argument(value)


def inspect_arity(kernel: str) -> set[str]:
    """The argument places of a kernel's format string."""
    return {kernel[i + 1] for i in range(len(kernel) - 2) if kernel[i] == "{" and kernel[i + 2] == "}"}


def constant_leaf(term: Term) -> Any:
    """The leaf payload that a nullary term stands for."""
    if term.op == "position":
        return Position(term.payload)
    if term.op == "extent":
        return Extent(term.payload)
    if term.op == "size":
        return Size(term.payload)
    return term.payload
