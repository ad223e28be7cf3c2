"""Writes docs/benchmarks.md and its pictures from docs/benchmarks.json.

    python -m benchmarks.suite
    python docs/benchmarks.py

The JSON file is what runs wrote, never edited; a test compares the page with what this module makes of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import viz

HERE = Path(__file__).parent
RESULTS = HERE / "benchmarks.json"
PAGE = HERE / "benchmarks.md"
HEAD = """# Speed

Made by `docs/benchmarks.py` from `docs/benchmarks.json`, which `python -m benchmarks.suite` wrote.

Every contender is a process of its own; turns are short and interleaved; figures are medians over all turns. A training
step is forward, loss and backward to every parameter through the public call. **Ratios are our time over theirs: below
1 we are faster.** Before it is timed, each contender's gradients are compared with float64; the largest error is beside
its time. `first` is the time until one step and one inference were done, compiling included.
"""
TITLES = {
    "sizes": "Networks that frameworks have, and one that they do not",
    "odd": "Sizes that are multiples of nothing",
    "others": "Double precision; lengths from half the steps to all of them",
    "cells": "Cells that no framework has a kernel for",
}
OTHERS = ("our LSTM", "torch.nn.LSTM", "torchrecurrent")  # of other gradients than the cell's
NOTES = {
    "sizes": "`lstm`, `gru` (reset after the product), `rnn`; `custom` has peepholes, coupled gates and a matrix"
    " shortcut from four steps back. `tinygrad-seq` has the loss in the cell, as one more equation; `loss outside` is"
    " ours with the loss in Python behind it, on the tape, where PyTorch has it; `by BLAS` is ours without the"
    " product kernel: the fallback of machines that cannot have it. `torch loop` and `jax scan` have the input products"
    " outside the loop, `jax scan, plain` inside. `torch.nn` is not steady on this machine: from one race to another"
    " its LSTM took 2.7 to 4.5 ms at (16, 64, 64, 128), ours 1.5 to 1.6, and 30 to 66 ms at (32, 100, 128, 256), ours"
    " 16 to 19.",
    "odd": "",
    "others": "The same cells in other frameworks are this project's own exports. `our LSTM` and `torch.nn.LSTM` run"
    " whole sequences in either case.",
    "cells": "`torch loop` and `jax scan` are this project's own exports of the same cell; `torchrecurrent` is that"
    " package's layer, where it has one; the last two lines are an LSTM of that size, for scale.",
}


def about(part: dict[str, Any]) -> str:
    facts = ", ".join(f"{k} {', '.join(v) if isinstance(v, list) else v}" for k, v in part["facts"].items())
    return f"{facts}; {part['rounds']} rounds of {part['turn']} s."


def tables(part: dict[str, Any]) -> list[str]:
    """A table a network and size."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in part["rows"]:
        extra = "".join(f", {k}" if v is True else f", {v}" for k, v in row.items() if k in ("ragged", "dtype") and v)
        groups.setdefault(f"{row['cell']} at (B, T, D, H) = {tuple(row['size'])}{extra}", []).append(row)
    lines = []
    for title, rows in groups.items():
        lines += [f"**{title}**", "", "| | train ms | ratio | infer ms | ratio | first s | error |", "|" + " --- |" * 7]
        for r in rows:
            if "missing" in r:
                continue
            error = "–" if r["peer"] in OTHERS or r["gradient_error"] is None else f"{r['gradient_error']:.0e}"
            lines.append(
                f"| {r['peer']} | {r['step_ms']:.3g} | {r['step_ratio']:.2f} | {r['infer_ms']:.3g} |"
                f" {r['infer_ratio']:.2f} | {r['first_call_s']:.1f} | {error} |"
            )
        lines.append("")
    return lines


def summary(part: dict[str, Any]) -> list[str]:
    """Training: our time over each peer's, a row a size."""
    rows = [r for r in part["rows"] if "missing" not in r and r["peer"] != "tinygrad-seq"]
    peers = list(dict.fromkeys(r["peer"] for r in rows))
    keys = list(dict.fromkeys((r["cell"], tuple(r["size"])) for r in rows))
    ratio = {(r["cell"], tuple(r["size"]), r["peer"]): r["step_ratio"] for r in rows}
    lines = ["| training, ours over theirs | " + " | ".join(peers) + " |", "|" + " --- |" * (len(peers) + 1)]
    for cell, size in keys:
        found = (ratio.get((cell, size, p)) for p in peers)
        lines.append(f"| {cell} {size} | " + " | ".join("–" if v is None else f"{v:.2f}" for v in found) + " |")
    return [*lines, ""]


