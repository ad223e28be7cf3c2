"""Golden DOT for every view: what Graphviz is handed, for the Graphviz that the files name in their first line."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
import viz
import viz.commands as commands
from tests.systems.test_rows_memory import TOPOLOGIES, spec_of
from tests.viz import helpers
from tests.viz.test_gradients import run_of
from viz import worker
from viz.example import example

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[2] / "docs"


def _tape() -> Any:
    a = tg.tensor(2.0, requires_grad=True, name="a")
    return viz.tape(tg.tanh(a * a + 1.0))


TEXT = dsl.Text.of("to be or not")


def _letters() -> Any:
    return dsl.load("CharRNN").build(K=len(TEXT.symbols), H=3, dtype="float64", seed=1)


VIEWS: dict[str, Callable[[], Any]] = {
    "folded": lambda: viz.folded(helpers.skip(2)),
    "cell": lambda: viz.cell(helpers.gru()),
    "unrolled": lambda: viz.unrolled(helpers.gru(), T=2),
    "bptt": lambda: viz.bptt(run_of("Elman", 3), to="h[0]"),
    "truncated": lambda: viz.truncated(run_of("Elman", 4), 2),
    "attention": lambda: viz.attention(example(dsl.load("ClassifierAttention"), 2, size=2)),
    "tape": _tape,
    "jacobians": lambda: viz.bptt(run_of("Elman", 3), to="h[0]", weight="jacobian"),
    "into_a_parameter": lambda: viz.bptt(run_of("Elman", 3), to="W"),
    "terms": lambda: viz.terms(run_of("Elman", 3), to="W"),
    "gradient_flow": lambda: viz.gradient_flow(run_of("Elman", 4)),
    "gates": lambda: viz.gates(_letters(), TEXT.ids, "rnn.0.f"),
    "units": lambda: viz.units(_letters(), TEXT.ids),
    "heat": lambda: viz.heat({"a": viz.Heat(np.arange(6.0).reshape(2, 3))}),
    "curves": lambda: viz.curves({"loss": [3.0, 2.5, 2.25]}),
    "pen": lambda: viz.pen({"a line": np.array([[0.0, 1, 0], [1, 0, 1], [1, 1, 0]])}),
    "surface": lambda: viz.surface(np.arange(6.0).reshape(2, 3), [0, 1, 2], [0, 1], paths={"a way": ([0, 2], [0, 1])}),
    "lines": lambda: viz.lines({"a": ([1.0, 2.0, 3.0], [1.0, 4.0, 9.0])}),
}


def version() -> str:
    import pygraphviz

    return f"// pygraphviz {pygraphviz.__version__}"


def compare(name: str, dot: str) -> None:
    first, _, rest = (GOLDEN / f"{name}.dot").read_text(encoding="utf-8").partition("\n")
    if first != version():
        pytest.skip(f"{first}, not {version()}")
    assert dot == rest


@pytest.mark.parametrize("view", VIEWS)
def test_dot_of_every_view(view: str) -> None:
    compare(f"view.{view}", VIEWS[view]().dot)


def test_no_view_is_without_one() -> None:
    assert set(viz.VIEWS) <= set(VIEWS), "a view without a golden file"


def test_every_view_of_a_cell_is_on_the_page_of_pictures() -> None:
    page = (DOCS / "pictures.md").read_text(encoding="utf-8")
    drawn = {name for name in commands.VIEWS if name.replace("-", "_") in viz.VIEWS}
    missing = {n for n in drawn if f"pictures/{n}.svg" not in page or not (DOCS / "pictures" / f"{n}.svg").exists()}
    assert len(drawn) > 9 and not missing


def test_what_is_imported_late_is_what_type_checkers_see() -> None:
    tree = ast.parse(Path(viz.__file__).read_text(encoding="utf-8"))
    seen = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("viz.")]
    assert {(a.name, n.module) for n in seen for a in n.names} == set(viz._HOMES.items())


def test_a_plot_is_painted_from_its_dot() -> None:
    """What has no nodes is drawing operations, not an empty graph: Graphviz paints them back."""
    dot = VIEWS["terms"]().dot
    assert worker.layout(dot, "nop2", "svg").count("<text") > 5


def file_of(topology: str) -> str:
    return f"topology.{topology.replace(',', '').replace(' ', '_')}"


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_dot_of_every_topology(topology: str) -> None:
    """Row 29 of the lectures: the graph that each spec unrolls to."""
    compare(file_of(topology), viz.unrolled(spec_of(topology), T=3).dot)
