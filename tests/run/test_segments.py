"""Rematerialised sequences: the gradients of a run kept whole, on either engine, in memory that grows with √T."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from dsl.run.segments import Segments, cut
from dsl.text.diagnostics import CellError

ALL = """
cell All(D, H, K, k=3):                        # what a segment must take along: each kind of read back in time
  input x[t]: D = 0
  state y[t]: one_hot K = none
  state h[t]: H = h0
  state n[t] = 0
  param h0: H ~ normal(0.5)
  param V, W, S, R, E, U ~ glorot
  n[t] = n[t-1] + 0.1*t
  h[t] = tanh(V@x[t] + R@x[t-2] + W@h[t-1] + S@h[t-k] + E@y[t-2] + 0.1*n[t-1])
  y[t] ~ categorical(logits = U@h[t])
  loss nll = -mean[t](logprob(y[t]))
  loss size = 0.5*sum[t](sum(h[t]**2))
  output h
"""


def runs(spec: dsl.Spec, data: dict[str, Any], engines: tuple[str, ...], state: Any = None, **sizes: int) -> list[Any]:
    """Values and gradients, parameters' and inputs', kept whole and then in segments on each engine."""
    found = []
    for engine, remat in [("compiled", False), *((e, True) for e in engines)]:
        model = spec.build(dtype="float64", remat=remat, **sizes)
        given = {n: tg.tensor(v, requires_grad=True) if np.asarray(v).dtype.kind == "f" else v for n, v in data.items()}
        run = model(**given, engine=engine, state=state)
        output = run[model.system.outputs[0]]
        weights = np.random.default_rng(5).standard_normal(output.shape)
        total = tg.sum(output * weights) + sum((tg.sum(run.each[n]) for n in model.system.losses), tg.tensor(0.0))
        total.backward()
        grads = {n: p.grad.data for n, p in model.params.items() if p.grad is not None}
        grads |= {n: v.grad.data for n, v in given.items() if isinstance(v, tg.Tensor)}
        found.append({"value": np.asarray(total.data), **grads})
    return found


def same(found: list[Any], tolerance: float = 1e-12) -> None:
    whole, *others = found
    for other in others:
        assert other.keys() == whole.keys()
        for n, v in whole.items():
            assert np.abs(other[n] - v).max() <= tolerance * max(1.0, np.abs(v).max()), n


@pytest.mark.parametrize("size", [1, 2, 5, 9, 40])
def test_every_read_back_in_time_crosses_segments(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segments, "length", staticmethod(lambda steps: size))
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((23, 3, 4)), "y": rng.integers(0, 6, (23, 3))}
    spec = dsl.parse(ALL)
    same(runs(spec, data, ("compiled", "tape"), D=4, H=5, K=6))


def test_complex_states_and_no_steps_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segments, "length", staticmethod(lambda steps: 7))
    rng = np.random.default_rng(0)
    same(runs(dsl.load("URNN"), {"x": rng.standard_normal((20, 2, 3))}, ("compiled", "tape"), D=3, N=4), 1e-11)
    model = dsl.load("LSTM").build(D=3, H=4, remat=True)
    assert model(np.zeros((0, 2, 3))).h.shape == (0, 2, 4)


def test_sequences_of_different_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segments, "length", staticmethod(lambda steps: 7))
    rng = np.random.default_rng(0)
    spec = dsl.load("LSTM")
    x = np.zeros((29, 4, 5))
    lengths = np.array([29, 11, 1, 20])
    for b, n in enumerate(lengths):
        x[:n, b] = rng.standard_normal((n, 5))
    found = []
    for remat in (False, True):
        model = spec.build(dtype="float64", remat=remat, D=5, H=7)
        _, grads = model.value_and_grad(x, lengths=lengths, loss=lambda run: tg.sum(run.h**3))
        found.append(grads)
    same(found)


def test_a_state_is_carried_in_and_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segments, "length", staticmethod(lambda steps: 7))
    rng = np.random.default_rng(0)
    y = rng.integers(0, 9, (60, 2))
    values = []
    for remat in (False, True):
        model = dsl.load("CharRNN").build(K=9, H=6, dtype="float64", remat=remat)
        (_, run), first = model.value_and_grad(y=y[:30], has_aux=True)
        second = model.value_and_grad(y=y[30:], state=run.state)
        values.append({"first": first["U"], "loss": np.asarray(second[0]), **second[1]})
    same(values)


def test_memory_grows_with_the_root_of_the_length() -> None:
    """The arenas of a backward pass over four times the steps are about twice as large."""
    sizes = []
    for steps in (900, 3600):
        model = dsl.load("LSTM").build(D=8, H=32, remat=True)
        model.value_and_grad(np.zeros((steps, 4, 8), "float32"), loss=lambda run: tg.mean(run.h))
        assert model.segments is not None
        (compiled,) = model.segments._compiled.values()
        sizes.append(compiled.arena.size)
    assert sizes[1] < 2.6 * sizes[0]


def test_segments_share_their_memory() -> None:
    """One segment at a time, whichever comes first: of eight, less than a third of what the whole run holds."""
    x, sizes = np.zeros((4096, 4, 8), "float32"), []
    for again in (False, True):
        model = dsl.load("LSTM").build(D=8, H=32, remat=again)
        model.value_and_grad(x, loss=lambda run: tg.mean(run.h))
        engines = model._engines if model.segments is None else model.segments._compiled
        (compiled,) = engines.values()
        sizes.append(compiled.arena.size)
    assert 3 * sizes[1] < sizes[0]


@pytest.mark.parametrize("cell", ["BiRNN", "Pyramid", "ClassifierMean"])
def test_a_cell_that_needs_its_whole_sequence_is_refused(cell: str) -> None:
    spec = dsl.load(cell)
    sizes = {n: 4 for n, v in spec.system.arguments.items() if v is None}
    with pytest.raises(CellError, match="E482") as raised:
        spec.build(remat=True, **sizes)
    assert "without remat=True" in str(raised.value)


def test_a_cut_system_reads_one_step_back_at_most() -> None:
    found = cut(dsl.load("Skip").build(D=3, H=4, k=3).system)
    assert found.carried == ("h", "h.back1", "h.back2")
    assert all("offset=-2" not in str(e) and "offset=-3" not in str(e) for e in found.system.equations.values())


def test_a_model_with_segments_is_copied_and_dies() -> None:
    model = dsl.load("LSTM").build(D=3, H=4, remat=True)
    x = np.ones((90, 2, 3), "float32")
    value, grads = model.value_and_grad(x, loss=lambda run: tg.mean(run.h))
    again, others = copy.deepcopy(model).value_and_grad(x, loss=lambda run: tg.mean(run.h))
    assert value == again and all((grads[n] == others[n]).all() for n in grads)
    gone = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()
