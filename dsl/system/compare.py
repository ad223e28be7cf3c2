"""Checking a hand-derived adjoint: both systems on the same random data, equation against equation.

An equation is judged with the right values of everything else it reads, so that one mistake is named
once, where it was made, and not in every equation behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.plan.schedule import Scan, schedule
from dsl.system.resolve import resolve
from dsl.system.system import Stream, System
from dsl.text.parse import parse

if TYPE_CHECKING:
    from dsl.spec import AdjointSpec

TOLERANCE = 1e-9
STEPS = 6


@dataclass(frozen=True)
class Row:
    """One hand-written equation: ours that it stands for, the largest difference, the first step that differs
    in the order of computation (None for a value without steps)."""

    name: str
    ours: str | None
    difference: float
    step: int | None
    ok: bool
    because: str | None = None  # the equation before it that explains the difference


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; true when every equation agrees and no gradient is missing."""

    rows: tuple[Row, ...]
    missing: tuple[str, ...]

    def __bool__(self) -> bool:
        return all(r.ok for r in self.rows) and not self.missing

    @property
    def wrong(self) -> tuple[str, ...]:
        """The equations where a mistake was made; what merely follows from one is not among them."""
        return tuple(r.name for r in self.rows if not r.ok and r.because is None)

    def __str__(self) -> str:
        lines = []
        width = max([len(r.name) for r in self.rows] + [4])
        for r in self.rows:
            as_ = f"  (= {r.ours})" if r.ours not in (None, r.name) else ""
            where = f" first at step {r.step}" if r.step is not None else ""
            if r.ok:
                state = f"agrees to {r.difference:.1e}{as_}" if r.ours is not None else "stands for nothing of ours"
            elif r.because is not None:
                state = f"differs because of {r.because}"
            else:
                state = (
                    "WRONG: nothing of ours has this value"
                    if r.ours is None
                    else f"WRONG: differs by {r.difference:.3g}{where}"
                )
            lines.append(f"{r.name:<{width}}  {state}")
        lines += [f"{name:<{width}}  missing" for name in self.missing]
        verdict = (
            "all equations agree"
            if self
            else f"wrong: {', '.join(self.wrong) or '-'}; missing: {', '.join(self.missing) or '-'}"
        )
        return "\n".join([*lines, verdict])

    __repr__ = __str__


def compare(ours: AdjointSpec, text: str, *, seed: int = 0, steps: int = STEPS, **sizes: int) -> Comparison:
    """Evaluate a hand-derived adjoint (a cell's source) beside the derived one.

    Inputs are matched by name, else by axes and shape; other equations by name, else by value. `sizes`
    gives arguments of the cell (small distinct primes otherwise).
    """
    from dsl.run.rows import derived_lengths
    from dsl.run.unroll import unroll

    theirs, _ = resolve(parse(text, "<yours>"), None, {})
    primes = iter((3, 5, 4, 7, 2, 6, 11))
    given = {
        k: (v if isinstance(v, int) else sizes.get(k) or next(primes))
        for k, v in ours.system.arguments.items()
        if not isinstance(v, str)
    }
    forward = ours.forward.system.bind({k: v for k, v in given.items() if k in ours.forward.system.arguments})
    mine = ours.system.bind(given)
    yours = theirs.bind({k: given[k] for k in theirs.arguments if k in given})
    lengths = {
        a: np.array([max(3, steps - n)])
        for n, a in enumerate(x for x, axis in forward.axes.items() if axis.length is None)
    }
    data = _data(forward, mine, derived_lengths(forward.axes, lengths, 1), seed)
    needed = [n for n, s in mine.streams.items() if s.kind in ("input", "param", "const") and n in forward.equations]
    data.update(unroll(forward, data, lengths, 1, needed))
    truth = {**data, **unroll(mine, data, lengths, 1, list(mine.equations))}
    fed = _match_inputs(yours, mine, truth)
    return _judge(yours, mine, truth, fed, lengths, ours.gradients)


