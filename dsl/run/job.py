"""A training under way: everything the next step depends on, one update of it, and how it is kept on disk.

A training is a pure function of the model's parameters, the optimizer's state, the data and the position in it. A
checkpoint holds all four, so that a training that was killed and resumed reaches the weights of one that was not, bit
for bit. What time decides (when to show, to sample, to save) is not known here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsl.run import storage
from dsl.run.carry import State
from dsl.run.data import Chunk, Drawn, Shuffled, Streams
from dsl.run.front import Front
from dsl.run.noise import fresh
from dsl.run.result import Run
from dsl.run.storage import BEST, CHECKPOINT
from dsl.text.diagnostics import CellError
from tinygrad_seq.files import write_file
from tinygrad_seq.optim import clip_by_norm
from tinygrad_seq.tensor import Tensor

if TYPE_CHECKING:
    from dsl.run.model import Model

CURVES = "curves.json"

Batches = Streams | Shuffled | Drawn
Measure = Callable[["Model"], Mapping[str, float]]


@dataclass
class Curves:
    """What training measured: a value a step, and what was measured now and then as (step, value).

    loss, gradient_norm   by step, from 1
    valid                 losses on what was held out
    measures              name -> values of the function given as `evaluate`
    """

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    valid: list[tuple[int, float]] = field(default_factory=list)
    measures: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """JSON of the same names, pairs as [step, value]."""
        write_file(path, json.dumps(self.plain()).encode())

    def plain(self) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "valid": self.valid,
            "measures": self.measures,
        }

    def measured(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """After how many steps a measure was taken, and its values, as two arrays: what `viz.lines` draws.

        Errors: ValueError for a name that was not measured, with those that were.
        """
        if name not in self.measures:
            raise ValueError(f"{name!r} was not measured; there is {', '.join(map(repr, self.measures)) or 'nothing'}")
        steps, values = zip(*self.measures[name], strict=True)
        return np.array(steps, np.int64), np.array(values, np.float64)

    def at(self, step: int) -> dict[str, float]:
        """What was measured last, by name, if that was after so many steps."""
        last = {"validation": self.valid, **self.measures}
        return {name: pairs[-1][1] for name, pairs in last.items() if pairs and pairs[-1][0] == step}

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the least validation loss, the first of equals."""
        return min(self.valid, key=lambda pair: (pair[1], pair[0]), default=None)

    @property
    def stale(self) -> int:
        """Validations since the best one."""
        steps = [step for step, _ in self.valid]
        return len(steps) - 1 - steps.index(self.best[0]) if self.best is not None else 0


