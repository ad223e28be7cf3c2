"""Transformations of functions: grad, vjp, jvp, hvp, jacobian, hessian, remat; and contexts.

Each call differentiates with respect to fresh variables of its own, so that nested ones are never
confused; a backward pass is itself recorded when an outer one can reach it. Forward mode is reverse mode
transposed: the pullback is linear in its cotangent, and its own pullback is the pushforward.
Arguments may be numbers, arrays, tensors, or lists, tuples and dicts of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from tinygrad_seq.changes import serial
from tinygrad_seq.errors import GradientError
from tinygrad_seq.primitive import REGISTRY, is_complex
from tinygrad_seq.tape import Custom, Edge, Node, Variable, backward, changed, reach, state
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.watch import Anomaly

Function = Callable[..., Any]


# ---------------------------------------------------------------- nested arguments


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of nested lists, tuples and dicts, and what `unflatten` needs to put them back."""
    if isinstance(tree, dict):
        parts = [flatten(v) for v in tree.values()]
        return [x for leaves, _ in parts for x in leaves], (list(tree), [shape for _, shape in parts])
    if isinstance(tree, list | tuple):
        parts = [flatten(v) for v in tree]
        return [x for leaves, _ in parts for x in leaves], (type(tree), [shape for _, shape in parts])
    return [tree], None


def unflatten(shape: Any, leaves: list[Any]) -> Any:
    """The inverse of `flatten`; takes the leaves off the list."""
    if shape is None:
        return leaves.pop(0)
    kind, parts = shape
    values = [unflatten(p, leaves) for p in parts]
    if isinstance(kind, list):
        return dict(zip(kind, values, strict=True))
    return kind(*values) if hasattr(kind, "_fields") else kind(values)


# ---------------------------------------------------------------- fresh variables


def _fresh(value: Any) -> Tensor:
    """The same value as a variable of its own, which passes its gradient on to where the value came from."""
    array = value.data if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "fc":
        if array.dtype.kind not in "iub" or isinstance(value, Tensor | np.ndarray):
            raise TypeError(f"a gradient needs a floating argument, not {array.dtype}")
        array = array.astype(np.float64)
    parent = value.edge if isinstance(value, Tensor) else None
    return Tensor.on_tape(array, (Variable(parent, array), 0))


