"""How long pictures and pages take: over nodes of a tape, steps of a cell, cells of the library.

    python -m benchmarks.pictures [out.svg]

Prints a table; with a path it also draws the curve of seconds over nodes on logarithmic axes, and writes the figures
beside it as JSON, from which `python -m docs.pictures` takes them. Exit status 1 when
a limit is passed, in seconds of processor time: a 400-node graph laid out within 1 s, a page of a 10,000-node
tape within 3 s, no view of a library cell over 2 s, not even of a thousand steps. The tests count nodes instead.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from viz import compose, worker
from viz.drawing import Drawing
from viz.example import example
from viz.plot import Frame, span
from viz.scene import Scene

NODES = (10, 30, 100, 300, 400, 1000, 3000, 10_000)


def seconds(function: Callable[[], Any], repeat: int = 3) -> float:
    """The best of a few runs, without what earlier ones laid out: processor time, Graphviz's included, which others on
    the machine do not lengthen."""
    best = float("inf")
    for _ in range(repeat):
        worker._run.cache_clear()
        compose._recent.clear()
        began = os.times()
        function()
        best = min(best, sum(os.times()[:4]) - sum(began[:4]))
    return best


def chain(nodes: int) -> Callable[..., Any]:
    """A function whose tape has about that many nodes: three operations a step, every fifth step read again."""

    def compute(w: Any, x: Any) -> Any:
        h, kept = x, x
        for step in range(max(1, (nodes - 2) // 3)):
            h = tg.tanh(w * h + kept)
            kept = h if step % 5 == 0 else kept
        return h

    return compute


def tapes() -> list[tuple[int, float, float]]:
    """Nodes, seconds of `viz.tape` and of `viz.stepper(...)`."""
    rows = []
    for nodes in NODES:
        function = chain(nodes)
        loss = function(tg.tensor(0.5, requires_grad=True), tg.tensor(0.1, requires_grad=True))
        drawn = seconds(lambda loss=loss: viz.tape(loss).svg)
        paged = seconds(lambda function=function: viz.stepper(function, 0.5, 0.1).html, 1 if nodes > 1000 else 2)
        rows.append((nodes, drawn, paged))
        print(f"{nodes:>8,} nodes   tape {drawn:6.3f} s   stepper {paged:6.3f} s")
    return rows


def views(name: str) -> dict[str, Callable[[], Any]]:
    """Every view that a library cell has, of a run of four steps where it shows numbers."""
    spec = dsl.load(name)
    spec.system  # noqa: B018 - resolved beforehand: only drawing is timed
    run = example(spec, 4)
    parameter = next(iter(run.model.params), None)
    return {
        "folded": lambda: viz.folded(spec).svg,
        "cell": lambda: viz.cell(spec).svg,
        "unrolled": lambda: viz.unrolled(spec, T=4).svg,
        "unrolled, T=1000": lambda: viz.unrolled(spec, T=1000).svg,
        "bptt": lambda: viz.bptt(run).svg,
        "bptt, jacobian": lambda: viz.bptt(run, weight="jacobian").svg,
        "bptt, parameter": lambda: viz.bptt(run, to=parameter).svg,
        "terms": lambda: viz.terms(run, to=parameter or "").svg,
        "truncated": lambda: viz.truncated(run, 2).svg,
        "gradient flow": lambda: viz.gradient_flow(run).svg,
        "attention": lambda: viz.attention(run).svg,
    }


def cells() -> list[tuple[str, str, float]]:
    """Every view of every library cell, with its seconds; a view that a cell cannot have is left out."""
    rows = []
    for name in dsl.cells():
        for view, draw in views(name).items():
            try:
                rows.append((name, view, seconds(draw, 1)))
            except (ValueError, TypeError):
                continue
    return rows


def graph_of_400() -> float:
    """Seconds to lay out a tape of 400 nodes, each drawn."""
    loss = chain(400)(tg.tensor(0.5, requires_grad=True), tg.tensor(0.1, requires_grad=True))
    drawing = viz.tape(loss)
    assert 390 < len(drawing.data["op"]) <= 400
    return seconds(lambda: viz.tape(loss).svg)


def curve(rows: list[tuple[int, float, float]]) -> Drawing:
    """Seconds over nodes."""
    scene = Scene("pictures", "Seconds of a picture and of a page over nodes of the tape")
    values = np.array([v for _, *pair in rows for v in pair])
    xs = [float(np.log10(n)) for n, _, _ in rows]
    frame = Frame(64, 40, 460, 260, (xs[0] - 0.1, xs[-1] + 0.1), span(values, True), True)
    scene.extra += frame.axes("log₁₀ nodes", "seconds: tape (line), stepper (dashed)")
    scene.extra.append(frame.line(xs, [d for _, d, _ in rows], "net state-b", 2.0))
    scene.extra.append(frame.line(xs, [p for _, _, p in rows], "net loss", 2.0, "6 3"))
    scene.bounds = (0.0, 0.0, 560.0, 350.0)
    return Drawing(scene, {"nodes": np.array([n for n, _, _ in rows]), "seconds": values.reshape(-1, 2)})


def main(arguments: list[str]) -> int:
    """Prints what was measured; exit status 1 where a limit was passed."""
    rows = tapes()
    laid, tape, page = graph_of_400(), rows[-1][1], rows[-1][2]
    slow = sorted(cells(), key=lambda row: -row[2])
    for name, view, took in slow[:10]:
        print(f"{name:<20} {view:<18} {took:6.3f} s")
    limits = [
        ("a graph of 400 nodes, laid out", laid, 1.0),
        ("a tape of 10,000 nodes, collapsed", tape, 3.0),
        ("the page that steps through it", page, 3.0),
        (f"the slowest of {len(slow)} views of library cells", slow[0][2], 2.0),
    ]
    if arguments:
        print(curve(rows).save(arguments[0]))
        figures = [{"what": said, "seconds": round(took, 3), "limit": limit} for said, took, limit in limits]
        Path(arguments[0]).with_suffix(".json").write_text(
            json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    for said, took, limit in limits:
        print(f"{said:<50} {took:6.3f} s of {limit:g} s{'' if took < limit else '   TOO SLOW'}")
    return int(any(took >= limit for _, took, limit in limits))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
