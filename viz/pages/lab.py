"""Vanishing and exploding gradients, seen: one report on a cell beside others, on the user's data or on noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import dsl
from dsl.spec import Spec
from dsl.text.diagnostics import CellError
from viz import svg, theme
from viz.drawing import Drawing
from viz.example import derived
from viz.jacobians import Jacobians, jacobians
from viz.pages.page import Page, write
from viz.pages.sweep import sweep
from viz.plot import Frame, span
from viz.scene import Scene
from viz.views.gates import gates
from viz.views.gradient_flow import gradient_flow

LOOKS = (("net loss", ""), ("net state-b", "7 3"), ("net state-a", "2 2"), ("net skip", "9 3 2 3"), ("net", "4 4"))


def lab(
    subject: Any,
    against: Sequence[Any] = (),
    data: Mapping[str, Any] | Any = None,
    *,
    steps: int = 32,
    hidden: int = 16,
    seed: int = 0,
    sweeps: bool = True,
) -> Page:
    """A report on how gradients travel through a cell; `.save("lab.html")`.

    subject   a cell's name, a `.cell` file ("my.cell:Skip"), or a spec
    against   further cells to set beside it (four at most)
    data      arrays by stream (T, B, features), or a `dsl.Text`; missing streams are drawn at random
    steps     of random data, and the most steps of given data that are looked at
    hidden    units, for cells that leave `H` open
    sweeps    add the table of activation × initialisation × gain

    `.data[cell]`: `norm`, `t`, `k` of its gradient flow; `direct`, `whole` singular values, `bound` (see
    `viz.jacobians`), `state`, or `note` where they cannot be computed; `.data["sweep"]` the table.
    Errors: CellError for cells that do not resolve; ValueError for data that fits no stream, or too many cells.
    """
    specs = [_spec(c) for c in (subject, *against)]
    if len(specs) > len(LOOKS):
        raise ValueError(f"lab of {len(specs)} cells: {len(LOOKS)} can be told apart")
    if steps < 2:
        raise ValueError(f"steps={steps}: gradients travel over two steps at least")
    numbers: dict[str, Any] = {}
    flows: list[str] = []
    found: list[tuple[str, Jacobians]] = []
    texts: list[str] = []
    for spec in specs:
        name = spec.name if spec.name not in numbers else f"{spec.name} ({len(numbers)})"
        run = _run(spec, data, steps, hidden, seed)
        mine: dict[str, Any] = {}
        flow = _try(lambda run=run: gradient_flow(run, spectra=False), mine)
        if flow is not None:
            mine |= flow.data
            flows.append(_figure(flow))
        result = _try(lambda run=run, spec=spec: jacobians(run, run.system), mine)
        if result is not None:
            mine |= {"state": result.state, "direct": result.direct, "whole": result.whole, "bound": result.bound}
            found.append((name, result))
        if isinstance(data, dsl.Text):
            picture = _try(lambda run=run: gates(run.model, data.ids[: min(steps * 2, 120)]), {})
            texts += [] if picture is None else [_figure(picture)]
        numbers[name] = mine
    body = [
        f"<h1>{escape(specs[0].name)}: how far gradients reach</h1>",
        f'<p class="lead">{escape(_said(specs, data, steps, hidden))}</p>',
        "<h2>∂L/∂h, from every loss to every step</h2>",
        f'<div class="figures">{"".join(flows)}</div>',
    ]
    if found:
        body += ["<h2>Singular values of the Jacobians</h2>", _explained(), *(_figure(d) for d in _spectra(found))]
    body += ["<h2>What units do on the text</h2>", *texts] if texts else []
    if sweeps:
        table = sweep(steps, min(hidden, 32), seed)
        numbers["sweep"] = table.data
        body += ["<h2>Activation, initialisation, gain</h2>", table.words, _figure(table.drawing)]
    notes = [f"{n}: {m['note']}" for n, m in numbers.items() if isinstance(m, dict) and "note" in m]
    body += [f'<p class="small">{escape(n)}</p>' for n in notes]
    style = ".figures{display:flex;flex-wrap:wrap;gap:4px 20px}figure{margin:.6rem 0 1.2rem}.scroll{border:0}"
    html = write(f"{specs[0].name}: gradient lab", f"<main>{''.join(body)}</main>", style=style)
    return Page(f"Gradient lab: {', '.join(s.name for s in specs)}", html, numbers)


def _spec(cell: Any) -> Spec:
    if isinstance(cell, Spec):
        return cell
    if isinstance(cell, str | Path):
        return dsl.load(str(cell))
    raise TypeError(f"lab of {type(cell).__name__}: give a cell's name, a .cell file or a spec")


def _try(make: Any, notes: dict[str, Any]) -> Any:
    try:
        return make()
    except (ValueError, CellError) as error:
        notes["note"] = str(error).splitlines()[0]
        return None


def _run(spec: Spec, data: Any, steps: int, hidden: int, seed: int) -> Any:
    """A run in float64 on the given data, cut to `steps`, the rest of the streams at random."""
    system = spec.system
    given = _given(spec, data, steps)
    fitting = {n: v for n, v in given.items() if np.asarray(v).dtype.kind in "fiu"}
    open_h = "H" in system.arguments and system.arguments["H"] is None
    arguments: dict[str, Any] = {"H": hidden} if open_h else {}
    for name, stream in system.streams.items():
        if name not in fitting:
            continue
        value = np.asarray(fitting[name])
        ends = value.shape[value.ndim - len(stream.shape) :] if stream.dtype != "category" else ()
        for dim, size in zip(stream.shape, ends, strict=False):
            if str(dim) in system.arguments and system.arguments[str(dim)] is None:
                arguments.setdefault(str(dim), int(size))
        if stream.dtype == "category" and str(stream.categories) in system.arguments:
            most = len(data.symbols) if isinstance(data, dsl.Text) else int(value.max()) + 1
            arguments.setdefault(str(stream.categories), most)
    for name, value in system.arguments.items():
        if value is None:
            arguments.setdefault(name, 8)
    model = spec.build(seed=seed, dtype="float64", **arguments)
    rng = np.random.default_rng(seed)
    streams: dict[str, Any] = {}
    for name, stream in model.system.streams.items():
        if stream.kind not in ("input", "draw"):
            continue
        if name in given:
            streams[name] = given[name]
            continue
        axes = model.system.axes
        lead = [steps if axes[a].length is None else derived(model.system, a, steps) for a in stream.axes] + [1]
        category = stream.dtype == "category"
        shape = [*lead, *map(int, stream.shape)]
        most = int(stream.categories) if stream.categories is not None else 0
        streams[name] = rng.integers(0, most, lead) if category else rng.standard_normal(shape)
    return model(engine="tape", **streams)


def _given(spec: Spec, data: Any, steps: int) -> dict[str, Any]:
    """The part of the user's data that this cell reads; one real input takes the one real array there is."""
    system = spec.system
    wanted = {n: s for n, s in system.streams.items() if s.kind in ("input", "draw")}
    if data is None:
        return {}
    if isinstance(data, dsl.Text):
        name = next((n for n, s in wanted.items() if s.dtype == "category"), None)
        return {} if name is None else {name: np.asarray(data.ids)[:steps, None]}
    if not isinstance(data, Mapping):
        raise TypeError(f"data: arrays by stream or a dsl.Text, not {type(data).__name__}")
    out = {n: np.asarray(v)[:steps] for n, v in data.items() if n in wanted}
    if not out:
        real = [n for n, s in wanted.items() if s.dtype == "real"]
        arrays = [v for v in data.values() if np.asarray(v).dtype.kind == "f"]
        if len(real) != 1 or len(arrays) != 1:
            raise ValueError(f"{spec.name} reads {', '.join(wanted)}; the data has {', '.join(data)}")
        out = {real[0]: np.asarray(arrays[0])[:steps]}
    return {n: v[:, None] if v.ndim == len(wanted[n].axes) + len(wanted[n].shape) else v for n, v in out.items()}


