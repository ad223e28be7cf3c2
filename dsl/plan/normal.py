"""Normal form: a system's equations as the few kinds of definition that loops are made of.

Reads of the same step are inlined, so that how an author split or named equations leaves no trace. What
then needs memory of its own becomes a `Definition`: what is wanted or read at another step, operands of
products, values that cross from one set of axes to another, sums over an axis. Products by shared
matrices that are added together become one accumulator. Everything else stays an expression over these.

The result is symbolic in sizes and knows nothing of batches, memory or Numba.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

from dsl.plan.schedule import named_axes, offset_value, show_index
from dsl.system.dims import Dim
from dsl.system.kinds import Kinds
from dsl.system.system import Extent, Index, Read, Size, Stream, System
from dsl.text.diagnostics import CellError, Diagnostic
from dsl.text.tree import NOWHERE, Source
from tinygrad_seq.primitive import REGISTRY
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


@dataclass(frozen=True, slots=True)
class Term:
    """`weight @ operand` (or `weight.T @ operand`), one product into an accumulator."""

    weight: str
    transposed: bool
    operand: Read

    def __str__(self) -> str:
        index = self.operand.index
        operand = self.operand.name + (f"[{','.join(map(show_index, index))}]" if index else "")
        return f"{self.weight}{'.T' if self.transposed else ''}@{operand}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a concatenation: `value` (None for zeros) from feature `start` on."""

    start: Dim
    size: Dim
    value: Symbol | None


@dataclass(slots=True)
class Definition:
    """Something that is computed into memory.

    kind   load (an input), kept (lies in the forward run's memory), pointwise, product, reduce, pieces,
           total (pointwise, summed over everything), outer (a sum of outer products), scatter (a sum of
           outer products with categories)
    axes   its time axes; () is one value a sequence (totals: one for all)
    """

    name: str
    kind: str
    axes: tuple[str, ...]
    shape: tuple[Dim, ...]
    dtype: str = "real"
    value: Symbol | None = None
    terms: tuple[Term, ...] = ()
    pieces: tuple[Piece, ...] = ()
    reduction: str = ""  # sum, max or min
    over: tuple[str, ...] = ()  # the axes a reduction or a total runs over
    operands: tuple[Symbol, ...] = ()  # of outer: two reads; of scatter: a value and a category
    boundary: float | str | None = None  # a number, or the name of what holds it
    wanted: bool = False

    @property
    def domain(self) -> tuple[str, ...]:
        """The axes its computation runs over."""
        return self.axes + self.over

    def expressions(self) -> tuple[Symbol, ...]:
        """What it reads, as symbols."""
        own = () if self.value is None else (self.value,)
        return (
            own
            + tuple(lift(t.operand) for t in self.terms)
            + tuple(p.value for p in self.pieces if p.value is not None)
            + self.operands
        )


@dataclass
class Normal:
    """`definitions` by name (an order of no meaning), shared equations for NumPy before and after the loops."""

    system: System
    streams: dict[str, Stream]
    definitions: dict[str, Definition]
    names: dict[str, str]  # wanted stream -> the definition or total holding it
    before: dict[str, Symbol]  # shared values computed from params and consts
    after: dict[str, Symbol]  # shared values computed from totals
    totals: dict[str, tuple[tuple[str, str], ...]]  # total -> its contributions: (definition, "" or "T")
    stored: dict[Symbol, str] = field(default_factory=dict)  # the value of a definition -> its name
    constant: dict[str, float] = field(default_factory=dict)
    kinds: Kinds = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = Kinds(self.streams)


def unsupported(system: System, name: str, what: str, help_: str = 'run it with engine="tape"') -> NoReturn:
    """E701: parses and has a meaning, but this engine has no code for it."""
    span = system.spans.get(name, NOWHERE)
    raise CellError(
        [Diagnostic("E701", f"{what} is not compiled yet", span, help=help_)], system.source or Source("", system.name)
    )


def is_home(read: Read, axes: tuple[str, ...]) -> bool:
    return all(i.is_identity and i.axis == a for i, a in zip(read.index, axes, strict=True))


def is_shifted(read: Read, axes: tuple[str, ...]) -> bool:
    """Whether every index is a plain shift along the stream's own axis."""
    return all(i.is_shift and i.axis == a for i, a in zip(read.index, axes, strict=True))


