"""Shape inference over terms: every name gets a shape from its declaration or its use.

Works by unification and may stay symbolic. Passes repeat until nothing changes; what is then still
open gets the vector's shape that it stands beside, one round at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dsl.system.advice import UNLIKE, declared_so, elementwise_matrix, of_size_one, of_two_vectors
from dsl.system.dims import Dim
from dsl.system.kinds import REDUCTIONS
from dsl.system.system import Read
from dsl.system.terms import Term
from dsl.system.unify import Mismatch, Shape, Unifier, show
from dsl.text.diagnostics import Diagnostic, Label
from dsl.text.tree import Span

OF_VECTORS = ("fft", "ifft", "cumsum", "reflect", "reflect_adjoint", "permute", "unpermute")


@dataclass
class Slot:
    """A name's shape while it is being found, and where it came from."""

    name: str
    shape: Shape | None
    free: bool  # undeclared: its use may fix it
    defined: bool  # an equation gives it a shape
    category: bool = False
    origin: Span | None = None


@dataclass
class Statement:
    """One definition to infer: the terms of its value, children first, and the name it gives."""

    name: str
    terms: list[Term]
    value: Term
    span: Span
    broken: bool = False
    settled: bool = False  # no size in it is unknown: another pass finds nothing
    wanted: Shape | None = None  # a shape the value must have although the name has another
    relation: str = "same"  # of the value's shape to the name's: same | scalar (or same) | own (unrelated)


