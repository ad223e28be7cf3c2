"""Learning-rate schedules: factors of an optimizer's rate by step, counted from 1.

A schedule is a plain function `step -> factor`, so that a user's own is a lambda; those here are the usual ones.
`fit(schedule=...)` multiplies the optimizer's rate by it; a loop of one's own writes `opt.lr = rate * factor(step)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """Always 1."""
    return lambda step: 1.0


def exponential(decay: float, every: int = 1, start: int = 0) -> Schedule:
    """decay ** ((step - start) / every) behind `start` steps at 1; `decay` in (0, 1]."""
    _positive(every=every)
    if not 0 < decay <= 1:
        raise ValueError(f"decay: expected a number in (0, 1], given {decay}")
    return lambda step: decay ** (max(0, step - start) / every)


def stairs(decay: float, every: int, start: int = 0) -> Schedule:
    """decay ** ((step - start) // every): a factor at a time (char-rnn's is .97 an epoch behind the tenth)."""
    _positive(every=every)
    return lambda step: float(decay ** (max(0, step - start) // every))


def cosine(steps: int, least: float = 0.0) -> Schedule:
    """From 1 to `least` over `steps`, half a cosine (Loshchilov and Hutter 2017), and `least` from there on."""
    _positive(steps=steps)
    return lambda step: least + (1 - least) * 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def linear(steps: int, least: float = 0.0) -> Schedule:
    """From 1 to `least` over `steps` in a straight line, and `least` from there on."""
    _positive(steps=steps)
    return lambda step: 1 + (least - 1) * min(step, steps) / steps


def warmup(steps: int, then: Schedule | None = None) -> Schedule:
    """step / steps up to 1 at `steps`, then `then`, whose steps count from there."""
    _positive(steps=steps)
    after = then if then is not None else constant()
    return lambda step: step / steps if step < steps else after(step - steps)


def _positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, given {value}")


__all__ = ["Schedule", "constant", "cosine", "exponential", "linear", "stairs", "warmup"]
