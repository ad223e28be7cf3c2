"""Generation over an encoder whose time axis is derived: a pyramid is as long as it will be before the first draw."""

from __future__ import annotations

import numpy as np
import pytest

from dsl.run.model import Model
from dsl.spec import parse
from dsl.text.diagnostics import CellError

LISTEN = """
cell Listen(D, K, H):
  input x[s]: D
  state y[t]: one_hot K = none
  state d[t], h[s]: H = 0
  time u: len(s)//2
  param V, W_y, W_d, W_c, U ~ glorot
  param W_a: (2*H, H) ~ glorot
  param b = 0
  h[s] = tanh(V@x[s])
  z[u] = concat(h[2*u], h[2*u+1])
  a[t,u] = softmax[u]((W_a@d[t-1])@z[u])
  c[t] = sum[u](a[t,u]*z[u])
  d[t] = tanh(W_y@y[t-1] + W_d@d[t-1] + W_c@c[t] + b)
  y[t] ~ categorical(logits = U@d[t])
  loss nll = -mean[t](logprob(y[t]))
"""


@pytest.fixture(scope="module")
def listen() -> Model:
    model = parse(LISTEN).build(D=3, K=4, H=5, dtype="float64")
    rng = np.random.default_rng(5)
    for name, tensor in model.params.items():
        model.params[name] = rng.normal(size=tensor.shape) * 1.5
    return model


def test_greedy_takes_what_training_finds_most_probable(listen: Model, engine: str) -> None:
    x, lengths = np.random.default_rng(0).standard_normal((7, 3, 3)), np.array([7, 2, 4])
    y = listen.generate(5, x=x, lengths={"s": lengths}, greedy=True, engine=engine)
    for b, n in enumerate(lengths):
        for t in range(5):
            tried = [[*y[:t, b], k] for k in range(4)]
            each = [float(listen(x=x[:n, b], y=v, engine="tape").steps["nll"].numpy()[t]) for v in tried]
            assert int(np.argmin(each)) == y[t, b]


def test_a_beam_of_all_is_the_likeliest(listen: Model) -> None:
    x, lengths = np.random.default_rng(1).standard_normal((6, 2, 3)), np.array([6, 3])
    found = listen.generate(3, x=x, lengths={"s": lengths}, beam=64)
    every = np.array(np.meshgrid(*[range(4)] * 3, indexing="ij")).reshape(3, -1)
    for b, n in enumerate(lengths):
        each = listen(x=np.repeat(x[:n, b, None], 64, axis=1), y=every).each["nll"].data
        assert found[:, b].tolist() == every[:, each.argmin()].tolist()


def test_an_axis_that_grows_with_the_draws_cannot_be_searched() -> None:
    text = LISTEN.replace("len(s)//2", "len(t)//2").replace("concat(h[2*u], h[2*u+1])", "concat(h[0], h[1])")
    model = parse(text).build(D=3, K=4, H=5)
    with pytest.raises(CellError, match="derived from another's whole length"):
        model.generate(3, x=np.zeros((6, 3)), beam=2)
