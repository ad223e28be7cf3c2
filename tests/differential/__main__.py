"""The long run, outside CI: `python -m tests.differential --cells 10000 --out counts.json`.

Every cell goes through reference, tape, finite differences and the adjoint's printed text; every `--compile-every`th
through generated code as well, and every `--torch-every`th through the adjoint as derived, the adjoint of the joined
adjoint and the exported module. Each cell is one line of a log beside the counts, written as soon as it is known; a run
that is broken off goes on where it was, and does of a known cell what is asked for and not yet known. `--again` repeats
the cells whose last line is no agreement. `docs/correctness.py` makes a page of the counts.

What generated code costs is LLVM's optimisation: of 2.7 seconds a cell, 2. So `--unoptimised --compile-every 1 --only
compiled` runs all cells through the code of both passes as it is planned, written, translated and emitted, before LLVM
optimises it; that it optimises well (vectors, what may overlap in memory) is what the other cells show. The two are
counted apart.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from tests.differential.judging import COMPILED, unoptimised, work

CHEAP = ("differences", "printed")
STRIDE = 7919  # a prime
RENEWED = 60  # cells that one process judges: it keeps their machine code, and garbage


def joined(before: dict[str, Any] | None, line: dict[str, Any]) -> dict[str, Any]:
    """One line of two runs of a cell: what agreed earlier counts unless the readings of now disagree."""
    if before is None:
        return line
    told = {k: list(dict.fromkeys([*before.get(k, ()), *line[k]])) for k in ("asked", "agreed")}
    return (
        line | told | {"refused": before["refused"] | line["refused"], "seconds": before["seconds"] + line["seconds"]}
    )


def read(log: Path) -> dict[int, dict[str, Any]]:
    """The last line of every seed."""
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return {line["seed"]: line for line in map(json.loads, lines)}


def counts(lines: dict[int, dict[str, Any]], asked: int) -> dict[str, Any]:
    """What the page reports, of what ran and nothing else."""
    found = list(lines.values())
    sizes = [line["equations"] for line in found if "equations" in line]
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    ).stdout.strip()
    return {
        "cells": len(found),
        "asked": asked,
        "seeds": [min(lines), max(lines)] if lines else [],
        "outcomes": dict(sorted(Counter(line["outcome"] for line in found).items())),
        "readings": dict(Counter(r for line in found for r in line["agreed"])),
        "refused": dict(Counter(f"{r}: {why}" for line in found for r, why in line["refused"].items()).most_common(12)),
        "failing": {str(line["seed"]): line["why"] for line in found if line["outcome"] != "agree"},
        "features": dict(sorted(Counter(f for line in found for f in line["facts"]).items())),
        "equations": {"mean": round(sum(sizes) / max(1, len(sizes)), 1), "most": max(sizes, default=0)},
        "steps": max((line.get("steps", 0) for line in found), default=0),
        "seconds": round(sum(line["seconds"] for line in found)),
        "versions": {n: version(n) for n in ("numpy", "numba", "scipy", "torch")}
        | {"python": platform.python_version(), "revision": revision},
    }


def jobs(known: dict[int, dict[str, Any]], options: Any) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Seeds with the readings that they are due, small cells and large ones by turns: a part of the run is a fair
    sample."""
    due = {options.compile_every: COMPILED, options.torch_every: ("adjoint", "second", "torch")}
    for k in range(options.cells):
        seed = options.first + k * STRIDE % options.cells
        readings = CHEAP + tuple(r for every, more in due.items() if every and seed % every == 0 for r in more)
        if options.only is not None:
            readings = tuple(r for r in readings if r in options.only)
        line = known.get(seed)
        if line is not None and (line["outcome"] == "agree" or not options.again):
            readings = tuple(r for r in readings if (unoptimised(r) if options.unoptimised else r) not in line["asked"])
            if not readings:
                continue
        yield seed, readings


def judgements(todo: Iterator[tuple[int, tuple[str, ...]]], processes: int, end: float) -> Iterator[dict[str, Any]]:
    """Lines of the jobs as they are known, until the time is over. A process that dies takes the run with it: the log
    lacks the cells it was at."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, max_tasks_per_child=RENEWED) as pool:
        running = {pool.submit(work, job) for job in islice(todo, 2 * processes)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for found in done:
                yield found.result()
                if time.monotonic() < end:
                    running |= {pool.submit(work, job) for job in islice(todo, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("counts.json"))
    parser.add_argument("--log", type=Path, help="one line a cell (default: beside --out, .jsonl)")
    parser.add_argument("--compile-every", type=int, default=40, help="0: none is compiled")
    parser.add_argument("--torch-every", type=int, default=10, help="0: none is exported")
    parser.add_argument("--only", nargs="*", help="these readings (and the tape), of those that a cell is due")
    parser.add_argument("--unoptimised", action="store_true", help="generated code as it is before LLVM optimises it")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these; the next run goes on")
    parser.add_argument("--again", action="store_true", help="repeat the cells that did not agree")
    options = parser.parse_args()
    log = options.log or options.out.with_suffix(".jsonl")
    known, end = read(log), time.monotonic() + 60 * options.minutes
    if options.unoptimised:
        os.environ["NUMBA_OPT"] = "0"  # read by the processes that are started now
    for line in judgements(jobs(known, options), options.jobs, end):
        seed = line["seed"]
        known[seed] = joined(known.get(seed), line)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(known[seed]) + "\n")
        if line["outcome"] != "agree":
            print(seed, line["outcome"], line["why"], flush=True)
    found = counts(known, options.cells)
    options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found["outcomes"]))


if __name__ == "__main__":
    main()