@dataclass
class Job:
    """A training under way.

    train, held   batches to learn from, and held out
    schedule      factor of the optimizer's rate, by the step about to be made (from 1)
    evaluate      measures of the model by name
    front         tape code before the cell, which learns with it
    folder        of the checkpoint, the best weights and the curves; None keeps nothing
    options       what must be equal for a checkpoint to be gone on with
    """

    model: Model
    loss: str
    train: Batches
    held: Batches | None
    optimizer: Any
    clip: float | None
    engine: str
    folder: Path | None
    options: dict[str, Any]
    schedule: Callable[[int], float] | None = None
    evaluate: Measure | None = None
    front: Front | None = None

    def __post_init__(self) -> None:
        self.seed = int(self.options["seed"])
        self.rate = float(self.optimizer.lr)
        self.step = 0
        self.state: State | None = None
        self.curves = Curves()
        self.best: dict[str, Any] | None = None  # parameters of the least validation loss
        self.carries = isinstance(self.train, Streams) and self._can_carry()

    def _can_carry(self) -> bool:
        try:
            _ = self.model.held
        except CellError:
            return False
        return True

    def advance(self) -> tuple[float, float]:
        """One update; its loss and the gradients' norm before clipping."""
        chunk = next(self.train)
        before = self.state if chunk.continued and self.carries else None
        value, grads, self.state = self.gradient(chunk, before)
        at = f"step {self.step + 1}"
        if not math.isfinite(value):
            raise FloatingPointError(f"{at}: the loss is {value}{self._advice()}")
        try:
            norm = clip_by_norm(grads, self.clip if self.clip is not None else math.inf)
        except FloatingPointError:
            raise FloatingPointError(f"{at}: the gradient is not finite (loss {value:.4g}){self._advice()}") from None
        if self.schedule is not None:
            self.optimizer.lr = self.rate * self.schedule(self.step + 1)
        self.optimizer.step(grads)
        self.step += 1
        self.curves.loss.append(value)
        self.curves.gradient_norm.append(norm)
        return value, norm

    def _advice(self) -> str:
        kept = self.folder is not None and (self.folder / CHECKPOINT).exists()
        return "; try a smaller lr or clip" + (
            f"; {self.folder}/{CHECKPOINT} holds the last good state" if kept else ""
        )

    def gradient(self, chunk: Chunk, before: State | None) -> tuple[float, dict[str, Any], State | None]:
        """Loss, gradients and the state behind the chunk."""
        model = self.model
        # noise: a sequence keeps its seed from chunk to chunk, a new one gets the step's
        seed = before.seed if before is not None and before.seed is not None else fresh(self.seed, self.step + 1)
        if self.front is not None:
            value, grads = self.front.value_and_grad(model, self.loss, chunk.data, chunk.lengths, seed, self.engine)
            return value, grads, None
        if self.engine != "compiled":
            (value, run), grads = model.value_and_grad(
                loss=self.loss,
                lengths=chunk.lengths,
                state=before,
                train=True,
                seed=seed,
                engine=self.engine,
                has_aux=True,
                **chunk.data,
            )
            return value, grads, run.state if self.carries else None
        data = model.arranged((), chunk.data, chunk.lengths, before)
        model.stir(data, True, seed, before)
        held = tuple(n for n in model.held if n not in data.arrays) if self.carries else ()
        value, grads, arrays = model.gradient(self.loss, data, before, held)
        state = None
        if self.carries:
            run = Run(model, data, {n: Tensor.wrap(arrays[n]) for n in held}, self.engine, before)
            state = run.state
        return value, grads, state

    def measure(self) -> dict[str, float]:
        """What is measured now and then: the loss on what is held out, and what `evaluate` says of the model."""
        found: dict[str, float] = {}
        if self.held is not None:
            found["validation"] = value = self._validate()
            self.curves.valid.append((self.step, value))
            if self.curves.best == (self.step, value):
                self._keep_best()
        if self.evaluate is not None:
            for name, measured in self.evaluate(self.model).items():
                found[name] = float(measured)
                self.curves.measures.setdefault(name, []).append((self.step, float(measured)))
        return found

    def _keep_best(self) -> None:
        self.best = {name: value.data.copy() for name, value in self.model.params.items()}
        if self.folder is not None:
            storage.save(self.model, self.folder / BEST)

    def take_best(self) -> None:
        """Give the model the weights of the least validation loss."""
        for name, value in (self.best or {}).items():
            self.model.params[name] = value

    def _validate(self) -> float:
        """The loss on what is held out, a mean over its sequences (its steps, for one long sequence)."""
        assert self.held is not None and not isinstance(self.held, Drawn)
        total = weight = 0.0
        state: State | None = None
        for chunk in self.held.once():
            before = state if chunk.continued and self.carries else None
            value, state = self._evaluate(chunk, before)
            array = next(iter(chunk.data.values()))
            size = array.shape[0] if isinstance(self.held, Streams) else self.held.count_of(chunk)
            total += value * size
            weight += size
        return total / weight

    def _evaluate(self, chunk: Chunk, before: State | None) -> tuple[float, State | None]:
        model = self.model
        data = model.arranged((), chunk.data, chunk.lengths, before)
        model.stir(data, False, None, before)
        held = tuple(n for n in model.held if n not in data.arrays) if self.carries else ()
        run = model.evaluate(data, (self.loss, *held), before, self.engine, outside=(self.loss,))
        return float(run[self.loss].data), run.state if self.carries else None

    # ------------------------------------------------------------ checkpoints

    def save(self) -> Path:
        assert self.folder is not None
        arrays: dict[str, Any] = {}
        if self.state is not None:
            arrays |= {f"state/{n}": v for n, v in self.state.values.items()}
            arrays |= {f"clock/{a}": v for a, v in self.state.clock.items()}
        training = {"step": self.step, "position": self.train.position(), "options": self.options, "loss": self.loss}
        training |= {"carried": self.state is not None, "rate": self.rate}
        training |= {"valid": self.curves.valid, "measures": self.curves.measures}
        training |= {"noise": self.state.seed if self.state is not None else None}
        arrays |= {f"best/{n}": v for n, v in (self.best or {}).items()}
        if self.front is not None:
            arrays |= {f"front/{n}": p.data for n, p in self.front.params.items()}
        arrays["curves/loss"] = np.array(self.curves.loss)
        arrays["curves/gradient_norm"] = np.array(self.curves.gradient_norm)
        path = storage.save(self.model, self.folder / CHECKPOINT, self.optimizer, arrays=arrays, training=training)
        self.curves.save(self.folder / CURVES)
        return path

    def open(self, resume: bool | None) -> None:
        """Make sure that `out` can be written, and take up the checkpoint in it when that is wanted."""
        assert self.folder is not None
        path = self.folder / CHECKPOINT
        probe = self.folder / ".writable"
        write_file(probe, b"")
        probe.unlink()
        if self.model.origin is None:
            raise ValueError(
                f"out: {self.model.system.name} was built from a system without source, which a checkpoint needs"
            )
        if not path.exists():
            if resume:
                raise ValueError(f"resume: there is no {path}")
            return
        stored = storage.read(path)
        training = stored.about.get("training") or {}
        if resume is None:
            raise ValueError(
                f"{path} holds a training at step {training.get('step', '?')}: resume=True goes on with it, "
                f"resume=False starts anew and replaces it, another out= keeps both"
            )
        if resume:
            self._resume(stored, training)
        else:
            (self.folder / BEST).unlink(missing_ok=True)

    def _resume(self, stored: storage.Stored, training: Mapping[str, Any]) -> None:
        if not training:
            raise ValueError(f"resume: {stored.path} holds a model, but no training")
        for key, value in self.options.items():
            other = training["options"].get(key)
            if other != value:
                raise ValueError(
                    f"resume: {stored.path} was made with {key}={other}, now {key}={value}; they must be equal"
                )
        kind = stored.about.get("optimizer")
        if kind != type(self.optimizer).__name__:
            raise ValueError(f"resume: {stored.path} was made with {kind}, now with {type(self.optimizer).__name__}")
        model = self.model
        if model.origin is None or stored.about["cell"] != model.origin.plain():
            raise ValueError(f"resume: the cell or its sizes are not those of {stored.path}")
        for name in model.params:
            model.params[name] = stored.tensors[f"param/{name}"]
        for name, tensor in (self.front.params if self.front is not None else {}).items():
            tensor.assign(stored.tensors[f"front/{name}"])
        self.optimizer.load_state_dict(stored.optimizer_state() or {})
        self.step = int(training["step"])
        self.train.seek(training["position"])
        if training["carried"]:
            self.state = State(stored.under("state/"), stored.under("clock/"), training.get("noise"))
        self.curves = Curves(
            stored.tensors["curves/loss"].tolist(),
            stored.tensors["curves/gradient_norm"].tolist(),
            _pairs(training["valid"]),
            {name: _pairs(values) for name, values in training.get("measures", {}).items()},
        )
        self.rate = float(training.get("rate", self.rate))
        self.best = stored.under("best/") or None


def _pairs(values: list[Any]) -> list[tuple[int, float]]:
    return [(int(step), float(value)) for step, value in values]
