"""Words and lines as integers; each thing wrong with a file of them is one message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsl.run.words import UNKNOWN, Lines, Words, read_lines, tokens


def test_words_and_marks() -> None:
    assert tokens("The cat's hat,\n isn't it?  (No...)") == "the cat's hat , isn't it ? ( no ... )".split()


def test_the_commonest_words_have_integers_and_the_rest_is_unknown() -> None:
    words = Words("b b b a a c".split(), size=3)
    assert words.symbols == (UNKNOWN, "b", "a") and len(words) == 3
    assert words.encode("a b c d".split()).tolist() == [2, 1, 0, 0]
    assert Words("b a".split(), size=2).symbols == (UNKNOWN, "a")  # ties by the alphabet
    all_ = Words(tokens("who, me? (yes.)"))
    assert all_.decode(all_.encode(tokens("who, me? (yes."))) == "who, me? (yes."
    assert Words(["a"]).decode([1, -1, 0]) == f"a {UNKNOWN}"
    with pytest.raises(ValueError, match="no word"):
        Words([])


def test_lines_end_and_are_padded_with_their_end() -> None:
    lines = Lines(["ab", "", "b"])
    assert lines.symbols == ("a", "b") and lines.end == 2 and len(lines) == 3
    assert lines.ids.T.tolist() == [[0, 1, 2], [2, 2, 2], [1, 2, 2]]
    assert lines.lengths.tolist() == [3, 1, 2]
    assert [lines.decode(c) for c in lines.ids.T] == ["ab", "", "b"]
    assert lines.decode(np.array([1, 0, -1, -1])) == "ba"
    with pytest.raises(ValueError, match="no symbol 'c' .character 1."):
        Lines(["ac"], symbols="ab")
    with pytest.raises(ValueError, match="no line"):
        Lines([])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"caf\xe9\n", "is not UTF-8 text: byte 3"),
        (b"a\n\n \n", "has 1 lines that are not blank; 2 are needed"),
    ],
)
def test_a_file_that_is_no_list(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_lines(path, 2)
    path.write_text(" a b\n\nc \n")
    assert read_lines(path, 2) == ["a b", "c"]
