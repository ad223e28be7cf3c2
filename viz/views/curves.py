"""What training left behind: loss and gradient norm over updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from viz import theme
from viz.drawing import Drawing
from viz.plot import Array, Frame, smoothed, span, thinned
from viz.scene import Scene
from viz.svg import coordinate, text


def curves(history: Any, title: str = "Training") -> Drawing:
    """`history` has `loss` and `gradient_norm`, one value a step from 1, and `valid`, pairs of step and loss
    (a `Curves`, or a mapping like curves.json). Long curves are drawn smoothed, by the mean over a hundredth of their
    length (of the logarithm where the axis has it), over their pale selves, which are drawn by the extremes of each
    stretch. `.data` has every value, and `loss_smoothed`, `gradient_norm_smoothed`.

    Errors: ValueError when there is no loss yet.
    """
    loss, norm = _pick(history, "loss"), _pick(history, "gradient_norm")
    valid = _pick(history, "valid").reshape(-1, 2)
    if not len(loss):
        raise ValueError("no training step has been taken yet: nothing to draw")
    steps = np.arange(1, len(loss) + 1)
    log = bool((norm > 0).any())
    smooth, calm = smoothed(loss), smoothed(norm, log)
    data = {"step": steps, "loss": loss, "gradient_norm": norm, "valid_step": valid[:, 0], "valid": valid[:, 1]}
    data |= {"loss_smoothed": smooth, "gradient_norm_smoothed": calm}
    scene = Scene("curves", title)
    out = scene.extra
    out.append(text(64, 20, theme.label(title), 13.5, "start"))
    across = (0.0, float(max(len(loss), valid[:, 0].max() if len(valid) else 0)))
    top = Frame(64, 54, 560, 220, across, span(np.concatenate([loss, valid[:, 1]])))
    out += top.axes("", "loss")
    out += _course(top, loss, smooth, "net state-b", 1.4)
    if len(valid):
        good = valid[np.isfinite(valid[:, 1])]
        out.append(top.line(list(good[:, 0]), list(good[:, 1]), "net loss", 2.0))
        out.append(top.dots(list(good[:, 0]), list(good[:, 1]), "loss"))
        _name(out, top, good[-1, 1], "validation", "loss")
    _name(
        out,
        top,
        float(smooth[np.isfinite(smooth)][-1]) if np.isfinite(smooth).any() else 0.0,
        "training",
        "state-b",
        lift=14 if len(valid) else 0,
    )
    bottom = top.y + top.height
    if len(norm):
        below = Frame(64, bottom + 56, 560, 120, across, span(norm, log), log)
        out += below.axes("update", "gradient norm")
        out += _course(below, norm, calm, "net state-a", 1.2)
        bottom = below.y + below.height
    else:
        out.append(text(top.x + top.width / 2, bottom + 29, theme.label("update"), 11.5))
    scene.bounds = (0.0, 0.0, 760.0, bottom + 44)  # room for the longest name and value
    return Drawing(scene, data)


def _course(frame: Frame, values: Array, smooth: Array, classes: str, width: float) -> list[str]:
    """A curve over its steps; where it has been smoothed, what it was stands pale behind it."""
    steps = np.arange(1, len(values) + 1)
    if smooth is values:
        return [frame.line(*thinned(steps, values), classes, width)]
    pale = frame.line(*thinned(steps, values), classes, 1.0)
    return [f'<g opacity="0.3">{pale}</g>', frame.line(*thinned(steps, smooth), classes, width + 0.4)]


def _pick(history: Any, key: str) -> Array:
    found = history.get(key) if isinstance(history, Mapping) else getattr(history, key, None)
    return np.asarray([] if found is None else found, dtype=float)


def _name(out: list[str], frame: Frame, value: float, said: str, role: str, lift: float = 0.0) -> None:
    """A line's name and last value at its right end."""
    _, y = frame.at(frame.xs[1], value)
    y = min(max(y - lift, frame.y + 6), frame.y + frame.height - 6)
    x = frame.x + frame.width + 6
    out.append(
        f'<g class="net {role}"><path class="wire" style="stroke-width:2" d="M{coordinate(x)} {coordinate(y)}h10"/></g>'
    )
    out.append(text(x + 14, y, theme.label(f"{said} {value:.3g}"), 10.5, "start"))
