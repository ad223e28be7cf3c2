"""The command line, and the friendly import: `from tgseq import tg, dsl, viz`.

What it is FOR: words typed at a prompt become calls of the three packages, and what they answer becomes text on stdout
or files under `out/`. It computes nothing itself, and nothing imports it. Everything heavy is imported where it is
needed, so that `tgseq` alone answers at once.

Exit status: 0 done, 1 failed (a check that did not hold, a full disk, an interrupted training), 2 the user's mistake,
told in one message without a traceback (TGSEQ_DEBUG=1 shows it).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import dsl as dsl
    import tinygrad_seq as tg
    import viz as viz

__version__ = "0.1.0"
__all__ = ["tg", "dsl", "viz"]

SCREEN = """\
tgseq 0.1  recurrent cells as equations
try    tgseq adjoint LSTM | tgseq draw LSTM | tgseq demo
write  new check fmt    see    cells show adjoint plan draw lab
run    train sample     learn  demo explain gallery        info
"""

VIEWS = ("folded", "cell", "unrolled", "bptt", "terms", "truncated", "gradient-flow", "attention", "walk", "stepper")

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

# ---------------------------------------------------------------- the friendly import

PACKAGES = {"tg": "tinygrad_seq", "dsl": "dsl", "viz": "viz"}


def sibling(package: str) -> ModuleType:
    """Import one of the three packages and make sure it is ours: `dsl` and `viz` are common names.

    Raises ImportError naming the file that shadows it.
    """
    home = Path(__file__).resolve().parent
    module = importlib.import_module(package)
    found = Path(module.__file__ or "nowhere").resolve()
    if found.parent.parent != home:
        raise ImportError(
            f"`import {package}` found {found}, which is not part of tinygrad-seq ({home / package}).\n"
            f"Rename that file, or start Python where it is not on the path."
        )
    return module


def __getattr__(name: str) -> ModuleType:
    if name not in PACKAGES:
        raise AttributeError(f"module 'tgseq' has no attribute {name!r}")
    module = sibling(PACKAGES[name])
    globals()[name] = module
    return module


# ---------------------------------------------------------------- what commands share

app = typer.Typer(add_completion=False, no_args_is_help=False, rich_markup_mode=None, pretty_exceptions_enable=False)

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


def resolved(cell: str, words: list[str] | None = None) -> Any:
    """The spec of a library cell or a file's cell, with arguments that its header has."""
    try:
        spec = sibling("dsl").load(cell)
    except KeyError as error:
        raise Mistake(error.args[0]) from None
    given = arguments(words)
    check_names(spec.name, given, [p.name for p in spec.tree.parameters])
    return spec(**given)


def check_names(cell: str, given: dict[str, Any], known: list[str]) -> None:
    """Each argument given is one that the header has."""
    for name in given:
        if name not in known:
            raise Mistake(f"{cell} has no argument `{name}`; it has {', '.join(known) or 'none'}")


def vacant(path: Path, force: bool) -> None:
    """Nothing is overwritten unless `force` says so."""
    if path.exists() and not force:
        raise Mistake(f"{path} exists already: --force replaces it, -o names another file")


def write(path: Path, content: str, force: bool) -> None:
    """Write a text, all or nothing, and print its path."""
    vacant(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, content)
    print(f"wrote {path}")


def deliver(content: str, output: Path | None, force: bool) -> None:
    """Text to stdout, or to the file that was asked for."""
    if output is None:
        print(content.rstrip("\n"))
    else:
        write(output, content.rstrip("\n") + "\n", force)


@app.callback(invoke_without_command=True)
def screen(context: typer.Context, version: Annotated[bool, typer.Option("--version")] = False) -> None:
    """Recurrent cells as equations: write them, see them and their backpropagation through time, train them."""
    if version:
        print(f"tgseq {__version__}")
    elif context.invoked_subcommand is None:
        print(SCREEN, end="")


# ---------------------------------------------------------------- write


@app.command()
def new(path: Annotated[Path, typer.Argument(metavar="FILE.cell")], force: Force = False) -> None:
    """Start a cell: a small one with a shortcut in time, to be changed."""
    if path.suffix != ".cell":
        path = path.with_name(path.name + ".cell")
    words = "".join(c if c.isalnum() else " " for c in path.stem).split()
    name = "".join(w[:1].upper() + w[1:] for w in words) or "Cell"
    if not name.isidentifier():
        name = "Cell" + name
    text = TEMPLATE.format(name=name, file=path)
    write(path, sibling("dsl").format(text), force)


