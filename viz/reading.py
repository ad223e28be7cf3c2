"""Small readings of expressions: the label of what is constant, the time axes of what is not, the steps of a lag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsl.system.system import Extent, Index, Position, Read, Size, System
from tinygrad_seq.symbol import Symbol, postorder
from viz import theme
from viz.theme import Label

GLYPHS = {
    "sigmoid": "σ", "add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "matmul": "@", "matvec": "@",
    "dot": "dot", "lookup": "@", "sum": "Σ", "cross_entropy": "CE", "concat": "concat", "part": "part",
    "leaky_relu": "lrelu", "log_softmax": "log softmax", "one_hot": "one-hot", "less": "<", "less_equal": "≤",
    "greater": ">", "greater_equal": "≥", "equal": "=", "not_equal": "≠", "floordiv": "//", "mod": "%", "power": "pow",
}  # fmt: skip


def offset(index: Index, arguments: Mapping[str, Any]) -> int:
    """The constant offset of a shift; ValueError when an argument in it has no number yet."""
    known = index.offset.bind({k: v for k, v in arguments.items() if isinstance(v, int)})
    if not known.is_constant:
        names = ", ".join(sorted(known.names))
        raise ValueError(
            f"the drawing needs a number for {names}: a read reaches `{index.axis} + {known}`; give it, `{names}=2`"
        )
    return int(known)


def is_parameter(system: System, leaf: object) -> bool:
    return isinstance(leaf, Read) and leaf.name in system.streams and system.streams[leaf.name].shared


def constant_text(root: Symbol) -> Label:
    """The label of an expression of parameters and numbers."""
    done: dict[Symbol, str] = {}
    for node in postorder([root]):
        leaf = node.leaf
        if node.op is None:
            if isinstance(leaf, Read):
                own = leaf.name.rpartition(".")[2]
                done[node] = theme.GREEK.get(own, own)
            elif isinstance(leaf, Position):
                done[node] = leaf.axis
            elif isinstance(leaf, Extent):
                done[node] = f"len({leaf.axis})"
            elif isinstance(leaf, Size):
                done[node] = str(leaf.dim)
            else:
                done[node] = f"{leaf:g}" if isinstance(leaf, float) else str(leaf)
            continue
        args = [done[a] for a in node.args]
        if node.op.name == "transpose":
            done[node] = args[0] + "ᵀ"
        elif node.op.infix and len(args) == 2:
            done[node] = f"({args[0]}{GLYPHS.get(node.op.name, node.op.infix)}{args[1]})"
        elif node.op.name == "neg":
            done[node] = "−" + args[0]
        else:
            done[node] = f"{GLYPHS.get(node.op.name, node.op.name)}({', '.join(args)})"
    text = done[root]
    if text.endswith("ᵀ") and "(" not in text:
        return (*theme.name(text[:-1]), theme.Span("T", 1))
    plain_name = root.op is None and isinstance(root.leaf, Read)
    return (
        theme.name(text)
        if plain_name
        else theme.label(text[1:-1] if root.op and root.op.infix and len(root.args) == 2 else text)
    )


class Axes:
    """The time axes of any sub-expression, memoised."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.memo: dict[Symbol, frozenset[str]] = {}
        self.varies: dict[Symbol, bool] = {}

    def of(self, root: Symbol) -> frozenset[str]:
        for node in postorder([root]):
            if node in self.memo:
                continue
            axes: frozenset[str] = frozenset()
            varies = False
            if isinstance(node.leaf, Read):
                axes = frozenset(i.axis for i in node.leaf.index if i.axis is not None)
                varies = not is_parameter(self.system, node.leaf)
            elif isinstance(node.leaf, Position):
                axes = frozenset((node.leaf.axis,))
            for arg in node.args:
                axes, varies = axes | self.memo[arg], varies or self.varies[arg]
            reduced = node.options.get("axis") if node.op is not None else None
            if isinstance(reduced, str) and node.is_op("sum", "mean", "max", "min", "logsumexp"):
                axes = axes - {reduced}
            self.memo[node], self.varies[node] = axes, varies
        return self.memo[root]

    def is_constant(self, root: Symbol) -> bool:
        """Parameters, numbers and positions only: a label, not a node."""
        self.of(root)
        return not self.varies[root]
