"""A computation with everything a tape lets go of: the value of every operation, and what it came from.

A tape keeps what derivatives read and no more. Here a plain function, a loss that exists already or a run of
a cell becomes a `Trace`: its operations in the order of computing, each with its value and operands, for a
cell also the equation, the sub-expression and the step it belongs to. `Trace.backward` sends cotangents
back by the tape's own rules and keeps every message apart. This module draws nothing.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dsl.run.unroll import executions
from dsl.system.system import System
from tinygrad_seq.primitive import Primitive
from tinygrad_seq.symbol import Symbol
from tinygrad_seq.tape import Edge, Leaf, Node, Step, freed_error
from tinygrad_seq.tensor import Tensor

Array = np.ndarray[Any, Any]
Steps = tuple[int, ...]


@dataclass
class Op:
    """One node of the tape.

    name      the primitive's, "leaf", or what a compiled node calls itself
    value     its result (None: the tape did not keep it)
    inputs    for each operand the position of the operation that made it, None for a constant
    operands  their values, None where unknown
    label     the user's name for it, a stream's with its step, or ""
    equation, symbol, at    for a cell: the equation it computes, the part of it, its step by axis
    """

    node: Node
    name: str
    value: Array | None
    inputs: tuple[int | None, ...] = ()
    operands: tuple[Any, ...] = ()
    static: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    equation: str | None = None
    symbol: Symbol | None = None
    at: Mapping[str, int] = field(default_factory=dict)
    stream: tuple[str, Steps] | None = None  # the stream's value at these steps
    line: str = ""  # file:line of the program that made it

    @property
    def is_leaf(self) -> bool:
        return not self.inputs

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.node.meta(0)[0])

    @property
    def source(self) -> str:
        """The line of the user's program that made it, as text."""
        path, _, number = (self.line or self.node.line).rpartition(":")
        return linecache.getline(path, int(number)).strip()


@dataclass
class Pass:
    """A backward pass: `order` of the operations visited, `adjoints` by operation, `messages` by
    (operation, operand): what it sent there."""

    order: list[int] = field(default_factory=list)
    adjoints: dict[int, Array] = field(default_factory=dict)
    messages: dict[tuple[int, int], Array] = field(default_factory=dict)


@dataclass
class Trace:
    """Operations in order, the last one wanted at `root`; for a cell also where its streams stand.

    `places[equation, symbol, steps]` are the operations that compute that part of an equation at a step,
    `streams[name, steps]` the one that is the stream's value there (a leaf for data and boundaries).
    """

    ops: list[Op]
    root: int
    title: str = "loss"
    system: System | None = None
    lengths: dict[str, int] = field(default_factory=dict)
    places: dict[tuple[str, Symbol, tuple[tuple[str, int], ...]], range] = field(default_factory=dict)
    streams: dict[tuple[str, Steps], int] = field(default_factory=dict)
    keep: Any = None  # tensors whose leaves the tape knows weakly

    def backward(
        self,
        seeds: Mapping[int, Array] | None = None,
        only: Collection[int] | None = None,
        cut: Collection[tuple[int, int]] = (),
    ) -> Pass:
        """Send cotangents back from `seeds` (default: ones at the root) by each node's own rule; through the operations
        `only`, where given, and along no edge (operation, operand) of `cut`."""
        done = Pass()
        if seeds is None:
            shape, dtype = self.ops[self.root].node.meta(0)
            seeds = {self.root: np.ones(shape, dtype)}
        done.adjoints.update({k: np.asarray(g) for k, g in seeds.items()})
        with np.errstate(all="ignore"):
            for k in range(max(seeds), -1, -1) if only is None else sorted(only, reverse=True):
                g = done.adjoints.get(k)
                if g is None or self.ops[k].is_leaf:
                    continue
                done.order.append(k)
                self._send(k, g, done, cut)
        return done

    def _send(self, k: int, g: Array, done: Pass, cut: Collection[tuple[int, int]]) -> None:
        op = self.ops[k]
        if op.node.freed:
            raise freed_error(op.node)
        cotangents = [g if n == 0 else None for n in range(op.node.count)]
        for n, message in enumerate(op.node.pull(cotangents, False)):
            source = op.inputs[n]
            if message is None or source is None or (k, n) in cut:
                continue
            done.messages[k, n] = np.asarray(message)
            before = done.adjoints.get(source)
            done.adjoints[source] = np.asarray(message if before is None else before + message)

    def expression(self, equation: str, symbol: Symbol, at: Mapping[str, int]) -> list[range]:
        """The operations of a part of an equation, at every step that agrees with `at`; a distribution's
        parameter is part of whatever equation reads it."""
        drawn = self.system is not None and equation in self.system.draws
        return [
            ops
            for name, steps, ops in self.parts.get(symbol, ())
            if (drawn or name == equation) and all(at.get(a, i) == i for a, i in steps)
        ]

    @cached_property
    def parts(self) -> dict[Symbol, list[tuple[str, tuple[tuple[str, int], ...], range]]]:
        found: dict[Symbol, list[tuple[str, tuple[tuple[str, int], ...], range]]] = {}
        for (name, symbol, steps), ops in self.places.items():
            found.setdefault(symbol, []).append((name, steps, ops))
        return found


