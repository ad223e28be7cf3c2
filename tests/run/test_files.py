"""A user's data file becomes streams; each thing wrong with it is one message with its place."""

from pathlib import Path

import numpy as np
import pytest

from dsl.run.files import read_columns, read_streams
from dsl.system.dims import Dim
from dsl.system.system import Stream

SYMBOLS = {"y": Stream("y", "draw", ("t",), (Dim.of("K"),), "category", Dim.of("K"))}
NUMBERS = {
    "x": Stream("x", "input", ("t",), (Dim.of("D"),)),
    "y": Stream("y", "input", ("t",), (), "category", Dim.of("K")),
}
COLUMNS = {"x": "open,close", "y": "up"}


def test_a_text_is_the_one_stream_of_categories(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abca")
    arrays, text = read_streams(tmp_path / "a.txt", SYMBOLS, {})
    assert arrays["y"].tolist() == [0, 1, 2, 0]
    assert text is not None and text.symbols == ("a", "b", "c")


def test_a_text_for_a_cell_of_numbers_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abca")
    with pytest.raises(ValueError, match=r"this cell reads x, y. Give a .npz .* --stream x=COLUMN"):
        read_streams(tmp_path / "a.txt", NUMBERS, {})


def test_columns_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("day,open,close,up\n1,2.5,3,1\n2,3,2,0\n")
    arrays, text = read_streams(path, NUMBERS, COLUMNS)
    assert text is None
    assert arrays["x"].tolist() == [[2.5, 3.0], [3.0, 2.0]]
    assert arrays["y"].tolist() == [1, 0] and arrays["y"].dtype == np.int64


@pytest.mark.parametrize(
    "content, columns, message",
    [
        ("open,close,up\n1,2,1\n1,?,0\n", COLUMNS, r"a.csv:3: column close holds '\?', not a number"),
        ("open,close,up\n1,2\n", COLUMNS, r"a.csv:2: column up holds nothing"),
        ("open,close,up\n1,2,.5\n", COLUMNS, r"a.csv:2: column up holds '.5'"),
        ("open,shut,up\n1,2,1\n", COLUMNS, r"no column 'close' for x; it has open, shut, up"),
        ("open,close,up\n1,2,1\n", {"x": "open"}, r"which columns are y\?"),
        ("open,close,up\n1,2,1\n", COLUMNS | {"z": "up"}, r"--stream z=...: the cell has no such stream"),
        ("", COLUMNS, r"a.csv is empty"),
    ],
)
def test_a_table_with_a_mistake(tmp_path: Path, content: str, columns: dict[str, str], message: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_streams(tmp_path / "a.csv", NUMBERS, columns)


def test_arrays_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((4, 2)), y=np.arange(4))
    arrays, _ = read_streams(tmp_path / "a.npz", NUMBERS, {})
    assert arrays["x"].shape == (4, 2) and arrays["y"].tolist() == [0, 1, 2, 3]


def test_arrays_with_a_mistake(tmp_path: Path) -> None:
    np.savez(tmp_path / "more.npz", x=np.ones(3), y=np.ones(3), z=np.ones(3))
    np.savez(tmp_path / "less.npz", x=np.ones(3))
    (tmp_path / "broken.npz").write_bytes((tmp_path / "less.npz").read_bytes()[:40])
    for name, message in (
        ("more", "has an array 'z'"),
        ("less", "has no array 'y'"),
        ("broken", "is not a NumPy archive"),
        ("absent", "there is no file"),
    ):
        with pytest.raises(ValueError, match=message):
            read_streams(tmp_path / f"{name}.npz", NUMBERS, {})


def test_columns_as_a_series(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("day,open, close\nmon,2.5,3\ntue,3,2\n\n")
    assert read_columns(path)[0] == ["open", "close"]
    names, values = read_columns(path, "close, open", least=2)
    assert names == ["close", "open"] and values.tolist() == [[3.0, 2.5], [2.0, 3.0]]


@pytest.mark.parametrize(
    "content, wanted, message",
    [
        (b"", None, "a.csv is empty"),
        (b"\n\n", None, "a.csv is blank"),
        (b"a,b\n1,2\n3,caf\xe9\n", None, "is not UTF-8 text: byte 13"),
        (b"a,b\n1,2\n", None, "has 1 rows below its header; 2 are needed"),
        (b"1,2\n3,4\n5,6\n", None, "begins with numbers; its first line has to name the columns"),
        (b"a,a\n1,2\n3,4\n", "a", "has two columns 'a'"),
        (b"a,b\n1,2\n3,4\n", "a, a", "column 'a' is asked for twice"),
        (b"a;b\n1;2\n3;4\n", None, "it has a;b; are its columns separated by commas"),
        (b"a,b\n1,2\n3,4\n", "a,c", "has no column 'c'; it has a, b"),
        (b"a,b\nx,y\nx,y\n", None, "has no column of numbers; it has a, b"),
        (b"a,b\n1,2\n3,x\n", None, r"a.csv:3: column b holds 'x', not a number"),
        (b"a,b\n1,2\n3\n", None, r"a.csv:3: column b holds nothing"),
        (b"a,b\n1,2\n3,nan\n", None, r"a.csv:3: column b holds nan, not a finite number"),
    ],
)
def test_a_table_that_is_no_series(tmp_path: Path, content: bytes, wanted: str | None, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_columns(path, wanted, least=2)
