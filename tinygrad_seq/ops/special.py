"""More functions of one element: inverse trigonometric and hyperbolic ones, powers of two and ten, the error
function's, the gamma function's and Bessel's families; and what has no derivative: rounding and predicates.

They have no kernels yet, so the cell language does not offer them; on arrays and tensors they are
functions like any other. Names are NumPy's and SciPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.ops.elementwise import equal, exp, log, sign, sqrt, where
from tinygrad_seq.primitive import elementwise

Partials = tuple[Any, ...]


def _scipy(name: str) -> Callable[..., Any]:
    """A function of scipy.special, imported when it is first called: a slow import."""

    def call(*xs: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*xs)

    return call


# ---------------------------------------------------------------- trigonometric, hyperbolic

arcsin = elementwise(
    "arcsin", np.arcsin, tex=r"\arcsin({0})", kernel="arcsin({0})", singular=True, complex_numbers=True, costly=True
)
arccos = elementwise(
    "arccos", np.arccos, tex=r"\arccos({0})", kernel="arccos({0})", singular=True, complex_numbers=True, costly=True
)
arcsinh = elementwise(
    "arcsinh", np.arcsinh, tex=r"\operatorname{{arsinh}}({0})", kernel="arcsinh({0})", complex_numbers=True, costly=True
)
arccosh = elementwise(
    "arccosh",
    np.arccosh,
    tex=r"\operatorname{{arcosh}}({0})",
    kernel="arccosh({0})",
    singular=True,
    complex_numbers=True,
    costly=True,
)
arctanh = elementwise(
    "arctanh",
    np.arctanh,
    tex=r"\operatorname{{artanh}}({0})",
    kernel="arctanh({0})",
    singular=True,
    complex_numbers=True,
    costly=True,
)
arctan2 = elementwise(
    "arctan2",
    np.arctan2,
    tex=r"\operatorname{{atan2}}({0}, {1})",
    kernel="arctan2({0}, {1})",
    singular=True,
    costly=True,
)
hypot = elementwise("hypot", np.hypot, tex=r"\sqrt{{{0}^2 + {1}^2}}", kernel="hypot({0}, {1})", costly=True)


@arcsin.partials
def arcsin_partials(y: Any, x: Any) -> Partials:
    """1/cos y loses digits near ±1; (1-x)(1+x) does not."""
    return (1 / sqrt((1 - x) * (1 + x)),)


@arccos.partials
def arccos_partials(y: Any, x: Any) -> Partials:
    return (-1 / sqrt((1 - x) * (1 + x)),)


@arcsinh.partials
def arcsinh_partials(y: Any, x: Any) -> Partials:
    return (1 / sqrt(1 + x * x),)


@arccosh.partials
def arccosh_partials(y: Any, x: Any) -> Partials:
    return (1 / (sqrt(x - 1) * sqrt(x + 1)),)


@arctanh.partials
def arctanh_partials(y: Any, x: Any) -> Partials:
    return (1 / ((1 - x) * (1 + x)),)


@arctan2.partials
def arctan2_partials(y: Any, a: Any, b: Any) -> Partials:
    """The angle of the point (b, a)."""
    return (b / (a * a + b * b), -a / (a * a + b * b))


@hypot.partials
def hypot_partials(y: Any, a: Any, b: Any) -> Partials:
    """0 at the origin, as the norm's."""
    safe = where(equal(y, 0), 1, y)
    return (a / safe, b / safe)


# ---------------------------------------------------------------- powers and logarithms

