"""A primitive's rule read on symbols, once for each way it is called, and what follows from that reading.

It yields the cotangents' expressions, the residuals (what of y and the inputs they mention), and one
Python function, written from the expressions, that computes them: its names bound to plain NumPy
functions where nothing records, to the primitives where the gradient itself is differentiated. Only the
cotangents asked for are computed, and only what they mention is kept. This module knows no tape.
"""

from __future__ import annotations

import linecache
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_seq.errors import GradientError
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.symbol import Symbol, lift, postorder, substitute

_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_WHOLE = frozenset({*_OPERATORS, "neg", "exp", "sin", "cos", "tanh", "sqrt"})  # keep shape and floating dtype
# results that share no memory with an argument
_NEW = _WHOLE | {
    "where",
    "matmul",
    "matvec",
    "matmul_sum",
    "outer",
    "outer_sum",
    "scatter_add",
    "scatter_columns",
}
_SHAPE = {"shape": np.shape, "ndarray": np.ndarray}
_SHAPE_OF = "values[{0}].shape if type(values[{0}]) is ndarray else shape(values[{0}])"
_CACHE_LIMIT = 4096
_cache: dict[Any, Derivative] = {}
known = _cache.get  # by (op, marks as bits behind a leading 1, real, literal, options …), as `Tensor.read` asks


@dataclass(frozen=True, slots=True)
class Slot:
    """A leaf of a rule's expression: g, y, an input, or an input's shape."""

    kind: str  # "g" | "y" | "input" | "shape"
    position: int
    name: str

    def __str__(self) -> str:
        return f"shape_of({self.name})" if self.kind == "shape" else self.name


@dataclass(frozen=True, slots=True)
class Passed:
    """Stands for an option that rules hand on unread (an index's key), so that the reading serves all."""

    name: str


_PLAIN = frozenset({bool, int, float, str, tuple, type(None)})  # options that rules may read


@dataclass(frozen=True, slots=True)
class Derivative:
    """What one way of calling a primitive needs to be differentiated.

    cotangents   an expression for each input, or None
    saved        positions of the inputs that the expressions read
    saves_y      whether they read the result
    keep         both: positions in (*inputs, result) of what is kept, in this order
    shapes       positions of the inputs of which they read the shape only
    full         every input that asked for a cotangent has one
    fresh        for each cotangent, whether it is an array that nobody else holds
    scatters     all it does is `scatter_add(g, shape, key)`: the tape may add g in place
    kept_of      `kept_of(values, y)`: the arrays at `keep`, as a tuple
    shapes_of    `shapes_of(values)`: the shapes of the inputs at `shapes`, as a tuple
    source       the pullback's text: `pullback(g, kept, shapes, static)`
    on_values, on_tensors   that function over arrays, and over tensors
    on_tape      over arrays, sums of products not multiplied yet (`ops.linalg.Product`); like on_values, by the
                 primitive's `at_once` where it has one
    """

    cotangents: tuple[Symbol | None, ...]
    live: bool  # some input has a cotangent
    saved: tuple[int, ...]
    saves_y: bool
    keep: tuple[int, ...]
    shapes: tuple[int, ...]
    full: bool
    fresh: tuple[bool, ...]
    scatters: bool
    kept_of: Callable[[list[Any], Any], tuple[Any, ...]]
    shapes_of: Callable[[list[Any]], tuple[Any, ...]]
    source: str
    on_values: Callable[..., tuple[Any, ...]]
    on_tensors: Callable[..., tuple[Any, ...]]
    on_tape: Callable[..., tuple[Any, ...]]


def derivative(
    op: Primitive,
    needs: tuple[bool, ...],
    static: dict[str, Any],
    constant: Any = None,
    real: bool = True,
    literal: bool = False,
) -> Derivative:
    """The derivative of `op` with respect to the inputs marked in `needs`.

    `constant` is the plain number at position `op.constant`, if there is one; `real` says that no
    conjugate need be taken; `literal`, that a cotangent of 0 does not stay 0 where a slope is infinite.
    """
    options = [(k, v if type(v) in _PLAIN else None, type(v)) for k, v in static.items()]
    key = (op, needs, real, literal, constant, type(constant), *options)
    found = _cache.get(key)
    if found is None:
        if len(_cache) >= _CACHE_LIMIT:
            _cache.clear()
        found = _cache[key] = _derive(op, needs, static, constant, real, literal)
    return found


