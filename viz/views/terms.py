"""BPTT as the lecture writes it: a parameter's gradient as a sum over the steps that it was used at."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from viz import svg, theme
from viz.drawing import Drawing
from viz.question import Question, ask
from viz.scene import Scene, Text
from viz.svg import rect, text
from viz.views.subject import is_run, system_of

MOST = 12  # terms drawn one by one; those in the middle are added up
WIDE, TALL, GAP = 104.0, 64.0, 30.0


def terms(run: Any, loss: int | str | None = None, to: str = "W", *, sequence: int = 0, first: int = 0) -> Drawing:
    """The row of terms of ∂L/∂W = Σ_k ∂L/∂h_t · Π ∂h_i/∂h_{i−1} · ∂h_k/∂W, each with its size, and their sum.

    loss  the step of the loss's term (default: the last), or "nll[12]"
    to    a parameter

    `.data`: `k` the steps, `term` their parts (n, *shape), `norm` their sizes, `gradient` the sum, `total` its size,
    `state` and `incoming`: the sizes ‖∂L/∂h_k‖ of the first state that reads the parameter, nan where it has none.
    Errors: ValueError for a spec, a step outside the run, or a name that is no parameter.
    """
    system = system_of(run)
    if not is_run(run):
        raise ValueError(f"terms needs a run: viz.terms(model(...), to={to!r}); {system.name} has no numbers yet")
    asked = ask(run, system, loss, to, sequence, first)
    if not asked.parameter:
        raise ValueError(f"to={to!r}: a sum over steps is drawn for a parameter; viz.bptt follows a stream")
    data = numbers(asked)
    scene = Scene(system.name, f"{system.name}: ∂{asked.found.title} / ∂{asked.target} as a sum over steps")
    row(scene, asked, data, 0.0, 0.0, first=first)
    svg.fit(scene)
    return Drawing(scene, data)


def numbers(asked: Question) -> dict[str, Any]:
    """The arrays behind the row."""
    shares = asked.found.shares.get(asked.target, {})
    if not shares:
        raise ValueError(f"{asked.found.title} does not depend on {asked.target}")
    steps = sorted(shares)
    parts = np.array([np.asarray(shares[k]) for k in steps])
    graph = asked.found.graph
    users = [n.equation for n in graph.nodes.values() if any(s.parameter == asked.target for s in n.sockets)]
    states = [k for k, n in graph.nodes.items() if n.kind == "state"]
    state = next((s for s in states if s in users), states[-1] if states else "")
    sizes = [asked.found.cotangents.get((state, k)) for k in steps]
    total = parts.sum(axis=0)
    return {
        "k": np.array(steps, dtype=int),
        "term": parts,
        "norm": np.array([np.linalg.norm(np.ravel(p)) for p in parts]),
        "gradient": total,
        "total": float(np.linalg.norm(np.ravel(total))),
        "state": state,
        "incoming": np.array([np.nan if g is None else float(np.linalg.norm(np.ravel(g))) for g in sizes]),
    }


def row(
    scene: Scene,
    asked: Question,
    data: dict[str, Any],
    x: float,
    y: float,
    first: int = 0,
    been: Container[int] | None = None,
) -> None:
    """Draw the row at (x, y); with `been`, only the terms of those steps are filled in and added."""
    name, state, loss = asked.target, data["state"], asked.found.title
    scene.texts.append(Text(x, y, _formula(loss, name, state), 13.5, "ink"))
    norm = data["norm"]
    good = norm[norm > 0]
    low, high = (float(good.min()), float(good.max())) if len(good) else (1.0, 1.0)
    at = x
    for n, members in enumerate(_columns(len(norm))):
        if n:
            scene.texts.append(Text(at + GAP / 2, y + 58, theme.label("+"), 16, "muted", "middle"))
            at += GAP
        done = been is None or int(data["k"][members[0]]) in been
        _box(scene, data, members, at, y + 26, (low, high), done, first)
        at += WIDE
    kept = np.array([been is None or int(k) in been for k in data["k"]])
    total = float(np.linalg.norm(np.ravel(data["term"][kept].sum(axis=0)))) if kept.any() else 0.0
    whole = bool(kept.all())
    said = f"‖∂{loss}/∂{name}‖ = {theme.number(total)}" if whole else f"so far ‖Σ‖ = {theme.number(total)}"
    scene.texts.append(Text(at + 16, y + 58, theme.label("=  " + said), 13.5, "ink"))


def _formula(loss: str, name: str, state: str) -> theme.Label:
    h = state.rpartition(".")[2] or "h"
    span = theme.Span
    return (
        span(f"∂{loss}/∂{name}  =  Σ"), span("k", -1), span(f"  ∂{loss}/∂{h}"), span("t", -1),
        span(f" · Π ∂{h}"), span("i", -1), span(f"/∂{h}"), span("i−1", -1), span(f" · ∂{h}"), span("k", -1),
        span(f"/∂{name}"),
    )  # fmt: skip


def _columns(count: int) -> list[Sequence[int]]:
    """Which terms share a box: each its own, or those in the middle together."""
    if count <= MOST:
        return [range(k, k + 1) for k in range(count)]
    ends = (MOST - 1) // 2
    return [
        *(range(k, k + 1) for k in range(ends)),
        range(ends, count - ends - 1),
        *(range(k, k + 1) for k in range(count - ends - 1, count)),
    ]


def _box(
    scene: Scene,
    data: dict[str, Any],
    members: Sequence[int],
    x: float,
    y: float,
    scale: tuple[float, float],
    done: bool,
    first: int,
) -> None:
    k = [int(data["k"][m]) + first for m in members]
    size = float(np.linalg.norm(np.ravel(sum(data["term"][m] for m in members))))
    said = f"k = {k[0]}" if len(k) == 1 else f"k = {k[0]}…{k[-1]}"
    out = scene.extra
    out.append(rect(x, y, WIDE, TALL, "panel", 9))
    out.append(text(x + WIDE / 2, y + 14, theme.label(said), 11.5, "middle", "muted"))
    if done:
        place = theme.ramp_position(size, *scale)
        width = max(2.0, (WIDE - 24) * min(1.0, size / scale[1]))  # lengths compare as the terms do, colours as orders
        out.append(rect(x + 12, y + 24, width, 7, f"cell {theme.ramp_class(place)}", 2))
        out.append(text(x + WIDE / 2, y + 43, theme.label(f"‖term‖ {theme.number(size)}"), 11.5))
        incoming = data["incoming"][members[0]]
        if len(k) == 1 and np.isfinite(incoming):
            short = data["state"].rpartition(".")[2]
            label = theme.label(f"‖∂L/∂{short}", sub=str(k[0]), sup="") + theme.label(f"‖ {theme.number(incoming)}")
            out.append(text(x + WIDE / 2, y + 56, label, 9.5, "middle", "muted"))
    scene.texts += [
        Text(x, y, theme.label(" "), 1),
        Text(x + WIDE, y + TALL, theme.label(" "), 1),
    ]  # the row belongs to what is fitted
