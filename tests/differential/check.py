"""One case through every reading of a cell, compared.

A case (text, arguments, lengths, seed, tied) determines all data by the names of the streams, so that a saved
regression needs no arrays. Padding is NaN (999 for categories): whatever looks at it shows. Noise is fed like any other
data. A total is a sum over the sequences: the reference, which knows one, is asked for each share and given their sum.
"""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_seq as tg
from dsl.run.compiled import compile_system
from dsl.run.rows import derived_lengths
from dsl.run.unroll import unroll
from dsl.spec import AdjointSpec, Spec
from dsl.system.resolve import resolve
from dsl.system.system import System
from dsl.text.parse import parse
from tests.differential.generator import Case
from tests.reference import Scope, evaluate

RTOL, ATOL = 1e-6, 1e-8
STEPS = (2e-4, 2e-5, 5e-6, 1e-6, 2e-7)  # of finite differences
REGRESSIONS = Path(__file__).parent / "regressions"


class Disagreement(AssertionError):
    """Two readings of one cell differ; the message says which, on what and by how much."""


def load(path: Path) -> Case:
    """A regression file: `# {"seed": …, "arguments": …, "lengths": …, "tied": …}`, then the cell."""
    text = path.read_text("utf-8")
    return Case(text=text, **json.loads(text.split("\n", 1)[0].removeprefix("# ")))


def save(case: Case, why: str, folder: Path = REGRESSIONS) -> Path:
    facts = {"seed": case.seed, "arguments": case.arguments, "lengths": case.lengths, "tied": case.tied}
    note = " ".join(why.split())[:200]
    path = folder / f"seed{case.seed}.cell"
    path.write_text(f"# {json.dumps(facts)}\n# {note}\n{case.text}", "utf-8")
    return path


@dataclass
class Prepared:
    """A case with its system and numbers: batched for the engines, one dict a sequence for the reference."""

    case: Case
    spec: Spec
    system: System
    lengths: dict[str, np.ndarray]
    batch: int
    params: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    sequences: list[dict[str, np.ndarray]]
    adjoints: dict[str, AdjointSpec] = field(default_factory=dict)
    baseline: Any = None  # what the reference and the tape found, which other readings are held against

    def adjoint(self, loss: str) -> AdjointSpec:
        """Derived once; every reading of it starts here."""
        if loss not in self.adjoints:
            self.adjoints[loss] = self.spec.adjoint(outside=(loss,))
        return self.adjoints[loss]

    def reference(self, params: Any = None, sequences: Any = None, held: Any = None) -> list[Scope]:
        """One scope a sequence, each given the totals; `held`, a dict a sequence, is the reference's own."""
        params = self.params if params is None else params
        held = [{} for _ in range(self.batch)] if held is None else held
        totals: dict[str, Any] = {}

        def scopes() -> list[Scope]:
            return [
                evaluate(
                    self.spec.file,
                    None,
                    self.case.arguments,
                    {**data, **totals},
                    params,
                    {a: n[b] for a, n in self.case.lengths.items()},
                    held[b],
                )
                for b, data in enumerate(self.sequences if sequences is None else sequences)
            ]

        for name in [n for n, s in self.system.streams.items() if s.total]:
            shape = [int(d) for d in self.system.streams[name].shape]  # a sum over no steps is the number 0
            totals[name] = sum((scope.at(name) for scope in scopes()), np.zeros(shape))
        return scopes()

    @cached_property
    def all_lengths(self) -> dict[str, np.ndarray]:
        """By the reference, derived axes too."""
        scopes = self.reference()
        return {a: np.array([scope.length(a) for scope in scopes]) for a in self.system.axes}

    @property
    def floats(self) -> list[str]:
        """What a gradient can be taken with respect to."""
        streams = self.system.streams
        return [
            n
            for n in [*self.params, *self.inputs]
            if streams[n].dtype in ("real", "complex") and streams[n].kind in ("param", "input")
        ]


def seeded(case: Case, *key: Any) -> np.random.Generator:
    return np.random.default_rng([case.seed % 2**32, zlib.crc32(repr(key).encode())])


