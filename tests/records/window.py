"""Records of convolutions and windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.opdb import Sample, anywhere, record
from tinygrad_seq.primitive import REGISTRY

# image, weight, stride, padding, dilation, groups
_CASES: list[tuple[tuple[int, ...], tuple[int, ...], Any, Any, Any, int]] = [
    ((1, 1, 3, 3), (1, 1, 2, 2), (1, 1), (0, 0), (1, 1), 1), ((2, 3, 4, 5), (2, 3, 3, 2), (1, 1), (1, 0), (1, 1), 1),
    ((1, 2, 5, 6), (3, 2, 2, 3), (2, 1), (0, 1), (1, 2), 1), ((2, 4, 3, 3), (2, 2, 2, 2), (1, 1), (1, 1), (1, 1), 2),
    ((0, 1, 3, 3), (2, 1, 2, 2), (1, 1), (0, 0), (1, 1), 1), ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 2, 1, 7), (1, 2, 1, 3), (1, 2), (0, 2), (1, 1), 1), ((1, 3, 4, 4), (2, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((1, 2, 4, 4), (2, 1, 4, 4), (3, 3), (2, 2), (1, 1), 2),
]  # fmt: skip


def _convolutions(rng: np.random.Generator) -> list[Sample]:
    samples = [
        Sample((anywhere(rng, x), anywhere(rng, w)), {"stride": s, "padding": p, "dilation": d, "groups": groups})
        for x, w, s, p, d, groups in _CASES
    ]
    strided = anywhere(rng, (3, 4, 2, 1)).T
    return [*samples, Sample((strided, anywhere(rng, (2, 2, 2, 4))[..., ::2]), samples[0].static)]


def _results(sample: Sample) -> tuple[int, ...]:
    return tuple(REGISTRY["conv2d"].shape(*(a.shape for a in sample.args), **sample.static))


record("conv2d", _convolutions, torch=lambda t, x, w, **o: t.nn.functional.conv2d(x, w, **o), complex="c")
record(
    "conv2d_input",
    lambda rng: [
        Sample((anywhere(rng, _results(s)), s.args[1], s.args[0].shape), s.static) for s in _convolutions(rng)
    ],
)
record(
    "conv2d_weight",
    lambda rng: [
        Sample((s.args[0], anywhere(rng, _results(s)), s.args[1].shape), s.static) for s in _convolutions(rng)
    ],
)


def _windows(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((s.args[0],), {**{k: v for k, v in s.static.items() if k != "groups"}, "kernel": s.args[1].shape[2:]})
        for s in _convolutions(rng)
    ]


record("windows", _windows)
record(
    "overlap_add",
    lambda rng: [
        Sample((anywhere(rng, REGISTRY["windows"].shape(s.args[0].shape, **s.static)), s.args[0].shape), s.static)
        for s in _windows(rng)
    ],
)
