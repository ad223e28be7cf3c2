"""Training data: texts as integers, streams of batches, and what is held out.

A text is one long sequence of symbols. Language models read it as B parallel streams, chunk after chunk,
carrying their state from one chunk to the next; plain supervised data is drawn in shuffled batches. Both are
iterators whose position is a small dict, so that a training that was killed goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Ids(np.ndarray[Any, np.dtype[np.int64]]):
    """Integers that remember the symbols they stand for; slices and copies do too."""

    symbols: tuple[str, ...] | None

    def __array_finalize__(self, source: Any) -> None:
        self.symbols = getattr(source, "symbols", None)


class Text:
    """A text as integers: symbol i is `symbols[i]`, symbols in code-point order.

    Text(path)                       reads a UTF-8 file
    Text.of("hello")                 takes a string
    Text.of("hello", symbols="ehlo") with symbols fixed beforehand (those of a trained model)

    Errors: ValueError for a missing, empty or undecodable file, and for a character outside the symbols.
    """

    def __init__(self, path: str | Path, symbols: Sequence[str] | None = None) -> None:
        text = read_text(Path(path))
        self.symbols, self._ids = _index(symbols if symbols is not None else sorted(set(text)))
        self.path = str(path)
        self.ids: Ids = self.encode(text)

    @classmethod
    def of(cls, text: str, symbols: Sequence[str] | None = None) -> Text:
        """A Text of a string in memory."""
        if not text:
            raise ValueError("the text is empty: nothing to learn from")
        self = cls.__new__(cls)
        self.symbols, self._ids = _index(symbols if symbols is not None else sorted(set(text)))
        self.path = ""
        self.ids = self.encode(text)
        return self

    def encode(self, text: str) -> Ids:
        """Integers (len(text),) of a string; they carry the symbols along."""
        ids = encode(text, self.symbols, self._ids).view(Ids)
        ids.symbols = self.symbols
        return ids

    def decode(self, ids: Any) -> str:
        """The string of integers; -1 (none) is nothing."""
        return decode(ids, self.symbols)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Text({self.path or 'in memory'}: {len(self.ids):,} characters, {len(self.symbols)} symbols)"


def _index(symbols: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    out = tuple(symbols)
    if len(set(out)) != len(out):
        raise ValueError("a symbol is listed twice")
    return out, {s: i for i, s in enumerate(out)}


def read_text(path: Path) -> str:
    """A file's text, or a ValueError that says in one line what is wrong with it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a directory; give a text file") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        hint = "; it looks like UTF-16: save it as UTF-8" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise ValueError(f"{path} is not UTF-8 text: byte {error.start} is 0x{byte:02x}{hint}") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if not text.strip():
        raise ValueError(f"{path} is {'blank' if text else 'empty'}: nothing to learn from")
    return text


def encode(text: str, symbols: Sequence[str], index: Mapping[str, int] | None = None) -> NDArray[np.int64]:
    """Integers of a string. Errors: ValueError naming the first character outside the symbols and where it is."""
    index = index if index is not None else {s: i for i, s in enumerate(symbols)}
    try:
        return np.fromiter((index[c] for c in text), np.int64, len(text))
    except KeyError:
        at = next(i for i, c in enumerate(text) if c not in index)
        unknown = sorted(set(text) - set(index))
        shown = " ".join(repr(c) for c in unknown[:8]) + (" …" if len(unknown) > 8 else "")
        raise ValueError(
            f"the model has no symbol {text[at]!r} (character {at}); "
            f"unknown here: {shown}; it knows {len(symbols)} symbols"
        ) from None


def decode(ids: Any, symbols: Sequence[str]) -> str:
    """The string of integers; -1 is nothing, one beyond the symbols is shown as the replacement character."""
    known = len(symbols)
    return "".join(
        symbols[i] if i < known else "\N{REPLACEMENT CHARACTER}" for i in np.asarray(ids).ravel().tolist() if i >= 0
    )


# ---------------------------------------------------------------- batches


@dataclass
class Chunk:
    """One batch: its data by stream, lengths, and whether it goes on where the last one ended."""

    data: dict[str, Any]
    lengths: Any = None
    continued: bool = False