def prepare(case: Case) -> Prepared:
    file = parse(case.text)
    spec = Spec(file, list(file.cells)[-1], case.arguments)
    system = spec.system
    system = system.bind({name: n for name, n in system.arguments.items() if isinstance(n, int)})
    lengths = {a: np.asarray(n) for a, n in case.lengths.items() if a in system.axes}
    batch = len(next(iter(case.lengths.values())))
    params, inputs, sequences = {}, {}, [{} for _ in range(batch)]
    for name, s in system.streams.items():
        shape = tuple(int(d) for d in s.shape)
        if s.kind in ("param", "const"):
            permutes = s.initializer is not None and s.initializer.name == "permutation"
            rng = seeded(case, name)
            params[name] = rng.permutation(shape[0]) if permutes else numbers(case, rng, s, shape) * 0.6
        elif s.kind in ("input", "draw", "noise"):
            for b in range(batch):
                size = tuple(int(length_of(system, a, lengths)[b]) for a in s.axes)
                sequences[b][name] = drawn(case, system, name, b, size, shape)
            inputs[name] = pack([sequence[name] for sequence in sequences], s.axes, lengths)
    return Prepared(case, spec, system, lengths, batch, params, inputs, sequences)


def length_of(system: System, axis: str, lengths: Any) -> Any:
    return derived_lengths(system.axes, lengths, len(next(iter(lengths.values()))))[axis]


