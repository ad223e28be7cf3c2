"""What a picture of gradients is asked for, in words (`loss="nll[12]"`, `to="h[3]"`), and the gradients that answer.

Every mistake is a ValueError that says what there is instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsl.system.system import System
from viz.graph import Graph, build
from viz.paths import Gradients, Spot, gradients, spoken, start

_PLACE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(?:\[\s*(-?\d+)\s*\])?\s*$")


@dataclass(frozen=True)
class Question:
    """The gradients of one loss, the value they are followed to (a node and its step, or a parameter), and the
    steps that a drawing shows whatever it leaves out."""

    system: System
    found: Gradients
    target: str
    at: int | None
    parameter: bool
    kept: tuple[int, ...]  # steps that are drawn whatever is left out
    near: tuple[int, ...] = ()  # and their neighbours, where there is room


def ask(
    run: Any, system: System, loss: int | str | None, to: str | None, sequence: int = 0, first: int = 0
) -> Question:
    """Read the words and compute. Errors: ValueError naming the step, stream or loss that is not there."""
    graph = build(system)
    batch = len(next(iter(run.lengths.values())))
    if not 0 <= sequence < batch:
        raise ValueError(f"sequence={sequence}: the run has sequences 0 to {batch - 1}")
    lengths = {a: int(np.asarray(n)[sequence]) for a, n in run.lengths.items()}
    name, step = _where(loss)
    key, is_loss = start(graph, system, name)
    step = _step_of(graph, key, step, lengths, loss)
    named = None if to is None else _target(graph, system, to, step, lengths)
    found = gradients(run, system, key, is_loss, step, sequence, first)
    target, at = named or _farthest(found)
    parameter = target in system.streams and system.streams[target].shared
    kept, near = _kept(graph, key, step, at, lengths)
    return Question(system, found, target, at, parameter, kept, near)


def _where(loss: int | str | None) -> tuple[str | None, int | None]:
    if not isinstance(loss, str):
        return None, loss
    found = _PLACE.match(loss)
    if not found:
        raise ValueError(f'loss={loss!r}: a step, or a loss at a step like "nll[12]"')
    return found[1], int(found[2]) if found[2] is not None else None


def _step_of(graph: Graph, key: str, step: int | None, lengths: dict[str, int], loss: Any) -> int | None:
    """The step of the loss's term on its lane: the last where none is given, None for a loss without steps."""
    lane = graph.nodes[key].lane
    if not lane:
        return None
    length = lengths[lane]
    step = length - 1 if step is None else step
    if not 0 <= step < length:
        raise ValueError(f"loss={loss!r}: the sequence has steps 0 to {length - 1}")
    return step


def _target(graph: Graph, system: System, to: str, step: int | None, lengths: dict[str, int]) -> tuple[str, int | None]:
    """The node and step, or the parameter and None, that `to` names."""
    found = _PLACE.match(to)
    if not found:
        raise ValueError(f'to={to!r}: a stream at a step like "h[3]", or a parameter')
    name = system.aliases.get(found[1], found[1])
    stream = system.streams.get(name)
    if stream is None:
        raise ValueError(f"to={to!r}: {system.name} has no stream or parameter {name}")
    if stream.shared:
        return name, None
    if name not in graph.home:
        raise ValueError(f"to={to!r}: {name} is not drawn; no equation reads it")
    key = graph.home[name]
    lane = graph.nodes[key].lane
    if not lane:
        return key, None
    at = int(found[2]) if found[2] is not None else min(step or 0, lengths[lane] - 1)
    if not 0 <= at < lengths[lane]:
        raise ValueError(f"to={to!r}: the sequence has steps 0 to {lengths[lane] - 1}")
    return key, at


def _farthest(found: Gradients) -> Spot:
    """Where a path leads when nobody says: the state (else the input) and step farthest from the loss."""
    graph, far = found.graph, found.seed[1]
    best: tuple[int, int, int] | None = None
    chosen: Spot = ("", None)
    reached = found.reached()
    for n, (key, node) in enumerate(graph.nodes.items()):
        if node.kind not in ("state", "chip") or (node.kind == "chip" and node.stream not in graph.system.streams):
            continue
        for name, s in reached:
            if name != key or s is None or s < 0 or (name, s) not in found.cotangents:
                continue
            same = far is not None and node.lane == graph.nodes[found.seed[0]].lane
            away = abs(far - s) if same and far is not None else found.lengths[node.lane] - s
            rank = (int(node.kind == "state"), away, n)
            if best is None or rank > best:
                best, chosen = rank, (key, s)
    if best is None:
        raise ValueError(f'{spoken(found.seed)} depends on no state and no input; say where to: to="W"')
    return chosen


def _kept(
    graph: Graph, key: str, step: int | None, at: int | None, lengths: dict[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The steps of the loss and of the target, and those between them that are next to these."""
    longest = lengths.get(graph.nodes[key].lane, 0)
    kept = [*(() if step is None else (step,)), 0 if at is None else at]
    near = [*(() if step is None else (step - 1,)), 1 if at is None else at + 1]
    return tuple(k for k in kept if 0 <= k < longest), tuple(k for k in near if 0 <= k < longest)
