"""What an arrangement is made of: loop nests, their sections, and the items in these. Data; nothing here decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from dsl.plan.definitions import Normal, Term

BEFORE, STEP, AFTER = "before", "step", "after"


@dataclass(slots=True)
class Group:
    """Definitions computed in one loop over rows (and over `inner` axes within a row)."""

    inner: tuple[str, ...]
    outputs: list[str]
    available: frozenset[str] = frozenset()  # definitions in memory when it runs
    lags: tuple[int, ...] = (0,)  # turns by which its step lags, for each loop around it


Entry = tuple[str, Term, bool]  # an accumulator, a product into it, and whether it overwrites


@dataclass(slots=True)
class Products:
    """Products run together; the first product into an accumulator overwrites it."""

    terms: list[Entry]
    lags: tuple[int, ...] = (0,)


@dataclass(slots=True)
class Transfer:
    """Copies rows between a caller's array and memory: `load` an input, `unload` a wanted value."""

    kind: str
    name: str


@dataclass(slots=True)
class Outers:
    """Sums of outer products over a chunk's steps."""

    names: list[str]


@dataclass(slots=True)
class Loop:
    """A recurrence over a further axis within one step of another; `skew` as a nest's."""

    axis: str
    direction: int
    members: frozenset[str]
    skew: dict[str, int]
    items: list[Item] = field(default_factory=list)


Item = Group | Products | Transfer | Outers | Loop


@dataclass(slots=True)
class Nest:
    """A loop over `axis` (None: once a sequence) in `direction`; its sections' items in order."""

    axis: str | None
    direction: int
    members: list[str]
    recurrent: frozenset[str]
    skew: dict[str, int] = field(default_factory=dict)  # of recurrent definitions that lag behind the loop
    loops: dict[str, tuple[Loop, ...]] = field(default_factory=dict)  # the loops around a definition, within this one
    stage: int = 0  # how many times it waits for totals over all sequences
    sections: dict[str, list[Item]] = field(default_factory=lambda: {BEFORE: [], STEP: [], AFTER: []})
    section: dict[str, str] = field(default_factory=dict)

    @property
    def items(self) -> list[tuple[str, Item]]:
        """All items but loops, in order."""
        found: list[tuple[str, Item]] = []
        stack = [(s, i) for s in (AFTER, STEP, BEFORE) for i in reversed(self.sections[s])]
        while stack:
            section, item = stack.pop()
            if isinstance(item, Loop):
                stack += [(section, i) for i in reversed(item.items)]
            else:
                found.append((section, item))
        return found

    def around(self, name: str) -> tuple[Nest | Loop, ...]:
        """The loops around a definition, this one first."""
        return (self, *self.loops.get(name, ()))

    def lags(self, name: str) -> tuple[int, ...]:
        return tuple(loop.skew.get(name, 0) for loop in self.around(name))


@dataclass
class Arrangement:
    normal: Normal
    nests: list[Nest]
    home: dict[str, int]  # definition -> its nest
    spilled: list[str]
