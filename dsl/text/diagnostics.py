"""What the language says when a file is wrong: coded, located, with a fix, as Rust and Elm do it.

Every stage of the road builds `Diagnostic`s and raises them together in one `CellError`; this module turns
them into text and keeps the catalogue behind `tgseq explain E301`. It knows spans of text and nothing of what
the language means. Codes: E1xx syntax, E2xx names, E3xx shapes and types, E4xx axes, indices and time, E5xx
cycles and schedule, E6xx uses and arguments, E7xx not compiled yet, W9xx warnings.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dsl.text.tree import File, Source, Span

TAB = 4  # columns a tab is shown as
WIDTH = 160  # longest source line shown whole, in columns
MAX_SHOWN = 50  # diagnostics rendered in full by one error
MAX_ALSO = 3  # places of one mistake shown besides the first


@dataclass(frozen=True)
class Label:
    """A second place that a diagnostic points at. `source` is set when that place is in another file."""

    span: Span
    text: str
    source: Source | None = None


@dataclass(frozen=True)
class Diagnostic:
    """One mistake: `message` names it, `label` stands beside the carets, `help` is the fix.

    `severity` is "error" or "warning"; `source` is set when the mistake is in another file than the error's own.
    """

    code: str
    message: str
    span: Span
    label: str = ""
    related: tuple[Label, ...] = ()
    help: str = ""
    severity: str = "error"
    source: Source | None = None


class CellError(ValueError):
    """All mistakes found in one text; `str()` renders them in order of position.

    `partial` is the tree of what could be read, when syntax errors left something out.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic], source: Source, partial: File | None = None) -> None:
        self.source, self.partial = source, partial
        self.diagnostics: tuple[Diagnostic, ...] = tuple(sorted(diagnostics, key=self._position))
        super().__init__(diagnostics, source)

    def _position(self, diagnostic: Diagnostic) -> tuple[str, int, int, str]:
        other = diagnostic.source
        path = "" if other is None or other == self.source else other.path
        return path, diagnostic.span.start, diagnostic.span.end, diagnostic.code

    def __str__(self) -> str:
        shown = [render(d, self.source) for d in self.diagnostics[:MAX_SHOWN]]
        if (hidden := len(self.diagnostics) - MAX_SHOWN) > 0:
            shown += [f"... and {hidden} more"]
        return "\n\n".join(shown)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the mistakes are the user's, not the compiler's."""
        return str(self).splitlines()


def merged(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """One diagnostic for what is wrong in the same words at several places: the first, pointing at the others."""
    alike: dict[tuple[str, str, Source | None], list[Diagnostic]] = {}
    for diagnostic in sorted(dict.fromkeys(diagnostics), key=lambda d: d.span.start):
        alike.setdefault((diagnostic.code, diagnostic.message, diagnostic.source), []).append(diagnostic)
    out = []
    for first, *rest in alike.values():
        places = [d.span for d in rest if d.span != first.span]
        also = [Label(place, "and here", first.source) for place in places[:MAX_ALSO]]
        if len(places) > MAX_ALSO:
            also[-1] = replace(also[-1], text=f"and here, and at {len(places) - MAX_ALSO} more places")
        out.append(replace(first, related=(*first.related, *also)))
    return out


# ---------------------------------------------------------------- rendering


def render(diagnostic: Diagnostic, source: Source) -> str:
    """The diagnostic as text: header, source lines with carets, related lines with dashes, help.

    Tabs are shown as spaces, wide and combining characters are counted as a terminal shows them, a very long line
    is cut around its carets, and a span of several lines shows its first and its last. A named file (any path but
    `<text>`) is given as `path:line:column`.
    """
    home = diagnostic.source or source
    places = [(home, diagnostic.span, diagnostic.label, "^")]
    places += [(label.source or home, label.span, label.text, "-") for label in diagnostic.related]
    numbers = [where.line_of(_clamp(span, where).end) for where, span, _, _ in places]
    gutter = max(len(str(number)) for number in numbers)
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"]
    shown: Source | None = None
    for where, span, text, mark in places:
        if where.path != "<text>" and (shown is None or where.path != shown.path):
            lines.append(f" {' ' * gutter}--> {where.path}:{_line_and_column(where, span)}")
        lines += _excerpt(where, span, text, mark, gutter)
        shown = where
    if diagnostic.help:
        first, *rest = diagnostic.help.splitlines()
        lines += [f" help: {first}"] + [f"       {line}" for line in rest]
    return "\n".join(lines)


def _clamp(span: Span, source: Source) -> Span:
    start = min(max(span.start, 0), len(source.text))
    return Span(start, min(max(span.end, start), len(source.text)))


def _line_and_column(source: Source, span: Span) -> str:
    start = _clamp(span, source).start
    return f"{source.line_of(start)}:{start - source.text.rfind(chr(10), 0, start)}"


def _excerpt(source: Source, span: Span, text: str, mark: str, gutter: int) -> list[str]:
    """The lines of one place: numbered source, then marks; a span of several lines marks the first and the last."""
    span, whole = _clamp(span, source), source.text
    end = span.end - 1 if span.end > span.start + 1 and whole[span.end - 1] == "\n" else span.end
    begin = whole.rfind("\n", 0, span.start) + 1
    stop = whole.find("\n", span.start)
    stop = len(whole) if stop < 0 else stop
    number = source.line_of(span.start)
    if end <= stop + 1:  # a span may end on its own newline: the place just after the line
        return _marked(whole[begin:stop], span.start - begin, end - begin, text, mark, gutter, number)
    last_begin = whole.rfind("\n", 0, end) + 1
    last_stop = whole.find("\n", end)
    last_stop = len(whole) if last_stop < 0 else last_stop
    last = whole[last_begin:last_stop]
    indent = len(last) - len(last.lstrip())
    last_number = source.line_of(end)
    return [
        *_marked(whole[begin:stop], span.start - begin, stop - begin, "", mark, gutter, number),
        *([f" {'.' * gutter} |"] if last_number > number + 1 else []),
        *_marked(last, min(indent, end - last_begin), end - last_begin, text, mark, gutter, last_number),
    ]


def _marked(line: str, start: int, end: int, text: str, mark: str, gutter: int, number: int) -> list[str]:
    cells = [_cell(c) for c in line]
    before, under = sum(w for _, w in cells[:start]), sum(w for _, w in cells[start:end])
    under = max(under, 1)
    shown = "".join(c for c, _ in cells)
    if sum(w for _, w in cells) > WIDTH:
        shown, before, under = _window(cells, start, end)
    label = f" {text}" if text else ""
    marks = f" {' ' * gutter} | {' ' * before}{mark * under}{label}"
    return [f" {number:>{gutter}} | {shown}".rstrip(), marks]


def _window(cells: list[tuple[str, int]], start: int, end: int) -> tuple[str, int, int]:
    """A cut of a very long line around the marks: text, columns before the marks, columns under them."""
    first = max(0, start - WIDTH // 2)
    last = min(len(cells), first + WIDTH)
    head, tail = "..." if first else "", "..." if last < len(cells) else ""
    before = len(head) + sum(w for _, w in cells[first:start])
    under = sum(w for _, w in cells[start : min(end, last)])
    return head + "".join(c for c, _ in cells[first:last]) + tail, before, max(under, 1)


def _cell(character: str) -> tuple[str, int]:
    """How a terminal shows a character, and in how many columns."""
    if character == "\t":
        return " " * TAB, TAB
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf"):
        return character, 0
    if category.startswith("C") or category in ("Zl", "Zp"):
        return "\N{REPLACEMENT CHARACTER}", 1
    return character, 2 if unicodedata.east_asian_width(character) in "WF" else 1


# ---------------------------------------------------------------- the catalogue

# filled by `register`; the syntax pages are in explanations.py
TITLES: dict[str, str] = {}
EXPLANATIONS: dict[str, str] = {}


def register(code: str, title: str, text: str) -> str:
    """Add a code to the catalogue and return it; each part of the language registers its own.

    Raises ValueError when another title already has the code.
    """
    if TITLES.get(code, title) != title:
        raise ValueError(f"{code} is already registered as {TITLES[code]!r}")
    TITLES[code] = title
    EXPLANATIONS[code] = text.strip() + "\n"
    return code


def explain(code: str) -> str:
    """The catalogue's page on a code (case does not matter); ValueError for one that does not exist."""
    known = code.upper()
    if known not in EXPLANATIONS:
        close = suggest(known, EXPLANATIONS)
        hint = f"did you mean {close}? The codes are" if close else "the codes are"
        raise ValueError(f"no message has the code {code}; {hint} {', '.join(sorted(EXPLANATIONS))}")
    return f"{known}: {TITLES[known]}\n\n{EXPLANATIONS[known]}"


def suggest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate nearest to a misspelt name, or None when none is near.

    Distance is edits with neighbours swapped counted once (Damerau 1964, optimal string alignment), at most a third
    of the name's length, at least one; a difference in case alone is nearest. Of equals one with the same letters
    wins, then the first.
    """
    reach = max(1, len(name) // 3)
    found: list[tuple[int, bool, int, str]] = []
    for i, candidate in enumerate(candidates):
        if candidate == name or abs(len(candidate) - len(name)) > reach:
            continue
        d = 0 if candidate.lower() == name.lower() else _edits(name, candidate)
        if d <= reach and d < max(len(name), len(candidate)):
            found.append((d, sorted(candidate) != sorted(name), i, candidate))
    return min(found)[-1] if found else None


def _edits(a: str, b: str) -> int:
    older: list[int] = []
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        older, previous = previous, row
    return previous[-1]
