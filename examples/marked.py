"""Two numbers of a long sequence are marked, and one number is the answer: what adding, multiplication and the study of
forget biases train. It knows no cell; a model has a loss `mse`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dsl.run.course import Training
from examples.experiment import Experiment

BATCH = 32
Task = Callable[[np.random.Generator, int, int], dict[str, Any]]


def learn(
    e: Experiment,
    name: str,
    model: Any,
    task: Task,
    steps: int,
    *,
    optimizer: Any,
    updates: int,
    every: int,
    enough: float,
    tests: int = 500,
    clip: float | None = 1.0,
    schedule: Callable[[int], float] | None = None,
) -> Training:
    """Train on new sequences of `steps` numbers, 32 an update, until the mean squared error of `tests` unseen ones,
    the measure `mse` taken `every` updates, is below `enough`, or for so many `updates`. The gradient's norm is
    clipped at `clip`."""
    test = task(e.unseen(), steps, tests)
    return e.fit(
        model,
        name,
        source=lambda random: task(random, steps, BATCH),
        optimizer=optimizer,
        schedule=schedule,
        clip=clip,
        steps=updates,
        valid_every=every,
        evaluate=lambda m: {"mse": float(m(**test).mse.data)},
        until=lambda found: found["mse"] < enough,
    )
