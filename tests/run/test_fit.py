"""Training: it learns, it says what goes wrong, and a killed one goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.run.data import Text
from dsl.run.job import CURVES
from dsl.run.model import Model
from dsl.run.progress import Progress
from dsl.run.storage import BEST, CHECKPOINT, restore
from dsl.spec import load, parse
from tests.run.cells import LETTERS, SEQUENCE, build

TEXT = "the cat sat on the mat. " * 40


def letters(seed: int = 0) -> tuple[Model, Text]:
    text = Text.of(TEXT)
    return build(LETTERS, seed=seed, K=len(text.symbols), H=8), text


def weights(model: Model) -> dict[str, np.ndarray]:
    return {n: t.numpy().copy() for n, t in model.params.items()}


def same(one: Model, two: Model) -> None:
    for name in one.params:
        np.testing.assert_array_equal(one.params[name].numpy(), two.params[name].numpy(), err_msg=name)


SETTINGS = {"batch": 4, "chunk": 6, "clip": 1.0, "engine": "tape", "progress": False, "valid": 0.1}


def optimizer(model: Model) -> tg.optim.Adam:
    return tg.optim.Adam(model.params.trained, lr=0.02)


# ---------------------------------------------------------------- learning


def test_a_language_model_learns_and_speaks(engine: str) -> None:
    model, text = letters()
    done = model.fit(y=text.ids, optimizer=optimizer(model), steps=150, **{**SETTINGS, "engine": engine})
    assert done.curves.loss[0] > 2.2 and done.valid < 0.5
    assert done.steps == len(done.curves.loss) == len(done.curves.gradient_norm) == 150 and not done.interrupted
    assert model.symbols == text.symbols
    assert model.generate(24, prime="the c", greedy=True, engine=engine).startswith("the cat sat on the mat. ")


def test_engines_train_alike() -> None:
    runs = {}
    for engine in ("tape", "compiled"):
        model, text = letters()
        runs[engine] = model.fit(y=text, optimizer=optimizer(model), steps=12, **{**SETTINGS, "engine": engine})
    np.testing.assert_allclose(runs["tape"].curves.loss, runs["compiled"].curves.loss, rtol=1e-9)
    np.testing.assert_allclose(runs["tape"].curves.gradient_norm, runs["compiled"].curves.gradient_norm, rtol=1e-8)


def test_the_first_chunks_are_the_whole_sequence_cut(engine: str) -> None:
    """Carried state makes the losses of chunks those of one run over all their steps."""
    model, text = letters()
    ids = text.ids[:48]
    frozen = tg.optim.SGD(model.params.trained, lr=0.0)
    done = model.fit(y=ids, optimizer=frozen, batch=2, chunk=6, steps=4, engine=engine, progress=False)
    whole = model(y=np.stack([ids[:24], ids[24:]], axis=1), engine="tape").steps["nll"].numpy()
    np.testing.assert_allclose(done.curves.loss, whole.reshape(4, 6, 2).mean(axis=(1, 2)), rtol=1e-10)


def test_supervised_sequences_ragged(engine: str) -> None:
    rng = np.random.default_rng(0)
    model = load("Classifier").build(D=1, K=2, H=6, dtype="float64")
    classes = rng.integers(0, 2, 60)
    x = [rng.normal(size=(rng.integers(2, 7), 1)) + (1 if k else -1) for k in classes]
    name = next(n for n, s in model.system.streams.items() if s.kind in ("input", "draw") and s.dtype == "category")
    done = model.fit(
        x=x, optimizer=optimizer(model), steps=60, batch=16, valid=0.2, engine=engine, progress=False, **{name: classes}
    )
    assert done.valid < 0.35 < done.curves.loss[0]


def test_a_cell_that_cannot_carry_trains_chunk_by_chunk() -> None:
    cell = SEQUENCE.replace("S@h[t-3]", "S@x2[t]").replace("output h", "x2[t] = W@h[t-1]*len(t)\n  output h")
    model = parse(cell).build(D=2, H=3)
    done = model.fit(
        x=np.random.default_rng(0).normal(size=(60, 2)), batch=3, chunk=5, steps=8, engine="tape", progress=False
    )
    assert np.isfinite(done.curves.loss).all()


# ---------------------------------------------------------------- going on


def test_resume_reaches_the_same_weights(tmp_path: Path, engine: str) -> None:
    settings = {**SETTINGS, "engine": engine}
    whole, text = letters()
    model, _ = letters()
    whole.fit(y=text, optimizer=optimizer(whole), steps=25, **settings)
    model.fit(y=text, optimizer=optimizer(model), steps=11, out=tmp_path, **settings)
    other, _ = letters(seed=9)  # nothing of it may matter
    done = other.fit(y=text, optimizer=optimizer(other), steps=25, out=tmp_path, resume=True, **settings)
    same(whole, other)
    assert done.steps == 25 and len(done.curves.loss) == 25
    same(whole, restore(tmp_path / CHECKPOINT))


def test_shuffled_batches_resume_too(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 20, 2))
    settings = {"batch": 6, "engine": "tape", "progress": False}
    models = [build(SEQUENCE, D=2, H=3) for _ in range(3)]
    models[0].fit(x=x, steps=12, **settings)
    models[1].fit(x=x, steps=5, out=tmp_path, **settings)
    models[2].fit(x=x, steps=12, out=tmp_path, resume=True, **settings)
    same(models[0], models[2])


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from tests.run.test_fit import SETTINGS, letters, optimizer
model, text = letters()
def slow(step, loss, norm):
    import time; time.sleep(0.01); print(step, flush=True)
settings = {{**SETTINGS, "progress": True, "save_every": 7, "on_step": slow}}
model.fit(y=text, optimizer=optimizer(model), steps=400, out={out!r}, **settings)
"""