def remember(key: tuple[Any, ...], found: Derivative) -> None:
    """Let `known` answer with `found`."""
    _cache[key] = found


def is_plain(value: Any) -> bool:
    """Whether rules may read an option of this kind; any other they pass on."""
    return type(value) in _PLAIN


def pull(
    op: Primitive, needs: Sequence[bool], g: Any, y: Any, inputs: Sequence[Any], static: dict[str, Any]
) -> tuple[Any, ...]:
    """The cotangents, on arrays, of the inputs marked in `needs`, not yet un-broadcast; None for the others, of which
    nothing is computed (the slope by an exponent takes a logarithm that a constant exponent need not have). g may have
    axes in front of the result's."""
    real = not any(np.iscomplexobj(v) for v in (y, *inputs))
    number = inputs[op.constant] if op.constant is not None else None
    constant = number if isinstance(number, int | float) else None
    rules = derivative(op, tuple(needs), static, constant, real)
    values, y = list(inputs), np.broadcast_to(y, np.shape(g))
    return rules.on_values(g, rules.kept_of(values, y), rules.shapes_of(values), static)


def argument_names(op: Primitive, count: int) -> list[str]:
    """The inputs' names as the rule spells them; a `*xs` is numbered."""
    return op.call.names(count) if op.differentiable else [f"x{i}" for i in range(count)]


def expressions(
    op: Primitive,
    needs: Sequence[bool],
    static: dict[str, Any],
    constant: Any = None,
    real: bool = True,
    tape: bool = False,
    literal: bool = False,
) -> tuple[Symbol | None, ...]:
    """The rule on symbols: one expression over `Slot` leaves for each input that needs one.

    With `tape`, as the tape runs it: singular derivatives guarded (unless `literal`), products summed over the batch.
    """
    names = argument_names(op, len(needs))
    g, y = lift(Slot("g", 0, "g")), lift(Slot("y", 0, "y"))
    inputs = [lift(Slot("input", i, n)) for i, n in enumerate(names)]
    if constant is not None and op.constant is not None:
        inputs[op.constant] = lift(constant)
    try:
        raw = op.pullback(g, y, tuple(inputs), static)
    except Exception as error:
        raise GradientError(f"the rule of {op.name} cannot be read on symbols: {error}") from error
    if len(raw) != len(needs):
        raise GradientError(f"the rule of {op.name} gives {len(raw)} cotangents for {len(needs)} inputs")
    result: list[Symbol | None] = []
    for i, (expression, wanted) in enumerate(zip(raw, needs, strict=True)):
        if expression is None or not wanted:
            result.append(None)
            continue
        node = substitute(lift(expression), _without_conj) if real else lift(expression)
        if tape:
            node = _product_summed(substitute(node, _shapes_only), i, names[i])
            if op.singular and node.op is not None and not literal:
                node = REGISTRY["settle"](node, g)
        result.append(None if node.is_number and node.leaf == 0 else node)
    return tuple(result)


def _shapes_only(node: Symbol) -> Symbol | None:
    if node.is_op("shape_of", "size") and isinstance(node.args[0].leaf, Slot):
        slot = node.args[0].leaf
        if slot.kind == "input":
            shape = lift(Slot("shape", slot.position, slot.name))
            return shape if node.is_op("shape_of") else Symbol.make(node.op, (shape,), node.static)
    return None


def _without_conj(node: Symbol) -> Symbol | None:
    if node.is_op("im"):
        return lift(0)
    return node.args[0] if node.is_op("conj", "re") else None


def _product_summed(node: Symbol, position: int, name: str) -> Symbol:
    """A weight's cotangent adds products up over the batch: as one product, never one for each row."""
    shape = lift(Slot("shape", position, name))
    if node.is_op("outer"):
        return Symbol.make(REGISTRY["outer_sum"], (*node.args, shape))
    if node.is_op("matmul") and node.args[0].is_op("transpose"):
        return Symbol.make(REGISTRY["matmul_sum"], (node.args[0].args[0], node.args[1], shape))
    return node


