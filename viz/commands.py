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

PAGES = ("walk", "stepper")
VIEWS = (
    *("folded", "cell", "unrolled", "bptt", "terms", "truncated", "gradient-flow", "gates", "attention", "tape"),
    *PAGES,
)


def draw(
    cell: CellName,
    sizes: Sizes = None,
    view: Annotated[str, typer.Option(help=f"one of {', '.join(VIEWS)}")] = "unrolled",
    steps: Annotated[int, typer.Option("-T", help="steps to unroll", min=1)] = 4,
    loss: Annotated[
        str | None, typer.Option(help="where a gradient starts: a step, or a loss at a step nll[3]")
    ] = None,
    to: Annotated[str | None, typer.Option(help="where a gradient goes: a step h[0], a parameter W")] = None,
    weight: Annotated[str, typer.Option(help="numbers on the edges of bptt: grad or jacobian")] = "grad",
    chunk: Annotated[int, typer.Option(help="steps between the cuts of the truncated view", min=1)] = 2,
    back: Annotated[int | None, typer.Option(help="steps that its gradient goes back: the chunk's", min=1)] = None,
    first: Annotated[int, typer.Option(help="the number of the first step, 1 for slides")] = 0,
    output: Output = None,
    force: Force = False,
    show_it: Open = False,
) -> None:
    """Draw a cell. The file's ending says how: .svg, .html, .png, .pdf or .dot; walk and stepper are pages, .html.

    With all sizes given (D=8 H=16), the views of gradients show the numbers of a run: parameters as they start, seed 0,
    on random data.
    """
    spec = resolved(cell, sizes)
    if view not in VIEWS:
        raise Mistake(f"there is no view `{view}`: {', '.join(VIEWS)}")
    path = output or Path("out") / f"{spec.name}.{view}.{'html' if view in PAGES else 'svg'}"
    vacant(path, force)
    start = int(loss) if loss is not None and loss.lstrip("-").isdigit() else loss
    asked: dict[str, Any] = {k: v for k, v in {"loss": start, "to": to}.items() if v is not None}
    numbered = {**asked, "first": first}
    drawing: Any
    match view:
        case "folded" | "cell":
            drawing = getattr(viz, view)(spec)
        case "unrolled":
            drawing = viz.unrolled(spec, T=steps, first=first)
        case "bptt" if not is_sized(spec):
            drawing = viz.bptt(spec, T=steps, first=first)
        case "bptt":
            drawing = viz.bptt(example(spec, steps), weight=weight, **numbered)
        case "terms":
            drawing = viz.terms(example(spec, steps), **{"to": recurrent(spec), **numbered})
        case "walk":
            drawing = viz.walk(example(spec, steps), **asked)
        case "truncated":
            drawing = viz.truncated(example(spec, steps), chunk, back, first=first)
        case "gradient-flow":
            drawing = viz.gradient_flow(example(spec, steps), to, first=first)
        case "gates":
            drawing = viz.gates(*symbols(spec, steps), to)
        case "attention":
            drawing = viz.attention(example(spec, steps), first=first)
        case "tape":
            drawing = viz.tape(value_of(example(spec, steps, "tape")))
        case _:
            drawing = viz.stepper(example(spec, steps))
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


def symbols(spec: Spec, steps: int) -> tuple[Any, Any]:
    """A model of symbols and a random text for it."""
    run = example(spec, steps)
    name = next((n for n, d in run.system.draws.items() if d.distribution == "categorical"), None)
    if name is None:
        raise Mistake(f"{spec.name} draws no category: gates needs a model of symbols")
    return run.model, run.value(name).numpy()[:, 0]


def value_of(run: Run) -> Any:
    """The first loss of a run, else the sum of its first output."""
    system = run.system
    name = next(iter([*system.losses, *system.outputs, *system.equations]))
    return run[name] if name in system.losses else run[name].sum()


def example(spec: Spec, steps: int, engine: str = "compiled") -> Run:
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
    return model(engine=engine, **data)


COMMANDS = (draw, lab, gallery)