@app.command()
def check(files: Annotated[list[str], typer.Argument(metavar="FILE.cell...")], as_json: Json = False) -> None:
    """Find every mistake of the files: names, shapes, indices, cycles. Exit status 2 when there are any."""
    render = importlib.import_module("dsl.text.diagnostics").render
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
    dsl, error = sibling("dsl"), importlib.import_module("dsl.text.diagnostics").CellError
    sound: list[str] = []
    found: dict[Any, Any] = {}
    read_text(Path(path))
    try:
        names = list(dsl.load(path).file.cells) or [None]  # a file without cells is a mistake that `load` words
    except error as mistakes:
        return sound, [(d, mistakes.source) for d in mistakes.diagnostics]
    for name in names:
        try:
            spec = dsl.load(path if name is None else f"{path}:{name}")
            found |= dict.fromkeys(spec.warnings, spec.file.source)
            sound.append(header(spec.tree))
        except error as mistakes:
            found |= dict.fromkeys(mistakes.diagnostics, mistakes.source)
    return sound, list(found.items())


def problem(path: str, diagnostic: Any, source: Any) -> dict[str, Any]:
    """A diagnostic for editors: positions count from 1."""
    source = diagnostic.source or source
    start = diagnostic.span.start
    place = {"file": source.path if diagnostic.source else path, "line": source.line_of(start)}
    place["column"] = start - source.text.rfind("\n", 0, start)
    return place | {key: getattr(diagnostic, key) for key in ("code", "severity", "message", "help")}


@app.command()
def fmt(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.cell...")],
    check_only: Annotated[
        bool, typer.Option("--check", help="change nothing; exit 1 when something would change")
    ] = False,
) -> None:
    """Lay out files the one way; comments stay."""
    formatter = importlib.import_module("dsl.text.format").format
    parse = importlib.import_module("dsl.text.parse").parse
    changed = 0
    for path in files:
        before = read_text(path)
        after = formatter(parse(before, path=str(path)))
        if before != after:
            changed += 1
            print(f"{'would change' if check_only else 'formatted'} {path}")
            if not check_only:
                replace(path, after)
    if check_only and changed:
        raise SystemExit(1)


def read_text(path: Path) -> str:
    """A UTF-8 text, or one message saying why not."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Mistake(f"there is no file {path}") from None
    except IsADirectoryError:
        raise Mistake(f"{path} is a directory, not a file") from None
    except UnicodeDecodeError as error:
        raise Mistake(f"{path} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}") from None


def replace(path: Path, text: str) -> None:
    """All of the new text or all of the old one, never half a file."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


# ---------------------------------------------------------------- see


@app.command()
def cells(as_json: Json = False) -> None:
    """List the library's cells."""
    folder = Path(sibling("dsl").__file__ or "").parent / "library"
    parse = importlib.import_module("dsl.text.parse").parse
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


def header(cell: Any) -> str:
    """`Skip(D, H, k=4)`, from the tree."""
    expression = importlib.import_module("dsl.text.format").expression
    words = [p.name if p.default is None else f"{p.name}={expression(p.default)}" for p in cell.parameters]
    return f"{cell.name}({', '.join(words)})"


@app.command()
def show(cell: CellName, latex: Latex = False, output: Output = None, force: Force = False) -> None:
    """Print a cell's equations."""
    spec = resolved(cell)
    deliver(spec.latex() if latex else str(spec), output, force)


@app.command()
def adjoint(
    cell: CellName,
    sizes: Sizes = None,
    latex: Latex = False,
    joined: Annotated[bool, typer.Option("--joined", help="with the forward equations, in one cell")] = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Print a cell's backpropagation through time: a cell again."""
    derived = resolved(cell, sizes).adjoint(joined=joined)
    deliver(derived.latex() if latex else str(derived), output, force)


@app.command()
def plan(cell: CellName, sizes: Sizes = None, output: Output = None, force: Force = False) -> None:
    """Print how a cell is computed: what leaves the loops, what is stacked, what is kept."""
    deliver(str(resolved(cell, sizes).plan()), output, force)


@app.command()
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
    spec, viz = resolved(cell, sizes), sibling("viz")
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


@app.command()
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
    data = sibling("dsl").Text(str(text)) if text is not None else None
    save_page(sibling("viz").lab(cell, against or [], data, steps=steps), path, show_it)


@app.command()
def gallery(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CELL...]", help="all of the library without")] = None,
    output: Output = None,
    force: Force = False,
    show_it: Open = False,
) -> None:
    """Write one page of the library's cells: equations, BPTT equations, pictures, plans."""
    path = output or Path("out") / "gallery.html"
    vacant(path, force)
    save_page(sibling("viz").gallery(names or None), path, show_it)


