"""Rows 9-11, 13, 17: backpropagation through time, term by term.

The net is the lectures': h[t] = tanh(V@x[t] + W@h[t-1] + b), z[t] = U@h[t] + b_y, a cross-entropy at every step.
`Hand` computes it with explicit Jacobians and nothing else.
"""

from __future__ import annotations

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from tests.systems.test_rows import build, randomise
from tinygrad_seq.tape import nodes

NET = """
cell Net(D, H, K):
  input x[t]: D
  input h0: H
  state y[t]: one_hot K = none
  state h[t]: H = h0
  param V, W ~ glorot
  param U: (K, H) ~ glorot
  param b, b_y = 0
  h[t] = tanh(V@x[t] + W@h[t-1] + b)
  y[t] ~ categorical(logits = U@h[t] + b_y)
  loss nll = -sum[t](logprob(y[t]))
  output h
"""
D, H, K, T = 3, 4, 5, 6


class Hand:
    """Values and the local Jacobians of one sequence."""

    def __init__(self, model, x, y, h0):
        self.p = p = {n: v.numpy() for n, v in model.params.items()}
        self.x, self.y = x, y
        self.h = [h0]
        for step in x:
            self.h.append(np.tanh(p["V"] @ step + p["W"] @ self.h[-1] + p["b"]))
        self.z_bar = []
        for h, target in zip(self.h[1:], y, strict=True):
            z = p["U"] @ h + p["b_y"]
            e = np.exp(z - z.max())
            self.z_bar.append(e / e.sum() - np.eye(len(z))[target])

    def slope(self, t):
        return np.diag(1 - self.h[t + 1] ** 2)

    def between(self, t, k):
        """dh[t]/dh[k], the product of the steps' Jacobians."""
        product = np.eye(len(self.h[0]))
        for i in range(t, k, -1):
            product = product @ self.slope(i) @ self.p["W"]
        return product

    def recurrent(self, t, first=0):
        """dL[t]/dW, dL[t]/dV and dL[t]/db, the steps k = first..t of the sum."""
        total = {"W": 0.0, "V": 0.0, "b": 0.0}
        for k in range(first, t + 1):
            direct = self.z_bar[t] @ self.p["U"] @ self.between(t, k) @ self.slope(k)
            total["W"] = total["W"] + np.outer(direct, self.h[k])
            total["V"] = total["V"] + np.outer(direct, self.x[k])
            total["b"] = total["b"] + direct
        return total

    def output(self, t):
        return {"U": np.outer(self.z_bar[t], self.h[t + 1]), "b_y": self.z_bar[t]}


@pytest.fixture(scope="module")
def net():
    model = randomise(build(NET, D=D, H=H, K=K), 1)
    rng = np.random.default_rng(2)
    x, y, h0 = rng.normal(size=(T, 1, D)), rng.integers(0, K, (T, 1)), rng.normal(size=(1, H))
    return model, {"x": x, "y": y, "h0": h0}, Hand(model, x[:, 0], y[:, 0], h0[0])


def gradients_of(model, scalar):
    for p in model.params.values():
        p.grad = None
    scalar.backward()
    return {n: p.grad.numpy().copy() if p.grad is not None else np.zeros(p.shape) for n, p in model.params.items()}


def test_row_09_a_gradient_is_the_sum_of_its_steps(net):
    model, data, hand = net
    total = model.value_and_grad(**data)[1]
    each = [gradients_of(model, model(**data, engine="tape").steps["nll"][t, 0]) for t in range(T)]
    for name in ("U", "V", "W", "b", "b_y"):
        np.testing.assert_allclose(sum(g[name] for g in each), total[name], rtol=1e-12, atol=1e-15, err_msg=name)
    for t, g in enumerate(each):
        for name, value in (hand.recurrent(t) | hand.output(t)).items():
            np.testing.assert_allclose(g[name], value, rtol=1e-12, atol=1e-15, err_msg=f"{name} at {t}")


