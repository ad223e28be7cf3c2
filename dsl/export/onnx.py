"""A model as an ONNX graph of its forward pass: recurrences are Scan nodes, steps and sequences are free sizes.

`onnx_nodes` says which nodes an operation on arrays is. A value that does not change in a loop is made outside of it:
each stands in the graph of the innermost loop that it differs in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.export.arrays import Array, Arrays, Let, Loop, Size, Statement
from dsl.export.composites import composite_of
from dsl.export.files import needs
from dsl.export.lacking import lacking
from dsl.export.onnx_nodes import NODES
from dsl.export.walk import Lowered, lowered
from dsl.run.carry import carried
from dsl.run.program import sizes
from dsl.system.system import Stream
from tinygrad_seq.files import write_file

if TYPE_CHECKING:
    from dsl.run.model import Model

OPSET, FORMAT = 18, 9  # what runtimes of 2023 and later read


@dataclass(slots=True)
class Scope:
    """One graph's nodes: the model's, or a loop's body."""

    nodes: list[Any] = field(default_factory=list)
    made: dict[Array, str] = field(default_factory=dict)


class Graph:
    """Writes a program's nodes. `stateful`: it begins with the state of an earlier call, and gives the next one's."""

    def __init__(self, program: Lowered, onnx: Any, wide: bool, stateful: bool) -> None:
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
        if node.op not in NODES and (composite := composite_of(node.op)) is not None:
            if node not in self.expanded:
                self.expanded[node] = composite(self.arrays, *node.args)
            return (self.expanded[node],)
        return tuple(a for a in node.args if not a.is_number)

    def node(self, node: Array, needs_: tuple[Array, ...]) -> str:
        self.kind(node.kind)
        if node.op == "given" or node in self.expanded:
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
        for name, (of, dim) in program.counts.items():
            lengths = self.input(f"lengths.{of}", "int", ["B"]) if dim is None else ""
            if name == "B":
                self.sizes[name] = self.length(lengths or of, dim or 0)
                continue
            steps = self.emit("ReduceMax", lengths, keepdims=0) if dim is None else self.length(of, dim)
            self.sizes[name] = self.emit("Max", steps, self.constant(1, "int"))  # onnxruntime cannot Scan no steps
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
    return write_file(Path(path), proto.SerializeToString())
