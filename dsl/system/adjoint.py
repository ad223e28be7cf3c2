"""The adjoint of a system is a system: backpropagation through time, derived equation by equation.

Every equation `v[t] = f(…)` receives `v_bar[t]` and passes cotangents down f's expression by the
engine's own rules. A read at another step becomes a message formed at the reader's step and collected
at the inverse index (`messages`). What results is again equations over the same axes, in names a
person would choose, and nothing here runs anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dsl.system.dims import Dim
from dsl.system.indices import inside
from dsl.system.kinds import Kind, Kinds, named_axis
from dsl.system.messages import Irreversible, add_all, follows, inverse, move, size_value, terms_of
from dsl.system.messages import outside as misses
from dsl.system.residuals import Residuals
from dsl.system.rules import cotangents
from dsl.system.system import Extent, Index, Position, Read, Stream, System, here
from dsl.text.diagnostics import CellError, Diagnostic
from dsl.text.tree import Ref, Source
from tinygrad_seq.symbol import Symbol, apply, leaves, lift, postorder, replace, substitute

ZERO = lift(0)


@dataclass(frozen=True)
class Adjoint:
    """A derived system and what its names mean.

    cotangents   stream of the forward system -> the input holding ∂L/∂stream from outside
    gradients    input or parameter -> the stream holding its gradient
    residuals    forward sub-expressions without a name that are computed again, by their new names
    """

    system: System
    cotangents: Mapping[str, str]
    gradients: Mapping[str, str]
    residuals: Mapping[str, Symbol]


def adjoint(system: System, outside: Iterable[str] | None = None, wrt: Iterable[str] | None = None) -> Adjoint:
    """Derive the adjoint.

    outside   streams that receive a cotangent from outside (default: outputs and losses)
    wrt       inputs and parameters whose gradients are wanted (default: all real ones)
    """
    return Derivation(system, outside, wrt).run()


def joined(system: System, derived: Adjoint | None = None) -> Adjoint:
    """The forward equations and their adjoint in one system, which can be differentiated again."""
    derived = derived if derived is not None else adjoint(system)
    back = derived.system
    streams: dict[str, Stream] = {}
    for name, stream in back.streams.items():
        streams[name] = system.streams[name] if name in system.streams else stream
    for name, stream in system.streams.items():
        streams.setdefault(name, stream)
    used = {
        leaf.leaf.name
        for v in [*system.equations.values(), *back.equations.values()]
        for leaf in leaves(v)
        if isinstance(leaf.leaf, Read)
    }
    used |= {n for s in streams.values() if s.boundary is not None for n in _names(s.boundary)}
    plain = {n: dataclasses.replace(s, kind="input") if s.kind == "draw" else s for n, s in streams.items()}
    kept = {n: s for n, s in plain.items() if n in used or n in back.streams or s.kind == "equation"}
    together = System(
        f"{system.name}_joined",
        system.arguments,
        system.axes,
        kept,
        {**system.equations, **back.equations},
        {},
        back.outputs,
        (),
        system.instances,
        system.aliases,
    )
    return Adjoint(together, derived.cotangents, derived.gradients, derived.residuals)


def _names(root: Symbol) -> set[str]:
    return {leaf.leaf.name for leaf in leaves(root) if isinstance(leaf.leaf, Read)}


@dataclass
class Message:
    """Cotangents of one read `v[index]`, summed over the readers that use that index."""

    source: str
    index: tuple[Index, ...]
    parts: list[Symbol] = field(default_factory=list)

    @property
    def value(self) -> Symbol:
        return add_all(self.parts)


class Derivation:
    """One run of the derivation; see the module's docstring."""

    def __init__(self, system: System, outside: Iterable[str] | None, wrt: Iterable[str] | None) -> None:
        self.system = system
        self.outside = tuple(dict.fromkeys(outside if outside is not None else (*system.outputs, *system.losses)))
        self.outside = tuple(n for n in self.outside if n in system.equations)
        differentiable = [n for n, s in system.streams.items() if s.kind in ("param", "input") and s.dtype == "real"]
        self.wrt = tuple(n for n in differentiable if wrt is None or n in set(wrt))
        self.streams: dict[str, Stream] = dict(system.streams)
        self.kinds = Kinds(self.streams)
        self.taken = {*system.streams, *system.axes, *system.arguments}
        self.equations: dict[str, Symbol] = {}
        self.sections: dict[str, str] = {}
        self.messages: dict[tuple[str, tuple[Index, ...]], Message] = {}
        self.bars: dict[str, str] = {}
        self.cotangents: dict[str, str] = {}
        self.zero_outside: set[str] = set()
        self.values = {k: v for k, v in system.arguments.items() if isinstance(v, int)}

    # ------------------------------------------------------------ the road

    def run(self) -> Adjoint:
        self.active = self._active()
        self._name_bars()
        self.named = self._named_values()
        for name in self.system.equations:
            if name in self.bars:
                self._differentiate(name, self.system.equations[name], self._start(name))
        self._boundaries()
        self._collect()
        self._settle_aliases()
        gradients = {n: self.bars[n] for n in self._order(self.wrt) if self.bars.get(n) in self.equations}
        residuals = Residuals(self.system, self.kinds, self.taken)
        equations, named = residuals.extract(self.equations)
        self.streams.update(residuals.streams)
        live = self._live({**named, **equations}, gradients.values())
        system = self._assemble({n: e for n, e in {**named, **equations}.items() if n in live}, gradients)
        return Adjoint(
            system,
            {k: v for k, v in self.cotangents.items() if v in system.streams},
            gradients,
            {n: residuals.values[n] for n in named if n in live},
        )

    def _order(self, names: Iterable[str]) -> list[str]:
        """Inputs first, then parameters, as a reader expects them."""
        rank = {"input": 0, "param": 1}
        return sorted(names, key=lambda n: rank.get(self.system.streams[n].kind, 2))

    def _active(self) -> set[str]:
        """Streams through which something wanted influences something observed."""
        reads = {n: _names(v) for n, v in self.system.equations.items()}
        for name, stream in self.system.streams.items():
            if stream.boundary is not None and name in self.system.equations:
                reads[name] = reads[name] | _names(stream.boundary)
        boundaries = {
            n: _names(s.boundary) for n, s in self.system.streams.items() if s.boundary is not None and n not in reads
        }
        forward = set(self.wrt)
        changed = True
        while changed:
            changed = False
            for name, used in [*reads.items(), *boundaries.items()]:
                if name not in forward and used & forward:
                    forward.add(name)
                    changed = True
        backward, todo = set(self.outside), list(self.outside)
        while todo:
            name = todo.pop()
            for other in sorted(reads.get(name, set()) | boundaries.get(name, set())):
                if other not in backward:
                    backward.add(other)
                    todo.append(other)
        return forward & backward

    def fresh(self, base: str) -> str:
        name, n = base, 2
        while name in self.taken:
            name, n = f"{base}{n}", n + 1
        self.taken.add(name)
        return name

    def _name_bars(self) -> None:
        for name in self.outside:
            if name not in self.active:
                continue
            stream = self.system.streams[name]
            head, _, tail = name.rpartition(".")
            given = self.fresh(f"{head}.d{tail}" if head else f"d{tail}")
            self.cotangents[name] = given
            kind = "const" if stream.shared else "input"
            self.streams[given] = Stream(given, kind, stream.axes, stream.shape, shared=stream.shared)
            self.zero_outside.add(given)
        for name in [*self.system.equations, *self.wrt]:
            if name in self.active and name not in self.bars:
                stream = self.system.streams[name]
                self.bars[name] = self.define(f"{name}_bar", stream.axes, stream.shape, stream.shared)

    def define(
        self, base: str, axes: tuple[str, ...], shape: tuple[Dim, ...], shared: bool = False, comment: str = ""
    ) -> str:
        """A new stream of the adjoint; its equation follows."""
        name = self.fresh(base)
        self.streams[name] = Stream(name, "equation", axes, shape, shared=shared, comment=comment)
        self.zero_outside.add(name)
        return name

    def at_home(self, name: str) -> Symbol:
        return lift(Read(name, tuple(here(a) for a in self.streams[name].axes)))

    def _named_values(self) -> dict[Symbol, Symbol]:
        """Forward expressions that have a name: the equation's whole right-hand side."""
        table: dict[Symbol, Symbol] = {}
        for name, value in self.system.equations.items():
            stream = self.system.streams[name]
            kind = self.kinds.of(value)
            if (
                value.op is not None
                and not stream.total
                and set(kind.axes) == set(stream.axes)
                and kind.shape == stream.shape
            ):
                table.setdefault(value, self.at_home(name))
        return table

    def _start(self, name: str) -> Symbol:
        return self.at_home(self.bars[name])

    # ------------------------------------------------------------ one expression

    def _differentiate(self, name: str, value: Symbol, start: Symbol) -> None:
        """Pass the cotangent `start` of equation `name` down its expression, to messages."""
        nodes = postorder([value])
        sinks = self._sinks(nodes)
        if not sinks[value]:
            return
        stream = self.system.streams[name]
        received: dict[Symbol, list[Symbol]] = {value: []}
        received[value].append(
            self.fit(start, Kind(stream.axes, stream.shape, "real", stream.shared), self.kinds.of(value))
        )
        counter = 0
        for node in reversed(nodes):
            if node not in received or not sinks[node]:
                continue
            g = add_all(received[node])
            if g is ZERO:
                continue
            if node.op is None:
                self._deliver(node, g)
                continue
            if self._deserves_name(node, g, value, name, sinks):
                base, comment, counter = self._label(name, node, value, counter)
                kind = self.kinds.of(node)
                bar = self.define(base + "_bar", kind.axes, kind.shape, kind.shared, comment)
                self.equations[bar] = g
                g = self.at_home(bar)
            self._pass_down(node, g, received, sinks)

    def _sinks(self, nodes: list[Symbol]) -> dict[Symbol, int]:
        """How many reads below a node want a gradient (counted up to a few)."""
        sinks: dict[Symbol, int] = {}
        for node in nodes:
            if node.op is None:
                sinks[node] = int(isinstance(node.leaf, Read) and node.leaf.name in self.active)
            elif not node.op.differentiable or node.is_op("stop_gradient"):
                sinks[node] = 0
            else:
                sinks[node] = min(9, sum(sinks[a] for a in node.args))
        return sinks

    def _deserves_name(self, node: Symbol, g: Symbol, value: Symbol, name: str, sinks: dict[Symbol, int]) -> bool:
        if g.op is None or (g.is_op("neg") and g.args[0].op is None):
            return False
        if not self.kinds.of(g).axes:
            return False
        outer = (
            value.args
            and node is value.args[0]
            and value.op is not None
            and value.op.elementwise
            and len(value.args) == 1
        )
        logits = node in self._logits()
        return bool((outer and not value.is_op("neg")) or logits or sinks[node] > 1)

    def _logits(self) -> dict[Symbol, str]:
        """Expressions that are a draw's logits, with the drawn name."""
        if not hasattr(self, "_logit_table"):
            self._logit_table: dict[Symbol, str] = {}
            for name, draw in self.system.draws.items():
                for _, parameter in draw.parameters:
                    if parameter.op is not None:
                        self._logit_table.setdefault(parameter, name)
        return self._logit_table

    def _label(self, name: str, node: Symbol, value: Symbol, counter: int) -> tuple[str, str, int]:
        """A name for an intermediate: `z_f` for the argument of f's outer function, else `f_1`."""
        if node in self._logits():
            return _z(self._logits()[node], self._only_z), "", counter
        if (
            value.args
            and node is value.args[0]
            and len(value.args) == 1
            and value.op is not None
            and value.op.elementwise
        ):
            return _z(name, self._only_z), "", counter
        return f"{name}_{counter + 1}", f"^{id(node)}", counter + 1

    @property
    def _only_z(self) -> frozenset[str]:
        """Copies (by prefix) in which one equation alone has an outer function: its argument is just `z`."""
        if not hasattr(self, "_only_z_memo"):
            count: dict[str, int] = {}
            for name, value in self.system.equations.items():
                if name in self.active and value.op is not None and value.op.elementwise and len(value.args) == 1:
                    if value.args[0].op is not None and not value.is_op("neg"):
                        count[_head(name)] = count.get(_head(name), 0) + 1
            for name in self._logits().values():
                count[_head(name)] = count.get(_head(name), 0) + 1
            self._only_z_memo = frozenset(h for h, n in count.items() if n == 1)
        return self._only_z_memo

    def _pass_down(
        self, node: Symbol, g: Symbol, received: dict[Symbol, list[Symbol]], sinks: dict[Symbol, int]
    ) -> None:
        y = self.named.get(node, node)
        inputs = tuple(self.named.get(a, a) if a is not node else a for a in node.args)
        results = cotangents(node, g, y, inputs, self.kinds)
        here_kind = self.kinds.of(node)
        axis = named_axis(node)
        domain = here_kind.axes if axis is None or axis in here_kind.axes else (*here_kind.axes, axis)
        assert node.op is not None
        for argument, result in zip(node.args, results, strict=False):
            if result is None or not sinks[argument] or result is ZERO:
                continue
            target = self.kinds.of(argument)
            shape = here_kind.shape if node.op.elementwise else target.shape
            fitted = self.fit(result, Kind(domain, shape, "real", here_kind.shared), target)
            received.setdefault(argument, []).append(replace(fitted, self.named))

    def fit(self, g: Symbol, domain: Kind, target: Kind) -> Symbol:
        """The only un-broadcast: sum what `domain` has and `target` lacks."""
        have = self.kinds.of(g)
        for axis in domain.axes:
            if axis not in target.axes:
                g = apply("sum", g, axis=axis) if axis in have.axes else _times(lift(Extent(axis)), g)
                have = self.kinds.of(g)
        if target.shape == () and domain.shape != ():
            if have.shape == ():
                g = _times(size_value(domain.shape), g)
            else:
                g = apply("sum", g, axis=-1 if len(have.shape) == 1 else tuple(range(-len(have.shape), 0)))
        return g

    def _deliver(self, leaf: Symbol, g: Symbol) -> None:
        read = leaf.leaf
        assert isinstance(read, Read)
        message = self.messages.setdefault((read.name, read.index), Message(read.name, read.index))
        message.parts += terms_of(g)

    # ------------------------------------------------------------ boundaries

    def _boundaries(self) -> None:
        """Reads outside a stream's steps fall on its boundary: collect what they would have received."""
        for (name, index), message in list(self.messages.items()):
            stream = self.system.streams[name]
            boundary = stream.boundary
            if boundary is None or not index or not any(n in self.active for n in _names(boundary)):
                continue
            axes = tuple(dict.fromkeys(i.axis for i in index if i.axis is not None))
            outside, home = Kind(axes, stream.shape, "real", False), Kind((), stream.shape, "real", False)
            counted: list[Symbol] = []  # a read that misses on two axes is one read
            parts: list[Symbol] = []
            for one, axis in zip(index, stream.axes, strict=True):
                conditions = misses(one, axis, *inside(one, axis, self.system.axes, self.values))
                for condition in conditions:
                    missed = apply("where", condition, message.value, ZERO)
                    for earlier in counted:
                        missed = apply("where", earlier, ZERO, missed)
                    parts.append(self.fit(missed, outside, home))
                counted += conditions
            if not parts:
                continue
            total = self._named_start(name, add_all(parts), stream)
            sinks = self._sinks(postorder([boundary]))
            if boundary.op is None:
                if sinks[boundary]:
                    self._deliver(boundary, self._fit_boundary(total, stream, self.kinds.of(boundary)))
            else:
                self._differentiate_boundary(name, boundary, total, stream)

    def _named_start(self, name: str, total: Symbol, stream: Stream) -> Symbol:
        bar = self.define(f"{name}_start_bar", (), stream.shape, False)
        self.equations[bar] = total
        return self.at_home(bar)

    def _fit_boundary(self, g: Symbol, stream: Stream, target: Kind) -> Symbol:
        return self.fit(g, Kind((), stream.shape, "real", False), target)

    def _differentiate_boundary(self, name: str, boundary: Symbol, start: Symbol, stream: Stream) -> None:
        received = {boundary: [self._fit_boundary(start, stream, self.kinds.of(boundary))]}
        nodes = postorder([boundary])
        sinks = self._sinks(nodes)
        for node in reversed(nodes):
            if node not in received or not sinks[node]:
                continue
            g = add_all(received[node])
            if node.op is None:
                self._deliver(node, g)
            else:
                self._pass_down(node, g, received, sinks)

    # ------------------------------------------------------------ collecting

    def _collect(self) -> None:
        """Every bar: from outside, from readers at the same step, from readers elsewhere."""
        gathered: dict[str, list[Symbol]] = {name: [] for name in self.bars}
        for name, given in self.cotangents.items():
            gathered[name].append(self.at_home(given))
        seen: dict[tuple[str, tuple[Index, ...]], int] = {}
        for value in self.system.equations.values():
            for leaf in leaves(value):
                if isinstance(leaf.leaf, Read):
                    seen.setdefault((leaf.leaf.name, leaf.leaf.index), len(seen))
        ordered = sorted(
            self.messages.values(),
            key=lambda m: (not all(i.is_identity for i in m.index), seen.get((m.source, m.index), len(seen))),
        )
        for message in ordered:
            if message.source in gathered:
                gathered[message.source] += self._arrivals(message)
        for name, bar in self.bars.items():
            self._close(name, bar, gathered[name])

    def _arrivals(self, message: Message) -> list[Symbol]:
        stream = self.system.streams[message.source]
        if all(i.is_identity for i in message.index):
            return list(message.parts)
        try:
            ways = inverse(message.index, stream.axes)
        except Irreversible as why:
            raise CellError(
                [
                    Diagnostic(
                        "E705",
                        f"the adjoint of this read of `{message.source}` is not compiled yet: {why}",
                        stream.span,
                        help="read it in two steps",
                    )
                ],
                self.system.source or Source(""),
            ) from None
        moved_axes = tuple(a for a in ways[0].indices)
        rest: list[Symbol] = []
        arrivals: list[Symbol] = []
        for part in message.parts:
            if moved_axes and follows(part, moved_axes, self.kinds, frozenset(self.zero_outside)):
                arrivals += [self._conditioned(move(part, w.indices), w.conditions) for w in ways]
            else:
                rest.append(part)
        if rest:
            arrivals += self._message_stream(message, add_all(rest), ways, moved_axes)
        return arrivals

    @staticmethod
    def _conditioned(value: Symbol, conditions: tuple[Symbol, ...]) -> Symbol:
        for condition in reversed(conditions):
            value = apply("where", condition, value, ZERO)
        return value

    def _message_stream(self, message: Message, value: Symbol, ways: list, axes: tuple[str, ...]) -> list[Symbol]:  # type: ignore[type-arg]
        stream = self.system.streams[message.source]
        if not axes and value.op is None:
            return [self._conditioned(value, w.conditions) for w in ways]
        read = _shown(message)
        name = self.define(f"{message.source}_msg", axes, stream.shape, False, f"what {read} receives")
        self.equations[name] = value
        arrivals = []
        for way in ways:
            at = lift(Read(name, tuple(way.indices[a] for a in axes)))
            arrivals.append(self._conditioned(at, way.conditions))
        return arrivals

    def _close(self, name: str, bar: str, parts: list[Symbol]) -> None:
        """The equation of one bar; a shared value's bar is a total over the sequences."""
        stream = self.system.streams[name]
        if not parts:
            if name in self.system.equations:  # active by a boundary that no read can reach
                self.equations[bar] = ZERO
            return
        if not stream.shared:
            self.equations[bar] = add_all(parts)
            return
        own = [p for p in parts if not self.kinds.of(p).shared]
        common = [p for p in parts if self.kinds.of(p).shared]
        if own and common:
            total = self.define(f"{bar}_total", (), stream.shape, True)
            self.streams[total] = dataclasses.replace(self.streams[total], total=True)
            self.equations[total] = add_all(own)
            self.equations[bar] = add_all([self.at_home(total), *common])
        else:
            self.streams[bar] = dataclasses.replace(self.streams[bar], total=bool(own))
            self.equations[bar] = add_all(parts)

    # ------------------------------------------------------------ finishing

    def _settle_aliases(self) -> None:
        """A bar that is only another name at the same step gives way to it, and scalars are spread."""
        wanted = {self.bars[n] for n in self.wrt if n in self.bars}
        alias: dict[str, str] = {}
        for name, value in list(self.equations.items()):
            stream = self.streams[name]
            leaf = value.leaf if value.op is None else None
            same = (
                isinstance(leaf, Read)
                and leaf.index == tuple(here(a) for a in stream.axes)
                and self.streams[leaf.name].shape == stream.shape
            )
            if same and name not in wanted and not stream.total:
                assert isinstance(leaf, Read)
                alias[name] = leaf.name
        for name in alias:
            del self.equations[name]

        def final(name: str) -> str:
            while name in alias:
                name = alias[name]
            return name

        def change(node: Symbol) -> Symbol | None:
            if node.op is None and isinstance(node.leaf, Read) and node.leaf.name in alias:
                return lift(Read(final(node.leaf.name), node.leaf.index))
            return None

        for name, value in self.equations.items():
            value = replace(substitute(value, change), self.named)
            shape = self.streams[name].shape
            if shape and self.kinds.of(value).shape == ():
                value = apply("fill", value, dims=shape)
            self.equations[name] = value

    def _live(self, equations: Mapping[str, Symbol], roots: Iterable[str]) -> set[str]:
        live, todo = set(roots), list(roots)
        while todo:
            for name in _names(equations[todo.pop()]):
                if name in equations and name not in live:
                    live.add(name)
                    todo.append(name)
        return live

    def _assemble(self, equations: dict[str, Symbol], gradients: Mapping[str, str]) -> System:
        reads: dict[str, bool] = {}
        for value in equations.values():
            for leaf in leaves(value):
                if isinstance(leaf.leaf, Read):
                    away = any(not i.is_identity for i in leaf.leaf.index)
                    reads[leaf.leaf.name] = reads.get(leaf.leaf.name, False) or away
        streams = self._inputs(reads)
        printer = _Comments(self, equations)
        notes = {True: "a message is 0 outside its steps", False: ""}
        totals = 0
        for name in self._reading_order(equations):
            stream = self.streams[name]
            boundary = ZERO if reads.get(name, False) else None
            comment = printer.of(stream)
            if stream.total:
                totals += 1
                comment = "summed over the sequences too" if totals == 1 else comment
            note = notes[boundary is not None]
            streams[name] = dataclasses.replace(
                stream, boundary=boundary, state=boundary is not None, comment=comment, note=note
            )
            notes[True] = notes[True] if boundary is None else ""
        axes = {a: x for a, x in self.system.axes.items()}
        ordered = {n: equations[n] for n in self._reading_order(equations)}
        streams = {**self._axis_holders(streams, ordered), **streams}
        return System(
            f"{self.system.name}_adjoint",
            self.system.arguments,
            axes,
            streams,
            ordered,
            {},
            tuple(gradients.values()),
            (),
            self.system.instances,
            {},
            None,
            {},
        )

    def _axis_holders(self, streams: Mapping[str, Stream], equations: Mapping[str, Symbol]) -> dict[str, Stream]:
        """A forward stream for each axis that the data gives and nothing else that is fed lives on."""
        used = [a for s in streams.values() for a in s.axes]
        used += [a for v in equations.values() for a in _named_axes(v)]
        for axis in used:  # grows by what lengths are computed from
            length = self.system.axes[axis].length
            used += [] if length is None else [a for a in _named_axes(length) if a not in used]
        held = {a for s in streams.values() if s.kind == "input" for a in s.axes}
        missing = [a for a in dict.fromkeys(used) if self.system.axes[a].length is None and a not in held]
        found: dict[str, Stream] = {}
        for axis in missing:
            rank = {"input": 0, "draw": 1}
            on_it = [s for s in self.system.streams.values() if axis in s.axes]
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
                "total" if self.streams[name].shared else "residual" if name not in self.equations else "step", []
            ).append(name)
        steps = groups.get("step", [])
        bars = {b: n for n, b in self.bars.items()}
        forward = list(self.system.equations)
        rank = {n: len(forward) - k for k, n in enumerate(forward)}
        owner: dict[str, int] = {}
        for name in self.equations:
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
                if full in self.system.equations:
                    return full
        inside_ = [n for n in self.system.equations if _head(n) == head]
        return inside_[0] if inside_ else ""

    def _inputs(self, reads: Mapping[str, bool]) -> dict[str, Stream]:
        """What the adjoint is given: forward streams it names, cotangents, parameters."""
        streams: dict[str, Stream] = {}
        todo = [n for n in [*self.system.streams, *self.cotangents.values()] if n in reads]
        seen = set(todo)
        first = {"input": True, "cotangent": True, "param": True}
        notes = {
            "input": "forward streams it needs",
            "cotangent": "∂L/∂{} from outside",
            "param": f"shared with {self.system.name}",
        }
        while todo:
            name = todo.pop(0)
            stream = self.streams[name]
            role = "cotangent" if name not in self.system.streams else "param" if stream.kind == "param" else "input"
            boundary = stream.boundary if reads.get(name, False) else None
            if role == "cotangent" and reads.get(name, False):
                boundary = ZERO
            comment = notes[role] if first[role] else ""
            if role == "cotangent":
                comment = notes[role].format(next(k for k, v in self.cotangents.items() if v == name))
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


