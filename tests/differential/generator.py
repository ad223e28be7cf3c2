"""Random well-typed cells as source text, with the facts a coverage table needs.

`random_cell(seed)` is a pure function of its seed, and larger seeds make larger cells. A cell is built in stages
(`stages`, here the ones every cell may have), each in the words of `maker`. The language is all of it: two and three
axes, derived axes, sub-cells in every form, complex and matrix-valued streams, noise, drawn streams, totals.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.differential.maker import Maker
from tests.differential.reads import Stream
from tests.differential.stages import complex_scan, draw, matrix_scan, noise, total
from tests.differential.subcells import FEEDBACK, add_feedback, add_use, nested, sub_cell
from tests.differential.words import BOUNDARIES, COMPLEX, DERIVED, DRAWS, MATRIX, NOISE, PRIMITIVES, RARE

LARGEST = 10_000  # the seed from which on cells grow no more
HEAVY = (*RARE, *COMPLEX, *MATRIX, *NOISE, *DRAWS, "total")  # no other cell is likely to have these and all boundaries
MACROS = "def squash(z, w) = w*tanh(z)/(2 + sin(z))\ndef mix(a, b, w) = squash(w, 1)*a + (1 - squash(w, 1))*b\n"


@dataclass
class Case:
    """A cell's text with numbers for its arguments and lengths for its data axes, one an entry of the batch; `tied`
    data repeats its numbers, so that maxima tie."""

    seed: int
    text: str
    arguments: dict[str, int]
    lengths: dict[str, list[int]]
    facts: set[str] = field(default_factory=set)
    tied: bool = False


def losses(m: Maker, drawn: str | None) -> None:
    """One loss that everything unread enters, so that every parameter can matter."""
    terms = []
    for s in m.unread + [s for s in m.streams if not s.axes]:
        one = f"{s.name}[{','.join(s.axes)}]" if s.axes else s.name
        if s.sort == "category":
            continue
        if s.sort == "complex":
            one = m.pick([f"re({one})", f"im({one})", f"abs({one})", f"re(conj({one})*({one}))"])
        if s.sort == "matrix":
            one = f"{one}@{m.param('H')}"
        term = f"({m.param(s.dim)}@({one}))" if s.dim else f"{m.param()}*{one}"
        for a in reversed(s.axes):
            term = f"{'sum' if a in m.empty else m.pick(['sum', 'mean', 'sum'])}[{a}]({term})"
        terms.append(term)
    if drawn:
        m.facts.add("logprob")
        terms.append(f"-{'sum' if 't' in m.empty else m.pick(['mean', 'sum'])}[t](logprob({drawn}[t]))")
    m.body.append(f"loss cost = {' + '.join(terms)}")


def declare(m: Maker, two: bool, three: bool, wish: str) -> None:
    """What the data gives, and the axes made of its axes."""
    shifted = m.chance(0.5)
    m.declarations.append("input x[t]: D" + (" = 0" if shifted else ""))
    m.finish([Stream("x", ("t",), "D", shifted)])
    if two:
        m.declarations.append("input q[s]: H = 0")
        m.finish([Stream("q", ("s",), "H", True)])
    if three:
        m.declarations.append("input o[r]: H = 0")
        m.finish([Stream("o", ("r",), "H", True)])
    if m.chance(0.3):
        m.declarations.append("input w[t]: scalar = 1")
        m.finish([Stream("w", ("t",), None, True)])
    if wish in HEAVY or m.chance(0.35):
        where = "[t]" if wish in HEAVY else m.pick(["[t]", "[t]", "[s]" if two else "[t]", ""])
        m.declarations.append(f"input k{where}: one_hot K" + (" = none" if where else ""))
        m.streams.append(Stream("k", tuple(where[1:-1]), None, True, "category"))
        m.facts |= {"boundary none"} if where else set()
    for base in ("t", "s" if two else "t", "u"):
        if m.chance(0.25) and (base in "ts" or base in m.derived):
            name, length = "uvz"[len(m.derived)], m.pick(list(DERIVED))
            m.derived[name] = base, length
            if DERIVED[length][0] or base in m.empty:
                m.empty.add(name)
            m.facts |= {f"derived {length.format(t='t')}", *(["derived of derived"] if base == "u" else [])}
            m.declarations.append(f"time {name}: {length.format(t=base)}")


def random_cell(seed: int) -> Case:
    """The cell of that seed. Every primitive and boundary kind is wished for in turn, so that coverage is even."""
    rng = random.Random(f"cell {seed}")
    grown = min(1.0, seed / LARGEST)
    facts: set[str] = set()
    wish = PRIMITIVES[seed % len(PRIMITIVES)]
    turn = seed % len(PRIMITIVES) + seed // len(PRIMITIVES)
    with_subs, ragged = turn % 2 == 1, turn // 2 % 2 == 1
    kinds = (BOUNDARIES[seed // 3 % 4], *BOUNDARIES[:4])
    m = Maker(rng, "Random", facts, wish)
    m.depth = int(grown + rng.random() * 0.7)
    two = m.chance(0.45) or wish in ("softmax[]", "log_softmax[]", "last[]", "max[]", "min[]", "logsumexp[]", "mean[]")
    three = two and m.chance(0.2)
    if m.chance(0.12):
        m.empty |= set(m.pick(["t", "s", "ts"]))
        facts.add("a sequence without steps")
    subs = {name: sub_cell(rng, name, facts, m.empty) for name in ("SubA", "SubB")} if with_subs else {}
    if subs:
        subs["Simple"] = FEEDBACK
        subs["Nest"] = nested(m, "SubA")
    declare(m, two, three, wish)
    drawn = draw(m, wish) if wish in (*DRAWS, "logprob") or m.chance(0.3) else None
    names = ["scan", "vector", "use", "feedback", "value", "derived", "grid", "grid scan", "other", "complex", "matrix",
             "noise", "total", "cube"]  # fmt: skip
    weights = [6, 3, 8, 2, 1, 4, 2, 1, 2, 1.2, 1.2, 1.2, 1, 1]
    stages = rng.choices(names, weights, k=rng.choice([2, 3, 3, 4]) + int(rng.random() * 4 * grown))
    stages += ["complex"] * (wish in COMPLEX) + ["matrix"] * (wish in MATRIX) + ["noise"] * (wish in NOISE)
    stages += ["total"] * (wish == "total")
    if "scan" not in stages:
        stages[0] = "scan"
    if subs and not {"use", "feedback"} & {*stages}:
        stages.insert(1, "use")
    actions = {
        "scan": lambda: m.scan(("t",), kinds),
        "other": lambda: m.scan((m.pick(m.every_axis()),), kinds),
        "vector": lambda: m.equation((m.pick(m.every_axis()),), kinds),
        "value": lambda: m.equation((), kinds),
        "complex": lambda: complex_scan(m, kinds),
        "matrix": lambda: matrix_scan(m, kinds),
        "noise": lambda: noise(m, kinds),
        "total": lambda: total(m),
    }
    if m.derived:
        actions["derived"] = lambda: (m.equation((u := m.pick(list(m.derived)),), kinds), m.scan((u,), kinds))
    if two:
        actions["grid"] = lambda: m.equation(m.pick([("t", "s"), ("t", "s"), ("s", "t"), ("t", *m.derived)[:2]]), kinds)
        actions["grid scan"] = lambda: m.scan(m.pick([("t", "s"), ("s", "t")]), kinds)
    if three:
        actions["cube"] = lambda: m.pick([m.equation, m.scan])(("t", "s", "r"), kinds)
    if subs:
        actions["use"] = lambda: add_use(m, subs)
        actions["feedback"] = lambda: add_feedback(m, subs)
    for stage in stages:
        if stage in actions:
            actions[stage]()
            facts |= {f"stage {stage}", *(["scan of a grid"] if stage == "grid scan" else [])}
    if wish == "last[]":
        m.equation(("t", "s"), kinds, state=True, dim="H")
    if wish in HEAVY:
        for kind in BOUNDARIES[:4]:
            m.equation(("t",), (kind,), state=True)
    for _ in range(12):
        if wish in facts or wish in ("logprob", *NOISE, *DRAWS):
            break
        m.wish = wish
        m.equation(("t",), kinds, dim="H")
    if drawn:
        drawn()
    losses(m, "y" if drawn else None)
    return finished(m, subs, seed, ragged, two, three)


def finished(m: Maker, subs: dict[str, str], seed: int, ragged: bool, two: bool, three: bool) -> Case:
    """The text with the numbers of its arguments and the lengths of its data."""
    rng, facts, grown = m.rng, m.facts, min(1.0, seed / LARGEST)
    longest, few = 5 + int(5 * grown), 3 + int(1.5 * grown)
    if ragged:
        sizes = rng.sample(range(1, longest + 1), rng.choice(range(2, few + 1)))
    else:
        sizes = [rng.choice(range(1, longest))] * rng.choice([1, 2])
    lengths = {"t": sizes}
    for axis in "s" * two + "r" * three:
        even = rng.choice([1, 2, 3, 3])
        lengths[axis] = [rng.choice([1, 2, 3, 4]) if ragged else even for _ in sizes]
    for axis in sorted(m.empty & set(lengths)):
        lengths[axis] = [0 if rng.random() < 0.5 else n for n in lengths[axis]] if ragged else [0] * len(sizes)
    facts.add("ragged" if ragged else "even")
    facts |= {"sub-cell" if "sub-cell" in facts else "flat"}
    tied = m.chance(0.08)
    facts |= {"tied"} if tied else set()
    body = m.text("")
    extra = {"K": "K" in body, "j=2": "integer argument" in facts, "Cell=SubA": " Cell(" in body}
    header = ", ".join(["D", "H", *(name for name, used in extra.items() if used)])
    text = (MACROS if "def" in facts else "") + "".join(subs.values()) + m.text(header)
    most = 3 + int(3 * grown)
    arguments = {"D": rng.choice(range(1, most + 1)), "H": rng.choice([1, 2, 4, 3, 5, 6][:most])}
    if ", K" in header:
        arguments["K"] = rng.choice([1, 2, 3, 5])
    return Case(seed, text, arguments, lengths, facts, tied)
