"""All cells on one page: equations, backpropagation through time, pictures, plan, gradient flow.

The equations stand in the page as they are; everything else of a cell is kept deflated in its data block, and
`gallery.js` unfolds it when the reader comes near, so that a page of all cells opens at once and weighs little.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from html import escape
from multiprocessing import get_context
from typing import Any

import dsl
from dsl.text.diagnostics import CellError
from viz import svg
from viz.drawing import Drawing
from viz.example import example
from viz.pages.mathml import mathml
from viz.pages.page import Page, resource, write
from viz.views.bptt import bptt
from viz.views.cell import cell
from viz.views.folded import folded
from viz.views.gradient_flow import gradient_flow
from viz.views.unrolled import unrolled
from viz.worker import LayoutError

STEPS = 4
SMALL = 12  # cells: fewer are not worth further processes


def gallery(cells: Sequence[Any] | None = None, workers: int | None = None) -> Page:
    """One page of cells: names, `.cell` files or specs (default: the whole library).

    workers   processes that draw (default: one a processor, one alone for a few cells or for specs)

    `.data["cells"]` are the names; `.data["sections"]` each cell's source, derivation, pictures and plan as HTML;
    `.data["notes"]` what could not be shown of a cell, by name. Errors: CellError for a
    cell that does not resolve, ValueError for no cells.
    """
    chosen: list[Any] = list(dsl.cells() if cells is None else cells)
    if not chosen:
        raise ValueError("gallery of no cells: name at least one")
    named = all(isinstance(c, str) for c in chosen)
    count = workers or (min(os.cpu_count() or 1, 8) if named and len(chosen) > SMALL else 1)
    if count > 1 and named:
        with ProcessPoolExecutor(count, mp_context=get_context("fork" if os.name == "posix" else "spawn")) as pool:
            parts = list(pool.map(entry, chosen, chunksize=2))
    else:
        parts = [entry(c) for c in chosen]
    names = [name for name, _, _, _ in parts]
    index = "".join(f'<li><a href="#cell-{escape(n)}">{escape(n)}</a></li>' for n in names)
    body = (
        f'<main><h1>{len(names)} recurrent cells</h1><p class="lead">Each as its paper writes it: equations, their '
        "derivative through time, and both as pictures. Numbers are of a small random run.</p>"
        '<p id="old" hidden>This browser cannot unfold the pictures (it has no DecompressionStream); one of 2023 or '
        "later can.</p><noscript><p>The pictures unfold with JavaScript; the equations need none.</p></noscript>"
        f'<nav aria-label="Cells"><ul class="index">{index}</ul></nav>{"".join(p[1] for p in parts)}</main>'
    )
    sections = {name: kept for name, _, kept, _ in parts}
    notes = {name: note for name, _, _, note in parts if note}
    data = {name: _deflated(kept) for name, kept in sections.items()}
    html = write(f"{len(names)} recurrent cells", body, data, "gallery.js", resource("gallery.css"))
    return Page("Gallery of recurrent cells", html, {"cells": names, "sections": sections, "notes": notes})


def _deflated(text: str) -> str:
    """As `gallery.js` reads it: raw deflate, in base64."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(packer.compress(text.encode()) + packer.flush()).decode()


def entry(subject: Any) -> tuple[str, str, str, list[str]]:
    """One cell: its name, its section, what unfolds in it, what could not be shown."""
    spec = dsl.load(subject) if isinstance(subject, str) else subject
    name = spec.name
    notes: list[str] = []
    figures = [
        _figure(name, "folded", "One step and its own past", folded(spec)),
        _figure(name, "cell", "Inside one step", cell(spec)),
        _figure(name, "unrolled", f"Unrolled, {STEPS} steps", unrolled(spec, T=STEPS)),
    ]
    try:
        run = example(spec, STEPS)
        for view, said, function in (("bptt", "Backward", bptt), ("flow", "Gradient flow", gradient_flow)):
            try:
                drawing = function(run)
                figures.append(_figure(name, view, f"{said}: {drawing.title}", drawing))
            except (ValueError, LayoutError) as error:
                notes.append(f"{said.lower()}: {error}")
    except (ValueError, TypeError) as error:
        notes.append(f"no example run: {error}")
    equations, backward = mathml(spec.latex()), ""
    try:
        backward = _fold("Backpropagation through time, as equations", mathml(spec.adjoint().latex()))
    except CellError as error:
        notes.append(f"adjoint: {error.diagnostics[0].message}")
    try:
        plan = _fold("Plan of the compiled run", f"<pre>{escape(str(spec.plan()))}</pre>")
    except (CellError, ValueError) as error:
        plan = ""
        notes.append(f"plan: {str(error).splitlines()[0]}")
    source = _fold("Source", f"<pre>{escape(str(spec))}</pre>")
    said = "".join(f'<p class="small">Not shown: {escape(n)}</p>' for n in notes)
    kept = f'{source}{backward}<div class="figures">{"".join(figures)}</div>{plan}{said}'
    html = (
        f'<section class="entry" id="cell-{escape(name)}" data-cell="{escape(name)}" '
        f'aria-labelledby="title-{escape(name)}"><h2 id="title-{escape(name)}">{escape(name)}</h2>'
        f'<div class="formula">{equations}</div><div class="kept" aria-busy="true"></div></section>'
    )
    return name, html, kept, notes


def _figure(name: str, view: str, said: str, drawing: Drawing) -> str:
    picture = svg.inline(drawing.scene, prefix=f"{name}-{view}-")
    return f'<figure><figcaption>{escape(said)}</figcaption><div class="scroll">{picture}</div></figure>'


def _fold(title: str, inside: str) -> str:
    return f'<details><summary>{title}</summary><div class="formula">{inside}</div></details>'
