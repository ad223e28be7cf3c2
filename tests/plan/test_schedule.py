"""Orders of computation: which axis, which direction, and why there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

import dsl
from dsl.plan.schedule import Scan, Vector, dependences, offset_value, schedule, solve, strong_components
from dsl.system.dims import Dim
from dsl.system.system import Axis, Index, Read, Stream, System
from dsl.text.diagnostics import CellError
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, lift


def at(name: str, *places: tuple[str, int]) -> Symbol:
    return lift(Read(name, tuple(Index(a, offset=Dim.of(o)) for a, o in places)))


def system(equations: dict[str, tuple[str, Symbol]], boundaries: dict[str, Symbol] | None = None) -> System:
    """Equations by name: their axes as letters, and their value."""
    axes = {a: Axis(a) for letters, _ in equations.values() for a in letters}
    streams = {
        n: Stream(n, "equation", tuple(letters), boundary=(boundaries or {}).get(n))
        for n, (letters, _) in equations.items()
    }
    return System("A", {}, axes, streams, {n: e for n, (_, e) in equations.items()})


def test_direction_is_not_the_sign_of_one_offset() -> None:
    (scan,) = schedule(system({"a": ("t", at("b", ("t", 1))), "b": ("t", at("a", ("t", -2)))}))
    assert isinstance(scan, Scan)
    assert (scan.axis, scan.direction, scan.skew) == ("t", 1, {"a": 1, "b": 0})


def test_reading_ahead_runs_backwards() -> None:
    (scan,) = schedule(system({"b": ("t", at("b", ("t", 1)))}))
    assert isinstance(scan, Scan)
    assert scan.direction == -1 and scan.skew == {"b": 0}


def test_acyclic_equations_share_a_block_in_order_of_need() -> None:
    (block,) = schedule(system({"c": ("t", at("a", ("t", 3))), "a": ("t", lift(1))}))
    assert block == Vector(("a", "c"))


@pytest.mark.parametrize(
    ("code", "equations"),
    [
        ("E501", {"h": ("t", at("h", ("t", 0)))}),
        ("E502", {"a": ("t", at("b", ("t", 0))), "b": ("t", at("a", ("t", 0)))}),
        ("E503", {"h": ("t", lift(Read("h", (Index("t", scale=2),))))}),
        ("E503", {"h": ("t", lift(Read("h", (Index("t", divisor=2),))))}),
        ("E503", {"h": ("t", lift(Read("h", (Index(None, 0, Dim.of(-1), length="t", extent=1),))))}),
        ("E504", {"h": ("t", at("h", ("t", -1)) + at("h", ("t", 1)))}),
    ],
)
def test_impossible_orders_name_what_stands_in_the_way(code: str, equations: dict[str, tuple[str, Symbol]]) -> None:
    with pytest.raises(CellError) as error:
        schedule(system(equations))
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == code
    assert next(iter(equations)) in diagnostic.message


def test_the_cycle_is_spelt_out() -> None:
    with pytest.raises(CellError, match="a → b → a"):
        schedule(system({"a": ("t", at("b", ("t", 0))), "b": ("t", at("a", ("t", 0)))}))


def test_two_axes_prefer_the_one_that_leaves_no_loop_inside() -> None:
    p = at("a", ("t", -1), ("v", 0)) + at("a", ("t", -1), ("v", -1))
    (scan,) = schedule(system({"p": ("tv", p), "a": ("tv", at("p", ("t", 0), ("v", 0)))}))
    assert isinstance(scan, Scan)
    assert scan.axis == "t" and scan.body == (Vector(("p", "a")),)


def test_a_recurrence_along_both_axes_nests() -> None:
    (scan,) = schedule(system({"a": ("tv", at("a", ("t", -1), ("v", 0)) + at("a", ("t", 0), ("v", -1)))}))
    assert isinstance(scan, Scan)
    (inner,) = scan.body
    assert isinstance(inner, Scan) and {scan.axis, inner.axis} == {"t", "v"}


def test_a_sum_over_the_other_axis_is_inside_the_decoder_not_the_encoder() -> None:
    last = lift(Read("enc", (Index(None, 0, Dim.of(-1), length="s", extent=1),)))
    context = REGISTRY["sum"](at("e", ("t", 0), ("s", 0)) * at("enc", ("s", 0)), axis="s")
    equations = {
        "e": ("ts", at("d", ("t", -1)) * at("enc", ("s", 0))),
        "c": ("t", context),
        "d": ("t", at("c", ("t", 0)) * at("d", ("t", -1))),
        "enc": ("s", at("enc", ("s", -1))),
    }
    first, second = schedule(system(equations, {"d": last}))
    assert isinstance(first, Scan) and isinstance(second, Scan)
    assert (first.axis, second.axis) == ("s", "t")


def test_the_boundary_is_a_dependence_only_where_it_can_be_read() -> None:
    last = lift(Read("e", (Index(None, 0, Dim.of(-1), length="s", extent=1),)))
    equations = {"e": ("s", lift(1)), "d": ("t", at("d", ("t", -1))), "y": ("t", at("d", ("t", 0)))}
    edges = {(e.reader, e.source) for e in dependences(system(equations, {"d": last}))}
    assert ("d", "e") in edges and ("y", "e") not in edges


def test_offsets_take_the_arguments_values() -> None:
    made = system({"h": ("t", lift(Read("h", (Index("t", offset=-Dim.of("k")),))))})
    assert offset_value(made, -Dim.of("k")) == -1
    assert offset_value(made.with_(arguments={"k": 4}), -Dim.of("k")) == -4


def test_difference_constraints() -> None:
    assert solve(["a", "b"], [("a", "b", 2), ("b", "a", -2)]) == {"a": 2, "b": 0}
    assert solve(["a", "b"], [("a", "b", 2), ("b", "a", -1)]) is None


def test_a_chain_of_a_thousand_equations_needs_no_recursion() -> None:
    equations = {f"e{k}": ("t", at(f"e{k - 1}", ("t", 0)) + 1) for k in range(1, 1000)}
    equations["e0"] = ("t", at("e999", ("t", -1)))
    (scan,) = schedule(system(equations))
    assert isinstance(scan, Scan) and len(scan.skew) == 1000


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "Skip", "BiRNN", "Pyramid"])
def test_the_adjoints_loops_are_the_forward_ones_reversed(cell: str) -> None:
    spec = dsl.load(cell)

    def loops(made: System) -> list[tuple[str, int]]:
        return [(b.axis, b.direction) for b in schedule(made) if isinstance(b, Scan)]

    forward = loops(spec.system)
    assert sorted(loops(spec.adjoint().system)) == sorted((a, -d) for a, d in forward)


def test_strong_components_are_those_of_scipy() -> None:
    random = np.random.default_rng(0)
    for n in (1, 2, 5, 20, 60):
        for density in (0.02, 0.1, 0.4):
            graph = random.random((n, n)) < density
            pairs = [(int(a), int(b)) for a, b in zip(*np.nonzero(graph), strict=True)]
            ours = strong_components(n, pairs)
            _, theirs = connected_components(graph, directed=True, connection="strong")
            assert len(set(ours)) == len(set(theirs)) == len(set(zip(ours, theirs.tolist(), strict=True)))


def test_a_lag_that_is_given_as_0_is_the_same_step() -> None:
    with pytest.raises(CellError) as caught:
        schedule(dsl.load("Skip", k=0).system)
    assert [(d.code, d.message) for d in caught.value.diagnostics] == [
        ("E501", "with k=0, h[t-k] is h itself at the same step")
    ]
