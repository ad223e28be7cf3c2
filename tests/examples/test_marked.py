"""What the tasks of two marked numbers share: data nobody learns from, an end where enough is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from examples import marked, tasks
from examples.experiment import Experiment

SUMS = """
cell Sums(H):
  input x[t]: 2
  input y: scalar
  param u: H ~ glorot
  param a: scalar = 1
  use rnn = GRU(x=x, H=H)
  z = u@last(rnn.h) + a
  loss mse = (z - y)**2
  output z
"""


@pytest.fixture
def e(tmp_path: Path) -> Experiment:
    return Experiment("sums", "Sums", "quick", 3, tmp_path, tmp_path, progress=False)


def learn(e: Experiment, model: Any, updates: int, enough: float, seen: list[Any] | None = None) -> Any:
    def task(random: np.random.Generator, steps: int, batch: int) -> dict[str, Any]:
        found = tasks.adding(random, steps, batch)
        if seen is not None:
            seen.append(found["x"])
        return found

    optimizer = tg.optim.Adam(model.params.trained, lr=1e-2)
    return marked.learn(
        e, "sums", model, task, 6, optimizer=optimizer, updates=updates, every=20, enough=enough, tests=40
    )


def model() -> Any:
    return dsl.parse(f"from gru import GRU\n{SUMS}").build(H=8, seed=0)


def test_it_ends_where_enough_is_reached_and_not_before(e: Experiment) -> None:
    done = learn(e, model(), 2000, 0.05)
    values = done.curves.measured("mse")[1]
    assert done.reached and done.steps % 20 == 0 and done.steps < 2000
    assert values[-1] < 0.05 <= values[:-1].min()
    short = learn(e, model(), 40, 0.0)
    assert not short.reached and short.steps == 40


def test_what_it_is_measured_with_is_never_learned_from(e: Experiment) -> None:
    seen: list[Any] = []
    trained = model()
    done = learn(e, trained, 40, 0.0, seen)
    test, *batches = seen
    assert test.shape == (6, 40, 2) and len(batches) >= 40 and all(x.shape == (6, marked.BATCH, 2) for x in batches)
    known = {row.tobytes() for x in batches for row in x.transpose(1, 0, 2)}
    assert not known & {row.tobytes() for row in test.transpose(1, 0, 2)}
    np.testing.assert_array_equal(test, tasks.adding(e.unseen(), 6, 40)["x"])  # the same at every measurement
    assert done.measures["mse"] == pytest.approx(float(trained(**tasks.adding(e.unseen(), 6, 40)).mse.data))


def test_unseen_sets_differ_from_one_another_and_by_seed(e: Experiment, tmp_path: Path) -> None:
    other = Experiment("sums", "Sums", "quick", 4, tmp_path, tmp_path)
    drawn = [g.random() for g in (e.unseen(), e.unseen(1), other.unseen(), np.random.default_rng([3, 1]))]
    assert len(set(drawn)) == 4 and drawn[0] == e.unseen().random()
