"""Colours for cells: a Pygments lexer, for notebooks, documentation and pages.

Pygments is what rich and notebooks colour with; nothing else in the language imports this module.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pygments import highlight
from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    Text,
    Whitespace,
)

from dsl.text.mistakes import STATEMENT_WORDS

PART = r"[A-Za-z_][A-Za-z0-9_]*"
PATH = rf"{PART}(?:\.(?:{PART}|[0-9]+))*"
STARTING = tuple(word for word in STATEMENT_WORDS if word not in ("cell", "def", "from"))


class CellLexer(RegexLexer):  # type: ignore[misc]  # Pygments ships no types
    """Words, names, functions, operators, numbers and comments of `.cell` text; loses no character of any text."""

    name = "Cell"
    aliases: ClassVar[list[str]] = ["cell"]
    filenames: ClassVar[list[str]] = ["*.cell"]
    tokens: ClassVar[dict[str, list[object]]] = {
        "root": [
            (r"^([ \t]*)(cell|def)([ \t]+)(" + PART + ")", bygroups(Whitespace, Keyword, Whitespace, Name.Class)),
            (r"^([ \t]*)(from)\b", bygroups(Whitespace, Keyword.Namespace)),
            (rf"\b(import)\b(?=[ \t]+{PART})", Keyword.Namespace),
            (r"^([ \t]*)" + words(STARTING, suffix=r"\b", prefix="").get(), bygroups(Whitespace, Keyword.Declaration)),
            (r"(?<=[:=])([ \t]*)(complex|one_hot|scalar|reverse|stack)\b(?!\()", bygroups(Whitespace, Keyword.Type)),
            (r"(?<=reverse )stack\b|\bof\b(?=[ \t]+[A-Za-z_])|\bkept\b(?=[ \t]*(?:#|$))", Keyword.Type),
            (r"\b(?:pi|inf|none)\b(?![(\[.])", Name.Constant),
            (r"(?<=\w|\]|\))\.[TH]\b", Operator),
            (rf"{PART}(?=(?:\[[A-Za-z_0-9, ]*\])?\()", Name.Function),
            (rf"{PATH}(?=\.[TH]\b)", Name.Variable),
            (PATH, Name.Variable),
            (r"(?:[0-9]+\.(?![A-Za-z_])[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?j?", Number),
            (r"\*\*|//|[=!<>]=|[-+*/%@<>=~]", Operator),
            (r"[()\[\],:\\]", Punctuation),
            (r"#[^\n]*", Comment.Single),
            (r"[ \t\n]+", Whitespace),
            (r"[^\n]", Text),
        ]
    }


def highlighted(source: str, formatter: Any) -> str:
    """A cell's source as a Pygments formatter writes it."""
    return str(highlight(source, CellLexer(stripnl=False), formatter))
