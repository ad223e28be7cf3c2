"""`tgseq train`, `sample` and `demo`: a cell of the user's on the user's text, and every way that can go wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tgseq

ROOT = Path(__file__).resolve().parents[2]
TEXT = "it was the best of times, it was the worst of times, it was the age of wisdom. " * 60
LAYER = """\
cell Leaky(D, H, k=2):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-k])
"""
REGRESSION = """\
cell Forecast(D, H):
  input x[t]: D
  input y[t]: scalar
  state h[t]: H = 0
  param V, W ~ glorot
  param u: H ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1])
  e[t] = u@h[t] - y[t]
  loss mse = mean[t](e[t]*e[t])
"""
SMALL = ("--batch", "4", "--chunk", "16", "H=8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a cell, a text and a trained model in `out/Leaky`."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "leaky.cell").write_text(LAYER)
    (folder / "forecast.cell").write_text(REGRESSION)
    (folder / "book.txt").write_text(TEXT)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert tgseq.main(["train", "leaky.cell", "--data", "book.txt", "--steps", "30", *SMALL]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def told(capsys: pytest.CaptureFixture[str], *words: str, status: int = 2) -> str:
    """Run a command that must end with `status`; what it said."""
    found = tgseq.main(list(words))
    said = capsys.readouterr()
    assert "Traceback" not in said.err and "bug of tgseq" not in said.err, said.err
    assert found == status, said.out + said.err
    return said.out + said.err


Capture = pytest.CaptureFixture[str]


# ---------------------------------------------------------------- what works


def test_a_cell_without_a_loss_learns_text(place: Path) -> None:
    curves = json.loads((place / "out/Leaky/curves.json").read_text())
    assert len(curves["loss"]) == 30
    assert curves["loss"][-1] < curves["loss"][0]
    assert curves["valid"]


def test_sampling_speaks_text_and_repeats_itself_for_a_seed(capsys: Capture) -> None:
    words = ("sample", "out/Leaky", "--prime", "it was", "--length", "40", "--seed", "3")
    first = told(capsys, *words, status=0)
    assert first.startswith("it was") and len(first.rstrip("\n")) == 46
    assert told(capsys, *words, status=0) == first
    assert told(capsys, *words, "--temperature", "0", status=0) != first
    assert told(capsys, "sample", "out/Leaky/checkpoint.safetensors", "--length", "5", status=0)
    likely = told(capsys, *words[:-2], "--beam", "3", status=0)
    assert likely == told(capsys, *words[:-2], "--beam", "3", status=0) and likely.startswith("it was")


def test_sampled_numbers_come_a_line_a_step(capsys: Capture) -> None:
    import dsl

    text = """cell Walk(D):
  state y[t]: D = 0
  state e[t]: scalar = 0
  param a = 0.9
  y[t] ~ normal(mean = a*y[t-1], std = 0.5)
  e[t] ~ bernoulli(logits = sum(y[t]) + e[t-1])
