"""Going through trees without recursion, so that a sum of ten thousand terms is no deeper than one of two."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.text.tree import (
    Argument,
    Binary,
    Call,
    Declaration,
    Draw,
    Equation,
    Expr,
    Loss,
    Macro,
    Negative,
    Output,
    Parameter,
    Ref,
    TimeAxis,
    Transpose,
    Type,
    Use,
)

Node = object


def children(node: Node) -> tuple[Node, ...]:
    """The trees directly below a node (expressions, arguments, types, refs), left to right; () for a leaf.

    Cells and files give nothing: walk their statements.
    """
    match node:
        case Ref(index=index):
            return index or ()
        case Negative(operand=below) | Transpose(operand=below) | Argument(value=below):
            return (below,)
        case Binary(left=left, right=right):
            return left, right
        case Call(arguments=arguments):
            return arguments
        case Type(dims=dims):
            return dims
        case Declaration():
            return (*node.refs, *_given(node.type, node.value, node.distribution))
        case TimeAxis(length=below) | Loss(value=below) | Macro(value=below):
            return (below,)
        case Use(stack=stack, arguments=arguments):
            return (*_given(stack), *arguments)
        case Output(refs=refs):
            return refs
        case Equation(target=target, value=value):
            return target, value
        case Draw(target=target, distribution=call):
            return target, call
        case Parameter(default=default):
            return _given(default)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, each before its children, left to right."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def depth(node: Node) -> int:
    """The number of nodes on the longest way from a node down to a leaf, a chain of operators counted once.

    `a + b + c` leans left: later stages walk such chains and recurse into their right operands only.
    """
    deepest, waiting = 0, [(node, 1)]
    while waiting:
        node, level = waiting.pop()
        deepest = max(deepest, level)
        while isinstance(node, Binary) and isinstance(node.left, Binary):
            waiting.append((node.right, level + 1))
            node = node.left
        waiting.extend((child, level + 1) for child in children(node))
    return deepest


def reads(expression: Expr) -> Iterator[Ref]:
    """Every name an expression reads, those inside indices included, left to right."""
    return (node for node in walk(expression) if isinstance(node, Ref))


def _given(*nodes: Node | None) -> tuple[Node, ...]:
    return tuple(node for node in nodes if node is not None)
