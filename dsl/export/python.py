"""Statements on arrays as Python source: names, parentheses, temporaries, functions for composites.

A target is a subclass with a table, `CALLS`: operation -> a template of its arguments `{0}`, its static options `{s0}`
and `{sizes}`, or a function that writes it. How a loop looks, and the file around, are the target's own.
"""

from __future__ import annotations

import inspect
import itertools
import keyword
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from dsl.export.arrays import Array, Arrays, Let, Loop, Require, Size, Statement, is_infinite
from dsl.export.composites import COMPOSITES, composite_of
from dsl.export.lacking import lacking
from dsl.export.walk import Lowered, flat

# sign, how it binds, and how its operands must bind at least to stand without parentheses
INFIX = {
    "add": ("+", 4, 4, 4.5),
    "sub": ("-", 4, 4, 4.5),
    "mul": ("*", 5, 5, 5.5),
    "matmul": ("@", 5, 5.5, 5.5),
    "div": ("/", 5, 5, 5.5),
    "floordiv": ("//", 5, 5, 5.5),
    "mod": ("%", 5, 5, 5.5),
    "power": ("**", 7, 8, 6),
    "logical_xor": ("^", 2.5, 2.5, 3),
    "logical_and": ("&", 3, 3, 3.5),
    "logical_or": ("|", 2, 2, 2.5),
    "equal": ("==", 1, 2, 2),
    "not_equal": ("!=", 1, 2, 2),
    "less": ("<", 1, 2, 2),
    "less_equal": ("<=", 1, 2, 2),
    "greater": (">", 1, 2, 2),
    "greater_equal": (">=", 1, 2, 2),
}
ATOM, NEGATIVE, CONDITION = 9.0, 6.0, 0.0
VIEWS = ("transpose", "expand", "at", "squeeze", "given")  # cheap enough to be written again
Writer = str | Callable[["PythonSource", Array, Sequence[str]], str]


def slots(node: Array) -> str:
    """Indices that add dims of 1: `[..., None]`, `[:, None, :]`."""
    fresh = list(node.static)
    last = len(fresh) - next((i for i, f in enumerate(reversed(fresh)) if not f), len(fresh))
    if not any(fresh[:last]):
        return (
            f"[..., {', '.join(['None'] * (len(fresh) - last))}]" if last else f"[{', '.join(['None'] * len(fresh))}]"
        )
    rest = len(fresh) - fresh[::-1].index(True)
    return f"[{', '.join('None' if f else ':' for f in fresh[:rest])}]"


