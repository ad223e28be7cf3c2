"""Systems built by hand, so that the pictures are tested without the language's front end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tinygrad_seq.ops  # noqa: F401  (registers the primitives)
from dsl.system.dims import Dim
from dsl.system.system import Axis, Index, Stream, System, read
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, lift
from viz import compose, worker

H, D = Dim.of("H"), Dim.of("D")
T = Index("t")


def op(name: str, *args: Any, **static: Any) -> Symbol:
    return REGISTRY[name](*args, **static)


def at(name: str, offset: int = 0) -> Symbol:
    return read(name, Index("t", offset=Dim.of(offset)))


def product(matrix: str, vector: Symbol) -> Symbol:
    return op("matvec", read(matrix), vector)


def system(
    name: str, params: dict[str, tuple[Any, ...]], states: list[str], equations: dict[str, Symbol], **more: Any
) -> System:
    """One time axis, input x of size D, everything else of size H unless `shapes` says otherwise."""
    shapes = more.pop("shapes", {})
    streams = {"x": Stream("x", "input", ("t",), (D,))}
    for p, shape in params.items():
        streams[p] = Stream(p, "param", (), tuple(Dim.of(s) for s in shape), shared=True)
    for e in equations:
        axes = () if e in more.get("losses", ()) else ("t",)
        streams[e] = Stream(
            e, "equation", axes, shapes.get(e, (H,)), boundary=lift(0) if e in states else None, state=e in states
        )
    for n, s in more.pop("streams", {}).items():
        streams[n] = s
    return System(name, {"D": None, "H": None}, {"t": Axis("t")}, streams, equations, **more)


def elman() -> System:
    z = product("V", at("x")) + product("W", at("h", -1)) + read("b")
    return system("Elman", {"V": ("H", "D"), "W": ("H", "H"), "b": ("H",)}, ["h"], {"h": op("tanh", z)}, outputs=("h",))


def skip(k: int = 4) -> System:
    z = product("V", at("x")) + product("W", at("h", -1)) + product("S", at("h", -k)) + read("b")
    params: dict[str, tuple[Any, ...]] = {"V": ("H", "D"), "W": ("H", "H"), "S": ("H", "H"), "b": ("H",)}
    return system("Skip", params, ["h"], {"h": op("tanh", z)}, outputs=("h",))


def lstm(peephole: bool = False) -> System:
    params: dict[str, tuple[Any, ...]] = {}
    equations: dict[str, Symbol] = {}
    for gate in "fiog":
        params |= {f"V_{gate}": ("H", "D"), f"W_{gate}": ("H", "H"), f"b_{gate}": ("H",)}
        z = product(f"V_{gate}", at("x")) + product(f"W_{gate}", at("h", -1))
        if peephole and gate != "g":
            params[f"p_{gate}"] = ("H",)
            z = z + read(f"p_{gate}") * at("c", 0 if gate == "o" else -1)
        equations[gate] = op("tanh" if gate == "g" else "sigmoid", z + read(f"b_{gate}"))
    equations["c"] = at("f") * at("c", -1) + at("i") * at("g")
    equations["h"] = at("o") * op("tanh", at("c"))
    return system("Peephole" if peephole else "LSTM", params, ["h", "c"], equations, outputs=("h",))


def gru() -> System:
    params: dict[str, tuple[Any, ...]] = {}
    for gate in "zrn":
        params |= {f"V_{gate}": ("H", "D"), f"W_{gate}": ("H", "H"), f"b_{gate}": ("H",)}
    gates = {
        g: op("sigmoid", product(f"V_{g}", at("x")) + product(f"W_{g}", at("h", -1)) + read(f"b_{g}")) for g in "zr"
    }
    n = op("tanh", product("V_n", at("x")) + product("W_n", at("r") * at("h", -1)) + read("b_n"))
    h = (1 - at("z")) * at("n") + at("z") * at("h", -1)
    return system("GRU", params, ["h"], {**gates, "n": n, "h": h}, outputs=("h",))


def birnn() -> System:
    params: dict[str, tuple[Any, ...]] = {}
    equations = {}
    for s, d in (("f", -1), ("b", 1)):
        params |= {f"V_{s}": ("H", "D"), f"W_{s}": ("H", "H"), f"a_{s}": ("H",)}
        equations[s] = op("tanh", product(f"V_{s}", at("x")) + product(f"W_{s}", at(s, d)) + read(f"a_{s}"))
    equations["y"] = op("concat", at("f"), at("b"))
    return system("BiRNN", params, ["f", "b"], equations, outputs=("y",), shapes={"y": (2 * H,)})


def with_loss(base: System) -> System:
    """A softmax read-out of h with a cross-entropy per step."""
    K = Dim.of("K")
    streams = dict(base.streams)
    streams["U"] = Stream("U", "param", (), (K, H), shared=True)
    streams["a"] = Stream("a", "param", (), (K,), shared=True)
    streams["y"] = Stream("y", "input", ("t",), (), "category", K)
    streams["logits"] = Stream("logits", "equation", ("t",), (K,))
    streams["nll"] = Stream("nll", "equation")
    equations = dict(base.equations)
    equations["logits"] = product("U", at("h")) + read("a")
    equations["nll"] = op("mean", op("cross_entropy", at("logits"), at("y")), axis="t")
    return base.with_(streams=streams, equations=equations, losses=("nll",))


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """What is inside takes no more processor time, that of the layout engine (which starts afresh) included."""
    worker._run.cache_clear()
    compose._recent.clear()
    before = os.times()
    yield
    after = os.times()
    spent = sum(after[:4]) - sum(before[:4])
    assert spent <= seconds, f"{spent:.2f} s of processor time"
