"""A primitive's derivative for people: its rule as text and LaTeX, its residuals, its choices at kinks."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.derivative import Slot, argument_names, expressions
from tinygrad_seq.examples import example
from tinygrad_seq.gradcheck import difference
from tinygrad_seq.ops.elementwise import KINKS
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.symbol import Symbol, lift, postorder, text
from tinygrad_seq.transforms import vjp

# how tightly an operation holds its arguments together: brackets go round what holds less
_RANK = {n: 0 for n in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")} | {
    "add": 1,
    "sub": 1,
    "neg": 2,
    "mul": 3,
    "matvec": 4,
    "matmul": 4,
    "outer": 4,
    "dot": 4,
    "div": 6,
}
_PRODUCT, _RAISED, _ATOM = 4, 7, 9  # side by side; with something raised or lowered behind; a name, or in brackets


class Explanation(str):
    """Text that prints as itself, also when it is a result at the prompt."""

    def __repr__(self) -> str:
        return str(self)


def explain(name: str | Primitive | Callable[..., Any]) -> Explanation:
    """What the engine knows of a primitive: rule as text and LaTeX, residuals, kinks, kernel, and a check of
    the rule against finite differences at an example. `tg.softmax` is as good as "softmax".

    Errors: ValueError for what is no primitive; a function composed of several is for `tg.trace`.
    """
    key = name if isinstance(name, str) else str(getattr(name, "name", None) or getattr(name, "__name__", name))
    op = REGISTRY.get(key)
    if op is None:
        if callable(name) or callable(getattr(sys.modules["tinygrad_seq"], key, None)):
            raise ValueError(
                f"{key} is composed of primitives: print(tg.trace({key})(…)) shows which, for your arguments"
            )
        near = difflib.get_close_matches(key, REGISTRY, 3, 0.75)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(sorted(REGISTRY))}"
        raise ValueError(f"no primitive is named {key!r}: {hint}")
    if not op.differentiable:
        return Explanation(f"{op.name}: no derivative (a constant to what it is computed from)")
    args, static = example(op)
    names = input_names(op)
    readable = {k: v if isinstance(v, int | float | str | tuple | None) else "key" for k, v in static.items()}
    cotangents = expressions(op, [True] * len(names), readable)
    lines = rules(op.name)
    lines += _complex_rule(op, names, readable, cotangents)
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
    if not op.complex_numbers:
        lines.append("numbers  real ones: any other is a TypeError")
    if op.kernel:
        lines.append(f"kernel   {op.kernel}")
    lines.append(f"check    {number_check(op, args, static)}")
    return Explanation("\n".join(lines))


def rules(name: str) -> list[str]:
    """A primitive's rule as text: `y = tanh(x)`, then a line for what each argument receives of a cotangent g."""
    op = REGISTRY[name]
    args, static = example(op)
    names = input_names(op)
    readable = {k: v if isinstance(v, int | float | str | tuple | None) else "key" for k, v in static.items()}
    cotangents = expressions(op, [True] * len(names), readable)
    arguments = ", ".join([*names, *(f"{k}={v!r}" for k, v in readable.items())])
    lines = [f"y = {op.name}({arguments})"]
    for i, (argument, c) in enumerate(zip(names, cotangents, strict=True)):
        none = "unknown: to ask for it is an error" if i in op.fixed else "no gradient"
        lines.append(f"  {argument}_bar = {none if c is None else text(c)}")
    return lines


def _complex_rule(
    op: Primitive, names: Sequence[str], static: dict[str, Any], on_reals: Sequence[Symbol | None]
) -> list[str]:
    """The lines for complex numbers, where the rule differs there."""
    if not op.complex_numbers:
        return []
    general = expressions(op, [True] * len(names), static, real=False)
    differ = [(n, c) for n, c, r in zip(names, general, on_reals, strict=True) if c is not r and c is not None]
    return ["over the complex numbers", *(f"  {n}_bar = {text(c)}" for n, c in differ)] if differ else []


