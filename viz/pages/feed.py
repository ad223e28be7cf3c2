"""What the gradient lab looks at: cells and models, each run on the user's data, the rest of its streams at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import dsl
from dsl.run.inputs import fed
from dsl.run.language import language_model
from dsl.run.model import Model
from dsl.spec import Spec
from viz.example import derived

SIZE = 8  # of a dim that nobody gives


@dataclass
class Subject:
    """A cell with a size for every dim, or a model with parameters of its own."""

    name: str
    model: Model
    trained: bool  # it came with its parameters


def subject_of(cell: Any, data: Any, hidden: int, seed: int) -> Subject:
    """A model of a cell: sizes that are open come from the data, `hidden` units for H.

    cell  a library cell's name, a `.cell` file, a spec, a model, or a model's file (`.safetensors`)
    data  arrays by stream, a `dsl.Text`, or None. On a text a cell without categories becomes the layer of a character
          model

    Errors: CellError for a cell that does not resolve, ValueError for data that it cannot read, TypeError for others.
    """
    if isinstance(cell, str | Path) and str(cell).endswith(".safetensors"):
        cell = dsl.restore(str(cell))
    if isinstance(cell, Model):
        return Subject(cell.system.name, cell, True)
    if isinstance(cell, str | Path):
        cell = dsl.load(str(cell))
    if not isinstance(cell, Spec):
        raise TypeError(f"lab of {type(cell).__name__}: give a cell's name, a .cell file, a spec or a model")
    name = cell.name
    wanted = fed(cell.system)
    if isinstance(data, dsl.Text) and not any(s.dtype == "category" for s in wanted.values()):
        cell = language_model(cell, _sizes(cell, hidden))
    return Subject(name, cell.build(seed=seed, dtype="float64", **_arguments(cell, data, hidden)), False)


def _sizes(cell: Spec, hidden: int) -> dict[str, Any]:
    """Values for what a layer's header leaves open and its input does not tell."""
    told = {n for s in cell.system.streams.values() if s.kind == "input" for dim in s.shape for n in dim.names}
    names = [n for n, v in cell.system.arguments.items() if v is None and n not in told]
    return {n: hidden if n == "H" else SIZE for n in names}


def _arguments(cell: Spec, data: Any, hidden: int) -> dict[str, Any]:
    system = cell.system
    found: dict[str, Any] = {}
    for name, value in given(system, data).items():
        stream = system.streams[name]
        if stream.dtype == "category":
            most = len(data.symbols) if isinstance(data, dsl.Text) else int(np.max(value, initial=0)) + 1
            pairs = [(str(stream.categories), most)]
        else:
            shape = np.shape(value)
            pairs = [(str(d), n) for d, n in zip(stream.shape, shape[len(shape) - len(stream.shape) :], strict=True)]
        for dim, size in pairs:
            if dim in system.arguments and system.arguments[dim] is None:
                found.setdefault(dim, size)
    open_ones = [n for n, v in system.arguments.items() if v is None]
    return found | {n: hidden if n == "H" else SIZE for n in open_ones if n not in found}


def given(system: Any, data: Any) -> dict[str, Any]:
    """The part of the user's data that a cell reads, (T, B, ...); one real input takes the one real array there is.
    Errors: ValueError for data that fits no stream, TypeError for what is no data."""
    wanted = fed(system)
    if data is None:
        return {}
    if isinstance(data, dsl.Text):
        name = next((n for n, s in wanted.items() if s.dtype == "category"), None)
        if name is None:
            raise ValueError(
                f"{system.name} reads {', '.join(wanted) or 'nothing'}, no symbols: a text does not feed it"
            )
        return {name: np.asarray(data.ids)[:, None]}
    if not isinstance(data, Mapping):
        raise TypeError(f"data: arrays by stream or a dsl.Text, not {type(data).__name__}")
    out = {n: np.asarray(v) for n, v in data.items() if n in wanted}
    if not out:
        real = [n for n, s in wanted.items() if s.dtype == "real"]
        arrays = [v for v in data.values() if np.asarray(v).dtype.kind == "f"]
        if len(real) != 1 or len(arrays) != 1:
            raise ValueError(f"{system.name} reads {', '.join(wanted)}; the data has {', '.join(data)}")
        out = {real[0]: np.asarray(arrays[0])}
    for name, value in out.items():
        stream, plain = wanted[name], len(wanted[name].axes)
        ranks = {plain, plain + 1} if stream.dtype == "category" else {plain + len(stream.shape) + b for b in (0, 1)}
        if value.ndim not in ranks or value.shape[0] < 2:
            sizes = [*(a.upper() for a in stream.axes), *(map(str, stream.shape) if stream.dtype != "category" else ())]
            raise ValueError(f"{name} has shape {value.shape}: expected ({', '.join(sizes)}), two steps or more")
        if not np.isfinite(value).all():
            step = int(np.argwhere(~np.isfinite(value))[0][0])
            raise ValueError(f"{name} holds {value[step].ravel()[~np.isfinite(value[step].ravel())][0]} at step {step}")
        if value.ndim == min(ranks):
            out[name] = value[:, None] if plain == 1 else np.expand_dims(value, plain)
    return out


def run_of(subject: Subject, data: Any, steps: int, seed: int) -> Any:
    """A run of `steps` steps at most on the data, streams that it does not have drawn at random."""
    model, rng = subject.model, np.random.default_rng(seed)
    system = model.system
    known = {n: v[:steps] for n, v in given(system, data).items()}
    length = min([steps, *(len(v) for v in known.values())])
    streams: dict[str, Any] = {}
    for name, stream in fed(system).items():
        if name in known:
            streams[name] = known[name][:length]
            continue
        axes = system.axes
        lead = [length if axes[a].length is None else derived(system, a, length) for a in stream.axes] + [1]
        if stream.dtype == "category":
            streams[name] = rng.integers(0, int(stream.categories or 0), lead)
        else:
            streams[name] = rng.standard_normal([*lead, *map(int, stream.shape)])
    return model(engine="tape", **streams)


def taught(subject: Subject, text: Any, updates: int, seed: int) -> bool:
    """Train a fresh character model on the text; whether there was anything to do."""
    if subject.trained or not updates:
        return False
    (name,) = given(subject.model.system, text)
    chunk = max(1, min(32, len(text.ids) - 1))
    batch = max(1, min(16, len(text.ids) // chunk))
    subject.model.fit(steps=updates, batch=batch, chunk=chunk, seed=seed, progress=False, **{name: text.ids})
    return True