exp2 = elementwise(
    "exp2", np.exp2, tex="2^{{{0}}}", kernel="power(2.0, {0})", singular=True, complex_numbers=True, costly=True
)
log2 = elementwise(
    "log2",
    np.log2,
    tex=r"\log_2({0})",
    kernel="(log({0}) / 0.6931471805599453)",
    singular=True,
    complex_numbers=True,
    costly=True,
)
log10 = elementwise(
    "log10", np.log10, tex=r"\log_{{10}}({0})", kernel="log10({0})", singular=True, complex_numbers=True, costly=True
)
cbrt = elementwise(
    "cbrt",
    np.cbrt,
    tex=r"\sqrt[3]{{{0}}}",
    kernel="(sign({0}) * power(abs({0}), 0.3333333333333333))",
    singular=True,
    costly=True,
)
reciprocal = elementwise(
    "reciprocal", lambda x: 1 / x, tex=r"\frac{{1}}{{{0}}}", kernel="(1 / {0})", singular=True, complex_numbers=True
)
xlogy = elementwise(
    "xlogy",
    _scipy("xlogy"),
    tex=r"{0}\log({1})",
    kernel="where({0} == 0, 0 * {0}, {0} * log({1}))",
    singular=True,
    complex_numbers=True,
    costly=True,
)


@exp2.partials
def exp2_partials(y: Any, x: Any) -> Partials:
    return (math.log(2) * y,)


@log2.partials
def log2_partials(y: Any, x: Any) -> Partials:
    return (1 / (math.log(2) * x),)


@log10.partials
def log10_partials(y: Any, x: Any) -> Partials:
    return (1 / (math.log(10) * x),)


@cbrt.partials
def cbrt_partials(y: Any, x: Any) -> Partials:
    return (1 / (3 * y * y),)


@reciprocal.partials
def reciprocal_partials(y: Any, x: Any) -> Partials:
    return (-y * y,)


@xlogy.partials
def xlogy_partials(y: Any, a: Any, b: Any) -> Partials:
    """a log b, 0 where a is 0 even if b is 0 too."""
    return (log(b), a / b)


# ---------------------------------------------------------------- error and gamma functions

erfc = elementwise(
    "erfc",
    _scipy("erfc"),
    tex=r"\operatorname{{erfc}}({0})",
    kernel="erfc({0})",
    complex_numbers=True,
    costly=True,
    activation=True,
)
erfinv = elementwise("erfinv", _scipy("erfinv"), tex=r"\operatorname{{erf}}^{{-1}}({0})", singular=True, costly=True)
gamma = elementwise("gamma", _scipy("gamma"), tex=r"\Gamma({0})", kernel="gamma({0})", singular=True, costly=True)
gammaln = elementwise(
    "gammaln", _scipy("gammaln"), tex=r"\log\Gamma({0})", kernel="gammaln({0})", singular=True, costly=True
)
digamma = elementwise("digamma", _scipy("psi"), tex=r"\psi({0})", singular=True, costly=True)
polygamma = elementwise(
    "polygamma",
    lambda x, *, n: _scipy("polygamma")(n, x).astype(np.result_type(x), copy=False),
    tex=r"\psi^{{({n})}}({0})",
    singular=True,
    costly=True,
)
logit = elementwise(
    "logit",
    _scipy("logit"),
    tex=r"\operatorname{{logit}}({0})",
    kernel="(log({0}) - log1p(-{0}))",
    singular=True,
    costly=True,
)


@erfc.partials
def erfc_partials(y: Any, x: Any) -> Partials:
    return ((-2 / math.sqrt(math.pi)) * exp(-x * x),)


@erfinv.partials
def erfinv_partials(y: Any, x: Any) -> Partials:
    return ((math.sqrt(math.pi) / 2) * exp(y * y),)


@gamma.partials
def gamma_partials(y: Any, x: Any) -> Partials:
    return (y * digamma(x),)


@gammaln.partials
def gammaln_partials(y: Any, x: Any) -> Partials:
    return (digamma(x),)


@digamma.partials
def digamma_partials(y: Any, x: Any) -> Partials:
    return (polygamma(x, n=1),)


@polygamma.partials
def polygamma_partials(y: Any, x: Any, *, n: int) -> Partials:
    return (polygamma(x, n=n + 1),)


@logit.partials
def logit_partials(y: Any, x: Any) -> Partials:
    return (1 / (x * (1 - x)),)


# ---------------------------------------------------------------- beta, and the incomplete functions

