"""Primitives that work on each element: arithmetic, comparisons, elementary functions.

Each states its partial derivatives; both modes of differentiation follow from them. Choices at kinks
(`KINKS`) are made here and nowhere else. Kernel strings use the functions of `kernels.math`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.primitive import Primitive, elementwise

Partials = tuple[Any, ...]
INF = math.inf

# What a derivative is where there is none, as tested.
KINKS = {
    "abs": "0 at 0",
    "copysign": "0 at 0",
    "angle": "0 at 0",
    "modrelu": "value and gradient 0 at 0 and up to the threshold |x| = -b",
    "reflect": "the identity, with gradient 0 with respect to r, at r = 0",
    "sign": "0 everywhere on reals; 0 at the complex 0",
    "relu": "0 at 0",
    "leaky_relu": "the slope at 0",
    "elu": "alpha at 0",
    "sqrt": "inf at 0",
    "maximum": "shared 1/2 and 1/2 between equal arguments",
    "minimum": "shared 1/2 and 1/2 between equal arguments",
    "max": "shared equally among ties",
    "min": "shared equally among ties",
    "clip": "1 on both bounds",
    "power": "0 with respect to x when p = 0; 0 with respect to p when x = 0",
    "logaddexp": "0 with respect to an argument that is -inf",
    "logsumexp": "0 with respect to an element that is -inf",
}


# ---------------------------------------------------------------- arithmetic

add = elementwise("add", np.add, tex="{0} + {1}", kernel="({0} + {1})", infix="+", complex_numbers=True, bounded=True)
sub = elementwise(
    "sub", np.subtract, tex="{0} - {1}", kernel="({0} - {1})", infix="-", complex_numbers=True, bounded=True
)
mul = elementwise("mul", np.multiply, tex=r"{0} \odot {1}", kernel="({0} * {1})", infix="*", complex_numbers=True)
div = elementwise(
    "div", np.divide, tex=r"\frac{{{0}}}{{{1}}}", kernel="({0} / {1})", infix="/", singular=True, complex_numbers=True
)
neg = elementwise("neg", np.negative, tex="-{0}", kernel="(-{0})", complex_numbers=True, bounded=True)
power = elementwise(
    "power",
    np.power,
    tex="{0}^{{{1}}}",
    kernel="power({0}, {1})",
    infix="**",
    singular=True,
    constant=1,
    complex_numbers=True,
    costly=True,
)
floordiv = elementwise(
    "floordiv",
    np.floor_divide,
    tex=r"\left\lfloor \frac{{{0}}}{{{1}}} \right\rfloor",
    kernel="floordiv({0}, {1})",
    infix="//",
)
mod = elementwise("mod", np.mod, tex=r"{0} \bmod {1}", kernel="mod({0}, {1})", infix="%", singular=True)


@add.partials
def add_partials(y: Any, a: Any, b: Any) -> Partials:
    return (1, 1)


@sub.partials
def sub_partials(y: Any, a: Any, b: Any) -> Partials:
    return (1, -1)


@mul.partials
def mul_partials(y: Any, a: Any, b: Any) -> Partials:
    return (b, a)


@div.partials
def div_partials(y: Any, a: Any, b: Any) -> Partials:
    return (1 / b, -y / b)


@neg.partials
def neg_partials(y: Any, x: Any) -> Partials:
    return (-1,)


@power.partials
def power_partials(y: Any, x: Any, p: Any) -> Partials:
    """x**0 is constant even at x = 0, where p*x**(p-1) would be 0*inf; and 0**p does not move with p > 0."""
    return (where(equal(p, 0), 0, p * x ** (p - 1)), where(equal(x, 0), 0, y * log(x)))


@floordiv.partials
def floordiv_partials(y: Any, a: Any, b: Any) -> Partials:
    return (None, None)


@mod.partials
def mod_partials(y: Any, a: Any, b: Any) -> Partials:
    return (1, -floordiv(a, b))


# ---------------------------------------------------------------- comparisons, no derivative

equal = elementwise(
    "equal", np.equal, tex="{0} = {1}", kernel="({0} == {1})", infix="==", complex_numbers=True, bounded=True
)
not_equal = elementwise(
    "not_equal",
    np.not_equal,
    tex=r"{0} \neq {1}",
    kernel="({0} != {1})",
    infix="!=",
    complex_numbers=True,
    bounded=True,
)
less = elementwise("less", np.less, tex="{0} < {1}", kernel="({0} < {1})", infix="<", bounded=True)
less_equal = elementwise(
    "less_equal", np.less_equal, tex=r"{0} \le {1}", kernel="({0} <= {1})", infix="<=", bounded=True
)
greater = elementwise("greater", np.greater, tex="{0} > {1}", kernel="({0} > {1})", infix=">", bounded=True)
greater_equal = elementwise(
    "greater_equal", np.greater_equal, tex=r"{0} \ge {1}", kernel="({0} >= {1})", infix=">=", bounded=True
)
logical_and = elementwise(
    "logical_and", np.logical_and, tex=r"{0} \land {1}", kernel="({0} and {1})", complex_numbers=True
)
logical_or = elementwise("logical_or", np.logical_or, tex=r"{0} \lor {1}", kernel="({0} or {1})", complex_numbers=True)
logical_not = elementwise("logical_not", np.logical_not, tex=r"\lnot {0}", kernel="(not {0})", complex_numbers=True)


# ---------------------------------------------------------------- choices

where = elementwise(
    "where",
    np.where,
    tex=r"\begin{{cases}} {1} & {0} \\ {2} & \text{{otherwise}} \end{{cases}}",
    kernel="where({0}, {1}, {2})",
    complex_numbers=True,
    bounded=True,
)
maximum = elementwise("maximum", np.maximum, tex=r"\max({0}, {1})", kernel="maximum({0}, {1})", bounded=True)
minimum = elementwise("minimum", np.minimum, tex=r"\min({0}, {1})", kernel="minimum({0}, {1})", bounded=True)
clip = elementwise("clip", np.clip, tex=r"\operatorname{{clip}}({0}, {1}, {2})", kernel="clip({0}, {1}, {2})")


@where.partials
def where_partials(y: Any, c: Any, a: Any, b: Any) -> Partials:
    return (None, where(c, 1, 0), where(c, 0, 1))


@maximum.partials
def maximum_partials(y: Any, a: Any, b: Any) -> Partials:
    return (
        where(equal(a, b), 0.5, where(greater(a, b), 1, 0)),
        where(equal(a, b), 0.5, where(greater(a, b), 0, 1)),
    )


@minimum.partials
def minimum_partials(y: Any, a: Any, b: Any) -> Partials:
    return (
        where(equal(a, b), 0.5, where(less(a, b), 1, 0)),
        where(equal(a, b), 0.5, where(less(a, b), 0, 1)),
    )


@clip.partials
def clip_partials(y: Any, x: Any, low: Any, high: Any) -> Partials:
    """min(max(x, low), high): where low is above high, it is high that counts. Not by comparing x with y: who computes
    x again, another rounding of it, must find the same side."""
    over, under = greater(maximum(x, low), high), less(x, low)
    return (where(under, 0, where(greater(x, high), 0, 1)), where(over, 0, where(under, 1, 0)), where(over, 1, 0))


# ---------------------------------------------------------------- parts of a number


def _conj(x: Any) -> Any:
    return np.conjugate(x) if np.iscomplexobj(x) else x


def _re(x: Any) -> Any:
    return np.asarray(x).real


def _im(x: Any) -> Any:
    return np.asarray(x).imag


abs_ = elementwise("abs", np.abs, tex=r"\left|{0}\right|", kernel="abs({0})", complex_numbers=True)
sign = elementwise("sign", np.sign, tex=r"\operatorname{{sign}}({0})", kernel="sign({0})", complex_numbers=True)
conj = elementwise("conj", _conj, tex=r"\overline{{{0}}}", kernel="conj({0})", complex_numbers=True, bounded=True)
re = elementwise("re", _re, tex=r"\operatorname{{Re}}({0})", kernel="re({0})", complex_numbers=True, bounded=True)
im = elementwise("im", _im, tex=r"\operatorname{{Im}}({0})", kernel="im({0})", complex_numbers=True, bounded=True)


@abs_.rule
def abs_rule(g: Any, y: Any, x: Any) -> Partials:
    """sign(z) is z/|z|, 0 at 0; on reals the usual sign."""
    return (g * sign(x),)


@sign.rule
def sign_rule(g: Any, y: Any, x: Any) -> Partials:
    """z/|z| only turns: what is left of g is its part across y. On reals there is none."""
    return (im(conj(y) * g) * (1j * y) / where(equal(x, 0), 1, abs_(x)),)


@conj.rule
def conj_rule(g: Any, y: Any, z: Any) -> Partials:
    """With ∂L/∂re + i ∂L/∂im as the gradient, conjugating the value conjugates the gradient."""
    return (conj(g),)


@re.rule
def re_rule(g: Any, y: Any, z: Any) -> Partials:
    return (re(g),)


@im.rule
def im_rule(g: Any, y: Any, z: Any) -> Partials:
    return (re(g) * 1j,)  # the imaginary unit at the right: Python's complex * NumPy's float is no array


# ---------------------------------------------------------------- elementary functions


def _erf(x: Any) -> Any:
    from scipy.special import erf  # a slow import that most programs do without

    return erf(x)


exp = elementwise(
    "exp",
    np.exp,
    tex=r"\exp({0})",
    kernel="exp({0})",
    singular=True,
    complex_numbers=True,
    costly=True,
    activation=True,
)
expm1 = elementwise(
    "expm1",
    np.expm1,
    tex=r"\operatorname{{expm1}}({0})",
    kernel="expm1({0})",
    singular=True,
    complex_numbers=True,
    costly=True,
)
log = elementwise("log", np.log, tex=r"\log({0})", kernel="log({0})", singular=True, complex_numbers=True, costly=True)
log1p = elementwise(
    "log1p",
    np.log1p,
    tex=r"\operatorname{{log1p}}({0})",
    kernel="log1p({0})",
    singular=True,
    complex_numbers=True,
    costly=True,
)
sqrt = elementwise(
    "sqrt", np.sqrt, tex=r"\sqrt{{{0}}}", kernel="sqrt({0})", singular=True, complex_numbers=True, costly=True
)
square = elementwise("square", np.square, tex="{0}^2", kernel="({0} * {0})", singular=True, complex_numbers=True)
sin = elementwise(
    "sin", np.sin, tex=r"\sin({0})", kernel="sin({0})", complex_numbers=True, costly=True, activation=True
)
cos = elementwise(
    "cos", np.cos, tex=r"\cos({0})", kernel="cos({0})", complex_numbers=True, costly=True, activation=True
)
tan = elementwise(
    "tan",
    np.tan,
    tex=r"\tan({0})",
    kernel="tan({0})",
    singular=True,
    complex_numbers=True,
    costly=True,
    activation=True,
)
arctan = elementwise(
    "arctan", np.arctan, tex=r"\arctan({0})", kernel="arctan({0})", complex_numbers=True, costly=True, activation=True
)
sinh = elementwise(
    "sinh",
    np.sinh,
    tex=r"\sinh({0})",
    kernel="sinh({0})",
    singular=True,
    complex_numbers=True,
    costly=True,
    activation=True,
)
cosh = elementwise(
    "cosh",
    np.cosh,
    tex=r"\cosh({0})",
    kernel="cosh({0})",
    singular=True,
    complex_numbers=True,
    costly=True,
    activation=True,
)
erf = elementwise(
    "erf", _erf, tex=r"\operatorname{{erf}}({0})", kernel="erf({0})", complex_numbers=True, costly=True, activation=True
)
logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    tex=r"\log(e^{{{0}}} + e^{{{1}}})",
    kernel="logaddexp({0}, {1})",
    costly=True,
    bounded=True,
)


@exp.partials
def exp_partials(y: Any, x: Any) -> Partials:
    return (y,)


@expm1.partials
def expm1_partials(y: Any, x: Any) -> Partials:
    return (y + 1,)


@log.partials
def log_partials(y: Any, x: Any) -> Partials:
    return (1 / x,)


@log1p.partials
def log1p_partials(y: Any, x: Any) -> Partials:
    return (1 / (1 + x),)


@sqrt.partials
def sqrt_partials(y: Any, x: Any) -> Partials:
    return (0.5 / y,)


@square.partials
def square_partials(y: Any, x: Any) -> Partials:
    return (2 * x,)


@sin.partials
def sin_partials(y: Any, x: Any) -> Partials:
    return (cos(x),)


@cos.partials
def cos_partials(y: Any, x: Any) -> Partials:
    return (-sin(x),)


@tan.partials
def tan_partials(y: Any, x: Any) -> Partials:
    return (1 + y * y,)


@arctan.partials
def arctan_partials(y: Any, x: Any) -> Partials:
    return (1 / (1 + x * x),)


@sinh.partials
def sinh_partials(y: Any, x: Any) -> Partials:
    return (cosh(x),)


@cosh.partials
def cosh_partials(y: Any, x: Any) -> Partials:
    return (sinh(x),)


@erf.partials
def erf_partials(y: Any, x: Any) -> Partials:
    return ((2 / math.sqrt(math.pi)) * exp(-x * x),)


@logaddexp.partials
def logaddexp_partials(y: Any, a: Any, b: Any) -> Partials:
    """exp(a - y), but 0 for a = -inf, where y may be -inf too."""
    return (where(equal(a, -INF), 0, exp(a - y)), where(equal(b, -INF), 0, exp(b - y)))


# ---------------------------------------------------------------- for the tape


def _settle(e: Any, g: Any) -> Any:
    finite = np.isfinite(e)
    return e if finite.all() else np.where(finite | np.not_equal(g, 0), e, np.zeros((), np.asarray(e).dtype))


stop_gradient = elementwise(
    "stop_gradient",
    lambda x: x,
    tex=r"\operatorname{{stop\_gradient}}({0})",
    kernel="{0}",
    complex_numbers=True,
    bounded=True,
)
astype = Primitive(
    "astype",
    lambda x, *, dtype: np.asarray(x).astype(dtype),
    shape=lambda s, *, dtype: s,
    tex="{0}",
    kernel="{0}",
    complex_numbers=True,
)
settle = elementwise("settle", _settle, tex="{0}", complex_numbers=True)


@astype.rule
def astype_rule(g: Any, y: Any, x: Any, *, dtype: str) -> Partials:
    """The tape casts every cotangent to its input's dtype."""
    return (g,)


@settle.rule
def settle_rule(h: Any, y: Any, e: Any, g: Any) -> Partials:
    """`settle(e, g)` is e, but 0 where e is not finite although the cotangent g it came from is 0:
    what an untaken branch of `where` sends to a singular derivative. Nothing flows back there."""
    return (where(equal(e, y), h, 0), None)
