"""The lectures' systems, equations and claims, by the number of their row: models, loss and gated cells.

Each test is the row's experiment. Numbers from the lectures are asserted as they print them; identities are asserted to
rounding. Rows 9-17, backpropagation through time, are in `test_rows_bptt.py`.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from tinygrad_seq.tape import nodes


def build(text, seed=0, dtype="float64", **arguments):
    return dsl.parse(text).build(seed=seed, dtype=dtype, **arguments)


def randomise(model, seed=0, scale=0.5):
    rng = np.random.default_rng(seed)
    for name, value in model.params.items():
        model.params[name] = rng.normal(size=value.shape) * scale
    return model


def train(model, data, steps, lr=1e-2, **options):
    opt = tg.optim.Adam(model.params, lr=lr)
    value = np.inf
    for _ in range(steps):
        value, grads = model.value_and_grad(**data(), **options)
        tg.clip_by_norm(grads, 5.0)
        opt.step(grads)
    return value


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


SIMPLE = """
cell Simple(D, H, K):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  param U: (K, H) ~ glorot
  param b, b_y = 0
  h[t] = tanh(V@x[t] + W@h[t-1] + b)
  y[t] = softmax(U@h[t] + b_y)
  output y
"""


def test_row_01_simple_rnn_equals_onnxruntime():
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    T, B, D, H, K = 7, 3, 4, 5, 3
    model = randomise(build(SIMPLE, dtype="float32", D=D, H=H, K=K))
    p = {n: v.numpy() for n, v in model.params.items()}
    x = np.random.default_rng(1).normal(size=(T, B, D)).astype(np.float32)
    F, make = onnx.TensorProto.FLOAT, onnx.helper
    graph = make.make_graph(
        [
            make.make_node("RNN", ["X", "W", "R", "B"], ["Y4"], hidden_size=H),
            make.make_node("Squeeze", ["Y4", "one"], ["h"]),
            make.make_node("MatMul", ["h", "U"], ["z"]),
            make.make_node("Add", ["z", "c"], ["a"]),
            make.make_node("Softmax", ["a"], ["y"], axis=-1),
        ],
        "simple",
        [make.make_tensor_value_info(n, F, None) for n in ("X", "W", "R", "B", "U", "c")],
        [make.make_tensor_value_info(n, F, None) for n in ("h", "y")],
        [make.make_tensor("one", onnx.TensorProto.INT64, [1], [1])],
    )
    onnx_model = make.make_model(graph, opset_imports=[make.make_opsetid("", 14)], ir_version=8)
    session = runtime.InferenceSession(onnx_model.SerializeToString(), providers=["CPUExecutionProvider"])
    bias = np.concatenate([p["b"], 0 * p["b"]])[None]
    feeds = {"X": x, "W": p["V"][None], "R": p["W"][None], "B": bias, "U": p["U"].T.copy(), "c": p["b_y"]}
    h, y = session.run(None, feeds)
    run = model(x=x)
    np.testing.assert_allclose(run.h.numpy(), h, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run.y.numpy(), y, rtol=1e-5, atol=1e-5)


COUNTER = """
cell Parity(H):
  input x[t]: scalar
  input target[t]: scalar
  state h[t]: H = 0
  param v, u: H ~ uniform(-1, 1)
  param W ~ orthogonal
  param b: H = 0
  param a: scalar = 0
  h[t] = tanh(x[t]*v + W@h[t-1] + b)
  p[t] = u@h[t] + a
  loss error = mean[t]((p[t] - target[t])**2)
  output p
