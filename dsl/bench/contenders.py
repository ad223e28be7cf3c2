"""Contenders for any cell: ours through the public call, and the same cell as exported to other frameworks.

What is timed is one training step: forward, the loss, backward to every parameter. The loss is the cell's own when it
has one, else half the mean square of its outputs, which ours has as one more equation of the cell. A further pair
stands beside them for scale, an LSTM of that size: ours, and the one that PyTorch ships.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from dsl.bench.race import Entry, Gradients, Lacking
from dsl.run.inputs import fed
from dsl.run.model import Model
from dsl.run.storage import Origin, rebuild
from dsl.spec import load
from dsl.system.system import Read, Stream, System, here
from tinygrad_seq.symbol import apply, lift

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Task:
    """A cell with its sizes and what it runs on.

    origin  the cell's texts and arguments: all a process needs to build it
    batch, steps   sequences, and steps of every free axis
    ragged  lengths spread evenly from half the steps to all
    dtype   "float32" or "float64"
    """

    origin: Origin
    batch: int
    steps: int
    ragged: bool = False
    dtype: str = "float32"
    seed: int = 0

    def model(self) -> Model:
        return Model(rebuild(self.origin), seed=self.seed, dtype=self.dtype, origin=self.origin)

    def lengths(self, model: Model) -> Arrays:
        base = [name for name, axis in model.system.axes.items() if axis.length is None]
        low = max(1, self.steps // 2) if self.ragged else self.steps
        return {axis: np.linspace(self.steps, low, self.batch).astype(np.int64) for axis in base}

    def data(self, model: Model) -> dict[str, Any]:
        """Random arrays for the streams that are fed."""
        random = np.random.default_rng(self.seed)
        found: dict[str, Any] = {}
        for name, stream in fed(model.system).items():
            lead = () if stream.shared else (*(self.steps for _ in stream.axes), self.batch)
            if stream.categories is not None:
                found[name] = random.integers(0, int(stream.categories), lead)
            else:
                shape = (*lead, *(int(dim) for dim in stream.shape))
                found[name] = random.standard_normal(shape).astype(self.dtype)
        return found


class Ours:
    """The public call: validation included."""

    def __init__(self, task: Task) -> None:
        import tinygrad_seq as tg

        self.tg, model = tg, task.model()
        self.data = task.data(model)
        self.lengths = task.lengths(model) if task.ragged else None
        if not model.system.losses and not task.ragged:  # peers average over a ragged batch's padding too
            model = Model(with_squares(model.system), seed=task.seed, dtype=task.dtype, origin=task.origin)
        self.model = model

    def step(self) -> None:
        losses = self.model.system.losses
        self.value, self.grads = self.model.value_and_grad(
            **self.data, lengths=self.lengths, loss=losses[0] if len(losses) == 1 else self._objective
        )

    def _objective(self, run: Any) -> Any:
        losses = self.model.system.losses
        if losses:
            return sum((run[name] for name in losses[1:]), run[losses[0]])
        outputs = [run[name] for name in self.model.system.outputs]
        terms = [0.5 * self.tg.mean(self.tg.re(v * self.tg.conj(v)) if _complex(v) else v * v) for v in outputs]
        return sum(terms[1:], terms[0])

    def infer(self) -> None:
        with self.tg.no_grad():
            self.model(**self.data, lengths=self.lengths)

    def gradients(self) -> Gradients:
        self.step()
        return float(self.value), self.grads


def with_squares(system: System) -> System:
    """The system with half the mean square of its outputs as its loss: `loss squares = mean[t](mean(h[t]**2))/2`."""
    total = None
    for name in system.outputs:
        stream = system.streams[name]
        value = lift(Read(name, tuple(here(axis) for axis in stream.axes)))
        value = apply("re", value * apply("conj", value)) if stream.dtype == "complex" else value * value
        for axis in (*(-1 for _ in stream.shape), *reversed(stream.axes)):
            value = apply("mean", value, axis=axis)
        total = value if total is None else total + value
    if total is None:
        raise Lacking("the cell has neither a loss nor an output to make one of")
    return system.with_(
        streams={**system.streams, "squares": Stream("squares", "equation")},
        equations={**system.equations, "squares": total / 2},
        losses=("squares",),
    )


class TorchExport:
    """`model.to_torch()`: a loop over the steps, input products outside it."""

    def __init__(self, task: Task) -> None:
        import torch

        model = task.model()
        self.torch, self.module, self.system = torch, model.to_torch(), model.system
        self.data = {n: torch.from_numpy(v) for n, v in task.data(model).items()}
        if task.ragged:
            self.data["lengths"] = {a: torch.from_numpy(v) for a, v in task.lengths(model).items()}

    def step(self) -> None:
        self.module.zero_grad(set_to_none=True)
        out = self.module(**self.data)
        self.value = _objective(self.system, out)
        self.value.backward()

    def infer(self) -> None:
        with self.torch.inference_mode():
            self.module(**self.data)

    def gradients(self) -> Gradients:
        self.step()
        found = {n: p.grad.numpy() for n, p in self.module.named_parameters() if p.grad is not None}
        return float(self.value.detach()), found


class JaxExport:
    """`model.to_jax()` under `jit`: recurrences are `lax.scan`."""

    def __init__(self, task: Task) -> None:
        import jax

        if task.dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        model = task.model()
        function, self.jax = model.to_jax(), jax
        self.params = {n: jax.numpy.asarray(v.data) for n, v in model.params.items()}
        self.inputs = {n: jax.numpy.asarray(v) for n, v in task.data(model).items()}
        lengths = task.lengths(model) if task.ragged else None

        def loss(params: Any, inputs: Any) -> Any:
            return _objective(model.system, function(params, inputs, lengths=lengths))

        self.both = jax.jit(jax.value_and_grad(loss, allow_int=True))
        self.forward = jax.jit(lambda params, inputs: function(params, inputs, lengths=lengths))

    def step(self) -> None:
        self.value, self.grads = self.jax.block_until_ready(self.both(self.params, self.inputs))

    def infer(self) -> None:
        self.jax.block_until_ready(self.forward(self.params, self.inputs))

    def gradients(self) -> Gradients:
        self.step()
        return float(self.value), {n: np.conj(np.asarray(g)) for n, g in self.grads.items()}


class OurLSTM(Ours):
    """An LSTM of the sizes D and H that the cell has, for scale."""

    def __init__(self, task: Task) -> None:
        super().__init__(_lstm(task))

    def gradients(self) -> Gradients:
        return super().gradients()[0], {}  # of other parameters than the cell's


class TorchLSTM:
    """`torch.nn.LSTM` of those sizes."""

    def __init__(self, task: Task) -> None:
        import torch

        task = _lstm(task)
        model = task.model()
        self.torch, sizes = torch, model.system.arguments
        kind = getattr(torch, task.dtype)
        self.module = torch.nn.LSTM(int(sizes["D"] or 1), int(sizes["H"] or 1), dtype=kind)
        self.x = torch.from_numpy(task.data(model)["x"])

    def step(self) -> None:
        self.module.zero_grad(set_to_none=True)
        out = self.module(self.x)[0]
        self.value = 0.5 * (out * out).mean()
        self.value.backward()

    def infer(self) -> None:
        with self.torch.inference_mode():
            self.module(self.x)

    def gradients(self) -> Gradients:
        self.step()
        return float(self.value.detach()), {}


def _lstm(task: Task) -> Task:
    """The LSTM beside a cell: as many inputs and units as the cell's D and H."""
    sizes = {n: v for n, v in task.origin.arguments.items() if n in ("D", "H")}
    if "H" not in sizes:
        raise Lacking("the cell has no size H to compare an LSTM by")
    spec = load("LSTM")(**{"D": sizes["H"], **sizes})
    origin = spec.build(seed=task.seed).origin
    assert origin is not None
    return replace(task, origin=origin, ragged=False)


