"""Clips of a ball in a box, and for each frame what the ball is doing, which no frame shows by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE = 16
RADIUS = 1.6
CLASSES = ("left", "right", "up", "down", "bounce", "rest")
Array = np.ndarray[Any, Any]


def clip(random: np.random.Generator, frames: int) -> tuple[Array, Array, Array]:
    """Frames (frames, 16, 16), the class of each (frames,), and where the ball is (frames, 2).

    The ball rolls along one axis, turns round at a wall, lies still now and then, and goes on in any direction. A frame
    says what has happened since the frame before: a bounce where the ball has turned round, else its direction, or that
    it lies; the first frame is one of rest.
    """
    place = random.uniform(RADIUS, SIDE - 1 - RADIUS, 2)
    velocity, left = np.zeros(2), 1
    images, classes, places = [], [], []
    y, x = np.mgrid[:SIDE, :SIDE]
    for _ in range(frames):
        bounced = False
        left -= 1
        if left <= 0 and images:
            rest = bool(velocity.any()) and random.random() < 0.4
            axis, speed = int(random.integers(2)), float(random.choice([-1, 1])) * random.uniform(0.8, 1.8)
            velocity = np.zeros(2) if rest else np.where(np.arange(2) == axis, speed, 0.0)
            left = int(random.integers(2, 5)) if rest else int(random.integers(4, 10))
        place = place + velocity
        for k in range(2):
            if not RADIUS <= place[k] <= SIDE - 1 - RADIUS:
                place[k] = 2 * np.clip(place[k], RADIUS, SIDE - 1 - RADIUS) - place[k]
                velocity[k], bounced = -velocity[k], True
        if bounced:
            label = "bounce"
        elif velocity[0]:
            label = "right" if velocity[0] > 0 else "left"
        elif velocity[1]:
            label = "down" if velocity[1] > 0 else "up"
        else:
            label = "rest"
        ball = np.clip(RADIUS + 0.5 - np.hypot(x - place[0], y - place[1]), 0, 1)
        images.append(ball * random.uniform(0.8, 1.0) + random.normal(0, 0.1, ball.shape))
        classes.append(CLASSES.index(label))
        places.append(place.copy())
    return np.array(images, np.float32), np.array(classes), np.array(places)


def clips(random: np.random.Generator, count: int, frames: int) -> dict[str, Any]:
    """Images (frames, count, 16, 16) and classes y (frames, count)."""
    found = [clip(random, frames) for _ in range(count)]
    return {"image": np.stack([i for i, _, _ in found], axis=1), "y": np.stack([c for _, c, _ in found], axis=1)}
