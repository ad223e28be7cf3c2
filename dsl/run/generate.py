"""Generation: the same equations on the other schedule, where what was data is drawn and fed back.

`sampling` draws in one run over all steps; `beam` searches, step by step (`walk`); `generator` says which cells can be
generated. Here is what users call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dsl.run.beam import search
from dsl.run.data import decode
from dsl.run.inputs import Arranged
from dsl.run.sampling import Sampler, draw
from dsl.system.distributions import DISTRIBUTIONS
from dsl.system.system import Stream

if TYPE_CHECKING:
    from dsl.run.model import Model

Array = NDArray[Any]


def generate(
    model: Model,
    T: int | str | None = None,
    *,
    prime: Any = None,
    temperature: float = 1.0,
    greedy: bool = False,
    bias: float = 0.0,
    beam: int | None = None,
    length_penalty: float = 0.0,
    until: Any = None,
    seed: int | None = None,
    batch: int | None = None,
    lengths: Any = None,
    engine: str = "compiled",
    **streams: Any,
) -> Any:
    """Draw `T` steps of a cell's drawn streams, each fed back into the next. Noise is its mean.

    T            steps; or the name of a category that is drawn once a sequence and says how many. Without it, as many
                 as the inputs on the drawn streams' axis have, else 200
    prime        what comes first: fed, not drawn, and part of the result. Text when the model knows symbols, else
                 integers (P,) or (P, B), numbers (P, *features) or (P, B, *features); a dict for several streams
    temperature  densities p become p**(1/temperature): softmax(logits / temperature), variances times temperature;
                 0, or `greedy`, takes the likeliest value
    bias         of normal and mdn2d: deviations times exp(-bias), a mixture's weights to the power 1 + bias
    beam         search for the likeliest sequence among that many hypotheses, instead of sampling (one categorical
                 stream)
    length_penalty   of a beam: hypotheses are ranked by log-probability / length**length_penalty (0.6 to 1 is usual)
    until        end a sequence behind this text (or integer, or list of integers) of the first drawn stream; a dict
                 names another, as in `until={"stop": 1}`. All T steps are computed, then cut off behind it
    seed         of the samples: equal seeds, equal results, on either engine and whatever else is in the batch
    batch        how many sequences at once
    streams      data of the cell's inputs, as in a call; an input on the drawn stream's own axis has P + T steps

    What is drawn once a sequence (`tau ~ ...`, without a time index) comes before the first step; data for it may be
    given instead, like an input's.

    Returns a string for a model with symbols (a list of strings with `batch`); otherwise integers (P + T,), or
    (P + T, B), -1 behind a sequence's end, or numbers with their features behind, 0 behind the end; a dict of them
    when the cell draws several streams; no steps for what is drawn once. Errors: CellError for a cell that cannot be
    generated; ValueError for bad data.
    """
    if isinstance(T, int) and T < 0:
        raise ValueError(f"T: expected 0 or more steps, given {T}")
    if beam is not None and (greedy or temperature != 1.0 or seed is not None):
        raise ValueError("beam: a search leaves nothing to chance; leave temperature, greedy and seed out")
    if length_penalty and beam is None:
        raise ValueError("length_penalty: it ranks the hypotheses of a beam; give beam= as well")
    sampler = _sampler(model, 0.0 if greedy else temperature, bias, seed)
    first, data, single = _given(model, prime, batch, streams, lengths)
    once = _once(model, data, None if beam is not None else sampler, engine)
    data = replace(data, arrays={**data.arrays, **once})
    ending = _until(model, [*first], until)
    steps, ends = _steps(model, T, data, first)
    parts: dict[str, Array] = {}
    if beam is not None:
        pattern = ending[1] if ending is not None else None
        parts = {next(iter(first)): search(model, data, first, steps, beam, pattern, engine, length_penalty).best}
    elif first:
        parts = _sample(model, data, first, (steps, ends), sampler, ending, engine)
    shown = {n: _shown(model, n, v, single) for n, v in parts.items()}
    shown |= {n: v[0] if single else v for n, v in once.items()}
    results = {n: shown[n] for n in model.system.draws if n in shown}
    return results if len(results) > 1 else next(iter(results.values()))


def _sampler(model: Model, temperature: float, bias: float, seed: int | None) -> Sampler:
    generator = model.generator
    if bias and not any(DISTRIBUTIONS[d.distribution].biased for d in (*generator.once, *generator.draws)):
        narrowed = " and ".join(n for n, d in DISTRIBUTIONS.items() if d.biased)
        raise ValueError(f"bias: it narrows {narrowed}; {model.system.name} draws neither")
    return Sampler(temperature, bias, seed)


def _given(
    model: Model, prime: Any, batch: int | None, streams: Mapping[str, Any], lengths: Any
) -> tuple[dict[str, Array], Arranged, bool]:
    """What is fed first, (P, B, *features) by drawn stream; the data; and whether one sequence is shown without B."""
    first = _prime(model, [d.name for d in model.generator.draws], prime, batch)
    size = next((v.shape[1] for v in first.values() if v.shape[1] > 1), batch or 1)
    data = model.arranged((), streams, lengths, None, size)
    single = batch is None and (data.single or not data.arrays) and all(v.shape[1] == 1 for v in first.values())
    return {n: np.broadcast_to(v, (len(v), data.batch, *v.shape[2:])) for n, v in first.items()}, data, single


def _once(model: Model, data: Arranged, sampler: Sampler | None, engine: str) -> dict[str, Array]:
    """What is drawn once a sequence, (B, ...) each; data that has it already stands."""
    names = [d.name for d in model.generator.once]
    unknown = [n for n in names if n not in data.arrays]
    if unknown and sampler is None:
        raise ValueError(f"beam: give {' and '.join(unknown)} as data; a search leaves nothing to chance")
    drawn = draw(model, unknown, data, sampler, engine) if unknown and sampler is not None else {}
    return {n: drawn[n] if n in drawn else np.asarray(data.arrays[n]) for n in names}


def _steps(model: Model, T: int | str | None, data: Arranged, first: Mapping[str, Array]) -> tuple[int, Array | None]:
    """How many steps are drawn, and where each sequence ends (B,), what was fed first counted, if that is known."""
    axis = model.generator.axis
    lead = len(next(iter(first.values()))) if first else 0
    if isinstance(T, str):
        if not any(d.name == T and d.distribution == "categorical" for d in model.generator.once):
            raise ValueError(f"T: {T} is no category that {model.system.name} draws once a sequence")
        ends = lead + np.asarray(data.arrays[T])
        return int(ends.max(initial=0)) - lead, ends
    on_axis = any(axis in model.system.streams[n].axes for n in data.arrays) if axis else False
    own = np.asarray(data.lengths[axis]) if on_axis else None
    if T is None:
        T = max(0, int(own.max(initial=0)) - lead) if own is not None else 200
    return T, own


def _sample(
    model: Model,
    data: Arranged,
    first: Mapping[str, Array],
    steps: tuple[int, Array | None],
    sampler: Sampler,
    until: tuple[str, Array] | None,
    engine: str,
) -> dict[str, Array]:
    """Arrays (P + steps, B, *features) by drawn stream; `steps` are so many, to each sequence's end if it has one."""
    lead = len(next(iter(first.values())))
    whole = extent = lead + steps[0]
    axis, streams = model.generator.axis, model.system.streams
    for name, value in data.arrays.items():
        if axis in streams[name].axes:
            extent = np.shape(value)[streams[name].axes.index(axis)]
            if extent < whole:
                wanted = f"{whole} steps, as many as are generated"
                raise ValueError(f"{name}: expected {wanted}, given {extent}")
    if not steps[0]:
        return dict(first)
    ends = np.full(data.batch, whole) if steps[1] is None else steps[1]
    data = replace(data, lengths={**data.lengths, axis: ends})
    drawn = {n: v[:whole] for n, v in draw(model, tuple(first), data, sampler, engine, first, extent).items()}
    if until is None:
        return drawn
    ends = np.minimum(np.minimum(ends, whole), _end(drawn[until[0]], until[1], lead))
    behind = np.arange(whole)[:, None] >= ends
    for name, value in drawn.items():
        value[behind] = -1 if streams[name].dtype == "category" else 0
    return {n: v[: max(lead, int(ends.max()))] for n, v in drawn.items()}


