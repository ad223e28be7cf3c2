"""Looking at a computation: a tape that keeps every value, can be printed and walked step by step.

The engine's own tape keeps residuals only. `with tg.Tape() as tape:` writes down besides what was computed in
it, operation by operation, values and adjoints included, and so keeps all of it in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_seq.derivative import Slot
from tinygrad_seq.errors import GradientError
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import Symbol, lift, substitute, text
from tinygrad_seq.tape import Node, Step, Sums, changed, reach, state
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.watch import Watch

Array = np.ndarray[Any, Any]


@dataclass(repr=False)
class Line:
    """One operation, or an input of the computation. Prints as a line, however deep the tape.

    name      the user's for it, or %number
    op        the primitive's name; "input" for a tensor that was there before
    inputs    for each argument the line that made it, or the number, array or shape itself
    value     the result
    rule      for each input the cotangent it is sent, as text over the inputs' names, g and y (None: nothing)
    adjoint   what arrived in the last backward pass, None before one
    made      file:line of the program
    """

    number: int
    name: str
    op: str
    inputs: tuple[Any, ...]
    static: dict[str, Any]
    value: Array
    made: str
    node: Node | None = field(repr=False, default=None)
    slot: int = 0
    adjoint: Array | None = None

    @property
    def call(self) -> str:
        """`tanh(a)`, `a + b`: the operation over names."""
        if self.op == "input":
            return "input"
        arguments = [_shown(a) for a in self.inputs]
        op = REGISTRY.get(self.op)
        if op is not None and op.infix and len(arguments) == 2:
            return f" {op.infix} ".join(arguments)
        options = [f"{k}={v!r}" for k, v in self.static.items() if v is not None and v is not False]
        return f"{self.op}({', '.join(arguments + options)})"

    @property
    def rule(self) -> tuple[str | None, ...]:
        if not isinstance(self.node, Step):
            return ()
        cotangents = self.node.derivative.cotangents
        return tuple(None if c is None else text(substitute(c, self._by_its_names)) for c in cotangents)

    def _by_its_names(self, node: Symbol) -> Symbol | None:
        """A rule's own letters as what this call was made of; where a cotangent of 0 stays 0 goes without saying."""
        slot = node.leaf
        if isinstance(slot, Slot) and slot.kind in ("input", "shape") and slot.position < len(self.inputs):
            return lift(Slot(slot.kind, slot.position, _shown(self.inputs[slot.position])))
        return node.args[0] if node.is_op("settle") else None

    def __repr__(self) -> str:
        adjoint = "" if self.adjoint is None else f"  adjoint {_brief(self.adjoint, 32)}"
        return f"{self.name} = {self.call}  {self.kind}  {_brief(self.value, 32)}{adjoint}"

    @property
    def kind(self) -> str:
        return f"{self.value.dtype}{list(self.value.shape)}"


def _shown(value: Any) -> str:
    if isinstance(value, Line):
        return value.name
    if isinstance(value, np.ndarray) and value.ndim:
        return f"<{value.dtype}{list(value.shape)}>"
    return str(value)


def _brief(array: Array | None, width: int) -> str:
    if array is None:
        return ""
    said = " ".join(np.array2string(array, precision=4, threshold=8, edgeitems=2, max_line_width=10_000).split())
    return said if len(said) <= width else said[: width - 1] + "…"


