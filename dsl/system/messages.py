"""Turning a read round: what `v[t]` receives from whoever read `v[t-1]`, `v[2*u+1]` or `last(v)`.

A reader forms a message at its own index; the stream that was read collects messages at the inverse
index. Everything here is that inversion; nothing knows derivative rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsl.system.dims import Dim
from dsl.system.kinds import Kinds, binds, named_axis
from dsl.system.system import Extent, Index, Position, Read, Size
from tinygrad_seq.symbol import Symbol, apply, lift, postorder, substitute


class Irreversible(Exception):
    """An index whose messages cannot be collected by an index of the language."""


@dataclass(frozen=True)
class Collected:
    """One way to read a message: indices for the reader's axes, under conditions on the target's step."""

    indices: Mapping[str, Index]
    conditions: tuple[Symbol, ...]


def inverse(indices: Sequence[Index], axes: Sequence[str]) -> list[Collected]:
    """All ways in which a step of the target (on `axes`) is read through `indices`; they add up."""
    ways = [Collected({}, ())]
    for index, axis in zip(indices, axes, strict=True):
        found: list[Collected] = []
        for way in ways:
            if index.axis is not None and index.axis in way.indices:  # that step is known: only those that it meets
                meets = apply("equal", lift(Position(axis)), _full(_composed(index, way.indices[index.axis])))
                found.append(Collected(way.indices, (*way.conditions, meets)))
            else:
                options = _inverse_axis(index, axis)
                found += [Collected({**way.indices, **more}, way.conditions + c) for more, c in options]
        ways = found
    return ways


def _composed(index: Index, step: Index) -> Index:
    """`index` of the step that `step` gives, as in `z[2*t,t-1]` whose t is known from z's first index: where that
    division has no rest, which its own condition says."""
    if index.extent and step.extent and index.length != step.length:
        raise Irreversible(f"two indices run with `{index.axis}`, from the ends of two axes")
    extent = index.scale * step.extent + step.divisor * index.extent
    return Index(
        step.axis,
        index.scale * step.scale,
        index.scale * step.offset + step.divisor * index.offset,
        index.divisor * step.divisor,
        (index.length if index.extent else step.length) if extent else None,
        extent,
    )


def _inverse_axis(index: Index, axis: str) -> list[tuple[dict[str, Index], tuple[Symbol, ...]]]:
    here = lift(Position(axis))
    if index.axis is None or index.scale == 0:
        return [({}, (apply("equal", here, _full(index)),))]
    q, a, k = index.axis, index.scale, index.divisor
    ways: list[tuple[dict[str, Index], tuple[Symbol, ...]]] = []
    sign = 1 if a > 0 else -1
    for j in range(k):
        # p = (a*q + e*n + c)//k  =>  a*q = k*p + j - e*n - c for one of j = 0..k-1
        back = Index(axis, sign * k, sign * (j - index.offset), abs(a), index.length, -sign * index.extent)
        if abs(a) == 1:
            ways.append(({q: back}, ()))
            continue
        numerator = dataclasses.replace(back, divisor=1)
        ways.append(({q: back}, (apply("equal", apply("mod", _full(numerator), lift(abs(a))), lift(0)),)))
    return ways


def _value(index: Index, start: Symbol | None = None) -> Symbol:
    """An index without axis as a value: `start + extent*len + offset`."""
    total = start
    if index.length is not None and index.extent:
        length = lift(Extent(index.length))
        term = length if abs(index.extent) == 1 else lift(abs(index.extent)) * length
        total = (
            (term if index.extent > 0 else -term)
            if total is None
            else (total + term if index.extent > 0 else total - term)
        )
    offset = index.offset
    if offset != 0:
        if offset.is_constant:
            n = int(offset)
            total = lift(n) if total is None else total + lift(n) if n > 0 else total - lift(-n)
        else:
            total = lift(Size(offset)) if total is None else total + lift(Size(offset))
    return lift(0) if total is None else total


def outside(index: Index, axis: str, low_safe: bool, high_safe: bool) -> list[Symbol]:
    """Conditions, on the reader's step, under which a read misses the target's steps."""
    position = lift(Position(index.axis)) if index.axis is not None else None
    found: list[Symbol] = []
    if not low_safe:
        if index.is_shift:
            found.append(apply("less", position, _value(Index(None, 0, -index.offset))))
        else:
            found.append(apply("less", _full(index), lift(0)))
    if not high_safe:
        length = lift(Extent(axis))
        if index.is_shift:
            edge = _value(Index(None, 0, -index.offset), length)
            found.append(apply("greater_equal", position, edge))
        else:
            found.append(apply("greater_equal", _full(index), length))
    return found


def _full(index: Index) -> Symbol:
    start = None
    if index.axis is not None and index.scale:
        position = lift(Position(index.axis))
        start = position if abs(index.scale) == 1 else lift(abs(index.scale)) * position
        start = start if index.scale > 0 else -start
    value = _value(index, start)
    return value if index.divisor == 1 else apply("floordiv", value, lift(index.divisor))


# ---------------------------------------------------------------- what may follow a shift


def terms_of(root: Symbol) -> list[Symbol]:
    """The summands of an expression, signs pushed in."""
    found: list[Symbol] = []
    stack: list[tuple[Symbol, bool]] = [(root, False)]
    while stack:
        node, negative = stack.pop()
        if node.is_op("add"):
            stack += [(node.args[1], negative), (node.args[0], negative)]
        elif node.is_op("sub"):
            stack += [(node.args[1], not negative), (node.args[0], negative)]
        elif node.is_op("neg"):
            stack.append((node.args[0], not negative))
        else:
            found.append(-node if negative else node)
    return found


def add_all(parts: Sequence[Symbol]) -> Symbol:
    """Their sum, written a + b - c."""
    total: Symbol | None = None
    first = next((k for k, p in enumerate(parts) if not p.is_op("neg")), 0)
    for part in [*parts[first : first + 1], *parts[:first], *parts[first + 1 :]]:
        if total is None:
            total = part
        elif part.is_op("neg"):
            total = total - part.args[0]
        else:
            total = total + part
    return total if total is not None else lift(0)


def follows(term: Symbol, axes: Sequence[str], kinds: Kinds, zero_outside: frozenset[str]) -> bool:
    """Whether a message may be read shifted term by term: it is linear in streams that are 0 outside
    their steps, with nothing else that varies along `axes`."""
    state: dict[Symbol, str] = {}
    for node in postorder([term]):
        if isinstance(node.leaf, Extent):
            state[node] = "free"  # of its sequence, the same at every step
            continue
        varies = any(a in axes for a in kinds.of(node).axes)
        if not varies:
            state[node] = (
                "zero"
                if node.is_number and node.leaf == 0
                else "zero"
                if node.is_op("fill") and node.args[0] is lift(0)
                else "free"
            )
        else:
            state[node] = _linearity(node, [state[a] for a in node.args], axes, zero_outside)
        if state[node] == "no":
            return False
    return state[term] == "linear"


def _linearity(node: Symbol, args: list[str], axes: Sequence[str], zero_outside: frozenset[str]) -> str:
    if node.op is None:
        leaf = node.leaf
        if not isinstance(leaf, Read) or leaf.name not in zero_outside:
            return "no"
        home = [i.axis for i in leaf.index if i.is_identity]
        return "linear" if len(home) == len(leaf.index) and all(a in home for a in axes) else "no"
    name = node.op.name
    if binds(node) in axes or (named_axis(node) is not None and name != "sum"):
        return "no"
    if name in ("neg", "part", "transpose", "sum", "fill", "conj", "re", "im", "fft", "ifft", "cumsum"):
        return args[0]
    if name in ("reflect", "permute", "unpermute"):
        return "linear" if args == ["free", "linear"] else "no"
    if name in ("add", "sub"):
        return "linear" if all(a in ("linear", "zero") for a in args) else "no"
    if name == "concat":
        return "linear" if all(a in ("linear", "zero") for a in args) else "no"
    if name in ("matvec", "matmul", "dot", "mul", "outer"):
        return "linear" if sorted(args) == ["free", "linear"] else "no"
    if name == "div":
        return "linear" if args == ["linear", "free"] else "no"
    return "no"


def captures(term: Symbol, ways: Sequence[Collected]) -> bool:
    """Whether a reduction inside the term binds an axis of the indices it would be read at, or a length stands among
    the steps of an axis that it would leave."""
    goals = {i.axis for way in ways for i in way.indices.values()}
    left = {a for way in ways for a, i in way.indices.items() if i.axis != a}
    nodes = postorder([term])
    if any(isinstance(n.leaf, Extent) and n.leaf.inside and n.leaf.axis in left for n in nodes):
        return True
    return any(binds(node) in goals for node in nodes if binds(node) is not None)


def move(term: Symbol, indices: Mapping[str, Index]) -> Symbol:
    """Read every stream of a term at other steps."""

    def change(node: Symbol) -> Symbol | None:
        if node.op is None and isinstance(node.leaf, Read) and node.leaf.index:
            new = tuple(indices.get(i.axis, i) if i.axis is not None and i.is_identity else i for i in node.leaf.index)
            return lift(Read(node.leaf.name, new))
        return None

    return substitute(term, change)


def size_value(dims: Sequence[Dim]) -> Symbol:
    total = Dim.of(1)
    for d in dims:
        total = total * d
    return lift(int(total)) if total.is_constant else lift(Size(total))
