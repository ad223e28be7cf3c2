"""The lectures' rows 14 to 16, 19, 20, 22 and 30: how far gradients reach, and what cuts them.

Everything runs on the literal engine, small and in float64, against explicit Jacobians. `docs/errata.md` says where a
lecture's own wording does not hold.
"""

from __future__ import annotations

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from tests.systems.test_rows import build, randomise
from tinygrad_seq.nodes import parents
from tinygrad_seq.tape import nodes

TANH = """
cell Net(D, H):
  input x[t]: D
  input h0: H
  state h[t]: H = h0
  param V, W ~ glorot
  param b = 0
  h[t] = tanh(V@x[t] + W@h[t-1] + b)
  output h
"""
LINEAR = TANH.replace("tanh(V@x[t] + W@h[t-1] + b)", "V@x[t] + W@h[t-1] + b")


def state_gradients(model, x, h0, weight):
    """‖∂(weight·h_T)/∂h_k‖ for k = -1..T-1 (h0 first), from one run a step, and the states."""
    run = model(x=x, h0=h0[None], engine="tape")
    h = np.concatenate([h0[None], run.h.numpy()[:, 0]])
    norms = []
    for k in range(len(x) + 1):
        start = tg.tensor(h[k], requires_grad=True)
        rest = x[k:]
        if len(rest):
            end = model(x=rest, h0=start[None], engine="tape").h[-1, 0]
        else:
            end = start
        tg.sum(end * weight).backward()
        norms.append(np.linalg.norm(start.grad.numpy()))
    return np.array(norms), h


def net(text, rng, D=2, H=5, W=None):
    model = randomise(build(text, D=D, H=H), int(rng.integers(1000)))
    if W is not None:
        model.params["W"] = W
    return model


@pytest.mark.parametrize("w", [0.7, 1.0, 1.3])
def test_row_14_one_weight(w):
    """The slope of the log-norm is log|w|."""
    cell = "cell S():\n  input x[t]: scalar\n  input h0: scalar\n  state h[t]: scalar = h0\n  param w: scalar = 1\n"
    model = build(cell + "  h[t] = w*h[t-1] + x[t]\n  output h\n")
    model.params["w"] = np.array(w)
    start = tg.tensor(np.zeros(1), requires_grad=True)
    slopes = []
    for steps in (5, 25):
        end = model(x=np.ones((steps, 1)), h0=start, engine="tape").h[-1, 0]
        (g,) = (tg.grad(lambda v, n=steps: model(x=np.ones((n, 1)), h0=v, engine="tape").h[-1, 0])(np.zeros(1)),)
        slopes.append(np.log(np.abs(np.asarray(g)).item()))
        assert np.isfinite(end.numpy())
    assert (slopes[1] - slopes[0]) / 20 == pytest.approx(np.log(w), abs=1e-12)


