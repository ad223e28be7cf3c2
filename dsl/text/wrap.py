"""Breaking a long statement over lines: at the shallowest operator or comma, aligned under what it continues."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WIDTH = 100  # columns a line may fill
REACH = 60  # deepest column a continuation inside brackets is aligned to


@dataclass(frozen=True)
class _Break:
    """A place where the text may go on in a new line, and the brackets around it (places of their openers)."""

    at: int
    around: tuple[int, ...]


def wrap(text: str, align: int) -> list[str]:
    """The lines of a statement. Outside brackets a line ends in `\\` and the next begins in column `align`.

    `text` is printed text: binary operators with a space on both sides and `, ` are where it may be broken.
    """
    if len(text) <= WIDTH:
        return [text]
    breaks = deque(_breaks(text, align))
    lines: list[str] = []
    columns: dict[int, int] = {}  # of openers already laid out
    start, indent = 0, 0
    while indent + len(text) - start > WIDTH:
        while breaks and breaks[0].at <= start + 2:
            breaks.popleft()
        if not breaks:
            break
        room = start + WIDTH - indent + 1  # the space before a break is dropped, a `\` put behind
        fitting: list[_Break] = []
        for place in breaks:
            if place.at > room:
                break
            if place.around or place.at <= room - 2:
                fitting.append(place)
        best = min(fitting, key=lambda b: (len(b.around), -b.at)) if fitting else breaks[0]
        line = " " * indent + text[start : best.at].rstrip()
        columns.update((o, indent + o - start) for o in best.around if o >= start)
        lines.append(line if best.around else line + " \\")
        indent = min(columns[best.around[-1]] + 1, REACH) if best.around else align
        start = best.at
    return [*lines, " " * indent + text[start:]]


def _breaks(text: str, align: int) -> list[_Break]:
    found: list[_Break] = []
    around: tuple[int, ...] = ()
    for i, character in enumerate(text):
        if character in "([":
            around = (*around, i)
        elif character in ")]":
            around = around[:-1]
        elif i > align and character == " " and text[i + 1 : i + 3] in ("+ ", "- ", "* "):
            found.append(_Break(i + 1, around))
        elif i > align and character == "," and text[i + 1 : i + 2] == " ":
            found.append(_Break(i + 2, around))
    return found
