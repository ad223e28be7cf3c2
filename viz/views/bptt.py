"""Backpropagation through time on the unrolled picture: the paths from a loss back to one value.

Nothing moves against `unrolled`: the paths are recoloured and widened by the size of the gradient that
flows along them, every edge has its number, and everything else fades.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dsl.system.system import System
from viz import svg, theme
from viz.compose import Picture, compose
from viz.drawing import Drawing
from viz.graph import Graph, Wire, build
from viz.numbering import place
from viz.numbers import Backward, Point, Sweep, Values, jacobian_norm, loss_point
from viz.scene import Piece, Scene, Text
from viz.views.subject import base_axes, is_run, system_of

_PLACE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(?:\[\s*(-?\d+)\s*\])?\s*$")


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
              the sum of its output at that step
    to        "h[3]": a stream at a step (default: the output's state at step 0), or a parameter "W": its
              gradient's share from every step
    weight    "grad": ‖∂L/∂·‖₂ of what flows along the edge; "jacobian": ‖∂target/∂source‖₂ of the edge
    sequence  which sequence of the batch
    first     the index written at the first step

    `.data` holds, for each drawn edge, `source`, `source_step`, `target`, `target_step`, `socket` and
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
    values = Values(run, system, sequence)
    axis = base_axes(system)[0]
    length = values.lengths[axis]
    name, step = _where(loss, length)
    probe = Backward(build(system), values)
    seed, seeds, title = _seed(probe, system, name, step, first)
    target, at = _target(probe.graph, system, to, step, length)
    sweep = probe.run(seeds, parameters=at is None)
    on = _path(probe, sweep, seed, target, at)
    keep = [k for k in (step - 1, step, *((at, at + 1) if at is not None else (0, 1))) if 0 <= k < length]
    picture = compose(system, {axis: length}, keep=keep, first=first)
    numbers = {edge: _size(probe, sweep, edge, weight) for edge in on}
    printed = _colour(picture.scene, sweep, on, numbers, weight, seed, (target, at))
    data = _data(numbers)
    data["printed_on"] = np.array([p for p, _ in printed])
    data["printed"] = np.array([v for _, v in printed], dtype=float)
    _caption(picture, probe, sweep, data, title, target, at, weight, first)
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


def _where(loss: int | str | None, length: int) -> tuple[str | None, int]:
    name: str | None = None
    step: int | None = loss if isinstance(loss, int) else None
    if isinstance(loss, str):
        found = _PLACE.match(loss)
        if not found:
            raise ValueError(f'loss={loss!r}: a step, or a loss at a step like "nll[12]"')
        name, step = found[1], int(found[2]) if found[2] is not None else None
    step = length - 1 if step is None else step
    if not 0 <= step < length:
        raise ValueError(f"loss={loss!r}: the sequence has steps 0 to {length - 1}")
    return name, step


def _seed(
    probe: Backward, system: System, name: str | None, step: int, first: int
) -> tuple[Point, dict[Point, Any], str]:
    """Where the gradient starts: a loss's term, or the output's sum."""
    graph = probe.graph
    if name is not None or any(n.role == "loss" and n.axes for n in graph.nodes.values()):
        point = loss_point(graph, name, step)
        return point, {point: np.ones(np.shape(probe.node_value(*point)))}, f"{point[0]}[{step + first}]"
    outputs = [system.aliases.get(o, o) for o in system.outputs] or [list(system.equations)[-1]]
    key = graph.home[outputs[0]]
    point = (key, step)
    return point, {point: np.ones(np.shape(probe.node_value(*point)))}, f"Σ {outputs[0]}[{step + first}]"


def _target(graph: Graph, system: System, to: str | None, step: int, length: int) -> tuple[str, int | None]:
    """The node and step, or the parameter and None, that `to` names."""
    if to is None:
        states = [k for k, n in graph.nodes.items() if n.kind == "state"]
        if not states:
            raise ValueError(f'{system.name} has no state; say where to: to="x[0]"')
        return states[-1], 0
    found = _PLACE.match(to)
    if not found:
        raise ValueError(f'to={to!r}: a stream at a step like "h[3]", or a parameter')
    name = system.aliases.get(found[1], found[1])
    stream = system.streams.get(name)
    if stream is None:
        raise ValueError(f"to={to!r}: {system.name} has no stream or parameter {name}")
    if stream.shared:
        return name, None
    if name not in graph.home:
        raise ValueError(f"to={to!r}: {name} is not drawn; no equation reads it")
    at = int(found[2]) if found[2] is not None else step
    if not 0 <= at < length:
        raise ValueError(f"to={to!r}: the sequence has steps 0 to {length - 1}")
    return graph.home[name], at


Edge = tuple[Wire, int]


def _path(probe: Backward, sweep: Sweep, seed: Point, target: str, at: int | None) -> dict[Edge, None]:
    """The edges of all paths between the seed and the target, in the order of the sweep."""
    readers: dict[Point, list[Edge]] = {}
    for wire, step in sweep.messages:
        readers.setdefault((wire.source, step + wire.lag), []).append((wire, step))
    on: dict[Edge, None] = {}
    users = {k for k, n in probe.graph.nodes.items() if any(s.parameter == target for s in n.sockets)}
    stack: list[Point] = [(target, at)] if at is not None else [p for p in sweep.cotangents if p[0] in users]
    seen = set(stack)
    while stack:
        for wire, step in readers.get(stack.pop(), ()):
            on[wire, step] = None
            if (wire.target, step) not in seen:
                seen.add((wire.target, step))
                stack.append((wire.target, step))
    if seed not in seen:
        where = target if at is None else f"{target}[{at}]"
        raise ValueError(f"{seed[0]}[{seed[1]}] does not depend on {where}")
    return dict.fromkeys(e for e in sweep.messages if e in on)


def _size(probe: Backward, sweep: Sweep, edge: Edge, weight: str) -> float:
    if weight == "jacobian":
        return jacobian_norm(probe, *edge)
    return float(np.linalg.norm(np.ravel(sweep.messages[edge])))


def _together(
    piece: Piece, sweep: Sweep, on: dict[Edge, None], numbers: dict[Edge, float], weight: str
) -> float | None:
    """The size on a piece that several reads share: of the sum of their gradients; the largest Jacobian."""
    edges = [e for r in piece.reads if r.target_step is not None and (e := (r.wire, r.target_step)) in on]
    if not edges:
        return None
    if weight == "jacobian" or len(edges) == 1:
        return max(numbers[e] for e in edges)
    total = sum((sweep.messages[e] for e in edges[1:]), start=sweep.messages[edges[0]])
    return float(np.linalg.norm(np.ravel(total)))


def _colour(
    scene: Scene,
    sweep: Sweep,
    on: dict[Edge, None],
    numbers: dict[Edge, float],
    weight: str,
    seed: Point,
    target: tuple[str, int | None],
) -> list[tuple[str, float]]:
    """Recolour every piece; returns the pieces that print a number, with the number."""
    printed: list[tuple[str, float]] = []
    positive = [v for v in numbers.values() if v > 0 and np.isfinite(v)]
    low, high = (min(positive), max(positive)) if positive else (0.0, 0.0)
    lit: set[tuple[str, int | None]] = (
        {seed, target} | {(w.source, s + w.lag) for w, s in on} | {(w.target, s) for w, s in on}
    )
    for piece in scene.pieces:
        value = _together(piece, sweep, on, numbers, weight)
        if value is None:
            piece.classes = [*piece.classes, "faded"]
            continue
        x = theme.ramp_position(value, low, high)
        piece.width = theme.ramp_width(x)
        piece.classes = [c for c in piece.classes if c != "highway"] + ["hot", theme.ramp_class(x)]
        piece.backward, piece.order = True, piece.order + 3 + x
        below = piece.net.startswith("port:")  # its number stands on the arc
        ends = (piece.head and not below) or "-arc-" in piece.id or ("-in-" in piece.id and len(piece.reads) > 1)
        if ends and not (weight == "jacobian" and len(piece.reads) > 1):
            piece.number = theme.number(value)
            printed.append((piece.id, value))
    for mark in scene.marks:
        step = mark.step + mark.node.lag if mark.step is not None and mark.node.kind == "chip" else mark.step
        if (mark.node.key, step) not in lit and mark.point not in lit:
            mark.classes.append("dim")
        if mark.point in (seed, target):
            mark.classes.append("chosen")
    return printed


def _data(numbers: dict[Edge, float]) -> dict[str, Any]:
    edges = list(numbers)
    return {
        "source": np.array([w.source for w, _ in edges]),
        "source_step": np.array([s + w.lag for w, s in edges], dtype=int),
        "target": np.array([w.target for w, _ in edges]),
        "target_step": np.array([s for _, s in edges], dtype=int),
        "socket": np.array([w.socket for w, _ in edges], dtype=int),
        "value": np.array([numbers[e] for e in edges], dtype=float),
    }


def _caption(
    picture: Picture,
    probe: Backward,
    sweep: Sweep,
    data: dict[str, Any],
    title: str,
    target: str,
    at: int | None,
    weight: str,
    first: int,
) -> None:
    """The sentence and the scale below the picture."""
    scene = picture.scene
    if at is not None:
        gradient = sweep.cotangents.get((target, at))
        gradient = np.zeros_like(probe.node_value(target, at)) if gradient is None else gradient
        data["gradient"], data["norm"] = np.asarray(gradient), float(np.linalg.norm(np.ravel(gradient)))
        where = f"{picture.graph.nodes[target].stream or target}[{at + first}]"
    else:
        shares = sweep.parameters.get(target, {})
        steps = sorted(shares)
        data["steps"] = np.array(steps, dtype=int)
        data["shares"] = np.array([shares[s] for s in steps])
        data["gradient"] = data["shares"].sum(axis=0) if steps else np.zeros(())
        data["norm"] = float(np.linalg.norm(np.ravel(data["gradient"])))
        where = target
        _bars(picture, {s: float(np.linalg.norm(np.ravel(shares[s]))) for s in steps}, target)
    svg.fit(scene)
    x, y, w, h = scene.bounds
    base = y + h + 2
    scene.title = f"{picture.graph.system.name}: ‖∂{title} / ∂{where}‖ = {theme.number(data['norm'])}"
    scene.texts.append(
        Text(x + svg.MARGIN, base, theme.label(f"‖∂{title} / ∂{where}‖ = {theme.number(data['norm'])}"), 12.5, "ink")
    )
    value = data["value"][data["value"] > 0]
    if not len(value):
        return
    said = "‖∂L/∂·‖ along each edge" if weight == "grad" else "‖Jacobian‖₂ of each edge"
    right = x + w - svg.MARGIN
    high = theme.number(float(value.max()))
    end = right - theme.text_width(high, 11) - 6
    scene.texts.append(Text(right, base, theme.label(high), 11, "muted", "end"))
    for k in range(theme.RAMP):
        x0 = end - (theme.RAMP - k) * 26
        line = svg.stroke(f"M{svg.coordinate(x0)} {svg.coordinate(base)}h26", theme.ramp_width((k + 0.5) / theme.RAMP))
        scene.extra.append(f'<g class="hot r{k}">{line}</g>')
    scene.texts.append(
        Text(
            end - theme.RAMP * 26 - 6,
            base,
            theme.label(f"{said}, log scale  {theme.number(float(value.min()))}"),
            11,
            "muted",
            "end",
        )
    )


def _bars(picture: Picture, sizes: dict[int, float], name: str) -> None:
    """One bar a step below the panels: the parameter's share from that step."""
    tiles = next(iter(picture.tiles.values()))
    top = tiles.bottom + 34
    largest = max(sizes.values(), default=0.0) or 1.0
    said = (*theme.label("‖∂L/∂"), *theme.name(name), theme.Span("‖ by step"))
    picture.scene.texts.append(Text(tiles.x[0], tiles.bottom + 20, said, 11))
    for column, step in enumerate(tiles.steps):
        if step is None or step not in sizes:
            continue
        height = max(1.0, 34 * sizes[step] / largest)
        x = tiles.x[column] + tiles.panel_width / 2
        bar = svg.rect(x - 16, top + 34 - height, 32, height, "body")
        picture.scene.extra.append(f'<g class="state-a">{bar}</g>')
        picture.scene.texts.append(Text(x + 22, top + 27, theme.label(theme.number(sizes[step])), 10.5))
    picture.scene.texts.append(Text(tiles.x[0], top + 38, theme.label(" "), 8))
