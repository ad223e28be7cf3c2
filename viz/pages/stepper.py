"""Stepping through a computation and its backward pass, operation by operation, in one offline page.

Everything shown is computed here; the page only chooses what to show at a step, so that going forward and
back again gives the same page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from tinygrad_seq.derivative import Slot, argument_names, expressions
from tinygrad_seq.explain import latex, residuals
from tinygrad_seq.ops.elementwise import KINKS
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, lift, substitute
from viz import theme
from viz.pages import board as boards
from viz.pages.mathml import mathml
from viz.pages.page import Page, resource, shown, toolbar, write
from viz.rerun import of_run
from viz.trace import Op, Pass, Trace, of_function, of_loss
from viz.views.cell import equation_lines
from viz.views.subject import is_run

MOST_ROWS = 400  # operations listed in the table


def stepper(subject: Any, *args: Any, sequence: int = 0, title: str = "", **named: Any) -> Page:
    """A page that steps the tape forward and backward; `.save("step.html")`.

    subject   a loss on the tape; a function, called with `*args` and `**named` (its floating arguments become
              leaves under their names); or a run of a cell, whose first loss (else the sum of its output's last
              step) is computed again, one `sequence` of the batch
    title     of the page

    `.data`: `value` and `adjoint`, lists of arrays (None where the tape did not keep a value), `op` and `label` of
    every operation, `forward` and `backward` the operations in the order of stepping.
    Errors: TypeError for what is not on the tape, ValueError for a tape that was freed by backward().
    """
    trace = _trace(subject, args, sequence, named)
    done = trace.backward()
    drawn = trace.system is not None and bool(trace.places)
    board = boards.of_cell(trace) if drawn else boards.of_tape(trace)
    data = _page_data(trace, done, board)
    name = title or _title(trace, drawn)
    numbers = {
        "op": [op.name for op in trace.ops],
        "label": [op.label for op in trace.ops],
        "value": [op.value for op in trace.ops],
        "adjoint": [done.adjoints.get(k) for k in range(len(trace.ops))],
        "forward": np.array(data["forward"], dtype=int),
        "backward": np.array(data["backward"], dtype=int),
    }
    html = write(name, _body(trace, data, board, name), data, "stepper.js", resource("stepper.css"))
    return Page(name, html, numbers)


def _trace(subject: Any, args: tuple[Any, ...], sequence: int, named: Mapping[str, Any]) -> Trace:
    if is_run(subject):
        return of_run(subject, named.get("loss"), sequence)
    if hasattr(subject, "edge"):
        run = _run_of(subject)
        return of_run(*run, sequence) if run is not None else of_loss(subject)
    if callable(subject):
        return of_function(subject, args, named)
    return of_loss(subject)


def _run_of(loss: Any) -> tuple[Any, str] | None:
    """The run and the loss's name, when a loss is just that: `run.nll`, or its value a sequence of one."""
    from dsl.run.result import runs

    if loss.edge is None:
        return None
    node = loss.edge[0]
    below = {id(node), *(id(e[0]) for e in node.edges if e is not None and node.name == "mean")}
    for run in runs():
        for name in run.system.losses:
            value = run.value(name) if name in run else None
            if value is not None and value.edge is not None and id(value.edge[0]) in below and value.size == 1:
                slot = value.edge[1]
                if value.edge[0] is not node or slot == loss.edge[1]:
                    return run, name
    return None


def _title(trace: Trace, drawn: bool) -> str:
    name = trace.system.name if trace.system is not None else ""
    return f"Stepping through {name + ', ' if name else ''}{trace.title}"


# ---------------------------------------------------------------- what the page knows


