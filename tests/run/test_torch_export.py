"""The exported PyTorch module: values and every gradient equal the engine's, from a file that needs torch alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.export.torch import load_torch, source, to_torch
from dsl.run.model import Model
from dsl.run.result import Run
from dsl.spec import cells, load, parse
from tests.run.cells import KINDS, LETTERS, SEQUENCE, build
from tests.run.test_noise import WEIGHTS, ZONEOUT

torch = pytest.importorskip("torch")


def random_data(model: Model, lengths: dict[str, list[int]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays for every stream that is fed; NaN behind the end of those on one axis."""
    out = {}
    for name, stream in model.system.streams.items():
        if stream.kind not in ("input", "draw"):
            continue
        shape = (*(max(lengths[a]) for a in stream.axes), len(next(iter(lengths.values()))))
        if stream.dtype == "category":
            out[name] = rng.integers(0, int(stream.categories), shape)
            continue
        out[name] = rng.normal(size=(*shape, *(int(d) for d in stream.shape)))
        if len(stream.axes) == 1:
            for b, n in enumerate(lengths[stream.axes[0]]):
                out[name][n:, b] = np.nan
    return out


def compare(model: Model, seed: int = 0, rtol: float = 1e-9) -> Any:
    """Outputs, losses and gradients of both; the module."""
    rng = np.random.default_rng(seed)
    base = [a.name for a in model.system.axes.values() if a.length is None]
    lengths = {a: [int(n) for n in rng.integers(3, 6, 3)] for a in base}
    data = random_data(model, lengths, rng)
    run = model(**data, lengths=lengths, engine="tape")
    module = to_torch(model)
    out = module(
        *(torch.from_numpy(v) for v in data.values()), lengths={a: torch.tensor(v) for a, v in lengths.items()}
    )
    for name in model.system.outputs:
        np.testing.assert_allclose(out[name].detach().numpy(), run.value(name).numpy(), rtol=rtol, atol=1e-11)
    for name in model.system.losses:
        np.testing.assert_allclose(out[f"{name}.each"].detach().numpy(), run.each[name].numpy(), rtol=rtol)
    sum(
        out[n] if n in model.system.losses else (out[n] ** 2).sum()
        for n in [*model.system.losses, *model.system.outputs]
    ).backward()

    def same(run: Run) -> tg.Tensor:
        squares = [tg.sum(run.value(n) * run.value(n)) for n in model.system.outputs]
        return sum([*squares, *(run[n] for n in model.system.losses)])

    _, grads = model.value_and_grad(**data, lengths=lengths, loss=same, engine="tape")
    for parameter in model.params.trained:
        tensor = module.by_name()[parameter]
        np.testing.assert_allclose(tensor.grad.numpy(), grads[parameter], rtol=rtol, atol=1e-10, err_msg=parameter)
    return module


@pytest.mark.parametrize("name", cells())
def test_library(name: str) -> None:
    spec = load(name)
    sizes = {n: 2 + i for i, (n, v) in enumerate(spec.system.arguments.items()) if v is None}
    compare(spec.build(dtype="float64", **sizes))


def test_stack_of_cells_given_by_name() -> None:
    compare(load("CharRNN", Cell="GRU", L=2).build(K=4, H=3, dtype="float64"))


@pytest.mark.parametrize("seed", range(3))
def test_every_boundary_kind(seed: int) -> None:
    compare(build(KINDS, D=2, H=3, seed=seed), seed)


def test_strides_flips_and_skewed_loops() -> None:
    cell = """
cell Odd(D):
  input x[t]: D = 0.5
  time u: len(t)//2
  state a[t], b[t]: D = 0.25
  state z[u]: D = 2
  param w, v: D ~ normal
  a[t] = tanh(w*b[t+1] + x[t])
  b[t] = tanh(v*a[t-2]*x[len(t)-1-t])
  z[u] = a[2*u+1]*b[2*u] + x[u]
  n[t] = z[t//2]*x[1] + where(t%2==0, x[t]*(t+1), 0)/len(t)
  output n, a, z
"""
    compare(parse(cell).build(D=2, dtype="float64"))


def test_a_recurrence_over_two_axes() -> None:
    compare(
        parse("""
cell Grid(D):
  input x[s]: D
  input y[t]: D
  state g[s,t]: D = 0.1
  param w, v, p: D ~ normal
  g[s,t] = tanh(w*g[s-1,t] + v*g[s,t-1] + p*g[s-1,t-1] + x[s]*y[t])
  best[s] = max[t](g[s,t])
  m = sum[s](best[s])
  output g, m
""").build(D=2, dtype="float64")
    )


