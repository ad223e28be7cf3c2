"""Sequences whose answer lies far back: the tasks that papers measure memory with, made by a random generator.

Each function gives the streams of one batch by name, time first; the answer depends on what was seen up to `steps`
steps ago and on nothing else. It knows nothing of cells; those that several examples train on a task are in tasks.cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
CELLS = "../tasks"  # the file of their nets, from an example's folder
LETTERS, RECALLED, BLANK, GO = 8, 10, 8, 9  # of `copying`: symbols to copy, how many of them, and two signs
COPYING_SYMBOLS = 10
ORDER_SYMBOLS = 6


def marked(random: np.random.Generator, steps: int, batch: int) -> tuple[Array, Array]:
    """x (steps, batch, 2), numbers from [0, 1] and marks, one in each half; and the marked numbers (2, batch)."""
    if steps < 2:
        raise ValueError(f"steps: two marks need 2 or more, given {steps}")
    number = random.uniform(0, 1, (steps, batch))
    mark = np.zeros((steps, batch))
    half, rows = steps // 2, np.arange(batch)
    first, second = random.integers(0, half, batch), random.integers(half, steps, batch)
    mark[first, rows] = mark[second, rows] = 1
    return np.stack([number, mark], axis=-1), np.stack([number[first, rows], number[second, rows]])


def adding(random: np.random.Generator, steps: int, batch: int) -> dict[str, Array]:
    """y (batch,): the sum of two marked numbers. Le, Jaitly and Hinton (2015), section 4.1."""
    x, found = marked(random, steps, batch)
    return {"x": x, "y": found.sum(0)}


def multiplication(random: np.random.Generator, steps: int, batch: int) -> dict[str, Array]:
    """y (batch,): their product. Hochreiter and Schmidhuber (1997), experiment 5."""
    x, found = marked(random, steps, batch)
    return {"x": x, "y": found.prod(0)}


def order(random: np.random.Generator, steps: int, batch: int) -> dict[str, Array]:
    """x (steps, batch, 6): four symbols that mean nothing, and at two places A or B; y (batch,): which two, in order.
    Pascanu, Mikolov and Bengio (2013), section 4.1, after Hochreiter and Schmidhuber's experiment 6a."""
    if steps < 10:
        raise ValueError(f"steps: the two places need 10 or more, given {steps}")
    ids = random.integers(2, ORDER_SYMBOLS, (steps, batch))
    rows, which = np.arange(batch), random.integers(0, 2, (2, batch))
    for number, (low, high) in enumerate(((0.1, 0.2), (0.5, 0.6))):
        start, stop = int(low * steps), int(high * steps)
        ids[random.integers(start, max(stop, start + 1), batch), rows] = which[number]
    return {"x": np.eye(ORDER_SYMBOLS)[ids], "y": 2 * which[0] + which[1]}


def copying(random: np.random.Generator, steps: int, batch: int) -> dict[str, Array]:
    """x, y (steps + 20, batch): ten symbols of eight, blanks, a sign to start `steps` steps behind them; then the ten
    again. Arjovsky, Shah and Bengio (2016), section 4.2, after Hochreiter and Schmidhuber (1997)."""
    said = random.integers(0, LETTERS, (RECALLED, batch))
    x = np.full((steps + 2 * RECALLED, batch), BLANK)
    y = x.copy()
    x[:RECALLED], y[-RECALLED:] = said, said
    x[steps + RECALLED - 1] = GO
    return {"x": x, "y": y}


def memoryless(steps: int) -> float:
    """The loss of `copying`, nats a step, of who knows when to answer and guesses what: 10 ln 8 / (steps + 20)."""
    return RECALLED * float(np.log(LETTERS)) / (steps + 2 * RECALLED)
