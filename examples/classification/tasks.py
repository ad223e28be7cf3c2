"""What is told apart: reviews with negations, stretches of DNA with and without a motif, handprinted digits, brackets
that close and that do not, an even and an odd number of ones.

Each maker gives sequences of vectors x (T, N, D), lengths (N,), classes y (N,), and the sequences as something that can
be shown. Everything comes out of a numpy Generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dsl.run.words import Words
from examples.glyphs import GLYPHS, HEIGHT, WIDTH, stretched

Array = np.ndarray[Any, Any]
GOOD = "good great fine lovely clever moving brilliant funny".split()
BAD = "bad dull poor silly boring clumsy awful flat".split()
NOUNS = "film story cast music ending plot camera script".split()
OPENINGS = ("i saw it last week", "my friends came along", "it runs for two hours", "we sat in the front row")
ENDINGS = ("and we went home", "i had popcorn", "it was raining", "the bus was late", "")


@dataclass
class Set:
    """Sequences with a class each."""

    x: Array
    lengths: Array
    y: Array
    shown: list[list[str]]
    classes: int


def review(random: np.random.Generator) -> tuple[list[str], int]:
    """A review and whether it praises: one judgement among sentences that judge nothing.

    A "not" or a "hardly" (three of ten) turns the judgement around, and so does "nobody could say that" before it (one
    of five); both together turn it back. So the judging word alone is right in 62 of 100.
    """
    praise = bool(random.integers(2))
    before, inside = random.random() < 0.2, random.random() < 0.3
    word = str(random.choice(GOOD if praise else BAD))
    parts = [str(random.choice(OPENINGS))]
    if before:
        parts.append("nobody could say that")
    turned = (str(random.choice(["not", "hardly"])),) if inside else ()
    parts += ["the", str(random.choice(NOUNS)), "was", *turned, str(random.choice(["very", "really", "so"])), word]
    parts.append(str(random.choice(ENDINGS)))
    return " ".join(parts).split(), int(praise ^ before ^ inside)


def reviews(random: np.random.Generator, count: int) -> Set:
    pairs = [review(random) for _ in range(count)]
    rest = "nobody could say that the was not hardly very really so"
    every = " ".join([*OPENINGS, *ENDINGS, *GOOD, *BAD, *NOUNS, rest])
    words = Words(sorted(set(every.split())))
    return _symbols([list(words.encode(w)) for w, _ in pairs], [w for w, _ in pairs], [k for _, k in pairs], len(words))


def dna(random: np.random.Generator, count: int, length: int = 60) -> Set:
    """Whether TATAWAW (W is A or T; the TATA box) stands anywhere in a stretch of bases; where it does not, its
    letters do, shuffled, so that counting bases tells nothing."""
    rows, classes = [], []
    for _ in range(count):
        bases = random.integers(0, 4, length)  # A C G T
        box = np.array([3, 0, 3, 0, random.choice([0, 3]), 0, random.choice([0, 3])])
        has = int(random.integers(2))
        at = int(random.integers(0, length - len(box) + 1))
        bases[at : at + len(box)] = box if has else random.permutation(box)
        rows.append(bases.tolist())
        classes.append(int(has or motif(bases)))
    return _symbols(rows, [["ACGT"[k] for k in row] for row in rows], classes, 4)


def motif(bases: Array) -> bool:
    """Whether TATAWAW is in a stretch."""
    text = "".join("ACGT"[k] for k in bases)
    return any(f"TATA{a}A{b}" in text for a in "AT" for b in "AT")


def digits(random: np.random.Generator, count: int) -> Set:
    """Digits printed at some size and place in a noisy image of 16 by 16, read row by row."""
    images, classes = np.zeros((count, 16, 16), np.float32), random.integers(0, 10, count)
    for n, k in enumerate(classes):
        height, width = HEIGHT + int(random.integers(0, 6)), WIDTH + int(random.integers(0, 6))
        top, left = int(random.integers(0, 17 - height)), int(random.integers(0, 17 - width))
        images[n, top : top + height, left : left + width] = stretched(GLYPHS[str(k)], height, width)
    images += random.normal(0, 0.35, images.shape)
    shown = [[f"row {r}" for r in range(16)]] * count
    return Set(images.transpose(1, 0, 2).astype(np.float32), np.full(count, 16), classes, shown, 10)


def brackets(random: np.random.Generator, count: int) -> Set:
    """Two kinds of brackets, 4 to 24 of them: whether each closes the last one open. Where not, two have changed places
    in a string that did: what there is, and how often, tells nothing. (The Dyck language of two pairs.)"""
    rows, classes = [], []
    for _ in range(count):
        row = _balanced(random, int(random.integers(2, 13)))
        good = int(random.integers(2))
        while not good and closes(row):
            i, j = random.choice(len(row), 2, replace=False)
            row[i], row[j] = row[j], row[i]
        rows.append(row)
        classes.append(good)
    return _symbols(rows, [["()[]"[k] for k in row] for row in rows], classes, 4)


def _balanced(random: np.random.Generator, pairs: int) -> list[int]:
    """Brackets opened and closed at random until so many pairs are."""
    row: list[int] = []
    waiting: list[int] = []
    while pairs or waiting:
        if pairs and (not waiting or random.random() < 0.5):
            waiting.append(2 * int(random.integers(2)))
            row.append(waiting[-1])
            pairs -= 1
        else:
            row.append(waiting.pop() + 1)
    return row


def closes(row: list[int]) -> bool:
    """Whether every bracket is closed by one of its kind, in order."""
    waiting: list[int] = []
    for k in row:
        if k % 2 == 0:
            waiting.append(k)
        elif not waiting or waiting.pop() != k - 1:
            return False
    return not waiting


def parity(random: np.random.Generator, count: int) -> Set:
    """One to twenty bits, each length alike often: whether the number of ones is odd."""
    rows = [random.integers(0, 2, random.integers(1, 21)).tolist() for _ in range(count)]
    return _symbols(rows, [["01"[k] for k in row] for row in rows], [sum(row) % 2 for row in rows], 2)


def _symbols(rows: list[list[int]], shown: list[list[str]], classes: list[int], symbols: int) -> Set:
    """Integers as one-hot vectors."""
    lengths = np.array([len(r) for r in rows])
    x = np.zeros((int(lengths.max()), len(rows), symbols), np.float32)
    for n, row in enumerate(rows):
        x[np.arange(len(row)), n, row] = 1
    return Set(x, lengths, np.array(classes), shown, int(max(classes)) + 1)


TASKS = {"reviews": reviews, "DNA": dna, "digits": digits, "brackets": brackets, "parity": parity}
