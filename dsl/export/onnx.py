"""A model as an ONNX graph of its forward pass: recurrences are Scan nodes, steps and sequences are free sizes.

A table says which nodes an operation on arrays is. A value that does not change in a loop is made outside of it: each
stands in the graph of the innermost loop that it differs in.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.export.arrays import Array, Arrays, Let, Loop, Size, Statement
from dsl.export.composites import COMPOSITES
from dsl.export.files import needs
from dsl.export.lacking import lacking
from dsl.export.walk import Program, lowered
from dsl.run.carry import carried
from dsl.run.program import sizes
from dsl.run.storage import write
from dsl.system.system import Stream

if TYPE_CHECKING:
    from dsl.run.model import Model

OPSET, FORMAT = 18, 9  # what runtimes of 2023 and later read
Write = Callable[["Graph", Array, Sequence[str]], str]


@dataclass(slots=True)
class Scope:
    """One graph's nodes: the model's, or a loop's body."""

    nodes: list[Any] = field(default_factory=list)
    made: dict[Array, str] = field(default_factory=dict)


class Graph:
    """Writes a program's nodes. `stateful`: it begins with the state of an earlier call, and gives the next one's."""

    def __init__(self, program: Program, onnx: Any, wide: bool, stateful: bool) -> None:
        self.program, self.onnx, self.stateful = program, onnx, stateful
        self.types = {"real": np.float64 if wide else np.float32, "int": np.int64, "bool": np.bool_}
        self.scopes: dict[Loop | None, Scope] = {None: Scope()}
        self.texts: dict[Array, str] = {}
        self.sizes: dict[str, str] = {}
        self.expanded: dict[Array, Array] = {}
        self.arrays = Arrays()
        self.constants: dict[tuple[str, bytes, tuple[int, ...]], str] = {}
        self.initializers: list[Any] = []
        self.inputs: dict[str, Any] = {}
        self.carries: dict[tuple[Loop, str], str] = {}
        self.at: Loop | None = None
        self._serial = itertools.count(1)

    # ------------------------------------------------------------ nodes

    def fresh(self, hint: str) -> str:
        return f"{hint}_{next(self._serial)}"

    def emit(self, op: str, *args: str, **attributes: Any) -> str:
        """A node of the graph being written; the name of its one output."""
        name = self.fresh(op)
        self.scopes[self.at].nodes.append(self.onnx.helper.make_node(op, list(args), [name], **attributes))
        return name

    def constant(self, value: Any, kind: str) -> str:
        array = np.asarray(value, self.types[kind])
        key = (kind, array.tobytes(), array.shape)
        if key not in self.constants:
            self.constants[key] = self.fresh("constant")
            self.initializers.append(self.onnx.numpy_helper.from_array(array, self.constants[key]))
        return self.constants[key]

    def kind(self, kind: str) -> int:
        """The element type of a kind."""
        if kind not in self.types:
            raise self.lacks("complex numbers", "write real and imaginary parts as two real streams")
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.types[kind])))

    def lacks(self, operation: str, help_: str = "") -> Exception:
        return lacking(self.program.system, operation, "ONNX", help_)

    def size(self, size: Size) -> str:
        """A size as a tensor of one number."""
        if isinstance(size, int):
            return self.constant([size], "int")
        return self.emit("Unsqueeze", self.sizes[size], self.constant([0], "int"))

    def shape(self, shape: tuple[Size, ...]) -> str:
        if all(isinstance(s, int) for s in shape):
            return self.constant(list(shape), "int")
        return self.emit("Concat", *map(self.size, shape), axis=0)

    def length(self, x: str, place: int) -> str:
        """One size of a tensor, a number."""
        return self.emit("Gather", self.emit("Shape", x), self.constant(place, "int"), axis=0)

    # ------------------------------------------------------------ arrays

    def tensor(self, root: Array) -> str:
        """The tensor of an array; each array is made once, in the graph of the loop that it differs in."""
        stack = [root]
        while stack:
            node = stack[-1]
            if node in self.texts:
                stack.pop()
                continue
            needs_ = self.needed(node)
            missing = [a for a in needs_ if a not in self.texts]
            if missing:
                stack.extend(reversed(missing))
                continue
            stack.pop()
            before, self.at = self.at, node.loop
            self.texts[node] = self.node(node, needs_)
            self.at = before
        return self.texts[root]

    def needed(self, node: Array) -> tuple[Array, ...]:
        """What a node is made from: its arguments, or what a composite stands for."""
        if node.op == "given":
            return (node.args[0 if self.stateful else 1],)
        if node.op in COMPOSITES and node.op not in NODES:
            if node not in self.expanded:
                self.expanded[node] = COMPOSITES[node.op](self.arrays, *node.args)
            return (self.expanded[node],)
        return tuple(a for a in node.args if not a.is_number)

    def node(self, node: Array, needs_: tuple[Array, ...]) -> str:
        self.kind(node.kind)
        if node.op == "given" or (node.op in COMPOSITES and node.op not in NODES):
            return self.texts[needs_[0]]
        if node.op not in NODES:
            raise self.lacks(node.op)
        like = node.kind if node.op == "where" else next((a.kind for a in node.args if not a.is_number), node.kind)
        args = [self.constant(a.static[0], like) if a.is_number else self.texts[a] for a in node.args]
        write = NODES[node.op]
        return self.emit(write, *args) if isinstance(write, str) else write(self, node, args)

    # ------------------------------------------------------------ statements

    def statements(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, Let):
                self.texts[statement.name] = value = self.tensor(statement.value)
                if not statement.name.sizes and statement.name.kind == "int":
                    self.sizes[statement.name.name] = value
            elif isinstance(statement, Loop):
                self.scan(statement)

    def scan(self, loop: Loop) -> None:
        """A Scan node: carried values, then slices; afterwards carried values again, then what was collected."""
        helper = self.onnx.helper
        begin = [self.tensor(c.before) for c in loop.carried.values()]
        self.at = loop.around
        first = self.constant(0, "int")
        begin = [
            self.emit("Gather", b, first, axis=0) if c.lag == 1 else b
            for b, c in zip(begin, loop.carried.values(), strict=True)
        ]
        over = [self.tensor(whole) for whole in loop.slices]
        self.scopes[loop] = Scope()
        carries = {n: self.fresh(f"{n}.before") for n in loop.carried}
        self.carries |= {(loop, n): v for n, v in carries.items()}
        for now in loop.slices.values():
            self.texts[now] = self.fresh("now")
        self.statements(loop.body)
        after = []
        for name, kept in loop.carried.items():
            value = self.tensor(kept.now)
            self.at = loop
            if kept.lag > 1:
                rest = self.emit("Slice", carries[name], *(self.constant([i], "int") for i in (1, kept.lag, 0)))
                value = self.emit("Concat", rest, self.emit("Unsqueeze", value, self.constant([0], "int")), axis=0)
            after.append(self.emit("Identity", value))
        collected = []
        for own in loop.collected:
            value = self.tensor(own)
            self.at = loop
            collected.append(self.emit("Identity", value))
        kinds = [c.before.kind for c in loop.carried.values()], [w.kind for w in loop.collected]
        given = [*zip(carries.values(), kinds[0], strict=True)]
        given += [(self.texts[n], n.kind) for n in loop.slices.values()]
        body = helper.make_graph(
            self.scopes[loop].nodes,
            self.fresh(f"step_{loop.axis}"),
            [helper.make_tensor_value_info(n, self.kind(k), None) for n, k in given],
            [
                helper.make_tensor_value_info(n, self.kind(k), None)
                for n, k in zip([*after, *collected], [*kinds[0], *kinds[1]], strict=True)
            ],
        )
        last = [self.fresh(f"{n}.last") for n in loop.carried]
        made = [self.fresh(w.name) for w in loop.collected.values()]
        direction = int(loop.reverse)
        self.at = loop.around
        self.scopes[loop.around].nodes.append(
            helper.make_node(
                "Scan",
                [*begin, *over],
                [*last, *made],
                body=body,
                num_scan_inputs=len(over),
                scan_input_directions=[direction] * len(over),
                scan_output_directions=[direction] * len(made),
            )
        )
        self.texts.update(zip(loop.collected.values(), made, strict=True))

    # ------------------------------------------------------------ the model

    def input(self, name: str, kind: str, shape: Sequence[Size]) -> str:
        if name not in self.inputs:
            self.inputs[name] = self.onnx.helper.make_tensor_value_info(name, self.kind(kind), list(shape))
        return name

    def model(self, params: dict[str, Any]) -> Any:
        """The ModelProto, with the parameters' values."""
        helper, program, system = self.onnx.helper, self.program, self.program.system
        for name in program.params:
            stream = program.params[name]
            array = np.asarray(params[name], self.types[self._kind(stream)])
            self.initializers.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), f"param.{name}"))
        for name, stream in program.inputs.items():
            features = () if stream.dtype == "category" else sizes(stream.shape)
            batch = () if stream.shared else ("B",)
            self.input(name, self._kind(stream), [*(a.upper() for a in stream.axes), *batch, *features])
        first, stream = next((n, s) for n, s in program.inputs.items() if not s.shared)
        self.sizes["B"] = self.length(first, len(stream.axes))
        for axis, (name, dim) in program.base.items():
            self.sizes[f"steps_{axis}"] = self.length(name, dim)
        self.statements(program.statements)
        results = dict(program.results)
        if self.stateful:
            results |= {f"after.{n}": v for n, v in program.state.items()}
        outputs = []
        for name, value in results.items():
            made = self.tensor(value)
            self.at = None
            self.scopes[None].nodes.append(
                helper.make_node("Identity", [made], [name if name not in self.inputs else f"{name}.out"])
            )
            dims = [s if isinstance(s, int) else s.removeprefix("steps_").upper() for s in value.sizes]
            outputs.append(
                helper.make_tensor_value_info(self.scopes[None].nodes[-1].output[0], self.kind(value.kind), dims)
            )
        graph = helper.make_graph(
            self.scopes[None].nodes, system.name, list(self.inputs.values()), outputs, self.initializers
        )
        graph.doc_string = system.source.text if system.source is not None else ""
        opset = [helper.make_operatorsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=FORMAT, producer_name="tinygrad-seq")

    def _kind(self, stream: Stream) -> str:
        kind = {"category": "int", "boolean": "bool"}.get(stream.dtype, stream.dtype)
        self.kind(kind)
        return kind


