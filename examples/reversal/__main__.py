"""Reversing a sequence: an encoder and a decoder, with attention and without.

Without attention everything the decoder knows of the input is one state, and long inputs are lost in it (I. Sutskever,
O. Vinyals, Q. V. Le, 2014; K. Cho et al., "On the properties of neural machine translation", 2014). With it (D.
Bahdanau, K. Cho, Y. Bengio, 2015) the decoder looks back, and to reverse means to look from the end to the beginning:
the weights lie on the anti-diagonal, or beside it: the state behind a symbol knows the one before it, too.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from examples.experiment import Experiment, leave, main

SYMBOLS, END = 10, 10


def pairs(random: np.random.Generator, longest: int, batch: int) -> dict[str, Any]:
    """x (S, batch): digits; y (S+1, batch): the digits backwards, then the end."""
    lengths = random.integers(max(2, longest // 2), longest + 1, batch)
    x = np.zeros((longest, batch), int)
    y = np.full((longest + 1, batch), END)
    for b, n in enumerate(lengths):
        x[:n, b] = random.integers(0, SYMBOLS, n)
        y[:n, b] = x[:n, b][::-1]
    return {"x": x, "y": y, "lengths": {"s": lengths, "t": lengths + 1}}


def accuracy(model: Any, test: dict[str, Any]) -> float:
    """The share of inputs whose whole reversal is written, each symbol the likeliest, ended where it should."""
    x, y, lengths = test["x"], test["y"], test["lengths"]["s"]
    written = model.generate(len(y), x=x, lengths={"s": lengths}, greedy=True, until=[END])
    right = [(written[: n + 1, b] == y[: n + 1, b]).all() if len(written) > n else False for b, n in enumerate(lengths)]
    return float(np.mean(right))


def learn(e: Experiment, name: str, model: Any, longest: int, test: dict[str, Any]) -> float:
    done = e.fit(
        model,
        name,
        source=lambda random: pairs(random, longest, 32),
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 3e-3, 2e-3)),
        clip=1.0,
        steps=e.size(500, 3000, 8000),
        valid_every=e.size(100, 200, 500),
        evaluate=lambda m: {"whole": accuracy(m, test)},
        until=lambda found: found["whole"] > e.size(0.9, 0.99, 0.995),
    )
    e.note(f"updates, {name}", done.steps)
    e.draw(viz.curves(done.curves, f"Reversing, {name}"), name.replace(" ", "_"))
    return done.measures["whole"]


def run(e: Experiment) -> None:
    longest, hidden = e.size(4, 12, 20), e.size(24, 64, 128)
    test = pairs(e.unseen(), longest, e.size(50, 200, 500))
    sizes: dict[str, Any] = {"K_in": SYMBOLS, "K": SYMBOLS + 1, "H": hidden, "seed": e.seed}
    attending = dsl.load("Translate").build(A=hidden, **sizes)
    without = dsl.load("EncoderDecoder").build(**sizes)
    chance = 1 / SYMBOLS ** (longest // 2)
    looked = learn(e, "with attention", attending, longest, test)
    enough, origin = (chance, "half a sequence guessed") if e.mode == "quick" else (0.95, "19 of 20")
    e.figure("with attention, whole sequences right", looked, enough, origin, "more")
    kept = learn(e, "without attention", without, longest, test)
    e.figure("without attention, whole sequences right", kept, chance, "half a sequence guessed", "more")

    b = int(test["lengths"]["s"].argmax())  # the longest
    n = int(test["lengths"]["s"][b])
    x, y = test["x"][:n, b], test["y"][: n + 1, b]
    weights = viz.attention(attending(x=x, y=y)).data["weights"]
    on = float(np.mean([weights[t, max(n - 2 - t, 0) : n + 1 - t].sum() for t in range(n)]))
    e.figure("attention on the anti-diagonal or beside it", on, 3 / n, "looking everywhere alike", "more")
    looks = viz.Heat(weights, [*map(str, y[:n]), "end"], [*map(str, x)], "written", "read")
    e.draw(viz.heat({"weight of each symbol read": looks}, title="Where the decoder looks"), "alignment")
    few = test["x"][:3, 0]
    e.draw(viz.attention(attending(x=few, y=np.append(few[::-1], END))), "attention")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
