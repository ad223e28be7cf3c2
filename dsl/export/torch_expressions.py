"""Expressions of a system as Python over torch tensors.

A value is (open axes..., B, features...), where open axes are the time axes that no loop around holds fixed, in the
system's order; a value without some axis has a dim of 1 there, or lacks leading dims. Nothing here knows the schedule.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsl.plan.schedule import offset_value
from dsl.run.program import settled, sizes
from dsl.system.kinds import Kind, Kinds, named_axis
from dsl.system.system import Extent, Index, Position, Read, Size, Stream, System
from tinygrad_seq.symbol import Symbol

CALLS = {
    "tanh": "torch.tanh({0})",
    "sigmoid": "torch.sigmoid({0})",
    "relu": "torch.relu({0})",
    "leaky_relu": "torch.nn.functional.leaky_relu({0}, {slope})",
    "elu": "torch.nn.functional.elu({0}, {alpha})",
    "softplus": "torch.logaddexp({0}, torch.zeros_like({0}))",
    "exp": "torch.exp({0})",
    "expm1": "torch.expm1({0})",
    "log": "torch.log({0})",
    "log1p": "torch.log1p({0})",
    "sqrt": "torch.sqrt({0})",
    "square": "torch.square({0})",
    "abs": "torch.abs({0})",
    "sign": "torch.sign({0}).detach()",
    "sin": "torch.sin({0})",
    "cos": "torch.cos({0})",
    "tan": "torch.tan({0})",
    "erf": "torch.erf({0})",
    "maximum": "torch.maximum({0}, {1})",
    "minimum": "torch.minimum({0}, {1})",
    "clip": "torch.clamp({0}, {1}, {2})",
    "where": "torch.where({0}, {1}, {2})",
    "logaddexp": "torch.logaddexp({0}, {1})",
    "floordiv": "torch.floor_divide({0}, {1})",
    "mod": "torch.remainder({0}, {1})",
    "re": "{0}",
    "conj": "{0}",
    "lookup": "columns({0}, {1})",
    "cross_entropy": "cross_entropy({0}, {1})",
}
METHODS = {
    "stop_gradient": "{0}.detach()",
    "dot": "({0} * {1}).sum(-1)",
    "outer": "({0}[..., :, None] * {1}[..., None, :])",
    "transpose": "{0}.mT",
    "logical_and": "({0} & {1})",
    "logical_or": "({0} | {1})",
    "logical_not": "(~{0})",
}
# sign, how it binds, and how its operands must bind at least to stand without parentheses
INFIX = {
    "add": ("+", 1, 1, 1.5),
    "sub": ("-", 1, 1, 1.5),
    "mul": ("*", 2, 2, 3),
    "div": ("/", 2, 2, 3),
    "power": ("**", 3.5, 4, 3),
    "equal": ("==", 0, 1, 1),
    "not_equal": ("!=", 0, 1, 1),
    "less": ("<", 0, 1, 1),
    "less_equal": ("<=", 0, 1, 1),
    "greater": (">", 0, 1, 1),
    "greater_equal": (">=", 0, 1, 1),
}
OVER_TIME = {"sum": "total", "mean": "average", "max": "largest", "min": "smallest"}
OVER_FEATURES = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin", "logsumexp": "logsumexp"}
TENSOR_ARGUMENTS = ("maximum", "minimum", "where", "logaddexp", "floordiv", "mod")  # torch takes no plain number there


@dataclass(frozen=True)
class Context:
    """Where an expression is evaluated: axes that are tensor dims, in order, and axes that loops hold fixed."""

    open: tuple[str, ...]
    fixed: frozenset[str] = frozenset()


class Expressions:
    """Writes expressions; what they need before them goes to `line`.

    names    a stream's Python name
    looped   equations of the loops around, held as dicts of steps
    scanned  the axes that loops run over, outermost first, by equation
    """

    def __init__(
        self, system: System, dtype: str, names: dict[str, str], scanned: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.system, self.dtype, self.names, self.scanned = system, dtype, names, scanned
        self.kinds = Kinds(system)
        self.order = list(system.axes)
        self.looped: set[str] = set()
        self.boundaries: dict[str, str] = {}
        self.lines: list[str] = []
        self.depth = 2
        self._temporary = itertools.count(1)
        self._level: dict[str, float] = {}
        self._folded: dict[Symbol, float] = {}

    def line(self, text: str = "") -> None:
        self.lines.append("    " * self.depth + text if text else "")

    def axes_of(self, name: str) -> list[str]:
        """A stream's axes in the order its tensor has them."""
        return [a for a in self.order if a in self.system.streams[name].axes]

    def expression(self, root: Symbol, context: Context) -> str:
        """Python for an expression; what is used twice gets a line of its own."""
        uses: dict[tuple[Symbol, Context], int] = {}
        order: list[tuple[Symbol, Context]] = []
        stack = [(root, context, False)]
        while stack:
            node, here, done = stack.pop()
            if done:
                order.append((node, here))
                continue
            uses[node, here] = uses.get((node, here), 0) + 1
            if uses[node, here] > 1:
                continue
            stack.append((node, here, True))
            below = self._below(node, here)
            stack.extend((a, below, False) for a in reversed(node.args))
        text: dict[tuple[Symbol, Context], str] = {}
        for node, here in order:
            below = self._below(node, here)
            value = self._node(node, here, [text[a, below] for a in node.args])
            if uses[node, here] > 1 and node.op is not None and node is not root and not value.isidentifier():
                name = f"e_{next(self._temporary)}"
                self.line(f"{name} = {value}")
                value = name
            text[node, here] = value
        return text[root, context]

    def _below(self, node: Symbol, here: Context) -> Context:
        axis = named_axis(node)
        if axis is None:
            return here
        open_ = tuple(a for a in self.order if a in here.open or a == axis)
        return Context(open_, here.fixed - {axis})

    def _node(self, node: Symbol, here: Context, args: list[str]) -> str:
        if node.op is None:
            return self._leaf(node, here)
        name, options = node.op.name, settled(node.options)
        kinds = [self.kinds.of(a) for a in node.args]
        number = self._number(node)
        if number is not None and name in CALLS:
            text = repr(number) if np.isfinite(number) else f'float("{number}")'
            return self._leveled(text, 3 if number < 0 else 9)
        if named_axis(node) is not None:
            return self._over_time(node, here, args[0])
        if node.op.elementwise:
            args = self._ranks(args, kinds)
            if name in TENSOR_ARGUMENTS:
                args = [self._tensor(a, s) for a, s in zip(args, node.args, strict=True)]
        if name in INFIX:
            sign, level, left, right = INFIX[name]
            return self._leveled(f"{self._wrap(args[0], left)} {sign} {self._wrap(args[1], right)}", level)
        if name == "neg":
            return self._leveled(f"-{self._wrap(args[0], 3)}", 3)
        if name == "matvec":
            w, x = self._wrap(args[0]), self._wrap(args[1])
            return self._leveled(f"{x} @ {w}.T", 1.9) if kinds[0].shared else f"({w} @ {x}[..., None])[..., 0]"
        if name == "matmul":
            return self._leveled(f"{self._wrap(args[0])} @ {self._wrap(args[1])}", 1.9)
        if name == "one_hot":
            return f"one_hot({args[0]}, {int(self.kinds.of(node).shape[-1])}, torch.{self.dtype})"
        if name == "concat":
            return f"concat({', '.join(args)})"
        if name == "fill":
            shape = ", ".join(map(str, sizes(self.kinds.of(node).shape)))
            return f"torch.full(({shape},), {args[0]}, **like)"
        if name in CALLS:
            return CALLS[name].format(*args, **{"slope": 0.1, "alpha": 1.0, **options})
        return self._method(name, [self._wrap(a) for a in args], options)

    def _method(self, name: str, args: list[str], options: Mapping[str, Any]) -> str:
        """What is written behind its first argument."""
        if name == "part":
            return f"{args[0]}[..., {options['start']}:{options['start'] + options['size']}]"
        if name == "expand":
            return f"{args[0]}.unsqueeze({options['axis']})"
        if name in OVER_FEATURES:
            keep = ", keepdim=True" if options.get("keepdims") else ""
            return f"{args[0]}.{OVER_FEATURES[name]}({options.get('axis', -1)}{keep})"
        if name in ("softmax", "log_softmax"):
            return f"{args[0]}.{name}({options.get('axis', -1)})"
        if name in METHODS:
            return METHODS[name].format(*args)
        raise ValueError(f"{name} has no counterpart in the torch export yet")

    def _leveled(self, text: str, level: float) -> str:
        """Remember how loosely an expression's outer operator binds."""
        self._level[text] = level
        return text

    def _wrap(self, text: str, least: float = 9) -> str:
        """In parentheses when it binds more loosely than `least`; by default unless it is an atom."""
        return f"({text})" if self._level.get(text, 9) < least else text

    def _ranks(self, args: list[str], kinds: list[Kind]) -> list[str]:
        """Numbers a sequence beside vectors get dims for the features."""
        rank = max(len(k.shape) for k in kinds)
        return [
            f"{self._wrap(a)}[{', '.join(['...'] + ['None'] * rank)}]" if rank and not k.shape and not k.shared else a
            for a, k in zip(args, kinds, strict=True)
        ]

    def _number(self, node: Symbol) -> float | None:
        """The value of an operation on numbers alone, `sqrt(H)` say, which torch would want a tensor for."""
        assert node.op is not None
        if not node.op.elementwise or not node.args:
            return None
        values: list[float] = []
        for a in node.args:
            if a.op is not None and a in self._folded:
                values.append(self._folded[a])
            elif a.op is None and (a.is_number or isinstance(a.leaf, Size)):
                number: Any = int(a.leaf.dim) if isinstance(a.leaf, Size) else a.leaf
                values.append(float(number))
            else:
                return None
        value = np.asarray(node.op.impl(*values, **settled(node.options)))
        if value.dtype.kind != "f":
            return None
        self._folded[node] = float(value)
        return self._folded[node]

    def _tensor(self, text: str, symbol: Symbol) -> str:
        return f"torch.tensor({text}, **like)" if symbol.is_number else text

    def _over_time(self, node: Symbol, here: Context, arg: str) -> str:
        """A reduction over the steps that each sequence has."""
        assert node.op is not None
        axis, operand, name = named_axis(node), self.kinds.of(node.args[0]), node.op.name
        assert axis is not None
        below = self._below(node, here)
        trailing = 1 + len(operand.shape)
        dim = below.open.index(axis) - len(below.open) - trailing
        mask = self._mask(axis, below) + ("[..., None]" * len(operand.shape))
        if operand.shared:
            arg = f"torch.as_tensor({arg}, **like)"
        if name != "sum":
            self.line(f'nonempty(len_{axis}, "{name}[{axis}]")')
        keep = axis in here.open
        return f"{OVER_TIME.get(name, name)}({arg}, {mask}, {dim}, {keep})"

    def _mask(self, axis: str, context: Context) -> str:
        """Which steps the sequences have, as (open axes..., B)."""
        at = context.open.index(axis)
        after = len(context.open) - at - 1
        return f"has_{axis}" if not after else f"has_{axis}[:, {', '.join(['None'] * after)}, :]"

    # ------------------------------------------------------------ leaves

    def _leaf(self, node: Symbol, here: Context) -> str:
        leaf = node.leaf
        if isinstance(leaf, Read):
            return self._read(leaf, here)
        if isinstance(leaf, Position):
            if leaf.axis in here.fixed:
                return f"torch.full((B,), float({leaf.axis}), **like)"
            steps = self._arange(leaf.axis, here)
            return f"{steps}.to(torch.{self.dtype})"
        if isinstance(leaf, Extent):
            return f"len_{leaf.axis}.to(torch.{self.dtype})"
        if isinstance(leaf, Size):
            return str(int(leaf.dim))
        number: Any = leaf
        if isinstance(number, float) and not np.isfinite(number):
            return f'float("{number}")'
        return self._leveled(str(number), 3 if number < 0 else 9)

    def _arange(self, axis: str, here: Context) -> str:
        """The steps of an open axis, as (open axes..., 1)."""
        after = len(here.open) - here.open.index(axis)
        return f"torch.arange(steps_{axis}, device=device)[(...,{' None,' * after})]"

    def _read(self, read: Read, here: Context) -> str:
        stream, own = self.system.streams[read.name], self.names[read.name]
        if not stream.axes:
            return own
        index = {a: i for a, i in zip(stream.axes, read.index, strict=True)}
        inner = self.axes_of(read.name)
        guard = ""
        if read.name in self.looped:
            scanned = self.scanned[read.name]
            inner = [a for a in inner if a not in scanned]
            own, guard = self._from_loop(stream, index, scanned)
        elif all(self._is_earlier(a, index[a], here) for a in inner):
            steps = {a: offset_value(self.system, index[a].offset) for a in inner}
            guard = " and ".join(f"{a} >= {-d}" for a, d in steps.items() if d)
            places = [(f"{a} - {-d}" if d else a) if a in here.fixed else ":" for a, d in steps.items()]
            own += f"[{', '.join(places)}]" if any(a in here.fixed for a in inner) else ""
        else:
            places = [self._place(index[a], here) for a in inner]
            lengths = ", ".join(f"len_{a}" for a in inner)
            return f"look({own}, [{', '.join(places)}], [{lengths}], {self.boundary(stream)})"
        if not all(index[a].is_identity and index[a].axis == a or self._is_earlier(a, index[a], here) for a in inner):
            places = [self._place(index[a], here) for a in inner]
            lengths = ", ".join(f"len_{a}" for a in inner)
            own = f"look({own}, [{', '.join(places)}], [{lengths}], {self.boundary(stream)})"
            return f"({own} if {guard} else {self.boundary(stream)})" if guard else own
        text = f"({own} if {guard} else {self.boundary(stream)})" if guard else own
        return self._unsqueezed(text, [a for a in inner if a not in here.fixed], here)

    def _is_earlier(self, axis: str, index: Index, here: Context) -> bool:
        """The reader's own step, or one before it on an axis that a loop holds."""
        if not index.is_shift or index.axis != axis:
            return False
        offset = offset_value(self.system, index.offset)
        return offset == 0 or (offset < 0 and axis in here.fixed)

    def _from_loop(self, stream: Stream, index: Mapping[str, Index], scanned: tuple[str, ...]) -> tuple[str, str]:
        """A value that the loops around make: its key, and the condition under which it is there."""
        offsets = {a: offset_value(self.system, index[a].offset) for a in scanned}
        steps = [a + (f" + {d}" if d > 0 else f" - {-d}" if d else "") for a, d in offsets.items()]
        own, key = self.names[stream.name], ", ".join(steps)
        later = [f"({step}, len_{a})" for step, (a, d) in zip(steps, offsets.items(), strict=True) if d > 0]
        if later:
            key = f"({key})" if len(steps) > 1 else key
            return f"ahead({own}.get({key}), [{', '.join(later)}], {self.boundary(stream)})", ""
        return f"{own}[{key}]", " and ".join(f"{a} >= {-d}" for a, d in offsets.items() if d < 0)

    def _unsqueezed(self, text: str, axes: list[str], here: Context) -> str:
        """Dims of 1 for open axes that a value lacks, behind its first."""
        if not axes:
            return text
        first = here.open.index(axes[0])
        missing = [a for a in here.open[first:] if a not in axes]
        if not missing:
            return text
        slots = [":" if a in axes else "None" for a in here.open[first:]]
        return f"{text}[{', '.join(slots)}]"

    def _place(self, index: Index, here: Context) -> str:
        """An index as a tensor (open axes..., B or 1)."""
        parts = []
        if index.axis is not None and index.scale:
            if index.axis in here.fixed:
                base = f"torch.full((B,), {index.axis}, device=device)"
            else:
                base = self._arange(index.axis, here)
            parts.append(base if index.scale == 1 else f"{index.scale} * {base}")
        if index.length is not None and index.extent:
            parts.append(f"len_{index.length}" if index.extent == 1 else f"{index.extent} * len_{index.length}")
        offset = offset_value(self.system, index.offset)
        if not parts:
            return f"torch.full((B,), {offset // index.divisor}, device=device)"
        text = " + ".join(parts) + (f" + {offset}" if offset > 0 else f" - {-offset}" if offset else "")
        return f"({text}) // {index.divisor}" if index.divisor != 1 else text

    def boundary(self, stream: Stream) -> str:
        """A variable with a stream's boundary, (B, features)."""
        if stream.name in self.boundaries:
            return self.boundaries[stream.name]
        name = f"{self.names[stream.name]}_edge"
        shape = ", ".join(["B", *map(str, sizes(stream.shape))])
        category = stream.dtype == "category"
        kind = "dtype=torch.long, device=device" if category else "**like"
        self.boundaries[stream.name] = name
        root = stream.boundary
        if root is None or root.is_number:
            value: Any = 0 if root is None else root.leaf
            shown = f'float("{value}")' if isinstance(value, float) and not np.isfinite(value) else str(value)
            made = f"torch.zeros({shape}, {kind})" if value == 0 else f"torch.full(({shape},), {shown}, {kind})"
            self.line(f"{name} = {made}")
        else:
            text = self.expression(root, Context(()))
            text = text if root.leaf is not None else f"({text})"
            self.line(f"{name} = {text}.expand({shape})")
        return name
