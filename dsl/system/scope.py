"""Which cells and macros a file can name: its own, what it imports, and the library.

Knows files and names only; nothing of streams, shapes or equations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from dsl.text.diagnostics import CellError, Diagnostic, suggest
from dsl.text.parse import parse
from dsl.text.tree import Cell, File, Import, Macro

LIBRARY = Path(__file__).resolve().parent.parent / "library"


@cache
def library_file(path: Path) -> File:
    return parse(path.read_text(encoding="utf-8"), str(path))


Item = TypeVar("Item", Cell, Macro)


@cache
def library_index() -> dict[str, Path]:
    """Cell name -> library file, without parsing any."""
    index: dict[str, Path] = {}
    for path in sorted(LIBRARY.rglob("*.cell")):
        for name in re.findall(r"^cell\s+(\w+)", path.read_text(encoding="utf-8"), flags=re.M):
            index.setdefault(name, path)
    return index


@dataclass
class Scope:
    """The cells and macros visible from one file."""

    file: File
    cells: dict[str, tuple[Cell, Scope]] = field(default_factory=dict)
    macros: dict[str, tuple[Macro, Scope]] = field(default_factory=dict)

    def cell(self, name: str) -> tuple[Cell, Scope] | None:
        """A cell visible here, or the library's of that name (an argument may name any)."""
        if name in self.cells:
            return self.cells[name]
        path = library_index().get(name)
        if path is None:
            return None
        return open_scope(library_file(path)).cells.get(name)

    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.cells, *library_index()]))


def open_scope(file: File, problems: list[Diagnostic] | None = None, _open: tuple[str, ...] = ()) -> Scope:
    """The scope of a file, imports followed; what is wrong with an import goes to `problems`."""
    scope = Scope(file)
    _open = _open or (str(Path(file.source.path).resolve()),)
    found = problems if problems is not None else []
    for item in file.items:
        if isinstance(item, Import):
            for diagnostic in _import(item, scope, file, _open):
                found.append(diagnostic)
    for item in file.items:
        if isinstance(item, Cell):
            _define(item, scope.cells, scope, found)
        elif isinstance(item, Macro):
            _define(item, scope.macros, scope, found)
    return scope


def _define(item: Item, table: dict[str, tuple[Item, Scope]], scope: Scope, problems: list[Diagnostic]) -> None:
    earlier = table.get(item.name)
    if earlier is not None and earlier[1] is scope:
        kind = "cell" if isinstance(item, Cell) else "def"
        problems.append(
            Diagnostic(
                "E206", f"{kind} `{item.name}` is defined twice in this file", item.span, help="rename one of them"
            )
        )
    table[item.name] = (item, scope)


def _import(item: Import, scope: Scope, file: File, opened: tuple[str, ...]) -> Iterator[Diagnostic]:
    parts = item.module.split(".")
    here = Path(file.source.path).parent
    candidates = [here.joinpath(*parts).with_suffix(".cell"), LIBRARY.joinpath(*parts).with_suffix(".cell")]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        known = sorted(p.stem for p in [*here.glob("*.cell"), *LIBRARY.glob("*.cell")])
        near = suggest(item.module, known)
        hint = (
            f"did you mean `{near}`?"
            if near
            else "a neighbouring .cell file or one of the library: " + ", ".join(known)
        )
        yield Diagnostic(
            "E203", f"no file `{item.module}.cell` beside this one or in the library", item.span, help=hint
        )
        return
    if str(path.resolve()) in opened:
        yield Diagnostic(
            "E204",
            f"`{item.module}` imports itself in a circle",
            item.span,
            help="move the shared cells to a third file",
        )
        return
    try:
        tree = library_file(path) if LIBRARY in path.parents else parse(path.read_text(encoding="utf-8"), str(path))
    except CellError as mistakes:
        yield from (replace(d, source=d.source or mistakes.source) for d in mistakes.diagnostics)
        return
    except (OSError, UnicodeDecodeError) as error:
        yield Diagnostic(
            "E203", f"`{item.module}` cannot be read: {str(error).splitlines()[0]}", item.span, help=f"check {path}"
        )
        return
    inside: list[Diagnostic] = []
    other = open_scope(tree, inside, (*opened, str(path.resolve())))
    for diagnostic in inside:
        yield replace(diagnostic, source=diagnostic.source or tree.source)
    for name in item.names:
        if name in other.cells:
            scope.cells[name] = other.cells[name]
        elif name in other.macros:
            scope.macros[name] = other.macros[name]
        else:
            near = suggest(name, [*other.cells, *other.macros])
            hint = f"did you mean `{near}`?" if near else "it has " + ", ".join([*other.cells, *other.macros])
            yield Diagnostic("E205", f"`{item.module}` has no cell or def named `{name}`", item.span, help=hint)
