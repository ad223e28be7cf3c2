"""The exported PyTorch module: values and every gradient equal the engine's, from a file that needs torch alone."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from dsl.export.torch import attribute, to_torch
from dsl.spec import cells
from tests.export.cases import TEXTS, Case, example, library, model_state, weights

torch = pytest.importorskip("torch")


def held(case: Case, rtol: float = 1e-10, atol: float = 1e-11) -> Any:
    """The module, its values and gradients compared with ours."""
    module = to_torch(case.model).train(case.train)
    taken = inspect.signature(module.forward).parameters
    given = {n: torch.from_numpy(np.array(v)) for n, v in case.data.items() if n in taken}
    for value in given.values():
        value.requires_grad_(value.is_floating_point())
    options: dict[str, Any] = {"lengths": {a: torch.from_numpy(v) for a, v in case.lengths.items()}}
    state = model_state(case)
    if state is not None:
        options["state"] = {n: torch.from_numpy(np.array(v)) for n, v in state.items()}
    if case.train:
        options["noise"] = {n: torch.from_numpy(v) for n, v in case.noise.items()}
    out = module(**given, **options)
    total = torch.zeros((), dtype=torch.float64)
    for name in case.names:
        got, ours = out[f"{name}.each" if name in case.model.system.losses else name], case.value(name)
        got = got[tuple(slice(n) for n in ours.shape)]
        np.testing.assert_allclose(got.detach().numpy(), ours, rtol=rtol, atol=atol, err_msg=name)
        total = total + ((got * got.conj()).real * torch.from_numpy(weights(name, ours.shape))).sum()
    total.backward()
    leaves = {**dict(module.named_parameters()), **given}
    for name, ours in case.grads.items():
        leaf = leaves.get(name, leaves.get(attribute(name)))
        grad = np.zeros_like(ours) if leaf is None or leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(grad, ours, rtol=rtol, atol=atol, err_msg=name)
    for name, ours in case.after.items() if case.after and "state" in out else ():
        if name in out["state"]:
            np.testing.assert_allclose(out["state"][name].detach().numpy(), ours, rtol=rtol, atol=atol, err_msg=name)
    return module


@pytest.mark.parametrize("name", cells())
def test_library(name: str) -> None:
    held(library(name))


@pytest.mark.parametrize("name", TEXTS)
def test_every_construct(name: str) -> None:
    held(example(name, train=name == "noise"))


@pytest.mark.parametrize("name", ["carried", "noise"])
def test_behind_an_earlier_call(name: str) -> None:
    held(example(name, carried=True, train=name == "noise"))
