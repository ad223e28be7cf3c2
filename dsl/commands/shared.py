"""What commands share: how a cell, its sizes and an output are named, and how text gets to a file.

Knows the front of the language (`load`), the file system and typer; no command in particular.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import dsl
from tinygrad_seq.files import write_file

if TYPE_CHECKING:
    from dsl.spec import Spec
    from dsl.text.tree import Cell

CellName = Annotated[str, typer.Argument(metavar="CELL", help="a library cell, FILE.cell, or FILE.cell:Name")]
Sizes = Annotated[list[str] | None, typer.Argument(metavar="[H=128]...", help="sizes, numbers and cells of the header")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="write to this file")]
Force = Annotated[bool, typer.Option("--force", help="replace files that exist")]
Open = Annotated[bool, typer.Option("--open", help="open the file that was written")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Latex = Annotated[bool, typer.Option("--latex", help="LaTeX instead of text")]


class Mistake(ValueError):
    """The user's mistake, worded for the user: printed as it is, exit status 2."""


def arguments(words: list[str] | None) -> dict[str, Any]:
    """`["H=128", "Cell=GRU", "p=0.1"]` as keyword arguments: integers, numbers, else names."""
    values: dict[str, Any] = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise Mistake(f"`{word}` is no size: write NAME=VALUE, as in H=128 or Cell=GRU")
        for read in (int, float, str):
            try:
                values[name] = read(value)
                break
            except ValueError:
                continue
    return values


def resolved(cell: str, words: list[str] | None = None) -> Spec:
    """The spec of a library cell or a file's cell, with arguments that its header has."""
    try:
        spec = dsl.load(cell)
    except KeyError as error:
        raise Mistake(error.args[0]) from None
    given = arguments(words)
    check_names(spec.name, given, [p.name for p in spec.tree.parameters])
    spec = spec(**given)
    if sizes := {name: value for name, value in given.items() if isinstance(value, int)}:
        from dsl.run.needs import check_sizes

        check_sizes(spec.system, sizes)
    return spec


def check_names(cell: str, given: dict[str, Any], known: list[str]) -> None:
    """Each argument given is one that the header has."""
    for name in given:
        if name not in known:
            raise Mistake(f"{cell} has no argument `{name}`; it has {', '.join(known) or 'none'}")


def vacant(path: Path, force: bool) -> None:
    """Nothing is overwritten unless `force` says so."""
    if path.exists() and not force:
        raise Mistake(f"{path} exists already: choose another name, or --force to replace it")


def write(path: Path, content: str, force: bool) -> None:
    """Write a text, all or nothing, and print its path."""
    vacant(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content.encode())
    print(f"wrote {path}")


def deliver(content: str, output: Path | None, force: bool, cell: bool = False) -> None:
    """Text to stdout, or to the file that was asked for; `cell`: it is source, shown in colours."""
    if output is None:
        print(coloured(content.rstrip("\n")) if cell else content.rstrip("\n"))
    else:
        write(output, content.rstrip("\n") + "\n", force)


def coloured(source: str) -> str:
    """A cell's source in the terminal's colours; plain for a pipe, a file, or one who set NO_COLOR."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return source
    from pygments.formatters import TerminalFormatter

    from dsl.text.lexer import highlighted

    return highlighted(source, TerminalFormatter()).rstrip("\n")


def read_text(path: Path) -> str:
    """A UTF-8 text, or one message saying why not."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        from dsl.system.scope import library_index

        known = f": `tgseq show {path}` prints the library's cell" if str(path) in library_index() else ""
        raise Mistake(f"there is no file {path}{known}") from None
    except IsADirectoryError:
        raise Mistake(f"{path} is a directory, not a file") from None
    except UnicodeDecodeError as error:
        raise Mistake(f"{path} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}") from None


def header(cell: Cell) -> str:
    """`Skip(D, H, k=4)`, from the tree."""
    from dsl.text.format import expression

    words = [p.name if p.default is None else f"{p.name}={expression(p.default)}" for p in cell.parameters]
    return f"{cell.name}({', '.join(words)})"