def _end(drawn: Array, pattern: Array, lead: int) -> Array:
    """Steps (B,) up to the first that completes the pattern behind what was fed; of (T, B) all T without one."""
    if len(pattern) > len(drawn):
        return np.full(drawn.shape[1], len(drawn))
    found = (sliding_window_view(drawn, len(pattern), axis=0) == pattern).all(axis=-1)  # by its first step
    found[: max(0, lead + 1 - len(pattern))] = False
    return np.where(found.any(axis=0), found.argmax(axis=0) + len(pattern), len(drawn))


def _shape(stream: Stream) -> tuple[int, ...]:
    """Features of one drawn value; a category has none."""
    return () if stream.dtype == "category" else tuple(int(d) for d in stream.shape)


# ---------------------------------------------------------------- what the caller gives


def _prime(model: Model, names: list[str], prime: Any, batch: int | None) -> dict[str, Array]:
    """What is fed first, (P, B or 1, *features) by drawn stream."""
    streams = model.system.streams
    if prime is None or (isinstance(prime, str) and not prime):
        kinds: dict[str, Any] = {n: np.int64 if streams[n].dtype == "category" else model.dtype for n in names}
        return {n: np.zeros((0, 1, *_shape(streams[n])), kinds[n]) for n in names}
    given = prime if isinstance(prime, Mapping) else {names[0]: prime}
    out: dict[str, Array] = {}
    for name in names:
        if name not in given:
            raise ValueError(
                f"prime: the cell draws {', '.join(names)}; expected a dict with all of them, {name} is missing"
            )
        value = model.encode(given[name]) if isinstance(given[name], str) else np.asarray(given[name])
        out[name] = _primed(model, streams[name], value)
        if batch is not None and out[name].shape[1] not in (1, batch):
            raise ValueError(f"prime: expected 1 or {batch} sequences, given {out[name].shape[1]}")
    if len({len(v) for v in out.values()}) > 1:
        raise ValueError(
            f"prime: expected equally many steps, given {', '.join(f'{len(v)} of {n}' for n, v in out.items())}"
        )
    return out


