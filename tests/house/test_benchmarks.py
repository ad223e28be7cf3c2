"""The contenders of the benchmark compute the same thing, and its table says what was measured."""

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks import char_rnn
from benchmarks.peers import installed, made
from benchmarks.peers.problem import GATES
from dsl.bench.race import deviation, table

SIZE = (3, 9, 5, 8)


PAIRS = [(name, cell) for name in installed() for cell in GATES if (name, cell) != ("torch.nn", "custom")]


@pytest.mark.parametrize(("name", "cell"), PAIRS)
def test_every_contender_has_the_same_gradients(name: str, cell: str) -> None:
    true = made("tinygrad-seq", (cell, SIZE), "float64").gradients()
    contender = made(name, (cell, SIZE))
    contender.infer()
    found = contender.gradients()
    assert found[1].keys() >= true[1].keys()
    assert found[0] == pytest.approx(true[0], rel=1e-5)
    assert deviation(found, true) < 1e-5


def test_a_second_step_gives_the_same_gradients_not_their_sum() -> None:
    contender = made("tinygrad-seq", ("rnn", SIZE))
    first = contender.gradients()
    assert deviation(contender.gradients(), first) == 0


def test_the_table_shows_ratios_and_what_is_missing() -> None:
    row = {"peer": "torch.nn", "step_ms": 2.0, "step_ratio": 0.5, "infer_ms": 1.0, "infer_ratio": 0.25}
    row |= {"first_call_s": 1.5, "gradient_error": 3e-7}
    own = {**row, "peer": "LSTM", "gradient_error": None}
    text = table([{"peer": "jax scan", "missing": "not installed"}, row, own])
    assert text.endswith("–"), "nothing to compare its gradients with"
    assert "not installed" in text and "0.50" in text and "3.0e-07" in text


def test_contenders_of_the_character_model_have_the_same_gradients_and_run() -> None:
    pytest.importorskip("torch")
    task = char_rnn.Task(5, 4, 2, batch=50, chunk=50, together=2)
    true = char_rnn.Ours(task._replace(dtype="float64")).gradients()
    for contender in (char_rnn.Ours(task), char_rnn.Torch(task)):
        contender.step()
        found = contender.gradients()
        assert found[0] == pytest.approx(true[0], rel=1e-5)
        assert found[1].keys() == true[1].keys() and deviation(found, true) < 1e-5
    text = char_rnn.speed({"peer": "torch.nn.LSTM", "step_ms": 25.0, "infer_ms": 500.0}, task._replace(together=16))
    assert "reads   100.0, writes    32.0" in text


def test_the_page_and_its_pictures_show_what_the_run_wrote(tmp_path: Path) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("benchmarks_page", docs / "benchmarks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    results = json.loads(module.RESULTS.read_text("utf-8"))
    module.HERE = tmp_path
    assert module.page(results) == module.PAGE.read_text("utf-8"), "run python docs/benchmarks.py"
    for picture in tmp_path.iterdir():
        assert picture.read_bytes() == (docs / picture.name).read_bytes(), (
            f"{picture.name}: run python docs/benchmarks.py"
        )
