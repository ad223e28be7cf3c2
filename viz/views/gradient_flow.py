"""How far gradients reach: ‖∂L_t/∂h_k‖ for every pair of steps, as a map and as lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsl.system.system import System
from viz import theme
from viz.drawing import Drawing
from viz.flow import Flow
from viz.graph import Graph, build
from viz.jacobians import jacobians
from viz.numbers import Backward, Point, Values, loss_point
from viz.paths import crosses, start
from viz.plot import Frame, span
from viz.rerun import of_run
from viz.scene import Scene
from viz.svg import coordinate, rect, stroke, text
from viz.views.subject import is_run, system_of

MOST_LOSSES = 64
MOST_NUMBERS = 1 << 22  # of all Jacobians together
MOST_CELLS = 128  # columns drawn; .data always has all
SIDE = 420.0


def gradient_flow(
    run: Any,
    stream: str | None = None,
    loss: str | None = None,
    *,
    sequence: int = 0,
    first: int = 0,
    spectra: bool = True,
) -> Drawing:
    """The map of log₁₀‖∂L_t/∂h_k‖ over loss steps t and state steps k; below it the lines of three losses, and the
    singular values of the state's Jacobians over one step and over all, beside the bound Π‖∂h_s/∂h_{s−1}‖₂ (for
    h = f(W h + …), Π‖D_s W‖).

    stream  the state whose gradient is shown (default: the last state, the top copy of a stack)
    loss    a loss with a term at each step; a cell without one takes the sum of its output at step t
    spectra the Jacobians too, where the stream is a state of a cell over one axis and T·H² is below four million

    `.data`: `norm` (losses, T), `t` the loss steps (all of them up to 64, else 64 spread evenly), `k`, `log10`; with
    `spectra`, `direct` and `whole` (T, H), the singular values of ∂h_k/∂h_{k−1} and ∂h_T/∂h_k, largest first, and
    `bound` (T,), nan where other states or skips carry paths around it (viz.jacobians).
    Errors: ValueError for a spec (give a run), an unknown stream, a cell without states.
    """
    system = system_of(run)
    if not is_run(run):
        raise ValueError(f"gradient_flow needs a run: viz.gradient_flow(model(...)); {system.name} has no numbers yet")
    graph = build(system)
    name = system.aliases.get(stream, stream) if stream else None
    states = [k for k, n in graph.nodes.items() if n.kind == "state"]
    if name is not None and name not in graph.home:
        raise ValueError(f"{system.name} has no stream {stream}; it has {', '.join(states)}")
    if name is None and not states:
        raise ValueError(f"{system.name} has no state; name a stream: gradient_flow(run, 'x')")
    key = graph.home[name] if name is not None else states[-1]
    if not graph.nodes[key].axes:
        raise ValueError(f"{graph.nodes[key].stream or key} has no time axis; name a stream that has one")
    if crosses(graph):
        norm, steps, label = _across(run, system, graph, key, loss, sequence)
    else:
        norm, steps, label = _along(Backward(graph, Values(run, system, sequence)), key, loss)
    with np.errstate(divide="ignore"):
        data = {"norm": norm, "t": np.array(steps), "k": np.arange(norm.shape[1]), "log10": np.log10(norm)}
    if spectra and key in states and not crosses(graph):
        size = int(np.prod([int(d) for d in system.streams[key].shape], dtype=int))
        if norm.shape[1] * size**2 < MOST_NUMBERS:
            found = jacobians(run, system, key, sequence)
            data |= {"direct": found.direct, "whole": found.whole, "bound": found.bound}
    return Drawing(_draw(system.name, graph.nodes[key].stream or key, label, data, first), data)


def spread(length: int) -> list[int]:
    """Up to 64 loss steps, spread evenly."""
    return sorted({int(t) for t in np.linspace(0, length - 1, min(length, MOST_LOSSES)).round()})


def _along(backward: Backward, key: str, loss: str | None) -> tuple[Any, list[int], str]:
    """Cells over one axis: all losses in one sweep."""
    steps = spread(backward.length)
    seeds, label = _seeds(backward, steps, loss)
    sweep = backward.run(seeds, keep=key)
    norm = np.zeros((len(steps), backward.length))
    for k in range(backward.length):
        g = sweep.cotangents.get((key, k))
        if g is not None:
            norm[:, k] = np.linalg.norm(g.reshape(len(steps), -1), axis=1)
    return norm, steps, label


def _across(
    run: Any, system: System, graph: Graph, key: str, loss: str | None, sequence: int
) -> tuple[Any, list[int], str]:
    """Cells over several axes: the tape, once for each loss. A loss without steps is one row, step 0."""
    source, is_loss = start(graph, system, loss)
    stream = graph.nodes[source].stream or source
    lane = graph.nodes[source].lane
    trace = of_run(run, stream, sequence)
    flow = Flow(graph, trace)
    length = trace.lengths[graph.nodes[key].lane]
    steps = spread(trace.lengths[lane]) if lane and is_loss else [trace.lengths[lane] - 1 if lane else 0]
    norm = np.zeros((len(steps), length))
    for n, step in enumerate(steps):
        ops = flow.result(graph.nodes[source], step if lane else None)
        done = trace.backward({k: np.full(trace.ops[k].shape, graph.nodes[source].factor) for k in ops})
        for k in range(length):
            found = [done.adjoints[j] for j in flow.result(graph.nodes[key], k) if j in done.adjoints]
            norm[n, k] = np.sqrt(sum(float(np.linalg.norm(np.ravel(g))) ** 2 for g in found))
    return norm, steps, source if is_loss else f"Σ{stream}"


def _seeds(backward: Backward, steps: list[int], loss: str | None) -> tuple[dict[Point, Any], str]:
    graph, system = backward.graph, backward.graph.system
    seeds: dict[Point, Any] = {}
    if loss is not None or any(n.role == "loss" and n.axes for n in graph.nodes.values()):
        key = label = loss_point(graph, loss, 0)[0]
    else:
        output = next((system.aliases.get(o, o) for o in system.outputs), list(system.equations)[-1])
        key, label = graph.home[output], f"Σ{output}"
    for n, t in enumerate(steps):
        one = np.full(np.shape(backward.node_value(key, t)), graph.nodes[key].factor)
        g = np.zeros((len(steps), *one.shape))
        g[n] = one
        seeds[key, t] = g
    return seeds, label


def _draw(cell: str, stream: str, loss: str, data: dict[str, Any], first: int) -> Scene:
    norm, steps, length = data["norm"], data["t"], len(data["k"])
    title = f"{cell}: ‖∂{loss}[t] / ∂{stream}[k]‖"
    scene = Scene(cell, title)
    out = scene.extra
    good = norm[norm > 0]
    low, high = (float(good.min()), float(good.max())) if len(good) else (1.0, 1.0)
    low = max(low, high * 1e-12)
    x0, y0 = 64.0, 54.0
    out.append(text(x0, 20, theme.label(title), 13.5, "start"))
    grid = Frame(
        x0, y0, SIDE, SIDE * 0.62, (first - 0.5, first + length - 0.5), (first - 0.5, first + float(steps[-1]) + 0.5)
    )
    out += grid.axes("", "loss step t", rows=True)
    if not len(good):
        said = theme.label(f"0 everywhere: no gradient of {loss} reaches {stream}")
        out.append(text(x0 + SIDE / 2, y0 + grid.height / 2, said, 11.5, "middle", "muted"))
        scene.bounds = (0.0, 0.0, x0 + SIDE + 40, y0 + grid.height + 44)
        return scene
    _cells(out, grid, norm, steps, low, high, first)
    _scale(out, x0 + SIDE + 22, y0, low, high)
    lines = Frame(x0, y0 + SIDE * 0.62 + 56, SIDE, 150.0, grid.xs, span(np.array([low, high]), True), True)
    out += lines.axes("state step k", f"‖∂{loss}[t] / ∂{stream}[k]‖, {min(3, len(steps))} losses")
    k = [float(v) + first for v in data["k"]]
    chosen = sorted({len(steps) - 1, len(steps) // 2, len(steps) // 4})
    looks = (("net loss", ""), ("net state-b", "6 3"), ("net state-a", "2 2"))
    for n, row in enumerate(reversed(chosen)):
        classes, dash = looks[n]
        ys = [v if v >= low else 0.0 for v in norm[row]]
        out.append(lines.line(k, ys, classes, 2.0, dash))
        out.append(_key(x0 + SIDE + 22, lines.y + 12 + 20 * n, classes, dash, f"t = {int(steps[row]) + first}"))
    foot = lines.y + lines.height + 44
    if "direct" in data:
        foot = _spectra(out, stream, data, k, lines.xs, foot)
    scene.bounds = (0.0, 0.0, x0 + SIDE + (190 if "direct" in data else 110), foot)
    return scene


def _spectra(
    out: list[str], stream: str, data: dict[str, Any], k: list[float], xs: tuple[float, float], top: float
) -> float:
    """Singular values over one step and over all, and the bound; returns the foot of the plot."""
    h = stream.rpartition(".")[2]
    curves = (
        (data["whole"][:, 0], "net loss", "", 2.0, f"σ₁ of ∂{h}[T]/∂{h}[k]"),
        (data["bound"], "net skip", "2 3", 1.8, "bound Π‖·‖₂"),
        (data["direct"][:, 0], "net state-b", "6 3", 1.8, f"σ₁ of ∂{h}[k]/∂{h}[k−1]"),
        (data["direct"][:, -1], "net state-b", "2 2", 1.0, "its least"),
    )
    shown = [c for c in curves if _is_curve(c[0])]
    if not shown:  # a state that runs backwards in time has no way from step to step
        return top
    every = np.concatenate([c[0] for c in shown])
    every = every[np.isfinite(every) & (every > 0)]
    every = every[every > 1e-12 * every.max()]
    frame = Frame(64.0, top + 24, SIDE, 150.0, xs, span(every, True), True)
    out += frame.axes("k", "singular values of the state's Jacobians")
    for n, (values, classes, dash, width, said) in enumerate(shown):
        ys = [float(v) if v > 10 ** frame.ys[0] else 0.0 for v in values]
        out.append(frame.line(k, ys, classes, width, dash))
        out.append(_key(64.0 + SIDE + 22, frame.y + 12 + 20 * n, classes, dash, said))
    return frame.y + frame.height + 44


def _is_curve(values: Any) -> bool:
    """Whether there are two neighbours that a line can join."""
    there = np.isfinite(values) & (values > 0)
    return bool((there[1:] & there[:-1]).any())


def _cells(out: list[str], grid: Frame, norm: Any, steps: Any, low: float, high: float, first: int) -> None:
    rows, length = norm.shape
    stride = -(-length // MOST_CELLS)
    height = grid.height / max(1, rows)
    width = grid.width / length * stride
    exact = length <= 10
    for r in range(rows):
        y = grid.y + grid.height - (r + 1) * height
        for k in range(0, length, stride):
            value = float(norm[r, k : k + stride].max())
            if not value > 0:
                continue
            x = grid.x + k * grid.width / length
            shade = theme.ramp_class(theme.ramp_position(value, low, high))
            said = f"<title>t={int(steps[r]) + first} k={k + first}: {value:.3g}</title>"
            out.append(rect(x, y, width + 0.2, height + 0.2, f"cell {shade}", inside=said))  # no seams
            if exact:
                out.append(
                    text(x + width / 2, y + height / 2, theme.label(theme.number(value)), 9.5, "middle", f"on {shade}")
                )


def _scale(out: list[str], x: float, y: float, low: float, high: float) -> None:
    """The colour scale, each class with the size at which it begins; one colour where all sizes are one."""
    if theme.same(low, high):
        out.append(rect(x, y, 16, 18, f"cell r{theme.RAMP - 1}"))
        out.append(text(x + 22, y + 9, theme.label(f"= {theme.number(high)}"), 10.5, "start", "muted"))
        return
    for n in range(theme.RAMP):
        at = low * (high / low) ** (n / theme.RAMP)
        top = y + (theme.RAMP - 1 - n) * 18
        out.append(rect(x, top, 16, 18, f"cell r{n}"))
        out.append(text(x + 22, top + 9, theme.label(f"≥ {theme.number(at)}"), 10.5, "start", "muted"))


def _key(x: float, y: float, classes: str, dash: str, said: str) -> str:
    line = stroke(f"M{coordinate(x)} {coordinate(y)}h22", 2.0, dash)
    return f'<g class="{classes}">{line}</g>' + text(x + 28, y, theme.label(said), 10.5, "start", "muted")