"""


def test_row_02_one_function_for_any_length():
    """Parameters do not know T; the unrolled graph grows by the same number of nodes each step, with one leaf a
    parameter; trained at T=20 it runs at T=200. The task: x delayed by one step."""
    rng = np.random.default_rng(0)

    def data(T=20, B=16):
        x = rng.choice([-1.0, 1.0], size=(T, B))
        return {"x": x, "target": np.concatenate([np.zeros((1, B)), x[:-1]])}

    model = build(COUNTER, H=6)
    shapes = {n: v.shape for n, v in model.params.items()}
    counts, leaves = [], []
    for T in (5, 6, 7, 20):
        run = model(**data(T, 1), engine="tape")
        found = nodes(run.error)
        counts.append(len(found))
        leaves.append(sum(type(n).__name__ == "Leaf" for n in found))
    assert counts[1] - counts[0] == counts[2] - counts[1] > 0
    assert counts[3] - counts[2] == 13 * (counts[1] - counts[0])
    assert set(leaves) == {len(model.params)}
    train(model, data, 300)
    assert float(model(**data(20)).error.numpy()) < 0.02
    assert float(model(**data(200)).error.numpy()) < 0.02
    assert {n: v.shape for n, v in model.params.items()} == shapes


def test_row_03_counts():
    """A window of 100 steps of 100 features into 100 units, against a recurrent layer of 100 units."""
    window = "concat(" + ", ".join(["x[t]"] + [f"x[t-{k}]" for k in range(1, 100)]) + ")"
    mlp = (
        "cell Window(D, H):\n  input x[t]: D = 0\n  param W: (H, 100*D) ~ glorot\n  param b = 0\n"
        f"  h[t] = tanh(W@{window} + b)\n"
    )

    def count(model):
        return sum(v.size for v in model.params.values())

    assert count(build(mlp, D=100, H=100)) == 1_000_100
    assert count(dsl.load("Elman").build(D=100, H=100)) == 20_100
    recurrent = {}
    for name in ("LSTM", "GRU", "Elman"):
        params = dsl.load(name).build(D=10, H=20).params
        recurrent[name] = sum(v.size for n, v in params.items() if n.startswith("W"))
    assert recurrent["LSTM"] == 4 * recurrent["Elman"] and recurrent["GRU"] == 3 * recurrent["Elman"]
    assert recurrent["Elman"] == 400


def test_row_04_a_window_is_a_heuristic():
    """The answer lies w+1 steps back: a window of w+1 values stays at chance, log 2; a recurrent net finds it."""
    w = 2
    window = """
cell Window(H):
  input x[t]: scalar = 0
  state y[t]: one_hot K = none
  param V: (H, 3) ~ glorot
  param b: H = 0
  param U: (2, H) ~ glorot
  z[t] = tanh(V@concat(zeros(1) + x[t], zeros(1) + x[t-1], zeros(1) + x[t-2]) + b)
  y[t] ~ categorical(logits = U@z[t])
  loss nll = -mean[t](logprob(y[t]))
""".replace("one_hot K", "one_hot 2")
    recurrent = """
cell Recurrent(H):
  input x[t]: scalar
  state y[t]: one_hot 2 = none
  state h[t]: H = 0
  param v: H ~ uniform(-1, 1)
  param W ~ orthogonal
  param b: H = 0
  param U: (2, H) ~ glorot
  h[t] = tanh(x[t]*v + W@h[t-1] + b)
  y[t] ~ categorical(logits = U@h[t])
  loss nll = -mean[t](logprob(y[t]))
