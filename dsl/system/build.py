"""The last step of resolving: a flattened cell with shapes becomes a `System` value."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from dsl.system.calls import Reader
from dsl.system.copies import Declared, Flat
from dsl.system.distributions import INITIALIZERS
from dsl.system.elaborate import Elaborator
from dsl.system.infer import Inference, Statement
from dsl.system.kinds import COMPLEX, Kinds
from dsl.system.lower import Drawn, Lowering, among_steps
from dsl.system.system import Axis, Draw, Initializer, Instance, Stream, System, evaluate_number
from dsl.system.telling import Telling
from dsl.text.diagnostics import Diagnostic, suggest
from dsl.text.tree import Call, Expr, Ref, Source, Span, function_span
from tinygrad_seq.initializers import INITIALIZERS as STARTS
from tinygrad_seq.symbol import Symbol, lift, postorder

NO_CATEGORY = -1

# what other frameworks call an initialiser
ELSEWHERE = {
    **dict.fromkeys(("xavier", "xavier_uniform", "glorot_uniform"), "it is called `glorot` here"),
    **dict.fromkeys(("kaiming", "kaiming_normal", "he_normal"), "it is called `he` here"),
    **dict.fromkeys(("randn", "gaussian", "random_normal"), "it is called `normal` here: `~ normal(0, 1)`"),
    **dict.fromkeys(("zeros", "zero"), "write `= 0`"),
    **dict.fromkeys(("ones", "one"), "write `= 1`"),
    "eye": "it is called `identity` here",
}


@dataclasses.dataclass
class Builder(Telling):
    """Everything that resolving found, put together."""

    flat: Flat
    elaborator: Elaborator
    axes: Mapping[str, Axis]
    inference: Inference
    lowering: Lowering
    drawn: Mapping[str, Drawn]
    boundaries: Mapping[str, Statement]
    source: Source
    problems: list[Diagnostic]

    def run(self, statements: Mapping[str, Statement]) -> System:
        equations: dict[str, Symbol] = {}
        draws: dict[str, Draw] = {}
        spans: dict[str, Span] = {}
        streams: dict[str, Stream] = {}
        for name, d in self.flat.declared.items():
            streams[name] = self._declared_stream(name, d)
        for name, e in self.flat.defined.items():
            if e.drawn is not None:
                drawn = self.drawn[name]
                parameters = self.lowering.parameters(drawn).items()
                draws[name] = Draw(drawn.distribution, tuple((k, among_steps(v, e.axes)) for k, v in parameters))
            else:
                slot = self.inference.slots[name]
                value = self.lowering.lower(statements[name].value)
                value = self._category(name, value) if slot.category else self.lowering.vector(value)
                equations[name] = among_steps(self.lowering.number(value), e.axes)
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
                equations[name] = self.lowering.lower(self.boundaries[name].value)
        streams = self._sharing(self._dtypes(streams, equations), equations)
        root = self.flat.root
        given = self.elaborator.values
        arguments = {p.name: given[p.name] for p in root.cell.parameters if p.name in given}
        instances = tuple(
            Instance(c.prefix[:-1], c.cell.name, c.reverse, c.storey) for c in self.flat.copies if c.parent is not None
        )
        fixed = tuple(n for n in arguments if n in self.elaborator.fixed)
        system = System(
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
            fixed,
        )
        return system.put({n: v for n in fixed if isinstance(v := arguments[n], int)}) if fixed else system

    def _category(self, name: str, value: Symbol) -> Symbol:
        """What gives a declared category: another one, not any vector."""
        found = self.lowering.as_category(value)
        if found is None:
            e = self.flat.defined[name]
            self._problem(
                "E308",
                f"`{name.rpartition('.')[2]}` is one category out of several, and this is a vector of numbers",
                e.span,
                "draw it, `~ categorical(logits = ...)`, or read another category; else declare it without `one_hot`",
            )
        return value if found is None else found

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
            elif name in self.boundaries:
                boundary = self.lowering.lower(self.boundaries[name].value)
        shape = slot.shape or ()
        return Stream(
            name,
            kind,
            d.axes,
            () if slot.category else shape,
            "category" if slot.category else _declared_dtype(d),
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
        if d.kind == "const" and isinstance(d.boundary, Call) and d.boundary.function == "permutation":
            return Initializer("permutation")
        if d.distribution is None or d.kind not in ("param", "const", "noise"):
            return None
        if d.kind != "noise" and d.distribution.function not in INITIALIZERS:
            given = d.distribution.function
            near = suggest(given, list(INITIALIZERS))
            help_ = f"did you mean `{near}`?" if near else ", ".join(INITIALIZERS)
            help_ = ELSEWHERE.get(given, help_)
            self._problem("E202", f"unknown initialiser `{given}`", d.copy.place(function_span(d.distribution)), help_)
            return None
        if d.kind != "noise" and not self._fits(d.distribution, d):
            return None
        values = [self._constant(a.value, d) for a in d.distribution.arguments]
        return Initializer(d.distribution.function, tuple(v for v in values if v is not None))

    def _fits(self, call: Call, d: Declared) -> bool:
        """Whether an initialiser is given as many numbers as it takes, by position."""
        options = list(inspect.signature(STARTS[call.function]).parameters)[3:]  # after shape, generator and dtype
        if len(call.arguments) <= len(options) and not any(a.keyword for a in call.arguments):
            return True
        usual = f"`{call.function}({', '.join(options)})`" if options else f"`{call.function}`"
        self._problem("E308", f"this is no way to call {usual}", d.copy.place(call.span), "numbers, by position")
        return False

    def _constant(self, expr: Expr, d: Declared) -> Any:
        """A number in an initialiser, or the expression of sizes that will be one."""
        reader = Reader(self.flat, self.elaborator, self.axes, self.problems)
        value = reader.read(expr, d.copy)
        if any(term.op == "hole" for term in reader.made):
            return None
        if any(term.op not in ("number", "size") and not term.args for term in reader.made):
            self._problem(
                "E309",
                "an initialiser takes numbers and sizes",
                d.copy.place(expr.span),
                "as in `~ uniform(-0.1, 0.1)`, `~ normal(0, 1/sqrt(H))` or `= 0`",
            )
            return None
        symbol = self.lowering.lower(value)
        number = evaluate_number(symbol)
        return symbol if number is None else number

    def _dtypes(self, streams: dict[str, Stream], equations: dict[str, Symbol]) -> dict[str, Stream]:
        """Undeclared streams are complex where their equation is; a declared real one must not be."""
        declared = {n for n, d in self.flat.declared.items() if d.type is not None}
        changed, kinds = True, Kinds(streams)
        while changed:
            changed = False
            kinds = Kinds(streams)
            for name, value in equations.items():
                if name not in declared and streams[name].dtype == "real" and kinds.of(value).dtype == "complex":
                    streams[name] = dataclasses.replace(streams[name], dtype="complex")
                    changed = True
        for name, value in equations.items():
            if odd := _without_meaning(value, kinds):
                message, hint = (
                    f"`{odd}` is not defined for complex numbers",
                    "`re(...)`, `im(...)`, `abs(...)` are real",
                )
                self._problem("E307", message, self.flat.defined[name].span, hint)
            elif streams[name].dtype == "real" and kinds.of(value).dtype == "complex":
                tail = name.rpartition(".")[2]
                self._problem(
                    "E307",
                    f"the equation gives complex numbers, but `{tail}` is real",
                    self.flat.defined[name].span,
                    f"declare `{tail}` complex, or take `re(...)`",
                )
        for name, stream in streams.items():
            starts = [] if stream.boundary is None else [stream.boundary]
            starts += map(lift, stream.initializer.arguments) if stream.initializer is not None else []
            if stream.dtype != "complex" and any(kinds.of(v).dtype == "complex" for v in starts):
                tail, what = name.rpartition(".")[2], "starting value" if stream.kind == "param" else "boundary"
                hint = f"declare it complex, `{stream.kind} {tail}: complex H`, or give a real number"
                self._problem("E307", f"a complex {what} for what is real", stream.span, hint)
        return streams

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


def _without_meaning(root: Symbol, kinds: Kinds) -> str | None:
    """A function of an expression that is given complex numbers and has no meaning for them."""
    for node in postorder([root]):
        odd = node.op is not None and node.op.name not in COMPLEX
        if odd and any(kinds.of(a).dtype == "complex" for a in node.args):
            assert node.op is not None
            return node.op.name
    return None


def _declared_dtype(d: Declared) -> str:
    return "complex" if d.type is not None and d.type.qualifier == "complex" else "real"
