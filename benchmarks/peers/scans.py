"""JAX: `lax.scan` under `jit`, in both usual forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.problem import GATES, LAG, Arrays, Task, problem


class JaxScan:
    """The input products outside the scan."""

    hoisted = True

    def __init__(self, task: Task, dtype: str = "float32") -> None:
        cell, (params, x, target) = task[0], problem(task)
        import jax
        import jax.numpy as jnp

        self.jax = jax
        self.params = {k: jnp.asarray(v) for k, v in params.items()}
        self.x, self.target = jnp.asarray(x), jnp.asarray(target)
        gates = [f"_{g}" for g in GATES[cell]] or [""]
        sigmoid, tanh = jax.nn.sigmoid, jnp.tanh

        def forward(p: Any, x: Any) -> Any:
            V, W, b = (jnp.concatenate([p[name + gate] for gate in gates]) for name in "VWb")
            zero = jnp.zeros(target.shape[1:], jnp.float32)

            def step(carry: Any, z: Any) -> Any:
                *past, c = carry
                if not self.hoisted:
                    z = z @ V.T + b
                h = past[-1]
                if cell == "lstm":
                    f, i, o, g = jnp.split(z + h @ W.T, 4, axis=1)
                    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
                    new = sigmoid(o) * tanh(c)
                elif cell == "gru":
                    z_r, z_z, z_n = jnp.split(z, 3, axis=1)
                    w_r, w_z, w_n = jnp.split(h @ W.T, 3, axis=1)
                    keep = sigmoid(z_z + w_z)
                    n = tanh(z_n + sigmoid(z_r + w_r) * (w_n + p["b_rn"]))
                    new = n + keep * (h - n)
                elif cell == "rnn":
                    new = tanh(z + h @ W.T)
                else:
                    f, o, g = jnp.split(z + h @ W.T, 3, axis=1)
                    f = sigmoid(f + p["p_f"] * c)
                    g = tanh(g + past[-LAG] @ p["S"].T)
                    c = g + f * (c - g)
                    new = sigmoid(o + p["p_o"] * c) * tanh(c)
                return (*past[1:], new, c), new

            lags = LAG if cell == "custom" else 1
            return jax.lax.scan(step, (zero,) * (lags + 1), x @ V.T + b if self.hoisted else x)[1]

        def loss(p: Any, x: Any, target: Any) -> Any:
            difference = forward(p, x) - target
            return 0.5 * jnp.mean(difference * difference)

        self.forward, self.both = jax.jit(forward), jax.jit(jax.value_and_grad(loss))

    def step(self) -> None:
        self.value, self.grads = self.jax.block_until_ready(self.both(self.params, self.x, self.target))

    def infer(self) -> None:
        self.jax.block_until_ready(self.forward(self.params, self.x))

    def gradients(self) -> tuple[float, Arrays]:
        self.step()
        return float(self.value), {k: np.asarray(v) for k, v in self.grads.items()}


class JaxPlain(JaxScan):
    """All of a step inside the scan, as one writes it first."""

    hoisted = False
