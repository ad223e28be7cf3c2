"""Random cells through every reading: reference = tape = adjoint = its printed text = generated code = differences.

A disagreement is shrunk and saved under `regressions/`, whose files run first from then on.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_seq as tg
from dsl.run.unroll import unroll
from dsl.text.diagnostics import CellError, Diagnostic
from dsl.text.tree import Source, Span
from tests.differential.check import READINGS, REGRESSIONS, check, load, prepare, save
from tests.differential.generator import random_cell
from tests.differential.shrink import shrink
from tests.differential.words import BOUNDARIES, DERIVED, LAGS, PRIMITIVES, TAIL

BATCHES = 10
CHEAP = ("adjoint", "printed")  # without a compiler
TWICE = 10  # every so many cells also of second order


def numbers(config, option):
    first = config.getoption("--first-cell", 0)
    return range(first, first + config.getoption(option))


def pytest_generate_tests(metafunc):
    if "some_cells" in metafunc.fixturenames:
        cells = numbers(metafunc.config, "--cells")
        metafunc.parametrize("some_cells", [cells[i::BATCHES] for i in range(BATCHES)], ids=lambda c: f"from{c.start}")
    if "compiled_cell" in metafunc.fixturenames:
        # spread over the primitives: consecutive seeds wish for consecutive ones
        few = metafunc.config.getoption("--compiled-cells")
        step = max(1, len(numbers(metafunc.config, "--cells")) // max(1, few))
        metafunc.parametrize("compiled_cell", list(numbers(metafunc.config, "--cells"))[::step][:few])


REFUSED = 0.05  # the greatest share of random cells that may be refused as not compiled yet


def judge(case, readings):
    """Whether a case agrees; None for one that the language says it cannot compute yet, instead of another."""
    try:
        check(case, readings)
    except CellError as error:
        if all(d.code.startswith("E7") for d in error.diagnostics):
            return None
        raise
    except Exception as error:
        small = shrink(case, lambda c: check(c, readings), error)
        path = save(small, f"{type(error).__name__}: {error}")
        pytest.fail(f"seed {case.seed}: {error}\nshrunk to {path}:\n{small.text}\n{small.arguments} {small.lengths}")
    return True


def judge_all(cases):
    """Every case of (seed, readings), whatever becomes of those before it; few may be refused."""
    verdicts = [judge(random_cell(seed), readings) for seed, readings in cases]
    assert verdicts.count(None) <= max(1, REFUSED * len(verdicts)), f"{verdicts.count(None)} of {len(verdicts)} refused"


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.cell")), ids=lambda p: p.stem)
def test_regression(path):
    kind = path.stem.partition("_")[0]
    check(load(path), {"compiled": READINGS, "torch": (*CHEAP, "torch"), "second": (*CHEAP, "second")}.get(kind, CHEAP))


def test_random_cells_agree(some_cells):
    judge_all([(seed, (*CHEAP, "second") if seed % TWICE == 0 else CHEAP) for seed in some_cells])


def test_a_refused_cell_hides_no_other(monkeypatch):
    seen = []

    def refuse(case, readings):
        seen.append(case.seed)
        if case.seed % 2:
            raise CellError([Diagnostic("E705", "not compiled yet", Span(0, 0))], Source("", "<text>"))

    monkeypatch.setattr(f"{__name__}.check", refuse)
    with pytest.raises(AssertionError, match="2 of 4 refused"):
        judge_all([(seed, CHEAP) for seed in range(4)])
    assert seen == [0, 1, 2, 3]


def narrow(value):
    return value.astype({"f": np.float32, "c": np.complex64}.get(value.dtype.kind, value.dtype))


def test_random_cells_in_float32_stay_there():
    """Values and gradients alike, on the tape."""
    wide = {"real": np.float32, "complex": np.complex64, "category": np.int64}
    for seed in range(0, 300, 7):
        p = prepare(random_cell(seed))
        leaves = {
            n: tg.tensor(narrow(v), requires_grad=True) if n in p.floats else narrow(v)
            for n, v in (p.params | p.inputs).items()
        }
        values = unroll(p.system, leaves, p.lengths, p.batch, tuple(p.system.equations))
        for name, value in values.items():
            assert value.dtype == wide[p.system.streams[name].dtype], f"seed {seed}: {name}"
        if isinstance(values["cost"], tg.Tensor):
            tg.mean(values["cost"]).backward()
        for name in p.floats:
            grad = leaves[name].grad
            assert grad is None or grad.dtype == leaves[name].dtype, f"seed {seed}: gradient of {name}"


def test_random_cell_compiled(compiled_cell):
    assert judge(random_cell(compiled_cell), READINGS), "refused as not compiled yet: none of ten thousand is"


def test_the_generator_covers_the_language(request):
    """Every primitive x kind of boundary x sign of lag x ragged or even x with a sub-cell or without, in one cell."""
    seen = set()
    for seed in numbers(request.config, "--cells"):
        facts = random_cell(seed).facts
        seen |= set(
            itertools.product(
                [p for p in PRIMITIVES if p in facts],
                [b for b in BOUNDARIES if f"boundary {b}" in facts],
                [s for s in LAGS if f"lag {s}" in facts],
                [r for r in ("ragged", "even") if r in facts],
                [c for c in ("sub-cell", "flat") if c in facts],
            )
        )
    wanted = set(itertools.product(PRIMITIVES, BOUNDARIES, LAGS, ("ragged", "even"), ("sub-cell", "flat")))
    assert not wanted - seen


def test_the_generator_covers_the_forms_of_use_index_and_order(request):
    facts = set().union(*(random_cell(seed).facts for seed in numbers(request.config, "--cells")))
    forms = ("plain", "reverse", "stack", "shared", "shared stack", "start", "cell", "param", "feedback")
    assert {f"use {form}" for form in (*forms, "nested", "read inside", "loss")} <= facts
    assert {f"tail {name}" for name in TAIL} <= facts
    assert {f"derived {length.format(t='t')}" for length in DERIVED} | {"derived of derived"} <= facts
    assert {"1 axes", "2 axes", "3 axes", "a sequence without steps", "tied"} <= facts
    assert {f"index {kind}" for kind in ("constant", "end", "flip", "floor", "stride")} <= facts
    assert {
        "scan forward",
        "scan backward",
        "scan skewed",
        "scan of a grid",
        "scan of two axes",
        "integer argument",
    } <= facts


def test_shrinking_keeps_the_failure_and_drops_the_rest():
    case = random_cell(7)

    def fails(c):
        if "tanh" in c.text:
            raise AssertionError("tanh: is there")

    small = shrink(case, fails, AssertionError("tanh: is there"), seconds=10)
    assert "tanh" in small.text and len(small.text) < len(case.text) / 4
