"""When a stream is needed: the conditions without which nothing that is asked for reads it.

`z[t] = log(x[t])`, read in `where(x[t] > 0, z[t], 0)` alone, and `z = c/len(t)`, read at steps of t alone, have no
cotangent where the condition does not hold and in a sequence without steps. What is derived from that cotangent must
stay under the condition, which is known here before anything is derived.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dsl.system.guards import Finite, Guard, split, under
from dsl.system.kinds import BILINEAR, Kinds, binds, named_axis
from dsl.system.rules import movers
from dsl.system.system import Extent, Index, Position, Read, System, at_home
from tinygrad_seq.symbol import Symbol, apply, lift, postorder

Guards = tuple[Guard, ...]
OVERFLOWING = frozenset(("exp", "exp2", "expm1", "sinh", "cosh", "square"))


class Needed:
    """Conditions by stream, for what is asked of `outside`."""

    def __init__(self, system: System, outside: Iterable[str], kinds: Kinds) -> None:
        self.system, self.kinds = system, kinds
        self.found: dict[str, Guards] = dict.fromkeys(outside, ())
        boundaries = [s.boundary for s in system.streams.values() if s.boundary is not None]
        self.found |= {n.leaf.name: () for n in postorder(boundaries) if isinstance(n.leaf, Read)}
        pending = list(self.found)
        while pending:
            reader = pending.pop()
            if reader in system.equations:
                for name, guards in self._reads(reader):
                    known = self.found.get(name)
                    self.found[name] = guards if known is None else tuple(g for g in known if g in guards)
                    if self.found[name] != known:
                        pending.append(name)

    def __call__(self, name: str) -> Guards:
        """Conditions on a stream's own steps, or on its sequence."""
        stream = self.system.streams[name]
        known = [has_steps(a) for a in stream.axes]
        return () if stream.shared else tuple(g for g in self.found.get(name, ()) if g not in known)

    def _reads(self, reader: str) -> Iterator[tuple[str, Guards]]:
        """What an equation reads, and the conditions around every such read."""
        root, axes = self.system.equations[reader], self.system.streams[reader].axes
        start = (*self.found[reader], *map(has_steps, axes))
        around: dict[Symbol, Guards] = {root: self._fitting(start, self.kinds.of(root).shape)}
        for node in reversed(postorder([root])):
            if node not in around:
                continue
            if isinstance(node.leaf, Read):
                stream = self.system.streams[node.leaf.name]
                home = stream.axes if at_home(node.leaf.index, stream.axes) else ()
                kept = [g for g in around[node] if set(self.kinds.of(g[0]).axes) <= set(home)]
                yield node.leaf.name, (*kept, *reached(node.leaf.index, stream.axes))
            if node.op is None:
                continue
            axis = binds(node)
            inner = self._through(node, around[node])
            inner = inner if axis is None else (*inner, has_steps(axis))
            moving = movers(node, self.kinds)
            for place, arg in enumerate(node.args):
                if arg in moving:
                    below = (*inner, (node.args[0], place == 1)) if node.is_op("where") else inner
                    below = self._fitting(below, self.kinds.of(arg).shape)
                    around[arg] = tuple(g for g in around[arg] if g in below) if arg in around else below

    def _fitting(self, guards: Guards, shape: Sequence[object]) -> Guards:
        """Those that are one truth for all units, or one for each of these."""
        return tuple(dict.fromkeys(g for g in guards if self.kinds.of(g[0]).shape in ((), tuple(shape))))

    def _through(self, node: Symbol, guards: Guards) -> Guards:
        """Those that hold for what a node mixes."""
        assert node.op is not None
        axis, apart = named_axis(node), node.op.elementwise
        kinds = ((g, self.kinds.of(g[0])) for g in guards)
        return tuple(g for g, kind in kinds if (apart or kind.shape == ()) and axis not in kind.axes)


def has_steps(axis: str) -> Guard:
    """The condition that a sequence has steps on an axis."""
    return apply("greater", lift(Extent(axis)), lift(0)), True


class Steep:
    """Where a cotangent of 0 may give what an equation reads another than 0, so that conditions matter.

    Having no steps makes lengths 0, and sums; no exponential overflows by it. Beside the steps that are reached it is a
    boundary that a division or a root may meet.
    """

    def __init__(self, system: System, finite: Finite) -> None:
        self.finite, self.system = finite, system
        self.but_for_overflow = Finite(system.streams, system.equations, OVERFLOWING)

    def __call__(self, name: str, guards: Guards) -> Guards:
        """Those of an equation's conditions that matter."""
        if not guards or not self._is_steep(name, self.finite, frozenset()):
            return ()
        empty = self._is_steep(name, self.but_for_overflow, OVERFLOWING)
        there = bool(self._operations(name) - OVERFLOWING - {*BILINEAR})
        matters = {"len": empty, "t": there}
        return tuple(g for g in guards if matters.get(_subject(g), True))

    def _operations(self, name: str) -> set[str]:
        nodes = postorder([self.system.equations[name]])
        return {n.op.name for n in nodes if n.op is not None and not n.op.bounded}

    def _is_steep(self, name: str, finite: Finite, harmless: frozenset[str]) -> bool:
        if name not in finite.doubtful:
            return False
        if self._operations(name) - harmless <= {*BILINEAR}:
            factors = (a for n in postorder([self.system.equations[name]]) if n.is_op(*BILINEAR) for a in n.args)
            return not all(map(finite, factors))
        return True


def _subject(guard: Guard) -> str:
    """What a condition speaks of: `len(t) > 0` of len, `t >= 1` of t."""
    leaf = guard[0].args[0].leaf if guard[0].args else None
    return "len" if isinstance(leaf, Extent) else "t" if isinstance(leaf, Position) else ""


def reached(indices: Sequence[Index], axes: Sequence[str]) -> Iterator[Guard]:
    """What is said of the steps that a read reaches: `v[t+1]` none before step 1, `v[t-1]` not the last one, `last(v)`
    that one alone."""
    for index, axis in zip(indices, axes, strict=True):
        if index.is_shift and index.axis == axis and index.offset.is_constant and (offset := int(index.offset)):
            position, length = lift(Position(axis)), lift(Extent(axis))
            if offset > 0:
                yield apply("greater_equal", position, lift(offset)), True
            else:
                yield apply("less", position, apply("sub", length, lift(-offset))), True
        elif index.axis is None and index.offset.is_constant and index.divisor == 1:
            step, length = lift(int(index.offset)), lift(Extent(axis))
            if index.length is None:
                yield apply("equal", lift(Position(axis)), step), True
            elif index.length == axis and index.extent == 1:
                yield apply("equal", lift(Position(axis)), apply("sub", length, apply("neg", step))), True


def without_lengths(g: Symbol, axes: Sequence[str]) -> Symbol:
    """A cotangent at a step of these axes, without the conditions that go without saying there."""
    guards, inner = split(g)
    known = [has_steps(a) for a in axes]
    return under((c for c in guards if c not in known), inner) if any(c in known for c in guards) else g
