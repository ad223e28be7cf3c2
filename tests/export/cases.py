"""What every export is held against: random ragged data for a model, its values and its gradients on our own engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import tinygrad_seq as tg
from dsl.run.model import Model
from dsl.run.result import Run
from dsl.spec import load, parse

Arrays = dict[str, np.ndarray[Any, Any]]
RANGES = {
    "CTC": {"t": (5, 8), "u": (1, 3)},
    "CTCLabeller": {"t": (5, 8), "u": (1, 3)},
}  # fewer frames have no alignment


@dataclass
class Case:
    """A model with data, results on the literal engine, and the gradients of a weighed sum of their squares: of
    parameters by name, of real inputs likewise."""

    model: Model
    data: Arrays
    lengths: dict[str, np.ndarray[Any, Any]]
    state: Any
    train: bool
    run: Run
    grads: Arrays
    after: Arrays

    @property
    def names(self) -> list[str]:
        return [*self.model.system.outputs, *self.model.system.losses]

    @property
    def noise(self) -> Arrays:
        return {n: np.array(self.run.value(n).data) for n in self.model.noises} if self.train else {}

    def value(self, name: str) -> np.ndarray[Any, Any]:
        return np.asarray(self.run.value(name).data)


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Fixed numbers by which results are weighed, so that their sum has a slope everywhere."""
    return np.cos(np.arange(int(np.prod(shape)), dtype=float) + len(name)).reshape(shape)


def random_data(model: Model, lengths: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Arrays for every stream that is fed; NaN behind the end of those on one axis."""
    out = {}
    for name, stream in model.system.streams.items():
        if stream.kind not in ("input", "draw"):
            continue
        shape = tuple(int(max(lengths[a])) for a in stream.axes)
        shape = shape if stream.shared else (*shape, len(next(iter(lengths.values()))))
        if stream.dtype == "category":
            out[name] = rng.integers(0, int(stream.categories), shape)
            continue
        out[name] = rng.normal(size=(*shape, *(int(d) for d in stream.shape)))
        if len(stream.axes) == 1:
            for b, n in enumerate(lengths[stream.axes[0]]):
                out[name][n:, b] = np.nan
    return out


def case(model: Model, seed: int = 0, *, train: bool = False, carried: bool = False, batch: int = 3) -> Case:
    """A model on random data; `carried` runs it behind an earlier call."""
    rng = np.random.default_rng(seed)
    base = [a.name for a in model.system.axes.values() if a.length is None]

    def ragged(low: int) -> dict[str, np.ndarray[Any, Any]]:
        spans = {a: RANGES.get(model.system.name, {}).get(a, (low, 6)) for a in base}
        return {a: rng.integers(*spans[a], batch) for a in base}

    state = None
    if carried:
        first = ragged(1)
        state = model(**random_data(model, first, rng), lengths=first, engine="tape", train=train, seed=1).state
    lengths = ragged(3)
    data = random_data(model, lengths, rng)
    inputs = {n: tg.tensor(v, requires_grad=v.dtype.kind == "f") for n, v in data.items()}
    given: dict[str, Any] = {"lengths": lengths, "engine": "tape", "state": state, "train": train, "seed": seed}
    run = model(**{n: t if t.requires_grad else data[n] for n, t in inputs.items()}, **given)
    parts = []
    for name in [*model.system.outputs, *model.system.losses]:
        value = run.value(name)
        squares = tg.re(value * tg.conj(value))
        parts.append(tg.sum(squares * weights(name, squares.shape)))
    leaves = {n: t for n, t in {**model.params.trained, **inputs}.items() if t.requires_grad}
    sum(parts[1:], parts[0]).backward()
    grads = {n: np.zeros(t.shape) if t.grad is None else np.array(t.grad.data) for n, t in leaves.items()}
    for tensor in leaves.values():
        tensor.grad = None
    after: Arrays = {}
    try:
        after = {**run.state.values, **run.state.clock}
    except ValueError:
        pass
    return Case(model, data, lengths, state, train, run, grads, after)


@cache
def library(name: str, carried: bool = False) -> Case:
    """A library cell at small sizes, float64."""
    spec = load(name)
    sizes = {n: 2 + i for i, (n, v) in enumerate(spec.system.arguments.items()) if v is None}
    return case(spec.build(dtype="float64", **sizes), carried=carried)


def written(text: str, **sizes: int) -> Model:
    return parse(text).build(dtype="float64", **sizes)


def model_state(case_: Case) -> Arrays | None:
    """The state that a case began with, as exports take it."""
    return None if case_.state is None else {**case_.state.values, **case_.state.clock}
