"""The published cells against oracles that share no code with the library: values, and gradients of the tape.

Oracles are torchrecurrent's cells, where it has them, and NumPy loops written from the papers. Every sequence of a
ragged batch is given to the oracle alone; gradients are compared with finite differences of the *oracle*, in a random
direction of all parameters and inputs at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from tests.library import recurrent_torch
from tests.library.recurrences import ORACLES
from tests.library.test_library import data, lengths_of, sized

Array = np.ndarray[Any, Any]
STEP = 1e-5


def built(name: str, **arguments: Any) -> Any:
    """A float64 model whose every parameter is moved off its start: zeros hide transposed and missing terms."""
    model = dsl.load(name).build(seed=2, dtype="float64", **(sized(name) | arguments))
    for place, parameter in enumerate(model.params.values()):
        if parameter.requires_grad:
            parameter.data[...] += 0.4 * normal(np.random.default_rng(place), parameter)
    return model


def normal(random: np.random.Generator, like: Any) -> Array:
    """Normal numbers, complex where `like` is."""
    value = random.normal(size=like.shape)
    return value + 1j * random.normal(size=like.shape) if np.dtype(like.dtype).kind == "c" else value


def expected(
    model: Any,
    oracle: Callable[..., Any],
    streams: dict[str, Array],
    params: dict[str, Array],
    lengths: dict[str, Array],
) -> Array:
    """What the oracle says, one sequence at a time: outputs with zeros behind their ends, or a mean loss."""
    found = []
    for b in range(3):
        one = {}
        for n, v in streams.items():
            axes = model.system.streams[n].axes
            one[n] = v[(*(slice(int(lengths[a][b])) for a in axes), b)]
        found.append(oracle(one, params))
    if not np.ndim(found[0]):
        return np.asarray(np.mean(found))
    rank = len(model.system.streams[observed_of(model)].axes)
    steps = np.max([f.shape[:rank] for f in found], axis=0)
    padded = np.zeros((*steps, 3, *max(found, key=len).shape[rank:]))
    for b, f in enumerate(found):
        if len(f):
            padded[(*map(slice, f.shape[:rank]), b)] = f
    return padded


def observed_of(model: Any) -> str:
    return str((*model.system.outputs, *model.system.losses)[0])


def compare(
    name: str,
    oracle: Callable[..., Any],
    seed: int | None = None,
    lengths: dict[str, Array] | None = None,
    **arguments: Any,
) -> None:
    """Values to 1e-10 and the derivative along one random direction to 1e-6; with a seed, as in training."""
    model = built(name, **arguments)
    lengths = {a: v for a, v in (lengths or lengths_of(model)).items() if a in lengths_of(model)}
    streams, params = data(model, lengths), {n: p.numpy().copy() for n, p in model.params.items()}
    observed = observed_of(model)
    inputs = [n for n, v in streams.items() if v.dtype.kind == "f" and model.system.streams[n].kind == "input"]
    fed = streams | {n: tg.tensor(streams[n], requires_grad=True) for n in inputs}
    run = model(**fed, lengths=lengths, engine="tape", train=seed is not None, seed=seed)
    value = run[observed]
    noise = [n for n, s in model.system.streams.items() if s.kind == "noise"]
    streams |= {n: run[n].numpy() for n in noise}
    wanted = expected(model, oracle, streams, params, lengths)
    got = value.numpy().reshape(wanted.shape)  # torch's scalars have a feature axis
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10, err_msg=f"{name}.{observed}")

    random = np.random.default_rng(3)
    weights = random.normal(size=wanted.shape)
    tg.sum(value * weights.reshape(value.shape)).backward()
    leaves = {n: p for n, p in model.params.items() if p.requires_grad} | {
        n: v for n, v in fed.items() if isinstance(v, tg.Tensor)
    }
    along = {n: normal(random, v) for n, v in leaves.items()}
    slope = sum(float((v.grad.numpy().conj() * along[n]).real.sum()) for n, v in leaves.items() if v.grad is not None)

    def moved(by: float) -> float:
        x = {n: v + by * along[n] if n in along else v for n, v in streams.items()}
        p = {n: v + by * along[n] if n in along else v for n, v in params.items()}
        return float((weights * expected(model, oracle, x, p, lengths)).sum())

    difference = (8 * (moved(STEP) - moved(-STEP)) - moved(2 * STEP) + moved(-2 * STEP)) / (12 * STEP)
    assert slope == pytest.approx(difference, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", ORACLES)
def test_a_cell_is_what_its_paper_says(name: str) -> None:
    compare(name, ORACLES[name])


def configuration(name: str, number: int) -> dict[str, Any]:
    """Random sizes and lengths: single units, features and steps occur."""
    rng = np.random.default_rng([number, *name.encode()])
    known = {p.name for p in dsl.load(name).tree.parameters}
    sizes = {k: int(rng.integers(low, high)) for k, low, high in RANGES if k in known}
    labels = rng.integers(0, 3, 3)
    return {
        **sizes,
        "lengths": {
            "t": rng.integers(6, 10, 3) if name in FRAMES else rng.integers(1, 8, 3),
            "s": rng.integers(1, 6, 3),
            "u": labels if name in FRAMES else labels + 1,
        },
    }


RANGES = [
    ("D", 1, 6),
    ("H", 1, 7),
    ("K", 1, 6),
    ("K_in", 1, 5),
    ("A", 1, 5),
    ("N", 8, 12),
    ("M", 1, 5),
    ("G", 1, 4),
    ("C", 1, 4),
]
FRAMES = ("CTC", "CTCLabeller")  # where labels have to fit


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("name", ORACLES)
def test_a_cell_of_random_sizes_is_what_its_paper_says(name: str, number: int) -> None:
    compare(name, ORACLES[name], **configuration(name, number))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("name", recurrent_torch.STACKS)
def test_a_cell_of_random_sizes_is_what_torchrecurrent_computes(name: str, number: int) -> None:
    pytest.importorskip("torchrecurrent")
    sizes = configuration(name, number)
    compare(name, recurrent_torch.oracle(name, sizes.get("D", sizes["H"]), sizes["H"]), **sizes)


NOISY = ["Dropout", "DropoutStack", "RecurrentDropoutLSTM", "VariationalLSTM", "ZoneoutLSTM"]


@pytest.mark.parametrize("name", NOISY)
def test_a_noisy_cell_in_training(name: str) -> None:
    compare(name, ORACLES[name], seed=5)


@pytest.mark.parametrize("name", recurrent_torch.STACKS)
def test_a_cell_is_what_torchrecurrent_computes(name: str) -> None:
    pytest.importorskip("torchrecurrent")
    sizes = sized(name)
    compare(name, recurrent_torch.oracle(name, sizes.get("D", sizes["H"]), sizes["H"]))


# ------------------------------------------------------------------ what the papers promise


@pytest.mark.parametrize("name", ["WordRNN", "RHN"])
def test_one_layer_more(name: str) -> None:
    compare(name, ORACLES[name], L=3)


@pytest.mark.parametrize("score", ["DotScore", "ConcatScore"])
def test_another_score(score: str) -> None:
    compare("Luong", ORACLES["Luong"], Score=score)


def test_mass_is_conserved() -> None:
    """What went in is what is stored and what has left."""
    model = built("MassLSTM")
    streams, lengths = data(model, lengths_of(model)), lengths_of(model)
    streams["x"] = np.abs(streams["x"])
    run = model(**streams, lengths=lengths, engine="tape")
    out, stored = run["h"].numpy().sum((0, 2)), run["c"].numpy()
    for b, n in enumerate(lengths["t"]):
        assert streams["x"][:n, b].sum() == pytest.approx(out[b] + stored[n - 1, b].sum(), rel=1e-12)


def test_exponential_gates_stay_finite_where_the_bare_equations_do_not() -> None:
    model = built("sLSTM")
    streams = data(model, lengths_of(model))
    loud = {"x": 3000 * streams["x"]}
    with np.errstate(over="ignore", invalid="ignore"):
        bare = ORACLES["sLSTM"]({"x": loud["x"][:4, 1]}, {n: p.numpy() for n, p in model.params.items()})
    assert not np.isfinite(bare).all()
    assert np.isfinite(model(**loud, lengths=lengths_of(model), engine="tape")["h"].numpy()).all()


def test_a_slow_module_of_a_clockwork_moves_only_on_its_beat() -> None:
    model = built("ClockworkRNN")
    h = model(**data(model, lengths_of(model)), lengths=lengths_of(model), engine="tape")["h"].numpy()[:, 0]
    moved = (np.diff(h, axis=0) != 0).reshape(6, 3, -1).all(2)  # between t and t + 1
    assert moved.T.tolist() == [[True] * 6, [t % 2 == 1 for t in range(6)], [t % 4 == 3 for t in range(6)]]


def test_chrono_gates_open_and_close_together_at_the_start() -> None:
    params = dsl.load("ChronoLSTM", T=50).build(D=2, H=400, dtype="float64").params
    start = params["s"].numpy()
    assert 0 <= start.min() and np.log(45) < start.max() <= np.log(49)
    assert not params["b_f"].numpy().any() and not params["b_i"].numpy().any()
    assert not params["s"].requires_grad
