"""The adjoint of a system is a system: backpropagation through time, derived equation by equation.

Every equation `v[t] = f(…)` receives `v_bar[t]` and passes cotangents down f's expression by the
engine's own rules. A read at another step becomes a message formed at the reader's step and collected
at the inverse index (`messages`). What results is again equations over the same axes, in names a
person would choose, and nothing here runs anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dsl.system.cotangents import names_in
from dsl.system.derive import Derivation
from dsl.system.finish import Finish
from dsl.system.record import Record
from dsl.system.system import Stream, System
from tinygrad_seq.symbol import Symbol


@dataclass(frozen=True)
class Adjoint:
    """A derived system and what its names mean.

    cotangents   stream of the forward system -> the input holding ∂L/∂stream from outside
    gradients    input or parameter -> the stream holding its gradient
    residuals    forward sub-expressions without a name that are computed again, by their new names
    record       how it was derived, and `named`, the forward expressions whose names it uses
    """

    system: System
    cotangents: Mapping[str, str]
    gradients: Mapping[str, str]
    residuals: Mapping[str, Symbol]
    record: Record | None = None  # how it was derived
    named: Mapping[Symbol, Symbol] = field(default_factory=dict)  # forward expressions that have a name


def adjoint(system: System, outside: Iterable[str] | None = None, wrt: Iterable[str] | None = None) -> Adjoint:
    """Derive the adjoint.

    outside   streams that receive a cotangent from outside (default: outputs and losses)
    wrt       inputs and parameters whose gradients are wanted (default: all real ones)
    """
    derivation = Derivation(system, outside, wrt)
    derivation.run()
    derived, gradients, residuals = Finish(derivation).run()
    cotangents = {name: given for name, given in derivation.cotangents.items() if given in derived.streams}
    return Adjoint(derived, cotangents, gradients, residuals, derivation.record, derivation.named)


def joined(system: System, derived: Adjoint | None = None) -> Adjoint:
    """The forward equations and their adjoint in one system, which can be differentiated again."""
    derived = derived if derived is not None else adjoint(system)
    back = derived.system
    streams: dict[str, Stream] = {}
    for name, stream in back.streams.items():
        streams[name] = system.streams[name] if name in system.streams else stream
    for name, stream in system.streams.items():
        streams.setdefault(name, stream)
    used = {n for v in [*system.equations.values(), *back.equations.values()] for n in names_in(v)}
    used |= {n for s in streams.values() if s.boundary is not None for n in names_in(s.boundary)}
    plain = {n: dataclasses.replace(s, kind="input") if s.kind == "draw" else s for n, s in streams.items()}
    kept = {n: s for n, s in plain.items() if n in used or n in back.streams or s.kind == "equation"}
    together = System(
        f"{system.name}_joined",
        system.arguments,
        system.axes,
        kept,
        {**system.equations, **back.equations},
        {},
        back.outputs,
        (),
        system.instances,
        system.aliases,
        fixed=system.fixed,
    )
    return Adjoint(together, derived.cotangents, derived.gradients, derived.residuals)
