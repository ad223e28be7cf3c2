"""Attention on the unrolled picture: the wires from the encoder as wide as the weight they carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsl.system.kinds import named_axis
from dsl.system.system import System
from viz import svg, theme
from viz.compose import compose
from viz.drawing import Drawing
from viz.graph import Graph, Wire, build
from viz.numbering import place
from viz.plot import Frame
from viz.scene import Scene, Text
from viz.views.subject import is_run, system_of


def attention(
    run: Any, t: int | None = None, stream: str | None = None, *, sequence: int = 0, first: int = 0
) -> Drawing:
    """The unrolled cell with the weights that step `t` (default: the last) gives to each step it attends to, and the
    whole map of weights below.

    stream  the weights, a softmax over a time axis (default: the first there is)

    `.data`: `weights` (T, S), rows adding up to 1; a cell that attends once for a sequence has one row.
    Errors: ValueError for a spec, a cell without attention, no such step.
    """
    system = system_of(run)
    found = _weights(system)
    name = system.aliases.get(stream, stream) if stream is not None else next(iter(found), None)
    if name is None or name not in found:
        known = f"; it has {', '.join(found)}" if found else ""
        raise ValueError(f"{system.name} has no softmax over a time axis{' named ' + stream if stream else ''}{known}")
    if not is_run(run):
        raise ValueError(f"attention needs a run: viz.attention(model(...)); {system.name} has no numbers yet")
    axis = found[name]
    lengths = {a: int(np.asarray(n)[sequence]) for a, n in run.lengths.items()}
    axes = system.streams[name].axes
    value = np.asarray(run.value(name).data)[(slice(None),) * len(axes) + (sequence,)]
    value = value[tuple(slice(lengths[a]) for a in axes)]
    weights = np.moveaxis(value, axes.index(axis), -1).reshape(-1, lengths[axis])
    step = len(weights) - 1 if t is None else t
    if not 0 <= step < len(weights):
        raise ValueError(f"t={t}: the run attends at steps 0 to {len(weights) - 1}")
    title = f"{system.name}: {name} at step {step + first}"
    carry = _carriers(build(system), axis, name)
    each = step if len(axes) > 1 else None
    one = None if each is None else (each, frozenset(w.target for w in carry))
    picture = compose(system, lengths, keep=[step], first=first, title=title, one=one)
    _widen(picture.scene, carry, each, weights[step])
    place(picture.scene)
    svg.fit(picture.scene)
    _map(picture.scene, weights, axes, axis, step, first, name)
    return Drawing(picture.scene, {"weights": weights, "t": step})


def _weights(system: System) -> dict[str, str]:
    """Streams that are a softmax over a time axis, with that axis."""
    found = {}
    for name, root in system.equations.items():
        over = named_axis(root)
        if root.is_op("softmax") and over is not None and over in system.streams[name].axes:
            found[name] = over
    return found


def _carriers(graph: Graph, axis: str, name: str) -> list[Wire]:
    """The reads of the attended axis that the weights multiply, or all of them when they multiply nothing."""
    across = [w for w in graph.wires if graph.nodes[w.source].lane == axis and w.relation != "step"]
    weighed = {w.target for w in graph.wires if w.source == graph.home[name]}
    return [w for w in across if w.target in weighed] or across


def _widen(scene: Scene, carry: list[Wire], step: int | None, weights: Any) -> None:
    """Every wire that leaves a step of the attended axis for the attending one."""
    for piece in scene.pieces:
        wanted = [r for r in piece.reads if r.wire in carry and (step is None or r.target_step == step)]
        sources = {r.source_step for r in wanted if r.source_step is not None}
        if len(sources) != 1 or not (piece.tail or "-fan" in piece.id):
            continue
        s = sources.pop()
        if 0 <= s < len(weights):
            weight = float(weights[s])
            piece.width = round(0.8 + 8.0 * weight, 2)
            piece.classes = [*piece.classes, "hot", theme.ramp_class(weight)]
            piece.number = f"{weight:.2f}".replace("0.", ".", 1) if piece.tail else ""


def _map(scene: Scene, weights: Any, axes: Any, axis: str, step: int, first: int, name: str) -> None:
    x, y, _, h = scene.bounds
    rows, columns = weights.shape
    side = max(14.0, min(30.0, 420.0 / max(rows, columns)))
    top = y + h + 34
    left = x + svg.MARGIN + 40
    other = next((a for a in axes if a != axis), "")
    spans = ((first - 0.5, first + columns - 0.5), (first - 0.5, first + rows - 0.5))
    frame = Frame(left, top, side * columns, side * rows, *spans)
    scene.extra += frame.axes(axis, f"{name}: a row for each {other or 'sequence'}", rows=True)
    for r in range(rows):
        for c in range(columns):
            weight = float(weights[r, c])
            said = f"<title>{other}={r + first} {axis}={c + first}: {weight:.3f}</title>"
            at = (left + side * c, top + side * (rows - 1 - r))
            shade = theme.ramp_class(weight)
            scene.extra.append(svg.rect(*at, side, side, f"cell {shade}", 0, said))
            if side >= 26:
                label = theme.label(theme.number(round(weight, 2)))
                scene.extra.append(svg.text(at[0] + side / 2, at[1] + side / 2, label, 9.5, "middle", f"on {shade}"))
    mark = svg.rect(left, top + side * (rows - 1 - step), side * columns, side, "mark")
    scene.extra.append(f'<g class="net chosen" fill="none" stroke="currentColor">{mark}</g>')
    scene.texts += [Text(left + side * columns, top + side * rows + 44, theme.label(" "), 8)]
    svg.fit(scene)
    bx, by, bw, bh = scene.bounds
    scene.bounds = (bx, by, bw, max(bh, top + side * rows + 50 - by))