def test_row_10_the_product_of_jacobians(net):
    """The whole sum over k equals the tape; its last term alone does not; V needs the sum, U does not."""
    model, data, hand = net
    t = T - 1
    g = gradients_of(model, model(**data, engine="tape").steps["nll"][t, 0])
    full, last = hand.recurrent(t), hand.recurrent(t, first=t)
    for name in ("W", "V", "b"):
        np.testing.assert_allclose(g[name], full[name], rtol=1e-12, atol=1e-15)
        assert np.abs(g[name] - last[name]).max() > 1e-3 * np.abs(g[name]).max(), name
    np.testing.assert_allclose(g["U"], hand.output(t)["U"], rtol=1e-12)


def test_row_11_the_jacobian_of_a_step(net):
    model, data, hand = net
    for t in (0, 3):
        one = {"x": data["x"][t : t + 1], "y": data["y"][t : t + 1]}
        step = tg.jacobian(lambda h, one=one: tg.reshape(model(**one, h0=tg.reshape(h, (1, H)), engine="tape").h, (H,)))
        np.testing.assert_allclose(step(hand.h[t]), hand.slope(t) @ hand.p["W"], rtol=1e-12)
    far = tg.jacobian(lambda h: tg.reshape(model(**{**data, "h0": tg.reshape(h, (1, H))}, engine="tape").h[-1], (H,)))
    np.testing.assert_allclose(far(hand.h[0]), hand.between(T - 1, -1), rtol=1e-11)  # diag(f') W, T times


LM = {"K": 4, "H": 5, "dtype": "float64"}


@pytest.mark.parametrize("engine", ["compiled", "tape"])
def test_row_13_truncated_bptt(engine):
    """One chunk is the full gradient; later chunks see the past but send no gradient to it; memory is constant."""
    model = randomise(dsl.load("CharRNN").build(**LM), 3)
    y = np.random.default_rng(4).integers(0, 4, (12, 2))
    whole, grads = model.value_and_grad(y=y, engine=engine)
    state, losses, sums, sizes = None, [], {n: 0.0 for n in grads}, []
    for start in range(0, 12, 4):
        (loss, run), g = model.value_and_grad(y=y[start : start + 4], state=state, has_aux=True, engine=engine)
        state = run.state
        losses.append(loss / 3)
        sums = {n: sums[n] + g[n] / 3 for n in g}
        sizes.append(len(nodes(model(y=y[start : start + 4], state=state, engine="tape").nll)))
    np.testing.assert_allclose(sum(losses), whole, rtol=1e-12)  # the forward influence is all there
    assert max(np.abs(sums[n] - grads[n]).max() for n in grads) > 1e-6  # the backward one is cut
    assert sizes[1] == sizes[2]
    # the gradient past the chunk is exactly 0: a loss of the second chunk by an input of the first
    text = "cell C(D, H):\n  input x[t]: D\n  use rnn = LSTM(x=x, H=H)\n  output rnn.h\n"
    cell = randomise(build(text, D=3, H=4), 5)
    x = tg.tensor(np.random.default_rng(6).normal(size=(8, 1, 3)), requires_grad=True)
    first = cell(x=x[:4], engine=engine)
    second = cell(x=x[4:], state=first.state, engine=engine)
    tg.sum(second["rnn.h"]).backward()
    np.testing.assert_array_equal(x.grad.numpy()[:4], 0)
    assert np.abs(x.grad.numpy()[4:]).min() > 0
    other = cell(x=np.concatenate([x.numpy()[:4] + 1, x.numpy()[4:]])[:4], engine=engine)
    moved = cell(x=x[4:], state=other.state, engine=engine)
    assert np.abs(moved["rnn.h"].numpy() - second["rnn.h"].numpy()).max() > 1e-3


