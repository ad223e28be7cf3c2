"""Which equation of a hand-derived adjoint is wrong, found by computing with it.

Equations called as ours stand for ours; others are recognised by their values, also at another step. What is neither is
the author's own: right as long as the gradients are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dsl.plan.schedule import Scan, schedule
from dsl.system.system import Read, System, at_home
from tinygrad_seq.symbol import leaves

TOLERANCE = 1e-9  # of the largest number
ROUNDING = 1e-13
SHIFTS = (0, 1, -1, 2, -2)
Candidate = tuple[str, int, Any]  # a stream of ours, some steps on, and its value then


@dataclass(frozen=True)
class Row:
    """One hand-written equation: ours that it stands for, the largest difference, the first step that differs
    in the order of computation (None for a value without steps)."""

    name: str
    ours: str | None
    difference: float = 0.0
    step: int | None = None
    ok: bool = True
    because: str | None = None  # the equation before it that explains the difference
    doubt: tuple[str, ...] = ()  # equations of the author's own that the mistake may be in as well
    form: str = ""  # what it is and what it should be, where its steps, its sharing or its shape is another


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
        width = max([len(r.name) for r in self.rows] + [len(n) for n in self.missing] + [4])
        lines = [f"{r.name:<{width}}  {_verdict(r)}" for r in self.rows]
        lines += [f"{name:<{width}}  missing: no equation gives it" for name in self.missing]
        verdict = "all equations agree"
        if not self:
            parts = [("wrong", self.wrong), ("missing", self.missing)]
            verdict = "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)
        return "\n".join([*lines, verdict])

    __repr__ = __str__


def _verdict(row: Row) -> str:
    as_ = f"  (= {row.ours})" if row.ours not in (None, row.name) else ""
    if row.ok:
        return f"agrees to {row.difference:.1e}{as_}" if row.ours is not None else "one of your own"
    if row.because is not None:
        return f"differs because of {row.because}"
    where = f" first at step {row.step}" if row.step is not None else ""
    if row.difference == math.inf:
        return f"WRONG: {row.form}"
    if math.isnan(row.difference):
        return f"WRONG: not a number{where}"
    what = f"WRONG: differs by {row.difference:.3g}{where}" if row.difference else f"WRONG: should be {row.ours}"
    return what + (f", unless the mistake is in {' or '.join(row.doubt)}" if row.doubt else "")


class Judge:
    """Two systems, the right values of ours, what theirs is fed."""

    def __init__(
        self,
        yours: System,
        mine: System,
        truth: Mapping[str, Any],
        fed: Mapping[str, Any],
        lengths: Mapping[str, Any],
        gradients: Mapping[str, str],
    ) -> None:
        self.yours, self.mine, self.truth = yours, mine, truth
        self.fed, self.lengths, self.gradients = fed, lengths, gradients
        self.reads = {
            n: {x.leaf.name for x in leaves(v) if isinstance(x.leaf, Read)} & yours.equations.keys()
            for n, v in yours.equations.items()
        }
        self.directions = _directions(yours)

    def run(self) -> Comparison:
        alone = self._alone
        twins = {name: self._twin(name, value) for name, value in alone.items()}
        wrong = self._not_right(alone)
        if not wrong:
            return Comparison(tuple(self._sound(name, alone[name], twins[name]) for name in alone), ())
        rows = self._located(wrong)
        named = {row.ours for row in rows.values()}
        return Comparison(tuple(rows.values()), tuple(g for g in wrong if g not in named and g not in alone))

    def _sound(self, name: str, value: Any, twin: str | None) -> Row:
        """A row of an adjoint whose gradients are right; an equation that nothing reads must still be what it says."""
        is_read = any(name in used for used in self.reads.values())
        if twin is None and not is_read and name in self.mine.equations:
            return self._row(name, name, value)
        return Row(name, twin, self._difference(value, twin))

    # ------------------------------------------------------------ values

    @cached_property
    def _alone(self) -> dict[str, Any]:
        """Their equations' values as they are."""
        return self._values({})

    def _values(self, given: Mapping[str, Any], wanted: Iterable[str] | None = None) -> dict[str, Any]:
        """Their equations' values, some streams given."""
        from dsl.run.unroll import Unrolling

        names = [n for n in (self.yours.equations if wanted is None else wanted) if n not in given]
        with np.errstate(all="ignore"):
            run = Unrolling(self._program, {**self.fed, **given}, self.lengths, 1)
            run.execute(names)
            return {n: np.asarray(run.result(n)) for n in names}

    @cached_property
    def _program(self) -> Any:
        from dsl.run.program import Prepared

        return Prepared(self.yours)

    def _twin(self, name: str, value: Any) -> str | None:
        """Ours that has this value: the one of the same name first, then at the same step, then at others."""
        own = [name] if name in self.mine.equations else []
        for shift in SHIFTS if self.yours.streams[name].axes else (0,):
            for other in dict.fromkeys([*own, *self.mine.equations]):
                wanted = self._shifted(other, shift)
                if wanted is not None and _equal(value, wanted):
                    return _at(other, self.mine.streams[other].axes, shift)
        return None

    def _shifted(self, name: str, shift: int) -> Any:
        """Our stream `shift` steps on, 0 beyond its steps; None for one without steps."""
        value = np.asarray(self.truth[name])
        if not shift:
            return value
        if len(self.mine.streams[name].axes) != 1 or len(value) <= abs(shift):
            return None
        out = np.zeros_like(value)
        if shift > 0:
            out[:-shift] = value[shift:]
        else:
            out[-shift:] = value[:shift]
        return out

    def _difference(self, value: Any, twin: str | None) -> float:
        if twin is None or twin not in self.mine.equations:
            return 0.0
        return float(np.abs(value - np.asarray(self.truth[twin])).max(initial=0))

    # ------------------------------------------------------------ finding the mistake

    @cached_property
    def _named(self) -> dict[str, Any]:
        """The right values of what is called as ours; one that all sequences share may stand for one of each."""
        shapes = {n: np.shape(v) for n, v in self.truth.items()}
        return {
            n: self.truth[n]
            for n, value in self._alone.items()
            if n in self.mine.equations
            and len(self.yours.streams[n].axes) == len(self.mine.streams[n].axes)
            and np.shape(value) in (shapes[n], shapes[n][1:])
        }

    def _located(self, wrong: list[str]) -> dict[str, Row]:
        """Every equation judged with the right values of all others that have one; then the cause among them."""
        others = self._values(self._named)
        rows: dict[str, Row] = {}
        for name in self.yours.equations:
            if name in self._named:
                given = {k: v for k, v in self._named.items() if k != name}
                rows[name] = self._row(name, name, self._values(given, [name])[name])
            elif name in self.gradients.values():
                rows[name] = Row(name, name, math.inf, ok=False, form=self._form(name, name))
            else:
                twin = self._twin(name, others[name])
                rows[name] = Row(name, twin, self._difference(others[name], twin))
        bad = [n for n, row in rows.items() if not row.ok]
        strange = [n for n, row in rows.items() if row.ours is None or n in self._copies]
        suspects = [s for s in strange if not bad or any(s in self._behind(n, strange) for n in bad)]
        begin = self._first(suspects)
        first = [s for s in suspects if s in self._copies or s in begin]
        menders = self._menders(first, SHIFTS[:1]) or self._menders(suspects, SHIFTS[:1])
        menders = menders or self._menders(suspects, SHIFTS[1:3])
        for name in bad:
            rows[name] = replace(rows[name], doubt=tuple(self._behind(name, strange)))
        if menders:
            cause = min(menders, key=lambda n: len(menders.keys() & self._behind(n, strange, self._reads_now)))
            for name in bad:
                rows[name] = replace(rows[name], because=cause if cause in self._behind(name, strange) else None)
            self._blame(rows, cause, menders[cause], strange)
        elif not bad:
            plain = dict(rows)
            self._outputs(rows, wrong, strange)
            return self._several(plain, suspects, sum(not r.ok for r in rows.values())) or rows
        return rows

    def _several(self, rows: dict[str, Row], suspects: list[str], limit: int) -> dict[str, Row]:
        """Mistakes in several places: one at a time is mended where it begins, then the rest is judged anew.
        Nothing when that blames as many equations as `limit`."""
        found = next((f for f in (list(self._beginnings(suspects, k)) for k in (1, 2, 3)) if f), [])
        best = max(found, key=lambda f: f[0], default=None)
        if best is None:
            return {}
        _, name, (ours, shift, value) = best
        fed = {**self.fed, name: value}
        rest = Judge(self.yours, self.mine, self.truth, fed, self.lengths, self.gradients).run()
        if rest.missing or 1 + len(rest.wrong) >= limit:
            return {}
        for row in rest.rows:
            if row.ok and row.ours is not None and rows[row.name].ours is None:
                row = replace(row, difference=self._difference(self._alone[row.name], row.ours), ok=False, because=name)
            rows[row.name] = row
        rows[name] = Row(name, _at(ours, self.mine.streams[ours].axes, shift), ok=False)
        return rows

    def _beginnings(self, suspects: list[str], steps: int) -> Iterator[tuple[int, str, Candidate]]:
        """How many more equations begin like ours, some at least, with one of our values in the place of one that is
        the first that does not."""
        before = self._begun(self._alone, steps)
        for name in self._first(suspects, steps):
            for candidate in self._candidates(name, SHIFTS[:1]):
                values = {**self._alone, **self._values({name: candidate[2]})}
                more = len(self._begun(values, steps) - before - {name})
                if more > 0:
                    yield more, name, candidate

    def _begun(self, values: Mapping[str, Any], steps: int) -> set[str]:
        """The equations with steps that have one of our values at the steps computed first."""
        ours = [np.asarray(self.truth[n]) for n in self.mine.equations]
        return {
            name
            for name, value in values.items()
            if self.yours.streams[name].axes
            and any(v.shape == np.shape(value) and self._like(name, value, v, steps) for v in ours)
        }

    @cached_property
    def _copies(self) -> set[str]:
        """Equations of the author's own that are what another is already, which does not rest on them: that may be
        ours, and stand where another one of ours should; or lack what makes it another."""
        own = [n for n in self._alone if n not in self._named]
        return {
            name
            for name, other in itertools.product(own, self._alone)
            if name != other
            and _equal(self._alone[name], self._alone[other])
            and name not in self._behind(other, own, self._reads_now)
        }

    def _blame(self, rows: dict[str, Row], cause: str, mend: Candidate, strange: list[str]) -> None:
        """One equation is wrong: what becomes ours when it is mended differs because of it."""
        ours, shift, value = mend
        for name, mended in self._values({cause: value}).items():
            if name in strange and rows[name].ours is None:
                twin = self._twin(name, mended)
                if twin is not None:
                    rows[name] = Row(name, twin, self._difference(self._alone[name], twin), ok=False, because=cause)
        masked = self._reads_now(cause) - self._named.keys() - set(strange)
        masked |= {n for n in self._copies if _equal(self._alone[n], self._alone[cause])}
        behind = [n for n in self._behind(cause, strange) if rows[n].ok]  # those that are right once it is, are
        doubt = dict.fromkeys([*behind, *self._menders(sorted(masked), SHIFTS[:1])])
        doubt.pop(cause, None)
        rows[cause] = Row(cause, _at(ours, self.mine.streams[ours].axes, shift), ok=False, doubt=tuple(doubt))

    def _menders(self, suspects: list[str], shifts: Sequence[int]) -> dict[str, Candidate]:
        """Equations in whose place one of our values makes every gradient right, and that value."""
        found: dict[str, Candidate] = {}
        for name in suspects:
            mends = (c for c in self._candidates(name, shifts) if self._all_right(name, c[2]))
            mend = next(mends, None)
            if mend is not None:
                found[name] = mend
        return found

    def _first(self, suspects: list[str], steps: int = 1) -> list[str]:
        """Those that are nothing of ours already at the steps that are computed first, while all they read there is."""

        def begins(name: str, value: Any) -> bool:
            return self._like(name, self._alone[name], value, steps)

        strange = {n for n in suspects if self.yours.streams[n].axes and not self._alike(n, SHIFTS[:1], begins)}
        return [n for n in suspects if n in strange and not strange & (self._reads_now(n) - {n})]

    def _reads_now(self, name: str) -> set[str]:
        reads = (x.leaf for x in leaves(self.yours.equations[name]) if isinstance(x.leaf, Read))
        return {r.name for r in reads if at_home(r.index, self.yours.streams[r.name].axes)} & self.reads.keys()

    def _candidates(self, name: str, shifts: Sequence[int]) -> list[Candidate]:
        """Our values that an equation may be meant for: those it begins like, any of its shape where there are none;
        never what it is."""
        others = self._alike(name, shifts, lambda name, value: not _equal(self._alone[name], value))
        if name in self._copies or not self.yours.streams[name].axes:
            return others
        return [c for c in others if self._begins(name, c[2])] or others

    def _alike(self, name: str, shifts: Sequence[int], test: Callable[[str, Any], bool]) -> list[Candidate]:
        own, found = np.shape(self._alone[name]), []
        for other, shift in itertools.product(self.mine.equations, shifts):
            value = self._shifted(other, shift)
            if value is not None and np.shape(value) == own and test(name, value):
                found.append((other, shift, value))
        return found

    def _begins(self, name: str, value: Any) -> bool:
        """Whether an equation has that value at the step computed first, which no mistake elsewhere has reached."""
        return self._like(name, self._alone[name], value, 1)

    def _like(self, name: str, value: Any, wanted: Any, steps: int) -> bool:
        first = slice(-steps, None) if self.directions.get(name, 1) < 0 else slice(steps)
        return _equal(value[first], wanted[first])

    def _not_right(self, values: Mapping[str, Any]) -> list[str]:
        """The gradients that no equation gives: the one of that name, else any; as many as are alike."""
        return list(self._misses(values))

    def _misses(self, values: Mapping[str, Any]) -> Iterator[str]:
        spent = {g for g in self.gradients.values() if g in values}
        for gradient in self.gradients.values():
            options = [gradient] if gradient in values else [n for n in values if n not in spent]
            given = next((n for n in options if _equal(values[n], self.truth[gradient])), None)
            if given is None:
                yield gradient
            else:
                spent.add(given)

    def _all_right(self, name: str, value: Any) -> bool:
        """Whether every gradient is right once an equation has that value; what does not rest on it stays."""
        behind = self._resting[name]
        kept = {n: v for n, v in self._alone.items() if n not in behind}
        return not any(self._misses({**kept, **self._values({**kept, name: value}, behind), name: value}))

    @cached_property
    def _resting(self) -> dict[str, list[str]]:
        """What rests on each equation, directly or not."""
        found: dict[str, list[str]] = {}
        for name in self.yours.equations:
            reached, todo = {name}, {name}
            while todo:
                todo = {n for n, used in self.reads.items() if used & todo} - reached
                reached |= todo
            found[name] = [n for n in self.yours.equations if n in reached - {name}]
        return found

    def _outputs(self, rows: dict[str, Row], wrong: list[str], strange: list[str]) -> None:
        """Gradients under names of the author's own, and wrong: outputs that are nothing of ours, by their shapes."""
        outputs = [n for n in self.yours.outputs if n in strange]
        for gradient in wrong:
            for name in [n for n in outputs if self.yours.streams[n].shape == self.mine.streams[gradient].shape]:
                if rows[name].ok:
                    rows[name] = Row(name, gradient, ok=False, doubt=tuple(self._behind(name, strange)))
                    break

    def _behind(self, name: str, strange: list[str], reads: Callable[[str], Iterable[str]] | None = None) -> list[str]:
        """Equations of the author's own that `name` rests on through others of that kind, the nearest first."""
        found: list[str] = []
        todo = [name]
        while todo:
            for other in sorted((reads or self.reads.__getitem__)(todo.pop(0))):
                if other in strange and other not in found and other != name:
                    found.append(other)
                    todo.append(other)
        return found

    def _form(self, name: str, ours: str) -> str:
        """How the kind of value that an equation gives is unlike the kind of ours: the first thing of these."""
        yours, mine = self.yours.streams[name], self.mine.streams[ours]
        if len(yours.axes) != len(mine.axes):
            have, want = (", ".join(s.axes) for s in (yours, mine))
            if want:
                return f"should have a value at each {want}"
            return f"has a value at each {have}, should be one" + (
                f": total {name} = sum[{have}](...)" if mine.total else ""
            )
        if yours.shape != mine.shape:
            have, want = (" by ".join(map(str, s.shape)) or "one number" for s in (yours, mine))
            return f"is {have}, should be {want} (the sizes are those it is tried with)"
        return (
            f"is one a sequence, should be their sum: total {name} = ..." if mine.total else "should be one a sequence"
        )

    def _row(self, name: str, ours: str, value: Any) -> Row:
        stream, wanted = self.yours.streams[name], np.asarray(self.truth[ours])
        if wanted.ndim and np.shape(value) == wanted.shape[1:]:
            value = value[None]
        if np.shape(value) != wanted.shape:
            return Row(name, ours, math.inf, None, False, form=self._form(name, ours))
        difference = np.abs(value - wanted)
        ok = _equal(value, wanted)
        step = None
        if not ok and stream.axes:
            steps = np.nonzero(~(difference.reshape(len(difference), -1).max(axis=1) <= _rounding(wanted)))[0]
            step = int(steps[-1] if self.directions.get(name, 1) < 0 else steps[0])
        return Row(name, ours, float(difference.max(initial=0)), step, ok)


def _equal(value: Any, wanted: Any) -> bool:
    if np.shape(value) != np.shape(wanted):
        return False
    return bool(np.all(np.abs(np.asarray(value) - wanted) <= _rounding(wanted)))


def _rounding(wanted: Any) -> float:
    """How far what is equal may be apart; gradients may be very small."""
    return ROUNDING + TOLERANCE * float(np.abs(wanted).max(initial=0))


def _at(name: str, axes: tuple[str, ...], shift: int) -> str:
    return f"{name}[{axes[0]}{shift:+d}]" if shift else name


def _directions(system: System) -> dict[str, int]:
    """The order of steps of each equation: -1 for those computed backwards."""
    found: dict[str, int] = {}
    stack = [(b, 1) for b in schedule(system)]
    while stack:
        block, direction = stack.pop()
        if isinstance(block, Scan):
            stack += [(b, block.direction) for b in block.body]
        else:
            found.update(dict.fromkeys(block.equations, direction))
    return found
