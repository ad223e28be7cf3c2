"""min-char-rnn: the smallest character model, its hand-written gradient replaced by the derived one.

A. Karpathy, "min-char-rnn.py" (2015): 100 tanh units, 25 steps back, one stream, Adagrad at 0.1, every component of
the gradient clipped to [-5, 5]. His gradient check asks for relative errors of 1e-7; here every parameter's derived
gradient is compared with central differences in float64. As in his code, what it writes goes on from the state that
training is in: one stream was read from its beginning on, so a state of zeros is all but unknown to the net, and a
sample from there may be noise. Where the loss ends depends on the last bit of its start: matrices that differ by less
than a millionth end between 1.93 and 2.10. So it starts three times, from three seeds, and the figure is the worst.
With --data it reads your text.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from dsl.run import corpora
from dsl.run.ngrams import ngram_loss
from examples.experiment import Experiment, leave, main

STEPS = 25
Array = np.ndarray[Any, Any]


def checked(e: Experiment, count: int, hidden: int) -> float:
    """The largest relative error of a gradient among the parameters, over ten random components of each."""
    model = e.cell("MinCharRNN").build(K=count, H=hidden, seed=e.seed, dtype="float64")
    random = np.random.default_rng(e.seed)
    for name in ("W_xh", "W_hh", "W_hy"):  # ten times as large: at 0.01 differences drown in rounding
        model.params[name] = 10 * model.params[name].numpy()
    y = random.integers(0, count, STEPS)
    _, grads = model.value_and_grad(y=y)
    worst, delta = 0.0, 1e-4
    for name, tensor in model.params.items():
        flat = tensor.data.reshape(-1)
        touched = np.flatnonzero(grads[name])  # a look-up has columns that no character used
        chosen = random.choice(touched, min(10, len(touched)), replace=False)
        numeric = []
        for k in chosen:
            kept, sides = flat[k], []
            for sign in (1, -1):
                flat[k] = kept + sign * delta
                sides.append(float(model(y=y).nll.data))
            flat[k] = kept
            numeric.append((sides[0] - sides[1]) / (2 * delta))
        derived = grads[name].reshape(-1)[chosen]
        worst = max(worst, float(np.linalg.norm(derived - numeric) / np.linalg.norm(derived + numeric)))
    return worst


def written(model: Any, state: Any, count: int, temperature: float, seed: int) -> Array:
    """Symbols (count,) drawn on from a state, one behind the other."""
    random, p = np.random.default_rng(seed), {name: value.numpy() for name, value in model.params.items()}
    h, symbol, found = state.values["h"].ravel(), int(state.values["y"].item()), []
    for _ in range(count):
        h = np.tanh(p["W_xh"][:, symbol] + p["W_hh"] @ h + p["b_h"])
        logits = (p["W_hy"] @ h + p["b_y"]) / temperature
        chances = np.exp(logits - logits.max(), dtype=float)
        symbol = int(random.choice(len(chances), p=chances / chances.sum()))
        found.append(symbol)
    return np.array(found)


def trained(e: Experiment, ids: Array, count: int, hidden: int, seed: int) -> tuple[Any, Any, Array]:
    """A model, the state that its stream ended in, and the smoothed loss after each update, in nats a character."""
    model = e.cell("MinCharRNN").build(K=count, H=hidden, seed=seed)
    optimizer = tg.optim.Adagrad(model.params.trained, lr=0.1)
    state, smooth, losses = None, float(np.log(count)), []
    for step in range(e.size(600, 12_000, 100_000)):  # his loop, by hand: it shows that value_and_grad is all it takes
        at = step * STEPS % (len(ids) - STEPS)
        if at < STEPS:
            state = None
        (value, run), grads = model.value_and_grad(y=ids[at : at + STEPS], state=state, has_aux=True)
        state = run.state
        optimizer.step({name: np.clip(g, -5, 5) for name, g in grads.items()})
        smooth = 0.999 * smooth + 0.001 * float(value) / STEPS
        losses.append(smooth)
    return model, state, np.array(losses)


def run(e: Experiment) -> None:
    text = dsl.Text(e.data) if e.data is not None else corpora.english()
    ids, count, hidden = text.ids[: e.size(20_000, 400_000, 400_000)], len(text.symbols), e.size(24, 100, 100)
    if len(ids) < 2 * STEPS or count < 2:
        raise ValueError(f"{len(ids)} characters, {count} of them different: {2 * STEPS} are needed, two different")
    e.figure("gradient check, largest relative error", checked(e, count, hidden), 1e-7, "his threshold's order")
    e.seeds = e.size(1, 3, 3)
    curves: dict[str, Any] = {}
    for seed in range(e.seed, e.seed + e.seeds):
        model, state, losses = trained(e, ids, count, hidden, seed)
        curves[f"seed {seed}"] = np.arange(1, len(losses) + 1), losses
    unigram = ngram_loss(ids, ids, count, 1)
    worst = max(losses[-1] for _, losses in curves.values())
    if e.mode == "quick":
        e.figure("smoothed loss, nats a character", worst, np.log(count), "guessing")
    else:
        e.figure("smoothed loss, nats a character, the worst of three", worst, unigram, "how often each character is")
    e.note("parameters", model.params.count)
    e.note("it writes", text.decode(written(model, state, 200, 0.8, e.seed)))
    levels = {"how often each character is": unigram}
    e.draw(
        viz.lines(curves, x="update", y="loss, smoothed, nats a character", title="min-char-rnn", levels=levels), "loss"
    )


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, data="a text")))
