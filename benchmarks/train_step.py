"""Time one training step (forward, loss, backward to every parameter) and inference, ours beside the installed peers.

    python -m benchmarks.train_step                                  # every cell, every size, every installed peer
    python -m benchmarks.train_step --cells lstm,custom --sizes 32,100,128,256 --rounds 6 --json out/bench.json

How it is kept fair: every contender lives in a process of its own, with its own threads; turns are short and
interleaved, so that a slow minute of the machine meets all alike; only one process works at a time; the same arrays go
to all; the medians are over all turns. Before any timing the gradients of each are compared with a float64 torch loop
(or, without torch, our own float64).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import GATES, PEERS, SIZES, installed, problem

Size = tuple[int, int, int, int]


def serve(name: str, pipe: Connection) -> None:
    """A contender's process: build, time and compare on request."""
    contender: Any = None
    while True:
        command, details = pipe.recv()
        try:
            if command == "build":
                contender = None
                cell, size = details
                start = time.perf_counter()
                contender = PEERS[name][1](cell, *problem(cell, size))
                contender.step()
                contender.infer()
                pipe.send(time.perf_counter() - start)
                contender.step()
            elif command == "gradients":
                pipe.send(contender.gradients())
            elif command == "turn":
                mode, seconds = details
                pipe.send(turn(getattr(contender, mode), seconds))
            else:
                return
        except Exception as error:  # a contender that cannot do a cell is a dash in the table, not the end of the run
            pipe.send(error)


def turn(work: Any, seconds: float) -> list[float]:
    """Times of single runs, after one that wakes the threads and fills the caches."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


@dataclass
class Contender:
    name: str
    process: Any
    pipe: Connection
    times: dict[str, list[float]] = field(default_factory=dict)
    first: float = 0.0
    error: float = float("nan")

    def ask(self, command: str, details: Any = None) -> Any:
        self.pipe.send((command, details))
        answer = self.pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def start(names: list[str]) -> list[Contender]:
    context = multiprocessing.get_context("spawn")
    contenders = []
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(name, there), daemon=True)
        process.start()
        there.close()
        contenders.append(Contender(name, process, here))
    return contenders


def reference(cell: str, size: Size) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients in float64."""
    name = "torch loop" if "torch loop" in installed() else "tinygrad-seq"
    return PEERS[name][1](cell, *problem(cell, size), dtype="float64").gradients()


def deviation(found: tuple[float, Any], true: tuple[float, Any]) -> float:
    """The largest error of a gradient, relative to the largest entry of that gradient."""
    return max(float(np.abs(found[1][k] - g).max() / np.abs(g).max()) for k, g in true[1].items())


def measure(contenders: list[Contender], cell: str, size: Size, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """One row a contender, for one cell and size."""
    true = reference(cell, size)
    live: list[Contender] = []
    rows: list[dict[str, Any]] = []
    for contender in contenders:
        contender.times = {"step": [], "infer": []}
        try:
            contender.first = contender.ask("build", (cell, size))
            contender.error = deviation(contender.ask("gradients"), true)
            live.append(contender)
        except NotImplementedError as error:
            rows.append({"cell": cell, "size": size, "peer": contender.name, "missing": str(error)})
    for number in range(rounds):
        for contender in live[number % len(live) :] + live[: number % len(live)]:
            for mode, times in contender.times.items():
                times += contender.ask("turn", (mode, seconds))
    base = {mode: statistics.median(times) for mode, times in live[0].times.items()}
    for contender in live:
        row: dict[str, Any] = {"cell": cell, "size": size, "peer": contender.name, "gradient_error": contender.error}
        row["first_call_s"] = contender.first
        for mode, times in contender.times.items():
            middle = statistics.median(times)
            row |= {f"{mode}_ms": middle * 1e3, f"{mode}_runs": len(times), f"{mode}_ratio": base[mode] / middle}
        rows.append(row)
    return rows


def machine() -> dict[str, Any]:
    """What must stand beside every number."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pinned = {k: v for k, v in os.environ.items() if k.endswith("NUM_THREADS") or k == "OPENBLAS_CORETYPE"}
    return {"cpu": model, "cores": cores, "system": platform.platform(), "python": platform.python_version()} | pinned


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as text. A ratio is the first contender's time (ours) over this one's: below 1, ours is faster."""
    lines = [f"{'':14}{'train ms':>10}{'ratio':>8}{'infer ms':>10}{'ratio':>8}{'first s':>9}  gradient error"]
    for row in rows:
        if "missing" in row:
            lines.append(f"{row['peer']:14}  {row['missing']}")
            continue
        lines.append(
            f"{row['peer']:14}{row['step_ms']:10.3f}{row['step_ratio']:8.2f}{row['infer_ms']:10.3f}"
            f"{row['infer_ratio']:8.2f}{row['first_call_s']:9.2f}  {row['gradient_error']:.1e}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a training step, ours beside the installed peers.")
    parser.add_argument("--cells", default=",".join(GATES))
    parser.add_argument("--sizes", default=";".join(",".join(map(str, s)) for s in SIZES), help="B,T,D,H;B,T,D,H;...")
    parser.add_argument("--peers", default=",".join(installed()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=0.4, help="seconds a turn")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    sizes: list[Any] = [tuple(int(n) for n in size.split(",")) for size in options.sizes.split(";")]
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    contenders = start(options.peers.split(","))
    rows: list[dict[str, Any]] = []
    for size in sizes:
        for cell in options.cells.split(","):
            found = measure(contenders, cell, size, options.rounds, options.turn)
            print(f"\n{cell}  B,T,D,H = {','.join(map(str, size))}\n{table(found)}", flush=True)
            rows += found
    for contender in contenders:
        contender.pipe.send(("stop", None))
        contender.process.join(10)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
