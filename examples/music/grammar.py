"""A chord grammar with a known entropy: phrases of eight chords in a key that is never said, with ways to leave it.

State: key, place in the phrase, and the degree that was last heard. The chord tells the degree only to somebody who
remembers the key, since the same triad is another degree elsewhere. State and chord together give the next state, so
that whoever knows the grammar knows the state, and its probabilities are the least loss there is.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
PHRASE = 8
ROOTS = "C Db D Eb E F Gb G Ab A Bb B".split()
# degree -> semitones above the key's root, and the kind of chord
DEGREES = {"I": (0, ""), "ii": (2, "m"), "iii": (4, "m"), "IV": (5, ""), "V": (7, ""), "vi": (9, "m")}
SYMBOLS = tuple(root + kind for kind in ("", "m", "7") for root in ROOTS)  # V7 of the new key changes to it
NUMBER = {name: n for n, name in enumerate(SYMBOLS)}

# what may follow a degree inside of a phrase, and how often
FOLLOW = {
    "I": {"I": 1, "ii": 2, "iii": 1, "IV": 3, "V": 2, "vi": 3},
    "ii": {"V": 6, "IV": 1, "ii": 1},
    "iii": {"vi": 4, "IV": 2},
    "IV": {"I": 2, "V": 4, "ii": 2},
    "V": {"I": 5, "vi": 2, "IV": 1},
    "vi": {"ii": 3, "IV": 3, "V": 1, "iii": 1},
}
CLOSE = {"half": {"V": 1}, "full": {"V": 4, "IV": 1}}  # before the last chord of a phrase, which is I
State = tuple[int, int, str]  # key, place, degree
START: State = (-1, 0, "")


def chord(key: int, degree: str) -> str:
    semitones, kind = DEGREES[degree]
    return ROOTS[(key + semitones) % 12] + kind


@cache
def options(state: State) -> tuple[tuple[str, float, State], ...]:
    """What may come in a state: chord, probability, next state. The first chord is I of any key."""
    key, place, degree = state
    if key < 0:
        return tuple((chord(k, "I"), 1 / 12, (k, 1, "I")) for k in range(12))
    following = (place + 1) % PHRASE
    if place == 0:  # a new phrase begins on I or vi, or with the V7 of a key a fifth up or down
        stay = [("I", 0.6), ("vi", 0.2)]
        found = [(chord(key, d), p, (key, 1, d)) for d, p in stay]
        for step in (7, 5):
            new = (key + step) % 12
            found.append((ROOTS[(new + 7) % 12] + "7", 0.1, (new, 1, "V")))
        return tuple(found)
    if place == PHRASE - 1:
        weights = {"I": 1}
    elif place == PHRASE - 2:
        weights = CLOSE["full"]
    elif place == PHRASE // 2 - 1:
        weights = CLOSE["half"]
    else:
        weights = FOLLOW[degree]
    total = sum(weights.values())
    return tuple((chord(key, d), w / total, (key, following, d)) for d, w in weights.items())


def songs(random: np.random.Generator, count: int, steps: int) -> tuple[Array, Array]:
    """Chords (steps, count) as integers, and for each the log-probability that the grammar gave it."""
    ids, log_p = np.zeros((steps, count), int), np.zeros((steps, count))
    for n, chances in enumerate(random.random((count, steps)).tolist()):
        state = START
        for t, left in enumerate(chances):
            for option in options(state):
                left -= option[1]
                if left < 0:
                    break
            ids[t, n], log_p[t, n], state = NUMBER[option[0]], np.log(option[1]), option[2]
    return ids, log_p


def entropies(steps: int) -> Array:
    """The exact entropy (steps,) of each chord given all before it: of the state's distribution, carried forward."""
    now: dict[State, float] = {START: 1.0}
    out = np.zeros(steps)
    for t in range(steps):
        after: dict[State, float] = {}
        for state, weight in now.items():
            for _, p, following in options(state):
                out[t] -= weight * p * np.log(p)
                after[following] = after.get(following, 0.0) + weight * p
        now = after
    return out


def grammatical(ids: Any) -> int:
    """How many chords from the beginning the grammar allows."""
    state = START
    for n, k in enumerate(np.asarray(ids).tolist()):
        following = next((s for name, _, s in options(state) if name == SYMBOLS[k]), None)
        if following is None:
            return n
        state = following
    return len(ids)