"""
    rng = np.random.default_rng(0)

    def data(T=20, B=32):
        bits = rng.integers(0, 2, (T + w + 1, B))
        return {"x": 2.0 * bits[w + 1 :] - 1, "y": bits[:T]}

    losses = {}
    for name, text in (("window", window), ("recurrent", recurrent)):
        model = build(text, H=16)
        train(model, data, 400)
        losses[name] = float(model(**data(200, 64)).nll.numpy())
    baseline = np.log(2)
    assert abs(losses["window"] - baseline) < 0.05, losses
    # the first w+1 answers of a sequence lie before its start: chance for anyone
    assert losses["recurrent"] < 0.1, losses


def test_row_05_probabilities_of_all_strings_sum_to_one():
    model = randomise(dsl.load("CharRNN").build(K=3, H=4, dtype="float64"), scale=1.5)
    strings = np.array(list(itertools.product(range(3), repeat=5))).T
    assert strings.shape == (5, 243)
    each = model(y=strings).each["nll"].numpy() * 5
    np.testing.assert_allclose(np.exp(-each).sum(), 1, rtol=1e-12)
    # with symbol 2 as the end of a string: those that have ended by step 5, and those that have not
    ended = [s[: s.index(2) + 1] if 2 in s else s for s in itertools.product(range(3), repeat=5)]
    ended = sorted(set(ended))
    lengths = np.array([len(s) for s in ended])
    ragged = np.zeros((5, len(ended)), int)
    for b, s in enumerate(ended):
        ragged[: len(s), b] = s
    each = model(y=ragged, lengths={"t": lengths}).each["nll"].numpy() * lengths
    np.testing.assert_allclose(np.exp(-each).sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("engine", ["compiled", "tape"])
def test_row_06_a_ragged_batch_is_a_loop_over_its_sequences(engine):
    model = randomise(dsl.load("Translate").build(K_in=5, K=4, H=3, A=2, dtype="float64"))
    rng = np.random.default_rng(0)
    S, T = np.array([6, 1, 3, 4]), np.array([2, 5, 5, 1])
    x, y = rng.integers(0, 5, (6, 4)), rng.integers(0, 4, (5, 4))
    loss, grads = model.value_and_grad(x=x, y=y, lengths={"s": S, "t": T}, engine=engine)
    total, sums = 0.0, {n: 0.0 for n in grads}
    for b in range(4):
        one, g = model.value_and_grad(x=x[: S[b], b : b + 1], y=y[: T[b], b : b + 1], engine=engine)
        total += one / 4
        sums = {n: sums[n] + g[n] / 4 for n in g}
    np.testing.assert_allclose(loss, total, rtol=1e-12)
    for name, value in grads.items():
        np.testing.assert_allclose(value, sums[name], rtol=1e-10, atol=1e-13, err_msg=name)


HELLO = """
cell Memoryless(K, H):
  state y[t]: one_hot K = none
  param V: (H, K) ~ glorot
  param U ~ glorot
  param b, a = 0
  h[t] = tanh(V@y[t-1] + b)
  y[t] ~ categorical(logits = U@h[t] + a)
  loss nll = -mean[t](logprob(y[t]))