def numbers(case: Case, rng: np.random.Generator, stream: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers; of a tied case, halves of whole numbers, many of them equal."""
    value = rng.normal(size=shape)
    if stream.dtype == "complex":
        value = value + 1j * rng.normal(size=shape)
    return np.round(value * 2) / 2 if case.tied else value


def drawn(case: Case, system: System, name: str, b: int, size: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """What one sequence is fed for a stream: categories, zeros and ones, pen strokes, noise, or normal numbers."""
    s, rng = system.streams[name], seeded(case, name, b)
    law = system.draws[name].distribution if s.kind == "draw" else s.initializer.name if s.kind == "noise" else ""
    if s.dtype == "category":
        return np.asarray(rng.integers(0 if s.kind == "draw" else -1, int(s.categories), size))
    value = np.asarray(numbers(case, rng, s, size + shape))
    if law in ("bernoulli", "dropout"):
        return np.asarray(rng.integers(0, 2, size + shape), float)
    if law == "mdn2d":
        value[..., 2] = value[..., 2] > 0
    return value


def pack(values: list[Any], axes: Any, lengths: Any) -> np.ndarray:
    """Sequences side by side: (longest, ..., B, *features), the rest of it poison."""
    first = np.asarray(values[0])
    whole = first.dtype.kind in "iu"
    sizes = tuple(max(np.shape(v)[i] for v in values) for i in range(len(axes)))
    out = np.full((*sizes, len(values), *first.shape[len(axes) :]), 999 if whole else np.nan, first.dtype)
    for b, value in enumerate(values):
        out[(*(slice(n) for n in np.shape(value)[: len(axes)]), b)] = value
    return out


def sequence_of(array: Any, b: int, steps: list[int]) -> np.ndarray:
    return np.asarray(array)[(*(slice(n) for n in steps), b)]


def agree(what: str, left: Any, right: Any, rtol: float = 1e-8, atol: float = 1e-11) -> None:
    """Equal but for rounding, which a recurrence of random matrices may enlarge a hundred thousand times."""
    kind = complex if np.iscomplexobj(left) or np.iscomplexobj(right) else float
    left, right = np.asarray(left, kind), np.asarray(right, kind)
    if left.shape != right.shape:
        raise Disagreement(f"{what}: shapes {left.shape} and {right.shape}")
    atol += 1e-9 * float(np.max(abs(right), initial=0.0))
    if not np.allclose(left, right, rtol=rtol, atol=atol, equal_nan=False):
        worst = (
            np.unravel_index(np.argmax(np.nan_to_num(abs(left - right), nan=np.inf)), left.shape) if left.ndim else ()
        )
        raise Disagreement(f"{what}{list(map(int, worst))}: {left[worst]!r} and {right[worst]!r}")


def compare_values(p: Prepared, values: dict[str, Any], scopes: list[Scope], engine: str) -> None:
    """Every stream the engine computed, real steps against the reference, and nothing but 0 (or -1) beyond them."""
    for name, array in values.items():
        s = p.system.streams[name]
        array = np.asarray(array)
        if s.total or s.shared:
            agree(f"{engine} {name}", array, scopes[0](name))
            continue
        rest = np.ones(array.shape[: len(s.axes) + 1], bool)
        for b, scope in enumerate(scopes):
            steps = scope.lengths_of(name)
            rest[(*(slice(n) for n in steps), b)] = False
            got, expected = sequence_of(array, b, steps), scope(name)
            if expected.ndim < got.ndim and 0 in [n[b] for n in p.all_lengths.values()]:  # an empty sum: the number 0
                expected = np.broadcast_to(expected[(..., *[None] * (got.ndim - expected.ndim))], got.shape)
            if s.dtype == "category":
                got = (got[..., None] == np.arange(int(s.categories))).astype(float)
            agree(
                f"{engine} {name} of sequence {b}",
                got,
                np.reshape(expected, got.shape) if not expected.size else expected,
            )
        if np.any(array[rest] != (-1 if s.dtype == "category" else 0)):
            raise Disagreement(f"{engine} {name}: something in the padding")


def finite_differences(p: Prepared, gradients: dict[str, np.ndarray], loss: str, rounds: int = 1) -> bool:
    """Random joint directions, scaled so that every tensor weighs the same, by the reference.

    A slope that a kink between the points spoils comes right with smaller steps; a wrong gradient does not. False
    where rounding hides the slope, of a loss too large beside its changes, and where there is none (`is_smooth`).
    """
    rng = seeded(p.case, "directions")
    held: list[dict[Any, Any]] = [{} for _ in range(p.batch)]
    base = np.mean([abs(scope.losses[loss]) for scope in p.reference(held=held)])
    assert np.isfinite(base), "a cell whose loss is not finite shows nothing"
    for _ in range(rounds):
        along = {}
        for name, g in gradients.items():
            d = rng.normal(size=g.shape) + (1j * rng.normal(size=g.shape) if np.iscomplexobj(g) else 0)
            along[name] = d / max(1.0, float(np.linalg.norm(g)))
        expected = sum(float(np.sum(np.conj(g) * along[n]).real) for n, g in gradients.items())
        scale = sum(float(np.sum(abs(g * along[n]))) for n, g in gradients.items())

        def cost(e: float, along: Any = along) -> float:
            params = {n: v + e * along[n] if n in along else v for n, v in p.params.items()}
            sequences = []
            for b, data in enumerate(p.sequences):
                steps = {n: data[n].shape[: len(p.system.streams[n].axes)] for n in data}
                sequences.append(
                    {n: v + e * sequence_of(along[n], b, steps[n]) if n in along else v for n, v in data.items()}
                )
            return float(np.mean([scope.losses[loss] for scope in p.reference(params, sequences, held)]))

        if not shows(cost, expected, scale, float(base)):
            return False
    return True


def shows(cost: Callable[[float], float], expected: float, scale: float, size: float) -> bool:
    """Whether differences of `cost`, whose numbers are of that size, show the slope `expected`; raises where they show
    another. The sum of the magnitudes that make up the slope is `scale`."""
    slopes, noise, limit = [], 1e-15 * size, 1e-4 * scale + ATOL

    def close(h: float) -> bool:
        off = abs(slopes[-1] - expected) - ATOL - RTOL * max(abs(slopes[-1]), scale)
        return bool(off <= noise / h <= limit or off <= 0)

    for h in STEPS:
        if noise / h > limit:
            break
        slopes.append((8 * (cost(h) - cost(-h)) - (cost(2 * h) - cost(-2 * h))) / (12 * h))
        if not close(h) and len(slopes) == 1:  # at steps so small that all but rounding is gone
            tiny = (1e-11, 3e-12, 1e-12)
            noise = max(noise, *(2 * abs(cost(d) - 2 * cost(0.0) + cost(-d)) for d in tiny))
        if close(h):
            return True
    if noise / STEPS[0] > limit or not is_smooth(cost, noise):
        return False
    raise Disagreement(f"finite differences {slopes}, gradient {expected!r}")


def is_smooth(cost: Callable[[float], float], noise: float) -> bool:
    """Whether the slopes to both sides come closer to each other as steps get smaller: at a kink they do not, and at a
    jump they part. It asks nothing of the gradient."""
    wide, near = (abs(cost(h) - 2 * cost(0.0) + cost(-h)) / h for h in (STEPS[0], STEPS[2]))
    return near <= wide / 4 + 8 * noise / STEPS[2]


# ---------------------------------------------------------------- the readings


def unrolled(p: Prepared, loss: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Values and the gradients of the batch mean of `loss`, every operation a node of the tape."""
    leaves = {n: tg.tensor(v, requires_grad=True) if n in p.floats else v for n, v in (p.params | p.inputs).items()}
    values = unroll(p.system, leaves, p.lengths, p.batch, tuple(p.system.equations))
    if isinstance(values[loss], tg.Tensor):  # of sequences without steps, a loss may read nothing
        tg.mean(values[loss]).backward()
    gradients = {n: z if leaves[n].grad is None else leaves[n].grad.numpy() for n, z in zeros(p).items()}
    return {n: v.numpy() if hasattr(v, "numpy") else v for n, v in values.items()}, gradients


def real_steps(p: Prepared, gradients: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gradients of inputs are 0 in the padding, whatever lay there."""
    for name in p.inputs:
        if name in gradients:
            axes = p.system.streams[name].axes
            padding = np.ones(gradients[name].shape[: len(axes) + 1], bool)
            for b in range(p.batch):
                padding[(*(slice(n) for n in p.sequences[b][name].shape[: len(axes)]), b)] = False
            if np.any(gradients[name][padding] != 0):
                raise Disagreement(f"gradient of {name}: something in the padding")
    return gradients


def compare_gradients(what: str, left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    if left.keys() != right.keys():
        raise Disagreement(f"{what}: gradients of {sorted(left.keys() ^ right.keys())} are missing on one side")
    for name in left:
        agree(f"{what} {name}", left[name], right[name])


def zeros(p: Prepared) -> dict[str, np.ndarray]:
    return {n: np.zeros_like((p.params | p.inputs)[n]) for n in p.floats}


def outside_values(
    p: Prepared, system: System, values: dict[str, Any], cotangents: dict[str, str], loss: str
) -> dict[str, Any]:
    """What an adjoint is fed: forward streams by their names, padding poisoned, and the loss's mean."""
    known, fed = {**values, **p.params, **p.inputs}, {}
    for name, s in system.streams.items():
        if s.kind not in ("input", "param", "const"):
            continue
        if name == cotangents[loss]:
            fed[name] = np.asarray(1.0) if s.shared else np.full(p.batch, 1 / p.batch)
        elif s.axes and s.dtype in ("real", "complex") and name not in p.inputs:
            forward = p.system.streams[name]
            steps = [[int(p.all_lengths[a][b]) for a in forward.axes] for b in range(p.batch)]
            each = [sequence_of(known[name], b, steps[b]) for b in range(p.batch)]
            fed[name] = pack(each, forward.axes, p.all_lengths)
        else:
            fed[name] = known[name]
    return fed


def collected(p: Prepared, results: dict[str, Any], gradients: dict[str, str]) -> dict[str, np.ndarray]:
    return {n: np.asarray(results[gradients[n]]) if n in gradients else z for n, z in zeros(p).items()}


def derived(p: Prepared, values: dict[str, Any], loss: str, printed: bool, run: Any) -> dict[str, np.ndarray]:
    """Gradients by the adjoint system, as derived or as its own printed text says, on an engine."""
    spec = p.adjoint(loss)
    system = resolve(spec.file, spec.name, {})[0] if printed else spec.system  # its file is the parsed text
    sizes = {n: v for n, v in p.system.arguments.items() if isinstance(v, int) and n in system.arguments}
    system = system.bind({**{n: v for n, v in system.arguments.items() if isinstance(v, int)}, **sizes})
    wanted = tuple(spec.gradients[n] for n in p.floats if n in spec.gradients)
    fed = outside_values(p, system, values, spec.cotangents, loss)
    return collected(p, run(system, fed, wanted), spec.gradients)


def by_tape(p: Prepared) -> Any:
    return lambda system, fed, wanted: unroll(system, fed, p.lengths, p.batch, wanted)


def by_compiled(p: Prepared) -> Any:
    def run(system: System, fed: dict[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
        engine = compile_system(system, wanted, "float64")
        return engine.forward(fed, p.lengths, p.batch, wanted, record=False)[0]

    return run


def compiled(p: Prepared, loss: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Values and gradients by generated code; the backward pass twice, since a run may be asked again."""
    engine = compile_system(p.system, (loss,), "float64")
    inputs, names = p.params | p.inputs, tuple(p.system.equations)
    values, saved = engine.forward(inputs, p.lengths, p.batch, names, record=True)
    mean = np.asarray(1.0) if p.system.streams[loss].shared else np.full(p.batch, 1 / p.batch)
    wrt, cotangent = tuple(p.floats), {loss: mean}
    first, again = engine.backward(saved, cotangent, wrt), engine.backward(saved, cotangent, wrt)
    same = {n: n for n in p.floats if n in first}
    compare_gradients("compiled twice", collected(p, first, same), collected(p, again, same))
    return values, collected(p, first, same)


def by_torch(p: Prepared, loss: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Losses and gradients of the exported module, which runs without this project."""
    import torch

    model = p.spec.build(dtype="float64")
    for name, value in p.params.items():
        model.params[name].data[...] = value
    module = model.to_torch()
    taken = inspect.signature(module.forward).parameters  # what the loss does not need, an export has no place for
    fed = {n: torch.from_numpy(np.array(v)) for n, v in p.inputs.items() if n in taken}
    for name in p.floats:
        if name in fed:
            fed[name].requires_grad_()
    lengths = {a: torch.tensor(n) for a, n in p.lengths.items() if p.system.axes[a].length is None}
    noise = {n: torch.from_numpy(np.array(p.inputs[n])).requires_grad_() for n in model.noises if "noise" in taken}
    out = module(**fed, lengths=lengths, **({"noise": noise} if noise else {}))
    out[loss].backward()
    leaves = {**dict(module.named_parameters()), **fed, **noise}
    found = {n: leaves[n].grad.resolve_conj().numpy() for n in p.floats if n in leaves and leaves[n].grad is not None}
    return out[f"{loss}.each"].detach().numpy(), {**zeros(p), **found}


READINGS = ("adjoint", "printed", "compiled", "printed compiled")


def check(case: Case, readings: tuple[str, ...] = READINGS, loss: str = "cost") -> Prepared:
    """Raise `Disagreement` unless every reading of the case gives the reference's values and slopes; differences are
    among them always, since the others share their rules."""
    p = prepare(case)
    for _ in compared(p, ("differences", *readings), loss):
        pass
    return p


def compared(p: Prepared, readings: tuple[str, ...], loss: str = "cost") -> Iterator[str]:
    """The readings, each named once it has agreed. Errors: `Disagreement`; CellError and ValueError of what a reading
    says it cannot do."""
    if p.baseline is None:
        p.baseline = p.reference(), *unrolled(p, loss)
        scopes, values, gradients = p.baseline
        compare_values(p, values, scopes, "unrolled")
        real_steps(p, gradients)
        yield "tape"
    scopes, values, gradients = p.baseline
    if "differences" in readings and not p.case.tied and finite_differences(p, gradients, loss):
        yield "differences"  # at a tie of three there is no slope
    if "adjoint" in readings:
        compare_gradients("tape, adjoint", gradients, derived(p, values, loss, False, by_tape(p)))
        yield "adjoint"
    if "printed" in readings:
        compare_gradients("tape, printed adjoint", gradients, derived(p, values, loss, True, by_tape(p)))
        yield "printed"
    if "compiled" in readings:
        found, by_code = compiled(p, loss)
        compare_values(p, found, scopes, "compiled")
        compare_gradients("tape, compiled", gradients, real_steps(p, by_code))
        yield "compiled"
    if "printed compiled" in readings:
        compare_gradients("tape, printed adjoint compiled", gradients, derived(p, values, loss, True, by_compiled(p)))
        yield "printed compiled"
    if "second" in readings and not p.case.tied:
        from tests.differential.second import second_order

        if second_order(p, loss):
            yield "second"
    if "torch" in readings:
        each, exported = by_torch(p, loss)
        agree("torch", each, np.array([scope.losses[loss] for scope in scopes]))
        compare_gradients("tape, torch", gradients, real_steps(p, exported))
        yield "torch"
