"""The vocabulary of random cells: functions by kind, and lengths of derived axes with what can be read along them."""

from __future__ import annotations

UNARY = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "exp", "log", "sqrt", "abs", "sign", "sin", "cos")
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "logaddexp")
VECTOR = (
    *UNARY, *BINARY, "neg", "power", "where", "clip", "matvec", "transpose", "matmul", "outer", "concat", "part",
    "zeros", "softmax", "log_softmax", "lookup", "one_hot", "scale", "position", "length", "stop_gradient",
)  # fmt: skip
COMPLEX = (
    "cis", "fft", "ifft", "reflect", "permute", "unpermute", "modrelu", "conj", "re", "im", "modulus", "complex matvec",
    "hermitian",
)  # fmt: skip
MATRIX = ("matrix state", "matrix read", "transposed read")
NOISE = ("noise by step", "noise by sequence", "zoneout")
DRAWS = ("categorical", "bernoulli", "normal", "mdn2d")
# the long tail of elementwise functions: whether each occurs matters, not beside what
TAIL = {
    "square": "square({})", "reciprocal": "reciprocal(2 + sin({}))", "expm1": "expm1(sin({}))",
    "log1p": "log1p(({})**2)", "tan": "tan(sin({}))", "arctan": "arctan({})", "arcsin": "arcsin(0.7*sin({}))",
    "arccos": "arccos(0.7*sin({}))", "sinh": "sinh(sin({}))", "cosh": "cosh(sin({}))", "arcsinh": "arcsinh({})",
    "arccosh": "arccosh(2 + ({})**2)", "arctanh": "arctanh(0.7*sin({}))", "hypot": "hypot({}, 2)",
    "arctan2": "arctan2({}, 2)", "exp2": "exp2(sin({}))", "log2": "log2(2 + sin({}))", "log10": "log10(2 + sin({}))",
    "cbrt": "cbrt(2 + sin({}))", "erf": "erf({})", "erfc": "erfc({})", "gammaln": "gammaln(2 + sin({}))",
    "logit": "logit(0.5 + 0.3*sin({}))", "floor": "floor(3*sin({}) + 0.137)", "ceil": "ceil(3*sin({}) + 0.137)",
    "round": "round(3*sin({}) + 0.137)", "mod": "(({} + 0.137) % 2)", "floordiv": "(({} + 0.137) // 2)",
}  # fmt: skip
SCALAR = ("dot", "sum", "mean", "max", "min", "logsumexp")
NAMED = ("sum[]", "mean[]", "max[]", "min[]", "logsumexp[]", "softmax[]", "log_softmax[]", "last", "last[]")
PRIMITIVES = (*VECTOR, *SCALAR, *NAMED, *COMPLEX, *MATRIX, *NOISE, *DRAWS, "total", "def", "logprob")
RARE = ("last[]", "last", "softmax[]", "log_softmax[]", "lookup", "one_hot")
BOUNDARIES = ("constant", "param", "input", "last", "none")
LAGS = ("-", "+")


# lengths of derived axes over a base: whether such an axis may be empty, what of the base is inside at every step u,
# and what of the derived axis is inside at every step t of the base
DERIVED: dict[str, tuple[bool, tuple[str, ...], tuple[str, ...]]] = {
    "len({t})//2": (True, ("2*{u}", "2*{u}+1", "{u}"), ()),
    "(len({t})+1)//2": (False, ("2*{u}", "{u}"), ("{t}//2",)),
    "len({t})//3": (True, ("3*{u}", "3*{u}+1", "3*{u}+2", "{u}"), ()),
    "len({t})-2": (True, ("{u}", "{u}+1", "{u}+2"), ()),
    "len({t})-5": (True, ("{u}+3", "{u}+5"), ()),
    "2*len({t})": (False, ("{u}//2",), ("2*{t}", "2*{t}+1", "{t}")),
    "2*len({t})+1": (False, (), ("2*{t}", "2*{t}+1", "2*{t}+2")),
}