# ---------------------------------------------------------------- operations


def _floordiv(g: Graph, node: Array, args: Sequence[str]) -> str:
    if node.kind == "real":
        return g.emit("Floor", g.emit("Div", *args))
    return g.emit("Div", g.emit("Sub", args[0], g.emit("Mod", *args)), args[1])  # Div itself rounds to zero


def _mod(g: Graph, node: Array, args: Sequence[str]) -> str:
    if node.kind == "int":
        return g.emit("Mod", *args)
    return g.emit("Sub", args[0], g.emit("Mul", args[1], g.emit("Floor", g.emit("Div", *args))))


def _expand(g: Graph, node: Array, args: Sequence[str]) -> str:
    places = [i for i, fresh in enumerate(node.static) if fresh]
    return g.emit("Unsqueeze", args[0], g.constant(places, "int"))


def _broadcast(g: Graph, node: Array, args: Sequence[str]) -> str:
    return g.emit("Expand", args[0], g.shape(node.sizes))


def _full(g: Graph, node: Array, args: Sequence[str]) -> str:
    value = g.constant(node.args[0].static[0], node.kind)
    return g.emit("Expand", value, g.shape(node.sizes)) if node.sizes else value


def _transpose(g: Graph, node: Array, args: Sequence[str]) -> str:
    n = node.rank
    return g.emit("Transpose", args[0], perm=[*range(n - 2), n - 1, n - 2])


