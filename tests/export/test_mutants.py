"""Mistakes that an export could make, put in on purpose: the comparison must reject each."""

from __future__ import annotations

from typing import Any

import pytest

from dsl.export import walk
from dsl.export.arrays import Arrays
from dsl.export.composites import COMPOSITES
from dsl.export.expressions import STRUCTURE
from dsl.export.reads import Reads
from dsl.export.streams import Streams
from tests.export.cases import example

pytest.importorskip("torch")


def go_on(self: Any, name: str, value: Any, place: Any) -> Any:
    """A loop goes on into the padding."""
    loop = place.loops[-1]
    self.kept[name] = self.let(name if self.around[name][-1] is loop else f"{name}.row", value, loop)
    return self.kept[name]


def zero(self: Any, stream: Any) -> Any:
    """A boundary is 0."""
    return self.o.number(0.0 if stream.dtype != "category" else -1)


def nearer(self: Any, stream: Any, value: Any, axes: Any, axis: str, back: int, shifted: Any = Reads.shifted) -> Any:
    """A shift is one step short."""
    return shifted(self, stream, value, axes, axis, back - 1) if back > 1 else value


def dirty(self: Any, given: Any, stream: Any) -> Any:
    """Padding is what it was."""
    return given


def restarted(self: Any, leaf: Any, place: Any) -> Any:
    """`t` counts from the start of each call."""
    span = next(s for s in place.open if s.axis == leaf.axis)
    return self.aligned(self.o.cast(self.positions(span), "real"), (leaf.axis,), place.open)


def first(o: Arrays, matrix: Any, index: Any) -> Any:
    """None is the first category."""
    return o.gather(o.transpose(matrix), o("maximum", index, 0))


def forgetful(o: Arrays, values: Any, ran: Any, edge: Any) -> Any:
    """A state is not looked at."""
    return edge


def turned(op: Any) -> Any:
    """A matrix is transposed."""
    return op.o.matmul(op.args[0], op.o.transpose(op.args[1]))


MUTANTS = [
    ("backward", False, walk.Walk, "remembered", go_on),
    ("kinds", False, Streams, "edge", zero),
    ("kinds", False, Reads, "shifted", nearer),
    ("matrices", False, Reads, "filled", dirty),
    ("carried", True, Reads, "position", restarted),
    ("carried", False, COMPOSITES, "columns", first),
    ("carried", True, COMPOSITES, "recalled", forgetful),
    ("matrices", False, STRUCTURE, "matmul", turned),
]


@pytest.mark.parametrize(("case", "carried", "owner", "name", "wrong"), MUTANTS, ids=[m[4].__name__ for m in MUTANTS])
def test_is_rejected(
    monkeypatch: pytest.MonkeyPatch, case: str, carried: bool, owner: Any, name: str, wrong: Any
) -> None:
    from tests.export.test_torch import held

    held(example(case, carried=carried))
    if isinstance(owner, dict):
        monkeypatch.setitem(owner, name, wrong)
    else:
        monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(AssertionError, match="Not equal"):
        held(example(case, carried=carried))
