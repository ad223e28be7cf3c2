"""The names of a random cell, and reads of its streams at legal indices.

Streams that earlier stages finished are read at any index, and the recurrence being written only at offsets that some
order of steps allows: every stream of a recurrence has a potential p, and `v_j[t+d]` may be read by `v_i` when
d < p_i - p_j (mirrored for a backward recurrence), so skewed systems such as `a[t] = b[t+1]`, `b[t] = a[t-2]` occur,
too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.differential.words import DERIVED

Item = TypeVar("Item")


@dataclass(frozen=True)
class Stream:
    """What may be read: `dim` None is a scalar; `boundary` tells whether reads outside are legal; `sort` is real,
    category, complex, or matrix (of dim by H)."""

    name: str
    axes: tuple[str, ...]
    dim: str | None
    boundary: bool = False
    sort: str = "real"


@dataclass
class Recurrence:
    """The streams being defined together on `axis`, in order; a stream may read `d` further as `reach` tells."""

    axis: str
    sign: int  # -1 reads the past, +1 the future
    members: list[Stream]
    potentials: list[int]

    def reach(self, reader: int, member: int) -> int:
        """The offset nearest to the present (or beyond it) at which `reader` may read `member`, before the sign."""
        slack = self.potentials[reader] - self.potentials[member]
        return slack if member < reader else slack - 1


class Reads:
    """A cell being written: its names so far, and what may be read where. Every choice is the generator's."""

    def __init__(self, rng: random.Random, name: str, facts: set[str], wish: str | None = None) -> None:
        self.rng, self.name, self.facts, self.wish = rng, name, facts, wish
        self.declarations: list[str] = []
        self.body: list[str] = []
        self.streams: list[Stream] = []
        self.params: list[tuple[str, tuple[str, ...]]] = []
        self.derived: dict[str, tuple[str, str]] = {}  # axis -> (its base, its length as text)
        self.empty: set[str] = set()  # axes that may have no step
        self.unread: list[Stream] = []
        self.loop: Recurrence | None = None
        self.reader = 0
        self.count = 0
        self.dims = ["D", "H"]
        self.depth = 0  # more of it in larger cells
        self.integers = name == "Random"  # the header has j, an integer argument for offsets

    # ---------------------------------------------------------------- names and leaves

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.rng.randrange(len(items))]

    def param(self, *shape: str, sort: str = "") -> str:
        """A parameter of that shape: sometimes one that exists already."""
        known = [n for n, s in self.params if s == (sort, *shape)]
        if known and self.chance(0.3):
            return self.pick(known)
        name = self.fresh(("W" if len(shape) == 2 else "b" if shape else "a") + sort[:1])
        self.params.append((name, (sort, *shape)))
        kind = f"({', '.join(shape)})" if len(shape) == 2 else shape[0] if shape else "scalar"
        if sort:
            self.declarations.append(f"param {name}: {sort} {kind} ~ uniform(-1, 1)")
            return name
        start = (
            self.pick(["~ glorot", "~ normal(0, 1)"])
            if len(shape) == 2
            else self.pick(["= 0", "= 1", "~ uniform(-1, 1)"])
        )
        self.declarations.append(f"param {name}: {kind} {start}")
        return name

    def index(self, stream: Stream, axes: tuple[str, ...]) -> str | None:
        """A legal index for a finished stream, or None when its axes cannot be reached from `axes`."""
        parts = []
        for a in stream.axes:
            forms: list[str] = []
            if a in axes:
                forms += [a] * 4 + [f"len({a})-1-{a}"]
                if stream.boundary:
                    d = self.far(self.rng.randint(1, 3))
                    forms += [f"{a}-{d}", f"{a}+{d}"] * 2 + [
                        f"2*{a}",
                        f"2*{a}-1",
                        f"{a}//2",
                        f"({a}+1)//2",
                        f"({a}-3)//2",
                    ]
            for u, (base, length) in self.derived.items():
                _, of_base, of_derived = DERIVED[length]
                if base == a and u in axes:
                    forms += [f.format(u=u, t=base) for f in of_base] * 2
                    forms += [f"2*{u}-1", f"2*{u}+2", f"({u}+1)//2"] * stream.boundary
                if u == a and base in axes:
                    forms += [f.format(u=u, t=base) for f in of_derived] * 2
                    forms += [f"{base}//2", f"({base}-1)//2", f"3*{base}+1", f"{base}-1"] * stream.boundary
            if stream.boundary:
                forms += ["0", f"len({a})-2"] if a in axes else ["0", "2", f"len({a})-1", f"len({a})-2"]
            if not forms:
                return None
            form = self.pick(forms)
            self.note_form(a, form)
            parts.append(form)
        return ",".join(parts)

    def far(self, d: int) -> str:
        """An offset, as a number or as the integer argument j (which is 2)."""
        if d == 2 and self.integers and self.chance(0.4):
            self.facts.add("integer argument")
            return "j"
        return str(d)

    def note_form(self, axis: str, form: str) -> None:
        if form.startswith(f"{axis}-"):
            self.facts.add("lag -")
        elif form.startswith(f"{axis}+"):
            self.facts.add("lag +")
        kind = (
            "flip"
            if f"-1-{axis}" in form
            else "floor"
            if "//" in form
            else "stride"
            if "*" in form
            else "end"
            if "len" in form
            else ""
        )
        if kind or form.isdigit():
            self.facts.add(f"index {kind or 'constant'}")

    def read(self, axes: tuple[str, ...], dim: str | None, sort: str = "real") -> str | None:
        """A read of some stream with that feature dim; None when there is none."""
        options: list[str] = []
        finished = [s for s in self.streams if s.dim == dim and s.sort == sort]
        self.rng.shuffle(finished)
        for s in finished[:3]:
            if not s.axes:
                options.append(s.name)
                continue
            where = self.index(s, axes)
            if where is not None:
                options.append(f"{s.name}[{where}]")
                self.unread = [u for u in self.unread if u.name != s.name]
        if self.loop and self.loop.axis in axes:
            for j, s in enumerate(self.loop.members):
                if s.dim == dim and s.sort == sort and set(s.axes) <= set(axes):
                    d = self.loop.reach(self.reader, j) - self.pick([0, 0, 0, 1, 2])
                    if len(s.axes) > 1 and self.chance(0.4):
                        options += [f"{s.name}[{self.sideways(s)}]"] * 3
                    elif d == 0 or s.boundary:
                        options += [f"{s.name}[{self.shifted(s, d)}]"] * 3
        return self.pick(options) if options else None

    def shifted(self, stream: Stream, distance: int) -> str:
        """Indices of a member of the recurrence, `distance` steps on along its direction (negative: already done)."""
        assert self.loop
        d = -self.loop.sign * distance
        axis = self.loop.axis
        if d:
            self.facts.add("lag -" if d < 0 else "lag +")
        moved = axis if d == 0 else f"{axis}{'+' if d > 0 else '-'}{self.far(abs(d))}"
        others = [a for a in stream.axes if a != axis]
        if others and distance < 0 and stream.boundary and self.chance(0.4):
            others = [self.pick([f"{a}-1", f"{a}+1"]) for a in others]
        rest = iter(others)
        return ",".join(moved if a == axis else next(rest) for a in stream.axes)

    def sideways(self, stream: Stream) -> str:
        """Indices of a member of a grid's recurrence at the same step of the loop, one back on the other axis."""
        assert self.loop
        self.facts |= {"scan of two axes", "lag -"}
        return ",".join(a if a == self.loop.axis else f"{a}-1" for a in stream.axes)
