"""Handwriting that nobody wrote: letters as strokes of a pen, in a hand with a slant, a size and a tremor.

A letter is a few curves through given places of a box one wide and one high (ascenders reach 2, descenders -1). The pen
reports a move of about equal length at a time, as a tablet would, and a 1 where a stroke ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
STEP = 0.34  # length of a move, of the height of an `o`

# letter -> strokes, each the places its curve goes through; "|" lifts the pen
SHAPES = {
    "a": "0.9,0.8 0.5,1 0.1,0.5 0.5,0 0.9,0.5 0.9,1 | 0.9,1 0.9,0.1 1,0",
    "c": "0.9,0.8 0.5,1 0.1,0.5 0.5,0 0.9,0.2",
    "d": "0.9,0.7 0.5,1 0.1,0.5 0.5,0 0.9,0.3 | 0.9,2 0.9,1 0.9,0",
    "e": "0.1,0.5 0.9,0.5 0.8,0.9 0.4,1 0.1,0.5 0.4,0 0.9,0.2",
    "h": "0.1,2 0.1,1 0.1,0 | 0.1,0.6 0.5,1 0.9,0.7 0.9,0",
    "i": "0.4,1 0.4,0.1 0.6,0",
    "l": "0.4,2 0.4,1 0.4,0.1 0.6,0",
    "m": "0.1,1 0.1,0 | 0.1,0.7 0.4,1 0.6,0.7 0.6,0 | 0.6,0.7 0.9,1 1.1,0.7 1.1,0",
    "n": "0.1,1 0.1,0 | 0.1,0.6 0.5,1 0.9,0.7 0.9,0",
    "o": "0.5,1 0.1,0.5 0.5,0 0.9,0.5 0.5,1",
    "p": "0.1,1 0.1,0 0.1,-1 | 0.1,0.7 0.5,1 0.9,0.5 0.5,0 0.1,0.3",
    "t": "0.4,1.7 0.4,0.8 0.5,0 0.8,0.1 | 0.1,1 0.8,1",
    "u": "0.1,1 0.1,0.3 0.5,0 0.9,0.4 | 0.9,1 0.9,0",
}
LETTERS = "".join(sorted(SHAPES)) + " "  # the space is the end of a text: a pause behind the last letter


@dataclass(frozen=True)
class Writer:
    """A hand: `slant` is what x gains a unit of height, `width` and `size` stretch, `tremor` shakes."""

    slant: float
    width: float
    size: float
    tremor: float

    @classmethod
    def of(cls, random: np.random.Generator) -> Writer:
        return cls(random.uniform(-0.6, 0.6), random.uniform(0.8, 1.3), random.uniform(0.85, 1.2), 0.015)


def curve(places: Array, step: float) -> Array:
    """Points about `step` apart on the Catmull-Rom curve through places (n, 2), the first and last included."""
    if len(places) < 2:
        return places
    ends = np.concatenate([2 * places[:1] - places[1:2], places, 2 * places[-1:] - places[-2:-1]])
    u = np.linspace(0, 1, 12, endpoint=False)[:, None]
    fine = [
        0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3)
        for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False)
    ]
    dense = np.concatenate([*fine, places[-1:]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    count = max(2, round(float(along[-1]) / step) + 1)
    even = np.linspace(0, along[-1], count)
    return np.stack([np.interp(even, along, dense[:, k]) for k in (0, 1)], axis=1)


def write(random: np.random.Generator, text: str, writer: Writer) -> Array:
    """Moves (T, 3) of the pen that writes a text: dx, dy, and 1 at the end of each stroke; from the origin."""
    points, ends = [], []
    at = 0.0
    for letter in text:
        if letter == " ":
            continue
        for stroke in SHAPES[letter].split("|"):
            places = np.array([[float(v) for v in pair.split(",")] for pair in stroke.split()])
            own = curve(places, STEP) + random.normal(0, writer.tremor, (1, 2))
            points.append(own + [at, 0.0])
            ends += [0.0] * (len(own) - 1) + [1.0]
        at += 1.35 if letter != "i" and letter != "l" else 0.95
        at += 0.25 * (letter == "m")
    place = np.concatenate(points)
    place += random.normal(0, writer.tremor, place.shape)
    place = np.stack([writer.width * place[:, 0] + writer.slant * place[:, 1], place[:, 1]], axis=1) * writer.size
    moves = np.diff(np.concatenate([np.zeros((1, 2)), place]), axis=0)
    return np.concatenate([moves / STEP, np.array(ends)[:, None]], axis=1)


def slant(moves: Array) -> float:
    """What x gains a unit of height in strokes that go mostly up or down, pen down: their least-squares slope."""
    down = moves[1:][moves[:-1, 2] < 0.5]
    steep = down[np.abs(down[:, 1]) > 1.2 * np.abs(down[:, 0])]
    return float((steep[:, 0] * steep[:, 1]).sum() / max((steep[:, 1] ** 2).sum(), 1e-9))


def batch(random: np.random.Generator, count: int, letters: int) -> dict[str, Any]:
    """Texts of so many letters and a space: moves p (T, count, 3), integers c (letters + 1, count), their lengths and
    writers."""
    texts = ["".join(random.choice(list(LETTERS[:-1]), letters)) + " " for _ in range(count)]
    writers = [Writer.of(random) for _ in texts]
    lines = [write(random, text, writer) for text, writer in zip(texts, writers, strict=True)]
    p = np.zeros((max(map(len, lines)), count, 3), np.float32)
    for n, line in enumerate(lines):
        p[: len(line), n] = line
    c = np.array([[LETTERS.index(k) for k in text] for text in texts]).T
    lengths = {"t": np.array([len(line) for line in lines]), "u": np.full(count, letters + 1)}
    return {"p": p, "c": c, "lengths": lengths, "texts": texts, "writers": writers}
