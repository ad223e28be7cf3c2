"""The error for what a target has no counterpart of."""

from __future__ import annotations

from dsl.system.system import System
from dsl.text.diagnostics import CellError, Diagnostic, register
from dsl.text.tree import NOWHERE, Source
from tinygrad_seq.symbol import postorder

E720 = register(
    "E720",
    "an export has no counterpart of this",
    """
A cell can use what the framework it is exported to does not have: ONNX knows no arithmetic of complex numbers, for
instance. The message names the operation, the target and the equation. Write the equation with other operations (a
complex stream as two real ones), or choose another target: PyTorch and JAX have the most.
""",
)


def lacking(system: System, operation: str, target: str = "", help_: str = "") -> CellError:
    """The error for an operation of a system that a target cannot say, at the first equation that uses it."""
    head = operation.partition("[")[0]
    name = next((n for n, e in system.equations.items() if any(x.is_op(head) for x in postorder([e]))), None)
    if operation == "complex numbers":
        name = next((n for n, s in system.streams.items() if s.dtype == "complex"), None)
    who = name if name is not None else system.name
    stream = system.streams.get(name or "")
    span = system.spans.get(name or "") or (stream.span if stream is not None else NOWHERE)
    exports = f"the {target} export has" if target else "exports have"
    text = f"{who} uses {operation}: {exports} no counterpart"
    help_ = help_ or "export to another target, or write it with other operations"
    return CellError([Diagnostic(E720, text, span, help=help_)], system.source or Source("", system.name))
