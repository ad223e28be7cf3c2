"""Records of primitives that work on each element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.opdb import (
    PAIRS,
    SHAPES,
    Sample,
    anywhere,
    apart,
    binary,
    off_zero,
    positive,
    record,
    strided,
    unary,
)

# ---------------------------------------------------------------- elementwise

for _name in ("add", "sub", "mul"):
    record(_name, binary(), torch=lambda t, a, b, n=_name: getattr(t, n)(a, b), complex="b")
record("div", binary(anywhere, off_zero, tied=False), torch=lambda t, a, b: a / b, complex="b")
record("neg", unary(), torch=lambda t, x: -x, complex="c")


def _powers(rng: np.random.Generator) -> list[Sample]:
    samples = binary(positive, anywhere, tied=False)(rng)
    return samples + [Sample((anywhere(rng, (2, 3)), p)) for p in (2, 3, 1, 0)] + [Sample((positive(rng, (3,)), -0.5))]


record("power", _powers, torch=lambda t, a, b: t.pow(a, b), complex="c")


def _modular(rng: np.random.Generator) -> list[Sample]:
    """Quotients away from the integers, where the floor jumps."""
    samples = []
    for a, b in PAIRS:
        samples.append(Sample((np.asarray(rng.integers(1, 4, a) + 0.5), np.full(b, 1.0))))
    return samples + [Sample((np.array([-2.5, 2.5]), np.array([2.0, -2.0])))]


record("mod", _modular, torch=lambda t, a, b: t.remainder(a, b))
record("floordiv", _modular)
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    record(_name, binary())


def _booleans(count: int) -> Callable[[np.random.Generator], list[Sample]]:
    def make(rng: np.random.Generator) -> list[Sample]:
        return [Sample(tuple(anywhere(rng, s) > 0 for s in (a, b)[:count])) for a, b in PAIRS]

    return make


record("logical_and", _booleans(2))
record("logical_or", _booleans(2))
record("logical_not", _booleans(1))


def _wheres(rng: np.random.Generator) -> list[Sample]:
    samples = [Sample((np.asarray(anywhere(rng, a) > 0), anywhere(rng, a), anywhere(rng, b))) for a, b in PAIRS]
    samples += [Sample((anywhere(rng, (2, 3)) > 0, anywhere(rng, (3,)), 0.0))]
    return samples + [Sample((a > 0, a, anywhere(rng, ()))) for a in strided(rng, anywhere)]


record("where", _wheres, torch=lambda t, c, a, b: t.where(c, a, b), complex="b")
record("maximum", apart, torch=lambda t, a, b: t.maximum(a, b))
record("minimum", apart, torch=lambda t, a, b: t.minimum(a, b))


def _clips(rng: np.random.Generator) -> list[Sample]:
    arrays = [off_zero(rng, s) for s in SHAPES] + strided(rng, off_zero)
    samples = [Sample((a, -0.3, 0.3)) for a in arrays] + [Sample((a, -3.0, 3.0)) for a in arrays]
    return [*samples, Sample((off_zero(rng, (2, 3)), np.array([-0.3]), np.array(0.2)))]


record("clip", _clips, torch=lambda t, x, a, b: t.clamp(x, *(t.as_tensor(v, dtype=x.dtype) for v in (a, b))))
record("abs", unary(off_zero), torch=lambda t, x: t.abs(x), complex="c")
record("sign", unary(off_zero), torch=lambda t, x: t.sgn(x), complex="c")
record("conj", unary(), torch=lambda t, x: t.conj(x).resolve_conj(), complex="c")
record("re", unary(), torch=lambda t, x: t.real(x), complex="c")
for _name, _draw in {
    "exp": anywhere, "expm1": anywhere, "log": positive, "log1p": positive, "sqrt": positive, "square": anywhere,
    "sin": anywhere, "cos": anywhere, "arctan": anywhere, "sinh": anywhere, "cosh": anywhere, "erf": anywhere,
    "tanh": anywhere, "sigmoid": anywhere, "relu": off_zero,
}.items():  # fmt: skip
    _kind = "" if _name in ("relu", "erf") else "c"
    record(_name, unary(_draw), torch=lambda t, x, n=_name: getattr(t, n)(x), complex=_kind)
record("tan", unary(lambda rng, s: np.asarray(rng.uniform(-1.2, 1.2, s))), torch=lambda t, x: t.tan(x), complex="c")
record("softplus", unary(), torch=lambda t, x: t.nn.functional.softplus(x, threshold=1e9))
record(
    "leaky_relu",
    unary(off_zero, slope=0.1),
    torch=lambda t, x, slope: t.nn.functional.leaky_relu(x, slope),
)
record("elu", unary(off_zero, alpha=1.0), torch=lambda t, x, alpha: t.nn.functional.elu(x, alpha))
record("logaddexp", binary(), torch=lambda t, a, b: t.logaddexp(a, b))
record("stop_gradient", unary(), complex="c")
record("astype", unary(anywhere, dtype="float64"))


def _settled(rng: np.random.Generator) -> list[Sample]:
    return [Sample((a, anywhere(rng, a.shape))) for a in [anywhere(rng, s) for s in SHAPES] + strided(rng, anywhere)]


record("settle", _settled, complex="c")
