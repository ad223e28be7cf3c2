"""Commands for writing cells: new, check, fmt."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import dsl
from dsl.commands.shared import Force, Json, header, read_text, write
from tinygrad_seq.files import write_file

TEMPLATE = """\
# Change the equations, then: tgseq check {file} | tgseq draw {file} | tgseq train {file} --data book.txt H=128
cell {name}(D, H, k=4): # sizes, and numbers with defaults
  input x[t]: D                                 # D numbers a step
  state h[t]: H = 0                             # read at another time; 0 is its value before step 0
  param V, W, S ~ glorot                        # shapes follow from use
  param b = 0
  h[t] = tanh(V@x[t] + W@h[t-1] + S@h[t-k] + b) # a shortcut k steps back
  output h
"""


def new(path: Annotated[Path, typer.Argument(metavar="FILE.cell")], force: Force = False) -> None:
    """Start a cell: a small one with a shortcut in time, to be changed."""
    if path.suffix != ".cell":
        path = path.with_name(path.name + ".cell")
    words = "".join(c if c.isalnum() else " " for c in path.stem).split()
    name = "".join(w[:1].upper() + w[1:] for w in words) or "Cell"
    if not name.isidentifier():
        name = "Cell" + name
    text = TEMPLATE.format(name=name, file=path)
    write(path, dsl.format(text), force)


def check(files: Annotated[list[str], typer.Argument(metavar="FILE.cell...")], as_json: Json = False) -> None:
    """Find every mistake of the files (- is standard input): names, shapes, indices, cycles. Exit status 2 when there
    are any."""
    from dsl.text.diagnostics import render

    found: list[dict[str, Any]] = []
    for name in files:
        sound, diagnostics = examine(name)
        found += [problem(name, diagnostic, source) for diagnostic, source in diagnostics]
        if not as_json:
            for diagnostic, source in diagnostics:
                print(render(diagnostic, source), end="\n\n", file=sys.stderr)
            for signature in sound:
                print(f"ok  {name}: {signature}")
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    if any(one["severity"] == "error" for one in found):
        raise SystemExit(2)


def examine(path: str) -> tuple[list[str], list[tuple[Any, Any]]]:
    """Headers of a file's sound cells, and each mistake and warning once, with the source it points into."""
    sound: list[str] = []
    found: dict[Any, Any] = {}
    text, label = source_of(path)
    try:
        names = list(dsl.parse(text, path=label).file.cells)
    except dsl.CellError as mistakes:
        return sound, [(d, mistakes.source) for d in mistakes.diagnostics]
    for name in names:
        try:
            spec = dsl.parse(text, name, label)
            found |= dict.fromkeys(spec.warnings, spec.file.source)
            sound.append(header(spec.tree))
        except dsl.CellError as mistakes:
            found |= dict.fromkeys(mistakes.diagnostics, mistakes.source)
    return sound, list(found.items())


def source_of(path: str) -> tuple[str, str]:
    """A file's text and its name in messages; `-` is standard input."""
    return (sys.stdin.read(), "<stdin>") if path == "-" else (read_text(Path(path)), path)


def problem(path: str, diagnostic: Any, source: Any) -> dict[str, Any]:
    """A diagnostic for editors: positions count from 1."""
    source = diagnostic.source or source
    start = diagnostic.span.start
    place = {"file": source.path if diagnostic.source else path, "line": source.line_of(start)}
    place["column"] = start - source.text.rfind("\n", 0, start)
    return place | {key: getattr(diagnostic, key) for key in ("code", "severity", "message", "help")}


def fmt(
    files: Annotated[list[str], typer.Argument(metavar="FILE.cell...")],
    check_only: Annotated[
        bool, typer.Option("--check", help="change nothing; exit 1 when something would change")
    ] = False,
) -> None:
    """Lay out files the one way; comments stay. Standard input, as -, is laid out to standard output."""
    from dsl.text.parse import parse

    changed = 0
    for path in files:
        before, label = source_of(path)
        after = dsl.format(parse(before, path=label))
        if path == "-" and not check_only:
            print(after, end="")
        elif before != after:
            changed += 1
            print(f"{'would change' if check_only else 'formatted'} {label}")
            if not check_only:
                write_file(Path(path), after.encode())
    if check_only and changed:
        raise SystemExit(1)


COMMANDS = (new, check, fmt)
