"""Optical character recognition: strips of dirty dot-matrix print read from end to end.

A convolution reads the picture, a bidirectional LSTM its columns, and CTC finds out by itself where the characters are
(A. Graves et al., 2006; as a whole, B. Shi, X. Bai, C. Yao, "An end-to-end trainable neural network for image-based
sequence recognition", 2015). The strips are generated: characters of any width, close together, up or down, with noise
and blots. What it is measured against slides the clean characters over the strip.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from dsl.run.front import Front
from dsl.run.measures import error_rate, exact
from examples.experiment import Experiment, leave, main
from examples.glyphs import GLYPHS, HEIGHT, WIDTH, stretched

TALL, BATCH = 12, 16
Array = np.ndarray[Any, Any]


def strip(random: np.random.Generator, text: str) -> Array:
    """A line of print, (12, columns): ink is 1, paper 0, plus noise."""
    pieces = [np.zeros((TALL, 2))]
    top = int(random.integers(0, TALL - HEIGHT))
    for character in text:
        glyph = stretched(GLYPHS[character], HEIGHT, WIDTH + int(random.integers(0, 4)))
        shift = min(max(top + int(random.integers(-1, 2)), 0), TALL - HEIGHT)
        piece = np.zeros((TALL, glyph.shape[1] + int(random.integers(0, 3))))
        piece[shift : shift + HEIGHT, : glyph.shape[1]] = glyph
        pieces.append(piece)
    image = np.concatenate([*pieces, np.zeros((TALL, 2))], axis=1)
    image *= random.random(image.shape) > 0.08  # dots that did not print
    return np.asarray(image * random.uniform(0.7, 1.0) + random.normal(0, 0.15, image.shape), np.float32)


def strips(random: np.random.Generator, count: int, symbols: str, longest: int) -> dict[str, Any]:
    """Images (count, 1, 12, widest), their labels (longest, count), the texts, and lengths in pairs of columns."""
    texts = ["".join(random.choice(list(symbols), random.integers(2, longest + 1))) for _ in range(count)]
    images = [strip(random, text) for text in texts]
    widest = max(i.shape[1] for i in images)
    image = np.zeros((count, 1, TALL, widest + widest % 2), np.float32)
    y = np.zeros((longest, count), int)
    for n, (one, text) in enumerate(zip(images, texts, strict=True)):
        image[n, 0, :, : one.shape[1]] = one
        y[: len(text), n] = [symbols.index(c) for c in text]
    lengths = {"t": np.array([(i.shape[1] + 1) // 2 for i in images]), "u": np.array([len(t) for t in texts])}
    return {"image": image, "y": y, "texts": texts, "lengths": lengths}


def batch(random: np.random.Generator, symbols: str, longest: int) -> dict[str, Any]:
    made = strips(random, BATCH, symbols, longest)
    return {name: made[name] for name in ("image", "y", "lengths")}


def logits(model: Any, front: Front, test: dict[str, Any]) -> Array:
    x = front.streams({"image": test["image"], "y": test["y"]})["x"]
    return np.asarray(model(x=x, lengths={"t": test["lengths"]["t"]}).l.data)


def read(model: Any, front: Front, test: dict[str, Any], symbols: str, beam: int | None = None) -> list[str]:
    """The text of every strip."""
    found = tg.ctc_decode(logits(model, front, test), test["lengths"]["t"], blank=len(symbols), beam=beam)
    return ["".join(symbols[k] for k in labels) for labels in found]


def by_templates(image: Array, symbols: str, least: float) -> str:
    """Clean characters slid over a strip: from left to right the best match above `least`, then what stands behind it.

    The match is the correlation with a window of its size, at any height.
    """
    matches = []
    for character in symbols:
        glyph = GLYPHS[character] - GLYPHS[character].mean()
        windows = np.lib.stride_tricks.sliding_window_view(image, (HEIGHT, WIDTH))
        centred = windows - windows.mean(axis=(2, 3), keepdims=True)
        scale = np.linalg.norm(glyph) * np.sqrt((centred**2).sum(axis=(2, 3))) + 1e-9
        matches.append(((centred * glyph).sum(axis=(2, 3)) / scale).max(axis=0))
    score, text, at = np.array(matches), "", 0
    while at < score.shape[1]:
        here = score[:, at : at + WIDTH]  # the best of the next five places
        glyph, place = np.unravel_index(here.argmax(), here.shape)
        if here[glyph, place] < least:
            at += WIDTH
            continue
        text += symbols[int(glyph)]
        at += int(place) + WIDTH
    return text


def run(e: Experiment) -> None:
    symbols, longest = "".join(sorted(GLYPHS))[: e.size(6, 36, 36)], e.size(4, 8, 12)
    test = strips(e.unseen(), e.size(40, 300, 1000), symbols, longest)
    tuned = strips(e.unseen(1), e.size(20, 100, 200), symbols, longest)

    def matched(data: dict[str, Any], least: float) -> float:
        rows = zip(data["image"], data["lengths"]["t"], strict=True)
        return error_rate([by_templates(image[0, :, : 2 * n], symbols, least) for image, n in rows], data["texts"])

    least = min((0.3, 0.4, 0.5, 0.6, 0.7), key=lambda value: matched(tuned, value))
    slid = matched(test, least)

    filters = e.size(12, 16, 32)
    net = tg.ConvNet(1, [tg.Conv(filters, 3, (2, 1)), tg.Conv(filters, 3, (2, 2))], seed=e.seed)
    model = e.cell("Reader").build(D=filters * TALL // 4, K=len(symbols), H=e.size(32, 64, 128), seed=e.seed)
    front = Front(net.params, lambda raw: {"x": tg.columns(net(raw["image"])), "y": raw["y"]})
    e.note("parameters", sum(int(p.size) for p in front.learned(model).values()))
    steps = e.size(500, 3000, 8000)
    done = e.fit(
        model,
        "reader",
        source=lambda random: batch(random, symbols, longest),
        front=front,
        optimizer=tg.optim.Adam(front.learned(model), lr=e.size(1e-2, 4e-3, 2e-3)),
        schedule=tg.schedules.cosine(steps, 0.05),
        steps=steps,
        valid_every=steps // 10,
        evaluate=lambda m: {"character error rate": error_rate(read(m, front, test, symbols), test["texts"])},
    )
    reached = done.measures["character error rate"]
    e.figure("character error rate, best path", reached, slid, "clean characters slid over the strip")
    found = read(model, front, test, symbols, beam=4)
    e.figure("character error rate, four prefixes", error_rate(found, test["texts"]), slid, "the same")
    e.note("whole strips right", exact(found, test["texts"]))
    e.note("read", dict(list(zip(test["texts"], found, strict=True))[:5]))
    panels: dict[str, viz.Heat] = {}
    for n in range(2):
        steps_n = int(test["lengths"]["t"][n])
        p = np.exp(logits(model, front, test)[:steps_n, n])
        p /= p.sum(axis=1, keepdims=True)
        seen = list(dict.fromkeys(test["texts"][n] + found[n]))
        panels[f"strip {n + 1}: {test['texts'][n]}"] = viz.Heat(test["image"][n, 0, :, : 2 * steps_n])
        rows = p[:, [*(symbols.index(c) for c in seen), len(symbols)]].T
        panels[f"strip {n + 1}, read {found[n]}: probability by column"] = viz.Heat(
            np.repeat(rows, 2, axis=1), [*seen, "blank"]
        )
    e.draw(viz.heat(panels, title="What is printed, and where which character is read", side=8), "strips")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
