"""Primitives that work on each element: arithmetic, comparisons, elementary functions, activations.

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

add = elementwise("add", np.add, tex="{0} + {1}", kernel="({0} + {1})", infix="+")
sub = elementwise("sub", np.subtract, tex="{0} - {1}", kernel="({0} - {1})", infix="-")
mul = elementwise("mul", np.multiply, tex=r"{0} \odot {1}", kernel="({0} * {1})", infix="*")
div = elementwise("div", np.divide, tex=r"\frac{{{0}}}{{{1}}}", kernel="({0} / {1})", infix="/", singular=True)
neg = elementwise("neg", np.negative, tex="-{0}", kernel="(-{0})")
power = elementwise(
    "power", np.power, tex="{0}^{{{1}}}", kernel="power({0}, {1})", infix="**", singular=True, constant=1
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

equal = elementwise("equal", np.equal, tex="{0} = {1}", kernel="({0} == {1})", infix="==")
not_equal = elementwise("not_equal", np.not_equal, tex=r"{0} \neq {1}", kernel="({0} != {1})", infix="!=")
less = elementwise("less", np.less, tex="{0} < {1}", kernel="({0} < {1})", infix="<")
less_equal = elementwise("less_equal", np.less_equal, tex=r"{0} \le {1}", kernel="({0} <= {1})", infix="<=")
greater = elementwise("greater", np.greater, tex="{0} > {1}", kernel="({0} > {1})", infix=">")
greater_equal = elementwise("greater_equal", np.greater_equal, tex=r"{0} \ge {1}", kernel="({0} >= {1})", infix=">=")
logical_and = elementwise("logical_and", np.logical_and, tex=r"{0} \land {1}", kernel="({0} and {1})")
logical_or = elementwise("logical_or", np.logical_or, tex=r"{0} \lor {1}", kernel="({0} or {1})")
logical_not = elementwise("logical_not", np.logical_not, tex=r"\lnot {0}", kernel="(not {0})")


# ---------------------------------------------------------------- choices

where = elementwise(
    "where",
    np.where,
    tex=r"\begin{{cases}} {1} & {0} \\ {2} & \text{{otherwise}} \end{{cases}}",
    kernel="where({0}, {1}, {2})",
)
maximum = elementwise("maximum", np.maximum, tex=r"\max({0}, {1})", kernel="maximum({0}, {1})", ordered=True)
minimum = elementwise("minimum", np.minimum, tex=r"\min({0}, {1})", kernel="minimum({0}, {1})", ordered=True)
clip = elementwise(
    "clip", np.clip, tex=r"\operatorname{{clip}}({0}, {1}, {2})", kernel="clip({0}, {1}, {2})", ordered=True
)


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


abs_ = elementwise("abs", np.abs, tex=r"\left|{0}\right|", kernel="abs({0})")
sign = elementwise("sign", np.sign, tex=r"\operatorname{{sign}}({0})", kernel="sign({0})")
conj = elementwise("conj", _conj, tex=r"\overline{{{0}}}", kernel="conj({0})")
re = elementwise("re", _re, tex=r"\operatorname{{Re}}({0})", kernel="re({0})")
im = elementwise("im", _im, tex=r"\operatorname{{Im}}({0})", kernel="im({0})")


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


exp = elementwise("exp", np.exp, tex=r"\exp({0})", kernel="exp({0})", singular=True)
expm1 = elementwise("expm1", np.expm1, tex=r"\operatorname{{expm1}}({0})", kernel="expm1({0})", singular=True)
log = elementwise("log", np.log, tex=r"\log({0})", kernel="log({0})", singular=True)
log1p = elementwise("log1p", np.log1p, tex=r"\operatorname{{log1p}}({0})", kernel="log1p({0})", singular=True)
sqrt = elementwise("sqrt", np.sqrt, tex=r"\sqrt{{{0}}}", kernel="sqrt({0})", singular=True)
square = elementwise("square", np.square, tex="{0}^2", kernel="({0} * {0})", singular=True)
sin = elementwise("sin", np.sin, tex=r"\sin({0})", kernel="sin({0})")
cos = elementwise("cos", np.cos, tex=r"\cos({0})", kernel="cos({0})")
tan = elementwise("tan", np.tan, tex=r"\tan({0})", kernel="tan({0})", singular=True)
arctan = elementwise("arctan", np.arctan, tex=r"\arctan({0})", kernel="arctan({0})")
sinh = elementwise("sinh", np.sinh, tex=r"\sinh({0})", kernel="sinh({0})", singular=True)
cosh = elementwise("cosh", np.cosh, tex=r"\cosh({0})", kernel="cosh({0})", singular=True)
erf = elementwise("erf", _erf, tex=r"\operatorname{{erf}}({0})", kernel="erf({0})")
logaddexp = elementwise(
    "logaddexp", np.logaddexp, tex=r"\log(e^{{{0}}} + e^{{{1}}})", kernel="logaddexp({0}, {1})", ordered=True
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


# ---------------------------------------------------------------- activations


def _softplus(x: Any) -> Any:
    """log(1 + e^x) without overflow: max(x, 0) + log1p(e^-|x|)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_ONE = {char: np.ones((), char) for char in "fd"}  # an array at hand: a number would be made into one at each call


