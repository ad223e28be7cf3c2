"""The command `demo`: one cell from its equations to English, in about two minutes.

Uses what users call and nothing else: the same lines work in a notebook.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

import dsl
import viz
from dsl.commands.shared import write
from dsl.run import corpora
from dsl.run.ngrams import ngram_loss


def demo(
    minutes: Annotated[float, typer.Option(help="how long to train at most")] = 1.5,
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
    spec = dsl.load(name)
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
    text = corpora.english()
    model = dsl.load("CharRNN").build(K=len(text.symbols), H=128, L=2, seed=0)
    about = f"{len(text):,} characters, {len(text.symbols)} symbols"
    print(f"\nA stack of two such cells learns the reference text inside Python: {about}.")
    print("Its code is compiled before the first step; the next training finds it on disk.")
    print("A tenth of the text is held out; where the loss on it no longer falls, training ends.\n")
    data = {"y": text, "batch": 32, "chunk": 64, "valid": 0.1, "valid_every": 250, "best": True, "patience": 3}
    limits = {"steps": 10**9, "seconds": 60 * minutes, "out": out, "resume": False, "sample_seconds": 15.0}
    done = model.fit(**data, **limits, sample=said)
    if done.best is not None and not done.interrupted:
        print(f"\nAt its best, after {done.best[0]:,} updates, it writes:\n\n{said(model)}\n")
    run = model(y=text.ids[-64:])
    write(out / "CharRNN.gradient-flow.svg", viz.gradient_flow(run).svg, True)
    write(out / "loss.svg", viz.curves(done.curves).svg, True)
    print(f"wrote {done.checkpoint}\n")
    print(scores(text, None if done.best is None else done.best[1], 0.1))
    print(f"\ngo on with    tgseq sample {out} --prime 'The '")


def said(model: Any) -> str:
    """Three hundred characters, always drawn alike."""
    return str(model.generate(300, prime="The ", temperature=0.7, seed=0))


def scores(text: Any, reached: float | None, valid: float) -> str:
    """The model's least validation loss beside what counting symbols reaches, in nats a character."""
    cut, count = len(text) - int(len(text) * valid), len(text.symbols)
    lines = [f"{'nats a character':34}{'held out':>9}{'whole text':>12}"]
    for order, name in ((1, "unigram: how often is each"), (2, "bigram: ... after the one before")):
        held, whole = (
            ngram_loss(text.ids[:cut], text.ids[cut:], count, order),
            ngram_loss(text.ids, text.ids, count, order),
        )
        lines.append(f"{name:34}{held:9.2f}{whole:12.2f}")
    return "\n".join([*lines, f"{'this model, at its best':34}{'-' if reached is None else format(reached, '.2f'):>9}"])


COMMANDS = (demo,)
