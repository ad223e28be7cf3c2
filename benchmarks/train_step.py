"""Time one training step (forward, loss, backward to every parameter) and inference, ours beside the installed peers.

    python -m benchmarks.train_step                                  # every cell, every size, the installed peers
    python -m benchmarks.train_step --cells lstm,custom --sizes 32,100,128,256 --rounds 6 --json out/bench.json

Contenders run in processes of their own, in short interleaved turns (`dsl.bench.race`). Before any timing the gradients
of each are compared with a float64 torch loop (or, without torch, our own float64). Peers that take minutes at large
sizes are left out there, unless they are named.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import entries, installed, left_out, made, suited
from benchmarks.peers.problem import GATES, SIZES
from dsl.bench.race import Race, machine, table

Size = tuple[int, int, int, int]


def reference(cell: str, size: Size) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients in float64."""
    name = "torch loop" if "torch loop" in installed() else "tinygrad-seq"
    found: tuple[float, dict[str, np.ndarray]] = made(name, (cell, size), "float64").gradients()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a training step, ours beside the installed peers.")
    parser.add_argument("--cells", default=",".join(GATES))
    parser.add_argument("--sizes", default=";".join(",".join(map(str, s)) for s in SIZES), help="B,T,D,H;B,T,D,H;...")
    parser.add_argument("--peers", help="by default all that are installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=0.4, help="seconds a turn")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    sizes: list[Any] = [tuple(int(n) for n in size.split(",")) for size in options.sizes.split(";")]
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print("" if options.peers else left_out(), end="")
    rows: list[dict[str, Any]] = []
    for size in sizes:
        names = options.peers.split(",") if options.peers else suited(installed(), size)
        with Race(entries(names)) as race:
            for cell in options.cells.split(","):
                found = race.run((cell, size), reference(cell, size), options.rounds, options.turn)
                print(f"\n{cell}  B,T,D,H = {','.join(map(str, size))}\n{table(found)}", flush=True)
                rows += [{"cell": cell, "size": size, **row} for row in found]
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