def save_page(page: Any, path: Path, show_it: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)
    print(f"wrote {path}")
    if show_it:
        typer.launch(str(path))


def recurrent(spec: Any) -> str:
    """A parameter whose gradient is a sum over steps back in time: the first W, else the first of all."""
    names: list[str] = [name for name, stream in spec.system.streams.items() if stream.kind == "param"]
    if not names:
        raise Mistake(f"{spec.name} has no parameters")
    return next((name for name in names if name.rpartition(".")[2].startswith("W")), names[0])


def is_sized(spec: Any) -> bool:
    return all(value is not None for value in spec.system.arguments.values())


def example(spec: Any, steps: int) -> Any:
    """A run of one sequence: parameters as they start, seed 0, on random data."""
    if missing := [name for name, value in spec.system.arguments.items() if value is None]:
        raise Mistake(f"numbers need sizes: give {' '.join(f'{name}=...' for name in missing)}")
    model, random = spec.build(seed=0), importlib.import_module("numpy").random.default_rng(0)
    data = {}
    for name, stream in importlib.import_module("dsl.run.inputs").fed(model.system).items():
        lead = (steps,) * len(stream.axes)
        if stream.dtype == "category":
            data[name] = random.integers(0, int(stream.categories), lead)
        else:
            data[name] = random.standard_normal((*lead, *(int(d) for d in stream.shape)))
    return model(**data)


# ---------------------------------------------------------------- run


def trainable(cell: str, words: list[str] | None, path: Path, columns: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    """What is trained, a spec with a loss, and its streams: arrays, or the Text of a character model."""
    files = importlib.import_module("dsl.run.files")
    given, spec = arguments(words), resolved(cell)
    is_text = not columns and path.suffix not in (".npz", ".csv")
    if is_text and not spec.system.losses:
        check_names(spec.name, given, [*(p.name for p in spec.tree.parameters), "L"])
        spec = importlib.import_module("dsl.run.language").language_model(spec, given)
    else:
        spec = resolved(cell, words)
    fed = importlib.import_module("dsl.run.inputs").fed(spec.system)
    streams, text = files.read_streams(path, fed, columns)
    if text is None:
        return spec, streams
    (name,) = streams
    sizes = dict.fromkeys(sorted(fed[name].categories.names), len(text.symbols))
    return spec(**sizes), {name: text}


@app.command()
def train(
    cell: CellName,
    sizes: Sizes = None,
    data: Annotated[Path | None, typer.Option(help="a text, .csv or .npz")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="CSV columns of a stream: x=open,close (repeat)")] = None,
    steps: Annotated[int, typer.Option(min=1, help="updates of the parameters")] = 2000,
    minutes: Annotated[float | None, typer.Option(help="stop after so long")] = None,
    batch: Annotated[int, typer.Option(min=1, help="sequences at once")] = 32,
    chunk: Annotated[int, typer.Option(min=1, help="steps of truncated backpropagation")] = 64,
    lr: Annotated[float, typer.Option(help="Adam's learning rate")] = 2e-3,
    clip: Annotated[float, typer.Option(help="largest norm of the gradient")] = 5.0,
    valid: Annotated[float, typer.Option(help="share held out")] = 0.1,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="folder of checkpoint and curves [default: out/CELL]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the folder's checkpoint")] = False,
    force: Force = False,
) -> None:
    """Train a cell on a text, a table or arrays; a cell without a loss becomes the layers of a character model.

    Ctrl-C keeps what was reached.
    """
    if data is None:
        raise Mistake("what shall it learn? --data book.txt, or a .csv with --stream x=COLUMN, or a .npz")
    pairs = [word.partition("=") for word in stream or []]
    if bad := [name for name, _, columns in pairs if not columns]:
        raise Mistake(f"--stream {bad[0]}: write STREAM=COLUMN,COLUMN as in --stream x=open,close")
    spec, streams = trainable(cell, sizes, data, {name: columns for name, _, columns in pairs})
    plain = {name: getattr(value, "ids", value) for name, value in streams.items()}
    model = spec.build(seed=seed, like=plain)
    folder = out or Path("out") / resolved(cell).name
    if (folder / "checkpoint.safetensors").exists() and not (resume or force):
        raise Mistake(f"{folder} holds a training: --resume goes on with it, --force starts anew, --out names another")
    optimizer = sibling("tinygrad_seq").optim.Adam(model.params.trained, lr=lr)
    limits = {"steps": steps, "seconds": None if minutes is None else 60 * minutes}
    done = model.fit(
        optimizer=optimizer, batch=batch, chunk=chunk, clip=clip, valid=valid, seed=seed, out=folder,
        resume=resume if (folder / "checkpoint.safetensors").exists() else None, **limits, **streams,
    )  # fmt: skip
    if done.valid is not None:
        print(f"validation loss {done.valid:.4f} nats")
    print(f"wrote {done.checkpoint}")
    if done.interrupted:
        raise SystemExit(1)


