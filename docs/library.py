"""Writes docs/library.md: every library cell with its source and the shapes that resolving it gives.

    python docs/library.py

A test compares the page with what this module makes of the library, so that it cannot go stale.
"""

from __future__ import annotations

import re
from pathlib import Path

import dsl
from dsl.system.dims import Dim
from dsl.system.printing import Printer
from dsl.system.system import Stream, System
from dsl.text.format import expression
from dsl.text.parse import parse
from tinygrad_seq.symbol import Symbol

LIBRARY = Path(dsl.__file__).parent / "library"
PAGE = Path(__file__).with_name("library.md")
HEAD = """# The library

Every cell is a few lines you can read: `dsl.load("LSTM")` gives it, `tgseq show LSTM` its equations, `tgseq adjoint
LSTM` its backpropagation through time, `tgseq draw LSTM` its picture. In a cell of your own, `use rnn = LSTM(x=x, H=H)`
makes it a part, and where another has an argument `Cell=LSTM` any layer can stand: `dsl.load("CharRNN", Cell="GRU")`.

In the tables, sizes are the arguments of a cell's header. A vector of H numbers is `H`, a matrix with H rows and D
columns `H × D`, a single number `scalar`; `one of K` is a category, given as an integer. `x[t]` has one value a step,
`a[t,s]` one for each pair of steps of two sequences, a name without index one a sequence or, for parameters, one for
all. The last column says how a parameter starts, and what a stream is before its first step and behind its last.
*Trained* counts the numbers in all parameters (complex ones once). Where a cell is an argument, the table is that of
its default; a stack is shown with one layer, or as many as its default says.

Where other implementations depart from a paper, a cell follows the paper and its comment says so. Each is tested
against an oracle of its own, value and gradient: a NumPy loop written from the paper, or another library's cell.

Made by `docs/library.py` from `dsl/library/*.cell`; do not edit.
"""
THEMES = {
    "Simple networks": "elman indrnn scrn",
    "Dynamical systems": "antisymmetric unicornn oscillators",
    "Long short-term memory": "lstm lstm1997 janet layernorm chrono memory residual_lstm xlstm",
    "Gated units": "gru mgu atr brc cfn fastgrnn lightru ligru minimalrnn mut ran sgrn sgu star ugrnn",
    "Linear recurrences": "sru qrnn mingru typed",
    "Shortcuts and several time scales": "skip dilated clockwork hierarchy pyramid",
    "Depth and both directions": "bidirectional residual highway",
    "Matrices that keep lengths, matrices that change": "unitary fastweights",
    "Noise": "dropout zoneout",
    "Sequences to labels": "classify tagging ctc",
    "Language, and sequences from a vector": "language vector stop",
    "Sequences to sequences": "translate attention",
    "Handwriting": "handwriting",
}


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
    dims = [f"({d})" if " " in str(d) and len(stream.shape) > 1 else str(d) for d in stream.shape]
    return "complex " * (stream.dtype == "complex") + (" × ".join(dims) or "scalar")


def _number(value: object, system: System) -> str:
    """An argument of an initialiser: a number, a size, or an expression of sizes."""
    if isinstance(value, Symbol):
        return expression(Printer(system).expression(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def start(stream: Stream, system: System) -> str:
    """The initialiser of a parameter, what a stream is outside its steps."""
    rule = stream.initializer
    if rule is not None:
        arguments = ", ".join(_number(a, system) for a in rule.arguments)
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
    order = ["input", "noise", "param", "const", "drawn", "state", "equation", "output", "loss"]
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


NAME = r"(?:[A-Z]\.[- ]?)+(?:(?:von|El|Le) )?[A-Z][\w-]+"


def paper(block: list[str]) -> str:
    """Who and when, without initials, of the first paper that a comment cites; "" when it cites none."""
    text = " ".join(line.removeprefix("#").strip() for line in block)
    authors = re.search(rf"{NAME}(?:, {NAME})*(?: et al\.)?", text)
    year = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", text[authors.end() if authors else 0 :])
    if year is None:
        return ""
    names = re.sub(r"(?:[A-Z]\.[- ]?)+", "", authors.group()).split(", ") if authors else [""]
    if len(names) > 2:
        names = [f"{names[0]} et al."]
    return f"{' and '.join(names)} {year.group()}".strip()


def index(files: dict[str, str]) -> list[str]:
    """A table for each theme: cell, paper, how many numbers are trained."""
    lines = []
    for theme, stems in THEMES.items():
        lines += [f"**[{theme}](#{theme.lower().replace(' ', '-').replace(',', '')})**", ""]
        lines += ["| cell | paper | trained |", "|---|---|---|"]
        for stem in stems.split():
            above = comments(files[stem])
            source = paper(above[""])
            for name in parse(files[stem], stem).cells:
                source = paper(above.get(name, [])) or source  # several cells of one paper follow one comment
                lines.append(f"| [{name}](#{name.lower()}) | {source} | `{numbers(dsl.load(name).system)}` |")
        lines.append("")
    return lines


def section(stem: str, text: str) -> list[str]:
    above = comments(text)
    lines = [prose(above[""]), ""] if above[""] else []
    for name, cell in parse(text, stem).cells.items():
        system = dsl.load(name).system
        header = ", ".join(
            p.name if p.default is None else f"{p.name}={expression(p.default)}" for p in cell.parameters
        )
        lines += [f'<a id="{name.lower()}"></a>', "", f"### {name}({header})", ""]
        if above.get(name):
            lines += [prose(above[name]), ""]
        lines += [*table(system), "", f"Trained: `{numbers(system)}` numbers.", ""]
        lines += ["<details><summary>Source</summary>", "", "```cell", str(dsl.load(name)), "```", "", "</details>", ""]
    return lines


def page() -> str:
    """The whole page: an index, then the cells by theme."""
    files = {path.stem: path.read_text(encoding="utf-8") for path in sorted(LIBRARY.glob("*.cell"))}
    if missing := set(files) ^ set(" ".join(THEMES.values()).split()):
        raise KeyError(f"THEMES and the library differ in {', '.join(sorted(missing))}")
    lines = index(files)
    for theme, stems in THEMES.items():
        lines += [f"## {theme}", ""]
        for stem in stems.split():
            lines += section(stem, files[stem])
    return "\n".join([HEAD, *lines]).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
