"""A system as the source of a PyTorch module: sizes first, then the schedule's blocks, then the results."""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Iterable
from pathlib import Path

from dsl.export.torch_expressions import OVER_TIME, Context, Expressions
from dsl.plan.schedule import Block, Scan, Vector, schedule
from dsl.run.inputs import fed
from dsl.run.noise import numbers_of, streams_of
from dsl.run.program import members_of, needed, sizes
from dsl.system.kinds import Kind
from dsl.system.system import Extent, Read, Size, Stream, System
from tinygrad_seq.symbol import Symbol, leaves, postorder

HELPERS = Path(__file__).with_name("torch_helpers.py")


def identifiers(system: System) -> dict[str, str]:
    """A Python name for each stream: `rnn.0.h` is `rnn_0_h`."""
    taken = {
        "torch",
        "self",
        "lengths",
        "B",
        "device",
        "Tensor",
        "inside",
        "features",
        "clean",
        "look",
        "ahead",
        "filled",
    }
    taken |= {
        "noise",
        "drawn",
        "softmax",
        "log_softmax",
        "logsumexp",
        "nonempty",
        "one_hot",
        "columns",
        "cross_entropy",
        "concat",
    }
    taken |= {*OVER_TIME.values(), *system.axes, *keyword.kwlist}
    names: dict[str, str] = {}
    for name in system.streams:
        plain = name.replace(".", "_")
        while plain in taken:
            plain += "_"
        taken.add(plain)
        names[name] = plain
    return names


def scanned_axes(system: System) -> dict[str, tuple[str, ...]]:
    """The axes of the loops around each equation, outermost first."""
    found: dict[str, tuple[str, ...]] = {}
    stack: list[tuple[Block, tuple[str, ...]]] = [(b, ()) for b in schedule(system)]
    while stack:
        block, around = stack.pop()
        if isinstance(block, Vector):
            found.update(dict.fromkeys(block.equations, around))
        else:
            stack += [(b, (*around, block.axis)) for b in block.body]
    return found


