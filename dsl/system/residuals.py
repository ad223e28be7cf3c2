"""Forward sub-expressions that an adjoint needs and the cell gave no name: which deserve one.

A pointwise function of named streams is computed again where it stands (`tanh(c[t])`); a product or a
reduction over a time axis is not. Those get names, as equations of the adjoint ("computed again") or,
for a compiled run, of the forward system (`with_residuals`), which then keeps them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from dsl.system.kinds import Kinds, named_axis
from dsl.system.system import Read, Stream, System, here
from tinygrad_seq.symbol import Symbol, lift, postorder, replace

CHEAP = ("add", "sub", "neg", "mul", "div", "where", "one_hot", "part", "concat", "fill", "transpose")


def _mixes(node: Symbol) -> bool:
    return node.op is not None and node.op.mixes


class Residuals:
    """Names for costly forward sub-expressions of one system."""

    def __init__(self, system: System, kinds: Kinds, taken: set[str]) -> None:
        self.system, self.kinds, self.taken = system, kinds, taken
        self.streams: dict[str, Stream] = {}
        self.values: dict[str, Symbol] = {}
        self.owners: dict[Symbol, str] = {}
        self.roots: dict[Symbol, str] = {}
        for name, value in system.equations.items():
            if value.op is not None:
                self.roots.setdefault(value, name)
            for node in postorder([value]):
                if node.op is not None:
                    self.owners.setdefault(node, name)
        for name, draw in system.draws.items():
            for _, value in draw.parameters:
                for node in postorder([value]):
                    if node.op is not None:
                        self.owners.setdefault(node, name)
        # In the order of the equations: that of symbols' making depends on what a process did before.
        self.rank = {node: k for k, node in enumerate(self.owners)}
        # What a maximum over time is taken of is compared with it again: only the very same numbers will do.
        extremes = [n for n in self.owners if n.is_op("max", "min") and named_axis(n) is not None]
        self.compared = {n.args[0] for n in extremes if n.args[0].op is not None}
        self.costly = self._costly()

    def _costly(self) -> set[Symbol]:
        """Forward nodes with a product of streams, a time reduction or an operand of a maximum at or below them."""
        found: set[Symbol] = set()
        for node in postorder(list(self.owners)):
            if node in self.owners and not self.kinds.of(node).shared:
                own = _mixes(node) or named_axis(node) is not None or node in self.compared
                if own or any(a in found for a in node.args):
                    found.add(node)
        return found

    def extract(self, equations: Mapping[str, Symbol]) -> tuple[dict[str, Symbol], dict[str, Symbol]]:
        """(equations with reads of the new names, the new names' own equations)."""
        wanted: dict[Symbol, None] = {}
        for value in equations.values():
            for node in self._maximal(value):
                for part in self._cut(node):
                    wanted.setdefault(part)
        table = {node: self._name(node) for node in wanted}
        reads = {
            node: lift(Read(name, tuple(here(a) for a in self.streams[name].axes))) for node, name in table.items()
        }
        changed = {n: replace(v, reads) for n, v in equations.items()}
        named: dict[str, Symbol] = {}
        for node in sorted(table, key=self.rank.__getitem__):
            below = {k: r for k, r in reads.items() if k is not node}
            named[table[node]] = replace(node, below)
        return changed, named

    def _maximal(self, root: Symbol) -> list[Symbol]:
        """Outermost forward nodes of an adjoint expression that are costly."""
        found: list[Symbol] = []
        seen: set[Symbol] = set()
        stack = [root]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node in self.costly:
                found.append(node)
            else:
                stack.extend(node.args)
        return sorted(found, key=self.rank.__getitem__)

    def _cut(self, root: Symbol) -> list[Symbol]:
        """Go down through cheap pointwise operations, never into a bare product."""
        found: list[Symbol] = []
        stack, seen = [root], set()
        while stack:
            node = stack.pop()
            if node in seen or node not in self.costly:
                continue
            seen.add(node)
            bare = any(map(_mixes, node.args))
            if node.is_op(*CHEAP) and not bare and node not in self.compared:
                stack.extend(node.args)
            else:
                found.append(node)
        return sorted(found, key=self.rank.__getitem__)

    def _name(self, node: Symbol) -> str:
        owner = self.owners[node]
        head, _, tail = owner.rpartition(".")
        prefix = f"{head}." if head else ""
        value = self.system.equations.get(owner)
        drawn = next((n for n, d in self.system.draws.items() if any(v is node for _, v in d.parameters)), None)
        if drawn is not None:
            head, _, tail = drawn.rpartition(".")
            base = f"{head}.z_{tail}" if head else f"z_{tail}"
        elif value is not None and value.args == (node,):
            base = f"{prefix}z_{tail}"
        else:
            number = 1 + sum(1 for n in self.streams if n.startswith(f"{owner}_"))
            base = f"{owner}_{number}"
        name, n = base, 2
        while name in self.taken:
            name, n = f"{base}{n}", n + 1
        self.taken.add(name)
        kind = self.kinds.of(node)
        comment = "" if self.streams else "the forward pass gave no name to this: computed again"
        self.streams[name] = Stream(name, "equation", kind.axes, kind.shape, kind.dtype, comment=comment)
        self.values[name] = node
        return name


def with_residuals(system: System, residuals: Mapping[str, Symbol], streams: Mapping[str, Stream]) -> System:
    """The forward system with names for the residuals an adjoint would compute again."""
    if not residuals:
        return system
    reads = {node: lift(Read(name, tuple(here(a) for a in streams[name].axes))) for name, node in residuals.items()}
    equations = {n: replace(v, reads) for n, v in system.equations.items()}
    draws = {
        n: dataclasses.replace(d, parameters=tuple((k, replace(v, reads)) for k, v in d.parameters))
        for n, d in system.draws.items()
    }
    for name, node in residuals.items():
        equations[name] = replace(node, {k: r for k, r in reads.items() if k is not node})
    named = {n: dataclasses.replace(streams[n], comment="") for n in residuals}
    return system.with_(equations=equations, draws=draws, streams={**system.streams, **named})
