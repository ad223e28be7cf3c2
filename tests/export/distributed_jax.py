"""Run in a process of its own, which jax lets have two devices: an exported character model under shard_map.

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m tests.export.distributed_jax OUT.npz

Each device differentiates its half of the batch, and the mean over devices is written.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from tests.export.distributed_torch import data, model


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    shard_map = (
        getattr(jax, "shard_map", None) or __import__("jax.experimental.shard_map").experimental.shard_map.shard_map
    )
    forward = model().to_jax()
    y, lengths = data()

    def gradients(params: Any, y: Any, lengths: Any) -> Any:
        grads = jax.grad(lambda p: forward(p, {"y": y}, lengths)["nll"])(params)
        return jax.tree.map(lambda g: g[None], grads)

    mesh = Mesh(np.array(jax.devices()), ("batch",))
    assert mesh.size == 2
    whole, halves = PartitionSpec(), PartitionSpec("batch")
    mapped = shard_map(
        gradients, mesh=mesh, in_specs=(whole, PartitionSpec(None, "batch"), halves), out_specs=halves, check_vma=False
    )
    found = jax.jit(mapped)(forward.params, y, lengths)
    np.savez(path, **{n: np.asarray(g).mean(0) for n, g in found.items()})


if __name__ == "__main__":
    main(sys.argv[1])
