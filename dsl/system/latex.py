"""Equations as the lecture typesets them: time as a subscript, ⊙ between vectors, bars for cotangents.

Works on trees, so a cell's source and a printed adjoint go the same way. Ranks of names, where known,
tell a scalar factor from an elementwise product.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dsl.system.system import System
from dsl.text.tree import (
    Binary,
    Call,
    Cell,
    Draw,
    Equation,
    Expr,
    Loss,
    Negative,
    Number,
    Ref,
    Transpose,
)
from tinygrad_seq.explain import bare_arguments
from tinygrad_seq.primitive import REGISTRY, Primitive

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega "
    "Gamma Delta Theta "
    "Lambda Xi Pi Sigma Phi Psi Omega".split()
)
CONSTANTS = {"inf": r"\infty", "pi": r"\pi", "none": r"\varnothing"}
RELATIONS = {"==": "=", "!=": r"\neq", "<": "<", "<=": r"\le", ">": ">", ">=": r"\ge"}
LEVEL = {"==": 0, "!=": 0, "<": 0, "<=": 0, ">": 0, ">=": 0, "+": 1, "-": 1, "*": 2, "%": 2, "@": 4, "**": 5}
ATOM = 9


def cell_latex(cell: Cell, ranks: Mapping[str, int] | None = None, cotangents: Mapping[str, str] | None = None) -> str:
    """All equations, draws and losses of a cell as one `aligned` block (no dollar signs).

    ranks        feature rank of each name, where known
    cotangents   inputs that stand for a derivative: "dh" -> "h" is typeset as ∂L/∂h
    """
    writer = Writer(ranks or {}, cotangents or {})
    lines: list[str] = []
    for statement in cell.body:
        if isinstance(statement, Equation):
            total = (
                r"\;\;\text{(over all sequences)}"
                if statement.total and not any("over all" in x for x in lines)
                else ""
            )
            lines.append(f"{writer.expression(statement.target)} &= {writer.expression(statement.value)}{total}")
        elif isinstance(statement, Draw):
            arguments = ", ".join(writer.expression(a.value) for a in statement.distribution.arguments)
            name = statement.distribution.function.replace("_", r"\_")
            lines.append(
                rf"{writer.expression(statement.target)} &\sim \operatorname{{{name}}}\left({arguments}\right)"
            )
        elif isinstance(statement, Loss):
            lines.append(rf"L_{{\mathrm{{{statement.name}}}}} &= {writer.expression(statement.value)}")
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def ranks(system: System) -> dict[str, int]:
    """The feature rank of every name of a system: a category is a vector, a size and a step are numbers."""
    numbers = dict.fromkeys([*system.arguments, *system.axes], 0)
    return numbers | {n: 1 if s.dtype == "category" else len(s.shape) for n, s in system.streams.items()}


class Writer:
    """Expressions to LaTeX; each piece comes with how tightly it binds."""

    def __init__(self, ranks: Mapping[str, int], cotangents: Mapping[str, str]) -> None:
        self.ranks, self.cotangents = ranks, cotangents

    def expression(self, expr: Expr) -> str:
        return self._write(expr)[0]

    def _write(self, expr: Expr) -> tuple[str, int]:
        spine: list[Binary] = []
        while isinstance(expr, Binary):
            spine.append(expr)
            expr = expr.left
        done = self._single(expr)
        rank = self._rank(expr)
        for node in reversed(spine):
            right = self._write(node.right)
            if node.op == "@" and isinstance(node.left, Ref) and self.ranks.get(node.left.name) == 1:
                done = rf"{done[0]}^{{\top}}", 6  # a vector left of `@` is a row
            done = self._binary(node.op, done, right, rank, self._rank(node.right), node.right)
            rank = max(rank, self._rank(node.right)) if node.op != "@" else 1
        return done

    def _single(self, expr: Expr) -> tuple[str, int]:
        if isinstance(expr, Number):
            return self._number(expr.value)
        if isinstance(expr, Negative):
            inner, level = self._write(expr.operand)
            return "-" + (inner if level >= 2 else _brackets(inner)), 1
        if isinstance(expr, Transpose):
            inner, level = self._write(expr.operand)
            mark = r"\top" if expr.kind == "T" else "*"
            return (inner if level >= ATOM and "^" not in inner else _brackets(inner)) + f"^{{{mark}}}", 6
        if isinstance(expr, Call):
            return self._call(expr)
        assert isinstance(expr, Ref)
        return self._ref(expr), ATOM

    @staticmethod
    def _number(value: int | float | complex) -> tuple[str, int]:
        text = f"{value:g}" if isinstance(value, float) else str(value)
        mantissa, e, exponent = text.partition("e")
        return (rf"{mantissa} \cdot 10^{{{int(exponent)}}}", 2) if e and "j" not in text else (text, ATOM)

    def _rank(self, expr: Expr) -> int:
        """0 for what is surely a scalar, else 1."""
        stack, best = [expr], 0
        while stack:
            node = stack.pop()
            if isinstance(node, Ref):
                best = max(best, self.ranks.get(node.name, 1))
            elif isinstance(node, Call):
                if node.function in ("len", "logprob", "cross_entropy") or (
                    node.function in ("sum", "mean", "max", "min") and not node.axes
                ):
                    continue
                stack += [a.value for a in node.arguments]
            elif isinstance(node, Binary):
                if node.op == "@":
                    best = max(best, 1)
                else:
                    stack += [node.left, node.right]
            elif isinstance(node, Negative | Transpose):
                stack.append(node.operand)
        return best

    def _binary(
        self, op: str, left: tuple[str, int], right: tuple[str, int], a: int, b: int, right_tree: Expr
    ) -> tuple[str, int]:
        if op == "/":
            return rf"\frac{{{left[0]}}}{{{right[0]}}}", 3
        if op == "//":
            return rf"\left\lfloor \frac{{{left[0]}}}{{{right[0]}}} \right\rfloor", ATOM
        level = LEVEL[op]
        x = left[0] if left[1] >= level else _brackets(left[0])
        y = (
            right[0]
            if right[1] > level or (op in "+*" and right[1] == level and not right[0].startswith("-"))
            else _brackets(right[0])
        )
        if op in RELATIONS:
            return f"{x} {RELATIONS[op]} {y}", level
        if op == "*":
            sign = r" \odot " if a and b else r" \cdot " if isinstance(right_tree, Number) else r"\,"
            return f"{x}{sign}{y}", level
        if op == "@":
            return rf"{x}\,{y}", level
        if op == "**":
            base = left[0] if left[1] >= ATOM and "^" not in left[0] else _brackets(left[0])
            return f"{base}^{{{right[0]}}}", level
        sign = r"\bmod" if op == "%" else op
        return f"{x} {sign} {y}", level

    # ------------------------------------------------------------ names

    def _ref(self, ref: Ref) -> str:
        if ref.name in CONSTANTS:
            return CONSTANTS[ref.name]
        steps = [_plain(self.expression(i)) for i in ref.index or ()]
        source = self.cotangents.get(ref.name)
        path, _, tail = (source or ref.name).rpartition(".")
        if source is not None:
            return rf"\frac{{\partial L}}{{\partial {name_latex(tail, steps, path)}}}"
        return name_latex(tail, steps, path)

    # ------------------------------------------------------------ calls

    def _call(self, call: Call) -> tuple[str, int]:
        args = [self.expression(a.value) for a in call.arguments]
        axis = ",".join(call.axes)
        name = call.function
        if name in ("sum", "mean") and axis:
            inner, level = self._write(call.arguments[0].value)
            body = inner if level >= 2 else _brackets(inner)
            return (
                (rf"\sum_{{{axis}}} {body}", 2)
                if name == "sum"
                else (rf"\frac{{1}}{{|{axis}|}}\sum_{{{axis}}} {body}", 2)
            )
        if name == "outer":
            left, right = (self._write(a.value) for a in call.arguments)
            x = left[0] if left[1] >= 4 else _brackets(left[0])
            y = right[0] if right[1] >= ATOM and "^" not in right[0] else _brackets(right[0])
            return rf"{x}\,{y}^{{\top}}", 4
        if name == "where":
            return rf"\begin{{cases}} {args[1]} & {args[0]} \\ {args[2]} & \text{{else}} \end{{cases}}", ATOM
        if name == "concat":
            return r"\left[" + ";\\, ".join(args) + r"\right]", ATOM
        if name == "part":
            return rf"\left({args[0]}\right)_{{[{args[1]}:{args[1]}+{args[2]}]}}" if args[
                1
            ] != "0" else rf"\left({args[0]}\right)_{{[:{args[2]}]}}", ATOM
        if name == "polygamma":
            return rf"\psi^{{({args[0]})}}\left({args[1]}\right)", ATOM
        if name == "zeros":
            return rf"\mathbf{{0}}_{{{','.join(args)}}}", ATOM
        if name == "len":
            return f"|{args[0]}|", ATOM
        if name == "logprob":
            return rf"\log p\left({args[0]}\right)", ATOM
        op = REGISTRY.get(name)
        head = _head(op)
        if head is None and op is not None and op.elementwise and len(args) == op.call.arity:
            return self._template(op, call)
        head = head or r"\operatorname{" + name.replace("_", r"\_") + "}"
        sub = f"_{{{axis}}}" if axis else ""
        return f"{head}{sub}{_brackets(', '.join(args))}", ATOM

    def _template(self, op: Primitive, call: Call) -> tuple[str, int]:
        """A call typeset as its primitive says, with brackets where that has none."""
        if callable(op.tex):
            return op.tex(*(self.expression(a.value) for a in call.arguments)), ATOM
        template, bare, shown = op.tex, bare_arguments(op.tex), []
        for i, argument in enumerate(call.arguments):
            text, level = self._write(argument.value)
            if i in bare and (level < ATOM or "^" in text if bare[i] else level < 3):
                text = _brackets(text)
            if i not in bare and _is_tall(text):
                template = template.replace(f"({{{i}}})", rf"\left({{{i}}}\right)")
            shown.append(text)
        level = ATOM if not bare else 0 if len(bare) > 1 else 1 if template.startswith("-") else 2
        return template.format(*shown), LEVEL["**"] if bare and all(bare.values()) else level


def name_latex(name: str, steps: list[str] | None = None, path: str = "") -> str:
    r"""`z_f_bar` at `t` as `\bar{z}_{f,t}`; a copy's path as a superscript."""
    bars = 0
    match = re.fullmatch(r"(.*?)(\d*)", name)
    assert match is not None
    stem, digits = match.groups()
    while stem.endswith("_bar") and stem != "_bar":
        stem, bars = stem[:-4], bars + 1
    head, *subs = (stem + (digits if not bars else "")).split("_")
    if bars and digits:
        subs.append(f"({digits})")
    letter = re.fullmatch(r"([A-Za-z])(\d+)", head)  # h1 at t is h_{1,t}: one subscript, or TeX refuses
    core = _letter(letter[1] if letter else head)
    for _ in range(bars):
        core = rf"\overline{{{core}}}" if core.startswith(r"\mathrm") else rf"\bar{{{core}}}"
    number = [letter[2]] if letter else []
    below = ",".join([*number, *(_letter(s) for s in subs if s), *(steps or [])])
    escaped = path.replace("_", r"\_")
    above = rf"^{{\mathrm{{{escaped}}}}}" if path else ""
    return core + (f"_{{{below}}}" if below else "") + above


def _letter(word: str) -> str:
    match = re.fullmatch(r"([A-Za-z]+)(\d*)", word)
    if match is None:
        return word
    letters, digits = match.groups()
    shown = "\\" + letters if letters in GREEK else letters if len(letters) == 1 else rf"\mathrm{{{letters}}}"
    return shown + (f"_{digits}" if digits and len(letters) == 1 else digits)


def _plain(index: str) -> str:
    return index.replace(" ", "")


def _head(op: Primitive | None) -> str | None:
    """What a primitive writes before its arguments in brackets; None where it is typeset in another way."""
    if op is None or callable(op.tex):
        return None
    head, bracket, arguments = op.tex.partition("({0}")
    plain = bracket + arguments == f"({', '.join(f'{{{i}}}' for i in range(op.call.arity or 0))})"
    return head.format() if plain and not re.search(r"(?<!\{)\{\w+\}(?!\})", head) else None


def _is_tall(text: str) -> bool:
    return any(command in text for command in ("\\frac", "\\begin", "\\sum", "\\bar"))


def _brackets(text: str) -> str:
    return rf"\left({text}\right)" if _is_tall(text) else f"({text})"
