"""The lectures' rows 12, 18, 21, 27, 29 and 31: memory for the way back, the detector, sizes, topologies, ends."""

from __future__ import annotations

import gc
import itertools
import time
import tracemalloc
import warnings

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from dsl.spec import Spec
from examples import tasks
from tests.systems.test_rows import build, randomise


def test_row_12_memory_for_the_way_back_is_linear_in_the_steps():
    """With checkpoints it is a multiple of the root: see
    `test_remat_over_square_root_many_segments_needs_that_much_memory`."""
    model = dsl.load("LSTM").build(D=4, H=32, dtype="float64")
    size = {}
    for steps in (50, 100, 200):
        x = np.zeros((steps, 16, 4))
        waiting = [model(x=x).h for _ in range(9)]  # arrays of finished runs are used again: have none left
        gc.collect()
        tracemalloc.start()
        waiting.append(model(x=x).h)
        size[steps] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert 1.8 < size[100] / size[50] < 2.2 and 1.8 < size[200] / size[100] < 2.2
    stream = 200 * 16 * 32 * 8
    assert 5 * stream < size[200] < 15 * stream


def test_row_18_a_detector_names_the_operation_and_the_step():
    """The logarithm of a negative number at step 3, of data alone and of what was learned."""
    text = "cell Bad(H):\n  input x[t]: H\n  state h[t]: H = 0\n  param W ~ orthogonal\n"
    for inner in ("1.5 - x[t]", "W@(1.5 - x[t])"):
        model = build(text + f"  h[t] = log({inner}) + W@h[t-1]\n  output h\n", H=3)
        model.params["W"] = np.eye(3)
        x = np.zeros((5, 2, 3))
        x[3] = 2
        with tg.detect_anomaly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(tg.AnomalyError, match=r"^h\[3\]: the result of log has NaN"):
                model(x=x, engine="tape")
            assert np.isfinite(model(x=x[:3], engine="tape").h.numpy()).all()


def test_row_18_a_detector_of_explosion_names_the_step():
    model = dsl.load("Elman").build(D=2, H=3, dtype="float64")
    linear = build(
        "cell L(H):\n  input x[t]: H\n  state h[t]: H = 0\n  param W ~ identity\n  h[t] = W@h[t-1] + x[t]\n", H=2
    )
    linear.params["W"] = 10 * np.eye(2)
    with tg.detect_anomaly(limit=5e3):
        model(x=np.ones((9, 1, 2)), engine="tape")
        with pytest.raises(tg.AnomalyError, match=r"^h\[4\]: .* has the norm .*, above 5000"):
            linear(x=np.array([[[1.0, 0]]] + [[[0.0, 0]]] * 8), engine="tape")


def test_row_21_a_unitary_matrix_of_seven_numbers_a_unit():
    """d1, d2, d3 real, r1, r2 complex; and every number of them moves the product."""
    N = 8
    model = dsl.load("URNN").build(D=2, N=N, dtype="float64")
    real = {n: v.size * (2 if v.dtype.kind == "c" else 1) for n, v in model.params.items() if n[0] in "dr"}
    assert sum(real.values()) == 7 * N and set(real) == {"d1", "d2", "d3", "r1", "r2"}
    model = randomise(model)
    model.params["b"] = np.zeros(N)  # every unit active
    x = np.random.default_rng(0).normal(size=(4, 1, 2))
    loss = tg.sum(model(x=x)["y"] * np.random.default_rng(1).normal(size=(4, 1, 2 * N)))
    loss.backward()
    for name in real:
        assert (np.abs(model.params[name].grad.numpy()) > 0).all(), name


@pytest.mark.parametrize("engine", ["compiled", "tape"])
def test_row_21_a_step_costs_n_log_n(engine):
    """Eight times the units take some ten times as long, not sixty-four."""

    def seconds(units):
        model = dsl.load("URNN").build(D=2, N=units)
        x = np.zeros((2, 4, 2), np.float32)
        model(x=x, engine=engine)
        found = []
        for _ in range(5):
            begun = time.process_time()
            model(x=x, engine=engine)
            found.append(time.process_time() - begun)
        return min(found)

    assert seconds(2**16) < 40 * seconds(2**13)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "GRUResetAfter"])
def test_row_27_lstm_and_gru_on_one_task(cell):
    """The order of two symbols among ten: both learn it. (Longer, side by side: examples.temporal_order.)"""
    text = """
cell Order(H):
  input x[t]: 6
  input y: one_hot 4
  param U ~ glorot
  param a: 4 = 0
  use rnn = CELL(x=x, H=H)
  z = U@last(rnn) + a
  loss nll = -sum(y*log_softmax(z))
  output z
"""
    model = build(text.replace("CELL", cell), H=16, dtype="float32")
    test = tasks.order(np.random.default_rng(1), 10, 200)
    done = model.fit(
        source=lambda random: tasks.order(random, 10, 20),
        optimizer=tg.optim.Adam(model.params.trained, lr=1e-2),
        steps=300,
        valid_every=50,
        evaluate=lambda m: {"right": float((m(x=test["x"]).z.numpy().argmax(-1) == test["y"]).mean())},
        until=lambda found: found["right"] > 0.95,
        progress=False,
    )
    assert done.measures["right"] > 0.95