class Streams:
    """One long sequence per stream name as `batch` parallel streams, read `chunk` steps at a time, for ever.

    The rest that fills no whole row is left out. Errors: ValueError when there is less than one step a stream.
    """

    def __init__(self, data: Mapping[str, Array], batch: int, chunk: int) -> None:
        if batch < 1 or chunk < 1:
            raise ValueError(f"batch and chunk: expected 1 or more, given {batch} and {chunk}")
        sizes = {n: len(v) for n, v in data.items()}
        steps = min(sizes.values()) // batch
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the streams have different lengths: {', '.join(f'{n} {k}' for n, k in sizes.items())}")
        if steps < 1:
            raise ValueError(
                f"{next(iter(sizes.values()))} steps are too few for {batch} streams; take a smaller batch"
            )
        self.rows = {n: np.asarray(v)[: steps * batch].reshape(batch, steps, *np.shape(v)[1:]) for n, v in data.items()}
        self.batch, self.chunk, self.steps = batch, min(chunk, steps), steps
        self.at = 0

    def __next__(self) -> Chunk:
        continued = self.at > 0
        stop = min(self.at + self.chunk, self.steps)
        data = {n: np.ascontiguousarray(np.swapaxes(v[:, self.at : stop], 0, 1)) for n, v in self.rows.items()}
        self.at = stop if stop + self.chunk <= self.steps else 0
        return Chunk(data, None, continued)

    def once(self) -> Iterator[Chunk]:
        """From the beginning to the end, the last chunk as long as it is."""
        for start in range(0, self.steps, self.chunk):
            stop = min(start + self.chunk, self.steps)
            data = {n: np.ascontiguousarray(np.swapaxes(v[:, start:stop], 0, 1)) for n, v in self.rows.items()}
            yield Chunk(data, None, start > 0)

    @property
    def tokens(self) -> int:
        """Steps in a full chunk of all streams."""
        return self.batch * self.chunk

    def position(self) -> dict[str, Any]:
        return {"at": self.at}

    def seek(self, position: Mapping[str, Any]) -> None:
        self.at = int(position["at"])


Source = Callable[[np.random.Generator], Mapping[str, Any]]


class Drawn:
    """Batches that a function makes: step n is what it makes of the Generator of (seed, n).

    source  gives streams by name, and `lengths` when the sequences differ
    """

    def __init__(self, source: Source, seed: int) -> None:
        self.source, self.seed, self.at = source, seed, 0

    def __next__(self) -> Chunk:
        self.at += 1
        return self._made(self.at)

    def _made(self, step: int) -> Chunk:
        made = dict(self.source(np.random.default_rng([self.seed, step])))
        lengths = made.pop("lengths", None)
        return Chunk(made, lengths)

    @property
    def tokens(self) -> int:
        """Steps of all sequences in the first batch, by its largest stream's two leading axes."""
        arrays = [np.asarray(v) for v in self._made(1).data.values() if not isinstance(v, list)]
        return max((int(np.prod(a.shape[:2])) for a in arrays), default=1)

    def position(self) -> dict[str, Any]:
        return {"at": self.at}

    def seek(self, position: Mapping[str, Any]) -> None:
        self.at = int(position["at"])


class Shuffled:
    """Whole sequences in shuffled batches, for ever: epoch e is the permutation that (seed, e) determines.

    data     stream -> (T, ..., N, features)
    axes     stream -> its time axes, which stand before the sequences
    lengths  time axis -> (N,), for the axes whose lengths are free
    """

    def __init__(
        self,
        data: Mapping[str, Array],
        axes: Mapping[str, tuple[str, ...]],
        lengths: Mapping[str, Array],
        batch: int,
        seed: int,
    ) -> None:
        self.data, self.axes, self.lengths = dict(data), dict(axes), dict(lengths)
        name = next(iter(data))
        self.count = int(np.shape(data[name])[len(axes[name])])
        if not self.count:
            raise ValueError("there are no sequences to learn from")
        self.batch, self.seed = min(batch, self.count), seed
        self.epoch = self.at = 0
        self._order = self._permutation()

    def _permutation(self) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.count)

    def __next__(self) -> Chunk:
        if self.at + self.batch > self.count:
            self.epoch, self.at = self.epoch + 1, 0
            self._order = self._permutation()
        chosen = self._order[self.at : self.at + self.batch]
        self.at += self.batch
        return self.pick(chosen)

    def pick(self, chosen: NDArray[np.int64]) -> Chunk:
        """The batch of these sequences, cut to the longest of them."""
        lengths = {a: np.asarray(v)[chosen] for a, v in self.lengths.items()}
        data = {}
        for name, value in self.data.items():
            cut = tuple(slice(int(lengths[a].max()) if a in lengths else None) for a in self.axes[name])
            data[name] = np.take(value[cut], chosen, axis=len(cut))
        return Chunk(data, lengths or None)

    def once(self) -> Iterator[Chunk]:
        """All sequences in order."""
        for start in range(0, self.count, self.batch):
            yield self.pick(np.arange(start, min(start + self.batch, self.count)))

    def count_of(self, chunk: Chunk) -> int:
        """How many sequences a batch holds."""
        name = next(iter(chunk.data))
        return int(np.shape(chunk.data[name])[len(self.axes[name])])

    @property
    def tokens(self) -> int:
        """Steps in an average batch, on the longest axis."""
        return int(self.batch * max((float(np.mean(v)) for v in self.lengths.values()), default=1.0))

    def position(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "at": self.at}

    def seek(self, position: Mapping[str, Any]) -> None:
        self.epoch, self.at = int(position["epoch"]), int(position["at"])
        self._order = self._permutation()
