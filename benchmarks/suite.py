"""All of the speed comparison in one run, written to one JSON file that docs/benchmarks.md is made of.

    python -m benchmarks.suite                       # about half an hour on a quiet machine
    python -m benchmarks.suite --parts sizes,cells   # some parts; the file keeps the others from earlier runs
    python docs/benchmarks.py                        # the page

parts   sizes    four networks at five sizes beside every peer
        odd      an LSTM at sizes that are multiples of nothing
        others   float64, and lengths from half the steps to all of them
        cells    cells that no framework has a kernel for
        curves   an LSTM's time over steps, units and sequences
        kernel   the product kernel and memory, one thread: the roofline
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks import cells
from benchmarks.kernels import products, seconds
from benchmarks.peers import SLOW, entries, installed, suited
from benchmarks.peers.problem import GATES, ODD, SIZES
from benchmarks.train_step import reference
from dsl.bench.race import Race, machine, table

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.json"
CURVES = {
    "steps": (25, 50, 100, 200, 400, 800, 1600),
    "units": (32, 64, 128, 256, 512),
    "sequences": (1, 4, 16, 64, 128),
}
BASE = {"sequences": 32, "steps": 100, "inputs": 64, "units": 128}
SHOWN = ("tinygrad-seq", "torch.nn", "jax scan")  # in the curves
Rows = list[dict[str, Any]]


class Suite:
    """The parts, each a list of rows."""

    def __init__(self, rounds: int, turn: float) -> None:
        self.rounds, self.turn = rounds, turn

    def race(self, names: Sequence[str], tasks: Sequence[tuple[str, tuple[int, int, int, int]]]) -> Rows:
        rows: Rows = []
        for chosen, group in groupby(tasks, lambda task: suited(names, task[1])):
            with Race(entries(chosen)) as race:
                for cell, size in group:
                    found = race.run((cell, size), reference(cell, size), self.rounds, self.turn)
                    print(f"\n{cell}  B,T,D,H = {','.join(map(str, size))}\n{table(found)}", flush=True)
                    rows += [{"cell": cell, "size": size, **row} for row in found]
        return rows

    def sizes(self) -> Rows:
        return self.race(installed(), [(cell, size) for size in SIZES for cell in GATES])

    def odd(self) -> Rows:
        names = [n for n in installed() if n not in (*SLOW, "by BLAS")]
        return self.race(names, [("lstm", size) for size in ODD])

    def others(self) -> Rows:
        rows: Rows = []
        for about in ({"dtype": "float64"}, {"ragged": True}):
            for cell in ("LSTM", "GRU"):
                found = cells.race(
                    cell, (32, 100, 64, 128), cells.contenders.installed(), self.rounds, self.turn, **about
                )
                print(f"\n{cell}  {about}\n{table(found)}", flush=True)
                rows += [{"cell": cell, "size": (32, 100, 64, 128), **about, **row} for row in found]
        return rows

    def cells(self) -> Rows:
        rows: Rows = []
        for cell in cells.CELLS:
            found = cells.race(cell, (32, 100, 64, 128), cells.names(), self.rounds, self.turn)
            print(f"\n{cell}\n{table(found)}", flush=True)
            rows += [{"cell": cell, "size": (32, 100, 64, 128), **row} for row in found]
        return rows

    def curves(self) -> Rows:
        names = [n for n in installed() if n in SHOWN]
        points = [(over, value) for over, values in CURVES.items() for value in values]
        sizes = [{**BASE, over: value} for over, value in points]
        tasks = [("lstm", (s["sequences"], s["steps"], s["inputs"], s["units"])) for s in sizes]
        rows = self.race(names, tasks)
        return [
            {"over": o, "value": v, **row}
            for k, (o, v) in enumerate(points)
            for row in rows[k * len(names) :][: len(names)]
        ]

    def kernel(self) -> Rows:
        """GFLOP/s of products at the shapes of a step; GB/s of a copy that no cache holds."""
        with threadpool_limits(1):
            rows: Rows = [{"kind": "product", **row} for row in products("float32")]
        source, target = np.ones(1 << 25, np.float32), np.empty(1 << 25, np.float32)
        moved = 2 * source.nbytes / seconds(np.copyto, target, source) / 1e9
        return [*rows, {"kind": "memory", "gb_per_s": moved}]


def facts() -> dict[str, Any]:
    """The machine, the day, versions, and the setting of BLAS that peers ran with."""
    blas = [f"{b['internal_api']} {b['version']} ({b.get('architecture')})" for b in threadpool_info()]
    about = {**machine(), "blas": blas, "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE", "not set")}
    for package in ("numpy", "numba", "torch", "jax", "autograd", "torchrecurrent"):
        try:
            about[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**about, "date": date.today().isoformat()}


def main() -> None:
    parts = ("sizes", "odd", "others", "cells", "curves", "kernel")
    parser = argparse.ArgumentParser(description="All of the speed comparison in one run.")
    parser.add_argument("--parts", default=",".join(parts))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=0.3, help="seconds a turn")
    parser.add_argument("--json", type=Path, default=PAGE)
    options = parser.parse_args()
    suite = Suite(options.rounds, options.turn)
    kept = json.loads(options.json.read_text()) if options.json.exists() else {}
    for part in options.parts.split(","):
        if part not in parts:
            parser.error(f"there is no part {part}: {', '.join(parts)}")
        run: Callable[[], Rows] = getattr(suite, part)
        kept[part] = {"facts": facts(), "rounds": options.rounds, "turn": options.turn, "rows": run()}
        scratch = options.json.with_suffix(".part")
        scratch.write_text(json.dumps(kept, indent=1) + "\n")
        scratch.replace(options.json)  # whole or not at all


if __name__ == "__main__":
    main()
