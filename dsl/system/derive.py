"""Cotangents pushed through a system, equation by equation: the derivation itself.

`Derivation` fills a table of adjoint equations; `finish` makes a readable system of it.
"""

from __future__ import annotations

from dsl.system.collect import Collecting
from dsl.system.cotangents import ZERO, Message, is_argument, names_in
from dsl.system.guards import is_guarded, join, split, under
from dsl.system.indices import inside
from dsl.system.kinds import Kind, kind_of, named_axis
from dsl.system.messages import add_all, terms_of
from dsl.system.messages import outside as misses
from dsl.system.needed import without_lengths
from dsl.system.record import Part, Rule, Start
from dsl.system.rules import cotangents, movers, stays_outside
from dsl.system.system import Index, Read
from tinygrad_seq.symbol import Symbol, apply, postorder, replace


class Derivation(Collecting):
    """One run of the derivation; see the module's docstring."""

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
        return node in self.logits or is_argument(node, value) or sinks[node] > 1

    def _label(self, name: str, node: Symbol, value: Symbol, counter: int) -> str:
        """A name for an intermediate: `z_f` for the argument of f's outer function, else `f_1`."""
        if node in self.logits:
            return _z(self.logits[node], self.only_z)
        return _z(name, self.only_z) if is_argument(node, value) else f"{name}_{counter}"

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


def _z(name: str, alone: frozenset[str]) -> str:
    head, _, tail = name.rpartition(".")
    label = "z" if head in alone else f"z_{tail}"
    return f"{head}.{label}" if head else label
