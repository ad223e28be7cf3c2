"""From tree to text, in the one layout the language has.

The same printer serves `fmt` and printed systems, whose trees have no source. `parse(format(x)) == x` for every tree
that can be written, formatting twice changes nothing, and comments are kept. Expressions are printed without
recursion. Parentheses follow from the tree alone: where precedence needs them, around `@` beside `*` (a reader who
knows NumPy would group it otherwise), and around a negative on the right of an operator.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from enum import Enum

from dsl.text.parse import parse
from dsl.text.tree import (
    Argument,
    Binary,
    Call,
    Cell,
    Declaration,
    Draw,
    Equation,
    Expr,
    File,
    Import,
    Loss,
    Macro,
    Negative,
    Notes,
    Number,
    Output,
    Parameter,
    Ref,
    Span,
    Statement,
    TimeAxis,
    Transpose,
    Type,
    Use,
)
from dsl.text.walk import reads
from dsl.text.wrap import wrap

COMMENT_COLUMN = 48  # where comments behind a line begin, when it is short enough
INDENT = "  "

# How tightly a form binds; an operand that binds less than its place needs gets parentheses.
COMPARISON, SUM, PRODUCT, UNARY, MATRIX, POWER, POSTFIX, ATOM = range(8)
BINDING = {
    **dict.fromkeys(("==", "!=", "<=", ">=", "<", ">"), COMPARISON),
    **dict.fromkeys("+-", SUM),
    **dict.fromkeys(("*", "/", "//", "%"), PRODUCT),
    "@": MATRIX,
    "**": POWER,
}
PLACES = {  # what the left and the right operand must bind at least
    COMPARISON: (SUM, SUM),
    SUM: (SUM, PRODUCT),
    PRODUCT: (PRODUCT, POWER),
    MATRIX: (MATRIX, POWER),
    POWER: (POSTFIX, POWER),
}


class Mode(Enum):
    """How much space an expression gets."""

    TOP = "right of an equation's `=`"
    WIDE = "a product at the top with a sum for a factor: a * (1 + b)"
    SPACED = "in arguments and parentheses: a + b*c"
    TIGHT = "in a comparison of steps: t-1==0"
    INDEX = "indices, sizes, arguments of cells: 2*u+1"


def format(node: File | Cell | Macro | Import | Statement | str) -> str:
    """The canonical text of a file, an item or a statement, ending in a newline (empty for an empty file).

    A string is parsed first: CellError when it is wrong.
    """
    if isinstance(node, str):
        node = parse(node)
    if isinstance(node, File):
        return _file(node)
    if isinstance(node, Cell | Macro | Import):
        return "\n".join(_item(node)) + "\n"
    return "\n".join(_noted(_statement(node, ""), node.notes, "")) + "\n"


def expression(expr: Expr) -> str:
    """An expression on one line, as it stands to the right of `=`."""
    return _print(expr, Mode.TOP)


# ---------------------------------------------------------------- files, items, statements


def _file(file: File) -> str:
    lines: list[str] = []
    previous: Import | Macro | Cell | None = None
    for item in file.items:
        apart = isinstance(item, Cell) or isinstance(previous, Cell) or item.notes.before[:1] == ("",)
        if previous is not None and (apart or type(item) is not type(previous)):
            lines.append("")
        lines += _item(item)
        previous = item
    if file.tail:
        lines += ([""] if lines else []) + _comments(file.tail, "")
    return "\n".join(lines) + "\n" if lines else ""


def _item(item: Import | Macro | Cell) -> list[str]:
    notes = Notes(item.notes.before[1:] if item.notes.before[:1] == ("",) else item.notes.before, item.notes.behind)
    match item:
        case Import(module=module, names=names):
            head = f"from {module} import "
            return _noted(wrap(head + ", ".join(names), len(head)), notes, "")
        case Macro(name=name, parameters=parameters, value=value):
            head = f"def {name}({', '.join(parameters)}) "
            return _noted(wrap(f"{head}= {expression(value)}", len(head)), notes, "")
    head = f"cell {item.name}("
    lines = _noted(wrap(f"{head}{', '.join(map(_parameter, item.parameters))}):", len(head)), notes, "")
    for i, statement in enumerate(item.body):
        own = statement.notes
        if i == 0 and own.before[:1] == ("",):
            own = Notes(own.before[1:], own.behind)
        lines += _noted(_statement(statement, INDENT), own, INDENT)
    return lines + _comments(item.tail, INDENT)


def _parameter(parameter: Parameter) -> str:
    if parameter.default is None:
        return parameter.name
    return f"{parameter.name}={_print(parameter.default, Mode.INDEX)}"


def _noted(lines: list[str], notes: Notes, indent: str) -> list[str]:
    """A statement's lines with its comments before and behind."""
    if notes.behind:
        code = lines[-1]
        column = max(COMMENT_COLUMN, (len(code) + 2 + 3) // 4 * 4)
        lines = [*lines[:-1], f"{code:<{column}}{_comment(notes.behind)}"]
    return _comments(notes.before, indent) + lines


def _comments(texts: Iterable[str], indent: str) -> list[str]:
    return [indent + _comment(text) if text else "" for text in texts]


def _comment(text: str) -> str:
    text = " ".join(text.splitlines())
    return f"#{text}" if text.startswith("#") and text != "#" else "#" if text == "#" else f"# {text}"


def _statement(statement: Statement, indent: str) -> list[str]:
    """The lines of a statement without its comments."""
    match statement:
        case Declaration(kind=kind, refs=refs):
            head = f"{indent}{kind} "
            return wrap(head + _grouped(refs) + _declared(statement), len(head))
        case TimeAxis(name=name, length=length):
            head = f"{indent}time {name}: "
            return wrap(head + _print(length, Mode.INDEX), len(head))
        case Use(name=name):
            head = f"{indent}use {name} "
            return wrap(f"{head}= {_used(statement)}", len(head))
        case Output(refs=refs):
            head = f"{indent}output "
            return wrap(head + ", ".join(_print(ref, Mode.TOP) for ref in refs), len(head))
        case Loss(name=name, value=value):
            return _defined(f"{indent}loss {name} ", "=", expression(value))
        case Equation(target=target, value=value, total=total):
            word = "total " if total else ""
            return _defined(f"{indent}{word}{_print(target, Mode.TOP)} ", "=", expression(value))
        case Draw(target=target, distribution=call):
            return _defined(f"{indent}{_print(target, Mode.TOP)} ", "~", _print(call, Mode.SPACED))


def _defined(head: str, mark: str, value: str) -> list[str]:
    return wrap(f"{head}{mark} {value}", len(head))


def _declared(declaration: Declaration) -> str:
    """What follows the names: type, value or distribution."""
    text = f": {_type(declaration.type)}" if declaration.type else ""
    if declaration.value is not None:
        text += f" = {_print(declaration.value, Mode.SPACED)}"
    if (call := declaration.distribution) is not None:
        bare = not call.arguments and not call.axes
        text += " ~ " + (call.function if bare else _print(call, Mode.SPACED))
    return text + (", kept" if declaration.kept else "")


def _type(type_: Type) -> str:
    dims = [_print(dim, Mode.INDEX) for dim in type_.dims]
    text = "scalar" if not dims else dims[0] if len(dims) == 1 else f"({', '.join(dims)})"
    return f"{type_.qualifier} {text}" if type_.qualifier else text


def _used(use: Use) -> str:
    words = ["reverse"] if use.reverse else []
    if use.stack is not None:
        words += ["stack", _print(use.stack, Mode.INDEX), "of"]
    arguments = ", ".join(f"{a.keyword}={_print(a.value, Mode.INDEX)}" for a in use.arguments)
    return " ".join([*words, f"{use.cell}({arguments})"])


def _grouped(refs: Sequence[Ref]) -> str:
    """Names of a declaration: kin close together (`V_f,V_i, W_f,W_i`), grouped as they were written if they were."""
    text = _print(refs[0], Mode.TOP)
    for left, right in zip(refs, refs[1:], strict=False):
        tight = left.index is None and right.index is None and _kin(left, right)
        text += ("," if tight else ", ") + _print(right, Mode.TOP)
    return text


def _kin(left: Ref, right: Ref) -> bool:
    nowhere = Span(0, 0)
    if left.span != nowhere and right.span != nowhere:
        return right.span.start - left.span.end == 1
    stems = [re.match(r"(.*?[A-Za-z])(_\w+|\d+)$", ref.name) for ref in (left, right)]
    return all(stems) and len({stem[1] for stem in stems if stem}) == 1


# ---------------------------------------------------------------- expressions

Work = str | tuple[Expr, int, Mode]  # text, or an expression with the binding its place needs


def _print(expr: Expr, mode: Mode) -> str:
    """Print with a stack of work instead of recursion: left spines are as long as sums are."""
    done: list[str] = []
    work: list[Work] = [(expr, COMPARISON, mode)]
    while work:
        item = work.pop()
        if isinstance(item, str):
            done.append(item)
            continue
        node, needed, how = item
        if _binding(node) < needed:
            inner = Mode.SPACED if how in (Mode.TOP, Mode.WIDE) else how
            work += [")", (node, COMPARISON, inner), "("]
        else:
            work.extend(reversed(_pieces(node, how)))
    return "".join(done)


def _binding(expr: Expr) -> int:
    match expr:
        case Binary(op=op):
            return BINDING[op]
        case Negative():
            return UNARY
        case Transpose():
            return POSTFIX
        case Number(value=value):
            if isinstance(value, complex):
                return SUM if value.real else UNARY if math.copysign(1, value.imag) < 0 else ATOM
            return UNARY if math.copysign(1, value) < 0 else ATOM
    return ATOM


def _pieces(node: Expr, mode: Mode) -> list[Work]:
    inner = Mode.SPACED if mode in (Mode.TOP, Mode.WIDE) else mode
    match node:
        case Number(value=value):
            return [_number(value)]
        case Ref(name=name, index=index):
            return [name] if index is None else [name, "[", *_separated(index, ",", Mode.INDEX), "]"]
        case Negative(operand=operand):
            return ["-", (operand, POWER, inner)]
        case Transpose(operand=operand, kind=kind):
            bare = not isinstance(operand, Number)
            return [(operand, POSTFIX, inner) if bare else f"({_print(operand, inner)})", f".{kind}"]
        case Call(function=function, arguments=arguments, axes=axes):
            over = f"[{','.join(axes)}]" if axes else ""
            return [f"{function}{over}(", *_arguments(arguments, mode), ")"]
        case Binary():
            return _binary(node, mode)


def _binary(node: Binary, mode: Mode) -> list[Work]:
    binding = BINDING[node.op]
    left_place, right_place = PLACES[binding]
    if binding == PRODUCT and isinstance(node.left, Binary) and node.left.op == "@":
        left_place = ATOM
    if binding in (POWER, COMPARISON) and _is_simple_negative(node.right):
        right_place = UNARY
    elif _starts_with_minus(node.right):
        right_place = ATOM
    if mode is Mode.TOP and binding == PRODUCT and _has_sum_factor(node):
        mode = Mode.WIDE
    inner = Mode.SPACED if mode in (Mode.TOP, Mode.WIDE) else mode
    if binding == COMPARISON and mode is Mode.SPACED and all(ref.index is None for ref in reads(node)):
        mode = inner = Mode.TIGHT
    spaced = {
        COMPARISON: mode in (Mode.TOP, Mode.SPACED),
        SUM: mode in (Mode.TOP, Mode.WIDE, Mode.SPACED),
        PRODUCT: mode is Mode.WIDE and node.op == "*",
    }
    operator = f" {node.op} " if spaced.get(binding, False) else node.op
    chained = isinstance(node.left, Binary) and BINDING[node.left.op] == PRODUCT
    left_mode = mode if mode is Mode.WIDE and chained else inner
    return [(node.left, left_place, left_mode), operator, (node.right, right_place, inner)]


def _separated(exprs: Sequence[Expr], separator: str, mode: Mode) -> list[Work]:
    work: list[Work] = []
    for i, expr in enumerate(exprs):
        work += [separator] if i else []
        work.append((expr, COMPARISON, mode))
    return work


def _arguments(arguments: Sequence[Argument], mode: Mode) -> list[Work]:
    within = Mode.INDEX if mode is Mode.INDEX else Mode.SPACED
    work: list[Work] = []
    for i, argument in enumerate(arguments):
        work += [", "] if i else []
        if argument.keyword is not None:
            work.append(f"{argument.keyword}{'=' if within is Mode.INDEX else ' = '}")
        work.append((argument.value, COMPARISON, within))
    return work


def _has_sum_factor(node: Expr) -> bool:
    """Whether a chain of products has a sum for a factor of `*`."""
    above = "*"
    while isinstance(node, Binary) and BINDING[node.op] == PRODUCT:
        if node.op == "*" and _binding(node.right) == SUM:
            return True
        above, node = node.op, node.left
    return above == "*" and _binding(node) == SUM


def _is_simple_negative(node: Expr) -> bool:
    if isinstance(node, Negative):
        return _binding(node.operand) >= POSTFIX
    return isinstance(node, Number) and _binding(node) == UNARY


def _starts_with_minus(node: Expr) -> bool:
    """Whether the text of a right operand would begin with a minus."""
    while isinstance(node, Binary):
        if _binding(node.left) < PLACES[BINDING[node.op]][0]:
            return False  # in parentheses
        node = node.left
    return _binding(node) == UNARY


def _number(value: int | float | complex) -> str:
    """Python's shortest text that gives the same number back (NumPy's scalars included)."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, complex):
        if value.imag != value.imag or value.real != value.real or math.isinf(value.imag):
            raise ValueError(f"{value} cannot be written as a number")
        imaginary = f"{value.imag!r}j"
        if not value.real:
            return imaginary
        return f"{_number(value.real)} {'-' if imaginary[0] == '-' else '+'} {imaginary.lstrip('-')}"
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("NaN cannot be written as a number")
        return repr(float(value))  # inf is the constant `inf`
    return str(int(value))