# ---------------------------------------------------------------- recording


class Watched(Tensor):
    """A tensor whose operations are written down as they are computed, value and operands included."""

    __slots__ = ()
    reading_level = 1.5  # type: ignore[assignment]  # read before plain tensors, after symbols

    @classmethod
    def read(cls, op: Primitive, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        out = super().read(op, args, static)
        log = _log.get()
        if log is not None and isinstance(out, Tensor) and out.edge is not None:
            log.append(Entry(out, args, *_caller()))
        return out


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation as it was computed."""

    out: Tensor
    args: tuple[Any, ...]
    line: str
    instruction: int

    @property
    def node(self) -> Node:
        assert self.out.edge is not None
        return self.out.edge[0]


_log: ContextVar[list[Entry] | None] = ContextVar("viz.trace", default=None)
_ENGINE = str(Path(inspect.getfile(Tensor)).parent)


def _caller() -> tuple[str, int]:
    """`file:line` of the innermost frame outside the engine and this file, and the instruction in it."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_ENGINE, __file__)):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}", frame.f_lasti


@contextmanager
def recording() -> Iterator[list[Entry]]:
    log: list[Entry] = []
    token = _log.set(log)
    try:
        yield log
    finally:
        _log.reset(token)


def _below(root: Node) -> list[Node]:
    """Every node under the root, in the order of making."""
    found: dict[int, Node] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) not in found:
            found[id(node)] = node
            stack.extend(e[0] for e in node.edges if e is not None)
    return sorted(found.values(), key=lambda n: n.serial)


def _edge_of(loss: Any) -> Edge:
    edge: Edge | None = getattr(loss, "edge", None)
    if edge is None:
        raise TypeError(
            f"viz.stepper steps through a tensor computed from one with requires_grad, a function or a run; "
            f"this {type(loss).__name__} is off the tape"
        )
    if edge[0].freed:
        raise ValueError(
            "this tape was freed by backward(): step through it before that, or call backward(retain_graph=True)"
        )
    return edge


def _assemble(
    root: Node, values: Mapping[int, Array], operands: Mapping[int, tuple[Any, ...]], labels: Mapping[int, str]
) -> Trace:
    order = _below(root)
    at = {id(n): k for k, n in enumerate(order)}
    ops = []
    for node in order:
        key = id(node)
        name = node.op.name if isinstance(node, Step) else node.name
        inputs = tuple(None if e is None else at[id(e[0])] for e in node.edges)
        static = node.static if isinstance(node, Step) else {}
        given = tuple(plain(v) for v in operands.get(key, (None,) * len(inputs)))
        ops.append(Op(node, name, values.get(key), inputs, given, static, labels.get(key, "")))
    return Trace(ops, at[id(root)])


def plain(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def of_log(root: Node, log: list[Entry], leaves: Sequence[Tensor]) -> Trace:
    """The trace of what was recorded while `root` was computed from `leaves`."""
    values: dict[int, Array] = {}
    operands: dict[int, tuple[Any, ...]] = {}
    labels: dict[int, str] = {}
    lines: dict[int, str] = {}
    for entry in log:
        key = id(entry.node)
        values[key], operands[key], lines[key] = entry.out.data, entry.args, entry.line
        if entry.out.name:
            labels[key] = entry.out.name
    for leaf in leaves:
        assert leaf.edge is not None
        values[id(leaf.edge[0])], labels[id(leaf.edge[0])] = leaf.data, leaf.name or ""
    trace = _assemble(root, values, operands, labels)
    trace.keep = (log, leaves)
    for op in trace.ops:
        op.line = lines.get(id(op.node), "")
    missing = [op for op in trace.ops if op.value is None]
    return _recovered(trace, root) if missing else trace


# ---------------------------------------------------------------- a plain function


def of_function(function: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]) -> Trace:
    """Call a function of numbers, arrays or tensors; every argument of floating type becomes a leaf with its name."""
    try:
        bound = inspect.signature(function).bind(*args, **named)
    except TypeError as error:
        raise TypeError(f"viz.stepper({getattr(function, '__name__', 'function')}, ...): {error}") from None
    bound.apply_defaults()
    leaves: list[Tensor] = []
    for name, value in bound.arguments.items():
        array = value.data if isinstance(value, Tensor) else value
        if isinstance(array, bool) or not isinstance(array, int | float | np.ndarray | np.generic):
            continue
        array = np.asarray(array)
        if array.dtype.kind in "iu" and not isinstance(value, np.ndarray | Tensor):
            array = array.astype(float)
        if array.dtype.kind in "fc":
            leaf = Watched(array, requires_grad=True, name=getattr(value, "name", None) or name)
            leaves.append(leaf)
            bound.arguments[name] = leaf
    with recording() as log:
        loss = function(*bound.args, **bound.kwargs)
    trace = of_log(_edge_of(loss)[0], log, leaves)
    trace.title = getattr(function, "__name__", "function")
    _assigned(trace, log)
    return trace


