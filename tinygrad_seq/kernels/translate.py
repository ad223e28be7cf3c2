"""Loop nests, written in a small part of Python, as LLVM for Numba's code generator.

A plan becomes text that a person can read: integers, reals, loops over ranges, conditions, elements of flat arrays,
calls of kernels. Numba's front end takes some 5 ms a line, since it is made for all of Python; here the types of
a function are read off in one pass and its instructions written at some 20 µs a line. What follows (optimisation,
machine code, the cache on disk, a call without the interpreter's lock) is Numba's.

The language, all of a file's functions in it:

    def name(X, O, at):            X: addresses of arrays, O: integers, at: an integer; nothing is returned
    v = e;  a, b = e, f            variables of integers, reals, conditions and arrays; assigned anew at will
    for i in range(a, b, c):       c a number, or a variable that is positive;  if/elif/else;  break;  continue;  pass
    + - * // % / < <= == ...       integers as in Python (floored; 0 when divided by 0); reals as IEEE has them
    and or not, e if c else f      what is not needed is not evaluated where it reads memory
    reals(e)  integers(e)          the array at an address;  array[i] an element, array[i] = e
    load_s(array, i)  store_s(array, i, e)      elements, too; `s` is an alias scope: within an innermost loop two
                                   scopes never touch the same element, nor do two arrays without one
    int(e)  real(e), infinity, not_a_number, min, max   min and max of integers
    padded(e)                      e, which is a multiple of the panels' tail, the unit of rows in memory
    copy zero product_set product_add multiply weight_gradient pack pack_transposed pack_rows pack_panels
                                   see `tinygrad_seq.kernels`;  and every function of `kernels.formulas`
    python1_NAME(e)                a primitive's own implementation: see `kernels.callbacks`
    another(X, O, e)               a function of the same file

May not know what a nest computes.
"""

from __future__ import annotations

import ast
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from llvmlite import ir

from tinygrad_seq.kernels import callbacks
from tinygrad_seq.kernels.formulas import DOUBLE, FORMULAS, SINGLE, formula

FLAGS = "contract nsz reassoc"
ENTRIES = 150  # numbers of the table that a function may hold all the time: registers are few, and LLVM's search long
# Functions of the C library, which are right but no vector code: our names, theirs.
LIBRARY = {n: n for n in ("tan", "sinh", "cosh", "erf", "erfc", "hypot", "log10")} | {
    **{f"arc{n}": f"a{n}" for n in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")},
    **{"gamma": "tgamma", "gammaln": "lgamma"},
}
KINDS = {"int": "i64", "bool": "i1", "reals": "ptr", "integers": "ptr"}

# kernel -> the driver that it calls, with its arguments over the kernel's own: `A+ao` a place in an array, `~N` rounded
# up to the panels' tail
DRIVERS = {
    "product_set": ("multiply", "A ao lda P po C co ldc M N K", "A+ao lda lda 1 P+po K*panel 0 C+co ldc M ~N K 0"),
    "product_add": ("multiply", "A ao lda P po C co ldc M N K", "A+ao lda lda 1 P+po K*panel 0 C+co ldc M ~N K 1"),
    "multiply": (
        "multiply",
        "A ao sm sk B bo ldb C co ldc M N K beta",
        "A+ao sm sm sk B+bo panel ldb C+co ldc M N K beta",
    ),
    "weight_gradient": ("multiply", "A ao B bo C co ldc M N K", "A+ao K 1 rows B+bo K*panel 0 C+co ldc M ~N K 1"),
    "pack": ("pack", "W wo ldw n k P po n0 k0 N K", "W+wo ldw 1 n k P+po n0 k0 N K"),
    "pack_transposed": ("pack", "W wo ldw k n P po n0 k0 N K", "W+wo 1 ldw n k P+po n0 k0 N K"),
    "pack_rows": ("gather", "S so st sb n C no t0 t1 P po", "S+so st sb n C+no t0 t1 P+po rows rows"),
    "pack_panels": ("gather", "S so st sb n C no t0 t1 P po", "S+so st sb n C+no t0 t1 P+po panel tail"),
}


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


def translate(source: str, setting: Setting, entry: str, symbol: str) -> str:
    """A file's functions as the text of an LLVM module; `entry(X, O)` is visible outside, as `symbol`.

    Raises `Untranslatable` with the line of what does not belong to the language.
    """
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and not n.decorator_list]
    shared = _Shared(setting, {f.name for f in functions}, entry, symbol)
    bodies = [_Function(shared, f).text() for f in functions]
    module = ir.Module()
    for name in shared.formulas:
        formula(module, name, SINGLE if setting.dtype == "float32" else DOUBLE)
    declared = [f"declare {text}" for text in shared.declared.values()]
    metadata = [f"!{k} = {text}" for k, text in enumerate(shared.metadata)]
    return "\n".join([*_bare(str(module)), *declared, *bodies, *metadata, ""])


