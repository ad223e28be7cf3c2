"""The contenders of `benchmarks/train_step.py`: one training step of the same network in each system.

Every contender is made from a task, (network, (B, T, D, H)), from the same arrays, and answers the same three calls:
`step()` runs forward, loss and backward to every parameter and returns when the work is done; `infer()` runs the
forward pass alone; `gradients()` gives the loss and the gradients under the problem's own names, so that they can be
compared with float64. A file a system.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from dsl.bench.race import Entry

BLAS = (("TGSEQ_PRODUCT", "blas"),)  # without the product kernel: what a machine that cannot have it falls back on

PEERS = {
    "tinygrad-seq": ("numba", Entry("tinygrad-seq", "benchmarks.peers.ours:Ours")),
    "loss outside": ("numba", Entry("loss outside", "benchmarks.peers.ours:LossOutside")),
    "by BLAS": ("numba", Entry("by BLAS", "benchmarks.peers.ours:Ours", BLAS)),
    "torch.nn": ("torch", Entry("torch.nn", "benchmarks.peers.pytorch:TorchModule")),
    "torch loop": ("torch", Entry("torch loop", "benchmarks.peers.pytorch:TorchLoop")),
    "torch.compile": ("torch", Entry("torch.compile", "benchmarks.peers.pytorch:TorchCompile")),
    "jax scan": ("jax", Entry("jax scan", "benchmarks.peers.scans:JaxScan")),
    "jax scan, plain": ("jax", Entry("jax scan, plain", "benchmarks.peers.scans:JaxPlain")),
    "HIPS autograd": ("autograd", Entry("HIPS autograd", "benchmarks.peers.hips:Hips")),
}


SLOW = ("HIPS autograd", "torch.compile")


def entries(names: Sequence[str]) -> list[Entry]:
    """Contenders by name. Errors: ValueError for one there is not."""
    for name in names:
        if name not in PEERS:
            raise ValueError(f"there is no contender {name}: {', '.join(PEERS)}")
    return [PEERS[name][1] for name in names]


def installed() -> list[str]:
    """The contenders this machine can run, ours first."""
    return [name for name, (package, _) in PEERS.items() if find_spec(package) is not None]


def suited(names: Sequence[str], size: tuple[int, int, int, int]) -> list[str]:
    """Those of some contenders that need neither seconds for a step of this size nor minutes for the first."""
    B, T, D, H = size
    return [n for n in names if n not in SLOW or B * T * H * (D + H) < 2e8]


def left_out(*packages: str) -> str:
    """A line that names the frameworks (of these, or all) that are not installed here; nothing when all are."""
    wanted = packages or tuple(dict.fromkeys(package for package, _ in PEERS.values()))
    missing = [p for p in wanted if find_spec(p) is None]
    return f"left out, not installed here: {', '.join(missing)}\n" if missing else ""


def made(name: str, task: Any, dtype: str = "float32") -> Any:
    """A contender in this process."""
    return PEERS[name][1].home_class()(task, dtype)
