"""Memory of one training step and of inference, ours beside torch, and whether it grows over many steps.

    python -m benchmarks.memory                                   # every contender at every size, a table
    python -m benchmarks.memory --sizes 32,1000,64,128 --json out/memory.json
    python -m benchmarks.memory --growth 10000                    # resident memory of ours over so many steps

Each contender, at each size and in each mode, has a process of its own. What is measured is the peak of resident memory
(`VmHWM`, reset through `/proc/self/clear_refs`; `ru_maxrss` where that is not allowed) above what is resident when
everything is imported, built, given its data and compiled by a step on a corner of it: so the data, the parameters and
the libraries do not count, activations, gradients and scratch do. The time is the shortest of a few steps in the same
process; `benchmarks.train_step` times better.

Cells: `lstm` as in `benchmarks.peers`, size B,T,D,H; `words`, an LSTM whose outputs choose among K words (a linear map
and the cross entropy), size B,T,D,H,K.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import installed, left_out
from benchmarks.peers.ours import Ours
from benchmarks.peers.pytorch import TorchLoop, TorchModule

SIZES = ((1, 100, 32, 64), (16, 64, 64, 128), (32, 100, 128, 256), (32, 1000, 64, 128), (4, 10000, 64, 128))
WORDS = ((32, 100, 128, 128, 10000), (32, 1000, 64, 128, 50))
MIB = 2**20
CORNER = 300  # steps: enough for a rematerialised run to have segments, whose programs are to be compiled, too

WORD_CELL = """
from lstm import LSTM
cell Words(D, H, K):
  input x[t]: D
  state y[t]: one_hot K = none
  param U ~ glorot
  param a = 0
  use rnn = LSTM(x=x, H=H)
  y[t] ~ categorical(logits = U@rnn[t] + a)
  loss nll = -mean[t](logprob(y[t]))
"""


class Remat(Ours):
    """With the states of √T steps instead of everything."""

    remat = True


class OursWords:
    """An LSTM and a softmax over words as one cell."""

    remat = False

    def __init__(self, x: np.ndarray, y: np.ndarray, H: int, K: int) -> None:
        import dsl

        self.x, self.target = x, y
        self.model = dsl.parse(WORD_CELL, cell="Words").build(D=x.shape[2], H=H, K=K, seed=0, remat=self.remat)

    def step(self) -> None:
        self.value, self.grads = self.model.value_and_grad(x=self.x, y=self.target)

    def infer(self) -> None:
        import tinygrad_seq as tg

        with tg.no_grad():
            self.model(x=self.x, y=self.target)


class RematWords(OursWords):
    """With the states of √T steps instead of everything."""

    remat = True


class TorchWords:
    """`torch.nn.LSTM`, `torch.nn.Linear`, `cross_entropy`."""

    def __init__(self, x: np.ndarray, y: np.ndarray, H: int, K: int) -> None:
        import torch

        self.torch = torch
        self.x, self.target = torch.from_numpy(x), torch.from_numpy(y)
        self.rnn, self.map = torch.nn.LSTM(x.shape[2], H), torch.nn.Linear(H, K)

    def loss(self) -> Any:
        logits = self.map(self.rnn(self.x)[0])
        return self.torch.nn.functional.cross_entropy(logits.flatten(0, 1), self.target.flatten())

    def step(self) -> None:
        self.rnn.zero_grad(set_to_none=True)
        self.map.zero_grad(set_to_none=True)
        self.loss().backward()

    def infer(self) -> None:
        with self.torch.inference_mode():
            self.loss()


CELLS: dict[str, dict[str, Any]] = {
    "lstm": {"tinygrad-seq": Ours, "remat": Remat, "torch.nn": TorchModule, "torch loop": TorchLoop},
    "words": {"tinygrad-seq": OursWords, "remat": RematWords, "torch.nn": TorchWords},
}


def contender(name: str, cell: str, size: tuple[int, ...]) -> Any:
    """The work of a contender, with its data."""
    kind = CELLS[cell][name]
    if cell != "words":
        return kind((cell, size))
    B, T, D, H, K = size
    random = np.random.default_rng(0)
    return kind(random.standard_normal((T, B, D)).astype(np.float32), random.integers(0, K, (T, B)), H, K)


def resident() -> float:
    """MiB of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def peak() -> float:
    """The largest `resident` since the last reset, where there was one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def reset() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("the peak cannot be reset here: it counts from the start of the process", file=sys.stderr)


def measure(name: str, cell: str, size: tuple[int, ...], mode: str, rounds: int = 4) -> dict[str, Any]:
    """Peak MiB above the baseline and the shortest step in ms, in this process."""
    work = contender(name, cell, size)
    run = getattr(work, mode)
    x, target = work.x, work.target
    rows = min(2, size[0])
    work.x, work.target = x[:CORNER, :rows], target[:CORNER, :rows]
    if isinstance(x, np.ndarray):
        work.x, work.target = work.x.copy(), work.target.copy()
    run()
    work.x, work.target = x, target
    before = resident()
    reset()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"name": name, "cell": cell, "size": size, "mode": mode, "MiB": peak() - before, "ms": 1e3 * min(times)}


def alone(*task: Any) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--one", json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def growth(steps: int, every: int = 1000) -> list[float]:
    """Resident MiB of our training loop, lengths changing, after a tenth of the steps and then every so many."""
    work = contender("tinygrad-seq", "lstm", (4, 40, 16, 32))
    x, target = work.x, work.target
    found = []
    for k in range(steps):
        T = 10 + k % 30
        work.x, work.target = x[:T], target[:T]
        work.step()
        if k + 1 >= steps // 10 and (k + 1) % every == 0:
            found.append(resident())
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """One line a contender, with ratios to torch.nn."""
    lines = [f"{'':14}{'MiB':>9}{'/ torch.nn':>12}{'ms':>9}{'/ torch.nn':>12}"]
    peer = next((r for r in rows if r["name"] == "torch.nn"), None)
    for r in rows:
        ratios = [f"{r[k] / max(peer[k], 1e-9):.2f}" if peer else "" for k in ("MiB", "ms")]
        lines.append(f"{r['name']:14}{r['MiB']:9.1f}{ratios[0]:>12}{r['ms']:9.2f}{ratios[1]:>12}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of a training step and of inference, ours beside torch.")
    parser.add_argument("--sizes", default=";".join(",".join(map(str, s)) for s in (*SIZES, *WORDS)))
    parser.add_argument("--peers", default="tinygrad-seq,remat,torch.nn,torch loop")
    parser.add_argument("--modes", default="step,infer")
    parser.add_argument("--growth", type=int, default=0, metavar="STEPS", help="only this: memory of ours over time")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, cell, size, mode = json.loads(options.one)
        print(json.dumps(measure(name, cell, tuple(size), mode)))
        return
    if options.growth:
        print(" ".join(f"{m:.1f}" for m in growth(options.growth)), "MiB resident")
        return
    print(left_out("torch"), end="")
    rows: list[dict[str, Any]] = []
    names = [n for n in options.peers.split(",") if n in ("remat", *installed())]
    for text in options.sizes.split(";"):
        size = tuple(int(n) for n in text.split(","))
        cell = "lstm" if len(size) == 4 else "words"
        for mode in options.modes.split(","):
            found = [alone(n, cell, size, mode) for n in names if n in CELLS[cell]]
            print(f"\n{cell} {mode}, {'B,T,D,H,K'[: 2 * len(size) - 1]} = {text}\n{table(found)}", flush=True)
            rows += found
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