def _derive(
    op: Primitive, needs: tuple[bool, ...], static: dict[str, Any], constant: Any, real: bool, literal: bool
) -> Derivative:
    asked = [i for i in op.fixed if needs[i]]
    if asked:
        name = argument_names(op, len(needs))[asked[0]]
        raise GradientError(
            f"{op.name} knows no derivative with respect to {name}: give it an array, or stop_gradient({name})"
        )
    readable = {k: v if type(v) in _PLAIN else Passed(k) for k, v in static.items()}
    cotangents = expressions(op, needs, readable, constant, real, tape=True, literal=literal)
    order = postorder([c for c in cotangents if c is not None])
    slots = [n.leaf for n in order if isinstance(n.leaf, Slot)]
    saved = tuple(sorted({s.position for s in slots if s.kind == "input"}))
    at_once = op.at_once is not None and cotangents[0] is not None and not any(cotangents[1:])
    saves_y = any(s.kind == "y" for s in slots) or (at_once and op.at_once_reads_y)
    keep = (*saved, len(needs)) if saves_y else saved
    shapes = tuple(sorted({s.position for s in slots if s.kind == "shape"}))
    source, constants = _write(cotangents, order, (keep, shapes))
    filename = f"<derivative of {op.name} {len(_cache)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    code = compile(source, filename, "exec")
    functions: list[Callable[..., tuple[Any, ...]]] = []
    ops = {node.op for node in order if node.op is not None}
    results = {c.op for c in cotangents if c is not None}
    readings: tuple[Callable[[Primitive], Any], ...] = (
        lambda op: op.impl,
        lambda op: op,
        lambda op: _waiting(op) if op in results else op.impl,
    )
    for read in readings:
        names: dict[str, Any] = {"inf": math.inf, "nan": math.nan, **constants}
        names.update((f"op_{op.name}", read(op)) for op in ops)
        names["op_size"] = _size_of_shape
        exec(code, names)
        functions.append(names["pullback"])
    if at_once:
        functions[0] = functions[2] = _at_once(op, keep, len(needs), functions[0])
    return Derivative(
        cotangents,
        any(c is not None for c in cotangents),
        saved,
        saves_y,
        keep,
        shapes,
        all(c is not None or not wanted for c, wanted in zip(cotangents, needs, strict=True)),
        (True, *(False,) * (len(needs) - 1)) if at_once else _fresh(cotangents, order),
        _scatters(cotangents),
        _picker("values, y", ["y" if i == len(needs) else f"values[{i}]" for i in keep]),
        _picker("values", [_SHAPE_OF.format(i) for i in shapes]),
        source,
        *functions,
    )


def _at_once(op: Primitive, keep: Sequence[int], count: int, rule: Callable[..., Any]) -> Callable[..., Any]:
    """The pullback over arrays by `op.at_once`, or by the rule where that declines."""
    places = [f"kept[{keep.index(i)}]" if i in keep else "None" for i in (count, *range(count))]
    arguments = eval(f"lambda kept: ({''.join(p + ', ' for p in places)})")
    function, nothing = op.at_once, (None,) * (count - 1)
    assert function is not None

    def pullback(g: Any, kept: Any, shapes: Any, static: dict[str, Any]) -> tuple[Any, ...]:
        found = function(g, *arguments(kept), **static)
        return rule(g, kept, shapes, static) if found is None else (found, *nothing)

    return pullback


def _waiting(op: Primitive) -> Any:
    if op.name in ("outer_sum", "matmul_sum"):
        from tinygrad_seq.ops.linalg import delayed

        return delayed(op)
    return op.impl


def _picker(arguments: str, parts: list[str]) -> Callable[..., tuple[Any, ...]]:
    """A function that gathers: twice as quick as a loop over positions, and called for every node."""
    found: Callable[..., tuple[Any, ...]] = eval(f"lambda {arguments}: ({''.join(p + ', ' for p in parts)})", _SHAPE)
    return found


def _scatters(cotangents: Sequence[Symbol | None]) -> bool:
    only = cotangents[0] if len(cotangents) == 1 else None
    if only is None or not only.is_op("scatter_add"):
        return False
    first, second = (a.leaf for a in only.args)
    return isinstance(first, Slot) and first.kind == "g" and isinstance(second, Slot) and second.kind == "shape"


