"""A cell that draws for itself, exported: the same categories and numbers from the same noise, in every target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
from dsl.run.model import Model
from dsl.run.noise import streams_of, values

STEPS, BATCH, SEED = 7, 3, 5
CELLS: dict[str, dict[str, Any]] = {
    "CharRNN": {"K": 6, "H": 4, "L": 2},
    "StopRNN": {"K": 4, "H": 3},
    "Handwriting": {"H": 3, "M": 4},
}


def built(name: str) -> Model:
    model = dsl.load(name).build(seed=2, dtype="float64", **CELLS[name])
    for place, parameter in enumerate(model.params.values()):
        parameter.data[...] += np.random.default_rng(place).normal(0, 0.5, parameter.shape)
    return model


def given(model: Model) -> dict[str, Any]:
    """Two steps of a prime, and the noise of SEED."""
    part = model.generator.drawing.part(tuple(model.system.draws), (), False)
    found: dict[str, Any] = {"primed": np.full(BATCH, 2.0)}
    for name, fed in part.given.items():
        stream = model.system.streams[name]
        found[fed] = np.zeros((STEPS + 2, BATCH, *map(int, stream.shape)), int if stream.dtype == "category" else float)
        found[fed][:2] = 1
    noise = streams_of(part.system)
    return found | {n: values(s, {"t": STEPS + 2}, BATCH, seed=SEED) for n, s in noise.items()}


def wanted(model: Model) -> dict[str, Any]:
    """What `generate` draws from the same noise."""
    prime = {n: given(model)[f"{n}.given"][:2] for n in model.system.draws}
    drawn = model.generate(STEPS, prime=prime, seed=SEED, batch=BATCH)
    return drawn if isinstance(drawn, dict) else {next(iter(model.system.draws)): drawn}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("target", ["ours", "torch", "jax", "onnx"])
def test_an_exported_cell_draws_what_generate_draws(name: str, target: str, tmp_path: Path) -> None:
    model = built(name)
    fed, generating = given(model), model.generating()
    if target == "ours":
        run = generating(**fed)
        found = {n: run[n].numpy() for n in model.system.draws}
    elif target == "torch":
        torch = pytest.importorskip("torch")
        made = generating.to_torch()(**{n.replace(".", "_"): torch.from_numpy(v) for n, v in fed.items()})
        found = {n: made[n].detach().numpy() for n in model.system.draws}
    elif target == "jax":
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            function = generating.to_jax()
            found = function(function.params, fed)
    else:
        pytest.importorskip("onnx")
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(str(generating.to_onnx(tmp_path / "cell.onnx")))
        fed["lengths.t"] = np.full(BATCH, STEPS + 2)
        outputs = [o.name for o in session.get_outputs()]
        made = session.run(None, {i.name: fed[i.name] for i in session.get_inputs()})
        found = dict(zip(outputs, made, strict=True))
    for stream, value in wanted(model).items():
        np.testing.assert_allclose(np.asarray(found[stream]), value, atol=1e-9)
