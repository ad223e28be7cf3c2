"""Pictures of two shapes, and a sentence that says what they are and how they stand."""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE = 20
SHAPES = ("disc", "square", "triangle", "cross", "ring")
WORDS = ("a", "big", "small", *SHAPES, "above", "below", "left", "right", "of")
END = len(WORDS)
Array = np.ndarray[Any, Any]


def shape(kind: str, radius: int) -> Array:
    """A mask (2*radius + 1, 2*radius + 1) of a shape."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    away = np.hypot(x, y)
    found: dict[str, Array] = {
        "disc": away <= radius + 0.3,
        "square": np.ones_like(away, bool),
        "triangle": np.abs(x) <= (y + radius) / 2 + 0.3,
        "cross": (np.abs(x) <= radius / 3) | (np.abs(y) <= radius / 3),
        "ring": (away <= radius + 0.3) & (away >= radius - 1.2),
    }
    return found[kind]


def scene(random: np.random.Generator) -> tuple[Array, str]:
    """A picture (20, 20) with noise, and its caption: `a big disc above a small cross`, the first named at random."""
    kinds = [str(k) for k in random.choice(SHAPES, 2, replace=False)]
    sizes = [int(random.choice([2, 4])) for _ in kinds]
    down = bool(random.integers(2))  # one above the other, or side by side
    room = SIDE - sum(2 * r + 1 for r in sizes) - 1
    first = int(random.integers(0, max(room, 0) + 1))
    places = [first, first + 2 * sizes[0] + 2 + int(random.integers(0, max(room - first, 0) + 1))]
    image = np.zeros((SIDE, SIDE), np.float32)
    for kind, radius, at in zip(kinds, sizes, places, strict=True):
        at = min(at, SIDE - 2 * radius - 1)
        other = int(random.integers(0, SIDE - 2 * radius))
        top, left = (at, other) if down else (other, at)
        image[top : top + 2 * radius + 1, left : left + 2 * radius + 1] += shape(kind, radius)
    order = [0, 1] if random.integers(2) else [1, 0]
    said = [f"a {'big' if sizes[k] == 4 else 'small'} {kinds[k]}" for k in order]
    relation = ("above" if order[0] == 0 else "below") if down else ("left of" if order[0] == 0 else "right of")
    image = np.minimum(image, 1) * random.uniform(0.7, 1.0) + random.normal(0, 0.1, image.shape)
    return image.astype(np.float32), f"{said[0]} {relation} {said[1]}"


def scenes(random: np.random.Generator, count: int) -> dict[str, Any]:
    """Images (count, 1, 20, 20), words y (T, count) with an end, their lengths, and the captions."""
    pairs = [scene(random) for _ in range(count)]
    captions = [caption.split() for _, caption in pairs]
    lengths = np.array([len(c) + 1 for c in captions])
    y = np.full((int(lengths.max()), count), END)
    for n, words in enumerate(captions):
        y[: len(words), n] = [WORDS.index(w) for w in words]
    return {"image": np.stack([i for i, _ in pairs])[:, None], "y": y, "lengths": lengths, "captions": captions}


def other_way(words: list[str]) -> list[str]:
    """The same scene said from its other shape: both captions are right."""
    turned = {"above": ["below"], "below": ["above"], "left": ["right", "of"], "right": ["left", "of"]}
    relation = next((i for i, w in enumerate(words) if w in turned), len(words))
    if relation == len(words):
        return words
    behind = relation + (2 if words[relation] in ("left", "right") else 1)
    return [*words[behind:], *turned[words[relation]], *words[:relation]]
