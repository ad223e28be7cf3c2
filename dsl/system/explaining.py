"""A derivation in words: each adjoint equation, and for each of its summands where it comes from.

Which forward equation, which read of it, by which primitives' rules, at which step and under which condition, and what
is summed. As text, or typeset. Nothing is derived here: `Record` says what `derive` did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap

from dsl.system.adjoint import Adjoint
from dsl.system.latex import Writer, ranks
from dsl.system.messages import Collected
from dsl.system.printing import Printer, index_tree
from dsl.system.record import Arrival, Part
from dsl.system.system import Index, Read, Stream, System, here
from dsl.text.format import expression
from dsl.text.tree import Expr, Ref
from tinygrad_seq.explain import rules
from tinygrad_seq.symbol import Symbol, lift

Words = list[str | Expr]  # sentences with formulas in them
WIDTH = 110  # columns of text
LONGEST = 40  # characters of a summand that its reason stands beside
INDENT = "    "


@dataclass(frozen=True)
class Reason:
    """One summand of an adjoint equation (None: all of it), and why it stands there."""

    summand: Expr | None
    words: Words


@dataclass(frozen=True)
class Derived:
    """An adjoint equation with its reasons."""

    target: Ref
    value: Expr
    total: bool
    reasons: tuple[Reason, ...]


class Explained(str):
    """Text that prints as itself, also when it is a result at the prompt."""

    def __repr__(self) -> str:
        return str(self)


def explain(forward: System, adjoint: Adjoint, latex: bool = False) -> Explained:
    """The derivation of an adjoint, equation by equation, then the rules it used.

    Errors: ValueError for an adjoint that was not derived from `forward` (a joined one).
    """
    if adjoint.record is None:
        raise ValueError("a joined adjoint is put together, not derived: explain the adjoint without `joined`")
    teller = Teller(forward, adjoint)
    equations = teller.equations()
    return Explained(_latex(teller, equations) if latex else _text(teller, equations))


class Teller:
    """Finds the reasons of every equation of one adjoint."""

    def __init__(self, forward: System, adjoint: Adjoint) -> None:
        assert adjoint.record is not None
        self.forward, self.adjoint, self.record = forward, adjoint, adjoint.record
        self.named = dict(adjoint.named)
        for name, value in adjoint.residuals.items():
            axes = adjoint.system.streams[name].axes
            self.named.setdefault(value, lift(Read(name, tuple(here(a) for a in axes))))
        self.printer = Printer(forward)
        self.used: dict[str, None] = {}  # primitives, in order of use
        self.above: dict[str, dict[Symbol, list[Symbol]]] = {}  # by equation: who passed something to an operand
        for rule in self.record.rules:
            self.above.setdefault(rule.equation, {}).setdefault(rule.argument, []).append(rule.node)
        self.stream_of = {self.record.name(bar): stream for stream, bar in self.record.bars.items()}
        self.cut = {self.record.name(bar): place for bar, place in self.record.cut.items()}
        self.cuts = set(self.record.cut.values())
        self.message_of = {
            self.record.name(a.stream): (source, a)
            for source, arrivals in self.record.arrivals.items()
            for a in arrivals
            if a.stream is not None
        }

    def equations(self) -> list[Derived]:
        system = self.adjoint.system
        found = []
        for name, value in system.equations.items():
            stream = system.streams[name]
            target = Ref(name, tuple(Ref(a) for a in stream.axes) if stream.axes else None)
            found.append(Derived(target, self.tree(value), stream.total, tuple(self._reasons(name, stream))))
        return found

    def tree(self, symbol: Symbol) -> Expr:
        return self.printer.expression(self.record.settled(symbol, {}))

    def _short(self, symbol: Symbol) -> Expr:
        return self.printer.expression(self.record.settled(symbol, self.named))

    def _reasons(self, name: str, stream: Stream) -> Iterable[Reason]:
        if name in self.adjoint.residuals:
            yield Reason(None, ["the forward pass gave this no name: computed again"])
        if name in self.message_of:
            yield from self._message(*self.message_of[name])
        if name in self.cut:
            yield self._intermediate(*self.cut[name])
        for start in self.record.starts.get(name, []):
            read = self._read(start.source, start.index)
            words: Words = [read, " outside the steps of ", Ref(start.source), " is its boundary, which receives this"]
            yield Reason(None, words)
        source = self.stream_of.get(name)
        if source is None:
            return
        given = self.adjoint.cotangents.get(source)
        if given is not None:
            axes = self.forward.streams[source].axes
            summand = Ref(given, tuple(Ref(a) for a in axes) if axes else None)
            kind = "a loss" if source in self.forward.losses else "an output"
            yield Reason(summand, ["from outside: ", Ref(source), f" is {kind}"])
        for arrival in self.record.arrivals.get(source, []):
            yield from self._arrival(source, arrival)
        if stream.total:
            yield Reason(None, [Ref(source), " is one for all steps and sequences: a total over both"])

    # ------------------------------------------------------------ the reasons

    def _intermediate(self, equation: str, node: Symbol) -> Reason:
        words: Words = ["of ", self.printer.expression(node), " in ", self._target(equation)]
        return Reason(None, [*words, *self._path(equation, node)])

    def _arrival(self, source: str, arrival: Arrival) -> Iterable[Reason]:
        if arrival.stream is not None:
            readers = dict.fromkeys(p.equation for p in arrival.parts)
            for value, way in zip(arrival.values, arrival.ways, strict=True):
                words: Words = ["what ", self._read(source, arrival.index), " receives"]
                yield Reason(self._short(value), [*words, *self._turned(source, arrival.index, way, readers)])
            return
        ways = len(arrival.ways)
        for k, part in enumerate(arrival.parts):
            if not ways:
                yield Reason(self._short(arrival.values[k]), self._passes(part))
                continue
            values = arrival.values[k * ways : (k + 1) * ways] or arrival.values
            words = [*self._passes(part), ", which receives ", self._short(part.value)]
            for value, way in zip(values, arrival.ways, strict=True):
                turned = self._turned(source, arrival.index, way, [part.equation])
                yield Reason(self._short(value), [*words, *turned])
                words = ["the same read"]

    def _message(self, source: str, arrival: Arrival) -> Iterable[Reason]:
        for part in arrival.parts:
            yield Reason(self._short(part.value), self._passes(part))
        yield Reason(None, ["formed at the reader's step: beside cotangents it has factors that are not 0 outside"])

    def _passes(self, part: Part) -> Words:
        """Which equation reads what, and by which rules the cotangent came down to it."""
        assert isinstance(part.leaf.leaf, Read)
        read = self._read(part.leaf.leaf.name, part.leaf.leaf.index)
        return [self._target(part.equation), " reads ", read, *self._path(part.equation, part.leaf)]

    def _path(self, equation: str, node: Symbol) -> Words:
        """The operations between a place in an equation and the next cotangent above it that has a name."""
        above = self.above.get(equation, {})
        path: dict[str, None] = {}
        todo, seen = [node], {node}
        while todo:
            for parent in above.get(todo.pop(), []):
                assert parent.op is not None
                path[parent.op.name] = None
                if parent not in seen and (equation, parent) not in self.cuts:
                    seen.add(parent)
                    todo.append(parent)
        self.used |= path
        names = [n for n in path if n not in ("add", "sub", "neg")] or list(path)
        return [f" ({', '.join(reversed(names))})"] if names else []

    def _turned(self, source: str, index: tuple[Index, ...], way: Collected, readers: Iterable[str]) -> Words:
        """Who reads the stream's own step, and under which condition."""
        words: Words = ["; ", self._target(source), " receives that of "]
        for k, reader in enumerate(readers):
            at = tuple(index_tree(way.indices.get(a, here(a))) for a in self.forward.streams[reader].axes)
            words += [", " if k else "", Ref(reader, at or None) if way.indices or not at else f"all steps of {reader}"]
        for k, condition in enumerate(way.conditions):
            words += [" and " if k else " where ", self.printer.expression(condition)]
        if way.indices and not way.conditions and all(i.is_shift for i in index):
            words.append(" (0 outside the steps)")
        return words

    def _target(self, name: str) -> Expr:
        axes = self.forward.streams[name].axes
        return Ref(name, tuple(Ref(a) for a in axes) if axes else None)

    def _read(self, name: str, index: tuple[Index, ...]) -> Expr:
        return self.printer.read(Read(name, index))


