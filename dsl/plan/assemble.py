"""A generated file, put together from pieces: functions that are equal but for names become one.

A piece is some lines of a program, with names for the sizes, offsets and arrays they use. Each becomes a call of a
function `f(X, O, at)`, which finds its numbers in the table O from `at` on. Two pieces whose text is the same
when names are replaced by numbers in order of appearance share a function: the layers of a stack,
the boundaries of all streams, the parts of packed weights. The program itself, which function runs when and on which
numbers, stands at the head of the table, so that neither text nor machine code grows with the number of layers.

Within a piece a loop over features (`Block`) that comes more than once, or is one of very many, is a function too:
long ones cost LLVM more than their length, equal ones once. Names of the text are short and a function's own, numbered
by first use: a file does not say how deep the stack is, and serves every depth.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

ARRAYS = ("A", "I", "F", "J", "P", "L", "C", "R")  # the addresses that every call begins with
INTEGERS = frozenset("IJLCR")
CROWD = 8  # blocks in a piece, beyond which each is a function

Entry = int | str | tuple[str, ...]  # of the table: a number, a name's value, the sum of several names' values

_ENTRY = r"(?:[ownpqlcufSTK]_[A-Za-z0-9_]+|nb|batch|chunk|ragged|later)\b"
_SUM = re.compile(r"\b[np]_\w+(?: \+ [np]_\w+)+\b(?! \*)")
_NAME = re.compile(rf"\b(?:(?P<array>[xykms]_\w+)|(?P<scope>(?:load|store)_\w+)|(?P<entry>{_ENTRY}))")
_LOCAL = re.compile(r"\b[vri]\d+\b")
_WORD = re.compile(r"\b[A-Za-z_]\w*\b(?!\()")
_DEFINED = re.compile(r"(?m)^ *(?:for )?(\w+(?:, \w+)*) (?:=|in) ")
_ARRAY = re.compile(rf"\b[{''.join(ARRAYS)}]\b")
_COMMENT = re.compile(r"(?m)[ ]*#[^\n]*")
_DEPTH = re.compile(r"^(carry_|P_|).*_\d+_(?=[A-Za-z])")  # of an identifier: the way to a layer
_PATH = re.compile(r"\b(?:\w+\.)*\d+\.(?=[A-Za-z])")  # the same in a stream's name
_COUNTED = re.compile(r"^(acc|pack)_?\d+$")
_CONSTANT = frozenset([*keyword.kwlist, *ARRAYS, "infinity", "not_a_number"])


@dataclass(frozen=True)
class Block:
    """Lines of a piece that could stand in a function of their own, at the depth they have in the piece.

    They set no variable that other lines use, and need none from outside but integers (no v1 …)."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """Lines of a program, indented once. `kind` begins the function's name, `title` says what it does."""

    kind: str
    title: str
    lines: tuple[str | Block, ...]

    @property
    def blocks(self) -> list[Block]:
        return [part for part in self.lines if isinstance(part, Block)]


@dataclass(slots=True)
class CallTable:
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


