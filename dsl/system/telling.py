"""How the stages between tree and system tell a mistake: into one list, never by raising."""

from __future__ import annotations

from dsl.text.diagnostics import Diagnostic, Label
from dsl.text.tree import Span


class Telling:
    """`problems` is the list of one resolution, shared by its stages."""

    problems: list[Diagnostic]

    def _problem(
        self, code: str, message: str, span: Span, hint: str = "", related: tuple[Label, ...] = (), label: str = ""
    ) -> None:
        self.problems.append(Diagnostic(code, message, span, label, related, hint))
