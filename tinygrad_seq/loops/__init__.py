"""Loops over arrays that NumPy has no function for, in Numba: one source file each.

A file here is never imported: `load` reads it as text and takes it through the cache of generated sources, so
that its machine code is kept beside it there, and an edit is never answered with old code. May not know
primitives or tapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any


@cache
def load(name: str) -> ModuleType:
    """The compiled (or compiling) module of that file. Numba is imported by the first call."""
    from tinygrad_seq.kernels.cache import load_source

    return load_source(name, (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))


def each(file: str, loop: str, groups: Sequence[tuple[Any, ...]], numbers: Any) -> None:
    """A loop of that file over several groups of arrays in one call: see `kernels.groups`."""
    from tinygrad_seq.kernels import groups as kernels

    kernels.each(getattr(load(file), loop), groups, numbers)
