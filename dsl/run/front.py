"""Tape code that stands before a cell and learns with it: an image's features, a convolution whose columns it reads.

A compiled run is one node on the tape, so that a gradient comes out of its inputs like out of any operation. Knows
models and the tape; nothing of batches or steps, which `dsl.run.job` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.run.parameters import Trained
from tinygrad_seq.tape import backward
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.transforms import enable_grad

if TYPE_CHECKING:
    from dsl.run.model import Model

PREFIX = "front."


@dataclass(frozen=True)
class Front:
    """What makes a cell's streams out of raw data, by operations of the tape.

    params    what it learns, by name
    streams   raw data by name -> the cell's streams by name; what it does not change it passes on

    `Front(net.params, lambda raw: {"x": tg.columns(net(raw["image"])), "y": raw["y"]})`
    """

    params: Mapping[str, Tensor]
    streams: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    def learned(self, model: Model) -> Trained:
        """The model's parameters and, as `front.NAME`, these: what an optimizer is given."""
        own = model.params.trained
        return Trained({**own, **{PREFIX + n: p for n, p in self.params.items()}}, own.kept)

    def value_and_grad(
        self, model: Model, loss: str, raw: Mapping[str, Any], lengths: Any, seed: int | None, engine: str
    ) -> tuple[float, dict[str, Any]]:
        """A loss in training, and its gradient by the names of `learned`."""
        params = self.learned(model)
        with enable_grad():
            run = model(lengths=lengths, train=True, seed=seed, engine=engine, **self.streams(raw))
            value = run[loss]
        if value.edge is None:
            raise ValueError(f"{loss} depends on no parameter that learns")
        edges = [p.edge for p in params.values() if p.edge is not None]
        found = backward([value.edge], [np.ones(value.shape, value.dtype)], edges, record=False)
        grads = {n: g.data if isinstance(g, Tensor) else g for n, g in zip(params, found, strict=True)}
        return float(value.data), {n: np.zeros_like(params[n].data) if g is None else g for n, g in grads.items()}
