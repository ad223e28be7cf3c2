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
from tinygrad_seq.initializers import initialize

SOURCE = Path(__file__).resolve().parents[1] / "tasks.cell"
# task -> its sequences, the measure of a test, and what of it counts as solved
SOLVED = {
    "Adding": "squared error below 0.01",
    "Order": "99% right",
    "Copying": "99% of the symbols recalled",
}

# cell -> the biases of the gates that decide what stays: 1 where an open gate keeps, -1 where it replaces
KEEPING = {
    "LSTM": {"b_f": 1, "b_i": -1},
    "GRU": {"b_z": 1},
    "GRUResetAfter": {"b_z": 1},
    "MGU": {"b_f": -1},
    "TwoMinGRU": {"b_z": -1},
    "TwoIndRNN": {},
}


def remember(model: Any, cell: str, steps: int, seed: int) -> None:
    """Have a cell remember for up to `steps` steps as it starts.

    Gates: biases of log u or -log u, u uniform on [1, steps - 1], one for both gates of a unit (Tallec and Ollivier
    2018, section 3). IndRNN: each unit's own weight, in the last layer, in [2^(-1/steps), 1], so that half or more of a
    value is left at the end (after Li et al. 2018, section 3: a range that follows from how long is to be remembered).
    """
    random, layers = np.random.default_rng([seed, 2]), {}
    for name, value in list(model.params.items()):
        layer, _, own = name.rpartition(".")
        if own in KEEPING[cell]:
            if layer not in layers:
                layers[layer] = initialize("chrono", value.shape, random, np.float64, steps)
            model.params[name] = KEEPING[cell][own] * layers[layer]
        elif name == "rnn.rnn.1.u":
            model.params[name] = random.uniform(0.5 ** (1 / steps), 1, value.shape)


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


def reach(cell: str, steps: int, seed: int, remembers: bool = False, units: int = 32) -> float:
    """How much of the gradient gets to where `Order` needs it, before training: its norm by the inputs around the
    second of the two symbols, beside that by the last input; the mean over twenty sequences, in float64."""
    model = dsl.load(f"{SOURCE}:Order")(Cell=cell).build(H=units, seed=seed, dtype="float64")
    if remembers:
        remember(model, cell, steps, seed)
    given = batch("Order", np.random.default_rng([seed, 3]), steps, 20)
    x = tg.tensor(given["x"], requires_grad=True)
    model(x=x, y=given["y"]).nll.backward()
    norm = np.linalg.norm(x.grad.numpy(), axis=-1).mean(1)
    return float(f"{norm[steps // 2 : 3 * steps // 5].mean() / norm[-1]:.3g}")


def train(
    task: str,
    cell: str,
    steps: int,
    units: int,
    rate: float,
    updates: int,
    seed: int,
    remembers: bool = False,
    clip: float | None = 1.0,
) -> dict[str, Any]:
    """Train a cell as the library starts it, or so that it `remembers` from the start.

    solved: updates until it was, measured every 100, or null; error: the least that was measured; parameters;
    seconds: of processor time for everything; diverged: the update whose loss was not finite."""
    begun = time.process_time()
    model = dsl.load(f"{SOURCE}:{task}")(Cell=cell).build(H=units, seed=seed)
    if remembers:
        remember(model, cell, steps, seed)
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
            clip=clip,
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
