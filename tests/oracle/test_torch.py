"""The library's LSTM and GRUResetAfter against torch.nn: random weights, ragged lengths, initial states, float64.

Values, last states and the gradient of every weight, bias, input and initial state agree to 1e-10.
"""

from __future__ import annotations

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg

torch = pytest.importorskip("torch")

TOLERANCE = 1e-10
LSTM = """
cell Started(D, H):
  input x[t]: D
  input h0, c0: H
  use rnn = LSTM(x=x, H=H, h=h0, c=c0)
  output rnn.h, rnn.c
"""
GRU = """
cell Started(D, H):
  input x[t]: D
  input h0: H
  use rnn = GRUResetAfter(x=x, H=H, h=h0)
  output rnn.h
"""


class Problem:
    """One random configuration: sizes, lengths, data, and the weights of a random linear loss."""

    def __init__(self, number: int) -> None:
        rng = self.rng = np.random.default_rng(number)
        self.T, self.B, self.D, self.H = (int(rng.integers(1, n)) for n in (13, 6, 7, 8))
        self.lengths = rng.integers(1, self.T + 1, self.B)
        self.lengths[rng.integers(self.B)] = self.T
        self.x = rng.normal(size=(self.T, self.B, self.D))
        self.start = {n: rng.normal(size=(self.B, self.H)) for n in ("h0", "c0")}
        self.on_h, self.on_last = rng.normal(size=(self.T, self.B, self.H)), rng.normal(size=(2, self.B, self.H))
        self.real = (np.arange(self.T)[:, None] < self.lengths)[..., None]
        self.last = (np.arange(self.T)[:, None] == self.lengths - 1)[..., None]

    def peer(self, kind, names):
        """torch's outputs and the gradients of the loss, ours by name."""
        net = kind(self.D, self.H).double()
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(torch.from_numpy(self.rng.normal(size=tuple(p.shape))))
        x = torch.from_numpy(self.x).requires_grad_()
        start = [torch.from_numpy(self.start[n][None]).requires_grad_() for n in names]
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.from_numpy(self.lengths), enforce_sorted=False)
        out, last = net(packed, tuple(start) if len(start) > 1 else start[0])
        out, _ = torch.nn.utils.rnn.pad_packed_sequence(out, total_length=self.T)
        last = last if isinstance(last, tuple) else (last,)
        loss = (out * torch.from_numpy(self.on_h)).sum()
        for value, weight in zip(last, self.on_last, strict=False):
            loss = loss + (value[0] * torch.from_numpy(weight)).sum()
        loss.backward()
        gradients = {"x": x.grad.numpy()} | {n: s.grad[0].numpy() for n, s in zip(names, start, strict=True)}
        return net, out.detach().numpy(), [v[0].detach().numpy() for v in last], gradients

    def ours(self, text, weights, names, streams, engine):
        model = dsl.parse(text).build(D=self.D, H=self.H, dtype="float64")
        assert sorted(model.params) == sorted(weights)
        for name, value in weights.items():
            model.params[name] = value
        x = np.where(self.real, self.x, np.nan)  # padding must not matter
        fed = {n: tg.tensor(v, requires_grad=True) for n, v in {"x": x, **{n: self.start[n] for n in names}}.items()}
        run = model(**fed, lengths={"t": self.lengths}, engine=engine)
        loss = tg.sum(run["rnn.h"] * np.where(self.real, self.on_h, 0.0))
        for stream, weight in zip(streams, self.on_last, strict=False):
            loss = loss + tg.sum(run[stream] * np.where(self.last, weight, 0.0))
        loss.backward()
        values = [run[s].numpy() for s in streams]
        return values, {n: fed[n].grad.numpy() for n in fed} | {n: p.grad.numpy() for n, p in model.params.items()}

    def compare(self, text, weights, peer_weights, peer, names, streams, engine):
        out, last, gradients = peer
        values, ours = self.ours(text, weights, names, streams, engine)
        np.testing.assert_allclose(values[0], np.where(self.real, out, 0), rtol=0, atol=TOLERANCE)
        for value, end in zip(values, last, strict=True):
            np.testing.assert_allclose((value * self.last).sum(0), end, rtol=0, atol=TOLERANCE)
        for name, expected in {**gradients, **peer_weights}.items():
            limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(ours[name], expected, rtol=0, atol=limit, err_msg=name)
        assert ours.keys() == {**gradients, **peer_weights}.keys()


def blocks(value, letters, stem):
    """torch stacks its gates' rows; ours by name."""
    return {f"{stem}_{g}": v for g, v in zip(letters, np.split(value, len(letters)), strict=True)}


@pytest.mark.parametrize("engine", ["compiled", "tape"])
@pytest.mark.parametrize("number", range(32))
def test_lstm_equals_torch(number, engine):
    p = Problem(number)
    net, *peer = p.peer(torch.nn.LSTM, ("h0", "c0"))
    sides = {}
    for key, of in {"weights": lambda q: q.detach().numpy(), "gradients": lambda q: q.grad.numpy()}.items():
        v, w, b, b2 = (of(getattr(net, n)) for n in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
        bias = b + b2 if key == "weights" else b
        found = blocks(v, "ifgo", "V") | blocks(w, "ifgo", "W") | blocks(bias, "ifgo", "b")
        sides[key] = {f"rnn.{n}": a for n, a in found.items()}
    p.compare(LSTM, sides["weights"], sides["gradients"], peer, ("h0", "c0"), ("rnn.h", "rnn.c"), engine)


@pytest.mark.parametrize("engine", ["compiled", "tape"])
@pytest.mark.parametrize("number", range(32))
def test_gru_reset_after_equals_torch(number, engine):
    p = Problem(number)
    net, *peer = p.peer(torch.nn.GRU, ("h0",))
    sides = {}
    for key, of in {"weights": lambda q: q.detach().numpy(), "gradients": lambda q: q.grad.numpy()}.items():
        v, w, b, b2 = (of(getattr(net, n)) for n in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
        inner = blocks(b2, "rzn", "b")
        outer = blocks(b, "rzn", "b")
        if key == "weights":
            outer |= {n: outer[n] + inner[n] for n in ("b_r", "b_z")}
        found = blocks(v, "rzn", "V") | blocks(w, "rzn", "W") | outer | {"b_rn": inner["b_n"]}
        sides[key] = {f"rnn.{n}": a for n, a in found.items()}
    p.compare(GRU, sides["weights"], sides["gradients"], peer, ("h0",), ("rnn.h",), engine)
