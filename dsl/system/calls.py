"""Function calls of the language: reductions, structure, macros, and every elementwise primitive by its name.

A function with arguments of its own kind (an axis, a size, a stream's name) has a method `_call_NAME`
here; any elementwise primitive of the engine is callable without one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from dsl.system.copies import Copy
from dsl.system.dims import Dim
from dsl.system.distributions import DISTRIBUTIONS
from dsl.system.indices import flip
from dsl.system.kinds import REDUCTIONS
from dsl.system.system import Index, Read
from dsl.system.terms import CONSTANTS, Reading, Term
from dsl.text.diagnostics import Diagnostic, suggest
from dsl.text.format import expression
from dsl.text.tree import Argument, Binary, Call, Expr, Number, Ref, Span, function_span
from dsl.text.walk import reads
from tinygrad_seq.primitive import REGISTRY, Primitive

OVER_AXES = (*REDUCTIONS, "softmax", "log_softmax")  # what may name the axis it runs over
VECTORS = {"fft": "x", "ifft": "x", "reflect": "r,x", "reflect_adjoint": "g,r,x", "permute": "P,x", "unpermute": "P,x",
           "cumsum": "x", "categorical_icdf": "p,u"}  # fmt: skip
STRUCTURE = (
    *("last", "concat", "part", "zeros", "outer", "stop_gradient", "logprob", "cross_entropy", "len", "where"),
    *VECTORS,
)
MEANT = {  # what is called otherwise elsewhere
    **dict.fromkeys(("transpose", "t"), "transpose is `W.T`"),
    **dict.fromkeys(("sigma", "logistic", "sigm", "hard_sigmoid"), "the logistic function is `sigmoid`"),
    **dict.fromkeys(("cat", "concatenate", "hstack", "vstack", "stack"), "vectors are joined by `concat(a, b)`"),
    **dict.fromkeys(("matmul", "mm", "bmm", "linear"), "a product with a matrix is `W@x[t]`"),
    "dot": "the product of two vectors is `a@b`",
    **dict.fromkeys(("multiply", "hadamard"), "elementwise is `a*b`"),
    "dropout": "draw it: `noise m[t]: H ~ dropout(0.5)`, then multiply by `m[t]`",
    "pow": "power is `x**2`",
    **dict.fromkeys(("mse", "mse_loss"), "a squared error is `mean[t](sum((y[t] - x[t])**2))`"),
    **dict.fromkeys(("size", "shape"), "the number of steps is `len(t)`; sizes are the cell's arguments, such as `H`"),
    **dict.fromkeys(("zeros_like", "ones", "ones_like"), "a vector all of one value is `zeros(H) + 1`"),
    **dict.fromkeys(("norm", "l2"), "the length of a vector is `sqrt(v@v)`"),
}
HIDDEN = ("settle", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "one_hot", "copy")


class Reader(Reading):
    """Reads any expression."""

    def _call(self, call: Call, copy: Copy, env: Mapping[str, Term]) -> Term:
        name = call.function
        macro = copy.scope.macros.get(name)
        if macro is not None:
            return self._macro(call, macro, copy, env)
        if call.axes and name not in (*OVER_AXES, "last"):
            hint = f"write `{name}(...)`"
            if name == "cumsum":
                hint = "a sum up to each step is a recurrence: `z[t] = z[t-1] + ...`, with `state z[t]: ... = 0`"
            return self.problem("E308", f"`{name}` does not run over an axis", call.span, copy, hint)
        if name in DISTRIBUTIONS and name not in REGISTRY:
            return self._distribution(call, copy)
        if any(a.keyword for a in call.arguments) and copy.scope.cell(name) is None:
            hint = f"over the steps: `{name}[t](...)`; without brackets it runs over the features"
            hint = hint if name in OVER_AXES else "give them by position"
            return self.problem("E308", f"`{name}` takes no named arguments", call.span, copy, hint)
        values = [a.value for a in call.arguments]
        special = getattr(self, f"_call_{name}", None)
        if special is not None:
            result: Term = special(call, values, copy, env)
            return result
        if name in VECTORS:
            wrong = self._counted(call, values, VECTORS[name], copy)
            return wrong or self.term(name, tuple(self.read(v, copy, env) for v in values), call.span)
        if name in OVER_AXES:
            return self._reduction(call, values, copy, env)
        primitive = REGISTRY.get(name)
        if primitive is None or not primitive.elementwise or name in HIDDEN:
            if copy.scope.cell(name) is None and name != "first":
                for value in values:  # its arguments may hold mistakes of their own
                    self.read(value, copy, env)
            return self._unknown_function(call, copy)
        args = tuple(self.read(v, copy, env) for v in values)
        arity = _arity(primitive)
        if len(args) != arity:
            return self.problem(
                "E308",
                f"`{name}` takes {arity} argument{'s' if arity > 1 else ''}, not {len(args)}",
                call.span,
                copy,
            )
        return self.term(name, args, call.span)

    def _distribution(self, call: Call, copy: Copy) -> Term:
        """`normal(0, 1)` in an equation: it is drawn as data, as noise, or as a parameter's start."""
        name, axis = call.function, next(iter(copy.axes), "t")
        given = ", ".join(f"{p} = ..." for p in DISTRIBUTIONS[name].parameters)
        hint = f"data is drawn on a line of its own: `y[{axis}] ~ {name}({given})`"
        if name in ("normal", "bernoulli"):
            hint += f"; noise is declared: `noise e[{axis}]: H ~ {name}({'0, 1' if name == 'normal' else '0.5'})`"
        return self.problem("E212", f"`{name}` is a distribution, not a value", call.span, copy, hint)

    def _unknown_function(self, call: Call, copy: Copy) -> Term:
        known = [n for n, p in REGISTRY.items() if p.elementwise and n not in HIDDEN]
        near = suggest(call.function, [*known, *OVER_AXES, *STRUCTURE, *copy.scope.macros])
        if copy.scope.cell(call.function) is not None:
            return self.problem(
                "E212",
                f"`{call.function}` is a cell",
                call.span,
                copy,
                f"`use name = {call.function}(x=...)`, then read `name[t]`",
            )
        hint = f"did you mean `{near}`?" if near else "`def name(a, b) = ...` defines one"
        if call.function in self._local_names(copy):
            meant = expression(Ref(call.function, tuple(a.value for a in call.arguments)))
            hint = f"`{call.function}` is no function; steps go in brackets: `{meant}`"
        elif call.function.lower() in MEANT:
            hint = MEANT[call.function.lower()]
        elif call.function == "first" and len(call.arguments) == 1:
            hint = f"the first step has a number: `{expression(call.arguments[0].value).partition('[')[0]}[0]`"
        return self.problem(
            "E202",
            f"unknown function `{call.function}`",
            function_span(call),
            copy,
            hint,
        )

    def _macro(self, call: Call, macro: Any, copy: Copy, env: Mapping[str, Term]) -> Term:
        definition, scope = macro
        if len(call.arguments) != len(definition.parameters):
            wanted = ",".join(definition.parameters)
            bad = self._counted(call, [a.value for a in call.arguments], wanted, copy)
            assert bad is not None
            return bad
        depth = getattr(self, "_depth", 0)
        if depth > 50:
            return self.problem(
                "E603", f"`{call.function}` calls itself", call.span, copy, "a macro cannot be recursive"
            )
        self._depth = depth + 1
        inner = {p: self.read(a.value, copy, env) for p, a in zip(definition.parameters, call.arguments, strict=True)}
        body = Copy(copy.prefix, copy.cell, scope, parent=copy, use=None)
        free = [r.name for r in reads(definition.value) if r.name not in inner and r.name not in CONSTANTS]
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
        before, made = len(self.problems), len(self.made)
        result = self.read(definition.value, body, inner)
        for k in range(before, len(self.problems)):  # point at the call, not into another file
            d = self.problems[k]
            self.problems[k] = Diagnostic(d.code, d.message, copy.place(call.span), d.label, (), d.help, d.severity)
        for term in self.made[made:]:
            term.span, term.foreign = call.span, True
        self._depth = depth
        return result

    _depth: int = 0

    def _counted(self, call: Call, values: list[Expr], wanted: str, copy: Copy) -> Term | None:
        names = [w for w in wanted.split(",") if w]
        if len(values) == len(names):
            return None
        two = {"max": "maximum({}, {})", "min": "minimum({}, {})", "sum": "{} + {}"}.get(call.function)
        hint = f"of two values it is `{two.format(*map(expression, values))}`" if two and len(values) == 2 else ""
        return self.problem(
            "E308",
            f"`{call.function}({', '.join(names)})` takes {len(names)} argument{'s' * (len(names) != 1)}, "
            f"not {len(values)}",
            call.span,
            copy,
            hint,
        )

    def _reduction(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        bad = self._counted(call, values, "v", copy)
        if bad is not None:
            return bad
        inner = self.read(values[0], copy, env)
        if not call.axes:
            return self.term(call.function, (inner,), call.span)
        if len(call.axes) > 1:
            one, two = call.axes[:2]
            nested = f"nest them: `{call.function}[{one}]({call.function}[{two}](...))`"
            if call.function.endswith("softmax"):
                nested = f"divide by both sums: `exp(z)/sum[{one}](sum[{two}](exp(z)))`"
            return self.problem(
                "E308",
                f"`{call.function}` runs over one axis at a time",
                call.span,
                copy,
                nested,
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
        axes = ", ".join(f"`len({axis})`" for axis in copy.axes)
        hint = f"as in {axes}; a size is a name of the header, such as `H`"
        return self.problem("E401", "`len` takes a time axis", call.span, copy, hint)

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
            message = f"`last` needs a stream of one axis; `{ref.name}` has {len(axes)}"
            if len(axes) == 1:
                message = "`last` takes the stream itself, without an index"
            return self.problem("E417", message, call.span, copy, hint)
        else:
            target = axes[0]
            flipped = next((m.flipped for m in copy.axes.values() if m.axis == target), False)
            plain = flip(Index(None, 0, Dim.of(-1), 1, target, 1), target, flipped, False)
            return self.term("read", (), call.span, payload=Read(flat, (plain,)), axes=())
        return self._stream(Ref(ref.name, tuple(index), call.span), flat, axes, copy)

    @staticmethod
    def _last_index(axis: str, span: Span) -> Expr:
        return Binary("-", Call("len", (Argument(Ref(axis, None, span)),), (), span), Number(1, span), span)

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

    def _call_polygamma(self, call: Call, values: list[Expr], copy: Copy, env: Mapping[str, Term]) -> Term:
        bad = self._counted(call, values, "n,x", copy)
        if bad is not None:
            return bad
        order = self.elaborator.dim(copy, values[0])
        if order is None or not order.is_constant:
            return self.problem("E308", "the order of `polygamma` is an integer", call.span, copy, "`polygamma(1, x)`")
        return self.term("polygamma", (self.read(values[1], copy, env),), call.span, payload=int(order))

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


def _arity(primitive: Primitive) -> int:
    """How many values a primitive takes: what its derivative rule takes after the cotangent and the result."""
    rule = primitive.partials_rule or primitive.vjp_rule
    if rule is None:
        return int(getattr(primitive.impl, "nin", 1))
    parameters = inspect.signature(rule).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) - (1 if primitive.partials_rule is not None else 2)