class Writer(Expressions):
    """Writes one class. Streams computed outside loops are tensors, those of a loop dicts of steps until it ends."""

    def __init__(self, system: System, dtype: str) -> None:
        super().__init__(system, dtype, identifiers(system), scanned_axes(system))
        self.results = tuple(dict.fromkeys([*system.outputs, *system.losses]))
        self.chosen = set(needed(system, self.results, {}))
        self.noises = [n for n in streams_of(system) if n in self.chosen]

    # ------------------------------------------------------------ the file

    def file(self) -> str:
        system = self.system
        sizes_ = ", ".join(f"{n}={v}" for n, v in system.arguments.items() if v is not None)
        inputs = [n for n in fed(system) if n in self.chosen]
        params = [n for n, s in system.streams.items() if s.kind in ("param", "const")]
        for name in params:
            self.names[name] = f"self.{self.names[name]}"
        self._body(inputs)
        noise = ["noise=None"] if self.noises else []
        signature = ", ".join(["self", *(self.names[n] for n in inputs), "lengths=None", *noise])
        head = [f'"""{system.name}({sizes_}) as a PyTorch module, written from its equations."""', ""]
        helpers = HELPERS.read_text(encoding="utf-8").split('"""', 2)[2].strip().splitlines()
        out = [*head, *helpers, "", "", f"class {system.name}(torch.nn.Module):"]
        out += [f'    """{l}' if i == 0 else f"    {l}" if l else "" for i, l in enumerate(self._about(inputs))]
        out += ['    """', "", "    def __init__(self):", "        super().__init__()"]
        for name in params:
            shape = ", ".join(map(str, sizes(system.streams[name].shape)))
            value = (
                f"torch.zeros({shape}, dtype=torch.{self.dtype})"
                if shape
                else f"torch.zeros((), dtype=torch.{self.dtype})"
            )
            if system.streams[name].kind == "param":
                out.append(f"        {self.names[name]} = torch.nn.Parameter({value})")
            else:
                out.append(f'        self.register_buffer("{self.names[name][5:]}", {value})')
        out += ["", "    def by_name(self):", '        """Parameters by their names in the cell."""']
        out += ["        return {", *(f'            "{n}": {self.names[n]},' for n in params), "        }"]
        out += ["", f"    def forward({signature}):", *self.lines]
        return "\n".join(out) + "\n"

    def _about(self, inputs: list[str]) -> list[str]:
        lines = [f"{', '.join(inputs) or 'nothing'} -> {', '.join(self.results)}", ""]
        if self.system.source is not None:
            span = self.system.source.text.strip().splitlines()
            lines += ["The cell:", "", *("    " + l.replace("\\", "\\\\").replace('"""', "'''") for l in span)]
        return lines

    def _body(self, inputs: list[str]) -> None:
        system = self.system
        self._sizes(inputs)
        for name in inputs:
            stream = system.streams[name]
            if stream.axes:
                padding = ", -1" if stream.dtype == "category" else ""
                self.line(f"{self.names[name]} = {self._cleaned(self._in_order(name), stream)[:-1]}{padding})")
        self._noise()
        self.blocks(schedule(system), frozenset())
        self.line()
        parts = []
        for name in self.results:
            stream, own = system.streams[name], self.names[name]
            if name in system.losses:
                parts += [f'"{name}": {own}.mean()', f'"{name}.each": {own}']
            else:
                parts.append(f'"{name}": {self._outward(name)}' if stream.axes else f'"{name}": {own}')
        self.line("return {" + ", ".join(parts) + "}")

    def _noise(self) -> None:
        """What the caller gives, else drawn in training and the mean otherwise."""
        if self.noises:
            self.line("noise = noise or {}")
        for name in self.noises:
            stream = self.system.streams[name]
            assert stream.initializer is not None
            extent = [*(f"steps_{a}" for a in stream.axes), "B", *map(str, sizes(stream.shape))]
            shape = f"({', '.join(extent)}{',' if len(extent) == 1 else ''})"
            fresh = f'drawn("{stream.initializer.name}", {numbers_of(stream)[1]}, self.training, {shape}, like)'
            self.line(f'{self.names[name]} = noise["{name}"] if "{name}" in noise else {fresh}')
            if (turned := self._in_order(name)) != self.names[name]:
                self.line(f"{self.names[name]} = {turned}")

    def _in_order(self, name: str) -> str:
        """An input with its time axes in the order used inside."""
        axes = self.system.streams[name].axes
        ranks = [axes.index(a) for a in self.axes_of(name)]
        if ranks == list(range(len(axes))):
            return self.names[name]
        return f"{self.names[name]}.movedim({tuple(ranks)}, {tuple(range(len(ranks)))})"

    def _outward(self, name: str) -> str:
        stream = self.system.streams[name]
        padding = ", -1" if stream.dtype == "category" else ""
        text = self._cleaned(self.names[name], stream)[:-1] + padding + ")"
        ranks = [self.axes_of(name).index(a) for a in stream.axes]
        return text if ranks == sorted(ranks) else f"{text}.movedim({tuple(ranks)}, {tuple(range(len(ranks)))})"

    def _cleaned(self, text: str, stream: Stream) -> str:
        axes = [a for a in self.order if a in stream.axes]
        masks = [self._mask(a, Context(tuple(axes))) for a in axes]
        return f"clean({text}, [{', '.join(masks)}])"

    def _sizes(self, inputs: list[str]) -> None:
        """The number of sequences, and each axis's steps and lengths."""
        system = self.system
        first = next((n for n in inputs), None)
        self.line("lengths = lengths or {}")
        if first is None:
            raise ValueError(f"{system.name} has no input, from whose shape an exported module could read its sizes")
        rank = len(system.streams[first].axes)
        self.line(f"B, device = {self.names[first]}.shape[{rank}], {self.names[first]}.device")
        self.line(f"like = dict(dtype=torch.{self.dtype}, device=device)")
        for axis in self._axes_used():
            given = system.axes[axis]
            if given.length is None:
                name = next((n for n in inputs if axis in system.streams[n].axes), None)
                if name is None:
                    raise ValueError(f"axis {axis} is no input's: an exported module could not know its steps")
                dim = system.streams[name].axes.index(axis)
                steps = f"{self.names[name]}.shape[{dim}]"
                self.line(
                    f'len_{axis} = lengths.get("{axis}", {steps} * torch.ones(B, dtype=torch.long, device=device))'
                )
                self.line(f"steps_{axis} = {steps}")
            else:
                text = self._length(given.length)
                self.line(f"len_{axis} = ({text}).clamp(min=0)")
                self.line(f"steps_{axis} = int(len_{axis}.max()) if B else 0")
            self.line(f"has_{axis} = inside(steps_{axis}, len_{axis})")

    def _axes_used(self) -> list[str]:
        used = {a for n in self.chosen for a in self.system.streams[n].axes}
        for axis in reversed(self.order):
            length = self.system.axes[axis].length
            if axis in used and length is not None:
                used |= {n.leaf.axis for n in leaves(length) if isinstance(n.leaf, Extent)}
        return [a for a in self.order if a in used]

    def _length(self, root: Symbol) -> str:
        text: dict[Symbol, str] = {}
        marks = {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%"}
        for node in postorder([root]):
            if isinstance(node.leaf, Extent):
                text[node] = f"len_{node.leaf.axis}"
            elif node.op is None:
                text[node] = str(int(node.leaf.dim) if isinstance(node.leaf, Size) else node.leaf)
            elif node.op.name == "neg":
                text[node] = f"(-{text[node.args[0]]})"
            else:
                text[node] = f"({text[node.args[0]]} {marks[node.op.name]} {text[node.args[1]]})"
        return text[root]

    # ------------------------------------------------------------ the schedule

    def blocks(self, blocks: Iterable[Block], fixed: frozenset[str], only: tuple[str, ...] | None = None) -> None:
        """Write blocks inside the loops over `fixed`; of their equations only some."""
        for block in blocks:
            if isinstance(block, Vector):
                for name in block.equations:
                    if name in self.chosen and (only is None or name in only):
                        self.equation(name, fixed)
            else:
                self.scan(block, fixed)

    def scan(self, scan: Scan, fixed: frozenset[str]) -> None:
        members = [n for n in members_of(scan) if n in self.chosen]
        if not members:
            return
        axis, outermost = scan.axis, not self.looped
        if outermost:
            for name in members:
                self._edges(name)
            self.line()
            self.line(f"{', '.join(self.names[n] for n in members)} = {', '.join('{}' for _ in members)}")
            self.looped |= set(members)
        latest = max(scan.skew.get(n, 0) for n in members)
        variable = f"tau_{axis}" if latest else axis
        if scan.direction > 0:
            self.line(f"for {variable} in range(steps_{axis}{f' + {latest}' if latest else ''}):")
        elif latest:
            self.line(f"for {variable} in range(1 - steps_{axis}, {latest + 1}):")
        else:
            self.line(f"for {variable} in reversed(range(steps_{axis})):")
        self.depth += 1
        if latest:
            self._skewed(scan, fixed | {axis}, variable)
        else:
            self.blocks(scan.body, fixed | {axis})
        self.depth -= 1
        if outermost:
            for name in self._needed_outside(members):
                self._stack(name)
            self.looped.clear()

    def _skewed(self, scan: Scan, fixed: frozenset[str], variable: str) -> None:
        """A loop whose equations run at different steps: each has its own step, and a guard."""
        for block in scan.body:
            names = [n for n in members_of(block) if n in self.chosen]
            for skew, group in itertools.groupby(names, lambda n: scan.skew.get(n, 0)):
                shown = f"{variable} - {skew}" if skew else variable
                self.line(f"{scan.axis} = {shown if scan.direction > 0 else f'-({shown})'}")
                self.line(f"if 0 <= {scan.axis} < steps_{scan.axis}:")
                self.depth += 1
                self.blocks((block,), fixed, tuple(group))
                self.depth -= 1

    def _edges(self, name: str) -> None:
        """Boundary values that the loop reads are made before it."""
        for read in [n.leaf for n in leaves(self.system.equations[name]) if isinstance(n.leaf, Read)]:
            stream = self.system.streams[read.name]
            if stream.boundary is not None and any(not i.is_identity for i in read.index):
                self.boundary(stream)

    def _stack(self, name: str) -> None:
        own, scanned, stream = self.names[name], self.scanned[name], self.system.streams[name]
        if len(scanned) == 1:
            axis, axes = scanned[0], self.axes_of(name)
            shape = [*("0" if a == axis else f"steps_{a}" for a in axes), "B", *map(str, sizes(stream.shape))]
            empty = f"torch.zeros({', '.join(shape)}, **like)"
            self.line(f"{own} = stack({own}, steps_{axis}, {axes.index(axis)}, {empty})")
            return
        loops = f"{own}[{', '.join(scanned)}]"
        for axis in reversed([a for a in self.axes_of(name) if a in scanned]):
            loops = f"torch.stack([{loops} for {axis} in range(steps_{axis})])"
        self.line(f"{own} = {loops}")

    def _needed_outside(self, members: list[str]) -> list[str]:
        """Of a loop's streams those that are results or read by what is not in the loop."""
        system, inside = self.system, set(members)
        read = set(self.results)
        for name in self.chosen - inside:
            roots = [system.equations[name]] if name in system.equations else []
            read |= {n.leaf.name for r in roots for n in leaves(r) if isinstance(n.leaf, Read)}
        for name in self.chosen:
            edge = system.streams[name].boundary
            read |= {n.leaf.name for n in leaves(edge) if isinstance(n.leaf, Read)} if edge is not None else set()
        return [n for n in members if n in read]

    # ------------------------------------------------------------ equations

    def equation(self, name: str, fixed: frozenset[str]) -> None:
        stream, root = self.system.streams[name], self.system.equations[name]
        context = Context(tuple(a for a in self.axes_of(name) if a not in fixed), fixed)
        self._edges(name)
        text, kind = self.expression(root, context), self.kinds.of(root)
        if not stream.shared:
            text = self._home(text, kind, stream, context)
        key = "".join(f"[{', '.join(self.scanned[name])}]") if name in self.looped else ""
        self.line(f"{self.names[name]}{key} = {text}")

    def _home(self, text: str, kind: Kind, stream: Stream, context: Context) -> str:
        """A value on all of its stream's axes and features, where it has fewer."""
        missing = set(context.open) - set(kind.axes)
        if not missing and not kind.shared and len(kind.shape) == len(stream.shape):
            return text
        if not kind.shared and not kind.shape and stream.shape:
            text = f"({text})" + "[..., None]" * len(stream.shape)
        extent = [f"steps_{a}" for a in context.open]
        shape = ", ".join([*extent, "B", *map(str, sizes(stream.shape))])
        return f"torch.as_tensor({text}, **like).expand({shape})"
