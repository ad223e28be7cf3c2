"""Twelve cells on three tasks: after how many updates each has solved a length, and how far it gets.

Copying, adding and temporal order (`examples/tasks.py` names the papers), one setting for all: Adam, batches of 20, the
gradient's norm clipped at 1, the same number of updates at most. A cell is tried on the next length when it has solved
the one before. Papers tune rate, start and size for their own cell; here nothing is tuned for any, so a cell that
fails may well learn with other settings.

Results are kept one by one in runs-MODE.json: what was stopped goes on where it was, and `--out examples/comparison`
goes on from the recorded ones. `--dask ADDRESS` runs them on a cluster whose workers can import this folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

import viz
from dsl.run.sweep import sweep, workers
from examples.comparison.job import SOLVED, train
from examples.comparison.page import CELLS, ladder, page
from examples.experiment import Experiment, leave, main

Job = dict[str, Any]


def lengths(e: Experiment) -> tuple[int, ...]:
    return e.size((10, 20), (50, 100, 200), (50, 100, 200, 500, 1000))


def first(e: Experiment) -> list[Job]:
    """The lowest rung of every ladder."""
    settings = {"units": e.size(16, 32, 128), "rate": e.size(1e-2, 3e-3, 1e-3), "updates": e.size(300, 2000, 20_000)}
    cells = e.size(["GRU", "TwoMinGRU"], list(CELLS), list(CELLS))
    seeds = e.size([e.seed], [e.seed], [e.seed, e.seed + 1, e.seed + 2])
    steps = lengths(e)[0]
    named = [
        (seed, task, cell) for seed in seeds for task in e.size(["Order"], list(SOLVED), list(SOLVED)) for cell in cells
    ]
    return [{"task": task, "cell": cell, "steps": steps, "seed": seed, **settings} for seed, task, cell in named]


def run(e: Experiment) -> None:
    rungs = lengths(e)

    def climb(job: Job, result: Job) -> Iterator[Job]:
        place = rungs.index(job["steps"]) + 1
        if result["solved"] is not None and place < len(rungs):
            yield {**job, "steps": rungs[place]}

    path = e.folder / f"runs-{e.mode}.json"
    jobs = first(e)
    with workers(e.workers, e.dask) as pool:
        done = sweep(train, jobs, path, pool, then=climb, say=print if e.progress else lambda line: None)
    settings = {key: jobs[0][key] for key in ("units", "rate", "updates")}
    done = [r for r in done if settings.items() <= r["job"].items()]  # not those of another setting
    e.note("runs", len(done))
    e.note("processor seconds", round(sum(r["result"]["seconds"] for r in done)))
    pictures = {}
    for task in dict.fromkeys(job["task"] for job in jobs):
        climbed = ladder(done, task)
        solved = {cell: [steps for steps in rungs if climbed.get((cell, steps), {}).get("solved")] for cell in CELLS}
        e.note(f"longest solved, {task}", {CELLS[cell]: max(found) for cell, found in solved.items() if found})
        curves = {
            CELLS[cell]: (np.array(found), np.array([climbed[cell, steps]["median"] for steps in found]))
            for cell, found in solved.items()
            if found
        }
        if curves:
            pictures[task] = task.lower()
            title = f"{task}: updates until it is solved"
            e.draw(viz.lines(curves, x="steps", y="updates", log=True, title=title, marks=True), task.lower())
        best = {cell: max(found, default=0) for cell, found in solved.items()}
        if e.mode == "quick":
            e.figure(f"longest solved, {task}, GRU", best["GRU"], 0, "nothing", "more")
        elif task == "Copying":
            others = max(steps for cell, steps in best.items() if cell != "Unitary")
            e.figure("longest solved, Copying, unitary", best["Unitary"], others, "every other cell", "more")
        else:
            e.figure(f"longest solved, {task}, LSTM", best["LSTM"], best["Elman"], "tanh", "more")
    e.write("README.md", page(e.mode, settings, rungs, done, pictures))
    e.keep(path)


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, sweep=True)))
