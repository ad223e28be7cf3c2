"""Features in a loop nest: values as instances, reductions over features as contractions, the nest's lines.

An *instance* is a node together with the loops that run over its features: a transpose swaps them, an outer product
gives each factor one. A contraction is a nest over more dims than its result has: a sum over features, a product
of matrices. Knows nothing of memory or of what surrounds a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dsl.system.dims import Dim
from tinygrad_seq.symbol import Symbol

FOLDS = {
    "sum": ("real(0.0)", "{0} + {1}"),
    "max": ("-infinity", "maximum({0}, {1})"),
    "min": ("infinity", "minimum({0}, {1})"),
}

Shape = tuple[Dim, ...]
Loops = tuple[int, ...]  # for each dim of a value, the loop of the nest that runs over it
Instance = tuple[Symbol, Loops]


@dataclass(slots=True)
class Address:
    """A row in memory: the arrays' name, the row's offset as text, and the names of its load and store."""

    array: str
    offset: str
    load: str
    store: str


@dataclass(slots=True)
class Output:
    """`mode`: set, or a reduction to accumulate with; `start` a feature offset within the row, of which it may be a
    `stretch`: then what lies behind it is another's."""

    value: Symbol | None  # None: zeros
    address: Address
    mode: str = "set"
    start: str = "0"
    shape: Shape = ()
    stretch: bool = False


@dataclass(frozen=True, slots=True)
class Contraction:
    """A reduction as a loop nest over `space`: the result's dims among its loops, and what is multiplied.

    Of `categorical_icdf` the result is an integer, and `bound` what the running sum must not exceed.
    """

    space: Shape
    kept: Loops
    factors: tuple[Instance, ...]
    how: str  # sum, max, min or categorical_icdf
    bound: Symbol | None = None

    @property
    def running(self) -> bool:
        """Whether one variable can hold the result of the inner loops."""
        return self.kept == tuple(range(len(self.kept)))


def reduction(node: Symbol, space: Shape) -> Contraction:
    """A sum, maximum or minimum over some features of an argument of this shape."""
    assert node.op is not None
    axis = node.options.get("axis")
    axes = range(len(space)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = {a % len(space) for a in axes}
    kept = tuple(k for k in range(len(space)) if k not in gone)
    return Contraction(space, kept, ((node.args[0], tuple(range(len(space)))),), node.op.name)


def matrix_product(node: Symbol, shape: Callable[[Symbol], Shape], stored: Callable[[Symbol], bool]) -> Contraction:
    """The order of loops that reads a left factor as it lies in memory, transposed or not."""
    left, right = node.args
    turned = left.is_op("transpose") and not stored(left)
    if turned:
        left = left.args[0]
    a, b = shape(left)[-2:], shape(right)
    if node.is_op("matvec"):
        return Contraction(a, (1,) if turned else (0,), ((left, (0, 1)), (right, (0,) if turned else (1,))), "sum")
    if turned:  # k, i, j
        return Contraction((*a, b[-1]), (1, 2), ((left, (0, 1)), (right, (0, 2))), "sum")
    if right.is_op("transpose") and not stored(right):  # i, j, k
        return Contraction((a[0], b[1], a[1]), (0, 1), ((left, (0, 2)), (right.args[0], (1, 2))), "sum")
    return Contraction((*a, b[-1]), (0, 2), ((left, (0, 1)), (right, (1, 2))), "sum")


class Nest:
    """The loops over one shape: lines in front of each inner loop and behind it, and the rows they address."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.rows: dict[str, str] = {}
        self.inside: list[list[str]] = [[] for _ in range(rank + 1)]  # inside[d] stands within d loops
        self.behind: list[list[str]] = [[] for _ in range(rank + 1)]

    def loop(self, depth: int) -> str:
        return "j" if depth == self.rank - 1 else f"i_{depth}"
