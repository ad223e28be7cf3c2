"""What every example shares: words on the command line, sizes, figures beside their anchors, the result file.

An example is a module with a docstring (what it shows, and where its figure comes from) and a function that takes an
`Experiment`; `main` runs it. It may know the three packages; they know nothing of it.

    python -m examples.NAME            minutes on two cores
    python -m examples.NAME --quick    seconds: the same code, small, for a look and for the tests
    python -m examples.NAME --full     the size of the paper, where there is one
    ... --record                       keep the result file and the pictures beside the example, those of --full apart
    ... --resume                       go on where a run of this size and seed was stopped or killed
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import dsl
from dsl.run.course import Training
from dsl.run.model import Model
from dsl.run.storage import CHECKPOINT
from dsl.spec import Spec
from tinygrad_seq.files import write_file

HOME = Path(__file__).resolve().parent
MODES = ("quick", "normal", "full")
UNSEEN = 10**6  # update n of a training draws from the generator of (seed, n), and none has so many
Value = TypeVar("Value")


@dataclass(frozen=True)
class Figure:
    """A number that a run reached, beside what it is measured against.

    anchor   the published number, or what a rule without learning reaches
    origin   where the anchor comes from, in words
    better   "less", "more", or "equal" (to `within`, absolutely): on which side of the anchor the figure has to be
    """

    name: str
    value: float
    anchor: float
    origin: str
    better: str
    within: float = 0.0

    @property
    def holds(self) -> bool:
        if self.better == "equal":
            return abs(self.value - self.anchor) <= self.within
        return self.value < self.anchor if self.better == "less" else self.value > self.anchor

    def line(self) -> str:
        sign = {"less": "<", "more": ">", "equal": "="}[self.better]
        verdict = "" if self.holds else "   NOT reached"
        return f"{self.name}: {number(self.value)}   {sign} {number(self.anchor)}, {self.origin}{verdict}"


def number(value: Any) -> str:
    """Counts in full, other numbers with five digits."""
    return f"{value:,.0f}" if 1 <= abs(value) < 1e9 and value == round(value) else f"{value + 0.0:.5g}"


def said(value: Any) -> str:
    """A fact as it is printed: numbers as figures are, lists and tables without brackets."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {said(of)}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(said, value))
    return number(value) if isinstance(value, Real) and not isinstance(value, bool) else str(value)


