"""Characters a second of a character-level LSTM: learned from, and written; ours beside the same model in torch.nn.

    python -m benchmarks.char_rnn                                   # 2 layers of 128, 65 characters
    python -m benchmarks.char_rnn --hidden 256 --write 1,16,64 --rounds 9 --json out/char_rnn.json
    python -m benchmarks.char_rnn --hidden 100 --layers 1 --batch 1 --chunk 25     # the size of min-char-rnn

A training step is what `fit` does for each batch of (unless told otherwise) 50 sequences of 50 characters: the next
batch, forward with the state of the batch before, cross-entropy, backward, clipping, Adam. Writing is 1,000 characters,
each drawn from its softmax and fed back: one call of `generate`, and for torch a loop over `nn.LSTM` and
`torch.multinomial`, which is how it is written there. Contenders run in processes of their own, in turns; gradients are
compared with a float64 run.
"""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers import left_out
from dsl.bench.race import Entry, Race, machine, table

LENGTH, CLIP, RATE = 1000, 5.0, 2e-3
GATES = "ifgo"  # torch's order
Arrays = dict[str, np.ndarray]


class Task(NamedTuple):
    """categories, units and layers; sequences and characters of a step; texts written at once"""

    K: int
    H: int
    L: int
    batch: int
    chunk: int
    together: int = 1
    dtype: str = "float32"


def weights(task: Task) -> Arrays:
    """Parameters under the cell's names; torch's second bias stays 0."""
    K, H, L = task.K, task.H, task.L
    rng = np.random.default_rng(0)

    def uniform(*shape: int) -> np.ndarray:
        return rng.uniform(-(H**-0.5), H**-0.5, shape).astype(np.float32)

    found = {"U": uniform(K, H), "a": uniform(K)}
    for k in range(L):
        for gate in GATES:
            found |= {f"rnn.{k}.V_{gate}": uniform(H, H if k else K), f"rnn.{k}.W_{gate}": uniform(H, H)}
            found[f"rnn.{k}.b_{gate}"] = uniform(H)
    return found


def text(task: Task) -> np.ndarray:
    return np.random.default_rng(1).integers(0, task.K, 200_000)


def lines(task: Task) -> np.ndarray:
    """Four short texts, (T, B), for comparing gradients."""
    return np.ascontiguousarray(text(task)[: task.chunk * 4].reshape(4, task.chunk).T)


class Ours:
    """The library's CharRNN, trained by the steps of `fit`, written by `generate`."""

    def __init__(self, task: Task) -> None:
        from dsl.run.data import Streams
        from dsl.run.job import Job
        from tinygrad_seq.optim import Adam

        self.task, self.model, self.count = task, self.build(task), 0
        batches, optimizer = Streams({"y": text(task)}, task.batch, task.chunk), Adam(self.model.params, lr=RATE)
        self.job = Job(self.model, "nll", batches, None, optimizer, CLIP, "compiled", None, {"seed": 0})

    @staticmethod
    def build(task: Task) -> Any:
        import dsl

        model = dsl.load("CharRNN", L=task.L).build(K=task.K, H=task.H, dtype=task.dtype)
        for name, value in weights(task).items():
            model.params[name] = value.astype(task.dtype)
        return model

    def step(self) -> None:
        self.job.advance()

    def infer(self) -> None:
        self.count += 1
        self.model.generate(LENGTH, batch=self.task.together, seed=self.count)

    def gradients(self) -> tuple[float, Arrays]:
        found: tuple[float, Arrays] = self.build(self.task).value_and_grad(y=lines(self.task))
        return found


