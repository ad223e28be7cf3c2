"""Captioning: a convolution looks at a picture, a recurrent cell says what is on it.

Show and tell (O. Vinyals, A. Toshev, S. Bengio, D. Erhan, 2015), where the picture comes first, in place of a word, and
show, attend and tell (K. Xu et al., 2015), where every word looks at places of its own. The pictures are generated: two
shapes, their sizes, and which stands where; either may be named first. Measured against what the same model says with
another picture before it, and against captions of others: how people speak here, and nothing else.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from dsl.run.front import Front
from dsl.run.measures import bleu
from examples.captioning.scenes import END, SHAPES, SIDE, WORDS, other_way, scenes
from examples.experiment import Experiment, leave, main

BATCH = 32
Array = np.ndarray[Any, Any]


def said(column: Any) -> list[str]:
    """The words of a column of integers, up to its end."""
    ids = np.asarray(column).tolist()
    return [WORDS[k] for k in ids[: next((i for i, k in enumerate(ids) if not 0 <= k < END), len(ids))]]


def described(model: Any, front: Front, test: dict[str, Any], **how: Any) -> list[list[str]]:
    v = front.streams({"image": test["image"], "y": test["y"]})["v"]
    features = v.data if isinstance(v, tg.Tensor) else v
    found = model.generate(int(test["lengths"].max()) + 2, v=features, until=[END], greedy=True, **how)
    return [said(column) for column in found.T]


def right(found: list[list[str]], meant: list[list[str]]) -> float:
    """The share of captions that are true, whichever shape they name first."""
    pairs = zip(found, meant, strict=True)
    return float(np.mean([f in (m, other_way(m)) for f, m in pairs]))


def nats(model: Any, front: Front, test: dict[str, Any], image: Array) -> float:
    """The loss a word of the captions, with these pictures."""
    v = front.streams({"image": image, "y": test["y"]})["v"]
    each = model(v=v, y=test["y"], lengths={"t": test["lengths"]}).each["nll"].data
    return float((each * test["lengths"]).sum() / test["lengths"].sum())


def batch(random: np.random.Generator) -> dict[str, Any]:
    made = scenes(random, BATCH)
    return {"image": made["image"], "y": made["y"], "lengths": {"t": made["lengths"]}}


def learn(e: Experiment, cell: str, test: dict[str, Any]) -> tuple[Any, Front, Any]:
    """A model, what stands before it, and the curve of its true captions."""
    attends, filters, hidden = cell == "AttendCaption", e.size(8, 16, 32), e.size(48, 96, 256)
    net = tg.ConvNet(1, [tg.Conv(filters, 5, 2), tg.Conv(2 * filters, 3, 2)], seed=e.seed)
    wide = SIDE // 4
    width = 2 * filters + 2 * wide if attends else 2 * filters * wide * wide
    sizes: dict[str, Any] = {"A": hidden} if attends else {}
    model = dsl.load(cell).build(D=width, K=END + 1, H=hidden, seed=e.seed, **sizes)
    front = Front(net.params, looking(net, attends))
    steps = e.size(250, 3000, 10_000)
    done = e.fit(
        model,
        cell,
        source=batch,
        front=front,
        optimizer=tg.optim.Adam(front.learned(model), lr=e.size(3e-3, 4e-3, 1e-3)),
        schedule=tg.schedules.cosine(steps, 0.02),
        clip=1.0,
        steps=steps,
        valid_every=steps // 5,
        evaluate=lambda m: {"true": right(described(m, front, test), test["captions"])},
    )
    return model, front, done.curves.measured("true")


def run(e: Experiment) -> None:
    test = scenes(e.unseen(), e.size(60, 300, 1000))
    others = np.roll(test["image"], 1, axis=0)
    curves: dict[str, Any] = {}
    for name, cell in (("show and tell", "Caption"), ("attend and tell", "AttendCaption"))[e.size(1, 0, 0) :]:
        model, front, curves[name] = learn(e, cell, test)
        own, other = nats(model, front, test, test["image"]), nats(model, front, test, others)
        e.figure(f"nats a word, {name}", own, other, "with another's picture")
        found = described(model, front, test)
        e.note(f"BLEU of words, {name}", round(bleu(*same_order(found, test["captions"])), 4))
        if e.mode != "quick":
            mistaken = right(np.roll(np.array(found, object), 1).tolist(), test["captions"])
            e.figure(f"captions that are true, {name}", curves[name][1][-1], mistaken, "captions of others", "more")
    e.draw(viz.lines(curves, x="update", y="captions that are true, held out", title="Captions", marks=True), "curves")
    panels: dict[str, viz.Heat] = {}
    for n in range(2):
        panels[f"{n + 1}: {' '.join(found[n])}"] = viz.Heat(test["image"][n, 0])
        if e.mode != "quick":
            panels |= glances(model, front, test, n, found[n])
    e.draw(viz.heat(panels, title="What is shown, what is said, and where it looks", across=4, side=6), "scenes")


def same_order(found: list[list[str]], meant: list[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """Captions, and each reference in whichever of its two orders begins with the shape that is named first."""
    chosen = [m if f[:3] != other_way(m)[:3] else other_way(m) for f, m in zip(found, meant, strict=True)]
    return found, chosen


def looking(net: tg.ConvNet, attends: bool) -> Any:
    """What makes a cell's v of images: all features, normalised; or the vectors of places, each with where it is."""

    def streams(raw: Any) -> dict[str, Any]:
        features = net(raw["image"])
        if not attends:
            return {"v": tg.layer_norm(tg.vector(features)), "y": raw["y"]}
        batch, _, height, width = features.shape
        row, column = np.divmod(np.arange(height * width), width)
        where = np.concatenate([np.eye(height)[row], np.eye(width)[column]], axis=1)[:, None]
        where = np.broadcast_to(where, (height * width, batch, height + width)).astype(np.float32)
        return {"v": tg.concat([tg.places(features), where], axis=-1), "y": raw["y"]}

    return streams


def glances(model: Any, front: Front, test: dict[str, Any], n: int, words: list[str]) -> dict[str, viz.Heat]:
    """Where the words of one caption look that say a shape: weights of the places as a small picture."""
    one = front.streams({"image": test["image"][n : n + 1], "y": None})["v"].data
    ids = np.array([WORDS.index(w) for w in words] + [END])[:, None]
    weights = model(v=one, y=ids).value("alpha").data[:, :, 0]
    side = SIDE // 4
    picked = [t for t, w in enumerate(words) if w in (*SHAPES, "above", "below", "left", "right")]
    return {
        f"{n + 1}, “{words[t]}” looks": viz.Heat(np.kron(weights[t].reshape(side, side), np.ones((4, 4))))
        for t in picked
    }


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
