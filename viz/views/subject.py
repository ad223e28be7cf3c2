"""What a view was asked to draw: a cell's name, a spec, a system, a model or a run."""

from __future__ import annotations

from typing import Any

from dsl.system.system import System


def system_of(subject: Any, **arguments: Any) -> System:
    """The system behind a subject. Errors: TypeError for anything else."""
    if isinstance(subject, str):
        import dsl

        subject = dsl.load(subject)
    if isinstance(subject, System):
        return subject
    if arguments and callable(subject) and hasattr(subject, "tree"):
        subject = subject(**arguments)
    found = getattr(subject, "system", None)
    if isinstance(found, System):
        return found
    raise TypeError(f"cannot draw {type(subject).__name__}: give a cell's name, a spec, a model or a run")


def is_run(subject: Any) -> bool:
    return hasattr(subject, "value") and hasattr(subject, "lengths")


def base_axes(system: System) -> list[str]:
    return [a.name for a in system.axes.values() if a.length is None]
