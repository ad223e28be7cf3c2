"""Teacher forcing against free running: a net that was always told the truth does not know how to go on without it.

R. J. Williams, D. Zipser, "A learning algorithm for continually running fully recurrent neural networks" (1989): in
training each step is given the true last value. Left alone, a net reads its own values, whose errors it never met; they
add up. S. Bengio, O. Vinyals, N. Jaitly, N. Shazeer, "Scheduled sampling for sequence prediction" (2015) tells the
truth less and less often. Here waves of random frequency and phase, told for some steps and then to be continued. One
cell does all three; only `told` differs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from examples.experiment import Experiment, leave, main

Array = np.ndarray[Any, Any]


def waves(random: np.random.Generator, steps: int, batch: int) -> Array:
    """(steps, batch): sines of period 8 to 25."""
    period, phase = random.uniform(8, 25, batch), random.uniform(0, 2 * np.pi, batch)
    return np.asarray(np.sin(2 * np.pi * np.arange(steps)[:, None] / period + phase))


def run(e: Experiment) -> None:
    steps, known, updates = e.size(30, 60, 100), e.size(15, 20, 20), e.size(150, 1500, 6000)
    start = (np.arange(steps) < known)[:, None]
    done = [0]  # batches drawn, for the schedule

    def scheduled(random: np.random.Generator, batch: int) -> Array:
        done[0] += 1
        return start | (random.random((steps, batch)) >= min(1.0, 1.5 * done[0] / updates))

    ways: dict[str, Callable[[np.random.Generator, int], Array]] = {
        "teacher forcing": lambda random, batch: np.ones((steps, batch), bool),
        "scheduled sampling": scheduled,
        "free running": lambda random, batch: np.broadcast_to(start, (steps, batch)),
    }
    test = waves(e.unseen(), steps, 200)
    forced, alone = np.ones_like(test), np.broadcast_to(1.0 * start, test.shape)
    next_step, far, growth, picture = {}, {}, {}, {"the wave": test[:, 0]}
    for name, told in ways.items():
        done[0] = 0

        def batch(random: np.random.Generator, told: Any = told) -> dict[str, Array]:
            return {"y": waves(random, steps, 32), "told": 1.0 * told(random, 32)}

        model = e.cell("Wave").build(H=e.size(16, 32, 64), seed=e.seed)
        model.fit(
            source=batch,
            optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 5e-3, 3e-3)),
            clip=1.0,
            steps=updates,
            seed=e.seed,
            progress=e.progress,
        )
        error = (model(y=test, told=alone).z.numpy() - test) ** 2
        next_step[name] = float(np.mean((model(y=test, told=forced).z.numpy() - test)[known:] ** 2))
        far[name], growth[name] = float(error[known:].mean()), np.sqrt(error.mean(1))
        picture[name] = model(y=test, told=alone).z.numpy()[:, 0]
        e.note(f"{name}: squared error a step ahead, and alone", [round(next_step[name], 5), round(far[name], 5)])
    forcing, free = "teacher forcing", "free running"
    e.figure("teacher forcing, a step ahead", next_step[forcing], 0.5, "always answering 0")
    e.figure(
        "teacher forcing, alone beside a step ahead",
        far[forcing] / next_step[forcing],
        1.0,
        "no loss of accuracy",
        "more",
    )
    e.figure("trained alone, error alone", far[free], far[forcing], "trained by teacher forcing")
    e.draw(viz.lines(growth, y="root mean squared error", log=True, title=f"Left alone from step {known} on"), "growth")
    e.draw(viz.lines(picture, title=f"One wave, told up to step {known}"), "wave")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
