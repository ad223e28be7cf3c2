"""What a unit listens to: a text coloured by the values a unit has behind each of its characters."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsl.system.system import System
from viz import theme
from viz.drawing import Drawing
from viz.graph import build
from viz.scene import Scene
from viz.svg import rect, text
from viz.views.gates import over_time
from viz.views.subject import system_of
from viz.views.symbols import symbols_of, target_of, tooltip, visible

Array = np.ndarray[Any, Any]
ROW = 64  # characters on a line
WIDE, TALL = 12.0, 19.0
MOST = 2000
NAMED = 4  # symbols named at either end


def units(model: Any, data: Any, stream: str | None = None, unit: int | None = None, *, most: int = 3) -> Drawing:
    """A text, once for each unit that is looked at, each character coloured by the unit's value once it was read.

    model   a language model: a cell with a categorical draw
    data    a text (models fitted to a text know its symbols), or integers (T,)
    stream  any stream of the cell with units, "rnn.0.c" (default: the last state, the top copy of a stack)
    unit    one of its units (default: `most` of them, those that the symbol just read explains best and, last, the
            lively one that it explains least)

    Above each text stand the symbols after which the unit is highest and lowest on average, and how much of its
    variance the symbol just read explains (the correlation ratio η²): near 1 the unit listens to that symbol alone,
    near 0 to what came before.
    `.data`: `value` (T, units), the values behind each character (nan where the cell does not read it), `explained`
    (units,) η², `unit` the ones drawn, `high` and `low` (drawn, 4) the symbols' numbers.
    Errors: ValueError for no such stream or unit, more than 2000 characters, a cell without a categorical draw.
    """
    system = system_of(model)
    target = target_of(system, "units")
    ids, symbols = symbols_of(model, data)
    if not 1 < len(ids) <= MOST:
        raise ValueError(f"units on {len(ids)} characters: 2 to {MOST} can be coloured")
    name = _state(system, stream)
    found: Array = np.asarray(model(**{target: ids[:, None]}, engine="tape").value(name).data)
    if found.ndim != 3 or np.iscomplexobj(found):
        raise ValueError(f"{name} is not a stream of real units: its shape is {tuple(found.shape)[2:]}")
    lag = _lag(system, target)
    value = np.concatenate([found[lag:, 0], np.full((lag, found.shape[-1]), np.nan)])
    if unit is not None and not 0 <= unit < value.shape[1]:
        raise ValueError(f"unit={unit}: {name} has units 0 to {value.shape[1] - 1}")
    explained, means = _explained(value, ids)
    chosen = _telling(explained, np.nanstd(value, axis=0), most) if unit is None else np.array([unit])
    order = [_ranked(means[:, u]) for u in chosen]
    data_ = {
        "value": value,
        "explained": explained,
        "unit": chosen,
        "high": np.array([o[::-1][:NAMED] for o in order]),
        "low": np.array([o[:NAMED] for o in order]),
    }
    return Drawing(_draw(system.name, name, data_, [symbols[i] for i in ids], symbols), data_)


def _state(system: System, stream: str | None) -> str:
    if stream is None:
        states = [k for k, n in build(system).nodes.items() if n.kind == "state" and len(n.axes) == 1]
        if not states:
            raise ValueError(f"{system.name} has no state; name a stream: units(model, text, 'h')")
        return states[-1]
    return over_time(system, stream)


def _lag(system: System, target: str) -> int:
    """How many steps after a symbol the cell reads it: a language model reads y[t-1] at t."""
    lags = [n.lag for n in build(system).nodes.values() if n.kind == "chip" and n.stream == target]
    return -min([0, *lags])


def _explained(value: Array, ids: Array) -> tuple[Array, Array]:
    """The share of each unit's variance that the symbol just read explains, and its mean by symbol (symbols, units),
    nan for a symbol that does not occur."""
    known = np.isfinite(value).all(axis=1)
    v, read = value[known], ids[known]
    means = np.full((int(ids.max(initial=0)) + 1, value.shape[1]), np.nan)
    between = np.zeros(value.shape[1])
    for symbol in np.unique(read):
        rows = v[read == symbol]
        means[symbol] = rows.mean(axis=0)
        between += len(rows) * (means[symbol] - v.mean(axis=0)) ** 2
    whole = ((v - v.mean(axis=0)) ** 2).sum(axis=0)
    return np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0), means


def _telling(explained: Array, spread: Array, most: int) -> Array:
    """The units that listen best to the symbol just read, and last the one of the livelier half that does least."""
    order = np.argsort(-explained, kind="stable")
    lively = [u for u in order if spread[u] >= np.median(spread)]
    return np.array(list(dict.fromkeys([*order[: max(1, most - 1)], lively[-1]]))[:most])


def _ranked(means: Array) -> Array:
    """Symbols that occur from the lowest mean to the highest; at least four, the last of fewer again."""
    order = np.argsort(means, kind="stable")[: int(np.isfinite(means).sum())]
    return np.pad(order, (0, max(0, NAMED - len(order))), mode="edge")


def _draw(cell: str, name: str, data: dict[str, Any], letters: list[str], symbols: list[str]) -> Scene:
    shown = [visible(c) for c in letters]
    scene = Scene(cell, f"{cell}: units of {name} on {len(letters)} characters")
    out = scene.extra
    out.append(text(14, 20, theme.label(scene.title), 13.5, "start"))
    y, right = 46.0, 480.0
    for n, unit in enumerate(data["unit"]):
        values = data["value"][:, unit]
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        ends = [" ".join(dict.fromkeys(visible(symbols[i]) for i in data[side][n])) for side in ("high", "low")]
        said = f"unit {unit}: high after {ends[0]}, low after {ends[1]}"
        share = f"η² {data['explained'][unit]:.2f} by the symbol just read; {low:.2g} to {high:.2g}".replace("-", "−")
        out.append(text(14, y, theme.label(said), 12, "start"))
        out.append(text(14, y + 17, theme.label(share), 10.5, "start", "muted"))
        y += 32
        for k, letter in enumerate(shown):
            row, column = divmod(k, ROW)
            x, top = 14 + WIDE * column, y + TALL * row
            known = bool(np.isfinite(values[k]))
            shade = theme.ramp_class((float(values[k]) - low) / ((high - low) or 1.0)) if known else ""
            hint = tooltip(f"{letter!r} at {k}: {values[k]:.3g}" if known else f"{letter!r} at {k}: not read")
            box = f"cell {shade}" if known else "surface"
            out.append(rect(x, top, WIDE, TALL - 2, box, 0, hint))
            out.append(
                text(x + WIDE / 2, top + TALL / 2 - 1, theme.label(letter), 11.5, "middle", f"on {shade}".strip())
            )
            right = max(right, x + WIDE)
        y += TALL * (-(-len(shown) // ROW)) + 20
    scene.bounds = (0.0, 0.0, right + 16, y)
    return scene
