"""Generation: the same probabilities as in training, sampled one step at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dsl.plan.program import Plans
from dsl.run.model import Model
from dsl.spec import load, parse
from dsl.text.diagnostics import CellError
from tests.run.cells import LETTERS, build


@pytest.fixture(scope="module")
def letters() -> Model:
    model = build(LETTERS, K=4, H=5)
    rng = np.random.default_rng(5)
    for name, tensor in model.params.items():  # sharper than at the start
        model.params[name] = rng.normal(size=tensor.shape) * 1.5
    return model


def test_greedy_takes_what_training_finds_most_probable(letters: Model, engine: str) -> None:
    y = letters.generate(12, prime=[2, 0], greedy=True, engine=engine)
    assert y.shape == (14,) and y[:2].tolist() == [2, 0]
    for t in range(2, 14):
        each = [float(letters(y=[*y[:t], k], engine="tape").steps["nll"].numpy()[t]) for k in range(4)]
        assert int(np.argmin(each)) == y[t]


def test_samples_follow_the_models_distribution(letters: Model) -> None:
    sequences = np.array(list(itertools.product(range(4), repeat=3))).T
    run = letters(y=sequences, engine="tape")
    probability = np.exp(-3 * run.each["nll"].numpy())
    assert probability.sum() == pytest.approx(1, abs=1e-12)  # every string of three letters
    n = 20_000
    drawn = letters.generate(3, batch=n, seed=11, engine="tape")
    counts = np.bincount(drawn[0] * 16 + drawn[1] * 4 + drawn[2], minlength=64)
    np.testing.assert_allclose(counts / n, probability, atol=5 * np.sqrt(0.25 / n))
    chi = ((counts - n * probability) ** 2 / (n * probability))[probability * n > 5].sum()
    assert chi < 120  # 63 degrees of freedom: 120 is beyond 1 in 100,000


def test_seeds(letters: Model, engine: str) -> None:
    a, b, c = (letters.generate(30, seed=s, engine=engine) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert letters.generate(30, seed=1, batch=3, engine=engine).shape == (30, 3)


def test_until_stops_each_sequence_behind_it(letters: Model) -> None:
    y = letters.generate(60, until=2, seed=0, batch=8, engine="tape")
    for b in range(8):
        ends = np.flatnonzero(y[:, b] == 2)
        assert len(ends) <= 1 and (y[:, b][ends[0] + 1 :] == -1).all() if len(ends) else (y[:, b] >= 0).all()
    single = letters.generate(60, until=[0, 1], seed=3, engine="tape")
    assert single[-2:].tolist() == [0, 1] or len(single) == 60


def test_text_in_and_out(letters: Model) -> None:
    letters.symbols = tuple("abcd")
    try:
        text = letters.generate(10, prime="ba", seed=4, engine="tape")
        assert text.startswith("ba") and len(text) == 12 and set(text) <= set("abcd")
        assert len(letters.generate(5, batch=2, seed=4, engine="tape")) == 2
        with pytest.raises(ValueError, match="no symbol 'z'"):
            letters.generate(5, prime="az", engine="tape")
    finally:
        letters.symbols = None
    with pytest.raises(ValueError, match="knows no symbols"):
        letters.generate(5, prime="a", engine="tape")


def test_temperature() -> None:
    logits = np.array([[0.0, 1.0, 3.0]] * 4000)
    cell = "cell One():\n  input l: 3\n  state y: one_hot 3 = none\n  y ~ categorical(logits = l)\n"
    model = parse(cell).build(dtype="float64")

    def drawn(temperature: float) -> np.ndarray:
        return np.asarray(model.generate(l=logits, temperature=temperature, seed=0))

    for t in (0.5, 2.0):
        p = np.exp(np.array([0, 1, 3]) / t)
        np.testing.assert_allclose(np.bincount(drawn(t), minlength=3) / 4000, p / p.sum(), atol=0.03)
    assert (drawn(0) == 2).all()
    with pytest.raises(ValueError, match="temperature: expected 0 or more, given -1"):
        drawn(-1)


def test_conditional_on_an_encoder(engine: str) -> None:
    model = load("Translate").build(K_in=5, K=4, H=6, A=3, dtype="float64")
    rng = np.random.default_rng(1)
    for name, tensor in model.params.items():
        model.params[name] = rng.normal(size=tensor.shape)
    x = [rng.integers(0, 5, n) for n in (5, 2, 3)]
    y = model.generate(6, x=x, greedy=True, engine=engine)
    assert y.shape == (6, 3)
    for b, own in enumerate(x):
        np.testing.assert_array_equal(model.generate(6, x=own, greedy=True, engine="tape"), y[:, b])
        for t in range(6):
            each = [float(model(x=own, y=[*y[:t, b], k], engine="tape").steps["nll"].numpy()[t]) for k in range(4)]
            assert int(np.argmin(each)) == y[t, b]
    with pytest.raises(ValueError, match=r"missing x, expected \(S, B\) integers 0\.\.4"):
        model.generate(6, engine="tape")


TWO = """
cell Two(D, H):
  input x[t]: D
  state y[t]: one_hot 3 = none
  state w[t]: one_hot 2 = none
  state h[t]: H = 0
  param V, W, U, R, S ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1] + R@y[t] + S@w[t-1])
  y[t] ~ categorical(logits = part(U@h[t-1], 0, 3))
  w[t] ~ categorical(logits = part(U@h[t], 3, 2))
  loss nll = -mean[t](logprob(y[t]) + logprob(w[t]))
  param U: (5, H) ~ glorot
