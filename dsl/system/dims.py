"""Symbolic sizes: polynomials with integer coefficients over a cell's arguments (`2*H`, `K+1`).

Shapes, constant index offsets and arguments that are numbers are all `Dim`s, so a system stays
symbolic until `System.bind` (or `build`) gives its arguments values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

Monomial = tuple[str, ...]  # sorted names, () for the constant term


class Dim:
    """An immutable integer polynomial; equal when equal term by term."""

    __slots__ = ("terms", "names", "_hash")

    terms: Mapping[Monomial, int]
    names: frozenset[str]  # of the arguments in it

    def __init__(self, terms: Mapping[Monomial, int] | None = None) -> None:
        self.terms = {m: c for m, c in sorted((terms or {}).items()) if c != 0}
        self.names = frozenset(n for m in self.terms for n in m)
        self._hash = hash(tuple(self.terms.items()))

    @staticmethod
    def of(value: Dim | int | str) -> Dim:
        """A number, or the argument of that name."""
        return value if isinstance(value, Dim) else _of(value if isinstance(value, str) else int(value))

    def __add__(self, other: Any) -> Dim:
        terms = dict(self.terms)
        for m, c in Dim.of(other).terms.items():
            terms[m] = terms.get(m, 0) + c
        return Dim(terms)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return Dim({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: Any) -> Dim:
        return self + -Dim.of(other)

    def __rsub__(self, other: Any) -> Dim:
        return Dim.of(other) - self

    def __mul__(self, other: Any) -> Dim:
        terms: dict[Monomial, int] = {}
        for m, c in self.terms.items():
            for n, d in Dim.of(other).terms.items():
                key = tuple(sorted(m + n))
                terms[key] = terms.get(key, 0) + c * d
        return Dim(terms)

    __rmul__ = __mul__

    def __eq__(self, other: Any) -> bool:
        if self is other:
            return True
        if isinstance(other, int | str):
            other = Dim.of(other)
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    @property
    def name(self) -> str | None:
        """The argument that it is, None for a number or anything computed."""
        (monomial, factor), *more = self.terms.items() or [((), 0)]
        return monomial[0] if len(monomial) == factor == 1 and not more else None

    @property
    def is_constant(self) -> bool:
        return not self.names

    def __int__(self) -> int:
        if not self.is_constant:
            raise ValueError(f"{self} has no value yet: {', '.join(sorted(self.names))} not given")
        return self.terms.get((), 0)

    __index__ = __int__

    def bind(self, values: Mapping[str, Any]) -> Dim:
        """Put numbers (or other dims) for names; names not in `values` stay."""
        if values.keys().isdisjoint(self.names):
            return self
        if self.name is not None:
            return Dim.of(values[self.name])
        total = Dim()
        for m, c in self.terms.items():
            term = Dim.of(c)
            for name in m:
                term = term * Dim.of(values[name] if name in values else name)
            total = total + term
        return total

    def __str__(self) -> str:
        parts: list[str] = []
        for m, c in sorted(self.terms.items(), key=lambda item: (item[0] == (), item[0])):
            body = "*".join(([] if abs(c) == 1 and m else [str(abs(c))]) + list(m))
            parts.append((" - " if c < 0 else " + ") + body)
        if not parts:
            return "0"
        first = parts[0][3:] if parts[0].startswith(" + ") else "-" + parts[0][3:]
        return first + "".join(parts[1:])

    __repr__ = __str__


@lru_cache(maxsize=4096)
def _of(value: int | str) -> Dim:
    """The one size that is a number, or an argument: most are."""
    return Dim({(value,): 1} if isinstance(value, str) else {(): value})
