"""The page that compares cells: what its records say, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import dsl
from dsl.run.sweep import records
from examples.comparison import __main__ as comparison
from examples.comparison.job import KEEPING, SOURCE, reach, remember
from examples.comparison.page import LONG, ladder, page, results
from examples.experiment import HOME, Experiment


def record(
    cell: str, steps: int, seed: int, solved: int | None, error: float | None = 0.5, **more: Any
) -> dict[str, Any]:
    job = {"task": "Adding", "cell": cell, "steps": steps, "seed": seed, "units": 4, "rate": 0.1, "updates": 100} | more
    return {"job": job, "result": {"solved": solved, "error": error, "parameters": 7, "seconds": 2.0}}


RECORDS = [
    record("LSTM", 50, 0, 40),
    record("LSTM", 50, 1, 60),
    record("LSTM", 100, 0, None, 0.25),
    record("LSTM", 100, 1, 80),
    record("LSTM", 50, 0, 20, remembers=True),
    record("Elman", 50, 0, None, None),
    record("Elman", 50, 1, None, None),
]


def test_a_ladder_counts_seeds() -> None:
    found = ladder(RECORDS, "Adding")
    assert found["LSTM", 50] | {"thousand": 0} == {
        "tried": 2, "solved": 2, "median": 50.0, "error": 0.5, "parameters": 7, "thousand": 0
    }  # fmt: skip
    assert found["LSTM", 50]["thousand"] == 1000 * 4 / (40 + 60)  # seconds of both runs, updates of both
    assert (found["LSTM", 100]["tried"], found["LSTM", 100]["solved"], found["LSTM", 100]["median"]) == (2, 1, 80.0)
    assert found["LSTM" + LONG, 50]["median"] == 20.0  # another start is another row
    assert found["Elman", 50]["median"] is None and found["Elman", 50]["error"] is None
    assert ladder(RECORDS, "Order") == {}


def test_a_page_says_what_was_solved_missed_and_not_tried() -> None:
    text = page("normal", {"units": 4, "rate": 0.1, "updates": 100}, (50, 100, 200), RECORDS, ["adding.svg"], {}, {})
    assert "7 trainings, without `--full`; seeds 0 and 1; 4 units" in " ".join(text.split())
    assert "| LSTM | 7 | 50 (2 of 2) | 80 (1 of 2) |  |" in text
    assert "| LSTM, long start | 7 | 20 |  |  |" in text
    assert "| tanh | 7 | **—** diverged (0 of 2) |  |  |" in text
    assert "## Order" not in text and "](adding.svg)" in text and "](adding_long.svg)" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_a_page_says_what_was_changed_and_what_came_of_it() -> None:
    ours = [record("GRU", 100, seed, None, task="Order") for seed in (0, 1)]
    other = [record("GRU", 100, seed, 30 + seed, task="Order", remembers=True) for seed in (0, 1)]
    first = [record("GRU", 50, 0, 10, task="Order")]
    tried = {"as it is": [r["job"] for r in ours], "longer": [r["job"] for r in other], "not run": [{"cell": "GRU"}]}
    found = results(tried, [*ours, *other, *first])
    assert found == {"as it is": [r["result"] for r in ours], "longer": [r["result"] for r in other], "not run": []}
    text = page("normal", {"units": 4, "rate": 0.1, "updates": 100}, (50, 100), first, [], {"GRU": 3.2e-7}, found)
    assert "| as it is | **—** 0.5, **—** 0.5 |" in text and "| longer | 30, 31 |" in text
    assert "| GRU, reset before | 3.2e-07 |" in text and "not run" not in text


def test_a_long_start_keeps_what_the_library_lets_go() -> None:
    for cell in KEEPING:
        before, after = (reach(cell, 100, 0, remembers=long) for long in (False, True))
        assert before < 0.05 < 0.1 < after, cell


def test_gates_of_one_unit_start_from_one_number() -> None:
    """Where the forget gate keeps for u steps, the input gate lets in a u-th."""
    model = dsl.load(f"{SOURCE}:Order")(Cell="LSTM").build(H=64, seed=0)
    remember(model, "LSTM", 100, 0)
    forget = model.params["rnn.b_f"].numpy()
    np.testing.assert_allclose(model.params["rnn.b_i"].numpy(), -forget)
    assert (forget >= 0).all() and (np.exp(forget) < 99.01).all() and np.exp(forget).max() > 90


def test_the_recorded_page_is_that_of_its_runs() -> None:
    folder = HOME / "comparison"
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    e = Experiment("comparison", "", result["mode"], result["seed"], folder, folder)
    kept = records(folder / f"runs-{e.mode}.json")
    done, tried = comparison.shown(e, kept), results(comparison.probes(e), kept)
    reached = result["notes"][comparison.REACHES]
    written = page(e.mode, comparison.settings(e), comparison.lengths(e), done, result["pictures"], reached, tried)
    assert (folder / "README.md").read_text(encoding="utf-8") == written
    assert result["notes"]["runs"] == len(done)
