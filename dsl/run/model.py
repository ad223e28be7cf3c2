"""A model: a cell with sizes and parameters, called on data.

It picks an engine, checks what it is given and hands back a `Run`. Compiled, a whole run is one node on the tape;
literal (`engine="tape"`), every operation is. Both see the same system, the same data and the same parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.run.carry import State, carried
from dsl.run.generate import generate
from dsl.run.generator import Generator
from dsl.run.inputs import Arranged, Intake
from dsl.run.needs import Needs, settle
from dsl.run.noise import draw, fresh, numbers_of, quiet, streams_of
from dsl.run.parameters import Parameters, table
from dsl.run.program import Prepared, needed, restrict
from dsl.run.result import Run, with_terms
from dsl.run.sampling import generating
from dsl.run.segments import Segments
from dsl.run.storage import Origin, origin_of, save
from dsl.run.unroll import Unrolling
from dsl.system.system import System
from tinygrad_seq.changes import last_change, latest_change
from tinygrad_seq.errors import GradientError
from tinygrad_seq.tape import backward, custom_node
from tinygrad_seq.tape import state as tape_state
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.transforms import enable_grad

if TYPE_CHECKING:
    from dsl.run.compiled import Compiled
    from dsl.spec import Spec

ENGINES = ("compiled", "tape")
Arrays = dict[str, np.ndarray[Any, Any]]


class Model:
    """A cell with sizes and parameters.

    cell     a Spec, or a System
    seed     of the initialisers
    dtype    "float32" or "float64"; data is cast to it
    like     data by stream, from which sizes that were not given are read off
    origin   what a file must remember to build the model again (found from a Spec)
    remat    keep the state every √T steps when training and compute the rest again: memory grows with √T, for about
             a third more time. Errors: CellError E482 for a cell that needs its whole sequence at once

    model.params[name] is a Tensor; assigning an array checks its shape. `symbols` are those of the text that the
    model was fitted to: they make generation speak text. Errors: ValueError naming a size that nothing gives.
    """

    def __init__(
        self,
        cell: Spec | System,
        *,
        seed: int = 0,
        dtype: str = "float32",
        like: Mapping[str, Any] | None = None,
        origin: Origin | None = None,
        remat: bool = False,
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.dtype("float32"), np.dtype("float64")):
            raise ValueError(f'dtype: expected "float32" or "float64", given {dtype!r}')
        system = cell if isinstance(cell, System) else cell.system
        sizes = settle(system, like or {})
        self.system = system.bind(sizes)
        self._open = system.with_(arguments=self.system.arguments)  # sizes as names: one compiled file serves all
        if origin is None and not isinstance(cell, System):
            origin = origin_of(cell.file, cell.name, {**cell.arguments, **sizes})
        self.seed, self.origin = seed, origin
        self.symbols: tuple[str, ...] | None = None
        self.optimizer_state: dict[str, Any] | None = None  # what was saved with a restored model
        self.params = Parameters(self.system, seed, self.dtype)
        self.noises = streams_of(self.system)
        for stream in self.noises.values():
            numbers_of(stream)  # a probability of 2 is told here
        self._calls = 0  # training calls without a seed: each gets one of its own
        self.program = Prepared(with_terms(self.system))
        self._engines: dict[tuple[str, ...], Compiled] = {}
        self.needs = Needs(self.system)
        self.intake = Intake(self.system, self.dtype)
        self.segments = Segments(self.system, self._open) if remat else None
        self._means: dict[tuple[int, ...], np.ndarray[Any, Any]] = {}  # gradients of a mean, by shape
        self._steppers: dict[int, tuple[System, Compiled]] = {}  # the systems are held, so that ids stay theirs

    def __repr__(self) -> str:
        system = self.system
        sizes = ", ".join(f"{n}={v}" for n, v in system.arguments.items() if v is not None)
        rows = {n: t.shape for n, t in self.params.items()}
        count = self.params.count
        return f"{system.name}({sizes})  {self.dtype}, {count:,} parameters\n{table(rows)}"

    def __getstate__(self) -> dict[str, Any]:
        """Without what is compiled: a copy compiles for itself."""
        kept = {k: v for k, v in self.__dict__.items() if k not in ("generator", "program", "held")}
        return {**kept, "_engines": {}, "_steppers": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.program = Prepared(with_terms(self.system))

    # ------------------------------------------------------------ calling

    def __call__(
        self,
        *args: Any,
        lengths: Any = None,
        state: State | None = None,
        train: bool = False,
        seed: int | None = None,
        engine: str = "compiled",
        **streams: Any,
    ) -> Run:
        """Run the cell on data: positional for its inputs in order, or by name.

        lengths  axis -> (B,), or an array when the cell has one axis; a list of arrays gives its own
        state    `run.state` of an earlier call, to carry on behind it; nothing differentiates into it
        train    switch the cell's noise on; otherwise it is its mean
        seed     of the noise: equal seeds, equal noise, on either engine and in whatever chunks. Without one a state
                 carries its own on, and a call without state takes the next of the model's (`run.seed` tells)
        engine   "compiled": one node on the tape; "tape": every operation a node

        Computed at once is every output and loss that the given data suffices for. Errors: ValueError naming the
        stream, what was expected and what was given; CellError for a state given to a cell that cannot carry on.
        """
        data = self.arranged(args, streams, lengths, state)
        self.stir(data, train, seed, state)
        names = self.needs.computable(data)
        if not names:
            lacking = self.needs.lacking(data)
            raise ValueError(f"nothing can be computed: missing {lacking}")
        return self._run(data, names, state, engine)

    def arranged(
        self,
        args: Sequence[Any],
        streams: Mapping[str, Any],
        lengths: Any,
        state: State | None,
        batch: int | None = None,
    ) -> Arranged:
        """A call's data, checked and laid out."""
        names = self.intake.names
        if len(args) > len(names):
            raise ValueError(f"{self.system.name} takes {len(names)} streams ({', '.join(names)}), given {len(args)}")
        given = dict(streams)
        for name, value in zip(names, args, strict=False):
            if given.get(name) is not None:
                raise ValueError(f"{name} is given twice")
            given[name] = value
        if self.symbols is not None:
            given = {n: self.encode(v) if isinstance(v, str) else v for n, v in given.items()}
        size = state.batch if state is not None else batch
        data = self.intake.arrange(given, lengths, size)
        for name, value in data.arrays.items():
            if isinstance(value, Tensor) and value.dtype != self.dtype and value.dtype.kind == "f":
                data.arrays[name] = value.astype(self.dtype)
        if not data.batch:
            raise ValueError(f"{self.system.name}: the batch is empty, there is no sequence to run on")
        if state is not None:
            self.needs.check_state(state, data, self.held)
        return data

    def stir(self, data: Arranged, train: bool, seed: int | None, state: State | None = None) -> None:
        """Put the cell's noise among the data of a call."""
        if not self.noises:
            return
        if train and seed is None:
            seed = state.seed if state is not None else None
            if seed is None:
                self._calls += 1
                seed = fresh(self.seed, self._calls)
        data.seed = int(seed) if train and seed is not None else None
        clock = state.clock if state is not None else None
        data.arrays |= draw(self.system, self.noises, data, clock, self.dtype)

    # ------------------------------------------------------------ engines

    def compiled(self, outside: tuple[str, ...]) -> Compiled:
        """The compiled engine whose cotangents come in at `outside`."""
        if outside not in self._engines:
            from dsl.run.compiled import compile_system

            names = needed(self.system, outside, {})
            self._engines[outside] = compile_system(restrict(self._open, names), outside, self.dtype.name)
        return self._engines[outside]

    def stepper(self, system: System) -> Compiled:
        """A part of this model's system, compiled to run forward only."""
        from dsl.run.compiled import compile_system

        if id(system) not in self._steppers:
            self._steppers[id(system)] = system, compile_system(system, (), self.dtype.name)
        return self._steppers[id(system)][1]

    @cached_property
    def held(self) -> dict[str, int]:
        """How many last values of which streams a state holds. Errors: CellError E480 where none can be."""
        return carried(self.system)

    @cached_property
    def generator(self) -> Generator:
        """The system on the generation schedule."""
        return Generator(quiet(self.system), quiet(self._open))

    def _run(self, data: Arranged, names: tuple[str, ...], state: State | None, engine: str) -> Run:
        if engine not in ENGINES:
            raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, given {engine!r}")
        plain = self._plain(data)
        self.needs.check_steps(names, data)
        start, clock = (state.values, state.clock) if state is not None else (None, None)
        sources: list[tuple[str, Tensor]] = []
        if tape_state().recording:
            tensors = {**self.params.tensors, **data.arrays}
            sources = [(n, t) for n, t in tensors.items() if isinstance(t, Tensor)]
        record = any([t.requires_grad for _, t in sources])
        if record and self.segments is not None and self.segments.suits(data):
            return Run(self, data, self.segments.run(self, data, names, state, engine), engine, state)
        if engine == "tape":
            inputs = {**data.arrays, **self.params.tensors}
            literal = Unrolling(self.program, inputs, data.lengths, data.batch, start, clock)
            literal.execute(names)
            found = {n: literal.result(n) for n in names}
            values = {n: v if isinstance(v, Tensor) else Tensor.wrap(np.asarray(v)) for n, v in found.items()}
            return Run(self, data, values, engine, state, literal)
        compiled = self.compiled(names)
        arrays, saved = compiled.forward(
            plain, data.lengths, data.batch, names, start=start, clock=clock, record=record
        )
        if not record:
            return Run(self, data, {n: Tensor.wrap(arrays[n]) for n in names}, engine, state)
        outputs = [arrays[n] for n in names]
        pullback = self._pullback(compiled, saved, names, sources)
        made = custom_node(self.system.name, [t for _, t in sources], outputs, pullback, fresh=True)
        return Run(self, data, dict(zip(names, made, strict=True)), engine, state)

    def evaluate(
        self, data: Arranged, names: tuple[str, ...], state: State | None, engine: str, outside: tuple[str, ...]
    ) -> Run:
        """Streams of checked data, off the tape. Compiled, it is the program that `gradient` compiled for `outside`."""
        self.needs.check_steps(names, data)
        start, clock = (state.values, state.clock) if state is not None else (None, None)
        if engine == "compiled":
            compiled = self.compiled(outside)
            arrays, _ = compiled.forward(
                self._plain(data), data.lengths, data.batch, names, start=start, clock=clock, record=True
            )
        else:
            literal = Unrolling(self.program, self._plain(data), data.lengths, data.batch, start, clock)
            literal.execute(names)
            arrays = {n: np.asarray(literal.result(n)) for n in names}
        return Run(self, data, {n: Tensor.wrap(arrays[n]) for n in names}, engine, state)

    def streams(self, data: Arranged, names: tuple[str, ...], state: State | None) -> Arrays:
        """Streams of checked data by the compiled engine, off the tape; nothing else is computed or kept."""
        start, clock = (state.values, state.clock) if state is not None else (None, None)
        arrays, _ = self.compiled(names).forward(
            self._plain(data), data.lengths, data.batch, names, start=start, clock=clock, record=False
        )
        return arrays

    def _plain(self, data: Arranged) -> Arrays:
        arrays = self.params.arrays()
        for name, value in data.arrays.items():
            arrays[name] = value.data if isinstance(value, Tensor) else value
        return arrays

    def _pullback(
        self, compiled: Compiled, saved: Any, names: tuple[str, ...], sources: list[tuple[str, Tensor]]
    ) -> Callable[[list[Any]], Sequence[Any]]:
        wrt = tuple(n for n, t in sources if t.requires_grad)
        order = [n for n, _ in sources]
        unchanged = self.watch(sources)

        def pullback(cotangents: list[Any]) -> Sequence[Any]:
            unchanged()
            grads = compiled.backward(saved, dict(zip(names, cotangents, strict=True)), wrt)
            return [grads.get(n) for n in order]

        return pullback

    @staticmethod
    def watch(sources: Sequence[tuple[str, Tensor]]) -> Callable[[], None]:
        """What raises GradientError, naming the tensor, once one of them is not what it is now."""
        before = latest_change()

        def unchanged() -> None:
            for name, tensor in sources if latest_change() > before else ():
                if last_change(tensor.data) > before:
                    raise GradientError(
                        f"{name} changed after the run whose gradient is asked for: run the model again"
                    )

        return unchanged

    # ------------------------------------------------------------ gradients

    def value_and_grad(
        self,
        *args: Any,
        loss: str | Callable[[Run], Tensor] | None = None,
        lengths: Any = None,
        state: State | None = None,
        train: bool = False,
        seed: int | None = None,
        engine: str = "compiled",
        has_aux: bool = False,
        **streams: Any,
    ) -> tuple[Any, Arrays]:
        """A loss and its gradient by parameter: `(value, grads)`, or `((value, run), grads)` with has_aux.

        loss   the name of a loss (its batch mean), or a function of the run that gives a scalar Tensor; when the
               cell has one loss it need not be named
        train, seed   as in a call

        Gradients are arrays of the parameters' shape and dtype; `.grad` of the parameters stays untouched.
        """
        loss = loss if callable(loss) else self.loss_name(loss)
        data = self.arranged(args, streams, lengths, state)
        self.stir(data, train, seed, state)
        if callable(loss) or engine != "compiled":
            return self._by_tape(loss, data, state, engine, has_aux)
        missing = self.needs.missing(loss, data)
        if missing:
            raise ValueError(f"{loss} cannot be computed: missing {self.needs.lacking(data)}")
        extra = tuple(n for n in self.needs.computable(data) if n != loss) if has_aux else ()
        value, grads, arrays = self.gradient(loss, data, state, extra)
        if not has_aux:
            return value, grads
        return (value, Run(self, data, {n: Tensor.wrap(a) for n, a in arrays.items()}, engine, state)), grads

    def gradient(
        self, loss: str, data: Arranged, state: State | None = None, want: tuple[str, ...] = ()
    ) -> tuple[float, Arrays, Arrays]:
        """Batch mean of a loss, its gradient by parameter, and the arrays of `want`, on the compiled engine."""
        if self.segments is not None:
            return self._in_segments(loss, data, state, want)
        compiled = self.compiled((loss,))
        self.needs.check_steps((loss,), data)
        start, clock = (state.values, state.clock) if state is not None else (None, None)
        arrays, saved = compiled.forward(
            self._plain(data), data.lengths, data.batch, (loss, *want), start=start, clock=clock, record=True
        )
        value = arrays[loss]  # a number a sequence, or one for all when it reads totals alone
        trained = tuple([n for n, t in self.params.tensors.items() if t.source is not None])
        assert saved is not None
        grads = compiled.backward(saved, {loss: self._of_mean(value.shape)}, trained)
        count = value.size
        mean = float(value.item() if count == 1 else np.add.reduce(value, axis=None)) / max(count, 1)  # .mean() is slow
        if len(grads) < len(trained):
            grads = {n: self._gradient_of(n, grads) for n in trained}
        return mean, grads, arrays

    def _of_mean(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """The gradient of a mean; one array for all calls."""
        found = self._means.get(shape)
        if found is None:
            found = self._means[shape] = np.full(shape, 1 / max(math.prod(shape), 1), self.dtype)
            found.setflags(write=False)
        return found

    def _in_segments(
        self, loss: str, data: Arranged, state: State | None, want: tuple[str, ...]
    ) -> tuple[float, Arrays, Arrays]:
        """`gradient` where segments are computed again."""
        with enable_grad():
            run = self._run(data, tuple(dict.fromkeys((loss, *want))), state, "compiled")
            value = run[loss]
        grads = self._gradients(value)
        return float(value.data), grads, {n: run.value(n).data for n in (loss, *want)}

    def _gradients(self, value: Tensor) -> Arrays:
        """The gradients of a number on the tape, by parameter."""
        trained, grads = self.params.trained, {}
        if value.edge is not None:
            edges = [t.edge for t in trained.values() if t.edge is not None]
            found = backward([value.edge], [np.ones(value.shape, value.dtype)], edges, record=False)
            grads = {n: g.data if isinstance(g, Tensor) else g for n, g in zip(trained, found, strict=True)}
        return {n: self._gradient_of(n, grads) for n in trained}

    def _gradient_of(self, name: str, grads: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        found = grads.get(name)
        return np.zeros(self.params[name].shape, self.dtype) if found is None else np.asarray(found)

    def _by_tape(
        self, loss: str | Callable[[Run], Tensor], data: Arranged, state: State | None, engine: str, has_aux: bool
    ) -> tuple[Any, Arrays]:
        names = self.needs.computable(data) if callable(loss) else (loss,)
        with enable_grad():
            run = self._run(data, names, state, engine)
            value = loss(run) if callable(loss) else run[loss]
        if not isinstance(value, Tensor) or value.size != 1:
            raise ValueError(f"loss: expected a function of the run that gives one number, given {value!r}")
        number = float(value.data)
        return ((number, run) if has_aux else number), self._gradients(value)

    def loss_name(self, name: str | None = None) -> str:
        """A loss of the cell, which need not be named when it has one. Errors: ValueError otherwise."""
        losses = self.system.losses
        if name is not None:
            if name not in losses:
                raise ValueError(f"{self.system.name} has no loss {name}; it has {', '.join(losses) or 'none'}")
            return name
        if len(losses) != 1:
            kind = "several losses" if losses else "no loss"
            raise ValueError(f"{self.system.name} has {kind}: give loss=..., a name or a function of the run")
        return losses[0]

    # ------------------------------------------------------------ text

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        """Integers of a string in the symbols of the text that the model was fitted to."""
        from dsl.run.data import encode

        if self.symbols is None:
            raise ValueError("this model knows no symbols: fit it to a Text, or give integers")
        return encode(text, self.symbols)

    # ------------------------------------------------------------ what is done elsewhere

    def fit(self, **options: Any) -> Any:
        """Train: see `dsl.run.fit.fit`."""
        from dsl.run.fit import fit

        return fit(self, **options)

    def generate(self, T: int | str | None = None, **options: Any) -> Any:
        """Sample a sequence and feed it back: see `dsl.run.generate.generate`."""
        return generate(self, T, **options)

    def generating(self, greedy: bool = False) -> Model:
        """The cell that draws for itself, as a model, to be exported: see `dsl.run.sampling.generating`."""
        return generating(self, greedy)

    def save(self, path: str | Path, optimizer: Any = None) -> Path:
        """Write cell, parameters and optimizer to one file: see `dsl.run.storage.save`."""
        return save(self, path, optimizer)

    def to_torch(self) -> Any:
        """A torch.nn.Module of generated, readable source: see `dsl.export.torch`."""
        from dsl.export.torch import to_torch

        return to_torch(self)

    def to_jax(self) -> Any:
        """A pure function over `lax.scan`, of generated, readable source: see `dsl.export.jax`."""
        from dsl.export.jax import to_jax

        return to_jax(self)

    def to_onnx(self, path: str | Path, **options: Any) -> Path:
        """Write an ONNX model of the forward pass: see `dsl.export.onnx`."""
        from dsl.export.onnx import to_onnx

        return to_onnx(self, path, **options)

    def load_torch(self, module: Any) -> None:
        """Take the parameters of a module that `to_torch` made, or of a plain recurrent layer of torch."""
        from dsl.export.torch import load_torch

        load_torch(self, module)
