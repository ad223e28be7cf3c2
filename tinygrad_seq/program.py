"""`tg.trace(f)`: what a function computes, as a program that prints, runs and is differentiated.

A program is a list of statements over variables, found by calling the function once on example arguments: loops
are unrolled, branches taken as they were, shapes fixed. Its gradient is a program again, so that the
derivative of a derivative can be read like anything else.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_seq.explain import latex
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.study import Tape
from tinygrad_seq.symbol import Symbol, apply, lift, text
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.transforms import flatten, grad, unflatten

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Var:
    """A variable: an input, or what a statement computes."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    @property
    def tex(self) -> str:
        head = self.name.rstrip("0123456789")
        return f"{head}_{{{self.name[len(head) :]}}}" if head != self.name else head.replace("_", r"\_")


@dataclass(frozen=True, slots=True)
class Statement:
    """`target = op(*args, **static)`; an argument is a Var, or a number, array or shape."""

    target: Var
    op: str
    args: tuple[Any, ...]
    static: dict[str, Any]

    @property
    def symbol(self) -> Symbol:
        """The right-hand side as an expression."""
        args = [lift(a if isinstance(a, Var) or _is_number(a) else _Constant(_named(a))) for a in self.args]
        return apply(self.op, *args, **{k: _hashable(v) for k, v in self.static.items()})


@dataclass(frozen=True, slots=True)
class _Constant:
    name: str

    def __str__(self) -> str:
        return self.name


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | complex)


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return _Constant(repr(value))
    return value


def _named(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype}{list(value.shape)}>" if value.ndim else str(value)
    return str(value)


class Program:
    """Statements from inputs to results. Call it with arguments of the example's shapes (arrays, tensors)."""

    def __init__(
        self, name: str, inputs: Sequence[Var], body: Sequence[Statement], results: Any, example: tuple[Any, ...]
    ) -> None:
        self.name, self.inputs, self.body = name, list(inputs), list(body)
        self._results, self._example = results, example  # the results' leaves: Vars or constants
        self._form = flatten(list(example))[1]

    @property
    def results(self) -> list[Any]:
        """What it returns, flat: variables, or constants."""
        return flatten(self._results)[0]

    def __call__(self, *args: Any) -> Any:
        leaves, form = flatten(list(args))
        if str(form) != str(self._form):
            raise ValueError(f"{self.name} was traced with {len(self.inputs)} inputs of another structure")
        values: dict[Var, Any] = {}
        for var, value in zip(self.inputs, leaves, strict=True):
            if np.shape(value) != var.shape:
                raise ValueError(f"{var.name} has shape {np.shape(value)}; {self.name} was traced with {var.shape}")
            values[var] = value if isinstance(value, Tensor | Symbol) else np.asarray(value)
        for s in self.body:
            args_ = [values[a] if isinstance(a, Var) else a for a in s.args]
            values[s.target] = REGISTRY[s.op](*args_, **s.static)
        found, shape = flatten(self._results)
        return unflatten(shape, [values[r] if isinstance(r, Var) else r for r in found])

    def grad(self, argnums: int | Sequence[int] = 0) -> Program:
        """The program of the gradient, with the same inputs; the result must be one real number."""
        return _trace(grad(self, argnums), self._example, f"{self.name}_grad", [v.name for v in self.inputs])

    def __len__(self) -> int:
        return len(self.body)

    def __iter__(self) -> Iterator[Statement]:
        return iter(self.body)

    def __str__(self) -> str:
        lines = [f"{self.name}({', '.join(f'{v}: {v.kind}' for v in self.inputs)})"]
        rows = [(f"{s.target} = {text(s.symbol)}", s.target.kind) for s in self.body]
        width = max([len(left) for left, _ in rows], default=0)
        lines += [f"  {left.ljust(width)}  {kind}" for left, kind in rows]
        shown = [str(r) if isinstance(r, Var) else _named(r) for r in self.results]
        return "\n".join([*lines, f"  return {', '.join(shown)}"])

    __repr__ = __str__

    def latex(self) -> str:
        """An aligned block, one line a statement."""
        rows = [rf"{s.target.tex} &= {latex(s.symbol)}" for s in self.body]
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def trace(f: Callable[..., Any]) -> Callable[..., Program]:
    """`tg.trace(f)(*args)` is the program of f for arguments of these shapes."""

    @functools.wraps(f)
    def traced(*args: Any) -> Program:
        try:
            names = [p.name if p.kind is not p.VAR_POSITIONAL else "" for p in inspect.signature(f).parameters.values()]
        except (TypeError, ValueError):
            names = []
        return _trace(f, args, getattr(f, "__name__", "f").replace("<lambda>", "f"), names)

    return traced


