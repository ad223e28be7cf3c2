"""The live line of a training: where it stands, how well, how fast, how long still. It shows and decides nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text as Line

QUIET_SECONDS = 10.0  # between lines where there is no terminal to redraw


class Progress:
    """Shows step, loss, bits per character (for categories), gradient norm, tokens a second and time left.

    On a terminal one line redraws itself; elsewhere a plain line comes every ten seconds.
    """

    def __init__(
        self,
        steps: int,
        tokens: int,
        *,
        categorical: bool,
        shown: bool = True,
        console: Console | None = None,
        seconds: float | None = None,
    ) -> None:
        self.steps, self.tokens, self.categorical, self.shown = steps, tokens, categorical, shown
        self.seconds = seconds
        self.console = console if console is not None else Console(highlight=False)
        self.first = self.step = self.timed = 0
        self.loss = self.norm = math.nan
        self.found: dict[str, float] = {}
        self.started = self.said = time.monotonic()
        self._live: Live | None = None

    def resumed(self, step: int) -> None:
        """Steps made by an earlier run: they are done, but took no time here."""
        self.first = self.step = self.timed = step
        if step and self.shown:
            self.say(f"going on at step {step}")

    def __enter__(self) -> Progress:
        self.started = self.said = time.monotonic()
        if self.shown and self.console.is_terminal:
            self._live = Live(self._table(), console=self.console, refresh_per_second=8, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(self._table())
            self._live.stop()
            self._live = None
        elif self.shown and self.step > self.first:
            self.console.print(self.line(), soft_wrap=True)

    def update(self, step: int, loss: float, norm: float) -> None:
        """After a step. The loss shown is smoothed over about ten steps; time counts from behind the first step,
        which may have compiled."""
        if self.step == self.first:
            self.timed, self.started = step, time.monotonic()
        self.step, self.norm = step, norm
        self.loss = loss if math.isnan(self.loss) else 0.9 * self.loss + 0.1 * loss
        if not self.shown:
            return
        now = time.monotonic()
        if self._live is not None:
            if now - self.said > 0.1:
                self.said = now
                self._live.update(self._table())
        elif now - self.said > QUIET_SECONDS:
            self.said = now
            self.console.print(self.line(), soft_wrap=True)

    def measured(self, step: int, found: Mapping[str, float]) -> None:
        """What was measured at a step: `validation` is a loss, other names are the user's."""
        self.found = dict(found)
        if self.shown and self._live is None and found:
            self.console.print(f"step {step}  {self._measures()}", soft_wrap=True)

    def _measures(self) -> str:
        """`validation 1.2345 (1.781 bits)  accuracy 0.97`"""
        return "  ".join(
            f"{name} {value:.4f}{self._bits(value)}" if name == "validation" else f"{name} {value:.4g}"
            for name, value in self.found.items()
        )

    def sample(self, text: str) -> None:
        """A sample of the model, above the line."""
        if self.shown:
            self.console.print(Line(f"── step {self.step} " + "─" * 20, style="dim"))
            self.console.print(Line(text))

    def say(self, text: str) -> None:
        if self.shown:
            self.console.print(Line(text))

    # ------------------------------------------------------------ what is shown

    def _bits(self, loss: float) -> str:
        return f" ({loss / math.log(2):.3f} bits)" if self.categorical else ""

    def speed(self) -> float:
        """Tokens a second since the start."""
        seconds = time.monotonic() - self.started
        return (self.step - self.timed) * self.tokens / seconds if seconds > 0 else 0.0

    def left(self) -> float:
        """Seconds until the last step at this pace, or until the time allowed is over."""
        done, spent = self.step - self.timed, time.monotonic() - self.started
        at_this_pace = spent / done * (self.steps - self.step) if done else math.inf
        return at_this_pace if self.seconds is None else min(at_this_pace, max(0.0, self.seconds - spent))

    def share(self) -> float:
        """How much is done, in [0, 1]."""
        steps = self.step / max(self.steps, 1)
        if self.seconds is None:
            return steps
        return min(1.0, max(steps, (time.monotonic() - self.started) / max(self.seconds, 1e-9)))

    def line(self) -> str:
        """The line as plain text."""
        of = f"/{self.steps}" if self.seconds is None else ""
        parts = [f"step {self.step}{of}", f"loss {self.loss:.4f}{self._bits(self.loss)}"]
        if self.found:
            parts.append(self._measures())
        parts.append(f"|g| {self.norm:.3g}")
        parts.append(f"{self.speed():,.0f} tokens/s")
        left = self.left()
        if math.isfinite(left):
            parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        return "  ".join(parts)

    def _table(self) -> Group:
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=1.0, completed=self.share(), width=24), Line(self.line()))
        return Group(row)
