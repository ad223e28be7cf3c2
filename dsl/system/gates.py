"""Gates: what a `where` does not take is neither infinite nor differentiated, whoever differentiates.

An adjoint keeps the condition around what it derives (`guards`). The tape and the frameworks that exports run in do not
know the condition any more when they come to `log(x)` at 0: they multiply the 0 that `where` sends there by an infinite
slope. So here the condition goes down to the logarithm: `where(c, log(where(c, x, 1)), 0)`, which is the same where c
holds, and 0 with slope 0 where nobody looks. Only what may be infinite is touched. Other infinite slopes stay what they
are: `w*sqrt(x)` at w = 0, x = 0 has the slope 0*inf, which is NaN in every reading of a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dsl.system.guards import Finite, Guard
from dsl.system.kinds import Kinds
from dsl.system.needed import Needed, Steep
from dsl.system.rules import stays_outside
from dsl.system.system import System
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, lift, postorder

Guards = tuple[Guard, ...]


def gated(system: System, seen: Iterable[str] | None = None) -> System:
    """The system with gates in the branches of its conditions; the very same one where nothing may be infinite.

    seen   all streams that anyone differentiates: then the conditions without which nothing reads a stream are around
           its equation, too
    """
    finite = Finite(system.streams, system.equations)
    if not finite.doubtful:
        return system
    kinds = Kinds(system.streams)
    around = conditions(system, seen, finite, kinds) if seen is not None else {}
    gates = Gates(finite, kinds)
    equations = {n: gates(e, around.get(n, ())) if n in finite.doubtful else e for n, e in system.equations.items()}
    changed = any(equations[n] is not e for n, e in system.equations.items())
    return system.with_(equations=equations) if changed else system


def conditions(system: System, seen: Iterable[str], finite: Finite, kinds: Kinds) -> dict[str, Guards]:
    """Equations that may turn a cotangent of 0 into another, and when `seen` needs them, where that is not always."""
    if not finite.doubtful:
        return {}
    needed = Needed(system, [n for n in seen if n in system.equations], kinds)
    steep = Steep(system, finite)
    found = {n: steep(n, needed(n)) for n in system.equations if n in needed.found}
    return {n: guards for n, guards in found.items() if guards}


class Gates:
    """One system's expressions with gates in them."""

    def __init__(self, finite: Finite, kinds: Kinds) -> None:
        self.finite, self.kinds = finite, kinds

    def __call__(self, root: Symbol, guards: Guards) -> Symbol:
        """An expression under conditions; children first, without recursion."""
        done: dict[tuple[Symbol, Guards], Symbol] = {}
        stack = [(root, guards)]
        while stack:
            key = stack[-1]
            below = self._below(*key)
            missing = [k for k in below if k not in done]
            stack += missing
            if not missing:
                done[key] = self._made(*stack.pop(), [done[k] for k in below])
        return done[root, guards]

    def _below(self, node: Symbol, around: Guards) -> list[tuple[Symbol, Guards]]:
        """The arguments, each with the conditions that go on into it; none of what stays as it is."""
        if self.finite(node) or not (around or any(n.is_op("where") for n in postorder([node]))):
            return []
        if node.is_op("where"):
            condition, yes, no = node.args
            first, second = dict.fromkeys((*around, (condition, True))), dict.fromkeys((*around, (condition, False)))
            return [(condition, ()), (yes, self._fitting(first, yes)), (no, self._fitting(second, no))]
        inner = [g for g in around if node.op is not None and stays_outside(g[0], node, self.kinds)]
        return [(a, self._fitting(inner, a)) for a in node.args]

    def _fitting(self, guards: Iterable[Guard], arg: Symbol) -> Guards:
        """Those that can stand around an argument without making more of it than it is."""
        kind = self.kinds.of(arg)
        fits = ((g, self.kinds.of(g[0])) for g in guards)
        return tuple(g for g, c in fits if c.shape in ((), kind.shape) and {*c.axes} <= {*kind.axes})

    def _made(self, node: Symbol, around: Guards, args: Sequence[Symbol]) -> Symbol:
        if self.finite(node) or node.is_op("where"):
            return _over(node, args)
        apart = node.op is not None and self.finite.is_pole(node)
        if apart and around:
            assert node.op is not None
            inner = [g for g in around if stays_outside(g[0], node, self.kinds)]
            args = [a if a.is_number or not node.op.elementwise else _under(inner, a, 1) for a in args]
        made = _over(node, args)
        mixed = bool(args) and any(set(self._fitting(around, a)) != {*around} for a in node.args)
        return _under(around, made, 0) if apart or mixed or node.op is None else made


def _over(node: Symbol, args: Sequence[Symbol]) -> Symbol:
    """A node over other arguments, not simplified: a condition is to stay where it is."""
    if not args or all(a is b for a, b in zip(args, node.args, strict=True)):
        return node
    return Symbol.make(node.op, tuple(args), node.static)


def _under(guards: Iterable[Guard], x: Symbol, otherwise: int) -> Symbol:
    """`x` where the conditions hold, a harmless number elsewhere."""
    for condition, positive in guards:
        branches = (x, lift(otherwise)) if positive else (lift(otherwise), x)
        x = Symbol.make(REGISTRY["where"], (condition, *branches))
    return x


__all__ = ["conditions", "gated"]
