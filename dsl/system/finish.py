"""A derivation made readable: aliases gone, residuals named, dead equations dropped, inputs declared, an order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from dsl.system.cotangents import ZERO, head_of, names_in
from dsl.system.derive import Derivation
from dsl.system.kinds import named_axis
from dsl.system.printing import Printer
from dsl.system.residuals import Residuals
from dsl.system.system import Extent, Position, Read, Stream, System, at_home, here
from dsl.text.format import expression
from tinygrad_seq.symbol import Symbol, apply, leaves, lift, postorder, replace, substitute

LONGEST_COMMENT = 60  # characters of an expression shown beside the equation of its cotangent


class Finish:
    """Works on the tables of one finished derivation."""

    def __init__(self, derivation: Derivation) -> None:
        self.d = derivation

    def run(self) -> tuple[System, dict[str, str], dict[str, Symbol]]:
        """The adjoint system, which stream holds which gradient, and the residuals computed again."""
        self._settle_aliases()
        d = self.d
        gradients = {n: d.bars[n] for n in self._order(d.wrt) if d.bars.get(n) in d.equations}
        residuals = Residuals(d.system, d.kinds, d.taken)
        equations, named = residuals.extract(d.equations)
        d.streams.update(residuals.streams)
        live = self._live({**named, **equations}, gradients.values())
        system = self._assemble({n: e for n, e in {**named, **equations}.items() if n in live}, gradients)
        return system, gradients, {n: residuals.values[n] for n in named if n in live}

    def _order(self, names: Iterable[str]) -> list[str]:
        """Inputs first, then parameters, as a reader expects them."""
        rank = {"input": 0, "param": 1}
        return sorted(names, key=lambda n: rank.get(self.d.system.streams[n].kind, 2))

    def _settle_aliases(self) -> None:
        """A bar that is only another name at the same step gives way to it, and scalars are spread."""
        wanted = {self.d.bars[n] for n in self.d.wrt if n in self.d.bars}
        alias: dict[str, str] = {}
        for name, value in list(self.d.equations.items()):
            stream = self.d.streams[name]
            leaf = value.leaf if value.op is None else None
            same = (
                isinstance(leaf, Read)
                and leaf.index == tuple(here(a) for a in stream.axes)
                and self.d.streams[leaf.name].shape == stream.shape
            )
            if same and name not in wanted and not stream.total:
                assert isinstance(leaf, Read)
                alias[name] = leaf.name
        for name in alias:
            del self.d.equations[name]
        self.d.record.aliases, self.d.record.bars = alias, self.d.bars

        def final(name: str) -> str:
            while name in alias:
                name = alias[name]
            return name

        def change(node: Symbol) -> Symbol | None:
            if node.op is None and isinstance(node.leaf, Read) and node.leaf.name in alias:
                return lift(Read(final(node.leaf.name), node.leaf.index))
            return None

        for name, value in self.d.equations.items():
            value = replace(substitute(value, change), self.d.named)
            shape = self.d.streams[name].shape
            if shape and self.d.kinds.of(value).shape == ():
                value = apply("fill", value, dims=shape)
            self.d.equations[name] = value

    def _live(self, equations: Mapping[str, Symbol], roots: Iterable[str]) -> set[str]:
        live, todo = set(roots), list(roots)
        while todo:
            for name in names_in(equations[todo.pop()]):
                if name in equations and name not in live:
                    live.add(name)
                    todo.append(name)
        return live

    def _assemble(self, equations: dict[str, Symbol], gradients: Mapping[str, str]) -> System:
        reads: dict[str, bool] = {}
        for value in equations.values():
            for leaf in leaves(value):
                if isinstance(leaf.leaf, Read):
                    away = not at_home(leaf.leaf.index, self.d.streams[leaf.leaf.name].axes)
                    reads[leaf.leaf.name] = reads.get(leaf.leaf.name, False) or away
        self._read_by_boundaries(reads)
        streams = self._inputs(reads)
        notes = {True: "a message is 0 outside its steps", False: ""}
        totals = 0
        for name in self._reading_order(equations):
            stream = self.d.streams[name]
            boundary = ZERO if reads.get(name, False) else None
            comment = self._comment(stream)
            if stream.total:
                totals += 1
                comment = "summed over the sequences too" if totals == 1 else comment
            note = notes[boundary is not None]
            streams[name] = dataclasses.replace(
                stream, boundary=boundary, state=boundary is not None, comment=comment, note=note
            )
            notes[True] = notes[True] if boundary is None else ""
        ordered = {n: equations[n] for n in self._reading_order(equations)}
        used = self._used_axes(streams, ordered)
        axes = {a: x for a, x in self.d.system.axes.items() if x.length is None or a in used}
        streams = {**self._axis_holders(streams, used), **streams}
        return System(
            f"{self.d.system.name}_adjoint",
            self.d.system.arguments,
            axes,
            streams,
            ordered,
            {},
            tuple(gradients.values()),
            (),
            self.d.system.instances,
            {},
            None,
            {},
            self.d.system.fixed,
        )

    def _read_by_boundaries(self, reads: dict[str, bool]) -> None:
        """Adds what the boundaries of streams read elsewhere read in turn: `last(q)` needs q, and q's own boundary."""
        todo = [n for n, away in reads.items() if away]
        while todo:
            boundary = self.d.streams[todo.pop()].boundary
            for leaf in [] if boundary is None else leaves(boundary):
                if isinstance(leaf.leaf, Read):
                    name, away = leaf.leaf.name, bool(leaf.leaf.index)
                    if reads.get(name) is not away and not reads.get(name):
                        reads[name] = away
                        todo += [name] if away else []

    def _used_axes(self, streams: Mapping[str, Stream], equations: Mapping[str, Symbol]) -> list[str]:
        """The axes that the streams live on or the equations speak of, and those their lengths are made of."""
        used = [a for s in streams.values() for a in s.axes]
        used += [a for v in equations.values() for a in _named_axes(v)]
        for axis in used:  # grows by what lengths are computed from
            length = self.d.system.axes[axis].length
            used += [] if length is None else [a for a in _named_axes(length) if a not in used]
        return used

    def _axis_holders(self, streams: Mapping[str, Stream], used: list[str]) -> dict[str, Stream]:
        """A forward stream for each axis that the data gives and nothing else that is fed lives on."""
        held = {a for s in streams.values() if s.kind == "input" for a in s.axes}
        missing = [a for a in dict.fromkeys(used) if self.d.system.axes[a].length is None and a not in held]
        found: dict[str, Stream] = {}
        for axis in missing:
            rank = {"input": 0, "draw": 1}
            on_it = [s for s in self.d.system.streams.values() if axis in s.axes]
            stream = min(on_it, key=lambda s: (rank.get(s.kind, 2), len(s.axes)))
            note = f"its length is len({axis})"
            found[stream.name] = dataclasses.replace(
                stream, kind="input", boundary=None, initializer=None, state=False, total=False, comment="", note=note
            )
        return found

    def _reading_order(self, equations: Mapping[str, Symbol]) -> list[str]:
        """Residuals, then each stream's cotangent with its intermediates behind it, totals last."""
        groups: dict[str, list[str]] = {}
        for name in equations:
            groups.setdefault(
                "total" if self.d.streams[name].shared else "residual" if name not in self.d.equations else "step", []
            ).append(name)
        steps = groups.get("step", [])
        bars = {b: n for n, b in self.d.bars.items()}
        forward = list(self.d.system.equations)
        rank = {n: len(forward) - k for k, n in enumerate(forward)}
        owner: dict[str, int] = {}
        for name in self.d.equations:
            if name in bars:
                owner[name] = 2 * rank.get(bars[name], -1)
        for name in steps:
            if name not in owner:
                owner[name] = 2 * rank.get(self._owner(name), 0) + 1
        inputs = [n for n in steps if n in bars and bars[n] not in rank]
        rest = sorted((n for n in steps if n not in inputs), key=lambda n: owner[n])
        return [*groups.get("residual", []), *rest, *inputs, *groups.get("total", [])]

    def _owner(self, name: str) -> str:
        """The forward equation whose differentiation made this stream."""
        head, _, tail = name.rpartition(".")
        stem = tail.removesuffix("_bar")
        for n in range(len(stem), 0, -1):
            for candidate in (stem[:n], stem[:n].removeprefix("z_")):
                full = f"{head}.{candidate}" if head else candidate
                if full in self.d.system.equations:
                    return full
        inside_ = [n for n in self.d.system.equations if head_of(n) == head]
        return inside_[0] if inside_ else ""

    def _inputs(self, reads: Mapping[str, bool]) -> dict[str, Stream]:
        """What the adjoint is given: forward streams it names, cotangents, parameters."""
        streams: dict[str, Stream] = {}
        todo = [n for n in [*self.d.system.streams, *self.d.cotangents.values()] if n in reads]
        seen = set(todo)
        first = {"input": True, "cotangent": True, "param": True}
        notes = {
            "input": "forward streams it needs",
            "cotangent": "∂L/∂{} from outside",
            "param": f"shared with {self.d.system.name}",
        }
        while todo:
            name = todo.pop(0)
            stream = self.d.streams[name]
            role = "cotangent" if name not in self.d.system.streams else "param" if stream.kind == "param" else "input"
            boundary = stream.boundary if reads.get(name, False) else None
            if role == "cotangent" and reads.get(name, False):
                boundary = ZERO
            comment = notes[role] if first[role] else ""
            if role == "cotangent":
                comment = notes[role].format(next(k for k, v in self.d.cotangents.items() if v == name))
            first[role] = False
            kind = (
                stream.kind
                if stream.kind in ("param", "const")
                else "param"
                if stream.shared and role == "input"
                else "input"
            )
            streams[name] = dataclasses.replace(
                stream,
                kind=kind,
                boundary=boundary,
                initializer=None,
                kept=False,
                state=False,
                total=False,
                comment="",
                note=comment,
            )
            for other in _ordered_names(boundary):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return streams

    def _comment(self, stream: Stream) -> str:
        """What an intermediate belongs to: `of W_e@d[t-1]`."""
        origin = self.d.origins.get(stream.name)
        if origin is None:
            return stream.comment
        text = expression(Printer(self.d.system).expression(origin))
        return f"of {text}" if len(text) <= LONGEST_COMMENT else ""


def _ordered_names(root: Symbol | None) -> list[str]:
    return (
        []
        if root is None
        else list(dict.fromkeys(leaf.leaf.name for leaf in leaves(root) if isinstance(leaf.leaf, Read)))
    )


def _named_axes(root: Symbol) -> list[str]:
    """Axes whose steps or length enter an expression other than through what it reads at its own steps."""
    found: list[str] = []
    for node in postorder([root]):
        axis = named_axis(node)
        found += [axis] if axis is not None else []
        if isinstance(node.leaf, Extent | Position):
            found.append(node.leaf.axis)
        if isinstance(node.leaf, Read):
            found += [i.length for i in node.leaf.index if i.length is not None]
    return list(dict.fromkeys(found))
