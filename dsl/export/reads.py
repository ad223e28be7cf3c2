"""Reads of streams at any index: whole axes at once, a loop's own values, slices of what lies outside of it."""

from __future__ import annotations

from dsl.export.arrays import Array, Loop
from dsl.export.streams import Place, Span, Streams
from dsl.plan.schedule import offset_value
from dsl.system.system import Extent, Index, Position, Present, Read, Stream


class Reads(Streams):
    """Leaves of expressions that have time axes."""

    # ------------------------------------------------------------ steps

    def positions(self, span: Span) -> Array:
        """The steps of an open axis (steps, B); in padding the sequence's last."""
        o = self.o
        if span.is_plain:
            return self.leaf(f"at_{span.axis}", (span.steps, "B"), "int")
        steps = o.behind(o("sub", o.arange(span.steps), span.delay), 1)
        return o("minimum", steps, o("sub", self.lengths[span.axis], 1))

    def steps_had(self, span: Span) -> Array:
        """Which of them the sequences have, (steps, B)."""
        o = self.o
        if span.is_plain:
            return self.leaf(f"has_{span.axis}", (span.steps, "B"), "bool")
        steps = o.behind(o("sub", o.arange(span.steps), span.delay), 1)
        return o("logical_and", o("greater_equal", steps, 0), o("less", steps, self.lengths[span.axis]))

    def position(self, leaf: Position, place: Place) -> Array:
        """`t` as a value: it counts from the sequence's own start, in an earlier call perhaps."""
        o, axis = self.o, leaf.axis
        span = next(s for s in place.open if s.axis == axis)
        steps = self.positions(span)
        if self.carries:
            steps = o.given("state", o("add", steps, o.leaf("state", axis, ("B",), "int")), steps)
        steps = o("maximum", steps, 0)  # without a step it computes as in one: nothing singular, and nobody reads it
        return self.aligned(o.cast(steps, "real"), (axis,), place.open)

    def present(self, leaf: Present, place: Place) -> Array:
        """Whether the sequences have the steps of an open axis."""
        span = next(s for s in place.open if s.axis == leaf.axis)
        return self.aligned(self.steps_had(span), (leaf.axis,), place.open)

    def length(self, leaf: Extent, place: Place) -> Array:
        """`len(t)` as a value, (B,); among the steps of t one of each of them, and 1 where there is none."""
        o, length = self.o, self.lengths[leaf.axis]
        if not leaf.inside:
            return o.cast(length, "real")
        span = next(s for s in place.open if s.axis == leaf.axis)
        length = o.cast(o("maximum", length, 1), "real")
        return self.aligned(o.broadcast(length, (span.steps, "B")), (leaf.axis,), place.open)

    def aligned(self, x: Array, axes: tuple[str, ...], open_: tuple[Span, ...]) -> Array:
        """A value on some axes (axes..., B, ...) as one on open axes that hold them."""
        o = self.o
        names = [s.axis for s in open_]
        ranks = sorted(range(len(axes)), key=lambda i: names.index(axes[i]))
        x = o.order(x, (*ranks, *range(len(axes), x.rank)))
        if not axes:
            return x
        first = min(names.index(a) for a in axes)
        fresh = tuple(a not in axes for a in names[first:])
        return o.expand(x, (*fresh, *(False,) * (x.rank - len(axes))))

    # ------------------------------------------------------------ loops

    def sliced(self, whole: Array, loop: Loop) -> Array:
        """A value of all iterations (steps, ...) at this one."""
        if whole not in loop.slices:
            loop.slices[whole] = self.o.make("sliced", (), (len(loop.slices), loop), whole.sizes[1:], whole.kind, loop)
        return loop.slices[whole]

    def index_on(self, read: Read, axis: str) -> Index:
        return read.index[self.system.streams[read.name].axes.index(axis)]

    def back(self, read: Read, loop: Loop, place: Place) -> int:
        """How many iterations of a loop before its own an equation reads one of the loop's streams."""
        offset = offset_value(self.system, self.index_on(read, loop.axis).offset)
        ahead = offset + loop.delays.get(read.name, 0) - loop.delays.get(place.reader, 0)
        return ahead if loop.reverse else -ahead

    def loop_of(self, read: Read, place: Place) -> tuple[Loop, int] | None:
        """The loop that remembers what is read, and from how many iterations back; None for one in the making."""
        for loop in place.loops:
            if loop not in self.around.get(read.name, ()):
                break
            if back := self.back(read, loop, place):
                return loop, back
        return None

    def is_made_in(self, loop: Loop, read: Read, place: Place) -> bool:
        """Whether what is read, is of that loop: not one that it has whole, nor one of a loop around it."""
        if loop not in self.around.get(read.name, ()):
            return False
        found = self.loop_of(read, place)
        return found is None or found[0] is loop

    # ------------------------------------------------------------ reads

    def read(self, read: Read, place: Place) -> Array:
        """A read whose stream the innermost loop makes, or with no loop around: (open..., B, features)."""
        stream = self.system.streams[read.name]
        found = self.loop_of(read, place)
        value, axes = self.home[read.name] if found is None else (None, ())
        if found is not None:
            loop, back = found
            made = self.around[read.name]
            axes = tuple(a for a in stream.axes if a not in [l.axis for l in made[: made.index(loop) + 1]])
            value = self.earlier(stream, loop, back, axes)
        elif place.loops and any(offset_value(self.system, self.index_on(read, l.axis).offset) for l in place.loops):
            value = self.kept[read.name]  # of this iteration, but another step
        assert value is not None
        if not axes:
            return value
        return self.looked(stream, value, axes, {a: self.index_on(read, a) for a in axes}, place)

    def earlier(self, stream: Stream, loop: Loop, back: int, axes: tuple[str, ...]) -> Array:
        """A stream of a loop, some iterations back."""
        static = (stream.name, back, loop)
        return self.o.make("earlier", (), static, self.row_sizes(stream, axes), self.kind(stream), loop)

    def looked(
        self, stream: Stream, value: Array, axes: tuple[str, ...], index: dict[str, Index], place: Place
    ) -> Array:
        """A value (axes..., B, features) at an index of each axis."""
        open_ = {s.axis: s for s in place.open}
        shifts: dict[str, int] = {}
        for a in axes:
            if index[a].is_shift and index[a].axis == a and open_[a].is_plain:
                shifts[a] = offset_value(self.system, index[a].offset)
        if len(shifts) == len(axes) and all(d <= 0 for d in shifts.values()):
            for a, d in shifts.items():
                value = self.shifted(stream, value, axes, a, -d) if d else value
            return self.aligned(value, axes, place.open)
        where = [(self.index(index[a], place), self.lengths[a]) for a in axes]
        return self.found(value, where, self.edge(stream))

    def found(self, value: Array, where: list[tuple[Array, Array]], edge: Array) -> Array:
        """A value (axes..., B, features) at a step of each axis, given with its lengths; `edge` where it has none."""
        o = self.o
        edge = o.broadcast(edge, (1, *value.sizes[len(where) :]), value.kind)
        while len(where) > 2:
            step = o.call("step_of_both", value, *where[0], *where[1])
            value = o.flat(value)
            where = [(step, o.length(value, 0)), *where[2:]]
        return o.call("look" if len(where) == 1 else "look_at", value, *(x for pair in where for x in pair), edge)

    def shifted(self, stream: Stream, value: Array, axes: tuple[str, ...], axis: str, back: int) -> Array:
        """A stream some steps back: what was before the first step, then all but its last."""
        o, at = self.o, axes.index(axis)
        turned = o.order(value, (at, *(i for i in range(value.rank) if i != at)))
        if stream.name in self.held and len(axes) == 1:
            before = o.slice(self.history(stream.name), self.held[stream.name] - back, back)
        else:
            before = o.broadcast(self.edge(stream), (back, *turned.sizes[1:]), value.kind)
        moved = o.slice(o.concat([before, turned], "longer"), 0, turned.sizes[0])
        return o.order(moved, (*range(1, at + 1), 0, *range(at + 1, value.rank)))

    def delayed(self, value: Array, span: Span) -> Array:
        """A value (steps, open..., B, features) as a loop's iterations see it; 0 where they are at no step."""
        o, batch = self.o, value.sizes.index("B")
        first = o.order(value, (0, batch, *(i for i in range(1, value.rank) if i != batch)))
        found = self.found(first, [(self.positions(span), self.lengths[span.axis])], o.number(0.0))
        return o.order(found, (0, *range(2, batch + 1), 1, *range(batch + 1, value.rank)))

    def index(self, index: Index, place: Place) -> Array:
        """The step an index looks at, (open..., B)."""
        o = self.o
        value: Array = o.number(offset_value(self.system, index.offset))
        if index.axis is not None and index.scale:
            span = next(s for s in place.open if s.axis == index.axis)
            steps = self.aligned(self.positions(span), (index.axis,), place.open)
            steps = steps if index.scale == 1 else o("mul", index.scale, steps)
            value = steps if value.static == (0,) else o("add", steps, value)
        if index.length is not None and index.extent:
            length = self.lengths[index.length]
            length = length if index.extent == 1 else o("mul", index.extent, length)
            value = length if value.is_number and value.static == (0,) else o("add", length, value)
        if index.divisor != 1:
            value = o("floordiv", value, index.divisor)
        return o.broadcast(value, ("B",), "int") if value.is_number else value

    def filled(self, raw: Array, stream: Stream) -> Array:
        """An input with its last step, and never what stands there, in padding."""
        o = self.o
        place = Place(tuple(Span(a, f"steps_{a}") for a in stream.axes))
        where = [(self.aligned(self.positions(s), (s.axis,), place.open), self.lengths[s.axis]) for s in place.open]
        blank = o.number(-1 if stream.dtype == "category" else 0.0)
        return self.found(raw, where, blank)