beta = elementwise("beta", _scipy("beta"), tex=r"\mathrm{{B}}({0}, {1})", singular=True, costly=True)
betaln = elementwise("betaln", _scipy("betaln"), tex=r"\log\mathrm{{B}}({0}, {1})", singular=True, costly=True)
gammainc = elementwise("gammainc", _scipy("gammainc"), tex=r"P({0}, {1})", singular=True, fixed=(0,), costly=True)
gammaincc = elementwise("gammaincc", _scipy("gammaincc"), tex=r"Q({0}, {1})", singular=True, fixed=(0,), costly=True)
betainc = elementwise(
    "betainc", _scipy("betainc"), tex=r"I_{{{2}}}({0}, {1})", singular=True, fixed=(0, 1), costly=True
)


@beta.partials
def beta_partials(y: Any, a: Any, b: Any) -> Partials:
    both = digamma(a + b)
    return (y * (digamma(a) - both), y * (digamma(b) - both))


@betaln.partials
def betaln_partials(y: Any, a: Any, b: Any) -> Partials:
    both = digamma(a + b)
    return (digamma(a) - both, digamma(b) - both)


@gammainc.partials
def gammainc_partials(y: Any, a: Any, x: Any) -> Partials:
    """The distribution function of the gamma distribution: its slope is the density."""
    return (None, exp(xlogy(a - 1, x) - x - gammaln(a)))


@gammaincc.partials
def gammaincc_partials(y: Any, a: Any, x: Any) -> Partials:
    """1 - gammainc(a, x), with all digits where that is small."""
    return (None, -exp(xlogy(a - 1, x) - x - gammaln(a)))


@betainc.partials
def betainc_partials(y: Any, a: Any, b: Any, x: Any) -> Partials:
    """The distribution function of the beta distribution: its slope is the density."""
    return (None, None, exp(xlogy(a - 1, x) + xlogy(b - 1, 1 - x) - betaln(a, b)))


# ---------------------------------------------------------------- the normal distribution

ndtr = elementwise("ndtr", _scipy("ndtr"), tex=r"\Phi({0})", costly=True)
log_ndtr = elementwise("log_ndtr", _scipy("log_ndtr"), tex=r"\log\Phi({0})", costly=True)
ndtri = elementwise("ndtri", _scipy("ndtri"), tex=r"\Phi^{{-1}}({0})", singular=True, costly=True)
erfcinv = elementwise(
    "erfcinv", _scipy("erfcinv"), tex=r"\operatorname{{erfc}}^{{-1}}({0})", singular=True, costly=True
)
erfcx = elementwise("erfcx", _scipy("erfcx"), tex=r"\operatorname{{erfcx}}({0})", costly=True)
entr = elementwise("entr", _scipy("entr"), tex=r"-{0}\log({0})", singular=True, costly=True)


@ndtr.partials
def ndtr_partials(y: Any, x: Any) -> Partials:
    return (exp(-x * x / 2) / math.sqrt(2 * math.pi),)


@log_ndtr.partials
def log_ndtr_partials(y: Any, x: Any) -> Partials:
    """The density over Φ, as one exponential: neither is 0 alone far to the left."""
    return (exp(-x * x / 2 - y) / math.sqrt(2 * math.pi),)


@ndtri.partials
def ndtri_partials(y: Any, x: Any) -> Partials:
    return (math.sqrt(2 * math.pi) * exp(y * y / 2),)


@erfcinv.partials
def erfcinv_partials(y: Any, x: Any) -> Partials:
    return ((-math.sqrt(math.pi) / 2) * exp(y * y),)


@erfcx.partials
def erfcx_partials(y: Any, x: Any) -> Partials:
    """exp(x²) erfc(x)."""
    return (2 * x * y - 2 / math.sqrt(math.pi),)


@entr.partials
def entr_partials(y: Any, x: Any) -> Partials:
    """-x log x, 0 at 0."""
    return (-log(x) - 1,)


# ---------------------------------------------------------------- Bessel functions of orders 0 and 1

j0 = elementwise("j0", _scipy("j0"), tex=r"J_0({0})", costly=True)
j1 = elementwise("j1", _scipy("j1"), tex=r"J_1({0})", costly=True)
i0 = elementwise("i0", _scipy("i0"), tex=r"I_0({0})", costly=True)
i1 = elementwise("i1", _scipy("i1"), tex=r"I_1({0})", costly=True)


