"""Every bar of an adjoint: what reaches a stream from outside, from readers at its step, from readers elsewhere."""

from __future__ import annotations

import dataclasses

from dsl.system.cotangents import ZERO, Cotangents, Message
from dsl.system.kinds import Kind
from dsl.system.messages import Collected, Irreversible, add_all, captures, follows, inverse, move
from dsl.system.printing import index_tree
from dsl.system.record import Part
from dsl.system.system import Index, Read, at_home
from dsl.text.diagnostics import CellError, Diagnostic
from dsl.text.format import expression
from dsl.text.tree import Ref, Source
from tinygrad_seq.symbol import Symbol, apply, leaves, lift


class Collecting(Cotangents):
    """Turns messages, formed where readers are, into the equations of bars."""

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


def _shown(message: Message) -> str:
    return expression(Ref(message.source, tuple(index_tree(i) for i in message.index)))
