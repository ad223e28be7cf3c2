"""Beam search: the likeliest sequence a cell can generate, as far as a bounded number of hypotheses finds it.

Exact for a beam as wide as there are sequences; greedy choice for a beam of 1. Nothing here is left to chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsl.run.inputs import Arranged
from dsl.run.walk import Walk
from tinygrad_seq.primitive import REGISTRY

if TYPE_CHECKING:
    from dsl.run.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Hypotheses:
    """What a search found, best first.

    ids               (P + T, B, width) integers, -1 behind a hypothesis's end
    log_probability   (B, width) of what follows the prime; -inf where there are fewer hypotheses than the beam is wide
    """

    ids: NDArray[np.int64]
    log_probability: NDArray[np.float64]

    @property
    def best(self) -> NDArray[np.int64]:
        """(P + T, B) integers of each sequence's likeliest."""
        return self.ids[:, :, 0]


def search(
    model: Model,
    data: Arranged,
    first: Mapping[str, Array],
    steps: int,
    width: int,
    until: Array | None,
    engine: str,
    penalty: float = 0.0,
) -> Hypotheses:
    """The `width` likeliest continuations of each sequence that the search meets.

    data, first   the cell's inputs, and (P, B) integers fed before the search
    until         integers that end a hypothesis; its probability stands from there on
    penalty       hypotheses are ranked by log-probability / length**penalty, the end counted (Wu et al. 2016,
                  arXiv:1609.08144, equation 14, without its constant); 0 ranks by probability

    Errors: ValueError for a cell that draws several streams, or no category; CellError E480 for one that cannot be run
    step by step.
    """
    generator = model.generator
    generator.check_searchable()
    if [d.distribution for d in generator.draws] != ["categorical"]:
        drawn = ", ".join(f"{d.name} ~ {d.distribution}" for d in (*generator.once, *generator.draws))
        raise ValueError(f"beam: {model.system.name} draws {drawn}; a search needs one categorical stream")
    draw = generator.draws[0]
    if width < 1:
        raise ValueError(f"beam: expected 1 hypothesis or more, given {width}")
    batch = data.batch
    lead = first[draw.name]
    walk = Walk(model, _repeated(model, data, width), {draw.name: np.repeat(lead, width, axis=1)}, steps, engine)
    ids = np.repeat(lead[:, :, None], width, axis=2)  # (steps so far, B, width)
    score = np.full((batch, width), -np.inf)
    score[:, 0] = 0.0  # all hypotheses of a sequence begin alike: one of them counts
    ended = np.zeros((batch, width), bool)
    length = np.zeros((batch, width), int)
    own = np.arange(batch)[:, None]
    for _ in range(steps):
        seen = walk.look()
        logits = np.asarray(seen[draw.parameters["logits"]], np.float64)[0]
        k = logits.shape[-1]
        reached = score[..., None] + np.where(
            ended[..., None], _stay(k), REGISTRY["log_softmax"].impl(logits, axis=-1).reshape(batch, width, k)
        )
        flat = reached.reshape(batch, width * k)
        length = length + ~ended
        rank = flat / np.repeat(length, k, axis=1).astype(float) ** penalty
        best = np.argsort(-rank, axis=1, kind="stable")[:, :width]
        parent, symbol = best // k, best % k
        score, ended, length = np.take_along_axis(flat, best, axis=1), ended[own, parent], length[own, parent]
        shown = np.where(ended, -1, symbol)
        ids = np.concatenate([ids[:, own, parent], shown[None]])
        walk.choose(seen, (own * width + parent).reshape(-1), symbol.reshape(-1))
        if until is not None and len(ids) >= len(until):
            ended |= (ids[-len(until) :] == until[:, None, None]).all(axis=0)
            if (ended if penalty else ended[:, 0]).all():  # unranked by length, what is open only becomes less likely
                break
    return Hypotheses(ids, score)


def _stay(categories: int) -> Array:
    """Of a hypothesis that has ended, one copy goes on, and costs nothing."""
    return np.where(np.arange(categories) == 0, 0.0, -np.inf)


def _repeated(model: Model, data: Arranged, times: int) -> Arranged:
    """Each sequence that many times, its copies side by side."""
    streams = model.system.streams
    return replace(
        data,
        arrays={n: np.repeat(np.asarray(v), times, axis=len(streams[n].axes)) for n, v in data.arrays.items()},
        lengths={a: np.repeat(v, times) for a, v in data.lengths.items()},
        batch=data.batch * times,
    )
