"""What a derivation knows: the streams that matter, the names of their cotangents, the equations made so far.

`Cotangents` is the table; `derive` fills it going down the equations, `collect` gathers what reaches each stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from dsl.system.guards import Finite, Guard, split, under, vanishes
from dsl.system.kinds import Kind, Kinds, kind_of
from dsl.system.messages import add_all, size_value
from dsl.system.needed import Needed, Steep
from dsl.system.record import Part, Record
from dsl.system.rules import movers
from dsl.system.system import Extent, Index, Read, Stream, System, here
from tinygrad_seq.symbol import Symbol, apply, leaves, lift, postorder

ZERO = lift(0)


@dataclass
class Message:
    """Cotangents of one read `v[index]`, summed over the readers that use that index."""

    source: str
    index: tuple[Index, ...]
    parts: list[Symbol] = field(default_factory=list)
    origins: list[Part] = field(default_factory=list)  # of each part: where it was formed

    @property
    def value(self) -> Symbol:
        return add_all(self.parts)


class Cotangents:
    """The table of one derivation, and what every step of it asks: kinds, names, conditions, the only un-broadcast."""

    def __init__(self, system: System, outside: Iterable[str] | None, wrt: Iterable[str] | None) -> None:
        self.system = system
        self.outside = tuple(dict.fromkeys(outside if outside is not None else (*system.outputs, *system.losses)))
        self.outside = tuple(n for n in self.outside if n in system.equations)
        differentiable = [
            n for n, s in system.streams.items() if s.kind in ("param", "input") and s.dtype in ("real", "complex")
        ]
        self.wrt = tuple(n for n in differentiable if wrt is None or n in set(wrt))
        self.streams: dict[str, Stream] = dict(system.streams)
        self.kinds = Kinds(self.streams)
        self.taken = {*system.streams, *system.axes, *system.arguments}
        self.equations: dict[str, Symbol] = {}
        self.messages: dict[tuple[str, tuple[Index, ...]], Message] = {}
        self.bars: dict[str, str] = {}
        self.cotangents: dict[str, str] = {}
        self.zero_outside: set[str] = set()
        self.origins: dict[str, Symbol] = {}  # an intermediate's bar -> the forward expression it belongs to
        self.zero_unless: dict[str, tuple[Guard, ...]] = {}  # an intermediate's bar -> the conditions it was under
        self.record = Record()
        self.current = ""  # the forward equation being differentiated
        self.finite = Finite(system.streams, system.equations)
        self.values = {k: v for k, v in system.arguments.items() if isinstance(v, int)}
        self.active = self._active()
        self._name_bars()
        if self.finite.doubtful:
            self.steep = Steep(system, self.finite)
            needed = Needed(system, self.outside, self.kinds)
            self.zero_unless = {bar: needed(name) for name, bar in self.bars.items()}
        self.named = self._named_values()
        self.logits = {v: name for name, draw in system.draws.items() for _, v in draw.parameters if v.op is not None}
        self.only_z = self._only_z()

    def _active(self) -> set[str]:
        """Streams through which something wanted influences something observed."""
        reads = {n: self._moving(v) for n, v in self.system.equations.items()}
        for name, stream in self.system.streams.items():
            if stream.boundary is not None and name in self.system.equations:
                reads[name] = reads[name] | self._moving(stream.boundary)
        boundaries = {
            n: self._moving(s.boundary)
            for n, s in self.system.streams.items()
            if s.boundary is not None and n not in reads
        }
        forward = set(self.wrt)
        changed = True
        while changed:
            changed = False
            for name, used in [*reads.items(), *boundaries.items()]:
                if name not in forward and used & forward:
                    forward.add(name)
                    changed = True
        backward, todo = set(self.outside), list(self.outside)
        while todo:
            name = todo.pop()
            for other in sorted(reads.get(name, set()) | boundaries.get(name, set())):
                if other not in backward:
                    backward.add(other)
                    todo.append(other)
        return forward & backward

    def _moving(self, root: Symbol) -> set[str]:
        """The streams with which an expression's value moves."""
        moving, nodes = {root}, postorder([root])
        for node in reversed(nodes):
            if node in moving and node.op is not None:
                moving.update(movers(node, self.kinds))
        return {n.leaf.name for n in nodes if n in moving and isinstance(n.leaf, Read)}

    def fresh(self, base: str) -> str:
        name, n = base, 2
        while name in self.taken:
            name, n = f"{base}{n}", n + 1
        self.taken.add(name)
        return name

    def _name_bars(self) -> None:
        for name in self.outside:
            if name not in self.active:
                continue
            stream = self.system.streams[name]
            head, _, tail = name.rpartition(".")
            given = self.fresh(f"{head}.d{tail}" if head else f"d{tail}")
            self.cotangents[name] = given
            kind = "const" if stream.shared else "input"
            self.streams[given] = Stream(given, kind, stream.axes, stream.shape, stream.dtype, shared=stream.shared)
            self.zero_outside.add(given)
        for name in [*self.system.equations, *self.wrt]:
            if name in self.active and name not in self.bars:
                stream = self.system.streams[name]
                self.bars[name] = self.define(f"{name}_bar", kind_of(stream))

    def define(self, base: str, kind: Kind, comment: str = "") -> str:
        """A new stream of the adjoint; its equation follows."""
        name = self.fresh(base)
        self.streams[name] = Stream(
            name, "equation", kind.axes, kind.shape, kind.dtype, shared=kind.shared, comment=comment
        )
        self.zero_outside.add(name)
        return name

    def at_home(self, name: str) -> Symbol:
        return lift(Read(name, tuple(here(a) for a in self.streams[name].axes)))

    def _named_values(self) -> dict[Symbol, Symbol]:
        """Forward expressions that have a name: the equation's whole right-hand side.

        Not a maximum of what is computed again: it is compared with that, and only the very same numbers will do.
        """
        table: dict[Symbol, Symbol] = {}
        for name, value in self.system.equations.items():
            stream = self.system.streams[name]
            kind = self.kinds.of(value)
            if (
                value.op is not None
                and not (value.is_op("max", "min") and value.args[0].op is not None)
                and not stream.total
                and set(kind.axes) == set(stream.axes)
                and kind.shape == stream.shape
            ):
                table.setdefault(value, self.at_home(name))
        return table

    def _only_z(self) -> frozenset[str]:
        """Copies (by prefix) in which one equation alone has an outer function: its argument is just `z`."""
        owners = [
            n for n, v in self.system.equations.items() if n in self.active and v.args and is_argument(v.args[0], v)
        ]
        heads = Counter(head_of(n) for n in [*owners, *self.logits.values()])
        return frozenset(h for h, n in heads.items() if n == 1)

    # ------------------------------------------------------------ conditions and kinds

    def bare(self, g: Symbol) -> Symbol:
        """A cotangent without the conditions that change nothing: under them is what is 0 elsewhere, times finite."""
        if g.is_op("neg"):
            return apply("neg", self.bare(g.args[0]))
        guards, inner = split(g)
        if not guards or not self.finite(inner):
            return g
        return under([c for c in guards if not vanishes(inner, c, self.zero_unless)], inner)

    def fit(self, g: Symbol, domain: Kind, target: Kind) -> Symbol:
        """The only un-broadcast: sum what `domain` has and `target` lacks."""
        have = self.kinds.of(g)
        for axis in domain.axes:
            if axis not in target.axes:
                g = self._summed(g, axis) if axis in have.axes else times(lift(Extent(axis)), g)
                have = self.kinds.of(g)
        if target.shape == () and domain.shape != ():
            if have.shape == ():
                g = times(size_value(domain.shape), g)
            else:
                g = self._total(g, len(have.shape))
        if target.dtype == "real" and have.dtype == "complex":
            g = apply("re", g)  # a real value has a real gradient
        return g

    def _summed(self, g: Symbol, axis: str) -> Symbol:
        """A sum over an axis; conditions that do not speak of it stay around."""
        guards, inner = split(g)
        outer = [c for c in guards if axis not in self.kinds.of(c[0]).axes]
        return under(outer, apply("sum", under([c for c in guards if c not in outer], inner), axis=axis))

    def _total(self, g: Symbol, rank: int) -> Symbol:
        """The sum over the features; of a product of two vectors, `u@v`."""
        if g.is_op("neg"):
            return apply("neg", self._total(g.args[0], rank))
        if rank == 1 and g.is_op("mul") and all(len(self.kinds.of(a).shape) == 1 for a in g.args):
            return apply("dot", *g.args)
        return apply("sum", g, axis=-1 if rank == 1 else tuple(range(-rank, 0)))


def names_in(root: Symbol) -> set[str]:
    """The streams an expression reads."""
    return {leaf.leaf.name for leaf in leaves(root) if isinstance(leaf.leaf, Read)}


def head_of(name: str) -> str:
    """The copy a dotted name belongs to."""
    return name.rpartition(".")[0]


def times(factor: Symbol, g: Symbol) -> Symbol:
    return apply("mul", factor, g)


def is_argument(node: Symbol, value: Symbol) -> bool:
    """Whether `node` is what the outer function of an equation is applied to."""
    if value.op is None or not value.op.elementwise or len(value.args) != 1 or value.is_op("neg"):
        return False
    return node is value.args[0] and node.op is not None
