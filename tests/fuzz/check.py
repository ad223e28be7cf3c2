"""What must hold of any text whatever, and of any cell that the language accepts.

Whatever is refused is refused by a `CellError` whose messages have a code with a page, a place inside the text and
nothing of the compiler's own in their words. Whatever is accepted prints as itself, builds, runs on the tape and
compiled, and gives the values of `tests/reference.py` and its own gradients by each road.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import dsl.system.explanations  # noqa: F401  (registers the pages)
import tinygrad_seq as tg
from dsl.run.inputs import fed
from dsl.run.model import Model
from dsl.spec import Spec, parse
from dsl.text.diagnostics import EXPLANATIONS, CellError
from dsl.text.format import format as format_tree
from dsl.text.parse import parse as parse_text
from tests.reference import evaluate

INTERNAL = re.compile(
    r"\?\w|\^[A-Za-z_]|Traceback|object at 0x|\bDim\(|Span\(|Symbol|NoneType|'Number'|KeyError|__|\bTrue\b|\bFalse\b"
)
LARGEST = 64  # sizes that a run is tried with
STEPS = (5, 3)
BATCH = len(STEPS)


class Broken(AssertionError):
    """The property that does not hold."""


@dataclass
class Verdict:
    """How far a text came: "refused", "data" (refused what it was fed), "ran", "agreed" (with the reference)."""

    stage: str
    codes: list[str] = field(default_factory=list)


def judge(text: str, changes: int = 0, compiled: bool = False) -> Verdict:
    """Raise unless all that must hold of a text holds; `changes`: in how many places a sound cell was changed."""
    try:
        again = format_tree(parse_text(text))
        if parse_text(again).items != parse_text(text).items or format_tree(again) != again:
            raise Broken("formatting changes the text")
        spec = parse(text)
        _ = spec.system
    except CellError as error:
        return Verdict("refused", _refused(error, changes))
    for warning in spec.warnings:
        _sound(warning, spec.file.source.text)
    return accepted(spec, compiled)


def _refused(error: CellError, changes: int) -> list[str]:
    starts = [d.span.start for d in error.diagnostics if d.source is None]
    if starts != sorted(starts):
        raise Broken("messages are not in order")
    for diagnostic in error.diagnostics:
        _sound(diagnostic, (diagnostic.source or error.source).text)
    said = [(d.code, d.message) for d in error.diagnostics if not d.code.startswith("E1")]
    if len(set(said)) < len(said):
        raise Broken("one thing is said twice: " + "; ".join(m for _, m in said))
    if changes and len(said) > 1 + 2 * changes:
        raise Broken(f"{changes} changes, {len(said)} messages")
    return [code for code, _ in said]


def _sound(diagnostic: Any, text: str) -> None:
    if diagnostic.code not in EXPLANATIONS or not diagnostic.message:
        raise Broken(f"{diagnostic.code}: no page, or no message")
    if not 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text) + 1:
        raise Broken(f"{diagnostic.code}: its place {diagnostic.span} is outside the text")
    source = text[diagnostic.span.start : diagnostic.span.end]
    for words in (diagnostic.message, diagnostic.label, diagnostic.help, *(r.text for r in diagnostic.related)):
        if (leak := INTERNAL.search(words)) and leak[0] not in text:
            raise Broken(f"{diagnostic.code} speaks of `{leak[0]}` at `{source}`: {words}")


# ---------------------------------------------------------------- what is accepted


def accepted(spec: Spec, compiled: bool) -> Verdict:
    """Build at small sizes, run by each engine, compare; its adjoint likewise."""
    open_arguments = [n for n, v in spec.system.arguments.items() if v is None]
    sizes = {name: 2 + i % 3 for i, name in enumerate(open_arguments)}
    system = spec.system
    if any(isinstance(v, int) and abs(v) > LARGEST for v in system.arguments.values()):
        return Verdict("data")
    derivative = spec.adjoint(outside=tuple(system.outputs) + tuple(system.losses))
    if derivative.system.equations:
        _ = parse(str(derivative)).system
    spec.latex(), derivative.latex()
    try:
        model = Model(spec(**sizes), dtype="float64", seed=1)
        rng = np.random.default_rng(7)
        sequences = [_data(model, rng, steps) for steps in STEPS]
        _settle(model, rng)
        lengths = {a.name: list(STEPS) for a in model.system.axes.values() if a.length is None}
        batch = {n: _packed(model, n, [s[n] for s in sequences]) for n in sequences[0]}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            values, gradients = _run(model, batch, lengths, "tape")
    except (ValueError, ArithmeticError) as error:
        if not str(error) or INTERNAL.search(str(error)):
            raise
        return Verdict("data", [str(error)])
    stage = "agreed" if _against_reference(spec, model, sequences, lengths, values) else "ran"
    if compiled:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found, by_code = _run(model, batch, lengths, "compiled")
        for name in found:
            _close(f"compiled {name}", found[name], values[name])
        for name in gradients:
            _close(f"compiled gradient of {name}", by_code[name], gradients[name])
    return Verdict(stage)


def _data(model: Model, rng: np.random.Generator, steps: int) -> dict[str, Any]:
    """One sequence for everything a caller may feed."""
    out: dict[str, Any] = {}
    for name, s in fed(model.system).items():
        known = [a for a in s.axes if model.system.axes[a].length is None]
        if len(known) < len(s.axes):
            raise ValueError(f"{name} lives on a derived axis")
        size = (steps,) * len(s.axes)
        if s.dtype == "category":
            out[name] = rng.integers(0, max(1, int(s.categories or 1)), size)
        else:
            out[name] = 0.8 * rng.normal(size=(*size, *map(int, s.shape)))
    return out


def _settle(model: Model, rng: np.random.Generator) -> None:
    """Parameters away from 0, and those that the caller has to give."""
    for name, tensor in model.params.items():
        if tensor.dtype.kind == "f":
            model.params[name] = tensor.numpy() + 0.3 * rng.normal(size=tensor.shape)


def _packed(model: Model, name: str, values: list[Any]) -> Any:
    axes = len(model.system.streams[name].axes)
    whole = np.asarray(values[0]).dtype.kind == "i"
    shape = (*(max(STEPS),) * axes, BATCH, *np.shape(values[0])[axes:])
    out = np.full(shape, 0 if whole else 0.0)
    for b, value in enumerate(values):
        out[(*(slice(n) for n in np.shape(value)[:axes]), b)] = value
    return out.astype(np.int64) if whole else out


def _run(model: Model, batch: dict[str, Any], lengths: Any, engine: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Outputs and losses, and the gradients of their weighted sum by parameter."""
    for tensor in model.params.values():
        tensor.grad = None
    run = model(lengths=lengths or None, engine=engine, **batch)
    names = [*model.system.outputs, *model.system.losses]
    values = {n: run.value(n) for n in names}
    total = None
    for i, value in enumerate(values.values()):
        if value.dtype.kind == "c":
            value = tg.re(value) + tg.im(value)
        if value.dtype.kind == "f" and value.requires_grad:
            part = (0.5 + i) * tg.sum(value)
            total = part if total is None else total + part
    if total is not None:
        total.backward()
    kept = {n: t for n, t in model.params.items() if t.requires_grad}
    zeros = {n: np.zeros(t.shape, t.dtype) if t.grad is None else t.grad.numpy() for n, t in kept.items()}
    return {n: v.numpy() for n, v in values.items()}, zeros


