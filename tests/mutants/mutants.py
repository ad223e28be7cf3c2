"""Wrong rules, wrong readings of the language and wrong library cells, by name. Each is a mistake somebody makes.

A mutant changes the running process only, through the functions below; `suite.py` must reject every one.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import dsl.run.unroll
import dsl.spec
import dsl.system.adjoint
import tinygrad_seq as tg
from dsl.system.dims import Dim
from dsl.text.parse import parse
from tinygrad_seq import derivative
from tinygrad_seq.primitive import REGISTRY as op

MUTANTS: dict[str, Callable[[], None]] = {}


def mutant(function: Callable[[], None]) -> Callable[[], None]:
    MUTANTS[function.__name__] = function
    return function


def everywhere(original: Any, new: Any) -> None:
    """Replace a function in every module of the packages that holds it."""
    found = 0
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").split(".")[0] in ("dsl", "tinygrad_seq"):
            for key, value in list(vars(module).items()):
                if value is original:
                    setattr(module, key, new)
                    found += 1
    assert found, f"{original} is nowhere"


def partials(name: str, new: Callable[..., Any]) -> None:
    assert op[name].partials_rule is not None, name
    op[name].partials_rule = new
    derivative._cache.clear()


def rule(name: str, change: Callable[..., Any]) -> None:
    """`change(results, g, y, *inputs, **static)` gets the right cotangents and returns wrong ones."""
    original = op[name].vjp_rule
    assert original is not None, name

    @functools.wraps(original)  # by its signature the language knows how many arguments a function takes
    def wrong(g: Any, y: Any, *a: Any, **s: Any) -> Any:
        return change(original(g, y, *a, **s), g, y, *a, **s)

    op[name].vjp_rule = wrong
    derivative._cache.clear()


def library(name: str, *changes: tuple[str, str]) -> None:
    """A library cell with lines changed, for everybody who loads it by name."""
    spec = dsl.load(name)
    text = spec.file.source.text
    start = text.index(f"cell {name}(")
    end = text.find("\ncell ", start + 1)
    body = text[start : end if end > 0 else len(text)]
    for old, new in changes:
        assert old in body, (name, old)
        body = body.replace(old, new)
    changed = parse(text[:start] + body + (text[end:] if end > 0 else ""), spec.file.source.path)
    original = dsl.spec.library_file
    everywhere(original, lambda path: changed if str(path) == spec.file.source.path else original(path))


# ---------------------------------------------------------------- derivatives of one element

PARTIALS: dict[str, tuple[str, Callable[..., Any]]] = {
    "sigmoid_without_one_minus_y": ("sigmoid", lambda y, x: (y,)),
    "tanh_without_one_plus_y": ("tanh", lambda y, x: (1 - y,)),
    "tanh_scaled_by_a_thousandth": ("tanh", lambda y, x: (1.001 * (1 + y) * (1 - y),)),
    "sigmoid_scaled_by_a_thousandth": ("sigmoid", lambda y, x: (1.001 * y * (1 - y),)),
    "relu_open_everywhere": ("relu", lambda y, x: (1,)),
    "leaky_relu_slope_forgotten": ("leaky_relu", lambda y, x, slope=0.1: (op["where"](op["greater"](x, 0), 1, 0),)),
    "elu_without_its_value": ("elu", lambda y, x, alpha=1.0: (op["where"](op["greater"](x, 0), 1, alpha),)),
    "softplus_slope_is_its_value": ("softplus", lambda y, x: (y,)),
    "exp_slope_one": ("exp", lambda y, x: (1,)),
    "log_slope_x": ("log", lambda y, x: (x,)),
    "sqrt_without_half": ("sqrt", lambda y, x: (1 / y,)),
    "sin_slope_minus_cos": ("sin", lambda y, x: (-op["cos"](x),)),
    "cos_slope_sin": ("cos", lambda y, x: (op["sin"](x),)),
    "sub_adds": ("sub", lambda y, a, b: (1, 1)),
    "mul_keeps_its_own_factor": ("mul", lambda y, a, b: (a, b)),
    "div_wrong_sign_below": ("div", lambda y, a, b: (1 / b, y / b)),
    "neg_forgotten": ("neg", lambda y, x: (1,)),
    "power_exponent_not_lowered": ("power", lambda y, a, b: (b * y, None)),
    "logaddexp_swapped": ("logaddexp", lambda y, a, b: (op["exp"](b - y), op["exp"](a - y))),
    "maximum_gives_to_the_smaller": ("maximum", lambda y, a, b: (op["equal"](b, y) * 1.0, op["equal"](a, y) * 1.0)),
    "minimum_gives_to_both": ("minimum", lambda y, a, b: (1, 1)),
}
for _name, (_primitive, _new) in PARTIALS.items():
    MUTANTS[_name] = lambda primitive=_primitive, new=_new: partials(primitive, new)

# ---------------------------------------------------------------- rules

RULES: dict[str, tuple[str, Callable[..., Any]]] = {
    "matvec_not_transposed": ("matvec", lambda r, g, y, W, x: (r[0], op["matvec"](W, g))),
    "matvec_weight_gradient_transposed": ("matvec", lambda r, g, y, W, x: (op["transpose"](r[0]), r[1])),
    "matvec_gradient_scaled_by_a_thousandth": ("matvec", lambda r, g, y, W, x: (1.001 * r[0], r[1])),
    "abs_slope_one": ("abs", lambda r, g, y, x: (g,)),
    "dot_forgets_its_left": ("dot", lambda r, g, y, u, v: (None, r[1])),
    "outer_swapped": ("outer", lambda r, g, y, u, v: (r[1], r[0])),
    "transpose_not_transposed": ("transpose", lambda r, g, y, x: (g,)),
    "softmax_without_the_sum": ("softmax", lambda r, g, y, x, axis=-1: (g * y,)),
    "log_softmax_without_the_softmax": ("log_softmax", lambda r, g, y, x, axis=-1: (g,)),
    "mean_without_division": ("mean", lambda r, g, y, x, axis=None, keepdims=False: (r[0] * op["size"](x, axis=axis),)),
    "lookup_gradient_lost": ("lookup", lambda r, g, y, W, i: (None, None)),
    "cross_entropy_without_the_target": (
        "cross_entropy",
        lambda r, g, y, z, i: (op["softmax"](z) * op["expand"](g, axis=-1), None),
    ),
    "part_gradient_doubled": ("part", lambda r, g, y, v, **s: (2 * r[0],)),
    "concat_parts_swapped": ("concat", lambda r, g, y, *v, **s: tuple(reversed(r))),
    "where_both_branches": ("where", lambda r, g, y, c, a, b: (None, g, g)),
    "clip_open_everywhere": ("clip", lambda r, g, y, x, *b, **s: (g, *r[1:])),
    "sum_gradient_scaled_by_a_thousandth": ("sum", lambda r, g, y, x, **s: (1.001 * r[0],)),
    "max_halves_the_winner": ("max", lambda r, g, y, x, **s: (0.5 * r[0],)),
    "logsumexp_scaled_by_a_thousandth": ("logsumexp", lambda r, g, y, x, **s: (1.001 * r[0],)),
}


def _wrong_rule(primitive: str, change: Callable[..., Any]) -> None:
    if op[primitive].vjp_rule is None:  # the engine states it by partials
        original = op[primitive].partials_rule
        assert original is not None
        op[primitive].vjp_rule = lambda g, y, *a, **s: tuple(None if p is None else g * p for p in original(y, *a, **s))
    rule(primitive, change)


for _name, (_primitive, _new) in RULES.items():
    MUTANTS[_name] = lambda primitive=_primitive, new=_new: _wrong_rule(primitive, new)

# ---------------------------------------------------------------- values


def impl(name: str, new: Callable[..., Any]) -> None:
    op[name].impl = new


@mutant
def leaky_relu_another_slope() -> None:
    impl("leaky_relu", lambda x, slope=0.2: np.where(x > 0, x, 0.2 * x))


@mutant
def softmax_of_another_axis() -> None:
    original = op["softmax"].impl
    impl("softmax", lambda x, axis=-1: original(x, axis=0))


@mutant
def lookup_of_the_next_category() -> None:
    original = op["lookup"].impl
    impl("lookup", lambda W, i: original(W, (np.asarray(i) + 1) % W.shape[-1]))


@mutant
def none_is_a_category() -> None:
    original = op["lookup"].impl
    impl("lookup", lambda W, i: original(W, np.maximum(i, 0)))


# ---------------------------------------------------------------- the tape


@mutant
def tape_overwrites_instead_of_accumulating() -> None:
    from tinygrad_seq.tape import Sums

    Sums.add = lambda self, edge, value, fresh=False: self.held.__setitem__(edge, value)  # type: ignore[method-assign]


@mutant
def tape_does_not_sum_what_was_broadcast() -> None:
    from tinygrad_seq.tape import fit

    def first_row(g: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        extra = np.ndim(g) - len(shape)
        return fit(g[(0,) * extra] if extra > 0 else g, shape, dtype)

    everywhere(fit, first_row)


# ---------------------------------------------------------------- reading the language


@mutant
def lag_of_the_wrong_sign() -> None:
    from dsl.system.system import Index

    original = Index.at

    def at(self: Any, position: Any, lengths: Any) -> Any:
        return original(dataclasses.replace(self, offset=-self.offset) if self.is_shift else self, position, lengths)

    Index.at = at  # type: ignore[method-assign]


@mutant
def floor_index_off_by_one() -> None:
    from dsl.system.system import Index

    original = Index.at
    Index.at = lambda self, p, n: original(self, p, n) + (self.scale == 2)  # type: ignore[method-assign]


@mutant
def boundary_is_always_zero() -> None:
    Unrolling = dsl.run.unroll.Unrolling
    original = Unrolling.boundary
    Unrolling.boundary = lambda self, *a: original(self, *a) * 0  # type: ignore[method-assign]


@mutant
def lengths_ignored() -> None:
    original = dsl.run.unroll.derived_lengths
    everywhere(original, lambda axes, n, b: {a: np.full_like(v, v.max()) for a, v in original(axes, n, b).items()})


@mutant
def reverse_not_reversed() -> None:
    from dsl.system.indices import flip

    everywhere(flip, lambda index, target, mine, readers: index)


@mutant
def stack_ignores_its_second_storey() -> None:
    from dsl.system.elaborate import Elaborator

    Elaborator._storeys = lambda self, *a: 1  # type: ignore[method-assign]


@mutant
def start_argument_ignored() -> None:
    from dsl.system.elaborate import Elaborator

    original = Elaborator._declare

    def declare(self: Any, copy: Any, statement: Any) -> None:
        copy.boundaries.clear()
        original(self, copy, statement)

    Elaborator._declare = declare  # type: ignore[method-assign]


@mutant
def shared_copy_has_its_own_parameters() -> None:
    from dsl.system.elaborate import Elaborator

    original = Elaborator._arguments

    def arguments(self: Any, *a: Any) -> None:
        original(self, *a[:-1], None)

    Elaborator._arguments = arguments  # type: ignore[method-assign]


@mutant
def input_boundary_of_a_copy_ignored() -> None:
    from dsl.system.elaborate import Elaborator

    original = Elaborator._declare

    def declare(self: Any, copy: Any, statement: Any) -> None:
        if copy.parent is not None and statement.kind == "input" and statement.value is not None:
            statement = dataclasses.replace(statement, value=parse("cell A():\n  x = 1\n").cells["A"].body[0].value)  # type: ignore[union-attr]
        original(self, copy, statement)

    Elaborator._declare = declare  # type: ignore[method-assign]


# ---------------------------------------------------------------- the adjoint


def derivation() -> Any:
    from dsl.system import adjoint

    module = sys.modules[adjoint.adjoint.__globals__["Derivation"].__module__]
    return module.Derivation


@mutant
def adjoint_forgets_boundaries() -> None:
    derivation()._boundaries = lambda self: None


@mutant
def adjoint_reads_messages_the_wrong_way() -> None:
    from dsl.system.messages import inverse

    def wrong(indices: Any, axes: Any) -> Any:
        shifts = all(i.is_shift for i in indices)
        return inverse([dataclasses.replace(i, offset=-i.offset) for i in indices] if shifts else indices, axes)

    everywhere(inverse, wrong)


@mutant
def adjoint_does_not_sum_over_missing_axes() -> None:
    Derivation = derivation()
    original = Derivation.fit

    def fit(self: Any, g: Any, domain: Any, target: Any) -> Any:
        return original(self, g, dataclasses.replace(domain, axes=target.axes), target)

    Derivation.fit = fit


@mutant
def adjoint_of_part_at_the_wrong_place() -> None:
    from dsl.system.rules import between

    everywhere(between, lambda v, start, size, total: between(v, total - start - size, size, total))


@mutant
def adjoint_where_outside_a_product() -> None:
    """`where(c, g, 0)*log(x)` in place of `where(c, g*log(x), 0)`: NaN at x = 0."""
    from dsl.system.guards import Finite

    Finite.__call__ = lambda self, root: True  # type: ignore[method-assign]


@mutant
def offset_arithmetic_loses_its_sign() -> None:
    Dim.__neg__ = lambda self: self  # type: ignore[method-assign]


# ---------------------------------------------------------------- the library


LIBRARY: dict[str, tuple[Any, ...]] = {
    "lstm_gates_swapped": ("LSTM", ("f[t]*c[t-1] + i[t]*g[t]", "i[t]*c[t-1] + f[t]*g[t]")),
    "lstm_dropped_bias": ("LSTM", ("W_g@h[t-1] + b_g", "W_g@h[t-1] + 0*b_g")),
    "lstm_transposed_matrix": ("LSTM", ("W_o@h[t-1]", "W_o.T@h[t-1]")),
    "lstm_output_without_tanh": ("LSTM", ("o[t]*tanh(c[t])", "o[t]*c[t]")),
    "lstm_two_steps_back": ("LSTM", ("f[t]*c[t-1]", "f[t]*c[t-2]")),
    "peephole_sees_the_old_cell": ("Peephole", ("p_o*c[t]", "p_o*c[t-1]")),
    "coupled_not_coupled": ("Coupled", ("(1 - f[t])*g[t]", "f[t]*g[t]")),
    "gru_update_swapped": ("GRU", ("z[t]*h[t-1] + (1 - z[t])*n[t]", "(1 - z[t])*h[t-1] + z[t]*n[t]")),
    "gru_reset_after_the_product": ("GRU", ("W_n@(r[t]*h[t-1])", "r[t]*(W_n@h[t-1])")),
    "gru_inner_bias_outside_the_reset": ("GRUResetAfter", ("(W_n@h[t-1] + b_rn)", "(W_n@h[t-1]) + b_rn")),
    "elman_with_relu": ("Elman", ("tanh(", "relu(")),
}
for _name, (_cell, *_changes) in LIBRARY.items():
    MUTANTS[_name] = lambda cell=_cell, changes=tuple(_changes): library(cell, *changes)

# ---------------------------------------------------------------- optimisers


@mutant
def sgd_climbs() -> None:
    original = tg.optim.SGD._rule

    def climb(self: Any, name: str) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
        loop, slots, (rate, *others) = original(self, name)
        return loop, slots, (-rate, *others)

    tg.optim.SGD._rule = climb  # type: ignore[method-assign]


@mutant
def adam_without_bias_correction() -> None:
    original = tg.optim.Adam._numbers
    tg.optim.Adam._numbers = lambda self, n: original(self, 10**6)  # type: ignore[method-assign]


@mutant
def clipping_does_nothing() -> None:
    everywhere(tg.clip_by_norm, lambda grads, limit: 0.0)


# ---------------------------------------------------------------- generated code (compiled by `suite.py`: slow)

KERNELS = {
    "kernel_tanh_is_sigmoid": ("tanh", "sigmoid({0})"),
    "kernel_sigmoid_scaled_by_a_thousandth": ("sigmoid", "(1.001 * sigmoid({0}))"),
    "kernel_sub_adds": ("sub", "({0} + {1})"),
}


def kernel(name: str, template: str) -> None:
    assert op[name].kernel, name
    op[name].kernel = template


for _name, (_primitive, _template) in KERNELS.items():
    MUTANTS[_name] = lambda primitive=_primitive, template=_template: kernel(primitive, template)