@dataclass(slots=True)
class _Text:
    """Lines as code: what of the table they use, and their canonical form."""

    body: str
    code: str  # without comments
    used: dict[str, Entry]
    key: str


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
        self.loops: dict[str, str] = {}  # a block's canonical text -> its function's name
        self.loop_texts: list[str] = []
        self._kinds: dict[str, int] = {}

    def program(self, pieces: Sequence[Piece]) -> CallTable:
        real = [p for p in pieces if p.lines]
        steps = [self._step(p) for p in real]
        return CallTable(steps, [f"{self.names[k]}: {p.title}" for (k, _), p in zip(steps, real, strict=True)])

    def _step(self, piece: Piece) -> tuple[int, list[Entry]]:
        lines, inner = self._outlined(piece)
        text = self._read("\n".join(lines), piece.kind)
        entries = list(text.used.values())
        for k, more in enumerate(inner):  # a call's place stands for where its entries begin
            for part in ("body", "code", "key"):
                setattr(text, part, getattr(text, part).replace(f"at + @{k}@", f"at + {len(entries)}"))
            entries += more
        if text.key not in self.functions:
            self.functions[text.key] = len(self.texts)
            number = self._kinds[piece.kind] = self._kinds.get(piece.kind, -1) + 1
            self.names.append(f"{piece.kind}_{number}")
            self.texts.append(self._function(self.names[-1], piece.title, text))
        return self.functions[text.key], entries

    # ------------------------------------------------------------ loops over features

    def _outlined(self, piece: Piece) -> tuple[list[str], list[list[Entry]]]:
        """A piece's lines, some blocks as calls; the entries that each call needs."""
        texts = {b: self._block(b) for b in piece.blocks}
        seen = Counter(texts[b][0].key for b in piece.blocks)
        lines: list[str] = []
        entries: list[list[Entry]] = []
        for part in piece.lines:
            if isinstance(part, str):
                lines.append(part)
                continue
            text, needs = texts[part]
            if (seen[text.key] < 2 and len(piece.blocks) <= CROWD) or any(n.startswith("v") for n in needs):
                lines += part.lines
                continue
            if text.key not in self.loops:
                self.loops[text.key] = f"loop_{len(self.loops)}"
                function = self._function(self.loops[text.key], "A loop over features.", text, needs)
                self.loop_texts.append(function)
            indent = part.lines[0][: len(part.lines[0]) - len(part.lines[0].lstrip())]
            call = ", ".join(["X", "O", f"at + @{len(entries)}@", *needs])
            lines.append(f"{indent}{self.loops[text.key]}({call})")
            entries.append(list(text.used.values()))
        return lines, entries

    def _block(self, block: Block) -> tuple[_Text, list[str]]:
        """A block as the body of a function, and the variables around it that it needs."""
        first = block.lines[0]
        spare = len(first) - len(first.lstrip()) - 4
        text = self._read("\n".join(line[spare:] for line in block.lines), "loop")
        known = {n for names in _DEFINED.findall(text.code) for n in names.split(", ")} | _CONSTANT
        outside = [w for w in _WORD.findall(text.code) if w not in known and not _NAME.fullmatch(w)]
        return text, list(dict.fromkeys(outside))

    # ------------------------------------------------------------ text

    def _read(self, lines: str, kind: str) -> _Text:
        sums: dict[str, str] = {}
        body = _SUM.sub(lambda m: sums.setdefault(m[0], f"n__{len(sums)}"), lines)
        parts = {name: tuple(text.split(" + ")) for text, name in sums.items()}
        code = _COMMENT.sub("", body)
        used: dict[str, Entry] = {}
        for m in _NAME.finditer(code):
            name = m[0]
            if m["array"]:
                used.setdefault(name, self.numbers[name])
            elif m["entry"]:
                used.setdefault(name, parts.get(name, name))
        return _Text(body, code, used, self._canonical(kind, code))

    def _canonical(self, kind: str, code: str) -> str:
        """The text with names replaced by numbers in order of appearance."""
        seen: dict[str, str] = {}

        def replace(m: re.Match[str]) -> str:
            if m["scope"]:
                verb, _, scope = m[0].partition("_")
                return f"{verb}_{seen.setdefault('scope ' + scope, f's{len(seen)}')}"
            if m["entry"]:  # a padded size is known to be a multiple; the same loop to an exact one is another function
                letter = "p" if m[0].startswith("p_") else "e"
            else:
                letter = "j" if m[0] in self.integers else "a"
            return seen.setdefault(m[0], f"{letter}{len(seen)}")

        local: dict[str, str] = {}
        code = _LOCAL.sub(lambda m: local.setdefault(m[0], f"{m[0][0]}{len(local)}"), code)
        return f"{kind}\n{_NAME.sub(replace, code)}"

    def _function(self, name: str, title: str, text: _Text, needs: Sequence[str] = ()) -> str:
        lines = [f"def {name}({', '.join(['X', 'O', 'at', *needs])}):", f'    """{_PATH.sub("", title)}"""']
        for array in dict.fromkeys(_ARRAY.findall(text.code)):
            lines.append(f"    {array} = {self._view(array)}(X[{self.numbers[array]}])")
        for k, (used, entry) in enumerate(text.used.items()):
            if used in self.numbers:
                lines.append(f"    {used} = {self._view(used)}(X[O[at + {k}]])")
            else:
                note = f"  # {' + '.join(entry)}" if isinstance(entry, tuple) else ""
                value = f"padded(O[at + {k}])" if used.startswith("p_") else f"O[at + {k}]"
                lines.append(f"    {used} = {value}{note}")
        return _shortened("\n".join([*lines, text.body, ""]))

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
        return "\n\n".join([*self.loop_texts, *self.texts, "\n".join([*main, ""])])


def _shortened(function: str) -> str:
    """A function's text with names of its own: without the way to a layer, told apart by numbers in order of use."""
    names: dict[str, str] = {}
    taken: set[str] = set()

    def replace(m: re.Match[str]) -> str:
        prefix, _, own = m[0].partition("_")
        if not own or own.startswith("_"):
            return m[0]
        if own not in names:
            base = _COUNTED.sub(r"\1", _DEPTH.sub(r"\1", own))
            short, k = base, 2
            while short in taken:
                short, k = f"{base}_{k}", k + 1
            names[own] = short
            taken.add(short)
        return f"{prefix}_{names[own]}"

    def note(m: re.Match[str]) -> str:
        return re.sub(r"\b\w+\b", lambda w: names.get(w[0], w[0]), _PATH.sub("", m[0]))

    return _COMMENT.sub(note, _NAME.sub(replace, function))