def _bare(module: str) -> list[str]:
    """A module's text without its name and target."""
    return [line for line in module.splitlines() if not line.startswith((";", "target ", "source_filename"))]


class _Shared:
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


Access = tuple[int, str]  # a line that touches memory, and the scope it does so in


class _Function:
    """One function, being translated: lines of LLVM, and the variables' places on the stack."""

    def __init__(self, shared: _Shared, node: ast.FunctionDef) -> None:
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

    def text(self) -> str:
        names = [a.arg for a in self.node.args.args]
        kinds = dict(zip(names, ("integers", "integers", "int"), strict=False))
        for name, kind in kinds.items():
            self.assign(name, Value(kind, f"%{name}", name))
        entries = [s for s in self.node.body if _is_entry(s)]
        if len(entries) > ENTRIES:
            self.entries = {s.targets[0].id: s.value for s in entries}  # type: ignore[attr-defined]
        self.block([s for s in self.node.body if not (self.entries and _is_entry(s))])
        visible = self.node.name == self.shared.entry
        head = "void @" + (self.shared.symbol if visible else self.node.name)
        arguments = ", ".join(f"{KINDS[k]} %{n}" for n, k in kinds.items())
        places = [f"  {slot} = alloca {self.type(kind)}" for (_, kind), slot in self.slots.items()]
        linkage = "" if visible else "internal "
        return "\n".join(
            [f"define {linkage}{head}({arguments}) noinline nounwind {{", *places, *self.lines, "  ret void", "}"]
        )

    def fail(self, node: ast.AST, what: str) -> NoReturn:
        raise Untranslatable(f"{self.node.name}, line {getattr(node, 'lineno', 0)}: {what}")

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

    # ------------------------------------------------------------ statements

    def block(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)
            if isinstance(statement, ast.Continue | ast.Break):
                return

    def statement(self, s: ast.stmt) -> None:
        if isinstance(s, ast.Assign):
            (target,) = s.targets
            self.put_into(target, s.value)
        elif isinstance(s, ast.AugAssign):
            current = ast.copy_location(ast.BinOp(_loaded(s.target), s.op, s.value), s)
            self.put_into(s.target, current)
        elif isinstance(s, ast.Expr):
            if not isinstance(s.value, ast.Constant):
                if not isinstance(s.value, ast.Call):
                    self.fail(s, "an expression without effect")
                self.call(s.value, effect=True)
        elif isinstance(s, ast.For):
            self.loop(s)
        elif isinstance(s, ast.If):
            self.branch(s)
        elif isinstance(s, ast.Continue | ast.Break):
            self.go(self.loops[-1][isinstance(s, ast.Continue)])
        elif not isinstance(s, ast.Pass):
            self.fail(s, f"{type(s).__name__} is not part of the language")

    def put_into(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            if not isinstance(value, ast.Tuple) or len(value.elts) != len(target.elts):
                self.fail(target, "as many values as names")
            for one, found in zip(target.elts, [self.expression(v) for v in value.elts], strict=True):
                self.take(one, found)
        else:
            self.take(target, self.expression(value))

    def take(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.assign(target.id, value)
        elif isinstance(target, ast.Subscript):
            array = self.array(target.value)
            self.store(array, self.integer(target.slice), value, f"[{array.name}]")
        else:
            self.fail(target, "a variable or an element is assigned")

    def loop(self, s: ast.For) -> None:
        """Counted up or down; the variable keeps its last value, the count is out of the body's reach."""
        if not (isinstance(s.iter, ast.Call) and isinstance(s.iter.func, ast.Name) and s.iter.func.id == "range"):
            self.fail(s, "a loop runs over a range")
        if not isinstance(s.target, ast.Name) or s.orelse:
            self.fail(s, "a loop has one variable, and no else")
        bounds = [self.integer(a) for a in s.iter.args]
        start, stop = (Value("int", "0"), bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
        step = bounds[2].text if len(bounds) == 3 else "1"
        inner = not any(isinstance(n, ast.For) for b in s.body for n in ast.walk(b))
        here, head, body, latch, done = (self.label() for _ in range(5))
        self.go(here)
        self.begin(here)
        self.go(head)
        self.begin(head)
        counter, following = self.fresh(), self.fresh()
        self.put(f"{counter} = phi i64 [ {start.text}, %{here} ], [ {following}, %{latch} ]")
        test = self.value("bool", f"icmp {'sgt' if step.startswith('-') else 'slt'} i64 {counter}, {stop.text}")
        self.fork(test, body, done)
        self.begin(body)
        self.assign(s.target.id, Value("int", counter))
        self.innermost = inner
        self.loops.append((done, latch))
        self.block(s.body)
        self.loops.pop()
        if inner:
            self.annotate()
        self.innermost = False
        if not _leaves(s.body):
            self.go(latch)
        self.begin(latch)
        self.put(f"{following} = add nsw i64 {counter}, {step}")
        self.go(head)
        self.begin(done)

    def branch(self, s: ast.If) -> None:
        yes, no, end = self.label(), self.label(), self.label()
        self.fork(self.condition(s.test), yes, no)
        for label, body in ((yes, s.body), (no, s.orelse)):
            self.begin(label)
            self.block(body)
            if not _leaves(body):
                self.go(end)
        self.begin(end)

    # ------------------------------------------------------------ expressions

    def expression(self, e: ast.expr) -> Value:
        if isinstance(e, ast.Name):
            return self.variable(e)
        if isinstance(e, ast.Constant):
            return self.constant(e)
        if isinstance(e, ast.BinOp):
            return self.operation(e, self.expression(e.left), self.expression(e.right))
        if isinstance(e, ast.UnaryOp):
            return self.unary(e)
        if isinstance(e, ast.Subscript):
            array = self.array(e.value)
            return self.load(array, self.integer(e.slice), f"[{array.name}]")
        if isinstance(e, ast.Call):
            found = self.call(e)
            if found is None:
                self.fail(e, "a call without a value")
            return found
        if isinstance(e, ast.Compare):
            return self.comparison(e)
        if isinstance(e, ast.BoolOp):
            return self.connective(e)
        if isinstance(e, ast.IfExp):
            return self.choice(e)
        self.fail(e, f"{type(e).__name__} is not part of the language")

    def constant(self, e: ast.Constant) -> Value:
        if isinstance(e.value, bool):
            return Value("bool", "true" if e.value else "false")
        if isinstance(e.value, int):
            return Value("int", str(e.value))
        if isinstance(e.value, float):
            return Value("real", self.setting.number(e.value))
        self.fail(e, f"{e.value!r} is not a number")

    def integer(self, e: ast.expr) -> Value:
        found = self.expression(e)
        if found.kind != "int":
            self.fail(e, f"an integer is wanted, not `{ast.unparse(e)}`")
        return found

    def array(self, e: ast.expr) -> Value:
        found = self.expression(e)
        if found.kind not in ("reals", "integers"):
            self.fail(e, f"`{ast.unparse(e)}` is not an array")
        return found

    def condition(self, e: ast.expr) -> Value:
        return self.truth(self.expression(e))

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

    def common(self, a: Value, b: Value) -> tuple[Value, Value, str]:
        kind = "real" if "real" in (a.kind, b.kind) else "int"
        return self.cast(a, kind), self.cast(b, kind), kind

    def operation(self, e: ast.BinOp, a: Value, b: Value) -> Value:
        a, b, kind = self.common(a, b)
        how = type(e.op)
        if kind == "real" or how is ast.Div:
            names = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
            a, b = self.cast(a, "real"), self.cast(b, "real")
            if how not in names:
                self.fail(e, f"{how.__name__} of reals")
            return self.value("real", f"{names[how]} {FLAGS} {self.setting.real} {a.text}, {b.text}")
        plain = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
        if how in plain:
            return self.value("int", f"{plain[how]} nsw i64 {a.text}, {b.text}")
        if how in (ast.FloorDiv, ast.Mod):
            return self.floored(a, b, how is ast.Mod)
        self.fail(e, f"{how.__name__} of integers")

    def floored(self, a: Value, b: Value, remainder: bool) -> Value:
        """Quotient rounded down, or what is left; 0 when the divisor is 0."""
        zero = self.value("bool", f"icmp eq i64 {b.text}, 0")
        divisor = self.value("int", f"select i1 {zero.text}, i64 1, i64 {b.text}").text
        q = self.value("int", f"sdiv i64 {a.text}, {divisor}").text
        r = self.value("int", f"srem i64 {a.text}, {divisor}").text
        signs = self.value("int", f"xor i64 {r}, {divisor}").text
        apart = self.value("bool", f"icmp slt i64 {signs}, 0").text
        left = self.value("bool", f"icmp ne i64 {r}, 0").text
        wrong = self.value("bool", f"and i1 {apart}, {left}").text
        if remainder:
            more = self.value("int", f"select i1 {wrong}, i64 {divisor}, i64 0").text
            found = self.value("int", f"add nsw i64 {r}, {more}").text
        else:
            less = self.value("int", f"zext i1 {wrong} to i64").text
            found = self.value("int", f"sub nsw i64 {q}, {less}").text
        return self.value("int", f"select i1 {zero.text}, i64 0, i64 {found}")

    def unary(self, e: ast.UnaryOp) -> Value:
        if isinstance(e.op, ast.Not):
            return self.value("bool", f"xor i1 {self.condition(e.operand).text}, true")
        v = self.expression(e.operand)
        if not isinstance(e.op, ast.USub):
            self.fail(e, f"{type(e.op).__name__} is not part of the language")
        if v.kind == "real":
            if isinstance(e.operand, ast.Constant):
                return Value("real", self.setting.number(-float(e.operand.value)))  # type: ignore[arg-type]
            return self.value("real", f"fneg {FLAGS} {self.setting.real} {v.text}")
        v = self.cast(v, "int")
        if isinstance(e.operand, ast.Constant):
            return Value("int", f"-{v.text}")
        return self.value("int", f"sub nsw i64 0, {v.text}")

    def comparison(self, e: ast.Compare) -> Value:
        total: Value | None = None
        a = self.expression(e.left)
        for how, right in zip(e.ops, e.comparators, strict=True):
            b = self.expression(right)
            test = self.compare(e, type(how).__name__, a, b)
            total = test if total is None else self.value("bool", f"and i1 {total.text}, {test.text}")
            a = b
        assert total is not None
        return total

    def compare(self, e: ast.AST, how: str, a: Value, b: Value) -> Value:
        words = {"Eq": "eq", "NotEq": "ne", "Lt": "lt", "LtE": "le", "Gt": "gt", "GtE": "ge"}
        if how not in words:
            self.fail(e, f"{how} is not part of the language")
        word = words[how]
        a, b, kind = self.common(a, b)
        if kind == "int":
            return self.value("bool", f"icmp {word if word in ('eq', 'ne') else 's' + word} i64 {a.text}, {b.text}")
        order = "u" if word == "ne" else "o"  # NaN differs from everything and is neither less nor greater
        return self.value("bool", f"fcmp {order}{word} {self.setting.real} {a.text}, {b.text}")

    def connective(self, e: ast.BoolOp) -> Value:
        both = isinstance(e.op, ast.And)
        total = self.condition(e.values[0])
        for operand in e.values[1:]:
            if _pure(operand):
                total = self.value("bool", f"{'and' if both else 'or'} i1 {total.text}, {self.condition(operand).text}")
                continue
            total = self.either(
                total, (operand, None) if both else (None, operand), Value("bool", str(not both).lower())
            )
        return total

    def choice(self, e: ast.IfExp) -> Value:
        test = self.condition(e.test)
        if not (_pure(e.body) and _pure(e.orelse)):
            return self.either(test, (e.body, e.orelse), None)
        yes, no = self.expression(e.body), self.expression(e.orelse)
        if yes.kind != "bool" or no.kind != "bool":
            yes, no, _ = self.common(yes, no)
        return self.select(test, yes, no)

    def select(self, test: Value, yes: Value, no: Value) -> Value:
        kind = self.type(yes.kind)
        return self.value(yes.kind, f"select i1 {test.text}, {kind} {yes.text}, {kind} {no.text}")

    def either(self, test: Value, parts: tuple[ast.expr | None, ast.expr | None], other: Value | None) -> Value:
        """One of two expressions, the other not evaluated; `other` stands for one that is missing."""
        self.count += 1
        name = f".{self.count}"
        labels = self.label(), self.label()
        end = self.label()
        self.fork(test, *labels)
        for label, part in zip(labels, parts, strict=True):
            self.begin(label)
            found = other if part is None else self.expression(part)
            assert found is not None
            if other is not None:
                found = self.truth(found)
            if name in self.kinds and found.kind != self.kinds[name]:
                found = self.cast(found, self.kinds[name])
            self.assign(name, found)
            self.go(end)
        self.begin(end)
        return self.variable(ast.Name(name))

    # ------------------------------------------------------------ calls

    def call(self, e: ast.Call, effect: bool = False) -> Value | None:
        if not isinstance(e.func, ast.Name) or e.keywords:
            self.fail(e, "a call is of a name, without keywords")
        name, args = e.func.id, e.args
        if name in self.shared.names:
            values = [self.expression(a) for a in args]
            listed = ", ".join(f"{self.type(v.kind)} {v.text}" for v in values)
            self.put(f"call void @{name}({listed})")
            return None
        if name.startswith("load_"):
            return self.load(self.array(args[0]), self.integer(args[1]), name[5:])
        if name.startswith("store_"):
            self.store(self.array(args[0]), self.integer(args[1]), self.expression(args[2]), name[6:])
            return None
        if name in DRIVERS:
            return self.driver(name, args)
        handler = getattr(self, f"call_{name}", None)
        if handler is not None:
            result = handler(e, args)
            assert result is None or isinstance(result, Value)
            return result
        if name in FORMULAS or name in LIBRARY:
            return self.function(e, name, [self.cast(self.expression(a), "real") for a in args])
        if callbacks.CALL.fullmatch(name):
            return self.callback(name, [self.cast(self.expression(a), "real") for a in args])
        self.fail(e, f"`{name}` is not known")

    def callback(self, name: str, values: list[Value]) -> Value:
        """A function of Python, on doubles."""
        callbacks.provide(name)
        single = self.setting.dtype == "float32"
        if single:
            values = [self.value("", f"fpext float {v.text} to double") for v in values]
        symbol = callbacks.symbol(name)
        self.shared.declared[symbol] = f"double @{symbol}({', '.join(['double'] * len(values))})"
        result = self.value("real", f"call double @{symbol}({', '.join(f'double {v.text}' for v in values)})")
        return self.value("real", f"fptrunc double {result.text} to float") if single else result

    def function(self, e: ast.Call, name: str, values: list[Value]) -> Value:
        if name in LIBRARY:
            symbol = LIBRARY[name] + ("f" if self.setting.dtype == "float32" else "")
            self.shared.declared[symbol] = (
                f"{self.setting.real} @{symbol}({', '.join([self.setting.real] * len(values))})"
            )
        else:
            self.shared.formulas.setdefault(name)
            symbol = f"tgseq_{name}_f{32 if self.setting.dtype == 'float32' else 64}"
            if len(values) != FORMULAS[name][0]:
                self.fail(e, f"`{name}` takes {FORMULAS[name][0]} arguments")
        listed = ", ".join(f"{self.setting.real} {v.text}" for v in values)
        return self.value("real", f"call {self.setting.real} @{symbol}({listed})")

    def driver(self, name: str, args: list[ast.expr]) -> Value | None:
        """A call of shared machine code."""
        target, names, form = DRIVERS[name]
        own = dict(zip(names.split(), [self.expression(a) for a in args], strict=True))
        numbers = {"panel": self.setting.panel, "tail": self.setting.tail, "rows": self.setting.rows}
        listed = []
        for item in form.split():
            array, _, index = item.partition("+")
            if index:
                listed.append(f"ptr {self.place(own[array], own[index])}")
            elif item.startswith("~"):
                more = self.value("int", f"add nsw i64 {own[item[1:]].text}, {self.setting.tail - 1}")
                listed.append(f"i64 {self.value('int', f'and i64 {more.text}, {-self.setting.tail}').text}")
            elif "*" in item:
                a, b = item.split("*")
                listed.append(f"i64 {self.value('int', f'mul nsw i64 {own[a].text}, {numbers[b]}').text}")
            else:
                listed.append(f"i64 {own[item].text if item in own else numbers.get(item, item)}")
        symbol = self.setting.symbol(target)
        result = "i64" if target == "gather" else "void"
        kinds = ", ".join(a.split(" ")[0] for a in listed)
        self.shared.declared[symbol] = f"{result} @{symbol}({kinds})"
        call = f"call {result} @{symbol}({', '.join(listed)})"
        if target == "gather":
            return self.value("int", call)
        self.put(call)
        return None

    def call_reals(self, e: ast.Call, args: list[ast.expr]) -> Value:
        return self.value("reals", f"inttoptr i64 {self.integer(args[0]).text} to ptr")

    def call_integers(self, e: ast.Call, args: list[ast.expr]) -> Value:
        return self.value("integers", f"inttoptr i64 {self.integer(args[0]).text} to ptr")

    def call_real(self, e: ast.Call, args: list[ast.expr]) -> Value:
        return self.cast(self.expression(args[0]), "real")

    def call_int(self, e: ast.Call, args: list[ast.expr]) -> Value:
        value = self.cast(self.expression(args[0]), "real")
        return self.value("int", f"fptosi {self.setting.real} {value.text} to i64")

    def call_padded(self, e: ast.Call, args: list[ast.expr]) -> Value:
        """A multiple of the tail, known to be one: loops up to it need no code for what vectors leave over."""
        return self.value("int", f"and i64 {self.integer(args[0]).text}, {-self.setting.tail}")

    def call_conj(self, e: ast.Call, args: list[ast.expr]) -> Value:
        return self.call_real(e, args)

    call_re = call_conj

    def call_where(self, e: ast.Call, args: list[ast.expr]) -> Value:
        test = self.condition(args[0])
        return self.select(test, *(self.cast(self.expression(a), "real") for a in args[1:]))

    def call_min(self, e: ast.Call, args: list[ast.expr]) -> Value:
        return self.extreme(args, "slt")

    def call_max(self, e: ast.Call, args: list[ast.expr]) -> Value:
        return self.extreme(args, "sgt")

    def extreme(self, args: list[ast.expr], how: str) -> Value:
        found = self.integer(args[0])
        for other in args[1:]:
            b = self.integer(other)
            found = self.select(self.value("bool", f"icmp {how} i64 {found.text}, {b.text}"), found, b)
        return found

    def call_copy(self, e: ast.Call, args: list[ast.expr]) -> None:
        target, to, source, start, n = (self.expression(a) for a in args)
        into, origin = self.place(target, to), self.place(source, start)
        size = self.value("int", f"mul nsw i64 {n.text}, {self.align(target.element)}")
        self.declare("llvm.memcpy.p0.p0.i64", "ptr, ptr, i64, i1")
        self.put(f"call void @llvm.memcpy.p0.p0.i64(ptr {into}, ptr {origin}, i64 {size.text}, i1 false)")

    def call_zero(self, e: ast.Call, args: list[ast.expr]) -> None:
        array, at, n = (self.expression(a) for a in args)
        place = self.place(array, at)
        size = self.value("int", f"mul nsw i64 {n.text}, {self.align(array.element)}")
        self.declare("llvm.memset.p0.i64", "ptr, i8, i64, i1")
        self.put(f"call void @llvm.memset.p0.i64(ptr {place}, i8 0, i64 {size.text}, i1 false)")

    def declare(self, name: str, kinds: str) -> None:
        self.shared.declared[name] = f"void @{name}({kinds})"


def _is_entry(s: ast.stmt) -> bool:
    """Whether a statement takes a number from the table: `v = O[at + 3]`."""
    if not isinstance(s, ast.Assign) or not isinstance(s.targets[0], ast.Name):
        return False
    value = s.value.args[0] if isinstance(s.value, ast.Call) and len(s.value.args) == 1 else s.value
    return isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name) and value.value.id == "O"


def _loaded(target: ast.expr) -> ast.expr:
    """What is assigned to, as an expression."""
    return ast.parse(ast.unparse(target), mode="eval").body


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return any(isinstance(s, ast.Continue | ast.Break) for s in body)


def _pure(e: ast.expr) -> bool:
    """Whether evaluating does no harm: no memory is read."""
    return not any(
        isinstance(n, ast.Subscript)
        or (isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id.startswith("load_"))
        for n in ast.walk(e)
    )


__all__ = ["Setting", "Untranslatable", "translate"]