def start(tmp_path: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[2])
    script = SCRIPT.format(root=root, out=str(tmp_path / "out"))
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root
    )


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdigit() and int(line) >= step:
            return
    raise AssertionError(process.communicate())


@pytest.mark.slow
def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for_step(process, 23)
    process.kill()
    process.communicate()
    stored = restore(tmp_path / "out" / CHECKPOINT)
    whole, text = letters()
    whole.fit(y=text, optimizer=optimizer(whole), steps=60, **SETTINGS)
    model, _ = letters(seed=4)
    done = model.fit(y=text, optimizer=optimizer(model), steps=60, out=tmp_path / "out", resume=True, **SETTINGS)
    same(whole, model)
    assert done.steps == 60 and any((stored.params[n].numpy() != model.params[n].numpy()).any() for n in model.params)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX here")
def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for_step(process, 12)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err
    assert "of 400; kept" in out.replace("\n", " ") and "resume=True" in out
    step = len(json.loads((tmp_path / "out" / CURVES).read_text())["loss"])
    whole, text = letters()
    whole.fit(y=text, optimizer=optimizer(whole), steps=step, **SETTINGS)
    same(whole, restore(tmp_path / "out" / CHECKPOINT))
    assert 12 <= step < 400


# ---------------------------------------------------------------- files


def test_curves_and_checkpoint_are_written(tmp_path: Path) -> None:
    model, text = letters()
    done = model.fit(y=text, steps=5, out=tmp_path / "new" / "out", valid_every=2, **SETTINGS)
    curves = json.loads((tmp_path / "new" / "out" / CURVES).read_text())
    assert curves["loss"] == done.curves.loss and [s for s, _ in curves["valid"]] == [2, 4, 5]
    assert done.checkpoint == tmp_path / "new" / "out" / CHECKPOINT
    assert restore(done.checkpoint).generate(5, engine="tape") is not None


