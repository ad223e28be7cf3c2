"""Digits, pixel by pixel: an image is read as a sequence, and at its end a net says which digit it was.

Q. V. Le, N. Jaitly, G. E. Hinton (2015), section 4.2, read MNIST's 784 pixels one at a time. Here are the 1,797 images
of 8 × 8 pixels that scikit-learn brings along (E. Alpaydin, C. Kaynak, 1998): sequences of 64 steps, in reading order
and in one fixed random order. The baselines see the same: always the commonest digit, and scikit-learn's logistic
regression, which sees all pixels at once; the nets that read one at a time come near it, and the one of `--full` is
ahead of it in reading order.

Needs the extra: pip install 'tinygrad-seq[digits]'.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from examples.experiment import Experiment, leave, main

Array = np.ndarray[Any, Any]


def images() -> tuple[Array, Array]:
    """x (64, 1797, 1) in [0, 1] and y (1797,). Errors: ImportError naming the extra."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the digits come with scikit-learn: pip install 'tinygrad-seq[digits]'") from None
    found = load_digits()
    return (found.data.T / 16)[..., None], found.target


def regression(x: Array, y: Array, test: slice, train: slice) -> float:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=2000).fit(x[:, train, 0].T, y[train])
    return float(fitted.score(x[:, test, 0].T, y[test]))


def run(e: Experiment) -> None:
    x, y = images()
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[:, order], y[order]
    count = e.size(400, len(y), len(y))
    test, train = slice(0, e.size(100, 360, 360)), slice(e.size(100, 360, 360), count)
    commonest = float((y[test] == np.bincount(y[train]).argmax()).mean())
    at_once = regression(x, y, test, train)
    e.note("logistic regression, all pixels at once", round(at_once, 4))
    shuffled = np.random.default_rng(1).permutation(len(x))
    curves = {}
    for name, pixels in (("reading order", x), ("shuffled pixels", x[shuffled])):
        if e.mode == "quick":  # rows of four pixels' means: a sequence of 16 steps
            pixels = pixels.reshape(16, 4, -1, 1).mean(1)
        model = e.cell("Digits").build(H=e.size(24, 48, 128), seed=e.seed)

        def measured(m: Any, pixels: Array = pixels) -> dict[str, float]:
            return {"right": float((m(x=pixels[:, test]).z.numpy().argmax(-1) == y[test]).mean())}

        done = e.fit(
            model,
            name,
            x=pixels[:, train],
            y=y[train],
            optimizer=tg.optim.Adam(model.params.trained, lr=e.size(2e-2, 5e-3, 2e-3)),
            batch=32,
            clip=1.0,
            steps=e.size(200, 2500, 10_000),
            valid_every=e.size(50, 100, 250),
            evaluate=measured,
            until=lambda found: found["right"] > 0.98,
        )
        curves[name] = done.curves.measured("right")
        last = float(np.mean(curves[name][1][-3:]))  # the end of the curve, not the best of it
        e.figure(f"right, {name}", last, commonest, "the commonest digit", "more")
        if e.mode != "quick":
            e.figure(f"right, {name}", last, 0.9, "nine of ten", "more")
    e.draw(
        viz.lines(
            curves,
            x="update",
            y="share right, unseen",
            title="Digits, a pixel at a time",
            marks=True,
            levels={"logistic regression": at_once},
        ),
        "right",
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
