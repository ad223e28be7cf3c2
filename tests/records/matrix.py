"""Records of linear algebra and einsum, and of positions and truth along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.opdb import Array, Draw, Sample, anywhere, distinct, record

SQUARES: list[tuple[int, ...]] = [(1, 1), (2, 2), (3, 3), (2, 3, 3), (0, 2, 2), (2, 1, 2, 2), (4, 4), (1, 3, 3)]


def regular(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Far from singular."""
    return np.asarray(rng.standard_normal(shape) * 0.4 + 2 * np.eye(shape[-1]))


def _squares(draw: Draw) -> Callable[[np.random.Generator], list[Sample]]:
    def make(rng: np.random.Generator) -> list[Sample]:
        arrays = [draw(rng, s) for s in SQUARES]
        return [Sample((a,)) for a in [*arrays, draw(rng, (3, 3)).T, draw(rng, (4, 4))[::2, ::2]]]

    return make


def _positive_definite(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    a = rng.standard_normal(shape)
    return np.asarray(a @ np.swapaxes(a, -1, -2) + 2 * np.eye(shape[-1]))


record("inv", _squares(regular), torch=lambda t, a: t.linalg.inv(a), complex="c")
record("det", _squares(anywhere), torch=lambda t, a: t.linalg.det(a), complex="c")
record("cofactor", _squares(regular), complex="c")
record("logabsdet", _squares(regular), torch=lambda t, a: t.linalg.slogdet(a)[1], complex="c")
record("det_sign", _squares(regular), complex="c")


def _hermitian(t: Any, a: Any) -> Any:
    return t.linalg.cholesky((a + a.mH) / 2)


record("cholesky", _squares(_positive_definite), torch=_hermitian, complex="c")


def _systems(rng: np.random.Generator) -> list[Sample]:
    samples = [
        Sample((a.args[0], anywhere(rng, (*a.args[0].shape[:-1], k)))) for k, a in enumerate(_squares(regular)(rng), 1)
    ]
    return [
        *samples,
        Sample((regular(rng, (3, 3)), anywhere(rng, (2, 3, 2)))),
        Sample((regular(rng, (2, 3, 3)), anywhere(rng, (3, 2)))),
    ]


record("solve", _systems, torch=lambda t, a, b: t.linalg.solve(a, b), complex="c")


def _triangles(rng: np.random.Generator) -> list[Sample]:
    shapes: list[tuple[int, ...]] = [(3, 3), (2, 3), (3, 2), (1, 1), (0, 2), (4, 2, 3), (2, 1, 3, 3), (3, 4)]
    return [Sample((anywhere(rng, s),), {"k": k}) for s, k in zip(shapes, (0, 1, -1, 0, 0, 2, -2, 5), strict=True)]


record("tril", _triangles, torch=lambda t, x, k: t.tril(x, k), complex="c")
record("triu", _triangles, torch=lambda t, x, k: t.triu(x, k), complex="c")
_SPECS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("i,i->", [(3,), (3,)]), ("ij->ji", [(2, 3)]), ("i,j->ij", [(2,), (3,)]),
    ("bij,bjk->bik", [(4, 2, 3), (4, 3, 2)]), ("ij,j,jk->ik", [(2, 3), (3,), (3, 2)]), ("ij,ij->j", [(2, 3), (1, 3)]),
    ("ij,jk->ik", [(2, 0), (0, 3)]), ("ijk,kl->ijl", [(9, 9, 3), (3, 4)]), (",i->i", [(), (3,)]),
]  # fmt: skip


def _sums(rng: np.random.Generator) -> list[Sample]:
    samples = [Sample(tuple(anywhere(rng, s) for s in shapes), {"spec": spec}) for spec, shapes in _SPECS]
    tied = anywhere(rng, (3, 3))
    return [*samples, Sample((tied, tied.T), {"spec": "ij,jk->ik"}), Sample((tied, tied), {"spec": "ij,ij->i"})]


record("einsum", _sums, torch=lambda t, *xs, spec: t.einsum(spec, *xs), complex="b")


def _positions(rng: np.random.Generator) -> list[Sample]:
    cases: list[tuple[tuple[int, ...], Any, bool]] = [
        ((3,), None, False), ((1,), 0, True), ((2, 3), None, True), ((2, 3), -1, False), ((2, 3), 0, True),
        ((2, 3, 4), 1, False), ((2, 1), -1, True), ((0, 3), -1, False),
    ]  # fmt: skip
    return [Sample((distinct(rng, s),), {"axis": a, "keepdims": k}) for s, a, k in cases]


for _name in ("argmax", "argmin", "any", "all"):
    record(_name, _positions)
record(
    "argsort",
    lambda rng: [
        Sample((distinct(rng, s),), {"axis": a, "descending": d})
        for s, a in [((3,), -1), ((2, 3), 0), ((0, 2), -1), ((2, 3, 4), 1)]
        for d in (False, True)
    ],
)
