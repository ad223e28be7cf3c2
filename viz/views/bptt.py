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
from viz.flow import Edge
from viz.graph import Graph, Wire, build
from viz.numbering import place
from viz.paths import Gradients, Spot, gradients, spoken, start
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
    graph = build(system)
    lengths = {a: int(np.asarray(n)[sequence]) for a, n in run.lengths.items()}
    name, step = _where(loss)
    key, is_loss = start(graph, system, name)
    step = _step_of(graph, key, step, lengths, loss)
    named = None if to is None else _target(graph, system, to, step, lengths)
    found = gradients(run, system, key, is_loss, step, sequence, first)
    target, at = named or _farthest(found)
    parameter = system.streams[target].shared if target in system.streams else False
    on = found.between(target, at, parameter)
    picture = compose(system, lengths, keep=_kept(graph, key, step, at, lengths), first=first)
    numbers = {edge: _size(found, edge, weight) for edge in on}
    printed = _colour(picture.scene, found, on, numbers, weight, (target, at))
    data = _data(numbers)
    data["printed_on"] = np.array([p for p, _ in printed])
    data["printed"] = np.array([v for _, v in printed], dtype=float)
    _caption(picture, found, data, target, at, parameter, weight, first)
    place(picture.scene)
    svg.fit(picture.scene)
    return Drawing(picture.scene, data)


def _kept(graph: Graph, key: str, step: int | None, at: int | None, lengths: dict[str, int]) -> list[int]:
    """Steps that are drawn whatever is left out: around the loss and around the target."""
    longest = lengths.get(graph.nodes[key].lane, 0)
    near = [*(() if step is None else (step - 1, step)), *((at, at + 1) if at is not None else (0, 1))]
    return [k for k in near if 0 <= k < longest]


def _structure(system: System, T: int | None, first: int) -> Drawing:
    picture = compose(system, {a: T for a in base_axes(system) if T is not None}, first=first)
    _, y, _, h = picture.scene.bounds
    picture.scene.title = f"{system.name}: gradients not computed yet"
    picture.scene.texts.append(
        Text(0.0, y + h - 4, theme.label("gradients not computed yet: give a run, `viz.bptt(model(x=...), ...)`"), 12)
    )
    svg.fit(picture.scene)
    return Drawing(picture.scene)


def _where(loss: int | str | None) -> tuple[str | None, int | None]:
    if not isinstance(loss, str):
        return None, loss
    found = _PLACE.match(loss)
    if not found:
        raise ValueError(f'loss={loss!r}: a step, or a loss at a step like "nll[12]"')
    return found[1], int(found[2]) if found[2] is not None else None


def _step_of(graph: Graph, key: str, step: int | None, lengths: dict[str, int], loss: Any) -> int | None:
    """The step of the loss's term on its lane: the last where none is given, None for a loss without steps."""
    lane = graph.nodes[key].lane
    if not lane:
        return None
    length = lengths[lane]
    step = length - 1 if step is None else step
    if not 0 <= step < length:
        raise ValueError(f"loss={loss!r}: the sequence has steps 0 to {length - 1}")
    return step


def _target(graph: Graph, system: System, to: str, step: int | None, lengths: dict[str, int]) -> tuple[str, int | None]:
    """The node and step, or the parameter and None, that `to` names."""
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
    key = graph.home[name]
    lane = graph.nodes[key].lane
    if not lane:
        return key, None
    at = int(found[2]) if found[2] is not None else min(step or 0, lengths[lane] - 1)
    if not 0 <= at < lengths[lane]:
        raise ValueError(f"to={to!r}: the sequence has steps 0 to {lengths[lane] - 1}")
    return key, at


def _farthest(found: Gradients) -> Spot:
    """Where a path leads when nobody says: the state (else the input) and step farthest from the loss."""
    graph, far = found.graph, found.seed[1]
    best: tuple[int, int, int] | None = None
    chosen: Spot = ("", None)
    reached = found.reached()
    for n, (key, node) in enumerate(graph.nodes.items()):
        if node.kind not in ("state", "chip") or (node.kind == "chip" and node.stream not in graph.system.streams):
            continue
        for name, s in reached:
            if name != key or s is None or s < 0 or (name, s) not in found.cotangents:
                continue
            rank = (int(node.kind == "state"), abs((far if far is not None else max(found.lengths.values())) - s), n)
            if best is None or rank > best:
                best, chosen = rank, (key, s)
    if best is None:
        raise ValueError(f'{spoken(found.seed)} depends on no state and no input; say where to: to="W"')
    return chosen


def _size(found: Gradients, edge: Edge, weight: str) -> float:
    if weight == "grad":
        return float(np.linalg.norm(np.ravel(found.messages[edge])))
    if found.jacobian is None:
        raise ValueError('weight="jacobian" is drawn for cells over one time axis; use weight="grad"')
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
    sums: dict[tuple[str, int | None], Any] = {}
    for e in edges:
        end = (e[0].source, e[2])
        sums[end] = found.messages[e] if end not in sums else sums[end] + found.messages[e]
    return float(np.sqrt(sum(np.linalg.norm(np.ravel(g)) ** 2 for g in sums.values())))


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
    low, high = (min(positive), max(positive)) if positive else (0.0, 0.0)
    lit: set[Spot] = {found.seed, target} | {(e[0].source, e[2]) for e in on} | {(e[0].target, e[1]) for e in on}
    by_target: dict[tuple[Wire, int | None], list[Edge]] = {}
    for e in on:
        by_target.setdefault((e[0], e[1]), []).append(e)
    for piece in scene.pieces:
        value = _together(found, _edges(piece, on, by_target), numbers, weight)
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
        if mark.point in (found.seed, target):
            mark.classes.append("chosen")
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
    found: Gradients,
    data: dict[str, Any],
    target: str,
    at: int | None,
    parameter: bool,
    weight: str,
    first: int,
) -> None:
    """The sentence and the scale below the picture."""
    scene, title = picture.scene, found.title
    if not parameter:
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
