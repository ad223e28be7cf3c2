"""Loop nests, written in a small part of Python, as LLVM for Numba's code generator.

A plan becomes text that a person can read: integers, reals, loops over ranges, conditions, elements of flat arrays,
calls of kernels. Numba's front end takes some 5 ms a line, since it is made for all of Python; here the types of
a function are read off in one pass and its instructions written at some 20 µs a line. `machine` makes an object of
them.

The language, all of a file's functions in it:

    def name(X, O, at, ...):       X: addresses of arrays, O: integers, the others: an integer each; nothing is returned
    v = e;  a, b = e, f            variables of integers, reals, conditions and arrays; assigned anew at will
    for i in range(a, b, c):       c a number, or a variable that is positive;  if/elif/else;  break;  continue;  pass
    + - * // % / < <= == ...       integers as in Python (floored; 0 when divided by 0); reals as IEEE has them
    and or not, e if c else f      what is not needed is not evaluated where it reads memory
    reals(e)  integers(e)          the array at an address;  array[i] an element, array[i] = e
    load_s(array, i)  store_s(array, i, e)      elements, too; `s` is an alias scope: within an innermost loop two
                                   scopes never touch the same element, nor do two arrays without one
    int(e)  real(e), infinity, not_a_number, min, max   min and max of integers
    padded(e)                      e, which is a multiple of the panels' tail, the unit of rows in memory
    copy zero product_set product_add multiply weight_gradient pack pack_transposed pack_rows pack_panels transform
                                   see `tinygrad_seq.kernels`;  and every function of `kernels.formulas`
    python1_NAME(e)                a primitive's own implementation: see `kernels.callbacks`
    another(X, O, e, ...)          a function of the same file

May not know what a nest computes.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from llvmlite import ir

from tinygrad_seq.kernels.emit import bare
from tinygrad_seq.kernels.expressions import Expressions
from tinygrad_seq.kernels.formulas import DOUBLE, SINGLE, formula
from tinygrad_seq.kernels.lines import KINDS, Setting, Shared, Untranslatable, Value

ENTRIES = 150  # numbers of the table that a function may hold all the time: registers are few, and LLVM's search long


def translate(source: str, setting: Setting, entry: str, symbol: str) -> str:
    """A file's functions as the text of an LLVM module; `entry(X, O)` is visible outside, as `symbol`.

    Raises `Untranslatable` with the line of what does not belong to the language.
    """
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and not n.decorator_list]
    shared = Shared(setting, {f.name for f in functions}, entry, symbol)
    bodies = [Function(shared, f).text() for f in functions]
    module = ir.Module()
    for name in shared.formulas:
        formula(module, name, SINGLE if setting.dtype == "float32" else DOUBLE)
    declared = [f"declare {text}" for text in shared.declared.values()]
    metadata = [f"!{k} = {text}" for k, text in enumerate(shared.metadata)]
    return "\n".join([bare(module), *declared, *bodies, *metadata, ""])


class Function(Expressions):
    """One function's statements."""

    def text(self) -> str:
        names = [a.arg for a in self.node.args.args]
        kinds = dict(zip(names, ("integers", "integers", *["int"] * len(names)), strict=False))
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


__all__ = ["Setting", "Untranslatable", "translate"]