def _page_data(trace: Trace, done: Pass, board: boards.Board) -> dict[str, Any]:
    forward = [k for k, op in enumerate(trace.ops) if not op.is_leaf]
    first_back = len(forward) + 2
    rules: dict[Any, int] = {}
    typeset: list[dict[str, Any]] = []
    titles = [boards.title(op) for op in trace.ops]
    equations = {name: n for n, (names, _) in enumerate(_lines(trace)) for name in names}
    ops = []
    for k, op in enumerate(trace.ops):
        key = (op.name, repr(sorted(op.static.items(), key=lambda i: i[0])), len(op.inputs)) if op.inputs else None
        if key is not None and key not in rules:
            rules[key] = len(typeset)
            typeset.append(_rule(op))
        value = _row(op.value, op)
        ops.append(
            {
                "name": op.name,
                "title": titles[k],
                "named": bool(op.label or op.equation),
                "value": shown(value),
                "short": _short(value, op),
                "rule": rules.get(key) if key is not None else None,
                "eq": equations.get(op.equation or ""),
                "els": board.nodes.get(k, []),
                "line": "" if trace.places else op.source,
                "ins": [
                    {
                        "to": source,
                        "title": titles[source] if source is not None else "constant",
                        "value": shown(given if source is None else _row(trace.ops[source].value, trace.ops[source])),
                    }
                    for source, given in zip(op.inputs, op.operands, strict=True)
                ],
                "adj": [],
            }
        )
    sent = _messages(trace, done, board, ops, first_back)
    return {
        "ops": ops,
        "rules": typeset,
        "forward": forward,
        "backward": done.order,
        "root": trace.root,
        "last": len(forward) + 1 + len(done.order),
        "sent": sent,
        "order": board.order,
    }


def _row(value: Any, op: Op) -> Any:
    """A value or adjoint of an operation; one of a cell without its batch axis of one."""
    of_cell = op.equation is not None or op.stream is not None
    drop = of_cell and isinstance(value, np.ndarray) and value.ndim > 1 and value.shape[0] == 1
    return value[0] if drop else value


def _short(value: Any, op: Op) -> str:
    """What fits into a box: the number, or the shape."""
    if value is None:
        return "not kept"
    return theme.number(float(np.real(value).reshape(()))) if np.size(value) == 1 else "×".join(map(str, op.shape))


def _messages(
    trace: Trace, done: Pass, board: boards.Board, ops: list[dict[str, Any]], first_back: int
) -> list[dict[str, Any]]:
    """Every message in order, with its size on the ramp; fills in how each adjoint grows."""
    norms = {link: float(np.linalg.norm(np.ravel(m))) for link, m in done.messages.items()}
    low, high = theme.ramp_range([v for v in norms.values() if v > 0 and np.isfinite(v)])
    sums: dict[int, Any] = {}
    sent: list[dict[str, Any]] = []

    def note(k: int, step: int) -> None:
        op, g = trace.ops[k], sums[k]
        row = _row(g, op)
        size = float(np.linalg.norm(np.ravel(g)))
        short = theme.number(float(np.real(row).reshape(()))) if np.size(row) == 1 else "‖" + theme.number(size) + "‖"
        ops[k]["adj"].append([step, shown(row), short])

    sums[trace.root] = done.adjoints[trace.root]
    note(trace.root, first_back - 1)
    for turn, k in enumerate(done.order):
        step = first_back + turn
        changed: dict[int, None] = {}
        for n, source in enumerate(trace.ops[k].inputs):
            message = done.messages.get((k, n))
            if message is None or source is None:
                continue
            sums[source] = message if source not in sums else sums[source] + message
            changed[source] = None
            x = theme.ramp_position(norms[k, n], low, high)
            sent.append(
                {
                    "op": k,
                    "place": n,
                    "to": source,
                    "step": step,
                    "ramp": int(theme.ramp_class(x)[1:]),
                    "width": theme.ramp_width(x),
                    "els": board.wires.get((k, n), []) + (board.wires.get((k, -1), []) if n == 0 else []),
                    "text": shown(_row(message, trace.ops[source])),
                }
            )
        for source in changed:
            note(source, step)
    return sent


