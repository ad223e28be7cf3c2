"""Normal form: a system's equations as the few kinds of definition that loops are made of.

Reads of the same step are inlined, so that how an author split or named equations leaves no trace. What
then needs memory of its own becomes a `Definition`: what is wanted or read at another step, operands of
products, values that cross from one set of axes to another, sums over an axis. Products by shared
matrices that are added together become one accumulator. Everything else stays an expression over these.

The result is symbolic in sizes and knows nothing of batches, memory or Numba.
"""

from __future__ import annotations

from collections.abc import Iterable

from dsl.plan.accumulate import Accumulation
from dsl.plan.definitions import Definition, Normal, is_home, op, reads, unsupported
from dsl.plan.lower import Lowering
from dsl.plan.schedule import named_axes
from dsl.system.dims import Dim
from dsl.system.system import Read, Stream, System
from tinygrad_seq.symbol import Symbol, lift, postorder


def normalise(system: System, wanted: Iterable[str], kept: Iterable[str] = ()) -> Normal:
    """The definitions that `wanted` streams need. `kept` streams lie in the forward run's memory."""
    return Normaliser(system, tuple(wanted), frozenset(kept)).run()


class Normaliser(Lowering):
    """One system's lowering, from what is wanted to the definitions that make it."""

    # ------------------------------------------------------------ the whole

    def run(self) -> Normal:
        live = self._live()
        for name in self._home_order(live):
            self.current = name
            stream = self.streams[name]
            expression = self.system.equations[name]
            if stream.total:
                continue
            if stream.shared:
                self.out.before[name] = expression
                continue
            value = self.values[name] = self.lower(expression)
            if value.op is not None:
                self.named.setdefault(value, name)
        for name in live:
            if name in self.system.equations and self.streams[name].total:
                self.current = name
                self._total(name, self.system.equations[name])
        for name in self.wanted:
            if name in self.out.totals or name in self.out.before:
                continue
            self.current = name
            definition = self._place(name)
            self.out.definitions[definition].wanted = True
            self.out.names[name] = definition
        while self.pending:
            self._place(self.pending.pop())
        self._after()
        Accumulation(self.out, self.placed).run()
        return self.out

    def _after(self) -> None:
        """Shared equations that read totals are left for after the loops."""
        late = set(self.out.totals)
        for name, expression in list(self.out.before.items()):
            if any(isinstance(n.leaf, Read) and n.leaf.name in late for n in postorder([expression])):
                late.add(name)
                self.out.after[name] = self.out.before.pop(name)
        for definition in self.out.definitions.values():
            for read in reads(definition):
                if read.name in late:
                    unsupported(self.system, definition.name, f"a sequence's use of the total `{read.name}`")

    def _live(self) -> list[str]:
        """Equations that the wanted streams depend on, in source order."""
        seen: set[str] = set()
        stack = [n for n in self.wanted if n not in self.kept]
        while stack:
            name = stack.pop()
            if name in seen or name in self.kept:
                continue
            seen.add(name)
            roots = [e for e in (self.system.equations.get(name), self.streams[name].boundary) if e is not None]
            stack += [n.leaf.name for n in postorder(roots) if isinstance(n.leaf, Read)]
        return [n for n in self.system.equations if n in seen]

    def _home_order(self, live: list[str]) -> list[str]:
        """Equations after those they read at the same step (the schedule has shown that there is no cycle)."""
        order: list[str] = []
        state: dict[str, int] = {}
        stack = [(n, False) for n in reversed(live)]
        while stack:
            name, done = stack.pop()
            if done:
                order.append(name)
                continue
            if state.get(name):
                continue
            state[name] = 1
            stack.append((name, True))
            for node in reversed(postorder([self.system.equations[name]])):
                leaf = node.leaf
                if isinstance(leaf, Read) and leaf.name in self.system.equations and leaf.name not in self.kept:
                    if is_home(leaf, self.streams[leaf.name].axes) and leaf.name not in state:
                        stack.append((leaf.name, False))
        return order

    # ------------------------------------------------------------ totals

    def _total(self, name: str, expression: Symbol) -> None:
        """A sum over sequences: contributions, each an outer product, a scatter or a value, accumulated apart."""
        found: list[tuple[str, str]] = []
        work: list[tuple[Symbol, tuple[str, ...], Symbol | None, str]] = [(expression, (), None, "")]
        while work:
            node, over, factor, turn = work.pop()
            leaf = node.leaf
            axes = named_axes(node)
            if node.is_op("add"):
                work += [(a, over, factor, turn) for a in reversed(node.args)]
            elif node.is_op("sub"):
                minus = lift(-1) if factor is None else -factor
                work += [(node.args[1], over, minus, turn), (node.args[0], over, factor, turn)]
            elif node.is_op("neg"):
                work.append((node.args[0], over, lift(-1) if factor is None else -factor, turn))
            elif node.is_op("sum") and axes:
                work.append((node.args[0], over + axes, factor, turn))
            elif node.is_op("transpose"):
                work.append((node.args[0], over, factor, "" if turn else "T"))
            elif node.is_op("where") and len(self._shape(node)) == 2 and node.args[2].is_number:
                guard = op("where", node.args[0], lift(1) if factor is None else factor, lift(0))
                work.append((node.args[1], over, guard, turn))
            elif node.is_op("mul") and len(self._shape(node)) == 2:
                scalar, matrix = sorted(node.args, key=lambda a: len(self._shape(a)))
                work.append((matrix, over, scalar if factor is None else factor * scalar, turn))
            elif isinstance(leaf, Read) and len(self._shape(node)) == 2 and leaf.name in self.system.equations:
                if not is_home(leaf, self.streams[leaf.name].axes):
                    self.fail("a matrix read at another step")
                work.append((self.system.equations[leaf.name], over, factor, turn))
            else:
                found.append((self._contribution(name, node, over, factor), turn))
        self.out.totals[name] = tuple(found)
        self.out.names[name] = name

    def _shape(self, x: Symbol) -> tuple[Dim, ...]:
        return self.kinds.of(x).shape

    def _contribution(self, name: str, node: Symbol, over: tuple[str, ...], factor: Symbol | None) -> str:
        over = self._order(over)
        kind, shape = "total", self._shape(node)
        value: Symbol | None = None
        operands: tuple[Symbol, ...] = ()
        if node.is_op("outer", "scatter_columns"):
            left = self.lower(node.args[0] if factor is None else node.args[0] * factor)
            right = self.lower(node.args[1])
            if node.is_op("outer") and self.kinds.of(right).dtype != "category" and not right.is_op("one_hot"):
                kind, operands = "outer", (lift(self._operand(left)), lift(self._operand(right)))
            else:
                right = right.args[0] if right.is_op("one_hot") else right
                if not isinstance(right.leaf, Read):
                    self.fail("a scatter by a computed category")
                kind, value, operands = "scatter", self._solid(left), (right,)
        elif len(shape) > 1:
            self.fail("a total of matrices that are not outer products")
        else:
            value = self._solid(self.lower(node if factor is None else node * factor))
        key = self._fresh(f"{name}.sum")
        axes = set().union(*[self.kinds.of(x).axes for x in ((value,) if value is not None else ()) + operands])
        if not set(over) <= axes:
            self.fail("a sum along an axis that its terms lack")
        if axes - set(over):
            self.fail("a total with a free axis")
        self.streams[key] = Stream(key, "equation", (), shape, shared=True, total=True)
        self.out.definitions[key] = Definition(
            key, kind, (), shape, value=value, operands=operands, over=over, reduction="sum", wanted=True
        )
        return key
