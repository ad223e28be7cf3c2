"""Every example runs, learns, keeps its files; the page of examples says what their result files say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

import viz
from examples import experiment, readme
from examples.experiment import Experiment, Figure


@pytest.mark.parametrize("name", experiment.names())
def test_an_example_run_small_reaches_its_figures(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"examples.{name}.__main__")
    words = ["--quick", "--quiet", "--out", str(tmp_path)]
    try:
        done = experiment.main(module.run, module.__doc__, module.__file__, words)
    except SystemExit as missing:  # an extra that this machine has not
        assert "pip install 'tinygrad-seq[" in str(missing)
        pytest.skip(str(missing))
    assert done.figures and experiment.failed(done) == []
    assert done.pictures and all((tmp_path / picture).stat().st_size > 500 for picture in done.pictures)
    kept = json.loads((tmp_path / "result.json").read_text())
    assert [f["value"] for f in kept["figures"]] == [f.value for f in done.figures]


@pytest.mark.parametrize("result", readme.results(), ids=lambda r: f"{r['example']}-{r['mode']}")
def test_a_recorded_result_is_whole(result: dict) -> None:
    folder = experiment.HOME / result["example"]
    assert result["mode"] in ("normal", "full") and result["figures"] and result["seconds"] > 0
    assert all((folder / picture).exists() for picture in result["pictures"])


def test_the_page_is_that_of_the_result_files() -> None:
    assert (experiment.HOME / "README.md").read_text(encoding="utf-8") == readme.page(readme.results())


def test_a_figure_knows_whether_it_holds() -> None:
    assert Figure("a", 1.0, 2.0, "x", "less").holds and not Figure("a", 3.0, 2.0, "x", "less").holds
    assert Figure("a", 3.0, 2.0, "x", "more").holds and not Figure("a", 2.0, 2.0, "x", "more").holds
    assert Figure("a", 2.01, 2.0, "x", "equal", 0.02).holds and not Figure("a", 2.03, 2.0, "x", "equal", 0.02).holds
    assert not Figure("a", float("nan"), 2.0, "x", "equal", 0.02).holds
    assert Figure("a", 240_321, 240_321, "x", "equal").line() == "a: 240,321   = 240,321, x"


def test_a_figure_that_was_not_reached_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(e: Experiment) -> None:
        e.figure("error", e.size(3.0, 1.0, 1.0), 2.0, "chance")

    words = ["--out", str(tmp_path), "--quick"]
    done = experiment.main(run, "A title.\n\nMore.", str(tmp_path / "thing" / "__main__.py"), words)
    assert experiment.leave(done) == 1
    said = capsys.readouterr()
    assert "NOT reached" in said.out and "not reached: error: 3" in said.err
    assert json.loads((tmp_path / "result.json").read_text())["figures"][0]["holds"] is False


def test_a_run_of_the_papers_size_is_kept_beside_the_normal_one(tmp_path: Path) -> None:
    def run(e: Experiment) -> None:
        e.figure("length", e.size(10, 100, 750), 5, "short", "more")
        e.draw(viz.lines({"a": [1.0, e.size(2.0, 3.0, 4.0)]}), "curve")

    source = tmp_path / "thing"
    source.mkdir()
    for words in ([], ["--full"]):
        file = str(source / "__main__.py")
        experiment.main(run, "A title.", file, ["--record", "--out", str(tmp_path / "out"), *words])
    normal, full = (json.loads((source / f"result{more}.json").read_text()) for more in ("", "-full"))
    assert (normal["mode"], normal["figures"][0]["value"], normal["pictures"]) == ("normal", 100, ["curve.svg"])
    assert (full["mode"], full["figures"][0]["value"], full["pictures"]) == ("full", 750, ["curve-full.svg"])
    assert (source / "curve.svg").read_text() != (source / "curve-full.svg").read_text()