class _Comments:
    """Comments of intermediates: `of W_e@d[t-1], which has no s`."""

    def __init__(self, derivation: Derivation, equations: Mapping[str, Symbol]) -> None:
        from dsl.system.printing import Printer

        self.derivation = derivation
        self.printer = Printer(derivation.system)
        self.nodes = {id(n): n for v in derivation.system.equations.values() for n in postorder([v])}

    def of(self, stream: Stream) -> str:
        if not stream.comment.startswith("^"):
            return stream.comment
        from dsl.text.format import expression

        node = self.nodes.get(int(stream.comment[1:]))
        if node is None:
            return ""
        text = expression(self.printer.expression(node))
        return f"of {text}" if len(text) <= 60 else ""


def _shown(message: Message) -> str:
    from dsl.system.printing import index_tree
    from dsl.text.format import expression

    return expression(Ref(message.source, tuple(index_tree(i) for i in message.index)))


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


def _head(name: str) -> str:
    return name.rpartition(".")[0]


def _z(name: str, alone: frozenset[str]) -> str:
    head, _, tail = name.rpartition(".")
    label = "z" if head in alone else f"z_{tail}"
    return f"{head}.{label}" if head else label


def _times(factor: Symbol, g: Symbol) -> Symbol:
    return apply("mul", factor, g)
