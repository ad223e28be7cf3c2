"""A plain recurrence under every activation, initialisation and gain, and what becomes of its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import dsl
from viz import theme
from viz.drawing import Drawing
from viz.graph import build
from viz.jacobians import total_of
from viz.numbers import Backward, Values
from viz.scene import Scene
from viz.svg import rect, text

ACTIVATIONS = ("tanh", "relu", "sigmoid", "linear")
INITIALS = ("normal", "orthogonal", "identity")
GAINS = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0)
CELL = """
cell Plain(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V ~ glorot
  param W ~ glorot
  h[t] = {activation}
  output h
"""


@dataclass
class Sweep:
    """`data`: `activation`, `initial`, `gain`, and `log10` of ‖∂h_T/∂h_0‖₂ (activations, initials, gains)."""

    data: dict[str, Any]
    drawing: Drawing
    words: str


def sweep(steps: int, hidden: int, seed: int = 0) -> Sweep:
    """log₁₀ ‖∂h_T/∂h_0‖₂ of h = f(V x + W h), W = gain × (normal of variance 1/H | orthogonal | identity)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((steps, 1, 4)) * 0.5
    starts = {"normal": rng.standard_normal((hidden, hidden)) / np.sqrt(hidden), "identity": np.eye(hidden)}
    starts["orthogonal"] = np.linalg.qr(starts["normal"])[0]
    out = np.zeros((len(ACTIVATIONS), len(INITIALS), len(GAINS)))
    for a, activation in enumerate(ACTIVATIONS):
        inside = "V@x[t] + W@h[t-1]"
        text_ = CELL.format(activation=inside if activation == "linear" else f"{activation}({inside})")
        model = dsl.parse(text_).build(D=4, H=hidden, dtype="float64", seed=seed)
        for i, initial in enumerate(INITIALS):
            for g, gain in enumerate(GAINS):
                model.params["W"] = gain * starts[initial]
                run = model(x, engine="tape")
                total = _end_to_end(run, model)
                with np.errstate(divide="ignore"):
                    out[a, i, g] = np.log10(total)
    data = {"activation": ACTIVATIONS, "initial": INITIALS, "gain": np.array(GAINS), "log10": out}
    words = (
        f'<p class="small">log₁₀ ‖∂h<sub>T</sub>/∂h<sub>0</sub>‖₂ over {steps} steps of h = f(V x + W h), {hidden} '
        "units; W is gain times a matrix of that kind. 0 carries gradients unchanged; −5 has lost them; 5 blows up.</p>"
    )
    return Sweep(data, Drawing(_draw(out), data), words)


def _end_to_end(run: Any, model: Any) -> float:
    backward = Backward(build(model.system), Values(run, model.system))
    return float(np.linalg.norm(total_of(backward, "h", backward.length - 1)[0], 2))


def _draw(table: Any) -> Scene:
    scene = Scene("sweep", "log₁₀ ‖∂h_T/∂h_0‖₂ by activation, initialisation and gain")
    out = scene.extra
    wide, tall, x0, y0 = 52.0, 22.0, 150.0, 50.0
    rows = [(a, i) for a in range(len(ACTIVATIONS)) for i in range(len(INITIALS))]
    out.append(text(x0, 16, theme.label("gain"), 11.5, "start"))
    for g, gain in enumerate(GAINS):
        out.append(text(x0 + wide * (g + 0.5), 36, theme.label(f"{gain:g}"), 11, "middle", "muted"))
    for r, (a, i) in enumerate(rows):
        y = y0 + tall * r + 8 * a
        if i == 0:
            out.append(text(14, y + tall / 2, theme.label(ACTIVATIONS[a]), 11.5, "start"))
        out.append(text(x0 - 10, y + tall / 2, theme.label(INITIALS[i]), 10.5, "end", "muted"))
        for g in range(len(GAINS)):
            value = float(table[a, i, g])
            place = 0.0 if value == -np.inf else min(1.0, max(0.0, (value + 6) / 9))
            shade = theme.ramp_class(place)
            out.append(rect(x0 + wide * g, y, wide - 2, tall - 2, f"cell {shade}"))
            said = "−∞" if value == -np.inf else f"{value:.1f}".replace("-", "−")
            label = theme.label(said)
            out.append(text(x0 + wide * (g + 0.5) - 1, y + tall / 2 - 1, label, 10.5, "middle", f"on {shade}"))
    scene.bounds = (0.0, 0.0, x0 + wide * len(GAINS) + 16, y0 + tall * len(rows) + 40)
    return scene