def _slice(g: Graph, node: Array, args: Sequence[str]) -> str:
    start, steps = node.static
    end = g.emit("Add", g.size(steps), g.constant([start], "int"))
    return g.emit("Slice", args[0], g.constant([start], "int"), end, g.constant([0], "int"))


def _part(g: Graph, node: Array, args: Sequence[str]) -> str:
    start, size = node.static
    return g.emit("Slice", args[0], *(g.constant([i], "int") for i in (start, start + size, node.rank - 1)))


def _range(g: Graph, count: str) -> str:
    return g.emit("Range", g.constant(0, "int"), count, g.constant(1, "int"))


def _gather(g: Graph, node: Array, args: Sequence[str]) -> str:
    """Indices of several dims as one of GatherND."""
    x, *index = args
    if len(index) == 1:
        return g.emit("Gather", x, index[0], axis=0)
    rank = max(a.rank for a in node.args[1:])
    total = index[0]
    for other in index[1:]:
        total = g.emit("Add", total, other)  # for its shape
    shape = g.emit("Shape", total)
    behind = g.constant([rank], "int")
    parts = [g.emit("Unsqueeze", g.emit("Expand", i, shape), behind) for i in index]
    return g.emit("GatherND", x, g.emit("Concat", *parts, axis=-1))