@app.command()
def sample(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="a model's file, or a training's folder")],
    prime: Annotated[str, typer.Option(help="what comes first")] = "",
    length: Annotated[int, typer.Option(min=0, help="symbols to draw")] = 500,
    temperature: Annotated[float, typer.Option(help="below 1: safer; above 1: bolder; 0: the likeliest")] = 1.0,
    until: Annotated[str | None, typer.Option(help="stop behind this")] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="search for the likeliest text with that many hypotheses")
    ] = None,
    seed: int | None = None,
) -> None:
    """Draw a text from a trained model; numbers come a line a step, the streams side by side."""
    path = checkpoint / "checkpoint.safetensors" if checkpoint.is_dir() else checkpoint
    model = sibling("dsl").restore(path)
    drawn = model.generate(length, prime=prime, temperature=temperature, until=until, beam=beam, seed=seed)
    if isinstance(drawn, str):
        print(drawn)
        return
    streams = list(drawn.values()) if isinstance(drawn, dict) else [drawn]
    for step in zip(*streams, strict=True):
        print(*(f"{number:g}" for value in step for number in value.ravel()))


# ---------------------------------------------------------------- learn


@app.command()
def demo(
    minutes: Annotated[float, typer.Option(help="how long to train")] = 2.0,
    out: Annotated[Path, typer.Option(help="folder of all that is shown")] = Path("out"),
) -> None:
    """An LSTM from its equations to English: equations, derivative, pictures, training. Ctrl-C keeps everything."""
    started = time.monotonic()
    if (out / "checkpoint.safetensors").exists():
        print(f"{out} holds an earlier demo; its files are replaced")
    out.mkdir(parents=True, exist_ok=True)
    show_cell("LSTM", out)
    print(f"\n{time.monotonic() - started:.1f} s so far")
    learn_english(minutes, out)


def show_cell(name: str, out: Path) -> None:
    """A library cell's equations, derivative, plan and pictures: on the screen and as files."""
    spec, viz = sibling("dsl").load(name), sibling("viz")
    derived = spec.adjoint()
    print(f"\nThe cell\n\n{spec}\n\nIts backpropagation through time, derived: a cell again\n\n{derived}\n")
    write(out / f"{name}.cell", f"{spec}\n", True)
    write(out / f"{name}.tex", f"{spec.latex()}\n", True)
    write(out / f"{name}.adjoint.cell", f"{derived}\n", True)
    write(out / f"{name}.adjoint.tex", f"{derived.latex()}\n", True)
    write(out / f"{name}.plan.txt", f"{spec.plan()}\n", True)
    for view, drawing in (("folded", viz.folded(spec)), ("unrolled", viz.unrolled(spec, T=4))):
        write(out / f"{name}.{view}.svg", drawing.svg, True)


def learn_english(minutes: float, out: Path) -> None:
    """Train the library's character model on the reference text inside Python; say what it reached."""
    dsl, viz = sibling("dsl"), sibling("viz")
    topics = importlib.import_module("pydoc_data.topics").topics
    text = dsl.Text.of("\n".join(topics[name] for name in sorted(topics)))
    model = dsl.load("CharRNN").build(K=len(text.symbols), H=128, L=2, seed=0)
    about = f"{len(text):,} characters, {len(text.symbols)} symbols"
    print(f"\nA stack of two such cells learns the reference text inside Python: {about}.")
    print("Its code is compiled before the first step; the next training finds it on disk.\n")
    data = {"y": text, "batch": 32, "chunk": 64, "valid": 0.1, "valid_every": 500}
    limits = {"steps": 10**9, "seconds": 60 * minutes, "out": out, "resume": False, "sample_seconds": 15.0}
    done = model.fit(**data, **limits, sample=lambda m: m.generate(300, prime="The ", temperature=0.7, seed=0))
    run = model(y=text.ids[-64:])
    write(out / "CharRNN.gradient-flow.svg", viz.gradient_flow(run).svg, True)
    write(out / "loss.svg", viz.curves(done.curves).svg, True)
    print(f"wrote {done.checkpoint}\n")
    print(scores(text, done.valid, 0.1))
    print(f"\ngo on with    tgseq sample {out} --prime 'The '")


