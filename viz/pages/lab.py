"""Vanishing and exploding gradients, seen: one report on a cell beside others, on the user's data or on noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

import dsl
from dsl.text.diagnostics import CellError
from viz import svg, theme
from viz.drawing import Drawing
from viz.graph import build
from viz.jacobians import Jacobians, jacobians
from viz.pages.feed import Subject, run_of, subject_of, taught
from viz.pages.page import Page, write
from viz.pages.sweep import sweep
from viz.plot import Frame, span
from viz.scene import Scene
from viz.views.gates import gates
from viz.views.gradient_flow import gradient_flow
from viz.views.heat import Heat, heat
from viz.views.units import units

LOOKS = (("net loss", ""), ("net state-b", "7 3"), ("net state-a", "2 2"), ("net skip", "9 3 2 3"), ("net", "4 4"))


STYLE = (
    ".figures{display:flex;flex-wrap:wrap;gap:4px 20px}figure{margin:.6rem 0 1.2rem;max-width:100%;min-width:0}"
    ".scroll{border:0}"
)


def lab(
    subject: Any,
    against: Sequence[Any] = (),
    data: Mapping[str, Any] | Any = None,
    *,
    steps: int = 32,
    hidden: int = 16,
    seed: int = 0,
    updates: int = 200,
    sweeps: bool = True,
) -> Page:
    """A report on how gradients travel through a cell; `.save("lab.html")`.

    subject   a cell's name, a `.cell` file ("my.cell:Skip"), a spec, a model, or a model's file ("m.safetensors")
    against   further ones to set beside it (four at most)
    data      arrays by stream (T, B, features), or a `dsl.Text`, on which a cell without symbols becomes the layer of a
              character model; missing streams are drawn at random
    steps     of random data, and the most steps of given data that are looked at
    hidden    units, for cells that leave `H` open
    updates   of the parameters on a text, before its gates and units are looked at; a model is looked at as it is
    sweeps    add the table of activation × initialisation × gain

    `.data[cell]`: `norm`, `t`, `k` of its gradient flow; `direct`, `whole` singular values, `bound` (see
    `viz.jacobians`), `state`; on a text `gates` and `units`, the `.data` of those views, else `gate`, a gate's values;
    or `note` where something cannot be computed; `.data["sweep"]` the table.
    Errors: CellError for cells that do not resolve; ValueError for data that fits no stream, or too many cells.
    """
    if len(against) + 1 > len(LOOKS):
        raise ValueError(f"lab of {len(against) + 1} cells: {len(LOOKS)} can be told apart")
    if steps < 2:
        raise ValueError(f"steps={steps}: gradients travel over two steps at least")
    subjects = [subject_of(c, data, hidden, seed) for c in (subject, *against)]
    report = _Report(data)
    for one in subjects:
        report.look(one, run_of(one, data, steps, seed), updates, seed)
    body = [
        f"<h1>{escape(subjects[0].name)}: how far gradients reach</h1>",
        f'<p class="lead">{escape(_said(subjects, data, steps, hidden))}</p>',
        *report.sections(),
    ]
    numbers = report.numbers
    if sweeps:
        table = sweep(steps, min(hidden, 32), seed)
        numbers["sweep"] = table.data
        body += ["<h2>Activation, initialisation, gain</h2>", table.words, _figure(table.drawing, "sweep")]
    notes = [f"{n}: {m['note']}" for n, m in numbers.items() if isinstance(m, dict) and "note" in m]
    body += [f'<p class="small">Not shown: {escape(n)}</p>' for n in notes]
    html = write(f"{subjects[0].name}: gradient lab", f"<main>{''.join(body)}</main>", style=STYLE)
    return Page(f"Gradient lab: {', '.join(s.name for s in subjects)}", html, numbers)


@dataclass
class _Report:
    """What was seen of each cell: figures by section, numbers by cell."""

    data: Any
    flows: list[str] = field(default_factory=list)
    spectra: list[tuple[str, Jacobians]] = field(default_factory=list)
    gated: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def look(self, one: Subject, run: Any, updates: int, seed: int) -> None:
        """One cell's gradient flow, singular values and gates."""
        name = one.name if one.name not in self.numbers else f"{one.name} ({len(self.numbers)})"
        mine = self.numbers[name] = {}
        flow = _try(lambda: gradient_flow(run, spectra=False), mine)
        if flow is not None:
            mine |= flow.data
            self.flows.append(_figure(flow, name))
        result = _try(lambda: jacobians(run, run.system), mine)
        if result is not None:
            mine |= {"state": result.state, "direct": result.direct, "whole": result.whole, "bound": result.bound}
            self.spectra.append((name, result))
        if isinstance(self.data, dsl.Text):
            learnt = taught(one, self.data, updates, seed)
            self.gated.append(_heading(name, f", after {updates} updates on this text" if learnt else ""))
            self.gated += _on_text(one.model, self.data, mine)
        elif (picture := _try(lambda: _gate(run, name), mine)) is not None:
            mine["gate"] = picture.data["gate"]
            self.gated.append(_figure(picture, name))

    def sections(self) -> list[str]:
        on_text = isinstance(self.data, dsl.Text)
        figures = f'<div class="figures">{"".join(self.flows)}</div>'
        body = ["<h2>‖∂L/∂h‖, from every loss to every step</h2>", figures]
        if self.spectra:
            body += ["<h2>Singular values of the Jacobians</h2>", _explained(), _figure(compared(self.spectra), "all")]
        if self.gated:
            about = "What gates and units do on the text" if on_text else "Gates over time"
            body += [f"<h2>{about}</h2>", f"<div{'' if on_text else ' class=figures'}>{''.join(self.gated)}</div>"]
        return body


