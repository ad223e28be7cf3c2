"""`tgseq export`: code to stdout or a file, an ONNX model to a file, nothing overwritten unless asked."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import dsl
import tgseq


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = tgseq.main(list(words))
    found = capsys.readouterr()
    return status, found.out, found.err


@pytest.mark.parametrize(("target", "line"), [("torch", "class Skip(torch.nn.Module):"), ("jax", "def forward(")])
def test_code(capsys: pytest.CaptureFixture[str], directory: Path, target: str, line: str) -> None:
    words = ("export", "Skip", "D=2", "H=3", "--to", target)
    status, out, _ = said(capsys, *words)
    assert status == 0 and line in out
    compile(out, "export", "exec")
    assert said(capsys, *words, "-o", "own.py")[:2] == (0, "wrote own.py\n")
    assert (directory / "own.py").read_text(encoding="utf-8") == out
    status, _, err = said(capsys, *words, "-o", "own.py")
    assert status == 2 and "exists already" in err
    assert said(capsys, *words, "-o", "own.py", "--force")[0] == 0


def test_a_graph_with_the_parameters_of_a_trained_model(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = dsl.load("Elman").build(D=2, H=3, seed=5)
    model.save(directory / "m.safetensors")
    assert said(capsys, "export", "m.safetensors", "--to", "onnx")[1] == "wrote out/Elman.onnx\n"
    graph = onnx.load(directory / "out" / "Elman.onnx").graph
    held = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    np.testing.assert_array_equal(held["param.W"], model.params["W"].numpy())
    assert [i.name for i in graph.input] == ["x", "lengths.t"] and [o.name for o in graph.output] == ["h"]
    before = (directory / "out" / "Elman.onnx").read_bytes()
    assert said(capsys, "export", "Elman", "D=2", "H=3", "--to", "onnx")[0] == 2
    assert (directory / "out" / "Elman.onnx").read_bytes() == before
    said(capsys, "export", "Elman", "D=2", "H=3", "--to", "onnx", "--state", "--force")
    graph = onnx.load(directory / "out" / "Elman.onnx").graph
    assert [o.name for o in graph.output] == ["h", "after.h", "after.t"]


def test_a_cell_that_draws_what_it_writes(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    status, out, _ = said(capsys, "export", "CharRNN", "K=4", "H=3", "--generating")
    assert status == 0 and "categorical_icdf(" in out and "class CharRNN_sampled(torch.nn.Module):" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Elman", "--to", "torch"], "Elman needs D, H: give D=... H=..."),
        (["Elman", "D=2", "H=3", "--generating"], "Elman draws nothing: generation needs a line such as"),
        (["Elman", "D=2", "H=3", "--to", "tensorflow"], "expected one of torch, jax, onnx"),
        (["Elman", "D=2", "H=3", "--state"], "--state is for --to onnx"),
        (["BiRNN", "D=2", "H=3", "--to", "onnx", "--state"], "cannot be carried on"),
        (["URNN", "D=2", "N=4", "--to", "onnx"], "uses complex numbers"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], directory: Path, words: list[str], message: str) -> None:
    status, _, err = said(capsys, "export", *words)
    assert status == 2 and message in err
    assert not (directory / "out").exists() or not any((directory / "out").iterdir())


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    model = dsl.load("Elman").build(D=2, H=2)
    for package in ("torch", "jax", "onnx"):
        monkeypatch.setitem(sys.modules, package, None)
    for call, extra in ((model.to_torch, "torch"), (model.to_jax, "jax"), (lambda: model.to_onnx("x.onnx"), "onnx")):
        with pytest.raises(ImportError, match=rf'pip install "tinygrad-seq\[{extra}\]"'):
            call()


def test_a_size_that_is_missing_is_asked_for_as_one_writes_it_at_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("export", "LSTM"), ("export", "LSTM", "--to", "onnx"), ("draw", "LSTM", "--view", "terms")):
        status, _, err = said(capsys, *words)
        assert (status, err) == (2, "error: LSTM needs D, H: give D=... H=...\n")
    with pytest.raises(ValueError, match=r"LSTM: D, H not given: build\(D=\.\.\., H=\.\.\.\), or like="):
        dsl.load("LSTM").build()


@pytest.mark.parametrize("command", ["plan", "adjoint", "export", "draw"])
def test_a_size_of_nothing_is_refused(capsys: pytest.CaptureFixture[str], command: str) -> None:
    status, _, err = said(capsys, command, "LSTM", "H=0")
    assert status == 2 and "would have size 0, with H=0" in err
