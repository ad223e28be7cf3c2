"""Values of `noise` streams: a pure function of seed, stream, sequence, step and unit.

Counter-based (Philox, Salmon et al. 2011): a step's values do not depend on how a sequence is cut into chunks, on
the engine, on the other sequences of the batch or on threads, so that replaying, carrying on and resuming see the same
noise. Outside training a noise is its mean. Nothing here knows of models or engines: to both, noise is an input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsl.run.inputs import Arranged
from dsl.run.rows import derived_lengths
from dsl.system.system import Read, Stream, System
from tinygrad_seq.loops import load
from tinygrad_seq.symbol import Symbol, apply, lift, substitute

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One right-hand side of `noise ... ~`, of its numbers.

    draw      (p, a, b): a with probability p, else b; for p < 0 uniform between a and b
    quantile  for what is neither: values from uniform numbers in (0, 1)
    mean      outside training
    expected, allows   which numbers it takes, in words and as a test
    """

    draw: Callable[..., tuple[float, float, float]]
    mean: Callable[..., float]
    expected: str
    allows: Callable[..., bool]
    quantile: Callable[..., Array] | None = None


def _normal(u: Array, mean: float, std: float) -> Array:
    from scipy.special import ndtri

    return np.asarray(mean + std * ndtri(u))


UNIFORM = -1.0
KINDS: dict[str, Kind] = {
    # inverted dropout (Srivastava et al. 2014): what stays is scaled, so that the mean is 1
    "dropout": Kind(
        lambda p: (p, 0.0, 1.0 / (1.0 - p)), lambda p: 1.0, "a probability in [0, 1)", lambda p: 0 <= p < 1
    ),
    "bernoulli": Kind(lambda p: (p, 1.0, 0.0), lambda p: p, "a probability in [0, 1]", lambda p: 0 <= p <= 1),
    "normal": Kind(
        lambda mean, std: (UNIFORM, 0.0, 1.0),
        lambda mean, std: mean,
        "a mean and a deviation of at least 0",
        lambda mean, std: std >= 0,
        _normal,
    ),
    "uniform": Kind(
        lambda low, high: (UNIFORM, low, high),
        lambda low, high: 0.5 * (low + high),
        "two bounds, the lower one first",
        lambda low, high: low <= high,
    ),
}


def streams_of(system: System) -> dict[str, Stream]:
    """The noise streams of a system, by name."""
    return {n: s for n, s in system.streams.items() if s.kind == "noise"}


def numbers_of(stream: Stream) -> tuple[Kind, list[float]]:
    """What a noise is drawn from. Errors: ValueError for numbers outside their range (a probability above 1, say)."""
    rule = stream.initializer
    assert rule is not None
    kind = KINDS[rule.name]
    numbers = [float(n) for n in rule.numbers]
    if not kind.allows(*numbers):
        given = ", ".join(f"{n:g}" for n in numbers)
        raise ValueError(f"noise {stream.name}: {rule.name} takes {kind.expected}, given {given}")
    return kind, numbers


def values(
    stream: Stream,
    steps: Mapping[str, int],
    batch: int,
    *,
    seed: int | None,
    clock: Mapping[str, Any] | None = None,
    dtype: Any = np.float64,
) -> Array:
    """One noise of a call: (steps..., B, *features).

    steps   axis -> number of steps
    seed    of the call; None outside training: the mean
    clock   axis -> (B,) steps each sequence has already run
    """
    kind, numbers = numbers_of(stream)
    shape = tuple(int(d) for d in stream.shape)
    lead = tuple(int(steps[a]) for a in stream.axes)
    if seed is None:
        return np.full((*lead, batch, *shape), kind.mean(*numbers), dtype)
    # the counter has room for two axes: of more, all but the last share the outer one
    outer, inner = lead[:-1], lead[-1] if lead else 1
    size = (int(np.prod(outer, dtype=np.int64)), inner, batch, int(np.prod(shape, dtype=np.int64)))
    made = np.empty(size, np.float64 if kind.quantile else dtype)
    starts = [_start(clock, a, batch) for a in stream.axes]
    first = starts[-1] if starts else np.zeros(batch, np.uint64)
    before = starts[0] if len(starts) == 2 else np.zeros(batch, np.uint64)
    load("philox").fill(made, before, first, *_key(seed, stream.name), *kind.draw(*numbers))
    drawn = made if kind.quantile is None else kind.quantile(made, *numbers).astype(dtype, copy=False)
    return drawn.reshape(*lead, batch, *shape)


def draw(
    system: System,
    noises: Mapping[str, Stream],
    data: Arranged,
    clock: Mapping[str, Any] | None,
    dtype: np.dtype[Any],
) -> dict[str, Array]:
    """All noise for a call, with `data.seed`. One on an axis without lengths is left out, as data would be."""
    lengths: Mapping[str, Any] = data.lengths
    if all(a in lengths for a, axis in system.axes.items() if axis.length is None):
        lengths = derived_lengths(system.axes, lengths, data.batch)
    steps = {a: int(np.max(v, initial=0)) for a, v in lengths.items()}
    for name, value in data.arrays.items():  # arrays of one axis have one extent, padding included
        for axis, extent in zip(system.streams[name].axes, np.shape(value), strict=False):
            steps[axis] = max(steps.get(axis, 0), extent)
    return {
        n: values(s, steps, data.batch, seed=data.seed, clock=clock, dtype=dtype)
        for n, s in noises.items()
        if set(s.axes) <= set(steps)
    }


def _start(clock: Mapping[str, Any] | None, axis: str, batch: int) -> NDArray[np.uint64]:
    given = clock[axis] if clock and axis in clock else 0
    return np.ascontiguousarray(np.broadcast_to(np.asarray(given), (batch,)), np.uint64)


def _key(seed: int, name: str) -> tuple[np.uint64, np.uint64]:
    """64 bits that belong to this seed and stream."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest[:4], "little")), np.uint64(int.from_bytes(digest[4:], "little"))


def fresh(seed: int, count: int) -> int:
    """A seed for the `count`-th of many calls, from one seed for all of them."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{count}".encode(), digest_size=6).digest(), "little")


def quiet(system: System) -> System:
    """The system with every noise read as its mean: what runs outside training, with no noise to feed."""
    means: dict[str, Symbol] = {}
    sizes = {n: v for n, v in system.arguments.items() if isinstance(v, int)}
    for name, stream in streams_of(system).items():
        assert stream.initializer is not None
        kind, numbers = numbers_of(replace(stream, initializer=stream.initializer.bind(sizes)))
        value = lift(kind.mean(*numbers))
        means[name] = apply("fill", value, dims=stream.shape) if stream.shape else value
    if not means:
        return system

    def change(node: Symbol) -> Symbol | None:
        return means.get(node.leaf.name) if isinstance(node.leaf, Read) else None

    def calm(root: Symbol) -> Symbol:
        return substitute(root, change)

    return replace(
        system,
        streams={
            n: s if s.boundary is None else replace(s, boundary=calm(s.boundary))
            for n, s in system.streams.items()
            if n not in means
        },
        equations={n: calm(e) for n, e in system.equations.items()},
        draws={n: replace(d, parameters=tuple((k, calm(e)) for k, e in d.parameters)) for n, d in system.draws.items()},
    )
