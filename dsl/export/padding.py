"""Behind the end of a sequence nothing singular is computed.

What stands there is a boundary, of what a loop remembers, or the last step again, of inputs; in a skewed loop there are
steps before the first, too. So `w/n[t]` may divide by 0 there. Results leave those steps out, but a framework that
differentiates multiplies their cotangent of 0 by the slope, and 0*inf is NaN. So arguments of what has poles, and what
may be infinite, are replaced by numbers at the steps that are not there.
"""

from __future__ import annotations

from dsl.system.guards import Finite
from dsl.system.kinds import Kinds, named_axis
from dsl.system.needed import OVERFLOWING
from dsl.system.system import Present, System
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, lift, postorder

Axes = tuple[str, ...]


class Unbounded(Finite):
    """What holds infinite constants; operations are believed to stay away from their poles."""

    def is_pole(self, node: Symbol) -> bool:
        return False


def harmless(system: System) -> System:
    """The system with conditions around what may be singular behind the end; the very same one where nothing may."""
    padding = Padding(system)
    changed = {n: new for n, e in system.equations.items() if (new := padding(n, e)) is not e}
    return system.with_(equations={**system.equations, **changed}) if changed else system


class Padding:
    """Writes the conditions into one system's expressions."""

    def __init__(self, system: System) -> None:
        self.system, self.kinds = system, Kinds(system)
        self.poles = Finite(system.streams, system.equations, OVERFLOWING)
        self.infinite = Unbounded(system.streams, system.equations)

    def __call__(self, name: str, root: Symbol) -> Symbol:
        """An equation's expression; children first, without recursion."""
        if not any(map(self._is_singular, postorder([root]))):
            return root
        start = root, self.system.streams[name].axes
        done: dict[tuple[Symbol, Axes], Symbol] = {}
        stack = [start]
        while stack:
            node, axes = stack[-1]
            over = named_axis(node)
            inner = axes if over is None or over in axes else (*axes, over)
            missing = [(a, inner) for a in node.args if (a, inner) not in done]
            stack += missing
            if not missing:
                done[stack.pop()] = self._made(node, axes, [done[a, inner] for a in node.args])
        return done[start]

    def _is_singular(self, node: Symbol) -> bool:
        return not self.infinite(node) if node.op is None else self.poles.is_pole(node)

    def _made(self, node: Symbol, axes: Axes, args: list[Symbol]) -> Symbol:
        singular = self._is_singular(node)
        if node.op is None:
            return self._there(node, node, axes, 0) if singular else node
        if singular:
            first = 1 if node.is_op("div") else 0  # only what it is divided by may be 0
            pairs = list(zip(node.args, args, strict=True))
            args = [*args[:first], *(self._there(a, new, axes, 1) for a, new in pairs[first:])]
        same = all(a is b for a, b in zip(args, node.args, strict=True))
        return node if same else Symbol.make(node.op, tuple(args), node.static)

    def _there(self, old: Symbol, x: Symbol, axes: Axes, otherwise: int) -> Symbol:
        """`x` at the steps that a sequence has."""
        for axis in self.kinds.of(old).axes:
            if axis in axes:
                x = Symbol.make(REGISTRY["where"], (lift(Present(axis)), x, lift(otherwise)))
        return x


__all__ = ["harmless"]
