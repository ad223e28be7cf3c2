"""The contenders of `benchmarks/train_step.py`: one training step of the same network in each system.

Every contender is built from the same arrays and answers the same three calls: `step()` runs forward, loss and backward
to every parameter and returns when the work is done; `infer()` runs the forward pass alone; `gradients()` gives the
loss and the gradients under the problem's own names, so that they can be compared with float64.

The networks, time-major, zero start, loss = mean((h - target)**2)/2 over all steps; x gets no gradient:

    lstm    f, i, o, g each with V (H, D), W (H, H), b (H)
    gru     reset after the product, with the bias b_rn inside the reset (torch's GRU with two of its biases merged)
    rnn     tanh(V x + W h' + b)
    custom  peepholes, coupled gates and a matrix shortcut from four steps back: a cell no framework ships
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from dsl.bench.race import Entry, Lacking

Arrays = dict[str, np.ndarray]
SIZES = ((1, 100, 32, 64), (16, 64, 64, 128), (32, 100, 128, 256), (64, 128, 256, 512), (32, 1000, 64, 128))
GATES = {"lstm": "fiog", "gru": "rzn", "rnn": "", "custom": "fog"}
LAG = 4

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


def problem(cell: str, size: tuple[int, int, int, int], seed: int = 0) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """Parameters by name, x (T, B, D) and target (T, B, H), float32, for size = (B, T, D, H)."""
    B, T, D, H = size
    random = np.random.default_rng(seed)

    def uniform(*shape: int) -> np.ndarray:
        return random.uniform(-(H**-0.5), H**-0.5, shape).astype(np.float32)

    gates = [f"_{g}" for g in GATES[cell]] or [""]
    params = {f"V{g}": uniform(H, D) for g in gates}
    params |= {f"W{g}": uniform(H, H) for g in gates}
    params |= {f"b{g}": uniform(H) for g in gates}
    if cell == "gru":
        params["b_rn"] = uniform(H)
    if cell == "custom":
        params |= {"S": uniform(H, H), "p_f": uniform(H), "p_o": uniform(H)}
    x = random.standard_normal((T, B, D)).astype(np.float32)
    target = (0.5 * random.standard_normal((T, B, H))).astype(np.float32)
    return params, x, target


# ---------------------------------------------------------------- ours


class Ours:
    """The cell as equations, through the public call: validation, tape and loss included."""

    def __init__(self, cell: str, params: Arrays, x: np.ndarray, target: np.ndarray, dtype: str = "float32") -> None:
        import dsl
        import tinygrad_seq as tg

        self.tg, self.x, self.target = tg, x.astype(dtype), target.astype(dtype)
        names = {"lstm": "LSTM", "gru": "GRUResetAfter", "rnn": "Elman"}
        spec = dsl.parse(CUSTOM) if cell == "custom" else dsl.load(names[cell])
        self.model = spec.build(D=x.shape[2], H=target.shape[2], seed=0, dtype=dtype)
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


# ---------------------------------------------------------------- torch


class TorchModule:
    """`torch.nn.LSTM`, `GRU`, `RNN`: what its users call. A custom cell it does not have."""

    ORDER = {"lstm": "ifgo", "gru": "rzn", "rnn": ""}

    def __init__(self, cell: str, params: Arrays, x: np.ndarray, target: np.ndarray, dtype: str = "float32") -> None:
        import torch

        if cell == "custom":
            raise Lacking("torch.nn has no such cell")
        self.torch, self.cell = torch, cell
        kind = getattr(torch, dtype)
        self.x, self.target = torch.from_numpy(x).to(kind), torch.from_numpy(target).to(kind)
        H = target.shape[2]
        self.module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell](x.shape[2], H, dtype=kind)
        self.gates = [f"_{g}" for g in self.ORDER[cell]] or [""]
        inner = np.zeros(H * len(self.gates), np.float32)
        if cell == "gru":
            inner[2 * H :] = params["b_rn"]
        with torch.no_grad():
            self.module.weight_ih_l0.copy_(self.stacked(params, "V"))
            self.module.weight_hh_l0.copy_(self.stacked(params, "W"))
            self.module.bias_ih_l0.copy_(self.stacked(params, "b"))
            self.module.bias_hh_l0.copy_(torch.from_numpy(inner))

    def stacked(self, params: Arrays, name: str) -> Any:
        return self.torch.from_numpy(np.concatenate([params[name + gate] for gate in self.gates]))

    def step(self) -> None:
        self.module.zero_grad(set_to_none=True)
        difference = self.module(self.x)[0] - self.target
        self.value = 0.5 * (difference * difference).mean()
        self.value.backward()

    def infer(self) -> None:
        with self.torch.inference_mode():
            self.module(self.x)

    def gradients(self) -> tuple[float, Arrays]:
        self.step()
        found: Arrays = {}
        parts = (("V", "weight_ih_l0"), ("W", "weight_hh_l0"), ("b", "bias_ih_l0"))
        for name, attribute in parts:
            pieces = np.split(getattr(self.module, attribute).grad.numpy(), len(self.gates))
            found |= {name + gate: piece for gate, piece in zip(self.gates, pieces, strict=True)}
        if self.cell == "gru":
            found["b_rn"] = np.split(self.module.bias_hh_l0.grad.numpy(), 3)[2]
        return self.value.item(), found


class TorchLoop:
    """A loop over the steps, written well: input products outside the loop, gates in one product."""

    def __init__(self, cell: str, params: Arrays, x: np.ndarray, target: np.ndarray, dtype: str = "float32") -> None:
        import torch

        kind = getattr(torch, dtype)
        self.torch, self.cell = torch, cell
        self.params = {k: torch.from_numpy(v).to(kind).requires_grad_() for k, v in params.items()}
        self.x, self.target = torch.from_numpy(x).to(kind), torch.from_numpy(target).to(kind)
        self.gates = [f"_{g}" for g in GATES[cell]] or [""]

    def forward(self) -> Any:
        torch, p = self.torch, self.params
        V, W, b = (torch.cat([p[name + gate] for gate in self.gates]) for name in "VWb")
        projected = torch.nn.functional.linear(self.x, V, b).unbind(0)  # indexing in the loop would be O(T^2) backward
        zero = torch.zeros(self.target.shape[1:], dtype=self.x.dtype)
        step: Callable[..., Any] = getattr(self, self.cell)
        hidden, cell = [zero] * LAG, zero
        for z in projected:
            h, cell = step(z, hidden, cell, W.T)
            hidden.append(h)
        return torch.stack(hidden[LAG:])

    def lstm(self, z: Any, hidden: list[Any], c: Any, W: Any) -> tuple[Any, Any]:
        f, i, o, g = self.torch.addmm(z, hidden[-1], W).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def gru(self, z: Any, hidden: list[Any], c: Any, W: Any) -> tuple[Any, Any]:
        h = hidden[-1]
        z_r, z_z, z_n = z.chunk(3, 1)
        w_r, w_z, w_n = (h @ W).chunk(3, 1)
        keep = (z_z + w_z).sigmoid()
        n = (z_n + (z_r + w_r).sigmoid() * (w_n + self.params["b_rn"])).tanh()
        return n + keep * (h - n), c

    def rnn(self, z: Any, hidden: list[Any], c: Any, W: Any) -> tuple[Any, Any]:
        return self.torch.addmm(z, hidden[-1], W).tanh(), c

    def custom(self, z: Any, hidden: list[Any], c: Any, W: Any) -> tuple[Any, Any]:
        p = self.params
        f, o, g = self.torch.addmm(z, hidden[-1], W).chunk(3, 1)
        f = (f + p["p_f"] * c).sigmoid()
        g = self.torch.addmm(g, hidden[-LAG], p["S"].T).tanh()
        c = g + f * (c - g)
        return (o + p["p_o"] * c).sigmoid() * c.tanh(), c

    def step(self) -> None:
        for parameter in self.params.values():
            parameter.grad = None
        difference = self.forward() - self.target
        self.value = 0.5 * (difference * difference).mean()
        self.value.backward()

    def infer(self) -> None:
        with self.torch.inference_mode():
            self.forward()

    def gradients(self) -> tuple[float, Arrays]:
        self.step()
        return self.value.item(), {k: v.grad.numpy() for k, v in self.params.items()}


# ---------------------------------------------------------------- jax


class JaxScan:
    """`lax.scan` under `jit`, the input products outside the scan."""

    def __init__(self, cell: str, params: Arrays, x: np.ndarray, target: np.ndarray, dtype: str = "float32") -> None:
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
            return jax.lax.scan(step, (zero,) * (lags + 1), x @ V.T + b)[1]

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


PEERS: dict[str, tuple[str, type[Any]]] = {
    "tinygrad-seq": ("numba", Ours),
    "torch.nn": ("torch", TorchModule),
    "torch loop": ("torch", TorchLoop),
    "jax scan": ("jax", JaxScan),
}


# how a contender's process makes it from (cell, size)
def ours(task: Any) -> Ours:
    return Ours(task[0], *problem(*task))


def torch_module(task: Any) -> TorchModule:
    return TorchModule(task[0], *problem(*task))


def torch_loop(task: Any) -> TorchLoop:
    return TorchLoop(task[0], *problem(*task))


def jax_scan(task: Any) -> JaxScan:
    return JaxScan(task[0], *problem(*task))


MAKERS = {"tinygrad-seq": ours, "torch.nn": torch_module, "torch loop": torch_loop, "jax scan": jax_scan}


def entries(names: list[str]) -> list[Entry]:
    return [Entry(name, f"{__name__}:{MAKERS[name].__name__}") for name in names]


def installed() -> list[str]:
    """The contenders this machine can run."""
    return [name for name, (package, _) in PEERS.items() if importlib.util.find_spec(package) is not None]
