"""Make a failing case small: cut lines, arguments and sub-expressions, sequences and steps, while it fails alike.

Works on the parse tree, so it shrinks any cell, not only generated ones.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from dsl.text.format import format as formatted
from dsl.text.parse import parse
from dsl.text.tree import Binary, Call, Cell, Declaration, Expr, Negative, Number, Source, Span, Transpose
from tests.differential.generator import Case


def signature(error: Exception) -> str:
    """What must stay the same: the kind of error, and of a disagreement which readings disagree."""
    return type(error).__name__ + (":" + str(error).split(" ")[0] if isinstance(error, AssertionError) else "")


def smaller(node: Any) -> Iterator[Any]:
    """Trees one step smaller, the boldest first."""
    if isinstance(node, tuple):
        for i in range(len(node)):
            if not isinstance(node[i], Expr):  # an index or a call keeps its arity
                yield node[:i] + node[i + 1 :]
        for i, item in enumerate(node):
            for less in smaller(item):
                yield (*node[:i], less, *node[i + 1 :])
        return
    if isinstance(node, Source | Span | str) or not dataclasses.is_dataclass(node):
        return
    if isinstance(node, Negative | Transpose):
        yield node.operand
    if isinstance(node, Binary):
        yield from (node.left, node.right)
    if isinstance(node, Call):
        yield from (a.value for a in node.arguments)
    if isinstance(node, Binary | Call | Negative):
        yield Number(1)
    for field in dataclasses.fields(node):
        if field.name in ("body", "items", "refs", "left", "right", "operand", "value", "index") or (
            field.name == "arguments" and not isinstance(node, Cell)
        ):
            if isinstance(node, Call) and field.name == "arguments":
                for i, argument in enumerate(node.arguments):
                    for less in smaller(argument.value):
                        new = dataclasses.replace(argument, value=less)
                        yield dataclasses.replace(node, arguments=(*node.arguments[:i], new, *node.arguments[i + 1 :]))
                continue
            for less in smaller(getattr(node, field.name)):
                if not (isinstance(node, Declaration) and field.name == "refs" and not less):
                    yield dataclasses.replace(node, **{field.name: less})


def candidates(case: Case) -> Iterator[Case]:
    batch = len(next(iter(case.lengths.values())))
    for b in range(batch):
        if batch > 1:
            yield dataclasses.replace(case, lengths={a: n[:b] + n[b + 1 :] for a, n in case.lengths.items()})
    for axis, steps in case.lengths.items():
        for b, n in enumerate(steps):
            if n > 1:
                yield dataclasses.replace(case, lengths={**case.lengths, axis: [*steps[:b], n - 1, *steps[b + 1 :]]})
    for tree in smaller(parse(case.text)):
        try:
            yield dataclasses.replace(case, text=formatted(tree))
        except Exception:  # not a cell any more
            continue


def shrink(case: Case, check: Callable[[Case], Any], error: Exception, seconds: float = 60) -> Case:
    """The smallest case found within the time that fails as `error` did."""
    wanted, end = signature(error), time.monotonic() + seconds
    progress = True
    while progress and time.monotonic() < end:
        progress = False
        for less in candidates(case):
            if time.monotonic() > end:
                break
            try:
                check(less)
            except Exception as found:
                if signature(found) == wanted:
                    case, progress = less, True
                    break
    return case
