"""The page that compares cells: what its records say, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from dsl.run.sweep import records
from examples.comparison import __main__ as comparison
from examples.comparison.page import ladder, page
from examples.experiment import HOME, Experiment


def record(cell: str, steps: int, seed: int, solved: int | None, error: float | None = 0.5) -> dict[str, Any]:
    job = {"task": "Adding", "cell": cell, "steps": steps, "seed": seed, "units": 4, "rate": 0.1, "updates": 100}
    return {"job": job, "result": {"solved": solved, "error": error, "parameters": 7, "seconds": 2.0}}


RECORDS = [
    record("LSTM", 50, 0, 40),
    record("LSTM", 50, 1, 60),
    record("LSTM", 100, 0, None, 0.25),
    record("LSTM", 100, 1, 80),
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
    assert found["Elman", 50]["median"] is None and found["Elman", 50]["error"] is None
    assert ladder(RECORDS, "Order") == {}


def test_a_page_says_what_was_solved_missed_and_not_tried() -> None:
    text = page("normal", {"units": 4, "rate": 0.1, "updates": 100}, (50, 100, 200), RECORDS, {"Adding": "adding"})
    assert "6 trainings, without `--full`; seeds 0 and 1; 4 units" in " ".join(text.split())
    assert "| LSTM | 7 | 50 (2 of 2) | 80 (1 of 2) |  |" in text
    assert "| tanh | 7 | **—** diverged (0 of 2) |  |  |" in text
    assert "## Order" not in text and "](adding.svg)" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_the_recorded_page_is_that_of_its_runs() -> None:
    folder = HOME / "comparison"
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    e = Experiment("comparison", "", result["mode"], result["seed"], folder, folder)
    done = comparison.shown(e, records(folder / f"runs-{e.mode}.json"))
    pictures = {name.removesuffix(".svg").capitalize(): name.removesuffix(".svg") for name in result["pictures"]}
    written = page(e.mode, comparison.settings(e), comparison.lengths(e), done, pictures)
    assert (folder / "README.md").read_text(encoding="utf-8") == written
    assert result["notes"]["runs"] == len(done)
