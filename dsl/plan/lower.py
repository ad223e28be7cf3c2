"""Expressions of a system, lowered: reads of the same step inlined, what needs memory made a definition.

Goes through each expression once, bottom up. An operation that a loop over features can compute stays an
expression; an operand of a product, a concatenation, a sum along a time axis, a value with fewer axes than its
reader becomes a definition of its own. Softmax and its kin are taken apart into maxima and sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from dsl.plan.definitions import (
    Definition,
    Normal,
    Piece,
    finite,
    is_home,
    is_shifted,
    larger,
    op,
    size_of,
    unsupported,
)
from dsl.plan.schedule import named_axes
from dsl.system.dims import Dim
from dsl.system.system import Extent, Index, Read, Stream, System
from tinygrad_seq.symbol import Symbol, lift, postorder, rebuild

TRANSPARENT = ("stop_gradient", "conj", "re")
FREE = (
    "add",
    "sub",
    "mul",
    "neg",
    "where",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "div",
)


INLINED = 120  # operations; a larger value is read from memory, so that expressions do not grow along a chain


class Lowering:
    def __init__(self, system: System, wanted: tuple[str, ...], kept: frozenset[str]) -> None:
        self.system, self.wanted, self.kept = system, wanted, kept
        self.streams = dict(system.streams)
        self.out = Normal(system, self.streams, {}, {}, {}, {}, {})
        self.kinds = self.out.kinds
        self.values: dict[str, Symbol] = {}  # equation -> lowered value
        self.memo: dict[Symbol, Symbol] = {}
        self.named: dict[Symbol, str] = {}  # a value -> the first stream that has it
        self.constants: dict[Symbol, str] = {}  # shared expressions -> their names
        self.counts: dict[str, int] = {}  # how often names of one beginning were made
        self.placed: dict[str, str] = {}
        self.pending: list[str] = []  # streams read at another step, to be placed
        self.current = ""

    def fail(self, what: str) -> NoReturn:
        unsupported(self.system, self.current, what)

    # ------------------------------------------------------------ expressions

    def lower(self, root: Symbol) -> Symbol:
        for node in postorder([root]):
            if node not in self.memo:
                self.memo[node] = (
                    self._leaf(node) if node.op is None else self._node(node, [self.memo[a] for a in node.args])
                )
        return self.memo[root]

    def _leaf(self, node: Symbol) -> Symbol:
        leaf = node.leaf
        if not isinstance(leaf, Read):
            return node
        stream = self.streams[leaf.name]
        if stream.shared:
            return node
        if is_home(leaf, stream.axes) and leaf.name in self.values and leaf.name not in self.kept:
            value = self.values[leaf.name]
            if not larger(value, INLINED):
                return value
        self.pending.append(leaf.name)
        return node

    def _node(self, node: Symbol, args: list[Symbol]) -> Symbol:
        assert node.op is not None
        name, options = node.op.name, node.options
        if not node.op.elementwise:
            args = [self._in_full(a, n) for a, n in zip(args, node.args, strict=True)]
        if not named_axes(node) and all(self.kinds.of(a).shared for a in args):
            return rebuild(node, tuple(args))
        if name in TRANSPARENT:
            return args[0]
        if named_axes(node):
            x = args[0]
            for axis in named_axes(node):
                x = self._along(name, self._solid(x), axis)
            return x
        handler = getattr(self, f"_op_{name}", None)
        if handler is not None:
            result = handler(*args, **options)
            assert isinstance(result, Symbol)
            return result
        if not node.op.elementwise and name not in FREE:
            self.fail(f"`{name}`")
        solid = [self._solid(a) for a in args]
        axes = set().union(*[self.kinds.of(a).axes for a in solid])
        return rebuild(node, tuple(self._cross(a, axes) for a in solid))

    def _in_full(self, x: Symbol, node: Symbol) -> Symbol:
        """A number that stands for a vector or a matrix (0 times one), where its shape matters."""
        shape = self.kinds.of(node).shape if x.is_number else ()
        return op("fill", x, dims=shape) if shape else x

    def _solid(self, x: Symbol) -> Symbol:
        """`x` as something whose elements can be computed one by one: concatenations go to memory."""
        if self.kinds.of(x).shared:
            return self._shared(x)
        if x.is_op("concat"):
            return self._read(self.materialise(x))
        return x

    def _shared(self, x: Symbol) -> Symbol:
        """A shared expression has a name of its own unless it is a number or a name already."""
        if x.op is None:
            return x
        name = self.constants.get(x)
        if name is None:
            name = self.constants[x] = self._fresh("shared")
            self.streams[name] = Stream(name, "const", (), self.kinds.of(x).shape, shared=True)
            self.out.before[name] = x
        return lift(Read(name))

    def _cross(self, x: Symbol, axes: set[str]) -> Symbol:
        """A value with fewer axes than its reader is computed once, at its own, unless it is cheap."""
        kind = self.kinds.of(x)
        if set(kind.axes) == axes or kind.shared or x.op is None or x.is_op("part", "lookup", "one_hot"):
            return x
        if not kind.shape and all(n.op is None or n.is_op("floordiv", "mod", *FREE) for n in postorder([x])):
            return x
        return self._read(self.materialise(x))

    def _read(self, name: str) -> Symbol:
        return lift(Read(name, tuple(Index(a) for a in self.out.definitions[name].axes)))

    def _fresh(self, hint: str) -> str:
        k = self.counts.get(hint, 1)
        while f"{hint}_{k}" in self.streams:
            k += 1
        self.counts[hint] = k
        return f"{hint}_{k}"

    def materialise(self, x: Symbol, hint: str = "v") -> str:
        """The definition that holds `x` at home."""
        if x in self.out.stored:
            return self.out.stored[x]
        if x in self.named and set(self.streams[self.named[x]].axes) == set(self.kinds.of(x).axes):
            return self._place(self.named[x])
        if (
            isinstance(x.leaf, Read)
            and is_home(x.leaf, self.streams[x.leaf.name].axes)
            and not self.streams[x.leaf.name].shared
        ):
            return self._place(x.leaf.name)
        return self._define(self._fresh(hint), x)

    def _define(self, name: str, x: Symbol, axes: tuple[str, ...] | None = None) -> str:
        kind = self.kinds.of(x)
        axes = self._order(kind.axes) if axes is None else axes
        definition = Definition(name, "pointwise", axes, kind.shape, "category" if kind.dtype == "category" else "real")
        if x.is_op("concat"):
            definition.kind, definition.pieces = "pieces", self._pieces(x)
        else:
            definition.value = x = self._solid(x)
        if set(axes) == set(kind.axes):  # else it is one value repeated along an axis
            self.out.stored.setdefault(x, name)
        self.out.definitions[name] = definition
        if name not in self.streams:
            self.streams[name] = Stream(name, "equation", axes, kind.shape, definition.dtype)
        return name

    def _order(self, axes: Iterable[str]) -> tuple[str, ...]:
        present = set(axes)
        return tuple(a for a in self.system.axes if a in present)

    def _pieces(self, x: Symbol) -> tuple[Piece, ...]:
        """The stretches of a concatenation; a shared zero vector is a stretch without a value."""
        at, out = Dim(), []
        for a in x.args:
            shape = self.kinds.of(a).shape
            size = shape[0] if shape else Dim.of(1)
            empty = a.is_op("fill") and a.args[0].is_number and a.args[0].leaf == 0
            out.append(Piece(at, size, None if empty else self._solid(a)))
            at = at + size
        return tuple(out)

    def _place(self, name: str) -> str:
        """The definition whose memory holds the stream `name`, with that stream's boundary."""
        if name in self.placed:
            return self.placed[name]
        stream = self.streams[name]
        if name in self.out.definitions:
            self.placed[name] = name
            return name
        self.placed[name] = name
        if name in self.kept or name not in self.values:
            kind = "kept" if name in self.kept else "load"
            if kind == "load" and stream.kind not in ("input", "draw", "noise", "const", "param"):
                self.fail(f"the {stream.kind} `{name}`")
            definition = Definition(
                name, kind, stream.axes, stream.shape, "category" if stream.dtype == "category" else "real"
            )
            self.out.definitions[name] = definition
            if kind == "load":
                definition.boundary = self._boundary(stream)
            return name
        boundary, value = self._boundary(stream), self.values[name]
        if stream.shape and not self.kinds.of(value).shape:  # `where(x[t] > 0, 0, 0)` has become a number
            value = op("fill", value, dims=stream.shape)
        found = self.out.stored.get(value)
        if found is not None and boundary not in self.out.definitions:  # which may be made of that very stream
            other = self.out.definitions[found]
            if other.axes == stream.axes and (other.boundary is None or boundary in (None, other.boundary)):
                other.boundary = other.boundary if boundary is None else boundary
                self.placed[name] = found
                return found
        self._define(name, value, stream.axes)
        self.out.definitions[name].boundary = boundary
        return name

    def _boundary(self, stream: Stream) -> float | str | None:
        if stream.boundary is None:
            return None
        value = self.lower(stream.boundary)
        if isinstance(value.leaf, int | float):
            return float(value.leaf)
        if self.kinds.of(value).shared:
            leaf = self._shared(value).leaf
            assert isinstance(leaf, Read)
            return leaf.name
        return self.materialise(value, f"{stream.name}.start")

    # ------------------------------------------------------------ particular operations

    def _op_matvec(self, w: Symbol, x: Symbol) -> Symbol:
        if not self.kinds.of(w).shared:
            return self._features("matvec", w, x)
        if self.kinds.of(x).shared:
            return self._shared(op("matvec", w, x))
        if x.is_op("one_hot"):
            return self._op_lookup(w, x.args[0])
        if x.is_op("neg"):
            return op("neg", self._op_matvec(w, x.args[0]))
        if x.is_op("concat"):
            at, total = Dim(), lift(0)
            for a in x.args:
                shape = self.kinds.of(a).shape
                size = shape[0] if shape else Dim.of(1)
                columns = op("part", w, start=at, size=size)
                if self.kinds.of(a).shared and shape:
                    total = op("add", total, self._shared(op("matvec", columns, a)))
                    at = at + size
                    continue
                total = total + (self._op_matvec(columns, a) if shape else self._solid(a) * self._column(columns))
                at = at + size
            return total
        inner = w.args[0] if w.is_op("transpose") else w
        weight = self._shared(inner)
        weight = op("transpose", weight) if w.is_op("transpose") else weight
        return op("matvec", weight, lift(self._operand(x)))

    def _op_fft(self, z: Symbol, **static: object) -> Symbol:
        """Of real parts followed by imaginary ones: see `complex`."""
        return op("fft", lift(self._operand(z)))

    def _op_ifft(self, z: Symbol, **static: object) -> Symbol:
        return op("ifft", lift(self._operand(z)))

    def _column(self, w: Symbol) -> Symbol:
        """The single column of an (n, 1) matrix, as a shared vector."""
        return self._shared(op("matvec", w, op("fill", lift(1.0), dims=(Dim.of(1),))))

    def _features(self, name: str, *args: Symbol, **static: object) -> Symbol:
        """An operation that a loop nest over features computes, on arguments with the same time axes."""
        solid = [self._solid(a) for a in args]
        axes = set().union(*[self.kinds.of(a).axes for a in solid])
        return op(name, *[self._cross(a, axes) for a in solid], **static)

    def _op_outer(self, u: Symbol, v: Symbol) -> Symbol:
        return self._features("outer", u, v)

    def _op_matmul(self, a: Symbol, b: Symbol) -> Symbol:
        return self._features("matmul", a, b)

    def _op_transpose(self, x: Symbol) -> Symbol:
        return self._features("transpose", x)

    def _op_cumsum(self, x: Symbol, axis: object = -1) -> Symbol:
        """A product with a triangle of ones."""
        ones = op("fill", lift(1.0), dims=self.kinds.of(x).shape)
        return self._op_matvec(op("tril", op("outer", ones, ones)), x)

    def _op_permute(self, order: Symbol, x: Symbol) -> Symbol:
        return op("permute", self._shared(order), self._read(self.materialise(self._solid(x))))

    def _op_unpermute(self, order: Symbol, x: Symbol) -> Symbol:
        return self._op_permute(op("argsort", order), x)

    def _operand(self, x: Symbol) -> Read:
        """`x` as a plain shifted read of something in memory."""
        if isinstance(x.leaf, Read):
            axes = self.streams[x.leaf.name].axes
            if is_shifted(x.leaf, axes):
                self.pending.append(x.leaf.name)
                return x.leaf
        leaf = self._read(self.materialise(x)).leaf
        assert isinstance(leaf, Read)
        return leaf

    def _op_lookup(self, w: Symbol, index: Symbol) -> Symbol:
        if not self.kinds.of(w).shared:
            return self._features("matvec", w, self._op_one_hot(index, size_of(self.kinds.of(w).shape[1])))
        return op("lookup", self._shared(w), self._category(index))

    def _category(self, index: Symbol) -> Symbol:
        """A category as a read of memory."""
        return index if isinstance(index.leaf, Read) else self._read(self.materialise(index))

    def _op_one_hot(self, index: Symbol, size: Symbol) -> Symbol:
        return op("one_hot", self._category(index), size)

    def _op_categorical_icdf(self, p: Symbol, u: Symbol) -> Symbol:
        return self._features("categorical_icdf", p, u)

    def _op_concat(self, *args: Symbol, **static: object) -> Symbol:
        return op("concat", *args, **static)

    def _op_fill(self, x: Symbol, dims: tuple[Dim, ...] = ()) -> Symbol:
        return op("fill", self._solid(x), dims=tuple(dims))

    def _op_part(self, v: Symbol, **static: Any) -> Symbol:
        start, size = Dim.of(static["start"]), Dim.of(static["size"])
        if v.is_op("concat"):
            for piece in self._pieces(v):
                if (
                    piece.start == start
                    and piece.size == size
                    and piece.value is not None
                    and self.kinds.of(piece.value).shape
                ):
                    return piece.value
        if not isinstance(v.leaf, Read):
            v = self._read(self.materialise(v))
        return op("part", v, start=start, size=size)

    def _op_dot(self, u: Symbol, v: Symbol) -> Symbol:
        return op("sum", self._features("mul", u, v), axis=-1)

    def _feature(self, name: str, x: Symbol, axis: object) -> Symbol:
        """A reduction over features: over `axis` (a number or several), all of them when None."""
        x = self._solid(x)
        rank = len(self.kinds.of(x).shape)
        if not rank:
            return x
        gone = range(rank) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        where = tuple(sorted(k % rank - rank for k in gone))
        return op(name, x, axis=where[0] if len(where) == 1 else where)

    def _op_sum(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        return self._feature("sum", x, axis)

    def _op_max(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        return self._feature("max", x, axis)

    def _op_min(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        return self._feature("min", x, axis)

    def _op_mean(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        shape = self.kinds.of(x).shape
        total = self._feature("sum", x, axis)
        gone = total.options["axis"] if total.is_op("sum") and shape else ()
        for k in gone if isinstance(gone, tuple) else (gone,):
            total = op("div", total, size_of(shape[k]))
        return total

    def _op_logsumexp(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        x = self._solid(x)
        top = finite(self._feature("max", x, axis))
        return op("add", op("log", self._feature("sum", op("exp", x - self._spread(top, x)), axis)), top)

    def _op_log_softmax(self, x: Symbol, axis: object = -1) -> Symbol:
        x = self._solid(x)
        return op("sub", x, self._spread(self._op_logsumexp(x, axis), x))

    def _op_softmax(self, x: Symbol, axis: object = -1) -> Symbol:
        x = self._solid(x)
        e = op("exp", x - self._spread(finite(self._feature("max", x, axis)), x))
        return op("div", e, self._spread(self._feature("sum", e, axis), x))

    def _spread(self, reduced: Symbol, x: Symbol) -> Symbol:
        """A number for each row of the matrix `x`, along its rows; a single number needs no help."""
        if not self.kinds.of(reduced).shape:
            return reduced
        return op("outer", reduced, op("fill", lift(1.0), dims=self.kinds.of(x).shape[1:]))

    def _op_cross_entropy(self, logits: Symbol, target: Symbol) -> Symbol:
        logits = self._solid(logits)
        (k,) = self.kinds.of(logits).shape
        chosen = op("where", op("greater", self._op_one_hot(target, size_of(k)), lift(0)), logits, lift(0))
        return op("sub", self._op_logsumexp(logits), op("sum", chosen, axis=-1))

    # ------------------------------------------------------------ reductions over time axes

    def _along(self, name: str, x: Symbol, axis: str) -> Symbol:
        if name in ("sum", "max", "min"):
            return self._reduce(name, x, axis)
        if name == "mean":
            return op("div", self._reduce("sum", x, axis), lift(Extent(axis)))
        top = finite(self._reduce("max", x, axis))
        e = op("exp", x - top)
        if name == "softmax":
            return op("div", e, self._reduce("sum", e, axis))
        if name == "logsumexp":
            return op("add", op("log", self._reduce("sum", e, axis)), top)
        if name == "log_softmax":
            return op("sub", x, op("add", op("log", self._reduce("sum", e, axis)), top))
        self.fail(f"`{name}[{axis}]`")

    def _reduce(self, name: str, x: Symbol, axis: str) -> Symbol:
        kind = self.kinds.of(x)
        if axis not in kind.axes:
            return op("mul", x, lift(Extent(axis))) if name == "sum" else x
        key = op(name, x, axis=axis)
        if key in self.out.stored:
            return self._read(self.out.stored[key])
        axes = self._order(a for a in kind.axes if a != axis)
        hint = {"sum": "total", "max": "top", "min": "bottom"}[name]
        definition = Definition(self._fresh(hint), "reduce", axes, kind.shape, value=x, reduction=name, over=(axis,))
        self.streams[definition.name] = Stream(definition.name, "equation", axes, kind.shape)
        self.out.definitions[definition.name] = definition
        self.out.stored[key] = definition.name
        return self._read(definition.name)
