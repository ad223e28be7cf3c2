"""One training of the comparison: a cell on a task of a length, until it is solved or its updates are used up.

By its own name in a module of its own, so that processes and machines of a sweep can import it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
from examples import tasks

SOURCE = Path(__file__).resolve().parent / "comparison.cell"
# task -> its sequences, the measure of a test, and what of it counts as solved
SOLVED = {
    "Adding": "squared error below 0.01",
    "Order": "99% right",
    "Copying": "99% of the symbols recalled",
}


def batch(task: str, random: np.random.Generator, steps: int, count: int) -> dict[str, Any]:
    if task == "Adding":
        found = tasks.adding(random, steps, count)
        return {"x": found["x"], "y": found["y"][:, None]}
    return tasks.order(random, steps, count) if task == "Order" else tasks.copying(random, steps, count)


def error(task: str, model: Any, test: dict[str, Any]) -> float:
    """What is left of the task on unseen sequences: 0.01 and below is solved."""
    z = model(x=test["x"]).z.numpy()
    if task == "Adding":
        return float(np.mean((z - test["y"]) ** 2))
    if task == "Order":
        return float(np.mean(z.argmax(-1) != test["y"]))
    last = slice(-tasks.RECALLED, None)
    return float(np.mean(z[last].argmax(-1) != test["y"][last]))


def train(task: str, cell: str, steps: int, units: int, rate: float, updates: int, seed: int) -> dict[str, Any]:
    """solved: updates until it was, measured every 100, or null; error: the least that was measured; parameters;
    seconds: of processor time for everything; diverged: the update whose loss was not finite."""
    begun = time.process_time()
    model = dsl.load(f"{SOURCE}:{task}")(Cell=cell).build(H=units, seed=seed)
    test = batch(task, np.random.default_rng([seed, 10**6]), steps, 200)
    seen: list[float] = []

    def measure(m: Any) -> dict[str, float]:
        seen.append(error(task, m, test))
        return {"error": seen[-1]}

    result: dict[str, Any] = {"solved": None, "parameters": model.params.count}
    try:
        done = model.fit(
            source=lambda random: batch(task, random, steps, 20),
            optimizer=tg.optim.Adam(model.params.trained, lr=rate),
            clip=1.0,
            steps=updates,
            valid_every=100,
            evaluate=measure,
            until=lambda found: found["error"] <= 0.01,
            seed=seed,
            progress=False,
        )
        result["solved"] = done.steps if done.reached else None
    except FloatingPointError as fault:
        result["diverged"] = str(fault)
    found = [value for value in seen if np.isfinite(value)]
    return result | {
        "error": round(min(found), 5) if found else None,
        "seconds": round(time.process_time() - begun, 1),
    }
