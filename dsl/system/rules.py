"""The engine's derivative rules, in the words of a system.

A rule read on symbols speaks of shapes and array axes (`broadcast_to(g, shape_of(x))`, `expand`,
`scatter_columns`); here these become what the language has: nothing, `fill`, `part`, `outer` with a
category. Only this file knows both vocabularies.
"""

from __future__ import annotations

import functools
from typing import Any

from dsl.system.dims import Dim
from dsl.system.kinds import Kinds, named_axis
from dsl.system.system import Extent, Read, Size, Stream
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.symbol import Symbol, apply, lift, substitute

LINEAR_WRAPPERS = ("where",)


def cotangents(node: Symbol, g: Symbol, y: Symbol, inputs: tuple[Symbol, ...], kinds: Kinds) -> list[Symbol | None]:
    """What each argument of `node` receives when `node` receives `g`, before any un-broadcast.

    A `where(c, a, 0)` in g stays outside: `where(c, rule(a), 0)`, so that a singular rule beside a
    branch not taken cannot make a NaN. Only where c is one truth for all that the rule mixes: a
    condition by unit stays with its units under a product, one by step with its steps under a softmax.
    """
    assert node.op is not None
    zero = lift(0)
    if g.is_op("neg") and g.args[0].is_op("where"):
        return [None if r is None else apply("neg", r) for r in cotangents(node, g.args[0], y, inputs, kinds)]
    if g.is_op("where") and (g.args[1] is zero or g.args[2] is zero) and stays_outside(g.args[0], node, kinds):
        condition, yes, no = g.args
        taken = no if yes is zero else yes
        inner = cotangents(node, taken, y, inputs, kinds)
        where = REGISTRY["where"]
        return [
            None if r is None else where(condition, zero, r) if yes is zero else where(condition, r, zero)
            for r in inner
        ]
    results = node.op.pullback(g, y, inputs, node.options)
    lowered = [None if r is None else _left(lower(lift(r), kinds), g) for r in results]
    return [None if r is zero else r for r in lowered]


def movers(node: Symbol, kinds: Kinds) -> tuple[Symbol, ...]:
    """The arguments with which a node's value moves: not what `stop_gradient` holds, what `//` and `sign` step over,
    or the condition of a `where`."""
    assert node.op is not None
    dtype = "complex" if any(kinds.of(a).dtype == "complex" for a in node.args) else "real"
    moves = _moves(node.op, node.static, len(node.args), dtype)
    return tuple(a for a, its in zip(node.args, moves, strict=True) if its)


@functools.lru_cache(1024)
def _moves(op: Primitive, static: tuple[tuple[str, Any], ...], count: int, dtype: str) -> tuple[bool, ...]:
    """Which arguments have a derivative, by the engine's own rule read on names."""
    names = [f"{op.name} {i}" for i in range(count + 2)]
    g, y, *inputs = (lift(Read(n)) for n in names)
    results = op.pullback(g, y, tuple(inputs), dict(static))
    scalars = Kinds({n: Stream(n, "input", dtype=dtype) for n in names})
    if op.elementwise:  # what is 0 of a real number shows among scalars
        results = tuple(None if r is None else lower(lift(r), scalars) for r in results)
    return tuple(r is not None and r is not lift(0) for r in results)


def stays_outside(condition: Symbol, node: Symbol, kinds: Kinds) -> bool:
    """Whether a condition around what `node` receives can stand around what its arguments do."""
    assert node.op is not None
    kind = kinds.of(condition)
    apart = kind.shape == () or node.op.elementwise
    return apart and named_axis(node) not in kind.axes


def _left(result: Symbol, g: Symbol) -> Symbol:
    """`g*(a*b)` as `g*a*b`, the way it is written by hand."""
    factors: list[Symbol] = []
    while result.is_op("mul") and result.args[0] is g and result.args[1].is_op("mul"):
        right = result.args[1]
        factors.insert(0, right.args[1])
        result = apply("mul", g, right.args[0])
    for factor in factors:
        result = apply("mul", result, factor)
    return result


def lower(root: Symbol, kinds: Kinds) -> Symbol:
    """Replace array-level helpers by the system's operations."""
    return substitute(root, lambda node: _change(node, kinds))


def _change(node: Symbol, kinds: Kinds) -> Symbol | None:
    if node.op is None:
        return None
    handler = _HANDLERS.get(node.op.name)
    changed: Symbol | None = handler(node, kinds) if handler is not None else None
    return changed


def _shape(symbol: Symbol, kinds: Kinds) -> tuple[Dim, ...]:
    """The feature shape that `shape_of(x)` stands for."""
    inner = symbol.args[0] if symbol.is_op("shape_of") else symbol
    return kinds.of(inner).shape


def _to_shape(node: Symbol, kinds: Kinds) -> Symbol:
    value, wanted = node.args[0], _shape(node.args[1], kinds)
    have = kinds.of(value).shape
    if have == wanted:
        return value
    if have == ():
        return apply("fill", value, dims=wanted)
    return apply("sum", value, axis=-1 if len(have) == 1 else tuple(range(-len(have), 0)))


