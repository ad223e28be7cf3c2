"""Translation: dates into ISO, numbers into words and Roman ones, infix into postfix, with attention and without.

An encoder and a decoder (I. Sutskever, O. Vinyals, Q. V. Le, 2014) against one that looks back at its input (D.
Bahdanau, K. Cho, Y. Bengio, 2015), on sources that neither has read; answers are searched for by a beam. With --data
FILE they learn its lines `source TAB target`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from dsl.run.measures import bleu, error_rate, exact
from dsl.run.words import Lines
from examples.experiment import Experiment, leave, main
from examples.translation.pairs import TASKS, Pair, made, read_pairs

BATCH = 32
Array = np.ndarray[Any, Any]


@dataclass
class Task:
    """Pairs to learn, and pairs held out, as integers."""

    learned: tuple[Lines, Lines]
    held: tuple[Lines, Lines]
    targets: list[str]

    @classmethod
    def of(cls, pairs: list[Pair], held: int) -> Task:
        sources, targets = (list(side) for side in zip(*pairs, strict=True))
        learned = Lines(sources[held:]), Lines(targets[held:])
        for lines, side in zip(learned, (sources, targets), strict=True):
            strange = sorted(set("".join(side[:held])) - set(lines.symbols))
            if strange:
                raise ValueError(f"the file has a symbol {strange[0]!r} in a line held out that no other line has")
        kept = Lines(sources[:held], learned[0].symbols), Lines(targets[:held], learned[1].symbols)
        return cls(learned, kept, targets[:held])


def answers(model: Any, task: Task, **how: Any) -> Array:
    """What the model makes of every source held out, (steps, N), each ended by its end."""
    x, y = task.held
    steps = int(y.lengths.max()) + 4
    return np.asarray(model.generate(steps, x=x.ids, lengths={"s": x.lengths}, until=[y.end], **how))


def texts(task: Task, found: Array) -> list[str]:
    return [task.held[1].decode(column) for column in found.T]


def nats(model: Any, task: Task, found: Array) -> float:
    """Minus the log-probability of these answers, their mean."""
    x, y = task.held
    lengths = (found >= 0).sum(axis=0)
    run = model(x=x.ids, y=np.maximum(found, 0), lengths={"s": x.lengths, "t": lengths})
    return float(np.mean(run.each["nll"].data * lengths))


def learn(e: Experiment, name: str, model: Any, task: Task) -> Any:
    x, y = task.learned
    steps = e.size(350, 1200, 8000)
    return e.fit(
        model,
        name,
        x=x.ids,
        y=y.ids,
        lengths={"s": x.lengths, "t": y.lengths},
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 4e-3, 2e-3)),
        schedule=tg.schedules.cosine(steps, 0.05),
        batch=BATCH,
        clip=1.0,
        steps=steps,
        valid_every=steps // 10,
        evaluate=lambda m: {"whole": exact(texts(task, answers(m, task, greedy=True)), task.targets)},
        until=lambda found: found["whole"] == 1.0,
    )


def alignment(model: Any, task: Task, n: int) -> viz.Heat:
    """The weights of one pair: a row for every character written, a column for every one read."""
    x, y = task.held
    s, t = int(x.lengths[n]), int(y.lengths[n])
    weights = model(x=x.ids[:s, n], y=y.ids[:t, n]).value("a").data[:, :, 0]
    rows, columns = (["␣" if c == " " else c for c in side.decode(side.ids[:, n])] + ["end"] for side in (y, x))
    return viz.Heat(weights, rows, columns)


def common(task: Task) -> float:
    """Errors a character of always answering the commonest target."""
    y = task.learned[1]
    columns, counts = np.unique(y.ids, axis=1, return_counts=True)
    return error_rate([y.decode(columns[:, counts.argmax()])] * len(task.targets), task.targets)


def study(e: Experiment, name: str, pairs: list[Pair]) -> dict[str, viz.Heat]:
    """Both models on one task, their figures, and how the one aligned."""
    task = Task.of(pairs, e.size(50, 300, 500))
    x, y = task.learned
    hidden = e.size(32, 64, 128)
    sizes: dict[str, Any] = {"K_in": x.end + 1, "K": y.end + 1, "H": hidden, "seed": e.seed}
    looking = e.cell("Translating").build(A=hidden, **sizes)
    without = dsl.load("EncoderDecoder").build(**sizes)
    learned = learn(e, f"{name}, with attention", looking, task), learn(e, f"{name}, without", without, task)
    found = texts(task, answers(looking, task, beam=4))
    greedy, beam = answers(without, task, greedy=True), answers(without, task, beam=4)
    rates = error_rate(found, task.targets), error_rate(texts(task, beam), task.targets)
    e.figure(f"{name}, errors a character, with attention", rates[0], common(task), "the commonest target")
    e.figure(f"{name}, errors a character, without", rates[1], common(task), "the commonest target")
    if e.mode != "quick":
        if rates[1] > 0:  # there are errors to save
            e.figure(f"{name}, errors a character, with attention", rates[0], rates[1], "without")
        e.figure(f"{name}, whole targets right, with attention", exact(found, task.targets), 0.9, "9 of 10", "more")
    gained = nats(without, task, greedy) - nats(without, task, beam)
    e.figure(f"{name}, nats an answer gains by a beam of 4, without", gained, -1e-6, "nothing lost", "more")
    e.note(
        f"{name}, both",
        {
            "whole targets right": [exact(found, task.targets), exact(texts(task, beam), task.targets)],
            "BLEU of characters": [
                round(bleu(found, task.targets), 4),
                round(bleu(texts(task, beam), task.targets), 4),
            ],
            "updates": [done.steps for done in learned],
        },
    )
    shown = int(np.argsort([len(t) for t in task.targets], kind="stable")[len(task.targets) // 2])
    source = task.held[0].decode(task.held[0].ids[:, shown])
    return {f"{source} → {task.targets[shown]}": alignment(looking, task, shown)}


def run(e: Experiment) -> None:
    panels: dict[str, viz.Heat] = {}
    if e.data is not None:
        panels |= study(e, e.data.stem, read_pairs(e.data, 10 * BATCH))
    else:
        for name in e.size(["postfix"], list(TASKS), list(TASKS)):
            panels |= study(e, name, made(name, e.size(3000, 20_000, 50_000), e.seed))
    title = "Where the decoder looks: a row for each character written"
    e.draw(viz.heat(panels, title=title, across=4, side=16), "alignment")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, data="a file with `source TAB target` on each line")))
