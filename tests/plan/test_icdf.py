"""Inverse-CDF sampling: frequencies, and generated code beside the primitive at the edges of every probability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dsl
from dsl.run.compiled import compile_system
from dsl.system.dims import Dim
from dsl.system.system import System
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import apply

icdf = REGISTRY["categorical_icdf"].impl


def test_a_grid_of_uniform_numbers_gives_the_probabilities() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(7))
    n = 100_000
    drawn = icdf(np.broadcast_to(p, (n, 7)), (np.arange(n) + 0.5) / n)
    np.testing.assert_allclose(np.bincount(drawn, minlength=7), n * p, atol=1)
    assert (np.diff(drawn) >= 0).all()


def test_what_is_impossible_is_never_drawn_and_ties_with_a_bound_go_up() -> None:
    p = np.array([0.0, 0.25, 0.0, 0.75, 0.0])
    assert [int(icdf(p, u)) for u in (0.0, 0.2, 0.25, 0.999, 1.0, 1.5)] == [1, 1, 3, 3, 3, 3]
    assert icdf(np.array([0.0, 0.0]), 0.3) == -1 == icdf(np.array([np.nan, np.nan]), 0.3)
    assert icdf(np.float32([0.1] * 10), np.float32(1)) == 9  # whatever the sum rounds to


def system(K: int) -> System:
    made = dsl.parse(f"cell A():\n  input p[t]: {K}\n  input u[t]: scalar\n  y[t] = sum(p[t])*u[t]\n").system
    streams = {**made.streams, "y": replace(made.streams["y"], dtype="category", categories=Dim.of(K))}
    p, u = (made.streams[n].at_home() for n in "pu")
    return made.with_(streams=streams, equations={"y": apply("categorical_icdf", p, u)}, outputs=("y",))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("K", [1, 5, 33])
def test_generated_code_draws_what_the_primitive_draws(dtype: str, K: int) -> None:
    rng = np.random.default_rng(K)
    p = rng.integers(0, 3, (40, 6, K)) / 2.0**8  # sums without rounding, so that every order of adding agrees
    total = p.sum(-1)
    u = rng.integers(0, 3 * K + 1, (40, 6)) / 2.0**8
    u[:5], u[5:10] = 0, total[5:10]
    p[10], p[11, :, 0] = 0, np.nan
    lengths = np.array([40, 40, 13, 40, 25, 40])
    given = {"p": p.astype(dtype), "u": u.astype(dtype)}
    found, _ = compile_system(system(K), ("y",), dtype).forward(given, {"t": lengths}, 6, ("y",), record=False)
    wanted = np.where(np.arange(40)[:, None] < lengths, icdf(given["p"], given["u"]), -1)
    np.testing.assert_array_equal(found["y"], wanted)