def test_row_13_a_chunk_of_everything_is_the_whole_gradient():
    """What `fit` learns from one chunk of all steps is the gradient; from a third of them it is another's."""
    y = np.random.default_rng(4).integers(0, 4, 24)  # two streams of 12 steps
    for chunk, same in ((12, True), (4, False)):
        model = randomise(dsl.load("CharRNN").build(**LM), 3)
        before = {name: value.numpy().copy() for name, value in model.params.items()}
        _, grads = model.value_and_grad(y=y.reshape(2, 12).T)
        optimizer = tg.optim.SGD(model.params.trained, lr=1.0)
        model.fit(y=y, batch=2, chunk=chunk, steps=1, clip=None, optimizer=optimizer, progress=False)
        off = max(np.abs(before[name] - model.params[name].numpy() - g).max() for name, g in grads.items())
        assert (off < 1e-14) if same else off > 1e-2


def test_row_17_clipping():
    rng = np.random.default_rng(7)
    grads = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}

    def norm(g):
        return np.sqrt(sum(np.sum(v**2) for v in g.values()))

    before, size = {n: v.copy() for n, v in grads.items()}, norm(grads)
    assert np.isclose(tg.clip_by_norm(grads, 10 * size), size)
    for name in grads:
        np.testing.assert_array_equal(grads[name], before[name])  # nothing to do below the bound
    tg.clip_by_norm(grads, 0.5)
    assert norm(grads) <= 0.5 * (1 + 1e-12)
    for name in grads:  # the direction stays
        np.testing.assert_allclose(grads[name] / norm(grads), before[name] / size, rtol=1e-12)

    # a cliff: 50 steps of h = sigmoid(w*h + b) from h0, loss (h - 0.7)**2; beside it lies a wall
    cliff = """
cell Cliff():
  input x[t]: scalar
  state h[t]: scalar = 0.5
  param w, b: scalar ~ uniform(-1, 1)
  h[t] = sigmoid(w*h[t-1] + b) + 0*x[t]
  loss error = (last(h) - 0.7)**2
"""
    steps = {}
    for clip in (False, True):
        model = build(cliff)
        model.params["w"], model.params["b"] = np.array(8.0), np.array(-4.0 + 1e-4)  # on the wall: h = 1/2 repels
        _, grads = model.value_and_grad(x=np.zeros((12, 1)))
        if clip:
            tg.clip_by_norm(grads, 0.1)
        at = {n: p.numpy().copy() for n, p in model.params.items()}
        tg.optim.SGD(model.params, lr=0.1).step(grads)
        steps[clip] = np.sqrt(sum(float(p.numpy() - at[n]) ** 2 for n, p in model.params.items()))
    assert steps[True] <= 0.01 * (1 + 1e-9)
    assert steps[False] > 10 * steps[True]


def test_row_17_clipping_inside_the_recurrence():
    """dh[t]/dh[t-1] clipped to norm 1 at every step, as free tape code: the gradient reaching h0 stays bounded."""
    W = np.array([[1.8, 0.4], [-0.3, 1.9]])

    def run(clip):
        def pull(h, out):
            def pullback(cotangents):
                (g,) = cotangents
                back = W.T @ ((1 - out**2) * g)
                size, limit = np.linalg.norm(back), np.linalg.norm(g)
                return [back * min(1.0, limit / size) if clip and size > 0 else back]

            return pullback

        start = tg.tensor(np.array([1e-6, -1e-6]), requires_grad=True)
        h = start
        for _ in range(20):
            out = np.tanh(W @ h.numpy())
            (h,) = tg.custom_node("step", [h], [out], pull(h, out))
        tg.sum(h * np.array([1.0, 2.0])).backward()
        return h.numpy(), np.linalg.norm(start.grad.numpy())

    free, clipped = run(False), run(True)
    np.testing.assert_array_equal(free[0], clipped[0])  # the forward pass is the same
    assert clipped[1] <= np.sqrt(5) * (1 + 1e-12)
    assert free[1] > 100 * clipped[1]
