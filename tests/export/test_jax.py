"""The exported JAX function: values and every gradient equal the engine's, compiled, mapped, and on two devices."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from dsl.export.jax import to_jax
from dsl.spec import cells
from tests.export.cases import TEXTS, Case, example, kinks, library, model_state, weights

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


@pytest.mark.parametrize("lengths", [(3, 0, 1), (1, 0, 1)])
def test_sequences_without_steps_and_axes_without_steps(lengths: tuple[int, ...]) -> None:
    held(example("halves", lengths=lengths))


def test_slopes_where_there_is_none() -> None:
    held(kinks())