def curves(part: dict[str, Any]) -> list[str]:
    lines = ["## Over steps, units and sequences", "", f"An LSTM's training step. {about(part)}", ""]
    for over in dict.fromkeys(r["over"] for r in part["rows"]):
        series: dict[str, tuple[list[float], list[float]]] = {}
        for r in part["rows"]:
            if r["over"] == over and "missing" not in r:
                xs, ys = series.setdefault(r["peer"], ([], []))
                xs.append(r["value"])
                ys.append(r["step_ms"])
        picture = viz.lines(
            series, x=over, y="ms", title=f"training step over {over}", log=True, marks=True, doubling=True
        )
        picture.save(HERE / f"benchmarks.{over}.svg")
        lines += [f"![An LSTM's training step over {over}](benchmarks.{over}.svg)", ""]
    return lines


def roofline(results: dict[str, Any]) -> list[str]:
    """Training steps of the LSTM beside what the processor and its memory can do."""
    rows = results["kernel"]["rows"]
    peak = max(r["ours"] for r in rows if r["kind"] == "product")
    memory = next(r["gb_per_s"] for r in rows if r["kind"] == "memory")
    cores = results["kernel"]["facts"]["cores"]
    lines = [
        "## What limits it",
        "",
        f"One core multiplies at most {peak:.0f} GFLOP/s in the product kernel, and memory moves {memory:.1f} GB/s."
        f" {about(results['kernel'])}",
        "",
        "| products, one core | ours GFLOP/s | BLAS GFLOP/s |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {r['M']} × {r['K']} × {r['N']} | {r['ours']:.0f} | {r['blas']:.0f} |" for r in rows if "M" in r]
    lines += ["", "| LSTM, a training step | GFLOP | floor ms | ours ms | of the floor's speed |", "|" + " --- |" * 5]
    points: tuple[list[float], list[float]] = ([], [])
    for r in results["sizes"]["rows"]:
        if r["cell"] != "lstm" or r["peer"] != "tinygrad-seq":
            continue
        B, T, D, H = r["size"]
        flops = 3 * 2 * B * T * 4 * H * (D + H)  # forward, towards h, towards the weights
        flops -= 2 * B * T * 4 * H * D  # x gets no gradient
        moved = 4 * B * T * (2 * D + 14 * H)  # inputs twice; gates, c and h written and read; cotangents
        used = min(cores, max(1, B // 2))
        floor = max(flops / (used * peak * 1e9), moved / (memory * 1e9)) * 1e3
        share = f"{floor / r['step_ms']:.0%}"
        lines.append(f"| {tuple(r['size'])} | {flops / 1e9:.3g} | {floor:.3g} | {r['step_ms']:.3g} | {share} |")
        points[0].append(flops / moved)
        points[1].append(flops / r["step_ms"] / 1e6)
    xs = [2.0**k for k in range(-2, 10)]
    roof = [min(cores * peak, x * memory) for x in xs]
    order = sorted(range(len(points[0])), key=lambda k: points[0][k])
    own = ([points[0][k] for k in order], [points[1][k] for k in order])
    series = {"roof": (xs, roof), "LSTM, training": own}
    picture = viz.lines(series, x="flops a byte", y="GFLOP/s", title="roofline", log=True, marks=True, doubling=True)
    picture.save(HERE / "benchmarks.roofline.svg")
    return [*lines, "", "![Roofline: the LSTM's training steps under the machine's roof](benchmarks.roofline.svg)", ""]


def page(results: dict[str, Any]) -> str:
    """The page of the results; pictures are written beside it."""
    lines = [HEAD]
    for name, title in TITLES.items():
        if name in results:
            part = results[name]
            lines += [f"## {title}", "", NOTES[name], "", about(part), "", *(summary(part) if name == "sizes" else [])]
            lines += tables(part)
    lines += curves(results["curves"]) if "curves" in results else []
    lines += roofline(results) if "kernel" in results and "sizes" in results else []
    return "\n".join(lines).replace("\n\n\n", "\n\n")


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULTS.read_text("utf-8"))), "utf-8")
