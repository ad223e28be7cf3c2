"""CTC's recurrence, written in the language, against all alignments, the fast primitive, torch and differences."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from dsl.run.compiled import compile_system
from dsl.run.unroll import unroll
from dsl.system.adjoint import adjoint, joined

Array = np.ndarray[Any, Any]
ENGINES = ("compiled", "tape")


def model(K: int) -> Any:
    return dsl.load("CTC").build(K=K, dtype="float64")


def log_likelihood(logits: Array, labels: tuple[int, ...]) -> float:
    """log of the sum over all alignments, each collapsed as the paper's map B does: repeats first, then blanks."""
    steps, units = logits.shape
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(units), repeat=steps):
        if tuple(k for k, _ in itertools.groupby(path) if k != units - 1) == labels:
            total += np.prod([p[t, k] for t, k in enumerate(path)])
    with np.errstate(divide="ignore"):
        return float(np.log(total))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("labels", [(), (0,), (1, 0), (0, 0), (1, 1, 1), (0, 1, 0)], ids=str)
def test_it_is_the_sum_over_all_alignments(labels: tuple[int, ...], engine: str) -> None:
    cell, rng = model(2), np.random.default_rng(len(labels))
    for steps in range(1, 7):
        logits = 2 * rng.normal(size=(steps, 3))
        got = cell(l=logits, y=np.array(labels, int), engine=engine).nll.numpy()
        np.testing.assert_allclose(-got, log_likelihood(logits, labels), rtol=1e-12, atol=1e-12)


def batch(seed: int) -> tuple[int, Array, Array, Array, Array]:
    """K, logits, labels and ragged lengths: repeats, empty targets and ones that cannot fit occur."""
    rng = np.random.default_rng(seed)
    K = int(rng.integers(1, 5))
    T, U = rng.integers(1, 13, 3), rng.integers(0, 6, 3)
    return K, 3 * rng.normal(size=(int(T.max()), 3, K + 1)), rng.integers(0, K, (int(U.max()), 3)), T, U


def slope(logits: Array, loss: Any) -> tuple[Array, Array]:
    """Losses (B,), and the gradient of an uneven sum of those that are finite."""
    leaf = tg.tensor(logits, requires_grad=True)
    each = loss(leaf)
    possible = np.isfinite(each.numpy())
    tg.sum(tg.where(possible, each, 0.0) * np.array([1.0, -2.0, 0.5])).backward()
    return each.numpy(), leaf.grad.numpy()


CASES = range(40)


def test_the_cases_hold_what_is_hard() -> None:
    found = [batch(seed) for seed in CASES]
    assert any((U == 0).any() for *_, U in found)
    assert any((y[1:U, b] == y[: U - 1, b]).any() for _, _, y, _, Us in found for b, U in enumerate(Us) if U > 1)
    assert sum(int((U > T).sum()) for *_, T, U in found) > 5


def recurrence(case: tuple[int, Array, Array, Array, Array], engine: str) -> tuple[Array, Array]:
    K, logits, y, T, U = case
    cell = model(K)
    return slope(logits, lambda v: cell(l=v, y=y, lengths={"t": T, "u": U}, engine=engine).each["nll"])


@pytest.mark.parametrize("seed", CASES)
def test_the_fast_primitive_is_the_recurrence(seed: int) -> None:
    K, logits, y, T, U = case = batch(seed)
    labels = [y[:n, b] for b, n in enumerate(U)]
    fast = slope(logits, lambda v: tg.ctc_loss(v, labels, T, blank=K))
    for engine in ENGINES:
        for got, wanted in zip(recurrence(case, engine), fast, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10, err_msg=engine)


@pytest.mark.parametrize("seed", CASES)
def test_torch_computes_the_same(seed: int) -> None:
    torch = pytest.importorskip("torch")
    K, logits, y, T, U = case = batch(seed)
    got, bar = recurrence(case, "compiled")
    leaf = torch.tensor(logits, requires_grad=True)
    targets = torch.tensor(y.T.copy() if y.size else np.zeros((3, 1), int))
    each = torch.nn.functional.ctc_loss(
        leaf.log_softmax(-1), targets, torch.tensor(T), torch.tensor(U), blank=K, reduction="none"
    )
    np.testing.assert_allclose(got, each.detach().numpy(), rtol=1e-10, atol=1e-10)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (torch.where(torch.isfinite(each), each, 0.0) * weights).sum().backward()
    possible = np.isfinite(got)  # torch's gradient of an infinite loss is NaN
    np.testing.assert_allclose(bar[:, possible], leaf.grad.numpy()[:, possible], rtol=1e-9, atol=1e-10)
    assert not bar[:, ~possible].any()


