"""Every library cell is laid out, names its source, resolves, has an adjoint that parses; the engines agree on it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
from dsl.text.format import format as formatted
from dsl.text.parse import parse
from tests.library import layers, sequences  # noqa: F401  (they fill the table)
from tests.library.recurrences import ORACLES
from tests.library.recurrent_torch import STACKS

FOLDER = Path(dsl.__file__).parent / "library"
FILES = sorted(FOLDER.glob("*.cell"))
CELLS = {name: path for path in FILES for name in parse(path.read_text(encoding="utf-8"), path.name).cells}
SIZES = {"D": 3, "H": 4, "K": 5, "K_in": 6, "A": 3, "L": 2, "N": 8, "M": 3, "G": 2, "C": 2}
CORE = """
    Elman Jordan IRNN LSTM0 LSTM Peephole Coupled GRU GRUResetAfter MGU IndRNN Skip BiRNN BiLSTM ResidualStack Pyramid
    Translate EncoderDecoder CharRNN CTC Classifier ClassifierMax ClassifierAttention
"""
PUBLISHED = {*ORACLES, *STACKS}  # held against an oracle in `test_published`


def sized(name: str) -> dict[str, int]:
    """The sizes that a cell's header has."""
    known = {p.name for p in dsl.load(name).tree.parameters}
    return {k: v for k, v in SIZES.items() if k in known}


