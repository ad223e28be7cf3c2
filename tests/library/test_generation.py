"""Generation of the library's cells: what is drawn is what training says, for every cell with a `~`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import dsl
from dsl.run.beam import search
from dsl.run.compiled import compile_system
from dsl.run.unroll import unroll
from dsl.text.diagnostics import CellError
from tests.library.test_library import sized

Array = np.ndarray[Any, Any]
TINY = {"K": 3, "K_in": 3, "N": 6, "H": 3}
STEPS = 3
SYMBOLS = [
    n for n in dsl.cells() if [d.distribution for d in dsl.load(n).system.draws.values()][-1:] == ["categorical"]
]
QUICK = ("CharRNN", "Translate", "LocationAware", "CountdownRNN", "Tagger")


def tiny(name: str, **arguments: Any) -> Any:
    """A small model of uneven probabilities."""
    sizes = {k: v for k, v in {**sized(name), **TINY}.items() if k in {p.name for p in dsl.load(name).tree.parameters}}
    model = dsl.load(name, **arguments).build(seed=4, dtype="float64", **sizes)
    for place, parameter in enumerate(model.params.values()):
        if parameter.requires_grad:
            parameter.data[...] += np.random.default_rng(place).normal(0, 0.7, parameter.shape)
    return model


def conditions(model: Any, batch: int, seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Data of a model's inputs and of what it draws once, and lengths of the axes that are not drawn along."""
    rng = np.random.default_rng(seed)
    lengths = {"s": np.array([4, 2])[:batch], "u": np.array([3, 1])[:batch], "t": np.full(batch, STEPS)}
    found: dict[str, Array] = {}
    for name, stream in model.system.streams.items():
        if stream.kind == "input" or (stream.kind == "draw" and not stream.axes):
            lead = (*(int(lengths[a].max()) for a in stream.axes), batch)
            if stream.dtype == "category":
                found[name] = rng.integers(0, int(stream.categories), lead)
            else:
                found[name] = rng.normal(size=(*lead, *(int(d) for d in stream.shape)))
    used = {a for n in found for a in model.system.streams[n].axes}
    return found, {a: v for a, v in lengths.items() if a in used}


def noisy(system: Any, lengths: dict[str, Array], batch: int) -> dict[str, Array]:
    """Numbers for all that a generating system reads: parameters, noise between 0 and 1, what is given first."""
    rng, found = np.random.default_rng(5), {}
    for name, stream in system.streams.items():
        if stream.kind == "equation":
            continue
        lead = (*(int(lengths[a].max()) for a in stream.axes), *(() if stream.shared else (batch,)))
        shape = (*lead, *(int(d) for d in stream.shape))
        if stream.dtype == "category":
            found[name] = rng.integers(0, int(stream.categories), shape)
        else:
            found[name] = rng.uniform(size=shape) if stream.kind == "noise" else rng.normal(size=shape)
    return {**found, "primed": np.arange(batch) % 2, "sharpness": np.asarray(1.5), "bias": np.asarray(0.2)}


@pytest.mark.parametrize("greedy", [False, True], ids=["sampled", "greedy"])
@pytest.mark.parametrize("name", [n for n in dsl.cells() if dsl.load(n).system.draws])
def test_the_generating_cell_is_a_cell(name: str, greedy: bool) -> None:
    """Printed and read again it draws the same from the same noise, on both engines."""
    model, wanted = tiny(name), tuple(dsl.load(name).system.draws)
    made = model.generator.drawing.part(wanted, (), greedy).system
    layers = {"L": sized(name)["L"]} if "L" in sized(name) else {}
    reread = dsl.parse(dsl.load(name).generation(greedy=greedy, **layers)).system
    reread = reread.bind(
        {n: v for n, v in {**model.system.arguments, **sized(name), **TINY}.items() if n in reread.arguments}
    )
    lengths = {"s": np.array([4, 2]), "u": np.array([3, 1]), "t": np.full(2, STEPS)}
    lengths = {a: n for a, n in lengths.items() if a in made.axes}
    given = noisy(made, lengths, 2)
    left = unroll(made, {n: v for n, v in given.items() if n in made.streams}, lengths, 2, wanted)
    fed = {n: v for n, v in given.items() if n in reread.streams}
    right = unroll(reread, fed, lengths, 2, wanted)
    compiled = compile_system(reread, wanted, "float64").forward(fed, lengths, 2, wanted, record=False)[0]
    for draw in wanted:
        np.testing.assert_allclose(right[draw], left[draw], rtol=1e-12, err_msg=draw)
        np.testing.assert_allclose(compiled[draw], left[draw], rtol=1e-9, atol=1e-12, err_msg=draw)


