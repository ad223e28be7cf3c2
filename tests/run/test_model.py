"""Models: building, calling, gradients, carried state, streams on demand."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.run.model import Model
from dsl.spec import load, parse
from dsl.text.diagnostics import CellError
from tests.run.cells import LETTERS, SEQUENCE, build, ragged
from tinygrad_seq.errors import GradientError


def data(T: int = 6, B: int = 3, D: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(T, B, D))


@pytest.fixture(scope="module")
def model() -> Model:
    return build(SEQUENCE, D=2, H=4)


# ---------------------------------------------------------------- building


def test_the_same_seed_gives_the_same_parameters_and_a_new_one_moves_no_other() -> None:
    one, two, other = (build(SEQUENCE, D=2, H=4, seed=s) for s in (0, 0, 1))
    for name in one.params:
        np.testing.assert_array_equal(one.params[name].numpy(), two.params[name].numpy())
    assert not np.array_equal(one.params["V"].numpy(), other.params["V"].numpy())
    more = build(
        SEQUENCE.replace("param V,", "param A: (H, H) ~ glorot\n  param V,").replace("V@x[t]", "A@(V@x[t])"), D=2, H=4
    )
    np.testing.assert_array_equal(more.params["W"].numpy(), one.params["W"].numpy())


def test_float32_and_float64_start_alike() -> None:
    wide, narrow = build(SEQUENCE, D=2, H=4), build(SEQUENCE, dtype="float32", D=2, H=4)
    assert narrow.params["V"].dtype == np.float32
    np.testing.assert_array_equal(wide.params["V"].numpy().astype(np.float32), narrow.params["V"].numpy())


def test_parameter_names_counts_and_table() -> None:
    assert build(LETTERS, K=4, H=3).params.count == 12 + 9 + 12 + 3 + 4
    char = load("CharRNN").build(K=65, H=128, L=2)
    assert char.params["rnn.0.W_f"].shape == (128, 128)
    assert "rnn.1.V_o" in repr(char) and "128 × 128" in repr(char) and "16,384" in repr(char)


def test_sizes_are_read_off_data() -> None:
    model = parse(SEQUENCE).build(H=3, like={"x": np.zeros((5, 2, 7))})
    assert model.params["V"].shape == (3, 7)
    assert parse(LETTERS).build(H=3, like={"y": [[0, 4], [2]]}).params["V"].shape == (3, 5)
    with pytest.raises(ValueError, match=r"Sequence: H not given: build\(H=\.\.\.\)"):
        parse(SEQUENCE).build(like={"x": np.zeros((5, 2, 7))})
    with pytest.raises(ValueError, match="no input q; it has x"):
        parse(SEQUENCE).build(H=3, like={"q": np.zeros((5, 2, 7))})


def test_assigning_parameters_checks(model: Model) -> None:
    before = model.params["W"].numpy().copy()
    with pytest.raises(ValueError, match=r"W: expected an array of shape \(4, 4\), given \(4, 5\)"):
        model.params["W"] = np.zeros((4, 5))
    with pytest.raises(ValueError, match="W: expected finite numbers"):
        model.params["W"] = np.full((4, 4), np.nan)
    with pytest.raises(KeyError, match="no parameter w; did you mean W"):
        model.params["w"] = before
    tensor = model.params["W"]
    model.params["W"] = before.astype(np.float32) * 2
    assert model.params["W"] is tensor and tensor.dtype == np.float64
    model.params["W"] = before
    np.testing.assert_array_equal(tensor.numpy(), before)


def test_a_parameter_without_initialiser_is_given_by_the_caller() -> None:
    model = parse("cell A(D):\n  input x[t]: D\n  param w: D\n  y[t] = w*x[t]\n  output y\n").build(D=2)
    with pytest.raises(ValueError, match=r"w has no initialiser: give it a value, model.params\['w'\] = array"):
        model(np.ones((3, 2)), engine="tape")
    model.params["w"] = [2, 3]
    assert model(np.ones((3, 2)), engine="tape").y.numpy().tolist() == [[2, 3]] * 3


def test_copies_are_independent(model: Model) -> None:
    before = model.value_and_grad(data())[0]
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.value_and_grad(data())[0] == before
        other.params["W"] = np.zeros((4, 4))
        assert other.value_and_grad(data())[0] != before
    assert model.value_and_grad(data())[0] == before


# ---------------------------------------------------------------- calling


def test_engines_agree(model: Model) -> None:
    x, _ = ragged(np.random.default_rng(1), [4, 6, 2], 2)
    runs = {e: model(x=x, lengths=[4, 6, 2], engine=e) for e in ("tape", "compiled")}
    np.testing.assert_allclose(runs["compiled"].h.numpy(), runs["tape"].h.numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(runs["compiled"].each["nll"].numpy(), runs["tape"].each["nll"].numpy(), rtol=1e-12)
    grads = {e: model.value_and_grad(x=x, lengths=[4, 6, 2], engine=e)[1] for e in ("tape", "compiled")}
    for name in model.params:
        np.testing.assert_allclose(grads["compiled"][name], grads["tape"][name], rtol=1e-9, atol=1e-12)


def test_layouts_agree(model: Model, engine: str) -> None:
    x, alone = ragged(np.random.default_rng(2), [4, 6, 2], 2)
    padded = model(x, lengths=[4, 6, 2], engine=engine)
    listed = model(alone, engine=engine)
    np.testing.assert_array_equal(padded.h.numpy(), listed.h.numpy())
    assert listed.lengths["t"].tolist() == [4, 6, 2]
    one = model(alone[1], engine=engine)
    assert one.h.shape == (6, 4) and one.steps["nll"].shape == (6,)
    np.testing.assert_allclose(one.h.numpy(), padded.h.numpy()[:, 1], rtol=1e-12, atol=1e-14)


def test_losses_one_a_batch_one_a_sequence_and_their_terms(model: Model, engine: str) -> None:
    x, _ = ragged(np.random.default_rng(3), [4, 6, 2], 2)
    run = model(x, lengths=[4, 6, 2], engine=engine)
    terms = run.steps["nll"].numpy()
    assert terms.shape == (6, 3)
    np.testing.assert_allclose((run.h.numpy() ** 2).sum(-1), terms, rtol=1e-12)
    np.testing.assert_allclose(terms.sum(0) / [4, 6, 2], run.each["nll"].numpy(), rtol=1e-12)
    assert run.nll.numpy() == pytest.approx(run.each["nll"].numpy().mean(), rel=1e-12)
    assert "nll" in repr(run) and "h (6, 3, 4)" in repr(run)


def test_what_does_not_depend_on_missing_data_is_computed(engine: str) -> None:
    model = load("Translate").build(K_in=5, K=4, H=3, A=2, dtype="float64")
    x = np.random.default_rng(0).integers(0, 5, (4, 2))
    with pytest.raises(ValueError, match=r"nothing can be computed: missing y, expected \(T, B\) integers 0\.\.3"):
        model(x=x, engine=engine)
    model = parse("""
