"""Terms with shapes become symbols: which product a `@` is, categories as vectors or look-ups."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from dsl.system.dims import Dim
from dsl.system.distributions import DISTRIBUTIONS
from dsl.system.infer import Inference, Statement
from dsl.system.kinds import COMPARISONS, REDUCTIONS, named_axis
from dsl.system.system import Extent, Position, Read, Size, here
from dsl.system.terms import Term, constant_leaf
from tinygrad_seq.symbol import Symbol, apply, leaves, lift


class Lowering:
    """Symbols of one cell's terms, after inference (or without one: expressions of lengths and numbers)."""

    def __init__(self, inference: Inference | None = None, drawn: Mapping[str, Drawn] | None = None) -> None:
        self.inference = inference
        self.drawn = drawn or {}

    def lower(self, root: Term) -> Symbol:
        """Iterative: arguments before what uses them."""
        done: dict[int, Symbol] = {}
        stack = [root]
        while stack:
            term = stack[-1]
            missing = [a for a in term.args if id(a) not in done]
            if missing:
                stack.extend(missing)
                continue
            if id(term) not in done:
                done[id(term)] = self._symbol(term, [done[id(a)] for a in term.args])
            stack.pop()
        return done[id(root)]

    def dim(self, dim: Dim) -> Dim:
        return self.inference.unifier.dim(dim) if self.inference is not None else dim

    def category(self, symbol: Symbol) -> Dim | None:
        """The number of categories when a symbol reads a category stream."""
        if self.inference is not None and symbol.op is None and isinstance(symbol.leaf, Read):
            slot = self.inference.slots.get(symbol.leaf.name)
            if slot is not None and slot.category and slot.shape:
                return slot.shape[0]
        return None

    def vector(self, symbol: Symbol) -> Symbol:
        """In arithmetic a category is its one-hot vector."""
        k = self.category(symbol)
        return symbol if k is None else apply("one_hot", symbol, lift(Size(k)))

    def as_category(self, symbol: Symbol) -> Symbol | None:
        """The category whose vector a symbol is, None for any other vector."""
        if symbol.is_op("one_hot"):
            return symbol.args[0]
        if symbol.is_op("where"):
            condition, *branches = symbol.args
            found = [c for c in map(self.as_category, branches) if c is not None]
            return apply("where", condition, *found) if len(found) == len(branches) else None
        return symbol if self.category(symbol) is not None else None

    @staticmethod
    def number(symbol: Symbol) -> Symbol:
        """In arithmetic a condition is 1 where it holds and 0 elsewhere."""
        return apply("where", symbol, lift(1), lift(0)) if is_condition(symbol) else symbol

    def _symbol(self, term: Term, args: list[Symbol]) -> Symbol:
        if term.op in ("number", "position", "extent"):
            return lift(constant_leaf(term))
        if term.op == "size":
            dim = self.dim(term.payload)
            return lift(int(dim)) if dim.is_constant else lift(dataclasses.replace(constant_leaf(term), dim=dim))
        if term.op == "read":
            index = tuple(dataclasses.replace(i, offset=self.dim(i.offset)) for i in term.payload.index)
            return lift(Read(term.payload.name, index))
        if term.op == "logprob":
            return self._logprob(term)
        if term.op == "product":
            return self._product(term, args)
        if term.op == "cross_entropy":
            return apply("cross_entropy", self.vector(args[0]), args[1])
        if term.op == "zeros":
            return apply("fill", lift(0), dims=tuple(self.dim(d) for d in term.payload))
        values = [self.vector(a) for a in args]
        if term.op == "where":
            return apply("where", values[0], *map(self.number, values[1:]))
        if term.op != "mul" or all(is_condition(v) for v in values):  # a number times a condition is a number
            values = [self.number(v) for v in values]
        if term.op == "part":
            start, size = (self.dim(d) for d in term.payload)
            return apply("part", *values, start=start, size=size)
        if term.op == "categorical_icdf":
            assert term.shape is not None
            return apply("one_hot", apply(term.op, *values), lift(Size(self.dim(term.shape[0]))))
        if term.op == "polygamma":
            return apply("polygamma", *values, n=term.payload)
        if term.axis is not None:
            if term.op in ("softmax", "log_softmax") and term.axis not in term.args[0].axes:
                step = lift(Position(term.axis))  # what is the same at every step of the axis still has them
                values = [apply("add", values[0], apply("sub", step, step))]
            return apply(term.op, *values, axis=term.axis)
        if term.op in REDUCTIONS:
            rank = len(term.args[0].shape or ())
            return values[0] if rank == 0 else apply(term.op, *values, axis=-1 if rank == 1 else (-2, -1))
        if term.op in ("softmax", "log_softmax", "cumsum"):
            return apply(term.op, *values, axis=-1)
        value = apply(term.op, *values)
        return self._in_full(value, term) if value.is_number else value

    def _in_full(self, number: Symbol, term: Term) -> Symbol:
        """What `0*x[t]` or `x[t]**0` comes to, with the axes and the shape that it has all the same."""
        for axis in term.axes:
            step = lift(Position(axis))
            number = apply("add", number, apply("sub", step, step))
        return apply("fill", number, dims=tuple(self.dim(d) for d in term.shape)) if term.shape else number

    def _logprob(self, term: Term) -> Symbol:
        drawn = self.drawn[term.payload]
        home = lift(Read(term.payload, tuple(here(a) for a in drawn.axes)))
        assert self.inference is not None
        slot = self.inference.slots[term.payload]
        rank = 0 if slot.category else len(slot.shape or ())
        return DISTRIBUTIONS[drawn.distribution].logprob(home, self.parameters(drawn), rank)

    def parameters(self, drawn: Drawn) -> dict[str, Symbol]:
        return {name: self.number(self.vector(self.lower(s.value))) for name, s in drawn.parameters.items()}

    def _product(self, term: Term, args: list[Symbol]) -> Symbol:
        left, right = (len(t.shape or ()) for t in term.args)
        if left == 2 and right == 1:
            return apply("lookup" if self.category(args[1]) is not None else "matvec", *args)
        return apply("dot" if left == 1 else "matmul", *(self.vector(a) for a in args))


def is_condition(symbol: Symbol) -> bool:
    return symbol.op is not None and symbol.op.name in COMPARISONS


def among_steps(root: Symbol, axes: Iterable[str]) -> Symbol:
    """An equation on these axes with every length told apart that stands among its axis's own steps: by the equation's
    axes, or under a reduction that runs over them."""
    if not any(isinstance(leaf.leaf, Extent) for leaf in leaves(root)):
        return root
    done: dict[tuple[Symbol, frozenset[str]], Symbol] = {}
    stack = [(root, frozenset(axes))]
    while stack:
        node, scope = key = stack[-1]
        axis = named_axis(node)
        below = [(a, scope if axis is None else scope | {axis}) for a in node.args]
        missing = [k for k in below if k not in done]
        stack += missing
        if missing:
            continue
        done[key] = node
        if isinstance(node.leaf, Extent) and node.leaf.axis in scope:
            done[key] = lift(Extent(node.leaf.axis, inside=True))
        elif node.op is not None:
            done[key] = Symbol.make(node.op, tuple(done[k] for k in below), node.static)
        stack.pop()
    return done[root, frozenset(axes)]


@dataclasses.dataclass
class Drawn:
    """A drawn stream: its distribution, and the statement of each parameter."""

    distribution: str
    axes: tuple[str, ...]
    parameters: dict[str, Statement]