class Tape(Watch):
    """A context that writes down every operation on tensors inside it; afterwards a list of `Line`s.

    with tg.Tape() as tape:
        loss = f(x)
        loss.backward(retain_graph=True)     # adjoints are noted too
    print(tape)
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._by_array: dict[int, Line] = {}
        self._by_output: dict[tuple[Node, int], Line] = {}
        self._context = ExitStack()

    def __enter__(self) -> Tape:
        self._context.enter_context(changed(watches=(*state().watches, self)))
        return self

    def __exit__(self, *_: Any) -> None:
        self._context.close()

    # ------------------------------------------------------------ being told

    def result(self, name: str, args: Sequence[Any], static: dict[str, Any], tensors: Sequence[Any], line: str) -> None:
        inputs = tuple([self._line_of(a) if isinstance(a, Tensor) else a for a in args])
        for tensor in tensors:
            self._write(tensor, name, inputs, static, line)

    def arrived(self, node: Node, cotangents: Sequence[Any]) -> None:
        for slot, value in enumerate(cotangents):
            line = self._by_output.get((node, slot))
            if line is not None and value is not None:
                line.adjoint = np.array(value.data if isinstance(value, Tensor) else value)

    def _line_of(self, tensor: Tensor) -> Line:
        known = self._by_output.get(tensor.edge) if tensor.edge is not None else None
        known = known or self._by_array.get(id(tensor.data))
        return known or self._write(tensor, "input", (), {}, tensor.node.line if tensor.node is not None else "")

    def _write(self, tensor: Tensor, op: str, inputs: tuple[Any, ...], static: dict[str, Any], made: str) -> Line:
        number = len(self.lines) + 1
        line = Line(number, tensor.name or f"%{number}", op, inputs, dict(static), tensor.data, made)
        if tensor.edge is not None:
            line.node, line.slot = tensor.edge
            self._by_output[tensor.edge] = line
        self.lines.append(line)
        self._by_array[id(tensor.data)] = line
        return line

    # ------------------------------------------------------------ looking

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Line]:
        """The lines forwards, in the order of computing."""
        return iter(self.lines)

    def __getitem__(self, key: int | str | Tensor) -> Line:
        """The line of that number (from 1), name or tensor."""
        if isinstance(key, int) and 1 <= key <= len(self.lines):
            return self.lines[key - 1]
        if isinstance(key, str):
            for line in self.lines:
                if line.name == key:
                    return line
        if isinstance(key, Tensor):
            line_ = self._by_output.get(key.edge) if key.edge is not None else self._by_array.get(id(key.data))
            if line_ is not None:
                return line_
        raise KeyError(f"no line {key!r} on this tape of {len(self.lines)}")

    def __str__(self) -> str:
        rows = [("", "name", "operation", "type", "value", "adjoint", "sends back (g: its adjoint, y: its value)")]
        for line in self.lines:
            rules = [f"{_shown(a)}: {r}" for a, r in zip(line.inputs, line.rule, strict=False) if r is not None]
            call = line.call if len(line.call) <= 48 else line.call[:47] + "…"
            cells = (_brief(line.value, 32), _brief(line.adjoint, 32))
            rows.append((str(line.number), line.name, call, line.kind, *cells, "; ".join(rules)))
        widths = [max(len(r[i]) for r in rows) for i in range(7)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows)

    __repr__ = __str__

    def backward(self, root: Tensor | None = None, cotangent: Any = None) -> Iterator[tuple[Line, list[Any]]]:
        """Walk back step by step from `root` (the last line): each time the line whose adjoint is complete, and
        what it sends to each input. Between two steps anything may be looked at. Nothing is freed.
        """
        last = self.lines[-1] if root is None and self.lines else self[root] if root is not None else None
        if last is None or last.node is None:
            raise GradientError("nothing to walk back from: no input of this value requires a gradient")
        start = np.ones(last.value.shape, last.value.dtype) if cotangent is None else np.asarray(cotangent)
        for line in self.lines:
            line.adjoint = None
        sums = Sums(False)
        sums.add((last.node, last.slot), start)
        for node in reach([(last.node, last.slot)], frozenset(), 0)[0]:
            incoming = [sums.take((node, slot))[0] for slot in range(node.count)]
            if all(g is None for g in incoming):
                continue
            self.arrived(node, incoming)
            with np.errstate(all="ignore"):
                outgoing = list(node.pull(incoming, False)) if node.edges else []
            for edge, value in zip(node.edges, outgoing, strict=True):
                if edge is not None and value is not None:
                    sums.add(edge, value)
            at = next((self._by_output[node, s] for s in range(node.count) if (node, s) in self._by_output), None)
            if at is not None:
                yield at, [None if value is None else np.asarray(value) for value in outgoing]
