"""Training as users call it: options checked, data made into batches, a job set on its course.

What a step is and what a checkpoint holds is known to `dsl.run.job`, when what is done to `dsl.run.course`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.run.course import Course, Training
from dsl.run.data import Drawn, Shuffled, Source, Streams, Text
from dsl.run.front import Front
from dsl.run.inputs import arrange, fed
from dsl.run.job import Batches, Job, Measure
from dsl.run.program import needed
from dsl.run.progress import Progress
from tinygrad_seq.optim import Adam
from tinygrad_seq.tensor import Tensor

if TYPE_CHECKING:
    from dsl.run.model import Model


def fit(
    model: Model,
    *,
    source: Source | None = None,
    front: Front | None = None,
    optimizer: Any = None,
    schedule: Callable[[int], float] | None = None,
    batch: int = 50,
    chunk: int = 50,
    steps: int = 1000,
    seconds: float | None = None,
    clip: float | None = 5.0,
    valid: float = 0.0,
    valid_every: int = 0,
    evaluate: Measure | None = None,
    until: Callable[[Mapping[str, float]], bool] | None = None,
    patience: int = 0,
    best: bool = False,
    out: str | Path | None = None,
    resume: bool | None = None,
    save_every: int = 0,
    save_seconds: float = 60.0,
    sample_seconds: float = 0.0,
    sample: Callable[[Model], str] | None = None,
    loss: str | None = None,
    lengths: Any = None,
    seed: int = 0,
    engine: str = "compiled",
    progress: bool = True,
    on_step: Callable[[int, float, float], None] | None = None,
    **streams: Any,
) -> Training:
    """Train a model on its streams: `model.fit(y=text.ids, batch=50, chunk=50, steps=1000)`.

    Data: one long sequence (T, ...) is read as `batch` parallel streams, `chunk` steps at a time; a cell that can be
    carried on keeps its state from chunk to chunk (truncated backpropagation through time), another starts each chunk
    anew. Many sequences, as (T, N, ...) or a list of arrays, are drawn whole, `batch` of them in shuffled order.
    Or `source`, a function of a numpy Generator, makes each batch: streams by name, and `lengths` when they differ.
    Step n gets the Generator of (seed, n), so that a training can be gone on with.

    front          tape code before the cell, which learns with it: `source` then makes what it reads
    optimizer      Adam(lr=2e-3) unless given
    schedule       factor of the optimizer's rate by step, from 1: see `tinygrad_seq.schedules`
    seconds        stop so long after the first step (which may have to compile), whatever is left of `steps`
    clip           the largest norm of all gradients together; None leaves them
    valid          the share held out: the end of one sequence, the last of many; measured every `valid_every` steps
                   (0: ten times) and at the end
    evaluate       a function of the model, called as often: measures by name, shown and kept in the curves
    until          a function of all measures (`validation` among them); where it is true, training has reached its end
    patience       stop after so many validations without a better one (0: never)
    best           end with the weights of the least validation loss; they are kept in best.safetensors in any case
    out            folder for checkpoint.safetensors (every `save_every` steps and `save_seconds` seconds, at the end,
                   on Ctrl-C) and curves.json
    resume         True goes on from the checkpoint in `out`, False starts anew; needed only when there is one
    sample_seconds how often to show a sample; `sample` makes it (model.generate unless given)
    on_step        called with step, loss and gradient norm

    Errors: ValueError for bad data and for a checkpoint of another training; OSError, before the first step, when
    `out` cannot be written; FloatingPointError naming the step when a loss or gradient is not finite.
    """
    if not valid and (patience or best):
        raise ValueError(f"{'patience' if patience else 'best'} needs held-out data: valid=0.1, for example")
    name, data = model.loss_name(loss), _data(model, streams)
    train: Batches
    held: Batches | None
    if source is not None:
        train, held, origin = _drawn(source, data, lengths, valid, seed), None, _called(source)
    elif front is not None:
        raise ValueError("front: what it reads is no stream of the cell; give batches of it by source=")
    else:
        _complete(model, data, name)
        train, held = _batches(model, data, lengths, batch, chunk, valid, seed)
        origin = _digest(data)
    options = {"batch": batch, "chunk": chunk, "clip": clip, "valid": valid, "seed": seed, "data": origin}
    learned = front.learned(model) if front is not None else model.params.trained
    optimizer = optimizer if optimizer is not None else Adam(learned, lr=2e-3)
    folder = Path(out) if out is not None else None
    job = Job(model, name, train, held, optimizer, clip, engine, folder, options, schedule, evaluate, front)
    if folder is not None:
        job.open(resume)
    elif resume:
        raise ValueError("resume: which checkpoint? give out=, the folder it is in")
    shown = Progress(steps, train.tokens, categorical=bool(model.system.draws), shown=progress, seconds=seconds)
    return Course(
        job,
        shown,
        steps=steps,
        seconds=seconds,
        every=valid_every or max(1, steps // 10),
        until=until,
        patience=patience,
        save_every=save_every,
        save_seconds=save_seconds,
        sample_seconds=sample_seconds,
        sample=sample,
        best=best,
        on_step=on_step,
    ).run()


# ---------------------------------------------------------------- data


def _data(model: Model, streams: Mapping[str, Any]) -> dict[str, Any]:
    """The streams given; a Text gives its integers and its symbols to the model."""
    known = fed(model.system)
    for name in streams:
        if name not in known:
            raise ValueError(f"{model.system.name} has no stream {name}; it has {', '.join(known) or 'none'}")
    out = {}
    for name, value in streams.items():
        symbols = value.symbols if isinstance(value, Text) else getattr(value, "symbols", None)
        value = value.ids if isinstance(value, Text) else value
        count = int(known[name].categories or 0)
        if symbols is not None and known[name].dtype == "category":
            if len(symbols) > count:
                raise ValueError(
                    f"{name}: the text has {len(symbols)} symbols, the model {count}: build(K={len(symbols)})"
                )
            if model.symbols is not None and tuple(symbols) != model.symbols:
                raise ValueError(
                    f"{name}: the text's symbols are not the model's; encode it with Text(path, model.symbols)"
                )
            model.symbols = tuple(symbols)
        out[name] = value
    return out


def _complete(model: Model, data: Mapping[str, Any], loss: str) -> None:
    known = fed(model.system)
    for name in needed(model.system, [loss], data):
        if name in known and name not in data:
            raise ValueError(f"missing {name}, which {loss} needs: fit({name}=...)")


def _drawn(source: Source, data: Mapping[str, Any], lengths: Any, valid: float, seed: int) -> Drawn:
    """Batches of a source, which stands alone: it makes all streams and their lengths."""
    if data or lengths is not None:
        given = ", ".join(data) or "lengths"
        raise ValueError(f"source makes every stream; {given} cannot be given as well")
    if valid:
        raise ValueError("valid: a source has nothing to hold out; measure with evaluate=")
    return Drawn(source, seed)


def _called(source: Source) -> str:
    """A source by its name, to notice a resume with another."""
    return str(getattr(source, "__qualname__", type(source).__qualname__))


def _batches(
    model: Model, data: Mapping[str, Any], lengths: Any, batch: int, chunk: int, valid: float, seed: int
) -> tuple[Batches, Batches | None]:
    """Training and validation batches of checked data."""
    if not 0 <= valid < 1:
        raise ValueError(f"valid: expected a share in [0, 1), given {valid}")
    if batch < 1 or chunk < 1:
        raise ValueError(f"batch and chunk: expected 1 or more, given {batch} and {chunk}")
    checked = arrange(model.system, data, lengths, model.dtype)
    arrays = {n: np.asarray(v.data if isinstance(v, Tensor) else v) for n, v in checked.arrays.items()}
    streams = model.system.streams
    axes = {a for n in arrays for a in streams[n].axes}
    if checked.single and len(axes) == 1 and all(streams[n].axes for n in arrays):
        return _long(arrays, batch, chunk, valid)
    place = {n: len(streams[n].axes) for n in arrays}
    count = checked.batch
    cut = count - int(count * valid)
    pieces = []
    for part in (slice(0, cut), slice(cut, count)):
        some = {n: v[(slice(None),) * place[n] + (part,)] for n, v in arrays.items()}
        steps = {a: v[part] for a, v in checked.lengths.items()}
        size = part.stop - part.start
        on = {n: streams[n].axes for n in arrays}
        pieces.append(Shuffled(some, on, steps, batch, seed) if size else None)
    if pieces[0] is None:
        raise ValueError("there are no sequences to learn from")
    return pieces[0], pieces[1]


def _long(arrays: Mapping[str, Any], batch: int, chunk: int, valid: float) -> tuple[Batches, Batches | None]:
    """One sequence as parallel streams; its end is held out."""
    total = len(next(iter(arrays.values())))
    cut = total - int(total * valid)
    lines = {n: v.reshape(len(v), *v.shape[2:]) for n, v in arrays.items()}
    if total == 0:
        raise ValueError(f"{next(iter(arrays))} is empty: nothing to learn from")
    train = Streams({n: v[:cut] for n, v in lines.items()}, batch, chunk)
    if cut == total:
        return train, None
    rows = max(1, min(batch, (total - cut) // chunk))
    return train, Streams({n: v[cut:] for n, v in lines.items()}, rows, chunk)


def _digest(data: Mapping[str, Any]) -> str:
    """A short name for data, to notice a resume with other data."""
    h = hashlib.sha256()
    for name in sorted(data):
        h.update(name.encode())
        items = data[name] if isinstance(data[name], list | tuple) else [data[name]]
        for item in items:
            array = np.ascontiguousarray(np.asarray(item))
            h.update(f"{array.dtype}{array.shape}".encode())
            h.update(array.tobytes())
    return h.hexdigest()[:16]
