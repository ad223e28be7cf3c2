"""What a derivation did, step by step, kept while it is done: `explaining` tells it.

Symbols are those of the derivation, some under names that gave way to others; `settled` puts the final ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dsl.system.messages import Collected
from dsl.system.system import Index, Read
from tinygrad_seq.symbol import Symbol, lift, substitute


@dataclass(frozen=True)
class Rule:
    """A primitive's rule at `node`, an operation of a forward equation: `argument` receives `passed`."""

    equation: str
    node: Symbol
    argument: Symbol
    passed: Symbol


@dataclass(frozen=True)
class Part:
    """A summand of the message of one read, formed at the reader's step: `leaf` is the read in `equation`."""

    equation: str
    leaf: Symbol
    value: Symbol


@dataclass(frozen=True)
class Arrival:
    """What a stream receives from its readers through one index.

    ways     the reader's steps that read a step of the stream, and under which conditions; () at the reader's own
    stream   the name of the message, where it needs an equation before it can be read at another step
    values   what arrives, one summand a part and way
    """

    index: tuple[Index, ...]
    parts: tuple[Part, ...]
    ways: tuple[Collected, ...]
    stream: str | None
    values: tuple[Symbol, ...]


@dataclass(frozen=True)
class Start:
    """What of a message was formed where the read missed its stream: it belongs to the boundary."""

    source: str
    index: tuple[Index, ...]
    conditions: tuple[Symbol, ...]


@dataclass
class Record:
    """All of one derivation.

    rules     in the order in which they were applied
    cut       an intermediate's cotangent -> its forward equation and operation
    arrivals  a stream -> what it receives
    starts    a boundary's cotangent -> where it comes from
    bars      a stream -> its cotangent
    aliases   names of the derivation that gave way to others
    """

    rules: list[Rule] = field(default_factory=list)
    cut: dict[str, tuple[str, Symbol]] = field(default_factory=dict)
    arrivals: dict[str, list[Arrival]] = field(default_factory=dict)
    starts: dict[str, list[Start]] = field(default_factory=dict)
    bars: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def arrive(
        self,
        source: str,
        index: tuple[Index, ...],
        parts: Sequence[Part],
        values: Sequence[Symbol],
        ways: Sequence[Collected] = (),
        stream: str | None = None,
    ) -> None:
        arrival = Arrival(index, tuple(parts), tuple(ways), stream, tuple(values))
        self.arrivals.setdefault(source, []).append(arrival)

    def name(self, name: str) -> str:
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def settled(self, root: Symbol, named: Mapping[Symbol, Symbol]) -> Symbol:
        """A symbol of the derivation under the names of the finished system; `named`: expressions that have one."""

        def change(node: Symbol) -> Symbol | None:
            if node in named:
                return named[node]
            if node.op is None and isinstance(node.leaf, Read) and node.leaf.name in self.aliases:
                return lift(Read(self.name(node.leaf.name), node.leaf.index))
            return None

        return substitute(root, change)
