"""What the operations on arrays are in ONNX: a table of node types, and of functions that write several nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dsl.export.arrays import Array

if TYPE_CHECKING:
    from dsl.export.onnx import Graph

Write = Callable[["Graph", Array, Sequence[str]], str]


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


def _flat(g: Graph, node: Array, args: Sequence[str]) -> str:
    """Of an array that may have no places at all."""
    ends = g.constant([2], "int"), g.constant([node.args[0].rank], "int")
    first = g.emit("Mul", *(g.emit("Unsqueeze", g.length(args[0], i), g.constant([0], "int")) for i in (0, 1)))
    rest = g.emit("Slice", g.emit("Shape", args[0]), *ends, g.constant([0], "int"))
    return g.emit("Reshape", args[0], g.emit("Concat", first, rest, axis=0), allowzero=1)


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


SAME = """add Add sub Sub mul Mul div Div neg Neg power Pow equal Equal less Less less_equal LessOrEqual greater Greater
greater_equal GreaterOrEqual logical_and And logical_or Or logical_xor Xor logical_not Not maximum Max minimum Min
where Where abs Abs sign Sign exp Exp log Log sqrt Sqrt sin Sin cos Cos tanh Tanh sigmoid Sigmoid relu Relu erf Erf
arctan Atan arcsin Asin arccos Acos arcsinh Asinh arccosh Acosh arctanh Atanh reciprocal Reciprocal floor Floor
ceil Ceil round Round isnan IsNaN isinf IsInf matmul MatMul""".split()
NODES: dict[str, str | Write] = {
    **dict(zip(SAME[::2], SAME[1::2], strict=True)),
    "not_equal": lambda g, n, a: g.emit("Not", g.emit("Equal", *a)),
    "square": lambda g, n, a: g.emit("Mul", a[0], a[0]),
    "signbit": lambda g, n, a: g.emit("Less", a[0], g.constant(0.0, "real")),
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
    "flat": _flat,
    "gather": _gather,
    "gather_last": _gather_last,
    "take_last": lambda g, n, a: g.emit("Gather", *a, axis=-1),
    "argsort": _argsort,
    "length": lambda g, n, a: g.length(a[0], n.static[0]),
    "count": lambda g, n, a: _range(g, g.length(a[0], n.static[0])),
    "arange": lambda g, n, a: _range(
        g, g.constant(n.static[0], "int") if isinstance(n.static[0], int) else g.sizes[n.static[0]]
    ),
    "at_least": lambda g, n, a: g.emit("Max", a[0], g.constant(1, "int")),  # onnxruntime cannot Scan no steps
    "cumsum": lambda g, n, a: g.emit("CumSum", a[0], g.constant(n.static[0], "int")),
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
