"""Stages of a random cell that bring in one part of the language each: complex and matrix-valued recurrences, noise in
its three uses, drawn streams, totals."""

from __future__ import annotations

from collections.abc import Callable

from tests.differential.maker import Maker
from tests.differential.reads import Recurrence, Stream
from tests.differential.words import DRAWS


def recurrence(m: Maker, stem: str, dim: str, start: str, sort: str, written: str) -> Stream:
    """A stream of its own recurrence on t, declared and the one being written."""
    made = Stream(m.fresh(stem), ("t",), dim, True, sort)
    m.declarations.append(f"state {made.name}[t]: {written} = {start}")
    m.loop, m.reader = Recurrence("t", m.pick([-1, -1, 1]), [made], [0]), 0
    return made


def complex_scan(m: Maker, kinds: tuple[str, ...]) -> None:
    """`g[t] = modrelu(...)` of a complex state, everything complex within reach of it."""
    dim = m.pick(m.dims)
    made = recurrence(m, "g", dim, m.boundary(dim, kinds, list(m.streams), "complex"), "complex", f"complex {dim}")
    m.facts |= {"modrelu", "cis", "reflect", "lag -" if m.loop and m.loop.sign < 0 else "lag +"}
    previous = f"{made.name}[{m.shifted(made, -m.pick([1, 1, 2]))}]"
    turned = m.pick(
        [
            f"cis({m.vector(('t',), dim, 1)})*{previous}",
            f"reflect({m.param(dim, sort='complex')}, cis({m.param(dim)})*{previous})",
        ]
    )
    m.body.append(f"{made.name}[t] = modrelu(0.7*{turned} + {m.complex(('t',), dim, 2 + m.depth)}, {m.param(dim)})")
    m.loop = None
    m.finish([made])
    out = Stream(m.fresh("z"), ("t",), dim)
    m.facts |= {"re", "im", "modulus"}
    shown = m.complex(("t",), dim, 1)
    m.body.append(f"{out.name}[t] = re({shown})*im({made.name}[t]) + abs({shown} + {made.name}[t])")
    m.finish([out])


def matrix_scan(m: Maker, kinds: tuple[str, ...]) -> None:
    """A matrix-valued state, written by outer products and read by products: fast weights."""
    dim = m.pick(m.dims)
    start = m.boundary(dim, kinds, list(m.streams), "matrix")
    made = recurrence(m, "F", dim, start, "matrix", f"({dim}, H)")
    m.facts |= {"matrix state", "outer", "lag -" if m.loop and m.loop.sign < 0 else "lag +"}
    previous = f"{made.name}[{m.shifted(made, -m.pick([1, 1, 2]))}]"
    new = f"outer({m.vector(('t',), dim, 1)}, {m.vector(('t',), 'H', 1)})"
    value = m.pick(
        [
            f"tanh({m.param()}*{previous} + {new})",
            f"sigmoid({new})*{previous} + {new}/(1 + sum({new})**2)",
            f"0.5*({m.param(dim, dim)}@{previous}) + sin({new})",
            f"where({m.condition(('t',), 1)}, {previous}, {new} - {m.param(dim, 'H')})",
            f"0.5*{previous} + {previous}*sin({new}) - maximum({new}, {m.param(dim, 'H')})",
            f"softmax({previous}) + {new}@({m.param(dim, 'H')}.T@tanh({previous}))/4",
        ]
    )
    m.body.append(f"{made.name}[t] = {value}")
    m.loop = None
    m.finish([made])
    for kind, size in (("matrix read", dim), ("transposed read", "H")):
        m.facts.add(kind)
        out = Stream(m.fresh("z"), ("t",), size)
        m.body.append(f"{out.name}[t] = {m.matrix(kind, ('t',), size, 2)} + {m.param(size)}")
        m.finish([out])