def _size_of_shape(shape: tuple[int, ...], *, axis: Any = None) -> int:
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in (axis if isinstance(axis, tuple) else (axis,)))


def _write(
    cotangents: Sequence[Symbol | None], order: Sequence[Symbol], places: tuple[Sequence[int], Sequence[int]]
) -> tuple[str, dict[str, Any]]:
    """The expressions as a Python function, one statement a node; and the constants it refers to.

    A temporary of the result's shape and dtype that is read once is overwritten by what reads it (`t1 *= g`:
    on tensors and 0-d values, which cannot be changed, Python makes a new one).
    """
    lines = ["def pullback(g, kept, shapes, static):"]
    done: dict[Symbol, str] = {}
    constants: dict[str, Any] = {}
    readers = _readers(cotangents, order)
    whole = _whole(order)
    for node in order:
        if node.op is None:
            done[node] = _leaf(node.leaf, constants, places)
            continue
        args = [done[a] for a in node.args]
        sign = _OPERATORS.get(node.op.name)
        spare = [a in whole and a.op is not None and readers[a] == 1 for a in node.args]
        if sign and node in whole and spare[0]:
            done[node] = args[0]
            lines.append(f"    {args[0]} {sign}= {args[1]}")
            continue
        if sign in ("+", "*") and node in whole and spare[1]:
            done[node] = args[1]
            lines.append(f"    {args[1]} {sign}= {args[0]}")
            continue
        options = [f"{k}={_leaf(v, constants, places)}" for k, v in node.static]
        done[node] = name = f"t{len(lines)}"
        if sign:
            lines.append(f"    {name} = {args[0]} {sign} {args[1]}")
        elif node.op.name == "neg":
            lines.append(f"    {name} = -{args[0]}")
        else:
            lines.append(f"    {name} = op_{node.op.name}({', '.join(args + options)})")
    results = ", ".join("None" if c is None else done[c] for c in cotangents)
    lines.append(f"    return ({results},)")
    return "\n".join(lines) + "\n", constants


def _readers(cotangents: Sequence[Symbol | None], order: Sequence[Symbol]) -> Counter[Symbol]:
    """How often each expression is read, being a result included."""
    return Counter([a for node in order for a in node.args] + [c for c in cotangents if c is not None])


def _whole(order: Sequence[Symbol]) -> set[Symbol]:
    """Expressions of the result's own shape and dtype whose value is g, y or an array made here."""
    found: set[Symbol] = set()
    narrow: set[Symbol] = set()  # sums of those that keep their dims: they broadcast without widening anything
    for node in order:
        if node.op is None:
            if isinstance(node.leaf, Slot) and node.leaf.kind in "gy":
                found.add(node)
        elif node.is_op("sum") and node.args[0] in found and node.options.get("keepdims"):
            narrow.add(node)
        elif node.op.name in _WHOLE and any(a in found for a in node.args):
            if all(a in found or a in narrow or _is_real_number(a) for a in node.args):
                found.add(node)
    return found


def _is_real_number(node: Symbol) -> bool:
    return node.is_number and not isinstance(node.leaf, complex)


def _fresh(cotangents: Sequence[Symbol | None], order: Sequence[Symbol]) -> tuple[bool, ...]:
    readers = _readers(cotangents, order)
    return tuple(c is not None and c.op is not None and c.op.name in _NEW and readers[c] == 1 for c in cotangents)


def _leaf(value: Any, constants: dict[str, Any], places: tuple[Sequence[int], Sequence[int]]) -> str:
    """How the function refers to a leaf; `places` are the positions of what is kept and of the shapes."""
    if isinstance(value, Slot):
        if value.kind == "input":
            return f"kept[{places[0].index(value.position)}]"
        if value.kind == "shape":
            return f"shapes[{places[1].index(value.position)}]"
        return "g" if value.kind == "g" else "kept[-1]"
    if isinstance(value, Passed):
        return f"static[{value.name!r}]"
    if value is None or isinstance(value, bool | int | float | complex | str):
        return f"({value!r})"
    name = f"c{len(constants)}"
    constants[name] = value
    return name
