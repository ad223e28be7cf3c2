"""Generation as a rewriting: what was the data of `y[t] ~ ...` becomes an equation on noise.

A draw is a function of its parameters and of noise (`distributions`), so a cell that generates is a system like any
other: `y[t]` is computed from the logits of its step and a uniform number, `y[t-1]` is an ordinary read of it, and
scheduling, compiling and unrolling need to know nothing of sampling. Nothing here knows of seeds, batches or engines.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from dsl.system.dims import Dim
from dsl.system.distributions import DISTRIBUTIONS
from dsl.system.kinds import Kinds
from dsl.system.system import Initializer, Position, Read, Size, Stream, System
from tinygrad_seq.symbol import Symbol, apply, lift


@dataclass(frozen=True)
class Sampled:
    """A system whose draws are computed.

    given     drawn stream -> the input that has its value in the first steps, where it is not drawn
    primed    the input, one number a sequence, that says how many steps are given
    sharpness, bias   the shared inputs that say how boldly is drawn; nothing reads them in a greedy system
    """

    system: System
    given: dict[str, str]
    primed: str
    sharpness: str
    bias: str


def sampled(system: System, known: Collection[str] = (), greedy: bool = False) -> Sampled:
    """The system that computes its drawn streams, from noise streams `y.uniform` and `y.normal` (then `y.normal_2`).

    known    drawn streams that stay data
    greedy   the likeliest value is taken, and there is no noise
    """
    taken = set(system.streams)
    primed, sharpness, bias = (_fresh(n, taken) for n in ("primed", "sharpness", "bias"))
    streams, equations = dict(system.streams), dict(system.equations)
    streams[primed] = Stream(primed, "input")
    streams |= {n: Stream(n, "const", shared=True) for n in (sharpness, bias)}
    given: dict[str, str] = {}
    kinds = Kinds(streams)
    for name, draw in system.draws.items():
        own = streams[name]
        if name in known:
            streams[name] = replace(own, kind="input")
            continue
        boldly = lift(Read(sharpness)), lift(Read(bias))
        chance = Certainty(own, kinds, taken) if greedy else Noise(own, kinds, taken, *boldly)
        value = DISTRIBUTIONS[draw.distribution].draw(dict(draw.parameters), own.shape, chance)
        streams[name] = replace(own, kind="equation")
        streams |= chance.streams
        equations |= chance.equations
        if own.axes:
            given[name] = _fresh(f"{name}.given", taken)
            streams[given[name]] = replace(own, name=given[name], kind="input", boundary=None, state=False)
            first = apply("less", lift(Position(own.axes[0])), lift(Read(primed)))
            value = apply("where", first, streams[given[name]].at_home(), value)
        equations[name] = value
    made = replace(
        system,
        name=f"{system.name}_sampled",
        streams=streams,
        equations=equations,
        draws={},
        losses=(),
        outputs=tuple(system.draws),
    )
    return Sampled(made, given, primed, sharpness, bias)


@dataclass
class Certainty:
    """`Chance` without any: every draw is the likeliest value, of a mixture the mean of its heaviest component."""

    stream: Stream
    kinds: Kinds
    taken: set[str]
    sharpness: Symbol = field(default_factory=lambda: lift(1.0))
    bias: Symbol = field(default_factory=lambda: lift(0.0))
    streams: dict[str, Stream] = field(default_factory=dict)
    equations: dict[str, Symbol] = field(default_factory=dict)

    @property
    def spread(self) -> Symbol:
        return lift(1.0)

    def uniform(self, shape: tuple[Dim, ...]) -> Symbol:
        return lift(0.5)

    def normal(self, shape: tuple[Dim, ...]) -> Symbol:
        return lift(0.0)

    def category(self, logits: Symbol) -> Symbol:
        """The first of the largest: all that a uniform number of 0 can choose."""
        largest = apply("equal", logits, apply("max", logits, axis=-1))
        return apply("categorical_icdf", apply("where", largest, lift(1.0), lift(0.0)), lift(0.0))

    def one_hot(self, logits: Symbol) -> Symbol:
        """The choice as a vector; it has a name, `p.component`, so that it is made once and can be seen."""
        (count,) = self.kinds.of(logits).shape
        name = _fresh(f"{self.stream.name}.component", self.taken)
        axes = self.stream.axes
        made = self.streams[name] = Stream(name, "equation", axes, dtype="category", categories=count)
        self.equations[name] = self.category(logits)
        return apply("one_hot", made.at_home(), lift(Size(count)))


@dataclass
class Noise(Certainty):
    """`Chance` from noise streams that are made as they are asked for, `streams`, named after the drawn stream."""

    @property
    def spread(self) -> Symbol:
        return apply("div", apply("exp", -self.bias), apply("sqrt", self.sharpness))

    def uniform(self, shape: tuple[Dim, ...]) -> Symbol:
        return self._stream("uniform", shape)

    def normal(self, shape: tuple[Dim, ...]) -> Symbol:
        return self._stream("normal", shape)

    def category(self, logits: Symbol) -> Symbol:
        return apply("categorical_icdf", apply("softmax", logits, axis=-1), self.uniform(()))

    def _stream(self, kind: str, shape: tuple[Dim, ...]) -> Symbol:
        name = _fresh(f"{self.stream.name}.{kind}", self.taken)
        rule = Initializer(kind, (0.0, 1.0))  # of both: between 0 and 1, or of mean 0 and deviation 1
        made = self.streams[name] = Stream(name, "noise", self.stream.axes, shape, initializer=rule)
        return made.at_home()


def _fresh(name: str, taken: set[str]) -> str:
    found, k = name, 2
    while found in taken:
        found, k = f"{name}_{k}", k + 1
    taken.add(found)
    return found
