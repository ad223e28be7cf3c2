"""Cells that no framework has a kernel for, each beside its own exports, torchrecurrent's layer and LSTMs.

    python -m benchmarks.cells                       # all of them at (B, T, D, H) = 32, 100, 64, 128
    python -m benchmarks.cells --cells MGU,SRU --size 16,64,64,128 --json out/cells.json

One training step and inference, interleaved, medians and ratios (`dsl.bench`); gradients are compared with our float64.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dsl.bench import contenders
from dsl.bench.contenders import Ours, Task, TorchLSTM
from dsl.bench.race import Entry, Lacking, Race, machine, table
from dsl.spec import load, parse

LAYERS = """
from lstm import LSTM

cell ThreeLayers(D, H):
  input x[t]: D
  use rnn = stack 3 of LSTM(x=x, H=H)
  output rnn
"""
CELLS: dict[str, dict[str, Any]] = {
    "GRU": {},
    "Peephole": {},
    "MGU": {},
    "IndRNN": {},
    "minGRU": {},
    "LayerNormLSTM": {},
    "Skip": {},
    "BiLSTM": {},
    "ThreeLayers": {},
    "CharRNN": {"K": 65, "L": 2},
}
THEIRS = {"Peephole": "PeepholeLSTM", "MGU": "MGU", "IndRNN": "IndRNN"}  # torchrecurrent's names


@dataclass(frozen=True)
class Recurrent(Task):
    """A task that also knows which of torchrecurrent's layers computes about the same."""

    theirs: str = ""


class TorchRecurrent(TorchLSTM):
    """The layer of torchrecurrent, a loop over the steps in PyTorch. It has two biases a gate, so gradients differ."""

    def __init__(self, task: Recurrent) -> None:
        import torch
        import torchrecurrent

        if not task.theirs:
            raise Lacking("torchrecurrent has no such cell")
        model = task.model()
        sizes = model.system.arguments
        self.torch, self.x = torch, torch.from_numpy(task.data(model)["x"])
        self.module = getattr(torchrecurrent, task.theirs)(sizes["D"], sizes["H"]).to(getattr(torch, task.dtype))


def names() -> list[str]:
    """Installed contenders, ours first."""
    theirs = ["torchrecurrent"] if find_spec("torchrecurrent") else []
    return [*contenders.installed(), *theirs]


def entries(chosen: Sequence[str]) -> list[Entry]:
    own = Entry("torchrecurrent", f"{__name__}:TorchRecurrent")
    return [own if name == "torchrecurrent" else contenders.entries([name])[0] for name in chosen]


def task(cell: str, size: tuple[int, int, int, int], ragged: bool = False, dtype: str = "float32") -> Recurrent:
    batch, steps, inputs, units = size
    spec = parse(LAYERS) if cell == "ThreeLayers" else load(cell)
    given = {"D": inputs, "H": units, **CELLS.get(cell, {})}
    origin = spec.build(seed=0, **{k: v for k, v in given.items() if k in spec.system.arguments}).origin
    assert origin is not None
    return Recurrent(origin, batch, steps, ragged, dtype, theirs=THEIRS.get(cell, ""))


def race(
    cell: str, size: tuple[int, int, int, int], chosen: Sequence[str], rounds: int, turn: float, **about: Any
) -> list[Mapping[str, Any]]:
    """Rows of a cell's table."""
    what = task(cell, size, **about)
    true = Ours(replace(what, dtype="float64")).gradients()
    with Race(entries(chosen)) as running:
        return list(running.run(what, true, rounds, turn))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time cells that no framework has a kernel for.")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--size", default="32,100,64,128", help="B,T,D,H")
    parser.add_argument("--peers", default=",".join(names()))
    parser.add_argument("--ragged", action="store_true", help="lengths from half the steps to all of them")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=0.4, help="seconds a turn")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    size: Any = tuple(int(n) for n in options.size.split(","))
    about = {"ragged": options.ragged, "dtype": options.dtype}
    found = []
    for cell in options.cells.split(","):
        rows = race(cell, size, options.peers.split(","), options.rounds, options.turn, **about)
        print(f"\n{cell}  B,T,D,H = {options.size}\n{table(rows)}", flush=True)
        found += [{"cell": cell, "size": size, **about, **row} for row in rows]
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
