"""The result of a call: the streams by name, the losses, the state to carry on with.

What the engine computed is there at once; any other stream of the cell is computed when it is asked for, from the
same data and parameters, by the literal engine. It holds on to that data and to nothing of other runs.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.run.carry import State, advance
from dsl.run.inputs import Arranged
from dsl.run.rows import Batch, derived_lengths
from dsl.run.unroll import Unrolling
from dsl.system.kinds import Kinds, binds
from dsl.system.system import Stream, System
from dsl.text.diagnostics import suggest
from tinygrad_seq.changes import last_change, latest_change
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, rebuild
from tinygrad_seq.tensor import Tensor

if TYPE_CHECKING:
    from dsl.run.model import Model


def with_terms(system: System) -> System:
    """The system with an equation `nll.terms` for each loss `nll` that is a sum or mean over time of terms."""
    streams, equations = dict(system.streams), dict(system.equations)
    kinds = Kinds(system)
    for name in system.losses:
        found = terms(system.equations[name])
        if found is None:
            continue
        axis, value = found
        if set(kinds.of(value).axes) <= {axis} and not kinds.of(value).shape:
            streams[f"{name}.terms"] = Stream(f"{name}.terms", "equation", (axis,), ())
            equations[f"{name}.terms"] = value
    return replace(system, streams=streams, equations=equations)


def terms(loss: Symbol) -> tuple[str, Symbol] | None:
    """The axis of a loss's outer `sum[t]` or `mean[t]` and what it adds up, sign and constant factors included."""
    around: list[tuple[Symbol, int]] = []
    node = loss
    while binds(node) is None:
        if node.is_op("neg"):
            around.append((node, 0))
        elif node.is_op("mul") and (node.args[0].is_number or node.args[1].is_number):
            around.append((node, 1 if node.args[0].is_number else 0))
        elif node.is_op("div") and node.args[1].is_number:
            around.append((node, 0))
        else:
            return None
        node = node.args[around[-1][1]]
    axis = binds(node)
    if not node.is_op("sum", "mean") or axis is None:
        return None
    value = node.args[0]
    for outer, place in reversed(around):
        value = rebuild(outer, tuple(value if i == place else a for i, a in enumerate(outer.args)))
    return axis, value


_runs: weakref.WeakValueDictionary[int, Run] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def runs() -> list[Run]:
    """Those on the tape that somebody still holds, oldest first: the one a loss comes from has it among its values."""
    return [run for _, run in sorted(_runs.items())]


