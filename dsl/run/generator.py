"""A cell on the generation schedule: cut into what is known before the first draw and what one step computes.

What is drawn once a sequence (a class, a length) comes first; then what does not depend on the draws of the steps (an
encoder, say) is computed. The rest runs one step at a time with carried state. The model's own parameters and engines
are used; how values are chosen is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsl.plan.schedule import offset_value, reads_under, schedule, show_index
from dsl.run.carry import State, advance, lags, obstacles
from dsl.run.inputs import Arranged, expected
from dsl.run.program import needed, restrict
from dsl.run.rows import Batch
from dsl.run.sampling import Drawing
from dsl.run.unroll import unroll
from dsl.system.kinds import Kinds
from dsl.system.system import Extent, Read, Stream, System
from dsl.text.diagnostics import CellError, Diagnostic, register
from dsl.text.tree import Source
from tinygrad_seq.symbol import Symbol, leaves, lift, postorder, substitute

if TYPE_CHECKING:
    from dsl.run.model import Model

E481 = register(
    "E481",
    "trains, but cannot be generated",
    """
In training the data of `y[t] ~ ...` is there from the first step to the last. In generation `y[t]` is drawn at step t,
so its distribution may use `y[t-1]` and before, never `y[t]` itself, `y[t+1]` or a reduction over all of `y`: those are
not sampled yet.