def test_row_15_norms_of_a_step():
    """Below 1 gradients vanish. Above 1 they need not explode: [[0, 2], [0, 0]] has norm 2 and square 0."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    x = rng.normal(size=(30, 2))
    norms, _ = state_gradients(net(TANH, rng, W=0.8 * turn), x[:, None], np.zeros(5), rng.normal(size=5))
    assert (norms[1:] / norms[:-1] >= 1 / 0.8 - 1e-9).all() and norms[0] < 0.8**30 * norms[-1]
    nilpotent = np.array([[0.0, 2.0], [0.0, 0.0]])
    model = net(LINEAR, rng, H=2, W=nilpotent)
    assert np.linalg.norm(nilpotent, 2) == 2
    norms, _ = state_gradients(model, x[:6, None], np.zeros(2), np.ones(2))
    np.testing.assert_array_equal(norms[:-2], 0)
    assert norms[-2] == 2


def test_row_16_the_bound_and_where_it_is_tight():
    """‖∂L/∂h_t‖ ≤ ‖∂L/∂h_T‖ Π‖D_s‖ ‖W‖^(T-t) over random nets, with equality for linear orthogonal ones; and the
    product is Π(D_s W), in this order: W^(T-t) ΠD_s is another matrix."""
    rng = np.random.default_rng(1)
    for _ in range(12):
        model = net(TANH, rng)
        x, weight = rng.normal(size=(8, 1, 2)), rng.normal(size=5)
        W = model.params["W"].numpy()
        norms, h = state_gradients(model, x, rng.normal(size=5) * 0.5, weight)
        slopes = np.abs(1 - h[1:] ** 2).max(axis=1)
        bound = norms[-1] * np.array([np.prod(slopes[k:]) * np.linalg.norm(W, 2) ** (8 - k) for k in range(9)])
        assert (norms <= bound * (1 + 1e-12)).all() and (norms[:-1] < bound[:-1]).all()
        in_order, apart = np.eye(5), np.linalg.matrix_power(W, 8)
        for s in range(8):
            D = np.diag(1 - h[s + 1] ** 2)
            in_order, apart = D @ W @ in_order, D @ apart
        np.testing.assert_allclose(np.linalg.norm(weight @ in_order), norms[0], rtol=1e-10)
        assert abs(np.linalg.norm(weight @ apart) - norms[0]) > 1e-6 * norms[0]
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    norms, _ = state_gradients(net(LINEAR, rng, W=turn), rng.normal(size=(20, 1, 2)), np.zeros(5), weight)
    np.testing.assert_allclose(norms, np.linalg.norm(weight), rtol=1e-12)


def test_row_19_a_small_gradient_has_two_meanings():
    """‖∂L_t/∂h_{t-60}‖ is small for a net that forgets, and for one that need not remember: the number alone cannot
    tell which. Here the second net's target is its last input, and it keeps its states perfectly."""
    rng = np.random.default_rng(2)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    x = rng.normal(size=(60, 1, 2))
    forgets, _ = state_gradients(net(TANH, rng, W=0.5 * turn), x, np.zeros(5), np.ones(5))
    keeps = net(LINEAR, rng, W=turn)
    start = tg.tensor(np.zeros((1, 5)), requires_grad=True)
    run = keeps(x=x, h0=start, engine="tape")
    fresh = run.h[-1, 0] - tg.matmul(keeps.params["W"], run.h[-2, 0])  # what the last input put in
    tg.sum((fresh - 1) ** 2).backward()
    assert forgets[0] < 1e-12 and np.linalg.norm(start.grad.numpy()) < 1e-12
    assert state_gradients(keeps, x, np.zeros(5), np.ones(5))[0][0] > 1


def test_row_20_a_linear_orthogonal_net_keeps_its_norm_over_1000_steps():
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    model = net(LINEAR, rng, H=4, W=turn)
    start = tg.tensor(rng.normal(size=(1, 4)), requires_grad=True)
    end = model(x=np.zeros((1000, 1, 2)), h0=start, engine="tape").h[-1, 0]
    weight = rng.normal(size=4)
    tg.sum(end * weight).backward()
    assert np.linalg.norm(start.grad.numpy()) / np.linalg.norm(weight) == pytest.approx(1, abs=1e-12)


