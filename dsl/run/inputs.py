"""What a caller hands over, checked and laid out the one way the engines read it.

Callers give time-major arrays (T, B, features), one sequence (T, features), or a list of arrays of
different lengths; engines get (T, ..., B, *features) in the model's dtype and lengths (B,) an axis. Every
mistake is a ValueError naming the stream, what was expected and what was given. Nothing here computes.
"""

from __future__ import annotations

import cmath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsl.run.rows import Ints, whole
from dsl.system.system import Stream, System
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.tensor import Tensor


@dataclass
class Arranged:
    """Checked data: arrays (or tensors) by stream, lengths of the base axes, the number of sequences,
    whether the caller gave one sequence without a batch axis, and the seed that the noise among the
    arrays was made with (None: it is the mean)."""

    arrays: dict[str, Any] = field(default_factory=dict)
    lengths: dict[str, Ints] = field(default_factory=dict)
    batch: int = 1
    single: bool = False
    seed: int | None = None


def fed(system: System) -> dict[str, Stream]:
    """The streams a caller may give data for: inputs and the targets of `~`."""
    return {n: s for n, s in system.streams.items() if s.kind in ("input", "draw")}


def expected(stream: Stream) -> str:
    """`(T, B, 32) floats` or `(T, B) integers 0..64`: what to say about a stream's layout."""
    sizes = [*(a.upper() for a in stream.axes), "B", *(str(d) for d in stream.shape if stream.dtype != "category")]
    layout = f"({', '.join(sizes)})" if len(sizes) > 1 else f"({sizes[0]},)"
    if stream.dtype == "category":
        return f"{layout} integers 0..{int(stream.categories or 0) - 1}"
    return f"{layout} {'complex ' if stream.dtype == 'complex' else ''}numbers"


@dataclass(frozen=True)
class Form:
    """What follows from the shapes of a call's arrays: the rest of its `Arranged`, and where batch axes are missing."""

    lengths: Mapping[str, Ints]
    batch: int
    missing: Mapping[str, int]


class Intake:
    """The streams of a system that a caller may give, and the forms of data that were laid out before.

    A cell of fifty units runs a hundred steps in some twenty microseconds: what can be known from the shapes of arrays
    is found out once.
    """

    def __init__(self, system: System, dtype: np.dtype[Any]) -> None:
        self.system, self.dtype, self.streams = system, dtype, fed(system)
        self.names = tuple(self.streams)
        self._kinds = {n: _kind(s, dtype) for n, s in self.streams.items()}
        self._forms: dict[object, Form] = {}

    def arrange(self, data: Mapping[str, Any], lengths: Any = None, batch: int | None = None) -> Arranged:
        """Check and lay out a call's data: see `arrange`."""
        kinds = self._kinds
        for name, value in data.items():
            if type(value) is not np.ndarray or value.dtype is not kinds.get(name):
                return arrange(self.system, data, lengths, self.dtype, batch)
        if lengths is not None:
            return arrange(self.system, data, lengths, self.dtype, batch)
        key = (batch, *data, *[value.shape for value in data.values()])
        form = self._forms.get(key)
        if form is None:
            out = arrange(self.system, data, None, self.dtype, batch)
            missing = {n: len(self.streams[n].axes) for n in data} if out.single else {}
            if len(self._forms) >= KEPT_FORMS:
                self._forms.clear()
            self._forms[key] = Form(out.lengths, out.batch, missing)
            return out
        arrays = {n: np.expand_dims(data[n], axis) for n, axis in form.missing.items()} or dict(data)
        out = Arranged(arrays, dict(form.lengths), form.batch, bool(form.missing))
        _check_values(self.streams, out)
        return out


KEPT_FORMS = 64
SMALL = 8192  # numbers whose squares BLAS adds up at once and in the calling thread; of more it would wake its own


