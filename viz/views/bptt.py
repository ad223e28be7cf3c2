"""Backpropagation through time on the unrolled picture: the paths from a loss back to one value.

Nothing moves against `unrolled`: the paths are recoloured and widened by the size of the gradient that
flows along them, every edge has its number, and everything else fades.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dsl.system.system import System
from viz import svg, theme
from viz.compose import Picture, compose
from viz.drawing import Drawing
from viz.flow import Edge
from viz.graph import Wire
from viz.numbering import place
from viz.paths import Gradients, Spot
from viz.question import Question, ask
from viz.scene import Piece, Scene, Text
from viz.views.subject import base_axes, is_run, system_of


def bptt(
    run: Any,
    loss: int | str | None = None,
    to: str | None = None,
    weight: str = "grad",
    *,
    sequence: int = 0,
    first: int = 0,
    T: int | None = None,
) -> Drawing:
    """The paths from the loss at one step back to `to`, with the gradient on every edge.

    run       a run; a spec draws the structure and says that gradients are not computed yet
    loss      the step of the loss's term (default: the last), or "nll[12]"; a cell without a loss takes
              the sum of its output at that step; a loss without steps has none
    to        "h[3]": a stream at a step (default: the state that lies farthest back), or a parameter "W": its
              gradient's share from every step
    weight    "grad": ‖∂L/∂·‖₂ of what flows along the edge; "jacobian": ‖∂target/∂source‖₂ of the edge
    sequence  which sequence of the batch
    first     the index written at the first step

    `.data` holds, for each drawn edge, `source`, `source_step` (-1: none), `target`, `target_step`, `socket` and
    `value`; `printed` every number as it stands in the picture (a rail's is the sum of what runs along it) and
    `printed_on` the piece it stands on; `gradient` the array ∂L/∂to and `norm` its size; for a parameter
    `shares`, its gradient from each of `steps`.
    Errors: ValueError for a step outside the run, an unknown name, or a loss that does not depend on `to`.
    """
    if weight not in ("grad", "jacobian"):
        raise ValueError(f'weight={weight!r}: "grad" or "jacobian"')
    system = system_of(run)
    if not is_run(run):
        return _structure(system, T, first)
    asked = ask(run, system, loss, to, sequence, first)
    return draw(asked, asked.found.between(asked.target, asked.at, asked.parameter), weight, first)


def draw(
    asked: Question,
    on: dict[Edge, None],
    weight: str = "grad",
    first: int = 0,
    bars: bool = True,
    below: Callable[[Scene], None] | None = None,
) -> Drawing:
    """The unrolled picture with the edges `on` coloured and numbered; `on` may be a part of the paths. `bars` below
    it are a parameter's shares; `below` draws something else there, before the caption."""
    found = asked.found
    picture = compose(asked.system, found.lengths, keep=asked.kept, near=asked.near, first=first)
    numbers = {edge: _size(found, edge, weight) for edge in on}
    printed = _colour(picture.scene, found, on, numbers, weight, (asked.target, asked.at))
    data = _data(numbers)
    data["printed_on"] = np.array([p for p, _ in printed])
    data["printed"] = np.array([v for _, v in printed], dtype=float)
    if below is not None:
        below(picture.scene)
    _caption(picture, asked, data, weight, first, bars)
    place(picture.scene)
    svg.fit(picture.scene)
    return Drawing(picture.scene, data)


def _structure(system: System, T: int | None, first: int) -> Drawing:
    picture = compose(system, {a: T for a in base_axes(system) if T is not None}, first=first)
    _, y, _, h = picture.scene.bounds
    picture.scene.title = f"{system.name}: gradients not computed yet"
    picture.scene.texts.append(
        Text(0.0, y + h - 4, theme.label("gradients not computed yet: give a run, `viz.bptt(model(x=...), ...)`"), 12)
    )
    svg.fit(picture.scene)
    return Drawing(picture.scene)


def _size(found: Gradients, edge: Edge, weight: str) -> float:
    if weight == "grad":
        return float(np.linalg.norm(np.ravel(found.messages[edge])))
    return found.jacobian(edge)


def _edges(piece: Piece, on: dict[Edge, None], by_target: dict[tuple[Wire, int | None], list[Edge]]) -> list[Edge]:
    """The edges on the paths that pass along a piece; one inside a step carries what comes from all steps."""
    out: dict[Edge, None] = {}
    for r in piece.reads:
        source = r.source_step
        if r.wire.relation == "step" and r.target_step is not None:
            source = r.target_step + r.wire.lag
        if (r.wire, r.target_step, source) in on:
            out[r.wire, r.target_step, source] = None
        elif r.source_step is None:
            out.update(dict.fromkeys(by_target.get((r.wire, r.target_step), ())))
    return list(out)


def _together(found: Gradients, edges: list[Edge], numbers: dict[Edge, float], weight: str) -> float | None:
    """The size on a piece that several reads share: of the sum of their gradients; the largest Jacobian."""
    if not edges:
        return None
    if weight == "jacobian" or len(edges) == 1:
        return max(numbers[e] for e in edges)
    return found.together(edges)


def _colour(
    scene: Scene,
    found: Gradients,
    on: dict[Edge, None],
    numbers: dict[Edge, float],
    weight: str,
    target: Spot,
) -> list[tuple[str, float]]:
    """Recolour every piece; returns the pieces that print a number, with the number."""
    printed: list[tuple[str, float]] = []
    positive = [v for v in numbers.values() if v > 0 and np.isfinite(v)]
    low, high = theme.ramp_range(positive)
    lit: set[Spot] = {found.seed, target} | {(e[0].source, e[2]) for e in on} | {(e[0].target, e[1]) for e in on}
    by_target: dict[tuple[Wire, int | None], list[Edge]] = {}
    for e in on:
        by_target.setdefault((e[0], e[1]), []).append(e)
    on_arcs = {(r.wire, r.target_step) for p in scene.pieces if "-arc-" in p.id for r in p.reads}
    for piece in scene.pieces:
        value = _together(found, _edges(piece, on, by_target), numbers, weight)
        if value is None:
            piece.classes = [*piece.classes, "faded"]
            continue
        x = theme.ramp_position(value, low, high)
        piece.width = theme.ramp_width(x)
        piece.classes = [c for c in piece.classes if c != "highway"] + ["hot", theme.ramp_class(x)]
        piece.backward, piece.order = True, piece.order + 3 + x
        arrives = piece.head and not any((r.wire, r.target_step) in on_arcs for r in piece.reads)
        leaves = "-from" in piece.id or ("-in-" in piece.id and len(piece.reads) > 1)
        if (arrives or leaves or "-arc-" in piece.id) and not (weight == "jacobian" and len(piece.reads) > 1):
            piece.number = theme.number(value)
            printed.append((piece.id, value))
    for mark in scene.marks:
        step = mark.step + mark.node.lag if mark.step is not None and mark.node.kind == "chip" else mark.step
        if (mark.node.key, step) not in lit and mark.point not in lit:
            mark.classes.append("dim")
        if mark.point in (found.seed, target):
            mark.classes.append("chosen")
        for pill in mark.pills:
            pill.chosen = target[1] is None and pill.parameter == target[0] and mark.point in lit
    return printed


def _data(numbers: dict[Edge, float]) -> dict[str, Any]:
    edges = list(numbers)
    return {
        "source": np.array([w.source for w, _, _ in edges]),
        "source_step": np.array([-1 if s is None else s for _, _, s in edges], dtype=int),
        "target": np.array([w.target for w, _, _ in edges]),
        "target_step": np.array([-1 if s is None else s for _, s, _ in edges], dtype=int),
        "socket": np.array([w.socket for w, _, _ in edges], dtype=int),
        "value": np.array([numbers[e] for e in edges], dtype=float),
    }


def _caption(
    picture: Picture,
    asked: Question,
    data: dict[str, Any],
    weight: str,
    first: int,
    bars: bool,
) -> None:
    """The sentence and the scale below the picture."""
    scene, found, target, at = picture.scene, asked.found, asked.target, asked.at
    title = found.title
    if not asked.parameter:
        gradient = np.asarray(found.cotangents[target, at])
        data["gradient"], data["norm"] = gradient, float(np.linalg.norm(np.ravel(gradient)))
        where = (picture.graph.nodes[target].stream or target) + ("" if at is None else f"[{at + first}]")
    else:
        shares = found.shares.get(target, {})
        steps = sorted(shares)
        data["steps"] = np.array(steps, dtype=int)
        data["shares"] = np.array([shares[s] for s in steps])
        data["gradient"] = data["shares"].sum(axis=0) if steps else np.zeros(())
        data["norm"] = float(np.linalg.norm(np.ravel(data["gradient"])))
        where = target
        if bars:
            sizes = {s: float(np.linalg.norm(np.ravel(shares[s]))) for s in steps}
            _bars(picture, sizes, target, data["norm"])
    svg.fit(scene)
    x, y, w, h = scene.bounds
    base = y + h + 2
    result = f"‖∂{title} / ∂{where}‖ = {theme.number(data['norm'])}"
    scene.title = f"{picture.graph.system.name}: {result}"
    scene.texts.append(Text(x + svg.MARGIN, base, theme.label(result), 12.5, "ink"))
    value = data["value"][data["value"] > 0]
    if not len(value):
        return
    said = "‖∂L/∂·‖ along each edge" if weight == "grad" else "‖Jacobian‖₂ of each edge"
    high = theme.number(float(value.max()))
    scale = theme.label(f"{said}, log scale  {theme.number(theme.ramp_range([float(v) for v in value])[0])}")
    wide = theme.label_width(scale, 11) + theme.RAMP * 26 + theme.text_width(high, 11) + 12
    right = max(x + w, x + wide + 2 * svg.MARGIN) - svg.MARGIN
    if theme.text_width(result, 12.5) + wide + 3 * svg.MARGIN > right - x:
        base += 20
    end = right - theme.text_width(high, 11) - 6
    scene.texts.append(Text(right, base, theme.label(high), 11, "muted", "end"))
    for k in range(theme.RAMP):
        x0 = end - (theme.RAMP - k) * 26
        line = svg.stroke(f"M{svg.coordinate(x0)} {svg.coordinate(base)}h26", theme.ramp_width((k + 0.5) / theme.RAMP))
        scene.extra.append(f'<g class="hot r{k}">{line}</g>')
    scene.texts.append(Text(end - theme.RAMP * 26 - 6, base, scale, 11, "muted", "end"))


def _bars(picture: Picture, sizes: dict[int, float], name: str, total: float) -> None:
    """One bar a step below the panels, the parameter's share from that step, and behind the last the size of their
    sum."""
    tiles = next(iter(picture.tiles.values()))
    scene, top = picture.scene, tiles.bottom + 34
    largest = max([*sizes.values(), total]) or 1.0
    said = (*theme.label("‖∂L/∂"), *theme.name(name), theme.Span("‖ by step"))
    scene.texts.append(Text(tiles.x[0], tiles.bottom + 20, said, 11))
    bars = [
        (tiles.x[column] + tiles.panel_width / 2, sizes[step], "")
        for column, step in enumerate(tiles.steps)
        if step is not None and step in sizes
    ]
    bars.append((tiles.right + tiles.gap, total, "Σ"))
    for x, size, sign in bars:
        height = 34 * size / largest
        if height:
            bar = svg.rect(x - 16, top + 34 - max(1.0, height), 32, max(1.0, height), "body")
            scene.extra.append(f'<g class="{"loss" if sign else "state-a"}">{bar}</g>')
        scene.extra.append(svg.stroke(f"M{svg.coordinate(x - 20)} {svg.coordinate(top + 34)}h40", 1))
        if sign:
            scene.texts.append(Text(x - 26, top + 27, theme.label("‖Σ‖"), 10.5, "muted", "end"))
        scene.texts.append(Text(x + 22, top + 27, theme.label(theme.number(size)), 10.5))
    scene.texts.append(Text(tiles.x[0], top + 38, theme.label(" "), 8))
