"""Writes docs/exports.md: what can be exported where, and what exported code looks like.

    python docs/exports.py

A test compares the page with what this module makes of the library, so that it cannot go stale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dsl
from dsl.export import jax, onnx, torch
from dsl.run.model import Model
from dsl.text.diagnostics import CellError

PAGE = Path(__file__).with_name("exports.md")
HEAD = """# Exports

Any cell becomes code of another framework that needs nothing of this project, with the parameters of the model:

```python
module = model.to_torch()                  # a torch.nn.Module; module.source is its text
model.load_torch(module)                   # its weights back; those of nn.LSTM, nn.GRU, nn.RNN too
function = model.to_jax()                  # function(function.params, {"x": x}, lengths); function.source
model.to_onnx("model.onnx")                # the forward pass as an ONNX graph
```

`tgseq export LSTM D=8 H=16 --to torch -o lstm.py` writes the same to a file. What they share:

- Arrays are time-major, `(T, B, features)`; categories are integers, −1 is none. `lengths` holds the steps of each
  sequence: by axis, or alone where the cell has one. What stands in padding reaches neither a value nor a gradient.
- A dict comes back: the outputs by name, 0 in padding; a loss `nll` as its mean over the batch, and by sequence as
  `nll.each`. For a cell that can be carried on (the last column) also `state`: given to the next call it stands,
  without gradient, for the steps already run.
- Parameters have the cell's names, `rnn.0.W_f`, in `state_dict` and in `function.params` (a word of Python, or of
  `torch.nn.Module`, gets a `_` behind it).
- Noise is drawn in training: in PyTorch while `module.training`, in JAX from a `key`; or it is given, as `noise`.
  Otherwise, and in ONNX, it is its mean.

Where they differ: the **PyTorch** loop is a Python loop, and differentiable; DistributedDataParallel wraps the module
like any other. The **JAX** function is pure, its loops are `lax.scan`; it may be compiled, differentiated, mapped, and
under `jax.shard_map(..., check_vma=False)` split by sequences over devices. A complex gradient is the conjugate of
PyTorch's and ours, as everywhere in JAX. A mean, maximum or softmax over no steps is an error in PyTorch and NaN in
the others, which cannot raise. **ONNX** holds the forward pass for inference (opset 18, `Scan` for loops), with
`lengths.t` an input and steps and sequences free sizes; `to_onnx(path, state=True)` makes `state.h` an input and
`after.h` an output. In float64, onnxruntime has no kernels of `erf`, the inverse trigonometric functions and the
hyperbolic ones' inverses.

## Models that write

`model.generating()` is the cell that draws for itself, as a model: `print(dsl.load("CharRNN").generation())` shows it.
It goes to all three targets, loop and feedback inside. Chance is an input: uniform numbers `y.uniform` in [0, 1)
(normal ones for numbers), a row a step; a category is the inverse of its distribution function there. `y.given` and
`primed` hold the first steps and how many of them are given, `params["sharpness"]` is one over the temperature:

```python
model.generating().to_onnx("writer.onnx")  # inputs y.given, y.uniform (T, B), primed, lengths.t (B,); output y (T, B)
model.generating(greedy=True).to_torch()   # the likeliest, without chance
```

`tgseq export out/book --generating --to onnx` does so for a trained model.

## What is tested

For each cell of the library, at random sizes and ragged lengths with NaN in the padding: *exact* means that outputs and
losses equal our engine's to 10⁻¹⁰ in float64, and so does every gradient, of parameters and inputs, in PyTorch and
JAX; in ONNX, under onnxruntime, to 10⁻¹⁰ in float64 and 10⁻⁵ in float32. The same holds for a set of cells made for
the purpose: every kind of boundary, strides, flips, loops whose equations run at different steps, recurrences over two
axes, matrices as states, each function of numbers, noise, complex numbers, a call behind an earlier one. Models that
write draw what `generate` draws from the same numbers. A character
model under two processes of `torchrun`, and over two devices of JAX, has the gradients of the undivided batch.

An operation that a target lacks is error E720, which names it, the target and the equation.

"""
FOOT = """
## How it is made

A system of equations and its schedule become statements on arrays once, for all targets (`dsl/export/walk.py`): loops
with what they carry, slices of what was made before them, masks where sequences end. A target is a table from some
seventy operations to its own words, and the frame of a file; what a target has no word for is spelled in other
operations in one place (`dsl/export/composites.py`). This is `Elman` in PyTorch,

```python
{torch}
```

and its loop in JAX:

```python
{jax}
```

Made by `docs/exports.py`; do not edit.
"""


def small(name: str) -> Model:
    """A library cell with the sizes 2, 3, 4, ... for what its header leaves open."""
    spec = dsl.load(name)
    sizes = {n: 2 + i for i, (n, v) in enumerate(spec.system.arguments.items()) if v is None}
    return spec.build(**sizes)


def verdict(write: Callable[[Model], object], model: Model) -> str:
    """`exact`, or what the target lacks."""
    try:
        write(model)
    except CellError as error:
        return f"{error.diagnostics[0].code}, {error.diagnostics[0].message.partition(':')[0]}"
    return "exact"


def rows() -> list[str]:
    out = ["| cell | PyTorch | JAX | ONNX | state |", "|---|---|---|---|---|"]
    for name in dsl.cells():
        model = small(name)
        found = [verdict(write, model) for write in (torch.source, jax.source, onnx.graph)]
        carried = "state=None" in torch.source(model)
        out.append(f"| {name} | {' | '.join(found)} | {'yes' if carried else '–'} |")
    return out


def lines_between(text: str, first: str, last: str) -> str:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().startswith(first))
    end = next(i for i in range(start, len(lines)) if lines[i].strip().startswith(last))
    indent = len(lines[start]) - len(lines[start].lstrip())
    return "\n".join(line[indent:] for line in lines[start : end + 1])


def page() -> str:
    """The whole page."""
    elman = small("Elman")
    shown = {
        "torch": lines_between(torch.source(elman), "V_x =", "h = stacked"),
        "jax": lines_between(jax.source(elman), "V_x =", "_, (h,)"),
    }
    return HEAD + "\n".join(rows()) + "\n" + FOOT.format(**shown)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
