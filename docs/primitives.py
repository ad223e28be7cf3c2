"""Writes the reference of the engine's primitives: a page and a picture for each, from the registry alone.

    python docs/primitives.py            # writes docs/primitives/*.md and *.svg

A page shows the call, the rule as text and as mathematics, what is kept for it, choices at kinks, the kernel. The
picture of a function of one number is its curve and its derivative's; any other's is what flows forwards and back.
Nothing here depends on the machine: a test compares the committed pages with fresh ones.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import tinygrad_seq as tg  # noqa: E402
from tinygrad_seq.derivative import expressions  # noqa: E402
from tinygrad_seq.examples import example  # noqa: E402
from tinygrad_seq.explain import input_names, latex, residuals  # noqa: E402
from tinygrad_seq.primitive import REGISTRY, Primitive  # noqa: E402
from tinygrad_seq.symbol import text  # noqa: E402

HERE = Path(__file__).parent / "primitives"
INK, BLUE, ORANGE, GREY = "#222", "#1f5fa8", "#c8641c", "#999"
RANGES = {
    "log": (0.02, 4), "log2": (0.02, 4), "log10": (0.02, 4), "log1p": (-0.98, 4), "sqrt": (0, 4), "arcsin": (-1, 1),
    "arccos": (-1, 1), "arctanh": (-0.98, 0.98), "arccosh": (1.01, 4), "erfinv": (-0.98, 0.98), "logit": (0.02, 0.98),
    "gamma": (0.15, 4), "gammaln": (0.05, 4), "digamma": (0.15, 4), "polygamma": (0.3, 4), "reciprocal": (0.15, 4),
    "tan": (-1.4, 1.4), "angle": (0.1, 3),
}  # fmt: skip


def chapter(op: Primitive) -> str:
    """The file of `ops` that the primitive is defined in, by its rule or its value's function."""
    for function in (op.vjp_rule, op.partials_rule, op.impl):
        module = getattr(function, "__module__", "") or ""
        if module.startswith("tinygrad_seq.ops."):
            return module.rpartition(".")[2]
    return "elementwise" if op.elementwise else "reduce"


# ---------------------------------------------------------------- pages


def page(name: str) -> str:
    op = REGISTRY[name]
    lines = [f"# {name}", "", f"![{name}]({name}.svg)", ""]
    args, static = example(op)
    options = {k: v if isinstance(v, int | float | str | tuple | None) else "key" for k, v in static.items()}
    names = input_names(op) if op.differentiable else [f"x{i}" for i in range(len(args))]
    call = ", ".join([*names, *(f"{k}={v!r}" for k, v in options.items())])
    lines += ["```", f"y = {name}({call})", "```", ""]
    if not op.differentiable:
        own = op.impl.__doc__ if isinstance(op.impl, FunctionType) else None
        lines += [" ".join(own.split()), ""] if own else []
        lines += ["No derivative: a constant to what it is computed from.", ""]
    else:
        cotangents = expressions(op, [True] * len(names), options)
        lines += ["## Rule", "", "`g` is the cotangent of `y`.", "", "```"]
        lines += [
            f"{n}_bar = {'no gradient' if c is None else text(c)}" for n, c in zip(names, cotangents, strict=True)
        ]
        lines += ["```", ""]
        for n, c in zip(names, cotangents, strict=True):
            if c is not None:
                lines += ["$$", rf"\bar{{\mathit{{{n.replace('_', chr(92) + '_')}}}}} = {latex(c)}", "$$", ""]
        lines += [f"Keeps: {', '.join(f'`{r}`' for r in residuals(cotangents)) or 'nothing'}.", ""]
        rule = op.vjp_rule or op.partials_rule
        if rule is not None and rule.__doc__:
            lines += [" ".join(rule.__doc__.split()), ""]
    kink = tg.ops.elementwise.KINKS.get(name)
    if kink:
        lines += ["## Where there is no derivative", "", f"{kink[0].upper()}{kink[1:]}.", ""]
    facts = [f"defined in `tinygrad_seq/ops/{chapter(op)}.py`"]
    facts += ["works on each element"] if op.elementwise else []
    facts += ["for real numbers only"] if not op.complex_numbers else []
    facts += ["a derivative that is singular somewhere: a cotangent of 0 stays 0 there"] if op.singular else []
    facts += [f"in kernels `{op.kernel}`"] if op.kernel else []
    return "\n".join([*lines, *(f"- {f}" for f in facts), "", "[all primitives](README.md)", ""])


def index() -> str:
    chapters: dict[str, list[str]] = {}
    for name, op in REGISTRY.items():
        chapters.setdefault(chapter(op), []).append(name)
    lines = [
        "# Primitives",
        "",
        "What the engine can compute. Every rule names primitives only, so each has derivatives",
    ]
    lines += ["of any order. Written by `python docs/primitives.py`.", ""]
    for title in sorted(chapters):
        links = ", ".join(f"[{n}]({n}.md)" for n in sorted(chapters[title]))
        lines += [f"## {title}", "", links, ""]
    return "\n".join(lines)


# ---------------------------------------------------------------- pictures


