"""Systems to systems: sizes put in, residuals named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from dsl.system import residuals as _residuals
from dsl.system.adjoint import adjoint
from dsl.system.dims import Dim
from dsl.system.system import Axis, Index, Initializer, Read, Size, Stream, System
from tinygrad_seq.symbol import Symbol, lift, substitute


def with_residuals(system: System, outside: tuple[str, ...] | None = None, wrt: tuple[str, ...] | None = None) -> System:
    """The system with a name for every costly sub-expression that its adjoint would compute again.

    Its own adjoint then reads these names as inputs and recomputes pointwise work only.
    """
    derived = adjoint(system, outside, wrt)
    return _residuals.with_residuals(system, derived.residuals, derived.system.streams)


def bind(system: System, values: Mapping[str, Any]) -> System:
    """The system with numbers (or dims) for its arguments; those not in `values` keep their defaults."""
    given = {k: v for k, v in {**system.arguments, **values}.items() if isinstance(v, int | Dim)}
    unknown = sorted(set(values) - set(system.arguments))
    if unknown:
        raise ValueError(f"{system.name} has no argument {', '.join(unknown)}; it has {', '.join(system.arguments)}")

    def index(i: Index) -> Index:
        return dataclasses.replace(i, offset=i.offset.bind(given))

    def change(node: Symbol) -> Symbol | None:
        if node.op is not None:
            if any(isinstance(v, Dim) or (isinstance(v, tuple) and any(isinstance(d, Dim) for d in v)) for _, v in node.static):
                static = tuple((k, _bound(v, given)) for k, v in node.static)
                return Symbol.make(node.op, node.args, static)
            return None
        leaf = node.leaf
        if isinstance(leaf, Read) and leaf.index:
            return lift(Read(leaf.name, tuple(index(i) for i in leaf.index)))
        if isinstance(leaf, Size):
            dim = leaf.dim.bind(given)
            return lift(int(dim)) if dim.is_constant else lift(Size(dim))
        return None

    def expression(symbol: Symbol) -> Symbol:
        return substitute(symbol, change)

    def stream(s: Stream) -> Stream:
        initializer = s.initializer
        if initializer is not None:
            initializer = Initializer(initializer.name, tuple(_bound(a, given) for a in initializer.arguments))
        return dataclasses.replace(
            s, shape=tuple(d.bind(given) for d in s.shape), categories=s.categories.bind(given) if s.categories is not None else None,
            boundary=expression(s.boundary) if s.boundary is not None else None, initializer=initializer,
        )  # fmt: skip

    return system.with_(
        arguments={k: given.get(k, v) for k, v in system.arguments.items()},
        axes={n: Axis(n, expression(a.length) if a.length is not None else None) for n, a in system.axes.items()},
        streams={n: stream(s) for n, s in system.streams.items()},
        equations={n: expression(e) for n, e in system.equations.items()},
        draws={
            n: dataclasses.replace(d, parameters=tuple((k, expression(v)) for k, v in d.parameters)) for n, d in system.draws.items()
        },
    )


def _bound(value: Any, given: Mapping[str, Any]) -> Any:
    if isinstance(value, Dim):
        dim = value.bind(given)
        return int(dim) if dim.is_constant else dim
    if isinstance(value, tuple):
        return tuple(_bound(v, given) for v in value)
    return value