@dataclass
class Experiment:
    """One run of an example.

    mode     quick, normal or full
    seed     of everything random; `seeds`, how many from there on it tries
    folder   where files of this run go: checkpoints, curves, pictures, result.json
    source   the example's own folder, with its cells
    data     the user's own file, for the examples that take one; of a table, `columns` are those to be read
    resume   go on with the trainings that an earlier run of the same kind has kept
    workers  processes of a sweep, or `dask`, the address of a cluster that it runs on; `earlier`, the seconds of its
             runs that were there already
    larger   whether there is a size above the normal one, for --full
    """

    name: str
    title: str
    mode: str
    seed: int
    folder: Path
    source: Path
    progress: bool = True
    data: Path | None = None
    columns: str | None = None
    workers: int = 2
    dask: str | None = None
    earlier: float = 0.0
    resume: bool = False
    larger: bool = True
    seeds: int = 1
    figures: list[Figure] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def size(self, quick: Value, normal: Value, full: Value | None = None) -> Value:
        """A number that depends on how large the run is; without a third, the normal one is the largest."""
        return (quick, normal, normal if full is None else full)[MODES.index(self.mode)]

    def unseen(self, number: int = 0) -> np.random.Generator:
        """What makes data to measure with: no update of a training gets this generator. `number` tells sets apart."""
        return np.random.default_rng([self.seed, UNSEEN + number])

    def cell(self, name: str, file: str | None = None, **arguments: Any) -> Spec:
        """A cell of the example's own file, `FILE.cell` (the example's name without; `tasks.CELLS`: shared ones)."""
        return dsl.load(f"{self.source / (file or self.name)}.cell:{name}")(**arguments)

    def fit(self, model: Model, name: str, **options: Any) -> Training:
        """`model.fit` with this run's seed and live progress, kept under a name that no other training of it has: what
        was stopped, by Ctrl-C or the machine, goes on with --resume where it was; what had ended is not done again."""
        folder = self.kept / re.sub(r"\W+", "_", name)
        there = self.resume and (folder / CHECKPOINT).exists()
        done = model.fit(**{"seed": self.seed, **options}, progress=self.progress, out=folder, resume=there)
        if done.interrupted:
            raise SystemExit(f"stopped in {name}: the same words with --resume go on")
        return done

    @property
    def kept(self) -> Path:
        """Where checkpoints of this size and seed are."""
        return self.folder / f"trainings-{self.mode}-{self.seed}"

    def begin(self) -> None:
        """Note when this run began; one that goes on counts the time of those before it, up to their checkpoints."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note, now = self.kept / "began.json", time.time()
        if self.resume and note.exists():
            before = json.loads(note.read_text(encoding="utf-8"))
            ends = [path.stat().st_mtime for path in self.kept.glob(f"*/{CHECKPOINT}")]
            self.earlier = before["earlier"] + max([before["at"], *ends]) - before["at"]
        self.kept.mkdir(exist_ok=True)
        write_file(note, json.dumps({"at": now, "earlier": self.earlier}).encode())

    def figure(
        self, name: str, value: float, anchor: float, origin: str, better: str = "less", within: float = 0.0
    ) -> Figure:
        """State a figure; it is printed at once, with whether it holds."""
        if better not in ("less", "more", "equal"):
            raise ValueError(f'better: expected "less", "more" or "equal", given {better!r}')
        found = Figure(name, float(value), float(anchor), origin, better, within)
        self.figures.append(found)
        print(found.line())
        return found

    def note(self, name: str, value: Any) -> None:
        """A fact of the run that has no anchor: steps to solve, parameters, what was sampled."""
        self.notes[name] = value
        print(f"{name}: {said(value)}")

    def draw(self, drawing: Any, name: str) -> None:
        """Keep a picture as SVG."""
        path = self.folder / f"{name}.svg"
        drawing.save(path)
        self.pictures.append(path.name)

    def write(self, name: str, text: str) -> None:
        """Keep a page."""
        self.keep(write_file(self.folder / name, text.encode()))

    def keep(self, path: Path) -> None:
        """Have a file of this run's folder recorded with its result."""
        self.files.append(path.name)

    def result(self, seconds: float) -> dict[str, Any]:
        """What a result file holds."""
        figures = [{**asdict(f), "holds": f.holds} for f in self.figures]
        return {
            "example": self.name,
            "title": self.title,
            "mode": self.mode,
            **({} if self.larger else {"larger": False}),
            "seed": self.seed,
            "seeds": self.seeds,
            **({"data": self.data.name} if self.data is not None else {}),
            "seconds": round(seconds + self.earlier, 1),
            "figures": figures,
            "notes": self.notes,
            "pictures": self.pictures,
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Of what a figure may depend on."""
    packages = {name: version(name) for name in ("numpy", "numba", "scipy")}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"python": platform.python_version(), **packages, "machine": platform.machine(), "cores": str(cores)}


def main(
    run: Callable[[Experiment], None],
    doc: str | None,
    file: str,
    words: list[str] | None = None,
    data: str | None = None,
    columns: bool = False,
    sweep: bool = False,
    larger: bool = True,
) -> Experiment:
    """Run an example from a prompt: `main(run, __doc__, __file__)`; `data` is the file it takes, in words, and
    `columns` says that it is a table. A `sweep` takes the number of its processes, or the address of a cluster.
    What has no `larger` size than the normal one takes no --full."""
    source = Path(file).resolve().parent
    title = (doc or source.name).strip().splitlines()[0]
    given = arguments(source.name, doc, data, columns, sweep, larger, words)
    experiment = Experiment(
        source.name, title, given.mode or "normal", given.seed, given.out, source, not given.quiet, given.data
    )
    experiment.columns, experiment.workers, experiment.dask = given.columns, given.workers, given.dask
    experiment.resume, experiment.larger = given.resume, larger
    print(f"{title}\n")
    started = time.monotonic()
    with one_message(files=given.data is not None or given.resume or sweep):
        experiment.begin()
        run(experiment)
        result = experiment.result(time.monotonic() - started)
        keep(result, experiment.folder / "result.json")
    shown = ", ".join(experiment.pictures)
    print(f"\n{result['seconds']:.0f} s; in {experiment.folder}: {shown}, result.json")
    if given.record:
        record(experiment, result)
        print(f"recorded in {source}")
    return experiment


def arguments(
    name: str, doc: str | None, data: str | None, columns: bool, sweep: bool, larger: bool, words: list[str] | None
) -> argparse.Namespace:
    """The words of the command line; what this example does not take has its default."""
    parser = argparse.ArgumentParser(
        prog=f"python -m examples.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(data=None, columns=None, workers=2, dask=None)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", const="quick", dest="mode", help="seconds: small, for a look")
    if larger:
        size.add_argument("--full", action="store_const", const="full", dest="mode", help="the size of the paper")
    parser.add_argument("--seed", type=int, default=0, help="of everything random [0]")
    folder = Path("out", "examples", name)
    parser.add_argument("--out", type=Path, default=folder, help=f"folder of this run's files [{folder}]")
    parser.add_argument("--record", action="store_true", help="keep result and pictures beside the example")
    parser.add_argument("--resume", action="store_true", help="go on where a run of this size and seed was stopped")
    parser.add_argument("--quiet", action="store_true", help="no live progress")
    if data is not None:
        parser.add_argument("--data", type=Path, metavar="FILE", help=f"{data}, in place of the example's own data")
    if columns:
        parser.add_argument("--columns", metavar="A,B", help="columns of FILE [all of numbers]")
    if sweep:
        parser.add_argument("--workers", type=int, metavar="N", help="processes at a time [2]")
        parser.add_argument("--dask", metavar="ADDRESS", help="run on this cluster: tcp://host:8786")
    given = parser.parse_args(words)
    if given.workers < 1:
        parser.error(f"--workers: expected 1 or more, given {given.workers}")
    return given


@contextmanager
def one_message(files: bool) -> Iterator[None]:
    """End with one line what is no mistake of ours: an extra that is not installed, a file or cluster out of reach;
    and, where `files` of others are read, what is wrong with them."""
    try:
        yield
    except ValueError as error:
        if not files:
            raise
        raise SystemExit(f"error: {error}") from None
    except (ImportError, OSError) as error:
        if isinstance(error, ImportError) and error.name is not None:
            raise  # a module of ours
        raise SystemExit(f"error: {error}") from None


def record(experiment: Experiment, result: Mapping[str, Any]) -> None:
    """Keep a result and its files beside the example; one of the paper's size under names that say so, so that it
    stands beside the normal one."""

    def name(of: str) -> str:
        return f"{Path(of).stem}-full{Path(of).suffix}" if experiment.mode == "full" else of

    for file in [*experiment.pictures, *experiment.files]:
        write_file(experiment.source / name(file), (experiment.folder / file).read_bytes())
    named = {**result, "pictures": [name(picture) for picture in experiment.pictures]}
    keep(named, experiment.source / name("result.json"))


def keep(result: Mapping[str, Any], path: Path) -> None:
    """A result file, all or nothing."""
    write_file(path, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())


def names() -> list[str]:
    """The examples there are, by folder."""
    return sorted(p.parent.name for p in HOME.glob("*/__main__.py"))


def failed(experiment: Experiment) -> list[str]:
    """Figures that were not reached."""
    return [f.line() for f in experiment.figures if not f.holds]


def leave(experiment: Experiment) -> int:
    """The exit status: 1 when a figure was not reached."""
    for line in failed(experiment):
        print(f"not reached: {line}", file=sys.stderr)
    return 1 if failed(experiment) else 0
