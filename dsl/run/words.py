"""Sequences of words, and lists of sequences, as integers: what a language model of words or of names is fed.

`Text` in `dsl.run.data` is the counterpart for one long run of characters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsl.run.data import encode, read_text

UNKNOWN = "<unk>"
TOKEN = re.compile(r"\w+(?:['’]\w+)*|([^\w\s])\1*")


def tokens(text: str) -> list[str]:
    """Words (with the apostrophes inside them) and marks, equal ones in a row as one; lower case, white space gone."""
    return [found.group() for found in TOKEN.finditer(text.lower())]


class Words:
    """The `size` commonest words of a list as integers, the rarer ones all as `<unk>`, which is 0.

    Ties go to the word that comes first in the alphabet. `symbols` are the words by integer. Errors: ValueError for
    an empty list.
    """

    def __init__(self, words: Iterable[str], size: int = 10_000) -> None:
        counts = Counter(words)
        if not counts:
            raise ValueError("there is no word in the text: nothing to learn from")
        common = sorted(counts, key=lambda w: (-counts[w], w))[: size - 1]
        self.symbols: tuple[str, ...] = (UNKNOWN, *(w for w in common if w != UNKNOWN))
        self._ids = {w: i for i, w in enumerate(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, words: Iterable[str]) -> NDArray[np.int64]:
        """Integers of words; a rare or new word is 0."""
        return np.array([self._ids.get(w, 0) for w in words], np.int64)

    def decode(self, ids: Any) -> str:
        """Words in a line, a mark right behind its word and a bracket right before; -1 is nothing."""
        line = " ".join(self.symbols[i] for i in np.asarray(ids).ravel().tolist() if i >= 0)
        return re.sub(r"([(\[{]) | (?=[^\w\s<(\[{])", r"\1", line)


class Lines:
    """Short texts, one a line, as padded columns of integers: each ends in `end`, the last symbol.

    ids      (longest + 1, N) characters of each line and its end; behind the end, `end` again
    lengths  (N,) the end counted
    symbols  the characters by integer, without the end
    """

    def __init__(self, lines: Sequence[str], symbols: Sequence[str] | None = None) -> None:
        if not lines:
            raise ValueError("there is no line: nothing to learn from")
        self.symbols: tuple[str, ...] = tuple(symbols if symbols is not None else sorted(set("".join(lines))))
        self.end = len(self.symbols)
        self.lengths = np.array([len(line) + 1 for line in lines])
        self.ids = np.full((int(self.lengths.max()), len(lines)), self.end)
        index = {s: i for i, s in enumerate(self.symbols)}
        for n, line in enumerate(lines):
            self.ids[: len(line), n] = encode(line, self.symbols, index)

    def __len__(self) -> int:
        return len(self.lengths)

    def decode(self, column: Any) -> str:
        """The line of a column of integers, up to its end."""
        ids = np.asarray(column).ravel()
        stop = np.flatnonzero((ids == self.end) | (ids < 0))
        return "".join(self.symbols[i] for i in ids[: stop[0] if len(stop) else None].tolist())


def read_lines(path: str | Path, least: int = 1) -> list[str]:
    """The lines of a UTF-8 file that are not blank, white space around them gone.

    Errors: ValueError for a file that cannot be read, is empty or no text, and for fewer than `least` lines.
    """
    lines = [line.strip() for line in read_text(Path(path)).splitlines()]
    found = [line for line in lines if line]
    if len(found) < least:
        raise ValueError(f"{path} has {len(found)} lines that are not blank; {least} are needed")
    return found