DIGEST = """
cell Digest(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  param b = 0
  h[t] = tanh(V@x[t] + W@h[t-1] + b)
  digest = last(h)
  output digest
"""
# topology -> library cell or its text, sizes, what it is given and what it gives: axes of streams
TOPOLOGIES: dict[str, tuple[str, dict[str, int], dict[str, str], dict[str, str]]] = {
    "many to many": ("Elman", {"D": 2, "H": 3}, {"x": "t"}, {"h": "t"}),
    "a digest without outputs": (DIGEST, {"D": 2, "H": 3}, {"x": "t"}, {"digest": ""}),
    "many to one": ("Classifier", {"D": 2, "K": 3, "H": 3}, {"x": "t"}, {"y": ""}),
    "one to many, initial state": ("VectorInitial", {"D": 2, "K": 3, "H": 3}, {"v": ""}, {"y": "t"}),
    "one to many, every step": ("VectorEveryStep", {"D": 2, "K": 3, "H": 3}, {"v": ""}, {"y": "t"}),
    "one to many, both": ("VectorBoth", {"D": 2, "K": 3, "H": 3}, {"v": ""}, {"y": "t"}),
    "many to one to many": ("EncoderDecoder", {"K_in": 3, "K": 3, "H": 3}, {"x": "s"}, {"y": "t"}),
    "output to hidden": ("Jordan", {"D": 2, "H": 3, "K": 2}, {"x": "t"}, {"y": "t"}),
    "a symbol from those before": ("CharRNN", {"K": 3, "H": 3}, {}, {"y": "t"}),
}


def spec_of(topology: str) -> Spec:
    name = TOPOLOGIES[topology][0]
    return dsl.parse(name) if "cell" in name else dsl.load(name)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_row_29_one_spec_for_each_topology(topology):
    """What each reads of the past is told by its recurrent streams. Its graph: `test_dot_of_every_topology`."""
    _, sizes, given, made = TOPOLOGIES[topology]
    system = spec_of(topology).build(dtype="float64", **sizes).system
    assert {n: "".join(s.axes) for n, s in system.streams.items() if s.kind == "input"} == given
    for stream, axes in made.items():
        assert "".join(system.streams[stream].axes) == axes
    text = str(spec_of(topology))
    if topology == "output to hidden":
        assert "h[t-1]" not in text and "R@y[t-1]" in text
    if "every step" in topology or "both" in topology:
        assert system.streams["e"].axes == ("t",)


DECODER = """
from lstm import LSTM
cell Decoder(K, H):
  input h0, c0: H
  state y[t]: one_hot K = none
  param U ~ glorot
  param a = 0
  prev[t] = y[t-1]
  use dec = LSTM(x=prev, H=H, h=h0, c=c0)
  y[t] ~ categorical(logits = U@dec[t] + a)
  loss nll = -mean[t](logprob(y[t]))
"""


def test_row_29_a_digest_has_no_outputs_on_the_way():
    """The state of an encoder at its end is all that is left of a sequence: a decoder that is given nothing else has
    the same loss, and another order of the symbols has another digest, and another loss."""
    model = randomise(dsl.load("EncoderDecoder").build(K_in=3, K=3, H=4, dtype="float64"))
    x, y = np.array([[0], [2], [1], [1]]), np.array([[1], [0]])
    run = model(x=x, y=y, engine="tape")
    decoder = build(DECODER, K=3, H=4)
    for name in decoder.params:
        decoder.params[name] = model.params[name].numpy()
    digest = {"h0": run["enc.h"].numpy()[-1], "c0": run["enc.c"].numpy()[-1]}
    assert float(decoder(y=y, **digest).nll.data) == pytest.approx(float(run.nll.data), rel=1e-14)
    assert abs(float(run.nll.data) - float(model(x=x[::-1], y=y).nll.data)) > 1e-3


def strings(symbols, length):
    return np.array(list(itertools.product(range(symbols), repeat=length))).T


def test_row_31_a_coin_at_each_step_is_part_of_the_probability():
    """All strings that the coin ends within three steps, and those that it does not, have 1 together."""
    coin = randomise(dsl.load("StopRNN").build(K=3, H=4, dtype="float64"))
    total = 0.0
    for length, ends in ((1, True), (2, True), (3, True), (3, False)):
        y = strings(3, length)
        stop = np.zeros(y.shape)
        stop[-1] = ends
        total += np.exp(-coin(y=y, stop=stop).each["nll"].numpy()).sum()
    assert total == pytest.approx(1, abs=1e-12)
    made = coin.generate(T=30, until={"stop": 1}, seed=3)
    stop = np.asarray(made["stop"]).ravel()
    assert stop[:-1].sum() == 0 and (stop[-1] == 1 or len(stop) == 30)


@pytest.mark.parametrize("name", ["LengthRNN", "CountdownRNN"])
def test_row_31_a_length_drawn_first_is_part_of_the_probability(name):
    """Summed over all strings, what is left is the length's own probability; each length has its own strings."""
    model = randomise(dsl.load(name).build(D=2, K=3, N=5, H=4, dtype="float64"))
    v, y = np.ones((9, 2)), strings(3, 2)
    found = np.stack([np.exp(-model(v=v, tau=np.full(9, tau), y=y).each["nll"].numpy()) for tau in range(5)])
    p = {n: value.numpy() for n, value in model.params.items()}
    logits = p["W"] @ v[0] + p["b"]
    np.testing.assert_allclose(found.sum(1), np.exp(logits) / np.exp(logits).sum(), rtol=1e-12)
    given = found / found.sum(1, keepdims=True)
    assert all(np.abs(given[a] - given[b]).max() > 1e-3 for a, b in itertools.combinations(range(5), 2))
    if name == "CountdownRNN":  # what is left of it: tau, tau - 1, ... 0
        left = model(v=v[:1], tau=np.array([3]), y=np.zeros((4, 1), int)).r.numpy()[:, 0]
        np.testing.assert_array_equal(left, np.eye(5)[[3, 2, 1, 0]])