def _against_reference(spec: Spec, model: Model, sequences: list[Any], lengths: Any, values: dict[str, Any]) -> bool:
    """Whether the reference speaks of this cell at all; raises where the engine differs."""
    if any(s.kind == "noise" or s.kind == "draw" and s.dtype != "category" for s in model.system.streams.values()):
        return False
    params = {n: t.numpy() for n, t in model.params.items()}
    arguments = {n: v for n, v in model.system.arguments.items() if v is not None}
    for b, data in enumerate(sequences):
        each = {a: n[b] for a, n in lengths.items()}
        try:
            scope = evaluate(spec.file, spec.name, arguments, data, params, each)
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = {n: scope(n) for n in values if model.system.streams[n].dtype != "category"}
        except (NotImplementedError, ZeroDivisionError):  # a law it does not know; `1//0`, an integer of Python's
            return False
        for name, wanted in expected.items():
            s = model.system.streams[name]
            if s.total or not wanted.size:
                continue
            got = np.asarray(values[name])
            got = got if s.shared else got[(*(slice(n) for n in wanted.shape[: len(s.axes)]), b)]
            _close(f"{name} of sequence {b}", got, wanted)
    return True


def _close(what: str, left: Any, right: Any) -> None:
    left, right = np.asarray(left), np.asarray(right)
    if left.shape != right.shape:
        raise Broken(f"{what}: shapes {left.shape} and {right.shape}")
    finite = np.isfinite(right)
    if not finite.all() or (right.size and abs(right).max() > 1e12):
        return  # overflow: which non-number comes out depends on the order of operations
    if not np.allclose(left, right, rtol=1e-7, atol=1e-9):
        raise Broken(f"{what}: differs by {np.max(abs(left - right))}")
