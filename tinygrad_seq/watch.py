"""What looks on while tensors compute: the detector of NaNs, infinities and exploding norms.

A watch is told of every result, of every cotangent as it arrives at a node, and of what the node sends on.
It may not change any of them. `study.Tape` is another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.errors import AnomalyError


class Watch:
    """Told of everything, does nothing."""

    def result(self, name: str, args: Sequence[Any], static: dict[str, Any], tensors: Sequence[Any], line: str) -> None:
        """An operation was computed from `args` (tensors, arrays, numbers)."""

    def arrived(self, node: Any, cotangents: Sequence[Any]) -> None:
        """The whole cotangent of each output of a node (None: nothing came)."""

    def sent(self, node: Any, cotangents: Sequence[Any]) -> None:
        """What a node sends to each input (None: nothing)."""


class Anomaly(Watch):
    """Raises AnomalyError at the first result or cotangent that is not finite, or whose norm is above `limit`."""

    def __init__(self, limit: float = math.inf) -> None:
        if not limit > 0:
            raise ValueError(f"the limit of a norm is above 0, not {limit}")
        self.limit = limit
        self.calls: dict[tuple[str, str], int] = {}  # how often an operation ran at a line: the step of a loop

    def result(self, name: str, args: Sequence[Any], static: dict[str, Any], tensors: Sequence[Any], line: str) -> None:
        count = self.calls[name, line] = self.calls.get((name, line), 0) + 1
        step = f", call {count} there" if count > 1 else ""
        self._check(f"the result of {name}", tensors, f"made at {line}{step}")

    def sent(self, node: Any, cotangents: Sequence[Any]) -> None:
        self._check(f"the cotangent of an input of {node.name}", cotangents, f"made at {node.line}")

    def _check(self, what: str, values: Sequence[Any], where: str) -> None:
        for value in values:
            array = value if isinstance(value, np.ndarray | np.generic) else getattr(value, "data", None)
            if not isinstance(array, np.ndarray | np.generic) or array.dtype.kind not in "fc":
                continue
            if not np.isfinite(array).all():
                bad = "NaN" if np.isnan(array).any() else "an infinity"
                raise AnomalyError(f"{what} has {bad} ({where})")
            if self.limit < math.inf:
                norm = float(np.linalg.norm(np.asarray(array, np.result_type(array, np.float64)).reshape(-1)))
                if norm > self.limit:
                    raise AnomalyError(f"{what} has the norm {norm:.3g}, above {self.limit:g} ({where})")
