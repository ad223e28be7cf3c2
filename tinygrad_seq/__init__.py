"""Autograd whose derivative rules are written once and read three ways: on values, on symbols, on systems.

import tinygrad_seq as tg
a = tg.tensor(2.0, requires_grad=True)
tg.tanh(a * 3).backward()
a.grad
"""

from __future__ import annotations

from typing import Any

import numpy

from tinygrad_seq import fft, functions, initializers, layers, linalg, losses, ops, optim, schedules, shapes
from tinygrad_seq.convnet import Conv, ConvNet, columns, places, vector
from tinygrad_seq.ctc import ctc_loss
from tinygrad_seq.decoding import ctc_collapse, ctc_decode
from tinygrad_seq.errors import AnomalyError, GradientError
from tinygrad_seq.explain import explain
from tinygrad_seq.functions import *  # noqa: F403
from tinygrad_seq.gradcheck import check_grads
from tinygrad_seq.layers import *  # noqa: F403
from tinygrad_seq.linalg import einsum, outer, tensordot, tril, triu, vecdot
from tinygrad_seq.losses import *  # noqa: F403
from tinygrad_seq.optim import clip_by_norm
from tinygrad_seq.primitive import REGISTRY, Primitive, elementwise
from tinygrad_seq.program import Program, trace
from tinygrad_seq.shapes import *  # noqa: F403
from tinygrad_seq.study import Tape
from tinygrad_seq.tape import custom_node
from tinygrad_seq.tensor import Tensor, tensor
from tinygrad_seq.transforms import (
    detect_anomaly,
    enable_grad,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    no_grad,
    remat,
    stop_gradient,
    value_and_grad,
    vjp,
)

_NAMES = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg", "pow": "power"}
_NAMES |= {"floor_divide": "floordiv", "remainder": "mod", "real": "re", "imag": "im"}
_NAMES |= {f"a{f}{h}": f"arc{f}{h}" for f in ("sin", "cos", "tan") for h in ("", "h")} | {"atan2": "arctan2"}


for _name in (*REGISTRY, *_NAMES):  # `tg.tanh` and every other primitive, under its own name or the array API's
    globals().setdefault(_name, REGISTRY[_NAMES.get(_name, _name)])


# the array API's names of what is constant to every derivative: NumPy's own
_CONSTANT = frozenset(
    "arange asarray bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor bool "
    "broadcast_shapes can_cast complex128 complex64 e empty empty_like eye finfo float32 float64 from_dlpack full "
    "full_like iinfo inf int16 int32 int64 int8 isdtype isin linspace nan newaxis nextafter nonzero ones ones_like pi "
    "result_type searchsorted uint16 uint32 uint64 uint8 unique_all unique_counts unique_inverse unique_values zeros "
    "zeros_like".split()
)


def __getattr__(name: str) -> Any:
    """A primitive that was made since, or a name of NumPy's that the array API has too."""
    if name in _CONSTANT:
        return getattr(numpy, name)
    found = REGISTRY.get(_NAMES.get(name, name))
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *REGISTRY, *_NAMES, *_CONSTANT})


__all__ = [  # noqa: F405
    "REGISTRY",
    "AnomalyError",
    "Conv",
    "ConvNet",
    "GradientError",
    "Primitive",
    "Program",
    "Tape",
    "Tensor",
    "check_grads",
    "clip_by_norm",
    "columns",
    "ctc_collapse",
    "ctc_decode",
    "ctc_loss",
    "custom_node",
    "einsum",
    "detect_anomaly",
    "elementwise",
    "enable_grad",
    "explain",
    "fft",
    "functions",
    "grad",
    "hessian",
    "hvp",
    "initializers",
    "jacobian",
    "jvp",
    "layers",
    "linalg",
    "losses",
    "no_grad",
    "ops",
    "optim",
    "schedules",
    "outer",
    "places",
    "shapes",
    "remat",
    "stop_gradient",
    "tensor",
    "tensordot",
    "trace",
    "tril",
    "triu",
    "value_and_grad",
    "vecdot",
    "vector",
    "vjp",
]
