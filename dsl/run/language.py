"""A bare cell as the layers of a character model, so that any cell can be trained on any text.

This is the library's CharRNN with the cell written into it; its text goes through the language like any other. Knows
specs; nothing of data or training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsl.spec import Spec, parse

MODEL = """
cell {name}Text(K, L=1):
  state y[t]: one_hot K = none
  param U ~ glorot
  param a = 0
  prev[t] = y[t-1]
  use rnn = stack L of {name}({arguments})
  y[t] ~ categorical(logits = U@rnn[t] + a)
  loss nll = -mean[t](logprob(y[t]))
"""


def language_model(spec: Spec, arguments: Mapping[str, Any]) -> Spec:
    """A cell with one input and one output as a model of text.

    arguments   values for the cell's own header (`H=128`, `k=4`, `Cell="GRU"`), written into the text, and `L`, the
                number of layers (1)

    `K`, the number of symbols, stays open. Errors: ValueError for a cell that does not have one input on one time axis,
    and for a size that is not given.
    """
    inputs = [s for s in spec.system.streams.values() if s.kind == "input"]
    if len(inputs) != 1 or len(inputs[0].axes) != 1:
        count = f"{len(inputs)} inputs" if len(inputs) != 1 else "an input that is not a sequence"
        raise ValueError(
            f"{spec.name} has no loss, and {count} where a layer has one sequence: add a `loss` line to it"
        )
    read_off = {name for dim in inputs[0].shape for name in dim.names}
    header = spec.tree.parameters
    lacking = [p.name for p in header if p.default is None and p.name not in arguments and p.name not in read_off]
    if lacking:
        raise ValueError(f"{spec.name} needs {', '.join(lacking)}: give {' '.join(f'{name}=128' for name in lacking)}")
    own = [p.name for p in header if p.name in arguments]
    sizes = {name for stream in spec.system.streams.values() for dim in stream.shape for name in dim.names}
    for name in own:
        if name in sizes and isinstance(arguments[name], int) and arguments[name] < 1:
            raise ValueError(f"{spec.name} would have size 0: {name}={arguments[name]}, expected 1 or more")
    passed = [f"{inputs[0].name}=prev", *(f"{name}={arguments[name]}" for name in own)]
    text = MODEL.format(name=spec.name, arguments=", ".join(passed))
    layers = {"L": arguments["L"]} if "L" in arguments and "L" not in own else {}
    source = spec.file.source
    return parse(f"{source.text.rstrip()}\n{text}", path=source.path, **layers)
