"""Drawing sequences: the system that computes its own draws (`dsl.system.sampled`), run once over all steps.

One run generates a whole batch, on either engine, with no Python between steps. Noise is a pure function of seed, drawn
stream, sequence and step (`dsl.run.noise`; steps count from the first that is fed), and is used in the order in which
the draw's formula names it. So equal seeds give equal sequences on both engines, whatever else is in the batch, and
what is drawn first does not depend on how much is drawn. Knows nothing of texts, nor of where a sequence is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsl.run.inputs import Arranged, expected
from dsl.run.noise import streams_of, values
from dsl.run.program import needed, restrict
from dsl.run.unroll import unroll
from dsl.system.sampled import Sampled, sampled
from dsl.system.system import System

if TYPE_CHECKING:
    from dsl.run.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Sampler:
    """How values are drawn.

    temperature   every density p is drawn as p**(1/temperature): softmax(logits / temperature), a variance times the
                  temperature; a mixture's weights and its components each. 0 takes the likeliest value
    bias          Graves's probability bias (arXiv:1308.0850, section 5.4) of normal and mdn2d: deviations times
                  exp(-bias), weights to the power 1 + bias
    seed          of the noise; None for one that nobody knows

    Errors: ValueError for a negative temperature or bias.
    """

    temperature: float = 1.0
    bias: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("temperature", self.temperature), ("bias", self.bias)):
            if not value >= 0:
                raise ValueError(f"{name}: expected 0 or more, given {value}")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def noise(self, system: System, steps: Mapping[str, int], batch: int, dtype: Any) -> dict[str, Array]:
        """Values of a system's noise streams."""
        seed = int(np.random.default_rng().integers(2**62)) if self.seed is None else self.seed
        return {n: values(s, steps, batch, seed=seed, dtype=dtype) for n, s in streams_of(system).items()}


@dataclass(frozen=True)
class Part(Sampled):
    """What draws some streams of a cell; `general` is the same with names for sizes: compiled, it serves all."""

    general: System


class Drawing:
    """The parts of one system that draw: restricted to what is wanted, each made once."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._made: dict[tuple[tuple[str, ...], tuple[str, ...], bool], Part] = {}

    def part(self, want: tuple[str, ...], known: tuple[str, ...], greedy: bool) -> Part:
        """What computes the drawn streams `want`, those `known` being data."""
        key = (want, known, greedy)
        if key not in self._made:
            made = sampled(self.system, known, greedy)
            general = restrict(made.system, needed(made.system, want, {}))
            own = general.put({n: v for n, v in general.arguments.items() if isinstance(v, int)})
            self._made[key] = Part(own, made.given, made.primed, made.sharpness, made.bias, general)
        return self._made[key]


def draw(
    model: Model,
    want: Iterable[str],
    data: Arranged,
    sampler: Sampler,
    engine: str,
    first: Mapping[str, Array] | None = None,
    steps: int = 0,
) -> dict[str, Array]:
    """Values of the drawn streams `want`: (steps, B, *features), or (B, *features) of what is drawn once.

    data    of the cell's inputs, of streams drawn once that are known, and lengths; those of the draws' axis say how
            far each sequence is drawn, -1 (a category) or 0 stand behind its end
    first   drawn stream -> (P, B, *features): the first of the steps, which are given

    Errors: ValueError naming an input that is missing.
    """
    drawing = model.generator.drawing
    known = tuple(n for n in drawing.system.draws if n in data.arrays)
    part = drawing.part(tuple(want), known, sampler.greedy)
    system = part.system
    inputs: dict[str, Any] = {n: np.asarray(v) for n, v in data.arrays.items() if n in system.streams}
    for name, stream in system.streams.items():
        if stream.kind == "input" and name not in inputs and name not in (part.primed, *part.given.values()):
            raise ValueError(f"missing {name}, expected {expected(stream)}")
    for name, lead in (first or {}).items():
        inputs[part.given[name]] = np.concatenate([lead, np.zeros((steps - len(lead), *lead.shape[1:]), lead.dtype)])
        inputs[part.primed] = np.full(data.batch, len(lead), model.dtype)
    if not sampler.greedy:
        inputs[part.sharpness] = np.asarray(1 / sampler.temperature, model.dtype)
        inputs[part.bias] = np.asarray(sampler.bias, model.dtype)
    extents = {a: max(int(np.max(v, initial=0)), steps) for a, v in data.lengths.items()}
    inputs |= sampler.noise(system, extents, data.batch, model.dtype)
    inputs |= {n: v for n, v in model.params.arrays().items() if n in system.streams}
    lengths = {a: v for a, v in data.lengths.items() if a in system.axes}
    if engine == "compiled":
        return model.stepper(part.general).forward(inputs, lengths, data.batch, tuple(want), record=False)[0]
    found = unroll(system, inputs, lengths, data.batch, tuple(want))
    return {n: np.asarray(v) for n, v in found.items()}


def generating(model: Model, greedy: bool = False) -> Model:
    """The system that draws, as a model of its own with the parameters that `model` has now: what exports take.

    Beside the cell's inputs it reads for a drawn stream y `y.given` and `primed`, the first steps (B,) that are given,
    and unless `greedy` the noise, `y.uniform` in [0, 1) or `y.normal`; `params["sharpness"]`, one over the temperature,
    and `params["bias"]` stand at 1 and 0.
    """
    from dsl.run.model import Model

    part = model.generator.drawing.part(tuple(model.system.draws), (), greedy)
    given = {n: replace(s, kind="input") if s.kind == "noise" else s for n, s in part.system.streams.items()}
    made = Model(part.system.with_(streams=given), dtype=model.dtype.name)
    own = {part.sharpness: np.ones((), model.dtype), part.bias: np.zeros((), model.dtype)}
    for name in made.params:
        made.params[name] = own[name] if name in own else model.params[name].numpy()
    made.symbols = model.symbols
    return made
