"""A walk through BPTT, frame by frame as a lecturer would draw it: loss, then one step further back at a time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from viz import svg, theme
from viz.drawing import Drawing
from viz.flow import Edge
from viz.pages.page import Page, toolbar, write
from viz.paths import lane_of
from viz.question import Question, ask
from viz.views.bptt import draw
from viz.views.subject import is_run, system_of
from viz.views.terms import numbers, row

MOST = 40  # frames
Stop = tuple[str, int]  # a lane and a step on it


class Walk(Page):
    """A page whose `frames` are drawings; `.save_frames(folder)` writes them as 00.svg, 01.svg, …"""

    frames: list[Drawing]
    said: list[str]

    def save_frames(self, folder: str | Path) -> list[Path]:
        """One SVG a frame, for slides; the folder is made when it is missing."""
        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        return [frame.save(home / f"{n:02d}.svg") for n, frame in enumerate(self.frames)]


def walk(run: Any, loss: int | str | None = None, to: str | None = None, *, sequence: int = 0, first: int = 0) -> Walk:
    """Backpropagation through time, walked: frame 0 is the forward picture, each next one goes a step further back.

    loss, to   as in `viz.bptt`; with a parameter (`to="W"`) its sum over steps fills up below

    Where a cell has several axes, the gradient first goes through all steps of the loss's own (a decoder), then through
    those of the next that it comes to (an encoder).
    `.data` is that of the last frame, and `since` and `axis`, the step and its axis that each frame has come back to.
    Errors: ValueError as in `viz.bptt`, and for more than 40 frames.
    """
    system = system_of(run)
    if not is_run(run):
        raise ValueError(f"walk needs a run: viz.walk(model(...)); {system.name} has no numbers yet")
    asked = ask(run, system, loss, to, sequence, first)
    on = asked.found.between(asked.target, asked.at, asked.parameter)
    stops = _stops(asked, on)
    if len(stops) > MOST:
        raise ValueError(f"a walk over {len(stops)} steps is too long to follow: choose a loss within {MOST} steps")
    frames, said = [_frame(asked, {}, [], first)], [f"The forward pass; the loss is {asked.found.title}."]
    for n in range(1, len(stops) + 1):
        been = set(stops[:n])
        part = {e: None for e in on if e[1] is None or _stop(asked, e) in been}
        frames.append(_frame(asked, part, stops[:n], first))
        said.append(_sentence(asked, stops[n - 1], first))
    title = frames[-1].title
    data = {**frames[-1].data, "since": [None, *(s for _, s in stops)], "axis": [None, *(a for a, _ in stops)]}
    page = Walk(title, _html(title, frames, said, [None, *stops]), data)
    page.frames, page.said = frames, said
    return page


def _stop(asked: Question, edge: Edge) -> Stop:
    """Where an edge is walked; one into a boundary with the step that reads that."""
    lane, step = lane_of(asked.found.graph, edge[0].target), edge[1] or 0
    return lane, min(max(step, 0), asked.found.lengths[lane] - 1 if lane else 0)


def _stops(asked: Question, on: dict[Edge, None]) -> list[Stop]:
    """The steps that the paths come through: lane by lane from the loss, in each from the step that they enter at last
    in time outwards."""
    graph = asked.found.graph
    lanes: dict[str, set[int]] = {}
    into: dict[str, dict[str, None]] = {}
    for edge in on:
        here = lane_of(graph, edge[0].target)
        if edge[1] is not None:
            lanes.setdefault(here, set()).add(_stop(asked, edge)[1])
        into.setdefault(here, {})[lane_of(graph, edge[0].source)] = None
    key, step = asked.found.seed
    order = [lane_of(graph, key)]
    for lane in order:  # which grows
        order += [a for a in into.get(lane, {}) if a not in order]
    stops = []
    for lane in order:
        steps = lanes.get(lane, set())
        start = step if lane == order[0] and step is not None else max(steps, default=0)
        stops += [(lane, s) for s in sorted(steps, key=lambda s: (abs(s - start), s))]
    return stops


def _frame(asked: Question, on: dict[Any, None], been: Sequence[Stop], first: int) -> Drawing:
    """The picture after these stops; none are the forward pass."""
    drawing = draw(asked, on, "grad", first, bars=False)
    scene = drawing.scene
    if asked.parameter:
        x, y, _, h = scene.bounds
        data = numbers(asked)
        graph = asked.found.graph
        lanes = {n.lane for n in graph.nodes.values() if any(s.parameter == asked.target for s in n.sockets)}
        row(scene, asked, data, x + svg.MARGIN, y + h + 14, first, {s for lane, s in been if lane in lanes})
        drawing.data |= {k: v for k, v in data.items() if k not in drawing.data}
    if not been:
        for piece in scene.pieces:
            piece.classes = [c for c in piece.classes if c != "faded"]
        for mark in scene.marks:
            mark.classes = [c for c in mark.classes if c != "dim"]
    svg.fit(scene)
    return drawing


def _sentence(asked: Question, stop: Stop, first: int) -> str:
    found, (lane, since) = asked.found, stop
    spot = f"step {since + first}" if len(found.lengths) < 2 else f"step {lane} = {since + first}"
    states = [
        k
        for k, n in found.graph.nodes.items()
        if n.kind == "state" and n.lane == lane and (k, since) in found.cotangents
    ]
    if since == found.seed[1] and lane == lane_of(found.graph, found.seed[0]):
        lead = f"The gradient of {found.title} enters {spot}"
    else:
        lead = f"It goes back through {spot}"
    if not states:
        return lead + "."
    sizes = ", ".join(
        f"‖∂L/∂{k}[{since + first}]‖ = {theme.number(float(np.linalg.norm(np.ravel(found.cotangents[k, since]))))}"
        for k in states
    )
    return f"{lead}: {sizes}."


def _html(title: str, frames: list[Drawing], said: list[str], stops: Sequence[Stop | None]) -> str:
    bounds = [f.scene.bounds for f in frames]
    left, top = min(b[0] for b in bounds), min(b[1] for b in bounds)
    right, bottom = max(b[0] + b[2] for b in bounds), max(b[1] + b[3] for b in bounds)
    pictures: list[str] = []
    focus: list[int] = []
    for n, (frame, stop) in enumerate(zip(frames, stops, strict=True)):
        here = [m.x for m in frame.scene.marks if (m.node.lane, m.step) == stop]
        before = focus[-1] if focus else 0
        focus.append(round((min(here) + max(here)) / 2 - left) if here else before)  # what a narrow screen shows
        frame.scene.bounds = (left, top, right - left, bottom - top)  # frames lie exactly on one another
        hidden = "" if n == 0 else " hidden"
        pictures.append(f'<div id="frame-{n}"{hidden}>{svg.inline(frame.scene, prefix=f"f{n}-")}</div>')
    body = (
        f'<main><h1>{escape(title)}</h1><p class="lead">One step further back with every frame; the arrows point the '
        f"way the gradient goes.</p>{toolbar(len(frames) - 1, 'Frame')}"
        f'<div class="scroll" id="picture">{"".join(pictures)}</div></main>'
    )
    return write(title, body, {"said": said, "focus": focus}, "walk.js")
