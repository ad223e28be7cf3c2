"""A model as a torch.nn.Module of plain, readable Python source: the schedule's loops, one line an equation.

The source needs torch and nothing of this project; it is written from the system, so any cell exports alike.
"""

from __future__ import annotations

import itertools
import linecache
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.export.torch_source import Writer

if TYPE_CHECKING:
    from dsl.run.model import Model

_serial = itertools.count()


def source(model: Model) -> str:
    """The text of a Python file with one class, the model's cell as a torch.nn.Module."""
    return Writer(model.system, str(model.dtype)).file()


def to_torch(model: Model) -> Any:
    """The model as a torch.nn.Module with its parameters; `module.source` is its text.

    `module(x, lengths=None)` takes time-major tensors (T, B, features) and returns a dict: outputs by name, a loss by
    name as its batch mean and as `nll.each` (B,). Errors: ImportError when torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise ImportError("to_torch needs PyTorch: pip install 'tinygrad-seq[torch]'") from None
    text = source(model)
    path = f"<{model.system.name} for torch, {next(_serial)}>"
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    namespace: dict[str, Any] = {"__name__": f"exported_{model.system.name}"}
    exec(compile(text, path, "exec"), namespace)
    module = namespace[model.system.name]()
    module.source = text
    with torch.no_grad():
        for name, parameter in module.by_name().items():
            parameter.copy_(torch.from_numpy(np.array(model.params[name].data)))
    return module


def load_torch(model: Model, module: Any) -> None:
    """Take the parameters of a module that `to_torch` made. Errors: ValueError when it is another cell's."""
    if not hasattr(module, "by_name"):
        raise ValueError(f"{type(module).__name__} was not made by to_torch: it has no parameters by the cell's names")
    given = module.by_name()
    if set(given) != set(model.params):
        lacking = sorted(set(model.params) ^ set(given))
        raise ValueError(f"the module is of another cell: {', '.join(lacking[:5])} on one side only")
    for name, parameter in given.items():
        model.params[name] = parameter.detach().cpu().numpy()