def test_an_earlier_training_is_not_overwritten_silently(tmp_path: Path) -> None:
    model, text = letters()
    model.fit(y=text, steps=3, out=tmp_path, **SETTINGS)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(
        ValueError, match="holds a training at step 3: resume=True goes on with it, resume=False starts anew"
    ):
        model.fit(y=text, steps=3, out=tmp_path, **SETTINGS)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    model.fit(y=text, steps=4, out=tmp_path, resume=False, **SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk": 7}, "made with chunk=6, now chunk=7"),
        ({"y": Text.of(TEXT[::-1])}, "made with data="),
        ({"optimizer": "SGD"}, "made with Adam, now with SGD"),
        ({"H": 9}, "the cell or its sizes are not those of"),
    ],
)
def test_resume_of_another_training(tmp_path: Path, change: dict[str, object], message: str) -> None:
    model, text = letters()
    model.fit(y=text, steps=2, out=tmp_path, optimizer=optimizer(model), **SETTINGS)
    other = build(LETTERS, K=len(text.symbols), H=change.get("H", 8))
    other_optimizer = tg.optim.SGD(other.params.trained) if "optimizer" in change else optimizer(other)
    settings = {**SETTINGS, **{k: v for k, v in change.items() if k == "chunk"}}
    with pytest.raises(ValueError, match=message):
        other.fit(y=change.get("y", text), steps=4, out=tmp_path, resume=True, optimizer=other_optimizer, **settings)


def test_resume_needs_something_to_resume(tmp_path: Path) -> None:
    model, text = letters()
    with pytest.raises(ValueError, match="resume: there is no"):
        model.fit(y=text, steps=2, out=tmp_path, resume=True, **SETTINGS)
    with pytest.raises(ValueError, match="which checkpoint"):
        model.fit(y=text, steps=2, resume=True, **SETTINGS)


def test_an_output_folder_that_cannot_be_written_is_noticed_before_training(tmp_path: Path) -> None:
    model, text = letters()
    before = weights(model)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write"):
        model.fit(y=text, steps=2, out=tmp_path / "file" / "out", **SETTINGS)
    np.testing.assert_array_equal(before["W"], model.params["W"].numpy())


# ---------------------------------------------------------------- what goes wrong


def test_an_explosion_names_the_step_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    cell = """
cell Blow(D):
  input x[t]: D
  state h[t]: D = 1
  param w: D ~ normal
  h[t] = h[t-1]*w*x[t]
  loss e = mean[t](sum(h[t]*h[t]))
"""
    model = parse(cell).build(D=1, dtype="float32")
    x = np.full((40, 4, 1), 2.0)
    sgd = tg.optim.SGD(model.params.trained, lr=5.0)
    with (
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match=r"step \d+: the (loss is|gradient is not finite)") as error,
    ):
        model.fit(
            x=x, optimizer=sgd, batch=4, steps=400, clip=None, save_every=1, out=tmp_path, engine="tape", progress=False
        )
    assert "holds the last good state" in str(error.value)
    assert all(np.isfinite(t.numpy()).all() for t in restore(tmp_path / CHECKPOINT).params.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"missing y, which nll needs: fit\(y=\.\.\.\)"),
        ({"z": [1]}, "Letters has no stream z; it has y"),
        ({"y": np.zeros(0, int)}, "empty: nothing to learn from"),
        ({"y": np.array([0, 1, 99])}, "given 99"),
        ({"y": np.zeros(3, int)}, "3 steps are too few for 4 streams"),
        ({"y": Text.of("".join(map(chr, range(40, 90))))}, r"the text has 50 symbols, the model 11: build\(K=50\)"),
        ({"y": np.zeros(99, int), "valid": 1.5}, r"valid: expected a share in \[0, 1\), given 1.5"),
        ({"y": np.zeros(99, int), "batch": 0}, "batch and chunk: expected 1 or more, given 0 and 6"),
        ({"y": np.zeros(99, int), "loss": "mse"}, "no loss mse"),
    ],
)
def test_bad_calls(given: dict[str, object], message: str) -> None:
    model, _ = letters()
    with pytest.raises(ValueError, match=message):
        model.fit(steps=1, **{**SETTINGS, **given})


# ---------------------------------------------------------------- what is shown


