"""Texts and batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsl.run.data import Shuffled, Streams, Text


def test_text_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("grün & blau\n", encoding="utf-8")
    text = Text(path)
    assert text.symbols == tuple(sorted(set("grün & blau\n")))
    assert text.decode(text.ids) == "grün & blau\n" and text.ids.dtype == np.int64
    assert text.ids[2:5].symbols == text.symbols
    assert "12 characters, 11 symbols" in repr(text)
    assert Text.of("lab", text.symbols).decode([0, -1, 1]) == text.symbols[0] + text.symbols[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no file .*none\.txt"),
        (b"", "is empty: nothing to learn from"),
        (b"abc\xff\xfe", "is not UTF-8 text: byte 3 is 0xff"),
    ],
)
def test_text_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / ("none.txt" if content is None else "a.txt")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Text(path)


def test_a_directory_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a directory"):
        Text(tmp_path)


def test_unknown_symbols_are_named() -> None:
    text = Text.of("abc")
    with pytest.raises(ValueError, match=r"no symbol 'x' \(character 2\); unknown here: 'x' 'y'; it knows 3 symbols"):
        text.encode("abxaay")


def test_streams_are_contiguous_and_start_again() -> None:
    streams = Streams({"y": np.arange(23)}, batch=2, chunk=4)
    chunks = [next(streams) for _ in range(4)]
    assert chunks[0].data["y"].T.tolist() == [[0, 1, 2, 3], [11, 12, 13, 14]]
    assert chunks[1].data["y"].T.tolist() == [[4, 5, 6, 7], [15, 16, 17, 18]]
    assert [c.continued for c in chunks] == [False, True, False, True]
    assert chunks[2].data["y"].tolist() == chunks[0].data["y"].tolist()
    assert [c.data["y"].shape for c in streams.once()] == [(4, 2), (4, 2), (3, 2)]


def test_streams_keep_features_and_places() -> None:
    x = np.random.default_rng(0).normal(size=(10, 3))
    streams = Streams({"x": x, "y": np.arange(10)}, batch=2, chunk=5)
    chunk = next(streams)
    np.testing.assert_array_equal(chunk.data["x"][:, 1], x[5:])
    assert chunk.data["y"][:, 1].tolist() == [5, 6, 7, 8, 9]


def test_streams_too_short() -> None:
    with pytest.raises(ValueError, match="3 steps are too few for 4 streams"):
        Streams({"y": np.arange(3)}, batch=4, chunk=2)
    with pytest.raises(ValueError, match="different lengths: x 3, y 4"):
        Streams({"x": np.arange(3), "y": np.arange(4)}, batch=1, chunk=2)


def test_shuffled_shows_each_sequence_once_an_epoch() -> None:
    data = {"x": np.arange(14).reshape(2, 7), "y": np.arange(7)}
    batches = Shuffled(data, {"x": ("t",), "y": ()}, {"t": np.array([1, 2] * 3 + [1])}, batch=3, seed=0)
    seen = [next(batches) for _ in range(2)]
    chosen = np.concatenate([c.data["y"] for c in seen])
    assert len(set(chosen.tolist())) == 6
    for c in seen:
        np.testing.assert_array_equal(c.data["x"][0], c.data["y"])
        assert c.lengths["t"].tolist() == [1 + i % 2 for i in c.data["y"]]
        assert len(c.data["x"]) == c.lengths["t"].max()


@pytest.mark.parametrize("kind", ["streams", "shuffled"])
def test_position_is_all_there_is_to_resume(kind: str) -> None:
    def make() -> Streams | Shuffled:
        if kind == "streams":
            return Streams({"y": np.arange(50)}, batch=2, chunk=4)
        return Shuffled({"y": np.arange(50).reshape(5, 10)}, {"y": ("t",)}, {}, batch=4, seed=3)

    one, two = make(), make()
    for _ in range(9):
        next(one)
    two.seek(one.position())
    for _ in range(9):
        np.testing.assert_array_equal(next(one).data["y"], next(two).data["y"])
