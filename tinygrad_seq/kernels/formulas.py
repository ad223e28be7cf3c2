"""Elementary functions as branch-free arithmetic that LLVM turns into vector code.

A call of libm stops the vectoriser and costs 8 ns; these cost a tenth of one. Each formula is written once, over
scalars of either width, from two series: e^r - 1 by Taylor on |r| <= ln 2 / 2, and 2 artanh(s) for logarithms.
Selects take the place of branches, and the special values (NaN, infinities, zeros, subnormal numbers) come out as IEEE
has them. Errors: at most 4 units in the last place, tested. May not know Numba.

Method: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980 (reduction by n ln 2 in two
parts); FreeBSD msun, e_log.c (logarithm through s = f / (2 + f)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

# Sums and products may fuse; they may not be reordered (the reduction depends on the order).
_FUSE = ("contract",)
# Only where the denominator is in [1, 4] or so: a reciprocal refined by Newton has no infinities.
_RECIPROCAL = ("contract", "arcp")


@dataclass(frozen=True)
class Format:
    """What the formulas need to know of a floating-point format."""

    type: ir.Type
    bits: int
    mantissa: int  # stored bits
    exponential: int  # terms of e^r - 1, enough for |r| <= ln 2 / 2
    logarithm: int  # terms of artanh(s) for |s| <= 3 - 2 sqrt 2
    softplus: int  # the same for |s| <= 1/3
    overflow: float  # e^x is infinite from here
    underflow: float  # e^x is zero up to here
    ln2: tuple[float, float]  # the first part has zeros at its end: n times it is exact

    @property
    def bias(self) -> int:
        return (1 << (self.bits - self.mantissa - 2)) - 1

    @property
    def integer(self) -> ir.IntType:
        return ir.IntType(self.bits)


SINGLE = Format(ir.FloatType(), 32, 23, 7, 5, 7, 89.0, -104.0, (0.693359375, -2.12194440054690583e-4))
DOUBLE = Format(
    ir.DoubleType(), 64, 52, 13, 11, 16, 710.0, -746.0, (6.93147180369123816490e-01, 1.90821492927058770002e-10)
)


class Real:
    """A scalar in a function under construction; Python's operators build its instructions."""

    def __init__(self, builder: Any, format: Format, value: Any) -> None:
        self.builder, self.format, self.value = builder, format, value

    def const(self, value: float) -> Real:
        return Real(self.builder, self.format, ir.Constant(self.format.type, value))

    def _lift(self, other: Real | float) -> Real:
        return other if isinstance(other, Real) else self.const(other)

    def _make(self, value: Any) -> Real:
        return Real(self.builder, self.format, value)

    def __add__(self, other: Real | float) -> Real:
        return self._make(self.builder.fadd(self.value, self._lift(other).value, flags=_FUSE))

    def __sub__(self, other: Real | float) -> Real:
        return self._make(self.builder.fsub(self.value, self._lift(other).value, flags=_FUSE))

    def __rsub__(self, other: float) -> Real:
        return self.const(other) - self

    def __mul__(self, other: Real | float) -> Real:
        return self._make(self.builder.fmul(self.value, self._lift(other).value, flags=_FUSE))

    def __truediv__(self, other: Real | float) -> Real:
        return self._make(self.builder.fdiv(self.value, self._lift(other).value, flags=_FUSE))

    def __neg__(self) -> Real:
        return self._make(self.builder.fneg(self.value))

    def over(self, bounded: Real) -> Real:
        """Quotient by a number of moderate size, finite and not zero."""
        return self._make(self.builder.fdiv(self.value, bounded.value, flags=_RECIPROCAL))

    def compare(self, how: str, other: Real | float) -> Any:
        """A condition, false when either is NaN; `!=` is true then."""
        method = self.builder.fcmp_unordered if how == "!=" else self.builder.fcmp_ordered
        return method(how, self.value, self._lift(other).value)

    def is_nan(self) -> Any:
        return self.builder.fcmp_unordered("uno", self.value, self.value)

    def choose(self, condition: Any, yes: Real | float, no: Real | float) -> Real:
        return self._make(self.builder.select(condition, self._lift(yes).value, self._lift(no).value))

    def bits(self) -> Any:
        return self.builder.bitcast(self.value, self.format.integer)

    def from_bits(self, integer: Any) -> Real:
        return self._make(self.builder.bitcast(integer, self.format.type))

    def intrinsic(self, name: str, *others: Real) -> Real:
        """llvm.name of this and the others."""
        module, kind = self.builder.module, self.format.type
        full = f"llvm.{name}.f{self.format.bits}"
        args = [self.value, *(o.value for o in others)]
        function = module.globals.get(full) or ir.Function(module, ir.FunctionType(kind, [kind] * len(args)), full)
        return self._make(self.builder.call(function, args))

    def integer(self, value: int) -> ir.Constant:
        return ir.Constant(self.format.integer, value)