"""


def test_several_draws_a_step_each_after_what_it_needs() -> None:
    model = parse(TWO.replace("V, W, U, R, S", "V, W, R, S")).build(D=2, H=4, dtype="float64")
    rng = np.random.default_rng(2)
    for name, tensor in model.params.items():
        model.params[name] = rng.normal(size=tensor.shape)
    x = rng.normal(size=(7, 2))
    out = model.generate(7, x=x, greedy=True, engine="tape")
    assert [d.name for d in model.generator.draws] == ["y", "w"]
    for t in range(7):
        given = {n: v[: t + 1].copy() for n, v in out.items()}
        for name, count in (("y", 3), ("w", 2)):
            each = []
            for k in range(count):
                given[name][t] = k
                each.append(float(model(x=x[: t + 1], **given, engine="tape").steps["nll"].numpy()[t]))
            if name == "w":  # y's own term also moves h, hence w's probabilities: only w is chosen last
                assert int(np.argmin(each)) == out["w"][t]
            given[name][t] = out[name][t]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("U@h[t] + V@y[t+1]", "E481"),
        ("U@h[t] + V@y[t]", "E481"),
        ("U@h[t] + V@last(y)", "E481"),
    ],
)
def test_what_only_training_can_do(line: str, code: str) -> None:
    cell = LETTERS.replace("V, W, U ~ glorot", "W: (H, H) ~ glorot\n  param V, U: (K, H) ~ glorot")
    cell = cell.replace("V@y[t-1] + ", "").replace("param V, U: (K, H)", "param U: (K, H) ~ glorot\n  param V: (K, K)")
    model = parse(cell.replace("U@h[t]", line)).build(K=3, H=2)
    model(y=[0, 1, 2], engine="tape")
    with pytest.raises(
        CellError, match="trains, but cannot be generated: y needs .*, which is not sampled yet"
    ) as error:
        model.generate(3, engine="tape")
    assert {d.code for d in error.value.diagnostics} == {code}


HURRY = """
cell Hurry(K, H):                     # it knows how far the end is
  state y[t]: one_hot K = none
  state h[t]: H = 0
  param V, W, U ~ glorot
  param v: K ~ normal
  h[t] = tanh(V@y[t-1] + W@h[t-1])
  y[t] ~ categorical(logits = U@h[t] + v*(t/len(t)))
  loss nll = -mean[t](logprob(y[t]))
"""


def test_a_cell_that_needs_to_know_its_length_draws_but_is_not_searched(engine: str) -> None:
    model = build(HURRY, K=4, H=5)
    for k, (name, tensor) in enumerate(model.params.items()):
        model.params[name] = np.random.default_rng(k).normal(size=tensor.shape) * 2
    y = model.generate(8, greedy=True, engine=engine)
    for t in range(8):
        each = [float(model(y=[*y[:t], k, *y[t + 1 :]], engine="tape").steps["nll"].numpy()[t]) for k in range(4)]
        assert int(np.argmin(each)) == y[t]
    with pytest.raises(CellError, match=r"cannot be carried on: y.logits uses len\(t\)"):
        model.generate(8, beam=2, engine=engine)


def test_a_cell_that_draws_nothing() -> None:
    with pytest.raises(ValueError, match="LSTM draws nothing"):
        load("LSTM").build(D=2, H=3).generate(5, engine="tape")


def test_bad_primes(letters: Model) -> None:
    with pytest.raises(ValueError, match=r"prime: expected categories 0\.\.3 of y, given 4\.\.4"):
        letters.generate(5, prime=[4], engine="tape")
    with pytest.raises(ValueError, match=r"prime: expected integers \(P,\) or \(P, B\), given float64 \(1,\)"):
        letters.generate(5, prime=[0.5], engine="tape")
    with pytest.raises(ValueError, match="T: expected 0 or more"):
        letters.generate(-1, engine="tape")


def test_a_cell_that_generates_can_be_read() -> None:
    text = load("CharRNN").generation(L=2)
    assert "prev[t] = y[t-1]" in text and "noise y.uniform[t]: scalar ~ uniform(0, 1)" in text and "nll" not in text
    assert "categorical_icdf(softmax(sharpness*(U@rnn.1.h[t] + a)), y.uniform[t])" in text
    greedy = load("CharRNN").generation(greedy=True)
    assert "noise" not in greedy and "sharpness" not in greedy
    with pytest.raises(ValueError, match="LSTM draws nothing"):
        load("LSTM").generation()


def test_one_generated_file_draws_at_all_sizes() -> None:
    texts = []
    for size in (5, 7):
        model = build(LETTERS, K=size - 1, H=size)
        system = model.generator.drawing.part(("y",), (), False).general
        texts.append(Plans(system, (), "float32").forward(("y",), False).source.text)
    assert texts[0] == texts[1]
