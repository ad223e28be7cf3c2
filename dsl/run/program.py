"""A system prepared for the literal engine: the schedule and each expression's nodes in order.

What depends on the system alone is found here once, so that many runs (a generation runs one step after the
other) need not repeat it. It knows nothing of batches or values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dsl.plan.schedule import Block, Vector, schedule
from dsl.system.dims import Dim
from dsl.system.gates import conditions, gated
from dsl.system.guards import Finite
from dsl.system.kinds import Kinds, named_axis
from dsl.system.system import Extent, Position, Read, System
from tinygrad_seq.symbol import Symbol, leaves, postorder


@dataclass(slots=True)
class Evaluation:
    """A node of an expression with what evaluating it takes.

    args     positions of its arguments in the expression's list
    axes     its time axes; the equation's value is read off it at those
    shape    feature shape
    rank     feature rank (0 for what is no array: a shape, a size)
    shared   one value for all sequences, held without a batch axis
    over     the axis a whole-axis reduction or softmax runs over
    bound    the axes that reductions around it run over: it is evaluated at every step of them
    lasting  its value serves several points of the equation and is kept
    """

    symbol: Symbol
    args: tuple[int, ...]
    axes: tuple[str, ...]
    shape: Any
    rank: int
    shared: bool
    over: str | None
    options: dict[str, Any]
    bound: set[str] = field(default_factory=set)
    lasting: bool = False


def _poles(system: System) -> tuple[bool, frozenset[str]]:
    finite = Finite(system.streams, system.equations)
    seen = (*system.outputs, *system.losses)
    return bool(finite.doubtful), frozenset(conditions(system, seen, finite, Kinds(system.streams)))


class Prepared:
    """A bound system's schedule and expressions, each looked at once.

    poles    whether anything in it may be infinite
    settled  equations that have no cotangent where some condition does not hold: there 0 stays 0
    """

    def __init__(self, system: System) -> None:
        self.system = system = gated(system)
        self.kinds = Kinds(system)
        self.poles, self.settled = _poles(system)
        self._blocks: tuple[Block, ...] | None = None
        self._plans: dict[tuple[Symbol, tuple[str, ...]], list[Evaluation]] = {}

    @property
    def blocks(self) -> tuple[Block, ...]:
        if self._blocks is None:
            self._blocks = schedule(self.system)
        return self._blocks

    def plan(self, root: Symbol, axes: tuple[str, ...]) -> list[Evaluation]:
        """The nodes of an expression that lives on `axes`, children first."""
        key = (root, axes)
        if key not in self._plans:
            self._plans[key] = self._plan(root, axes)
        return self._plans[key]

    def _plan(self, root: Symbol, axes: tuple[str, ...]) -> list[Evaluation]:
        self.kinds.of(root)
        plan: list[Evaluation] = []
        at: dict[Symbol, int] = {}
        for symbol in postorder([root]):
            kind = self.kinds.of(symbol)
            shape = sizes(kind.shape) if isinstance(kind.shape, tuple) else kind.shape
            node = Evaluation(
                symbol,
                tuple(at[a] for a in symbol.args),
                kind.axes,
                shape,
                len(shape) if isinstance(shape, tuple) else 0,
                kind.shared,
                named_axis(symbol),
                settled(symbol.options) if symbol.op is not None else {},
            )
            at[symbol] = len(plan)
            plan.append(node)
        for node in reversed(plan):
            for i in node.args:
                plan[i].bound |= node.bound
                if node.over is not None:
                    plan[i].bound.add(node.over)
        for node in plan:
            node.lasting = node.symbol.op is not None and not set(node.axes) - node.bound >= set(axes)
        return plan


def needed(system: System, want: Sequence[str], given: Mapping[str, Any]) -> tuple[str, ...]:
    """Everything that `want` depends on, stopping at what is given; names in order of discovery."""
    seen: dict[str, None] = {}
    pending = list(want)
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen[name] = None
        roots = [system.equations[name]] if name in system.equations and name not in given else []
        boundary = system.streams[name].boundary
        if boundary is not None:
            roots.append(boundary)
        pending += [n.leaf.name for root in roots for n in leaves(root) if isinstance(n.leaf, Read)]
    return tuple(seen)


def restrict(system: System, names: Iterable[str], keep: tuple[str, ...] = ()) -> System:
    """The system with these equations only, and with the streams and axes that they (and `keep`) speak of."""
    chosen = set(names)
    equations = {n: v for n, v in system.equations.items() if n in chosen}
    streams = set(chosen) | set(keep)
    axes: set[str] = set()
    own = [system.streams[n].boundary for n in system.streams if n in streams]
    pending = [*equations.values(), *(b for b in own if b is not None)]
    while pending:
        for node in postorder([pending.pop()]):
            leaf = node.leaf
            if isinstance(leaf, Read):
                axes |= {i.length for i in leaf.index if i.length is not None}
                boundary = system.streams[leaf.name].boundary
                if leaf.name not in streams and boundary is not None:
                    pending.append(boundary)
                streams.add(leaf.name)
            elif isinstance(leaf, Position | Extent):
                axes.add(leaf.axis)
            elif (over := named_axis(node)) is not None:
                axes.add(over)
    axes |= {a for n in streams for a in system.streams[n].axes}
    for name in reversed(list(system.axes)):
        length = system.axes[name].length
        if name in axes and length is not None:
            axes |= {n.leaf.axis for n in leaves(length) if isinstance(n.leaf, Extent)}
    return replace(
        system,
        axes={n: a for n, a in system.axes.items() if n in axes},
        streams={n: s for n, s in system.streams.items() if n in streams},
        equations=equations,
        draws={n: d for n, d in system.draws.items() if n in streams},
        outputs=tuple(n for n in system.outputs if n in chosen),
        losses=tuple(n for n in system.losses if n in chosen),
        aliases={n: t for n, t in system.aliases.items() if t in streams},
    )


def members_of(block: Block) -> tuple[str, ...]:
    """The equations inside a block, loops within loops included."""
    if isinstance(block, Vector):
        return block.equations
    return tuple(n for b in block.body for n in members_of(b))


def sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(d) for d in shape)


def settled(options: Mapping[str, Any]) -> dict[str, Any]:
    """Static options with dims as numbers."""

    def number(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(number(v) for v in value)
        return int(value) if isinstance(value, Dim) else value

    return {k: number(v) for k, v in options.items()}
