"""Sub-cells of a random cell, and the forms in which `use` takes them."""

from __future__ import annotations

import random
import re

from tests.differential.maker import Maker
from tests.differential.reads import Recurrence, Stream
from tests.differential.stages import complex_scan, matrix_scan, noise

FEEDBACK = """cell Simple(D, H):  # feedback
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1])
"""


def sub_cell(rng: random.Random, name: str, facts: set[str], empty: set[str]) -> str:
    """A recurrent cell from x: D to H, with a state `h` as its output, sometimes with a loss of its own."""
    m = Maker(rng, name, facts)
    m.empty |= {"t"} if empty else set()
    m.declarations.append("input x[t]: D" + m.pick(["", " = 0"]))
    m.streams.append(Stream("x", ("t",), "D", m.declarations[0].endswith("= 0")))
    if m.chance(0.5):
        m.scan(("t",), ("constant", "param"))
    if m.chance(0.1):
        m.pick([complex_scan, matrix_scan, noise])(m, ("constant", "param"))
    start = m.boundary("H", ("constant", "constant", "param"), [])
    m.declarations.append(f"state h[t]: H = {start}")
    sign, m.reader = rng.choice([-1, -1, 1]), 0
    m.loop = Recurrence("t", sign, [Stream("h", ("t",), "H", True)], [0])
    facts.add("lag -" if sign < 0 else "lag +")
    lag = f"t{'-' if sign < 0 else '+'}{rng.choice([1, 1, 2])}"
    m.body.append(f"h[t] = tanh({m.param('H', 'D')}@x[t] + {m.param('H', 'H')}@h[{lag}] + {m.vector(('t',), 'H', 1)})")
    m.body.append("output h")
    if m.chance(0.25):
        m.body.append(f"loss nll = sum[t]({m.param('H')}@h[t])")
    return m.text("D, H")


def nested(m: Maker, inner: str) -> str:
    """A sub-cell that uses another, deep and reversed."""
    form = m.pick(["", "reverse ", "stack 2 of "])
    return (
        "cell Nest(D, H):\n  input x[t]: D = 0\n  state h[t]: H = 0.5\n  param W ~ glorot\n  param V: (D, H) ~ glorot\n"
        f"  use deep = {form}{inner}(x=x, H=H)\n  g[t] = V@deep[t] + x[t-1]\n  use top = {inner}(x=g, H=H)\n"
        "  h[t] = sin(W@h[t-1] + top[t])\n  output h\n"
    )


def add_use(m: Maker, subs: dict[str, str]) -> None:
    """A copy of a sub-cell (name -> its text) in one of the forms `use` has."""
    feeds = [s for s in m.streams if len(s.axes) == 1 and s.dim in m.dims and s.sort == "real"]
    if not feeds:
        return
    source, cell = m.pick(feeds), m.pick(list(subs))
    form = m.pick(["plain", "reverse", "stack", "shared", "shared stack", "start", "cell", "param"])
    name, more, front = m.fresh("r"), "", ""
    if form == "reverse":
        front = "reverse "
    elif form in ("stack", "shared stack"):
        front = "stack 2 of "
    elif form == "start":
        more = ", h=" + m.boundary("H", ("param", "input", "last"), list(m.streams))
    elif form == "cell":
        cell = "Cell"
    elif form == "param":
        square = re.search(r"param (W\d+): \(H, H\)", subs[cell])
        more = f", {square[1]}={m.param('H', 'H')}" if square else ""
    m.facts |= {"sub-cell", f"use {form}"}
    if cell == "Nest":
        m.facts.add("use nested")
    m.body.append(f"use {name} = {front}{cell}(x={source.name}, H=H{more})")
    m.finish([Stream(name, source.axes, "H", True)])
    if m.chance(0.3):  # a stream of it that is no output
        m.facts.add("use read inside")
        storey = ".0" if "stack" in form else ""
        m.streams.append(Stream(f"{name}{storey}.h", source.axes, "H", True))
    if "loss nll" in subs.get(cell, "") and "stack" not in form:
        m.facts.add("use loss")
        m.streams.append(Stream(f"{name}.nll", (), None))
    if "shared" in form:
        twin, fed = m.fresh("r"), m.pick([s for s in feeds if s.dim == source.dim])
        m.body.append(f"use {twin} = {name}(x={fed.name})")
        m.finish([Stream(twin, fed.axes, "H", True)])


def add_feedback(m: Maker, subs: dict[str, str]) -> None:
    """A sub-cell whose input reads its own output a step before: legal, since a use is inlined."""
    forward = [c for c, text in subs.items() if "feedback" in text]
    fed, name = m.fresh("f"), m.fresh("r")
    m.facts |= {"sub-cell", "use feedback", "lag -"}
    m.body.append(f"{fed}[t] = tanh({m.param('D', 'H')}@{name}[t-1] + {m.vector(('t',), 'D', 1)})")
    m.body.append(f"use {name} = {m.pick(forward)}(x={fed}, H=H)")
    m.finish([Stream(name, ("t",), "H", True), Stream(fed, ("t",), "D")])