def test_row_22_shortcuts_shorten_the_path():
    """With a shortcut of d the shortest path from step T to step 0 has ⌈T/d⌉ edges, and the gradient that decays along
    the plain net reaches; n residual blocks have 2ⁿ paths."""
    rng = np.random.default_rng(4)
    T, d = 40, 8
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    reach, edges = {}, {}
    for name, sizes, given in (("Elman", {}, ("W",)), ("Skip", {"k": d}, ("W", "S"))):
        model = dsl.load(name).build(D=2, H=5, dtype="float64", **sizes)
        for weight in given:
            model.params[weight] = 0.4 * turn
        x = tg.tensor(0.1 * rng.normal(size=(T, 1, 2)), requires_grad=True)
        tg.sum(model(x=x, engine="tape").h[-1]).backward()
        reach[name] = np.linalg.norm(x.grad.numpy()[0])
        edges[name] = shortest(model(x=x, engine="tape").h[-1])
    assert edges == {"Elman": T - 1, "Skip": sum(divmod(T - 1, d))}  # as many shortcuts as fit, and the rest one by one
    assert edges["Skip"] <= -(-T // d) + d and reach["Skip"] > 1e6 * reach["Elman"]
    n, scale = 5, 0.3  # blocks h + scale·h: the derivative (1 + scale)^n is a sum over the 2^n paths of the tape
    start = tg.tensor(np.array(1.0), requires_grad=True)
    end = _blocks(start, n, scale)
    assert ways(end, start) == 2**n
    end.backward()
    assert start.grad.numpy() == pytest.approx(sum(scale ** bin(taken).count("1") for taken in range(2**n)))


def shortest(end):
    """Edges from the last state back to the first, on the shortest path of the tape; a state is its tanh."""
    below = nodes(end)
    states = [node for node in below if node.name == "tanh"]
    passed = {states[-1]: 0}  # states behind a node, on the way from the end
    for node in reversed(below):
        if node in passed:
            for parent in parents(node):
                count = passed[node] + (parent.name == "tanh")
                passed[parent] = min(count, passed.get(parent, count))
    return passed[states[0]]


def ways(end, start):
    """Paths of the tape from an end to a leaf."""
    below, leaf = nodes(end), start.edge[0]
    found = dict.fromkeys(below, 0) | {below[-1]: 1}
    for node in reversed(below):
        for parent in parents(node):
            found[parent] += found[node]
    return found[leaf]


def _blocks(h, n, scale):
    for _ in range(n):
        h = h + scale * h
    return h


def test_row_30_with_only_an_output_recurrence_teacher_forcing_decouples_the_steps():
    """Jordan's net fed its own target: no state runs on, so the loss of one step has no gradient at another; fed its
    own output, it has."""
    forced = """
cell Forced(D, H, K):
  input x[t]: D
  input target[t]: K = 0
  param V: (H, D) ~ glorot
  param R ~ glorot
  param U: (K, H) ~ glorot
  h[t] = tanh(V@x[t] + R@target[t-1])
  y[t] = U@h[t]
  output y
"""
    free = forced.replace("  input target[t]: K = 0\n", "  state y[t]: K = 0\n").replace("target[t-1]", "y[t-1]")
    rng = np.random.default_rng(5)
    data = rng.normal(size=(6, 1, 2))
    for text, coupled in ((forced, False), (free, True)):
        model = randomise(build(text, D=2, H=4, K=3), 6)
        x = tg.tensor(data, requires_grad=True)
        given = {} if coupled else {"target": rng.normal(size=(6, 1, 3))}
        tg.sum(model(x=x, engine="tape", **given).y[-1]).backward()
        across = np.abs(x.grad.numpy()[:-1]).max()
        assert (across > 1e-3) if coupled else across == 0


def test_the_total_jacobian_of_a_gru():
    """Direct: at constant gates and candidate, diag of the gate that keeps. Total: through them as well."""
    H = 4
    cell = "cell Step(D, H):\n  input x[t]: D\n  input h0: H\n  use rnn = GRU(x=x, H=H, h=h0)\n  output rnn.h\n"
    model = randomise(build(cell, D=2, H=H), 7)
    rng = np.random.default_rng(8)
    x, h0 = rng.normal(size=(1, 1, 2)), rng.normal(size=(1, H))
    run = model(x=x, h0=h0, engine="tape")
    h1 = run["rnn.h"].numpy()[0, 0]
    total = np.zeros((H, H))
    for k in range(H):
        start = tg.tensor(h0, requires_grad=True)
        model(x=x, h0=start, engine="tape")["rnn.h"][0, 0, k].backward()
        total[k] = start.grad.numpy()[0]
    z, r, n = (run[f"rnn.{name}"].numpy()[0, 0] for name in "zrn")
    p = {name[4:]: value.numpy() for name, value in model.params.items()}
    np.testing.assert_allclose(h1, z * h0[0] + (1 - z) * n, rtol=1e-12)
    candidate = np.diag(1 - n**2) @ p["W_n"] @ (np.diag(r) + np.diag(h0[0] * r * (1 - r)) @ p["W_r"])
    through = np.diag((h0[0] - n) * z * (1 - z)) @ p["W_z"] + np.diag(1 - z) @ candidate
    np.testing.assert_allclose(total, np.diag(z) + through, rtol=1e-10, atol=1e-14)
    assert np.abs(through).max() > 1e-2


def test_relu_is_as_good_as_its_matrix():
    """On the active side the matrix alone decides: at the identity the gradient stays, at a gain of 1.5 it explodes."""
    rng = np.random.default_rng(9)
    reach = {}
    for gain in (1.0, 1.5):
        model = dsl.load("IRNN").build(D=2, H=5, dtype="float64")
        model.params["V"] = np.abs(rng.normal(size=(5, 2)))
        model.params["W"] = gain * np.eye(5)
        x = tg.tensor(np.abs(rng.normal(size=(40, 1, 2))), requires_grad=True)
        end = model(x=x, engine="tape").h[-1]
        tg.sum(end).backward()
        g = np.linalg.norm(x.grad.numpy()[:, 0], axis=1)
        reach[gain] = g[0] / g[-1], float(np.abs(end.numpy()).max())
    assert reach[1.0][0] == pytest.approx(1, rel=1e-12) and reach[1.5][0] == pytest.approx(1.5**39, rel=1e-9)
    assert reach[1.5][1] > 1e5 * reach[1.0][1]