def drawn_along(model: Any) -> str:
    return next(n for n, s in model.system.streams.items() if s.kind == "draw" and s.axes)


def log_probabilities(model: Any, ids: Array, given: dict[str, Array], lengths: dict[str, Array]) -> Array:
    """What training says of (T, B) integers, without what is drawn once, (B,)."""

    def loss(y: Array) -> Array:
        all_lengths = {**lengths, "t": np.full(y.shape[1], len(y))}
        each = model(**given, **{drawn_along(model): y}, lengths=all_lengths, engine="tape").each["nll"]
        return np.asarray(each.numpy())

    if model.generator.once:  # a sum over the steps, beside the length's own
        return loss(ids[:0]) - loss(ids)
    return -loss(ids) * len(ids)


STRINGS = [n for n in SYMBOLS if any(s.kind == "draw" and s.axes for s in dsl.load(n).system.streams.values())]
CASES = [pytest.param(n, "tape", marks=[] if n in QUICK else [pytest.mark.slow]) for n in STRINGS]


@pytest.mark.parametrize(("name", "engine"), [*CASES, *((n, "compiled") for n in QUICK)])
def test_a_wide_beam_finds_every_string_with_the_probability_of_training(name: str, engine: str) -> None:
    """27 strings of 3 symbols: each once, as probable as teacher forcing says, together 1."""
    model = tiny(name)
    given, lengths = conditions(model, 2)
    data = model.arranged((), given, lengths, None, 2)
    first = {drawn_along(model): np.zeros((0, 2), np.int64)}
    found = search(model, data, first, STEPS, 27, None, engine)
    for b in range(2):
        assert len({tuple(v) for v in found.ids[:, b].T}) == 27
    for k in (0, 1, 13, 26):
        wanted = log_probabilities(model, found.ids[:, :, k], given, lengths)
        np.testing.assert_allclose(found.log_probability[:, k], wanted, atol=1e-10)
    np.testing.assert_allclose(np.exp(found.log_probability).sum(1), 1, atol=1e-12)
    assert (np.diff(found.log_probability, axis=1) <= 0).all()
    best = model.generate(STEPS, beam=27, engine=engine, **given, lengths=lengths or None, batch=2)
    best = best[drawn_along(model)] if isinstance(best, dict) else best
    np.testing.assert_array_equal(best, found.ids[:, :, 0])


DRAWING = [n for n in dsl.cells() if dsl.load(n).system.draws]
ALIKE = [pytest.param(n, marks=[] if n in (*QUICK, "Handwriting") else [pytest.mark.slow]) for n in DRAWING]


def by_stream(model: Any, drawn: Any) -> dict[str, Array]:
    return drawn if isinstance(drawn, dict) else {next(iter(model.system.draws)): drawn}


@pytest.mark.parametrize("name", ALIKE)
def test_the_engines_draw_the_same_from_equal_noise(name: str) -> None:
    """And a sequence does not depend on what is drawn beside it, nor on how much is drawn behind it."""
    model = tiny(name)
    data, lengths = conditions(model, 2)
    data = {n: v for n, v in data.items() if model.system.streams[n].kind == "input"}
    alone = {n: v[:, :1] if model.system.streams[n].axes else v[:1] for n, v in data.items()}
    short = {a: v[:1] for a, v in lengths.items()}

    def draws(engine: str, less: int = 0, **how: Any) -> dict[str, Array]:
        return by_stream(model, model.generate(STEPS - less, engine=engine, seed=8, temperature=0.8, **how))

    tape = draws("tape", batch=2, lengths=lengths or None, **data)
    compiled = draws("compiled", batch=2, lengths=lengths or None, **data)
    fewer = draws("tape", 1, batch=2, lengths=lengths or None, **data)
    one = draws("tape", batch=1, lengths=short or None, **alone)
    for n, both in tape.items():
        stepped = bool(model.system.streams[n].axes)
        np.testing.assert_allclose(compiled[n], both, atol=1e-9)
        np.testing.assert_allclose(one[n], both[:, :1] if stepped else both[:1], atol=1e-12)
        np.testing.assert_array_equal(fewer[n], both[: STEPS - 1] if stepped else both)


