"""What is translated: dates into ISO 8601, numbers into English words, numbers into Roman ones, infix into postfix; or
the user's own pairs.

Each generator makes (source, target) out of a numpy Generator and draws on nothing else.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsl.run.data import read_text
from dsl.run.words import read_lines

Pair = tuple[str, str]
MONTHS = "january february march april may june july august september october november december".split()
UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ROMAN = [
    *[(1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")],
    *[(10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")],
]
MOST = {"Roman": 3500}  # pairs, where there are not many more


def date(random: np.random.Generator) -> Pair:
    """A day of 1900-2099, in one of six ways to write it; day before month where both are numbers."""
    first = datetime.date(1900, 1, 1)
    day = first + datetime.timedelta(days=int(random.integers(0, 200 * 365)))
    month = MONTHS[day.month - 1]
    ways = (
        f"{day.day} {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{day.day} {month[:3]} {day.year}",
        f"{month[:3]} {day.day} {day.year}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day.day:02}/{day.month:02}/{day.year}",
    )
    return str(random.choice(ways)), day.isoformat()


def spoken(n: int) -> str:
    """An integer of 0..999,999 in English words: `402` is "four hundred and two"."""
    if n < 20:
        return UNITS[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f" {UNITS[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{UNITS[n // 100]} hundred" + (f" and {spoken(n % 100)}" if n % 100 else "")
    rest = n % 1000
    return f"{spoken(n // 1000)} thousand" + (f"{' and' if rest < 100 else ''} {spoken(rest)}" if rest else "")


def number(random: np.random.Generator) -> Pair:
    """A number of one to five digits, each count of digits alike often."""
    digits = int(random.integers(1, 6))
    n = int(random.integers(10 ** (digits - 1), 10**digits))
    return str(n), spoken(n)


def roman(n: int) -> str:
    """An integer of 1..3999 in Roman numerals: `1994` is "mcmxciv"."""
    found = ""
    for value, letters in ROMAN:
        found += letters * (n // value)
        n %= value
    return found


def numeral(random: np.random.Generator) -> Pair:
    n = int(random.integers(1, 4000))
    return str(n), roman(n)


def formula(random: np.random.Generator) -> Pair:
    """A formula of two to six letters with + - * / and only the brackets that it needs; and its postfix form."""
    infix, postfix, _ = _tree(random, int(random.integers(2, 7)))
    return infix, postfix


def _tree(random: np.random.Generator, leaves: int) -> tuple[str, str, int]:
    """Infix, postfix and how tightly the outermost operator binds."""
    if leaves == 1:
        letter = "abcdefgh"[random.integers(8)]
        return letter, letter, 3
    left = int(random.integers(1, leaves))
    operator = "+-*/"[random.integers(4)]
    binds = 1 if operator in "+-" else 2
    (a, post_a, binds_a), (b, post_b, binds_b) = _tree(random, left), _tree(random, leaves - left)
    a = f"({a})" if binds_a < binds else a
    b = f"({b})" if binds_b <= binds else b  # left to right among equals
    return f"{a}{operator}{b}", f"{post_a}{post_b}{operator}", binds


TASKS: dict[str, Callable[[np.random.Generator], Pair]] = {
    "dates": date,
    "numbers": number,
    "Roman": numeral,
    "postfix": formula,
}


def made(task: str, count: int, seed: int) -> list[Pair]:
    """So many pairs with different sources, or as many as there are."""
    random, count = np.random.default_rng(seed), min(count, MOST.get(task, count))
    found: dict[str, str] = {}
    while len(found) < count:
        source, target = TASKS[task](random)
        found.setdefault(source, target)
    return list(found.items())


def read_pairs(path: Path, least: int) -> list[Pair]:
    """A file's lines `source TAB target`. Errors: ValueError naming the first line that is none, or too few lines."""
    read_lines(path, least)
    pairs = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        found = [part.strip() for part in line.split("\t")]
        if len(found) == 2 and all(found):
            pairs.append((found[0], found[1]))
        elif line.strip():
            raise ValueError(f"{path}:{number}: expected `source TAB target`, found {line[:60]!r}")
    return pairs
