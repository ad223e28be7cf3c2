"""The course of a training: step after step, when it measures, saves, shows a sample, and when it ends.

Time decides here, and only here: what a step is, and what a checkpoint holds, is `dsl.run.job`'s.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl.run.job import Curves, Job
from dsl.run.progress import Progress

if TYPE_CHECKING:
    from dsl.run.model import Model


@dataclass
class Training:
    """How a training ended.

    steps        updates made, those before a resume included
    loss, valid  the last training and validation loss (None when there was none)
    best         step and value of the least validation loss
    measures     the last values of `evaluate`
    reached      `until` was satisfied
    interrupted  stopped by Ctrl-C; `checkpoint` holds everything to go on
    seconds      from the first step of this call to the end
    """

    steps: int
    curves: Curves
    seconds: float
    reached: bool = False
    interrupted: bool = False
    checkpoint: Path | None = None

    @property
    def loss(self) -> float | None:
        return self.curves.loss[-1] if self.curves.loss else None

    @property
    def valid(self) -> float | None:
        return self.curves.valid[-1][1] if self.curves.valid else None

    @property
    def best(self) -> tuple[int, float] | None:
        return self.curves.best

    @property
    def measures(self) -> dict[str, float]:
        return {name: values[-1][1] for name, values in self.curves.measures.items()}


@dataclass
class Course:
    """A job, and when what is done with it.

    steps, seconds     it ends behind so many steps, or so long after the first (which may have compiled)
    every              steps between measurements; there is one at the end, too
    until              it ends where this is true of all measures
    patience           and behind so many validations without a better one (0: never)
    save_every, save_seconds   steps (0: no matter) and seconds between checkpoints, where the job has a folder
    sample_seconds     between samples, which `sample` makes (0: none)
    best               it ends with the weights of the least validation loss
    on_step            called with step, loss and gradient norm
    """

    job: Job
    watch: Progress
    steps: int
    seconds: float | None
    every: int
    until: Callable[[Mapping[str, float]], bool] | None
    patience: int
    save_every: int
    save_seconds: float
    sample_seconds: float
    sample: Callable[[Model], str] | None
    best: bool
    on_step: Callable[[int, float, float], None] | None

    def run(self) -> Training:
        """Until the end, or Ctrl-C."""
        job, watch, started = self.job, self.watch, time.monotonic()
        watch.resumed(job.step)
        begun, self.reached = job.step, False
        found = job.curves.at(job.step)  # of a training that is taken up again: it may have ended before
        ended = bool(found) and self._enough(found) or job.step >= self.steps
        self._start()
        with _interruptible() as stop, watch:
            while not ended and not stop.is_set():
                value, norm = job.advance()
                if job.step == begun + 1:
                    self._start()  # the first step may have compiled: time counts from here
                watch.update(job.step, value, norm)
                if self.on_step is not None:
                    self.on_step(job.step, value, norm)
                ended = job.step >= self.steps or time.monotonic() >= self.deadline
                if job.step % self.every == 0 or ended:
                    ended = self._measure() or ended
                self._now_and_then()
            interrupted = stop.is_set() and not ended
        checkpoint = job.save() if job.folder is not None else None
        if interrupted:
            watch.say(_how_to_resume(job.step, self.steps, checkpoint))
        elif self.best:
            job.take_best()
        return Training(job.step, job.curves, time.monotonic() - started, self.reached, interrupted, checkpoint)

    def _start(self) -> None:
        now = time.monotonic()
        self.saved = self.sampled = now
        self.deadline = math.inf if self.seconds is None else now + self.seconds

    def _measure(self) -> bool:
        """Whether what is found ends the training."""
        found = self.job.measure()
        self.watch.measured(self.job.step, found)
        return self._enough(found)

    def _enough(self, found: Mapping[str, float]) -> bool:
        """Whether what was measured after the last step ends the training."""
        self.reached = self.until is not None and self.until(found)
        best, stale = self.job.curves.best, self.job.curves.stale
        if self.reached or not self.patience or best is None or stale < self.patience:
            return self.reached
        self.watch.say(f"stopped at step {self.job.step}: no better validation in {stale} since step {best[0]}")
        return True

    def _now_and_then(self) -> None:
        """A sample and a checkpoint, when they are due."""
        job, now = self.job, time.monotonic()
        if self.sample_seconds and now - self.sampled >= self.sample_seconds:
            self.watch.sample((self.sample or _sample)(job.model))
            self.sampled = time.monotonic()
        due = (self.save_every and job.step % self.save_every == 0) or now - self.saved >= self.save_seconds
        if job.folder is not None and due:
            job.save()
            self.saved = time.monotonic()


def _how_to_resume(step: int, steps: int, checkpoint: Path | None) -> str:
    of = f" of {steps}" if steps < 10**8 else ""  # beyond that it is the time that limits
    if checkpoint is None:
        return f"stopped at step {step}{of}; the model keeps what it learned (out= would keep checkpoints)"
    return f"stopped at step {step}{of}; kept {checkpoint}; the same call with resume=True goes on"


def _sample(model: Model) -> str:
    return str(model.generate(200, temperature=0.8, seed=0))


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