def strings(end: int = 2, longest: int = 5) -> list[tuple[int, ...]]:
    """All strings of 0 and 1 that end with `end`, or have the full length."""
    found = []
    for n in range(longest + 1):
        for body in itertools.product((0, 1), repeat=n):
            if n == longest:
                found.append(body)
            else:
                found.append((*body, end))
    return found


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
def test_a_wide_beam_is_an_exhaustive_search_to_the_end_of_a_sentence(penalty: float) -> None:
    model = tiny("CharRNN")
    every = strings()
    score = {s: float(log_probabilities(model, np.array(s)[:, None], {}, {})[0]) for s in every}
    assert sum(np.exp(list(score.values()))) == pytest.approx(1, abs=1e-12)
    best = max(every, key=lambda s: score[s] / len(s) ** penalty)
    got = model.generate(5, beam=len(every) + 1, until=2, length_penalty=penalty, engine="tape")
    assert tuple(v for v in got if v >= 0) == best


def test_a_length_penalty_prefers_longer_strings() -> None:
    model = tiny("CharRNN")
    model.params["a"] = np.array([0.5, 0.4, 1.0])  # ending is likely at once
    model.params["U"] = 0 * model.params["U"].numpy()
    assert len(model.generate(5, beam=63, until=2, engine="tape")) == 1
    assert len(model.generate(5, beam=63, until=2, length_penalty=1.5, engine="tape")) == 5
    with pytest.raises(ValueError, match="length_penalty: it ranks"):
        model.generate(5, length_penalty=1.0)


def test_a_classifier_draws_its_class_from_its_probabilities() -> None:
    model = tiny("Classifier")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 3))
    drawn = model.generate(x=np.repeat(x[:, None], 4000, axis=1), seed=3)
    assert drawn.shape == (4000,)
    for k in range(3):
        p = np.exp(-model(x=x, y=np.array(k)).nll.numpy())
        assert (drawn == k).mean() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 4000))
    assert model.generate(x=x, greedy=True) == np.argmax([-model(x=x, y=np.array(k)).nll.numpy() for k in range(3)])


@pytest.mark.parametrize("name", ["LengthRNN", "CountdownRNN"])
@pytest.mark.parametrize("engine", ["tape", "compiled"])
def test_a_length_is_drawn_first_and_kept_to(name: str, engine: str) -> None:
    model = tiny(name)
    v = np.random.default_rng(3).normal(size=(40, 3))
    out = model.generate(T="tau", v=v, seed=5, engine=engine)
    assert set(out["tau"]) > {0, 1} and len(out["y"]) == out["tau"].max()
    np.testing.assert_array_equal((out["y"] >= 0).sum(axis=0), out["tau"])
    one = model.generate(T="tau", v=v[3], tau=np.array(2), seed=5, engine=engine)
    assert one["tau"] == 2 and one["y"].shape == (2,)
    with pytest.raises(ValueError, match="T: sigma is no category that"):
        model.generate(T="sigma", v=v)


def test_what_a_step_hears_of_the_length_is_what_it_hears_in_training() -> None:
    """The countdown follows the drawn length: greedy symbols are the likeliest ones of teacher forcing."""
    model = tiny("CountdownRNN")
    v, tau = np.random.default_rng(4).normal(size=3), np.array(4)
    y = model.generate(4, v=v, tau=tau, greedy=True, engine="tape")["y"]
    for t in range(4):
        total = {}
        for k in range(3):
            other = y.copy()
            other[t] = k
            total[k] = model(v=v, tau=tau, y=other[: t + 1], engine="tape").nll.numpy()
        assert min(total, key=total.__getitem__) == y[t]


def test_a_coin_ends_the_sequence() -> None:
    model = tiny("StopRNN")
    out = model.generate(60, batch=6, seed=2, until={"stop": 1}, engine="tape")
    for b in range(6):
        ends = np.flatnonzero(out["stop"][:, b] == 1)
        assert len(ends) == 1
        assert (out["y"][: ends[0] + 1, b] >= 0).all() and (out["y"][ends[0] + 1 :, b] == -1).all()


