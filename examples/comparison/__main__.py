"""Twelve cells on three tasks: after how many updates each has solved a length, and how far it gets.

Copying, adding and temporal order (`examples/tasks.py` names the papers), one setting for all: Adam, batches of 20, the
gradient's norm clipped at 1, the same number of updates at most. A cell is tried on the next length when it has solved
the one before. Papers tune rate, start and size for their own cell; here nothing is tuned for any, so a cell that
fails may well learn with other settings. One such setting is tried for every gated cell: a start that remembers as long
as the sequences are (C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?", 2018).

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
from examples.comparison.job import KEEPING, SOLVED, reach, train
from examples.comparison.page import CELLS, LONG, ROWS, ladder, page, results, row
from examples.experiment import Experiment, leave, main

Job = dict[str, Any]
REACHES = "gradient that reaches the second symbol, beside the last input's"


def lengths(e: Experiment) -> tuple[int, ...]:
    return e.size((10, 20), (50, 100, 200, 500, 1000), (50, 100, 200, 500, 1000))


def first(e: Experiment) -> list[Job]:
    """The lowest rung of every ladder."""
    fixed = {"units": e.size(16, 32, 128), "rate": e.size(1e-2, 3e-3, 1e-3), "updates": e.size(300, 2000, 20_000)}
    cells = e.size(["GRU", "TwoMinGRU"], list(CELLS), list(CELLS))
    seeds = [e.seed + k for k in range(e.size(1, 2, 3))]
    steps = lengths(e)[0]
    tasks = e.size(["Order"], list(SOLVED), list(SOLVED))
    plain = [
        {"task": task, "cell": cell, "steps": steps, "seed": seed, **fixed}
        for seed in seeds
        for task in tasks
        for cell in cells
    ]
    return [*plain, *({**job, "remembers": True} for job in plain if job["cell"] in KEEPING)]


def settings(e: Experiment) -> Job:
    return {key: first(e)[0][key] for key in ("units", "rate", "updates")}


def shown(e: Experiment, done: list[Job]) -> list[Job]:
    """The records of this size and these settings, among all that a file holds."""
    seeds, rungs = {job["seed"] for job in first(e)}, lengths(e)
    jobs = [(r, r["job"]) for r in done if settings(e).items() <= r["job"].items() and "clip" not in r["job"]]
    return [record for record, job in jobs if job["seed"] in seeds and job["steps"] in rungs]


def probes(e: Experiment) -> dict[str, list[Job]]:
    """One cell on one task that it fails, with one thing changed at a time."""
    own = settings(e)
    changes: dict[str, Job] = {
        "as in the table": {},
        "a third of the rate": {"rate": round(own["rate"] / 3, 6)},
        "three times the rate": {"rate": round(own["rate"] * 3, 6)},
        "no clipping": {"clip": None},
        "five times the updates": {"updates": 5 * own["updates"]},
        "long start": {"remembers": True},
    }
    fixed = {"task": "Order", "cell": "GRU", "steps": lengths(e)[1]}
    seeds = sorted({job["seed"] for job in first(e)})
    return {name: [{**fixed, **own, "seed": seed, **change} for seed in seeds] for name, change in changes.items()}


def draw(e: Experiment, task: str, climbed: dict[tuple[str, int], Job], rungs: tuple[int, ...]) -> None:
    """Updates by length, a line a cell: of the library's starts, and of the long ones."""
    for suffix, long in (("", False), ("_long", True)):
        curves = {}
        for key, name in ROWS.items():
            found = [steps for steps in rungs if climbed.get((key, steps), {}).get("solved")]
            if found and key.endswith(LONG) == long:
                medians = np.array([climbed[key, steps]["median"] for steps in found])
                curves[name.removesuffix(LONG)] = np.array(found), medians
        if 3 * sum(len(found) > 1 for found, _ in curves.values()) >= max(1, len(curves)):
            title = f"{task}: updates until it is solved" + LONG * long
            e.draw(
                viz.lines(curves, x="T, steps", y="updates", title=title, marks=True, doubling=True),
                task.lower() + suffix,
            )


def state(e: Experiment, task: str, best: dict[str, int]) -> None:
    """The figures of one task from how far each row got."""
    if e.mode == "quick":
        e.figure(f"longest solved, {task}, GRU", best["GRU"], 0, "nothing", "more")
    elif task == "Copying":
        others = max(steps for key, steps in best.items() if key != "Unitary")
        e.figure("longest solved, Copying, unitary", best["Unitary"], others, "every other cell", "more")
    else:
        e.figure(f"longest solved, {task}, LSTM", best["LSTM"], best["Elman"], "tanh", "more")
        long = "LSTM" + LONG
        e.figure(f"longest solved, {task}, LSTM{LONG}", best[long], best["LSTM"], "the library's start", "more")


def run(e: Experiment) -> None:
    rungs, jobs = lengths(e), first(e)

    def climb(job: Job, result: Job) -> Iterator[Job]:
        place = rungs.index(job["steps"]) + 1
        if result["solved"] is not None and place < len(rungs):
            yield {**job, "steps": rungs[place]}

    path = e.folder / f"runs-{e.mode}.json"
    e.earlier = sum(record["result"]["seconds"] for record in shown(e, records(path)))
    tried = {} if e.mode == "quick" else probes(e)
    with workers(e.workers, e.dask) as pool:
        say = print if e.progress else lambda line: None
        sweep(train, jobs, path, pool, then=climb, say=say)
        kept = sweep(train, [job for group in tried.values() for job in group], path, pool, say=say)
    done = shown(e, kept)
    e.note("runs", len(done))
    e.note("processor seconds", round(sum(r["result"]["seconds"] for r in done)))
    for task in dict.fromkeys(job["task"] for job in jobs):
        climbed = ladder(done, task)
        best = {k: max((s for s in rungs if climbed.get((k, s), {}).get("solved")), default=0) for k in ROWS}
        e.note(f"longest solved, {task}", {ROWS[key]: steps for key, steps in best.items() if steps})
        draw(e, task, climbed, rungs)
        state(e, task, best)
    reached = {row(job): reach(job["cell"], rungs[1], e.seed, job.get("remembers", False)) for job in jobs}
    e.note(REACHES, reached)
    e.write("README.md", page(e.mode, settings(e), rungs, done, e.pictures, reached, results(tried, kept)))
    e.keep(path)


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, sweep=True)))
