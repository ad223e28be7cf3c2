"""Ours: the cells as equations, through the public call."""

from __future__ import annotations

from typing import Any

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


class Ours:
    """The cell as equations, through the public call: validation, tape and loss included."""

    remat = False

    def __init__(self, task: Task, dtype: str = "float32") -> None:
        cell, (params, x, target) = task[0], problem(task)
        import dsl
        import tinygrad_seq as tg

        self.tg, self.x, self.target = tg, x.astype(dtype), target.astype(dtype)
        names = {"lstm": "LSTM", "gru": "GRUResetAfter", "rnn": "Elman"}
        spec = dsl.parse(CUSTOM) if cell == "custom" else dsl.load(names[cell])
        self.model = spec.build(D=x.shape[2], H=target.shape[2], seed=0, dtype=dtype, remat=self.remat)
        for name, value in params.items():
            self.model.params[name] = value.astype(dtype)

    def loss(self) -> Any:
        difference = self.model(self.x).h - self.target
        return 0.5 * self.tg.mean(difference * difference)

    def step(self) -> None:
        for parameter in self.model.params.values():
            parameter.grad = None
        self.value = self.loss()
        self.value.backward()

    def infer(self) -> None:
        with self.tg.no_grad():
            self.model(self.x)

    def gradients(self) -> tuple[float, Arrays]:
        self.step()
        return float(self.value.numpy()), {k: v.grad.numpy() for k, v in self.model.params.items()}