def _primed(model: Model, stream: Stream, value: Array) -> Array:
    """One stream's prime, checked."""
    category, features = stream.dtype == "category", _shape(stream)
    rank = 1 + len(features)
    fits = value.ndim in (rank, rank + 1) and value.shape[value.ndim - len(features) :] == features
    if not fits or value.dtype.kind not in ("iu" if category else "fiub"):
        tail = "".join(f", {n}" for n in features)
        kind = "integers" if category else "numbers"
        alone = f"(P{tail or ','})"
        raise ValueError(f"prime: expected {kind} {alone} or (P, B{tail}), given {value.dtype} {value.shape}")
    wide = value if value.ndim == rank + 1 else value[:, None]
    if not category:
        if not np.isfinite(wide).all():
            raise ValueError(f"prime: expected finite numbers of {stream.name}")
        return wide.astype(model.dtype)
    count = int(stream.categories or 0)
    if value.size and not (value.min() >= 0 and value.max() < count):
        raise ValueError(
            f"prime: expected categories 0..{count - 1} of {stream.name}, given {value.min()}..{value.max()}"
        )
    return wide.astype(np.int64)


def _until(model: Model, names: list[str], until: Any) -> tuple[str, Array] | None:
    """The stream that ends a sequence, and what it ends with, (n,)."""
    if until is None:
        return None
    name, value = next(iter(until.items())) if isinstance(until, Mapping) and until else (names[0], until)
    if name not in names or isinstance(value, Mapping):
        raise ValueError(f"until: expected an end of {' or '.join(names)}, given {until!r}")
    pattern = model.encode(value) if isinstance(value, str) else np.atleast_1d(np.asarray(value))
    if _shape(model.system.streams[name]) or pattern.ndim > 1 or pattern.dtype.kind not in "iufb":
        raise ValueError(
            f"until: expected one number a step, of a category or a scalar stream; {name} is no such stream"
        )
    if not len(pattern):
        raise ValueError("until: expected at least one symbol")
    return name, pattern


def _shown(model: Model, name: str, drawn: Array, single: bool) -> Any:
    if model.symbols is None or model.system.streams[name].dtype != "category":
        return drawn[:, 0] if single else drawn
    texts = [decode(drawn[:, b], model.symbols) for b in range(drawn.shape[1])]
    return texts[0] if single else texts