def _polynomial(x: Real, coefficients: Sequence[float]) -> Real:
    """Σ coefficients[i] x^i by Horner."""
    total = x.const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def _reduce(x: Real, shift: int = 0) -> tuple[Any, Real]:
    """2^(n + shift) as a bit pattern and q = e^r - 1, where x = n ln 2 + r and |r| <= ln 2 / 2, for |x| < 1000.

    n is found by adding 1.5 * 2^mantissa, which leaves it in the low bits: unlike a conversion that is defined
    for NaN too (whose q is NaN, whatever n). Adding the exponents' bias with it saves an instruction. The
    pattern is that of a power of two only while n + shift is an exponent of a normal number.
    """
    f = x.format
    magic = 1.5 * 2.0**f.mantissa + f.bias + shift
    shifted = x * math.log2(math.e) + magic
    n = shifted - magic
    r = x - n * f.ln2[0] - n * f.ln2[1]
    series = [1 / math.factorial(i) for i in range(2, f.exponential + 1)]
    q = r * r * _polynomial(r, series) + r
    return shifted.bits(), q


def _power_of_two(x: Real, biased: Any) -> Real:
    """The number whose exponent field is the low bits of an integer."""
    return x.from_bits(x.builder.shl(biased, x.integer(x.format.mantissa)))


def exp(x: Real) -> Real:
    """2^n in two factors, so that results may be subnormal or infinite, rounded once."""
    b, f = x.builder, x.format
    biased, q = _reduce(clip(x, f.underflow, f.overflow))
    n = b.sub(biased, x.integer(_magic_bits(f) + f.bias))
    half = b.ashr(n, x.integer(1))
    rest = b.sub(n, half)
    first, second = (_power_of_two(x, b.add(part, x.integer(f.bias))) for part in (half, rest))
    return (q + 1.0) * first * second


def _magic_bits(format: Format) -> int:
    """The bit pattern of 1.5 * 2^mantissa, to which small integers are added."""
    return ((format.bias + format.mantissa) << format.mantissa) + (1 << (format.mantissa - 1))


def exp_below(x: Real) -> Real:
    """e^x for x <= 0, subnormal results included: computed 2^64 times too large."""
    biased, q = _reduce(x.choose(x.compare("<", x.format.underflow), x.format.underflow, x), shift=64)
    return (q + 1.0) * _power_of_two(x, biased) * 2.0**-64


def _expm1_below(x: Real) -> Real:
    """e^x - 1 for x <= 1."""
    biased, q = _reduce(x.choose(x.compare("<", -50.0), -50.0, x))
    power = _power_of_two(x, biased)
    return power * q + (power - 1.0)


def expm1(x: Real) -> Real:
    return x.choose(x.compare(">", 1.0), exp(x) - 1.0, _expm1_below(x.choose(x.compare(">", 1.0), 1.0, x)))


def tanh(x: Real) -> Real:
    """-d / (2 + d) with d = e^(-2|x|) - 1: exact limits, full relative accuracy near 0."""
    d = _expm1_below(x.intrinsic("fabs") * -2.0)
    return (-d).over(d + 2.0).intrinsic("copysign", x)


def sigmoid(x: Real) -> Real:
    """Both halves from e^-|x|, so that the lower tail keeps its relative accuracy."""
    e = exp_below(-x.intrinsic("fabs"))
    return x.choose(x.compare("<", 0.0), e, 1.0).over(e + 1.0)


def _artanh_twice(s: Real, terms: int) -> Real:
    """2 artanh(s) = 2s (1 + s²/3 + s⁴/5 ...)."""
    return s * _polynomial(s * s, [2 / (2 * i + 1) for i in range(terms)])


def log(x: Real) -> Real:
    b, f = x.builder, x.format
    tiny = x.compare("<", 2.0 ** (1 - f.bias))
    lift = f.mantissa + 2
    normal = x.choose(tiny, x * 2.0**lift, x)
    # m in [sqrt 1/2, sqrt 2): move the mantissa's border from 1 to there before taking the exponent
    border = x.const(math.sqrt(0.5)).bits()
    moved = b.add(normal.bits(), b.sub(x.const(1.0).bits(), border))
    exponent = b.sub(b.ashr(moved, x.integer(f.mantissa)), x.integer(f.bias))
    exponent = b.sub(exponent, b.select(tiny, x.integer(lift), x.integer(0)))
    m = x.from_bits(b.add(b.and_(moved, x.integer((1 << f.mantissa) - 1)), border))
    k = Real(b, f, b.sitofp(exponent, f.type))
    series = _artanh_twice((m - 1.0).over(m + 1.0), f.logarithm)
    finite = k * f.ln2[0] + (k * f.ln2[1] + series)
    special = x.choose(x.compare("==", 0.0), -math.inf, x.choose(x.compare("<", 0.0), math.nan, x))
    return x.choose(b.and_(x.compare(">", 0.0), x.compare("<", math.inf)), finite, special)