class Run:
    """What a call of a model computed.

    run.h, run["rnn.0.c"]   a stream (T, B, features) as a Tensor, without B when one sequence was given
    run.nll                 a loss: its mean over the batch
    run.each["nll"]         its value a sequence, (B,)
    run.steps["nll"]        the terms of its outer sum or mean over time, (T, B)
    run.state               what the next call needs to carry on
    run.lengths             steps of each sequence, by axis
    run.seed                of its noise, None when there was none: the same call with this seed is the same run
    run.model, run.system   what ran; run.before, the state it started from
    "nll" in run            whether the engine computed it with the call; other streams are computed when read
    """

    def __init__(
        self,
        model: Model,
        data: Arranged,
        values: Mapping[str, Tensor],
        engine: str,
        before: State | None,
        literal: Unrolling | None = None,
    ) -> None:
        self._model, self._data, self._engine, self._before = model, data, engine, before
        self._values = dict(values)
        if any([value.source is not None for value in values.values()]):
            _runs[next(_numbers)] = self
        self._literal = literal
        self._made = latest_change()
        self._state: State | None = None

    @property
    def model(self) -> Model:
        return self._model

    @property
    def system(self) -> System:
        """The system that ran, sizes settled."""
        return self._model.system

    @property
    def before(self) -> State | None:
        """The state it carried on from; None when its sequences began here."""
        return self._before

    @property
    def seed(self) -> int | None:
        """Of its noise; None when that was the mean, or the cell has none."""
        return self._data.seed

    @property
    def lengths(self) -> dict[str, np.ndarray[Any, Any]]:
        return self._batch.lengths

    @property
    def _batch(self) -> Batch:
        if self._literal is not None:
            return self._literal.batch
        return Batch(derived_lengths(self.system.axes, self._data.lengths, self._data.batch), self._data.batch)

    # ------------------------------------------------------------ streams

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Tensor:
        system = self._model.system
        name = system.aliases.get(name, name)
        if name in system.losses:
            mean: Tensor = REGISTRY["mean"](self.value(name), axis=None)
            return mean
        if name not in system.streams:
            known = [*system.streams, *system.aliases]
            near = suggest(name, known)
            raise KeyError(f"{system.name} has no stream {name}" + (f"; did you mean {near}?" if near else ""))
        value = self.value(name)
        stream = system.streams[name]
        if self._data.single and not stream.shared:
            value = REGISTRY["squeeze"](value, axis=len(stream.axes))
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __dir__(self) -> list[str]:
        system = self._model.system
        return [*super().__dir__(), *(n for n in [*system.streams, *system.aliases] if n.isidentifier())]

    def value(self, name: str) -> Tensor:
        """A stream in the engine's layout: (T, ..., B, *features), (B, *features), or features when shared."""
        if name not in self._values:
            self._check_parameters(name)
            literal = self.literal
            literal.execute([name])
            found = literal.result(name)
            self._values[name] = found if isinstance(found, Tensor) else Tensor.wrap(np.asarray(found))
        return self._values[name]

    @property
    def literal(self) -> Unrolling:
        """This run on the literal engine, as far as it has been computed there."""
        if self._literal is None:
            before = self._before
            inputs = {**self._data.arrays, **self._model.params}
            self._literal = Unrolling(
                self._model.program,
                inputs,
                self._data.lengths,
                self._data.batch,
                before.values if before else None,
                before.clock if before else None,
            )
        return self._literal

    def _check_parameters(self, name: str) -> None:
        for parameter, tensor in self._model.params.items():
            if last_change(tensor.data) > self._made:
                raise ValueError(
                    f"{name} was not computed in this run, and {parameter} has changed since: "
                    f"run the model again and read {name} before the parameters change"
                )

    # ------------------------------------------------------------ losses

    @property
    def each(self) -> Mapping[str, Tensor]:
        """Of each loss, its value a sequence."""
        return _Lazy(self.value, self._model.system.losses)  # made anew: kept, it and the run would keep each other

    @property
    def steps(self) -> Mapping[str, Tensor]:
        """Of each loss, the terms of its outer sum or mean over time."""
        return _Lazy(self._terms, self._model.system.losses)

    def _terms(self, name: str) -> Tensor:
        if f"{name}.terms" not in self._model.program.system.equations:
            raise ValueError(
                f"{name} is not a sum or mean over time, so it has no terms: run.each[{name!r}] has its value"
            )
        value = self.value(f"{name}.terms")
        return REGISTRY["squeeze"](value, axis=1) if self._data.single else value

    # ------------------------------------------------------------ carrying on

    @property
    def state(self) -> State:
        """Where the sequences stand. Errors: CellError E480 for a cell that cannot be carried on."""
        if self._state is None:
            held = self._model.held
            arrays = {n: np.asarray(v) for n, v in self._last(held).items()}
            self._state = advance(
                self._model.system,
                held,
                arrays,
                self.boundaries(held),
                self._batch,
                self._before,
                self._data.seed,
            )
        return self._state

    def _last(self, held: Mapping[str, int]) -> dict[str, Any]:
        """The held streams; the engine runs once more for those that it did not hand over."""
        known = {n: v.data for n, v in self._values.items()} | dict(self._data.arrays)
        missing = tuple(n for n in held if n not in known)
        for name in missing:
            self._check_parameters(name)
        if missing and self._engine == "compiled":
            known |= self._model.streams(self._data, missing, self._before)
        return {n: known[n] if n in known else self.value(n).data for n in held}

    def boundaries(self, names: Any) -> dict[str, np.ndarray[Any, Any]]:
        """Boundary values (B, *features) of streams; nothing when earlier steps were carried in."""
        if self._before is not None:
            return {}
        rows, system = self.literal.batch.all, self._model.system
        return {n: np.asarray(self.literal.boundary(system.streams[n], (-1,), rows)) for n in names}

    def __repr__(self) -> str:
        lines = [f"Run of {self._model.system.name} ({self._engine})"]
        for name in self._model.system.losses:
            if name in self._values:
                lines.append(f"  {name} = {float(self[name].data):.6g}")
        for name in self._model.system.outputs:
            if name in self._values:
                lines.append(f"  {name} {self._values[name].shape} {self._values[name].dtype}")
        return "\n".join(lines)


class _Lazy(Mapping[str, Tensor]):
    """A mapping whose values are computed when asked for."""

    def __init__(self, function: Callable[[str], Tensor], names: tuple[str, ...]) -> None:
        self._function, self._names = function, names

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(f"no loss {name}" + (f"; there is {', '.join(self._names)}" if self._names else ""))
        return self._function(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
