"""Row programs: the code for one point of a loop, from expressions to lines of text.

A row program computes several outputs for one sequence at one step. Vectors are computed in loops over
features, scalars between them; a reduction over features (sum, maximum) ends a phase, and what depends on
it starts in the next. Everything that shares a size shares a loop. A vector needed again in a later phase
is computed again when that is cheap and kept in a scratch row when not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dsl.plan.arrange import COSTLY
from dsl.plan.definitions import Normal
from dsl.system.dims import Dim
from dsl.system.system import Extent, Position, Read, Size
from tinygrad_seq.symbol import Symbol

REDUCTIONS = {
    "sum": ("real(0.0)", "{0} + {1}"),
    "max": ("-infinity", "maximum({0}, {1})"),
    "min": ("infinity", "minimum({0}, {1})"),
}
INTEGER = ("add", "sub", "mul", "neg", "floordiv", "mod")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
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
    "logaddexp",
    "mod",
    "floordiv",
)


@dataclass(slots=True)
class Address:
    """A row in memory: the arrays' name, the row's offset as text, and the names of its load and store."""

    array: str
    offset: str
    load: str
    store: str


@dataclass(slots=True)
class Output:
    """`mode`: set, or a reduction to accumulate with; `start` a feature offset within the row."""

    value: Symbol | None  # None: zeros
    address: Address
    mode: str = "set"
    start: str = "0"
    size: Dim | None = None  # None: a scalar


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
    scratch: Callable[[Dim], Address]
    fail: Callable[[str], None]


@dataclass
class RowProgram:
    context: Context
    outputs: list[Output]
    lines: list[tuple[int, str]] = field(default_factory=list)  # indentation, text
    _count: int = 0

    def emit(self) -> list[tuple[int, str]]:
        self._collect()
        self._place_phases()
        self._plan_loops()
        for phase in range(self.phases):
            self._scalars(phase)
            for size in self.sizes:
                self._loop(phase, size)
        self._scalars(self.phases)
        return self.lines

    # ------------------------------------------------------------ analysis

    def _collect(self) -> None:
        """All nodes below the outputs, stopping at what is in memory."""
        self.loads: dict[Symbol, Read] = {}
        self.nodes: list[Symbol] = []
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
            if node not in self.loads and not node.is_op("part", "lookup", "one_hot"):
                stack.extend((a, False) for a in reversed(node.args))

    def shape(self, node: Symbol) -> Dim | None:
        """The size of a vector, None for a scalar (a category is one)."""
        if isinstance(node.leaf, Read) and self.context.normal.kinds.streams[node.leaf.name].dtype == "category":
            return None
        shape = self.context.normal.kinds.of(node).shape
        return shape[0] if shape else None

    def _row_reduction(self, node: Symbol) -> bool:
        return node not in self.loads and node.is_op("sum", "max", "min")

    def _place_phases(self) -> None:
        self.phase: dict[Symbol, int] = {}
        for node in self.nodes:
            inner = () if node in self.loads or node.is_op("part", "lookup", "one_hot") else node.args
            at = max([self.phase[a] for a in inner], default=0)
            self.phase[node] = at + 1 if self._row_reduction(node) else at
        vectors = [self.phase[n] for n in self.nodes if self.shape(n) is not None]
        reductions = [self.phase[n] for n in self.nodes if self._row_reduction(n)]
        self.phases = max([*reductions, *(v + 1 for v in vectors)], default=0) if vectors else 0
        for o in self.outputs:
            if o.size is not None:
                self.phases = max(self.phases, 1 + (self.phase[o.value] if o.value is not None else 0))
        sizes = [self.shape(n) for n in self.nodes] + [o.size for o in self.outputs]
        self.sizes = list(dict.fromkeys(s for s in sizes if s is not None))

    def _plan_loops(self) -> None:
        """For each phase and size, the nodes its loop evaluates; costly ones of earlier phases get scratch rows."""
        self.bodies: dict[tuple[int, Dim], list[Symbol]] = {}
        self.scratch: dict[Symbol, Address] = {}
        kept: dict[tuple[int, Dim], list[Symbol]] = {}
        for phase in reversed(range(self.phases)):
            for size in self.sizes:
                targets = [
                    o.value
                    for o in self.outputs
                    if o.value is not None and o.size == size and self._store_phase(o) == phase
                ]
                targets += [
                    n.args[0]
                    for n in self.nodes
                    if self._row_reduction(n) and self.phase[n] == phase + 1 and self.shape(n.args[0]) == size
                ]
                targets += kept.get((phase, size), [])
                body: dict[Symbol, None] = {}
                stack = list(targets)
                while stack:
                    node = stack.pop()
                    if node in body or self.shape(node) is None:
                        continue
                    body[node] = None
                    if self.phase[node] < phase and node not in self.loads and self._costly(node):
                        if node not in self.scratch:
                            self.scratch[node] = self.context.scratch(size)
                            kept.setdefault((self.phase[node], size), []).append(node)
                        continue
                    if node not in self.loads and not node.is_op("part", "lookup", "one_hot"):
                        stack += node.args
                self.bodies[phase, size] = [n for n in self.nodes if n in body]

    def _store_phase(self, output: Output) -> int:
        assert output.value is not None
        return min(self.phase[output.value], self.phases - 1) if self.shape(output.value) is not None else 0

    def _costly(self, node: Symbol) -> bool:
        stack, weight = [node], 0
        while stack:
            n = stack.pop()
            if n in self.loads or n.op is None or self.shape(n) is None:
                continue
            weight += 4 if n.op.name in COSTLY else 1
            if weight > 3:
                return True
            stack += n.args
        return False

    # ------------------------------------------------------------ text

    def line(self, depth: int, text: str) -> None:
        self.lines.append((depth, text))

    def fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _scalars(self, phase: int) -> None:
        """Scalars that are known before the loops of this phase."""
        if phase == 0:
            self.values: dict[Symbol, str] = {}  # a scalar's text, then in each loop the vectors' too
            self.kinds: dict[Symbol, str] = {}  # real, int or bool
        for node in self.nodes:
            if self.shape(node) is None and self.phase[node] == phase and node not in self.values:
                self._scalar(node)
        for o in self.outputs:
            if o.size is None and o.value is not None and self.phase[o.value] == phase:
                value = self._real(o.value, self.values) if o.address.store else self.values[o.value]
                self.line(0, self._store_text(o, value, "", None))

    def _scalar(self, node: Symbol) -> None:
        if self._row_reduction(node):
            return  # already a variable, summed up in the loop
        text, kind = self._text(node, self.values, "")
        if node.op is None and not isinstance(node.leaf, Read):
            self.values[node], self.kinds[node] = text, kind
            return
        name = self.fresh()
        self.line(0, f"{name} = {text}")
        self.values[node], self.kinds[node] = name, kind

    def _loop(self, phase: int, size: Dim) -> None:
        body = self.bodies[phase, size]
        stores = [o for o in self.outputs if o.size == size and self._due(o) == phase]
        reductions = [
            n
            for n in self.nodes
            if self._row_reduction(n) and self.phase[n] == phase + 1 and self.shape(n.args[0]) == size
        ]
        spills = [n for n in body if n in self.scratch and self.phase[n] == phase]
        if not stores and not reductions and not spills:
            return
        for n in reductions:
            assert n.op is not None
            name = self.values[n] = self.fresh()
            self.kinds[n] = "real"
            self.line(0, f"{name} = {REDUCTIONS[n.op.name][0]}")
        rows: dict[str, str] = {}
        exact = (
            bool(reductions)
            or any(o.start != "0" for o in stores)
            or any(n.op is not None and n.op.name in SINGULAR for n in body)
        )
        exact = exact or any(o.size is not None and o.value is None for o in stores)
        inner: list[str] = []
        values = dict(self.values)
        for node in body:
            if node in self.scratch and self.phase[node] < phase:
                values[node], self.kinds[node] = (
                    f"{self.scratch[node].load}({self.scratch[node].array}, {self._row(rows, self.scratch[node])} + j)",
                    "real",
                )
                continue
            text, kind = self._text(node, values, "j", rows)
            name = self.fresh()
            inner.append(f"{name} = {text}")
            values[node], self.kinds[node] = name, kind
        for n in reductions:
            assert n.op is not None
            inner.append(
                f"{self.values[n]} = " + REDUCTIONS[n.op.name][1].format(self.values[n], self._real(n.args[0], values))
            )
        for node in spills:
            a = self.scratch[node]
            inner.append(f"{a.store}({a.array}, {self._row(rows, a)} + j, {values[node]})")
        for o in stores:
            inner.append(
                self._store_text(o, self._real(o.value, values) if o.value is not None else "real(0.0)", "j", rows)
            )
        for text, name in rows.items():
            self.line(0, f"{name} = {text}")
        self.line(0, f"for j in range({self.context.size(size) if exact else self.context.padded(size)}):")
        for text in inner:
            self.line(1, text)

    def _due(self, o: Output) -> int:
        """The phase whose loop stores an output."""
        if o.value is None or self.shape(o.value) is None:
            phase = 0 if o.value is None else self.phase[o.value]
            return min(phase, self.phases - 1)
        return self._store_phase(o)

    def _row(self, rows: dict[str, str], address: Address) -> str:
        if address.offset not in rows:
            self._count += 1
            rows[address.offset] = f"r{self._count}"
        return rows[address.offset]

    def _store_text(self, o: Output, value: str, j: str, rows: dict[str, str] | None) -> str:
        a = o.address
        at = f"{self._row(rows, a)}" if rows is not None else a.offset
        at += "" if o.start == "0" else f" + {o.start}"
        at += f" + {j}" if j else ""
        if not a.store:
            return f"{a.array}[{at}] = {value}"
        if o.mode != "set":
            value = REDUCTIONS[o.mode][1].format(f"{a.load}({a.array}, {at})", value)
        return f"{a.store}({a.array}, {at}, {value})"

    # ------------------------------------------------------------ one node

    def _text(
        self, node: Symbol, values: Mapping[Symbol, str], j: str, rows: dict[str, str] | None = None
    ) -> tuple[str, str]:
        context = self.context
        index = f" + {j}" if j else ""

        def load(address: Address, extra: str = "") -> str:
            at = self._row(rows, address) if rows is not None else address.offset
            return f"{address.load}({address.array}, {at}{extra}{index})"

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
            return load(context.address(inner), "" if start == 0 else f" + {context.size(start)}"), "real"
        if name == "lookup":
            matrix, which = node.args[0].leaf, node.args[1].leaf
            assert isinstance(matrix, Read) and isinstance(which, Read)
            return load(context.table(matrix.name, context.category(which))), "real"
        if name == "one_hot":
            which = node.args[0].leaf
            assert isinstance(which, Read)
            return f"(real(1.0) if {j} == {context.category(which)} else real(0.0))", "real"
        if name == "fill":
            return self._real(node.args[0], values), "real"
        return self._operation(node, values)

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

    def _operation(self, node: Symbol, values: Mapping[Symbol, str]) -> tuple[str, str]:
        assert node.op is not None
        name = node.op.name
        kinds = [self.kinds[a] for a in node.args]
        template = node.op.kernel
        if template is None:
            self.context.fail(f"`{name}`")
            raise AssertionError
        if name in INTEGER and all(k == "int" for k in kinds):
            plain = {"floordiv": "({0} // {1})", "mod": "({0} % {1})"}.get(name, template)
            return plain.format(*[values[a] for a in node.args]), "int"
        if name in COMPARISONS:
            if all(k == "int" for k in kinds):
                return template.format(*[values[a] for a in node.args]), "bool"
            return template.format(*[self._real(a, values) for a in node.args]), "bool"
        if name == "where":
            c, a, b = node.args
            condition = values[c] if self.kinds[c] == "bool" else f"({values[c]} != 0)"
            return f"({self._real(a, values)} if {condition} else {self._real(b, values)})", "real"
        options = {**(getattr(node.op.impl, "__kwdefaults__", None) or {}), **node.options}
        return template.format(*[self._real(a, values) for a in node.args], **options), "real"

    def _real(self, node: Symbol, values: Mapping[Symbol, str]) -> str:
        text, kind = values[node], self.kinds[node]
        if kind == "real":
            return text
        if kind == "bool":
            return f"(real(1.0) if {text} else real(0.0))"
        return f"real({text})" if not text.lstrip("-").isdigit() else f"real({float(text)!r})"
