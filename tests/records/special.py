"""Records of special functions of one element, and of what has no derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.opdb import PAIRS, Array, Draw, Sample, anywhere, binary, off_zero, positive, record, strided, unary


def between(low: float, high: float) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return np.asarray(rng.uniform(low, high, shape))

    return draw


INSIDE = between(-0.9, 0.9)
_DRAWS: dict[str, tuple[Draw, str, Any]] = {
    "arcsin": (INSIDE, "c", "arcsin"), "arccos": (INSIDE, "c", "arccos"), "arcsinh": (anywhere, "c", "arcsinh"),
    "arccosh": (between(1.2, 3), "c", "arccosh"), "arctanh": (INSIDE, "c", "arctanh"), "exp2": (anywhere, "c", "exp2"),
    "log2": (positive, "c", "log2"), "log10": (positive, "c", "log10"), "reciprocal": (off_zero, "c", "reciprocal"),
    "erfc": (anywhere, "", "erfc"), "erfinv": (INSIDE, "", "erfinv"), "gamma": (positive, "", None),
    "gammaln": (positive, "", "lgamma"), "digamma": (positive, "", None),
    "logit": (between(0.1, 0.9), "", "logit"),
    "cbrt": (off_zero, "", None),
}  # fmt: skip
for _name, (_draw, _complex, _torch) in _DRAWS.items():
    record(
        _name,
        unary(_draw),
        torch=None if _torch is None else lambda t, x, n=_torch: getattr(t, n)(x),
        complex=_complex,
    )
for _name, _draw, _torch in (
    ("ndtr", anywhere, "ndtr"), ("log_ndtr", anywhere, "log_ndtr"), ("ndtri", between(0.1, 0.9), "ndtri"),
    ("erfcinv", between(0.2, 1.8), None), ("erfcx", anywhere, "erfcx"), ("entr", positive, "entr"),
    ("j0", off_zero, "bessel_j0"), ("j1", off_zero, "bessel_j1"), ("i0", off_zero, "i0"), ("i1", off_zero, "i1"),
):  # fmt: skip
    # torch has the values of Bessel's J, and no gradient
    known = _torch if _torch is not None and "bessel" not in _torch else None
    record(_name, unary(_draw), torch=None if known is None else lambda t, x, n=known: getattr(t.special, n)(x))
record("beta", binary(positive))
record("betaln", binary(positive))


def single(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """What is not differentiated, in a dtype that widens no other."""
    return positive(rng, shape).astype(np.float32)


for _name in ("gammainc", "gammaincc"):
    record(_name, binary(single, positive, tied=False), constant=(0,))


def _shares(rng: np.random.Generator) -> list[Sample]:
    inside = between(0.1, 0.9)
    samples = [Sample((single(rng, a), single(rng, b), inside(rng, a))) for a, b in PAIRS]
    return samples + [Sample((single(rng, ()), single(rng, ()), x)) for x in strided(rng, inside)]


record("betainc", _shares, constant=(0, 1))
record("sinc", unary(), torch=lambda t, x: t.sinc(x))
record("polygamma", unary(positive, n=1))
record("arctan2", binary(off_zero, tied=False), torch=lambda t, a, b: t.atan2(a, b))
record("hypot", binary(off_zero), torch=lambda t, a, b: t.hypot(a, b))
record("xlogy", binary(anywhere, positive, tied=False), torch=lambda t, a, b: t.xlogy(a, b))
for _name in ("floor", "ceil", "trunc", "round", "isnan", "isinf", "isfinite", "signbit"):
    record(_name, unary())
record("logical_xor", lambda rng: [Sample((anywhere(rng, a) > 0, anywhere(rng, b) > 0)) for a, b in PAIRS])
record("positive", unary(), torch=lambda t, x: t.positive(x), complex="c")
record("copysign", binary(off_zero))
