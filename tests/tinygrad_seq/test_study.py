"""Looking at computations: the written tape, stepping, traced programs, explanations, the anomaly detector."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.examples import EXAMPLES

W, X, B = np.arange(6.0).reshape(2, 3) / 5, np.ones(3), 0.5


def model(w: Any, x: Any, b: Any) -> Any:
    h = tg.tanh(tg.matmul(w, x) + b)
    return tg.sum(h * h)


def recorded() -> tuple[tg.Tape, Any]:
    with tg.Tape() as tape:
        w, b = tg.tensor(W, requires_grad=True, name="w"), tg.tensor(B, requires_grad=True, name="b")
        loss = model(w, tg.tensor(X, name="x"), b)
        loss.backward(retain_graph=True)
    return tape, loss


# ---------------------------------------------------------------- the written tape


def test_a_tape_lists_operation_inputs_type_value_adjoint_and_rule() -> None:
    tape, _ = recorded()
    said = str(tape).splitlines()
    assert len(said) == 1 + len(tape) == 9
    assert re.search(r"^1  w +input +float64\[2, 3\]", said[1])
    tanh = next(line for line in said if "tanh(" in line)
    assert "tanh(%5)" in tanh and "[0.8005 0.994 ]" in tanh and "%5: g * ((1 + y) * (1 - y))" in tanh
    assert tape["b"].adjoint == pytest.approx(tg.grad(model, 2)(W, X, B))
    np.testing.assert_allclose(np.asarray(tape["w"].adjoint), tg.grad(model)(W, X, B))
    assert tape["x"].adjoint is None and tape[8].op == "sum" and __file__ in tape[8].made
    assert [line.op for line in tape][2:4] == ["matvec", "input"]
    with pytest.raises(KeyError, match="no line 'q'"):
        tape["q"]


def test_stepping_back_completes_an_adjoint_at_each_step() -> None:
    tape, loss = recorded()
    seen = []
    for line, sent in tape.backward(loss):
        assert line.adjoint is not None and len(sent) in (0, len(line.inputs))
        seen.append(line.op)
        if line.op == "tanh":
            assert tape["w"].adjoint is None  # not there yet
    assert seen[:4] == ["sum", "mul", "tanh", "add"] and seen.count("input") == 2
    np.testing.assert_allclose(np.asarray(tape["w"].adjoint), tg.grad(model)(W, X, B))
    assert len(list(tape.backward())) == len(seen)  # nothing was freed
    with pytest.raises(tg.GradientError, match="nothing to walk back from"):
        next(tg.Tape().backward())


def test_a_tape_sees_what_is_off_the_gradient_and_ends_with_its_block() -> None:
    with tg.Tape() as tape, tg.no_grad():
        y = tg.exp(tg.tensor(1.0)) * 2
    tg.exp(y)
    assert [line.op for line in tape] == ["input", "exp", "mul"] and tape[3].inputs[1] == 2


# ---------------------------------------------------------------- programs


def test_a_program_prints_runs_and_is_differentiated() -> None:
    program = tg.trace(model)(W, X, B)
    assert str(program).splitlines()[:3] == [
        "model(w: float64[2, 3], x: float64[3], b: float64[])",
        "  t1 = w @ x                               float64[2]",
        "  t2 = t1 + b                              float64[2]",
    ]
    assert str(program).endswith("return t5") and r"t_{3} &= \tanh(t_{2})" in program.latex()
    for w in (W, W[::-1]):
        assert program(w, X, 0.1) == pytest.approx(model(w, X, 0.1))
        for mine, direct in zip(program.grad((0, 2))(w, X, 0.1), tg.grad(model, (0, 2))(w, X, 0.1), strict=True):
            np.testing.assert_allclose(mine, direct, rtol=1e-13)
    said = str(program.grad(0))
    assert said.splitlines()[-1].startswith("  return t") and "outer_sum(" in said
    assert said.count("tanh") == 1 and len({s.target for s in program.grad(0)}) == len(program.grad(0))


def test_a_program_s_third_derivative() -> None:
    program = tg.trace(lambda x: tg.sin(x) * x**2)(0.7)
    third = program.grad().grad().grad()
    expected = 6 * math.cos(0.7) - 6 * 0.7 * math.sin(0.7) - 0.49 * math.cos(0.7)
    assert float(third(0.7)) == pytest.approx(expected, rel=1e-12)
    tg.check_grads(lambda x: program(x), np.array(0.3))


def test_a_program_of_nested_arguments_unrolls_loops_and_says_what_does_not_fit() -> None:
    def loop(p: Any, xs: Any) -> Any:
        h = p["h0"]
        for t in range(3):
            h = tg.tanh(p["w"] * h + xs[t])
        return h, {"last": tg.sum(h)}

    p, xs = {"w": np.array(0.5), "h0": np.zeros(2)}, np.ones((3, 2))
    program = tg.trace(loop)(p, xs)
    assert sum(s.op == "tanh" for s in program) == 3
    assert "loop(p0: float64[], p1: float64[2], xs: float64[3, 2])" in str(program)
    h, aux = program(p, xs)
    np.testing.assert_array_equal(h, loop(p, xs)[0])
    assert aux["last"] == h.sum()
    with pytest.raises(ValueError, match=r"xs has shape \(4, 2\); loop was traced with \(3, 2\)"):
        program(p, np.ones((4, 2)))
    with pytest.raises(ValueError, match="another structure"):
        program(np.ones(2), xs)


def test_what_no_result_needs_and_what_is_computed_twice_is_not_in_a_program() -> None:
    def wasteful(x: Any) -> Any:
        tg.exp(x)
        return tg.sin(x) + tg.sin(x)

    assert [s.op for s in tg.trace(wasteful)(1.0)] == ["sin", "add"]


def test_a_computation_that_is_no_primitive_has_no_program() -> None:
    with pytest.raises(ValueError, match="ctc_loss .* is not a primitive"):
        tg.trace(lambda x: tg.ctc_loss(x, [1]))(np.zeros((3, 2)))


# ---------------------------------------------------------------- explanations


def test_every_explanation_s_numbers_agree() -> None:
    checked = 0
    for name, op in tg.REGISTRY.items():
        said = tg.explain(name)
        if op.differentiable:
            assert said.splitlines()[-1].endswith("they agree"), said
            checked += 1
    assert checked > 90 and set(EXAMPLES) <= set(tg.REGISTRY)


def test_latex_has_brackets_where_they_are_needed() -> None:
    said = {n: str(tg.explain(n)) for n in ("gammainc", "pinv", "qr_q", "eigenvectors", "power", "cholesky", "tanh")}
    assert r"\exp(\left(a - 1\right)\log(x) - x - \log\Gamma(a))" in said["gammainc"]
    assert r"\left(g^\top - a\,y\,g^\top\right)\,y\,y^\top" in said["pinv"]  # a raised name needs none
    assert r"\left(y\,\frac{" not in said["qr_q"] and r"\operatorname{tril}_{-1}\left(g^\top\,y\right)" in said["qr_q"]
    assert r"{\lambda(a)}^\top - \lambda(a) = 0" in said["eigenvectors"]  # a row and a column
    assert r"x^{p - 1}" in said["power"] and r"}{2}\right)^\top" in said["cholesky"]
    for text in said.values():
        assert "^\\top^" not in text and text.count(r"\left(") == text.count(r"\right)")


def test_an_explanation_notices_a_wrong_rule() -> None:
    wrong = tg.elementwise("wrong", np.sin, tex=r"w({0})")
    try:
        wrong.partials(lambda y, x: (1.001 * tg.cos(x),))
        assert "DISAGREE" in tg.explain("wrong")
    finally:
        del tg.REGISTRY["wrong"]


def test_an_explanation_shows_complex_rules_where_they_differ() -> None:
    assert "over the complex numbers\n  w_bar = outer(g, conj(x))" in tg.explain("matvec")
    assert "complex" not in tg.explain("sum") and "complex" not in tg.explain("maximum")
    with pytest.raises(ValueError, match="no primitive is named 'sigmod': did you mean 'sigmoid'"):
        tg.explain("sigmod")


# ---------------------------------------------------------------- anomalies


def test_the_detector_names_operation_line_and_call() -> None:
    z = tg.tensor(3.0, requires_grad=True)
    said = r"the result of mul has the norm 6.56e\+03, above 1000 \(made at .*test_study\.py:\d+, call 3 there"
    with tg.detect_anomaly(limit=1000.0), pytest.raises(tg.AnomalyError, match=said):
        for _ in range(9):
            z = z * z
    with tg.detect_anomaly(limit=10.0):
        y = tg.tensor(0.002, requires_grad=True) * 100
        with pytest.raises(tg.AnomalyError, match="cotangent of an input of mul has the norm 1e\\+03"):
            (y * 10).backward()
    with pytest.raises(ValueError, match="above 0"):
        tg.detect_anomaly(limit=0)


def test_a_tape_and_a_detector_look_on_together() -> None:
    with tg.Tape() as tape, tg.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(tg.AnomalyError, match="log"):
        tg.log(tg.tensor(-1.0))
    assert [line.op for line in tape] == ["input", "log"]


# ---------------------------------------------------------------- at the prompt


def test_rules_on_a_tape_name_what_the_call_was_made_of() -> None:
    with tg.Tape() as tape:
        x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
        loss = tg.sum(x**2) / 3
    assert [line.call for line in tape] == ["input", "x ** 2", "sum(%2)", "%3 / 3"] and len(tape) == 4
    assert [line.rule for line in tape][1:] == [
        ("g * (2 * x)", None), ("broadcast_to(g, shape_of(%2))",), ("g / 3", None)
    ]  # fmt: skip
    assert repr(tape[2]) == "%2 = x ** 2  float64[2]  [1. 4.]"
    loss.backward()


def test_a_line_deep_down_a_tape_prints_without_the_tape() -> None:
    with tg.Tape() as tape:
        x = tg.tensor(1.0, requires_grad=True)
        for _ in range(3000):
            x = tg.sin(x)
    assert repr(tape[3001]) == f"%3001 = sin(%3000)  float64[]  {x.item():.4f}"


def test_explain_takes_the_function_and_says_what_is_composed() -> None:
    assert tg.explain(tg.softmax) == tg.explain("softmax") and tg.explain(tg.tanh) == tg.explain("tanh")
    for what in (tg.layer_norm, "layer_norm"):
        with pytest.raises(ValueError, match=r"layer_norm is composed of primitives: print\(tg.trace\(layer_norm\)"):
            tg.explain(what)


def test_detect_anomaly_leaves_the_telling_to_its_own_error() -> None:
    import warnings

    with warnings.catch_warnings(), tg.detect_anomaly():
        warnings.simplefilter("error")
        with pytest.raises(tg.AnomalyError, match="the result of log has an infinity"):
            tg.log(tg.tensor(0.0))
