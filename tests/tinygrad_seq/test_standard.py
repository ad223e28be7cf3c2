"""What the array API's functions do: each name that its reference, `array_api_strict`, has, called as the reference is.

`array-api-tests`, the consortium's own suite, is no package: it is run from its repository. Here arrays, dtypes, axes
and options are drawn at random, and where the reference answers, the answer here has its shape, dtype and values, or is
refused in words. What the reference refuses is our own affair (whole numbers in `exp`, say, where NumPy answers).
TGSEQ_STANDARD=500 draws so many calls of each function.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

strict = pytest.importorskip("array_api_strict")
DRAWN = int(os.environ.get("TGSEQ_STANDARD", "25"))
CLEAR = (ValueError, TypeError, IndexError, np.linalg.LinAlgError)
Call = tuple[tuple[Any, ...], dict[str, Any]]  # arrays are NumPy's: each side makes its own of them

REAL, COMPLEX, WHOLE = ["float32", "float64"], ["complex64", "complex128"], ["int8", "int32", "int64", "uint8"]
NUMBERS = REAL + WHOLE
ALL = [*NUMBERS, *COMPLEX, "bool"]


class Draw:
    """What a call is made of."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def pick(self, options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def shape(self, least: int = 0, most: int = 3) -> tuple[int, ...]:
        return tuple(
            int(n)
            for n in self.rng.choice([1, 2, 3, 4, 0], self.rng.integers(least, most + 1), p=[0.2, 0.3, 0.3, 0.15, 0.05])
        )

    def array(self, shape: tuple[int, ...], dtype: str) -> Any:
        x = self.rng.uniform(0.2, 3.9, shape)
        if dtype in COMPLEX:
            x = x + 1j * self.rng.uniform(-1, 1, shape)
        return np.asarray(x < 2 if dtype == "bool" else x).astype(dtype)

    def any(self, dtypes: list[str], least: int = 0) -> Any:
        return self.array(self.shape(least), self.pick(dtypes))

    def axis(self, x: Any) -> int:
        return int(self.rng.integers(-x.ndim, x.ndim)) if x.ndim else 0

    def axes(self, x: Any) -> Any:
        if not x.ndim or self.rng.random() < 0.3:
            return None
        if self.rng.random() < 0.3:
            return tuple(int(a) for a in self.rng.permutation(x.ndim)[: self.rng.integers(1, x.ndim + 1)])
        return self.axis(x)

    def flag(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def square(self, dtypes: list[str] = REAL + COMPLEX, positive: bool = False) -> Any:
        n, batch = int(self.rng.integers(1, 4)), self.pick([(), (2,)])
        x = self.array((*batch, n, n), self.pick(dtypes)) + 3 * np.eye(n)
        x = x.astype(np.result_type(x.dtype))
        return x @ np.conj(np.swapaxes(x, -1, -2)) if positive else x


def along(
    dtypes: list[str], *, several: bool = True, least: int = 0, **options: Callable[[Draw], Any]
) -> Callable[[Draw], Call]:
    def make(d: Draw) -> Call:
        x = d.any(dtypes, least)
        return (x,), {"axis": d.axes(x) if several else d.axis(x)} | {k: f(d) for k, f in options.items()}

    return make


def pair(dtypes: list[str]) -> Callable[[Draw], Call]:
    def make(d: Draw) -> Call:
        shape, dtype = d.shape(), d.pick(dtypes)
        other = tuple(n if d.rng.random() < 0.7 else 1 for n in shape)
        if d.flag():
            other = other[d.rng.integers(0, len(shape) + 1) :]
        like = [t for t in dtypes if np.dtype(t).kind == np.dtype(dtype).kind]
        return (d.array(shape, dtype), d.array(other, d.pick(like))), {}

    return make


def _products(d: Draw) -> Call:
    n, k, m = (int(v) for v in d.rng.integers(1, 4, 3))
    left, right = d.pick([((n, k), (k, m)), ((k,), (2, k, m)), ((2, n, k), (k,)), ((k,), (k,))])
    dtype = d.pick(NUMBERS + COMPLEX)
    return (d.array(left, dtype), d.array(right, dtype)), {}


def _same_rows(d: Draw) -> Call:
    x = d.any(NUMBERS + COMPLEX, 1)
    return (x, d.array(x.shape, x.dtype.name)), {"axis": -1}


def _several(d: Draw) -> Call:
    x = d.any(ALL, 1)
    return ([x, d.array(x.shape, x.dtype.name)],), {"axis": d.axis(x)}


def _solved(d: Draw) -> Call:
    a = d.square()
    return (a, d.array((*a.shape[:-1], 2), a.dtype.name)), {}


def _sorted(d: Draw) -> Call:
    x = np.sort(d.array((int(d.rng.integers(1, 6)),), "float64"))
    return (x, d.array(d.shape(), "float64")), {"side": d.pick(["left", "right"])}


def _taken(d: Draw) -> Call:
    x = d.array((3, 4), d.pick(ALL))
    return (x, d.rng.integers(0, 3, 5)), {"axis": d.axis(x)}


def _taken_along(d: Draw) -> Call:
    x = d.array((3, 4), d.pick(ALL))
    return (x, d.rng.integers(0, 3, (3, 4))), {"axis": d.axis(x)}


def _chosen(d: Draw) -> Call:
    (a, b), _ = pair(ALL)(d)
    return (d.rng.random(d.pick([a.shape, b.shape])) < 0.5, a, b), {}


def _matrices(dtypes: list[str] = ALL) -> Callable[[Draw], Call]:
    return lambda d: ((d.array((*d.pick([(), (2,)]), *(int(n) for n in d.rng.integers(1, 4, 2))), d.pick(dtypes)),), {})


def _spectra(d: Draw) -> Call:
    x = d.array((int(d.rng.integers(1, 3)), int(d.rng.integers(2, 6))), d.pick(COMPLEX))
    return (x,), {"axis": d.axis(x), "norm": d.pick(["backward", "ortho", "forward"]), "n": d.pick([None, 3, 6])}


def _signals(d: Draw) -> Call:
    (x,), options = _spectra(d)
    return (np.ascontiguousarray(x.real),), options


def _wide(d: Draw) -> Call:
    return (d.array((3, 4), d.pick(COMPLEX)),), {
        "axes": d.pick([None, (0, 1), (1,)]),
        "norm": d.pick(["backward", "ortho"]),
    }


def _clipped(d: Draw) -> Call:
    x = d.any(NUMBERS)
    return (x,), {"min": d.pick([None, 1]), "max": d.pick([None, 2])}


keep = {"keepdims": Draw.flag}
CALLS: dict[str, Callable[[Draw], Call]] = {
    **dict.fromkeys(("sum", "prod"), along(NUMBERS + COMPLEX, **keep)),
    **dict.fromkeys(("max", "min"), along(NUMBERS, **keep)),
    "mean": along(REAL + COMPLEX, **keep),
    **dict.fromkeys(("any", "all", "count_nonzero"), along(ALL, **keep)),
    **dict.fromkeys(("std", "var"), along(REAL, correction=lambda d: d.pick([0.0, 1, 0.5]), **keep)),
    **dict.fromkeys(("argmax", "argmin"), along(NUMBERS, several=False, least=1, **keep)),
    **dict.fromkeys(
        ("cumulative_sum", "cumulative_prod"),
        along(NUMBERS + COMPLEX, several=False, least=1, include_initial=Draw.flag),
    ),
    **dict.fromkeys(("sort", "argsort"), along(NUMBERS, several=False, least=1, descending=Draw.flag)),
    "diff": along(NUMBERS + COMPLEX, several=False, least=1, n=lambda d: d.pick([0, 1, 2])),
    "flip": along(ALL),
    "roll": lambda d: ((x := d.any(ALL, 1), d.pick([1, -2, 5])), {"axis": d.pick([None, d.axis(x)])}),
    "expand_dims": lambda d: ((x := d.any(ALL),), {"axis": d.pick([0, -1, x.ndim])}),
    "squeeze": lambda d: ((d.array((1, 3, 1), d.pick(ALL)),), {"axis": d.pick([0, 2, -1, (0, 2)])}),
    "permute_dims": lambda d: ((x := d.any(ALL),), {"axes": tuple(int(a) for a in d.rng.permutation(x.ndim))}),
    "moveaxis": lambda d: ((x := d.any(ALL, 1), d.axis(x), d.axis(x)), {}),
    "reshape": lambda d: ((d.array((2, 6), d.pick(ALL)), d.pick([(12,), (3, 4), (-1, 2), (2, 1, 6)])), {}),
    "repeat": lambda d: ((x := d.any(ALL, 1), d.pick([0, 1, 3])), {"axis": d.pick([None, d.axis(x)])}),
    "tile": lambda d: ((d.any(ALL), d.pick([(2,), (2, 1), (1, 2, 3)])), {}),
    "broadcast_to": lambda d: ((d.array(d.pick([(3,), (2, 1), ()]), d.pick(ALL)), (4, 2, 3)), {}),
    "concat": _several,
    "stack": _several,
    "unstack": lambda d: ((x := d.any(ALL, 1),), {"axis": d.axis(x)}),
    "take": _taken,
    "take_along_axis": _taken_along,
    "where": _chosen,
    "nonzero": lambda d: ((d.any(ALL, 1),), {}),
    "searchsorted": _sorted,
    "clip": _clipped,
    **dict.fromkeys(("tril", "triu"), _matrices()),
    **{
        f"unique_{n}": lambda d: ((d.rng.integers(0, 4, d.shape()).astype(d.pick(NUMBERS)),), {})
        for n in ("values", "counts", "inverse", "all")
    },
    "matmul": _products,
    "vecdot": _same_rows,
    "matrix_transpose": _matrices(),
    "tensordot": lambda d: (
        (d.array((2, 3, 4), t := d.pick(NUMBERS + COMPLEX)), d.array((3, 4, 2), t)),
        {"axes": d.pick([2, ((1, 2), (0, 1)), ((0,), (2,))])},
    ),
    "linalg.outer": lambda d: ((d.array((3,), t := d.pick(NUMBERS + COMPLEX)), d.array((2,), t)), {}),
    "linalg.cross": lambda d: ((d.array((2, 3), t := d.pick(REAL + COMPLEX)), d.array((2, 3), t)), {"axis": -1}),
    **dict.fromkeys(("linalg.det", "linalg.inv", "linalg.slogdet"), lambda d: ((d.square(),), {})),
    **dict.fromkeys(("linalg.svdvals", "linalg.pinv", "linalg.matrix_rank"), _matrices(REAL + COMPLEX)),
    **dict.fromkeys(("linalg.eigvalsh",), lambda d: ((d.square(positive=True),), {})),
    "linalg.cholesky": lambda d: ((d.square(positive=True),), {"upper": d.flag()}),
    "linalg.solve": _solved,
    **dict.fromkeys(
        ("linalg.trace", "linalg.diagonal"),
        lambda d: (_matrices(NUMBERS + COMPLEX)(d)[0], {"offset": d.pick([0, 1, -1])}),
    ),
    "linalg.matrix_power": lambda d: ((d.square(), d.pick([0, 1, 3, -1])), {}),
    "linalg.matrix_norm": lambda d: (
        _matrices(REAL + COMPLEX)(d)[0],
        {"keepdims": d.flag(), "ord": d.pick(["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])},
    ),
    "linalg.vector_norm": along(REAL + COMPLEX, ord=lambda d: d.pick([2, 1, 0, np.inf, -np.inf, 3]), **keep),
    **dict.fromkeys(("fft.fft", "fft.ifft", "fft.irfft", "fft.hfft"), _spectra),
    **dict.fromkeys(("fft.rfft", "fft.ihfft"), _signals),
    **dict.fromkeys(("fft.fftn", "fft.ifftn"), _wide),
    **dict.fromkeys(
        ("fft.fftshift", "fft.ifftshift"), lambda d: ((x := d.any(NUMBERS, 1),), {"axes": d.pick([None, d.axis(x)])})
    ),
    "fft.fftfreq": lambda d: ((int(d.rng.integers(1, 9)),), {"d": 0.5}),
    "fft.rfftfreq": lambda d: ((int(d.rng.integers(1, 9)),), {"d": 0.5}),
    "zeros_like": lambda d: ((d.any(ALL),), {}),
    "ones_like": lambda d: ((d.any(ALL),), {}),
    "full_like": lambda d: ((d.any(NUMBERS), 3), {}),
    "arange": lambda d: ((0, 7, d.pick([1, 2, 3])), {}),
    "linspace": lambda d: ((0.0, 2.0, int(d.rng.integers(0, 6))), {"endpoint": d.flag()}),
    "eye": lambda d: ((int(d.rng.integers(0, 4)), d.pick([None, 2])), {"k": d.pick([0, 1, -1])}),
    "meshgrid": lambda d: ((d.array((2,), t := d.pick(ALL)), d.array((3,), t)), {"indexing": d.pick(["xy", "ij"])}),
}
for _name in ("abs", "negative", "positive", "square", "sign", "floor", "ceil", "round", "trunc", "isnan", "isfinite"):
    CALLS[_name] = lambda d: ((d.any(NUMBERS),), {})
for _name in ("add", "subtract", "multiply", "equal", "not_equal"):
    CALLS[_name] = pair(NUMBERS + COMPLEX)
for _name in ("less", "less_equal", "greater", "greater_equal", "maximum", "minimum", "remainder", "floor_divide"):
    CALLS[_name] = pair(NUMBERS)
for _name in ("divide", "pow"):
    CALLS[_name] = pair(REAL + COMPLEX)
for _name in ("atan2", "hypot", "logaddexp", "copysign", "nextafter"):
    CALLS[_name] = pair(REAL)
for _name in ("logical_and", "logical_or", "logical_xor"):
    CALLS[_name] = pair(["bool"])
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    CALLS[_name] = pair([*WHOLE, "bool"])


def under(space: Any, name: str) -> Any:
    for part in name.split("."):
        space = getattr(space, part)
    return space


def given(space: Any, value: Any) -> Any:
    """The arrays of an argument, made by that side."""
    if isinstance(value, np.ndarray):
        return strict.asarray(value) if space is strict else tg.tensor(value)
    return [given(space, v) for v in value] if isinstance(value, list) else value


def answer(space: Any, name: str, call: Call) -> Any:
    """What a call gives, as a list of NumPy's arrays; or the exception."""
    args, options = call
    try:
        with np.errstate(all="ignore"):
            found = under(space, name)(*(given(space, a) for a in args), **options)
    except CLEAR as error:
        return error
    parts = found if isinstance(found, tuple | list) else (found,)
    return [p.data if isinstance(p, tg.Tensor) else np.asarray(p) for p in parts]


@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_answer_is_the_reference_s(name: str) -> None:
    answered = 0
    for seed in range(DRAWN):
        call = CALLS[name](Draw(seed))
        expected, found = answer(strict, name, call), answer(tg, name, call)
        if isinstance(expected, Exception):
            continue
        what = f"{name}{tuple((a.dtype.name, a.shape) if isinstance(a, np.ndarray) else a for a in call[0])} {call[1]}"
        if isinstance(found, Exception):
            assert len(str(found)) > 10, f"{what}: refused, and not said why"
            continue
        answered += 1
        assert len(found) == len(expected), what
        if name == "unique_values":  # in no order that the standard knows
            found, expected = [np.sort(found[0])], [np.sort(expected[0])]
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.shape == theirs.shape, what
            assert mine.dtype == theirs.dtype, f"{what}: {mine.dtype}, the reference {theirs.dtype}"
            single = theirs.dtype.name in ("float32", "complex64")
            np.testing.assert_allclose(
                mine, theirs, rtol=2e-4 if single else 1e-9, atol=1e-4 if single else 1e-10, err_msg=what
            )
    assert answered >= DRAWN // 4, "hardly a call was answered on both sides"