def _rule(op: Op) -> dict[str, Any]:
    """A primitive's value and cotangents, typeset; empty for a node that is no primitive."""
    primitive = REGISTRY.get(op.name)
    if primitive is None or not primitive.differentiable:
        return {"forward": mathml(rf"y = \operatorname{{{_plain(op.name)}}}(\dots)"), "back": [None] * len(op.inputs)}
    static = dict(op.static)
    names = argument_names(primitive, len(op.inputs))
    slots = [lift(Slot("input", i, n)) for i, n in enumerate(names)]
    try:
        value = latex(Symbol.make(primitive, tuple(slots), tuple(sorted(static.items()))))
        cotangents = expressions(primitive, [k is not None for k in op.inputs], static)
        back = [None if c is None else _cotangent(slot, c) for slot, c in zip(slots, cotangents, strict=True)]
        kept = ", ".join(r for r in residuals(cotangents) if not r.startswith("shape_of"))
        forward = mathml(f"y = {value}")
    except (ValueError, TypeError, KeyError, AttributeError):  # an option that no symbol stands for
        return {"forward": mathml(rf"y = \operatorname{{{_plain(op.name)}}}(\dots)"), "back": [None] * len(op.inputs)}
    return {"forward": forward, "back": back, "names": names, "keeps": kept, "kinks": KINKS.get(op.name, "")}


def _cotangent(slot: Symbol, expression: Symbol) -> str:
    r"""`\bar{x} = ...`, with the result's own adjoint called \bar{y}."""
    mark = lift(Slot("g", 0, "g"))
    bar = lift(Slot("g", 0, "Y"))
    text = latex(substitute(expression, lambda s: bar if s is mark else None))
    return mathml(
        rf"\bar{{{latex(slot)}}} \;=\; " + re.sub(r"(?<![A-Za-z\\])Y(?![A-Za-z])", lambda _: r"\bar{y}", text)
    )


def _plain(name: str) -> str:
    return name.replace("_", r"\_")


def _lines(trace: Trace) -> list[tuple[list[str], str]]:
    """The cell's lines, each with the equations that it stands for (copies of one cell share theirs)."""
    found: dict[str, list[str]] = {}
    for name, line in equation_lines(trace.system) if trace.system is not None else ():
        found.setdefault(line, []).append(name)
    return [(names, line) for line, names in found.items()]


# ---------------------------------------------------------------- what the page shows


def _body(trace: Trace, data: Mapping[str, Any], board: boards.Board, name: str) -> str:
    lines = _lines(trace)
    equations = ""
    if lines:
        items = "".join(f'<li id="eq-{n}" class="code">{escape(line)}</li>' for n, (_, line) in enumerate(lines))
        equations = (
            f'<section class="card" aria-labelledby="eq-title"><h2 id="eq-title">Equations</h2>'
            f'<ul class="equations" id="equations">{items}</ul></section>'
        )
    total = len(data["forward"])
    legend = "".join(f'<i class="r{k}"></i>' for k in range(theme.RAMP))
    note = f'<p class="small">{escape(board.note)}</p>' if board.note else ""
    return f"""<main>
<h1>{escape(name)}</h1>
<p class="lead">{total} operations forward, then back: each sends its adjoint, by its own rule, to its inputs.</p>
{toolbar(data["last"])}
<div class="columns{" wide" if board.width > 900 else ""}"><div>
<div class="scroll" id="picture">{board.svg}</div>
<p class="legend" aria-hidden="true"><span>smallest ‖message‖</span>{legend}<span>largest, log scale</span></p>
{note}</div><aside aria-label="Current operation">
<section class="card" aria-labelledby="rule-title"><h2 id="rule-title">This operation</h2>
<div id="rule"></div></section>
{equations}
<section class="card" aria-labelledby="node-title"><h2 id="node-title">Chosen node</h2><div id="node"></div></section>
</aside></div>
{_table(trace, data)}
</main>"""


def _table(trace: Trace, data: Mapping[str, Any]) -> str:
    if len(trace.ops) > MOST_ROWS:
        return f'<p class="small">The table of all {len(trace.ops)} operations is left out.</p>'
    rows = "".join(
        f'<tr data-op="{k}"><td>{escape(op["title"])}</td>'
        f'<td>{escape(op["name"])}</td><td class="value"></td><td class="value"></td></tr>'
        for k, op in enumerate(data["ops"])
    )
    head = "".join(f'<th scope="col">{h}</th>' for h in ("node", "operation", "value", "adjoint"))
    return (
        f'<details id="tape"><summary>The tape as a table</summary><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></details>"
    )
