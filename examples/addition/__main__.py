"""Learning to add: "535+61" in, "596" out, symbol by symbol, by an encoder and a decoder.

W. Zaremba, I. Sutskever, "Learning to execute" (2014), in the form that Keras ships as its example `addition_rnn`: two
LSTMs of 128 (205,324 parameters), 45,000 different questions of at most three digits, turned round, Adam, batches of
32. Its documentation says 99 % right after 30 epochs; it was measured at .653 of all symbols after 3.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from examples.experiment import Experiment, leave, main

SYMBOLS = "0123456789+ "
Array = np.ndarray[Any, Any]


def questions(random: np.random.Generator, digits: int, count: int) -> tuple[Array, Array]:
    """x (2*digits+1, count) turned round and y (digits+1, count), integers in SYMBOLS, no question twice."""
    seen: set[tuple[int, int]] = set()
    x, y = [], []
    while len(x) < count:
        a, b = (int(random.integers(0, 10 ** int(random.integers(1, digits + 1)))) for _ in range(2))
        key = (min(a, b), max(a, b))
        if key in seen:
            continue
        seen.add(key)
        x.append([SYMBOLS.index(s) for s in f"{a}+{b}".ljust(2 * digits + 1)[::-1]])
        y.append([SYMBOLS.index(s) for s in str(a + b).ljust(digits + 1)])
    return np.array(x).T, np.array(y).T


def run(e: Experiment) -> None:
    digits, hidden = e.size(1, 3, 3), e.size(32, 128, 128)
    count = e.size(50, 50_000, 50_000)
    x, y = questions(np.random.default_rng(e.seed), digits, count)
    cut = e.size(count, 45_000, 45_000)  # the small run learns all sums of one digit by heart
    test = slice(0, 50) if e.mode == "quick" else slice(cut, count)
    model = e.cell("Addition").build(K=len(SYMBOLS), H=hidden, seed=e.seed)
    epoch = -(-cut // 32)

    def measured(m: Any) -> dict[str, float]:
        right = m(x=x[:, test], y=y[:, test]).p.numpy().argmax(-1) == y[:, test]
        return {"symbols": float(right.mean()), "sums": float(right.all(0).mean())}

    done = e.fit(
        model,
        "addition",
        x=x[:, :cut],
        y=y[:, :cut],
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 1e-3, 1e-3)),
        batch=32,
        clip=None,
        steps=e.size(400, 30 * epoch, 60 * epoch),
        valid_every=e.size(100, epoch, epoch),
        evaluate=measured,
        until=lambda found: found["sums"] > 0.99,
    )
    if e.mode == "quick":
        e.figure("symbols right", done.measures["symbols"], 0.5, "every second", "more")
    else:
        by_epoch = [value for _, value in done.curves.measures["symbols"]]
        e.figure("parameters", model.params.count, 205_324, "the published net", "equal")
        e.figure("symbols right after 3 epochs", by_epoch[2], 0.653, "the published net", "more")
        e.figure("sums right", done.measures["sums"], 0.99, "the published net by epoch 30", "more")
        e.note("epochs", done.steps // epoch)
    curves = {name: done.curves.measured(name) for name in done.curves.measures}
    e.draw(viz.lines(curves, x="update", y="share right, unseen", title="Learning to add", marks=True), "accuracy")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
