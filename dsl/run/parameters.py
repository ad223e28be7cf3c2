"""A model's parameters: tensors by name, made by the initialisers of their declarations.

Each parameter draws from a generator of its own, so that adding one does not move the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from dsl.system.system import Stream, System
from dsl.text.diagnostics import suggest
from tinygrad_seq.initializers import initialize
from tinygrad_seq.optim import RETRACTIONS, Retraction, Scaled
from tinygrad_seq.tensor import Tensor


def initial(stream: Stream, seed: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
    """The starting value of a parameter; None when its declaration gives none."""
    rule = stream.initializer
    if rule is None:
        return None
    rng = np.random.default_rng([seed, zlib.crc32(stream.name.encode())])
    dtype = number_type(stream, dtype)
    try:
        return initialize(rule.name, tuple(int(d) for d in stream.shape), rng, dtype, *rule.numbers)
    except ValueError as error:
        raise ValueError(f"param {stream.name}: {error}") from None


def number_type(stream: Stream, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a stream in a model of real `dtype`: complex64 beside float32, complex128 beside float64."""
    return np.result_type(dtype, np.complex64) if stream.dtype == "complex" else dtype


def retraction(stream: Stream) -> Retraction:
    """What brings a kept parameter's new value back onto the set that its initialiser draws from."""
    assert stream.initializer is not None
    found, gains = RETRACTIONS[stream.initializer.name], stream.initializer.numbers
    return Scaled(found, float(gains[0])) if gains else found


class Trained(dict[str, Tensor]):
    """Tensors by name, and the retractions (`kept`) that an optimizer of them has to apply."""

    def __init__(self, tensors: Mapping[str, Tensor], kept: Mapping[str, Retraction]) -> None:
        super().__init__(tensors)
        self.kept = dict(kept)


class Parameters(MutableMapping[str, Tensor]):
    """Name -> Tensor in order of declaration. Assigning an array replaces the value in place.

    `params["W"] = array` checks the shape and casts to the model's dtype; the tensor stays the same object, so
    an optimizer that holds it goes on with the new value. `kept` has, for each parameter declared so, the retraction
    that an optimizer applies after its step. Errors: KeyError with the nearest name; ValueError for
    a wrong shape or numbers that are not finite.
    """

    def __init__(self, system: System, seed: int, dtype: np.dtype[Any]) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._missing: dict[str, Stream] = {}
        self.kept: dict[str, Retraction] = {}
        for name, stream in system.streams.items():
            if stream.kind in ("param", "const"):
                value = initial(stream, seed, dtype)
                if value is None:
                    self._missing[name] = stream
                    value = np.zeros(tuple(int(d) for d in stream.shape), number_type(stream, dtype))
                self._tensors[name] = Tensor(value, requires_grad=stream.kind == "param", name=name)
                if stream.kept and stream.kind == "param":
                    self.kept[name] = retraction(stream)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._known(name)]

    def __setitem__(self, name: str, value: Any) -> None:
        tensor = self._tensors[self._known(name)]
        array = np.asarray(value.numpy() if isinstance(value, Tensor) else value)
        if array.shape != tensor.shape:
            raise ValueError(f"{name}: expected an array of shape {tensor.shape}, given {array.shape}")
        if array.dtype.kind not in ("fiubc" if tensor.dtype.kind == "c" else "fiub"):
            raise ValueError(f"{name}: expected numbers, given {array.dtype}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers, given NaN or infinity")
        tensor.assign(array.astype(tensor.dtype))
        self._missing.pop(name, None)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"a model's parameters are fixed by its cell: {name} cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def _known(self, name: str) -> str:
        if name not in self._tensors:
            near = suggest(name, list(self._tensors))
            raise KeyError(f"no parameter {name}" + (f"; did you mean {near}?" if near else ""))
        return name

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All of them in a plain mapping, which is quicker to walk."""
        return self._tensors

    @property
    def trained(self) -> Trained:
        """Those that learn: params, not consts."""
        return Trained({n: t for n, t in self._tensors.items() if t.requires_grad}, self.kept)

    @property
    def count(self) -> int:
        """How many numbers learn."""
        return sum(int(np.prod(t.shape)) for t in self.trained.values())

    def arrays(self) -> dict[str, Any]:
        """Plain arrays by name. Errors: ValueError for a param or const that the caller has yet to give."""
        for name in self._missing:
            raise ValueError(f"{name} has no initialiser: give it a value, model.params[{name!r}] = array")
        return {n: t.data for n, t in self._tensors.items()}

    def __repr__(self) -> str:
        return table({n: t.shape for n, t in self._tensors.items()})


def table(shapes: dict[str, tuple[int, ...]]) -> str:
    """Parameters with shapes and counts, aligned."""
    rows = [(n, " × ".join(map(str, s)) or "scalar", f"{int(np.prod(s)):,}") for n, s in shapes.items()]
    widths = [max((len(r[i]) for r in rows), default=0) for i in range(3)]
    return "\n".join(f"  {n:<{widths[0]}}  {s:<{widths[1]}}  {c:>{widths[2]}}" for n, s, c in rows)