# ---------------------------------------------------------------- as text


def _text(teller: Teller, equations: Sequence[Derived]) -> str:
    lines = [f"The adjoint of {teller.forward.name}, step by step", ""]
    for equation in equations:
        word = "total " if equation.total else ""
        lines.append(f"{word}{expression(equation.target)} = {expression(equation.value)}")
        summands = [expression(r.summand) for r in equation.reasons if r.summand is not None]
        room = max((len(s) for s in summands if len(s) <= LONGEST), default=0)
        for reason in equation.reasons:
            head = "" if reason.summand is None else expression(reason.summand)
            if len(head) > room:
                lines.append(INDENT + head)
                head = ""
            said = "".join(w if isinstance(w, str) else expression(w) for w in reason.words)
            start = INDENT + (f"{head:<{room}}  " if room and reason.summand is not None else "")
            lines += wrap(said, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)
    lines += ["", "Rules, y of a primitive's arguments and g the cotangent of y"]
    for name in teller.used:
        lines += [INDENT + line for line in rules(name)]
    return "\n".join(lines)


# ---------------------------------------------------------------- as LaTeX


def _latex(teller: Teller, equations: Sequence[Derived]) -> str:
    """Paragraphs of a document: each equation displayed, its reasons listed under it."""
    known = {**ranks(teller.forward), **ranks(teller.adjoint.system)}
    writer = Writer(known, {given: name for name, given in teller.adjoint.cotangents.items()})
    lines: list[str] = []
    for equation in equations:
        lines.append(rf"\[ {writer.expression(equation.target)} = {writer.expression(equation.value)} \]")
        lines.append(r"\begin{itemize}")
        for reason in equation.reasons:
            said = [w.replace("_", r"\_") if isinstance(w, str) else f"${writer.expression(w)}$" for w in reason.words]
            head = [] if reason.summand is None else [f"${writer.expression(reason.summand)}$: "]
            lines.append(r"  \item " + "".join([*head, *said]))
        lines.append(r"\end{itemize}")
    return "\n".join(lines)
