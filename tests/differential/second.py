"""Second order: the adjoint of the joined adjoint against differences of the tape's gradients.

The joined adjoint is a cell with the forward equations and the gradients as equations; its own adjoint, fed cotangents
v of the gradients, gives the product of the Hessian with v.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dsl.run.unroll import unroll
from dsl.system.adjoint import adjoint, joined
from tests.differential.check import Disagreement, Prepared, seeded, unrolled

RTOL, ATOL = 1e-5, 1e-6  # of differences of gradients


def second_order(p: Prepared, loss: str) -> bool:
    """Random directions v and d of all real parameters: v'Hd by the system and by differences. False: nothing to see
    (a stopped gradient has no derivative where its value has one)."""
    both = joined(p.system, adjoint(p.system, (loss,)))
    names = [n for n in p.params if n in both.gradients and p.system.streams[n].dtype == "real"]
    if not names or "stop_gradient" in p.case.text:
        return False
    twice = adjoint(both.system, tuple(both.gradients[n] for n in names), wrt=tuple(names))
    rng = seeded(p.case, "second order")
    v, d = ({n: rng.normal(size=p.params[n].shape) for n in names} for _ in range(2))
    fed: dict[str, Any] = {**p.params, **p.inputs, both.cotangents[loss]: np.full(p.batch, 1 / p.batch)}
    cotangents = set(twice.cotangents.values())
    given = [
        n for n, s in twice.system.streams.items() if s.kind in ("input", "param", "const") and n not in cotangents
    ]
    fed |= unroll(both.system, fed, p.lengths, p.batch, tuple(n for n in given if n not in fed))
    fed |= {twice.cotangents[b]: v[n] for n in names if (b := both.gradients[n]) in twice.cotangents}
    reached = [n for n in names if n in twice.gradients]
    out = unroll(twice.system, fed, p.lengths, p.batch, tuple(twice.gradients[n] for n in reached))
    products = [np.asarray(out[twice.gradients[n]]) * d[n] for n in reached]
    found, scale = (sum(float(np.sum(f(x))) for x in products) for f in (np.asarray, abs))

    def along(e: float) -> float:
        moved = dataclasses.replace(p, params={n: a + e * d[n] if n in d else a for n, a in p.params.items()})
        gradients = unrolled(moved, loss)[1]
        return sum(float(np.sum(gradients[n] * v[n])) for n in names)

    slopes = []
    for h in (1e-4, 1e-5, 1e-6):
        slopes.append((8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h))
        if abs(slopes[-1] - found) <= ATOL + RTOL * max(scale, abs(slopes[-1])):
            return True
    raise Disagreement(f"second order {slopes}, adjoint of the joined adjoint {found!r}")