def test_the_line() -> None:
    watch = Progress(100, 50, categorical=True, shown=False)
    with watch:
        time.sleep(0.5)  # the first step compiles: that is not its speed
        watch.update(1, 2.0, 0.5)
        time.sleep(0.01)
        watch.update(2, 2.0, 0.5)
        watch.measured(2, {"validation": 1.5, "accuracy": 0.25})
    assert watch.speed() > 50 / 0.4 and watch.left() < 98 * 0.4
    line = watch.line()
    for part in (
        "step 2/100",
        "loss 2.0000 (2.885 bits)",
        "validation 1.5000 (2.164 bits)",
        "accuracy 0.25",
        "|g| 0.5",
        "tokens/s",
        "left",
    ):
        assert part in line


def test_a_time_limit_ends_a_training_with_a_validation() -> None:
    model, text = letters()
    done = model.fit(y=text, **{**SETTINGS, "steps": 10**6, "valid": 0.2, "valid_every": 10**6}, seconds=0.3)
    assert 1 < done.steps < 10**6 and not done.interrupted
    assert [step for step, _ in done.curves.valid] == [done.steps]


def test_samples_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    model, text = letters()
    settings = {**SETTINGS, "progress": True}
    model.fit(
        y=text, steps=3, sample_seconds=1e-9, sample=lambda m: m.generate(5, prime="the", engine="tape"), **settings
    )
    out = capsys.readouterr().out
    assert out.count("── step") == 3 and "the" in out and "step 3/3" in out


def test_sequences_on_two_axes(engine: str) -> None:
    rng = np.random.default_rng(0)
    model = load("Translate").build(K_in=5, K=4, H=8, A=4, dtype="float64")
    x = [rng.integers(0, 4, n) for n in rng.integers(2, 5, 40)]
    y = [s[::-1].copy() for s in x]  # to be reversed
    done = model.fit(x=x, y=y, optimizer=optimizer(model), steps=80, batch=10, engine=engine, progress=False)
    assert done.curves.loss[-1] < 0.7 * done.curves.loss[0]


# ---------------------------------------------------------------- sources, measures, the end of a training


