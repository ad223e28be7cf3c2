"""A walk through BPTT, frame by frame as a lecturer would draw it: loss, then one step further back at a time."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from viz import svg, theme
from viz.drawing import Drawing
from viz.pages.page import Page, toolbar, write
from viz.question import Question, ask
from viz.views.bptt import draw
from viz.views.subject import is_run, system_of
from viz.views.terms import numbers, row

MOST = 40  # frames


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

    `.data` is that of the last frame, and `since`, the step that each frame has come back to.
    Errors: ValueError as in `viz.bptt`, and for more than 40 frames.
    """
    system = system_of(run)
    if not is_run(run):
        raise ValueError(f"walk needs a run: viz.walk(model(...)); {system.name} has no numbers yet")
    asked = ask(run, system, loss, to, sequence, first)
    on = asked.found.between(asked.target, asked.at, asked.parameter)
    steps = sorted({e[1] for e in on if e[1] is not None}, reverse=True)
    if len(steps) > MOST:
        raise ValueError(f"a walk over {len(steps)} steps is too long to follow: choose a loss within {MOST} steps")
    frames, said = [_frame(asked, {}, None, first)], [f"The forward pass; the loss is {asked.found.title}."]
    for since in steps:
        part = {e: None for e in on if e[1] is None or e[1] >= since}
        frames.append(_frame(asked, part, since, first))
        said.append(_sentence(asked, since, first))
    title = frames[-1].title
    page = Walk(title, _html(title, frames, said), {**frames[-1].data, "since": [None, *steps]})
    page.frames, page.said = frames, said
    return page


def _frame(asked: Question, on: dict[Any, None], since: int | None, first: int) -> Drawing:
    drawing = draw(asked, on, "grad", first, bars=False)
    scene = drawing.scene
    if asked.parameter:
        x, y, _, h = scene.bounds
        data = numbers(asked)
        row(scene, asked, data, x + svg.MARGIN, y + h + 14, first, 1 << 30 if since is None else since)
        drawing.data |= {k: v for k, v in data.items() if k not in drawing.data}
    if since is None:
        for piece in scene.pieces:
            piece.classes = [c for c in piece.classes if c != "faded"]
        for mark in scene.marks:
            mark.classes = [c for c in mark.classes if c != "dim"]
    svg.fit(scene)
    return drawing


def _sentence(asked: Question, since: int, first: int) -> str:
    found = asked.found
    states = [k for k, n in found.graph.nodes.items() if n.kind == "state" and (k, since) in found.cotangents]
    if since == found.seed[1]:
        lead = f"The gradient of {found.title} enters step {since + first}"
    else:
        lead = f"It goes back through step {since + first}"
    if not states:
        return lead + "."
    import numpy as np

    sizes = ", ".join(
        f"‖∂L/∂{k}[{since + first}]‖ = {theme.number(float(np.linalg.norm(np.ravel(found.cotangents[k, since]))))}"
        for k in states
    )
    return f"{lead}: {sizes}."


def _html(title: str, frames: list[Drawing], said: list[str]) -> str:
    bounds = [f.scene.bounds for f in frames]
    left, top = min(b[0] for b in bounds), min(b[1] for b in bounds)
    right, bottom = max(b[0] + b[2] for b in bounds), max(b[1] + b[3] for b in bounds)
    pictures = []
    for n, frame in enumerate(frames):
        frame.scene.bounds = (left, top, right - left, bottom - top)  # frames lie exactly on one another
        hidden = "" if n == 0 else " hidden"
        pictures.append(f'<div id="frame-{n}"{hidden}>{svg.inline(frame.scene, prefix=f"f{n}-")}</div>')
    body = (
        f'<main><h1>{escape(title)}</h1><p class="lead">One step further back with every frame; the arrows point the '
        f"way the gradient goes.</p>{toolbar(len(frames) - 1, 'Frame')}"
        f'<div class="scroll" id="picture">{"".join(pictures)}</div></main>'
    )
    return write(title, body, {"said": said}, "walk.js")