def _trace(f: Callable[..., Any], args: tuple[Any, ...], name: str, names: list[str]) -> Program:
    leaves: list[Tensor] = []
    called: list[str] = []
    replaced: list[Any] = []
    for i, value in enumerate(args):
        parts, form = flatten(value)
        base = names[i] if i < len(names) and names[i] else f"x{i}"
        fresh = [_variable(p) for p in parts]
        called += [base if len(parts) == 1 else f"{base}{j}" for j in range(len(parts))]
        leaves += fresh
        replaced.append(unflatten(form, list(fresh)))
    with Tape() as tape:
        outcome = f(*replaced)
    inputs = [Var(n, t.shape, str(t.dtype)) for n, t in zip(called, leaves, strict=True)]
    at: dict[int, Any] = {}  # line number -> what stands for it
    by_array = {id(t.data): v for t, v in zip(leaves, inputs, strict=True)}
    body: list[Statement] = []
    for line in tape:
        if line.op == "input":
            at[line.number] = by_array.get(id(line.value), line.value)
            continue
        if line.op not in REGISTRY:
            raise ValueError(f"{line.op} (at {line.made}) is not a primitive: its program is unknown")
        target = Var(f"t{len(body) + 1}", line.value.shape, str(line.value.dtype))
        inputs_ = tuple(at[a.number] if hasattr(a, "number") else a for a in line.inputs)
        body.append(Statement(target, line.op, inputs_, line.static))
        at[line.number] = by_array[id(line.value)] = target
    found, form = flatten(outcome)
    results = [by_array.get(id(r.data if isinstance(r, Tensor) else r), r) for r in found]
    example = tuple(args)
    body, results = _tidy(body, results)
    return Program(name, inputs, body, unflatten(form, results), example)


def _variable(value: Any) -> Tensor:
    array = np.asarray(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind in "iu" and not isinstance(value, np.ndarray | Tensor):
        array = array.astype(np.float64)
    return Tensor(array, requires_grad=array.dtype.kind in "fc")


def _tidy(body: list[Statement], results: list[Any]) -> tuple[list[Statement], list[Any]]:
    """Each computation once, none that no result needs, targets numbered from 1."""
    stands: dict[Var, Var] = {}
    known: dict[Any, Var] = {}
    once: list[Statement] = []
    for s in body:
        args = tuple(stands.get(a, a) if isinstance(a, Var) else a for a in s.args)
        key = (s.op, tuple(map(_key, args)), tuple((k, _key(v)) for k, v in s.static.items()), s.target.dtype)
        if key in known:
            stands[s.target] = known[key]
        else:
            known[key] = s.target
            once.append(Statement(s.target, s.op, args, s.static))
    results = [stands.get(r, r) if isinstance(r, Var) else r for r in results]
    needed = {r for r in results if isinstance(r, Var)}
    kept: list[Statement] = []
    for s in reversed(once):
        if s.target in needed:
            kept.append(s)
            needed.update(a for a in s.args if isinstance(a, Var))
    kept.reverse()
    new = {s.target: Var(f"t{i}", s.target.shape, s.target.dtype) for i, s in enumerate(kept, 1)}
    named = [
        Statement(new[s.target], s.op, tuple(new.get(a, a) if isinstance(a, Var) else a for a in s.args), s.static)
        for s in kept
    ]
    return named, [new.get(r, r) if isinstance(r, Var) else r for r in results]


def _key(value: Any) -> Any:
    """Equal for what is surely the same: variables and plain values by value, arrays and keys by identity."""
    return value if isinstance(value, Var) else (type(value), repr(value)) if _plain(value) else id(value)


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_plain(v) for v in value)
    return value is None or isinstance(value, int | float | complex | str)
