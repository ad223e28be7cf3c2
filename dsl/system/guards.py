"""Conditions around cotangents: `where(c, g, 0)`, kept as long as leaving them out could make a NaN.

What flows back into a branch of a `where` is 0 where the branch is not taken. But 0 times what is infinite or undefined
there (`log(x)` at 0, a difference of two `-inf`) is NaN: so the condition stays around everything that is derived from
the cotangent, also when the cotangent has got a name on the way, and goes only where all is finite. Nothing here knows
of derivative rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from dsl.system.kinds import BILINEAR, COMPARISONS
from dsl.system.messages import add_all
from dsl.system.system import Extent, Read, Size, Stream
from tinygrad_seq.symbol import Symbol, apply, leaves, lift, postorder

ZERO = lift(0)
Guard = tuple[Symbol, bool]  # a condition, and whether it or its opposite lets through
SUMS = ("add", "sub", "neg", "sum", "mean", "part", "concat", "transpose", "fill", "conj", "re", "im")
HARMLESS = ("square", "mod")  # singular in range or derivative only


def split(g: Symbol) -> tuple[tuple[Guard, ...], Symbol]:
    """The conditions around a cotangent, outermost first, and what is under them, signs in front of them included."""
    found: list[Guard] = []
    negative = False
    while is_guarded(g) or (g.is_op("neg") and is_guarded(g.args[0])):
        if g.is_op("neg"):
            negative, g = not negative, g.args[0]
        found.append((g.args[0], g.args[2] is ZERO))
        g = g.args[1] if g.args[2] is ZERO else g.args[2]
    return tuple(found), apply("neg", g) if negative else g


def is_guarded(g: Symbol) -> bool:
    """Whether a condition is around `g`."""
    return g.is_op("where") and (g.args[1] is ZERO) != (g.args[2] is ZERO)


def under(guards: Iterable[Guard], g: Symbol) -> Symbol:
    """`g` with conditions around it."""
    for condition, positive in reversed(tuple(guards)):
        g = apply("where", condition, g, ZERO) if positive else apply("where", condition, ZERO, g)
    return g


def join(parts: Sequence[Symbol]) -> Symbol:
    """Their sum; those under the same conditions are added under them."""
    groups: dict[tuple[Guard, ...], list[Symbol]] = {}
    for part in parts:
        groups.setdefault(split(part)[0], []).append(part)
    sums = [g[0] if len(g) == 1 else under(c, add_all([split(part)[1] for part in g])) for c, g in groups.items()]
    return add_all(sums)


def vanishes(root: Symbol, guard: Guard, zero_unless: Mapping[str, Sequence[Guard]]) -> bool:
    """Whether a finite expression is 0 unless `guard` holds, given streams that are 0 unless some conditions do."""
    known: dict[Symbol, bool] = {}
    for node in postorder([root]):
        args = [known[a] for a in node.args]
        if node.op is None:
            known[node] = node is ZERO or (isinstance(node.leaf, Read) and guard in zero_unless.get(node.leaf.name, ()))
        elif node.op.name in BILINEAR:
            known[node] = any(args)
        else:
            known[node] = bool(args) and node.op.name in SUMS and all(args)
    return known[root]


class Finite:
    """Which expressions are finite numbers wherever the inputs are.

    Not: those with an infinite constant, with an operation that has a singularity (`log`, a division by what varies),
    or with a read of a stream that such an equation or boundary defines. `harmless` are not minded.
    """

    def __init__(
        self, streams: Mapping[str, Stream], equations: Mapping[str, Symbol], harmless: Iterable[str] = ()
    ) -> None:
        self.harmless = {*HARMLESS, *harmless}
        self.doubtful: set[str] = set()
        sources: dict[str, list[Symbol]] = {n: [e] for n, e in equations.items()}
        for name, stream in streams.items():
            if stream.boundary is not None:
                sources.setdefault(name, []).append(stream.boundary)
        readers: dict[str, list[str]] = {}
        for name, roots in sources.items():
            for root in roots:
                for leaf in leaves(root):
                    if isinstance(leaf.leaf, Read):
                        readers.setdefault(leaf.leaf.name, []).append(name)
        pending = list(sources)
        while pending:
            name = pending.pop()
            if name not in self.doubtful and not all(map(self, sources[name])):
                self.doubtful.add(name)
                pending += readers.get(name, [])

    def __call__(self, root: Symbol) -> bool:
        known: dict[Symbol, bool] = {}
        for node in postorder([root]):
            if node.op is None:
                known[node] = self._leaf(node)
            elif node.op.name in COMPARISONS:
                known[node] = True
            elif node.is_op("where"):
                known[node] = known[node.args[1]] and known[node.args[2]]
            else:
                known[node] = all(known[a] for a in node.args) and not self.is_pole(node)
        return known[root]

    def _leaf(self, node: Symbol) -> bool:
        if isinstance(node.leaf, Read):
            return node.leaf.name not in self.doubtful
        return not isinstance(node.leaf, float) or math.isfinite(node.leaf)

    def is_pole(self, node: Symbol) -> bool:
        """Whether an operation may give an infinite value, or have an infinite slope, of finite arguments."""
        assert node.op is not None
        if node.is_op("div"):
            divisor = node.args[1]
            length = isinstance(divisor.leaf, Extent) and divisor.leaf.inside
            return not (length or isinstance(divisor.leaf, Size) or (divisor.is_number and divisor.leaf != 0))
        if node.is_op("power"):
            exponent = node.args[1].leaf
            return not (isinstance(exponent, int) and exponent >= 0)
        return node.op.singular and node.op.name not in self.harmless
