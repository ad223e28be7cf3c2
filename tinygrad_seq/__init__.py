"""Autograd whose derivative rules are written once and read three ways: on values, on symbols, on systems."""

from __future__ import annotations

from tinygrad_seq import ops
from tinygrad_seq.primitive import REGISTRY, Primitive

__all__ = ["REGISTRY", "Primitive", "ops"]
