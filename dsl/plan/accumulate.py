"""Accumulators: products that are added together share the memory they are summed up in.

`W_f@h[t-1] + V_f@x[t] + b_f` becomes one accumulator that both products add to, plus the bias in the loop
over features. The second half of normalising: it sees definitions only, drops the dead ones and settles names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dsl.plan.definitions import Definition, Normal, Term, reads
from dsl.system.system import Index, Read, Stream
from tinygrad_seq.symbol import Symbol, lift, postorder, rebuild


class Accumulation:
    """Works on a `Normal` in place. `placed`: stream -> the definition whose memory holds it."""

    def __init__(self, normal: Normal, placed: dict[str, str]) -> None:
        self.normal, self.placed = normal, placed
        self.count = 0

    def run(self) -> None:
        self._drop_dead()
        self._accumulate()
        self._rename()

    def order(self, axes: Iterable[str]) -> tuple[str, ...]:
        present = set(axes)
        return tuple(a for a in self.normal.system.axes if a in present)

    def fresh(self) -> str:
        self.count += 1
        while f"acc_{self.count}" in self.normal.streams:
            self.count += 1
        return f"acc_{self.count}"

    def _drop_dead(self) -> None:
        definitions = self.normal.definitions
        live: dict[str, None] = {}
        stack = [n for n, d in definitions.items() if d.wanted]
        while stack:
            name = stack.pop()
            if name in live:
                continue
            live[name] = None
            definition = definitions[name]
            stack += [
                self.placed.get(r.name, r.name)
                for r in reads(definition)
                if self.placed.get(r.name, r.name) in definitions
            ]
            if isinstance(definition.boundary, str) and definition.boundary in definitions:
                stack.append(definition.boundary)
        self.normal.definitions = {n: d for n, d in definitions.items() if n in live}

    def _accumulate(self) -> None:
        """Products that are added together become one accumulator for each set of axes."""
        roots = [e for d in self.normal.definitions.values() for e in d.expressions()]
        order = postorder(roots)
        uses = Counter(a for n in order for a in n.args)
        uses.update(roots)
        above: dict[Symbol, Symbol] = {a: n for n in order for a in n.args}
        joined = {
            n
            for n in order
            if (n.is_op("add") or self._is_product(n)) and uses[n] == 1 and n in above and above[n].is_op("add")
        }
        new: dict[Symbol, Symbol] = {}
        for node in order:
            if node in joined:
                continue
            if node.is_op("add"):
                new[node] = self._chain(node, joined, new)
            elif self._is_product(node):
                new[node] = self._accumulator([node])
            else:
                new[node] = rebuild(node, tuple(new[a] for a in node.args))
        self._replace(new)

    def _is_product(self, node: Symbol) -> bool:
        """Whether a kernel runs it: a Fourier transform, or a matrix that is one for all sequences and steps."""
        return node.is_op("fft", "ifft") or (node.is_op("matvec") and self.normal.kinds.of(node.args[0]).shared)

    def _chain(self, root: Symbol, joined: set[Symbol], new: Mapping[Symbol, Symbol]) -> Symbol:
        products: dict[tuple[str, ...], list[Symbol]] = {}
        rest: list[Symbol] = []
        stack = list(reversed(root.args))
        while stack:
            node = stack.pop()
            if node in joined and node.is_op("add"):
                stack += reversed(node.args)
            elif node in joined:
                products.setdefault(self.order(self.normal.kinds.of(node).axes), []).append(node)
            else:
                rest.append(new[node])
        total: Symbol | None = None
        for part in [self._accumulator(p) for p in products.values()] + rest:
            total = part if total is None else total + part
        assert total is not None
        return total

    def _accumulator(self, products: list[Symbol]) -> Symbol:
        terms: list[Term] = []
        for node in products:
            *matrix, x = node.args
            assert isinstance(x.leaf, Read) and node.op is not None
            if not matrix:
                terms.append(Term("", False, x.leaf, node.op.name))
                continue
            (w,) = matrix
            inner = w.args[0] if w.is_op("transpose") else w
            assert isinstance(inner.leaf, Read)
            terms.append(Term(inner.leaf.name, w.is_op("transpose"), x.leaf))
        kind = self.normal.kinds.of(products[0])
        axes = self.order(kind.axes)
        name = self.fresh()
        self.normal.streams[name] = Stream(name, "equation", axes, kind.shape)
        terms.sort(key=lambda t: (str(t.operand), t.weight, t.transposed))
        self.normal.definitions[name] = Definition(name, "product", axes, kind.shape, terms=tuple(terms))
        return lift(Read(name, tuple(Index(a) for a in axes)))

    def _replace(self, new: Mapping[Symbol, Symbol]) -> None:
        """Put the accumulators in; a definition that is nothing but an accumulator takes its place."""
        definitions = self.normal.definitions
        taken = set(self.placed.values())
        for definition in list(definitions.values()):
            if definition.value is not None:
                definition.value = new[definition.value]
            definition.pieces = tuple(
                replace(p, value=None if p.value is None else new[p.value]) for p in definition.pieces
            )
            definition.operands = tuple(new[o] for o in definition.operands)
            value = definition.value
            # a product writes rows whose sequence has ended, unless rows are sorted: not over a boundary
            bounded = definition.boundary is not None and len(self.normal.system.axes) > 1
            if definition.kind == "pointwise" and not bounded and value is not None and isinstance(value.leaf, Read):
                source = definitions.get(value.leaf.name)
                if (
                    source is not None
                    and source.kind == "product"
                    and source.axes == definition.axes
                    and source.name not in taken
                ):
                    self.placed[source.name] = definition.name
                    taken.add(definition.name)
                    definition.kind, definition.terms, definition.value = "product", source.terms, None
                    del definitions[source.name]

    def _rename(self) -> None:
        """Every read names a definition (or something shared); `stored` finds what is in memory already."""
        table: dict[Symbol, Symbol] = {}
        roots = [e for d in self.normal.definitions.values() for e in d.expressions()]
        for node in postorder(roots):
            leaf = node.leaf
            if isinstance(leaf, Read) and leaf.name in self.placed:
                table[node] = lift(Read(self._final(leaf.name), leaf.index))
            else:
                table[node] = rebuild(node, tuple(table[a] for a in node.args))
        for d in self.normal.definitions.values():
            d.value = None if d.value is None else table[d.value]
            d.pieces = tuple(replace(p, value=None if p.value is None else table[p.value]) for p in d.pieces)
            d.operands = tuple(table[o] for o in d.operands)
            d.terms = tuple(replace(t, operand=Read(self._final(t.operand.name), t.operand.index)) for t in d.terms)
            if isinstance(d.boundary, str):
                d.boundary = self._final(d.boundary)
        self.normal.stored = {
            d.value: n
            for n, d in self.normal.definitions.items()
            if d.kind == "pointwise" and d.value is not None and d.value.op and self._own_axes(d)
        }
        self.normal.names = {n: self._final(d) for n, d in self.normal.names.items()}

    def _own_axes(self, definition: Definition) -> bool:
        """Whether its value varies along all its axes, so that the expression finds it again."""
        assert definition.value is not None
        return set(self.normal.kinds.of(definition.value).axes) == set(definition.axes)

    def _final(self, name: str) -> str:
        while self.placed.get(name, name) != name:
            name = self.placed[name]
        return name
