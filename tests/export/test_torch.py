"""The exported PyTorch module: values and every gradient equal the engine's, from a file that needs torch alone."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsl.export.torch import attribute, load_torch, source, to_torch
from dsl.spec import cells, load, parse
from tests.export.cases import (
    EMPTY,
    NOISE,
    TEXTS,
    Case,
    case,
    empty_axes,
    example,
    kinks,
    library,
    model_state,
    weights,
    written,
)
from tests.run.cells import LETTERS, SEQUENCE

torch = pytest.importorskip("torch")


def held(c: Case, rtol: float = 1e-10, atol: float = 1e-11) -> Any:
    """The module, its values and gradients compared with ours."""
    module = to_torch(c.model).train(c.train)
    taken = inspect.signature(module.forward).parameters
    given = {n: torch.from_numpy(np.array(v)) for n, v in c.data.items() if n in taken}
    for value in given.values():
        value.requires_grad_(value.is_floating_point())
    options: dict[str, Any] = {"lengths": {a: torch.from_numpy(v) for a, v in c.lengths.items()}}
    state = model_state(c)
    if state is not None:
        options["state"] = {n: torch.from_numpy(np.array(v)) for n, v in state.items()}
    if c.train:
        options["noise"] = {n: torch.from_numpy(v) for n, v in c.noise.items()}
    out = module(**given, **options)
    total = torch.zeros((), dtype=torch.float64)
    for name in c.names:
        got, ours = out[f"{name}.each" if name in c.model.system.losses else name], c.value(name)
        got = got[tuple(slice(n) for n in ours.shape)]
        np.testing.assert_allclose(got.detach().numpy(), ours, rtol=rtol, atol=atol, err_msg=name)
        total = total + ((got * got.conj()).real * torch.from_numpy(weights(name, ours.shape))).sum()
    total.backward()
    leaves = {**dict(module.named_parameters()), **given}
    for name, ours in c.grads.items():
        leaf = leaves.get(name, leaves.get(attribute(name)))
        grad = np.zeros_like(ours) if leaf is None or leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(grad, ours, rtol=rtol, atol=atol, err_msg=name)
    for name, ours in c.after.items() if c.after and "state" in out else ():
        if name in out["state"]:
            np.testing.assert_allclose(out["state"][name].detach().numpy(), ours, rtol=rtol, atol=atol, err_msg=name)
    return module


@pytest.mark.parametrize("name", cells())
def test_library(name: str) -> None:
    held(library(name))


@pytest.mark.parametrize("name", TEXTS)
def test_every_construct(name: str) -> None:
    accurate = 1e-7 if name == "special" else 1e-10  # torch's trigamma, digamma's slope, has eight digits
    held(example(name, train=name == "noise"), accurate)


@pytest.mark.parametrize("name", ["carried", "noise"])
def test_behind_an_earlier_call(name: str) -> None:
    held(example(name, carried=True, train=name == "noise"))


def test_a_stack_of_cells_given_by_name() -> None:
    held(case(load("CharRNN", Cell="GRU", L=2).build(K=4, H=3, dtype="float64")))


@pytest.mark.parametrize("name", ["kinds", "strides", "backward", "carried"])
@pytest.mark.parametrize("seed", [1, 2])
def test_other_lengths(name: str, seed: int) -> None:
    held(example(name, seed))


def test_float32_and_full_lengths_by_default() -> None:
    model = parse(SEQUENCE).build(dtype="float32", D=2, H=3)
    x = np.random.default_rng(0).normal(size=(5, 2, 2)).astype(np.float32)
    out = to_torch(model)(torch.from_numpy(x))
    assert out["h"].dtype == torch.float32
    np.testing.assert_allclose(out["h"].detach().numpy(), model(x, engine="tape").h.numpy(), rtol=1e-5, atol=1e-6)
    double = to_torch(model).double()(torch.from_numpy(x).double())["h"]
    assert double.dtype == torch.float64 and torch.allclose(double.float(), out["h"], atol=1e-6)


def test_chunks_with_a_state_are_one_run() -> None:
    """The module carries its state on; a step alone is a chunk too; no gradient runs into it."""
    model = written(LETTERS, K=3, H=4)
    module = to_torch(model)
    y = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (7, 2)))
    whole, state, terms = module(y)["nll.each"], None, 0.0
    for start, stop in ((0, 3), (3, 4), (4, 7)):
        out = module(y[start:stop], state=state)
        state, terms = out["state"], terms + out["nll.each"] * (stop - start)
    torch.testing.assert_close(terms / 7, whole, rtol=1e-12, atol=1e-12)
    assert state["t"].tolist() == [7, 7] and not module(y, state=state)["state"]["t"].requires_grad
    begun = {n: v.detach().requires_grad_(v.is_floating_point()) for n, v in state.items()}
    module(y, state=begun)["nll"].backward()
    assert all(v.grad is None for v in begun.values())


@pytest.mark.parametrize("which", EMPTY)
def test_axes_without_steps_among_three(which: str) -> None:
    held(empty_axes(which))


@pytest.mark.parametrize("lengths", [(3, 0, 1), (1, 0, 1), (0, 0, 0)])
def test_sequences_without_steps_and_axes_without_steps(lengths: tuple[int, ...]) -> None:
    held(example("halves", lengths=lengths))


def test_empty_axes_are_an_error_there_too() -> None:
    model = written(SEQUENCE, D=2, H=3)
    with pytest.raises(ValueError, match=r"mean\[t\] of sequence 1, which has no steps"):
        to_torch(model)(torch.zeros(3, 2, 2, dtype=torch.float64), lengths={"t": torch.tensor([3, 0])})


def test_the_file_needs_torch_alone(tmp_path: Path) -> None:
    model = load("Translate").build(K_in=4, K=5, H=3, A=2)
    text = source(model)
    assert [line for line in text.splitlines() if line.startswith(("import", "from"))] == ["import torch"]
    path = tmp_path / "translate.py"
    path.write_text(text + "\nm = Translate()\nprint(sum(p.numel() for p in m.parameters()))\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", path.name], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert int(done.stdout) == model.params.count


def test_it_reads_like_the_equations() -> None:
    text = to_torch(load("GRU").build(D=2, H=3)).source
    assert "for t in range(steps_t):" in text
    assert "        z = torch.sigmoid(V_z_x[t] + h[t - 1] @ self.W_z.mT + self.b_z)" in text
    assert "        h[t] = torch.where(has_t[t][..., None], z * h[t - 1] + (1 - z) * n, 0.0)" in text


def test_parameters_have_the_names_of_the_cell() -> None:
    module = to_torch(load("CharRNN", L=2).build(K=3, H=4))
    assert {"U", "a", "rnn.0.W_f", "rnn.1.b_o"} <= set(module.state_dict())
    odd = written(
        "cell Odd(D):\n  input x[t]: D\n  param lambda, train: D ~ normal\n  y[t] = x[t]*lambda + train\n", D=2
    )
    assert set(to_torch(odd).state_dict()) == {"lambda_", "train_"}
    held(case(odd))


def test_weights_go_both_ways() -> None:
    model = written(LETTERS, K=3, H=4)
    module = to_torch(model)
    y = torch.tensor([[0, 1], [2, 2], [1, 0]])
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        module(y)["nll"].backward()
        optimizer.step()
    load_torch(model, module)
    assert float(model(y=y.numpy(), engine="tape").nll.numpy()) == pytest.approx(module(y)["nll"].item(), rel=1e-12)
    with pytest.raises(ValueError, match="the module is of another cell"):
        load_torch(written(SEQUENCE, D=2, H=3), module)
    with pytest.raises(ValueError, match="another cell: U, V, W, a, b on one side only"):
        load_torch(model, torch.nn.Linear(2, 2))


LAYERS = [("LSTM", "LSTM", {}), ("LSTMTwoBias", "LSTM", {}), ("GRUResetAfter", "GRU", {}), ("Elman", "RNN", {})]
LAYERS += [("BiLSTM", "LSTM", {"bidirectional": True}), ("LSTM", "LSTM", {"bias": False})]
LAYERS += [("IRNN", "RNN", {"nonlinearity": "relu"})]


@pytest.mark.parametrize(("cell", "layer", "options"), LAYERS)
def test_weights_of_layers_of_torch(cell: str, layer: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = load(cell).build(D=3, H=4, dtype="float64")
    theirs = getattr(torch.nn, layer)(3, 4, dtype=torch.float64, **options)
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    wanted = theirs(torch.from_numpy(x))[0].detach().numpy()
    for given in (theirs, theirs.state_dict()):
        load_torch(model, given)
        np.testing.assert_allclose(
            model(x, engine="tape")[model.system.outputs[0]].numpy(), wanted, rtol=1e-12, atol=1e-14
        )


def test_layers_that_do_not_fit() -> None:
    model = load("LSTM").build(D=3, H=4)
    for given, message in (
        (torch.nn.GRU(3, 4), "is no LSTM"),
        (torch.nn.LSTM(3, 4, 2), "has 2 layers, LSTM has 1"),
        (torch.nn.LSTM(2, 4), r"gives V_i of \(4, 2\): LSTM has \(4, 3\)"),
        (torch.nn.LSTM(3, 4, proj_size=2), "is no LSTM|projects"),
    ):
        with pytest.raises(ValueError, match=message):
            load_torch(model, given)
    with pytest.raises(ValueError, match="none of the cells that torch has layers of"):
        load_torch(load("GRU").build(D=3, H=4), torch.nn.GRU(3, 4))


def test_noise_is_drawn_in_training_and_its_mean_otherwise() -> None:
    model = written(NOISE, D=3, H=4)
    module = to_torch(model)
    x = np.random.default_rng(0).normal(size=(6, 3, 3))
    quiet = model(x, engine="tape").h.numpy()
    np.testing.assert_allclose(module.eval()(torch.from_numpy(x))["h"].detach().numpy(), quiet, rtol=1e-12)
    torch.manual_seed(0)
    wide = np.repeat(x, 700, axis=1)
    ours = model(wide, train=True, seed=0).h.numpy()[-1].reshape(3, 700, 4)
    theirs = module.train()(torch.from_numpy(wide))["h"].detach().numpy()[-1].reshape(3, 700, 4)
    spread = np.hypot(ours.std(1), theirs.std(1)) / np.sqrt(700)
    assert (abs(ours.mean(1) - theirs.mean(1)) < 5 * spread).all()
    np.testing.assert_allclose(theirs.std(1), ours.std(1), rtol=0.15)


def test_a_module_without_noise_or_state_takes_none() -> None:
    x = torch.zeros(3, 1, 2, dtype=torch.float64)
    with pytest.raises(TypeError, match="noise"):
        to_torch(written(SEQUENCE, D=2, H=2))(x, noise={})
    with pytest.raises(TypeError, match="state"):
        to_torch(load("BiRNN").build(D=2, H=2, dtype="float64"))(x, state={})


def test_slopes_where_there_is_none() -> None:
    held(kinks())
