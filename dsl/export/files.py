"""What the exports share that is no mathematics: packages that may be missing, source that is run from memory."""

from __future__ import annotations

import importlib
import itertools
import linecache
from typing import Any

_serial = itertools.count()


def needs(package: str, function: str, extra: str = "") -> Any:
    """A package that an export needs. Errors: ImportError that says how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        hint = f'pip install "tinygrad-seq[{extra or package}]"'
        raise ImportError(f"{function} needs the package {package}: {hint}", name=package) from None


def execute(text: str, cell: str, target: str) -> dict[str, Any]:
    """The names of a generated file, run from memory; tracebacks show its lines."""
    path = f"<{cell} for {target}, {next(_serial)}>"
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    namespace: dict[str, Any] = {"__name__": f"exported_{cell}"}
    exec(compile(text, path, "exec"), namespace)
    return namespace
