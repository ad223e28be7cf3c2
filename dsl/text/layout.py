"""From characters to logical lines: tokens, continuation, brackets, comments.

A logical line is one statement or header: physical lines joined at a trailing `\\` and inside open brackets.
Nothing here fails: what cannot be read becomes a diagnostic and a line marked `broken`, and reading goes on. An
unclosed bracket ends where the next line plainly starts a statement. What the tokens mean is parse.py's affair.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lark import Token

from dsl.text.diagnostics import Diagnostic, Label
from dsl.text.tree import Notes, Span

NESTING = 100  # deepest brackets in one statement

RESERVED = frozenset(
    ("CELL", "DEF", "FROM", "INPUT", "STATE", "PARAM", "CONST", "NOISE", "TIME", "USE", "OUTPUT", "LOSS", "TOTAL")
)
CLOSER = {"(": ")", "[": "]"}
OPENER = {")": "(", "]": "["}

WRITE = {  # what people paste from papers, and what it is called here
    **dict.fromkeys("⊙×·⋅∗∘•✕", "*"),
    **dict.fromkeys("−–—", "-"),
    "÷": "/",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "←": "=",
    "∼": "~",
    "²": "**2",
    "³": "**3",
    "ᵀ": ".T",
    "⊤": ".T",
    "†": ".H",
    "∞": "inf",
    "π": "pi",
    "σ": "sigmoid",
    "∑": "sum",
    "Σ": "sum",
    "√": "sqrt",
    "，": ",",
    "：": ":",
    "（": "(",
    "）": ")",
    "\N{NO-BREAK SPACE}": " ",
}
MEANING = {  # ASCII signs of other languages
    "&": "there is no `&`: multiply the conditions",
    "|": "there is no `|`: absolute value is `abs(x)`, and the `or` of conditions their `maximum`",
    "!": "there is no `!`: unequal is `!=`, and the opposite of a condition `1 - c`",
    "{": "there are no braces: groups are in `( )`, indices in `[ ]`",
    "}": "there are no braces: groups are in `( )`, indices in `[ ]`",
    "?": "there is no `?`: write `where(condition, a, b)`",
    ".": "a `.` joins the parts of a name without spaces, as in `rnn.h[t]`",
    ";": "`;` does not end a statement: one statement per line",
    "\\": "nothing may follow `\\` on its line",
}
GREEK = {chr(c): unicodedata.name(chr(c)).split()[-1].lower() for c in range(0x3B1, 0x3CA)}


@dataclass
class Line:
    """A logical line: its tokens (never none), the comments around it, and whether its tokens are beyond parsing."""

    tokens: list[Token]
    notes: Notes = field(default_factory=Notes)
    tail: tuple[
        str, ...
    ] = ()  # indented comments before this line that close the cell above, when this line is an item
    broken: bool = False


@dataclass
class Comment:
    """A comment of its own line, or an empty line (text "")."""

    text: str
    indented: bool


@dataclass
class _Reader:
    """The state of reading: one logical line under way, and the comments waiting for the next."""

    text: str
    lines: list[Line] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    open: list[Token] = field(default_factory=list)
    waiting: list[Comment] = field(default_factory=list)
    inner: list[str] = field(default_factory=list)
    behind: str = ""
    broken: bool = False
    crossed: bool = False  # brackets of this line no longer pair; one message is enough
    reported: set[str] = field(default_factory=set)

    def report(self, code: str, message: str, token: Token, help: str = "", related: tuple[Label, ...] = ()) -> None:
        self.problems.append(Diagnostic(code, message, span(token), help=help, related=related))
        self.broken = True

    def finish(self) -> None:
        """End the logical line under way."""
        for opener in [] if self.crossed else self.open[-1:]:
            close = CLOSER[str(opener)]
            self.report("E105", f"this `{opener}` is never closed", opener, help=f"add `{close}`")
        if self.tokens:
            tail, before = _split(self.waiting, self.tokens[0].type in ("CELL", "DEF", "FROM"))
            notes = Notes(tuple(before) + tuple(self.inner), self.behind)
            self.lines.append(Line(self.tokens, notes, tuple(tail), self.broken))
            self.waiting = []
        self.tokens, self.open, self.inner, self.behind = [], [], [], ""
        self.broken, self.crossed, self.reported = False, False, set()

    def bracket(self, token: Token) -> None:
        mark = str(token)
        if mark in CLOSER:
            self.open.append(token)
            if len(self.open) == NESTING + 1:
                self.report("E115", f"brackets are nested more than {NESTING} deep", token, help="name a part of it")
        elif not self.open:
            if not self.crossed:
                self.report("E104", f"nothing opens this `{mark}`", token)
        elif str(self.open[-1]) == OPENER[mark]:
            self.open.pop()
        else:
            opener = self.open[-1]
            related = (Label(span(opener), f"opens here, wants `{CLOSER[str(opener)]}`"),)
            if not self.crossed:
                self.report("E106", f"`{mark}` does not close `{opener}`", token, related=related)
            self.crossed = True
            while self.open and str(self.open.pop()) != OPENER[mark]:
                pass  # a forgotten closer: go on outside it


def read_lines(tokens: Sequence[Token], text: str) -> tuple[list[Line], list[Diagnostic], list[Comment]]:
    """Logical lines of a file, what was wrong with their characters and brackets, and the comments after the last."""
    reader = _Reader(text)
    fresh = True  # nothing yet on this physical line
    for i, token in enumerate(tokens):
        kind = token.type
        if kind == "NEWLINE":
            if fresh and not reader.tokens:
                reader.waiting.append(Comment("", False))
            if not reader.open:
                reader.finish()
            fresh = True
            continue
        if kind == "COMMENT":
            _comment(reader, token)
            fresh = False
            continue
        if fresh and reader.open and _starts_statement(tokens, i, reader.tokens[0]):
            reader.finish()
        fresh = False
        reader.tokens.append(token)
        if kind in ("LPAR", "RPAR", "LSQB", "RSQB"):
            reader.bracket(token)
        elif kind == "UNKNOWN":
            code, message, fix = _unknown(token, text)
            if message not in reader.reported:
                reader.reported.add(message)
                reader.report(code, message, token, help=fix)
    reader.finish()
    return reader.lines, reader.problems, reader.waiting


def span(first: Token, last: Token | None = None) -> Span:
    """The characters from one token to another."""
    end = (last or first).end_pos
    return Span(first.start_pos or 0, end or 0)


def texts(comments: Iterable[Comment]) -> tuple[str, ...]:
    """The texts of comment lines; empty lines at either end dropped, several in a row made one."""
    kept: list[str] = []
    for comment in comments:
        if comment.text or (kept and kept[-1]):
            kept.append(comment.text)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def _comment(reader: _Reader, token: Token) -> None:
    text = str(token)[1:].strip() or "#"
    if not reader.tokens:
        reader.waiting.append(Comment(text, (token.column or 1) > 1))
    elif reader.open:
        reader.inner.append(text)
    else:
        reader.behind = text


def _split(waiting: list[Comment], is_item: bool) -> tuple[list[str], list[str]]:
    """Comments before a line: those that close the cell above (indented, before an item), and the line's own.

    A leading "" of the line's own says that an empty line stands before it.
    """
    cut = 0
    if is_item:
        cut = max((i + 1 for i, c in enumerate(waiting) if c.indented), default=0)
    own = waiting[cut:]
    gap = [""] if own and not own[0].text else []
    before = gap + list(texts(own))
    if own and not own[-1].text and len(before) > len(gap):
        before.append("")
    return list(texts(waiting[:cut])), before


def _starts_statement(tokens: Sequence[Token], i: int, first: Token) -> bool:
    """Whether the token at i, first of its physical line inside an open bracket, plainly starts a new statement."""
    token = tokens[i]
    if token.type in RESERVED:
        return True
    depth, j = 0, i
    while j < len(tokens) and tokens[j].type != "NEWLINE":
        kind = tokens[j].type
        depth += (kind in ("LPAR", "LSQB")) - (kind in ("RPAR", "RSQB"))
        if depth < 0 or (depth == 0 and kind == "_COMMA"):
            return False
        if depth == 0 and kind in ("_EQUAL", "_TILDE"):  # `name = value` further in is an argument
            is_argument = kind == "_EQUAL" and j == i + 1 and (token.column or 0) > (first.column or 0)
            return j > i and not is_argument
        j += 1
    return False


def _unknown(token: Token, text: str) -> tuple[str, str, str]:
    """Code, message and help for characters that are no token."""
    mark = str(token)
    before, after = text[: token.start_pos], text[(token.start_pos or 0) + len(mark) :]
    if mark == "^":
        return _caret(before, after)
    if mark in "{}" and (subscript := re.search(r"([A-Za-z]\w*)_\{([^{}\n]*)\}", _around(before, mark, after))):
        return "E101", f"there are no braces: an index is written `{subscript[1]}[{subscript[2]}]`", ""
    if mark == "'" and after.startswith("["):
        name = re.split(r"\W", before)[-1]
        return "E101", "there are no primes in names", f"as in `{name}_new{after.partition(']')[0]}]`"
    if mark in MEANING:
        return "E118" if mark == "\\" else "E101", MEANING[mark], ""
    if mark == "'" and text[(token.start_pos or 0) - 1 : token.start_pos].strip() not in ("", "(", ",", "="):
        return "E101", "transpose is `.T`", "write `W.T`"
    if mark in "\"'`":
        return "E101", f"there are no strings in the language: {mark}", ""
    if mark in WRITE:
        name = f"`{mark}`" if mark.isprintable() and not mark.isspace() else unicodedata.name(mark, "this").lower()
        fix = "@" if WRITE[mark] == "*" and re.search(r"\b[A-Z]\w*(\.T)?\s*$", before) else WRITE[mark]
        return "E101", f"{name} is not in the language: write " + (f"`{fix}`" if fix.strip() else "a plain space"), ""
    power = [WRITE.get(c, "") for c in mark].count("**2") + mark.count("³")
    if power and mark[:-1].isascii():
        return "E102", "power is `**`", f"write `{mark[:-1]}{WRITE[mark[-1]]}`"
    if len(mark) > 1 or mark.isalpha():
        ascii_name = "".join(GREEK.get(c, _plain(c)) for c in mark)
        odd = next(c for c in mark if not (c.isascii() and c.isalnum()) and c != "_")
        fix = f"write `{ascii_name}`" if ascii_name and not ascii_name[0].isdigit() else ""
        return "E123", f"names are made of the letters a-z, A-Z, digits and `_`, not `{odd}`", fix
    name = unicodedata.name(mark, f"U+{ord(mark):04X}")
    shown = f"`{mark}`" if mark.isprintable() else name
    detail = f" ({name.lower()})" if mark.isprintable() and not mark.isascii() else ""
    return "E101", f"{shown}{detail} has no meaning here", ""


def _around(before: str, brace: str, after: str) -> str:
    """The subscript that a brace belongs to: `h_{t-1}`."""
    opening = before.rpartition("{")[0] if brace == "}" else before
    inside = before.rpartition("{")[2] if brace == "}" else after.partition("}")[0]
    return f"{re.split(r'[^A-Za-z_0-9]', opening)[-1]}{{{inside}}}"


def _caret(before: str, after: str) -> tuple[str, str, str]:
    """`W^T`, `x[t]^2`."""
    operand = re.search(r"[\w.]+(\[[^\]\[]*\])?$", before)
    whole = operand[0] if operand else "(...)"
    if kind := re.match(r"\{?\s*(T|H|\\top)\b", after):
        return "E101", "transpose is `.T`", f"write `{whole}.{'H' if kind[1] == 'H' else 'T'}`"
    power = re.match(r"[\w.]+", after)
    return "E102", "power is `**`", f"write `{whole}**{power[0] if power else 2}`"


def _plain(character: str) -> str:
    """The ASCII letter or digit under accents and sub- or superscripts, or nothing."""
    decomposed = unicodedata.normalize("NFKD", character)
    return "".join(c for c in decomposed if c.isascii() and (c.isalnum() or c == "_"))
