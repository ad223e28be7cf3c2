"""Operations that are made of others, written once for all targets.

A target that knows a shorter way names it in its table; in a Python target any other becomes a function of the exported
file, with this docstring, and in a graph the nodes themselves. They must not depend on how many dims their arguments
have, other than those of the features at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from dsl.export.arrays import Array, Arrays
from dsl.export.formulas import formula

Composite = Callable[..., Array]


COMPOSITES: dict[str, Composite] = {}


def composite(function: Composite) -> Composite:
    COMPOSITES[function.__name__] = function
    return function


def composite_of(name: str) -> Composite | None:
    """The composite of this name; of a user's own primitive, what its kernel says."""
    return COMPOSITES.get(name) or formula(name)


# ---------------------------------------------------------------- steps of ragged sequences


@composite
def look(o: Arrays, value: Array, index: Array, length: Array, edge: Array) -> Array:
    """A stream (steps, B, ...) at one step a sequence, `edge` (1, B, ...) where it has no such step."""
    inside = o("logical_and", o("greater_equal", index, 0), o("less", index, length))
    found = o("where", inside, index, o.length(value, 0))
    return o.gather(o.concat([value, edge], "longer"), found, o.count(value, 1))


@composite
def step_of_both(o: Arrays, value: Array, index: Array, length: Array, second: Array, other: Array) -> Array:
    """A step of each of the first two axes of a stream as one step of both together; -1 where there is none."""
    inside = o("logical_and", o("greater_equal", index, 0), o("less", index, length))
    inside = o("logical_and", inside, o("logical_and", o("greater_equal", second, 0), o("less", second, other)))
    return o("where", inside, o("add", o("mul", index, o.length(value, 1)), second), -1)


@composite
def look_at(o: Arrays, value: Array, index: Array, length: Array, second: Array, other: Array, edge: Array) -> Array:
    """A stream (steps, steps, B, ...) at one step of each axis, `edge` (1, B, ...) where there is none."""
    step, whole = o.call("step_of_both", value, index, length, second, other), o.flat(value)
    found = o("where", o("greater_equal", step, 0), step, o.length(whole, 0))
    return o.gather(o.concat([whole, edge], "longer"), found, o.count(value, 2))


@composite
def recalled(o: Arrays, values: Array, ran: Array, edge: Array) -> Array:
    """The last values of a stream (lag, B, ...) in an earlier call; `edge` for steps before its first."""
    back = o("sub", o.length(values, 0), o.count(values, 0))
    there = o("greater_equal", ran, o.behind(back, 1))
    return o("where", o.behind(there, values.rank - 2), values, edge)


@composite
def latest(o: Arrays, before: Array, values: Array, length: Array) -> Array:
    """The last values of a stream (lag, B, ...) after its steps (steps, B, ...), with those that were before them."""
    every = o.concat([before, values], "longer")
    index = o("add", o.behind(o.count(before, 0), 1), length)
    return o.gather(every, index, o.count(values, 1))


# ---------------------------------------------------------------- categories


@composite
def columns(o: Arrays, matrix: Array, index: Array) -> Array:
    """Columns of a matrix (H, K) by category; none, which is -1, is the zero vector."""
    found = o.gather(o.transpose(matrix), o("maximum", index, 0))
    return o("where", o.behind(o("greater_equal", index, 0), 1), found, 0.0)


@composite
def cross_entropy(o: Arrays, logits: Array, target: Array) -> Array:
    """-log softmax(logits)[target]; none, which is -1, chooses nothing."""
    chosen = o.gather_last(logits, o("maximum", target, 0))
    chosen = o("where", o("greater_equal", target, 0), chosen, 0.0)
    return o("sub", o.reduce("logsumexp", logits, -1), chosen)


@composite
def categorical_icdf(o: Arrays, p: Array, u: Array) -> Array:
    """The last category k with p[k] > 0 and p[0] + ... + p[k-1] <= u; -1 without one."""
    before = o("sub", o.along("cumsum", p, -1), p)
    possible = o("logical_and", o("greater", p, 0.0), o("less_equal", before, o.behind(u, 1)))
    return o.reduce("max", o("where", possible, o.count(p, -1), -1), -1)


# ---------------------------------------------------------------- functions of numbers


@composite
def absolute(o: Arrays, x: Array) -> Array:
    """|x|, with slope 0 at 0."""
    return o("hypot", o("re", x), o("im", x)) if x.kind == "complex" else o("mul", x, o("sign", x))


@composite
def softplus(o: Arrays, x: Array) -> Array:
    """log(1 + exp(x)), for large |x| too."""
    return o("add", o("maximum", x, 0.0), o("log1p", o("exp", o("neg", o("abs", x)))))


