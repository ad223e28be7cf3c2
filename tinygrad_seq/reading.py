"""What `Tensor.read` asks when a call is not the usual one: arguments that are no tensors, a derivative not met before,
and the dtype of a result that NumPy would have widened.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.derivative import Derivative, derivative, is_plain, remember
from tinygrad_seq.primitive import HALF, Primitive

Array = np.ndarray[Any, Any]


def constant(value: Any) -> Any:
    """An argument that is no tensor, as primitives take it: an array, or a number that widens nothing."""
    if isinstance(value, np.generic):
        return value.item()
    return np.asarray(value) if isinstance(value, list) else value


def rules_for(key: tuple[Any, ...], values: list[Any], static: dict[str, Any]) -> Derivative:
    """The derivative for this call, remembered under its key if that says it all."""
    op, needs, real, literal = key[:4]
    constant = key[-1] if op.constant is not None else None
    found = derivative(op, tuple([mark == "1" for mark in f"{needs:b}"[1:]]), static, constant, real, literal)
    if op.opaque or all(is_plain(v) for v in static.values()):
        remember(key, found)
    return found


def settled(op: Primitive, values: list[Any], out: Array, static: dict[str, Any]) -> tuple[Array, bool]:
    """A result in the dtype that it should have, and whether no complex number had a part in it."""
    if out.dtype == HALF:
        out = np.asarray(op.in_full(out, values, static))
    kinds = {v.dtype.char for v in values if type(v) is np.ndarray}
    if out.dtype.char not in kinds and out.dtype.char in "dD" and op.name != "astype":
        out = _narrow(out, values)
    real = not kinds & {"F", "D"} and out.dtype.char not in "FD"
    if not op.complex_numbers:
        op.refuse_complex(values)
    return out, real


def _narrow(out: Array, values: list[Any]) -> Array:
    """float32 among integers, booleans and plain numbers stays float32, where NumPy would widen it."""
    if any(isinstance(v, np.ndarray) and v.dtype.char in "dD" for v in values):
        return out
    floats = [v.dtype for v in values if isinstance(v, np.ndarray) and v.dtype.kind in "fc"]
    if not floats:
        return out
    target = np.result_type(*floats)
    return out.astype(target) if target.char in "fF" and out.dtype.kind == target.kind else out
