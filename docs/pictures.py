"""Draws the pictures of docs/pictures.md anew: `python -m docs.pictures` from the root of the checkout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from viz.example import example
from viz.jacobians import jacobians
from viz.pages.feed import run_of, subject_of
from viz.pages.lab import compared

HERE = Path(__file__).parent
TEXT = dsl.Text.of("to be, or not to be, that is the question")


def run(cell: str, steps: int = 4, **arguments: Any) -> Any:
    return example(dsl.load(cell, **arguments), steps)


def neuron(x1: Any, x2: Any, w1: Any, w2: Any, b: Any) -> Any:
    n = x1 * w1 + x2 * w2 + b
    return tg.tanh(n)


def spectrum(cell: str) -> Any:
    one = subject_of(cell, None, 16, 0)
    made = run_of(one, None, 40, 0)
    return jacobians(made, made.system)


def on_text() -> Any:
    return dsl.load("CharRNN").build(K=len(TEXT.symbols), H=12, dtype="float64", seed=1)


STEPS = [str(t) for t in range(12)]


def apart(steps: int) -> Any:
    """How many steps lie between each two."""
    return np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))


def loops(moves: int) -> Any:
    """Loops of a pen, (moves, 3), lifted in the middle."""
    turn = np.linspace(0, 12 * np.pi, moves)
    lifted = np.isin(np.arange(moves), (moves // 2, moves - 1))
    return np.stack([0.5 - np.cos(turn), np.sin(turn), lifted], axis=1)


GRID = np.linspace(-2.0, 2.0, 65)


def bowl(x: Any, y: Any) -> Any:
    """Ten times as steep along y as along x."""
    return 0.5 * x**2 + 5 * y**2


def descent(updates: int, rate: float = 0.18) -> Any:
    """Where gradient descent goes in the bowl: xs, ys."""
    n = np.arange(updates)
    return -1.8 * (1 - rate) ** n, 1.5 * (1 - 10 * rate) ** n


# file -> what it shows, the call as a reader would write it, the picture
PICTURES: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "folded.svg": ("One step and its own past", 'viz.folded("Skip")', lambda: viz.folded("Skip", k=2)),
    "cell.svg": ("Inside one step", 'viz.cell("LSTM")', lambda: viz.cell("LSTM")),
    "unrolled.svg": ("Unrolled in time", 'viz.unrolled("LSTM", T=3)', lambda: viz.unrolled("LSTM", T=3)),
    "bptt.svg": (
        "From a loss back to one state, every edge with its gradient",
        'viz.bptt(run, loss=3, to="h[0]")',
        lambda: viz.bptt(run("LSTM"), loss=3, to="h[0]"),
    ),
    "terms.svg": (
        "The lecture's sum over k, term by term",
        'viz.terms(run, to="W")',
        lambda: viz.terms(run("Elman", 6), to="W"),
    ),
    "truncated.svg": (
        "Truncated BPTT, with what it cuts",
        "viz.truncated(run, k1=2, k2=3)",
        lambda: viz.truncated(run("Skip", 6, k=3), 2, 3),
    ),
    "gradient-flow.svg": (
        "How far gradients reach",
        "viz.gradient_flow(run)",
        lambda: viz.gradient_flow(run("GRU", 32)),
    ),
    "attention.svg": (
        "Attention as the width of wires",
        "viz.attention(run, t=2)",
        lambda: viz.attention(run("Translate", 3), t=2),
    ),
    "gates.svg": (
        "A gate over a text",
        'viz.gates(model, text, "rnn.0.f")',
        lambda: viz.gates(on_text(), TEXT.ids, "rnn.0.f"),
    ),
    "units.svg": (
        "A text coloured by the units that listen to it",
        "viz.units(model, text)",
        lambda: viz.units(on_text(), TEXT.ids),
    ),
    "heat.svg": (
        "Any matrix as shaded cells",
        'viz.heat({"a": viz.Heat(a, rows=names, columns=names)})',
        lambda: viz.heat({"correlation of two steps": viz.Heat(0.8 ** apart(12), STEPS, STEPS)}, side=16),
    ),
    "surface.svg": (
        "A function of two numbers, and a way down it",
        'viz.surface(values, xs, ys, paths={"descent": way})',
        lambda: viz.surface(
            bowl(GRID, GRID[:, None]), GRID, GRID, paths={"descent": descent(40)}, z="error", title="A valley"
        ),
    ),
    "pen.svg": ("What a pen has written", 'viz.pen({"a line": moves})', lambda: viz.pen({"a line": loops(120)})),
    "tape.svg": (
        "Any loss on the tape",
        "viz.tape(loss)",
        lambda: viz.tape(neuron(*(tg.tensor(v, requires_grad=True, name=n) for n, v in LEAVES.items()))),
    ),
    "step.html": (
        "Stepping a function forward and back (a page)",
        "viz.stepper(neuron, 2.0, 0.0, -3.0, 1.0, b=6.88)",
        lambda: viz.stepper(neuron, **LEAVES),
    ),
    "step-lstm.html": (
        "Stepping an unrolled cell (a page)",
        "viz.stepper(run)",
        lambda: viz.stepper(run("LSTM", 3)),
    ),
    "walk.html": (
        "BPTT walked, one step further back with every frame (a page)",
        'viz.walk(run, to="W")',
        lambda: viz.walk(run("Elman", 5), to="W"),
    ),
    "lab.svg": (
        "What one step does to a gradient, and what all steps do together: the middle of the lab",
        'viz.lab("skip.cell", ["LSTM", "GRU"])',
        lambda: compared([(name, spectrum(name)) for name in ("Skip", "LSTM", "GRU")]),
    ),
    "lab.html": (
        "How far gradients reach, beside other cells (a page)",
        'viz.lab("Skip", ["LSTM", "GRU"])',
        lambda: viz.lab("Skip", ["LSTM", "GRU"]),
    ),
}
LEAVES = {"x1": 2.0, "x2": 0.0, "w1": -3.0, "w2": 1.0, "b": 6.88}


def speed(folder: Path) -> list[str]:
    """What `python -m benchmarks.pictures docs/pictures/speed.svg` measured last."""
    figures = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    rows = [f"| {f['what']} | {f['seconds']:.2f} s | {f['limit']:g} s |" for f in figures]
    said = "Processor time, Graphviz's included; `python -m benchmarks.pictures` measures it on your machine."
    table = ["| | took | may take |", "|---|---|---|", *rows]
    return ["", "## How long they take", "", said, "", *table, "", "![Seconds over nodes](pictures/speed.svg)"]


def main() -> None:
    np.seterr(all="ignore")
    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    lines = [
        "# Pictures",
        "",
        "Every view takes a cell's name, a spec, a model or a run; every number in it is an array in `.data`.",
        "`.save(path)` writes SVG, PNG, PDF, DOT or HTML; pages are one offline file.",
        "Drawn by `python -m docs.pictures`.",
        'The whole library on one page: `viz.gallery().save("gallery.html")`.',
        'How far gradients reach in a cell, beside others: `viz.lab("my.cell", ["LSTM", "GRU"], data)`, or',
        "`tgseq lab my.cell --against LSTM GRU --data book.txt` (or `--data prices.csv --stream x=open,close`).",
    ]
    for name, (said, call, draw) in PICTURES.items():
        draw().save(folder / name)
        shown = f"![{said}](pictures/{name})" if name.endswith(".svg") else f"[{name}](pictures/{name})"
        lines += ["", f"## {said}", "", f"`{call}`", "", shown]
    lines += speed(folder)
    (HERE / "pictures.md").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
