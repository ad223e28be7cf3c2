"""Categories under other names: `prev[t] = y[t-1]` is that category's vector, and so is every read of `prev[t]`.

Seen through the name, a product with it is a look-up, its gradient adds to one column, and no vector is kept for it.
Knows nothing of plans; both the system and its adjoint are read after it.
"""

from __future__ import annotations

from dataclasses import replace

from dsl.system.system import Read, Stream, System, at_home
from tinygrad_seq.symbol import Symbol, leaves, substitute


def vectors(system: System) -> dict[str, Symbol]:
    """Names for a category's vector, and names for those: their values."""
    found: dict[str, Symbol] = {}
    pending = [n for n, e in system.equations.items() if e.is_op("one_hot")]
    while pending:
        found |= {n: _through(system.equations[n], system, found) for n in pending}
        others = [n for n, e in system.equations.items() if isinstance(e.leaf, Read) and n not in found]
        pending = [n for n in others if _through(system.equations[n], system, found).is_op("one_hot")]
    return found


def seen_through(system: System, forward: System | None = None) -> System:
    """The system with reads, at their own step, of names for a category's vector replaced by that vector.

    forward   where the names are defined: of an adjoint the system it is derived from
    """
    forward = forward or system
    found = vectors(forward)
    if not found:
        return system
    equations = {n: _through(e, system, found) for n, e in system.equations.items()}
    draws = {
        n: replace(d, parameters=tuple((k, _through(e, system, found)) for k, e in d.parameters))
        for n, d in system.draws.items()
    }
    streams = dict(system.streams)
    for leaf in (n.leaf for v in found.values() for n in leaves(v)):
        if isinstance(leaf, Read):
            streams.setdefault(leaf.name, _fed(forward.streams[leaf.name]))
    return system.with_(equations=equations, draws=draws, streams=streams)


def _through(root: Symbol, system: System, found: dict[str, Symbol]) -> Symbol:
    def change(node: Symbol) -> Symbol | None:
        read = node.leaf
        if isinstance(read, Read) and read.name in found and at_home(read.index, system.streams[read.name].axes):
            return found[read.name]
        return None

    known = any(isinstance(n.leaf, Read) and n.leaf.name in found for n in leaves(root))
    return substitute(root, change) if known else root


def _fed(stream: Stream) -> Stream:
    return replace(stream, kind="input") if stream.kind == "draw" else stream