def _kind(stream: Stream, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What an array of this stream becomes."""
    if stream.dtype == "category":
        return np.dtype(np.int64)
    return np.result_type(dtype, np.complex64) if stream.dtype == "complex" else dtype


def arrange(
    system: System, data: Mapping[str, Any], lengths: Any, dtype: np.dtype[Any], batch: int | None = None
) -> Arranged:
    """Check and lay out a call's data. `lengths` is a mapping axis -> (B,), or an array when there is one axis."""
    streams = fed(system)
    for name in data:
        if name not in streams:
            raise ValueError(f"{system.name} has no input {name}; it has {', '.join(streams) or 'none'}")
    out = Arranged()
    ragged: dict[str, Ints] = {}
    forms: dict[str, str] = {}
    for name, value in data.items():
        if value is None:
            continue
        array, form, found = _layout(streams[name], value, dtype)
        out.arrays[name] = array
        forms[name] = form
        for axis, steps in found.items():
            _agree(axis, steps, ragged, name)
    _batch(out, streams, forms, batch)
    _lengths(out, system, streams, lengths, ragged)
    _check_values(streams, out)
    return out


def _layout(stream: Stream, value: Any, dtype: np.dtype[Any]) -> tuple[Any, str, dict[str, Ints]]:
    """The array with a batch axis, "one" or "batch", and the lengths that a list of arrays implies."""
    rank = len(stream.axes) + _feature_rank(stream)
    if isinstance(value, Tensor) and stream.kind == "draw":
        value = value.data  # what was drawn has no gradient
    if isinstance(value, Tensor):
        form = _form(stream, value.shape, rank)
        return (value if form == "batch" else REGISTRY["expand"](value, axis=len(stream.axes))), form, {}
    if isinstance(value, list | tuple) and len(value) and stream.axes and _is_ragged(value, rank):
        return _pad(stream, [_array(stream, v, dtype) for v in value])
    array = _array(stream, value, dtype)
    form = _form(stream, array.shape, rank)
    return (array if form == "batch" else np.expand_dims(array, len(stream.axes))), form, {}


def _feature_rank(stream: Stream) -> int:
    return 0 if stream.dtype == "category" else len(stream.shape)


def _is_ragged(value: Sequence[Any], rank: int) -> bool:
    """Whether a list is a batch of sequences: its items have the rank of one sequence."""
    try:
        return all(np.ndim(v) == rank for v in value)
    except ValueError:  # items that are no arrays themselves; the next step says so
        return False


def _array(stream: Stream, value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{stream.name}: expected {expected(stream)}, given lists of unequal lengths") from error
    if stream.dtype == "category":
        if array.dtype.kind == "U":
            hint = "make them of a text by dsl.Text.of(text).ids, or dsl.Text(path).ids"
            raise ValueError(f"{stream.name}: expected {expected(stream)}, given a string; {hint}")
        if array.dtype.kind not in "iu" and array.size:
            raise ValueError(f"{stream.name}: expected {expected(stream)}, given {array.dtype} {array.shape}")
        return array.astype(_kind(stream, dtype), copy=False)
    if array.dtype.kind not in ("fiubc" if stream.dtype == "complex" else "fiub"):
        raise ValueError(f"{stream.name}: expected {expected(stream)}, given {array.dtype} {array.shape}")
    return array.astype(_kind(stream, dtype), copy=False)


def _form(stream: Stream, shape: tuple[int, ...], rank: int) -> str:
    features = tuple(int(d) for d in stream.shape) if stream.dtype != "category" else ()
    if len(shape) not in (rank, rank + 1) or (features and shape[-len(features) :] != features):
        raise ValueError(f"{stream.name}: expected {expected(stream)}, or one sequence without B, given {shape}")
    return "one" if len(shape) == rank else "batch"


def _pad(stream: Stream, items: list[NDArray[Any]]) -> tuple[NDArray[Any], str, dict[str, Ints]]:
    axes = len(stream.axes)
    for item in items:
        _form(stream, item.shape, axes + _feature_rank(stream))
    steps = np.array([item.shape[:axes] for item in items], np.int64)
    extent = tuple(int(n) for n in steps.max(axis=0))
    features = items[0].shape[axes:]
    fill = -1 if stream.dtype == "category" else 0
    out = np.full((*extent, len(items), *features), fill, items[0].dtype)
    for b, item in enumerate(items):
        where: tuple[Any, ...] = (*(slice(n) for n in item.shape[:axes]), b)
        out[where] = item
    return out, "batch", {a: steps[:, i] for i, a in enumerate(stream.axes)}


def _agree(axis: str, steps: Ints, ragged: dict[str, Ints], name: str) -> None:
    if axis in ragged and not np.array_equal(ragged[axis], steps):
        raise ValueError(f"{name}: its sequences have lengths {_show(steps)} on {axis}, others {_show(ragged[axis])}")
    ragged[axis] = steps


def _batch(out: Arranged, streams: Mapping[str, Stream], forms: Mapping[str, str], given: int | None) -> None:
    batched = {n: out.arrays[n].shape[len(streams[n].axes)] for n, form in forms.items() if form == "batch"}
    if batched and len(batched) < len(forms):
        one = next(n for n in forms if n not in batched)
        raise ValueError(f"{one}: expected {expected(streams[one])} like {next(iter(batched))}, given one sequence")
    sizes = set(batched.values())
    if len(sizes) > 1:
        (a, n), (b, m) = (
            list(batched.items())[0],
            next((k, v) for k, v in batched.items() if v != list(batched.values())[0]),
        )
        raise ValueError(f"{b}: expected {n} sequences as {a} has, given {m}")
    out.single = bool(forms) and not batched
    out.batch = sizes.pop() if sizes else 1
    if given is not None and not forms:
        out.batch, out.single = given, False


def _lengths(
    out: Arranged, system: System, streams: Mapping[str, Stream], lengths: Any, ragged: Mapping[str, Ints]
) -> None:
    base = [a.name for a in system.axes.values() if a.length is None]
    if lengths is None:
        lengths = {}
    elif not isinstance(lengths, Mapping):
        if len(base) != 1:
            raise ValueError(
                f"lengths: {system.name} has the axes {', '.join(base)}: expected a dict, e.g. {{{base[0]!r}: [...]}}"
            )
        lengths = {base[0]: lengths}
    for axis in lengths:
        if axis not in base:
            raise ValueError(
                f"lengths: {system.name} has no axis {axis} whose length is free; it has {', '.join(base)}"
            )
    extents: dict[str, tuple[int, str]] = {}
    for name, array in out.arrays.items():
        for i, axis in enumerate(streams[name].axes):
            if system.axes[axis].length is not None:
                continue
            steps, other = extents.setdefault(axis, (array.shape[i], name))
            if steps != array.shape[i]:
                raise ValueError(f"{name}: expected {steps} steps on {axis} as {other} has, given {array.shape[i]}")
    for axis in base:
        if axis in lengths:
            out.lengths[axis] = _given(axis, lengths[axis], out, extents.get(axis))
        elif axis in ragged:
            out.lengths[axis] = ragged[axis]
        elif axis in extents:
            out.lengths[axis] = whole(out.batch, extents[axis][0])


def _given(axis: str, value: Any, out: Arranged, extent: tuple[int, str] | None) -> Ints:
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"lengths of {axis}: expected integers, given {array.dtype}")
    if not out.arrays and array.ndim == 1:
        out.batch, out.single = len(array), False
    if array.shape not in ((), (out.batch,)):
        raise ValueError(f"lengths of {axis}: expected {out.batch}, one a sequence, given {array.shape}")
    array = np.broadcast_to(array.astype(np.int64), (out.batch,))
    if len(array) and array.min() < 0:
        raise ValueError(f"lengths of {axis}: expected 0 or more, given {array.min()}")
    if extent is not None and len(array) and array.max() > extent[0]:
        b = int(array.argmax())
        raise ValueError(
            f"lengths of {axis}: sequence {b} is given as {array[b]} long, but {extent[1]} has {extent[0]} steps"
        )
    return array


def _check_values(streams: Mapping[str, Stream], out: Arranged) -> None:
    """Categories in range, numbers finite, wherever a sequence has the step."""
    for name, value in out.arrays.items():
        array = value.numpy() if isinstance(value, Tensor) else value
        if array.size and not _good(streams[name], array):
            _find_bad(streams[name], array, out)


def _good(stream: Stream, array: NDArray[Any]) -> bool:
    """Whether all values are allowed, by a look at few numbers."""
    if stream.dtype == "category":
        return bool(array.min() >= _lowest(stream) and array.max() < int(stream.categories or 0))
    if array.size <= SMALL:
        return cmath.isfinite(np.vdot(array, array))
    with np.errstate(over="ignore", invalid="ignore"):
        return cmath.isfinite(np.add.reduce(array, axis=None))


def _lowest(stream: Stream) -> int:
    return 0 if stream.kind == "draw" else -1


def _find_bad(stream: Stream, array: NDArray[Any], out: Arranged) -> None:
    """Errors: ValueError for the first value that is not allowed and within its sequence."""
    if stream.dtype == "category":
        bad = (array < _lowest(stream)) | (array >= int(stream.categories or 0))
    else:
        bad = ~np.isfinite(array)
    axes = len(stream.axes)
    for i, axis in enumerate(stream.axes):
        if axis in out.lengths:
            shape = [1] * bad.ndim
            shape[i], shape[axes] = bad.shape[i], bad.shape[axes]
            bad = bad & (np.arange(bad.shape[i])[:, None] < out.lengths[axis]).reshape(shape)
    if bad.any():
        where = np.argwhere(bad)[0]
        steps = "".join(f", {a}={int(i)}" for a, i in zip(stream.axes, where, strict=False))
        given = array[tuple(where)]
        raise ValueError(
            f"{stream.name}: expected {_allowed(stream)}, given {given} in sequence {int(where[axes])}{steps}"
        )


def _allowed(stream: Stream) -> str:
    if stream.dtype != "category":
        return "finite numbers"
    none = "; none (-1) is no target" if stream.kind == "draw" else ", or -1 for none"
    return f"a category 0..{int(stream.categories or 0) - 1}{none}"


def _show(steps: Ints) -> str:
    return str(steps.tolist()) if len(steps) < 9 else f"[{', '.join(map(str, steps[:8]))}, …]"
