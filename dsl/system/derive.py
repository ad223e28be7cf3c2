"""Cotangents pushed through a system, equation by equation: the derivation itself.

`Derivation` fills a table of adjoint equations; `finish` makes a readable system of it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from dsl.system.guards import Finite, Guard, is_guarded, join, split, under, vanishes
from dsl.system.indices import inside
from dsl.system.kinds import Kind, Kinds, kind_of, named_axis
from dsl.system.messages import Collected, Irreversible, add_all, captures, follows, inverse, move, size_value, terms_of
from dsl.system.messages import outside as misses
from dsl.system.needed import Needed, Steep, without_lengths
from dsl.system.printing import index_tree
from dsl.system.record import Part, Record, Rule, Start
from dsl.system.rules import cotangents, movers, stays_outside
from dsl.system.system import Extent, Index, Read, Stream, System, at_home, here
from dsl.text.diagnostics import CellError, Diagnostic
from dsl.text.format import expression
from dsl.text.tree import Ref, Source
from tinygrad_seq.symbol import Symbol, apply, leaves, lift, postorder, replace

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


class Derivation:
    """One run of the derivation; see the module's docstring."""

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

    # ------------------------------------------------------------ the road

    def run(self) -> None:
        """Fill `equations` with every bar, message and intermediate."""
        for name in self.system.equations:
            if name in self.bars:
                start = self.at_home(self.bars[name])
                if self.finite.doubtful:
                    start = under(self.steep(name, self.zero_unless[self.bars[name]]), start)
                self._differentiate(name, self.system.equations[name], start)
        self._boundaries()
        self._collect()

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

    # ------------------------------------------------------------ one expression

    def _differentiate(self, name: str, value: Symbol, start: Symbol) -> None:
        """Pass the cotangent `start` of equation `name` down its expression, to messages."""
        self.current = name
        nodes = postorder([value])
        sinks = self._sinks(nodes)
        if not sinks[value]:
            return
        stream = self.system.streams[name]
        received: dict[Symbol, list[Symbol]] = {value: []}
        received[value].append(self.fit(start, kind_of(stream), self.kinds.of(value)))
        counter = 0
        for node in reversed(nodes):
            if node not in received or not sinks[node]:
                continue
            g = join(received[node])
            if g is ZERO:
                continue
            if node.op is None:
                self._deliver(node, g)
                continue
            if self._deserves_name(node, g, value, sinks):
                base = self._label(name, node, value, counter + 1)
                kind = self.kinds.of(node)
                bar = self.define(base + "_bar", kind)
                if base == f"{name}_{counter + 1}":
                    counter, self.origins[bar] = counter + 1, node
                self.equations[bar] = self.bare(g)
                self.record.cut[bar] = name, node
                self.zero_unless[bar], _ = split(g)
                g = under(self.zero_unless[bar], self.at_home(bar))
            self._pass_down(node, g, received, sinks)

    def _sinks(self, nodes: list[Symbol]) -> dict[Symbol, int]:
        """How many reads below a node want a gradient (counted up to a few)."""
        sinks: dict[Symbol, int] = {}
        for node in nodes:
            if node.op is None:
                sinks[node] = int(isinstance(node.leaf, Read) and node.leaf.name in self.active)
            else:
                sinks[node] = min(9, sum(sinks[a] for a in movers(node, self.kinds)))
        return sinks

    def _deserves_name(self, node: Symbol, g: Symbol, value: Symbol, sinks: dict[Symbol, int]) -> bool:
        """Whether a cotangent gets an equation: more than a name, varying in time, used twice or telling."""
        g = self.bare(g)
        if g.op is None or (g.is_op("neg") and g.args[0].op is None) or not self.kinds.of(g).axes:
            return False
        return node in self.logits or _is_argument(node, value) or sinks[node] > 1

    def _label(self, name: str, node: Symbol, value: Symbol, counter: int) -> str:
        """A name for an intermediate: `z_f` for the argument of f's outer function, else `f_1`."""
        if node in self.logits:
            return _z(self.logits[node], self.only_z)
        return _z(name, self.only_z) if _is_argument(node, value) else f"{name}_{counter}"

    def _only_z(self) -> frozenset[str]:
        """Copies (by prefix) in which one equation alone has an outer function: its argument is just `z`."""
        owners = [
            n for n, v in self.system.equations.items() if n in self.active and v.args and _is_argument(v.args[0], v)
        ]
        heads = Counter(head_of(n) for n in [*owners, *self.logits.values()])
        return frozenset(h for h, n in heads.items() if n == 1)

    def _pass_down(
        self, node: Symbol, g: Symbol, received: dict[Symbol, list[Symbol]], sinks: dict[Symbol, int]
    ) -> None:
        guarded = g.args[0] if g.is_op("neg") else g
        if guarded.is_op("where") and not stays_outside(guarded.args[0], node, self.kinds):
            g = self.bare(g)
        y = self.named.get(node, node)
        inputs = tuple(self.named.get(a, a) if a is not node else a for a in node.args)
        results = cotangents(node, g, y, inputs, self.kinds)
        here_kind = self.kinds.of(node)
        axis = named_axis(node)
        domain = here_kind.axes if axis is None or axis in here_kind.axes else (*here_kind.axes, axis)
        assert node.op is not None
        for argument, result in zip(node.args, results, strict=False):
            if result is None or not sinks[argument] or result is ZERO:
                continue
            target = self.kinds.of(argument)
            shape = here_kind.shape if node.op.elementwise else target.shape
            from_ = Kind(domain, shape, here_kind.dtype, here_kind.shared)
            fitted = self.fit(result, from_, target)
            if fitted is not result and not is_guarded(fitted):
                fitted = self.fit(self.bare(result), from_, target)
            passed = replace(fitted, self.named)
            received.setdefault(argument, []).append(passed)
            self.record.rules.append(Rule(self.current, node, argument, passed))

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
                g = self._summed(g, axis) if axis in have.axes else _times(lift(Extent(axis)), g)
                have = self.kinds.of(g)
        if target.shape == () and domain.shape != ():
            if have.shape == ():
                g = _times(size_value(domain.shape), g)
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

    def _deliver(self, leaf: Symbol, g: Symbol) -> None:
        read = leaf.leaf
        assert isinstance(read, Read)
        message = self.messages.setdefault((read.name, read.index), Message(read.name, read.index))
        steps = [i.axis for i in read.index if i.axis is not None]
        terms = [self.bare(without_lengths(term, steps)) for term in terms_of(g)]
        message.parts += terms
        message.origins += [Part(self.current, leaf, term) for term in terms]

    # ------------------------------------------------------------ boundaries

    def _boundaries(self) -> None:
        """Reads outside a stream's steps fall on its boundary, which may read again: until nothing is new."""
        settled: dict[tuple[str, tuple[Index, ...]], int] = {}
        while True:
            open_ = [k for k, m in self.messages.items() if settled.get(k, 0) < len(m.parts)]
            if not open_:
                return
            for key in open_:
                message = self.messages[key]
                new = message.parts[settled.get(key, 0) :]
                settled[key] = len(message.parts)
                self._fall_outside(message, add_all(new))

    def _fall_outside(self, message: Message, value: Symbol) -> None:
        """What of a message was formed where the read missed the stream, passed on to the stream's boundary."""
        name, index = message.source, message.index
        stream = self.system.streams[name]
        boundary = stream.boundary
        if boundary is None or not index or not any(n in self.active for n in names_in(boundary)):
            return
        axes = tuple(dict.fromkeys(i.axis for i in index if i.axis is not None))
        per_sequence = Kind((), stream.shape, stream.dtype, False)
        missing: list[Symbol] = []
        counted: list[Symbol] = []  # a read that misses on two axes is one read
        total: list[Symbol] = []
        for one, axis in zip(index, stream.axes, strict=True):
            conditions = misses(one, axis, *inside(one, axis, self.system.axes, self.values, shortest=0))
            missing += conditions
            for condition in conditions:
                missed = apply("where", condition, value, ZERO)
                for earlier in counted:
                    missed = apply("where", earlier, ZERO, missed)
                total.append(self.fit(missed, Kind(axes, stream.shape, stream.dtype, False), per_sequence))
            counted += conditions
        if not total:
            return
        bar = self.define(f"{name}_start_bar", per_sequence)
        self.equations[bar] = add_all(total)
        self.record.starts.setdefault(bar, []).append(Start(name, index, tuple(missing)))
        self.current = name
        self._pass_through(boundary, self.fit(self.at_home(bar), per_sequence, self.kinds.of(boundary)))

    def _pass_through(self, root: Symbol, start: Symbol) -> None:
        """Cotangents of an expression that belongs to no equation."""
        nodes = postorder([root])
        sinks = self._sinks(nodes)
        received = {root: [start]}
        for node in reversed(nodes):
            if node not in received or not sinks[node]:
                continue
            g = join(received[node])
            if node.op is None:
                self._deliver(node, g)
            else:
                self._pass_down(node, g, received, sinks)

    # ------------------------------------------------------------ collecting

    def _collect(self) -> None:
        """Every bar: from outside, from readers at the same step, from readers elsewhere."""
        gathered: dict[str, list[Symbol]] = {name: [] for name in self.bars}
        for name, given in self.cotangents.items():
            gathered[name].append(self.at_home(given))
        seen: dict[tuple[str, tuple[Index, ...]], int] = {}
        for value in self.system.equations.values():
            for leaf in leaves(value):
                if isinstance(leaf.leaf, Read):
                    seen.setdefault((leaf.leaf.name, leaf.leaf.index), len(seen))
        ordered = sorted(
            self.messages.values(),
            key=lambda m: (
                not at_home(m.index, self.system.streams[m.source].axes),
                seen.get((m.source, m.index), len(seen)),
            ),
        )
        for message in ordered:
            if message.source in gathered:
                gathered[message.source] += self._arrivals(message)
        for name, bar in self.bars.items():
            self._close(name, bar, gathered[name])

    def _arrivals(self, message: Message) -> list[Symbol]:
        stream = self.system.streams[message.source]
        if at_home(message.index, stream.axes):
            self.record.arrive(message.source, message.index, message.origins, message.parts)
            return list(message.parts)
        try:
            ways = inverse(message.index, stream.axes)
        except Irreversible as why:
            raise CellError(
                [
                    Diagnostic(
                        "E705",
                        f"the adjoint of this read of `{message.source}` is not compiled yet: {why}",
                        stream.span,
                        help="read it in two steps",
                    )
                ],
                self.system.source or Source(""),
            ) from None
        moved_axes = tuple(a for a in ways[0].indices)
        rest: list[Part] = []
        arrivals: list[Symbol] = []
        for part, origin in zip(message.parts, message.origins, strict=True):
            linear = moved_axes and follows(part, moved_axes, self.kinds, frozenset(self.zero_outside))
            if linear and not captures(part, ways):
                moved = [self._conditioned(move(part, w.indices), w.conditions) for w in ways]
                self.record.arrive(message.source, message.index, [origin], moved, ways)
                arrivals += moved
            else:
                rest.append(origin)
        if rest:
            arrivals += self._message_stream(message, rest, ways, moved_axes)
        return arrivals

    @staticmethod
    def _conditioned(value: Symbol, conditions: tuple[Symbol, ...]) -> Symbol:
        for condition in reversed(conditions):
            value = apply("where", condition, value, ZERO)
        return value

    def _message_stream(
        self, message: Message, parts: list[Part], ways: list[Collected], axes: tuple[str, ...]
    ) -> list[Symbol]:
        stream = self.system.streams[message.source]
        value = add_all([p.value for p in parts])
        if not axes and value.op is None:
            arrivals = [self._conditioned(value, w.conditions) for w in ways]
            self.record.arrive(message.source, message.index, parts, arrivals, ways)
            return arrivals
        read = _shown(message)
        name = self.define(
            f"{message.source}_msg", Kind(axes, stream.shape, stream.dtype, False), f"what {read} receives"
        )
        self.equations[name] = value
        arrivals = []
        for way in ways:
            at = lift(Read(name, tuple(way.indices[a] for a in axes)))
            arrivals.append(self._conditioned(at, way.conditions))
        self.record.arrive(message.source, message.index, parts, arrivals, ways, name)
        return arrivals

    def _close(self, name: str, bar: str, parts: list[Symbol]) -> None:
        """The equation of one bar; a shared value's bar is a total over the sequences."""
        stream = self.system.streams[name]
        if not parts:
            if name in self.system.equations:  # active by a boundary that no read can reach
                self.equations[bar] = ZERO
            return
        if not stream.shared:
            self.equations[bar] = add_all(parts)
            return
        own = [p for p in parts if not self.kinds.of(p).shared]
        common = [p for p in parts if self.kinds.of(p).shared]
        if own and common:
            total = self.define(f"{bar}_total", Kind((), stream.shape, stream.dtype, True))
            self.streams[total] = dataclasses.replace(self.streams[total], total=True)
            self.equations[total] = add_all(own)
            self.equations[bar] = add_all([self.at_home(total), *common])
        else:
            self.streams[bar] = dataclasses.replace(self.streams[bar], total=bool(own))
            self.equations[bar] = add_all(parts)


def names_in(root: Symbol) -> set[str]:
    """The streams an expression reads."""
    return {leaf.leaf.name for leaf in leaves(root) if isinstance(leaf.leaf, Read)}


def head_of(name: str) -> str:
    """The copy a dotted name belongs to."""
    return name.rpartition(".")[0]


def _is_argument(node: Symbol, value: Symbol) -> bool:
    """Whether `node` is what the outer function of an equation is applied to."""
    if value.op is None or not value.op.elementwise or len(value.args) != 1 or value.is_op("neg"):
        return False
    return node is value.args[0] and node.op is not None


def _z(name: str, alone: frozenset[str]) -> str:
    head, _, tail = name.rpartition(".")
    label = "z" if head in alone else f"z_{tail}"
    return f"{head}.{label}" if head else label


def _shown(message: Message) -> str:
    return expression(Ref(message.source, tuple(index_tree(i) for i in message.index)))


def _times(factor: Symbol, g: Symbol) -> Symbol:
    return apply("mul", factor, g)
