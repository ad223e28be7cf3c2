"""Writes docs/library.md: every library cell with its source and the shapes that resolving it gives.

    python docs/library.py

A test compares the page with what this module makes of the library, so that it cannot go stale.
"""

from __future__ import annotations

from pathlib import Path

import dsl
from dsl.system.dims import Dim
from dsl.system.printing import Printer
from dsl.system.system import Stream, System
from dsl.text.format import expression
from dsl.text.parse import parse

LIBRARY = Path(dsl.__file__).parent / "library"
PAGE = Path(__file__).with_name("library.md")
HEAD = """# The library

Made by `docs/library.py` from `dsl/library/*.cell`; `dsl.load("LSTM")` gives a cell, `tgseq show LSTM` its equations.
Sizes are the arguments of a cell's header, where a cell is an argument the table is that of its default. A vector of
H numbers is `H`, a matrix with H rows and D columns `H × D`, a number a sequence or step `scalar`; `one of K` is a
category.
"""


def prose(lines: list[str]) -> str:
    """Comment lines as a paragraph, with what Markdown would read as markup made harmless."""
    text = " ".join(line.removeprefix("#").strip() for line in lines)
    for mark in "*_<":
        text = text.replace(mark, f"\\{mark}")
    return text


def comments(text: str) -> dict[str, list[str]]:
    """The comment right above each cell, and that of the file under an empty name."""
    found: dict[str, list[str]] = {"": []}
    block: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            block.append(line)
            continue
        if line.startswith("cell "):
            found[line[5:].partition("(")[0]] = block
        elif block and len(found) == 1 and not found[""]:
            found[""] = block
        block = []
    return found


def kind(stream: Stream, system: System) -> str:
    if stream.name in system.losses:
        return "loss"
    if stream.name in system.outputs:
        return "output"
    if stream.kind == "equation":
        return "state" if stream.state else "equation"
    return {"draw": "drawn"}.get(stream.kind, stream.kind)


def shape(stream: Stream) -> str:
    if stream.dtype == "category":
        return f"one of {stream.categories}"
    return " × ".join(f"({d})" if " " in str(d) and len(stream.shape) > 1 else str(d) for d in stream.shape) or "scalar"


def start(stream: Stream, system: System) -> str:
    """The initialiser of a parameter, what a stream is outside its steps."""
    rule = stream.initializer
    if rule is not None:
        arguments = ", ".join(f"{a:g}" if isinstance(a, float) else str(a) for a in rule.arguments)
        return arguments if rule.name == "constant" else f"{rule.name}({arguments})" if arguments else rule.name
    if stream.boundary is None or stream.kind == "param":
        return ""
    if stream.dtype == "category":
        return "none"
    return expression(Printer(system).expression(stream.boundary))


def table(system: System) -> list[str]:
    """One row for the names that agree in everything, in order of the first."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for stream in system.streams.values():
        index = f"[{','.join(stream.axes)}]" if stream.axes else ""
        key = (kind(stream, system), shape(stream), start(stream, system))
        rows.setdefault(key, []).append(f"`{stream.name}{index}`")
    order = ["input", "param", "const", "drawn", "state", "equation", "output", "loss"]
    lines = ["| | name | shape | start, or outside its steps |", "|---|---|---|---|"]
    for (what, size, value), names in sorted(rows.items(), key=lambda row: order.index(row[0][0])):
        lines.append(f"| {what} | {', '.join(names)} | {size} | {f'`{value}`' if value else ''} |")
    return lines


def numbers(system: System) -> Dim:
    """How many numbers are trained."""
    total = Dim()
    for stream in system.streams.values():
        if stream.kind == "param":
            size = Dim.of(1)
            for dim in stream.shape:
                size = size * dim
            total = total + size
    return total


def section(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    above = comments(text)
    lines = [f"## {path.stem}", ""]
    if above[""]:
        lines += [prose(above[""]), ""]
    for name, cell in parse(text, path.name).cells.items():
        system = dsl.load(name).system
        header = ", ".join(
            p.name if p.default is None else f"{p.name}={expression(p.default)}" for p in cell.parameters
        )
        lines += [f"### {name}({header})", ""]
        if above.get(name):
            lines += [prose(above[name]), ""]
        lines += [*table(system), "", f"Trained: `{numbers(system)}` numbers.", ""]
    return lines


def page() -> str:
    """The whole page, families in the order of their files' names."""
    lines = [line for path in sorted(LIBRARY.glob("*.cell")) for line in section(path)]
    return "\n".join([HEAD, *lines]).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