def svg(width: int, height: int, body: list[str], title: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    style = 'font-family="Helvetica, Arial, sans-serif" font-size="13"'
    return "\n".join([f"{head} {style}>", f"<title>{html.escape(title)}</title>", *body, "</svg>", ""])


def label(x: float, y: float, said: str, color: str = INK, anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{color}">{html.escape(said)}</text>'


def curve(op: Primitive) -> str:
    """The function and its derivative over an interval."""
    low, high = RANGES.get(op.name, (-3, 3))
    x = np.linspace(low, high, 121)
    static = example(op)[1]
    with np.errstate(all="ignore"):
        y, pullback = tg.vjp(lambda v: op(v, **static), x)
        y = np.real(np.asarray(y))
        slope = np.real(np.asarray(pullback(np.ones(121))[0])) if op.differentiable else np.zeros(121)
    y = np.asarray(y, float)
    seen = np.concatenate([y, slope, [1.0]])
    top = min(float(np.max(np.abs(seen[np.isfinite(seen)]))), 4.0)
    jump = 0.45 * top if op.differentiable and op.name != "sign" else 0.01
    body = [f'<rect x="40" y="10" width="360" height="200" fill="none" stroke="{GREY}"/>']

    def place(u: float, v: float) -> tuple[float, float]:
        return 40 + 360 * (u - low) / (high - low), 110 - 100 * v / top

    zero = place(0, 0)
    body.append(f'<line x1="40" x2="400" y1="{zero[1]:.1f}" y2="{zero[1]:.1f}" stroke="{GREY}"/>')
    if low < 0 < high:
        body.append(f'<line x1="{zero[0]:.1f}" x2="{zero[0]:.1f}" y1="10" y2="210" stroke="{GREY}"/>')
    for values, color, dash in ((y, BLUE, ""), (slope, ORANGE, ' stroke-dasharray="5 3"')):
        for piece in pieces(x, values, top, jump):
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(u, v) for u, v in piece))
            body.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
    body += [label(40, 228, f"{low:g}"), label(400, 228, f"{high:g}"), label(34, 15, f"{top:.3g}", anchor="end")]
    body += [label(150, 228, op.name, BLUE), label(280, 228, "its derivative", ORANGE)]
    return svg(420, 238, body, op.name)


def pieces(
    x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], top: float, jump: float
) -> Iterator[list[tuple[float, float]]]:
    """Runs of points inside the frame, cut where the function jumps."""
    run: list[tuple[float, float]] = []
    for u, v in zip(x.tolist(), y.tolist(), strict=True):
        if not abs(v) <= top * 1.001 or (run and abs(v - run[-1][1]) > jump):
            if len(run) > 1:
                yield run
            run = []
        if abs(v) <= top * 1.001:
            run.append((u, v))
    if len(run) > 1:
        yield run


def flow(op: Primitive) -> str:
    """Inputs, operation and result above; the cotangents and what the rule reads below."""
    args, static = example(op)
    names = input_names(op) if op.differentiable else [f"x{i}" for i in range(len(args))]
    static = {k: v if isinstance(v, int | float | str | tuple | None) else "key" for k, v in static.items()}
    found = expressions(op, [True] * len(names), static) if op.differentiable else (None,) * len(names)
    height = 60 + 50 * len(names)
    middle = 20 + 25 * len(names)
    body = []
    for color in (INK, ORANGE):
        head = f'<marker id="{color[1:]}" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        body.append(f'<defs>{head}<path d="M0,0 L8,4 L0,8 z" fill="{color}"/></marker></defs>')
    body.append(f'<rect x="170" y="{middle - 22}" width="130" height="44" rx="6" fill="#eef3fa" stroke="{BLUE}"/>')
    body.append(label(235, middle + 5, op.name))
    for i, (name, c) in enumerate(zip(names, found, strict=True)):
        y = 45 + 50 * i
        body.append(label(60, y, name))
        body.append(arrow(75 + 4 * len(name), y - 4, 170, middle - 8, INK))
        if c is not None:
            body.append(label(60, y + 18, f"{name}_bar", ORANGE))
            body.append(arrow(170, middle + 10, 85 + 4 * len(name), y + 14, ORANGE))
    body += [arrow(300, middle - 8, 390, middle - 8, INK), label(402, middle - 4, "y", anchor="start")]
    if any(c is not None for c in found):
        body += [arrow(390, middle + 12, 300, middle + 12, ORANGE), label(402, middle + 16, "g", ORANGE, "start")]
        kept = ", ".join(residuals(found)) or "nothing"
        body.append(label(235, middle + 42, f"keeps {kept}", GREY))
    return svg(440, max(height, middle + 55), body, op.name)


def arrow(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{color}" marker-end="url(#{color[1:]})"/>'


def picture(name: str) -> str:
    op = REGISTRY[name]
    args, _ = example(op)
    alone = op.elementwise and len(args) == 1 and name not in ("cis", "conj", "re", "im", "stop_gradient")
    return curve(op) if alone else flow(op)


def files() -> dict[str, str]:
    """Every file of the reference by name."""
    found = {"README.md": index()}
    for name in REGISTRY:
        found[f"{name}.md"] = page(name)
        found[f"{name}.svg"] = picture(name)
    return found


def main() -> None:
    HERE.mkdir(exist_ok=True)
    fresh = files()
    for old in sorted(HERE.iterdir()):
        if old.name not in fresh:
            old.unlink()
    for name, content in fresh.items():
        (HERE / name).write_text(content, encoding="utf-8")
    print(f"{len(REGISTRY)} primitives: {HERE}")


if __name__ == "__main__":
    main()
