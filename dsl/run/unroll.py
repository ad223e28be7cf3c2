"""The literal engine: a system executed step by step, one operation a node of its expressions and point.

It exists to be obviously right, to be looked at (run on tensors, every operation becomes a node on the
tape) and to read any system, a cell or its adjoint. It follows the schedule and never computes a value
for a sequence at a step it does not have, so there is nothing to mask. It calls primitives only and
therefore runs on plain arrays as well. It knows nothing of parameters' initialisers, fitting or compiled code.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dsl.plan.schedule import Block, Scan, Vector
from dsl.run.program import Evaluation, Prepared, members_of, needed, sizes
from dsl.run.rows import Batch, Ints, assemble, derived_lengths, narrow, stacked, take, widen
from dsl.system.dims import Dim
from dsl.system.kinds import binds
from dsl.system.system import Extent, Index, Position, Read, Size, Stream, System
from tinygrad_seq.errors import AnomalyError
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.state import changed, state
from tinygrad_seq.symbol import Symbol
from tinygrad_seq.tensor import Tensor

Point = dict[str, int]  # a step on each of some axes
NATIVE_SHARED = {
    ("matvec", 0),
    ("lookup", 0),
    ("permute", 0),
    ("unpermute", 0),
}  # arguments these primitives take without a batch axis
EMPTY_IS_AN_ERROR = ("mean", "max", "min", "softmax", "log_softmax", "logsumexp")


def unroll(
    system: System,
    inputs: Mapping[str, Any],
    lengths: Mapping[str, Any],
    batch: int,
    want: Sequence[str],
    start: Mapping[str, Any] | None = None,
    clock: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The streams `want` of a bound system (all dims numbers), every operation a node.

    inputs   name -> Tensor or array: (T, ..., B, *features) for streams on time axes, (B, *features) for
             one value a sequence, features alone for what is shared; categories are integers, -1 is none
    lengths  axis -> (B,) or int, for the axes that are not derived
    start    name -> (lag, B, *features): values at relative steps -lag..-1, for sequences already under way
    clock    axis -> (B,) steps each sequence has already run; without it `start` holds for all its lag

    Returns arrays of the same layout; beyond a sequence's end they are 0 (-1 for categories).
    Errors: ValueError for a missing input and for a mean, maximum or softmax over a sequence without steps.
    """
    run = Unrolling(Prepared(system), inputs, lengths, batch, start, clock)
    run.execute(want)
    return {name: run.result(name) for name in want}


def float_type(values: Mapping[str, Any]) -> np.dtype[Any]:
    """The floating type the inputs agree on (float64 when there is none)."""
    kinds = [np.dtype(v.dtype) for v in values.values() if hasattr(v, "dtype") and np.dtype(v.dtype).kind in "fc"]
    widest = np.result_type(*kinds) if kinds else np.dtype(np.float64)
    return np.empty(0, widest).real.dtype


_executions: weakref.WeakValueDictionary[int, Unrolling] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def executions() -> list[Unrolling]:
    """Those that somebody still holds, oldest first: whose equations a tape's nodes belong to is among their values."""
    return [run for _, run in sorted(_executions.items())]


