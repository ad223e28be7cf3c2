"""Commands that run models: train, sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import dsl
from dsl.commands.shared import CellName, Force, Json, Mistake, Sizes, arguments, check_names, resolved


def trainable(cell: str, words: list[str] | None, path: Path, columns: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    """What is trained, a spec with a loss, and its streams: arrays, or the Text of a character model."""
    from dsl.run import files, language
    from dsl.run.inputs import fed as fed_streams

    given, spec = arguments(words), resolved(cell)
    is_text = not columns and path.suffix not in (".npz", ".csv")
    if is_text and not spec.system.losses:
        check_names(spec.name, given, [*(p.name for p in spec.tree.parameters), "L"])
        spec = language.language_model(spec, given)
    else:
        spec = resolved(cell, words)
    fed = fed_streams(spec.system)
    streams, text = files.read_streams(path, fed, columns)
    if text is None:
        return spec, streams
    (name,) = streams
    categories = fed[name].categories
    assert categories is not None  # a text is symbols: `read_streams` gives it to a category stream
    sizes = dict.fromkeys(sorted(categories.names), len(text.symbols))
    return spec(**sizes), {name: text}


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
    from dsl.run.storage import CHECKPOINT
    from tinygrad_seq.optim import Adam

    if data is None:
        raise Mistake("what shall it learn? --data book.txt, or a .csv with --stream x=COLUMN, or a .npz")
    pairs = [word.partition("=") for word in stream or []]
    if bad := [name for name, _, columns in pairs if not columns]:
        raise Mistake(f"--stream {bad[0]}: write STREAM=COLUMN,COLUMN as in --stream x=open,close")
    spec, streams = trainable(cell, sizes, data, {name: columns for name, _, columns in pairs})
    plain = {name: getattr(value, "ids", value) for name, value in streams.items()}
    model = spec.build(seed=seed, like=plain)
    folder = out or Path("out") / resolved(cell).name
    if (folder / CHECKPOINT).exists() and not (resume or force):
        raise Mistake(f"{folder} holds a training: --resume goes on with it, --force starts anew, --out names another")
    optimizer = Adam(model.params.trained, lr=lr)
    limits = {"steps": steps, "seconds": None if minutes is None else 60 * minutes}
    done = model.fit(
        optimizer=optimizer, batch=batch, chunk=chunk, clip=clip, valid=valid, seed=seed, out=folder,
        best=valid > 0, resume=resume if (folder / CHECKPOINT).exists() else None, **limits, **streams,
    )  # fmt: skip
    if done.best is not None:
        step, value = done.best
        print(f"best validation loss {value:.4f} nats, at step {step}")
    print(f"wrote {done.checkpoint}")
    if done.interrupted:
        raise SystemExit(1)


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
    model = dsl.restore(checkpoint)
    drawn = model.generate(length, prime=prime, temperature=temperature, until=until, beam=beam, seed=seed)
    if isinstance(drawn, str):
        print(drawn)
        return
    streams = list(drawn.values()) if isinstance(drawn, dict) else [drawn]
    for step in zip(*streams, strict=True):
        print(*(f"{number:g}" for value in step for number in value.ravel()))


def bench(
    cell: CellName,
    sizes: Sizes = None,
    batch: Annotated[int, typer.Option(min=1, help="sequences at once")] = 32,
    steps: Annotated[int, typer.Option("-T", min=1, help="steps of a sequence")] = 100,
    ragged: Annotated[bool, typer.Option("--ragged", help="lengths from half the steps to all of them")] = False,
    dtype: Annotated[str, typer.Option(help="float32 or float64")] = "float32",
    peers: Annotated[str | None, typer.Option(help="contenders, by commas [default: all installed]")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each")] = 5,
    turn: Annotated[float, typer.Option(min=0.01, help="seconds a turn")] = 0.4,
    as_json: Json = False,
) -> None:
    """Time a cell's training step and inference beside the same cell in torch and jax, and beside an LSTM.

    Sizes without a number are 128. A ratio below 1 means that the first line is faster. Gradients are compared with
    float64 in the same run.
    """
    from dataclasses import replace

    from dsl.bench.contenders import Ours, Task, entries, installed
    from dsl.bench.race import Race, machine, table

    spec = resolved(cell, sizes)
    spec = spec(**{name: 128 for name, value in spec.system.arguments.items() if value is None})
    model = spec.build(seed=0)
    assert model.origin is not None
    task = Task(model.origin, batch, steps, ragged, dtype)
    chosen = entries(peers.split(",") if peers else installed())
    true = Ours(replace(task, dtype="float64")).gradients()
    with Race(chosen) as race:
        rows = race.run(task, true, rounds, turn)
    given = {name: value for name, value in model.system.arguments.items() if isinstance(value, int)}
    about = {"cell": spec.name, **given, "batch": batch, "steps": steps, "ragged": ragged, "dtype": dtype}
    if as_json:
        print(json.dumps({"machine": machine(), "task": about, "rows": rows}, indent=1))
        return
    print(", ".join(f"{key} {value}" for key, value in {**about, **machine()}.items()))
    print(f"\n{table(rows)}")


COMMANDS = (train, sample, bench)