def _gather_last(g: Graph, node: Array, args: Sequence[str]) -> str:
    last = g.constant([node.rank], "int")
    return g.emit("Squeeze", g.emit("GatherElements", args[0], g.emit("Unsqueeze", args[1], last), axis=-1), last)


def _reduced(op: str) -> Write:
    def write(g: Graph, node: Array, args: Sequence[str]) -> str:
        axis, keep = node.static
        return g.emit(op, args[0], g.constant([axis], "int"), keepdims=int(keep))

    return write


def _along(op: str) -> Write:
    return lambda g, node, args: g.emit(op, args[0], axis=node.static[0])


def _argsort(g: Graph, node: Array, args: Sequence[str]) -> str:
    values, places = g.fresh("values"), g.fresh("places")
    count = g.emit("Shape", args[0])
    make = g.onnx.helper.make_node
    g.scopes[g.at].nodes.append(make("TopK", [args[0], count], [values, places], largest=0))
    return places


def _earlier(g: Graph, node: Array, args: Sequence[str]) -> str:
    name, back, loop = node.static
    carry, lag = g.carries[loop, name], loop.carried[name].lag
    return carry if lag == 1 else g.emit("Gather", carry, g.constant(lag - back, "int"), axis=0)


def _sized(g: Graph, node: Array, args: Sequence[str]) -> str:
    """A named size."""
    return g.sizes[node.name]