def _try(make: Any, notes: dict[str, Any]) -> Any:
    try:
        return make()
    except (ValueError, CellError) as error:
        notes["note"] = str(error).splitlines()[0]
        return None


def _watched(system: Any) -> str:
    """The first gate, else the last state, over one time axis. Errors: ValueError for a cell with neither."""
    nodes = [n for n in build(system).nodes.values() if n.equation and len(n.axes) == 1]
    gate = next((n for n in nodes if n.role == "gate"), None)
    node = gate or next((n for n in reversed(nodes) if n.kind == "state"), None)
    if node is None or node.equation is None:
        raise ValueError(f"{system.name} has neither a gate nor a state over one time axis")
    return node.equation


def _on_text(model: Any, data: Any, mine: dict[str, Any]) -> list[str]:
    """A gate over the text's beginning, and more of the text coloured by units."""
    views = {
        "gates": lambda: gates(model, data.ids[:100], _watched(model.system)),
        "units": lambda: units(model, data.ids[:384]),
    }
    out = []
    for view, make in views.items():
        if (picture := _try(make, mine)) is not None:
            mine[view] = picture.data
            out.append(_figure(picture, f"{model.system.name}-{view}"))
    return out


def _gate(run: Any, name: str) -> Drawing:
    """A gate, or a state, of a run over its steps: units down, time along."""
    stream = _watched(run.system)
    value = np.asarray(run.value(stream).data)[:, 0]
    value = np.abs(value) if np.iscomplexobj(value) else value
    value = value.reshape(len(value), -1)
    drawing = heat({f"{name}, {stream}": Heat(value.T, y="unit", x="step")}, side=min(12.0, 360 / max(value.shape)))
    return Drawing(drawing.scene, {"gate": value})


def _heading(name: str, more: str) -> str:
    return f"<h3>{escape(name)}{escape(more)}</h3>"


def _said(subjects: Sequence[Subject], data: Any, steps: int, hidden: int) -> str:
    beside = f" beside {', '.join(s.name for s in subjects[1:])}" if len(subjects) > 1 else ""
    kind = "noise" if data is None else "the given text" if isinstance(data, dsl.Text) else "the given data"
    how = "as trained" if all(s.trained for s in subjects) else f"freshly initialised, {hidden} units"
    return f"{subjects[0].name}{beside}, {how}, up to {steps} steps of {kind}."


def _explained() -> str:
    return (
        '<p class="small">Left: what one step does, ∂h<sub>t</sub>/∂h<sub>t−1</sub>, its largest (line) and smallest '
        "(thin) singular value. Right: what all steps from k to the last do together, ∂h<sub>T</sub>/∂h<sub>k</sub>, "
        "with the bound Π‖∂h<sub>s</sub>/∂h<sub>s−1</sub>‖ (for h = f(W h + …), Π‖D<sub>s</sub> W‖) dotted, where one "
        "state carries everything.</p>"
    )


def _figure(drawing: Drawing, name: str) -> str:
    prefix = f"{drawing.scene.name}-{name}-"
    return f'<figure><div class="scroll">{svg.inline(drawing.scene, prefix=prefix)}</div></figure>'


def compared(found: Sequence[tuple[str, Jacobians]]) -> Drawing:
    """One step's singular values and all steps' together, every cell in both."""
    scene = Scene("lab", "Singular values of one step's Jacobian and of all steps together")
    ones = np.concatenate([j.direct[np.isfinite(j.direct)] for _, j in found])
    wholes = np.concatenate([np.concatenate([j.whole[:, 0], j.bound[np.isfinite(j.bound)]]) for _, j in found])
    wholes = wholes[wholes > max(1e-12 * wholes.max(initial=0.0), 0.0)]
    last = max(len(j.direct) for _, j in found) - 1
    ones = ones[ones > 1e-9]
    left = Frame(64, 40, 380, 240, (0.0, float(last)), span(ones, True), True)
    right = Frame(540, 40, 380, 240, (0.0, float(last)), span(wholes, True), True)
    out = scene.extra
    out += left.axes("t", (*theme.label("singular values of ∂h", "t"), *theme.label("/∂h", "t−1")))
    out += right.axes("k", (*theme.label("largest singular value of ∂h", "T"), *theme.label("/∂h", "k")))
    for n, (name, j) in enumerate(found):
        classes, dash = LOOKS[n]
        steps = [float(k) for k in range(len(j.direct))]
        out.append(left.line(steps, _inside(j.direct[:, 0], left), classes, 2.0, dash))
        out.append(left.line(steps, _inside(j.direct[:, -1], left), classes, 1.0, dash))
        out.append(right.line(steps, _inside(j.whole[:, 0], right), classes, 2.0, dash))
        if np.isfinite(j.bound).any():
            out.append(right.line(steps, _inside(j.bound, right), classes, 1.4, "1 3"))
        y = 60.0 + 20 * n
        line = svg.stroke(f"M944 {svg.coordinate(y)}h26", 2.0, dash)
        out.append(f'<g class="{classes}">{line}</g>')
        out.append(svg.text(978, y, theme.label(f"{name}, {j.state.rpartition('.')[2]}"), 11, "start"))
    scene.bounds = (0.0, 0.0, 1140.0, 326.0)
    return Drawing(scene)


def _inside(values: Any, frame: Frame) -> list[float]:
    """Values below the frame's foot leave a gap instead of a line through the caption."""
    return [float(v) if v > 10 ** frame.ys[0] else 0.0 for v in values]
