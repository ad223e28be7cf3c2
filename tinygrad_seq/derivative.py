"""A primitive's rule read on symbols, once for each way it is called, and what follows from that reading.

It yields the cotangents' expressions, the residuals (what of y and the inputs they mention), and one
Python function, written from the expressions, that computes them: its names bound to plain NumPy
functions where nothing records, to the primitives where the gradient itself is differentiated. Only the
cotangents asked for are computed, and only what they mention is kept. This module knows no tape.
"""

from __future__ import annotations

import inspect
import linecache
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_seq.errors import GradientError
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.symbol import Symbol, lift, postorder, substitute

_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_CACHE_LIMIT = 4096
_cache: dict[Any, Derivative] = {}


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


_PLAIN = (bool, int, float, str, tuple, type(None))


@dataclass(frozen=True, slots=True)
class Derivative:
    """What one way of calling a primitive needs to be differentiated.

    cotangents   an expression for each input, or None
    saved        positions of the inputs that the expressions read
    saves_y      whether they read the result
    keep         both: positions in (*inputs, result) of what is kept, in this order
    shapes       positions of the inputs of which they read the shape only
    full         every input that asked for a cotangent has one
    scatters     all it does is `scatter_add(g, shape, key)`: the tape may add g in place
    source       the function's text: `pullback(g, kept, shapes, static)`
    on_values, on_tensors   that function over arrays, and over tensors
    """

    cotangents: tuple[Symbol | None, ...]
    live: bool  # some input has a cotangent
    saved: tuple[int, ...]
    saves_y: bool
    keep: tuple[int, ...]
    shapes: tuple[int, ...]
    full: bool
    scatters: bool
    source: str
    on_values: Callable[..., tuple[Any, ...]]
    on_tensors: Callable[..., tuple[Any, ...]]


def _key(op: Primitive, needs: tuple[bool, ...], static: dict[str, Any], constant: Any, real: bool) -> Any:
    options = tuple((k, _fixed(v)) for k, v in static.items()) if static else ()
    return (op, needs, options, constant, type(constant), real)


def _fixed(value: Any) -> Any:
    """An option's part in the cache's key: its value, or its type when rules only pass it through."""
    return (type(value), value) if isinstance(value, _PLAIN) else type(value)


def derivative(
    op: Primitive, needs: tuple[bool, ...], static: dict[str, Any], constant: Any = None, real: bool = True
) -> Derivative:
    """The derivative of `op` with respect to the inputs marked in `needs`.

    `constant` is the plain number at position `op.constant`, if there is one; `real` says that no
    conjugate need be taken.
    """
    if static or constant is not None:
        key = _key(op, needs, static, constant, real)
    else:
        key = (op, needs, real)  # the way most operations are called, and the quickest
    found = _cache.get(key)
    if found is None:
        if len(_cache) >= _CACHE_LIMIT:
            _cache.clear()
        found = _cache[key] = _derive(op, needs, static, constant, real)
    return found


def argument_names(op: Primitive, count: int) -> list[str]:
    """The inputs' names as the rule spells them; a `*xs` is numbered."""
    function = op.vjp_rule or op.partials_rule
    if function is None:
        return [f"x{i}" for i in range(count)]
    names: list[str] = []
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.POSITIONAL_OR_KEYWORD:
            names.append(p.name)
        elif p.kind is p.VAR_POSITIONAL:
            names.extend(f"{p.name}_{i}" for i in range(count))
    skip = 2 if op.vjp_rule is not None else 1
    return names[skip : skip + count]


def expressions(
    op: Primitive,
    needs: Sequence[bool],
    static: dict[str, Any],
    constant: Any = None,
    real: bool = True,
    tape: bool = False,
) -> tuple[Symbol | None, ...]:
    """The rule on symbols: one expression over `Slot` leaves for each input that needs one.

    With `tape`, as the tape runs it: singular derivatives guarded, products summed over the batch.
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
            node = substitute(node, _shapes_only)
            node = _product_summed(node, i, names[i])
            if op.singular and node.op is not None:
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


def _derive(op: Primitive, needs: tuple[bool, ...], static: dict[str, Any], constant: Any, real: bool) -> Derivative:
    readable = {k: v if isinstance(v, _PLAIN) else Passed(k) for k, v in static.items()}
    cotangents = expressions(op, needs, readable, constant, real, tape=True)
    order = postorder([c for c in cotangents if c is not None])
    slots = [n.leaf for n in order if isinstance(n.leaf, Slot)]
    saved = tuple(sorted({s.position for s in slots if s.kind == "input"}))
    saves_y = any(s.kind == "y" for s in slots)
    keep = (*saved, len(needs)) if saves_y else saved
    source, constants = _write(cotangents, order, keep)
    filename = f"<derivative of {op.name} {len(_cache)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    code = compile(source, filename, "exec")
    functions: list[Callable[..., tuple[Any, ...]]] = []
    for on_values in (True, False):
        names: dict[str, Any] = {"inf": math.inf, "nan": math.nan, **constants}
        for node in order:
            if node.op is not None:
                names[f"op_{node.op.name}"] = node.op.impl if on_values else node.op
        names["op_size"] = _size_of_shape
        exec(code, names)
        functions.append(names["pullback"])
    return Derivative(
        cotangents,
        any(c is not None for c in cotangents),
        saved,
        saves_y,
        keep,
        tuple(sorted({s.position for s in slots if s.kind == "shape"})),
        all(c is not None or not wanted for c, wanted in zip(cotangents, needs, strict=True)),
        _scatters(cotangents),
        source,
        functions[0],
        functions[1],
    )


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
    cotangents: Sequence[Symbol | None], order: Sequence[Symbol], keep: Sequence[int]
) -> tuple[str, dict[str, Any]]:
    """The expressions as a Python function, one statement a node; and the constants it refers to."""
    lines = ["def pullback(g, kept, shapes, static):"]
    done: dict[Symbol, str] = {}
    constants: dict[str, Any] = {}
    for node in order:
        if node.op is None:
            done[node] = _leaf(node.leaf, constants, keep)
            continue
        args = [done[a] for a in node.args]
        options = [f"{k}={_leaf(v, constants, keep)}" for k, v in node.static]
        name = f"t{len(lines)}"
        if node.op.name in _OPERATORS:
            lines.append(f"    {name} = {args[0]} {_OPERATORS[node.op.name]} {args[1]}")
        elif node.op.name == "neg":
            lines.append(f"    {name} = -{args[0]}")
        else:
            lines.append(f"    {name} = op_{node.op.name}({', '.join(args + options)})")
        done[node] = name
    results = ", ".join("None" if c is None else done[c] for c in cotangents)
    lines.append(f"    return ({results},)")
    return "\n".join(lines) + "\n", constants


def _leaf(value: Any, constants: dict[str, Any], keep: Sequence[int]) -> str:
    if isinstance(value, Slot):
        if value.kind == "input":
            return f"kept[{keep.index(value.position)}]"
        return {"g": "g", "y": "kept[-1]", "shape": f"shapes[{value.position}]"}[value.kind]
    if isinstance(value, Passed):
        return f"static[{value.name!r}]"
    if value is None or isinstance(value, bool | int | float | complex | str):
        return f"({value!r})"
    name = f"c{len(constants)}"
    constants[name] = value
    return name