def _sigmoid(x: Any) -> Any:
    """1/(1 + e^-x), with all digits down to where e^-x overflows, and 0 below."""
    if isinstance(x, np.ndarray) and x.size > 256 and x.dtype.char in "fd":  # NumPy's exponential is vector code
        y = np.negative(x)
        with np.errstate(over="ignore"):
            np.exp(y, y)
        np.add(y, _ONE[y.dtype.char], y)
        return np.reciprocal(y, y)
    if isinstance(x, complex | np.complexfloating) or (isinstance(x, np.ndarray) and x.dtype.kind == "c"):
        return 0.5 * (1 + np.tanh(0.5 * x))
    return _expit(x)


def _expit(x: Any) -> Any:
    global _expit
    from scipy.special import expit  # a slow import that compiled cells do without

    _expit = expit
    return expit(x)


def _leaky_relu(x: Any, *, slope: float = 0.1) -> Any:
    return np.where(np.greater(x, 0), x, slope * x)


def _elu(x: Any, *, alpha: float = 1.0) -> Any:
    return np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0)))


tanh = elementwise("tanh", np.tanh, tex=r"\tanh({0})", kernel="tanh({0})")
sigmoid = elementwise("sigmoid", _sigmoid, tex=r"\sigma({0})", kernel="sigmoid({0})")
relu = elementwise(
    "relu", lambda x: np.maximum(x, 0), tex=r"\operatorname{{relu}}({0})", kernel="maximum({0}, 0)", ordered=True
)
softplus = elementwise(
    "softplus", _softplus, tex=r"\operatorname{{softplus}}({0})", kernel="softplus({0})", ordered=True
)
leaky_relu = elementwise(
    "leaky_relu",
    _leaky_relu,
    tex=r"\operatorname{{leaky\_relu}}({0})",
    kernel="where({0} > 0, {0}, {slope} * {0})",
    ordered=True,
)
elu = elementwise(
    "elu",
    _elu,
    tex=r"\operatorname{{elu}}({0})",
    kernel="where({0} > 0, {0}, {alpha} * expm1(minimum({0}, 0)))",
    ordered=True,
)


@tanh.partials
def tanh_partials(y: Any, x: Any) -> Partials:
    """(1+y)(1-y), not 1-y*y: no cancellation as |y| → 1."""
    return ((1 + y) * (1 - y),)


@sigmoid.partials
def sigmoid_partials(y: Any, x: Any) -> Partials:
    return (y * (1 - y),)


@relu.partials
def relu_partials(y: Any, x: Any) -> Partials:
    return (where(greater(y, 0), 1, 0),)


@softplus.partials
def softplus_partials(y: Any, x: Any) -> Partials:
    return (sigmoid(x),)


@leaky_relu.partials
def leaky_relu_partials(y: Any, x: Any, *, slope: float = 0.1) -> Partials:
    return (where(greater(x, 0), 1, slope),)


@elu.partials
def elu_partials(y: Any, x: Any, *, alpha: float = 1.0) -> Partials:
    return (where(greater(x, 0), 1, y + alpha),)


# ---------------------------------------------------------------- for the tape


def _settle(e: Any, g: Any) -> Any:
    finite = np.isfinite(e)
    return e if finite.all() else np.where(finite | np.not_equal(g, 0), e, np.zeros((), np.asarray(e).dtype))


stop_gradient = elementwise("stop_gradient", lambda x: x, tex=r"\operatorname{{stop\_gradient}}({0})", kernel="{0}")
astype = Primitive(
    "astype", lambda x, *, dtype: np.asarray(x).astype(dtype), shape=lambda s, *, dtype: s, tex="{0}", kernel="{0}"
)
settle = elementwise("settle", _settle, tex="{0}")


@astype.rule
def astype_rule(g: Any, y: Any, x: Any, *, dtype: str) -> Partials:
    """The tape casts every cotangent to its input's dtype."""
    return (g,)


@settle.rule
def settle_rule(h: Any, y: Any, e: Any, g: Any) -> Partials:
    """`settle(e, g)` is e, but 0 where e is not finite although the cotangent g it came from is 0:
    what an untaken branch of `where` sends to a singular derivative. Nothing flows back there."""
    return (where(equal(e, y), h, 0), None)