def number_check(op: Primitive, args: Sequence[Any], static: dict[str, Any]) -> str:
    """The slope along a fixed direction, from the rule and from finite differences, at an example."""
    at = [i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind in "fc" and i not in op.fixed]

    def value(*xs: Any) -> Any:
        given = list(args)
        for i, x in zip(at, xs, strict=True):
            given[i] = x
        return op(*given, **static)

    points = [args[i] for i in at]
    rng = np.random.default_rng(0)
    directions = [np.asarray(rng.standard_normal(p.shape)) for p in points]
    y, pullback = vjp(value, *points)
    weight = np.asarray(rng.standard_normal(np.shape(y)))
    exact = sum(float(np.sum(np.real(g * d))) for g, d in zip(pullback(weight), directions, strict=True))
    numeric = float(
        difference(
            lambda h: np.sum(np.real(weight * value(*(p + h * d for p, d in zip(points, directions, strict=True)))))
        )
    )
    agree = "agree" if abs(exact - numeric) <= 1e-8 + 1e-6 * abs(numeric) else "DISAGREE"
    return f"slope at an example: {exact:.10g} by the rule, {numeric:.10g} by differences: they {agree}"


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
    rank: dict[Symbol, int] = {}
    for node in postorder([root]):
        if node.op is None:
            done[node], rank[node] = _leaf_tex(node), _ATOM
            continue
        needs, rank[node] = _holds(node, [rank[a] for a in node.args])
        args = [
            rf"\left({done[a]}\right)" if rank[a] < need else done[a] for a, need in zip(node.args, needs, strict=True)
        ]
        template = node.op.tex
        done[node] = template(*args, **node.options) if callable(template) else template.format(*args, **node.options)
    return done[root]


def _holds(node: Symbol, inner: list[int]) -> tuple[list[int], int]:
    """From which rank on each argument stands without brackets, and the rank of the whole."""
    assert node.op is not None
    name, template = node.op.name, node.op.tex
    if name == "expand" and node.options["axis"] == -2:
        return [_RAISED + 1], _RAISED
    if callable(template) or name == "where":
        return [0] * len(inner), _ATOM
    if template == "{0}":  # nothing to see
        return [0] * len(inner), inner[0]
    bare = bare_arguments(template)
    own = _RANK.get(name, _PRODUCT)
    needs = [0 if i not in bare else _RAISED + 1 if bare[i] else own for i in range(len(inner))]
    if name == "sub":
        needs[1] += 1
    raised = any(bare.values()) and len(bare) == 1
    return needs, _RANK.get(name, _RAISED if raised else _PRODUCT if bare else _ATOM)


def bare_arguments(template: str) -> dict[int, bool]:
    """The arguments that a template puts in no brackets, and whether something raised or lowered stands behind them."""
    found: dict[int, bool] = {}
    for m in re.finditer(r"\{(\d)\}", template):
        before, after = template[: m.start()], template[m.end() :]
        within = (
            before.endswith(("(", "{", "|", ",")) and not before.endswith(r"\,") and after.startswith(tuple(")}|,\\"))
        )
        if not within and not before.endswith(("floor ", "ceil ")):
            found[int(m[1])] = found.get(int(m[1]), False) or after.startswith(("^", "_"))
    return found


def _leaf_tex(node: Symbol) -> str:
    if node.is_number and node.leaf in (float("inf"), float("-inf")):
        return r"\infty" if node.leaf == float("inf") else r"-\infty"
    if hasattr(node.leaf, "tex"):
        return str(node.leaf.tex)
    if isinstance(node.leaf, complex):
        return "i" if node.leaf == 1j else str(node.leaf).replace("j", "i")
    name = str(node.leaf).replace("_", r"\_")
    return rf"\mathit{{{name}}}" if isinstance(node.leaf, Slot) and len(name) > 1 else name