def ones(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Sequences whose sum is to be told: x (5, 4, 1), y (4,)."""
    x = random.uniform(-1, 1, (5, 4, 1))
    return {"x": x, "y": x.sum(0)}


ADDER = """
cell Adder(H):
  input x[t]: 1
  input y: 1
  state h[t]: H = 0
  param V, W, U ~ glorot
  h[t] = V@x[t] + W@h[t-1]
  z = U@last(h)
  loss mse = sum((z - y)**2)
"""


def adder() -> Model:
    return parse(ADDER).build(H=3, seed=0, dtype="float64")


def test_a_source_makes_every_batch_and_a_training_goes_on_with_it(tmp_path: Path) -> None:
    whole, parts = adder(), adder()
    options = {"source": ones, "engine": "tape", "progress": False}
    done = whole.fit(optimizer=optimizer(whole), steps=40, **options)
    parts.fit(optimizer=optimizer(parts), steps=15, out=tmp_path, **options)
    again = adder()
    again.fit(optimizer=optimizer(again), steps=40, out=tmp_path, resume=True, **options)
    same(whole, again)
    assert done.curves.loss[-1] < 0.5 * done.curves.loss[0]


def test_a_training_that_had_reached_its_end_stays_there(tmp_path: Path) -> None:
    """Taken up again, with more steps allowed, it makes none: what ended it is in what was kept."""
    test = ones(np.random.default_rng(1))
    options = {"source": ones, "engine": "tape", "progress": False, "steps": 400, "valid_every": 10, "out": tmp_path}
    options |= {"evaluate": lambda m: {"mse": float(m(**test).mse.data)}, "until": lambda found: found["mse"] < 0.1}
    whole, again = adder(), adder()
    done = whole.fit(optimizer=optimizer(whole), **options)
    more = again.fit(optimizer=optimizer(again), resume=True, **options)
    same(whole, again)
    assert done.reached and more.reached and more.steps == done.steps < 400
    assert more.measures == done.measures
    further = adder()
    options["until"] = lambda found: found["mse"] < 0.5 * done.measures["mse"]  # another end: it goes on
    assert further.fit(optimizer=optimizer(further), resume=True, **options).steps > done.steps


def test_measures_are_kept_and_end_a_training(tmp_path: Path) -> None:
    model, test = adder(), ones(np.random.default_rng(1))
    done = model.fit(
        source=ones,
        optimizer=optimizer(model),
        steps=5000,
        valid_every=10,
        evaluate=lambda m: {"error": float(m(**test, engine="tape").mse.data)},
        until=lambda found: found["error"] < 0.1,
        out=tmp_path,
        engine="tape",
        progress=False,
    )
    assert done.reached and done.steps < 5000 and done.steps % 10 == 0
    errors = dict(done.curves.measures["error"])
    assert list(errors) == list(range(10, done.steps + 1, 10))
    assert done.measures == {"error": errors[done.steps]} and errors[done.steps] < 0.1 <= errors[done.steps - 10]
    assert json.loads((tmp_path / CURVES).read_text())["measures"]["error"][-1] == [done.steps, errors[done.steps]]
    steps, values = done.curves.measured("error")
    assert dict(zip(steps.tolist(), values.tolist(), strict=True)) == errors
    with pytest.raises(ValueError, match="'mse' was not measured; there is 'error'"):
        done.curves.measured("mse")


def test_patience_ends_a_training_that_overfits_with_its_best_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pure noise cannot be learned: what is held out gets worse, and the best weights come back."""
    random = np.random.default_rng(0)
    data = {"x": random.normal(size=(5, 24, 1)), "y": random.normal(size=(24, 1))}
    model = adder()
    found: dict[int, dict[str, np.ndarray]] = {}
    done = model.fit(
        optimizer=tg.optim.Adam(model.params.trained, lr=0.05),
        batch=8,
        steps=4000,
        valid=0.5,
        valid_every=5,
        patience=3,
        best=True,
        out=tmp_path,
        engine="tape",
        on_step=lambda step, loss, norm: found.__setitem__(step, weights(model)),
        **data,
    )
    assert done.best is not None
    step, value = done.best
    said = capsys.readouterr().out
    assert f"stopped at step {done.steps}: no better validation in 3 since step {step}" in said
    assert done.steps == step + 15 and done.valid > value == min(v for _, v in done.curves.valid)
    for name, array in found[step].items():
        np.testing.assert_array_equal(model.params[name].numpy(), array)
        np.testing.assert_array_equal(restore(tmp_path / BEST).params[name].numpy(), array)


def test_a_schedule_multiplies_the_rate_and_outlives_a_resume(tmp_path: Path) -> None:
    rates: dict[int, float] = {}

    def train(steps: int, resume: bool | None) -> None:
        model = adder()
        opt = tg.optim.SGD(model.params.trained, lr=0.1)
        model.fit(
            source=ones,
            optimizer=opt,
            schedule=tg.schedules.linear(10),
            steps=steps,
            out=tmp_path,
            resume=resume,
            engine="tape",
            progress=False,
            on_step=lambda step, loss, norm: rates.__setitem__(step, opt.lr),
        )

    train(4, None)
    train(10, True)
    assert list(rates.values()) == pytest.approx([0.1 * (1 - s / 10) for s in range(1, 11)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": ones, "valid": 0.1}, "a source has nothing to hold out"),
        ({"source": ones, "x": np.zeros((5, 4, 1))}, "source makes every stream; x cannot be given as well"),
        ({"source": ones, "patience": 2}, "patience needs held-out data"),
        ({"source": lambda random: {"x": np.zeros((5, 4, 1))}}, "missing input y, needed for mse"),
        ({"source": lambda random: {"x": np.zeros((5, 4, 2)), "y": np.zeros((4, 1))}}, "x: expected"),
    ],
)
def test_a_source_and_the_rest_must_fit(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adder().fit(steps=2, engine="tape", progress=False, **options)
