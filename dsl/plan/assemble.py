"""A generated file, put together from pieces: functions that are equal but for names become one.

A piece is some lines of a program, with names for the sizes, offsets and arrays they use. Each becomes a call of a
function `f(X, O, at)`, which finds its numbers in the table O from `at` on. Two pieces whose text is the same
when names are replaced by numbers in order of appearance share a function: the layers of a stack,
the boundaries of all streams, the parts of packed weights. The program itself, which function runs when and on which
numbers, stands at the head of the table, so that neither text nor machine code grows with the number of layers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

ARRAYS = ("A", "I", "F", "J", "P", "L", "C", "R")  # the addresses that every call begins with
INTEGERS = frozenset("IJLCR")

Entry = int | str | tuple[str, ...]  # of the table: a number, a name's value, the sum of several names' values

_ENTRY = r"(?:[ownpqlcuSTK]_[A-Za-z0-9_]+|nb|batch|chunk|ragged)\b"
_SUM = re.compile(r"\b[np]_\w+(?: \+ [np]_\w+)+\b(?! \*)")
_NAME = re.compile(rf"\b(?:(?P<array>[xykms]_\w+)|(?P<scope>(?:load|store)_\w+)|(?P<entry>{_ENTRY}))")
_ARRAY = re.compile(rf"\b[{''.join(ARRAYS)}]\b")
_COMMENT = re.compile(r"(?m)[ ]*#[^\n]*")


@dataclass(frozen=True)
class Piece:
    """Lines of a program, indented once. `kind` begins the function's name, `title` says what it does."""

    kind: str
    title: str
    lines: tuple[str, ...]


@dataclass(slots=True)
class Program:
    """A list of calls as a table: its length, for each call which function and where its entries begin, then those."""

    steps: list[tuple[int, list[Entry]]] = field(default_factory=list)
    listing: list[str] = field(default_factory=list)  # the calls for people: which function, what for

    def table(self) -> list[Entry]:
        head: list[Entry] = [len(self.steps)]
        body: list[Entry] = []
        for which, entries in self.steps:
            head += [which, 1 + 2 * len(self.steps) + len(body)]
            body += entries
        return head + body


class Assembly:
    """Functions of a file, and programs that call them.

    arrays    of the caller's, in the order their addresses come after `ARRAYS`
    integers  those of them that hold integers
    """

    def __init__(self, arrays: Sequence[str], integers: frozenset[str]) -> None:
        self.numbers = {n: k for k, n in enumerate((*ARRAYS, *arrays))}
        self.integers = integers | INTEGERS
        self.functions: dict[str, int] = {}  # canonical text -> number
        self.texts: list[str] = []
        self.names: list[str] = []
        self._kinds: dict[str, int] = {}

    def program(self, pieces: Sequence[Piece]) -> Program:
        real = [p for p in pieces if p.lines]
        steps = [self._step(p) for p in real]
        return Program(steps, [f"{self.names[k]}: {p.title}" for (k, _), p in zip(steps, real, strict=True)])

    def _step(self, piece: Piece) -> tuple[int, list[Entry]]:
        sums: dict[str, str] = {}
        body = _SUM.sub(lambda m: sums.setdefault(m[0], f"n__{len(sums)}"), "\n".join(piece.lines))
        parts = {name: tuple(text.split(" + ")) for text, name in sums.items()}
        code = _COMMENT.sub("", body)
        used: dict[str, Entry] = {}
        for m in _NAME.finditer(code):
            name = m[0]
            if m["array"]:
                used.setdefault(name, self.numbers[name])
            elif m["entry"]:
                used.setdefault(name, parts.get(name, name))
        key = self._canonical(piece.kind, code)
        if key not in self.functions:
            self.functions[key] = len(self.texts)
            self.texts.append(self._function(piece, body, code, used))
        return self.functions[key], list(used.values())

    def _canonical(self, kind: str, code: str) -> str:
        """The text with names replaced by numbers in order of appearance."""
        seen: dict[str, str] = {}

        def replace(m: re.Match[str]) -> str:
            if m["scope"]:
                verb, _, scope = m[0].partition("_")
                return f"{verb}_{seen.setdefault('scope ' + scope, f's{len(seen)}')}"
            letter = "e" if m["entry"] else "j" if m[0] in self.integers else "a"
            return seen.setdefault(m[0], f"{letter}{len(seen)}")

        return f"{kind}\n{_NAME.sub(replace, code)}"

    def _function(self, piece: Piece, body: str, code: str, used: dict[str, Entry]) -> str:
        number = self._kinds[piece.kind] = self._kinds.get(piece.kind, -1) + 1
        self.names.append(f"{piece.kind}_{number}")
        lines = [f"def {self.names[-1]}(X, O, at):", f'    """{piece.title}"""']
        for array in dict.fromkeys(_ARRAY.findall(code)):
            lines.append(f"    {array} = {self._view(array)}(X[{self.numbers[array]}])")
        for k, (name, entry) in enumerate(used.items()):
            if name in self.numbers:
                lines.append(f"    {name} = {self._view(name)}(X[O[at + {k}]])")
            else:
                note = f"  # {' + '.join(entry)}" if isinstance(entry, tuple) else ""
                value = f"padded(O[at + {k}])" if name.startswith("p_") else f"O[at + {k}]"
                lines.append(f"    {name} = {value}{note}")
        return "\n".join([*lines, body, ""])

    def _view(self, array: str) -> str:
        return "integers" if array in self.integers else "reals"

    def text(self) -> str:
        """All functions, and `main`, which runs a program."""
        main = [
            "def main(X, O):",
            '    """Run a program: O begins with its length, then which function and where its entries are."""',
            "    for k in range(O[0]):",
            "        which, at = O[1 + 2 * k], O[2 + 2 * k]",
        ]
        for k, name in enumerate(self.names):
            main += [f"        if which == {k}:", f"            {name}(X, O, at)"]
        return "\n\n".join([*self.texts, "\n".join([*main, ""])])
