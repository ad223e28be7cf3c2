"""Every example runs, learns, keeps its files; the page of examples says what their result files say."""

from __future__ import annotations

import importlib
import json
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
import viz
from examples import experiment, readme
from examples.experiment import Experiment, Figure

EXTRAS = {"digits": ("sklearn", "digits")}  # example -> the package that it needs, and the extra that brings it


@pytest.mark.parametrize("name", experiment.names())
def test_an_example_run_small_reaches_its_figures(name: str, tmp_path: Path) -> None:
    """Where what an example needs is not installed, it has to end with one line that says how to get it."""
    module = importlib.import_module(f"examples.{name}.__main__")
    words = ["--quick", "--quiet", "--out", str(tmp_path)]
    package, extra = EXTRAS.get(name, ("numpy", ""))
    if find_spec(package) is None:
        with pytest.raises(SystemExit, match=rf"^error: .*pip install 'tinygrad-seq\[{extra}\]'$"):
            experiment.main(module.run, module.__doc__, module.__file__, words)
        return
    done = experiment.main(module.run, module.__doc__, module.__file__, words)
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


def test_a_fact_is_printed_as_figures_are() -> None:
    assert experiment.said({"last": 0.123456, "mean": [1000, 0.5]}) == "last 0.12346; mean 1,000, 0.5"
    assert experiment.said("two words") == "two words" and experiment.said(12345) == "12,345"
    assert experiment.said(np.float32(0.25)) == "0.25" and experiment.said(True) == "True"


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


def test_what_has_one_size_takes_no_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(e: Experiment) -> None:
        e.figure("length", e.size(10, 100), 5, "short", "more")

    file, words = str(tmp_path / "thing" / "__main__.py"), ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        experiment.main(run, "A title.", file, [*words, "--full"], larger=False)
    assert "unrecognized arguments: --full" in capsys.readouterr().err
    done = experiment.main(run, "A title.", file, words, larger=False)
    kept = json.loads((tmp_path / "out" / "result.json").read_text())
    assert done.figures[0].value == 100 and kept["larger"] is False
    assert "Of one size, without `--full`: thing." in readme.page([kept])
    experiment.main(run, "A title.", file, [*words, "--full"])
    assert "larger" not in json.loads((tmp_path / "out" / "result.json").read_text())


LINE = """
cell Line(D):
  input x: D
  input y: scalar
  param w: D ~ glorot
  loss mse = (w@x - y)**2
"""


def lines(e: Experiment, stop_at: int | None = None) -> dict[str, Any]:
    """Two trainings, one after the other; Ctrl-C in the second one, if that is wanted. What each has drawn, and w."""
    found: dict[str, Any] = {}
    for name in ("first", "second"):
        model, drawn = dsl.parse(LINE).build(D=3, seed=0, dtype="float64"), []

        def source(random: np.random.Generator, name: str = name, drawn: list[int] = drawn) -> dict[str, Any]:
            drawn.append(1)
            if name == "second" and len(drawn) == stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            x = random.normal(size=(4, 3))
            return {"x": x, "y": x.sum(axis=1)}

        optimizer = tg.optim.Adam(model.params.trained, lr=1e-2)
        done = e.fit(model, name, source=source, optimizer=optimizer, steps=20, engine="tape")
        found[name] = {"drawn": len(drawn), "steps": done.steps, "w": model.params["w"].numpy().copy()}
    return found


def test_a_run_that_was_stopped_goes_on_with_the_same_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[dict[str, Any]] = []
    whole: list[dict[str, Any]] = []

    def run(e: Experiment, kept: list[dict[str, Any]], stop_at: int | None = None) -> None:
        kept.append(lines(e, stop_at))
        e.figure("length", 2, 1, "short", "more")
        e.draw(viz.lines({"a": [1.0, 2.0]}), "curve")

    def started(folder: str, kept: list[dict[str, Any]], *words: str, stop_at: int | None = None) -> Experiment:
        words = ("--quick", "--quiet", "--out", str(tmp_path / folder), *words)
        return experiment.main(lambda e: run(e, kept, stop_at), "A title.", str(tmp_path / "__main__.py"), list(words))

    started("whole", whole)
    with pytest.raises(SystemExit, match="stopped in second: the same words with --resume go on"):
        started("stopped", found, stop_at=8)
    assert not (tmp_path / "stopped" / "result.json").exists()
    done = started("stopped", found, "--resume")
    # one batch is looked at before any is learned from; of the second, 7 were learned before
    assert [found[0][name]["drawn"] for name in ("first", "second")] == [1, 1 + 20 - 7]
    assert found[0]["second"]["steps"] == 20 and done.earlier > 0
    for name in ("first", "second"):
        np.testing.assert_array_equal(found[0][name]["w"], whole[0][name]["w"])
    found.clear()
    started("stopped", found)  # without the word it begins anew
    assert found[0]["first"]["drawn"] == 21
    assert "curve.svg" in capsys.readouterr().out
