"""The numbers drawn against what computes them otherwise: the tape, differences, the other of two ways."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
import viz
from tests.viz.test_gradients import output_of, run_of
from viz import paths
from viz.example import example
from viz.graph import build
from viz.jacobians import jacobians, total_of
from viz.numbers import Backward, Values, jacobian_norm
from viz.question import ask


def tape_gradients(run: Any) -> dict[str, Any]:
    """Of what `viz.terms` starts from: the loss's last term, else the sum of the first output at its last step."""
    system = run.system
    for tensor in run.model.params.values():
        tensor.grad = None
    graph = build(system)
    if system.losses:
        name = next(n for n in graph.nodes if graph.nodes[n].role == "loss")
        stepped = bool(graph.nodes[name].lane)
        value = run.steps[name][-1] if stepped else run.value(name)
    else:
        value = run.value(output_of(run))
        value = value[-1] if system.streams[output_of(run)].axes else value
    tg.sum(value).backward()
    return {n: t.grad for n, t in run.model.params.items()}


@pytest.mark.parametrize("name", dsl.cells())
def test_terms_add_up_to_the_tapes_gradient(name: str) -> None:
    with np.errstate(all="ignore"):
        run = example(dsl.load(name), 3, size=3)
        trained = [p for p, t in run.model.params.items() if t.requires_grad]
        if not trained:
            return
        try:
            found = {p: viz.terms(run, to=p).data for p in trained[-3:]}
        except ValueError as error:
            assert "depend" in str(error), error
            return
        tape = tape_gradients(run)
    for parameter, data in found.items():
        expected = tape[parameter].numpy()
        size = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(data["term"].sum(axis=0) / size, expected / size, rtol=1e-10, atol=1e-10)
        assert data["total"] == pytest.approx(float(np.linalg.norm(expected)), rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(data["norm"], [np.linalg.norm(np.ravel(t)) for t in data["term"]])


SINGLE = ["Elman", "Skip", "LSTM", "Peephole", "GRU", "BiRNN", "SRU", "Coupled", "UnICORNN", "ResidualStack"]


def both_ways(name: str, monkeypatch: pytest.MonkeyPatch, **how: Any) -> list[paths.Gradients]:
    run = example(dsl.load(name), 5, size=3)
    asked = ask(run, run.system, None, None)
    key, step = asked.found.seed
    is_loss = asked.found.graph.nodes[key].role == "loss"
    found = [paths.gradients(run, run.system, key, is_loss, step, 0, **how)]
    monkeypatch.setattr(paths, "crosses", lambda graph: True)
    return [*found, paths.gradients(run, run.system, key, is_loss, step, 0, **how)]


@pytest.mark.parametrize("name", SINGLE)
def test_the_drawings_sweep_and_the_tape_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every edge's gradient and every edge's Jacobian, computed by two programs."""
    drawn, taped = both_ways(name, monkeypatch)
    common = [e for e in drawn.messages if e in taped.messages]
    assert len(common) > 0.8 * len(drawn.messages)
    for edge in common:
        a, b = np.linalg.norm(np.ravel(drawn.messages[edge])), np.linalg.norm(np.ravel(taped.messages[edge]))
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(drawn.jacobian(edge), taped.jacobian(edge), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["LSTM", "Skip", "BiRNN"])
@pytest.mark.parametrize("window", [(2, 3), (1, 3), (3, 3)])
def test_both_ways_cut_the_same(name: str, window: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    run = example(dsl.load(name), 6, size=3)
    key = build(run.system).home[output_of(run)]
    how = {"since": max(2, window[0]), "window": ("t", *window)}
    drawn = paths.gradients(run, run.system, key, False, 3, 0, **how)
    whole = paths.gradients(run, run.system, key, False, 3, 0, since=how["since"])
    monkeypatch.setattr(paths, "crosses", lambda graph: True)
    taped = paths.gradients(run, run.system, key, False, 3, 0, **how)
    assert {e for e, m in taped.messages.items() if np.any(m)} <= drawn.messages.keys()
    for edge, message in drawn.messages.items():
        np.testing.assert_allclose(np.ravel(message), np.ravel(taped.messages[edge]), rtol=1e-10, atol=1e-13)
    gone = [e for e, m in whole.messages.items() if e not in drawn.messages and np.any(m)]
    assert gone, "nothing was cut"
    cut, full = (np.concatenate([np.ravel(sum(s.values())) for s in f.shares.values()]) for f in (drawn, whole))
    assert not np.allclose(cut, full, rtol=1e-6)


def test_truncation_on_the_decoders_axis_follows_the_encoder() -> None:
    run = example(dsl.load("Translate"), 4, size=3)
    data = viz.truncated(run, 2).data
    assert data["cut"].tolist() == [[1, 2]] and data["chunks"].tolist() == [[0, 1, 0], [2, 3, 2]]
    assert np.linalg.norm(data["truncated"]["enc.W_f"]) > 0
    assert not np.allclose(data["truncated"]["W_d"], data["full"]["W_d"])


# ---------------------------------------------------------------- Jacobians by differences


@pytest.mark.parametrize("name", ["Elman", "LSTM", "GRU", "Peephole", "Skip", "SRU", "IndRNN"])
def test_an_edges_jacobian_is_that_of_its_node(name: str) -> None:
    """Every card whose operands are all read: its value with one of them moved."""
    run = run_of(name, 5)
    system = run.system
    graph = build(system)
    backward = Backward(graph, Values(run, system))
    checked = 0
    for wire in graph.wires:
        target, step = graph.nodes[wire.target], 3
        plain = [s.operand for s in target.sockets if s.operand is not None]
        if target.kind != "card" or wire.read is None or any(o.op is not None for o in plain):
            continue
        if sum(o == plain[0] for o in plain) > 1 or not 0 <= step + wire.lag:
            continue
        at = step + wire.lag + graph.nodes[wire.source].lag
        columns = []
        for unit in range(np.size(backward.values.stream(wire.read.name)[at])):
            ends = []
            for sign in (1e-6, -1e-6):
                moved = Values(run, system)
                moved.streams[wire.read.name] = backward.values.stream(wire.read.name).copy()
                moved.streams[wire.read.name][at].flat[unit] += sign
                assert target.symbol is not None
                ends.append(np.ravel(moved.at(target.symbol, step)))
            columns.append((ends[0] - ends[1]) / 2e-6)
        expected = np.linalg.norm(np.array(columns).T, 2)
        assert jacobian_norm(backward, wire, step) == pytest.approx(expected, rel=1e-6), wire
        checked += 1
    assert checked >= 2


@pytest.mark.parametrize(("name", "state"), [("Elman", "h"), ("GRU", "h"), ("LSTM", "h")])
def test_the_total_jacobian_is_the_derivative_of_a_run_carried_on(name: str, state: str) -> None:
    """∂h_T/∂h_k: the run from k on, its state moved by a little."""
    run, k = run_of(name, 6), 2
    model, x = run.model, run.value("x").numpy()
    before = model(x[: k + 1], engine="tape").state

    def last(moved: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        value = before.values[state].copy()
        value[-1, 0] += moved
        carried = replace(before, values={**before.values, state: value})
        return np.asarray(model(x[k + 1 :], state=carried, engine="tape").value(state).data[-1, 0])

    basis = 1e-6 * np.eye(4)
    expected = np.array([(last(e) - last(-e)) / 2e-6 for e in basis]).T
    found = jacobians(run, run.system, state)
    np.testing.assert_allclose(found.total[k], expected, rtol=1e-6, atol=1e-9)
    flow = viz.gradient_flow(run, state).data
    np.testing.assert_allclose(flow["whole"][k], np.linalg.svd(expected, compute_uv=False), rtol=1e-5, atol=1e-9)
    one = total_of(Backward(build(run.system), Values(run, run.system)), state, 4, 3)[3]
    np.testing.assert_allclose(flow["direct"][4], np.linalg.svd(one, compute_uv=False), rtol=1e-12)


def test_the_bound_is_the_product_of_the_steps_norms() -> None:
    run = run_of("Elman", 7)
    data, h, W = viz.gradient_flow(run).data, run.h.numpy()[:, 0], run.model.params["W"].numpy()
    norms = [np.linalg.norm(np.diag(1 - h[s] ** 2) @ W, 2) for s in range(7)]
    for k in range(7):
        assert data["bound"][k] == pytest.approx(np.prod(norms[k + 1 :]), rel=1e-12)
        assert data["whole"][k, 0] <= data["bound"][k] * (1 + 1e-12)
    np.testing.assert_allclose(data["direct"][1:, 0], norms[1:], rtol=1e-12)
    assert np.isnan(viz.gradient_flow(run_of("LSTM", 3)).data["bound"]).all()  # c goes around h


@pytest.mark.parametrize("name", ["CTC", "CTCLabeller"])
@pytest.mark.parametrize("steps", [3, 4])
def test_an_example_has_a_finite_loss_and_a_gradient(name: str, steps: int) -> None:
    """Four labels drawn at random repeat, and four frames cannot spell them: the picture would print zeros alone."""
    run = example(dsl.load(name), steps, size=2)
    assert np.isfinite(run.nll.data).all()
    assert viz.bptt(run).data["norm"] > 0.1


def test_rounding_is_no_shape_of_a_gradient() -> None:
    """A unitary cell's gradients have one size at all distances: one colour, a flat line, one entry in the scale."""
    run = example(dsl.load("URNN"), 12, size=4)
    drawing = viz.gradient_flow(run, spectra=False)
    norm = drawing.data["norm"][drawing.data["norm"] > 0]
    assert 0 < np.ptp(norm) < 1e-12 < norm.min()
    assert drawing.svg.count('class="cell r5"') == norm.size + 1 and 'class="cell r0"' not in drawing.svg
    assert ">= 2.83<" in drawing.svg and "≥" not in drawing.svg
