"""The command that hands a cell to another framework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import dsl
from dsl.commands.shared import CellName, Force, Mistake, Output, Sizes, deliver, resolved, vacant
from dsl.export.targets import TARGETS

if TYPE_CHECKING:
    from dsl.run.model import Model


def export(
    cell: CellName,
    sizes: Sizes = None,
    to: Annotated[str, typer.Option(help=f"one of {', '.join(TARGETS)}")] = "torch",
    seed: Annotated[int, typer.Option(help="of the parameters")] = 0,
    dtype: Annotated[str, typer.Option(help="float32 or float64")] = "float32",
    state: Annotated[bool, typer.Option("--state", help="onnx: begin with a state, give the next one")] = False,
    generating: Annotated[bool, typer.Option("--generating", help="the cell that draws what it writes")] = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Write a cell as code of PyTorch or JAX, or as an ONNX model with parameters.

    CELL may be a trained model's file or folder: the ONNX model then holds its parameters. Code goes to stdout without
    -o, an ONNX model to out/CELL.onnx.
    """
    if to not in TARGETS:
        raise Mistake(f"--to {to}: expected one of {', '.join(TARGETS)}")
    target = TARGETS[to]
    if state and not target.state:
        those = ", ".join(name for name, t in TARGETS.items() if t.state)
        raise Mistake(f"--state is for --to {those}: code of {to} takes a state in any case")
    model = _model(cell, sizes, seed, dtype)
    if generating:
        model = model.generating()
    if target.ending:
        path = output or Path("out") / f"{model.system.name}{target.ending}"
        vacant(path, force)
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"wrote {target.save(model, path, state=state)}")
        return
    deliver(target.source(model), output, force)


def _model(cell: str, sizes: list[str] | None, seed: int, dtype: str) -> Model:
    path = Path(cell)
    if path.suffix == ".safetensors" or path.is_dir():
        if sizes:
            raise Mistake(f"{cell} is a trained model, whose sizes are settled: leave {' '.join(sizes)} out")
        return dsl.restore(path)
    spec = resolved(cell, sizes)
    return spec.build(seed=seed, dtype=dtype)


COMMANDS = (export,)