@composite
def logaddexp(o: Arrays, a: Array, b: Array) -> Array:
    """log(exp(a) + exp(b)); what is log 0 adds nothing, and has no gradient."""
    first, second = o("greater", a, -math.inf), o("greater", b, -math.inf)
    both = o("logical_and", first, second)
    x, y = o("where", both, a, 0.0), o("where", both, b, 0.0)
    gap = o("neg", o("abs", o("sub", x, y)))
    total = o("add", o("maximum", x, y), o("log1p", o("exp", gap)))
    one = o("where", first, a, o("where", second, b, -math.inf))
    return o("where", both, total, one)


@composite
def leaky_relu(o: Arrays, x: Array, slope: Array) -> Array:
    """x where it is positive, else x times the slope."""
    return o("where", o("greater", x, 0.0), x, o("mul", slope, x))


@composite
def elu(o: Arrays, x: Array, alpha: Array) -> Array:
    """x where it is positive, else alpha (exp(x) - 1)."""
    return o("where", o("greater", x, 0.0), x, o("mul", alpha, o("expm1", o("where", o("greater", x, 0.0), 0.0, x))))


@composite
def tan(o: Arrays, x: Array) -> Array:
    """sin(x) / cos(x)."""
    return o("div", o("sin", x), o("cos", x))


@composite
def sinh(o: Arrays, x: Array) -> Array:
    """(exp(x) - exp(-x)) / 2."""
    return o("mul", 0.5, o("sub", o("exp", x), o("exp", o("neg", x))))


@composite
def cosh(o: Arrays, x: Array) -> Array:
    """(exp(x) + exp(-x)) / 2."""
    return o("mul", 0.5, o("add", o("exp", x), o("exp", o("neg", x))))


@composite
def expm1(o: Arrays, x: Array) -> Array:
    """exp(x) - 1 = 2 tanh(x/2) / (1 - tanh(x/2)), without cancellation near 0."""
    half = o("tanh", o("mul", 0.5, o("minimum", x, 1.0)))
    small = o("div", o("mul", 2.0, half), o("sub", 1.0, half))
    return o("where", o("less", x, 0.5), small, o("sub", o("exp", x), 1.0))


@composite
def log1p(o: Arrays, x: Array) -> Array:
    """log(1 + x), without cancellation near 0 (Kahan): log(u) x / (u - 1) for u = 1 + x."""
    u = o("add", 1.0, x)
    rounded = o("equal", u, 1.0)
    safe = o("where", rounded, 2.0, u)
    return o("where", rounded, x, o("div", o("mul", o("log", safe), x), o("sub", safe, 1.0)))


@composite
def exp2(o: Arrays, x: Array) -> Array:
    """2 to the power of x."""
    return o("exp", o("mul", math.log(2), x))


@composite
def log2(o: Arrays, x: Array) -> Array:
    """The logarithm of base 2."""
    return o("mul", 1 / math.log(2), o("log", x))


@composite
def log10(o: Arrays, x: Array) -> Array:
    """The logarithm of base 10."""
    return o("mul", 1 / math.log(10), o("log", x))


@composite
def cbrt(o: Arrays, x: Array) -> Array:
    """The cubic root, of negative numbers too."""
    return o("mul", o("sign", x), o("power", o("abs", x), 1 / 3))


@composite
def hypot(o: Arrays, a: Array, b: Array) -> Array:
    """sqrt(a² + b²), with slope 0 where both are."""
    square = o("add", o("square", a), o("square", b))
    positive = o("greater", square, 0.0)
    return o("where", positive, o("sqrt", o("where", positive, square, 1.0)), 0.0)


@composite
def arctan2(o: Arrays, a: Array, b: Array) -> Array:
    """The angle of the point (b, a)."""
    safe = o("where", o("equal", b, 0.0), 1.0, b)
    half = o("where", o("less", a, 0.0), -math.pi / 2, math.pi / 2)
    left = o("add", o("arctan", o("div", a, safe)), o("where", o("less", a, 0.0), -math.pi, math.pi))
    right = o("arctan", o("div", a, safe))
    angle = o("where", o("less", b, 0.0), left, right)
    upright = o("where", o("equal", a, 0.0), 0.0, half)
    return o("where", o("equal", b, 0.0), upright, angle)


@composite
def xlogy(o: Arrays, a: Array, b: Array) -> Array:
    """a log(b), 0 where a is, even of log 0."""
    nothing = o("equal", a, 0.0)
    return o("where", nothing, 0.0, o("mul", a, o("log", o("where", nothing, 1.0, b))))


