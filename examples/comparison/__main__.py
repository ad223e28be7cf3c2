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
from dsl.run.sweep import records, sweep, workers
from examples.comparison.job import SOLVED, train
from examples.comparison.page import CELLS, ladder, page
from examples.experiment import Experiment, leave, main

Job = dict[str, Any]


def lengths(e: Experiment) -> tuple[int, ...]:
    return e.size((10, 20), (50, 100, 200, 500), (50, 100, 200, 500, 1000))


def first(e: Experiment) -> list[Job]:
    """The lowest rung of every ladder."""
    fixed = {"units": e.size(16, 32, 128), "rate": e.size(1e-2, 3e-3, 1e-3), "updates": e.size(300, 2000, 20_000)}
    cells = e.size(["GRU", "TwoMinGRU"], list(CELLS), list(CELLS))
    seeds = [e.seed + k for k in range(e.size(1, 2, 3))]
    steps = lengths(e)[0]
    named = [
        (seed, task, cell) for seed in seeds for task in e.size(["Order"], list(SOLVED), list(SOLVED)) for cell in cells
    ]
    return [{"task": task, "cell": cell, "steps": steps, "seed": seed, **fixed} for seed, task, cell in named]


def settings(e: Experiment) -> Job:
    return {key: first(e)[0][key] for key in ("units", "rate", "updates")}


def shown(e: Experiment, done: list[Job]) -> list[Job]:
    """The records of this size and these settings, among all that a file holds."""
    seeds, rungs = {job["seed"] for job in first(e)}, lengths(e)
    jobs = [(record, record["job"]) for record in done if settings(e).items() <= record["job"].items()]
    return [record for record, job in jobs if job["seed"] in seeds and job["steps"] in rungs]


def run(e: Experiment) -> None:
    rungs, jobs = lengths(e), first(e)

    def climb(job: Job, result: Job) -> Iterator[Job]:
        place = rungs.index(job["steps"]) + 1
        if result["solved"] is not None and place < len(rungs):
            yield {**job, "steps": rungs[place]}

    path = e.folder / f"runs-{e.mode}.json"
    e.earlier = sum(record["result"]["seconds"] for record in shown(e, records(path)))
    with workers(e.workers, e.dask) as pool:
        kept = sweep(train, jobs, path, pool, then=climb, say=print if e.progress else lambda line: None)
    done = shown(e, kept)
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
            e.draw(viz.lines(curves, x="T, steps", y="updates", title=title, marks=True), task.lower())
        best = {cell: max(found, default=0) for cell, found in solved.items()}
        if e.mode == "quick":
            e.figure(f"longest solved, {task}, GRU", best["GRU"], 0, "nothing", "more")
        elif task == "Copying":
            others = max(steps for cell, steps in best.items() if cell != "Unitary")
            e.figure("longest solved, Copying, unitary", best["Unitary"], others, "every other cell", "more")
        else:
            e.figure(f"longest solved, {task}, LSTM", best["LSTM"], best["Elman"], "tanh", "more")
    e.write("README.md", page(e.mode, settings(e), rungs, done, pictures))
    e.keep(path)


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, sweep=True)))
