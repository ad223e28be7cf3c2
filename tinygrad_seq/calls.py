"""How a primitive is called: its inputs, its options, and what `help` says of it.

Read from the functions that a primitive is made of, its rule or else its value; nothing is written a second time.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinygrad_seq.primitive import Primitive

_UFUNC_INPUTS = {1: ("x",), 2: ("a", "b"), 3: ("a", "b", "c")}
Kind = inspect._ParameterKind
ONE, MANY, NAMED = Kind.POSITIONAL_OR_KEYWORD, Kind.VAR_POSITIONAL, Kind.KEYWORD_ONLY


@dataclass(frozen=True)
class Call:
    """Inputs are given by their places, options by name; `rest` names what any number of further inputs are."""

    inputs: tuple[str, ...]
    rest: str | None
    options: dict[str, inspect.Parameter]

    @property
    def arity(self) -> int | None:
        """The number of inputs; None for any number."""
        return len(self.inputs) if self.rest is None else None

    def names(self, count: int) -> list[str]:
        """The names of so many inputs; those that any number may be of are numbered."""
        return [*self.inputs, *(f"{self.rest}_{i}" for i in range(count) if self.rest is not None)][:count]

    def signature(self) -> inspect.Signature:
        """As `inspect` shows it."""
        given = [inspect.Parameter(n, Kind.POSITIONAL_ONLY) for n in self.inputs]
        given += [inspect.Parameter(self.rest, MANY)] if self.rest is not None else []
        return inspect.Signature([*given, *self.options.values()])

    def mistake(self, name: str, args: Sequence[Any], static: dict[str, Any]) -> str | None:
        """What is wrong with a call, in words; None for nothing."""
        few = self.arity is None and len(args) < len(self.inputs)
        if few or self.arity not in (None, len(args)):
            least = "at least " if self.arity is None else ""
            wanted = f"{least}{len(self.inputs)} argument{'s' if len(self.inputs) != 1 else ''}"
            return f"{name}{self.signature()} takes {wanted}, and was given {len(args)}"
        unknown = [k for k in static if k not in self.options]
        if unknown:
            options = f"its options are {', '.join(self.options)}" if self.options else "it has no options"
            return f"{name} has no option {unknown[0]!r}: {options}"
        return None


def call_of(impl: Callable[..., Any], rule: Callable[..., Any] | None, skip: int) -> Call:
    """The call of a primitive with this value and this rule, whose first `skip` arguments are no inputs.

    What has a default is an option. The rule counts, where there is one: NumPy's functions take more than it knows of.
    """
    if rule is None and isinstance(impl, np.ufunc):
        return Call(_UFUNC_INPUTS[impl.nin], None, {})
    own = _parameters(impl) if not isinstance(impl, np.ufunc) else []
    read = own if rule is None else _parameters(rule)[skip:]
    inputs = tuple(p.name for p in read if p.kind in (ONE, Kind.POSITIONAL_ONLY) and p.default is p.empty)
    rest = next((p.name for p in read if p.kind is MANY), None)
    options = own if rule is None or any(p.kind is Kind.VAR_KEYWORD for p in read) else read
    named = {
        p.name: p.replace(kind=NAMED, annotation=p.empty)
        for p in options
        if p.kind is NAMED or (p.kind is ONE and p.default is not p.empty)
    }
    return Call(inputs, rest, named)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


# ---------------------------------------------------------------- what help says


def described(op: Primitive) -> str:
    """A primitive's docstring: the call, the value of an element, the numbers it takes, and its derivative."""
    from tinygrad_seq.ops.elementwise import KINKS

    call = op.call
    lines = [f"{op.name}{call.signature()}", ""]
    if op.elementwise:
        lines.append(f"Of each element, broadcasting as NumPy does: {_formula(op)}")
    own = getattr(op.impl, "__doc__", None) if inspect.isfunction(op.impl) else None
    if own:
        lines.append(" ".join(own.split()))
    lines.append(f"Typeset: {_typeset(op)}")
    lines.append("Arrays give an array, tensors a tensor, symbols an expression.")
    if not op.complex_numbers:
        lines.append("Of real numbers: complex arguments are a TypeError.")
    for place in op.fixed:
        name = call.names(place + 1)[place]
        lines.append(f"No derivative with respect to {name} is known: asking for it is a GradientError.")
    if not op.differentiable:
        lines.append("No derivative: a constant to what it is computed from.")
    else:
        lines.append(f'The derivative: tg.explain("{op.name}").')
    if op.name in KINKS:
        lines.append(f"Where there is none: {KINKS[op.name]}.")
    return "\n".join(lines)


def _formula(op: Primitive) -> str:
    """One element in plain text: the kernel's, which is written in the names of the inputs."""
    names = op.call.names(9)
    options = {k: k for k in op.call.options}
    text = op.kernel.format(*names, **options) if op.kernel is not None else f"{op.name}({', '.join(names)})"
    bare = text[1:-1] if text.startswith("(") and _closes(text) == len(text) - 1 else text
    return f"{bare}."


def _closes(text: str) -> float:
    """Where the bracket at the start is closed."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return i
    return math.inf


def _typeset(op: Primitive) -> str:
    names = op.call.names(len(op.call.inputs) + (2 if op.call.rest is not None else 0))
    shown = [n.replace("_", r"\_") for n in names]
    options = {k: k for k in op.call.options}
    try:
        return op.tex(*shown, **options) if callable(op.tex) else op.tex.format(*shown, **options)
    except TypeError:  # a template that reckons with its options
        return rf"\operatorname{{{op.name}}}({', '.join(shown)})"
