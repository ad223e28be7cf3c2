"""The exported JAX function: values and every gradient equal the engine's, compiled, mapped, and on two devices."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsl.export.jax import source, to_jax
from dsl.spec import cells, load
from tests.export.cases import (
    EMPTY,
    NOISE,
    TEXTS,
    Case,
    empty_axes,
    example,
    kinks,
    library,
    model_state,
    weights,
    written,
)
from tests.run.cells import LETTERS, SEQUENCE

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def held(case: Case, rtol: float = 1e-10, atol: float = 1e-11) -> Any:
    """The function, its values and gradients compared with ours."""
    function = to_jax(case.model)
    options: dict[str, Any] = {"lengths": {a: jnp.asarray(v) for a, v in case.lengths.items()}}
    state = model_state(case)
    if state is not None:
        options["state"] = {n: jnp.asarray(v) for n, v in state.items()}
    if case.train:
        options["noise"] = {n: jnp.asarray(v) for n, v in case.noise.items()}
    losses = case.model.system.losses
    floats = {n: jnp.asarray(v) for n, v in case.data.items() if v.dtype.kind == "f"}
    others = {n: jnp.asarray(v) for n, v in case.data.items() if v.dtype.kind != "f"}

    options["lengths"] = {a: np.asarray(v) for a, v in options["lengths"].items()}  # static where no input shows steps

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})
    @partial(jax.value_and_grad, has_aux=True)
    def scalar(leaves: Any) -> Any:
        params, inputs = leaves
        out = function(params, {**inputs, **others}, **options)
        total = 0.0
        for name in case.names:
            got, shape = out[f"{name}.each" if name in losses else name], case.value(name).shape
            got = got[tuple(slice(n) for n in shape)]
            total = total + ((got * got.conj()).real * weights(name, shape)).sum()
        return total, out

    (_, out), (params, inputs) = scalar((function.params, floats))
    for name in case.names:
        got, ours = np.asarray(out[f"{name}.each" if name in losses else name]), case.value(name)
        np.testing.assert_allclose(got[tuple(slice(n) for n in ours.shape)], ours, rtol=rtol, atol=atol, err_msg=name)
    for name, ours in case.grads.items():
        grad = np.conj({**params, **inputs}.get(name, np.zeros_like(ours)))  # jax differentiates by conj z
        np.testing.assert_allclose(grad, ours, rtol=rtol, atol=atol, err_msg=name)
    for name, ours in case.after.items() if "state" in out else ():
        if name in out["state"]:
            np.testing.assert_allclose(out["state"][name], ours, rtol=rtol, atol=atol, err_msg=name)
    return function


COMMON = """LSTM GRUResetAfter BiLSTM ClockworkRNN DilatedRNN Pyramid CharRNN Caption CTC Translate URNN StopHead mLSTM
ZoneoutLSTM""".split()


@pytest.mark.parametrize("name", [n if n in COMMON else pytest.param(n, marks=pytest.mark.slow) for n in cells()])
def test_library(name: str) -> None:
    held(library(name))


@pytest.mark.parametrize("name", TEXTS)
def test_every_construct(name: str) -> None:
    held(example(name, train=name == "noise"))


@pytest.mark.parametrize("name", ["carried", "noise"])
def test_behind_an_earlier_call(name: str) -> None:
    held(example(name, carried=True, train=name == "noise"))


@pytest.mark.parametrize("which", EMPTY)
def test_axes_without_steps_among_three(which: str) -> None:
    held(empty_axes(which))


@pytest.mark.parametrize("lengths", [(3, 0, 1), (1, 0, 1), (0, 0, 0)])
def test_sequences_without_steps_and_axes_without_steps(lengths: tuple[int, ...]) -> None:
    held(example("halves", lengths=lengths))


def test_slopes_where_there_is_none() -> None:
    held(kinks())


def test_it_is_mapped_and_compiled_once() -> None:
    """Over models: a stack of parameters; over sequences: one at a time, each with its own length."""
    model = written(SEQUENCE, D=2, H=3)
    function = to_jax(model)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 2)))
    lengths = jnp.asarray([5, 3, 4, 1])
    whole = function(function.params, {"x": x}, lengths)["nll.each"]
    alone = jax.vmap(lambda x, n: function(function.params, {"x": x[:, None]}, n[None])["nll"], (1, 0))(x, lengths)
    np.testing.assert_allclose(alone, whole, rtol=1e-12)
    two = {n: jnp.stack([v, 2 * v]) for n, v in function.params.items()}
    found = jax.vmap(lambda p: function(p, {"x": x}, lengths)["nll.each"])(two)
    twice = function({n: 2 * v for n, v in function.params.items()}, {"x": x}, lengths)["nll.each"]
    np.testing.assert_allclose(found, [whole, twice], rtol=1e-12)
    traces = []
    compiled = jax.jit(lambda p, x, n: traces.append(0) or function(p, {"x": x}, n)["nll"])
    compiled(function.params, x, lengths), compiled(function.params, 2 * x, lengths[::-1])
    assert len(traces) == 1


def test_chunks_with_a_state_are_one_run() -> None:
    function = to_jax(written(LETTERS, K=3, H=4))
    y = np.random.default_rng(0).integers(0, 3, (7, 2))
    whole, state, terms = function(function.params, {"y": y})["nll.each"], None, 0.0
    for start, stop in ((0, 3), (3, 4), (4, 7)):
        out = function(function.params, {"y": y[start:stop]}, state=state)
        state, terms = out["state"], terms + out["nll.each"] * (stop - start)
    np.testing.assert_allclose(terms / 7, whole, rtol=1e-12)
    slope = jax.grad(lambda h: function(function.params, {"y": y}, state={**state, "h": h})["nll"])(state["h"])
    assert not slope.any()  # truncated backpropagation


def test_noise_from_a_key() -> None:
    model = written(NOISE, D=3, H=4)
    function = to_jax(model)
    x = np.random.default_rng(0).normal(size=(6, 3, 3))
    np.testing.assert_allclose(function(function.params, {"x": x})["h"], model(x, engine="tape").h.numpy(), rtol=1e-12)
    wide = np.repeat(x, 700, axis=1)
    ours = model(wide, train=True, seed=0, engine="tape").h.numpy()[-1].reshape(3, 700, 4)
    theirs = function(function.params, {"x": wide}, key=jax.random.key(0))["h"][-1].reshape(3, 700, 4)
    spread = np.hypot(ours.std(1), theirs.std(1)) / np.sqrt(700)
    assert (abs(ours.mean(1) - theirs.mean(1)) < 5 * spread).all()
    np.testing.assert_allclose(theirs.std(1), ours.std(1), rtol=0.15)


def test_the_file_needs_jax_alone(tmp_path: Path) -> None:
    text = source(load("Translate").build(K_in=4, K=5, H=3, A=2))
    imported = [line for line in text.splitlines() if line.startswith(("import", "from"))]
    assert imported == ["import jax", "import jax.numpy as jnp"]
    (tmp_path / "translate.py").write_text(text + "\nprint(forward.__name__)\n", encoding="utf-8")
    run = [sys.executable, "-I", "translate.py"]
    assert subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, check=True).stdout == "forward\n"


def test_float64_needs_it_switched_on() -> None:
    with jax.enable_x64(False), pytest.raises(ValueError, match=r'jax.config.update\("jax_enable_x64", True\)'):
        to_jax(written(SEQUENCE, D=2, H=3))
    x = np.ones((3, 1, 2), np.float32)
    single = to_jax(load("Elman").build(D=2, H=3))
    assert single(single.params, {"x": x})["h"].dtype == np.float32