def scores(text: Any, reached: float | None, valid: float) -> str:
    """The model's validation loss beside what counting symbols reaches, in nats a character."""
    ngram_loss = importlib.import_module("dsl.run.ngrams").ngram_loss
    cut, count = len(text) - int(len(text) * valid), len(text.symbols)
    lines = [f"{'nats a character':34}{'held out':>9}{'whole text':>12}"]
    for order, name in ((1, "unigram: how often is each"), (2, "bigram: ... after the one before")):
        held, whole = (
            ngram_loss(text.ids[:cut], text.ids[cut:], count, order),
            ngram_loss(text.ids, text.ids, count, order),
        )
        lines.append(f"{name:34}{held:9.2f}{whole:12.2f}")
    return "\n".join([*lines, f"{'this model':34}{'-' if reached is None else format(reached, '.2f'):>9}"])


@app.command()
def explain(name: Annotated[str, typer.Argument(metavar="NAME|CODE", help="tanh, or E301")]) -> None:
    """Explain a primitive with its derivative rule, or a diagnostic's code."""
    if name[:1] in "EWew" and name[1:].isdigit():
        for module in ("dsl.spec", "dsl.run.model", "dsl.run.generate"):  # each stage registers its own codes
            importlib.import_module(module)
        print(sibling("dsl").explain(name).rstrip("\n"))
    else:
        print(str(sibling("tinygrad_seq").explain(name)).rstrip("\n"))


@app.command()
def info(as_json: Json = False) -> None:
    """Versions, BLAS, threads, cache and the drawing engine: what to send with a bug report."""
    facts = environment()
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        print(f"{key:{width}}  {value}")


def environment() -> dict[str, str]:
    """Facts about this installation, as text."""
    from importlib.metadata import PackageNotFoundError, version

    facts = {"tgseq": __version__, "python": sys.version.split()[0], "system": sys.platform}
    for package in (
        "numpy",
        "numba",
        "llvmlite",
        "scipy",
        "lark",
        "pygraphviz",
        "graphviz",
        "torch",
        "jax",
        "onnxruntime",
    ):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    sibling("tinygrad_seq")
    for pool in importlib.import_module("threadpoolctl").threadpool_info():
        words = (pool["internal_api"], pool.get("version"), pool.get("architecture"), f"{pool['num_threads']} threads")
        facts[f"{pool['user_api']} ({Path(pool['filepath']).name.split('-')[0]})"] = " ".join(
            str(w) for w in words if w
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts["cores"] = str(cores)
    for name in ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        if name in os.environ:
            facts[name] = os.environ[name]
    return facts


# ---------------------------------------------------------------- run from a prompt


def report(error: BaseException) -> int:
    """Tell an error in one message; the exit status it stands for."""
    if os.environ.get("TGSEQ_DEBUG"):
        importlib.import_module("traceback").print_exception(error)
    text = str(error) or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 1
    worded = (ImportError, FloatingPointError, getattr(sys.modules.get("viz.worker"), "LayoutError", ImportError))
    if isinstance(error, (ValueError, *worded)):
        is_rendered = text.startswith(("error[", "warning["))
        print(text if is_rendered else f"error: {text}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or text}{where}", file=sys.stderr)
        users = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, FileExistsError)
        return 2 if isinstance(error, users) else 1
    if isinstance(error, MemoryError):
        print("error: not enough memory: a smaller batch, chunk or size needs less", file=sys.stderr)
        return 1
    print(f"error: this is a bug of tgseq, {type(error).__name__}: {text}\nTGSEQ_DEBUG=1 shows where.", file=sys.stderr)
    return 1


def main(words: list[str] | None = None) -> int:
    """The console script: run the words of the command line, answer the exit status."""
    words = sys.argv[1:] if words is None else words
    if not words:
        print(SCREEN, end="")
        return 0
    try:
        app(words, prog_name="tgseq")
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    except BrokenPipeError:  # `tgseq cells | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, Exception) as error:
        return report(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