def _said(specs: Sequence[Spec], data: Any, steps: int, hidden: int) -> str:
    beside = f" beside {', '.join(s.name for s in specs[1:])}" if len(specs) > 1 else ""
    kind = "noise" if data is None else "the given text" if isinstance(data, dsl.Text) else "the given data"
    return f"{specs[0].name}{beside}, freshly initialised, {hidden} units, up to {steps} steps of {kind}."


def _explained() -> str:
    return (
        '<p class="small">Left: what one step does, ∂h_t/∂h_{t−1}, its largest (line) and '
        "smallest (thin) singular value. "
        "Right: what all steps from k to the last do together, ∂h_T/∂h_k, with the bound Π‖∂h_s/∂h_{s−1}‖ "
        "(for h = f(W h + …), ‖D_s W‖) dotted, where one state carries everything.</p>"
    )


def _figure(drawing: Drawing) -> str:
    return f'<figure><div class="scroll">{svg.inline(drawing.scene)}</div></figure>'


def _spectra(found: Sequence[tuple[str, Jacobians]]) -> list[Drawing]:
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
    out += left.axes("t", "singular values of ∂h_t/∂h_{t−1}")
    out += right.axes("k", "largest singular value of ∂h_T/∂h_k")
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
    return [Drawing(scene)]


def _inside(values: Any, frame: Frame) -> list[float]:
    """Values below the frame's foot leave a gap instead of a line through the caption."""
    return [float(v) if v > 10 ** frame.ys[0] else 0.0 for v in values]
