"""Ours: the cells as equations, through the public call."""

from __future__ import annotations

import dsl
import tinygrad_seq as tg
from benchmarks.peers.problem import Arrays, Task, problem

CUSTOM = """
cell Custom(D, H, k=4):
  input x[t]: D
  state h[t], c[t]: H = 0
  param V_f, V_o, V_g, W_f, W_o, W_g, S ~ glorot
  param b_f, b_o, b_g = 0
  param p_f, p_o: H = 0
  f[t] = sigmoid(V_f@x[t] + W_f@h[t-1] + p_f*c[t-1] + b_f)
  g[t] = tanh(V_g@x[t] + W_g@h[t-1] + S@h[t-k] + b_g)
  c[t] = f[t]*c[t-1] + (1 - f[t])*g[t]
  o[t] = sigmoid(V_o@x[t] + W_o@h[t-1] + p_o*c[t] + b_o)
  h[t] = o[t]*tanh(c[t])
  output h
"""
TASK = """
cell Regression(D, H):
  input x[t]: D
  input y[t]: H
  use rnn = {cell}(x=x, H=H)
  loss half = mean[t](mean((rnn[t] - y[t])**2))/2
  output rnn
"""
NAMES = {"lstm": "LSTM", "gru": "GRUResetAfter", "rnn": "Elman", "custom": "Custom"}


class Ours:
    """The cell and its loss as equations, through the public call: validation included."""

    remat = False

    def __init__(self, task: Task, dtype: str = "float32") -> None:
        cell, (params, x, target) = task[0], problem(task)
        self.x, self.target = x.astype(dtype), target.astype(dtype)
        spec = dsl.parse((CUSTOM if cell == "custom" else "") + TASK.format(cell=NAMES[cell]), "Regression")
        self.model = spec.build(D=x.shape[2], H=target.shape[2], seed=0, dtype=dtype, remat=self.remat)
        for name, value in params.items():
            self.model.params[f"rnn.{name}"] = value.astype(dtype)

    def step(self) -> None:
        self.value, self.grads = self.model.value_and_grad(x=self.x, y=self.target)

    def infer(self) -> None:
        with tg.no_grad():
            self.model(self.x)

    def gradients(self) -> tuple[float, Arrays]:
        self.step()
        return float(self.value), {k.removeprefix("rnn."): v for k, v in self.grads.items()}


class LossOutside(Ours):
    """The loss written in Python behind the run: on the tape, as in PyTorch."""

    def step(self) -> None:
        for parameter in self.model.params.values():
            parameter.grad = None
        difference = self.model(self.x)["rnn"] - self.target
        self.value = 0.5 * tg.mean(difference * difference)
        self.value.backward()
        self.grads = {k: v.grad.numpy() for k, v in self.model.params.items() if v.grad is not None}
