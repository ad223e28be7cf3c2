"""Every cell that is accepted is drawn: equations in which no time is read, lagged reads of what is no recurrence,
what is drawn with several parameters; and random cells."""

from __future__ import annotations

from typing import Any

import pytest

import dsl
import viz
from tests.differential.generator import random_cell
from tests.viz.test_geometry import assert_legible
from tests.viz.test_pictures import assert_tidy
from viz.example import example
from viz.graph import Graph, build

HEAD = """
cell Small(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
"""
BODY = {
    "a number": """
  z[t] = 2
  h[t] = tanh(V@x[t] + W@h[t-1] + z[t])
""",
    "a number as a state": """
  state z[t]: scalar = 0
  z[t] = 2
  h[t] = tanh(V@x[t] + W@h[t-1] + z[t-1])
""",
    "a parameter": """
  state z[t]: H = 0
  param b = 0
  z[t] = b
  h[t] = tanh(V@x[t] + W@h[t-1] + z[t-2])
""",
    "a value without time": """
  input c: H
  state z[t]: H = 0
  z[t] = c
  h[t] = tanh(V@x[t] + W@h[t-1] + z[t] + z[t-2])
""",
    "an activation without time": """
  input c: H
  state z[t]: H = 0
  z[t] = tanh(c)
  h[t] = tanh(V@x[t] + W@h[t-1] + z[t-3])
""",
    "the step itself": """
  z[t] = t
  h[t] = tanh(V@x[t] + W@h[t-1] + z[t])
""",
    "one axis of two": """
  input q[s]: H
  z[t,s] = tanh(q[s])
  h[t] = tanh(V@x[t] + W@h[t-1] + sum[s](z[t,s]))
""",
    "a lagged read above a recurrence": """
  state g[t], z[t]: H = 0
  param U ~ glorot
  g[t] = tanh(U@g[t-1])
  z[t] = V@x[t]
  h[t] = tanh(W@h[t-1] + z[t] + z[t-1] + g[t])
""",
    "an axis counted from one that is not drawn": """
  input k[s]: one_hot H = none
  time v: len(s)//2
  state g[v]: H = 0
  input c: H
  g[v] = tanh(W@g[v-1])
  h[t] = tanh(V@x[t] + W@h[t-1] + c)
  d = tanh(c)
  output g, d
""",
    "axes counted one from another": """
  time u: len(t)//2
  time v: len(u)//2
  g[u] = h[2*u]
  h[t] = tanh(V@x[t] + W@h[t-1])
  f[v] = tanh(g[2*v])
  output f
""",
    "an axis with fewer steps than its base": """
  time u: len(t)-5
  h[t] = tanh(V@x[t] + W@h[t-1])
  g[u] = h[u+5]
  output g
""",
    "two parameters of what is drawn": """
  state y[t]: scalar = 0
  param v, w: H ~ uniform(-1, 1)
  h[t] = tanh(V@x[t] + W@h[t-1] + y[t-1])
  y[t] ~ normal(mean = v@sin(h[t]), std = exp(w@cos(h[t])))
  loss nll = -sum[t](logprob(y[t]))
""",
}
VIEWS = (viz.unrolled, viz.folded, viz.cell, viz.bptt)


def spec_of(name: str) -> Any:
    body = BODY[name]
    return dsl.parse(HEAD + body.lstrip("\n") + ("" if "loss" in body or "output" in body else "  output h\n"))


def graph_of(name: str) -> Graph:
    return build(spec_of(name).system)


@pytest.mark.parametrize("name", BODY)
def test_small_cells_are_drawn_tidily(name: str) -> None:
    spec = spec_of(name)
    for view in VIEWS:
        drawing = view(spec)
        assert drawing.svg and drawing.dot
        assert_tidy(drawing.scene)
        assert_legible(drawing.scene)


@pytest.mark.parametrize("name", BODY)
def test_their_gradients_are_drawn(name: str) -> None:
    run = example(spec_of(name), 6, size=2)
    for drawing in (viz.bptt(run), viz.bptt(run, weight="jacobian"), viz.truncated(run, 2), viz.gradient_flow(run)):
        assert drawing.svg


@pytest.mark.parametrize("name", BODY)
def test_a_stream_stands_in_its_own_lane(name: str) -> None:
    """Whatever its value depends on: its steps are those at which it is read."""
    graph = graph_of(name)
    for stream, key in graph.home.items():
        declared = graph.system.streams[stream]
        if declared.kind == "equation" and stream not in graph.system.losses:
            assert graph.nodes[key].axes == declared.axes, stream


@pytest.mark.parametrize("name", BODY)
def test_every_lane_is_drawn(name: str) -> None:
    spec = spec_of(name)
    nodes = {k for k, n in build(spec.system).nodes.items() if n.kind != "chip"}
    for view in (viz.unrolled, viz.folded):
        assert nodes <= {m.node.key for m in view(spec).scene.marks}


def said(graph: Graph, key: str) -> tuple[str, list[str]]:
    node = graph.nodes[key]
    return node.function, ["".join(s.text for s in socket.label) for socket in node.sockets]


def test_what_takes_over_a_value_says_so() -> None:
    assert said(graph_of("a number"), "z") == ("", ["2"])
    assert said(graph_of("a number as a state"), "z=") == ("=", ["2"])
    assert said(graph_of("a parameter"), "z=") == ("=", ["b"])
    assert said(graph_of("the step itself"), "z") == ("", ["t"])
    held = graph_of("a value without time")
    assert held.nodes["z="].function == "="
    assert [w.source for w in held.wires if w.target == "z="] == ["c@t"]


def test_the_parameters_of_a_draw_have_operators_of_their_own() -> None:
    graph = graph_of("two parameters of what is drawn")
    into = {w.target: graph.nodes[w.source].function for w in graph.wires if w.target in ("y.mean", "y.std")}
    assert into == {"y.mean": "sin", "y.std": "cos"}
    assert {"y.mean", "y.std"} <= {w.source for w in graph.wires}  # read, not computed a second time


@pytest.mark.parametrize("seed", [223, 330, 473, 523, 1223, 1520, 2060, 2073, 2423, *range(0, 3000, 140)])
def test_random_cells_are_drawn_tidily(seed: int) -> None:
    """No box on another, none clipped, and no wire through a box that is not its own."""
    spec = dsl.parse(random_cell(seed).text)
    for view in VIEWS:
        drawing = view(spec)
        assert drawing.svg
        assert_tidy(drawing.scene)
