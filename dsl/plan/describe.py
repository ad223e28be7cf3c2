"""`print(spec.plan())`: what the compiler made of a cell, in words and numbers.

For the recorded forward run and for the backward run: the loop nests in order, what left the recurrence,
which products were stacked, what shares a loop, what is kept from step to step and for the backward run,
what is computed again, and an estimate of work and traffic. Sizes stay symbolic unless the cell has numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from dsl.plan.definitions import Term
from dsl.plan.linear import is_linear
from dsl.plan.loops import AFTER, BEFORE, STEP, Group, Item, Loop, Nest, Outers, Products, Transfer
from dsl.plan.program import PlannedSystem, programs
from dsl.system.dims import Dim
from dsl.system.system import System
from tinygrad_seq.kernels.fourier import transform_of
from tinygrad_seq.kernels.product import backend

TITLES = {
    BEFORE: "before each chunk's steps",
    STEP: "each step",
    AFTER: "after each chunk's steps",
    "end": "at the end",
}


@dataclass(frozen=True)
class Plan:
    """A readable plan. `source` is the generated code of both runs."""

    system: System
    forward: PlannedSystem
    backward: PlannedSystem | None
    dtype: str

    def __str__(self) -> str:
        parts = [self._kernel(), *_program("forward, recorded", self.forward)]
        if self.backward is not None:
            parts += ["", *_program("backward", self.backward)]
        return "\n".join(parts)

    __repr__ = __str__

    @property
    def source(self) -> str:
        """The generated code, each run's file followed by its calls in order."""
        programs = [self.forward] + ([self.backward] if self.backward is not None else [])
        return "\n\n".join(p.source.text + _listing(p) for p in programs)

    def _kernel(self) -> str:
        found = backend(self.dtype)
        note = (
            "register tiles over packed weights"
            if found == "intrinsic"
            else "BLAS over packed weights: THE REGISTER TILES ARE NOT AVAILABLE HERE"
        )
        return f"{self.system.name}, {self.dtype}; products: {note}"


def describe(system: System, dtype: str = "float32") -> Plan:
    """The plan of a cell's system. Errors: CellError E7xx for what has no compiled form."""
    forward, backward = programs(system, None, dtype)
    return Plan(system, forward, backward, dtype)


def _listing(program: PlannedSystem) -> str:
    """The calls of a file as comments: shared values come in, then the run, in stages when totals are read again."""
    lines = [""]
    for k, calls in enumerate(program.source.listings):
        title = "before a run" if not k else "of a run" if k % 2 else "when the parts of a batch are done"
        lines += [f"# calls {title}:", *(f"#   {text}" for text in calls)] if calls else []
    return "\n".join([*lines, ""])


def _program(title: str, program: PlannedSystem) -> list[str]:
    lines = [f"{title}: {len(program.arrangement.nests)} loop nest{'s' if len(program.arrangement.nests) != 1 else ''}"]
    if program.parts:
        lines.append(f"  complex, as real and imaginary part: {', '.join(program.parts)}")
    if program.normal.before:
        lines.append(f"  once, in NumPy: {', '.join(program.normal.before)}")
    for k, nest in enumerate(program.arrangement.nests):
        lines += _nest(k, nest, program)
    kept = [n for n, d in program.normal.definitions.items() if n in program.layout.kept and d.axes]
    if kept:
        size = _total([program.normal.definitions[n].shape for n in kept])
        lines.append(f"  kept for the backward run: {', '.join(kept)}; {_times(size, 4)} bytes a step and sequence")
    passing = [n for n, p in program.layout.places.items() if p.window]
    if passing:
        lines.append(f"  in memory for one chunk of steps at a time: {', '.join(passing)}")
    if program.arrangement.spilled:
        lines.append(f"  kept rather than computed twice: {', '.join(program.arrangement.spilled)}")
    work = Dim()
    for pack in program.source.packs:
        work = work + _total([(c,) for c in pack.columns]) * _total([(r,) for r in pack.rows])
    for group in program.source.groups:
        for name in group:
            height, width = program.normal.definitions[name].shape
            work = work + height * width
    lines.append(f"  about {_times(work, 2)} floating-point operations a step and sequence in products")
    lines += [_transforms(width, count, program) for width, count in program.source.transforms.items()]
    return lines


def _transforms(width: Dim, count: int, program: PlannedSystem) -> str:
    """Transforms of rows of a width; with a number for it, which way they take."""
    what = f"  {count} Fourier transform{'s' * (count > 1)} a step and sequence"
    sizes = {k: v for k, v in program.system.arguments.items() if isinstance(v, int)}
    if not width.names <= sizes.keys():
        return f"{what}, of {width} real and imaginary parts: fast ones, of any length"
    n = int(width.bind(sizes)) // 2
    return f"{what}, each of {n} numbers {', '.join(transform_of(n, program.dtype).ways)}"


def _nest(k: int, nest: Nest, program: PlannedSystem) -> list[str]:
    if nest.axis is None:
        way = "once a sequence"
    else:
        way = f"over {nest.axis}{'' if nest.direction > 0 else ' from the end'}, in chunks"
    lines = [f"  {k + 1}. {_kind(nest, program)} {way}"]
    if is_linear(nest, program.normal):
        lines.append("     a step multiplies and adds; products are made of whole chunks, outside of the steps")
    for section in (BEFORE, STEP, AFTER, "end"):
        items = nest.sections.get(section, [])
        if items:
            lines.append(f"     {TITLES[section] if nest.axis is not None else 'work'}:")
            lines += [f"       {line}" for item in items for line in _item(item, program)]
    return lines


def _kind(nest: Nest, program: PlannedSystem) -> str:
    if is_linear(nest, program.normal):
        return "linear recurrence"
    return "recurrence" if nest.recurrent else "loop"


def _item(item: Item, program: PlannedSystem) -> list[str]:
    if isinstance(item, Transfer):
        return [f"{'read' if item.kind == 'load' else 'hand over'} {item.name}"]
    if isinstance(item, Outers):
        return [f"sum of outer products: {', '.join(item.names)}"]
    if isinstance(item, Group):
        names = ", ".join(item.outputs)
        return [f"one loop over {'features' if not item.inner else ', '.join([*item.inner, 'features'])}: {names}"]
    if isinstance(item, Loop):
        way = "" if item.direction > 0 else " from the end"
        inner = [f"  {line}" for own in item.items for line in _item(own, program)]
        return [f"recurrence within the step, over {item.axis}{way}:", *inner]
    assert isinstance(item, Products)
    lines = []
    for target, terms in _by_target(item).items():
        call = "Fourier transform" if terms[0][0].transform else "product"
        lines.append(f"{call} {target} {'=' if terms[0][1] else '+='} {' + '.join(str(t) for t, _ in terms)}")
    stacks = program.stacks(item)
    if stacks:
        lines.append(f"  stacked: {'; '.join(stacks)}")
    return lines


def _by_target(item: Products) -> dict[str, list[tuple[Term, bool]]]:
    found: dict[str, list[tuple[Term, bool]]] = {}
    for name, term, first in item.terms:
        found.setdefault(name, []).append((term, first))
    return found


def _total(shapes: list[tuple[Dim, ...]]) -> Dim:
    total = Dim()
    for shape in shapes:
        total = total + (shape[0] if shape else Dim.of(1))
    return total


def _times(size: Dim, factor: int) -> str:
    return str(size * factor)
