"""Generation: the same equations on the other schedule, where what was data is sampled and fed back.

What does not depend on sampled streams (an encoder, say) is computed once. The rest runs one step at a time
with carried state. The model's own parameters and engines are used; nothing here knows of training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsl.plan.schedule import offset_value, reads_under, show_index
from dsl.run.carry import State, advance, lags, obstacles
from dsl.run.data import decode
from dsl.run.inputs import Arranged, expected
from dsl.run.program import Program, needed, restrict
from dsl.run.rows import Batch
from dsl.run.unroll import Unrolling, unroll
from dsl.system.kinds import Kinds
from dsl.system.system import Read, Stream, System
from dsl.text.diagnostics import CellError, Diagnostic, register
from dsl.text.tree import Source
from tinygrad_seq.symbol import leaves

if TYPE_CHECKING:
    from dsl.run.model import Model

E481 = register(
    "E481",
    "trains, but cannot be generated",
    """
In training the data of `y[t] ~ ...` is there from the first step to the last. In generation `y[t]` is drawn at step t,
so its distribution may use `y[t-1]` and before, never `y[t]` itself, `y[t+1]` or a reduction over all of `y`: those are
not sampled yet.
""",
)
E780 = register(
    "E780",
    "this distribution is not sampled yet",
    """
`generate` draws from `categorical`. The other distributions of the language (bernoulli, normal, mdn2d) parse, but this
version neither trains nor samples them.
""",
)

Forward = Callable[..., dict[str, Any]]


@dataclass
class Drawn:
    """A sampled stream: the pseudo-equation that holds its logits, and the sampled streams of its own step it needs."""

    name: str
    logits: str
    after: tuple[str, ...]


class Generator:
    """A system cut into what is known before the first draw (`context`) and what follows the draws (`step`).

    Errors: CellError E480/E481/E780 for a cell that cannot be generated; ValueError when nothing is drawn.
    """

    def __init__(self, system: System) -> None:
        if not system.draws:
            raise ValueError(f"{system.name} draws nothing: generation needs a line such as `y[t] ~ categorical(...)`")
        self.system = system
        whole = self._with_logits(system)
        self.axis = self._axis(whole)
        closure = set(needed(whole, [f"{n}.logits" for n in system.draws], {}))
        dependent = self._dependent(whole, closure)
        kept = [n for n in whole.equations if n in closure]
        self.context = tuple(n for n in kept if n not in dependent)
        self.step = self._step(whole, dependent)
        self.before = restrict(whole, self.context)
        self.held = lags(self.step, self.axis)
        self.draws = self._order()
        self.late = self._late()
        self.every = (*(d.logits for d in self.draws), *(n for n in self.held if n in self.step.equations))

    # ------------------------------------------------------------ cutting

    @staticmethod
    def _with_logits(system: System) -> System:
        streams, equations = dict(system.streams), dict(system.equations)
        kinds, problems = Kinds(system), []
        for name, draw in system.draws.items():
            own = system.streams[name]
            if draw.distribution != "categorical":
                text = f"{name} ~ {draw.distribution}: only categorical is sampled in this version"
                problems.append(Diagnostic(E780, text, system.spans.get(name, own.span)))
                continue
            value = dict(draw.parameters)["logits"]
            equations[f"{name}.logits"] = value
            shape = kinds.of(value).shape
            streams[f"{name}.logits"] = Stream(f"{name}.logits", "equation", own.axes, shape, span=own.span)
        if problems:
            raise CellError(problems, system.source or Source("", system.name))
        spans = {**system.spans, **{f"{n}.logits": system.spans[n] for n in system.draws if n in system.spans}}
        return replace(system, streams=streams, equations=equations, spans=spans)

    def _axis(self, whole: System) -> str:
        axes = {whole.streams[n].axes for n in whole.draws}
        if len(axes) != 1 or len(next(iter(axes))) != 1:
            raise ValueError(
                f"{whole.name}: generation draws along one time axis; {', '.join(whole.draws)} do not share one"
            )
        return next(iter(axes))[0]

    @staticmethod
    def _dependent(whole: System, closure: set[str]) -> set[str]:
        """Equations that a draw reaches, through reads and boundaries."""
        readers: dict[str, list[str]] = {}
        for name, value in whole.equations.items():
            roots = [value, *(b for b in [whole.streams[name].boundary] if b is not None)]
            for root in roots:
                for leaf in leaves(root):
                    if isinstance(leaf.leaf, Read):
                        readers.setdefault(leaf.leaf.name, []).append(name)
        reached: set[str] = set()
        pending = list(whole.draws)
        while pending:
            for reader in readers.get(pending.pop(), []):
                if reader in closure and reader not in reached:
                    reached.add(reader)
                    pending.append(reader)
        return reached | {f"{n}.logits" for n in whole.draws}

    def _step(self, whole: System, dependent: set[str]) -> System:
        step = restrict(whole, [n for n in whole.equations if n in dependent], keep=tuple(whole.draws))
        given = {n: (replace(s, kind="input") if n in self.context else s) for n, s in step.streams.items()}
        step = replace(step, streams=given, losses=(), outputs=())
        problems = []
        for name, value in step.equations.items():
            for read, bound in reads_under(value):
                for a, index in zip(step.streams[read.name].axes, read.index, strict=True):
                    ahead = not index.is_shift or index.axis != a or a in bound or offset_value(step, index.offset) > 0
                    if a == self.axis and read.name in whole.draws and ahead:
                        problems.append(self._unsampled(step, name, read))
        problems = problems or obstacles(step, self.axis)
        if problems:
            raise CellError(problems, whole.source or Source("", whole.name))
        return step

    @staticmethod
    def _unsampled(step: System, name: str, read: Read) -> Diagnostic:
        target = name.removesuffix(".logits")
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
        waiting = {n: self._same_step(f"{n}.logits") for n in self.step.draws}
        order: list[Drawn] = []
        while waiting:
            done = {d.name for d in order}
            ready = [n for n, deps in waiting.items() if deps <= done]
            if not ready:
                name, deps = next(iter(waiting.items()))
                culprit = name if name in deps else next(d for d in self.step.draws if d in deps)
                own = self.step.streams[culprit].at_home().leaf
                assert isinstance(own, Read)
                problem = self._unsampled(self.step, f"{name}.logits", own)
                raise CellError([problem], self.system.source or Source("", self.system.name))
            for name in ready:
                deps = waiting.pop(name)
                order.append(Drawn(name, f"{name}.logits", tuple(n for n in self.step.draws if n in deps)))
        return order

    def settled(self, drawn: Mapping[str, Any]) -> set[str]:
        """What is right already when these draws of the step are known."""
        ready = {d.logits for d in self.draws if set(d.after) <= set(drawn)}
        return ready | ({n for n in self.held if n in self.step.equations} if not self.late else set())

    def _late(self) -> bool:
        """Whether a carried stream needs this step's draws: then the step is run once more with them."""
        return any(self._same_step(n) for n in self.held if n in self.step.equations)

    # ------------------------------------------------------------ running

    def known(self, model: Model, data: Arranged, engine: str) -> dict[str, Any]:
        """Everything that no draw reaches: the data itself, and the context computed from it."""
        given = {n: np.asarray(v) for n, v in data.arrays.items()}
        read = {r.name for v in self.step.equations.values() for r, _ in reads_under(v)}
        read |= {leaf.leaf.name for n in self.step.streams if n in read for leaf in self._boundary_leaves(n)}
        want = tuple(n for n in self.context if n in read)
        for name in needed(self.before, want or (), {}) if want else ():
            if (
                self.system.streams.get(name) is not None
                and self.system.streams[name].kind == "input"
                and name not in given
            ):
                raise ValueError(f"missing {name}, expected {expected(self.system.streams[name])}")
        for name in read:
            stream = self.step.streams[name]
            if stream.kind == "input" and name not in given and name not in self.context:
                raise ValueError(f"missing {name}, expected {expected(stream)}")
        if not want:
            return given
        inputs = {**model.params.arrays(), **given}
        if engine == "compiled":
            found = model.stepper(self.before).forward(inputs, data.lengths, data.batch, want, record=False)[0]
        else:
            found = unroll(self.before, inputs, data.lengths, data.batch, want)
        return {**given, **found}

    def _boundary_leaves(self, name: str) -> list[Any]:
        boundary = self.step.streams[name].boundary
        return [] if boundary is None else [n for n in leaves(boundary) if isinstance(n.leaf, Read)]

    def split(self, known: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What has the drawn streams' axis, to be fed step by step, and what stays."""
        line = {n: v for n, v in known.items() if self.axis in self.system.streams[n].axes}
        return line, {n: v for n, v in known.items() if n not in line}

    def start(self, boundaries: Mapping[str, NDArray[Any]], batch: int) -> State:
        """Before the first step: everything at its boundary."""
        values = {n: np.repeat(boundaries[n][None], k, axis=0) for n, k in self.held.items()}
        return State(values, {self.axis: np.zeros(batch, np.int64)})

    def feed(
        self, forward: Forward, data: Mapping[str, Any], steps: int, lengths: Mapping[str, Any], state: State
    ) -> State:
        """Run `steps` steps whose draws are known (`data` holds them too) and return the state behind them."""
        batch = state.batch
        here = {**lengths, self.axis: np.full(batch, steps, np.int64)}
        found = forward(data, here, batch, self.every, state.values, state.clock)
        return self._advance({n: found[n] if n in found else data[n] for n in self.held}, here, state)

    def _advance(self, found: Mapping[str, Any], lengths: Mapping[str, Any], state: State) -> State:
        batch = Batch({self.axis: np.asarray(lengths[self.axis])}, state.batch)
        return advance(self.step, self.held, found, {}, batch, state)

    def draw(
        self,
        forward: Forward,
        data: dict[str, Any],
        lengths: Mapping[str, Any],
        state: State,
        sample: Callable[[NDArray[Any]], NDArray[np.int64]],
    ) -> tuple[dict[str, NDArray[np.int64]], State]:
        """One step: sample every draw in order, and the state behind it. `data` holds one step of each input."""
        batch = state.batch
        here = {**lengths, self.axis: np.ones(batch, np.int64)}
        data = {**data, **{d.name: np.zeros((1, batch), np.int64) for d in self.draws}}
        found: dict[str, Any] = {}
        drawn: dict[str, NDArray[np.int64]] = {}
        for d in self.draws:
            if d.logits not in found:
                found = forward(data, here, batch, self.every, state.values, state.clock)
                found = {n: v for n, v in found.items() if n in self.settled(drawn)}
            drawn[d.name] = sample(np.asarray(found[d.logits])[0])
            data[d.name] = drawn[d.name][None]
        if self.late:
            found = forward(data, here, batch, self.every, state.values, state.clock)
        seen = {n: found[n] if n in found else data[n] for n in self.held}
        return drawn, self._advance(seen, here, state)


def sampler(temperature: float, greedy: bool, seed: int | None) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    """A function from logits (B, K) to categories (B,): softmax(logits / temperature), or the largest.

    Errors: ValueError for a temperature below 0; 0 means greedy.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature: expected 0 or more, given {temperature}")
    rng = np.random.default_rng(seed)

    def sample(logits: NDArray[Any]) -> NDArray[np.int64]:
        if greedy or temperature == 0:
            return np.asarray(np.argmax(logits, axis=-1))
        scaled = logits.astype(np.float64) / temperature
        weights = np.cumsum(np.exp(scaled - scaled.max(axis=-1, keepdims=True)), axis=-1)
        level = rng.random(len(logits)) * weights[:, -1]
        return np.asarray(np.minimum((weights <= level[:, None]).sum(axis=-1), logits.shape[-1] - 1))

    return sample


# ---------------------------------------------------------------- what users call


def generate(
    model: Model,
    T: int = 200,
    *,
    prime: Any = None,
    temperature: float = 1.0,
    greedy: bool = False,
    until: Any = None,
    seed: int | None = None,
    batch: int | None = None,
    lengths: Any = None,
    engine: str = "compiled",
    **streams: Any,
) -> Any:
    """Sample `T` steps of a cell's drawn stream, each fed back into the next.

    prime        what comes first (text when the model knows symbols, else integers (P,) or (P, B)): fed, not sampled,
                 and part of the result
    temperature  softmax(logits / temperature); 0, or `greedy`, takes the most probable category
    until        stop a sequence behind this text (or integer, or list of integers)
    seed         of the samples: equal seeds, equal results
    batch        how many sequences at once
    streams      data of the cell's inputs, as in a call; an input on the drawn stream's own axis has P + T steps

    Returns a string for a model with symbols (a list of strings with `batch`); otherwise integers (P + T,), or
    (P + T, B), -1 behind a sequence's end; a dict of them when the cell draws several streams. Errors: CellError
    for a cell that cannot be generated; ValueError for bad data.
    """
    if T < 0:
        raise ValueError(f"T: expected 0 or more steps, given {T}")
    generator = model.generator
    sample = sampler(temperature, greedy, seed)
    names = [d.name for d in generator.draws]
    first = _prime(model, names, prime, batch)
    size = next((v.shape[1] for v in first.values() if v.shape[1] > 1), batch or 1)
    data = model.arranged((), streams, lengths, None, size)
    single = batch is None and (data.single or not data.arrays) and all(v.shape[1] == 1 for v in first.values())
    lead = len(next(iter(first.values())))
    first = {n: np.broadcast_to(v, (lead, data.batch)) for n, v in first.items()}
    parts = _sample(generator, model, data, first, T, sample, _until(model, until), engine)
    results = {n: _shown(model, v, single) for n, v in parts.items()}
    return results if len(names) > 1 else results[names[0]]


def _sample(
    generator: Generator,
    model: Model,
    data: Arranged,
    first: dict[str, NDArray[np.int64]],
    steps: int,
    sample: Callable[[NDArray[Any]], NDArray[np.int64]],
    until: NDArray[np.int64] | None,
    engine: str,
) -> dict[str, NDArray[np.int64]]:
    """Integers (P + steps, B) by drawn stream."""
    params, batch = model.params.arrays(), data.batch
    known = generator.known(model, data, engine)
    lengths = {a: v for a, v in data.lengths.items() if a != generator.axis}
    line, fixed = generator.split(known)
    lead = len(next(iter(first.values())))
    for name, value in line.items():
        if len(value) < lead + steps:
            raise ValueError(f"{name}: expected {lead + steps} steps, as many as are generated, given {len(value)}")
    program = Program(generator.step)
    compiled = model.stepper(generator.step) if engine == "compiled" else None

    def forward(
        inputs: Mapping[str, Any], here: Mapping[str, Any], rows: int, want: tuple[str, ...], start: Any, clock: Any
    ) -> dict[str, Any]:
        every = {**params, **fixed, **inputs}
        if compiled is not None:
            return compiled.forward(every, here, rows, want, start=start, clock=clock, record=False)[0]
        run = Unrolling(program, every, here, rows, start, clock)
        run.execute(want)
        return {n: run.result(n) for n in want}

    probe = Unrolling(program, {**params, **fixed}, {**lengths, generator.axis: np.ones(batch, np.int64)}, batch)
    edge = {n: np.asarray(probe.boundary(generator.step.streams[n], (-1,), probe.batch.all)) for n in generator.held}
    state = generator.start(edge, batch)
    if lead:
        state = generator.feed(forward, {**{n: v[:lead] for n, v in line.items()}, **first}, lead, lengths, state)
    drawn = {n: [*v] for n, v in first.items()}
    main, going = generator.draws[0].name, np.ones(batch, bool)
    for t in range(lead, lead + steps):
        found, state = generator.draw(forward, {n: v[t : t + 1] for n, v in line.items()}, lengths, state, sample)
        for name, value in found.items():
            drawn[name].append(np.where(going, value, -1))
        if until is not None and t + 1 >= len(until):
            going &= ~(np.stack(drawn[main][-len(until) :]) == until[:, None]).all(axis=0)
            if not going.any():
                break
    return {n: np.stack(v) if v else np.zeros((0, batch), np.int64) for n, v in drawn.items()}


def _prime(model: Model, names: list[str], prime: Any, batch: int | None) -> dict[str, NDArray[np.int64]]:
    """What is fed first, (P, B or 1) by drawn stream."""
    if prime is None or (isinstance(prime, str) and not prime):
        return {n: np.zeros((0, 1), np.int64) for n in names}
    given = prime if isinstance(prime, Mapping) else {names[0]: prime}
    out: dict[str, NDArray[np.int64]] = {}
    for name in names:
        if name not in given:
            raise ValueError(
                f"prime: the cell draws {', '.join(names)}; expected a dict with all of them, {name} is missing"
            )
        value = model.encode(given[name]) if isinstance(given[name], str) else np.asarray(given[name])
        if value.dtype.kind not in "iu" or value.ndim not in (1, 2):
            raise ValueError(f"prime: expected integers (P,) or (P, B), given {value.dtype} {value.shape}")
        count = int(model.system.streams[name].categories or 0)
        if value.size and not (value.min() >= 0 and value.max() < count):
            raise ValueError(f"prime: expected categories 0..{count - 1} of {name}, given {value.min()}..{value.max()}")
        out[name] = (value if value.ndim == 2 else value[:, None]).astype(np.int64)
        if batch is not None and out[name].shape[1] not in (1, batch):
            raise ValueError(f"prime: expected 1 or {batch} sequences, given {out[name].shape[1]}")
    return out


def _until(model: Model, until: Any) -> NDArray[np.int64] | None:
    if until is None:
        return None
    value = model.encode(until) if isinstance(until, str) else np.atleast_1d(np.asarray(until, np.int64))
    if not len(value):
        raise ValueError("until: expected at least one symbol")
    return value


def _shown(model: Model, ids: NDArray[np.int64], single: bool) -> Any:
    if model.symbols is None:
        return ids[:, 0] if single else ids
    texts = [decode(ids[:, b], model.symbols) for b in range(ids.shape[1])]
    return texts[0] if single else texts
