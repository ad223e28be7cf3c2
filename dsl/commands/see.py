"""Commands for reading cells: cells, show, adjoint, plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import dsl
from dsl.commands.shared import CellName, Force, Json, Latex, Output, Sizes, deliver, header, read_text, resolved


def cells(as_json: Json = False) -> None:
    """List the library's cells."""
    from dsl.text.parse import parse

    folder = Path(dsl.__file__ or "").parent / "library"
    rows = []
    for path in sorted(folder.glob("*.cell")):
        for cell in parse(read_text(path), path=path.name).cells.values():
            rows.append((path.name, cell.name, header(cell), " ".join(cell.notes.before)))
    if as_json:
        keys = ("file", "name", "signature", "source")
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=1, ensure_ascii=False))
        return
    width = max(len(signature) for _, _, signature, _ in rows)
    for file, _, signature, _ in rows:
        print(f"{signature:{width}}  {file}")


def show(cell: CellName, latex: Latex = False, output: Output = None, force: Force = False) -> None:
    """Print a cell's equations."""
    spec = resolved(cell)
    deliver(spec.latex() if latex else str(spec), output, force, cell=not latex)


def adjoint(
    cell: CellName,
    sizes: Sizes = None,
    latex: Latex = False,
    joined: Annotated[bool, typer.Option("--joined", help="with the forward equations, in one cell")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="where each term comes from, and by which rule")] = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Print a cell's backpropagation through time: a cell again."""
    if explain and joined:
        raise ValueError("--explain tells how the adjoint is derived: leave --joined out")
    derived = resolved(cell, sizes).adjoint(joined=joined)
    if explain:
        deliver(derived.explain(latex), output, force)
        return
    deliver(derived.latex() if latex else str(derived), output, force, cell=not latex)


def plan(
    cell: CellName,
    sizes: Sizes = None,
    source: Annotated[bool, typer.Option("--source", help="the generated code itself")] = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Print how a cell is computed: what leaves the loops, what is stacked, what is kept."""
    made = resolved(cell, sizes).plan()
    deliver(made.source if source else str(made), output, force)


COMMANDS = (cells, show, adjoint, plan)