def test_tags_are_drawn_for_the_steps_there_are() -> None:
    model = tiny("Tagger")
    rng = np.random.default_rng(6)
    x, lengths = rng.normal(size=(5, 2, 3)), np.array([5, 3])
    tags = model.generate(x=x, lengths=lengths, greedy=True, engine="tape")
    assert tags.shape == (5, 2) and (tags[3:, 1] == -1).all() and (tags[:3] >= 0).all()
    alone = model.generate(x=x[:3, 1], greedy=True, engine="tape")
    np.testing.assert_array_equal(alone, tags[:3, 1])


def pens(model: Any, **options: Any) -> Array:
    return model.generate(6, engine="tape", **options)


@pytest.mark.parametrize("name", ["Handwriting", "HandwritingSynthesis"])
def test_handwriting(name: str) -> None:
    """Primed, biased, conditional on a text; the engines draw alike, and a strong bias is the likeliest component."""
    model = tiny(name)
    given = {"c": np.array([0, 2, 1])} if name == "HandwritingSynthesis" else {}
    free = pens(model, seed=1, **given)
    assert free.shape == (6, 3) and set(free[:, 2]) <= {0.0, 1.0}
    np.testing.assert_array_equal(pens(model, seed=1, **given), free)
    assert not np.array_equal(pens(model, seed=2, **given), free)
    np.testing.assert_allclose(model.generate(6, seed=1, **given), free, atol=1e-9)
    prime = np.random.default_rng(0).normal(size=(4, 3))
    primed = pens(model, prime=prime, seed=1, **given)
    assert primed.shape == (10, 3)
    np.testing.assert_array_equal(primed[:4], prime)
    again = pens(model, prime=primed[:7], seed=9, bias=60.0, **given)
    likeliest = model.generate(1, prime=primed[:7], greedy=True, engine="tape", **given)
    np.testing.assert_allclose(again[7, :2], likeliest[7, :2], atol=1e-9)
    if given:
        assert not np.allclose(pens(model, seed=1, c=np.array([1, 1, 0])), free)


TOO_LATE = """
cell Late(K):
  state y[t]: one_hot K = none
  state n: one_hot K = none
  param U, V ~ glorot
  y[t] ~ categorical(logits = U@y[t-1])
  n ~ categorical(logits = V@last(y))
  loss nll = -mean[t](logprob(y[t])) - logprob(n)
"""


def test_what_is_drawn_once_comes_before_the_steps() -> None:
    with pytest.raises(CellError, match="n is drawn before the first step and needs what is drawn at the steps"):
        dsl.parse(TOO_LATE).build(K=3).generate(4)


def test_a_search_needs_what_is_drawn_once() -> None:
    model = tiny("LengthRNN")
    v = np.zeros(3)
    assert model.generate(3, v=v, tau=np.array(3), beam=2)["y"].shape == (3,)
    with pytest.raises(ValueError, match="beam: give tau"):
        model.generate(3, v=v, beam=2)


@pytest.mark.parametrize("engine", ["tape", "compiled"])
def test_what_is_drawn_comes_back_through_the_copies_of_a_stack(engine: str) -> None:
    """Two layers of GRU: greedy symbols are the likeliest of teacher forcing; equal seeds give equal batches."""
    model = tiny("CharRNN", Cell="GRU", L=2)
    y = model.generate(7, prime=[2, 0], greedy=True, engine=engine)
    for t in range(2, 9):
        others = np.array([[*y[:t], k] for k in range(3)]).T
        assert log_probabilities(model, others, {}, {}).argmax() == y[t]
    many = model.generate(7, prime=[2, 0], temperature=0.7, seed=4, batch=5, engine=engine)
    assert many.shape == (9, 5) and len({tuple(v) for v in many.T}) > 1
    np.testing.assert_array_equal(
        many, model.generate(7, prime=[2, 0], temperature=0.7, seed=4, batch=5, engine=engine)
    )


def test_two_lengths_of_one_axis_stay_apart() -> None:
    """A source of each length gives what it gives alone, whatever lies behind its end."""
    model = tiny("Translate")
    x = np.array([[0, 1], [2, 2], [1, -1], [1, -1]])
    both = model.generate(4, x=np.maximum(x, 0), lengths={"s": [4, 2]}, greedy=True)
    for b, n in ((0, 4), (1, 2)):
        np.testing.assert_array_equal(both[:, b], model.generate(4, x=x[:n, b], greedy=True))
