"""The ground of a translation: values, lines of LLVM, variables on the stack, and accesses to memory with their scopes.

May not know the language that is translated: `expressions` and `translate` do.
"""

from __future__ import annotations

import ast
import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

KINDS = {"int": "i64", "bool": "i1", "reals": "ptr", "integers": "ptr"}
Access = tuple[int, str]  # a line that touches memory, and the scope it does so in


class Untranslatable(NotImplementedError):
    """A construct outside the language above: a mistake of whoever wrote the text."""


@dataclass(frozen=True, slots=True)
class Value:
    """An operand: its kind (int, real, bool, reals, integers), its text in LLVM, and of an array the name."""

    kind: str
    text: str
    name: str = ""

    @property
    def element(self) -> str:
        """The kind of an array's elements."""
        return "real" if self.kind == "reals" else "int"


@dataclass(frozen=True)
class Setting:
    """What a file is translated for: its reals, how products are cut, and the drivers' symbols."""

    dtype: str
    panel: int
    tail: int
    rows: int
    symbol: Callable[[str], str]

    @property
    def real(self) -> str:
        return "float" if self.dtype == "float32" else "double"

    def number(self, value: float) -> str:
        """A constant, exactly: LLVM takes the bits of the double nearest to it."""
        exact = float(np.dtype(self.dtype).type(value))
        return f"0x{struct.unpack('>Q', struct.pack('>d', exact))[0]:016X}"


class Shared:
    """What the functions of one module have in common."""

    def __init__(self, setting: Setting, names: set[str], entry: str, symbol: str) -> None:
        self.setting, self.names, self.entry, self.symbol = setting, names, entry, symbol
        self.formulas: dict[str, None] = {}
        self.declared: dict[str, str] = {}
        self.metadata: list[str] = ['distinct !{!0, !"nests"}']
        self._sets: dict[tuple[int, ...], int] = {}

    def scope(self) -> int:
        self.metadata.append(f"distinct !{{!{len(self.metadata)}, !0}}")
        return len(self.metadata) - 1

    def scopes(self, members: tuple[int, ...]) -> int:
        """The node that lists some scopes."""
        if members not in self._sets:
            self._sets[members] = len(self.metadata)
            self.metadata.append("!{" + ", ".join(f"!{m}" for m in members) + "}")
        return self._sets[members]


