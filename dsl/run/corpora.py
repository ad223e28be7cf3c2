"""Texts that every machine with Python has: data for a first training, without a download."""

from __future__ import annotations

from pathlib import Path

from dsl.run.data import Text


def english() -> Text:
    """About 465,000 characters of English prose: the language reference that ships inside Python (`pydoc_data.topics`).

    Its length and symbols depend on the version of Python.
    """
    from pydoc_data.topics import topics

    return Text.of("\n".join(topics[name] for name in sorted(topics)))


def python(folders: int = 4) -> Text:
    """Python source of the standard library: its first `folders` packages and all single modules, one after another."""
    import os

    home = Path(os.__file__).parent
    paths = sorted(home.glob("*.py"))
    for package in sorted(p for p in home.iterdir() if (p / "__init__.py").exists() and p.name != "test")[:folders]:
        paths += sorted(package.glob("*.py"))
    sources = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    return Text.of("\n".join(source for source in sources if source.isascii()))


def names() -> list[str]:
    """About 25,000 names of characters in the Unicode tables, lower case, in order; without the Hangul syllables, which
    are 11,172 times the same words."""
    import sys
    import unicodedata

    found = (unicodedata.name(chr(i), "") for i in range(sys.maxunicode + 1))
    plain = (name.lower() for name in found if name.replace(" ", "").isalpha())
    return sorted({name for name in plain if not name.startswith("hangul syllable")})
