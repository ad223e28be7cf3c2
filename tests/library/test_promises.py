"""What cells promise beside their equations: matrices that stay on their sets, and noise that belongs to its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg

Array = np.ndarray[Any, Any]


def trained(name: str, dtype: str, updates: int, **sizes: int) -> Any:
    """A model after that many large steps of Adam on random data."""
    model = dsl.load(name).build(seed=1, dtype=dtype, **sizes)
    optimizer, rng = tg.optim.Adam(model.params, lr=1e-2), np.random.default_rng(2)
    for _ in range(updates):
        run = model(rng.normal(size=(3, 2, sizes["D"])))
        optimizer.zero_grad()
        tg.mean((run[model.system.outputs[0]] - 0.3) ** 2).backward()
        optimizer.step()
    return model


def off(W: Any) -> float:
    """‖W*W - I‖."""
    W = np.asarray(W)
    return float(np.linalg.norm(W.conj().T.astype(np.complex128) @ W - np.eye(len(W))))


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 1e-5)])
def test_an_orthogonal_matrix_after_a_thousand_updates(dtype: str, bound: float) -> None:
    model = trained("OrthogonalRNN", dtype, 1000, D=2, H=5)
    start = dsl.load("OrthogonalRNN").build(seed=1, dtype=dtype, D=2, H=5).params["W"].numpy()
    assert off(model.params["W"].numpy()) < bound
    assert np.abs(model.params["W"].numpy() - start).max() > 0.1


def test_a_unitary_matrix_after_many_updates() -> None:
    model = trained("FullURNN", "float64", 300, D=2, N=5)
    assert off(model.params["W"].numpy()) < 1e-12
    assert np.abs(model.params["W"].numpy().imag).max() > 0.1


def test_rows_of_length_one_after_many_updates() -> None:
    model = trained("WeightNormRNN", "float64", 300, D=2, H=5)
    np.testing.assert_allclose(np.linalg.norm(model.params["W"].numpy(), axis=1), 1, rtol=1e-12)
    assert np.abs(model.params["g"].numpy() - 1).max() > 0.1


@pytest.mark.parametrize("name", ["URNN", "FullURNN"])
def test_without_input_a_unitary_state_keeps_its_length(name: str) -> None:
    """modrelu with a bias of 0 is the identity: what is left is the matrix, applied T times."""
    N, T = 7, 1000
    model = trained(name, "float64", 20, D=2, N=N)
    model.params["b"] = np.zeros(N)
    if name == "URNN":
        found = []
        for k in range(N):
            model.params["h0"] = np.eye(N)[k].astype(complex)
            y = model(np.zeros((T, 2)))["y"].numpy()
            found.append(y[0, :N] + 1j * y[0, N:])
        assert off(np.array(found).T) < 1e-12
    else:
        kick = np.zeros((T, 2))
        kick[0] = 1
        y = model(kick)["y"].numpy()
    lengths = np.linalg.norm(y, axis=1)
    assert lengths[0] > 0.1
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-12)


NOISY = ["Dropout", "DropoutStack", "RecurrentDropoutLSTM", "VariationalLSTM", "ZoneoutLSTM"]


@pytest.mark.parametrize("name", NOISY)
def test_noise_belongs_to_seed_sequence_and_step(name: str) -> None:
    """The same on both engines, in a replay, for one sequence alone, and in chunks; its mean outside training."""
    model = dsl.load(name).build(seed=3, dtype="float64", D=3, H=4)
    y = model.system.outputs[0]
    x, lengths = np.random.default_rng(4).normal(size=(9, 3, 3)), np.array([9, 6, 8])

    def run(engine: str = "compiled", seed: int = 11, **more: Any) -> Any:
        return model(more.pop("x", x), engine=engine, train=True, seed=seed, **more)

    whole = run(lengths=lengths)[y].numpy()
    np.testing.assert_array_equal(run(lengths=lengths)[y].numpy(), whole)
    np.testing.assert_allclose(run("tape", lengths=lengths)[y].numpy(), whole, atol=1e-12)
    assert not np.allclose(run(seed=12, lengths=lengths)[y].numpy(), whole)
    assert not np.allclose(model(x, lengths=lengths)[y].numpy(), whole)
    first = run(x=x[:, :1])[y].numpy()
    np.testing.assert_allclose(first[:, 0], whole[:, 0], atol=1e-12)
    for engine in ("compiled", "tape"):
        before = run(engine, x=x[:4], lengths=np.array([4, 4, 4]))
        after = run(engine, x=x[4:], lengths=lengths - 4, state=before.state)
        np.testing.assert_allclose(before[y].numpy(), whole[:4], atol=1e-12)
        np.testing.assert_allclose(after[y].numpy(), whole[4:], atol=1e-12)


def test_a_variational_mask_lasts_a_zoneout_mask_does_not() -> None:
    model = dsl.load("VariationalLSTM").build(seed=3, D=40, H=4)
    run = model(np.ones((5, 2, 40)), train=True, seed=1)
    masks = run["z_x"].numpy()
    assert masks.shape == (2, 40) and set(np.unique(masks)) == {0.0, 2.0} and not (masks[0] == masks[1]).all()
    model = dsl.load("ZoneoutLSTM").build(seed=3, D=2, H=40)
    run = model(np.ones((5, 2, 2)), train=True, seed=1)
    keep, c = run["d_c"].numpy(), run["c"].numpy()
    assert 0.3 < keep.mean() < 0.7 and not (keep[1:] == keep[:1]).all()
    kept = keep[1:] == 1
    np.testing.assert_array_equal(c[1:][kept], c[:-1][kept])
    assert (c[1:][~kept] != c[:-1][~kept]).all()