NODES: dict[str, str | Write] = {
    **{
        name: op
        for name, op in {
            "add": "Add",
            "sub": "Sub",
            "mul": "Mul",
            "div": "Div",
            "neg": "Neg",
            "power": "Pow",
            "equal": "Equal",
            "less": "Less",
            "less_equal": "LessOrEqual",
            "greater": "Greater",
            "greater_equal": "GreaterOrEqual",
            "logical_and": "And",
            "logical_or": "Or",
            "logical_not": "Not",
            "maximum": "Max",
            "minimum": "Min",
            "where": "Where",
            "abs": "Abs",
            "sign": "Sign",
            "exp": "Exp",
            "log": "Log",
            "sqrt": "Sqrt",
            "sin": "Sin",
            "cos": "Cos",
            "arctan": "Atan",
            "erf": "Erf",
            "tanh": "Tanh",
            "sigmoid": "Sigmoid",
            "relu": "Relu",
            "matmul": "MatMul",
        }.items()
    },
    "not_equal": lambda g, n, a: g.emit("Not", g.emit("Equal", *a)),
    "square": lambda g, n, a: g.emit("Mul", a[0], a[0]),
    "clip": lambda g, n, a: g.emit("Min", g.emit("Max", a[0], a[1]), a[2]),
    "floordiv": _floordiv,
    "mod": _mod,
    "cast": lambda g, n, a: g.emit("Cast", a[0], to=g.kind(n.kind)),
    "expand": _expand,
    "broadcast": _broadcast,
    "full": _full,
    "order": lambda g, n, a: g.emit("Transpose", a[0], perm=list(n.static)),
    "transpose": _transpose,
    "squeeze": lambda g, n, a: g.emit("Squeeze", a[0], g.constant([n.rank], "int")),
    "at": lambda g, n, a: g.emit("Gather", a[0], g.constant(n.static[0], "int"), axis=0),
    "slice": _slice,
    "part": _part,
    "concat": lambda g, n, a: g.emit("Concat", *a, axis=n.static[0]),
    "gather": _gather,
    "gather_last": _gather_last,
    "take_last": lambda g, n, a: g.emit("Gather", *a, axis=-1),
    "argsort": _argsort,
    "length": lambda g, n, a: g.length(a[0], n.static[0]),
    "count": lambda g, n, a: _range(g, g.length(a[0], n.static[0])),
    "arange": lambda g, n, a: _range(
        g, g.constant(n.static[0], "int") if isinstance(n.static[0], int) else g.sizes[n.static[0]]
    ),
    "at_least": lambda g, n, a: g.emit("Max", a[0], g.constant(1, "int")),  # onnxruntime cannot Scan over no steps
    "softmax": _along("Softmax"),
    "log_softmax": _along("LogSoftmax"),
    "stop_gradient": lambda g, n, a: a[0],
    "earlier": _earlier,
    "name": _sized,
    "param": lambda g, n, a: f"param.{n.name}",
    "input": lambda g, n, a: n.name,
    "state": lambda g, n, a: g.input(f"state.{n.name}", n.kind, n.sizes),
    "given_length": lambda g, n, a: g.input(f"lengths.{n.name}", "int", ["B"]),
    "noise": lambda g, n, a: g.emit("Expand", g.constant(n.static[3], "real"), g.shape(n.sizes)),
    "reduce_sum": _reduced("ReduceSum"),
    "reduce_mean": _reduced("ReduceMean"),
    "reduce_max": _reduced("ReduceMax"),
    "reduce_min": _reduced("ReduceMin"),
    "reduce_logsumexp": _reduced("ReduceLogSumExp"),
}


def graph(model: Model, state: bool = False) -> Any:
    """The onnx.ModelProto that `to_onnx` writes."""
    onnx = needs("onnx", "to_onnx")
    program = lowered(model.system)
    if state and not program.state:
        carried(model.system)  # says which read forbids it
    made = Graph(program, onnx, model.dtype == np.float64, state)
    proto = made.model({n: np.array(t.data) for n, t in model.params.items()})
    onnx.checker.check_model(proto)
    return proto


def to_onnx(model: Model, path: str | Path, state: bool = False) -> Path:
    """Write the forward pass as an ONNX model, atomically; what noise there is is its mean.

    Inputs are the cell's by name, time-major (T, B, features), and `lengths.t` (B,), int64, for each free axis; outputs
    the cell's by name, a loss `nll` as its batch mean and as `nll.each`. With `state` the graph goes on behind an
    earlier call: inputs `state.h`, `state.t` (steps run), outputs `after.h`, `after.t`. Numbers are of the model's
    dtype; runtimes have fewer kernels for float64. Errors: ImportError without the package onnx; CellError E720 for an
    operation that ONNX lacks (anything complex), E480 for a state of a cell that cannot be carried on.
    """
    proto = graph(model, state)
    return write(Path(path), proto.SerializeToString())
