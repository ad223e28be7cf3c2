"""Checking a hand-derived adjoint: both systems on the same random data, equation against equation.

An adjoint is right when its gradients are, whatever its other equations are called and however they are cut. When one
is wrong, `judging` finds the equation: each is judged with the right values of everything else it reads, so that one
mistake is named once, where it was made, and not in every equation behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.system.judging import Comparison, Judge
from dsl.system.resolve import resolve
from dsl.system.system import Stream, System
from dsl.text.parse import parse

if TYPE_CHECKING:
    from dsl.spec import AdjointSpec

STEPS = 6
ATTEMPTS = 4


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
    yours = theirs.bind(_sizes(theirs, mine, given))
    free = [a for a, axis in forward.axes.items() if axis.length is None]
    lengths = {a: np.array([max(2, steps - 3 * n)]) for n, a in enumerate(free)}  # labels fit between frames
    needed = [n for n, s in mine.streams.items() if s.kind in ("input", "param", "const") and n in forward.equations]
    for attempt in range(ATTEMPTS):
        data = _data(forward, mine, derived_lengths(forward.axes, lengths, 1), seed + attempt)
        data.update(unroll(forward, data, lengths, 1, needed))
        truth = {**data, **unroll(mine, data, lengths, 1, list(mine.equations))}
        if all(np.any(truth[g]) for g in ours.gradients.values()):  # what is 0 anyway shows no mistake
            break
    fed = _match_inputs(yours, mine, truth)
    return Judge(yours, mine, truth, fed, lengths, ours.gradients).run()


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
                if stream.initializer is not None and stream.initializer.name == "permutation":
                    values[name] = rng.permutation(shape[0])
                elif stream.dtype == "category":
                    values[name] = rng.integers(0, int(stream.categories or 1), lead)
                else:
                    values[name] = rng.normal(size=lead + shape)
    return values


def _sizes(theirs: System, mine: System, given: Mapping[str, Any]) -> dict[str, Any]:
    """Their arguments' numbers: by the same name, else by the size of something called the same."""
    found = {k: given[k] for k in theirs.arguments if k in given}
    for name, stream in theirs.streams.items():
        for dim, known in zip(stream.shape, mine.streams[name].shape if name in mine.streams else (), strict=False):
            if str(dim) in theirs.arguments:
                found.setdefault(str(dim), int(known))
    return found


def _alike(a: Stream, b: Stream) -> bool:
    return len(a.axes) == len(b.axes) and a.shape == b.shape and a.dtype == b.dtype


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