def noise(m: Maker, kinds: tuple[str, ...]) -> None:
    """Dropout of each step, of a whole sequence, and zoneout."""
    law = m.pick(["dropout(0.3)", "bernoulli(0.6)", "normal(0, 1)", "uniform(-1, 1)"])
    step, whole, zone = m.fresh("n"), m.fresh("n"), m.fresh("n")
    dim = m.pick(m.dims)
    m.declarations += [
        f"noise {step}[t]: {dim} ~ {law}",
        f"noise {whole}: {dim} ~ {m.pick(['dropout(0.5)', 'normal(1, 0.5)'])}",
        f"noise {zone}[t]: {dim} ~ bernoulli(0.5)",
    ]
    m.streams += [Stream(step, ("t",), dim), Stream(whole, (), dim)]
    m.facts |= {"noise by step", "noise by sequence", "zoneout"}
    made = recurrence(m, "h", dim, m.boundary(dim, kinds, list(m.streams)), "real", dim)
    previous = f"{made.name}[{m.shifted(made, -1)}]"
    new = f"tanh({step}[t]*({m.vector(('t',), dim, 2)}) + {m.param(dim, dim)}@({whole}*{previous}))"
    m.body.append(f"{made.name}[t] = {zone}[t]*{previous} + (1 - {zone}[t])*{new}")
    m.loop = None
    m.finish([made])


def total(m: Maker) -> None:
    """A sum over the sequences too, and something shared that is computed from it."""
    name, dim = m.fresh("q"), m.pick(m.dims)
    m.facts |= {"total", "sum[]"}
    m.body.append(f"total {name} = sum[t](tanh({m.param(dim, 'D')}@x[t]) + {m.vector(('t',), dim, 1)})")
    m.streams.append(Stream(name, (), dim))
    if m.chance(0.5):
        shared = Stream(m.fresh("z"), (), dim)
        m.body.append(f"{shared.name} = sin({name}) - {m.param(dim)}")
        m.streams.append(shared)


def draw(m: Maker, wish: str) -> Callable[[], None]:
    """Declares `y[t] ~ ...`, which others may read; what is returned writes its line, when there is more to read."""
    law = wish if wish in DRAWS else m.pick(DRAWS)
    m.facts.add(law)
    if law == "categorical":
        m.facts.add("boundary none")
        m.declarations.append("state y[t]: one_hot K = none")
        m.streams.append(Stream("y", ("t",), None, True, "category"))
        return lambda: m.body.append(
            f"y[t] ~ categorical(logits = {m.param('K', 'H')}@({m.vector(('t',), 'H', 1)}) + {m.param('K')})"
        )
    if law == "mdn2d":
        m.declarations.append("state y[t]: 3 = 0")
        m.body.append(f"y_read[t] = {m.param('H', '3')}@y[t-1]")
        m.streams.append(Stream("y_read", ("t",), "H"))
        return lambda: mixture(m)
    dim = m.pick(m.dims)
    m.declarations.append(f"state y[t]: {dim} = {m.pick(['0', '1', m.param(dim)])}")
    m.streams.append(Stream("y", ("t",), dim, True))
    if law == "bernoulli":
        return lambda: m.body.append(f"y[t] ~ bernoulli(logits = {m.vector(('t',), dim, 2)} + {m.param(dim)})")
    spread = m.pick(["1.5", f"exp(sin({m.param(dim)}))", f"0.5 + softplus({m.param(dim)})"])
    return lambda: m.body.append(f"y[t] ~ normal(mean = {m.vector(('t',), dim, 2)} + {m.param(dim)}, std = {spread})")


def mixture(m: Maker) -> None:
    def v() -> str:
        return f"{m.vector(('t',), 'H', 1)} + {m.param('H')}"

    m.body += [
        f"y_mean[t] = {v()}",
        f"y_width[t] = exp(sin({v()}))",
        f"y[t] ~ mdn2d(weights = softmax({v()}), mean_x = y_mean[t], mean_y = {v()}, std_x = y_width[t], "
        f"std_y = 1 + y_width[t], correlation = 0.8*sin({v()}), end = sin({m.scalar(('t',), 1)}) + {m.param()})",
    ]