def cut(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    start, steps = node.static
    end = (
        start + steps if isinstance(steps, int) else f"{start} + {source.size(steps)}" if start else source.size(steps)
    )
    return f"{source.wrapped(args[0])}[{start or ''}:{end}]"


class PythonSource(ABC):
    """Writes a program's lines; `CALLS` and the abstract methods are the target's."""

    TARGET: ClassVar[str]
    RESERVED: ClassVar[tuple[str, ...]] = ()
    CALLS: ClassVar[Mapping[str, Writer]] = {}
    COMMON: ClassVar[Mapping[str, Writer]] = {
        "transpose": "{0}.mT",
        "squeeze": "{0}[..., 0]",
        "at": "{0}[{s0}]",
        "slice": cut,
        "length": "{0}.shape[{s0}]",
        "part": lambda s, n, a: f"{s.wrapped(a[0])}[..., {n.static[0]}:{n.static[0] + n.static[1]}]",
        "expand": lambda s, n, a: s.wrapped(a[0]) + slots(n),
        "gather": lambda s, n, a: f"{s.wrapped(a[0])}[{', '.join(a[1:])}]",
        "take_last": "{0}[..., {1}]",
        "at_least": "max({0}, {s0})",
        "state": lambda s, n, a: f'state["{n.name}"]',
        "reciprocal": lambda s, n, a: s.leveled(f"1 / {s.wrapped(a[0], 5.5)}", 5),
        "neg": lambda s, n, a: s.leveled(f"-{s.wrapped(a[0], NEGATIVE)}", NEGATIVE),
        "given": lambda s, n, a: s.leveled(f"{a[1]} if {n.name} is None else {a[0]}", CONDITION),
    }

    def __init__(self, program: Lowered) -> None:
        self.program, self.system = program, program.system
        self.lines: list[str] = []
        self.depth = 2
        self.helpers: dict[str, list[str]] = {}
        self.texts: dict[Array, str] = {}  # of what has a name
        self.variables: dict[Loop, str] = {}
        self.used: dict[str, None] = {}  # the file's own functions that are called
        self._levels: dict[str, float] = {}
        self._identifiers: dict[str, str] = {}
        self._taken = {*keyword.kwlist, *self.RESERVED, *COMPOSITES, "B", "lengths", "state", "noise"}
        self._serial = itertools.count(1)

    # ------------------------------------------------------------ names

    def identifier(self, name: str) -> str:
        """A Python name: `rnn.0.h` is `rnn_0_h`."""
        if name not in self._identifiers:
            self._identifiers[name] = self.fresh(name.replace(".", "_"))
        return self._identifiers[name]

    def fresh(self, wanted: str) -> str:
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted

    def size(self, size: Size) -> str:
        return size if size == "B" else str(size) if isinstance(size, int) else self.identifier(size)

    def shape(self, sizes: tuple[Size, ...]) -> str:
        return f"({', '.join(map(self.size, sizes))}{',' if len(sizes) == 1 else ''})"

    @abstractmethod
    def param(self, name: str) -> str:
        """A parameter where it is read."""

    # ------------------------------------------------------------ expressions

    def counts(self, size: str) -> None:
        """Lines for the numbers of sequences and of steps; `size` is a framework's word for how many elements."""
        for name, (of, dim) in self.program.counts.items():
            value = f"{self.identifier(of)}.shape[{dim}]"
            if dim is None:
                self.used["lengths_of"] = None
                given = f'lengths_of("{of}", lengths)'
                value = f"{given}.{size}" if name == "B" else f"int({given}.max())"
            self.line(f"{self.size(name)} = {value}")

    def line(self, text: str = "") -> None:
        self.lines.append("    " * self.depth + text if text else "")

    def leveled(self, text: str, level: float) -> str:
        """Remember how loosely an expression's outer operator binds."""
        self._levels[text] = level
        return text

    def wrapped(self, text: str, least: float = ATOM) -> str:
        return f"({text})" if self._levels.get(text, ATOM) < least else text

    def expression(self, root: Array) -> str:
        """The text of an array; what is used twice in it gets a line of its own."""
        uses: dict[Array, int] = {}
        order: list[Array] = []
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
                continue
            uses[node] = uses.get(node, 0) + 1
            if uses[node] > 1 or node in self.texts:
                continue
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))
        text: dict[Array, str] = {}
        for node in order:
            value = self.node(node, [self.texts.get(a) or text[a] for a in node.args])
            if uses[node] > 1 and node.args and node is not root and node.op not in VIEWS:
                value = self.assign(f"e_{next(self._serial)}", value)
            text[node] = value
        return self.texts.get(root) or text[root]

    def assign(self, wanted: str, value: str) -> str:
        name = self.fresh(wanted)
        self.line(f"{name} = {value}")
        return name

    def node(self, node: Array, args: Sequence[str]) -> str:
        if node.op == "number":
            return self.number(node.static[0])
        if node.op in ("name", "input"):
            return self.identifier(node.name)
        if node.op == "param":
            return self.param(node.name)
        writer = self.CALLS.get(node.op) or self.COMMON.get(node.op)
        if writer is None and node.op in INFIX:
            return self.infix(node, args)
        if writer is None and composite_of(node.op) is not None:
            return f"{self.function(node, node.op)}({', '.join(args)})"
        if writer is None:
            raise lacking(self.system, node.op, self.TARGET)
        if not isinstance(writer, str):
            return writer(self, node, args)
        atoms = {int(i) for i in re.findall(r"\{(\d)\}(?=[.\[])", writer)}
        shown = [self.wrapped(a) if i in atoms else a for i, a in enumerate(args)]
        static = {f"s{i}": s for i, s in enumerate(node.static)}
        return writer.format(*shown, sizes=self.shape(node.sizes), **static)

    def infix(self, node: Array, args: Sequence[str]) -> str:
        sign, level, left, right = INFIX[node.op]
        return self.leveled(f"{self.wrapped(args[0], left)} {sign} {self.wrapped(args[1], right)}", level)

    def number(self, value: Any) -> str:
        if is_infinite(value):
            return self.leveled(f'float("{value}")', ATOM)
        return self.leveled(str(value), NEGATIVE if not isinstance(value, complex) and value < 0 else ATOM)

    def function(self, node: Array, op: str) -> str:
        """The name of a composite as a function of the file; one more where the rank makes another of it."""
        composite, o = composite_of(op), Arrays()
        assert composite is not None, op
        names = list(inspect.signature(composite).parameters)[1:]
        pairs = zip(names, node.args, strict=True)
        given = [o.leaf("name", n, a.sizes, "real" if a.is_number else a.kind) for n, a in pairs]
        inner = type(self)(self.program)
        inner.helpers, inner.depth = self.helpers, 1
        inner._identifiers = dict(zip(names, names, strict=True))
        result = inner.expression(composite(o, *given))
        body = [f'    """{inspect.getdoc(composite)}"""', *inner.lines, f"    return {result}"]
        for count in itertools.count(1):
            name = op if count == 1 else f"{op}_{count}"
            lines = [f"def {name}({', '.join(names)}):", *body]
            if self.helpers.setdefault(name, lines) == lines:
                return name
        raise AssertionError

    # ------------------------------------------------------------ statements

    def statements(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, Let):
                value = self.expression(statement.value)
                target = self.target(statement.name)
                if value != target:
                    self.line(f"{target} = {value}")
            elif isinstance(statement, Require):
                self.require(statement)
            else:
                self.before_loop(statement)
                self.loop(statement)

    def target(self, name: Array) -> str:
        """What a value's name is written as, where it is made."""
        return self.texts.get(name) or self.identifier(name.name)

    @abstractmethod
    def require(self, statement: Require) -> None:
        """A check of lengths, where a target can make one."""

    @abstractmethod
    def loop(self, loop: Loop) -> None: ...

    def before_loop(self, loop: Loop) -> None:
        """Give names to what a loop takes from outside, and make there what does not change in it."""
        for whole in loop.slices:
            self.name_of(whole)
        for name, carried in loop.carried.items():
            if carried.before not in self.texts and carried.before.args:
                self.texts[carried.before] = self.assign(
                    f"{name}_before".replace(".", "_"), self.expression(carried.before)
                )
        inside = [loop, *(s for s in flat(loop.body) if isinstance(s, Loop))]
        seen: set[Array] = set()
        for statement in flat(loop.body):
            roots = [statement.value] if isinstance(statement, Let) else []
            if isinstance(statement, Loop):
                roots = [*statement.slices, *(c.before for c in statement.carried.values())]
            stack = list(roots)
            while stack:
                node = stack.pop()
                if node in seen:
                    continue
                seen.add(node)
                if node.loop in inside or node.op in VIEWS:
                    stack.extend(reversed(node.args))
                elif node.args:
                    self.name_of(node)

    def name_of(self, value: Array) -> str:
        """A value's name, given to it now if it has none."""
        if value.op in ("name", "input"):
            return self.target(value)
        if value not in self.texts:
            wanted = f"e_{next(self._serial)}"
            if value.op in ("columns", "matmul"):
                by, of = value.args if value.op == "columns" else reversed(value.args)
                by = by.args[0] if by.op == "transpose" else by
                if by.op == "param" and of.op == "name":
                    wanted = f"{by.name}_{of.name}".replace(".", "_")
            self.texts[value] = self.assign(wanted, self.expression(value))
        return self.texts[value]

    def returned(self) -> None:
        """Lines of what the function gives back."""
        results = [f'"{n}": {self.expression(v)}' for n, v in self.program.results.items()]
        state = [f'"{n}": {self.expression(v)}' for n, v in self.program.state.items()]
        if state:
            self.listing("after = {", state)
            results.append('"state": after')
        self.listing("return {", results)

    def listing(self, head: str, items: Sequence[str]) -> None:
        self.line(head)
        self.lines += ["    " * (self.depth + 1) + f"{item}," for item in items]
        self.line("}")

    def about(self) -> list[str]:
        """The docstring, in the body of what it describes: what goes in and out, and the cell."""
        program, system = self.program, self.system
        lines = [f"{', '.join(program.inputs) or 'nothing'} -> {', '.join(program.results)}"]
        text = system.source.text.splitlines() if system.source is not None else []
        start = next((i for i, line in enumerate(text) if line.startswith(f"cell {system.name}(")), None)
        if start is not None:
            body = itertools.takewhile(lambda line: not line or line[0].isspace(), text[start + 1 :])
            cell = "\n".join([text[start], *body]).rstrip().replace("\\", "\\\\").replace('"""', "'''")
            lines += ["", *("    " + line if line else "" for line in cell.splitlines())]
        return [f'    """{lines[0]}', *(f"    {line}".rstrip() for line in lines[1:]), '    """']
