"""What views of a text share: which stream it is, its symbols, and how a character is shown."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from dsl.system.system import System


def target_of(system: System, view: str) -> str:
    """The categorical draw that a text is. Errors: ValueError for a cell without one, or one that reads more."""
    found = next((n for n, d in system.draws.items() if d.distribution == "categorical"), None)
    if found is None:
        raise ValueError(f"{system.name} draws no category: {view} needs a model of symbols")
    others = ", ".join(n for n, s in system.streams.items() if s.kind == "input")
    if others:
        raise ValueError(f"{system.name} reads {others} beside its symbols: {view} shows what a text alone does")
    return found


def symbols_of(model: Any, data: Any) -> tuple[Any, list[str]]:
    """Integers (T,), and the symbol that each stands for."""
    if isinstance(data, str):
        if model.symbols is None:
            raise ValueError("this model was not fitted to a text: give integers instead of a string")
        return np.asarray(model.encode(data)), list(model.symbols)
    ids = np.asarray(data)
    known = getattr(data, "symbols", None) or model.symbols or [str(i) for i in range(int(ids.max(initial=0)) + 1)]
    return ids, list(known)


def visible(letter: str) -> str:
    return {"\n": "↵", " ": "␣", "\t": "⇥"}.get(letter, letter)


def tooltip(said: str) -> str:
    return f"<title>{escape(said)}</title>"