What is drawn once a sequence (`tau ~ ...`, without an index) comes before the first step: its distribution cannot use
what is drawn at the steps.
""",
)

Forward = Callable[..., dict[str, Any]]


@dataclass
class Drawn:
    """A drawn stream.

    parameters   of its distribution: name -> the pseudo-equation that computes it
    """

    name: str
    distribution: str
    parameters: Mapping[str, str]


class Generator:
    """A system cut into what is known before the first step (`context`) and what follows the draws (`step`).

    system, general   the cell, and the same with names for its sizes
    axis     the time axis of the draws; "" when all are drawn `once`
    planes   of streams on two axes that a step reads back: (stream, steps back) -> the input that brings the value
    unsearchable   why it cannot be run step by step; it may be drawn in one run all the same

    Errors: CellError E480/E481 for a cell that cannot be generated; ValueError when nothing is drawn.
    """

    def __init__(self, system: System, general: System | None = None) -> None:
        if not system.draws:
            raise ValueError(f"{system.name} draws nothing: generation needs a line such as `y[t] ~ categorical(...)`")
        self.system = system
        self.drawing = Drawing(general or system)
        self.targets: dict[str, str] = {}  # pseudo-equation -> the stream it helps to draw
        whole = self._with_parameters(system)
        self.axis = self._axis(whole)
        self.once: list[Drawn] = []
        closure = set(needed(whole, list(self.targets), {}))
        dependent = self._dependent(whole, closure)
        self._draw_ahead(whole, dependent)
        kept = [n for n in whole.equations if n in closure]
        self.context = tuple(n for n in kept if n not in dependent)
        self.planes: dict[tuple[str, int], str] = {}
        self.step = self._step(whole, dependent)
        self.before = restrict(whole, self.context)
        self.held = lags(self.step, self.axis)
        self.draws = self._order()
        self.late = self._late()
        self.every = (
            *(p for d in self.draws for p in d.parameters.values()),
            *(n for n in self.held if n in self.step.equations),
            *dict.fromkeys(n for n, _ in self.planes),
        )

    # ------------------------------------------------------------ cutting

    def _with_parameters(self, system: System) -> System:
        """The system with an equation for each parameter of each distribution."""
        streams, equations, spans = dict(system.streams), dict(system.equations), dict(system.spans)
        kinds = Kinds(system)
        for name, draw in system.draws.items():
            own = system.streams[name]
            for parameter, value in draw.parameters:
                made = f"{name}.{parameter}"
                self.targets[made] = name
                equations[made] = value
                streams[made] = Stream(made, "equation", own.axes, kinds.of(value).shape, span=own.span)
                if name in system.spans:
                    spans[made] = system.spans[name]
        return replace(system, streams=streams, equations=equations, spans=spans)

    def _axis(self, whole: System) -> str:
        axes = {whole.streams[n].axes for n in whole.draws} - {()}
        if len(axes) > 1 or any(len(a) > 1 for a in axes):
            raise ValueError(
                f"{whole.name}: generation draws along one time axis; {', '.join(whole.draws)} do not share one"
            )
        return next(iter(axes))[0] if axes else ""

    def _dependent(self, whole: System, closure: set[str]) -> set[str]:
        """Equations that a draw of the steps reaches, through reads and boundaries."""
        readers: dict[str, list[str]] = {}
        for name, value in whole.equations.items():
            roots = [value, *(b for b in [whole.streams[name].boundary] if b is not None)]
            for root in roots:
                for leaf in leaves(root):
                    if isinstance(leaf.leaf, Read):
                        readers.setdefault(leaf.leaf.name, []).append(name)
        reached: set[str] = set()
        stepped = [n for n in whole.draws if whole.streams[n].axes]
        pending = list(stepped)
        while pending:
            for reader in readers.get(pending.pop(), []):
                if reader in closure and reader not in reached:
                    reached.add(reader)
                    pending.append(reader)
        return reached | {made for made, name in self.targets.items() if name in stepped}

    def _draw_ahead(self, whole: System, dependent: set[str]) -> None:
        """Put what is drawn once a sequence in order: each after those it needs, all before the first step."""
        waiting = [n for n in whole.draws if not whole.streams[n].axes]
        for name in waiting:
            for made in self._made(name).values():
                if made in dependent:
                    why = "is drawn before the first step and needs what is drawn at the steps"
                    text = f"trains, but cannot be generated: {name} {why}"
                    problem = Diagnostic(E481, text, whole.spans.get(name, whole.streams[name].span))
                    raise CellError([problem], whole.source or Source("", whole.name))
        while waiting:
            known = {d.name for d in self.once}
            for name in waiting:
                parameters = self._made(name)
                wants = needed(whole, list(parameters.values()), {})
                if all(n in known for n in wants if n in whole.draws):
                    break
            else:
                raise ValueError(f"{whole.name}: {' and '.join(waiting)} cannot be drawn: each needs the other first")
            waiting.remove(name)
            self.once.append(Drawn(name, whole.draws[name].distribution, parameters))

    def _made(self, name: str) -> dict[str, str]:
        """The pseudo-equations of a draw's parameters."""
        return {k: f"{name}.{k}" for k, _ in self.system.draws[name].parameters}

    def _step(self, whole: System, dependent: set[str]) -> System:
        draws = {n: d for n, d in whole.draws.items() if whole.streams[n].axes}
        step = restrict(whole, [n for n in whole.equations if n in dependent], keep=tuple(draws))
        known = {*self.context, *(d.name for d in self.once)}
        given = {n: (replace(s, kind="input") if n in known else s) for n, s in step.streams.items()}
        axes = {n: a if self._grows(whole, n) else replace(a, length=None) for n, a in step.axes.items()}
        step = self._with_planes(replace(step, streams=given, axes=axes, losses=(), outputs=(), draws=draws))
        problems = []
        for name, value in step.equations.items():
            for read, bound in reads_under(value):
                for a, index in zip(step.streams[read.name].axes, read.index, strict=True):
                    ahead = not index.is_shift or index.axis != a or a in bound or offset_value(step, index.offset) > 0
                    if a == self.axis and read.name in whole.draws and ahead:
                        problems.append(self._unsampled(step, name, read))
        if problems:
            raise CellError(problems, whole.source or Source("", whole.name))
        self.unsearchable = obstacles(step, self.axis)
        if self.unsearchable:
            self._check_drawable()
        return step

    def _check_drawable(self) -> None:
        """What cannot be run step by step may be drawn all the same, in one run, if there is an order of steps."""
        try:
            schedule(self.drawing.part(tuple(self.system.draws), (), True).system)
        except CellError:
            raise CellError(self.unsearchable, self.system.source or Source("", self.system.name)) from None

    def check_searchable(self) -> None:
        """Errors: CellError E480 for a cell that cannot be run step by step, as a search has to."""
        if self.unsearchable:
            raise CellError(self.unsearchable, self.system.source or Source("", self.system.name))

    def _grows(self, whole: System, name: str) -> bool:
        """Whether an axis is the draws' or derived from it. Any other has its length before the first step."""
        pending = [name]
        while pending:
            axis = pending.pop()
            if axis == self.axis:
                return True
            length = whole.axes[axis].length
            pending += [n.leaf.axis for n in postorder([length]) if isinstance(n.leaf, Extent)] if length else []
        return False

    def _with_planes(self, step: System) -> System:
        """Reads of an earlier step on two axes (`a[t-1,s+1]`) become reads of an input on the other (`[s+1]`)."""
        streams = dict(step.streams)

        def change(node: Symbol) -> Symbol | None:
            read = node.leaf
            if not isinstance(read, Read) or len(read.index) < 2 or self.axis not in step.streams[read.name].axes:
                return None
            stream = step.streams[read.name]
            place = stream.axes.index(self.axis)
            index = read.index[place]
            if not index.is_shift or index.axis != self.axis or (back := -offset_value(step, index.offset)) <= 0:
                return None
            rest = tuple(i for k, i in enumerate(read.index) if k != place)
            for lag in range(1, back + 1):
                name = self.planes.setdefault((read.name, lag), f"{read.name}.back_{lag}")
                axes = tuple(a for a in stream.axes if a != self.axis)
                streams[name] = replace(stream, name=name, kind="input", axes=axes, state=False)
            return lift(Read(self.planes[read.name, back], rest))

        equations = {n: substitute(v, change) for n, v in step.equations.items()}
        return replace(step, equations=equations, streams=streams)

    def _unsampled(self, step: System, name: str, read: Read) -> Diagnostic:
        target = self.targets.get(name, name)
        shown = f"{read.name}[{','.join(map(show_index, read.index))}]"
        text = f"trains, but cannot be generated: {target} needs {shown}, which is not sampled yet"
        span = step.spans.get(name, step.streams[read.name].span)
        return Diagnostic(
            E481, text, span, help=f"read `{read.name}[{step.streams[read.name].axes[0]}-1]`, or only train this cell"
        )

    def _same_step(self, name: str) -> set[str]:
        """The draws that an equation needs at its own step."""
        found: set[str] = set()
        seen: set[str] = set()
        pending = [name]
        while pending:
            current = pending.pop()
            if current in seen or current not in self.step.equations:
                continue
            seen.add(current)
            for read, _ in reads_under(self.step.equations[current]):
                axes = self.step.streams[read.name].axes
                if all(i.is_identity for a, i in zip(axes, read.index, strict=True) if a == self.axis):
                    pending.append(read.name)
                    if read.name in self.step.draws:
                        found.add(read.name)
        return found

    def _order(self) -> list[Drawn]:
        """The draws of a step, each after those it needs."""
        made = {n: self._made(n) for n in self.step.draws}
        waiting = {n: set().union(*map(self._same_step, made[n].values())) for n in self.step.draws}
        order: list[Drawn] = []
        while waiting:
            done = {d.name for d in order}
            ready = [n for n, deps in waiting.items() if deps <= done]
            if not ready:
                name, deps = next(iter(waiting.items()))
                culprit = name if name in deps else next(d for d in self.step.draws if d in deps)
                own = self.step.streams[culprit].at_home().leaf
                assert isinstance(own, Read)
                problem = self._unsampled(self.step, next(iter(made[name].values())), own)
                raise CellError([problem], self.system.source or Source("", self.system.name))
            for name in ready:
                del waiting[name]
                order.append(Drawn(name, self.step.draws[name].distribution, made[name]))
        return order

    def _late(self) -> bool:
        """Whether a carried stream needs this step's draws: then the step is run once more with them."""
        carried = (*self.held, *(n for n, _ in self.planes))
        return any(self._same_step(n) for n in carried if n in self.step.equations)

    # ------------------------------------------------------------ running

    def _check_given(self, system: System, names: Iterable[str], given: Mapping[str, Any]) -> None:
        for name in names:
            stream = system.streams.get(name)
            if stream is not None and stream.kind == "input" and name not in given and name not in self.context:
                raise ValueError(f"missing {name}, expected {expected(stream)}")

    @staticmethod
    def _run(
        system: System, model: Model, data: Arranged, given: Mapping[str, Any], want: tuple[str, ...], engine: str
    ) -> dict[str, Any]:
        """Streams of a part of the cell that runs before the steps."""
        inputs = {**model.params.arrays(), **given}
        if engine == "compiled":
            found = model.stepper(system).forward(inputs, data.lengths, data.batch, want, record=False)[0]
        else:
            found = unroll(system, inputs, data.lengths, data.batch, want)
        return {n: np.asarray(v) for n, v in found.items()}

    def known(self, model: Model, data: Arranged, engine: str) -> dict[str, Any]:
        """Everything that no draw of a step reaches: the data itself, and the context computed from it."""
        given = {n: np.asarray(v) for n, v in data.arrays.items()}
        read = {r.name for v in self.step.equations.values() for r, _ in reads_under(v)}
        read |= {leaf.leaf.name for n in self.step.streams if n in read for leaf in self._boundary_leaves(n)}
        want = tuple(n for n in self.context if n in read)
        self._check_given(self.system, needed(self.before, want, {}), given)
        self._check_given(self.step, [n for n in self.step.streams if n in read - {*self.planes.values()}], given)
        return {**given, **(self._run(self.before, model, data, given, want, engine) if want else {})}

    def _boundary_leaves(self, name: str) -> list[Any]:
        boundary = self.step.streams[name].boundary
        return [] if boundary is None else [n for n in leaves(boundary) if isinstance(n.leaf, Read)]

    def split(self, known: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What has the drawn streams' axis, to be fed step by step, and what stays."""
        line = {n: v for n, v in known.items() if self.axis in self.system.streams[n].axes}
        return line, {n: v for n, v in known.items() if n not in line}

    def start(self, boundaries: Mapping[str, NDArray[Any]], batch: int) -> State:
        """Before the first step: everything at its boundary. Of planes, `boundaries` has all steps of their axes."""
        values = {n: np.repeat(boundaries[n][None], k, axis=0) for n, k in self.held.items()}
        planes = {n: boundaries[n] for n in self.planes.values()}
        return State(values | planes, {self.axis: np.zeros(batch, np.int64)})

    def run(
        self,
        forward: Forward,
        data: Mapping[str, Any],
        lengths: Mapping[str, Any],
        state: State,
    ) -> dict[str, Any]:
        """`every` stream of the step system, on the state."""
        planes = {n: state.values[n] for n in self.planes.values()}
        held = {n: state.values[n] for n in self.held}
        return forward({**data, **planes}, lengths, state.batch, self.every, held, state.clock)

    def feed(
        self, forward: Forward, data: Mapping[str, Any], steps: int, lengths: Mapping[str, Any], state: State
    ) -> State:
        """Run `steps` steps whose draws are known (`data` holds them too) and return the state behind them."""
        if self.planes and steps > 1:  # a plane is that of one step
            for t in range(steps):
                state = self.feed(forward, {n: v[t : t + 1] for n, v in data.items()}, 1, lengths, state)
            return state
        here = {**lengths, self.axis: np.full(state.batch, steps, np.int64)}
        found = self.run(forward, data, here, state)
        return self.advance({**data, **found}, here, state)

    def advance(self, found: Mapping[str, Any], lengths: Mapping[str, Any], state: State) -> State:
        """The state behind a step whose streams are `found`."""
        batch = Batch({self.axis: np.asarray(lengths[self.axis])}, state.batch)
        next_ = advance(self.step, self.held, found, {}, batch, state)
        for (name, lag), plane in self.planes.items():
            place = self.step.streams[name].axes.index(self.axis)
            new = np.take(np.asarray(found[name]), 0, axis=place)
            next_.values[plane] = new if lag == 1 else state.values[self.planes[name, lag - 1]]
        return next_

    def blank(self, name: str, steps: int, batch: int) -> NDArray[Any]:
        """An array (steps, batch, *features) for a drawn stream: zeros, of integers for categories."""
        stream = self.step.streams[name]
        if stream.dtype == "category":
            return np.zeros((steps, batch), np.int64)
        return np.zeros((steps, batch, *(int(d) for d in stream.shape)))
