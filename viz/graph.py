"""What is drawn: the operators of a system's equations as nodes, its reads as wires. No positions here.

Every equation becomes a small graph of its own operators. A sum of products with parameters is one
*card*: each product a socket with the parameter's name (`W_f`), the bias a socket without a wire, the
function around it the card's title, so nothing is stacked that the equations do not stack. A stream read
at another time has a *state* node. A wire says which read it is: at the same step, a lag, or a whole
axis. Lanes are time axes; the lane of an equation over several axes is its first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dsl.system.system import Read, Stream, System
from tinygrad_seq.symbol import Symbol, postorder
from viz import theme
from viz.reading import GLYPHS, Axes, constant_text, offset
from viz.theme import Label

WEIGHING = ("matvec", "lookup", "mul", "dot", "matmul")


@dataclass(frozen=True, slots=True)
class Socket:
    """Where a term enters a card: the parameter's label, its sign, and whether a wire ends there."""

    label: Label = ()
    sign: str = "+"
    parameter: str | None = None
    wired: bool = True
    term: Symbol | None = None
    operand: Symbol | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """`kind` is state | card | round | capsule | chip; `role` its colour; `lag` the index offset of a chip.

    `symbol` is the expression whose value the node shows (None for chips and states), `equation` the
    stream it belongs to, `axes` the time axes of its value.
    """

    key: str
    kind: str
    role: str
    title: Label
    axes: tuple[str, ...]
    function: str = ""
    sockets: tuple[Socket, ...] = ()
    equation: str | None = None
    symbol: Symbol | None = None
    stream: str | None = None
    lag: int = 0
    output: bool = False
    constant: bool = False  # the same value at every step
    factor: float = 1.0  # of a loss: the sign and numbers that its term is multiplied by

    @property
    def lane(self) -> str:
        return self.axes[0] if self.axes else ""


@dataclass(frozen=True, slots=True)
class Wire:
    """From a node to a socket of another. `relation`: "step" (same lane, `lag` steps away; 0 is the same
    step), "all" (every step of the source's lane), "index" (a strided or constant index), "once" (a value
    without a time axis)."""

    source: str
    target: str
    socket: int
    relation: str = "step"
    lag: int = 0
    read: Read | None = None


@dataclass
class Graph:
    system: System
    nodes: dict[str, Node] = field(default_factory=dict)
    wires: list[Wire] = field(default_factory=list)
    home: dict[str, str] = field(default_factory=dict)  # stream -> the node that shows its value

    @property
    def lanes(self) -> list[str]:
        """The lanes that are drawn, time axes in the system's order, values without one last."""
        used = {n.lane for n in self.nodes.values()}
        return [a for a in (*self.system.axes, "") if a in used]

    def within(self, lane: str) -> list[Node]:
        return [n for n in self.nodes.values() if n.lane == lane]


# ---------------------------------------------------------------- building


def build(system: System) -> Graph:
    """The drawing's graph of a system; its arguments that enter lags must be numbers."""
    return _Builder(system).run()


def _shifted(system: System) -> set[str]:
    """Streams read at another step of their own axis."""
    names: set[str] = set()
    roots = [*system.equations.values(), *(p for d in system.draws.values() for _, p in d.parameters)]
    for node in postorder(roots):
        if isinstance(node.leaf, Read) and any(i.is_shift and not i.is_identity for i in node.leaf.index):
            names.add(node.leaf.name)
    return names


