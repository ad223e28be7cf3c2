"""How operations on tensors behave in this context, and what line of the user's program they are made by."""

from __future__ import annotations

import os
import sys
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any

from tinygrad_seq.watch import Watch


@dataclass(frozen=True, slots=True)
class State:
    """How operations on tensors behave in this context, and who looks on (a thread starts with the defaults)."""

    recording: bool = True
    watches: tuple[Watch, ...] = ()
    literal: bool = False  # a cotangent of 0 times an infinite slope is NaN, as it is written


_state: ContextVar[State] = ContextVar("tinygrad_seq", default=State())  # noqa: B039 - frozen
state = _state.get


class changed(ContextDecorator):  # noqa: N801 - read as a verb: `with changed(recording=False):`
    """A context with another state, or a decorator that gives it to a function's calls.

    A class, since a generator takes microseconds to enter and leave, which is much around the run of a small cell.
    """

    def __init__(
        self, recording: bool | None = None, watches: tuple[Watch, ...] | None = None, literal: bool | None = None
    ) -> None:
        self.recording, self.watches, self.literal = recording, watches, literal
        self._tokens: list[Token[State]] = []

    def __enter__(self) -> None:
        now = _state.get()
        recording = now.recording if self.recording is None else self.recording
        watches = now.watches if self.watches is None else self.watches
        literal = now.literal if self.literal is None else self.literal
        self._tokens.append(_state.set(State(recording, watches, literal)))

    def __exit__(self, *error: object) -> None:
        _state.reset(self._tokens.pop())

    def _recreate_cm(self) -> changed:
        return changed(self.recording, self.watches, self.literal)  # calls of a decorated function may overlap


# ---------------------------------------------------------------- the user's line

_HOME = os.path.dirname(os.path.abspath(__file__)) + os.sep


class _Ours(dict[str, bool]):
    """Whether a source file is this package's, found out once for each."""

    def __missing__(self, name: str) -> bool:
        found = self[name] = name.startswith((_HOME, "<derivative"))
        return found


ours = _Ours()


def caller(depth: int = 2) -> tuple[Any, int]:
    """Code and instruction of the innermost frame outside this package; `depth` frames are skipped unseen."""
    frame: Any = sys._getframe(depth)
    while ours[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def line_of(code: Any, at: int) -> str:
    number = next((n for start, stop, n in code.co_lines() if start <= at < stop and n), code.co_firstlineno)
    return f"{code.co_filename}:{number}"


def user_line() -> str:
    """`file:line` of the user's code that is running now."""
    return line_of(*caller())
