"""From text to tree: `parse` and `parse_file`.

Each logical line goes through the LALR(1) grammar of grammar.lark on its own, so that one mistake hides no other;
the tree is built while parsing, without recursion. Whether names exist or shapes fit is not known here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from lark import Lark, Token
from lark.exceptions import UnexpectedToken
from lark.lark import PostLex

from dsl.text.build import Builder, Fault
from dsl.text.diagnostics import CellError, Diagnostic, Label, suggest
from dsl.text.layout import Comment, Line, read_lines, span, texts
from dsl.text.mistakes import STATEMENT_WORDS, diagnose
from dsl.text.tables import kept
from dsl.text.tree import Cell, Expr, File, Import, Macro, Source, Span, Statement
from dsl.text.walk import depth

SOFT = frozenset(("IMPORT", "REVERSE", "STACK", "_OF", "KEPT", "COMPLEX", "ONE_HOT", "SCALAR"))

IMPLICIT = 4  # without a sign that one line is told; a line with more is probably prose
DEPTH = 256  # of a statement's tree: later stages may walk it with recursion

Item = Import | Macro | Cell
Node = Item | Statement | Expr


def parse(text: str, path: str = "<text>") -> File:
    """The tree of a file's text. `path` is for messages only.

    Raises CellError with every syntax error of the text, in order of position. Line ends may be `\\n`, `\\r\\n` or
    `\\r`; spans count characters after they are all made `\\n`.
    """
    source = Source(_plain_lines(text), path)
    lines, problems, rest = read_lines(list(_parser().lex(source.text)), source.text)
    file = _assemble(lines, rest, problems, source)
    if problems:
        raise CellError(problems, source, partial=file)
    return file


def parse_file(path: str | os.PathLike[str]) -> File:
    """The tree of a UTF-8 file. CellError for a syntax error or bytes that are not UTF-8; OSError when unreadable."""
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        good = _plain_lines(data[: error.start].decode("utf-8"))
        source = Source(_plain_lines(data.decode("utf-8", errors="replace")), str(path))
        message = f"the file is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}"
        place = Span(len(good), len(good) + 1)
        problem = Diagnostic("E122", message, place, help="save the file as UTF-8 (plain ASCII is UTF-8)")
        raise CellError([problem], source) from None
    return parse(text, str(path))


def parse_expression(text: str, path: str = "<text>") -> Expr:
    """The tree of one expression, as it may stand to the right of `=`. Raises CellError."""
    source = Source(_plain_lines(text), path)
    lines, problems, _ = read_lines(list(_parser().lex(source.text)), source.text)
    if not problems:
        for line in lines[1:]:
            problems.append(Diagnostic("E100", "one expression was expected", span(line.tokens[0], line.tokens[-1])))
    if not problems:
        node = _parse_line(lines[0] if lines else Line([]), source, problems, start="expression")
        if not problems:
            return cast(Expr, node)
    raise CellError(problems, source)


# ---------------------------------------------------------------- the grammar


class _Layout(PostLex):
    """Keeps the terminals that only the layout reads; lark would drop them from the lexer."""

    always_accept = ("UNKNOWN", "COMMENT", "NEWLINE")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


@cache
def _parser() -> Lark:
    """The one parser, made at first use: 70 ms, or 8 when its tables are on disk."""
    grammar = files("dsl.text").joinpath("grammar.lark").read_text(encoding="utf-8")
    starts = ["line", "expression"]
    return kept(
        grammar,
        lambda: Lark(
            grammar, parser="lalr", lexer="basic", start=starts, postlex=_Layout(), transformer=Builder(),
            maybe_placeholders=True, propagate_positions=False,
        ),
    )  # fmt: skip


def _plain_lines(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


# ---------------------------------------------------------------- lines to a file


class _Misfit(Exception):
    """A token that does not fit: which, and what was probably meant."""

    def __init__(self, diagnostic: Diagnostic, at: int) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic, self.at = diagnostic, at


def _node(tokens: list[Token], source: Source, start: str) -> Node:
    """The node that tokens make. Raises Fault, a _Misfit where the grammar stopped."""
    parser: Any = _parser().parse_interactive(start=start)  # lark leaves its methods untyped
    fed = 0
    try:
        for token in tokens:
            if token.type in SOFT and token.type not in parser.choices():
                token = Token.new_borrow_pos("NAME", str(token), token)
            parser.feed_token(token)
            fed += 1
        node: Node = parser.feed_eof(tokens[-1] if tokens else None)
    except UnexpectedToken:
        raise _Misfit(diagnose(tokens, fed, frozenset(parser.accepts()), source), fed) from None
    return node


def _products(fault: Fault | _Misfit, tokens: list[Token], source: Source, start: str) -> Diagnostic:
    """What is wrong with a line; where all of it is products without a sign, each of them."""
    found: list[Diagnostic] = []
    while isinstance(fault, _Misfit) and fault.diagnostic.code == "E103" and len(found) < IMPLICIT:
        found.append(fault.diagnostic)
        sign = Token.new_borrow_pos("STAR", "*", tokens[fault.at - 1])
        tokens = [*tokens[: fault.at], sign, *tokens[fault.at :]]
        try:
            _node(tokens, source, start)
        except (Fault, _Misfit) as another:
            fault = another
            continue
        also = tuple(Label(d.span, d.message.rpartition(": ")[2]) for d in found[1:])
        return dataclasses.replace(found[0], related=also)
    return found[0] if found else fault.diagnostic


def _parse_line(line: Line, source: Source, problems: list[Diagnostic], start: str = "line") -> Node | None:
    """The node of one line, or None after adding to `problems` what is wrong with it."""
    try:
        node = _node(line.tokens, source, start)
    except (Fault, _Misfit) as fault:
        problems.append(_products(fault, line.tokens, source, start))
        return None
    place = span(line.tokens[0], line.tokens[-1])
    if place.end - place.start > DEPTH and depth(node) > DEPTH:
        message = f"an expression is more than {DEPTH} operations deep"
        problems.append(Diagnostic("E115", message, place, help="give parts of it names of their own"))
        return None
    return node


def _assemble(lines: list[Line], rest: list[Comment], problems: list[Diagnostic], source: Source) -> File:
    """Give each statement to the cell above it, and each comment to its node."""
    items: list[Item] = []
    body: list[Statement] = []
    # what a statement would belong to: "nothing", "cell", "unread cell", or "unknown" after a reported orphan
    state = "nothing"

    def close(tail: tuple[str, ...]) -> None:
        if items and isinstance(items[-1], Cell) and (body or tail):
            items[-1] = dataclasses.replace(items[-1], body=tuple(body), tail=tail)
        body.clear()

    for line in lines:
        first = line.tokens[0]
        node = None if line.broken else _parse_line(line, source, problems)
        if _opens_cell(line):
            state = "cell" if isinstance(node, Cell) else "unread cell"
            if node is None:
                close(())
        elif first.type in ("DEF", "FROM"):
            state = "nothing"
        elif state == "nothing":
            state = "unknown"
            problems.append(_orphan(line))
        if isinstance(node, Item):
            close(line.tail)
            items.append(dataclasses.replace(node, notes=line.notes))
        elif node is not None and state != "unread cell":
            body.append(dataclasses.replace(cast(Statement, node), notes=line.notes))
    cut = max((i + 1 for i, comment in enumerate(rest) if comment.indented), default=0)
    close(texts(rest[:cut]))
    own = rest[cut:] if items and isinstance(items[-1], Cell) else rest
    return File(tuple(items), source, texts(own))


def _opens_cell(line: Line) -> bool:
    first = line.tokens[0]
    if first.type == "CELL" or (first.type == "DEF" and line.tokens[-1].type == "COLON"):
        return True
    second = line.tokens[1].type if len(line.tokens) > 1 else ""
    return first.type == "NAME" and second == "NAME" and suggest(str(first), STATEMENT_WORDS) == "cell"


def _orphan(line: Line) -> Diagnostic:
    place = span(line.tokens[0], line.tokens[-1])
    return Diagnostic("E111", "this statement is in no cell", place, help="begin one above it: `cell Name(D, H):`")
