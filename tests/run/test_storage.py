"""Files: what is saved comes back, whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import tinygrad_seq as tg
from dsl.run import storage
from dsl.run.model import Model
from dsl.run.storage import restore
from dsl.spec import load, parse
from tests.run.cells import LETTERS, SEQUENCE, build


def equal(one: Model, two: Model) -> None:
    assert list(one.params) == list(two.params)
    for name in one.params:
        np.testing.assert_array_equal(one.params[name].numpy(), two.params[name].numpy())
        assert one.params[name].dtype == two.params[name].dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip(tmp_path: Path, dtype: str) -> None:
    model = build(SEQUENCE, dtype=dtype, seed=3, D=2, H=4)
    other = restore(model.save(tmp_path / "deep" / "m.safetensors"))
    equal(model, other)
    x = np.random.default_rng(0).normal(size=(5, 2, 2))
    np.testing.assert_array_equal(model(x, engine="tape").h.numpy(), other(x, engine="tape").h.numpy())
    assert repr(other) == repr(model)


@pytest.mark.parametrize("remat", [False, True])
def test_how_it_trains_comes_back(tmp_path: Path, remat: bool) -> None:
    model = load("Elman").build(D=2, H=3, remat=remat)
    assert (restore(model.save(tmp_path / "m.safetensors")).segments is not None) == remat


def test_cells_as_arguments_sizes_and_symbols_come_back(tmp_path: Path) -> None:
    model = load("CharRNN", Cell="GRU").build(K=3, H=4, L=2)
    model.symbols = ("a", "ß", "\n")
    other = restore(model.save(tmp_path / "m.safetensors"))
    equal(model, other)
    assert "rnn.1.W_z" in other.params or any("rnn.1." in n for n in other.params)
    assert other.symbols == model.symbols
    np.testing.assert_array_equal(other.encode("ß\n"), [1, 2])


def test_imports_travel_along(tmp_path: Path) -> None:
    (tmp_path / "parts.cell").write_text(
        "def twice(z) = 2*z\ncell Inner(H):\n  input x[t]: H\n  a[t] = twice(x[t])\n  output a\n"
    )
    main = tmp_path / "main.cell"
    main.write_text(
        "from parts import Inner\n\ncell Outer(H):\n  input x[t]: H\n  param w: H ~ normal\n"
        "  use i = Inner(x=x)\n  y[t] = w*i[t]\n  output y\n"
    )
    model = load(f"{main}:Outer").build(H=3)
    path = model.save(tmp_path / "m.safetensors")
    for file in tmp_path.glob("*.cell"):
        file.unlink()
    other = restore(path)
    x = np.ones((2, 3))
    np.testing.assert_array_equal(other(x, engine="tape").y.numpy(), model(x, engine="tape").y.numpy())


def test_optimizer_state_comes_back(tmp_path: Path) -> None:
    model = build(SEQUENCE, D=2, H=3)
    optimizer = tg.optim.Adam(model.params.trained, lr=0.01)
    x = np.random.default_rng(0).normal(size=(5, 2, 2))
    for _ in range(3):
        optimizer.step(model.value_and_grad(x, engine="tape")[1])
    other = restore(model.save(tmp_path / "m.safetensors", optimizer=optimizer))
    again = tg.optim.Adam(other.params.trained, lr=0.5)
    again.load_state_dict(other.optimizer_state)
    for m, o in ((model, optimizer), (other, again)):
        o.step(m.value_and_grad(x, engine="tape")[1])
    equal(model, other)
    assert restore(build(SEQUENCE, D=2, H=3).save(tmp_path / "n.safetensors")).optimizer_state is None


def test_every_truncation_is_one_clear_message(tmp_path: Path) -> None:
    path = build(LETTERS, K=3, H=2).save(tmp_path / "m.safetensors")
    content = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(
            ValueError, match=r"m\.safetensors is (no saved model, or only the beginning|damaged or cut off)"
        ):
            restore(path)


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    with pytest.raises(ValueError, match="there is no file"):
        restore(path)
    with pytest.raises(ValueError, match="there is no file"):
        restore(tmp_path)
    path.write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(ValueError, match="is no saved model"):
        restore(path)
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}))
    with pytest.raises(ValueError, match="not a model saved here"):
        restore(path)
    path.write_bytes(
        safetensors.numpy.save({"a": np.zeros(3)}, {"format": storage.FORMAT, "version": "9", "about": "{}"})
    )
    with pytest.raises(ValueError, match="saved by a later version"):
        restore(path)
    path.write_bytes(
        safetensors.numpy.save({"a": np.zeros(3)}, {"format": storage.FORMAT, "version": "1", "about": "{}"})
    )
    with pytest.raises(ValueError, match="is damaged: it lacks 'cell'"):
        restore(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build(LETTERS, K=3, H=2).save(tmp_path / "m.safetensors")
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="cannot write .*No space left on device; the file that was there is untouched"):
        build(LETTERS, K=3, H=2, seed=1).save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_model_without_source_cannot_be_saved(tmp_path: Path) -> None:
    model = Model(parse(SEQUENCE, D=2, H=3).system)
    with pytest.raises(ValueError, match="built from a system, not from a text"):
        model.save(tmp_path / "m.safetensors")
