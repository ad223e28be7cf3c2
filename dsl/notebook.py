"""Cells in notebooks: `%load_ext dsl`, the `%%cell` magic, and how a Spec is shown.

    %%cell
    cell Skip(D, H, k=4):
      ...

defines `Skip`. Cells and macros of earlier inputs may be used by their names. IPython is not needed to import this
module; Pygments only colours.
"""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

from dsl.spec import Spec
from dsl.text.diagnostics import CellError, Diagnostic, render
from dsl.text.format import format
from dsl.text.parse import parse
from dsl.text.tree import File, Import

if TYPE_CHECKING:
    from dsl.text.tree import Cell, Macro

SIDE_BY_SIDE = "display:flex;flex-wrap:wrap;gap:2em;align-items:flex-start"


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext dsl` calls."""
    cells = Cells(shell)
    shell.register_magic_function(cells.define, magic_kind="cell", magic_name="cell")


class Cells:
    """The cells, macros and imports that a notebook has defined so far, by name, as text."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.known: dict[str, str] = {}

    def define(self, line: str, text: str) -> None:
        """The `%%cell` magic: bind each cell's name to its Spec, and show them.

        Errors: CellError with all mistakes, and then nothing is bound; ValueError for words behind `%%cell`.
        """
        if line.strip():
            raise ValueError(
                f"%%cell takes nothing behind it, given {line.strip()!r}: the cells begin on the next line"
            )
        own = parse(text)
        names = {_key(item) for item in own.items}
        earlier = [written for key, written in self.known.items() if key not in names]
        file = parse(
            "\n\n".join([text.rstrip(), *earlier]) + "\n"
        )  # behind the new text, whose lines keep their numbers
        specs = {name: Spec(file, name) for name in own.cells}
        problems: dict[Diagnostic, None] = {}
        for spec in specs.values():
            try:
                problems |= dict.fromkeys(w for w in spec.warnings if w.span.start < len(text))
            except CellError as error:
                problems |= dict.fromkeys(error.diagnostics)
        if any(d.severity == "error" for d in problems):
            raise CellError(list(problems), file.source)
        for warning in problems:
            print(render(warning, file.source), file=sys.stderr)
        self.known |= {_key(item): format(File((item,), own.source)).strip() for item in own.items}
        self.shell.push(specs)
        for spec in specs.values():
            _display(spec)


def _key(item: Import | Macro | Cell) -> str:
    """What an item is known by; importing the same again is one import."""
    return f"{item.module}: {', '.join(item.names)}" if isinstance(item, Import) else item.name


def _display(spec: Spec) -> None:
    from IPython.display import display

    display(spec)


# ---------------------------------------------------------------- HTML


def page(spec: Spec) -> str:
    """A Spec for a notebook: its source, coloured, and its equations beside; its mistakes instead when it has some."""
    try:
        beside = f"<div>$${html.escape(spec.latex(), quote=False)}$$</div>"
    except CellError as error:
        beside = f"<pre>{html.escape(str(error), quote=False)}</pre>"
    return f'<div style="{SIDE_BY_SIDE}">{coloured(str(spec))}{beside}</div>'


def coloured(text: str) -> str:
    """Source text as HTML, styles inside; plain without Pygments."""
    try:
        from pygments import formatters

        from dsl.text.lexer import highlighted
    except ImportError:
        return f"<pre>{html.escape(text, quote=False)}</pre>"
    return highlighted(text, formatters.HtmlFormatter(noclasses=True, nobackground=True))
