"""From systems to programs: a forward system and its adjoint, each normalised, arranged, laid out and written.

This is the whole road of `dsl.plan` in one place; running what comes out is `dsl.run.compiled`'s part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dsl.plan.arrange import arrange
from dsl.plan.buffers import Layout, Pads, Place, lay_out, paddings
from dsl.plan.categories import seen_through
from dsl.plan.complex import Real, without_complex
from dsl.plan.definitions import Normal
from dsl.plan.loops import Arrangement, Products
from dsl.plan.normal import normalise
from dsl.plan.source import Source, generate
from dsl.system.adjoint import Adjoint, adjoint
from dsl.system.kinds import Kinds
from dsl.system.residuals import with_residuals
from dsl.system.system import Read, System
from tinygrad_seq.symbol import Symbol, postorder

WIDE = 4  # times as many features as its operands have: cheaper to compute again than to keep


@dataclass(frozen=True)
class PlannedSystem:
    """A planned system: what it computes (`normal`), in which loops, where in memory, and the generated text."""

    name: str
    system: System
    dtype: str
    normal: Normal
    arrangement: Arrangement
    layout: Layout
    source: Source
    parts: Mapping[str, tuple[str, str]]  # a complex stream of the original system -> its real and imaginary part

    @cached_property
    def key(self) -> str:
        """What tells programs of one system apart: text and tables."""
        return f"{self.source.text}{self.source.stages}"

    def place_of(self, stream: str) -> Place:
        """Where a stream's values lie."""
        return self.layout.places[self.normal.names[stream]]

    def stacks(self, item: Products) -> list[str]:
        """Which of a set of products run as one."""
        found = []
        for pack in self.source.packs:
            own = [t for t, _, _ in pack.parts]
            if len(own) > 1 and all(any(t == term for _, term, _ in item.terms) for t in own):
                found.append(" | ".join(map(str, own)) if len(pack.columns) > 1 else " + ".join(map(str, own)))
        return found


def plan(
    name: str,
    real: Real,
    wanted: Sequence[str],
    dtype: str,
    *,
    kept: Mapping[str, Place] | None = None,
    keep: Mapping[str, Pads] | None = None,
) -> PlannedSystem:
    """Plan a system without complex numbers for some wanted streams of the one it stands for.

    keep  streams whose memory a backward program will read, and how far past their ends
    kept  for a backward program: where the forward program put the streams it reads
    """
    system, wanted = real.system, real.names(wanted)
    normal = normalise(system, [*wanted, *(keep or {})], kept or {})
    handed_over = {normal.names[n] for n in wanted if n in normal.names}
    pads: dict[str, Pads] = {}
    for stream, own in (keep or {}).items():
        held = normal.names[stream]
        definition = normal.definitions[held]
        definition.wanted = held in handed_over
        before = pads.get(held, {})
        pads[held] = {
            a: (max(f, before.get(a, (0, 0))[0]), max(b, before.get(a, (0, 0))[1])) for a, (f, b) in own.items()
        }
    arrangement = arrange(normal)
    layout = lay_out(arrangement, kept, pads)
    source = generate(name, arrangement, layout, dtype)
    return PlannedSystem(name, system, dtype, normal, arrangement, layout, source, real.parts)


