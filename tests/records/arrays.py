"""Records of primitives on whole arrays: shapes, reductions, products, indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.opdb import (
    Array,
    Draw,
    Sample,
    anywhere,
    distinct,
    record,
    strided,
    unary,
)
from tinygrad_seq.ops.index import Key

# ---------------------------------------------------------------- shape


def _targets(rng: np.random.Generator) -> list[tuple[Array, tuple[int, ...]]]:
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), (3,)), ((), ()), ((1,), (3,)), ((3,), (2, 3)), ((3, 1), (3, 4)), ((2, 1, 3), (5, 2, 4, 3)), ((1,), (0,)),
        ((0,), (2, 0)), ((2, 3), (2, 3)),
    ]  # fmt: skip
    return [(anywhere(rng, a), b) for a, b in cases] + [(anywhere(rng, (3, 1))[::-1], (3, 2))]


record(
    "broadcast_to",
    lambda rng: [Sample((a, s)) for a, s in _targets(rng)],
    torch=lambda t, x, s: x.broadcast_to(s),
    complex="c",
)
record("sum_to", lambda rng: [Sample((anywhere(rng, s), a.shape)) for a, s in _targets(rng)], complex="c")


def _reshapes(rng: np.random.Generator) -> list[Sample]:
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), (1,)), ((6,), (2, 3)), ((2, 3), (6,)), ((2, 3), (3, 2)), ((0,), (0, 4)), ((1, 1), ()), ((2, 3, 4), (4, 6)),
        ((4,), (4,)),
    ]  # fmt: skip
    return [Sample((anywhere(rng, a), b)) for a, b in cases] + [Sample((anywhere(rng, (3, 2)).T, (6,)))]


record("reshape", _reshapes, torch=lambda t, x, s: x.reshape(s), complex="c")


def _axes_samples(*cases: tuple[tuple[int, ...], Any]) -> Callable[[np.random.Generator], list[Sample]]:
    def make(rng: np.random.Generator) -> list[Sample]:
        plain = [Sample((anywhere(rng, s),), {"axis": axis}) for s, axis in cases]
        return [*plain, Sample((np.swapaxes(anywhere(rng, cases[-1][0][::-1]), 0, -1),), {"axis": cases[-1][1]})]

    return make


record(
    "expand",
    _axes_samples(
        ((), 0), ((3,), 0), ((3,), -1), ((3,), 1), ((2, 3), (0, -1)), ((0,), 1), ((2, 3), (1, 2)), ((2, 3), 1)
    ),
    complex="c",
)
record(
    "squeeze",
    _axes_samples(
        ((1,), 0),
        ((3, 1), -1),
        ((3, 1), 1),
        ((1, 3), 0),
        ((1, 3, 1), (0, -1)),
        ((0, 1), 1),
        ((1, 1), (0, 1)),
        ((1, 3), 0),
    ),
    complex="c",
)
record(
    "permute_dims",
    lambda rng: [
        *(
            Sample((anywhere(rng, s),), {"axes": axes})
            for s, axes in [
                ((), ()), ((3,), (0,)), ((2, 3), (1, 0)), ((2, 3), (0, 1)), ((2, 3, 4), (1, 2, 0)),
                ((2, 3, 4), (-1, 0, 1)), ((0, 2), (1, 0)), ((2, 1, 3, 2), (3, 1, 0, 2)),
            ]
        ),
        Sample((anywhere(rng, (4, 3, 2)).T,), {"axes": (2, 0, 1)}),
    ],
    torch=lambda t, x, axes: x.permute(axes), complex="c")  # fmt: skip
record(
    "flip",
    lambda rng: [
        Sample((anywhere(rng, s),), {"axis": axis})
        for s, axis in [
            ((3,), 0), ((3,), None), ((2, 3), -1), ((2, 3), (0, 1)), ((0,), 0), ((1,), 0), ((2, 3, 2), 1), ((), None),
        ]
    ], complex="c")  # fmt: skip


def _matrices(rng: np.random.Generator) -> list[Sample]:
    shapes = [(2, 3), (1, 1), (1, 3), (3, 1), (0, 2), (4, 2, 3), (2, 1, 2, 3), (3, 3)]
    return [Sample((anywhere(rng, s),)) for s in shapes] + [Sample((anywhere(rng, (6, 2))[::2],))]


record("transpose", _matrices, torch=lambda t, x: x.transpose(-1, -2), complex="c")


def _concats(rng: np.random.Generator) -> list[Sample]:
    cases: list[tuple[list[tuple[int, ...]], int]] = [
        ([(2,), (3,)], 0), ([(2, 3), (2, 1)], -1), ([(2, 3), (1, 3)], 0), ([(3,)], 0), ([(0,), (2,)], -1),
        ([(2, 1), (2, 0), (2, 2)], 1), ([(1, 2, 3), (1, 1, 3)], 1), ([(2,), (2,), (2,)], -1),
    ]  # fmt: skip
    samples = [Sample(tuple(anywhere(rng, s) for s in shapes), {"axis": axis}) for shapes, axis in cases]
    tied = anywhere(rng, (2, 3)).T
    return [*samples, Sample((tied, tied), {"axis": 0})]


record("concat", _concats, torch=lambda t, *xs, axis: t.cat(xs, dim=axis), complex="c")


def _pieces(rng: np.random.Generator, placed: bool) -> list[Sample]:
    samples = []
    for sample in _concats(rng):
        shapes, axis = [a.shape for a in sample.args], sample.static["axis"]
        for which in range(len(shapes)):
            whole = np.concatenate(sample.args, axis=axis)
            first = sample.args[which] if placed else whole
            samples.append(Sample((first, *shapes), {"which": which, "axis": axis}))
    return samples


record("piece", lambda rng: _pieces(rng, False), complex="c")
record("place", lambda rng: _pieces(rng, True), complex="c")
_PARTS: list[tuple[tuple[int, ...], int, int]] = [
    ((4,), 0, 4), ((4,), 1, 2), ((4,), 3, 1), ((4,), 2, 0), ((2, 4), 1, 3), ((0, 4), 0, 2), ((2, 3, 4), 0, 1),
    ((1, 1), 0, 1),
]  # fmt: skip
record(
    "part",
    lambda rng: [
        *(Sample((anywhere(rng, s),), {"start": a, "size": n}) for s, a, n in _PARTS),
        Sample((anywhere(rng, (4, 3)).T,), {"start": 1, "size": 2}),
    ],
    complex="c",
)
record(
    "embed",
    lambda rng: [Sample((anywhere(rng, (*s[:-1], n)), s), {"start": a, "size": n}) for s, a, n in _PARTS],
    complex="c",
)
record(
    "fill",
    lambda rng: [
        Sample((np.asarray(anywhere(rng, s)),), {"dims": d})
        for s, d in [
            ((), (3,)),
            ((), ()),
            ((), (2, 3)),
            ((), (0,)),
            ((), (1,)),
            ((2,), (3,)),
            ((2, 3), (4, 1)),
            ((0,), (2,)),
        ]
    ],
    complex="c",
)
record("shape_of", unary())
record("size", unary())


# ---------------------------------------------------------------- reductions

_AXES: list[tuple[tuple[int, ...], Any, bool]] = [
    ((), None, False), ((3,), None, False), ((3,), 0, True), ((2, 3), None, True), ((2, 3), -1, False),
    ((2, 3), (0, 1), False), ((2, 3, 4), (0, -1), True), ((2, 3, 4), 1, False), ((1, 3), 0, False), ((2, 1), -1, True),
]  # fmt: skip


def _reductions(draw: Draw, empty: bool = False) -> Callable[[np.random.Generator], list[Sample]]:
    def make(rng: np.random.Generator) -> list[Sample]:
        samples = [Sample((draw(rng, s),), {"axis": a, "keepdims": k}) for s, a, k in _AXES]
        samples += [Sample((a,), {"axis": -1, "keepdims": False}) for a in strided(rng, draw)[:3]]
        samples.append(Sample((draw(rng, (0, 3)),), {"axis": -1, "keepdims": False}))
        if empty:
            samples += [Sample((draw(rng, (2, 0)),), {"axis": a, "keepdims": k}) for a, k in ((None, False), (1, True))]
        return samples

    return make


def _torch_reduction(name: str) -> Callable[..., Any]:
    def call(t: Any, x: Any, axis: Any, keepdims: bool) -> Any:
        axes = tuple(range(x.ndim)) if axis is None else axis
        return getattr(t, name)(x, dim=axes, keepdim=keepdims)

    return call


def _tied_maxima(rng: np.random.Generator) -> list[Sample]:
    ties = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])
    return _reductions(distinct)(rng) + [Sample((ties,), {"axis": -1, "keepdims": False}, kink=True)]


record("sum", _reductions(anywhere, empty=True), torch=_torch_reduction("sum"), complex="c")
record("mean", _reductions(anywhere), torch=_torch_reduction("mean"), complex="c")
record("max", _tied_maxima, torch=_torch_reduction("amax"))
record("min", _tied_maxima, torch=_torch_reduction("amin"))
record("logsumexp", _reductions(anywhere), torch=_torch_reduction("logsumexp"))


def _along(rng: np.random.Generator) -> list[Sample]:
    cases: list[tuple[tuple[int, ...], Any]] = [
        ((3,), -1), ((1,), 0), ((2, 3), -1), ((2, 3), 0), ((2, 3, 4), 1), ((0, 3), -1), ((2, 1), -1), ((1, 4), 1),
    ]  # fmt: skip
    samples = [Sample((anywhere(rng, s),), {"axis": a}) for s, a in cases]
    return [*samples, *(Sample((a,), {"axis": -1}) for a in strided(rng, anywhere))]


record("softmax", _along, torch=lambda t, x, axis: t.softmax(x, axis))
record("log_softmax", _along, torch=lambda t, x, axis: t.log_softmax(x, axis))
record(
    "cumsum",
    lambda rng: [Sample(s.args, {**s.static, "reverse": r}) for s in _along(rng) for r in (False, True)],
    complex="c",
)


# ---------------------------------------------------------------- products


def _arrays(rng: np.random.Generator, *cases: Sequence[tuple[int, ...]]) -> list[Sample]:
    return [Sample(tuple(anywhere(rng, s) for s in shapes)) for shapes in cases]


def _matvecs(rng: np.random.Generator) -> list[Sample]:
    samples = _arrays(
        rng, [(2, 3), (3,)], [(2, 3), (4, 3)], [(1, 1), (1,)], [(2, 3), (5, 4, 3)], [(2, 0), (0,)], [(2, 3), (0, 3)],
        [(4, 2, 3), (4, 3)], [(4, 2, 3), (3,)], [(1, 2, 3), (4, 3)],
    )  # fmt: skip
    return [*samples, Sample((anywhere(rng, (3, 2)).T, anywhere(rng, (6, 3))[::2]))]


record("matvec", _matvecs, torch=lambda t, w, x: (w @ x[..., None])[..., 0], complex="b")


def _dots(rng: np.random.Generator) -> list[Sample]:
    samples = _arrays(
        rng,
        [(3,), (3,)],
        [(1,), (1,)],
        [(0,), (0,)],
        [(4, 3), (3,)],
        [(3,), (4, 3)],
        [(4, 3), (4, 3)],
        [(2, 1, 3), (4, 3)],
    )
    x = anywhere(rng, (3,))
    return [*samples, Sample((x, x)), Sample((anywhere(rng, (3, 4)).T, anywhere(rng, (6,))[::2]))]


record("dot", _dots, torch=lambda t, u, v: (u * v).sum(-1), complex="b")


def _matmuls(rng: np.random.Generator) -> list[Sample]:
    samples = _arrays(
        rng, [(2, 3), (3, 4)], [(1, 1), (1, 1)], [(2, 0), (0, 3)], [(0, 3), (3, 2)], [(5, 2, 3), (3, 4)],
        [(2, 3), (5, 3, 4)], [(5, 2, 3), (5, 3, 4)], [(1, 2, 3), (5, 3, 4)], [(2, 1, 2, 3), (4, 3, 2)],
    )  # fmt: skip
    square = anywhere(rng, (3, 3))
    return [*samples, Sample((square, square)), Sample((anywhere(rng, (3, 2)).T, anywhere(rng, (6, 4))[::2]))]


record("matmul", _matmuls, torch=lambda t, a, b: a @ b, complex="b")


def _outers(rng: np.random.Generator) -> list[Sample]:
    return _arrays(
        rng, [(2,), (3,)], [(1,), (1,)], [(0,), (3,)], [(4, 2), (4, 3)], [(4, 2), (3,)], [(2,), (4, 3)],
        [(5, 4, 2), (4, 3)], [(1, 2), (4, 3)],
    ) + [Sample((anywhere(rng, (2, 4)).T, anywhere(rng, (8, 3))[::2]))]  # fmt: skip


record("outer", _outers, torch=lambda t, u, v: u[..., :, None] * v[..., None, :], complex="b")
record(
    "outer_sum",
    lambda rng: [Sample((*s.args, (s.args[0].shape[-1], s.args[1].shape[-1]))) for s in _outers(rng)],
    complex="b",
)
record(
    "matmul_sum",
    lambda rng: [
        Sample((*s.args, (s.args[0].shape[-1], s.args[1].shape[-1])))
        for s in _arrays(
            rng, [(3, 2), (3, 4)], [(1, 1), (1, 1)], [(0, 2), (0, 3)], [(5, 3, 2), (5, 3, 4)], [(3, 2), (5, 3, 4)],
            [(5, 3, 2), (3, 4)], [(1, 3, 2), (5, 3, 4)], [(2, 5, 3, 2), (2, 5, 3, 1)],
        )
    ], complex="b")  # fmt: skip


# ---------------------------------------------------------------- indices and categories

_KEYS: list[tuple[tuple[int, ...], Any]] = [
    ((4,), 1), ((4,), -1), ((4,), slice(1, 3)), ((4,), slice(None, None, -2)), ((3, 4), (1, slice(None))),
    ((3, 4), (Ellipsis, 0)), ((3, 4), (None, slice(0, 0))), ((4,), np.array([0, 0, 3, -1])),
    ((3, 4), (np.array([0, 2, 0]), np.array([1, 1, 1]))), ((4,), np.array([True, False, True, True])),
    ((3, 4), (slice(None), np.array([[0, 1], [1, 0]]))), ((0, 3), slice(None)), ((2, 3), ()),
]  # fmt: skip
record(
    "getitem",
    lambda rng: [
        *(Sample((anywhere(rng, s),), {"key": Key(k)}) for s, k in _KEYS),
        Sample((anywhere(rng, (4, 3)).T,), {"key": Key((slice(None), 1))}),
    ],
    torch=lambda t, x, key: t.as_tensor(x)[key.value] if not _backwards(key.value) else x.flip(0)[::2],
    complex="c",
)


def _backwards(key: Any) -> bool:
    return isinstance(key, slice) and key.step is not None and key.step < 0


record(
    "scatter_add",
    lambda rng: [Sample((np.asarray(anywhere(rng, np.empty(s)[k].shape)), s), {"key": Key(k)}) for s, k in _KEYS],
    complex="c",
)
_LOOKUPS: list[tuple[tuple[int, int], Any]] = [
    ((2, 3), [0, 2, 1]), ((2, 3), [0, 0, 0, 0]), ((2, 3), 1), ((2, 3), [-1, 0]), ((1, 1), [0]), ((2, 3), []),
    ((2, 3), [[0, 1], [2, -1]]), ((2, 3), [-1, -1]),
]  # fmt: skip


def _lookups(rng: np.random.Generator) -> list[Sample]:
    samples = [Sample((anywhere(rng, s), np.array(i, np.int64))) for s, i in _LOOKUPS]
    return [*samples, Sample((anywhere(rng, (3, 2)).T, np.array([2, 1, 2])))]


record("lookup", _lookups, complex="c")
record(
    "scatter_columns",
    lambda rng: [Sample((anywhere(rng, (*np.shape(i), s[0])), np.array(i, np.int64), s)) for s, i in _LOOKUPS],
    complex="c",
)


def _quantiles(rng: np.random.Generator) -> list[Sample]:
    """Probabilities and uniform numbers: batches, one category, zeros among them, empty, not contiguous."""
    samples = []
    for shape in [(3,), (1,), (4, 3), (2, 4, 3), (0, 3), (4, 1), (1, 5)]:
        p = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
        samples.append(Sample((p, np.asarray(rng.random(shape[:-1])))))
    some = np.array([[0.0, 0.5, 0.0, 0.5, 0.0]])
    ends = np.array([0.0, 0.25, 0.5, 1.0])
    return [*samples, Sample((np.repeat(some, 4, axis=0), ends)), Sample((rng.dirichlet(np.ones(3), 4)[::2], ends[:2]))]


record("categorical_icdf", _quantiles, constant=(0, 1))
record("one_hot", lambda rng: [Sample((np.array(i, np.int64), 3)) for _, i in _LOOKUPS])


def _entropies(rng: np.random.Generator) -> list[Sample]:
    samples = []
    for shape in [(3,), (1,), (4, 3), (2, 4, 3), (0, 3), (4, 1), (1, 5), (3, 3)]:
        target = rng.integers(0, shape[-1], shape[:-1])
        samples.append(Sample((anywhere(rng, shape), np.asarray(target))))
    return [*samples, Sample((anywhere(rng, (3, 4)).T, np.array([0, 0, 2, 1])))]


record(
    "cross_entropy",
    _entropies,
    torch=lambda t, x, i: t.nn.functional.cross_entropy(
        x.reshape(-1, x.shape[-1]), i.reshape(-1), reduction="none"
    ).reshape(i.shape),
)
