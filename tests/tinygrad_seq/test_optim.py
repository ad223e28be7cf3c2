"""Optimisers against torch's, exact resumption, clipping, initialisers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.initializers import INITIALIZERS, initialize
from tinygrad_seq.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSProp, norm_retraction, orthogonal_retraction

MAKERS: dict[str, Any] = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "momentum": lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: RMSProp(p, lr=0.01),
    "adagrad": lambda p: Adagrad(p, lr=0.1),
    "adam": lambda p: Adam(p, lr=0.01, weight_decay=0.02),
    "adamw": lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
}


def theirs(torch: Any, name: str, p: list[Any]) -> Any:
    o = torch.optim
    return {
        "sgd": lambda: o.SGD(p, lr=0.1),
        "momentum": lambda: o.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        "nesterov": lambda: o.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        "rmsprop": lambda: o.RMSprop(p, lr=0.01, alpha=0.99),
        "adagrad": lambda: o.Adagrad(p, lr=0.1),
        "adam": lambda: o.Adam(p, lr=0.01, weight_decay=0.02),
        "adamw": lambda: o.AdamW(p, lr=0.01, weight_decay=0.1),
    }[name]()


def params(dtype: str = "float64") -> dict[str, tg.Tensor]:
    rng = np.random.default_rng(3)
    shapes = {"W": (3, 2), "b": (3,), "s": ()}
    return {n: tg.tensor(rng.standard_normal(s), requires_grad=True, name=n, dtype=dtype) for n, s in shapes.items()}


def grads(step: int, dtype: str = "float64") -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(100 + step)
    return {n: np.asarray(rng.standard_normal(p.shape), dtype) for n, p in params().items()}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_updates_equal_torch_s(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine = params()
    peers = {n: torch.tensor(p.data.copy(), requires_grad=True) for n, p in mine.items()}
    ours, other = MAKERS[name](mine), theirs(torch, name, list(peers.values()))
    for i in range(20):
        ours.lr = 0.05 if i > 10 else ours.lr
        if i > 10:
            other.param_groups[0]["lr"] = 0.05
        g = grads(i)
        for n, p in peers.items():
            p.grad = torch.tensor(g[n])
        ours.step(g)
        other.step()
    for n, p in mine.items():
        np.testing.assert_allclose(p.data, peers[n].detach().numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(name: str, dtype: str) -> None:
    through, first = params(dtype), params(dtype)
    a, b = MAKERS[name](through), MAKERS[name](first)
    a.lr = b.lr = 0.037
    for i in range(6):
        a.step(grads(i, dtype))
    for i in range(3):
        b.step(grads(i, dtype))
    saved, values = b.state_dict(), {n: p.data.copy() for n, p in first.items()}
    assert all(isinstance(v, np.ndarray) for v in saved.values())
    resumed = {n: tg.tensor(v, requires_grad=True) for n, v in values.items()}
    c = MAKERS[name](resumed)
    c.load_state_dict(saved)
    for i in range(3, 6):
        c.step(grads(i, dtype))
    for n in through:
        assert resumed[n].dtype == dtype
        np.testing.assert_array_equal(resumed[n].data, through[n].data)
    assert c.steps == 6


def test_state_is_a_copy_and_a_foreign_one_is_refused_unchanged() -> None:
    p = params()
    adam = Adam(p)
    adam.step(grads(0))
    saved = adam.state_dict()
    adam.step(grads(1))
    assert saved["steps"] == 1 and not np.array_equal(saved["first/W"], adam.state["first"]["W"])
    with pytest.raises(ValueError, match=r"not the state of this Adam: missing beta1.*; extra momentum, velocity/W"):
        adam.load_state_dict(SGD(p).state_dict())
    wrong = adam.state_dict() | {"first/W": np.zeros(7)}
    with pytest.raises(ValueError, match=r"first/W has shape \(7,\), expected \(3, 2\)"):
        adam.load_state_dict(wrong)
    assert adam.steps == 2


def test_steps_from_tensors_gradients_and_bad_gradients() -> None:
    p = params()
    opt = SGD(p, lr=0.5)
    before = {n: t.data.copy() for n, t in p.items()}
    tg.sum(p["W"] * 2).backward()
    opt.step()
    np.testing.assert_allclose(p["W"].data, before["W"] - 1)
    np.testing.assert_array_equal(p["b"].data, before["b"])
    opt.zero_grad()
    assert p["W"].grad is None
    with pytest.raises(ValueError, match="unknown parameters: c"):
        opt.step({"c": np.ones(3)})
    with pytest.raises(ValueError, match=r"gradient of b has shape \(2,\), the parameter \(3,\)"):
        opt.step({"W": np.ones((3, 2)), "b": np.ones(2)})
    np.testing.assert_allclose(p["W"].data, before["W"] - 1)
    with pytest.raises(ValueError, match="at least one"):
        Adam({})
    with pytest.raises(ValueError, match="nesterov"):
        SGD(p, nesterov=True)


def test_kept_parameters_stay_orthogonal_through_a_thousand_updates() -> None:
    for dtype, bound in (("float64", 1e-10), ("float32", 1e-5)):
        rng = np.random.default_rng(0)
        w = tg.tensor(initialize("orthogonal", (8, 8), rng, dtype), requires_grad=True)
        opt = Adam({"W": w}, lr=1e-2, kept={"W": orthogonal_retraction})
        for _ in range(1000):
            opt.step({"W": rng.standard_normal((8, 8))})
        assert np.linalg.norm(w.data.T @ w.data - np.eye(8)) < bound and w.dtype == dtype
    z = tg.tensor(initialize("unitary", (5, 5), np.random.default_rng(0), "complex128"), requires_grad=True)
    opt = Adam({"Z": z}, lr=1e-2, kept={"Z": orthogonal_retraction})
    for _ in range(50):
        before = z.data
        opt.step({"Z": rng.standard_normal((5, 5)) + 1j * rng.standard_normal((5, 5))})
        assert np.linalg.norm(z.data - before) < 0.2  # near where the step led
    assert np.linalg.norm(z.data.conj().T @ z.data - np.eye(5)) < 1e-12
    np.testing.assert_allclose(norm_retraction(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
    with pytest.raises(ValueError, match="kept names no parameter: V"):
        Adam({"W": w}, kept={"V": orthogonal_retraction})


def test_clip_by_norm() -> None:
    g = {"a": np.array([3.0, 0.0]), "b": tg.tensor([[4.0]]), "c": None}
    assert tg.clip_by_norm(g, 10.0) == 5.0
    np.testing.assert_array_equal(g["a"], [3.0, 0.0])
    assert tg.clip_by_norm(g, 1.0) == 5.0
    np.testing.assert_allclose(g["a"], [0.6, 0])
    np.testing.assert_allclose(np.asarray(g["b"]), [[0.8]])
    large = {"a": np.full(4, 1e30, np.float32)}
    assert tg.clip_by_norm(large, 1.0) == pytest.approx(2e30) and np.allclose(large["a"], 0.5)
    for bad in (math.nan, math.inf):
        broken = {"a": np.array([1.0, bad])}
        with pytest.raises(FloatingPointError, match="not finite"):
            tg.clip_by_norm(broken, 1.0)
        assert broken["a"][0] == 1.0
    with pytest.raises(ValueError, match="above 0"):
        tg.clip_by_norm(g, 0.0)


def test_every_optimizer_descends() -> None:
    for make in MAKERS.values():
        p = {"x": tg.tensor([3.0, -2.0], requires_grad=True)}
        opt: Optimizer = make(p)
        opt.lr = 0.1
        losses = []
        for _ in range(200):
            loss = tg.sum(tg.square(p["x"]))
            losses.append(loss.item())
            opt.zero_grad()
            loss.backward()
            opt.step()
        assert losses[-1] < 0.3 * losses[0] and min(losses[:50]) > min(losses[50:])


# ---------------------------------------------------------------- initialisers


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initializers_are_deterministic_and_keep_shape_and_dtype(name: str, dtype: str) -> None:
    shape = (7,) if name in ("permutation", "chrono") else (7, 5)
    a, b, other = (initialize(name, shape, np.random.default_rng(s), dtype) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert a.shape == shape and a.dtype == dtype and a.flags.c_contiguous and np.all(np.isfinite(a))
    assert np.array_equal(a, other) == (name in ("constant", "zeros", "ones", "identity"))
    np.testing.assert_allclose(a, initialize(name, shape, np.random.default_rng(1), "float64"), rtol=1e-6)


def test_initializers_have_the_distributions_they_are_named_for() -> None:
    def make(name: str, shape: tuple[int, ...], *args: Any, dtype: Any = "float64") -> Any:
        return initialize(name, shape, np.random.default_rng(0), dtype, *args)

    g = make("glorot", (300, 500))
    assert abs(g).max() <= math.sqrt(6 / 800) and g.var() == pytest.approx(2 / 800, rel=0.02)
    assert make("he", (300, 500)).var() == pytest.approx(2 / 500, rel=0.02)
    u = make("uniform", (10_000,), -math.pi, math.pi)
    assert -math.pi <= u.min() < -3.1 < 3.1 < u.max() < math.pi
    assert make("normal", (10_000,), 1.0, 0.5).std() == pytest.approx(0.5, rel=0.03)
    for shape in ((6, 6), (8, 3), (3, 8)):
        q = make("orthogonal", shape, 2.0)
        short = q.T @ q if shape[0] >= shape[1] else q @ q.T
        np.testing.assert_allclose(short, 4 * np.eye(min(shape)), atol=1e-13)
    z = make("unitary", (6, 6), dtype="complex128")
    assert np.abs(z.imag).max() > 0.1
    np.testing.assert_allclose(z.conj().T @ z, np.eye(6), atol=1e-13)
    np.testing.assert_array_equal(make("identity", (2, 3), 0.5), [[0.5, 0, 0], [0, 0.5, 0]])
    c = make("chrono", (1000,), 50.0)
    assert 0 <= c.min() and c.max() <= math.log(49)
    assert sorted(make("permutation", (9,))) == list(range(9))
    np.testing.assert_allclose(np.linalg.norm(make("norm", (4, 7), 3.0), axis=1), 3)
    n = make("norm", (9,), dtype="complex128")
    assert np.linalg.norm(n) == pytest.approx(1) and np.abs(n.imag).max() > 0.1


def test_initializers_say_what_is_wrong() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown initializer 'gloro'"):
        initialize("gloro", (2,), rng)
    with pytest.raises(ValueError, match="orthogonal makes matrices"):
        initialize("orthogonal", (2,), rng)
    with pytest.raises(ValueError, match=r"glorot\(1, 2\)"):
        initialize("glorot", (2,), rng, "float32", 1, 2)
    with pytest.raises(ValueError, match="upper bound"):
        initialize("uniform", (2,), rng, "float32", 1, -1)
