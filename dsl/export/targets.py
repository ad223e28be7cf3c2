"""What a cell can be handed to: one line a target. The frameworks are imported by what writes, not here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from dsl.run.model import Model


@dataclass(frozen=True)
class Target:
    """`source(model)` of the module is its code; one with an `ending` writes a file instead, `write(model, path)`."""

    module: str
    ending: str = ""
    write: str = ""
    state: bool = False  # whether the file begins with a state only when asked, `write(..., state=True)`

    def source(self, model: Model) -> str:
        """The text of a file of code."""
        return cast(Callable[..., str], import_module(self.module).source)(model)

    def save(self, model: Model, path: Path, *, state: bool = False) -> Path:
        """Write the file of a target that has an ending."""
        options = {"state": state} if self.state else {}
        return cast(Callable[..., Path], getattr(import_module(self.module), self.write))(model, path, **options)


TARGETS = {
    "torch": Target("dsl.export.torch"),
    "jax": Target("dsl.export.jax"),
    "onnx": Target("dsl.export.onnx", ".onnx", "to_onnx", state=True),
}
