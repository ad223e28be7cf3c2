"""Classification: one class for a whole sequence, by the last state, the mean, the maximum, or attention.

Reviews with negations, stretches of DNA with or without a TATA box, digits read row by row, brackets that close or do
not (a Dyck language), and the parity of bits; the four ways are the library's (A. Graves, 2012; A. Conneau et al.,
2017; Z. Yang et al., 2016). They are measured against a logistic regression on all steps side by side, or on their sum
where lengths differ. What an early step says may be gone from the last state: there the maximum and attention, which
look at every step, learn in the same number of updates what it does not. What every step may turn round, as parity is,
a maximum does not tell.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from examples.classification.tasks import TASKS, Set
from examples.experiment import Experiment, leave, main

POOLS = {
    "last": "Classifier",
    "mean": "ClassifierMean",
    "max": "ClassifierMax",
    "attention": "ClassifierAttention",
}
NAMED = {"last": "last state", "max": "maximum"}
Array = np.ndarray[Any, Any]


def linear(e: Experiment, train: Set, test: Set) -> float:
    """Accuracy of a logistic regression on all steps side by side, or on their sum where lengths differ."""
    even = len(np.unique(np.concatenate([train.lengths, test.lengths]))) == 1
    sums = [s.x.swapaxes(0, 1).reshape(len(s.y), -1) if even else s.x.sum(axis=0) for s in (train, test)]
    model = e.cell("Linear").build(D=sums[0].shape[1], K=train.classes, seed=e.seed)
    model.fit(
        x=sums[0],
        y=train.y,
        optimizer=tg.optim.Adam(model.params.trained, lr=1e-2),
        batch=64,
        steps=600,
        progress=False,
        seed=e.seed,
    )
    return float((model(x=sums[1]).p.data.argmax(axis=-1) == test.y).mean())


def accuracy(model: Any, test: Set) -> float:
    """The share of sequences whose likeliest class is theirs."""
    return float((model.generate(x=test.x, lengths={"t": test.lengths}, greedy=True) == test.y).mean())


def run(e: Experiment) -> None:
    words: dict[str, viz.Heat] = {}  # a row for each step
    symbols: dict[str, viz.Heat] = {}  # a column
    for task in e.size(["reviews"], list(TASKS), list(TASKS)):
        random = np.random.default_rng([e.seed, len(task)])
        train, test = (TASKS[task](random, n) for n in (e.size(1000, 4000, 20_000), e.size(200, 500, 2000)))
        base = linear(e, train, test)
        reached: dict[str, float] = {}
        curves: dict[str, Any] = {}
        hidden, steps = e.size(24, 48, 128), e.size(400, 800, 3000)
        for pool, cell in e.size({k: POOLS[k] for k in ("last", "attention")}, POOLS, POOLS).items():
            sizes: dict[str, Any] = {"A": hidden} if pool == "attention" else {}
            model = dsl.load(cell).build(D=train.x.shape[2], K=train.classes, H=hidden, seed=e.seed, **sizes)
            done = e.fit(
                model,
                f"{task}, {pool}",
                x=train.x,
                y=train.y,
                lengths={"t": train.lengths},
                optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 5e-3, 2e-3)),
                schedule=tg.schedules.cosine(steps, 0.05),
                batch=32,
                clip=1.0,
                steps=steps,
                valid_every=steps // 10,
                evaluate=lambda m, test=test: {"accuracy": accuracy(m, test)},
            )
            reached[pool] = done.measures["accuracy"]
            curves[pool] = done.curves.measured("accuracy")
            if pool == "attention" and task != "digits":
                run_ = model(x=test.x[:, :3], lengths={"t": test.lengths[:3]}, y=test.y[:3])
                weights = run_.value("w").data
                for n in range(3):
                    said, title = test.shown[n], f"{task} {n + 1}, class {test.y[n]}"
                    if task == "reviews":
                        words[title] = viz.Heat(weights[: len(said), n][:, None], said)
                    else:
                        symbols[title] = viz.Heat(weights[: len(said), n][None], columns=said)
        e.note(f"accuracy, {task}", {**reached, "logistic regression": base})
        best = max(reached, key=lambda pool: reached[pool])
        e.figure(f"accuracy, {task}, the best of the four ({best})", reached[best], base, "logistic regression", "more")
        others = {"DNA": (("max", "attention"), "last"), "parity": (("last", "mean", "attention"), "max")}
        for pool in others[task][0] if task in others else ():
            than = others[task][1]
            e.figure(f"accuracy, {task}, {pool}", reached[pool], reached[than], "the " + NAMED[than], "more")
        levels = {"logistic regression": base}
        title = f"{task[0].upper()}{task[1:]}: one class a sequence"
        e.draw(viz.lines(curves, x="update", y="accuracy, held out", title=title, levels=levels), task.lower())
    title = "Weights of the steps, pooled by attention"
    e.draw(viz.heat(words, title=title, across=3, side=11), "attention")
    if symbols:
        e.draw(viz.heat(symbols, title=title, side=11), "attention_symbols")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
