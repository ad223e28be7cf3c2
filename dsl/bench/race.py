"""Contenders timed against one another, fairly.

Every contender lives in a process of its own, with its own threads; turns are short and interleaved, so that a slow
minute of the machine meets all alike; the medians are over all turns. Only one process runs at a time, the others are
stopped: threads of some libraries keep a core busy for a while after their work (OpenBLAS waits awake), which would
cost whoever comes next the half of its speed. A contender is named by where its class is, so that the process can make
it: it has `step()`, `infer()`, both back when the work is done, and `gradients()`, a loss and gradients by name. Knows
nothing of cells.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

MODES = ("step", "infer")
Gradients = tuple[float, Mapping[str, Any]]


class Lacking(Exception):
    """What a contender does not have: a line of the table. Anything else that goes wrong is told as it is."""


@dataclass(frozen=True)
class Entry:
    """A contender: `home` is "module:Class", called with the task that is raced in a process with these settings."""

    name: str
    home: str
    settings: tuple[tuple[str, str], ...] = ()  # environment variables

    def home_class(self) -> Any:
        module, _, name = self.home.partition(":")
        return getattr(import_module(module), name)


@dataclass
class Contender:
    """An entry in its process."""

    entry: Entry
    process: Any
    pipe: Connection
    times: dict[str, list[float]] = field(default_factory=dict)
    first: float = 0.0  # seconds until the first step and the first inference were done
    error: float | None = None  # of its gradients, where there is something to compare them with

    def ask(self, command: str, details: Any = None) -> Any:
        self.wake()
        self.pipe.send((command, details))
        answer = self.pipe.recv()
        self._signal("SIGSTOP")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wake(self) -> None:
        self._signal("SIGCONT")

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self.process.is_alive():  # Windows has neither
            os.kill(self.process.pid, getattr(signal, name))


def serve(entry: Entry, pipe: Connection) -> None:
    """A contender's process: build, time and compare on request."""
    os.environ.update(entry.settings)
    contender: Any = None
    while True:
        command, details = pipe.recv()
        try:
            if command == "build":
                contender = None
                start = time.perf_counter()
                contender = entry.home_class()(details)
                contender.step()
                contender.infer()
                pipe.send(time.perf_counter() - start)
            elif command == "gradients":
                pipe.send(contender.gradients())
            elif command == "turn":
                mode, seconds = details
                pipe.send(turn(getattr(contender, mode), seconds))
            else:
                return
        except Lacking as error:
            pipe.send(error)
        except Exception as error:  # as text: not every exception survives the way between processes
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def turn(work: Any, seconds: float) -> list[float]:
    """Times of single runs, after one that wakes the threads and fills the caches."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


class Race:
    """The contenders' processes; use it in a `with` statement."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        context = multiprocessing.get_context("spawn")
        self.contenders: list[Contender] = []
        for entry in entries:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(entry, there), daemon=True)
            process.start()
            there.close()
            self.contenders.append(Contender(entry, process, here))

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *error: object) -> None:
        for contender in self.contenders:
            if contender.process.is_alive():
                contender.wake()
                contender.pipe.send(("stop", None))
            contender.process.join(10)

    def run(self, task: Any, true: Gradients | None, rounds: int, seconds: float) -> list[dict[str, Any]]:
        """A row a contender. Ratios are the first one's time over the others': below 1, the first is faster.

        A peer that cannot run is a row that says why; the first has to: RuntimeError.
        """
        rows: list[dict[str, Any]] = []
        live: list[Contender] = []
        for contender in self.contenders:
            contender.times = {mode: [] for mode in MODES}
            try:
                contender.first = contender.ask("build", task)
                found = contender.ask("gradients")
                contender.error = deviation(found, true) if true is not None else None
                live.append(contender)
            except (Lacking, RuntimeError) as error:
                if contender is self.contenders[0]:
                    raise RuntimeError(f"{contender.entry.name}: {error}") from None
                rows.append({"peer": contender.entry.name, "missing": str(error).splitlines()[0]})
        for number in range(rounds):
            for contender in live[number % len(live) :] + live[: number % len(live)]:
                for mode, times in contender.times.items():
                    times += contender.ask("turn", (mode, seconds))
        base = {mode: statistics.median(times) for mode, times in live[0].times.items()}
        return [_row(contender, base) for contender in live] + rows


def _row(contender: Contender, base: Mapping[str, float]) -> dict[str, Any]:
    row: dict[str, Any] = {"peer": contender.entry.name, "gradient_error": contender.error}
    row["first_call_s"] = contender.first
    for mode, times in contender.times.items():
        middle = statistics.median(times)
        row |= {f"{mode}_ms": middle * 1e3, f"{mode}_runs": len(times), f"{mode}_ratio": base[mode] / middle}
    return row


def deviation(found: Gradients, true: Gradients) -> float | None:
    """The largest error of a gradient, relative to the largest entry of that gradient; None when they share none."""
    errors = []
    for name, g in true[1].items():
        if name in found[1]:
            errors.append(float(np.abs(found[1][name] - g).max(initial=0) / max(np.abs(g).max(initial=0), 1e-30)))
    return max(errors, default=None)


def machine() -> dict[str, Any]:
    """What must stand beside every number."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pinned = {k: v for k, v in os.environ.items() if k.endswith("NUM_THREADS") or k == "OPENBLAS_CORETYPE"}
    facts: dict[str, Any] = {"cpu": model, "cores": cores, "system": f"{platform.system()} {platform.machine()}"}
    return facts | {"python": platform.python_version()} | pinned


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text."""
    width = max(14, *(len(row["peer"]) for row in rows))
    head = f"{'':{width}}{'train ms':>10}{'ratio':>8}{'infer ms':>10}{'ratio':>8}{'first s':>9}  gradient error"
    lines = [head]
    for row in rows:
        if "missing" in row:
            lines.append(f"{row['peer']:{width}}  {row['missing']}")
            continue
        error = "–" if row["gradient_error"] is None else f"{row['gradient_error']:.1e}"
        lines.append(
            f"{row['peer']:{width}}{row['step_ms']:10.3f}{row['step_ratio']:8.2f}{row['infer_ms']:10.3f}"
            f"{row['infer_ratio']:8.2f}{row['first_call_s']:9.2f}  {error}"
        )
    return "\n".join(lines)