"""


def test_row_07_hello():
    logits = np.array([1.0, 2.2, -3.0, 4.1])
    np.testing.assert_allclose(tg.softmax(logits), [0.0377, 0.1251, 0.0007, 0.8365], atol=5e-5)
    model = build("cell Out(K):\n  input z[t]: K\n  state y[t]: one_hot K = none\n  y[t] ~ categorical(logits = z[t])\n"
                  "  loss nll = -sum[t](logprob(y[t]))\n", K=4)  # fmt: skip
    np.testing.assert_allclose(model(z=logits[None, None], y=np.array([[1]])).nll.numpy(), 2.0785, atol=5e-5)
    symbols = "helo"
    text = np.array([symbols.index(c) for c in "hello"])[:, None]

    def generated(model):
        out = model.generate(T=4, prime=text[:1, 0], temperature=0)
        return "".join(symbols[i] for i in np.asarray(out).ravel())

    recurrent = dsl.load("CharRNN").build(K=4, H=8, dtype="float64", Cell="Elman")
    train(recurrent, lambda: {"y": text}, 200, lr=3e-2)
    assert generated(recurrent) == "hello"
    without = build(HELLO, K=4, H=8)
    train(without, lambda: {"y": text}, 200, lr=3e-2)
    assert generated(without) != "hello"  # after an l: an l or an o, whatever came before


def test_row_08_activations():
    x = np.array([-800.0, -2.0, -0.5, 0.0, 0.5, 2.0, 800.0])
    with np.errstate(over="ignore"):
        expected = {
            "sigmoid": 1 / (1 + np.exp(-x)),
            "tanh": np.tanh(x),
            "relu": np.where(x > 0, x, 0),
            "leaky_relu": np.where(x > 0, x, 0.1 * x),
            "elu": np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
        }
    text = "cell A(D):\n  input x[t]: D\n" + "".join(f"  {n}_[t] = {n}(x[t])\n" for n in expected)
    text += "  output " + ", ".join(f"{n}_" for n in expected) + "\n"
    run = build(text, D=7)(x=x[None, None])
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(tg, name)(x), value, rtol=1e-12, atol=1e-300, err_msg=name)
        np.testing.assert_allclose(run[f"{name}_"].numpy()[0, 0], value, rtol=1e-12, atol=1e-300, err_msg=name)
    np.testing.assert_allclose(tg.tanh(x), 2 * tg.sigmoid(2 * x) - 1, rtol=1e-12)
    maxout = build("cell M(D, H):\n  input x[t]: D\n  param A, B: (H, D) ~ glorot\n  param a, b = 0\n"
                   "  h[t] = maximum(A@x[t] + a, B@x[t] + b)\n", D=3, H=4)  # fmt: skip
    randomise(maxout)
    p, v = {n: t.numpy() for n, t in maxout.params.items()}, np.random.default_rng(2).normal(size=(5, 2, 3))
    affine = [v @ p[m].T + p[b] for m, b in (("A", "a"), ("B", "b"))]
    np.testing.assert_allclose(maxout(x=v).h.numpy(), np.maximum(*affine), rtol=1e-12)


# ---------------------------------------------------------------- gated cells


def one_step(cell, D=3, H=4, seed=0, **params):
    """The step c[t-1], h[t-1] -> c[t], h[t] of an LSTM cell as a function of tensors."""
    text = (
        "cell Step(D, H):\n  input x[t]: D\n  input h0, c0: H\n"
        f"  use rnn = {cell}(x=x, H=H, h=h0, c=c0)\n  output rnn.h, rnn.c\n"
    )
    model = randomise(build(text, D=D, H=H), seed)
    for name, value in params.items():
        model.params[f"rnn.{name}"] = np.broadcast_to(np.asarray(value, float), model.params[f"rnn.{name}"].shape)
    x = np.random.default_rng(seed).normal(size=(1, 1, D))

    def step(h, c):
        run = model(x=x, h0=tg.reshape(h, (1, H)), c0=tg.reshape(c, (1, H)), engine="tape")
        return tg.reshape(run["rnn.h"], (H,)), tg.reshape(run["rnn.c"], (H,)), run

    return model, step


def test_row_23_lstm_without_forget_gate():
    """dc[t]/dc[t-1] at constant h[t-1] is exactly the identity; one stacked matrix gives the same cell."""
    _, step = one_step("LSTM0")
    rng = np.random.default_rng(1)
    h, c = rng.normal(size=4), rng.normal(size=4)
    np.testing.assert_array_equal(tg.jacobian(lambda v: step(h, v)[1])(c), np.eye(4))
    stacked = """
cell Stacked(D, H):
  input x[t]: D
  state h[t], c[t]: H = 0
  param W: (3*H, D+H) ~ glorot
  param b: 3*H = 0
  z[t] = W@concat(x[t], h[t-1]) + b
  c[t] = c[t-1] + sigmoid(part(z[t], 0, H))*tanh(part(z[t], 2*H, H))
  h[t] = sigmoid(part(z[t], H, H))*tanh(c[t])
  output h
