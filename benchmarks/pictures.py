"""How long pictures and pages take: over nodes of a tape, steps of a cell, cells of the library.

    python -m benchmarks.pictures [out.svg]

Prints a table; with a path it also draws the curve of seconds over nodes on logarithmic axes. The limits are
those that the tests hold: a 400-node graph laid out within 1 s, a page of a 10,000-node tape within 3 s, no view
of a library cell over 2 s (on an idle machine).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from viz import worker
from viz.drawing import Drawing
from viz.example import example
from viz.plot import Frame, span
from viz.scene import Scene

NODES = (10, 30, 100, 300, 400, 1000, 3000, 10_000)


def seconds(function: Callable[[], Any], repeat: int = 3) -> float:
    """The best of a few runs, without what earlier ones laid out."""
    best = float("inf")
    for _ in range(repeat):
        worker._run.cache_clear()
        began = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - began)
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


def cells() -> list[tuple[str, str, float]]:
    """The slowest view of every library cell."""
    rows = []
    for name in dsl.cells():
        spec = dsl.load(name)
        spec.system  # noqa: B018 - resolved beforehand: only drawing is timed
        times = {
            "folded": seconds(lambda spec=spec: viz.folded(spec).svg, 1),
            "cell": seconds(lambda spec=spec: viz.cell(spec).svg, 1),
            "unrolled": seconds(lambda spec=spec: viz.unrolled(spec, T=4).svg, 1),
        }
        run = example(spec, 4)
        try:
            times["bptt"] = seconds(lambda run=run: viz.bptt(run).svg, 1)
        except ValueError:
            pass  # nothing that a loss could depend on
        view = max(times, key=lambda v: times[v])
        rows.append((name, view, times[view]))
    return rows


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


def main(arguments: list[str]) -> None:
    rows = tapes()
    if arguments:
        print(curve(rows).save(arguments[0]))
    slow = sorted(cells(), key=lambda row: -row[2])
    for name, view, took in slow[:10]:
        print(f"{name:<20} {view:<10} {took:6.3f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
