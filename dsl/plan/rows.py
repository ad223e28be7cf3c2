"""Row programs: the code for one point of a loop, from expressions to lines of text.

A row program computes several outputs for one sequence at one step, in the phases and loop nests of `phases`.

Within a nest a value is an *instance*: a node together with the loops that run over its features. A transpose
swaps them, an outer product gives each factor one, so neither costs anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dsl.plan.features import (
    FOLDS,
    Address,
    Instance,
    Loops,
    Nest,
    Output,
    Shape,
)
from dsl.plan.phases import Phases
from dsl.system.dims import Dim
from dsl.system.kinds import COMPARISONS
from dsl.system.system import Extent, Position, Read, Size
from tinygrad_seq.kernels.callbacks import call_name
from tinygrad_seq.symbol import Symbol

INTEGER = ("add", "sub", "mul", "neg", "floordiv", "mod")
SINGULAR = (
    "div",
    "log",
    "sqrt",
    "power",
    "exp",
    "log1p",
    "expm1",
    "sum",
    "max",
    "min",
    "one_hot",
    "part",
    "permute",
    "logaddexp",
    "mod",
    "floordiv",
)


@dataclass
class RowProgram(Phases):
    lines: list[tuple[int, str]] = field(default_factory=list)  # indentation, text
    loops: list[tuple[int, int]] = field(default_factory=list)  # which of them stand alone, a loop over features each
    _count: int = 0

    def emit(self) -> list[tuple[int, str]]:
        self._collect()
        self._place_phases()
        self._plan_loops()
        for phase in range(self.phases):
            self._scalars(phase)
            for space in self.spaces:
                self._loop(phase, space)
        self._scalars(self.phases)
        return self.lines

    # ------------------------------------------------------------ text

    def line(self, depth: int, text: str) -> None:
        self.lines.append((depth, text))

    def fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _scalars(self, phase: int) -> None:
        """Scalars that are known before the loops of this phase."""
        if phase == 0:
            self.values: dict[Instance, str] = {}  # scalars' text, then in each nest that of all instances
            self.kinds: dict[Symbol, str] = {}  # real, int or bool
        for node in self.nodes:
            if not self.shape(node) and self.phase[node] == phase and (node, ()) not in self.values:
                self._scalar(node)
        for o in self.outputs:
            if not o.shape and o.value is not None and self.phase[o.value] == phase:
                value = self._real((o.value, ()), self.values) if o.address.store else self.values[o.value, ()]
                self.line(0, self._store_text(o, value, (), None))

    def _scalar(self, node: Symbol) -> None:
        if self._is_contraction(node):
            return  # already a variable, summed up in the loop
        text, kind = self._text((node, ()), self.values)
        self.kinds[node] = kind
        if node.op is None and not isinstance(node.leaf, Read):
            self.values[node, ()] = text
            return
        name = self.fresh()
        self.line(0, f"{name} = {text}")
        self.values[node, ()] = name

    def _loop(self, phase: int, space: Shape) -> None:
        body = self.bodies[phase, space]
        stores = [o for o in self.outputs if o.shape == space and self._due(o) == phase]
        reductions = self._reduced(phase, space)
        whole = tuple(range(len(space)))
        spills = [n for n, at in body if at == whole and n in self.scratch and self._spilled(n, phase)]
        if not stores and not reductions and not spills:
            return
        nest = Nest(len(space))
        values = dict(self.values)
        for n in reductions:
            self._start(n, nest, values)
        for instance in body:
            node, loops = instance
            if node in self.scratch and not self._spilled(node, phase):
                at = self._element(self.scratch[node], self.shape(node), loops, nest)
                values[instance], self.kinds[node] = (
                    f"{self.scratch[node].load}({self.scratch[node].array}, {at})",
                    "real",
                )
                continue
            text, self.kinds[node] = self._text(instance, values, nest)
            name = values[instance] = self.fresh()
            nest.inside[max(loops) + 1].append(f"{name} = {text}")
        for n in reductions:
            self._step(n, nest, values)
        for n in spills:
            nest.inside[-1].append(self._spill_text(n, self._real((n, whole), values), whole, nest))
        for o in stores:
            value = "real(0.0)" if o.value is None else self._real((o.value, self._own(o.value, whole)), values)
            nest.inside[-1].append(self._store_text(o, value, whole, nest))
        begin = len(self.lines)
        self._write(nest, space, self._exact(body, stores, reductions))
        if not any(self.contractions[n].running and not self.contractions[n].kept for n in reductions):
            self.loops.append((begin, len(self.lines)))

    def _spilled(self, node: Symbol, phase: int) -> bool:
        """Whether this phase computes a value with scratch memory, rather than loading it."""
        return self.phase[node] == phase and not self._is_contraction(node)

    def _own(self, node: Symbol, loops: Loops) -> Loops:
        return loops if self.shape(node) else ()

    @staticmethod
    def _exact(body: Sequence[Instance], stores: Sequence[Output], reductions: Sequence[Symbol]) -> bool:
        """Whether the innermost loop must not run over padding."""
        return (
            bool(reductions)
            or any(o.stretch or o.value is None for o in stores)
            or any(n.op is not None and n.op.name in SINGULAR for n, _ in body)
        )

    def _write(self, nest: Nest, space: Shape, exact: bool) -> None:
        for text, name in nest.rows.items():
            self.line(0, f"{name} = {text}")
        for depth in range(nest.rank + 1):
            for text in nest.inside[depth]:
                self.line(depth, text)
            if depth < nest.rank:
                last = depth == nest.rank - 1 and not exact
                bound = self.context.padded(space[depth]) if last else self.context.size(space[depth])
                self.line(depth, f"for {nest.loop(depth)} in range({bound}):")
        for depth in reversed(range(nest.rank + 1)):
            for text in nest.behind[depth]:
                self.line(depth, text)

    # ------------------------------------------------------------ contractions

    def _start(self, node: Symbol, nest: Nest, values: dict[Instance, str]) -> None:
        c = self.contractions[node]
        if c.bound is not None:
            name, total = self.fresh(), self.fresh()
            values[node, ()] = self.values[node, ()] = name
            self.kinds[node], self.sums[node] = "int", total
            self.line(0, f"{name} = -1")
            self.line(0, f"{total} = real(0.0)")
            return
        start = FOLDS[c.how][0]
        if c.running:
            name = self.fresh()
            values[node, c.kept] = name
            if not c.kept:
                self.values[node, ()], self.kinds[node] = name, "real"
                self.line(0, f"{name} = {start}")
            else:
                nest.inside[len(c.kept)].append(f"{name} = {start}")
            return
        zeros = Nest(len(c.kept))
        whole = tuple(range(len(c.kept)))
        zeros.inside[-1].append(self._spill_text(node, start, whole, zeros))
        self._write(zeros, self.shape(node), exact=True)

    def _step(self, node: Symbol, nest: Nest, values: Mapping[Instance, str]) -> None:
        c = self.contractions[node]
        term = " * ".join(self._real((a, self._own(a, at)), values) for a, at in c.factors)
        if c.bound is not None:
            name, total, bound = values[node, ()], self.sums[node], self._real((c.bound, ()), values)
            possible = f"{term} > real(0.0) and {total} <= {bound}"
            nest.inside[-1].append(f"{name} = {nest.loop(nest.rank - 1)} if {possible} else {name}")
            nest.inside[-1].append(f"{total} = {total} + {term}")
            return
        if c.running:
            name = values[node, c.kept]
            nest.inside[-1].append(f"{name} = " + FOLDS[c.how][1].format(name, term))
            if c.kept:
                nest.behind[len(c.kept)].append(self._spill_text(node, name, c.kept, nest))
            return
        a = self.scratch[node]
        so_far = f"{a.load}({a.array}, {self._element(a, self.shape(node), c.kept, nest)})"
        nest.inside[-1].append(self._spill_text(node, FOLDS[c.how][1].format(so_far, term), c.kept, nest))

    def _spill_text(self, node: Symbol, value: str, loops: Loops, nest: Nest) -> str:
        a = self.scratch[node]
        return f"{a.store}({a.array}, {self._element(a, self.shape(node), loops, nest)}, {value})"

    # ------------------------------------------------------------ stores and addresses

    def _due(self, o: Output) -> int:
        """The phase whose loop stores an output."""
        if o.value is None or not self.shape(o.value):
            phase = 0 if o.value is None else self.phase[o.value]
            return min(phase, self.phases - 1)
        return self._store_phase(o)

    def _row(self, address: Address, nest: Nest | None) -> str:
        if nest is None:
            return address.offset
        if address.offset not in nest.rows:
            self._count += 1
            nest.rows[address.offset] = f"r{self._count}"
        return nest.rows[address.offset]

    def _element(self, address: Address, shape: Shape, loops: Loops, nest: Nest | None, start: str = "0") -> str:
        """The offset of the element at the nest's loops; rows of a matrix are padded."""
        at = self._row(address, nest) + ("" if start == "0" else f" + {start}")
        if not loops:
            return at
        assert nest is not None
        inner = nest.loop(loops[0])
        for k in range(1, len(loops)):
            width = self.context.padded(shape[k]) if k == len(loops) - 1 else self.context.size(shape[k])
            inner = f"{inner} * {width} + {nest.loop(loops[k])}"
            inner = f"({inner})" if k < len(loops) - 1 else inner
        return f"{at} + {inner}"

    def _store_text(self, o: Output, value: str, loops: Loops, nest: Nest | None) -> str:
        a = o.address
        at = self._element(a, o.shape, loops, nest, o.start)
        if not a.store:
            return f"{a.array}[{at}] = {value}"
        if o.mode != "set":
            value = FOLDS[o.mode][1].format(f"{a.load}({a.array}, {at})", value)
        return f"{a.store}({a.array}, {at}, {value})"

    # ------------------------------------------------------------ one instance

    def _text(self, instance: Instance, values: Mapping[Instance, str], nest: Nest | None = None) -> tuple[str, str]:
        context = self.context
        node, loops = instance

        def load(address: Address, start: str = "0") -> str:
            return f"{address.load}({address.array}, {self._element(address, self.shape(node), loops, nest, start)})"

        if node in self.loads:
            read = self.loads[node]
            if context.normal.kinds.streams[read.name].dtype == "category":
                return context.category(read), "int"
            return load(context.address(read)), "real"
        if node.op is None:
            return self._leaf(node)
        name, options = node.op.name, node.options
        if name == "part":
            inner = node.args[0].leaf
            assert isinstance(inner, Read)
            start = Dim.of(options["start"])
            return load(context.address(inner), "0" if start == 0 else context.size(start)), "real"
        if name == "permute":
            order, inner = (a.leaf for a in node.args)
            assert isinstance(order, Read) and isinstance(inner, Read) and nest is not None
            address = context.address(inner)
            return (
                f"{address.load}({address.array}, {self._row(address, nest)} + int({load(context.address(order))}))",
                "real",
            )
        if name == "lookup":
            matrix, which = node.args[0].leaf, node.args[1].leaf
            assert isinstance(matrix, Read) and isinstance(which, Read)
            return load(context.table(matrix.name, context.category(which))), "real"
        if name == "one_hot":
            which = node.args[0].leaf
            assert isinstance(which, Read) and nest is not None
            return f"(real(1.0) if {nest.loop(loops[0])} == {context.category(which)} else real(0.0))", "real"
        operands = [(a, self._own(a, at)) for a, at in self._operands(node, loops)]
        if name in ("fill", "transpose"):
            return self._real(operands[0], values), "real"
        if name == "outer":
            return f"({self._real(operands[0], values)} * {self._real(operands[1], values)})", "real"
        return self._operation(node, operands, values)

    def _leaf(self, node: Symbol) -> tuple[str, str]:
        leaf = node.leaf
        if isinstance(leaf, bool | int):
            return str(int(leaf)), "int"
        if isinstance(leaf, float):
            if leaf != leaf or leaf in (float("inf"), float("-inf")):
                return {"inf": "infinity", "-inf": "-infinity", "nan": "not_a_number"}[str(leaf)], "real"
            return f"real({leaf!r})", "real"
        if isinstance(leaf, Position):
            return self.context.position(leaf.axis), "int"
        if isinstance(leaf, Extent):
            return self.context.extent(leaf.axis), "int"
        if isinstance(leaf, Size):
            return self.context.size(leaf.dim), "int"
        self.context.fail(f"`{leaf}`")
        raise AssertionError

    def _operation(self, node: Symbol, operands: Sequence[Instance], values: Mapping[Instance, str]) -> tuple[str, str]:
        assert node.op is not None
        name = node.op.name
        kinds = [self.kinds[a] for a in node.args]
        template = node.op.kernel
        if template is None:
            called = call_name(name, len(operands), node.options)
            return f"{called}({', '.join(self._real(a, values) for a in operands)})", "real"
        if name in INTEGER and all(k == "int" for k in kinds):
            plain = {"floordiv": "({0} // {1})", "mod": "({0} % {1})"}.get(name, template)
            return plain.format(*[values[a] for a in operands]), "int"
        if name in COMPARISONS:
            if all(k == "int" for k in kinds):
                return template.format(*[values[a] for a in operands]), "bool"
            return template.format(*[self._real(a, values) for a in operands]), "bool"
        if name == "where":
            c, a, b = operands
            condition = values[c] if kinds[0] == "bool" else f"({values[c]} != 0)"
            if self.context.normal.kinds.of(node).dtype == "category":
                return f"({values[a]} if {condition} else {values[b]})", "int"
            return f"({self._real(a, values)} if {condition} else {self._real(b, values)})", "real"
        options = {**(getattr(node.op.impl, "__kwdefaults__", None) or {}), **node.options}
        return template.format(*[self._real(a, values) for a in operands], **options), "real"

    def _real(self, instance: Instance, values: Mapping[Instance, str]) -> str:
        text, kind = values[instance], self.kinds[instance[0]]
        if kind == "real":
            return text
        if kind == "bool":
            return f"(real(1.0) if {text} else real(0.0))"
        return f"real({text})" if not text.lstrip("-").isdigit() else f"real({float(text)!r})"
