"""Records of complex numbers, Fourier transforms, permutations and reflections."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.opdb import PAIRS, Sample, anywhere, off_zero, record, strided, unary

record("im", unary(), complex="c")
record("angle", unary(off_zero), torch=lambda t, x: t.angle(x), complex="c")
record("cis", unary(), torch=lambda t, x: t.exp(1j * x), complex="c")


def _modrelus(rng: np.random.Generator) -> list[Sample]:
    """Radii away from the threshold -b."""
    samples = [Sample((off_zero(rng, a), np.asarray(rng.choice([-3.0, -0.1, 0.2], b)))) for a, b in PAIRS]
    return samples + [Sample((a, np.array(0.1))) for a in strided(rng, off_zero)]


def _torch_modrelu(t: Any, z: Any, b: Any) -> Any:
    """Value and slope at 0 are 0 there too: no sample is at 0."""
    r = t.abs(z)
    return t.relu(r + b) * z / r


record("modrelu", _modrelus, torch=_torch_modrelu, complex="first")


def _transforms(rng: np.random.Generator) -> list[Sample]:
    cases: list[tuple[tuple[int, ...], int]] = [
        ((4,), -1), ((1,), 0), ((5,), -1), ((2, 3), -1), ((2, 3), 0), ((2, 3, 4), 1), ((0, 3), -1), ((2, 1), -1),
        ((3, 8), 1), ((2, 2, 6), -1),
    ]  # fmt: skip
    samples = [Sample((anywhere(rng, s),), {"axis": a}) for s, a in cases]
    return [*samples, *(Sample((a,), {"axis": -1}) for a in strided(rng, anywhere))]


record("fft", _transforms, torch=lambda t, x, axis: t.fft.fft(x, dim=axis) if x.numel() else x * (1 + 0j), complex="c")
record(
    "ifft", _transforms, torch=lambda t, x, axis: t.fft.ifft(x, dim=axis) if x.numel() else x * (1 + 0j), complex="c"
)


def _permutations(rng: np.random.Generator) -> list[Sample]:
    shapes: list[tuple[int, ...]] = [(4,), (1,), (0,), (2, 3), (3, 1), (0, 3), (2, 1, 5), (3, 6)]
    arrays = [anywhere(rng, s) for s in shapes] + strided(rng, anywhere)
    return [Sample((rng.permutation(a.shape[-1]), a)) for a in arrays]


record("permute", _permutations, torch=lambda t, p, x: x[..., p], complex="c")
record("unpermute", _permutations, torch=lambda t, p, x: x[..., t.argsort(p)], complex="c")
_REFLECTIONS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3,), (3,)), ((1,), (1,)), ((3,), (4, 3)), ((2,), (0, 2)), ((4, 3), (4, 3)), ((4, 3), (3,)), ((5,), (2, 1, 5)),
    ((2, 1, 3), (4, 3)),
]  # fmt: skip


def _reflections(rng: np.random.Generator) -> list[Sample]:
    samples = [Sample((off_zero(rng, r), anywhere(rng, x))) for r, x in _REFLECTIONS]
    tied = off_zero(rng, (3,))
    samples += [Sample((tied, tied)), Sample((off_zero(rng, (6,))[::2], anywhere(rng, (3, 4)).T))]
    some = off_zero(rng, (4, 3)) * np.array([[1.0], [0.0], [1.0], [0.0]])
    return [*samples, Sample((np.zeros(3), anywhere(rng, (3,))), kink=True), Sample((some, tied), kink=True)]


def _torch_reflect(t: Any, r: Any, x: Any) -> Any:
    r, x = (v.to(t.promote_types(r.dtype, x.dtype)) for v in (r, x))
    square = (r.conj() * r).sum(-1, keepdim=True)
    square = t.where(square == 0, t.ones_like(square), square)
    return x - 2 * r * (r.conj() * x).sum(-1, keepdim=True) / square


record("reflect", _reflections, torch=_torch_reflect, complex="b")


def _adjoints(rng: np.random.Generator) -> list[Sample]:
    made = _reflections(rng)
    return [
        Sample((anywhere(rng, np.broadcast_shapes(*(a.shape for a in s.args))), *s.args), kink=s.kink) for s in made
    ]


record("reflect_adjoint", _adjoints, complex="b")
