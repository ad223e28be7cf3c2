"""`tgseq draw`: every view to every kind of file, and one clear message for each thing that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

import tgseq
from viz import worker
from viz.commands import PAGES, VIEWS

SYMBOLS = ["CharRNN", "K=4", "H=3"]
CELLS = {"gates": SYMBOLS, "units": SYMBOLS, "attention": ["Translate", "K_in=4", "K=4", "H=3", "A=2"]}
LSTM = ["LSTM", "D=2", "H=3"]


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn(view: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = CELLS.get(view, LSTM)
    assert tgseq.main(["draw", *words, "--view", view]) == 0, capsys.readouterr().err
    path = Path(capsys.readouterr().out.split()[-1])
    assert path == Path("out") / f"{words[0]}.{view}.{'html' if view in PAGES else 'svg'}"
    assert "<svg" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"digraph"), ("html", b"<!doc")]
)
def test_the_files_ending_says_how(suffix: str, start: bytes) -> None:
    assert tgseq.main(["draw", "Elman", "-o", f"a.{suffix}"]) == 0
    assert Path(f"a.{suffix}").read_bytes().startswith(start)


def test_options_reach_the_views() -> None:
    words = ["draw", "Elman", "D=2", "H=3", "-T", "6"]
    assert tgseq.main([*words, "--view", "bptt", "--loss", "3", "--to", "h[1]", "--first", "1", "-o", "a.svg"]) == 0
    assert "/ ∂h[2]‖ = " in Path("a.svg").read_text(encoding="utf-8")
    assert tgseq.main([*words, "--view", "bptt", "--weight", "jacobian", "-o", "b.svg"]) == 0
    assert "‖Jacobian‖₂" in Path("b.svg").read_text(encoding="utf-8")
    assert tgseq.main([*words, "--view", "truncated", "--chunk", "2", "--back", "4", "-o", "c.svg"]) == 0
    assert "goes back 4 steps" in Path("c.svg").read_text(encoding="utf-8")
    assert tgseq.main(["draw", "Elman", "--view", "bptt", "-o", "d.svg"]) == 0
    assert "gradients not computed yet" in Path("d.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (["LSTM", "-o", "a.txt"], "cannot save a drawing as 'a.txt': use .svg, .html, .dot, .png or .pdf", 2),
        (["LSTM", "-o", "/proc/none/a.svg"], "/proc/none", 2),
        ([*LSTM, "--view", "bptt", "--loss", "9"], "loss=9: the sequence has steps 0 to 3", 2),
        ([*LSTM, "--view", "bptt", "--to", "h[7]"], "to='h[7]': the sequence has steps 0 to 3", 2),
        ([*LSTM, "--view", "bptt", "--weight", "size"], '"grad" or "jacobian"', 2),
        (["LSTM", "--view", "terms"], "LSTM needs D, H: give D=... H=...", 2),
        (["LSTM", "--view", "gradient-flow"], "LSTM needs D, H: give D=... H=...", 2),
        ([*LSTM, "--view", "gates"], "LSTM draws no category", 2),
        (["Translate", "K_in=5", "K=6", "H=4", "A=3", "--view", "gates"], "Translate reads x beside its symbols", 2),
        ([*LSTM, "--view", "attention"], "LSTM has no softmax over a time axis", 2),
        (["LSTM", "--view", "sideways"], "there is no view `sideways`: folded, cell", 2),
    ],
)
def test_one_message_for_each_mistake(
    words: list[str], said: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tgseq.main(["draw", *words]) == status
    message = capsys.readouterr().err
    assert said in message and "Traceback" not in message and "bug" not in message


def test_a_failing_engine_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    worker._run.cache_clear()
    monkeypatch.setenv("TGSEQ_DOT", "/no/such/dot")
    assert tgseq.main(["draw", "LSTM"]) == 1
    assert "Graphviz could not be started: /no/such/dot" in capsys.readouterr().err
    assert not Path("out").exists() or not list(Path("out").iterdir())
