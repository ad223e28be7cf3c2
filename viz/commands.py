"""Commands that draw: draw, lab, gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import dsl
import viz
from dsl.commands.shared import CellName, Force, Mistake, Open, Output, Sizes, resolved, vacant

if TYPE_CHECKING:
    from dsl.run.result import Run
    from dsl.spec import Spec

VIEWS = ("folded", "cell", "unrolled", "bptt", "terms", "truncated", "gradient-flow", "attention", "walk", "stepper")


def draw(
    cell: CellName,
    sizes: Sizes = None,
    view: Annotated[str, typer.Option(help=f"one of {', '.join(VIEWS)}")] = "unrolled",
    steps: Annotated[int, typer.Option("-T", help="steps to unroll", min=1)] = 4,
    to: Annotated[str | None, typer.Option(help="where a gradient goes: a step h[0], a parameter W")] = None,
    chunk: Annotated[int, typer.Option(help="steps between the cuts of the truncated view", min=1)] = 2,
    output: Output = None,
    force: Force = False,
    show_it: Open = False,
) -> None:
    """Draw a cell. The file's ending says how: .svg, .html or .dot; walk and stepper are pages, .html.

    With all sizes given (D=8 H=16), the views of gradients show the numbers of a run: parameters as they start, seed 0,
    on random data.
    """
    spec = resolved(cell, sizes)
    if view not in VIEWS:
        raise Mistake(f"there is no view `{view}`: {', '.join(VIEWS)}")
    is_page = view in ("walk", "stepper")
    path = output or Path("out") / f"{spec.name}.{view}.{'html' if is_page else 'svg'}"
    vacant(path, force)
    make = getattr(viz, view.replace("-", "_"))
    if view in ("folded", "cell"):
        drawing = make(spec)
    elif view == "unrolled" or (view == "bptt" and not is_sized(spec)):
        drawing = make(spec, T=steps)
    elif view == "truncated":
        drawing = make(example(spec, steps), chunk)
    elif view in ("bptt", "terms", "walk"):
        aim = to or (recurrent(spec) if view == "terms" else None)
        drawing = make(example(spec, steps), **({} if aim is None else {"to": aim}))
    else:
        drawing = make(example(spec, steps))
    save_page(drawing, path, show_it)


def lab(
    cell: CellName,
    against: Annotated[list[str] | None, typer.Option(help="another cell beside it; may be given again")] = None,
    text: Annotated[Path | None, typer.Option(help="a text to look at instead of random data")] = None,
    steps: Annotated[int, typer.Option("-T", help="steps to look at", min=2)] = 32,
    output: Output = None,
    force: Force = False,
    show_it: Open = False,
) -> None:
    """Write one page on how far a cell's gradients reach, beside other cells."""
    path = output or Path("out") / f"{resolved(cell).name}.lab.html"
    vacant(path, force)
    data = dsl.Text(str(text)) if text is not None else None
    save_page(viz.lab(cell, against or [], data, steps=steps), path, show_it)


def gallery(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CELL...]", help="all of the library without")] = None,
    output: Output = None,
    force: Force = False,
    show_it: Open = False,
) -> None:
    """Write one page of the library's cells: equations, BPTT equations, pictures, plans."""
    path = output or Path("out") / "gallery.html"
    vacant(path, force)
    save_page(viz.gallery(names or None), path, show_it)


def save_page(page: Any, path: Path, show_it: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)
    print(f"wrote {path}")
    if show_it:
        typer.launch(str(path))


def recurrent(spec: Spec) -> str:
    """A parameter whose gradient is a sum over steps back in time: the first W, else the first of all."""
    names: list[str] = [name for name, stream in spec.system.streams.items() if stream.kind == "param"]
    if not names:
        raise Mistake(f"{spec.name} has no parameters")
    return next((name for name in names if name.rpartition(".")[2].startswith("W")), names[0])


def is_sized(spec: Spec) -> bool:
    return all(value is not None for value in spec.system.arguments.values())


def example(spec: Spec, steps: int) -> Run:
    """A run of one sequence: parameters as they start, seed 0, on random data."""
    if missing := [name for name, value in spec.system.arguments.items() if value is None]:
        raise Mistake(f"numbers need sizes: give {' '.join(f'{name}=...' for name in missing)}")
    import numpy as np

    from dsl.run.inputs import fed

    model, random = spec.build(seed=0), np.random.default_rng(0)
    data: dict[str, Any] = {}
    for name, stream in fed(model.system).items():
        lead = (steps,) * len(stream.axes)
        if stream.categories is not None:
            data[name] = random.integers(0, int(stream.categories), lead)
        else:
            data[name] = random.standard_normal((*lead, *(int(d) for d in stream.shape)))
    return model(**data)


COMMANDS = (draw, lab, gallery)
