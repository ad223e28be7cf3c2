"""The primitives. Importing this package registers all of them; nothing else has to know one by name."""

from __future__ import annotations

from tinygrad_seq.ops import (
    activation,
    elementwise,
    factor,
    index,
    linalg,
    loss,
    matrix,
    reduce,
    shape,
    special,
    spectral,
    window,
)

__all__ = [
    "activation",
    "elementwise",
    "factor",
    "index",
    "linalg",
    "loss",
    "matrix",
    "reduce",
    "shape",
    "special",
    "spectral",
    "window",
]