class Torch:
    """One-hot vectors into nn.LSTM, a Linear, cross_entropy, clip_grad_norm_, Adam (fused)."""

    def __init__(self, task: Task) -> None:
        import torch

        self.torch, self.task = torch, task
        torch.manual_seed(0)
        self.lstm, self.head = torch.nn.LSTM(task.K, task.H, task.L), torch.nn.Linear(task.H, task.K)
        self.eye = torch.eye(task.K)
        self.load()
        self.parameters = [*self.lstm.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=RATE, fused=True)
        ids = torch.from_numpy(text(task))
        self.lines = ids[: len(ids) // task.batch * task.batch].reshape(task.batch, -1).T.contiguous()
        self.at, self.state = 0, None

    def load(self) -> None:
        found = weights(self.task)
        with self.torch.no_grad():
            for k in range(self.task.L):
                for ours, theirs in (("V", "weight_ih"), ("W", "weight_hh"), ("b", "bias_ih")):
                    value = np.concatenate([found[f"rnn.{k}.{ours}_{g}"] for g in GATES])
                    getattr(self.lstm, f"{theirs}_l{k}").copy_(self.torch.from_numpy(value))
                getattr(self.lstm, f"bias_hh_l{k}").zero_()
            self.head.weight.copy_(self.torch.from_numpy(found["U"]))
            self.head.bias.copy_(self.torch.from_numpy(found["a"]))

    def loss(self, read: Any, target: Any, state: Any = None) -> tuple[Any, Any]:
        h, state = self.lstm(self.eye[read], state)
        return self.torch.nn.functional.cross_entropy(self.head(h).flatten(0, 1), target.flatten()), state

    def step(self) -> None:
        if (end := self.at + self.task.chunk) + 1 > len(self.lines):
            self.at, end, self.state = 0, self.task.chunk, None
        read, target = self.lines[self.at : end], self.lines[self.at + 1 : end + 1]
        value, state = self.loss(read, target, self.state)
        self.optimizer.zero_grad()
        value.backward()
        self.torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        value.item()
        self.state = tuple(s.detach() for s in state)
        self.at = end

    def infer(self) -> None:
        torch = self.torch
        with torch.inference_mode():
            drawn = torch.zeros(LENGTH + 1, self.task.together, dtype=torch.long)
            state = None
            for t in range(LENGTH):
                h, state = self.lstm(self.eye[drawn[t : t + 1]], state)
                drawn[t + 1] = torch.multinomial(torch.softmax(self.head(h[0]), -1), 1)[:, 0]

    def gradients(self) -> tuple[float, Arrays]:
        """Of the first weights; before the first character none is read, a zero vector, as the cell has it."""
        self.load()
        y = self.torch.from_numpy(lines(self.task))
        nothing = self.torch.zeros(1, 4, self.task.K)
        h, _ = self.lstm(self.torch.cat([nothing, self.eye[y[:-1]]]))
        value = self.torch.nn.functional.cross_entropy(self.head(h).flatten(0, 1), y.flatten())
        for p in self.parameters:
            p.grad = None
        value.backward()
        found = {"U": self.head.weight.grad.numpy(), "a": self.head.bias.grad.numpy()}
        for k in range(self.task.L):
            for ours, theirs in (("V", "weight_ih"), ("W", "weight_hh"), ("b", "bias_ih")):
                parts = np.split(getattr(self.lstm, f"{theirs}_l{k}").grad.numpy(), 4)
                found |= {f"rnn.{k}.{ours}_{g}": part for g, part in zip(GATES, parts, strict=True)}
        return value.item(), found


ENTRIES = [Entry("tinygrad-seq", "benchmarks.char_rnn:Ours"), Entry("torch.nn.LSTM", "benchmarks.char_rnn:Torch")]


def speed(row: dict[str, Any], task: Task) -> str:
    """A row's characters a second, in thousands: learned from and written."""
    learned, written = task.batch * task.chunk / row["step_ms"], task.together * LENGTH / row["infer_ms"]
    return f"{row['peer']:14} reads {learned:7.1f}, writes {written:7.1f} thousand characters a second"


def main() -> None:
    parser = argparse.ArgumentParser(description="Characters a second: learned from and written.")
    parser.add_argument("--categories", type=int, default=65)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--chunk", type=int, default=50)
    parser.add_argument("--write", default="1,16", help="texts written at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=0.4, help="seconds a turn")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    facts, rows = machine(), []
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    task = Task(options.categories, options.hidden, options.layers, options.batch, options.chunk)
    true = Ours(task._replace(dtype="float64")).gradients()
    print(left_out("torch"), end="")
    with Race([e for e in ENTRIES if e.name != "torch.nn.LSTM" or find_spec("torch")]) as race:
        for together in map(int, options.write.split(",")):
            here = task._replace(together=together)
            found = race.run(here, true, options.rounds, options.turn)
            print(f"\nK,H,L,B,T = {','.join(map(str, here[:5]))}, {together} at once\n{table(found)}")
            print(*(speed(row, here) for row in found if "missing" not in row), sep="\n", flush=True)
            rows += [{"together": together, **row} for row in found]
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
