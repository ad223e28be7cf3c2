"""Commands that draw: draw, lab, gallery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import dsl
import viz
from dsl.commands.shared import CellName, Force, Mistake, Open, Output, Sizes, arguments, resolved, vacant
from dsl.text.diagnostics import suggest

if TYPE_CHECKING:
    from dsl.run.result import Run
    from dsl.spec import Spec


@dataclass(frozen=True)
class Asked:
    """What the command line says of a picture; views without a place for an option leave it."""

    spec: Spec
    steps: int
    first: int
    loss: int | str | None
    to: str | None
    weight: str
    chunk: int
    back: int | None

    def run(self) -> Run:
        return example(self.spec, self.steps)

    def ends(self, **usual: Any) -> dict[str, Any]:
        """Where a gradient starts and goes, as far as one said it, and the number of the first step."""
        given = {k: v for k, v in {"loss": self.loss, "to": self.to}.items() if v is not None}
        return {**usual, **given, "first": self.first}


def _bptt(a: Asked) -> Any:
    if not is_sized(a.spec):
        return viz.bptt(a.spec, T=a.steps, first=a.first)
    return viz.bptt(a.run(), weight=a.weight, **a.ends())


PAGES: dict[str, Callable[[Asked], Any]] = {
    "walk": lambda a: viz.walk(a.run(), **a.ends()),
    "stepper": lambda a: viz.stepper(a.run()),
}
VIEWS: dict[str, Callable[[Asked], Any]] = {
    "folded": lambda a: viz.folded(a.spec),
    "cell": lambda a: viz.cell(a.spec),
    "unrolled": lambda a: viz.unrolled(a.spec, T=a.steps, first=a.first),
    "bptt": _bptt,
    "terms": lambda a: viz.terms(a.run(), **a.ends(to=recurrent(a.spec))),
    "truncated": lambda a: viz.truncated(a.run(), a.chunk, a.back, first=a.first),
    "gradient-flow": lambda a: viz.gradient_flow(a.run(), a.to, first=a.first),
    "gates": lambda a: viz.gates(*symbols(a.spec, a.steps), a.to),
    "units": lambda a: viz.units(*symbols(a.spec, a.steps), a.to),
    "attention": lambda a: viz.attention(a.run(), first=a.first),
    "tape": lambda a: viz.tape(value_of(example(a.spec, a.steps, "tape"))),
    **PAGES,
}


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
        near = suggest(view, list(VIEWS))
        raise Mistake(f"there is no view `{view}`" + (f"; did you mean `{near}`?" if near else f": {', '.join(VIEWS)}"))
    path = output or Path("out") / f"{spec.name}.{view}.{'html' if view in PAGES else 'svg'}"
    (page_path if view in PAGES else vacant)(path, force)
    start = int(loss) if loss is not None and loss.lstrip("-").isdigit() else loss
    asked = Asked(spec, steps, first, start, to, weight, chunk, back)
    save_page(VIEWS[view](asked), path, show_it)


def lab(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="a library cell, FILE.cell, or a model's .safetensors")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[H=16]... [CELL]...", help="sizes, more cells")] = None,
    against: Annotated[list[str] | None, typer.Option(help="another cell beside it; more may follow it")] = None,
    data: Annotated[Path | None, typer.Option(help="a text, .csv or .npz to look at instead of noise")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="CSV columns of a stream: x=open,close (repeat)")] = None,
    steps: Annotated[int, typer.Option("-T", help="steps to look at", min=2)] = 32,
    updates: Annotated[int, typer.Option(help="of the parameters on a text, before its units are shown", min=0)] = 200,
    output: Output = None,
    force: Force = False,
    show_it: Open = False,
) -> None:
    """Write one page on how far a cell's gradients reach, beside other cells: lab my.cell --against LSTM GRU."""
    words = [w for w in more or [] if "=" in w]
    sizes = arguments(words)
    hidden = sizes.get("H", 16)
    subjects: list[Any] = [
        c if c.endswith(".safetensors") else _sized(c, sizes)
        for c in (cell, *(against or []), *(w for w in more or [] if "=" not in w))
    ]
    system = (dsl.restore(cell) if cell.endswith(".safetensors") else subjects[0]).system
    path = output or Path("out") / f"{system.name}.lab.html"
    page_path(path, force)
    save_page(
        viz.lab(subjects[0], subjects[1:], _data(data, stream, system), steps=steps, hidden=hidden, updates=updates),
        path,
        show_it,
    )


def _sized(cell: str, sizes: dict[str, Any]) -> Spec:
    """A cell with those of the sizes that its header has, but H, which may be a layer's to settle."""
    spec = resolved(cell)
    return spec(**{n: v for n, v in sizes.items() if n in spec.system.arguments and n != "H"})


def _data(path: Path | None, stream: list[str] | None, system: Any) -> Any:
    """What a file holds for a cell: arrays by stream, or a text."""
    from dsl.run.files import read_streams
    from dsl.run.inputs import fed

    pairs = [word.partition("=") for word in stream or []]
    if bad := [name for name, _, columns in pairs if not columns]:
        raise Mistake(f"--stream {bad[0]}: write STREAM=COLUMN,COLUMN as in --stream x=open,close")
    if path is None:
        if pairs:
            raise Mistake("--stream names the columns of a table: give --data FILE.csv too")
        return None
    if not pairs and path.suffix not in (".csv", ".npz"):
        return dsl.Text(str(path))
    return read_streams(path, fed(system), {name: columns for name, _, columns in pairs})[0]


def gallery(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CELL...]", help="all of the library without")] = None,
    output: Output = None,
    force: Force = False,
    show_it: Open = False,
) -> None:
    """Write one page of the library's cells: equations, BPTT equations, pictures, plans."""
    path = output or Path("out") / "gallery.html"
    page_path(path, force)
    save_page(viz.gallery(names or None), path, show_it)


def page_path(path: Path, force: bool) -> None:
    """What cannot be written is said before the work."""
    vacant(path, force)
    if path.suffix.lower() not in (".html", ".htm"):
        raise Mistake(f"cannot save a page as {path.name!r}: use .html")


def save_page(page: Any, path: Path, show_it: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror}") from None
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
    from dsl.run.needs import OpenSizes

    if missing := [name for name, value in spec.system.arguments.items() if value is None]:
        raise OpenSizes(spec.name, missing)
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
