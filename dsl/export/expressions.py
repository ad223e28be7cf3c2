"""Operations of a system on arrays: where the features of a value stand, and what the axes of a reduction are.

An elementwise primitive is the array operation of its name; any other has a line in `STRUCTURE`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dsl.export.arrays import Array, Arrays
from dsl.export.lacking import lacking
from dsl.export.reads import Reads
from dsl.export.streams import Place, Span
from dsl.run.program import settled, sizes
from dsl.system.kinds import REDUCTIONS, Kind, binds, named_axis
from dsl.system.system import Extent, Position, Present, Read, Size, Stream
from tinygrad_seq.symbol import Symbol, postorder

DEFAULTS = {"leaky_relu": {"slope": 0.1}, "elu": {"alpha": 1.0}}
ALL_STEPS_AT_ONCE = ("matvec", "matmul", "lookup")  # of what lies outside a loop: one product for all its iterations


@dataclass(frozen=True, slots=True)
class Operation:
    """A node whose arguments are arrays: what `STRUCTURE` reads."""

    o: Arrays
    args: Sequence[Array]
    kinds: Sequence[Kind]
    kind: Kind
    options: dict[str, Any]


def _matvec(op: Operation) -> Array:
    o, (w, x) = op.o, op.args
    if op.kinds[0].shared:
        return o.matmul(x, o.transpose(w))
    column = o.matmul(w, o.behind(x, 1))
    return o.make("squeeze", (column,), (), column.sizes[:-1], column.kind)


def _outer(op: Operation) -> Array:
    o, (a, b) = op.o, op.args
    return o("mul", o.behind(a, 1), o.expand(b, (*(False,) * (b.rank - 1), True, False)))


def _one_hot(op: Operation) -> Array:
    o, index = op.o, op.args[0]
    return o.cast(o("equal", o.behind(index, 1), o.arange(sizes(op.kind.shape)[-1])), "real")


def _cross_entropy(op: Operation) -> Array:
    o, (logits, target) = op.o, op.args
    rows = (*target.sizes, logits.sizes[-1]) if target.rank >= logits.rank - 1 else logits.sizes
    return o.call("cross_entropy", o.broadcast(logits, rows), o.broadcast(target, rows[:-1]))


def _fill(op: Operation) -> Array:
    o, shape = op.o, sizes(op.kind.shape)
    x = o.behind(op.args[0], len(shape))
    return o.broadcast(x, shape if x.is_number or op.kind.shared else (*x.sizes[: -len(shape)], *shape))


def _reduction(name: str) -> Callable[[Operation], Array]:
    def reduce(op: Operation) -> Array:
        axes = op.options.get("axis", -1)
        x = op.args[0]
        keep = bool(op.options.get("keepdims"))
        for k, axis in enumerate(sorted((axes,) if isinstance(axes, int) else axes, reverse=True)):
            x = op.o.reduce(name, x, axis if keep else axis + k, keep)
        return x

    return reduce


def _along(name: str) -> Callable[[Operation], Array]:
    return lambda op: op.o.along(name, op.args[0], op.options.get("axis", -1))


def _called(name: str) -> Callable[[Operation], Array]:
    return lambda op: op.o.call(name, *op.args)


STRUCTURE: dict[str, Callable[[Operation], Array]] = {
    "matvec": _matvec,
    "matmul": lambda op: op.o.matmul(*op.args),
    "dot": lambda op: op.o.reduce("sum", op.o("mul", *op.args), -1),
    "outer": _outer,
    "transpose": lambda op: op.o.transpose(op.args[0]),
    "lookup": _called("columns"),
    "one_hot": _one_hot,
    "cross_entropy": _cross_entropy,
    "concat": lambda op: op.o.join(list(op.args)),
    "part": lambda op: op.o.part(op.args[0], op.options["start"], op.options["size"]),
    "fill": _fill,
    "expand": lambda op: op.o.behind(op.args[0], 1),
    "stop_gradient": lambda op: op.o.make("stop_gradient", (op.args[0],), (), op.args[0].sizes, op.args[0].kind),
    **{name: _reduction(name) for name in REDUCTIONS},
    **{name: _along(name) for name in ("softmax", "log_softmax", "fft", "ifft", "cumsum")},
    **{name: _called(name) for name in ("reflect", "reflect_adjoint", "permute", "unpermute", "categorical_icdf")},
}


class Expressions(Reads):
    """Evaluates expressions, each node once a place."""

    def expression(self, root: Symbol, place: Place) -> Array:
        """A value (open..., B, features); of what is shared the features alone."""
        made: dict[tuple[Symbol, Place], Array] = {}
        stack: list[tuple[Symbol, Place, bool]] = [(root, place, False)]
        while stack:
            node, here, done = stack.pop()
            if (node, here) in made:
                continue
            outer = self._outside(node, here)
            below = outer or self._below(node, here)
            needs = [(node, below)] if outer else [(a, below) for a in node.args]
            if not done:
                stack.append((node, here, True))
                stack.extend((*n, False) for n in reversed(needs) if n not in made)
                continue
            args = [made[n] for n in needs]
            if outer is None:
                made[node, here] = self._node(node, here, args)
            else:
                loop, value = here.loops[-1], args[0]
                if len(outer.open) > len(here.open):
                    whole = value if outer.open[0] == here.span(loop) else self.delayed(value, here.span(loop))
                    value = self.sliced(whole, loop)
                made[node, here] = value
        return made[root, place]

    def _outside(self, node: Symbol, here: Place) -> Place | None:
        """The place around the innermost loop, for a read of what lies there, for a product of such, and for what runs
        over all steps of an axis that a loop is in the middle of."""
        axis = named_axis(node)
        if axis is not None and axis in here.axes_of_loops:
            loop = here.loops[-1]
            opened = loop.axis in self.kinds.of(node).axes
            return here.outside(opened, whole=loop.axis == axis)
        if not here.loops or not (node.op is None or node.op.name in ALL_STEPS_AT_ONCE):
            return None
        loop = here.loops[-1]
        if node.op is not None and not here.span(loop).is_plain and any(named_axis(n) for n in postorder([node])):
            return None
        if any(self.is_made_in(loop, read, here) for read in self.reads_of(node)):
            return None
        return here.outside(loop.axis in self.kinds.of(node).axes)

    def _below(self, node: Symbol, here: Place) -> Place:
        axis = named_axis(node)
        if axis is None or any(s.axis == axis and s.is_plain for s in here.open):
            return here
        return here.of(here.reader, (Span(axis, f"steps_{axis}"), *here.open))

    def shape(self, kind: Kind) -> tuple[int, ...]:
        """Feature dims of an array of this kind."""
        return () if kind.dtype == "category" else sizes(kind.shape)

    def _node(self, node: Symbol, here: Place, args: list[Array]) -> Array:
        if node.op is None:
            return self._leaf(node, here)
        if named_axis(node) is not None:
            return self._over_time(node, here, args[0])
        o, name, options = self.o, node.op.name, settled(node.options)
        kinds, kind = [self.kinds.of(a) for a in node.args], self.kinds.of(node)
        if name in STRUCTURE:
            return STRUCTURE[name](Operation(o, args, kinds, kind, options))
        if not node.op.elementwise:
            raise lacking(self.system, name)
        rank = max(len(self.shape(k)) for k in kinds)
        args = [a if k.shared or self.shape(k) else o.behind(a, rank) for a, k in zip(args, kinds, strict=True)]
        options = {**DEFAULTS.get(name, {}), **options}
        if name in DEFAULTS:
            return o.call(name, *args, *map(o.number, options.values()))
        return o(name, *args, **options)

    def _over_time(self, node: Symbol, here: Place, x: Array) -> Array:
        """A reduction over the steps that each sequence has."""
        assert node.op is not None
        o, axis, name, below = self.o, named_axis(node), node.op.name, self._below(node, here)
        assert axis is not None
        kind = self.kinds.of(node.args[0])
        features = len(self.shape(kind))
        place = below.axes.index(axis) - len(below.open) - 1 - features
        have = o.behind(self.aligned(self.steps_had(below.open[below.axes.index(axis)]), (axis,), below.open), features)
        nothing = 0.0 if name in ("sum", "mean") else float("inf") if name == "min" else float("-inf")
        x = o("where", have, self.o.full(x, (), "real") if x.is_number else x, nothing)
        if binds(node) is None:
            return o("where", have, o.along(name, x, place), 0.5 if name == "softmax" else -0.5)  # nothing singular
        keep = axis in here.axes
        total = o.reduce("sum" if name == "mean" else name, x, place, keep)
        if name != "mean":
            return total
        return o("div", total, o.behind(o.cast(self.lengths[axis], "real"), features))

    # ------------------------------------------------------------ leaves

    def _leaf(self, node: Symbol, here: Place) -> Array:
        leaf: Any = node.leaf
        if isinstance(leaf, Read):
            return self.read(leaf, here)
        if isinstance(leaf, Position):
            return self.position(leaf, here)
        if isinstance(leaf, Present):
            return self.present(leaf, here)
        if isinstance(leaf, Extent):
            return self.length(leaf, here)
        return self.o.number(int(leaf.dim) if isinstance(leaf, Size) else leaf)

    def boundary(self, stream: Stream) -> Array:
        root = stream.boundary
        assert root is not None
        value, kind = self.expression(root, Place()), self.kinds.of(root)
        if not kind.shared and not kind.shape:
            value = self.o.behind(value, len(self.features(stream)))
        return value
