"""Files of the library with one or a few things wrong: what people mistype, forget, swap and paste."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable

from dsl.system.scope import LIBRARY

TOKEN = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*|\d+\.?\d*|\*\*|//|[=!<>]=|\n[ ]*|[ ]+|.", re.S)
SIGNS = ("+", "-", "*", "/", "//", "%", "@", "**", "==", "<", "=", "~", ",", ":", "(", ")", "[", "]", ".T", ".H")
INSERTED = (*"()[]=~,:@*+-/%^\\#.\n\t \"'⊙é²|!;{}", "**", "2 ", ".T", " if ", "kept", "none", "[t]", "[t-1]", "len(t)")
INDICES = ("t-1", "t+1", "t", "s", "u", "t-k", "2*t", "t//2", "2*t+1", "(t+1)//2", "0", "-1", "len(t)-1", "len(t)-1-t",
           "len(t)", "t,s", "3", "H", "x[t]")  # fmt: skip
NUMBERS = ("0", "1", "2", "-1", "3", "0.5", "1e-3", "2j", "pi", "inf", "none", "7", "1e300")
FUNCTIONS = ("tanh", "sigmoid", "relu", "exp", "softmax", "sum", "sum[t]", "mean[t]", "max[s]", "concat", "last", "fft",
             "outer", "logprob", "where", "zeros", "abs", "re", "cis", "len", "stop_gradient", "cumsum")  # fmt: skip

Mutation = Callable[[random.Random, list[str]], list[str]]


@functools.cache
def cells() -> tuple[str, ...]:
    """Every cell of the library as a text of its own: its file's imports and macros, then the cell."""
    found = []
    for path in sorted(LIBRARY.glob("*.cell")):
        blocks = re.split(r"^(?=(?:cell|def|from)\b)", path.read_text("utf-8"), flags=re.M)
        head = "".join(b for b in blocks if b.startswith(("from", "def")))
        found += [head + re.sub(r"(?m)^#.*\n?", "", b) for b in blocks if b.startswith("cell")]
    return tuple(found)


def _words(tokens: list[str]) -> list[int]:
    """The places of what is no space."""
    return [i for i, token in enumerate(tokens) if token.strip()] or [0]


def _named(tokens: list[str]) -> list[int]:
    return [i for i, token in enumerate(tokens) if re.match(r"[A-Za-z_]", token)] or [0]


def delete(rng: random.Random, tokens: list[str]) -> list[str]:
    i = rng.choice(_words(tokens))
    return tokens[:i] + tokens[i + 1 :]


def duplicate(rng: random.Random, tokens: list[str]) -> list[str]:
    i = rng.choice(_words(tokens))
    return tokens[: i + 1] + tokens[i:]


def swap(rng: random.Random, tokens: list[str]) -> list[str]:
    places = _words(tokens)
    k = rng.randrange(max(1, len(places) - 1))
    i, j = places[k], places[min(k + 1, len(places) - 1)]
    out = list(tokens)
    out[i], out[j] = out[j], out[i]
    return out


def rename(rng: random.Random, tokens: list[str]) -> list[str]:
    """A name becomes another of the same text."""
    places = _named(tokens)
    out = list(tokens)
    out[rng.choice(places)] = tokens[rng.choice(places)]
    return out


def misspell(rng: random.Random, tokens: list[str]) -> list[str]:
    out, i = list(tokens), rng.choice(_named(tokens))
    k = rng.randrange(max(1, len(out[i])))
    out[i] = out[i][:k] + rng.choice(("", out[i][k : k + 1] * 2, "x", "_", "Q")) + out[i][k + 1 :]
    return out


def replace(kinds: str, choices: tuple[str, ...]) -> Mutation:
    def mutation(rng: random.Random, tokens: list[str]) -> list[str]:
        places = [i for i, token in enumerate(tokens) if re.fullmatch(kinds, token)]
        if not places:
            return tokens
        i = rng.choice(places)
        return [*tokens[:i], rng.choice(choices), *tokens[i + 1 :]]

    return mutation


def index(rng: random.Random, tokens: list[str]) -> list[str]:
    """Another index between a pair of brackets."""
    openers = [i for i, token in enumerate(tokens) if token == "["]
    if not openers:
        return tokens
    i = rng.choice(openers)
    j = next((j for j in range(i, len(tokens)) if tokens[j] == "]"), i + 1)
    return [*tokens[: i + 1], rng.choice(INDICES), *tokens[j:]]


def insert(rng: random.Random, tokens: list[str]) -> list[str]:
    i = rng.randrange(len(tokens) + 1)
    return [*tokens[:i], rng.choice(INSERTED), *tokens[i:]]


def lines(change: Callable[[random.Random, list[str]], None]) -> Mutation:
    def mutation(rng: random.Random, tokens: list[str]) -> list[str]:
        rows = "".join(tokens).split("\n")
        change(rng, rows)
        return TOKEN.findall("\n".join(rows))

    return mutation


def _drop_line(rng: random.Random, rows: list[str]) -> None:
    del rows[rng.randrange(len(rows))]


def _repeat_line(rng: random.Random, rows: list[str]) -> None:
    rows.insert(rng.randrange(len(rows)), rng.choice(rows))


def _swap_lines(rng: random.Random, rows: list[str]) -> None:
    i, j = rng.randrange(len(rows)), rng.randrange(len(rows))
    rows[i], rows[j] = rows[j], rows[i]


def _foreign_line(rng: random.Random, rows: list[str]) -> None:
    rows.insert(rng.randrange(len(rows)), rng.choice(rng.choice(cells()).split("\n")))


LINES = tuple(map(lines, (_drop_line, _repeat_line, _swap_lines, _foreign_line)))
MUTATIONS: tuple[Mutation, ...] = (
    delete,
    duplicate,
    swap,
    rename,
    misspell,
    index,
    insert,
    replace(r"\*\*|//|[=!<>]=|[-+*/%@=~,:()\[\]]", SIGNS),
    replace(r"\d+\.?\d*", NUMBERS),
    replace(r"[a-z]\w*", FUNCTIONS),
    *LINES,
)


def mutant(seed: int) -> tuple[str, int]:
    """A changed cell of the library, and how many of its tokens were changed (0 when whole lines were)."""
    rng = random.Random(seed)
    tokens = TOKEN.findall(rng.choice(cells()))
    changes = [rng.choice(MUTATIONS) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    for change in changes:
        tokens = change(rng, tokens) or [" "]
    return "".join(tokens), 0 if set(changes) & set(LINES) else len(changes)
