"""Systems with small random data, evaluated literally: what the tests of derivations share."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsl.run.rows import derived_lengths
from dsl.run.unroll import unroll
from dsl.system.system import Stream, System

SIZES = {"D": 3, "H": 4, "K": 5, "K_in": 3, "A": 2}
BATCH = 3


def bound(system: System) -> System:
    """With small distinct numbers for its open sizes."""
    return system.bind({n: SIZES.get(n, 3) for n, v in system.arguments.items() if v is None})


def lengths(system: System, batch: int = BATCH) -> dict[str, Any]:
    """Ragged lengths for the axes that the data gives; labels (on a second axis) fit into their frames."""
    given = [a for a, axis in system.axes.items() if axis.length is None]
    kinds = [np.array([5, 3, 6]), np.array([3, 1, 2])]
    return {a: kinds[k % 2][:batch] for k, a in enumerate(given)}


def steps(system: System, axis: str, given: dict[str, Any]) -> Any:
    """Lengths (B,) of any axis."""
    return derived_lengths(system.axes, given, len(next(iter(given.values()))))[axis]


def data(system: System, rng: np.random.Generator, given: dict[str, Any], batch: int = BATCH) -> dict[str, Any]:
    """Random values of everything that a bound system is given."""
    values: dict[str, Any] = {}
    for name, stream in system.streams.items():
        if stream.kind in ("input", "param", "const", "draw", "noise"):
            lead = () if stream.shared else (*(int(max(steps(system, a, given))) for a in stream.axes), batch)
            if stream.initializer is not None and stream.initializer.name == "permutation":
                values[name] = rng.permutation(int(stream.shape[0]))
            elif stream.dtype == "category":
                values[name] = rng.integers(0, int(stream.categories or 1), lead)
            else:
                values[name] = normal(stream, lead + tuple(int(d) for d in stream.shape), rng, 0.7)
    return values


def normal(stream: Stream, shape: tuple[int, ...], rng: np.random.Generator, scale: float = 1.0) -> Any:
    """Normal numbers, complex where the stream is."""
    value = scale * rng.normal(size=shape)
    return value + 1j * scale * rng.normal(size=shape) if stream.dtype == "complex" else value


def direction(
    system: System, name: str, value: Any, rng: np.random.Generator, given: dict[str, Any], batch: int = BATCH
) -> Any:
    """A random direction that stays within every sequence's own steps."""
    stream = system.streams[name]
    d = normal(stream, value.shape, rng)
    for k, axis in enumerate(stream.axes):
        mask = np.arange(d.shape[k])[:, None] < steps(system, axis, given)[None, :]
        shape = [1] * d.ndim
        shape[k], shape[len(stream.axes)] = d.shape[k], batch
        d = d * mask.reshape(shape)
    return d


@np.errstate(invalid="ignore")  # inf - inf in the branch of a where that is not taken
def worst_error(
    forward: System,
    derived: System,
    cotangents: dict[str, str],
    gradients: dict[str, str],
    *,
    batch: int = BATCH,
    seed: int = 1,
    step: float = 1e-6,
) -> float:
    """The largest relative error of `derived`'s gradients against central differences of `forward`."""
    rng = np.random.default_rng(seed)
    given = lengths(forward, batch)
    values = data(forward, rng, given, batch)
    observed = list(cotangents)
    found = unroll(forward, values, given, batch, observed)
    weights = {name: normal(forward.streams[name], found[name].shape, rng) for name in observed}

    def loss(v: dict[str, Any]) -> float:
        result = unroll(forward, v, given, batch, observed)
        return float(sum((np.conj(weights[n]) * result[n]).real.sum() for n in observed))

    wanted = [n for n, s in derived.streams.items() if s.kind in ("input", "param", "const")]
    kept = unroll(forward, values, given, batch, [n for n in wanted if n in forward.equations])
    given_name = {v: k for k, v in cotangents.items()}
    inputs = {n: values[n] if n in values else kept[n] if n in kept else weights[given_name[n]] for n in wanted}
    bars = unroll(derived, inputs, given, batch, list(gradients.values()))
    worst = 0.0
    for name, bar in gradients.items():
        d = direction(forward, name, values[name], rng, given, batch)
        plus, minus = ({**values, name: values[name] + sign * step * d} for sign in (1, -1))
        difference = (loss(plus) - loss(minus)) / (2 * step)
        error = abs(float((np.conj(bars[bar]) * d).real.sum()) - difference) / max(1e-3, abs(difference))
        worst = float(np.maximum(worst, error))  # NaN stays NaN
    return worst