class Unrolling:
    """One execution of a program: the batch and the values computed so far. More streams may be asked for later."""

    def __init__(
        self,
        program: Prepared,
        inputs: Mapping[str, Any],
        lengths: Mapping[str, Any],
        batch: int,
        start: Mapping[str, Any] | None = None,
        clock: Mapping[str, Any] | None = None,
    ) -> None:
        _executions[next(_numbers)] = self
        self.program = program
        self.system = program.system
        self.inputs = dict(inputs)
        self.batch = Batch(derived_lengths(self.system.axes, lengths, batch), batch)
        self.start = dict(start or {})
        self.clock = {a: np.broadcast_to(np.asarray(c, np.int64), (batch,)) for a, c in (clock or {}).items()}
        self.dtype = float_type(self.inputs)
        self.values: dict[str, dict[tuple[int, ...], Any]] = {}
        self.plans: dict[str, list[Evaluation]] = {}
        self.lasting: dict[tuple[Any, ...], Any] = {}
        self.constants: dict[Symbol, Any] = {}
        self.boundaries: dict[str, Any] = {}

    # ------------------------------------------------------------ the schedule

    def execute(self, want: Sequence[str]) -> None:
        """Compute what `want` needs and is not there yet, in the schedule's order."""
        todo = needed(self.system, want, self.inputs)
        for name in todo:
            if name not in self.inputs and name not in self.system.equations:
                raise ValueError(f"missing {self.system.streams[name].kind} {name}, needed for {', '.join(want)}")
        chosen = [n for n in todo if n not in self.inputs and n not in self.plans]
        for name in chosen:
            self.values[name] = {}
            self.plans[name] = self.program.plan(self.system.equations[name], self.system.streams[name].axes)
        self.blocks(self.program.blocks, {name: {} for name in chosen})
        self.lasting.clear()

    def blocks(self, blocks: Sequence[Block], at: Mapping[str, Point]) -> None:
        """Run blocks in order; `at` gives, for each equation of interest, its steps on the axes of the loops around."""
        for block in blocks:
            if isinstance(block, Vector):
                for name in block.equations:
                    if name in at:
                        self.equation(name, at[name])
            else:
                self.scan(block, at)

    def scan(self, scan: Scan, at: Mapping[str, Point]) -> None:
        steps = self.batch.longest[scan.axis]
        members = [n for n in members_of(scan) if n in at]
        if not members or not steps:
            return
        latest = max(scan.skew.get(n, 0) for n in members)
        first = 0 if scan.direction > 0 else 1 - steps
        last = steps - 1 if scan.direction > 0 else 0
        for time in range(first, last + latest + 1):
            inside: dict[str, Point] = {}
            for name in members:
                step = scan.direction * (time - scan.skew.get(name, 0))
                if 0 <= step < steps:
                    inside[name] = {**at[name], scan.axis: step}
            self.blocks(scan.body, inside)

    def equation(self, name: str, fixed: Point) -> None:
        """All points of one equation that the loops around leave open."""
        axes = self.system.streams[name].axes
        for point in self.points(axes, fixed):
            if len(self.batch.rows(axes, [point[a] for a in axes])) or not axes:
                steps = tuple(point[a] for a in axes)
                try:
                    self.values[name][steps] = self.literally(name, point)
                except AnomalyError as error:
                    place = f"{name}[{','.join(map(str, steps))}]" if steps else name
                    raise AnomalyError(f"{place}: {error}") from None

    def literally(self, name: str, point: Point) -> Any:
        """`value`, whose slopes are multiplied as they are written down: 0 times an infinite one is NaN."""
        if not self.program.poles or name in self.program.settled:
            return self.value(name, point)
        with changed(literal=True):
            return self.value(name, point)

    def points(self, axes: Sequence[str], fixed: Point) -> Iterator[Point]:
        ranges = [(fixed[a],) if a in fixed else range(self.batch.longest[a]) for a in axes]
        for steps in itertools.product(*ranges):
            yield dict(zip(axes, steps, strict=True))

    def value(self, name: str, point: Point) -> Any:
        """One equation at one point, on its stream's own axes and shape."""
        stream = self.system.streams[name]
        value, root = self.evaluate(self.plans[name], point)
        if stream.total:
            summed = widen(value, self.batch.size) if root.shared else value
            return self.shaped(REGISTRY["sum"](summed, axis=0), (), stream)
        if stream.shared:
            return self.shaped(value, (), stream)
        rows = self.batch.rows(stream.axes, [point[a] for a in stream.axes])
        if root.shared:
            value = widen(self.shaped(value, (), stream), len(rows))
        else:
            value = narrow(value, self.rows_of(root.axes, point), rows)
        return self.shaped(value, (len(rows),), stream)

    def shaped(self, value: Any, lead: tuple[int, ...], stream: Stream) -> Any:
        """A scalar where a vector is due is broadcast; categories are integers."""
        shape = lead + sizes(stream.shape)
        if stream.dtype == "category" and np.dtype(value.dtype).kind != "i":
            value = np.asarray(value).astype(np.int64)
        if np.shape(value) == shape:
            return value
        while lead and len(np.shape(value)) < len(shape):
            value = REGISTRY["expand"](value, axis=-1)
        return REGISTRY["broadcast_to"](value, shape)

    # ------------------------------------------------------------ expressions

    def evaluate(self, plan: list[Evaluation], point: Point) -> tuple[Any, Evaluation]:
        """The root's value at a point, over its own rows (or shared), and the root."""
        here: list[Any] = [None] * len(plan)  # values at the point itself
        inner: dict[tuple[Any, ...], Any] = {}  # values at every step of the axes bound around them

        def found(i: int, at: Point) -> Any:
            node = plan[i]
            if not node.bound and not node.lasting:
                return here[i]
            return (self.lasting if node.lasting else inner)[(node.symbol, *(at[a] for a in node.axes))]

        for i, node in enumerate(plan):
            if not node.bound and not node.lasting:
                here[i] = self.node(plan, node, point, found)
                continue
            memo = self.lasting if node.lasting else inner
            for at in self.points(node.axes, {a: step for a, step in point.items() if a not in node.bound}):
                key = (node.symbol, *(at[a] for a in node.axes))
                if key not in memo and (not node.axes or len(self.rows_of(node.axes, at))):
                    memo[key] = self.node(plan, node, at, found)
        return found(len(plan) - 1, point), plan[-1]

    def node(self, plan: list[Evaluation], node: Evaluation, at: Point, found: Any) -> Any:
        if node.symbol.op is None:
            return self.leaf(node.symbol, at)
        args = [plan[i] for i in node.args]
        if node.over is not None:
            return self.reduce(node, args[0], at, lambda steps: found(node.args[0], steps))
        return self.apply(node, args, at, [found(i, at) for i in node.args])

    def apply(self, node: Evaluation, nodes: list[Evaluation], at: Point, values: list[Any]) -> Any:
        """One operation on its arguments, brought to the node's rows and to matching feature ranks."""
        op = node.symbol.op
        assert op is not None
        if op.name == "shape_of":
            return nodes[0].shape
        if op.name == "size":
            return np.asarray(op(np.empty(nodes[0].shape), **node.options), self.dtype)
        if op.name == "one_hot":
            return op(np.asarray(values[0]), node.shape[-1]).astype(self.dtype)
        if node.shared:
            return op(*values, **node.options)
        rows = self.rows_of(node.axes, at)
        rank = max(a.rank for a in nodes)
        args = []
        for i, (value, arg) in enumerate(zip(values, nodes, strict=True)):
            if isinstance(value, tuple):
                value = (len(rows), *value)
            elif not arg.shared:
                value = narrow(value, self.rows_of(arg.axes, at), rows)
                if rank and not arg.rank and (op.elementwise or op.name == "broadcast_to"):
                    for _ in range(rank):
                        value = REGISTRY["expand"](value, axis=-1)
            elif not op.elementwise and (op.name, i) not in NATIVE_SHARED:
                value = widen(value, len(rows))
            args.append(value)
        if op.name == "scatter_columns":  # of one row each: the sum over rows is `total`'s
            return REGISTRY["outer"](
                args[0], REGISTRY["one_hot"](np.asarray(args[1]), node.shape[-1]).astype(self.dtype)
            )
        result = op(*args, **node.options)
        if not isinstance(result, Tensor):  # of data alone: not the tape's business, so nobody was told
            for watch in state().watches:
                watch.result(op.name, args, node.options, [result], "an equation")
        return result

    def reduce(self, node: Evaluation, operand: Evaluation, at: Point, found: Any) -> Any:
        """A reduction over a whole time axis: sequences of equal length together, their real steps stacked."""
        axis = node.over
        assert axis is not None
        rest = tuple(a for a in node.axes if a != axis)
        if binds(node.symbol) is not None:
            return assemble(self.groups(node, operand, rest, at, found))
        key = (node.symbol, "groups", *(at[a] for a in rest))
        if key not in self.lasting:
            self.lasting[key] = self.groups(node, operand, rest, at, found)
        step = at[axis]
        return assemble([(rows, take(v, step)) for rows, v in self.lasting[key] if v.shape[0] > step])

    def groups(
        self, node: Evaluation, operand: Evaluation, rest: tuple[str, ...], at: Point, found: Any
    ) -> list[tuple[Ints, Any]]:
        """For each length on the axis among the rows: those rows, and the operation on their stacked steps."""
        op, axis = node.symbol.op, node.over
        assert op is not None and axis is not None
        rows = self.rows_of(rest, at)
        length = self.batch.lengths[axis][rows]
        options = {k: v for k, v in node.options.items() if k not in ("axis", "keepdims")}
        out: list[tuple[Ints, Any]] = []
        for steps in np.unique(length):
            group = rows[length == steps]
            if not steps:
                if op.name in EMPTY_IS_AN_ERROR:
                    raise ValueError(f"{op.name}[{axis}] of sequence {group[0]}, which has no steps on {axis}")
                out.append((group, np.zeros((len(group), *operand.shape), self.dtype)))
                continue
            parts = []
            for step in range(steps):
                here = {**at, axis: step}
                value = found(here)
                own = self.rows_of(operand.axes, here)
                parts.append(widen(value, len(group)) if operand.shared else narrow(value, own, group))
            out.append((group, op(stacked(parts), axis=0, **options)))
        return out or [(rows, np.zeros((0, *operand.shape), self.dtype))]

    def rows_of(self, axes: Sequence[str], at: Point) -> Ints:
        return self.batch.rows(axes, [at[a] for a in axes])

    # ------------------------------------------------------------ leaves

    def leaf(self, symbol: Symbol, at: Point) -> Any:
        leaf = symbol.leaf
        if isinstance(leaf, Read):
            return self.read(leaf, at)
        if isinstance(leaf, Position):
            rows = self.rows_of((leaf.axis,), at)
            clock = self.clock.get(leaf.axis)
            return (np.full(len(rows), at[leaf.axis]) + (0 if clock is None else clock[rows])).astype(self.dtype)
        if isinstance(leaf, Extent):
            length = self.batch.lengths[leaf.axis].astype(self.dtype)
            return length[self.rows_of((leaf.axis,), at)] if leaf.inside else length
        found = self.constants.get(symbol)
        if found is None:
            number = int(leaf.dim) if isinstance(leaf, Size) else int(leaf) if isinstance(leaf, Dim) else leaf
            dtype = np.result_type(self.dtype, np.complex64) if isinstance(number, complex) else self.dtype
            found = self.constants[symbol] = np.asarray(number, dtype)
        return found

    def read(self, read: Read, at: Point) -> Any:
        """A stream at the read's indices, over the reader's rows; the boundary where it has no such step."""
        stream = self.system.streams[read.name]
        if not stream.axes:
            return self.fetch(stream, ())
        axes = tuple(dict.fromkeys(i.axis for i in read.index if i.axis is not None))
        rows = self.rows_of(axes, at)
        targets = [self.target(i, at, rows) for i in read.index]
        pieces: list[tuple[Ints, Any]] = []
        if all(isinstance(j, int) for j in targets):
            self.collect(stream, tuple(targets), rows, pieces)
        else:
            columns = np.stack([np.broadcast_to(j, len(rows)) for j in targets], axis=1)
            for steps in np.unique(columns, axis=0):
                chosen = rows[(columns == steps).all(axis=1)]
                self.collect(stream, tuple(int(j) for j in steps), chosen, pieces)
        return assemble(pieces)

    def target(self, index: Index, at: Point, rows: Ints) -> Any:
        """The step an index looks at: an int, or one a row when it depends on the sequence's length."""
        lengths = {index.length: self.batch.lengths[index.length][rows]} if index.length is not None else {}
        value = index.at(at[index.axis] if index.axis is not None else 0, lengths)
        return value if isinstance(value, int) else np.asarray(value, np.int64)

    def collect(self, stream: Stream, steps: tuple[int, ...], rows: Ints, pieces: list[tuple[Ints, Any]]) -> None:
        """Append what `rows` see at one step of a stream: its values, carried ones, its boundary."""
        have = self.batch.rows(stream.axes, steps)
        if len(rows) and len(have) == self.batch.size:
            pieces.append((rows, narrow(self.fetch(stream, steps), have, rows)))
            return
        inside = np.intersect1d(rows, have, assume_unique=True)
        if len(inside):
            pieces.append((inside, narrow(self.fetch(stream, steps), have, inside)))
        outside = rows if not len(inside) else np.setdiff1d(rows, inside, assume_unique=True)
        if stream.name in self.start and len(outside) and steps[0] < 0:
            carried = self.start[stream.name]
            clock = self.clock.get(stream.axes[0])
            run = clock[outside] if clock is not None else np.full(len(outside), len(carried))
            ran = outside[run + steps[0] >= 0]
            if len(ran) and len(carried) + steps[0] >= 0:
                pieces.append((ran, np.asarray(carried[len(carried) + steps[0]])[ran]))
                outside = np.setdiff1d(outside, ran, assume_unique=True)
        if len(outside) or not pieces:
            pieces.append((outside, self.boundary(stream, steps, outside)))

    def boundary(self, stream: Stream, steps: tuple[int, ...], rows: Ints) -> Any:
        """A stream's boundary value for some rows."""
        shape = sizes(stream.shape)
        if stream.boundary is None:
            if len(rows):
                where = f"{stream.name}[{','.join(map(str, steps))}]"
                raise ValueError(f"{where} of sequence {rows[0]} lies outside its steps and has no boundary value")
            return np.zeros((0, *shape), self.dtype)
        node = stream.boundary
        if node.is_number:
            kind: Any = {"category": np.int64, "boolean": bool}.get(stream.dtype, self.dtype)
            return np.full((len(rows), *shape), node.leaf, kind)
        if stream.name not in self.boundaries:
            value, own = self.evaluate(self.program.plan(node, ()), {})
            value = self.shaped(value, () if own.shared else (self.batch.size,), stream)
            self.boundaries[stream.name] = value, own.shared
        value, shared = self.boundaries[stream.name]
        return widen(value, len(rows)) if shared else narrow(value, self.batch.all, rows)

    def fetch(self, stream: Stream, steps: tuple[int, ...]) -> Any:
        """A stream's value at its own steps: computed, or cut out of an input's real part."""
        points = self.values.setdefault(stream.name, {})
        if steps not in points:
            value = self.inputs[stream.name]
            if stream.axes:
                value = take(value, steps if len(steps) > 1 else steps[0])
                value = narrow(value, self.batch.all, self.batch.rows(stream.axes, steps))
            points[steps] = value
        return points[steps]

    # ------------------------------------------------------------ results

    def result(self, name: str) -> Any:
        """One stream as an array (or tensor) over all its steps, padded behind each sequence's end."""
        if name in self.inputs:
            return self.inputs[name]
        stream = self.system.streams[name]
        if not stream.axes:
            return self.values[name][()]
        shape = sizes(stream.shape)
        extent = tuple(self.extent(a) for a in stream.axes)
        points = list(itertools.product(*map(range, extent)))
        if not points or not self.batch.size:
            return np.zeros((*extent, self.batch.size, *shape), self.type_of(stream))
        return stacked([self.padded(stream, p) for p in points], extent)

    def type_of(self, stream: Stream) -> Any:
        """The dtype of a stream's values."""
        if stream.dtype == "complex":
            return np.result_type(self.dtype, np.complex64)
        return {"category": np.int64, "boolean": np.bool_}.get(stream.dtype, self.dtype)

    def extent(self, axis: str) -> int:
        """Steps of results along an axis: as many as the inputs on it have, padding included."""
        given = [
            np.shape(v)[self.system.streams[n].axes.index(axis)]
            for n, v in self.inputs.items()
            if n in self.system.streams and axis in self.system.streams[n].axes
        ]
        return int(max([self.batch.longest[axis], *given]))

    def padded(self, stream: Stream, steps: tuple[int, ...]) -> Any:
        rows = self.batch.rows(stream.axes, steps)
        if len(rows) == self.batch.size:
            return self.values[stream.name][steps]
        missing = np.setdiff1d(self.batch.all, rows, assume_unique=True)
        shape = (len(missing), *sizes(stream.shape))
        blank = np.full(shape, -1 if stream.dtype == "category" else 0, self.type_of(stream))
        pieces = [(rows, self.values[stream.name][steps])] if len(rows) else []
        return assemble([*pieces, (missing, blank)])