def _data(forward: System, mine: System, lengths: Mapping[str, Any], seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {}
    for system in (forward, mine):
        for name, stream in system.streams.items():
            if (
                stream.kind in ("input", "param", "const", "draw")
                and name not in values
                and name not in forward.equations
            ):
                lead = () if stream.shared else (*(int(lengths[a][0]) for a in stream.axes), 1)
                shape = tuple(int(d) for d in stream.shape)
                if stream.dtype == "category":
                    values[name] = rng.integers(0, int(stream.categories or 1), lead)
                else:
                    values[name] = rng.normal(size=lead + shape)
    return values


def _alike(a: Stream, b: Stream) -> bool:
    return len(a.axes) == len(b.axes) and [str(d) for d in a.shape] == [str(d) for d in b.shape] and a.dtype == b.dtype


def _match_inputs(yours: System, mine: System, truth: Mapping[str, Any]) -> dict[str, Any]:
    fed: dict[str, Any] = {}
    used: set[str] = set()
    for name, stream in yours.streams.items():
        if stream.kind in ("input", "param", "const"):
            if name in truth:
                fed[name] = truth[name]
                used.add(name)
    for name, stream in yours.streams.items():
        if stream.kind in ("input", "param", "const") and name not in fed:
            same = [n for n, s in mine.streams.items() if s.kind == stream.kind and n not in used and _alike(s, stream)]
            if len(same) != 1:
                options = ", ".join(n for n, s in mine.streams.items() if s.kind == stream.kind)
                raise ValueError(f"input {name!r} of your adjoint is none of ours ({options}); rename it")
            fed[name] = truth[same[0]]
            used.add(same[0])
    return fed


def _judge(
    yours: System,
    mine: System,
    truth: Mapping[str, Any],
    fed: Mapping[str, Any],
    lengths: Mapping[str, Any],
    gradients: Mapping[str, str],
) -> Comparison:
    from dsl.run.unroll import unroll

    found = unroll(yours, fed, lengths, 1, list(yours.equations))
    shared = {n: truth[n] for n, v in found.items() if n in mine.equations and np.shape(truth[n]) == np.shape(v)}
    directions = _directions(yours)
    rows: list[Row] = []
    matched: dict[str, str] = {}
    for name in yours.equations:
        if name in shared:
            others = {k: v for k, v in shared.items() if k != name}
            value = unroll(yours, {**fed, **others}, lengths, 1, [name])[name]
            row = _row(name, name, value, truth[name], yours.streams[name], directions.get(name, 1))
            matched[name] = name
        else:
            row, twin = _by_value(name, found[name], mine, truth, yours.streams[name])
            if twin is not None:
                matched[name] = twin
        rows.append(row)
    reached = {matched[r.name] for r in rows if r.ok and r.name in matched}
    missing = tuple(g for g in gradients.values() if g not in reached and g not in yours.equations)
    return Comparison(tuple(_blame(yours, rows, bool(missing))), missing)


def _directions(system: System) -> dict[str, int]:
    found: dict[str, int] = {}
    stack = [(b, 1) for b in schedule(system)]
    while stack:
        block, direction = stack.pop()
        if isinstance(block, Scan):
            stack += [(b, block.direction) for b in block.body]
        else:
            found.update(dict.fromkeys(block.equations, direction))
    return found


def _row(name: str, ours: str, value: Any, wanted: Any, stream: Stream, direction: int) -> Row:
    difference = np.abs(np.asarray(value) - np.asarray(wanted))
    worst = float(difference.max()) if difference.size else 0.0
    ok = worst <= TOLERANCE * max(1.0, float(np.abs(wanted).max()) if np.size(wanted) else 1.0)
    step = None
    if not ok and stream.axes:
        steps = np.nonzero(difference.reshape(difference.shape[0], -1).max(axis=1) > TOLERANCE)[0]
        step = int(steps[-1] if direction < 0 else steps[0])
    return Row(name, ours, worst, step, ok)


def _by_value(name: str, value: Any, mine: System, truth: Mapping[str, Any], stream: Stream) -> tuple[Row, str | None]:
    for other in mine.equations:
        if np.shape(truth[other]) == np.shape(value) and np.allclose(
            value, truth[other], rtol=TOLERANCE, atol=TOLERANCE
        ):
            return Row(name, other, float(np.abs(value - truth[other]).max(initial=0)), None, True), other
    return Row(name, None, 0.0, None, True), None


def _blame(yours: System, rows: list[Row], missing: bool) -> list[Row]:
    """Where something differs, put the blame on the first equation behind it that stands for nothing of ours."""
    from dsl.system.system import Read
    from tinygrad_seq.symbol import leaves

    strange = {r.name for r in rows if r.ours is None}
    reads = {n: {x.leaf.name for x in leaves(v) if isinstance(x.leaf, Read)} for n, v in yours.equations.items()}

    def behind(name: str) -> list[str]:
        """Equations of unknown value that `name` rests on, directly or through others of that kind."""
        seen: list[str] = []
        todo = [name]
        while todo:
            for other in sorted(reads[todo.pop()] & strange):
                if other not in seen and other != name:
                    seen.append(other)
                    todo.append(other)
        return seen

    culprits: set[str] = set()
    judged: list[Row] = []
    for row in rows:
        causes = [] if row.ok else behind(row.name)
        if causes:
            first = next((c for c in causes if not (behind(c))), causes[0])
            culprits.add(first)
            row = Row(row.name, row.ours, row.difference, row.step, False, first)
        judged.append(row)
    if missing and not culprits:
        culprits |= {n for n in strange if not behind(n)}
    return [Row(r.name, None, r.difference, r.step, False) if r.name in culprits else r for r in judged]