cell Two(D):
  input x[t]: D
  input z[t]: D
  a[t] = 2*x[t]
  b[t] = a[t]*z[t]
  loss nll = sum[t](sum(b[t]))
  output a
""").build(D=2, dtype="float64")
    run = model(x=np.ones((3, 2)), engine=engine)
    assert run.a.numpy().tolist() == [[2, 2]] * 3
    with pytest.raises(ValueError, match="missing input z"):
        _ = run.nll


def test_streams_by_name_alias_and_misspelt() -> None:
    model = load("CharRNN").build(K=5, H=4, L=2, dtype="float64")
    y = np.random.default_rng(0).integers(0, 5, (6, 2))
    run = model(y=y, engine="tape")
    np.testing.assert_array_equal(run.rnn.numpy(), run["rnn.1.h"].numpy())
    assert run["rnn.0.c"].shape == (6, 2, 4)
    with pytest.raises(AttributeError, match="no stream rnm; did you mean rnn"):
        _ = run.rnm
    with pytest.raises(KeyError, match="no loss loss; there is nll"):
        run.each["loss"]


def test_a_stream_asked_for_later(engine: str) -> None:
    model = load("LSTM").build(D=2, H=3, dtype="float64")
    x = data()
    run = model(x, engine=engine)
    c, o = run.c.numpy(), run.o.numpy()
    np.testing.assert_allclose(run.h.numpy(), o * np.tanh(c), rtol=1e-12, atol=1e-14)
    later = model(x, engine="compiled")
    model.params["W_f"] = np.zeros((3, 3))
    with pytest.raises(ValueError, match="f was not computed in this run, and W_f has changed since"):
        _ = later.f
    _ = later.h  # what was computed stays readable


def test_positional_and_named_inputs(model: Model) -> None:
    with pytest.raises(ValueError, match=r"Sequence takes 1 streams \(x\), given 2"):
        model(data(), data(), engine="tape")
    with pytest.raises(ValueError, match="x is given twice"):
        model(data(), x=data(), engine="tape")
    with pytest.raises(ValueError, match="engine: expected one of compiled, tape, given 'fast'"):
        model(data(), engine="fast")


def test_a_cell_without_inputs_needs_lengths() -> None:
    model = parse("cell Count(H):\n  state h[t]: H = 0\n  h[t] = h[t-1] + t\n  output h\n").build(H=1)
    assert model(lengths={"t": [3, 4]}, engine="tape").h.numpy()[:, 1, 0].tolist() == [0, 1, 3, 6]
    with pytest.raises(ValueError, match="nothing can be computed: missing lengths of t"):
        model(engine="tape")


def test_padding_and_emptiness(engine: str) -> None:
    model = build(SEQUENCE.replace("mean[t]", "sum[t]"), D=2, H=3)
    run = model(data(T=4), lengths=[0, 3, 0], engine=engine)
    assert run.h.shape == (4, 3, 3) and not run.h.numpy()[3:].any() and not run.h.numpy()[:, 0].any()
    assert (run.each["nll"].numpy() > 0).tolist() == [False, True, False]
    value, grads = model.value_and_grad(data(T=4)[:0], engine=engine)
    assert value == 0 and not any(g.any() for g in grads.values())
    with pytest.raises(ValueError, match="the batch is empty"):
        model(data(B=0), engine=engine)


# ---------------------------------------------------------------- gradients


def test_backward_through_a_run_and_free_code(model: Model, engine: str) -> None:
    x = data()
    _, grads = model.value_and_grad(x, engine=engine, loss=lambda run: tg.sum(run.h * run.h) * 0.5 + run.nll)
    run = model(x, engine=engine)
    (tg.sum(run.h * run.h) * 0.5 + run.nll).backward()
    for name, tensor in model.params.items():
        np.testing.assert_allclose(tensor.grad.numpy(), grads[name], rtol=1e-12, atol=1e-14)
        tensor.grad = None
    assert np.abs(grads["W"]).max() > 0


def test_two_live_runs_and_a_second_backward(model: Model, engine: str) -> None:
    a, b = data(seed=1), data(seed=2)
    expected = [model.value_and_grad(v, engine="tape")[1] for v in (a, b)]
    first, second = model(a, engine=engine), model(b, engine=engine)
    first.nll.backward(retain_graph=True)
    first.nll.backward()
    second.nll.backward()
    for name, tensor in model.params.items():
        np.testing.assert_allclose(
            tensor.grad.numpy(), 2 * expected[0][name] + expected[1][name], rtol=1e-9, atol=1e-12
        )
        tensor.grad = None
    with pytest.raises(GradientError, match="freed"):
        first.nll.backward()


def test_gradient_of_an_input(model: Model, engine: str) -> None:
    x = tg.tensor(data(), requires_grad=True)
    model(x, engine=engine).nll.backward()
    direction = np.random.default_rng(9).normal(size=x.shape)
    up, down = (model(x.numpy() + s * 1e-6 * direction, engine="tape").nll.numpy() for s in (1, -1))
    assert (x.grad.numpy() * direction).sum() == pytest.approx((up - down) / 2e-6, rel=1e-6)
    for tensor in model.params.values():
        tensor.grad = None


def test_changed_parameters_spoil_the_gradient(engine: str) -> None:
    model = build(SEQUENCE, D=2, H=4)
    run = model(data(), engine=engine)
    model.params["W"] = model.params["W"].numpy() * 2
    with pytest.raises(GradientError, match="changed"):
        run.nll.backward()


def test_no_grad_records_nothing(model: Model, engine: str) -> None:
    with tg.no_grad():
        run = model(data(), engine=engine)
    assert not run.nll.requires_grad


def test_has_aux_gives_the_run(model: Model, engine: str) -> None:
    x = data()
    (value, run), grads = model.value_and_grad(x, engine=engine, has_aux=True)
    assert value == pytest.approx(float(run.nll.numpy()), rel=1e-12) and run.h.shape == (6, 3, 4)
    assert set(grads) == set(model.params)
    assert all(g.dtype == np.float64 for g in grads.values())


def test_which_loss() -> None:
    model = load("LSTM").build(D=2, H=3)
    with pytest.raises(ValueError, match="LSTM has no loss: give loss="):
        model.value_and_grad(data(), engine="tape")
    with pytest.raises(ValueError, match="LSTM has no loss nll; it has none"):
        model.value_and_grad(data(), loss="nll", engine="tape")


# ---------------------------------------------------------------- carrying on


def test_state_carries_values_and_the_learned_start_keeps_its_gradient(model: Model, engine: str) -> None:
    x = data(T=7)
    whole = model(x, engine=engine).h.numpy()
    for cut in (1, 2, 5):  # the longest lag is 3: the first state may reach below step 0
        first = model(x[:cut], engine=engine)
        (_, second), grads = model.value_and_grad(x[cut:], state=first.state, engine=engine, has_aux=True)
        np.testing.assert_allclose(np.concatenate([first.h.numpy(), second.h.numpy()]), whole, rtol=1e-12, atol=1e-14)
        # below step 0 the boundary is read, and has a gradient, as long as a lag reaches there
        assert (np.abs(grads["h0"]).max() > 0) == (cut < 3)


def test_ragged_states(model: Model, engine: str) -> None:
    x, more = data(T=5), data(T=4, seed=5)
    lengths = [2, 5, 1]
    first = model(x, lengths=lengths, engine=engine)
    second = model(more, state=first.state, engine=engine)
    for b, n in enumerate(lengths):
        alone = model(np.concatenate([x[:n, b], more[:, b]]), engine="tape").h.numpy()
        np.testing.assert_allclose(second.h.numpy()[:, b], alone[n:], rtol=1e-12, atol=1e-14)
    assert second.state.clock["t"].tolist() == [6, 9, 5]


def test_truncation_cuts_the_gradient_not_the_influence(model: Model, engine: str) -> None:
    x = data(T=6)
    first = model(x[:3], engine=engine)
    state = first.state
    _, grads = model.value_and_grad(x[3:], state=state, engine=engine)
    for name, tensor in model.params.items():  # the chunk's own gradient, the state held fixed
        direction = np.random.default_rng(1).normal(size=tensor.shape)
        value = tensor.numpy().copy()
        sides = []
        for sign in (1, -1):
            model.params[name] = value + sign * 1e-6 * direction
            sides.append(float(model(x[3:], state=state, engine="tape").nll.numpy()))
        model.params[name] = value
        assert (grads[name] * direction).sum() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-9)
    other = model(x[:3] + 1, engine=engine).state
    assert float(model(x[3:], state=other, engine=engine).nll.numpy()) != float(
        model(x[3:], state=state, engine=engine).nll.numpy()
    )


@pytest.mark.parametrize(
    ("equations", "read"),
    [
        ("h[t] = tanh(x[t] + h[t+1])", r"h\[t\+1\], ahead"),
        ("h[t] = tanh(x[t] + h[t-1]) + last(x)", r"x\[len\(t\)-1\], which depends on the whole axis"),
        ("h[t] = tanh(x[t] + h[t-1]) * mean[t](x[t])", "over the whole axis"),
        ("h[t] = tanh(x[t] + h[t-1]) / len(t)", r"uses len\(t\)"),
    ],
)
def test_cells_that_cannot_carry_on_say_why(equations: str, read: str) -> None:
    cell = f"cell A(D):\n  input x[t]: D\n  state h[t]: D = 0\n  {equations}\n  output h\n"
    run = parse(cell).build(D=2)(np.ones((3, 2)), engine="tape")
    with pytest.raises(CellError, match=read) as error:
        _ = run.state
    assert {d.code for d in error.value.diagnostics} == {"E480"}


def test_a_state_of_another_kind(model: Model) -> None:
    state = model(data(B=3), engine="tape").state
    with pytest.raises(ValueError, match="state: expected one of 2 sequences, given one of 3"):
        model(data(B=2), state=state, engine="tape")
    with pytest.raises(ValueError, match="state: Letters carries y, h, given h"):
        build(LETTERS, K=3, H=4)(y=np.zeros((2, 3), int), state=state, engine="tape")


def test_a_loss_that_reads_totals_alone_is_one_number_for_all_sequences() -> None:
    text = """