"""
    dsl.parse(text).build(D=2).save("walk.safetensors")
    lines = told(capsys, "sample", "walk.safetensors", "--length", "6", "--seed", "1", status=0).splitlines()
    rows = np.array([[float(word) for word in line.split(" ")] for line in lines])
    assert rows.shape == (6, 3) and set(rows[:, 2]) <= {0.0, 1.0} and np.abs(rows[:, :2]).max() < 5


def test_arguments_of_the_cell_reach_it(capsys: Capture) -> None:
    words = ("train", "leaky.cell", "--data", "book.txt", "--steps", "2", "--out", "out/deep", "k=1", "L=2", *SMALL)
    told(capsys, *words, status=0)
    import dsl

    model = dsl.restore("out/deep/checkpoint.safetensors")
    assert {"rnn.0.W", "rnn.1.W"} <= set(model.params)
    assert "k=1" in model.origin.files["leaky.cell"]


def test_a_training_goes_on_where_it_was(capsys: Capture) -> None:
    words = ("train", "leaky.cell", "--data", "book.txt", *SMALL, "--out", "out/again")
    told(capsys, *words, "--steps", "6", status=0)
    assert "--resume goes on with it" in told(capsys, *words, "--steps", "9")
    assert "going on at step 6" in told(capsys, *words, "--steps", "9", "--resume", status=0)
    assert len(json.loads(Path("out/again/curves.json").read_text())["loss"]) == 9
    told(capsys, *words, "--steps", "3", "--force", status=0)
    assert len(json.loads(Path("out/again/curves.json").read_text())["loss"]) == 3


def test_a_table_trains_a_cell_with_a_loss(capsys: Capture) -> None:
    rows = [f"{np.sin(t / 5):.4f},{np.cos(t / 7):.4f},{np.sin((t + 1) / 5):.4f}" for t in range(600)]
    Path("waves.csv").write_text("a,b,next\n" + "\n".join(rows) + "\n")
    columns = ("--stream", "x=a,b", "--stream", "y=next")
    words = ("train", "forecast.cell", "--data", "waves.csv", *columns, "--steps", "40", "--lr", "0.02", *SMALL)
    told(capsys, *words, "D=2", status=0)
    losses = json.loads(Path("out/Forecast/curves.json").read_text())["loss"]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    "words, message",
    [
        (("leaky.cell",), "--data book.txt"),
        (("leaky.cell", "--data", "absent.txt", "H=8"), "there is no file absent.txt"),
        (("leaky.cell", "--data", ".", "H=8"), "is a directory"),
        (("leaky.cell", "--data", "empty.txt", "H=8"), "empty.txt is empty"),
        (("leaky.cell", "--data", "latin.txt", "H=8"), "latin.txt is not UTF-8 text: byte 3"),
        (("leaky.cell", "--data", "short.txt", "H=8"), "too few"),
        (("leaky.cell", "--data", "book.txt"), "Leaky needs H: give H=128"),
        (("leaky.cell", "--data", "book.txt", "H=0"), "would have size 0"),
        (("leaky.cell", "--data", "book.txt", "N=8"), "Leaky has no argument `N`; it has D, H, k, L"),
        (("forecast.cell", "--data", "book.txt", "D=2", "H=8"), "a text feeds a cell whose one stream is one_hot"),
        (("leaky.cell", "--data", "book.txt", "--stream", "x", "H=8"), "write STREAM=COLUMN"),
        (("leaky.cell", "--data", "book.txt", "H=8", "--valid", "1.5"), "valid"),
        (("leaky.cell", "--data", "book.txt", "H=8", "--lr", "-1"), "lr"),
        (("leaky.cell", "--data", "book.txt", "H=8", "--steps", "0"), "steps"),
        (("absent.cell", "--data", "book.txt", "H=8"), "absent.cell"),
        (("broken.cell", "--data", "book.txt", "H=8"), "did you mean `tanh`?"),
    ],
)
def test_a_mistake_is_one_message(words: tuple[str, ...], message: str, capsys: Capture) -> None:
    Path("empty.txt").write_text("")
    Path("latin.txt").write_bytes(b"caf\xe9")
    Path("short.txt").write_text("abc")
    Path("broken.cell").write_text(LAYER.replace("tanh", "tahn"))
    assert message in told(capsys, "train", *words, "--out", "out/never")
    assert not Path("out/never/checkpoint.safetensors").exists()


def test_a_checkpoint_that_is_none(capsys: Capture) -> None:
    whole = Path("out/Leaky/checkpoint.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[: len(whole) // 2])
    Path("foreign.safetensors").write_bytes(b"something else entirely")
    for path in ("cut.safetensors", "foreign.safetensors", "absent.safetensors"):
        assert path in told(capsys, "sample", path)


def test_a_symbol_the_model_never_saw_is_named(capsys: Capture) -> None:
    assert "'Ω'" in told(capsys, "sample", "out/Leaky", "--prime", "it was Ω")


def test_a_training_that_explodes_says_at_which_step(capsys: Capture) -> None:
    Path("square.cell").write_text(REGRESSION.replace("tanh(V@x[t] + W@h[t-1])", "(V@x[t] + W@h[t-1])**3"))
    random = np.random.default_rng(0)
    np.savez("large.npz", x=1e3 * random.standard_normal((400, 2)), y=random.standard_normal(400))
    words = ("train", "square.cell", "--data", "large.npz", "--steps", "50", "D=2", "--out", "out/square", *SMALL)
    assert "error: step 1: the loss is" in told(capsys, *words, status=1)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser writes everywhere")
def test_a_folder_that_cannot_be_written(capsys: Capture) -> None:
    Path("locked").mkdir(mode=0o500)
    assert "locked" in told(capsys, "train", "leaky.cell", "--data", "book.txt", "--out", "locked/run", *SMALL)


def test_a_file_in_the_place_of_the_folder(capsys: Capture) -> None:
    Path("occupied").write_text("")
    assert "occupied" in told(capsys, "train", "leaky.cell", "--data", "book.txt", "--out", "occupied", *SMALL)


@pytest.mark.skipif(os.name != "posix", reason="signals are sent the POSIX way")
def test_ctrl_c_keeps_the_checkpoint_and_says_how_to_go_on() -> None:
    words = [sys.executable, "-u", "-m", "tgseq", "train", "leaky.cell", "--data", "book.txt", "--out", "out/stopped"]
    process = subprocess.Popen(
        [*words, *SMALL, "--steps", "1000000"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not Path("out/stopped").exists() and time.monotonic() < deadline:  # it is made right before the first step
        time.sleep(0.2)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "stopped at step" in said and "Traceback" not in said
    assert Path("out/stopped/checkpoint.safetensors").exists()
    assert tgseq.main(["sample", "out/stopped", "--length", "5"]) == 0


# ---------------------------------------------------------------- the demo


def test_the_demo_shows_learns_and_leaves_everything(capsys: Capture) -> None:
    said = told(capsys, "demo", "--minutes", "0.1", "--out", "demo", status=0)
    for shown in ("c[t] = f[t]*c[t-1] + i[t]*g[t]", "z_f_bar[t] =", "unigram", "bigram", "this model"):
        assert shown in said
    left = {p.name for p in Path("demo").iterdir()}
    equations = {"LSTM.cell", "LSTM.tex", "LSTM.adjoint.cell", "LSTM.adjoint.tex", "LSTM.plan.txt"}
    pictures = {"LSTM.folded.svg", "LSTM.unrolled.svg", "CharRNN.gradient-flow.svg", "loss.svg"}
    assert equations | pictures | {"checkpoint.safetensors", "curves.json"} <= left
    baselines = [float(line.split()[-1]) for line in said.splitlines() if line.startswith(("unigram", "bigram"))]
    assert baselines == pytest.approx([3.25, 2.46], abs=0.15)  # the text differs a little between Python versions
    assert "demo holds an earlier demo; its files are replaced" in told(
        capsys, "demo", "--minutes", "0.01", "--out", "demo", status=0
    )
