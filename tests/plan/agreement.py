"""Compare the compiled engine with the literal one: values, gradients, ragged rows, poison in the padding."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_seq as tg
from dsl.run.compiled import compile_system
from dsl.run.rows import derived_lengths
from dsl.run.unroll import unroll
from dsl.spec import Spec
from dsl.system.system import Stream, System

SIZES = {"D": 5, "H": 7, "K": 6, "K_in": 8, "A": 4, "N": 5, "L": 2, "k": 3}


def bound(spec: Spec, **arguments: int) -> System:
    """The cell's system with a number for every argument."""
    system = spec.system
    free = {n: SIZES.get(n, 5) for n, v in system.arguments.items() if v is None}
    return system.bind({**free, **arguments})


def problem(
    system: System, batch: int, steps: int, seed: int, ragged: bool, dtype: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Random inputs with NaN wherever no step is, and lengths of the axes that the data gives."""
    rng = np.random.default_rng(seed)
    lengths = {}
    for k, (name, axis) in enumerate(system.axes.items()):
        if axis.length is None:
            n = steps + k
            lengths[name] = rng.integers(2, n + 1, batch) if ragged else np.full(batch, n)
            lengths[name][rng.integers(batch)] = n
    every = derived_lengths(system.axes, lengths, batch)
    inputs: dict[str, Any] = {}
    for name, stream in system.streams.items():
        features = [int(d) for d in stream.shape]
        if stream.kind in ("param", "const"):
            inputs[name] = number(0.5 * normal(rng, features, stream), dtype)
            if stream.initializer is not None and stream.initializer.name == "permutation":
                inputs[name] = rng.permutation(features[0])
        elif stream.kind in ("input", "draw"):
            shape = (*(int(every[a].max()) for a in stream.axes), batch)
            if stream.dtype == "category":
                inputs[name] = rng.integers(0, int(stream.categories or 0), shape)
                continue
            value = number(normal(rng, (*shape, *features), stream), dtype)
            for k, axis in enumerate(stream.axes):
                for b in range(batch):
                    where: list[Any] = [slice(None)] * len(stream.axes) + [b]
                    where[k] = slice(every[axis][b], None)
                    value[tuple(where)] = np.nan
            inputs[name] = value
    return inputs, lengths


def normal(rng: np.random.Generator, shape: Any, stream: Stream) -> Any:
    value = rng.standard_normal(shape)
    return value + 1j * rng.standard_normal(shape) if stream.dtype == "complex" else value


def number(value: Any, dtype: str) -> Any:
    """An array in real or complex numbers of a precision."""
    return value.astype(np.result_type(dtype, np.complex64) if np.iscomplexobj(value) else dtype)


def disagreement(
    system: System, batch: int = 4, steps: int = 6, seed: int = 0, ragged: bool = True, dtype: str = "float64"
) -> float:
    """The largest relative difference between the engines, over values, recorded values and gradients (twice)."""
    inputs, lengths = problem(system, batch, steps, seed, ragged, dtype)
    want = (*system.outputs, *system.losses)
    compiled = compile_system(system, want, dtype)
    clean = {n: np.nan_to_num(v) if v.dtype.kind in "fc" else v for n, v in inputs.items()}
    trained = [n for n, s in system.streams.items() if s.kind in ("param", "input") and s.dtype in ("real", "complex")]
    names = tuple(trained)
    tensors = {n: tg.tensor(number(clean[n], "float64"), requires_grad=True) for n in names}
    literal = unroll(system, {**clean, **tensors}, lengths, batch, want)
    rng = np.random.default_rng(seed + 1)
    cotangents = {n: number(normal(rng, literal[n].shape, system.streams[n]), dtype) for n in want}
    total: Any = 0.0
    for n in want:
        total = total + tg.sum(tg.re(literal[n] * np.conj(cotangents[n])))
    total.backward()
    worst = 0.0
    values, _ = compiled.forward(inputs, lengths, batch, want, record=False)
    recorded, saved = compiled.forward(inputs, lengths, batch, want, record=True)
    for n in want:
        worst = max(worst, apart(values[n], literal[n].data), apart(recorded[n], literal[n].data))
    assert saved is not None
    for _ in range(2):
        gradients = compiled.backward(saved, dict(cotangents), names)
        for n in names:
            expected = tensors[n].grad
            found = gradients[n]
            assert found.shape == clean[n].shape and found.dtype == number(clean[n], dtype).dtype
            worst = max(
                worst,
                apart(
                    found, np.zeros_like(found) if expected is None else np.asarray(getattr(expected, "data", expected))
                ),
            )
    return worst


def apart(a: Any, b: Any) -> float:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, (a.shape, b.shape)
    if not a.size:
        return 0.0
    difference = np.abs(a - b).max() / (np.abs(b).max() + 1e-12)
    return float("inf") if np.isnan(difference) else float(difference)