cell Whole(D):
  input x[t]: D
  param b: D ~ normal(0, 1)
  total q = sum[t](x[t]*b)
  loss cost = b@q
"""
    model = parse(text).build(D=3, dtype="float64", seed=0)
    x, b = np.random.default_rng(0).normal(size=(4, 2, 3)), model.params["b"].numpy()
    for engine in ("tape", "compiled"):
        value, grads = model.value_and_grad(x, engine=engine)
        assert value == pytest.approx(float((x.sum((0, 1)) * b * b).sum()))
        np.testing.assert_allclose(grads["b"], 2 * x.sum((0, 1)) * b, rtol=1e-12)


@pytest.mark.parametrize(
    ("line", "sizes", "message"),
    [
        ("y[t] = part(x[t], 0, H)", {"D": 2, "H": 3}, r"part\(v, 0, 3\) of a vector of 2, with D=2, H=3"),
        ("y[t] = part(x[t], D-H, H)", {"D": 2, "H": 3}, r"the equation of y takes part\(v, -1, 3\)"),
        ("y[t] = zeros(D-H) + sum(x[t])", {"D": 2, "H": 3}, "y would have size -1, with D=2, H=3"),
    ],
)
def test_sizes_that_do_not_fit_each_other(line: str, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(f"cell A(D, H):\n  input x[t]: D\n  {line}\n").build(**sizes)