class _Builder:
    def __init__(self, system: System) -> None:
        self.system = system
        self.graph = Graph(system)
        self.axes = Axes(system)
        shifted = _shifted(system)
        self.states = {
            n for n, s in system.streams.items()
            if s.kind == "equation" and s.axes and not s.shared and (n in shifted or s.state)
        }  # fmt: skip
        self.shared: dict[Symbol, str] = {}  # expressions of draws, drawn once
        self.pending: list[tuple[str, int, Symbol]] = []

    def run(self) -> Graph:
        system = self.system
        for name, draw in system.draws.items():
            for parameter, value in draw.parameters:
                if not self.axes.is_constant(value) and not isinstance(value.leaf, Read):
                    key = self.equation(name, value, f"{name}.{parameter}", theme.name(parameter), role="op")
                    self.shared[value] = key
        for name, value in system.equations.items():
            stream = system.streams[name]
            if stream.shared:
                continue  # what is computed once is a parameter's label
            if name in system.losses:
                self.loss(name, value)
            elif name in self.states:
                top = self.equation(name, value, f"{name}=", (), role="op", axes=stream.axes)
                self.graph.nodes[name] = Node(
                    name,
                    "state",
                    "state-b",
                    theme.name(name),
                    stream.axes,
                    equation=name,
                    stream=name,
                    output=name in system.outputs,
                )
                self.graph.home[name] = name
                self.graph.wires.append(Wire(top, name, 0))
            else:
                self.graph.home[name] = self.equation(name, value, name, theme.name(name), "op", name, stream.axes)
        for target, socket, operand in self.pending:
            self.connect(target, socket, operand)
        self.graph.wires.sort(key=lambda w: (w.target, w.socket))
        return self.graph

    def loss(self, name: str, value: Symbol) -> None:
        """A loss that is a sum or mean over time is drawn as its term at each step, number factors kept aside."""
        term, factor = value, 1.0
        while True:
            varying = [a for a in term.args if not self.axes.is_constant(a)]
            others = [a for a in term.args if self.axes.is_constant(a)]
            number = others[0].leaf if others else 1.0
            if len(varying) != 1 or not isinstance(number, int | float):
                break
            if term.is_op("neg"):
                factor = -factor
            elif term.is_op("mul"):
                factor *= number
            elif term.is_op("div") and term.args[0] is varying[0]:
                factor /= number
            elif not (term.is_op("sum", "mean") and isinstance(term.options.get("axis"), str)):
                break
            term = varying[0]
        self.graph.home[name] = self.equation(name, term, name, theme.name(name), role="loss", stream=name)
        self.graph.nodes[name] = replace(self.graph.nodes[name], factor=factor)

    # -- one equation

    def equation(
        self,
        name: str,
        root: Symbol,
        top: str,
        title: Label,
        role: str,
        stream: str | None = None,
        axes: tuple[str, ...] | None = None,
    ) -> str:
        """Nodes for every operator of one expression; returns the top node's key. Its `axes` are the value's own unless
        they are given."""
        uses: dict[Symbol, int] = {}
        order = postorder([root])
        for node in order:
            for arg in node.args:
                uses[arg] = uses.get(arg, 0) + 1
        keys: dict[Symbol, str] = {}
        work, seen = [root], {root}
        count = 0
        while work:
            symbol = work.pop()
            if symbol is root:
                key = top
            else:
                count += 1
                key = f"{top.removesuffix('=')}#{count}"
            top_one = symbol is root
            made = self.node(key, symbol, uses, name, title if top_one else (), role if top_one else "op")
            if top_one and axes is not None:  # a stream has its steps, whatever its value depends on
                made = replace(made, axes=axes)
            output = top_one and stream in self.system.outputs
            self.graph.nodes[key] = replace(made, stream=stream if top_one else None, output=output)
            keys[symbol] = key
            for k, socket in enumerate(made.sockets):
                operand = socket.operand
                if operand is None:
                    continue
                self.pending.append((key, k, operand))
                if operand.op is not None and operand not in seen and operand not in self.shared:
                    seen.add(operand)
                    work.append(operand)
        self.local(keys)
        return top

    def join(self, source: str, target: str, socket: int) -> None:
        """A wire between operators; into another lane it carries every step, or the one value there is."""
        lane = self.graph.nodes[source].lane
        relation = "step" if lane == self.graph.nodes[target].lane else "all" if lane else "once"
        self.graph.wires.append(Wire(source, target, socket, relation))

    def local(self, keys: dict[Symbol, str]) -> None:
        """Wires between this equation's own nodes, now that all have keys."""
        mine = set(keys.values())
        rest: list[tuple[str, int, Symbol]] = []
        for target, socket, operand in self.pending:
            if target in mine and keys.get(operand, target) != target:  # `y[t] = h[t]` is no wire to itself
                self.join(keys[operand], target, socket)
            else:
                rest.append((target, socket, operand))
        self.pending = rest

    def terms(self, root: Symbol, uses: dict[Symbol, int]) -> list[tuple[str, Symbol]]:
        """A sum flattened: sign and term; sub-sums used elsewhere too stay whole."""
        found: list[tuple[str, Symbol]] = []
        stack = [("+", root, True)]
        while stack:
            sign, node, first = stack.pop()
            other = "−" if sign == "+" else "+"
            if (first or uses.get(node, 0) <= 1) and node not in self.shared:
                if node.is_op("add"):
                    stack += [(sign, node.args[1], False), (sign, node.args[0], False)]
                    continue
                if node.is_op("sub"):
                    stack += [(other, node.args[1], False), (sign, node.args[0], False)]
                    continue
                if node.is_op("neg") and not first:
                    stack.append((other, node.args[0], False))
                    continue
            found.append((sign, node))
        return found

    def socket(self, sign: str, term: Symbol, uses: dict[Symbol, int], own: bool = False) -> Socket:
        """Where a term enters; a product that others need too is a node of its own, but for its `own` node."""
        if self.axes.is_constant(term):
            return Socket(constant_text(term), sign, self.parameter(term), False, term)
        if (
            term.is_op(*WEIGHING)
            and len(term.args) == 2
            and (own or (uses.get(term, 0) <= 1 and term not in self.shared))
        ):
            for k in (0, 1):
                factor, operand = term.args[k], term.args[1 - k]
                if self.axes.is_constant(factor) and not self.axes.is_constant(operand):
                    label = constant_text(factor)
                    if term.is_op("mul"):
                        label = (*label, theme.Span("⊙" if self.parameter(factor) else "·"))
                    return Socket(label, sign, self.parameter(factor), True, term, operand)
        return Socket((), sign, None, True, term, term)

    def parameter(self, root: Symbol) -> str | None:
        """The parameter a constant factor is about: the only one, read plainly or transposed."""
        names = [n.leaf.name for n in postorder([root]) if isinstance(n.leaf, Read)]
        return names[0] if len(names) == 1 else None

    def node(self, key: str, symbol: Symbol, uses: dict[Symbol, int], equation: str, title: Label, role: str) -> Node:
        axes = self.ordered(self.axes.of(symbol), equation)
        made = dict(key=key, title=title, axes=axes, equation=equation, symbol=symbol)
        named = bool(title)
        activated = symbol.op is not None and symbol.op.activation and len(symbol.args) == 1
        body = symbol.args[0] if activated and uses.get(symbol.args[0], 0) <= 1 else symbol
        if body is not symbol and body in self.shared:
            body = symbol
        sockets = (
            [self.socket(sign, term, uses, term is symbol) for sign, term in self.terms(body, uses)]
            if body.op is not None or self.axes.is_constant(body)
            else []
        )
        affine = any(s.parameter for s in sockets) or (len(sockets) == 1 and bool(sockets[0].label))
        function = GLYPHS.get(symbol.op.name, symbol.op.name) if symbol.op is not None and activated else ""
        if symbol.op is None and not named:  # a state that takes over a read or a number
            function = "="
        colour = "gate" if activated and named and role == "op" else role
        if affine:
            if len(sockets) == 1 and not function and not named and symbol.op is not None:
                function = "×" if symbol.is_op("mul") else "@"  # one product, and no sum
            return Node(**made, kind="card", role=colour, function=function, sockets=tuple(sockets))  # type: ignore[arg-type]
        if symbol.op is None:  # an equation that only renames a read
            passed = (Socket(operand=symbol, term=symbol),)
            return Node(**made, kind="capsule", role=role, function=function, sockets=passed)  # type: ignore[arg-type]
        if body is symbol and len(sockets) > 1:
            wired = tuple(s for s in sockets if s.wired)
            fixed = [s for s in sockets if not s.wired]
            if len(wired) == 1 and len(fixed) == 1:
                text = ("".join(p.text for p in fixed[0].label) + wired[0].sign) if fixed[0] is sockets[0] else (
                    fixed[0].sign + "".join(p.text for p in fixed[0].label)
                )  # fmt: skip
                return Node(**made, kind="capsule", role=role, function=text, sockets=wired)  # type: ignore[arg-type]
            glyph = "−" if [s.sign for s in sockets] == ["+", "−"] else "+"
            kind = "capsule" if named or fixed else "round"
            return Node(**made, kind=kind, role=role, function=glyph, sockets=tuple(sockets))  # type: ignore[arg-type]
        plain = tuple(Socket(operand=a, term=a) for a in symbol.args if not self.axes.is_constant(a))
        axis = symbol.options.get("axis")
        text = GLYPHS.get(symbol.op.name, symbol.op.name)
        if isinstance(axis, str):
            text = f"{text} {axis}"
        fixed_args = [a for a in symbol.args if self.axes.is_constant(a)]
        if symbol.is_op("power") and fixed_args and symbol.args[1] is fixed_args[0]:
            exponent = "".join(s.text for s in constant_text(fixed_args[0]))
            text = "(·)" + {"2": "²", "3": "³"}.get(exponent, f"^{exponent}")
        elif symbol.is_op("mul", "div", "power") and fixed_args:
            text += "".join(s.text for s in constant_text(fixed_args[0]))
        small = symbol.is_op("mul", "div") and not named and not fixed_args
        return Node(**made, kind="round" if small else "capsule", role=colour, function=text, sockets=plain)  # type: ignore[arg-type]

    def ordered(self, axes: Iterable[str], equation: str) -> tuple[str, ...]:
        stream = self.system.streams[equation]
        wanted = set(axes)
        first = [a for a in stream.axes if a in wanted]
        return tuple(first + [a for a in self.system.axes if a in wanted and a not in first])

    # -- reads

    def connect(self, target: str, socket: int, operand: Symbol) -> None:
        if operand in self.shared and operand.op is not None:
            self.join(self.shared[operand], target, socket)
            return
        read = operand.leaf
        if not isinstance(read, Read):
            raise AssertionError(f"no node for {operand!r} in {target}")
        stream = self.system.streams[read.name]
        lane = self.graph.nodes[target].lane
        own = read.index[0] if read.index else None
        if own is None:
            relation, lag = "once" if lane else "step", 0
        elif stream.axes[0] == lane and own.is_shift and own.axis == lane:
            relation, lag = "step", offset(own, self.system.arguments)
        elif own.axis is not None and own.axis != lane and own.is_shift:
            relation, lag = "all", offset(own, self.system.arguments)
        elif own.axis is None and stream.axes[0] != lane and self.reduced(target, stream.axes[0]):
            relation, lag = "all", 0
        else:
            relation, lag = "index", 0
        if stream.kind == "equation":
            self.graph.wires.append(Wire(self.graph.home[read.name], target, socket, relation, lag, read))
        else:
            if relation == "once" and lane and not stream.axes:
                self.graph.wires.append(Wire(self.constant(read.name, lane), target, socket, "step", 0, read))
                return
            chip_lag = lag if relation == "step" else 0
            chip = self.chip(read.name, stream, chip_lag)
            self.graph.wires.append(Wire(chip, target, socket, relation, lag - chip_lag, read))

    def reduced(self, target: str, axis: str) -> bool:
        symbol = self.graph.nodes[target].symbol
        return symbol is not None and symbol.op is not None and symbol.options.get("axis") == axis

    def constant(self, name: str, lane: str) -> str:
        """Data without a time axis stands at every step that reads it, like a parameter."""
        key = f"{name}@{lane}"
        if key not in self.graph.nodes:
            self.graph.nodes[key] = Node(key, "chip", "input", theme.name(name), (lane,), stream=name, constant=True)
        self.graph.home.setdefault(name, key)
        return key

    def chip(self, name: str, stream: Stream, lag: int) -> str:
        """Data at a step: one chip for each step of it that an equation reads."""
        key = f"{name}[{lag:+d}]" if lag else name
        if key not in self.graph.nodes:
            self.graph.nodes[key] = Node(key, "chip", "input", theme.name(name), stream.axes, stream=name, lag=lag)
        self.graph.home.setdefault(name, key)
        return key