def data(model: Any, lengths: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Random data for every input and every drawn stream of a model."""
    random = np.random.default_rng(seed)
    values: dict[str, np.ndarray] = {}
    for name, stream in model.system.streams.items():
        if stream.kind in ("input", "draw"):
            steps = tuple(int(lengths[axis].max()) for axis in stream.axes)
            if stream.dtype == "category":
                values[name] = random.integers(0, int(stream.categories), (*steps, 3))
            else:
                values[name] = random.standard_normal((*steps, 3, *(int(d) for d in stream.shape)))
    return values


def lengths_of(model: Any) -> dict[str, np.ndarray]:
    """Ragged lengths of the axes that data gives."""
    ragged = {"t": np.array([7, 4, 6]), "s": np.array([3, 5, 4]), "u": np.array([3, 1, 2])}
    return {axis: ragged[axis] for axis, a in model.system.axes.items() if a.length is None}


def test_every_cell_has_an_oracle_and_every_oracle_a_cell() -> None:
    assert sorted(CELLS) == sorted(PUBLISHED)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_file_is_laid_out_the_one_way(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_has_its_source_in_the_comment_before_it(name: str) -> None:
    """A year stands above the cell, or above the family when its cells share a paper."""
    text = CELLS[name].read_text(encoding="utf-8")
    above = "".join(line for line in text[: text.index(f"cell {name}(")].splitlines(True) if line.startswith("#"))
    assert re.search(r"\b(19[89]\d|20[0-2]\d)\b", above)


@pytest.mark.parametrize("name", CELLS)
def test_it_resolves_without_a_warning(name: str) -> None:
    spec = dsl.load(name)
    assert spec.system.equations
    assert spec.warnings == []


@pytest.mark.parametrize("name", CELLS)
def test_its_adjoint_prints_as_a_cell_that_resolves(name: str) -> None:
    derived = dsl.load(name).adjoint()
    again = dsl.parse(str(derived))
    assert again.name == f"{name}_adjoint"
    trained = [s.name for s in dsl.load(name).system.streams.values() if s.kind == "param"]
    assert [p for p in trained if derived.gradients[p] not in again.system.equations] == []


QUICK = {*CORE.split(), "ClockworkRNN", "LayerNormLSTM", "MassLSTM", "RHN", "StopHead", "mLSTM", "sLSTM"}


MARKS = {name: [pytest.mark.slow] for name in PUBLISHED - QUICK}


@pytest.mark.parametrize("name", [pytest.param(n, marks=MARKS.get(n, [])) for n in CELLS])
def test_both_engines_agree(name: str) -> None:
    """Values, losses and the gradients of parameters and inputs, ragged lengths, float64."""
    model = dsl.load(name).build(seed=1, dtype="float64", **sized(name))
    for parameter in model.params.values():  # zeros hide transposed and missing terms
        if parameter.requires_grad:
            parameter.data[...] += np.random.default_rng(len(parameter.name)).normal(0, 0.3, parameter.shape)
    lengths = lengths_of(model)
    streams = data(model, lengths)
    found = {engine: results(model, streams, lengths, engine) for engine in ("compiled", "tape")}
    assert found["tape"].keys() == found["compiled"].keys()
    for key, value in found["tape"].items():
        np.testing.assert_allclose(found["compiled"][key], value, rtol=1e-9, atol=1e-11, err_msg=key)


@pytest.mark.parametrize("name", [pytest.param(n, marks=MARKS.get(n, [])) for n in CELLS])
def test_what_an_earlier_run_left_in_memory_does_not_show(name: str) -> None:
    """A run that overflows everywhere, between two equal ones."""
    model = dsl.load(name).build(seed=1, dtype="float64", **sized(name))
    ragged = lengths_of(model)
    streams = data(model, ragged)
    cases = (ragged, {axis: np.full(3, own.max()) for axis, own in ragged.items()})
    first = [results(model, streams, lengths, "compiled") for lengths in cases]
    good = {n: p.numpy().copy() for n, p in model.params.items() if p.requires_grad}
    model.params.update({n: np.full_like(v, 1e308) for n, v in good.items()})
    for lengths in cases:
        results(model, streams, lengths, "compiled")
    model.params.update(good)
    for lengths, expected in zip(cases, first, strict=True):
        found = results(model, streams, lengths, "compiled")
        assert [k for k, v in expected.items() if found[k].tobytes() != v.tobytes()] == []


def results(model: Any, streams: dict[str, np.ndarray], lengths: dict[str, Any], engine: str) -> dict[str, np.ndarray]:
    """What a run gives: outputs, losses, and gradients of a loss that depends on each of them unevenly."""
    import tinygrad_seq as tg

    for parameter in model.params.values():
        parameter.grad = None
    inputs = [n for n, v in streams.items() if v.dtype.kind == "f" and model.system.streams[n].kind == "input"]
    fed = streams | {n: tg.tensor(streams[n], requires_grad=True) for n in inputs}
    run = model(**fed, lengths=lengths, engine=engine)
    names = [*model.system.outputs, *model.system.losses]
    values = {name: run[name] for name in names}
    weights = {n: np.random.default_rng(i).normal(size=v.shape) for i, (n, v) in enumerate(values.items())}
    total = sum((tg.sum(values[n] * weights[n]) for n in names), start=tg.tensor(0.0, dtype="float64"))
    total.backward()
    found = {name: value.numpy() for name, value in values.items()}
    leaves = dict(model.params) | {n: v for n, v in fed.items() if isinstance(v, tg.Tensor)}
    return found | {f"{n}_bar": v.grad.numpy() for n, v in leaves.items() if v.requires_grad and v.grad is not None}


# ---------------------------------------------------------------- sizes that the literature states


def recurrent(name: str, H: int = 100, D: int = 100) -> int:
    """Numbers in the matrices that read a state."""
    model = dsl.load(name).build(D=D, H=H)
    return sum(p.data.size for n, p in model.params.items() if n.startswith("W"))


def test_lstm_gru_and_rnn_have_recurrent_parameters_four_to_three_to_one() -> None:
    assert [recurrent(n) / recurrent("Elman") for n in ("LSTM", "GRU", "GRUResetAfter", "MGU", "Coupled")] == [
        4,
        3,
        3,
        2,
        3,
    ]


def test_a_recurrent_network_of_a_hundred_units_has_20100_parameters() -> None:
    model = dsl.load("Elman").build(D=100, H=100)
    assert sum(p.data.size for p in model.params.values()) == 20_100


def test_a_stack_for_65_symbols() -> None:
    """Two LSTM layers of 128; with a bias beside each matrix, as char-rnn keeps them, the published count."""
    first, second, out = 4 * (65 + 128 + 1) * 128, 4 * (128 + 128 + 1) * 128, 65 * (128 + 1)
    one = dsl.load("CharRNN").build(K=65, H=128, L=2)
    assert sum(p.data.size for p in one.params.values()) == first + second + out
    two = dsl.load("CharRNN", Cell="LSTMTwoBias").build(K=65, H=128, L=2)
    assert sum(p.data.size for p in two.params.values()) == 240_321


def test_starting_values() -> None:
    assert np.array_equal(dsl.load("IRNN").build(D=3, H=4).params["W"].numpy(), np.eye(4, dtype=np.float32))
    W = dsl.load("Elman").build(D=3, H=6, dtype="float64").params["W"].numpy()
    np.testing.assert_allclose(W.T @ W, np.eye(6), atol=1e-12)
    lstm = dsl.load("LSTM").build(D=3, H=4).params
    assert (lstm["b_f"].numpy() == 1).all() and (lstm["b_i"].numpy() == 0).all()
    u = dsl.load("IndRNN").build(D=3, H=1000).params["u"].numpy()
    assert 0 <= u.min() < 0.01 and 0.99 < u.max() <= 1
    V = dsl.load("IRNN").build(D=300, H=300).params["V"].numpy()
    assert V.std() == pytest.approx(1e-3, rel=0.02)