def _assigned(trace: Trace, log: list[Entry]) -> None:
    """The last operation of a line `d = a*b` is called d."""
    last: dict[str, int] = {}
    for entry in log:
        last[entry.line] = max(last.get(entry.line, 0), entry.instruction)
    final = {id(e.node) for e in log if e.instruction == last[e.line]}
    targets: dict[str, str] = {}
    for op in trace.ops:
        if id(op.node) in final and not op.label:
            if op.line not in targets:
                targets[op.line] = _target(op.source)
            op.label = targets[op.line]


def _target(source: str) -> str:
    try:
        tree = ast.parse(source).body
    except SyntaxError:
        return ""
    first = tree[0] if tree else None
    single = isinstance(first, ast.Assign) and len(first.targets) == 1 and isinstance(first.targets[0], ast.Name)
    return first.targets[0].id if single else ""  # type: ignore[union-attr]


# ---------------------------------------------------------------- a loss that is there


def of_loss(loss: Any) -> Trace:
    """The tape under a tensor. Values come from the residuals, from the caller's variables (names as well), from
    runs of cells that are still held, and by computing again; one that none of these gives stays None."""
    root = _edge_of(loss)[0]
    trace = _assemble(root, {}, {}, {})
    trace.title = getattr(loss, "name", None) or "loss"
    trace = _recovered(trace, root, loss)
    _from_cells(trace)
    return trace


def _variables() -> Iterator[tuple[str, Tensor]]:
    """Tensors that the program which asked for a picture has under a name of its own, alone or in a list or a
    dictionary: the innermost frame outside of this package knows them."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "viz":
        frame = frame.f_back
    for name, value in {**frame.f_globals, **frame.f_locals}.items():
        if isinstance(value, Tensor) and not name.startswith("_"):  # a notebook's own begin so
            yield name, value
        elif isinstance(value, list | tuple | dict):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            yield from ((f"{name}[{key}]", v) for key, v in list(items) if isinstance(v, Tensor))


def _recovered(trace: Trace, root: Node, loss: Any = None) -> Trace:
    at = {id(op.node): k for k, op in enumerate(trace.ops)}
    for name, tensor in [*_variables(), *([("", loss)] if loss is not None else [])]:
        if tensor.edge is not None and tensor.edge[1] == 0 and id(tensor.edge[0]) in at:
            op = trace.ops[at[id(tensor.edge[0])]]
            op.value, op.label = tensor.data, op.label or tensor.name or name
    for op in trace.ops:
        if isinstance(op.node, Leaf):
            leaf = op.node.tensor()
            if leaf is not None:
                op.value, op.label = leaf.data, leaf.name or op.label
        elif isinstance(op.node, Step) and op.node.saved is not None:
            operands = list(op.operands)
            saved = op.node.derivative.saved
            for place, array in zip(saved, op.node.saved, strict=False):
                operands[place] = array
                source = op.inputs[place]
                if source is not None and trace.ops[source].value is None and op.node.edges[place][1] == 0:  # type: ignore[index]
                    trace.ops[source].value = np.asarray(array)
            op.operands = tuple(operands)
            if op.node.derivative.saves_y:
                op.value = op.node.saved[-1]
    for op in trace.ops:
        given = [
            trace.ops[k].value if k is not None and trace.ops[k].value is not None else v
            for k, v in zip(op.inputs, op.operands, strict=True)
        ]
        op.operands = tuple(given)
        if op.value is None and isinstance(op.node, Step) and all(v is not None for v in given):
            op.value = np.asarray(op.node.op.impl(*given, **op.static))
    return trace


def _from_cells(trace: Trace) -> None:
    """Where the tape holds a run of a cell on the literal engine: each operation's equation and step."""
    at = {id(op.node): k for k, op in enumerate(trace.ops)}
    for run in executions():
        ends = []
        for name, points in run.values.items():
            for steps, value in points.items():
                if isinstance(value, Tensor) and value.edge is not None and id(value.edge[0]) in at:
                    ends.append((at[id(value.edge[0])], name, steps))
        inputs = {n for n in run.inputs}
        before = -1
        for k, name, steps in sorted(ends):
            if name in run.system.equations and name not in inputs:
                axes = run.system.streams[name].axes
                trace.system = run.system
                for op in trace.ops[before + 1 : k + 1]:
                    if not op.is_leaf:
                        op.equation, op.at = name, dict(zip(axes, steps, strict=True))
                trace.ops[k].label = place(name, steps)
                if trace.ops[k].value is None:
                    trace.ops[k].value = run.values[name][steps].data
                trace.ops[k].stream = (name, steps)
            before = max(before, k)


def place(name: str, steps: Steps) -> str:
    return f"{name}[{','.join(map(str, steps))}]" if steps else name
