"""The long run, outside CI: `python -m tests.differential --cells 10000 --out counts.json`.

Every cell goes through reference, tape, finite differences and the adjoint's printed text; every `--compile-every`th
through generated code as well, and every `--torch-every`th through the adjoint as derived, the adjoint of the joined
adjoint and the exported module. Each
cell is one line of a log beside the counts, written as soon as it is known; a run that is broken off goes on where it
was, and `--again` repeats the cells whose last line is no agreement. `docs/correctness.py` makes a page of the counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dsl.run import executable
from dsl.text.diagnostics import CellError
from tests.differential.check import compared, prepare
from tests.differential.generator import random_cell

CHEAP = ("printed",)
COMPILED = ("compiled", "printed compiled")
EXPORTED = ("torch",)
STRIDE = 7919  # a prime
executable.CHUNK_ROWS = 8  # sequences are short: so their loops cross from chunk to chunk


def judged(seed: int, readings: tuple[str, ...]) -> dict[str, Any]:
    """One cell's line: which readings agreed, what a reading says it cannot do, and what stopped the rest."""
    start = time.process_time()
    case = random_cell(seed)
    line: dict[str, Any] = {"seed": seed, "outcome": "agree", "agreed": [], "refused": {}}
    try:
        p = prepare(case)
        line |= {"equations": len(p.system.equations), "sequences": p.batch}
        line["steps"] = max([0, *(n for steps in case.lengths.values() for n in steps)])
        for group in (tuple(r for r in readings if r not in (*COMPILED, *EXPORTED)), COMPILED, EXPORTED):
            try:
                for reading in compared(p, tuple(r for r in group if r in readings)):
                    line["agreed"].append(reading)
            except (CellError, ValueError) as error:
                if group not in (COMPILED, EXPORTED) or not refusal(error, group):
                    raise
                line["refused"][group[0]] = str(error).splitlines()[0][:200]
    except AssertionError as error:
        line |= {"outcome": "disagree", "why": f"{type(error).__name__}: {error}"[:300]}
    except Exception as error:
        line |= {"outcome": "error", "why": f"{type(error).__name__}: {error}"[:300]}
    return line | {"facts": sorted(case.facts), "seconds": round(time.process_time() - start, 4)}


def refusal(error: Exception, group: tuple[str, ...]) -> bool:
    """Whether an error says, by its code, that something is not done by this reading; an export says so in words."""
    if isinstance(error, CellError):
        return all(d.code.startswith("E7") for d in error.diagnostics)
    return group == EXPORTED


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("counts.json"))
    parser.add_argument("--log", type=Path, help="one line a cell (default: beside --out, .jsonl)")
    parser.add_argument("--compile-every", type=int, default=40, help="0: none is compiled")
    parser.add_argument("--torch-every", type=int, default=10, help="0: none is exported")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these; the next run goes on")
    parser.add_argument("--again", action="store_true", help="repeat the cells that did not agree")
    options = parser.parse_args()
    log = options.log or options.out.with_suffix(".jsonl")
    known, end = read(log), time.monotonic() + 60 * options.minutes
    for k in range(options.cells):  # small cells and large ones by turns, so that a part of the run is a fair sample
        seed = options.first + k * STRIDE % options.cells
        if seed in known and not (options.again and known[seed]["outcome"] != "agree"):
            continue
        if time.monotonic() > end:
            break
        readings = CHEAP
        for every, more in ((options.compile_every, COMPILED), (options.torch_every, ("adjoint", "second", "torch"))):
            readings += more if every and seed % every == 0 else ()
        known[seed] = judged(seed, readings)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(known[seed]) + "\n")
        if known[seed]["outcome"] != "agree":
            print(seed, known[seed]["outcome"], known[seed]["why"], flush=True)
    found = counts(known, options.cells)
    options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found["outcomes"]))


if __name__ == "__main__":
    main()