class Recorded:
    """A call of f with some arguments replaced by fresh variables."""

    def __init__(self, f: Function, args: Sequence[Any], argnums: Sequence[int], options: dict[str, Any]) -> None:
        replaced = list(args)
        self.variables: list[Tensor] = []
        self.shapes: list[Any] = []
        self.plain = True
        for i in argnums:
            if not -len(args) <= i < len(args):
                raise ValueError(f"argnums names argument {i}, the call has {len(args)}")
            leaves, shape = flatten(args[i])
            self.plain = self.plain and not any(isinstance(x, Tensor) for x in leaves)
            fresh = [_fresh(x) for x in leaves]
            self.variables += fresh
            self.shapes.append(shape)
            replaced[i] = unflatten(shape, list(fresh))
        with changed(recording=True):
            self.result = f(*replaced, **options)

    @property
    def wrt(self) -> list[Edge]:
        return [v.edge for v in self.variables if v.edge is not None]

    def pull(self, roots: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """One structure like each differentiated argument; zeros where nothing arrives."""
        live = [(r.edge, c) for r, c in zip(roots, cotangents, strict=True) if isinstance(r, Tensor) and r.edge]
        wrt = self.wrt
        floor = min((e[0].serial for e in wrt), default=0)
        found = backward([e for e, _ in live], [c for _, c in live], wrt, floor=floor)
        leaves = [self.shown(self.zeros(v) if g is None else g) for v, g in zip(self.variables, found, strict=True)]
        return [unflatten(shape, leaves) for shape in self.shapes]

    @staticmethod
    def zeros(v: Tensor) -> Any:
        return np.zeros(v.shape, v.dtype)

    def shown(self, value: Any) -> Any:
        """Arrays to those who gave arrays; tensors to those who gave tensors or differentiate again."""
        if isinstance(value, Tensor):
            return value.data if self.plain and value.edge is None else value
        return np.array(value) if self.plain else Tensor(value)

    def value(self, y: Any) -> Any:
        """A result as the caller sees it: off this call's variables unless an outer variable feeds it."""
        if not isinstance(y, Tensor):
            return y
        if y.edge is not None:
            floor = min((e[0].serial for e in self.wrt), default=0)
            if state().recording and reach([y.edge], frozenset(e[0] for e in self.wrt), floor)[1]:
                return y
        return y.data if self.plain else y.detach()


def _numbers(argnums: int | Sequence[int]) -> tuple[int, ...]:
    return (argnums,) if isinstance(argnums, int) else tuple(argnums)


# ---------------------------------------------------------------- reverse mode


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Function:
    """A function that gives `(f(*args), gradient)`: one gradient, or a tuple when `argnums` is one.

    f must return a scalar (with `has_aux`, a scalar and anything else: `((value, aux), gradient)`).
    """
    numbers = _numbers(argnums)

    @functools.wraps(f)
    def wrapped(*args: Any, **options: Any) -> Any:
        call = Recorded(f, args, numbers, options)
        y, aux = call.result if has_aux else (call.result, None)
        if np.shape(y) != ():
            raise GradientError(f"grad needs a scalar result, not one of shape {np.shape(y)}: use vjp or jacobian")
        if is_complex(y):
            raise GradientError("grad needs a real result: take re(), im() or abs() of the complex one, or use vjp")
        dtype = y.dtype if isinstance(y, Tensor) else np.float64
        grads = call.pull([y], [np.ones((), dtype)])
        value = call.value(y)
        return ((value, aux) if has_aux else value), (grads[0] if isinstance(argnums, int) else tuple(grads))

    return wrapped


def grad(f: Function, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Function:
    """The gradient of a scalar function, as a function of the same arguments."""
    both = value_and_grad(f, argnums, has_aux=has_aux)

    @functools.wraps(f)
    def wrapped(*args: Any, **options: Any) -> Any:
        value, gradient = both(*args, **options)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(f: Function, *xs: Any) -> tuple[Any, Function]:
    """`(f(*xs), pullback)`; `pullback(cotangent)` gives a tuple, one cotangent for each x, as often as wanted."""
    call = Recorded(f, xs, range(len(xs)), {})
    roots, shape = flatten(call.result)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        given, _ = flatten(cotangent)
        if len(given) != len(roots):
            raise ValueError(f"the function has {len(roots)} results, the pullback was given {len(given)} cotangents")
        starts = [_start(g, r) for g, r in zip(given, roots, strict=True)]
        return tuple(call.pull(roots, starts))

    return unflatten(shape, [call.value(r) for r in roots]), pullback


def _start(cotangent: Any, root: Any) -> Any:
    result = cotangent if isinstance(cotangent, Tensor) else np.asarray(cotangent, getattr(root, "dtype", None))
    if result.shape != np.shape(root):
        raise ValueError(f"the cotangent has shape {result.shape}, the result {np.shape(root)}")
    return result


# ---------------------------------------------------------------- forward mode, higher orders


def jvp(f: Function, xs: Sequence[Any], dxs: Sequence[Any]) -> tuple[Any, Any]:
    """`(f(*xs), directional derivative along dxs)`.

    The pullback u → Jᵀu is linear, so its own pullback takes dxs to J dxs, wherever u is.
    """
    call = Recorded(f, xs, range(len(xs)), {})
    roots, shape = flatten(call.result)
    dx, _ = flatten(list(dxs))
    if len(dx) != len(call.variables):
        raise ValueError(f"{len(call.variables)} inputs, {len(dx)} directions")
    starts = [_start(d, v) for d, v in zip(dx, call.variables, strict=True)]
    probes = [_fresh(np.ones(np.shape(r), getattr(r, "dtype", np.float64))) for r in roots]
    live = [i for i, r in enumerate(roots) if isinstance(r, Tensor) and r.edge is not None]
    floor = min((e[0].serial for e in call.wrt), default=0)
    edges = [roots[i].edge for i in live]
    with changed(recording=True):
        pulled = backward(edges, [probes[i] for i in live], call.wrt, floor=floor, record=True)
    pairs = [(g.edge, s) for g, s in zip(pulled, starts, strict=True) if isinstance(g, Tensor) and g.edge is not None]
    targets = [p.edge for p in probes if p.edge is not None]
    own = frozenset(e[0] for e in call.wrt)
    pushed = backward([e for e, _ in pairs], [s for _, s in pairs], targets, floor=floor, own=own)
    tangents = [call.shown(call.zeros(p) if t is None else t) for p, t in zip(probes, pushed, strict=True)]
    return unflatten(shape, [call.value(r) for r in roots]), unflatten(shape, tangents)


def inner(g: Any, d: Any) -> Any:
    """Σ re(conj(d)·g), by which a gradient g = ∂L/∂re + i ∂L/∂im gives the slope along d."""
    if is_complex(g) or np.iscomplexobj(d):
        return REGISTRY["sum"](REGISTRY["re"](REGISTRY["mul"](np.conjugate(d), g)))
    return REGISTRY["sum"](REGISTRY["mul"](g, d))


def hvp(f: Function, xs: Any, v: Any) -> Any:
    """The Hessian of a scalar function times v. A tuple of arguments gives a tuple, one argument one array."""
    several = isinstance(xs, tuple)
    points = xs if several else (xs,)
    directions = v if several else (v,)
    gradient = grad(f, tuple(range(len(points))))

    def slope(*args: Any) -> Any:
        parts, _ = flatten(gradient(*args))
        along, _ = flatten(list(directions))
        terms = [inner(g, d) for g, d in zip(parts, along, strict=True)]
        return functools.reduce(REGISTRY["add"], terms)

    result = grad(slope, tuple(range(len(points))))(*points)
    return result if several else result[0]


def jacobian(f: Function, argnums: int = 0) -> Function:
    """∂f/∂x of shape (*f.shape, *x.shape), a row at a time."""

    @functools.wraps(f)
    def wrapped(*args: Any, **options: Any) -> Any:
        call = Recorded(f, args, (argnums,), options)
        y = call.result
        if len(call.variables) != 1 or not hasattr(y, "shape"):
            raise TypeError("jacobian takes one array in and one array out")
        if y.dtype.kind == "c":
            raise TypeError("jacobian needs real results: take re and im of the complex ones apart, or use vjp")
        x, rows = call.variables[0], []
        for i in range(int(np.prod(y.shape))):
            unit = np.zeros(y.shape, y.dtype)
            unit.flat[i] = 1
            rows.append(call.pull([y], [unit])[0])
        if not rows:
            return call.shown(np.zeros((*y.shape, *x.shape), x.dtype))
        stacked = REGISTRY["concat"](*(REGISTRY["expand"](r, axis=0) for r in rows), axis=0)
        return REGISTRY["reshape"](stacked, (*y.shape, *x.shape))

    return wrapped


def hessian(f: Function, argnums: int = 0) -> Function:
    """The matrix of second derivatives of a scalar function, of shape (*x.shape, *x.shape)."""
    return jacobian(grad(f, argnums), argnums)


# ---------------------------------------------------------------- memory and contexts


def remat(f: Function) -> Function:
    """f, whose intermediate results are computed again in the backward pass instead of being kept.

    Its arguments and result may be nested; it must give the same value each time. Tensors that it reads
    from outside its arguments get their gradients too.
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **options: Any) -> Any:
        if not state().recording:
            return f(*args, **options)
        leaves, shape = flatten(list(args))
        at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.edge is not None]

        def run() -> tuple[list[Tensor], list[Any], Any]:
            inputs = list(leaves)
            for i in at:
                inputs[i] = _fresh(leaves[i])
            floor_probe = [inputs[i] for i in at]
            with changed(recording=True):
                outputs, form = flatten(f(*unflatten(shape, list(inputs)), **options))
            return floor_probe, outputs, form

        start = next(serial)
        variables, outputs, form = run()
        tracked = [i for i, y in enumerate(outputs) if isinstance(y, Tensor) and y.edge is not None]
        own = [v.edge[0] for v in variables if v.edge is not None]
        captured = _captured([outputs[i].edge for i in tracked], own, start)

        def pullback(cotangents: list[Any]) -> list[Any]:
            record = any(isinstance(c, Tensor) for c in cotangents)
            begin = next(serial)
            fresh, again, _ = run()
            pairs = [(again[i].edge, c) for i, c in zip(tracked, cotangents, strict=True) if c is not None]
            wrt = [v.edge for v in fresh if v.edge is not None] + captured
            return backward([e for e, _ in pairs], [c for _, c in pairs], wrt, floor=begin, record=record)

        if not tracked:
            return unflatten(form, outputs)
        edges = [leaves[i].edge for i in at] + captured
        node = Custom(
            f"remat({getattr(f, '__name__', 'f')})",
            tuple(edges),
            tuple((outputs[i].shape, outputs[i].dtype) for i in tracked),
            pullback,
            True,
        )
        for slot, i in enumerate(tracked):
            outputs[i] = Tensor.on_tape(outputs[i].data, (node, slot))
        return unflatten(form, outputs)

    return wrapped


def _captured(roots: Sequence[Edge], own: Sequence[Node], start: int) -> list[Edge]:
    """Edges from nodes made since `start` to older ones: what a function read besides its arguments."""
    found: dict[Edge, None] = {}
    ours = set(own)
    for node in reach(roots, frozenset(), start)[0]:
        if node not in ours:
            found.update((e, None) for e in node.edges if e is not None and e[0].serial < start)
    found.update((e, None) for e in roots if e[0].serial < start)
    return list(found)


def no_grad() -> AbstractContextManager[None]:
    """A context in which nothing is recorded."""
    return changed(recording=False)


def enable_grad() -> AbstractContextManager[None]:
    """A context in which operations are recorded, inside a no_grad()."""
    return changed(recording=True)


def detect_anomaly(limit: float = math.inf) -> AbstractContextManager[None]:
    """A context in which the first result or cotangent that is not finite, or whose norm is above `limit`,
    raises AnomalyError; it names the operation, the line of user code, and which call of that line it was. NumPy's
    warnings, which name a line in here, are silent meanwhile."""
    return _watched_by(Anomaly(limit))


@contextmanager
def _watched_by(watch: Anomaly) -> Iterator[None]:
    with np.errstate(all="ignore"), changed(watches=(*state().watches, watch)):
        yield


def stop_gradient(x: Any) -> Any:
    """x as a constant."""
    return REGISTRY["stop_gradient"](x)
