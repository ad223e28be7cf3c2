"""Examples that take the user's file say in one message what is wrong with it, before anything is trained."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest

from examples import experiment

ALL = ("char_rnn", "min_char_rnn", "names", "words", "tagging", "translation", "forecasting")
SHORT = b"a b\nc d\n"
CASES = [
    *[(name, b"", "is empty") for name in ALL],
    *[(name, b"\xff\xfea", "is not UTF-8 text: byte 0 is 0xff") for name in ALL],
    *[(name, b"\n \n" * 200, "is blank") for name in ALL],
    ("min_char_rnn", b"a" * 900, "900 characters, 1 of them different: 50 are needed, two different"),
    ("min_char_rnn", SHORT, "8 characters, 6 of them different: 50 are needed"),
    ("tagging", b"x = 1\n", "has 6 characters; 400 are needed"),
    ("tagging", b"x = (1,\n" * 100, "is no Python source: "),
    ("tagging", b"def f():\n    x\n  y\n" * 100, "is no Python source: unindent does not match"),
    ("char_rnn", b"a" * 900, "the text holds nothing but 'a'"),
    ("translation", b"caf\xe9\tcoffee\n", "is not UTF-8 text: byte 3 is 0xe9"),
    ("forecasting", b"a,b\n1,caf\xe9\n", "is not UTF-8 text: byte 9 is 0xe9"),
    ("char_rnn", SHORT, "8 characters are too few"),
    ("names", SHORT, "has 2 lines that are not blank; 64 are needed"),
    ("words", SHORT, "has 4 words; 20 streams of them need 45"),
    ("translation", b"a\tb\n" * 3, "has 3 lines that are not blank; 320 are needed"),
    ("forecasting", b"a,b\n1,2\n", "has 1 rows below its header; 80 are needed"),
    (
        "translation",
        b"a\tb\n" * 400 + b"no tab here\n",
        ":401: expected `source TAB target`, found 'no tab here'",
    ),
    ("translation", b"\n" + b"\tb\n" * 400, r":2: expected `source TAB target`, found '\tb'"),
    ("translation", b"a\tb\tc\n" * 400, r":1: expected `source TAB target`, found 'a\tb\tc'"),
    ("forecasting", "a,b\n1,2\n".encode("utf-16"), "it looks like UTF-16: save it as UTF-8"),
    ("forecasting", b'a,b\n"1,2\n' + b"1,2\n" * 40_000, "is no CSV table: field larger than field limit"),
    ("tagging", b"x = 1\n\0" * 100, "is no Python source: it holds a character of number 0"),
    ("translation", "ü\tb\n".encode() + b"a\tb\n" * 400, "has a symbol 'ü' in a line held out that no other line has"),
    ("forecasting", b"a,b\n" + b"1,2\n" * 99 + b"1,x\n", "column b holds 'x', not a number"),
    ("forecasting", b"a,b\n" + b"1,2\n" * 99, "a column that never changes cannot be scaled"),
    ("forecasting", b"a\n" + b"1e200\n7e300\n" * 60, "a: numbers up to 7e+300 are too large to be squared"),
    ("forecasting", b"1,2\n" * 99, "begins with numbers; its first line has to name the columns"),
    ("forecasting", b"a;b\n" + b"1;2\n" * 99, "it has a;b; are its columns separated by commas?"),
    ("forecasting", b"a,a\n" + b"1,2\n" * 99, "has two columns 'a'"),
    ("forecasting", b"a,b\n" + b"1,2\n" * 99 + b"nan,2\n", "column a holds nan, not a finite number"),
    ("forecasting", b"a,b\n" + b"1,2\n" * 99 + b"1\n", "column b holds nothing, not a number"),
    ("forecasting --columns a,a", b"a,b\n" + b"1,2\n" * 99, "column 'a' is asked for twice"),
    ("forecasting --columns a,c", b"a,b\n" + b"1,2\n" * 99, "has no column 'c'; it has a, b"),
]


@pytest.mark.parametrize(("name", "content", "said"), CASES, ids=[f"{n}-{s[:20]}" for n, _, s in CASES])
def test_one_message(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    name, *more = name.split()
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    module = importlib.import_module(f"examples.{name}.__main__")
    takes = {"data": "a file", "columns": name == "forecasting"}
    words = ["--quick", "--quiet", "--out", str(tmp_path / "out"), "--data", str(path), *more]
    with pytest.raises(SystemExit) as left:
        experiment.main(module.run, module.__doc__, module.__file__, words, **takes)
    assert said in str(left.value) and str(left.value).startswith("error: ")
    assert "\n" not in str(left.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    module = importlib.import_module("examples.names.__main__")
    words = ["--quick", "--out", str(tmp_path), "--data", str(tmp_path / "none")]
    with pytest.raises(SystemExit, match="there is no file"):
        experiment.main(module.run, module.__doc__, module.__file__, words, data="a file")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    module = importlib.import_module("examples.names.__main__")
    with pytest.raises(SystemExit, match=r"^error: .*File exists: .*out") as left:
        experiment.main(module.run, module.__doc__, module.__file__, ["--quick", "--out", str(tmp_path / "out")])
    assert "\n" not in str(left.value) and (tmp_path / "out").read_text() == "mine"


def test_columns_of_a_table_are_forecast(tmp_path: Path) -> None:
    rows = "".join(f"day {t},{math.sin(0.3 * t):.4f},{math.cos(0.2 * t):.4f}\n" for t in range(300))
    (tmp_path / "t.csv").write_text(f"day,open,close\n{rows}")
    module = importlib.import_module("examples.forecasting.__main__")
    words = ["--quick", "--quiet", "--out", str(tmp_path), "--data", str(tmp_path / "t.csv"), "--columns", "open,close"]
    done = experiment.main(module.run, module.__doc__, module.__file__, words, data="a table", columns=True)
    (figure,) = done.figures
    assert figure.name == "open, close, 1 ahead" and figure.holds
    assert (tmp_path / "open_close.svg").exists()
