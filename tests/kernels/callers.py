"""Several Python threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


def at_once(functions: Sequence[Callable[[], object]], seconds: float = 60) -> None:
    """Each in a thread of its own, to its end. What one of them raises is raised here; one that hangs is told."""
    failures: list[BaseException] = []

    def guarded(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:  # a thread's own would only be printed
            failures.append(error)

    callers = [threading.Thread(target=guarded, args=(f,), daemon=True) for f in functions]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(seconds)
        assert not caller.is_alive(), f"not at its end after {seconds} seconds"
    if failures:
        raise failures[0]
