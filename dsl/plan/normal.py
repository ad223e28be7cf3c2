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
from dsl.plan.definitions import Normal, is_home, reads, shared_names, unsupported
from dsl.plan.totals import Totals
from dsl.system.system import Read, System
from tinygrad_seq.symbol import postorder


def normalise(system: System, wanted: Iterable[str], kept: Iterable[str] = ()) -> Normal:
    """The definitions that `wanted` streams need. `kept` streams lie in the forward run's memory."""
    return Normaliser(system, tuple(wanted), frozenset(kept)).run()


class Normaliser(Totals):
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
                self.constants.setdefault(expression, name)
                continue
            value = self.values[name] = self.lower(expression)
            if value.op is not None:
                self.named.setdefault(value, name)
        for name in live:
            if name in self.system.equations and self.streams[name].total:
                self.current = name
                self._total(name, self.system.equations[name])
        for name in self.wanted:
            if name in self.out.totals or name in self.out.before or name in self.out.after:
                continue
            self.current = name
            definition = self._place(name)
            self.out.definitions[definition].wanted = True
            self.out.names[name] = definition
        while self.pending:
            self._place(self.pending.pop())
        self._after()
        Accumulation(self.out, self.placed).run()
        self._stages()
        return self.out

    def _stages(self) -> None:
        """What reads a total, or something shared made of it, waits until all sequences' share is in."""
        out = self.out
        known = dict.fromkeys([*out.totals, *out.after], 0)
        stages = dict.fromkeys(out.definitions, 0)
        if not any(n in known for d in out.definitions.values() for n in shared_names(d)):
            return
        for _ in range(2 * (len(stages) + len(known)) + 2):
            before = dict(stages), dict(known)
            for name, definition in out.definitions.items():
                kept = definition.kind == "kept"
                needs = [stages.get(r.name, 0) for r in reads(definition)]
                needs += [stages.get(definition.boundary, 0)] if isinstance(definition.boundary, str) else []
                stages[name] = (
                    0 if kept else max(needs + [known.get(n, 0) for n in shared_names(definition)], default=0)
                )
            for name, contributions in out.totals.items():
                known[name] = 1 + max((stages[d] for d, _ in contributions), default=0)
            for name, expression in out.after.items():
                leaves = [n.leaf.name for n in postorder([expression]) if isinstance(n.leaf, Read)]
                known[name] = max((known.get(n, 0) for n in leaves), default=0)
            if (stages, known) == before:
                out.stages = {n: k for n, k in stages.items() if k}
                return
        unsupported(self.system, next(iter(out.totals)), "a total that depends on itself")

    def _after(self) -> None:
        """Shared equations that read totals are left for after the loops."""
        late = {*self.out.totals, *self.out.after}
        for name, expression in list(self.out.before.items()):
            if any(isinstance(n.leaf, Read) and n.leaf.name in late for n in postorder([expression])):
                late.add(name)
                self.out.after[name] = self.out.before.pop(name)

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