class Plans:
    """The programs of one system: forward ones by what is wanted, backward ones by what is differentiated."""

    def __init__(self, system: System, outside: tuple[str, ...], dtype: str) -> None:
        self.system, self.outside, self.dtype = system, outside, dtype
        self._forward: dict[tuple[tuple[str, ...], bool], PlannedSystem] = {}
        self._backward: dict[tuple[tuple[str, ...], str], PlannedSystem] = {}

    @cached_property
    def _first(self) -> tuple[System, Adjoint]:
        """What is differentiated to see what its adjoint would compute again, and that adjoint."""
        seen = seen_through(self.system)
        return seen, adjoint(seen, self.outside)

    @cached_property
    def recording(self) -> System:
        """The system with every costly residual named."""
        seen, first = self._first
        return with_residuals(seen, first.residuals, first.system.streams)

    @cached_property
    def derived(self) -> Adjoint:
        seen, first = self._first
        found = first if self.recording is seen else adjoint(self.recording, self.outside)
        return replace(found, system=seen_through(found.system, self.recording))

    @cached_property
    def plain(self) -> Real:
        return without_complex(self.system)

    @cached_property
    def recorded(self) -> Real:
        return without_complex(self.recording)

    @cached_property
    def reversed(self) -> Real:
        back, again = self.derived.system, self._again()
        names = [*again, *(n.leaf.name for n in postorder(again.values()) if isinstance(n.leaf, Read))]
        streams = {**{n: self.recording.streams[n] for n in names}, **back.streams}
        streams.update({n: self.recording.streams[n] for n in again})
        pending = [*streams.values()]
        while pending:  # a boundary may read what has a boundary
            boundary = pending.pop().boundary
            for leaf in (n.leaf for n in (postorder([boundary]) if boundary is not None else ())):
                if isinstance(leaf, Read) and leaf.name not in streams:
                    streams[leaf.name] = self.recording.streams[leaf.name]
                    pending.append(streams[leaf.name])
        return without_complex(back.with_(streams=streams, equations={**back.equations, **again}))

    def _again(self) -> dict[str, Symbol]:
        """Residuals that the backward run computes again: products much wider than what they are products of, where
        that is kept anyway. So a vocabulary's logits exist for one chunk of steps at a time."""
        back, kinds = self.derived.system, Kinds(self.recording)
        sizes = {k: v for k, v in self.system.arguments.items() if isinstance(v, int)}

        def width(node: Symbol) -> int:
            return math.prod(int(d.bind(sizes)) for d in kinds.of(node).shape)

        found: dict[str, Symbol] = {}
        for name, root in self.recording.equations.items():
            if name not in back.streams or name in back.equations or kinds.of(root).shared:
                continue
            nodes = [n for n in postorder([root]) if not kinds.of(n).shared]
            operands = [n.leaf for n in nodes if isinstance(n.leaf, Read)]
            linear = all(n.op is None or n.is_op("matvec", "add") for n in nodes)
            kept = all(r.name in back.streams and all(i.is_identity for i in r.index) for r in operands)
            sized = all(d.names <= sizes.keys() for n in nodes for d in kinds.of(n).shape)
            if linear and kept and sized and width(root) >= WIDE * sum(width(n) for n in nodes if n.op is None):
                found[name] = root
        return found

    @cached_property
    def residuals(self) -> dict[str, Pads]:
        """What the adjoint reads of the forward run, and how far past its ends."""
        back, made = self.reversed.system, self.recorded.system.equations
        names = [n for n, s in back.streams.items() if n in made and n not in back.equations and not s.shared]
        normal = normalise(back, self.reversed.names(self.derived.gradients.values()), names)
        pads = paddings(normal.definitions, back)
        return {n: pads[n] for n, d in normal.definitions.items() if d.kind == "kept"}

    @cached_property
    def totals(self) -> tuple[str, ...]:
        """What the adjoint reads of the forward run that is summed over all sequences, or made of such sums."""
        back, made = self.derived.system, self.recording.equations
        names = [n for n, s in back.streams.items() if s.shared and n in made and n not in back.equations]
        late = {n for n in made if self.recording.streams[n].total}
        for name, root in made.items():
            if any(isinstance(n.leaf, Read) and n.leaf.name in late for n in postorder([root])):
                late.add(name)
        return tuple(n for n in names if n in late and self.recording.streams[n].shared)

    def forward(self, want: tuple[str, ...], record: bool) -> PlannedSystem:
        key = (want, record)
        if key not in self._forward:
            real = self.recorded if record else self.plain
            keep, more = (self.residuals, self.totals) if record else (None, ())
            name = f"{self.system.name}_{'recorded' if record else 'forward'}"
            self._forward[key] = plan(name, real, [*want, *more], self.dtype, keep=keep)
        return self._forward[key]

    def backward(self, forward: PlannedSystem, wrt: tuple[str, ...]) -> PlannedSystem:
        """The adjoint's program for gradients of `wrt`, reading the memory of `forward`."""
        key = (wrt, forward.key)
        if key not in self._backward:
            gradients = self.derived.gradients
            wanted = [gradients[n] for n in wrt if n in gradients]
            places = {n: forward.place_of(n) for n in self.residuals}
            self._backward[key] = plan(f"{self.system.name}_backward", self.reversed, wanted, self.dtype, kept=places)
        return self._backward[key]


def programs(system: System, outside: tuple[str, ...] | None, dtype: str) -> tuple[PlannedSystem, PlannedSystem | None]:
    """The recorded forward program and the backward one for all parameters (None without any)."""
    names = outside if outside is not None else tuple(dict.fromkeys((*system.outputs, *system.losses)))
    plans = Plans(system, names, dtype)
    forward = plans.forward(names, True)
    wrt = tuple(n for n, s in system.streams.items() if s.kind == "param" and n in plans.derived.gradients)
    return forward, plans.backward(forward, wrt) if wrt else None
