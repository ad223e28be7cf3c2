"""Complex streams as pairs of real ones: a pass from systems to systems, ahead of all planning.

A complex `h[t]` becomes `re(h)[t]` and `im(h)[t]`, every equation two over real parts. What all sequences share
(parameters) stays complex and is NumPy's: loops read `re(V)` and `im(V)`. A Fourier transform takes and gives one
vector, real parts followed by imaginary ones; reflections are written out in products, for real vectors too. Forward
systems and adjoints go through it alike, so nothing behind it knows a complex number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dsl.plan.definitions import op
from dsl.system.dims import Dim
from dsl.system.kinds import BILINEAR, COMPARISONS, Kind, Kinds
from dsl.system.system import Read, Stream, System
from tinygrad_seq.symbol import Symbol, lift, postorder, rebuild

ZERO, ONE = lift(0), lift(1)
PARTWISE = (  # done to the real and the imaginary part
    "neg",
    "sum",
    "cumsum",
    "mean",
    "transpose",
    "part",
    "fill",
    "stop_gradient",
    "concat",
    "add",
    "sub",
)

Pair = tuple[Symbol, Symbol]


@dataclass(frozen=True)
class Real:
    """A system without complex streams, and the names of the parts of those that were."""

    system: System
    parts: Mapping[str, tuple[str, str]]

    def names(self, streams: Iterable[str]) -> list[str]:
        """The streams that stand for these."""
        return [part for name in streams for part in self.parts.get(name, (name,))]


def without_complex(system: System) -> Real:
    """The system over real streams. Errors: ValueError for an operation that complex numbers do not have."""
    if not _concerned(system):
        return Real(system, {})
    return _Pass(system).run()


def _concerned(system: System) -> bool:
    if any(s.dtype == "complex" for s in system.streams.values()):
        return True
    roots = [*system.equations.values(), *(s.boundary for s in system.streams.values() if s.boundary is not None)]
    ops = ("fft", "ifft", "reflect", "reflect_adjoint", "modrelu", "cis", "angle", "re", "im", "conj")
    return any(n.is_op(*ops) or isinstance(n.leaf, complex) for n in postorder(roots))


class _Pass:
    def __init__(self, system: System) -> None:
        self.system = system
        self.before = Kinds(system)
        self.parts = {
            n: (f"re({n})", f"im({n})")
            for n, s in system.streams.items()
            if s.dtype == "complex" and (not s.shared or s.total)
        }
        self.streams: dict[str, Stream] = {}
        self.after = Kinds(self.streams)
        self.pairs: dict[Symbol, Pair] = {}

    def run(self) -> Real:
        for name, stream in self.system.streams.items():
            if name not in self.parts or stream.total:
                self.streams[name] = dataclasses.replace(stream, total=False) if name in self.parts else stream
            for part in self.parts.get(name, ()):
                self.streams[part] = dataclasses.replace(stream, name=part, dtype="real", boundary=None)
        for name, stream in self.system.streams.items():
            if stream.boundary is not None and not stream.shared:
                for part, value in zip(self.parts.get(name, (name,)), self.pair(stream.boundary), strict=False):
                    self.streams[part] = dataclasses.replace(self.streams[part], boundary=value)
        equations: dict[str, Symbol] = {}
        for name, root in self.system.equations.items():
            stream = self.system.streams[name]
            if name in self.parts:
                for part, value in zip(self.parts[name], self.pair(root), strict=True):
                    equations[part] = self._shaped(value, stream.shape)
                if stream.total:
                    re, im = (lift(Read(part)) for part in self.parts[name])
                    equations[name] = op("add", re, op("mul", lift(1j), im))
            else:
                equations[name] = root if stream.shared and not stream.total else self.pair(root)[0]
        spans = {p: self.system.spans[n] for n, own in self.parts.items() for p in own if n in self.system.spans}
        system = self.system.with_(
            streams=self.streams, equations=equations, spans={**self.system.spans, **spans}, outputs=(), losses=()
        )
        return Real(system, {n: own for n, own in self.parts.items() if not self.system.streams[n].total})

    # ------------------------------------------------------------ expressions

    def pair(self, root: Symbol) -> Pair:
        """The real and the imaginary part of an expression; the latter 0 for a real one."""
        for node in postorder([root]):
            if node not in self.pairs:
                self.pairs[node] = self._pair(node)
        return self.pairs[root]

    def _pair(self, node: Symbol) -> Pair:
        kind = self.before.of(node)
        complex_ = kind.dtype == "complex"
        if isinstance(node.leaf, complex):
            return lift(node.leaf.real), lift(node.leaf.imag)
        if isinstance(node.leaf, Read) and node.leaf.name in self.parts:
            if kind.shared:  # a total: its parts are joined where all is added up
                return op("re", node), op("im", node)
            re, im = (lift(Read(part, node.leaf.index)) for part in self.parts[node.leaf.name])
            return re, im
        if kind.shared:
            return (op("re", node), op("im", node)) if complex_ else (node, ZERO)
        if node.op is None:
            return node, ZERO
        args = [self.pairs[a] for a in node.args]
        name = node.op.name
        written_out = _RULES.get(name)
        if written_out is not None:
            re, im = written_out(self, node, *args)
            return (self._shaped(re, kind.shape) if re is ZERO else re), im
        if not complex_ and all(im is ZERO for _, im in args):
            own = (self._shaped(re, self.before.of(x).shape) for (re, _), x in zip(args, node.args, strict=True))
            return rebuild(node, tuple(own)), ZERO
        return self._complex(node, kind, args)

    def _complex(self, node: Symbol, kind: Kind, args: list[Pair]) -> Pair:
        assert node.op is not None
        name, static = node.op.name, node.options
        if name in PARTWISE:
            sides = []
            for k in (0, 1):
                own = [self._shaped(a[k], self.before.of(x).shape) for a, x in zip(args, node.args, strict=True)]
                sides.append(ZERO if all(a[k] is ZERO for a in args) else op(name, *own, **static))
            return sides[0], sides[1]
        if name in BILINEAR:
            (a, b), (c, d) = args
            return self._bilinear(name, node, a, c) - self._bilinear(name, node, b, d), self._bilinear(
                name, node, a, d
            ) + self._bilinear(name, node, b, c)
        if name in ("permute", "unpermute"):
            re, im = (self._shaped(x, kind.shape) for x in args[1])
            return op(name, node.args[0], re), op(name, node.args[0], im)
        if name == "lookup":
            (re, im), (which, _) = args
            return op(name, re, which), op(name, im, which)
        if name == "where":
            condition, yes, no = args
            re, im = (op("where", condition[0], yes[k], no[k]) for k in (0, 1))
            return re, im
        if name in ("equal", "not_equal"):
            (a, b), (c, d) = args
            inner = op("where", op(name, a, c), *((op(name, b, d), ZERO) if name == "equal" else (ONE, op(name, b, d))))
            return inner, ZERO
        handler = _FUNCTIONS.get(name)
        if handler is None or name in COMPARISONS:
            raise ValueError(f"{self.system.name}: `{name}` of complex numbers has no meaning here")
        return handler(*args)

    def _bilinear(self, name: str, node: Symbol, x: Symbol, y: Symbol) -> Symbol:
        if x is ZERO or y is ZERO:
            return ZERO
        if name == "mul":
            return op("mul", x, y)
        x, y = (self._shaped(v, self.before.of(a).shape) for v, a in zip((x, y), node.args, strict=True))
        return op(name, x, y)

    def _shaped(self, value: Symbol, shape: tuple[Dim, ...]) -> Symbol:
        """A number where a vector is due, as a vector."""
        return value if self.after.of(value).shape == shape else op("fill", value, dims=shape)

    # ------------------------------------------------------------ written out

    def dot(self, u: Pair, v: Pair) -> Pair:
        """uᴴv."""
        return self._sum(product(conj(u), v))

    def _sum(self, z: Pair) -> Pair:
        re, im = (ZERO if x is ZERO else op("sum", x, axis=-1) for x in z)
        return re, im

    def fourier(self, node: Symbol, x: Pair) -> Pair:
        """A discrete Fourier transform, of parts side by side."""
        (n,) = shape = self.before.of(node).shape
        assert node.op is not None
        both = op(node.op.name, op("concat", *(self._shaped(part, shape) for part in x)))
        return op("part", both, start=Dim(), size=n), op("part", both, start=n, size=n)

    def reflect(self, node: Symbol, r: Pair, x: Pair) -> Pair:
        return minus(x, product(r, scaled(self.dot(r, x), twice_over(self.dot(r, r)[0]))))

    def reflect_adjoint(self, node: Symbol, g: Pair, r: Pair, x: Pair) -> Pair:
        """See `tinygrad_seq.ops.spectral.reflect_adjoint_rule`."""
        w, s, a = twice_over(self.dot(r, r)[0]), self.dot(r, x), self.dot(g, r)
        inner = minus(scaled(r, op("mul", product(a, s)[0], w)), plus(product(conj(s), g), product(a, x)))
        return scaled(inner, w)


# ---------------------------------------------------------------- arithmetic of pairs


def conj(z: Pair) -> Pair:
    return z[0], op("neg", z[1])


def plus(x: Pair, y: Pair) -> Pair:
    return x[0] + y[0], x[1] + y[1]


def minus(x: Pair, y: Pair) -> Pair:
    return x[0] - y[0], x[1] - y[1]


def scaled(z: Pair, factor: Symbol) -> Pair:
    return z[0] * factor, z[1] * factor


def product(x: Pair, y: Pair) -> Pair:
    (a, b), (c, d) = x, y
    return a * c - b * d, a * d + b * c


def quotient(z: Pair, number: Symbol) -> Pair:
    return op("div", z[0], number), op("div", z[1], number)


def divide(x: Pair, y: Pair) -> Pair:
    if y[1] is ZERO:
        return quotient(x, y[0])
    return quotient(product(x, conj(y)), squared(y))


def squared(z: Pair) -> Symbol:
    return op("add", z[0] * z[0], z[1] * z[1])


def radius(z: Pair) -> Symbol:
    return op("abs", z[0]) if z[1] is ZERO else op("sqrt", squared(z))


def twice_over(n: Symbol) -> Symbol:
    """2/n, 0 at 0."""
    nothing = op("equal", n, ZERO)
    return op("where", nothing, ZERO, op("div", lift(2), op("where", nothing, ONE, n)))


def direction(z: Pair) -> Pair:
    """z/|z|, 0 at 0."""
    if z[1] is ZERO:
        return op("sign", z[0]), ZERO
    r = radius(z)
    return quotient(z, op("where", op("greater", r, ZERO), r, ONE))


def angle(z: Pair) -> Symbol:
    return op("arctan2", z[1], z[0])


def cis(z: Pair) -> Pair:
    turn = op("cos", z[0]), op("sin", z[0])
    return turn if z[1] is ZERO else scaled(turn, op("exp", op("neg", z[1])))


def exponential(z: Pair) -> Pair:
    return scaled(cis((z[1], ZERO)), op("exp", z[0]))


def logarithm(z: Pair) -> Pair:
    return op("log", radius(z)), angle(z)


def root(z: Pair) -> Pair:
    half = op("div", angle(z), lift(2))
    return scaled(cis((half, ZERO)), op("sqrt", radius(z)))


def power(z: Pair, n: Pair) -> Pair:
    exponent = n[0].leaf
    if n[1] is ZERO and isinstance(exponent, int | float) and exponent == int(exponent) and 0 < exponent <= 8:
        result = z
        for _ in range(int(exponent) - 1):
            result = product(result, z)
        return result
    return exponential(product(n, logarithm(z)))


def sinh(z: Pair) -> Pair:
    return op("sinh", z[0]) * op("cos", z[1]), op("cosh", z[0]) * op("sin", z[1])


def cosh(z: Pair) -> Pair:
    return op("cosh", z[0]) * op("cos", z[1]), op("sinh", z[0]) * op("sin", z[1])


def turned(z: Pair) -> Pair:
    """i z."""
    return op("neg", z[1]), z[0]


def sine(z: Pair) -> Pair:
    re, im = sinh(turned(z))
    return im, op("neg", re)


def tanh(z: Pair) -> Pair:
    """(tanh a + i tan b) / (1 + i tanh a tan b): no overflow for large a."""
    a, b = op("tanh", z[0]), op("tan", z[1])
    return divide((a, b), (ONE, a * b))


def sigmoid(z: Pair) -> Pair:
    half = tanh(scaled(z, lift(0.5)))
    return scaled(plus(half, (ONE, ZERO)), lift(0.5))


def modrelu(z: Pair, b: Symbol) -> Pair:
    """relu(|z| + b) z/|z|, 0 at 0."""
    return scaled(direction(z), op("maximum", radius(z) + b, ZERO))


_FUNCTIONS: dict[str, Callable[..., Pair]] = {
    "div": divide,
    "square": lambda z: product(z, z),
    "exp": exponential,
    "log": logarithm,
    "sqrt": root,
    "power": power,
    "sinh": sinh,
    "cosh": cosh,
    "sin": sine,
    "cos": lambda z: cosh(turned(z)),
    "tan": lambda z: divide(sine(z), cosh(turned(z))),
    "tanh": tanh,
    "sigmoid": sigmoid,
    "reciprocal": lambda z: divide((ONE, ZERO), z),
}

_RULES: dict[str, Callable[..., Pair]] = {
    "conj": lambda own, node, z: conj(z) if z[1] is not ZERO else z,
    "re": lambda own, node, z: (z[0], ZERO),
    "im": lambda own, node, z: (z[1], ZERO),
    "fft": _Pass.fourier,
    "ifft": _Pass.fourier,
    "reflect": _Pass.reflect,
    "reflect_adjoint": _Pass.reflect_adjoint,
    "modrelu": lambda own, node, z, b: modrelu(z, b[0]),
    "sign": lambda own, node, z: direction(z),
    "abs": lambda own, node, z: (radius(z), ZERO),
    "angle": lambda own, node, z: (angle(z), ZERO),
    "cis": lambda own, node, z: cis(z),
}
