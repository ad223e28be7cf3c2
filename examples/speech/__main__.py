"""Speech-like frames to text: listen, attend and spell, and CTC, on words that no frame can spell by itself.

A pyramid with attention (W. Chan, N. Jaitly, Q. V. Le, O. Vinyals, "Listen, attend and spell", 2016) and connectionist
temporal classification (A. Graves et al., 2006) on the same invented words, spoken by a filter bank. What they are
measured against names each frame by the nearest average spectrum, of averages that were taken with the alignment
known, and drops repeats.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import tinygrad_seq as tg
import viz
from dsl.run.measures import error_rate, exact
from examples.experiment import Experiment, leave, main
from examples.speech.utterances import BANDS, LETTERS, utterances

END = len(LETTERS)  # of the speller; the blank of CTC
BATCH = 16
Array = np.ndarray[Any, Any]


def ended(made: dict[str, Any]) -> dict[str, Any]:
    """The same with an end behind each text."""
    lengths, y = made["lengths"], made["y"]
    more = np.concatenate([y, np.zeros((1, y.shape[1]), int)])
    more[lengths["u"], np.arange(y.shape[1])] = END
    return {"x": made["x"], "y": more, "lengths": {**lengths, "u": lengths["u"] + 1}}


def fed(made: dict[str, Any]) -> dict[str, Any]:
    return {name: made[name] for name in ("x", "y", "lengths")}


def spelled(model: Any, test: dict[str, Any], beam: int | None = None) -> list[str]:
    """What the speller writes of every utterance."""
    how: dict[str, Any] = {"greedy": True} if beam is None else {"beam": beam, "length_penalty": 0.6}
    steps = int(test["lengths"]["u"].max()) + 4
    found = model.generate(steps, x=test["x"], lengths={"s": test["lengths"]["s"]}, until=[END], **how)
    return ["".join(LETTERS[k] for k in column if 0 <= k < END) for column in found.T]


def transcribed(model: Any, test: dict[str, Any], beam: int | None = None) -> list[str]:
    """What the frames say by CTC."""
    logits = model(x=test["x"], lengths={"s": test["lengths"]["s"]}).l.data
    found = tg.ctc_decode(logits, test["lengths"]["s"], blank=END, beam=beam)
    return ["".join(LETTERS[k] for k in labels) for labels in found]


def by_spectrum(learned: dict[str, Any], test: dict[str, Any]) -> list[str]:
    """Each frame named by the nearest average spectrum of a letter; letters of one frame alone are dropped."""
    means = np.array([learned["x"][learned["letter"] == k].mean(axis=0) for k in range(END)])
    nearest = ((test["x"][:, :, None] - means) ** 2).sum(axis=-1).argmin(axis=-1)
    texts = []
    for b, n in enumerate(test["lengths"]["s"]):
        path = nearest[:n, b]
        kept = [k for i, k in enumerate(path) if (i and path[i - 1] == k) or (i + 1 < n and path[i + 1] == k)]
        texts.append("".join(LETTERS[k] for i, k in enumerate(kept) if not i or kept[i - 1] != k))
    return texts


def run(e: Experiment) -> None:
    syllables, hidden = e.size(1, 2, 4), e.size(24, 48, 128)
    test = utterances(e.unseen(), e.size(40, 200, 1000), syllables)
    counted = utterances(e.unseen(1), 1000, syllables)
    nearest = error_rate(by_spectrum(counted, test), test["texts"])

    def learn(name: str, model: Any, change: Any, measure: Any, steps: int) -> None:
        done = e.fit(
            model,
            name,
            source=lambda random: change(utterances(random, BATCH, syllables)),
            optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 5e-3, 2e-3)),
            schedule=tg.schedules.cosine(steps, 0.05),
            clip=1.0,
            steps=steps,
            valid_every=steps // 5,
            evaluate=lambda m: {"character error rate": error_rate(measure(m, test), test["texts"])},
        )
        found = measure(model, test, 4)
        reached = done.measures["character error rate"]
        e.figure(f"character error rate, {name}", reached, nearest, "the nearest average spectrum")
        e.figure(f"character error rate, {name}, beam of 4", error_rate(found, test["texts"]), nearest, "the same")
        e.note(f"whole texts right, {name}", exact(found, test["texts"]))
        e.note(f"parameters, {name}", model.params.count)
        curves[name] = done.curves.measured("character error rate")

    curves: dict[str, Any] = {}
    labeller = e.cell("Transcribe").build(D=BANDS, K=END, H=hidden, seed=e.seed)
    learn("CTC", labeller, fed, transcribed, e.size(400, 1200, 5000))
    speller = e.cell("ListenSpell").build(D=BANDS, K=END + 1, H=hidden, A=hidden, seed=e.seed)
    learn("listen, attend, spell", speller, ended, spelled, e.size(400, 1200, 5000))
    levels = {"nearest average spectrum": nearest}
    e.draw(
        viz.lines(curves, x="update", y="character error rate", title="Frames to text", marks=True, levels=levels),
        "curves",
    )

    s, u = int(test["lengths"]["s"][0]), int(test["lengths"]["u"][0])
    text = test["texts"][0]
    target = ended(test)["y"][: u + 1, 0]
    weights = speller(x=test["x"][:s, 0], y=target).value("a").data[:, :, 0]
    p = np.exp(labeller(x=test["x"][:s, 0]).l.data)
    p /= p.sum(axis=1, keepdims=True)
    letters = list(dict.fromkeys(text))
    panels = {
        f"heard: bands over frames, of “{text}”": viz.Heat(test["x"][:s, 0].T[::-1]),
        "spelled: attention to pairs of frames": viz.Heat(
            np.repeat(weights, 2, axis=1), [*("␣" if c == " " else c for c in text), "end"]
        ),
        f"transcribed by CTC as “{transcribed(labeller, test)[0]}”: probability": viz.Heat(
            p[:, [*(LETTERS.index(c) for c in letters), END]].T, [*("␣" if c == " " else c for c in letters), "blank"]
        ),
    }
    e.draw(viz.heat(panels, title="What is heard, and where each letter comes from", side=11), "frames")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__)))
