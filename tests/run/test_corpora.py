"""The texts inside Python: long enough to learn from, the same at every call."""

import numpy as np

from dsl.run import corpora


def test_the_reference_text_is_english() -> None:
    text = corpora.english()
    assert len(text) > 300_000 and "assignment" in text.decode(text.ids)
    np.testing.assert_array_equal(text.ids, corpora.english().ids)


def test_source_is_python() -> None:
    text = corpora.python(folders=1)
    assert len(text) > 1_000_000 and "\ndef " in text.decode(text.ids[:200_000])


def test_names_are_words_in_order() -> None:
    names = corpora.names()
    assert len(names) > 15_000 and names == sorted(set(names))
    assert "snowman" in names and all(name.replace(" ", "").isalpha() for name in names)
