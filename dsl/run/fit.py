"""Training: batches, steps, what is shown, what is kept, and how it goes on after a kill.

A training is a pure function of the model's parameters, the optimizer's state, the data and the position in it. A
checkpoint holds all four, so that a training that was killed and resumed reaches the weights of one that was not, bit
for bit. What time decides (when to show, to sample, to save) never enters the arithmetic.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.run import storage
from dsl.run.carry import State
from dsl.run.data import Chunk, Shuffled, Streams, Text
from dsl.run.inputs import arrange, fed
from dsl.run.noise import fresh
from dsl.run.program import needed
from dsl.run.progress import Progress
from dsl.run.result import Run
from dsl.text.diagnostics import CellError
from tinygrad_seq.optim import Adam, clip_by_norm
from tinygrad_seq.tensor import Tensor

if TYPE_CHECKING:
    from dsl.run.model import Model

CHECKPOINT = "checkpoint.safetensors"
CURVES = "curves.json"


@dataclass
class Curves:
    """What training measured: a value a step, and validation losses where they were taken."""

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    valid: list[tuple[int, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """JSON: `loss` and `gradient_norm` by step (from 1), `valid` as [step, loss]."""
        content = {"loss": self.loss, "gradient_norm": self.gradient_norm, "valid": self.valid}
        storage.write(path, json.dumps(content).encode())


@dataclass
class Training:
    """How a training ended.

    steps        updates made, those before a resume included
    loss, valid  the last training and validation loss (None when there was none)
    interrupted  stopped by Ctrl-C; `checkpoint` holds everything to go on
    seconds      spent in this call
    """

    steps: int
    curves: Curves
    seconds: float
    interrupted: bool = False
    checkpoint: Path | None = None

    @property
    def loss(self) -> float | None:
        return self.curves.loss[-1] if self.curves.loss else None

    @property
    def valid(self) -> float | None:
        return self.curves.valid[-1][1] if self.curves.valid else None


def fit(
    model: Model,
    *,
    optimizer: Any = None,
    batch: int = 50,
    chunk: int = 50,
    steps: int = 1000,
    seconds: float | None = None,
    clip: float | None = 5.0,
    valid: float = 0.0,
    valid_every: int = 0,
    out: str | Path | None = None,
    resume: bool | None = None,
    save_every: int = 0,
    save_seconds: float = 60.0,
    sample_seconds: float = 0.0,
    sample: Callable[[Model], str] | None = None,
    loss: str | None = None,
    lengths: Any = None,
    seed: int = 0,
    engine: str = "compiled",
    progress: bool = True,
    on_step: Callable[[int, float, float], None] | None = None,
    **streams: Any,
) -> Training:
    """Train a model on its streams: `model.fit(y=text.ids, batch=50, chunk=50, steps=1000)`.

    Data: one long sequence (T, ...) is read as `batch` parallel streams, `chunk` steps at a time; a cell that can be
    carried on keeps its state from chunk to chunk (truncated backpropagation through time), another starts each chunk
    anew. Many sequences, as (T, N, ...) or a list of arrays, are drawn whole, `batch` of them in shuffled order.

    optimizer      Adam(lr=2e-3) unless given
    seconds        stop so long after the first step (which may have to compile), whatever is left of `steps`
    clip           the largest norm of all gradients together; None leaves them
    valid          the share held out: the end of one sequence, the last of many; measured every `valid_every` steps
                   (0: ten times) and at the end
    out            folder for checkpoint.safetensors (every `save_every` steps and `save_seconds` seconds, at the end,
                   on Ctrl-C) and curves.json
    resume         True goes on from the checkpoint in `out`, False starts anew; needed only when there is one
    sample_seconds how often to show a sample; `sample` makes it (model.generate unless given)
    on_step        called with step, loss and gradient norm

    Errors: ValueError for bad data and for a checkpoint of another training; OSError, before the first step, when
    `out` cannot be written; FloatingPointError naming the step when a loss or gradient is not finite.
    """
    started = time.monotonic()
    options = {"batch": batch, "chunk": chunk, "clip": clip, "valid": valid, "seed": seed}
    name = model.loss_name(loss)
    data = _data(model, streams, name)
    train, held = _batches(model, data, lengths, batch, chunk, valid, seed)
    optimizer = optimizer if optimizer is not None else Adam(model.params.trained, lr=2e-3)
    folder = Path(out) if out is not None else None
    job = _Job(model, name, train, held, optimizer, clip, engine, folder, {**options, "data": _digest(data)})
    if folder is not None:
        job.open(resume)
    elif resume:
        raise ValueError("resume: which checkpoint? give out=, the folder it is in")
    deadline = math.inf
    watch = Progress(steps, train.tokens, categorical=bool(model.system.draws), shown=progress, seconds=seconds)
    watch.resumed(job.step)
    clock = {"save": time.monotonic(), "sample": time.monotonic()}
    every = valid_every or max(1, steps // 10)
    begun, ended = job.step, job.step >= steps
    with _interruptible() as stop, watch:
        while not ended and not stop.is_set():
            value, norm = job.advance()
            if job.step == begun + 1:  # the first step may have compiled: time counts from here
                clock = dict.fromkeys(clock, time.monotonic())
                deadline = math.inf if seconds is None else time.monotonic() + seconds
            watch.update(job.step, value, norm)
            if on_step is not None:
                on_step(job.step, value, norm)
            ended = job.step >= steps or time.monotonic() >= deadline
            if held is not None and (job.step % every == 0 or ended):
                watch.validated(job.step, job.validate())
            now = time.monotonic()
            if sample_seconds and now - clock["sample"] >= sample_seconds:
                watch.sample((sample or _sample)(model))
                clock["sample"] = time.monotonic()
            due = (save_every and job.step % save_every == 0) or now - clock["save"] >= save_seconds
            if folder is not None and due:
                job.save()
                clock["save"] = time.monotonic()
        interrupted = stop.is_set() and not ended
    checkpoint = job.save() if folder is not None else None
    if interrupted:
        watch.say(_how_to_resume(job.step, steps, checkpoint))
    return Training(job.step, job.curves, time.monotonic() - started, interrupted, checkpoint)


def _how_to_resume(step: int, steps: int, checkpoint: Path | None) -> str:
    of = f" of {steps}" if steps < 10**8 else ""  # beyond that it is the time that limits
    if checkpoint is None:
        return f"stopped at step {step}{of}; the model keeps what it learned (out= would keep checkpoints)"
    return f"stopped at step {step}{of}; kept {checkpoint}; the same call with resume=True goes on"


def _sample(model: Model) -> str:
    return str(model.generate(200, temperature=0.8, seed=0))


# ---------------------------------------------------------------- data


def _data(model: Model, streams: Mapping[str, Any], loss: str) -> dict[str, Any]:
    """The streams the loss needs; a Text gives its integers and its symbols to the model."""
    known = fed(model.system)
    for name in streams:
        if name not in known:
            raise ValueError(f"{model.system.name} has no stream {name}; it has {', '.join(known) or 'none'}")
    out = {}
    for name, value in streams.items():
        symbols = value.symbols if isinstance(value, Text) else getattr(value, "symbols", None)
        value = value.ids if isinstance(value, Text) else value
        count = int(known[name].categories or 0)
        if symbols is not None and known[name].dtype == "category":
            if len(symbols) > count:
                raise ValueError(
                    f"{name}: the text has {len(symbols)} symbols, the model {count}: build(K={len(symbols)})"
                )
            if model.symbols is not None and tuple(symbols) != model.symbols:
                raise ValueError(
                    f"{name}: the text's symbols are not the model's; encode it with Text(path, model.symbols)"
                )
            model.symbols = tuple(symbols)
        out[name] = value
    for name in needed(model.system, [loss], out):
        if name in known and name not in out:
            raise ValueError(f"missing {name}, which {loss} needs: fit({name}=...)")
    return out


Batches = Streams | Shuffled


def _batches(
    model: Model, data: Mapping[str, Any], lengths: Any, batch: int, chunk: int, valid: float, seed: int
) -> tuple[Batches, Batches | None]:
    """Training and validation batches of checked data."""
    if not 0 <= valid < 1:
        raise ValueError(f"valid: expected a share in [0, 1), given {valid}")
    if batch < 1 or chunk < 1:
        raise ValueError(f"batch and chunk: expected 1 or more, given {batch} and {chunk}")
    checked = arrange(model.system, data, lengths, model.dtype)
    arrays = {n: np.asarray(v.data if isinstance(v, Tensor) else v) for n, v in checked.arrays.items()}
    streams = model.system.streams
    axes = {a for n in arrays for a in streams[n].axes}
    if checked.single and len(axes) == 1 and all(streams[n].axes for n in arrays):
        return _long(arrays, batch, chunk, valid)
    place = {n: len(streams[n].axes) for n in arrays}
    count = checked.batch
    cut = count - int(count * valid)
    pieces = []
    for part in (slice(0, cut), slice(cut, count)):
        some = {n: v[(slice(None),) * place[n] + (part,)] for n, v in arrays.items()}
        steps = {a: v[part] for a, v in checked.lengths.items()}
        size = part.stop - part.start
        on = {n: streams[n].axes for n in arrays}
        pieces.append(Shuffled(some, on, steps, batch, seed) if size else None)
    if pieces[0] is None:
        raise ValueError("there are no sequences to learn from")
    return pieces[0], pieces[1]


def _long(arrays: Mapping[str, Any], batch: int, chunk: int, valid: float) -> tuple[Batches, Batches | None]:
    """One sequence as parallel streams; its end is held out."""
    total = len(next(iter(arrays.values())))
    cut = total - int(total * valid)
    lines = {n: v.reshape(len(v), *v.shape[2:]) for n, v in arrays.items()}
    if total == 0:
        raise ValueError(f"{next(iter(arrays))} is empty: nothing to learn from")
    train = Streams({n: v[:cut] for n, v in lines.items()}, batch, chunk)
    if cut == total:
        return train, None
    rows = max(1, min(batch, (total - cut) // chunk))
    return train, Streams({n: v[cut:] for n, v in lines.items()}, rows, chunk)


def _digest(data: Mapping[str, Any]) -> str:
    """A short name for data, to notice a resume with other data."""
    h = hashlib.sha256()
    for name in sorted(data):
        h.update(name.encode())
        items = data[name] if isinstance(data[name], list | tuple) else [data[name]]
        for item in items:
            array = np.ascontiguousarray(np.asarray(item))
            h.update(f"{array.dtype}{array.shape}".encode())
            h.update(array.tobytes())
    return h.hexdigest()[:16]


# ---------------------------------------------------------------- the steps


class _Job:
    """A training under way: everything that the next step depends on."""

    def __init__(
        self,
        model: Model,
        loss: str,
        train: Batches,
        held: Batches | None,
        optimizer: Any,
        clip: float | None,
        engine: str,
        folder: Path | None,
        options: dict[str, Any],
    ) -> None:
        self.model, self.loss, self.train, self.held = model, loss, train, held
        self.optimizer, self.clip, self.engine = optimizer, clip, engine
        self.folder, self.options = folder, options
        self.seed = int(options["seed"])
        self.step = 0
        self.state: State | None = None
        self.curves = Curves()
        self.carries = isinstance(train, Streams) and self._can_carry()

    def _can_carry(self) -> bool:
        try:
            _ = self.model.held
        except CellError:
            return False
        return True

    def advance(self) -> tuple[float, float]:
        """One update; its loss and the gradients' norm before clipping."""
        chunk = next(self.train)
        before = self.state if chunk.continued and self.carries else None
        value, grads, self.state = self.gradient(chunk, before)
        at = f"step {self.step + 1}"
        if not math.isfinite(value):
            raise FloatingPointError(f"{at}: the loss is {value}{self._advice()}")
        try:
            norm = clip_by_norm(grads, self.clip if self.clip is not None else math.inf)
        except FloatingPointError:
            raise FloatingPointError(f"{at}: the gradient is not finite (loss {value:.4g}){self._advice()}") from None
        self.optimizer.step(grads)
        self.step += 1
        self.curves.loss.append(value)
        self.curves.gradient_norm.append(norm)
        return value, norm

    def _advice(self) -> str:
        kept = self.folder is not None and (self.folder / CHECKPOINT).exists()
        return "; try a smaller lr or clip" + (
            f"; {self.folder}/{CHECKPOINT} holds the last good state" if kept else ""
        )

    def gradient(self, chunk: Chunk, before: State | None) -> tuple[float, dict[str, Any], State | None]:
        """Loss, gradients and the state behind the chunk."""
        model = self.model
        # noise: a sequence keeps its seed from chunk to chunk, a new one gets the step's
        seed = before.seed if before is not None and before.seed is not None else fresh(self.seed, self.step + 1)
        if self.engine != "compiled":
            (value, run), grads = model.value_and_grad(
                loss=self.loss,
                lengths=chunk.lengths,
                state=before,
                train=True,
                seed=seed,
                engine=self.engine,
                has_aux=True,
                **chunk.data,
            )
            return value, grads, run.state if self.carries else None
        data = model.arranged((), chunk.data, chunk.lengths, before)
        model.stir(data, True, seed, before)
        held = tuple(n for n in model.held if n not in data.arrays) if self.carries else ()
        value, grads, arrays = model.gradient(self.loss, data, before, held)
        state = None
        if self.carries:
            run = Run(model, data, {n: Tensor.wrap(arrays[n]) for n in held}, self.engine, before)
            state = run.state
        return value, grads, state

    def validate(self) -> float:
        """The loss on what is held out, a mean over its sequences (its steps, for one long sequence)."""
        assert self.held is not None
        total = weight = 0.0
        state: State | None = None
        for chunk in self.held.once():
            before = state if chunk.continued and self.carries else None
            value, state = self.evaluate(chunk, before)
            array = next(iter(chunk.data.values()))
            size = array.shape[0] if isinstance(self.held, Streams) else self.held.count_of(chunk)
            total += value * size
            weight += size
        value = total / weight
        self.curves.valid.append((self.step, value))
        return value

    def evaluate(self, chunk: Chunk, before: State | None) -> tuple[float, State | None]:
        model = self.model
        data = model.arranged((), chunk.data, chunk.lengths, before)
        model.stir(data, False, None, before)
        held = tuple(n for n in model.held if n not in data.arrays) if self.carries else ()
        run = model.evaluate(data, (self.loss, *held), before, self.engine, outside=(self.loss,))
        return float(run[self.loss].data), run.state if self.carries else None

    # ------------------------------------------------------------ checkpoints

    def save(self) -> Path:
        assert self.folder is not None
        arrays: dict[str, Any] = {}
        if self.state is not None:
            arrays |= {f"state/{n}": v for n, v in self.state.values.items()}
            arrays |= {f"clock/{a}": v for a, v in self.state.clock.items()}
        training = {"step": self.step, "position": self.train.position(), "options": self.options, "loss": self.loss}
        training |= {"carried": self.state is not None, "valid": self.curves.valid}
        training |= {"noise": self.state.seed if self.state is not None else None}
        arrays["curves/loss"] = np.array(self.curves.loss)
        arrays["curves/gradient_norm"] = np.array(self.curves.gradient_norm)
        path = storage.save(self.model, self.folder / CHECKPOINT, self.optimizer, arrays=arrays, training=training)
        self.curves.save(self.folder / CURVES)
        return path

    def open(self, resume: bool | None) -> None:
        """Make sure that `out` can be written, and take up the checkpoint in it when that is wanted."""
        assert self.folder is not None
        path = self.folder / CHECKPOINT
        probe = self.folder / ".writable"
        storage.write(probe, b"")
        probe.unlink()
        if self.model.origin is None:
            raise ValueError(
                f"out: {self.model.system.name} was built from a system without source, which a checkpoint needs"
            )
        if not path.exists():
            if resume:
                raise ValueError(f"resume: there is no {path}")
            return
        stored = storage.read(path)
        training = stored.about.get("training") or {}
        if resume is None:
            raise ValueError(
                f"{path} holds a training at step {training.get('step', '?')}: resume=True goes on with it, "
                f"resume=False starts anew and replaces it, another out= keeps both"
            )
        if resume:
            self._resume(stored, training)

    def _resume(self, stored: storage.Stored, training: Mapping[str, Any]) -> None:
        if not training:
            raise ValueError(f"resume: {stored.path} holds a model, but no training")
        for key, value in self.options.items():
            other = training["options"].get(key)
            if other != value:
                raise ValueError(
                    f"resume: {stored.path} was made with {key}={other}, now {key}={value}; they must be equal"
                )
        kind = stored.about.get("optimizer")
        if kind != type(self.optimizer).__name__:
            raise ValueError(f"resume: {stored.path} was made with {kind}, now with {type(self.optimizer).__name__}")
        model = self.model
        if model.origin is None or stored.about["cell"] != model.origin.plain():
            raise ValueError(f"resume: the cell or its sizes are not those of {stored.path}")
        for name in model.params:
            model.params[name] = stored.tensors[f"param/{name}"]
        self.optimizer.load_state_dict(stored.optimizer_state() or {})
        self.step = int(training["step"])
        self.train.seek(training["position"])
        if training["carried"]:
            self.state = State(stored.under("state/"), stored.under("clock/"), training.get("noise"))
        self.curves = Curves(
            stored.tensors["curves/loss"].tolist(),
            stored.tensors["curves/gradient_norm"].tolist(),
            [(int(s), float(v)) for s, v in training["valid"]],
        )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C asks for the end of the current step instead of breaking into it; a second one breaks."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(signum: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
