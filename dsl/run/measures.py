"""How good sequences of symbols are beside the ones that were meant: edit distance, error rate, BLEU, perplexity.

Knows sequences of anything that can be compared (characters, words, integers), nothing of models.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

Sequences = Sequence[Sequence[Any]]


def edit_distance(a: Sequence[Any], b: Sequence[Any]) -> int:
    """The fewest insertions, deletions and substitutions that turn `a` into `b` (Levenshtein 1966).

    Row by row of the table of prefixes (Wagner and Fischer 1974); a row's insertions, which depend on their left
    neighbour, are a running minimum.
    """
    known: dict[Any, int] = {}
    left, right = (np.array([known.setdefault(s, len(known)) for s in side], np.int64) for side in (a, b))
    column = np.arange(len(right) + 1)
    row = column.copy()
    for symbol in left:
        below = row + 1
        below[1:] = np.minimum(below[1:], row[:-1] + (right != symbol))
        row = np.minimum.accumulate(below - column) + column
    return int(row[-1])


def error_rate(found: Sequences, meant: Sequences) -> float:
    """Edits a symbol that was meant, over all sequences: of characters it is the CER, of words the WER.

    Errors: ValueError when the two differ in number, or when nothing was meant.
    """
    _paired(found, meant)
    symbols = sum(len(m) for m in meant)
    if not symbols:
        raise ValueError("error_rate: the sequences that were meant are all empty")
    return sum(edit_distance(f, m) for f, m in zip(found, meant, strict=True)) / symbols


def exact(found: Sequences, meant: Sequences) -> float:
    """The share of sequences that are as they were meant from beginning to end."""
    _paired(found, meant)
    return sum(list(f) == list(m) for f, m in zip(found, meant, strict=True)) / len(meant)


def bleu(found: Sequences, meant: Sequences, order: int = 4) -> float:
    """BLEU of a corpus with one reference a sentence (K. Papineni et al., ACL 2002), in [0, 1].

    The geometric mean over n = 1..order of the share of found n-grams that are in the reference, each counted at most
    as often as it is there; times exp(1 - r/c) where the c symbols found are fewer than the r of the references.
    Not smoothed: an order without a match gives 0.
    """
    _paired(found, meant)
    logs = 0.0
    for n in range(1, order + 1):
        matched = total = 0
        for f, m in zip(found, meant, strict=True):
            ours, theirs = _ngrams(f, n), _ngrams(m, n)
            matched += sum(min(count, theirs[gram]) for gram, count in ours.items())
            total += sum(ours.values())
        if not matched:
            return 0.0
        logs += math.log(matched / total) / order
    c, r = sum(map(len, found)), sum(map(len, meant))
    return math.exp(logs + min(0.0, 1 - r / c))


def perplexity(nats: float) -> float:
    """exp of the mean nats a symbol: among how many equally likely symbols the model hesitates."""
    return math.exp(nats)


def _ngrams(sequence: Sequence[Any], n: int) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1))


def _paired(found: Sequences, meant: Sequences) -> None:
    if len(found) != len(meant) or not len(meant):
        raise ValueError(f"expected as many sequences as references, at least one, given {len(found)} and {len(meant)}")
