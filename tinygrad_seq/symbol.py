"""Primitives read on symbols: expressions, and nothing of tapes or arrays.

An expression is a hash-consed DAG: equal expressions are the same object, so `is` compares them and
a memo keyed by them visits each once. A leaf carries any hashable payload: a number, a name, or what
a client (the cell language) wants to stand there.
"""

from __future__ import annotations

import itertools
import operator
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from tinygrad_seq.primitive import REGISTRY, Arithmetic, Primitive

_table: weakref.WeakValueDictionary[Any, Symbol] = weakref.WeakValueDictionary()
_serial = itertools.count()
_lock = threading.RLock()  # two threads must not make two nodes of one expression


class Symbol(Arithmetic):
    """An expression node: `op` applied to `args` with `static` options, or a leaf (`op is None`)."""

    __slots__ = ("op", "args", "static", "leaf", "serial", "__weakref__")
    reading_level = 2

    op: Primitive | None
    args: tuple[Symbol, ...]
    static: tuple[tuple[str, Any], ...]
    leaf: Hashable
    serial: int  # creation order: a child's is smaller than its parents'

    @classmethod
    def make(
        cls,
        op: Primitive | None,
        args: tuple[Symbol, ...],
        static: tuple[tuple[str, Any], ...] = (),
        leaf: Hashable = None,
    ) -> Symbol:
        """The one node with these parts (no simplification)."""
        key = (op.name if op else None, tuple(a.serial for a in args), static, type(leaf), leaf)
        found = _table.get(key)
        if found is None:
            with _lock:
                found = _table.get(key)
                if found is None:
                    found = object.__new__(cls)
                    found.op, found.args, found.static, found.leaf = op, args, static, leaf
                    found.serial = next(_serial)
                    _table[key] = found
        return found

    @classmethod
    def read(cls, op: Primitive, args: tuple[Any, ...], static: dict[str, Any]) -> Symbol:
        """What calling a primitive with a symbol among its arguments means."""
        nodes = tuple(lift(a) for a in args)
        simpler = _simplify(op.name, nodes)
        return simpler if simpler is not None else cls.make(op, nodes, tuple(sorted(static.items())))

    @property
    def is_number(self) -> bool:
        return self.op is None and isinstance(self.leaf, int | float | complex)

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.static)

    def is_op(self, *names: str) -> bool:
        return self.op is not None and self.op.name in names

    def __repr__(self) -> str:
        return f"<symbol {text(self)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        order = postorder([self])  # flat, so that deep expressions pickle
        at = {n: i for i, n in enumerate(order)}
        return (_unpickle, ([(n.op, tuple(at[a] for a in n.args), n.static, n.leaf) for n in order],))

    def __copy__(self) -> Symbol:
        return self

    def __deepcopy__(self, memo: Any) -> Symbol:
        return self


def _unpickle(parts: list[tuple[Any, tuple[int, ...], Any, Any]]) -> Symbol:
    made: list[Symbol] = []
    for op, args, static, leaf in parts:
        made.append(Symbol.make(op, tuple(made[i] for i in args), static, leaf))
    return made[-1]


def lift(value: Any) -> Symbol:
    """A symbol as it is; a number or any hashable payload as a leaf."""
    return value if isinstance(value, Symbol) else Symbol.make(None, (), (), value)


def apply(name: str, *args: Any, **static: Any) -> Symbol:
    """The primitive of that name on symbols (numbers and leaves are lifted)."""
    return Symbol.read(REGISTRY[name], args, static)


def _is(node: Symbol, value: float) -> bool:
    return node.is_number and node.leaf == value


