"""A primitive's derivative for people: its rule as text and LaTeX, its residuals, its choices at kinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_seq.derivative import Slot, argument_names, expressions
from tinygrad_seq.ops.elementwise import KINKS
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.symbol import Symbol, lift, postorder, text

_RANK = {"add": 1, "sub": 1, "neg": 2, "mul": 3, "matvec": 4, "matmul": 4, "outer": 4, "power": 6}
_CONVOLUTION: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "permute_dims": {"axes": (1, 0)},
    "part": {"start": 0, "size": 1},
    "embed": {"start": 0, "size": 1},
    "expand": {"axis": -1},
    "squeeze": {"axis": -1},
    "piece": {"which": 0},
    "place": {"which": 0},
    "sum": {"axis": -1},
    "mean": {"axis": -1},
    "max": {"axis": -1},
    "min": {"axis": -1},
    "logsumexp": {"axis": -1},
    "getitem": {"key": "key"},
    "scatter_add": {"key": "key"},
    "fill": {"dims": (3,)},
    "astype": {"dtype": "float32"},
    **dict.fromkeys(("conv2d", "conv2d_input", "conv2d_weight"), _CONVOLUTION),
    **dict.fromkeys(("windows", "overlap_add"), _CONVOLUTION | {"kernel": (2, 2)}),
    "einsum": {"spec": "ij,jk->ik"},
    "polygamma": {"n": 1},
}


class Explanation(str):
    """Text that prints as itself, also when it is a result at the prompt."""

    def __repr__(self) -> str:
        return str(self)


def explain(name: str | Primitive) -> Explanation:
    """What the engine knows of a primitive: signature, rule, LaTeX, residuals, kinks, kernel."""
    key = name.name if isinstance(name, Primitive) else name
    op = REGISTRY.get(key)
    if op is None:
        raise ValueError(f"no primitive is named {key!r}; there are: {', '.join(sorted(REGISTRY))}")
    if not op.differentiable:
        return Explanation(f"{op.name}: no derivative (a constant to what it is computed from)")
    static = _EXAMPLES.get(op.name, {})
    names = input_names(op)
    cotangents = expressions(op, [True] * len(names), static)
    arguments = ", ".join([*names, *(f"{k}={v!r}" for k, v in static.items())])
    lines = [f"y = {op.name}({arguments})"]
    for argument, c in zip(names, cotangents, strict=True):
        lines.append(f"  {argument}_bar = {'no gradient' if c is None else text(c)}")
    lines.append("LaTeX")
    for argument, c in zip(names, cotangents, strict=True):
        if c is not None:
            lines.append(rf"  \bar{{{_leaf_tex(lift(Slot('input', 0, argument)))}}} = {latex(c)}")
    lines.append(f"keeps    {', '.join(residuals(cotangents)) or 'nothing'}")
    rule = op.vjp_rule or op.partials_rule
    if rule is not None and rule.__doc__:
        lines.append(f"note     {' '.join(rule.__doc__.split())}")
    if op.name in KINKS:
        lines.append(f"at kinks {KINKS[op.name]}")
    if op.kernel:
        lines.append(f"kernel   {op.kernel}")
    return Explanation("\n".join(lines))


def input_names(op: Primitive) -> list[str]:
    """The names of a primitive's inputs; one that takes any number is shown with two."""
    names = argument_names(op, 99)
    return [n for n in names if not n.rpartition("_")[2].isdigit() or int(n.rpartition("_")[2]) < 2]


def residuals(cotangents: Sequence[Symbol | None]) -> list[str]:
    """What the expressions read besides g: y, then inputs, then shapes of inputs that are not kept whole."""
    whole: set[Slot] = set()
    shapes: set[Slot] = set()
    for node in postorder([c for c in cotangents if c is not None]):
        found = [a.leaf for a in node.args if isinstance(a.leaf, Slot)]
        (shapes if node.is_op("shape_of", "size") else whole).update(found)
        if node.op is None and any(node is c for c in cotangents) and isinstance(node.leaf, Slot):
            whole.add(node.leaf)
    kept = sorted((s for s in whole if s.kind != "g"), key=lambda s: (s.kind != "y", s.position))
    only = sorted(shapes - whole, key=lambda s: s.position)
    return [str(s) for s in kept] + [f"shape_of({s})" for s in only]


def latex(root: Symbol) -> str:
    """An expression typeset by its primitives' templates, with brackets where precedence needs them."""
    done: dict[Symbol, str] = {}
    for node in postorder([root]):
        if node.op is None:
            done[node] = _leaf_tex(node)
            continue
        mine = _RANK.get(node.op.name, 0)
        args = []
        for position, a in enumerate(node.args):
            inner = _RANK.get(a.op.name, 9) if a.op is not None else 9
            tight = mine and (inner < mine or (inner == mine and position > 0 and node.op.name in ("sub", "power")))
            args.append(rf"\left({done[a]}\right)" if tight else done[a])
        template = node.op.tex
        done[node] = template(*args, **node.options) if callable(template) else template.format(*args, **node.options)
    return done[root]


def _leaf_tex(node: Symbol) -> str:
    if node.is_number and node.leaf in (float("inf"), float("-inf")):
        return r"\infty" if node.leaf == float("inf") else r"-\infty"
    if isinstance(node.leaf, complex):
        return "i" if node.leaf == 1j else str(node.leaf).replace("j", "i")
    name = str(node.leaf).replace("_", r"\_")
    return rf"\mathit{{{name}}}" if isinstance(node.leaf, Slot) and len(name) > 1 else name