def log1p(x: Real) -> Real:
    """log(u) x / (u - 1) with u = 1 + x rounded (W. Kahan)."""
    u = x + 1.0
    plain = x.builder.or_(u.compare("==", 1.0), u.compare("==", math.inf))
    return x.choose(plain, x, log(u) * (x / (u - 1.0)))


def _log1p_unit(e: Real) -> Real:
    """log(1 + e) for 0 <= e <= 1."""
    return _artanh_twice(e.over(e + 2.0), e.format.softplus)


def softplus(x: Real) -> Real:
    return x.choose(x.compare(">", 0.0), x, 0.0) + _log1p_unit(exp_below(-x.intrinsic("fabs")))


def logaddexp(a: Real, b: Real) -> Real:
    apart = a.choose(a.compare("==", b), 0.0, -(a - b).intrinsic("fabs"))  # equal infinities differ by 0
    return maximum(a, b) + _log1p_unit(exp_below(apart))


def relu(x: Real) -> Real:
    return x.choose(x.compare("<=", 0.0), 0.0, x)


def leaky_relu(x: Real, slope: Real) -> Real:
    return x.choose(x.compare(">", 0.0), x, slope * x)


def elu(x: Real, alpha: Real) -> Real:
    positive = x.compare(">", 0.0)
    return x.choose(positive, x, alpha * _expm1_below(x.choose(positive, 0.0, x)))


def sign(x: Real) -> Real:
    return x.choose(x.compare(">", 0.0), 1.0, x.choose(x.compare("<", 0.0), -1.0, x))


def maximum(a: Real, b: Real) -> Real:
    return a.choose(a.is_nan(), a, a.choose(a.compare(">", b), a, b))


def minimum(a: Real, b: Real) -> Real:
    return a.choose(a.is_nan(), a, a.choose(a.compare("<", b), a, b))


def clip(x: Real, low: Real | float, high: Real | float) -> Real:
    """x within [low, high]; NaN stays."""
    x = x.choose(x.compare("<", low), low, x)
    return x.choose(x.compare(">", high), high, x)


def _divmod(a: Real, b: Real) -> tuple[Real, Real]:
    """Python's quotient (a whole number before rounding) and remainder, b not 0: as NumPy's npy_divmod."""
    r = a._make(a.builder.frem(a.value, b.value))
    wrong = a.builder.xor(r.compare("<", 0.0), b.compare("<", 0.0))
    wrong = a.builder.and_(wrong, r.compare("!=", 0.0))
    quotient = (a - r) / b
    return quotient.choose(wrong, quotient - 1.0, quotient), r.choose(wrong, r + b, r)


def mod(a: Real, b: Real) -> Real:
    """Python's: the sign of b."""
    return _divmod(a, b)[1]


def floordiv(a: Real, b: Real) -> Real:
    """Python's; a / b where b is 0."""
    return a.choose(b.compare("==", 0.0), a / b, _divmod(a, b)[0].intrinsic("rint"))


def _intrinsic(name: str) -> Callable[..., Real]:
    return lambda x, *others: x.intrinsic(name, *others)


FORMULAS: dict[str, tuple[int, Callable[..., Real]]] = {
    "exp": (1, exp),
    "expm1": (1, expm1),
    "log": (1, log),
    "log1p": (1, log1p),
    "tanh": (1, tanh),
    "sigmoid": (1, sigmoid),
    "softplus": (1, softplus),
    "relu": (1, relu),
    "sign": (1, sign),
    "sqrt": (1, _intrinsic("sqrt")),
    "abs": (1, _intrinsic("fabs")),
    "sin": (1, _intrinsic("sin")),
    "cos": (1, _intrinsic("cos")),
    "leaky_relu": (2, leaky_relu),
    "elu": (2, elu),
    "maximum": (2, maximum),
    "minimum": (2, minimum),
    "logaddexp": (2, logaddexp),
    "power": (2, _intrinsic("pow")),
    "floordiv": (2, floordiv),
    "mod": (2, mod),
    "clip": (3, clip),
}


def formula(module: ir.Module, name: str, format: Format) -> ir.Function:
    """The function `tgseq_name_bits` of a module, made when first asked for; LLVM inlines it."""
    full = f"tgseq_{name}_f{format.bits}"
    known = module.globals.get(full)
    if known is not None:
        return known
    arity, build = FORMULAS[name]
    function = ir.Function(module, ir.FunctionType(format.type, [format.type] * arity), full)
    function.linkage = "internal"
    function.attributes.add("alwaysinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.ret(build(*(Real(builder, format, a) for a in function.args)).value)
    return function
