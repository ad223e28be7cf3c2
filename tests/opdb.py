"""One record a primitive: samples that drive the tests of gradients, dtypes, closure, residuals and readings.

A record makes at least eight samples: scalars, dims of 1, broadcasts, empty and non-contiguous arrays, tied
inputs; with `complex`, every second one over the complex numbers too. Floating arguments of a sample are
differentiated unless the record's `constant` says otherwise. `kink` marks a sample at which finite differences
mean nothing; its gradient is in the kinks table's test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Sample:
    args: tuple[Any, ...]
    static: dict[str, Any] = field(default_factory=dict)
    kink: bool = False


@dataclass(frozen=True)
class Record:
    name: str
    make: Callable[[np.random.Generator], list[Sample]]
    constant: tuple[int, ...] = ()  # floating arguments that are not differentiated
    torch: Callable[..., Any] | None = None  # (torch, *tensors, **static): the same function there
    complex: str = ""  # which variables are made complex: "" none, "c" all, "b" all, and the last alone, "first"
    order: int = 2  # how often it is differentiable

    def samples(self) -> list[Sample]:
        rng = np.random.default_rng(sum(map(ord, self.name)))
        made = self.make(rng)
        return made + [s for sample in made[::2] for s in self._complex(rng, sample)]

    def _complex(self, rng: np.random.Generator, sample: Sample) -> list[Sample]:
        """The sample over the complex numbers: see `complex`."""
        at = self.variables(sample) if self.complex else []
        chosen = [at[:1] if self.complex == "first" else at]
        if self.complex == "b" and len(at) > 1:
            chosen.append(at[-1:])
        return [self._turned(rng, sample, which) for which in chosen if which]

    @staticmethod
    def _turned(rng: np.random.Generator, sample: Sample, which: list[int]) -> Sample:
        args = list(sample.args)
        same: dict[int, Array] = {}  # tied inputs stay tied
        for i in which:
            a = args[i]
            if id(a) not in same:
                same[id(a)] = np.asarray(a + 1j * rng.uniform(0.2, 0.6, a.shape) * rng.choice([-1, 1], a.shape))
            args[i] = same[id(a)]
        return Sample(tuple(args), sample.static, sample.kink)

    def variables(self, sample: Sample) -> list[int]:
        return [
            i
            for i, a in enumerate(sample.args)
            if isinstance(a, np.ndarray) and a.dtype.kind in "fc" and i not in self.constant
        ]


RECORDS: dict[str, Record] = {}


def record(name: str, make: Callable[[np.random.Generator], list[Sample]], **options: Any) -> None:
    RECORDS[name] = Record(name, make, **options)


# ---------------------------------------------------------------- domains and shapes


def anywhere(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.standard_normal(shape))


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.uniform(0.5, 2.0, shape))


def off_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Away from 0 on both sides: for kinks and poles there."""
    return np.asarray(rng.uniform(0.4, 2.0, shape) * rng.choice([-1.0, 1.0], shape))


def distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """No two elements closer than 0.1: for extrema."""
    n = int(np.prod(shape))
    return np.asarray((rng.permutation(n).reshape(shape) * 0.1 + 0.01) - 0.05 * n)


SHAPES: list[tuple[int, ...]] = [(), (1,), (3,), (2, 3), (3, 1), (0,), (2, 0, 3)]
PAIRS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((), ()),
    ((3,), ()),
    ((), (2, 3)),
    ((1,), (3,)),
    ((3, 1), (1, 4)),
    ((2, 3), (3,)),
    ((0,), (1,)),
    ((2, 1, 3), (4, 1)),
]


def strided(rng: np.random.Generator, draw: Draw) -> list[Array]:
    """Arrays that are not contiguous: transposed, every second, backwards, broadcast."""
    return [
        draw(rng, (3, 2)).T,
        draw(rng, (6, 2))[::2],
        draw(rng, (4,))[::-1],
        np.broadcast_to(draw(rng, (3,)), (2, 3)),
    ]


def unary(draw: Draw = anywhere, **static: Any) -> Callable[[np.random.Generator], list[Sample]]:
    def make(rng: np.random.Generator) -> list[Sample]:
        return [Sample((a,), static) for a in [draw(rng, s) for s in SHAPES] + strided(rng, draw)]

    return make


def binary(
    left: Draw = anywhere, right: Draw | None = None, tied: bool = True
) -> Callable[[np.random.Generator], list[Sample]]:
    def make(rng: np.random.Generator) -> list[Sample]:
        other = right or left
        samples = [Sample((left(rng, a), other(rng, b))) for a, b in PAIRS]
        samples += [Sample((a, other(rng, a.shape))) for a in strided(rng, left)]
        if tied:
            x = left(rng, (3,))
            samples.append(Sample((x, x)))
        return samples

    return make


def apart(rng: np.random.Generator) -> list[Sample]:
    """Two arguments that differ everywhere, and ties marked as kinks."""
    samples = []
    for a, b in PAIRS:
        x, y = np.broadcast_arrays(anywhere(rng, a), anywhere(rng, b))
        x, y = anywhere(rng, a), anywhere(rng, b)
        samples.append(Sample((x, y), kink=bool(np.any(np.abs(x - y) < 0.05))))
    samples += [Sample((a, a + off_zero(rng, a.shape))) for a in strided(rng, anywhere)]
    tied = anywhere(rng, (3,))
    return [*samples, Sample((tied, tied.copy()), kink=True)]


from tests.records import arrays, elementwise, factor, matrix, special, spectral, window  # noqa: E402, F401 - they fill RECORDS