def _simplify(name: str, a: tuple[Symbol, ...]) -> Any:
    """The few identities that keep derived expressions as short as a person would write them."""
    zero = lift(0)
    if name in _FOLDED and a[0].is_number and a[1].is_number:
        return lift(_FOLDED[name](a[0].leaf, a[1].leaf))
    if name == "add":
        return a[1] if _is(a[0], 0) else a[0] if _is(a[1], 0) else None
    if name == "sub":
        return a[0] if _is(a[1], 0) else -a[1] if _is(a[0], 0) else None
    if name in ("mul", "div"):
        if _is(a[0], 0):
            return zero
        if _is(a[1], 1):
            return a[0]
        if name == "mul":
            if _is(a[1], 0):
                return zero
            if _is(a[0], 1):
                return a[1]
            if _is(a[1], -1):
                return -a[0]
            shorter = _multiply(a[0], a[1])
            if shorter is not None:
                return shorter
        return _signed(name, a[0], a[1])
    if name == "power":
        return a[0] if _is(a[1], 1) else lift(1) if _is(a[1], 0) else None
    if name == "neg":
        if a[0].is_op("neg"):
            return a[0].args[0]
        if a[0].is_number and isinstance(a[0].leaf, int | float | complex):
            return lift(-a[0].leaf)
        return None
    if name in ("conj", "re", "transpose") and (a[0].is_number and not isinstance(a[0].leaf, complex)):
        return a[0]
    if name in ("conj", "transpose") and a[0].is_op(name):
        return a[0].args[0]
    if name == "where":
        if a[1] is a[2]:
            return a[1]
        if a[0].op is None and isinstance(a[0].leaf, bool):
            return a[1] if a[0].leaf else a[2]
    return None


def _signed(name: str, x: Symbol, y: Symbol) -> Any:
    """Signs leave products and quotients."""
    operation = REGISTRY[name]
    if x.is_op("neg") and y.is_op("neg"):
        return operation(x.args[0], y.args[0])
    if x.is_op("neg"):
        return -operation(x.args[0], y)
    return -operation(x, y.args[0]) if y.is_op("neg") else None


def _multiply(x: Symbol, y: Symbol) -> Any:
    """x * (1/b) is x/b; x * where(c, 1, 0) is where(c, x, 0), which keeps an untaken branch's NaN out."""
    if y.is_op("div") and _is(y.args[0], 1):
        return x / y.args[1]
    if y.is_op("where") and (y.args[1].is_number or y.args[2].is_number):
        return REGISTRY["where"](y.args[0], x * y.args[1], x * y.args[2])
    return None


_FOLDED: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
}


def postorder(roots: Iterable[Symbol]) -> list[Symbol]:
    """Every node below `roots` once, children before parents; iterative."""
    order: list[Symbol] = []
    seen: set[Symbol] = set()
    waiting: list[Symbol] = []
    stack: list[Symbol | None] = []
    stack += list(roots)[::-1]
    while stack:
        node = stack.pop()
        if node is None:  # all below the last that waits are there
            order.append(waiting.pop())
        elif node not in seen:
            seen.add(node)
            if node.args:
                waiting.append(node)
                stack += (None, *node.args[::-1])
            else:
                order.append(node)
    return order


def leaves(root: Symbol) -> list[Symbol]:
    return [n for n in postorder([root]) if n.op is None]


def rebuild(node: Symbol, args: tuple[Symbol, ...]) -> Symbol:
    """`node` over other arguments, simplified as if it were built anew."""
    if node.op is None or all(x is y for x, y in zip(args, node.args, strict=True)):
        return node
    return Symbol.read(node.op, args, dict(node.static))


def substitute(root: Symbol, change: Callable[[Symbol], Symbol | None]) -> Symbol:
    """Replace bottom-up: `change(node)` sees each node with its arguments replaced; None keeps it."""
    done: dict[Symbol, Symbol] = {}
    for node in postorder([root]):
        new = rebuild(node, tuple(done[a] for a in node.args))
        changed = change(new)
        done[node] = new if changed is None else changed
    return done[root]


def replace(root: Symbol, table: Mapping[Symbol, Symbol]) -> Symbol:
    """Replace whole sub-expressions of the original, outermost first."""
    done: dict[Symbol, Symbol] = dict(table)
    for node in postorder([root]):
        if node not in done:
            done[node] = rebuild(node, tuple(done[a] for a in node.args))
    return done[root]


def text(root: Symbol) -> str:
    """A plain reading for messages and `explain`; the language has its own formatter."""
    done: dict[Symbol, str] = {}
    for node in postorder([root]):
        if node.op is None:
            done[node] = str(node.leaf)
        elif node.op.infix and len(node.args) == 2:
            left, right = (f"({done[a]})" if a.op is not None and a.op.infix else done[a] for a in node.args)
            done[node] = f"{left} {node.op.infix} {right}"
        else:
            options = [f"{k}={v!r}" for k, v in node.static]
            done[node] = f"{node.op.name}({', '.join([done[a] for a in node.args] + options)})"
    return done[root]
