"""Two processes, or two devices, have the gradients of one: what exports are for beyond one machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def gradients(command: list[str], out: Path, **environment: str) -> dict[str, np.ndarray]:
    """What a program wrote, run from the project's root with a time limit."""
    own = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run([*command, str(out)], cwd=ROOT, env=own, capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr[-3000:]
    with np.load(out) as file:
        return dict(file)


def agree(found: dict[str, np.ndarray]) -> None:
    """They are those of the whole batch on our own engine."""
    import tests.export.distributed_torch as program

    y, lengths = program.data()
    _, ours = program.model().value_and_grad(y=y, lengths=lengths, loss="nll", engine="tape")
    assert set(found) == set(ours)
    for name, grad in ours.items():
        assert np.abs(grad).max() > 0
        np.testing.assert_allclose(found[name], grad, rtol=1e-10, atol=1e-13, err_msg=name)


def test_two_processes_of_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch.distributed")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    agree(gradients([*run, "-m", "tests.export.distributed_torch"], tmp_path / "grads.npz", GLOO_SOCKET_IFNAME="lo"))


def test_two_devices_of_jax(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    pytest.importorskip("torch")  # the program's data stands beside torch's
    flags = "--xla_force_host_platform_device_count=2"
    run = [sys.executable, "-m", "tests.export.distributed_jax"]
    agree(gradients(run, tmp_path / "grads.npz", XLA_FLAGS=flags, JAX_PLATFORMS="cpu"))