def test_float32_and_full_lengths_by_default() -> None:
    model = build(SEQUENCE, dtype="float32", D=2, H=3)
    x = np.random.default_rng(0).normal(size=(5, 2, 2)).astype(np.float32)
    out = to_torch(model)(torch.from_numpy(x))
    assert out["h"].dtype == torch.float32
    np.testing.assert_allclose(out["h"].detach().numpy(), model(x, engine="tape").h.numpy(), rtol=1e-5, atol=1e-6)


def test_the_file_needs_torch_alone(tmp_path: Path) -> None:
    model = load("Translate").build(K_in=4, K=5, H=3, A=2)
    text = source(model)
    imported = [line for line in text.splitlines() if line.startswith(("import", "from"))]
    assert imported == ["import torch", "from torch import Tensor"]
    path = tmp_path / "translate.py"
    path.write_text(text + "\nm = Translate()\nprint(sum(p.numel() for p in m.parameters()))\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", path.name], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert int(done.stdout) == model.params.count


def test_it_reads_like_the_equations() -> None:
    text = to_torch(load("GRU").build(D=2, H=3)).source
    assert "for t in range(steps_t):" in text and "z[t] = torch.sigmoid(x[t] @ self." in text
    assert max(map(len, text.splitlines())) < 160


def test_empty_axes_are_an_error_there_too() -> None:
    model = build(SEQUENCE, D=2, H=3)
    with pytest.raises(ValueError, match=r"mean\[t\] of sequence 1, which has no steps"):
        to_torch(model)(torch.zeros(3, 2, 2, dtype=torch.float64), lengths={"t": torch.tensor([3, 0])})


def test_weights_go_both_ways() -> None:
    model = build(LETTERS, K=3, H=4)
    module = to_torch(model)
    y = torch.tensor([[0, 1], [2, 2], [1, 0]])
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        loss = module(y)["nll"]
        loss.backward()
        optimizer.step()
    load_torch(model, module)
    assert float(model(y=y.numpy(), engine="tape").nll.numpy()) == pytest.approx(module(y)["nll"].item(), rel=1e-12)
    with pytest.raises(ValueError, match="the module is of another cell"):
        load_torch(build(SEQUENCE, D=2, H=3), module)
    with pytest.raises(ValueError, match="Linear was not made by to_torch"):
        load_torch(model, torch.nn.Linear(2, 2))


@pytest.mark.parametrize("text", [ZONEOUT, WEIGHTS], ids=["masks", "numbers"])
def test_noise(text: str) -> None:
    """Given noise: our values and gradients. Its own: the mean outside training, the right moments in it."""
    sizes = {"D": 3, "H": 4} if text is ZONEOUT else {"K": 4, "H": 4}
    model = build(text, **sizes)
    module = to_torch(model)
    rng = np.random.default_rng(0)
    given = rng.normal(size=(6, 3, 3)) if text is ZONEOUT else rng.integers(0, 4, (6, 3))
    loss = model.system.losses[0]
    run = model(given, train=True, seed=3)
    _, grads = model.value_and_grad(given, loss=loss, train=True, seed=3)
    noise = {n: torch.from_numpy(run[n].numpy().copy()) for n in model.noises}
    out = module(torch.from_numpy(given), noise=noise)
    assert out[loss].item() == pytest.approx(float(run[loss].numpy()), rel=1e-12)
    out[loss].backward()
    for name, parameter in module.by_name().items():
        np.testing.assert_allclose(parameter.grad.numpy(), grads[name], rtol=1e-9, atol=1e-12)
    quiet = float(model(given)[loss].numpy())
    assert module.eval()(torch.from_numpy(given))[loss].item() == pytest.approx(quiet, rel=1e-12)
    torch.manual_seed(0)
    module.train()
    wide = np.repeat(given, 700, axis=1)
    ours = model(wide, train=True, seed=0).each[loss].numpy()
    theirs = module(torch.from_numpy(wide))[f"{loss}.each"].detach().numpy()
    spread = np.hypot(ours.std(), theirs.std()) / np.sqrt(700)  # three sequences, 700 noises each
    assert abs(ours.mean() - theirs.mean()) < 4 * spread and theirs.std() == pytest.approx(ours.std(), rel=0.1)


def test_a_module_without_noise_takes_none() -> None:
    with pytest.raises(TypeError, match="noise"):
        to_torch(build(SEQUENCE, D=2, H=2))(torch.zeros(3, 1, 2, dtype=torch.float64), noise={})