def _size(node: Symbol, kinds: Kinds) -> Symbol:
    axis = node.options.get("axis")
    if isinstance(axis, str):
        return lift(Extent(axis))
    shape = kinds.of(node.args[0]).shape
    picked = shape if axis is None else tuple(shape[a] for a in (axis if isinstance(axis, tuple) else (axis,)))
    total = Dim.of(1)
    for dim in picked:
        total = total * dim
    return lift(int(total)) if total.is_constant else lift(Size(total))


def _reduction(node: Symbol, kinds: Kinds) -> Symbol | None:
    """Without keepdims; over the features of a scalar, nothing is left to do."""
    options = node.options
    rank = len(kinds.of(node.args[0]).shape)
    if not isinstance(options.get("axis"), str) and rank == 0 and node.op is not None:
        return node.args[0] if node.op.name in ("sum", "mean", "max", "min", "logsumexp") else None
    if "keepdims" not in options:
        return None
    kept = options.pop("keepdims")
    assert node.op is not None
    if kept and rank == 2 and options.get("axis") == -1 and node.is_op("sum"):
        # the sum of each row, as often as the row is long: in the language `sum` of a matrix is one number
        ones = apply("fill", lift(1), dims=kinds.of(node.args[0]).shape[1:])
        return apply("outer", apply("matvec", node.args[0], ones), ones)
    return Symbol.make(node.op, node.args, tuple(sorted(options.items())))


def _scatter(node: Symbol, kinds: Kinds) -> Symbol:
    g, index, shape = node.args
    return apply("outer", g, apply("one_hot", index, lift(Size(_shape(shape, kinds)[1]))))


def _embed(node: Symbol, kinds: Kinds) -> Symbol:
    total, options = _shape(node.args[1], kinds)[0], node.options
    return between(node.args[0], Dim.of(options["start"]), Dim.of(options["size"]), total)


def between(value: Symbol, start: Dim, size: Dim, total: Dim) -> Symbol:
    """`concat(zeros(start), value, zeros(total-start-size))`, empty ends left out."""
    after = total - start - size
    pieces = ([_zeros(start)] if start != 0 else []) + [value] + ([_zeros(after)] if after != 0 else [])
    return value if len(pieces) == 1 else apply("concat", *pieces)


def _zeros(size: Dim) -> Symbol:
    return apply("fill", lift(0), dims=(size,))


def _offsets(node: Symbol, kinds: Kinds) -> tuple[Dim, Dim, Dim]:
    sizes = [_shape(s, kinds)[0] for s in node.args[1:]]
    which = node.options["which"]
    start = sum(sizes[:which], Dim())
    return start, sizes[which], sum(sizes, Dim())


def _piece(node: Symbol, kinds: Kinds) -> Symbol:
    start, size, _ = _offsets(node, kinds)
    return apply("part", node.args[0], start=start, size=size)


def _place(node: Symbol, kinds: Kinds) -> Symbol:
    return between(node.args[0], *_offsets(node, kinds))


def _one_hot(node: Symbol, kinds: Kinds) -> Symbol | None:
    index = node.args[0]
    if index.op is None and isinstance(index.leaf, Read):
        categories = kinds.streams[index.leaf.name].categories
        if categories is not None:
            return (
                apply("one_hot", index, lift(Size(categories))) if node.args[1] is not lift(Size(categories)) else None
            )
    return None


def _spread(node: Symbol, kinds: Kinds) -> Symbol | None:
    """A vector of one number times a vector: the number does."""
    a, b = node.args
    for one, other in ((a, b), (b, a)):
        if one.is_op("fill") and kinds.of(other).shape == kinds.of(one).shape:
            return apply("mul", one.args[0], b) if one is a else apply("mul", a, one.args[0])
    return None


def _real(node: Symbol, kinds: Kinds) -> Symbol | None:
    return None if kinds.of(node.args[0]).dtype == "complex" else node.args[0]


def _imaginary(node: Symbol, kinds: Kinds) -> Symbol | None:
    kind = kinds.of(node.args[0])
    if kind.dtype == "complex":
        return None
    return apply("fill", lift(0), dims=kind.shape) if kind.shape else lift(0)


def _cumsum(node: Symbol, kinds: Kinds) -> Symbol | None:
    """From the last unit on: the language has sums from the first on."""
    options, x = node.options, node.args[0]
    if "reverse" not in options:
        return None
    forward = apply("cumsum", x, axis=options["axis"])
    return x + (apply("sum", x, axis=-1) - forward) if options["reverse"] else forward


_HANDLERS: dict[str, Any] = {
    "cumsum": _cumsum,
    "broadcast_to": _to_shape,
    "sum_to": _to_shape,
    "expand": lambda node, kinds: node.args[0],
    "squeeze": lambda node, kinds: node.args[0],
    "size": _size,
    "settle": lambda node, kinds: node.args[0],
    "scatter_columns": _scatter,
    "outer_sum": lambda node, kinds: apply("outer", *node.args[:2]),
    "embed": _embed,
    "piece": _piece,
    "place": _place,
    "one_hot": _one_hot,
    "mul": _spread,
    "conj": _real,
    "re": _real,
    "im": _imaginary,
    **dict.fromkeys(("sum", "mean", "max", "min", "logsumexp"), _reduction),
}