class Lines(ABC):
    """One function, being translated: lines of LLVM, and the variables' places on the stack."""

    def __init__(self, shared: Shared, node: ast.FunctionDef) -> None:
        self.shared, self.node, self.setting = shared, node, shared.setting
        self.lines: list[str] = []
        self.slots: dict[tuple[str, str], str] = {}
        self.kinds: dict[str, str] = {}
        self.arrays: dict[str, str] = {}  # array variables -> the name their scope goes by
        self.known: dict[str, Value] = {}  # variables whose value this block has just stored
        self.entries: dict[str, ast.expr] = {}  # variables that are read from the table where they are used
        self.scopes: dict[str, int] = {}
        self.count = 0
        self.loops: list[tuple[str, str]] = []  # where break and continue go
        self.accesses: list[Access] = []  # of the innermost loop being written
        self.innermost = False

    def fail(self, node: ast.AST, what: str) -> NoReturn:
        raise Untranslatable(f"{self.node.name}, line {getattr(node, 'lineno', 0)}: {what}")

    @abstractmethod
    def expression(self, e: ast.expr) -> Value:
        """The value of an expression, its lines written."""

    # ------------------------------------------------------------ lines

    def type(self, kind: str) -> str:
        return KINDS.get(kind, self.setting.real)

    def fresh(self) -> str:
        self.count += 1
        return f"%.{self.count}"

    def put(self, text: str) -> None:
        self.lines.append("  " + text)

    def value(self, kind: str, text: str) -> Value:
        name = self.fresh()
        self.put(f"{name} = {text}")
        return Value(kind, name)

    def label(self) -> str:
        self.count += 1
        return f"b{self.count}"

    def begin(self, label: str) -> None:
        """A new block; control has not fallen into it."""
        self.lines.append(f"{label}:")
        self.known.clear()

    def go(self, label: str) -> None:
        self.put(f"br label %{label}")

    def fork(self, condition: Value, yes: str, no: str) -> None:
        self.put(f"br i1 {condition.text}, label %{yes}, label %{no}")

    # ------------------------------------------------------------ variables and memory

    def assign(self, name: str, value: Value) -> None:
        key = (name, value.kind)
        slot = self.slots.setdefault(key, f"%{name}.{value.kind}")
        self.kinds[name] = value.kind
        self.arrays[name] = value.name or name
        self.put(f"store {self.type(value.kind)} {value.text}, ptr {slot}")
        self.known[name] = Value(value.kind, value.text, self.arrays[name])

    def variable(self, node: ast.Name) -> Value:
        name = node.id
        if name in self.known:
            return self.known[name]
        if name in ("infinity", "not_a_number"):
            return Value("real", self.setting.number(math.inf if name == "infinity" else math.nan))
        if name in self.entries and name not in self.kinds:
            found = self.known[name] = self.expression(self.entries[name])
            return found
        if name not in self.kinds:
            self.fail(node, f"`{name}` has no value")
        kind = self.kinds[name]
        found = self.value(kind, f"load {self.type(kind)}, ptr {self.slots[name, kind]}")
        found = self.known[name] = Value(kind, found.text, self.arrays[name])
        return found

    def place(self, array: Value, index: Value) -> str:
        return self.value(
            "", f"getelementptr inbounds {self.type(array.element)}, ptr {array.text}, i64 {index.text}"
        ).text

    def touch(self, scope: str) -> None:
        """The line to come touches memory."""
        if self.innermost:
            self.accesses.append((len(self.lines), scope))

    def load(self, array: Value, index: Value, scope: str) -> Value:
        kind, at = array.element, self.place(array, index)
        self.touch(scope)
        return self.value(kind, f"load {self.type(kind)}, ptr {at}, align {self.align(kind)}")

    def store(self, array: Value, index: Value, value: Value, scope: str) -> None:
        kind = array.element
        value = self.cast(value, kind)
        at = self.place(array, index)
        self.touch(scope)
        self.put(f"store {self.type(kind)} {value.text}, ptr {at}, align {self.align(kind)}")

    def align(self, kind: str) -> int:
        return 4 if kind == "real" and self.setting.dtype == "float32" else 8

    def annotate(self) -> None:
        """Say of the innermost loop just ended which of its accesses cannot meet."""
        names = list(dict.fromkeys(scope for _, scope in self.accesses))
        if len(names) > 1:
            for name in names:
                self.scopes.setdefault(name, self.shared.scope())
            all_ = [self.scopes[n] for n in names]
            tags = {}
            for name, own in zip(names, all_, strict=True):
                here, others = self.shared.scopes((own,)), self.shared.scopes(tuple(s for s in all_ if s != own))
                tags[name] = f", !alias.scope !{here}, !noalias !{others}"
            for at, name in self.accesses:
                self.lines[at] += tags[name]
        self.accesses = []

    # ------------------------------------------------------------ from one kind to another

    def truth(self, v: Value) -> Value:
        if v.kind == "int":
            return self.value("bool", f"icmp ne i64 {v.text}, 0")
        if v.kind == "real":
            return self.value("bool", f"fcmp une {self.setting.real} {v.text}, {self.setting.number(0)}")
        return v

    def cast(self, v: Value, kind: str) -> Value:
        if v.kind == kind:
            return v
        if kind == "bool":
            return self.truth(v)
        if v.kind == "bool":
            v = self.value("int", f"zext i1 {v.text} to i64")
        if kind == "int" or v.kind != "int":
            raise Untranslatable(f"{self.node.name}: {v.kind} where {kind} is wanted")
        if v.text.lstrip("-").isdigit():
            return Value("real", self.setting.number(int(v.text)))
        return self.value("real", f"sitofp i64 {v.text} to {self.setting.real}") if kind == "real" else v
