"""What is heard: invented words as frames of a filter bank, spoken by somebody at some speed.

A sound is one or two bumps over twelve bands that move while it lasts; a speaker shifts them all. The spelling is
English enough to need what comes next: /k/ is c before a, o, u and the end, k before e, i; /s/ is c before e, i, and s
elsewhere. So no frame tells its letter by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BANDS = 12
LETTERS = " abcdefgiklmnopstu"
Array = np.ndarray[Any, Any]

# sound -> (frames on average, bands of its bumps at the beginning, and at the end)
SOUNDS: dict[str, tuple[float, tuple[float, float], tuple[float, float]]] = {
    "a": (4, (5, 7), (5, 7)),
    "e": (4, (3, 9), (3, 9)),
    "i": (4, (1, 10), (1, 10)),
    "o": (4, (4, 5), (3, 5)),
    "u": (4, (1, 3), (1, 4)),
    "b": (2, (0, 2), (3, 5)),
    "d": (2, (1, 8), (3, 7)),
    "g": (2, (2, 6), (4, 7)),
    "p": (2, (0, 5), (2, 6)),
    "t": (2, (8, 10), (6, 9)),
    "K": (2, (6, 8), (5, 6)),
    "S": (3, (10, 11), (10, 11)),
    "f": (3, (8, 11), (8, 11)),
    "l": (2, (2, 7), (3, 8)),
    "m": (3, (0, 4), (0, 4)),
    "n": (3, (0, 6), (0, 6)),
}
CONSONANTS, VOWELS = "bdgptKSflmn", "aeiou"


def words(random: np.random.Generator, syllables: int) -> str:
    """Sounds of one or two words of open syllables, long ones perhaps without their last vowel; a space is between."""
    said = []
    for _ in range(int(random.integers(1, 3))):
        word = "".join(random.choice(list(CONSONANTS)) + random.choice(list(VOWELS)) for _ in range(syllables))
        said.append(word[: len(word) - int(random.integers(0, 2)) * (syllables > 1)])
    return " ".join(said)


def spelled(sounds: str) -> str:
    """The letters of sounds."""
    out = []
    for n, sound in enumerate(sounds):
        soft = sounds[n + 1 : n + 2] in ("e", "i")
        out.append({"K": "k" if soft else "c", "S": "c" if soft else "s"}.get(sound, sound))
    return "".join(out)


def spoken(random: np.random.Generator, sounds: str) -> tuple[Array, Array]:
    """Frames (T, 12) of sounds, and for each frame which of the sounds it belongs to, (T,)."""
    shift, speed = random.uniform(-0.6, 0.6), random.uniform(0.8, 1.3)
    bands = np.arange(BANDS)
    frames, owner = [], []
    for n, sound in enumerate(sounds):
        mean, start, end = SOUNDS.get(sound, (2.0, (0.0, 0.0), (0.0, 0.0)))
        count = max(1, round(mean * speed + random.uniform(-0.7, 0.7)))
        for k in range(count):
            along = (k + 0.5) / count
            places = [(1 - along) * a + along * b + shift for a, b in zip(start, end, strict=True)]
            loud = 0.0 if sound == " " else 1.0
            frames.append(loud * sum(np.exp(-0.5 * (bands - p) ** 2) for p in places))
            owner.append(n)
    clean = np.array(frames)
    smooth = 0.75 * clean + 0.25 * np.concatenate([clean[:1], clean[:-1]])  # a sound lingers into the next
    return np.asarray(smooth + random.normal(0, 0.2, clean.shape), np.float32), np.array(owner)


def utterances(random: np.random.Generator, count: int, syllables: int) -> dict[str, Any]:
    """Frames x (T, count, 12), letters y (U, count), lengths by axis s (frames) and u (letters), texts, and for each
    frame the letter that it belongs to, `letter` (T, count), -1 behind the end."""
    said = [words(random, syllables) for _ in range(count)]
    heard = [spoken(random, sounds) for sounds in said]
    texts = [spelled(sounds) for sounds in said]
    frames, letters = max(len(x) for x, _ in heard), max(map(len, texts))
    x = np.zeros((frames, count, BANDS), np.float32)
    y, letter = np.zeros((letters, count), int), np.full((frames, count), -1)
    for b, ((own, owner), text) in enumerate(zip(heard, texts, strict=True)):
        x[: len(own), b] = own
        y[: len(text), b] = [LETTERS.index(c) for c in text]
        letter[: len(own), b] = y[owner, b]
    lengths = {"s": np.array([len(own) for own, _ in heard]), "u": np.array([len(t) for t in texts])}
    return {"x": x, "y": y, "lengths": lengths, "texts": texts, "letter": letter}
