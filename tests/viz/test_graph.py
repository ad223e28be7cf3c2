"""What is drawn is what the equations say: every operator a node, every read a wire."""

from __future__ import annotations

import pytest

import dsl
from dsl.system.system import Read, System
from tests.viz import helpers
from tinygrad_seq.symbol import postorder
from viz.graph import Graph, build
from viz.reading import offset
from viz.rows import rows
from viz.theme import plain


def reads_of(system: System) -> list[tuple[str, int]]:
    """Every occurrence of a varying stream in the equations' expression trees, with its lag."""
    found: list[tuple[str, int]] = []
    for root in system.equations.values():
        for node in postorder([root]):
            for arg in node.args or ([node] if node is root else []):
                leaf = arg.leaf
                if isinstance(leaf, Read) and not system.streams[leaf.name].shared:
                    lag = offset(leaf.index[0], system.arguments) if leaf.index and leaf.index[0].is_shift else 0
                    found.append((leaf.name, lag))
    return sorted(found)


def wired(graph: Graph) -> list[tuple[str, int]]:
    found = []
    for wire in graph.wires:
        if wire.read is not None:
            chip = graph.nodes[wire.source]
            found.append((wire.read.name, wire.lag + chip.lag))
    return sorted(found)


SYSTEMS = {
    "Elman": helpers.elman(),
    "Skip": helpers.skip(4),
    "LSTM": helpers.lstm(),
    "Peephole": helpers.lstm(peephole=True),
    "GRU": helpers.gru(),
    "BiRNN": helpers.birnn(),
    "read-out": helpers.with_loss(helpers.lstm()),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_read_is_a_wire(name: str) -> None:
    system = SYSTEMS[name]
    assert wired(build(system)) == reads_of(system)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_equation_has_its_node(name: str) -> None:
    graph = build(SYSTEMS[name])
    for equation in SYSTEMS[name].equations:
        assert graph.nodes[graph.home[equation]].equation == equation


def test_products_are_not_stacked() -> None:
    gate = build(helpers.lstm()).nodes["f"]
    assert [plain(s.label) for s in gate.sockets] == ["V_f", "W_f", "b_f"]
    assert [s.parameter for s in gate.sockets] == ["V_f", "W_f", "b_f"]
    assert [s.wired for s in gate.sockets] == [True, True, False]
    assert (gate.kind, gate.function, gate.role) == ("card", "σ", "gate")


def test_a_loss_is_drawn_as_its_term() -> None:
    graph = build(helpers.with_loss(helpers.elman()))
    assert graph.nodes["nll"].role == "loss"
    assert graph.nodes["nll"].axes == ("t",)


def test_highways_share_a_row_and_what_follows_comes_down() -> None:
    found = rows(build(helpers.lstm()), "t")
    assert found.spines["c"].path == ("c#2", "c=", "c") and found.spines["c"].linear
    assert found.row["c#2"] == found.row["c="] == found.row["c"] == max(found.row.values())
    assert "h" not in found.spines and found.row["h"] < min(found.row[g] for g in "fiog")
    assert len({found.row[g] for g in "fiog"}) == 1


def test_backward_states_are_read_from_the_right() -> None:
    found = rows(build(helpers.birnn()), "t")
    assert found.direction == {"f": -1, "b": 1}
    assert found.row["b"] > found.row["f"]


def test_a_lag_without_a_number_names_the_argument() -> None:
    with pytest.raises(ValueError, match="needs a number for k"):
        build(dsl.parse("cell A(H, k):\n  state h[t]: H = 0\n  param w = 1\n  h[t] = tanh(w*h[t-k])\n").system)


@pytest.mark.parametrize("name", dsl.cells())
def test_every_library_cell_has_a_graph(name: str) -> None:
    system = dsl.load(name).system
    graph = build(system)
    targets = {w.target for w in graph.wires}
    for key, node in graph.nodes.items():
        assert node.kind == "chip" or key in targets, f"{key} has no input"
    drawn = {n.equation for n in graph.nodes.values()}
    assert drawn >= {e for e in system.equations if not system.streams[e].shared}


def test_an_equation_that_is_a_read_is_wired_to_what_it_reads() -> None:
    text = (
        "cell A(H):\n  input x[t]: H\n  state h[t]: H = 0\n  param W ~ glorot\n"
        "  h[t] = tanh(W@h[t-1] + x[t])\n  y[t] = h[t]\n  output y\n"
    )
    wires = [(w.source, w.target) for w in build(dsl.parse(text).system).wires if w.target == "y"]
    assert wires == [("h", "y")]