@dataclass
class Inference:
    """Shapes of all names of one cell."""

    slots: dict[str, Slot]
    problems: list[Diagnostic]
    text: str = ""  # the source, for messages
    unifier: Unifier = field(default_factory=Unifier)
    changed: bool = False
    desperate: bool = False  # stalled: also fix streams by what they stand beside
    final: bool = False
    lost: set[str] = field(default_factory=set)  # names whose only equation could not be read: of any shape

    def run(self, statements: Sequence[Statement]) -> None:
        while True:
            self.changed, before = False, self.unifier.changes
            for statement in statements:
                if not statement.broken and not statement.settled:
                    self._statement(statement)
            if self.changed or self.unifier.changes != before:
                self.desperate = False
                continue
            if self.desperate:
                break
            self.desperate = True
        self.final = True
        for statement in statements:
            if not statement.broken:
                self._statement(statement)

    def _statement(self, statement: Statement) -> None:
        for term in statement.terms:
            lost = term.op == "read" and term.payload.name in self.lost
            if term.op != "hole" and (lost or any(a.op == "hole" for a in term.args)):
                term.op, term.payload = "hole", term.op  # what was done with a hole says what could stand there
        if statement.value.op == "hole" and self.slots[statement.name].shape is None:
            self.lost.add(statement.name)
        try:
            for term in statement.terms:
                if term.op == "hole":
                    continue
                found = self._shape(term)
                if found is not None:
                    found = self.unifier.shape(found)
                    if term.shape is None:
                        self.changed = True
                    term.shape = found
            if statement.value.op != "hole":
                self._result(statement)
            shapes = [self.slots[statement.name].shape, *(term.shape for term in statement.terms)]
            statement.settled = all(s is not None and self.unifier.knows(s) for s in shapes)
        except _Problem as problem:
            statement.broken = True
            diagnostic = problem.diagnostic
            if statement.value.foreign:
                diagnostic = replace(diagnostic, label=f"inside the copy, in the equation of `{statement.name}`")
            self.problems.append(diagnostic)

    def _result(self, statement: Statement) -> None:
        value, slot = statement.value, self.slots[statement.name]
        if statement.relation == "own" or (statement.relation == "scalar" and value.shape == ()):
            return
        wanted = statement.wanted if statement.wanted is not None else slot.shape
        if value.shape is None:
            if wanted is not None and wanted != ():
                self._assign(value, wanted)
            return
        if slot.category and len(value.shape) != 1:
            raise self._problem(
                "E302",
                f"the logits of `{statement.name}` are a vector, one entry a category; this is {self._show(value)}",
                value.span,
                (),
                f"as in `{statement.name}[t] ~ categorical(logits = U@h[t] + a)`",
            )
        if wanted is None:
            slot.shape, slot.origin = value.shape, statement.span
            self.changed = True
            return
        try:
            if value.shape == () and wanted != ():
                raise Mismatch(show(wanted), "scalar")
            self.unifier.unify(wanted, value.shape)
        except Mismatch:
            code, name = "E306", statement.name
            if slot.defined and not slot.free and wanted == () and slot.origin is None:
                what = {1: "a vector of size ", 2: "a matrix "}.get(len(value.shape), "")
                message = f"a loss is one number per sequence, this is {what}{self._show(value)}"
                steps = "".join(f"mean[{axis}](" for axis in value.axes)
                hint = f"reduce it: `{steps}sum(...){')' * len(value.axes)}`"
                raise self._problem(code, message, value.span, (), hint) from None
            related: tuple[Label, ...] = (
                (Label(slot.origin, f"{show(self.unifier.shape(wanted))} from here"),) if slot.origin else ()
            )
            related += declared_so(self, value)
            raise self._problem(
                code,
                f"the equation gives {self._show(value)}, but `{name}` is {show(self.unifier.shape(wanted))}",
                value.span,
                related,
                elementwise_matrix(self, statement, wanted)
                or of_two_vectors(self, value)
                or of_size_one(self, [value], value.shape, wanted)
                or (
                    "change the declaration, or the equation"
                    if value.shape
                    else f"a vector all of one value: `zeros({wanted[0]}) + ...`"
                ),
            ) from None

    # ------------------------------------------------------------ one term

    def _shape(self, term: Term) -> Shape | None:
        if term.op in ("number", "position", "extent", "size", "zeros"):
            return term.shape
        if term.op == "read":
            return self._read_shape(term)
        if term.op == "logprob":
            return ()
        if term.op == "product":
            return self._product(term)
        handler = getattr(self, f"_shape_{term.op}", None)
        if handler is not None:
            result: Shape | None = handler(term)
            return result
        if term.axis is not None:
            return term.args[0].shape
        if term.op in REDUCTIONS:
            return () if term.args[0].shape is not None else None
        if term.op == "stop_gradient":
            return term.args[0].shape
        if term.op in OF_VECTORS:
            for side in term.args:
                self._features(side, term)
        elif term.op in ("softmax", "log_softmax"):
            self._features(term.args[0], term, "matrix")
        return self._elementwise(term)

    def _features(self, side: Term, term: Term, other: str = "vector") -> None:
        """What runs over the features needs some: of a scalar there are none, and a batch is nothing to run over."""
        if side.shape is not None and len(side.shape) not in (1, 2 if other == "matrix" else 1):
            hint = f"over the steps it is `{term.op}[t](...)`" if other == "matrix" and not side.shape else ""
            message = f"`{term.op}` takes a vector, this is {self._show(side)}"
            raise self._problem("E302", message, side.span, (), hint)

    def _read_shape(self, term: Term) -> Shape | None:
        slot = self.slots.get(term.payload.name)
        return slot.shape if slot is not None else None

    def _shape_categorical_icdf(self, term: Term) -> Shape | None:
        odds, chance = term.args
        self._features(odds, term)
        if chance.shape not in (None, ()):
            message = f"`categorical_icdf` takes one number between 0 and 1, this is {self._show(chance)}"
            raise self._problem("E302", message, chance.span, (), "as in `categorical_icdf(softmax(l[t]), u[t])`")
        return odds.shape

    def _shape_transpose(self, term: Term) -> Shape | None:
        inner = term.args[0]
        if inner.shape is None:
            self._assign(inner, (self.unifier.fresh(), self.unifier.fresh()))
        if inner.shape is None:
            return None
        if len(inner.shape) != 2:
            raise self._problem(
                "E302",
                f"`.T` of {self._show(inner)}: only a matrix is transposed",
                term.span,
                (),
                "drop `.T`; `outer(a, b)` makes a matrix of two vectors",
            )
        return inner.shape[::-1]

    def _shape_outer(self, term: Term) -> Shape | None:
        a, b = (t.shape for t in term.args)
        if a is None or b is None:
            return None
        for side in term.args:
            if side.shape is not None and len(side.shape) != 1:
                raise self._problem("E302", f"`outer` takes two vectors, this is {self._show(side)}", side.span)
        return (a[0], b[0])

    def _shape_concat(self, term: Term) -> Shape | None:
        total: Dim = Dim()
        for part in term.args:
            if part.shape is None:
                return None
            if len(part.shape) != 1:
                raise self._problem(
                    "E302",
                    f"`concat` joins vectors, this is {self._show(part)}",
                    part.span,
                    (),
                    "" if part.shape else f"`zeros(1) + {self._written(part)}` makes a vector of a scalar",
                )
            total = total + part.shape[0]
        return (total,)

    def _shape_part(self, term: Term) -> Shape | None:
        inner = term.args[0].shape
        if inner is not None and len(inner) != 1:
            raise self._problem("E302", f"`part` takes a vector, this is {self._show(term.args[0])}", term.span)
        start, size = term.payload
        beyond = start + size - inner[0] if inner is not None else Dim()
        if beyond.terms and all(c > 0 for c in beyond.terms.values()):
            message = f"`part` goes to {start + size}, the vector has {self._show(term.args[0])}"
            raise self._problem("E302", message, term.span, (), "`part(v, start, size)`; the first start is 0")
        return (term.payload[1],)

    def _shape_cross_entropy(self, term: Term) -> Shape | None:
        logits, target = term.args
        if logits.shape is not None and target.shape is not None:
            self._unify(logits.shape, target.shape, term)
        return ()

    # ------------------------------------------------------------ products

    def _product(self, term: Term) -> Shape | None:
        left, right = term.args
        if left.shape is None:
            if right.shape is not None and len(right.shape) >= 1 and self._may_fix(left):
                self._assign(left, (self.unifier.fresh(), right.shape[0]))
            elif right.shape is None and self._may_fix(left):
                self._assign(left, (self.unifier.fresh(), self.unifier.fresh()))
            return None if left.shape is None else self._product(term)
        if right.shape is None:
            if len(left.shape) == 2 and self._may_fix(right):
                self._assign(right, (left.shape[-1],))
            elif len(left.shape) == 1 and self.desperate and right.op == "read" and not right.payload.index:
                raise self._left_vector(term)
            elif len(left.shape) == 1 and self.desperate and self._may_fix(right):
                self._assign(right, left.shape)
            return None if right.shape is None or left.shape is None else self._product(term)
        a, b = len(left.shape), len(right.shape)
        if a == 0 or b == 0:
            which = left if a == 0 else right
            message = f"`@` is a matrix product, but {self._written(which)} is a scalar"
            raise self._problem("E302", message, which.span, (), "write `*`")
        if a == 1 and b == 2:
            raise self._left_vector(term)
        try:
            self.unifier.unify_dims(left.shape[-1], right.shape[0])
        except Mismatch:
            raise self._product_mismatch(term) from None
        return left.shape[:-1] + right.shape[1:]

    def _left_vector(self, term: Term) -> _Problem:
        texts = self.names(term)
        return self._problem(
            "E303",
            "a vector stands left of a matrix",
            term.span,
            (),
            f"`{texts[1]}@{texts[0]}` or `{texts[1]}.T@{texts[0]}`?",
        )

    def names(self, term: Term) -> list[str]:
        """Both sides as they were written."""
        return [self._written(side) for side in term.args]

    def _written(self, term: Term) -> str:
        if not term.foreign:
            return self.text[term.span.start : term.span.end] or "(...)"
        return f"`{term.payload.name}`" if term.op == "read" else "(...)"

    def _product_mismatch(self, term: Term) -> _Problem:
        left, right = term.args
        names = self.names(term)
        related = []
        for side, name in zip(term.args, names, strict=True):
            slot = self.slots.get(side.payload.name) if side.op == "read" else None
            if slot is not None and slot.origin is not None:
                shape = show(self.unifier.shape(side.shape or ()))
                related.append(Label(slot.origin, f"makes {name} {shape}" if slot.free else f"{shape} from here"))
        message = f"{names[0]} is {self._show(left)}, {names[1]} is {self._show(right)}"
        near = self._vector_of(left.shape[-1]) if left.shape and right.op == "read" else None
        hint = f"did you mean `{names[0]}@{near}`?" if near else ""
        slot = self.slots.get(left.payload.name) if left.op == "read" else None
        declared = slot is not None and not (slot.free or slot.defined)
        if not near and declared and left.shape and right.shape and len(left.shape) == 2:
            sizes = show(self.unifier.shape((left.shape[0], right.shape[0]))).replace(",", ", ")
            hint = f"did you mean to declare `{names[0]}: {sizes}`?"
        if not near and slot is not None and slot.free and slot.origin is not None:
            hint = f"`{names[0]}` has another use: one matrix for each, `param {names[0]}_2 ~ glorot`?"
        return self._problem("E301", "shapes do not match in matrix product", term.span, tuple(related), hint, message)

    def _vector_of(self, dim: Dim) -> str | None:
        """A stream that would fit: the first state of that size, one step back."""
        for slot in self.slots.values():
            if (
                slot.shape is not None
                and len(slot.shape) == 1
                and slot.defined
                and self.unifier.dim(slot.shape[0]) == self.unifier.dim(dim)
            ):
                return f"{slot.name}[t-1]"
        return None

    # ------------------------------------------------------------ elementwise

    def _elementwise(self, term: Term) -> Shape | None:
        known = [a for a in term.args if a.shape is not None]
        big = [a for a in known if a.shape]
        if big:
            first = big[0]
            assert first.shape is not None
            for other in big[1:]:
                assert other.shape is not None
                if len(other.shape) != len(first.shape):
                    kinds = {1: "vector", 2: "matrix"}
                    a, b = (kinds.get(len(s.shape or ()), f"rank-{len(s.shape or ())} value") for s in (first, other))
                    raise self._problem(
                        "E302",
                        f"{a} and {b} in `{_symbol(term.op)}`: only scalars broadcast",
                        term.span,
                        (),
                        "check which one you meant",
                        self._sides(first, other),
                    )
                self._unify(first.shape, other.shape, term, (first, other))
            for other in term.args:
                if other.shape is None and self._may_fix(other):
                    self._assign(other, first.shape)
            self._order(term)
            return first.shape
        return () if len(known) == len(term.args) else None

    def _order(self, term: Term) -> None:
        """`r[t] * U@h[t-1]`: NumPy would read another cell."""
        if term.op != "mul" or not self.final:
            return
        left, right = term.args
        if right.op == "product" and right.bare and left.shape:
            names = self.names(right)
            mine = self._written(left)
            raise self._problem(
                "E304",
                "`*` beside an unparenthesised `@` has two readings",
                term.span,
                (),
                f"write `{mine}*({names[0]}@{names[1]})` (after the product) "
                f"or `{names[0]}@({mine}*{names[1]})` (before it)",
            )

    def _sides(self, *terms: Term) -> str:
        """`x[t]` is D, `h[t]` is H"""
        known = [(self._written(t), self._show(t)) for t in terms]
        return ", ".join(f"{text} is {shape}" for text, shape in known) if all(len(t) < 24 for t, _ in known) else ""

    def _unify(self, left: Shape, right: Shape, term: Term, sides: tuple[Term, ...] = ()) -> None:
        try:
            self.unifier.unify(left, right)
        except Mismatch as m:
            raise self._problem(
                "E302",
                f"sizes differ in `{_symbol(term.op)}`: {m.left} and {m.right}",
                term.span,
                (),
                of_size_one(self, sides, left, right) or "only scalars broadcast",
                self._sides(*sides),
            ) from None

    # ------------------------------------------------------------ fixing what is open

    def _may_fix(self, term: Term) -> bool:
        """Whether a term of unknown shape may be given one now."""
        if term.op == "read":
            slot = self.slots.get(term.payload.name)
            return slot is not None and slot.free and (not slot.defined or self.desperate)
        if term.op == "transpose":
            return self._may_fix(term.args[0])
        return all(self._may_fix(a) for a in term.args if a.shape is None)

    def _assign(self, term: Term, shape: Shape) -> None:
        """Push a shape down to the names that a term of unknown shape is made of."""
        stack: list[tuple[Term, Shape]] = [(term, shape)]
        while stack:
            node, want = stack.pop()
            if node.shape is not None:
                continue
            if node.op == "read":
                slot = self.slots.get(node.payload.name)
                if slot is not None and slot.shape is None and self._may_fix(node):
                    slot.shape, slot.origin = want, node.span
                    node.shape = want
                    self.changed = True
            elif node.op == "transpose" and len(want) == 2:
                stack.append((node.args[0], want[::-1]))
            elif node.op in ("softmax", "log_softmax", "stop_gradient") or node.axis is not None:
                stack.append((node.args[0], want))
            elif node.op not in UNLIKE:
                stack.extend((a, want) for a in node.args)

    # ------------------------------------------------------------ messages

    def _show(self, term: Term) -> str:
        return show(self.unifier.shape(term.shape)) if term.shape is not None else "of unknown shape"

    def _problem(
        self, code: str, message: str, span: Span, related: tuple[Label, ...] = (), hint: str = "", label: str = ""
    ) -> _Problem:
        return _Problem(Diagnostic(code, message, span, label, related, hint))


class _Problem(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def _symbol(op: str) -> str:
    return {"add": "+", "sub": "-", "mul": "*", "div": "/", "power": "**"}.get(op, op)


def reads_of(terms: Sequence[Term]) -> list[Term]:
    return [t for t in terms if t.op == "read" and isinstance(t.payload, Read)]