@composite
def erfc(o: Arrays, x: Array) -> Array:
    """1 - erf(x)."""
    return o("sub", 1.0, o("erf", x))


@composite
def gamma(o: Arrays, x: Array) -> Array:
    """The gamma function; left of 0 by its reflection formula."""
    right = o("greater", x, 0.0)
    value = o("exp", o("gammaln", o("where", right, x, o("sub", 1.0, x))))
    return o("where", right, value, o("div", math.pi, o("mul", o("sin", o("mul", math.pi, x)), value)))


@composite
def logit(o: Arrays, x: Array) -> Array:
    """The inverse of the logistic function."""
    return o("sub", o("log", x), o("log1p", o("neg", x)))


@composite
def sinc(o: Arrays, x: Array) -> Array:
    """sin(πx)/(πx), and 1 at 0."""
    middle = o("equal", x, 0.0)
    angle = o("mul", math.pi, o("where", middle, 1.0, x))
    return o("where", middle, 1.0, o("div", o("sin", angle), angle))


@composite
def trunc(o: Arrays, x: Array) -> Array:
    """Towards 0."""
    return o("where", o("less", x, 0.0), o("ceil", x), o("floor", x))


@composite
def isfinite(o: Arrays, x: Array) -> Array:
    """Neither infinite nor NaN."""
    return o("logical_not", o("logical_or", o("isnan", x), o("isinf", x)))


@composite
def logical_xor(o: Arrays, a: Array, b: Array) -> Array:
    """One of them."""
    return o("logical_and", o("logical_or", a, b), o("logical_not", o("logical_and", a, b)))


# ---------------------------------------------------------------- complex numbers


@composite
def cis(o: Arrays, x: Array) -> Array:
    """The point of the unit circle at an angle: exp(ix)."""
    return o("exp", o("mul", 1j, x))


@composite
def direction(o: Arrays, x: Array) -> Array:
    """x/|x|, and 0 at 0."""
    alive = o("greater", o("abs", x), 0.0)
    safe = o("where", alive, x, 1.0)
    return o("where", alive, o("div", safe, o("abs", safe)), 0.0)


@composite
def modrelu(o: Arrays, x: Array, b: Array) -> Array:
    """relu(|x| + b) x/|x|, and 0 at 0 (Arjovsky, Shah and Bengio 2016)."""
    alive = o("logical_and", o("greater", o("abs", x), 0.0), o("greater", o("add", o("abs", x), b), 0.0))
    safe = o("where", alive, x, 1.0)
    radius = o("abs", safe)
    return o("where", alive, o("mul", o("add", radius, b), o("div", safe, radius)), 0.0)


@composite
def reflect(o: Arrays, r: Array, x: Array) -> Array:
    """Householder's reflection x - 2 r (rᴴx)/(rᴴr), x for r = 0."""
    along = o.reduce("sum", o("mul", o("conj", r), x), -1, keep=True)
    return o("sub", x, o("mul", o("mul", o.call("twice_over_square", r), r), along))


@composite
def reflect_adjoint(o: Arrays, g: Array, r: Array, x: Array) -> Array:
    """The slope with respect to r of the reflection of x, for the slope g with respect to its result."""
    twice = o.call("twice_over_square", r)
    back = o("conj", o.reduce("sum", o("mul", o("conj", r), x), -1, keep=True))
    out = o.reduce("sum", o("mul", o("conj", g), r), -1, keep=True)
    both = o("mul", o("mul", o("re", o("mul", out, o("conj", back))), twice), r)
    return o("mul", twice, o("sub", o("sub", both, o("mul", back, g)), o("mul", out, x)))


@composite
def twice_over_square(o: Arrays, r: Array) -> Array:
    """2/(rᴴr), 0 for r = 0, kept as a dim of 1."""
    size = o.reduce("sum", o("re", o("mul", o("conj", r), r)), -1, keep=True)
    nothing = o("equal", size, 0.0)
    return o("where", nothing, 0.0, o("div", 2.0, o("where", nothing, 1.0, size)))


@composite
def permute(o: Arrays, places: Array, x: Array) -> Array:
    """x[..., places], for places that are whole numbers of any type."""
    return o.make("take_last", (x, o.cast(places, "int")), (), x.sizes, x.kind)


@composite
def unpermute(o: Arrays, places: Array, x: Array) -> Array:
    """The inverse of permute."""
    inverse = o.make("argsort", (o.cast(places, "int"),), (), places.sizes, "int")
    return o.make("take_last", (x, inverse), (), x.sizes, x.kind)
