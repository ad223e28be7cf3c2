"""Truncated backpropagation through time: what a shorter chunk saves, what it costs, and what it cannot learn.

R. J. Williams, J. Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories"
(1990). One long sequence is read chunk by chunk; the state goes on, the gradient stops at the chunk's edge. What has to
be kept for the way back shrinks to one chunk's. The gradient is no longer that of the loss: terms that reach over an
edge are missing. A dependency that is longer than the chunk gives the recurrent weights no gradient at all; what is
learned of it then is what the output layer reads from a state that happens to hold it.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from examples.experiment import Experiment, leave, main

Array = np.ndarray[Any, Any]


def echo(random: np.random.Generator, steps: int, lag: int, batch: int = 1) -> dict[str, Array]:
    """x (steps, batch): -1 or 1; y (steps, batch): which it was `lag` steps ago, 0 before the start."""
    bits = random.integers(0, 2, (steps, batch))
    return {"x": 2.0 * bits - 1, "y": np.concatenate([np.zeros((lag, batch), int), bits[: steps - lag]])}


def gradient(model: Any, data: dict[str, Array], chunk: int) -> Array:
    """The gradient of the mean loss, chunk by chunk with the state carried on, as one vector."""
    steps, state, total = len(data["x"]), None, 0.0
    for start in range(0, steps, chunk):
        part = {name: values[start : start + chunk] for name, values in data.items()}
        (_, run), grads = model.value_and_grad(**part, state=state, has_aux=True)
        state = run.state
        total = total + np.concatenate([g.ravel() for g in grads.values()]) * len(part["x"]) / steps
    return np.asarray(total)


def waiting(model: Any, data: dict[str, Array], chunk: int) -> float:
    """Bytes that one chunk holds until its gradient is taken: what the next of several such runs allocates."""
    part = {name: values[:chunk] for name, values in data.items()}
    runs = [model(**part).nll for _ in range(9)]  # arrays of finished runs are used again: have none left
    gc.collect()
    tracemalloc.start()
    runs.append(model(**part).nll)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return float(held)


def savings(e: Experiment, chunks: list[int]) -> None:
    """Direction and memory against the chunk's length, of a net as it starts."""
    steps, lag = chunks[-1], e.size(3, 10, 10)
    data = echo(np.random.default_rng(e.seed), steps, lag, 32)
    model = e.cell("Echo").build(H=e.size(16, 32, 64), seed=e.seed, dtype="float64")
    whole = gradient(model, data, steps)
    (_, grads) = model.value_and_grad(**data)
    full = np.concatenate([g.ravel() for g in grads.values()])
    e.figure("a chunk of everything, difference to the gradient", np.abs(whole - full).max(), 1e-12, "rounding")
    cosine, memory = [], []
    for chunk in chunks:
        found = gradient(model, data, chunk)
        cosine.append(float(found @ full / np.linalg.norm(found) / np.linalg.norm(full)))
        memory.append(waiting(model, data, chunk) / 2**20)
    e.note("cosine to the full gradient, by chunk", dict(zip(chunks, np.round(cosine, 4).tolist(), strict=True)))
    e.note("MiB, by chunk", dict(zip(chunks, np.round(memory, 3).tolist(), strict=True)))
    e.figure("memory of a chunk of 1/16, beside the whole", memory[-5] / memory[-1], 0.1, "a tenth")
    e.figure("cosine of the shortest chunk's gradient", cosine[0], cosine[-1] - 1e-6, "the whole's")
    x = np.array(chunks)
    e.draw(
        viz.lines(
            {"cosine": (x, cosine)},
            x="steps a chunk",
            y="cosine to the full gradient",
            title="Direction of the truncated gradient",
            marks=True,
        ),
        "direction",
    )
    e.draw(
        viz.lines({"memory": (x, memory)}, x="steps a chunk", y="MiB", title="Memory for the way back", marks=True),
        "memory",
    )


def run(e: Experiment) -> None:
    savings(e, e.size([8, 16, 32, 64, 128], [5, 10, 20, 40, 80, 160, 320], [5, 10, 20, 40, 80, 160, 320, 640, 1280]))
    lag = e.size(3, 10, 20)
    chunks = e.size([2, 8], [5, 10, 11, 15, 20, 40], [5, 10, 20, 21, 30, 40, 80])
    train = echo(np.random.default_rng([e.seed, 1]), e.size(4_000, 40_000, 200_000), lag)
    train = {name: values[:, 0] for name, values in train.items()}  # one long sequence
    test = echo(np.random.default_rng([e.seed, 2]), 1000, lag, 2)
    losses = []
    for chunk in chunks:
        model = e.cell("Echo").build(H=e.size(8, 24, 48), seed=e.seed)
        # as many symbols for each: what differs is where the gradient stops
        e.fit(
            model,
            f"chunk {chunk}",
            **train,
            optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 5e-3, 3e-3)),
            batch=20,
            chunk=chunk,
            clip=1.0,
            steps=e.size(4_000, 40_000, 400_000) // chunk,
        )
        losses.append(float(model(**test).nll.data))
    e.note("loss, nats a bit, by chunk", dict(zip(chunks, np.round(losses, 4).tolist(), strict=True)))
    log2 = float(np.log(2))
    short = [loss for chunk, loss in zip(chunks, losses, strict=True) if chunk <= lag]
    e.figure(f"loss of a chunk of {chunks[-1]}, lag {lag}", losses[-1], 0.1 * log2, "a tenth of a guess")
    e.figure("least loss of chunks that no dependency fits into", min(short), 0.5 * log2, "half a guess", "more")
    picture, levels = {"after training": (np.array(chunks), losses)}, {"a guess": log2}
    title = f"A bit {lag} steps back"
    e.draw(
        viz.lines(picture, x="steps a chunk", y="loss, nats a bit", title=title, marks=True, levels=levels), "learned"
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
