"""What the long run does with one cell: its readings, one by one, and a line of what became of them."""

from __future__ import annotations

import gc
import time
from typing import Any

from dsl.run import frame
from dsl.text.diagnostics import CellError
from tests.differential.check import compared, prepare
from tests.differential.generator import random_cell
from tinygrad_seq.kernels.machine import effort

COMPILED = ("compiled", "printed compiled")
EXPORTED = ("torch",)
frame.CHUNK_ROWS = 8  # sequences are short: so their loops cross from chunk to chunk


def judged(seed: int, readings: tuple[str, ...]) -> dict[str, Any]:
    """One cell's line: which readings agreed, what a reading says it cannot do, and what stopped the rest."""
    start = time.process_time()
    case = random_cell(seed)
    line: dict[str, Any] = {"seed": seed, "outcome": "agree", "asked": readings, "agreed": [], "refused": {}}
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
    if effort() == 0:
        for told in ("asked", "agreed"):
            line[told] = [unoptimised(r) for r in line[told]]
    return line | {"facts": sorted(case.facts), "seconds": round(time.process_time() - start, 4)}


def unoptimised(reading: str) -> str:
    """What a reading is called whose code LLVM has not optimised."""
    return f"{reading}, unoptimised" if reading in COMPILED else reading


def work(job: tuple[int, tuple[str, ...]]) -> dict[str, Any]:
    """`judged`, in a process that does nothing else: it ends before its garbage is worth collecting."""
    gc.disable()
    return judged(*job)


def refusal(error: Exception, group: tuple[str, ...]) -> bool:
    """Whether an error says, by its code, that something is not done by this reading; an export says so in words."""
    if isinstance(error, CellError):
        return all(d.code.startswith("E7") for d in error.diagnostics)
    return group == EXPORTED
