"""What a row program computes when: its nodes, the phases between reductions, the loop nests of each.

Vectors and matrices are computed in loop nests over their features, scalars between them; a reduction over features (a
sum, a maximum, a product of matrices) ends a phase, and what depends on it starts in the next. Everything of one shape
shares a loop nest. A value needed again in a later phase is computed again when that is cheap and kept in scratch
memory when not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dsl.plan.definitions import Normal
from dsl.plan.features import (
    Address,
    Contraction,
    Instance,
    Loops,
    Output,
    Shape,
    matrix_product,
    reduction,
)
from dsl.system.dims import Dim
from dsl.system.kinds import named_axis
from dsl.system.system import Read
from tinygrad_seq.symbol import Symbol

BLOCK = 200  # work in one loop over features: an operation or operand is 1, an elementary function 8
GATHERS = ("part", "lookup", "one_hot", "permute")  # read memory at an index of their own


@dataclass
class Context:
    """What a row program asks its surroundings for."""

    normal: Normal
    address: Callable[[Read], Address]  # of a read of memory
    held: Callable[[Symbol], Read | None]  # the read that gives a symbol already in memory
    table: Callable[[str, str], Address]  # a column of a looked-up matrix, by the category as text
    category: Callable[[Read], str]  # the integer at a read of a category stream
    size: Callable[[Dim], str]
    padded: Callable[[Dim], str]
    position: Callable[[str], str]
    extent: Callable[[str], str]
    scratch: Callable[[Shape], Address]
    fail: Callable[[str], None]


@dataclass
class Phases:
    """Outputs for one sequence at one step, analysed."""

    context: Context
    outputs: list[Output]

    def _collect(self) -> None:
        """All nodes below the outputs, stopping at what is in memory."""
        self.loads: dict[Symbol, Read] = {}
        self.nodes: list[Symbol] = []
        self.contractions: dict[Symbol, Contraction] = {}
        self.sums: dict[Symbol, str] = {}  # beside the result of a contraction with a bound
        self._shapes: dict[Symbol, Shape] = {}
        seen: set[Symbol] = set()
        stack = [(o.value, False) for o in reversed(self.outputs) if o.value is not None]
        while stack:
            node, done = stack.pop()
            assert node is not None
            if done:
                self.nodes.append(node)
                continue
            if node in seen:
                continue
            seen.add(node)
            read = self.context.held(node)
            if read is not None:
                self.loads[node] = read
            elif isinstance(node.leaf, Read):
                self.loads[node] = node.leaf
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(self._below(node)))

    def shape(self, node: Symbol) -> Shape:
        """The feature shape; a category is a scalar."""
        found = self._shapes.get(node)
        if found is None:
            category = (
                isinstance(node.leaf, Read) and self.context.normal.kinds.streams[node.leaf.name].dtype == "category"
            )
            found = self._shapes[node] = () if category else self.context.normal.kinds.of(node).shape
        return found

    def _below(self, node: Symbol) -> Sequence[Symbol]:
        """What a node is computed from."""
        if node in self.loads or node.op is None or node.op.name in GATHERS:
            return ()
        contraction = self._contraction(node)
        if contraction is None:
            return node.args
        return [a for a, _ in contraction.factors] + ([] if contraction.bound is None else [contraction.bound])

    def _contraction(self, node: Symbol) -> Contraction | None:
        if node in self.contractions:
            return self.contractions[node]
        made = None
        if node.is_op("sum", "max", "min") and named_axis(node) is None:
            made = reduction(node, self.shape(node.args[0]))
        elif node.is_op("matvec", "matmul"):
            made = matrix_product(node, self.shape, lambda n: n in self.loads)
        elif node.is_op("categorical_icdf"):
            p, u = node.args
            made = Contraction(self.shape(p), (), ((p, (0,)),), "categorical_icdf", u)
        if made is not None:
            self.contractions[node] = made
        return made

    def _is_contraction(self, node: Symbol) -> bool:
        return node not in self.loads and node in self.contractions

    def _operands(self, node: Symbol, loops: Loops) -> list[Instance]:
        """The instances that an instance of an elementwise operation is computed from."""
        if node in self.loads or node.op is None or node.op.name in GATHERS or self._is_contraction(node):
            return []
        if node.is_op("transpose"):
            return [(node.args[0], loops[::-1])]
        if node.is_op("outer"):
            return [(node.args[0], loops[:1]), (node.args[1], loops[1:])]
        return [(a, loops[len(loops) - len(self.shape(a)) :]) for a in node.args]

    def _repeated(self, node: Symbol) -> list[Symbol]:
        """Vectors and matrices that a node's loops would compute over and over."""
        if self._is_contraction(node):
            found = list(self.contractions[node].factors)
        else:
            found = self._operands(node, tuple(range(len(self.shape(node)))))
        rank = max((max(at, default=-1) for _, at in found), default=-1) + 1
        return [a for a, at in found if at and at != tuple(range(len(at))) and len(at) < rank and self._weight(a)]

    def _place_phases(self) -> None:
        """Contractions end a phase, and so does enough work: of a loop of hundreds of values LLVM makes bad code."""
        self.phase: dict[Symbol, int] = {}
        chosen = [c for n, c in self.contractions.items() if c.how in ("max", "min") and n not in self.loads]
        extremes = {c.factors[0][0] for c in chosen}
        compared = {a for n in self.nodes if n.is_op("equal") for a in n.args}
        self.pinned: set[Symbol] = {n for n in extremes & compared if self._weight(n)}  # the very same numbers
        current = work = 0
        for node in self.nodes:
            repeated = self._repeated(node)
            self.pinned.update(repeated)
            at = max([self.phase[a] + (a in repeated) for a in self._below(node)], default=0)
            if self.shape(node):
                work += 8 if node.op is not None and node.op.costly else 1
                if work > BLOCK:
                    current, work = current + 1, 0
                at = at if node in self.loads else max(at, current)
            self.phase[node] = at + 1 if self._is_contraction(node) else at
        features = [self.phase[n] for n in self.nodes if self.shape(n)]
        reductions = [self.phase[n] for n in self.nodes if self._is_contraction(n)]
        self.phases = max([*reductions, *(v + 1 for v in features)], default=0) if features else 0
        for o in self.outputs:
            if o.shape:
                self.phases = max(self.phases, 1 + (self.phase[o.value] if o.value is not None else 0))
        spaces = [self.shape(n) for n in self.nodes] + [o.shape for o in self.outputs]
        spaces += [c.space for n, c in self.contractions.items() if n not in self.loads]
        self.spaces = list(dict.fromkeys(s for s in spaces if s))

    def _reduced(self, phase: int, space: Shape) -> list[Symbol]:
        """The contractions that a nest computes."""
        found = [n for n in self.nodes if self._is_contraction(n) and self.phase[n] == phase + 1]
        return [n for n in found if self.contractions[n].space == space]

    def _plan_loops(self) -> None:
        """For each phase and shape, the instances its nest evaluates; costly ones of earlier phases get scratch."""
        self.bodies: dict[tuple[int, Shape], list[Instance]] = {}
        self.scratch: dict[Symbol, Address] = {}
        kept: dict[tuple[int, Shape], list[Symbol]] = {}
        for n in self.nodes:
            if self._is_contraction(n) and self.shape(n):
                self.scratch[n] = self.context.scratch(self.shape(n))
        order = {n: i for i, n in enumerate(self.nodes)}
        for phase in reversed(range(self.phases)):
            for space in self.spaces:
                whole = tuple(range(len(space)))
                stack = [
                    (o.value, whole)
                    for o in self.outputs
                    if o.value is not None and o.shape == space and self._store_phase(o) == phase
                ]
                for n in self._reduced(phase, space):
                    stack += self.contractions[n].factors
                stack += [(n, whole) for n in kept.get((phase, space), [])]
                body: dict[Instance, None] = {}
                while stack:
                    instance = stack.pop()
                    node, loops = instance
                    if instance in body or not self.shape(node):
                        continue
                    body[instance] = None
                    if self.phase[node] < phase and node not in self.loads and self._kept(node):
                        if node not in self.scratch:
                            self.scratch[node] = self.context.scratch(self.shape(node))
                            kept.setdefault((self.phase[node], self.shape(node)), []).append(node)
                        continue
                    stack += self._operands(node, loops)
                self.bodies[phase, space] = sorted(body, key=lambda i: (order[i[0]], i[1]))

    def _kept(self, node: Symbol) -> bool:
        return node in self.pinned or self._is_contraction(node) or self._weight(node) > 3

    def _store_phase(self, output: Output) -> int:
        assert output.value is not None
        return min(self.phase[output.value], self.phases - 1) if self.shape(output.value) else 0

    def _weight(self, node: Symbol) -> int:
        """About how many operations an element takes, down to what is in memory; counted up to four."""
        stack, weight = [node], 0
        while stack and weight <= 3:
            n = stack.pop()
            if n in self.loads or n.op is None or not self.shape(n):
                continue
            weight += 4 if n.op.costly or self._is_contraction(n) else 1
            stack += n.args
        return weight
