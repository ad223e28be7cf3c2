"""`tgseq bench`: the same cell in every framework, with the same gradients; what cannot run is a line, not a crash."""

import json

import pytest

import tgseq
from dsl.bench.contenders import ENTRIES, Ours, Task, installed
from dsl.bench.race import Entry, Race, deviation, table
from dsl.spec import load

SMALL = ["--batch", "3", "-T", "5", "--rounds", "1", "--turn", "0.01"]


def test_a_cell_beside_its_exports(capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for name in installed() if name in ("tinygrad-seq", "torch loop", "jax scan")]
    words = ["bench", "Skip", "D=3", "H=4", "--ragged", "--peers", ",".join(names), "--json"]
    assert tgseq.main([*words, *SMALL]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["peer"] for row in said["rows"]] == names
    assert all(row["gradient_error"] < 1e-5 and row["step_ms"] > 0 and row["step_runs"] >= 3 for row in said["rows"])
    assert said["rows"][0]["step_ratio"] == 1
    assert said["task"]["H"] == 4 and said["task"]["ragged"] is True and said["machine"]["cores"] >= 1


def test_a_cell_with_a_loss_and_categories_is_timed_by_its_own_loss() -> None:
    model = load("CharRNN").build(K=5, H=4)
    assert model.origin is not None
    one, two = Ours(Task(model.origin, 3, 6)).gradients(), Ours(Task(model.origin, 3, 6, dtype="float64")).gradients()
    assert one[0] == pytest.approx(two[0], rel=1e-5) and 1 < one[0] < 2.5
    assert deviation(one, two) < 1e-5


def test_unknown_contenders_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert tgseq.main(["bench", "Skip", "--peers", "tensorflow", *SMALL]) == 2
    assert "there is no contender tensorflow: tinygrad-seq" in capsys.readouterr().err


class Broken:
    def __init__(self, task: object) -> None:
        raise RuntimeError("has no such cell")


def test_what_a_contender_cannot_do_is_a_line_of_the_table() -> None:
    model = load("Elman").build(D=2, H=3)
    assert model.origin is not None
    with Race([ENTRIES["tinygrad-seq"][1], Entry("broken", "tests.house.test_bench:Broken")]) as race:
        rows = race.run(Task(model.origin, 2, 3), None, 1, 0.01)
    assert rows[1] == {"peer": "broken", "missing": "RuntimeError: has no such cell"}
    assert "has no such cell" in table(rows)


def test_the_first_contender_has_to_run() -> None:
    with Race([Entry("broken", "tests.house.test_bench:Broken")]) as race:
        with pytest.raises(RuntimeError, match="broken: RuntimeError: has no such cell"):
            race.run(None, None, 1, 0.01)
