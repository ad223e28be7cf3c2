"""Records of special functions of one element, and of what has no derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.opdb import PAIRS, Array, Draw, Sample, anywhere, binary, off_zero, positive, record, unary


def between(low: float, high: float) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return np.asarray(rng.uniform(low, high, shape))

    return draw


INSIDE = between(-0.9, 0.9)
_DRAWS: dict[str, tuple[Draw, str, Any]] = {
    "arcsin": (INSIDE, "c", "arcsin"), "arccos": (INSIDE, "c", "arccos"), "arcsinh": (anywhere, "c", "arcsinh"),
    "arccosh": (between(1.2, 3), "c", "arccosh"), "arctanh": (INSIDE, "c", "arctanh"), "exp2": (anywhere, "", "exp2"),
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