"""
    D, H = 3, 4
    separate, together = randomise(dsl.load("LSTM0").build(D=D, H=H, dtype="float64")), build(stacked, D=D, H=H)
    p = {n: v.numpy() for n, v in separate.params.items()}
    together.params["W"] = np.concatenate([np.concatenate([p[f"V_{g}"], p[f"W_{g}"]], 1) for g in "iog"])
    together.params["b"] = np.concatenate([p[f"b_{g}"] for g in "iog"])
    x = rng.normal(size=(6, 2, D))
    np.testing.assert_allclose(separate(x=x).h.numpy(), together(x=x).h.numpy(), rtol=1e-12)


def test_row_24_forget_gate():
    """Direct Jacobian diag(f); the total one, through h too, is different; retention over 100 steps."""
    model, step = one_step("LSTM")
    rng = np.random.default_rng(2)
    h, c = rng.normal(size=4), rng.normal(size=4)
    f = step(h, c)[2]["rnn.f"].numpy().ravel()
    direct = tg.jacobian(lambda v: step(h, v)[1])(c)
    np.testing.assert_allclose(direct, np.diag(f), rtol=1e-13, atol=1e-16)
    o = rng.uniform(0.2, 0.8, 4)
    total = tg.jacobian(lambda v: step(o * tg.tanh(v), v)[1])(c)  # h[t-1] = o*tanh(c[t-1])
    assert np.abs(total - direct).max() > 1e-3
    p = {n[4:]: v.numpy() for n, v in model.params.items()}
    i, g = (step(h, c)[2][f"rnn.{n}"].numpy().ravel() for n in "ig")
    through = (
        np.diag(c * f * (1 - f)) @ p["W_f"] + np.diag(g * i * (1 - i)) @ p["W_i"] + np.diag(i * (1 - g**2)) @ p["W_g"]
    )
    at_h = tg.jacobian(lambda v: step(v, c)[1])(h)
    np.testing.assert_allclose(at_h, through, rtol=1e-12, atol=1e-15)
    for bias, kept in ((0.0, 7.9e-31), (5.0, 0.51)):
        cell = "cell Keep(D, H):\n  input x[t]: D\n  input c0: H\n  use rnn = LSTM(x=x, H=H, c=c0)\n  output rnn.c\n"
        keep = build(cell, D=1, H=1)
        for name, value in keep.params.items():
            keep.params[name] = np.full(value.shape, {"rnn.b_f": bias, "rnn.b_i": -1e3}.get(name, 0.0))
        end = keep(x=np.zeros((100, 1, 1)), c0=np.ones((1, 1)))["rnn.c"].numpy()[-1, 0, 0]
        np.testing.assert_allclose(end, sigmoid(bias) ** 100, rtol=1e-10)
        np.testing.assert_allclose(end, kept, rtol=0.01)


def test_row_25_extreme_regimes():
    """Gates forced to 0 or 1: what captures, keeps, erases and releases."""
    rng = np.random.default_rng(3)
    h, c = rng.normal(size=4), rng.normal(size=4)
    on, off = 1e3, -1e3
    calm = {n: 0.0 for n in ("V_f", "V_i", "V_o", "W_f", "W_i", "W_o")}

    def at(f, i, o):
        _, step = one_step("LSTM", **calm, b_f=f, b_i=i, b_o=o)
        new_h, new_c, run = step(h, c)
        return np.asarray(new_h), np.asarray(new_c), run["rnn.g"].numpy().ravel()

    h1, c1, g = at(off, on, on)  # captures, and releases at once
    np.testing.assert_array_equal(c1, g)
    np.testing.assert_allclose(h1, np.tanh(g))
    h1, c1, _ = at(on, off, off)  # keeps, and shows nothing
    np.testing.assert_array_equal(c1, c)
    np.testing.assert_array_equal(h1, 0)
    h1, c1, _ = at(on, off, on)  # releases what it kept
    np.testing.assert_allclose(h1, np.tanh(c))
    h1, c1, _ = at(off, off, on)  # erases
    np.testing.assert_array_equal(c1, 0)
    h1, c1, g = at(on, on, on)  # adds up
    np.testing.assert_allclose(c1, c + g)


def test_row_26_gru_conventions():
    """A high update bias keeps the old value; the two places of the reset differ, but not where it is open."""
    D, H = 3, 4
    x = np.random.default_rng(4).normal(size=(8, 2, D))
    before, after = (randomise(dsl.load(n).build(D=D, H=H, dtype="float64"), 5) for n in ("GRU", "GRUResetAfter"))
    for name, value in before.params.items():
        after.params[name] = value.numpy()
    after.params["b_rn"] = np.zeros(H)
    assert np.abs(before(x=x).h.numpy() - after(x=x).h.numpy()).max() > 1e-3
    for model in (before, after):
        model.params["V_r"], model.params["W_r"] = np.zeros((H, D)), np.zeros((H, H))
        model.params["b_r"] = np.full(H, 1e3)
    np.testing.assert_allclose(before(x=x).h.numpy(), after(x=x).h.numpy(), rtol=1e-12)
    for name in ("GRU", "GRUResetAfter"):
        text = f"cell Held(D, H):\n  input x[t]: D\n  input h0: H\n  use rnn = {name}(x=x, H=H, h=h0)\n  output rnn.h\n"
        held = randomise(build(text, D=D, H=H), 6)
        held.params["rnn.b_z"] = np.full(H, 1e3)
        h0 = np.random.default_rng(7).normal(size=(2, H))
        np.testing.assert_allclose(held(x=x, h0=h0)["rnn.h"].numpy(), np.broadcast_to(h0, (8, 2, H)), rtol=1e-12)


def test_row_28_stacks_bidirectional_pyramid():
    D, H, T = 3, 4, 8
    rng = np.random.default_rng(8)
    x = rng.normal(size=(T, 2, D))
    lengths = np.array([8, 5])
    lstm = randomise(dsl.load("LSTM").build(D=D, H=H, dtype="float64"), 1)
    upper = randomise(dsl.load("LSTM").build(D=H, H=H, dtype="float64"), 2)
    text = "cell Two(D, H, L=2):\n  input x[t]: D\n  use rnn = stack L of LSTM(x=x, H=H)\n  output rnn.h\n"
    stack = build(text, D=D, H=H)
    for k, model in enumerate((lstm, upper)):
        for name, value in model.params.items():
            stack.params[f"rnn.{k}.{name}"] = value.numpy()
    np.testing.assert_allclose(stack(x=x)["rnn"].numpy(), upper(x=lstm(x=x).h.numpy()).h.numpy(), rtol=1e-12)

    both = randomise(dsl.load("BiLSTM").build(D=D, H=H, dtype="float64"), 3)
    parts = {}
    for side in "fb":
        parts[side] = dsl.load("LSTM").build(D=D, H=H, dtype="float64")
        for name in parts[side].params:
            parts[side].params[name] = both.params[f"{side}.{name}"].numpy()
    y = both(x=x, lengths={"t": lengths}).y.numpy()
    for b, n in enumerate(lengths):  # concat(forward, flip . backward . flip), each sequence by itself
        one = x[:n, b : b + 1]
        backward = parts["b"](x=one[::-1].copy()).h.numpy()[::-1]
        expected = np.concatenate([parts["f"](x=one).h.numpy(), backward], -1)
        np.testing.assert_allclose(y[:n, b : b + 1], expected, rtol=1e-12)

    pyramid = "cell P(D, H):\n  input x[t]: D\n  use a = Pyramid(x=x, H=H)\n  use b = Pyramid(x=a, H=H)\n  output b\n"
    for text, halvings in ((None, 1), (pyramid, 2)):
        model = build(text, D=D, H=H) if text else dsl.load("Pyramid").build(D=D, H=H, dtype="float64")
        out = randomise(model)(x=rng.normal(size=(32, 1, D)))
        assert next(iter(out[n] for n in model.system.outputs)).shape[0] == 32 // 2**halvings
    # a storey on a quarter of the steps costs about a quarter: both timed on the same engine
    flat = dsl.load("BiRNN").build(D=H, H=H, dtype="float64")

    def seconds(steps):
        v = rng.normal(size=(steps, 1, H))
        flat(x=v)
        return min(timed(lambda: flat(x=v)) for _ in range(5))

    def timed(run):
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    assert seconds(4000 // 4) < 0.5 * seconds(4000)