def _over(y: Any, x: Any) -> Any:
    """y/x, and its limit 1/2 at 0."""
    nothing = equal(x, 0)
    return where(nothing, 0.5, y / where(nothing, 1, x))


@j0.partials
def j0_partials(y: Any, x: Any) -> Partials:
    return (-j1(x),)


@j1.partials
def j1_partials(y: Any, x: Any) -> Partials:
    return (j0(x) - _over(y, x),)


@i0.partials
def i0_partials(y: Any, x: Any) -> Partials:
    return (i1(x),)


@i1.partials
def i1_partials(y: Any, x: Any) -> Partials:
    return (i0(x) - _over(y, x),)


# ---------------------------------------------------------------- sin(πx)/(πx)


def _sinc(x: Any, *, order: int = 0) -> Any:
    """The derivative of that order: by series near 0, where the closed form is 0/0."""
    x = np.asarray(x)
    z = np.pi * np.asarray(x, np.result_type(x, np.float32))
    small = np.abs(z) < 1 + order
    near, far = np.where(small, z, 0), np.where(small, 1, z)
    series = np.zeros_like(near)
    for k in range(30):  # sin(z)/z = Σ (-1)^k z^2k / (2k+1)!, differentiated term by term
        power = 2 * k - order
        if power >= 0:
            c = (-1.0) ** k * math.factorial(2 * k) / math.factorial(power) / math.factorial(2 * k + 1)
            series = series + c * near**power
    closed = np.zeros_like(far)
    for j in range(order + 1):  # Leibniz: (sin · 1/z)^(order)
        factor = math.comb(order, j) * (-1.0) ** j * math.factorial(j)
        closed = closed + factor * np.sin(far + (order - j) * np.pi / 2) / far ** (j + 1)
    return (np.where(small, series, closed) * np.pi**order).astype(z.dtype, copy=False)


sinc = elementwise("sinc", _sinc, tex=r"\operatorname{{sinc}}({0})", costly=True)


@sinc.partials
def sinc_partials(y: Any, x: Any, *, order: int = 0) -> Partials:
    """`order` counts derivatives, each of which is smooth at 0."""
    return (sinc(x, order=order + 1),)


# ---------------------------------------------------------------- signs

positive = elementwise("positive", np.positive, tex="{0}", complex_numbers=True)
copysign = elementwise("copysign", np.copysign, tex=r"\left|{0}\right|\operatorname{{sign}}({1})")


@positive.partials
def positive_partials(y: Any, x: Any) -> Partials:
    return (1,)


@copysign.partials
def copysign_partials(y: Any, a: Any, b: Any) -> Partials:
    """|a| with b's sign: 0 at a = 0."""
    return (sign(a) * copysign(1.0, b), None)


# ---------------------------------------------------------------- no derivative

for _name, _tex, _kernel in (
    ("floor", r"\lfloor {0} \rfloor", "floordiv({0}, 1)"),
    ("ceil", r"\lceil {0} \rceil", "(-floordiv(-{0}, 1))"),
    ("trunc", r"\operatorname{{trunc}}({0})", "(sign({0}) * floordiv(abs({0}), 1))"),
):
    elementwise(_name, getattr(np, _name), tex=_tex, kernel=_kernel)
for _name, _tex in (
    ("isnan", r"\operatorname{{isnan}}({0})"),
    ("isinf", r"\operatorname{{isinf}}({0})"),
    ("isfinite", r"\operatorname{{isfinite}}({0})"),
    ("logical_xor", r"{0} \oplus {1}"),
):
    elementwise(_name, getattr(np, _name), tex=_tex, complex_numbers=True)
elementwise("signbit", np.signbit, tex=r"\operatorname{{signbit}}({0})")
elementwise(
    "round",
    lambda x, *, decimals=0: np.round(x, decimals),
    tex=r"\operatorname{{round}}({0})",
    complex_numbers=True,
)
