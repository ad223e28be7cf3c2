"""Cotangents from outside on any streams of a random cell, complex ones and totals too, not on its loss alone."""

from __future__ import annotations

import random

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.run.unroll import unroll
from dsl.spec import AdjointSpec
from dsl.system.adjoint import adjoint
from dsl.system.resolve import resolve
from tests.differential.check import collected, compare_gradients, prepare, seeded, zeros
from tests.differential.generator import random_cell


def by_tape(p, names):
    """Values of all streams, random cotangents of `names`, and the gradients of what they weigh together."""
    leaves = {n: tg.tensor(v, requires_grad=True) if n in p.floats else v for n, v in (p.params | p.inputs).items()}
    values = unroll(p.system, leaves, p.lengths, p.batch, tuple(p.system.equations))
    rng, cotangents, weighed = seeded(p.case, "cotangents"), {}, []
    for name in names:
        value = values[name]
        shape, turns = np.shape(value), p.system.streams[name].dtype == "complex"
        g = cotangents[name] = rng.normal(size=shape) + (1j * rng.normal(size=shape) if turns else 0)
        if isinstance(value, tg.Tensor):
            weighed.append(tg.sum(tg.re(np.conj(g) * value)) if turns else tg.sum(g * value))
    if weighed:
        sum(weighed[1:], weighed[0]).backward()
    found = {n: leaves[n].grad for n in p.floats}
    gradients = {n: z if found[n] is None else found[n].numpy() for n, z in zeros(p).items()}
    return {n: v.numpy() if isinstance(v, tg.Tensor) else v for n, v in values.items()}, cotangents, gradients


@pytest.mark.parametrize("first", range(4))
def test_the_printed_adjoint_of_any_streams_is_the_tape_s(first):
    for seed in range(first, 10_000, 997):
        p, streams = prepare(random_cell(seed)), random.Random(seed)
        all_ = [n for n in p.system.equations if p.system.streams[n].dtype in ("real", "complex")]
        names = streams.sample(all_, min(3, len(all_))) + [n for n in all_ if p.system.streams[n].total]
        names = tuple(dict.fromkeys(names))
        values, cotangents, gradients = by_tape(p, names)
        derived = adjoint(p.system, names)
        printed = AdjointSpec(p.spec, derived)
        system, _ = resolve(printed.file, printed.name, {})
        system = system.bind(
            {n: v for n, v in p.system.arguments.items() if isinstance(v, int) and n in system.arguments}
        )
        fed = {**values, **p.params, **p.inputs, **{c: cotangents[n] for n, c in derived.cotangents.items()}}
        given = {n: fed[n] for n, s in system.streams.items() if s.kind in ("input", "param", "const")}
        wanted = tuple(derived.gradients[n] for n in p.floats if n in derived.gradients)
        found = unroll(system, given, p.lengths, p.batch, wanted)
        compare_gradients(f"seed {seed}", gradients, collected(p, found, derived.gradients))
