"""Memory: where each definition's values lie, as one table of offsets over a flat arena.

A definition's rows are laid out time axis by time axis, then sequence by sequence, then features padded to
the product kernel's unit. Each axis has padding steps in front and behind, as far as anything reads past
its ends, so that no loop asks whether a step exists. Definitions that feed or are fed by the same products
stand in adjacent columns of one slab. What lives within one step has no axis of its own for the steps; what only the
nest that computes it reads, at its own or an earlier turn, lives in a window: room for one chunk of steps and for those
before it that are still read. Memory then grows with the length of a sequence only by what somebody will ask for later.
Sizes are names in a table that the host fills in for each run; nothing here emits code.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from dsl.plan.definitions import Definition, is_shifted, reads, shift_of
from dsl.plan.loops import AFTER, STEP, Arrangement, Group, Outers, Products
from dsl.plan.schedule import offset_value
from dsl.system.dims import Dim
from dsl.system.system import Read, System
from tinygrad_seq.symbol import postorder

Pads = dict[str, tuple[int, int]]


@dataclass(slots=True)
class Place:
    """Where a definition lies: `array` A (own reals), I (own categories), F and J (the forward run's)."""

    name: str
    ident: str
    array: str
    axes: tuple[str, ...]  # the axes it has rows for
    pads: Pads  # axis -> padding steps in front and behind
    shape: tuple[Dim, ...]
    slab: str
    local: bool = False  # has no rows for the steps of its nest
    scope: str = ""  # loads and stores of one scope may meet
    window: str = ""  # the axis along which it has rows for a chunk of steps only, and its pads

    def front(self, axis: str) -> int:
        return self.pads[axis][0]


@dataclass(slots=True)
class Layout:
    places: dict[str, Place]
    slabs: dict[str, list[str]]  # slab -> its definitions in column order
    kept: frozenset[str] = frozenset()  # definitions that a backward run will read
    columns: dict[str, tuple[str, int]] = field(init=False)  # definition -> its slab and its place there

    def __post_init__(self) -> None:
        self.columns = {n: (slab, i) for slab, names in self.slabs.items() for i, n in enumerate(names)}


def identifier(name: str, taken: Container[str]) -> str:
    """A Python name for a stream's name, unlike those already taken."""
    base = re.sub(r"\W", "_", name)
    candidate, k = base, 2
    while candidate in taken:
        candidate, k = f"{base}_{k}", k + 1
    return candidate


def paddings(
    definitions: Mapping[str, Definition], system: System, extra: Mapping[str, Pads] | None = None
) -> dict[str, Pads]:
    """How far past its ends each definition is read, along each axis. An index that is not a plain shift
    is clamped to step -1 when it falls outside, so it needs one padding step in front."""
    pads: dict[str, Pads] = {n: {a: (0, 0) for a in d.axes} for n, d in definitions.items()}
    for name, wanted in (extra or {}).items():
        if name in pads:
            pads[name].update(wanted)
    for definition in definitions.values():
        for read in reads(definition):
            source = definitions.get(read.name)
            if source is None:
                continue
            for axis, index in zip(source.axes, read.index, strict=True):
                front, back = pads[read.name][axis]
                if index.is_shift and index.axis == axis:
                    offset = offset_value(system, index.offset)
                    front, back = max(front, -offset), max(back, offset)
                else:
                    front = max(front, 1)
                pads[read.name][axis] = (front, back)
    return pads


@dataclass
class _Builder:
    arrangement: Arrangement
    pads: dict[str, Pads]
    keep: frozenset[str]
    taken: set[str] = field(default_factory=set)

    def build(self, kept: Mapping[str, Place]) -> Layout:
        definitions = self.arrangement.normal.definitions
        local = self._local()
        windows = self._windows() - local
        places: dict[str, Place] = {}
        for name, d in definitions.items():
            ident = identifier(name, self.taken)
            self.taken.add(ident)
            category = d.dtype == "category"
            if d.kind == "kept":
                there = kept[name]
                places[name] = Place(
                    name, ident, "J" if category else "F", there.axes, there.pads, there.shape, name, False, "F"
                )
                continue
            nest = self.arrangement.nests[self.arrangement.home[name]]
            axes = tuple(a for a in d.axes if not (name in local and a == nest.axis))
            pads = {a: p for a, p in self.pads[name].items() if a in axes}
            window = nest.axis if nest.axis is not None and name in windows else ""
            array = "I" if category else "A"
            places[name] = Place(name, ident, array, axes, pads, d.shape, name, name in local, name, window)
        slabs = self._slabs(places)
        return Layout(places, slabs, self.keep)

    def _local(self) -> set[str]:
        """Definitions that live within one step of their nest."""
        definitions, nests, home = self.arrangement.normal.definitions, self.arrangement.nests, self.arrangement.home
        local: set[str] = set()
        for name, d in definitions.items():
            if d.kind in ("kept", "load", "total", "outer", "scatter") or d.wanted or name in self.keep:
                continue
            nest = nests[home[name]]
            if nest.axis in d.axes and nest.section.get(name) == STEP and nest.recurrent and not nest.skew:
                local.add(name)
        early = {
            name
            for nest in nests
            for s, item in nest.items
            if isinstance(item, Products) and s != STEP
            for name, _, _ in item.terms
        }
        local -= early
        for reader, d in definitions.items():
            for read in reads(d):
                self._judge(reader, read, local)
        users = [(nest, s, item) for nest in nests for s, item in nest.items if isinstance(item, Group)]
        stored = self.arrangement.normal.stored
        for nest, section, item in users:  # values loaded where an expression would be computed again
            for name in item.outputs:
                for node in postorder(definitions[name].expressions()):
                    held = stored.get(node)
                    if held in local and (section != STEP or nests[home[held]] is not nest):
                        local.discard(held)
        return local

    def _judge(self, reader: str, read: Read, local: set[str]) -> None:
        if read.name not in local:
            return
        nests, home = self.arrangement.nests, self.arrangement.home
        nest = nests[home[read.name]]
        axes = self.arrangement.normal.definitions[read.name].axes
        at = read.index[axes.index(nest.axis or "")]
        same = home.get(reader) == home[read.name] and nest.section.get(reader) == STEP
        if not (same and at.is_identity and at.axis == nest.axis) or reader in self.keep:
            local.discard(read.name)

    def _windows(self) -> set[str]:
        """Definitions that only their own nest reads, never ahead of its loop."""
        definitions, nests, home = self.arrangement.normal.definitions, self.arrangement.nests, self.arrangement.home
        found = {n for n, d in definitions.items() if n in home and self._passing(n, d)}
        for reader, d in definitions.items():
            if isinstance(d.boundary, str):
                found.discard(d.boundary)
            for read in reads(d):
                if read.name in found and not self._behind(reader, read):
                    found.discard(read.name)
        stored = self.arrangement.normal.stored
        for nest in nests:  # values loaded where an expression would be computed again
            for _, item in nest.items:
                for name in item.outputs if isinstance(item, Group) else ():
                    for node in postorder(definitions[name].expressions()):
                        held = stored.get(node)
                        if held in found and nests[home[held]] is not nest:
                            found.discard(held)
        return found

    def _passing(self, name: str, d: Definition) -> bool:
        """Whether nothing but reads could ask for all its steps at once."""
        nest = self.arrangement.nests[self.arrangement.home[name]]
        if d.kind in ("kept", "total", "outer", "scatter") or name in self.keep or nest.skew:
            return False
        others = [pad for a, pad in self.pads[name].items() if a != nest.axis]
        return nest.axis in d.axes and not any(f or b for f, b in others)

    def _behind(self, reader: str, read: Read) -> bool:
        home = self.arrangement.home
        nest = self.arrangement.nests[home[read.name]]
        assert nest.axis is not None
        system, axes = self.arrangement.normal.system, self.arrangement.normal.definitions[read.name].axes
        shift = shift_of(system, read, axes, nest.axis)
        return home.get(reader) == home[read.name] and shift is not None and shift * nest.direction <= 0

    # ------------------------------------------------------------ slabs

    def _slabs(self, places: dict[str, Place]) -> dict[str, list[str]]:
        """Definitions that products would stack, side by side; the order with the fewest separate runs."""
        definitions = self.arrangement.normal.definitions
        families: list[list[str]] = []  # each: definitions that one product reads or feeds
        for nest in self.arrangement.nests:
            for _, item in nest.items:
                if isinstance(item, Products):
                    families += self._families(item)
                elif isinstance(item, Outers):
                    families += self._left_operands(item)
        parent = {n: n for n in places}

        def root(n: str) -> str:
            while parent[n] != n:
                n = parent[n]
            return n

        for family in families:
            alike = [n for n in dict.fromkeys(family) if self._stackable(n, family[0], places)]
            for n in alike[1:]:
                parent[root(n)] = root(alike[0])
        groups: dict[str, list[str]] = {}
        for n, place in places.items():
            if place.array == "A":
                groups.setdefault(root(n), []).append(n)
        slabs: dict[str, list[str]] = {}
        related: dict[str, list[list[str]]] = {}
        for family in families:
            within: dict[str, list[str]] = {}
            for n in dict.fromkeys(family):
                within.setdefault(root(n), []).append(n)
            for head, part in within.items():
                if len(part) > 1:
                    related.setdefault(head, []).append(part)
        for head, members in groups.items():
            number = {n: k for k, n in enumerate(members)}
            known = [tuple(number[n] for n in f if n in number) for f in related.get(head, [])]
            order = _fewest_runs(len(members), tuple(f for f in known if len(f) > 1))
            ordered = [members[k] for k in order]
            for n in ordered:
                places[n].slab = ordered[0]
                shared = {
                    a: (max(places[m].pads[a][0] for m in members), max(places[m].pads[a][1] for m in members))
                    for a in places[n].axes
                }
                places[n].pads = shared
            slabs[ordered[0]] = ordered
        for n, place in places.items():
            if place.array == "I":
                slabs[n] = [n]
        del definitions
        return slabs

    @staticmethod
    def _families(item: Products) -> list[list[str]]:
        by_operand: dict[tuple[object, bool], list[str]] = {}
        by_target: dict[tuple[str, object], list[str]] = {}
        for name, term, _ in item.terms:
            by_operand.setdefault((term.operand, term.transposed), []).append(name)
            by_target.setdefault((name, term.operand.index), []).append(term.operand.name)
        return [f for f in (*by_operand.values(), *by_target.values()) if len(set(f)) > 1]

    def _left_operands(self, item: Outers) -> list[list[str]]:
        by_right: dict[tuple[object, object], list[str]] = {}
        for name in item.names:
            left, right = (o.leaf for o in self.arrangement.normal.definitions[name].operands)
            assert isinstance(left, Read) and isinstance(right, Read)
            by_right.setdefault((right, left.index), []).append(left.name)
        return [f for f in by_right.values() if len(set(f)) > 1]

    def _stackable(self, name: str, other: str, places: Mapping[str, Place]) -> bool:
        a, b = places[name], places[other]
        home = self.arrangement.home
        same = a.array == b.array == "A" and a.axes == b.axes and len(a.shape) == 1 == len(b.shape)
        return (
            same
            and (a.local, a.window) == (b.local, b.window)
            and home[name] == home[other]
            and all(self.arrangement.normal.definitions[n].kind != "load" for n in (name, other))
        )


@cache
def _fewest_runs(count: int, families: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """The order of things 0, 1, … in which families are most nearly contiguous: of all orders when few, else greedy.

    Remembered, since the layers of a stack ask the same.
    """

    def runs(order: Iterable[int]) -> int:
        at = {n: i for i, n in enumerate(order)}
        total = 0
        for family in families:
            places = sorted(at[n] for n in family)
            total += 1 + sum(b != a + 1 for a, b in zip(places, places[1:], strict=False))
        return total

    members = range(count)
    if count <= 1 or not families:
        return tuple(members)
    if count <= 7:
        return min(itertools.permutations(members), key=runs)
    order: dict[int, None] = {}
    for family in sorted(families, key=len, reverse=True):
        order.update(dict.fromkeys(family))
    return (*order, *(n for n in members if n not in order))


def lay_out(
    arrangement: Arrangement, kept: Mapping[str, Place] | None = None, keep: Mapping[str, Pads] | None = None
) -> Layout:
    """Places for all definitions. `keep`: definitions that a backward run will read, and how far past their ends;
    `kept`: where the forward run put what this one reads."""
    definitions = arrangement.normal.definitions
    pads = paddings(definitions, arrangement.normal.system, keep)
    return _Builder(arrangement, pads, frozenset(keep or ())).build(kept or {})


def shifted(place_axes: tuple[str, ...], read: Read) -> bool:
    return is_shifted(read, place_axes)


__all__ = ["AFTER", "Layout", "Pads", "Place", "identifier", "lay_out", "paddings"]
