"""Clipping at a cliff: where the gradient is huge, a step along it leaves the neighbourhood that it was computed for.

R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.3 and
figure 6: one unit run for 50 steps has walls in its error, and gradient descent that meets one is thrown far off; with
the gradient's norm clipped it stays. The picture `surface` has the wall, and both ways from its foot. What the jump
costs is chance: with two parameters almost any place behind the wall is a good one, and the thrown run ends lower than
the one that stays (both errors are noted). In a net it is not: the order of two symbols (their section 4.1), by a tanh
net of 50 units and the plain gradient, is learned with the norm clipped at 1 and not without.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from examples import tasks
from examples.experiment import Experiment, leave, main

Array = np.ndarray[Any, Any]


def descend(e: Experiment, clip: float | None, updates: int) -> tuple[Array, Array]:
    """Errors and positions (w, b) of gradient descent from beside the wall."""
    model = e.cell("Cliff").build(dtype="float64", seed=e.seed)
    model.params["w"], model.params["b"] = np.array(5.0), np.array(-2.96)
    optimizer = tg.optim.SGD(model.params.trained, lr=0.02)
    errors, places = [], []
    for _ in range(updates):
        value, grads = model.value_and_grad(go=np.zeros(50), target=np.array(0.7))
        if clip is not None:
            tg.clip_by_norm(grads, clip)
        errors.append(float(value))
        places.append([float(model.params[n].numpy()) for n in "wb"])
        optimizer.step(grads)
    return np.array(errors), np.array(places)


def seen(e: Experiment, walk: Array, slide: Array) -> None:
    """The error from above, and where the updates go on it."""
    model = e.cell("Cliff").build(dtype="float64", seed=e.seed)
    ws, bs = np.linspace(3.0, 6.4, e.size(40, 130, 130)), np.linspace(-3.3, 1.7, e.size(30, 100, 100))
    go, target, error = np.zeros(50), np.array(0.7), np.empty((len(bs), len(ws)))
    for place in np.ndindex(error.shape):
        model.params["w"], model.params["b"] = ws[place[1]], bs[place[0]]
        error[place] = model(go=go, target=target).error.data
    paths = {"not clipped": (walk[:, 0], walk[:, 1]), "clipped at 0.1": (slide[:, 0], slide[:, 1])}
    title = "Where the updates go, from the foot of the wall"
    e.draw(viz.surface(error, ws, bs, paths=paths, x="w", y="b", z="error", title=title, log=True), "surface")


def order(e: Experiment, clip: float | None) -> Any:
    """A training on the order of two symbols, by the plain gradient."""
    steps = e.size(10, 30, 60)
    model = e.cell("Order").build(D=6, K=4, H=e.size(20, 50, 50), seed=e.seed)
    test = tasks.order(e.unseen(), steps, 500)
    try:
        return e.fit(
            model,
            "not clipped" if clip is None else "clipped",
            source=lambda random: tasks.order(random, steps, 20),
            optimizer=tg.optim.SGD(model.params.trained, lr=e.size(0.3, 0.1, 0.1)),
            clip=clip,
            steps=e.size(600, 30_000, 100_000),
            valid_every=e.size(100, 500, 1000),
            evaluate=lambda m: {"right": float((m(x=test["x"]).p.numpy().argmax(-1) == test["y"]).mean())},
            until=lambda found: found["right"] > 0.99,
        )
    except FloatingPointError as error:  # exploded beyond float32
        print(f"without clipping: {error}")
        return None


def run(e: Experiment) -> None:
    updates = e.size(60, 300, 1000)
    free, walk = descend(e, None, updates)
    held, slide = descend(e, 0.1, updates)
    thrown = float(np.linalg.norm(np.diff(walk, axis=0), axis=1).max())
    e.figure("longest step without clipping", thrown, 0.02 * 0.1, "the longest that clipping at .1 allows", "more")
    longest = float(np.linalg.norm(np.diff(slide, axis=0), axis=1).max())
    e.figure("longest step with clipping", longest, 0.02 * 0.1, "rate times threshold", "equal", 1e-12)
    e.figure("error at the end, clipped", held[-1], held[0], "the error at the start")
    e.note("error at the end, not clipped", float(free[-1]))
    e.draw(
        viz.lines(
            {"not clipped": free, "clipped at 0.1": held}, x="update", y="error", log=True, title="Down from the cliff"
        ),
        "cliff",
    )
    jump = int(np.linalg.norm(np.diff(walk, axis=0), axis=1).argmax())
    e.figure(
        "error behind the longest step without clipping", free[jump + 1], free[jump], "the error before it", "more"
    )
    seen(e, walk, slide)

    found = {"clipped at 1": order(e, 1.0), "not clipped": order(e, None)}
    right = {name: (0.0 if done is None else done.measures["right"]) for name, done in found.items()}
    e.figure(
        "order told, clipped",
        right["clipped at 1"],
        e.size(0.25, 0.99, 0.99),
        "a guess" if e.mode == "quick" else "solved",
        "more",
    )
    if e.mode == "quick":
        e.note("order told, not clipped", right["not clipped"])
    else:
        e.figure("order told, not clipped", right["not clipped"], right["clipped at 1"], "clipped")
    e.draw(
        viz.lines(
            {n: np.array(d.curves.gradient_norm) for n, d in found.items() if d is not None},
            x="update",
            y="gradient norm",
            title="The order of two symbols: the gradient's norm",
            log=True,
        ),
        "norms",
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