def op(name: str, *args: Symbol | int | float, **static: object) -> Symbol:
    out = REGISTRY[name](*[lift(a) for a in args], **static)
    assert isinstance(out, Symbol)
    return out


def normalise(system: System, wanted: Iterable[str], kept: Iterable[str] = ()) -> Normal:
    """The definitions that `wanted` streams need. `kept` streams lie in the forward run's memory."""
    return _Normaliser(system, tuple(wanted), frozenset(kept)).run()


class _Normaliser:
    def __init__(self, system: System, wanted: tuple[str, ...], kept: frozenset[str]) -> None:
        self.system, self.wanted, self.kept = system, wanted, kept
        self.streams = dict(system.streams)
        self.out = Normal(system, self.streams, {}, {}, {}, {}, {})
        self.kinds = self.out.kinds
        self.values: dict[str, Symbol] = {}  # equation -> lowered value
        self.memo: dict[Symbol, Symbol] = {}
        self.named: dict[Symbol, str] = {}  # a value -> the first stream that has it
        self.placed: dict[str, str] = {}
        self.pending: list[str] = []  # streams read at another step, to be placed
        self.current = ""

    # ------------------------------------------------------------ the whole

    def run(self) -> Normal:
        live = self._live()
        for name in self._home_order(live):
            self.current = name
            stream = self.streams[name]
            expression = self.system.equations[name]
            if stream.total:
                continue
            if stream.shared:
                self.out.before[name] = expression
                continue
            value = self.values[name] = self.lower(expression)
            if value.op is not None:
                self.named.setdefault(value, name)
        for name in live:
            if name in self.system.equations and self.streams[name].total:
                self.current = name
                self._total(name, self.system.equations[name])
        for name in self.wanted:
            if name in self.out.totals or name in self.out.before:
                continue
            self.current = name
            definition = self._place(name)
            self.out.definitions[definition].wanted = True
            self.out.names[name] = definition
        while self.pending:
            self._place(self.pending.pop())
        self._after()
        self._drop_dead()
        self._accumulate()
        self._rename()
        return self.out

    def _after(self) -> None:
        """Shared equations that read totals are left for after the loops."""
        late = set(self.out.totals)
        for name, expression in list(self.out.before.items()):
            if any(isinstance(n.leaf, Read) and n.leaf.name in late for n in postorder([expression])):
                late.add(name)
                self.out.after[name] = self.out.before.pop(name)
        for definition in self.out.definitions.values():
            for read in reads(definition):
                if read.name in late:
                    unsupported(self.system, definition.name, f"a sequence's use of the total `{read.name}`")

    def _live(self) -> list[str]:
        """Equations that the wanted streams depend on, in source order."""
        seen: set[str] = set()
        stack = [n for n in self.wanted if n not in self.kept]
        while stack:
            name = stack.pop()
            if name in seen or name in self.kept:
                continue
            seen.add(name)
            roots = [e for e in (self.system.equations.get(name), self.streams[name].boundary) if e is not None]
            stack += [n.leaf.name for n in postorder(roots) if isinstance(n.leaf, Read)]
        return [n for n in self.system.equations if n in seen]

    def _home_order(self, live: list[str]) -> list[str]:
        """Equations after those they read at the same step (the schedule has shown that there is no cycle)."""
        order: list[str] = []
        state: dict[str, int] = {}
        stack = [(n, False) for n in reversed(live)]
        while stack:
            name, done = stack.pop()
            if done:
                order.append(name)
                continue
            if state.get(name):
                continue
            state[name] = 1
            stack.append((name, True))
            for node in reversed(postorder([self.system.equations[name]])):
                leaf = node.leaf
                if isinstance(leaf, Read) and leaf.name in self.system.equations and leaf.name not in self.kept:
                    if is_home(leaf, self.streams[leaf.name].axes) and leaf.name not in state:
                        stack.append((leaf.name, False))
        return order

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
        if isinstance(leaf, complex) or (isinstance(leaf, Read) and self.streams[leaf.name].dtype == "complex"):
            self.fail("complex arithmetic")
        if not isinstance(leaf, Read):
            return node
        stream = self.streams[leaf.name]
        if stream.shared:
            return node
        if is_home(leaf, stream.axes) and leaf.name in self.values and leaf.name not in self.kept:
            return self.values[leaf.name]
        self.pending.append(leaf.name)
        return node

    def _node(self, node: Symbol, args: list[Symbol]) -> Symbol:
        assert node.op is not None
        name, options = node.op.name, node.options
        if all(self.kinds.of(a).shared for a in args):
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

    def _solid(self, x: Symbol) -> Symbol:
        """`x` as something whose elements can be computed one by one: concatenations go to memory, shared values to NumPy."""
        if self.kinds.of(x).shared:
            return self._shared(x)
        if x.is_op("concat"):
            return self._read(self.materialise(x))
        return x

    def _shared(self, x: Symbol) -> Symbol:
        """A shared expression has a name of its own unless it is a number or a name already."""
        if x.op is None:
            return x
        for name, expression in self.out.before.items():
            if expression is x:
                return lift(Read(name))
        name = self._fresh("shared")
        kind = self.kinds.of(x)
        self.streams[name] = Stream(name, "const", (), kind.shape, shared=True)
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
        k = 1
        while f"{hint}_{k}" in self.streams:
            k += 1
        return f"{hint}_{k}"

    def materialise(self, x: Symbol, hint: str = "v") -> str:
        """The definition that holds `x` at home."""
        if x in self.out.stored:
            return self.out.stored[x]
        if x in self.named:
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
        if kind.dtype == "complex":
            self.fail("complex arithmetic")
        if len(kind.shape) > 1:
            self.fail("a matrix for each step or sequence")
        if x.is_op("concat"):
            definition.kind, definition.pieces = "pieces", self._pieces(x)
        else:
            definition.value = x = self._solid(x)
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
            if kind == "load" and stream.kind not in ("input", "draw", "const", "param"):
                self.fail(f"the {stream.kind} `{name}`")
            definition = Definition(
                name, kind, stream.axes, stream.shape, "category" if stream.dtype == "category" else "real"
            )
            self.out.definitions[name] = definition
            if kind == "load":
                definition.boundary = self._boundary(stream)
            return name
        boundary, value = self._boundary(stream), self.values[name]
        found = self.out.stored.get(value)
        if found is not None:
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
        if value.is_number:
            return float(value.leaf)  # type: ignore[arg-type]
        if self.kinds.of(value).shared:
            leaf = self._shared(value).leaf
            assert isinstance(leaf, Read)
            return leaf.name
        return self.materialise(value, f"{stream.name}.start")

    # ------------------------------------------------------------ particular operations

    def _op_matvec(self, w: Symbol, x: Symbol) -> Symbol:
        if not self.kinds.of(w).shared:
            self.fail("a product with a matrix that varies with the step or the sequence")
        if x.is_op("neg"):
            return -self._op_matvec(w, x.args[0])
        if x.is_op("concat"):
            at, total = Dim(), lift(0)
            for a in x.args:
                shape = self.kinds.of(a).shape
                size = shape[0] if shape else Dim.of(1)
                columns = op("part", w, start=at, size=size)
                total = total + (self._op_matvec(columns, a) if shape else self._solid(a) * self._column(columns))
                at = at + size
            return total
        if not self.kinds.of(x).axes and self.kinds.of(x).shared:
            self.fail("a product of shared values inside a step")
        inner = w.args[0] if w.is_op("transpose") else w
        weight = self._shared(inner)
        weight = op("transpose", weight) if w.is_op("transpose") else weight
        return op("matvec", weight, lift(self._operand(x)))

    def _column(self, w: Symbol) -> Symbol:
        """The single column of an (n, 1) matrix, as a shared vector."""
        return self._shared(op("matvec", w, op("fill", lift(1.0), dims=(Dim.of(1),))))

    def _operand(self, x: Symbol) -> Read:
        """`x` as a plain shifted read of something in memory."""
        if self.kinds.of(x).shared:
            self.fail("a shared operand of a product or an outer product")
        if isinstance(x.leaf, Read):
            axes = self.streams[x.leaf.name].axes
            if is_shifted(x.leaf, axes):
                self.pending.append(x.leaf.name)
                return x.leaf
        leaf = self._read(self.materialise(x)).leaf
        assert isinstance(leaf, Read)
        return leaf

    def _op_lookup(self, w: Symbol, index: Symbol) -> Symbol:
        if not isinstance(index.leaf, Read) or not self.kinds.of(w).shared:
            self.fail("a look-up by a computed category")
        return op("lookup", self._shared(w), index)

    def _op_one_hot(self, index: Symbol, size: Symbol) -> Symbol:
        if not isinstance(index.leaf, Read):
            self.fail("a computed category")
        return op("one_hot", index, size)

    def _op_concat(self, *args: Symbol, **static: object) -> Symbol:
        return REGISTRY["concat"](*args, **static)  # type: ignore[no-any-return]

    def _op_fill(self, x: Symbol, dims: tuple[Dim, ...] = ()) -> Symbol:
        return op("fill", self._solid(x), dims=tuple(dims))

    def _op_part(self, v: Symbol, **static: object) -> Symbol:
        start, size = Dim.of(static["start"]), Dim.of(static["size"])  # type: ignore[arg-type]
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
        u, v = self._solid(u), self._solid(v)
        axes = set(self.kinds.of(u).axes) | set(self.kinds.of(v).axes)
        return op("sum", self._cross(u, axes) * self._cross(v, axes), axis=-1)

    def _feature(self, name: str, x: Symbol, axis: object) -> Symbol:
        if axis not in (None, -1, (-1,)):
            self.fail(f"`{name}` over more than the last feature axis")
        x = self._solid(x)
        return op(name, x, axis=-1) if self.kinds.of(x).shape else x

    def _op_sum(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        return self._feature("sum", x, axis)

    def _op_max(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        return self._feature("max", x, axis)

    def _op_min(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        return self._feature("min", x, axis)

    def _op_mean(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        shape = self.kinds.of(x).shape
        return self._feature("sum", x, axis) / (_size(shape[0]) if shape else lift(1))

    def _op_logsumexp(self, x: Symbol, axis: object = -1, keepdims: object = False) -> Symbol:
        x = self._solid(x)
        top = _finite(self._feature("max", x, axis))
        return op("log", op("sum", op("exp", x - top), axis=-1)) + top

    def _op_log_softmax(self, x: Symbol, axis: object = -1) -> Symbol:
        x = self._solid(x)
        return x - self._op_logsumexp(x, axis)

    def _op_softmax(self, x: Symbol, axis: object = -1) -> Symbol:
        x = self._solid(x)
        e = op("exp", x - _finite(self._feature("max", x, axis)))
        return e / op("sum", e, axis=-1)

    def _op_cross_entropy(self, logits: Symbol, target: Symbol) -> Symbol:
        logits = self._solid(logits)
        (k,) = self.kinds.of(logits).shape
        chosen = op("where", op("greater", self._op_one_hot(target, _size(k)), lift(0)), logits, lift(0))
        return self._op_logsumexp(logits) - op("sum", chosen, axis=-1)

    # ------------------------------------------------------------ reductions over time axes

    def _along(self, name: str, x: Symbol, axis: str) -> Symbol:
        if name in ("sum", "max", "min"):
            return self._reduce(name, x, axis)
        if name == "mean":
            return self._reduce("sum", x, axis) / lift(Extent(axis))
        top = self._finite_top(x, axis)
        e = op("exp", x - top)
        if name == "softmax":
            return e / self._reduce("sum", e, axis)
        if name == "logsumexp":
            return op("log", self._reduce("sum", e, axis)) + top
        if name == "log_softmax":
            return x - (op("log", self._reduce("sum", e, axis)) + top)
        self.fail(f"`{name}[{axis}]`")

    def _finite_top(self, x: Symbol, axis: str) -> Symbol:
        return _finite(self._reduce("max", x, axis))

    def _reduce(self, name: str, x: Symbol, axis: str) -> Symbol:
        kind = self.kinds.of(x)
        if axis not in kind.axes:
            return x * lift(Extent(axis)) if name == "sum" else x
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

    # ------------------------------------------------------------ totals

    def _total(self, name: str, expression: Symbol) -> None:
        """A sum over sequences: contributions, each an outer product, a scatter or a value, accumulated apart."""
        found: list[tuple[str, str]] = []
        work: list[tuple[Symbol, tuple[str, ...], Symbol | None, str]] = [(expression, (), None, "")]
        while work:
            node, over, factor, turn = work.pop()
            leaf = node.leaf
            axes = named_axes(node)
            if node.is_op("add"):
                work += [(a, over, factor, turn) for a in reversed(node.args)]
            elif node.is_op("sub"):
                minus = lift(-1) if factor is None else -factor
                work += [(node.args[1], over, minus, turn), (node.args[0], over, factor, turn)]
            elif node.is_op("neg"):
                work.append((node.args[0], over, lift(-1) if factor is None else -factor, turn))
            elif node.is_op("sum") and axes:
                work.append((node.args[0], over + axes, factor, turn))
            elif node.is_op("transpose"):
                work.append((node.args[0], over, factor, "" if turn else "T"))
            elif node.is_op("where") and len(self._shape(node)) == 2 and node.args[2].is_number:
                guard = op("where", node.args[0], lift(1) if factor is None else factor, lift(0))
                work.append((node.args[1], over, guard, turn))
            elif node.is_op("mul") and len(self._shape(node)) == 2:
                scalar, matrix = sorted(node.args, key=lambda a: len(self._shape(a)))
                work.append((matrix, over, scalar if factor is None else factor * scalar, turn))
            elif isinstance(leaf, Read) and len(self._shape(node)) == 2 and leaf.name in self.system.equations:
                if not is_home(leaf, self.streams[leaf.name].axes):
                    self.fail("a matrix read at another step")
                work.append((self.system.equations[leaf.name], over, factor, turn))
            else:
                found.append((self._contribution(name, node, over, factor), turn))
        self.out.totals[name] = tuple(found)
        self.out.names[name] = name

    def _shape(self, x: Symbol) -> tuple[Dim, ...]:
        return self.kinds.of(x).shape

    def _contribution(self, name: str, node: Symbol, over: tuple[str, ...], factor: Symbol | None) -> str:
        over = self._order(over)
        kind, shape = "total", self._shape(node)
        value: Symbol | None = None
        operands: tuple[Symbol, ...] = ()
        if node.is_op("outer", "scatter_columns"):
            left = self.lower(node.args[0] if factor is None else node.args[0] * factor)
            right = self.lower(node.args[1])
            if node.is_op("outer") and self.kinds.of(right).dtype != "category" and not right.is_op("one_hot"):
                kind, operands = "outer", (lift(self._operand(left)), lift(self._operand(right)))
            else:
                right = right.args[0] if right.is_op("one_hot") else right
                if not isinstance(right.leaf, Read):
                    self.fail("a scatter by a computed category")
                kind, value, operands = "scatter", self._solid(left), (right,)
        elif len(shape) > 1:
            self.fail("a total of matrices that are not outer products")
        else:
            value = self._solid(self.lower(node if factor is None else node * factor))
        key = self._fresh(f"{name}.sum")
        axes = set().union(*[self.kinds.of(x).axes for x in ((value,) if value is not None else ()) + operands])
        if not set(over) <= axes:
            self.fail("a sum along an axis that its terms lack")
        if axes - set(over):
            self.fail("a total with a free axis")
        self.streams[key] = Stream(key, "equation", (), shape, shared=True, total=True)
        self.out.definitions[key] = Definition(
            key, kind, (), shape, value=value, operands=operands, over=over, reduction="sum", wanted=True
        )
        return key

    # ------------------------------------------------------------ clean-up

    def _drop_dead(self) -> None:
        definitions = self.out.definitions
        live: dict[str, None] = {}
        stack = [n for n, d in definitions.items() if d.wanted]
        while stack:
            name = stack.pop()
            if name in live:
                continue
            live[name] = None
            definition = definitions[name]
            stack += [
                self.placed.get(r.name, r.name)
                for r in reads(definition)
                if self.placed.get(r.name, r.name) in definitions
            ]
            if isinstance(definition.boundary, str) and definition.boundary in definitions:
                stack.append(definition.boundary)
        self.out.definitions = {n: d for n, d in definitions.items() if n in live}

    def _accumulate(self) -> None:
        """Products that are added together become one accumulator for each set of axes."""
        roots = [e for d in self.out.definitions.values() for e in d.expressions()]
        order = postorder(roots)
        uses = Counter(a for n in order for a in n.args)
        uses.update(roots)
        above: dict[Symbol, Symbol] = {a: n for n in order for a in n.args}
        joined = {
            n for n in order if n.is_op("add", "matvec") and uses[n] == 1 and n in above and above[n].is_op("add")
        }
        new: dict[Symbol, Symbol] = {}
        for node in order:
            if node in joined:
                continue
            if node.is_op("add"):
                new[node] = self._chain(node, joined, new)
            elif node.is_op("matvec"):
                new[node] = self._accumulator([node])
            else:
                new[node] = rebuild(node, tuple(new[a] for a in node.args))
        self._replace(new)

    def _chain(self, root: Symbol, joined: set[Symbol], new: Mapping[Symbol, Symbol]) -> Symbol:
        products: dict[tuple[str, ...], list[Symbol]] = {}
        rest: list[Symbol] = []
        stack = list(reversed(root.args))
        while stack:
            node = stack.pop()
            if node in joined and node.is_op("add"):
                stack += reversed(node.args)
            elif node in joined:
                products.setdefault(self._order(self.kinds.of(node).axes), []).append(node)
            else:
                rest.append(new[node])
        total: Symbol | None = None
        for part in [self._accumulator(p) for p in products.values()] + rest:
            total = part if total is None else total + part
        assert total is not None
        return total

    def _accumulator(self, products: list[Symbol]) -> Symbol:
        terms: list[Term] = []
        for node in products:
            w, x = node.args
            inner = w.args[0] if w.is_op("transpose") else w
            assert isinstance(inner.leaf, Read) and isinstance(x.leaf, Read)
            terms.append(Term(inner.leaf.name, w.is_op("transpose"), x.leaf))
        kind = self.kinds.of(products[0])
        axes = self._order(kind.axes)
        name = self._fresh("acc")
        self.streams[name] = Stream(name, "equation", axes, kind.shape)
        terms.sort(key=lambda t: (str(t.operand), t.weight, t.transposed))
        self.out.definitions[name] = Definition(name, "product", axes, kind.shape, terms=tuple(terms))
        return self._read(name)

    def _replace(self, new: Mapping[Symbol, Symbol]) -> None:
        """Put the accumulators in; a definition that is nothing but an accumulator takes its place."""
        definitions = self.out.definitions
        for definition in list(definitions.values()):
            if definition.value is not None:
                definition.value = new[definition.value]
            definition.pieces = tuple(
                replace(p, value=None if p.value is None else new[p.value]) for p in definition.pieces
            )
            definition.operands = tuple(new[o] for o in definition.operands)
            value = definition.value
            if definition.kind == "pointwise" and value is not None and isinstance(value.leaf, Read):
                source = definitions.get(value.leaf.name)
                if (
                    source is not None
                    and source.kind == "product"
                    and source.axes == definition.axes
                    and source.name not in self.placed.values()
                ):
                    self.placed[source.name] = definition.name
                    definition.kind, definition.terms, definition.value = "product", source.terms, None
                    del definitions[source.name]

    def _rename(self) -> None:
        """Every read names a definition (or something shared); `stored` finds what is in memory already."""
        table: dict[Symbol, Symbol] = {}
        roots = [e for d in self.out.definitions.values() for e in d.expressions()]
        for node in postorder(roots):
            leaf = node.leaf
            if isinstance(leaf, Read) and leaf.name in self.placed:
                table[node] = lift(Read(self._final(leaf.name), leaf.index))
            else:
                table[node] = rebuild(node, tuple(table[a] for a in node.args))
        for d in self.out.definitions.values():
            d.value = None if d.value is None else table[d.value]
            d.pieces = tuple(replace(p, value=None if p.value is None else table[p.value]) for p in d.pieces)
            d.operands = tuple(table[o] for o in d.operands)
            d.terms = tuple(replace(t, operand=Read(self._final(t.operand.name), t.operand.index)) for t in d.terms)
            if isinstance(d.boundary, str):
                d.boundary = self._final(d.boundary)
        self.out.stored = {
            d.value: n
            for n, d in self.out.definitions.items()
            if d.kind == "pointwise" and d.value is not None and d.value.op
        }
        self.out.names = {n: self._final(d) for n, d in self.out.names.items()}

    def _final(self, name: str) -> str:
        while self.placed.get(name, name) != name:
            name = self.placed[name]
        return name


def reads(definition: Definition) -> list[Read]:
    """Every read in a definition's expressions."""
    return [n.leaf for n in postorder(definition.expressions()) if isinstance(n.leaf, Read)]


def shift_of(system: System, read: Read, axes: tuple[str, ...], axis: str) -> int | None:
    """How far `read` looks along `axis`; None when it is not a plain shift there, or has no such axis."""
    for index, own in zip(read.index, axes, strict=True):
        if own == axis:
            return offset_value(system, index.offset) if index.is_shift and index.axis == axis else None
    return None


def _size(dim: Dim) -> Symbol:
    return lift(int(dim)) if dim.is_constant else lift(Size(dim))


def _finite(top: Symbol) -> Symbol:
    """A maximum to subtract before exp: -inf (nothing possible) must not make -inf - -inf."""
    return op("where", op("equal", top, lift(float("-inf"))), lift(0.0), top)