def _complex(value: Any) -> bool:
    return bool(np.iscomplexobj(value.data))


def _objective(system: Any, out: Any) -> Any:
    """The loss of an export's results, as `Ours` has it."""
    if system.losses:
        return sum((out[name] for name in system.losses[1:]), out[system.losses[0]])
    terms = []
    for name in system.outputs:
        value = out[name]
        squares = (value * value.conj()).real if "complex" in str(value.dtype) else value * value
        terms.append(0.5 * squares.mean())
    return sum(terms[1:], terms[0])


ENTRIES = {
    "tinygrad-seq": ("numba", Entry("tinygrad-seq", f"{__name__}:Ours")),
    "torch loop": ("torch", Entry("torch loop", f"{__name__}:TorchExport")),
    "jax scan": ("jax", Entry("jax scan", f"{__name__}:JaxExport")),
    "our LSTM": ("numba", Entry("our LSTM", f"{__name__}:OurLSTM")),
    "torch.nn.LSTM": ("torch", Entry("torch.nn.LSTM", f"{__name__}:TorchLSTM")),
}


def installed() -> list[str]:
    """The contenders that this machine can run, ours first."""
    return [name for name, (package, _) in ENTRIES.items() if find_spec(package) is not None]


def entries(names: list[str]) -> list[Entry]:
    """Errors: ValueError for a contender there is not, or whose package is not installed."""
    for name in names:
        if name not in ENTRIES:
            raise ValueError(f"there is no contender {name}: {', '.join(ENTRIES)}")
        if find_spec(ENTRIES[name][0]) is None:
            raise ValueError(f"{name}: {ENTRIES[name][0]} is not installed")
    return [ENTRIES[name][1] for name in names]
