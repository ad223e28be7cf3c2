"""PyTorch: what it ships, a loop over the steps, and that loop compiled."""

from __future__ import annotations

from collections.abc import Callable
from shutil import which
from typing import Any

import numpy as np

from benchmarks.peers.problem import GATES, LAG, Arrays, Task, problem
from dsl.bench.race import Lacking


class TorchModule:
    """`torch.nn.LSTM`, `GRU`, `RNN`: what its users call. A custom cell it does not have."""

    ORDER = {"lstm": "ifgo", "gru": "rzn", "rnn": ""}

    def __init__(self, task: Task, dtype: str = "float32") -> None:
        cell, (params, x, target) = task[0], problem(task)
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

    def __init__(self, task: Task, dtype: str = "float32") -> None:
        cell, (params, x, target) = task[0], problem(task)
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
            h, cell = step(z, hidden[-1], hidden[-LAG], cell, W.T)
            hidden.append(h)
        return torch.stack(hidden[LAG:])

    def lstm(self, z: Any, h: Any, far: Any, c: Any, W: Any) -> tuple[Any, Any]:
        f, i, o, g = self.torch.addmm(z, h, W).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def gru(self, z: Any, h: Any, far: Any, c: Any, W: Any) -> tuple[Any, Any]:
        z_r, z_z, z_n = z.chunk(3, 1)
        w_r, w_z, w_n = (h @ W).chunk(3, 1)
        keep = (z_z + w_z).sigmoid()
        n = (z_n + (z_r + w_r).sigmoid() * (w_n + self.params["b_rn"])).tanh()
        return n + keep * (h - n), c

    def rnn(self, z: Any, h: Any, far: Any, c: Any, W: Any) -> tuple[Any, Any]:
        return self.torch.addmm(z, h, W).tanh(), c

    def custom(self, z: Any, h: Any, far: Any, c: Any, W: Any) -> tuple[Any, Any]:
        p = self.params
        f, o, g = self.torch.addmm(z, h, W).chunk(3, 1)
        f = (f + p["p_f"] * c).sigmoid()
        g = self.torch.addmm(g, far, p["S"].T).tanh()
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


class TorchCompile(TorchLoop):
    """That loop, each step through `torch.compile`: the whole loop at once takes the better part of a minute."""

    def __init__(self, task: Task, dtype: str = "float32") -> None:
        if which("g++") is None and which("clang++") is None:
            raise Lacking("torch.compile needs a C++ compiler")
        super().__init__(task, dtype)
        setattr(self, self.cell, self.torch.compile(getattr(self, self.cell), dynamic=False))
