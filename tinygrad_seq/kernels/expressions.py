"""Expressions and calls of the language of nests (see `translate`), as LLVM.

May not know statements, nor what a nest computes.
"""

from __future__ import annotations

import ast

from tinygrad_seq.kernels import callbacks
from tinygrad_seq.kernels.formulas import FORMULAS
from tinygrad_seq.kernels.lines import Lines, Value

FLAGS = "contract nsz reassoc"
# Functions of the C library, which are right but no vector code: our names, theirs.
LIBRARY = {n: n for n in ("tan", "sinh", "cosh", "erf", "erfc", "hypot", "log10")} | {
    **{f"arc{n}": f"a{n}" for n in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")},
    **{"gamma": "tgamma", "gammaln": "lgamma"},
}

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
    "transform": ("transform", "A ao lda C co ldc M inverse table W wo", "A+ao lda C+co ldc M inverse table W+wo"),
    "pack": ("pack", "W wo ldw n k P po n0 k0 N K", "W+wo ldw 1 n k P+po n0 k0 N K"),
    "pack_transposed": ("pack", "W wo ldw k n P po n0 k0 N K", "W+wo 1 ldw n k P+po n0 k0 N K"),
    "pack_rows": ("gather", "S so st sb n C no t0 t1 P po", "S+so st sb n C+no t0 t1 P+po rows rows"),
    "pack_panels": ("gather", "S so st sb n C no t0 t1 P po", "S+so st sb n C+no t0 t1 P+po panel tail"),
}


class Expressions(Lines):
    """Writes an expression's lines and gives its value; types are read off on the way."""

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


def _pure(e: ast.expr) -> bool:
    """Whether evaluating does no harm: no memory is read."""
    return not any(
        isinstance(n, ast.Subscript)
        or (isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id.startswith("load_"))
        for n in ast.walk(e)
    )
