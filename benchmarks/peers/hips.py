"""HIPS autograd: the tape that many learnt from, over NumPy."""

from __future__ import annotations

from typing import Any

import numpy

from benchmarks.peers.problem import GATES, LAG, Arrays, Task, problem


class Hips:
    """A loop over the steps, input products outside it, gates in one product."""

    def __init__(self, task: Task, dtype: str = "float32") -> None:
        import autograd
        import autograd.numpy as np

        cell, (params, x, target) = task[0], problem(task)
        self.params = {k: v.astype(dtype) for k, v in params.items()}
        x, target = x.astype(dtype), target.astype(dtype)
        gates = [f"_{g}" for g in GATES[cell]] or [""]
        half = numpy.dtype(dtype).type(0.5)

        def sigmoid(z: Any) -> Any:
            return half * (np.tanh(half * z) + 1)

        def forward(p: Any) -> Any:
            V, W, b = (np.concatenate([p[name + gate] for gate in gates]) for name in "VWb")
            projected = np.dot(x, V.T) + b
            past, c = [numpy.zeros(target.shape[1:], dtype)] * LAG, numpy.zeros(target.shape[1:], dtype)
            for t in range(len(x)):
                h, z = past[-1], np.dot(past[-1], W.T)
                if cell == "lstm":
                    f, i, o, g = np.split(projected[t] + z, 4, axis=1)
                    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                    h = sigmoid(o) * np.tanh(c)
                elif cell == "gru":
                    (z_r, z_z, z_n), (w_r, w_z, w_n) = np.split(projected[t], 3, axis=1), np.split(z, 3, axis=1)
                    keep = sigmoid(z_z + w_z)
                    n = np.tanh(z_n + sigmoid(z_r + w_r) * (w_n + p["b_rn"]))
                    h = n + keep * (h - n)
                elif cell == "rnn":
                    h = np.tanh(projected[t] + z)
                else:
                    f, o, g = np.split(projected[t] + z, 3, axis=1)
                    f = sigmoid(f + p["p_f"] * c)
                    g = np.tanh(g + np.dot(past[-LAG], p["S"].T))
                    c = g + f * (c - g)
                    h = sigmoid(o + p["p_o"] * c) * np.tanh(c)
                past.append(h)
            return np.stack(past[LAG:])

        def loss(p: Any) -> Any:
            difference = forward(p) - target
            return half * np.mean(difference * difference)

        self.forward, self.both = forward, autograd.value_and_grad(loss)

    def step(self) -> None:
        self.value, self.grads = self.both(self.params)

    def infer(self) -> None:
        self.forward(self.params)

    def gradients(self) -> tuple[float, Arrays]:
        self.step()
        return float(self.value), self.grads
