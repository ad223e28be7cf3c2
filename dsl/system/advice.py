"""What to write instead, where inference stopped: the help that rests on shapes. It changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsl.system.dims import Dim
from dsl.system.kinds import REDUCTIONS
from dsl.system.terms import Term, below
from dsl.system.unify import Shape, show
from dsl.text.diagnostics import Label

if TYPE_CHECKING:
    from dsl.system.infer import Inference, Statement

# whose value has not the shape of what it is made of
UNLIKE = ("product", "concat", "part", "outer", "logprob", "cross_entropy", *REDUCTIONS)


def elementwise_matrix(inference: Inference, statement: Statement, wanted: Shape) -> str:
    """`V*x[t]` of a V without a type, where `V@x[t]` may be meant; "" where nothing points to it."""
    for term in statement.terms:
        if term.op != "mul" or term.foreign:
            continue
        left, right = term.args
        slot = inference.slots.get(left.payload.name) if left.op == "read" and not left.payload.index else None
        if slot is None or not slot.free or right.shape is None or right.shape == wanted:
            continue
        a, b = inference.names(term)
        return f"`{a}*{b}` multiplies number by number; a matrix product is `{a}@{b}`"
    return ""


def of_two_vectors(inference: Inference, value: Term) -> str:
    """For `f[t]@c[t-1]` where `f[t]*c[t-1]` was meant; "" for anything else."""
    if value.op != "product" or [len(a.shape or ()) for a in value.args] != [1, 1]:
        return ""
    a, b = inference.names(value)
    return f"`@` of two vectors is one number; elementwise is `{a}*{b}`"


def declared_so(inference: Inference, value: Term) -> tuple[Label, ...]:
    """Where a name that a value is made of, entry by entry, was declared to have its shape."""
    waiting = [value]
    while waiting:
        term = waiting.pop()
        slot = inference.slots.get(term.payload.name) if term.op == "read" and not term.foreign else None
        if slot is not None and not slot.free and slot.origin is not None and term.shape and term.shape == value.shape:
            return (Label(slot.origin, f"makes it {show(inference.unifier.shape(term.shape))}"),)
        waiting += term.args if term.op not in UNLIKE else ()
    return ()


def of_size_one(inference: Inference, values: Sequence[Term], *shapes: Shape) -> str:
    """Of a vector of one entry where a scalar would broadcast; "" where no stream is declared so."""
    one = (Dim.of(1),)
    if one not in [inference.unifier.shape(s) for s in shapes]:
        return ""
    for term in (t for value in values for t in below(value)):
        if term.op == "read" and not term.foreign and term.shape == one:
            slot = inference.slots[term.payload.name]
            if not slot.free and slot.origin is not None:
                written = inference.text[slot.origin.start : slot.origin.end]
                return f"declare `{written}` without `: 1`: a scalar broadcasts, a vector of size 1 does not"
    return ""


def beside(inference: Inference, hole: Term, statements: Sequence[Statement]) -> Shape | None:
    """The shape that a term which could not be read would have, by what it stands beside; None for any."""
    above = {id(a): (term, s) for s in statements for term in s.terms for a in term.args}
    home = next((s for s in statements if any(t is hole for t in s.terms)), None)
    node = hole
    while id(node) in above:
        parent, home = above[id(node)]
        op = parent.payload if parent.op == "hole" else parent.op
        others = [a for a in parent.args if a is not node]
        shapes = [inference.unifier.shape(a.shape) for a in others if a.shape]
        if op == "product":
            return shapes[0][-1:] if shapes and parent.args[1] is node else None
        if op == "transpose" or (op in UNLIKE and parent.axis is None):
            return None
        if shapes:
            return shapes[0]
        if op in ("add", "sub") and any(a.op == "read" and a.shape == () for a in others):
            return ()
        node = parent
    if home is None or home.relation != "same":
        return None
    wanted = home.wanted if home.wanted is not None else inference.slots[home.name].shape
    return inference.unifier.shape(wanted) if wanted is not None else None
