"""Mutants of what the language has beyond real vectors on one axis; each imitates a mistake somebody makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import dsl.run.noise
import dsl.run.parameters
import dsl.run.unroll
import tinygrad_seq as tg
from dsl.system import distributions
from dsl.system.indices import flip
from dsl.system.messages import inverse, outside
from tests.mutants.mutants import MUTANTS, _wrong_rule, everywhere, mutant, partials
from tinygrad_seq import derivative
from tinygrad_seq.primitive import REGISTRY as op

# ---------------------------------------------------------------- complex values

RULES: dict[str, tuple[str, Callable[..., Any]]] = {
    "complex_matvec_weight_not_conjugated": ("matvec", lambda r, g, y, W, x: (op["outer"](g, x), r[1])),
    "complex_matvec_not_conjugated": ("matvec", lambda r, g, y, W, x: (r[0], op["matvec"](op["transpose"](W), g))),
    "reflect_forgets_its_vector": ("reflect", lambda r, g, y, v, x: (0 * r[0], r[1])),
    "reflect_passes_through": ("reflect", lambda r, g, y, v, x: (r[0], g)),
    "fft_adjoint_scaled_like_the_inverse": ("fft", lambda r, g, y, x, **s: (r[0] / op["size"](x, axis=-1),)),
    "ifft_adjoint_not_scaled": ("ifft", lambda r, g, y, x, **s: (r[0] * op["size"](x, axis=-1),)),
    "permute_adjoint_permutes_again": ("permute", lambda r, g, y, p, x: (None, op["permute"](p, g))),
    "modrelu_bias_gradient_lost": ("modrelu", lambda r, g, y, z, b: (r[0], None)),
    "modrelu_turns_its_gradient": ("modrelu", lambda r, g, y, z, b: (1j * r[0], r[1])),
    "im_is_re_backwards": ("im", lambda r, g, y, x: (g,)),
    "conj_not_conjugated_back": ("conj", lambda r, g, y, x: (g,)),
    "outer_of_complex_not_conjugated": ("outer", lambda r, g, y, u, v: (op["matvec"](g, v), r[1])),
}
for _name, (_primitive, _change) in RULES.items():
    MUTANTS[_name] = lambda primitive=_primitive, change=_change: _wrong_rule(primitive, change)


@mutant
def conjugation_dropped_in_products() -> None:
    partials("mul", lambda y, a, b: (op["conj"](b), op["conj"](a)))  # conjugated once more by the engine


@mutant
def cis_slope_without_i() -> None:
    partials("cis", lambda y, x: (y,))


@mutant
def modrelu_keeps_what_is_below_its_bias() -> None:
    op["modrelu"].impl = lambda z, b: (abs(z) + b) * z / np.where(z == 0, 1, abs(z))


# ---------------------------------------------------------------- messages


def _ways(change: Callable[[list[Any], Any], list[Any]]) -> None:
    original = inverse
    everywhere(inverse, lambda indices, axes: change(original(indices, axes), indices))


def _unguarded(kind: Callable[[Any], bool]) -> Callable[[list[Any], Any], list[Any]]:
    def change(ways: list[Any], indices: Any) -> list[Any]:
        return [dataclasses.replace(w, conditions=()) for w in ways] if any(map(kind, indices)) else ways

    return change


@mutant
def message_guard_dropped_for_strides() -> None:
    _ways(_unguarded(lambda i: i.axis is not None and abs(i.scale) > 1))


@mutant
def message_guard_dropped_for_constants() -> None:
    _ways(_unguarded(lambda i: i.axis is None))


@mutant
def message_of_a_floor_counts_one_reader() -> None:
    _ways(lambda ways, indices: ways[:1])


@mutant
def boundary_totals_dropped_behind_the_end() -> None:
    original = outside
    everywhere(outside, lambda index, axis, low, high: original(index, axis, low, True))


@mutant
def boundary_totals_dropped_before_the_start() -> None:
    original = outside
    everywhere(outside, lambda index, axis, low, high: original(index, axis, True, high))


@mutant
def reads_of_another_axis_taken_for_reads_at_home() -> None:
    from dsl.system.system import at_home

    everywhere(at_home, lambda index, axes: all(i.is_identity for i in index))


@mutant
def stop_gradient_lets_through() -> None:
    op["stop_gradient"].partials_rule = lambda y, x: (1,)
    derivative._cache.clear()


# ---------------------------------------------------------------- axes, totals, copies


@mutant
def last_of_an_empty_axis_is_zero() -> None:
    Unrolling = dsl.run.unroll.Unrolling
    original = Unrolling.boundary

    def boundary(self: Any, stream: Any, steps: Any, rows: Any) -> Any:
        value = original(self, stream, steps, rows)
        axis = stream.axes[0]
        return value * (self.batch.lengths[axis][rows] > 0).reshape(-1, *[1] * (np.ndim(value) - 1))

    Unrolling.boundary = boundary  # type: ignore[method-assign]


@mutant
def derived_length_rounds_up() -> None:
    original = dsl.run.unroll.derived_lengths

    def longer(axes: Any, lengths: Any, batch: int) -> Any:
        found = original(axes, lengths, batch)
        return {a: n + (axes[a].length is not None and n > 0) for a, n in found.items()}

    everywhere(original, longer)


@mutant
def total_is_a_mean_over_the_sequences() -> None:
    Unrolling = dsl.run.unroll.Unrolling
    original = Unrolling.value

    def value(self: Any, name: str, point: Any) -> Any:
        found = original(self, name, point)
        return found / self.batch.size if self.system.streams[name].total else found

    Unrolling.value = value  # type: ignore[method-assign]


@mutant
def flips_off_by_one() -> None:
    original = flip

    def late(index: Any, target: str, mine: bool, reader: bool) -> Any:
        found = original(index, target, mine, reader)
        return dataclasses.replace(found, offset=found.offset + 1) if mine or reader else found

    everywhere(flip, late)


@mutant
def copies_inside_a_shared_copy_have_their_own_parameters() -> None:
    from dsl.system.copies import Copy

    Copy.model = property(lambda self: None, lambda self, value: None)  # type: ignore[assignment]


@mutant
def macro_arguments_swapped() -> None:
    from dsl.system.calls import Reader

    original = Reader._macro

    def macro(self: Any, call: Any, definition: Any, copy: Any, env: Any) -> Any:
        return original(self, dataclasses.replace(call, arguments=call.arguments[::-1]), definition, copy, env)

    Reader._macro = macro  # type: ignore[method-assign]


# ---------------------------------------------------------------- distributions, noise, constraints, carrying on


def density(name: str, change: Callable[..., Any]) -> None:
    law = distributions.DISTRIBUTIONS[name]
    new = dataclasses.replace(law, logprob=lambda y, p, rank: change(law.logprob, y, p, rank))
    distributions.DISTRIBUTIONS[name] = new


@mutant
def bernoulli_of_the_other_side() -> None:
    density("bernoulli", lambda f, y, p, rank: f(1 - y, p, rank))


@mutant
def normal_density_without_its_width() -> None:
    density(
        "normal",
        lambda f, y, p, rank: f((y - p["mean"]) / p["std"], {"mean": 0 * p["mean"], "std": p["std"] ** 0}, rank),
    )


@mutant
def mixture_without_correlation() -> None:
    density("mdn2d", lambda f, y, p, rank: f(y, {**p, "correlation": 0 * p["correlation"]}, rank))


@mutant
def noise_key_reused_by_every_stream() -> None:
    original = dsl.run.noise._key
    everywhere(original, lambda seed, name: original(seed, ""))


@mutant
def noise_key_without_the_seed() -> None:
    original = dsl.run.noise._key
    everywhere(original, lambda seed, name: original(0, name))


@mutant
def noise_clock_starts_again_in_each_chunk() -> None:
    original = dsl.run.noise._start
    everywhere(original, lambda clock, axis, batch: original(None, axis, batch))


@mutant
def kept_retraction_skipped() -> None:
    everywhere(dsl.run.parameters.retraction, lambda stream: lambda w: w)


@mutant
def maximum_gives_a_tie_to_the_first() -> None:
    partials("maximum", lambda y, a, b: (op["greater_equal"](a, b), op["greater"](b, a)))


@mutant
def carrying_on_forgets_all_but_the_last_step() -> None:
    from dsl.run import carry

    everywhere(carry.lags, lambda system, axis, original=carry.lags: dict.fromkeys(original(system, axis), 1))


@mutant
def gradient_descends_by_the_conjugate() -> None:
    original = tg.optim.SGD._gradients
    tg.optim.SGD._gradients = lambda self, grads: {n: np.conj(g) for n, g in original(self, grads).items()}  # type: ignore[method-assign]
