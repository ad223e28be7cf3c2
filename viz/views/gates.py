"""Gates over a text: characters × units, and how much each character moves the logit of what comes next."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsl.system.system import System
from viz import theme
from viz.drawing import Drawing
from viz.graph import build
from viz.rerun import of_run
from viz.scene import Scene
from viz.svg import rect, text
from viz.trace import Trace
from viz.views.subject import system_of
from viz.views.symbols import symbols_of, target_of, tooltip, visible

MOST_UNITS = 40
MOST_STEPS = 240
CELL = 15.0


def gates(model: Any, data: Any, gate: str | None = None, *, at: int | None = None, loss: str | None = None) -> Drawing:
    """A gate's units over a text; below it ‖∂logit/∂x_k‖ of every character, which is also said on hover.

    model  a language model: a cell with a categorical draw
    data   a text (models fitted to a text know its symbols), or integers (T,)
    gate   any stream of the cell with units, "rnn.0.f" (default: the first gate that is drawn)
    at     the position whose logit is followed back (default: the last)

    `.data`: `value` (T, units), `unit` which of them are drawn (the most varying 40), `norm` (T,) the sizes
    ‖∂logit/∂x_k‖ by character, `logit` the symbol's number, `at`. Errors: ValueError for no such stream, a position
    outside the text, a text of more than 240 characters, a cell without a categorical draw.
    """
    system = system_of(model)
    target = target_of(system, "gates")
    ids, symbols = symbols_of(model, data)
    if not 0 < len(ids) <= MOST_STEPS:
        raise ValueError(f"gates on {len(ids)} characters: 1 to {MOST_STEPS} can be read at a glance")
    at = len(ids) - 1 if at is None else at
    if not 0 <= at < len(ids):
        raise ValueError(f"at={at}: the text has positions 0 to {len(ids) - 1}")
    name = _gate(system, gate)
    run = model(**{target: ids[:, None]}, engine="tape")
    value = np.asarray(run.value(name).data)[:, 0]
    if value.ndim != 2:
        raise ValueError(f"{name} has shape {value.shape[1:]}: a stream of units is drawn")
    spread = value.std(axis=0)
    units = np.sort(np.argsort(-spread, kind="stable")[:MOST_UNITS])
    norm = _influence(of_run(run, loss), ids, at)
    shown = {"value": value, "unit": units, "norm": norm, "logit": int(ids[at]), "at": at}
    return Drawing(_draw(system.name, name, shown, [symbols[i] for i in ids]), shown)


def _gate(system: System, gate: str | None) -> str:
    if gate is None:
        found = next((n.equation for n in build(system).nodes.values() if n.role == "gate" and n.equation), None)
        if found is None:
            raise ValueError(f"{system.name} has no gate; name a stream: gates(model, text, 'h')")
        return found
    return over_time(system, gate)


def over_time(system: System, name: str) -> str:
    """A stream on one time axis, under its own name. Errors: ValueError for any other, naming those there are."""
    own = system.aliases.get(name, name)
    stream = system.streams.get(own)
    if stream is None or stream.shared or len(stream.axes) != 1:
        streams = [n for n, s in system.streams.items() if len(s.axes) == 1 and s.kind == "equation"]
        raise ValueError(f"{system.name} has no stream {name} on one time axis; it has {', '.join(streams)}")
    return own


def _influence(trace: Trace, ids: Any, at: int) -> Any:
    """‖∂logit[ids[at]] at `at` / ∂x‖ for every symbol read; x is its one-hot vector, so the derivative is what the
    products with it send back. A symbol is told from the step that reads it, which is often the next one."""
    read = [k for k, op in enumerate(trace.ops) if op.name == "cross_entropy" and at in op.at.values()]
    source = trace.ops[read[0]].inputs[0] if read else None
    if source is None:
        raise ValueError(f"{trace.title} has no cross-entropy at step {at}")
    seed = np.zeros(trace.ops[source].shape)
    seed[..., int(ids[at])] = 1.0
    done = trace.backward({source: seed})
    sums: dict[int, Any] = {}
    symbols: dict[int, int] = {}
    for k in done.order:
        op = trace.ops[k]
        if op.name not in ("lookup", "matvec") or op.inputs[1] is not None or not op.at:
            continue
        step = next(iter(op.at.values()))
        back = done.adjoints[k] @ np.asarray(op.operands[0])
        sums[step] = back if step not in sums else sums[step] + back
        vector = np.ravel(np.asarray(op.operands[1]))
        symbols[step] = int(vector[0]) if op.name == "lookup" else int(np.argmax(vector)) if vector.any() else -1
    lag = 0 if all(symbols[k] == ids[k] for k in symbols) else 1
    norm = np.zeros(len(ids))
    for step, back in sums.items():
        if step >= lag:
            norm[step - lag] = float(np.linalg.norm(np.ravel(back)))
    return norm


def _draw(cell: str, name: str, data: dict[str, Any], letters: list[str]) -> Scene:
    value, units, norm, at = data["value"], data["unit"], data["norm"], data["at"]
    shown = [visible(c) for c in letters]
    scene = Scene(cell, f"{cell}: {name} on {len(letters)} characters")
    out = scene.extra
    x0, y0 = 92.0, 78.0
    out.append(text(14, 20, theme.label(scene.title), 13.5, "start"))
    out.append(text(14, 40, theme.label(f"logit of {shown[at]} at {at}; hover a character"), 11, "start", "muted"))
    low, high = float(value.min()), float(value.max())
    scale = (high - low) or 1.0
    good = norm[norm > 0]
    ends = (float(good.min()), float(good.max())) if len(good) else (1.0, 1.0)
    for k, letter in enumerate(shown):
        x = x0 + CELL * k
        said = f"{letter!r} at {k}: ‖∂logit/∂x‖ = {theme.number(float(norm[k]))}"
        shade = theme.ramp_class(theme.ramp_position(float(norm[k]), *ends)) if norm[k] > 0 else "none"
        column = [rect(x, y0 - 22, CELL, 16, "surface", 0, tooltip(said))]
        column.append(text(x + CELL / 2, y0 - 13, theme.label(letter), 12))
        if shade != "none":
            column.append(rect(x, y0, CELL, 12, f"cell {shade}", 0, tooltip(said)))
        for n, unit in enumerate(units):
            place = (float(value[k, unit]) - low) / scale
            hint = tooltip(f"unit {unit} at {k}: {value[k, unit]:.3g}")
            column.append(rect(x, y0 + 20 + 9 * n, CELL, 9, f"cell {theme.ramp_class(place)}", 0, hint))
        out.append(f'<g id="x{k}" class="{"loss" if k == at else "letter"}">{"".join(column)}</g>')
    out.append(text(x0 - 8, y0 + 6, theme.label("‖∂logit/∂x‖"), 10.5, "end", "muted"))
    out.append(text(x0 - 8, y0 + 20 + 4.5 * len(units), theme.label(f"{len(units)} units"), 10.5, "end", "muted"))
    bottom = y0 + 20 + 9 * len(units) + 26
    for r in range(theme.RAMP):
        out.append(rect(x0 + 34 * r, bottom, 34, 10, f"cell r{r}"))
    out.append(text(x0 - 8, bottom + 5, theme.label(f"{low:.2g}"), 10.5, "end", "muted"))
    out.append(text(x0 + 34 * theme.RAMP + 8, bottom + 5, theme.label(f"{high:.2g}"), 10.5, "start", "muted"))
    scene.bounds = (0.0, 0.0, max(x0 + CELL * len(letters) + 24, 460.0), bottom + 28)
    return scene