def test_second_order_goes_through_the_recurrence() -> None:
    """The Hessian times a vector is a difference of gradients, and the primitive's."""
    rng = np.random.default_rng(5)
    cell = model(2)
    y, lengths = np.array([[0, 1], [0, 1], [1, 0]]), {"t": np.array([5, 6]), "u": np.array([3, 1])}
    logits, along = rng.normal(size=(6, 2, 3)), rng.normal(size=(6, 2, 3))

    def loss(v: Any) -> Any:
        return cell(l=v, y=y, lengths=lengths, engine="tape").nll

    found = tg.hvp(loss, logits, along)
    step = 1e-5
    plus, minus = (tg.grad(loss)(logits + sign * step * along) for sign in (1, -1))
    product = found[1] if isinstance(found, tuple) else found
    np.testing.assert_allclose(np.asarray(product), (np.asarray(plus) - np.asarray(minus)) / (2 * step), atol=1e-8)
    fast = tg.hvp(lambda v: tg.mean(tg.ctc_loss(v, [[0, 0, 1], [1]], [5, 6], blank=2)), logits, along)
    np.testing.assert_allclose(np.asarray(product), np.asarray(fast), atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_second_order_where_no_alignment_is_possible(engine: str) -> None:
    """The adjoint of the joined adjoint: 0 for labels that do not fit into their frames, beside others that do."""
    rng = np.random.default_rng(6)
    y, lengths = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0]]), {"t": np.array([5, 6, 2]), "u": np.array([3, 1, 3])}
    logits, along, weights = rng.normal(size=(6, 3, 3)), rng.normal(size=(6, 3, 3)), np.array([1.0, -2.0, 0.5])
    system = model(2).system
    both = joined(system, adjoint(system, ("nll",)))
    twice = adjoint(both.system, (both.gradients["l"],), wrt=("l",))

    def run(of: Any, fed: dict[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        fed = {n: v for n, v in fed.items() if n in of.streams}
        if engine == "tape":
            return {n: np.asarray(v) for n, v in unroll(of, fed, lengths, 3, wanted).items()}
        return dict(compile_system(of, wanted, "float64").forward(fed, lengths, 3, wanted, record=False)[0])

    fed = {"l": logits, "y": y, both.cotangents["nll"]: weights, twice.cotangents[both.gradients["l"]]: along}
    given = tuple(n for n, s in twice.system.streams.items() if s.kind in ("input", "param") and n not in fed)
    found = run(twice.system, fed | run(both.system, fed, given), (twice.gradients["l"],))[twice.gradients["l"]]
    assert not found[:, 2].any()
    possible, labels = [0, 1], [[0, 0, 1], [1]]
    fast = tg.hvp(
        lambda v: tg.sum(tg.ctc_loss(v, labels, [5, 6], blank=2) * weights[:2]), logits[:, possible], along[:, possible]
    )
    np.testing.assert_allclose(found[:, possible], np.asarray(fast), atol=1e-10)


def test_the_labeller_is_its_network_and_its_loss() -> None:
    cell = dsl.load("CTCLabeller").build(D=3, K=2, H=4, dtype="float64", seed=3)
    rng = np.random.default_rng(6)
    x, y, lengths = (
        rng.normal(size=(6, 2, 3)),
        rng.integers(0, 2, (2, 2)),
        {"t": np.array([6, 4]), "u": np.array([2, 1])},
    )
    run = cell(x=x, y=y, lengths=lengths)
    logits = run["rnn"].numpy() @ cell.params["U"].numpy().T + cell.params["b"].numpy()
    np.testing.assert_allclose(run.each["nll"].numpy(), tg.ctc_loss(logits, [y[:2, 0], y[:1, 1]], [6, 4], blank=2))
