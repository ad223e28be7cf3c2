"""Run by torchrun, two processes: an exported character model under DistributedDataParallel, each with half a batch.

    torchrun --standalone --nproc-per-node=2 -m tests.export.distributed_torch OUT.npz

Writes the gradients that the processes agree on. A loss is a mean over the batch: with halves of one size the mean of
their gradients is the whole batch's.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

import dsl

BATCH, STEPS, SYMBOLS = 6, 9, 5


def data() -> tuple[np.ndarray, np.ndarray]:
    """Symbols (T, B) and lengths (B,) of the whole batch."""
    rng = np.random.default_rng(7)
    return rng.integers(0, SYMBOLS, (STEPS, BATCH)), rng.integers(2, STEPS + 1, BATCH)


def model() -> dsl.run.model.Model:
    return dsl.load("CharRNN", L=2).build(K=SYMBOLS, H=8, seed=3, dtype="float64")


def main(path: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    module = DistributedDataParallel(model().to_torch())
    y, lengths = (torch.from_numpy(a) for a in data())
    own = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    module(y[:, own], lengths=lengths[own])["nll"].backward()
    if rank == 0:
        np.savez(path, **{n.removeprefix("module."): p.grad.numpy() for n, p in module.named_parameters()})
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    assert int(os.environ["WORLD_SIZE"]) == 2
    main(sys.argv[1])
