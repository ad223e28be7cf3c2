"""Video: every frame of a clip is labelled, by a convolution on the frame and a state across frames.

After J. Donahue et al., "Long-term recurrent convolutional networks for visual recognition and description" (2015): the
same convolution looks at each frame, an LSTM reads what it found. A ball rolls in a box, bounces and lies still; a
frame shows where it is, never where it goes, so the same convolution without a state is what it is measured against.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from dsl.run.front import Front
from examples.experiment import Experiment, leave, main
from examples.video.clips import CLASSES, SIDE, clips

Array = np.ndarray[Any, Any]


def watching(net: tg.ConvNet) -> Any:
    """What makes a cell's x (T, B, D) of frames (T, B, 16, 16): all of them through one convolution, as one batch."""

    def streams(raw: Any) -> dict[str, Any]:
        steps, count = raw["image"].shape[:2]
        features = tg.vector(net(raw["image"].reshape(steps * count, 1, SIDE, SIDE)))
        return {"x": tg.reshape(features, (steps, count, features.shape[-1])), "y": raw["y"]}

    return streams


def guesses(model: Any, front: Front, test: dict[str, Any]) -> Array:
    """The likeliest class of each frame, (T, B)."""
    return np.asarray(model(x=front.streams(test)["x"]).z.data.argmax(axis=-1))


def run(e: Experiment) -> None:
    frames, filters, hidden = e.size(12, 20, 30), e.size(4, 8, 16), e.size(32, 64, 128)
    test = clips(e.unseen(), e.size(40, 200, 500), frames)
    commonest = float(np.bincount(test["y"].ravel()).max() / test["y"].size)
    reached: dict[str, float] = {}
    curves: dict[str, Any] = {}
    for name, cell in (("frame by frame", "Still"), ("with a state", "Moving")):
        net = tg.ConvNet(1, [tg.Conv(filters, 3, 2), tg.Conv(filters, 3, 2)], seed=e.seed)
        model = e.cell(cell).build(D=filters * (SIDE // 4) ** 2, K=len(CLASSES), H=hidden, seed=e.seed)
        front = Front(net.params, watching(net))
        steps = e.size(150, 800, 4000)
        done = e.fit(
            model,
            name,
            source=lambda random: clips(random, 16, frames),
            front=front,
            optimizer=tg.optim.Adam(front.learned(model), lr=e.size(1e-2, 4e-3, 2e-3)),
            schedule=tg.schedules.cosine(steps, 0.05),
            clip=1.0,
            steps=steps,
            valid_every=steps // 5,
            evaluate=lambda m, front=front: {"accuracy": float((guesses(m, front, test) == test["y"]).mean())},
        )
        reached[name] = done.measures["accuracy"]
        curves[name] = done.curves.measured("accuracy")
    e.figure("frames labelled right, with a state", reached["with a state"], commonest, "the commonest label", "more")
    e.figure(
        "frames labelled right, with a state", reached["with a state"], reached["frame by frame"], "without", "more"
    )
    found = guesses(model, front, test)
    each = {k: round(float((found == test["y"])[test["y"] == n].mean()), 3) for n, k in enumerate(CLASSES)}
    e.note("frames labelled right, with a state, by label", each)
    e.draw(
        viz.lines(curves, x="update", y="frames labelled right, held out", title="A ball in a box", marks=True),
        "curves",
    )
    shown = min(frames, 12)
    panels = {}
    for t in range(shown):
        said, meant = CLASSES[found[t, 0]], CLASSES[test["y"][t, 0]]
        panels[f"{t}: {said}" + (f", is {meant}" if said != meant else "")] = viz.Heat(test["image"][t, 0])
    e.draw(viz.heat(panels, title="A clip, frame by frame, with the label it was given", across=4, side=6), "clip")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
